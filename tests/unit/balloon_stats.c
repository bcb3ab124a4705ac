/* SPDX-License-Identifier: BSD-3-Clause */
/* The guest's memory statistics: their buffer, which waits here until the host asks. */
#include "device_rig.h"

#define ALL_TAGS 0xffffu
#define ENTRY 10 /* bytes (5.5.6.3) */
#define COUNT(tags) ((uint32_t)ARRAY_LEN(tags))

static const uint16_t text_order[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

static struct vmemdev_balloon_stats stats(struct rig *rig)
{
	struct vmemdev_balloon_stats now;

	vmemdev_balloon_get_stats(&rig->balloon, &now);
	return now;
}

static struct vmemdev_balloon_counts counts(struct rig *rig)
{
	struct vmemdev_balloon_counts now;

	vmemdev_balloon_get_counts(&rig->balloon, &now);
	return now;
}

/* A value that has a bit in each of its bytes, another one for each tag and round. */
static uint64_t value_of(uint16_t tag, uint32_t round)
{
	return UINT64_C(0x8040201008040201) + UINT64_C(0x0101010101010101) * (tag % 64) + round;
}

static int post_bytes(struct rig *rig, const void *bytes, uint32_t len)
{
	uint64_t gpa = guest_place(&rig->memory, len + 1, 2) + 1;
	const struct vmemdev_buf buf = {.gpa = gpa, .len = len, .writable = 0};

	assert_true(guest_write(&rig->memory, gpa, bytes, len));
	return drv_add(rig, STATSQ, &buf, 1);
}

/* A set with these tags, made available without a kick. */
static int post_set(struct rig *rig, const uint16_t *tags, uint32_t count, uint32_t round)
{
	uint8_t bytes[64 * ENTRY];

	assert_true(count <= 64);
	for (uint32_t i = 0; i < count; i++) {
		put16(bytes + ENTRY * i, tags[i]);
		put64(bytes + ENTRY * i + 2, value_of(tags[i], round));
	}
	return post_bytes(rig, bytes, ENTRY * count);
}

static int send_set(struct rig *rig, const uint16_t *tags, uint32_t count, uint32_t round)
{
	int id = post_set(rig, tags, count, round);

	drv_kick(rig, STATSQ);
	assert_int_equal(rig_run(rig), 0);
	return id;
}

static uint32_t mask_of(const uint16_t *tags, uint32_t count)
{
	uint32_t mask = 0;

	for (uint32_t i = 0; i < count; i++)
		mask |= tags[i] < VMEMDEV_BALLOON_STATS ? 1u << tags[i] : 0;
	return mask;
}

/* The newest set is exactly this one. */
static void expect_set(struct rig *rig, const uint16_t *tags, uint32_t count, uint32_t round)
{
	struct vmemdev_balloon_stats now = stats(rig);
	uint32_t mask = mask_of(tags, count);

	assert_true(now.valid);
	assert_int_equal(now.present, mask);
	for (uint16_t tag = 0; tag < VMEMDEV_BALLOON_STATS; tag++)
		assert_true(now.value[tag] == (mask >> tag & 1 ? value_of(tag, round) : 0));
}

static void expect_none(struct rig *rig)
{
	struct vmemdev_balloon_stats now = stats(rig);

	assert_false(now.valid);
	assert_false(now.pending);
	assert_int_equal(now.present, 0);
	for (uint16_t tag = 0; tag < VMEMDEV_BALLOON_STATS; tag++)
		assert_true(now.value[tag] == 0);
}

static void poll_now(struct rig *rig)
{
	assert_int_equal(vmemdev_balloon_poll_stats(&rig->balloon), 0);
}

/* The driver gets its buffer back: this one, as it was, and an interrupt with it. */
static void expect_back(struct rig *rig, int id)
{
	struct guest_used used;

	assert_true(drv_used(rig, STATSQ, &used));
	assert_int_equal(used.id, id);
	assert_int_equal(used.len, 0);
	assert_false(used.written);
	assert_false(drv_used(rig, STATSQ, &used));
	assert_true(drv_took_queue_irq(rig));
}

static void expect_kept(struct rig *rig)
{
	struct guest_used used;

	assert_false(drv_used(rig, STATSQ, &used));
	assert_false(drv_took_queue_irq(rig));
}

/* shows: BAL-STAT-01 BAL-GEN-01 */
static void BAL_STAT_01_a_set_is_an_array_of_ten_byte_entries(void **state)
{
	static const uint8_t bytes[] = {
		5, 0, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11,
		10, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
		0, 1, 1, 2, 3, 4, 5, 6, 7, 8,
	};
	struct rig *rig = *state;

	post_bytes(rig, bytes, sizeof(bytes));
	drv_kick(rig, STATSQ);
	assert_int_equal(rig_run(rig), 0);
	assert_true(stats(rig).valid);
	assert_int_equal(stats(rig).present, 1u << 5 | 1u << 10);
	assert_true(stats(rig).value[VMEMDEV_BALLOON_AVAILABLE] == UINT64_C(0x1122334455667788));
	assert_true(stats(rig).value[VMEMDEV_BALLOON_OOM_KILL] == UINT64_MAX);
	assert_int_equal(host_call(rig, 0)->op, HOST_UNKNOWN_STAT);
	assert_int_equal(host_call(rig, 0)->tag, 0x100);
	assert_true(host_call(rig, 0)->value == UINT64_C(0x0807060504030201));
}

/* However the driver cuts it: entries lie across descriptors. */
/* shows: BAL-STAT-01 */
static void BAL_STAT_01_a_set_may_lie_in_pieces(void **state)
{
	struct rig *rig = *state;

	for (uint32_t size = 1; size <= 23; size += 2) {
		uint64_t mark = guest_place_mark(&rig->memory);
		struct vmemdev_buf bufs[160];
		uint8_t bytes[16 * ENTRY];
		uint32_t pieces = 0;

		for (uint16_t i = 0; i < 16; i++) {
			put16(bytes + ENTRY * i, i);
			put64(bytes + ENTRY * i + 2, value_of(i, size));
		}
		/* 128 entries are all that the ring has: the last piece takes the rest */
		for (uint32_t at = 0, len; at < sizeof(bytes); at += len) {
			len = pieces == 100 || at + size > sizeof(bytes) ?
				(uint32_t)sizeof(bytes) - at : size;
			bufs[pieces].gpa = guest_place(&rig->memory, len + 64, 1);
			bufs[pieces].len = len;
			bufs[pieces].writable = 0;
			assert_true(guest_write(&rig->memory, bufs[pieces].gpa, bytes + at, len));
			pieces++;
		}
		drv_add(rig, STATSQ, bufs, pieces);
		drv_kick(rig, STATSQ);
		assert_int_equal(rig_run(rig), 0);
		expect_set(rig, text_order, 16, size);
		poll_now(rig);
		assert_int_equal(rig_run(rig), 0);
		assert_int_equal(drv_used_count(rig, STATSQ), 1);
		guest_place_release(&rig->memory, mark);
	}
}

/* shows: BAL-STAT-02 AMB-04 */
static void BAL_STAT_02_unknown_tags_are_passed_on_by_number_only(void **state)
{
	static const uint16_t tags[] = {0, 16, 15, 1000, 10, 0xffff, 14, 0x8000, 7, 256, 257};
	static const uint16_t unknown[] = {16, 1000, 0xffff, 0x8000, 256, 257};
	struct rig *rig = *state;

	send_set(rig, tags, COUNT(tags), 3);
	expect_set(rig, tags, COUNT(tags), 3);
	assert_int_equal(rig->host.count, COUNT(unknown) + 1);
	for (uint32_t i = 0; i < COUNT(unknown); i++) {
		assert_int_equal(host_call(rig, i)->op, HOST_UNKNOWN_STAT);
		assert_int_equal(host_call(rig, i)->tag, unknown[i]);
		assert_true(host_call(rig, i)->value == value_of(unknown[i], 3));
	}
	assert_int_equal(host_last(rig)->op, HOST_STATS);
	assert_int_equal(rig->errors, 0);
}

/* shows: BAL-STAT-02 */
static void BAL_STAT_02_a_host_need_not_care_for_unknown_tags(void **state)
{
	static const uint16_t tags[] = {0xffff, 4, 16};
	struct rig *rig = *state;
	struct vmemdev_balloon_ops ops = rig_balloon_ops;
	struct vmemdev_balloon_config config;

	rig_balloon_full_config(rig, &config);
	ops.unknown_stat = NULL;
	ops.stats = NULL;
	config.ops = &ops;
	rig_make_balloon(rig, &config);
	drv_start(rig, BALLOON_FULL);
	rig->host.clock = 77;
	send_set(rig, tags, COUNT(tags), 1);
	expect_set(rig, tags, COUNT(tags), 1);
	assert_int_equal(rig->host.count, 0);
	assert_true(stats(rig).updated == 0);
	assert_int_equal(counts(rig).stats_sets, 1);
}

/* shows: BAL-STAT-03 LNX-BAL-19 AMB-04 */
static void BAL_STAT_03_any_order_and_any_choice_of_tags(void **state)
{
	static const uint16_t reversed[] = {15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0};
	static const uint16_t linux_order[] = {
		0, 1, 2, 3, 10, 11, 12, 13, 14, 15, 8, 9, 4, 5, 6, 7};
	static const struct {
		const uint16_t *tags;
		uint32_t count;
	} sets[] = {
		{linux_order, 16}, {reversed, 16}, {text_order, 16},
		{text_order, 7}, {text_order, 10}, {linux_order, 7}, {linux_order + 3, 10},
		{reversed + 15, 1}, {reversed, 1},
	};
	struct rig *rig = *state;

	for (uint32_t i = 0; i < ARRAY_LEN(sets); i++) {
		int id = send_set(rig, sets[i].tags, sets[i].count, i);

		expect_set(rig, sets[i].tags, sets[i].count, i);
		poll_now(rig);
		assert_int_equal(rig_run(rig), 0);
		expect_back(rig, id);
	}
	assert_int_equal(counts(rig).stats_sets, ARRAY_LEN(sets));
	assert_int_equal(counts(rig).inputs_ignored, 0);
}

/* shows: BAL-STAT-04 BAL-STAT-07 */
static void BAL_STAT_04_the_buffer_goes_back_when_the_host_asks(void **state)
{
	struct rig *rig = *state;
	int id = send_set(rig, text_order, 16, 0);

	for (uint32_t round = 1; round < 300; round++) {
		for (int i = 0; i < 3; i++) {
			drv_kick(rig, STATSQ);
			assert_int_equal(rig_run(rig), 0);
			expect_kept(rig);
		}
		assert_false(stats(rig).pending);
		poll_now(rig);
		assert_true(stats(rig).pending);
		assert_true(vmemdev_device_pending(rig->dev));
		expect_kept(rig); /* the run does it, not the call */
		assert_int_equal(rig_step(rig, 1), 0);
		expect_back(rig, id);
		assert_true(stats(rig).pending);
		expect_set(rig, text_order, 16, round - 1); /* the old set, until then */
		assert_int_equal(rig_run(rig), 0);
		expect_kept(rig);
		id = send_set(rig, text_order, 16, round);
		expect_kept(rig);
		assert_false(stats(rig).pending);
		expect_set(rig, text_order, 16, round);
	}
	assert_int_equal(counts(rig).stats_sets, 300);
}

/* Linux fills its first buffer, and kicks, while it sets queues up. */
/* shows: BAL-STAT-05 LNX-BAL-02 */
static void BAL_STAT_05_the_first_buffer_is_a_set_and_may_come_before_DRIVER_OK(void **state)
{
	struct rig *rig = *state;
	int id;

	for (uint32_t round = 0; round < 3; round++) {
		host_forget(rig);
		rig->host.clock = 1000 + round;
		drv_negotiate(rig, BALLOON_FULL);
		for (uint16_t q = INFLATEQ; q <= REPORTQ; q++)
			drv_open(rig, q);
		id = post_set(rig, text_order, 10, round);
		drv_kick(rig, STATSQ);
		assert_int_equal(rig_run(rig), 0);
		expect_none(rig);
		assert_int_equal(rig->host.count, 0);
		assert_int_equal(vmemdev_balloon_poll_stats(&rig->balloon), VMEMDEV_E_STATE);
		drv_set_status(rig, DRV_LIVE);
		assert_int_equal(rig_run(rig), 0);
		expect_set(rig, text_order, 10, round);
		assert_true(stats(rig).updated == 1000 + round);
		assert_int_equal(host_count(rig, HOST_STATS), 1);
		expect_kept(rig);
		poll_now(rig);
		assert_int_equal(rig_run(rig), 0);
		expect_back(rig, id);
	}
}

/* shows: BAL-STAT-06 */
static void BAL_STAT_06_a_poll_without_a_buffer_is_served_when_one_comes(void **state)
{
	struct rig *rig = *state;
	int id;

	/* no buffer yet: what the guest gathers for its first was not asked for */
	poll_now(rig);
	assert_true(stats(rig).pending);
	assert_int_equal(rig_run(rig), 0);
	assert_false(vmemdev_device_pending(rig->dev));
	id = send_set(rig, text_order, 16, 1);
	expect_set(rig, text_order, 16, 1);
	expect_back(rig, id);
	assert_true(stats(rig).pending);
	id = send_set(rig, text_order, 16, 2);
	expect_set(rig, text_order, 16, 2);
	expect_kept(rig);
	assert_false(stats(rig).pending);

	/* the guest has the buffer and is slow: one set answers however many polls */
	poll_now(rig);
	assert_int_equal(rig_run(rig), 0);
	expect_back(rig, id);
	for (int i = 0; i < 5; i++) {
		poll_now(rig);
		assert_int_equal(rig_run(rig), 0);
		assert_true(stats(rig).pending);
		expect_kept(rig);
	}
	id = send_set(rig, text_order, 16, 3);
	expect_kept(rig);
	assert_false(stats(rig).pending);
	expect_set(rig, text_order, 16, 3);

	/* two polls before one run: the buffer can go back only once */
	poll_now(rig);
	poll_now(rig);
	assert_int_equal(rig_run(rig), 0);
	expect_back(rig, id);
}

/* shows: BAL-STAT-06 */
static void BAL_STAT_06_a_poll_waits_for_outstanding_host_work(void **state)
{
	struct rig *rig = *state;
	const uint32_t pfn = PLAY_PFN;
	int id = send_set(rig, text_order, 16, 1);

	rig->host.answer = VMEMDEV_LATER;
	pages_post(rig, INFLATEQ, &pfn, 1);
	drv_kick(rig, INFLATEQ);
	assert_int_equal(rig_run(rig), 0);
	poll_now(rig);
	assert_int_equal(rig_run(rig), 0);
	expect_kept(rig);
	assert_true(stats(rig).pending);
	rig->host.answer = 0;
	assert_int_equal(rig_complete(rig, rig->host.token, 0), 0);
	assert_int_equal(rig_run(rig), 0);
	expect_back(rig, id);
	assert_int_equal(drv_used_count(rig, INFLATEQ), 1);
}

/* shows: BAL-STAT-08 */
static void BAL_STAT_08_what_the_newest_set_lacks_is_absent(void **state)
{
	static const uint16_t few[] = {4, 9};
	struct rig *rig = *state;

	send_set(rig, text_order, 16, 1);
	assert_int_equal(stats(rig).present, ALL_TAGS);
	poll_now(rig);
	assert_int_equal(rig_run(rig), 0);
	send_set(rig, few, COUNT(few), 2);
	expect_set(rig, few, COUNT(few), 2);
	poll_now(rig);
	assert_int_equal(rig_run(rig), 0);
	send_set(rig, few, 0, 3);
	expect_set(rig, few, 0, 3); /* valid and empty */
}

/* shows: BAL-STAT-09 AMB-02 HOST-BAL-09 */
static void BAL_STAT_09_a_last_incomplete_entry_is_ignored(void **state)
{
	struct rig *rig = *state;
	uint8_t bytes[60];
	uint64_t odd = 0;

	for (uint16_t i = 0; i < sizeof(bytes) / ENTRY; i++) {
		put16(bytes + ENTRY * i, i);
		put64(bytes + ENTRY * i + 2, value_of(i, 9));
	}
	for (uint32_t size = 0; size <= sizeof(bytes); size++) {
		uint64_t mark = guest_place_mark(&rig->memory);
		int id = post_bytes(rig, bytes, size);

		drv_kick(rig, STATSQ);
		assert_int_equal(rig_run(rig), 0);
		expect_set(rig, text_order, size / ENTRY, 9);
		odd += size % ENTRY != 0;
		assert_int_equal(counts(rig).inputs_ignored, odd);
		assert_int_equal(counts(rig).stats_sets, size + 1);
		poll_now(rig);
		assert_int_equal(rig_run(rig), 0);
		expect_back(rig, id);
		guest_place_release(&rig->memory, mark);
	}
	assert_int_equal(rig->errors, 0);
}

/* shows: BAL-STAT-10 */
static void BAL_STAT_10_a_reset_drops_buffer_set_and_poll(void **state)
{
	struct rig *rig = *state;
	int id;

	/* the buffer is here; then it is asked for, but not yet given back; then the guest has it */
	for (int moment = 0; moment < 6; moment++) {
		send_set(rig, text_order, 16, 1);
		rig->host.clock = 55;
		assert_true(stats(rig).valid);
		if (moment % 3 >= 1)
			poll_now(rig);
		if (moment % 3 == 2)
			assert_int_equal(rig_run(rig), 0);
		if (moment < 3)
			drv_reset(rig);
		else
			assert_int_equal(vmemdev_device_system_reset(rig->dev), 0);
		expect_none(rig);
		assert_true(stats(rig).updated == 0);
		assert_int_equal(vmemdev_balloon_poll_stats(&rig->balloon), VMEMDEV_E_STATE);

		drv_start(rig, BALLOON_FULL);
		drv_took_queue_irq(rig);
		expect_none(rig);
		/* the first buffer of the new driver waits: what the old one was asked is past */
		id = send_set(rig, text_order, 7, 2);
		expect_kept(rig);
		expect_set(rig, text_order, 7, 2);
		poll_now(rig);
		assert_int_equal(rig_run(rig), 0);
		expect_back(rig, id);
		send_set(rig, text_order, 7, 3);
		drv_reset(rig);
		drv_start(rig, BALLOON_FULL);
		drv_took_queue_irq(rig);
	}
}

/* shows: BAL-STAT-10 */
static void BAL_STAT_10_a_queue_reset_drops_the_buffer_and_its_set(void **state)
{
	struct rig *rig = *state;
	const uint32_t pfn = PLAY_PFN;
	int id;

	drv_start(rig, BALLOON_FULL | VMEMDEV_F_RING_RESET);
	for (uint32_t round = 0; round < 3; round++) {
		send_set(rig, text_order, 16, round);
		/* other queues are none of its business */
		guest_driver_queue_reset(&rig->driver, INFLATEQ);
		drv_open(rig, INFLATEQ);
		expect_set(rig, text_order, 16, round);
		if (round == 1)
			poll_now(rig);
		guest_driver_queue_reset(&rig->driver, STATSQ);
		expect_none(rig);
		assert_int_equal(rig_run(rig), 0);
		pages_send(rig, INFLATEQ, &pfn, 1);
		drv_open(rig, STATSQ);
		drv_took_queue_irq(rig);
		assert_int_equal(rig_run(rig), 0);
		expect_kept(rig);
		id = send_set(rig, text_order, 10, round);
		expect_set(rig, text_order, 10, round);
		expect_kept(rig);
		poll_now(rig);
		assert_int_equal(rig_run(rig), 0);
		expect_back(rig, id);
	}
}

/* shows: HOST-BAL-08 */
static void HOST_BAL_08_of_several_buffers_the_newest_is_kept(void **state)
{
	struct rig *rig = *state;
	struct guest_used used;
	int ids[5];

	for (uint32_t i = 0; i < 5; i++)
		ids[i] = post_set(rig, text_order, 16 - i, i);
	drv_kick(rig, STATSQ);
	assert_int_equal(rig_run(rig), 0);
	for (uint32_t i = 0; i < 4; i++) {
		assert_true(drv_used(rig, STATSQ, &used));
		assert_int_equal(used.id, ids[i]);
		assert_int_equal(used.len, 0);
		assert_false(used.written);
	}
	assert_true(drv_took_queue_irq(rig));
	expect_kept(rig);
	expect_set(rig, text_order, 12, 4);

	/* one more, while one is held */
	ids[0] = send_set(rig, text_order, 3, 7);
	expect_set(rig, text_order, 3, 7);
	expect_back(rig, ids[4]);
	poll_now(rig);
	assert_int_equal(rig_run(rig), 0);
	expect_back(rig, ids[0]);
	assert_int_equal(counts(rig).stats_sets, 6);
	assert_int_equal(rig->errors, 0);
}

/* A driver that keeps the ring full of them costs budget like any other. */
/* shows: HOST-BAL-08 HOST-BAL-09 */
static void HOST_BAL_08_a_flood_of_sets_is_cut_by_the_budget(void **state)
{
	struct rig *rig = *state;

	for (uint32_t i = 0; i < 100; i++)
		post_set(rig, text_order, 1, i);
	drv_kick(rig, STATSQ);
	assert_int_equal(rig_step(rig, 10), 1);
	assert_true(counts(rig).stats_sets <= 10);
	assert_int_equal(rig_run(rig), 0);
	assert_int_equal(counts(rig).stats_sets, 100);
	assert_int_equal(drv_used_count(rig, STATSQ), 99);
	expect_set(rig, text_order, 1, 99);
}

/* shows: HOST-BAL-09 */
static void HOST_BAL_09_writable_parts_and_repeated_tags(void **state)
{
	struct rig *rig = *state;
	uint64_t gpa = DATA_GPA;
	const struct vmemdev_buf bufs[3] = {
		{.gpa = gpa, .len = 15, .writable = 0},
		{.gpa = gpa + 256, .len = 15, .writable = 0},
		{.gpa = gpa + 512, .len = 20, .writable = 1}};
	const struct vmemdev_buf only_writable = {.gpa = gpa + 512, .len = 20, .writable = 1};
	uint8_t bytes[30];
	uint64_t sum;
	int id;

	put16(bytes, 4);
	put64(bytes + 2, 1);
	put16(bytes + 10, 4);
	put64(bytes + 12, 2);
	put16(bytes + 20, 4);
	put64(bytes + 22, 3);
	assert_true(guest_write(&rig->memory, gpa, bytes, 15));
	assert_true(guest_write(&rig->memory, gpa + 256, bytes + 15, 15));
	put16(bytes, 5);
	assert_true(guest_write(&rig->memory, gpa + 512, bytes, 20));
	id = drv_add(rig, STATSQ, bufs, 3);
	sum = guest_load64(&rig->memory, gpa + 512);
	drv_kick(rig, STATSQ);
	assert_int_equal(rig_run(rig), 0);
	assert_int_equal(stats(rig).present, 1u << 4);
	assert_true(stats(rig).value[4] == 3);
	assert_int_equal(counts(rig).inputs_ignored, 1);
	poll_now(rig);
	assert_int_equal(rig_run(rig), 0);
	expect_back(rig, id);
	assert_true(guest_load64(&rig->memory, gpa + 512) == sum);
	assert_false(guest_memory_wrote(&rig->memory, gpa + 512, 20));

	id = drv_add(rig, STATSQ, &only_writable, 1);
	drv_kick(rig, STATSQ);
	assert_int_equal(rig_run(rig), 0);
	assert_true(stats(rig).valid);
	assert_int_equal(stats(rig).present, 0);
	assert_int_equal(counts(rig).inputs_ignored, 2);
	poll_now(rig);
	assert_int_equal(rig_run(rig), 0);
	expect_back(rig, id);
	assert_false(guest_memory_wrote(&rig->memory, gpa + 512, 20));
}

/* shows: HOST-BAL-09 */
static void HOST_BAL_09_reading_a_huge_buffer_stops_at_a_cap(void **state)
{
	struct rig *rig = *state;
	const uint32_t entries = 100000;
	const struct vmemdev_buf buf = {.gpa = DATA_GPA, .len = entries * ENTRY, .writable = 0};
	uint8_t entry[ENTRY];
	int id;

	for (uint32_t i = 0; i < entries; i++) {
		put16(entry, (uint16_t)(i < 16 ? i : 16 + i % 0xfff0));
		put64(entry + 2, value_of((uint16_t)i, 5));
		assert_true(guest_write(&rig->memory, DATA_GPA + (uint64_t)ENTRY * i, entry, ENTRY));
	}
	id = drv_add(rig, STATSQ, &buf, 1);
	drv_kick(rig, STATSQ);
	assert_true(rig_step(rig, 1) >= 0);
	expect_set(rig, text_order, 16, 5);
	assert_true(rig->host.count < 2000);
	assert_int_equal(host_last(rig)->op, HOST_STATS);
	assert_int_equal(counts(rig).stats_sets, 1);
	poll_now(rig);
	assert_int_equal(rig_run(rig), 0);
	expect_back(rig, id);
}

/* What a set means, read slowly; sets of this length are below the cap. */
static struct vmemdev_balloon_stats reference(const uint8_t *bytes, uint32_t len)
{
	struct vmemdev_balloon_stats set = {.valid = true};

	for (uint32_t at = 0; at + ENTRY <= len; at += ENTRY) {
		uint32_t tag = bytes[at] | (uint32_t)bytes[at + 1] << 8;
		uint64_t value = 0;

		for (int i = 0; i < 8; i++)
			value |= (uint64_t)bytes[at + 2 + (uint32_t)i] << 8 * i;
		if (tag >= VMEMDEV_BALLOON_STATS)
			continue;
		set.present |= 1u << tag;
		set.value[tag] = value;
	}
	return set;
}

/* shows: HOST-BAL-09 BAL-STAT-09 */
static void HOST_BAL_09_random_buffers_agree_with_a_slow_reading(void **state)
{
	struct rig *rig = *state;
	struct guest_random random;

	guest_random_seed(&random, 0x57a7);
	for (int round = 0; round < 400; round++) {
		uint32_t len = guest_random_below(&random, 320), pieces = 0;
		uint64_t mark = guest_place_mark(&rig->memory);
		struct vmemdev_buf bufs[128];
		struct vmemdev_balloon_stats set, expected;
		uint8_t bytes[320];

		for (uint32_t i = 0; i < len; i++)
			bytes[i] = (uint8_t)guest_random_next(&random);
		for (uint32_t i = 0; i + ENTRY <= len; i += ENTRY) {
			if (guest_random_below(&random, 4))
				put16(bytes + i, (uint16_t)guest_random_below(&random, 20));
		}
		for (uint32_t at = 0; at < len || pieces == 0; pieces++) {
			uint32_t size = guest_random_below(&random, 40);

			if (at + size > len || pieces == 100)
				size = len - at;
			bufs[pieces].gpa = guest_place(&rig->memory, size + 8, 1);
			bufs[pieces].len = size;
			bufs[pieces].writable = 0;
			assert_true(guest_write(&rig->memory, bufs[pieces].gpa, bytes + at, size));
			at += size;
		}
		drv_add(rig, STATSQ, bufs, pieces);
		drv_kick(rig, STATSQ);
		assert_int_equal(rig_run(rig), 0);
		set = stats(rig);
		expected = reference(bytes, len);
		if (memcmp(&set, &expected, sizeof(set)) != 0)
			fail_msg("round %d: another set than was sent, of %u bytes", round, len);
		poll_now(rig);
		assert_int_equal(rig_run(rig), 0);
		assert_int_equal(drv_used_count(rig, STATSQ), 1);
		guest_place_release(&rig->memory, mark);
	}
	assert_int_equal(rig->errors, 0);
}

static void look_at_the_new_set(struct rig *rig, const struct host_call *call)
{
	if (call->op != HOST_STATS)
		return;
	assert_int_equal(stats(rig).present, 0x3ff);
	assert_true(stats(rig).valid);
	assert_false(stats(rig).pending);
	assert_int_equal(vmemdev_balloon_poll_stats(&rig->balloon), VMEMDEV_E_STATE);
}

static void balloon_stats_carry_the_time_that_the_host_gives(void **state)
{
	struct rig *rig = *state;

	rig->host.hook = look_at_the_new_set;
	assert_true(stats(rig).updated == 0);
	for (uint32_t i = 0; i < 4; i++) {
		rig->host.clock = UINT64_MAX - i;
		send_set(rig, text_order, 10, i);
		assert_true(stats(rig).updated == UINT64_MAX - i);
		rig->host.clock = 1;
		poll_now(rig);
		assert_int_equal(rig_run(rig), 0);
		assert_true(stats(rig).updated == UINT64_MAX - i);
		assert_int_equal(host_count(rig, HOST_STATS), i + 1);
	}
}

static void poll_inside(struct rig *rig, const struct host_call *call)
{
	(void)call;
	assert_int_equal(vmemdev_balloon_poll_stats(&rig->balloon), VMEMDEV_E_STATE);
	assert_false(stats(rig).pending);
}

static void balloon_poll_stats_tells_why_it_cannot(void **state)
{
	struct rig *rig = *state;
	const uint32_t pfn = PLAY_PFN;

	/* offered, but no driver; a driver without it; a driver that has gone wrong */
	assert_int_equal(vmemdev_balloon_poll_stats(&rig->balloon), VMEMDEV_E_STATE);
	drv_start(rig, VMEMDEV_BALLOON_F_PAGE_REPORTING);
	assert_int_equal(vmemdev_balloon_poll_stats(&rig->balloon), VMEMDEV_E_STATE);
	assert_false(stats(rig).pending);
	drv_start(rig, BALLOON_FULL);
	rig->host.hook = poll_inside;
	pages_send(rig, INFLATEQ, &pfn, 1);
	assert_int_equal(rig->host.count, 1);
	rig->host.hook = NULL;
	poll_now(rig);
	drv_break(rig, INFLATEQ);
	assert_true(rig_run(rig) < 0);
	assert_int_equal(vmemdev_balloon_poll_stats(&rig->balloon), VMEMDEV_E_STATE);
}

static void balloon_poll_stats_needs_the_feature(void **state)
{
	struct rig *rig = *state;

	assert_int_equal(vmemdev_balloon_poll_stats(&rig->balloon), VMEMDEV_E_FEATURE);
	expect_none(rig);
}

static void balloon_stats_have_the_names_that_libvirt_gave_them(void **state)
{
	static const char *const names[] = {
		"swap_in", "swap_out", "major_fault", "minor_fault", "unused", "available",
		"usable", "disk_caches", "hugetlb_pgalloc", "hugetlb_pgfail", "oom_kill",
		"alloc_stall", "async_scan", "direct_scan", "async_reclaim", "direct_reclaim"};

	(void)state;
	assert_int_equal(ARRAY_LEN(names), VMEMDEV_BALLOON_STATS);
	for (uint16_t tag = 0; tag < VMEMDEV_BALLOON_STATS; tag++)
		assert_string_equal(vmemdev_balloon_stat_name(tag), names[tag]);
	for (uint32_t tag = VMEMDEV_BALLOON_STATS; tag <= 0xffff; tag++)
		assert_null(vmemdev_balloon_stat_name((uint16_t)tag));
}

/* shows: BAL-GEN-01 */
static void BAL_GEN_01_tags_of_statistics(void **state)
{
	(void)state;
	assert_int_equal(VMEMDEV_BALLOON_SWAP_IN, 0);
	assert_int_equal(VMEMDEV_BALLOON_SWAP_OUT, 1);
	assert_int_equal(VMEMDEV_BALLOON_MAJOR_FAULT, 2);
	assert_int_equal(VMEMDEV_BALLOON_MINOR_FAULT, 3);
	assert_int_equal(VMEMDEV_BALLOON_UNUSED, 4);
	assert_int_equal(VMEMDEV_BALLOON_AVAILABLE, 5);
	assert_int_equal(VMEMDEV_BALLOON_USABLE, 6);
	assert_int_equal(VMEMDEV_BALLOON_DISK_CACHES, 7);
	assert_int_equal(VMEMDEV_BALLOON_HUGETLB_PGALLOC, 8);
	assert_int_equal(VMEMDEV_BALLOON_HUGETLB_PGFAIL, 9);
	assert_int_equal(VMEMDEV_BALLOON_OOM_KILL, 10);
	assert_int_equal(VMEMDEV_BALLOON_ALLOC_STALL, 11);
	assert_int_equal(VMEMDEV_BALLOON_ASYNC_SCAN, 12);
	assert_int_equal(VMEMDEV_BALLOON_DIRECT_SCAN, 13);
	assert_int_equal(VMEMDEV_BALLOON_ASYNC_RECLAIM, 14);
	assert_int_equal(VMEMDEV_BALLOON_DIRECT_RECLAIM, 15);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_RINGS(BAL_STAT_01_a_set_is_an_array_of_ten_byte_entries,
			   rig_setup_balloon_full_live),
		TEST_RINGS(BAL_STAT_01_a_set_may_lie_in_pieces, rig_setup_balloon_full_live),
		TEST_RINGS(BAL_STAT_02_unknown_tags_are_passed_on_by_number_only,
			   rig_setup_balloon_full_live),
		TEST_RINGS(BAL_STAT_02_a_host_need_not_care_for_unknown_tags, rig_setup_bare),
		TEST_ALL(BAL_STAT_03_any_order_and_any_choice_of_tags,
			 rig_setup_balloon_full_live),
		TEST_ALL(BAL_STAT_04_the_buffer_goes_back_when_the_host_asks,
			 rig_setup_balloon_full_live),
		TEST_ALL(BAL_STAT_05_the_first_buffer_is_a_set_and_may_come_before_DRIVER_OK,
			 rig_setup_balloon_full),
		TEST_ALL(BAL_STAT_06_a_poll_without_a_buffer_is_served_when_one_comes,
			 rig_setup_balloon_full_live),
		TEST_ALL(BAL_STAT_06_a_poll_waits_for_outstanding_host_work,
			 rig_setup_balloon_full_live),
		TEST_RINGS(BAL_STAT_08_what_the_newest_set_lacks_is_absent,
			   rig_setup_balloon_full_live),
		TEST_RINGS(BAL_STAT_09_a_last_incomplete_entry_is_ignored,
			   rig_setup_balloon_full_live),
		TEST_ALL(BAL_STAT_10_a_reset_drops_buffer_set_and_poll,
			 rig_setup_balloon_full_live),
		TEST_ALL(BAL_STAT_10_a_queue_reset_drops_the_buffer_and_its_set,
			 rig_setup_balloon_full),
		TEST_ALL(HOST_BAL_08_of_several_buffers_the_newest_is_kept,
			 rig_setup_balloon_full_live),
		TEST_RINGS(HOST_BAL_08_a_flood_of_sets_is_cut_by_the_budget,
			   rig_setup_balloon_full_live),
		TEST_RINGS(HOST_BAL_09_writable_parts_and_repeated_tags,
			   rig_setup_balloon_full_live),
		TEST_RINGS(HOST_BAL_09_reading_a_huge_buffer_stops_at_a_cap,
			   rig_setup_balloon_full_live),
		TEST_RINGS(HOST_BAL_09_random_buffers_agree_with_a_slow_reading,
			   rig_setup_balloon_full_live),
		TEST_ONCE(balloon_stats_carry_the_time_that_the_host_gives,
			  rig_setup_balloon_full_live),
		TEST_ONCE(balloon_poll_stats_tells_why_it_cannot, rig_setup_balloon_full),
		TEST_ONCE(balloon_poll_stats_needs_the_feature, rig_setup_balloon_live),
		TEST_ONCE(balloon_stats_have_the_names_that_libvirt_gave_them, rig_setup_bare),
		TEST_ONCE(BAL_GEN_01_tags_of_statistics, rig_setup_bare),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
