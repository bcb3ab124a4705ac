/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Guarded stretches: of a memory device's region, only what is plugged can be touched, by
 * this process as by the kernel on its behalf.
 */
#include "linux/support.h"

#include "guest/driver.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#define RINGS_GPA UINT64_C(0x10000)
#define RINGS_SIZE (512 * KIB)
#define HIGH_GPA (4 * GIB)
#define BLOCK (64 * KIB)
#define BLOCKS 96u
#define REGION_SIZE (BLOCKS * BLOCK)

static sigjmp_buf landing;

static void on_fault(int number)
{
	siglongjmp(landing, number);
}

/* The signal that a touch by this process raises, or 0. */
static int touch(uint8_t *host, bool store)
{
	struct sigaction action = {.sa_handler = on_fault}, old_segv, old_bus;
	volatile uint8_t *at = host;
	int number;

	sigemptyset(&action.sa_mask);
	sigaction(SIGSEGV, &action, &old_segv);
	sigaction(SIGBUS, &action, &old_bus);
	number = sigsetjmp(landing, 1);
	if (number == 0) {
		if (store)
			*at = 0x77;
		else
			(void)*at;
	}
	sigaction(SIGSEGV, &old_segv, NULL);
	sigaction(SIGBUS, &old_bus, NULL);
	return number;
}

/* Whether the kernel, and so a KVM guest, is refused with EFAULT. */
static bool kernel_is_refused(const uint8_t *host)
{
	uint8_t byte;
	int ends[2];
	ssize_t got;

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	got = write(ends[1], host, 1);
	if (got < 0)
		assert_int_equal(errno, EFAULT);
	else
		assert_int_equal(read(ends[0], &byte, 1), 1);
	close(ends[0]);
	close(ends[1]);
	return got < 0;
}

static void assert_shut(uint8_t *host, uint64_t len)
{
	for (uint64_t at = 0; at < len; at += page_size()) {
		assert_true(kernel_is_refused(host + at));
		assert_int_equal(touch(host + at, false), SIGSEGV);
		assert_int_equal(touch(host + at, true), SIGSEGV);
	}
	assert_int_equal(touch(host + len - 1, true), SIGSEGV);
}

static void assert_open(uint8_t *host, uint64_t len)
{
	for (uint64_t at = 0; at < len; at += page_size()) {
		assert_false(kernel_is_refused(host + at));
		assert_int_equal(touch(host + at, true), 0);
	}
	assert_int_equal(touch(host + len - 1, true), 0);
}

static int plug(struct vmemdev_linux_memory *memory, const struct vmemdev_range *ranges,
		uint32_t count)
{
	return vmemdev_linux_mem_ops()->plug(memory, ranges, count, 0);
}

static int unplug(struct vmemdev_linux_memory *memory, const struct vmemdev_range *ranges,
		  uint32_t count)
{
	return vmemdev_linux_mem_ops()->unplug(memory, ranges, count, 0);
}

static void only_what_is_plugged_opens(struct vmemdev_linux_memory *memory, uint8_t *host)
{
	const uint64_t page = page_size();
	struct vmemdev_range ranges[2] = {pages(2, 3), pages(8, 1)};

	assert_true(first_ram(memory)->guarded);
	assert_shut(host, 16 * page);
	assert_int_equal(plug(memory, ranges, 2), 0);
	assert_int_equal(counts(memory).protect, 2);
	assert_shut(host, 2 * page);
	assert_open(host + 2 * page, 3 * page);
	assert_shut(host + 5 * page, 3 * page);
	assert_open(host + 8 * page, page);
	assert_shut(host + 9 * page, 7 * page);

	fill(host + 2 * page, 3 * page, 9);
	ranges[0] = pages(3, 1);
	assert_int_equal(unplug(memory, ranges, 1), 0);
	assert_shut(host + 3 * page, page);
	assert_true(is_filled(host + 2 * page, page, 9));
	assert_true(is_filled(host + 4 * page, page, 9));
	assert_int_equal(plug(memory, ranges, 1), 0);
	assert_true(is_filled(host + 3 * page, page, 0));

	/* a hull over open and shut pages shuts all */
	ranges[0] = pages(0, 16);
	assert_int_equal(unplug(memory, ranges, 1), 0);
	assert_shut(host, 16 * page);
	assert_int_equal(cached(host, 16 * page), 0);
}

static void only_what_is_plugged_opens_anonymous(void **state)
{
	struct vmemdev_linux_ram_config config =
		ram_config(VMEMDEV_LINUX_ANONYMOUS, 16 * page_size());

	config.guarded = true;
	only_what_is_plugged_opens(*state, add_ram(*state, &config));
}

/* It could not be discarded once it is shut. */
static void shared_anonymous_memory_is_refused(void **state)
{
	struct vmemdev_linux_memory *memory = *state;
	struct vmemdev_linux_ram_config config = ram_config(VMEMDEV_LINUX_ANONYMOUS, 16 * page_size());

	config.guarded = true;
	config.mapping = VMEMDEV_LINUX_SHARED;
	assert_int_equal(vmemdev_linux_add_ram(memory, &config), VMEMDEV_E_INVAL);
	assert_error_says(memory, "guarded", "MEMFD", NULL);
}

static void only_what_is_plugged_opens_memfd(void **state)
{
	struct vmemdev_linux_ram_config config =
		ram_config(VMEMDEV_LINUX_MEMFD, 16 * page_size());

	config.guarded = true;
	config.populate = true;
	only_what_is_plugged_opens(*state, add_ram(*state, &config));
}

static void only_what_is_plugged_opens_file(void **state)
{
	struct vmemdev_linux_ram_config config =
		ram_config(VMEMDEV_LINUX_FILE, 16 * page_size());

	config.guarded = true;
	config.fd = scratch_memfd(16 * page_size());
	only_what_is_plugged_opens(*state, add_ram(*state, &config));
	close(config.fd);
}

/* Other stretches are not touched by it, also where one range spans both. */
static void what_is_not_guarded_stays_open(void **state)
{
	const uint64_t page = page_size();
	struct vmemdev_linux_memory *memory = *state;
	struct vmemdev_linux_ram_config config = ram_config(VMEMDEV_LINUX_ANONYMOUS, 4 * page);
	struct vmemdev_range range = pages(2, 4);
	uint8_t *plain = add_ram(memory, &config), *guarded;

	config.gpa = RAM_GPA + 4 * page;
	config.guarded = true;
	guarded = add_ram(memory, &config);
	fill(plain, 4 * page, 3);
	assert_false(vmemdev_linux_ram_at(memory, 0)->guarded);
	assert_int_equal(plug(memory, &range, 1), 0);
	assert_int_equal(counts(memory).protect, 1);
	assert_open(guarded, 2 * page);
	assert_shut(guarded + 2 * page, 2 * page);
	assert_int_equal(unplug(memory, &range, 1), 0);
	assert_open(plain, 4 * page);
	assert_shut(guarded, 4 * page);
}

/* Memory is short in the middle of a plug: all of it is shut again, and given back. */
static void a_plug_that_fails_leaves_it_shut(void **state)
{
	const uint64_t page = page_size();
	struct vmemdev_linux_memory *memory = *state;
	struct vmemdev_linux_ram_config config = ram_config(VMEMDEV_LINUX_FILE, 16 * page);
	struct vmemdev_range ranges[2] = {pages(0, 2), pages(6, 4)};
	uint8_t *host;

	config.guarded = true;
	config.populate = true;
	config.fd = scratch_memfd(16 * page);
	host = add_ram(memory, &config);
	/* from here on the file has no page 8 to bring */
	assert_int_equal(ftruncate(config.fd, (off_t)(8 * page)), 0);
	assert_int_equal(plug(memory, ranges, 2), VMEMDEV_E_BUSY);
	assert_error_says(memory, "MADV_POPULATE_WRITE", NULL);
	assert_shut(host, 16 * page);
	assert_int_equal(file_bytes(config.fd), 0);
	assert_int_equal(plug(memory, ranges, 1), 0);
	assert_open(host, 2 * page);
	assert_int_equal(resident(host, 2 * page), 2 * page);
	close(config.fd);
}

/* An unplug that the kernel refuses has changed nothing: the memory stays the guest's. */
static void an_unplug_that_fails_leaves_it_open(void **state)
{
	const uint64_t page = page_size();
	struct vmemdev_linux_memory *memory = *state;
	struct vmemdev_linux_ram_config config = ram_config(VMEMDEV_LINUX_ANONYMOUS, 8 * page);
	struct vmemdev_range range = pages(2, 3);
	uint8_t *host;

	config.guarded = true;
	host = add_ram(memory, &config);
	assert_int_equal(plug(memory, &range, 1), 0);
	fill(host + 2 * page, 3 * page, 6);
	lock_page(host + 2 * page);
	assert_int_equal(unplug(memory, &range, 1), VMEMDEV_E_HOST);
	assert_true(is_filled(host + 2 * page, 3 * page, 6));
	unlock_page(host + 2 * page);
	assert_int_equal(unplug(memory, &range, 1), 0);
	assert_shut(host, 8 * page);
}

static long mappings_at_most(void)
{
	FILE *file = fopen("/proc/sys/vm/max_map_count", "r");
	long most = 0;

	assert_non_null(file);
	assert_int_equal(fscanf(file, "%ld", &most), 1);
	fclose(file);
	return most;
}

/* The guest has plugged so many single pages that no mapping can be split any more. */
static void an_unplug_that_cannot_be_shut_has_discarded_nothing(void **state)
{
	const uint64_t page = page_size(), most = (uint64_t)mappings_at_most();
	struct vmemdev_linux_memory *memory = *state;
	struct vmemdev_linux_ram_config config =
		ram_config(VMEMDEV_LINUX_ANONYMOUS, (most + 32) * page);
	struct vmemdev_range run = pages(1, 5), middle = pages(3, 1), one = pages(10, 1);
	uint64_t plugged = 0;
	uint8_t *host;

	if (most > 100000) {
		print_message("skipped: vm.max_map_count is %lu, too many to use up\n",
			      (unsigned long)most);
		skip();
	}
	config.guarded = true;
	config.no_reserve = true;
	host = add_ram(memory, &config);
	assert_int_equal(plug(memory, &run, 1), 0);
	fill(host + page, 5 * page, 6);
	while (plugged < most && plug(memory, &one, 1) == 0) {
		plugged++;
		one.gpa += 2 * page;
	}
	assert_int_equal(plug(memory, &one, 1), VMEMDEV_E_BUSY);
	assert_error_says(memory, "max_map_count", NULL);
	assert_int_equal(unplug(memory, &middle, 1), VMEMDEV_E_BUSY);
	assert_true(is_filled(host + page, 5 * page, 6));
	one.gpa -= 2 * page;
	assert_int_equal(unplug(memory, &one, 1), 0);
	assert_int_equal(unplug(memory, &middle, 1), 0);
	assert_shut(host + 3 * page, page);
}

static void ranges_outside_change_nothing(void **state)
{
	const uint64_t page = page_size();
	struct vmemdev_linux_memory *memory = *state;
	struct vmemdev_linux_ram_config config = ram_config(VMEMDEV_LINUX_ANONYMOUS, 8 * page);
	struct vmemdev_range ranges[2] = {pages(1, 2), pages(7, 2)};
	uint8_t *host;

	config.guarded = true;
	host = add_ram(memory, &config);
	assert_int_equal(plug(memory, ranges, 2), VMEMDEV_E_SIZE);
	assert_shut(host, 8 * page);
	ranges[1] = pages(5, 1);
	assert_int_equal(plug(memory, ranges, 2), 0);
	ranges[1] = pages(7, 2);
	assert_int_equal(unplug(memory, ranges, 2), VMEMDEV_E_SIZE);
	assert_open(host + page, 2 * page);
	assert_open(host + 5 * page, page);
}

/* A memory device over a guarded region. */
struct machine {
	struct vmemdev_linux_memory memory;
	struct guest_memory rings;
	struct guest_driver driver;
	struct vmemdev_guest guest;
	struct vmemdev_region table[2];
	struct vmemdev_mem mem;
	uint64_t bitmap[2];
	uint8_t *high;
};

static void make_device(struct machine *m)
{
	struct vmemdev_mem_config config = {
		.struct_size = sizeof(config),
		.addr = HIGH_GPA,
		.region_size = REGION_SIZE,
		.block_size = BLOCK,
		.unplugged_inaccessible = true,
		.bitmap = m->bitmap,
		.bitmap_words = ARRAY_LEN(m->bitmap),
		.device = {.guest = &m->guest},
		.ops = vmemdev_linux_mem_ops(),
		.ctx = &m->memory,
	};

	assert_int_equal(vmemdev_mem_init(&m->mem, sizeof(m->mem), &config), 0);
}

static void make_region(struct machine *m)
{
	struct vmemdev_linux_ram_config ram = ram_config(VMEMDEV_LINUX_ANONYMOUS, REGION_SIZE);

	ram.gpa = HIGH_GPA;
	ram.guarded = true;
	ram.no_reserve = true;
	assert_int_equal(vmemdev_linux_memory_init(&m->memory, sizeof(m->memory), NULL), 0);
	m->high = add_ram(&m->memory, &ram);
	vmemdev_mem_region(&m->mem, m->high, &m->table[1]);
}

static struct machine *power_on(void)
{
	struct vmemdev_guest_config config = {.struct_size = sizeof(config), .region_count = 1};
	struct machine *m = calloc(1, sizeof(*m));

	assert_non_null(m);
	guest_memory_open_flat(&m->rings, RINGS_GPA, RINGS_SIZE);
	m->table[0] = m->rings.regions[0];
	config.regions = m->table;
	assert_int_equal(vmemdev_guest_init(&m->guest, sizeof(m->guest), &config), 0);
	make_device(m);
	make_region(m);
	assert_int_equal(vmemdev_guest_set_regions(&m->guest, m->table, 2), 0);
	assert_int_equal(vmemdev_mem_set_requested(&m->mem, REGION_SIZE), 0);
	assert_int_equal(guest_driver_open(&m->driver, &m->rings, vmemdev_mem_device(&m->mem),
					   GUEST_DIRECT), 0);
	assert_true(guest_driver_start(&m->driver, VMEMDEV_MEM_F_UNPLUGGED_INACCESSIBLE, 0));
	return m;
}

static void power_off(struct machine *m)
{
	guest_driver_close(&m->driver);
	guest_memory_close(&m->rings);
	vmemdev_linux_memory_finish(&m->memory);
	free(m);
}

static void request(struct machine *m, uint16_t type, uint64_t block, uint16_t count)
{
	struct guest_mem_response response;

	assert_int_equal(guest_driver_mem_request(&m->driver, type, HIGH_GPA + block * BLOCK, count,
						  &response), GUEST_MEM_ACK);
}

/* What can be touched is what is plugged, block by block. */
static void check_blocks(struct machine *m)
{
	struct vmemdev_range run;

	for (uint64_t block = 0; block < BLOCKS; block++) {
		uint8_t *host = m->high + block * BLOCK;
		bool plugged = vmemdev_mem_next(&m->mem, HIGH_GPA + block * BLOCK, true, &run) &&
			       run.gpa == HIGH_GPA + block * BLOCK;

		assert_int_equal(kernel_is_refused(host), !plugged);
		assert_int_equal(touch(host + BLOCK - 1, true), plugged ? 0 : SIGSEGV);
	}
}

/* shows: HOST-MEM-05 MEM-OP-04 */
static void HOST_MEM_05_unplugged_blocks_of_a_device_cannot_be_touched(void **state)
{
	struct machine *m = power_on();

	(void)state;
	check_blocks(m);
	request(m, GUEST_MEM_PLUG, 2, 30);
	check_blocks(m);
	request(m, GUEST_MEM_UNPLUG, 4, 3);
	check_blocks(m);
	/* more runs than one callback holds, so that the last range spans unplugged blocks */
	for (uint64_t block = 40; block < BLOCKS; block += 2)
		request(m, GUEST_MEM_PLUG, block, 1);
	check_blocks(m);
	request(m, GUEST_MEM_UNPLUG_ALL, 0, 0);
	check_blocks(m);
	assert_int_equal(cached(m->high, REGION_SIZE), 0);
	request(m, GUEST_MEM_PLUG, 0, BLOCKS);
	check_blocks(m);
	assert_int_equal(vmemdev_device_system_reset(vmemdev_mem_device(&m->mem)), 0);
	check_blocks(m);
	power_off(m);
}

/* Where a record is loaded, the host opens each run; that is the same blocks. */
static void a_loaded_device_is_opened_run_by_run(void **state)
{
	struct machine *m = power_on();
	struct vmemdev_device *dev = vmemdev_mem_device(&m->mem);
	struct vmemdev_range run = {0, 0};
	uint8_t record[1024];
	size_t len;

	(void)state;
	request(m, GUEST_MEM_PLUG, 2, 30);
	request(m, GUEST_MEM_PLUG, 90, 6);
	request(m, GUEST_MEM_UNPLUG, 9, 1);
	assert_true(vmemdev_device_save_size(dev) <= sizeof(record));
	assert_int_equal(vmemdev_device_save(dev, record, sizeof(record), &len), 0);
	vmemdev_linux_memory_finish(&m->memory);
	make_device(m);
	make_region(m);
	vmemdev_guest_changed(&m->guest);
	assert_int_equal(vmemdev_device_load(dev, record, len), 0);
	assert_shut(m->high, REGION_SIZE);
	while (vmemdev_mem_next(&m->mem, run.gpa + run.len, true, &run))
		assert_int_equal(plug(&m->memory, &run, 1), 0);
	check_blocks(m);
	request(m, GUEST_MEM_UNPLUG, 2, 5);
	check_blocks(m);
	power_off(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(only_what_is_plugged_opens_anonymous),
		TEST(shared_anonymous_memory_is_refused),
		TEST(only_what_is_plugged_opens_memfd),
		TEST(only_what_is_plugged_opens_file),
		TEST(what_is_not_guarded_stays_open),
		TEST(a_plug_that_fails_leaves_it_shut),
		TEST(an_unplug_that_fails_leaves_it_open),
		TEST(an_unplug_that_cannot_be_shut_has_discarded_nothing),
		TEST(ranges_outside_change_nothing),
		cmocka_unit_test(HOST_MEM_05_unplugged_blocks_of_a_device_cannot_be_touched),
		cmocka_unit_test(a_loaded_device_is_opened_run_by_run),
	};

	return RUN(tests);
}
