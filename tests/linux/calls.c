/* SPDX-License-Identifier: BSD-3-Clause */
/* How many system calls a discard makes, with the effect of each seen too. */
#include "linux/support.h"

#include <pthread.h>

#define SIZE (16 * MIB)

static uint8_t *make(struct vmemdev_linux_memory *memory, uint32_t backing)
{
	struct vmemdev_linux_ram_config config = ram_config(backing, SIZE);
	uint8_t *host = add_ram(memory, &config);

	fill(host, SIZE, 1);
	return host;
}

/* Every second page: nothing can be merged. */
static void scatter(struct vmemdev_range *ranges, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		ranges[i] = pages(2 * (uint64_t)i, 1);
}

static void one_call_discards_an_array(void **state)
{
	struct vmemdev_linux_memory *memory = *state;
	uint8_t *host = make(memory, VMEMDEV_LINUX_ANONYMOUS);
	struct vmemdev_range ranges[256];

	scatter(ranges, 256);
	discard(memory, ranges, 256);
	assert_int_equal(resident(host, SIZE), SIZE - 256 * page_size());
	if (kernel_vectors())
		assert_calls(memory, 1, 0, 0);
	else
		assert_calls(memory, 0, 256, 0);
}

static void single_calls_discard_range_by_range(void **state)
{
	struct vmemdev_linux_memory *memory = *state;
	uint8_t *host = make(memory, VMEMDEV_LINUX_ANONYMOUS);
	struct vmemdev_range ranges[256];

	scatter(ranges, 256);
	discard(memory, ranges, 256);
	assert_int_equal(resident(host, SIZE), SIZE - 256 * page_size());
	assert_calls(memory, 0, 256, 0);
}

static void holes_are_punched_range_by_range(void **state)
{
	struct vmemdev_linux_memory *memory = *state;
	struct vmemdev_range ranges[256];

	make(memory, VMEMDEV_LINUX_MEMFD);
	scatter(ranges, 256);
	discard(memory, ranges, 256);
	assert_int_equal(file_bytes(first_ram(memory)->fd), SIZE - 256 * page_size());
	assert_calls(memory, 0, 0, 256);
}

/* Orders in which neighbours come: one after the other up or down, mixed, twice. */
static void neighbours_take_one_call(struct vmemdev_linux_memory *memory, uint32_t backing,
				     uint64_t madvise, uint64_t fallocate)
{
	uint8_t *host = make(memory, backing);
	struct vmemdev_range ranges[4][256];

	for (uint32_t i = 0; i < 256; i++) {
		ranges[0][i] = pages(300 + i, 1);
		ranges[1][i] = pages(300 + 255 - i, 1);
		ranges[2][i] = pages(300 + i * 37 % 256, 1);
		ranges[3][i] = pages(300 + i / 2 * 2, 2); /* each second one is there twice */
	}
	for (uint64_t n = 0; n < 4; n++) {
		fill(host, SIZE, 1);
		discard(memory, ranges[n], 256);
		assert_int_equal(resident(host, SIZE), SIZE - 256 * page_size());
		assert_int_equal(resident(host + 300 * page_size(), 256 * page_size()), 0);
		assert_calls(memory, 0, (n + 1) * madvise, (n + 1) * fallocate);
		assert_int_equal(counts(memory).bytes, (n + 1) * 256 * page_size());
	}
}

static void private_neighbours_take_one_call(void **state)
{
	neighbours_take_one_call(*state, VMEMDEV_LINUX_ANONYMOUS, 1, 0);
}

static void shared_neighbours_take_one_call(void **state)
{
	neighbours_take_one_call(*state, VMEMDEV_LINUX_MEMFD, 0, 1);
}

/* Ranges that hop between stretches, as a guest with low and high memory sends them. */
static void private_stretches_share_a_call(void **state)
{
	struct vmemdev_linux_memory *memory = *state;
	struct vmemdev_linux_ram_config config = ram_config(VMEMDEV_LINUX_ANONYMOUS, 4 * MIB);
	struct vmemdev_range ranges[120];
	const uint64_t gpas[] = {16 * MIB, GIB, 2 * GIB, 3 * GIB};
	uint8_t *hosts[4];

	for (uint32_t i = 0; i < 4; i++) {
		config.gpa = gpas[i];
		config.backing = i == 1 ? VMEMDEV_LINUX_MEMFD : VMEMDEV_LINUX_ANONYMOUS;
		hosts[i] = add_ram(memory, &config);
		fill(hosts[i], config.size, 1);
	}
	for (uint32_t i = 0; i < 120; i++)
		ranges[i] = (struct vmemdev_range){gpas[i % 4] + i / 4 * 2 * page_size(), page_size()};
	discard(memory, ranges, 120);
	for (uint32_t i = 0; i < 4; i++)
		assert_int_equal(resident(hosts[i], config.size), config.size - 30 * page_size());
	if (kernel_vectors())
		assert_calls(memory, 1, 0, 30);
	else
		assert_calls(memory, 0, 90, 30);
}

static void a_longer_array_takes_more_calls(void **state)
{
	struct vmemdev_linux_memory *memory = *state;
	uint8_t *host = make(memory, VMEMDEV_LINUX_ANONYMOUS);
	static const uint32_t count = 1500;
	struct vmemdev_range *ranges = calloc(count, sizeof(*ranges));

	assert_non_null(ranges);
	scatter(ranges, count);
	discard(memory, ranges, count);
	free(ranges);
	assert_int_equal(resident(host, SIZE), SIZE - count * page_size());
	if (kernel_vectors())
		assert_calls(memory, 2, 0, 0);
	else
		assert_calls(memory, 0, count, 0);
}

/* Neighbours are joined as they come, so they do not use an array up. */
static void a_long_array_of_neighbours_takes_one_call(void **state)
{
	struct vmemdev_linux_memory *memory = *state;
	uint8_t *host = make(memory, VMEMDEV_LINUX_ANONYMOUS);
	static const uint32_t count = 1500;
	struct vmemdev_range *ranges = calloc(count, sizeof(*ranges));

	assert_non_null(ranges);
	for (uint32_t i = 0; i < count; i++)
		ranges[i] = pages(i, 1);
	discard(memory, ranges, count);
	for (uint32_t i = 0; i < count; i++)
		ranges[i] = pages(2 * (uint64_t)count - 1 - i, 1);
	discard(memory, ranges, count);
	free(ranges);
	assert_int_equal(resident(host, SIZE), SIZE - 2 * (uint64_t)count * page_size());
	assert_calls(memory, 0, 2, 0);
}

/* The kernel silently ends an array at 2 GiB, in the middle of a range. */
static void big_ranges_are_discarded_whole(void **state)
{
	struct vmemdev_linux_memory *memory = *state;
	struct vmemdev_linux_ram_config config = ram_config(VMEMDEV_LINUX_ANONYMOUS, 12 * GIB);
	const struct vmemdev_range ranges[] = {
		{RAM_GPA, 900 * MIB}, {RAM_GPA + GIB, 900 * MIB},             /* one call */
		{RAM_GPA + 2 * GIB, 900 * MIB}, {RAM_GPA + 3 * GIB, 900 * MIB}, /* one call */
		{RAM_GPA + 4 * GIB, 5 * GIB},                                 /* one madvise */
		{RAM_GPA + 10 * GIB, 2 * GIB - page_size()},                  /* one madvise */
	};
	uint8_t *host;

	if (sizeof(void *) < 8) {
		print_message("skipped: no room for 12 GiB in 32 bits\n");
		skip();
	}
	config.no_reserve = true;
	host = add_ram(memory, &config);
	for (uint64_t at = 0; at < config.size; at += 16 * MIB)
		host[at] = 1;
	host[config.size - 1] = 1;
	discard(memory, ranges, ARRAY_LEN(ranges));
	for (size_t i = 0; i < ARRAY_LEN(ranges); i++)
		assert_int_equal(resident(host + (ranges[i].gpa - RAM_GPA), ranges[i].len), 0);
	assert_int_equal(host[config.size - 1], 1);
	assert_int_equal(host[9 * GIB], 1);
	if (kernel_vectors())
		assert_calls(memory, 2, 2, 0);
	else
		assert_calls(memory, 0, 6, 0);
}

/* Threads that share a memory: each its own pages, all of them the counters. */
struct worker {
	struct vmemdev_linux_memory *memory;
	uint64_t first;
	uint64_t failures;
};

#define ROUNDS 500

static void *work(void *ctx)
{
	struct worker *worker = ctx;
	const struct vmemdev_range bad = {0, 1};

	for (uint32_t i = 0; i < ROUNDS; i++) {
		struct vmemdev_range ranges[] = {pages(worker->first, 1),
						 pages(worker->first + 2, 1)};
		struct vmemdev_linux_error error;

		worker->failures += vmemdev_linux_discard(worker->memory, ranges, 2) != 0;
		worker->failures += vmemdev_linux_discard(worker->memory, &bad, 1) == 0;
		vmemdev_linux_last_error(worker->memory, &error);
		worker->failures += strncmp(error.text, "range 0 of 1, 0x0", 17) != 0;
	}
	return NULL;
}

static void threads_share_a_memory(void **state)
{
	struct vmemdev_linux_memory *memory = *state;
	struct worker workers[3];
	pthread_t threads[3];

	make(memory, VMEMDEV_LINUX_ANONYMOUS);
	for (uint32_t i = 0; i < 3; i++) {
		workers[i] = (struct worker){memory, 8 * (uint64_t)i, 0};
		assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
	}
	for (uint32_t i = 0; i < 3; i++) {
		assert_int_equal(pthread_join(threads[i], NULL), 0);
		assert_int_equal(workers[i].failures, 0);
	}
	assert_int_equal(counts(memory).bytes, 3 * ROUNDS * 2 * page_size());
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(one_call_discards_an_array),
		TEST_SINGLE(single_calls_discard_range_by_range),
		TEST(holes_are_punched_range_by_range),
		TEST(private_neighbours_take_one_call),
		TEST(shared_neighbours_take_one_call),
		TEST(private_stretches_share_a_call),
		TEST(a_longer_array_takes_more_calls),
		TEST(a_long_array_of_neighbours_takes_one_call),
		TEST(big_ranges_are_discarded_whole),
		TEST(threads_share_a_memory),
	};

	return RUN(tests);
}
