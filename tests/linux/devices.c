/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The ready ops behind real devices: a driver gives pages up and unplugs blocks, and the
 * host's memory follows. The rings lie in memory of the model driver, so that what is
 * counted is what the guest gave up.
 */
#include "linux/support.h"

#include "guest/driver.h"

#define RINGS_GPA UINT64_C(0x10000)
#define RINGS_SIZE (512 * KIB)
#define LOW_SIZE (8 * MIB)
#define HIGH_GPA (4 * GIB)
#define HIGH_SIZE (8 * MIB)
#define BLOCK (2 * MIB)
#define REGION_SIZE (64 * MIB)
#define PFN(gpa) ((uint32_t)((gpa) / VMEMDEV_BALLOON_PAGE))

struct machine {
	struct vmemdev_linux_memory memory;
	struct guest_memory rings;
	struct guest_driver driver;
	struct vmemdev_guest guest;
	struct vmemdev_region table[VMEMDEV_LINUX_RAM_MAX + 1];
	struct vmemdev_balloon balloon;
	struct vmemdev_mem mem;
	struct vmemdev_range ranges[VMEMDEV_BALLOON_RANGES];
	uint64_t bitmap[1];
	uint8_t *low, *high;
};

static uint8_t *add(struct machine *m, uint32_t backing, uint64_t gpa, uint64_t size, bool populate)
{
	struct vmemdev_linux_ram_config config = ram_config(backing, size);

	config.gpa = gpa;
	config.populate = populate;
	return add_ram(&m->memory, &config);
}

/* What all devices need: memory, filled by the guest, and its table. */
static struct machine *power_on(uint32_t high, bool populate)
{
	struct machine *m = calloc(1, sizeof(*m));
	struct vmemdev_guest_config config = {.struct_size = sizeof(config)};
	struct vmemdev_region *regions;
	uint32_t count;

	assert_non_null(m);
	assert_int_equal(vmemdev_linux_memory_init(&m->memory, sizeof(m->memory), NULL), 0);
	m->low = add(m, VMEMDEV_LINUX_ANONYMOUS, RAM_GPA, LOW_SIZE, false);
	m->high = add(m, high, HIGH_GPA, populate ? REGION_SIZE : HIGH_SIZE, populate);
	fill(m->low, LOW_SIZE, 1);
	guest_memory_open_flat(&m->rings, RINGS_GPA, RINGS_SIZE);
	regions = vmemdev_linux_regions(&m->memory, &count);
	m->table[0] = m->rings.regions[0];
	memcpy(&m->table[1], regions, count * sizeof(*regions));
	config.regions = m->table;
	config.region_count = count + 1;
	assert_int_equal(vmemdev_guest_init(&m->guest, sizeof(m->guest), &config), 0);
	return m;
}

static void start(struct machine *m, struct vmemdev_device *dev)
{
	assert_int_equal(guest_driver_open(&m->driver, &m->rings, dev, GUEST_MMIO), 0);
	assert_true(guest_driver_start(&m->driver, 0, 0));
}

static void power_off(struct machine *m)
{
	guest_driver_close(&m->driver);
	guest_memory_close(&m->rings);
	vmemdev_linux_memory_finish(&m->memory);
	free(m);
}

static struct machine *balloon_machine(uint32_t high)
{
	struct machine *m = power_on(high, false);
	struct vmemdev_balloon_config config = {
		.struct_size = sizeof(config),
		.range_count = VMEMDEV_BALLOON_RANGES,
		.ranges = m->ranges,
		.device = {.guest = &m->guest},
		.ops = vmemdev_linux_balloon_ops(),
		.ctx = &m->memory,
	};

	fill(m->high, HIGH_SIZE, 1);
	assert_int_equal(vmemdev_balloon_init(&m->balloon, sizeof(m->balloon), &config), 0);
	start(m, vmemdev_balloon_device(&m->balloon));
	return m;
}

static void inflate(struct machine *m, const uint32_t *pfns, uint32_t count)
{
	struct guest_used used;

	assert_true(guest_driver_send_pfns(&m->driver, 0, pfns, count, 0) >= 0);
	assert_int_equal(guest_driver_run(&m->driver, 0), 0);
	assert_int_equal(guest_queue_poll(&m->driver.queues[0], &used), 1);
}

/* 1 MiB as Linux sends it: descending, one array. */
static void a_balloon_gives_memory_back(void **state)
{
	struct machine *m = balloon_machine(VMEMDEV_LINUX_MEMFD);
	uint32_t low[256], high[256];

	(void)state;
	for (uint32_t i = 0; i < 256; i++) {
		low[i] = PFN(RAM_GPA + 2 * MIB) + 255 - i;
		high[i] = PFN(HIGH_GPA + 2 * MIB) + 255 - i;
	}
	inflate(m, low, 256);
	assert_int_equal(resident(m->low + 2 * MIB, MIB), 0);
	assert_int_equal(resident(m->low, LOW_SIZE), LOW_SIZE - MIB);
	assert_calls(&m->memory, 0, 1, 0);
	inflate(m, high, 256);
	assert_int_equal(file_bytes(vmemdev_linux_ram_at(&m->memory, 1)->fd), HIGH_SIZE - MIB);
	assert_calls(&m->memory, 0, 1, 1);
	assert_true(is_filled(m->low, 2 * MIB, 1));
	assert_true(is_filled(m->low + 3 * MIB, LOW_SIZE - 3 * MIB, 1));
	fill(m->low + 2 * MIB, MIB, 7);
	assert_int_equal(resident(m->low, LOW_SIZE), LOW_SIZE);
	power_off(m);
}

/* What one array of a fragmented guest costs the host, whichever memory it is in. */
static void a_fragmented_array_is_one_call(void **state)
{
	struct machine *m = balloon_machine(VMEMDEV_LINUX_ANONYMOUS);
	uint32_t pfns[256], page = (uint32_t)(page_size() / VMEMDEV_BALLOON_PAGE);
	struct vmemdev_balloon_counts done;

	(void)state;
	if (page != 1) {
		print_message("skipped: a balloon page is only a part of this host's\n");
		power_off(m);
		skip();
	}
	for (uint32_t i = 0; i < 256; i++)
		pfns[i] = PFN(i % 2 == 0 ? RAM_GPA : HIGH_GPA) + 2 * (255 - i);
	inflate(m, pfns, 256);
	assert_int_equal(resident(m->low, LOW_SIZE), LOW_SIZE - 128 * page_size());
	assert_int_equal(resident(m->high, HIGH_SIZE), HIGH_SIZE - 128 * page_size());
	if (kernel_vectors())
		assert_calls(&m->memory, 1, 0, 0);
	else
		assert_calls(&m->memory, 0, 256, 0);
	vmemdev_balloon_get_counts(&m->balloon, &done);
	assert_int_equal(done.pages_inflated, 256);
	assert_int_equal(done.host_failures, 0);
	power_off(m);
}

static void a_refusal_reaches_the_balloons_counters(void **state)
{
	struct machine *m = balloon_machine(VMEMDEV_LINUX_ANONYMOUS);
	const uint32_t pfn = PFN(RAM_GPA + MIB);
	struct vmemdev_balloon_counts done;

	(void)state;
	if (page_size() != VMEMDEV_BALLOON_PAGE) {
		print_message("skipped: a balloon page is only a part of this host's\n");
		power_off(m);
		skip();
	}
	lock_page(m->low + MIB);
	inflate(m, &pfn, 1);
	vmemdev_balloon_get_counts(&m->balloon, &done);
	assert_int_equal(done.host_failures, 1);
	assert_error_says(&m->memory, "0x200000", "mlock", NULL);
	assert_true(is_filled(m->low, LOW_SIZE, 1));
	power_off(m);
}

static struct machine *mem_machine(uint32_t backing)
{
	struct machine *m = power_on(backing, true);
	struct vmemdev_mem_config config = {
		.struct_size = sizeof(config),
		.addr = HIGH_GPA,
		.region_size = REGION_SIZE,
		.block_size = BLOCK,
		.bitmap = m->bitmap,
		.bitmap_words = ARRAY_LEN(m->bitmap),
		.device = {.guest = &m->guest},
		.ops = vmemdev_linux_mem_ops(),
		.ctx = &m->memory,
	};

	assert_int_equal(vmemdev_mem_init(&m->mem, sizeof(m->mem), &config), 0);
	vmemdev_mem_region(&m->mem, m->high, &m->table[2]);
	vmemdev_guest_changed(&m->guest);
	assert_int_equal(vmemdev_mem_set_requested(&m->mem, 16 * BLOCK), 0);
	start(m, vmemdev_mem_device(&m->mem));
	return m;
}

static void request(struct machine *m, uint16_t type, uint64_t block, uint16_t count)
{
	struct guest_mem_response response;

	assert_int_equal(guest_driver_mem_request(&m->driver, type, HIGH_GPA + block * BLOCK, count,
						  &response), GUEST_MEM_ACK);
}

static void blocks_come_and_go(uint32_t backing, uint64_t madvise, uint64_t fallocate)
{
	struct machine *m = mem_machine(backing);

	assert_int_equal(resident(m->high, REGION_SIZE), 0);
	request(m, GUEST_MEM_PLUG, 2, 8);
	assert_int_equal(resident(m->high, REGION_SIZE), 8 * BLOCK);
	assert_int_equal(resident(m->high + 2 * BLOCK, 8 * BLOCK), 8 * BLOCK);
	assert_int_equal(counts(&m->memory).populate, 1);
	fill(m->high + 2 * BLOCK, 8 * BLOCK, 5);
	request(m, GUEST_MEM_UNPLUG, 4, 3);
	assert_int_equal(cached(m->high + 2 * BLOCK, 8 * BLOCK), 5 * BLOCK);
	assert_true(is_filled(m->high + 2 * BLOCK, 2 * BLOCK, 5));
	assert_true(is_filled(m->high + 7 * BLOCK, 3 * BLOCK, 5));
	assert_calls(&m->memory, 0, madvise, fallocate);
	request(m, GUEST_MEM_PLUG, 4, 1);
	assert_true(is_filled(m->high + 4 * BLOCK, BLOCK, 0));
	assert_int_equal(guest_driver_mem_request(&m->driver, GUEST_MEM_UNPLUG_ALL, 0, 0,
						  &(struct guest_mem_response){0}), GUEST_MEM_ACK);
	assert_int_equal(cached(m->high, REGION_SIZE), 0);
	assert_int_equal(resident(m->low, LOW_SIZE), LOW_SIZE);
	power_off(m);
}

static void memory_device_blocks_come_and_go_anonymous(void **state)
{
	(void)state;
	blocks_come_and_go(VMEMDEV_LINUX_ANONYMOUS, 1, 0);
}

static void memory_device_blocks_come_and_go_memfd(void **state)
{
	(void)state;
	blocks_come_and_go(VMEMDEV_LINUX_MEMFD, 0, 1);
}

static void the_tables_offer_what_they_can(void **state)
{
	const struct vmemdev_balloon_ops *balloon = vmemdev_linux_balloon_ops();
	const struct vmemdev_mem_ops *mem = vmemdev_linux_mem_ops();

	(void)state;
	assert_non_null(balloon->inflate);
	assert_null(balloon->deflate); /* a touch is enough */
	assert_null(balloon->actual);
	assert_non_null(mem->plug);
	assert_non_null(mem->unplug);
	assert_null(mem->plugged);
}

/* Without populate a plug brings nothing, and checks its ranges all the same. */
static void plug_without_populate_brings_nothing(void **state)
{
	struct vmemdev_linux_memory *memory = *state;
	struct vmemdev_linux_ram_config config = ram_config(VMEMDEV_LINUX_ANONYMOUS, MIB);
	struct vmemdev_range range = {RAM_GPA, MIB};
	uint8_t *host = add_ram(memory, &config);

	assert_int_equal(vmemdev_linux_mem_ops()->plug(memory, &range, 1, 0), 0);
	assert_int_equal(resident(host, MIB), 0);
	assert_int_equal(counts(memory).populate, 0);
	range.len++;
	assert_int_equal(vmemdev_linux_mem_ops()->plug(memory, &range, 1, 0), VMEMDEV_E_SIZE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_balloon_gives_memory_back),
		cmocka_unit_test(a_fragmented_array_is_one_call),
		cmocka_unit_test(a_refusal_reaches_the_balloons_counters),
		cmocka_unit_test(memory_device_blocks_come_and_go_anonymous),
		cmocka_unit_test(memory_device_blocks_come_and_go_memfd),
		cmocka_unit_test(the_tables_offer_what_they_can),
		TEST(plug_without_populate_brings_nothing),
	};

	return RUN(tests);
}
