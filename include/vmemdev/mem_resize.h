/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VMEMDEV_MEM_RESIZE_H
#define VMEMDEV_MEM_RESIZE_H
/**
 * @file mem_resize.h - bring a memory device to a size, and know how that goes.
 *
 * Purpose: a guest follows a requested size when and as far as it can; it may be unable
 * to free memory, and never say so. This sets the size, watches the plugged size, tells
 * progress from standing still, and gives up after a time, leaving the device at what was
 * reached.
 *
 * Trust: what it reads is the device's own count of plugged blocks, not the guest's word.
 *
 * Bounds: each call is a constant number of steps.
 *
 * Threads: as the device. It has no clock: all times are the host's, in any one unit,
 * and only their differences count.
 */
#include <vmemdev/mem.h>

#ifdef __cplusplus
extern "C" {
#endif

enum vmemdev_mem_resize_state {
	VMEMDEV_MEM_RESIZE_NONE = 0,
	VMEMDEV_MEM_RESIZE_RUNNING = 1,
	VMEMDEV_MEM_RESIZE_STALLED = 2,  /* no block has moved for a while; it may go on */
	VMEMDEV_MEM_RESIZE_DONE = 3,     /* the size is reached */
	VMEMDEV_MEM_RESIZE_TIMED_OUT = 4,
	VMEMDEV_MEM_RESIZE_CANCELLED = 5 /* by the host, or by another requested size */
};

/** Zero it, set what you need. */
struct vmemdev_mem_resize_config {
	uint32_t struct_size;  /* sizeof(struct vmemdev_mem_resize_config) */
	uint8_t pad_[4];       /* zero */
	uint64_t bytes;        /* the size wanted */
	uint64_t stall_after;  /* time without progress that counts as stalled; 0: never */
	uint64_t timeout;      /* time after which to give up; 0: never */
};

/** One resize. Fields are private. */
struct vmemdev_mem_resize {
	struct vmemdev_mem *mem_;
	uint64_t from_, to_, seen_;
	uint64_t started_, moved_, still_for_;
	uint64_t stall_after_, timeout_;
	uint32_t state_;
	uint8_t pad_[4];
};

/** How far it is, in bytes. */
struct vmemdev_mem_resize_progress {
	uint64_t from, to, plugged;
	uint64_t still_for; /* time since a block moved, as of the last step */
	uint32_t percent;   /* of the way, 0 to 100 */
	uint32_t state;     /* enum vmemdev_mem_resize_state */
};

/**
 * Request the size at time @now. @resize_size is the caller's sizeof(*resize).
 * returns: 0; VMEMDEV_E_ABI; VMEMDEV_E_INVAL; as vmemdev_mem_set_requested()
 */
int vmemdev_mem_resize_start(struct vmemdev_mem_resize *resize, size_t resize_size,
			     struct vmemdev_mem *mem,
			     const struct vmemdev_mem_resize_config *config, uint64_t now);

/**
 * Look at it at time @now: whenever the host's plugged callback has been called, and once
 * in a while. Not inside a callback. When the time is over, the size that was
 * reached is requested, so that the guest stops trying.
 * returns: the state; one above STALLED is the end
 */
enum vmemdev_mem_resize_state vmemdev_mem_resize_step(struct vmemdev_mem_resize *resize,
						      uint64_t now);

/**
 * End it now, if it is not over: the size that was reached is requested, unless another one
 * has been since. Does nothing inside a callback.
 */
void vmemdev_mem_resize_cancel(struct vmemdev_mem_resize *resize);

/** How far it is. All 0 if none was started. */
void vmemdev_mem_resize_get(const struct vmemdev_mem_resize *resize,
				 struct vmemdev_mem_resize_progress *progress);

#ifdef __cplusplus
}
#endif
#endif /* VMEMDEV_MEM_RESIZE_H */
