/* SPDX-License-Identifier: BSD-3-Clause */
/* The configuration space beyond the two sizes: the poison, the command ID, and no field more. */
#include "device_rig.h"

#define POISON (VMEMDEV_BALLOON_F_PAGE_REPORTING | VMEMDEV_BALLOON_F_PAGE_POISON)
#define LINUX_POISON 0xaaaaaaaau
#define SPACE 16 /* bytes of the configuration space */

static struct vmemdev_balloon_counts counts(struct rig *rig)
{
	struct vmemdev_balloon_counts now;

	vmemdev_balloon_get_counts(&rig->balloon, &now);
	return now;
}

static uint32_t poison(struct rig *rig)
{
	return guest_driver_config32(&rig->driver, BAL_POISON);
}

static void write32(struct rig *rig, uint32_t offset, uint32_t value)
{
	uint8_t bytes[4];

	put32(bytes, value);
	guest_driver_config_write(&rig->driver, offset, bytes, sizeof(bytes));
}

static void open_and_go(struct rig *rig)
{
	for (uint16_t q = INFLATEQ; q <= REPORTQ; q++)
		drv_open(rig, q);
	drv_set_status(rig, DRV_LIVE);
	assert_int_equal(guest_driver_status(&rig->driver), DRV_LIVE);
}

/* A driver that writes its poison when Linux does: after FEATURES_OK, before DRIVER_OK. */
static void start_with(struct rig *rig, uint64_t more, uint32_t value)
{
	drv_negotiate(rig, more);
	write32(rig, BAL_POISON, value);
	open_and_go(rig);
}

/* Whether the host is told of a page that the guest reports; the buffer comes back anyway. */
static bool report_reaches_host(struct rig *rig)
{
	const struct vmemdev_buf buf = {.gpa = PLAY_GPA, .len = 4 * PAGE, .writable = 1};
	struct guest_used used;
	uint64_t kept = counts(rig).pages_poisoned;
	int id = drv_add(rig, REPORTQ, &buf, 1);

	host_forget(rig);
	drv_kick(rig, REPORTQ);
	assert_int_equal(rig_run(rig), 0);
	assert_true(drv_used(rig, REPORTQ, &used));
	assert_int_equal(used.id, id);
	assert_int_equal(used.len, 0);
	assert_int_equal(counts(rig).pages_poisoned, kept + (rig->host.count ? 0 : 4));
	if (rig->host.count == 0)
		return false;
	assert_int_equal(host_last(rig)->op, HOST_REPORT);
	assert_true(host_last(rig)->ranges[0].gpa == PLAY_GPA);
	return true;
}

/* shows: BAL-POIS-01 BAL-GEN-04 LNX-BAL-06 */
static void BAL_POIS_01_the_poison_is_a_le32_written_before_DRIVER_OK(void **state)
{
	static const uint8_t sent[4] = {0x44, 0x33, 0x22, 0x11};
	static const uint32_t values[] = {LINUX_POISON, 1, 0x00010000, 0x80000000, 0xffffffff};
	struct rig *rig = *state;
	uint8_t bytes[4];

	assert_int_equal(poison(rig), 0);
	drv_negotiate(rig, POISON);
	guest_driver_config_write(&rig->driver, BAL_POISON, sent, 4);
	assert_int_equal(poison(rig), 0x11223344);
	/* a field may be read and written in parts */
	bytes[0] = 0x99;
	guest_driver_config_write(&rig->driver, BAL_POISON + 3, bytes, 1);
	assert_int_equal(poison(rig), 0x99223344);
	guest_driver_config_read(&rig->driver, BAL_POISON + 1, bytes, 3);
	assert_memory_equal(bytes, "\x33\x22\x99", 3);

	for (size_t i = 0; i < ARRAY_LEN(values); i++) {
		start_with(rig, POISON, values[i]);
		assert_int_equal(poison(rig), values[i]);
		assert_false(report_reaches_host(rig));
		start_with(rig, POISON, 0); /* Linux: pages are zeroed when they are freed */
		assert_int_equal(poison(rig), 0);
		assert_true(report_reaches_host(rig));
	}
	assert_int_equal(counts(rig).inputs_ignored, 0);
}

/* shows: BAL-POIS-03 HOST-BAL-15 */
static void BAL_POIS_03_without_the_feature_it_has_no_effect(void **state)
{
	struct rig *rig = *state;

	start_with(rig, VMEMDEV_BALLOON_F_PAGE_REPORTING, LINUX_POISON);
	assert_int_equal(counts(rig).inputs_ignored, 1);
	assert_int_equal(poison(rig), 0);
	assert_true(report_reaches_host(rig));

	/* nor has what an earlier driver wrote, which had it */
	start_with(rig, POISON, LINUX_POISON);
	assert_false(report_reaches_host(rig));
	drv_start(rig, VMEMDEV_BALLOON_F_PAGE_REPORTING);
	assert_true(report_reaches_host(rig));
}

/* shows: HOST-BAL-15 BAL-POIS-01 */
static void HOST_BAL_15_a_misplaced_poison_is_ignored(void **state)
{
	struct rig *rig = *state;

	start_with(rig, POISON, 0);
	write32(rig, BAL_POISON, LINUX_POISON);
	assert_int_equal(poison(rig), 0);
	assert_int_equal(counts(rig).inputs_ignored, 1);
	assert_true(report_reaches_host(rig));

	start_with(rig, POISON, LINUX_POISON);
	write32(rig, BAL_POISON, 0);
	assert_int_equal(poison(rig), LINUX_POISON);
	assert_int_equal(counts(rig).inputs_ignored, 2);
	assert_false(report_reaches_host(rig));
	assert_int_equal(rig->errors, 0);

	/* before features are settled nothing is accepted yet */
	drv_reset(rig);
	write32(rig, BAL_POISON, 0x12345678);
	assert_int_equal(poison(rig), LINUX_POISON);
}

/* shows: AMB-03 LNX-BAL-06 */
static void AMB_03_a_device_reset_keeps_the_poison(void **state)
{
	struct rig *rig = *state;

	start_with(rig, POISON, LINUX_POISON);
	for (int i = 0; i < 3; i++) {
		drv_reset(rig);
		assert_int_equal(poison(rig), LINUX_POISON);
		/* awake again, Linux does not write it a second time */
		drv_start(rig, POISON);
		assert_int_equal(poison(rig), LINUX_POISON);
		assert_false(report_reaches_host(rig));
	}
	assert_int_equal(vmemdev_device_system_reset(rig->dev), 0);
	assert_int_equal(poison(rig), 0);
	drv_start(rig, POISON);
	assert_true(report_reaches_host(rig));
}

/* shows: AMB-13 */
static void AMB_13_the_drivers_own_writes_are_no_change(void **state)
{
	struct rig *rig = *state;
	uint32_t generation;

	drv_negotiate(rig, BALLOON_FULL | POISON);
	generation = guest_driver_config_generation(&rig->driver);
	for (uint32_t value = 1; value < 5; value++) {
		write32(rig, BAL_POISON, value);
		write32(rig, BAL_ACTUAL, value);
		assert_int_equal(guest_driver_config_generation(&rig->driver), generation);
	}
	open_and_go(rig);
	assert_false(drv_took_config_irq(rig));
	for (uint32_t value = 1; value < 5; value++) {
		write32(rig, BAL_POISON, value);
		write32(rig, BAL_ACTUAL, 100 + value);
		assert_int_equal(rig_run(rig), 0);
		assert_int_equal(guest_driver_config_generation(&rig->driver), generation);
		assert_false(drv_took_config_irq(rig));
	}
	assert_int_equal(guest_driver_config32(&rig->driver, BAL_ACTUAL), 104);

	/* the device's are: a target and a command ID are seen as one */
	assert_int_equal(vmemdev_balloon_set_target(&rig->balloon, PAGE), 0);
	assert_true(drv_took_config_irq(rig));
	assert_true(guest_driver_config_generation(&rig->driver) != generation);
	generation = guest_driver_config_generation(&rig->driver);
	assert_int_equal(vmemdev_balloon_hint_start(&rig->balloon), 0);
	assert_true(drv_took_config_irq(rig));
	assert_true(guest_driver_config_generation(&rig->driver) != generation);
}

static void scribble(struct rig *rig, uint32_t offset, uint32_t len)
{
	uint8_t bytes[64];

	memset(bytes, 0xee, sizeof(bytes));
	guest_driver_config_write(&rig->driver, offset, bytes, len);
}

/* shows: BAL-GEN-04 BAL-GEN-05 CFG-08 */
static void BAL_GEN_04_target_and_command_ID_are_the_devices_to_write(void **state)
{
	struct rig *rig = *state;
	uint8_t space[SPACE], expected[SPACE];

	drv_start(rig, BALLOON_FULL | POISON);
	assert_int_equal(vmemdev_balloon_set_target(&rig->balloon, 0x01020304 * PAGE), 0);
	assert_int_equal(vmemdev_balloon_hint_start(&rig->balloon), 0);
	put32(expected, 0x01020304);
	memset(expected + BAL_ACTUAL, 0xee, 4);
	put32(expected + BAL_CMD_ID, 2);
	put32(expected + BAL_POISON, 0);
	for (uint32_t offset = 0; offset < SPACE; offset++) {
		for (uint32_t len = 1; offset + len <= SPACE; len++)
			scribble(rig, offset, len);
	}
	guest_driver_config_read(&rig->driver, 0, space, sizeof(space));
	assert_memory_equal(space, expected, sizeof(space));
	assert_true(vmemdev_balloon_target(&rig->balloon) == 0x01020304 * PAGE);

	/* before DRIVER_OK the same, but for the poison */
	drv_negotiate(rig, BALLOON_FULL | POISON);
	scribble(rig, 0, SPACE);
	put32(expected + BAL_CMD_ID, 0);
	memset(expected + BAL_POISON, 0xee, 4);
	guest_driver_config_read(&rig->driver, 0, space, sizeof(space));
	assert_memory_equal(space, expected, sizeof(space));
}

static void make(struct rig *rig, bool stats, bool hinting, bool reporting)
{
	struct vmemdev_balloon_config config;

	rig_balloon_config(rig, &config);
	config.stats = stats;
	config.hinting = hinting;
	config.reporting = reporting;
	if (rig->connected)
		guest_driver_close(&rig->driver);
	guest_place_release(&rig->memory, 0);
	rig_make_balloon(rig, &config);
}

/* Fields of features that are not offered read 0 and take nothing; nor does what is beyond. */
/* shows: BAL-GEN-04 BAL-GEN-01 BAL-POIS-03 CFG-06 CFG-09 */
static void BAL_GEN_04_fields_are_there_with_their_features(void **state)
{
	struct rig *rig = *state;

	for (uint32_t subset = 0; subset < 8; subset++) {
		const bool hinting = subset >> 1 & 1, reporting = subset >> 2 & 1;
		uint8_t space[128], expected[128] = {0};

		make(rig, subset & 1, hinting, reporting);
		drv_negotiate(rig, guest_driver_offered(&rig->driver) & 0xff);
		scribble(rig, 0, 64);
		scribble(rig, 64, 64);
		for (uint16_t q = 0; q < vmemdev_device_queue_count(rig->dev); q++)
			if (guest_driver_queue_max(&rig->driver, q))
				drv_open(rig, q);
		drv_set_status(rig, DRV_LIVE);
		assert_int_equal(vmemdev_balloon_set_target(&rig->balloon, 5 * PAGE), 0);
		assert_int_equal(vmemdev_balloon_hint_start(&rig->balloon),
				 hinting ? 0 : VMEMDEV_E_FEATURE);
		put32(expected, 5);
		memset(expected + BAL_ACTUAL, 0xee, 4);
		put32(expected + BAL_CMD_ID, hinting ? 2 : 0);
		memset(expected + BAL_POISON, reporting ? 0xee : 0, 4);
		guest_driver_config_read(&rig->driver, 0, space, sizeof(space));
		assert_memory_equal(space, expected, sizeof(space));
		assert_int_equal(rig->errors, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_ALL(BAL_POIS_01_the_poison_is_a_le32_written_before_DRIVER_OK,
			 rig_setup_balloon_full),
		TEST_ALL(BAL_POIS_03_without_the_feature_it_has_no_effect, rig_setup_balloon_full),
		TEST_ALL(HOST_BAL_15_a_misplaced_poison_is_ignored, rig_setup_balloon_full),
		TEST_ALL(AMB_03_a_device_reset_keeps_the_poison, rig_setup_balloon_full),
		TEST_ALL(AMB_13_the_drivers_own_writes_are_no_change, rig_setup_balloon_full),
		TEST_BUSES(BAL_GEN_04_target_and_command_ID_are_the_devices_to_write,
			   rig_setup_balloon_full),
		TEST_BUSES(BAL_GEN_04_fields_are_there_with_their_features, rig_setup_bare),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
