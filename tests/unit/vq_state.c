/* SPDX-License-Identifier: BSD-3-Clause */
/* Saving and loading ring positions. */
#include "vq_rig.h"

/* Put the saved positions into a queue that knows nothing else. */
static int move(struct vq_rig *rig)
{
	struct vmemdev_vq_state saved;
	int err = vmemdev_vq_save(&rig->vq, &saved);

	if (err != 0)
		return err;
	memset(&rig->vq, 0xa5, sizeof(rig->vq));
	assert_int_equal(vmemdev_vq_init(&rig->vq, sizeof(rig->vq), &rig->mem.guest,
					 VMEMDEV_VQ_SIZE_MAX), 0);
	return vmemdev_vq_load(&rig->vq, &rig->q.layout, rig->features, &saved);
}

/* Moves at each point where it is allowed, chains held meanwhile. */
static void moves_body(struct vq_rig *rig)
{
	const uint32_t count = rig->q.size < 4 ? rig->q.size : 4;
	struct vmemdev_held held[4];
	int ids[4];

	for (uint32_t lap = 0; lap < 2 * rig->q.size + 5 && lap < 100; lap++) {
		assert_int_equal(move(rig), 0);
		for (uint32_t i = 0; i < count; i++)
			ids[i] = rig_send(rig, true, 0);
		assert_int_equal(move(rig), 0);
		for (uint32_t i = 0; i < count; i++) {
			held[i] = rig_take(rig);
			assert_int_equal(move(rig), 0);
		}
		for (uint32_t i = 0; i < count; i++) {
			rig_give(rig, &held[i], 16 - i);
			assert_int_equal(move(rig), 0);
			rig_used(rig, ids[i], 16 - i);
		}
		rig_empty(rig);
		rig_none_used(rig);
	}
}

static void save_and_load_between_all_calls(void **state)
{
	(void)state;
	rig_each(0, EVENT | INDIRECT | ORDER, 32768, moves_body);
}

/* A batch published, and the question never asked before the move. */
static void notify_body(struct vq_rig *rig)
{
	for (uint32_t lap = 0; lap < 10; lap++) {
		guest_queue_interrupts_on(&rig->q);
		rig_lap(rig);
		assert_int_equal(move(rig), 0);
		assert_true(vmemdev_vq_should_notify(&rig->vq));
		assert_false(vmemdev_vq_should_notify(&rig->vq));
		if ((rig->features & EVENT) != 0)
			continue;
		guest_queue_interrupts_off(&rig->q);
		rig_lap(rig);
		assert_int_equal(move(rig), 0);
		assert_false(vmemdev_vq_should_notify(&rig->vq));
	}
}

/* shows: VQ-SPLIT-19 VQ-SPLIT-20 VQ-SPLIT-22 VQ-PACK-21 */
static void VQ_SPLIT_22_no_notification_lost_by_a_move(void **state)
{
	(void)state;
	rig_each(0, EVENT | ORDER, 256, notify_body);
}

/* A wish for kicks holds after a move, or is made anew. */
static void kick_body(struct vq_rig *rig)
{
	for (uint32_t lap = 0; lap < 20; lap++) {
		rig_empty(rig);
		assert_int_equal(move(rig), 0);
		rig_send(rig, true, 0);
		assert_true(guest_queue_want_kick(&rig->q));
		{
			const struct vmemdev_held held = rig_take(rig);

			rig_give(rig, &held, 16);
			rig_used(rig, held.id, 16);
		}
		assert_int_equal(move(rig), 0);
	}
}

/* shows: VQ-SPLIT-27 VQ-PACK-25 */
static void VQ_SPLIT_27_no_kick_lost_by_a_move(void **state)
{
	(void)state;
	rig_each(0, EVENT | ORDER, 256, kick_body);
}

/* Numbers that a host may have stored: their meaning is fixed. */
static void positions_have_their_documented_meaning(void **state)
{
	struct vmemdev_vq_state saved;
	struct vq_rig rig;

	(void)state;
	rig_open(&rig, 0, 8);
	rig_laps(&rig, 65534);
	for (uint32_t i = 0; i < 3; i++)
		rig_send(&rig, true, 0);
	rig_take(&rig);
	rig_take(&rig);
	rig_take(&rig);
	assert_int_equal(vmemdev_vq_save(&rig.vq, &saved), 0);
	assert_int_equal(saved.next_avail, 1);
	assert_int_equal(saved.next_used, 65534);
	assert_int_equal(saved.busy, 3);
	assert_int_equal(saved.avail_wrap, 0);
	assert_int_equal(saved.used_wrap, 0);
	rig_close(&rig);

	rig_open(&rig, PACKED, 7);
	rig_laps(&rig, 5);
	for (uint32_t i = 0; i < 3; i++)
		rig_send(&rig, true, 0);
	rig_take(&rig);
	rig_take(&rig);
	rig_take(&rig);
	assert_int_equal(vmemdev_vq_save(&rig.vq, &saved), 0);
	assert_int_equal(saved.next_avail, 1);
	assert_int_equal(saved.avail_wrap, 0);
	assert_int_equal(saved.next_used, 5);
	assert_int_equal(saved.used_wrap, 1);
	assert_int_equal(saved.busy, 3);
	rig_close(&rig);
}

static void refuse_body(struct vq_rig *rig)
{
	struct vmemdev_vq_state saved, before;
	struct vmemdev_chain chain;
	struct vmemdev_held held;

	memset(&saved, 0x77, sizeof(saved));
	before = saved;
	rig_send(rig, true, 0);
	assert_int_equal(vmemdev_vq_pop(&rig->vq, &chain), 1);
	assert_int_equal(vmemdev_vq_save(&rig->vq, &saved), VMEMDEV_E_STATE);
	assert_int_equal(vmemdev_chain_finish(&chain, &held), 0);
	assert_int_equal(vmemdev_vq_push(&rig->vq, &held, 16), 0);
	assert_int_equal(vmemdev_vq_save(&rig->vq, &saved), VMEMDEV_E_STATE);
	assert_memory_equal(&saved, &before, sizeof(saved));
	assert_int_equal(vmemdev_vq_publish(&rig->vq), 1);
	assert_int_equal(vmemdev_vq_save(&rig->vq, &saved), 0);
	assert_int_equal(vmemdev_vq_load(&rig->vq, &rig->q.layout, rig->features, &saved),
			 VMEMDEV_E_STATE);
}

static void save_refuses_open_chains_and_staged_entries(void **state)
{
	(void)state;
	rig_each(0, EVENT | ORDER, 256, refuse_body);
}

struct bad_state {
	const char *what;
	uint64_t features;
	uint32_t size;
	struct vmemdev_vq_state state;
};

static const struct bad_state bad_states[] = {
	{ "busy above the size", 0, 8, { .next_avail = 9, .busy = 9 } },
	{ "used ahead of available", 0, 8, { .next_used = 1 } },
	{ "more between than busy", 0, 8, { .next_avail = 3, .busy = 2 } },
	{ "fewer between than busy", 0, 8, { .next_avail = 3, .busy = 4 } },
	{ "half the numbers apart", 0, 8, { .next_avail = 0x8000, .busy = 8 } },
	{ "a wrap that split rings have not", 0, 8, { .avail_wrap = 1 } },
	{ "a used wrap that split rings have not", 0, 8, { .used_wrap = 1 } },
	{ "slot 7 of 7", PACKED, 7, { .next_avail = 7, .next_used = 7, .avail_wrap = 1,
				      .used_wrap = 1 } },
	{ "used slot 7 of 7", PACKED, 7, { .next_used = 7, .avail_wrap = 0, .used_wrap = 1 } },
	{ "wrap 2", PACKED, 7, { .avail_wrap = 2, .used_wrap = 2 } },
	{ "used wrap 255", PACKED, 7, { .avail_wrap = 1, .used_wrap = 255 } },
	{ "a lap apart with nothing busy", PACKED, 7, { .avail_wrap = 0, .used_wrap = 1 } },
	{ "busy above the size", PACKED, 7, { .next_avail = 1, .avail_wrap = 0, .used_wrap = 1,
					      .busy = 8 } },
	{ "busy without distance", PACKED, 7, { .busy = 1, .avail_wrap = 1, .used_wrap = 1 } },
	{ "distance without busy", PACKED, 7, { .next_avail = 1, .avail_wrap = 1,
						.used_wrap = 1 } },
	{ "used ahead of available", PACKED, 7, { .next_used = 1, .avail_wrap = 1,
						  .used_wrap = 1 } },
	{ "nothing busy, but a push is owed", ORDER, 8, { .order_popped = 1 } },
	{ "more busy than may be pushed", ORDER, 8, { .next_avail = 3, .busy = 3,
						      .order_popped = 2 } },
	{ "pushed more than popped", ORDER, 8, { .order_pushed = 1 } },
	{ "nothing busy, but a push is owed", PACKED | ORDER, 7,
	  { .avail_wrap = 1, .used_wrap = 1, .order_popped = 1 } },
	{ "busy, and nothing may be pushed", PACKED | ORDER, 7,
	  { .next_avail = 3, .busy = 3, .avail_wrap = 1, .used_wrap = 1 } },
	{ "more chains owed than slots busy", PACKED | ORDER, 7,
	  { .next_avail = 3, .busy = 3, .avail_wrap = 1, .used_wrap = 1, .order_popped = 4 } },
};

/* Refused as impossible, and the queue is as it was. */
static void load_refuses_impossible_states(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < COUNT(bad_states); i++) {
		const struct bad_state *bad = &bad_states[i];
		struct vmemdev_vq_layout layout;
		struct vq_rig rig;

		rig_open(&rig, bad->features, bad->size);
		rig_say("%s, %s", bad->what, rig.packed ? "packed" : "split");
		vmemdev_vq_reset(&rig.vq);
		assert_int_equal(vmemdev_vq_load(&rig.vq, &rig.q.layout, bad->features,
						 &bad->state), VMEMDEV_E_INVAL);
		rig_empty(&rig);
		layout = rig.q.layout;
		layout.desc += 1;
		assert_true(vmemdev_vq_load(&rig.vq, &layout, bad->features, &bad->state) < 0);
		assert_int_equal(vmemdev_vq_enable(&rig.vq, &rig.q.layout, bad->features), 0);
		rig_lap(&rig);
		rig_close(&rig);
	}
}

static void load_refuses_impossible_rings(void **state)
{
	const struct vmemdev_vq_state zero = { 0 };
	struct vmemdev_vq_layout layout;
	struct vq_rig rig;

	(void)state;
	rig_open(&rig, 0, 8);
	vmemdev_vq_reset(&rig.vq);
	layout = rig.q.layout;
	layout.size = 7;
	assert_int_equal(vmemdev_vq_load(&rig.vq, &layout, 0, &zero), VMEMDEV_E_GUEST_RING);
	layout = rig.q.layout;
	layout.driver = UINT64_MAX - 3;
	assert_int_equal(vmemdev_vq_load(&rig.vq, &layout, 0, &zero), VMEMDEV_E_GUEST_RING);
	rig_empty(&rig);
	assert_int_equal(vmemdev_vq_load(&rig.vq, &rig.q.layout, 0, &zero), 0);
	rig_lap(&rig);
	rig_close(&rig);
}

/* Whatever is loaded, and whatever stands in the ring: no crash, no endless loop. */
static void random_state(uint64_t features, struct guest_random *random, uint32_t *accepted)
{
	struct vmemdev_vq_state any;
	struct vmemdev_chain chain;
	struct vmemdev_held held = { .slots = 1 };
	struct vq_rig rig;
	uint8_t *ring;

	rig_open(&rig, features, 8);
	ring = guest_at(&rig.mem, rig.q.layout.desc, 0x100);
	for (uint32_t i = 0; i < 500; i++) {
		vmemdev_vq_reset(&rig.vq);
		for (uint32_t b = 0; b < 0x100; b++)
			ring[b] = (uint8_t)guest_random_below(random, 10);
		memset(&any, 0, sizeof(any));
		any.next_used = (uint16_t)guest_random_below(random, 9);
		any.busy = (uint16_t)guest_random_below(random, 10);
		any.next_avail = (uint16_t)(any.next_used + any.busy);
		any.order_popped = (uint16_t)guest_random_below(random, 10);
		any.avail_wrap = (uint8_t)guest_random_below(random, 3);
		any.used_wrap = (uint8_t)guest_random_below(random, 3);
		if (rig.packed && any.next_avail >= 8)
			any.next_avail = (uint16_t)(any.next_avail - 8);
		if (vmemdev_vq_load(&rig.vq, &rig.q.layout, features, &any) != 0)
			continue;
		(*accepted)++;
		for (uint32_t step = 0; step < 20; step++) {
			if (vmemdev_vq_pop(&rig.vq, &chain) == 1)
				vmemdev_chain_finish(&chain, &held);
			vmemdev_vq_push(&rig.vq, &held, 1);
			vmemdev_vq_publish(&rig.vq);
			vmemdev_vq_should_notify(&rig.vq);
		}
	}
	rig_close(&rig);
}

static void random_states_are_refused_or_harmless(void **state)
{
	static const uint64_t features[] = { 0, EVENT | ORDER, PACKED, PACKED | EVENT | ORDER };
	struct guest_random random;

	(void)state;
	guest_random_seed(&random, 4711);
	for (uint32_t i = 0; i < COUNT(features); i++) {
		uint32_t accepted = 0;

		random_state(features[i], &random, &accepted);
		assert_true(accepted > 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(save_and_load_between_all_calls),
		RIG_TEST(VQ_SPLIT_22_no_notification_lost_by_a_move),
		RIG_TEST(VQ_SPLIT_27_no_kick_lost_by_a_move),
		RIG_TEST(positions_have_their_documented_meaning),
		RIG_TEST(save_refuses_open_chains_and_staged_entries),
		RIG_TEST(load_refuses_impossible_states),
		RIG_TEST(load_refuses_impossible_rings),
		RIG_TEST(random_states_are_refused_or_harmless),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
