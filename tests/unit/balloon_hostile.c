/* SPDX-License-Identifier: BSD-3-Clause */
/* Inflate and deflate by a driver that does not behave. */
#include "device_rig.h"

/* Regions beyond RAM: each of a different kind, 16 pages, with holes between them. */
#define ROM_GPA UINT64_C(0x2000000)
#define KEEP_GPA UINT64_C(0x3000000)
#define RAM2_GPA UINT64_C(0x4000000)
#define PIECE UINT64_C(0x10000)
#define PFN(gpa) ((uint32_t)((gpa) / PAGE))

static int setup_pieces(void **state)
{
	static const struct guest_region regions[] = {
		{.gpa = RAM_GPA, .len = RAM_SIZE},
		{.gpa = ROM_GPA, .len = PIECE, .flags = VMEMDEV_REGION_READONLY},
		{.gpa = KEEP_GPA, .len = PIECE, .flags = VMEMDEV_REGION_KEEP},
		{.gpa = RAM2_GPA, .len = PIECE},
	};
	struct rig *rig = rig_bare_regions(*state, regions, ARRAY_LEN(regions));

	rig_make_balloon(rig, NULL);
	drv_start(rig, 0);
	*state = rig;
	return 0;
}

static uint64_t ignored(struct rig *rig)
{
	struct vmemdev_balloon_counts counts;

	vmemdev_balloon_get_counts(&rig->balloon, &counts);
	return counts.pages_ignored;
}

/* shows: HOST-BAL-01 HOST-BAL-02 */
static void HOST_BAL_01_pages_that_are_no_RAM_are_ignored(void **state)
{
	static const uint32_t bad[] = {
		0, PFN(RAM_GPA) - 1, PFN(RAM_GPA + RAM_SIZE), PFN(ROM_GPA), PFN(ROM_GPA) + 15,
		PFN(ROM_GPA) - 1, PFN(RAM2_GPA + PIECE), 0x80000000, 0xffffffff};
	static const uint32_t kept[] = {PFN(KEEP_GPA), PFN(KEEP_GPA) + 7, PFN(KEEP_GPA) + 15};
	struct rig *rig = *state;
	uint32_t mixed[3];

	pages_send(rig, INFLATEQ, bad, ARRAY_LEN(bad));
	pages_send(rig, DEFLATEQ, bad, ARRAY_LEN(bad));
	pages_send(rig, INFLATEQ, kept, ARRAY_LEN(kept));
	assert_int_equal(rig->host.count, 0);
	assert_int_equal(ignored(rig), 2 * ARRAY_LEN(bad) + ARRAY_LEN(kept));
	assert_int_equal(rig->errors, 0);

	/* good ones beside them are served */
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		host_forget(rig);
		mixed[0] = PFN(RAM2_GPA);
		mixed[1] = bad[i];
		mixed[2] = PFN(RAM2_GPA) + 2;
		pages_send(rig, INFLATEQ, mixed, 3);
		assert_int_equal(rig->host.count, 1);
		assert_int_equal(host_last(rig)->count, 2);
		assert_true(host_last(rig)->ranges[0].gpa == RAM2_GPA);
		assert_true(host_last(rig)->ranges[1].gpa == RAM2_GPA + 2 * PAGE);
	}
}

/* shows: HOST-BAL-01 HOST-BAL-02 */
static void HOST_BAL_01_runs_are_clipped_to_what_may_be_discarded(void **state)
{
	struct rig *rig = *state;
	uint32_t pfns[48];

	for (uint32_t i = 0; i < 48; i++)
		pfns[i] = PFN(RAM2_GPA) - 16 + i;
	pages_send(rig, INFLATEQ, pfns, 48);
	assert_int_equal(rig->host.count, 1);
	assert_int_equal(host_last(rig)->count, 1);
	assert_true(host_last(rig)->ranges[0].gpa == RAM2_GPA);
	assert_true(host_last(rig)->ranges[0].len == PIECE);
	assert_int_equal(ignored(rig), 32);
	host_forget(rig);
	for (uint32_t i = 0; i < 48; i++)
		pfns[i] = PFN(KEEP_GPA) + 31 - i;
	pages_send(rig, INFLATEQ, pfns, 48);
	assert_int_equal(rig->host.count, 0);
}

/* shows: HOST-BAL-03 HOST-MEM-07 */
static void HOST_BAL_03_unplugged_blocks_are_not_memory(void **state)
{
	struct rig *rig = *state;
	struct vmemdev_mem_config config;
	struct vmemdev_region regions[2];
	uint8_t *backing = calloc(1, MEM_REGION);
	uint32_t pages = (uint32_t)(MEM_BLOCK / PAGE);
	uint32_t pfns[64];

	assert_non_null(backing);
	rig_mem_config(rig, &config);
	config.device.features_on = 0;
	assert_int_equal(vmemdev_mem_init(&rig->mem, sizeof(rig->mem), &config), 0);
	regions[0] = rig->memory.regions[0];
	vmemdev_mem_region(&rig->mem, backing, &regions[1]);
	assert_true(regions[1].gpa == MEM_GPA && regions[1].len == MEM_REGION);
	assert_ptr_equal(regions[1].host, backing);
	rig_make_balloon(rig, NULL);
	assert_int_equal(vmemdev_guest_set_regions(&rig->memory.guest, regions, 2), 0);
	drv_start(rig, 0);

	/* four blocks; the second and the fourth are plugged, as the device would note it */
	for (uint32_t i = 0; i < 4 * pages; i++)
		pfns[i] = PFN(MEM_GPA) + i;
	rig->bitmap[0] = 0xa;
	vmemdev_guest_changed(&rig->memory.guest);
	pages_send(rig, INFLATEQ, pfns, 4 * pages);
	assert_int_equal(rig->host.count, 1);
	assert_int_equal(host_last(rig)->count, 2);
	assert_true(host_last(rig)->ranges[0].gpa == BLOCK(1));
	assert_true(host_last(rig)->ranges[0].len == MEM_BLOCK);
	assert_true(host_last(rig)->ranges[1].gpa == BLOCK(3));
	assert_true(host_last(rig)->ranges[1].len == MEM_BLOCK);
	assert_int_equal(ignored(rig), 2 * pages);

	host_forget(rig);
	rig->bitmap[0] = 0;
	vmemdev_guest_changed(&rig->memory.guest);
	pages_send(rig, INFLATEQ, pfns, 4 * pages);
	assert_int_equal(rig->host.count, 0);
	free(backing);
}

/* A host that really drops the pages. */
static void zero_pages(struct rig *rig, const struct host_call *call)
{
	for (uint32_t i = 0; i < call->count; i++)
		guest_fill(&rig->memory, call->ranges[i].gpa, 0, call->ranges[i].len);
}

/* shows: HOST-BAL-05 */
static void HOST_BAL_05_a_guest_that_gives_up_its_rings_harms_itself_only(void **state)
{
	struct rig *rig = *state;
	const struct vmemdev_vq_layout *at = &rig->driver.queues[INFLATEQ].layout;
	const uint64_t parts[3] = {at->desc, at->driver, at->device};
	const uint32_t play = PLAY_PFN;

	rig->host.hook = zero_pages;
	for (int i = 0; i < 3; i++) {
		const uint32_t pfn = PFN(parts[i]);

		pages_post(rig, INFLATEQ, &pfn, 1);
		drv_kick(rig, INFLATEQ);
		rig_run(rig);
		drv_kick(rig, INFLATEQ);
		drv_kick(rig, DEFLATEQ);
		rig_run(rig);
		assert_true(rig->errors <= 1);
		drv_reset(rig);
		rig->errors = 0;
		drv_start(rig, 0);
		pages_send(rig, INFLATEQ, &play, 1);
	}
}

/* shows: HOST-BAL-06 */
static void HOST_BAL_06_odd_lengths_count_whole_numbers_only(void **state)
{
	struct rig *rig = *state;

	for (uint32_t len = 1; len <= 13; len++) {
		const struct vmemdev_buf buf = {.gpa = DATA_GPA, .len = len, .writable = 0};
		struct guest_used used;

		for (uint32_t i = 0; i < 4; i++)
			guest_store32(&rig->memory, DATA_GPA + 4 * i, PLAY_PFN + 2 * i);
		host_forget(rig);
		drv_add(rig, INFLATEQ, &buf, 1);
		drv_kick(rig, INFLATEQ);
		assert_int_equal(rig_run(rig), 0);
		assert_true(drv_used(rig, INFLATEQ, &used));
		assert_int_equal(used.len, 0);
		assert_int_equal(rig->host.count, len >= 4);
		if (len >= 4)
			assert_int_equal(host_last(rig)->count, len / 4);
	}
}

/* shows: HOST-BAL-06 HOST-VQ-12 */
static void HOST_BAL_06_writable_parts_and_empty_ones_are_left_alone(void **state)
{
	const struct vmemdev_buf mixed[4] = {
		{.gpa = DATA_GPA, .len = 0, .writable = 0},
		{.gpa = DATA_GPA, .len = 4, .writable = 0},
		{.gpa = DATA_GPA + 64, .len = 64, .writable = 1},
		{.gpa = DATA_GPA + 512, .len = 0, .writable = 1}};
	struct rig *rig = *state;
	struct guest_used used;
	uint8_t room[64], expected[64];

	memset(expected, 0xc3, sizeof(expected));
	guest_fill(&rig->memory, DATA_GPA + 64, 0xc3, 64);
	guest_store32(&rig->memory, DATA_GPA, PLAY_PFN);
	drv_add(rig, INFLATEQ, mixed, 4);
	drv_add(rig, INFLATEQ, mixed + 2, 1);
	drv_add(rig, INFLATEQ, mixed, 1);
	drv_kick(rig, INFLATEQ);
	assert_int_equal(rig_run(rig), 0);
	for (int i = 0; i < 3; i++) {
		assert_true(drv_used(rig, INFLATEQ, &used));
		assert_int_equal(used.len, 0);
		assert_false(used.written);
	}
	assert_int_equal(rig->host.count, 1);
	assert_int_equal(host_last(rig)->count, 1);
	assert_true(guest_read(&rig->memory, DATA_GPA + 64, room, sizeof(room)));
	assert_memory_equal(room, expected, sizeof(room));
	assert_int_equal(rig->errors, 0);
}

/* shows: HOST-BAL-06 VQ-SPLIT-03 */
static void HOST_BAL_06_numbers_cut_at_any_byte_are_read_whole(void **state)
{
	struct rig *rig = *state;
	struct vmemdev_buf bufs[8];
	struct guest_used used;

	guest_store32(&rig->memory, DATA_GPA, PLAY_PFN + 1);
	guest_store32(&rig->memory, DATA_GPA + 4, PLAY_PFN + 3);
	for (uint32_t i = 0; i < 8; i++) {
		bufs[i].gpa = DATA_GPA + i;
		bufs[i].len = 1;
		bufs[i].writable = 0;
	}
	drv_add(rig, INFLATEQ, bufs, 8);
	drv_kick(rig, INFLATEQ);
	assert_int_equal(rig_run(rig), 0);
	assert_true(drv_used(rig, INFLATEQ, &used));
	assert_int_equal(host_last(rig)->count, 2);
	assert_true(host_last(rig)->ranges[0].gpa == PLAY_GPA + PAGE);
	assert_true(host_last(rig)->ranges[1].gpa == PLAY_GPA + 3 * PAGE);
}

static void count_pages(struct rig *rig, const struct host_call *call)
{
	uint64_t *pages = rig->ctx;

	for (uint32_t i = 0; i < call->count && i < HOST_RANGES; i++)
		*pages += call->ranges[i].len / PAGE;
}

/* shows: HOST-BAL-07 HOST-REG-21 */
static void HOST_BAL_07_a_huge_array_is_served_in_slices(void **state)
{
	const uint32_t entries = (UINT32_C(1) << 20) / 4; /* 1 MiB of page numbers, 4 times */
	struct vmemdev_buf bufs[4];
	struct rig *rig = *state;
	uint64_t pages = 0;
	uint32_t turns = 0;
	struct guest_used used;
	int left;

	/* no two neighbours, so that nothing merges and each number is one range's page */
	for (uint32_t i = 0; i < entries; i++)
		guest_store32(&rig->memory, DATA_GPA + 4 * (uint64_t)i,
			      PLAY_PFN + (i * 2) % 512);
	for (uint32_t i = 0; i < 4; i++) {
		bufs[i].gpa = DATA_GPA;
		bufs[i].len = 4 * entries;
		bufs[i].writable = 0;
	}
	rig->ctx = &pages;
	rig->host.hook = count_pages;
	drv_add(rig, INFLATEQ, bufs, 4);
	drv_kick(rig, INFLATEQ);
	do {
		uint64_t before = pages;

		left = rig_step(rig, 1);
		assert_true(left >= 0);
		assert_true(pages - before <= 512);
		assert_true(++turns < 100000);
	} while (left == 1);
	assert_true(drv_used(rig, INFLATEQ, &used));
	assert_int_equal(used.len, 0);
	assert_true(pages >= 256);
	assert_true(turns > 1);
	assert_int_equal(rig->errors, 0);
}

/* shows: HOST-REG-21 LNX-BAL-03 */
static void HOST_REG_21_a_chain_of_up_to_256_numbers_costs_one_unit(void **state)
{
	static const uint32_t counts[] = {1, 63, 64, 65, 128, 192, 255, 256};
	struct rig *rig = *state;
	uint32_t pfns[256];

	assert_int_equal(rig_run(rig), 0);
	for (uint32_t i = 0; i < 256; i++)
		pfns[i] = PLAY_PFN + i;
	for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
		for (int chain = 0; chain < 3; chain++)
			pages_post(rig, INFLATEQ, pfns, counts[i]);
		drv_kick(rig, INFLATEQ);
		for (int chain = 0; chain < 3; chain++) {
			assert_true(rig_step(rig, 1) >= 0);
			assert_int_equal(drv_used_count(rig, INFLATEQ), 1);
		}
		assert_int_equal(rig_run(rig), 0);
	}
}

/* An array that is no guest memory cannot be read: the device cannot go on. */
/* shows: HOST-VQ-11 STAT-05 */
static void HOST_VQ_11_page_numbers_outside_memory_stop_the_device(void **state)
{
	static const uint64_t where[] = {0, RAM_GPA + RAM_SIZE - 4, RAM_GPA + RAM_SIZE,
					 UINT64_C(0xfffffffffffffffc)};
	struct rig *rig = *state;

	for (size_t i = 0; i < ARRAY_LEN(where); i++) {
		const struct vmemdev_buf buf = {.gpa = where[i], .len = 8, .writable = 0};

		rig->errors = 0;
		drv_add(rig, INFLATEQ, &buf, 1);
		drv_kick(rig, INFLATEQ);
		assert_int_equal(rig_run(rig), VMEMDEV_E_GUEST_ADDR);
		assert_int_equal(drv_used_count(rig, INFLATEQ), 0);
		assert_int_equal(rig->errors, 1);
		assert_int_equal(rig->last_error, VMEMDEV_E_GUEST_ADDR);
		assert_true(guest_driver_status(&rig->driver) & VMEMDEV_STATUS_NEEDS_RESET);
		drv_reset(rig);
		drv_start(rig, 0);
	}
}

/* shows: HOST-BAL-07 HOST-REG-21 */
static void HOST_BAL_07_numbers_that_merge_are_served_in_slices_too(void **state)
{
	const uint32_t entries = UINT32_C(1) << 15;
	const struct vmemdev_buf buf = {DATA_GPA, 4 * entries, 0};
	struct rig *rig = *state;
	struct guest_used used;
	uint32_t turns = 1;

	for (uint32_t i = 0; i < entries; i++)
		guest_store32(&rig->memory, DATA_GPA + 4 * (uint64_t)i, PLAY_PFN + i % 512);
	drv_add(rig, INFLATEQ, &buf, 1);
	drv_kick(rig, INFLATEQ);
	while (rig_step(rig, 1) == 1)
		assert_true(++turns < 100000);
	assert_true(drv_used(rig, INFLATEQ, &used));
	assert_true(turns >= entries / 256);
	assert_int_equal(rig->errors, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_ALL(HOST_BAL_01_pages_that_are_no_RAM_are_ignored, setup_pieces),
		TEST_ALL(HOST_BAL_01_runs_are_clipped_to_what_may_be_discarded, setup_pieces),
		TEST_RINGS(HOST_BAL_03_unplugged_blocks_are_not_memory, rig_setup_bare),
		TEST_RINGS(HOST_BAL_05_a_guest_that_gives_up_its_rings_harms_itself_only,
			   rig_setup_balloon_live),
		TEST_RINGS(HOST_BAL_06_odd_lengths_count_whole_numbers_only,
			   rig_setup_balloon_live),
		TEST_RINGS(HOST_BAL_06_writable_parts_and_empty_ones_are_left_alone,
			   rig_setup_balloon_live),
		TEST_RINGS(HOST_BAL_06_numbers_cut_at_any_byte_are_read_whole,
			   rig_setup_balloon_live),
		TEST_RINGS(HOST_BAL_07_a_huge_array_is_served_in_slices, rig_setup_balloon_live),
		TEST_RINGS(HOST_BAL_07_numbers_that_merge_are_served_in_slices_too, rig_setup_balloon_live),
		TEST_RINGS(HOST_REG_21_a_chain_of_up_to_256_numbers_costs_one_unit,
			   rig_setup_balloon_live),
		TEST_RINGS(HOST_VQ_11_page_numbers_outside_memory_stop_the_device,
			   rig_setup_balloon_live),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
