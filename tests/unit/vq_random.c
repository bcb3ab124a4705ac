/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A driver and a device that do random things for thousands of laps. What must hold:
 * each chain is taken once, in order, with its data; each pushed chain is seen by the
 * driver once, with its ID, length and bytes; no kick and no notification that is
 * needed is missing. The device moves to a fresh queue (save and load) now and then.
 */
#include "vq_rig.h"

#define IDS 256u
#define ROOM 256u      /* bytes of data each ID has */
#define BUFS_MAX 6u
#define STEPS 12000u

enum state { FREE, ADDED, TAKEN, PUSHED };

struct chain_info {
	enum state state;
	uint64_t tag;
	struct vmemdev_buf bufs[BUFS_MAX];
	uint32_t count, writable, written;
};

struct world {
	struct vq_rig rig;
	struct guest_random random;
	struct chain_info info[IDS];
	struct vmemdev_held held[IDS];
	uint32_t held_count;
	uint64_t next_tag, taken_tag;
	uint64_t pushed, seen;
	bool device_sleeps; /* the last pop found nothing */
	bool driver_sleeps; /* the last poll found nothing, and interrupts are on */
	bool unpublished;   /* something is staged */
};

static uint32_t below(struct world *w, uint32_t limit)
{
	return guest_random_below(&w->random, limit);
}

static uint64_t room_of(uint32_t id)
{
	return rig_regions[ISLAND].gpa + (uint64_t)id * ROOM;
}

/* Buffers for the chain that will get @id: an 8-byte tag, in one piece or two, then
 * writable ones. */
static void plan(struct world *w, struct chain_info *info, uint32_t id, uint32_t most)
{
	const uint64_t room = room_of(id);
	const uint32_t first = most > 1 && below(w, 2) != 0 ? 1 + below(w, 7) : 8;
	uint32_t writables;

	info->tag = w->next_tag++;
	info->count = 0;
	info->writable = 0;
	guest_store64(&w->rig.mem, room, info->tag);
	info->bufs[info->count++] = (struct vmemdev_buf){ room, first, 0 };
	if (first < 8)
		info->bufs[info->count++] = (struct vmemdev_buf){ room + first, 8 - first, 0 };
	writables = below(w, most - info->count + 1);
	for (uint32_t i = 0; i < writables; i++) {
		const uint32_t len = below(w, 25);

		info->bufs[info->count++] = (struct vmemdev_buf){ room + 16 + 32 * i, len, 1 };
		info->writable += len;
	}
	guest_fill(&w->rig.mem, room + 16, 0, ROOM - 16);
}

static void driver_adds(struct world *w)
{
	struct guest_queue *q = &w->rig.q;
	struct guest_add how = { 0 };
	uint32_t most = q->size < BUFS_MAX ? q->size : BUFS_MAX;
	struct chain_info *info;
	uint32_t id;

	if (guest_queue_free(q) == 0)
		return;
	/* the driver's next ID is not known yet; its first free one is */
	id = q->free_first;
	info = &w->info[id];
	assert_int_equal(info->state, FREE);
	how.indirect = q->table_entries > 0 && below(w, 2) != 0;
	if (!how.indirect && most > guest_queue_free(q))
		most = guest_queue_free(q);
	plan(w, info, id, most);
	if (how.indirect && !q->packed && below(w, 2) != 0 && guest_queue_free(q) >= info->count)
		how.direct = (uint16_t)below(w, info->count);
	how.backwards = !q->packed && below(w, 2) != 0;
	how.tag = info->tag;
	assert_int_equal(guest_queue_add(q, info->bufs, info->count, &how), id);
	info->state = ADDED;
}

static void driver_publishes(struct world *w)
{
	if (guest_queue_publish(&w->rig.q) == 0)
		return;
	if (guest_queue_want_kick(&w->rig.q))
		w->device_sleeps = false;
	assert_false(w->device_sleeps);
}

static void device_takes(struct world *w)
{
	const uint32_t budget = 1 + below(w, 8);

	for (uint32_t i = 0; i < budget; i++) {
		struct vmemdev_chain chain;
		struct vmemdev_held *held = &w->held[w->held_count];
		struct chain_info *info;
		uint8_t raw[8];
		uint64_t tag = 0;
		const int got = vmemdev_vq_pop(&w->rig.vq, &chain);

		assert_true(got >= 0);
		if (got == 0) {
			w->device_sleeps = true;
			return;
		}
		if (below(w, 4) != 0) {
			assert_int_equal(vmemdev_chain_read(&chain, raw, 8), 8);
			for (uint32_t b = 0; b < 8; b++)
				tag |= (uint64_t)raw[b] << 8 * b;
			assert_true(tag == w->taken_tag);
		}
		assert_int_equal(vmemdev_chain_finish(&chain, held), 0);
		assert_true(held->id < IDS);
		info = &w->info[held->id];
		assert_int_equal(info->state, ADDED);
		assert_true(info->tag == w->taken_tag);
		assert_true(held->writable == info->writable);
		info->state = TAKEN;
		w->taken_tag++;
		w->held_count++;
	}
}

/* Write @written bytes as the device would have done while it had the chain. */
static void fill_in(struct world *w, const struct chain_info *info, uint32_t written)
{
	uint32_t done = 0;

	for (uint32_t i = 0; i < info->count && done < written; i++) {
		const struct vmemdev_buf *buf = &info->bufs[i];

		for (uint32_t b = 0; buf->writable && b < buf->len && done < written; b++, done++)
			guest_fill(&w->rig.mem, buf->gpa + b, (uint8_t)(info->tag + done), 1);
	}
}

static void device_pushes(struct world *w)
{
	const bool in_order = (w->rig.features & ORDER) != 0;
	uint32_t count = below(w, w->held_count + 1);

	while (count-- > 0) {
		const uint32_t pick = in_order ? 0 : below(w, w->held_count);
		const struct vmemdev_held held = w->held[pick];
		struct chain_info *info = &w->info[held.id];

		info->written = below(w, 2) != 0 ? info->writable : below(w, info->writable + 1);
		fill_in(w, info, info->written);
		assert_int_equal(vmemdev_vq_push(&w->rig.vq, &held, info->written), 0);
		info->state = PUSHED;
		w->held_count--;
		memmove(&w->held[pick], &w->held[pick + 1],
			(w->held_count - pick) * sizeof(w->held[0]));
		w->pushed++;
		w->unpublished = true;
	}
}

static void device_publishes(struct world *w)
{
	assert_true(vmemdev_vq_publish(&w->rig.vq) >= 0);
	if (vmemdev_vq_should_notify(&w->rig.vq))
		w->driver_sleeps = false;
	if (w->unpublished)
		assert_false(w->driver_sleeps);
	w->unpublished = false;
}

static void check_bytes(struct world *w, const struct chain_info *info)
{
	uint32_t done = 0;

	for (uint32_t i = 0; i < info->count; i++) {
		const struct vmemdev_buf *buf = &info->bufs[i];

		for (uint32_t b = 0; buf->writable && b < buf->len; b++, done++) {
			const bool filled = done < info->written;
			uint8_t byte;

			assert_true(guest_read(&w->rig.mem, buf->gpa + b, &byte, 1));
			assert_int_equal(byte, filled ? (uint8_t)(info->tag + done) : 0);
		}
	}
}

static void driver_polls(struct world *w)
{
	uint32_t budget = 1 + below(w, 10);

	while (budget-- > 0) {
		struct guest_used used;
		struct chain_info *info;
		const int got = guest_queue_poll(&w->rig.q, &used);

		assert_true(got >= 0);
		if (got == 0) {
			guest_queue_interrupts_on(&w->rig.q);
			w->driver_sleeps = !guest_queue_has_used(&w->rig.q);
			return;
		}
		w->driver_sleeps = false;
		info = &w->info[used.id];
		assert_int_equal(info->state, PUSHED);
		assert_true(used.tag == info->tag);
		if (used.skipped) {
			assert_int_equal(info->written, info->writable);
		} else {
			assert_int_equal(used.len, info->written);
			assert_int_equal(used.written, info->written > 0);
		}
		check_bytes(w, info);
		info->state = FREE;
		w->seen++;
	}
}

static void device_moves(struct world *w)
{
	struct vmemdev_vq_state saved;

	if (vmemdev_vq_save(&w->rig.vq, &saved) != 0)
		return;
	memset(&w->rig.vq, 0x3c, sizeof(w->rig.vq));
	assert_int_equal(vmemdev_vq_init(&w->rig.vq, sizeof(w->rig.vq), &w->rig.mem.guest,
					 VMEMDEV_VQ_SIZE_MAX), 0);
	assert_int_equal(vmemdev_vq_load(&w->rig.vq, &w->rig.q.layout, w->rig.features, &saved), 0);
}

static void step(struct world *w)
{
	switch (below(w, 16)) {
	case 0: case 1: case 2: case 3:
		driver_adds(w);
		break;
	case 4: case 5: case 6:
		driver_publishes(w);
		break;
	case 7: case 8:
		device_takes(w);
		break;
	case 9: case 10:
		device_pushes(w);
		break;
	case 11: case 12:
		device_publishes(w);
		break;
	case 13: case 14:
		driver_polls(w);
		break;
	default:
		if (below(w, 8) == 0)
			device_moves(w);
		break;
	}
}

/* Let everything that is out come home. */
static void drain(struct world *w)
{
	for (uint32_t i = 0; i < 100000 && w->seen < w->next_tag; i++) {
		driver_publishes(w);
		device_takes(w);
		device_pushes(w);
		device_publishes(w);
		driver_polls(w);
	}
	assert_int_equal(w->held_count, 0);
	assert_true(w->seen == w->next_tag);
	assert_true(w->pushed == w->next_tag);
	assert_int_equal(guest_queue_free(&w->rig.q), w->rig.q.size);
	rig_none_used(&w->rig);
}

static void random_walk(uint64_t features, uint32_t size, uint64_t seed)
{
	static struct world w;

	memset(&w, 0, sizeof(w));
	rig_open(&w.rig, features, size);
	rig_say("features 0x%llx, size %u, seed %llu", (unsigned long long)features, size,
		(unsigned long long)seed);
	guest_random_seed(&w.random, seed);
	for (uint32_t i = 0; i < STEPS; i++)
		step(&w);
	drain(&w);
	assert_true(w.next_tag > STEPS / 100);
	rig_close(&w.rig);
}

static const uint32_t sizes[] = { 1, 2, 3, 4, 7, 8, 16, 255, 256 };

/* All features, all sizes, three seeds each. */
static void all_walks(uint64_t format)
{
	for (uint32_t mix = 0; mix < 8; mix++) {
		const uint64_t features = format | ((mix & 1) != 0 ? EVENT : 0) |
					  ((mix & 2) != 0 ? INDIRECT : 0) |
					  ((mix & 4) != 0 ? ORDER : 0);

		for (uint32_t i = 0; i < COUNT(sizes); i++) {
			if ((format & PACKED) == 0 && (sizes[i] & (sizes[i] - 1)) != 0)
				continue;
			for (uint64_t seed = 1; seed <= 3; seed++)
				random_walk(features, sizes[i], seed * 1000 + mix * 10 + i);
		}
	}
}

/* shows: VQ-SPLIT-02 VQ-SPLIT-14 VQ-SPLIT-17 VQ-ORD-01 VQ-ORD-02 VQ-ORD-04 */
static void VQ_SPLIT_17_random_walks(void **state)
{
	(void)state;
	all_walks(0);
}

/* shows: VQ-PACK-02 VQ-PACK-07 VQ-PACK-08 VQ-PACK-10 VQ-PACK-20 VQ-ORD-01 VQ-ORD-03 VQ-ORD-04 */
static void VQ_PACK_08_random_walks(void **state)
{
	(void)state;
	all_walks(PACKED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(VQ_SPLIT_17_random_walks),
		RIG_TEST(VQ_PACK_08_random_walks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
