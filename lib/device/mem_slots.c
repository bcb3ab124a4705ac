/* SPDX-License-Identifier: BSD-3-Clause */
/* Slots over a memory device's region, by counting what is plugged in each. */
#include "core/config.h"

#include "core/libc.h"

#include <vmemdev/mem_slots.h>

static struct vmemdev_range slot_range(const struct vmemdev_mem_slots *s, uint32_t slot)
{
	uint64_t offset = (uint64_t)slot << s->shift_;
	uint64_t left = s->size_ - offset, size = UINT64_C(1) << s->shift_;
	struct vmemdev_range range = { s->addr_ + offset, left < size ? left : size };

	return range;
}

/* The slot that @range begins in, and how many of its bytes lie there. */
static uint32_t first_slot(const struct vmemdev_mem_slots *s, const struct vmemdev_range *range,
			   uint64_t *here)
{
	uint64_t offset = range->gpa - s->addr_;
	uint64_t size = UINT64_C(1) << s->shift_;
	uint64_t left = size - (offset & (size - 1));

	*here = left < range->len ? left : range->len;
	return (uint32_t)(offset >> s->shift_);
}

static void unplug_range(struct vmemdev_mem_slots *s, struct vmemdev_range range)
{
	struct vmemdev_range whole;
	uint64_t here;
	uint32_t slot;

	for (; range.len > 0; range.gpa += here, range.len -= here) {
		slot = first_slot(s, &range, &here);
		s->plugged_[slot] -= here;
		if (s->plugged_[slot] > 0)
			continue;
		s->mapped_--;
		whole = slot_range(s, slot);
		s->unmap_(s->ctx_, slot, &whole);
	}
}

/* Returns 0, or what map answered, with nothing of @range counted. */
static int plug_range(struct vmemdev_mem_slots *s, struct vmemdev_range range)
{
	struct vmemdev_range done = { range.gpa, 0 }, whole;
	uint64_t here;
	uint32_t slot;
	int err;

	for (; range.len > 0; range.gpa += here, range.len -= here) {
		slot = first_slot(s, &range, &here);
		if (s->plugged_[slot] == 0) {
			whole = slot_range(s, slot);
			err = s->map_(s->ctx_, slot, &whole);
			if (err != 0) {
				unplug_range(s, done);
				return err;
			}
			s->mapped_++;
		}
		s->plugged_[slot] += here;
		done.len += here;
	}
	return 0;
}

static void unplug(void *ctx, const struct vmemdev_range *ranges, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		unplug_range(ctx, ranges[i]);
}

static int plug(void *ctx, const struct vmemdev_range *ranges, uint32_t count)
{
	int err;

	for (uint32_t i = 0; i < count; i++) {
		err = plug_range(ctx, ranges[i]);
		if (err != 0) {
			unplug(ctx, ranges, i);
			return err;
		}
	}
	return 0;
}

int vmemdev_mem_slots_init(struct vmemdev_mem_slots *slots, size_t slots_size,
			   struct vmemdev_mem *mem, const struct vmemdev_mem_slots_config *config)
{
	struct vmemdev_mem_slots_config given;
	struct vmemdev_region region;
	uint32_t shift = 0;
	int err;

	if (slots == NULL || mem == NULL)
		return VMEMDEV_E_INVAL;
	if (slots_size != sizeof(*slots))
		return VMEMDEV_E_ABI;
	err = config_take(&given, sizeof(given), sizeof(given), config);
	if (err != 0)
		return err;
	if (given.plugged == NULL || given.map == NULL || given.unmap == NULL)
		return VMEMDEV_E_INVAL;
	vmemdev_mem_region(mem, NULL, &region);
	while (shift < 63 && UINT64_C(1) << shift < given.slot_size)
		shift++;
	if (given.slot_size != UINT64_C(1) << shift || shift < region.block_shift)
		return VMEMDEV_E_SIZE;
	if ((region.len - 1) >> shift >= given.slot_count)
		return VMEMDEV_E_NOSPC;

	memset(slots, 0, sizeof(*slots));
	memset(given.plugged, 0, sizeof(*given.plugged) * given.slot_count);
	slots->mem_ = mem;
	slots->plugged_ = given.plugged;
	slots->map_ = given.map;
	slots->unmap_ = given.unmap;
	slots->ctx_ = given.ctx;
	slots->addr_ = region.gpa;
	slots->size_ = region.len;
	slots->shift_ = shift;
	slots->listener_.plug = plug;
	slots->listener_.unplug = unplug;
	slots->listener_.ctx = slots;
	return vmemdev_mem_listen(mem, &slots->listener_);
}

int vmemdev_mem_slots_finish(struct vmemdev_mem_slots *slots)
{
	return vmemdev_mem_unlisten(slots->mem_, &slots->listener_);
}

uint32_t vmemdev_mem_slots_mapped(const struct vmemdev_mem_slots *slots)
{
	return slots->mapped_;
}
