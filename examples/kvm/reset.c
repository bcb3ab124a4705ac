// SPDX-License-Identifier: BSD-3-Clause
/*
 * The guest resets the machine. With --reboot=restart it starts anew in this process: a reset
 * of the whole system, in which memory devices unplug all blocks, other than in the reset that
 * a driver does to its device (vmemdev/mem.h, Resets).
 *
 * The vCPU that resets stops at once, and the others are told to. The main thread waits for
 * none of them, as one may be held up by the terminal: it goes on when the last has stopped.
 */
#include "vmm.h"

void reset_request(struct vmm *vmm, const char *reason)
{
	const char *none = NULL;

	if (!vmm->options.restart)
		vmm_stop(vmm, EXIT_GUEST_RESET, reason);
	else if (atomic_compare_exchange_strong(&vmm->reset_reason, &none, reason))
		loop_wake(vmm);
}

static void reset_devices(struct vmm *vmm)
{
	pthread_mutex_lock(&vmm->lock);
	hints_end(vmm);
	for (unsigned i = 0; i < vmm->slot_count; i++) {
		struct slot *slot = &vmm->slots[i];
		int err = vmemdev_device_system_reset(slot->device);

		slot->hidden = false;
		pmem_restart(slot);
		if (err)
			fail("%s: system reset: %s: what is plugged stays so until the guest "
			     "unplugs it", slot->id, vmemdev_strerror(err));
	}
	control_text_event(vmm, "reset", "machine", "reason", atomic_load(&vmm->reset_reason));
	pthread_mutex_unlock(&vmm->lock);
}

static int start_again(struct vmm *vmm)
{
	if (memory_clear(vmm) || kvm_renew(vmm) || memory_show_all(vmm) || boot_load(vmm) ||
	    acpi_write(vmm))
		return -1;
	serial_reset(vmm);
	atomic_store(&vmm->reset_reason, NULL);
	vmm->stopping = false;
	return kvm_start(vmm);
}

void reset_proceed(struct vmm *vmm)
{
	if (!atomic_load(&vmm->reset_reason))
		return;
	if (!vmm->stopping)
		kvm_stop(vmm);
	vmm->stopping = true;
	if (atomic_load(&vmm->vcpus_running))
		return;
	fail("%s: starting it again", atomic_load(&vmm->reset_reason));
	reset_devices(vmm);
	if (start_again(vmm))
		vmm_stop(vmm, EXIT_TROUBLE, "the machine could not be started again");
}
