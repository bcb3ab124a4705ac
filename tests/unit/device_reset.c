/* SPDX-License-Identifier: BSD-3-Clause */
/* Device reset: what it clears, what survives, and that it works from every state. */
#include "device_rig.h"

/* Everything a driver can read of a device. */
struct dump {
	uint32_t registers[0x100 / 4]; /* of mmio.h, for the selected queue 0 and 1 */
	uint32_t queues[VMEMDEV_QUEUES_MAX][3];
	uint8_t config[96];
	struct vmemdev_vq_layout layouts[VMEMDEV_QUEUES_MAX];
	uint8_t status;
	uint32_t accepted[2];
	bool pending;
};

static void take_dump(struct rig *rig, struct dump *dump)
{
	memset(dump, 0, sizeof(*dump));
	dump->status = vmemdev_device_status(rig->dev);
	dump->pending = vmemdev_device_pending(rig->dev);
	for (uint32_t word = 0; word < 2; word++)
		dump->accepted[word] = vmemdev_device_accepted(rig->dev, word);
	vmemdev_device_config_read(rig->dev, 0, dump->config, sizeof(dump->config));
	for (uint16_t q = 0; q < VMEMDEV_QUEUES_MAX; q++) {
		struct vmemdev_vq_layout *layout = vmemdev_device_queue_layout(rig->dev, q);

		if (layout)
			dump->layouts[q] = *layout;
		dump->queues[q][0] = vmemdev_device_queue_size_max(rig->dev, q);
		dump->queues[q][1] = vmemdev_device_queue_enabled(rig->dev, q);
	}
	for (uint32_t at = 0; rig->way.mmio && at < 0x100; at += 4)
		if (at != REG_CONFIG_GENERATION)
			dump->registers[at / 4] = guest_driver_register(&rig->driver, at);
}

static void expect_power_on(struct rig *rig, const struct dump *before)
{
	struct dump after;

	take_dump(rig, &after);
	assert_memory_equal(&after, before, sizeof(after));
}

/* shows: RST-04 RST-01 MMIO-14 MMIO-11 */
static void RST_04_a_dump_after_reset_is_the_dump_at_power_on(void **state)
{
	struct rig *rig = *state;
	const uint32_t pfn = PLAY_PFN;
	const uint8_t actual[4] = {1, 2, 3, 4};
	struct dump first;

	take_dump(rig, &first);
	for (int i = 0; i < 3; i++) {
		drv_start(rig, VMEMDEV_F_EVENT_IDX | VMEMDEV_F_INDIRECT_DESC);
		guest_driver_config_write(&rig->driver, BAL_ACTUAL, actual, 4);
		pages_send(rig, INFLATEQ, &pfn, 1);
		pages_post(rig, DEFLATEQ, &pfn, 1);
		drv_kick(rig, DEFLATEQ);
		if (rig->way.mmio) {
			guest_driver_set_register(&rig->driver, REG_QUEUE_SEL, 5);
			guest_driver_set_register(&rig->driver, REG_DEVICE_FEATURES_SEL, 1);
			guest_driver_set_register(&rig->driver, REG_SHM_SEL, 3);
		}
		if (i == 1)
			vmemdev_device_reset(rig->dev);
		else
			drv_set_status(rig, 0);
		expect_power_on(rig, &first);
	}
}

/* shows: RST-04 */
static void RST_04_a_queue_set_up_by_halves_is_forgotten(void **state)
{
	struct rig *rig = *state;
	struct vmemdev_vq_layout junk = {.desc = 1, .driver = 2, .device = 3, .size = 5};
	struct dump first;

	take_dump(rig, &first);
	drv_negotiate(rig, 0);
	assert_false(guest_driver_queue_enable(&rig->driver, 0, &junk));
	drv_set_status(rig, 0);
	expect_power_on(rig, &first);
	assert_int_equal(vmemdev_device_queue_layout(rig->dev, 0)->size,
			 vmemdev_device_queue_size_max(rig->dev, 0));
}

/* shows: RST-01 RST-05 LNX-COR-01 HOST-REG-21 */
static void RST_05_reset_works_from_every_state(void **state)
{
	struct rig *rig = *state;
	const uint32_t pfn = PLAY_PFN;
	struct guest_random random;
	struct dump first;

	guest_random_seed(&random, 5);
	take_dump(rig, &first);
	for (int i = 0; i < 3000; i++) {
		uint64_t mark = guest_place_mark(&rig->memory);
		uint32_t depth = guest_random_below(&random, 8);
		uint64_t token = 0;

		rig->host.answer = depth == 7 ? VMEMDEV_LATER : 0;
		if (depth > 0)
			drv_set_status(rig, VMEMDEV_STATUS_ACKNOWLEDGE);
		if (depth > 1)
			drv_negotiate(rig, VMEMDEV_F_RING_RESET);
		if (depth > 2)
			drv_open(rig, INFLATEQ);
		if (depth > 3) {
			drv_set_status(rig, DRV_LIVE);
			pages_post(rig, INFLATEQ, &pfn, 1);
			drv_kick(rig, INFLATEQ);
		}
		if (depth == 5)
			drv_break(rig, INFLATEQ);
		if (depth > 4) {
			rig_run(rig);
			token = rig->host.token;
		}
		if (guest_random_below(&random, 3) == 0)
			drv_set_status(rig, VMEMDEV_STATUS_FAILED);
		if (depth > 2 && guest_random_below(&random, 3) == 0)
			guest_driver_queue_reset(&rig->driver, INFLATEQ);
		drv_reset(rig);
		if (depth == 7)
			assert_int_equal(rig_complete(rig, token, 0), VMEMDEV_E_STATE);
		expect_power_on(rig, &first);
		assert_int_equal(vmemdev_device_fault(rig->dev), 0);
		guest_place_release(&rig->memory, mark);
	}
	drv_start(rig, 0);
	rig->host.answer = 0;
	pages_send(rig, INFLATEQ, &pfn, 1);
}

/* shows: RST-02 */
static void RST_02_a_kick_before_the_reset_is_forgotten_with_it(void **state)
{
	struct rig *rig = *state;
	const uint32_t pfn = PLAY_PFN;
	uint64_t sum;

	pages_post(rig, INFLATEQ, &pfn, 1);
	drv_kick(rig, INFLATEQ);
	drv_set_status(rig, 0);
	sum = ram_sum(rig);
	assert_false(vmemdev_device_pending(rig->dev));
	assert_int_equal(rig_run(rig), 0);
	assert_true(ram_sum(rig) == sum);
	assert_int_equal(rig->host.count, 0);
	assert_false(drv_took_queue_irq(rig));
	assert_int_equal(vmemdev_balloon_set_target(&rig->balloon, 4 * PAGE), 0);
	assert_false(drv_took_config_irq(rig));
}

/* shows: RST-04 MMIO-12 */
static void RST_04_the_interrupt_line_falls_with_the_reset(void **state)
{
	struct rig *rig = *state;
	const uint32_t pfn = PLAY_PFN;

	pages_post(rig, INFLATEQ, &pfn, 1);
	drv_kick(rig, INFLATEQ);
	rig_run(rig);
	assert_true(rig->driver.line);
	drv_set_status(rig, 0);
	assert_false(rig->driver.line);
	assert_int_equal(guest_driver_register(&rig->driver, REG_INTERRUPT_STATUS), 0);
}

/* shows: RST-04 */
static void RST_04_the_transport_is_told_of_each_reset(void **state)
{
	struct rig *rig = *state;
	uint32_t before = rig->driver.resets;

	vmemdev_device_set_status(rig->dev, 0);
	assert_int_equal(rig->driver.resets, before + 1);
	vmemdev_device_reset(rig->dev);
	assert_int_equal(rig->driver.resets, before + 2);
	assert_int_equal(vmemdev_device_system_reset(rig->dev), 0);
	assert_int_equal(rig->driver.resets, before + 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_ALL(RST_04_a_dump_after_reset_is_the_dump_at_power_on, rig_setup_balloon),
		TEST_BUSES(RST_04_a_queue_set_up_by_halves_is_forgotten, rig_setup_balloon),
		TEST_ALL(RST_05_reset_works_from_every_state, rig_setup_balloon),
		TEST_ALL(RST_02_a_kick_before_the_reset_is_forgotten_with_it,
			 rig_setup_balloon_live),
		TEST_RINGS_MMIO(RST_04_the_interrupt_line_falls_with_the_reset,
				rig_setup_balloon_live),
		TEST_ONCE(RST_04_the_transport_is_told_of_each_reset, rig_setup_balloon_live),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
