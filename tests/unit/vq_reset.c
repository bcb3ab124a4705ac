/* SPDX-License-Identifier: BSD-3-Clause */
/* Queue reset and re-enable, from every state that a queue can be in. */
#include "vq_rig.h"

enum mess { IDLE, TRAFFIC, OPEN, HELD, STAGED, UNASKED, BROKEN, MESSES };

static const char *const mess_names[MESSES] = {
	"idle", "after traffic", "chain open", "chains held", "staged", "not asked", "broken",
};

/* Bring the queue into such a state; @held is a chain that is out, if there is one. */
static void make_mess(struct vq_rig *rig, enum mess mess, struct vmemdev_held *held)
{
	struct vmemdev_chain chain;

	memset(held, 0, sizeof(*held));
	if (mess == IDLE)
		return;
	rig_laps(rig, 3 * rig->q.size % 1000 + 1);
	if (mess == TRAFFIC)
		return;
	rig_send(rig, true, 0);
	assert_int_equal(vmemdev_vq_pop(&rig->vq, &chain), 1);
	if (mess == OPEN)
		return;
	assert_int_equal(vmemdev_chain_finish(&chain, held), 0);
	if (mess == HELD)
		return;
	if (mess == BROKEN) {
		rig_send(rig, true, 0);
		assert_int_equal(vmemdev_vq_pop(&rig->vq, &chain), 1);
		assert_int_equal(guest_memory_show(&rig->mem, 0), VMEMDEV_E_INVAL);
		assert_int_equal(vmemdev_guest_set_regions(&rig->mem.guest,
							   &rig->mem.regions[ISLAND], 1), 0);
		assert_int_equal(vmemdev_vq_publish(&rig->vq), VMEMDEV_E_GUEST_RING);
		assert_int_equal(guest_memory_show(&rig->mem, RIG_REGIONS), 0);
		assert_int_equal(vmemdev_vq_pop(&rig->vq, &chain), VMEMDEV_E_GUEST_RING);
		return;
	}
	assert_int_equal(vmemdev_vq_push(&rig->vq, held, 16), 0);
	if (mess == UNASKED)
		assert_int_equal(vmemdev_vq_publish(&rig->vq), 1);
}

/* Sum over the rings, to see that nothing is written. */
static uint64_t ring_sum(struct vq_rig *rig)
{
	const uint8_t *bytes = guest_at(&rig->mem, rig_regions[MAIN].gpa, rig_regions[MAIN].len);
	uint64_t sum = 0;

	for (uint64_t i = 0; i < rig->mem.place_used; i++)
		sum = sum * 31 + bytes[i];
	return sum;
}

static void check_dead(struct vq_rig *rig, const struct vmemdev_held *held)
{
	uint64_t sum;

	if (guest_queue_free(&rig->q) > 0)
		rig_send(rig, true, 0);
	sum = ring_sum(rig);
	guest_memory_forget(&rig->mem);
	rig_empty(rig);
	if (held->slots > 0)
		assert_true(vmemdev_vq_push(&rig->vq, held, 16) < 0);
	assert_int_equal(vmemdev_vq_publish(&rig->vq), 0);
	assert_false(vmemdev_vq_should_notify(&rig->vq));
	assert_true(ring_sum(rig) == sum);
	assert_int_equal(rig->mem.write_count, 0);
}

/* Re-enable with other features, size and place; everything must start at 0. */
static void check_reborn(struct vq_rig *rig, uint64_t features, uint32_t size,
			 const struct vmemdev_held *old)
{
	const struct guest_queue_config config = { .features = features, .size = size };

	guest_queue_close(&rig->q);
	guest_queue_open(&rig->q, &rig->mem, &config);
	rig->features = features;
	rig->packed = (features & PACKED) != 0;
	assert_int_equal(vmemdev_vq_enable(&rig->vq, &rig->q.layout, features), 0);
	if (old->slots > 0)
		assert_int_equal(vmemdev_vq_push(&rig->vq, old, 16), VMEMDEV_E_STATE);
	assert_false(vmemdev_vq_should_notify(&rig->vq));
	rig_empty(rig);
	guest_queue_interrupts_on(&rig->q);
	rig_lap(rig);
	assert_true(vmemdev_vq_should_notify(&rig->vq));
	rig_laps(rig, 2 * size + 1);
}

static void one_reset(uint64_t before, uint64_t after, uint32_t size, enum mess mess)
{
	struct vmemdev_held held;
	struct vq_rig rig;

	rig_open(&rig, before, 8);
	rig_say("%s 0x%llx, then 0x%llx size %u", mess_names[mess], (unsigned long long)before,
		(unsigned long long)after, size);
	make_mess(&rig, mess, &held);
	vmemdev_vq_reset(&rig.vq);
	check_dead(&rig, &held);
	check_reborn(&rig, after, size, &held);
	rig_close(&rig);
}

/* shows: VQR-01 VQR-02 VQR-03 */
static void VQR_02_reset_from_each_state(void **state)
{
	static const uint64_t features[] = {
		0, EVENT, ORDER, EVENT | ORDER, PACKED, PACKED | EVENT, PACKED | ORDER,
		PACKED | EVENT | ORDER,
	};

	(void)state;
	for (enum mess mess = IDLE; mess < MESSES; mess++) {
		for (uint32_t b = 0; b < COUNT(features); b++) {
			for (uint32_t a = 0; a < COUNT(features); a++) {
				one_reset(features[b], features[a], 8, mess);
				one_reset(features[b], features[a], 4, mess);
				one_reset(features[b], features[a], 1024, mess);
			}
		}
	}
}

/* The same ring, zeroed, without a new set-up. */
static void again_body(struct vq_rig *rig)
{
	for (uint32_t round = 0; round < 5; round++) {
		rig_laps(rig, round * 3);
		vmemdev_vq_reset(&rig->vq);
		guest_queue_restart(&rig->q);
		assert_int_equal(vmemdev_vq_enable(&rig->vq, &rig->q.layout, rig->features), 0);
		rig_empty(rig);
		rig_lap(rig);
	}
}

/* shows: VQR-02 */
static void VQR_02_zeroed_ring_starts_at_0(void **state)
{
	(void)state;
	rig_each(0, EVENT | INDIRECT | ORDER, 32768, again_body);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(VQR_02_reset_from_each_state),
		RIG_TEST(VQR_02_zeroed_ring_starts_at_0),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
