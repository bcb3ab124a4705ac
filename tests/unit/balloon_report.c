/* SPDX-License-Identifier: BSD-3-Clause */
/* Free page reporting: which ranges reach the host, when, and which never may. */
#include "device_rig.h"

#define REPORTS VMEMDEV_BALLOON_F_PAGE_REPORTING
#define POISON VMEMDEV_BALLOON_F_PAGE_POISON
#define MIB UINT64_C(0x100000)

static const struct guest_region spare = {.gpa = SPARE_GPA, .len = 1024 * MIB};

static void config_of(struct rig *rig, struct vmemdev_balloon_config *config)
{
	rig_show_spare(rig, &spare, 1);
	rig_balloon_full_config(rig, config);
}

static void go(struct rig *rig, const struct vmemdev_balloon_config *config)
{
	rig_make_balloon(rig, config);
	drv_start(rig, BALLOON_FULL);
	rig_run(rig);
	host_forget(rig);
}

static int setup(void **state)
{
	struct rig *rig = rig_bare(*state);
	struct vmemdev_balloon_config config;

	config_of(rig, &config);
	go(rig, &config);
	*state = rig;
	return 0;
}

/* Page numbers too go through this scratch array of one entry. */
static int setup_tiny(void **state)
{
	struct rig *rig = rig_bare(*state);
	struct vmemdev_balloon_config config;

	config_of(rig, &config);
	config.range_count = 1;
	go(rig, &config);
	*state = rig;
	return 0;
}

static int setup_min(void **state)
{
	struct rig *rig = rig_bare(*state);
	struct vmemdev_balloon_config config;

	config_of(rig, &config);
	config.report_min = MIB;
	go(rig, &config);
	*state = rig;
	return 0;
}

static struct vmemdev_balloon_counts counts_of(struct rig *rig)
{
	struct vmemdev_balloon_counts counts;

	vmemdev_balloon_get_counts(&rig->balloon, &counts);
	return counts;
}

/* Ranges of @len that are no neighbours, at @gpa and every 2 x @len. */
static void make_ranges(struct vmemdev_range *ranges, uint32_t count, uint64_t gpa, uint64_t len)
{
	for (uint32_t i = 0; i < count; i++)
		ranges[i] = (struct vmemdev_range){gpa + i * 2 * len, len};
}

/* Whether a buffer has come back, with nothing written. */
static bool came_back(struct rig *rig)
{
	struct guest_used used;

	if (!drv_used(rig, REPORTQ, &used))
		return false;
	assert_int_equal(used.len, 0);
	return true;
}

static void kick_and_run(struct rig *rig)
{
	drv_kick(rig, REPORTQ);
	assert_int_equal(rig_run(rig), 0);
	assert_int_equal(rig->errors, 0);
}

/* One report, acknowledged. */
static void report(struct rig *rig, const struct vmemdev_range *ranges, uint32_t count)
{
	ranges_post(rig, REPORTQ, ranges, count);
	kick_and_run(rig);
	assert_true(came_back(rig));
}

static void report_one(struct rig *rig, uint64_t gpa, uint64_t len)
{
	const struct vmemdev_range range = {gpa, len};

	report(rig, &range, 1);
}

static void expect_ranges(const struct host_call *call, const struct vmemdev_range *ranges,
			  uint32_t count)
{
	assert_int_equal(call->op, HOST_REPORT);
	assert_int_equal(call->count, count);
	for (uint32_t i = 0; i < count; i++) {
		assert_true(call->ranges[i].gpa == ranges[i].gpa);
		assert_true(call->ranges[i].len == ranges[i].len);
	}
}

/* shows: BAL-REP-01 LNX-BAL-10 */
static void BAL_REP_01_32_ranges_of_one_buffer_are_one_call(void **state)
{
	struct rig *rig = *state;
	struct vmemdev_range ranges[32];

	make_ranges(ranges, 32, SPARE_GPA, 4 * MIB);
	ranges[7].len = 2 * MIB;
	ranges[31].len = PAGE;
	report(rig, ranges, 32);
	assert_int_equal(rig->host.count, 1);
	expect_ranges(host_last(rig), ranges, 32);
	assert_true(drv_took_queue_irq(rig));
	assert_true(counts_of(rig).pages_reported == 30 * 1024 + 512 + 1);
	assert_int_equal(counts_of(rig).ranges, 32);
	assert_int_equal(counts_of(rig).host_calls, 1);
}

/* shows: BAL-REP-01 */
static void BAL_REP_01_nothing_is_written(void **state)
{
	struct rig *rig = *state;

	guest_fill(&rig->memory, PLAY_GPA, 0x77, 4 * PAGE);
	guest_memory_forget(&rig->memory);
	report_one(rig, PLAY_GPA, 4 * PAGE);
	assert_false(guest_memory_wrote(&rig->memory, PLAY_GPA, 4 * PAGE));
	assert_int_equal(guest_load32(&rig->memory, PLAY_GPA + 8), 0x77777777);
}

/* shows: BAL-REP-01 */
static void BAL_REP_01_buffers_at_hand_make_one_call(void **state)
{
	struct rig *rig = *state;
	struct vmemdev_range ranges[128];

	make_ranges(ranges, 128, SPARE_GPA, 2 * MIB);
	for (uint32_t i = 0; i < 128; i += 32)
		ranges_post(rig, REPORTQ, ranges + i, 32);
	kick_and_run(rig);
	assert_int_equal(drv_used_count(rig, REPORTQ), 4);
	assert_int_equal(rig->host.count, 1);
	expect_ranges(host_last(rig), ranges, 128);

	/* neighbours, downwards, become one range */
	host_forget(rig);
	for (uint32_t i = 0; i < 128; i++)
		ranges[i] = (struct vmemdev_range){SPARE_GPA + (127 - i) * 2 * MIB, 2 * MIB};
	for (uint32_t i = 0; i < 128; i += 32)
		ranges_post(rig, REPORTQ, ranges + i, 32);
	kick_and_run(rig);
	assert_int_equal(drv_used_count(rig, REPORTQ), 4);
	assert_int_equal(rig->host.count, 1);
	expect_ranges(host_last(rig), &(struct vmemdev_range){SPARE_GPA, 256 * MIB}, 1);
}

static void nothing_used_yet(struct rig *rig, const struct host_call *call)
{
	(void)call;
	assert_false(guest_queue_has_used(&rig->driver.queues[REPORTQ]));
	rig->ctx = rig;
}

/* shows: BAL-REP-02 */
static void BAL_REP_02_the_host_is_told_before_the_report_is_acknowledged(void **state)
{
	struct rig *rig = *state;

	rig->host.hook = nothing_used_yet;
	report_one(rig, SPARE_GPA, MIB);
	assert_ptr_equal(rig->ctx, rig);
}

/* shows: BAL-REP-02 */
static void BAL_REP_02_a_report_waits_for_work_that_the_host_has_put_off(void **state)
{
	struct rig *rig = *state;
	const struct vmemdev_range ranges[2] = {{SPARE_GPA, MIB}, {SPARE_GPA + 8 * MIB, MIB}};

	for (int result = 0; result >= VMEMDEV_E_HOST; result += VMEMDEV_E_HOST) {
		rig->host.answer = VMEMDEV_LATER;
		ranges_post(rig, REPORTQ, ranges, 2);
		kick_and_run(rig);
		assert_false(came_back(rig));
		kick_and_run(rig);
		assert_false(came_back(rig));
		rig->host.answer = 0;
		expect_ranges(host_last(rig), ranges, 2);
		assert_true(host_last(rig)->live[1].gpa == ranges[1].gpa);
		assert_int_equal(rig_complete(rig, rig->host.token, result), 0);
		assert_int_equal(rig_run(rig), 0);
		assert_true(came_back(rig));
	}
	assert_int_equal(rig->host.count, 2);
	assert_int_equal(counts_of(rig).host_failures, 1);
}

/* shows: BAL-REP-02 RST-03 VQR-05 */
static void BAL_REP_02_a_reset_calls_the_hosts_work_off(void **state)
{
	struct rig *rig = *state;
	uint64_t token;

	drv_start(rig, BALLOON_FULL | VMEMDEV_F_RING_RESET);
	for (uint32_t i = 0; i < 2; i++) {
		rig->host.answer = VMEMDEV_LATER;
		ranges_post(rig, REPORTQ, &(struct vmemdev_range){SPARE_GPA, MIB}, 1);
		kick_and_run(rig);
		token = rig->host.token;
		if (i == 0) {
			guest_driver_queue_reset(&rig->driver, DEFLATEQ);
			assert_int_equal(rig->host.cancels, 0);
			drv_open(rig, DEFLATEQ);
			guest_driver_queue_reset(&rig->driver, REPORTQ);
			drv_open(rig, REPORTQ);
		} else {
			drv_reset(rig);
			drv_start(rig, BALLOON_FULL);
		}
		assert_int_equal(rig->host.cancels, i + 1);
		assert_true(rig->host.cancelled == token);
		assert_int_equal(rig_complete(rig, token, 0), VMEMDEV_E_STATE);
		rig->host.answer = 0;
		assert_false(came_back(rig));
		report_one(rig, SPARE_GPA + 4 * MIB, MIB);
		assert_true(host_last(rig)->ranges[0].gpa == SPARE_GPA + 4 * MIB);
		assert_int_equal(host_last(rig)->count, 1);
	}
}

static void start_poisoning(struct rig *rig, uint32_t value)
{
	uint8_t bytes[4];

	put32(bytes, value);
	drv_negotiate(rig, BALLOON_FULL | POISON);
	for (uint16_t q = 0; q <= REPORTQ; q++)
		drv_open(rig, q);
	guest_driver_config_write(&rig->driver, BAL_POISON, bytes, 4);
	drv_set_status(rig, DRV_LIVE);
	rig_run(rig);
	host_forget(rig);
}

/* shows: BAL-REP-03 */
static void BAL_REP_03_nothing_is_dropped_that_must_read_as_poison(void **state)
{
	static const uint32_t values[] = {UINT32_C(0xaaaaaaaa), 1, UINT32_C(0x80000000)};
	struct rig *rig = *state;
	struct vmemdev_range ranges[32];

	make_ranges(ranges, 32, SPARE_GPA, 2 * MIB);
	for (size_t i = 0; i < ARRAY_LEN(values); i++) {
		start_poisoning(rig, values[i]);
		report(rig, ranges, 32);
		assert_int_equal(rig->host.count, 0);
		assert_true(drv_took_queue_irq(rig));
	}
	assert_true(counts_of(rig).pages_poisoned == 3 * 32 * 512);
	assert_int_equal(counts_of(rig).pages_reported, 0);
	start_poisoning(rig, 0);
	report(rig, ranges, 32);
	assert_int_equal(rig->host.count, 1);
	expect_ranges(host_last(rig), ranges, 32);
	assert_true(counts_of(rig).pages_poisoned == 3 * 32 * 512);
}

/* shows: BAL-REP-04 */
static void BAL_REP_04_reported_memory_is_memory_at_once(void **state)
{
	struct rig *rig = *state;
	const struct vmemdev_buf buf = {.gpa = PLAY_GPA + 64, .len = 4, .writable = 0};

	report_one(rig, PLAY_GPA, MIB);
	guest_store32(&rig->memory, PLAY_GPA + 64, PLAY_PFN + 3);
	drv_add(rig, INFLATEQ, &buf, 1);
	drv_kick(rig, INFLATEQ);
	assert_int_equal(rig_run(rig), 0);
	assert_int_equal(drv_used_count(rig, INFLATEQ), 1);
	assert_int_equal(host_last(rig)->op, HOST_INFLATE);
	assert_true(host_last(rig)->ranges[0].gpa == PLAY_GPA + 3 * PAGE);
	report_one(rig, PLAY_GPA, MIB);
	assert_int_equal(host_last(rig)->op, HOST_REPORT);
}

/* shows: BAL-REP-05 HOST-BAL-13 */
static void BAL_REP_05_odd_ranges_are_cut_inwards(void **state)
{
	static const struct {
		uint64_t gpa, len, first, pages;
	} cases[] = {
		{1, 3 * PAGE, 1, 2},
		{PAGE - 1, 2 * PAGE + 1, 1, 2},
		{8, 2 * PAGE - 8, 1, 1},
		{0, 5 * PAGE + 100, 0, 5},
		{PAGE, PAGE - 1, 0, 0},
		{PAGE + 1, PAGE, 0, 0},
		{16, 16, 0, 0},
		{5 * PAGE - 1, 2, 0, 0},
		{3, UINT32_C(0x3ffffffc), 1, 0x3fffe},
	};
	struct rig *rig = *state;

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		host_forget(rig);
		report_one(rig, SPARE_GPA + cases[i].gpa, cases[i].len);
		assert_int_equal(rig->host.count, cases[i].pages > 0);
		if (cases[i].pages > 0) {
			const struct vmemdev_range whole = {SPARE_GPA + cases[i].first * PAGE,
							    cases[i].pages * PAGE};

			expect_ranges(host_last(rig), &whole, 1);
		}
	}
}

/* A host page larger than 4 KiB is dropped only if one report holds all of it. */
/* shows: BAL-REP-05 */
static void BAL_REP_05_in_a_track_ranges_are_cut_to_host_pages(void **state)
{
	struct rig *rig = *state;
	struct vmemdev_balloon_config config;
	uint64_t words[64];
	const struct vmemdev_balloon_track track = {
		.gpa = SPARE_GPA, .len = 16 * MIB, .words = words, .frame_shift = 16};
	const struct vmemdev_range whole = {SPARE_GPA + 0x10000, 0x20000};

	assert_true(vmemdev_balloon_track_words(16 * MIB, 16) == ARRAY_LEN(words));
	config_of(rig, &config);
	config.must_tell_host = true;
	config.tracks = &track;
	config.track_count = 1;
	rig_make_balloon(rig, &config);
	for (uint32_t told = 0; told < 2; told++) {
		drv_start(rig, BALLOON_FULL | (told ? VMEMDEV_BALLOON_F_MUST_TELL_HOST : 0));
		host_forget(rig);
		report_one(rig, SPARE_GPA + PAGE, 15 * PAGE);
		report_one(rig, SPARE_GPA, 15 * PAGE);
		assert_int_equal(rig->host.count, 0);
		report_one(rig, SPARE_GPA + 7 * PAGE, 50 * PAGE);
		assert_int_equal(rig->host.count, 1);
		expect_ranges(host_last(rig), &whole, 1);
	}
	assert_int_equal(counts_of(rig).pages_ignored, 2 * (15 + 15 + 18));
}

/* shows: HOST-BAL-13 HOST-BAL-02 HOST-VQ-11 */
static void HOST_BAL_13_only_what_is_memory_and_not_kept(void **state)
{
	static const struct guest_region regions[] = {
		{.gpa = SPARE_GPA, .len = 16 * PAGE},
		{.gpa = SPARE_GPA + 16 * PAGE, .len = 16 * PAGE, .flags = VMEMDEV_REGION_KEEP},
		{.gpa = SPARE_GPA + 32 * PAGE, .len = 16 * PAGE, .flags = VMEMDEV_REGION_READONLY},
		{.gpa = SPARE_GPA + 64 * PAGE, .len = 16 * PAGE},
		{.gpa = SPARE_GPA + 80 * PAGE, .len = 16 * PAGE}};
	static const struct vmemdev_range nothing[] = {
		{SPARE_GPA + 16 * PAGE, 48 * PAGE},
		{SPARE_GPA + 96 * PAGE, 1000 * PAGE},
		{0, PAGE},
		{UINT64_MAX - PAGE + 1, PAGE},
		{UINT64_MAX - PAGE + 1, 2 * PAGE},
		{UINT64_MAX - 3 * PAGE + 1, UINT32_C(0x80000000)},
		{UINT64_MAX, UINT32_MAX},
		{UINT64_C(0x7ffffffffffff000), UINT32_MAX},
		{SPARE_GPA, 0}};
	const struct vmemdev_range over[] = {{SPARE_GPA, 16 * PAGE},
					     {SPARE_GPA + 64 * PAGE, 32 * PAGE}};
	struct rig *rig = *state;
	uint64_t ignored;

	rig_show_spare(rig, regions, ARRAY_LEN(regions));
	for (size_t i = 0; i < ARRAY_LEN(nothing); i++)
		report(rig, &nothing[i], 1);
	report(rig, nothing, 5);
	assert_int_equal(rig->host.count, 0);
	ignored = counts_of(rig).pages_ignored;
	assert_true(ignored >= 2 * 1049);
	report_one(rig, SPARE_GPA - PAGE, 200 * PAGE);
	assert_int_equal(rig->host.count, 1);
	/* two regions beside each other in the guest may be told as one range or as two */
	assert_true(host_last(rig)->ranges[0].gpa == over[0].gpa);
	assert_true(host_last(rig)->ranges[0].len == over[0].len);
	assert_true(host_last(rig)->ranges[1].gpa == over[1].gpa);
	assert_true(counts_of(rig).pages_reported == 48);
	assert_true(counts_of(rig).pages_ignored == ignored + 152);
}

/* shows: HOST-BAL-13 */
static void HOST_BAL_13_overlapping_ranges_are_all_right(void **state)
{
	const struct vmemdev_range ranges[] = {
		{SPARE_GPA, 4 * MIB}, {SPARE_GPA + MIB, 4 * MIB}, {SPARE_GPA, 4 * MIB},
		{SPARE_GPA + 2 * MIB, PAGE}};
	struct rig *rig = *state;
	uint64_t end = SPARE_GPA;

	report(rig, ranges, ARRAY_LEN(ranges));
	assert_int_equal(rig->host.count, 1);
	for (uint32_t i = 0; i < host_last(rig)->count; i++) {
		const struct vmemdev_range *range = &host_last(rig)->ranges[i];

		assert_true(range->gpa >= SPARE_GPA && range->gpa <= end);
		assert_true(range->gpa + range->len <= SPARE_GPA + 5 * MIB);
		end = range->gpa + range->len > end ? range->gpa + range->len : end;
	}
	assert_true(end == SPARE_GPA + 5 * MIB);
}

/* shows: HOST-BAL-14 BAL-REP-01 */
static void HOST_BAL_14_readable_parts_are_ignored(void **state)
{
	struct rig *rig = *state;
	const struct vmemdev_buf bufs[] = {
		{.gpa = PLAY_GPA, .len = (uint32_t)PAGE, .writable = 0},
		{.gpa = PLAY_GPA + PAGE, .len = (uint32_t)PAGE, .writable = 0},
		{.gpa = SPARE_GPA, .len = (uint32_t)MIB, .writable = 1}};
	uint64_t before = counts_of(rig).inputs_ignored;

	drv_add(rig, REPORTQ, bufs, 3);
	kick_and_run(rig);
	assert_true(came_back(rig));
	assert_int_equal(rig->host.count, 1);
	expect_ranges(host_last(rig), &(struct vmemdev_range){SPARE_GPA, MIB}, 1);
	assert_true(counts_of(rig).inputs_ignored > before);
	before = counts_of(rig).inputs_ignored;
	drv_add(rig, REPORTQ, bufs, 1);
	kick_and_run(rig);
	assert_true(came_back(rig));
	assert_int_equal(rig->host.count, 1);
	assert_true(counts_of(rig).inputs_ignored > before);
}

/* shows: BAL-REP-06 */
static void BAL_REP_06_the_balloon_is_as_it_was(void **state)
{
	struct rig *rig = *state;
	struct vmemdev_balloon_config config;
	struct vmemdev_balloon_track track = {
		.gpa = PLAY_GPA, .len = 2 * MIB, .frame_shift = 12};
	uint64_t words[8];
	uint32_t pfns[4] = {PLAY_PFN, PLAY_PFN + 1, PLAY_PFN + 2, PLAY_PFN + 3};
	struct vmemdev_range given;
	uint8_t actual[4];

	assert_true(vmemdev_balloon_track_words(2 * MIB, 12) == ARRAY_LEN(words));
	track.words = words;
	rig_balloon_full_config(rig, &config);
	config.must_tell_host = true;
	config.tracks = &track;
	config.track_count = 1;
	rig_make_balloon(rig, &config);
	drv_start(rig, BALLOON_FULL | VMEMDEV_BALLOON_F_MUST_TELL_HOST);
	put32(actual, 4);
	pages_send(rig, INFLATEQ, pfns, 4);
	guest_driver_config_write(&rig->driver, BAL_ACTUAL, actual, 4);
	report_one(rig, PLAY_GPA, MIB);
	report_one(rig, PLAY_GPA + PAGE, PAGE);
	assert_true(vmemdev_balloon_actual(&rig->balloon) == 4 * PAGE);
	assert_int_equal(guest_driver_config32(&rig->driver, BAL_ACTUAL), 4);
	assert_int_equal(guest_driver_config32(&rig->driver, BAL_NUM_PAGES), 0);
	assert_true(vmemdev_balloon_given(&rig->balloon, 0, &given));
	assert_true(given.gpa == PLAY_GPA && given.len == 4 * PAGE);
	assert_false(vmemdev_balloon_given(&rig->balloon, PLAY_GPA + 4 * PAGE, &given));
	assert_int_equal(counts_of(rig).pages_inflated, 4);
}

static void a_failing_host_still_acknowledges(void **state)
{
	static const int answers[] = {VMEMDEV_E_HOST, VMEMDEV_E_BUSY, VMEMDEV_E_NOSPC};
	struct rig *rig = *state;

	for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
		rig->host.answer = answers[i];
		report_one(rig, SPARE_GPA, MIB);
	}
	assert_int_equal(rig->host.count, 3);
	assert_int_equal(counts_of(rig).host_failures, 3);
	assert_int_equal(rig->errors, 0);
}

/* shows: BAL-REP-01 BAL-REP-02 */
static void BAL_REP_02_a_scratch_array_of_one_entry(void **state)
{
	struct rig *rig = *state;
	struct vmemdev_range ranges[32];

	make_ranges(ranges, 32, SPARE_GPA, 2 * MIB);
	rig->host.hook = nothing_used_yet;
	report(rig, ranges, 32);
	assert_int_equal(rig->host.count, 32);
	for (uint32_t i = 0; i < 32; i++)
		expect_ranges(host_call(rig, i), &ranges[i], 1);

	/* the same, each of them put off */
	host_forget(rig);
	rig->host.answer = VMEMDEV_LATER;
	ranges_post(rig, REPORTQ, ranges, 32);
	kick_and_run(rig);
	for (uint32_t i = 0; i < 32; i++) {
		assert_int_equal(rig->host.count, i + 1);
		expect_ranges(host_last(rig), &ranges[i], 1);
		assert_false(came_back(rig));
		assert_int_equal(rig_complete(rig, rig->host.token, 0), 0);
		assert_int_equal(rig_run(rig), 0);
	}
	assert_true(came_back(rig));
	assert_int_equal(rig->host.count, 32);
}

/* shows: BAL-REP-02 */
static void BAL_REP_02_a_long_buffer_is_read_by_budget(void **state)
{
	struct rig *rig = *state;
	struct vmemdev_range ranges[128];

	make_ranges(ranges, 128, SPARE_GPA, PAGE);
	ranges_post(rig, REPORTQ, ranges, 128);
	drv_kick(rig, REPORTQ);
	assert_int_equal(rig_step(rig, 1), 1);
	assert_int_equal(rig->host.count, 1);
	expect_ranges(host_last(rig), ranges, 64);
	assert_false(came_back(rig));
	assert_int_equal(rig_run(rig), 0);
	assert_int_equal(rig->host.count, 2);
	expect_ranges(host_last(rig), ranges + 64, 64);
	assert_true(came_back(rig));
}

/*
 * One range over memory of which every second page is plugged: the work of a run is bounded,
 * and a device that is saved or stopped has told all or says that it has not.
 */
/* shows: BAL-REP-05 HOST-BAL-13 */
static void HOST_BAL_13_a_range_over_many_holes_is_taken_by_budget(void **state)
{
	enum { PIECES = 65536 };
	static uint64_t odd[PIECES / 64];
	const struct guest_region region = {.gpa = SPARE_GPA, .len = PIECES * PAGE};
	const struct vmemdev_range range = {SPARE_GPA, PIECES * PAGE};
	struct rig *rig = *state;
	struct vmemdev_balloon_counts before, counts;
	struct vmemdev_vq_state at;
	uint32_t runs = 0;
	int left;

	memset(odd, 0x55, sizeof(odd));
	rig_show_spare(rig, &region, 1);
	rig->table[1].blocks = odd;
	rig->table[1].block_shift = 12;
	vmemdev_guest_changed(&rig->memory.guest);
	ranges_post(rig, REPORTQ, &range, 1);
	drv_kick(rig, REPORTQ);
	do {
		vmemdev_balloon_get_counts(&rig->balloon, &before);
		left = rig_step(rig, 1);
		vmemdev_balloon_get_counts(&rig->balloon, &counts);
		assert_true(counts.ranges - before.ranges <= 512);
		assert_true(counts.host_calls - before.host_calls <= 3);
		if (left > 0 && runs == 0)
			assert_int_equal(vmemdev_device_queue_stop(rig->dev, REPORTQ, &at),
					 VMEMDEV_E_STATE);
		runs++;
	} while (left > 0);
	assert_true(runs >= PIECES / 512);
	assert_true(counts.pages_reported == PIECES / 2);
	assert_int_equal(drv_used_count(rig, REPORTQ), 1);
}

static void short_ranges_are_left_alone(void **state)
{
	struct rig *rig = *state;
	const struct vmemdev_range ranges[] = {
		{SPARE_GPA, MIB - PAGE}, {SPARE_GPA + 4 * MIB, MIB},
		{SPARE_GPA + 8 * MIB, PAGE}, {SPARE_GPA + 12 * MIB, 2 * MIB}};
	const struct vmemdev_range long_ones[] = {ranges[1], ranges[3]};

	report(rig, ranges, ARRAY_LEN(ranges));
	assert_int_equal(rig->host.count, 1);
	expect_ranges(host_last(rig), long_ones, 2);
	assert_int_equal(counts_of(rig).pages_short, 256);
	report_one(rig, SPARE_GPA, PAGE);
	assert_int_equal(rig->host.count, 1);
	assert_int_equal(counts_of(rig).pages_short, 257);
	/* only reports have a least length */
	pages_send(rig, INFLATEQ, &(const uint32_t){PLAY_PFN}, 1);
	assert_int_equal(rig->host.count, 2);
}

static void allow(struct rig *rig, uint64_t bytes)
{
	assert_int_equal(vmemdev_balloon_allow_reports(&rig->balloon, bytes), 0);
}

/* Back-pressure: what is over the allowance waits in the ring. */
static void reports_wait_until_they_are_allowed(void **state)
{
	struct rig *rig = *state;
	struct vmemdev_range ranges[16];

	make_ranges(ranges, 16, SPARE_GPA, MIB);
	allow(rig, 0);
	for (uint32_t i = 0; i < 16; i += 2)
		ranges_post(rig, REPORTQ, ranges + i, 2);
	kick_and_run(rig);
	assert_int_equal(rig->host.count, 0);
	assert_false(came_back(rig));
	/* other queues go on */
	pages_send(rig, INFLATEQ, &(const uint32_t){PLAY_PFN}, 1);
	assert_int_equal(rig->host.count, 1);
	/* the buffer that passes it is still taken */
	allow(rig, 2 * MIB + PAGE);
	kick_and_run(rig);
	assert_int_equal(rig->host.count, 2);
	expect_ranges(host_last(rig), ranges, 4);
	assert_int_equal(drv_used_count(rig, REPORTQ), 2);
	kick_and_run(rig);
	assert_int_equal(rig->host.count, 2);
	/* without a kick: the guest does not know that it is waited for */
	allow(rig, 8 * MIB);
	assert_true(vmemdev_device_pending(rig->dev));
	assert_int_equal(rig_run(rig), 0);
	assert_int_equal(rig->host.count, 3);
	expect_ranges(host_last(rig), ranges + 4, 8);
	assert_int_equal(drv_used_count(rig, REPORTQ), 4);
	allow(rig, UINT64_MAX);
	assert_int_equal(rig_run(rig), 0);
	expect_ranges(host_last(rig), ranges + 12, 4);
	assert_int_equal(drv_used_count(rig, REPORTQ), 2);
	for (uint32_t i = 0; i < 40; i++)
		report(rig, ranges, 8);
	assert_int_equal(counts_of(rig).pages_reported, (16 + 40 * 8) * 256);
}

/* A new allowance takes the place of the old one; a reset drops what waited. */
static void an_allowance_is_not_added_up(void **state)
{
	struct rig *rig = *state;
	struct vmemdev_range ranges[8];

	make_ranges(ranges, 8, SPARE_GPA, MIB);
	for (uint32_t i = 0; i < 5; i++)
		allow(rig, 2 * MIB);
	for (uint32_t i = 0; i < 8; i++)
		ranges_post(rig, REPORTQ, ranges + i, 1);
	kick_and_run(rig);
	expect_ranges(host_last(rig), ranges, 2);
	assert_int_equal(drv_used_count(rig, REPORTQ), 2);
	drv_reset(rig);
	drv_start(rig, BALLOON_FULL);
	rig_run(rig);
	host_forget(rig);
	allow(rig, UINT64_MAX);
	assert_int_equal(rig_run(rig), 0);
	assert_int_equal(rig->host.count, 0);
	report(rig, ranges, 8);
	expect_ranges(host_last(rig), ranges, 8);
}

static void call_from_inside(struct rig *rig, const struct host_call *call)
{
	(void)call;
	assert_int_equal(vmemdev_balloon_allow_reports(&rig->balloon, 0), VMEMDEV_E_STATE);
	rig->ctx = rig;
}

static void calls_inside_a_callback_are_refused(void **state)
{
	struct rig *rig = *state;

	rig->host.hook = call_from_inside;
	report_one(rig, SPARE_GPA, MIB);
	assert_ptr_equal(rig->ctx, rig);
	rig->ctx = NULL;
	report_one(rig, SPARE_GPA, MIB);
	assert_ptr_equal(rig->ctx, rig);
}

/* Both devices in one machine: the blocks that a memory device has plugged are memory. */
/* shows: HOST-BAL-03 HOST-BAL-13 */
static void HOST_BAL_03_reports_follow_the_blocks_of_a_memory_device(void **state)
{
	struct rig *rig = *state;
	struct rig *owner = rig_bare(&rig->way);
	const struct vmemdev_range all = {MEM_GPA, MEM_REGION};
	const struct vmemdev_range plugged[] = {{BLOCK(2), 2 * MEM_BLOCK}, {BLOCK(7), MEM_BLOCK}};

	rig_make_mem(owner, NULL);
	vmemdev_mem_region(&owner->mem, (void *)(uintptr_t)PAGE, &rig->table[1]);
	assert_int_equal(vmemdev_guest_set_regions(&rig->memory.guest, rig->table, 2), 0);
	drv_start(owner, 0);
	mem_want(owner, 8 * MEM_BLOCK);
	report(rig, &all, 1);
	assert_int_equal(rig->host.count, 0);
	mem_expect(owner, GUEST_MEM_PLUG, BLOCK(2), 2, GUEST_MEM_ACK);
	mem_expect(owner, GUEST_MEM_PLUG, BLOCK(7), 1, GUEST_MEM_ACK);
	vmemdev_guest_changed(&rig->memory.guest);
	report(rig, &all, 1);
	assert_int_equal(rig->host.count, 1);
	expect_ranges(host_last(rig), plugged, 2);
	mem_expect(owner, GUEST_MEM_UNPLUG, BLOCK(2), 2, GUEST_MEM_ACK);
	vmemdev_guest_changed(&rig->memory.guest);
	report(rig, &all, 1);
	expect_ranges(host_last(rig), plugged + 1, 1);
	rig_free(owner);
}

/* Random reports against a flag a page. */

#define MAP_PAGES 512u
#define PIECE 32u /* pages */

static const struct guest_region pieces[] = {
	{.gpa = SPARE_GPA + 1 * PIECE * PAGE, .len = 4 * PIECE * PAGE},
	{.gpa = SPARE_GPA + 5 * PIECE * PAGE, .len = PIECE * PAGE, .flags = VMEMDEV_REGION_KEEP},
	{.gpa = SPARE_GPA + 7 * PIECE * PAGE, .len = PIECE * PAGE,
	 .flags = VMEMDEV_REGION_READONLY},
	{.gpa = SPARE_GPA + 8 * PIECE * PAGE, .len = 4 * PIECE * PAGE},
	{.gpa = SPARE_GPA + 13 * PIECE * PAGE, .len = 2 * PIECE * PAGE}};

struct run {
	struct rig *rig;
	struct guest_random random;
	bool memory[MAP_PAGES], expected[MAP_PAGES], seen[MAP_PAGES];
	uint32_t scratch, credit;
	uint64_t told;
};

static void check_report(struct rig *rig, const struct host_call *call)
{
	struct run *run = rig->ctx;

	assert_int_equal(call->op, HOST_REPORT);
	assert_true(call->count <= run->scratch);
	for (uint32_t i = 0; i < call->count; i++) {
		const struct vmemdev_range *range = &call->live[i];

		assert_true(range->gpa % PAGE == 0 && range->len % PAGE == 0 && range->len > 0);
		for (uint64_t at = range->gpa; at < range->gpa + range->len; at += PAGE) {
			uint64_t page = (at - SPARE_GPA) / PAGE;

			assert_true(at >= SPARE_GPA && page < MAP_PAGES);
			assert_true(run->expected[page]);
			run->seen[page] = true;
		}
	}
	run->told++;
	rig->host.answer = (int)guest_random_below(&run->random, 3) == 0 ? VMEMDEV_LATER : 0;
	if (guest_random_below(&run->random, 10) == 0)
		rig->host.answer = VMEMDEV_E_HOST;
}

static void post_random(struct run *run)
{
	struct vmemdev_range ranges[40];
	uint32_t count = 1 + guest_random_below(&run->random, ARRAY_LEN(ranges));

	for (uint32_t i = 0; i < count; i++) {
		uint64_t at = guest_random_below(&run->random, MAP_PAGES) * PAGE;
		uint64_t len = guest_random_below(&run->random, 60) * PAGE, first, end;

		if (guest_random_below(&run->random, 4) == 0)
			at += guest_random_below(&run->random, (uint32_t)PAGE);
		if (guest_random_below(&run->random, 4) == 0)
			len += guest_random_below(&run->random, (uint32_t)PAGE);
		ranges[i] = (struct vmemdev_range){SPARE_GPA + at, len};
		first = (at + PAGE - 1) / PAGE;
		end = (at + len) / PAGE;
		for (uint64_t page = first; page < end && page < MAP_PAGES; page++)
			run->expected[page] |= run->memory[page];
	}
	ranges_post(run->rig, REPORTQ, ranges, count);
}

/* Until nothing waits for the device, for its host, or for being allowed. */
static void serve_random(struct run *run, uint32_t posted)
{
	struct rig *rig = run->rig;
	uint32_t back = 0, turns = 0;

	drv_kick(rig, REPORTQ);
	while (back < posted) {
		assert_true(rig_step(rig, 1 + guest_random_below(&run->random, 5)) >= 0);
		if (rig->host.answer == VMEMDEV_LATER) {
			rig->host.answer = 0;
			assert_int_equal(rig_complete(rig, rig->host.token, 0), 0);
		}
		if (run->credit && !vmemdev_device_pending(rig->dev))
			allow(rig, guest_random_below(&run->random, 50) * PAGE);
		back += drv_used_count(rig, REPORTQ);
		assert_true(++turns < 20000);
	}
}

static void run_model(struct rig *rig, uint32_t scratch, uint32_t rounds)
{
	struct run run = {.rig = rig, .scratch = scratch};
	struct vmemdev_balloon_config config;

	guest_random_seed(&run.random, 600 + scratch);
	rig_show_spare(rig, pieces, ARRAY_LEN(pieces));
	for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
		for (uint64_t k = 0; pieces[i].flags == 0 && k < pieces[i].len / PAGE; k++)
			run.memory[(pieces[i].gpa - SPARE_GPA) / PAGE + k] = true;
	}
	rig_balloon_full_config(rig, &config);
	config.range_count = scratch;
	rig_make_balloon(rig, &config);
	rig->ctx = &run;
	rig->host.hook = check_report;
	drv_start(rig, BALLOON_FULL);
	for (uint32_t i = 0; i < rounds; i++) {
		uint32_t posted = 1 + guest_random_below(&run.random, 3);

		memset(run.expected, 0, sizeof(run.expected));
		memset(run.seen, 0, sizeof(run.seen));
		run.credit = i / 50 % 2;
		allow(rig, run.credit ? 0 : UINT64_MAX);
		for (uint32_t k = 0; k < posted; k++)
			post_random(&run);
		serve_random(&run, posted);
		assert_memory_equal(run.seen, run.expected, sizeof(run.seen));
	}
	assert_true(run.told > rounds);
	assert_int_equal(rig->errors, 0);
	assert_true(counts_of(rig).pages_ignored > 0);
}

/* shows: BAL-REP-05 HOST-BAL-13 HOST-BAL-02 */
static void HOST_BAL_13_random_reports(void **state)
{
	run_model(*state, 256, 500);
}

/* shows: BAL-REP-05 HOST-BAL-13 HOST-BAL-02 */
static void HOST_BAL_13_random_reports_and_a_scratch_of_1(void **state)
{
	run_model(*state, 1, 300);
}

/* shows: BAL-REP-05 HOST-BAL-13 HOST-BAL-02 */
static void HOST_BAL_13_random_reports_and_a_scratch_of_3(void **state)
{
	run_model(*state, 3, 300);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_ALL(BAL_REP_01_32_ranges_of_one_buffer_are_one_call, setup),
		TEST_RINGS(BAL_REP_01_nothing_is_written, setup),
		TEST_RINGS(BAL_REP_01_buffers_at_hand_make_one_call, setup),
		TEST_RINGS(BAL_REP_02_the_host_is_told_before_the_report_is_acknowledged, setup),
		TEST_RINGS(BAL_REP_02_a_report_waits_for_work_that_the_host_has_put_off, setup),
		TEST_ALL(BAL_REP_02_a_reset_calls_the_hosts_work_off, setup),
		TEST_RINGS(HOST_BAL_13_a_range_over_many_holes_is_taken_by_budget, setup),
		TEST_ALL(BAL_REP_03_nothing_is_dropped_that_must_read_as_poison, setup),
		TEST_RINGS(BAL_REP_04_reported_memory_is_memory_at_once, setup),
		TEST_RINGS(BAL_REP_05_odd_ranges_are_cut_inwards, setup),
		TEST_RINGS(BAL_REP_05_in_a_track_ranges_are_cut_to_host_pages, rig_setup_bare),
		TEST_RINGS(HOST_BAL_13_only_what_is_memory_and_not_kept, setup),
		TEST_RINGS(HOST_BAL_13_overlapping_ranges_are_all_right, setup),
		TEST_RINGS(HOST_BAL_14_readable_parts_are_ignored, setup),
		TEST_RINGS(BAL_REP_06_the_balloon_is_as_it_was, rig_setup_bare),
		TEST_RINGS(a_failing_host_still_acknowledges, setup),
		TEST_RINGS(BAL_REP_02_a_scratch_array_of_one_entry, setup_tiny),
		TEST_RINGS(BAL_REP_02_a_long_buffer_is_read_by_budget, setup),
		TEST_RINGS(short_ranges_are_left_alone, setup_min),
		TEST_RINGS(reports_wait_until_they_are_allowed, setup),
		TEST_RINGS(an_allowance_is_not_added_up, setup),
		TEST_RINGS(calls_inside_a_callback_are_refused, setup),
		TEST_RINGS(HOST_BAL_03_reports_follow_the_blocks_of_a_memory_device, setup),
		TEST_RINGS(HOST_BAL_13_random_reports, rig_setup_bare),
		TEST_RINGS(HOST_BAL_13_random_reports_and_a_scratch_of_1, rig_setup_bare),
		TEST_RINGS(HOST_BAL_13_random_reports_and_a_scratch_of_3, rig_setup_bare),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
