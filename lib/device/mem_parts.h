/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VMEMDEV_DEVICE_MEM_PARTS_H
#define VMEMDEV_DEVICE_MEM_PARTS_H
/*
 * What the memory device's files share. mem.c is the device, mem_listen.c its listeners,
 * mem_state.c its saved state; mem_slots.c and mem_resize.c are users of mem.h like any
 * host.
 */
#include "core/bitmap.h"
#include "core/device.h"
#include "core/guest.h"
#include "core/record.h"

#include <vmemdev/mem.h>

/* Blocks [first, end) of the region. */
struct span {
	uint64_t first, end;
};

static inline struct vmemdev_mem *mem_of(struct vmemdev_device *dev)
{
	return (struct vmemdev_mem *)dev;
}

static inline const struct vmemdev_mem *const_mem_of(const struct vmemdev_device *dev)
{
	return (const struct vmemdev_mem *)dev;
}

static inline uint64_t bytes(const struct vmemdev_mem *m, uint64_t blocks)
{
	return blocks << m->block_shift_;
}

/* Beyond the usable region nothing is plugged. */
static inline uint64_t usable_blocks(const struct vmemdev_mem *m)
{
	return m->usable_ >> m->block_shift_;
}

static inline struct vmemdev_range range_of(const struct vmemdev_mem *m, struct span span)
{
	struct vmemdev_range range = { m->addr_ + bytes(m, span.first),
				       bytes(m, span.end - span.first) };

	return range;
}

/* The next run of blocks in the state @plugged within [from, end). */
static inline bool next_run(const struct vmemdev_mem *m, uint64_t from, uint64_t end, bool plugged,
			    struct span *run)
{
	run->first = bitmap_run_end(m->bitmap_, from, end, !plugged);
	if (run->first == end)
		return false;
	run->end = bitmap_run_end(m->bitmap_, run->first, end, plugged);
	return true;
}

/* --- mem_listen.c --- */

/* Ask all listeners. Returns 0, or what one answered, the others having been told. */
int listeners_plug(struct vmemdev_mem *m, struct span span);

/* Tell all listeners that the plugged blocks of [first, end) are gone. */
void listeners_unplug(struct vmemdev_mem *m, struct span span);

/* --- mem_state.c: members of the class --- */

size_t mem_save_size(const struct vmemdev_device *dev);
void mem_save(const struct vmemdev_device *dev, struct record_out *out);
int mem_load(struct vmemdev_device *dev, struct record_in *in);
void mem_unload(struct vmemdev_device *dev);

#endif
