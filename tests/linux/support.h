/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef LINUX_SUPPORT_H
#define LINUX_SUPPORT_H
/*
 * What the suites of lib/linux stand on. Effects are measured where the kernel shows
 * them: pages of this process in /proc/self/pagemap, blocks of files in fstat().
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <vmemdev/linux.h>

#define KIB UINT64_C(1024)
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)
#define RAM_GPA UINT64_C(0x100000)
#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

/* The system's page size. */
uint64_t page_size(void);

/*
 * Pages as every suite uses them: number @n of the memory at RAM_GPA, and ranges of them.
 */
struct vmemdev_range pages(uint64_t first, uint64_t count);

/* cmocka fixtures: *state is a memory, empty; the second kind never uses process_madvise. */
int setup_memory(void **state);
int setup_single_calls(void **state);
int teardown_memory(void **state);

/* A config of @size bytes at RAM_GPA with everything else zero. */
struct vmemdev_linux_ram_config ram_config(uint32_t backing, uint64_t size);

/* Add a stretch, which must succeed. Returns where it is mapped. */
uint8_t *add_ram(struct vmemdev_linux_memory *memory,
		 const struct vmemdev_linux_ram_config *config);

/* The stretch at the first place, for its fd and page size. */
const struct vmemdev_linux_ram *first_ram(const struct vmemdev_linux_memory *memory);

/* Write @byte to each byte. */
void fill(uint8_t *host, uint64_t len, uint8_t byte);
/* Whether each byte has this value. */
bool is_filled(const uint8_t *host, uint64_t len, uint8_t byte);

/*
 * Bytes of [host, host + len) that this process has in its page table; that are in memory
 * at all, be it as the file's pages; and bytes of all the blocks of a file.
 */
uint64_t resident(const uint8_t *host, uint64_t len);
uint64_t cached(const uint8_t *host, uint64_t len);
uint64_t file_bytes(int fd);

/*
 * Lock a page into memory, which makes the kernel refuse its discard. The test is skipped
 * if that is not allowed.
 */
void lock_page(uint8_t *host);
void unlock_page(uint8_t *host);

/* Discard, which must succeed. */
void discard(struct vmemdev_linux_memory *memory, const struct vmemdev_range *ranges,
	     uint32_t count);

struct vmemdev_linux_counts counts(struct vmemdev_linux_memory *memory);
/* System calls that discarded since init. */
void assert_calls(struct vmemdev_linux_memory *memory, uint64_t process_madvise,
		  uint64_t madvise, uint64_t fallocate);

/* The last error must contain each of these words; the list ends with NULL. */
void assert_error_says(struct vmemdev_linux_memory *memory, ...)
	__attribute__((sentinel));

/* Whether the kernel discards arrays of ranges; says so once if not. */
bool kernel_vectors(void);

/* A new file of @size bytes in the working directory, without a name; or on tmpfs. */
int scratch_file(uint64_t size);
int scratch_memfd(uint64_t size);

/*
 * Run the suite, if the kernel's view of residency is there at all (not under an
 * emulator). Returns the exit code of main().
 */
#define RUN(tests) (can_measure() ? cmocka_run_group_tests(tests, NULL, NULL) : 77)
bool can_measure(void);

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup_memory, teardown_memory)
#define TEST_SINGLE(f) {#f " (single calls)", f, setup_single_calls, teardown_memory, NULL}

#endif
