/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Random accesses to the register block, at every offset and width. The device may do with
 * them what it likes as long as it stays inside its memory and its rules; the invariants are
 * checked after each access. Seeds are fixed.
 */
#include "device_rig.h"

#define ACCESSES 200000

static const uint32_t readable[] = {
	REG_MAGIC, REG_VERSION, REG_DEVICE_ID, REG_VENDOR_ID, REG_DEVICE_FEATURES,
	REG_QUEUE_SIZE_MAX, REG_QUEUE_READY, REG_INTERRUPT_STATUS, REG_STATUS, REG_SHM_LEN_LOW,
	REG_SHM_LEN_HIGH, REG_SHM_BASE_LOW, REG_SHM_BASE_HIGH, REG_QUEUE_RESET,
	REG_CONFIG_GENERATION};

static const uint32_t writable[] = {
	REG_DEVICE_FEATURES_SEL, REG_DRIVER_FEATURES, REG_DRIVER_FEATURES_SEL, REG_QUEUE_SEL,
	REG_QUEUE_SIZE, REG_QUEUE_READY, REG_QUEUE_NOTIFY, REG_INTERRUPT_ACK, REG_STATUS,
	REG_QUEUE_DESC_LOW, REG_QUEUE_DESC_HIGH, REG_QUEUE_DRIVER_LOW, REG_QUEUE_DRIVER_HIGH,
	REG_QUEUE_DEVICE_LOW, REG_QUEUE_DEVICE_HIGH, REG_SHM_SEL, REG_QUEUE_RESET};

static bool listed(const uint32_t *list, size_t count, uint32_t offset)
{
	for (size_t i = 0; i < count; i++)
		if (list[i] == offset)
			return true;
	return false;
}

/* shows: HOST-REG-10 HOST-REG-09 MMIO-02 */
static void HOST_REG_10_what_is_not_readable_reads_0(void **state)
{
	static const uint32_t widths[] = {0, 1, 2, 3, 4, 5, 8, 16, 0xffffffff};
	struct rig *rig = *state;

	for (uint32_t offset = 0; offset < REG_CONFIG; offset++) {
		for (size_t w = 0; w < ARRAY_LEN(widths); w++) {
			uint64_t value = vmemdev_mmio_read(&rig->driver.mmio, offset, widths[w]);

			if (widths[w] == 4 && listed(readable, ARRAY_LEN(readable), offset))
				continue;
			/* a part of a register may be served, but never bytes of nothing */
			if (!listed(readable, ARRAY_LEN(readable), offset & ~3u) ||
			    widths[w] == 0)
				assert_true(value == 0);
		}
	}
	assert_true(vmemdev_mmio_read(&rig->driver.mmio, UINT64_MAX, 4) == 0);
	assert_true(vmemdev_mmio_read(&rig->driver.mmio, UINT64_MAX - 7, 8) == 0);
	assert_true(vmemdev_mmio_read(&rig->driver.mmio, UINT64_C(0x100000000), 4) == 0);
	assert_true(vmemdev_mmio_read(&rig->driver.mmio, UINT64_C(0x100000070), 4) == 0);
	assert_true(vmemdev_mmio_read(&rig->driver.mmio, VMEMDEV_MMIO_SIZE, 8) == 0);
}

/* The registers that a driver can read, and the layouts behind those that it cannot. */
struct picture {
	uint32_t registers[0x200 / 4];
	struct vmemdev_vq_layout layouts[2];
	uint32_t accepted[2];
};

static void take_picture(struct rig *rig, struct picture *picture)
{
	memset(picture, 0, sizeof(*picture));
	for (uint32_t at = 0; at < 0x200; at += 4)
		picture->registers[at / 4] =
			(uint32_t)vmemdev_mmio_read(&rig->driver.mmio, at, 4);
	for (uint16_t q = 0; q < 2; q++) {
		struct vmemdev_vq_layout *at = vmemdev_device_queue_layout(rig->dev, q);

		if (at)
			picture->layouts[q] = *at;
		picture->accepted[q] = vmemdev_device_accepted(rig->dev, q);
	}
}

/* shows: HOST-REG-10 HOST-REG-09 */
static void HOST_REG_10_writes_to_nothing_change_nothing(void **state)
{
	static const uint32_t widths[] = {0, 1, 2, 3, 4, 5, 8, 16};
	struct rig *rig = *state;
	struct picture before, after;

	drv_negotiate(rig, VMEMDEV_F_RING_RESET);
	take_picture(rig, &before);
	for (uint32_t offset = 0; offset < REG_CONFIG; offset++) {
		for (size_t w = 0; w < ARRAY_LEN(widths); w++) {
			if (listed(writable, ARRAY_LEN(writable), offset & ~3u))
				continue;
			vmemdev_mmio_write(&rig->driver.mmio, offset, widths[w],
					   UINT64_C(0xa5a5a5a5a5a5a5a5));
		}
	}
	/* whole registers, but in a width that is not theirs */
	for (size_t i = 0; i < ARRAY_LEN(writable); i++) {
		if (writable[i] == REG_QUEUE_NOTIFY)
			continue;
		vmemdev_mmio_write(&rig->driver.mmio, writable[i], 1, 0xff);
		vmemdev_mmio_write(&rig->driver.mmio, writable[i], 2, 0xffff);
		vmemdev_mmio_write(&rig->driver.mmio, writable[i] + 1, 4, 0xffffffff);
		vmemdev_mmio_write(&rig->driver.mmio, writable[i] + 2, 2, 0xffff);
	}
	vmemdev_mmio_write(&rig->driver.mmio, UINT64_MAX - 3, 4, 1);
	vmemdev_mmio_write(&rig->driver.mmio, UINT64_C(0x100000070), 4, 0);
	take_picture(rig, &after);
	assert_memory_equal(&before, &after, sizeof(before));
}

static void check_invariants(struct rig *rig)
{
	struct vmemdev_mmio *mmio = &rig->driver.mmio;
	uint8_t status = vmemdev_device_status(rig->dev);
	uint64_t interrupts = vmemdev_mmio_read(mmio, REG_INTERRUPT_STATUS, 4);

	assert_int_equal(vmemdev_mmio_read(mmio, REG_MAGIC, 4), 0x74726976);
	assert_int_equal(vmemdev_mmio_read(mmio, REG_VERSION, 4), 2);
	assert_int_equal(status & 0x30, 0);
	if (status & VMEMDEV_STATUS_DRIVER_OK)
		assert_true(status & VMEMDEV_STATUS_FEATURES_OK);
	if (status & VMEMDEV_STATUS_FEATURES_OK) {
		uint64_t accepted = vmemdev_device_accepted(rig->dev, 0) |
				    (uint64_t)vmemdev_device_accepted(rig->dev, 1) << 32;
		uint64_t offered = vmemdev_device_features(rig->dev, 0) |
				   (uint64_t)vmemdev_device_features(rig->dev, 1) << 32;

		assert_true(accepted & VMEMDEV_F_VERSION_1);
		assert_false(accepted & ~offered);
	} else {
		assert_false(vmemdev_device_queue_enabled(rig->dev, 0));
		assert_false(vmemdev_device_queue_enabled(rig->dev, 1));
	}
	assert_false(interrupts & ~UINT64_C(3));
	assert_int_equal(rig->driver.line, interrupts != 0);
	assert_false(vmemdev_device_queue_enabled(rig->dev, 2));
	assert_true(rig->errors <= 1);
	if (status == 0) {
		rig->errors = 0;
		assert_int_equal(vmemdev_device_fault(rig->dev), 0);
		assert_int_equal(interrupts, 0);
	}
}

/* A value that has a chance of meaning something at @offset. */
static uint64_t likely_value(struct guest_random *random, uint32_t offset)
{
	static const uint32_t small[] = {0, 1, 2, 3, 7, 0xb, 0xf, 0x8f, 8, 16, 64, 128, 256};

	switch (guest_random_below(random, 4)) {
	case 0:
		return guest_random_next(random) << 32 | guest_random_next(random);
	case 1:
		if (offset >= REG_QUEUE_DESC_LOW && offset < REG_SHM_SEL)
			return RAM_GPA + 16 * guest_random_below(random, 0x80000);
		return UINT64_C(1) << guest_random_below(random, 64);
	default:
		return small[guest_random_below(random, ARRAY_LEN(small))];
	}
}

static void one_access(struct rig *rig, struct guest_random *random)
{
	static const uint32_t widths[] = {4, 4, 4, 4, 4, 4, 1, 2, 8, 0, 3, 7};
	struct vmemdev_mmio *mmio = &rig->driver.mmio;
	uint32_t width = widths[guest_random_below(random, ARRAY_LEN(widths))];
	uint32_t offset = guest_random_below(random, 0x220);

	if (guest_random_below(random, 4))
		offset = writable[guest_random_below(random, ARRAY_LEN(writable))];
	/* a reset too often would keep the device from ever getting far */
	if (offset == REG_STATUS && guest_random_below(random, 4))
		offset = REG_DRIVER_FEATURES;
	if (guest_random_below(random, 4) == 0) {
		uint64_t value = vmemdev_mmio_read(mmio, offset, width);

		if (width < 8)
			assert_true(value >> (8 * (width ? width : 1)) == 0);
		return;
	}
	vmemdev_mmio_write(mmio, offset, width, likely_value(random, offset));
}

/* Half of the time, give the random driver a start that random writes would rarely make. */
static void push_forward(struct rig *rig, struct guest_random *random)
{
	struct vmemdev_mmio *mmio = &rig->driver.mmio;

	if (guest_random_below(random, 2))
		return;
	vmemdev_mmio_write(mmio, REG_STATUS, 4, 0);
	check_invariants(rig);
	vmemdev_mmio_write(mmio, REG_STATUS, 4, 3);
	vmemdev_mmio_write(mmio, REG_DRIVER_FEATURES_SEL, 4, 1);
	vmemdev_mmio_write(mmio, REG_DRIVER_FEATURES, 4,
			   1 | (guest_random_below(random, 2) ? 0x100 : 0) |
			   (rig->way.packed && guest_random_below(random, 2) ? 4 : 0));
	vmemdev_mmio_write(mmio, REG_STATUS, 4, 0xb);
	for (uint32_t q = 0; q < 2; q++) {
		vmemdev_mmio_write(mmio, REG_QUEUE_SEL, 4, q);
		vmemdev_mmio_write(mmio, REG_QUEUE_SIZE, 4, 16);
		vmemdev_mmio_write(mmio, REG_QUEUE_DESC_LOW, 4, DATA_GPA + 0x10000 * q);
		vmemdev_mmio_write(mmio, REG_QUEUE_DRIVER_LOW, 4, DATA_GPA + 0x10000 * q + 0x4000);
		vmemdev_mmio_write(mmio, REG_QUEUE_DEVICE_LOW, 4, DATA_GPA + 0x10000 * q + 0x8000);
		vmemdev_mmio_write(mmio, REG_QUEUE_READY, 4, 1);
	}
	if (guest_random_below(random, 2))
		vmemdev_mmio_write(mmio, REG_STATUS, 4, 0xf);
}

/* Noise in guest memory, mostly near the starts of the places that rings are put at. */
static void make_noise(struct rig *rig, struct guest_random *random)
{
	uint64_t part = DATA_GPA + 0x4000 * (uint64_t)guest_random_below(random, 8);
	uint64_t words = guest_random_below(random, 4) ? 8 : 0x800;
	uint64_t at = part + 8 * guest_random_below(random, (uint32_t)words);

	guest_store64(&rig->memory, at, guest_random_next(random) << 32 |
		      (guest_random_next(random) & 0x00ff00ff));
}

/* shows: HOST-REG-08 HOST-REG-09 HOST-REG-10 HOST-REG-21 HOST-VQ-14 */
static void HOST_REG_10_random_accesses_break_no_rule(void **state)
{
	struct rig *rig = *state;
	struct guest_random random;
	uint32_t live = 0, broken = 0;

	guest_random_seed(&random, 2026);
	for (uint32_t i = 0; i < ACCESSES; i++) {
		if (i % 200 == 0)
			push_forward(rig, &random);
		if (i % 50 == 0)
			make_noise(rig, &random);
		one_access(rig, &random);
		if (i % 3 == 0) {
			int left = rig_step(rig, 1 + guest_random_below(&random, 8));

			assert_true(left == 0 || left == 1 ||
				    (left <= VMEMDEV_E_GUEST_RING &&
				     left >= VMEMDEV_E_GUEST_REPLY));
			broken += left < 0;
		}
		live += (vmemdev_device_status(rig->dev) & 0xc4) == VMEMDEV_STATUS_DRIVER_OK;
		check_invariants(rig);
	}
	assert_true(live > 1000);
	assert_true(broken > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_MMIO(HOST_REG_10_what_is_not_readable_reads_0, rig_setup_balloon),
		TEST_MMIO(HOST_REG_10_what_is_not_readable_reads_0, rig_setup_mem_live),
		TEST_MMIO(HOST_REG_10_writes_to_nothing_change_nothing, rig_setup_balloon),
		TEST_RINGS_MMIO(HOST_REG_10_random_accesses_break_no_rule, rig_setup_balloon),
		TEST_RINGS_MMIO(HOST_REG_10_random_accesses_break_no_rule, rig_setup_mem),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
