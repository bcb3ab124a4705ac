/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The edges of a queue: memory that goes away while a chain is in hand, rings of which every
 * entry is in flight, users who mix up their calls.
 */
#include "vq_rig.h"

/* Show the device all memory but the ring's. */
static void take_ring_away(struct vq_rig *rig)
{
	assert_int_equal(vmemdev_guest_set_regions(&rig->mem.guest, &rig->mem.regions[NEXT],
						   RIG_REGIONS - 1), 0);
}

/* A chain whose ring is gone has no next descriptor, and stays without one. */
static void under_chain_body(struct vq_rig *rig)
{
	const struct vmemdev_buf bufs[] = { rig_buf(rig, 4, false), rig_buf(rig, 4, true) };
	struct vmemdev_chain chain;
	struct vmemdev_held held;
	struct vmemdev_buf buf;

	if (rig->q.size < 2)
		return;
	rig_send_bufs(rig, bufs, 2, NULL);
	assert_int_equal(vmemdev_vq_pop(&rig->vq, &chain), 1);
	assert_int_equal(vmemdev_chain_next(&chain, &buf), 1);
	take_ring_away(rig);
	guest_memory_forget(&rig->mem);
	assert_int_equal(vmemdev_chain_next(&chain, &buf), VMEMDEV_E_GUEST_CHAIN);
	assert_int_equal(guest_memory_show(&rig->mem, RIG_REGIONS), 0);
	assert_int_equal(vmemdev_chain_next(&chain, &buf), VMEMDEV_E_GUEST_CHAIN);
	assert_int_equal(vmemdev_chain_finish(&chain, &held), VMEMDEV_E_GUEST_CHAIN);
	assert_int_equal(vmemdev_vq_pop(&rig->vq, &chain), VMEMDEV_E_GUEST_CHAIN);
	assert_int_equal(rig->mem.write_count, 0);
}

/* shows: HOST-REG-14 */
static void HOST_REG_14_a_ring_goes_away_under_a_chain(void **state)
{
	(void)state;
	rig_each(0, EVENT | ORDER, 7, under_chain_body);
}

/* A chain that was finished tells of a queue that broke since. */
static void after_chain_body(struct vq_rig *rig)
{
	struct vmemdev_chain chain, next;
	struct vmemdev_held held;

	rig_send(rig, true, 0);
	assert_int_equal(vmemdev_vq_pop(&rig->vq, &chain), 1);
	assert_int_equal(vmemdev_chain_finish(&chain, &held), 0);
	assert_int_equal(vmemdev_chain_finish(&chain, &held), VMEMDEV_E_STATE);
	take_ring_away(rig);
	assert_int_equal(vmemdev_vq_pop(&rig->vq, &next), VMEMDEV_E_GUEST_RING);
	assert_int_equal(vmemdev_chain_finish(&chain, &held), VMEMDEV_E_GUEST_RING);
	assert_int_equal(vmemdev_vq_push(&rig->vq, &held, 0), VMEMDEV_E_GUEST_RING);
}

/* shows: HOST-REG-14 */
static void HOST_REG_14_a_finished_chain_of_a_broken_queue(void **state)
{
	(void)state;
	rig_each(0, EVENT | ORDER, 7, after_chain_body);
}

/* Refuses everything from a certain call on. */
struct countdown {
	struct guest_memory *mem;
	uint32_t left;
};

static void count_down(void *ctx, uint64_t gpa, uint64_t len, enum vmemdev_access access)
{
	struct countdown *down = ctx;

	(void)gpa;
	(void)len;
	(void)access;
	if (down->left > 0)
		down->left--;
	if (down->left == 0)
		down->mem->refuse = (struct vmemdev_range){ 0, UINT64_MAX };
}

/* Take one chain with a table over the border of two regions. Returns what failed, or 0. */
static int serve(struct vq_rig *rig)
{
	struct vmemdev_chain chain;
	struct vmemdev_held held;
	uint8_t byte;
	int got = vmemdev_vq_pop(&rig->vq, &chain);

	if (got < 0)
		return got;
	assert_int_equal(got, 1);
	got = vmemdev_chain_read(&chain, &byte, 1);
	if (got < 0)
		return got;
	assert_int_equal(got, 1);
	return vmemdev_chain_finish(&chain, &held);
}

/* A host that takes memory away in the middle of a call: the guest has made a mistake, then. */
static void refusing_host(uint64_t format)
{
	const uint64_t table = rig_regions[NEXT].gpa - 16;
	uint32_t chains = 0, addresses = 0, good = 0;

	for (uint32_t calls = 1; calls < 40; calls++) {
		struct vq_rig rig;
		struct countdown down;
		struct vmemdev_buf bufs[2];
		struct guest_add how = { .indirect = true, .table = table };
		int err;

		rig_open_mode(&rig, GUEST_CALLBACKS, format | INDIRECT, 4);
		rig_say("%s, refused from call %u on", format ? "packed" : "split", calls);
		bufs[0] = rig_buf(&rig, 4, false);
		bufs[1] = rig_buf(&rig, 4, false);
		rig_send_bufs(&rig, bufs, 2, &how);
		down = (struct countdown){ &rig.mem, calls };
		rig.mem.on_map = count_down;
		rig.mem.on_map_ctx = &down;
		err = serve(&rig);
		chains += err == VMEMDEV_E_GUEST_CHAIN;
		addresses += err == VMEMDEV_E_GUEST_ADDR;
		good += err == 0;
		assert_true(err == 0 || err == VMEMDEV_E_GUEST_CHAIN ||
			    err == VMEMDEV_E_GUEST_ADDR);
		rig_close(&rig);
	}
	assert_true(chains > 1 && addresses > 0 && good > 0);
}

/* shows: HOST-VQ-10 HOST-VQ-11 */
static void HOST_VQ_10_a_host_that_takes_memory_away_at_any_call(void **state)
{
	(void)state;
	refusing_host(0);
	refusing_host(PACKED);
}

/* A host that maps guest memory where no ring can be used: so many bytes further. */
static uint32_t skew;

static void *skewed_map(void *ctx, uint64_t gpa, uint64_t len, enum vmemdev_access access)
{
	(void)len;
	(void)access;
	return (uint8_t *)guest_at(ctx, gpa, 1) + skew;
}

/* shows: HOST-REG-14 */
static void HOST_REG_14_a_host_that_maps_askew(void **state)
{
	struct vq_rig rig;
	struct vmemdev_guest guest;
	struct vmemdev_guest_ops ops;
	struct vmemdev_guest_config config = { .struct_size = sizeof(config), .ops = &ops };
	struct vmemdev_vq_layout at;

	(void)state;
	rig_open_mode(&rig, GUEST_CALLBACKS, 0, 4);
	ops = rig.mem.ops;
	ops.map = skewed_map;
	config.ctx = &rig.mem;
	assert_int_equal(vmemdev_guest_init(&guest, sizeof(guest), &config), 0);
	assert_int_equal(vmemdev_vq_init(&rig.vq, sizeof(rig.vq), &guest, 4), 0);
	at = rig.q.layout;
	skew = 1;
	assert_int_equal(vmemdev_vq_enable(&rig.vq, &at, 0), VMEMDEV_E_GUEST_RING);
	/* It is the guest's address that counts, too. */
	skew = 8;
	at.desc += 8;
	assert_int_equal(vmemdev_vq_enable(&rig.vq, &at, 0), VMEMDEV_E_GUEST_RING);
	rig_close(&rig);
}

/* All of the ring is in flight, beyond its end, when the device asks for a kick. */
static void ask_body(struct vq_rig *rig)
{
	struct vmemdev_held held[7];
	const uint32_t size = rig->q.size;
	int ids[7];

	for (uint32_t lap = 0; lap < 5; lap++) {
		for (uint32_t i = 0; i < size; i++)
			ids[i] = rig_send(rig, true, 0);
		for (uint32_t i = 0; i < size; i++)
			held[i] = rig_take(rig);
		(void)guest_queue_want_kick(&rig->q);
		rig_empty(rig);
		rig_give(rig, &held[0], 16);
		rig_used(rig, ids[0], 16);
		ids[0] = rig_send(rig, true, 0);
		assert_true(guest_queue_want_kick(&rig->q));
		for (uint32_t i = 1; i < size; i++) {
			rig_give(rig, &held[i], 16);
			rig_used(rig, ids[i], 16);
		}
		held[0] = rig_take(rig);
		rig_give(rig, &held[0], 16);
		rig_used(rig, ids[0], 16);
	}
}

/* shows: VQ-SPLIT-27 VQ-PACK-24 */
static void VQ_SPLIT_27_a_kick_asked_for_while_all_is_in_flight(void **state)
{
	(void)state;
	rig_each(EVENT, ORDER, 7, ask_body);
}

/* A packed ring that is in flight as a whole, and whose next slot looks available. */
static void full_body(struct vq_rig *rig)
{
	struct vmemdev_chain chain;

	if (!rig->packed)
		return;
	for (uint32_t i = 0; i < rig->q.size; i++)
		rig_send(rig, true, 0);
	for (uint32_t i = 0; i < rig->q.size; i++)
		(void)rig_take(rig);
	guest_queue_set(&rig->q, GUEST_DESC_FLAGS, rig->q.avail, guest_queue_avail_flags(&rig->q));
	assert_int_equal(vmemdev_vq_pop(&rig->vq, &chain), VMEMDEV_E_GUEST_RING);
}

/* shows: HOST-VQ-15 */
static void HOST_VQ_15_nothing_is_taken_of_a_ring_in_flight(void **state)
{
	(void)state;
	rig_each(0, EVENT | ORDER, 7, full_body);
}

/* What no chain was taken for is not given back; nor twice; nor is a chain taken in a chain. */
static void misuse_body(struct vq_rig *rig)
{
	const struct vmemdev_held none = { 0 };
	struct vmemdev_chain chain, other;
	struct vmemdev_held held;
	int id;

	assert_int_equal(vmemdev_vq_push(&rig->vq, &none, 0), VMEMDEV_E_STATE);
	id = rig_send(rig, true, 0);
	assert_int_equal(vmemdev_vq_pop(&rig->vq, &chain), 1);
	assert_int_equal(vmemdev_vq_push(&rig->vq, &none, 0), VMEMDEV_E_STATE);
	assert_int_equal(vmemdev_vq_pop(&rig->vq, &other), VMEMDEV_E_STATE);
	assert_int_equal(vmemdev_chain_finish(&chain, &held), 0);
	assert_int_equal(vmemdev_vq_push(&rig->vq, &none, 0), VMEMDEV_E_STATE);
	assert_int_equal(vmemdev_vq_push(&rig->vq, &held, 1), 0);
	assert_int_equal(vmemdev_vq_push(&rig->vq, &held, 1), VMEMDEV_E_STATE);
	assert_int_equal(vmemdev_vq_publish(&rig->vq), 1);
	assert_int_equal(vmemdev_vq_push(&rig->vq, &held, 1), VMEMDEV_E_STATE);
	rig_used(rig, id, 1);
	rig_none_used(rig);
	rig_laps(rig, 3);
}

/* shows: VQ-SPLIT-14 VQ-PACK-05 */
static void VQ_SPLIT_14_what_is_out_is_given_back_once(void **state)
{
	(void)state;
	rig_each(0, EVENT | INDIRECT | ORDER, 7, misuse_body);
}

/* shows: VQ-SPLIT-14 */
static void VQ_SPLIT_14_an_answer_of_impossible_pieces(void **state)
{
	struct vmemdev_reply reply = { 0 };
	struct vq_rig rig;
	uint64_t before;

	(void)state;
	rig_open(&rig, 0, 4);
	before = rig.mem.write_count;
	reply.len = VMEMDEV_REPLY_MAX;
	reply.segs = VMEMDEV_REPLY_MAX + 1;
	assert_int_equal(vmemdev_reply_write(&rig.mem.guest, &reply, "x", 1), VMEMDEV_E_INVAL);
	reply.len = 0;
	reply.segs = 0;
	assert_int_equal(vmemdev_reply_write(&rig.mem.guest, &reply, "x", 1), VMEMDEV_E_INVAL);
	assert_int_equal(rig.mem.write_count, before);
	rig_close(&rig);
}

/* Every part of a ring of each format, off by the least that is too much. */
static void aligned_body(struct vq_rig *rig)
{
	const uint64_t split[3] = { 8, 1, 2 }, packed[3] = { 8, 2, 2 };
	const uint64_t *off = rig->packed ? packed : split;
	struct vmemdev_vq_layout at;

	for (int part = 0; part < 3; part++) {
		vmemdev_vq_reset(&rig->vq);
		at = rig->q.layout;
		at.desc += part == 0 ? off[0] : 0;
		at.driver += part == 1 ? off[1] : 0;
		at.device += part == 2 ? off[2] : 0;
		assert_int_equal(vmemdev_vq_enable(&rig->vq, &at, rig->features),
				 VMEMDEV_E_GUEST_RING);
	}
	/* Memory that a packed ring's used entries, or any ring's events, cannot be put into. */
	at = rig->q.layout;
	at.device = rig_regions[ROM].gpa;
	assert_int_equal(vmemdev_vq_enable(&rig->vq, &at, rig->features), VMEMDEV_E_GUEST_RING);
	at = rig->q.layout;
	at.desc = rig_regions[ROM].gpa;
	assert_int_equal(vmemdev_vq_enable(&rig->vq, &at, rig->features),
			 rig->packed ? VMEMDEV_E_GUEST_RING : 0);
}

/* shows: HOST-REG-14 */
static void HOST_REG_14_each_part_has_to_be_aligned_and_writable(void **state)
{
	(void)state;
	rig_each(0, EVENT, 7, aligned_body);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(HOST_REG_14_a_ring_goes_away_under_a_chain),
		RIG_TEST(HOST_REG_14_a_finished_chain_of_a_broken_queue),
		RIG_TEST(HOST_VQ_10_a_host_that_takes_memory_away_at_any_call),
		RIG_TEST(HOST_REG_14_a_host_that_maps_askew),
		RIG_TEST(HOST_REG_14_each_part_has_to_be_aligned_and_writable),
		RIG_TEST(VQ_SPLIT_27_a_kick_asked_for_while_all_is_in_flight),
		RIG_TEST(HOST_VQ_15_nothing_is_taken_of_a_ring_in_flight),
		RIG_TEST(VQ_SPLIT_14_what_is_out_is_given_back_once),
		RIG_TEST(VQ_SPLIT_14_an_answer_of_impossible_pieces),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
