/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The memory device's part of a record (core/state.c):
 *
 *     le64 addr, region size  le32 block shift  le16 node  le16 0
 *     le64 usable, requested  le32 waits, request type  le64 first block, blocks
 *     the block bitmap
 *
 * A request that waits for the host is still in the queue: it is taken and asked again.
 * What is here of it keeps it from being turned down where a lower size is requested
 * meanwhile.
 */
#include "device/mem_parts.h"

enum {
	FIXED = 64,
	UNPLUG_ALL = 2 /* the last type of request that can wait */
};

static uint64_t bitmap_words(const struct vmemdev_mem *m)
{
	return vmemdev_mem_bitmap_words(m->region_size_, bytes(m, 1));
}

size_t mem_save_size(const struct vmemdev_device *dev)
{
	return FIXED + record_bits_size(bitmap_words(const_mem_of(dev)));
}

void mem_save(const struct vmemdev_device *dev, struct record_out *out)
{
	const struct vmemdev_mem *m = const_mem_of(dev);
	bool waits = m->waiting_ || m->admitted_;

	record_put64(out, m->addr_);
	record_put64(out, m->region_size_);
	record_put32(out, m->block_shift_);
	record_put16(out, m->node_);
	record_put16(out, 0);
	record_put64(out, m->usable_);
	record_put64(out, m->requested_);
	record_put32(out, waits);
	record_put32(out, waits ? m->request_ : 0);
	record_put64(out, waits ? m->first_ : 0);
	record_put64(out, waits ? m->end_ - m->first_ : 0);
	record_put_bits(out, m->bitmap_, bitmap_words(m));
}

static bool sizes_possible(const struct vmemdev_mem *m, uint64_t usable, uint64_t requested)
{
	uint64_t mask = bytes(m, 1) - 1;

	return usable <= m->region_size_ && requested <= usable && !((usable | requested) & mask);
}

/* The sum of the plugged blocks; none may lie beyond @end, nor in the last word's rest. */
static bool count_plugged(struct vmemdev_mem *m, uint64_t end)
{
	struct span run = { 0, 0 };

	m->plugged_ = 0;
	while (next_run(m, run.end, bitmap_words(m) * 64, true, &run)) {
		if (run.end > end)
			return false;
		m->plugged_ += bytes(m, run.end - run.first);
	}
	return true;
}

static void load_request(struct vmemdev_mem *m, struct record_in *in)
{
	m->admitted_ = (uint8_t)record_get_upto(in, 1);
	m->request_ = (uint16_t)record_get_upto(in, UNPLUG_ALL);
	m->first_ = record_get64(in);
	m->end_ = m->first_ + record_get64(in);
}

static bool request_possible(const struct vmemdev_mem *m, uint64_t usable)
{
	uint64_t blocks = usable >> m->block_shift_;

	if (!m->admitted_)
		return m->request_ == 0 && m->first_ == 0 && m->end_ == 0;
	return (m->device_.status_ & VMEMDEV_STATUS_DRIVER_OK) && m->first_ <= m->end_ &&
	       m->end_ <= blocks;
}

int mem_load(struct vmemdev_device *dev, struct record_in *in)
{
	struct vmemdev_mem *m = mem_of(dev);
	uint64_t addr = record_get64(in), size = record_get64(in), usable, requested;
	uint32_t shift = record_get32(in);
	uint16_t node = record_get16(in);

	if (!in->bad && (addr != m->addr_ || size != m->region_size_ || shift != m->block_shift_ ||
			 node != m->node_))
		return VMEMDEV_E_MISMATCH;
	if (record_get16(in) != 0)
		return VMEMDEV_E_RECORD;
	usable = record_get64(in);
	requested = record_get64(in);
	load_request(m, in);
	record_get_bits(in, m->bitmap_, bitmap_words(m));
	if (in->bad || !sizes_possible(m, usable, requested) || !request_possible(m, usable) ||
	    !count_plugged(m, usable >> m->block_shift_))
		return VMEMDEV_E_RECORD;
	m->usable_ = usable;
	m->requested_ = requested;
	vmemdev_guest_changed(dev->guest_);
	return 0;
}

/* Guest memory's table may look up in the bitmap what is memory: no block was brought. */
void mem_unload(struct vmemdev_device *dev)
{
	struct vmemdev_mem *m = mem_of(dev);

	bitmap_fill(m->bitmap_, 0, 64 * bitmap_words(m), false);
	m->plugged_ = 0;
	m->admitted_ = 0;
	vmemdev_guest_changed(dev->guest_);
}
