/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Slots over a memory device's region: a slot is mapped when, and only when, one of its
 * blocks is plugged.
 */
#include "device_rig.h"

#define SLOTS_MAX 1024
#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)
#define TIB (UINT64_C(1) << 40)

struct mapping {
	struct rig *rig;
	struct vmemdev_mem_slots slots;
	struct vmemdev_mem_slots_config config;
	uint64_t plugged[SLOTS_MAX];
	uint8_t mapped[SLOTS_MAX];
	uint64_t base, slot_size, region;
	uint32_t maps, unmaps, now;
	uint32_t refuse; /* the slot that cannot be mapped */
};

static struct mapping map;

/* The range that slot @n has, the last one being cut at the region's end. */
static void check_range(uint32_t n, const struct vmemdev_range *range)
{
	uint64_t left = map.region - n * map.slot_size;

	assert_true(range->gpa == map.base + n * map.slot_size);
	assert_true(range->len == (left < map.slot_size ? left : map.slot_size));
}

static int on_map(void *ctx, uint32_t slot, const struct vmemdev_range *range)
{
	assert_ptr_equal(ctx, &map);
	assert_true(slot < SLOTS_MAX);
	check_range(slot, range);
	assert_false(map.mapped[slot]);
	if (slot == map.refuse)
		return VMEMDEV_E_NOSPC;
	map.mapped[slot] = 1;
	map.maps++;
	map.now++;
	return 0;
}

static void on_unmap(void *ctx, uint32_t slot, const struct vmemdev_range *range)
{
	assert_ptr_equal(ctx, &map);
	check_range(slot, range);
	assert_true(map.mapped[slot]);
	map.mapped[slot] = 0;
	map.unmaps++;
	map.now--;
}

static void slots_config(uint64_t slot_size)
{
	memset(&map.config, 0, sizeof(map.config));
	map.config.struct_size = sizeof(map.config);
	map.config.slot_count = SLOTS_MAX;
	map.config.slot_size = slot_size;
	map.config.plugged = map.plugged;
	map.config.map = on_map;
	map.config.unmap = on_unmap;
	map.config.ctx = &map;
	map.slot_size = slot_size;
	memset(map.plugged, 0x5a, sizeof(map.plugged));
}

static int init(void)
{
	return vmemdev_mem_slots_init(&map.slots, sizeof(map.slots), &map.rig->mem, &map.config);
}

static int setup_slots(void **state)
{
	rig_setup_mem_live(state);
	memset(&map, 0, sizeof(map));
	map.rig = *state;
	map.base = MEM_GPA;
	map.region = MEM_REGION;
	map.refuse = SLOTS_MAX;
	mem_want(map.rig, MEM_REGION);
	return 0;
}

/* A slot is mapped if and only if a block in it is plugged. */
static void check_slots(void)
{
	uint32_t count = (uint32_t)((map.region + map.slot_size - 1) / map.slot_size), mapped = 0;
	struct vmemdev_range run;

	for (uint32_t n = 0; n < count; n++) {
		uint64_t from = map.base + n * map.slot_size;
		bool wanted = vmemdev_mem_next(&map.rig->mem, from, true, &run) &&
			      run.gpa < from + map.slot_size;

		assert_int_equal(map.mapped[n], wanted);
		mapped += wanted;
	}
	assert_int_equal(map.now, mapped);
	assert_int_equal(vmemdev_mem_slots_mapped(&map.slots), mapped);
}

static void ask(uint16_t type, uint32_t block, uint16_t count, int answer)
{
	mem_expect(map.rig, type, BLOCK(block), count, answer);
	check_slots();
}

/* Each size of slot, from a block to more than the region; 96 blocks are no power of two. */
static void slots_follow_their_blocks(void **state)
{
	(void)state;
	for (uint64_t size = MEM_BLOCK; size <= 256 * MEM_BLOCK; size *= 2) {
		slots_config(size);
		assert_int_equal(init(), 0);
		check_slots();
		ask(GUEST_MEM_PLUG, 3, 1, GUEST_MEM_ACK);
		assert_int_equal(map.now, 1);
		ask(GUEST_MEM_PLUG, 5, 2, GUEST_MEM_ACK);
		ask(GUEST_MEM_PLUG, 7, 80, GUEST_MEM_ACK);
		ask(GUEST_MEM_UNPLUG, 3, 1, GUEST_MEM_ACK);
		ask(GUEST_MEM_UNPLUG, 40, 20, GUEST_MEM_ACK);
		ask(GUEST_MEM_PLUG, 90, 6, GUEST_MEM_ACK);
		ask(GUEST_MEM_UNPLUG, 95, 1, GUEST_MEM_ACK);
		ask(GUEST_MEM_UNPLUG, 90, 5, GUEST_MEM_ACK);
		ask(GUEST_MEM_UNPLUG_ALL, 0, 0, GUEST_MEM_ACK);
		assert_int_equal(map.now, 0);
		assert_int_equal(map.maps, map.unmaps);
		assert_int_equal(vmemdev_mem_slots_finish(&map.slots), 0);
	}
}

/* With slots as large as blocks, what is unplugged is not there at all. */
static void slots_of_one_block_map_just_what_is_plugged(void **state)
{
	(void)state;
	slots_config(MEM_BLOCK);
	assert_int_equal(init(), 0);
	ask(GUEST_MEM_PLUG, 10, 7, GUEST_MEM_ACK);
	assert_int_equal(map.now, 7);
	ask(GUEST_MEM_UNPLUG, 12, 2, GUEST_MEM_ACK);
	assert_int_equal(map.now, 5);
	assert_false(map.mapped[12] || map.mapped[13]);
}

/* Blocks in one slot: it is mapped with the first and goes with the last. */
static void a_slot_goes_with_its_last_block(void **state)
{
	(void)state;
	slots_config(16 * MEM_BLOCK);
	assert_int_equal(init(), 0);
	ask(GUEST_MEM_PLUG, 16, 1, GUEST_MEM_ACK);
	ask(GUEST_MEM_PLUG, 31, 1, GUEST_MEM_ACK);
	ask(GUEST_MEM_PLUG, 20, 3, GUEST_MEM_ACK);
	assert_int_equal(map.maps, 1);
	ask(GUEST_MEM_UNPLUG, 16, 1, GUEST_MEM_ACK);
	ask(GUEST_MEM_UNPLUG, 20, 3, GUEST_MEM_ACK);
	assert_int_equal(map.unmaps, 0);
	ask(GUEST_MEM_UNPLUG, 31, 1, GUEST_MEM_ACK);
	assert_int_equal(map.unmaps, 1);
	/* a piece over an edge touches two */
	ask(GUEST_MEM_PLUG, 31, 2, GUEST_MEM_ACK);
	assert_int_equal(map.now, 2);
}

/* The region's rest is a shorter slot. */
static void the_last_slot_may_be_short(void **state)
{
	(void)state;
	slots_config(64 * MEM_BLOCK);
	map.config.slot_count = 2;
	assert_int_equal(init(), 0);
	ask(GUEST_MEM_PLUG, 95, 1, GUEST_MEM_ACK);
	assert_true(map.mapped[1] && !map.mapped[0]);
	ask(GUEST_MEM_PLUG, 60, 10, GUEST_MEM_ACK);
	ask(GUEST_MEM_UNPLUG_ALL, 0, 0, GUEST_MEM_ACK);
	assert_int_equal(map.now, 0);
}

/* A slot that cannot be mapped, in the middle of a request: nothing of it stays. */
/* shows: MEM-PLUG-06 MEM-OP-09 */
static void MEM_OP_09_a_slot_that_cannot_be_mapped_is_a_plug_refused(void **state)
{
	(void)state;
	slots_config(8 * MEM_BLOCK);
	assert_int_equal(init(), 0);
	ask(GUEST_MEM_PLUG, 20, 2, GUEST_MEM_ACK);
	for (uint32_t slot = 3; slot < 6; slot++) {
		map.refuse = slot;
		ask(GUEST_MEM_PLUG, 22, 24, GUEST_MEM_BUSY);
		assert_int_equal(map.now, 1);
		assert_true(mem_sizes(map.rig).plugged == 2 * MEM_BLOCK);
		assert_int_equal(host_last(map.rig)->op, HOST_UNPLUG);
		assert_true(host_last(map.rig)->ranges[0].gpa == BLOCK(22));
		assert_true(host_last(map.rig)->ranges[0].len == 24 * MEM_BLOCK);
	}
	map.refuse = SLOTS_MAX;
	ask(GUEST_MEM_PLUG, 22, 24, GUEST_MEM_ACK);
	assert_int_equal(map.now, 4);
	ask(GUEST_MEM_UNPLUG, 20, 26, GUEST_MEM_ACK);
	assert_int_equal(map.now, 0);
}

/* Set up for a device that has blocks: they are mapped at once, or none. */
static void slots_begin_with_what_is_plugged(void **state)
{
	(void)state;
	for (uint32_t block = 0; block < MEM_BLOCKS; block += 4)
		mem_expect(map.rig, GUEST_MEM_PLUG, BLOCK(block), 1, GUEST_MEM_ACK);
	slots_config(4 * MEM_BLOCK);
	map.refuse = 20; /* in the second batch that a late joiner hears of */
	assert_int_equal(init(), VMEMDEV_E_NOSPC);
	assert_int_equal(map.now, 0);
	assert_int_equal(map.maps, map.unmaps);
	mem_expect(map.rig, GUEST_MEM_UNPLUG, BLOCK(0), 1, GUEST_MEM_ACK);
	assert_int_equal(map.now, 0);
	mem_expect(map.rig, GUEST_MEM_PLUG, BLOCK(0), 1, GUEST_MEM_ACK);
	map.refuse = SLOTS_MAX;
	assert_int_equal(init(), 0);
	check_slots();
	assert_int_equal(map.now, 24);
	assert_int_equal(vmemdev_mem_slots_finish(&map.slots), 0);
	assert_int_equal(map.now, 0);
	assert_int_equal(vmemdev_mem_slots_mapped(&map.slots), 0);
	mem_expect(map.rig, GUEST_MEM_UNPLUG, BLOCK(0), 1, GUEST_MEM_ACK);
	assert_int_equal(map.now, 0);
	assert_int_equal(vmemdev_mem_slots_finish(&map.slots), VMEMDEV_E_STATE);
}

/* shows: MEM-OP-06 */
static void MEM_OP_06_a_system_reset_unmaps_everything(void **state)
{
	(void)state;
	slots_config(2 * MEM_BLOCK);
	assert_int_equal(init(), 0);
	ask(GUEST_MEM_PLUG, 1, 60, GUEST_MEM_ACK);
	drv_reset(map.rig);
	check_slots();
	assert_int_equal(map.now, 31);
	map.rig->window = true;
	assert_int_equal(vmemdev_device_system_reset(map.rig->dev), 0);
	map.rig->window = false;
	assert_int_equal(map.now, 0);
	check_slots();
}

static void init_names_what_is_wrong(void **state)
{
#define ROW(field, value, err) SPOIL(struct vmemdev_mem_slots_config, field, value, err)
	static const struct spoil rows[] = {
		ROW(struct_size, 0, VMEMDEV_E_ABI),
		ROW(struct_size, sizeof(struct vmemdev_mem_slots_config) - 8, VMEMDEV_E_ABI),
		ROW(slot_count, 0, VMEMDEV_E_NOSPC),
		ROW(slot_count, 23, VMEMDEV_E_NOSPC),
		ROW(slot_size, 0, VMEMDEV_E_SIZE),
		ROW(slot_size, MEM_BLOCK / 2, VMEMDEV_E_SIZE),
		ROW(slot_size, 3 * MEM_BLOCK, VMEMDEV_E_SIZE),
		ROW(slot_size, 5 * MEM_BLOCK, VMEMDEV_E_SIZE),
		ROW(slot_size, UINT64_MAX, VMEMDEV_E_SIZE),
		ROW(plugged, 0, VMEMDEV_E_INVAL),
		ROW(map, 0, VMEMDEV_E_INVAL),
		ROW(unmap, 0, VMEMDEV_E_INVAL),
		ROW(slot_count, 24, 0),
		ROW(slot_size, UINT64_C(1) << 63, 0),
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		int err;

		slots_config(4 * MEM_BLOCK);
		spoil_apply(&rows[i], &map.config);
		err = init();
		if (err != rows[i].err)
			fail_msg("%s: expected %d, got %d", rows[i].what, rows[i].err, err);
		if (err == 0)
			assert_int_equal(vmemdev_mem_slots_finish(&map.slots), 0);
	}
	slots_config(4 * MEM_BLOCK);
	assert_int_equal(vmemdev_mem_slots_init(NULL, sizeof(map.slots), &map.rig->mem,
						&map.config), VMEMDEV_E_INVAL);
	assert_int_equal(vmemdev_mem_slots_init(&map.slots, sizeof(map.slots), NULL, &map.config),
			 VMEMDEV_E_INVAL);
	assert_int_equal(vmemdev_mem_slots_init(&map.slots, sizeof(map.slots), &map.rig->mem,
						NULL), VMEMDEV_E_INVAL);
	assert_int_equal(vmemdev_mem_slots_init(&map.slots, sizeof(map.slots) - 8, &map.rig->mem,
						&map.config), VMEMDEV_E_ABI);
	assert_int_equal(map.maps, 0);
}

static int finish_inside_result;

static void finish_inside(struct rig *rig, const struct host_call *call)
{
	(void)rig;
	(void)call;
	finish_inside_result = vmemdev_mem_slots_finish(&map.slots);
}

static void finish_is_refused_in_a_callback(void **state)
{
	(void)state;
	slots_config(4 * MEM_BLOCK);
	assert_int_equal(init(), 0);
	map.rig->host.hook = finish_inside;
	ask(GUEST_MEM_PLUG, 1, 1, GUEST_MEM_ACK);
	assert_int_equal(finish_inside_result, VMEMDEV_E_STATE);
	map.rig->host.hook = NULL;
	assert_int_equal(vmemdev_mem_slots_finish(&map.slots), 0);
}

/* 1 TiB of which 1 GiB is plugged costs the host 1 GiB. */
static void of_1_TiB_only_what_is_plugged_is_mapped(void **state)
{
	struct rig *rig = rig_bare(*state);
	struct vmemdev_mem_config config;

	*state = rig;
	memset(&map, 0, sizeof(map));
	map.rig = rig;
	map.base = MEM_GPA;
	map.region = TIB;
	map.refuse = SLOTS_MAX;
	rig_mem_config(rig, &config);
	config.region_size = TIB;
	config.block_size = 2 * MIB;
	config.slack = TIB;
	config.bitmap_words = vmemdev_mem_bitmap_words(TIB, 2 * MIB);
	config.bitmap = calloc(config.bitmap_words, sizeof(uint64_t));
	assert_non_null(config.bitmap);
	rig_make_mem(rig, &config);
	slots_config(GIB);
	assert_int_equal(init(), 0);
	drv_start(rig, 0);
	mem_want(rig, 2 * GIB);
	mem_expect(rig, GUEST_MEM_PLUG, MEM_GPA, 512, GUEST_MEM_ACK);
	assert_int_equal(map.now, 1);
	assert_true(map.mapped[0]);
	mem_expect(rig, GUEST_MEM_UNPLUG, MEM_GPA, 512, GUEST_MEM_ACK);
	mem_expect(rig, GUEST_MEM_PLUG, MEM_GPA + 1023 * GIB, 512, GUEST_MEM_ACK);
	assert_int_equal(map.now, 1);
	assert_true(map.mapped[1023]);
	/* 128 MiB here and there, as a guest does */
	for (uint32_t i = 0; i < 8; i++)
		mem_expect(rig, GUEST_MEM_PLUG, MEM_GPA + i * 100 * GIB, 64, GUEST_MEM_ACK);
	assert_int_equal(map.now, 9);
	mem_expect(rig, GUEST_MEM_UNPLUG_ALL, 0, 0, GUEST_MEM_ACK);
	assert_int_equal(map.now, 0);
	free(config.bitmap);
}

/* Requests at random, refusals at random: the rule holds after each. */
/* shows: MEM-OP-09 */
static void MEM_OP_09_random_requests_keep_slots_and_blocks_together(void **state)
{
	struct guest_random random;

	(void)state;
	guest_random_seed(&random, 4);
	for (uint64_t size = MEM_BLOCK; size <= 32 * MEM_BLOCK; size *= 2) {
		slots_config(size);
		assert_int_equal(init(), 0);
		for (uint32_t i = 0; i < 2000; i++) {
			uint16_t type = (uint16_t)guest_random_below(&random, 2);

			map.refuse = guest_random_below(&random, 40);
			if (guest_random_below(&random, 100) == 0)
				type = GUEST_MEM_UNPLUG_ALL;
			mem_ask(map.rig, type, BLOCK(guest_random_below(&random, MEM_BLOCKS)),
				(uint16_t)(guest_random_below(&random, 9) + 1));
			check_slots();
		}
		assert_int_equal(vmemdev_mem_slots_finish(&map.slots), 0);
		assert_int_equal(map.now, 0);
		mem_expect(map.rig, GUEST_MEM_UNPLUG_ALL, 0, 0, GUEST_MEM_ACK);
	}
}

static int setup_way(void **state)
{
	(void)state;
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_ONCE(slots_follow_their_blocks, setup_slots),
		TEST_ONCE(slots_of_one_block_map_just_what_is_plugged, setup_slots),
		TEST_ONCE(a_slot_goes_with_its_last_block, setup_slots),
		TEST_ONCE(the_last_slot_may_be_short, setup_slots),
		TEST_RINGS(MEM_OP_09_a_slot_that_cannot_be_mapped_is_a_plug_refused, setup_slots),
		TEST_ONCE(slots_begin_with_what_is_plugged, setup_slots),
		TEST_ONCE(MEM_OP_06_a_system_reset_unmaps_everything, setup_slots),
		TEST_ONCE(init_names_what_is_wrong, setup_slots),
		TEST_ONCE(finish_is_refused_in_a_callback, setup_slots),
		TEST_ONCE(of_1_TiB_only_what_is_plugged_is_mapped, setup_way),
		TEST_ONCE(MEM_OP_09_random_requests_keep_slots_and_blocks_together, setup_slots),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
