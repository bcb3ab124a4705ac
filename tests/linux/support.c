/* SPDX-License-Identifier: BSD-3-Clause */
#include "linux/support.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

uint64_t page_size(void)
{
	return (uint64_t)sysconf(_SC_PAGESIZE);
}

struct vmemdev_range pages(uint64_t first, uint64_t count)
{
	return (struct vmemdev_range){RAM_GPA + first * page_size(), count * page_size()};
}

static int setup(void **state, bool single_calls)
{
	struct vmemdev_linux_config config = {
		.struct_size = sizeof(config),
		.single_calls = single_calls,
	};
	struct vmemdev_linux_memory *memory = malloc(sizeof(*memory));

	if (memory == NULL)
		return -1;
	*state = memory;
	return vmemdev_linux_memory_init(memory, sizeof(*memory), &config);
}

int setup_memory(void **state)
{
	return setup(state, false);
}

int setup_single_calls(void **state)
{
	return setup(state, true);
}

int teardown_memory(void **state)
{
	vmemdev_linux_memory_finish(*state);
	free(*state);
	return 0;
}

struct vmemdev_linux_ram_config ram_config(uint32_t backing, uint64_t size)
{
	return (struct vmemdev_linux_ram_config){
		.struct_size = sizeof(struct vmemdev_linux_ram_config),
		.backing = backing,
		.gpa = RAM_GPA,
		.size = size,
	};
}

uint8_t *add_ram(struct vmemdev_linux_memory *memory,
		 const struct vmemdev_linux_ram_config *config)
{
	struct vmemdev_linux_error error;

	if (vmemdev_linux_add_ram(memory, config) != 0) {
		vmemdev_linux_last_error(memory, &error);
		fail_msg("%s", error.text);
	}
	return vmemdev_linux_region(memory, config->gpa)->host;
}

const struct vmemdev_linux_ram *first_ram(const struct vmemdev_linux_memory *memory)
{
	const struct vmemdev_linux_ram *ram = vmemdev_linux_ram_at(memory, 0);

	assert_non_null(ram);
	return ram;
}

void fill(uint8_t *host, uint64_t len, uint8_t byte)
{
	memset(host, byte, (size_t)len);
}

bool is_filled(const uint8_t *host, uint64_t len, uint8_t byte)
{
	for (uint64_t i = 0; i < len; i++) {
		if (host[i] != byte)
			return false;
	}
	return true;
}

uint64_t resident(const uint8_t *host, uint64_t len)
{
	uint64_t page = page_size(), entries[512], found = 0;
	uint64_t first = (uintptr_t)host / page, count = len / page;
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	while (count > 0) {
		size_t n = count < ARRAY_LEN(entries) ? (size_t)count : ARRAY_LEN(entries);
		ssize_t got = pread(fd, entries, n * 8, (off_t)(first * 8));

		assert_int_equal(got, n * 8);
		for (size_t i = 0; i < n; i++)
			found += entries[i] >> 62 != 0; /* present, or in swap */
		first += n;
		count -= n;
	}
	close(fd);
	return found * page;
}

uint64_t cached(const uint8_t *host, uint64_t len)
{
	size_t count = (size_t)(len / page_size());
	unsigned char *there = malloc(count);
	uint64_t found = 0;

	assert_non_null(there);
	assert_int_equal(mincore((void *)(uintptr_t)host, (size_t)len, there), 0);
	for (size_t i = 0; i < count; i++)
		found += there[i] & 1;
	free(there);
	return found * page_size();
}

uint64_t file_bytes(int fd)
{
	struct stat status;

	assert_int_equal(fstat(fd, &status), 0);
	return (uint64_t)status.st_blocks * 512;
}

/* By number: the sanitizers turn mlock() into nothing. */
void lock_page(uint8_t *host)
{
	if (syscall(SYS_mlock, host, (size_t)page_size()) != 0) {
		print_message("skipped: mlock: %s: raise ulimit -l\n", strerror(errno));
		skip();
	}
}

void unlock_page(uint8_t *host)
{
	assert_int_equal(syscall(SYS_munlock, host, (size_t)page_size()), 0);
}

void discard(struct vmemdev_linux_memory *memory, const struct vmemdev_range *ranges,
	     uint32_t count)
{
	struct vmemdev_linux_error error;

	if (vmemdev_linux_discard(memory, ranges, count) != 0) {
		vmemdev_linux_last_error(memory, &error);
		fail_msg("%s", error.text);
	}
}

struct vmemdev_linux_counts counts(struct vmemdev_linux_memory *memory)
{
	struct vmemdev_linux_counts now;

	vmemdev_linux_memory_get_counts(memory, &now);
	return now;
}

void assert_calls(struct vmemdev_linux_memory *memory, uint64_t process_madvise,
		  uint64_t madvise, uint64_t fallocate)
{
	struct vmemdev_linux_counts now = counts(memory);

	assert_int_equal(now.process_madvise, process_madvise);
	assert_int_equal(now.madvise, madvise);
	assert_int_equal(now.fallocate, fallocate);
}

void assert_error_says(struct vmemdev_linux_memory *memory, ...)
{
	struct vmemdev_linux_error error;
	const char *word;
	va_list words;

	vmemdev_linux_last_error(memory, &error);
	/* A text that fills its room was cut off. */
	assert_true(strlen(error.text) < sizeof(error.text) - 1);
	va_start(words, memory);
	while ((word = va_arg(words, const char *)) != NULL) {
		if (strstr(error.text, word) == NULL)
			fail_msg("'%s' does not say '%s'", error.text, word);
	}
	va_end(words);
}

/* Asks the kernel itself: what the library does is what is being tested. */
bool kernel_vectors(void)
{
	const int self = -10000; /* PIDFD_SELF */
	size_t page = (size_t)page_size();
	uint8_t *at = mmap(NULL, 3 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
			   0);
	const struct iovec parts[] = {{at, page}, {at + 2 * page, page}};
	bool vectors;

	assert_true(at != MAP_FAILED);
	memset(at, 1, 3 * page);
	syscall(SYS_process_madvise, self, parts, ARRAY_LEN(parts), MADV_DONTNEED, 0);
	vectors = at[0] == 0 && at[2 * page] == 0;
	munmap(at, 3 * page);
	if (!vectors)
		print_message("this kernel does not discard arrays (process_madvise on oneself, "
			      "Linux 6.14): the fallback is tested instead\n");
	return vectors;
}

int scratch_file(uint64_t size)
{
	char name[] = "scratch-XXXXXX";
	int fd = mkstemp(name);

	assert_true(fd >= 0);
	unlink(name);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	return fd;
}

int scratch_memfd(uint64_t size)
{
	int fd = memfd_create("scratch", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	return fd;
}

bool can_measure(void)
{
	size_t page = (size_t)page_size();
	uint8_t *at = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
			   0);
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t entries[2] = {0};
	bool shown;

	if (at == MAP_FAILED)
		return false;
	at[0] = 1;
	shown = pread(fd, entries, sizeof(entries), (off_t)((uintptr_t)at / page * 8)) ==
			sizeof(entries) && entries[0] >> 62 != 0 && entries[1] >> 62 == 0;
	close(fd);
	munmap(at, 2 * page);
	if (!shown)
		printf("skipped: /proc/self/pagemap does not show which pages are resident (an "
		       "emulator?)\n");
	return shown;
}
