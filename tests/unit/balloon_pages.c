/* SPDX-License-Identifier: BSD-3-Clause */
/* Inflate and deflate by a driver that behaves: which ranges reach the host, and when. */
#include "device_rig.h"

static void expect_range(const struct host_call *call, uint32_t n, uint64_t pfn, uint64_t pages)
{
	assert_true(n < call->count);
	assert_true(call->ranges[n].gpa == pfn * PAGE);
	assert_true(call->ranges[n].len == pages * PAGE);
}

/* Memory with pieces at both sides of 4 GiB and at the last page a PFN can name. */
static int setup_high(void **state)
{
	static const struct guest_region regions[] = {
		{.gpa = RAM_GPA, .len = RAM_SIZE},
		{.gpa = UINT64_C(0xffff0000), .len = 0x20000},
		{.gpa = UINT64_C(0xffffffff000), .len = 0x1000},
	};
	struct rig *rig = rig_bare_regions(*state, regions, ARRAY_LEN(regions));

	rig_make_balloon(rig, NULL);
	drv_start(rig, 0);
	*state = rig;
	return 0;
}

/* shows: BAL-INF-01 BAL-INF-02 BAL-GEN-06 VQ-PACK-16 */
static void BAL_INF_01_page_numbers_name_pages_in_64_bits(void **state)
{
	static const uint32_t pfns[] = {0xfffff, 0xffffffff, 0x100001, PLAY_PFN};
	struct rig *rig = *state;
	const struct host_call *call;

	pages_send(rig, INFLATEQ, pfns, ARRAY_LEN(pfns));
	call = host_last(rig);
	assert_int_equal(call->op, HOST_INFLATE);
	assert_int_equal(call->count, 4);
	for (uint32_t i = 0; i < 4; i++)
		expect_range(call, i, pfns[i], 1);
}

static void nothing_used_yet(struct rig *rig, const struct host_call *call)
{
	(void)call;
	assert_false(guest_queue_has_used(&rig->driver.queues[INFLATEQ]));
	assert_false(guest_queue_has_used(&rig->driver.queues[DEFLATEQ]));
	rig->ctx = rig;
}

/* shows: BAL-INF-03 BAL-INF-02 */
static void BAL_INF_03_the_host_is_told_before_the_buffer_is_used(void **state)
{
	struct rig *rig = *state;
	const uint32_t pfn = PLAY_PFN;

	rig->host.hook = nothing_used_yet;
	pages_send(rig, INFLATEQ, &pfn, 1);
	assert_ptr_equal(rig->ctx, rig);
	assert_true(drv_took_queue_irq(rig));
}

/* shows: BAL-INF-05 BAL-GEN-09 */
static void BAL_INF_05_a_page_in_the_balloon_still_is_memory(void **state)
{
	struct rig *rig = *state;
	const uint32_t pfn = PLAY_PFN;
	struct vmemdev_buf buf = {.gpa = PLAY_GPA + 8, .len = 4, .writable = 0};
	struct guest_used used;

	pages_send(rig, INFLATEQ, &pfn, 1);
	guest_store32(&rig->memory, PLAY_GPA + 8, PLAY_PFN + 5);
	drv_add(rig, INFLATEQ, &buf, 1);
	drv_kick(rig, INFLATEQ);
	assert_int_equal(rig_run(rig), 0);
	assert_true(drv_used(rig, INFLATEQ, &used));
	expect_range(host_last(rig), 0, PLAY_PFN + 5, 1);
}

/* shows: BAL-INF-07 LNX-BAL-03 */
static void BAL_INF_07_neighbours_merge_upwards_and_downwards(void **state)
{
	struct rig *rig = *state;
	uint32_t pfns[256];

	for (uint32_t i = 0; i < 256; i++)
		pfns[i] = PLAY_PFN + i;
	pages_send(rig, INFLATEQ, pfns, 256);
	assert_int_equal(rig->host.count, 1);
	assert_int_equal(host_last(rig)->count, 1);
	expect_range(host_last(rig), 0, PLAY_PFN, 256);

	host_forget(rig);
	for (uint32_t i = 0; i < 256; i++)
		pfns[i] = PLAY_PFN + 255 - i;
	pages_send(rig, INFLATEQ, pfns, 256);
	assert_int_equal(rig->host.count, 1);
	assert_int_equal(host_last(rig)->count, 1);
	expect_range(host_last(rig), 0, PLAY_PFN, 256);
}

/* shows: BAL-INF-07 */
static void BAL_INF_07_pages_of_many_buffers_merge_into_one_call(void **state)
{
	struct rig *rig = *state;
	uint32_t next = PLAY_PFN + 8 * 16;

	for (uint32_t chain = 0; chain < 8; chain++) {
		uint32_t pfns[16];

		for (uint32_t i = 0; i < 16; i++)
			pfns[i] = --next;
		pages_post(rig, INFLATEQ, pfns, 16);
	}
	drv_kick(rig, INFLATEQ);
	assert_int_equal(rig_run(rig), 0);
	assert_int_equal(drv_used_count(rig, INFLATEQ), 8);
	assert_int_equal(rig->host.count, 1);
	assert_int_equal(host_last(rig)->count, 1);
	expect_range(host_last(rig), 0, PLAY_PFN, 128);
}

/* shows: BAL-INF-07 HOST-BAL-04 */
static void BAL_INF_07_gaps_and_duplicates(void **state)
{
	static const uint32_t pfns[] = {PLAY_PFN + 4, PLAY_PFN + 5, PLAY_PFN + 9, PLAY_PFN + 8,
					PLAY_PFN + 8, PLAY_PFN + 20, PLAY_PFN + 4};
	static const bool named[24] = {[4] = true, [5] = true, [8] = true, [9] = true,
				       [20] = true};
	struct rig *rig = *state;
	bool seen[24] = {false};

	pages_send(rig, INFLATEQ, pfns, ARRAY_LEN(pfns));
	assert_int_equal(rig->host.count, 1);
	expect_range(host_last(rig), 0, PLAY_PFN + 4, 2);
	expect_range(host_last(rig), 1, PLAY_PFN + 8, 2);
	for (uint32_t i = 0; i < host_last(rig)->count; i++) {
		const struct vmemdev_range *range = &host_last(rig)->ranges[i];

		for (uint64_t at = range->gpa; at < range->gpa + range->len; at += PAGE)
			seen[at / PAGE - PLAY_PFN] = true;
	}
	assert_memory_equal(seen, named, sizeof(seen));
}

/* shows: BAL-DEF-01 LNX-BAL-15 */
static void BAL_DEF_01_deflate_has_the_same_form_and_comes_before_use(void **state)
{
	struct rig *rig = *state;
	const uint32_t pfns[3] = {PLAY_PFN, PLAY_PFN + 1, PLAY_PFN + 7};

	rig->host.hook = nothing_used_yet;
	pages_send(rig, INFLATEQ, pfns, 3);
	rig->ctx = NULL;
	pages_send(rig, DEFLATEQ, pfns, 3);
	assert_ptr_equal(rig->ctx, rig);
	assert_int_equal(rig->host.count, 2);
	assert_int_equal(host_last(rig)->op, HOST_DEFLATE);
	assert_int_equal(host_last(rig)->count, 2);
	expect_range(host_last(rig), 0, PLAY_PFN, 2);
	expect_range(host_last(rig), 1, PLAY_PFN + 7, 1);
}

/* shows: BAL-DEF-01 */
static void BAL_DEF_01_without_a_deflate_callback_buffers_are_just_used(void **state)
{
	struct rig *rig = *state;
	struct vmemdev_balloon_ops ops = rig_balloon_ops;
	struct vmemdev_balloon_config config;
	const uint32_t pfn = PLAY_PFN;

	ops.deflate = NULL;
	ops.actual = NULL;
	rig_balloon_config(rig, &config);
	config.ops = &ops;
	rig_make_balloon(rig, &config);
	drv_start(rig, 0);
	pages_send(rig, DEFLATEQ, &pfn, 1);
	assert_int_equal(rig->host.count, 0);
}

/* shows: BAL-DEF-03 HOST-BAL-04 LNX-BAL-17 */
static void BAL_DEF_03_pages_move_in_and_out_whatever_the_target(void **state)
{
	struct rig *rig = *state;
	const uint32_t a = PLAY_PFN, b = PLAY_PFN + 64;

	/* deflate of what was never inflated, inflate twice, compaction (new in, old out) */
	pages_send(rig, DEFLATEQ, &a, 1);
	pages_send(rig, INFLATEQ, &a, 1);
	pages_send(rig, INFLATEQ, &a, 1);
	pages_send(rig, INFLATEQ, &b, 1);
	pages_send(rig, DEFLATEQ, &a, 1);
	assert_int_equal(rig->host.count, 5);
	expect_range(host_last(rig), 0, a, 1);
	assert_int_equal(vmemdev_balloon_target(&rig->balloon), 0);
	assert_int_equal(rig->errors, 0);
}

/* shows: LNX-BAL-04 */
static void LNX_BAL_04_a_guest_with_64_KiB_pages_sends_all_parts(void **state)
{
	struct rig *rig = *state;
	uint32_t pfns[64];

	for (uint32_t i = 0; i < 64; i++)
		pfns[i] = PLAY_PFN + (3 - i / 16) * 32 + i % 16;
	pages_send(rig, INFLATEQ, pfns, 64);
	assert_int_equal(rig->host.count, 1);
	assert_int_equal(host_last(rig)->count, 4);
	for (uint32_t i = 0; i < 4; i++)
		expect_range(host_last(rig), i, PLAY_PFN + (3 - i) * 32, 16);
}

/* shows: LNX-BAL-18 */
static void LNX_BAL_18_unload_deflates_all_and_resets(void **state)
{
	struct rig *rig = *state;
	const uint8_t zero[4] = {0};
	uint32_t pfns[32];

	for (uint32_t i = 0; i < 32; i++)
		pfns[i] = PLAY_PFN + i;
	pages_send(rig, INFLATEQ, pfns, 32);
	pages_send(rig, DEFLATEQ, pfns, 32);
	guest_driver_config_write(&rig->driver, BAL_ACTUAL, zero, 4);
	rig_run(rig);
	drv_reset(rig);
	assert_int_equal(rig->errors, 0);
	assert_int_equal(vmemdev_balloon_actual(&rig->balloon), 0);
	drv_start(rig, 0);
	pages_send(rig, INFLATEQ, pfns, 32);
	assert_int_equal(rig->errors, 0);
}

static void counters_follow_what_happened(void **state)
{
	struct rig *rig = *state;
	const uint32_t pfns[4] = {PLAY_PFN, PLAY_PFN + 1, PLAY_PFN + 9, 0};
	struct vmemdev_balloon_counts counts;

	pages_send(rig, INFLATEQ, pfns, 4);
	pages_send(rig, DEFLATEQ, pfns, 1);
	rig->host.answer = VMEMDEV_E_HOST;
	pages_send(rig, INFLATEQ, pfns + 2, 1);
	vmemdev_balloon_get_counts(&rig->balloon, &counts);
	assert_int_equal(counts.pages_inflated, 4);
	assert_int_equal(counts.pages_deflated, 1);
	assert_int_equal(counts.ranges, 4);
	assert_int_equal(counts.host_calls, 3);
	assert_int_equal(counts.host_failures, 1);
	assert_int_equal(counts.pages_ignored, 1);
}

/* The ring options that Linux accepts must make no difference to what arrives. */
static void all_ring_options_give_the_same_ranges(void **state)
{
	static const uint64_t options[] = {
		VMEMDEV_F_INDIRECT_DESC, VMEMDEV_F_EVENT_IDX, VMEMDEV_F_IN_ORDER,
		VMEMDEV_F_INDIRECT_DESC | VMEMDEV_F_EVENT_IDX | VMEMDEV_F_IN_ORDER};
	struct rig *rig = *state;
	struct vmemdev_balloon_config config;

	rig_balloon_config(rig, &config);
	config.device.features_on |= VMEMDEV_F_IN_ORDER;
	rig_make_balloon(rig, &config);
	for (size_t i = 0; i < ARRAY_LEN(options); i++) {
		uint32_t pfns[8];

		drv_reset(rig);
		drv_start(rig, options[i]);
		host_forget(rig);
		for (uint32_t k = 0; k < 8; k++)
			pfns[k] = PLAY_PFN + 7 - k;
		for (uint32_t pieces = 1; pieces <= 8; pieces *= 2) {
			assert_true(guest_driver_send_pfns(&rig->driver, INFLATEQ, pfns, 8,
							   pieces) >= 0);
			assert_int_equal(rig_run(rig), 0);
			assert_int_equal(drv_used_count(rig, INFLATEQ), 1);
			assert_int_equal(host_last(rig)->count, 1);
			expect_range(host_last(rig), 0, PLAY_PFN, 8);
		}
		assert_int_equal(rig->host.count, 4);
	}
}

/*
 * A chain that the budget cuts in two: what was gathered goes to the host in the run that
 * found it to be memory, and not in a later one, when it may be memory no more.
 */
/* shows: HOST-BAL-01 HOST-BAL-02 */
static void HOST_BAL_01_nothing_gathered_outlives_a_change_of_the_table(void **state)
{
	struct rig *rig = *state;
	uint32_t pfns[300];
	uint32_t calls;

	for (uint32_t i = 0; i < ARRAY_LEN(pfns); i++)
		pfns[i] = PLAY_PFN + (i * 7) % 300;
	pages_post(rig, INFLATEQ, pfns, ARRAY_LEN(pfns));
	drv_kick(rig, INFLATEQ);
	rig->window = true;
	assert_int_equal(vmemdev_device_run(rig->dev, 1), 1);
	calls = rig->host.count;
	assert_true(calls > 0);
	rig->memory.regions[0].flags = VMEMDEV_REGION_KEEP;
	vmemdev_guest_changed(&rig->memory.guest);
	assert_int_equal(vmemdev_device_run(rig->dev, 64), 0);
	rig->window = false;
	assert_int_equal(rig->host.count, calls);
	assert_int_equal(drv_used_count(rig, INFLATEQ), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_RINGS(HOST_BAL_01_nothing_gathered_outlives_a_change_of_the_table,
			   rig_setup_balloon_live),
		TEST_ALL(BAL_INF_01_page_numbers_name_pages_in_64_bits, setup_high),
		TEST_ALL(BAL_INF_03_the_host_is_told_before_the_buffer_is_used,
			 rig_setup_balloon_live),
		TEST_ALL(BAL_INF_05_a_page_in_the_balloon_still_is_memory, rig_setup_balloon_live),
		TEST_ALL(BAL_INF_07_neighbours_merge_upwards_and_downwards,
			 rig_setup_balloon_live),
		TEST_ALL(BAL_INF_07_pages_of_many_buffers_merge_into_one_call,
			 rig_setup_balloon_live),
		TEST_RINGS(BAL_INF_07_gaps_and_duplicates, rig_setup_balloon_live),
		TEST_ALL(BAL_DEF_01_deflate_has_the_same_form_and_comes_before_use,
			 rig_setup_balloon_live),
		TEST_RINGS(BAL_DEF_01_without_a_deflate_callback_buffers_are_just_used,
			   rig_setup_bare),
		TEST_RINGS(BAL_DEF_03_pages_move_in_and_out_whatever_the_target,
			   rig_setup_balloon_live),
		TEST_RINGS(LNX_BAL_04_a_guest_with_64_KiB_pages_sends_all_parts,
			   rig_setup_balloon_live),
		TEST_ALL(LNX_BAL_18_unload_deflates_all_and_resets, rig_setup_balloon_live),
		TEST_RINGS(counters_follow_what_happened, rig_setup_balloon_live),
		TEST_ALL(all_ring_options_give_the_same_ranges, rig_setup_bare),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
