/* SPDX-License-Identifier: BSD-3-Clause */
/* The memory device and a driver that does not behave. */
#include "device_rig.h"

static int setup_plugged(void **state)
{
	struct rig *rig;

	rig_setup_mem_live(state);
	rig = *state;
	mem_want(rig, 16 * MEM_BLOCK);
	mem_expect(rig, GUEST_MEM_PLUG, BLOCK(0), 4, GUEST_MEM_ACK);
	host_forget(rig);
	drv_took_config_irq(rig);
	return 0;
}

/* The device must have stopped with @err; a reset must bring it back as it was. */
static void expect_stopped(struct rig *rig, int err)
{
	assert_int_equal(rig_run(rig), err);
	assert_int_equal(drv_used_count(rig, 0), 0);
	assert_true(guest_driver_status(&rig->driver) & VMEMDEV_STATUS_NEEDS_RESET);
	assert_true(drv_took_config_irq(rig));
	assert_int_equal(rig->errors, 1);
	assert_int_equal(rig->last_error, err);
	assert_int_equal(rig->last_error_queue, 0);
	assert_int_equal(rig_run(rig), err);
	assert_int_equal(rig->errors, 1);
	rig->errors = 0;
	drv_reset(rig);
	drv_start(rig, 0);
	assert_true(mem_sizes(rig).plugged == 4 * MEM_BLOCK);
	mem_expect(rig, GUEST_MEM_STATE, BLOCK(0), 4, GUEST_MEM_ACK);
}

/* shows: HOST-MEM-01 AMB-06 */
static void HOST_MEM_01_unknown_types_are_errors(void **state)
{
	static const uint16_t types[] = {4, 5, 0x100, 0x8000, 0xffff};
	struct rig *rig = *state;
	struct vmemdev_mem_counts counts;

	for (size_t i = 0; i < ARRAY_LEN(types); i++)
		mem_expect(rig, types[i], BLOCK(4), 1, GUEST_MEM_ERROR);
	vmemdev_mem_get_counts(&rig->mem, &counts);
	assert_int_equal(counts.error, ARRAY_LEN(types));
	assert_int_equal(rig->host.count, 0);
	assert_int_equal(rig->errors, 0);
}

/* shows: HOST-MEM-02 */
static void HOST_MEM_02_a_short_request_is_an_error(void **state)
{
	struct rig *rig = *state;

	for (uint32_t len = 1; len < 24; len++) {
		struct request request;
		struct answer answer;

		request_make(&request, GUEST_MEM_PLUG, BLOCK(4), 1);
		request.len = len;
		answer = request_send(rig, &request);
		assert_int_equal(answer.type, GUEST_MEM_ERROR);
		assert_int_equal(answer.len, 10);
	}
	assert_int_equal(rig->host.count, 0);
}

/* shows: HOST-MEM-02 */
static void HOST_MEM_02_without_any_readable_part_it_is_an_error_too(void **state)
{
	const struct vmemdev_buf room = {.gpa = DATA_GPA, .len = 10, .writable = 1};
	struct rig *rig = *state;
	struct guest_used used;

	guest_fill(&rig->memory, DATA_GPA, 0xa5, 16);
	drv_add(rig, 0, &room, 1);
	drv_kick(rig, 0);
	assert_int_equal(rig_run(rig), 0);
	assert_true(drv_used(rig, 0, &used));
	assert_int_equal(used.len, 10);
	assert_int_equal(guest_load16(&rig->memory, DATA_GPA), GUEST_MEM_ERROR);
}

/* shows: HOST-MEM-02 STAT-05 STAT-06 */
static void HOST_MEM_02_no_room_for_the_answer_stops_the_device(void **state)
{
	struct rig *rig = *state;

	for (uint32_t room = 0; room < 10; room++) {
		struct request request;

		request_make(&request, GUEST_MEM_PLUG, BLOCK(4), 1);
		request.room = room;
		request_post(rig, 0, &request);
		drv_kick(rig, 0);
		expect_stopped(rig, VMEMDEV_E_GUEST_REPLY);
		assert_int_equal(host_count(rig, HOST_PLUG), 0);
	}
}

/* shows: HOST-VQ-11 HOST-MEM-07 */
static void HOST_VQ_11_a_request_outside_memory_is_answered_with_error(void **state)
{
	static const uint64_t where[] = {0, RAM_GPA + RAM_SIZE - 8, BLOCK(8),
					 UINT64_C(0xfffffffffffffff0)};
	struct rig *rig = *state;

	for (size_t i = 0; i < ARRAY_LEN(where); i++) {
		const struct vmemdev_buf bufs[2] = {
			{.gpa = where[i], .len = 24, .writable = 0},
			{.gpa = DATA_GPA, .len = 10, .writable = 1}};
		struct guest_used used;

		guest_fill(&rig->memory, DATA_GPA, 0xa5, 16);
		drv_add(rig, 0, bufs, 2);
		drv_kick(rig, 0);
		assert_int_equal(rig_run(rig), 0);
		assert_true(drv_used(rig, 0, &used));
		assert_int_equal(guest_load16(&rig->memory, DATA_GPA), GUEST_MEM_ERROR);
	}
	assert_int_equal(rig->errors, 0);
	assert_int_equal(rig->host.count, 0);
}

/* shows: HOST-VQ-11 HOST-MEM-07 */
static void HOST_VQ_11_an_answer_outside_memory_stops_the_device(void **state)
{
	static const uint64_t where[] = {0, RAM_GPA + RAM_SIZE - 4, BLOCK(8),
					 UINT64_C(0xfffffffffffffffc)};
	struct rig *rig = *state;

	for (size_t i = 0; i < ARRAY_LEN(where); i++) {
		struct request request;
		const struct vmemdev_buf bufs[2] = {
			{.gpa = DATA_GPA, .len = 24, .writable = 0},
			{.gpa = where[i], .len = 10, .writable = 1}};

		request_make(&request, GUEST_MEM_PLUG, BLOCK(4), 1);
		assert_true(guest_write(&rig->memory, DATA_GPA, request.bytes, 24));
		drv_add(rig, 0, bufs, 2);
		drv_kick(rig, 0);
		expect_stopped(rig, VMEMDEV_E_GUEST_ADDR);
		assert_int_equal(host_count(rig, HOST_PLUG), 0);
	}
}

/* A rig whose memory device's blocks are guest memory for its own rings and buffers. */
static int setup_backed(void **state)
{
	static const struct guest_region regions[] = {
		{.gpa = RAM_GPA, .len = RAM_SIZE}, {.gpa = MEM_GPA, .len = MEM_REGION}};
	struct rig *rig = rig_bare_regions(*state, regions, ARRAY_LEN(regions));
	static struct vmemdev_region table[2];

	rig_make_mem(rig, NULL);
	table[0] = rig->memory.regions[0];
	vmemdev_mem_region(&rig->mem, rig->memory.regions[1].host, &table[1]);
	assert_int_equal(vmemdev_guest_set_regions(&rig->memory.guest, table, 2), 0);
	drv_start(rig, 0);
	mem_want(rig, 16 * MEM_BLOCK);
	mem_expect(rig, GUEST_MEM_PLUG, BLOCK(0), 4, GUEST_MEM_ACK);
	host_forget(rig);
	drv_took_config_irq(rig);
	*state = rig;
	return 0;
}

static void post_at(struct rig *rig, uint64_t from, uint64_t to, const struct request *request)
{
	const struct vmemdev_buf bufs[2] = {{.gpa = from, .len = 24, .writable = 0},
					    {.gpa = to, .len = 10, .writable = 1}};

	assert_true(guest_write(&rig->memory, from, request->bytes, 24));
	drv_add(rig, 0, bufs, 2);
	drv_kick(rig, 0);
}

/* shows: HOST-MEM-07 MEM-OP-04 */
static void HOST_MEM_07_plugged_blocks_hold_buffers_and_unplugged_ones_do_not(void **state)
{
	struct rig *rig = *state;
	struct request request;
	struct guest_used used;

	request_make(&request, GUEST_MEM_STATE, BLOCK(2), 1);
	post_at(rig, BLOCK(1), BLOCK(3) + 64, &request);
	assert_int_equal(rig_run(rig), 0);
	assert_true(drv_used(rig, 0, &used));
	assert_int_equal(guest_load16(&rig->memory, BLOCK(3) + 64), GUEST_MEM_ACK);

	post_at(rig, BLOCK(4), BLOCK(3) + 64, &request);
	assert_int_equal(rig_run(rig), 0);
	assert_true(drv_used(rig, 0, &used));
	assert_int_equal(guest_load16(&rig->memory, BLOCK(3) + 64), GUEST_MEM_ERROR);

	post_at(rig, BLOCK(1), BLOCK(3) + MEM_BLOCK - 4, &request);
	expect_stopped(rig, VMEMDEV_E_GUEST_ADDR);
}

/* The answer lies in the block that the request takes away: nowhere to put it. */
/* shows: HOST-MEM-06 HOST-MEM-07 */
static void HOST_MEM_06_a_block_that_holds_the_answer_goes_and_the_device_stops(void **state)
{
	struct rig *rig = *state;
	struct request request;

	request_make(&request, GUEST_MEM_UNPLUG, BLOCK(3), 1);
	post_at(rig, BLOCK(1), BLOCK(3), &request);
	assert_int_equal(rig_run(rig), VMEMDEV_E_GUEST_ADDR);
	assert_int_equal(host_count(rig, HOST_UNPLUG), 1);
	assert_false(mem_has_block(rig, 3));
	assert_true(mem_sizes(rig).plugged == 3 * MEM_BLOCK);
	assert_int_equal(rig->errors, 1);
}

/* shows: HOST-MEM-06 HOST-REG-14 */
static void HOST_MEM_06_a_block_that_holds_the_ring_goes_and_the_device_stops(void **state)
{
	struct rig *rig = *state;
	struct vmemdev_vq_layout at = {.desc = BLOCK(3), .driver = BLOCK(3) + 0x4000,
				       .device = BLOCK(3) + 0x8000, .size = 16};
	struct guest_queue_config config = {.features = rig->ring_features, .size = 16, .at = at};
	struct guest_queue *q = &rig->driver.queues[0];

	drv_reset(rig);
	drv_negotiate(rig, 0);
	guest_queue_open(q, &rig->memory, &config);
	rig->driver.open[0] = true;
	assert_true(guest_driver_queue_enable(&rig->driver, 0, &q->layout));
	drv_set_status(rig, DRV_LIVE);
	mem_expect(rig, GUEST_MEM_STATE, BLOCK(3), 1, GUEST_MEM_ACK);

	/* published before or found afterwards: either way it ends in a stopped device */
	{
		struct request request;

		request_make(&request, GUEST_MEM_UNPLUG, BLOCK(3), 1);
		request_post(rig, 0, &request);
		drv_kick(rig, 0);
		rig_run(rig);
	}
	assert_int_equal(host_count(rig, HOST_UNPLUG), 1);
	assert_false(mem_has_block(rig, 3));
	drv_kick(rig, 0);
	assert_int_equal(rig_run(rig), VMEMDEV_E_GUEST_RING);
	assert_true(guest_driver_status(&rig->driver) & VMEMDEV_STATUS_NEEDS_RESET);
	assert_int_equal(rig->errors, 1);
	drv_reset(rig);
	drv_start(rig, 0);
	mem_expect(rig, GUEST_MEM_STATE, BLOCK(3), 1, GUEST_MEM_ACK);
}

/* shows: HOST-MEM-08 HOST-REG-21 */
static void HOST_MEM_08_a_flood_is_served_one_by_one_within_the_budget(void **state)
{
	struct rig *rig = *state;

	for (uint32_t i = 0; i < 32; i++) {
		struct request request;

		request_make(&request, i & 1 ? GUEST_MEM_UNPLUG : GUEST_MEM_PLUG, BLOCK(8), 4);
		request_post(rig, i, &request);
	}
	drv_kick(rig, 0);
	for (uint32_t i = 0; i < 32; i++) {
		int left = rig_step(rig, 1);

		assert_true(left == 1 || (left == 0 && i == 31));
		assert_int_equal(host_count(rig, HOST_PLUG) + host_count(rig, HOST_UNPLUG), 1);
		host_forget(rig);
		assert_int_equal(request_take(rig, i).type, GUEST_MEM_ACK);
	}
	assert_int_equal(rig_step(rig, 100), 0);
	assert_true(mem_sizes(rig).plugged == 4 * MEM_BLOCK);
}

/* shows: HOST-MEM-08 */
static void HOST_MEM_08_the_host_may_hold_a_flood_back_with_BUSY(void **state)
{
	struct rig *rig = *state;

	rig->host.answer = VMEMDEV_E_BUSY;
	for (uint32_t i = 0; i < 200; i++)
		mem_expect(rig, i & 1 ? GUEST_MEM_UNPLUG : GUEST_MEM_PLUG,
			   i & 1 ? BLOCK(0) : BLOCK(8), 4, GUEST_MEM_BUSY);
	assert_true(mem_sizes(rig).plugged == 4 * MEM_BLOCK);
}

/* shows: MEM-OP-12 HOST-MEM-03 */
static void MEM_OP_12_random_places_never_touch_a_block_they_must_not(void **state)
{
	struct rig *rig = *state;
	struct guest_random random;

	guest_random_seed(&random, 12);
	for (int i = 0; i < 20000; i++) {
		uint64_t addr = guest_random_next(&random) << 32 | guest_random_next(&random);
		uint16_t blocks = (uint16_t)guest_random_next(&random);

		if (guest_random_below(&random, 2))
			addr |= ~UINT64_C(0xffffffff);
		if (guest_random_below(&random, 2))
			addr &= ~(MEM_BLOCK - 1);
		if (addr >= MEM_GPA && addr < MEM_GPA + MEM_REGION)
			continue;
		mem_expect(rig, (uint16_t)(i % 2), addr, blocks, GUEST_MEM_ERROR);
	}
	assert_int_equal(rig->host.count, 0);
	assert_true(mem_sizes(rig).plugged == 4 * MEM_BLOCK);
}

/* Request and room for the answer cut into single bytes. */
/* shows: MEM-OP-08 VQ-SPLIT-03 */
static void MEM_OP_08_requests_may_be_cut_anywhere(void **state)
{
	struct rig *rig = *state;
	struct vmemdev_buf bufs[34];
	struct request request;
	struct guest_used used;

	request_make(&request, GUEST_MEM_STATE, BLOCK(2), 4);
	assert_true(guest_write(&rig->memory, DATA_GPA, request.bytes, 24));
	for (uint32_t i = 0; i < 34; i++) {
		bufs[i].gpa = i < 24 ? DATA_GPA + i : DATA_GPA + 4096 + 8 * (uint64_t)i;
		bufs[i].len = 1;
		bufs[i].writable = i >= 24;
		guest_fill(&rig->memory, DATA_GPA + 4096 + 8 * (uint64_t)i, 0xa5, 8);
	}
	drv_add(rig, 0, bufs, 34);
	drv_kick(rig, 0);
	assert_int_equal(rig_run(rig), 0);
	assert_true(drv_used(rig, 0, &used));
	assert_int_equal(used.len, 10);
	for (uint32_t i = 24; i < 34; i++) {
		uint8_t byte;

		assert_true(guest_read(&rig->memory, bufs[i].gpa, &byte, 1));
		assert_int_equal(byte, i == 32 ? GUEST_MEM_MIXED : 0);
		assert_true(guest_read(&rig->memory, bufs[i].gpa + 1, &byte, 1));
		assert_int_equal(byte, 0xa5);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_ALL(HOST_MEM_01_unknown_types_are_errors, setup_plugged),
		TEST_RINGS(HOST_MEM_02_a_short_request_is_an_error, setup_plugged),
		TEST_RINGS(HOST_MEM_02_without_any_readable_part_it_is_an_error_too,
			   setup_plugged),
		TEST_ALL(HOST_MEM_02_no_room_for_the_answer_stops_the_device, setup_plugged),
		TEST_RINGS(HOST_VQ_11_a_request_outside_memory_is_answered_with_error,
			   setup_plugged),
		TEST_ALL(HOST_VQ_11_an_answer_outside_memory_stops_the_device, setup_plugged),
		TEST_RINGS(HOST_MEM_07_plugged_blocks_hold_buffers_and_unplugged_ones_do_not,
			   setup_backed),
		TEST_RINGS(HOST_MEM_06_a_block_that_holds_the_answer_goes_and_the_device_stops,
			   setup_backed),
		TEST_RINGS(HOST_MEM_06_a_block_that_holds_the_ring_goes_and_the_device_stops,
			   setup_backed),
		TEST_ALL(HOST_MEM_08_a_flood_is_served_one_by_one_within_the_budget,
			 setup_plugged),
		TEST_RINGS(HOST_MEM_08_the_host_may_hold_a_flood_back_with_BUSY, setup_plugged),
		TEST_RINGS(MEM_OP_12_random_places_never_touch_a_block_they_must_not,
			   setup_plugged),
		TEST_RINGS(MEM_OP_08_requests_may_be_cut_anywhere, setup_plugged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
