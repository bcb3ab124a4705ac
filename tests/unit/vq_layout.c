/* SPDX-License-Identifier: BSD-3-Clause */
/* Where a ring may lie and how its bytes are laid out. */
#include "vq_rig.h"

/* One readable and one writable buffer at addresses that need all 64 bits. */
#define IN UINT64_C(0x8000000123)
#define OUT UINT64_C(0xfffffffffffff345)

static void open_bare(struct vq_rig *rig)
{
	guest_memory_open(&rig->mem, GUEST_TABLE, rig_regions, RIG_REGIONS);
	assert_int_equal(vmemdev_vq_init(&rig->vq, sizeof(rig->vq), &rig->mem.guest, 256), 0);
}

static void check_chain(struct vq_rig *rig, struct vmemdev_held *held)
{
	struct vmemdev_chain chain;
	struct vmemdev_buf buf;

	assert_int_equal(vmemdev_vq_pop(&rig->vq, &chain), 1);
	assert_int_equal(vmemdev_chain_next(&chain, &buf), 1);
	assert_true(buf.gpa == IN && buf.len == 0x123 && !buf.writable);
	assert_int_equal(vmemdev_chain_next(&chain, &buf), 1);
	assert_true(buf.gpa == OUT && buf.len == 0x45 && buf.writable);
	assert_int_equal(vmemdev_chain_next(&chain, &buf), 0);
	assert_int_equal(vmemdev_chain_finish(&chain, held), 0);
}

/* shows: VQ-SPLIT-01 VQ-SPLIT-16 */
static void VQ_SPLIT_01_bytes_of_the_ring(void **state)
{
	const struct vmemdev_vq_layout at = { 0x100010, 0x101002, 0x102004, 8, 0 };
	struct vmemdev_held held;
	struct vq_rig rig;

	(void)state;
	open_bare(&rig);
	/* Numbers straight from 2.5 of the checklist, not from the model driver. */
	guest_store64(&rig.mem, at.desc + 16 * 5, IN);
	guest_store32(&rig.mem, at.desc + 16 * 5 + 8, 0x123);
	guest_store16(&rig.mem, at.desc + 16 * 5 + 12, 1);
	guest_store16(&rig.mem, at.desc + 16 * 5 + 14, 2);
	guest_store64(&rig.mem, at.desc + 16 * 2, OUT);
	guest_store32(&rig.mem, at.desc + 16 * 2 + 8, 0x45);
	guest_store16(&rig.mem, at.desc + 16 * 2 + 12, 2);
	guest_store16(&rig.mem, at.desc + 16 * 2 + 14, 0xffff);
	guest_store16(&rig.mem, at.driver + 4, 5);
	guest_store16(&rig.mem, at.driver + 2, 1);
	assert_int_equal(vmemdev_vq_enable(&rig.vq, &at, 0), 0);
	check_chain(&rig, &held);
	rig_give(&rig, &held, 0x45);
	assert_int_equal(guest_load16(&rig.mem, at.device + 2), 1);
	assert_int_equal(guest_load32(&rig.mem, at.device + 4), 5);
	assert_int_equal(guest_load32(&rig.mem, at.device + 8), 0x45);
	guest_memory_close(&rig.mem);
}

/* shows: VQ-PACK-01 VQ-PACK-11 */
static void VQ_PACK_01_bytes_of_the_ring(void **state)
{
	const struct vmemdev_vq_layout at = { 0x100010, 0x101004, 0x102008, 7, 0 };
	struct vmemdev_held held;
	struct vq_rig rig;

	(void)state;
	open_bare(&rig);
	guest_store64(&rig.mem, at.desc, IN);
	guest_store32(&rig.mem, at.desc + 8, 0x123);
	guest_store16(&rig.mem, at.desc + 12, 0x1111);
	guest_store64(&rig.mem, at.desc + 16, OUT);
	guest_store32(&rig.mem, at.desc + 16 + 8, 0x45);
	guest_store16(&rig.mem, at.desc + 16 + 12, 0xbeef);
	guest_store16(&rig.mem, at.desc + 16 + 14, 0x82);
	guest_store16(&rig.mem, at.desc + 14, 0x81);
	assert_int_equal(vmemdev_vq_enable(&rig.vq, &at, PACKED), 0);
	check_chain(&rig, &held);
	assert_int_equal(held.slots, 2);
	rig_give(&rig, &held, 0x45);
	assert_int_equal(guest_load32(&rig.mem, at.desc + 8), 0x45);
	assert_int_equal(guest_load16(&rig.mem, at.desc + 12), 0xbeef);
	assert_int_equal(guest_load16(&rig.mem, at.desc + 14), 0x8082);
	guest_memory_close(&rig.mem);
}

struct place_row {
	const char *what;
	uint64_t features;
	struct vmemdev_vq_layout at;
	int split, packed; /* what enable must answer */
};

#define BAD VMEMDEV_E_GUEST_RING

static const struct place_row place_rows[] = {
	{ "good", 0, { 0x100000, 0x101000, 0x102000, 256, 0 }, 0, 0 },
	{ "size 0", 0, { 0x100000, 0x101000, 0x102000, 0, 0 }, BAD, BAD },
	{ "size 1", 0, { 0x100000, 0x101000, 0x102000, 1, 0 }, 0, 0 },
	{ "size 3", 0, { 0x100000, 0x101000, 0x102000, 3, 0 }, BAD, 0 },
	{ "size 255", 0, { 0x100000, 0x101000, 0x102000, 255, 0 }, BAD, 0 },
	{ "size 257, above the most", 0, { 0x100000, 0x101000, 0x102000, 257, 0 }, BAD, BAD },
	{ "size 512", 0, { 0x100000, 0x101000, 0x102000, 512, 0 }, BAD, BAD },
	{ "size 0x10008", 0, { 0x100000, 0x101000, 0x102000, 0x10008, 0 }, BAD, BAD },
	{ "size 2^31", 0, { 0x100000, 0x101000, 0x102000, UINT32_C(1) << 31, 0 }, BAD, BAD },
	{ "descriptors at +8", 0, { 0x100008, 0x101000, 0x102000, 8, 0 }, BAD, BAD },
	{ "descriptors at +1", 0, { 0x100001, 0x101000, 0x102000, 8, 0 }, BAD, BAD },
	{ "driver part at +1", 0, { 0x100000, 0x101001, 0x102000, 8, 0 }, BAD, BAD },
	{ "driver part at +2", 0, { 0x100000, 0x101002, 0x102000, 8, 0 }, 0, BAD },
	{ "device part at +1", 0, { 0x100000, 0x101000, 0x102001, 8, 0 }, BAD, BAD },
	{ "device part at +2", 0, { 0x100000, 0x101000, 0x102002, 8, 0 }, BAD, BAD },
	{ "descriptors at 0, no memory", 0, { 0, 0x101000, 0x102000, 8, 0 }, BAD, BAD },
	{ "driver part at 0", 0, { 0x100000, 0, 0x102000, 8, 0 }, BAD, BAD },
	{ "device part at 0", 0, { 0x100000, 0x101000, 0, 8, 0 }, BAD, BAD },
	{ "descriptors up to the hole", 0, { 0x30ff80, 0x101000, 0x102000, 8, 0 }, 0, 0 },
	{ "descriptors over the hole", 0, { 0x30ff90, 0x101000, 0x102000, 8, 0 }, BAD, BAD },
	{ "descriptors past 2^64", 0,
	  { UINT64_C(0xffffffffffffff90), 0x101000, 0x102000, 8, 0 }, BAD, BAD },
	{ "descriptors up to 2^64", 0,
	  { UINT64_C(0xffffffffffffff80), 0x101000, 0x102000, 8, 0 }, 0, 0 },
	{ "driver part past 2^64", 0,
	  { 0x100000, UINT64_C(0xfffffffffffffffe), 0x102000, 8, 0 }, BAD, BAD },
	{ "device part past 2^64", 0,
	  { 0x100000, 0x101000, UINT64_C(0xfffffffffffffffc), 8, 0 }, BAD, 0 },
	{ "descriptors in ROM", 0, { 0x410000, 0x101000, 0x102000, 8, 0 }, 0, BAD },
	{ "driver part in ROM", 0, { 0x100000, 0x410000, 0x102000, 8, 0 }, 0, 0 },
	{ "device part in ROM", 0, { 0x100000, 0x101000, 0x410000, 8, 0 }, BAD, BAD },
	{ "parts in three regions", EVENT,
	  { UINT64_C(0x8000000000), UINT64_C(0x100000000), 0x500000, 256, 0 }, 0, 0 },
};

/* Enable must fail, and leave nothing behind that hinders a good enable. */
static void check_place(const struct place_row *row, bool packed)
{
	const struct vmemdev_vq_layout good = { 0x100000, 0x101000, 0x102000, 8, 0 };
	const uint64_t features = row->features | (packed ? PACKED : 0);
	struct vq_rig rig;

	rig_say("%s, %s", row->what, packed ? "packed" : "split");
	open_bare(&rig);
	assert_int_equal(vmemdev_vq_enable(&rig.vq, &row->at, features),
			 packed ? row->packed : row->split);
	rig_empty(&rig);
	if ((packed ? row->packed : row->split) != 0)
		assert_int_equal(vmemdev_vq_enable(&rig.vq, &good, features), 0);
	assert_int_equal(vmemdev_vq_enable(&rig.vq, &good, features), VMEMDEV_E_STATE);
	guest_memory_close(&rig.mem);
	rig_say("%s", "");
}

/* shows: HOST-REG-13 HOST-REG-14 VQ-SPLIT-01 VQ-PACK-01 */
static void HOST_REG_14_ring_must_be_aligned_and_in_memory(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < COUNT(place_rows); i++) {
		check_place(&place_rows[i], false);
		check_place(&place_rows[i], true);
	}
}

/* shows: AMB-14 VQ-SPLIT-29 */
static void AMB_14_event_words_need_no_room_without_event_idx(void **state)
{
	/* Both parts end with the last byte of memory before the event word. */
	const struct vmemdev_vq_layout rows[] = {
		{ 0x100000, 0x310000 - (4 + 2 * 8), 0x102000, 8, 0 },
		{ 0x100000, 0x101000, 0x310000 - (4 + 8 * 8), 8, 0 },
	};

	(void)state;
	for (uint32_t i = 0; i < COUNT(rows); i++) {
		const struct guest_queue_config config = { .size = 8, .at = rows[i] };
		struct vq_rig rig;

		open_bare(&rig);
		rig.features = 0;
		assert_int_equal(vmemdev_vq_enable(&rig.vq, &rows[i], EVENT), VMEMDEV_E_GUEST_RING);
		assert_int_equal(vmemdev_vq_enable(&rig.vq, &rows[i], 0), 0);
		guest_queue_open(&rig.q, &rig.mem, &config);
		for (uint32_t lap = 0; lap < 20; lap++) {
			rig_lap(&rig);
			assert_true(vmemdev_vq_should_notify(&rig.vq));
		}
		rig_close(&rig);
	}
}

/* shows: AMB-14 VQ-SPLIT-29 */
static void AMB_14_event_words_need_room_with_event_idx(void **state)
{
	const struct vmemdev_vq_layout at = { 0x100000, 0x300000 - (6 + 2 * 8),
					      0x310000 - (6 + 8 * 8), 8, 0 };
	struct vmemdev_vq_layout moved = at;
	struct vq_rig rig;

	(void)state;
	open_bare(&rig);
	moved.device += 4;
	assert_int_equal(vmemdev_vq_enable(&rig.vq, &moved, EVENT), VMEMDEV_E_GUEST_RING);
	moved.device = 0x310000 - 72;
	assert_int_equal(vmemdev_vq_enable(&rig.vq, &moved, EVENT), 0);
	guest_memory_close(&rig.mem);
}

static void init_refuses_what_its_header_says(void **state)
{
	static const uint16_t bad_sizes[] = { 0, 3, 255, 32767, 32769, 65535 };
	struct vmemdev_vq vq, before;
	struct guest_memory mem;

	(void)state;
	guest_memory_open_flat(&mem, 0, 0x10000);
	memset(&vq, 0x5a, sizeof(vq));
	before = vq;
	assert_int_equal(vmemdev_vq_init(NULL, sizeof(vq), &mem.guest, 8), VMEMDEV_E_INVAL);
	assert_int_equal(vmemdev_vq_init(&vq, sizeof(vq), NULL, 8), VMEMDEV_E_INVAL);
	assert_int_equal(vmemdev_vq_init(&vq, sizeof(vq) - 1, &mem.guest, 8), VMEMDEV_E_ABI);
	assert_int_equal(vmemdev_vq_init(&vq, sizeof(vq) + 8, &mem.guest, 8), VMEMDEV_E_ABI);
	for (uint32_t i = 0; i < COUNT(bad_sizes); i++)
		assert_int_equal(vmemdev_vq_init(&vq, sizeof(vq), &mem.guest, bad_sizes[i]),
				 VMEMDEV_E_SIZE);
	assert_memory_equal(&vq, &before, sizeof(vq));
	for (uint32_t size = 1; size <= VMEMDEV_VQ_SIZE_MAX; size *= 2)
		assert_int_equal(vmemdev_vq_init(&vq, sizeof(vq), &mem.guest, (uint16_t)size), 0);
	guest_memory_close(&mem);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(VQ_SPLIT_01_bytes_of_the_ring),
		RIG_TEST(VQ_PACK_01_bytes_of_the_ring),
		RIG_TEST(HOST_REG_14_ring_must_be_aligned_and_in_memory),
		RIG_TEST(AMB_14_event_words_need_no_room_without_event_idx),
		RIG_TEST(AMB_14_event_words_need_room_with_event_idx),
		RIG_TEST(init_refuses_what_its_header_says),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
