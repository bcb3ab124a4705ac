// SPDX-License-Identifier: BSD-3-Clause
/*
 * The machine itself: what a VMM asks of /dev/kvm, and the loop of a vCPU. For the devices,
 * three things here matter: guest memory becomes KVM memory slots, an eventfd raises a
 * device's interrupt without an ioctl (irqfd), and another one is told of a doorbell without
 * an exit to this process (ioeventfd).
 */
#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm.h"

#define CPUID_MAX 256
#define TSS_ADDR 0xfffbd000 /* three pages that Intel's KVM needs; where nothing else is */

#define CR0_PE_ET_PG 0x80000011
#define CR4_PAE 0x20
#define EFER_LME_LMA 0x500
#define MSR_MTRR_DEF_TYPE 0x2ff
#define MTRR_ON_WRITE_BACK 0x806

/*
 * A /dev/kvm without these flags beside it is an emulation of KVM, found in containers and
 * cloud sandboxes, that stops at the first instruction that it does not know.
 */
static bool has_virtualisation(void)
{
	FILE *file = fopen("/proc/cpuinfo", "re");
	char *line = NULL;
	size_t size = 0;
	bool found = !file;

	while (!found && getline(&line, &size, file) > 0) {
		if (!strncmp(line, "flags", 5)) {
			found = strstr(line, " svm") || strstr(line, " vmx");
			break;
		}
	}
	free(line);
	if (file)
		fclose(file);
	return found;
}

static int open_kvm(struct vmm *vmm)
{
	vmm->kvm_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (vmm->kvm_fd < 0 && errno == EACCES)
		return fail("/dev/kvm: permission denied: become root or join the group kvm");
	if (vmm->kvm_fd < 0)
		return fail("/dev/kvm: %s: expected a host with KVM: load kvm-intel or kvm-amd, "
			    "switch virtualisation on in the firmware, or allow nesting",
			    strerror(errno));
	if (ioctl(vmm->kvm_fd, KVM_GET_API_VERSION, 0) != KVM_API_VERSION)
		return fail("/dev/kvm: speaks another version than %d", KVM_API_VERSION);
	if (!has_virtualisation())
		fail("WARNING: /proc/cpuinfo has neither svm nor vmx: this KVM only emulates and "
		     "will hardly boot Linux. Use a machine with hardware KVM, or one that QEMU "
		     "emulates with \"-cpu max,+svm\".");
	return 0;
}

static int need(const struct vmm *vmm, int capability, const char *name)
{
	if (ioctl(vmm->kvm_fd, KVM_CHECK_EXTENSION, capability) <= 0)
		return fail("/dev/kvm: no %s: expected a KVM of Linux 4.0 or later", name);
	return 0;
}

int kvm_create(struct vmm *vmm)
{
	uint64_t identity_map = TSS_ADDR - 0x1000;

	if (open_kvm(vmm) || need(vmm, KVM_CAP_IRQCHIP, "KVM_CAP_IRQCHIP") ||
	    need(vmm, KVM_CAP_IRQFD, "KVM_CAP_IRQFD") ||
	    need(vmm, KVM_CAP_IOEVENTFD, "KVM_CAP_IOEVENTFD") ||
	    need(vmm, KVM_CAP_EXT_CPUID, "KVM_CAP_EXT_CPUID"))
		return -1;
	vmm->vm_fd = ioctl(vmm->kvm_fd, KVM_CREATE_VM, 0);
	if (vmm->vm_fd < 0)
		return fail("KVM_CREATE_VM: %s", strerror(errno));
	if (ioctl(vmm->vm_fd, KVM_SET_IDENTITY_MAP_ADDR, &identity_map) < 0)
		return fail("KVM_SET_IDENTITY_MAP_ADDR: %s", strerror(errno));
	if (ioctl(vmm->vm_fd, KVM_SET_TSS_ADDR, TSS_ADDR) < 0)
		return fail("KVM_SET_TSS_ADDR: %s", strerror(errno));
	if (ioctl(vmm->vm_fd, KVM_CREATE_IRQCHIP, 0) < 0)
		return fail("KVM_CREATE_IRQCHIP: %s", strerror(errno));
	return 0;
}

/* How far the processor can address memory. */
static unsigned physical_bits(void)
{
	unsigned eax = 36, ebx, ecx, edx;

	__get_cpuid(0x80000008, &eax, &ebx, &ecx, &edx);
	return eax & 0xff;
}

int kvm_add_memory(struct vmm *vmm, uint32_t slot, uint64_t gpa, uint64_t len, void *host)
{
	struct kvm_userspace_memory_region region = {
		.slot = slot,
		.guest_phys_addr = gpa,
		.memory_size = len,
		.userspace_addr = (uintptr_t)host,
	};

	if ((gpa + len - 1) >> physical_bits())
		return fail("memory ends at 0x%" PRIx64 ", but the processor's addresses have %u "
			    "bits: make --memory or --mem smaller", gpa + len, physical_bits());
	if (ioctl(vmm->vm_fd, KVM_SET_USER_MEMORY_REGION, &region) < 0)
		return fail("KVM_SET_USER_MEMORY_REGION: 0x%" PRIx64 " bytes at 0x%" PRIx64 ": %s: "
			    "KVM takes less than 8T in one piece", len, gpa, strerror(errno));
	return 0;
}

int kvm_add_irqfd(struct vmm *vmm, uint32_t gsi)
{
	struct kvm_irqfd irqfd = {.gsi = gsi};
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	if (fd < 0)
		return fail("eventfd: %s", strerror(errno));
	irqfd.fd = (uint32_t)fd;
	if (ioctl(vmm->vm_fd, KVM_IRQFD, &irqfd) < 0)
		return fail("KVM_IRQFD: interrupt %" PRIu32 ": %s", gsi, strerror(errno));
	return fd;
}

int kvm_add_doorbell(struct vmm *vmm, uint64_t gpa, uint32_t value)
{
	struct kvm_ioeventfd doorbell = {
		.addr = gpa,
		.len = 4,
		.datamatch = value,
		.flags = KVM_IOEVENTFD_FLAG_DATAMATCH,
	};
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	if (fd < 0)
		return fail("eventfd: %s", strerror(errno));
	doorbell.fd = fd;
	if (ioctl(vmm->vm_fd, KVM_IOEVENTFD, &doorbell) < 0)
		return fail("KVM_IOEVENTFD: 0x%" PRIx64 ": %s", gpa, strerror(errno));
	return fd;
}

/*
 * What the guest's CPUID instruction says: all that KVM can do, but the processor's own
 * number in each place that holds one.
 */
static void adjust_cpuid(struct vmm *vmm, struct kvm_cpuid2 *cpuid, unsigned cpu)
{
	bool deadline = ioctl(vmm->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_TSC_DEADLINE_TIMER) > 0;
	unsigned cpus = vmm->options.cpus;

	for (uint32_t i = 0; i < cpuid->nent; i++) {
		struct kvm_cpuid_entry2 *e = &cpuid->entries[i];

		switch (e->function) {
		case 0x1:
			e->ebx = (e->ebx & 0xffff) | cpus << 16 | cpu << 24;
			e->ecx |= 1u << 31 | (deadline ? 1u << 24 : 0);
			e->edx |= cpus > 1 ? 1u << 28 : 0;
			break;
		case 0xb:
		case 0x1f: /* no topology: the guest falls back to leaf 1 */
			e->eax = 0;
			e->ebx = 0;
			e->ecx = 0;
			e->edx = cpu;
			break;
		case 0x80000008:
			e->ecx = cpus - 1;
			break;
		case 0x8000001e:
			e->eax = cpu;
			e->ebx = cpu;
			e->ecx = 0;
			break;
		default:
			break;
		}
	}
}

static int set_cpuid(struct vcpu *vcpu)
{
	struct vmm *vmm = vcpu->vmm;
	struct kvm_cpuid2 *cpuid;
	int err = 0;

	cpuid = calloc(1, sizeof(*cpuid) + CPUID_MAX * sizeof(cpuid->entries[0]));
	if (!cpuid)
		return fail("out of memory");
	cpuid->nent = CPUID_MAX;
	if (ioctl(vmm->kvm_fd, KVM_GET_SUPPORTED_CPUID, cpuid) < 0) {
		err = fail("KVM_GET_SUPPORTED_CPUID: %s", strerror(errno));
	} else {
		adjust_cpuid(vmm, cpuid, vcpu->index);
		if (ioctl(vcpu->fd, KVM_SET_CPUID2, cpuid) < 0)
			err = fail("KVM_SET_CPUID2: %s", strerror(errno));
	}
	free(cpuid);
	return err;
}

/* All memory is cached write-back, which a kernel expects of its firmware. */
static int set_msrs(struct vcpu *vcpu)
{
	struct kvm_msrs *msrs = calloc(1, sizeof(*msrs) + sizeof(msrs->entries[0]));
	int err = 0;

	if (!msrs)
		return fail("out of memory");
	msrs->nmsrs = 1;
	msrs->entries[0].index = MSR_MTRR_DEF_TYPE;
	msrs->entries[0].data = MTRR_ON_WRITE_BACK;
	if (ioctl(vcpu->fd, KVM_SET_MSRS, msrs) != 1)
		err = fail("KVM_SET_MSRS: %s", strerror(errno));
	free(msrs);
	return err;
}

/* The first vCPU starts in 64-bit mode, as boot.c prepared it; the others wait to be called. */
static int set_registers(struct vcpu *vcpu)
{
	const struct vmm *vmm = vcpu->vmm;
	struct kvm_segment segment = {
		.selector = BOOT_DS, .limit = 0xffffffff, .type = 3, .present = 1, .db = 1,
		.s = 1, .g = 1,
	};
	struct kvm_regs regs = {
		.rip = vmm->kernel_entry, .rsi = vmm->boot_params, .rflags = 2,
	};
	struct kvm_sregs sregs;

	if (ioctl(vcpu->fd, KVM_GET_SREGS, &sregs) < 0)
		return fail("KVM_GET_SREGS: %s", strerror(errno));
	sregs.ds = sregs.es = sregs.ss = sregs.fs = sregs.gs = segment;
	segment.selector = BOOT_CS;
	segment.type = 11;
	segment.db = 0;
	segment.l = 1;
	sregs.cs = segment;
	sregs.gdt.base = BOOT_GDT;
	sregs.gdt.limit = BOOT_GDT_SIZE - 1;
	sregs.idt.limit = 0;
	sregs.cr0 = CR0_PE_ET_PG;
	sregs.cr3 = BOOT_PAGE_TABLES;
	sregs.cr4 = CR4_PAE;
	sregs.efer = EFER_LME_LMA;
	if (ioctl(vcpu->fd, KVM_SET_SREGS, &sregs) < 0)
		return fail("KVM_SET_SREGS: %s", strerror(errno));
	if (ioctl(vcpu->fd, KVM_SET_REGS, &regs) < 0)
		return fail("KVM_SET_REGS: %s", strerror(errno));
	return 0;
}

static void power_write(struct vmm *vmm, uint16_t port, uint8_t value)
{
	if (port == RESET_PORT && value == RESET_VALUE)
		vmm_stop(vmm, EXIT_GUEST_RESET, "guest reset");
	else if (port == SLEEP_CONTROL_PORT && (value & SLEEP_ENABLE))
		vmm_stop(vmm, EXIT_POWER_OFF, "guest power-off");
}

static void port_io(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	uint8_t *data = (uint8_t *)run + run->io.data_offset;
	uint32_t bytes = run->io.size * run->io.count;
	bool serial = run->io.port >= SERIAL_PORT && run->io.port < SERIAL_PORT + 8;

	if (run->io.direction == KVM_EXIT_IO_IN) {
		for (uint32_t i = 0; i < bytes; i++)
			data[i] = serial ? serial_read(vcpu->vmm, run->io.port - SERIAL_PORT)
					 : 0xff;
		return;
	}
	for (uint32_t i = 0; i < bytes; i++) {
		if (serial)
			serial_write(vcpu->vmm, run->io.port - SERIAL_PORT, data[i]);
		else
			power_write(vcpu->vmm, run->io.port, data[i]);
	}
}

static void mmio(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	uint64_t value = 0;

	if (run->mmio.is_write) {
		memcpy(&value, run->mmio.data, run->mmio.len);
		virtio_write(vcpu->vmm, run->mmio.phys_addr, run->mmio.len, value);
	} else {
		value = virtio_read(vcpu->vmm, run->mmio.phys_addr, run->mmio.len);
		memcpy(run->mmio.data, &value, run->mmio.len);
	}
}

static void internal_error(struct vcpu *vcpu)
{
	struct kvm_regs regs = {0};

	ioctl(vcpu->fd, KVM_GET_REGS, &regs);
	fail("vCPU %u: KVM_EXIT_INTERNAL_ERROR, suberror %" PRIu32 ", at rip 0x%" PRIx64 ": KVM met"
	     " an instruction that it cannot emulate%s",
	     vcpu->index, vcpu->run->internal.suberror, (uint64_t)regs.rip,
	     has_virtualisation() ? "" : "; it only emulates here, as the processor has neither svm"
					 " nor vmx: use hardware KVM");
	vmm_stop(vcpu->vmm, EXIT_TROUBLE, "KVM internal error");
}

/* returns: whether this vCPU can go on */
static bool handle_exit(struct vcpu *vcpu)
{
	switch (vcpu->run->exit_reason) {
	case KVM_EXIT_IO:
		port_io(vcpu);
		return true;
	case KVM_EXIT_MMIO:
		mmio(vcpu);
		return true;
	case KVM_EXIT_SHUTDOWN:
		vmm_stop(vcpu->vmm, EXIT_GUEST_RESET, "guest triple fault");
		return false;
	case KVM_EXIT_INTERNAL_ERROR:
		internal_error(vcpu);
		return false;
	default:
		fail("vCPU %u: unexpected exit, reason %" PRIu32, vcpu->index,
		     vcpu->run->exit_reason);
		vmm_stop(vcpu->vmm, EXIT_TROUBLE, "unexpected exit of a vCPU");
		return false;
	}
}

static void *vcpu_thread(void *ctx)
{
	struct vcpu *vcpu = ctx;
	bool going = true;

	while (going) {
		if (ioctl(vcpu->fd, KVM_RUN, 0) == 0) {
			going = handle_exit(vcpu);
		} else if (errno != EINTR && errno != EAGAIN) { /* else nothing has happened */
			fail("vCPU %u: KVM_RUN: %s", vcpu->index, strerror(errno));
			vmm_stop(vcpu->vmm, EXIT_TROUBLE, "KVM_RUN failed");
			going = false;
		}
	}
	return NULL;
}

static int create_vcpu(struct vmm *vmm, unsigned index)
{
	struct vcpu *vcpu = &vmm->vcpus[index];
	int size = ioctl(vmm->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);

	vcpu->vmm = vmm;
	vcpu->index = index;
	vcpu->fd = ioctl(vmm->vm_fd, KVM_CREATE_VCPU, (unsigned long)index);
	if (vcpu->fd < 0)
		return fail("KVM_CREATE_VCPU: vCPU %u: %s: try fewer --cpus", index,
			    strerror(errno));
	vcpu->run = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);
	if (size < 0 || vcpu->run == MAP_FAILED)
		return fail("vCPU %u: mapping its state: %s", index, strerror(errno));
	if (set_cpuid(vcpu) || set_msrs(vcpu))
		return -1;
	return index ? 0 : set_registers(vcpu);
}

int kvm_start(struct vmm *vmm)
{
	for (unsigned i = 0; i < vmm->options.cpus; i++) {
		if (create_vcpu(vmm, i))
			return -1;
	}
	for (unsigned i = 0; i < vmm->options.cpus; i++) {
		int err = pthread_create(&vmm->vcpus[i].thread, NULL, vcpu_thread, &vmm->vcpus[i]);

		if (err)
			return fail("vCPU %u: starting its thread: %s", i, strerror(err));
	}
	return 0;
}
