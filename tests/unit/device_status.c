/* SPDX-License-Identifier: BSD-3-Clause */
/* The status field: which steps are latched, and when queues are alive. */
#include "device_rig.h"

static uint8_t status(struct rig *rig)
{
	return guest_driver_status(&rig->driver);
}

/* shows: STAT-01 */
static void STAT_01_legal_prefixes_read_back_and_unknown_bits_do_not(void **state)
{
	struct rig *rig = *state;

	drv_set_status(rig, VMEMDEV_STATUS_ACKNOWLEDGE);
	assert_int_equal(status(rig), 0x01);
	drv_set_status(rig, 0x03);
	assert_int_equal(status(rig), 0x03);
	guest_driver_accept(&rig->driver, VMEMDEV_F_VERSION_1);
	drv_set_status(rig, 0x0b);
	assert_int_equal(status(rig), 0x0b);
	drv_set_status(rig, 0x0f);
	assert_int_equal(status(rig), 0x0f);
	drv_set_status(rig, 0x0f | 0x20);
	assert_int_equal(status(rig), 0x0f);
	drv_set_status(rig, 0x0f | VMEMDEV_STATUS_FAILED);
	assert_int_equal(status(rig), 0x8f);
}

/* shows: STAT-02 RST-01 */
static void STAT_02_status_is_0_at_first_and_after_every_reset(void **state)
{
	struct rig *rig = *state;

	assert_int_equal(status(rig), 0);
	drv_start(rig, 0);
	drv_set_status(rig, 0);
	assert_int_equal(status(rig), 0);
	drv_start(rig, 0);
	vmemdev_device_reset(rig->dev);
	assert_int_equal(status(rig), 0);
	drv_start(rig, 0);
	rig->window = true;
	assert_int_equal(vmemdev_device_system_reset(rig->dev), 0);
	assert_int_equal(status(rig), 0);
}

/* shows: STAT-03 STAT-04 STAT-09 HOST-REG-06 LNX-BAL-02 */
static void STAT_03_queues_sleep_until_DRIVER_OK_and_are_looked_at_then(void **state)
{
	struct rig *rig = *state;
	const uint32_t pfn = PLAY_PFN;
	struct guest_used used;
	uint64_t sum;

	drv_negotiate(rig, 0);
	drv_open(rig, INFLATEQ);
	drv_open(rig, DEFLATEQ);
	pages_post(rig, INFLATEQ, &pfn, 1);
	sum = ram_sum(rig);
	drv_kick(rig, INFLATEQ);
	assert_false(vmemdev_device_pending(rig->dev));
	assert_int_equal(rig_run(rig), 0);
	assert_true(ram_sum(rig) == sum);
	assert_int_equal(rig->host.count, 0);
	assert_false(drv_used(rig, INFLATEQ, &used));
	assert_false(drv_took_queue_irq(rig));

	drv_set_status(rig, DRV_LIVE);
	assert_true(vmemdev_device_pending(rig->dev));
	assert_int_equal(rig_run(rig), 0);
	assert_true(drv_used(rig, INFLATEQ, &used));
	assert_true(drv_took_queue_irq(rig));
	assert_int_equal(rig->host.count, 1);
}

/* shows: STAT-05 STAT-06 STAT-07 MMIO-13 */
static void STAT_05_a_broken_ring_needs_a_reset_and_stops_everything(void **state)
{
	struct rig *rig = *state;
	const uint32_t pfn = PLAY_PFN;
	struct guest_used used;
	uint64_t sum;

	drv_break(rig, INFLATEQ);
	pages_post(rig, DEFLATEQ, &pfn, 1);
	assert_int_equal(rig_run(rig), VMEMDEV_E_GUEST_CHAIN);
	assert_int_equal(status(rig), DRV_LIVE | VMEMDEV_STATUS_NEEDS_RESET);
	assert_true(drv_took_config_irq(rig));
	assert_int_equal(rig->errors, 1);
	assert_int_equal(rig->last_error, VMEMDEV_E_GUEST_CHAIN);
	assert_int_equal(rig->last_error_queue, INFLATEQ);
	assert_int_equal(vmemdev_device_fault(rig->dev), VMEMDEV_E_GUEST_CHAIN);

	sum = ram_sum(rig);
	drv_kick(rig, INFLATEQ);
	drv_kick(rig, DEFLATEQ);
	assert_false(vmemdev_device_pending(rig->dev));
	assert_int_equal(rig_run(rig), VMEMDEV_E_GUEST_CHAIN);
	drv_set_status(rig, DRV_LIVE);
	assert_int_equal(status(rig), DRV_LIVE | VMEMDEV_STATUS_NEEDS_RESET);
	assert_true(ram_sum(rig) == sum);
	assert_int_equal(rig->host.count, 0);
	assert_false(drv_used(rig, DEFLATEQ, &used));
	assert_false(drv_took_queue_irq(rig));
	assert_false(drv_took_config_irq(rig));
	assert_int_equal(rig->errors, 1);
}

/* shows: STAT-05 RST-05 */
static void STAT_05_reset_brings_a_stopped_device_back(void **state)
{
	struct rig *rig = *state;
	const uint32_t pfn = PLAY_PFN;

	for (uint32_t round = 1; round <= 3; round++) {
		drv_break(rig, round & 1 ? INFLATEQ : DEFLATEQ);
		assert_int_equal(rig_run(rig), VMEMDEV_E_GUEST_CHAIN);
		assert_int_equal(rig->errors, round);
		drv_reset(rig);
		assert_int_equal(vmemdev_device_fault(rig->dev), 0);
		drv_start(rig, 0);
		host_forget(rig);
		pages_send(rig, INFLATEQ, &pfn, 1);
		assert_int_equal(host_count(rig, HOST_INFLATE), 1);
		assert_int_equal(rig->errors, round);
	}
}

/* shows: STAT-08 RST-05 */
static void STAT_08_FAILED_stops_the_queues_until_reset(void **state)
{
	struct rig *rig = *state;
	const uint32_t pfn = PLAY_PFN;
	uint64_t sum;

	pages_post(rig, INFLATEQ, &pfn, 1);
	drv_kick(rig, INFLATEQ);
	drv_set_status(rig, DRV_LIVE | VMEMDEV_STATUS_FAILED);
	sum = ram_sum(rig);
	drv_kick(rig, INFLATEQ);
	assert_false(vmemdev_device_pending(rig->dev));
	assert_int_equal(rig_run(rig), 0);
	assert_true(ram_sum(rig) == sum);
	assert_int_equal(rig->host.count, 0);
	assert_false(drv_took_queue_irq(rig));
	assert_int_equal(rig->errors, 0);

	drv_reset(rig);
	drv_start(rig, 0);
	pages_send(rig, INFLATEQ, &pfn, 1);
	assert_int_equal(host_count(rig, HOST_INFLATE), 1);
}

/* shows: STAT-09 MMIO-14 */
static void STAT_09_no_queue_is_live_after_a_reset(void **state)
{
	struct rig *rig = *state;
	const uint32_t pfn = PLAY_PFN;
	uint64_t sum;

	pages_post(rig, INFLATEQ, &pfn, 1);
	drv_kick(rig, INFLATEQ);
	drv_set_status(rig, 0);
	sum = ram_sum(rig);
	assert_false(guest_driver_queue_ready(&rig->driver, INFLATEQ));
	assert_false(guest_driver_queue_ready(&rig->driver, DEFLATEQ));
	drv_kick(rig, INFLATEQ);
	assert_int_equal(rig_run(rig), 0);
	/* DRIVER_OK again, but without queues */
	drv_negotiate(rig, 0);
	drv_set_status(rig, DRV_LIVE);
	drv_kick(rig, INFLATEQ);
	assert_int_equal(rig_run(rig), 0);
	assert_true(ram_sum(rig) == sum);
	assert_int_equal(rig->host.count, 0);
}

/* shows: HOST-REG-01 AMB-09 */
static void HOST_REG_01_bits_are_not_cleared_by_a_nonzero_write(void **state)
{
	struct rig *rig = *state;

	drv_negotiate(rig, 0);
	drv_set_status(rig, VMEMDEV_STATUS_ACKNOWLEDGE);
	assert_int_equal(status(rig), DRV_READY);
	drv_set_status(rig, VMEMDEV_STATUS_DRIVER_OK);
	assert_int_equal(status(rig), DRV_LIVE);
	drv_set_status(rig, VMEMDEV_STATUS_DRIVER);
	assert_int_equal(status(rig), DRV_LIVE);
}

/* shows: HOST-REG-02 AMB-09 */
static void HOST_REG_02_bits_that_are_not_the_drivers_are_masked_out(void **state)
{
	struct rig *rig = *state;

	for (int i = 0; i < 2; i++) {
		uint8_t before = status(rig);

		drv_set_status(rig, 0x20);
		drv_set_status(rig, 0x40);
		drv_set_status(rig, 0x10);
		drv_set_status(rig, 0x70);
		assert_int_equal(status(rig), before);
		if (i == 0)
			drv_start(rig, 0);
	}
	assert_int_equal(rig->errors, 0);
}

/* shows: HOST-REG-03 AMB-09 */
static void HOST_REG_03_DRIVER_OK_needs_accepted_features(void **state)
{
	struct rig *rig = *state;

	drv_set_status(rig, 0x03);
	drv_set_status(rig, 0x07);
	assert_int_equal(status(rig), 0x03);
	guest_driver_accept(&rig->driver, 0);
	drv_set_status(rig, 0x0f);
	assert_int_equal(status(rig), 0x03);
	assert_false(guest_driver_queue_enable(&rig->driver, 0,
					       &(struct vmemdev_vq_layout){
						       .desc = RAM_GPA, .driver = RAM_GPA + 4096,
						       .device = RAM_GPA + 8192, .size = 8}));
	drv_kick(rig, 0);
	assert_int_equal(rig_run(rig), 0);
	guest_driver_accept(&rig->driver, VMEMDEV_F_VERSION_1);
	drv_set_status(rig, 0x0b);
	assert_int_equal(status(rig), 0x0b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_BUSES(STAT_01_legal_prefixes_read_back_and_unknown_bits_do_not,
			   rig_setup_balloon),
		TEST_BUSES(STAT_02_status_is_0_at_first_and_after_every_reset, rig_setup_mem),
		TEST_ALL(STAT_03_queues_sleep_until_DRIVER_OK_and_are_looked_at_then,
			 rig_setup_balloon),
		TEST_ALL(STAT_05_a_broken_ring_needs_a_reset_and_stops_everything,
			 rig_setup_balloon_live),
		TEST_ALL(STAT_05_reset_brings_a_stopped_device_back, rig_setup_balloon_live),
		TEST_ALL(STAT_08_FAILED_stops_the_queues_until_reset, rig_setup_balloon_live),
		TEST_ALL(STAT_09_no_queue_is_live_after_a_reset, rig_setup_balloon_live),
		TEST_BUSES(HOST_REG_01_bits_are_not_cleared_by_a_nonzero_write,
			   rig_setup_balloon),
		TEST_BUSES(HOST_REG_02_bits_that_are_not_the_drivers_are_masked_out,
			   rig_setup_balloon),
		TEST_BUSES(HOST_REG_03_DRIVER_OK_needs_accepted_features, rig_setup_balloon),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
