/* SPDX-License-Identifier: BSD-3-Clause */
/* The memory device's configuration space: what it shows, when it moves, who is told. */
#include "device_rig.h"

static uint64_t field(struct rig *rig, uint32_t offset)
{
	return guest_driver_config64(&rig->driver, offset);
}

/* shows: MEM-CFG-01 MEM-INIT-05 MEM-CFG-12 CFG-01 CFG-02 */
static void MEM_CFG_01_layout_at_power_on(void **state)
{
	struct rig *rig = *state;
	uint8_t expected[64] = {0}, bytes[64];

	put64(expected + MEM_CFG_BLOCK, MEM_BLOCK);
	put64(expected + MEM_CFG_ADDR, MEM_GPA);
	put64(expected + MEM_CFG_REGION, MEM_REGION);
	put64(expected + MEM_CFG_USABLE, MEM_SLACK);
	guest_driver_config_read(&rig->driver, 0, bytes, sizeof(bytes));
	assert_memory_equal(bytes, expected, sizeof(bytes));
	for (uint32_t i = 0; i < sizeof(bytes); i++) {
		guest_driver_config_read(&rig->driver, i, bytes, 1);
		assert_int_equal(bytes[0], expected[i]);
	}
	assert_int_equal(vmemdev_device_id(rig->dev), 24);
	assert_int_not_equal(guest_driver_queue_max(&rig->driver, 0), 0);
	assert_int_equal(guest_driver_queue_max(&rig->driver, 1), 0);
}

/* shows: MEM-CFG-12 */
static void MEM_CFG_12_the_node_is_shown_with_ACPI_PXM(void **state)
{
	struct rig *rig = *state;
	struct vmemdev_mem_config config;
	uint8_t bytes[8];

	rig_mem_config(rig, &config);
	config.has_node = true;
	config.node = 0x0102;
	rig_make_mem(rig, &config);
	assert_true(guest_driver_offered(&rig->driver) & VMEMDEV_MEM_F_ACPI_PXM);
	assert_int_equal(guest_driver_config16(&rig->driver, MEM_CFG_NODE), 0x0102);
	guest_driver_config_read(&rig->driver, MEM_CFG_NODE + 2, bytes, 6);
	for (int i = 0; i < 6; i++)
		assert_int_equal(bytes[i], 0);
}

/* shows: MEM-CFG-12 CFG-09 */
static void MEM_CFG_12_without_ACPI_PXM_the_node_reads_0(void **state)
{
	struct rig *rig = *state;
	struct vmemdev_mem_config config;

	rig_mem_config(rig, &config);
	config.node = 3;
	rig_make_mem(rig, &config);
	assert_false(guest_driver_offered(&rig->driver) & VMEMDEV_MEM_F_ACPI_PXM);
	assert_int_equal(guest_driver_config16(&rig->driver, MEM_CFG_NODE), 0);
}

/* shows: MEM-CFG-03 MEM-CFG-06 MEM-CFG-07 MEM-CFG-11 AMB-18 */
static void MEM_CFG_07_the_usable_region_grows_and_does_not_shrink(void **state)
{
	struct rig *rig = *state;

	mem_want(rig, 40 * MEM_BLOCK);
	assert_true(field(rig, MEM_CFG_REQUESTED) == 40 * MEM_BLOCK);
	assert_true(field(rig, MEM_CFG_USABLE) == 40 * MEM_BLOCK + MEM_SLACK);
	mem_want(rig, 0);
	assert_true(field(rig, MEM_CFG_REQUESTED) == 0);
	assert_true(field(rig, MEM_CFG_USABLE) == 40 * MEM_BLOCK + MEM_SLACK);
	mem_want(rig, MEM_REGION);
	assert_true(field(rig, MEM_CFG_USABLE) == MEM_REGION);
	mem_want(rig, MEM_BLOCK);
	assert_true(field(rig, MEM_CFG_USABLE) == MEM_REGION);
	drv_reset(rig);
	assert_true(field(rig, MEM_CFG_USABLE) == MEM_REGION);
	assert_true(field(rig, MEM_CFG_REQUESTED) == MEM_BLOCK);
}

/* shows: AMB-18 */
static void AMB_18_slack_is_rounded_up_to_a_block_and_has_a_default(void **state)
{
	struct rig *rig = *state;
	struct vmemdev_mem_config config;

	rig_mem_config(rig, &config);
	config.slack = MEM_BLOCK + 1;
	rig_make_mem(rig, &config);
	assert_true(field(rig, MEM_CFG_USABLE) == 2 * MEM_BLOCK);
	mem_want(rig, 94 * MEM_BLOCK);
	assert_true(field(rig, MEM_CFG_USABLE) == MEM_REGION);

	/* 0 means 256 MiB: with a region of 1 GiB it shows */
	config.slack = 0;
	config.region_size = UINT64_C(1) << 30;
	config.block_size = UINT64_C(1) << 24;
	assert_int_equal(vmemdev_mem_init(&rig->mem, sizeof(rig->mem), &config), 0);
	assert_true(mem_sizes(rig).usable == UINT64_C(256) << 20);
}

/* shows: MEM-CFG-03 */
static void MEM_CFG_03_the_requested_size_is_a_multiple_of_the_block(void **state)
{
	struct rig *rig = *state;

	mem_want(rig, 2 * MEM_BLOCK);
	rig_run(rig);
	drv_took_config_irq(rig);
	assert_int_equal(vmemdev_mem_set_requested(&rig->mem, MEM_BLOCK + 4096),
			 VMEMDEV_E_ALIGN);
	assert_int_equal(vmemdev_mem_set_requested(&rig->mem, MEM_REGION + MEM_BLOCK),
			 VMEMDEV_E_SIZE);
	assert_int_equal(vmemdev_mem_set_requested(&rig->mem, UINT64_C(0xffffffffffff0000)),
			 VMEMDEV_E_SIZE);
	assert_true(field(rig, MEM_CFG_REQUESTED) == 2 * MEM_BLOCK);
	assert_true(field(rig, MEM_CFG_USABLE) == 2 * MEM_BLOCK + MEM_SLACK);
	assert_false(drv_took_config_irq(rig));
}

/* shows: MEM-CFG-08 MEM-CFG-09 MEM-CFG-05 CFG-04 */
static void MEM_CFG_08_size_changes_are_notified_but_plugging_is_not(void **state)
{
	struct rig *rig = *state;

	mem_want(rig, 8 * MEM_BLOCK);
	assert_true(drv_took_config_irq(rig));
	mem_want(rig, 8 * MEM_BLOCK);
	assert_false(drv_took_config_irq(rig));
	mem_expect(rig, GUEST_MEM_PLUG, BLOCK(0), 3, GUEST_MEM_ACK);
	assert_true(field(rig, MEM_CFG_PLUGGED) == 3 * MEM_BLOCK);
	mem_expect(rig, GUEST_MEM_UNPLUG, BLOCK(1), 1, GUEST_MEM_ACK);
	assert_true(field(rig, MEM_CFG_PLUGGED) == 2 * MEM_BLOCK);
	assert_false(drv_took_config_irq(rig));
	mem_want(rig, 2 * MEM_BLOCK);
	assert_true(drv_took_config_irq(rig));
	/* UNPLUG_ALL shrinks the usable region and still tells nobody */
	mem_expect(rig, GUEST_MEM_UNPLUG_ALL, 0, 0, GUEST_MEM_ACK);
	assert_true(field(rig, MEM_CFG_USABLE) == 2 * MEM_BLOCK + MEM_SLACK);
	assert_false(drv_took_config_irq(rig));
}

/* A 64-bit field is read in two halves: each change of it must move the generation. */
/* shows: CFG-03 MMIO-21 */
static void CFG_03_the_generation_moves_with_the_plugged_size(void **state)
{
	struct rig *rig = *state;
	uint32_t stamp;

	mem_want(rig, 8 * MEM_BLOCK);
	stamp = guest_driver_config_generation(&rig->driver);
	mem_expect(rig, GUEST_MEM_PLUG, BLOCK(0), 3, GUEST_MEM_ACK);
	assert_int_not_equal(guest_driver_config_generation(&rig->driver), stamp);
	stamp = guest_driver_config_generation(&rig->driver);
	mem_expect(rig, GUEST_MEM_UNPLUG, BLOCK(0), 3, GUEST_MEM_ACK);
	assert_int_not_equal(guest_driver_config_generation(&rig->driver), stamp);
	stamp = guest_driver_config_generation(&rig->driver);
	mem_expect(rig, GUEST_MEM_STATE, BLOCK(0), 3, GUEST_MEM_ACK);
	assert_int_equal(guest_driver_config_generation(&rig->driver), stamp);
}

/* shows: MEM-INIT-02 MEM-INIT-03 MEM-CFG-04 LNX-MEM-10 */
static void MEM_INIT_02_a_device_reset_keeps_every_block(void **state)
{
	struct rig *rig = *state;
	uint8_t before[64], after[64];

	mem_want(rig, 20 * MEM_BLOCK);
	mem_expect(rig, GUEST_MEM_PLUG, BLOCK(0), 4, GUEST_MEM_ACK);
	mem_expect(rig, GUEST_MEM_PLUG, BLOCK(9), 1, GUEST_MEM_ACK);
	guest_driver_config_read(&rig->driver, 0, before, sizeof(before));
	host_forget(rig);
	drv_reset(rig);
	guest_driver_config_read(&rig->driver, 0, after, sizeof(after));
	assert_memory_equal(before, after, sizeof(before));
	drv_start(rig, 0);
	for (uint32_t block = 0; block < 24; block++) {
		struct answer answer = mem_ask(rig, GUEST_MEM_STATE, BLOCK(block), 1);
		bool plugged = block < 4 || block == 9;

		assert_int_equal(answer.type, GUEST_MEM_ACK);
		assert_int_equal(answer.state, plugged ? GUEST_MEM_PLUGGED : GUEST_MEM_UNPLUGGED);
	}
	assert_int_equal(rig->host.count, 0);
}

/* shows: MEM-INIT-01 FEAT-05 */
static void MEM_INIT_01_inaccessible_memory_needs_a_driver_that_knows(void **state)
{
	struct rig *rig = *state;
	struct vmemdev_mem_config config;

	rig_mem_config(rig, &config);
	config.unplugged_inaccessible = true;
	rig_make_mem(rig, &config);
	assert_true(guest_driver_offered(&rig->driver) & VMEMDEV_MEM_F_UNPLUGGED_INACCESSIBLE);
	assert_false(guest_driver_negotiate(&rig->driver, VMEMDEV_F_VERSION_1));
	assert_true(guest_driver_negotiate(&rig->driver, VMEMDEV_F_VERSION_1 |
					   VMEMDEV_MEM_F_UNPLUGGED_INACCESSIBLE));
}

/* shows: MEM-INIT-04 */
static void MEM_INIT_04_PERSISTENT_SUSPEND_is_offered_where_the_host_says_so(void **state)
{
	struct rig *rig = *state;
	struct vmemdev_mem_config config;

	rig_mem_config(rig, &config);
	config.persistent_suspend = true;
	rig_make_mem(rig, &config);
	assert_true(guest_driver_offered(&rig->driver) & VMEMDEV_MEM_F_PERSISTENT_SUSPEND);
	drv_start(rig, VMEMDEV_MEM_F_PERSISTENT_SUSPEND);
	drv_reset(rig);
	drv_start(rig, 0); /* it may be left */
}

/* shows: MEM-INIT-04 */
static void MEM_INIT_04_PERSISTENT_SUSPEND_is_no_promise_of_other_hosts(void **state)
{
	struct rig *rig = *state;

	assert_false(guest_driver_offered(&rig->driver) & VMEMDEV_MEM_F_PERSISTENT_SUSPEND);
	assert_false(guest_driver_negotiate(&rig->driver, VMEMDEV_F_VERSION_1 |
					    VMEMDEV_MEM_F_PERSISTENT_SUSPEND));
}

/* A platform that resets its devices on the way out of sleep: by call, or by the driver. */
/* shows: MEM-OP-07 MEM-INIT-02 */
static void MEM_OP_07_a_wake_up_reset_keeps_every_block(void **state)
{
	struct rig *rig = *state;
	struct vmemdev_mem_config config;
	uint8_t before[64], after[64];

	rig_mem_config(rig, &config);
	config.persistent_suspend = true;
	rig_make_mem(rig, &config);
	drv_start(rig, VMEMDEV_MEM_F_PERSISTENT_SUSPEND);
	mem_want(rig, 20 * MEM_BLOCK);
	mem_expect(rig, GUEST_MEM_PLUG, BLOCK(3), 6, GUEST_MEM_ACK);
	mem_expect(rig, GUEST_MEM_PLUG, BLOCK(12), 2, GUEST_MEM_ACK);
	guest_driver_config_read(&rig->driver, 0, before, sizeof(before));
	host_forget(rig);
	for (uint32_t sleep = 0; sleep < 3; sleep++) {
		vmemdev_device_reset(rig->dev);
		assert_int_equal(guest_driver_status(&rig->driver), 0);
		drv_reset(rig);
		drv_start(rig, VMEMDEV_MEM_F_PERSISTENT_SUSPEND);
		guest_driver_config_read(&rig->driver, 0, after, sizeof(after));
		assert_memory_equal(before, after, sizeof(before));
		for (uint32_t block = 0; block < 20; block++)
			assert_int_equal(mem_ask(rig, GUEST_MEM_STATE, BLOCK(block), 1).state,
					 (block >= 3 && block < 9) || block == 12 || block == 13
						 ? GUEST_MEM_PLUGGED : GUEST_MEM_UNPLUGGED);
	}
	assert_int_equal(rig->host.count, 0);
	mem_expect(rig, GUEST_MEM_UNPLUG, BLOCK(3), 6, GUEST_MEM_ACK);
}

/* First and last block of a device, whose region ends where it may at the most. */
static void check_geometry(struct rig *rig, uint64_t addr, uint64_t size, uint64_t block)
{
	const uint64_t last = addr + (size - block);
	struct vmemdev_mem_config config;
	struct vmemdev_range run;

	rig_mem_config(rig, &config);
	config.addr = addr;
	config.region_size = size;
	config.block_size = block;
	config.slack = VMEMDEV_MEM_REGION_MAX;
	config.bitmap_words = vmemdev_mem_bitmap_words(size, block);
	config.bitmap = malloc(config.bitmap_words * sizeof(uint64_t));
	assert_non_null(config.bitmap);
	rig_make_mem(rig, &config);
	drv_start(rig, 0);
	assert_true(field(rig, MEM_CFG_BLOCK) == block);
	assert_true(field(rig, MEM_CFG_ADDR) == addr);
	assert_true(field(rig, MEM_CFG_REGION) == size && field(rig, MEM_CFG_USABLE) == size);
	mem_want(rig, size);
	mem_expect(rig, GUEST_MEM_PLUG, addr, 1, GUEST_MEM_ACK);
	mem_expect(rig, GUEST_MEM_PLUG, last, 2, GUEST_MEM_ERROR);
	if (size > block) {
		mem_expect(rig, GUEST_MEM_PLUG, last, 1, GUEST_MEM_ACK);
		assert_true(field(rig, MEM_CFG_PLUGGED) == 2 * block);
	}
	mem_expect(rig, GUEST_MEM_STATE, last + block, 1, GUEST_MEM_ERROR);
	assert_true(vmemdev_mem_next(&rig->mem, last, true, &run));
	assert_true(run.gpa == last && run.len == block);
	mem_expect(rig, GUEST_MEM_UNPLUG, last, 1, GUEST_MEM_ACK);
	mem_expect(rig, GUEST_MEM_UNPLUG_ALL, 0, 0, GUEST_MEM_ACK);
	assert_true(vmemdev_mem_next(&rig->mem, 0, false, &run));
	assert_true(run.gpa == addr && run.len == size);
	guest_driver_close(&rig->driver);
	free(config.bitmap);
}

/* shows: MEM-CFG-01 MEM-CFG-02 MEM-CFG-03 MEM-CFG-05 MEM-OP-12 */
static void MEM_CFG_03_blocks_of_4_KiB_to_1_GiB_and_regions_to_64_TiB(void **state)
{
	struct rig *rig = *state;
	uint64_t mark = guest_place_mark(&rig->memory);

	for (uint32_t shift = 12; shift <= 30; shift++) {
		const uint64_t block = UINT64_C(1) << shift;
		/* as many blocks as make a bitmap of 1 MiB, or the largest region */
		const uint64_t most = shift < 23 ? block << 23 : VMEMDEV_MEM_REGION_MAX;

		check_geometry(rig, block, block, block);
		check_geometry(rig, UINT64_C(1) << 40, 65 * block, block);
		check_geometry(rig, VMEMDEV_MEM_REGION_MAX, most, block);
		check_geometry(rig, UINT64_MAX - most - block + 1, most, block);
		guest_place_release(&rig->memory, mark);
	}
	rig_make_mem(rig, NULL);
}

/* shows: MEM-OP-05 */
static void MEM_OP_05_the_host_can_see_whether_unplugged_memory_must_be_readable(void **state)
{
	struct rig *rig = *state;

	drv_start(rig, 0);
	assert_false(vmemdev_device_accepted(rig->dev, 0) &
		     VMEMDEV_MEM_F_UNPLUGGED_INACCESSIBLE);
	drv_reset(rig);
	if (guest_driver_offered(&rig->driver) & VMEMDEV_MEM_F_UNPLUGGED_INACCESSIBLE) {
		drv_start(rig, VMEMDEV_MEM_F_UNPLUGGED_INACCESSIBLE);
		assert_true(vmemdev_device_accepted(rig->dev, 0) &
			    VMEMDEV_MEM_F_UNPLUGGED_INACCESSIBLE);
	}
}

/* shows: MEM-OP-06 MEM-CFG-07 */
static void MEM_OP_06_a_system_reset_unplugs_everything(void **state)
{
	struct rig *rig = *state;

	mem_want(rig, 20 * MEM_BLOCK);
	mem_expect(rig, GUEST_MEM_PLUG, BLOCK(2), 4, GUEST_MEM_ACK);
	mem_expect(rig, GUEST_MEM_PLUG, BLOCK(8), 2, GUEST_MEM_ACK);
	mem_want(rig, 3 * MEM_BLOCK);
	host_forget(rig);
	rig->window = true;
	assert_int_equal(vmemdev_device_system_reset(rig->dev), 0);
	rig->window = false;
	assert_int_equal(guest_driver_status(&rig->driver), 0);
	assert_int_equal(host_count(rig, HOST_UNPLUG), 1);
	assert_int_equal(host_call(rig, 0)->count, 2);
	assert_true(host_call(rig, 0)->ranges[0].gpa == BLOCK(2));
	assert_true(host_call(rig, 0)->ranges[0].len == 4 * MEM_BLOCK);
	assert_true(host_call(rig, 0)->ranges[1].gpa == BLOCK(8));
	assert_true(host_call(rig, 0)->ranges[1].len == 2 * MEM_BLOCK);
	assert_true(field(rig, MEM_CFG_PLUGGED) == 0);
	assert_true(field(rig, MEM_CFG_USABLE) == 3 * MEM_BLOCK + MEM_SLACK);
	assert_false(mem_has_block(rig, 2));
}

/* shows: MEM-OP-06 */
static void MEM_OP_06_a_failing_host_keeps_the_blocks(void **state)
{
	/* there is no later in a system reset: such an answer counts as busy */
	static const struct {
		int answer, result;
	} rows[] = {{VMEMDEV_E_HOST, VMEMDEV_E_HOST}, {VMEMDEV_E_BUSY, VMEMDEV_E_BUSY},
		    {VMEMDEV_LATER, VMEMDEV_E_BUSY}};
	struct rig *rig = *state;

	mem_want(rig, 20 * MEM_BLOCK);
	mem_expect(rig, GUEST_MEM_PLUG, BLOCK(2), 4, GUEST_MEM_ACK);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		rig->host.answer = rows[i].answer;
		rig->window = true;
		assert_int_equal(vmemdev_device_system_reset(rig->dev), rows[i].result);
		rig->window = false;
		assert_int_equal(guest_driver_status(&rig->driver), 0);
		assert_true(mem_sizes(rig).plugged == 4 * MEM_BLOCK);
		assert_true(mem_has_block(rig, 2));
		assert_int_equal(rig_complete(rig, rig->host.token, 0), VMEMDEV_E_STATE);
	}
}

/* shows: HOST-MEM-09 */
static void HOST_MEM_09_nothing_waits_for_a_driver_that_never_follows(void **state)
{
	struct rig *rig = *state;

	assert_int_equal(rig_run(rig), 0);
	for (uint64_t i = 0; i < 500; i++) {
		mem_want(rig, i % MEM_BLOCKS * MEM_BLOCK);
		assert_false(vmemdev_device_pending(rig->dev));
		assert_int_equal(rig_step(rig, 1), 0);
	}
	assert_true(mem_sizes(rig).plugged == 0);
	assert_int_equal(rig->host.count, 0);
}

/* shows: MEM-CFG-05 */
static void MEM_CFG_05_next_lists_runs_in_both_states(void **state)
{
	struct rig *rig = *state;
	struct vmemdev_range run;

	mem_want(rig, MEM_REGION);
	mem_expect(rig, GUEST_MEM_PLUG, BLOCK(0), 2, GUEST_MEM_ACK);
	mem_expect(rig, GUEST_MEM_PLUG, BLOCK(60), 10, GUEST_MEM_ACK);
	assert_true(vmemdev_mem_next(&rig->mem, 0, true, &run));
	assert_true(run.gpa == BLOCK(0) && run.len == 2 * MEM_BLOCK);
	assert_true(vmemdev_mem_next(&rig->mem, run.gpa + run.len, true, &run));
	assert_true(run.gpa == BLOCK(60) && run.len == 10 * MEM_BLOCK);
	assert_false(vmemdev_mem_next(&rig->mem, run.gpa + run.len, true, &run));
	assert_true(vmemdev_mem_next(&rig->mem, 0, false, &run));
	assert_true(run.gpa == BLOCK(2) && run.len == 58 * MEM_BLOCK);
	assert_true(vmemdev_mem_next(&rig->mem, run.gpa + run.len, false, &run));
	assert_true(run.gpa == BLOCK(70) && run.len == 26 * MEM_BLOCK);
	assert_false(vmemdev_mem_next(&rig->mem, run.gpa + run.len, false, &run));
	/* cut at the address asked for */
	assert_true(vmemdev_mem_next(&rig->mem, BLOCK(60) + 4096, true, &run));
	assert_true(run.gpa == BLOCK(60) + 4096 && run.len == 10 * MEM_BLOCK - 4096);
	assert_false(vmemdev_mem_next(&rig->mem, MEM_GPA + MEM_REGION, false, &run));
	assert_false(vmemdev_mem_next(&rig->mem, UINT64_MAX, true, &run));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_BUSES(MEM_CFG_01_layout_at_power_on, rig_setup_mem),
		TEST_BUSES(MEM_CFG_12_the_node_is_shown_with_ACPI_PXM, rig_setup_bare),
		TEST_BUSES(MEM_CFG_12_without_ACPI_PXM_the_node_reads_0, rig_setup_bare),
		TEST_BUSES(MEM_CFG_07_the_usable_region_grows_and_does_not_shrink,
			   rig_setup_mem_live),
		TEST_ONCE(AMB_18_slack_is_rounded_up_to_a_block_and_has_a_default,
			  rig_setup_bare),
		TEST_BUSES(MEM_CFG_03_the_requested_size_is_a_multiple_of_the_block,
			   rig_setup_mem_live),
		TEST_ALL(MEM_CFG_08_size_changes_are_notified_but_plugging_is_not,
			 rig_setup_mem_live),
		TEST_BUSES(CFG_03_the_generation_moves_with_the_plugged_size, rig_setup_mem_live),
		TEST_ALL(MEM_INIT_02_a_device_reset_keeps_every_block, rig_setup_mem_live),
		TEST_BUSES(MEM_INIT_01_inaccessible_memory_needs_a_driver_that_knows,
			   rig_setup_bare),
		TEST_BUSES(MEM_INIT_04_PERSISTENT_SUSPEND_is_offered_where_the_host_says_so,
			   rig_setup_bare),
		TEST_BUSES(MEM_INIT_04_PERSISTENT_SUSPEND_is_no_promise_of_other_hosts,
			   rig_setup_mem),
		TEST_ALL(MEM_OP_07_a_wake_up_reset_keeps_every_block, rig_setup_bare),
		TEST_ONCE(MEM_CFG_03_blocks_of_4_KiB_to_1_GiB_and_regions_to_64_TiB,
			  rig_setup_bare),
		TEST_BUSES(MEM_OP_05_the_host_can_see_whether_unplugged_memory_must_be_readable,
			   rig_setup_mem),
		TEST_BUSES(MEM_OP_06_a_system_reset_unplugs_everything, rig_setup_mem_live),
		TEST_BUSES(MEM_OP_06_a_failing_host_keeps_the_blocks, rig_setup_mem_live),
		TEST_BUSES(HOST_MEM_09_nothing_waits_for_a_driver_that_never_follows,
			   rig_setup_mem_live),
		TEST_RINGS(MEM_CFG_05_next_lists_runs_in_both_states, rig_setup_mem_live),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
