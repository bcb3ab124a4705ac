/* SPDX-License-Identifier: BSD-3-Clause */
/* Making guest memory: what comes out, and what each mistake is called. */
#include "linux/support.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

static void init_refuses_what_it_does_not_know(void **state)
{
	struct vmemdev_linux_memory memory, before;
	struct {
		struct vmemdev_linux_config config;
		uint64_t more;
	} newer = {{.struct_size = sizeof(newer)}, 0};
	struct vmemdev_linux_config config = {.struct_size = sizeof(config)};
	size_t size = sizeof(memory);

	(void)state;
	memset(&memory, 0x5a, size);
	before = memory;
	assert_int_equal(vmemdev_linux_memory_init(NULL, size, NULL), VMEMDEV_E_INVAL);
	assert_int_equal(vmemdev_linux_memory_init(&memory, size - 8, NULL), VMEMDEV_E_ABI);
	config.struct_size = sizeof(config) - 1;
	assert_int_equal(vmemdev_linux_memory_init(&memory, size, &config), VMEMDEV_E_ABI);
	config.struct_size = sizeof(config);
	config.pad_[2] = 1;
	assert_int_equal(vmemdev_linux_memory_init(&memory, size, &config), VMEMDEV_E_INVAL);
	newer.more = 1;
	assert_int_equal(vmemdev_linux_memory_init(&memory, size, &newer.config), VMEMDEV_E_ABI);
	assert_memory_equal(&memory, &before, size);
	newer.more = 0;
	assert_int_equal(vmemdev_linux_memory_init(&memory, size, &newer.config), 0);
	assert_null(vmemdev_linux_ram_at(&memory, 0));
	vmemdev_linux_memory_finish(&memory);
	vmemdev_linux_memory_finish(&memory);
}

static void finish_takes_a_zeroed_memory(void **state)
{
	struct vmemdev_linux_memory memory = {0};

	(void)state;
	vmemdev_linux_memory_finish(&memory);
	assert_null(vmemdev_linux_ram_at(&memory, 0));
}

/* The table goes straight into the pure library, whatever order the stretches came in. */
static void the_table_is_in_order(void **state)
{
	struct vmemdev_linux_memory *memory = *state;
	struct vmemdev_linux_ram_config config = ram_config(VMEMDEV_LINUX_ANONYMOUS, MIB);
	struct vmemdev_guest_config guest_config = {.struct_size = sizeof(guest_config)};
	struct vmemdev_guest guest;
	const uint64_t gpas[] = {4 * GIB, 0, 5 * MIB, 3 * MIB, 4 * MIB};
	const uint64_t order[] = {0, 3 * MIB, 4 * MIB, 5 * MIB, 4 * GIB};
	struct vmemdev_region *regions;
	uint32_t count;

	for (size_t i = 0; i < ARRAY_LEN(gpas); i++) {
		config.gpa = gpas[i];
		config.keep = gpas[i] == 4 * MIB;
		*add_ram(memory, &config) = (uint8_t)(gpas[i] >> 20 | 1);
	}
	regions = vmemdev_linux_regions(memory, &count);
	assert_int_equal(count, ARRAY_LEN(order));
	for (uint32_t i = 0; i < count; i++) {
		const struct vmemdev_linux_ram *ram = vmemdev_linux_ram_at(memory, i);

		assert_int_equal(regions[i].gpa, order[i]);
		assert_int_equal(regions[i].len, MIB);
		assert_null(regions[i].blocks);
		assert_int_equal(*(uint8_t *)regions[i].host, (uint8_t)(order[i] >> 20 | 1));
		assert_int_equal(regions[i].flags, order[i] == 4 * MIB ? VMEMDEV_REGION_KEEP : 0);
		assert_int_equal(ram->gpa, order[i]);
		assert_ptr_equal(ram->host, regions[i].host);
	}
	assert_null(vmemdev_linux_ram_at(memory, count));
	assert_ptr_equal(vmemdev_linux_region(memory, 4 * MIB), &regions[2]);
	assert_ptr_equal(vmemdev_linux_region(memory, 5 * MIB - 1), &regions[2]);
	assert_null(vmemdev_linux_region(memory, MIB));
	guest_config.regions = regions;
	guest_config.region_count = count;
	assert_int_equal(vmemdev_guest_init(&guest, sizeof(guest), &guest_config), 0);
}

static void memory_starts_zeroed_and_not_resident(void **state)
{
	struct vmemdev_linux_memory *memory = *state;
	struct vmemdev_linux_ram_config config = ram_config(VMEMDEV_LINUX_ANONYMOUS, 4 * MIB);
	uint8_t *host = add_ram(memory, &config);

	assert_int_equal(resident(host, config.size), 0);
	assert_true(is_filled(host, config.size, 0));
	config.backing = VMEMDEV_LINUX_MEMFD;
	config.gpa = GIB;
	host = add_ram(memory, &config);
	assert_int_equal(file_bytes(vmemdev_linux_ram_at(memory, 1)->fd), 0);
	assert_true(is_filled(host, config.size, 0));
}

/* KVM maps huge pages only where host and guest addresses agree in their low bits. */
static void host_addresses_suit_huge_pages(void **state)
{
	struct vmemdev_linux_memory *memory = *state;
	struct vmemdev_linux_ram_config config = ram_config(VMEMDEV_LINUX_ANONYMOUS, 3 * MIB);
	uintptr_t host;

	for (uint32_t i = 0; i < 3; i++) {
		config.gpa = i * GIB + i * 12 * page_size();
		config.backing = i == 2 ? VMEMDEV_LINUX_MEMFD : VMEMDEV_LINUX_ANONYMOUS;
		host = (uintptr_t)add_ram(memory, &config);
		assert_int_equal(host % (2 * MIB), config.gpa % (2 * MIB));
	}
}

static void transparent_huge_pages_come(void **state)
{
	struct vmemdev_linux_memory *memory = *state;
	struct vmemdev_linux_ram_config config = ram_config(VMEMDEV_LINUX_ANONYMOUS, 4 * MIB);
	char enabled[64] = "";
	uint8_t *host;
	FILE *file = fopen("/sys/kernel/mm/transparent_hugepage/enabled", "r");

	if (file != NULL) {
		if (fgets(enabled, sizeof(enabled), file) == NULL)
			enabled[0] = '\0';
		fclose(file);
	}
	if (enabled[0] == '\0' || strstr(enabled, "[never]") != NULL || page_size() != 4096) {
		print_message("skipped: this kernel has transparent huge pages off\n");
		skip();
	}
	config.gpa = 2 * MIB;
	config.transparent_huge = true;
	host = add_ram(memory, &config);
	*host = 1;
	assert_int_equal(resident(host, config.size), 2 * MIB);
}

/* One field of a good config spoiled: the error, and words that its text must have. */
struct mistake {
	const char *what;
	struct vmemdev_linux_ram_config config;
	int err;
	const char *says[2];
};

#define SIZED .struct_size = sizeof(struct vmemdev_linux_ram_config)

static void mistakes_are_named(void **state)
{
	struct vmemdev_linux_memory *memory = *state;
	const struct mistake mistakes[] = {
		{"struct_size", {.struct_size = 4, .size = MIB}, VMEMDEV_E_ABI, {"struct_size is 4", "56"}},
		{"backing", {SIZED, .size = MIB, .backing = 3}, VMEMDEV_E_INVAL, {"backing is 3", "MEMFD"}},
		{"mapping", {SIZED, .size = MIB, .mapping = 9}, VMEMDEV_E_INVAL, {"mapping is 9", "SHARED"}},
		{"padding", {SIZED, .size = MIB, .pad_ = {1}}, VMEMDEV_E_INVAL, {"padding", "zero the"}},
		{"offset", {SIZED, .size = MIB, .file_offset = 4096}, VMEMDEV_E_INVAL,
		 {"file_offset is 4096", "there is no file"}},
		{"huge twice", {SIZED, .size = MIB, .page_size = 2 * MIB, .transparent_huge = true},
		 VMEMDEV_E_INVAL, {"transparent_huge", "drop one"}},
		{"zero size", {SIZED, .gpa = GIB}, VMEMDEV_E_SIZE, {"size is 0", "0x40000000"}},
		{"odd size", {SIZED, .size = MIB + 1}, VMEMDEV_E_SIZE, {"1048577", "multiple"}},
		{"gpa", {SIZED, .size = MIB, .gpa = GIB + 512}, VMEMDEV_E_ALIGN,
		 {"0x40000200", "to 0x40000000"}},
		{"wraps", {SIZED, .size = MIB, .gpa = UINT64_MAX - MIB / 2 + 1}, VMEMDEV_E_SIZE,
		 {"passes the end", "smaller"}},
		{"endless", {SIZED, .size = UINT64_C(1) << 63}, VMEMDEV_E_SIZE, {"passes the end", NULL}},
		{"page size", {SIZED, .size = MIB, .page_size = 3 * MIB}, VMEMDEV_E_SIZE,
		 {"page_size is 3145728", "/sys/kernel/mm/hugepages"}},
		{"no such pages", {SIZED, .size = MIB, .page_size = UINT64_C(1) << 50}, VMEMDEV_E_SIZE,
		 {"no such pages", "set 0"}},
		{"fd", {SIZED, .size = MIB, .backing = VMEMDEV_LINUX_FILE, .fd = -1}, VMEMDEV_E_INVAL,
		 {"fd -1", "open file"}},
		{"overlap", {SIZED, .size = 2 * MIB, .gpa = RAM_GPA - MIB}, VMEMDEV_E_OVERLAP,
		 {"0x0 to 0x1fffff overlaps", "0x100000 to 0x1fffff"}},
		{"inside", {SIZED, .size = 64 * KIB, .gpa = RAM_GPA + 64 * KIB}, VMEMDEV_E_OVERLAP,
		 {"overlaps", "move or shorten"}},
		{"same", {SIZED, .size = MIB, .gpa = RAM_GPA}, VMEMDEV_E_OVERLAP, {"overlaps", NULL}},
	};
	struct vmemdev_linux_ram_config good = ram_config(VMEMDEV_LINUX_ANONYMOUS, MIB);
	struct vmemdev_linux_memory before;

	add_ram(memory, &good);
	before = *memory;
	for (size_t i = 0; i < ARRAY_LEN(mistakes); i++) {
		const struct mistake *m = &mistakes[i];
		int err = vmemdev_linux_add_ram(memory, &m->config);

		if (err != m->err)
			fail_msg("%s: %d, expected %d", m->what, err, m->err);
		assert_error_says(memory, m->says[0], m->says[1], NULL);
		assert_memory_equal(vmemdev_linux_ram_at(memory, 0), vmemdev_linux_ram_at(&before, 0),
				    sizeof(struct vmemdev_linux_ram));
		assert_null(vmemdev_linux_ram_at(memory, 1));
	}
	assert_int_equal(vmemdev_linux_add_ram(memory, NULL), VMEMDEV_E_INVAL);
	assert_error_says(memory, "NULL", NULL);
	assert_int_equal(vmemdev_linux_add_ram(NULL, &good), VMEMDEV_E_INVAL);
}

static void a_newer_config_must_be_zero_behind_its_end(void **state)
{
	struct vmemdev_linux_memory *memory = *state;
	struct {
		struct vmemdev_linux_ram_config config;
		uint64_t more;
	} newer = {ram_config(VMEMDEV_LINUX_ANONYMOUS, MIB), 7};

	newer.config.struct_size = sizeof(newer);
	assert_int_equal(vmemdev_linux_add_ram(memory, &newer.config), VMEMDEV_E_ABI);
	newer.more = 0;
	assert_int_equal(vmemdev_linux_add_ram(memory, &newer.config), 0);
}

static void one_stretch_too_many_is_refused(void **state)
{
	struct vmemdev_linux_memory *memory = *state;
	struct vmemdev_linux_ram_config config = ram_config(VMEMDEV_LINUX_ANONYMOUS, 64 * KIB);

	for (uint32_t i = 0; i < VMEMDEV_LINUX_RAM_MAX; i++) {
		config.gpa = i * MIB;
		add_ram(memory, &config);
	}
	config.gpa = GIB;
	assert_int_equal(vmemdev_linux_add_ram(memory, &config), VMEMDEV_E_NOSPC);
	assert_error_says(memory, "0x40000000", "16 stretches", NULL);
}

/* Open descriptors, to see that a refused stretch leaves none behind. */
static int lowest_free_fd(void)
{
	int fd = dup(0);

	close(fd);
	return fd;
}

static void files_that_do_not_fit_are_refused(void **state)
{
	struct vmemdev_linux_memory *memory = *state;
	struct vmemdev_linux_ram_config config = ram_config(VMEMDEV_LINUX_FILE, MIB);
	int fd = scratch_memfd(MIB), device = open("/dev/null", O_RDWR), free_fd;
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	config.fd = open(path, O_RDONLY);
	free_fd = lowest_free_fd();
	assert_int_equal(vmemdev_linux_add_ram(memory, &config), VMEMDEV_E_INVAL);
	assert_error_says(memory, "O_RDONLY", "open it O_RDWR", NULL);
	close(config.fd);
	free_fd = lowest_free_fd();
	config.fd = device;
	assert_int_equal(vmemdev_linux_add_ram(memory, &config), VMEMDEV_E_INVAL);
	assert_error_says(memory, "no regular file", NULL);
	config.fd = fd;
	config.size = MIB + page_size();
	assert_int_equal(vmemdev_linux_add_ram(memory, &config), VMEMDEV_E_SIZE);
	assert_error_says(memory, "the file has 1048576 bytes", "truncate", NULL);
	config.size = MIB;
	config.file_offset = page_size();
	assert_int_equal(vmemdev_linux_add_ram(memory, &config), VMEMDEV_E_SIZE);
	config.file_offset = UINT64_MAX - page_size() + 1;
	assert_int_equal(vmemdev_linux_add_ram(memory, &config), VMEMDEV_E_SIZE);
	config.file_offset = 100;
	assert_int_equal(vmemdev_linux_add_ram(memory, &config), VMEMDEV_E_ALIGN);
	assert_error_says(memory, "file_offset 100", NULL);
	config.file_offset = 0;
	config.page_size = 2 * MIB;
	assert_int_equal(vmemdev_linux_add_ram(memory, &config), VMEMDEV_E_SIZE);
	assert_error_says(memory, "page_size is 2097152", "hugetlbfs", NULL);
	assert_int_equal(lowest_free_fd(), free_fd);
	close(fd);
	close(device);
}

/* Found when it is made, not when the first balloon page is to be discarded. */
static void a_file_that_cannot_be_punched_is_refused(void **state)
{
	struct vmemdev_linux_memory *memory = *state;
	struct vmemdev_linux_ram_config config = ram_config(VMEMDEV_LINUX_FILE, MIB);
	int fd = scratch_memfd(MIB);

	config.fd = fd;
	add_ram(memory, &config);
	vmemdev_linux_memory_finish(memory);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE), 0);
	assert_int_equal(vmemdev_linux_add_ram(memory, &config), VMEMDEV_E_HOST);
	assert_error_says(memory, "punching holes", NULL);
	close(fd);
}

static void too_much_memory_is_refused(void **state)
{
	struct vmemdev_linux_memory *memory = *state;
	struct vmemdev_linux_ram_config config =
		ram_config(VMEMDEV_LINUX_ANONYMOUS, UINT64_C(1) << 47);
	int free_fd = lowest_free_fd();
	struct vmemdev_linux_error error;

	assert_int_equal(vmemdev_linux_add_ram(memory, &config), VMEMDEV_E_HOST);
	assert_error_says(memory, "140737488355328 bytes", "make it smaller", NULL);
	vmemdev_linux_last_error(memory, &error);
	assert_int_not_equal(error.code, 0);
	config.backing = VMEMDEV_LINUX_MEMFD;
	assert_int_equal(vmemdev_linux_add_ram(memory, &config), VMEMDEV_E_HOST);
	assert_int_equal(lowest_free_fd(), free_fd);
	assert_null(vmemdev_linux_ram_at(memory, 0));
}

/* A peer that was handed the memfd cannot take the memory away under the guest. */
static void a_memfd_keeps_its_size(void **state)
{
	struct vmemdev_linux_memory *memory = *state;
	struct vmemdev_linux_ram_config config = ram_config(VMEMDEV_LINUX_MEMFD, MIB);
	int fd;

	add_ram(memory, &config);
	fd = first_ram(memory)->fd;
	assert_int_equal(ftruncate(fd, 0), -1);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	vmemdev_linux_memory_finish(memory);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
}

/* Pages of address space that this process uses. */
static unsigned long address_space(void)
{
	FILE *file = fopen("/proc/self/statm", "r");
	unsigned long used = 0;

	assert_non_null(file);
	assert_int_equal(fscanf(file, "%lu", &used), 1);
	fclose(file);
	return used;
}

static void nothing_stays_mapped(void **state)
{
	struct vmemdev_linux_memory *memory = *state;
	struct vmemdev_linux_ram_config config = ram_config(VMEMDEV_LINUX_MEMFD, 64 * MIB);
	unsigned long before;

	address_space(); /* brings what stdio needs */
	before = address_space();
	for (uint32_t i = 0; i < 8; i++) {
		add_ram(memory, &config);
		assert_int_equal(address_space() - before, 64 * MIB / page_size());
		vmemdev_linux_memory_finish(memory);
		assert_int_equal(address_space(), before);
	}
}

static void a_file_may_be_closed_at_once(void **state)
{
	struct vmemdev_linux_memory *memory = *state;
	struct vmemdev_linux_ram_config config = ram_config(VMEMDEV_LINUX_FILE, MIB);
	struct vmemdev_range range = pages(0, 4);
	uint8_t *host;

	config.fd = scratch_memfd(3 * MIB);
	config.file_offset = MIB;
	assert_int_equal(pwrite(config.fd, "data", 4, (off_t)MIB), 4);
	host = add_ram(memory, &config);
	close(config.fd);
	assert_memory_equal(host, "data", 4);
	discard(memory, &range, 1);
	assert_memory_equal(host, "\0\0\0\0", 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(init_refuses_what_it_does_not_know),
		cmocka_unit_test(finish_takes_a_zeroed_memory),
		TEST(the_table_is_in_order),
		TEST(memory_starts_zeroed_and_not_resident),
		TEST(host_addresses_suit_huge_pages),
		TEST(transparent_huge_pages_come),
		TEST(mistakes_are_named),
		TEST(a_newer_config_must_be_zero_behind_its_end),
		TEST(one_stretch_too_many_is_refused),
		TEST(files_that_do_not_fit_are_refused),
		TEST(a_file_that_cannot_be_punched_is_refused),
		TEST(too_much_memory_is_refused),
		TEST(a_memfd_keeps_its_size),
		TEST(nothing_stays_mapped),
		TEST(a_file_may_be_closed_at_once),
	};

	return RUN(tests);
}
