/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The balloon against the simplest possible model, a flag a page, over random page numbers,
 * memory maps with holes, kept regions and unplugged blocks, any scratch size and budget.
 */
#include "device_rig.h"

/* The map beyond RAM, at 32 MiB: pieces of 16 pages, some memory, some not. */
#define MAP_GPA UINT64_C(0x2000000)
#define MAP_PFN ((uint32_t)(MAP_GPA / PAGE))
#define MAP_PAGES 512u
#define PIECE_PAGES 16u
#define BLOCK_SHIFT 14 /* of the region with a bitmap: 4 pages */

struct run {
	struct rig *rig;
	struct guest_random random;
	bool discardable[MAP_PAGES];
	bool expected[2][MAP_PAGES]; /* by queue: named and discardable */
	bool seen[2][MAP_PAGES];
	uint64_t blocks[1];
	struct vmemdev_region table[5];
	uint32_t scratch;
	bool later; /* the host answers LATER now and then */
	uint64_t named;
};

/* Two plain regions with a hole between, a kept one, one of which only some blocks exist. */
static const struct guest_region map_regions[] = {
	{.gpa = RAM_GPA, .len = RAM_SIZE},
	{.gpa = MAP_GPA + 1 * PIECE_PAGES * PAGE, .len = 4 * PIECE_PAGES * PAGE},
	{.gpa = MAP_GPA + 5 * PIECE_PAGES * PAGE, .len = 2 * PIECE_PAGES * PAGE,
	 .flags = VMEMDEV_REGION_KEEP},
	{.gpa = MAP_GPA + 9 * PIECE_PAGES * PAGE, .len = 8 * PIECE_PAGES * PAGE},
	{.gpa = MAP_GPA + 17 * PIECE_PAGES * PAGE, .len = 15 * PIECE_PAGES * PAGE},
};

static void mark(struct run *run, uint32_t region, bool discardable)
{
	uint64_t first = map_regions[region].gpa / PAGE - MAP_PFN;

	for (uint64_t i = 0; i < map_regions[region].len / PAGE; i++) {
		uint64_t block = i * PAGE >> BLOCK_SHIFT;

		run->discardable[first + i] =
			discardable && (region != 3 || run->blocks[0] >> block & 1);
	}
}

static void make_map(struct run *run)
{
	memcpy(run->table, run->rig->memory.regions, sizeof(run->table));
	run->blocks[0] = guest_random_next(&run->random) ^
			 guest_random_next(&run->random) << 32;
	run->table[3].blocks = run->blocks;
	run->table[3].block_shift = BLOCK_SHIFT;
	memset(run->discardable, 0, sizeof(run->discardable));
	mark(run, 1, true);
	mark(run, 3, true);
	mark(run, 4, true);
	assert_int_equal(vmemdev_guest_set_regions(&run->rig->memory.guest, run->table, 5), 0);
}

/* Each page that the host sees was named on that queue and may be discarded. */
static void check_host_call(struct rig *rig, const struct host_call *call)
{
	struct run *run = rig->ctx;
	int queue = call->op == HOST_DEFLATE;

	assert_true(call->count <= run->scratch);
	for (uint32_t i = 0; i < call->count; i++) {
		const struct vmemdev_range *range = &call->live[i];

		assert_true(range->len > 0 && range->len % PAGE == 0 && range->gpa % PAGE == 0);
		for (uint64_t at = range->gpa; at < range->gpa + range->len; at += PAGE) {
			uint64_t page = at / PAGE - MAP_PFN;

			assert_true(at >= MAP_GPA && page < MAP_PAGES);
			assert_true(run->expected[queue][page]);
			run->seen[queue][page] = true;
		}
	}
	rig->host.answer = 0;
	if (run->later && guest_random_below(&run->random, 2))
		rig->host.answer = VMEMDEV_LATER;
	else if (guest_random_below(&run->random, 10) == 0)
		rig->host.answer = VMEMDEV_E_HOST;
}

/* More than one unit of budget pays for, so that chains stay half read between runs. */
#define NUMBERS_MAX 700u

/* Page numbers as guests make them: runs up and down, single ones, some far away. */
static uint32_t random_numbers(struct run *run, uint32_t *pfns)
{
	uint32_t count = 0, limit = 1 + guest_random_below(&run->random, NUMBERS_MAX);

	while (count < limit) {
		uint32_t at = MAP_PFN + guest_random_below(&run->random, MAP_PAGES);
		uint32_t length = 1 + guest_random_below(&run->random, 40);
		bool down = guest_random_below(&run->random, 2);

		if (guest_random_below(&run->random, 30) == 0)
			at = (uint32_t)guest_random_next(&run->random) | 0x80000000;
		for (uint32_t i = 0; i < length && count < limit; i++)
			pfns[count++] = down ? at - i : at + i;
	}
	return count;
}

static void post_random(struct run *run, uint16_t queue)
{
	uint32_t pfns[NUMBERS_MAX];
	uint32_t count = random_numbers(run, pfns);

	for (uint32_t i = 0; i < count; i++) {
		uint32_t page = pfns[i] - MAP_PFN;

		if (page < MAP_PAGES && run->discardable[page])
			run->expected[queue][page] = true;
	}
	run->named += count;
	pages_post(run->rig, queue, pfns, count);
}

static void serve(struct run *run, uint32_t budget)
{
	struct rig *rig = run->rig;
	uint32_t turns = 0;

	do {
		int left = rig_step(rig, budget);

		assert_true(left >= 0);
		if (left == 0 && rig->host.answer == VMEMDEV_LATER) {
			rig->host.answer = 0;
			assert_int_equal(rig_complete(rig, rig->host.token, 0), 0);
		}
		assert_true(++turns < 20000);
	} while (vmemdev_device_pending(rig->dev));
}

static void one_round(struct run *run)
{
	static const uint32_t budgets[] = {1, 2, 3, 7, 64, 1000};
	struct rig *rig = run->rig;
	uint64_t mark_at = guest_place_mark(&rig->memory);
	uint32_t chains = 1 + guest_random_below(&run->random, 8);
	uint32_t posted[2] = {0, 0};

	memset(run->expected, 0, sizeof(run->expected));
	memset(run->seen, 0, sizeof(run->seen));
	for (uint32_t i = 0; i < chains; i++) {
		uint16_t queue = (uint16_t)guest_random_below(&run->random, 2);

		post_random(run, queue);
		posted[queue]++;
	}
	drv_kick(rig, INFLATEQ);
	drv_kick(rig, DEFLATEQ);
	serve(run, budgets[guest_random_below(&run->random, ARRAY_LEN(budgets))]);
	assert_memory_equal(run->seen, run->expected, sizeof(run->seen));
	assert_int_equal(drv_used_count(rig, INFLATEQ), posted[INFLATEQ]);
	assert_int_equal(drv_used_count(rig, DEFLATEQ), posted[DEFLATEQ]);
	guest_place_release(&rig->memory, mark_at);
}

static void run_model(void **state, uint32_t scratch, uint64_t seed, uint32_t rounds)
{
	struct run run = {.rig = *state, .scratch = scratch};
	struct vmemdev_balloon_config config;

	print_message("seed %llu, scratch %u\n", (unsigned long long)seed, scratch);
	guest_random_seed(&run.random, seed);
	rig_balloon_config(run.rig, &config);
	config.range_count = scratch;
	rig_make_balloon(run.rig, &config);
	run.rig->ctx = &run;
	run.rig->host.hook = check_host_call;
	drv_start(run.rig, 0);
	for (uint32_t i = 0; i < rounds; i++) {
		if (i % 20 == 0)
			make_map(&run);
		run.later = i / 100 % 2;
		one_round(&run);
	}
	assert_true(run.named > rounds);
	assert_int_equal(run.rig->errors, 0);
}

static int setup_map(void **state)
{
	*state = rig_bare_regions(*state, map_regions, ARRAY_LEN(map_regions));
	return 0;
}

/* shows: BAL-INF-07 BAL-DEF-02 HOST-BAL-01 HOST-BAL-02 HOST-BAL-03 HOST-BAL-04 HOST-REG-21 */
static void BAL_INF_07_scratch_of_1(void **state)
{
	run_model(state, 1, 101, 600);
}

/* shows: BAL-INF-07 BAL-DEF-02 HOST-BAL-01 HOST-BAL-02 HOST-BAL-03 HOST-BAL-04 */
static void BAL_INF_07_scratch_of_2(void **state)
{
	run_model(state, 2, 102, 600);
}

/* shows: BAL-INF-07 BAL-DEF-02 HOST-BAL-01 HOST-BAL-02 HOST-BAL-03 HOST-BAL-04 */
static void BAL_INF_07_scratch_of_16(void **state)
{
	run_model(state, 16, 103, 1000);
}

/* shows: BAL-INF-07 BAL-DEF-02 HOST-BAL-01 HOST-BAL-02 HOST-BAL-03 HOST-BAL-04 */
static void BAL_INF_07_scratch_of_256(void **state)
{
	run_model(state, 256, 104, 2000);
}

/* Ascending numbers: the ranges must be exactly the maximal runs, each once. */
/* shows: BAL-INF-07 */
static void BAL_INF_07_sorted_numbers_give_the_fewest_ranges(void **state)
{
	struct run run = {.rig = *state, .scratch = 256};
	struct vmemdev_balloon_config config;

	guest_random_seed(&run.random, 105);
	rig_balloon_config(run.rig, &config);
	rig_make_balloon(run.rig, &config);
	run.rig->ctx = &run;
	make_map(&run);
	drv_start(run.rig, 0);
	for (uint32_t round = 0; round < 400; round++) {
		uint32_t pfns[256], count = 0, ranges = 0;
		uint32_t first = (uint32_t)map_regions[4].gpa / 4096;
		bool down = round & 1, before = false;

		for (uint32_t i = 0; i < 240; i++) {
			bool named = guest_random_below(&run.random, 4) != 0;

			if (named)
				pfns[count++] = down ? first + 239 - i : first + i;
			ranges += named && !before;
			before = named;
		}
		host_forget(run.rig);
		pages_send(run.rig, INFLATEQ, pfns, count);
		assert_int_equal(run.rig->host.count, 1);
		assert_int_equal(host_last(run.rig)->count, ranges);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_RINGS(BAL_INF_07_scratch_of_1, setup_map),
		TEST_RINGS(BAL_INF_07_scratch_of_2, setup_map),
		TEST_RINGS(BAL_INF_07_scratch_of_16, setup_map),
		TEST_ALL(BAL_INF_07_scratch_of_256, setup_map),
		TEST_RINGS(BAL_INF_07_sorted_numbers_give_the_fewest_ranges, setup_map),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
