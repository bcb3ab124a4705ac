/* SPDX-License-Identifier: BSD-3-Clause */
/* The four requests of the memory device, request by request and answer by answer. */
#include "device_rig.h"

/* Requested: 16 blocks, so that 24 are usable. Blocks 4 to 7 are plugged. */
static int setup_some(void **state)
{
	struct rig *rig;

	rig_setup_mem_live(state);
	rig = *state;
	mem_want(rig, 16 * MEM_BLOCK);
	mem_expect(rig, GUEST_MEM_PLUG, BLOCK(4), 4, GUEST_MEM_ACK);
	host_forget(rig);
	drv_took_config_irq(rig);
	drv_took_queue_irq(rig);
	return 0;
}

#define USABLE 24

static void expect_unchanged(struct rig *rig)
{
	assert_true(mem_sizes(rig).plugged == 4 * MEM_BLOCK);
	for (uint32_t block = 0; block < MEM_BLOCKS; block++)
		assert_int_equal(mem_has_block(rig, block), block >= 4 && block < 8);
	assert_int_equal(host_count(rig, HOST_PLUGGED), 0);
}

/* A request for @blocks blocks at @addr is wrong whatever its type. */
struct wrong {
	uint64_t addr;
	uint16_t blocks;
};

static const struct wrong wrongs[] = {
	{BLOCK(8) + 1, 1}, {BLOCK(8) + 4096, 1}, {BLOCK(9) - 1, 1}, /* misaligned */
	{BLOCK(8), 0}, {BLOCK(4), 0}, {MEM_GPA - MEM_BLOCK, 0},     /* nothing */
	{MEM_GPA - MEM_BLOCK, 1}, {MEM_GPA - MEM_BLOCK, 2}, {0, 1},  /* below */
	{BLOCK(USABLE - 1), 2}, {BLOCK(8), USABLE - 7},             /* across the end */
	{BLOCK(USABLE), 1}, {BLOCK(MEM_BLOCKS - 1), 1},              /* beyond usable */
	{BLOCK(MEM_BLOCKS), 1}, {BLOCK(MEM_BLOCKS - 1), 2},          /* beyond the region */
	{UINT64_C(0xffffffffffff0000), 1}, {UINT64_C(0xffffffffffff0000), 2},
	{UINT64_C(0xffffffffffff0000), 65535}, {BLOCK(8), 65535}, {BLOCK(0), 65535},
	{MEM_GPA - 65535 * MEM_BLOCK, 65535}, {UINT64_C(1) << 63, 1},
};

/*
 * shows: MEM-PLUG-02 MEM-PLUG-03 MEM-PLUG-04 MEM-UNPL-02 MEM-STATE-02 MEM-OP-12 HOST-MEM-03
 * LNX-MEM-03
 */
static void MEM_PLUG_04_wrong_places_and_counts_are_errors(void **state)
{
	struct rig *rig = *state;

	for (size_t i = 0; i < ARRAY_LEN(wrongs); i++) {
		const struct wrong *w = &wrongs[i];

		mem_expect(rig, GUEST_MEM_PLUG, w->addr, w->blocks, GUEST_MEM_ERROR);
		mem_expect(rig, GUEST_MEM_UNPLUG, w->addr, w->blocks, GUEST_MEM_ERROR);
		mem_expect(rig, GUEST_MEM_STATE, w->addr, w->blocks, GUEST_MEM_ERROR);
	}
	expect_unchanged(rig);
	assert_int_equal(rig->host.count, 0);
	assert_int_equal(rig->errors, 0);
}

/* Garbage in each byte that the text tells us to ignore, and a longer request. */
static struct answer ask_with_garbage(struct rig *rig, uint16_t type, uint64_t addr,
				      uint16_t blocks)
{
	struct request request;

	request_make(&request, type, addr, blocks);
	memset(request.bytes + 2, 0xbd, 6);
	memset(request.bytes + 18, 0xbd, 14);
	request.len = 32;
	request.room = 16;
	return request_send(rig, &request);
}

/* shows: MEM-PLUG-01 MEM-UNPL-01 MEM-STATE-01 MEM-OP-08 */
static void MEM_PLUG_01_padding_and_trailing_bytes_are_ignored(void **state)
{
	struct rig *rig = *state;
	struct answer answer;

	answer = ask_with_garbage(rig, GUEST_MEM_PLUG, BLOCK(8), 2);
	assert_int_equal(answer.type, GUEST_MEM_ACK);
	answer = ask_with_garbage(rig, GUEST_MEM_STATE, BLOCK(4), 6);
	assert_int_equal(answer.type, GUEST_MEM_ACK);
	assert_int_equal(answer.state, GUEST_MEM_PLUGGED);
	answer = ask_with_garbage(rig, GUEST_MEM_UNPLUG, BLOCK(8), 2);
	assert_int_equal(answer.type, GUEST_MEM_ACK);
	host_forget(rig);
	expect_unchanged(rig);
}

/* shows: MEM-ALL-01 */
static void MEM_ALL_01_UNPLUG_ALL_looks_at_the_type_only(void **state)
{
	struct rig *rig = *state;
	struct answer answer = ask_with_garbage(rig, GUEST_MEM_UNPLUG_ALL, 0x1234567, 0xffff);

	assert_int_equal(answer.type, GUEST_MEM_ACK);
	assert_true(mem_sizes(rig).plugged == 0);
}

/* shows: MEM-PLUG-05 */
static void MEM_PLUG_05_error_if_any_block_is_plugged(void **state)
{
	struct rig *rig = *state;

	mem_expect(rig, GUEST_MEM_PLUG, BLOCK(7), 3, GUEST_MEM_ERROR);  /* first */
	mem_expect(rig, GUEST_MEM_PLUG, BLOCK(0), 12, GUEST_MEM_ERROR); /* middle */
	mem_expect(rig, GUEST_MEM_PLUG, BLOCK(1), 4, GUEST_MEM_ERROR);  /* last */
	mem_expect(rig, GUEST_MEM_PLUG, BLOCK(4), 4, GUEST_MEM_ERROR);  /* all */
	assert_int_equal(rig->host.count, 0);
	expect_unchanged(rig);
}

/* shows: MEM-PLUG-05 AMB-05 */
static void MEM_PLUG_05_error_wins_over_nack_and_busy(void **state)
{
	struct rig *rig = *state;

	rig->host.answer = VMEMDEV_E_BUSY;
	mem_want(rig, 4 * MEM_BLOCK);
	mem_expect(rig, GUEST_MEM_PLUG, BLOCK(7), 1, GUEST_MEM_ERROR);
	mem_expect(rig, GUEST_MEM_PLUG, BLOCK(8), 1, GUEST_MEM_NACK);
	assert_int_equal(rig->host.count, 0);
	mem_want(rig, 5 * MEM_BLOCK);
	mem_expect(rig, GUEST_MEM_PLUG, BLOCK(8), 1, GUEST_MEM_BUSY);
	expect_unchanged(rig);
}

/* shows: MEM-PLUG-06 MEM-UNPL-04 MEM-ALL-02 MEM-OP-09 LNX-MEM-02 LNX-MEM-04 */
static void MEM_PLUG_06_a_host_that_cannot_means_BUSY_and_no_change(void **state)
{
	static const int answers[] = {VMEMDEV_E_BUSY, VMEMDEV_E_HOST, VMEMDEV_E_NOSPC};
	struct rig *rig = *state;
	struct vmemdev_mem_counts counts;

	for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
		rig->host.answer = answers[i];
		mem_expect(rig, GUEST_MEM_PLUG, BLOCK(8), 4, GUEST_MEM_BUSY);
		mem_expect(rig, GUEST_MEM_UNPLUG, BLOCK(5), 2, GUEST_MEM_BUSY);
		mem_expect(rig, GUEST_MEM_UNPLUG_ALL, 0, 0, GUEST_MEM_BUSY);
		expect_unchanged(rig);
		assert_true(mem_sizes(rig).usable == USABLE * MEM_BLOCK);
	}
	vmemdev_mem_get_counts(&rig->mem, &counts);
	assert_int_equal(counts.busy, 9);
	assert_int_equal(counts.host_failures, 9);
	rig->host.answer = 0;
	mem_expect(rig, GUEST_MEM_PLUG, BLOCK(8), 4, GUEST_MEM_ACK);
}

static void not_answered_yet(struct rig *rig, const struct host_call *call)
{
	assert_false(guest_queue_has_used(&rig->driver.queues[0]));
	if (call->op == HOST_PLUG || call->op == HOST_UNPLUG)
		rig->ctx = rig;
}

/* shows: MEM-OP-04 MEM-PLUG-07 MEM-UNPL-05 */
static void MEM_OP_04_the_host_is_done_before_the_answer_is_published(void **state)
{
	struct rig *rig = *state;

	rig->host.hook = not_answered_yet;
	mem_expect(rig, GUEST_MEM_PLUG, BLOCK(0), 1, GUEST_MEM_ACK);
	assert_ptr_equal(rig->ctx, rig);
	rig->ctx = NULL;
	mem_expect(rig, GUEST_MEM_UNPLUG, BLOCK(0), 1, GUEST_MEM_ACK);
	assert_ptr_equal(rig->ctx, rig);
	rig->ctx = NULL;
	mem_expect(rig, GUEST_MEM_UNPLUG_ALL, 0, 0, GUEST_MEM_ACK);
	assert_ptr_equal(rig->ctx, rig);
}

static void see_ten_blocks(struct rig *rig, bool config)
{
	uint8_t expected[8], bytes[8];

	assert_true(!config || rig->way.mmio);
	put64(expected, 10 * MEM_BLOCK);
	vmemdev_device_config_read(rig->dev, MEM_CFG_PLUGGED, bytes, sizeof(bytes));
	assert_memory_equal(bytes, expected, sizeof(bytes));
	assert_true(mem_has_block(rig, 8));
	rig->ctx = rig;
}

/* shows: MEM-OP-10 */
static void MEM_OP_10_state_is_updated_before_the_driver_is_told(void **state)
{
	struct rig *rig = *state;

	rig->irq_hook = see_ten_blocks;
	mem_expect(rig, GUEST_MEM_PLUG, BLOCK(8), 6, GUEST_MEM_ACK);
	assert_ptr_equal(rig->ctx, rig);
}

/* shows: MEM-PLUG-07 MEM-CFG-05 */
static void MEM_PLUG_07_ack_plugs_exactly_the_blocks_named(void **state)
{
	struct rig *rig = *state;
	const struct host_call *call;

	mem_expect(rig, GUEST_MEM_PLUG, BLOCK(20), 4, GUEST_MEM_ACK);
	call = host_call(rig, 0);
	assert_int_equal(call->op, HOST_PLUG);
	assert_int_equal(call->count, 1);
	assert_true(call->ranges[0].gpa == BLOCK(20));
	assert_true(call->ranges[0].len == 4 * MEM_BLOCK);
	assert_int_equal(host_last(rig)->op, HOST_PLUGGED);
	assert_true(host_last(rig)->value == 8 * MEM_BLOCK);
	for (uint32_t block = 0; block < MEM_BLOCKS; block++)
		assert_int_equal(mem_has_block(rig, block),
				 (block >= 4 && block < 8) || (block >= 20 && block < 24));
	assert_true(guest_driver_config64(&rig->driver, MEM_CFG_PLUGGED) == 8 * MEM_BLOCK);
}

/* shows: MEM-PLUG-08 HOST-MEM-04 LNX-MEM-01 AMB-05 */
static void MEM_PLUG_08_more_than_requested_is_nacked(void **state)
{
	struct rig *rig = *state;

	mem_expect(rig, GUEST_MEM_PLUG, BLOCK(8), 13, GUEST_MEM_NACK);
	expect_unchanged(rig);
	mem_expect(rig, GUEST_MEM_PLUG, BLOCK(8), 12, GUEST_MEM_ACK); /* exact fit */
	assert_true(mem_sizes(rig).plugged == 16 * MEM_BLOCK);
	host_forget(rig);
	mem_expect(rig, GUEST_MEM_PLUG, BLOCK(20), 1, GUEST_MEM_NACK);
	mem_want(rig, 2 * MEM_BLOCK); /* more plugged than requested now */
	mem_expect(rig, GUEST_MEM_PLUG, BLOCK(20), 1, GUEST_MEM_NACK);
	mem_expect(rig, GUEST_MEM_UNPLUG, BLOCK(8), 12, GUEST_MEM_ACK);
	mem_expect(rig, GUEST_MEM_PLUG, BLOCK(8), 1, GUEST_MEM_NACK);
	assert_int_equal(host_count(rig, HOST_PLUG), 0);
}

/* shows: MEM-UNPL-03 */
static void MEM_UNPL_03_error_if_any_block_is_unplugged(void **state)
{
	struct rig *rig = *state;

	mem_expect(rig, GUEST_MEM_UNPLUG, BLOCK(3), 2, GUEST_MEM_ERROR);
	mem_expect(rig, GUEST_MEM_UNPLUG, BLOCK(7), 2, GUEST_MEM_ERROR);
	mem_expect(rig, GUEST_MEM_UNPLUG, BLOCK(0), 1, GUEST_MEM_ERROR);
	assert_int_equal(rig->host.count, 0);
	expect_unchanged(rig);
	mem_expect(rig, GUEST_MEM_UNPLUG, BLOCK(5), 1, GUEST_MEM_ACK);
	mem_expect(rig, GUEST_MEM_UNPLUG, BLOCK(4), 4, GUEST_MEM_ERROR); /* middle */
}

/* shows: MEM-UNPL-05 */
static void MEM_UNPL_05_unplugging_below_the_requested_size_is_allowed(void **state)
{
	struct rig *rig = *state;

	mem_expect(rig, GUEST_MEM_UNPLUG, BLOCK(4), 3, GUEST_MEM_ACK);
	assert_int_equal(host_call(rig, 0)->op, HOST_UNPLUG);
	assert_int_equal(host_call(rig, 0)->count, 1);
	assert_true(host_call(rig, 0)->ranges[0].gpa == BLOCK(4));
	assert_true(host_call(rig, 0)->ranges[0].len == 3 * MEM_BLOCK);
	assert_true(mem_sizes(rig).plugged == MEM_BLOCK);
	mem_expect(rig, GUEST_MEM_UNPLUG, BLOCK(7), 1, GUEST_MEM_ACK);
	assert_true(mem_sizes(rig).plugged == 0);
	assert_true(mem_sizes(rig).requested == 16 * MEM_BLOCK);
}

/* shows: MEM-ALL-03 MEM-ALL-04 LNX-MEM-05 */
static void MEM_ALL_03_everything_goes_and_the_usable_region_shrinks(void **state)
{
	struct rig *rig = *state;

	mem_expect(rig, GUEST_MEM_PLUG, BLOCK(20), 2, GUEST_MEM_ACK);
	mem_want(rig, MEM_BLOCK);
	host_forget(rig);
	mem_expect(rig, GUEST_MEM_UNPLUG_ALL, 0, 0, GUEST_MEM_ACK);
	assert_int_equal(host_count(rig, HOST_UNPLUG), 1);
	assert_int_equal(host_call(rig, 0)->count, 2);
	assert_true(host_call(rig, 0)->ranges[0].gpa == BLOCK(4));
	assert_true(host_call(rig, 0)->ranges[1].gpa == BLOCK(20));
	assert_true(mem_sizes(rig).plugged == 0);
	assert_true(mem_sizes(rig).usable == MEM_BLOCK + MEM_SLACK);
	assert_true(mem_sizes(rig).usable >= mem_sizes(rig).requested);
	/* also when nothing is plugged; then there is nothing for the host to do */
	host_forget(rig);
	mem_expect(rig, GUEST_MEM_UNPLUG_ALL, 0, 0, GUEST_MEM_ACK);
	assert_int_equal(host_count(rig, HOST_UNPLUG), 0);
}

/* More runs than the host gets ranges: the last covers the rest, mem_next tells apart. */
/* shows: MEM-ALL-03 MEM-OP-03 */
static void MEM_ALL_03_the_last_range_covers_what_does_not_fit(void **state)
{
	struct rig *rig = *state;
	const struct host_call *call;

	mem_want(rig, MEM_REGION);
	for (uint32_t block = 10; block < 60; block += 2)
		mem_expect(rig, GUEST_MEM_PLUG, BLOCK(block), 1, GUEST_MEM_ACK);
	host_forget(rig);
	mem_expect(rig, GUEST_MEM_UNPLUG_ALL, 0, 0, GUEST_MEM_ACK);
	call = host_call(rig, 0);
	assert_int_equal(call->op, HOST_UNPLUG);
	assert_int_equal(call->count, VMEMDEV_MEM_RANGES);
	assert_true(call->ranges[0].gpa == BLOCK(4) && call->ranges[0].len == 4 * MEM_BLOCK);
	for (uint32_t i = 1; i < VMEMDEV_MEM_RANGES - 1; i++) {
		assert_true(call->ranges[i].gpa == BLOCK(8 + 2 * i));
		assert_true(call->ranges[i].len == MEM_BLOCK);
	}
	assert_true(call->ranges[15].gpa == BLOCK(38));
	assert_true(call->ranges[15].len == 21 * MEM_BLOCK); /* 38 to 58 */
	assert_true(mem_sizes(rig).plugged == 0);
}

/* shows: MEM-STATE-03 */
static void MEM_STATE_03_all_patterns_of_six_blocks(void **state)
{
	struct rig *rig = *state;

	mem_want(rig, MEM_REGION);
	mem_expect(rig, GUEST_MEM_UNPLUG_ALL, 0, 0, GUEST_MEM_ACK);
	rig->host.answer = 0;
	for (uint32_t pattern = 0; pattern < 64; pattern++) {
		for (uint32_t i = 0; i < 6; i++)
			if (pattern >> i & 1)
				mem_expect(rig, GUEST_MEM_PLUG, BLOCK(61 + i), 1, GUEST_MEM_ACK);
		rig->host.answer = VMEMDEV_E_BUSY; /* no matter for STATE */
		for (uint32_t first = 0; first < 6; first++) {
			for (uint32_t n = 1; first + n <= 6; n++) {
				uint32_t mask = ((1u << n) - 1) << first;
				struct answer answer;
				int expected = GUEST_MEM_MIXED;

				if ((pattern & mask) == mask)
					expected = GUEST_MEM_PLUGGED;
				else if (!(pattern & mask))
					expected = GUEST_MEM_UNPLUGGED;
				answer = mem_ask(rig, GUEST_MEM_STATE, BLOCK(61 + first),
						 (uint16_t)n);
				assert_int_equal(answer.type, GUEST_MEM_ACK);
				assert_int_equal(answer.state, expected);
			}
		}
		rig->host.answer = 0;
		mem_expect(rig, GUEST_MEM_UNPLUG_ALL, 0, 0, GUEST_MEM_ACK);
	}
}

/* shows: MEM-OP-08 AMB-07 VQ-PACK-16 */
static void MEM_OP_08_answers_are_10_bytes_and_padding_is_0(void **state)
{
	static const struct {
		uint16_t type;
		uint32_t block;
		uint16_t blocks;
		uint16_t answer, state;
	} rows[] = {
		{GUEST_MEM_PLUG, 8, 1, GUEST_MEM_ACK, 0},
		{GUEST_MEM_PLUG, 8, 1, GUEST_MEM_ERROR, 0},
		{GUEST_MEM_PLUG, 9, 14, GUEST_MEM_NACK, 0},
		{GUEST_MEM_UNPLUG, 8, 1, GUEST_MEM_ACK, 0},
		{GUEST_MEM_UNPLUG, 8, 1, GUEST_MEM_ERROR, 0},
		{GUEST_MEM_STATE, 3, 3, GUEST_MEM_ACK, GUEST_MEM_MIXED},
		{GUEST_MEM_STATE, 8, 1, GUEST_MEM_ACK, GUEST_MEM_UNPLUGGED},
		{GUEST_MEM_STATE, 40, 1, GUEST_MEM_ERROR, 0},
		{GUEST_MEM_UNPLUG_ALL, 0, 0, GUEST_MEM_ACK, 0},
	};
	struct rig *rig = *state;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		uint8_t expected[32];
		struct answer answer = mem_ask(rig, rows[i].type, BLOCK(rows[i].block),
					       rows[i].blocks);

		memset(expected, 0, 10);
		memset(expected + 10, 0xa5, 22);
		put16(expected, rows[i].answer);
		put16(expected + 8, rows[i].state);
		assert_memory_equal(answer.bytes, expected, sizeof(expected));
		assert_int_equal(answer.len, 10);
	}
}

/* shows: MEM-OP-11 */
static void MEM_OP_11_requests_are_served_in_ring_order(void **state)
{
	static const uint16_t types[] = {GUEST_MEM_PLUG, GUEST_MEM_STATE, GUEST_MEM_UNPLUG,
					 GUEST_MEM_STATE, GUEST_MEM_PLUG, GUEST_MEM_PLUG};
	static const int answers[] = {GUEST_MEM_ACK, GUEST_MEM_ACK, GUEST_MEM_ACK,
				      GUEST_MEM_ACK, GUEST_MEM_ACK, GUEST_MEM_ERROR};
	struct rig *rig = *state;

	for (uint32_t i = 0; i < ARRAY_LEN(types); i++) {
		struct request request;

		request_make(&request, types[i], BLOCK(9), 1);
		request_post(rig, i, &request);
	}
	drv_kick(rig, 0);
	assert_int_equal(rig_run(rig), 0);
	for (uint32_t i = 0; i < ARRAY_LEN(types); i++) {
		struct answer answer = request_take(rig, i);

		assert_int_equal(answer.type, answers[i]);
		if (types[i] == GUEST_MEM_STATE)
			assert_int_equal(answer.state, i == 1 ? GUEST_MEM_PLUGGED
							      : GUEST_MEM_UNPLUGGED);
	}
}

/* shows: MEM-OP-03 */
static void MEM_OP_03_the_host_never_sees_a_block_in_the_wrong_state(void **state)
{
	struct rig *rig = *state;

	mem_expect(rig, GUEST_MEM_PLUG, BLOCK(4), 4, GUEST_MEM_ERROR);
	mem_expect(rig, GUEST_MEM_UNPLUG, BLOCK(8), 4, GUEST_MEM_ERROR);
	mem_expect(rig, GUEST_MEM_STATE, BLOCK(4), 8, GUEST_MEM_ACK);
	assert_int_equal(rig->host.count, 0);
}

/* shows: MEM-PLUG-07 */
static void MEM_PLUG_07_without_a_plug_callback_blocks_are_just_noted(void **state)
{
	struct rig *rig = *state;
	struct vmemdev_mem_ops ops = rig_mem_ops;
	struct vmemdev_mem_config config;

	ops.plug = NULL;
	ops.plugged = NULL;
	rig_mem_config(rig, &config);
	config.ops = &ops;
	rig_make_mem(rig, &config);
	drv_start(rig, 0);
	mem_want(rig, 8 * MEM_BLOCK);
	mem_expect(rig, GUEST_MEM_PLUG, BLOCK(0), 8, GUEST_MEM_ACK);
	assert_int_equal(rig->host.count, 0);
	assert_true(mem_sizes(rig).plugged == 8 * MEM_BLOCK);
}

/* What the device writes must be told to a host that keeps a dirty log, and no more. */
static void answers_are_told_to_the_dirty_log(void **state)
{
	struct rig *rig = *state;

	guest_memory_forget(&rig->memory);
	mem_expect(rig, GUEST_MEM_STATE, BLOCK(4), 1, GUEST_MEM_ACK);
	assert_true(guest_memory_wrote(&rig->memory, DATA_GPA + 64, 10));
	assert_true(guest_memory_wrote(&rig->memory, DATA_GPA + 73, 1));
	assert_false(guest_memory_wrote(&rig->memory, DATA_GPA, 64));
	assert_false(guest_memory_wrote(&rig->memory, DATA_GPA + 74, 4096));
}

/* shows: LNX-MEM-09 LNX-COR-08 */
static void LNX_MEM_09_linux_rings_with_and_without_indirect_tables(void **state)
{
	static const uint64_t options[] = {
		0, VMEMDEV_F_INDIRECT_DESC, VMEMDEV_F_EVENT_IDX,
		VMEMDEV_F_INDIRECT_DESC | VMEMDEV_F_EVENT_IDX,
		VMEMDEV_F_INDIRECT_DESC | VMEMDEV_F_EVENT_IDX | VMEMDEV_F_IN_ORDER};
	struct rig *rig = *state;

	for (size_t i = 0; i < ARRAY_LEN(options); i++) {
		struct guest_mem_response response;

		drv_reset(rig);
		drv_start(rig, options[i]);
		rig->window = true;
		for (uint16_t block = 8; block < 16; block++) {
			assert_int_equal(guest_driver_mem_request(&rig->driver, GUEST_MEM_PLUG,
								  BLOCK(block), 1, &response),
					 GUEST_MEM_ACK);
			assert_int_equal(response.len, 10);
		}
		assert_int_equal(guest_driver_mem_request(&rig->driver, GUEST_MEM_UNPLUG,
							  BLOCK(8), 8, &response),
				 GUEST_MEM_ACK);
		rig->window = false;
	}
	assert_true(mem_sizes(rig).plugged == 4 * MEM_BLOCK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_ALL(MEM_PLUG_04_wrong_places_and_counts_are_errors, setup_some),
		TEST_ALL(MEM_PLUG_01_padding_and_trailing_bytes_are_ignored, setup_some),
		TEST_ALL(MEM_ALL_01_UNPLUG_ALL_looks_at_the_type_only, setup_some),
		TEST_ALL(MEM_PLUG_05_error_if_any_block_is_plugged, setup_some),
		TEST_ALL(MEM_PLUG_05_error_wins_over_nack_and_busy, setup_some),
		TEST_ALL(MEM_PLUG_06_a_host_that_cannot_means_BUSY_and_no_change, setup_some),
		TEST_ALL(MEM_OP_04_the_host_is_done_before_the_answer_is_published, setup_some),
		TEST_ALL(MEM_OP_10_state_is_updated_before_the_driver_is_told, setup_some),
		TEST_ALL(MEM_PLUG_07_ack_plugs_exactly_the_blocks_named, setup_some),
		TEST_ALL(MEM_PLUG_08_more_than_requested_is_nacked, setup_some),
		TEST_ALL(MEM_UNPL_03_error_if_any_block_is_unplugged, setup_some),
		TEST_ALL(MEM_UNPL_05_unplugging_below_the_requested_size_is_allowed, setup_some),
		TEST_ALL(MEM_ALL_03_everything_goes_and_the_usable_region_shrinks, setup_some),
		TEST_RINGS(MEM_ALL_03_the_last_range_covers_what_does_not_fit, setup_some),
		TEST_RINGS(MEM_STATE_03_all_patterns_of_six_blocks, setup_some),
		TEST_ALL(MEM_OP_08_answers_are_10_bytes_and_padding_is_0, setup_some),
		TEST_ALL(MEM_OP_11_requests_are_served_in_ring_order, setup_some),
		TEST_RINGS(MEM_OP_03_the_host_never_sees_a_block_in_the_wrong_state, setup_some),
		TEST_RINGS(MEM_PLUG_07_without_a_plug_callback_blocks_are_just_noted,
			   rig_setup_bare),
		TEST_RINGS(answers_are_told_to_the_dirty_log, setup_some),
		TEST_ALL(LNX_MEM_09_linux_rings_with_and_without_indirect_tables, setup_some),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
