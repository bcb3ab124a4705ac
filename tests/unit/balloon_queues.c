/* SPDX-License-Identifier: BSD-3-Clause */
/* Which queue is which: by the text's numbers, and by those of Linux, which leaves none out. */
#include "device_rig.h"

#define OPTIONAL 3 /* queues that come with a feature */
#define SUBSETS (1u << OPTIONAL)

static const uint64_t features[OPTIONAL] = {
	VMEMDEV_BALLOON_F_STATS_VQ, VMEMDEV_BALLOON_F_FREE_PAGE_HINT,
	VMEMDEV_BALLOON_F_PAGE_REPORTING};

/* One way of making a balloon and of driving it. Subsets have a bit for each of features. */
struct plan {
	uint32_t offered, accepted;
	enum guest_numbering numbering;
	bool text_only;
};

static uint64_t features_in(uint32_t subset)
{
	uint64_t bits = 0;

	for (uint32_t i = 0; i < OPTIONAL; i++)
		bits |= subset >> i & 1 ? features[i] : 0;
	return bits;
}

static uint32_t size_of(uint32_t subset)
{
	return (subset & 1) + (subset >> 1 & 1) + (subset >> 2 & 1);
}

/* The plan's balloon takes the place of the one before. */
static void make(struct rig *rig, const struct plan *plan)
{
	struct vmemdev_balloon_config config;

	rig_balloon_config(rig, &config);
	config.stats = plan->offered & 1;
	config.hinting = plan->offered >> 1 & 1;
	config.reporting = plan->offered >> 2 & 1;
	config.text_queues_only = plan->text_only;
	if (rig->connected)
		guest_driver_close(&rig->driver);
	guest_place_release(&rig->memory, 0);
	rig_make_balloon(rig, &config);
}

/* Jobs of the queues. Each is done with a page of its own, so that no other's is taken for it. */

static void inflate_and_deflate(struct rig *rig)
{
	const uint32_t given = PLAY_PFN + 100, taken = PLAY_PFN + 200;

	host_forget(rig);
	pages_send(rig, INFLATEQ, &given, 1);
	pages_send(rig, DEFLATEQ, &taken, 1);
	assert_int_equal(rig->host.count, 2);
	assert_int_equal(host_call(rig, 0)->op, HOST_INFLATE);
	assert_true(host_call(rig, 0)->ranges[0].gpa == (uint64_t)given * PAGE);
	assert_int_equal(host_call(rig, 1)->op, HOST_DEFLATE);
	assert_true(host_call(rig, 1)->ranges[0].gpa == (uint64_t)taken * PAGE);
}

static void send_stats(struct rig *rig, uint16_t queue, uint64_t value)
{
	const struct vmemdev_buf buf = {.gpa = DATA_GPA, .len = 10, .writable = 0};
	uint8_t entry[10];

	put16(entry, VMEMDEV_BALLOON_UNUSED);
	put64(entry + 2, value);
	assert_true(guest_write(&rig->memory, DATA_GPA, entry, sizeof(entry)));
	drv_add(rig, queue, &buf, 1);
	drv_kick(rig, queue);
	assert_int_equal(rig_run(rig), 0);
}

static void give_stats(struct rig *rig, uint16_t queue)
{
	struct vmemdev_balloon_stats stats;

	send_stats(rig, queue, 12345);
	vmemdev_balloon_get_stats(&rig->balloon, &stats);
	assert_true(stats.valid);
	assert_int_equal(stats.present, 1u << VMEMDEV_BALLOON_UNUSED);
	assert_true(stats.value[VMEMDEV_BALLOON_UNUSED] == 12345);
	assert_int_equal(drv_used_count(rig, queue), 0);
	assert_int_equal(vmemdev_balloon_poll_stats(&rig->balloon), 0);
	assert_int_equal(rig_run(rig), 0);
	assert_int_equal(drv_used_count(rig, queue), 1);
}

/* A command ID, and one page under it. */
static void send_hint(struct rig *rig, uint16_t queue, uint64_t page)
{
	const struct vmemdev_buf command = {.gpa = DATA_GPA + 64, .len = 4, .writable = 0};
	const struct vmemdev_buf hint = {.gpa = page, .len = PAGE, .writable = 1};

	guest_store32(&rig->memory, command.gpa,
		      guest_driver_config32(&rig->driver, BAL_CMD_ID));
	drv_add(rig, queue, &command, 1);
	drv_add(rig, queue, &hint, 1);
	drv_kick(rig, queue);
	assert_int_equal(rig_run(rig), 0);
}

static void give_hint(struct rig *rig, uint16_t queue)
{
	host_forget(rig);
	assert_int_equal(vmemdev_balloon_hint_start(&rig->balloon), 0);
	send_hint(rig, queue, PLAY_GPA + 300 * PAGE);
	assert_int_equal(host_count(rig, HOST_HINT), 1);
	assert_int_equal(host_last(rig)->op, HOST_HINT);
	assert_true(host_last(rig)->ranges[0].gpa == PLAY_GPA + 300 * PAGE);
	assert_int_equal(drv_used_count(rig, queue), 2);
	assert_int_equal(vmemdev_balloon_hint_done(&rig->balloon), 0);
}

static void send_report(struct rig *rig, uint16_t queue, uint64_t page)
{
	const struct vmemdev_buf buf = {.gpa = page, .len = PAGE, .writable = 1};

	drv_add(rig, queue, &buf, 1);
	drv_kick(rig, queue);
	assert_int_equal(rig_run(rig), 0);
}

static void give_report(struct rig *rig, uint16_t queue)
{
	host_forget(rig);
	send_report(rig, queue, PLAY_GPA + 400 * PAGE);
	assert_int_equal(rig->host.count, 1);
	assert_int_equal(host_last(rig)->op, HOST_REPORT);
	assert_true(host_last(rig)->ranges[0].gpa == PLAY_GPA + 400 * PAGE);
	assert_int_equal(drv_used_count(rig, queue), 1);
}

static void (*const jobs[OPTIONAL])(struct rig *rig, uint16_t queue) = {
	give_stats, give_hint, give_report};

/* Each queue of an accepted feature does what it is for. */
static void expect_jobs(struct rig *rig, enum guest_numbering numbering)
{
	inflate_and_deflate(rig);
	for (uint32_t i = 0; i < OPTIONAL; i++) {
		uint16_t queue = drv_role(rig, (enum guest_role)(GUEST_STATS + i), numbering);

		if (queue != VMEMDEV_NO_QUEUE)
			jobs[i](rig, queue);
	}
	assert_int_equal(rig->errors, 0);
}

static bool is_shown(const struct plan *plan, uint16_t queue)
{
	if (queue < GUEST_STATS)
		return true;
	if (!plan->text_only && queue < GUEST_STATS + size_of(plan->offered))
		return true;
	return queue < GUEST_ROLES && (plan->offered >> (queue - GUEST_STATS) & 1);
}

/* Whether the plan's driver finds all queues that it looks for. */
static bool can_work(const struct plan *plan)
{
	bool can = (plan->accepted & ~plan->offered) == 0;

	for (int role = GUEST_STATS; role < GUEST_ROLES; role++) {
		uint16_t queue = guest_balloon_queue(features_in(plan->accepted),
						     (enum guest_role)role, plan->numbering);

		can = can && (queue == VMEMDEV_NO_QUEUE || is_shown(plan, queue));
	}
	return can;
}

static void expect_sizes(struct rig *rig, const struct plan *plan)
{
	for (uint16_t q = 0; q < 8; q++) {
		if (guest_driver_queue_max(&rig->driver, q) != (is_shown(plan, q) ? 128 : 0))
			fail_msg("offered %u, text_only %d: queue %u", plan->offered,
				 plan->text_only, q);
	}
}

/* shows: BAL-GEN-02 AMB-01 LNX-BAL-01 LNX-BAL-09 BAL-GEN-01 */
static void BAL_GEN_02_queues_are_there_with_their_features(void **state)
{
	struct rig *rig = *state;

	for (uint32_t offered = 0; offered < SUBSETS; offered++) {
		for (int text_only = 0; text_only < 2; text_only++) {
			const struct plan plan = {.offered = offered, .text_only = text_only};
			uint64_t bits = features_in(offered);

			make(rig, &plan);
			if (offered & 4)
				bits |= VMEMDEV_BALLOON_F_PAGE_POISON; /* LNX-BAL-07 */
			assert_int_equal(guest_driver_offered(&rig->driver) & 0xff, bits);
			assert_int_equal(vmemdev_device_queue_count(rig->dev), offered ? 5 : 2);
			expect_sizes(rig, &plan);
			drv_negotiate(rig, features_in(offered & 5)); /* accepting moves none */
			expect_sizes(rig, &plan);
		}
	}
}

static void try_plan(struct rig *rig, const struct plan *plan)
{
	make(rig, plan);
	drv_start_numbered(rig, features_in(plan->accepted), plan->numbering);
	expect_jobs(rig, plan->numbering);
	/* what was decided holds for this driver only */
	drv_start_numbered(rig, features_in(plan->accepted), GUEST_TEXT);
	expect_jobs(rig, GUEST_TEXT);
	drv_start_numbered(rig, features_in(plan->accepted), plan->numbering);
	expect_jobs(rig, plan->numbering);
}

/* shows: AMB-01 BAL-GEN-02 LNX-BAL-01 */
static void AMB_01_both_numberings_of_all_feature_subsets(void **state)
{
	uint32_t plans = 0;

	for (uint32_t i = 0; i < SUBSETS * SUBSETS * 4; i++) {
		const struct plan plan = {
			.offered = i / 4 / SUBSETS, .accepted = i / 4 % SUBSETS,
			.numbering = i % 2 ? GUEST_GAPLESS : GUEST_TEXT, .text_only = i % 4 / 2};

		if (!can_work(&plan))
			continue;
		try_plan(*state, &plan);
		plans++;
	}
	/* 27 pairs of subsets; with the text's queues alone Linux lacks one in 6 of them */
	assert_int_equal(plans, 27 * 4 - 6);
}

/* The same driver with all three offered, as Linux is best served: no question arises. */
/* shows: AMB-01 LNX-BAL-01 */
static void AMB_01_a_driver_that_opens_all_queues_follows_the_text(void **state)
{
	const struct plan plan = {.offered = 7};
	struct rig *rig = *state;

	make(rig, &plan);
	for (uint32_t accepted = 0; accepted < SUBSETS; accepted++) {
		drv_start(rig, features_in(accepted));
		expect_jobs(rig, GUEST_TEXT);
	}
}

static void expect_no_job(struct rig *rig, uint16_t queue)
{
	struct vmemdev_balloon_stats stats;

	host_forget(rig);
	send_report(rig, queue, PLAY_GPA + 500 * PAGE);
	send_hint(rig, queue, PLAY_GPA + 501 * PAGE);
	send_stats(rig, queue, 9);
	vmemdev_balloon_get_stats(&rig->balloon, &stats);
	assert_false(stats.valid);
	assert_int_equal(rig->host.count, 0);
	assert_int_equal(rig->errors, 0);
	inflate_and_deflate(rig);
}

/* A feature whose queue the driver did not enable stays idle, and all else works. */
/* shows: AMB-01 */
static void AMB_01_a_feature_without_its_queue_stays_idle(void **state)
{
	const struct plan plan = {.offered = 7};
	struct rig *rig = *state;

	make(rig, &plan);
	/* 0, 1 and 3 fit neither numbering of statistics and reporting: 3 is hinting's */
	drv_negotiate(rig, features_in(5));
	drv_open(rig, INFLATEQ);
	drv_open(rig, DEFLATEQ);
	drv_open(rig, HINTQ);
	drv_set_status(rig, DRV_LIVE);
	expect_no_job(rig, HINTQ);
	assert_int_equal(vmemdev_balloon_poll_stats(&rig->balloon), 0);
	assert_int_equal(rig_run(rig), 0);

	/* 0, 1 and 2: neither fits all three, and 2 is statistics by the text */
	drv_negotiate(rig, BALLOON_FULL);
	for (uint16_t q = INFLATEQ; q <= STATSQ; q++)
		drv_open(rig, q);
	drv_set_status(rig, DRV_LIVE);
	inflate_and_deflate(rig);
	give_stats(rig, STATSQ);
	assert_int_equal(vmemdev_balloon_hint_start(&rig->balloon), 0);
	assert_int_equal(rig_run(rig), 0);
	assert_int_equal(vmemdev_balloon_hint_done(&rig->balloon), 0);

	/* a feature that was not accepted has no queue, enabled or not */
	drv_start(rig, VMEMDEV_BALLOON_F_PAGE_REPORTING);
	expect_no_job(rig, STATSQ);
	give_report(rig, REPORTQ);
	drv_start(rig, 0);
	expect_no_job(rig, STATSQ);
	expect_no_job(rig, HINTQ);
	expect_no_job(rig, REPORTQ);
}

/* shows: AMB-01 */
static void AMB_01_text_queues_only_shows_no_other_number(void **state)
{
	const struct plan plan = {.offered = 6, .text_only = true};
	struct rig *rig = *state;

	make(rig, &plan);
	drv_negotiate(rig, features_in(6));
	assert_int_equal(guest_driver_queue_max(&rig->driver, 2), 0);
	assert_null(vmemdev_device_queue_layout(rig->dev, 2));
	assert_int_equal(vmemdev_device_queue_enable(rig->dev, 2), VMEMDEV_E_INVAL);
	drv_open(rig, INFLATEQ);
	drv_open(rig, DEFLATEQ);
	drv_set_status(rig, DRV_LIVE);
	drv_kick(rig, 2);
	assert_int_equal(rig_run(rig), 0);
	inflate_and_deflate(rig);
}

/* The device is what it was decided to be at DRIVER_OK, whichever queue is reset later. */
/* shows: AMB-01 */
static void AMB_01_a_queue_reset_does_not_renumber(void **state)
{
	const struct plan plan = {.offered = 7};
	struct rig *rig = *state;
	uint16_t queue;

	make(rig, &plan);
	for (uint32_t accepted = 1; accepted < SUBSETS; accepted++) {
		drv_start_numbered(rig, features_in(accepted) | VMEMDEV_F_RING_RESET,
				   GUEST_GAPLESS);
		for (int role = GUEST_INFLATE; role < GUEST_ROLES; role++) {
			queue = drv_role(rig, (enum guest_role)role, GUEST_GAPLESS);
			if (queue == VMEMDEV_NO_QUEUE)
				continue;
			guest_driver_queue_reset(&rig->driver, queue);
			assert_false(guest_driver_queue_ready(&rig->driver, queue));
			drv_open(rig, queue);
			expect_jobs(rig, GUEST_GAPLESS);
		}
	}
}

/* Nor does a queue that is enabled after that. */
/* shows: AMB-01 */
static void AMB_01_a_queue_enabled_late_does_not_renumber(void **state)
{
	const struct plan plan = {.offered = 7};
	struct rig *rig = *state;

	make(rig, &plan);
	drv_start_numbered(rig, VMEMDEV_BALLOON_F_FREE_PAGE_HINT, GUEST_GAPLESS);
	drv_open(rig, HINTQ);
	assert_int_equal(vmemdev_balloon_hint_start(&rig->balloon), 0);
	expect_no_job(rig, HINTQ);
	give_hint(rig, 2);
}

/* Linux does not take a device whose queues are smaller. */
/* shows: LNX-BAL-09 */
static void LNX_BAL_09_queues_are_large_enough_for_Linux(void **state)
{
	struct rig *rig = *state;
	struct vmemdev_balloon_config config;

	rig_balloon_full_config(rig, &config);
	for (uint16_t size = 1; size < 32; size = (uint16_t)(size * 2)) {
		config.device.queue_size = size;
		assert_int_equal(vmemdev_balloon_init(&rig->balloon, sizeof(rig->balloon),
						      &config), VMEMDEV_E_SIZE);
	}
	config.reporting = false;
	config.device.queue_size = 1;
	assert_int_equal(vmemdev_balloon_init(&rig->balloon, sizeof(rig->balloon), &config),
			 VMEMDEV_E_SIZE);
	config.reporting = true;
	config.device.queue_size = 32;
	rig_make_balloon(rig, &config);
	for (uint16_t q = INFLATEQ; q <= REPORTQ; q++)
		assert_int_equal(guest_driver_queue_max(&rig->driver, q), 32);
	drv_start(rig, BALLOON_FULL);
	expect_jobs(rig, GUEST_TEXT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_ALL(BAL_GEN_02_queues_are_there_with_their_features, rig_setup_bare),
		TEST_ALL(AMB_01_both_numberings_of_all_feature_subsets, rig_setup_bare),
		TEST_ALL(AMB_01_a_driver_that_opens_all_queues_follows_the_text, rig_setup_bare),
		TEST_ALL(AMB_01_a_feature_without_its_queue_stays_idle, rig_setup_bare),
		TEST_ALL(AMB_01_text_queues_only_shows_no_other_number, rig_setup_bare),
		TEST_ALL(AMB_01_a_queue_reset_does_not_renumber, rig_setup_bare),
		TEST_ALL(AMB_01_a_queue_enabled_late_does_not_renumber, rig_setup_bare),
		TEST_ALL(LNX_BAL_09_queues_are_large_enough_for_Linux, rig_setup_bare),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
