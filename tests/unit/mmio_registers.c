/* SPDX-License-Identifier: BSD-3-Clause */
/* The virtio-mmio register block, register by register. */
#include "device_rig.h"

static uint32_t get(struct rig *rig, uint32_t offset)
{
	return guest_driver_register(&rig->driver, offset);
}

static void set(struct rig *rig, uint32_t offset, uint32_t value)
{
	guest_driver_set_register(&rig->driver, offset, value);
}

/* shows: MMIO-01 MMIO-02 */
static void MMIO_01_identity_registers(void **state)
{
	struct rig *rig = *state;

	assert_int_equal(get(rig, REG_MAGIC), 0x74726976);
	assert_int_equal(get(rig, REG_VERSION), 2);
	assert_int_equal(get(rig, REG_DEVICE_ID), vmemdev_device_id(rig->dev));
	assert_int_equal(VMEMDEV_MMIO_NOTIFY, 0x050);
}

static void ignore_interrupt(void *ctx, bool level)
{
	(void)ctx, (void)level;
}

/* shows: MMIO-02 */
static void MMIO_02_the_vendor_is_the_hosts_choice(void **state)
{
	struct rig *rig = *state;
	struct vmemdev_balloon_config config;
	struct vmemdev_mmio_config block = {.struct_size = sizeof(block), .vendor = 0x89abcdef,
					    .interrupt = ignore_interrupt};
	struct vmemdev_mmio mmio;

	rig_balloon_config(rig, &config);
	assert_int_equal(vmemdev_balloon_init(&rig->balloon, sizeof(rig->balloon), &config), 0);
	block.device = vmemdev_balloon_device(&rig->balloon);
	assert_int_equal(vmemdev_mmio_init(&mmio, sizeof(mmio), &block), 0);
	assert_true(vmemdev_mmio_read(&mmio, REG_VENDOR_ID, 4) == 0x89abcdef);
}

/* shows: MMIO-04 FEAT-01 FEAT-16 LNX-COR-03 */
static void MMIO_04_feature_words_are_selected(void **state)
{
	struct rig *rig = *state;

	for (int again = 0; again < 2; again++) {
		set(rig, REG_DEVICE_FEATURES_SEL, 1);
		assert_true(get(rig, REG_DEVICE_FEATURES) & 1);
		assert_int_equal(get(rig, REG_DEVICE_FEATURES),
				 vmemdev_device_features(rig->dev, 1));
		set(rig, REG_DEVICE_FEATURES_SEL, 0);
		assert_int_equal(get(rig, REG_DEVICE_FEATURES),
				 vmemdev_device_features(rig->dev, 0));
	}
	set(rig, REG_STATUS, 0x03);
	/* word 1, then 0, as Linux; then word 1 again: the last value counts */
	set(rig, REG_DRIVER_FEATURES_SEL, 1);
	set(rig, REG_DRIVER_FEATURES, 0xffffffff);
	set(rig, REG_DRIVER_FEATURES_SEL, 0);
	set(rig, REG_DRIVER_FEATURES, (uint32_t)VMEMDEV_F_EVENT_IDX);
	set(rig, REG_DRIVER_FEATURES_SEL, 1);
	set(rig, REG_DRIVER_FEATURES, 1);
	set(rig, REG_STATUS, 0x0b);
	assert_int_equal(get(rig, REG_STATUS), 0x0b);
	assert_int_equal(vmemdev_device_accepted(rig->dev, 0), (uint32_t)VMEMDEV_F_EVENT_IDX);
	assert_int_equal(vmemdev_device_accepted(rig->dev, 1), 1);
}

/* shows: MMIO-05 MMIO-16 */
static void MMIO_05_two_queues_do_not_mix(void **state)
{
	static const uint32_t low[] = {REG_QUEUE_DESC_LOW, REG_QUEUE_DRIVER_LOW,
				       REG_QUEUE_DEVICE_LOW};
	struct rig *rig = *state;

	drv_negotiate(rig, 0);
	for (uint32_t i = 0; i < 3; i++) {
		for (uint32_t q = 0; q < 2; q++) {
			set(rig, REG_QUEUE_SEL, q);
			set(rig, low[i] + 4, 0x1000 * (i + 1) + q); /* high first */
			set(rig, low[i], 0x10000 * (i + 1) + 0x100 * q);
		}
	}
	for (uint32_t q = 0; q < 2; q++) {
		const struct vmemdev_vq_layout *at;

		set(rig, REG_QUEUE_SEL, q);
		set(rig, REG_QUEUE_SIZE, 8u << q);
		at = vmemdev_device_queue_layout(rig->dev, (uint16_t)q);
		assert_non_null(at);
		assert_true(at->desc == ((UINT64_C(0x1000) + q) << 32 | (0x10000 + 0x100 * q)));
		assert_true(at->driver == ((UINT64_C(0x2000) + q) << 32 | (0x20000 + 0x100 * q)));
		assert_true(at->device == ((UINT64_C(0x3000) + q) << 32 | (0x30000 + 0x100 * q)));
		assert_int_equal(at->size, 8u << q);
	}
	assert_int_equal(vmemdev_device_queue_layout(rig->dev, 0)->size, 8);
	/* low halves once more: the high ones stay */
	set(rig, REG_QUEUE_SEL, 0);
	set(rig, REG_QUEUE_DESC_LOW, 0xfffffff0);
	assert_true(vmemdev_device_queue_layout(rig->dev, 0)->desc ==
		    UINT64_C(0x1000fffffff0));
}

/* shows: MMIO-06 HOST-REG-11 */
static void MMIO_06_queues_that_are_not_there_have_size_0(void **state)
{
	static const uint32_t absent[] = {2, 3, 7, 8, 0xffff, 0x10000, 0x10001, 0x80000000,
					  0xffffffff};
	struct rig *rig = *state;

	set(rig, REG_QUEUE_SEL, 0);
	assert_int_equal(get(rig, REG_QUEUE_SIZE_MAX), 128);
	set(rig, REG_QUEUE_SEL, 1);
	assert_int_equal(get(rig, REG_QUEUE_SIZE_MAX), 128);
	drv_negotiate(rig, 0);
	for (size_t i = 0; i < ARRAY_LEN(absent); i++) {
		set(rig, REG_QUEUE_SEL, absent[i]);
		assert_int_equal(get(rig, REG_QUEUE_SIZE_MAX), 0);
		set(rig, REG_QUEUE_SIZE, 8);
		set(rig, REG_QUEUE_DESC_LOW, 0x12340);
		set(rig, REG_QUEUE_READY, 1);
		assert_int_equal(get(rig, REG_QUEUE_READY), 0);
		set(rig, REG_QUEUE_RESET, 1);
		assert_int_equal(get(rig, REG_QUEUE_RESET), 0);
	}
	assert_true(vmemdev_device_queue_layout(rig->dev, 0)->desc == 0);
	assert_true(vmemdev_device_queue_layout(rig->dev, 1)->desc == 0);
}

/* shows: MMIO-07 MMIO-09 AMB-15 LNX-MMIO-03 MMIO-08 */
static void MMIO_09_writing_0_to_QueueReady_stops_the_queue_at_once(void **state)
{
	struct rig *rig = *state;
	const uint32_t pfn = PLAY_PFN;
	uint64_t sum;

	for (int round = 0; round < 3; round++) {
		pages_send(rig, INFLATEQ, &pfn, 1);
		pages_post(rig, INFLATEQ, &pfn, 1);
		drv_kick(rig, INFLATEQ);
		set(rig, REG_QUEUE_SEL, INFLATEQ);
		assert_int_equal(get(rig, REG_QUEUE_READY), 1);
		set(rig, REG_QUEUE_READY, 0);
		assert_int_equal(get(rig, REG_QUEUE_READY), 0);
		host_forget(rig);
		sum = ram_sum(rig);
		drv_kick(rig, INFLATEQ);
		assert_int_equal(rig_run(rig), 0);
		assert_true(ram_sum(rig) == sum);
		assert_int_equal(rig->host.count, 0);
		drv_open(rig, INFLATEQ);
		set(rig, REG_QUEUE_SEL, INFLATEQ);
		assert_int_equal(get(rig, REG_QUEUE_READY), 1);
	}
	assert_int_equal(rig->errors, 0);
}

/* shows: MMIO-10 MMIO-11 MMIO-12 MMIO-13 HOST-REG-19 LNX-MMIO-02 */
static void MMIO_10_each_interrupt_bit_stays_until_its_own_ack(void **state)
{
	struct rig *rig = *state;
	const uint32_t pfn = PLAY_PFN;

	assert_int_equal(get(rig, REG_INTERRUPT_STATUS), 0);
	assert_false(rig->driver.line);
	pages_post(rig, INFLATEQ, &pfn, 1);
	drv_kick(rig, INFLATEQ);
	rig_run(rig);
	assert_int_equal(get(rig, REG_INTERRUPT_STATUS), 1);
	assert_true(rig->driver.line);
	assert_int_equal(vmemdev_balloon_set_target(&rig->balloon, PAGE), 0);
	assert_int_equal(get(rig, REG_INTERRUPT_STATUS), 3);
	set(rig, REG_INTERRUPT_ACK, 0);
	set(rig, REG_INTERRUPT_ACK, 0xfffffffc); /* undefined bits */
	assert_int_equal(get(rig, REG_INTERRUPT_STATUS), 3);
	set(rig, REG_INTERRUPT_ACK, 1);
	assert_int_equal(get(rig, REG_INTERRUPT_STATUS), 2);
	assert_true(rig->driver.line);
	set(rig, REG_INTERRUPT_ACK, 1); /* not set any more */
	assert_int_equal(get(rig, REG_INTERRUPT_STATUS), 2);
	set(rig, REG_INTERRUPT_ACK, 2);
	assert_int_equal(get(rig, REG_INTERRUPT_STATUS), 0);
	assert_false(rig->driver.line);
	/* an event after the ACK raises the line again */
	pages_post(rig, INFLATEQ, &pfn, 1);
	drv_kick(rig, INFLATEQ);
	rig_run(rig);
	assert_true(rig->driver.line);
	assert_int_equal(get(rig, REG_INTERRUPT_STATUS), 1);
}

/* Edge-triggered lines live on this: each event calls, though the line is up already. */
/* shows: MMIO-10 LNX-MMIO-02 */
static void MMIO_10_each_event_is_told_even_when_the_line_is_up(void **state)
{
	struct rig *rig = *state;
	const uint32_t pfn = PLAY_PFN;

	for (uint32_t i = 1; i <= 3; i++) {
		pages_post(rig, INFLATEQ, &pfn, 1);
		drv_kick(rig, INFLATEQ);
		rig_run(rig);
		assert_int_equal(rig->driver.line_raised, i);
		assert_int_equal(rig->driver.line_lowered, 0);
	}
	set(rig, REG_INTERRUPT_ACK, 1);
	assert_int_equal(rig->driver.line_lowered, 1);
	set(rig, REG_INTERRUPT_ACK, 1);
	assert_int_equal(rig->driver.line_lowered, 1);
}

/* shows: MMIO-13 STAT-06 */
static void MMIO_13_DEVICE_NEEDS_RESET_is_a_configuration_event(void **state)
{
	struct rig *rig = *state;

	drv_break(rig, INFLATEQ);
	rig_run(rig);
	assert_int_equal(get(rig, REG_INTERRUPT_STATUS), 2);
	assert_int_equal(get(rig, REG_STATUS), DRV_LIVE | VMEMDEV_STATUS_NEEDS_RESET);
}

/* shows: MMIO-14 MMIO-15 LNX-MMIO-01 */
static void MMIO_14_status_0_resets_at_once(void **state)
{
	struct rig *rig = *state;
	const uint32_t pfn = PLAY_PFN;

	assert_int_equal(get(rig, REG_STATUS), DRV_LIVE);
	pages_post(rig, INFLATEQ, &pfn, 1);
	drv_kick(rig, INFLATEQ);
	rig_run(rig);
	set(rig, REG_STATUS, 0);
	assert_int_equal(get(rig, REG_STATUS), 0);
	assert_int_equal(get(rig, REG_INTERRUPT_STATUS), 0);
	for (uint32_t q = 0; q < 8; q++) {
		set(rig, REG_QUEUE_SEL, q);
		assert_int_equal(get(rig, REG_QUEUE_READY), 0);
	}
	set(rig, REG_STATUS, 0xffffff01); /* the upper bits are no status */
	assert_int_equal(get(rig, REG_STATUS), 1);
	set(rig, REG_STATUS, 0x12345603);
	assert_int_equal(get(rig, REG_STATUS), 3);
	set(rig, REG_STATUS, 0x100);
	assert_int_equal(get(rig, REG_STATUS), 0);
}

/* shows: MMIO-17 HOST-REG-11 */
static void MMIO_17_there_is_no_shared_memory_region(void **state)
{
	static const uint32_t ids[] = {0, 1, 255, 256, 0x10000, 0xffffffff};
	struct rig *rig = *state;

	for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
		set(rig, REG_SHM_SEL, ids[i]);
		for (uint32_t at = REG_SHM_LEN_LOW; at <= REG_SHM_BASE_HIGH; at += 4)
			assert_int_equal(get(rig, at), 0xffffffff);
	}
}

static int setup_ring_reset(void **state)
{
	rig_setup_balloon(state);
	drv_start(*state, VMEMDEV_F_RING_RESET);
	rig_run(*state);
	return 0;
}

/* shows: MMIO-19 MMIO-20 HOST-REG-16 */
static void MMIO_20_QueueReset_resets_the_selected_queue(void **state)
{
	struct rig *rig = *state;

	set(rig, REG_QUEUE_SEL, INFLATEQ);
	assert_int_equal(get(rig, REG_QUEUE_RESET), 0);
	set(rig, REG_QUEUE_RESET, 0);
	set(rig, REG_QUEUE_RESET, 2);
	set(rig, REG_QUEUE_RESET, 0xffffffff);
	assert_int_equal(get(rig, REG_QUEUE_READY), 1);
	set(rig, REG_QUEUE_RESET, 1);
	assert_int_equal(get(rig, REG_QUEUE_RESET), 0);
	assert_int_equal(get(rig, REG_QUEUE_READY), 0);
	set(rig, REG_QUEUE_SEL, DEFLATEQ);
	assert_int_equal(get(rig, REG_QUEUE_READY), 1);
	drv_open(rig, INFLATEQ);
	set(rig, REG_QUEUE_SEL, INFLATEQ);
	assert_int_equal(get(rig, REG_QUEUE_RESET), 0);
	assert_int_equal(get(rig, REG_QUEUE_READY), 1);
}

/* shows: VQR-04 HOST-REG-16 */
static void VQR_04_QueueReset_does_nothing_without_RING_RESET(void **state)
{
	struct rig *rig = *state;

	set(rig, REG_QUEUE_SEL, INFLATEQ);
	set(rig, REG_QUEUE_RESET, 1);
	assert_int_equal(get(rig, REG_QUEUE_RESET), 0);
	assert_int_equal(get(rig, REG_QUEUE_READY), 1);
}

/* shows: MMIO-21 CFG-03 */
static void MMIO_21_the_generation_register_follows_host_changes(void **state)
{
	struct rig *rig = *state;
	uint32_t before = get(rig, REG_CONFIG_GENERATION);

	for (uint64_t i = 1; i < 300; i++) {
		assert_int_equal(vmemdev_balloon_set_target(&rig->balloon, i * PAGE), 0);
		assert_int_not_equal(get(rig, REG_CONFIG_GENERATION), before);
		before = get(rig, REG_CONFIG_GENERATION);
		assert_int_equal(get(rig, REG_CONFIG_GENERATION), before);
		assert_int_equal(get(rig, REG_CONFIG + BAL_NUM_PAGES), i);
	}
}

/* shows: MMIO-22 HOST-REG-08 CFG-06 */
static void MMIO_22_configuration_is_byte_addressed(void **state)
{
	struct rig *rig = *state;
	uint8_t whole[128];

	mem_want(rig, 5 * MEM_BLOCK);
	vmemdev_device_config_read(rig->dev, 0, whole, sizeof(whole));
	for (uint32_t at = 0; at < 96; at++) {
		for (uint32_t width = 1; width <= 8; width *= 2) {
			uint64_t expected = 0;

			for (uint32_t i = width; i-- > 0;)
				expected = expected << 8 | whole[at + i];
			assert_true(vmemdev_mmio_read(&rig->driver.mmio, REG_CONFIG + at,
						      width) == expected);
		}
	}
}

/* shows: MMIO-22 HOST-REG-08 LNX-BAL-14 */
static void MMIO_22_actual_can_be_written_in_any_width(void **state)
{
	struct rig *rig = *state;

	for (uint32_t width = 1; width <= 4; width *= 2) {
		const uint32_t value = 0x01020304 * width;

		for (uint32_t i = 0; i < 4; i += width)
			vmemdev_mmio_write(&rig->driver.mmio, REG_CONFIG + BAL_ACTUAL + i, width,
					   value >> 8 * i);
		assert_int_equal(get(rig, REG_CONFIG + BAL_ACTUAL), value);
	}
	/* 8 bytes over both fields: only the writable one takes them */
	assert_int_equal(vmemdev_balloon_set_target(&rig->balloon, 9 * PAGE), 0);
	vmemdev_mmio_write(&rig->driver.mmio, REG_CONFIG, 8, UINT64_C(0x11223344aabbccdd));
	assert_int_equal(get(rig, REG_CONFIG + BAL_NUM_PAGES), 9);
	assert_int_equal(get(rig, REG_CONFIG + BAL_ACTUAL), 0x11223344);
}

/* shows: MMIO-23 HOST-REG-20 */
static void MMIO_23_QueueNotify_takes_a_queue_index(void **state)
{
	struct rig *rig = *state;
	const uint32_t pfn = PLAY_PFN;

	for (uint32_t q = 0; q < 2; q++) {
		pages_post(rig, (uint16_t)q, &pfn, 1);
		set(rig, REG_QUEUE_NOTIFY, q);
		assert_true(vmemdev_device_pending(rig->dev));
		assert_int_equal(rig_run(rig), 0);
		assert_int_equal(drv_used_count(rig, (uint16_t)q), 1);
	}
	set(rig, REG_QUEUE_NOTIFY, 2);
	set(rig, REG_QUEUE_NOTIFY, 0xffff);
	set(rig, REG_QUEUE_NOTIFY, 0x80000002);
	set(rig, REG_QUEUE_NOTIFY, 0xffffffff);
	assert_false(vmemdev_device_pending(rig->dev));
	pages_post(rig, 0, &pfn, 1);
	vmemdev_mmio_write(&rig->driver.mmio, REG_QUEUE_NOTIFY, 2, 0);
	assert_int_equal(rig_run(rig), 0);
	assert_int_equal(drv_used_count(rig, 0), 1);
}

static int setup_live(void **state)
{
	rig_setup_balloon_live(state);
	rig_run(*state);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_MMIO(MMIO_01_identity_registers, rig_setup_balloon),
		TEST_MMIO(MMIO_01_identity_registers, rig_setup_mem),
		TEST_MMIO(MMIO_02_the_vendor_is_the_hosts_choice, rig_setup_bare),
		TEST_MMIO(MMIO_04_feature_words_are_selected, rig_setup_balloon),
		TEST_MMIO(MMIO_05_two_queues_do_not_mix, rig_setup_balloon),
		TEST_MMIO(MMIO_06_queues_that_are_not_there_have_size_0, rig_setup_balloon),
		TEST_RINGS_MMIO(MMIO_09_writing_0_to_QueueReady_stops_the_queue_at_once,
				setup_live),
		TEST_RINGS_MMIO(MMIO_10_each_interrupt_bit_stays_until_its_own_ack, setup_live),
		TEST_RINGS_MMIO(MMIO_10_each_event_is_told_even_when_the_line_is_up, setup_live),
		TEST_RINGS_MMIO(MMIO_13_DEVICE_NEEDS_RESET_is_a_configuration_event, setup_live),
		TEST_RINGS_MMIO(MMIO_14_status_0_resets_at_once, setup_live),
		TEST_MMIO(MMIO_17_there_is_no_shared_memory_region, setup_live),
		TEST_RINGS_MMIO(MMIO_20_QueueReset_resets_the_selected_queue, setup_ring_reset),
		TEST_RINGS_MMIO(VQR_04_QueueReset_does_nothing_without_RING_RESET, setup_live),
		TEST_MMIO(MMIO_21_the_generation_register_follows_host_changes, setup_live),
		TEST_MMIO(MMIO_22_configuration_is_byte_addressed, rig_setup_mem),
		TEST_MMIO(MMIO_22_actual_can_be_written_in_any_width, setup_live),
		TEST_RINGS_MMIO(MMIO_23_QueueNotify_takes_a_queue_index, setup_live),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
