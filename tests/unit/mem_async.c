/* SPDX-License-Identifier: BSD-3-Clause */
/* Host work on memory blocks that ends later, and everything that may happen meanwhile. */
#include "device_rig.h"

static int setup_later(void **state)
{
	struct rig *rig;

	rig_setup_mem_live(state);
	rig = *state;
	mem_want(rig, 16 * MEM_BLOCK);
	mem_expect(rig, GUEST_MEM_PLUG, BLOCK(0), 4, GUEST_MEM_ACK);
	host_forget(rig);
	drv_took_config_irq(rig);
	drv_took_queue_irq(rig);
	rig->host.answer = VMEMDEV_LATER;
	return 0;
}

/* The test makes its rig itself. */
static int setup_way(void **state)
{
	(void)state;
	return 0;
}

static void post(struct rig *rig, uint32_t slot, uint16_t type, uint64_t addr, uint16_t blocks)
{
	struct request request;

	request_make(&request, type, addr, blocks);
	request_post(rig, slot, &request);
	drv_kick(rig, 0);
}

/* Start a request that waits for the host; nothing may be visible of it. */
static uint64_t start(struct rig *rig, uint16_t type, uint64_t addr, uint16_t blocks)
{
	struct vmemdev_mem_sizes before = mem_sizes(rig), after;

	drv_took_queue_irq(rig);
	post(rig, 0, type, addr, blocks);
	assert_int_equal(rig_run(rig), 0);
	assert_false(guest_queue_has_used(&rig->driver.queues[0]));
	assert_false(drv_took_queue_irq(rig));
	after = mem_sizes(rig);
	assert_true(before.plugged == after.plugged && before.usable == after.usable);
	return rig->host.token;
}

/* shows: MEM-PLUG-07 MEM-UNPL-05 MEM-ALL-03 MEM-OP-04 MEM-OP-10 */
static void MEM_OP_04_nobody_is_answered_before_the_host_is_done(void **state)
{
	struct rig *rig = *state;
	uint64_t token = start(rig, GUEST_MEM_PLUG, BLOCK(8), 2);

	assert_int_equal(rig_complete(rig, token, 0), 0);
	rig_run(rig);
	assert_int_equal(request_take(rig, 0).type, GUEST_MEM_ACK);
	assert_true(drv_took_queue_irq(rig));
	assert_true(mem_sizes(rig).plugged == 6 * MEM_BLOCK);
	assert_true(mem_has_block(rig, 8) && mem_has_block(rig, 9));

	token = start(rig, GUEST_MEM_UNPLUG, BLOCK(1), 2);
	assert_int_equal(rig_complete(rig, token, 0), 0);
	rig_run(rig);
	assert_int_equal(request_take(rig, 0).type, GUEST_MEM_ACK);
	assert_true(mem_sizes(rig).plugged == 4 * MEM_BLOCK);

	token = start(rig, GUEST_MEM_UNPLUG_ALL, 0, 0);
	assert_int_equal(rig_complete(rig, token, 0), 0);
	rig_run(rig);
	assert_int_equal(request_take(rig, 0).type, GUEST_MEM_ACK);
	assert_true(mem_sizes(rig).plugged == 0);
}

/* shows: MEM-PLUG-06 MEM-UNPL-04 MEM-ALL-02 MEM-OP-09 */
static void MEM_OP_09_late_failure_means_BUSY_and_no_change(void **state)
{
	static const uint16_t types[] = {GUEST_MEM_PLUG, GUEST_MEM_UNPLUG, GUEST_MEM_UNPLUG_ALL};
	struct rig *rig = *state;

	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		uint64_t at = types[i] == GUEST_MEM_PLUG ? BLOCK(8) : BLOCK(1);
		uint64_t token = start(rig, types[i], at, 2);

		assert_int_equal(rig_complete(rig, token, VMEMDEV_E_HOST), 0);
		rig_run(rig);
		assert_int_equal(request_take(rig, 0).type, GUEST_MEM_BUSY);
		assert_true(mem_sizes(rig).plugged == 4 * MEM_BLOCK);
		assert_true(mem_has_block(rig, 1) && !mem_has_block(rig, 8));
	}
}

/* shows: MEM-OP-11 */
static void MEM_OP_11_later_requests_wait_their_turn(void **state)
{
	struct rig *rig = *state;
	uint64_t token;

	post(rig, 0, GUEST_MEM_PLUG, BLOCK(8), 1);
	post(rig, 1, GUEST_MEM_STATE, BLOCK(8), 1);
	post(rig, 2, GUEST_MEM_UNPLUG, BLOCK(8), 1);
	assert_int_equal(rig_run(rig), 0);
	assert_false(guest_queue_has_used(&rig->driver.queues[0]));
	assert_int_equal(rig->host.count, 1);
	drv_kick(rig, 0);
	assert_int_equal(rig_run(rig), 0);
	assert_int_equal(rig->host.count, 1);
	token = rig->host.token;
	assert_int_equal(rig_complete(rig, token, 0), 0);
	assert_int_equal(rig_run(rig), 0);
	assert_int_equal(request_take(rig, 0).type, GUEST_MEM_ACK);
	assert_int_equal(request_take(rig, 1).state, GUEST_MEM_PLUGGED);
	assert_int_equal(request_take(rig, 2).type, -1);
	assert_int_equal(host_last(rig)->op, HOST_UNPLUG);
	assert_int_equal(rig_complete(rig, rig->host.token, 0), 0);
	assert_int_equal(rig_run(rig), 0);
	assert_int_equal(request_take(rig, 2).type, GUEST_MEM_ACK);
}

static void tokens_that_are_not_outstanding_are_refused(void **state)
{
	struct rig *rig = *state;
	uint64_t token, sum;

	assert_int_equal(rig_complete(rig, 0, 0), VMEMDEV_E_STATE);
	assert_int_equal(rig_complete(rig, rig->host.token, 0), VMEMDEV_E_STATE);
	token = start(rig, GUEST_MEM_PLUG, BLOCK(8), 2);
	sum = ram_sum(rig);
	assert_int_equal(rig_complete(rig, token + 1, 0), VMEMDEV_E_STATE);
	assert_int_equal(rig_complete(rig, token - 1, 0), VMEMDEV_E_STATE);
	assert_int_equal(rig_complete(rig, UINT64_MAX, 0), VMEMDEV_E_STATE);
	assert_int_equal(rig_complete(rig, token, 1), VMEMDEV_E_INVAL);
	assert_int_equal(rig_complete(rig, token, VMEMDEV_LATER), VMEMDEV_E_INVAL);
	assert_true(ram_sum(rig) == sum);
	assert_true(mem_sizes(rig).plugged == 4 * MEM_BLOCK);
	assert_int_equal(rig_complete(rig, token, 0), 0);
	assert_int_equal(rig_complete(rig, token, 0), VMEMDEV_E_STATE);
	rig_run(rig);
	assert_int_equal(request_take(rig, 0).type, GUEST_MEM_ACK);
	assert_int_equal(request_take(rig, 0).type, -1);
	assert_true(mem_sizes(rig).plugged == 6 * MEM_BLOCK);
}

/* Each kind of reset ends the request for the guest, but not the work of the host. */
/* shows: RST-02 RST-03 MEM-INIT-02 LNX-MMIO-01 */
static void RST_03_late_work_after_a_reset_is_recorded_and_not_answered(void **state)
{
	struct rig *rig = *state;

	for (int result = 0; result >= VMEMDEV_E_HOST; result += VMEMDEV_E_HOST) {
		uint64_t token = start(rig, GUEST_MEM_PLUG, BLOCK(8), 2);
		uint64_t sum;

		drv_set_status(rig, 0);
		assert_int_equal(guest_driver_status(&rig->driver), 0);
		sum = ram_sum(rig);
		assert_int_equal(rig_complete(rig, token, result), 0);
		rig_run(rig);
		assert_true(ram_sum(rig) == sum);
		assert_false(drv_took_queue_irq(rig));
		assert_false(drv_took_config_irq(rig));
		assert_int_equal(mem_has_block(rig, 8), result == 0);
		assert_int_equal(rig_complete(rig, token, 0), VMEMDEV_E_STATE);

		/* the next driver finds the truth */
		drv_reset(rig);
		drv_start(rig, 0);
		rig->host.answer = 0;
		assert_int_equal(mem_ask(rig, GUEST_MEM_STATE, BLOCK(8), 2).state,
				 result == 0 ? GUEST_MEM_PLUGGED : GUEST_MEM_UNPLUGGED);
		if (result == 0)
			mem_expect(rig, GUEST_MEM_UNPLUG, BLOCK(8), 2, GUEST_MEM_ACK);
		drv_took_queue_irq(rig);
		rig->host.answer = VMEMDEV_LATER;
	}
}

/* shows: RST-02 RST-03 RST-05 */
static void RST_03_a_new_driver_waits_for_the_work_of_the_old_one(void **state)
{
	struct rig *rig = *state;
	uint64_t token = start(rig, GUEST_MEM_PLUG, BLOCK(8), 2);

	drv_reset(rig);
	drv_start(rig, 0);
	post(rig, 3, GUEST_MEM_STATE, BLOCK(8), 2);
	rig_run(rig);
	assert_int_equal(rig_complete(rig, token, 0), 0);
	assert_int_equal(rig_run(rig), 0);
	{
		struct answer answer = request_take(rig, 3);

		assert_int_equal(answer.type, GUEST_MEM_ACK);
		assert_int_equal(answer.state, GUEST_MEM_PLUGGED);
	}
	assert_int_equal(request_take(rig, 0).type, -1);
	assert_true(mem_sizes(rig).plugged == 6 * MEM_BLOCK);
}

/* shows: VQR-01 VQR-05 RST-03 MMIO-09 */
static void VQR_05_a_queue_reset_drops_the_request_and_not_the_work(void **state)
{
	struct rig *rig = *state;
	uint64_t token, sum;

	drv_reset(rig);
	drv_start(rig, VMEMDEV_F_RING_RESET);
	token = start(rig, GUEST_MEM_PLUG, BLOCK(8), 2);
	guest_driver_queue_reset(&rig->driver, 0);
	assert_false(guest_driver_queue_ready(&rig->driver, 0));
	sum = ram_sum(rig);
	assert_int_equal(rig_complete(rig, token, 0), 0);
	rig_run(rig);
	assert_true(ram_sum(rig) == sum);
	assert_false(drv_took_queue_irq(rig));
	assert_true(mem_has_block(rig, 8));
	drv_open(rig, 0);
	rig->host.answer = 0;
	assert_int_equal(mem_ask(rig, GUEST_MEM_STATE, BLOCK(8), 2).state, GUEST_MEM_PLUGGED);
	assert_int_equal(rig->errors, 0);
}

/* shows: STAT-08 */
static void STAT_08_after_FAILED_late_work_is_recorded_and_not_answered(void **state)
{
	struct rig *rig = *state;
	uint64_t token = start(rig, GUEST_MEM_PLUG, BLOCK(8), 2);
	uint64_t sum;

	drv_set_status(rig, DRV_LIVE | VMEMDEV_STATUS_FAILED);
	sum = ram_sum(rig);
	assert_int_equal(rig_complete(rig, token, 0), 0);
	rig_run(rig);
	assert_true(ram_sum(rig) == sum);
	assert_false(drv_took_queue_irq(rig));
	assert_true(mem_has_block(rig, 8));
}

/* shows: MEM-OP-06 */
static void MEM_OP_06_a_system_reset_is_refused_while_the_host_works(void **state)
{
	struct rig *rig = *state;
	uint64_t token = start(rig, GUEST_MEM_PLUG, BLOCK(8), 2);

	rig->window = true;
	assert_int_equal(vmemdev_device_system_reset(rig->dev), VMEMDEV_E_STATE);
	assert_int_equal(guest_driver_status(&rig->driver), DRV_LIVE);
	assert_true(guest_driver_queue_ready(&rig->driver, 0));
	assert_int_equal(rig_complete(rig, token, 0), 0);
	rig_run(rig);
	assert_int_equal(request_take(rig, 0).type, GUEST_MEM_ACK);
	rig->host.answer = 0;
	rig->window = true;
	assert_int_equal(vmemdev_device_system_reset(rig->dev), 0);
	assert_true(mem_sizes(rig).plugged == 0);
}

/* The room for the answer was memory when the request came, and is not any more. */
/* shows: HOST-REG-14 HOST-VQ-11 */
static void HOST_VQ_11_room_that_vanishes_meanwhile_stops_the_device(void **state)
{
	static const struct guest_region regions[] = {
		{.gpa = RAM_GPA, .len = RAM_SIZE}, {.gpa = UINT64_C(0x2000000), .len = 4096}};
	struct rig *rig = rig_bare_regions(*state, regions, 2);
	const struct vmemdev_buf bufs[2] = {
		{.gpa = DATA_GPA, .len = 24, .writable = 0},
		{.gpa = UINT64_C(0x2000000), .len = 10, .writable = 1}};
	struct request request;

	rig_make_mem(rig, NULL);
	*state = rig;
	drv_start(rig, 0);
	mem_want(rig, 16 * MEM_BLOCK);
	drv_took_config_irq(rig);
	rig->host.answer = VMEMDEV_LATER;
	request_make(&request, GUEST_MEM_PLUG, BLOCK(4), 1);
	assert_true(guest_write(&rig->memory, DATA_GPA, request.bytes, 24));
	drv_add(rig, 0, bufs, 2);
	drv_kick(rig, 0);
	assert_int_equal(rig_run(rig), 0);
	assert_int_equal(guest_memory_show(&rig->memory, 1), 0);
	assert_int_equal(rig_complete(rig, rig->host.token, 0), 0);
	assert_int_equal(rig_run(rig), VMEMDEV_E_GUEST_ADDR);
	assert_true(mem_has_block(rig, 4));
	assert_int_equal(rig->errors, 1);
	assert_true(drv_took_config_irq(rig));
	drv_reset(rig);
	drv_start(rig, 0);
	rig->host.answer = 0;
	mem_expect(rig, GUEST_MEM_UNPLUG, BLOCK(4), 1, GUEST_MEM_ACK);
}

/* The ranges that the host got stay as they are until it says that it is done. */
static void ranges_stay_while_the_host_works(void **state)
{
	struct rig *rig = *state;
	uint64_t token = start(rig, GUEST_MEM_UNPLUG_ALL, 0, 0);
	const struct host_call *call = host_last(rig);

	assert_int_equal(call->count, 1);
	drv_kick(rig, 0);
	rig_run(rig);
	drv_reset(rig);
	drv_start(rig, 0);
	post(rig, 1, GUEST_MEM_PLUG, BLOCK(10), 1);
	rig_run(rig);
	mem_want(rig, MEM_REGION);
	assert_memory_equal(call->live, call->ranges, sizeof(call->ranges[0]));
	assert_int_equal(rig_complete(rig, token, 0), 0);
	assert_true(mem_sizes(rig).plugged == 0);
}

/* A size that changes while UNPLUG_ALL is at the host must not break the invariants. */
/* shows: MEM-CFG-06 MEM-ALL-04 */
static void MEM_CFG_06_the_target_may_move_while_UNPLUG_ALL_waits(void **state)
{
	struct rig *rig = *state;
	uint64_t token = start(rig, GUEST_MEM_UNPLUG_ALL, 0, 0);
	struct vmemdev_mem_sizes sizes;

	mem_want(rig, 40 * MEM_BLOCK);
	assert_true(mem_sizes(rig).usable >= 40 * MEM_BLOCK);
	assert_int_equal(rig_complete(rig, token, 0), 0);
	sizes = mem_sizes(rig);
	assert_true(sizes.usable >= sizes.requested);
	assert_true(sizes.requested == 40 * MEM_BLOCK);
	assert_true(sizes.plugged == 0);
	rig_run(rig);
	assert_int_equal(request_take(rig, 0).type, GUEST_MEM_ACK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_ALL(MEM_OP_04_nobody_is_answered_before_the_host_is_done, setup_later),
		TEST_ALL(MEM_OP_09_late_failure_means_BUSY_and_no_change, setup_later),
		TEST_ALL(MEM_OP_11_later_requests_wait_their_turn, setup_later),
		TEST_RINGS(tokens_that_are_not_outstanding_are_refused, setup_later),
		TEST_ALL(RST_03_late_work_after_a_reset_is_recorded_and_not_answered,
			 setup_later),
		TEST_ALL(RST_03_a_new_driver_waits_for_the_work_of_the_old_one, setup_later),
		TEST_ALL(VQR_05_a_queue_reset_drops_the_request_and_not_the_work, setup_later),
		TEST_ALL(STAT_08_after_FAILED_late_work_is_recorded_and_not_answered,
			 setup_later),
		TEST_RINGS(MEM_OP_06_a_system_reset_is_refused_while_the_host_works,
			   setup_later),
		TEST_RINGS(HOST_VQ_11_room_that_vanishes_meanwhile_stops_the_device, setup_way),
		TEST_RINGS(ranges_stay_while_the_host_works, setup_later),
		TEST_RINGS(MEM_CFG_06_the_target_may_move_while_UNPLUG_ALL_waits, setup_later),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
