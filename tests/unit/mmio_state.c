/* SPDX-License-Identifier: BSD-3-Clause */
/* The register block saved, and loaded into a fresh one. */
#include "device_move.h"

#define SIZE VMEMDEV_MMIO_SAVE_SIZE

static uint32_t get(struct rig *rig, uint32_t offset)
{
	return guest_driver_register(&rig->driver, offset);
}

static void set(struct rig *rig, uint32_t offset, uint32_t value)
{
	guest_driver_set_register(&rig->driver, offset, value);
}

/* A balloon at work whose driver is in the middle of things: queue 1 chosen, a new target. */
static void leave_traces(struct rig *rig)
{
	assert_int_equal(vmemdev_balloon_set_target(&rig->balloon, 8 * PAGE), 0);
	set(rig, REG_DEVICE_FEATURES_SEL, 1);
	set(rig, REG_QUEUE_SEL, 1);
}

static void save(struct rig *rig, uint8_t *bytes)
{
	assert_int_equal(vmemdev_mmio_save(&rig->driver.mmio, bytes, SIZE), 0);
}

/* shows: MMIO-10 */
static void MMIO_10_an_interrupt_that_waits_moves(void **state)
{
	struct rig *rig = *state;
	struct record record;
	uint8_t before[SIZE], after[SIZE];
	uint32_t features, raised;

	leave_traces(rig);
	features = get(rig, REG_DEVICE_FEATURES);
	assert_int_equal(get(rig, REG_INTERRUPT_STATUS), 2);
	rig_save(rig, &record);
	save(rig, before);

	rig_fresh_balloon(rig, NULL);
	assert_int_equal(get(rig, REG_INTERRUPT_STATUS), 0);
	assert_int_equal(rig_load(rig, &record), 0);
	raised = rig->driver.line_raised;
	assert_int_equal(vmemdev_mmio_load(&rig->driver.mmio, before, SIZE), 0);
	assert_int_equal(rig->driver.line_raised, raised + 1);
	assert_int_equal(get(rig, REG_INTERRUPT_STATUS), 2);
	assert_int_equal(get(rig, REG_DEVICE_FEATURES), features);
	assert_int_equal(get(rig, REG_QUEUE_READY), 1); /* of queue 1 */
	save(rig, after);
	assert_memory_equal(after, before, SIZE);

	set(rig, REG_INTERRUPT_ACK, 2);
	assert_int_equal(get(rig, REG_INTERRUPT_STATUS), 0);
	assert_false(rig->driver.line);
}

/* The load of the device has found its rings gone: the block's record does not hide that. */
/* shows: MMIO-10 STAT-05 */
static void MMIO_10_what_the_device_finds_at_its_load_is_told(void **state)
{
	static const struct vmemdev_region elsewhere = {.gpa = RAM_GPA + RAM_SIZE, .len = PAGE};
	struct vmemdev_region region = elsewhere;
	struct rig *rig = *state;
	struct record record;
	uint8_t before[SIZE];

	assert_int_equal(get(rig, REG_INTERRUPT_STATUS), 0);
	rig_save(rig, &record);
	save(rig, before);
	rig_fresh_balloon(rig, NULL);
	region.host = rig->memory.regions[0].host;
	assert_int_equal(vmemdev_guest_set_regions(&rig->memory.guest, &region, 1), 0);
	assert_int_equal(rig_load(rig, &record), 0);
	assert_int_equal(vmemdev_mmio_load(&rig->driver.mmio, before, SIZE), 0);
	assert_true(get(rig, REG_STATUS) & VMEMDEV_STATUS_NEEDS_RESET);
	assert_int_equal(get(rig, REG_INTERRUPT_STATUS), 2);
	assert_true(rig->driver.line);
	set(rig, REG_INTERRUPT_ACK, 2);
	assert_false(rig->driver.line);
}

static void no_interrupt_comes_where_none_waits(void **state)
{
	struct rig *rig = *state;
	uint8_t bytes[SIZE];
	uint32_t raised = rig->driver.line_raised;

	save(rig, bytes);
	assert_int_equal(vmemdev_mmio_load(&rig->driver.mmio, bytes, SIZE), 0);
	assert_int_equal(rig->driver.line_raised, raised);
}

static void what_cannot_be_loaded_is_named_and_changes_nothing(void **state)
{
	static const struct {
		uint8_t at, value;
		int err;
	} bad[] = {
		{0, 'v', VMEMDEV_E_RECORD}, {4, 2, VMEMDEV_E_VERSION}, {4, 0, VMEMDEV_E_RECORD},
		{6, 1, VMEMDEV_E_VERSION}, {8, 35, VMEMDEV_E_RECORD}, {11, 1, VMEMDEV_E_RECORD},
		{12, 24, VMEMDEV_E_MISMATCH}, {32, 4, VMEMDEV_E_RECORD}, {35, 1, VMEMDEV_E_RECORD},
	};
	struct rig *rig = *state;
	struct vmemdev_mmio *mmio = &rig->driver.mmio;
	uint8_t good[SIZE], bytes[SIZE + 1] = {0}, now[SIZE];

	leave_traces(rig);
	save(rig, good);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		memcpy(bytes, good, SIZE);
		bytes[bad[i].at] = bad[i].value;
		assert_int_equal(vmemdev_mmio_load(mmio, bytes, SIZE), bad[i].err);
	}
	memcpy(bytes, good, SIZE);
	for (size_t len = 0; len <= SIZE + 1; len++) {
		if (len != SIZE)
			assert_int_equal(vmemdev_mmio_load(mmio, bytes, len), VMEMDEV_E_RECORD);
	}
	assert_int_equal(vmemdev_mmio_load(mmio, NULL, SIZE), VMEMDEV_E_INVAL);
	assert_int_equal(vmemdev_mmio_save(mmio, NULL, SIZE), VMEMDEV_E_INVAL);
	assert_int_equal(vmemdev_mmio_save(mmio, bytes, SIZE - 1), VMEMDEV_E_NOSPC);
	save(rig, now);
	assert_memory_equal(now, good, SIZE);
}

static void registers_with_something_behind(void **state)
{
	struct rig *rig = *state;
	struct vmemdev_mmio *mmio = &rig->driver.mmio;
	struct record record = {.len = SIZE};

	save(rig, record.bytes);
	assert_int_equal(vmemdev_mmio_load(mmio, record.bytes, record.len), 0);
	record.len = SIZE + 4;
	record_set(&record, REC_LEN, 4, record.len);
	assert_int_equal(vmemdev_mmio_load(mmio, record.bytes, record.len), VMEMDEV_E_RECORD);
	record.len = SIZE - 4;
	record_set(&record, REC_LEN, 4, record.len);
	assert_int_equal(vmemdev_mmio_load(mmio, record.bytes, record.len), VMEMDEV_E_RECORD);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_RINGS_MMIO(MMIO_10_an_interrupt_that_waits_moves, rig_setup_balloon_live),
		TEST_RINGS_MMIO(MMIO_10_what_the_device_finds_at_its_load_is_told,
				rig_setup_balloon_live),
		TEST_MMIO(no_interrupt_comes_where_none_waits, rig_setup_balloon_live),
		TEST_MMIO(what_cannot_be_loaded_is_named_and_changes_nothing,
			  rig_setup_balloon_live),
		TEST_MMIO(registers_with_something_behind, rig_setup_balloon),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
