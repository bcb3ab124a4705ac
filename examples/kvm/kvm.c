// SPDX-License-Identifier: BSD-3-Clause
/*
 * The machine itself: what a VMM asks of /dev/kvm, and the loop of a vCPU. For the devices,
 * three things here matter: guest memory becomes KVM memory slots, an eventfd raises a
 * device's interrupt without an ioctl (irqfd), and another one is told of a doorbell without
 * an exit to this process (ioeventfd).
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm.h"

#define CPUID_MAX 256
#define CPUID_ADDRESSES 0x80000008
#define KICK SIGUSR1 /* takes a vCPU out of KVM_RUN */
#define TSS_ADDR 0xfffbd000 /* three pages that Intel's KVM needs; where nothing else is */

#define CR0_PE_ET_PG 0x80000011
#define CR4_PAE 0x20
#define EFER_LME_LMA 0x500
#define MSR_MTRR_DEF_TYPE 0x2ff
#define MTRR_ON_WRITE_BACK 0x806

/* Newer than many a header, in struct kvm_run where "hw" is: why KVM_RUN failed with EFAULT. */
#define EXIT_MEMORY_FAULT 39

struct memory_fault {
	uint64_t flags, gpa, size;
};

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
		return fail("/dev/kvm: no %s: expected a KVM of Linux 4.13 or later", name);
	return 0;
}

/* An empty virtual machine; and kvm_renew() makes another in its place. */
static int create_machine(struct vmm *vmm)
{
	uint64_t identity_map = TSS_ADDR - 0x1000;

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

int kvm_create(struct vmm *vmm)
{
	if (open_kvm(vmm) || need(vmm, KVM_CAP_IRQCHIP, "KVM_CAP_IRQCHIP") ||
	    need(vmm, KVM_CAP_IRQFD, "KVM_CAP_IRQFD") ||
	    need(vmm, KVM_CAP_IOEVENTFD, "KVM_CAP_IOEVENTFD") ||
	    need(vmm, KVM_CAP_EXT_CPUID, "KVM_CAP_EXT_CPUID") ||
	    need(vmm, KVM_CAP_NR_MEMSLOTS, "KVM_CAP_NR_MEMSLOTS") ||
	    need(vmm, KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT"))
		return -1;
	return create_machine(vmm);
}

uint32_t kvm_slots_max(const struct vmm *vmm)
{
	return (uint32_t)ioctl(vmm->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_NR_MEMSLOTS);
}

/* All that KVM can do. returns: to be freed, or NULL, having said what is wrong */
static struct kvm_cpuid2 *supported_cpuid(const struct vmm *vmm)
{
	struct kvm_cpuid2 *cpuid;

	cpuid = calloc(1, sizeof(*cpuid) + CPUID_MAX * sizeof(cpuid->entries[0]));
	if (!cpuid) {
		fail("out of memory");
		return NULL;
	}
	cpuid->nent = CPUID_MAX;
	if (ioctl(vmm->kvm_fd, KVM_GET_SUPPORTED_CPUID, cpuid) < 0) {
		fail("KVM_GET_SUPPORTED_CPUID: %s", strerror(errno));
		free(cpuid);
		return NULL;
	}
	return cpuid;
}

unsigned kvm_address_bits(const struct vmm *vmm)
{
	struct kvm_cpuid2 *cpuid = supported_cpuid(vmm);
	unsigned bits = 36; /* of a processor that does not say */

	for (uint32_t i = 0; cpuid && i < cpuid->nent; i++) {
		if (cpuid->entries[i].function == CPUID_ADDRESSES && cpuid->entries[i].eax & 0xff)
			bits = cpuid->entries[i].eax & 0xff;
	}
	free(cpuid);
	return bits;
}

static int add_memory(struct vmm *vmm, uint32_t slot, uint32_t flags, uint64_t gpa, uint64_t len,
		      void *host)
{
	struct kvm_userspace_memory_region region = {
		.slot = slot,
		.flags = flags,
		.guest_phys_addr = gpa,
		.memory_size = len,
		.userspace_addr = (uintptr_t)host,
	};

	if (ioctl(vmm->vm_fd, KVM_SET_USER_MEMORY_REGION, &region) < 0)
		return fail("KVM_SET_USER_MEMORY_REGION: slot %" PRIu32 ", 0x%" PRIx64 " bytes at "
			    "0x%" PRIx64 ": %s: expected a host with memory for KVM's tables",
			    slot, len, gpa, strerror(errno));
	return 0;
}

int kvm_add_memory(struct vmm *vmm, uint32_t slot, uint64_t gpa, uint64_t len, void *host)
{
	return add_memory(vmm, slot, 0, gpa, len, host);
}

/* The guest reads it without an exit; a write is one, to a device that is not there. */
int kvm_add_read_only(struct vmm *vmm, uint32_t slot, uint64_t gpa, uint64_t len, void *host)
{
	return add_memory(vmm, slot, KVM_MEM_READONLY, gpa, len, host);
}

int kvm_log_writes(struct vmm *vmm, uint32_t slot, uint64_t gpa, uint64_t len, void *host, bool log)
{
	return add_memory(vmm, slot, log ? KVM_MEM_LOG_DIRTY_PAGES : 0, gpa, len, host);
}

int kvm_take_written(struct vmm *vmm, uint32_t slot, uint64_t *pages)
{
	struct kvm_dirty_log log = {.slot = slot, .dirty_bitmap = pages};

	if (ioctl(vmm->vm_fd, KVM_GET_DIRTY_LOG, &log) < 0)
		return fail("KVM_GET_DIRTY_LOG: slot %" PRIu32 ": %s", slot, strerror(errno));
	return 0;
}

void kvm_remove_memory(struct vmm *vmm, uint32_t slot)
{
	struct kvm_userspace_memory_region region = {.slot = slot};

	if (ioctl(vmm->vm_fd, KVM_SET_USER_MEMORY_REGION, &region) < 0)
		fail("KVM_SET_USER_MEMORY_REGION: removing slot %" PRIu32 ": %s: the guest keeps "
		     "access to it", slot, strerror(errno));
}

static int connect_irq(const struct vmm *vmm, const struct irq_wire *wire)
{
	struct kvm_irqfd irqfd = {.fd = (uint32_t)wire->fd, .gsi = wire->gsi};

	if (ioctl(vmm->vm_fd, KVM_IRQFD, &irqfd) < 0)
		return fail("KVM_IRQFD: interrupt %" PRIu32 ": %s", wire->gsi, strerror(errno));
	return 0;
}

static int connect_doorbell(const struct vmm *vmm, const struct doorbell_wire *wire)
{
	struct kvm_ioeventfd doorbell = {
		.addr = wire->gpa,
		.len = 4,
		.fd = wire->fd,
		.datamatch = wire->value,
		.flags = KVM_IOEVENTFD_FLAG_DATAMATCH,
	};

	if (ioctl(vmm->vm_fd, KVM_IOEVENTFD, &doorbell) < 0)
		return fail("KVM_IOEVENTFD: 0x%" PRIx64 ": %s", wire->gpa, strerror(errno));
	return 0;
}

int kvm_add_irqfd(struct vmm *vmm, uint32_t gsi)
{
	struct irq_wire *wire = &vmm->irqs[vmm->irq_count];

	*wire = (struct irq_wire){.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), .gsi = gsi};
	if (wire->fd < 0)
		return fail("eventfd: %s", strerror(errno));
	if (connect_irq(vmm, wire))
		return -1;
	vmm->irq_count++;
	return wire->fd;
}

int kvm_add_doorbell(struct vmm *vmm, uint64_t gpa, uint32_t value)
{
	struct doorbell_wire *wire = &vmm->doorbells[vmm->doorbell_count];

	*wire = (struct doorbell_wire){
		.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), .value = value, .gpa = gpa,
	};
	if (wire->fd < 0)
		return fail("eventfd: %s", strerror(errno));
	if (connect_doorbell(vmm, wire))
		return -1;
	vmm->doorbell_count++;
	return wire->fd;
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
		case CPUID_ADDRESSES:
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
	vcpu->cpuid = supported_cpuid(vcpu->vmm);
	if (!vcpu->cpuid)
		return -1;
	adjust_cpuid(vcpu->vmm, vcpu->cpuid, vcpu->index);
	if (ioctl(vcpu->fd, KVM_SET_CPUID2, vcpu->cpuid) < 0)
		return fail("KVM_SET_CPUID2: %s", strerror(errno));
	return 0;
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
		reset_request(vmm, "guest reset");
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

static void fault_somewhere(struct vcpu *vcpu)
{
	struct kvm_regs regs = {0};

	ioctl(vcpu->fd, KVM_GET_REGS, &regs);
	fail("vCPU %u: at rip 0x%" PRIx64 " the guest touched memory that the host cannot "
	     "provide%s", vcpu->index, (uint64_t)regs.rip,
	     memory_page(vcpu->vmm) == SMALL_PAGE ? ": expected one with memory left, or less "
						    "--memory, and room on the disk of a --pmem" :
						    ", as it has no free huge page: write a "
						    "larger number to /proc/sys/vm/nr_hugepages");
	vmm_stop(vcpu->vmm, EXIT_TROUBLE, "the host has no memory for the guest");
}

/* returns: false: this vCPU cannot go on */
static bool guarded_touched(struct vcpu *vcpu, const struct slot *device, uint64_t gpa)
{
	if (memory_is_unplugged(device, gpa)) {
		fail("vCPU %u: the guest touched 0x%" PRIx64 ", unplugged memory of %s, which is "
		     "guarded: a driver that accepts UNPLUGGED_INACCESSIBLE promises not to; "
		     "guarded=off lets it go on", vcpu->index, gpa, device->id);
		vmm_stop(vcpu->vmm, EXIT_GUEST_FAULT, "guest touched unplugged memory");
	} else if (vcpu->faulted) {
		fault_somewhere(vcpu);
	} else if (!memory_is_hidden(device)) {
		fail("vCPU %u: the guest touched 0x%" PRIx64 " of %s before it was told that this "
		     "is plugged: a driver waits for the answer", vcpu->index, gpa, device->id);
		vmm_stop(vcpu->vmm, EXIT_GUEST_FAULT, "guest touched unplugged memory");
	} /* else it is out of the way for a vCPU that is about to say where */
	return false;
}

/*
 * Where neither memory is nor a device, a read gives all ones and a write goes nowhere, as on a
 * PC with nothing at that address. That is this VMM's policy for unplugged memory where KVM has
 * no slot, too: the specification lets a guest without UNPLUGGED_INACCESSIBLE read it, but
 * promises no value. Such a touch costs an exit, and harms nobody else.
 *
 * returns: whether this vCPU can go on
 */
static bool mmio(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	const struct slot *device = memory_device_at(vcpu->vmm, run->mmio.phys_addr);
	uint64_t value = 0;

	if (device && device->mem_option->guarded)
		return guarded_touched(vcpu, device, run->mmio.phys_addr);
	if (run->mmio.is_write) {
		memcpy(&value, run->mmio.data, run->mmio.len);
		virtio_write(vcpu->vmm, run->mmio.phys_addr, run->mmio.len, value);
	} else {
		value = virtio_read(vcpu->vmm, run->mmio.phys_addr, run->mmio.len);
		memcpy(run->mmio.data, &value, run->mmio.len);
	}
	return true;
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
		return mmio(vcpu);
	case KVM_EXIT_SHUTDOWN:
		reset_request(vcpu->vmm, "guest triple fault");
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

/*
 * KVM_RUN found no host memory behind what the guest touched: of what is guarded, by intent.
 * Few kernels say where that was. But with the guarded regions out of the virtual machine, which
 * is at its end anyway, the same instruction touches a device that is not there, at an address.
 *
 * returns: whether this vCPU is to try once more
 */
static bool memory_fault(struct vcpu *vcpu)
{
	const struct slot *device;
	struct memory_fault fault;

	memcpy(&fault, &vcpu->run->hw, sizeof(fault));
	if (vcpu->run->exit_reason == EXIT_MEMORY_FAULT) {
		device = memory_device_at(vcpu->vmm, fault.gpa);
		if (device && device->mem_option->guarded &&
		    memory_is_unplugged(device, fault.gpa))
			return guarded_touched(vcpu, device, fault.gpa);
	}
	if (!vcpu->faulted && memory_hide_guarded(vcpu->vmm)) {
		vcpu->faulted = true;
		return true;
	}
	fault_somewhere(vcpu);
	return false;
}

static bool run_once(struct vcpu *vcpu)
{
	if (ioctl(vcpu->fd, KVM_RUN, 0) == 0)
		return handle_exit(vcpu);
	/* Nothing has happened, but that what was half done with a device is done. */
	if (errno == EINTR || errno == EAGAIN)
		return errno == EAGAIN || !atomic_load(&vcpu->vmm->pausing);
	if (errno == EFAULT)
		return memory_fault(vcpu);
	fail("vCPU %u: KVM_RUN: %s", vcpu->index, strerror(errno));
	vmm_stop(vcpu->vmm, EXIT_TROUBLE, "KVM_RUN failed");
	return false;
}

static void *vcpu_thread(void *ctx)
{
	struct vcpu *vcpu = ctx;
	struct vmm *vmm = vcpu->vmm;

	while (!atomic_load(&vmm->reset_reason) && run_once(vcpu))
		;
	atomic_fetch_sub(&vmm->vcpus_running, 1);
	loop_wake(vmm);
	return NULL;
}

static int create_vcpu(struct vmm *vmm, unsigned index)
{
	struct vcpu *vcpu = &vmm->vcpus[index];
	int size = ioctl(vmm->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);

	*vcpu = (struct vcpu){.vmm = vmm, .index = index};
	vcpu->fd = ioctl(vmm->vm_fd, KVM_CREATE_VCPU, (unsigned long)index);
	if (vcpu->fd < 0)
		return fail("KVM_CREATE_VCPU: vCPU %u: %s: try fewer --cpus", index,
			    strerror(errno));
	vcpu->run_size = (size_t)size;
	vcpu->run = mmap(NULL, vcpu->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);
	if (size < 0 || vcpu->run == MAP_FAILED)
		return fail("vCPU %u: mapping its state: %s", index, strerror(errno));
	if (set_cpuid(vcpu) || set_msrs(vcpu))
		return -1;
	return index ? 0 : set_registers(vcpu);
}

static void kicked(int signal)
{
	(void)signal;
}

int kvm_create_vcpus(struct vmm *vmm)
{
	for (unsigned i = 0; i < vmm->options.cpus; i++) {
		if (create_vcpu(vmm, i))
			return -1;
	}
	return 0;
}

int kvm_run(struct vmm *vmm)
{
	struct sigaction action = {.sa_handler = kicked};

	sigaction(KICK, &action, NULL);
	atomic_store(&vmm->vcpus_running, vmm->options.cpus);
	for (unsigned i = 0; i < vmm->options.cpus; i++) {
		int err = pthread_create(&vmm->vcpus[i].thread, NULL, vcpu_thread, &vmm->vcpus[i]);

		if (err)
			return fail("vCPU %u: starting its thread: %s", i, strerror(err));
	}
	return 0;
}

int kvm_start(struct vmm *vmm)
{
	return kvm_create_vcpus(vmm) ? -1 : kvm_run(vmm);
}

/* The flag stops a vCPU that is about to enter KVM_RUN, the signal one that is in there. */
void kvm_stop(struct vmm *vmm)
{
	for (unsigned i = 0; i < vmm->options.cpus; i++) {
		__atomic_store_n(&vmm->vcpus[i].run->immediate_exit, 1, __ATOMIC_SEQ_CST);
		pthread_kill(vmm->vcpus[i].thread, KICK);
	}
}

/*
 * What a vCPU was doing with a device when it was stopped, it has finished: KVM does that on
 * entry, before it looks at the flag.
 */
void kvm_pause(struct vmm *vmm)
{
	atomic_store(&vmm->pausing, true);
	kvm_stop(vmm);
}

int kvm_go_on(struct vmm *vmm)
{
	for (unsigned i = 0; i < vmm->options.cpus; i++) {
		pthread_join(vmm->vcpus[i].thread, NULL);
		vmm->vcpus[i].run->immediate_exit = 0;
	}
	atomic_store(&vmm->pausing, false);
	kvm_tell_paused(vmm);
	return kvm_run(vmm);
}

/*
 * A machine that was just switched on, whatever state the old one was in: a new one is simpler
 * than setting back each register of each processor and of the interrupt controllers.
 */
int kvm_renew(struct vmm *vmm)
{
	for (unsigned i = 0; i < vmm->options.cpus; i++) {
		struct vcpu *vcpu = &vmm->vcpus[i];

		pthread_join(vcpu->thread, NULL);
		munmap(vcpu->run, vcpu->run_size);
		close(vcpu->fd);
		free(vcpu->cpuid);
	}
	close(vmm->vm_fd);
	if (create_machine(vmm))
		return -1;
	for (unsigned i = 0; i < vmm->irq_count; i++) {
		if (connect_irq(vmm, &vmm->irqs[i]))
			return -1;
	}
	for (unsigned i = 0; i < vmm->doorbell_count; i++) {
		if (connect_doorbell(vmm, &vmm->doorbells[i]))
			return -1;
	}
	return 0;
}
