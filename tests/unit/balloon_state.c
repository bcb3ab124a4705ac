/* SPDX-License-Identifier: BSD-3-Clause */
/* Balloons saved and loaded: sizes, numberings, statistics, rounds, tracks, damaged records. */
#include "device_move.h"

#define TELL VMEMDEV_BALLOON_F_MUST_TELL_HOST
#define POISON VMEMDEV_BALLOON_F_PAGE_POISON
#define FRAME UINT64_C(0x200000)
#define FRAME_SHIFT 21

enum { ENTRY = 10, WORDS = 16 };

/* The balloon's part of a record (lib/device/balloon_state.c). */
enum {
	REC_TARGET = REC_TYPE, REC_ACTUAL = REC_TYPE + 4, REC_COMMAND = REC_TYPE + 8,
	REC_NEXT_ROUND = REC_TYPE + 12, REC_POISON = REC_TYPE + 16, REC_BITS = REC_TYPE + 20,
	REC_ROUND = REC_TYPE + 21, REC_ZERO = REC_TYPE + 22, REC_PRESENT = REC_TYPE + 24
};
/* Where there are no statistics: of the first track. */
enum { REC_TRACKS = REC_TYPE + 36, REC_RUNS = REC_TRACKS + 4 + 20 };

/* One host page of 2 MiB is the track: PLAY_GPA lies at such an address. */
static uint64_t words[WORDS];
static struct vmemdev_balloon_track track;

static void full_config(struct rig *rig, struct vmemdev_balloon_config *config)
{
	rig_balloon_full_config(rig, config);
	config->must_tell_host = true;
	track = (struct vmemdev_balloon_track){
		.gpa = PLAY_GPA, .len = FRAME, .words = words, .frame_shift = FRAME_SHIFT};
	assert_true(vmemdev_balloon_track_words(FRAME, FRAME_SHIFT) <= WORDS);
	config->tracks = &track;
	config->track_count = 1;
}

static int setup_full(void **state)
{
	struct rig *rig = rig_bare(*state);
	struct vmemdev_balloon_config config;

	full_config(rig, &config);
	rig_make_balloon(rig, &config);
	*state = rig;
	return 0;
}

static void fresh(struct rig *rig)
{
	struct vmemdev_balloon_config config;

	full_config(rig, &config);
	memset(words, 0x5a, sizeof(words));
	rig_fresh_balloon(rig, &config);
}

static void move(struct rig *rig)
{
	struct record before, after;
	uint32_t calls = rig->host.count;

	rig_save(rig, &before);
	fresh(rig);
	assert_int_equal(rig_load(rig, &before), 0);
	rig_save(rig, &after);
	assert_int_equal(after.len, before.len);
	assert_memory_equal(after.bytes, before.bytes, before.len);
	assert_int_equal(rig->host.count, calls);
}

static struct vmemdev_balloon_stats stats(struct rig *rig)
{
	struct vmemdev_balloon_stats now;

	vmemdev_balloon_get_stats(&rig->balloon, &now);
	return now;
}

static void send_set(struct rig *rig, uint16_t queue, uint16_t tag, uint64_t value)
{
	uint64_t gpa = guest_place(&rig->memory, ENTRY, 2);
	const struct vmemdev_buf buf = {.gpa = gpa, .len = ENTRY, .writable = 0};
	uint8_t bytes[ENTRY];

	put16(bytes, tag);
	put64(bytes + 2, value);
	assert_true(guest_write(&rig->memory, gpa, bytes, sizeof(bytes)));
	drv_add(rig, queue, &buf, 1);
	drv_kick(rig, queue);
	assert_int_equal(rig_run(rig), 0);
}

static void set_actual(struct rig *rig, uint32_t pages)
{
	uint8_t bytes[4];

	put32(bytes, pages);
	rig->window = true;
	guest_driver_config_write(&rig->driver, BAL_ACTUAL, bytes, 4);
	rig->window = false;
}

/* A command ID and one hinted range, as Linux sends them. */
static void hint(struct rig *rig, uint16_t queue, uint32_t command, uint64_t gpa)
{
	uint64_t at = guest_place(&rig->memory, 4, 4);
	const struct vmemdev_buf id = {.gpa = at, .len = 4, .writable = 0};
	const struct vmemdev_range range = {gpa, PAGE};

	guest_store32(&rig->memory, at, command);
	drv_add(rig, queue, &id, 1);
	ranges_post(rig, queue, &range, 1);
	drv_kick(rig, queue);
	assert_int_equal(rig_run(rig), 0);
	drv_used_count(rig, queue);
}

static void sizes_move(void **state)
{
	struct rig *rig = *state;
	uint8_t before[16], after[16];

	drv_start(rig, TELL);
	assert_int_equal(vmemdev_balloon_set_target(&rig->balloon, 1000 * PAGE), 0);
	set_actual(rig, 77);
	guest_driver_config_read(&rig->driver, 0, before, sizeof(before));
	move(rig);
	guest_driver_config_read(&rig->driver, 0, after, sizeof(after));
	assert_memory_equal(before, after, sizeof(before));
	assert_true(vmemdev_balloon_target(&rig->balloon) == 1000 * PAGE);
	assert_true(vmemdev_balloon_actual(&rig->balloon) == 77 * PAGE);
	/* a reset empties it, and the host is told */
	host_forget(rig);
	rig->window = true;
	drv_reset(rig);
	rig->window = false;
	assert_int_equal(host_count(rig, HOST_ACTUAL), 1);
	assert_true(vmemdev_balloon_target(&rig->balloon) == 1000 * PAGE);
}

/* Each set of optional features, each numbering of the queues: they are for the same after. */
/* shows: AMB-01 LNX-BAL-01 */
static void AMB_01_queues_are_for_the_same_after_a_move(void **state)
{
	static const uint64_t optional[] = {VMEMDEV_BALLOON_F_STATS_VQ,
					    VMEMDEV_BALLOON_F_FREE_PAGE_HINT,
					    VMEMDEV_BALLOON_F_PAGE_REPORTING};
	struct rig *rig = *state;
	uint64_t mark = guest_place_mark(&rig->memory);

	for (uint32_t set = 0; set < 16; set++) {
		const struct vmemdev_range range = {DATA_GPA, PAGE};
		enum guest_numbering numbering = set & 8 ? GUEST_GAPLESS : GUEST_TEXT;
		uint64_t features = 0;

		for (uint32_t i = 0; i < 3; i++)
			features |= set & (1u << i) ? optional[i] : 0;
		/* what the driver before has left behind can be moved, too */
		rig->window = true;
		drv_reset(rig);
		move(rig);
		guest_place_release(&rig->memory, mark);
		drv_start_numbered(rig, features, numbering);
		move(rig);
		host_forget(rig);
		if (set & 1) {
			send_set(rig, drv_role(rig, GUEST_STATS, numbering), 4, 1234 + set);
			assert_int_equal(host_last(rig)->op, HOST_STATS);
			assert_true(stats(rig).value[4] == 1234 + set);
		}
		if (set & 2) {
			assert_int_equal(vmemdev_balloon_hint_start(&rig->balloon), 0);
			hint(rig, drv_role(rig, GUEST_HINT, numbering),
			     guest_driver_config32(&rig->driver, BAL_CMD_ID), PLAY_GPA);
			assert_int_equal(host_count(rig, HOST_HINT), 1);
		}
		if (set & 4) {
			uint16_t queue = drv_role(rig, GUEST_REPORT, numbering);

			ranges_post(rig, queue, &range, 1);
			drv_kick(rig, queue);
			assert_int_equal(rig_run(rig), 0);
			assert_int_equal(host_last(rig)->op, HOST_REPORT);
		}
	}
}

/* shows: BAL-STAT-03 */
static void BAL_STAT_03_statistics_and_their_poll_move(void **state)
{
	struct rig *rig = *state;

	drv_start(rig, BALLOON_FULL);
	rig->host.clock = 555;
	send_set(rig, STATSQ, 7, 42);
	move(rig);
	assert_true(stats(rig).valid && !stats(rig).pending);
	assert_true(stats(rig).value[7] == 42 && stats(rig).present == 1u << 7);
	assert_true(stats(rig).updated == 555);
	/* the buffer that waits is still the device's; a poll hands it back, once */
	assert_int_equal(rig_run(rig), 0);
	assert_int_equal(drv_used_count(rig, STATSQ), 0);
	assert_int_equal(vmemdev_balloon_poll_stats(&rig->balloon), 0);
	move(rig);
	assert_true(stats(rig).pending);
	assert_int_equal(rig_run(rig), 0);
	assert_int_equal(drv_used_count(rig, STATSQ), 1);
	move(rig);
	assert_true(stats(rig).pending && stats(rig).value[7] == 42);
	send_set(rig, STATSQ, 5, 43);
	assert_false(stats(rig).pending);
	assert_true(stats(rig).value[5] == 43 && stats(rig).present == 1u << 5);
	assert_int_equal(drv_used_count(rig, STATSQ), 0);
}

/* shows: BAL-HINT-05 AMB-12 */
static void BAL_HINT_05_a_round_of_hinting_goes_on(void **state)
{
	struct rig *rig = *state;
	uint32_t command;

	drv_start(rig, BALLOON_FULL);
	assert_int_equal(vmemdev_balloon_hint_start(&rig->balloon), 0);
	command = guest_driver_config32(&rig->driver, BAL_CMD_ID);
	move(rig);
	assert_int_equal(vmemdev_balloon_hint_round(&rig->balloon), VMEMDEV_BALLOON_ROUND_ASKED);
	assert_int_equal(guest_driver_config32(&rig->driver, BAL_CMD_ID), command);
	host_forget(rig);
	hint(rig, HINTQ, command, PLAY_GPA);
	assert_int_equal(host_count(rig, HOST_HINT), 1);
	move(rig);
	assert_int_equal(vmemdev_balloon_hint_round(&rig->balloon), VMEMDEV_BALLOON_ROUND_OPEN);
	hint(rig, HINTQ, command, PLAY_GPA + PAGE);
	assert_int_equal(host_count(rig, HOST_HINT), 2);
	assert_int_equal(vmemdev_balloon_hint_stop(&rig->balloon), 0);
	move(rig);
	hint(rig, HINTQ, command, PLAY_GPA + 2 * PAGE);
	assert_int_equal(host_count(rig, HOST_HINT), 2);
	assert_int_equal(vmemdev_balloon_hint_start(&rig->balloon), 0);
	assert_int_not_equal(guest_driver_config32(&rig->driver, BAL_CMD_ID), command);
	assert_int_equal(vmemdev_balloon_hint_stop(&rig->balloon), 0);
	move(rig);
	/* the guest still holds pages: DONE is shown, and that is a change */
	drv_took_config_irq(rig);
	assert_int_equal(vmemdev_balloon_hint_done(&rig->balloon), 0);
	assert_int_equal(guest_driver_config32(&rig->driver, BAL_CMD_ID), 1);
	assert_true(drv_took_config_irq(rig));
}

/* A host page of which most was given up before the move is complete with the rest after. */
static void tracked_pages_move(void **state)
{
	struct rig *rig = *state;
	struct vmemdev_range given;
	uint32_t pfns[256];

	drv_start(rig, TELL);
	for (uint32_t i = 0; i < 256; i++)
		pfns[i] = PLAY_PFN + i;
	pages_send(rig, INFLATEQ, pfns, 256);
	for (uint32_t i = 0; i < 256; i++)
		pfns[i] = PLAY_PFN + 256 + i;
	pages_send(rig, INFLATEQ, pfns, 255);
	host_forget(rig);
	move(rig);
	assert_true(vmemdev_balloon_given(&rig->balloon, 0, &given));
	assert_true(given.gpa == PLAY_GPA && given.len == 511 * PAGE);
	pages_send(rig, INFLATEQ, pfns + 255, 1);
	assert_int_equal(rig->host.count, 1);
	assert_true(host_last(rig)->ranges[0].gpa == PLAY_GPA);
	assert_true(host_last(rig)->ranges[0].len == FRAME);
	pages_send(rig, DEFLATEQ, pfns + 3, 1);
	move(rig);
	assert_true(vmemdev_balloon_given(&rig->balloon, 0, &given));
	assert_true(given.gpa == PLAY_GPA && given.len == 259 * PAGE);
	pages_send(rig, INFLATEQ, pfns + 3, 1);
	assert_true(host_last(rig)->ranges[0].len == FRAME);
}

/* Work that the host has put off counts as failed: its buffer is used, nothing asked again. */
static void late_work_counts_as_failed(void **state)
{
	struct rig *rig = *state;
	const uint32_t pfn = PLAY_PFN;
	struct record record;
	uint64_t token;

	drv_start(rig, 0);
	rig->host.answer = VMEMDEV_LATER;
	/* an untracked page, in memory that may be discarded */
	pages_post(rig, INFLATEQ, &(uint32_t){(uint32_t)(DATA_GPA / PAGE)}, 1);
	drv_kick(rig, INFLATEQ);
	assert_int_equal(rig_run(rig), 0);
	assert_int_equal(host_count(rig, HOST_INFLATE), 1);
	token = rig->host.token;
	assert_int_equal(drv_used_count(rig, INFLATEQ), 0);
	rig_save(rig, &record);
	host_forget(rig);
	rig->host.answer = 0;
	fresh(rig);
	assert_int_equal(rig_load(rig, &record), 0);
	assert_int_equal(rig_run(rig), 0);
	assert_int_equal(host_count(rig, HOST_INFLATE), 0);
	assert_int_equal(drv_used_count(rig, INFLATEQ), 1);
	assert_int_equal(rig_complete(rig, token, 0), VMEMDEV_E_STATE);
	pages_send(rig, DEFLATEQ, &pfn, 1);
}

/* A buffer half read is read again from its start, and used once; its pages count once. */
static void a_half_read_buffer_is_read_again(void **state)
{
	struct rig *rig = *state;
	struct vmemdev_range given;
	uint32_t pfns[FRAME / PAGE];

	drv_start(rig, TELL);
	for (uint32_t i = 0; i < ARRAY_LEN(pfns); i++)
		pfns[i] = PLAY_PFN + i;
	/* more than a unit of the budget is for */
	pages_post(rig, INFLATEQ, pfns, 300);
	drv_kick(rig, INFLATEQ);
	assert_int_equal(rig_step(rig, 1), 1);
	assert_true(vmemdev_balloon_given(&rig->balloon, 0, &given));
	assert_true(given.gpa == PLAY_GPA && given.len < 300 * PAGE);
	move(rig);
	assert_int_equal(drv_used_count(rig, INFLATEQ), 0);
	assert_int_equal(rig_run(rig), 0);
	assert_true(vmemdev_balloon_given(&rig->balloon, 0, &given));
	assert_true(given.gpa == PLAY_GPA && given.len == 300 * PAGE);
	assert_int_equal(drv_used_count(rig, INFLATEQ), 1);
	pages_send(rig, INFLATEQ, pfns + 300, 211);
	assert_int_equal(rig->host.count, 0);
	pages_send(rig, INFLATEQ, pfns + 511, 1);
	assert_int_equal(rig->host.count, 1);
	assert_true(host_last(rig)->ranges[0].len == FRAME);
}

/* A running balloon with something of everything. */
static int setup_rich(void **state)
{
	const uint32_t pfns[] = {PLAY_PFN, PLAY_PFN + 1, PLAY_PFN + 9};
	struct rig *rig;

	setup_full(state);
	rig = *state;
	drv_start(rig, BALLOON_FULL | TELL);
	assert_int_equal(vmemdev_balloon_set_target(&rig->balloon, 64 * PAGE), 0);
	pages_send(rig, INFLATEQ, pfns, 3);
	set_actual(rig, 3);
	send_set(rig, STATSQ, 7, 42);
	assert_int_equal(vmemdev_balloon_hint_start(&rig->balloon), 0);
	hint(rig, HINTQ, guest_driver_config32(&rig->driver, BAL_CMD_ID), PLAY_GPA + 16 * PAGE);
	return 0;
}

/* What no balloon can be. */
static void check_possible(struct rig *rig)
{
	uint8_t status = vmemdev_device_status(rig->dev);
	uint32_t accepted = vmemdev_device_accepted(rig->dev, 0);
	struct vmemdev_range given = {0, 0};
	uint32_t command = guest_driver_config32(&rig->driver, BAL_CMD_ID);
	enum vmemdev_balloon_round round = vmemdev_balloon_hint_round(&rig->balloon);

	assert_false(status & ~0xcf);
	assert_true(!(status & VMEMDEV_STATUS_DRIVER_OK) || (status & VMEMDEV_STATUS_FEATURES_OK));
	assert_int_equal((status & VMEMDEV_STATUS_NEEDS_RESET) != 0,
			 vmemdev_device_fault(rig->dev) != 0);
	if (status & VMEMDEV_STATUS_FEATURES_OK)
		assert_false(accepted & ~vmemdev_device_features(rig->dev, 0));
	assert_true(round <= VMEMDEV_BALLOON_ROUND_ENDED);
	assert_int_equal(round == VMEMDEV_BALLOON_ROUND_NONE, command < 2);
	assert_false(stats(rig).present >> VMEMDEV_BALLOON_STATS);
	while (vmemdev_balloon_given(&rig->balloon, given.gpa + given.len, &given)) {
		assert_true(given.gpa >= PLAY_GPA && given.gpa + given.len <= PLAY_GPA + FRAME);
		assert_true(accepted & TELL);
	}
}

/* Load something that may be damaged. Returns whether it was accepted. */
static bool try_load(struct rig *rig, const struct record *record, uint64_t mark)
{
	const uint32_t pfn = PLAY_PFN;
	int err;

	fresh(rig);
	host_forget(rig);
	err = rig_load(rig, record);
	assert_int_equal(rig->host.count, 0);
	if (err != 0) {
		assert_true(err == VMEMDEV_E_RECORD || err == VMEMDEV_E_VERSION ||
			    err == VMEMDEV_E_MISMATCH);
		assert_int_equal(vmemdev_device_status(rig->dev), 0);
		return false;
	}
	check_possible(rig);
	err = rig_run(rig);
	if (err != 0)
		assert_true(err <= VMEMDEV_E_GUEST_RING && err >= VMEMDEV_E_GUEST_REPLY);
	check_possible(rig);
	rig->window = true;
	(void)vmemdev_balloon_hint_stop(&rig->balloon);
	(void)vmemdev_balloon_hint_start(&rig->balloon);
	(void)vmemdev_balloon_hint_done(&rig->balloon);
	(void)vmemdev_balloon_poll_stats(&rig->balloon);
	drv_reset(rig);
	guest_place_release(&rig->memory, mark);
	drv_start(rig, BALLOON_FULL | TELL);
	pages_send(rig, INFLATEQ, &pfn, 1);
	assert_false(stats(rig).valid || stats(rig).pending);
	return true;
}

#ifdef FEWER_STEPS
#define RANDOM_RECORDS 500
#else
#define RANDOM_RECORDS 10000
#endif

static void no_damaged_record_makes_an_impossible_balloon(void **state)
{
	struct rig *rig = *state;
	uint64_t mark = guest_place_mark(&rig->memory);
	struct guest_random random;
	struct record good, bad;
	uint32_t accepted = 0;

	rig_save(rig, &good);
	for (size_t at = 0; at < good.len; at++) {
		for (uint32_t flip = 1; flip < 256; flip++) {
			if ((flip & (flip - 1)) != 0 && flip != 255 && flip % 16 != 5)
				continue;
			bad = good;
			bad.bytes[at] ^= (uint8_t)flip;
			accepted += try_load(rig, &bad, mark);
		}
	}
	assert_true(accepted > 0);
	guest_random_seed(&random, 31);
	for (uint32_t i = 0; i < RANDOM_RECORDS; i++) {
		bad = good;
		if (guest_random_below(&random, 4) == 0)
			bad.len = guest_random_below(&random, (uint32_t)good.len + 40);
		for (uint32_t k = 0; k < 4; k++)
			bad.bytes[guest_random_below(&random, (uint32_t)good.len)] =
				(uint8_t)guest_random_next(&random);
		memcpy(bad.bytes, good.bytes, 16);
		record_set(&bad, REC_LEN, 4, bad.len);
		try_load(rig, &bad, mark);
	}
}

/* And the host hears nothing of the balloon that it will not be. */
static void each_cut_is_refused(void **state)
{
	struct rig *rig = *state;
	struct record good, bad;

	rig_save(rig, &good);
	host_forget(rig);
	for (size_t len = 0; len < good.len + 20; len++) {
		if (len == good.len)
			continue;
		bad = good;
		memset(bad.bytes + good.len, 0, 20);
		bad.len = len;
		fresh(rig);
		assert_int_equal(rig_load(rig, &bad), VMEMDEV_E_RECORD);
		record_set(&bad, REC_LEN, 4, len);
		fresh(rig);
		assert_int_equal(rig_load(rig, &bad), VMEMDEV_E_RECORD);
		assert_int_equal(rig->host.count, 0);
		assert_int_equal(vmemdev_device_status(rig->dev), 0);
	}
}

static void damaged_fields_have_their_names(void **state)
{
	static const struct damage rows[] = {
		{REC_ID, 4, 24, VMEMDEV_E_MISMATCH},
		{REC_MAJOR, 2, 2, VMEMDEV_E_VERSION},
		{REC_QUEUES, 1, 2, VMEMDEV_E_MISMATCH},
		{REC_COMMAND, 4, 0, VMEMDEV_E_RECORD},   /* a round without an ID */
		{REC_COMMAND, 4, 1, VMEMDEV_E_RECORD},
		{REC_NEXT_ROUND, 4, 2, VMEMDEV_E_RECORD}, /* the ID of the open round */
		{REC_NEXT_ROUND, 4, 1, VMEMDEV_E_RECORD},
		{REC_NEXT_ROUND, 4, 0, VMEMDEV_E_RECORD},
		{REC_BITS, 1, 0x40, VMEMDEV_E_RECORD},
		{REC_BITS, 1, 0x80, VMEMDEV_E_RECORD},
		{REC_BITS, 1, 0x06, VMEMDEV_E_RECORD},   /* tracks that it says hold nothing */
		{REC_BITS, 1, 0x24, VMEMDEV_E_RECORD},   /* a round that keeps no hints */
		{REC_BITS, 1, 0x26, 0},
		{REC_BITS, 1, 0x22, VMEMDEV_E_RECORD},   /* statistics that never came */
		{REC_BITS, 1, 0x2e, 0},
		{REC_BITS, 1, 0x36, VMEMDEV_E_RECORD},   /* wanted, and not asked for */
		{REC_BITS, 1, 0x3e, 0},
		{REC_BITS, 1, 0x66, 0},
		{REC_BITS, 1, 0xa6, VMEMDEV_E_RECORD},
		{REC_ROUND, 1, 0, VMEMDEV_E_RECORD},
		{REC_ROUND, 1, 4, VMEMDEV_E_RECORD},
		{REC_ZERO, 2, 1, VMEMDEV_E_RECORD},
		{REC_PRESENT, 4, 0x10000, VMEMDEV_E_RECORD},
		{REC_PRESENT, 4, 0xffffffff, VMEMDEV_E_RECORD},
	};
	struct rig *rig = *state;
	struct record good;

	rig_save(rig, &good);
	rig_expect_damages(rig, &good, rows, ARRAY_LEN(rows), fresh);
	/* another host page size; no tracks at all; fewer features */
	for (uint32_t i = 0; i < 3; i++) {
		struct vmemdev_balloon_config config;

		full_config(rig, &config);
		if (i == 0)
			track.frame_shift = 12;
		if (i == 1)
			config.track_count = 0;
		if (i == 2)
			config.must_tell_host = false;
		rig_fresh_balloon(rig, &config);
		assert_int_equal(rig_load(rig, &good), VMEMDEV_E_MISMATCH);
	}
	fresh(rig);
	assert_int_equal(rig_load(rig, &good), 0);
}

/* Without tracks there is nothing that the balloon could be behind with. */
static void a_balloon_that_tracks_nothing_is_not_behind(void **state)
{
	static const struct damage rows[] = {
		{REC_BITS, 1, 0x00, 0},
		{REC_BITS, 1, 0x40, VMEMDEV_E_RECORD},
		{REC_BITS, 1, 0x20, VMEMDEV_E_RECORD},
		{REC_TRACKS, 4, 1, VMEMDEV_E_RECORD},
	};
	struct rig *rig = *state;
	struct record good;

	drv_start(rig, 0);
	rig_save(rig, &good);
	assert_int_equal(record_get(&good, REC_BITS, 1), 0);
	rig_expect_damages(rig, &good, rows, ARRAY_LEN(rows), fresh);
}

static void a_round_without_a_driver(void **state)
{
	static const struct damage rows[] = {
		{REC_ROUND, 1, VMEMDEV_BALLOON_ROUND_ASKED, VMEMDEV_E_RECORD},
		{REC_ROUND, 1, VMEMDEV_BALLOON_ROUND_NONE, 0},
	};
	struct rig *rig = *state;
	struct record good;

	rig_save(rig, &good);
	rig_expect_damages(rig, &good, rows, ARRAY_LEN(rows), fresh);
}

/* Of 272 pages: a quarter of the last word's bits stand for one. */
static uint64_t odd_words[5];
static const struct vmemdev_balloon_track odd_track = {
	.gpa = PLAY_GPA, .len = 0x110000, .frame_shift = 16, .words = odd_words};

static void fresh_odd(struct rig *rig)
{
	struct vmemdev_balloon_config config;

	rig_balloon_config(rig, &config);
	config.must_tell_host = true;
	config.tracks = &odd_track;
	config.track_count = 1;
	rig_fresh_balloon(rig, &config);
}

static void bits_that_no_track_has(void **state)
{
	static const struct damage rows[] = {
		{REC_RUNS, 4, UINT32_C(3) << 30 | 1, VMEMDEV_E_RECORD},
		{REC_RUNS, 4, UINT32_C(2) << 30, VMEMDEV_E_RECORD},
		{REC_RUNS, 4, UINT32_C(2) << 30 | 6, VMEMDEV_E_RECORD},
		{REC_RUNS + 20, 8, UINT64_C(1) << 15, 0},
		{REC_RUNS + 20, 8, UINT64_C(1) << 16, VMEMDEV_E_RECORD},
		{REC_RUNS + 20, 8, UINT64_C(1) << 63, VMEMDEV_E_RECORD},
		{REC_TRACKS, 4, 2, VMEMDEV_E_MISMATCH},
		{REC_TRACKS, 4, 0, VMEMDEV_E_RECORD},
	};
	const uint32_t pfns[] = {PLAY_PFN + 3, PLAY_PFN + 260};
	struct rig *rig = *state;
	struct record good;

	fresh_odd(rig);
	drv_start(rig, TELL);
	pages_send(rig, INFLATEQ, pfns, ARRAY_LEN(pfns));
	rig_save(rig, &good);
	/* one word as it is, three of zeros, one as it is */
	assert_int_equal(record_get(&good, REC_RUNS, 4), UINT32_C(2) << 30 | 1);
	assert_int_equal(record_get(&good, REC_RUNS + 20, 8), 1 << 4);
	rig_expect_damages(rig, &good, rows, ARRAY_LEN(rows), fresh_odd);
}

/* A guest that breaks its rings, or gives up, does not keep its machine from moving. */
static void a_device_that_stopped_can_be_saved(void **state)
{
	static const uint32_t pfns[] = {PLAY_PFN + 9, PLAY_PFN + 3, PLAY_PFN + 5};
	struct rig *rig = *state;
	struct vmemdev_vq_state at;
	uint32_t errors;

	drv_start(rig, BALLOON_FULL | VMEMDEV_BALLOON_F_MUST_TELL_HOST);
	pages_post(rig, INFLATEQ, pfns, ARRAY_LEN(pfns));
	drv_break(rig, INFLATEQ);
	assert_true(rig_run(rig) < 0);
	errors = rig->errors;
	move(rig);
	/* the driver finds its queues as they were, and they are dead */
	for (uint16_t queue = 0; queue < 5; queue++) {
		assert_true(guest_driver_queue_ready(&rig->driver, queue));
		assert_int_equal(vmemdev_device_queue_stop(rig->dev, queue, &at),
				 VMEMDEV_E_GUEST_CHAIN);
	}
	assert_int_equal(rig->errors, errors);
	assert_true(vmemdev_device_status(rig->dev) & VMEMDEV_STATUS_NEEDS_RESET);
	assert_int_equal(vmemdev_device_fault(rig->dev), VMEMDEV_E_GUEST_CHAIN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_ALL(sizes_move, setup_full),
		TEST_RINGS(AMB_01_queues_are_for_the_same_after_a_move, setup_full),
		TEST_RINGS(BAL_STAT_03_statistics_and_their_poll_move, setup_full),
		TEST_ALL(BAL_HINT_05_a_round_of_hinting_goes_on, setup_full),
		TEST_RINGS(tracked_pages_move, setup_full),
		TEST_RINGS(late_work_counts_as_failed, setup_full),
		TEST_ALL(a_device_that_stopped_can_be_saved, setup_full),
		TEST_RINGS(a_half_read_buffer_is_read_again, setup_full),
		TEST_RINGS(no_damaged_record_makes_an_impossible_balloon, setup_rich),
		TEST_RINGS(each_cut_is_refused, setup_rich),
		TEST_ONCE(damaged_fields_have_their_names, setup_rich),
		TEST_RINGS(a_balloon_that_tracks_nothing_is_not_behind, setup_full),
		TEST_ONCE(a_round_without_a_driver, setup_full),
		TEST_RINGS(bits_that_no_track_has, setup_full),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
