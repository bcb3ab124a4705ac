// SPDX-License-Identifier: BSD-3-Clause
/*
 * Guest memory: allocated by lib/linux, mapped into the guest as KVM memory slots, and shown
 * to the devices as one table of regions. This and virtio.c are the two files that a VMM
 * author copies from.
 *
 * RAM lies below 3 GiB and, if there is more, from 4 GiB on. Each --mem device gets its whole
 * region as address space at once, but no memory behind it: that comes page by page when the
 * guest touches it. Nor does KVM see the region, but for the memory slots that something in them
 * is plugged: it keeps tables in proportion to its slots, so a region of 1 TiB with 1 GiB in use
 * costs as much as 1 GiB.
 *
 * Where no slot is, a touch comes to the VMM as an access to a device, and is answered as if
 * there was none (kvm.c). Unplugged blocks that share a slot with plugged ones are memory all
 * the same, and "requested" is no limit for a hostile guest there: it can have the whole slot.
 * guarded=on shuts these, too.
 *
 * Persistent memory (pmem.c) is a file, mapped as it is: no RAM, so it counts as none, and nothing
 * is ever discarded there.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm.h"

#define MIB (UINT64_C(1) << 20)
#define POPULATE_WRITE 23 /* MADV_POPULATE_WRITE, newer than many a libc */
#define RESIDENT_PAGE 4096
#define RESIDENT_STEP (UINT64_C(64) << 20) /* bytes looked at by one mincore() */

static uint64_t round_up(uint64_t value, uint64_t to)
{
	return (value + to - 1) / to * to;
}

/* In a live update the memory is there, in files that the other process has opened. */
static int take_over(struct vmm *vmm, const char *what, struct vmemdev_linux_ram_config *config)
{
	const struct taken_memory *memory = vmm->taken;

	while (memory < vmm->taken + vmm->taken_count && memory->gpa != config->gpa)
		memory++;
	if (memory == vmm->taken + vmm->taken_count || memory->size != config->size)
		return fail("%s: the other toyvmm has no memory of %" PRIu64 " bytes at 0x%" PRIx64
			    ": expected the options that it was started with", what, config->size,
			    config->gpa);
	config->backing = VMEMDEV_LINUX_FILE;
	config->mapping = VMEMDEV_LINUX_SHARED;
	config->fd = memory->fd;
	config->file_offset = memory->offset;
	config->page_size = 0; /* the file's */
	return 0;
}

static int add_ram(struct vmm *vmm, const char *what, struct vmemdev_linux_ram_config *config)
{
	struct vmemdev_linux_ram_config made = *config;
	struct vmemdev_linux_error error;

	if (!config->size)
		return 0;
	if (vmm->options.takeover && !config->keep && take_over(vmm, what, &made))
		return -1;
	if (vmemdev_linux_add_ram(&vmm->memory, &made)) {
		vmemdev_linux_last_error(&vmm->memory, &error);
		if (config->page_size && error.code == ENOMEM)
			return fail("%s: %" PRIu64 " bytes of backing=hugetlb: the host has not so "
				    "many free huge pages: expected %" PRIu64 " more of %" PRIu64
				    " KiB: write a larger number to /proc/sys/vm/nr_hugepages, or "
				    "take backing=memfd", what, config->size,
				    config->size / config->page_size, config->page_size >> 10);
		return fail("%s: %s", what, error.text);
	}
	if (config->backing == VMEMDEV_LINUX_FILE)
		config->file_offset += config->size;
	return 0;
}

/* Linux takes no notice of memory beyond what its processor addresses. */
static int check_end(const struct vmm *vmm, const char *what, uint64_t gpa, uint64_t size)
{
	unsigned bits = kvm_address_bits(vmm);
	uint64_t end = UINT64_C(1) << bits;

	if (gpa <= end && size <= end - gpa)
		return 0;
	return fail("%s: %" PRIu64 " bytes from 0x%" PRIx64 " on end at 0x%" PRIx64 ", but the "
		    "processor that KVM gives the guest has addresses of %u bits: expected at most "
		    "%" PRIu64 "G there, or a host whose processor has more", what, size, gpa,
		    gpa + size, bits, gpa < end ? (end - gpa) >> 30 : 0);
}

static int add_device(struct vmm *vmm, struct mem_option *option,
		      struct vmemdev_linux_ram_config *config)
{
	char what[ID_MAX + 16];

	if (!option->addr)
		option->addr = round_up(memory_top(vmm), MEM_ALIGN);
	snprintf(what, sizeof(what), "--mem: %s", option->id);
	if (check_end(vmm, what, option->addr, option->size))
		return -1;
	config->gpa = option->addr;
	config->size = option->size;
	config->guarded = option->guarded;
	/* Scarce pages: better busy than a SIGBUS. */
	config->populate = option->populate == POPULATE_ON ||
			   (option->populate == POPULATE_BY_PAGE && config->page_size);
	return add_ram(vmm, what, config);
}

/* A file is no part of the record: whether it is the guest's is seen here, or never. */
static int check_same_file(const struct vmm *vmm, const struct pmem_option *option, int fd)
{
	const struct taken_memory *memory = vmm->taken;
	struct stat theirs, ours;

	while (memory < vmm->taken + vmm->taken_count && memory->gpa != option->addr)
		memory++;
	if (memory == vmm->taken + vmm->taken_count)
		return fail("--pmem: %s: path=%s: the other toyvmm has nothing at 0x%" PRIx64
			    ": expected the options that it was started with", option->id,
			    option->path, option->addr);
	if (fstat(memory->fd, &theirs) || fstat(fd, &ours))
		return fail("--pmem: %s: path=%s: %s", option->id, option->path, strerror(errno));
	if (theirs.st_dev == ours.st_dev && theirs.st_ino == ours.st_ino &&
	    memory->size == option->size)
		return 0;
	return fail("--pmem: %s: path=%s: is another file than the other toyvmm has at 0x%" PRIx64
		    ": expected the very file that the guest has there", option->id, option->path,
		    option->addr);
}

int memory_add_file(struct vmm *vmm, struct pmem_option *option, int fd)
{
	struct vmemdev_linux_ram_config config = {
		.struct_size = sizeof(config),
		.backing = VMEMDEV_LINUX_FILE,
		/* What is only read need not be open for writing: and so nobody can, here. */
		.mapping = option->readonly ? VMEMDEV_LINUX_PRIVATE : VMEMDEV_LINUX_SHARED,
		.size = option->size,
		.fd = fd,
		.no_reserve = true,
		.keep = true,
	};
	char what[ID_MAX + 16];

	if (!option->addr)
		option->addr = round_up(memory_top(vmm), MEM_ALIGN);
	config.gpa = option->addr;
	snprintf(what, sizeof(what), "--pmem: %s", option->id);
	if (vmm->options.takeover && check_same_file(vmm, option, fd))
		return -1;
	if (check_end(vmm, what, option->addr, option->size))
		return -1;
	return add_ram(vmm, what, &config);
}

static int add_all(struct vmm *vmm, struct vmemdev_linux_ram_config *config)
{
	struct options *options = &vmm->options;

	config->size = vmm->low_ram;
	if (add_ram(vmm, "--memory", config))
		return -1;
	config->gpa = HIGH_RAM_START;
	config->size = vmm->high_ram;
	if (check_end(vmm, "--memory", config->gpa, config->size) ||
	    add_ram(vmm, "--memory", config))
		return -1;
	config->no_reserve = true;
	for (unsigned i = 0; i < options->mem_count; i++) {
		if (add_device(vmm, &options->mem[i], config))
			return -1;
	}
	return 0;
}

/*
 * Make the file at @path, open as @fd, @size bytes long. Only an empty one grows: a mistyped
 * path must not cost anybody a file.
 */
static int size_backing(const char *path, int fd, uint64_t size)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return fail("--memory: path=%s: %s", path, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return fail("--memory: path=%s: expected a regular file, or the name of a new one",
			    path);
	if ((uint64_t)st.st_size == size)
		return 0;
	if (st.st_size)
		return fail("--memory: path=%s: has %" PRIu64 " bytes, but --memory and --mem make "
			    "%" PRIu64 ": remove it, or give the name of a new file", path,
			    (uint64_t)st.st_size, size);
	if (ftruncate(fd, (off_t)size) < 0)
		return fail("--memory: path=%s: %s: expected a file that can grow to %" PRIu64
			    " bytes", path, strerror(errno), size);
	return 0;
}

/* The file holds RAM first, then the regions of the memory devices; most of it is a hole. */
static int open_backing(const struct options *options)
{
	const char *path = options->memory.path;
	uint64_t size = options->memory.size;
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0600);

	for (unsigned i = 0; i < options->mem_count; i++)
		size += options->mem[i].size;
	if (fd < 0)
		return fail("--memory: path=%s: %s: expected a file that can be written", path,
			    strerror(errno));
	if (size_backing(path, fd, size)) {
		close(fd);
		return -1;
	}
	return fd;
}

static int map_all(struct vmm *vmm)
{
	const struct memory_option *option = &vmm->options.memory;
	struct vmemdev_linux_ram_config config = {
		.struct_size = sizeof(config),
		.backing = option->backing,
		.page_size = option->page_size,
		.mapping = option->shared ? VMEMDEV_LINUX_SHARED : VMEMDEV_LINUX_PRIVATE,
		.fd = -1,
	};
	int err;

	if (option->path && !vmm->options.takeover) {
		config.fd = open_backing(&vmm->options);
		if (config.fd < 0)
			return -1;
	}
	err = add_all(vmm, &config);
	if (config.fd >= 0)
		close(config.fd);
	return err;
}

int memory_create(struct vmm *vmm)
{
	struct vmemdev_guest_config config = {.struct_size = sizeof(config)};
	uint64_t size = vmm->options.memory.size;
	int err = vmemdev_linux_memory_init(&vmm->memory, sizeof(vmm->memory), NULL);

	if (err)
		return fail("--memory: %s", vmemdev_strerror(err));
	vmm->low_ram = size < LOW_RAM_END ? size : LOW_RAM_END;
	vmm->high_ram = size - vmm->low_ram;
	vmm->kvm_slots = RAM_SLOTS;
	if (map_all(vmm) || pmem_map(vmm) || memory_show_all(vmm))
		return -1;
	config.regions = vmemdev_linux_regions(&vmm->memory, &config.region_count);
	err = vmemdev_guest_init(&vmm->guest, sizeof(vmm->guest), &config);
	return err ? fail("--memory: %s", vmemdev_strerror(err)) : 0;
}

uint64_t memory_page(const struct vmm *vmm)
{
	return vmemdev_linux_ram_at(&vmm->memory, 0)->page_size;
}

/* ---- bringing pages back ---- */

/* Pages of @ram that hold @range, which may pass its ends. */
static int bring_part(const struct vmemdev_linux_ram *ram, struct vmemdev_range range)
{
	uint64_t first = range.gpa > ram->gpa ? range.gpa - ram->gpa : 0;
	uint64_t end = range.gpa + range.len - ram->gpa;

	first -= first % ram->page_size;
	end = end < ram->size ? round_up(end, ram->page_size) : ram->size;
	if (!madvise((char *)ram->host + first, end - first, POPULATE_WRITE))
		return 0;
	/* Older than Linux 5.14: then a touch brings the page, or not. */
	return errno == EINVAL ? 0 : VMEMDEV_E_BUSY;
}

/* Of a memory device only what is plugged: the rest is not the guest's, and may be shut. */
static int bring_plugged(struct slot *slot, const struct vmemdev_linux_ram *ram,
			 struct vmemdev_range range)
{
	uint64_t gpa = range.gpa, end = range.gpa + range.len;
	struct vmemdev_range run;
	int err = 0;

	while (!err && gpa < end && vmemdev_mem_next(&slot->mem, gpa, true, &run) &&
	       run.gpa < end) {
		gpa = run.gpa + run.len < end ? run.gpa + run.len : end;
		run.len = gpa - run.gpa;
		err = bring_part(ram, run);
	}
	return err;
}

int memory_bring(struct vmm *vmm, const struct vmemdev_range *range)
{
	const struct vmemdev_linux_ram *ram;
	int err = 0;

	for (uint32_t i = 0; !err && (ram = vmemdev_linux_ram_at(&vmm->memory, i)); i++) {
		struct slot *slot = memory_device_at(vmm, ram->gpa);

		if (ram->page_size == SMALL_PAGE || ram->keep ||
		    range->gpa >= ram->gpa + ram->size ||
		    range->gpa + range->len <= ram->gpa)
			continue;
		err = slot ? bring_plugged(slot, ram, *range) : bring_part(ram, *range);
	}
	return err;
}

/* ---- what KVM sees ---- */

static int show(struct vmm *vmm, uint32_t number, uint64_t gpa, uint64_t len)
{
	const struct vmemdev_region *region = vmemdev_linux_region(&vmm->memory, gpa);

	if (!len)
		return 0;
	return kvm_add_memory(vmm, number, gpa, len, (char *)region->host + (gpa - region->gpa));
}

static int show_slot(void *ctx, uint32_t number, const struct vmemdev_range *range)
{
	const struct slot *slot = ctx;

	return show(slot->vmm, slot->kvm_first + number, range->gpa, range->len) ? VMEMDEV_E_HOST
										 : 0;
}

/*
 * The blocks were discarded as they were unplugged; what the guest has touched beside them
 * goes now, when it can touch it no more.
 */
static void hide_slot(void *ctx, uint32_t number, const struct vmemdev_range *range)
{
	const struct slot *slot = ctx;

	kvm_remove_memory(slot->vmm, slot->kvm_first + number);
	vmemdev_linux_discard(&slot->vmm->memory, range, 1);
}

/* Numbers for all slots that the region can have, so that no plug fails for want of one. */
static int take_numbers(struct slot *slot)
{
	const struct mem_option *option = slot->mem_option;
	uint32_t max = kvm_slots_max(slot->vmm), left = max - slot->vmm->kvm_slots;
	uint64_t size = option->kvm_slot ? option->kvm_slot : option->size, enough = size;

	while (left && (option->size - 1) / enough >= left)
		enough *= 2;
	if (!left || (enough > size && enough > KVM_SLOT_MAX))
		return fail("--mem: %s: this KVM has %" PRIu32 " memory slots, and %" PRIu32 " are "
			    "left: expected fewer or smaller --mem", slot->id, max, left);
	if (enough > size)
		return fail("--mem: %s: slots=%" PRIu64 " makes %" PRIu64 " memory slots, but of "
			    "the %" PRIu32 " that this KVM has %" PRIu32 " are left: expected "
			    "slots=%" PRIu64 "M or larger, or slots=off", slot->id, size,
			    (option->size - 1) / size + 1, max, left, (enough - 1) / MIB + 1);
	slot->kvm_first = slot->vmm->kvm_slots;
	slot->kvm_count = (uint32_t)((option->size - 1) / size + 1);
	slot->vmm->kvm_slots += slot->kvm_count;
	return 0;
}

static int follow_plugged(struct slot *slot)
{
	struct vmemdev_mem_slots_config config = {
		.struct_size = sizeof(config),
		.slot_count = slot->kvm_count,
		.slot_size = slot->mem_option->kvm_slot,
		.plugged = calloc(slot->kvm_count, sizeof(*config.plugged)),
		.map = show_slot,
		.unmap = hide_slot,
		.ctx = slot,
	};
	int err;

	if (!config.plugged)
		return fail("--mem: %s: no memory to count %" PRIu32 " slots: expected larger "
			    "slots", slot->id, slot->kvm_count);
	slot->kvm_plugged = config.plugged;
	err = vmemdev_mem_slots_init(&slot->kvm_slots, sizeof(slot->kvm_slots), &slot->mem,
				     &config);
	return err ? fail("--mem: %s: slots: %s", slot->id, vmemdev_strerror(err)) : 0;
}

int memory_show_device(struct slot *slot)
{
	const struct mem_option *option = slot->mem_option;
	struct vmm *vmm = slot->vmm;
	struct vmemdev_region *region = vmemdev_linux_region(&vmm->memory, option->addr);

	vmemdev_mem_region(&slot->mem, region->host, region);
	vmemdev_guest_changed(&vmm->guest);
	return take_numbers(slot);
}

int memory_follow_device(struct slot *slot)
{
	const struct mem_option *option = slot->mem_option;

	return option->kvm_slot ? follow_plugged(slot)
				: show(slot->vmm, slot->kvm_first, option->addr, option->size);
}

int memory_open_plugged(struct slot *slot)
{
	struct vmemdev_range run = {0};
	struct vmemdev_linux_error error;

	while (vmemdev_mem_next(&slot->mem, run.gpa + run.len, true, &run)) {
		if (!vmemdev_linux_mem_ops()->plug(&slot->vmm->memory, &run, 1, 0))
			continue;
		vmemdev_linux_last_error(&slot->vmm->memory, &error);
		return fail("%s: %s", slot->id, error.text);
	}
	return 0;
}

int memory_log_writes(struct vmm *vmm, uint32_t slot, bool log)
{
	uint64_t gpa = slot == HIGH_RAM_SLOT ? HIGH_RAM_START : 0;
	uint64_t len = slot == HIGH_RAM_SLOT ? vmm->high_ram : vmm->low_ram;

	return kvm_log_writes(vmm, slot, gpa, len, vmemdev_linux_region(&vmm->memory, gpa)->host,
			      log);
}

static int show_again(const struct slot *slot)
{
	const struct mem_option *option = slot->mem_option;

	if (!option->kvm_slot)
		return show(slot->vmm, slot->kvm_first, option->addr, option->size);
	for (uint32_t i = 0; i < slot->kvm_count; i++) {
		uint64_t offset = i * option->kvm_slot, left = option->size - offset;
		uint64_t len = left < option->kvm_slot ? left : option->kvm_slot;

		if (slot->kvm_plugged[i] &&
		    show(slot->vmm, slot->kvm_first + i, option->addr + offset, len))
			return -1;
	}
	return 0;
}

int memory_show_all(struct vmm *vmm)
{
	if (show(vmm, LOW_RAM_SLOT, 0, vmm->low_ram) ||
	    show(vmm, HIGH_RAM_SLOT, HIGH_RAM_START, vmm->high_ram))
		return -1;
	for (unsigned i = 0; i < vmm->slot_count; i++) {
		const struct slot *slot = &vmm->slots[i];

		if ((slot->mem_option && show_again(slot)) ||
		    (slot->pmem.option && pmem_show(slot)))
			return -1;
	}
	return 0;
}

bool memory_is_unplugged(const struct slot *slot, uint64_t gpa)
{
	struct vmemdev_range run;
	bool unplugged;

	pthread_mutex_lock(&slot->vmm->lock);
	unplugged = vmemdev_mem_next(&slot->mem, gpa, false, &run) && run.gpa == gpa;
	pthread_mutex_unlock(&slot->vmm->lock);
	return unplugged;
}

bool memory_is_hidden(const struct slot *slot)
{
	bool hidden;

	pthread_mutex_lock(&slot->vmm->lock);
	hidden = slot->hidden;
	pthread_mutex_unlock(&slot->vmm->lock);
	return hidden;
}

bool memory_hide_guarded(struct vmm *vmm)
{
	bool any = false;

	pthread_mutex_lock(&vmm->lock);
	for (unsigned i = 0; i < vmm->slot_count; i++) {
		struct slot *slot = &vmm->slots[i];

		if (!slot->mem_option || !slot->mem_option->guarded)
			continue;
		for (uint32_t n = 0; n < slot->kvm_count && !slot->hidden; n++) {
			if (!slot->kvm_plugged || slot->kvm_plugged[n])
				kvm_remove_memory(vmm, slot->kvm_first + n);
		}
		slot->hidden = any = true;
	}
	pthread_mutex_unlock(&vmm->lock);
	return any;
}

uint32_t memory_slots_shown(const struct slot *slot)
{
	return slot->kvm_plugged ? vmemdev_mem_slots_mapped(&slot->kvm_slots) : 1;
}

int memory_clear(struct vmm *vmm)
{
	const struct vmemdev_range ram[] = {
		{.gpa = 0, .len = vmm->low_ram},
		{.gpa = HIGH_RAM_START, .len = vmm->high_ram},
	};
	struct vmemdev_linux_error error;

	if (vmemdev_linux_discard(&vmm->memory, ram, vmm->high_ram ? 2 : 1)) {
		vmemdev_linux_last_error(&vmm->memory, &error);
		return fail("clearing the RAM: %s", error.text);
	}
	return 0;
}

/* returns: 0, or -1 and errno */
static int empty_file(const struct vmemdev_linux_ram *ram)
{
	struct stat st;

	if (!fallocate(ram->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		       (off_t)ram->file_offset, (off_t)ram->size))
		return 0;
	/* A file system without holes. All of the file is guest memory. */
	if (errno != EOPNOTSUPP || fstat(ram->fd, &st) || ftruncate(ram->fd, 0))
		return -1;
	return ftruncate(ram->fd, st.st_size);
}

int memory_empty_files(struct vmm *vmm)
{
	const struct vmemdev_linux_ram *ram;

	for (uint32_t i = 0; (ram = vmemdev_linux_ram_at(&vmm->memory, i)); i++) {
		if (!ram->keep && ram->backing == VMEMDEV_LINUX_FILE && empty_file(ram))
			return fail("--memory: path=%s: making it empty: %s: expected the name of a "
				    "new file, or of one that can be cut", vmm->options.memory.path,
				    strerror(errno));
	}
	return 0;
}

struct slot *memory_device_at(struct vmm *vmm, uint64_t gpa)
{
	for (unsigned i = 0; i < vmm->slot_count; i++) {
		const struct mem_option *option = vmm->slots[i].mem_option;

		if (option && gpa >= option->addr && gpa - option->addr < option->size)
			return &vmm->slots[i];
	}
	return NULL;
}

uint64_t memory_top(const struct vmm *vmm)
{
	const struct vmemdev_linux_ram *ram;
	uint64_t top = HIGH_RAM_START;

	for (uint32_t i = 0; (ram = vmemdev_linux_ram_at(&vmm->memory, i)); i++) {
		if (ram->gpa + ram->size > top)
			top = ram->gpa + ram->size;
	}
	return top;
}

void *memory_at(const struct vmm *vmm, uint64_t gpa, uint64_t len)
{
	if (gpa > vmm->low_ram || len > vmm->low_ram - gpa)
		return NULL;
	return (char *)vmemdev_linux_ram_at(&vmm->memory, 0)->host + gpa;
}

/* Whether the host may hold pages at @offset of a region: not where KVM shows it to nobody. */
static bool may_be_resident(struct slot *slot, uint64_t offset)
{
	bool shown;

	if (!slot || !slot->kvm_plugged)
		return true;
	pthread_mutex_lock(&slot->vmm->lock);
	shown = slot->kvm_plugged[offset / slot->mem_option->kvm_slot] > 0;
	pthread_mutex_unlock(&slot->vmm->lock);
	return shown;
}

static uint64_t resident_pages(void *host, uint64_t len)
{
	static unsigned char pages[RESIDENT_STEP / RESIDENT_PAGE];
	uint64_t count = 0;

	if (mincore(host, len, pages))
		return 0;
	for (uint64_t page = 0; page < len / RESIDENT_PAGE; page++)
		count += pages[page] & 1;
	return count;
}

static uint64_t resident_of(struct vmm *vmm, const struct vmemdev_linux_ram *ram)
{
	struct slot *slot = memory_device_at(vmm, ram->gpa);
	uint64_t step = slot && slot->kvm_plugged && slot->mem_option->kvm_slot < RESIDENT_STEP ?
			slot->mem_option->kvm_slot : RESIDENT_STEP;
	uint64_t count = 0;

	for (uint64_t at = 0; at < ram->size; at += step) {
		uint64_t left = ram->size - at;

		if (may_be_resident(slot, at))
			count += resident_pages((char *)ram->host + at, left < step ? left : step);
	}
	return count * RESIDENT_PAGE;
}

/* What mincore() says of RAM and plugged memory: pages that the host holds, shared ones too. */
uint64_t memory_resident(struct vmm *vmm)
{
	const struct vmemdev_linux_ram *ram;
	uint64_t bytes = 0;

	for (uint32_t i = 0; (ram = vmemdev_linux_ram_at(&vmm->memory, i)); i++) {
		if (!ram->keep)
			bytes += resident_of(vmm, ram);
	}
	return bytes;
}

uint64_t memory_ram_resident(struct vmm *vmm)
{
	const struct vmemdev_linux_ram *ram;
	uint64_t bytes = 0;

	for (uint32_t i = 0; (ram = vmemdev_linux_ram_at(&vmm->memory, i)); i++) {
		if (!ram->keep && !memory_device_at(vmm, ram->gpa))
			bytes += resident_of(vmm, ram);
	}
	return bytes;
}

uint64_t memory_process_rss(void)
{
	unsigned long long size, resident = 0;
	FILE *file = fopen("/proc/self/statm", "re");

	if (!file)
		return 0;
	if (fscanf(file, "%llu %llu", &size, &resident) != 2)
		resident = 0;
	fclose(file);
	return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

uint64_t memory_process_huge(void)
{
	FILE *file = fopen("/proc/self/status", "re");
	unsigned long long kib = 0;
	char line[128];

	while (file && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "HugetlbPages: %llu", &kib) == 1)
			break;
	}
	if (file)
		fclose(file);
	return kib << 10;
}
