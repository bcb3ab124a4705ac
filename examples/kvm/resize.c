// SPDX-License-Identifier: BSD-3-Clause
/*
 * Bringing a memory device to a size, and telling how that goes: what vmemdev/mem_resize.h
 * wants of its host is a clock, and a look whenever something has changed. Whoever asked for
 * events hears of each change of state at once, and of progress a few times a second.
 */
#include "vmm.h"

#define TICK (250 * MILLISECOND)

static bool is_over(uint32_t state)
{
	return state == VMEMDEV_MEM_RESIZE_NONE || state > VMEMDEV_MEM_RESIZE_STALLED;
}

static void tell(struct resize *resize, const struct vmemdev_mem_resize_progress *progress)
{
	resize->told_state = progress->state;
	resize->told_plugged = progress->plugged;
	control_resize_event(resize->slot->vmm, resize->slot->id, progress);
}

static void look(struct resize *resize, bool tell_progress)
{
	struct vmemdev_mem_resize_progress progress;

	vmemdev_mem_resize_step(&resize->run, timer_now());
	vmemdev_mem_resize_get(&resize->run, &progress);
	if (progress.state != resize->told_state ||
	    (tell_progress && progress.plugged != resize->told_plugged))
		tell(resize, &progress);
	if (is_over(progress.state))
		timer_set(&resize->timer, 0);
}

void resize_look(struct resize *resize)
{
	if (!is_over(resize->told_state))
		look(resize, false);
}

static void timer_ready(void *ctx)
{
	struct resize *resize = ctx;
	struct vmm *vmm = resize->slot->vmm;

	if (!timer_rang(&resize->timer))
		return;
	pthread_mutex_lock(&vmm->lock);
	if (!is_over(resize->told_state))
		look(resize, true);
	pthread_mutex_unlock(&vmm->lock);
}

int resize_create(struct slot *slot)
{
	slot->resize.slot = slot;
	return timer_add(slot->vmm, &slot->resize.timer, timer_ready, &slot->resize);
}

bool resize_goes_on(const struct resize *resize)
{
	return !is_over(resize->told_state);
}

bool resize_cancel(struct resize *resize)
{
	if (is_over(resize->told_state))
		return false;
	vmemdev_mem_resize_cancel(&resize->run);
	look(resize, false);
	return true;
}

/* A size that is refused leaves the resize before it running; any other takes its place. */
int resize_start(struct resize *resize, const struct vmemdev_mem_resize_config *config)
{
	struct vmemdev_mem_resize_progress progress;
	struct vmemdev_mem_resize next;
	int err;

	err = vmemdev_mem_resize_start(&next, sizeof(next), &resize->slot->mem, config,
				       timer_now());
	if (err)
		return err;
	if (!is_over(resize->told_state)) {
		vmemdev_mem_resize_get(&resize->run, &progress);
		progress.state = VMEMDEV_MEM_RESIZE_CANCELLED;
		tell(resize, &progress);
	}
	resize->run = next;
	resize->asked = *config;
	resize->started = timer_now();
	resize->told_state = VMEMDEV_MEM_RESIZE_NONE;
	timer_set(&resize->timer, TICK);
	look(resize, true);
	return 0;
}

const char *resize_state_name(uint32_t state)
{
	static const char *const names[] = {
		"none", "running", "stalled", "done", "timed-out", "cancelled",
	};

	return state < sizeof(names) / sizeof(names[0]) ? names[state] : "unknown";
}
