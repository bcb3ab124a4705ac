/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Rings that break the rules. Whatever stands there, the queue answers with the error
 * that its header names, stays broken until a reset, shows nothing to the driver, and
 * works again after the reset.
 */
#include "vq_rig.h"

#define RING VMEMDEV_E_GUEST_RING
#define CHAIN VMEMDEV_E_GUEST_CHAIN

#define SIZE 8u
#define DATA UINT64_C(0x400000)
#define TABLE UINT64_C(0x401000)

/* How a device may walk a chain; each way must meet the same error. */
enum walk { WALK_NEXT, WALK_READ, WALK_WRITE, WALK_RESERVE, WALK_FINISH, WALKS };

static int walk_once(struct vmemdev_chain *chain, enum walk walk)
{
	struct vmemdev_buf buf;
	struct vmemdev_reply reply;
	uint8_t bytes[4] = { 0 };

	switch (walk) {
	case WALK_NEXT:
		return vmemdev_chain_next(chain, &buf);
	case WALK_READ:
		return vmemdev_chain_read(chain, NULL, INT32_MAX);
	case WALK_WRITE:
		return vmemdev_chain_write(chain, bytes, 4);
	case WALK_RESERVE:
		return vmemdev_chain_reserve(chain, &reply, 4);
	default:
		return 0;
	}
}

/* Take one chain. Returns the first error, 1 for a good chain, 0 if there was none. */
static int take(struct vq_rig *rig, enum walk walk, struct vmemdev_held *held)
{
	struct vmemdev_chain chain;
	int got = vmemdev_vq_pop(&rig->vq, &chain);
	uint32_t steps = 0;

	if (got <= 0)
		return got;
	do {
		got = walk_once(&chain, walk);
		assert_true(++steps <= 4 * SIZE);
	} while (got > 0);
	if (got < 0)
		return got;
	got = vmemdev_chain_finish(&chain, held);
	return got < 0 ? got : 1;
}

static void check_broken(struct vq_rig *rig, int err)
{
	const struct vmemdev_held held = { .slots = 1 };
	struct vmemdev_vq_state saved;
	struct vmemdev_chain chain;

	guest_memory_forget(&rig->mem);
	for (uint32_t i = 0; i < 3; i++) {
		assert_int_equal(vmemdev_vq_pop(&rig->vq, &chain), err);
		assert_int_equal(vmemdev_vq_push(&rig->vq, &held, 0), err);
		assert_int_equal(vmemdev_vq_publish(&rig->vq), err);
		assert_false(vmemdev_vq_should_notify(&rig->vq));
		assert_int_equal(vmemdev_vq_save(&rig->vq, &saved), VMEMDEV_E_STATE);
	}
	assert_int_equal(rig->mem.write_count, 0);
	vmemdev_vq_reset(&rig->vq);
	guest_queue_restart(&rig->q);
	assert_int_equal(vmemdev_vq_enable(&rig->vq, &rig->q.layout, rig->features), 0);
	rig_laps(rig, 2 * SIZE + 1);
}

struct evil {
	const char *what;
	uint64_t features;
	int err; /* 1: nothing is wrong with it */
	void (*make)(struct vq_rig *rig);
};

static void run_evil(const struct evil *evil, uint32_t count, uint64_t format)
{
	for (uint32_t i = 0; i < count; i++) {
		for (uint32_t lap = 0; lap < 2; lap++) {
			for (enum walk walk = WALK_NEXT; walk < WALKS; walk++) {
				struct vmemdev_held held;
				struct vq_rig rig;

				rig_open(&rig, evil[i].features | format, SIZE);
				rig_say("%s, walk %d, %s", evil[i].what, walk,
					lap != 0 ? "after some laps" : "fresh");
				rig_laps(&rig, lap * (SIZE + 3));
				evil[i].make(&rig);
				guest_queue_publish(&rig.q);
				assert_int_equal(take(&rig, walk, &held), evil[i].err);
				if (evil[i].err < 0)
					check_broken(&rig, evil[i].err);
				rig_close(&rig);
			}
		}
	}
}

/* One descriptor of the split table. */
static void put(struct vq_rig *rig, uint32_t at, uint64_t addr, uint32_t len, uint16_t flags,
		uint16_t next)
{
	const struct guest_desc desc = { addr, len, flags, next };

	guest_desc_put(&rig->mem, false, rig->q.layout.desc, at, &desc);
}

/* One entry of an indirect table, in the rig's format. */
static void entry(struct vq_rig *rig, uint32_t at, uint64_t addr, uint32_t len, uint16_t flags,
		  uint16_t next)
{
	const struct guest_desc desc = { addr, len, flags, next };

	guest_desc_put(&rig->mem, rig->packed, TABLE, at, &desc);
}

/* One descriptor in the ring, packed; it has ID 7. */
static void slot(struct vq_rig *rig, uint64_t addr, uint32_t len, uint16_t flags)
{
	const struct guest_desc desc = { addr, len, flags, 7 };

	guest_queue_offer_desc(&rig->q, &desc);
}

/* A single descriptor for such a table, in either format. */
static void refer(struct vq_rig *rig, uint64_t table, uint32_t len, uint16_t flags)
{
	if (rig->packed) {
		slot(rig, table, len, flags | GUEST_INDIRECT);
	} else {
		put(rig, 3, table, len, flags | GUEST_INDIRECT, 0);
		guest_queue_offer_head(&rig->q, 3);
	}
}

static void head_is_size(struct vq_rig *rig)
{
	guest_queue_offer_head(&rig->q, SIZE);
}

static void head_is_max(struct vq_rig *rig)
{
	guest_queue_offer_head(&rig->q, 0xffff);
}

static void next_is_size(struct vq_rig *rig)
{
	put(rig, 0, DATA, 4, GUEST_NEXT, SIZE);
	guest_queue_offer_head(&rig->q, 0);
}

static void next_is_max(struct vq_rig *rig)
{
	put(rig, 0, DATA, 4, GUEST_NEXT | GUEST_WRITE, 0xffff);
	guest_queue_offer_head(&rig->q, 0);
}

static void loop_of_one(struct vq_rig *rig)
{
	put(rig, 5, DATA, 4, GUEST_NEXT, 5);
	guest_queue_offer_head(&rig->q, 5);
}

static void loop_of_empty_ones(struct vq_rig *rig)
{
	put(rig, 5, DATA, 0, GUEST_NEXT | GUEST_WRITE, 6);
	put(rig, 6, DATA, 0, GUEST_NEXT | GUEST_WRITE, 5);
	guest_queue_offer_head(&rig->q, 5);
}

static void loop_over_all(struct vq_rig *rig)
{
	for (uint16_t i = 0; i < SIZE; i++)
		put(rig, i, DATA, 1, GUEST_NEXT | GUEST_WRITE, (uint16_t)((i + 1) % SIZE));
	guest_queue_offer_head(&rig->q, 2);
}

static void longer_than_4g(struct vq_rig *rig)
{
	put(rig, 0, DATA, UINT32_MAX, GUEST_NEXT, 1);
	put(rig, 1, DATA, 2, 0, 0);
	guest_queue_offer_head(&rig->q, 0);
}

static void readable_after_writable(struct vq_rig *rig)
{
	put(rig, 0, DATA, 0, GUEST_NEXT | GUEST_WRITE, 1);
	put(rig, 1, DATA, 4, 0, 0);
	guest_queue_offer_head(&rig->q, 0);
}

static void indirect_and_next(struct vq_rig *rig)
{
	entry(rig, 0, DATA, 4, 0, 0);
	put(rig, 0, TABLE, 16, GUEST_NEXT | GUEST_INDIRECT, 1);
	put(rig, 1, DATA, 4, 0, 0);
	guest_queue_offer_head(&rig->q, 0);
}

static void readable_table_after_writable(struct vq_rig *rig)
{
	entry(rig, 0, DATA, 4, 0, 0);
	put(rig, 0, DATA, 4, GUEST_NEXT | GUEST_WRITE, 1);
	put(rig, 1, TABLE, 16, GUEST_INDIRECT, 0);
	guest_queue_offer_head(&rig->q, 0);
}

static void next_beyond_table(struct vq_rig *rig)
{
	entry(rig, 0, DATA, 4, GUEST_NEXT, 2);
	refer(rig, TABLE, 32, 0);
}

static void loop_in_table(struct vq_rig *rig)
{
	entry(rig, 0, DATA, 4, GUEST_NEXT, 1);
	entry(rig, 1, DATA, 4, GUEST_NEXT, 0);
	refer(rig, TABLE, 32, 0);
}

static void table_in_table(struct vq_rig *rig)
{
	entry(rig, 0, DATA, 4, GUEST_NEXT, 1);
	entry(rig, 1, TABLE, 16, GUEST_INDIRECT, 0);
	refer(rig, TABLE, 32, 0);
}

static void table_in_first_entry(struct vq_rig *rig)
{
	entry(rig, 0, TABLE, 16, GUEST_INDIRECT, 0);
	refer(rig, TABLE, 16, 0);
}

/* In either format. */

static void table_without_feature(struct vq_rig *rig)
{
	entry(rig, 0, DATA, 4, 0, 0);
	refer(rig, TABLE, 16, 0);
}

static void table_empty(struct vq_rig *rig)
{
	refer(rig, TABLE, 0, 0);
}

static void table_of_8_bytes(struct vq_rig *rig)
{
	refer(rig, TABLE, 8, 0);
}

static void table_of_17_bytes(struct vq_rig *rig)
{
	entry(rig, 0, DATA, 4, 0, 0);
	refer(rig, TABLE, 17, 0);
}

static void table_of_31_bytes(struct vq_rig *rig)
{
	entry(rig, 0, DATA, 4, 0, 0);
	refer(rig, TABLE, 31, 0);
}

static void table_in_no_memory(struct vq_rig *rig)
{
	refer(rig, 0, 16, 0);
}

static void table_over_a_hole(struct vq_rig *rig)
{
	refer(rig, UINT64_C(0x310000) - 16, 32, 0);
}

static void table_past_the_top(struct vq_rig *rig)
{
	refer(rig, UINT64_MAX - 15, 32, 0);
}

static void table_huge(struct vq_rig *rig)
{
	refer(rig, TABLE, UINT32_MAX - 15, 0);
}

/* Links and flags of each format such that all @count entries are in use. */
static void used_table(struct vq_rig *rig, uint32_t count, uint16_t flags, uint32_t len)
{
	for (uint32_t i = 0; i < count; i++)
		entry(rig, i, DATA, len,
		      (uint16_t)(flags | (!rig->packed && i + 1 < count ? GUEST_NEXT : 0)),
		      (uint16_t)(i + 1));
	refer(rig, TABLE, 16 * count, 0);
}

static void table_of_size_entries(struct vq_rig *rig)
{
	used_table(rig, SIZE, GUEST_WRITE, 4);
}

static void table_of_one_more(struct vq_rig *rig)
{
	used_table(rig, SIZE + 1, GUEST_WRITE, 4);
}

static void table_of_one_more_empty(struct vq_rig *rig)
{
	used_table(rig, SIZE + 1, 0, 0);
}

static void table_mixed_up(struct vq_rig *rig)
{
	entry(rig, 0, DATA, 4, rig->packed ? GUEST_WRITE : GUEST_WRITE | GUEST_NEXT, 1);
	entry(rig, 1, DATA, 4, 0, 0);
	refer(rig, TABLE, 32, 0);
}

static void table_of_4g_and_more(struct vq_rig *rig)
{
	entry(rig, 0, DATA, UINT32_MAX, rig->packed ? 0 : GUEST_NEXT, 1);
	entry(rig, 1, DATA, 2, 0, 0);
	refer(rig, TABLE, 32, 0);
}

static const struct evil split_evils[] = {
	{ "HOST-VQ-02 head N", 0, RING, head_is_size },
	{ "HOST-VQ-02 head 0xffff", 0, RING, head_is_max },
	{ "HOST-VQ-03 next N", 0, CHAIN, next_is_size },
	{ "HOST-VQ-03 next 0xffff", 0, CHAIN, next_is_max },
	{ "HOST-VQ-03 next beyond the table", INDIRECT, CHAIN, next_beyond_table },
	{ "HOST-VQ-04 loop of one", 0, CHAIN, loop_of_one },
	{ "HOST-VQ-04 loop of empty ones", 0, CHAIN, loop_of_empty_ones },
	{ "HOST-VQ-04 loop over all", 0, CHAIN, loop_over_all },
	{ "HOST-VQ-04 loop in a table", INDIRECT, CHAIN, loop_in_table },
	{ "HOST-VQ-05 more than 4 GiB", 0, CHAIN, longer_than_4g },
	{ "HOST-VQ-06 readable after writable", 0, CHAIN, readable_after_writable },
	{ "HOST-VQ-06 readable table after writable", INDIRECT, CHAIN,
	  readable_table_after_writable },
	{ "HOST-VQ-08 INDIRECT and NEXT", INDIRECT, CHAIN, indirect_and_next },
	{ "HOST-VQ-09 table in a table", INDIRECT, CHAIN, table_in_table },
	{ "HOST-VQ-09 table in a table's first entry", INDIRECT, CHAIN, table_in_first_entry },
};

/* shows: HOST-VQ-02 HOST-VQ-03 HOST-VQ-04 HOST-VQ-05 HOST-VQ-06 HOST-VQ-08 HOST-VQ-09 */
static void HOST_VQ_02_evil_split_rings(void **state)
{
	(void)state;
	run_evil(split_evils, COUNT(split_evils), 0);
}

static const struct evil both_evils[] = {
	{ "HOST-VQ-07 table without the feature", 0, CHAIN, table_without_feature },
	{ "HOST-VQ-10 empty table", INDIRECT, CHAIN, table_empty },
	{ "HOST-VQ-10 table of 8 bytes", INDIRECT, CHAIN, table_of_8_bytes },
	{ "HOST-VQ-10 table of 17 bytes", INDIRECT, CHAIN, table_of_17_bytes },
	{ "HOST-VQ-10 table of 31 bytes", INDIRECT, CHAIN, table_of_31_bytes },
	{ "HOST-VQ-10 table in no memory", INDIRECT, CHAIN, table_in_no_memory },
	{ "HOST-VQ-10 table over a hole", INDIRECT, CHAIN, table_over_a_hole },
	{ "HOST-VQ-10 table past the top", INDIRECT, CHAIN, table_past_the_top },
	{ "HOST-VQ-10 table of 4 GiB", INDIRECT, CHAIN, table_huge },
	{ "HOST-VQ-04 table of N entries", INDIRECT, 1, table_of_size_entries },
	{ "HOST-VQ-04 table of N + 1 entries", INDIRECT, CHAIN, table_of_one_more },
	{ "HOST-VQ-04 table of N + 1 empty entries", INDIRECT, CHAIN, table_of_one_more_empty },
	{ "HOST-VQ-06 mixed up in a table", INDIRECT, CHAIN, table_mixed_up },
	{ "HOST-VQ-05 more than 4 GiB in a table", INDIRECT, CHAIN, table_of_4g_and_more },
};

/* shows: HOST-VQ-04 HOST-VQ-05 HOST-VQ-06 HOST-VQ-07 HOST-VQ-10 */
static void HOST_VQ_10_evil_tables(void **state)
{
	(void)state;
	run_evil(both_evils, COUNT(both_evils), 0);
	run_evil(both_evils, COUNT(both_evils), PACKED);
}

static void list_without_end(struct vq_rig *rig)
{
	for (uint32_t i = 0; i < SIZE; i++)
		slot(rig, DATA, 4, GUEST_NEXT | GUEST_WRITE);
}

static void list_of_empty_ones(struct vq_rig *rig)
{
	for (uint32_t i = 0; i < SIZE; i++)
		slot(rig, DATA, 0, GUEST_NEXT);
}

static void list_mixed_up(struct vq_rig *rig)
{
	slot(rig, DATA, 4, GUEST_NEXT | GUEST_WRITE);
	slot(rig, DATA, 4, 0);
}

static void list_of_4g_and_more(struct vq_rig *rig)
{
	slot(rig, DATA, UINT32_MAX, GUEST_NEXT);
	slot(rig, DATA, 2, 0);
}

static void table_and_next(struct vq_rig *rig)
{
	entry(rig, 0, DATA, 4, 0, 0);
	slot(rig, TABLE, 16, GUEST_NEXT | GUEST_INDIRECT);
	slot(rig, DATA, 4, 0);
}

static void table_in_list(struct vq_rig *rig)
{
	entry(rig, 0, DATA, 4, 0, 0);
	slot(rig, DATA, 4, GUEST_NEXT);
	slot(rig, TABLE, 16, GUEST_INDIRECT);
}

static void table_in_packed_table(struct vq_rig *rig)
{
	entry(rig, 0, DATA, 4, GUEST_INDIRECT | GUEST_NEXT, 0);
	refer(rig, TABLE, 16, 0);
}

static const struct evil packed_evils[] = {
	{ "HOST-VQ-15 list without an end", 0, CHAIN, list_without_end },
	{ "HOST-VQ-15 list of empty ones without an end", 0, CHAIN, list_of_empty_ones },
	{ "HOST-VQ-06 readable after writable", 0, CHAIN, list_mixed_up },
	{ "HOST-VQ-05 more than 4 GiB", 0, CHAIN, list_of_4g_and_more },
	{ "HOST-VQ-08 INDIRECT and NEXT", INDIRECT, CHAIN, table_and_next },
	{ "HOST-VQ-08 INDIRECT inside a list", INDIRECT, CHAIN, table_in_list },
	{ "HOST-VQ-09 INDIRECT inside a table has no meaning", INDIRECT, 1, table_in_packed_table },
};

/* shows: HOST-VQ-05 HOST-VQ-06 HOST-VQ-08 HOST-VQ-09 HOST-VQ-15 */
static void HOST_VQ_15_evil_packed_rings(void **state)
{
	(void)state;
	run_evil(packed_evils, COUNT(packed_evils), PACKED);
}

/* shows: HOST-VQ-05 */
static void HOST_VQ_05_exactly_4g_is_good(void **state)
{
	const struct vmemdev_buf bufs[] = { { DATA, UINT32_MAX, 0 }, { DATA, 1, 1 } };
	const uint64_t formats[] = { 0, PACKED };

	(void)state;
	for (uint32_t f = 0; f < COUNT(formats); f++) {
		struct vmemdev_held held;
		struct vq_rig rig;

		rig_open(&rig, formats[f], SIZE);
		rig_send_bufs(&rig, bufs, 2, NULL);
		assert_int_equal(take(&rig, WALK_NEXT, &held), 1);
		assert_int_equal(held.writable, 1);
		rig_close(&rig);
	}
}

/* The index at each impossible distance, with some chains in flight. */
static void bad_index(uint32_t before, uint32_t in_flight, uint16_t ahead)
{
	struct vmemdev_chain chain;
	struct vq_rig rig;

	rig_open(&rig, 0, SIZE);
	rig_say("after %u, %u in flight, index %u ahead", before, in_flight, ahead);
	rig_laps(&rig, before);
	for (uint32_t i = 0; i < in_flight; i++) {
		rig_send(&rig, true, 0);
		rig_take(&rig);
	}
	guest_queue_set(&rig.q, GUEST_AVAIL_IDX, 0, (uint16_t)(rig.q.avail + ahead));
	assert_int_equal(vmemdev_vq_pop(&rig.vq, &chain), RING);
	check_broken(&rig, RING);
	rig_close(&rig);
}

/* shows: HOST-VQ-01 */
static void HOST_VQ_01_impossible_index(void **state)
{
	static const uint16_t ahead[] = { SIZE + 1, SIZE + 2, 0x7fff, 0x8000, 0xfff0, 0xffff };
	static const uint32_t before[] = { 0, 5, 65535 };

	(void)state;
	for (uint32_t b = 0; b < COUNT(before); b++) {
		/* 65535 laps take their time: not each combination after them */
		for (uint32_t in_flight = 0; in_flight <= SIZE;
		     in_flight += before[b] > SIZE ? SIZE : 1) {
			for (uint32_t a = 0; a < COUNT(ahead); a++)
				bad_index(before[b], in_flight, ahead[a]);
		}
	}
}

/* Each chain for itself is possible; together with those in flight they are too many. */
/* shows: HOST-VQ-01 */
static void HOST_VQ_01_more_in_flight_than_the_ring_holds(void **state)
{
	(void)state;
	for (uint32_t in_flight = 1; in_flight <= SIZE; in_flight++) {
		struct vmemdev_held held;
		uint32_t taken = in_flight;
		struct vq_rig rig;
		int got = 1;

		rig_open(&rig, 0, SIZE);
		rig_say("%u in flight", in_flight);
		for (uint32_t i = 0; i < in_flight; i++) {
			rig_send(&rig, true, 0);
			rig_take(&rig);
		}
		guest_queue_set(&rig.q, GUEST_AVAIL_IDX, 0, SIZE + 1u);
		while (got == 1 && taken <= SIZE) {
			got = take(&rig, WALK_NEXT, &held);
			taken++;
		}
		assert_int_equal(got, RING);
		check_broken(&rig, RING);
		rig_close(&rig);
	}
}

/* shows: HOST-VQ-01 */
static void HOST_VQ_01_index_jumps_while_chains_wait(void **state)
{
	struct vmemdev_chain chain;
	struct vmemdev_held held;
	struct vq_rig rig;
	int got = 0;

	(void)state;
	/* two are known to be there when the index goes back: at the next look it shows */
	rig_open(&rig, 0, SIZE);
	rig_send(&rig, true, 0);
	rig_send(&rig, true, 0);
	held = rig_take(&rig);
	guest_queue_set(&rig.q, GUEST_AVAIL_IDX, 0, 0);
	for (uint32_t i = 0; i < 2 && got >= 0; i++) {
		got = vmemdev_vq_pop(&rig.vq, &chain);
		if (got == 1)
			assert_int_equal(vmemdev_chain_finish(&chain, &held), 0);
	}
	assert_int_equal(got, RING);
	check_broken(&rig, RING);
	rig_close(&rig);
}

/* More in flight than a packed ring has slots. */
static void too_many_slots(uint32_t in_flight, uint32_t list)
{
	struct vmemdev_held held;
	struct vq_rig rig;
	int got;

	rig_open(&rig, PACKED, SIZE);
	rig_say("%u in flight, list of %u", in_flight, list);
	for (uint32_t i = 0; i < in_flight; i++) {
		rig_send(&rig, true, 0);
		rig_take(&rig);
	}
	for (uint32_t i = 0; i < list; i++)
		slot(&rig, DATA, 4, i + 1 < list ? GUEST_NEXT : 0);
	guest_queue_publish(&rig.q);
	got = take(&rig, WALK_NEXT, &held);
	assert_int_equal(got, in_flight + list > SIZE ? RING : 1);
	if (got < 0)
		check_broken(&rig, RING);
	rig_close(&rig);
}

/* shows: HOST-VQ-15 HOST-VQ-01 */
static void HOST_VQ_15_more_slots_than_there_are(void **state)
{
	(void)state;
	for (uint32_t in_flight = 0; in_flight <= SIZE; in_flight++) {
		for (uint32_t list = 1; list <= SIZE; list++)
			too_many_slots(in_flight, list);
	}
}

/* shows: HOST-VQ-15 */
static void HOST_VQ_15_only_the_heads_flags_count(void **state)
{
	static const uint16_t flags[] = { 0, GUEST_AVAIL, GUEST_USED, GUEST_AVAIL | GUEST_USED };

	(void)state;
	for (uint32_t i = 0; i < COUNT(flags); i++) {
		struct vmemdev_held held;
		struct vq_rig rig;
		uint16_t at;

		rig_open(&rig, PACKED, SIZE);
		rig_laps(&rig, 3 + SIZE);
		slot(&rig, DATA, 4, GUEST_NEXT);
		at = rig.q.avail;
		slot(&rig, DATA, 4, GUEST_WRITE);
		guest_queue_set(&rig.q, GUEST_DESC_FLAGS, at, (uint64_t)(flags[i] | GUEST_WRITE));
		guest_queue_publish(&rig.q);
		assert_int_equal(take(&rig, WALK_NEXT, &held), 1);
		assert_int_equal(held.slots, 2);
		assert_int_equal(held.writable, 4);
		assert_int_equal(held.id, 7);
		rig_close(&rig);
	}
}

/* shows: HOST-VQ-16 VQ-PACK-11 */
static void HOST_VQ_16_any_buffer_id_is_echoed(void **state)
{
	struct vq_rig rig;

	(void)state;
	rig_open(&rig, PACKED, 7);
	for (uint32_t id = 0; id <= 65535; id++) {
		/* two at once with the same ID */
		const struct guest_desc desc = { DATA, 4, GUEST_WRITE, (uint16_t)id };
		struct vmemdev_held first, second;
		const uint16_t at = rig.q.avail;

		guest_queue_offer_desc(&rig.q, &desc);
		guest_queue_offer_desc(&rig.q, &desc);
		guest_queue_publish(&rig.q);
		first = rig_take(&rig);
		second = rig_take(&rig);
		rig_give(&rig, &second, 1);
		rig_give(&rig, &first, 2);
		assert_int_equal(guest_queue_get(&rig.q, GUEST_DESC_ID, at), id);
		assert_int_equal(guest_queue_get(&rig.q, GUEST_DESC_LEN, at), 1);
		assert_int_equal(guest_queue_get(&rig.q, GUEST_DESC_ID, (at + 1u) % 7), id);
		assert_int_equal(guest_queue_get(&rig.q, GUEST_DESC_LEN, (at + 1u) % 7), 2);
	}
	rig_close(&rig);
}

/* shows: HOST-VQ-18 */
static void HOST_VQ_18_same_head_twice(void **state)
{
	struct vmemdev_held held[SIZE];
	struct vq_rig rig;

	(void)state;
	rig_open(&rig, 0, SIZE);
	put(&rig, 4, DATA, 16, GUEST_WRITE, 0);
	for (uint32_t i = 0; i < SIZE; i++)
		guest_queue_offer_head(&rig.q, 4);
	guest_queue_publish(&rig.q);
	for (uint32_t i = 0; i < SIZE; i++) {
		held[i] = rig_take(&rig);
		assert_int_equal(held[i].id, 4);
		assert_int_equal(held[i].writable, 16);
	}
	for (uint32_t i = SIZE; i-- > 0;)
		rig_give(&rig, &held[i], i);
	assert_int_equal(guest_queue_get(&rig.q, GUEST_USED_IDX, 0), SIZE);
	for (uint32_t i = 0; i < SIZE; i++) {
		assert_int_equal(guest_queue_get(&rig.q, GUEST_USED_ID, i), 4);
		assert_int_equal(guest_queue_get(&rig.q, GUEST_USED_LEN, i), SIZE - 1 - i);
	}
	rig_close(&rig);
}

/* The driver changes what was read already: the copy counts. */
static void change_body(struct vq_rig *rig)
{
	const struct vmemdev_buf bufs[] = { { DATA, 8, 0 }, { DATA + 8, 8, 1 } };
	struct vmemdev_chain chain;
	struct vmemdev_held held;
	uint8_t bytes[8];
	int id;

	if (rig->q.size < 2)
		return;
	for (uint32_t lap = 0; lap < 20; lap++) {
		uint16_t at = rig->q.avail;

		guest_fill(&rig->mem, DATA, 0x11, 8);
		id = rig_send_bufs(rig, bufs, 2, NULL);
		assert_int_equal(vmemdev_vq_pop(&rig->vq, &chain), 1);
		assert_int_equal(vmemdev_chain_read(&chain, bytes, 4), 4);
		if (!rig->packed)
			at = (uint16_t)id;
		guest_queue_set(&rig->q, GUEST_DESC_ADDR, at, 0);
		guest_queue_set(&rig->q, GUEST_DESC_LEN, at, UINT32_MAX);
		guest_queue_set(&rig->q, GUEST_DESC_FLAGS, at, 0xffff);
		assert_int_equal(vmemdev_chain_read(&chain, bytes + 4, 8), 4);
		assert_int_equal(bytes[7], 0x11);
		assert_int_equal(vmemdev_chain_write(&chain, bytes, 8), 8);
		assert_int_equal(vmemdev_chain_finish(&chain, &held), 0);
		assert_int_equal(held.writable, 8);
		assert_int_equal(held.id, id);
		rig_give(rig, &held, 8);
		rig_used(rig, id, 8);
	}
}

/* shows: HOST-VQ-13 VQ-SPLIT-12 */
static void HOST_VQ_13_what_was_read_stays_read(void **state)
{
	(void)state;
	rig_each(0, EVENT | ORDER, 256, change_body);
}

/*
 * The pop has looked at a packed head's flags: what they say afterwards counts no more,
 * neither as a longer list nor as a table.
 */
/* shows: HOST-VQ-13 VQ-SPLIT-12 */
static void HOST_VQ_13_a_packed_heads_flags_are_read_once(void **state)
{
	static const uint16_t flags[] = { GUEST_NEXT, GUEST_INDIRECT, GUEST_WRITE, 0xffff };

	(void)state;
	for (uint32_t i = 0; i < COUNT(flags); i++) {
		struct vmemdev_chain chain;
		struct vmemdev_held held;
		struct vq_rig rig;
		uint16_t at;

		rig_open(&rig, PACKED | VMEMDEV_F_INDIRECT_DESC, SIZE);
		at = rig.q.avail;
		slot(&rig, DATA, 4, 0);
		guest_queue_publish(&rig.q);
		assert_int_equal(vmemdev_vq_pop(&rig.vq, &chain), 1);
		guest_queue_set(&rig.q, GUEST_DESC_FLAGS, at, flags[i]);
		assert_int_equal(vmemdev_chain_read(&chain, NULL, 16), 4);
		assert_int_equal(vmemdev_chain_finish(&chain, &held), 0);
		assert_int_equal(held.slots, 1);
		assert_int_equal(held.writable, 0);
		rig_close(&rig);
	}
}

/* Scribble over everything; the queue must survive and stay within its bounds. */
static void scribble(uint64_t features, uint64_t seed, bool overlap)
{
	struct guest_random random;
	struct vq_rig rig;
	uint8_t *ring;

	rig_open(&rig, features, SIZE);
	rig_say("seed %llu", (unsigned long long)seed);
	guest_random_seed(&random, seed);
	ring = guest_at(&rig.mem, rig.q.layout.desc, 0x400);
	for (uint32_t round = 0; round < 300; round++) {
		struct vmemdev_held held[SIZE];
		uint32_t count = 0;

		/* mostly small numbers, so that much of it looks like a ring */
		for (uint32_t i = 0; i < 0x400; i++)
			ring[i] = (uint8_t)guest_random_below(&random, i % 2 != 0 ? 3 : 10);
		vmemdev_vq_reset(&rig.vq);
		if (overlap)
			rig.q.layout.device = rig.q.layout.driver = rig.q.layout.desc + 16;
		assert_int_equal(vmemdev_vq_enable(&rig.vq, &rig.q.layout, features), 0);
		for (uint32_t i = 0; i < 40; i++) {
			const enum walk walk = (enum walk)guest_random_below(&random, WALKS);

			if (count < SIZE && take(&rig, walk, &held[count]) == 1)
				count++;
			else if (count > 0)
				vmemdev_vq_push(&rig.vq, &held[--count], 4);
			ring[guest_random_below(&random, 0x400)] ^= (uint8_t)(1 << i % 8);
			vmemdev_vq_publish(&rig.vq);
			vmemdev_vq_should_notify(&rig.vq);
		}
	}
	rig_close(&rig);
}

/* shows: HOST-VQ-14 HOST-VQ-13 HOST-VQ-17 */
static void HOST_VQ_14_overlapping_and_random_rings(void **state)
{
	static const uint64_t features[] = { EVENT, INDIRECT, PACKED, EVENT | ORDER,
					     PACKED | EVENT | INDIRECT, PACKED | ORDER };

	(void)state;
	for (uint64_t seed = 1; seed <= 4; seed++) {
		for (uint32_t i = 0; i < COUNT(features); i++) {
			scribble(features[i], seed, false);
			scribble(features[i], seed, true);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(HOST_VQ_01_impossible_index),
		RIG_TEST(HOST_VQ_13_a_packed_heads_flags_are_read_once),
		RIG_TEST(HOST_VQ_01_more_in_flight_than_the_ring_holds),
		RIG_TEST(HOST_VQ_01_index_jumps_while_chains_wait),
		RIG_TEST(HOST_VQ_02_evil_split_rings),
		RIG_TEST(HOST_VQ_05_exactly_4g_is_good),
		RIG_TEST(HOST_VQ_10_evil_tables),
		RIG_TEST(HOST_VQ_13_what_was_read_stays_read),
		RIG_TEST(HOST_VQ_14_overlapping_and_random_rings),
		RIG_TEST(HOST_VQ_15_evil_packed_rings),
		RIG_TEST(HOST_VQ_15_more_slots_than_there_are),
		RIG_TEST(HOST_VQ_15_only_the_heads_flags_count),
		RIG_TEST(HOST_VQ_16_any_buffer_id_is_echoed),
		RIG_TEST(HOST_VQ_18_same_head_twice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
