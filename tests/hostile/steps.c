/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The steps of each entry point: how many basic blocks of the library run (the compiler has it
 * call __sanitizer_cov_trace_pc() in each), for N of what its header says that it works by and
 * for 2 N. From the one to the other they may grow by so many a unit, and not at all where the
 * header says that there is no such unit. What the blocks of a unit are is the compiler's doing, so
 * the factors have room; a loop over bits in place of words, or over a table in place of a look-up,
 * has none. What memset() and memcpy() do is not seen. bounds.c counts reads of guest memory and
 * host calls.
 */
#include "../unit/device_rig.h"

static uint64_t steps;

void __sanitizer_cov_trace_pc(void);
void __sanitizer_cov_trace_pc(void)
{
	steps++;
}

#define WORDS_MAX 32768u
static uint64_t words[WORDS_MAX];

#define COUNT(call) (steps = 0, (void)(call), steps)

static uint64_t larger(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* A memory device of @blocks blocks, all of them wanted. */
static struct rig *mem_open(uint64_t blocks)
{
	struct rig *rig = rig_bare(&ways[0]);
	struct vmemdev_mem_config config;

	rig_mem_config(rig, &config);
	config.region_size = blocks * MEM_BLOCK;
	config.bitmap = words;
	config.bitmap_words = WORDS_MAX;
	rig_make_mem(rig, &config);
	drv_start(rig, 0);
	mem_want(rig, blocks * MEM_BLOCK);
	return rig;
}

static uint64_t freed(struct rig *rig, uint64_t counted)
{
	rig_free(rig);
	return counted;
}

static void post(struct rig *rig, uint16_t type, uint64_t blocks)
{
	struct request request;

	request_make(&request, type, type == GUEST_MEM_UNPLUG_ALL ? 0 : MEM_GPA, (uint16_t)blocks);
	request_post(rig, 0, &request);
	drv_kick(rig, 0);
}

static uint64_t ask(struct rig *rig, uint16_t type, uint64_t blocks)
{
	uint64_t counted;

	post(rig, type, blocks);
	counted = COUNT(rig_step(rig, 1));
	assert_int_equal(request_take(rig, 0).type, GUEST_MEM_ACK);
	return counted;
}

static void plug_every_other(struct rig *rig, uint64_t runs)
{
	for (uint64_t i = 0; i < runs; i++)
		mem_expect(rig, GUEST_MEM_PLUG, BLOCK(2 * i), 1, GUEST_MEM_ACK);
}

/* Requests: for each 64 blocks. */

static uint64_t mem_plug(uint64_t n)
{
	struct rig *rig = mem_open(64 * n);

	return freed(rig, ask(rig, GUEST_MEM_PLUG, 64 * n));
}

static uint64_t mem_unplug(uint64_t n)
{
	struct rig *rig = mem_open(64 * n);

	(void)ask(rig, GUEST_MEM_PLUG, 64 * n);
	return freed(rig, ask(rig, GUEST_MEM_UNPLUG, 64 * n));
}

static uint64_t mem_state(uint64_t n)
{
	struct rig *rig = mem_open(64 * n);

	return freed(rig, ask(rig, GUEST_MEM_STATE, 64 * n));
}

static uint64_t mem_complete(uint64_t n)
{
	struct rig *rig = mem_open(64 * n);

	rig->host.answer = VMEMDEV_LATER;
	post(rig, GUEST_MEM_PLUG, 64 * n);
	assert_int_equal(rig_step(rig, 1), 0);
	rig->host.answer = 0;
	return freed(rig, COUNT(rig_complete(rig, rig->host.token, 0)));
}

/* Of everything: for each 64 blocks and each run. */

static uint64_t mem_unplug_all(uint64_t n)
{
	struct rig *rig = mem_open(2 * n);

	plug_every_other(rig, n);
	return freed(rig, ask(rig, GUEST_MEM_UNPLUG_ALL, 0));
}

static uint64_t mem_system_reset(uint64_t n)
{
	struct rig *rig = mem_open(2 * n);
	uint64_t counted;

	plug_every_other(rig, n);
	rig->window = true;
	counted = COUNT(vmemdev_device_system_reset(rig->dev));
	return freed(rig, counted);
}

static int hear_plug(void *ctx, const struct vmemdev_range *ranges, uint32_t count)
{
	(void)ctx;
	(void)ranges;
	(void)count;
	return 0;
}

static void hear_unplug(void *ctx, const struct vmemdev_range *ranges, uint32_t count)
{
	(void)ctx;
	(void)ranges;
	(void)count;
}

static uint64_t mem_listen(uint64_t n)
{
	struct vmemdev_mem_listener listener = {.plug = hear_plug, .unplug = hear_unplug};
	struct rig *rig = mem_open(2 * n);
	uint64_t counted;

	plug_every_other(rig, n);
	counted = COUNT(vmemdev_mem_listen(&rig->mem, &listener));
	return freed(rig, larger(counted, COUNT(vmemdev_mem_unlisten(&rig->mem, &listener))));
}

static uint64_t mem_next(uint64_t n)
{
	struct rig *rig = mem_open(64 * n);
	struct vmemdev_range run;

	return freed(rig, COUNT(vmemdev_mem_next(&rig->mem, 0, true, &run)));
}

static uint64_t mem_init(uint64_t n)
{
	struct rig *rig = rig_bare(&ways[0]);
	struct vmemdev_mem_config config;

	rig_mem_config(rig, &config);
	config.region_size = 64 * n * MEM_BLOCK;
	config.bitmap = words;
	config.bitmap_words = WORDS_MAX;
	return freed(rig, COUNT(vmemdev_mem_init(&rig->mem, sizeof(rig->mem), &config)));
}

/* The worst region to write down: each block differs from the one before. */
static uint64_t mem_record(uint64_t n, bool load)
{
	struct rig *rig = mem_open(64 * n);
	size_t len, size = vmemdev_device_save_size(rig->dev);
	uint8_t *record = malloc(size);
	uint64_t counted;

	assert_non_null(record);
	plug_every_other(rig, 32 * n);
	counted = COUNT(vmemdev_device_save(rig->dev, record, size, &len));
	if (load) {
		rig_free(rig);
		rig = mem_open(64 * n);
		drv_reset(rig);
		steps = 0;
		assert_int_equal(vmemdev_device_load(rig->dev, record, len), 0);
		counted = steps;
	}
	free(record);
	return freed(rig, counted);
}

static uint64_t mem_save(uint64_t n)
{
	return mem_record(n, false);
}

static uint64_t mem_load(uint64_t n)
{
	return mem_record(n, true);
}

/* For each slot. */

static int map_slot(void *ctx, uint32_t slot, const struct vmemdev_range *range)
{
	(void)ctx;
	(void)slot;
	(void)range;
	return 0;
}

static void unmap_slot(void *ctx, uint32_t slot, const struct vmemdev_range *range)
{
	(void)map_slot(ctx, slot, range);
}

static uint64_t slots_all(uint64_t n, bool init)
{
	static uint64_t plugged[WORDS_MAX];
	const struct vmemdev_mem_slots_config config = {
		.struct_size = sizeof(config), .slot_count = (uint32_t)n, .slot_size = MEM_BLOCK,
		.plugged = plugged, .map = map_slot, .unmap = unmap_slot};
	struct rig *rig = mem_open(n);
	struct vmemdev_mem_slots slots;
	uint64_t counted, finished;

	if (init)
		(void)ask(rig, GUEST_MEM_PLUG, n);
	counted = COUNT(vmemdev_mem_slots_init(&slots, sizeof(slots), &rig->mem, &config));
	if (!init)
		counted = ask(rig, GUEST_MEM_PLUG, n);
	assert_int_equal(vmemdev_mem_slots_mapped(&slots), n);
	finished = COUNT(vmemdev_mem_slots_finish(&slots));
	return freed(rig, larger(counted, finished));
}

static uint64_t slots_init(uint64_t n)
{
	return slots_all(n, true);
}

static uint64_t slots_plug(uint64_t n)
{
	return slots_all(n, false);
}

/* Whatever the region is. */
static uint64_t mem_resize(uint64_t n)
{
	struct vmemdev_mem_resize_config config = {.struct_size = sizeof(config), .timeout = 5};
	struct vmemdev_mem_resize_progress progress;
	struct vmemdev_mem_resize resize = {0};
	struct rig *rig = mem_open(64 * n);
	uint64_t counted;

	counted = COUNT(vmemdev_mem_resize_start(&resize, sizeof(resize), &rig->mem, &config, 0));
	counted += COUNT(vmemdev_mem_resize_step(&resize, 9));
	counted += COUNT(vmemdev_mem_resize_cancel(&resize));
	return freed(rig, counted + COUNT(vmemdev_mem_resize_get(&resize, &progress)));
}

/* A balloon with a track of @n words, that of 64 pages each. */
static struct rig *balloon_open(uint64_t n)
{
	static struct vmemdev_balloon_track track;
	struct rig *rig = rig_bare(&ways[0]);
	struct vmemdev_balloon_config config;
	const struct guest_region spare = {.gpa = SPARE_GPA, .len = n * 64 * PAGE};

	rig_show_spare(rig, &spare, 1);
	rig_balloon_full_config(rig, &config);
	track = (struct vmemdev_balloon_track){.gpa = SPARE_GPA, .len = n * 64 * PAGE,
					       .words = words, .frame_shift = 12};
	config.tracks = &track;
	config.track_count = 1;
	config.must_tell_host = true;
	rig_make_balloon(rig, &config);
	drv_start(rig, BALLOON_FULL | VMEMDEV_BALLOON_F_MUST_TELL_HOST);
	return rig;
}

/* All pages of the track, 256 a request, from the last to the first. */
static void give_up(struct rig *rig, uint64_t n)
{
	uint32_t pages[256], first = (uint32_t)(SPARE_GPA / PAGE);

	for (uint64_t left = 64 * n; left > 0; left -= 256) {
		for (uint32_t i = 0; i < 256; i++)
			pages[i] = first + (uint32_t)left - 1 - i;
		pages_send(rig, INFLATEQ, pages, 256);
	}
}

static uint64_t balloon_reset(uint64_t n)
{
	struct rig *rig = balloon_open(n);

	give_up(rig, 4);
	rig->window = true;
	return freed(rig, COUNT(vmemdev_device_reset(rig->dev)));
}

static uint64_t balloon_given(uint64_t n)
{
	struct rig *rig = balloon_open(n);
	struct vmemdev_range range;
	uint32_t page = (uint32_t)(SPARE_GPA / PAGE + 64 * n - 1);

	pages_send(rig, INFLATEQ, &page, 1);
	steps = 0;
	assert_true(vmemdev_balloon_given(&rig->balloon, 0, &range));
	return freed(rig, steps);
}

static uint64_t balloon_forget(uint64_t n)
{
	struct rig *rig = balloon_open(n);
	const struct vmemdev_range all = {SPARE_GPA, n * 64 * PAGE};

	give_up(rig, 4);
	return freed(rig, COUNT(vmemdev_balloon_forget(&rig->balloon, &all)));
}

static uint64_t balloon_skip(uint64_t n)
{
	const struct vmemdev_range all = {0, n * 64 * PAGE};

	memset(words, 0xff, (size_t)n * 8);
	steps = 0;
	assert_true(vmemdev_balloon_skip(words, 0, n * 64, 12, &all, 1) == n * 64);
	return steps;
}

static uint64_t balloon_init(uint64_t n)
{
	struct rig *rig;

	steps = 0;
	rig = balloon_open(n);
	return freed(rig, steps);
}

static uint64_t balloon_load(uint64_t n)
{
	struct rig *rig = balloon_open(n);
	size_t len, size = vmemdev_device_save_size(rig->dev);
	uint8_t *record = malloc(size);

	assert_non_null(record);
	give_up(rig, 4);
	assert_int_equal(vmemdev_device_save(rig->dev, record, size, &len), 0);
	rig_free(rig);
	rig = balloon_open(n);
	drv_reset(rig);
	steps = 0;
	assert_int_equal(vmemdev_device_load(rig->dev, record, len), 0);
	free(record);
	return freed(rig, steps);
}

/* A unit of budget pays for a part of fixed size. */
static uint64_t balloon_catch_up(uint64_t n)
{
	struct rig *rig = balloon_open(n);
	uint64_t most = 0, runs = 0;
	int left;

	assert_int_equal(vmemdev_balloon_inhibit(&rig->balloon), 0);
	give_up(rig, n);
	assert_int_equal(vmemdev_balloon_uninhibit(&rig->balloon), 0);
	do {
		steps = 0;
		left = rig_step(rig, 1);
		most = larger(most, steps);
		runs++;
	} while (left > 0);
	assert_true(runs >= n * 64 * PAGE / 0x400000);
	return freed(rig, most);
}

static uint64_t balloon_complete(uint64_t n)
{
	struct rig *rig = balloon_open(n);
	uint32_t pages[256];

	for (uint32_t i = 0; i < 256; i++)
		pages[i] = (uint32_t)(SPARE_GPA / PAGE) + i * (uint32_t)(n / 64);
	rig->host.answer = VMEMDEV_LATER;
	pages_post(rig, INFLATEQ, pages, 256);
	drv_kick(rig, INFLATEQ);
	assert_int_equal(rig_step(rig, 1), 0);
	rig->host.answer = 0;
	return freed(rig, COUNT(rig_complete(rig, rig->host.token, 0)));
}

/* A table of @n regions behind the RAM. */
static struct vmemdev_region *many_regions(struct rig *rig, uint64_t n)
{
	struct vmemdev_region *table = calloc((size_t)n, sizeof(*table));

	assert_non_null(table);
	table[0] = rig->memory.regions[0];
	for (uint64_t i = 1; i < n; i++)
		table[i] = (struct vmemdev_region){
			.gpa = SPARE_GPA + 2 * i * PAGE, .len = PAGE, .host = table[0].host};
	return table;
}

/* The same, and devices see it. */
static struct vmemdev_region *show_regions(struct rig *rig, uint64_t n)
{
	struct vmemdev_region *table = many_regions(rig, n);

	assert_int_equal(vmemdev_guest_set_regions(&rig->memory.guest, table, (uint32_t)n), 0);
	return table;
}

static uint64_t guest_table(uint64_t n)
{
	struct rig *rig = rig_bare(&ways[0]);
	struct vmemdev_region *table = many_regions(rig, n);
	uint64_t counted;

	counted = COUNT(vmemdev_guest_set_regions(&rig->memory.guest, table, (uint32_t)n));
	free(table);
	return freed(rig, counted);
}

/* From a reset to a driver that runs, its ring found in a table of so many regions. */
static uint64_t driver_start(uint64_t n)
{
	struct rig *rig = rig_bare(&ways[2]);
	struct vmemdev_region *table = show_regions(rig, n);
	uint64_t counted;

	rig_make_pmem(rig, NULL);
	steps = 0;
	drv_start(rig, 0);
	counted = steps;
	free(table);
	return freed(rig, counted);
}

/* Any register, at any width, with any value. */
static uint64_t registers(uint64_t n)
{
	static const uint64_t values[] = {0, 1, 2, 0xf, 0xff, UINT64_MAX};
	struct rig *rig = rig_bare(&ways[2]);
	struct vmemdev_region *table = show_regions(rig, n);
	struct vmemdev_mmio *mmio = &rig->driver.mmio;
	uint64_t most = 0;

	rig_make_pmem(rig, NULL);
	drv_start(rig, 0);
	rig->window = true;
	for (uint64_t offset = 0x200; offset-- > 0;) {
		for (uint32_t i = 0; i < 4 * ARRAY_LEN(values); i++) {
			const uint32_t width = 1u << i % 4;

			most = larger(most, COUNT(vmemdev_mmio_read(mmio, offset, width)));
			steps = 0;
			vmemdev_mmio_write(mmio, offset, width, values[i / 4]);
			most = larger(most, steps);
		}
	}
	free(table);
	return freed(rig, most);
}

static uint64_t config_space(uint64_t n)
{
	struct rig *rig = mem_open(64);
	uint8_t bytes[8192] = {0};
	uint64_t counted;

	rig->window = true;
	counted = COUNT(vmemdev_device_config_read(rig->dev, 0, bytes, (uint32_t)n));
	return freed(rig, larger(counted,
				 COUNT(vmemdev_device_config_write(rig->dev, 0, bytes, (uint32_t)n))));
}

/* Stopping, going on and forgetting a queue in which that many chains are served and wait. */
static uint64_t queue_turns(uint64_t n)
{
	struct rig *rig = mem_open(64);
	const struct vmemdev_vq_layout layout = rig->driver.queues[0].layout;
	const struct vmemdev_buf bufs[2] = {{DATA_GPA, 24, 0}, {DATA_GPA + 64, 10, 1}};
	struct vmemdev_vq_state state;
	uint64_t most;

	for (uint64_t i = 0; i < n; i++)
		drv_add(rig, 0, bufs, 2);
	drv_kick(rig, 0);
	assert_true(rig_step(rig, (uint32_t)n / 2) >= 0);
	rig->window = true;
	most = COUNT(vmemdev_device_queue_stop(rig->dev, 0, &state));
	*vmemdev_device_queue_layout(rig->dev, 0) = layout;
	steps = 0;
	assert_int_equal(vmemdev_device_queue_resume(rig->dev, 0, &state), 0);
	most = larger(most, steps);
	return freed(rig, larger(most, COUNT(vmemdev_device_queue_reset(rig->dev, 0))));
}

/* One chain of @n buffers of a byte: walked, or read. */
static uint64_t chain_of(uint64_t n, bool packed, bool read)
{
	const struct guest_region ram = {.gpa = RAM_GPA, .len = RAM_SIZE};
	struct guest_queue_config config = {
		.size = 32768, .features = packed ? VMEMDEV_F_RING_PACKED : 0};
	struct vmemdev_buf *bufs = calloc((size_t)n, sizeof(*bufs));
	static uint8_t bytes[32768];
	struct guest_memory mem;
	struct guest_queue q;
	struct vmemdev_chain chain;
	struct vmemdev_held held;
	struct vmemdev_vq vq;

	assert_non_null(bufs);
	for (uint64_t i = 0; i < n; i++)
		bufs[i] = (struct vmemdev_buf){DATA_GPA + i, 1, 0};
	guest_memory_open(&mem, GUEST_TABLE, &ram, 1);
	guest_queue_open(&q, &mem, &config);
	assert_int_equal(vmemdev_vq_init(&vq, sizeof(vq), &mem.guest, 32768), 0);
	assert_int_equal(vmemdev_vq_enable(&vq, &q.layout, config.features), 0);
	assert_true(guest_queue_add(&q, bufs, (uint32_t)n, NULL) >= 0);
	guest_queue_publish(&q);
	steps = 0;
	assert_int_equal(vmemdev_vq_pop(&vq, &chain), 1);
	if (read)
		assert_int_equal(vmemdev_chain_read(&chain, bytes, (uint32_t)n), n);
	assert_int_equal(vmemdev_chain_finish(&chain, &held), 0);
	assert_int_equal(vmemdev_vq_push(&vq, &held, 0), 0);
	assert_int_equal(vmemdev_vq_publish(&vq), packed ? n : 1);
	(void)vmemdev_vq_should_notify(&vq);
	n = steps;
	guest_queue_close(&q);
	guest_memory_close(&mem);
	free(bufs);
	return n;
}

static uint64_t split_walk(uint64_t n)
{
	return chain_of(n, false, false);
}

static uint64_t split_read(uint64_t n)
{
	return chain_of(n, false, true);
}

static uint64_t packed_walk(uint64_t n)
{
	return chain_of(n, true, false);
}

static uint64_t packed_read(uint64_t n)
{
	return chain_of(n, true, true);
}

static uint64_t set_target(uint64_t n)
{
	struct rig *rig = rig_bare(&ways[0]);
	struct vmemdev_region *table = show_regions(rig, n);
	uint64_t counted;

	rig_make_balloon(rig, NULL);
	counted = COUNT(vmemdev_balloon_set_target(&rig->balloon, PAGE));
	free(table);
	return freed(rig, counted);
}

/* One unit of budget, 256 numbers in the last of @n tracks. */
static uint64_t many_tracks(uint64_t n)
{
	struct vmemdev_balloon_track *tracks = calloc((size_t)n, sizeof(*tracks));
	struct rig *rig = rig_bare(&ways[0]);
	struct vmemdev_balloon_config config;
	const struct guest_region spare = {.gpa = SPARE_GPA, .len = n * 1024 * PAGE};
	uint32_t pages[256];
	uint64_t counted;

	rig_show_spare(rig, &spare, 1);
	rig_balloon_config(rig, &config);
	for (uint64_t i = 0; i < n; i++)
		tracks[i] = (struct vmemdev_balloon_track){.gpa = SPARE_GPA + i * 1024 * PAGE,
			.len = 1024 * PAGE, .words = words + 16 * i, .frame_shift = 12};
	config.tracks = tracks;
	config.track_count = (uint32_t)n;
	config.must_tell_host = true;
	rig_make_balloon(rig, &config);
	drv_start(rig, VMEMDEV_BALLOON_F_MUST_TELL_HOST);
	for (uint32_t i = 0; i < 256; i++)
		pages[i] = (uint32_t)((SPARE_GPA + (n - 1) * 1024 * PAGE) / PAGE) + 2 * i;
	pages_post(rig, INFLATEQ, pages, 256);
	drv_kick(rig, INFLATEQ);
	counted = COUNT(rig_step(rig, 1));
	rig_free(rig);
	free(tracks);
	return counted;
}

struct row {
	const char *call, *unit;
	uint64_t (*measure)(uint64_t n);
	uint64_t n;     /* and twice that */
	uint64_t most;  /* steps for each unit; 0: the number does not matter */
};

static const struct row rows[] = {
	{"set_target", "a region", set_target, 1024, 12},
	{"run(1): 256 numbers", "a track", many_tracks, 64, 1536},
	{"run: plug", "64 blocks", mem_plug, 256, 24},
	{"run: unplug", "64 blocks", mem_unplug, 256, 24},
	{"run: state", "64 blocks", mem_state, 256, 24},
	{"mem_complete", "64 blocks", mem_complete, 256, 24},
	{"run: unplug all", "a run", mem_unplug_all, 256, 120},
	{"system_reset", "a run", mem_system_reset, 256, 120},
	{"mem_listen, unlisten", "a run", mem_listen, 256, 60},
	{"mem_next", "64 blocks", mem_next, 4096, 12},
	{"mem_init", "64 blocks", mem_init, 4096, 12},
	{"save, a memory device", "64 blocks", mem_save, 32, 60},
	{"load, a memory device", "64 blocks, 32 runs", mem_load, 32, 1920},
	{"slots_init, finish", "a slot", slots_init, 1024, 60},
	{"run: plug, with slots", "a slot", slots_plug, 1024, 60},
	{"mem_resize_*", "64 blocks", mem_resize, 256, 0},
	{"reset, a balloon", "64 pages", balloon_reset, 2048, 12},
	{"balloon_given", "64 pages", balloon_given, 2048, 12},
	{"balloon_forget", "64 pages", balloon_forget, 2048, 16},
	{"balloon_skip", "64 pages", balloon_skip, 2048, 16},
	{"init to DRIVER_OK, balloon", "64 pages", balloon_init, 2048, 24},
	{"load, a balloon", "64 pages", balloon_load, 2048, 40},
	{"run(1): catch-up", "64 pages", balloon_catch_up, 64, 0},
	{"balloon_complete", "64 pages", balloon_complete, 2048, 0},
	{"guest_set_regions", "a region", guest_table, 1024, 24},
	{"mmio_read, mmio_write", "a region", registers, 1024, 0},
	{"reset to DRIVER_OK", "a region", driver_start, 1024, 0},
	{"config_read, _write", "a byte", config_space, 1024, 24},
	{"queue_stop, _resume, _reset", "a chain", queue_turns, 32, 0},
	{"pop to notify, split", "a descriptor", split_walk, 8192, 40},
	{"the same, read", "a descriptor", split_read, 8192, 100},
	{"pop to notify, packed", "a descriptor", packed_walk, 8192, 40},
	{"the same, read", "a descriptor", packed_read, 8192, 100},
};

/* Sanitizers add blocks of their own. */
#ifdef FEWER_STEPS
#define ROOM 3
#else
#define ROOM 1
#endif

/* What the number of units has nothing to do with: steps at the start, and of chance. */
#define AT_FIRST 4000
#define CHANCE 40

/* shows: HOST-REG-21 */
static void HOST_REG_21_steps_grow_with_what_the_headers_name(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct row *row = &rows[i];
		uint64_t once = row->measure(row->n), twice = row->measure(2 * row->n);
		uint64_t grown = twice > once ? twice - once : 0, most = ROOM * row->most;

		print_message("%-28s %6u and %6u x %-18s %8u and %8u steps, %3u a unit of at most %u\n",
			      row->call, (unsigned int)row->n, (unsigned int)(2 * row->n), row->unit,
			      (unsigned int)once, (unsigned int)twice,
			      (unsigned int)(grown / row->n), (unsigned int)most);
		assert_true(once > 0);
		if (once > AT_FIRST + most * row->n || grown > most * row->n + CHANCE)
			fail_msg("%s takes more steps than its header says", row->call);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(HOST_REG_21_steps_grow_with_what_the_headers_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
