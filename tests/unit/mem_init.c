/* SPDX-License-Identifier: BSD-3-Clause */
/* vmemdev_mem_init: every configuration that must be refused, and by which name. */
#include "device_rig.h"

#include <stdio.h>

#define ROW(field, value, err) SPOIL(struct vmemdev_mem_config, field, value, err)
#define BIT(n) (UINT64_C(1) << (n))
#define PATTERN UINT64_C(0x5a5a5a5a5a5a5a5a)

static void check_init(struct rig *rig, const struct vmemdev_mem_config *config, int err,
		       const char *what)
{
	struct vmemdev_mem *before = malloc(sizeof(*before));
	int got;

	assert_non_null(before);
	memset(&rig->mem, 0x5a, sizeof(rig->mem));
	memset(rig->bitmap, 0x5a, sizeof(rig->bitmap));
	memcpy(before, &rig->mem, sizeof(*before));
	got = vmemdev_mem_init(&rig->mem, sizeof(rig->mem), config);
	if (got != err)
		fail_msg("%s: expected %d, got %d", what, err, got);
	if (err) {
		assert_memory_equal(&rig->mem, before, sizeof(*before));
		assert_true(rig->bitmap[0] == PATTERN);
		assert_true(rig->bitmap[ARRAY_LEN(rig->bitmap) - 1] == PATTERN);
	}
	free(before);
}

static void check_rows(struct rig *rig, const struct spoil *rows, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct vmemdev_mem_config config;

		rig_mem_config(rig, &config);
		spoil_apply(&rows[i], &config);
		check_init(rig, &config, rows[i].err, rows[i].what);
	}
}

/* shows: MEM-CFG-02 MEM-CFG-03 */
static void MEM_CFG_02_init_refuses_impossible_sizes(void **state)
{
	static const struct spoil rows[] = {
		ROW(block_size, 0, VMEMDEV_E_SIZE),
		ROW(block_size, 1, VMEMDEV_E_SIZE),
		ROW(block_size, 2048, VMEMDEV_E_SIZE),
		ROW(block_size, MEM_BLOCK + 4096, VMEMDEV_E_SIZE),
		ROW(block_size, 3 * MEM_BLOCK, VMEMDEV_E_SIZE),
		ROW(block_size, UINT64_C(2) << 30, VMEMDEV_E_SIZE),
		ROW(block_size, UINT64_C(1) << 63, VMEMDEV_E_SIZE),
		ROW(region_size, 0, VMEMDEV_E_SIZE),
		ROW(region_size, MEM_REGION - 1, VMEMDEV_E_SIZE),
		ROW(region_size, MEM_REGION + 4096, VMEMDEV_E_SIZE),
		ROW(region_size, MEM_BLOCK / 2, VMEMDEV_E_SIZE),
		ROW(region_size, VMEMDEV_MEM_REGION_MAX + MEM_BLOCK, VMEMDEV_E_SIZE),
		ROW(region_size, UINT64_C(0xffffffffffff0000), VMEMDEV_E_SIZE),
		ROW(addr, MEM_GPA + 1, VMEMDEV_E_ALIGN),
		ROW(addr, MEM_GPA + MEM_BLOCK / 2, VMEMDEV_E_ALIGN),
		ROW(addr, UINT64_C(0xffffffffffff0000), VMEMDEV_E_SIZE),
		ROW(slack, UINT64_MAX, VMEMDEV_E_SIZE),
		ROW(guest_block, UINT64_C(4) << 30, VMEMDEV_E_SIZE),
		ROW(guest_block, UINT64_MAX, VMEMDEV_E_SIZE),
		ROW(bitmap_words, 0, VMEMDEV_E_NOSPC),
		ROW(bitmap_words, 1, VMEMDEV_E_NOSPC),
	};

	check_rows(*state, rows, ARRAY_LEN(rows));
}

/* shows: FEAT-03 FEAT-06 */
static void FEAT_03_mem_init_names_each_bad_field(void **state)
{
	static const struct spoil rows[] = {
		ROW(struct_size, 0, VMEMDEV_E_ABI),
		ROW(struct_size, sizeof(struct vmemdev_mem_config) - 4, VMEMDEV_E_ABI),
		ROW(bitmap, 0, VMEMDEV_E_INVAL),
		ROW(ops, 0, VMEMDEV_E_INVAL),
		ROW(device.guest, 0, VMEMDEV_E_INVAL),
		ROW(pad_[0], 1, VMEMDEV_E_INVAL),
		ROW(pad_[6], 1, VMEMDEV_E_INVAL),
		ROW(device.pad_[1], 7, VMEMDEV_E_INVAL),
		ROW(device.queue_size, 5, VMEMDEV_E_SIZE),
		ROW(device.queue_size, 65535, VMEMDEV_E_SIZE),
		ROW(device.features_on, BIT(0), VMEMDEV_E_FEATURE),
		ROW(device.features_on, BIT(2), VMEMDEV_E_FEATURE),
		ROW(device.features_on, BIT(24), VMEMDEV_E_FEATURE),
		ROW(device.features_on, BIT(37), VMEMDEV_E_FEATURE),
		ROW(device.features_on, BIT(39), VMEMDEV_E_FEATURE),
		ROW(device.features_on, BIT(41), VMEMDEV_E_FEATURE),
		ROW(device.features_on, BIT(63), VMEMDEV_E_FEATURE),
		ROW(device.features_off, VMEMDEV_F_VERSION_1, VMEMDEV_E_FEATURE),
		ROW(device.features_off, BIT(63), VMEMDEV_E_FEATURE),
	};

	check_rows(*state, rows, ARRAY_LEN(rows));
}

static void mem_init_accepts_what_is_documented(void **state)
{
	static const struct spoil rows[] = {
		ROW(block_size, VMEMDEV_MEM_BLOCK_MIN * 16, 0),
		ROW(block_size, MEM_BLOCK * 2, 0),
		ROW(addr, 0, 0),
		ROW(slack, 0, 0),
		ROW(slack, 1, 0),
		ROW(slack, UINT64_C(1) << 40, 0),
		ROW(bitmap_words, 3, 0),
		ROW(ctx, 0, 0),
		ROW(node, 0xffff, 0),
		ROW(has_node, 1, 0),
		ROW(unplugged_inaccessible, 1, 0),
		ROW(persistent_suspend, 1, 0),
		ROW(guest_block, 1, 0),
		ROW(guest_block, UINT64_C(2) << 30, 0), /* 64 KiB are the smallest blocks then */
		ROW(device.queue_size, 1, 0),
		ROW(device.features_on, VMEMDEV_F_RING_PACKED | VMEMDEV_F_ACCESS_PLATFORM, 0),
		ROW(device.features_off, VMEMDEV_F_IN_ORDER | VMEMDEV_F_RING_RESET, 0),
	};

	check_rows(*state, rows, ARRAY_LEN(rows));
}

static void mem_init_needs_unplug_and_its_pointers(void **state)
{
	struct rig *rig = *state;
	struct vmemdev_mem_ops ops = rig_mem_ops;
	struct vmemdev_mem_config config;

	rig_mem_config(rig, &config);
	config.ops = &ops;
	ops.unplug = NULL;
	check_init(rig, &config, VMEMDEV_E_INVAL, "no unplug");
	ops = rig_mem_ops;
	ops.plug = NULL;
	ops.plugged = NULL;
	check_init(rig, &config, 0, "no plug, no plugged");
	check_init(rig, NULL, VMEMDEV_E_INVAL, "no config");
	assert_int_equal(vmemdev_mem_init(NULL, sizeof(rig->mem), &config), VMEMDEV_E_INVAL);
}

static void mem_init_checks_struct_sizes(void **state)
{
	struct rig *rig = *state;
	struct {
		struct vmemdev_mem_config config;
		uint64_t tail[2];
	} large;

	memset(&large, 0, sizeof(large));
	rig_mem_config(rig, &large.config);
	assert_int_equal(vmemdev_mem_init(&rig->mem, sizeof(rig->mem) - 8, &large.config),
			 VMEMDEV_E_ABI);
	assert_int_equal(vmemdev_mem_init(&rig->mem, sizeof(rig->mem) + 8, &large.config),
			 VMEMDEV_E_ABI);
	large.config.struct_size = sizeof(large);
	check_init(rig, &large.config, 0, "larger, with a zero tail");
	large.tail[1] = 1;
	check_init(rig, &large.config, VMEMDEV_E_ABI, "larger, with something in the tail");
}

/*
 * A guest names the blocks of its memory block in 16 bits, without a look (LNX-MEM-08): with
 * blocks too small for that, it would plug less than it believes.
 */
/* shows: LNX-MEM-08 */
static void LNX_MEM_08_a_guests_block_is_at_most_65535_blocks(void **state)
{
	struct rig *rig = *state;
	struct vmemdev_mem_config config;
	char what[64];

	for (uint32_t shift = 12; shift <= 30; shift++) {
		const uint64_t block = UINT64_C(1) << shift, most = block * 65535;
		const struct {
			uint64_t guest_block;
			int err;
		} rows[] = {
			{0, 0}, {1, 0}, {block, 0}, {most - 1, 0}, {most, 0},
			{most + 1, VMEMDEV_E_SIZE}, {most + block, VMEMDEV_E_SIZE},
			{UINT64_C(128) << 20, 0},
			{UINT64_C(2) << 30, shift < 16 ? VMEMDEV_E_SIZE : 0},
		};

		for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
			rig_mem_config(rig, &config);
			config.addr = UINT64_C(1) << 40;
			config.block_size = block;
			config.region_size = 64 * block;
			config.guest_block = rows[i].guest_block;
			snprintf(what, sizeof(what), "blocks of 2^%u, row %u", shift, (unsigned)i);
			check_init(rig, &config, rows[i].err, what);
		}
	}
}

static void mem_bitmap_words_is_one_bit_a_block(void **state)
{
	const uint64_t mib = UINT64_C(1) << 20;

	(void)state;
	assert_int_equal(vmemdev_mem_bitmap_words(mib, mib), 1);
	assert_int_equal(vmemdev_mem_bitmap_words(64 * mib, mib), 1);
	assert_int_equal(vmemdev_mem_bitmap_words(65 * mib, mib), 2);
	assert_int_equal(vmemdev_mem_bitmap_words(MEM_REGION, MEM_BLOCK), 2);
	assert_int_equal(vmemdev_mem_bitmap_words(0, mib), 0);
	assert_int_equal(vmemdev_mem_bitmap_words(mib, 0), 0);
	assert_int_equal(vmemdev_mem_bitmap_words(3 * mib, 2 * mib), 0);
	assert_int_equal(vmemdev_mem_bitmap_words(12 * mib, 3 * mib), 0);
	assert_int_equal(vmemdev_mem_bitmap_words(mib, 2048), 0);
	assert_int_equal(vmemdev_mem_bitmap_words(VMEMDEV_MEM_REGION_MAX * 2,
						  VMEMDEV_MEM_BLOCK_MAX), 0);
	assert_int_equal(vmemdev_mem_bitmap_words(VMEMDEV_MEM_REGION_MAX, VMEMDEV_MEM_BLOCK_MAX),
			 1024);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_ONCE(MEM_CFG_02_init_refuses_impossible_sizes, rig_setup_bare),
		TEST_ONCE(FEAT_03_mem_init_names_each_bad_field, rig_setup_bare),
		TEST_ONCE(mem_init_accepts_what_is_documented, rig_setup_bare),
		TEST_ONCE(mem_init_needs_unplug_and_its_pointers, rig_setup_bare),
		TEST_ONCE(mem_init_checks_struct_sizes, rig_setup_bare),
		TEST_ONCE(LNX_MEM_08_a_guests_block_is_at_most_65535_blocks, rig_setup_bare),
		cmocka_unit_test(mem_bitmap_words_is_one_bit_a_block),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
