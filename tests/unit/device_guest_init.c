/* SPDX-License-Identifier: BSD-3-Clause */
/* The guest-memory table: every configuration that must be refused, and by which name. */
#include "device_rig.h"

static _Alignas(4096) uint8_t backing[8 * 4096];
static uint64_t bits[1];

static void *never_map(void *ctx, uint64_t gpa, uint64_t len, enum vmemdev_access access)
{
	(void)ctx, (void)gpa, (void)len, (void)access;
	fail_msg("%s", "init called back");
	return NULL;
}

static uint64_t never_run(void *ctx, uint64_t gpa, uint64_t len, bool *discardable)
{
	(void)ctx, (void)gpa, (void)len, (void)discardable;
	fail_msg("%s", "init called back");
	return 0;
}

static void good_regions(struct vmemdev_region *regions)
{
	memset(regions, 0, 3 * sizeof(*regions));
	for (uint32_t i = 0; i < 3; i++) {
		regions[i].gpa = 0x10000 * (i + 1);
		regions[i].len = 0x2000;
		regions[i].host = backing + 0x2000 * i;
	}
}

static void good_config(struct vmemdev_guest_config *config, const struct vmemdev_region *regions)
{
	memset(config, 0, sizeof(*config));
	config->struct_size = sizeof(*config);
	config->region_count = 3;
	config->regions = regions;
}

/* Init must answer @err; on an error the object must be as it was. */
static void check_init(const struct vmemdev_guest_config *config, int err, const char *what)
{
	struct vmemdev_guest guest, before;
	int got;

	memset(&guest, 0x5a, sizeof(guest));
	memcpy(&before, &guest, sizeof(guest));
	got = vmemdev_guest_init(&guest, sizeof(guest), config);
	if (got != err)
		fail_msg("%s: expected %d, got %d", what, err, got);
	if (err)
		assert_memory_equal(&guest, &before, sizeof(guest));
}

static void guest_init_accepts_good_tables(void **state)
{
	struct vmemdev_region regions[3];
	struct vmemdev_guest_config config;

	(void)state;
	good_regions(regions);
	good_config(&config, regions);
	check_init(&config, 0, "three regions");
	regions[1].gpa = regions[0].gpa + regions[0].len;
	check_init(&config, 0, "neighbours");
	regions[2].flags = VMEMDEV_REGION_READONLY | VMEMDEV_REGION_KEEP;
	regions[2].blocks = bits;
	regions[2].block_shift = 12;
	check_init(&config, 0, "flags and blocks");
	regions[2].block_shift = 40;
	check_init(&config, 0, "largest blocks");
	regions[0].block_shift = 3;
	check_init(&config, 0, "block_shift without blocks is not looked at");
}

static void guest_init_names_each_bad_region(void **state)
{
	static const struct spoil rows[] = {
		SPOIL(struct vmemdev_region, gpa, 0x20001, VMEMDEV_E_ALIGN),
		SPOIL(struct vmemdev_region, gpa, 0x20800, VMEMDEV_E_ALIGN),
		SPOIL(struct vmemdev_region, len, 0, VMEMDEV_E_SIZE),
		SPOIL(struct vmemdev_region, len, 1, VMEMDEV_E_SIZE),
		SPOIL(struct vmemdev_region, len, 0x1800, VMEMDEV_E_SIZE),
		SPOIL(struct vmemdev_region, len, UINT64_C(0xfffffffffffff000), VMEMDEV_E_SIZE),
		SPOIL(struct vmemdev_region, host, 0, VMEMDEV_E_INVAL),
		SPOIL(struct vmemdev_region, flags, 4, VMEMDEV_E_INVAL),
		SPOIL(struct vmemdev_region, flags, 0x80000000, VMEMDEV_E_INVAL),
		SPOIL(struct vmemdev_region, block_shift, 11, VMEMDEV_E_ALIGN),
		SPOIL(struct vmemdev_region, block_shift, 41, VMEMDEV_E_ALIGN),
		SPOIL(struct vmemdev_region, gpa, 0x10000, VMEMDEV_E_OVERLAP),
		SPOIL(struct vmemdev_region, gpa, 0x11000, VMEMDEV_E_OVERLAP),
		SPOIL(struct vmemdev_region, gpa, 0x2f000, VMEMDEV_E_OVERLAP),
		SPOIL(struct vmemdev_region, gpa, 0x40000, VMEMDEV_E_OVERLAP),
		SPOIL(struct vmemdev_region, gpa, 0, VMEMDEV_E_OVERLAP),
		SPOIL(struct vmemdev_region, len, 0x11000, VMEMDEV_E_OVERLAP),
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct vmemdev_region regions[3];
		struct vmemdev_guest_config config;

		good_regions(regions);
		good_config(&config, regions);
		regions[1].blocks = bits;
		regions[1].block_shift = 16;
		spoil_apply(&rows[i], &regions[1]);
		check_init(&config, rows[i].err, rows[i].what);
	}
}

static void guest_init_names_missing_parts(void **state)
{
	static const struct vmemdev_guest_ops both = {.map = never_map, .run = never_run};
	static const struct vmemdev_guest_ops no_run = {.map = never_map};
	static const struct vmemdev_guest_ops no_map = {.run = never_run};
	struct vmemdev_region regions[3];
	struct vmemdev_guest_config config;
	struct vmemdev_guest guest;

	(void)state;
	good_regions(regions);
	good_config(&config, regions);
	assert_int_equal(vmemdev_guest_init(NULL, sizeof(guest), &config), VMEMDEV_E_INVAL);
	assert_int_equal(vmemdev_guest_init(&guest, sizeof(guest), NULL), VMEMDEV_E_INVAL);
	config.regions = NULL;
	check_init(&config, VMEMDEV_E_INVAL, "a count without regions");
	config.region_count = 0;
	check_init(&config, VMEMDEV_E_INVAL, "neither table nor callbacks");
	config.ops = &no_run;
	check_init(&config, VMEMDEV_E_INVAL, "no run");
	config.ops = &no_map;
	check_init(&config, VMEMDEV_E_INVAL, "no map");
	config.ops = &both;
	check_init(&config, 0, "callbacks");
}

static void guest_init_checks_struct_sizes(void **state)
{
	struct {
		struct vmemdev_guest_config config;
		uint64_t tail[2];
	} large;
	struct vmemdev_region regions[3];
	struct vmemdev_guest guest;

	(void)state;
	memset(&large, 0, sizeof(large));
	good_regions(regions);
	good_config(&large.config, regions);
	assert_int_equal(vmemdev_guest_init(&guest, sizeof(guest) - 1, &large.config),
			 VMEMDEV_E_ABI);
	assert_int_equal(vmemdev_guest_init(&guest, sizeof(guest) + 8, &large.config),
			 VMEMDEV_E_ABI);
	assert_int_equal(vmemdev_guest_init(&guest, 0, &large.config), VMEMDEV_E_ABI);
	large.config.struct_size = 0;
	check_init(&large.config, VMEMDEV_E_ABI, "struct_size 0");
	large.config.struct_size = sizeof(large.config) - 4;
	check_init(&large.config, VMEMDEV_E_ABI, "struct_size too small");
	large.config.struct_size = sizeof(large);
	check_init(&large.config, 0, "larger, with a zero tail");
	large.tail[1] = 1;
	check_init(&large.config, VMEMDEV_E_ABI, "larger, with something in the tail");
}

/* A table is replaced as a whole or not at all: the old one must go on to serve. */
static void guest_set_regions_keeps_the_old_table_on_error(void **state)
{
	static const struct vmemdev_guest_ops both = {.map = never_map, .run = never_run};
	struct vmemdev_region regions[3], bad[3];
	struct vmemdev_guest_config config;
	struct vmemdev_guest guest, before;

	(void)state;
	good_regions(regions);
	good_config(&config, regions);
	assert_int_equal(vmemdev_guest_init(&guest, sizeof(guest), &config), 0);
	memcpy(&before, &guest, sizeof(guest));
	good_regions(bad);
	bad[2].gpa = bad[1].gpa;
	assert_int_equal(vmemdev_guest_set_regions(&guest, bad, 3), VMEMDEV_E_OVERLAP);
	assert_int_equal(vmemdev_guest_set_regions(&guest, NULL, 3), VMEMDEV_E_INVAL);
	bad[2].len = 0;
	assert_int_equal(vmemdev_guest_set_regions(&guest, bad, 3), VMEMDEV_E_SIZE);
	assert_memory_equal(&guest, &before, sizeof(guest));
	assert_int_equal(vmemdev_guest_set_regions(&guest, bad, 2), 0);

	memset(&config, 0, sizeof(config));
	config.struct_size = sizeof(config);
	config.ops = &both;
	assert_int_equal(vmemdev_guest_init(&guest, sizeof(guest), &config), 0);
	assert_int_equal(vmemdev_guest_set_regions(&guest, regions, 3), VMEMDEV_E_STATE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(guest_init_accepts_good_tables),
		cmocka_unit_test(guest_init_names_each_bad_region),
		cmocka_unit_test(guest_init_names_missing_parts),
		cmocka_unit_test(guest_init_checks_struct_sizes),
		cmocka_unit_test(guest_set_regions_keeps_the_old_table_on_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
