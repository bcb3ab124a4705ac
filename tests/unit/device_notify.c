/* SPDX-License-Identifier: BSD-3-Clause */
/* Kicks, interrupts and budgets. */
#include "device_rig.h"

static int setup_data(void **state)
{
	struct rig *rig = rig_bare(*state);
	struct vmemdev_balloon_config config;

	rig_balloon_config(rig, &config);
	config.device.features_on |= VMEMDEV_F_NOTIFICATION_DATA;
	rig_make_balloon(rig, &config);
	drv_start(rig, VMEMDEV_F_NOTIFICATION_DATA);
	rig_run(rig);
	*state = rig;
	return 0;
}

/* shows: NTF-01 */
static void NTF_01_a_kick_without_buffers_is_harmless(void **state)
{
	struct rig *rig = *state;

	rig_run(rig);
	for (int i = 0; i < 100; i++) {
		uint64_t sum = ram_sum(rig);

		drv_kick(rig, INFLATEQ);
		assert_int_equal(rig_run(rig), 0);
		assert_true(i == 0 || ram_sum(rig) == sum);
	}
	assert_int_equal(rig->host.count, 0);
	assert_false(drv_took_queue_irq(rig));
	assert_int_equal(rig->errors, 0);
}

/* shows: NTF-05 MMIO-13 */
static void NTF_05_one_batch_one_interrupt(void **state)
{
	struct rig *rig = *state;
	const uint32_t pfn = PLAY_PFN;

	for (int i = 0; i < 20; i++)
		pages_post(rig, INFLATEQ, &pfn, 1);
	drv_kick(rig, INFLATEQ);
	assert_int_equal(rig_run(rig), 0);
	assert_int_equal(drv_used_count(rig, INFLATEQ), 20);
	if (rig->way.mmio) {
		assert_int_equal(rig->driver.line_raised, 1);
	} else {
		assert_int_equal(rig->driver.queue_interrupts[INFLATEQ], 1);
		assert_int_equal(rig->driver.queue_interrupts[DEFLATEQ], 0);
	}
	assert_true(drv_took_queue_irq(rig));
	assert_false(drv_took_config_irq(rig));
}

/* shows: HOST-REG-06 STAT-03 */
static void HOST_REG_06_kicks_that_nobody_asked_for_are_ignored(void **state)
{
	static const uint16_t queues[] = {0, 1, 2, 4, 7, 8, 31, 32, 255, 0xffff};
	struct rig *rig = *state;

	for (int live = 0; live < 2; live++) {
		for (size_t i = 0; i < ARRAY_LEN(queues); i++) {
			drv_kick(rig, queues[i]);
			assert_false(vmemdev_device_pending(rig->dev));
			assert_int_equal(rig_run(rig), 0);
		}
		drv_negotiate(rig, 0);
		drv_set_status(rig, DRV_LIVE); /* live, but no queue is enabled */
	}
	assert_int_equal(rig->errors, 0);
}

/* shows: HOST-REG-21 NTF-01 */
static void HOST_REG_21_each_call_of_run_does_bounded_work(void **state)
{
	struct rig *rig = *state;
	const uint32_t pfn = PLAY_PFN;
	uint32_t used = 0, turns = 0;

	assert_int_equal(rig_step(rig, 0), VMEMDEV_E_INVAL);
	for (int i = 0; i < 64; i++)
		pages_post(rig, INFLATEQ, &pfn, 1);
	for (int i = 0; i < 1000; i++)
		drv_kick(rig, INFLATEQ);
	while (used < 64) {
		int left = rig_step(rig, 4);
		uint32_t got = drv_used_count(rig, INFLATEQ);

		assert_true(left == 0 || left == 1);
		assert_true(left == 1 || used + got == 64);
		assert_true(got <= 4);
		used += got;
		assert_true(++turns <= 64);
	}
	assert_true(turns >= 16);
	assert_int_equal(rig_run(rig), 0);
	assert_false(vmemdev_device_pending(rig->dev));
}

/* shows: NTF-03 NTF-04 HOST-REG-20 */
static void NTF_04_notification_data_is_a_hint_only(void **state)
{
	struct rig *rig = *state;
	const uint32_t pfn = PLAY_PFN;
	const uint32_t lies[] = {0, 0x7fff0000, 0x80000000, 0xffff0000, 0x00010000};

	for (size_t i = 0; i < ARRAY_LEN(lies); i++) {
		pages_post(rig, INFLATEQ, &pfn, 1);
		for (int again = 0; again < 3; again++)
			guest_driver_set_register(&rig->driver, REG_QUEUE_NOTIFY, lies[i]);
		assert_int_equal(rig_run(rig), 0);
		assert_int_equal(drv_used_count(rig, INFLATEQ), 1);
		guest_driver_set_register(&rig->driver, REG_QUEUE_NOTIFY, lies[i] | DEFLATEQ);
		assert_int_equal(rig_run(rig), 0);
	}
	assert_int_equal(rig->errors, 0);
}

/* shows: NTF-02 MMIO-23 */
static void NTF_02_the_low_half_of_the_data_is_the_queue(void **state)
{
	struct rig *rig = *state;
	const uint32_t pfn = PLAY_PFN;

	for (uint16_t queue = INFLATEQ; queue <= DEFLATEQ; queue++) {
		for (int i = 0; i < 5; i++) {
			uint32_t data;

			pages_post(rig, queue, &pfn, 1);
			data = guest_queue_kick_data(&rig->driver.queues[queue], queue);
			assert_int_equal(data & 0xffff, queue);
			guest_driver_set_register(&rig->driver, REG_QUEUE_NOTIFY, data);
			assert_int_equal(rig_run(rig), 0);
			assert_int_equal(drv_used_count(rig, queue), 1);
		}
	}
	/* an index that does not exist, with data that fits queue 0 */
	pages_post(rig, INFLATEQ, &pfn, 1);
	guest_driver_set_register(&rig->driver, REG_QUEUE_NOTIFY, 0x00060009);
	assert_int_equal(rig_run(rig), 0);
	assert_int_equal(drv_used_count(rig, INFLATEQ), 0);
}

/* A device without any transport still works; it just tells nobody. */
static void a_device_without_a_transport_works(void **state)
{
	struct rig *rig = *state;
	struct vmemdev_balloon_config config;
	struct guest_queue_config ring = {.size = 8};
	struct vmemdev_vq_layout *layout;
	struct guest_queue queue;
	const uint32_t pfn = PLAY_PFN;
	uint64_t gpa;
	struct vmemdev_buf buf;
	struct guest_used used;

	rig_balloon_config(rig, &config);
	assert_int_equal(vmemdev_balloon_init(&rig->balloon, sizeof(rig->balloon), &config), 0);
	rig->dev = vmemdev_balloon_device(&rig->balloon);
	assert_int_equal(vmemdev_balloon_set_target(&rig->balloon, PAGE), 0);
	vmemdev_device_accept(rig->dev, 1, 1);
	vmemdev_device_set_status(rig->dev, 0x03);
	vmemdev_device_set_status(rig->dev, DRV_READY);
	guest_queue_open(&queue, &rig->memory, &ring);
	layout = vmemdev_device_queue_layout(rig->dev, 0);
	assert_non_null(layout);
	*layout = queue.layout;
	assert_int_equal(vmemdev_device_queue_enable(rig->dev, 0), 0);
	vmemdev_device_set_status(rig->dev, DRV_LIVE);
	gpa = guest_place(&rig->memory, 4, 4);
	guest_store32(&rig->memory, gpa, pfn);
	buf = (struct vmemdev_buf){.gpa = gpa, .len = 4, .writable = 0};
	assert_true(guest_queue_add(&queue, &buf, 1, NULL) >= 0);
	guest_queue_publish(&queue);
	vmemdev_device_kick(rig->dev, 0);
	assert_int_equal(rig_step(rig, 64), 0);
	assert_int_equal(guest_queue_poll(&queue, &used), 1);
	vmemdev_device_reset(rig->dev);
	guest_queue_close(&queue);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_ALL(NTF_01_a_kick_without_buffers_is_harmless, rig_setup_balloon_live),
		TEST_ALL(NTF_05_one_batch_one_interrupt, rig_setup_balloon_live),
		TEST_ALL(HOST_REG_06_kicks_that_nobody_asked_for_are_ignored, rig_setup_balloon),
		TEST_ALL(HOST_REG_21_each_call_of_run_does_bounded_work, rig_setup_balloon_live),
		TEST_RINGS_MMIO(NTF_04_notification_data_is_a_hint_only, setup_data),
		TEST_RINGS_MMIO(NTF_02_the_low_half_of_the_data_is_the_queue, setup_data),
		TEST_ONCE(a_device_without_a_transport_works, rig_setup_bare),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
