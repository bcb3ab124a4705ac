/* SPDX-License-Identifier: BSD-3-Clause */
/* Free page hinting: rounds, whose hints are believed and whose are not. */
#include "device_rig.h"

#define HINTS VMEMDEV_BALLOON_F_FREE_PAGE_HINT
#define STOP 0u
#define DONE 1u
#define MIB UINT64_C(0x100000)
#define A (SPARE_GPA + 0 * MIB)
#define B (SPARE_GPA + 16 * MIB)
#define C (SPARE_GPA + 32 * MIB)

static const struct guest_region spare = {.gpa = SPARE_GPA, .len = 1024 * MIB};

static int setup_first(void **state, uint32_t first_round)
{
	struct rig *rig = rig_bare(*state);
	struct vmemdev_balloon_config config;

	rig_show_spare(rig, &spare, 1);
	rig_balloon_full_config(rig, &config);
	config.first_round = first_round;
	rig_make_balloon(rig, &config);
	drv_start(rig, BALLOON_FULL);
	rig_run(rig);
	host_forget(rig);
	*state = rig;
	return 0;
}

static int setup(void **state)
{
	return setup_first(state, 0);
}

static int setup_near_wrap(void **state)
{
	return setup_first(state, UINT32_C(0xfffffffe));
}

static uint32_t shown_id(struct rig *rig)
{
	return guest_driver_config32(&rig->driver, BAL_CMD_ID);
}

static enum vmemdev_balloon_round round_of(struct rig *rig)
{
	return vmemdev_balloon_hint_round(&rig->balloon);
}

static uint32_t host_start(struct rig *rig)
{
	assert_int_equal(vmemdev_balloon_hint_start(&rig->balloon), 0);
	return shown_id(rig);
}

static void host_stop(struct rig *rig)
{
	assert_int_equal(vmemdev_balloon_hint_stop(&rig->balloon), 0);
}

static void host_done(struct rig *rig)
{
	assert_int_equal(vmemdev_balloon_hint_done(&rig->balloon), 0);
}

static struct vmemdev_balloon_counts counts_of(struct rig *rig)
{
	struct vmemdev_balloon_counts counts;

	vmemdev_balloon_get_counts(&rig->balloon, &counts);
	return counts;
}

/* Post a command ID, a range; without a kick. */
static void post_bytes(struct rig *rig, const void *bytes, uint32_t len)
{
	uint64_t gpa = guest_place(&rig->memory, 64, 4);
	const struct vmemdev_buf buf = {.gpa = gpa, .len = len, .writable = 0};

	assert_true(guest_write(&rig->memory, gpa, bytes, len));
	drv_add(rig, HINTQ, &buf, 1);
}

static void post_id(struct rig *rig, uint32_t id)
{
	uint8_t bytes[4];

	put32(bytes, id);
	post_bytes(rig, bytes, sizeof(bytes));
}

static void post_hint(struct rig *rig, uint64_t gpa, uint64_t len)
{
	const struct vmemdev_range range = {gpa, len};

	ranges_post(rig, HINTQ, &range, 1);
}

/* Kick and run; each buffer comes back, and nothing was written. Returns how many did. */
static uint32_t serve(struct rig *rig)
{
	struct guest_used used;
	uint32_t count = 0;

	drv_kick(rig, HINTQ);
	assert_int_equal(rig_run(rig), 0);
	while (drv_used(rig, HINTQ, &used)) {
		assert_int_equal(used.len, 0);
		count++;
	}
	assert_int_equal(rig->driver.queues[HINTQ].out_count, 0);
	assert_int_equal(rig->errors, 0);
	return count;
}

static void send_id(struct rig *rig, uint32_t id)
{
	post_id(rig, id);
	assert_int_equal(serve(rig), 1);
}

/* A round that the guest has taken up. */
static uint32_t open_round(struct rig *rig)
{
	uint32_t id = host_start(rig);

	send_id(rig, id);
	assert_int_equal(round_of(rig), VMEMDEV_BALLOON_ROUND_OPEN);
	return id;
}

/* Pages in all that the host was told of in hints. */
static uint64_t hinted(struct rig *rig)
{
	uint64_t pages = 0;

	for (uint32_t n = 0; n < rig->host.count; n++) {
		const struct host_call *call = host_call(rig, n);

		for (uint32_t i = 0; call->op == HOST_HINT && i < call->count; i++)
			pages += call->ranges[i].len / PAGE;
	}
	return pages;
}

/* Pages of [gpa, gpa + len) among them. */
static uint64_t hinted_of(struct rig *rig, uint64_t gpa, uint64_t len)
{
	uint64_t pages = 0;

	for (uint32_t n = 0; n < rig->host.count; n++) {
		const struct host_call *call = host_call(rig, n);

		for (uint32_t i = 0; call->op == HOST_HINT && i < call->count; i++) {
			const struct vmemdev_range *r = &call->ranges[i];
			uint64_t from = r->gpa > gpa ? r->gpa : gpa;
			uint64_t end = r->gpa + r->len < gpa + len ? r->gpa + r->len : gpa + len;

			pages += end > from ? (end - from) / PAGE : 0;
		}
	}
	return pages;
}

/* Send a hint and say whether it was believed; part of it must not be. */
static bool believed(struct rig *rig)
{
	uint64_t before = hinted_of(rig, C, 2 * PAGE);
	uint64_t after;

	post_hint(rig, C, 2 * PAGE);
	assert_int_equal(serve(rig), 1);
	after = hinted_of(rig, C, 2 * PAGE);
	assert_true(after == before || after == before + 2);
	return after != before;
}

/* shows: BAL-HINT-01 BAL-HINT-04 */
static void BAL_HINT_01_a_wrap_skips_the_reserved_ids(void **state)
{
	static const uint32_t ids[] = {UINT32_C(0xfffffffe), UINT32_C(0xffffffff), 2, 3};
	struct rig *rig = *state;

	for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
		assert_int_equal(open_round(rig), ids[i]);
		assert_true(believed(rig));
	}
}

/* shows: BAL-HINT-01 BAL-HINT-04 BAL-GEN-05 */
static void BAL_HINT_04_each_round_has_an_id_of_its_own(void **state)
{
	struct rig *rig = *state;
	uint32_t last = 1;

	for (uint32_t i = 0; i < 300; i++) {
		uint32_t id = host_start(rig);

		assert_true(id > last);
		assert_true(drv_took_config_irq(rig));
		last = id;
		if (i % 3 == 1)
			host_stop(rig);
		if (i % 5 == 1)
			host_done(rig);
		drv_took_config_irq(rig);
	}
	assert_int_equal(counts_of(rig).rounds, 300);
}

/* shows: BAL-HINT-02 BAL-HINT-03 BAL-HINT-08 BAL-GEN-05 */
static void BAL_HINT_02_start_stop_and_done_are_shown_with_a_notification(void **state)
{
	struct rig *rig = *state;
	uint32_t id;

	assert_int_equal(shown_id(rig), STOP);
	assert_int_equal(round_of(rig), VMEMDEV_BALLOON_ROUND_NONE);
	id = host_start(rig);
	assert_int_equal(id, 2);
	assert_true(drv_took_config_irq(rig));
	assert_int_equal(round_of(rig), VMEMDEV_BALLOON_ROUND_ASKED);
	host_stop(rig);
	assert_int_equal(shown_id(rig), STOP);
	assert_true(drv_took_config_irq(rig));
	assert_int_equal(round_of(rig), VMEMDEV_BALLOON_ROUND_NONE);
	assert_int_equal(host_start(rig), 3);
	assert_true(drv_took_config_irq(rig));
	host_done(rig);
	assert_int_equal(shown_id(rig), DONE);
	assert_true(drv_took_config_irq(rig));
	assert_int_equal(round_of(rig), VMEMDEV_BALLOON_ROUND_NONE);
	assert_int_equal(rig->host.count, 0);
}

/* shows: BAL-HINT-08 BAL-HINT-11 */
static void BAL_HINT_08_done_is_reached_from_wherever_a_round_is(void **state)
{
	struct rig *rig = *state;

	for (uint32_t from = 0; from < 4; from++) {
		if (from == 0)
			host_start(rig);
		else
			open_round(rig);
		if (from == 2)
			send_id(rig, STOP);
		if (from == 3) {
			host_stop(rig);
			host_stop(rig);
			assert_int_equal(shown_id(rig), STOP);
		}
		drv_took_config_irq(rig);
		host_done(rig);
		assert_int_equal(shown_id(rig), DONE);
		assert_true(drv_took_config_irq(rig));
		assert_int_equal(round_of(rig), VMEMDEV_BALLOON_ROUND_NONE);
	}
}

/* shows: BAL-HINT-03 BAL-HINT-08 */
static void BAL_HINT_08_stop_and_done_without_a_round_change_nothing(void **state)
{
	struct rig *rig = *state;

	for (uint32_t i = 0; i < 2; i++) {
		host_stop(rig);
		host_done(rig);
		assert_int_equal(shown_id(rig), STOP);
		assert_false(drv_took_config_irq(rig));
	}
	open_round(rig);
	host_stop(rig);
	assert_true(drv_took_config_irq(rig));
	host_stop(rig);
	assert_false(drv_took_config_irq(rig));
	host_done(rig);
	assert_true(drv_took_config_irq(rig));
	host_done(rig);
	assert_int_equal(shown_id(rig), DONE);
	assert_false(drv_took_config_irq(rig));
	/* a round that a reset has ended needs no end */
	open_round(rig);
	drv_reset(rig);
	drv_start(rig, BALLOON_FULL);
	drv_took_config_irq(rig);
	host_done(rig);
	assert_int_equal(shown_id(rig), STOP);
	assert_false(drv_took_config_irq(rig));
}

/* shows: BAL-HINT-05 HOST-BAL-11 AMB-12 */
static void BAL_HINT_05_pages_count_only_under_the_id_that_is_shown(void **state)
{
	struct rig *rig = *state;
	uint32_t first, second;

	assert_false(believed(rig));
	first = host_start(rig);
	assert_false(believed(rig));
	send_id(rig, first);
	assert_int_equal(shown_id(rig), first);
	assert_true(believed(rig));
	second = host_start(rig);
	assert_false(believed(rig));
	send_id(rig, first);
	assert_false(believed(rig));
	send_id(rig, second);
	assert_true(believed(rig));
	assert_int_equal(shown_id(rig), second);
	assert_int_equal(counts_of(rig).pages_hinted, 4);
	assert_int_equal(counts_of(rig).pages_stale, 8);
}

/* What is in the ring when the host moves on belongs to the ID before it in the ring. */
/* shows: BAL-HINT-05 AMB-12 LNX-BAL-12 */
static void AMB_12_pages_belong_to_the_id_before_them_in_the_ring(void **state)
{
	struct rig *rig = *state;
	uint32_t old, id;

	old = host_start(rig);
	post_id(rig, old);
	post_hint(rig, A, MIB);
	id = host_start(rig);
	post_hint(rig, A, MIB);
	post_id(rig, STOP);
	post_id(rig, id);
	post_hint(rig, B, MIB);
	assert_int_equal(serve(rig), 6);
	assert_true(hinted(rig) == MIB / PAGE);
	assert_true(hinted_of(rig, B, MIB) == MIB / PAGE);

	host_forget(rig);
	post_hint(rig, B, PAGE);
	post_id(rig, old);
	post_hint(rig, A, MIB);
	assert_int_equal(serve(rig), 3);
	assert_true(hinted(rig) == 1);
	assert_true(hinted_of(rig, B, PAGE) == 1);
}

/* shows: BAL-HINT-07 BAL-HINT-13 */
static void BAL_HINT_07_nothing_is_believed_after_done(void **state)
{
	struct rig *rig = *state;
	uint32_t id = open_round(rig);

	post_hint(rig, A, 4 * MIB);
	host_done(rig);
	post_hint(rig, B, 4 * MIB);
	assert_int_equal(serve(rig), 2);
	send_id(rig, id);
	assert_false(believed(rig));
	send_id(rig, DONE);
	assert_false(believed(rig));
	assert_true(hinted(rig) == 0);
	assert_int_equal(round_of(rig), VMEMDEV_BALLOON_ROUND_NONE);
}

static void expect_call(struct rig *rig, uint32_t n, enum host_op op, uint64_t value)
{
	assert_int_equal(host_call(rig, n)->op, op);
	assert_int_equal(host_call(rig, n)->value, value);
}

/* shows: BAL-HINT-09 BAL-HINT-11 */
static void BAL_HINT_09_the_host_hears_of_a_round_in_the_guests_order(void **state)
{
	struct rig *rig = *state;
	uint32_t id = host_start(rig);

	post_id(rig, id);
	post_hint(rig, A, MIB);
	post_hint(rig, B, MIB);
	post_id(rig, STOP);
	assert_int_equal(serve(rig), 4);
	assert_int_equal(rig->host.count, 3);
	expect_call(rig, 0, HOST_ROUND, VMEMDEV_BALLOON_ROUND_OPEN);
	expect_call(rig, 1, HOST_HINT, 0);
	assert_int_equal(host_call(rig, 1)->count, 2);
	expect_call(rig, 2, HOST_ROUND, VMEMDEV_BALLOON_ROUND_ENDED);
	assert_int_equal(round_of(rig), VMEMDEV_BALLOON_ROUND_ENDED);
	assert_int_equal(shown_id(rig), id);
	assert_false(believed(rig));
}

/* The host looks at its device inside the callback: it must see where the round is. */
static void look_at_round(struct rig *rig, const struct host_call *call)
{
	assert_false(guest_queue_has_used(&rig->driver.queues[HINTQ]));
	if (call->op == HOST_HINT)
		assert_int_equal(round_of(rig), VMEMDEV_BALLOON_ROUND_OPEN);
	else
		assert_int_equal(round_of(rig), call->value);
	rig->ctx = rig;
}

/* shows: BAL-HINT-09 BAL-HINT-12 */
static void BAL_HINT_12_the_host_hears_of_pages_before_their_buffer_is_used(void **state)
{
	struct rig *rig = *state;

	post_id(rig, host_start(rig));
	post_hint(rig, A, MIB);
	rig->host.hook = look_at_round;
	assert_int_equal(serve(rig), 2);
	assert_ptr_equal(rig->ctx, rig);
}

/* shows: BAL-HINT-10 */
static void BAL_HINT_10_elements_of_any_size_and_nothing_is_written(void **state)
{
	const struct vmemdev_range ranges[] = {
		{PLAY_GPA, PAGE}, {A, 4 * MIB}, {B, PAGE}, {C, 4 * MIB}, {C + 8 * MIB, 64 * MIB}};
	struct rig *rig = *state;
	struct guest_used used;

	open_round(rig);
	guest_memory_forget(&rig->memory);
	guest_fill(&rig->memory, PLAY_GPA, 0x5a, PAGE);
	ranges_post(rig, HINTQ, ranges, ARRAY_LEN(ranges));
	drv_kick(rig, HINTQ);
	rig_run(rig);
	assert_true(drv_used(rig, HINTQ, &used));
	assert_int_equal(used.len, 0);
	assert_true(hinted(rig) == 2 + 72 * MIB / PAGE);
	for (size_t i = 0; i < ARRAY_LEN(ranges); i++)
		assert_true(hinted_of(rig, ranges[i].gpa, ranges[i].len) ==
			    ranges[i].len / PAGE);
	assert_false(guest_memory_wrote(&rig->memory, PLAY_GPA, PAGE));
	assert_int_equal(guest_load32(&rig->memory, PLAY_GPA), 0x5a5a5a5a);
}

/* shows: BAL-HINT-11 BAL-HINT-05 */
static void BAL_HINT_11_a_round_ends_by_either_side_and_another_follows(void **state)
{
	struct rig *rig = *state;

	for (uint32_t end = 0; end < 3; end++) {
		open_round(rig);
		assert_true(believed(rig));
		if (end == 0)
			send_id(rig, STOP);
		if (end == 1)
			host_stop(rig);
		if (end == 2)
			host_done(rig);
		assert_int_equal(round_of(rig), end == 0 ? VMEMDEV_BALLOON_ROUND_ENDED :
							   VMEMDEV_BALLOON_ROUND_NONE);
		assert_false(believed(rig));
	}
	open_round(rig);
	assert_true(believed(rig));
}

/* shows: BAL-HINT-13 BAL-HINT-05 */
static void BAL_HINT_13_a_full_ring_of_ignored_buffers_comes_back(void **state)
{
	struct rig *rig = *state;
	uint32_t size = rig->driver.queues[HINTQ].size;

	for (uint32_t turn = 0; turn < 3; turn++) {
		if (turn == 2)
			host_start(rig);
		for (uint32_t i = 0; i < size; i++)
			post_hint(rig, A + i * 2 * PAGE, PAGE);
		assert_int_equal(serve(rig), size);
	}
	assert_true(hinted(rig) == 0);
	assert_int_equal(counts_of(rig).pages_stale, 3 * size);
	assert_int_equal(counts_of(rig).pages_hinted, 0);
}

/* shows: BAL-HINT-14 */
static void BAL_HINT_14_a_reset_leaves_no_round(void **state)
{
	struct rig *rig = *state;
	uint32_t id = open_round(rig), calls;

	post_hint(rig, A, MIB);
	calls = rig->host.count;
	drv_reset(rig);
	assert_int_equal(shown_id(rig), STOP);
	assert_int_equal(round_of(rig), VMEMDEV_BALLOON_ROUND_NONE);
	assert_true(rig->host.count > calls);
	expect_call(rig, rig->host.count - 1, HOST_ROUND, VMEMDEV_BALLOON_ROUND_NONE);
	assert_int_equal(host_count(rig, HOST_HINT), 0);
	drv_start(rig, BALLOON_FULL);
	rig_run(rig);
	assert_int_equal(shown_id(rig), STOP);
	assert_false(believed(rig));
	send_id(rig, id);
	assert_false(believed(rig));
	assert_true(open_round(rig) >= 2);
	assert_true(believed(rig));
}

/* shows: BAL-HINT-14 VQR-05 */
static void BAL_HINT_14_pages_after_a_queue_reset_have_no_id_before_them(void **state)
{
	struct rig *rig = *state;

	drv_start(rig, BALLOON_FULL | VMEMDEV_F_RING_RESET);
	rig_run(rig);
	open_round(rig);
	post_hint(rig, A, MIB);
	guest_driver_queue_reset(&rig->driver, HINTQ);
	drv_open(rig, HINTQ);
	assert_false(believed(rig));
	assert_true(round_of(rig) != VMEMDEV_BALLOON_ROUND_OPEN);
	assert_true(hinted(rig) == 0);
	open_round(rig);
	assert_true(believed(rig));
}

/* shows: HOST-BAL-10 */
static void HOST_BAL_10_an_id_of_another_length(void **state)
{
	struct rig *rig = *state;
	uint8_t bytes[64] = {0};

	for (uint32_t len = 1; len < 4; len++) {
		uint64_t before;

		put32(bytes, open_round(rig));
		before = counts_of(rig).inputs_ignored;
		post_bytes(rig, bytes, len);
		assert_int_equal(serve(rig), 1);
		assert_true(round_of(rig) != VMEMDEV_BALLOON_ROUND_OPEN);
		assert_false(believed(rig));
		assert_true(counts_of(rig).inputs_ignored > before);
	}
	for (uint32_t len = 4; len <= sizeof(bytes); len += 12) {
		uint64_t before = counts_of(rig).inputs_ignored;

		memset(bytes, 0x11, sizeof(bytes));
		put32(bytes, host_start(rig));
		post_bytes(rig, bytes, len);
		assert_int_equal(serve(rig), 1);
		assert_int_equal(round_of(rig), VMEMDEV_BALLOON_ROUND_OPEN);
		assert_true(believed(rig));
		assert_true(counts_of(rig).inputs_ignored == before + (len > 4));
	}
}

/* However the driver cuts it, and the ID before the pages. */
/* shows: BAL-HINT-09 HOST-BAL-12 */
static void HOST_BAL_12_one_buffer_with_an_id_and_pages(void **state)
{
	struct rig *rig = *state;
	uint64_t gpa = guest_place(&rig->memory, 8, 4);
	const struct vmemdev_buf bufs[] = {
		{.gpa = gpa, .len = 1, .writable = 0},
		{.gpa = gpa + 1, .len = 3, .writable = 0},
		{.gpa = A, .len = MIB, .writable = 1},
		{.gpa = B, .len = MIB, .writable = 1}};
	uint32_t id = host_start(rig);

	guest_store32(&rig->memory, gpa, id);
	drv_add(rig, HINTQ, bufs, 4);
	assert_int_equal(serve(rig), 1);
	assert_int_equal(round_of(rig), VMEMDEV_BALLOON_ROUND_OPEN);
	assert_true(hinted(rig) == 2 * MIB / PAGE);

	guest_store32(&rig->memory, gpa, id - 1);
	drv_add(rig, HINTQ, bufs, 4);
	assert_int_equal(serve(rig), 1);
	assert_true(hinted(rig) == 2 * MIB / PAGE);

	open_round(rig);
	guest_store32(&rig->memory, gpa, STOP);
	drv_add(rig, HINTQ, bufs, 4);
	assert_int_equal(serve(rig), 1);
	assert_true(hinted(rig) == 2 * MIB / PAGE);
	assert_int_equal(round_of(rig), VMEMDEV_BALLOON_ROUND_ENDED);
}

/* shows: HOST-BAL-11 LNX-BAL-12 */
static void HOST_BAL_11_ids_of_no_round(void **state)
{
	struct rig *rig = *state;
	const uint32_t next = host_start(rig);
	const uint32_t ids[] = {STOP, DONE, next + 1, next - 1, UINT32_C(0xffffffff)};
	uint64_t before;

	for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
		send_id(rig, ids[i]);
		assert_false(believed(rig));
		/* the host still waits for its round to be taken up */
		assert_int_equal(round_of(rig), VMEMDEV_BALLOON_ROUND_ASKED);
		assert_int_equal(shown_id(rig), next);
	}
	send_id(rig, next);
	assert_true(believed(rig));
	before = counts_of(rig).inputs_ignored;
	send_id(rig, next + 1);
	assert_false(believed(rig));
	assert_true(counts_of(rig).inputs_ignored == before + 1);
}

/* shows: HOST-BAL-11 */
static void HOST_BAL_11_a_second_start_with_the_same_id(void **state)
{
	struct rig *rig = *state;
	uint32_t id = open_round(rig);

	send_id(rig, id);
	assert_true(believed(rig) == (round_of(rig) == VMEMDEV_BALLOON_ROUND_OPEN));
	send_id(rig, STOP);
	assert_false(believed(rig));
	send_id(rig, id);
	assert_true(believed(rig) == (round_of(rig) == VMEMDEV_BALLOON_ROUND_OPEN));
	host_stop(rig);
	send_id(rig, id);
	assert_false(believed(rig));
}

/* shows: HOST-BAL-13 */
static void HOST_BAL_13_odd_hints_are_cut_inwards_or_ignored(void **state)
{
	static const struct guest_region regions[] = {
		{.gpa = SPARE_GPA, .len = 16 * PAGE},
		{.gpa = SPARE_GPA + 16 * PAGE, .len = 16 * PAGE, .flags = VMEMDEV_REGION_KEEP},
		{.gpa = SPARE_GPA + 32 * PAGE, .len = 16 * PAGE, .flags = VMEMDEV_REGION_READONLY},
		{.gpa = SPARE_GPA + 64 * PAGE, .len = 16 * PAGE}};
	const struct vmemdev_range ranges[] = {
		{SPARE_GPA + 1, 3 * PAGE},                 /* 2 pages: 1 and 2 */
		{SPARE_GPA + 4 * PAGE, PAGE - 1},          /* none */
		{SPARE_GPA + 6 * PAGE - 8, PAGE + 16},     /* 1 */
		{SPARE_GPA + 7 * PAGE + 100, 50},          /* none */
		{SPARE_GPA + 10 * PAGE, 80 * PAGE},        /* 6, and 16 beyond the hole */
		{SPARE_GPA + 6 * PAGE, PAGE},              /* once more */
		{UINT64_C(0x8000000000000000), MIB},
		{UINT64_MAX - PAGE + 1, 64 * PAGE},        /* past the end, */
		{UINT64_MAX - PAGE + 1, PAGE},             /* just before it */
		{UINT64_MAX, UINT32_MAX},
		{0, UINT32_C(0x80000000)},                 /* all of the RAM below 2 GiB */
		{SPARE_GPA, 0}};
	const uint64_t total = 3 + 6 + 16 + RAM_SIZE / PAGE;
	struct rig *rig = *state;

	rig_show_spare(rig, regions, ARRAY_LEN(regions));
	open_round(rig);
	for (size_t i = 0; i < ARRAY_LEN(ranges); i++)
		post_hint(rig, ranges[i].gpa, ranges[i].len);
	assert_int_equal(serve(rig), ARRAY_LEN(ranges));
	for (uint32_t n = 0; n < rig->host.count; n++) {
		for (uint32_t i = 0; i < host_call(rig, n)->count; i++) {
			assert_true(host_call(rig, n)->ranges[i].gpa % PAGE == 0);
			assert_true(host_call(rig, n)->ranges[i].len % PAGE == 0);
		}
	}
	assert_true(hinted_of(rig, SPARE_GPA + PAGE, 2 * PAGE) == 2);
	assert_true(hinted_of(rig, SPARE_GPA + 10 * PAGE, 6 * PAGE) == 6);
	assert_true(hinted_of(rig, SPARE_GPA + 64 * PAGE, 16 * PAGE) == 16);
	assert_true(hinted_of(rig, RAM_GPA, RAM_SIZE) == RAM_SIZE / PAGE);
	/* the page that was named twice may come twice */
	assert_true(hinted(rig) - total <= 1);
}

/* shows: LNX-BAL-11 BAL-HINT-10 BAL-HINT-13 */
static void LNX_BAL_11_blocks_of_4_MiB_collected_at_the_next_add(void **state)
{
	struct rig *rig = *state;
	struct guest_queue *q = &rig->driver.queues[HINTQ];
	uint32_t back = 0;

	guest_queue_interrupts_off(q);
	drv_took_queue_irq(rig);
	post_id(rig, host_start(rig));
	for (uint32_t i = 0; i < 200; i++) {
		const struct vmemdev_range block = {SPARE_GPA + i * 4 * MIB, 4 * MIB};

		back += drv_used_count(rig, HINTQ);
		ranges_post(rig, HINTQ, &block, 1);
		if (guest_queue_want_kick(q))
			drv_kick(rig, HINTQ);
		if (i % 7 == 3)
			assert_int_equal(rig_run(rig), 0);
	}
	post_id(rig, STOP);
	back += serve(rig);
	assert_int_equal(back, 202);
	assert_false(drv_took_queue_irq(rig));
	assert_int_equal(counts_of(rig).pages_hinted, 200 * 1024);
	assert_int_equal(round_of(rig), VMEMDEV_BALLOON_ROUND_ENDED);
}

/* The driver ends what it sends with STOP even if a newer round has been started. */
/* shows: LNX-BAL-12 BAL-HINT-05 BAL-HINT-11 */
static void LNX_BAL_12_a_stop_of_the_old_round_does_not_end_the_new_one(void **state)
{
	struct rig *rig = *state;
	uint32_t id;

	open_round(rig);
	post_hint(rig, A, MIB);
	id = host_start(rig);
	post_id(rig, STOP);
	assert_int_equal(serve(rig), 2);
	assert_true(hinted(rig) == 0);
	assert_int_equal(round_of(rig), VMEMDEV_BALLOON_ROUND_ASKED);
	post_id(rig, id);
	post_hint(rig, B, MIB);
	assert_int_equal(serve(rig), 2);
	assert_true(hinted(rig) == MIB / PAGE);
	assert_int_equal(round_of(rig), VMEMDEV_BALLOON_ROUND_OPEN);
	send_id(rig, STOP);
	assert_int_equal(round_of(rig), VMEMDEV_BALLOON_ROUND_ENDED);
}

/* A buffer that the budget cuts in two is under one ID, whatever the host does between. */
/* shows: BAL-HINT-05 BAL-HINT-13 */
static void BAL_HINT_05_the_rest_of_a_half_read_buffer_is_of_its_old_round(void **state)
{
	struct rig *rig = *state;
	struct vmemdev_range ranges[100];
	struct guest_used used;

	for (uint32_t i = 0; i < ARRAY_LEN(ranges); i++)
		ranges[i] = (struct vmemdev_range){A + i * 2 * PAGE, PAGE};
	open_round(rig);
	ranges_post(rig, HINTQ, ranges, ARRAY_LEN(ranges));
	drv_kick(rig, HINTQ);
	assert_int_equal(rig_step(rig, 1), 1);
	assert_true(hinted(rig) == 64);
	assert_false(drv_used(rig, HINTQ, &used));
	host_start(rig);
	assert_int_equal(rig_run(rig), 0);
	assert_true(hinted(rig) == 64);
	assert_true(drv_used(rig, HINTQ, &used));
	assert_int_equal(used.len, 0);
	assert_int_equal(counts_of(rig).pages_hinted, 64);
	assert_int_equal(counts_of(rig).pages_stale, 36);
}

static void call_from_inside(struct rig *rig, const struct host_call *call)
{
	(void)call;
	assert_int_equal(vmemdev_balloon_hint_start(&rig->balloon), VMEMDEV_E_STATE);
	assert_int_equal(vmemdev_balloon_hint_stop(&rig->balloon), VMEMDEV_E_STATE);
	assert_int_equal(vmemdev_balloon_hint_done(&rig->balloon), VMEMDEV_E_STATE);
	rig->ctx = rig;
}

static void calls_inside_a_callback_are_refused(void **state)
{
	struct rig *rig = *state;
	uint32_t id = host_start(rig);

	rig->host.hook = call_from_inside;
	send_id(rig, id);
	assert_ptr_equal(rig->ctx, rig);
	rig->ctx = NULL;
	assert_true(believed(rig));
	assert_ptr_equal(rig->ctx, rig);
	assert_int_equal(shown_id(rig), id);
}

static void a_round_needs_a_driver_that_hints(void **state)
{
	struct rig *rig = *state;
	struct vmemdev_balloon_config config;

	assert_int_equal(vmemdev_balloon_hint_start(&rig->balloon), VMEMDEV_E_STATE);
	drv_start(rig, BALLOON_FULL & ~HINTS);
	assert_int_equal(vmemdev_balloon_hint_start(&rig->balloon), VMEMDEV_E_STATE);
	host_stop(rig);
	host_done(rig);
	drv_reset(rig);
	drv_start(rig, BALLOON_FULL);
	assert_int_equal(vmemdev_balloon_hint_start(&rig->balloon), 0);
	drv_reset(rig);
	assert_int_equal(vmemdev_balloon_hint_start(&rig->balloon), VMEMDEV_E_STATE);
	guest_driver_close(&rig->driver);
	rig_balloon_config(rig, &config);
	rig_make_balloon(rig, &config);
	drv_start(rig, 0);
	assert_int_equal(vmemdev_balloon_hint_start(&rig->balloon), VMEMDEV_E_FEATURE);
	assert_int_equal(shown_id(rig), STOP);
}

/* Random rounds against a book of which ID stood last in the ring. */

#define BOOK_PAGES 64

struct book {
	struct rig *rig;
	struct guest_random random;
	uint32_t last_id, closed_id; /* in the ring; the one that another followed */
	bool allowed[BOOK_PAGES], seen[BOOK_PAGES];
	uint32_t posted, believed;
	uint32_t ids[8], count; /* of late */
	struct {
		uint32_t id, page;
		bool is_id;
	} ring[32];
};

static void book_hint(struct rig *rig, const struct host_call *call)
{
	struct book *book = rig->ctx;

	for (uint32_t i = 0; call->op == HOST_HINT && i < call->count; i++) {
		for (uint64_t k = 0; k < call->live[i].len / PAGE; k++)
			book->seen[(call->live[i].gpa - A) / PAGE + k] = true;
	}
}

static void book_post(struct book *book)
{
	uint32_t n = book->posted++;

	book->ring[n].is_id = guest_random_below(&book->random, 3) == 0;
	if (!book->ring[n].is_id) {
		book->ring[n].page = guest_random_below(&book->random, BOOK_PAGES);
		post_hint(book->rig, A + book->ring[n].page * PAGE, PAGE);
		return;
	}
	switch (guest_random_below(&book->random, 4)) {
	case 0:
		book->ring[n].id = STOP;
		break;
	case 1:
		book->ring[n].id = book->ids[guest_random_below(&book->random, 8)];
		break;
	default:
		book->ring[n].id = shown_id(book->rig);
	}
	post_id(book->rig, book->ring[n].id);
}

static void book_serve(struct book *book)
{
	uint32_t id = shown_id(book->rig);

	memset(book->allowed, 0, sizeof(book->allowed));
	memset(book->seen, 0, sizeof(book->seen));
	for (uint32_t i = 0; i < book->posted; i++) {
		if (book->ring[i].is_id) {
			/* a round opens once: what follows another ID is not believed */
			if (book->last_id == id && book->ring[i].id != id)
				book->closed_id = id;
			book->last_id = book->ring[i].id;
		} else if (book->last_id == id && id > DONE && book->closed_id != id) {
			book->allowed[book->ring[i].page] = true;
		}
	}
	assert_int_equal(serve(book->rig), book->posted);
	assert_memory_equal(book->seen, book->allowed, sizeof(book->seen));
	for (uint32_t i = 0; i < BOOK_PAGES; i++)
		book->believed += book->seen[i];
	book->posted = 0;
}

/* shows: BAL-HINT-05 BAL-HINT-07 HOST-BAL-11 AMB-12 */
static void BAL_HINT_05_random_rounds(void **state)
{
	struct book book = {.rig = *state};
	uint64_t mark;

	guest_random_seed(&book.random, 501);
	book.rig->ctx = &book;
	book.rig->host.hook = book_hint;
	mark = guest_place_mark(&book.rig->memory);
	for (uint32_t step = 0; step < 20000; step++) {
		uint32_t what = guest_random_below(&book.random, 40);

		if (what < 4)
			book.ids[book.count++ % 8] = host_start(book.rig);
		else if (what == 4)
			host_stop(book.rig);
		else if (what == 5)
			host_done(book.rig);
		else if (what < 12 || book.posted == ARRAY_LEN(book.ring))
			book_serve(&book);
		else
			book_post(&book);
		if (book.posted == 0)
			guest_place_release(&book.rig->memory, mark);
	}
	assert_true(book.believed > 500);
}

/*
 * One element over memory of which every second page is plugged, more than a run's work, and
 * then STOP: the host hears of no hint after the end.
 */
static void BAL_HINT_11_no_hint_comes_after_the_end_of_its_round(void **state)
{
	enum { PIECES = 4096 };
	static uint64_t odd[PIECES / 64];
	const struct guest_region region = {.gpa = SPARE_GPA, .len = PIECES * PAGE};
	const struct vmemdev_range range = {SPARE_GPA, PIECES * PAGE};
	struct rig *rig = *state;
	struct vmemdev_balloon_counts counts;
	int left;

	memset(odd, 0x55, sizeof(odd));
	rig_show_spare(rig, &region, 1);
	rig->table[1].blocks = odd;
	rig->table[1].block_shift = 12;
	vmemdev_guest_changed(&rig->memory.guest);
	open_round(rig);
	ranges_post(rig, HINTQ, &range, 1);
	post_id(rig, STOP);
	drv_kick(rig, HINTQ);
	do
		left = rig_step(rig, 4);
	while (left > 0);
	assert_int_equal(left, 0);
	assert_int_equal(host_last(rig)->op, HOST_ROUND);
	assert_int_equal(host_last(rig)->value, VMEMDEV_BALLOON_ROUND_ENDED);
	vmemdev_balloon_get_counts(&rig->balloon, &counts);
	assert_true(counts.pages_hinted > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_RINGS(BAL_HINT_11_no_hint_comes_after_the_end_of_its_round, setup),
		TEST_RINGS(BAL_HINT_01_a_wrap_skips_the_reserved_ids, setup_near_wrap),
		TEST_ALL(BAL_HINT_04_each_round_has_an_id_of_its_own, setup),
		TEST_ALL(BAL_HINT_02_start_stop_and_done_are_shown_with_a_notification, setup),
		TEST_ALL(BAL_HINT_08_done_is_reached_from_wherever_a_round_is, setup),
		TEST_ALL(BAL_HINT_08_stop_and_done_without_a_round_change_nothing, setup),
		TEST_ALL(BAL_HINT_05_pages_count_only_under_the_id_that_is_shown, setup),
		TEST_RINGS(AMB_12_pages_belong_to_the_id_before_them_in_the_ring, setup),
		TEST_RINGS(BAL_HINT_07_nothing_is_believed_after_done, setup),
		TEST_RINGS(BAL_HINT_09_the_host_hears_of_a_round_in_the_guests_order, setup),
		TEST_RINGS(BAL_HINT_12_the_host_hears_of_pages_before_their_buffer_is_used, setup),
		TEST_ALL(BAL_HINT_10_elements_of_any_size_and_nothing_is_written, setup),
		TEST_RINGS(BAL_HINT_11_a_round_ends_by_either_side_and_another_follows, setup),
		TEST_RINGS(BAL_HINT_13_a_full_ring_of_ignored_buffers_comes_back, setup),
		TEST_ALL(BAL_HINT_14_a_reset_leaves_no_round, setup),
		TEST_RINGS_MMIO(BAL_HINT_14_pages_after_a_queue_reset_have_no_id_before_them,
				setup),
		TEST_RINGS(HOST_BAL_10_an_id_of_another_length, setup),
		TEST_RINGS(HOST_BAL_12_one_buffer_with_an_id_and_pages, setup),
		TEST_RINGS(HOST_BAL_11_ids_of_no_round, setup),
		TEST_RINGS(HOST_BAL_11_a_second_start_with_the_same_id, setup),
		TEST_RINGS(HOST_BAL_13_odd_hints_are_cut_inwards_or_ignored, setup),
		TEST_ALL(LNX_BAL_11_blocks_of_4_MiB_collected_at_the_next_add, setup),
		TEST_RINGS(LNX_BAL_12_a_stop_of_the_old_round_does_not_end_the_new_one, setup),
		TEST_RINGS(BAL_HINT_05_the_rest_of_a_half_read_buffer_is_of_its_old_round, setup),
		TEST_RINGS(calls_inside_a_callback_are_refused, setup),
		TEST_RINGS(a_round_needs_a_driver_that_hints, rig_setup_balloon_full),
		TEST_RINGS(BAL_HINT_05_random_rounds, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
