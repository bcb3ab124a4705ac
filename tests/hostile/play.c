/* SPDX-License-Identifier: BSD-3-Clause */
#include "play.h"

/* Most reads of guest memory in a run for each unit of budget: see bounds.c. */
#define READS_UNIT (3 * ENTRIES + 64 + 256 + 16)

uint32_t play_below(struct player *p, uint32_t limit)
{
	return guest_random_below(&p->random, limit);
}

/* The host. */

/* Also answers that no host should give: they count as failures. */
static int answer(struct player *p)
{
	static const int failures[] = {VMEMDEV_E_BUSY, VMEMDEV_E_HOST, VMEMDEV_E_INVAL,
				       VMEMDEV_E_GUEST_RING, INT32_MIN, VMEMDEV_LATER + 1};
	uint32_t what = p->faulty ? play_below(p, 8) : 7;

	if (what == 0)
		return failures[play_below(p, ARRAY_LEN(failures))];
	p->waiting = what < 3;
	p->token = p->rig->host.token;
	return p->waiting ? VMEMDEV_LATER : 0;
}

static bool discardable(const struct player *p, uint64_t gpa)
{
	for (uint32_t i = 0; i < p->table_count; i++) {
		const struct vmemdev_region *region = &p->table[i];

		if (gpa >= region->gpa && gpa - region->gpa < region->len)
			return region->flags == 0 && region->blocks == NULL;
	}
	return false;
}

static void check_pages(const struct player *p, const struct vmemdev_range *range,
			enum host_op op)
{
	if (range->len == 0 || range->gpa % PAGE != 0 || range->len % PAGE != 0)
		watch_fail("a range of no whole pages");
	for (uint64_t at = 0; at < range->len; at += PAGE) {
		if (!discardable(p, range->gpa + at))
			watch_fail("a range that is not discardable memory");
	}
	if (p->inhibited && (op == HOST_INFLATE || op == HOST_REPORT))
		watch_fail("a discard while that is forbidden");
}

static bool block_of(uint64_t *book, uint64_t block, bool plugged)
{
	bool was = book[block / 64] >> block % 64 & 1;

	book[block / 64] ^= (uint64_t)(was != plugged) << block % 64;
	return was;
}

/* @hull: it may be the last range of "everything", with unplugged blocks in it. */
static void change_blocks(uint64_t *book, const struct vmemdev_range *range, bool plug, bool hull)
{
	uint64_t first = (range->gpa - MEM_GPA) / MEM_BLOCK, n = range->len / MEM_BLOCK;

	if (range->gpa < MEM_GPA || range->gpa % MEM_BLOCK != 0 || range->len % MEM_BLOCK != 0 ||
	    first + n > MEM_BLOCKS || n == 0)
		watch_fail("a range of no whole blocks");
	for (uint64_t i = first; i < first + n; i++) {
		if (block_of(book, i, plug) == plug && !hull)
			watch_fail("block %u is %s twice", (unsigned int)i,
				   plug ? "plugged" : "unplugged");
	}
}

static void do_blocks(struct player *p, const struct host_call *call)
{
	for (uint32_t i = 0; i < call->count; i++)
		change_blocks(p->blocks, &call->ranges[i], call->op == HOST_PLUG,
			      i + 1 == VMEMDEV_MEM_RANGES);
}

static void check_plugged(const struct player *p, uint64_t bytes)
{
	uint64_t blocks = 0;

	for (uint32_t i = 0; i < MEM_BLOCKS; i++)
		blocks += p->blocks[i / 64] >> i % 64 & 1;
	if (bytes != blocks * MEM_BLOCK)
		watch_fail("the device counts %u bytes too many or too few",
			   (unsigned int)(bytes - blocks * MEM_BLOCK));
}

static void on_call(struct rig *rig, const struct host_call *call)
{
	struct player *p = rig->ctx;

	p->calls++;
	/* What callbacks may do to their device. */
	vmemdev_device_kick(rig->dev, (uint16_t)play_below(p, VMEMDEV_QUEUES_MAX));
	(void)vmemdev_device_config_generation(rig->dev);
	switch (call->op) {
	case HOST_INFLATE:
	case HOST_DEFLATE:
	case HOST_REPORT:
	case HOST_HINT:
		for (uint32_t i = 0; i < call->count; i++)
			check_pages(p, &call->live[i], call->op);
		rig->host.answer = call->op == HOST_HINT ? 0 : answer(p);
		break;
	case HOST_PLUG:
	case HOST_UNPLUG:
		rig->host.answer = p->undoing ? 0 : answer(p);
		p->undoing = false;
		if (rig->host.answer == VMEMDEV_LATER)
			p->late = *call;
		else if (rig->host.answer == 0)
			do_blocks(p, call);
		break;
	case HOST_PLUGGED:
		check_plugged(p, call->value);
		break;
	case HOST_FLUSH:
		rig->host.answer = answer(p);
		break;
	default:
		return;
	}
	if (call->op != HOST_PLUGGED && p->inside != NULL)
		p->inside(p);
}

static int hear_plug(void *ctx, const struct vmemdev_range *ranges, uint32_t count)
{
	struct player *p = ctx;

	p->undoing = p->refuse && play_below(p, 4) == 0;
	if (p->undoing)
		return VMEMDEV_E_HOST;
	for (uint32_t i = 0; i < count; i++)
		change_blocks(p->heard, &ranges[i], true, false);
	return 0;
}

static void hear_unplug(void *ctx, const struct vmemdev_range *ranges, uint32_t count)
{
	struct player *p = ctx;

	for (uint32_t i = 0; i < count; i++)
		change_blocks(p->heard, &ranges[i], false, false);
}

static void compare_blocks(struct player *p)
{
	struct vmemdev_mem_sizes sizes = mem_sizes(p->rig);
	struct vmemdev_range run = {0};
	uint64_t shown[2] = {0, 0};

	while (vmemdev_mem_next(&p->rig->mem, run.gpa + run.len, true, &run))
		change_blocks(shown, &run, true, false);
	if (memcmp(shown, p->blocks, sizeof(shown)) != 0 ||
	    memcmp(shown, p->heard, sizeof(shown)) != 0)
		watch_fail("the books of plugged blocks differ");
	check_plugged(p, sizes.plugged);
}

void play_complete(struct player *p, int result)
{
	if (!p->waiting) {
		if (rig_complete(p->rig, p->token, result) != VMEMDEV_E_STATE)
			watch_fail("work ends twice");
		return;
	}
	if (rig_complete(p->rig, p->token - 1, result) != VMEMDEV_E_STATE)
		watch_fail("other work ends in the place of this");
	p->waiting = false;
	if (p->device == PLAY_MEM && result == 0)
		do_blocks(p, &p->late);
	if (rig_complete(p->rig, p->token, result) != 0)
		watch_fail("the end of work is refused");
}

/* The driver, which is honest in what it posts. */

static uint64_t slot(struct player *p)
{
	return DATA_GPA + p->next_slot++ % SLOTS * SLOT;
}

/* Most are in RAM, some in what follows it. */
static uint32_t some_page(struct player *p)
{
	if (play_below(p, 4) == 0)
		return (uint32_t)(NEXT_GPA / PAGE) + play_below(p, 32);
	return PLAY_PFN + play_below(p, 512);
}

static uint32_t post_numbers(struct player *p, struct vmemdev_buf *bufs)
{
	uint64_t at = slot(p);
	uint32_t n = 1 + play_below(p, 400), count = 0, first = some_page(p);

	for (uint32_t i = 0; i < n; i++)
		guest_store32(&p->rig->memory, at + 4 * i,
			      play_below(p, 8) ? first + i : some_page(p));
	for (uint32_t done = 0; done < 4 * n && count < 6; count++) {
		uint32_t part = count == 5 ? 4 * n - done : 1 + play_below(p, 4 * n - done);

		bufs[count] = (struct vmemdev_buf){at + done, part, 0};
		done += part;
	}
	return count;
}

static uint32_t post_free(struct player *p, struct vmemdev_buf *bufs, bool hint)
{
	uint32_t count = 0, ranges = 1 + play_below(p, 5);
	uint64_t at = slot(p);

	if (hint) {
		guest_store32(&p->rig->memory, at,
			      guest_driver_config32(&p->rig->driver, BAL_CMD_ID));
		bufs[count++] = (struct vmemdev_buf){at, 4, 0};
	}
	for (uint32_t i = 0; i < ranges; i++)
		bufs[count++] = (struct vmemdev_buf){some_page(p) * PAGE,
						     (1 + play_below(p, 12)) * (uint32_t)PAGE, 1};
	return count;
}

static uint32_t post_balloon(struct player *p, uint16_t queue, struct vmemdev_buf *bufs)
{
	uint64_t at = slot(p);

	if (queue == HINTQ || queue == REPORTQ)
		return post_free(p, bufs, queue == HINTQ);
	if (queue != STATSQ)
		return post_numbers(p, bufs);
	for (uint32_t i = 0; i < 12; i++) {
		guest_fill(&p->rig->memory, at + 10 * i, 0, 10);
		guest_fill(&p->rig->memory, at + 10 * i, (uint8_t)play_below(p, 20), 1);
	}
	bufs[0] = (struct vmemdev_buf){at, 120, 0};
	return 1;
}

static uint32_t post_request(struct player *p, bool mem, struct vmemdev_buf *bufs)
{
	uint64_t at = slot(p);
	uint8_t raw[24] = {0};

	if (mem) {
		put16(raw, (uint16_t)play_below(p, 8) % 5);
		put64(raw + 8, BLOCK(play_below(p, MEM_BLOCKS)));
		put16(raw + 16, (uint16_t)(1 + play_below(p, 8)));
	}
	guest_write(&p->rig->memory, at, raw, sizeof(raw));
	bufs[0] = (struct vmemdev_buf){at, mem ? 24 : 4, 0};
	bufs[1] = (struct vmemdev_buf){at + 64, mem ? 10 : 4, 1};
	return 2;
}

void play_post(struct player *p)
{
	struct guest_driver *driver = &p->rig->driver;
	uint16_t queue = (uint16_t)play_below(p, vmemdev_device_queue_count(p->rig->dev));
	struct vmemdev_buf bufs[16];
	bool tables = driver->features & VMEMDEV_F_INDIRECT_DESC;
	struct guest_add how = {.indirect = tables && play_below(p, 3) == 0};
	uint32_t count;

	if (!driver->open[queue])
		return;
	count = p->device == PLAY_BALLOON ? post_balloon(p, queue, bufs)
					  : post_request(p, p->device == PLAY_MEM, bufs);
	if (guest_queue_add(&driver->queues[queue], bufs, count, &how) < 0) {
		p->full++;
		return;
	}
	p->full = 0;
	p->posted[queue]++;
	guest_queue_publish(&driver->queues[queue]);
	drv_kick(p->rig, queue);
}

static void count_used(struct player *p, uint16_t queue, const struct guest_used *used)
{
	p->used[queue]++;
	if (p->honest && used->len != 0 && p->device == PLAY_BALLOON)
		watch_fail("a balloon's buffer is used with a length");
	if (p->honest && used->len == 0 && p->device != PLAY_BALLOON && !used->skipped)
		watch_fail("a request is used without an answer");
}

bool play_take(struct player *p)
{
	struct guest_driver *driver = &p->rig->driver;
	struct guest_used used;
	int got = 0;

	for (uint16_t q = 0; q < VMEMDEV_QUEUES_MAX && got >= 0; q++) {
		if (!driver->open[q])
			continue;
		while ((got = guest_queue_poll(&driver->queues[q], &used)) > 0)
			count_used(p, q, &used);
	}
	return got >= 0;
}

/* Life. */

static void start(struct player *p)
{
	uint64_t more = play_below(p, 2) ? VMEMDEV_F_EVENT_IDX : 0;

	more |= play_below(p, 2) ? VMEMDEV_F_INDIRECT_DESC : 0;
	more |= play_below(p, 3) == 0 ? VMEMDEV_F_IN_ORDER : 0;
	if (p->device == PLAY_BALLOON)
		more |= BALLOON_FULL | VMEMDEV_F_RING_RESET |
			(play_below(p, 2) ? VMEMDEV_BALLOON_F_MUST_TELL_HOST : 0);
	drv_start(p->rig, more);
	memset(p->posted, 0, sizeof(p->posted));
	memset(p->used, 0, sizeof(p->used));
}

/* A good driver comes, with memory that stays as it is: everything works at once. */
static void check_alive(struct player *p)
{
	const uint32_t pfn = PLAY_PFN + 7;
	struct rig *rig = p->rig;

	host_forget(rig);
	if (p->device == PLAY_BALLOON) {
		pages_send(rig, INFLATEQ, &pfn, 1);
		assert_true(p->inhibited || host_last(rig)->ranges[0].gpa == pfn * PAGE);
	} else if (p->device == PLAY_MEM) {
		mem_expect(rig, GUEST_MEM_STATE, BLOCK(0), 1, GUEST_MEM_ACK);
	} else {
		assert_int_not_equal(flush_send(rig), FLUSH_NONE);
	}
	if (watch_out() > 0)
		watch_fail("a chain was not given back");
}

void play_reset(struct player *p)
{
	uint32_t cancels = p->rig->host.cancels;
	bool faulty = p->faulty;

	p->faulty = false;
	drv_reset(p->rig);
	if (watch_out() > 0)
		watch_fail("chains are out after a reset");
	if (p->rig->host.cancels != cancels) {
		p->waiting = false;
		p->cancels++;
	}
	if (p->waiting)
		play_complete(p, 0);
	guest_place_release(&p->rig->memory, p->mark);
	start(p);
	check_alive(p);
	p->rig->errors = 0;
	p->full = 0;
	p->resets++;
	p->faulty = faulty;
}

void play_control(struct player *p)
{
	struct rig *rig = p->rig;

	if (p->device == PLAY_MEM) {
		mem_want(rig, play_below(p, MEM_BLOCKS + 1) * MEM_BLOCK);
		return;
	}
	if (p->device != PLAY_BALLOON)
		return;
	switch (play_below(p, 6)) {
	case 0:
		(void)vmemdev_balloon_hint_start(&rig->balloon);
		break;
	case 1:
		(void)vmemdev_balloon_poll_stats(&rig->balloon);
		break;
	case 2:
		if (!p->inhibited && !p->waiting)
			p->inhibited = vmemdev_balloon_inhibit(&rig->balloon) == 0;
		break;
	case 3:
		if (p->inhibited)
			p->inhibited = vmemdev_balloon_uninhibit(&rig->balloon) != 0;
		break;
	case 4:
		(void)vmemdev_balloon_hint_stop(&rig->balloon);
		break;
	default:
		guest_driver_config_write(&rig->driver, BAL_ACTUAL, &rig->seen_config_irqs, 4);
		break;
	}
}

int play_run(struct player *p)
{
	uint32_t budget = 1 + play_below(p, 4);
	uint64_t reads = watch.reads;
	int left = rig_step(p->rig, budget);

	watch_settled();
	if (watch.reads - reads > (uint64_t)READS_UNIT * (budget + 1))
		watch_fail("%u reads in a run of %u", (unsigned int)(watch.reads - reads), budget);
	if (p->device == PLAY_MEM)
		compare_blocks(p);
	if (left < 0) {
		assert_int_equal(p->rig->errors, 1);
		assert_int_equal(left, p->rig->last_error);
		assert_true(guest_driver_status(&p->rig->driver) & VMEMDEV_STATUS_NEEDS_RESET);
		p->faults++;
	}
	return left;
}

void play_settle(struct player *p)
{
	bool faulty = p->faulty;
	int left = 1;

	p->faulty = false;
	for (uint32_t turns = 0; left > 0 || p->waiting; turns++) {
		if (p->waiting)
			play_complete(p, 0);
		left = play_run(p);
		if (left < 0 || !play_take(p) || turns > 10000)
			watch_fail("the device does not come to an end (%d)", left);
	}
	for (uint16_t q = 0; q < VMEMDEV_QUEUES_MAX; q++) {
		/* the newest statistics are kept */
		uint64_t kept = p->device == PLAY_BALLOON && q == STATSQ;

		if (p->used[q] > p->posted[q] || p->posted[q] - p->used[q] > kept)
			watch_fail("queue %u: %u requests of %u are used", q,
				   (unsigned int)p->used[q], (unsigned int)p->posted[q]);
	}
	p->faulty = faulty;
}

void play_show(struct player *p)
{
	assert_int_equal(vmemdev_guest_set_regions(&p->rig->memory.guest, p->table,
						   p->table_count), 0);
	watch_table(p->table, p->table_count);
}

static void make_balloon(struct player *p)
{
	struct vmemdev_balloon_config config;

	rig_balloon_full_config(p->rig, &config);
	config.must_tell_host = true;
	config.range_count = 1 + play_below(p, 64);
	config.device.queue_size = ENTRIES;
	config.device.features_on |= VMEMDEV_F_IN_ORDER;
	rig_make_balloon(p->rig, &config);
}

static void make_mem(struct player *p)
{
	rig_make_mem(p->rig, NULL);
	vmemdev_mem_region(&p->rig->mem, p->rig->memory.regions[PLAY_BLOCKS].host,
			   &p->table[p->table_count++]);
	p->listener = (struct vmemdev_mem_listener){
		.plug = hear_plug, .unplug = hear_unplug, .ctx = p};
	assert_int_equal(vmemdev_mem_listen(&p->rig->mem, &p->listener), 0);
}

static void make_pmem(struct player *p)
{
	struct vmemdev_pmem_config config;

	rig_pmem_config(p->rig, &config);
	config.device.features_on |= VMEMDEV_F_IN_ORDER;
	rig_make_pmem(p->rig, &config);
}

struct player *play_open(const struct way *way, enum play_device device, uint64_t seed)
{
	static const struct guest_region regions[PLAY_REGIONS] = {
		{.gpa = RAM_GPA, .len = RAM_SIZE},
		{.gpa = NEXT_GPA, .len = EXTRA_SIZE},
		{.gpa = ROM_GPA, .len = EXTRA_SIZE, .flags = VMEMDEV_REGION_READONLY},
		{.gpa = KEEP_GPA, .len = EXTRA_SIZE, .flags = VMEMDEV_REGION_KEEP},
		{.gpa = MEM_GPA, .len = MEM_REGION},
	};
	struct player *p = calloc(1, sizeof(*p));

	assert_non_null(p);
	guest_random_seed(&p->random, seed);
	p->rig = rig_bare_regions(way, regions, PLAY_REGIONS);
	p->rig->ctx = p;
	p->rig->host.hook = on_call;
	p->device = device;
	p->table_count = PLAY_BLOCKS;
	memcpy(p->table, p->rig->memory.regions, p->table_count * sizeof(p->table[0]));
	if (device == PLAY_BALLOON)
		make_balloon(p);
	else if (device == PLAY_MEM)
		make_mem(p);
	else
		make_pmem(p);
	watch_start(&p->rig->memory);
	watch.what = way->packed ? "packed" : "split";
	watch.seed = seed;
	play_show(p);
	p->mark = guest_place_mark(&p->rig->memory);
	start(p);
	p->faulty = true;
	return p;
}

void play_close(struct player *p)
{
	watch.region_count = 0;
	rig_free(p->rig);
	free(p);
}
