/* SPDX-License-Identifier: BSD-3-Clause */
/* Setting up, stopping and resetting single queues. */
#include "device_rig.h"

static struct vmemdev_vq_layout good_layout(struct rig *rig)
{
	(void)rig;
	return (struct vmemdev_vq_layout){.desc = DATA_GPA, .driver = DATA_GPA + 0x4000,
					  .device = DATA_GPA + 0x8000, .size = 16};
}

/* shows: MMIO-05 MMIO-07 HOST-REG-15 */
static void MMIO_07_good_layouts_become_ready(void **state)
{
	struct rig *rig = *state;
	struct vmemdev_vq_layout at = good_layout(rig);

	drv_negotiate(rig, 0);
	assert_false(guest_driver_queue_ready(&rig->driver, 0));
	assert_true(guest_driver_queue_enable(&rig->driver, 0, &at));
	assert_true(guest_driver_queue_ready(&rig->driver, 0));
	assert_false(guest_driver_queue_ready(&rig->driver, 1));
	assert_int_equal(vmemdev_device_queue_enable(rig->dev, 0), VMEMDEV_E_STATE);
	assert_true(guest_driver_queue_ready(&rig->driver, 0));
}

/* shows: HOST-REG-13 HOST-REG-14 */
static void HOST_REG_13_impossible_sizes_and_places_never_become_ready(void **state)
{
	struct rig *rig = *state;
	const struct vmemdev_vq_layout good = good_layout(rig);
	struct vmemdev_vq_layout bad[24];
	uint32_t n = 0;

	for (uint32_t i = 0; i < ARRAY_LEN(bad); i++)
		bad[i] = good;
	bad[n++].size = 0;
	bad[n++].size = 256; /* the maximum is 128 */
	bad[n++].size = 32768;
	bad[n++].size = 65535;
	bad[n++].size = 0x10010;
	bad[n++].size = 0xffffffff;
	if (!rig->way.packed) {
		bad[n++].size = 3;
		bad[n++].size = 127;
	}
	bad[n++].desc += 8;
	bad[n++].desc = 0;
	bad[n++].desc = RAM_GPA - 16;
	bad[n++].desc = RAM_GPA + RAM_SIZE;
	bad[n++].desc = RAM_GPA + RAM_SIZE - 16;
	bad[n++].desc = UINT64_C(0xfffffffffffffff0);
	bad[n++].driver += 1;
	bad[n++].driver = RAM_GPA + RAM_SIZE - 2;
	bad[n++].driver = UINT64_C(0xfffffffffffffffe);
	bad[n++].device += 2;
	bad[n++].device = RAM_GPA + RAM_SIZE;
	bad[n++].device = UINT64_C(0xfffffffffffffffc);
	bad[n++].device = RAM_GPA - 4;
	for (uint32_t i = 0; i < n; i++) {
		drv_reset(rig);
		drv_negotiate(rig, 0);
		if (guest_driver_queue_enable(&rig->driver, 0, &bad[i]))
			fail_msg("layout %u became ready", i);
		assert_false(guest_driver_queue_ready(&rig->driver, 0));
		/* and a good one afterwards works */
		assert_true(guest_driver_queue_enable(&rig->driver, 0, &good));
	}
	assert_int_equal(rig->errors, 0);
}

/* shows: AMB-14 */
static void AMB_14_event_fields_count_only_with_EVENT_IDX(void **state)
{
	struct rig *rig = *state;
	struct vmemdev_vq_layout at = good_layout(rig);

	at.size = 16;
	for (int event = 0; event < 2; event++) {
		at.device = good_layout(rig).device;
		at.driver = RAM_GPA + RAM_SIZE - (4 + 2 * 16); /* the last bytes of memory */
		drv_reset(rig);
		drv_negotiate(rig, event ? VMEMDEV_F_EVENT_IDX : 0);
		assert_int_equal(guest_driver_queue_enable(&rig->driver, 0, &at), !event);
		at.driver = good_layout(rig).driver;
		at.device = RAM_GPA + RAM_SIZE - (4 + 8 * 16);
		assert_int_equal(guest_driver_queue_enable(&rig->driver, 1, &at), !event);
	}
}

/* shows: HOST-REG-14 */
static void HOST_REG_14_rings_that_vanish_later_stop_the_device(void **state)
{
	static const struct guest_region regions[] = {
		{.gpa = RAM_GPA, .len = RAM_SIZE}, {.gpa = UINT64_C(0x2000000), .len = 0x10000}};
	struct rig *rig = rig_bare_regions(*state, regions, 2);
	struct guest_queue_config config = {
		.features = rig->ring_features, .size = 16,
		.at = {.desc = UINT64_C(0x2000000), .driver = UINT64_C(0x2004000),
		       .device = UINT64_C(0x2008000), .size = 16}};
	struct guest_queue *q = &rig->driver.queues[0];
	const uint32_t pfn = PLAY_PFN;

	rig_make_balloon(rig, NULL);
	*state = rig;
	drv_negotiate(rig, 0);
	guest_queue_open(q, &rig->memory, &config);
	rig->driver.open[0] = true;
	assert_true(guest_driver_queue_enable(&rig->driver, 0, &q->layout));
	drv_set_status(rig, DRV_LIVE);
	pages_send(rig, INFLATEQ, &pfn, 1);
	drv_took_config_irq(rig);
	pages_post(rig, INFLATEQ, &pfn, 1);
	assert_int_equal(guest_memory_show(&rig->memory, 1), 0);
	host_forget(rig);
	drv_kick(rig, INFLATEQ);
	assert_int_equal(rig_run(rig), VMEMDEV_E_GUEST_RING);
	assert_true(guest_driver_status(&rig->driver) & VMEMDEV_STATUS_NEEDS_RESET);
	assert_true(drv_took_config_irq(rig));
	assert_int_equal(rig->errors, 1);
	assert_int_equal(rig->host.count, 0);
	drv_reset(rig);
	drv_start(rig, 0);
	pages_send(rig, INFLATEQ, &pfn, 1);
}

/* The test makes its rig itself. */
static int setup_way(void **state)
{
	(void)state;
	return 0;
}

/* shows: HOST-REG-11 MMIO-06 */
static void HOST_REG_11_queues_that_are_not_there(void **state)
{
	static const uint16_t absent[] = {2, 5, 7, 8, 255, 0xffff};
	struct rig *rig = *state;
	struct vmemdev_vq_layout at = good_layout(rig);

	drv_negotiate(rig, 0);
	for (size_t i = 0; i < ARRAY_LEN(absent); i++) {
		uint16_t q = absent[i];

		assert_int_equal(vmemdev_device_queue_size_max(rig->dev, q), 0);
		assert_null(vmemdev_device_queue_layout(rig->dev, q));
		assert_false(vmemdev_device_queue_enabled(rig->dev, q));
		assert_int_equal(vmemdev_device_queue_enable(rig->dev, q), VMEMDEV_E_INVAL);
		vmemdev_device_queue_reset(rig->dev, q);
		vmemdev_device_kick(rig->dev, q);
		if (rig->way.mmio) {
			assert_int_equal(guest_driver_queue_max(&rig->driver, q), 0);
			assert_false(guest_driver_queue_enable(&rig->driver, q, &at));
			assert_false(guest_driver_queue_ready(&rig->driver, q));
		}
	}
	assert_int_equal(rig_run(rig), 0);
}

/* shows: HOST-REG-12 */
static void HOST_REG_12_an_enabled_queue_keeps_its_layout(void **state)
{
	struct rig *rig = *state;
	const struct vmemdev_vq_layout junk = {.desc = 0x10, .driver = 0x20, .device = 0x40,
					       .size = 2};
	const uint32_t pfn = PLAY_PFN;

	assert_null(vmemdev_device_queue_layout(rig->dev, INFLATEQ));
	pages_post(rig, INFLATEQ, &pfn, 1);
	guest_driver_queue_enable(&rig->driver, INFLATEQ, &junk);
	drv_kick(rig, INFLATEQ);
	assert_int_equal(rig_run(rig), 0);
	assert_int_equal(drv_used_count(rig, INFLATEQ), 1);
	assert_int_equal(rig->errors, 0);
}

static int setup_ring_reset(void **state)
{
	rig_setup_balloon(state);
	drv_start(*state, VMEMDEV_F_RING_RESET);
	rig_run(*state);
	return 0;
}

/* shows: VQR-01 MMIO-08 MMIO-20 */
static void VQR_01_after_a_queue_reset_its_memory_is_not_touched(void **state)
{
	struct rig *rig = *state;
	const uint32_t pfn = PLAY_PFN;
	uint64_t sum;

	pages_post(rig, INFLATEQ, &pfn, 1);
	drv_kick(rig, INFLATEQ);
	guest_driver_queue_reset(&rig->driver, INFLATEQ);
	assert_false(guest_driver_queue_ready(&rig->driver, INFLATEQ));
	assert_false(vmemdev_device_pending(rig->dev));
	sum = ram_sum(rig);
	drv_kick(rig, INFLATEQ);
	assert_int_equal(rig_run(rig), 0);
	assert_true(ram_sum(rig) == sum);
	assert_int_equal(rig->host.count, 0);
	assert_false(drv_took_queue_irq(rig));
}

/* shows: VQR-02 VQR-03 VQR-05 MMIO-19 */
static void VQR_02_a_reset_queue_starts_afresh_with_another_size(void **state)
{
	static const uint32_t sizes[] = {8, 64, 2, 128, 16};
	struct rig *rig = *state;
	const uint32_t pfn = PLAY_PFN;

	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		for (uint32_t k = 0; k < 2 * sizes[i] + 3; k++)
			pages_send(rig, INFLATEQ, &pfn, 1);
		guest_driver_queue_reset(&rig->driver, INFLATEQ);
		pages_send(rig, DEFLATEQ, &pfn, 1); /* the other one goes on */
		assert_true(guest_driver_queue_open(&rig->driver, INFLATEQ, sizes[i]));
		assert_true(guest_driver_queue_ready(&rig->driver, INFLATEQ));
		pages_send(rig, INFLATEQ, &pfn, 1);
	}
	assert_int_equal(rig->errors, 0);
}

/* shows: VQR-05 STAT-04 */
static void VQR_05_a_queue_enabled_late_is_looked_at(void **state)
{
	struct rig *rig = *state;
	const uint32_t pfn = PLAY_PFN;
	struct guest_queue_config config = {.features = rig->ring_features, .size = 8};
	struct guest_queue *q = &rig->driver.queues[INFLATEQ];

	guest_driver_queue_reset(&rig->driver, INFLATEQ);
	if (rig->driver.open[INFLATEQ])
		guest_queue_close(q);
	guest_queue_open(q, &rig->memory, &config);
	rig->driver.open[INFLATEQ] = true;
	pages_post(rig, INFLATEQ, &pfn, 1);
	assert_true(guest_driver_queue_enable(&rig->driver, INFLATEQ, &q->layout));
	assert_int_equal(rig_run(rig), 0);
	assert_int_equal(drv_used_count(rig, INFLATEQ), 1);
}

/* shows: STAT-05 VQR-05 */
static void VQR_05_a_queue_reset_does_not_heal_a_stopped_device(void **state)
{
	struct rig *rig = *state;
	const uint32_t pfn = PLAY_PFN;

	drv_break(rig, INFLATEQ);
	assert_int_equal(rig_run(rig), VMEMDEV_E_GUEST_CHAIN);
	guest_driver_queue_reset(&rig->driver, INFLATEQ);
	pages_post(rig, DEFLATEQ, &pfn, 1);
	drv_kick(rig, DEFLATEQ);
	assert_int_equal(rig_run(rig), VMEMDEV_E_GUEST_CHAIN);
	assert_int_equal(drv_used_count(rig, DEFLATEQ), 0);
	assert_int_equal(rig->errors, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_ALL(MMIO_07_good_layouts_become_ready, rig_setup_balloon),
		TEST_ALL(HOST_REG_13_impossible_sizes_and_places_never_become_ready,
			 rig_setup_balloon),
		TEST_BUSES(AMB_14_event_fields_count_only_with_EVENT_IDX, rig_setup_balloon),
		TEST_ALL(HOST_REG_14_rings_that_vanish_later_stop_the_device, setup_way),
		TEST_BUSES(HOST_REG_11_queues_that_are_not_there, rig_setup_balloon),
		TEST_ALL(HOST_REG_12_an_enabled_queue_keeps_its_layout, rig_setup_balloon_live),
		TEST_ALL(VQR_01_after_a_queue_reset_its_memory_is_not_touched, setup_ring_reset),
		TEST_ALL(VQR_02_a_reset_queue_starts_afresh_with_another_size, setup_ring_reset),
		TEST_ALL(VQR_05_a_queue_enabled_late_is_looked_at, setup_ring_reset),
		TEST_ALL(VQR_05_a_queue_reset_does_not_heal_a_stopped_device, setup_ring_reset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
