/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Callbacks that call back: what a device may be asked from inside one of its own callbacks,
 * and that everything else is refused without harm.
 */
#include "device_rig.h"

static uint32_t visits;

/* Call everything there is. Errors where there are errors; nothing at all elsewhere. */
static void call_back(struct rig *rig)
{
	struct vmemdev_device *dev = rig->dev;
	bool mem = vmemdev_device_id(dev) == 24;
	uint8_t status = vmemdev_device_status(dev);
	uint32_t accepted = vmemdev_device_accepted(dev, 0);
	bool enabled = vmemdev_device_queue_enabled(dev, 0);
	uint8_t bytes[64], after[64], noise[64];

	visits++;
	memset(noise, 0x55, sizeof(noise));
	vmemdev_device_config_read(dev, 0, bytes, sizeof(bytes));
	assert_int_equal(vmemdev_device_run(dev, 1), VMEMDEV_E_STATE);
	assert_int_equal(vmemdev_device_system_reset(dev), VMEMDEV_E_STATE);
	vmemdev_device_set_status(dev, VMEMDEV_STATUS_FAILED);
	vmemdev_device_set_status(dev, 0);
	vmemdev_device_reset(dev);
	vmemdev_device_accept(dev, 0, 0xffffffff);
	vmemdev_device_config_write(dev, 0, noise, sizeof(noise));
	vmemdev_device_queue_reset(dev, 0);
	assert_int_not_equal(vmemdev_device_queue_enable(dev, 0), 0);
	if (mem) {
		assert_int_equal(vmemdev_mem_set_requested(&rig->mem, 0), VMEMDEV_E_STATE);
		assert_int_equal(vmemdev_mem_complete(&rig->mem, rig->host.token, 0),
				 VMEMDEV_E_STATE);
	} else {
		assert_int_equal(vmemdev_balloon_set_target(&rig->balloon, 77 * PAGE),
				 VMEMDEV_E_STATE);
		assert_int_equal(vmemdev_balloon_complete(&rig->balloon, rig->host.token, 0),
				 VMEMDEV_E_STATE);
	}
	vmemdev_device_config_read(dev, 0, after, sizeof(after));
	assert_memory_equal(bytes, after, sizeof(bytes));
	assert_int_equal(vmemdev_device_status(dev), status);
	assert_int_equal(vmemdev_device_accepted(dev, 0), accepted);
	assert_int_equal(vmemdev_device_queue_enabled(dev, 0), enabled);
}

static void from_host(struct rig *rig, const struct host_call *call)
{
	(void)call;
	call_back(rig);
}

static void from_interrupt(struct rig *rig, bool config)
{
	(void)config;
	call_back(rig);
}

static int setup_visits(void **state)
{
	visits = 0;
	return rig_setup_balloon_live(state);
}

static int setup_mem_visits(void **state)
{
	visits = 0;
	return rig_setup_mem_live(state);
}

static void balloon_callbacks_cannot_call_their_device(void **state)
{
	struct rig *rig = *state;
	const uint32_t pfn = PLAY_PFN;
	const uint8_t actual[4] = {1, 0, 0, 0};

	rig->host.hook = from_host;
	pages_send(rig, INFLATEQ, &pfn, 1);
	pages_send(rig, DEFLATEQ, &pfn, 1);
	assert_int_equal(visits, 2);
	guest_driver_config_write(&rig->driver, BAL_ACTUAL, actual, 4);
	rig_run(rig);
	assert_int_equal(visits, 3);
	assert_true(vmemdev_balloon_actual(&rig->balloon) == PAGE);
}

static void balloon_interrupts_cannot_call_their_device(void **state)
{
	struct rig *rig = *state;
	const uint32_t pfn = PLAY_PFN;

	rig->irq_hook = from_interrupt;
	pages_send(rig, INFLATEQ, &pfn, 1);
	assert_int_equal(visits, 1);
	assert_int_equal(vmemdev_balloon_set_target(&rig->balloon, PAGE), 0);
	assert_int_equal(visits, 2);
	rig->irq_hook = NULL;
	assert_int_equal(rig_run(rig), 0);
	pages_send(rig, INFLATEQ, &pfn, 1);
}

static void mem_callbacks_cannot_call_their_device(void **state)
{
	struct rig *rig = *state;

	mem_want(rig, 8 * MEM_BLOCK);
	rig->host.hook = from_host;
	mem_expect(rig, GUEST_MEM_PLUG, BLOCK(0), 2, GUEST_MEM_ACK);
	mem_expect(rig, GUEST_MEM_UNPLUG, BLOCK(0), 1, GUEST_MEM_ACK);
	mem_expect(rig, GUEST_MEM_UNPLUG_ALL, 0, 0, GUEST_MEM_ACK);
	assert_int_equal(visits, 6); /* plug or unplug, and plugged, each time */
	rig->host.hook = NULL;
	rig->irq_hook = from_interrupt;
	mem_expect(rig, GUEST_MEM_PLUG, BLOCK(0), 2, GUEST_MEM_ACK);
	mem_want(rig, 9 * MEM_BLOCK);
	assert_int_equal(visits, 8);
}

static void mem_callbacks_of_late_work_cannot_either(void **state)
{
	struct rig *rig = *state;
	struct request request;

	mem_want(rig, 8 * MEM_BLOCK);
	rig->host.answer = VMEMDEV_LATER;
	request_make(&request, GUEST_MEM_PLUG, BLOCK(0), 2);
	request_post(rig, 0, &request);
	drv_kick(rig, 0);
	rig_run(rig);
	rig->host.hook = from_host;
	rig->irq_hook = from_interrupt;
	assert_int_equal(rig_complete(rig, rig->host.token, 0), 0);
	rig_run(rig);
	assert_int_equal(visits, 2); /* plugged, interrupt */
	assert_int_equal(request_take(rig, 0).type, GUEST_MEM_ACK);
}

static void mem_callbacks_in_a_system_reset_cannot_either(void **state)
{
	struct rig *rig = *state;

	mem_want(rig, 8 * MEM_BLOCK);
	mem_expect(rig, GUEST_MEM_PLUG, BLOCK(0), 2, GUEST_MEM_ACK);
	rig->host.hook = from_host;
	rig->window = true;
	assert_int_equal(vmemdev_device_system_reset(rig->dev), 0);
	assert_true(visits >= 1);
	assert_true(mem_sizes(rig).plugged == 0);
}

static void error_from_inside(void *ctx, int err, uint16_t queue)
{
	struct rig *rig = ctx;

	(void)err, (void)queue;
	rig->errors++;
	call_back(rig);
}

/* shows: STAT-05 */
static void STAT_05_guest_error_comes_once_and_cannot_call_its_device(void **state)
{
	struct rig *rig = *state;
	struct vmemdev_balloon_config config;

	visits = 0;
	rig_balloon_config(rig, &config);
	config.device.guest_error = error_from_inside;
	rig_make_balloon(rig, &config);
	drv_start(rig, 0);
	drv_break(rig, INFLATEQ);
	assert_int_equal(rig_run(rig), VMEMDEV_E_GUEST_CHAIN);
	drv_kick(rig, INFLATEQ);
	assert_int_equal(rig_run(rig), VMEMDEV_E_GUEST_CHAIN);
	assert_int_equal(rig->errors, 1);
	assert_int_equal(visits, 1);
	assert_int_equal(guest_driver_status(&rig->driver),
			 DRV_LIVE | VMEMDEV_STATUS_NEEDS_RESET);
}

/* shows: STAT-05 */
static void STAT_05_guest_error_is_optional(void **state)
{
	struct rig *rig = *state;
	struct vmemdev_balloon_config config;

	rig_balloon_config(rig, &config);
	config.device.guest_error = NULL;
	rig_make_balloon(rig, &config);
	drv_start(rig, 0);
	drv_break(rig, INFLATEQ);
	assert_int_equal(rig_run(rig), VMEMDEV_E_GUEST_CHAIN);
	assert_true(drv_took_config_irq(rig));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_BUSES(balloon_callbacks_cannot_call_their_device, setup_visits),
		TEST_BUSES(balloon_interrupts_cannot_call_their_device, setup_visits),
		TEST_BUSES(mem_callbacks_cannot_call_their_device, setup_mem_visits),
		TEST_BUSES(mem_callbacks_of_late_work_cannot_either, setup_mem_visits),
		TEST_BUSES(mem_callbacks_in_a_system_reset_cannot_either, setup_mem_visits),
		TEST_RINGS(STAT_05_guest_error_comes_once_and_cannot_call_its_device,
			   rig_setup_bare),
		TEST_RINGS(STAT_05_guest_error_is_optional, rig_setup_bare),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
