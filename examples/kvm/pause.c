// SPDX-License-Identifier: BSD-3-Clause
/*
 * All vCPUs stand still for a while, and nothing of the guest moves but what the main thread does
 * itself. As in a reset (reset.c) nobody waits for a vCPU that is held up by the terminal: what
 * is to be done is done when the last has stopped. A reset of the guest's goes first.
 */
#include <time.h>

#include "vmm.h"

uint64_t pause_clock(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * (uint64_t)SECOND + (uint64_t)now.tv_nsec;
}

bool pause_start(struct vmm *vmm, void (*paused)(struct vmm *vmm))
{
	if (vmm->pause.paused)
		return false;
	vmm->pause = (struct pause){.paused = paused};
	loop_wake(vmm);
	return true;
}

void pause_proceed(struct vmm *vmm)
{
	struct pause *pause = &vmm->pause;

	if (!pause->paused || pause->still)
		return;
	if (atomic_load(&vmm->reset_reason)) {
		pause->told = false; /* there will be others to tell */
		return;
	}
	if (!pause->told) {
		pause->since = pause_clock();
		kvm_pause(vmm);
	}
	pause->told = true;
	if (atomic_load(&vmm->vcpus_running))
		return;
	pause->still = true;
	pause->paused(vmm);
}

void pause_end(struct vmm *vmm)
{
	bool still = vmm->pause.still;

	vmm->pause = (struct pause){0};
	if (still && kvm_go_on(vmm))
		vmm_stop(vmm, EXIT_TROUBLE, "the vCPUs could not go on");
}
