/* SPDX-License-Identifier: BSD-3-Clause */
/* How the device asks the driver for kicks, and that none is ever lost. */
#include "vq_rig.h"

/* After an empty pop the driver must kick for the very next thing that it adds. */
static void kick_body(struct vq_rig *rig)
{
	const bool event = (rig->features & EVENT) != 0;

	for (uint32_t lap = 0; lap < 3 * rig->q.size + 10 && lap < 2000; lap++) {
		const uint32_t batch = 1 + lap % (rig->q.size < 4 ? rig->q.size : 4);

		rig_empty(rig);
		for (uint32_t i = 0; i < batch; i++) {
			rig_send(rig, true, 0);
			/* one kick says it all, if the ring format can say so */
			if (i == 0 || !event)
				assert_true(guest_queue_want_kick(&rig->q));
			else
				assert_false(guest_queue_want_kick(&rig->q));
		}
		for (uint32_t i = 0; i < batch; i++) {
			const struct vmemdev_held held = rig_take(rig);

			rig_give(rig, &held, 16);
			rig_used(rig, held.id, 16);
		}
	}
}

/* shows: VQ-SPLIT-26 VQ-SPLIT-27 VQ-PACK-25 */
static void VQ_SPLIT_27_one_kick_for_what_is_next(void **state)
{
	(void)state;
	rig_each(0, EVENT | INDIRECT | ORDER, 32768, kick_body);
}

/* The same when several chains are published at once, lists over the end included. */
static void batch_body(struct vq_rig *rig)
{
	const struct vmemdev_buf bufs[] = {
		{ 0x400000, 4, 1 }, { 0x400100, 4, 1 }, { 0x400200, 4, 1 },
	};

	if (rig->q.size < 7)
		return;
	for (uint32_t lap = 0; lap < 600; lap++) {
		rig_empty(rig);
		for (uint32_t i = 0; i < 1 + lap % 2; i++)
			assert_true(guest_queue_add(&rig->q, bufs, 1 + (lap + i) % 3, NULL) >= 0);
		guest_queue_publish(&rig->q);
		assert_true(guest_queue_want_kick(&rig->q));
		for (uint32_t i = 0; i < 1 + lap % 2; i++) {
			const struct vmemdev_held held = rig_take(rig);

			rig_give(rig, &held, 0);
			rig_used(rig, held.id, 0);
		}
	}
}

/* shows: VQ-SPLIT-27 VQ-PACK-25 */
static void VQ_SPLIT_27_batches(void **state)
{
	(void)state;
	rig_each(0, EVENT | ORDER, 256, batch_body);
}

/* A ring that was never looked at wants a kick for its first buffer. */
static void first_body(struct vq_rig *rig)
{
	rig_send(rig, true, 0);
	assert_true(guest_queue_want_kick(&rig->q));
}

/* shows: VQ-SPLIT-27 VQ-PACK-25 */
static void VQ_SPLIT_27_first_buffer_ever(void **state)
{
	(void)state;
	rig_each(0, EVENT | INDIRECT | ORDER, 32768, first_body);
}

static void words_body(struct vq_rig *rig)
{
	const bool event = (rig->features & EVENT) != 0;

	for (uint32_t lap = 0; lap < 3 * rig->q.size + 10 && lap < 1000; lap++) {
		rig_empty(rig);
		if (rig->packed) {
			const uint16_t next = (uint16_t)(rig->q.avail |
				(rig->q.avail_wrap ? GUEST_EVENT_WRAP : 0));

			assert_int_equal(guest_queue_get(&rig->q, GUEST_DEVICE_FLAGS, 0),
					 event ? GUEST_EVENT_DESC : GUEST_EVENT_ENABLE);
			if (event)
				assert_int_equal(guest_queue_get(&rig->q, GUEST_DEVICE_EVENT, 0),
						 next);
		} else {
			assert_int_equal(guest_queue_get(&rig->q, GUEST_USED_FLAGS, 0), 0);
			if (event)
				assert_int_equal(guest_queue_get(&rig->q, GUEST_AVAIL_EVENT, 0),
						 rig->q.avail);
		}
		rig_send(rig, true, 0);
		guest_queue_want_kick(&rig->q);
		{
			const struct vmemdev_held held = rig_take(rig);

			rig_give(rig, &held, 16);
			rig_used(rig, held.id, 16);
		}
		if (!rig->packed) {
			const uint64_t flags = guest_queue_get(&rig->q, GUEST_USED_FLAGS, 0);

			assert_true(flags == 0 || (flags == 1 && !event));
		} else {
			const uint64_t flags = guest_queue_get(&rig->q, GUEST_DEVICE_FLAGS, 0);

			assert_true(flags <= (event ? 2 : 1));
		}
	}
}

/* shows: VQ-SPLIT-25 VQ-PACK-25 */
static void VQ_SPLIT_25_words_the_driver_reads(void **state)
{
	(void)state;
	rig_each(0, EVENT | ORDER, 256, words_body);
}

/* Without EVENT_IDX the event words are neither written nor needed. */
static void untouched_body(struct vq_rig *rig)
{
	const struct guest_queue *q = &rig->q;

	guest_memory_forget(&rig->mem);
	for (uint32_t lap = 0; lap < 50; lap++) {
		rig_empty(rig);
		rig_lap(rig);
		vmemdev_vq_should_notify(&rig->vq);
	}
	if (rig->packed)
		assert_int_equal(guest_queue_get(q, GUEST_DEVICE_EVENT, 0), 0);
	else
		assert_false(guest_memory_wrote(&rig->mem,
						guest_queue_where(q, GUEST_AVAIL_EVENT, 0), 2));
}

/* shows: VQ-SPLIT-29 VQ-PACK-25 */
static void VQ_SPLIT_29_event_words_only_with_event_idx(void **state)
{
	(void)state;
	rig_each(0, INDIRECT | ORDER, 256, untouched_body);
}

/* The driver adds a buffer at the very moment that the device asks for kicks. */
struct race {
	struct vq_rig *rig;
	bool armed;
};

static void add_now(void *ctx, uint64_t gpa, uint64_t len)
{
	struct race *race = ctx;

	(void)gpa;
	(void)len;
	if (!race->armed)
		return;
	race->armed = false;
	rig_send(race->rig, true, 0);
}

static void race_body(struct vq_rig *rig)
{
	struct race race = { rig, false };
	uint32_t met = 0;

	rig->mem.on_write = add_now;
	rig->mem.on_write_ctx = &race;
	for (uint32_t lap = 0; lap < 3 * rig->q.size + 10 && lap < 1000; lap++) {
		struct vmemdev_chain chain;
		struct vmemdev_held held;

		race.armed = true;
		if (vmemdev_vq_pop(&rig->vq, &chain) == 1) {
			met++;
		} else {
			/* not met: then the driver must be told to kick */
			assert_true(race.armed || guest_queue_want_kick(&rig->q));
			if (race.armed)
				rig_send(rig, true, 0);
			race.armed = false;
			assert_int_equal(vmemdev_vq_pop(&rig->vq, &chain), 1);
		}
		assert_false(race.armed);
		assert_int_equal(vmemdev_chain_finish(&chain, &held), 0);
		rig_give(rig, &held, 16);
		rig_used(rig, held.id, 16);
	}
	assert_true(met > 0);
}

/* shows: VQ-SPLIT-28 VQ-PACK-26 */
static void VQ_SPLIT_28_one_more_look(void **state)
{
	(void)state;
	rig_each(0, EVENT | ORDER, 256, race_body);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(VQ_SPLIT_27_one_kick_for_what_is_next),
		RIG_TEST(VQ_SPLIT_27_batches),
		RIG_TEST(VQ_SPLIT_27_first_buffer_ever),
		RIG_TEST(VQ_SPLIT_25_words_the_driver_reads),
		RIG_TEST(VQ_SPLIT_29_event_words_only_with_event_idx),
		RIG_TEST(VQ_SPLIT_28_one_more_look),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
