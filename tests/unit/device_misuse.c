/* SPDX-License-Identifier: BSD-3-Clause */
/* Hosts and drivers that call wrongly: what is refused or counted, and that nothing was changed. */
#include "device_rig.h"

/* shows: FEAT-06 */
static void FEAT_06_a_feature_is_not_switched_on_and_off(void **state)
{
	struct rig *rig = *state;
	struct vmemdev_pmem_config config;
	struct vmemdev_pmem pmem;

	rig_pmem_config(rig, &config);
	config.device.features_on = VMEMDEV_F_IN_ORDER;
	assert_int_equal(vmemdev_pmem_init(&pmem, sizeof(pmem), &config), 0);
	config.device.features_off = VMEMDEV_F_IN_ORDER;
	assert_int_equal(vmemdev_pmem_init(&pmem, sizeof(pmem), &config), VMEMDEV_E_FEATURE);
	config.device.features_on = 0;
	assert_int_equal(vmemdev_pmem_init(&pmem, sizeof(pmem), &config), 0);
}

static void no_queue_interrupt(void *ctx, uint16_t queue)
{
	(void)ctx;
	(void)queue;
	fail_msg("%s", "an interrupt of a queue");
}

static void no_config_interrupt(void *ctx)
{
	(void)ctx;
	fail_msg("%s", "an interrupt of the configuration");
}

static void count_reset(void *ctx)
{
	(*(uint32_t *)ctx)++;
}

/* shows: FEAT-06 */
static void FEAT_06_a_device_is_attached_once_and_wholly(void **state)
{
	const struct vmemdev_transport_ops good = {
		.queue_interrupt = no_queue_interrupt, .config_interrupt = no_config_interrupt,
		.reset = count_reset};
	struct vmemdev_transport_ops bad[3] = {good, good, good};
	struct rig *rig = *state;
	struct vmemdev_pmem_config config;
	struct vmemdev_device *dev;
	struct vmemdev_pmem pmem;
	uint32_t resets = 0;

	bad[0].queue_interrupt = NULL;
	bad[1].config_interrupt = NULL;
	bad[2].reset = NULL;
	rig_pmem_config(rig, &config);
	assert_int_equal(vmemdev_pmem_init(&pmem, sizeof(pmem), &config), 0);
	dev = vmemdev_pmem_device(&pmem);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(vmemdev_device_attach(dev, &bad[i], &resets, UINT64_MAX),
				 VMEMDEV_E_INVAL);
	assert_int_equal(vmemdev_device_attach(NULL, &good, &resets, UINT64_MAX), VMEMDEV_E_INVAL);
	assert_int_equal(vmemdev_device_attach(dev, NULL, &resets, UINT64_MAX), VMEMDEV_E_INVAL);
	vmemdev_device_set_status(dev, VMEMDEV_STATUS_ACKNOWLEDGE);
	assert_int_equal(vmemdev_device_attach(dev, &good, &resets, UINT64_MAX), VMEMDEV_E_STATE);
	vmemdev_device_reset(dev);
	assert_int_equal(vmemdev_device_attach(dev, &good, &resets, UINT64_MAX), 0);
	assert_int_equal(vmemdev_device_attach(dev, &good, &resets, UINT64_MAX), VMEMDEV_E_STATE);
	assert_int_equal(resets, 0);
	vmemdev_device_reset(dev);
	assert_int_equal(resets, 1);
}

/* shows: HOST-REG-14 */
static void HOST_REG_14_memory_that_is_not_aligned_in_the_host(void **state)
{
	struct rig *rig = *state;
	struct vmemdev_region region = rig->memory.regions[0];

	region.host = (uint8_t *)region.host + 8;
	assert_int_equal(vmemdev_guest_set_regions(&rig->memory.guest, &region, 1),
			 VMEMDEV_E_ALIGN);
	region.host = (uint8_t *)region.host + 8;
	region.len -= PAGE;
	assert_int_equal(vmemdev_guest_set_regions(NULL, &region, 1), VMEMDEV_E_INVAL);
	assert_int_equal(vmemdev_guest_set_regions(&rig->memory.guest, &region, 1), 0);
	assert_int_equal(guest_memory_show(&rig->memory, 1), 0);
}

/* shows: HOST-REG-08 */
static void HOST_REG_08_a_write_right_behind_the_configuration(void **state)
{
	struct rig *rig = *state;
	struct vmemdev_balloon_counts before, after;
	const uint8_t noise[4] = {1, 2, 3, 4};

	vmemdev_balloon_get_counts(&rig->balloon, &before);
	vmemdev_device_config_write(rig->dev, 16, noise, sizeof(noise));
	vmemdev_device_config_write(rig->dev, UINT32_MAX, noise, sizeof(noise));
	vmemdev_balloon_get_counts(&rig->balloon, &after);
	assert_memory_equal(&before, &after, sizeof(before));
}

/* A kick from before a reset is for queues that are gone. */
/* shows: RST-02 */
static void RST_02_nothing_is_pending_without_a_queue(void **state)
{
	struct rig *rig = *state;

	drv_kick(rig, INFLATEQ);
	assert_true(vmemdev_device_pending(rig->dev));
	drv_reset(rig);
	assert_false(vmemdev_device_pending(rig->dev));
	drv_negotiate(rig, 0);
	drv_set_status(rig, DRV_LIVE);
	assert_false(vmemdev_device_pending(rig->dev));
	assert_int_equal(rig_run(rig), 0);
}

/* shows: HOST-REG-21 HOST-MEM-08 */
static void HOST_REG_21_each_request_for_blocks_costs_a_unit(void **state)
{
	struct rig *rig = *state;
	struct request request;

	mem_want(rig, 8 * MEM_BLOCK);
	for (uint16_t slot = 0; slot < 3; slot++) {
		request_make(&request, GUEST_MEM_PLUG, BLOCK(slot), 1);
		request_post(rig, slot, &request);
	}
	drv_kick(rig, 0);
	for (uint32_t slot = 0; slot < 3; slot++) {
		assert_int_equal(rig_step(rig, 1), 1);
		assert_true(mem_sizes(rig).plugged == (slot + 1) * MEM_BLOCK);
		assert_int_equal(request_take(rig, slot).type, GUEST_MEM_ACK);
	}
	assert_int_equal(rig_step(rig, 1), 0);
}

/* shows: HOST-BAL-06 */
static void HOST_BAL_06_a_torn_number_is_counted(void **state)
{
	struct rig *rig = *state;
	struct vmemdev_balloon_counts counts;

	for (uint32_t len = 0; len <= 9; len++) {
		const struct vmemdev_buf buf = {.gpa = DATA_GPA, .len = len};
		uint64_t before;

		vmemdev_balloon_get_counts(&rig->balloon, &counts);
		before = counts.inputs_ignored;
		drv_add(rig, INFLATEQ, &buf, 1);
		drv_kick(rig, INFLATEQ);
		assert_int_equal(rig_run(rig), 0);
		assert_int_equal(drv_used_count(rig, INFLATEQ), 1);
		vmemdev_balloon_get_counts(&rig->balloon, &counts);
		assert_int_equal(counts.inputs_ignored - before, len % 4 != 0);
	}
}

/* The hook of a host that does inside a callback what it must not. */
static void meddling_balloon_host(struct rig *rig, const struct host_call *call)
{
	const struct vmemdev_range range = {PLAY_GPA, PAGE};

	assert_int_equal(call->op, HOST_INFLATE);
	assert_int_equal(vmemdev_balloon_forget(&rig->balloon, &range), VMEMDEV_E_STATE);
	assert_null(vmemdev_device_queue_layout(rig->dev, DEFLATEQ));
}

/* shows: HOST-REG-12 */
static void HOST_REG_12_no_layout_is_changed_inside_a_callback(void **state)
{
	static const struct vmemdev_range bad[] = {
		{PLAY_GPA, 0}, {UINT64_MAX - PAGE + 1, 2 * PAGE}};
	struct rig *rig = *state;
	const struct vmemdev_range top = {UINT64_MAX - PAGE + 1, PAGE};
	const uint32_t pfn = PLAY_PFN;

	drv_negotiate(rig, 0);
	drv_open(rig, INFLATEQ);
	drv_set_status(rig, DRV_LIVE);
	rig->host.hook = meddling_balloon_host;
	pages_send(rig, INFLATEQ, &pfn, 1);
	assert_int_equal(rig->host.count, 1);
	assert_non_null(vmemdev_device_queue_layout(rig->dev, DEFLATEQ));
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(vmemdev_balloon_forget(&rig->balloon, &bad[i]), VMEMDEV_E_INVAL);
	assert_int_equal(vmemdev_balloon_forget(&rig->balloon, &top), 0);
}

static void stepping_host(struct rig *rig, const struct host_call *call)
{
	struct vmemdev_mem_resize *resize = rig->ctx;

	(void)call;
	assert_int_equal(vmemdev_mem_resize_step(resize, 100), VMEMDEV_MEM_RESIZE_RUNNING);
	vmemdev_mem_resize_cancel(resize);
	assert_int_equal(vmemdev_mem_resize_step(resize, 101), VMEMDEV_MEM_RESIZE_RUNNING);
}

/* A resize that is driven inside a callback goes on: it ends with the next step outside. */
static void a_resize_does_not_end_inside_a_callback(void **state)
{
	struct rig *rig = *state;
	const struct vmemdev_mem_resize_config config = {
		.struct_size = sizeof(config), .bytes = 8 * MEM_BLOCK, .timeout = 10};
	struct vmemdev_mem_resize resize;

	assert_int_equal(vmemdev_mem_resize_start(&resize, sizeof(resize), &rig->mem, &config, 0),
			 0);
	rig->ctx = &resize;
	rig->host.hook = stepping_host;
	mem_expect(rig, GUEST_MEM_PLUG, BLOCK(0), 2, GUEST_MEM_ACK);
	assert_true(mem_sizes(rig).requested == 8 * MEM_BLOCK);
	assert_int_equal(vmemdev_mem_resize_step(&resize, 102), VMEMDEV_MEM_RESIZE_TIMED_OUT);
	assert_true(mem_sizes(rig).requested == 2 * MEM_BLOCK);
}

/* Each error has a sentence of its own, and what is none is called so. */
static void each_error_has_a_sentence(void **state)
{
	const char *unknown = vmemdev_strerror(-1000);
	static const int named[] = {
		VMEMDEV_OK, VMEMDEV_LATER, VMEMDEV_E_INVAL, VMEMDEV_E_ABI, VMEMDEV_E_STATE,
		VMEMDEV_E_NOSPC, VMEMDEV_E_SIZE, VMEMDEV_E_ALIGN, VMEMDEV_E_OVERLAP,
		VMEMDEV_E_FEATURE, VMEMDEV_E_REACH, VMEMDEV_E_RECORD, VMEMDEV_E_VERSION,
		VMEMDEV_E_MISMATCH, VMEMDEV_E_GUEST_RING, VMEMDEV_E_GUEST_CHAIN,
		VMEMDEV_E_GUEST_ADDR, VMEMDEV_E_GUEST_REPLY, VMEMDEV_E_HOST, VMEMDEV_E_BUSY};
	uint32_t known = 0;

	(void)state;
	assert_non_null(unknown);
	for (int err = -128; err < 128; err++) {
		assert_non_null(vmemdev_strerror(err));
		known += strcmp(vmemdev_strerror(err), unknown) != 0;
	}
	assert_int_equal(known, ARRAY_LEN(named));
	for (size_t i = 0; i < ARRAY_LEN(named); i++) {
		assert_string_not_equal(vmemdev_strerror(named[i]), unknown);
		for (size_t k = 0; k < i; k++)
			assert_string_not_equal(vmemdev_strerror(named[i]),
						vmemdev_strerror(named[k]));
	}
	assert_int_equal(vmemdev_version(), VMEMDEV_VERSION_MAJOR << 16 |
						    VMEMDEV_VERSION_MINOR << 8 |
						    VMEMDEV_VERSION_PATCH);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_ONCE(FEAT_06_a_feature_is_not_switched_on_and_off, rig_setup_pmem),
		TEST_ONCE(FEAT_06_a_device_is_attached_once_and_wholly, rig_setup_pmem),
		TEST_ONCE(HOST_REG_14_memory_that_is_not_aligned_in_the_host, rig_setup_balloon),
		TEST_ONCE(HOST_REG_08_a_write_right_behind_the_configuration,
			  rig_setup_balloon_live),
		TEST_BUSES(RST_02_nothing_is_pending_without_a_queue, rig_setup_balloon_live),
		TEST_RINGS(HOST_REG_21_each_request_for_blocks_costs_a_unit, rig_setup_mem_live),
		TEST_RINGS(HOST_BAL_06_a_torn_number_is_counted, rig_setup_balloon_live),
		TEST_RINGS(HOST_REG_12_no_layout_is_changed_inside_a_callback, rig_setup_balloon),
		TEST_BUSES(a_resize_does_not_end_inside_a_callback, rig_setup_mem_live),
		cmocka_unit_test(each_error_has_a_sentence),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
