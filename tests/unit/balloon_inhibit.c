/* SPDX-License-Identifier: BSD-3-Clause */
/* Times in which nothing may be discarded, and what is made up for afterwards. */
#include "device_move.h"

#define TELL VMEMDEV_BALLOON_F_MUST_TELL_HOST
#define MIB UINT64_C(0x100000)
#define SPARE_PFN ((uint32_t)(SPARE_GPA / PAGE))
#define TRACKED (512 * MIB)
#define OUTSIDE_PFN (SPARE_PFN + (uint32_t)(TRACKED / PAGE)) /* memory without a track */
#define SLICE (4 * MIB) /* what a unit of budget pays for */

struct inhibit {
	struct rig *rig;
	struct vmemdev_balloon_track track;
	uint64_t words[TRACKED / (64 * PAGE) + TRACKED / (2 * MIB)];
};

static const struct guest_region spare = {.gpa = SPARE_GPA, .len = 1024 * MIB};

/* A track of host pages of 1 << @shift bytes, and a scratch array. */
static int setup_track(void **state, uint32_t shift, uint32_t scratch, uint64_t features)
{
	struct inhibit *t = calloc(1, sizeof(*t));
	struct vmemdev_balloon_config config;

	assert_non_null(t);
	t->rig = rig_bare(*state);
	rig_show_spare(t->rig, &spare, 1);
	assert_true(vmemdev_balloon_track_words(TRACKED, shift) <= ARRAY_LEN(t->words));
	t->track = (struct vmemdev_balloon_track){
		.gpa = SPARE_GPA, .len = TRACKED, .words = t->words, .frame_shift = shift};
	rig_balloon_full_config(t->rig, &config);
	config.must_tell_host = true;
	config.tracks = &t->track;
	config.track_count = 1;
	config.range_count = scratch;
	rig_make_balloon(t->rig, &config);
	drv_start(t->rig, BALLOON_FULL | features);
	rig_run(t->rig);
	host_forget(t->rig);
	*state = t;
	return 0;
}

static int setup(void **state)
{
	return setup_track(state, 21, VMEMDEV_BALLOON_RANGES, TELL);
}

static int setup_tiny(void **state)
{
	return setup_track(state, 16, 1, TELL);
}

static int setup_huge(void **state)
{
	return setup_track(state, 26, VMEMDEV_BALLOON_RANGES, TELL);
}

static int setup_silent(void **state)
{
	return setup_track(state, 21, VMEMDEV_BALLOON_RANGES, 0);
}

static int teardown(void **state)
{
	struct inhibit *t = *state;

	rig_free(t->rig);
	free(t);
	return 0;
}

static void inhibit(struct inhibit *t)
{
	assert_int_equal(vmemdev_balloon_inhibit(&t->rig->balloon), 0);
}

static void uninhibit(struct inhibit *t)
{
	assert_int_equal(vmemdev_balloon_uninhibit(&t->rig->balloon), 0);
}

static struct vmemdev_balloon_counts counts_of(struct inhibit *t)
{
	struct vmemdev_balloon_counts counts;

	vmemdev_balloon_get_counts(&t->rig->balloon, &counts);
	return counts;
}

static void send_run(struct inhibit *t, uint16_t queue, uint32_t pfn, uint32_t count)
{
	while (count > 0) {
		uint32_t pfns[256], now = count < 256 ? count : 256;

		for (uint32_t i = 0; i < now; i++)
			pfns[i] = pfn + i;
		pages_send(t->rig, queue, pfns, now);
		pfn += now;
		count -= now;
	}
}

/* The same, all of it in the ring at once. */
static void send_together(struct inhibit *t, uint32_t pfn, uint32_t count)
{
	uint32_t pfns[256];

	for (uint32_t i = 0; i < count; i += 256) {
		for (uint32_t k = 0; k < 256; k++)
			pfns[k] = pfn + i + k;
		pages_post(t->rig, INFLATEQ, pfns, 256);
	}
	drv_kick(t->rig, INFLATEQ);
	assert_int_equal(rig_run(t->rig), 0);
	assert_int_equal(drv_used_count(t->rig, INFLATEQ), count / 256);
}

static void send_report(struct inhibit *t, uint64_t gpa, uint64_t len)
{
	const struct vmemdev_range range = {gpa, len};
	struct guest_used used;

	ranges_post(t->rig, REPORTQ, &range, 1);
	drv_kick(t->rig, REPORTQ);
	assert_int_equal(rig_run(t->rig), 0);
	assert_true(drv_used(t->rig, REPORTQ, &used));
	assert_int_equal(used.len, 0);
}

static bool told(const struct inhibit *t, uint64_t gpa, uint64_t len)
{
	uint64_t bytes = 0;

	for (uint32_t n = 0; n < t->rig->host.count; n++) {
		const struct host_call *call = host_call(t->rig, n);

		for (uint32_t i = 0; call->op == HOST_INFLATE && i < call->count; i++) {
			const struct vmemdev_range *range = &call->ranges[i];

			if (range->gpa >= gpa && range->gpa + range->len <= gpa + len)
				bytes += range->len;
		}
	}
	return bytes == len;
}

static void inhibitions_nest(void **state)
{
	struct inhibit *t = *state;

	assert_int_equal(vmemdev_balloon_uninhibit(&t->rig->balloon), VMEMDEV_E_STATE);
	for (uint32_t i = 0; i < 3; i++)
		inhibit(t);
	send_run(t, INFLATEQ, SPARE_PFN, 512);
	for (uint32_t i = 0; i < 2; i++) {
		uninhibit(t);
		assert_int_equal(rig_run(t->rig), 0);
		assert_int_equal(t->rig->host.count, 0);
	}
	uninhibit(t);
	assert_int_equal(t->rig->host.count, 0);
	assert_true(vmemdev_device_pending(t->rig->dev));
	assert_int_equal(rig_run(t->rig), 0);
	assert_true(told(t, SPARE_GPA, 2 * MIB));
	assert_int_equal(vmemdev_balloon_uninhibit(&t->rig->balloon), VMEMDEV_E_STATE);
	/* a call too many has changed nothing */
	host_forget(t->rig);
	send_run(t, INFLATEQ, SPARE_PFN + 512, 512);
	assert_true(told(t, SPARE_GPA + 2 * MIB, 2 * MIB));
}

/* The guest does not notice; and what was given is discarded once it may be. */
/* shows: BAL-INF-04 BAL-INF-02 */
static void BAL_INF_04_what_was_given_meanwhile_is_discarded_afterwards(void **state)
{
	struct inhibit *t = *state;
	struct vmemdev_range given;

	send_run(t, INFLATEQ, SPARE_PFN, 512);
	assert_true(told(t, SPARE_GPA, 2 * MIB));
	host_forget(t->rig);
	inhibit(t);
	send_run(t, INFLATEQ, SPARE_PFN + 512, 512 + 100);
	assert_int_equal(t->rig->host.count, 0);
	assert_true(vmemdev_balloon_given(&t->rig->balloon, 0, &given));
	assert_true(given.gpa == SPARE_GPA && given.len == (2 * 512 + 100) * PAGE);
	assert_true(counts_of(t).pages_inhibited >= 512);
	assert_int_equal(counts_of(t).pages_inflated, 512);
	uninhibit(t);
	assert_int_equal(rig_run(t->rig), 0);
	/* also what was discarded before: it may have been touched meanwhile */
	assert_true(told(t, SPARE_GPA, 4 * MIB));
	assert_int_equal(counts_of(t).pages_inflated, 3 * 512);
	/* the rest of a host page that was begun then */
	host_forget(t->rig);
	send_run(t, INFLATEQ, SPARE_PFN + 1024 + 100, 412);
	assert_true(told(t, SPARE_GPA + 4 * MIB, 2 * MIB));
}

/* shows: BAL-DEF-02 */
static void BAL_DEF_02_what_was_taken_back_meanwhile_is_left_alone(void **state)
{
	struct inhibit *t = *state;

	inhibit(t);
	send_run(t, INFLATEQ, SPARE_PFN, 4 * 512);
	send_run(t, DEFLATEQ, SPARE_PFN + 512 + 7, 1);
	send_run(t, DEFLATEQ, SPARE_PFN + 3 * 512, 512);
	assert_true(host_count(t->rig, HOST_DEFLATE) > 0);
	host_forget(t->rig);
	uninhibit(t);
	assert_int_equal(rig_run(t->rig), 0);
	assert_true(told(t, SPARE_GPA, 2 * MIB));
	assert_true(told(t, SPARE_GPA + 4 * MIB, 2 * MIB));
	assert_int_equal(counts_of(t).pages_inflated, 2 * 512);
}

/* shows: BAL-INF-03 */
static void BAL_INF_03_without_the_promise_nothing_is_discarded_later(void **state)
{
	struct inhibit *t = *state;

	inhibit(t);
	send_together(t, SPARE_PFN, 1024);
	uninhibit(t);
	assert_int_equal(rig_run(t->rig), 0);
	assert_int_equal(t->rig->host.count, 0);
	assert_int_equal(counts_of(t).pages_inhibited, 1024);
	send_together(t, SPARE_PFN + 1024, 1024);
	assert_true(told(t, SPARE_GPA + 4 * MIB, 4 * MIB));
	assert_int_equal(counts_of(t).pages_inflated, 1024);
}

/* Memory that no track remembers, and reports: they are just left alone. */
/* shows: BAL-INF-03 BAL-REP-02 */
static void BAL_REP_02_reports_and_untracked_pages_are_left_alone(void **state)
{
	struct inhibit *t = *state;

	inhibit(t);
	send_run(t, INFLATEQ, OUTSIDE_PFN, 10);
	send_report(t, SPARE_GPA + 1000 * MIB, MIB);
	send_report(t, SPARE_GPA + 4 * MIB, 4 * MIB);
	assert_int_equal(t->rig->host.count, 0);
	assert_int_equal(counts_of(t).pages_inhibited, 10 + 5 * 256);
	assert_int_equal(counts_of(t).pages_reported, 0);
	uninhibit(t);
	assert_int_equal(rig_run(t->rig), 0);
	assert_int_equal(t->rig->host.count, 0);
	send_run(t, INFLATEQ, OUTSIDE_PFN, 10);
	assert_int_equal(t->rig->host.count, 1);
	send_report(t, SPARE_GPA + 4 * MIB, 4 * MIB);
	assert_int_equal(t->rig->host.count, 2);
	assert_int_equal(counts_of(t).pages_inhibited, 10 + 5 * 256);
}

/* The guest asks for its pages back as ever: the host must bring them back. */
/* shows: BAL-DEF-02 */
static void BAL_DEF_02_deflates_reach_the_host_all_the_same(void **state)
{
	struct inhibit *t = *state;

	send_run(t, INFLATEQ, SPARE_PFN, 512);
	host_forget(t->rig);
	inhibit(t);
	send_run(t, DEFLATEQ, SPARE_PFN + 3, 2);
	assert_int_equal(t->rig->host.count, 1);
	assert_int_equal(host_last(t->rig)->op, HOST_DEFLATE);
	assert_true(host_last(t->rig)->ranges[0].gpa <= SPARE_GPA + 3 * PAGE);
	assert_int_equal(counts_of(t).pages_deflated, 2);
}

/* Runs of one unit each until nothing is left. Returns how many. */
static uint32_t run_by_units(struct inhibit *t)
{
	uint32_t units = 0;
	uint64_t before = counts_of(t).pages_inflated;
	int left;

	do {
		left = rig_step(t->rig, 1);
		assert_true(left == 0 || left == 1);
		assert_true((counts_of(t).pages_inflated - before) * PAGE <= SLICE);
		before = counts_of(t).pages_inflated;
		assert_true(++units < 1000);
	} while (left == 1);
	return units;
}

static void what_is_made_up_for_is_paid_by_budget(void **state)
{
	struct inhibit *t = *state;
	uint32_t units;

	inhibit(t);
	/* every other host page, all over the track */
	for (uint32_t i = 0; i < TRACKED / (4 * MIB); i++)
		send_run(t, INFLATEQ, SPARE_PFN + i * 1024, 512);
	uninhibit(t);
	units = run_by_units(t);
	assert_true(units >= TRACKED / SLICE);
	assert_true(units <= TRACKED / SLICE + 2);
	assert_true(counts_of(t).pages_inflated * PAGE == TRACKED / 2);
	assert_false(vmemdev_device_pending(t->rig->dev));
	/* once more: nothing has changed since */
	host_forget(t->rig);
	assert_int_equal(rig_run(t->rig), 0);
	assert_int_equal(t->rig->host.count, 0);
}

/* A unit pays for at least one host page, however large. */
static void a_host_page_above_the_slice_is_a_unit(void **state)
{
	struct inhibit *t = *state;
	uint64_t before = 0;

	inhibit(t);
	for (uint32_t i = 0; i < 3; i++)
		send_run(t, INFLATEQ, SPARE_PFN + i * 0x4000, 0x4000 - (i == 1));
	uninhibit(t);
	while (rig_step(t->rig, 1) == 1) {
		assert_true((counts_of(t).pages_inflated - before) <= 0x4000);
		before = counts_of(t).pages_inflated;
	}
	assert_true(told(t, SPARE_GPA, 64 * MIB));
	assert_true(told(t, SPARE_GPA + 128 * MIB, 64 * MIB));
	assert_true(counts_of(t).pages_inflated == 2 * 0x4000);
}

/* Each of them put off, in scratch of one entry: each is still handed over once. */
static void what_is_made_up_for_goes_on_after_work_that_was_put_off(void **state)
{
	struct inhibit *t = *state;

	inhibit(t);
	for (uint32_t i = 0; i < 20; i++)
		send_run(t, INFLATEQ, SPARE_PFN + i * 32, 16);
	uninhibit(t);
	t->rig->host.answer = VMEMDEV_LATER;
	assert_int_equal(rig_run(t->rig), 0);
	for (uint32_t i = 0; i < 20; i++) {
		assert_int_equal(t->rig->host.count, i + 1);
		assert_int_equal(host_last(t->rig)->count, 1);
		assert_true(host_last(t->rig)->ranges[0].gpa == SPARE_GPA + i * 32 * PAGE);
		assert_true(host_last(t->rig)->ranges[0].len == 16 * PAGE);
		assert_int_equal(rig_complete(t->rig, t->rig->host.token, 0), 0);
		assert_int_equal(rig_run(t->rig), 0);
	}
	assert_int_equal(t->rig->host.count, 20);
	assert_false(vmemdev_device_pending(t->rig->dev));
}

/* Two regions of the table that meet in the middle of a host page are one memory. */
static void show_two_regions(struct inhibit *t, uint64_t first)
{
	const struct guest_region two[] = {
		{.gpa = SPARE_GPA, .len = first},
		{.gpa = SPARE_GPA + first, .len = 1024 * MIB - first},
	};

	rig_show_spare(t->rig, two, ARRAY_LEN(two));
}

/* shows: BAL-INF-04 BAL-REP-05 */
static void BAL_INF_04_a_host_page_of_two_regions_is_made_up_for(void **state)
{
	struct inhibit *t = *state;

	show_two_regions(t, 3 * MIB);
	inhibit(t);
	send_run(t, INFLATEQ, SPARE_PFN, (uint32_t)(8 * MIB / PAGE));
	uninhibit(t);
	assert_int_equal(rig_run(t->rig), 0);
	assert_true(told(t, SPARE_GPA, 8 * MIB));
	host_forget(t->rig);
	send_report(t, SPARE_GPA + 8 * MIB, 8 * MIB);
	show_two_regions(t, 19 * MIB);
	send_report(t, SPARE_GPA + 16 * MIB, 8 * MIB);
	assert_true(host_last(t->rig)->ranges[0].gpa == SPARE_GPA + 16 * MIB);
	assert_true(host_last(t->rig)->ranges[0].len == 8 * MIB);
}

/* shows: BAL-INF-04 */
static void BAL_INF_04_what_waits_for_the_host_goes_on_at_a_host_page(void **state)
{
	const uint64_t page = 16 * PAGE;
	struct inhibit *t = *state;
	struct guest_region three[] = {
		{.gpa = SPARE_GPA, .len = MIB + PAGE},
		{.gpa = SPARE_GPA + MIB + PAGE, .len = PAGE, .flags = VMEMDEV_REGION_KEEP},
		{.gpa = SPARE_GPA + MIB + 2 * PAGE, .len = 1024 * MIB - MIB - 2 * PAGE},
	};

	inhibit(t);
	send_run(t, INFLATEQ, SPARE_PFN, (uint32_t)(8 * MIB / PAGE));
	rig_show_spare(t->rig, three, ARRAY_LEN(three));
	uninhibit(t);
	t->rig->host.answer = VMEMDEV_LATER;
	do
		assert_int_equal(rig_run(t->rig), 0);
	while (rig_complete(t->rig, t->rig->host.token, 0) == 0);
	/* but for the one that must be kept in part */
	assert_true(told(t, SPARE_GPA, MIB));
	assert_true(told(t, SPARE_GPA + MIB + page, 7 * MIB - page));
}

/* shows: HOST-BAL-03 */
static void HOST_BAL_03_what_the_host_takes_away_is_not_given_up(void **state)
{
	const struct vmemdev_range gone = {SPARE_GPA + MIB, 2 * MIB};
	const struct vmemdev_range odd = {SPARE_GPA + 1, PAGE}, over = {2 * PAGE, UINT64_MAX - 4095};
	const struct vmemdev_range all = {0, UINT64_MAX - 4095};
	struct vmemdev_range range;
	struct inhibit *t = *state;

	inhibit(t);
	send_run(t, INFLATEQ, SPARE_PFN, (uint32_t)(4 * MIB / PAGE));
	assert_int_equal(vmemdev_balloon_forget(&t->rig->balloon, NULL), VMEMDEV_E_INVAL);
	assert_int_equal(vmemdev_balloon_forget(&t->rig->balloon, &odd), VMEMDEV_E_ALIGN);
	assert_int_equal(vmemdev_balloon_forget(&t->rig->balloon, &over), VMEMDEV_E_INVAL);
	assert_int_equal(vmemdev_balloon_forget(&t->rig->balloon, &gone), 0);
	assert_true(vmemdev_balloon_given(&t->rig->balloon, 0, &range));
	assert_true(range.gpa == SPARE_GPA && range.len == MIB);
	assert_true(vmemdev_balloon_given(&t->rig->balloon, SPARE_GPA + MIB, &range));
	assert_true(range.gpa == SPARE_GPA + 3 * MIB && range.len == MIB);
	uninhibit(t);
	assert_int_equal(rig_run(t->rig), 0);
	assert_int_equal(t->rig->host.count, 0);
	/* what it had is counted right: the host page is complete when it is given again */
	send_run(t, INFLATEQ, SPARE_PFN + (uint32_t)(MIB / PAGE), (uint32_t)(MIB / PAGE));
	assert_true(told(t, SPARE_GPA, 2 * MIB));
	assert_int_equal(vmemdev_balloon_forget(&t->rig->balloon, &all), 0);
	assert_false(vmemdev_balloon_given(&t->rig->balloon, 0, &range));
}

/* The host takes the rest away while it is told of the first part. */
static void show_the_first_region_alone(struct rig *rig, const struct host_call *call)
{
	(void)call;
	assert_int_equal(vmemdev_guest_set_regions(&rig->memory.guest, rig->memory.regions, 1), 0);
}

/* shows: HOST-BAL-03 BAL-INF-04 */
static void HOST_BAL_03_memory_changes_while_it_is_made_up_for(void **state)
{
	const uint32_t frame = 16;
	struct inhibit *t = *state;

	inhibit(t);
	send_run(t, INFLATEQ, SPARE_PFN + frame, frame);
	send_run(t, INFLATEQ, SPARE_PFN + 3 * frame, frame);
	assert_int_equal(t->rig->host.count, 0);
	uninhibit(t);
	t->rig->host.hook = show_the_first_region_alone;
	assert_int_equal(rig_run(t->rig), 0);
	assert_int_equal(t->rig->host.count, 1);
	assert_true(told(t, SPARE_GPA + frame * PAGE, frame * PAGE));
}

static void a_failing_host_is_counted_and_not_asked_again(void **state)
{
	struct inhibit *t = *state;
	uint64_t failures;
	uint32_t calls;

	inhibit(t);
	send_run(t, INFLATEQ, SPARE_PFN, 2 * 512);
	uninhibit(t);
	t->rig->host.answer = VMEMDEV_E_HOST;
	assert_int_equal(rig_run(t->rig), 0);
	calls = t->rig->host.count;
	failures = counts_of(t).host_failures;
	assert_true(calls > 0 && failures == calls);
	t->rig->host.answer = 0;
	assert_int_equal(rig_run(t->rig), 0);
	assert_int_equal(t->rig->host.count, calls);
	/* the queues go on */
	send_run(t, INFLATEQ, SPARE_PFN + 2 * 512, 512);
	assert_int_equal(t->rig->host.count, calls + 1);
}

/* shows: BAL-DEF-02 */
static void BAL_DEF_02_a_deflate_waits_for_what_is_made_up_for(void **state)
{
	struct inhibit *t = *state;
	const uint32_t pfn = SPARE_PFN;

	inhibit(t);
	send_run(t, INFLATEQ, SPARE_PFN, 512);
	uninhibit(t);
	t->rig->host.answer = VMEMDEV_LATER;
	assert_int_equal(rig_run(t->rig), 0);
	assert_int_equal(t->rig->host.count, 1);
	pages_post(t->rig, DEFLATEQ, &pfn, 1);
	drv_kick(t->rig, DEFLATEQ);
	assert_int_equal(rig_run(t->rig), 0);
	assert_int_equal(drv_used_count(t->rig, DEFLATEQ), 0);
	assert_int_equal(t->rig->host.count, 1);
	t->rig->host.answer = 0;
	assert_int_equal(rig_complete(t->rig, t->rig->host.token, 0), 0);
	assert_int_equal(rig_run(t->rig), 0);
	assert_int_equal(drv_used_count(t->rig, DEFLATEQ), 1);
	assert_int_equal(t->rig->host.count, 2);
	assert_int_equal(host_last(t->rig)->op, HOST_DEFLATE);
}

/* shows: RST-03 BAL-GEN-09 */
static void RST_03_a_reset_calls_off_what_is_made_up_for(void **state)
{
	struct inhibit *t = *state;
	uint64_t token;

	inhibit(t);
	send_run(t, INFLATEQ, SPARE_PFN, 40 * 512);
	uninhibit(t);
	t->rig->host.answer = VMEMDEV_LATER;
	assert_int_equal(rig_step(t->rig, 1), 0);
	token = t->rig->host.token;
	drv_reset(t->rig);
	assert_int_equal(t->rig->host.cancels, 1);
	assert_true(t->rig->host.cancelled == token);
	assert_int_equal(rig_complete(t->rig, token, 0), VMEMDEV_E_STATE);
	t->rig->host.answer = 0;
	drv_start(t->rig, BALLOON_FULL | TELL);
	host_forget(t->rig);
	assert_int_equal(rig_run(t->rig), 0);
	assert_int_equal(t->rig->host.count, 0);
}

/* shows: BAL-GEN-09 */
static void BAL_GEN_09_a_reset_leaves_nothing_to_make_up_for(void **state)
{
	struct inhibit *t = *state;

	inhibit(t);
	send_run(t, INFLATEQ, SPARE_PFN, 512);
	drv_reset(t->rig);
	drv_start(t->rig, BALLOON_FULL | TELL);
	/* the host has not taken it back: it still counts */
	send_run(t, INFLATEQ, SPARE_PFN + 512, 512);
	assert_int_equal(t->rig->host.count, 0);
	uninhibit(t);
	assert_int_equal(rig_run(t->rig), 0);
	assert_true(told(t, SPARE_GPA + 2 * MIB, 2 * MIB));
	assert_int_equal(counts_of(t).pages_inflated, 512);
}

/* Inhibited again before all is made up for: it stops, and starts over afterwards. */
static void inhibited_again_while_it_is_made_up_for(void **state)
{
	struct inhibit *t = *state;

	inhibit(t);
	send_run(t, INFLATEQ, SPARE_PFN, (uint32_t)(TRACKED / PAGE));
	uninhibit(t);
	assert_int_equal(rig_step(t->rig, 1), 1);
	assert_true(counts_of(t).pages_inflated > 0);
	inhibit(t);
	host_forget(t->rig);
	assert_int_equal(rig_run(t->rig), 0);
	assert_int_equal(t->rig->host.count, 0);
	send_run(t, DEFLATEQ, SPARE_PFN, 512);
	host_forget(t->rig);
	uninhibit(t);
	assert_int_equal(rig_run(t->rig), 0);
	assert_true(told(t, SPARE_GPA + 2 * MIB, TRACKED - 2 * MIB));
	assert_false(told(t, SPARE_GPA, 2 * MIB));
}

/* Work that is out when the host forbids discards is the host's own to hold back. */
static void work_that_is_put_off_stays_the_hosts(void **state)
{
	struct inhibit *t = *state;
	uint32_t pfns[256];

	send_run(t, INFLATEQ, SPARE_PFN, 256);
	for (uint32_t i = 0; i < 256; i++)
		pfns[i] = SPARE_PFN + 256 + i;
	pages_post(t->rig, INFLATEQ, pfns, 256);
	drv_kick(t->rig, INFLATEQ);
	t->rig->host.answer = VMEMDEV_LATER;
	assert_int_equal(rig_run(t->rig), 0);
	assert_int_equal(t->rig->host.count, 1);
	inhibit(t);
	assert_int_equal(t->rig->host.cancels, 0);
	assert_int_equal(rig_complete(t->rig, t->rig->host.token, 0), 0);
	assert_int_equal(rig_run(t->rig), 0);
	assert_int_equal(drv_used_count(t->rig, INFLATEQ), 1);
	assert_int_equal(t->rig->host.count, 1);
	send_run(t, INFLATEQ, OUTSIDE_PFN, 1);
	assert_int_equal(t->rig->host.count, 1);
}

/* What is made up for goes by the table of now. */
/* shows: HOST-BAL-01 HOST-BAL-02 */
static void HOST_BAL_02_what_must_be_kept_by_now_is_kept(void **state)
{
	static const struct guest_region regions[] = {
		{.gpa = SPARE_GPA, .len = 2 * MIB},
		{.gpa = SPARE_GPA + 2 * MIB, .len = PAGE, .flags = VMEMDEV_REGION_KEEP},
		{.gpa = SPARE_GPA + 2 * MIB + PAGE, .len = 4 * MIB - PAGE}};
	struct inhibit *t = *state;

	inhibit(t);
	send_run(t, INFLATEQ, SPARE_PFN, 4 * 512);
	rig_show_spare(t->rig, regions, ARRAY_LEN(regions));
	uninhibit(t);
	assert_int_equal(rig_run(t->rig), 0);
	assert_true(told(t, SPARE_GPA, 2 * MIB));
	assert_true(told(t, SPARE_GPA + 4 * MIB, 2 * MIB));
	assert_int_equal(counts_of(t).pages_inflated, 2 * 512);
}

static void call_from_inside(struct rig *rig, const struct host_call *call)
{
	(void)call;
	assert_int_equal(vmemdev_balloon_inhibit(&rig->balloon), VMEMDEV_E_STATE);
	assert_int_equal(vmemdev_balloon_uninhibit(&rig->balloon), VMEMDEV_E_STATE);
	rig->ctx = rig;
}

static void calls_inside_a_callback_are_refused(void **state)
{
	struct inhibit *t = *state;

	t->rig->host.hook = call_from_inside;
	send_run(t, INFLATEQ, OUTSIDE_PFN, 1);
	assert_ptr_equal(t->rig->ctx, t->rig);
	t->rig->ctx = NULL;
	send_run(t, DEFLATEQ, OUTSIDE_PFN, 1);
	assert_ptr_equal(t->rig->ctx, t->rig);
}

/* The host may forbid discards at any time: before there is a driver, say. */
static void without_a_driver(void **state)
{
	struct inhibit *t = *state;

	drv_reset(t->rig);
	inhibit(t);
	assert_int_equal(rig_run(t->rig), 0);
	drv_start(t->rig, BALLOON_FULL | TELL);
	send_run(t, INFLATEQ, SPARE_PFN, 512);
	assert_int_equal(t->rig->host.count, 0);
	drv_reset(t->rig);
	uninhibit(t);
	assert_int_equal(rig_run(t->rig), 0);
	assert_int_equal(t->rig->host.count, 0);
}

#define TEST_INHIBIT(f, setup) \
	{#f " (split)", f, setup, teardown, (void *)&ways[0]}, \
	{#f " (packed)", f, setup, teardown, (void *)&ways[1]}

static void move(struct inhibit *t)
{
	struct vmemdev_balloon_config config;
	size_t size = vmemdev_device_save_size(t->rig->dev), len;
	uint8_t *record = malloc(size);

	assert_non_null(record);
	assert_int_equal(vmemdev_device_save(t->rig->dev, record, size, &len), 0);
	rig_balloon_full_config(t->rig, &config);
	config.must_tell_host = true;
	config.tracks = &t->track;
	config.track_count = 1;
	rig_fresh_balloon(t->rig, &config);
	assert_int_equal(vmemdev_device_load(t->rig->dev, record, len), 0);
	free(record);
}

/* Inhibitions are the host's to redo, what is to be made up for is the device's to know. */
/* shows: BAL-INF-04 */
static void BAL_INF_04_what_is_to_be_made_up_for_moves(void **state)
{
	struct inhibit *t = *state;

	inhibit(t);
	send_run(t, INFLATEQ, SPARE_PFN, 1024);
	uninhibit(t);
	move(t);
	assert_int_equal(t->rig->host.count, 0);
	assert_int_equal(rig_run(t->rig), 0);
	assert_true(told(t, SPARE_GPA, 4 * MIB));
	/* that was all: nothing is left for another move */
	host_forget(t->rig);
	move(t);
	assert_int_equal(rig_run(t->rig), 0);
	assert_int_equal(t->rig->host.count, 0);
}

/* shows: BAL-INF-04 */
static void BAL_INF_04_a_host_that_still_forbids_discards_says_so_again(void **state)
{
	struct inhibit *t = *state;

	inhibit(t);
	send_run(t, INFLATEQ, SPARE_PFN, 1024);
	move(t);
	inhibit(t);
	assert_int_equal(rig_run(t->rig), 0);
	send_run(t, INFLATEQ, SPARE_PFN + 1024, 512);
	assert_int_equal(t->rig->host.count, 0);
	/* where it was moved to, another host may have no reason to */
	move(t);
	assert_int_equal(rig_run(t->rig), 0);
	assert_true(told(t, SPARE_GPA, 6 * MIB));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_INHIBIT(inhibitions_nest, setup),
		TEST_INHIBIT(BAL_INF_04_what_was_given_meanwhile_is_discarded_afterwards, setup),
		TEST_INHIBIT(BAL_DEF_02_what_was_taken_back_meanwhile_is_left_alone, setup),
		TEST_INHIBIT(BAL_INF_03_without_the_promise_nothing_is_discarded_later,
			     setup_silent),
		TEST_INHIBIT(BAL_REP_02_reports_and_untracked_pages_are_left_alone, setup),
		TEST_INHIBIT(BAL_DEF_02_deflates_reach_the_host_all_the_same, setup),
		TEST_INHIBIT(what_is_made_up_for_is_paid_by_budget, setup),
		TEST_INHIBIT(a_host_page_above_the_slice_is_a_unit, setup_huge),
		TEST_INHIBIT(what_is_made_up_for_goes_on_after_work_that_was_put_off, setup_tiny),
		TEST_INHIBIT(BAL_INF_04_a_host_page_of_two_regions_is_made_up_for, setup),
		TEST_INHIBIT(BAL_INF_04_what_waits_for_the_host_goes_on_at_a_host_page,
			     setup_tiny),
		TEST_INHIBIT(HOST_BAL_03_what_the_host_takes_away_is_not_given_up, setup),
		TEST_INHIBIT(HOST_BAL_03_memory_changes_while_it_is_made_up_for, setup_tiny),
		TEST_INHIBIT(a_failing_host_is_counted_and_not_asked_again, setup),
		TEST_INHIBIT(BAL_DEF_02_a_deflate_waits_for_what_is_made_up_for, setup),
		TEST_INHIBIT(RST_03_a_reset_calls_off_what_is_made_up_for, setup),
		TEST_INHIBIT(BAL_GEN_09_a_reset_leaves_nothing_to_make_up_for, setup),
		TEST_INHIBIT(inhibited_again_while_it_is_made_up_for, setup),
		TEST_INHIBIT(work_that_is_put_off_stays_the_hosts, setup),
		TEST_INHIBIT(HOST_BAL_02_what_must_be_kept_by_now_is_kept, setup),
		TEST_INHIBIT(calls_inside_a_callback_are_refused, setup),
		TEST_INHIBIT(without_a_driver, setup),
		TEST_INHIBIT(BAL_INF_04_what_is_to_be_made_up_for_moves, setup),
		TEST_INHIBIT(BAL_INF_04_a_host_that_still_forbids_discards_says_so_again, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
