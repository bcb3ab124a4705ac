/* SPDX-License-Identifier: BSD-3-Clause */
/* What counts as available, and in which order it is taken. */
#include "vq_rig.h"

static void empty_body(struct vq_rig *rig)
{
	for (uint32_t i = 0; i < 5; i++)
		rig_empty(rig);
	assert_false(vmemdev_vq_should_notify(&rig->vq));
	assert_int_equal(vmemdev_vq_publish(&rig->vq), 0);
	rig_none_used(rig);
	rig_laps(rig, 3);
	for (uint32_t i = 0; i < 5; i++)
		rig_empty(rig);
}

/* shows: VQ-PACK-04 NTF-01 */
static void VQ_PACK_04_zeroed_ring_is_empty(void **state)
{
	(void)state;
	rig_each(0, EVENT | INDIRECT | ORDER, 32768, empty_body);
}

static void scribble_body(struct vq_rig *rig)
{
	const uint32_t size = rig->q.size;

	if (rig->packed)
		return;
	/* Everything in the ring but its index says "head 0". */
	guest_fill(&rig->mem, rig->q.layout.desc, 0, 16 * (uint64_t)size);
	for (uint32_t sent = 1; sent <= size && sent <= 5; sent++) {
		rig_send(rig, true, 0);
		rig_take(rig);
		rig_empty(rig);
	}
}

/* shows: VQ-SPLIT-11 */
static void VQ_SPLIT_11_nothing_beyond_the_index(void **state)
{
	(void)state;
	rig_each(0, EVENT | INDIRECT | ORDER, 256, scribble_body);
}

/* Flags of the next descriptor say available only as AVAIL = wrap, USED = !wrap. */
static void check_flags(struct vq_rig *rig, uint16_t flags, bool wrap)
{
	const bool avail = (flags & GUEST_AVAIL) != 0, used = (flags & GUEST_USED) != 0;
	struct vmemdev_chain chain;

	rig_say("wrap %d, flags 0x%x", wrap, flags);
	guest_queue_set(&rig->q, GUEST_DESC_FLAGS, rig->q.avail, flags);
	assert_int_equal(vmemdev_vq_pop(&rig->vq, &chain), avail == wrap && used != wrap);
}

/* shows: VQ-PACK-03 VQ-PACK-02 */
static void VQ_PACK_03_flags_that_mean_available(void **state)
{
	static const uint16_t flags[] = { 0, GUEST_AVAIL, GUEST_USED, GUEST_AVAIL | GUEST_USED };
	static const uint32_t sizes[] = { 1, 3, 7, 256 };

	(void)state;
	for (uint32_t i = 0; i < COUNT(sizes); i++) {
		for (uint32_t before = 0; before < 3 * sizes[i]; before++) {
			for (uint32_t f = 0; f < COUNT(flags); f++) {
				struct vq_rig rig;

				if (sizes[i] == 256 && before % 85 != 0)
					continue;
				rig_open(&rig, PACKED, sizes[i]);
				rig_laps(&rig, before);
				check_flags(&rig, flags[f], before / sizes[i] % 2 == 0);
				rig_close(&rig);
			}
		}
	}
}

/* All that fits, taken in the order of the ring whatever the IDs are. */
static void order_body(struct vq_rig *rig)
{
	const uint32_t count = rig->q.size < 100 ? rig->q.size : 100;
	int ids[100];

	for (uint32_t lap = 0; lap < 5; lap++) {
		struct vmemdev_held held[100];

		for (uint32_t i = 0; i < count; i++)
			ids[i] = rig_send(rig, true, 0);
		for (uint32_t i = 0; i < count; i++) {
			held[i] = rig_take(rig);
			assert_int_equal(held[i].id, ids[i]);
		}
		rig_empty(rig);
		/* give back in an order that shuffles the driver's free list */
		for (uint32_t i = 0; i < count; i++) {
			const bool keep = (rig->features & ORDER) != 0 || lap % 2 == 0;

			rig_give(rig, &held[keep ? i : count - 1 - i], 16);
		}
		for (uint32_t i = 0; i < count; i++) {
			struct guest_used used;

			assert_int_equal(guest_queue_poll(&rig->q, &used), 1);
		}
	}
}

/* shows: VQ-PACK-07 VQ-SPLIT-16 VQ-PACK-11 */
static void VQ_PACK_07_taken_in_ring_order(void **state)
{
	(void)state;
	rig_each(0, EVENT | ORDER, 32768, order_body);
}

/* shows: VQ-SPLIT-02 VQ-PACK-02 */
static void VQ_SPLIT_02_many_laps(void **state)
{
	static const uint32_t split[] = { 1, 2, 256, 32768 }, packed[] = { 1, 3, 7, 32768 };

	(void)state;
	for (uint32_t i = 0; i < COUNT(split); i++) {
		struct vq_rig rig;

		rig_open(&rig, EVENT, split[i]);
		rig_laps(&rig, 70000);
		rig_close(&rig);
		rig_open(&rig, PACKED | EVENT, packed[i]);
		rig_laps(&rig, 70000);
		rig_close(&rig);
	}
}

/* A full ring at once, several times around. */
static void full_body(struct vq_rig *rig)
{
	const uint32_t size = rig->q.size;

	for (uint32_t lap = 0; lap < 5; lap++) {
		for (uint32_t i = 0; i < size; i++)
			rig_send(rig, true, 0);
		assert_int_equal(guest_queue_free(&rig->q), 0);
		for (uint32_t i = 0; i < size; i++) {
			const struct vmemdev_held held = rig_take(rig);

			assert_int_equal(vmemdev_vq_push(&rig->vq, &held, 16), 0);
		}
		rig_empty(rig);
		rig_none_used(rig);
		assert_int_equal(vmemdev_vq_publish(&rig->vq), size);
		for (uint32_t i = 0; i < size; i++) {
			struct guest_used used;

			assert_int_equal(guest_queue_poll(&rig->q, &used), 1);
		}
		rig_none_used(rig);
	}
}

/* shows: VQ-SPLIT-02 VQ-PACK-02 */
static void VQ_PACK_02_full_ring_many_laps(void **state)
{
	(void)state;
	rig_each(0, EVENT | ORDER, 32768, full_body);
}

static void misuse_body(struct vq_rig *rig)
{
	struct vmemdev_chain chain, other;
	struct vmemdev_held held, twice;

	if (rig->q.size < 2)
		return;
	rig_send(rig, true, 0);
	rig_send(rig, true, 0);
	assert_int_equal(vmemdev_vq_pop(&rig->vq, &chain), 1);
	assert_int_equal(vmemdev_vq_pop(&rig->vq, &other), VMEMDEV_E_STATE);
	assert_int_equal(vmemdev_chain_finish(&chain, &held), 0);
	twice = held;
	assert_int_equal(vmemdev_chain_finish(&chain, &twice), VMEMDEV_E_STATE);
	assert_memory_equal(&held, &twice, sizeof(held));
	rig_give(rig, &held, 16);
	assert_int_equal(vmemdev_vq_push(&rig->vq, &held, 16), VMEMDEV_E_STATE);
	assert_int_equal(vmemdev_vq_publish(&rig->vq), 0);
	assert_int_equal(vmemdev_vq_pop(&rig->vq, &chain), 1);
	assert_int_equal(vmemdev_chain_finish(&chain, &held), 0);
	rig_give(rig, &held, 16);
}

static void host_misuse_is_named_and_changes_nothing(void **state)
{
	(void)state;
	rig_each(0, EVENT | ORDER, 256, misuse_body);
}

static void disabled_queue_does_nothing(void **state)
{
	const struct vmemdev_held held = { .slots = 1 };
	struct vmemdev_vq_state saved;
	struct vq_rig rig;

	(void)state;
	rig_open(&rig, 0, 2);
	rig_send(&rig, true, 0);
	vmemdev_vq_reset(&rig.vq);
	rig_empty(&rig);
	assert_int_equal(vmemdev_vq_push(&rig.vq, &held, 0), VMEMDEV_E_STATE);
	assert_int_equal(vmemdev_vq_publish(&rig.vq), 0);
	assert_false(vmemdev_vq_should_notify(&rig.vq));
	assert_int_equal(vmemdev_vq_save(&rig.vq, &saved), VMEMDEV_E_STATE);
	rig_close(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(VQ_PACK_04_zeroed_ring_is_empty),
		RIG_TEST(VQ_SPLIT_11_nothing_beyond_the_index),
		RIG_TEST(VQ_PACK_03_flags_that_mean_available),
		RIG_TEST(VQ_PACK_07_taken_in_ring_order),
		RIG_TEST(VQ_SPLIT_02_many_laps),
		RIG_TEST(VQ_PACK_02_full_ring_many_laps),
		RIG_TEST(host_misuse_is_named_and_changes_nothing),
		RIG_TEST(disabled_queue_does_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
