/* SPDX-License-Identifier: BSD-3-Clause */
/* What a discard does to each backing, seen by resident pages and by blocks of files. */
#include "linux/support.h"

#include <errno.h>
#include <unistd.h>

#define SIZE (4 * MIB)
#define GUEST 0xab /* what the guest wrote */
#define DATA 0x11  /* what the file had before */

/* A backing, and what a discarded page of it reads as. */
struct kind {
	uint32_t backing, mapping;
	bool frees_blocks; /* what the file has on its disk or tmpfs goes too */
	uint8_t after;
};

static const struct kind anonymous_private = {VMEMDEV_LINUX_ANONYMOUS, VMEMDEV_LINUX_USUAL, false, 0};
static const struct kind anonymous_shared = {VMEMDEV_LINUX_ANONYMOUS, VMEMDEV_LINUX_SHARED, false, 0};
static const struct kind memfd_shared = {VMEMDEV_LINUX_MEMFD, VMEMDEV_LINUX_USUAL, true, 0};
static const struct kind memfd_private = {VMEMDEV_LINUX_MEMFD, VMEMDEV_LINUX_PRIVATE, false, 0};
static const struct kind file_shared = {VMEMDEV_LINUX_FILE, VMEMDEV_LINUX_USUAL, true, 0};
static const struct kind file_private = {VMEMDEV_LINUX_FILE, VMEMDEV_LINUX_PRIVATE, false, DATA};

/* Guest memory of that kind, each byte of it written by the guest. */
static uint8_t *make(struct vmemdev_linux_memory *memory, const struct kind *kind)
{
	struct vmemdev_linux_ram_config config = ram_config(kind->backing, SIZE);
	uint8_t *host, *data;

	config.mapping = kind->mapping;
	if (kind->backing == VMEMDEV_LINUX_FILE) {
		config.fd = scratch_file(SIZE);
		data = malloc(SIZE);
		assert_non_null(data);
		memset(data, DATA, SIZE);
		assert_int_equal(pwrite(config.fd, data, SIZE, 0), SIZE);
		free(data);
	}
	host = add_ram(memory, &config);
	if (kind->backing == VMEMDEV_LINUX_FILE)
		close(config.fd);
	fill(host, SIZE, GUEST);
	if (first_ram(memory)->fd >= 0)
		assert_int_equal(fsync(first_ram(memory)->fd), 0);
	return host;
}

static uint64_t blocks(const struct vmemdev_linux_memory *memory)
{
	return first_ram(memory)->fd >= 0 ? file_bytes(first_ram(memory)->fd) : 0;
}

/* After 20 pages, with the two behind the first at number 2, were discarded. */
static void check_blocks(const struct vmemdev_linux_memory *memory, const struct kind *kind,
			 uint64_t before)
{
	uint64_t page = page_size(), freed = before - blocks(memory);
	int fd = first_ram(memory)->fd;

	if (!kind->frees_blocks) {
		assert_int_equal(freed, 0);
		return;
	}
	/* A file system may need a block or two to note where the holes are. */
	assert_in_range(freed, kind->backing == VMEMDEV_LINUX_FILE ? 16 * page : 20 * page,
			20 * page);
	assert_int_equal(lseek(fd, 0, SEEK_HOLE), 2 * page);
	assert_int_equal(lseek(fd, (off_t)(2 * page), SEEK_DATA), 5 * page);
}

static void frees_these_pages_and_no_others(struct vmemdev_linux_memory *memory,
					    const struct kind *kind)
{
	const struct vmemdev_range ranges[] = {pages(2, 3), pages(64, 16), pages(9, 1)};
	uint8_t *host = make(memory, kind);
	uint64_t page = page_size(), before = blocks(memory);
	/* The kernel may unmap a file's pages that it keeps. */
	uint64_t (*held)(const uint8_t *, uint64_t) = kind->frees_blocks ? cached : resident;

	assert_int_equal(held(host, SIZE), SIZE);
	discard(memory, ranges, 3);
	for (size_t i = 0; i < 3; i++) {
		uint8_t *at = host + (ranges[i].gpa - RAM_GPA);
		uint64_t len = ranges[i].len;

		assert_int_equal(held(at, len), 0);
		assert_int_equal(held(at - page, page), page);
		assert_int_equal(held(at + len, page), page);
		assert_true(is_filled(at - page, page, GUEST));
		assert_true(is_filled(at + len, page, GUEST));
	}
	assert_int_equal(held(host, SIZE), SIZE - 20 * page);
	check_blocks(memory, kind, before);
	assert_int_equal(counts(memory).bytes, 20 * page);
	assert_int_equal(counts(memory).bytes_left, 0);
	for (size_t i = 0; i < 3; i++) {
		uint8_t *at = host + (ranges[i].gpa - RAM_GPA);

		assert_true(is_filled(at, ranges[i].len, kind->after));
		fill(at, ranges[i].len, 0x77);
		assert_true(is_filled(at, ranges[i].len, 0x77));
	}
	discard(memory, ranges, 3);
	assert_int_equal(held(host, SIZE), SIZE - 20 * page);
}

static void anonymous_memory_is_freed(void **state)
{
	frees_these_pages_and_no_others(*state, &anonymous_private);
	assert_int_equal(counts(*state).fallocate, 0);
}

static void shared_anonymous_memory_is_freed(void **state)
{
	frees_these_pages_and_no_others(*state, &anonymous_shared);
}

/* A hole frees page and block; a madvise on top of it would be waste. */
static void memfd_is_freed(void **state)
{
	frees_these_pages_and_no_others(*state, &memfd_shared);
	assert_calls(*state, 0, 0, 6);
}

static void private_memfd_is_freed(void **state)
{
	frees_these_pages_and_no_others(*state, &memfd_private);
	assert_int_equal(counts(*state).fallocate, 0);
}

static void file_is_freed(void **state)
{
	frees_these_pages_and_no_others(*state, &file_shared);
	assert_calls(*state, 0, 0, 6);
}

static void private_file_shows_its_content_again(void **state)
{
	struct vmemdev_linux_memory *memory = *state;
	uint8_t data[16], expected[16];

	frees_these_pages_and_no_others(memory, &file_private);
	assert_int_equal(counts(memory).fallocate, 0);
	memset(expected, DATA, sizeof(expected));
	for (uint64_t n = 0; n < SIZE / page_size(); n++) {
		assert_int_equal(pread(first_ram(memory)->fd, data, sizeof(data),
				       (off_t)(n * page_size())), sizeof(data));
		assert_memory_equal(data, expected, sizeof(data));
	}
}

static void kept_memory_is_kept(void **state)
{
	struct vmemdev_linux_memory *memory = *state;
	struct vmemdev_linux_ram_config config = ram_config(VMEMDEV_LINUX_ANONYMOUS, MIB);
	uint8_t *host = add_ram(memory, &config), *kept;
	struct vmemdev_range all = {RAM_GPA, 2 * MIB};

	config.gpa = RAM_GPA + MIB;
	config.keep = true;
	kept = add_ram(memory, &config);
	fill(host, MIB, GUEST);
	fill(kept, MIB, GUEST);
	discard(memory, &all, 1);
	assert_int_equal(resident(host, MIB), 0);
	assert_int_equal(resident(kept, MIB), MIB);
	assert_true(is_filled(kept, MIB, GUEST));
	assert_int_equal(counts(memory).bytes, MIB);
	assert_int_equal(counts(memory).bytes_left, MIB);
	all = (struct vmemdev_range){RAM_GPA + MIB, MIB};
	discard(memory, &all, 1);
	assert_int_equal(resident(kept, MIB), MIB);
}

/* One range over stretches of three kinds and over the holes between them. */
static void a_range_spans_stretches_and_holes(void **state)
{
	struct vmemdev_linux_memory *memory = *state;
	struct vmemdev_linux_ram_config config = ram_config(VMEMDEV_LINUX_ANONYMOUS, MIB);
	const uint32_t backings[] = {VMEMDEV_LINUX_ANONYMOUS, VMEMDEV_LINUX_MEMFD,
				     VMEMDEV_LINUX_ANONYMOUS, VMEMDEV_LINUX_MEMFD};
	struct vmemdev_range range = {MIB / 2, 10 * MIB};
	uint8_t *hosts[4];

	for (uint32_t i = 0; i < 4; i++) {
		config.gpa = i * 3 * MIB + (i == 3 ? MIB : 0);
		config.backing = backings[i];
		hosts[i] = add_ram(memory, &config);
		fill(hosts[i], MIB, GUEST);
	}
	discard(memory, &range, 1);
	assert_int_equal(resident(hosts[0], MIB), MIB / 2);
	assert_true(is_filled(hosts[0], MIB / 2, GUEST));
	assert_int_equal(resident(hosts[1], MIB), 0);
	assert_int_equal(file_bytes(vmemdev_linux_ram_at(memory, 1)->fd), 0);
	assert_int_equal(resident(hosts[2], MIB), 0);
	assert_int_equal(file_bytes(vmemdev_linux_ram_at(memory, 3)->fd), MIB / 2);
	assert_int_equal(resident(hosts[3] + MIB / 2, MIB / 2), MIB / 2);
	assert_int_equal(counts(memory).bytes, 3 * MIB);
}

/* Also how a host whose pages are larger than the balloon's 4 KiB is served. */
static void parts_of_pages_stay_unless_they_meet(void **state)
{
	struct vmemdev_linux_memory *memory = *state;
	uint8_t *host = make(memory, &anonymous_private);
	uint64_t page = page_size(), half = page / 2;
	const struct vmemdev_range part = {RAM_GPA + 4 * page + half, page};
	const struct vmemdev_range wide = {RAM_GPA + 8 * page + half, 2 * page};
	const struct vmemdev_range parts[] = {
		{RAM_GPA + 20 * page + half, half}, pages(30, 1), {RAM_GPA + 20 * page, half},
	};

	discard(memory, &part, 1);
	assert_int_equal(resident(host, SIZE), SIZE);
	assert_true(is_filled(host, SIZE, GUEST));
	assert_calls(memory, 0, 0, 0);
	assert_int_equal(counts(memory).bytes_left, page);
	discard(memory, &wide, 1);
	assert_int_equal(resident(host + 9 * page, page), 0);
	assert_int_equal(resident(host, SIZE), SIZE - page);
	discard(memory, parts, 3);
	assert_int_equal(resident(host + 20 * page, page), 0);
	assert_int_equal(resident(host, SIZE), SIZE - 3 * page);
}

static void bad_ranges_change_nothing(void **state)
{
	struct vmemdev_linux_memory *memory = *state;
	struct vmemdev_linux_ram_config config = ram_config(VMEMDEV_LINUX_ANONYMOUS, MIB);
	uint8_t *host = add_ram(memory, &config), *high;
	const struct vmemdev_range bad[] = {
		{RAM_GPA, 0},
		{RAM_GPA + MIB, 4096},              /* right behind */
		{RAM_GPA - 4096, 8192},             /* begins before */
		{RAM_GPA + MIB - 4096, 8192},       /* ends in the hole */
		{8 * GIB + MIB - 4096, 8192},       /* ends behind the last */
		{RAM_GPA, UINT64_MAX},              /* passes 2^64 */
		{RAM_GPA, UINT64_MAX - RAM_GPA},
		{8 * GIB, UINT64_MAX - 8 * GIB + RAM_GPA + 4096}, /* passes 2^64 into memory */
		{UINT64_MAX - 4095, 4096},
		{0, 4096},
	};

	config.gpa = 8 * GIB;
	high = add_ram(memory, &config);
	fill(host, MIB, GUEST);
	fill(high, MIB, GUEST);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		const struct vmemdev_range ranges[] = {pages(3, 4), bad[i], pages(9, 1)};

		if (vmemdev_linux_discard(memory, ranges, 3) != VMEMDEV_E_SIZE)
			fail_msg("bad range %zu was taken", i);
		assert_error_says(memory, "range 1 of 3", "nothing was done", NULL);
	}
	assert_int_equal(vmemdev_linux_discard(memory, NULL, 1), VMEMDEV_E_INVAL);
	assert_error_says(memory, "NULL", NULL);
	assert_int_equal(vmemdev_linux_discard(NULL, bad, 1), VMEMDEV_E_INVAL);
	assert_int_equal(vmemdev_linux_discard(memory, NULL, 0), 0);
	assert_int_equal(resident(host, MIB) + resident(high, MIB), 2 * MIB);
	assert_calls(memory, 0, 0, 0);
}

/* The kernel stops an array at the page that it cannot give back; the error names it. */
static void the_kernels_refusal_is_told(void **state)
{
	struct vmemdev_linux_memory *memory = *state;
	uint8_t *host = make(memory, &anonymous_private);
	const struct vmemdev_range ranges[] = {pages(2, 1), pages(4, 1), pages(6, 1)};
	struct vmemdev_linux_error error;
	uint64_t page = page_size();
	char where[32];

	lock_page(host + 4 * page);
	assert_int_equal(vmemdev_linux_discard(memory, ranges, 3), VMEMDEV_E_HOST);
	snprintf(where, sizeof(where), "0x%llx", (unsigned long long)ranges[1].gpa);
	assert_error_says(memory, where, "MADV_DONTNEED", "mlock", NULL);
	vmemdev_linux_last_error(memory, &error);
	assert_int_equal(error.code, EINVAL);
	assert_true(is_filled(host + 4 * page, page, GUEST));
	assert_int_equal(resident(host + 2 * page, page), 0);
	assert_int_equal(counts(memory).bytes, page);
	unlock_page(host + 4 * page);
	discard(memory, ranges, 3);
	assert_int_equal(resident(host, SIZE), SIZE - 3 * page);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(anonymous_memory_is_freed),
		TEST_SINGLE(anonymous_memory_is_freed),
		TEST(shared_anonymous_memory_is_freed),
		TEST(memfd_is_freed),
		TEST(private_memfd_is_freed),
		TEST_SINGLE(private_memfd_is_freed),
		TEST(file_is_freed),
		TEST(private_file_shows_its_content_again),
		TEST_SINGLE(private_file_shows_its_content_again),
		TEST(kept_memory_is_kept),
		TEST(a_range_spans_stretches_and_holes),
		TEST(parts_of_pages_stay_unless_they_meet),
		TEST_SINGLE(parts_of_pages_stay_unless_they_meet),
		TEST(bad_ranges_change_nothing),
		TEST(the_kernels_refusal_is_told),
		TEST_SINGLE(the_kernels_refusal_is_told),
	};

	return RUN(tests);
}
