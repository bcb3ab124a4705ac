/* SPDX-License-Identifier: BSD-3-Clause */
/* The configuration space: bytes, generation, notifications. */
#include "device_rig.h"

static void want(struct rig *rig, uint64_t bytes)
{
	if (vmemdev_device_id(rig->dev) == 24)
		mem_want(rig, bytes);
	else
		assert_int_equal(vmemdev_balloon_set_target(&rig->balloon, bytes), 0);
}

static uint32_t generation(struct rig *rig)
{
	return guest_driver_config_generation(&rig->driver);
}

/* shows: CFG-01 CFG-02 BAL-GEN-01 */
static void CFG_01_balloon_fields_are_little_endian_and_readable_at_once(void **state)
{
	static const uint8_t expected[16] = {0x78, 0x56, 0x34, 0x12};
	struct rig *rig = *state;
	uint8_t bytes[16];

	want(rig, UINT64_C(0x12345678) * 4096);
	for (uint8_t status = 0; status <= 3; status += 3) {
		if (status)
			drv_set_status(rig, status);
		memset(bytes, 0xff, sizeof(bytes));
		guest_driver_config_read(&rig->driver, 0, bytes, sizeof(bytes));
		assert_memory_equal(bytes, expected, sizeof(bytes));
		for (uint32_t i = 0; i < sizeof(bytes); i++) {
			guest_driver_config_read(&rig->driver, i, bytes, 1);
			assert_int_equal(bytes[0], expected[i]);
		}
	}
}

/* shows: CFG-03 CFG-07 MMIO-21 MEM-CFG-06 */
static void CFG_03_a_stable_generation_never_covers_a_torn_pair(void **state)
{
	struct rig *rig = *state;
	struct guest_random random;
	uint32_t accepted = 0;

	guest_random_seed(&random, 3);
	for (int i = 0; i < 20000; i++) {
		uint64_t requested, usable;
		uint32_t before, after;

		before = generation(rig);
		if (guest_random_below(&random, 3) == 0)
			want(rig, guest_random_below(&random, MEM_BLOCKS + 1) * MEM_BLOCK);
		usable = guest_driver_config64(&rig->driver, MEM_CFG_USABLE);
		if (guest_random_below(&random, 3) == 0)
			want(rig, guest_random_below(&random, MEM_BLOCKS + 1) * MEM_BLOCK);
		requested = guest_driver_config64(&rig->driver, MEM_CFG_REQUESTED);
		if (guest_random_below(&random, 3) == 0)
			want(rig, guest_random_below(&random, MEM_BLOCKS + 1) * MEM_BLOCK);
		after = generation(rig);
		if (before != after)
			continue;
		accepted++;
		assert_true(requested == mem_sizes(rig).requested);
		assert_true(usable == mem_sizes(rig).usable);
		assert_true(usable >= requested);
	}
	assert_true(accepted > 1000);
}

/* shows: CFG-03 */
static void CFG_03_generation_rests_while_nothing_changes(void **state)
{
	struct rig *rig = *state;
	uint32_t first = generation(rig);

	assert_int_equal(generation(rig), first);
	want(rig, 4 * MEM_BLOCK);
	assert_int_not_equal(generation(rig), first);
	first = generation(rig);
	assert_int_equal(generation(rig), first);
	want(rig, 4 * MEM_BLOCK);
	assert_int_equal(generation(rig), first);
}

static void check_new_target(struct rig *rig, bool config)
{
	uint8_t bytes[4];

	assert_true(config || rig->way.mmio);
	vmemdev_device_config_read(rig->dev, BAL_NUM_PAGES, bytes, sizeof(bytes));
	assert_int_equal(bytes[0], 7);
	assert_int_not_equal(vmemdev_device_config_generation(rig->dev), rig->seen_generation);
	rig->ctx = rig;
}

/* shows: CFG-04 CFG-05 BAL-GEN-05 NTF-05 */
static void CFG_04_a_host_change_is_notified_after_it_can_be_read(void **state)
{
	struct rig *rig = *state;

	rig->seen_generation = vmemdev_device_config_generation(rig->dev);
	rig->irq_hook = check_new_target;
	want(rig, 7 * PAGE);
	rig->irq_hook = NULL;
	assert_ptr_equal(rig->ctx, rig);
	assert_true(drv_took_config_irq(rig));
	assert_false(drv_took_queue_irq(rig));
	want(rig, 7 * PAGE);
	assert_false(drv_took_config_irq(rig));
}

/* shows: CFG-06 HOST-REG-08 */
static void CFG_06_bytes_past_the_structure_read_0_and_ignore_writes(void **state)
{
	struct rig *rig = *state;
	uint32_t size = vmemdev_device_id(rig->dev) == 24 ? MEM_CFG_SIZE : 16;
	uint8_t ones[64], zeros[64] = {0}, bytes[64];

	memset(ones, 0xff, sizeof(ones));
	guest_driver_config_write(&rig->driver, size, ones, sizeof(ones));
	memset(bytes, 0xff, sizeof(bytes));
	guest_driver_config_read(&rig->driver, size, bytes, sizeof(bytes));
	assert_memory_equal(bytes, zeros, sizeof(bytes));
	vmemdev_device_config_read(rig->dev, UINT32_MAX - 3, bytes, 8);
	assert_memory_equal(bytes, zeros, 8);
	vmemdev_device_config_write(rig->dev, UINT32_MAX - 3, ones, 8);
	vmemdev_device_config_read(rig->dev, size - 4, bytes, 64);
	assert_memory_equal(bytes + 4, zeros, 60);
}

/* shows: CFG-07 MEM-CFG-06 */
static void CFG_07_requested_and_usable_move_in_one_step(void **state)
{
	struct rig *rig = *state;
	uint32_t before = generation(rig);
	uint64_t requested, usable;
	uint32_t after;

	want(rig, 20 * MEM_BLOCK);
	after = generation(rig);
	requested = guest_driver_config64(&rig->driver, MEM_CFG_REQUESTED);
	usable = guest_driver_config64(&rig->driver, MEM_CFG_USABLE);
	assert_int_not_equal(before, after);
	assert_int_equal(generation(rig), after);
	assert_true(requested == 20 * MEM_BLOCK);
	assert_true(usable == 20 * MEM_BLOCK + MEM_SLACK);
}

/* shows: CFG-08 HOST-REG-07 MEM-CFG-01 */
static void CFG_08_read_only_fields_keep_their_value(void **state)
{
	struct rig *rig = *state;
	uint8_t before[64], after[64], noise[64];
	uint32_t stamp;

	want(rig, 3 * MEM_BLOCK);
	stamp = generation(rig);
	memset(noise, 0x77, sizeof(noise));
	guest_driver_config_read(&rig->driver, 0, before, sizeof(before));
	if (vmemdev_device_id(rig->dev) == 24) {
		guest_driver_config_write(&rig->driver, 0, noise, sizeof(noise));
	} else {
		guest_driver_config_write(&rig->driver, BAL_NUM_PAGES, noise, 4);
		guest_driver_config_write(&rig->driver, BAL_CMD_ID, noise, 56);
	}
	guest_driver_config_read(&rig->driver, 0, after, sizeof(after));
	assert_memory_equal(before, after, sizeof(before));
	assert_int_equal(generation(rig), stamp);
}

/* shows: CFG-09 BAL-GEN-04 */
static void CFG_09_fields_of_features_not_offered_read_0(void **state)
{
	struct rig *rig = *state;

	assert_int_equal(guest_driver_config32(&rig->driver, BAL_CMD_ID), 0);
	assert_int_equal(guest_driver_config32(&rig->driver, BAL_POISON), 0);
}

/* shows: AMB-11 LNX-COR-10 */
static void AMB_11_changes_before_DRIVER_OK_are_notified_at_DRIVER_OK(void **state)
{
	struct rig *rig = *state;

	want(rig, PAGE * 16);
	drv_negotiate(rig, 0);
	want(rig, PAGE * 32);
	drv_open(rig, 0);
	assert_int_equal(rig_run(rig), 0);
	assert_false(drv_took_config_irq(rig));
	drv_set_status(rig, DRV_LIVE);
	rig_run(rig);
	assert_true(drv_took_config_irq(rig));
	assert_int_equal(guest_driver_config32(&rig->driver, BAL_NUM_PAGES), 32);

	/* nothing has changed since this reset: nothing to tell */
	drv_reset(rig);
	want(rig, PAGE * 64);
	drv_reset(rig);
	drv_start(rig, 0);
	rig_run(rig);
	assert_false(drv_took_config_irq(rig));
}

/* shows: AMB-13 BAL-GEN-07 LNX-BAL-14 */
static void AMB_13_the_drivers_own_writes_step_and_notify_nothing(void **state)
{
	struct rig *rig = *state;
	uint32_t stamp = generation(rig);
	uint8_t bytes[4];

	put32(bytes, 0x01020304);
	guest_driver_config_write(&rig->driver, BAL_ACTUAL, bytes, sizeof(bytes));
	rig_run(rig);
	assert_int_equal(guest_driver_config32(&rig->driver, BAL_ACTUAL), 0x01020304);
	assert_int_equal(generation(rig), stamp);
	assert_false(drv_took_config_irq(rig));
}

/* shows: HOST-REG-08 MMIO-22 */
static void HOST_REG_08_any_cut_of_the_space_gives_the_same_bytes(void **state)
{
	struct rig *rig = *state;
	uint8_t whole[96], part[96];

	want(rig, 5 * MEM_BLOCK);
	vmemdev_device_config_read(rig->dev, 0, whole, sizeof(whole));
	for (uint32_t at = 0; at < 64; at++) {
		for (uint32_t len = 0; len <= 32; len++) {
			memset(part, 0xee, sizeof(part));
			vmemdev_device_config_read(rig->dev, at, part, len);
			assert_memory_equal(part, whole + at, len);
			assert_int_equal(part[len], 0xee);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_BUSES(CFG_01_balloon_fields_are_little_endian_and_readable_at_once,
			   rig_setup_balloon),
		TEST_BUSES(CFG_03_a_stable_generation_never_covers_a_torn_pair,
			   rig_setup_mem_live),
		TEST_BUSES(CFG_03_generation_rests_while_nothing_changes, rig_setup_mem_live),
		TEST_BUSES(CFG_03_generation_rests_while_nothing_changes, rig_setup_balloon_live),
		TEST_BUSES(CFG_04_a_host_change_is_notified_after_it_can_be_read,
			   rig_setup_balloon_live),
		TEST_BUSES(CFG_06_bytes_past_the_structure_read_0_and_ignore_writes,
			   rig_setup_balloon_live),
		TEST_BUSES(CFG_06_bytes_past_the_structure_read_0_and_ignore_writes,
			   rig_setup_mem_live),
		TEST_BUSES(CFG_07_requested_and_usable_move_in_one_step, rig_setup_mem_live),
		TEST_BUSES(CFG_08_read_only_fields_keep_their_value, rig_setup_balloon_live),
		TEST_BUSES(CFG_08_read_only_fields_keep_their_value, rig_setup_mem_live),
		TEST_BUSES(CFG_09_fields_of_features_not_offered_read_0, rig_setup_balloon_live),
		TEST_BUSES(AMB_11_changes_before_DRIVER_OK_are_notified_at_DRIVER_OK,
			   rig_setup_balloon),
		TEST_BUSES(AMB_13_the_drivers_own_writes_step_and_notify_nothing,
			   rig_setup_balloon_live),
		TEST_BUSES(HOST_REG_08_any_cut_of_the_space_gives_the_same_bytes, rig_setup_mem),
		TEST_BUSES(HOST_REG_08_any_cut_of_the_space_gives_the_same_bytes,
			   rig_setup_balloon),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
