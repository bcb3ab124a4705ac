/* SPDX-License-Identifier: BSD-3-Clause */
/* Which addresses devices may touch: regions, holes, ROM, blocks, callbacks, changes. */
#include "vq_rig.h"

#define HOLE UINT64_C(0x310000)      /* what follows the second region */
#define BORDER UINT64_C(0x300000)    /* between the first and the second */
#define ROM_GPA UINT64_C(0x410000)
#define ADDR VMEMDEV_E_GUEST_ADDR

static const uint64_t formats[] = { 0, PACKED };

struct access_row {
	const char *what;
	uint64_t gpa;
	uint32_t len;
	bool read, write; /* what is possible */
};

static const struct access_row rows[] = {
	{ "in a region", 0x400100, 64, true, true },
	{ "first byte of a region", 0x400000, 1, true, true },
	{ "last byte of a region", HOLE - 1, 1, true, true },
	{ "whole region", 0x300000, 0x10000, true, true },
	{ "over the border of neighbours", BORDER - 8, 16, true, true },
	{ "over a hole's edge", HOLE - 8, 16, false, false },
	{ "one byte over a hole's edge", HOLE - 8, 9, false, false },
	{ "in a hole", HOLE, 1, false, false },
	{ "from a hole into a region", 0x400000 - 8, 16, false, false },
	{ "at address 0", 0, 8, false, false },
	{ "ROM", ROM_GPA, 64, true, false },
	{ "from RAM into ROM", ROM_GPA - 8, 16, true, false },
	{ "not to be discarded", 0x500000, 64, true, true },
	{ "above 4 GiB", UINT64_C(0x100000000), 64, true, true },
	{ "the low half of that address", UINT64_C(0x8000000000) >> 32, 8, false, false },
	{ "last byte of all", UINT64_MAX, 1, true, true },
	{ "up to 2^64", UINT64_MAX - 15, 16, true, true },
	{ "wraps past 2^64", UINT64_MAX - 7, 16, false, false },
	{ "wraps into a region", UINT64_MAX - 7, 0x100000 + 64, false, false },
	{ "2 GiB long", HOLE - 8, INT32_MAX, false, false },
};

static uint8_t bytes[0x20000];

/* What cannot be had is refused; the queue and the chain go on all the same. */
static void check_access(enum guest_mode mode, uint64_t format, const struct access_row *row)
{
	const struct vmemdev_buf bufs[] = { { row->gpa, row->len, 0 }, { row->gpa, row->len, 1 } };
	const uint32_t len = row->len < sizeof(bytes) ? row->len : sizeof(bytes);
	struct vmemdev_reply reply;
	struct vmemdev_chain chain;
	struct vq_rig rig;

	rig_open_mode(&rig, mode, format, 8);
	rig_say("%s, %s, %s", row->what, format != 0 ? "packed" : "split",
		mode == GUEST_TABLE ? "table" : "callbacks");
	for (uint32_t part = 0; part < 3; part++) {
		struct vmemdev_held held;
		int32_t got, good = (int32_t)len;
		int id;

		id = rig_send_bufs(&rig, bufs, 2, NULL);
		assert_int_equal(vmemdev_vq_pop(&rig.vq, &chain), 1);
		if (part == 0) {
			got = vmemdev_chain_read(&chain, bytes, len);
		} else if (part == 1) {
			got = vmemdev_chain_write(&chain, bytes, len);
		} else {
			good = len < 16 ? (int32_t)len : 16;
			got = vmemdev_chain_reserve(&chain, &reply, 16);
		}
		assert_int_equal(got, (part == 0 ? row->read : row->write) ? good : ADDR);
		assert_int_equal(vmemdev_chain_finish(&chain, &held), 0);
		rig_give(&rig, &held, 0);
		rig_used(&rig, id, 0);
	}
	rig_close(&rig);
}

/* shows: HOST-VQ-11 FEAT-11 */
static void HOST_VQ_11_addresses(void **state)
{
	(void)state;
	for (uint32_t f = 0; f < COUNT(formats); f++) {
		for (uint32_t i = 0; i < COUNT(rows); i++) {
			check_access(GUEST_TABLE, formats[f], &rows[i]);
			check_access(GUEST_CALLBACKS, formats[f], &rows[i]);
		}
	}
}

/* A buffer of two halves in the host, one in the guest: bytes land in their places. */
/* shows: HOST-VQ-11 */
static void HOST_VQ_11_neighbours_are_one(void **state)
{
	const struct vmemdev_buf bufs[] = { { BORDER - 100, 200, 0 }, { BORDER - 300, 600, 1 } };
	const enum guest_mode modes[] = { GUEST_TABLE, GUEST_CALLBACKS };

	(void)state;
	for (uint32_t m = 0; m < COUNT(modes); m++) {
		struct vmemdev_chain chain;
		struct vmemdev_held held;
		uint8_t in[200], out[600], seen[600];
		struct vq_rig rig;

		rig_open_mode(&rig, modes[m], 0, 8);
		for (uint32_t i = 0; i < 200; i++)
			guest_fill(&rig.mem, BORDER - 100 + i, (uint8_t)(i * 3), 1);
		for (uint32_t i = 0; i < 600; i++)
			out[i] = (uint8_t)(i * 7);
		rig_send_bufs(&rig, bufs, 2, NULL);
		assert_int_equal(vmemdev_vq_pop(&rig.vq, &chain), 1);
		assert_int_equal(vmemdev_chain_read(&chain, in, 200), 200);
		for (uint32_t i = 0; i < 200; i++)
			assert_int_equal(in[i], (uint8_t)(i * 3));
		assert_int_equal(vmemdev_chain_write(&chain, out, 600), 600);
		assert_true(guest_read(&rig.mem, BORDER - 300, seen, 600));
		assert_memory_equal(seen, out, 600);
		assert_true(guest_memory_wrote(&rig.mem, BORDER - 300, 1));
		assert_true(guest_memory_wrote(&rig.mem, BORDER + 299, 1));
		assert_false(guest_memory_wrote(&rig.mem, BORDER + 300, 1));
		assert_int_equal(vmemdev_chain_finish(&chain, &held), 0);
		rig_close(&rig);
	}
}

/* An indirect table that lies over the border works like any other. */
/* shows: VQ-SPLIT-10 VQ-PACK-18 */
static void VQ_SPLIT_10_table_over_the_border(void **state)
{
	const struct vmemdev_buf bufs[] = { { 0x400000, 8, 0 }, { 0x400100, 8, 0 },
					    { 0x400200, 8, 1 }, { 0x400300, 8, 1 } };
	const struct guest_add how = { .indirect = true, .table = BORDER - 32 };

	(void)state;
	for (uint32_t f = 0; f < COUNT(formats); f++) {
		struct vmemdev_chain chain;
		struct vmemdev_buf buf;
		struct vq_rig rig;

		rig_open(&rig, formats[f] | INDIRECT, 8);
		rig_send_bufs(&rig, bufs, 4, &how);
		assert_int_equal(vmemdev_vq_pop(&rig.vq, &chain), 1);
		for (uint32_t i = 0; i < 4; i++) {
			assert_int_equal(vmemdev_chain_next(&chain, &buf), 1);
			assert_memory_equal(&buf, &bufs[i], sizeof(buf));
		}
		assert_int_equal(vmemdev_chain_next(&chain, &buf), 0);
		rig_close(&rig);
	}
}

/* Memory at both ends of the address space: the last byte and the first are no pair. */
/* shows: HOST-VQ-11 */
static void HOST_VQ_11_no_way_around_the_top(void **state)
{
	const struct guest_region ends[] = {
		{ 0, 0x10000, 0 }, { UINT64_C(0xffffffffffff0000), 0x10000, 0 },
	};
	const struct vmemdev_buf bufs[] = { { UINT64_MAX - 7, 16, 0 }, { UINT64_MAX - 7, 16, 1 } };
	const enum guest_mode modes[] = { GUEST_TABLE, GUEST_CALLBACKS };

	(void)state;
	for (uint32_t m = 0; m < COUNT(modes); m++) {
		const struct guest_queue_config config = { .size = 8, .at = { .desc = 0x1000 } };
		struct vmemdev_chain chain;
		struct vmemdev_held held;
		struct vq_rig rig;

		rig.packed = false;
		guest_memory_open(&rig.mem, modes[m], ends, 2);
		guest_place(&rig.mem, 0x100, 16);
		guest_queue_open(&rig.q, &rig.mem, &config);
		assert_int_equal(vmemdev_vq_init(&rig.vq, sizeof(rig.vq), &rig.mem.guest, 8), 0);
		assert_int_equal(vmemdev_vq_enable(&rig.vq, &rig.q.layout, 0), 0);
		rig_send_bufs(&rig, bufs, 2, NULL);
		assert_int_equal(vmemdev_vq_pop(&rig.vq, &chain), 1);
		assert_int_equal(vmemdev_chain_read(&chain, bytes, 8), 8);
		assert_int_equal(vmemdev_chain_finish(&chain, &held), 0);
		rig_send_bufs(&rig, bufs, 2, NULL);
		assert_int_equal(vmemdev_vq_pop(&rig.vq, &chain), 1);
		assert_int_equal(vmemdev_chain_read(&chain, bytes, 16), ADDR);
		assert_int_equal(vmemdev_chain_write(&chain, bytes, 16), ADDR);
		assert_int_equal(vmemdev_chain_finish(&chain, &held), 0);
		rig_close(&rig);
	}
}

/* shows: FEAT-11 */
static void FEAT_11_table_needs_no_callback(void **state)
{
	struct vq_rig rig;

	(void)state;
	rig_open(&rig, EVENT, 8);
	rig.mem.ops.map = NULL;
	rig_laps(&rig, 100);
	assert_int_equal(rig.mem.map_calls, 0);
	assert_int_equal(rig.mem.run_calls, 0);
	rig_close(&rig);
}

/* Whether a read of one byte at @gpa works. */
static bool readable(struct vq_rig *rig, uint64_t gpa)
{
	const struct vmemdev_buf buf = { gpa, 1, 0 };
	struct vmemdev_chain chain;
	struct vmemdev_held held;
	uint8_t byte;
	int32_t got;

	rig_send_bufs(rig, &buf, 1, NULL);
	assert_int_equal(vmemdev_vq_pop(&rig->vq, &chain), 1);
	got = vmemdev_chain_read(&chain, &byte, 1);
	assert_true(got == 1 || got == ADDR);
	assert_int_equal(vmemdev_chain_finish(&chain, &held), 0);
	rig_give(rig, &held, 0);
	rig_used(rig, held.id, 0);
	return got == 1;
}

/* A block whose bit is clear is no memory, whatever its neighbours are. */
/* shows: HOST-VQ-11 HOST-MEM-07 */
static void HOST_VQ_11_blocks(void **state)
{
	uint64_t bits[1] = { UINT64_C(0x8005) };
	const struct vmemdev_buf wide = { 0x400000, 0x2000, 0 };
	struct vmemdev_region regions[2];
	struct vmemdev_chain chain;
	struct vq_rig rig;

	(void)state;
	rig_open(&rig, 0, 8);
	regions[0] = rig.mem.regions[MAIN];
	regions[1] = rig.mem.regions[ISLAND];
	regions[1].blocks = bits;
	regions[1].block_shift = 12;
	assert_int_equal(vmemdev_guest_set_regions(&rig.mem.guest, regions, 2), 0);
	assert_true(readable(&rig, 0x400000));
	assert_true(readable(&rig, 0x400fff));
	assert_false(readable(&rig, 0x401000));
	assert_true(readable(&rig, 0x402fff));
	assert_false(readable(&rig, 0x403000));
	rig_send_bufs(&rig, &wide, 1, NULL);
	assert_int_equal(vmemdev_vq_pop(&rig.vq, &chain), 1);
	assert_int_equal(vmemdev_chain_read(&chain, bytes, 0x2000), ADDR);
	bits[0] |= 2;
	vmemdev_guest_changed(&rig.mem.guest);
	assert_int_equal(vmemdev_chain_read(&chain, bytes, 0x2000), 0x2000);
	rig_close(&rig);
}

/* Bits of the second word of a map, on a region that has more than 64 blocks. */
/* shows: HOST-VQ-11 HOST-MEM-07 */
static void HOST_VQ_11_blocks_beyond_one_word(void **state)
{
	uint64_t bits[8] = { 0, 0, 0, 0, 0, 0, 0, 0 };
	struct vmemdev_region regions[2];
	struct guest_queue_config config = { .size = 8 };
	struct vq_rig rig;

	(void)state;
	rig_open(&rig, 0, 8);
	guest_queue_close(&rig.q);
	guest_place_in(&rig.mem, ISLAND);
	guest_queue_open(&rig.q, &rig.mem, &config);
	vmemdev_vq_reset(&rig.vq);
	regions[0] = rig.mem.regions[MAIN];
	regions[0].blocks = bits;
	regions[0].block_shift = 12;
	regions[1] = rig.mem.regions[ISLAND];
	for (uint32_t block = 0; block < 512; block++) {
		if (block % 3 == 0 || block % 64 == 63)
			bits[block / 64] |= UINT64_C(1) << block % 64;
	}
	assert_int_equal(vmemdev_guest_set_regions(&rig.mem.guest, regions, 2), 0);
	assert_int_equal(vmemdev_vq_enable(&rig.vq, &rig.q.layout, 0), 0);
	for (uint32_t block = 0; block < 512; block++)
		assert_int_equal(readable(&rig, 0x100000 + 4096 * (uint64_t)block + block),
				 block % 3 == 0 || block % 64 == 63);
	rig_close(&rig);
}

static void gone_body(struct vq_rig *rig)
{
	struct vmemdev_chain chain;

	rig_laps(rig, 3);
	rig_send(rig, true, 0);
	/* A guest that unplugs blocks for a day brings what counts its changes this far. */
	rig->mem.guest.generation_ += UINT32_MAX;
	/* all regions but the one with the ring */
	assert_int_equal(vmemdev_guest_set_regions(&rig->mem.guest, &rig->mem.regions[NEXT],
						   RIG_REGIONS - 1), 0);
	guest_memory_forget(&rig->mem);
	assert_int_equal(vmemdev_vq_pop(&rig->vq, &chain), VMEMDEV_E_GUEST_RING);
	/* the fault is latched: it stays when the memory is back */
	assert_int_equal(guest_memory_show(&rig->mem, RIG_REGIONS), 0);
	assert_int_equal(vmemdev_vq_pop(&rig->vq, &chain), VMEMDEV_E_GUEST_RING);
	assert_int_equal(vmemdev_vq_publish(&rig->vq), VMEMDEV_E_GUEST_RING);
	assert_int_equal(rig->mem.write_count, 0);
	vmemdev_vq_reset(&rig->vq);
	guest_queue_restart(&rig->q);
	assert_int_equal(vmemdev_vq_enable(&rig->vq, &rig->q.layout, rig->features), 0);
	rig_laps(rig, 3);
}

/* shows: HOST-REG-14 */
static void HOST_REG_14_ring_memory_removed(void **state)
{
	(void)state;
	rig_each(0, EVENT | ORDER, 256, gone_body);
}

/* The host moves guest memory elsewhere: all is found again, a chain in hand included. */
static void moved_body(struct vq_rig *rig)
{
	static _Alignas(4096) uint8_t other[0x200000];
	struct vmemdev_region regions[2] = { rig->mem.regions[MAIN], rig->mem.regions[ISLAND] };
	uint8_t *const old = regions[0].host;
	const struct vmemdev_buf bufs[] = { rig_buf(rig, 4, false), rig_buf(rig, 4, true) };
	struct vmemdev_chain chain;
	struct vmemdev_held held;
	uint8_t in[4];
	int id;

	if (rig->q.size < 2)
		return;
	rig_laps(rig, 5);
	guest_write(&rig->mem, bufs[0].gpa, "abcd", 4);
	id = rig_send_bufs(rig, bufs, 2, NULL);
	assert_int_equal(vmemdev_vq_pop(&rig->vq, &chain), 1);
	assert_int_equal(vmemdev_chain_read(&chain, in, 2), 2);
	memcpy(other, old, sizeof(other));
	memset(old, 0xdd, sizeof(other));
	regions[0].host = other;
	assert_int_equal(vmemdev_guest_set_regions(&rig->mem.guest, regions, 2), 0);
	assert_int_equal(vmemdev_chain_read(&chain, in + 2, 2), 2);
	assert_memory_equal(in, "abcd", 4);
	assert_int_equal(vmemdev_chain_write(&chain, "wxyz", 4), 4);
	assert_int_equal(vmemdev_chain_finish(&chain, &held), 0);
	rig_give(rig, &held, 4);
	for (size_t i = 0; i < sizeof(other); i++)
		assert_int_equal(old[i], 0xdd);
	memcpy(old, other, sizeof(other));
	assert_int_equal(guest_memory_show(&rig->mem, RIG_REGIONS), 0);
	rig_used(rig, id, 4);
	assert_true(guest_read(&rig->mem, bufs[1].gpa, in, 4));
	assert_memory_equal(in, "wxyz", 4);
	rig_laps(rig, 5);
}

/* shows: HOST-REG-14 */
static void HOST_REG_14_guest_memory_moves_in_the_host(void **state)
{
	(void)state;
	rig_each(0, EVENT | ORDER, 7, moved_body);
}

/* Callback mode: a ring that the host cannot map any more. */
/* shows: HOST-REG-14 */
static void HOST_REG_14_map_refuses_the_ring(void **state)
{
	(void)state;
	for (uint32_t f = 0; f < COUNT(formats); f++) {
		struct vmemdev_chain chain;
		struct vq_rig rig;

		rig_open_mode(&rig, GUEST_CALLBACKS, formats[f], 8);
		rig_laps(&rig, 3);
		rig.mem.refuse = (struct vmemdev_range){ rig.q.layout.driver, 1 };
		/* addresses stay good until the host says otherwise */
		rig_laps(&rig, 3);
		vmemdev_guest_changed(&rig.mem.guest);
		assert_int_equal(vmemdev_vq_pop(&rig.vq, &chain), VMEMDEV_E_GUEST_RING);
		rig_close(&rig);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(HOST_VQ_11_addresses),
		RIG_TEST(HOST_VQ_11_neighbours_are_one),
		RIG_TEST(VQ_SPLIT_10_table_over_the_border),
		RIG_TEST(HOST_VQ_11_no_way_around_the_top),
		RIG_TEST(FEAT_11_table_needs_no_callback),
		RIG_TEST(HOST_VQ_11_blocks),
		RIG_TEST(HOST_VQ_11_blocks_beyond_one_word),
		RIG_TEST(HOST_REG_14_ring_memory_removed),
		RIG_TEST(HOST_REG_14_guest_memory_moves_in_the_host),
		RIG_TEST(HOST_REG_14_map_refuses_the_ring),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
