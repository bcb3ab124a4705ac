/* SPDX-License-Identifier: BSD-3-Clause */
/* Flushes of a host that answers at once, and requests that are none. */
#include "device_rig.h"

static uint32_t used_now(struct rig *rig)
{
	return guest_queue_has_used(&rig->driver.queues[0]) ? 1 : 0;
}

static struct vmemdev_pmem_counts counts(struct rig *rig)
{
	struct vmemdev_pmem_counts now;

	vmemdev_pmem_get_counts(&rig->pmem, &now);
	return now;
}

/* What the disk holds: the region's first word when the last good flush began. */
static uint32_t disk;

static void flush_to_disk(struct rig *rig, const struct host_call *call)
{
	assert_int_equal(call->op, HOST_FLUSH);
	assert_int_equal(used_now(rig), 0);
	if (rig->host.answer == 0)
		disk = guest_load32(&rig->memory, PMEM_GPA);
}

/* shows: PMEM-06 PMEM-08 PMEM-10 PMEM-01 LNX-PMEM-01 */
static void PMEM_06_an_answer_means_that_the_data_is_on_the_disk(void **state)
{
	struct rig *rig = *state;

	rig->host.hook = flush_to_disk;
	for (uint32_t i = 1; i < 300; i++) {
		guest_store32(&rig->memory, PMEM_GPA, i);
		assert_int_equal(flush_send(rig), FLUSH_OK);
		assert_int_equal(disk, i);
		assert_int_equal(rig->host.count, i);
		assert_true(drv_took_queue_irq(rig));
	}
	assert_int_equal(counts(rig).requests, 299);
	assert_int_equal(counts(rig).host_calls, 299);
	assert_int_equal(counts(rig).failed + counts(rig).refused + counts(rig).host_failures, 0);
}

/* shows: PMEM-08 PMEM-09 AMB-19 LNX-PMEM-01 */
static void PMEM_09_exactly_the_failed_flush_is_minus_one(void **state)
{
	static const int answers[] = {VMEMDEV_E_HOST, VMEMDEV_E_BUSY, VMEMDEV_E_INVAL, INT32_MIN};
	struct rig *rig = *state;
	uint8_t raw[4];

	for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
		assert_int_equal(flush_send(rig), FLUSH_OK);
		rig->host.answer = answers[i];
		assert_int_equal(flush_send(rig), FLUSH_FAILED);
		assert_true(guest_read(&rig->memory, DATA_GPA + 64, raw, sizeof(raw)));
		assert_memory_equal(raw, "\xff\xff\xff\xff", 4);
		rig->host.answer = 0;
		assert_int_equal(flush_send(rig), FLUSH_OK);
	}
	assert_int_equal(counts(rig).requests, 2 * ARRAY_LEN(answers));
	assert_int_equal(counts(rig).failed, ARRAY_LEN(answers));
	assert_int_equal(counts(rig).host_failures, ARRAY_LEN(answers));
	assert_int_equal(rig->errors, 0);
}

/* shows: PMEM-07 PMEM-11 HOST-PMEM-03 */
static void PMEM_11_a_full_queue_shares_flushes_and_each_is_answered(void **state)
{
	struct rig *rig = *state;
	uint32_t size = rig->driver.queues[0].size, count = size / 2;

	for (uint32_t lap = 0; lap < 20; lap++) {
		host_forget(rig);
		for (uint32_t i = 0; i < count; i++)
			flush_post(rig, i);
		assert_int_equal(guest_queue_free(&rig->driver.queues[0]), 0);
		assert_int_equal(rig_run(rig), 0);
		assert_int_equal(rig->host.count, count / PMEM_REQUESTS);
		for (uint32_t i = 0; i < count; i++)
			assert_int_equal(flush_take(rig, i), FLUSH_OK);
		assert_int_equal(flush_take(rig, 0), FLUSH_NONE);
	}
}

/* A flush that came during the host's flush needs another one. */
static void post_one_more(struct rig *rig, const struct host_call *call)
{
	(void)call;
	if (rig->host.count == 1)
		flush_post(rig, 3);
	/* what was answered at the second: all that came before the first, and nothing else */
	if (rig->host.count == 2) {
		for (uint32_t i = 0; i < 3; i++)
			assert_int_equal(flush_take(rig, i), FLUSH_OK);
		assert_int_equal(flush_take(rig, 3), FLUSH_NONE);
	}
}

/* shows: PMEM-07 */
static void PMEM_07_a_request_during_a_flush_gets_another(void **state)
{
	struct rig *rig = *state;

	rig->host.hook = post_one_more;
	for (uint32_t i = 0; i < 3; i++)
		flush_post(rig, i);
	assert_int_equal(rig_run(rig), 0);
	assert_int_equal(rig->host.count, 2);
	assert_int_equal(flush_take(rig, 3), FLUSH_OK);
}

/* shows: HOST-PMEM-03 */
static void HOST_PMEM_03_one_request_at_a_time_if_the_host_says_so(void **state)
{
	struct rig *rig = rig_bare(*state);
	struct vmemdev_pmem_config config;

	*state = rig;
	rig_pmem_config(rig, &config);
	config.request_count = 1;
	rig_make_pmem(rig, &config);
	drv_start(rig, 0);
	for (uint32_t i = 0; i < 10; i++)
		flush_post(rig, i);
	assert_int_equal(rig_run(rig), 0);
	assert_int_equal(rig->host.count, 10);
	for (uint32_t i = 0; i < 10; i++)
		assert_int_equal(flush_take(rig, i), FLUSH_OK);
}

/* A unit is a request, and what is left is said. */
static void a_unit_of_budget_is_a_request(void **state)
{
	struct rig *rig = *state;

	for (uint32_t i = 0; i < 10; i++)
		flush_post(rig, i);
	for (uint32_t i = 0; i < 5; i++) {
		assert_true(vmemdev_device_pending(rig->dev));
		assert_int_equal(rig_step(rig, 2), 1);
		assert_int_equal(rig->host.count, i + 1);
		assert_int_equal(flush_take(rig, 2 * i), FLUSH_OK);
		assert_int_equal(flush_take(rig, 2 * i + 1), FLUSH_OK);
		assert_int_equal(flush_take(rig, 0), FLUSH_NONE);
	}
	assert_int_equal(rig_step(rig, 2), 0);
	assert_false(vmemdev_device_pending(rig->dev));
	assert_int_equal(rig->host.count, 5);
}

/* shows: HOST-PMEM-01 AMB-06 */
static void HOST_PMEM_01_what_is_no_flush_is_minus_one_and_goes_on(void **state)
{
	static const struct {
		uint32_t type, len;
	} rows[] = {{1, 4}, {0x100, 4}, {0x10000, 4}, {0x80000000, 4}, {UINT32_MAX, 4},
		    {0, 3}, {0, 2}, {0, 1}, {0, 0}, {1, 8}};
	struct rig *rig = *state;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		host_forget(rig);
		flush_post_as(rig, 0, rows[i].type, rows[i].len, 4);
		drv_kick(rig, 0);
		assert_int_equal(rig_run(rig), 0);
		assert_int_equal(flush_take(rig, 0), FLUSH_FAILED);
		assert_int_equal(rig->host.count, 0);
		assert_int_equal(flush_send(rig), FLUSH_OK);
	}
	assert_int_equal(counts(rig).refused, ARRAY_LEN(rows));
	assert_int_equal(counts(rig).requests, ARRAY_LEN(rows));
	assert_int_equal(rig->errors, 0);
	assert_int_equal(guest_driver_status(&rig->driver), DRV_LIVE);
}

/* Neither takes the other's answer when they share a run. */
/* shows: HOST-PMEM-01 PMEM-09 AMB-06 */
static void HOST_PMEM_01_good_and_bad_ones_in_one_run(void **state)
{
	struct rig *rig = *state;

	for (int answer = 0; answer >= VMEMDEV_E_HOST; answer += VMEMDEV_E_HOST) {
		host_forget(rig);
		rig->host.answer = answer;
		flush_post_as(rig, 0, 7, 4, 4);
		flush_post_as(rig, 1, 0, 4, 4);
		flush_post_as(rig, 2, 0, 2, 4);
		flush_post_as(rig, 3, 0, 4, 4);
		drv_kick(rig, 0);
		assert_int_equal(rig_run(rig), 0);
		assert_int_equal(rig->host.count, 1);
		assert_int_equal(flush_take(rig, 0), FLUSH_FAILED);
		assert_int_equal(flush_take(rig, 1), answer ? FLUSH_FAILED : FLUSH_OK);
		assert_int_equal(flush_take(rig, 2), FLUSH_FAILED);
		assert_int_equal(flush_take(rig, 3), answer ? FLUSH_FAILED : FLUSH_OK);
	}
}

/* Longer parts than needed, and parts in pieces: the first four bytes count. */
/* shows: PMEM-10 PMEM-01 */
static void PMEM_10_four_bytes_are_written_however_much_room_there_is(void **state)
{
	struct rig *rig = *state;
	struct vmemdev_buf bufs[8];
	struct guest_used used;

	flush_post_as(rig, 0, 0, 16, 32);
	drv_kick(rig, 0);
	assert_int_equal(rig_run(rig), 0);
	assert_int_equal(flush_take(rig, 0), FLUSH_OK);
	guest_fill(&rig->memory, DATA_GPA, 0, 8);
	guest_fill(&rig->memory, DATA_GPA + 64, 0xa5, 64);
	for (uint32_t i = 0; i < 8; i++) {
		bufs[i] = (struct vmemdev_buf){
			.gpa = DATA_GPA + (i < 4 ? i : 64 + 2 * i), .len = 1, .writable = i >= 4};
	}
	drv_add(rig, 0, bufs, 8);
	drv_kick(rig, 0);
	assert_int_equal(rig_run(rig), 0);
	assert_true(drv_used(rig, 0, &used));
	assert_int_equal(used.len, 4);
	for (uint32_t i = 0; i < 64; i++) {
		uint8_t byte;

		assert_true(guest_read(&rig->memory, DATA_GPA + 64 + i, &byte, 1));
		assert_int_equal(byte, i >= 8 && i < 16 && i % 2 == 0 ? 0 : 0xa5);
	}
}

/* shows: HOST-PMEM-02 LNX-PMEM-02 STAT-05 */
static void HOST_PMEM_02_no_room_for_the_answer_stops_the_device(void **state)
{
	struct rig *rig = *state;

	for (uint32_t room = 0; room < 4; room++) {
		host_forget(rig);
		rig->errors = 0;
		flush_post_as(rig, 0, 0, 4, room);
		flush_post_as(rig, 1, 0, 4, 4);
		drv_kick(rig, 0);
		assert_int_equal(rig_run(rig), VMEMDEV_E_GUEST_REPLY);
		assert_int_equal(rig->errors, 1);
		assert_int_equal(rig->last_error_queue, 0);
		assert_true(guest_driver_status(&rig->driver) & VMEMDEV_STATUS_NEEDS_RESET);
		assert_true(drv_took_config_irq(rig));
		/* nothing is flushed from here on */
		drv_kick(rig, 0);
		assert_int_equal(rig_run(rig), VMEMDEV_E_GUEST_REPLY);
		assert_int_equal(rig->host.count, 0);
		assert_int_equal(used_now(rig), 0);
		drv_reset(rig);
		drv_start(rig, 0);
		assert_int_equal(flush_send(rig), FLUSH_OK);
	}
}

static void post_at(struct rig *rig, uint64_t request, uint64_t answer)
{
	const struct vmemdev_buf bufs[2] = {{.gpa = request, .len = 4, .writable = 0},
					    {.gpa = answer, .len = 4, .writable = 1}};

	drv_add(rig, 0, bufs, 2);
	drv_kick(rig, 0);
}

/* shows: HOST-VQ-11 HOST-PMEM-01 */
static void HOST_VQ_11_requests_outside_memory_fail_and_answers_stop(void **state)
{
	const uint64_t nowhere = RAM_GPA + RAM_SIZE;
	struct rig *rig = *state;

	post_at(rig, nowhere, DATA_GPA);
	assert_int_equal(rig_run(rig), 0);
	assert_int_equal(guest_load32(&rig->memory, DATA_GPA), FLUSH_FAILED);
	assert_int_equal(drv_used_count(rig, 0), 1);
	guest_store32(&rig->memory, DATA_GPA, 0);
	post_at(rig, DATA_GPA, nowhere);
	assert_int_equal(rig_run(rig), VMEMDEV_E_GUEST_ADDR);
	assert_int_equal(rig->host.count, 0);
	assert_int_equal(rig->errors, 1);
}

/* shows: HOST-PMEM-04 PMEM-14 */
static void HOST_PMEM_04_buffers_may_lie_in_a_region_that_is_guest_memory(void **state)
{
	struct rig *rig = *state;

	guest_store32(&rig->memory, PMEM_GPA + 4096, 0);
	guest_store32(&rig->memory, PMEM_GPA + 8192, 77);
	post_at(rig, PMEM_GPA + 4096, PMEM_GPA + 8192);
	assert_int_equal(rig_run(rig), 0);
	assert_int_equal(rig->host.count, 1);
	assert_int_equal(guest_load32(&rig->memory, PMEM_GPA + 8192), FLUSH_OK);
	assert_int_equal(rig->errors, 0);

	/* not shown to devices: as any other place that is no memory */
	assert_int_equal(guest_memory_show(&rig->memory, 1), 0);
	post_at(rig, PMEM_GPA + 4096, DATA_GPA);
	assert_int_equal(rig_run(rig), 0);
	assert_int_equal(guest_load32(&rig->memory, DATA_GPA), FLUSH_FAILED);
	post_at(rig, DATA_GPA + 64, PMEM_GPA + 8192);
	assert_int_equal(rig_run(rig), VMEMDEV_E_GUEST_ADDR);
	assert_int_equal(rig->errors, 1);
}

/* A region that devices may not write: the guest's file is read-only. */
/* shows: HOST-PMEM-04 */
static void HOST_PMEM_04_no_answers_go_into_a_read_only_region(void **state)
{
	struct rig *rig = *state;
	struct vmemdev_region table[2] = {rig->memory.regions[0]};

	vmemdev_pmem_region(&rig->pmem, rig->memory.regions[1].host, true, &table[1]);
	assert_int_equal(vmemdev_guest_set_regions(&rig->memory.guest, table, 2), 0);
	guest_store32(&rig->memory, DATA_GPA, 0);
	guest_store32(&rig->memory, PMEM_GPA, 0);
	post_at(rig, PMEM_GPA, DATA_GPA + 64);
	assert_int_equal(rig_run(rig), 0);
	assert_int_equal(guest_load32(&rig->memory, DATA_GPA + 64), FLUSH_OK);
	post_at(rig, DATA_GPA, PMEM_GPA);
	assert_int_equal(rig_run(rig), VMEMDEV_E_GUEST_ADDR);
}

/* shows: LNX-PMEM-03 STAT-04 */
static void LNX_PMEM_03_flushes_at_DRIVER_OK_are_served_and_none_before(void **state)
{
	struct rig *rig = *state;

	drv_reset(rig);
	drv_negotiate(rig, 0);
	drv_open(rig, 0);
	flush_post(rig, 0);
	assert_int_equal(rig_run(rig), 0);
	assert_int_equal(rig->host.count, 0);
	drv_set_status(rig, DRV_LIVE);
	assert_int_equal(rig_run(rig), 0);
	assert_int_equal(rig->host.count, 1);
	assert_int_equal(flush_take(rig, 0), FLUSH_OK);
}

/* shows: PMEM-12 PMEM-14 */
static void PMEM_12_no_reset_changes_the_region(void **state)
{
	struct rig *rig = *state;
	uint8_t *region = guest_at(&rig->memory, PMEM_GPA, PMEM_SIZE);

	memset(region, 0x6b, PMEM_SIZE);
	assert_int_equal(flush_send(rig), FLUSH_OK);
	drv_reset(rig);
	drv_start(rig, VMEMDEV_F_RING_RESET);
	guest_driver_queue_reset(&rig->driver, 0);
	drv_open(rig, 0);
	assert_int_equal(flush_send(rig), FLUSH_OK);
	assert_int_equal(vmemdev_device_system_reset(rig->dev), 0);
	drv_reset(rig);
	drv_start(rig, 0);
	assert_int_equal(flush_send(rig), FLUSH_OK);
	for (uint64_t i = 0; i < PMEM_SIZE; i++) {
		if (region[i] != 0x6b)
			fail_msg("byte %u changed", (unsigned int)i);
	}
}

/* shows: VQ-ORD-01 VQ-ORD-06 */
static void VQ_ORD_06_order_is_kept_where_it_was_promised(void **state)
{
	struct rig *rig = rig_bare(*state);
	struct vmemdev_pmem_config config;

	*state = rig;
	rig_pmem_config(rig, &config);
	config.device.features_on |= VMEMDEV_F_IN_ORDER;
	rig_make_pmem(rig, &config);
	drv_start(rig, VMEMDEV_F_IN_ORDER | VMEMDEV_F_EVENT_IDX);
	for (uint32_t lap = 0; lap < 100; lap++) {
		for (uint32_t i = 0; i < 20; i++)
			flush_post_as(rig, i, i % 5 == 1, 4, i % 3 == 0 ? 8 : 4);
		drv_kick(rig, 0);
		rig->host.answer = lap % 3 ? 0 : VMEMDEV_E_HOST;
		assert_int_equal(rig_run(rig), 0);
		for (uint32_t i = 0; i < 20; i++)
			assert_int_equal(flush_take(rig, i), i % 5 == 1 || lap % 3 == 0 ?
					 FLUSH_FAILED : FLUSH_OK);
	}
}

static int setup_way(void **state)
{
	(void)state;
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_ALL(PMEM_06_an_answer_means_that_the_data_is_on_the_disk,
			 rig_setup_pmem_live),
		TEST_ALL(PMEM_09_exactly_the_failed_flush_is_minus_one, rig_setup_pmem_live),
		TEST_ALL(PMEM_11_a_full_queue_shares_flushes_and_each_is_answered,
			 rig_setup_pmem_live),
		TEST_ALL(PMEM_07_a_request_during_a_flush_gets_another, rig_setup_pmem_live),
		TEST_RINGS(HOST_PMEM_03_one_request_at_a_time_if_the_host_says_so, setup_way),
		TEST_RINGS(a_unit_of_budget_is_a_request, rig_setup_pmem_live),
		TEST_ALL(HOST_PMEM_01_what_is_no_flush_is_minus_one_and_goes_on,
			 rig_setup_pmem_live),
		TEST_ALL(HOST_PMEM_01_good_and_bad_ones_in_one_run, rig_setup_pmem_live),
		TEST_RINGS(PMEM_10_four_bytes_are_written_however_much_room_there_is,
			   rig_setup_pmem_live),
		TEST_ALL(HOST_PMEM_02_no_room_for_the_answer_stops_the_device,
			 rig_setup_pmem_live),
		TEST_RINGS(HOST_VQ_11_requests_outside_memory_fail_and_answers_stop,
			   rig_setup_pmem_live),
		TEST_RINGS(HOST_PMEM_04_buffers_may_lie_in_a_region_that_is_guest_memory,
			   rig_setup_pmem_live),
		TEST_RINGS(HOST_PMEM_04_no_answers_go_into_a_read_only_region,
			   rig_setup_pmem_live),
		TEST_ALL(LNX_PMEM_03_flushes_at_DRIVER_OK_are_served_and_none_before,
			 rig_setup_pmem_live),
		TEST_ALL(PMEM_12_no_reset_changes_the_region, rig_setup_pmem_live),
		TEST_RINGS(VQ_ORD_06_order_is_kept_where_it_was_promised, setup_way),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
