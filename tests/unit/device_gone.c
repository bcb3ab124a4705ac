/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Guest memory that goes away while a device works: its host takes it away inside a callback,
 * or between two calls. The device stops, once, and a reset brings it back.
 */
#include "device_rig.h"

static _Alignas(4096) uint8_t island[4096];
static const struct vmemdev_region elsewhere = {
	.gpa = UINT64_C(0x7000000000), .len = sizeof(island), .host = island};

static void take_memory_away(struct rig *rig)
{
	assert_int_equal(vmemdev_guest_set_regions(&rig->memory.guest, &elsewhere, 1), 0);
}

/* The hook of a host that does so inside its callbacks. */
static void taking_host(struct rig *rig, const struct host_call *call)
{
	(void)call;
	take_memory_away(rig);
}

static void expect_stopped(struct rig *rig)
{
	assert_int_equal(rig->errors, 1);
	assert_int_equal(rig->last_error, VMEMDEV_E_GUEST_RING);
	assert_true(vmemdev_device_status(rig->dev) & VMEMDEV_STATUS_NEEDS_RESET);
	assert_int_equal(vmemdev_device_run(rig->dev, 1), VMEMDEV_E_GUEST_RING);
	assert_int_equal(rig->errors, 1);
}

/* What was staged cannot be shown any more. */
/* shows: HOST-REG-14 STAT-05 */
static void HOST_REG_14_pages_given_up_while_the_ring_goes_away(void **state)
{
	struct rig *rig = *state;
	const uint32_t pfn = PLAY_PFN;

	rig->host.hook = taking_host;
	pages_post(rig, INFLATEQ, &pfn, 1);
	drv_kick(rig, INFLATEQ);
	assert_int_equal(rig_run(rig), VMEMDEV_E_GUEST_RING);
	assert_int_equal(rig->host.count, 1);
	expect_stopped(rig);
	rig->host.hook = NULL;
	assert_int_equal(guest_memory_show(&rig->memory, 1), 0);
	drv_reset(rig);
	drv_start(rig, 0);
	pages_send(rig, INFLATEQ, &pfn, 1);
}

static void post_stats(struct rig *rig)
{
	const struct vmemdev_buf buf = {.gpa = DATA_GPA, .len = 10};

	drv_add(rig, STATSQ, &buf, 1);
	drv_kick(rig, STATSQ);
}

/* Statistics that came are handed back, or wait; both times the ring is gone by then. */
/* shows: HOST-REG-14 STAT-05 BAL-STAT-05 */
static void HOST_REG_14_statistics_while_the_ring_goes_away(void **state)
{
	struct rig *rig = *state;

	for (int wanted = 0; wanted < 2; wanted++) {
		post_stats(rig);
		assert_int_equal(rig_run(rig), 0);
		assert_int_equal(vmemdev_balloon_poll_stats(&rig->balloon), 0);
		assert_int_equal(rig_run(rig), 0);
		assert_int_equal(drv_used_count(rig, STATSQ), 1);
		if (wanted) {
			/* the set that was asked for comes, and the next is wanted at once */
			post_stats(rig);
			assert_int_equal(rig_run(rig), 0);
			assert_int_equal(vmemdev_balloon_poll_stats(&rig->balloon), 0);
		}
		rig->host.hook = taking_host;
		post_stats(rig);
		assert_int_equal(rig_step(rig, 1), VMEMDEV_E_GUEST_RING);
		expect_stopped(rig);
		rig->host.hook = NULL;
		rig->errors = 0;
		assert_int_equal(guest_memory_show(&rig->memory, 1), 0);
		drv_reset(rig);
		drv_start(rig, BALLOON_FULL);
	}
}

/* The host begins to plug, and takes the ring away. */
/* shows: HOST-REG-14 STAT-05 */
static void HOST_REG_14_a_plug_that_waits_while_the_ring_goes_away(void **state)
{
	struct rig *rig = *state;
	struct request request;

	mem_want(rig, 4 * MEM_BLOCK);
	rig->host.hook = taking_host;
	rig->host.answer = VMEMDEV_LATER;
	request_make(&request, GUEST_MEM_PLUG, BLOCK(0), 2);
	request_post(rig, 0, &request);
	drv_kick(rig, 0);
	assert_int_equal(rig_run(rig), VMEMDEV_E_GUEST_RING);
	expect_stopped(rig);
	/* The work goes on, and is recorded when it ends. */
	rig->host.hook = NULL;
	assert_int_equal(rig_complete(rig, rig->host.token, 0), 0);
	assert_true(mem_sizes(rig).plugged == 2 * MEM_BLOCK);
	assert_int_equal(rig->errors, 1);
}

/* Of several answers the first cannot be written: none is, and the others are dropped. */
/* shows: HOST-REG-14 STAT-05 PMEM-09 */
static void HOST_REG_14_flushes_whose_answers_have_no_place_any_more(void **state)
{
	struct rig *rig = *state;

	for (uint32_t slot = 0; slot < 3; slot++)
		flush_post_as(rig, slot, 0, 4, 4);
	rig->host.hook = taking_host;
	drv_kick(rig, 0);
	assert_int_equal(rig_run(rig), VMEMDEV_E_GUEST_ADDR);
	assert_int_equal(rig->errors, 1);
	assert_int_equal(rig->host.count, 1);
	rig->host.hook = NULL;
	assert_int_equal(guest_memory_show(&rig->memory, 1), 0);
	assert_int_equal(drv_used_count(rig, 0), 0);
	drv_reset(rig);
	drv_start(rig, 0);
	assert_int_equal(flush_send(rig), FLUSH_OK);
}

/* A queue is stopped whose ring is gone: what is staged cannot be shown. */
/* shows: HOST-REG-14 */
static void HOST_REG_14_a_queue_cannot_be_stopped_without_its_ring(void **state)
{
	struct rig *rig = *state;
	struct vmemdev_vq_state at;

	take_memory_away(rig);
	assert_int_equal(vmemdev_device_queue_stop(rig->dev, INFLATEQ, &at), VMEMDEV_E_GUEST_RING);
	assert_true(vmemdev_device_queue_enabled(rig->dev, INFLATEQ));
	assert_int_equal(guest_memory_show(&rig->memory, 1), 0);
	assert_int_equal(vmemdev_device_queue_stop(rig->dev, INFLATEQ, &at), VMEMDEV_E_GUEST_RING);
	assert_int_equal(vmemdev_device_queue_stop(rig->dev, DEFLATEQ, &at), 0);
}

/* One page of a host page of two is given up; it is no memory any more when the other comes. */
/* shows: HOST-BAL-01 HOST-REG-14 */
static void HOST_BAL_01_half_a_host_page_that_went_away(void **state)
{
	const uint32_t pfn = (uint32_t)(SPARE_GPA / PAGE);
	const struct way *way = *state;
	static uint64_t words[1];
	static const struct vmemdev_balloon_track track = {
		.gpa = SPARE_GPA, .len = 2 * PAGE, .frame_shift = 13, .words = words};

	for (uint32_t gone = 0; gone < 3; gone++) {
		const struct guest_region whole = {.gpa = SPARE_GPA, .len = 2 * PAGE};
		const struct guest_region half = {
			.gpa = SPARE_GPA + (gone == 0 ? PAGE : 0), .len = PAGE};
		uint32_t first = gone == 0 ? pfn : pfn + 1, second = gone == 0 ? pfn + 1 : pfn;
		struct rig *rig = rig_bare(way);
		struct vmemdev_balloon_config config;

		if (gone > 0)
			rig_free(*state);
		*state = rig;
		rig_show_spare(rig, &whole, 1);
		rig_balloon_config(rig, &config);
		config.must_tell_host = true;
		config.tracks = &track;
		config.track_count = 1;
		rig_make_balloon(rig, &config);
		drv_start(rig, VMEMDEV_BALLOON_F_MUST_TELL_HOST);
		pages_send(rig, INFLATEQ, &first, 1);
		if (gone < 2)
			rig_show_spare(rig, &half, 1);
		pages_send(rig, INFLATEQ, &second, 1);
		assert_int_equal(rig->host.count, gone < 2 ? 0 : 1);
	}
}

/* A host with callbacks, all of whose memory is the rig's, and which knows what of it may go. */
struct callbacks {
	struct rig *rig;
	struct vmemdev_guest_ops ops;
	struct vmemdev_guest guest;
	uint64_t unit; /* bytes that it answers for at a time; 0: none at all */
};

static uint64_t run_in_units(void *ctx, uint64_t gpa, uint64_t len, bool *discardable)
{
	const struct callbacks *host = ctx;
	uint64_t left;

	(void)len;
	*discardable = true;
	if (host->unit == 0)
		return 0;
	left = host->unit - gpa % host->unit;
	*discardable = gpa / host->unit % 2 == 0;
	return left;
}

static void *map_ram(void *ctx, uint64_t gpa, uint64_t len, enum vmemdev_access access)
{
	const struct callbacks *host = ctx;

	(void)access;
	return guest_at(&host->rig->memory, gpa, len);
}

static void open_callbacks(struct callbacks *host, struct rig *rig, uint64_t unit, bool reporting)
{
	const struct vmemdev_guest_config config = {
		.struct_size = sizeof(config), .ops = &host->ops, .ctx = host};
	struct vmemdev_balloon_config balloon;

	memset(host, 0, sizeof(*host));
	host->rig = rig;
	host->unit = unit;
	host->ops.map = map_ram;
	host->ops.run = run_in_units;
	assert_int_equal(vmemdev_guest_init(&host->guest, sizeof(host->guest), &config), 0);
	rig_balloon_config(rig, &balloon);
	balloon.reporting = reporting;
	balloon.device.guest = &host->guest;
	rig_make_balloon(rig, &balloon);
	drv_start(rig, reporting ? VMEMDEV_BALLOON_F_PAGE_REPORTING : 0);
}

/* Nothing is discarded that a host does not answer for, or only for a part of the page. */
/* shows: HOST-BAL-01 */
static void HOST_BAL_01_a_host_that_answers_for_no_whole_page(void **state)
{
	static const uint64_t units[] = {0, 512, 2048};
	const uint32_t pfns[] = {PLAY_PFN, PLAY_PFN + 1, PLAY_PFN + 7};
	const struct way *way = *state;
	static struct callbacks host;

	for (size_t i = 0; i < ARRAY_LEN(units); i++) {
		struct rig *rig = rig_bare(way);
		struct vmemdev_balloon_counts counts;

		if (i > 0)
			rig_free(*state);
		*state = rig;
		open_callbacks(&host, rig, units[i], false);
		pages_send(rig, INFLATEQ, pfns, ARRAY_LEN(pfns));
		assert_int_equal(rig->host.count, 0);
		vmemdev_balloon_get_counts(&rig->balloon, &counts);
		assert_int_equal(counts.pages_ignored, ARRAY_LEN(pfns));
		/* such a host has no table that could lie too high */
		assert_int_equal(vmemdev_balloon_set_target(&rig->balloon, PAGE), 0);
	}
}

/* More holes than a run's work is for: the queue is looked at again by itself. */
/* shows: HOST-REG-21 HOST-BAL-13 */
static void HOST_REG_21_a_report_of_more_holes_than_a_run_looks_at(void **state)
{
	const struct vmemdev_range all = {PLAY_GPA, 0x200000}, ram = {RAM_GPA, RAM_SIZE};
	struct rig *rig = rig_bare(*state);
	struct vmemdev_balloon_counts counts;
	static struct callbacks host;
	uint32_t runs = 1;

	*state = rig;
	open_callbacks(&host, rig, PAGE, true);
	for (uint32_t i = 0; i < 4; i++)
		ranges_post(rig, REPORTQ, &all, 1);
	drv_kick(rig, REPORTQ);
	for (; rig_step(rig, 2) > 0; runs++)
		assert_true(runs < 20);
	assert_true(runs > 2);
	vmemdev_balloon_get_counts(&rig->balloon, &counts);
	assert_int_equal(counts.pages_reported, 4 * 256);
	assert_int_equal(counts.pages_ignored, 4 * 256);
	assert_int_equal(drv_used_count(rig, REPORTQ), 4);
	/* One range alone, with budget left over. */
	ranges_post(rig, REPORTQ, &ram, 1);
	drv_kick(rig, REPORTQ);
	assert_int_equal(rig_step(rig, 2), 1);
	assert_int_equal(drv_used_count(rig, REPORTQ), 0);
	assert_int_equal(rig_run(rig), 0);
	vmemdev_balloon_get_counts(&rig->balloon, &counts);
	assert_int_equal(counts.pages_reported, 4 * 256 + RAM_SIZE / PAGE / 2);
	assert_int_equal(drv_used_count(rig, REPORTQ), 1);
}

static int setup_way(void **state)
{
	(void)state;
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_ALL(HOST_REG_14_pages_given_up_while_the_ring_goes_away,
			 rig_setup_balloon_live),
		TEST_ALL(HOST_REG_14_statistics_while_the_ring_goes_away,
			 rig_setup_balloon_full_live),
		TEST_ALL(HOST_REG_14_a_plug_that_waits_while_the_ring_goes_away,
			 rig_setup_mem_live),
		TEST_ALL(HOST_REG_14_flushes_whose_answers_have_no_place_any_more,
			 rig_setup_pmem_live),
		TEST_ALL(HOST_REG_14_a_queue_cannot_be_stopped_without_its_ring,
			 rig_setup_balloon_live),
		TEST_ONCE(HOST_BAL_01_half_a_host_page_that_went_away, setup_way),
		TEST_ONCE(HOST_BAL_01_a_host_that_answers_for_no_whole_page, setup_way),
		TEST_ONCE(HOST_REG_21_a_report_of_more_holes_than_a_run_looks_at, setup_way),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
