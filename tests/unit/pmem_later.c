/* SPDX-License-Identifier: BSD-3-Clause */
/* Flushes that end later, and everything that may happen meanwhile. */
#include "device_rig.h"

static int setup_later(void **state)
{
	struct rig *rig;

	rig_setup_pmem_live(state);
	rig = *state;
	rig->host.answer = VMEMDEV_LATER;
	return 0;
}

static void run(struct rig *rig)
{
	assert_int_equal(rig_run(rig), 0);
}

/* Post @count requests from @first on and let the device ask for a flush. */
static uint64_t start(struct rig *rig, uint32_t first, uint32_t count)
{
	uint32_t calls = rig->host.count;

	for (uint32_t i = first; i < first + count; i++)
		flush_post(rig, i);
	run(rig);
	assert_int_equal(rig->host.count, calls + 1);
	assert_false(guest_queue_has_used(&rig->driver.queues[0]));
	return rig->host.token;
}

static void end(struct rig *rig, uint64_t token, int result)
{
	assert_int_equal(rig_complete(rig, token, result), 0);
}

static void expect(struct rig *rig, uint32_t first, uint32_t count, uint32_t answer)
{
	for (uint32_t i = first; i < first + count; i++)
		assert_int_equal(flush_take(rig, i), answer);
	assert_int_equal(flush_take(rig, first), FLUSH_NONE);
}

/* shows: PMEM-06 PMEM-08 */
static void PMEM_06_nobody_is_answered_before_the_flush_has_ended(void **state)
{
	struct rig *rig = *state;

	for (uint32_t lap = 0; lap < 200; lap++) {
		int result = lap % 3 ? 0 : VMEMDEV_E_HOST;
		uint64_t token = start(rig, 0, 1 + lap % 4), sum = ram_sum(rig);

		assert_false(drv_took_queue_irq(rig));
		assert_false(vmemdev_device_pending(rig->dev));
		end(rig, token, result);
		/* answers come in a run, as interrupts do */
		assert_true(ram_sum(rig) == sum);
		assert_true(vmemdev_device_pending(rig->dev));
		run(rig);
		expect(rig, 0, 1 + lap % 4, result ? FLUSH_FAILED : FLUSH_OK);
		assert_true(drv_took_queue_irq(rig));
	}
}

/* shows: PMEM-07 PMEM-11 HOST-PMEM-03 */
static void PMEM_07_what_comes_during_a_flush_waits_for_the_next(void **state)
{
	struct rig *rig = *state;
	uint64_t first = start(rig, 0, 2), second;

	for (uint32_t i = 2; i < 2 + 2 * PMEM_REQUESTS; i++)
		flush_post(rig, i);
	run(rig);
	assert_int_equal(rig->host.count, 1);
	end(rig, first, 0);
	run(rig);
	expect(rig, 0, 2, FLUSH_OK);
	assert_int_equal(rig->host.count, 2);
	second = rig->host.token;
	assert_true(second != first);
	end(rig, second, 0);
	run(rig);
	expect(rig, 2, PMEM_REQUESTS, FLUSH_OK);
	assert_int_equal(rig->host.count, 3);
	end(rig, rig->host.token, 0);
	run(rig);
	expect(rig, 2 + PMEM_REQUESTS, PMEM_REQUESTS, FLUSH_OK);
	assert_int_equal(rig->host.count, 3);
}

/* shows: PMEM-09 PMEM-08 AMB-19 */
static void PMEM_09_only_those_fail_whose_flush_failed(void **state)
{
	struct rig *rig = *state;
	uint64_t first = start(rig, 0, 2);

	flush_post(rig, 2);
	flush_post(rig, 3);
	end(rig, first, VMEMDEV_E_HOST);
	/* the next one arrives between the end of the flush and the answers */
	flush_post(rig, 4);
	run(rig);
	expect(rig, 0, 2, FLUSH_FAILED);
	end(rig, rig->host.token, 0);
	run(rig);
	expect(rig, 2, 3, FLUSH_OK);
	assert_int_equal(rig->host.count, 2);
}

static void tokens_that_are_not_outstanding_are_refused(void **state)
{
	struct rig *rig = *state;
	uint64_t token;

	assert_int_equal(rig_complete(rig, 0, 0), VMEMDEV_E_STATE);
	token = start(rig, 0, 1);
	assert_int_equal(rig_complete(rig, token + 1, 0), VMEMDEV_E_STATE);
	assert_int_equal(rig_complete(rig, token - 1, 0), VMEMDEV_E_STATE);
	assert_int_equal(rig_complete(rig, UINT64_MAX, 0), VMEMDEV_E_STATE);
	assert_int_equal(rig_complete(rig, token, 1), VMEMDEV_E_INVAL);
	assert_int_equal(rig_complete(rig, token, VMEMDEV_LATER), VMEMDEV_E_INVAL);
	run(rig);
	assert_int_equal(flush_take(rig, 0), FLUSH_NONE);
	end(rig, token, 0);
	assert_int_equal(rig_complete(rig, token, 0), VMEMDEV_E_STATE);
	run(rig);
	expect(rig, 0, 1, FLUSH_OK);
	assert_int_equal(rig_complete(rig, token, 0), VMEMDEV_E_STATE);
}

static void complete_inside(struct rig *rig, const struct host_call *call)
{
	assert_int_equal(vmemdev_pmem_complete(&rig->pmem, call->token, 0), VMEMDEV_E_STATE);
	assert_int_equal(vmemdev_device_run(rig->dev, 1), VMEMDEV_E_STATE);
	vmemdev_device_reset(rig->dev);
	rig->ctx = NULL;
}

static void a_flush_cannot_end_inside_the_callback(void **state)
{
	struct rig *rig = *state;
	uint64_t token;

	rig->ctx = rig;
	rig->host.hook = complete_inside;
	token = start(rig, 0, 1);
	assert_null(rig->ctx);
	assert_int_equal(guest_driver_status(&rig->driver), DRV_LIVE);
	end(rig, token, 0);
	run(rig);
	expect(rig, 0, 1, FLUSH_OK);
}

/* The same ends for requests as a device reset, a queue reset and a machine's reset have. */
enum kind { DEVICE_RESET, QUEUE_RESET, SYSTEM_RESET, KINDS };

static void lose_requests(struct rig *rig, enum kind kind)
{
	if (kind == QUEUE_RESET) {
		guest_driver_queue_reset(&rig->driver, 0);
		return;
	}
	if (kind == SYSTEM_RESET)
		assert_int_equal(vmemdev_device_system_reset(rig->dev), 0);
	drv_reset(rig);
}

static void come_back(struct rig *rig, enum kind kind)
{
	if (kind == QUEUE_RESET)
		drv_open(rig, 0);
	else
		drv_start(rig, VMEMDEV_F_RING_RESET);
}

/* shows: RST-02 RST-03 VQR-01 PMEM-06 PMEM-07 */
static void RST_03_a_flush_that_was_reset_away_is_waited_for(void **state)
{
	struct rig *rig = *state;

	drv_reset(rig);
	drv_start(rig, VMEMDEV_F_RING_RESET);
	for (int kind = 0; kind < KINDS; kind++) {
		uint64_t token = start(rig, 0, 3), sum;

		lose_requests(rig, (enum kind)kind);
		come_back(rig, (enum kind)kind);
		/* the new request came after that flush began */
		host_forget(rig);
		flush_post(rig, 9);
		run(rig);
		assert_int_equal(rig->host.count, 0);
		drv_took_queue_irq(rig);
		sum = ram_sum(rig);
		end(rig, token, 0);
		assert_true(ram_sum(rig) == sum);
		run(rig);
		assert_int_equal(rig->host.count, 1);
		assert_int_equal(flush_take(rig, 9), FLUSH_NONE);
		assert_false(drv_took_queue_irq(rig));
		end(rig, rig->host.token, 0);
		run(rig);
		expect(rig, 9, 1, FLUSH_OK);
	}
	assert_int_equal(rig->errors, 0);
}

/* shows: RST-02 RST-03 STAT-08 */
static void RST_03_an_end_after_a_reset_touches_nothing(void **state)
{
	struct rig *rig = *state;
	uint64_t token = start(rig, 0, 3), sum;

	drv_set_status(rig, 0);
	sum = ram_sum(rig);
	end(rig, token, 0);
	run(rig);
	assert_true(ram_sum(rig) == sum);
	assert_false(drv_took_queue_irq(rig));
	assert_false(drv_took_config_irq(rig));

	/* between the end and the run; and with FAILED set by the driver */
	drv_reset(rig);
	drv_start(rig, 0);
	token = start(rig, 0, 3);
	end(rig, token, 0);
	drv_set_status(rig, 0);
	sum = ram_sum(rig);
	run(rig);
	assert_true(ram_sum(rig) == sum);
	drv_reset(rig);
	drv_start(rig, 0);
	token = start(rig, 0, 3);
	drv_set_status(rig, DRV_LIVE | VMEMDEV_STATUS_FAILED);
	sum = ram_sum(rig);
	end(rig, token, 0);
	run(rig);
	assert_true(ram_sum(rig) == sum);
	assert_false(drv_took_queue_irq(rig));
}

/*
 * The kernel tells of lost writes once, and the requests that it was told for are gone: a
 * later success would be a lie to whoever relies on the data.
 */
/* shows: PMEM-09 PMEM-06 */
static void PMEM_09_a_failure_that_nobody_heard_of_is_not_forgotten(void **state)
{
	struct rig *rig = *state;

	drv_reset(rig);
	drv_start(rig, VMEMDEV_F_RING_RESET);
	for (int kind = 0; kind < 2 * KINDS; kind++) {
		uint64_t token = start(rig, 0, 2);

		/* the failure comes before or after the requests have gone */
		if (kind < KINDS)
			end(rig, token, VMEMDEV_E_HOST);
		lose_requests(rig, (enum kind)(kind % KINDS));
		if (kind >= KINDS)
			end(rig, token, VMEMDEV_E_HOST);
		come_back(rig, (enum kind)(kind % KINDS));
		/* what is no flush is not told, and a flush that is lost again is not either */
		flush_post_as(rig, 5, 9, 4, 4);
		drv_kick(rig, 0);
		run(rig);
		expect(rig, 5, 1, FLUSH_FAILED);
		token = start(rig, 0, 1);
		lose_requests(rig, (enum kind)(kind % KINDS));
		end(rig, token, 0);
		come_back(rig, (enum kind)(kind % KINDS));
		end(rig, start(rig, 0, 2), 0);
		run(rig);
		expect(rig, 0, 2, FLUSH_FAILED);
		end(rig, start(rig, 0, 2), 0);
		run(rig);
		expect(rig, 0, 2, FLUSH_OK);
	}
}

static int setup_way(void **state)
{
	(void)state;
	return 0;
}

/* The place of an answer vanishes during the flush; that it failed is told to the next one. */
/* shows: HOST-VQ-11 HOST-REG-14 PMEM-09 */
static void HOST_VQ_11_room_that_vanishes_meanwhile_stops_the_device(void **state)
{
	static const struct guest_region regions[] = {
		{.gpa = RAM_GPA, .len = RAM_SIZE}, {.gpa = UINT64_C(0x2000000), .len = 4096}};
	struct rig *rig = rig_bare_regions(*state, regions, 2);
	const struct vmemdev_buf bufs[2] = {
		{.gpa = DATA_GPA, .len = 4, .writable = 0},
		{.gpa = UINT64_C(0x2000000), .len = 4, .writable = 1}};

	*state = rig;
	rig_make_pmem(rig, NULL);
	drv_start(rig, 0);
	guest_store32(&rig->memory, DATA_GPA, 0);
	for (uint32_t failed = 0; failed < 2; failed++) {
		rig->host.answer = VMEMDEV_LATER;
		assert_int_equal(guest_memory_show(&rig->memory, 2), 0);
		drv_add(rig, 0, bufs, 2);
		drv_kick(rig, 0);
		run(rig);
		assert_int_equal(guest_memory_show(&rig->memory, 1), 0);
		end(rig, rig->host.token, failed ? VMEMDEV_E_HOST : 0);
		assert_int_equal(rig_run(rig), VMEMDEV_E_GUEST_ADDR);
		assert_int_equal(rig->errors, failed + 1);
		drv_reset(rig);
		drv_start(rig, 0);
		rig->host.answer = 0;
		assert_int_equal(flush_send(rig), failed ? FLUSH_FAILED : FLUSH_OK);
		assert_int_equal(flush_send(rig), FLUSH_OK);
	}
}

/* A request that breaks the rules in the middle of a good lot, and a reset that mends it. */
/* shows: HOST-PMEM-02 RST-03 */
static void HOST_PMEM_02_a_broken_lot_leaves_nothing_behind(void **state)
{
	struct rig *rig = *state;

	flush_post_as(rig, 0, 0, 4, 4);
	flush_post_as(rig, 1, 0, 4, 4);
	flush_post_as(rig, 2, 0, 4, 3);
	drv_kick(rig, 0);
	assert_int_equal(rig_run(rig), VMEMDEV_E_GUEST_REPLY);
	assert_int_equal(rig->host.count, 0);
	drv_reset(rig);
	drv_start(rig, 0);
	end(rig, start(rig, 4, 2), 0);
	run(rig);
	expect(rig, 4, 2, FLUSH_OK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_ALL(PMEM_06_nobody_is_answered_before_the_flush_has_ended, setup_later),
		TEST_ALL(PMEM_07_what_comes_during_a_flush_waits_for_the_next, setup_later),
		TEST_ALL(PMEM_09_only_those_fail_whose_flush_failed, setup_later),
		TEST_RINGS(tokens_that_are_not_outstanding_are_refused, setup_later),
		TEST_RINGS(a_flush_cannot_end_inside_the_callback, setup_later),
		TEST_ALL(RST_03_a_flush_that_was_reset_away_is_waited_for, setup_later),
		TEST_ALL(RST_03_an_end_after_a_reset_touches_nothing, setup_later),
		TEST_ALL(PMEM_09_a_failure_that_nobody_heard_of_is_not_forgotten, setup_later),
		TEST_RINGS(HOST_VQ_11_room_that_vanishes_meanwhile_stops_the_device, setup_way),
		TEST_ALL(HOST_PMEM_02_a_broken_lot_leaves_nothing_behind, setup_later),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
