/* SPDX-License-Identifier: BSD-3-Clause */
/* A resize to its end, seen from outside the device. */
#include "core/config.h"
#include "core/libc.h"

#include <vmemdev/mem_resize.h>

static uint64_t plugged(const struct vmemdev_mem_resize *r)
{
	struct vmemdev_mem_sizes sizes;

	vmemdev_mem_get_sizes(r->mem_, &sizes);
	return sizes.plugged;
}

static uint64_t requested(const struct vmemdev_mem_resize *r)
{
	struct vmemdev_mem_sizes sizes;

	vmemdev_mem_get_sizes(r->mem_, &sizes);
	return sizes.requested;
}

static bool over(const struct vmemdev_mem_resize *r)
{
	return r->state_ == VMEMDEV_MEM_RESIZE_NONE || r->state_ > VMEMDEV_MEM_RESIZE_STALLED;
}

/* What is plugged is a number of blocks within the region: only in a callback is it refused. */
static void settle(struct vmemdev_mem_resize *r, enum vmemdev_mem_resize_state end)
{
	if (vmemdev_mem_set_requested(r->mem_, plugged(r)) == 0)
		r->state_ = end;
}

int vmemdev_mem_resize_start(struct vmemdev_mem_resize *resize, size_t resize_size,
			     struct vmemdev_mem *mem,
			     const struct vmemdev_mem_resize_config *config, uint64_t now)
{
	struct vmemdev_mem_resize_config given;
	int err;

	if (resize == NULL || mem == NULL)
		return VMEMDEV_E_INVAL;
	if (resize_size != sizeof(*resize))
		return VMEMDEV_E_ABI;
	err = config_take(&given, sizeof(given), sizeof(given), config);
	if (err == 0 && !config_zero(given.pad_, sizeof(given.pad_)))
		err = VMEMDEV_E_INVAL;
	if (err == 0)
		err = vmemdev_mem_set_requested(mem, given.bytes);
	if (err != 0)
		return err;
	memset(resize, 0, sizeof(*resize));
	resize->mem_ = mem;
	resize->from_ = resize->seen_ = plugged(resize);
	resize->to_ = given.bytes;
	resize->started_ = resize->moved_ = now;
	resize->stall_after_ = given.stall_after;
	resize->timeout_ = given.timeout;
	resize->state_ = VMEMDEV_MEM_RESIZE_RUNNING;
	return 0;
}

enum vmemdev_mem_resize_state vmemdev_mem_resize_step(struct vmemdev_mem_resize *resize,
						      uint64_t now)
{
	if (over(resize))
		return (enum vmemdev_mem_resize_state)resize->state_;
	if (requested(resize) != resize->to_) {
		resize->state_ = VMEMDEV_MEM_RESIZE_CANCELLED;
	} else if (plugged(resize) == resize->to_) {
		resize->state_ = VMEMDEV_MEM_RESIZE_DONE;
	} else if (resize->timeout_ != 0 && now - resize->started_ >= resize->timeout_) {
		settle(resize, VMEMDEV_MEM_RESIZE_TIMED_OUT);
	} else if (plugged(resize) != resize->seen_) {
		resize->moved_ = now;
		resize->state_ = VMEMDEV_MEM_RESIZE_RUNNING;
	} else if (resize->stall_after_ != 0 && now - resize->moved_ >= resize->stall_after_) {
		resize->state_ = VMEMDEV_MEM_RESIZE_STALLED;
	}
	resize->seen_ = plugged(resize);
	resize->still_for_ = now - resize->moved_;
	return (enum vmemdev_mem_resize_state)resize->state_;
}

void vmemdev_mem_resize_cancel(struct vmemdev_mem_resize *resize)
{
	if (over(resize))
		return;
	if (requested(resize) == resize->to_)
		settle(resize, VMEMDEV_MEM_RESIZE_CANCELLED);
	else
		resize->state_ = VMEMDEV_MEM_RESIZE_CANCELLED;
}

/* @part of @whole in per cent, rounded down, without overflow at 64 TiB. */
static uint32_t percent(uint64_t part, uint64_t whole)
{
	return whole == 0 || part >= whole ? 100 : (uint32_t)(part * 100 / whole);
}

static uint64_t distance(uint64_t a, uint64_t b)
{
	return a < b ? b - a : a - b;
}

void vmemdev_mem_resize_get(const struct vmemdev_mem_resize *resize,
			    struct vmemdev_mem_resize_progress *progress)
{
	uint64_t whole = distance(resize->from_, resize->to_), left;

	memset(progress, 0, sizeof(*progress));
	progress->state = resize->state_;
	if (resize->state_ == VMEMDEV_MEM_RESIZE_NONE)
		return;
	progress->from = resize->from_;
	progress->to = resize->to_;
	progress->plugged = plugged(resize);
	progress->still_for = resize->still_for_;
	left = distance(progress->plugged, resize->to_);
	progress->percent = left > whole ? 0 : percent(whole - left, whole);
}
