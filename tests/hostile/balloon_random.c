/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The whole balloon against a plain reference, some flags a page: what the guest has given up
 * and not asked back, what is in flight on which queue, what was discarded. Inflate, deflate,
 * reports and hints at once, host pages of 4 KiB to 4 MiB, discards forbidden and made up for,
 * rounds of hinting, poison, limits on reports, forgotten memory, a host that fails or puts work
 * off, queues that are reset, stopped and resumed, maps that change.
 *
 * At any time: the host is told of nothing that is not memory to be discarded, not named, not
 * whole host pages, or forbidden at the moment. When all is quiet: each host page that is wholly
 * given up was discarded, and vmemdev_balloon_given() says what the reference says.
 */
#include "../unit/device_rig.h"
#include "watch.h"

#ifdef FEWER_STEPS
#define STEPS 3000u
#define SEEDS 24u
#else
#define STEPS 4000u
#define SEEDS 60u
#endif

#define PAGES 4096u
#define FIRST ((uint32_t)(SPARE_GPA / PAGE))
#define REGIONS 15u
#define BUFFERS 300u
#define PARTS 64u
#define ENTRIES 64u
#define ROOM UINT64_C(256) /* of each buffer's numbers or command ID */

struct buffer {
	bool live;
	uint16_t queue;
	uint32_t parts, round;
	uint32_t page[PARTS], len[PARTS]; /* pages */
};

struct world {
	struct rig *rig;
	struct guest_random random;
	struct vmemdev_region table[REGIONS + 1];
	uint64_t words[PAGES / 64 + PAGES];
	struct vmemdev_balloon_track track;
	struct vmemdev_balloon_ops ops;
	bool can[PAGES], given[PAGES], discarded[PAGES];
	uint16_t in[REPORTQ + 1][PAGES];
	struct buffer buffers[BUFFERS];
	uint64_t room, mark;
	uint64_t report_min, token;
	uint32_t inhibited, poison, round;
	uint32_t frame;    /* pages of a host page */
	uint32_t inflates; /* of 15 buffers with page numbers; the others deflate */
	bool tracked, promised, waiting, late, failing, changing;
	bool doubtful; /* a queue was reset, or the host failed: what is known is a bound only */
	uint64_t handed, completed;
};

static struct world *w;

static uint32_t below(uint32_t limit)
{
	return guest_random_below(&w->random, limit);
}

/* The host. */

static int answer(uint64_t token)
{
	if (w->late && below(4) == 0) {
		w->waiting = true;
		w->token = token;
		return VMEMDEV_LATER;
	}
	if (w->failing && below(8) == 0) {
		w->doubtful = true;
		return VMEMDEV_E_HOST;
	}
	return 0;
}

/* The pages of a range, which must be whole host pages of memory that may be discarded. */
static uint32_t check_range(const struct vmemdev_range *range, bool whole)
{
	uint64_t mask = whole && w->tracked ? w->frame * PAGE - 1 : PAGE - 1;
	uint64_t first = range->gpa / PAGE - FIRST;

	if (range->len == 0 || ((range->gpa | range->len) & mask) != 0)
		watch_fail("a range of no whole host pages");
	if (first >= PAGES || range->len / PAGE > PAGES - first)
		watch_fail("a range that was not named");
	for (uint64_t i = 0; i < range->len / PAGE; i++) {
		if (!w->can[first + i])
			watch_fail("page %u is not to be discarded", (unsigned int)(first + i));
	}
	w->handed += range->len / PAGE;
	return (uint32_t)first;
}

static int on_inflate(void *ctx, const struct vmemdev_range *ranges, uint32_t count,
		      uint64_t token)
{
	(void)ctx;
	if (w->inhibited > 0)
		watch_fail("a discard while that is forbidden");
	for (uint32_t i = 0; i < count; i++) {
		uint32_t first = check_range(&ranges[i], true);

		for (uint32_t p = first; p < first + ranges[i].len / PAGE; p++) {
			if (w->in[INFLATEQ][p] == 0 && !(w->given[p] && w->promised))
				watch_fail("page %u was not given up", p);
			w->discarded[p] = true;
		}
	}
	return answer(token);
}

static int on_deflate(void *ctx, const struct vmemdev_range *ranges, uint32_t count,
		      uint64_t token)
{
	(void)ctx;
	for (uint32_t i = 0; i < count; i++)
		check_range(&ranges[i], false);
	return answer(token);
}

static int on_report(void *ctx, const struct vmemdev_range *ranges, uint32_t count, uint64_t token)
{
	(void)ctx;
	if (w->inhibited > 0 || w->poison != 0)
		watch_fail("a report while pages must be kept");
	for (uint32_t i = 0; i < count; i++) {
		uint32_t first = check_range(&ranges[i], true);

		if (ranges[i].len < w->report_min)
			watch_fail("a report that is too short");
		for (uint32_t p = first; p < first + ranges[i].len / PAGE; p++) {
			if (w->in[REPORTQ][p] == 0)
				watch_fail("page %u was not reported", p);
		}
	}
	return answer(token);
}

static bool hinted(uint32_t page, uint32_t round)
{
	for (uint32_t b = 0; b < BUFFERS; b++) {
		const struct buffer *buffer = &w->buffers[b];

		if (!buffer->live || buffer->queue != HINTQ || buffer->round != round)
			continue;
		for (uint32_t i = 0; i < buffer->parts; i++) {
			if (page - buffer->page[i] < buffer->len[i])
				return true;
		}
	}
	return false;
}

static void on_hint(void *ctx, const struct vmemdev_range *ranges, uint32_t count)
{
	uint32_t round = guest_driver_config32(&w->rig->driver, BAL_CMD_ID);

	(void)ctx;
	for (uint32_t i = 0; i < count; i++) {
		uint32_t first = check_range(&ranges[i], false);

		for (uint32_t p = first; p < first + ranges[i].len / PAGE; p++) {
			if (round < 2 || !hinted(p, round))
				watch_fail("a hint of page %u outside of its round", p);
		}
	}
}

static void on_cancel(void *ctx, uint64_t token)
{
	(void)ctx;
	if (!w->waiting || token != w->token)
		watch_fail("work is called off that was not there");
	w->waiting = false;
}

static void complete(int result)
{
	if (!w->waiting)
		return;
	w->waiting = false;
	w->doubtful |= result != 0;
	assert_int_equal(vmemdev_balloon_complete(&w->rig->balloon, w->token, result), 0);
}

/* The driver. */

static uint32_t some_pages(struct buffer *buffer, struct vmemdev_buf *bufs, uint32_t count,
			   uint16_t queue)
{
	for (uint32_t i = 0; i < count; i++) {
		uint32_t page = below(PAGES), len = 1 + below(below(2) ? 8 : 1024), odd;

		len = len < PAGES - page ? len : PAGES - page;
		odd = below(4) ? 0 : below((uint32_t)PAGE);
		buffer->page[buffer->parts] = page;
		buffer->len[buffer->parts++] = len;
		bufs[i] = (struct vmemdev_buf){SPARE_GPA + page * PAGE + odd,
					       len * (uint32_t)PAGE - odd, 1};
		for (uint32_t p = page; p < page + len; p++)
			w->in[queue][p]++;
	}
	return count;
}

/* Numbers, as honest drivers name them: nothing that is in flight the other way. */
static uint32_t some_numbers(struct buffer *buffer, struct vmemdev_buf *bufs, uint64_t at,
			     uint16_t queue)
{
	uint32_t base = below(PAGES), way = below(3), n = 1 + below(PARTS);

	for (uint32_t i = 0; i < n; i++) {
		uint32_t page = way == 0 ? base + i : way == 1 ? base - i : below(PAGES);

		if (page >= PAGES || w->in[queue == INFLATEQ ? DEFLATEQ : INFLATEQ][page] > 0)
			continue;
		guest_store32(&w->rig->memory, at + 4 * (uint64_t)buffer->parts, FIRST + page);
		buffer->page[buffer->parts] = page;
		buffer->len[buffer->parts++] = 1;
		w->in[queue][page]++;
	}
	bufs[0] = (struct vmemdev_buf){at, 4 * buffer->parts + (below(9) ? 0 : below(4)), 0};
	return 1;
}

/* A command ID as Linux sends it, a wrong one, or less than one; then perhaps pages. */
static uint32_t some_hints(struct buffer *buffer, struct vmemdev_buf *bufs, uint64_t at)
{
	uint32_t count = 0;

	if (below(2)) {
		uint32_t id = below(4) ? guest_driver_config32(&w->rig->driver, BAL_CMD_ID)
				       : below(5);
		uint32_t len = below(8) ? 4 : 1 + below(7);

		guest_store32(&w->rig->memory, at, id);
		guest_store32(&w->rig->memory, at + 4, 0);
		bufs[count++] = (struct vmemdev_buf){at, len, 0};
		w->round = len >= 4 ? id : 0;
	}
	count += some_pages(buffer, bufs + count, 1 + below(3), HINTQ);
	buffer->round = w->round;
	return count;
}

static void end_buffer(struct buffer *buffer, bool used)
{
	for (uint32_t i = 0; i < buffer->parts; i++) {
		for (uint32_t p = buffer->page[i]; p < buffer->page[i] + buffer->len[i]; p++) {
			uint32_t frame = w->tracked ? p - p % w->frame : p;

			w->in[buffer->queue][p]--;
			if (used && buffer->queue == INFLATEQ)
				w->given[p] = true;
			if (used && buffer->queue == DEFLATEQ) {
				w->given[p] = false;
				memset(w->discarded + frame, 0, w->tracked ? w->frame : 1);
			}
		}
	}
	buffer->live = false;
}

static void post(uint16_t queue)
{
	struct guest_queue *q = &w->rig->driver.queues[queue];
	struct guest_add how = {.indirect = below(3) == 0};
	struct vmemdev_buf bufs[8];
	struct buffer *buffer;
	uint32_t b = 0, count;
	uint64_t at;

	while (b < BUFFERS && w->buffers[b].live)
		b++;
	if (b == BUFFERS)
		return;
	buffer = &w->buffers[b];
	memset(buffer, 0, sizeof(*buffer));
	buffer->queue = queue;
	at = w->room + b * ROOM;
	if (queue == HINTQ)
		count = some_hints(buffer, bufs, at);
	else if (queue == REPORTQ)
		count = some_pages(buffer, bufs, 1 + below(4), queue);
	else
		count = some_numbers(buffer, bufs, at, queue);
	how.tag = b;
	how.indirect &= (w->rig->driver.features & VMEMDEV_F_INDIRECT_DESC) != 0;
	if (guest_queue_add(q, bufs, count, &how) < 0) {
		end_buffer(buffer, false);
		w->round = queue == HINTQ ? 0 : w->round;
		return;
	}
	buffer->live = true;
	guest_queue_publish(q);
	drv_kick(w->rig, queue);
}

static void collect(void)
{
	static const uint16_t queues[] = {INFLATEQ, DEFLATEQ, HINTQ, REPORTQ};

	for (uint32_t i = 0; i < ARRAY_LEN(queues); i++) {
		struct guest_used used;

		while (drv_used(w->rig, queues[i], &used)) {
			if (used.len != 0 || !w->buffers[used.tag].live ||
			    w->buffers[used.tag].queue != queues[i])
				watch_fail("a buffer is used wrongly, or twice");
			end_buffer(&w->buffers[used.tag], true);
			w->completed++;
		}
	}
}

static void drop(uint16_t queue)
{
	for (uint32_t b = 0; b < BUFFERS; b++) {
		if (w->buffers[b].live && w->buffers[b].queue == queue)
			end_buffer(&w->buffers[b], false);
	}
}

static void start(void)
{
	static const uint64_t options[] = {VMEMDEV_F_EVENT_IDX, VMEMDEV_F_IN_ORDER,
					   VMEMDEV_F_INDIRECT_DESC};
	uint64_t features = BALLOON_FULL | VMEMDEV_F_RING_RESET;
	bool poison = below(3) == 0;

	guest_place_release(&w->rig->memory, w->mark);
	for (uint32_t i = 0; i < ARRAY_LEN(options); i++)
		features |= below(2) ? options[i] : 0;
	w->promised = below(4) != 0;
	features |= w->promised ? VMEMDEV_BALLOON_F_MUST_TELL_HOST : 0;
	features |= poison ? VMEMDEV_BALLOON_F_PAGE_POISON : 0;
	drv_negotiate(w->rig, features);
	w->poison = poison && below(2) ? 0xaaaaaaaa : 0;
	if (poison) {
		uint8_t bytes[4];

		put32(bytes, w->poison);
		guest_driver_config_write(&w->rig->driver, BAL_POISON, bytes, 4);
	}
	for (uint16_t q = INFLATEQ; q <= REPORTQ; q++)
		drv_open(w->rig, q);
	drv_set_status(w->rig, DRV_LIVE);
	w->round = 0;
	w->doubtful = false;
}

static void reset(void)
{
	drv_reset(w->rig);
	if (w->waiting || watch_out() > 0)
		watch_fail("something of before is left after a reset");
	for (uint16_t q = INFLATEQ; q <= REPORTQ; q++)
		drop(q);
	memset(w->given, 0, sizeof(w->given));
	memset(w->discarded, 0, sizeof(w->discarded));
	start();
}

/* When all is quiet. */

static void check_given(void)
{
	static bool said[PAGES];
	struct vmemdev_range range = {0, 0};

	memset(said, 0, sizeof(said));
	while (vmemdev_balloon_given(&w->rig->balloon, range.gpa + range.len, &range)) {
		for (uint64_t at = 0; at < range.len; at += PAGE) {
			uint64_t page = (range.gpa + at) / PAGE - FIRST;

			if (page >= PAGES || !w->given[page])
				watch_fail("page %u was not given up", (unsigned int)page);
			said[page] = true;
		}
	}
	if (w->doubtful || w->changing || !w->promised || !w->tracked)
		return;
	for (uint32_t p = 0; p < PAGES; p++) {
		if (w->given[p] && w->can[p] && !said[p])
			watch_fail("page %u was given up, and forgotten", p);
	}
}

static void check_discarded(void)
{
	if (w->inhibited > 0 || w->doubtful || w->changing || !w->promised || !w->tracked)
		return;
	for (uint32_t f = 0; f < PAGES; f += w->frame) {
		bool all = true, done = true;

		for (uint32_t p = f; p < f + w->frame; p++) {
			all &= w->given[p] && w->can[p];
			done &= w->discarded[p];
		}
		if (all && !done)
			watch_fail("the host page at page %u was given up and not discarded", f);
	}
}

static void settle(void)
{
	int left = 1;

	assert_int_equal(vmemdev_balloon_allow_reports(&w->rig->balloon, UINT64_MAX), 0);
	for (uint32_t turns = 0; left > 0 || w->waiting; turns++) {
		complete(0);
		left = rig_step(w->rig, 1 + below(4));
		collect();
		if (left < 0 || turns > 200000)
			watch_fail("the device does not come to an end (%d)", left);
	}
	if (watch_out() > 0)
		watch_fail("a buffer was not given back");
	check_given();
	check_discarded();
}

/* Steps. */

static void change_table(void)
{
	uint32_t at = 0, count = 1;

	memset(w->can, 0, sizeof(w->can));
	w->table[0] = w->rig->memory.regions[0];
	while (at < PAGES && count <= REGIONS) {
		uint32_t pages = below(3) ? (1 + below(8)) * 128 : 1 + below(64), kind = below(8);

		pages = count == REGIONS || pages > PAGES - at ? PAGES - at : pages;
		if (kind > 0) {
			w->table[count++] = (struct vmemdev_region){
				.gpa = SPARE_GPA + at * PAGE, .len = pages * PAGE,
				.host = (void *)(uintptr_t)PAGE,
				.flags = kind == 1 ? VMEMDEV_REGION_KEEP
						   : kind == 2 ? VMEMDEV_REGION_READONLY : 0};
			memset(w->can + at, kind > 2, pages);
		}
		at += pages;
	}
	assert_int_equal(vmemdev_guest_set_regions(&w->rig->memory.guest, w->table, count), 0);
}

static void forget(void)
{
	uint32_t page = below(PAGES), len = 1 + below(PAGES / 4);
	struct vmemdev_range range;

	settle();
	len = len < PAGES - page ? len : PAGES - page;
	range = (struct vmemdev_range){SPARE_GPA + page * PAGE, len * PAGE};
	assert_int_equal(vmemdev_balloon_forget(&w->rig->balloon, &range), 0);
	memset(w->given + page, 0, len);
	for (uint32_t p = page; p < page + len; p++)
		memset(w->discarded + p - p % w->frame, 0, w->frame);
	check_given();
}

static void reset_queue(uint16_t queue)
{
	guest_driver_queue_reset(&w->rig->driver, queue);
	drop(queue);
	w->doubtful |= queue <= DEFLATEQ;
	w->round = queue == HINTQ ? 0 : w->round;
	drv_open(w->rig, queue);
}

static void stop_queue(uint16_t queue)
{
	struct rig *rig = w->rig;
	struct vmemdev_vq_state state;
	int err;

	rig->window = true;
	err = vmemdev_device_queue_stop(rig->dev, queue, &state);
	rig->window = false;
	if (err == VMEMDEV_E_STATE)
		return;
	assert_int_equal(err, 0);
	*vmemdev_device_queue_layout(rig->dev, queue) = rig->driver.queues[queue].layout;
	if (below(2))
		assert_true(rig_step(rig, 2) >= 0);
	assert_int_equal(vmemdev_device_queue_resume(rig->dev, queue, &state), 0);
	drv_kick(rig, queue);
}

static void host_step(uint32_t what)
{
	struct vmemdev_balloon *balloon = &w->rig->balloon;

	if (what < 2) {
		assert_int_equal(vmemdev_balloon_inhibit(balloon), 0);
		w->inhibited++;
	} else if (what < 5 && w->inhibited > 0) {
		assert_int_equal(vmemdev_balloon_uninhibit(balloon), 0);
		w->inhibited--;
	} else if (what == 5) {
		assert_int_equal(vmemdev_balloon_hint_start(balloon), 0);
	} else if (what == 6) {
		assert_int_equal(below(2) ? vmemdev_balloon_hint_stop(balloon)
					  : vmemdev_balloon_hint_done(balloon), 0);
	} else if (what == 7) {
		assert_int_equal(vmemdev_balloon_allow_reports(
			balloon, below(3) ? UINT64_MAX : below(1 << 24)), 0);
	}
}

static void rare_step(void)
{
	uint16_t queue = (uint16_t)below(REPORTQ + 1);

	switch (below(24)) {
	case 0:
		reset();
		break;
	case 1:
	case 2:
		reset_queue(queue == STATSQ ? INFLATEQ : queue);
		break;
	case 3:
	case 4:
	case 5:
		stop_queue(queue);
		break;
	case 6:
		forget();
		break;
	case 7:
	case 8:
		settle();
		break;
	case 9:
		if (w->changing && !w->waiting)
			change_table();
		break;
	default:
		break;
	}
}

static void step(void)
{
	uint32_t what = below(40);

	if (what < 15)
		post(what < w->inflates ? INFLATEQ : DEFLATEQ);
	else if (what < 20)
		post(what < 17 ? REPORTQ : HINTQ);
	else if (what < 28 && rig_step(w->rig, 1 + below(5)) < 0)
		watch_fail("the device stops");
	else if (what == 28 || what == 29)
		complete(below(9) ? 0 : VMEMDEV_E_HOST);
	else if (what >= 30 && what < 33)
		host_step(below(8));
	else if (what >= 38)
		rare_step();
	collect();
	watch_settled();
}

static void make_world(const struct way *way, uint64_t seed, uint32_t shift)
{
	struct vmemdev_balloon_config config;

	guest_random_seed(&w->random, seed);
	w->rig = rig_bare(way);
	w->tracked = below(6) != 0;
	w->frame = w->tracked ? UINT32_C(1) << (shift - 12) : 1;
	w->inflates = below(2) ? 10 : 14;
	w->late = below(2);
	w->failing = below(4) == 0;
	w->changing = below(3) == 0;
	w->report_min = below(2) ? 0 : below(512) * PAGE;
	w->track = (struct vmemdev_balloon_track){
		.gpa = SPARE_GPA, .len = PAGES * PAGE, .words = w->words, .frame_shift = shift};
	w->ops = (struct vmemdev_balloon_ops){
		.inflate = on_inflate, .deflate = below(2) ? on_deflate : NULL,
		.report = on_report, .hint = on_hint, .cancel = on_cancel};
	rig_balloon_full_config(w->rig, &config);
	config.ops = &w->ops;
	config.must_tell_host = true;
	config.range_count = 1 + below(below(2) ? 2 : 64);
	config.report_min = w->report_min;
	config.tracks = &w->track;
	config.track_count = w->tracked;
	config.device.queue_size = ENTRIES;
	config.device.features_on |= VMEMDEV_F_IN_ORDER;
	assert_true(vmemdev_balloon_track_words(w->track.len, shift) <= ARRAY_LEN(w->words));
	rig_make_balloon(w->rig, &config);
	watch_start(&w->rig->memory);
	watch.what = way->packed ? "packed" : "split";
	watch.seed = seed;
	change_table();
	w->room = guest_place(&w->rig->memory, BUFFERS * ROOM, PAGE);
	w->mark = guest_place_mark(&w->rig->memory);
	start();
}

static void play(const struct way *way, uint64_t seed, uint32_t shift)
{
	w = calloc(1, sizeof(*w));
	assert_non_null(w);
	make_world(way, seed, shift);
	for (watch.step = 0; watch.step < STEPS; watch.step++)
		step();
	settle();
	while (w->inhibited > 0)
		host_step(2);
	settle();
	print_message("seed %u: host pages of %u pages, %u buffers, %u pages handed over%s%s\n",
		      (unsigned int)seed, w->frame, (unsigned int)w->completed,
		      (unsigned int)w->handed, w->doubtful ? ", doubtful" : "",
		      w->changing ? ", changing" : "");
	assert_true(w->completed > 100 && w->handed > 10);
	assert_int_equal(w->rig->errors, 0);
	watch.region_count = 0;
	rig_free(w->rig);
	free(w);
}

/* shows: BAL-INF-03 BAL-INF-06 BAL-DEF-02 BAL-REP-05 HOST-BAL-04 HOST-BAL-11 HOST-BAL-13 */
static void BAL_INF_06_the_whole_balloon_against_its_reference(void **state)
{
	static const uint32_t shifts[] = {12, 13, 15, 16, 18, 19, 20, 21, 22};

	for (uint64_t seed = 1; seed <= SEEDS; seed++)
		play(*state, seed, shifts[seed % ARRAY_LEN(shifts)]);
}

static int keep_state(void **state)
{
	(void)state;
	return 0;
}

#define TEST_PLAY(f, text, n) {#f " (" text ")", f, keep_state, NULL, (void *)&ways[n]}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_PLAY(BAL_INF_06_the_whole_balloon_against_its_reference, "split", 0),
		TEST_PLAY(BAL_INF_06_the_whole_balloon_against_its_reference, "packed", 1),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
