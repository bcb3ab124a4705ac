/* SPDX-License-Identifier: BSD-3-Clause */
/* What a persistent memory device shows before any request, and what init must refuse. */
#include "device_rig.h"

#define ROW(field, value, err) SPOIL(struct vmemdev_pmem_config, field, value, err)
#define BIT(n) (UINT64_C(1) << (n))

/* Above 4 GiB at both ends, so that no half of an address is lost unseen. */
#define BIG_SIZE (UINT64_C(5) << 30)
#define BIG_GPA UINT64_C(0x1234560000000)

static int setup_way(void **state)
{
	(void)state;
	return 0;
}

static struct rig *make(void **state, bool shmem_region, uint64_t addr, uint64_t size)
{
	struct rig *rig = rig_bare(*state);
	struct vmemdev_pmem_config config;

	rig_pmem_config(rig, &config);
	config.shmem_region = shmem_region;
	config.addr = addr;
	config.size = size;
	rig_make_pmem(rig, &config);
	*state = rig;
	return rig;
}

static void expect_config(struct rig *rig, uint64_t start, uint64_t size)
{
	assert_true(guest_driver_config64(&rig->driver, PMEM_CFG_START) == start);
	assert_true(guest_driver_config64(&rig->driver, PMEM_CFG_SIZE) == size);
}

static uint64_t shm_word(struct rig *rig, uint32_t id, uint32_t low)
{
	struct guest_driver *d = &rig->driver;

	guest_driver_set_register(d, REG_SHM_SEL, id);
	return guest_driver_register(d, low) | (uint64_t)guest_driver_register(d, low + 4) << 32;
}

/* The region of number @id as the transport shows it; a length of all ones: none. */
static struct vmemdev_range shm(struct rig *rig, uint32_t id)
{
	struct vmemdev_range range = {0, UINT64_MAX};

	if (rig->way.mmio)
		return (struct vmemdev_range){shm_word(rig, id, REG_SHM_BASE_LOW),
					      shm_word(rig, id, REG_SHM_LEN_LOW)};
	if (id < 256)
		(void)vmemdev_device_shm(rig->dev, (uint8_t)id, &range);
	return range;
}

static void expect_shm(struct rig *rig, uint64_t gpa, uint64_t len)
{
	static const uint32_t others[] = {1, 2, 3, 128, 255, 256, 0x10000, UINT32_MAX};
	struct vmemdev_range range = shm(rig, 0);

	assert_true(range.len == len);
	if (len != UINT64_MAX)
		assert_true(range.gpa == gpa);
	for (size_t i = 0; i < ARRAY_LEN(others); i++)
		assert_true(shm(rig, others[i]).len == UINT64_MAX);
}

/* shows: PMEM-01 */
static void PMEM_01_numbers_of_the_device(void **state)
{
	struct rig *rig = make(state, true, PMEM_GPA, PMEM_SIZE);
	uint8_t bytes[PMEM_CFG_END + 4], want[PMEM_CFG_END + 4] = {0};

	assert_int_equal(vmemdev_device_id(rig->dev), 27);
	assert_int_equal(vmemdev_device_queue_count(rig->dev), 1);
	assert_true(VMEMDEV_PMEM_F_SHMEM_REGION == 1);
	assert_true(guest_driver_offered(&rig->driver) & 1);
	guest_driver_config_read(&rig->driver, 0, bytes, sizeof(bytes));
	put64(want, PMEM_GPA);
	put64(want + 8, PMEM_SIZE);
	assert_memory_equal(bytes, want, sizeof(bytes));
	if (rig->way.mmio)
		assert_int_equal(guest_driver_register(&rig->driver, REG_DEVICE_ID), 27);
}

/* shows: PMEM-02 PMEM-03 SHM-02 MMIO-18 LNX-PMEM-04 */
static void PMEM_02_with_the_feature_the_range_is_region_0_alone(void **state)
{
	struct rig *rig = make(state, true, BIG_GPA, BIG_SIZE);

	expect_shm(rig, BIG_GPA, BIG_SIZE);
	drv_negotiate(rig, VMEMDEV_PMEM_F_SHMEM_REGION);
	expect_config(rig, 0, 0);
	expect_shm(rig, BIG_GPA, BIG_SIZE);
	drv_open(rig, 0);
	drv_set_status(rig, DRV_LIVE);
	expect_config(rig, 0, 0);
	expect_shm(rig, BIG_GPA, BIG_SIZE);
	assert_int_equal(flush_send(rig), FLUSH_OK);
	drv_reset(rig);
	expect_config(rig, BIG_GPA, BIG_SIZE);
	expect_shm(rig, BIG_GPA, BIG_SIZE);
}

/* shows: PMEM-04 */
static void PMEM_04_without_the_feature_the_range_is_in_the_configuration(void **state)
{
	struct rig *rig = make(state, false, BIG_GPA, BIG_SIZE);

	assert_false(guest_driver_offered(&rig->driver) & VMEMDEV_PMEM_F_SHMEM_REGION);
	expect_shm(rig, 0, UINT64_MAX);
	expect_config(rig, BIG_GPA, BIG_SIZE);
	drv_start(rig, 0);
	expect_config(rig, BIG_GPA, BIG_SIZE);
	expect_shm(rig, 0, UINT64_MAX);
}

/* shows: PMEM-04 LNX-PMEM-04 */
static void PMEM_04_a_driver_may_leave_the_feature_alone(void **state)
{
	struct rig *rig = make(state, true, PMEM_GPA, PMEM_SIZE);

	drv_start(rig, 0);
	expect_config(rig, PMEM_GPA, PMEM_SIZE);
	assert_int_equal(flush_send(rig), FLUSH_OK);
}

/* Drivers look first and accept then, bit by bit. */
/* shows: PMEM-05 LNX-PMEM-04 */
static void PMEM_05_until_FEATURES_OK_both_tell_the_range(void **state)
{
	struct rig *rig = make(state, true, PMEM_GPA, PMEM_SIZE);
	static const uint8_t steps[] = {0, 1, 3};

	for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
		if (steps[i])
			drv_set_status(rig, steps[i]);
		expect_config(rig, PMEM_GPA, PMEM_SIZE);
		expect_shm(rig, PMEM_GPA, PMEM_SIZE);
	}
	guest_driver_accept(&rig->driver, VMEMDEV_F_VERSION_1 | rig->ring_features |
						  VMEMDEV_PMEM_F_SHMEM_REGION);
	expect_config(rig, PMEM_GPA, PMEM_SIZE);
	expect_shm(rig, PMEM_GPA, PMEM_SIZE);
	drv_set_status(rig, DRV_READY);
	expect_config(rig, 0, 0);
	expect_shm(rig, PMEM_GPA, PMEM_SIZE);
}

/* shows: PMEM-01 */
static void PMEM_01_the_configuration_cannot_be_written(void **state)
{
	struct rig *rig = make(state, false, PMEM_GPA, PMEM_SIZE);
	const uint8_t ones[PMEM_CFG_END] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
					    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

	guest_driver_config_write(&rig->driver, 0, ones, sizeof(ones));
	drv_start(rig, 0);
	guest_driver_config_write(&rig->driver, 0, ones, sizeof(ones));
	expect_config(rig, PMEM_GPA, PMEM_SIZE);
}

/* shows: SHM-02 MMIO-18 */
static void SHM_02_other_devices_have_no_region(void **state)
{
	struct rig *rig = rig_bare(*state);

	*state = rig;
	rig_make_balloon(rig, NULL);
	expect_shm(rig, 0, UINT64_MAX);
}

/* Data that must last is never given back, whatever a balloon on the same table hears. */
/* shows: PMEM-13 */
static void PMEM_13_the_region_is_marked_to_be_kept(void **state)
{
	struct rig *rig = make(state, false, PMEM_GPA, PMEM_SIZE);
	struct vmemdev_region region;
	uint8_t byte;

	memset(&region, 0x5a, sizeof(region));
	vmemdev_pmem_region(&rig->pmem, &byte, false, &region);
	assert_true(region.gpa == PMEM_GPA && region.len == PMEM_SIZE);
	assert_ptr_equal(region.host, &byte);
	assert_int_equal(region.flags, VMEMDEV_REGION_KEEP);
	vmemdev_pmem_region(&rig->pmem, &byte, true, &region);
	assert_int_equal(region.flags, VMEMDEV_REGION_KEEP | VMEMDEV_REGION_READONLY);
}

static void check_init(struct rig *rig, const struct vmemdev_pmem_config *config, int err,
		       const char *what)
{
	struct vmemdev_pmem *before = malloc(sizeof(*before));
	int got;

	assert_non_null(before);
	memset(&rig->pmem, 0x5a, sizeof(rig->pmem));
	memcpy(before, &rig->pmem, sizeof(*before));
	got = vmemdev_pmem_init(&rig->pmem, sizeof(rig->pmem), config);
	if (got != err)
		fail_msg("%s: expected %d, got %d", what, err, got);
	if (err)
		assert_memory_equal(&rig->pmem, before, sizeof(*before));
	free(before);
}

static void check_rows(struct rig *rig, const struct spoil *rows, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct vmemdev_pmem_config config;

		rig_pmem_config(rig, &config);
		spoil_apply(&rows[i], &config);
		check_init(rig, &config, rows[i].err, rows[i].what);
	}
}

/* shows: FEAT-03 FEAT-06 */
static void FEAT_03_pmem_init_names_each_bad_field(void **state)
{
	static const struct spoil rows[] = {
		ROW(struct_size, 0, VMEMDEV_E_ABI),
		ROW(struct_size, sizeof(struct vmemdev_pmem_config) - 4, VMEMDEV_E_ABI),
		ROW(request_count, 0, VMEMDEV_E_SIZE),
		ROW(requests, 0, VMEMDEV_E_INVAL),
		ROW(ops, 0, VMEMDEV_E_INVAL),
		ROW(addr, PMEM_GPA + 1, VMEMDEV_E_ALIGN),
		ROW(addr, PMEM_GPA + 2048, VMEMDEV_E_ALIGN),
		ROW(addr, UINT64_C(0) - PMEM_SIZE + 4096, VMEMDEV_E_SIZE),
		ROW(size, 0, VMEMDEV_E_SIZE),
		ROW(size, 4095, VMEMDEV_E_SIZE),
		ROW(size, PMEM_SIZE + 1, VMEMDEV_E_SIZE),
		ROW(size, UINT64_C(0) - PMEM_GPA + 4096, VMEMDEV_E_SIZE),
		ROW(pad_[0], 1, VMEMDEV_E_INVAL),
		ROW(pad_[6], 1, VMEMDEV_E_INVAL),
		ROW(device.guest, 0, VMEMDEV_E_INVAL),
		ROW(device.pad_[1], 7, VMEMDEV_E_INVAL),
		ROW(device.queue_size, 5, VMEMDEV_E_SIZE),
		ROW(device.queue_size, 65535, VMEMDEV_E_SIZE),
		ROW(device.features_on, BIT(0), VMEMDEV_E_FEATURE),
		ROW(device.features_on, BIT(1), VMEMDEV_E_FEATURE),
		ROW(device.features_on, BIT(37), VMEMDEV_E_FEATURE),
		ROW(device.features_on, BIT(41), VMEMDEV_E_FEATURE),
		ROW(device.features_on, BIT(63), VMEMDEV_E_FEATURE),
		ROW(device.features_off, VMEMDEV_F_VERSION_1, VMEMDEV_E_FEATURE),
		ROW(device.features_off, BIT(0), VMEMDEV_E_FEATURE),
	};

	check_rows(*state, rows, ARRAY_LEN(rows));
}

static void pmem_init_accepts_what_is_documented(void **state)
{
	static const struct spoil rows[] = {
		ROW(request_count, 1, 0),
		ROW(addr, 0, 0),
		ROW(addr, UINT64_C(0) - PMEM_SIZE, 0),
		ROW(size, 4096, 0),
		ROW(size, UINT64_C(0) - PMEM_GPA, 0),
		ROW(ctx, 0, 0),
		ROW(shmem_region, 1, 0),
		ROW(device.queue_size, 1, 0),
		ROW(device.features_on, VMEMDEV_F_RING_PACKED | VMEMDEV_F_IN_ORDER |
					VMEMDEV_F_NOTIFICATION_DATA | VMEMDEV_F_ACCESS_PLATFORM,
		    0),
		ROW(device.features_off, VMEMDEV_F_INDIRECT_DESC | VMEMDEV_F_EVENT_IDX |
					 VMEMDEV_F_RING_RESET, 0),
	};

	check_rows(*state, rows, ARRAY_LEN(rows));
}

static void pmem_init_needs_flush_and_its_pointers(void **state)
{
	const struct vmemdev_pmem_ops none = {.flush = NULL};
	struct rig *rig = *state;
	struct {
		struct vmemdev_pmem_config config;
		uint64_t tail[2];
	} large;

	memset(&large, 0, sizeof(large));
	rig_pmem_config(rig, &large.config);
	assert_int_equal(vmemdev_pmem_init(NULL, sizeof(rig->pmem), &large.config),
			 VMEMDEV_E_INVAL);
	assert_int_equal(vmemdev_pmem_init(&rig->pmem, sizeof(rig->pmem) - 8, &large.config),
			 VMEMDEV_E_ABI);
	check_init(rig, NULL, VMEMDEV_E_INVAL, "no config");
	large.config.struct_size = sizeof(large);
	check_init(rig, &large.config, 0, "larger, with a zero tail");
	large.tail[1] = 1;
	check_init(rig, &large.config, VMEMDEV_E_ABI, "larger, with something in the tail");
	large.tail[1] = 0;
	large.config.ops = &none;
	check_init(rig, &large.config, VMEMDEV_E_INVAL, "no flush");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_BUSES(PMEM_01_numbers_of_the_device, setup_way),
		TEST_ALL(PMEM_02_with_the_feature_the_range_is_region_0_alone, setup_way),
		TEST_BUSES(PMEM_04_without_the_feature_the_range_is_in_the_configuration,
			   setup_way),
		TEST_ALL(PMEM_04_a_driver_may_leave_the_feature_alone, setup_way),
		TEST_ALL(PMEM_05_until_FEATURES_OK_both_tell_the_range, setup_way),
		TEST_BUSES(PMEM_01_the_configuration_cannot_be_written, setup_way),
		TEST_BUSES(SHM_02_other_devices_have_no_region, setup_way),
		TEST_ONCE(PMEM_13_the_region_is_marked_to_be_kept, setup_way),
		TEST_ONCE(FEAT_03_pmem_init_names_each_bad_field, rig_setup_bare),
		TEST_ONCE(pmem_init_accepts_what_is_documented, rig_setup_bare),
		TEST_ONCE(pmem_init_needs_flush_and_its_pointers, rig_setup_bare),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
