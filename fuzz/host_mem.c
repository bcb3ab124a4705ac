/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A memory device's host, listener and slots. The bitmap is at any time the sum of what the
 * host has agreed to, and what listener and slots were told is the same; only unplugged
 * blocks are plugged, and plugged ones unplugged; sizes keep their order; the guest is
 * answered with one of the four answers; no block beyond the usable region is plugged.
 */
#include "machine.h"

#include <string.h>

enum { SLOT_SIZE = 4 * 4096, ANSWER = 10, ANSWERS = 4, STATES = 3 };

static uint32_t bits_of(const struct vmemdev_range *range)
{
	const uint64_t first = (range->gpa - BLOCKS_ADDR) / BLOCK, count = range->len / BLOCK;

	require(range->gpa >= BLOCKS_ADDR && (range->gpa | range->len) % BLOCK == 0 && count > 0);
	require(first < BLOCK_COUNT && count <= BLOCK_COUNT - first);
	return (uint32_t)(((UINT64_C(1) << count) - 1) << first);
}

static void apply(struct machine *m)
{
	struct mem_host *h = &m->mem;

	for (uint32_t i = 0; i < h->work_count; i++) {
		const uint32_t bits = bits_of(&h->work[i]);

		m->w.plugged = h->plug ? m->w.plugged | bits : m->w.plugged & ~bits;
		if (!h->plug)
			world_zero(&m->w, h->work[i].gpa, h->work[i].len);
	}
}

static int op(struct machine *m, const struct vmemdev_range *ranges, uint32_t count,
	      uint64_t token, bool plug)
{
	struct mem_host *h = &m->mem;
	uint64_t end = 0;

	require(m->inside_run && count > 0 && count <= VMEMDEV_MEM_RANGES && !h->waits);
	require(token != h->token);
	for (uint32_t i = 0; i < count; i++) {
		const uint32_t bits = bits_of(&ranges[i]);

		require(ranges[i].gpa >= end);
		end = ranges[i].gpa + ranges[i].len;
		/* The last one may stand for many, with what is unplugged between them. */
		if (plug)
			require((m->w.plugged & bits) == 0);
		else
			require(i + 1 == VMEMDEV_MEM_RANGES || (m->w.plugged & bits) == bits);
	}
	memcpy(h->work, ranges, count * sizeof(*ranges));
	h->work_count = count;
	h->plug = plug;
	h->token = token;
	h->waits = m->answer == VMEMDEV_LATER;
	if (m->answer == 0)
		apply(m);
	return m->answer;
}

static int plug(void *ctx, const struct vmemdev_range *ranges, uint32_t count, uint64_t token)
{
	return op(ctx, ranges, count, token, true);
}

static int unplug(void *ctx, const struct vmemdev_range *ranges, uint32_t count, uint64_t token)
{
	struct machine *m = ctx;
	const int answer = m->answer;
	int result;

	/* A listener has refused what was brought: a host can always take it back. */
	if (m->mem.refuses)
		m->answer = 0;
	result = op(m, ranges, count, token, false);
	m->answer = answer;
	return result;
}

static void plugged(void *ctx, uint64_t bytes)
{
	struct machine *m = ctx;
	uint64_t sum = 0;

	for (uint32_t i = 0; i < BLOCK_COUNT; i++)
		sum += m->w.plugged >> i & 1 ? BLOCK : 0;
	require(sum == bytes);
}

static const struct vmemdev_mem_ops ops = { .plug = plug, .unplug = unplug, .plugged = plugged };

static int heard_plug(void *ctx, const struct vmemdev_range *ranges, uint32_t count)
{
	struct machine *m = ctx;

	if (m->mem.refuses)
		return VMEMDEV_E_BUSY;
	for (uint32_t i = 0; i < count; i++) {
		require((m->mem.heard & bits_of(&ranges[i])) == 0);
		m->mem.heard |= bits_of(&ranges[i]);
	}
	return 0;
}

static void heard_unplug(void *ctx, const struct vmemdev_range *ranges, uint32_t count)
{
	struct machine *m = ctx;

	for (uint32_t i = 0; i < count; i++) {
		require((m->mem.heard & bits_of(&ranges[i])) == bits_of(&ranges[i]));
		m->mem.heard &= ~bits_of(&ranges[i]);
	}
}

static int map(void *ctx, uint32_t slot, const struct vmemdev_range *range)
{
	struct machine *m = ctx;

	require(!(m->mem.mapped >> slot & 1) && range->gpa == BLOCKS_ADDR + (uint64_t)slot * SLOT_SIZE);
	m->mem.mapped |= 1u << slot;
	return 0;
}

static void unmap(void *ctx, uint32_t slot, const struct vmemdev_range *range)
{
	struct machine *m = ctx;

	require((m->mem.mapped >> slot & 1) && range->len == SLOT_SIZE);
	m->mem.mapped &= ~(1u << slot);
}

/* Slots and listener come to a device that has been made or loaded. */
static void follow(struct machine *m)
{
	struct mem_host *h = &m->mem;
	const struct vmemdev_mem_slots_config config = {
		.struct_size = sizeof(config), .slot_count = 8, .slot_size = SLOT_SIZE,
		.plugged = h->slot_bytes, .map = map, .unmap = unmap, .ctx = m,
	};

	h->has_slots = m->options & MACHINE_SLOTS;
	if (h->has_slots)
		require(vmemdev_mem_slots_init(&h->slots, sizeof(h->slots), &h->mem, &config) == 0);
	if (h->listens)
		require(vmemdev_mem_listen(&h->mem, &h->listener) == 0);
}

void mem_create(struct machine *m, struct vmemdev_device_config *device)
{
	struct mem_host *h = &m->mem;
	struct vmemdev_mem_config config = {
		.struct_size = sizeof(config), .addr = BLOCKS_ADDR, .region_size = BLOCKS_LEN,
		.block_size = BLOCK, .bitmap = m->w.bitmap, .bitmap_words = 1, .has_node = true,
		.node = 3, .persistent_suspend = true, .ops = &ops, .ctx = m,
		.slack = m->options & MACHINE_SLACK ? 4 * BLOCK : 0,
		.unplugged_inaccessible = m->options & MACHINE_INACCESSIBLE,
	};

	config.device = *device;
	require(vmemdev_mem_init(&h->mem, sizeof(h->mem), &config) == 0);
	h->listener = (struct vmemdev_mem_listener){ .plug = heard_plug, .unplug = heard_unplug,
						     .ctx = m };
	h->waits = false;
	h->token = 0;
	memset(&h->resize, 0, sizeof(h->resize));
	m->ports[NUMBER_MEM].dev = vmemdev_mem_device(&h->mem);
}

/* The device that is about to go has nobody to tell of it. */
void mem_leave(struct machine *m)
{
	const bool listens = m->mem.listens;

	if (listens)
		require(vmemdev_mem_unlisten(&m->mem.mem, &m->mem.listener) == 0);
	if (m->mem.has_slots)
		require(vmemdev_mem_slots_finish(&m->mem.slots) == 0);
	require(m->mem.mapped == 0 && m->mem.heard == 0);
}

void mem_moved(struct machine *m)
{
	m->mem.refuses = false;
	follow(m);
}

void mem_complete(struct machine *m, int result)
{
	struct mem_host *h = &m->mem;

	if (h->waits) {
		h->waits = false;
		if (result == 0)
			apply(m);
		require(vmemdev_mem_complete(&h->mem, h->token, result) == 0);
	} else {
		require(vmemdev_mem_complete(&h->mem, h->token, result) == VMEMDEV_E_STATE);
	}
	require(vmemdev_mem_complete(&h->mem, h->token, 1) == VMEMDEV_E_INVAL);
}

static void listen(struct mem_host *h, uint64_t how)
{
	h->refuses = false;
	if ((how & 1) && !h->listens) {
		require(vmemdev_mem_listen(&h->mem, &h->listener) == 0);
		h->listens = true;
	} else if (!(how & 1) && h->listens) {
		require(vmemdev_mem_unlisten(&h->mem, &h->listener) == 0);
		require(h->heard == 0);
		h->listens = false;
	} else {
		require(how & 1 ? vmemdev_mem_listen(&h->mem, &h->listener) == VMEMDEV_E_STATE
				: vmemdev_mem_unlisten(&h->mem, &h->listener) == VMEMDEV_E_STATE);
	}
	h->refuses = h->listens && (how & 2);
}

static void resize(struct mem_host *h, struct input *in)
{
	const uint64_t kind = take(in, 1) % 3, blocks = take(in, 2) % 40;
	const struct vmemdev_mem_resize_config config = { .struct_size = sizeof(config),
							  .bytes = blocks * BLOCK,
							  .stall_after = 20, .timeout = 100 };
	struct vmemdev_mem_resize_progress progress;
	int err;

	h->now += take(in, 1);
	if (kind == 0) {
		err = vmemdev_mem_resize_start(&h->resize, sizeof(h->resize), &h->mem, &config, h->now);
		require(err == (blocks > BLOCK_COUNT ? VMEMDEV_E_SIZE : 0));
	} else if (kind == 1) {
		(void)vmemdev_mem_resize_step(&h->resize, h->now);
	} else {
		vmemdev_mem_resize_cancel(&h->resize);
	}
	vmemdev_mem_resize_get(&h->resize, &progress);
	require(progress.percent <= 100 && progress.state <= VMEMDEV_MEM_RESIZE_CANCELLED);
}

void mem_step(struct machine *m, uint64_t step, struct input *in)
{
	uint64_t blocks;

	switch (step) {
	case STEP_TARGET:
		blocks = take(in, 2) % (BLOCK_COUNT + 8);
		require(vmemdev_mem_set_requested(&m->mem.mem, blocks * BLOCK) ==
			(blocks > BLOCK_COUNT ? VMEMDEV_E_SIZE : 0));
		break;
	case STEP_LISTEN:
		listen(&m->mem, take(in, 1));
		break;
	default:
		resize(&m->mem, in);
		break;
	}
}

void mem_answered(struct machine *m, const struct guest_used *used, const uint8_t *answer)
{
	(void)m;
	require(used->len == ANSWER);
	require(answer[0] < ANSWERS && answer[1] == 0 && answer[8] < STATES && answer[9] == 0);
	for (int i = 2; i < 8; i++)
		require(answer[i] == 0);
}

void mem_check(struct machine *m)
{
	struct mem_host *h = &m->mem;
	struct vmemdev_mem_sizes sizes;
	struct vmemdev_range run;
	uint32_t slots = 0, found = 0;
	uint64_t sum = 0;

	vmemdev_mem_get_sizes(&h->mem, &sizes);
	require(m->w.bitmap[0] == m->w.plugged);
	require(!h->listens || h->heard == m->w.plugged);
	for (uint32_t i = 0; i < BLOCK_COUNT; i++) {
		if (!(m->w.plugged >> i & 1))
			continue;
		require((i + 1) * BLOCK <= sizes.usable);
		sum += BLOCK;
		slots |= 1u << (i * BLOCK / SLOT_SIZE);
	}
	require(!h->has_slots || h->mapped == slots);
	require(sizes.plugged == sum && sizes.region == BLOCKS_LEN);
	require(sizes.requested <= sizes.usable && sizes.usable <= sizes.region);
	for (uint64_t at = 0; vmemdev_mem_next(&h->mem, at, true, &run); at = run.gpa + run.len)
		found |= bits_of(&run);
	require(found == m->w.plugged);
}
