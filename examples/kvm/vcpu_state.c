// SPDX-License-Identifier: BSD-3-Clause
/*
 * What KVM knows of a virtual machine, taken out of it and put into another: all its vCPUs have
 * stopped, and none has an access to a device half done (kvm.c). KVM checks what is put in; a
 * record that lies harms the guest alone.
 *
 * The guest's clocks stand still meanwhile: kvmclock and the TSC go on where they were.
 */
#include <errno.h>
#include <inttypes.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "record.h"
#include "vmm.h"

#define IRQCHIPS 3
#define MSRS_AT_ONCE 256 /* KVM takes no more */
#define MSRS_MAX 4096
#define MTRR_FIRST 0x200 /* the variable ones, which KVM's list of MSRs leaves out */
#define MTRR_LAST 0x20f
#define XSAVE_SIZE 4096

/* In the order in which they are put in: each may depend on those before. */
static const struct piece {
	uint32_t kind;
	unsigned long get, set;
	size_t size; /* 0: as large as KVM says */
	const char *name;
} pieces[] = {
	{PART_MP_STATE, KVM_GET_MP_STATE, KVM_SET_MP_STATE, sizeof(struct kvm_mp_state),
	 "MP_STATE"},
	{PART_REGS, KVM_GET_REGS, KVM_SET_REGS, sizeof(struct kvm_regs), "REGS"},
	{PART_SREGS, KVM_GET_SREGS, KVM_SET_SREGS, sizeof(struct kvm_sregs), "SREGS"},
	{PART_XSAVE, KVM_GET_XSAVE, KVM_SET_XSAVE, 0, "XSAVE"},
	{PART_XCRS, KVM_GET_XCRS, KVM_SET_XCRS, sizeof(struct kvm_xcrs), "XCRS"},
	{PART_DEBUGREGS, KVM_GET_DEBUGREGS, KVM_SET_DEBUGREGS, sizeof(struct kvm_debugregs),
	 "DEBUGREGS"},
	{PART_LAPIC, KVM_GET_LAPIC, KVM_SET_LAPIC, sizeof(struct kvm_lapic_state), "LAPIC"},
	{PART_MSRS, 0, 0, 0, "MSRS"},
	{PART_EVENTS, KVM_GET_VCPU_EVENTS, KVM_SET_VCPU_EVENTS, sizeof(struct kvm_vcpu_events),
	 "VCPU_EVENTS"},
};

#define PIECES (sizeof(pieces) / sizeof(pieces[0]))

static size_t xsave_size(const struct vmm *vmm)
{
	int size = ioctl(vmm->vm_fd, KVM_CHECK_EXTENSION, KVM_CAP_XSAVE2);

	return size > XSAVE_SIZE ? (size_t)size : XSAVE_SIZE;
}

/* ---- MSRs ---- */

/* Each index once. returns: how many, or -1 having said what is wrong */
static int list_msrs(const struct vmm *vmm, struct kvm_msr_entry *entries)
{
	struct kvm_msr_list *list = calloc(1, sizeof(*list) + MSRS_MAX * sizeof(list->indices[0]));
	static const uint32_t fixed_mtrrs[] = {
		0x250, 0x258, 0x259, 0x268, 0x269, 0x26a, 0x26b, 0x26c, 0x26d, 0x26e, 0x26f, 0x2ff,
	};
	size_t fixed = sizeof(fixed_mtrrs) / sizeof(fixed_mtrrs[0]);
	int count = 0;

	if (!list)
		return fail("out of memory");
	list->nmsrs = MSRS_MAX - MSRS_AT_ONCE;
	if (ioctl(vmm->kvm_fd, KVM_GET_MSR_INDEX_LIST, list) < 0) {
		free(list);
		return fail("KVM_GET_MSR_INDEX_LIST: %s", strerror(errno));
	}
	for (uint32_t i = 0; i < list->nmsrs; i++) {
		bool mtrr = list->indices[i] >= MTRR_FIRST && list->indices[i] <= 0x2ff &&
			    list->indices[i] != 0x277;

		if (!mtrr)
			entries[count++].index = list->indices[i];
	}
	for (uint32_t i = MTRR_FIRST; i <= MTRR_LAST; i++)
		entries[count++].index = i;
	for (size_t i = 0; i < fixed; i++)
		entries[count++].index = fixed_mtrrs[i];
	free(list);
	return count;
}

/* One call for as many as it takes. returns: how many KVM did, or -1 */
static int do_msrs(const struct vcpu *vcpu, unsigned long request, struct kvm_msr_entry *entries,
		   size_t count)
{
	size_t some = count < MSRS_AT_ONCE ? count : MSRS_AT_ONCE;
	struct kvm_msrs *msrs = calloc(1, sizeof(*msrs) + some * sizeof(*entries));
	int did;

	if (!msrs)
		return -1;
	msrs->nmsrs = (uint32_t)some;
	memcpy(msrs->entries, entries, some * sizeof(*entries));
	did = ioctl(vcpu->fd, request, msrs);
	memcpy(entries, msrs->entries, some * sizeof(*entries));
	free(msrs);
	return did;
}

/* What KVM lists and then does not know is of a feature that this vCPU has not. */
static int save_msrs(const struct vcpu *vcpu, struct record *record)
{
	struct kvm_msr_entry *entries = calloc(MSRS_MAX, sizeof(*entries));
	int count = entries ? list_msrs(vcpu->vmm, entries) : -1, done = 0;
	void *bytes;

	while (done < count) {
		int did = do_msrs(vcpu, KVM_GET_MSRS, entries + done, (size_t)(count - done));

		if (did < 0) {
			free(entries);
			return fail("vCPU %u: KVM_GET_MSRS: %s", vcpu->index, strerror(errno));
		}
		done += did;
		if (!did) {
			count--;
			memmove(entries + done, entries + done + 1,
				(size_t)(count - done) * sizeof(*entries));
		}
	}
	if (count > 0) {
		bytes = record_add(record, PART_MSRS, vcpu->index,
				   (size_t)count * sizeof(*entries));
		if (bytes)
			memcpy(bytes, entries, (size_t)count * sizeof(*entries));
	}
	free(entries);
	return count > 0 ? 0 : -1;
}

/* Whether KVM refuses to write it, but it has that value. */
static bool has_value(const struct vcpu *vcpu, const struct kvm_msr_entry *entry)
{
	struct kvm_msr_entry now = {.index = entry->index};

	return do_msrs(vcpu, KVM_GET_MSRS, &now, 1) == 1 && now.data == entry->data;
}

static int load_msrs(const struct vcpu *vcpu, const struct part *part)
{
	size_t count = part->len / sizeof(struct kvm_msr_entry), done = 0;
	struct kvm_msr_entry *entries = malloc(part->len);
	int err = 0;

	if (!entries)
		return fail("out of memory");
	memcpy(entries, part->bytes, part->len);
	while (done < count && !err) {
		int did = do_msrs(vcpu, KVM_SET_MSRS, entries + done, count - done);

		if (did > 0)
			done += (size_t)did;
		else if (has_value(vcpu, &entries[done]))
			done++;
		else
			err = fail("vCPU %u: this KVM does not take the value 0x%" PRIx64 " in MSR "
				   "0x%" PRIx32 ": expected the host it was saved on, or one "
				   "alike", vcpu->index, (uint64_t)entries[done].data,
				   entries[done].index);
	}
	free(entries);
	return err;
}

/* ---- a vCPU ---- */

static int save_piece(const struct vcpu *vcpu, const struct piece *piece, struct record *record)
{
	size_t size = piece->size ? piece->size : xsave_size(vcpu->vmm);
	unsigned long get = piece->kind == PART_XSAVE && size > XSAVE_SIZE ? KVM_GET_XSAVE2
									   : piece->get;
	void *bytes = record_add(record, piece->kind, vcpu->index, size);

	if (!bytes)
		return fail("out of memory");
	if (ioctl(vcpu->fd, get, bytes) < 0)
		return fail("vCPU %u: KVM_GET_%s: %s", vcpu->index, piece->name, strerror(errno));
	return 0;
}

static int save_cpuid(const struct vcpu *vcpu, struct record *record)
{
	size_t size = sizeof(*vcpu->cpuid) + vcpu->cpuid->nent * sizeof(vcpu->cpuid->entries[0]);
	void *bytes = record_add(record, PART_CPUID, vcpu->index, size);

	if (!bytes)
		return fail("out of memory");
	memcpy(bytes, vcpu->cpuid, size);
	return 0;
}

static int save_vcpu(const struct vcpu *vcpu, struct record *record)
{
	int err = save_cpuid(vcpu, record), khz = ioctl(vcpu->fd, KVM_GET_TSC_KHZ);
	uint64_t *value = record_add(record, PART_TSC_KHZ, vcpu->index, sizeof(*value));

	if (!value || err)
		return -1;
	*value = khz > 0 ? (uint64_t)khz : 0;
	for (size_t i = 0; i < PIECES && !err; i++)
		err = pieces[i].kind == PART_MSRS ? save_msrs(vcpu, record)
						  : save_piece(vcpu, &pieces[i], record);
	return err;
}

static const struct kvm_cpuid_entry2 *find_leaf(const struct kvm_cpuid2 *cpuid,
						const struct kvm_cpuid_entry2 *like)
{
	for (uint32_t i = 0; i < cpuid->nent; i++) {
		const struct kvm_cpuid_entry2 *entry = &cpuid->entries[i];

		if (entry->function == like->function && entry->index == like->index)
			return entry;
	}
	return NULL;
}

/*
 * The guest goes on with the features that it found at its start; those that this host lacks
 * would fail it at some time, far from here.
 */
static int check_features(const struct vcpu *vcpu, const struct kvm_cpuid2 *saved)
{
	static const struct kvm_cpuid_entry2 none;

	for (uint32_t i = 0; i < saved->nent; i++) {
		const struct kvm_cpuid_entry2 *was = &saved->entries[i];
		const struct kvm_cpuid_entry2 *is = find_leaf(vcpu->cpuid, was);
		bool one = was->function == 1 || was->function == 0x80000001;
		bool seven = was->function == 7 && was->index == 0;

		if (!one && !seven)
			continue;
		is = is ? is : &none;
		if ((was->ecx & ~is->ecx) || (was->edx & ~is->edx) ||
		    (seven && (was->ebx & ~is->ebx)))
			return fail("vCPU %u: the guest was started with features of CPUID leaf "
				    "0x%" PRIx32 " that this host's KVM lacks (ecx 0x%" PRIx32
				    ", edx 0x%" PRIx32 "): expected the host it was saved on, or "
				    "one that can as much", vcpu->index, was->function,
				    was->ecx & ~is->ecx, was->edx & ~is->edx);
	}
	return 0;
}

static int load_cpuid(struct vcpu *vcpu, const struct record *record)
{
	struct kvm_cpuid2 *cpuid;
	struct part part;

	if (!record_find(record, PART_CPUID, vcpu->index, &part))
		return record_need(record, PART_CPUID, vcpu->index, 0, &part);
	cpuid = malloc(part.len + sizeof(*cpuid));
	if (!cpuid)
		return fail("out of memory");
	memcpy(cpuid, part.bytes, part.len);
	if (part.len < sizeof(*cpuid) ||
	    part.len - sizeof(*cpuid) != cpuid->nent * sizeof(cpuid->entries[0])) {
		free(cpuid);
		return fail("record: vCPU %u: CPUID of %zu bytes is no whole number of entries: it "
			    "is damaged", vcpu->index, part.len);
	}
	if (check_features(vcpu, cpuid)) {
		free(cpuid);
		return -1;
	}
	free(vcpu->cpuid);
	vcpu->cpuid = cpuid;
	if (ioctl(vcpu->fd, KVM_SET_CPUID2, cpuid) < 0)
		return fail("vCPU %u: KVM_SET_CPUID2: %s", vcpu->index, strerror(errno));
	return 0;
}

/* Where they differ a little, KVM scales or the guest's own clocks do. */
static int load_tsc(const struct vcpu *vcpu, const struct record *record)
{
	int khz = ioctl(vcpu->fd, KVM_GET_TSC_KHZ);
	uint64_t was, is = khz > 0 ? (uint64_t)khz : 0;
	struct part part;

	if (record_need(record, PART_TSC_KHZ, vcpu->index, sizeof(was), &part))
		return -1;
	memcpy(&was, part.bytes, sizeof(was));
	if (was == is || !was || !is || ioctl(vcpu->fd, KVM_SET_TSC_KHZ, was) == 0)
		return 0;
	return fail("vCPU %u: its TSC counted %" PRIu64 " kHz, and this host's %" PRIu64 " and "
		    "cannot be scaled: expected the host it was saved on, or one alike",
		    vcpu->index, was, is);
}

static int load_piece(const struct vcpu *vcpu, const struct piece *piece,
		      const struct record *record)
{
	size_t size = piece->size ? piece->size : xsave_size(vcpu->vmm);
	struct part part;
	void *bytes;
	int err = 0;

	if (record_need(record, piece->kind, vcpu->index, size, &part))
		return -1;
	bytes = malloc(size); /* at an address that suits the structure */
	if (!bytes)
		return fail("out of memory");
	memcpy(bytes, part.bytes, size);
	if (ioctl(vcpu->fd, piece->set, bytes) < 0)
		err = fail("vCPU %u: KVM_SET_%s: %s: the record is damaged, or from a host with "
			   "another processor", vcpu->index, piece->name, strerror(errno));
	free(bytes);
	return err;
}

static int load_vcpu(struct vcpu *vcpu, const struct record *record)
{
	int err = load_cpuid(vcpu, record) || load_tsc(vcpu, record) ? -1 : 0;
	struct part part;

	for (size_t i = 0; i < PIECES && !err; i++) {
		if (pieces[i].kind != PART_MSRS)
			err = load_piece(vcpu, &pieces[i], record);
		else if (record_find(record, PART_MSRS, vcpu->index, &part) && part.len &&
			 part.len % sizeof(struct kvm_msr_entry) == 0)
			err = load_msrs(vcpu, &part);
		else
			err = fail("record: vCPU %u: no MSRs, or no whole number of them: it is "
				   "damaged", vcpu->index);
	}
	return err;
}

/* ---- the machine ---- */

int kvm_save(struct vmm *vmm, struct record *record)
{
	struct kvm_irqchip *chip;
	struct kvm_clock_data *clock = record_add(record, PART_CLOCK, 0, sizeof(*clock));

	if (!clock || ioctl(vmm->vm_fd, KVM_GET_CLOCK, clock) < 0)
		return fail("KVM_GET_CLOCK: %s", strerror(errno));
	for (uint32_t i = 0; i < IRQCHIPS; i++) {
		chip = record_add(record, PART_IRQCHIP, i, sizeof(*chip));
		if (!chip)
			return fail("out of memory");
		chip->chip_id = i;
		if (ioctl(vmm->vm_fd, KVM_GET_IRQCHIP, chip) < 0)
			return fail("KVM_GET_IRQCHIP: %s", strerror(errno));
	}
	for (unsigned i = 0; i < vmm->options.cpus; i++) {
		if (save_vcpu(&vmm->vcpus[i], record))
			return -1;
	}
	return 0;
}

static int load_irqchip(const struct vmm *vmm, const struct record *record, uint32_t index)
{
	struct kvm_irqchip chip;
	struct part part;

	if (record_need(record, PART_IRQCHIP, index, sizeof(chip), &part))
		return -1;
	memcpy(&chip, part.bytes, sizeof(chip));
	chip.chip_id = index;
	if (ioctl(vmm->vm_fd, KVM_SET_IRQCHIP, &chip) < 0)
		return fail("KVM_SET_IRQCHIP: %s: the record is damaged", strerror(errno));
	return 0;
}

/* After all that is said of time by the vCPUs. */
static int load_clock(const struct vmm *vmm, const struct record *record)
{
	struct kvm_clock_data saved, clock = {0};
	struct part part;

	if (record_need(record, PART_CLOCK, 0, sizeof(saved), &part))
		return -1;
	memcpy(&saved, part.bytes, sizeof(saved));
	clock.clock = saved.clock;
	if (ioctl(vmm->vm_fd, KVM_SET_CLOCK, &clock) < 0)
		return fail("KVM_SET_CLOCK: %s", strerror(errno));
	return 0;
}

int kvm_load(struct vmm *vmm, const struct record *record)
{
	struct part part;

	for (uint32_t i = 0; i < IRQCHIPS; i++) {
		if (load_irqchip(vmm, record, i))
			return -1;
	}
	for (unsigned i = 0; i < vmm->options.cpus; i++) {
		if (load_vcpu(&vmm->vcpus[i], record))
			return -1;
	}
	if (record_find(record, PART_REGS, vmm->options.cpus, &part))
		return fail("record: it has more vCPUs than the %u of --cpus", vmm->options.cpus);
	kvm_tell_paused(vmm);
	return load_clock(vmm, record);
}

/* A guest without kvmclock has no place to be told. */
void kvm_tell_paused(struct vmm *vmm)
{
	for (unsigned i = 0; i < vmm->options.cpus; i++)
		(void)ioctl(vmm->vcpus[i].fd, KVM_KVMCLOCK_CTRL, 0);
}
