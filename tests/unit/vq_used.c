/* SPDX-License-Identifier: BSD-3-Clause */
/* What the driver gets to see of used buffers, and when. */
#include "vq_rig.h"

static uint64_t visible(const struct vq_rig *rig, uint32_t slot)
{
	if (rig->packed)
		return guest_queue_get(&rig->q, GUEST_DESC_FLAGS, slot);
	return guest_queue_get(&rig->q, GUEST_USED_IDX, 0);
}

/* A pushed entry shows only at the publish, and then whole. */
static void staged_body(struct vq_rig *rig)
{
	const uint32_t count = rig->q.size < 5 ? rig->q.size : 5;
	struct vmemdev_held held[5];
	int ids[5];

	for (uint32_t lap = 0; lap < 20; lap++) {
		const uint16_t slot = rig->q.used;
		uint64_t before;

		for (uint32_t i = 0; i < count; i++)
			ids[i] = rig_send(rig, true, 0);
		before = visible(rig, slot);
		for (uint32_t i = 0; i < count; i++) {
			held[i] = rig_take(rig);
			assert_int_equal(vmemdev_vq_push(&rig->vq, &held[i], 16 - i), 0);
			assert_int_equal(visible(rig, slot), before);
			rig_none_used(rig);
		}
		assert_int_equal(vmemdev_vq_publish(&rig->vq), count);
		for (uint32_t i = 0; i < count; i++) {
			struct guest_used used;

			assert_int_equal(guest_queue_poll(&rig->q, &used), 1);
			assert_int_equal(used.id, ids[i]);
			if (!used.skipped)
				assert_int_equal(used.len, 16 - i);
		}
		rig_none_used(rig);
	}
}

/* shows: VQ-SPLIT-13 VQ-SPLIT-14 VQ-PACK-05 */
static void VQ_SPLIT_13_nothing_shows_before_publish(void **state)
{
	(void)state;
	rig_each(0, EVENT | ORDER, 32768, staged_body);
}

/* The write that shows entries finds all of them in place. */
struct order_check {
	struct vq_rig *rig;
	const struct vmemdev_held *held;
	uint32_t count;
	uint16_t first;   /* index or slot of the first entry */
	uint32_t shown;   /* how often the showing write was seen */
	bool publishing;
};

static void check_entries(const struct order_check *check)
{
	const struct guest_queue *q = &check->rig->q;

	for (uint32_t i = 0; i < check->count; i++) {
		const uint32_t slot = (check->first + i) % q->size;
		const uint16_t id = check->held[i].id;

		if (check->rig->packed) {
			assert_int_equal(guest_queue_get(q, GUEST_DESC_ID, slot), id);
			assert_int_equal(guest_queue_get(q, GUEST_DESC_LEN, slot), 7 + i);
		} else {
			assert_int_equal(guest_queue_get(q, GUEST_USED_ID, slot), id);
			assert_int_equal(guest_queue_get(q, GUEST_USED_LEN, slot), 7 + i);
		}
	}
}

static void on_write(void *ctx, uint64_t gpa, uint64_t len)
{
	struct order_check *check = ctx;
	const struct guest_queue *q = &check->rig->q;
	const uint64_t sign = check->rig->packed ?
		guest_queue_where(q, GUEST_DESC_FLAGS, check->first % q->size) :
		guest_queue_where(q, GUEST_USED_IDX, 0);

	if (sign < gpa || sign - gpa >= len)
		return;
	assert_true(check->publishing);
	check->shown++;
	check_entries(check);
}

static void order_body(struct vq_rig *rig)
{
	const uint32_t count = rig->q.size < 4 ? rig->q.size : 4;
	struct vmemdev_held held[4];

	for (uint32_t lap = 0; lap < 2 * rig->q.size + 3 && lap < 600; lap++) {
		struct order_check check = { rig, held, count, rig->q.used, 0, false };
		struct guest_used used;

		for (uint32_t i = 0; i < count; i++)
			rig_send(rig, true, 0);
		for (uint32_t i = 0; i < count; i++)
			held[i] = rig_take(rig);
		rig->mem.on_write = on_write;
		rig->mem.on_write_ctx = &check;
		for (uint32_t i = 0; i < count; i++)
			assert_int_equal(vmemdev_vq_push(&rig->vq, &held[i], 7 + i), 0);
		check.publishing = true;
		assert_int_equal(vmemdev_vq_publish(&rig->vq), count);
		rig->mem.on_write = NULL;
		assert_int_equal(check.shown, 1);
		while (guest_queue_poll(&rig->q, &used) == 1)
			;
		assert_int_equal(rig->q.out_count, 0);
	}
}

/* shows: VQ-SPLIT-13 VQ-PACK-05 */
static void VQ_SPLIT_13_entries_before_the_sign(void **state)
{
	(void)state;
	rig_each(0, EVENT, 256, order_body);
}

static void reverse_body(struct vq_rig *rig)
{
	const uint32_t count = rig->q.size < 6 ? rig->q.size : 6;
	struct vmemdev_held held[6];
	int ids[6];

	for (uint32_t lap = 0; lap < 30; lap++) {
		for (uint32_t i = 0; i < count; i++)
			ids[i] = rig_send(rig, true, 0);
		for (uint32_t i = 0; i < count; i++)
			held[i] = rig_take(rig);
		for (uint32_t i = count; i-- > 0;)
			rig_give(rig, &held[i], i);
		for (uint32_t i = count; i-- > 0;)
			rig_used(rig, ids[i], i);
	}
}

/* shows: VQ-SPLIT-17 VQ-PACK-08 */
static void VQ_SPLIT_17_used_in_another_order(void **state)
{
	(void)state;
	rig_each(0, EVENT, 32768, reverse_body);
}

/* Lists of 1 to 3 slots complete in each order: the slots fill up in that order. */
static void lists_body(struct vq_rig *rig)
{
	static const uint8_t orders[6][3] = {
		{ 0, 1, 2 }, { 0, 2, 1 }, { 1, 0, 2 }, { 1, 2, 0 }, { 2, 0, 1 }, { 2, 1, 0 },
	};
	const struct vmemdev_buf bufs[] = {
		{ 0x400000, 4, 1 }, { 0x400100, 4, 1 }, { 0x400200, 4, 1 },
	};

	if (rig->q.size < 6)
		return;
	for (uint32_t lap = 0; lap < 60; lap++) {
		const uint8_t *order = orders[lap % 6];
		struct vmemdev_held held[3];
		int ids[3];

		for (uint32_t i = 0; i < 3; i++)
			ids[i] = rig_send_bufs(rig, bufs, i + 1, NULL);
		for (uint32_t i = 0; i < 3; i++)
			held[i] = rig_take(rig);
		for (uint32_t i = 0; i < 3; i++)
			assert_int_equal(vmemdev_vq_push(&rig->vq, &held[order[i]], 1 + order[i]),
					 0);
		assert_true(vmemdev_vq_publish(&rig->vq) > 0);
		for (uint32_t i = 0; i < 3; i++)
			rig_used(rig, ids[order[i]], 1u + order[i]);
		rig_lap(rig);
	}
}

/* shows: VQ-PACK-08 VQ-PACK-10 VQ-SPLIT-17 */
static void VQ_PACK_10_one_entry_a_list(void **state)
{
	(void)state;
	rig_each(0, EVENT, 256, lists_body);
}

/* WRITE exactly if something was written; no other bit but AVAIL and USED. */
static void flags_body(struct vq_rig *rig)
{
	static const uint32_t lens[] = { 0, 1, 16, 0, UINT32_MAX };

	if (!rig->packed)
		return;
	for (uint32_t lap = 0; lap < 4 * rig->q.size && lap < 600; lap++) {
		const uint32_t len = lens[lap % COUNT(lens)];
		const uint16_t slot = rig->q.used;
		const uint16_t wrap = rig->q.used_wrap ? GUEST_AVAIL | GUEST_USED : 0;
		const int id = rig_send(rig, len > 0, 0);
		const struct vmemdev_held held = rig_take(rig);

		rig_give(rig, &held, len);
		assert_int_equal(guest_queue_get(&rig->q, GUEST_DESC_FLAGS, slot),
				 (uint16_t)(wrap | (len > 0 ? GUEST_WRITE : 0)));
		rig_used(rig, id, len);
	}
}

/* shows: VQ-PACK-16 VQ-PACK-17 VQ-PACK-02 */
static void VQ_PACK_16_write_flag(void **state)
{
	(void)state;
	rig_each(0, EVENT | ORDER, 256, flags_body);
}

/* The device never looks at what the driver can have put into the used ring. */
static void scribble_body(struct vq_rig *rig)
{
	if (rig->packed)
		return;
	for (uint32_t lap = 0; lap < 100; lap++) {
		const int id = rig_send(rig, true, 0);
		const struct vmemdev_held held = rig_take(rig);

		guest_queue_set(&rig->q, GUEST_USED_IDX, 0, 0x5555 * lap);
		guest_fill(&rig->mem, rig->q.layout.device + 4, (uint8_t)lap,
			   8 * (uint64_t)rig->q.size);
		rig_give(rig, &held, 3);
		assert_int_equal(guest_queue_get(&rig->q, GUEST_USED_IDX, 0), lap + 1);
		rig_used(rig, id, 3);
	}
}

/* shows: VQ-SPLIT-30 */
static void VQ_SPLIT_30_own_counter(void **state)
{
	(void)state;
	rig_each(0, EVENT | ORDER, 256, scribble_body);
}

static uint8_t before[0x200000]; /* the main region */

/* Every byte of it that has changed by now. */
static void expect_logged(const struct vq_rig *rig)
{
	const uint64_t gpa = rig_regions[MAIN].gpa;
	const uint8_t *now = guest_at(&rig->mem, gpa, sizeof(before));

	for (uint64_t i = 0; i < sizeof(before); i++) {
		if (before[i] != now[i])
			assert_true(guest_memory_wrote(&rig->mem, gpa + i, 1));
	}
}

/*
 * Every byte that changes is in the dirty log at once, also where the driver may not see it
 * before the publish, and nothing else of memory changes.
 */
static void dirty_body(struct vq_rig *rig)
{
	const uint64_t gpa = rig_regions[MAIN].gpa;
	const struct vmemdev_buf out = rig_buf(rig, 100, true);

	for (uint32_t lap = 0; lap < 4; lap++) {
		struct vmemdev_chain chain;
		struct vmemdev_held held;

		rig_send_bufs(rig, &out, 1, NULL);
		memcpy(before, guest_at(&rig->mem, gpa, sizeof(before)), sizeof(before));
		guest_memory_forget(&rig->mem);
		assert_int_equal(vmemdev_vq_pop(&rig->vq, &chain), 1);
		assert_int_equal(vmemdev_chain_write(&chain, "0123456789\1\2\3\4", 10 + lap),
				 10 + lap);
		assert_int_equal(vmemdev_chain_finish(&chain, &held), 0);
		assert_int_equal(vmemdev_vq_push(&rig->vq, &held, 10 + lap), 0);
		expect_logged(rig);
		assert_int_equal(vmemdev_vq_publish(&rig->vq), held.slots);
		rig_empty(rig);
		expect_logged(rig);
		assert_true(guest_memory_wrote(&rig->mem, out.gpa, 10 + lap));
		assert_false(guest_memory_wrote(&rig->mem, out.gpa + 10 + lap, 90 - lap));
		rig_used(rig, held.id, 10 + lap);
		guest_fill(&rig->mem, out.gpa, 0, 100);
	}
}

static void all_writes_are_in_the_dirty_log(void **state)
{
	(void)state;
	rig_each(0, EVENT | ORDER, 256, dirty_body);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(VQ_SPLIT_13_nothing_shows_before_publish),
		RIG_TEST(VQ_SPLIT_13_entries_before_the_sign),
		RIG_TEST(VQ_SPLIT_17_used_in_another_order),
		RIG_TEST(VQ_PACK_10_one_entry_a_list),
		RIG_TEST(VQ_PACK_16_write_flag),
		RIG_TEST(VQ_SPLIT_30_own_counter),
		RIG_TEST(all_writes_are_in_the_dirty_log),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
