/* SPDX-License-Identifier: BSD-3-Clause */
/* IN_ORDER: the order of use, and used entries that stand for several buffers. */
#include "vq_rig.h"

static void refuse_body(struct vq_rig *rig)
{
	const uint32_t count = rig->q.size < 5 ? rig->q.size : 5;
	struct vmemdev_held held[5];
	int ids[5];

	for (uint32_t lap = 0; lap < 20; lap++) {
		for (uint32_t i = 0; i < count; i++)
			ids[i] = rig_send(rig, true, 0);
		for (uint32_t i = 0; i < count; i++)
			held[i] = rig_take(rig);
		for (uint32_t i = 0; i < count; i++) {
			for (uint32_t later = i + 1; later < count; later++)
				assert_int_equal(vmemdev_vq_push(&rig->vq, &held[later], 16),
						 VMEMDEV_E_STATE);
			/* nothing changed: nothing to publish, no notification */
			assert_int_equal(vmemdev_vq_publish(&rig->vq), 0);
			assert_false(vmemdev_vq_should_notify(&rig->vq));
			rig_none_used(rig);
			rig_give(rig, &held[i], 16);
			rig_used(rig, ids[i], 16);
			vmemdev_vq_should_notify(&rig->vq);
		}
	}
}

/* shows: VQ-ORD-01 VQ-ORD-06 */
static void VQ_ORD_01_younger_chain_must_wait(void **state)
{
	(void)state;
	rig_each(ORDER, EVENT | ORDER, 32768, refuse_body);
}

/* Which kind of buffer a chain has, and how much of it is written. */
enum kind { READABLE, FULL, PARTIAL, EMPTY, KINDS };

static struct vmemdev_buf buf_of(enum kind kind)
{
	return (struct vmemdev_buf){ 0x400000, 16, kind != READABLE };
}

static uint32_t written_of(enum kind kind)
{
	return kind == FULL ? 16 : kind == PARTIAL ? 5 : 0;
}

/* A skipped buffer counts as wholly written: only such ones may be skipped. */
static void check_used(struct vq_rig *rig, const enum kind *kinds, const int *ids, uint32_t count,
		       uint32_t *skipped)
{
	for (uint32_t i = 0; i < count; i++) {
		struct guest_used used;

		assert_int_equal(guest_queue_poll(&rig->q, &used), 1);
		assert_int_equal(used.id, ids[i]);
		if (used.skipped) {
			assert_true(kinds[i] == READABLE || kinds[i] == FULL);
			(*skipped)++;
		} else {
			assert_int_equal(used.len, written_of(kinds[i]));
		}
	}
	rig_none_used(rig);
}

static uint32_t batch(struct vq_rig *rig, const enum kind *kinds, uint32_t count)
{
	struct vmemdev_held held[8];
	uint32_t skipped = 0;
	int ids[8];

	for (uint32_t i = 0; i < count; i++) {
		const struct vmemdev_buf buf = buf_of(kinds[i]);

		ids[i] = rig_send_bufs(rig, &buf, 1, NULL);
	}
	for (uint32_t i = 0; i < count; i++)
		held[i] = rig_take(rig);
	for (uint32_t i = 0; i < count; i++)
		assert_int_equal(vmemdev_vq_push(&rig->vq, &held[i], written_of(kinds[i])), 0);
	rig_none_used(rig);
	assert_int_equal(vmemdev_vq_publish(&rig->vq), count);
	check_used(rig, kinds, ids, count, &skipped);
	return skipped;
}

/* All mixes of kinds in batches of four. */
static void mixes_body(struct vq_rig *rig)
{
	const uint32_t count = rig->q.size < 4 ? rig->q.size : 4;

	for (uint32_t mix = 0; mix < KINDS * KINDS * KINDS * KINDS; mix++) {
		const enum kind kinds[4] = {
			(enum kind)(mix % KINDS),
			(enum kind)(mix / KINDS % KINDS),
			(enum kind)(mix / KINDS / KINDS % KINDS),
			(enum kind)(mix / KINDS / KINDS / KINDS),
		};

		rig_say("%s size %u mix %u", rig->packed ? "packed" : "split", rig->q.size, mix);
		batch(rig, kinds, count);
	}
}

/* shows: VQ-ORD-01 VQ-ORD-02 VQ-ORD-03 VQ-ORD-04 */
static void VQ_ORD_04_only_whole_buffers_are_skipped(void **state)
{
	(void)state;
	rig_each(ORDER, EVENT | ORDER, 32768, mixes_body);
}

/* One entry for a batch of equals, at the place of its first. */
static void one_entry_body(struct vq_rig *rig)
{
	static const enum kind kinds[] = { FULL, FULL, FULL };

	if (rig->q.size < 3)
		return;
	for (uint32_t lap = 0; lap < 50; lap++)
		assert_int_equal(batch(rig, kinds, 3), 2);
}

/* shows: VQ-ORD-02 VQ-ORD-03 */
static void VQ_ORD_02_one_entry_stands_for_a_batch(void **state)
{
	(void)state;
	rig_each(ORDER, EVENT | ORDER, 256, one_entry_body);
}

/* Several publishes, pushes between them: entries never stand for published ones. */
static void pieces_body(struct vq_rig *rig)
{
	struct vmemdev_held held[6];
	int ids[6];

	if (rig->q.size < 6)
		return;
	for (uint32_t mask = 0; mask < 64; mask++) {
		uint32_t shown = 0;

		for (uint32_t i = 0; i < 6; i++)
			ids[i] = rig_send(rig, true, 0);
		for (uint32_t i = 0; i < 6; i++)
			held[i] = rig_take(rig);
		for (uint32_t i = 0; i < 6; i++) {
			assert_int_equal(vmemdev_vq_push(&rig->vq, &held[i], 16), 0);
			if ((mask >> i & 1) == 0 && i != 5)
				continue;
			assert_int_equal(vmemdev_vq_publish(&rig->vq), i + 1 - shown);
			for (; shown <= i; shown++) {
				struct guest_used used;

				assert_int_equal(guest_queue_poll(&rig->q, &used), 1);
				assert_int_equal(used.id, ids[shown]);
			}
			rig_none_used(rig);
		}
	}
}

/* shows: VQ-ORD-02 VQ-ORD-03 */
static void VQ_ORD_02_batches_end_at_each_publish(void **state)
{
	(void)state;
	rig_each(ORDER, EVENT | ORDER, 256, pieces_body);
}

/* shows: VQ-ORD-05 */
static void VQ_ORD_05_links_in_any_order(void **state)
{
	const struct vmemdev_buf bufs[] = { { 0x400000, 8, 0 }, { 0x400100, 8, 1 } };
	const struct guest_queue_config config = { .size = 8 }; /* a driver that is not in order */
	struct vq_rig rig;

	(void)state;
	rig_open(&rig, ORDER, 8);
	guest_queue_close(&rig.q);
	guest_queue_open(&rig.q, &rig.mem, &config);
	vmemdev_vq_reset(&rig.vq);
	assert_int_equal(vmemdev_vq_enable(&rig.vq, &rig.q.layout, ORDER), 0);
	for (uint16_t head = 0; head < 80; head++) {
		const struct guest_add how = { .explicit_id = true,
					       .id = (uint16_t)(head * 3 % 8) };
		const int id = rig_send_bufs(&rig, bufs, 2, &how);
		const struct vmemdev_held held = rig_take(&rig);

		rig_give(&rig, &held, 8);
		rig_used(&rig, id, 8);
	}
	rig_close(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(VQ_ORD_01_younger_chain_must_wait),
		RIG_TEST(VQ_ORD_04_only_whole_buffers_are_skipped),
		RIG_TEST(VQ_ORD_02_one_entry_stands_for_a_batch),
		RIG_TEST(VQ_ORD_02_batches_end_at_each_publish),
		RIG_TEST(VQ_ORD_05_links_in_any_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
