/* SPDX-License-Identifier: BSD-3-Clause */
/* What a balloon counts: the numbers by which a host sees what a guest is about. */
#include "device_rig.h"

#define COUNTERS (sizeof(struct vmemdev_balloon_counts) / sizeof(uint64_t))
#define POISON (VMEMDEV_BALLOON_F_PAGE_REPORTING | VMEMDEV_BALLOON_F_PAGE_POISON)

static struct vmemdev_balloon_counts counts(struct rig *rig)
{
	struct vmemdev_balloon_counts now;

	memset(&now, 0xff, sizeof(now));
	vmemdev_balloon_get_counts(&rig->balloon, &now);
	return now;
}

/* Since @before exactly this was counted. */
static void expect_since(struct rig *rig, const struct vmemdev_balloon_counts *before,
			 const struct vmemdev_balloon_counts *more)
{
	struct vmemdev_balloon_counts now = counts(rig);
	uint64_t was[COUNTERS], is[COUNTERS], added[COUNTERS];

	memcpy(was, before, sizeof(was));
	memcpy(is, &now, sizeof(is));
	memcpy(added, more, sizeof(added));
	for (size_t i = 0; i < COUNTERS; i++) {
		if (is[i] - was[i] != added[i])
			fail_msg("counter %zu of struct vmemdev_balloon_counts went up by %llu, "
				 "not by %llu", i, (unsigned long long)(is[i] - was[i]),
				 (unsigned long long)added[i]);
	}
}

static void send_buf(struct rig *rig, uint16_t queue, uint64_t gpa, uint32_t len, bool writable)
{
	const struct vmemdev_buf buf = {.gpa = gpa, .len = len, .writable = writable};

	drv_add(rig, queue, &buf, 1);
	drv_kick(rig, queue);
	assert_int_equal(rig_run(rig), 0);
}

static void send_command(struct rig *rig, uint32_t command)
{
	guest_store32(&rig->memory, DATA_GPA, command);
	send_buf(rig, HINTQ, DATA_GPA, 4, false);
}

/* Two ranges of 3 pages and one page that is no memory. */
static const uint32_t some[4] = {PLAY_PFN, PLAY_PFN + 1, PLAY_PFN + 9, 7};

static void counts_of_pages_given_and_taken(void **state)
{
	struct rig *rig = *state;
	struct vmemdev_balloon_counts before = counts(rig);

	expect_since(rig, &(struct vmemdev_balloon_counts){0}, &(struct vmemdev_balloon_counts){0});
	pages_send(rig, INFLATEQ, some, 4);
	expect_since(rig, &before, &(struct vmemdev_balloon_counts){
		.pages_inflated = 3, .ranges = 2, .host_calls = 1, .pages_ignored = 1});
	before = counts(rig);
	pages_send(rig, DEFLATEQ, some, 4);
	expect_since(rig, &before, &(struct vmemdev_balloon_counts){
		.pages_deflated = 3, .ranges = 2, .host_calls = 1, .pages_ignored = 1});
	before = counts(rig);
	rig->host.answer = VMEMDEV_E_HOST;
	pages_send(rig, INFLATEQ, some, 1);
	expect_since(rig, &before, &(struct vmemdev_balloon_counts){
		.pages_inflated = 1, .ranges = 1, .host_calls = 1, .host_failures = 1});
}

static void counts_of_host_work_that_ends_later(void **state)
{
	struct rig *rig = *state;
	struct vmemdev_balloon_counts before = counts(rig);

	rig->host.answer = VMEMDEV_LATER;
	send_buf(rig, REPORTQ, PLAY_GPA, 5 * PAGE, true);
	assert_int_equal(rig_complete(rig, rig->host.token, VMEMDEV_E_HOST), 0);
	assert_int_equal(rig_run(rig), 0);
	expect_since(rig, &before, &(struct vmemdev_balloon_counts){
		.pages_reported = 5, .ranges = 1, .host_calls = 1, .host_failures = 1});
	before = counts(rig);
	send_buf(rig, REPORTQ, PLAY_GPA, 5 * PAGE, true);
	assert_int_equal(rig_complete(rig, rig->host.token, 0), 0);
	assert_int_equal(rig_run(rig), 0);
	expect_since(rig, &before, &(struct vmemdev_balloon_counts){
		.pages_reported = 5, .ranges = 1, .host_calls = 1});
}

static void counts_of_reports(void **state)
{
	struct rig *rig = *state;
	struct vmemdev_balloon_config config;
	struct vmemdev_balloon_counts before;
	uint8_t value[4] = {1, 0, 0, 0};

	rig_balloon_full_config(rig, &config);
	config.report_min = 4 * PAGE;
	rig_make_balloon(rig, &config);
	drv_start(rig, BALLOON_FULL);
	before = counts(rig);
	send_buf(rig, REPORTQ, PLAY_GPA, 4 * PAGE, true);
	expect_since(rig, &before, &(struct vmemdev_balloon_counts){
		.pages_reported = 4, .ranges = 1, .host_calls = 1});
	before = counts(rig);
	send_buf(rig, REPORTQ, PLAY_GPA, 3 * PAGE, true);
	expect_since(rig, &before, &(struct vmemdev_balloon_counts){.pages_short = 3});
	before = counts(rig);
	send_buf(rig, REPORTQ, PLAY_GPA, 4 * PAGE, false);
	expect_since(rig, &before, &(struct vmemdev_balloon_counts){.inputs_ignored = 1});
	before = counts(rig);
	assert_int_equal(vmemdev_balloon_inhibit(&rig->balloon), 0);
	send_buf(rig, REPORTQ, PLAY_GPA, 4 * PAGE, true);
	expect_since(rig, &before, &(struct vmemdev_balloon_counts){.pages_inhibited = 4});
	assert_int_equal(vmemdev_balloon_uninhibit(&rig->balloon), 0);

	drv_negotiate(rig, BALLOON_FULL | POISON);
	guest_driver_config_write(&rig->driver, BAL_POISON, value, sizeof(value));
	for (uint16_t q = INFLATEQ; q <= REPORTQ; q++)
		drv_open(rig, q);
	drv_set_status(rig, DRV_LIVE);
	before = counts(rig);
	send_buf(rig, REPORTQ, PLAY_GPA, 8 * PAGE, true);
	expect_since(rig, &before, &(struct vmemdev_balloon_counts){.pages_poisoned = 8});
}

static void counts_of_hints(void **state)
{
	struct rig *rig = *state;
	struct vmemdev_balloon_counts before = counts(rig);

	assert_int_equal(vmemdev_balloon_hint_start(&rig->balloon), 0);
	send_buf(rig, HINTQ, PLAY_GPA, 6 * PAGE, true);
	expect_since(rig, &before, &(struct vmemdev_balloon_counts){
		.rounds = 1, .pages_stale = 6});
	before = counts(rig);
	send_command(rig, 2);
	send_buf(rig, HINTQ, PLAY_GPA, 6 * PAGE, true);
	expect_since(rig, &before, &(struct vmemdev_balloon_counts){
		.pages_hinted = 6, .ranges = 1, .host_calls = 1});
	before = counts(rig);
	send_command(rig, 99);
	expect_since(rig, &before, &(struct vmemdev_balloon_counts){.inputs_ignored = 1});
	before = counts(rig);
	assert_int_equal(vmemdev_balloon_hint_start(&rig->balloon), 0);
	send_command(rig, 3);
	send_command(rig, 0);
	expect_since(rig, &before, &(struct vmemdev_balloon_counts){.rounds = 1});
}

static void counts_of_statistics_and_of_what_is_misplaced(void **state)
{
	struct rig *rig = *state;
	struct vmemdev_balloon_counts before = counts(rig);
	const uint8_t poison[4] = {1, 2, 3, 4};

	send_buf(rig, STATSQ, DATA_GPA, 160, false);
	expect_since(rig, &before, &(struct vmemdev_balloon_counts){.stats_sets = 1});
	before = counts(rig);
	send_buf(rig, STATSQ, DATA_GPA, 155, false);
	expect_since(rig, &before, &(struct vmemdev_balloon_counts){
		.stats_sets = 1, .inputs_ignored = 1});
	before = counts(rig);
	guest_driver_config_write(&rig->driver, BAL_POISON, poison, sizeof(poison));
	expect_since(rig, &before, &(struct vmemdev_balloon_counts){.inputs_ignored = 1});
}

/* They tell of the device, not of its driver. */
static void counts_outlive_resets(void **state)
{
	struct rig *rig = *state;
	struct vmemdev_balloon_counts before;

	pages_send(rig, INFLATEQ, some, 4);
	send_buf(rig, STATSQ, DATA_GPA, 160, false);
	before = counts(rig);
	assert_int_equal(before.pages_inflated, 3);
	drv_reset(rig);
	assert_int_equal(vmemdev_device_system_reset(rig->dev), 0);
	drv_start(rig, BALLOON_FULL);
	expect_since(rig, &before, &(struct vmemdev_balloon_counts){0});
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_RINGS(counts_of_pages_given_and_taken, rig_setup_balloon_full_live),
		TEST_RINGS(counts_of_host_work_that_ends_later, rig_setup_balloon_full_live),
		TEST_RINGS(counts_of_reports, rig_setup_bare),
		TEST_RINGS(counts_of_hints, rig_setup_balloon_full_live),
		TEST_RINGS(counts_of_statistics_and_of_what_is_misplaced,
			   rig_setup_balloon_full_live),
		TEST_ONCE(counts_outlive_resets, rig_setup_balloon_full_live),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
