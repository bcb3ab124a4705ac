/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tracks: host pages of any size are discarded when, and only when, all of their 4 KiB pages
 * have been given up; what the balloon remembers is what the guest has promised.
 */
#include "device_rig.h"

#define TELL VMEMDEV_BALLOON_F_MUST_TELL_HOST
#define MIB UINT64_C(0x100000)
#define GIB (1024 * MIB)
#define SPARE_PFN ((uint32_t)(SPARE_GPA / PAGE))
#define CANARY UINT64_C(0xc0ffee00c0ffee00)

static const struct guest_region spare = {.gpa = SPARE_GPA, .len = 2 * GIB};

/* A balloon with one track; @words of it end where a canary sits. */
struct tracked {
	struct rig *rig;
	struct vmemdev_balloon_track track;
	uint64_t count;
	uint64_t *words;
};

static void track_make(struct tracked *t, uint64_t gpa, uint64_t len, uint32_t shift)
{
	t->count = vmemdev_balloon_track_words(len, shift);
	t->words = malloc((size_t)(t->count + 1) * sizeof(uint64_t));
	assert_non_null(t->words);
	memset(t->words, 0xff, (size_t)t->count * sizeof(uint64_t));
	t->words[t->count] = CANARY;
	t->track = (struct vmemdev_balloon_track){
		.gpa = gpa, .len = len, .words = t->words, .frame_shift = shift};
}

static void track_free(struct tracked *t)
{
	assert_true(t->words[t->count] == CANARY);
	free(t->words);
}

static void track_config(struct tracked *t, struct vmemdev_balloon_config *config)
{
	rig_balloon_config(t->rig, config);
	config->must_tell_host = true;
	config->tracks = &t->track;
	config->track_count = 1;
}

static void track_start(struct tracked *t, struct rig *rig, uint64_t gpa, uint64_t len,
			uint32_t shift)
{
	struct vmemdev_balloon_config config;

	t->rig = rig;
	rig_show_spare(rig, &spare, 1);
	track_make(t, gpa, len, shift);
	track_config(t, &config);
	rig_make_balloon(rig, &config);
	drv_start(rig, TELL);
}

static struct vmemdev_balloon_counts counts_of(struct rig *rig)
{
	struct vmemdev_balloon_counts counts;

	vmemdev_balloon_get_counts(&rig->balloon, &counts);
	return counts;
}

/* Page numbers from @pfn on, upwards, in requests of 256. */
static void send_run(struct rig *rig, uint16_t queue, uint32_t pfn, uint32_t count)
{
	while (count > 0) {
		uint32_t pfns[256], now = count < 256 ? count : 256;

		for (uint32_t i = 0; i < now; i++)
			pfns[i] = pfn + i;
		pages_send(rig, queue, pfns, now);
		pfn += now;
		count -= now;
	}
}

static void expect_one(struct rig *rig, enum host_op op, uint64_t gpa, uint64_t len)
{
	assert_int_equal(rig->host.count, 1);
	assert_int_equal(host_last(rig)->op, op);
	assert_int_equal(host_last(rig)->count, 1);
	assert_true(host_last(rig)->ranges[0].gpa == gpa);
	assert_true(host_last(rig)->ranges[0].len == len);
	host_forget(rig);
}

static void expect_given(struct rig *rig, uint64_t from, uint64_t gpa, uint64_t len)
{
	struct vmemdev_range range;

	assert_true(vmemdev_balloon_given(&rig->balloon, from, &range));
	assert_true(range.gpa == gpa);
	assert_true(range.len == len);
}

static void expect_none_given(struct rig *rig, uint64_t from)
{
	struct vmemdev_range range;

	assert_false(vmemdev_balloon_given(&rig->balloon, from, &range));
}

/* The numbers on the wire stay pages of 4 KiB. */
/* shows: BAL-GEN-06 BAL-INF-06 */
static void BAL_GEN_06_a_host_page_of_64_KiB(void **state)
{
	struct tracked t;
	struct rig *rig = *state;
	uint8_t actual[4];

	track_start(&t, rig, SPARE_GPA, 16 * MIB, 16);
	assert_int_equal(vmemdev_balloon_set_target(&rig->balloon, 0x10000), 0);
	assert_int_equal(guest_driver_config32(&rig->driver, BAL_NUM_PAGES), 16);
	assert_int_equal(vmemdev_balloon_set_target(&rig->balloon, 3 * PAGE), 0);
	assert_int_equal(guest_driver_config32(&rig->driver, BAL_NUM_PAGES), 3);
	send_run(rig, INFLATEQ, SPARE_PFN + 16, 15);
	assert_int_equal(rig->host.count, 0);
	expect_given(rig, 0, SPARE_GPA + 0x10000, 15 * PAGE);
	send_run(rig, INFLATEQ, SPARE_PFN + 31, 1);
	expect_one(rig, HOST_INFLATE, SPARE_GPA + 0x10000, 0x10000);
	put32(actual, 16);
	guest_driver_config_write(&rig->driver, BAL_ACTUAL, actual, 4);
	assert_true(vmemdev_balloon_actual(&rig->balloon) == 0x10000);
	assert_int_equal(counts_of(rig).pages_inflated, 16);
	track_free(&t);
}

static void shuffle(struct guest_random *random, uint32_t *list, uint32_t count)
{
	for (uint32_t i = count; i > 1; i--) {
		uint32_t k = guest_random_below(random, i), kept = list[i - 1];

		list[i - 1] = list[k];
		list[k] = kept;
	}
}

/* Give up frame @frame in this order; nothing must be discarded before the last page. */
static void give_frame(struct rig *rig, uint32_t shift, uint32_t frame, const uint32_t *order)
{
	uint32_t pages = UINT32_C(1) << (shift - 12), at = 0, pfns[256];
	uint32_t first = SPARE_PFN + frame * pages;

	while (at < pages - 1) {
		uint32_t now = 0;

		while (now < 256 && at < pages - 1)
			pfns[now++] = first + order[at++];
		pages_send(rig, INFLATEQ, pfns, now);
	}
	assert_int_equal(rig->host.count, 0);
	pfns[0] = first + order[at];
	pages_send(rig, INFLATEQ, pfns, 1);
	expect_one(rig, HOST_INFLATE, (uint64_t)first * PAGE, UINT64_C(1) << shift);
}

/* shows: BAL-INF-06 BAL-INF-04 */
static void BAL_INF_06_the_last_page_in_any_order_completes_a_host_page(void **state)
{
	static const uint32_t shifts[] = {12, 14, 16, 18, 20, 21};
	struct rig *rig = *state;
	struct guest_random random;
	uint32_t order[512];

	guest_random_seed(&random, 31);
	for (size_t s = 0; s < ARRAY_LEN(shifts); s++) {
		uint32_t pages = UINT32_C(1) << (shifts[s] - 12);
		struct tracked t;

		track_start(&t, rig, SPARE_GPA, 8 * pages * PAGE, shifts[s]);
		for (uint32_t frame = 0; frame < 6; frame++) {
			for (uint32_t i = 0; i < pages; i++)
				order[i] = frame == 0 ? i : pages - 1 - i;
			if (frame > 1)
				shuffle(&random, order, pages);
			give_frame(rig, shifts[s], frame, order);
			expect_given(rig, 0, SPARE_GPA, (frame + 1) * pages * PAGE);
		}
		assert_true(counts_of(rig).pages_inflated == 6 * pages);
		assert_int_equal(counts_of(rig).pages_ignored, 0);
		guest_driver_close(&rig->driver);
		guest_place_release(&rig->memory, 0);
		rig->connected = false;
		track_free(&t);
	}
}

/* Linux names 1 MiB at a time: 1024 requests for this page, here in no order. */
/* shows: BAL-INF-06 */
static void BAL_INF_06_a_host_page_of_1_GiB(void **state)
{
	struct rig *rig = *state;
	struct guest_random random;
	struct tracked t;
	uint32_t blocks[1024];

	guest_random_seed(&random, 32);
	track_start(&t, rig, SPARE_GPA, 2 * GIB, 30);
	for (uint32_t i = 0; i < ARRAY_LEN(blocks); i++)
		blocks[i] = i;
	shuffle(&random, blocks, ARRAY_LEN(blocks));
	send_run(rig, INFLATEQ, SPARE_PFN + 0x40000, 300);
	for (uint32_t i = 0; i < ARRAY_LEN(blocks); i++) {
		/* one page is kept back until all others are given */
		uint32_t count = blocks[i] == 777 ? 255 : 256;

		send_run(rig, INFLATEQ, SPARE_PFN + blocks[i] * 256, count);
	}
	assert_int_equal(rig->host.count, 0);
	send_run(rig, INFLATEQ, SPARE_PFN + 777 * 256 + 255, 1);
	expect_one(rig, HOST_INFLATE, SPARE_GPA, GIB);
	expect_given(rig, 0, SPARE_GPA, GIB + 300 * PAGE);
	send_run(rig, DEFLATEQ, SPARE_PFN + 5, 1);
	host_forget(rig);
	expect_given(rig, 0, SPARE_GPA, 5 * PAGE);
	send_run(rig, INFLATEQ, SPARE_PFN + 5, 1);
	expect_one(rig, HOST_INFLATE, SPARE_GPA, GIB);
	track_free(&t);
}

/* shows: BAL-DEF-02 BAL-INF-06 BAL-INF-04 */
static void BAL_DEF_02_a_part_that_is_taken_back_keeps_its_host_page(void **state)
{
	struct rig *rig = *state;
	struct tracked t;

	track_start(&t, rig, SPARE_GPA, 8 * MIB, 21);
	send_run(rig, INFLATEQ, SPARE_PFN, 511);
	send_run(rig, DEFLATEQ, SPARE_PFN + 100, 1);
	host_forget(rig);
	send_run(rig, INFLATEQ, SPARE_PFN + 511, 1);
	assert_int_equal(rig->host.count, 0);
	expect_given(rig, 0, SPARE_GPA, 100 * PAGE);
	expect_given(rig, SPARE_GPA + 100 * PAGE, SPARE_GPA + 101 * PAGE, 411 * PAGE);
	send_run(rig, INFLATEQ, SPARE_PFN + 100, 1);
	expect_one(rig, HOST_INFLATE, SPARE_GPA, 2 * MIB);
	/* taken back from a complete one, and given again */
	for (uint32_t i = 0; i < 3; i++) {
		send_run(rig, DEFLATEQ, SPARE_PFN + 7 * i, 1);
		assert_int_equal(host_last(rig)->op, HOST_DEFLATE);
		host_forget(rig);
		send_run(rig, INFLATEQ, SPARE_PFN + 7 * i + 1, 1);
		assert_int_equal(rig->host.count, 0);
		send_run(rig, INFLATEQ, SPARE_PFN + 7 * i, 1);
		expect_one(rig, HOST_INFLATE, SPARE_GPA, 2 * MIB);
	}
	track_free(&t);
}

/* shows: HOST-BAL-04 BAL-INF-06 */
static void HOST_BAL_04_pages_named_twice_or_never_given(void **state)
{
	struct rig *rig = *state;
	struct tracked t;

	track_start(&t, rig, SPARE_GPA, MIB, 14);
	for (uint32_t i = 0; i < 5; i++)
		send_run(rig, INFLATEQ, SPARE_PFN, 3);
	assert_int_equal(rig->host.count, 0);
	send_run(rig, DEFLATEQ, SPARE_PFN + 3, 1);
	send_run(rig, DEFLATEQ, SPARE_PFN + 8, 4);
	host_forget(rig);
	expect_given(rig, 0, SPARE_GPA, 3 * PAGE);
	send_run(rig, INFLATEQ, SPARE_PFN + 3, 1);
	expect_one(rig, HOST_INFLATE, SPARE_GPA, 4 * PAGE);
	send_run(rig, DEFLATEQ, SPARE_PFN, 4);
	send_run(rig, DEFLATEQ, SPARE_PFN, 4);
	host_forget(rig);
	expect_none_given(rig, 0);
	send_run(rig, INFLATEQ, SPARE_PFN + 3, 1);
	assert_int_equal(rig->host.count, 0);
	expect_given(rig, 0, SPARE_GPA + 3 * PAGE, PAGE);
	track_free(&t);
}

/* Nothing is remembered without the promise: each request stands for itself. */
/* shows: BAL-INF-06 BAL-INF-03 BAL-INF-05 */
static void BAL_INF_03_without_the_promise_ranges_are_cut_inwards(void **state)
{
	struct rig *rig = *state;
	struct tracked t;

	track_start(&t, rig, SPARE_GPA, 8 * MIB, 16);
	drv_reset(rig);
	drv_start(rig, 0);
	send_run(rig, INFLATEQ, SPARE_PFN, 15);
	send_run(rig, INFLATEQ, SPARE_PFN + 15, 1);
	assert_int_equal(rig->host.count, 0);
	assert_int_equal(counts_of(rig).pages_ignored, 16);
	send_run(rig, INFLATEQ, SPARE_PFN + 10, 40);
	expect_one(rig, HOST_INFLATE, SPARE_GPA + 0x10000, 0x20000);
	assert_int_equal(counts_of(rig).pages_ignored, 24);
	assert_int_equal(counts_of(rig).pages_inflated, 32);
	expect_none_given(rig, 0);
	/* beyond the track it is 4 KiB pages */
	send_run(rig, INFLATEQ, SPARE_PFN + 8 * 256 + 3, 2);
	expect_one(rig, HOST_INFLATE, SPARE_GPA + 8 * MIB + 3 * PAGE, 2 * PAGE);
	track_free(&t);
}

/* shows: BAL-GEN-09 BAL-DEF-02 */
static void BAL_GEN_09_a_reset_forgets_what_was_given(void **state)
{
	struct rig *rig = *state;
	struct tracked t;

	track_start(&t, rig, SPARE_GPA, 8 * MIB, 16);
	send_run(rig, INFLATEQ, SPARE_PFN, 40);
	host_forget(rig);
	expect_given(rig, 0, SPARE_GPA, 40 * PAGE);
	drv_reset(rig);
	expect_none_given(rig, 0);
	drv_start(rig, TELL);
	expect_none_given(rig, 0);
	send_run(rig, INFLATEQ, SPARE_PFN + 40, 8);
	assert_int_equal(rig->host.count, 0);
	rig->window = true;
	assert_int_equal(vmemdev_device_system_reset(rig->dev), 0);
	rig->window = false;
	expect_none_given(rig, 0);
	track_free(&t);
}

/* shows: BAL-DEF-01 BAL-DEF-02 */
static void BAL_DEF_02_deflates_count_without_a_deflate_callback(void **state)
{
	struct rig *rig = *state;
	struct vmemdev_balloon_ops ops = rig_balloon_ops;
	struct vmemdev_balloon_config config;
	struct tracked t = {.rig = rig};

	ops.deflate = NULL;
	rig_show_spare(rig, &spare, 1);
	track_make(&t, SPARE_GPA, MIB, 14);
	track_config(&t, &config);
	config.ops = &ops;
	rig_make_balloon(rig, &config);
	drv_start(rig, TELL);
	send_run(rig, INFLATEQ, SPARE_PFN, 3);
	send_run(rig, DEFLATEQ, SPARE_PFN + 1, 1);
	send_run(rig, INFLATEQ, SPARE_PFN + 3, 1);
	assert_int_equal(rig->host.count, 0);
	expect_given(rig, SPARE_GPA + PAGE, SPARE_GPA + 2 * PAGE, 2 * PAGE);
	assert_int_equal(counts_of(rig).pages_deflated, 0);
	track_free(&t);
}

/* A host page that is in part no memory, or not to be discarded, is never discarded. */
/* shows: BAL-INF-06 HOST-BAL-01 HOST-BAL-02 */
static void BAL_INF_06_a_host_page_that_is_not_all_memory(void **state)
{
	static const struct guest_region regions[] = {
		{.gpa = SPARE_GPA, .len = 30 * PAGE},
		{.gpa = SPARE_GPA + 30 * PAGE, .len = 4 * PAGE, .flags = VMEMDEV_REGION_KEEP},
		{.gpa = SPARE_GPA + 34 * PAGE, .len = 40 * PAGE}};
	struct rig *rig = *state;
	struct tracked t;

	track_start(&t, rig, SPARE_GPA, MIB, 16);
	rig_show_spare(rig, regions, ARRAY_LEN(regions));
	send_run(rig, INFLATEQ, SPARE_PFN, 128);
	assert_int_equal(rig->host.count, 1);
	assert_int_equal(counts_of(rig).pages_inflated, 32);
	expect_given(rig, 0, SPARE_GPA, 30 * PAGE);
	expect_given(rig, SPARE_GPA + 30 * PAGE, SPARE_GPA + 34 * PAGE, 40 * PAGE);
	expect_none_given(rig, SPARE_GPA + 74 * PAGE);
	/* asked back while it is no memory */
	rig_show_spare(rig, regions, 1);
	send_run(rig, DEFLATEQ, SPARE_PFN + 40, 30);
	rig_show_spare(rig, regions, 3);
	expect_given(rig, SPARE_GPA + 30 * PAGE, SPARE_GPA + 34 * PAGE, 6 * PAGE);
	expect_given(rig, SPARE_GPA + 40 * PAGE, SPARE_GPA + 70 * PAGE, 4 * PAGE);
	track_free(&t);
}

static void given_starts_and_ends_where_it_should(void **state)
{
	struct rig *rig = *state;
	struct vmemdev_balloon_config config;
	struct tracked a = {.rig = rig}, b = {.rig = rig};
	struct vmemdev_balloon_track tracks[2];

	rig_show_spare(rig, &spare, 1);
	track_make(&a, SPARE_GPA, 65 * PAGE, 12);
	track_make(&b, SPARE_GPA + 65 * PAGE, 7 * PAGE, 12);
	tracks[0] = a.track;
	tracks[1] = b.track;
	rig_balloon_config(rig, &config);
	config.must_tell_host = true;
	config.tracks = tracks;
	config.track_count = 2;
	rig_make_balloon(rig, &config);
	drv_start(rig, TELL);
	send_run(rig, INFLATEQ, SPARE_PFN + 60, 20);
	expect_given(rig, 0, SPARE_GPA + 60 * PAGE, 5 * PAGE);
	expect_given(rig, SPARE_GPA + 62 * PAGE, SPARE_GPA + 62 * PAGE, 3 * PAGE);
	expect_given(rig, SPARE_GPA + 65 * PAGE, SPARE_GPA + 65 * PAGE, 7 * PAGE);
	expect_none_given(rig, SPARE_GPA + 72 * PAGE);
	expect_none_given(rig, UINT64_MAX - PAGE + 1);
	send_run(rig, INFLATEQ, SPARE_PFN, 60);
	expect_given(rig, 0, SPARE_GPA, 65 * PAGE);
	track_free(&a);
	track_free(&b);
}

static void words_that_a_track_needs(void **state)
{
	(void)state;
	assert_true(vmemdev_balloon_track_words(PAGE, 12) == 1);
	assert_true(vmemdev_balloon_track_words(64 * PAGE, 12) == 1);
	assert_true(vmemdev_balloon_track_words(65 * PAGE, 12) == 2);
	assert_true(vmemdev_balloon_track_words(MIB, 16) == 4);
	assert_true(vmemdev_balloon_track_words(MIB, 18) == 4);
	assert_true(vmemdev_balloon_track_words(MIB, 19) == 4 + 2);
	assert_true(vmemdev_balloon_track_words(8 * MIB, 21) == 32 + 4);
	assert_true(vmemdev_balloon_track_words(1024 * GIB, 30) == UINT64_C(0x400000) + 1024);
}

/*
 * Everything at random against an array of flags a page: requests on both queues, hosts that
 * put off and fail, resets, promises made or not, inhibition, tables that change.
 */

#define MAP_PAGES 2048u
#define CHAINS 6u
#define NUMBERS 300u

struct chain {
	int id; /* below 0: not in use */
	uint16_t queue;
	uint32_t count, pages[NUMBERS];
};

struct model {
	struct tracked big, small;
	struct vmemdev_balloon_track tracks[2];
	struct rig *rig;
	struct guest_random random;
	uint64_t room, floor;   /* where the driver places all things, and requests, from */
	uint32_t frame, frames; /* pages of a host page of the first track; and how many */
	uint32_t pages, tail;   /* of the map; first page of the second track, of 4 KiB each */
	struct chain chains[CHAINS];
	bool memory[MAP_PAGES]; /* discardable */
	bool given[MAP_PAGES];
	uint8_t in[2][MAP_PAGES]; /* in chains of this queue that are out */
	bool owed[MAP_PAGES];   /* by first page: the host page must yet come when complete */
	bool told[MAP_PAGES];   /* the host was, since the page was named */
	bool promised;
	bool waiting;
	uint32_t inhibited;
	bool was_inhibited;     /* at some time since the chains were posted */
	uint64_t handed, resets, waits;
};

static uint32_t below(struct model *m, uint32_t limit)
{
	return guest_random_below(&m->random, limit);
}

static bool tracked_page(const struct model *m, uint32_t page)
{
	return page >= m->frame; /* the first host page of the map has no track */
}

/* First page of the host page, as the balloon is to see it. */
static uint32_t frame_of(const struct model *m, uint32_t page)
{
	return page < m->frame || page >= m->tail ? page : page - page % m->frame;
}

static uint32_t frame_pages(const struct model *m, uint32_t page)
{
	return page < m->frame || page >= m->tail ? 1 : m->frame;
}

/* Some memory, some kept, some not there; mostly all of it. */
static void model_table(struct model *m)
{
	struct guest_region regions[3] = {{.gpa = SPARE_GPA, .len = m->pages * PAGE}};
	uint32_t odd = below(m, m->pages - 8), pages = 1 + below(m, 7);
	bool keep = below(m, 2);

	for (uint32_t i = 0; i < m->pages; i++)
		m->memory[i] = true;
	if (below(m, 3)) {
		rig_show_spare(m->rig, regions, 1);
		return;
	}
	regions[0].len = (odd + 1) * PAGE;
	regions[1] = (struct guest_region){
		.gpa = SPARE_GPA + (odd + 1) * PAGE, .len = pages * PAGE,
		.flags = VMEMDEV_REGION_KEEP};
	regions[2] = (struct guest_region){.gpa = regions[1].gpa + regions[1].len};
	regions[2].len = SPARE_GPA + m->pages * PAGE - regions[2].gpa;
	memset(m->memory + odd + 1, 0, pages);
	if (!keep)
		regions[1] = regions[2];
	rig_show_spare(m->rig, regions, keep ? 3 : 2);
}

static struct chain *chain_of(struct model *m, uint16_t queue, uint32_t id)
{
	for (uint32_t i = 0; i < CHAINS; i++) {
		if (m->chains[i].id == (int)id && m->chains[i].queue == queue)
			return &m->chains[i];
	}
	fail();
	return NULL;
}

/* The device has acknowledged: from here on the guest relies on it. */
static void chain_used(struct model *m, struct chain *chain)
{
	for (uint32_t i = 0; i < chain->count; i++) {
		uint32_t page = chain->pages[i];

		m->in[chain->queue][page]--;
		if (chain->queue == DEFLATEQ)
			m->given[page] = false;
		else if (m->promised && m->memory[page] && tracked_page(m, page))
			m->given[page] = true;
		if (m->memory[page] && (chain->queue == DEFLATEQ || !m->was_inhibited) &&
		    (chain->queue == DEFLATEQ || !tracked_page(m, page)))
			assert_true(m->told[page]);
	}
	chain->id = -1;
}

static void collect(struct model *m)
{
	struct guest_used used;

	for (uint16_t queue = INFLATEQ; queue <= DEFLATEQ; queue++) {
		while (m->rig->driver.open[queue] && drv_used(m->rig, queue, &used))
			chain_used(m, chain_of(m, queue, used.id));
	}
}

static void check_inflate(struct model *m, const struct vmemdev_range *range)
{
	uint32_t first = (uint32_t)((range->gpa - SPARE_GPA) / PAGE);
	uint32_t end = first + (uint32_t)(range->len / PAGE);

	assert_true(m->inhibited == 0);
	assert_true(frame_of(m, first) == first);
	assert_true(end == m->pages || frame_of(m, end) == end);
	for (uint32_t page = first; page < end; page++) {
		assert_true(m->memory[page]);
		if (m->promised && tracked_page(m, page))
			assert_true(m->given[page] || m->in[INFLATEQ][page] > 0);
		else
			assert_true(m->in[INFLATEQ][page] > 0);
		m->owed[frame_of(m, page)] = false;
		m->told[page] = true;
		m->handed++;
	}
}

static void check_deflate(struct model *m, const struct vmemdev_range *range)
{
	uint32_t first = (uint32_t)((range->gpa - SPARE_GPA) / PAGE);

	for (uint32_t page = first; page < first + range->len / PAGE; page++)
		m->told[page] = true;
}

static void check_call(struct rig *rig, const struct host_call *call)
{
	struct model *m = rig->ctx;

	collect(m);
	for (uint32_t i = 0; i < call->count; i++) {
		const struct vmemdev_range *range = &call->live[i];

		assert_true(range->gpa % PAGE == 0 && range->len % PAGE == 0 && range->len > 0);
		assert_true(range->gpa >= SPARE_GPA);
		assert_true(range->gpa - SPARE_GPA + range->len <= m->pages * PAGE);
		if (call->op == HOST_INFLATE)
			check_inflate(m, range);
		else
			check_deflate(m, range);
	}
	rig->host.answer = below(m, 8) == 0 ? VMEMDEV_E_HOST : 0;
	if (below(m, 4) == 0) {
		rig->host.answer = VMEMDEV_LATER;
		m->waiting = true;
		m->waits++;
	}
}

/* What the balloon says is given must be what the model says. */
static void check_given(struct model *m)
{
	static bool given[MAP_PAGES];
	struct vmemdev_range range;
	uint64_t at = 0, end = 0;

	memset(given, 0, sizeof(given));
	while (vmemdev_balloon_given(&m->rig->balloon, at, &range)) {
		uint64_t first = (range.gpa - SPARE_GPA) / PAGE;

		assert_true(range.gpa >= SPARE_GPA && range.gpa >= at && range.len > 0);
		/* as long as can be */
		assert_true(range.gpa != end || first == m->tail);
		assert_true(first + range.len / PAGE <= m->pages);
		memset(given + first, 1, (size_t)(range.len / PAGE));
		at = end = range.gpa + range.len;
	}
	assert_memory_equal(given, m->given, m->pages);
}

/* Nothing is out: each complete host page has been handed over, if it could be. */
static void check_settled(struct model *m)
{
	check_given(m);
	for (uint32_t page = 0; page < m->pages; page += frame_pages(m, page)) {
		bool complete = true, memory = true;

		for (uint32_t i = 0; i < frame_pages(m, page); i++) {
			complete &= m->given[page + i];
			memory &= m->memory[page + i];
		}
		if (!memory)
			m->owed[page] = false;
		if (complete && m->inhibited == 0)
			assert_false(m->owed[page]);
	}
}

/* Mostly what completes a host page; now and then anything. */
static uint32_t choose_page(struct model *m, uint32_t base, uint32_t n)
{
	if (below(m, 40) == 0)
		return below(m, m->pages);
	return (base + n) % m->pages;
}

static void model_post(struct model *m, uint16_t queue)
{
	uint32_t base = below(m, m->pages), want = 1 + below(m, NUMBERS), pfns[NUMBERS];
	struct chain *chain = NULL;
	uint32_t n = 0;

	for (uint32_t i = 0; i < CHAINS; i++) {
		if (m->chains[i].id < 0)
			chain = &m->chains[i];
	}
	if (!chain)
		return;
	if (queue == DEFLATEQ)
		want = 1 + want % 9;
	else if (below(m, 2))
		base = frame_of(m, base);
	for (uint32_t i = 0; i < want; i++) {
		uint32_t page = choose_page(m, base, i);

		/* what is asked for on one queue is not named on the other at a time */
		if (m->in[!queue][page] > 0 || m->in[queue][page] > 200)
			continue;
		chain->pages[n] = page;
		pfns[n++] = SPARE_PFN + page;
		m->in[queue][page]++;
		m->told[page] = false;
		if (queue == INFLATEQ && m->promised && !m->given[page] && tracked_page(m, page))
			m->owed[frame_of(m, page)] = true;
	}
	if (n == 0)
		return;
	if (below(m, 2))
		shuffle(&m->random, pfns, n);
	chain->count = n;
	chain->queue = queue;
	chain->id = pages_post(m->rig, queue, pfns, n);
	drv_kick(m->rig, queue);
}

static void drop_chains(struct model *m, uint16_t queue)
{
	for (uint32_t i = 0; i < CHAINS; i++) {
		struct chain *chain = &m->chains[i];

		if (chain->id < 0 || chain->queue != queue)
			continue;
		for (uint32_t k = 0; k < chain->count; k++) {
			m->in[queue][chain->pages[k]]--;
			m->owed[frame_of(m, chain->pages[k])] = false;
		}
		chain->id = -1;
	}
}

static void model_start(struct model *m)
{
	guest_place_release(&m->rig->memory, m->room);
	m->promised = below(m, 4) != 0;
	drv_start(m->rig, VMEMDEV_F_RING_RESET | (m->promised ? TELL : 0));
	m->floor = guest_place_mark(&m->rig->memory);
}

static void model_reset(struct model *m)
{
	drv_reset(m->rig);
	drop_chains(m, INFLATEQ);
	drop_chains(m, DEFLATEQ);
	memset(m->given, 0, sizeof(m->given));
	memset(m->owed, 0, sizeof(m->owed));
	m->waiting = false;
	m->resets++;
	check_given(m);
	model_start(m);
}

/* Take over what the balloon remembers: it may have forgotten some, but learned nothing. */
static void adopt_given(struct model *m)
{
	for (uint32_t page = 0; page < m->pages; page++) {
		uint64_t at = SPARE_GPA + page * PAGE;
		struct vmemdev_range range;
		bool given = vmemdev_balloon_given(&m->rig->balloon, at, &range) &&
			     range.gpa == at;

		assert_true(m->given[page] || m->in[INFLATEQ][page] > 0 || !given);
		m->given[page] &= given;
	}
}

/*
 * Requests that a queue reset drops were never acknowledged: pages named by them alone are
 * the guest's own.
 */
static void model_queue_reset(struct model *m, uint16_t queue)
{
	uint32_t cancels = m->rig->host.cancels;
	bool idle = !m->waiting;

	collect(m);
	for (uint32_t i = 0; i < CHAINS; i++)
		idle &= m->chains[i].id < 0;
	guest_driver_queue_reset(&m->rig->driver, queue);
	drop_chains(m, queue);
	if (m->rig->host.cancels != cancels) {
		m->waiting = false;
		memset(m->owed, 0, sizeof(m->owed));
	}
	if (idle)
		check_given(m);
	else
		adopt_given(m);
	drv_open(m->rig, queue);
	m->floor = guest_place_mark(&m->rig->memory);
	m->resets++;
}

static void model_inhibit(struct model *m)
{
	if (m->inhibited < 3 && below(m, 2)) {
		assert_int_equal(vmemdev_balloon_inhibit(&m->rig->balloon), 0);
		m->inhibited++;
		m->was_inhibited = true;
	} else if (m->inhibited > 0) {
		assert_int_equal(vmemdev_balloon_uninhibit(&m->rig->balloon), 0);
		if (--m->inhibited == 0 && m->promised)
			memset(m->owed + m->frame, 1, sizeof(m->owed) - m->frame);
	}
}

static void model_wait(struct model *m)
{
	uint32_t what = below(m, 40);

	if (what < 3) {
		model_inhibit(m);
	} else if (what == 3) {
		model_reset(m);
	} else if (what < 6) {
		model_queue_reset(m, (uint16_t)below(m, 2));
	} else if (what < 30) {
		m->waiting = false;
		m->rig->host.answer = 0;
		assert_int_equal(rig_complete(m->rig, m->rig->host.token,
					      below(m, 8) ? 0 : VMEMDEV_E_BUSY), 0);
	}
}

static void model_serve(struct model *m)
{
	static const uint32_t budgets[] = {1, 1, 2, 3, 64};
	uint32_t turns = 0;

	while (m->waiting || vmemdev_device_pending(m->rig->dev)) {
		assert_true(rig_step(m->rig, budgets[below(m, ARRAY_LEN(budgets))]) >= 0);
		collect(m);
		if (m->waiting)
			model_wait(m);
		else if (below(m, 200) == 0)
			model_inhibit(m);
		assert_true(++turns < 10000);
	}
	for (uint32_t i = 0; i < CHAINS; i++)
		assert_true(m->chains[i].id < 0);
	check_settled(m);
	guest_place_release(&m->rig->memory, m->floor);
}

static void model_step(struct model *m)
{
	uint32_t what = below(m, 60);

	m->was_inhibited = m->inhibited > 0;
	if (what == 0 || m->floor > RAM_SIZE / 2)
		model_reset(m);
	else if (what < 3)
		model_queue_reset(m, (uint16_t)below(m, 2));
	else if (what < 6)
		model_table(m);
	else if (what < 12)
		model_inhibit(m);
	for (uint32_t n = below(m, 4); n > 0; n--)
		model_post(m, below(m, 3) == 0 ? DEFLATEQ : INFLATEQ);
	model_serve(m);
}

static void model_open(struct model *m, struct rig *rig, uint32_t shift, uint32_t scratch)
{
	struct vmemdev_balloon_config config;

	m->rig = rig;
	m->frame = UINT32_C(1) << (shift - 12);
	m->frames = m->frame > 64 ? 2 : 4;
	m->tail = m->frame * (1 + m->frames);
	m->pages = m->tail + 70;
	assert_true(m->pages <= MAP_PAGES);
	track_make(&m->big, SPARE_GPA + m->frame * PAGE, m->frames * m->frame * PAGE, shift);
	track_make(&m->small, SPARE_GPA + m->tail * PAGE, 70 * PAGE, 12);
	m->tracks[0] = m->big.track;
	m->tracks[1] = m->small.track;
	for (uint32_t i = 0; i < CHAINS; i++)
		m->chains[i].id = -1;
	rig_balloon_config(rig, &config);
	config.must_tell_host = true;
	config.tracks = m->tracks;
	config.track_count = 2;
	config.range_count = scratch;
	rig->ctx = m;
	rig->host.hook = check_call;
	model_table(m);
	rig_make_balloon(rig, &config);
	m->room = guest_place_mark(&rig->memory);
	model_start(m);
}

static void run_model(struct rig *rig, uint32_t shift, uint32_t steps)
{
	struct model *m = calloc(1, sizeof(*m));

	assert_non_null(m);
	guest_random_seed(&m->random, 700 + shift);
	model_open(m, rig, shift, shift % 2 ? 1 : 16);
	for (uint32_t i = 0; i < steps; i++)
		model_step(m);
	print_message("shift %u: %llu pages handed over, %llu resets, %llu waits\n", shift,
		      (unsigned long long)m->handed, (unsigned long long)m->resets,
		      (unsigned long long)m->waits);
	assert_true(m->handed > steps / 4);
	assert_true(m->waits > steps / 20);
	assert_int_equal(rig->errors, 0);
	track_free(&m->big);
	track_free(&m->small);
	free(m);
}

/* shows: BAL-INF-06 BAL-INF-07 BAL-DEF-02 HOST-BAL-04 */
static void BAL_INF_06_random_pages_of_4_KiB(void **state)
{
	run_model(*state, 12, 3000);
}

/* shows: BAL-INF-06 BAL-INF-07 BAL-DEF-02 HOST-BAL-04 */
static void BAL_INF_06_random_pages_of_16_KiB(void **state)
{
	run_model(*state, 14, 3000);
}

/* shows: BAL-INF-06 BAL-INF-07 BAL-DEF-02 HOST-BAL-04 */
static void BAL_INF_06_random_pages_of_32_KiB_and_a_scratch_of_1(void **state)
{
	run_model(*state, 15, 3000);
}

/* shows: BAL-INF-06 BAL-INF-07 BAL-DEF-02 HOST-BAL-04 BAL-INF-04 */
static void BAL_INF_06_random_pages_of_64_KiB(void **state)
{
	run_model(*state, 16, 3000);
}

/* shows: BAL-INF-06 BAL-INF-07 BAL-DEF-02 HOST-BAL-04 */
static void BAL_INF_06_random_pages_of_256_KiB(void **state)
{
	run_model(*state, 18, 2000);
}

/* shows: BAL-INF-06 BAL-INF-07 BAL-DEF-02 HOST-BAL-04 */
static void BAL_INF_06_random_pages_of_2_MiB(void **state)
{
	run_model(*state, 21, 3000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_RINGS(BAL_GEN_06_a_host_page_of_64_KiB, rig_setup_bare),
		TEST_RINGS(BAL_INF_06_the_last_page_in_any_order_completes_a_host_page,
			   rig_setup_bare),
		TEST_RINGS(BAL_INF_06_a_host_page_of_1_GiB, rig_setup_bare),
		TEST_ALL(BAL_DEF_02_a_part_that_is_taken_back_keeps_its_host_page,
			 rig_setup_bare),
		TEST_RINGS(HOST_BAL_04_pages_named_twice_or_never_given, rig_setup_bare),
		TEST_RINGS(BAL_INF_03_without_the_promise_ranges_are_cut_inwards, rig_setup_bare),
		TEST_ALL(BAL_GEN_09_a_reset_forgets_what_was_given, rig_setup_bare),
		TEST_RINGS(BAL_DEF_02_deflates_count_without_a_deflate_callback, rig_setup_bare),
		TEST_RINGS(BAL_INF_06_a_host_page_that_is_not_all_memory, rig_setup_bare),
		TEST_RINGS(given_starts_and_ends_where_it_should, rig_setup_bare),
		TEST_ONCE(words_that_a_track_needs, rig_setup_bare),
		TEST_RINGS(BAL_INF_06_random_pages_of_4_KiB, rig_setup_bare),
		TEST_RINGS(BAL_INF_06_random_pages_of_16_KiB, rig_setup_bare),
		TEST_RINGS(BAL_INF_06_random_pages_of_32_KiB_and_a_scratch_of_1, rig_setup_bare),
		TEST_RINGS(BAL_INF_06_random_pages_of_64_KiB, rig_setup_bare),
		TEST_RINGS(BAL_INF_06_random_pages_of_256_KiB, rig_setup_bare),
		TEST_RINGS(BAL_INF_06_random_pages_of_2_MiB, rig_setup_bare),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
