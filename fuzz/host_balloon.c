/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A balloon's host. It is only ever told of memory that the guest has named, that is there and
 * may be discarded: whole pages, and whole host pages where it tracks; of nothing while it is
 * busy, nor, but for what the guest wants back, while discards are inhibited; of hints in an
 * open round alone; of reports only with the feature, and not of poisoned pages. Ranges stay
 * as they are until put-off work ends, and calls are bounded by the budget. What it discards,
 * it fills with zeros.
 */
#include "machine.h"

#include <string.h>

enum { POISON_AT = 12, STRETCHES = 256 };
enum { SMALL_SHIFT = 12, TRACK_SHIFT = 14, LARGE_SHIFT = 19, LARGE_LEN = 1 << LARGE_SHIFT };

static struct port *port(struct machine *m)
{
	return &m->ports[NUMBER_BALLOON];
}

static bool accepted(struct machine *m, uint64_t feature)
{
	return (vmemdev_device_accepted(port(m)->dev, 0) & feature) != 0;
}

static void check_ranges(struct machine *m, const struct vmemdev_range *ranges, uint32_t count)
{
	require(m->inside_run && count > 0 && count <= RANGES && !m->balloon.waits);
	require(ranges == m->balloon.ranges);
	/* A unit of budget pays for so many stretches of memory, and ends one call at most. */
	require(++m->balloon.calls <= STRETCHES / RANGES * (m->budget + 1) + m->budget + QUEUES_MAX);
	for (uint32_t i = 0; i < count; i++) {
		require((ranges[i].gpa | ranges[i].len) % 4096 == 0 && ranges[i].len > 0);
		require(world_discardable(&m->w, ranges[i].gpa, ranges[i].len));
	}
}

static int told(struct machine *m, const struct vmemdev_range *ranges, uint32_t count,
		uint64_t token)
{
	check_ranges(m, ranges, count);
	require(token != m->balloon.token);
	m->balloon.token = token;
	m->balloon.waits = m->answer == VMEMDEV_LATER;
	m->balloon.given_count = count;
	memcpy(m->balloon.given, ranges, count * sizeof(*ranges));
	return m->answer;
}

/* What may be discarded where RAM is tracked are whole host pages. */
static int discard(struct machine *m, const struct vmemdev_range *ranges, uint32_t count,
		   uint64_t token)
{
	const uint64_t part = (UINT64_C(1) << TRACK_SHIFT) - 1;

	require(m->balloon.inhibited == 0);
	for (uint32_t i = 0; i < count; i++) {
		if (ranges[i].gpa < m->balloon.tracks[0].len)
			require(((ranges[i].gpa | ranges[i].len) & part) == 0);
		if (m->answer != 0)
			continue;
		world_zero(&m->w, ranges[i].gpa, ranges[i].len);
		/* There go the driver's own rings and buffers, perhaps. */
		m->honest = m->honest && ranges[i].gpa >= RINGS_LEN + BUFFERS_LEN;
	}
	return told(m, ranges, count, token);
}

void balloon_named(struct machine *m, const uint8_t *numbers, uint32_t len)
{
	struct input in = { numbers, numbers + len };

	while (in.end - in.at >= 4) {
		const uint64_t page = take(&in, 4);

		if (page < NAMED_MAX)
			m->balloon.named[page / 64] |= UINT64_C(1) << page % 64;
	}
}

/* Nobody but an honest guest can be taken at its word. */
static void check_named(const struct machine *m, const struct vmemdev_range *ranges, uint32_t count)
{
	for (uint32_t i = 0; m->honest && !m->w.raced && i < count; i++) {
		for (uint64_t page = ranges[i].gpa >> 12; page < (ranges[i].gpa + ranges[i].len) >> 12;
		     page++)
			require(m->balloon.named[page / 64] >> page % 64 & 1);
	}
}

static int inflate(void *ctx, const struct vmemdev_range *ranges, uint32_t count, uint64_t token)
{
	check_named(ctx, ranges, count);
	return discard(ctx, ranges, count, token);
}

static int deflate(void *ctx, const struct vmemdev_range *ranges, uint32_t count, uint64_t token)
{
	check_named(ctx, ranges, count);
	return told(ctx, ranges, count, token);
}

static uint32_t field(struct machine *m, uint32_t offset)
{
	uint8_t bytes[4];
	struct input in = { bytes, bytes + 4 };

	vmemdev_device_config_read(port(m)->dev, offset, bytes, 4);
	return (uint32_t)take(&in, 4);
}

static int report(void *ctx, const struct vmemdev_range *ranges, uint32_t count, uint64_t token)
{
	struct machine *m = ctx;

	require(accepted(m, VMEMDEV_BALLOON_F_PAGE_REPORTING));
	require(!accepted(m, VMEMDEV_BALLOON_F_PAGE_POISON) || field(m, POISON_AT) == 0);
	for (uint32_t i = 0; i < count; i++)
		require(ranges[i].len >= m->balloon.report_min &&
			world_fetched(&m->w, ranges[i].gpa, ranges[i].len));
	return discard(m, ranges, count, token);
}

static void hint(void *ctx, const struct vmemdev_range *ranges, uint32_t count)
{
	struct machine *m = ctx;
	uint64_t to_send[1] = { UINT64_MAX };

	require(vmemdev_balloon_hint_round(&m->balloon.balloon) == VMEMDEV_BALLOON_ROUND_OPEN);
	check_ranges(m, ranges, count);
	for (uint32_t i = 0; i < count; i++)
		require(world_fetched(&m->w, ranges[i].gpa, ranges[i].len));
	require(vmemdev_balloon_skip(to_send, 0, 64, 12, ranges, count) <= 64);
}

static void round_moved(void *ctx, enum vmemdev_balloon_round round)
{
	struct machine *m = ctx;

	require(vmemdev_balloon_hint_round(&m->balloon.balloon) == round);
}

static uint64_t stats_came(void *ctx)
{
	struct machine *m = ctx;
	struct vmemdev_balloon_stats stats;

	vmemdev_balloon_get_stats(&m->balloon.balloon, &stats);
	require(stats.valid && !m->balloon.waits && accepted(m, VMEMDEV_BALLOON_F_STATS_VQ));
	return 1;
}

static void unknown_stat(void *ctx, uint16_t tag, uint64_t value)
{
	(void)ctx;
	(void)value;
	require(vmemdev_balloon_stat_name(tag) == NULL);
}

static void check_kept(const struct balloon_host *b)
{
	require(memcmp(b->given, b->ranges, b->given_count * sizeof(b->given[0])) == 0);
}

static void cancel(void *ctx, uint64_t token)
{
	struct machine *m = ctx;

	require(m->balloon.waits && token == m->balloon.token);
	m->balloon.waits = false;
}

static void actual(void *ctx, uint64_t bytes)
{
	struct machine *m = ctx;

	require(vmemdev_balloon_actual(&m->balloon.balloon) == bytes);
	/* A host may not call back from there. */
	require(vmemdev_balloon_set_target(&m->balloon.balloon, 0) == VMEMDEV_E_STATE);
}

static const struct vmemdev_balloon_ops ops = {
	.inflate = inflate, .deflate = deflate, .report = report, .hint = hint,
	.round = round_moved, .stats = stats_came, .unknown_stat = unknown_stat,
	.cancel = cancel, .actual = actual,
};

static void make_tracks(struct machine *m, struct vmemdev_balloon_config *config)
{
	struct balloon_host *b = &m->balloon;
	const bool large = m->balloon_options & BALLOON_LARGE_FRAMES;

	b->tracks[0] = (struct vmemdev_balloon_track){ .len = RINGS_LEN + BUFFERS_LEN,
						       .words = b->words[0],
						       .frame_shift = TRACK_SHIFT };
	b->tracks[1] = (struct vmemdev_balloon_track){
		.gpa = BLOCKS_ADDR, .len = large ? (uint64_t)LARGE_LEN : BLOCKS_LEN,
		.words = b->words[1], .frame_shift = large ? LARGE_SHIFT : SMALL_SHIFT };
	for (int i = 0; i < 2; i++)
		require(vmemdev_balloon_track_words(b->tracks[i].len, b->tracks[i].frame_shift) <= 4);
	config->tracks = b->tracks;
	config->track_count = 2;
}

void balloon_create(struct machine *m, struct vmemdev_device_config *device)
{
	const uint32_t options = m->balloon_options;
	struct balloon_host *b = &m->balloon;
	struct vmemdev_balloon_config config = {
		.struct_size = sizeof(config), .range_count = RANGES, .ranges = b->ranges,
		.ops = &ops, .ctx = m, .must_tell_host = true, .deflate_on_oom = true,
		.stats = !(options & BALLOON_NO_STATS), .hinting = !(options & BALLOON_NO_HINTING),
		.reporting = !(options & BALLOON_NO_REPORTING),
		.text_queues_only = options & BALLOON_TEXT_QUEUES,
		.require_must_tell_host = options & BALLOON_REQUIRE_TELL,
		.first_round = 0xfffffffe,
	};

	b->report_min = options & BALLOON_REPORT_MIN ? 8192 : 0;
	config.report_min = b->report_min;
	config.device = *device;
	if (!(options & BALLOON_NO_TRACKS))
		make_tracks(m, &config);
	require(vmemdev_balloon_init(&b->balloon, sizeof(b->balloon), &config) == 0);
	b->waits = false;
	b->token = 0;
	m->ports[NUMBER_BALLOON].dev = vmemdev_balloon_device(&b->balloon);
}

/* What the host has set is not in a record: it sets it again. */
void balloon_moved(struct machine *m)
{
	for (uint32_t i = 0; i < m->balloon.inhibited; i++)
		require(vmemdev_balloon_inhibit(&m->balloon.balloon) == 0);
}

void balloon_complete(struct machine *m, int result)
{
	struct balloon_host *b = &m->balloon;

	if (b->waits) {
		check_kept(b);
		b->waits = false;
		require(vmemdev_balloon_complete(&b->balloon, b->token, result) == 0);
	}
	require(vmemdev_balloon_complete(&b->balloon, b->token, result) == VMEMDEV_E_STATE);
	require(vmemdev_balloon_complete(&b->balloon, b->token, 1) == VMEMDEV_E_INVAL);
}

static void hinting(struct vmemdev_balloon *b, uint64_t what)
{
	int err;

	if (what % 3 == 0) {
		err = vmemdev_balloon_hint_start(b);
		require(err == 0 || err == VMEMDEV_E_STATE || err == VMEMDEV_E_FEATURE);
	} else if (what % 3 == 1) {
		require(vmemdev_balloon_hint_stop(b) == 0);
		require(vmemdev_balloon_hint_round(b) != VMEMDEV_BALLOON_ROUND_OPEN);
	} else {
		require(vmemdev_balloon_hint_done(b) == 0);
		require(vmemdev_balloon_hint_round(b) == VMEMDEV_BALLOON_ROUND_NONE);
	}
}

static void inhibit(struct balloon_host *b, bool on)
{
	if (on && b->inhibited < 4) {
		b->inhibited++;
		require(vmemdev_balloon_inhibit(&b->balloon) == 0);
	} else if (!on && b->inhibited > 0) {
		b->inhibited--;
		require(vmemdev_balloon_uninhibit(&b->balloon) == 0);
	} else if (!on) {
		require(vmemdev_balloon_uninhibit(&b->balloon) == VMEMDEV_E_STATE);
	}
}

static void forget(struct balloon_host *b, uint64_t gpa, uint64_t len)
{
	const struct vmemdev_range range = { gpa, len };
	struct vmemdev_range run;

	require(vmemdev_balloon_forget(&b->balloon, &range) == (len > 0 ? 0 : VMEMDEV_E_INVAL));
	if (len > 0 && vmemdev_balloon_given(&b->balloon, gpa, &run))
		require(run.gpa >= gpa + len);
}

void balloon_step(struct machine *m, uint64_t step, struct input *in)
{
	struct vmemdev_balloon *b = &m->balloon.balloon;
	uint64_t operand;
	int err;

	switch (step) {
	case STEP_TARGET:
		operand = take(in, 2) * VMEMDEV_BALLOON_PAGE;
		require(vmemdev_balloon_set_target(b, operand) == 0);
		require(vmemdev_balloon_target(b) == operand && field(m, 0) == operand >> 12);
		break;
	case STEP_STATS:
		err = vmemdev_balloon_poll_stats(b);
		require(err == 0 || err == VMEMDEV_E_STATE || err == VMEMDEV_E_FEATURE);
		break;
	case STEP_HINT:
		hinting(b, take(in, 1));
		break;
	case STEP_INHIBIT:
		inhibit(&m->balloon, take(in, 1) & 1);
		break;
	case STEP_ALLOW:
		operand = take(in, 1);
		operand = operand == 255 ? UINT64_MAX : operand * 4096;
		require(vmemdev_balloon_allow_reports(b, operand) == 0);
		break;
	default:
		operand = take(in, 2) * 4096;
		forget(&m->balloon, operand, take(in, 1) * 4096);
		break;
	}
}

/* A balloon answers nothing but that it has read. */
void balloon_answered(struct machine *m, const struct guest_used *used)
{
	(void)m;
	require(used->len == 0);
}

/* What is remembered as given up lies in a track, in ascending runs; statistics are whole. */
void balloon_check(struct machine *m)
{
	struct balloon_host *b = &m->balloon;
	struct vmemdev_balloon_stats stats;
	struct vmemdev_range run;
	uint64_t at = 0;

	for (; vmemdev_balloon_given(&b->balloon, at, &run); at = run.gpa + run.len) {
		require(accepted(m, VMEMDEV_BALLOON_F_MUST_TELL_HOST) && b->tracks[0].len > 0);
		require(run.gpa >= at && run.len > 0 && (run.gpa | run.len) % 4096 == 0);
		require(run.gpa + run.len <= b->tracks[0].len ||
			(run.gpa >= BLOCKS_ADDR &&
			 run.gpa + run.len <= BLOCKS_ADDR + b->tracks[1].len));
	}
	vmemdev_balloon_get_stats(&b->balloon, &stats);
	require(stats.valid || stats.present == 0);
	for (uint32_t tag = 0; tag < 32; tag++) {
		if (tag >= VMEMDEV_BALLOON_STATS)
			require(!(stats.present >> tag & 1));
		else
			require((stats.present >> tag & 1) || stats.value[tag] == 0);
	}
	if (b->waits)
		check_kept(b);
}
