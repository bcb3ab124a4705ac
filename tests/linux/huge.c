/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Huge pages: given back whole or not at all. The suite reserves a few 2 MiB pages, which
 * wants root, and puts the old number back at its end.
 */
#include "linux/support.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#define HUGE_PAGE (2 * MIB)
#define WANTED 6
#define SIZE (4 * HUGE_PAGE)
#define GPA (64 * MIB)
#define POOL "/sys/kernel/mm/hugepages/hugepages-2048kB/"

static long pool_before;

static long pool_read(const char *path)
{
	FILE *file = fopen(path, "r");
	long number = -1;

	if (file == NULL)
		return -1;
	if (fscanf(file, "%ld", &number) != 1)
		number = -1;
	fclose(file);
	return number;
}

static bool pool_write(long number)
{
	FILE *file = fopen(POOL "nr_hugepages", "w");
	bool written;

	if (file == NULL)
		return false;
	written = fprintf(file, "%ld\n", number) > 0;
	return fclose(file) == 0 && written;
}

static long pool_free(void)
{
	return pool_read(POOL "free_hugepages");
}

static int reserve_pool(void **state)
{
	(void)state;
	pool_before = pool_read(POOL "nr_hugepages");
	if (pool_before >= 0 && !pool_write(pool_before + WANTED))
		print_message("the number of huge pages cannot be raised: not root?\n");
	return 0;
}

static int release_pool(void **state)
{
	(void)state;
	if (pool_before >= 0)
		pool_write(pool_before);
	return 0;
}

static void need_pool(void)
{
	if (pool_free() < WANTED) {
		print_message("skipped: %d free huge pages of 2 MiB are needed, %ld are there\n",
			      WANTED, pool_free());
		skip();
	}
}

static struct vmemdev_linux_ram_config huge_config(uint32_t backing)
{
	struct vmemdev_linux_ram_config config = ram_config(backing, SIZE);

	config.gpa = GPA;
	config.page_size = HUGE_PAGE;
	return config;
}

static struct vmemdev_range part(uint64_t offset, uint64_t len)
{
	return (struct vmemdev_range){GPA + offset, len};
}

/* The same for each backing: four pages, of which each discard is to free one. */
static void whole_pages_go(struct vmemdev_linux_memory *memory,
			   const struct vmemdev_linux_ram_config *config)
{
	const struct vmemdev_range inside = part(MIB, 2 * HUGE_PAGE); /* one page, two halves */
	const struct vmemdev_range half = part(0, MIB);
	/* Halves as the balloon sends them: apart, in no order, the upper one first. */
	const struct vmemdev_range halves[] = {
		part(3 * HUGE_PAGE + MIB, MIB), part(HUGE_PAGE, 4 * KIB), part(3 * HUGE_PAGE, MIB),
	};
	uint8_t *host = add_ram(memory, config);
	long before;

	fill(host, SIZE, 9);
	before = pool_free();
	assert_int_equal(resident(host, SIZE), SIZE);
	discard(memory, &half, 1);
	assert_int_equal(counts(memory).bytes, 0);
	assert_int_equal(counts(memory).bytes_left, MIB);
	assert_calls(memory, 0, 0, 0);
	discard(memory, &inside, 1);
	assert_int_equal(pool_free(), before + 1);
	assert_int_equal(resident(host + HUGE_PAGE, HUGE_PAGE), 0);
	assert_int_equal(counts(memory).bytes, HUGE_PAGE);
	assert_int_equal(counts(memory).bytes_left, 3 * MIB);
	assert_true(is_filled(host, HUGE_PAGE, 9));
	assert_true(is_filled(host + 2 * HUGE_PAGE, 2 * HUGE_PAGE, 9));
	discard(memory, halves, 3);
	assert_int_equal(pool_free(), before + 2);
	assert_int_equal(counts(memory).bytes, 2 * HUGE_PAGE);
	assert_true(is_filled(host + 2 * HUGE_PAGE, HUGE_PAGE, 9));
	assert_true(is_filled(host + HUGE_PAGE, HUGE_PAGE, 0));
	assert_true(is_filled(host + 3 * HUGE_PAGE, HUGE_PAGE, 0));
}

/* shows: BAL-INF-06 */
static void anonymous_huge_pages_go_whole(void **state)
{
	struct vmemdev_linux_ram_config config = huge_config(VMEMDEV_LINUX_ANONYMOUS);

	need_pool();
	whole_pages_go(*state, &config);
	assert_calls(*state, 0, 2, 0);
}

static void memfd_huge_pages_go_whole(void **state)
{
	struct vmemdev_linux_ram_config config = huge_config(VMEMDEV_LINUX_MEMFD);

	need_pool();
	whole_pages_go(*state, &config);
	assert_calls(*state, 0, 0, 2);
	assert_int_equal(file_bytes(first_ram(*state)->fd), SIZE);
}

static void shared_anonymous_huge_pages_go_whole(void **state)
{
	struct vmemdev_linux_ram_config config = huge_config(VMEMDEV_LINUX_ANONYMOUS);

	need_pool();
	config.mapping = VMEMDEV_LINUX_SHARED;
	whole_pages_go(*state, &config);
}

static void private_memfd_huge_pages_go_whole(void **state)
{
	struct vmemdev_linux_ram_config config = huge_config(VMEMDEV_LINUX_MEMFD);

	need_pool();
	config.mapping = VMEMDEV_LINUX_PRIVATE;
	whole_pages_go(*state, &config);
}

/* A file on hugetlbfs, which says itself how large its pages are. */
static void hugetlbfs_files_go_whole(void **state)
{
	struct vmemdev_linux_memory *memory = *state;
	struct vmemdev_linux_ram_config config = huge_config(VMEMDEV_LINUX_FILE);

	need_pool();
	config.page_size = 0;
	config.fd = memfd_create("huge", MFD_CLOEXEC | MFD_HUGETLB | 21U << 26);
	assert_true(config.fd >= 0);
	assert_int_equal(ftruncate(config.fd, (off_t)SIZE), 0);
	whole_pages_go(memory, &config);
	assert_int_equal(first_ram(memory)->page_size, HUGE_PAGE);
	config.gpa += SIZE + MIB;
	assert_int_equal(vmemdev_linux_add_ram(memory, &config), VMEMDEV_E_ALIGN);
	close(config.fd);
}

static void scattered_huge_pages_share_a_call(void **state)
{
	struct vmemdev_linux_memory *memory = *state;
	struct vmemdev_linux_ram_config config = huge_config(VMEMDEV_LINUX_ANONYMOUS);
	const struct vmemdev_range ranges[] = {part(0, HUGE_PAGE), part(2 * HUGE_PAGE, HUGE_PAGE)};
	long before;

	need_pool();
	fill(add_ram(memory, &config), SIZE, 9);
	before = pool_free();
	discard(memory, ranges, 2);
	assert_int_equal(pool_free(), before + 2);
	if (kernel_vectors())
		assert_calls(memory, 1, 0, 0);
	else
		assert_calls(memory, 0, 2, 0);
}

static void missing_huge_pages_are_named(void **state)
{
	struct vmemdev_linux_memory *memory = *state;
	struct vmemdev_linux_ram_config config = huge_config(VMEMDEV_LINUX_ANONYMOUS);

	if (pool_free() < 0) {
		print_message("skipped: this kernel has no huge pages of 2 MiB\n");
		skip();
	}
	config.size = 4096 * HUGE_PAGE + (uint64_t)pool_free() * HUGE_PAGE;
	for (uint32_t i = 0; i < 2; i++) {
		config.backing = i == 0 ? VMEMDEV_LINUX_ANONYMOUS : VMEMDEV_LINUX_MEMFD;
		assert_int_equal(vmemdev_linux_add_ram(memory, &config), VMEMDEV_E_HOST);
		assert_error_says(memory, "huge pages of 2048 KiB are needed", "are free",
				  "hugepages-2048kB/nr_hugepages", NULL);
	}
	config.size = HUGE_PAGE + MIB;
	assert_int_equal(vmemdev_linux_add_ram(memory, &config), VMEMDEV_E_SIZE);
	assert_error_says(memory, "2097152", "4194304", NULL);
	config.size = HUGE_PAGE;
	config.gpa = GPA + MIB;
	assert_int_equal(vmemdev_linux_add_ram(memory, &config), VMEMDEV_E_ALIGN);
}

/* Without populate, the guest's touch would end the process. */
static void plug_says_busy_when_huge_pages_are_short(void **state)
{
	struct vmemdev_linux_memory *memory = *state;
	struct vmemdev_linux_ram_config config = huge_config(VMEMDEV_LINUX_MEMFD);
	const struct vmemdev_mem_ops *ops = vmemdev_linux_mem_ops();
	struct vmemdev_range range;
	uint8_t *host;
	long before;

	need_pool();
	before = pool_free();
	config.size = (uint64_t)(before + 2) * HUGE_PAGE;
	config.no_reserve = true;
	config.populate = true;
	host = add_ram(memory, &config);
	assert_int_equal(pool_free(), before);
	range = part(0, HUGE_PAGE);
	assert_int_equal(ops->plug(memory, &range, 1, 1), 0);
	assert_int_equal(pool_free(), before - 1);
	fill(host, HUGE_PAGE, 9);
	range = part(HUGE_PAGE, (uint64_t)before * HUGE_PAGE);
	assert_int_equal(ops->plug(memory, &range, 1, 2), VMEMDEV_E_BUSY);
	assert_error_says(memory, "MADV_POPULATE_WRITE", "reserve more huge pages", NULL);
	assert_int_equal(pool_free(), before - 1);
	assert_true(is_filled(host, HUGE_PAGE, 9));
	range = part(0, HUGE_PAGE);
	assert_int_equal(ops->unplug(memory, &range, 1, 3), 0);
	assert_int_equal(pool_free(), before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(anonymous_huge_pages_go_whole),
		TEST(memfd_huge_pages_go_whole),
		TEST(shared_anonymous_huge_pages_go_whole),
		TEST(private_memfd_huge_pages_go_whole),
		TEST(hugetlbfs_files_go_whole),
		TEST(scattered_huge_pages_share_a_call),
		TEST(missing_huge_pages_are_named),
		TEST(plug_says_busy_when_huge_pages_are_short),
	};

	return can_measure() ? cmocka_run_group_tests(tests, reserve_pool, release_pool) : 77;
}
