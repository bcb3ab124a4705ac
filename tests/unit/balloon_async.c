/* SPDX-License-Identifier: BSD-3-Clause */
/* Host work on balloon pages that ends later or fails, and what may happen meanwhile. */
#include "device_rig.h"

static int setup_later(void **state)
{
	struct rig *rig;

	rig_setup_balloon_live(state);
	rig = *state;
	rig_run(rig);
	rig->host.answer = VMEMDEV_LATER;
	return 0;
}

/* Post page numbers on @queue and run; the host answers LATER. Returns its token. */
static uint64_t start(struct rig *rig, uint16_t queue, uint32_t pfn, uint32_t count)
{
	uint32_t pfns[256];
	uint32_t calls = rig->host.count;

	for (uint32_t i = 0; i < count; i++)
		pfns[i] = pfn + i;
	pages_post(rig, queue, pfns, count);
	drv_kick(rig, queue);
	assert_int_equal(rig_run(rig), 0);
	assert_int_equal(rig->host.count, calls + 1);
	assert_false(guest_queue_has_used(&rig->driver.queues[queue]));
	return rig->host.token;
}

/* shows: BAL-INF-02 BAL-INF-03 BAL-DEF-01 */
static void BAL_INF_03_buffers_are_used_only_after_the_host_is_done(void **state)
{
	struct rig *rig = *state;

	for (uint16_t queue = INFLATEQ; queue <= DEFLATEQ; queue++) {
		for (int result = 0; result >= VMEMDEV_E_HOST; result += VMEMDEV_E_HOST) {
			uint64_t token = start(rig, queue, PLAY_PFN, 16);

			assert_false(drv_took_queue_irq(rig));
			drv_kick(rig, queue);
			assert_int_equal(rig_run(rig), 0);
			assert_false(guest_queue_has_used(&rig->driver.queues[queue]));
			assert_int_equal(rig_complete(rig, token, result), 0);
			assert_int_equal(rig_run(rig), 0);
			assert_int_equal(drv_used_count(rig, queue), 1);
			assert_true(drv_took_queue_irq(rig));
		}
	}
	assert_int_equal(rig->host.count, 4);
}

/* The guest has no way to be told of a failure: the page just stays with the host. */
/* shows: BAL-INF-02 */
static void BAL_INF_02_a_failing_host_still_acknowledges(void **state)
{
	static const int answers[] = {VMEMDEV_E_HOST, VMEMDEV_E_BUSY, VMEMDEV_E_NOSPC};
	struct rig *rig = *state;
	const uint32_t pfn = PLAY_PFN;
	struct vmemdev_balloon_counts counts;

	for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
		rig->host.answer = answers[i];
		pages_send(rig, INFLATEQ, &pfn, 1);
		pages_send(rig, DEFLATEQ, &pfn, 1);
	}
	vmemdev_balloon_get_counts(&rig->balloon, &counts);
	assert_int_equal(counts.host_failures, 6);
	assert_int_equal(counts.host_calls, 6);
	assert_int_equal(rig->errors, 0);
}

/* shows: BAL-DEF-02 */
static void BAL_DEF_02_a_deflate_waits_for_the_discard_before_it(void **state)
{
	struct rig *rig = *state;
	const uint32_t pfn = PLAY_PFN;
	uint64_t token = start(rig, INFLATEQ, PLAY_PFN, 1);

	pages_post(rig, DEFLATEQ, &pfn, 1);
	drv_kick(rig, DEFLATEQ);
	assert_int_equal(rig_run(rig), 0);
	assert_false(guest_queue_has_used(&rig->driver.queues[DEFLATEQ]));
	assert_int_equal(rig->host.count, 1);
	rig->host.answer = 0;
	assert_int_equal(rig_complete(rig, token, 0), 0);
	assert_int_equal(rig_run(rig), 0);
	assert_int_equal(drv_used_count(rig, INFLATEQ), 1);
	assert_int_equal(drv_used_count(rig, DEFLATEQ), 1);
	assert_int_equal(rig->host.count, 2);
	assert_int_equal(host_last(rig)->op, HOST_DEFLATE);
}

/* shows: BAL-DEF-02 */
static void BAL_DEF_02_also_when_the_host_does_not_look_at_deflates(void **state)
{
	struct rig *rig = *state;
	struct vmemdev_balloon_ops ops = rig_balloon_ops;
	struct vmemdev_balloon_config config;
	const uint32_t pfn = PLAY_PFN;
	uint64_t token;

	ops.deflate = NULL;
	rig_balloon_config(rig, &config);
	config.ops = &ops;
	rig_make_balloon(rig, &config);
	drv_start(rig, 0);
	rig->host.answer = VMEMDEV_LATER;
	token = start(rig, INFLATEQ, PLAY_PFN, 1);
	pages_post(rig, DEFLATEQ, &pfn, 1);
	drv_kick(rig, DEFLATEQ);
	assert_int_equal(rig_run(rig), 0);
	assert_false(guest_queue_has_used(&rig->driver.queues[DEFLATEQ]));
	assert_int_equal(rig_complete(rig, token, 0), 0);
	assert_int_equal(rig_run(rig), 0);
	assert_int_equal(drv_used_count(rig, DEFLATEQ), 1);
}

static void tokens_that_are_not_outstanding_are_refused(void **state)
{
	struct rig *rig = *state;
	uint64_t token;

	assert_int_equal(rig_complete(rig, 0, 0), VMEMDEV_E_STATE);
	assert_int_equal(rig_complete(rig, 1, 0), VMEMDEV_E_STATE);
	token = start(rig, INFLATEQ, PLAY_PFN, 4);
	assert_int_equal(rig_complete(rig, token + 1, 0), VMEMDEV_E_STATE);
	assert_int_equal(rig_complete(rig, token - 1, 0), VMEMDEV_E_STATE);
	assert_int_equal(rig_complete(rig, token, 1), VMEMDEV_E_INVAL);
	rig_run(rig);
	assert_false(guest_queue_has_used(&rig->driver.queues[INFLATEQ]));
	assert_int_equal(rig_complete(rig, token, 0), 0);
	assert_int_equal(rig_complete(rig, token, 0), VMEMDEV_E_STATE);
	rig_run(rig);
	assert_int_equal(drv_used_count(rig, INFLATEQ), 1);
}

/* shows: RST-02 RST-03 RST-06 LNX-MMIO-01 BAL-GEN-09 */
static void RST_03_a_reset_calls_the_hosts_work_off_before_it_ends(void **state)
{
	struct rig *rig = *state;
	uint64_t token = start(rig, INFLATEQ, PLAY_PFN, 8);
	const uint32_t other = PLAY_PFN + 100;

	assert_int_equal(rig->host.cancels, 0);
	drv_set_status(rig, 0);
	assert_int_equal(rig->host.cancels, 1);
	assert_true(rig->host.cancelled == token);
	assert_int_equal(guest_driver_status(&rig->driver), 0);

	/* a new driver is served at once, and the old token means nothing any more */
	drv_reset(rig);
	drv_start(rig, 0);
	rig->host.answer = 0;
	pages_send(rig, INFLATEQ, &other, 1);
	assert_int_equal(host_last(rig)->count, 1);
	assert_true(host_last(rig)->ranges[0].gpa == other * PAGE);
	assert_int_equal(rig_complete(rig, token, 0), VMEMDEV_E_STATE);
	assert_int_equal(rig->host.cancels, 1);
}

/* shows: RST-02 RST-03 */
static void RST_02_a_device_that_stays_reset_does_nothing_when_work_ends(void **state)
{
	struct rig *rig = *state;
	uint64_t token = start(rig, DEFLATEQ, PLAY_PFN, 8);
	uint64_t sum;

	drv_set_status(rig, 0);
	sum = ram_sum(rig);
	drv_took_queue_irq(rig);
	assert_int_equal(rig_complete(rig, token, 0), VMEMDEV_E_STATE);
	rig_run(rig);
	assert_true(ram_sum(rig) == sum);
	assert_false(drv_took_queue_irq(rig));
	assert_false(drv_took_config_irq(rig));
}

/* shows: VQR-05 VQR-01 */
static void VQR_05_a_queue_reset_drops_its_buffers_and_the_other_queue_goes_on(void **state)
{
	struct rig *rig = *state;
	const uint32_t pfn = PLAY_PFN + 50;
	uint64_t token;

	drv_reset(rig);
	drv_start(rig, VMEMDEV_F_RING_RESET);
	token = start(rig, INFLATEQ, PLAY_PFN, 8);
	guest_driver_queue_reset(&rig->driver, DEFLATEQ);
	assert_int_equal(rig->host.cancels, 0);
	drv_open(rig, DEFLATEQ);
	/* posted and looked at while the host works: not to be forgotten */
	pages_post(rig, DEFLATEQ, &pfn, 1);
	drv_kick(rig, DEFLATEQ);
	assert_int_equal(rig_run(rig), 0);
	guest_driver_queue_reset(&rig->driver, INFLATEQ);
	assert_int_equal(rig->host.cancels, 1);
	assert_true(rig->host.cancelled == token);
	assert_false(guest_driver_queue_ready(&rig->driver, INFLATEQ));
	assert_true(guest_driver_queue_ready(&rig->driver, DEFLATEQ));
	rig->host.answer = 0;
	assert_int_equal(rig_run(rig), 0);
	assert_int_equal(drv_used_count(rig, DEFLATEQ), 1);
	assert_true(host_last(rig)->op == HOST_DEFLATE);
	assert_int_equal(rig_complete(rig, token, 0), VMEMDEV_E_STATE);
	drv_open(rig, INFLATEQ);
	assert_false(guest_queue_has_used(&rig->driver.queues[INFLATEQ]));
	pages_send(rig, INFLATEQ, &pfn, 1);
	assert_int_equal(rig->errors, 0);
}

/* A host that could not stop its work may not put it off either. */
static void later_without_cancel_is_a_failure(void **state)
{
	struct rig *rig = *state;
	struct vmemdev_balloon_ops ops = rig_balloon_ops;
	struct vmemdev_balloon_config config;
	struct vmemdev_balloon_counts counts;
	const uint32_t pfn = PLAY_PFN;

	ops.cancel = NULL;
	rig_balloon_config(rig, &config);
	config.ops = &ops;
	rig_make_balloon(rig, &config);
	drv_start(rig, 0);
	rig->host.answer = VMEMDEV_LATER;
	pages_send(rig, INFLATEQ, &pfn, 1);
	vmemdev_balloon_get_counts(&rig->balloon, &counts);
	assert_int_equal(counts.host_failures, 1);
	assert_int_equal(rig_complete(rig, rig->host.token, 0), VMEMDEV_E_STATE);
}

/* A chain of more ranges than the scratch array takes is half done when LATER comes. */
static int setup_small_scratch(void **state)
{
	static const struct guest_region regions[] = {
		{.gpa = RAM_GPA, .len = RAM_SIZE},
		{.gpa = UINT64_C(0x2000000), .len = 0x10000},
		{.gpa = UINT64_C(0x2010000), .len = 0x10000, .flags = VMEMDEV_REGION_KEEP},
		{.gpa = UINT64_C(0x2020000), .len = 0x10000},
	};
	struct rig *rig = rig_bare_regions(*state, regions, ARRAY_LEN(regions));
	struct vmemdev_balloon_config config;

	rig_balloon_config(rig, &config);
	config.range_count = 1;
	rig_make_balloon(rig, &config);
	drv_start(rig, 0);
	rig_run(rig);
	rig->host.answer = VMEMDEV_LATER;
	*state = rig;
	return 0;
}

/* shows: BAL-DEF-02 BAL-DEF-01 */
static void BAL_DEF_02_the_rest_of_a_deflate_is_never_inflated(void **state)
{
	struct rig *rig = *state;
	uint32_t pfns[48];
	const uint32_t other = PLAY_PFN;

	/* 16 good, 16 kept, 16 good: two ranges for a scratch of one */
	for (uint32_t i = 0; i < 48; i++)
		pfns[i] = 0x2000 + i;
	pages_post(rig, DEFLATEQ, pfns, 48);
	drv_kick(rig, DEFLATEQ);
	assert_int_equal(rig_run(rig), 0);
	assert_int_equal(host_last(rig)->op, HOST_DEFLATE);
	assert_true(host_last(rig)->ranges[0].gpa == UINT64_C(0x2000000));
	pages_post(rig, INFLATEQ, &other, 1);
	drv_kick(rig, INFLATEQ);
	assert_int_equal(rig_complete(rig, rig->host.token, 0), 0);
	assert_int_equal(rig_run(rig), 0);
	assert_int_equal(host_last(rig)->op, HOST_DEFLATE);
	assert_int_equal(rig->host.count, 2);
	assert_int_equal(host_last(rig)->count, 1);
	assert_true(host_last(rig)->ranges[0].gpa == UINT64_C(0x2020000));
	assert_true(host_last(rig)->ranges[0].len == 0x10000);
	assert_int_equal(rig_complete(rig, rig->host.token, 0), 0);
	assert_int_equal(rig_run(rig), 0);
	assert_int_equal(drv_used_count(rig, DEFLATEQ), 1);
	assert_int_equal(host_last(rig)->op, HOST_INFLATE);
	assert_int_equal(rig_complete(rig, rig->host.token, 0), 0);
	assert_int_equal(rig_run(rig), 0);
	assert_int_equal(drv_used_count(rig, INFLATEQ), 1);
	assert_int_equal(rig->host.count, 3);
}

/* shows: BAL-INF-03 BAL-INF-07 */
static void BAL_INF_03_a_chain_that_needs_many_calls_is_used_after_the_last(void **state)
{
	struct rig *rig = *state;
	uint32_t pfns[20];
	bool seen[40] = {false};

	for (uint32_t i = 0; i < 20; i++)
		pfns[i] = PLAY_PFN + 2 * i;
	pages_post(rig, INFLATEQ, pfns, 20);
	drv_kick(rig, INFLATEQ);
	for (uint32_t i = 0; i < 20; i++) {
		assert_int_equal(rig_run(rig), 0);
		assert_int_equal(rig->host.count, i + 1);
		assert_int_equal(host_last(rig)->count, 1);
		seen[host_last(rig)->ranges[0].gpa / PAGE - PLAY_PFN] = true;
		assert_false(guest_queue_has_used(&rig->driver.queues[INFLATEQ]));
		assert_int_equal(rig_complete(rig, rig->host.token, 0), 0);
	}
	assert_int_equal(rig_run(rig), 0);
	assert_int_equal(drv_used_count(rig, INFLATEQ), 1);
	for (uint32_t i = 0; i < 20; i++)
		assert_true(seen[2 * i]);
}

/* shows: RST-03 VQR-05 */
static void RST_03_a_reset_in_the_middle_of_a_chain_forgets_the_rest(void **state)
{
	struct rig *rig = *state;
	uint32_t pfns[20];
	const uint32_t other = PLAY_PFN + 200;
	uint64_t token;

	for (uint32_t i = 0; i < 20; i++)
		pfns[i] = PLAY_PFN + 2 * i;
	pages_post(rig, INFLATEQ, pfns, 20);
	drv_kick(rig, INFLATEQ);
	rig_run(rig);
	token = rig->host.token;
	drv_reset(rig);
	drv_start(rig, 0);
	assert_true(rig->host.cancelled == token);
	rig->host.answer = 0;
	assert_int_equal(rig_run(rig), 0);
	assert_int_equal(rig->host.count, 1);
	pages_send(rig, INFLATEQ, &other, 1);
	assert_int_equal(rig->host.count, 2);
	assert_int_equal(host_last(rig)->count, 1);
	assert_true(host_last(rig)->ranges[0].gpa == other * PAGE);
	assert_true(host_last(rig)->ranges[0].len == PAGE);
}

/* shows: STAT-08 STAT-07 */
static void STAT_08_after_FAILED_late_work_publishes_nothing(void **state)
{
	struct rig *rig = *state;
	uint64_t token = start(rig, INFLATEQ, PLAY_PFN, 8);
	uint64_t sum;

	drv_set_status(rig, DRV_LIVE | VMEMDEV_STATUS_FAILED);
	sum = ram_sum(rig);
	assert_int_equal(rig_complete(rig, token, 0), 0);
	rig_run(rig);
	assert_true(ram_sum(rig) == sum);
	assert_false(drv_took_queue_irq(rig));
}

static void a_system_reset_calls_the_hosts_work_off(void **state)
{
	struct rig *rig = *state;
	uint64_t token = start(rig, INFLATEQ, PLAY_PFN, 8);

	assert_int_equal(vmemdev_device_system_reset(rig->dev), 0);
	assert_true(rig->host.cancelled == token);
	assert_int_equal(guest_driver_status(&rig->driver), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_ALL(BAL_INF_03_buffers_are_used_only_after_the_host_is_done, setup_later),
		TEST_ALL(BAL_INF_02_a_failing_host_still_acknowledges, setup_later),
		TEST_ALL(BAL_DEF_02_a_deflate_waits_for_the_discard_before_it, setup_later),
		TEST_RINGS(BAL_DEF_02_also_when_the_host_does_not_look_at_deflates,
			   rig_setup_bare),
		TEST_RINGS(tokens_that_are_not_outstanding_are_refused, setup_later),
		TEST_ALL(RST_03_a_reset_calls_the_hosts_work_off_before_it_ends, setup_later),
		TEST_ALL(RST_02_a_device_that_stays_reset_does_nothing_when_work_ends,
			 setup_later),
		TEST_ALL(VQR_05_a_queue_reset_drops_its_buffers_and_the_other_queue_goes_on,
			 setup_later),
		TEST_RINGS(BAL_DEF_02_the_rest_of_a_deflate_is_never_inflated,
			   setup_small_scratch),
		TEST_RINGS(BAL_INF_03_a_chain_that_needs_many_calls_is_used_after_the_last,
			   setup_small_scratch),
		TEST_RINGS(RST_03_a_reset_in_the_middle_of_a_chain_forgets_the_rest,
			   setup_small_scratch),
		TEST_ALL(STAT_08_after_FAILED_late_work_publishes_nothing, setup_later),
		TEST_RINGS(a_system_reset_calls_the_hosts_work_off, setup_later),
		TEST_RINGS(later_without_cancel_is_a_failure, rig_setup_bare),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
