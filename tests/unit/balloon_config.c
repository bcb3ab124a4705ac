/* SPDX-License-Identifier: BSD-3-Clause */
/* The balloon's configuration space, its queues and its two numbers, target and actual. */
#include "device_rig.h"

static void write_actual(struct rig *rig, uint32_t pages)
{
	uint8_t bytes[4];

	put32(bytes, pages);
	guest_driver_config_write(&rig->driver, BAL_ACTUAL, bytes, sizeof(bytes));
	assert_int_equal(rig_run(rig), 0);
}

/* shows: BAL-GEN-01 BAL-GEN-02 MMIO-06 LNX-COR-11 */
static void BAL_GEN_01_numbers_and_queues(void **state)
{
	struct rig *rig = *state;
	struct vmemdev_balloon_config config;
	uint64_t offered;

	rig_balloon_config(rig, &config);
	config.deflate_on_oom = true;
	config.must_tell_host = true;
	rig_make_balloon(rig, &config);
	assert_int_equal(vmemdev_device_id(rig->dev), 5);
	offered = guest_driver_offered(&rig->driver);
	assert_int_equal(offered & 0xff, 0x05);
	assert_int_equal(VMEMDEV_BALLOON_F_MUST_TELL_HOST, 1 << 0);
	assert_int_equal(VMEMDEV_BALLOON_F_DEFLATE_ON_OOM, 1 << 2);
	assert_int_equal(guest_driver_queue_max(&rig->driver, INFLATEQ), 128);
	assert_int_equal(guest_driver_queue_max(&rig->driver, DEFLATEQ), 128);
	/* queues of features that are not offered are not there */
	for (uint16_t q = 2; q < 8; q++)
		assert_int_equal(guest_driver_queue_max(&rig->driver, q), 0);
}

/* shows: BAL-GEN-01 LNX-BAL-07 */
static void BAL_GEN_01_numbers_of_all_optional_features(void **state)
{
	struct rig *rig = *state;
	struct vmemdev_balloon_config config;

	rig_balloon_full_config(rig, &config);
	rig_make_balloon(rig, &config);
	assert_int_equal(guest_driver_offered(&rig->driver) & 0xff, 0x3a);
	assert_int_equal(VMEMDEV_BALLOON_F_STATS_VQ, 1 << 1);
	assert_int_equal(VMEMDEV_BALLOON_F_FREE_PAGE_HINT, 1 << 3);
	assert_int_equal(VMEMDEV_BALLOON_F_PAGE_POISON, 1 << 4);
	assert_int_equal(VMEMDEV_BALLOON_F_PAGE_REPORTING, 1 << 5);
	for (uint16_t q = 0; q < 8; q++)
		assert_int_equal(guest_driver_queue_max(&rig->driver, q), q < 5 ? 128 : 0);
}

static bool features_stick(struct rig *rig, uint64_t more)
{
	return guest_driver_negotiate(&rig->driver,
				      VMEMDEV_F_VERSION_1 | rig->ring_features | more);
}

/* shows: BAL-GEN-03 */
static void BAL_GEN_03_a_driver_that_does_not_tell_may_be_refused(void **state)
{
	struct rig *rig = *state;
	struct vmemdev_balloon_config config;
	const uint32_t pfn = PLAY_PFN;

	rig_balloon_full_config(rig, &config);
	config.must_tell_host = true;
	config.require_must_tell_host = true;
	rig_make_balloon(rig, &config);
	for (int i = 0; i < 2; i++) {
		assert_false(features_stick(rig, 0));
		assert_false(features_stick(rig, BALLOON_FULL));
		drv_set_status(rig, DRV_LIVE);
		assert_int_equal(guest_driver_status(&rig->driver) & 0x0c, 0);
		/* it may try again, with what it should have accepted */
		drv_start(rig, VMEMDEV_BALLOON_F_MUST_TELL_HOST);
		pages_send(rig, INFLATEQ, &pfn, 1);
		assert_int_equal(host_last(rig)->op, HOST_INFLATE);
	}

	config.require_must_tell_host = false;
	guest_driver_close(&rig->driver);
	guest_place_release(&rig->memory, 0);
	rig_make_balloon(rig, &config);
	assert_true(features_stick(rig, 0));
	assert_true(features_stick(rig, VMEMDEV_BALLOON_F_MUST_TELL_HOST));
}

/* shows: BAL-GEN-04 BAL-GEN-06 */
static void BAL_GEN_06_the_target_counts_pages_of_4096_bytes(void **state)
{
	struct rig *rig = *state;

	assert_int_equal(vmemdev_balloon_target(&rig->balloon), 0);
	assert_int_equal(guest_driver_config32(&rig->driver, BAL_NUM_PAGES), 0);
	assert_int_equal(vmemdev_balloon_set_target(&rig->balloon, UINT64_C(3) << 20), 0);
	assert_int_equal(guest_driver_config32(&rig->driver, BAL_NUM_PAGES), 768);
	assert_int_equal(vmemdev_balloon_set_target(&rig->balloon, 4096 + 512), VMEMDEV_E_ALIGN);
	assert_int_equal(vmemdev_balloon_set_target(&rig->balloon,
						    VMEMDEV_BALLOON_TARGET_MAX + PAGE),
			 VMEMDEV_E_SIZE);
	assert_int_equal(vmemdev_balloon_set_target(&rig->balloon,
						    UINT64_C(0xfffffffffffff000)),
			 VMEMDEV_E_SIZE);
	assert_true(vmemdev_balloon_target(&rig->balloon) == UINT64_C(3) << 20);
	assert_int_equal(guest_driver_config32(&rig->driver, BAL_NUM_PAGES), 768);
	assert_int_equal(vmemdev_balloon_set_target(&rig->balloon, VMEMDEV_BALLOON_TARGET_MAX),
			 0);
	assert_int_equal(guest_driver_config32(&rig->driver, BAL_NUM_PAGES), 0xffffffff);
}

/* Memory at the end of what 32-bit page numbers name, and whether a balloon fits it. */
static const struct {
	uint64_t gpa, len;
	uint32_t flags;
	int err;
} high[] = {
	{VMEMDEV_BALLOON_GPA_MAX - 0x10000, 0x10000, 0, 0},
	{VMEMDEV_BALLOON_GPA_MAX, 0x10000, 0, VMEMDEV_E_REACH},
	{VMEMDEV_BALLOON_GPA_MAX - 0x10000, 0x11000, 0, VMEMDEV_E_REACH},
	{UINT64_C(1) << 52, 0x1000, 0, VMEMDEV_E_REACH},
	{VMEMDEV_BALLOON_GPA_MAX, 0x10000, VMEMDEV_REGION_KEEP, 0},
	{VMEMDEV_BALLOON_GPA_MAX, 0x10000, VMEMDEV_REGION_READONLY, 0},
	{VMEMDEV_BALLOON_GPA_MAX - 0x10000, 0x11000, VMEMDEV_REGION_KEEP, 0},
};

/* shows: LNX-BAL-05 */
static void LNX_BAL_05_no_balloon_where_page_numbers_would_be_cut(void **state)
{
	struct rig *plain = *state;

	for (size_t i = 0; i < ARRAY_LEN(high); i++) {
		const struct guest_region regions[] = {
			{.gpa = RAM_GPA, .len = RAM_SIZE},
			{.gpa = high[i].gpa, .len = high[i].len, .flags = high[i].flags}};
		struct rig *rig = rig_bare_regions(&plain->way, regions, 2);
		uint64_t left = high[i].err ? 0 : PAGE;

		rig_make_balloon(rig, NULL);
		drv_start(rig, 0);
		assert_int_equal(vmemdev_balloon_set_target(&rig->balloon, 0), 0);
		assert_int_equal(vmemdev_balloon_set_target(&rig->balloon, PAGE), high[i].err);
		assert_true(vmemdev_balloon_target(&rig->balloon) == left);
		assert_int_equal(guest_driver_config32(&rig->driver, BAL_NUM_PAGES), left / PAGE);
		assert_int_equal(drv_took_config_irq(rig), !high[i].err);
		assert_int_equal(vmemdev_balloon_set_target(&rig->balloon, 0), 0);

		/* the table counts as it is when a target is set */
		assert_int_equal(guest_memory_show(&rig->memory, 1), 0);
		assert_int_equal(vmemdev_balloon_set_target(&rig->balloon, 2 * PAGE), 0);
		assert_int_equal(guest_memory_show(&rig->memory, 2), 0);
		assert_int_equal(vmemdev_balloon_set_target(&rig->balloon, 3 * PAGE), high[i].err);
		rig_free(rig);
	}
}

/* shows: BAL-INF-01 LNX-BAL-05 */
static void BAL_INF_01_the_last_page_number_is_a_page_like_any_other(void **state)
{
	const struct guest_region regions[] = {
		{.gpa = RAM_GPA, .len = RAM_SIZE},
		{.gpa = VMEMDEV_BALLOON_GPA_MAX - 2 * PAGE, .len = 2 * PAGE}};
	const uint32_t pfns[] = {0xffffffff, 0xfffffffe, 0};
	struct rig *plain = *state;
	struct rig *rig = rig_bare_regions(&plain->way, regions, 2);

	rig_make_balloon(rig, NULL);
	drv_start(rig, 0);
	assert_int_equal(vmemdev_balloon_set_target(&rig->balloon, PAGE), 0);
	pages_send(rig, INFLATEQ, pfns, ARRAY_LEN(pfns));
	assert_int_equal(rig->host.count, 1);
	assert_int_equal(host_last(rig)->count, 1);
	assert_true(host_last(rig)->ranges[0].gpa == VMEMDEV_BALLOON_GPA_MAX - 2 * PAGE);
	assert_true(host_last(rig)->ranges[0].len == 2 * PAGE);
	rig_free(rig);
}

/* shows: BAL-GEN-05 */
static void BAL_GEN_05_each_new_target_is_notified_once(void **state)
{
	struct rig *rig = *state;

	for (uint64_t pages = 1; pages < 6; pages++) {
		assert_int_equal(vmemdev_balloon_set_target(&rig->balloon, pages * PAGE), 0);
		assert_true(drv_took_config_irq(rig));
		assert_int_equal(vmemdev_balloon_set_target(&rig->balloon, pages * PAGE), 0);
		assert_false(drv_took_config_irq(rig));
	}
	assert_int_equal(vmemdev_balloon_set_target(&rig->balloon, 0), 0);
	assert_true(drv_took_config_irq(rig));
}

/* shows: BAL-GEN-07 BAL-GEN-08 */
static void BAL_GEN_07_actual_is_told_to_the_host_and_decides_nothing(void **state)
{
	static const uint32_t claims[] = {1, 0x7fffffff, 0xffffffff, 0, 42};
	struct rig *rig = *state;
	const uint32_t pfn = PLAY_PFN;

	assert_int_equal(vmemdev_balloon_set_target(&rig->balloon, 16 * PAGE), 0);
	for (size_t i = 0; i < ARRAY_LEN(claims); i++) {
		host_forget(rig);
		write_actual(rig, claims[i]);
		assert_int_equal(host_count(rig, HOST_ACTUAL), 1);
		assert_true(host_last(rig)->value == (uint64_t)claims[i] * PAGE);
		assert_true(vmemdev_balloon_actual(&rig->balloon) == (uint64_t)claims[i] * PAGE);
		assert_int_equal(guest_driver_config32(&rig->driver, BAL_ACTUAL), claims[i]);
		assert_true(vmemdev_balloon_target(&rig->balloon) == 16 * PAGE);
		pages_send(rig, INFLATEQ, &pfn, 1);
		assert_true(host_last(rig)->ranges[0].gpa == PLAY_GPA);
		pages_send(rig, DEFLATEQ, &pfn, 1);
		assert_int_equal(host_last(rig)->op, HOST_DEFLATE);
		assert_true(vmemdev_balloon_actual(&rig->balloon) == (uint64_t)claims[i] * PAGE);
	}
}

/* shows: BAL-GEN-09 RST-04 LNX-BAL-18 */
static void BAL_GEN_09_after_a_reset_the_balloon_is_empty(void **state)
{
	struct rig *rig = *state;
	const uint32_t pfn = PLAY_PFN;
	struct vmemdev_buf buf = {.gpa = PLAY_GPA, .len = 4, .writable = 0};
	struct guest_used used;

	assert_int_equal(vmemdev_balloon_set_target(&rig->balloon, 16 * PAGE), 0);
	pages_send(rig, INFLATEQ, &pfn, 1);
	write_actual(rig, 1);
	drv_reset(rig);
	assert_int_equal(vmemdev_balloon_actual(&rig->balloon), 0);
	assert_int_equal(guest_driver_config32(&rig->driver, BAL_ACTUAL), 0);
	assert_int_equal(guest_driver_config32(&rig->driver, BAL_NUM_PAGES), 16);

	/* the page is ordinary memory: it may hold a request */
	drv_start(rig, 0);
	guest_store32(&rig->memory, PLAY_GPA, PLAY_PFN + 1);
	drv_add(rig, INFLATEQ, &buf, 1);
	drv_kick(rig, INFLATEQ);
	host_forget(rig);
	assert_int_equal(rig_run(rig), 0);
	assert_true(drv_used(rig, INFLATEQ, &used));
	assert_true(host_last(rig)->ranges[0].gpa == PLAY_GPA + PAGE);
}

/* shows: HOST-BAL-16 */
static void HOST_BAL_16_nothing_waits_for_a_driver_that_never_follows(void **state)
{
	struct rig *rig = *state;

	assert_int_equal(rig_run(rig), 0);
	for (uint64_t pages = 0; pages < 1000; pages++) {
		assert_int_equal(vmemdev_balloon_set_target(&rig->balloon, pages * PAGE), 0);
		assert_false(vmemdev_device_pending(rig->dev));
		assert_int_equal(rig_step(rig, 1), 0);
	}
	assert_int_equal(vmemdev_balloon_actual(&rig->balloon), 0);
	assert_int_equal(rig->host.count, 0);
}

/* shows: BAL-OOM-01 BAL-OOM-02 BAL-DEF-03 */
static void BAL_OOM_01_a_guest_may_deflate_below_the_target(void **state)
{
	struct rig *rig = *state;
	struct vmemdev_balloon_config config;
	const uint32_t pfns[4] = {PLAY_PFN, PLAY_PFN + 1, PLAY_PFN + 2, PLAY_PFN + 3};

	rig_balloon_config(rig, &config);
	config.deflate_on_oom = true;
	rig_make_balloon(rig, &config);
	drv_start(rig, VMEMDEV_BALLOON_F_DEFLATE_ON_OOM);
	assert_int_equal(vmemdev_balloon_set_target(&rig->balloon, 4 * PAGE), 0);
	assert_true(drv_took_config_irq(rig));
	pages_send(rig, INFLATEQ, pfns, 4);
	write_actual(rig, 4);
	pages_send(rig, DEFLATEQ, pfns, 2);
	write_actual(rig, 2);
	assert_int_equal(host_count(rig, HOST_DEFLATE), 1);
	assert_true(vmemdev_balloon_target(&rig->balloon) == 4 * PAGE);
	assert_true(vmemdev_balloon_actual(&rig->balloon) == 2 * PAGE);
	assert_false(drv_took_config_irq(rig));
	assert_false(vmemdev_device_pending(rig->dev));
	assert_int_equal(rig->errors, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_BUSES(BAL_GEN_01_numbers_and_queues, rig_setup_bare),
		TEST_BUSES(BAL_GEN_01_numbers_of_all_optional_features, rig_setup_bare),
		TEST_ALL(BAL_GEN_03_a_driver_that_does_not_tell_may_be_refused, rig_setup_bare),
		TEST_BUSES(LNX_BAL_05_no_balloon_where_page_numbers_would_be_cut, rig_setup_bare),
		TEST_RINGS(BAL_INF_01_the_last_page_number_is_a_page_like_any_other,
			   rig_setup_bare),
		TEST_BUSES(BAL_GEN_06_the_target_counts_pages_of_4096_bytes,
			   rig_setup_balloon_live),
		TEST_BUSES(BAL_GEN_05_each_new_target_is_notified_once, rig_setup_balloon_live),
		TEST_ALL(BAL_GEN_07_actual_is_told_to_the_host_and_decides_nothing,
			 rig_setup_balloon_live),
		TEST_ALL(BAL_GEN_09_after_a_reset_the_balloon_is_empty, rig_setup_balloon_live),
		TEST_BUSES(HOST_BAL_16_nothing_waits_for_a_driver_that_never_follows,
			   rig_setup_balloon_live),
		TEST_ALL(BAL_OOM_01_a_guest_may_deflate_below_the_target, rig_setup_bare),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
