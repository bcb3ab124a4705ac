/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The most that a guest can have the library do, in one call. For each entry point that works on
 * a guest's data: the worst that is known (circles, 32,768 empty buffers, lengths of all ones,
 * one number a descriptor, memory in single pages, events that are always hit), what the headers
 * say is the most, and what it took. Counted are reads of guest memory, bytes read, calls to the
 * host, ranges, look-ups by callbacks, listeners told; steps.c counts the library's own steps.
 */
#include "../unit/device_rig.h"
#include "watch.h"

#define N 32768u /* entries of a queue, the most that there can be */
#define BIG_RAM UINT64_C(0x2000000)
#define BUF (RAM_GPA + BIG_RAM / 2)
#define FORMATS 2

/* virtqueue.h: a circle is found by the descriptor after the last one, and an INDIRECT one does
 * not count. */
#define WALK (N + 2)

/* Each pop looks at most twice at the index and once at an entry; each batch asks once
 * whether to notify; asking for a kick, publishing and an event write a few words. */
#define SMALL 8u

/* A run looks so at each queue that was kicked, as all are in the beginning. */
#define SMALL_RUN (5 * 4 + SMALL)

static void say(const char *where, bool packed, const char *worst, const char *what,
		uint64_t counted, uint64_t stated)
{
	print_message("%-22s %-6s %-38s %-9s %8llu of %8llu\n", where,
		      packed ? "packed" : "split", worst, what, (unsigned long long)counted,
		      (unsigned long long)stated);
	if (counted > stated)
		fail_msg("%s does more than its header says", where);
}

/* A bare queue. */

struct ring {
	struct guest_memory mem;
	struct guest_queue q;
	struct vmemdev_vq vq;
	struct vmemdev_chain chain;
	struct vmemdev_held held;
	bool packed;
};

static struct ring *ring_open(bool packed, enum guest_mode mode, uint64_t features)
{
	const struct guest_region regions[] = {
		{.gpa = RAM_GPA, .len = BIG_RAM},
		{.gpa = RAM_GPA + BIG_RAM, .len = PAGE},
		{.gpa = RAM_GPA + BIG_RAM + PAGE, .len = BIG_RAM / 8},
	};
	struct guest_queue_config config = {.size = N};
	struct ring *ring = calloc(1, sizeof(*ring));

	assert_non_null(ring);
	config.features = features | (packed ? VMEMDEV_F_RING_PACKED : 0);
	ring->packed = packed;
	guest_memory_open(&ring->mem, mode, regions, ARRAY_LEN(regions));
	guest_queue_open(&ring->q, &ring->mem, &config);
	assert_int_equal(vmemdev_vq_init(&ring->vq, sizeof(ring->vq), &ring->mem.guest, N), 0);
	assert_int_equal(vmemdev_vq_enable(&ring->vq, &ring->q.layout, config.features), 0);
	watch_start(&ring->mem);
	return ring;
}

static void ring_close(struct ring *ring)
{
	watch.region_count = 0;
	guest_queue_close(&ring->q);
	guest_memory_close(&ring->mem);
	free(ring);
}

static void count_from_here(struct guest_memory *mem)
{
	guest_memory_forget(mem);
	watch.reads = watch.bytes_read = watch.writes = 0;
}

/* One chain of @count descriptors, of buffers of @len bytes one after the other; all of them
 * in a circle, or (packed) without an end, if @circle. */
static void offer_list(struct ring *ring, uint32_t count, uint32_t len, bool writable, bool circle)
{
	for (uint32_t i = 0; i < count; i++) {
		bool more = circle || i + 1 < count;
		struct guest_desc desc = {
			.addr = BUF + (uint64_t)i * len % (BIG_RAM / 4), .len = len,
			.flags = (uint16_t)((more ? GUEST_NEXT : 0) | (writable ? GUEST_WRITE : 0)),
			.next = (uint16_t)((i + 1) % count)};

		if (ring->packed)
			guest_queue_offer_desc(&ring->q, &desc);
		else
			guest_desc_put(&ring->mem, false, ring->q.layout.desc, i, &desc);
	}
	if (!ring->packed)
		guest_queue_offer_head(&ring->q, 0);
	guest_queue_publish(&ring->q);
}

static void ring_pop(struct ring *ring)
{
	count_from_here(&ring->mem);
	assert_int_equal(vmemdev_vq_pop(&ring->vq, &ring->chain), 1);
	say("vq_pop", ring->packed, "a chain", "reads", watch.reads, 3);
	count_from_here(&ring->mem);
}

/* shows: HOST-VQ-04 HOST-REG-21 */
static void HOST_VQ_04_a_walk_ends_with_the_queue(void **state)
{
	(void)state;
	for (uint32_t packed = 0; packed < FORMATS; packed++) {
		struct ring *ring = ring_open(packed, GUEST_TABLE, 0);

		offer_list(ring, N, 0, false, true);
		ring_pop(ring);
		assert_int_equal(vmemdev_chain_finish(&ring->chain, &ring->held),
				 VMEMDEV_E_GUEST_CHAIN);
		say("chain_finish", packed, "a circle of 32,768", "reads", watch.reads, WALK);
		assert_true(watch.reads >= N);
		ring_close(ring);
	}
}

/* Each way of going on, past as many empty buffers as there can be. */
/* shows: HOST-VQ-12 HOST-REG-21 */
static void HOST_VQ_12_empty_buffers_cost_a_step_each(void **state)
{
	static const char *const names[] = {"chain_next", "chain_read", "chain_write",
					    "chain_reserve"};
	uint8_t bytes[16] = {0};
	struct vmemdev_reply reply;
	struct vmemdev_buf buf;

	(void)state;
	for (uint32_t i = 0; i < FORMATS * ARRAY_LEN(names); i++) {
		struct ring *ring = ring_open(i % 2, GUEST_TABLE, 0);

		offer_list(ring, N, 0, i / 2 > 1, false);
		ring_pop(ring);
		if (i / 2 == 0)
			assert_int_equal(vmemdev_chain_next(&ring->chain, &buf), 0);
		else if (i / 2 == 1)
			assert_int_equal(vmemdev_chain_read(&ring->chain, bytes, 16), 0);
		else if (i / 2 == 2)
			assert_int_equal(vmemdev_chain_write(&ring->chain, bytes, 16), 0);
		else
			assert_int_equal(vmemdev_chain_reserve(&ring->chain, &reply, 16), 0);
		say(names[i / 2], i % 2, "32,768 empty buffers", "reads", watch.reads, N);
		assert_true(watch.reads == N);
		ring_close(ring);
	}
}

/* shows: HOST-VQ-05 HOST-REG-21 */
static void HOST_VQ_05_copies_take_what_was_asked_for(void **state)
{
	uint8_t bytes[64];

	(void)state;
	for (uint32_t packed = 0; packed < FORMATS; packed++) {
		struct ring *ring = ring_open(packed, GUEST_TABLE, 0);

		offer_list(ring, N, 1, false, false);
		ring_pop(ring);
		assert_int_equal(vmemdev_chain_read(&ring->chain, bytes, 64), 64);
		say("chain_read of 64", packed, "a descriptor for each byte", "reads", watch.reads,
		    2 * 64);
		ring_close(ring);

		ring = ring_open(packed, GUEST_TABLE, 0);
		offer_list(ring, N, 131072, false, false);
		ring_pop(ring);
		assert_true(vmemdev_chain_read(&ring->chain, NULL, INT32_MAX) == INT32_MAX);
		say("chain_read past 2 GiB", packed, "buffers of 4 GiB in all", "reads",
		    watch.reads, N);
		say("chain_read past 2 GiB", packed, "buffers of 4 GiB in all", "bytes",
		    watch.bytes_read, 16 * N);
		ring_close(ring);

		ring = ring_open(packed, GUEST_TABLE, 0);
		offer_list(ring, N, UINT32_MAX, false, false);
		ring_pop(ring);
		assert_int_equal(vmemdev_chain_finish(&ring->chain, &ring->held),
				 VMEMDEV_E_GUEST_CHAIN);
		/* Past 4 GiB there is no chain, however many descriptors are left. */
		say("chain_finish", packed, "lengths of all ones", "reads", watch.reads, 2);
		ring_close(ring);
	}
}

/* A table as long as its length can say; split: entry @circle leads to itself. */
static void long_table(struct ring *ring, uint64_t table, uint16_t circle)
{
	struct guest_desc desc = {.addr = table, .flags = GUEST_INDIRECT,
				  .len = ring->packed ? 16 * N : 0xfffffff0};

	for (uint32_t i = 0; i < N; i++) {
		uint8_t raw[16] = {0};

		put64(raw, BUF);
		raw[12] = ring->packed ? 0 : GUEST_NEXT;
		put16(raw + 14, ring->packed ? 0 : circle);
		assert_true(guest_write(&ring->mem, table + 16 * (uint64_t)i, raw, sizeof(raw)));
	}
	if (ring->packed) {
		guest_queue_offer_desc(&ring->q, &desc);
	} else {
		guest_desc_put(&ring->mem, false, ring->q.layout.desc, 0, &desc);
		guest_queue_offer_head(&ring->q, 0);
	}
	guest_queue_publish(&ring->q);
}

/* shows: HOST-VQ-04 HOST-VQ-10 HOST-REG-21 */
static void HOST_VQ_10_the_longest_table_costs_no_more_than_the_queue(void **state)
{
	/* in one piece; and across three regions, where one entry lies in two of them */
	const uint64_t tables[] = {BUF, RAM_GPA + BIG_RAM - 0x20008};
	const uint16_t circles[] = {0, 0x2000};

	(void)state;
	for (uint32_t i = 0; i < FORMATS * 4; i++) {
		struct ring *ring = ring_open(i & 1, i & 2 ? GUEST_CALLBACKS : GUEST_TABLE,
					      VMEMDEV_F_INDIRECT_DESC);
		const char *worst = i & 4 ? "longest table, in three regions" : "longest table";
		uint32_t pages = 256, cut = i & 4 ? 2 : 1;

		long_table(ring, tables[i >> 2], circles[i >> 2]);
		ring_pop(ring);
		assert_int_equal(vmemdev_chain_finish(&ring->chain, &ring->held),
				 i & 1 ? 0 : VMEMDEV_E_GUEST_CHAIN);
		say("chain_finish", i & 1, worst, "reads", watch.reads, cut * WALK);
		if (i & 2)
			say("chain_finish", i & 1, worst, "look-ups", ring->mem.map_calls,
			    2 * (cut * WALK + pages));
		ring_close(ring);
	}
}

/* A queue full of chains, whose driver wants to be told of each: asked once for all. */
/* shows: VQ-SPLIT-24 HOST-VQ-17 HOST-REG-21 */
static void HOST_VQ_17_events_that_are_always_hit(void **state)
{
	const struct vmemdev_buf buf = {.gpa = BUF, .len = 0};

	(void)state;
	for (uint32_t packed = 0; packed < FORMATS; packed++) {
		struct ring *ring = ring_open(packed, GUEST_TABLE, VMEMDEV_F_EVENT_IDX);
		uint64_t most = 0;

		while (guest_queue_add(&ring->q, &buf, 1, NULL) >= 0)
			;
		guest_queue_publish(&ring->q);
		guest_queue_interrupts_on(&ring->q);
		for (uint32_t i = 0; i < N; i++) {
			count_from_here(&ring->mem);
			assert_int_equal(vmemdev_vq_pop(&ring->vq, &ring->chain), 1);
			assert_int_equal(vmemdev_chain_finish(&ring->chain, &ring->held), 0);
			assert_int_equal(vmemdev_vq_push(&ring->vq, &ring->held, 0), 0);
			most = watch.reads + watch.writes > most ? watch.reads + watch.writes : most;
		}
		say("pop, finish, push", packed, "a full queue", "accesses", most, SMALL);
		count_from_here(&ring->mem);
		assert_int_equal(vmemdev_vq_publish(&ring->vq), N);
		assert_true(vmemdev_vq_should_notify(&ring->vq));
		say("publish, should_notify", packed, "32,768 entries, an event", "accesses",
		    watch.reads + watch.writes, SMALL);
		ring_close(ring);
	}
}

/* Devices: what one unit of budget pays for. */

struct bench {
	struct rig *rig;
	bool packed;
	struct vmemdev_region *spare;
	uint64_t reads, bytes, calls, ranges; /* the most in one run */
	uint32_t runs, irqs;
};

static void on_call(struct rig *rig, const struct host_call *call)
{
	struct bench *b = rig->ctx;

	b->calls++;
	b->ranges += call->count;
}

static struct bench *bench_bare(bool packed)
{
	const struct guest_region ram = {.gpa = RAM_GPA, .len = BIG_RAM};
	struct bench *b = calloc(1, sizeof(*b));
	const struct way way = {.packed = packed};

	assert_non_null(b);
	b->packed = packed;
	b->rig = rig_bare_regions(&way, &ram, 1);
	b->rig->ctx = b;
	b->rig->host.hook = on_call;
	return b;
}

static struct bench *bench_balloon(bool packed, uint32_t scratch, bool deflates)
{
	static struct vmemdev_balloon_ops ops;
	struct vmemdev_balloon_config config;
	struct bench *b = bench_bare(packed);

	rig_balloon_full_config(b->rig, &config);
	ops = rig_balloon_ops;
	ops.deflate = deflates ? ops.deflate : NULL;
	config.ops = &ops;
	config.device.queue_size = N;
	config.range_count = scratch;
	rig_make_balloon(b->rig, &config);
	drv_start(b->rig, BALLOON_FULL | VMEMDEV_F_EVENT_IDX);
	watch_start(&b->rig->memory);
	return b;
}

static struct bench *bench_other(bool packed, bool mem)
{
	struct vmemdev_mem_config memory;
	struct vmemdev_pmem_config pmem;
	struct bench *b = bench_bare(packed);

	rig_mem_config(b->rig, &memory);
	memory.device.queue_size = N;
	rig_pmem_config(b->rig, &pmem);
	pmem.device.queue_size = N;
	if (mem)
		rig_make_mem(b->rig, &memory);
	else
		rig_make_pmem(b->rig, &pmem);
	drv_start(b->rig, VMEMDEV_F_EVENT_IDX);
	watch_start(&b->rig->memory);
	return b;
}

static void bench_close(struct bench *b)
{
	watch.region_count = 0;
	rig_free(b->rig);
	free(b->spare);
	free(b);
}

/* As a guest that has fragmented its memory map: every other page is never to be dropped. */
static void single_pages(struct bench *b, uint32_t pages)
{
	b->spare = calloc(pages + 1, sizeof(*b->spare));
	assert_non_null(b->spare);
	b->spare[0] = b->rig->memory.regions[0];
	for (uint32_t i = 0; i < pages; i++) {
		b->spare[i + 1] = (struct vmemdev_region){
			.gpa = SPARE_GPA + i * PAGE, .len = PAGE,
			.host = (void *)(uintptr_t)PAGE,
			.flags = i % 2 ? VMEMDEV_REGION_KEEP : 0};
	}
	assert_int_equal(vmemdev_guest_set_regions(&b->rig->memory.guest, b->spare, pages + 1), 0);
}

/* A chain of @count buffers of @len bytes, one after the other from @gpa. */
static void post_list(struct bench *b, uint16_t queue, uint64_t gpa, uint32_t count, uint32_t len,
		      bool writable)
{
	struct vmemdev_buf *bufs = calloc(count, sizeof(*bufs));

	assert_non_null(bufs);
	for (uint32_t i = 0; i < count; i++)
		bufs[i] = (struct vmemdev_buf){gpa + (uint64_t)i * len, len, writable};
	drv_add(b->rig, queue, bufs, count);
	drv_kick(b->rig, queue);
	free(bufs);
}

static uint64_t larger(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* Run with a budget of one until nothing is left, and keep the most that a run did. */
static void run_out(struct bench *b)
{
	uint64_t calls = 0, ranges = 0;
	int left;

	do {
		b->calls = b->ranges = 0;
		count_from_here(&b->rig->memory);
		left = rig_step(b->rig, 1);
		b->reads = larger(b->reads, watch.reads);
		b->bytes = larger(b->bytes, watch.bytes_read);
		calls = larger(calls, b->calls);
		ranges = larger(ranges, b->ranges);
		b->runs++;
		assert_true(b->runs < 200000);
	} while (left > 0);
	assert_int_equal(left, 0);
	b->calls = calls;
	b->ranges = ranges;
}

static void write_numbers(struct bench *b, uint32_t count, uint32_t step)
{
	uint32_t first = (uint32_t)(SPARE_GPA / PAGE);

	for (uint32_t i = 0; i < count; i++)
		guest_store32(&b->rig->memory, BUF + 4 * (uint64_t)i, first + i * step);
}

/* A unit pays for 256 numbers: for the @descs descriptors that these can be cut into at most, and
 * a copy for each, or for 64 numbers; and for 256 stretches of memory, with 256 for the run. */
#define NUMBERS_READS(descs) (2 * (descs) + 256 / 64 + SMALL_RUN)
#define STRETCHES (2 * 256)

static void numbers_row(bool packed, uint32_t scratch, uint32_t count, uint32_t len,
			uint32_t descs, const char *worst)
{
	struct bench *b = bench_balloon(packed, scratch, true);

	single_pages(b, 4096);
	write_numbers(b, N, 2);
	post_list(b, INFLATEQ, BUF, count, len, false);
	run_out(b);
	say("run(1), inflate", packed, worst, "reads", b->reads,
	    NUMBERS_READS(descs));
	say("run(1), inflate", packed, worst, "calls", b->calls, STRETCHES / scratch + 1);
	say("run(1), inflate", packed, worst, "ranges", b->ranges, STRETCHES);
	bench_close(b);
}

/* shows: HOST-BAL-07 HOST-REG-21 */
static void HOST_BAL_07_what_a_unit_pays_for_of_page_numbers(void **state)
{
	(void)state;
	for (uint32_t packed = 0; packed < FORMATS; packed++) {
		numbers_row(packed, 256, N, 0, N / 2, "32,768 empty buffers");
		numbers_row(packed, 256, N, 1, 4 * 256, "a byte a descriptor");
		numbers_row(packed, 256, N, 4, 256, "a number a descriptor");
		numbers_row(packed, 1, N, 4, 256, "a number, a range, a call each");
		numbers_row(packed, 256, 1, 4 * N, 1, "one array of 32,768 numbers");
	}
}

/* Where nobody asks what is deflated, a unit pays for passing over the chain. */
/* shows: BAL-DEF-02 HOST-REG-21 */
static void HOST_REG_21_chains_that_are_passed_over(void **state)
{
	(void)state;
	for (uint32_t packed = 0; packed < FORMATS; packed++) {
		struct bench *b = bench_balloon(packed, 256, false);

		post_list(b, DEFLATEQ, BUF, N, 4, false);
		run_out(b);
		say("run(1), deflate", packed, "32,768 descriptors, no callback", "reads",
		    b->reads, N + SMALL_RUN);
		say("run(1), deflate", packed, "32,768 descriptors, no callback", "calls", b->calls,
		    0);
		bench_close(b);
	}
}

/* Free ranges, of which each covers thousands of stretches that are alternately memory. */
/* shows: HOST-BAL-13 HOST-REG-21 */
static void HOST_BAL_13_what_a_unit_pays_for_of_free_ranges(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < FORMATS * 2; i++) {
		struct bench *b = bench_balloon(i & 1, 256, true);
		uint16_t queue = i & 2 ? HINTQ : REPORTQ;
		const char *name = i & 2 ? "run(1), hints" : "run(1), reports";

		single_pages(b, 8192);
		if (i & 2) {
			assert_int_equal(vmemdev_balloon_hint_start(&b->rig->balloon), 0);
			guest_store32(&b->rig->memory, BUF,
				      guest_driver_config32(&b->rig->driver, BAL_CMD_ID));
			post_list(b, queue, BUF, 1, 4, false);
		}
		post_list(b, queue, SPARE_GPA, 2, UINT32_C(0x80000000), true);
		post_list(b, queue, SPARE_GPA, 4096, (uint32_t)PAGE, true);
		run_out(b);
		say(name, i & 1, "ranges of 2 GiB in single pages", "ranges", b->ranges, STRETCHES);
		say(name, i & 1, "ranges of 2 GiB in single pages", "reads", b->reads,
		    64 + SMALL_RUN);
		assert_true(b->ranges > 100);
		bench_close(b);
	}
}

/* As single_pages(), of a host without a table. */
static uint64_t every_other_page(void *ctx, uint64_t gpa, uint64_t len, bool *discardable)
{
	struct guest_memory *mem = ctx;

	mem->run_calls++;
	*discardable = gpa / PAGE % 2;
	return len < PAGE ? len : PAGE;
}

/* Such a host answers for each stretch, and for where the next begins. */
/* shows: HOST-BAL-13 HOST-REG-21 */
static void HOST_BAL_13_look_ups_of_a_host_without_a_table(void **state)
{
	const struct guest_region ram = {.gpa = RAM_GPA, .len = BIG_RAM};

	(void)state;
	for (uint32_t packed = 0; packed < FORMATS; packed++) {
		struct bench *b = bench_bare(packed);
		struct vmemdev_balloon_config config;
		uint64_t most = 0;

		guest_memory_close(&b->rig->memory);
		guest_memory_open(&b->rig->memory, GUEST_CALLBACKS, &ram, 1);
		b->rig->memory.ops.run = every_other_page;
		rig_balloon_full_config(b->rig, &config);
		rig_make_balloon(b->rig, &config);
		drv_start(b->rig, BALLOON_FULL);
		post_list(b, REPORTQ, SPARE_GPA, 2, UINT32_C(0x80000000), true);
		do {
			b->rig->memory.run_calls = 0;
			b->ranges = 0;
			b->runs = (uint32_t)rig_step(b->rig, 1);
			most = larger(most, b->rig->memory.run_calls);
		} while (b->runs == 1);
		say("run(1), reports", packed, "2 GiB in single pages, callbacks", "look-ups", most,
		    2 * STRETCHES + SMALL);
		assert_true(most > 256);
		bench_close(b);
	}
}

/* shows: HOST-BAL-09 HOST-REG-21 */
static void HOST_BAL_09_what_a_unit_pays_for_of_statistics(void **state)
{
	(void)state;
	for (uint32_t packed = 0; packed < FORMATS; packed++) {
		struct bench *b = bench_balloon(packed, 256, true);

		post_list(b, STATSQ, BUF, N, 1, false);
		run_out(b);
		say("run(1), statistics", packed, "a byte a descriptor", "reads", b->reads,
		    N + 2560 + SMALL_RUN);
		say("run(1), statistics", packed, "a byte a descriptor", "calls", b->calls,
		    256 + 1);
		bench_close(b);
	}
}

/* shows: HOST-VQ-12 HOST-REG-21 */
static void HOST_REG_21_a_queue_full_of_empty_chains(void **state)
{
	const struct vmemdev_buf buf = {.gpa = BUF};

	(void)state;
	for (uint32_t packed = 0; packed < FORMATS; packed++) {
		struct bench *b = bench_balloon(packed, 256, true);

		while (guest_queue_add(&b->rig->driver.queues[INFLATEQ], &buf, 1, NULL) >= 0)
			;
		guest_queue_publish(&b->rig->driver.queues[INFLATEQ]);
		drv_kick(b->rig, INFLATEQ);
		run_out(b);
		say("run(1), inflate", packed, "32,768 empty chains", "reads", b->reads, SMALL_RUN);
		say("all runs", packed, "32,768 empty chains", "runs", b->runs, N + 1);
		bench_close(b);
	}
}

/* A request cut into bytes, behind and before as many empty buffers as fit. */
static void post_request(struct bench *b, uint32_t readable, uint32_t writable)
{
	struct vmemdev_buf *bufs = calloc(N, sizeof(*bufs));
	uint32_t half = N / 2, at = half - readable;

	assert_non_null(bufs);
	for (uint32_t i = 0; i < N; i++) {
		bufs[i] = (struct vmemdev_buf){BUF, 0, i >= half};
		if (i >= at && i < half)
			bufs[i] = (struct vmemdev_buf){BUF + i - at, 1, 0};
		if (i >= N - writable)
			bufs[i] = (struct vmemdev_buf){BUF + 64 + i, 1, 1};
	}
	drv_add(b->rig, 0, bufs, N);
	drv_kick(b->rig, 0);
	free(bufs);
}

/* shows: HOST-MEM-08 HOST-REG-21 */
static void HOST_MEM_08_what_a_unit_pays_for_of_requests(void **state)
{
	(void)state;
	for (uint32_t packed = 0; packed < FORMATS; packed++) {
		struct bench *b = bench_other(packed, true);
		uint8_t raw[24] = {0};

		mem_want(b->rig, MEM_REGION);
		put64(raw + 8, MEM_GPA);
		put16(raw + 16, MEM_BLOCKS);
		assert_true(guest_write(&b->rig->memory, BUF, raw, sizeof(raw)));
		post_request(b, 24, 10);
		run_out(b);
		assert_true(mem_sizes(b->rig).plugged == MEM_REGION);
		say("run(1), mem", packed, "a plug in bytes and empty buffers", "reads", b->reads,
		    N + 24 + SMALL_RUN);
		say("run(1), mem", packed, "a plug in bytes and empty buffers", "calls", b->calls,
		    2);
		bench_close(b);
	}
}

/* shows: HOST-PMEM-03 HOST-REG-21 */
static void HOST_PMEM_03_what_a_unit_pays_for_of_flushes(void **state)
{
	const struct vmemdev_buf bufs[2] = {{BUF, 4, 0}, {BUF + 64, 4, 1}};

	(void)state;
	for (uint32_t packed = 0; packed < FORMATS; packed++) {
		struct bench *b = bench_other(packed, false);

		post_request(b, 4, 4);
		run_out(b);
		say("run(1), pmem", packed, "a flush in bytes and empty buffers", "reads", b->reads,
		    N + 4 + SMALL_RUN);
		say("run(1), pmem", packed, "a flush in bytes and empty buffers", "calls", b->calls,
		    1);
		bench_close(b);

		/* All answers of a flush come at once: as many as the host gave requests. */
		b = bench_other(packed, false);
		b->rig->host.answer = VMEMDEV_LATER;
		for (uint32_t i = 0; i < 4 * PMEM_REQUESTS; i++)
			drv_add(b->rig, 0, bufs, 2);
		drv_kick(b->rig, 0);
		assert_int_equal(rig_step(b->rig, 1000), 0);
		b->rig->host.answer = 0;
		assert_int_equal(rig_complete(b->rig, b->rig->host.token, 0), 0);
		watch.pushed = 0;
		assert_int_equal(rig_step(b->rig, 1), 1);
		say("run(1), pmem", packed, "the end of a flush", "answers", watch.pushed,
		    PMEM_REQUESTS + 1);
		bench_close(b);
	}
}

static uint32_t told;

static int on_listen_plug(void *ctx, const struct vmemdev_range *ranges, uint32_t count)
{
	(void)ctx;
	(void)ranges;
	told += count;
	return 0;
}

static void on_listen_unplug(void *ctx, const struct vmemdev_range *ranges, uint32_t count)
{
	(void)ctx;
	(void)ranges;
	told += count;
}

/* shows: HOST-MEM-08 HOST-REG-21 */
static void HOST_MEM_08_unplug_all_of_the_most_runs(void **state)
{
	struct vmemdev_mem_listener listener = {.plug = on_listen_plug, .unplug = on_listen_unplug};

	(void)state;
	for (uint32_t packed = 0; packed < FORMATS; packed++) {
		struct bench *b = bench_other(packed, true);
		struct request request;

		mem_want(b->rig, MEM_REGION);
		for (uint32_t i = 0; i < MEM_BLOCKS; i += 2)
			mem_expect(b->rig, GUEST_MEM_PLUG, BLOCK(i), 1, GUEST_MEM_ACK);
		assert_int_equal(vmemdev_mem_listen(&b->rig->mem, &listener), 0);
		told = 0;
		request_make(&request, GUEST_MEM_UNPLUG_ALL, 0, 0);
		request_post(b->rig, 0, &request);
		drv_kick(b->rig, 0);
		run_out(b);
		say("run(1), mem", packed, "unplug-all of every other block", "told", told,
		    MEM_BLOCKS / 2);
		say("run(1), mem", packed, "unplug-all of every other block", "ranges", b->ranges,
		    VMEMDEV_MEM_RANGES);
		assert_int_equal(told, MEM_BLOCKS / 2);
		bench_close(b);
	}
}

/* What is not a run reads nothing of the guest's memory but, once, whether to notify. */
/* shows: HOST-REG-21 */
static void HOST_REG_21_registers_resets_and_records_read_no_memory(void **state)
{
	uint8_t record[4096], bytes[64] = {0};
	struct vmemdev_vq_state stopped;
	size_t len;

	(void)state;
	for (uint32_t packed = 0; packed < FORMATS; packed++) {
		struct bench *b = bench_balloon(packed, 256, true);

		post_list(b, INFLATEQ, BUF, N, 4, false);
		count_from_here(&b->rig->memory);
		vmemdev_device_kick(b->rig->dev, INFLATEQ);
		vmemdev_device_config_write(b->rig->dev, 0, bytes, sizeof(bytes));
		assert_int_equal(vmemdev_device_save(b->rig->dev, record, sizeof(record), &len), 0);
		assert_int_equal(vmemdev_device_queue_stop(b->rig->dev, DEFLATEQ, &stopped), 0);
		vmemdev_device_queue_reset(b->rig->dev, STATSQ);
		drv_reset(b->rig);
		say("reset, stop, save ...", packed, "a queue full", "reads", watch.reads, 1);
		bench_close(b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(HOST_VQ_04_a_walk_ends_with_the_queue),
		cmocka_unit_test(HOST_VQ_12_empty_buffers_cost_a_step_each),
		cmocka_unit_test(HOST_VQ_05_copies_take_what_was_asked_for),
		cmocka_unit_test(HOST_VQ_10_the_longest_table_costs_no_more_than_the_queue),
		cmocka_unit_test(HOST_VQ_17_events_that_are_always_hit),
		cmocka_unit_test(HOST_BAL_07_what_a_unit_pays_for_of_page_numbers),
		cmocka_unit_test(HOST_REG_21_chains_that_are_passed_over),
		cmocka_unit_test(HOST_BAL_13_what_a_unit_pays_for_of_free_ranges),
		cmocka_unit_test(HOST_BAL_13_look_ups_of_a_host_without_a_table),
		cmocka_unit_test(HOST_BAL_09_what_a_unit_pays_for_of_statistics),
		cmocka_unit_test(HOST_REG_21_a_queue_full_of_empty_chains),
		cmocka_unit_test(HOST_MEM_08_what_a_unit_pays_for_of_requests),
		cmocka_unit_test(HOST_PMEM_03_what_a_unit_pays_for_of_flushes),
		cmocka_unit_test(HOST_MEM_08_unplug_all_of_the_most_runs),
		cmocka_unit_test(HOST_REG_21_registers_resets_and_records_read_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
