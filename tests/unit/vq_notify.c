/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * When the driver is to be notified of used buffers. The reference is the plainest
 * reading of the text: walk over each ring position that was just published and see
 * whether the driver asked for that one.
 */
#include "vq_rig.h"

/* Let @count chains through up to the publish, without asking; the driver then takes
 * them. */
static void publish_some(struct vq_rig *rig, uint32_t count)
{
	struct guest_used used;

	for (uint32_t i = 0; i < count; i++)
		rig_send(rig, true, 0);
	for (uint32_t i = 0; i < count; i++) {
		const struct vmemdev_held held = rig_take(rig);

		assert_int_equal(vmemdev_vq_push(&rig->vq, &held, 16), 0);
	}
	assert_int_equal(vmemdev_vq_publish(&rig->vq), count);
	for (uint32_t i = 0; i < count; i++)
		assert_int_equal(guest_queue_poll(&rig->q, &used), 1);
}

static bool split_reference(uint16_t old, uint32_t count, uint16_t event)
{
	for (uint32_t i = 0; i < count; i++) {
		if ((uint16_t)(old + i) == event)
			return true;
	}
	return false;
}

static void check_split(struct vq_rig *rig, uint32_t count, uint16_t event)
{
	const uint16_t old = rig->q.used;

	guest_queue_set(&rig->q, GUEST_USED_EVENT, 0, event);
	publish_some(rig, count);
	if (vmemdev_vq_should_notify(&rig->vq) != split_reference(old, count, event))
		fail_msg("size %u, from index %u, %u entries, used_event %u: expected %d",
			 rig->q.size, old, count, event, split_reference(old, count, event));
}

/* shows: VQ-SPLIT-22 VQ-SPLIT-23 */
static void VQ_SPLIT_22_every_position_near_the_event(void **state)
{
	static const uint32_t sizes[] = { 1, 2, 4 };

	(void)state;
	for (uint32_t s = 0; s < COUNT(sizes); s++) {
		for (uint32_t count = 1; count <= sizes[s]; count++) {
			struct vq_rig rig;

			rig_open(&rig, EVENT, sizes[s]);
			/* each lap of the index meets the next distance from the event */
			for (uint32_t apart = 0; apart < count + 4; apart++) {
				for (uint32_t i = 0; i <= 65536 / count; i++)
					check_split(&rig, count,
						    (uint16_t)(rig.q.used + apart - 2));
			}
			rig_close(&rig);
		}
	}
}

/* shows: VQ-SPLIT-22 VQ-SPLIT-23 HOST-VQ-17 */
static void VQ_SPLIT_22_every_event(void **state)
{
	static const uint16_t starts[] = { 0, 1, 0x7fff, 0x8000, 0xfffc, 0xffff };

	(void)state;
	for (uint32_t s = 0; s < COUNT(starts); s++) {
		struct vq_rig rig;

		rig_open(&rig, EVENT, 8);
		rig_laps(&rig, starts[s]);
		vmemdev_vq_should_notify(&rig.vq);
		for (uint32_t event = 0; event <= 65535; event++)
			check_split(&rig, 1 + event % 8, (uint16_t)event);
		rig_close(&rig);
	}
}

/* Whether a walk from (@slot, @wrap) over @count slots of @size passes the event. */
static bool packed_reference(uint32_t size, uint32_t slot, bool wrap, uint32_t count,
			     uint16_t event)
{
	for (uint32_t i = 0; i < count; i++) {
		if (slot == (event & 0x7fffu) && wrap == ((event & GUEST_EVENT_WRAP) != 0))
			return true;
		if (++slot == size) {
			slot = 0;
			wrap = !wrap;
		}
	}
	return false;
}

/* Publish chains whose lengths the bits of @cuts give: bit i ends a list at slot i. */
static void publish_lists(struct vq_rig *rig, uint32_t slots, uint32_t cuts)
{
	const struct vmemdev_buf bufs[8] = { { 0x400000, 1, 0 }, { 0x400000, 1, 0 },
					     { 0x400000, 1, 0 }, { 0x400000, 1, 0 },
					     { 0x400000, 1, 0 }, { 0x400000, 1, 0 },
					     { 0x400000, 1, 0 }, { 0x400000, 1, 0 } };
	uint32_t len = 0, lists = 0;
	struct guest_used used;

	for (uint32_t i = 0; i < slots; i++) {
		len++;
		if (i + 1 < slots && (cuts >> i & 1) == 0)
			continue;
		rig_send_bufs(rig, bufs, len, NULL);
		lists++;
		len = 0;
	}
	for (uint32_t i = 0; i < lists; i++) {
		const struct vmemdev_held held = rig_take(rig);

		assert_int_equal(vmemdev_vq_push(&rig->vq, &held, 0), 0);
	}
	assert_int_equal(vmemdev_vq_publish(&rig->vq), slots);
	for (uint32_t i = 0; i < lists; i++)
		assert_int_equal(guest_queue_poll(&rig->q, &used), 1);
}

static void check_packed(struct vq_rig *rig, uint32_t slots, uint32_t cuts, uint16_t event)
{
	const uint32_t slot = rig->q.used;
	const bool wrap = rig->q.used_wrap;
	const bool expected = packed_reference(rig->q.size, slot, wrap, slots, event);

	guest_queue_set(&rig->q, GUEST_DRIVER_EVENT, 0, event);
	guest_queue_set(&rig->q, GUEST_DRIVER_FLAGS, 0, GUEST_EVENT_DESC);
	publish_lists(rig, slots, cuts);
	if (vmemdev_vq_should_notify(&rig->vq) != expected)
		fail_msg("size %u, from slot %u wrap %d, %u slots cut 0x%x, event 0x%x: "
			 "expected %d",
			 rig->q.size, slot, wrap, slots, cuts, event, expected);
}

/* Every start, length, cut, offset and wrap of a ring of @size. */
static void packed_exhaustive(uint32_t size, uint64_t features)
{
	struct vq_rig rig;

	rig_open(&rig, PACKED | EVENT | features, size);
	for (uint32_t slots = 1; slots <= size; slots++) {
		for (uint32_t cuts = 0; cuts < 1u << (slots - 1); cuts++) {
			for (uint32_t event = 0; event < 2 * size; event++) {
				/* at each place of the ring, on laps of both wraps */
				for (uint32_t start = 0; start < 2 * size; start++) {
					check_packed(&rig, slots, cuts,
						     (uint16_t)(event / 2 | (event & 1) << 15));
					guest_queue_set(&rig.q, GUEST_DRIVER_FLAGS, 0,
							GUEST_EVENT_DISABLE);
					while (rig.q.used != (start + 1) % size ||
					       rig.q.used_wrap != (start + 1 < size ||
								   start + 1 == 2 * size))
						rig_lap(&rig);
					assert_false(vmemdev_vq_should_notify(&rig.vq));
				}
			}
		}
	}
	rig_close(&rig);
}

/* shows: VQ-PACK-22 VQ-PACK-21 */
static void VQ_PACK_22_every_place_of_small_rings(void **state)
{
	static const uint32_t sizes[] = { 1, 2, 3, 4, 5 };

	(void)state;
	for (uint32_t i = 0; i < COUNT(sizes); i++) {
		packed_exhaustive(sizes[i], 0);
		packed_exhaustive(sizes[i], ORDER);
	}
}

/* shows: VQ-PACK-22 HOST-VQ-17 */
static void VQ_PACK_22_every_event_word(void **state)
{
	static const uint32_t sizes[] = { 7, 256 };

	(void)state;
	for (uint32_t s = 0; s < COUNT(sizes); s++) {
		struct vq_rig rig;

		rig_open(&rig, PACKED | EVENT, sizes[s]);
		for (uint32_t event = 0; event <= 65535; event++) {
			/* an offset that is no slot may be answered either way */
			if ((event & 0x7fff) < sizes[s]) {
				check_packed(&rig, 1 + event % 7, event % 64, (uint16_t)event);
				continue;
			}
			guest_queue_set(&rig.q, GUEST_DRIVER_EVENT, 0, event);
			rig_lap(&rig);
			vmemdev_vq_should_notify(&rig.vq);
		}
		rig_close(&rig);
	}
}

static void set_wish(struct vq_rig *rig, uint16_t flags)
{
	guest_queue_set(&rig->q, rig->packed ? GUEST_DRIVER_FLAGS : GUEST_AVAIL_FLAGS, 0, flags);
}

/* Flags decide, for whatever stands in the event words. */
static void flags_body(struct vq_rig *rig)
{
	static const uint16_t events[] = { 0, 1, 0x7fff, 0x8000, 0x8001, 0xffff, 0x5a5a };

	for (uint32_t lap = 0; lap < 40; lap++) {
		const uint16_t event = events[lap % COUNT(events)];

		if (rig->packed)
			guest_queue_set(&rig->q, GUEST_DRIVER_EVENT, 0, event);
		else
			guest_queue_set(&rig->q, GUEST_USED_EVENT, 0, event);
		assert_false(vmemdev_vq_should_notify(&rig->vq));
		set_wish(rig, 0);
		rig_lap(rig);
		assert_true(vmemdev_vq_should_notify(&rig->vq));
		assert_false(vmemdev_vq_should_notify(&rig->vq));
		set_wish(rig, 1);
		rig_lap(rig);
		assert_false(vmemdev_vq_should_notify(&rig->vq));
		set_wish(rig, 0);
		assert_false(vmemdev_vq_should_notify(&rig->vq));
	}
}

/* shows: VQ-SPLIT-18 VQ-SPLIT-19 VQ-SPLIT-20 VQ-PACK-21 */
static void VQ_SPLIT_19_flags_without_event_idx(void **state)
{
	(void)state;
	rig_each(0, INDIRECT | ORDER, 256, flags_body);
}

static void odd_flags_body(struct vq_rig *rig)
{
	if (!rig->packed)
		return;
	for (uint32_t flags = 0; flags < 65536; flags += flags < 16 ? 1 : 997) {
		const uint32_t mode = flags & 3;

		if (mode == GUEST_EVENT_DESC && (rig->features & EVENT) != 0)
			continue;
		rig_say("flags 0x%x", flags);
		set_wish(rig, (uint16_t)flags);
		rig_lap(rig);
		assert_int_equal(vmemdev_vq_should_notify(&rig->vq), mode != GUEST_EVENT_DISABLE);
	}
}

/* shows: VQ-PACK-23 VQ-PACK-21 HOST-VQ-17 */
static void VQ_PACK_23_modes_2_and_3_otherwise_mean_notify(void **state)
{
	(void)state;
	rig_each(0, EVENT | ORDER, 256, odd_flags_body);
}

/* shows: VQ-SPLIT-21 */
static void VQ_SPLIT_21_avail_flags_ignored_with_event_idx(void **state)
{
	struct vq_rig rig;

	(void)state;
	rig_open(&rig, EVENT, 4);
	for (uint32_t i = 0; i < 70000; i++) {
		set_wish(&rig, (uint16_t)(i % 3));
		check_split(&rig, 1, (uint16_t)(i % 2 == 0 ? i : i + 1));
	}
	rig_close(&rig);
}

/* Many batches, one question: the event may lie in any of them. */
static void batches_body(struct vq_rig *rig)
{
	for (uint32_t batches = 1; batches <= rig->q.size && batches <= 40; batches++) {
		for (uint16_t at = 0; at <= batches; at++) {
			if (at == rig->q.size)
				continue;
			guest_queue_interrupt_at(&rig->q, at);
			rig_laps(rig, batches);
			assert_int_equal(vmemdev_vq_should_notify(&rig->vq), at < batches);
		}
	}
}

/* shows: VQ-SPLIT-22 VQ-SPLIT-23 VQ-PACK-22 */
static void VQ_SPLIT_23_one_question_for_many_batches(void **state)
{
	(void)state;
	rig_each(EVENT, EVENT | ORDER, 256, batches_body);
}

/* Not asking for more than a lap of the 16-bit index loses nothing. */
static void unasked_body(struct vq_rig *rig)
{
	const bool event = (rig->features & EVENT) != 0;

	if (rig->q.size > 2)
		return;
	guest_queue_interrupts_on(&rig->q);
	rig_laps(rig, 65536);
	assert_true(vmemdev_vq_should_notify(&rig->vq));
	guest_queue_interrupts_on(&rig->q);
	rig_laps(rig, 70000);
	assert_true(vmemdev_vq_should_notify(&rig->vq));
	if (event)
		return;
	guest_queue_interrupts_off(&rig->q);
	rig_laps(rig, 70000);
	assert_false(vmemdev_vq_should_notify(&rig->vq));
}

/* shows: VQ-SPLIT-19 VQ-SPLIT-20 VQ-SPLIT-22 VQ-PACK-21 VQ-PACK-22 */
static void VQ_SPLIT_22_asked_after_more_than_a_lap(void **state)
{
	(void)state;
	rig_each(0, EVENT | ORDER, 2, unasked_body);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(VQ_SPLIT_22_every_position_near_the_event),
		RIG_TEST(VQ_SPLIT_22_every_event),
		RIG_TEST(VQ_PACK_22_every_place_of_small_rings),
		RIG_TEST(VQ_PACK_22_every_event_word),
		RIG_TEST(VQ_SPLIT_19_flags_without_event_idx),
		RIG_TEST(VQ_PACK_23_modes_2_and_3_otherwise_mean_notify),
		RIG_TEST(VQ_SPLIT_21_avail_flags_ignored_with_event_idx),
		RIG_TEST(VQ_SPLIT_23_one_question_for_many_batches),
		RIG_TEST(VQ_SPLIT_22_asked_after_more_than_a_lap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
