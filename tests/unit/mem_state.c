/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory devices saved and loaded: what a record holds, how small it is, that the driver
 * notices nothing, and that no record, however damaged, makes an impossible device.
 */
#include "device_move.h"

#define PENDING (-1)

/* The memory device's part of a record (lib/device/mem_state.c). */
enum {
	REC_ADDR = REC_TYPE, REC_REGION = REC_TYPE + 8, REC_SHIFT = REC_TYPE + 16,
	REC_NODE = REC_TYPE + 20, REC_ZERO = REC_TYPE + 22, REC_USABLE = REC_TYPE + 24,
	REC_REQUESTED = REC_TYPE + 32, REC_WAITS = REC_TYPE + 40, REC_WAITS_TYPE = REC_TYPE + 44,
	REC_WAITS_FIRST = REC_TYPE + 48, REC_WAITS_BLOCKS = REC_TYPE + 56, REC_BITS = REC_TYPE + 64
};

static size_t queue_at(const struct record *record)
{
	return record->len - REC_Q_BYTES;
}

/* A running device with a good deal of state: plugged runs, a lowered target, some laps. */
static int setup_state(void **state)
{
	struct rig *rig;

	rig_setup_mem_live(state);
	rig = *state;
	mem_want(rig, 80 * MEM_BLOCK);
	mem_expect(rig, GUEST_MEM_PLUG, BLOCK(0), 4, GUEST_MEM_ACK);
	mem_expect(rig, GUEST_MEM_PLUG, BLOCK(60), 10, GUEST_MEM_ACK);
	mem_want(rig, 20 * MEM_BLOCK);
	for (uint32_t i = 0; i < 200; i++)
		mem_expect(rig, GUEST_MEM_STATE, BLOCK(0), 1, GUEST_MEM_ACK);
	host_forget(rig);
	drv_took_config_irq(rig);
	return 0;
}

static void post(struct rig *rig, uint32_t slot, uint16_t type, uint64_t addr, uint16_t blocks)
{
	struct request request;

	request_make(&request, type, addr, blocks);
	request_post(rig, slot, &request);
	drv_kick(rig, 0);
}

/* Everything that MEM-CFG says of a device at any time, and that it has no status but these. */
static void check_possible(struct rig *rig)
{
	struct vmemdev_mem_sizes sizes = mem_sizes(rig);
	uint8_t status = vmemdev_device_status(rig->dev);
	struct vmemdev_range run = {0, 0};
	uint64_t plugged = 0, unplugged = 0;

	assert_true(sizes.region == MEM_REGION);
	assert_true(sizes.usable <= sizes.region && sizes.requested <= sizes.usable);
	assert_true((sizes.usable | sizes.requested | sizes.plugged) % MEM_BLOCK == 0);
	while (vmemdev_mem_next(&rig->mem, run.gpa + run.len, true, &run)) {
		assert_true(run.gpa >= MEM_GPA && run.gpa + run.len <= MEM_GPA + sizes.usable);
		plugged += run.len;
	}
	for (run.gpa = run.len = 0;
	     vmemdev_mem_next(&rig->mem, run.gpa + run.len, false, &run);)
		unplugged += run.len;
	assert_true(plugged == sizes.plugged && plugged + unplugged == MEM_REGION);
	assert_false(status & ~0xcf);
	assert_true(!(status & VMEMDEV_STATUS_DRIVER_OK) || (status & VMEMDEV_STATUS_FEATURES_OK));
	assert_int_equal((status & VMEMDEV_STATUS_NEEDS_RESET) != 0,
			 vmemdev_device_fault(rig->dev) != 0);
	if (status & VMEMDEV_STATUS_FEATURES_OK) {
		assert_false(vmemdev_device_accepted(rig->dev, 0) &
			     ~vmemdev_device_features(rig->dev, 0));
		assert_false(vmemdev_device_accepted(rig->dev, 1) &
			     ~vmemdev_device_features(rig->dev, 1));
		assert_true(vmemdev_device_accepted(rig->dev, 1) & 1);
	} else {
		assert_false(vmemdev_device_queue_enabled(rig->dev, 0));
	}
}

/* Whatever was loaded, the device can be run, and a driver can begin anew with it. */
static void exercise(struct rig *rig, uint64_t mark)
{
	int err = rig_run(rig);

	if (err != 0)
		assert_true(err <= VMEMDEV_E_GUEST_RING && err >= VMEMDEV_E_GUEST_REPLY);
	check_possible(rig);
	mem_want(rig, MEM_REGION);
	check_possible(rig);
	drv_reset(rig);
	guest_place_release(&rig->memory, mark);
	drv_start(rig, 0);
	mem_expect(rig, GUEST_MEM_STATE, BLOCK(0), 1, GUEST_MEM_ACK);
	mem_expect(rig, GUEST_MEM_UNPLUG_ALL, 0, 0, GUEST_MEM_ACK);
	assert_true(mem_sizes(rig).plugged == 0);
	check_possible(rig);
}

/* Load something that may be damaged. Returns whether it was accepted. */
static bool try_load(struct rig *rig, const struct record *record, uint64_t mark)
{
	struct vmemdev_range run;
	int err;

	rig_fresh_mem(rig, NULL);
	host_forget(rig);
	err = rig_load(rig, record);
	assert_int_equal(rig->host.count, 0);
	if (err != 0) {
		assert_true(err == VMEMDEV_E_RECORD || err == VMEMDEV_E_VERSION ||
			    err == VMEMDEV_E_MISMATCH);
		assert_int_equal(vmemdev_device_status(rig->dev), 0);
		/* Guest memory's table may look at the blocks: none was brought. */
		assert_true(mem_sizes(rig).plugged == 0);
		assert_false(vmemdev_mem_next(&rig->mem, MEM_GPA, true, &run));
		return false;
	}
	check_possible(rig);
	exercise(rig, mark);
	return true;
}

/* shows: MEM-CFG-04 MEM-CFG-05 MEM-INIT-02 CFG-03 */
static void MEM_CFG_05_a_loaded_device_is_the_saved_one(void **state)
{
	struct rig *rig = *state;
	uint8_t before[MEM_CFG_SIZE], after[MEM_CFG_SIZE];
	uint32_t generation = guest_driver_config_generation(&rig->driver);

	guest_driver_config_read(&rig->driver, 0, before, sizeof(before));
	rig_move_mem(rig, NULL);
	assert_int_equal(rig->host.count, 0);
	guest_driver_config_read(&rig->driver, 0, after, sizeof(after));
	assert_memory_equal(before, after, sizeof(before));
	assert_int_equal(guest_driver_config_generation(&rig->driver), generation);
	assert_int_equal(guest_driver_status(&rig->driver), DRV_LIVE);
	assert_true(guest_driver_queue_ready(&rig->driver, 0));
	for (uint32_t block = 0; block < MEM_BLOCKS; block++)
		assert_int_equal(mem_has_block(rig, block),
				 block < 4 || (block >= 60 && block < 70));
	/* and goes on as such: the target, the usable region, the ring */
	mem_expect(rig, GUEST_MEM_PLUG, BLOCK(10), 7, GUEST_MEM_NACK);
	mem_expect(rig, GUEST_MEM_PLUG, BLOCK(81), 6, GUEST_MEM_ACK);
	mem_expect(rig, GUEST_MEM_UNPLUG, BLOCK(60), 10, GUEST_MEM_ACK);
	mem_expect(rig, GUEST_MEM_PLUG, BLOCK(87), 2, GUEST_MEM_ERROR);
	mem_want(rig, 30 * MEM_BLOCK);
	assert_true(drv_took_config_irq(rig));
	assert_int_equal(rig->errors, 0);
}

/* A change that the driver has not looked at yet is one after the move, too. */
/* shows: CFG-03 */
static void CFG_03_no_change_is_lost_by_a_move(void **state)
{
	struct rig *rig = *state;
	uint32_t generation = guest_driver_config_generation(&rig->driver);

	mem_expect(rig, GUEST_MEM_UNPLUG, BLOCK(0), 1, GUEST_MEM_ACK);
	rig_move_mem(rig, NULL);
	assert_int_not_equal(guest_driver_config_generation(&rig->driver), generation);
}

/* A notification that waits for DRIVER_OK still does. */
/* shows: AMB-11 */
static void AMB_11_a_change_before_DRIVER_OK_is_told_after_a_move(void **state)
{
	struct rig *rig = *state;

	drv_reset(rig);
	drv_negotiate(rig, 0);
	drv_open(rig, 0);
	mem_want(rig, 40 * MEM_BLOCK);
	rig_move_mem(rig, NULL);
	assert_false(drv_took_config_irq(rig));
	drv_set_status(rig, DRV_LIVE);
	assert_true(drv_took_config_irq(rig));
	drv_reset(rig);
	drv_start(rig, 0);
	assert_false(drv_took_config_irq(rig));
}

/* Moved after each step of its driver's start. */
/* shows: STAT-01 FEAT-03 */
static void STAT_01_a_move_in_the_middle_of_initialisation(void **state)
{
	struct rig *rig = *state;
	struct guest_driver *d = &rig->driver;

	drv_reset(rig);
	rig_move_mem(rig, NULL);
	drv_set_status(rig, 1);
	rig_move_mem(rig, NULL);
	drv_set_status(rig, 3);
	rig_move_mem(rig, NULL);
	guest_driver_accept(d, VMEMDEV_F_VERSION_1 | rig->ring_features);
	rig_move_mem(rig, NULL);
	assert_int_equal(guest_driver_status(d), 3);
	drv_set_status(rig, DRV_READY);
	assert_int_equal(guest_driver_status(d), DRV_READY);
	rig_move_mem(rig, NULL);
	assert_false(guest_driver_queue_ready(d, 0));
	drv_open(rig, 0);
	rig_move_mem(rig, NULL);
	assert_true(guest_driver_queue_ready(d, 0));
	post(rig, 0, GUEST_MEM_STATE, BLOCK(0), 4);
	assert_int_equal(rig_run(rig), 0);
	drv_set_status(rig, DRV_LIVE);
	rig_move_mem(rig, NULL);
	assert_int_equal(rig_run(rig), 0);
	assert_int_equal(request_take(rig, 0).state, GUEST_MEM_PLUGGED);
}

/* shows: FEAT-06 */
static void FEAT_06_a_bad_feature_word_is_remembered(void **state)
{
	struct rig *rig = *state;

	drv_reset(rig);
	drv_set_status(rig, 3);
	guest_driver_accept(&rig->driver, VMEMDEV_F_VERSION_1);
	vmemdev_device_accept(rig->dev, 2, 1);
	rig_move_mem(rig, NULL);
	drv_set_status(rig, DRV_READY);
	assert_int_equal(guest_driver_status(&rig->driver), 3);
}

/* A layout written and not enabled is kept. */
static void a_half_written_layout_is_kept(void **state)
{
	struct rig *rig = *state;
	struct vmemdev_vq_layout *layout;

	drv_reset(rig);
	drv_negotiate(rig, 0);
	layout = vmemdev_device_queue_layout(rig->dev, 0);
	layout->size = 16;
	layout->desc = UINT64_C(0x123456789abcdef0);
	layout->driver = 0x1000;
	rig_move_mem(rig, NULL);
	layout = vmemdev_device_queue_layout(rig->dev, 0);
	assert_int_equal(layout->size, 16);
	assert_true(layout->desc == UINT64_C(0x123456789abcdef0));
	assert_true(layout->driver == 0x1000 && layout->device == 0);
}

/* Requests that wait in the ring, one used already: each is answered once, in order. */
/* shows: MEM-OP-11 */
static void MEM_OP_11_chains_in_flight_are_answered_once(void **state)
{
	static const uint64_t features[] = {0, VMEMDEV_F_IN_ORDER, VMEMDEV_F_EVENT_IDX,
					    VMEMDEV_F_IN_ORDER | VMEMDEV_F_EVENT_IDX};
	struct rig *rig = *state;

	for (size_t i = 0; i < ARRAY_LEN(features); i++) {
		drv_reset(rig);
		drv_start(rig, features[i]);
		for (uint32_t lap = 0; lap < 100; lap++) {
			for (uint32_t k = 0; k < 4; k++)
				post(rig, k, GUEST_MEM_STATE, BLOCK(3), (uint16_t)(k + 1));
			assert_int_equal(rig_step(rig, lap % 4 + 1), 1);
			rig_move_mem(rig, NULL);
			for (uint32_t k = 0; k < lap % 4 + 1; k++)
				assert_int_equal(request_take(rig, k).type, GUEST_MEM_ACK);
			assert_int_equal(request_take(rig, 0).type, PENDING);
			guest_queue_interrupts_on(&rig->driver.queues[0]);
			drv_took_queue_irq(rig);
			assert_int_equal(rig_run(rig), 0);
			assert_int_equal(drv_took_queue_irq(rig), lap % 4 < 3);
			for (uint32_t k = lap % 4 + 1; k < 4; k++)
				assert_int_equal(request_take(rig, k).state, GUEST_MEM_MIXED);
			assert_int_equal(request_take(rig, 0).type, PENDING);
		}
	}
}

/* shows: MEM-OP-04 MEM-OP-11 */
static void MEM_OP_04_work_put_off_is_asked_for_again(void **state)
{
	static const uint16_t types[] = {GUEST_MEM_PLUG, GUEST_MEM_UNPLUG, GUEST_MEM_UNPLUG_ALL};
	struct rig *rig = *state;
	struct vmemdev_range asked;
	struct record record;

	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		uint64_t plugged = mem_sizes(rig).plugged;

		rig->host.answer = VMEMDEV_LATER;
		post(rig, 0, types[i], BLOCK(types[i] == GUEST_MEM_PLUG ? 10 : 2), 2);
		post(rig, 1, GUEST_MEM_STATE, BLOCK(10), 2);
		assert_int_equal(rig_run(rig), 0);
		asked = host_last(rig)->ranges[0];
		rig_save(rig, &record);
		host_forget(rig);
		rig_fresh_mem(rig, NULL);
		assert_int_equal(rig_load(rig, &record), 0);
		assert_int_equal(rig->host.count, 0);
		assert_true(mem_sizes(rig).plugged == plugged);
		assert_int_equal(rig_complete(rig, rig->host.token, 0), VMEMDEV_E_STATE);
		assert_int_equal(rig_run(rig), 0);
		assert_int_equal(rig->host.count, 1);
		assert_memory_equal(&host_last(rig)->ranges[0], &asked, sizeof(asked));
		assert_int_equal(request_take(rig, 0).type, PENDING);
		rig->host.answer = 0;
		assert_int_equal(rig_complete(rig, rig->host.token, 0), 0);
		assert_int_equal(rig_run(rig), 0);
		assert_int_equal(request_take(rig, 0).type, GUEST_MEM_ACK);
		assert_int_equal(request_take(rig, 1).type, GUEST_MEM_ACK);
		assert_int_equal(request_take(rig, 2).type, PENDING);
		assert_true(mem_sizes(rig).plugged != plugged);
	}
}

/* What was within the target when it was taken is not turned down after moves. */
/* shows: MEM-PLUG-07 */
static void MEM_PLUG_07_a_plug_that_waits_stays_admitted(void **state)
{
	struct rig *rig = *state;

	rig->host.answer = VMEMDEV_LATER;
	post(rig, 0, GUEST_MEM_PLUG, BLOCK(10), 6);
	post(rig, 1, GUEST_MEM_PLUG, BLOCK(20), 6);
	assert_int_equal(rig_run(rig), 0);
	mem_want(rig, 14 * MEM_BLOCK);
	rig_move_mem(rig, NULL);
	rig_move_mem(rig, NULL);
	mem_want(rig, 0);
	assert_int_equal(rig_run(rig), 0);
	rig->host.answer = 0;
	rig_move_mem(rig, NULL);
	assert_int_equal(rig_run(rig), 0);
	assert_int_equal(request_take(rig, 0).type, GUEST_MEM_ACK);
	assert_int_equal(request_take(rig, 1).type, GUEST_MEM_NACK);
	mem_expect(rig, GUEST_MEM_UNPLUG, BLOCK(10), 6, GUEST_MEM_ACK);
	mem_expect(rig, GUEST_MEM_PLUG, BLOCK(10), 6, GUEST_MEM_NACK);
}

/* A guest that changes its request meanwhile: the new one is checked like any other. */
/* shows: MEM-PLUG-08 */
static void MEM_PLUG_08_another_request_is_not_admitted(void **state)
{
	static const struct {
		uint32_t block;
		uint16_t count;
	} rows[] = {{11, 6}, {10, 7}, {10, 5}, {30, 6}};
	struct rig *rig = *state;
	struct request request;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		mem_want(rig, 20 * MEM_BLOCK);
		rig->host.answer = VMEMDEV_LATER;
		post(rig, 0, GUEST_MEM_PLUG, BLOCK(10), 6);
		assert_int_equal(rig_run(rig), 0);
		mem_want(rig, 14 * MEM_BLOCK);
		rig_move_mem(rig, NULL);
		request_make(&request, GUEST_MEM_PLUG, BLOCK(rows[i].block), rows[i].count);
		assert_true(guest_write(&rig->memory, DATA_GPA, request.bytes, 24));
		host_forget(rig);
		assert_int_equal(rig_run(rig), 0);
		assert_int_equal(rig->host.count, 0);
		assert_int_equal(request_take(rig, 0).type, GUEST_MEM_NACK);
	}
}

/* Nor is a plug where the record says that an unplug of these blocks waited. */
/* shows: MEM-PLUG-08 HOST-MEM-04 */
static void MEM_PLUG_08_an_unplug_that_waits_admits_no_plug(void **state)
{
	struct rig *rig = *state;
	struct record record;

	rig->host.answer = VMEMDEV_LATER;
	post(rig, 0, GUEST_MEM_PLUG, BLOCK(10), 6);
	assert_int_equal(rig_run(rig), 0);
	mem_want(rig, 0);
	rig_save(rig, &record);
	record_set(&record, REC_WAITS_TYPE, 4, GUEST_MEM_UNPLUG);
	rig_fresh_mem(rig, NULL);
	assert_int_equal(rig_load(rig, &record), 0);
	host_forget(rig);
	assert_int_equal(rig_run(rig), 0);
	assert_int_equal(rig->host.count, 0);
	assert_int_equal(request_take(rig, 0).type, GUEST_MEM_NACK);
}

/* It was the old driver's request: a new one has no claim. */
/* shows: RST-03 */
static void RST_03_a_reset_ends_that_admission(void **state)
{
	struct rig *rig = *state;

	rig->host.answer = VMEMDEV_LATER;
	post(rig, 0, GUEST_MEM_PLUG, BLOCK(10), 6);
	assert_int_equal(rig_run(rig), 0);
	mem_want(rig, 0);
	rig_move_mem(rig, NULL);
	drv_reset(rig);
	drv_start(rig, 0);
	rig->host.answer = 0;
	mem_expect(rig, GUEST_MEM_PLUG, BLOCK(10), 6, GUEST_MEM_NACK);
}

static void the_saved_device_goes_on_unchanged(void **state)
{
	struct rig *rig = *state;
	struct record record, again;
	struct vmemdev_vq_state at;

	rig->host.answer = VMEMDEV_LATER;
	post(rig, 0, GUEST_MEM_PLUG, BLOCK(10), 2);
	assert_int_equal(rig_run(rig), 0);
	rig_save(rig, &record);
	rig_save(rig, &again);
	assert_int_equal(record.len, again.len);
	assert_memory_equal(record.bytes, again.bytes, record.len);
	/* nor can its queue be stopped while the host works */
	assert_int_equal(vmemdev_device_queue_stop(rig->dev, 0, &at), VMEMDEV_E_STATE);
	assert_int_equal(rig_complete(rig, rig->host.token, 0), 0);
	assert_int_equal(rig_run(rig), 0);
	assert_int_equal(request_take(rig, 0).type, GUEST_MEM_ACK);
	assert_int_equal(request_take(rig, 0).type, PENDING);
	assert_int_equal(vmemdev_device_queue_stop(rig->dev, 0, &at), 0);
}

static void work_that_was_reset_away_cannot_be_saved(void **state)
{
	struct rig *rig = *state;
	struct record record;

	rig->host.answer = VMEMDEV_LATER;
	post(rig, 0, GUEST_MEM_PLUG, BLOCK(10), 2);
	assert_int_equal(rig_run(rig), 0);
	drv_reset(rig);
	assert_int_equal(vmemdev_device_save(rig->dev, record.bytes, RECORD_MAX, &record.len),
			 VMEMDEV_E_STATE);
	assert_int_equal(rig_complete(rig, rig->host.token, 0), 0);
	rig_save(rig, &record);
	rig_fresh_mem(rig, NULL);
	assert_int_equal(rig_load(rig, &record), 0);
	assert_true(mem_has_block(rig, 10) && mem_has_block(rig, 11));
}

/* Save and load inside each callback. */
static void save_and_load_inside(struct rig *rig, const struct host_call *call)
{
	static struct record record;

	(void)call;
	record.len = 64;
	assert_int_equal(vmemdev_device_save(rig->dev, record.bytes, RECORD_MAX, &record.len),
			 VMEMDEV_E_STATE);
	assert_int_equal(vmemdev_device_load(rig->dev, record.bytes, record.len),
			 VMEMDEV_E_STATE);
	rig->ctx = NULL;
}

static void what_cannot_be_is_refused_by_name(void **state)
{
	struct rig *rig = *state;
	struct record record;
	size_t len = 77, size = vmemdev_device_save_size(rig->dev);
	uint8_t *dst = record.bytes;

	assert_int_equal(vmemdev_device_save(rig->dev, NULL, size, &len), VMEMDEV_E_INVAL);
	assert_int_equal(vmemdev_device_save(rig->dev, dst, size, NULL), VMEMDEV_E_INVAL);
	assert_int_equal(vmemdev_device_save(rig->dev, dst, size - 1, &len), VMEMDEV_E_NOSPC);
	assert_int_equal(vmemdev_device_save(rig->dev, dst, 0, &len), VMEMDEV_E_NOSPC);
	assert_int_equal(len, 77);
	rig->ctx = rig;
	rig->host.hook = save_and_load_inside;
	mem_expect(rig, GUEST_MEM_UNPLUG, BLOCK(0), 1, GUEST_MEM_ACK);
	assert_null(rig->ctx);
	rig_save(rig, &record);
	assert_int_equal(vmemdev_device_load(rig->dev, dst, record.len), VMEMDEV_E_STATE);
	assert_int_equal(guest_driver_status(&rig->driver), DRV_LIVE);
	rig_fresh_mem(rig, NULL);
	assert_int_equal(vmemdev_device_load(rig->dev, NULL, record.len), VMEMDEV_E_INVAL);
	assert_int_equal(rig_load(rig, &record), 0);
}

static int never_called_plug(void *ctx, const struct vmemdev_range *ranges, uint32_t count)
{
	(void)ctx;
	(void)ranges;
	(void)count;
	fail();
	return 0;
}

static void never_called_unplug(void *ctx, const struct vmemdev_range *ranges, uint32_t count)
{
	(void)never_called_plug(ctx, ranges, count);
}

/* A listener would not know what the load has plugged: first load, then listen. */
static void a_device_with_listeners_is_not_fresh(void **state)
{
	struct vmemdev_mem_listener listener = {.plug = never_called_plug,
						.unplug = never_called_unplug};
	struct rig *rig = *state;
	struct record record;

	rig_save(rig, &record);
	rig_fresh_mem(rig, NULL);
	assert_int_equal(vmemdev_mem_listen(&rig->mem, &listener), 0);
	assert_int_equal(vmemdev_mem_set_requested(&rig->mem, MEM_BLOCK), 0);
	assert_int_equal(rig_load(rig, &record), VMEMDEV_E_STATE);
	/* The driver that comes is still to hear of the new size. */
	vmemdev_device_set_status(rig->dev, 3);
	vmemdev_device_accept(rig->dev, 1, 1);
	vmemdev_device_set_status(rig->dev, DRV_READY);
	(void)drv_took_config_irq(rig);
	vmemdev_device_set_status(rig->dev, DRV_LIVE);
	assert_true(drv_took_config_irq(rig));
}

static void fresh(struct rig *rig)
{
	rig_fresh_mem(rig, NULL);
}

/* Blocks that are plugged would be lost to the host. */
/* shows: RST-03 */
static void RST_03_a_device_with_plugged_blocks_is_not_fresh(void **state)
{
	struct rig *rig = *state;
	struct record record;

	drv_reset(rig);
	rig_save(rig, &record);
	assert_int_equal(rig_load(rig, &record), VMEMDEV_E_STATE);
	assert_int_equal(rig->host.count, 0);
	check_possible(rig);
	assert_true(mem_sizes(rig).plugged == 14 * MEM_BLOCK);
	assert_true(mem_has_block(rig, 3) && mem_has_block(rig, 69));
	/* without them it is */
	rig->window = true;
	assert_int_equal(vmemdev_device_system_reset(rig->dev), 0);
	rig->window = false;
	host_forget(rig);
	assert_int_equal(rig_load(rig, &record), 0);
	assert_int_equal(rig->host.count, 0);
	assert_true(mem_sizes(rig).plugged == 14 * MEM_BLOCK);
}

/* A device whose host is at work cannot become another one. */
/* shows: RST-03 */
static void RST_03_nothing_is_loaded_while_the_host_works(void **state)
{
	struct rig *rig = *state;
	struct record good;

	rig_fresh_mem(rig, NULL);
	rig_save(rig, &good);
	drv_start(rig, 0);
	mem_want(rig, 4 * MEM_BLOCK);
	rig->host.answer = VMEMDEV_LATER;
	post(rig, 0, GUEST_MEM_PLUG, BLOCK(0), 2);
	assert_int_equal(rig_run(rig), 0);
	drv_reset(rig);
	assert_true(mem_sizes(rig).plugged == 0);
	assert_int_equal(rig_load(rig, &good), VMEMDEV_E_STATE);
	assert_int_equal(rig_complete(rig, rig->host.token, 0), 0);
	assert_true(mem_sizes(rig).plugged == 2 * MEM_BLOCK);
}

/* Inside a callback nothing is loaded, nor looked at, also where no driver runs. */
static void load_nonsense(struct rig *rig, const struct host_call *call)
{
	static const uint8_t nonsense[64];

	(void)call;
	assert_int_equal(vmemdev_device_status(rig->dev), 0);
	assert_int_equal(vmemdev_device_load(rig->dev, nonsense, sizeof(nonsense)),
			 VMEMDEV_E_STATE);
}

static void nothing_is_loaded_inside_a_system_reset(void **state)
{
	struct rig *rig = *state;

	rig->host.hook = load_nonsense;
	rig->window = true;
	assert_int_equal(vmemdev_device_system_reset(rig->dev), 0);
	rig->window = false;
	assert_true(rig->host.count > 0);
	assert_true(mem_sizes(rig).plugged == 0);
}

/* Nobody would ask for it again; when it has ended, there is something to be saved. */
/* shows: STAT-08 */
static void STAT_08_work_of_a_device_that_FAILED_cannot_be_saved(void **state)
{
	struct rig *rig = *state;
	size_t size = vmemdev_device_save_size(rig->dev), len;
	struct record record;

	rig->host.answer = VMEMDEV_LATER;
	post(rig, 0, GUEST_MEM_PLUG, BLOCK(10), 2);
	assert_int_equal(rig_run(rig), 0);
	rig_save(rig, &record);
	drv_set_status(rig, DRV_LIVE | VMEMDEV_STATUS_FAILED);
	assert_int_equal(vmemdev_device_save(rig->dev, record.bytes, size, &len), VMEMDEV_E_STATE);
	assert_int_equal(rig_complete(rig, rig->host.token, 0), 0);
	rig_move_mem(rig, NULL);
	assert_true(mem_has_block(rig, 10) && mem_has_block(rig, 11));
}

/* 96 blocks: half of the last word is nobody's, whatever the host's memory held. */
/* shows: MEM-CFG-05 */
static void MEM_CFG_05_a_device_in_memory_that_was_in_use_can_be_moved(void **state)
{
	struct rig *rig = *state;

	rig_fresh_mem(rig, NULL);
	rig_move_mem(rig, NULL);
	drv_start(rig, 0);
	mem_want(rig, MEM_REGION);
	mem_expect(rig, GUEST_MEM_PLUG, BLOCK(MEM_BLOCKS - 1), 1, GUEST_MEM_ACK);
	rig_move_mem(rig, NULL);
	assert_true(mem_sizes(rig).plugged == MEM_BLOCK);
	assert_true(mem_has_block(rig, MEM_BLOCKS - 1));
}

/* The blocks of a request that waits are blocks of the usable region, to the last one. */
/* shows: MEM-PLUG-04 */
static void MEM_PLUG_04_an_overlong_request_that_waits_is_refused(void **state)
{
	static const struct damage rows[] = {
		{REC_WAITS_BLOCKS, 8, 78, 0}, /* the last usable block */
		{REC_WAITS_BLOCKS, 8, 79, VMEMDEV_E_RECORD},
		{REC_WAITS_BLOCKS, 8, UINT64_MAX, VMEMDEV_E_RECORD},
		{REC_WAITS_BLOCKS, 8, UINT64_MAX - 9, VMEMDEV_E_RECORD}, /* the sum is 0 */
		{REC_WAITS_FIRST, 8, 82, 0},
		{REC_WAITS_FIRST, 8, 83, VMEMDEV_E_RECORD},
		{REC_WAITS_FIRST, 8, 89, VMEMDEV_E_RECORD},
		{REC_WAITS_FIRST, 8, UINT64_MAX, VMEMDEV_E_RECORD},
		{REC_WAITS_TYPE, 4, 3, VMEMDEV_E_RECORD}, /* STATE never waits */
		{REC_WAITS, 4, 2, VMEMDEV_E_RECORD},
		{REC_STATUS, 1, 0x0b, VMEMDEV_E_RECORD}, /* a driver that is not there */
	};
	struct rig *rig = *state;
	struct record good;

	rig->host.answer = VMEMDEV_LATER;
	post(rig, 0, GUEST_MEM_PLUG, BLOCK(10), 6);
	assert_int_equal(rig_run(rig), 0);
	assert_int_equal(rig->host.count, 1);
	rig_save(rig, &good);
	assert_int_equal(record_get(&good, REC_WAITS_FIRST, 8), 10);
	assert_int_equal(record_get(&good, REC_WAITS_BLOCKS, 8), 6);
	assert_int_equal(record_get(&good, REC_USABLE, 8), 88 * MEM_BLOCK);
	rig_expect_damages(rig, &good, rows, ARRAY_LEN(rows), fresh);
}

/* Fields set to what they cannot be here, and the name that this has. */
static void damaged_fields_have_their_names(void **state)
{
	static const struct damage rows[] = {
		{REC_MAGIC, 4, 0x44564d57, VMEMDEV_E_RECORD},
		{REC_MAJOR, 2, 2, VMEMDEV_E_VERSION},
		{REC_MAJOR, 2, 0xffff, VMEMDEV_E_VERSION},
		{REC_MAJOR, 2, 0, VMEMDEV_E_RECORD},
		{REC_MINOR, 2, 1, VMEMDEV_E_VERSION},
		{REC_LEN, 4, 0, VMEMDEV_E_RECORD},
		{REC_LEN, 4, 0xffffffff, VMEMDEV_E_RECORD},
		{REC_ID, 4, 5, VMEMDEV_E_MISMATCH},
		{REC_ACCEPTED, 8, VMEMDEV_F_VERSION_1 | UINT64_C(1) << 63, VMEMDEV_E_MISMATCH},
		{REC_ACCEPTED, 8, VMEMDEV_F_VERSION_1 | VMEMDEV_MEM_F_ACPI_PXM,
		 VMEMDEV_E_MISMATCH},
		{REC_ACCEPTED, 8, 0, VMEMDEV_E_MISMATCH},
		{REC_STATUS, 1, 0x07, VMEMDEV_E_RECORD},
		{REC_STATUS, 1, 0x1f, VMEMDEV_E_RECORD},
		{REC_STATUS, 1, 0x2f, VMEMDEV_E_RECORD},
		{REC_STATUS, 1, 0x4f, VMEMDEV_E_RECORD},
		{REC_STATUS, 1, 0x03, VMEMDEV_E_RECORD}, /* a queue without FEATURES_OK */
		{REC_FAULT, 1, 32, VMEMDEV_E_RECORD},
		{REC_FLAGS, 1, 4, VMEMDEV_E_RECORD},
		{REC_FLAGS, 1, 0x80, VMEMDEV_E_RECORD},
		{REC_QUEUES, 1, 2, VMEMDEV_E_MISMATCH},
		{REC_QUEUES, 1, 0, VMEMDEV_E_MISMATCH},
		{REC_ADDR, 8, MEM_GPA + MEM_BLOCK, VMEMDEV_E_MISMATCH},
		{REC_REGION, 8, MEM_REGION + MEM_BLOCK, VMEMDEV_E_MISMATCH},
		{REC_SHIFT, 4, 21, VMEMDEV_E_MISMATCH},
		{REC_NODE, 2, 1, VMEMDEV_E_MISMATCH},
		{REC_ZERO, 2, 1, VMEMDEV_E_RECORD},
		{REC_USABLE, 8, MEM_REGION + MEM_BLOCK, VMEMDEV_E_RECORD},
		{REC_USABLE, 8, 69 * MEM_BLOCK, VMEMDEV_E_RECORD}, /* a block beyond it */
		{REC_USABLE, 8, 19 * MEM_BLOCK, VMEMDEV_E_RECORD},
		{REC_USABLE, 8, 80 * MEM_BLOCK + 1, VMEMDEV_E_RECORD},
		{REC_USABLE, 8, 0, VMEMDEV_E_RECORD},
		{REC_REQUESTED, 8, MEM_BLOCK / 2, VMEMDEV_E_RECORD},
		{REC_REQUESTED, 8, 89 * MEM_BLOCK, VMEMDEV_E_RECORD},
		{REC_REQUESTED, 8, UINT64_MAX - MEM_BLOCK + 1, VMEMDEV_E_RECORD},
		{REC_WAITS, 4, 2, VMEMDEV_E_RECORD},
		{REC_WAITS_TYPE, 4, 1, VMEMDEV_E_RECORD}, /* of a request that does not wait */
		{REC_WAITS_FIRST, 8, 1, VMEMDEV_E_RECORD},
		{REC_WAITS_BLOCKS, 8, 1, VMEMDEV_E_RECORD},
		{REC_BITS, 4, 0, VMEMDEV_E_RECORD},
		{REC_BITS, 4, 0xc0000002, VMEMDEV_E_RECORD},
		{REC_BITS, 4, 0x80000003, VMEMDEV_E_RECORD},
		{REC_BITS, 4, 0xbfffffff, VMEMDEV_E_RECORD},
		{REC_BITS + 12, 8, UINT64_C(0x100000000), VMEMDEV_E_RECORD}, /* block 96 */
		{REC_BITS + 12, 8, UINT64_C(0x1000000), VMEMDEV_E_RECORD},   /* not usable */
	};
	struct rig *rig = *state;
	struct record good, bad;

	rig_save(rig, &good);
	rig_expect_damages(rig, &good, rows, ARRAY_LEN(rows), fresh);
	/* and of the queue */
	for (uint32_t i = 0; i < 4; i++) {
		bad = good;
		if (i == 0)
			bad.bytes[queue_at(&bad) + REC_Q_FLAGS] = 2;
		else if (i == 1)
			bad.bytes[queue_at(&bad) + REC_Q_WRAP] = 2;
		else if (i == 2)
			bad.bytes[queue_at(&bad) + REC_Q_FLAGS] = 0x81;
		else if (rig->way.packed)
			record_set(&bad, queue_at(&bad) + REC_Q_POSITION, 2, 128);
		else
			bad.bytes[queue_at(&bad) + REC_Q_WRAP] = 1;
		rig_fresh_mem(rig, NULL);
		assert_int_equal(rig_load(rig, &bad), VMEMDEV_E_RECORD);
	}
	rig_fresh_mem(rig, NULL);
	assert_int_equal(rig_load(rig, &good), 0);
}

/* DRIVER_OK comes after FEATURES_OK, also where no queue gives it away. */
/* shows: STAT-01 */
static void STAT_01_no_driver_runs_without_its_features(void **state)
{
	struct rig *rig = *state;
	struct record record;

	rig_save(rig, &record);
	record.bytes[REC_STATUS] = 0x07;
	record.bytes[queue_at(&record) + REC_Q_FLAGS] = 0;
	rig_fresh_mem(rig, NULL);
	assert_int_equal(rig_load(rig, &record), VMEMDEV_E_RECORD);
}

/* Put @with in the place of @len bytes at @at, and make the length right. */
static void splice(struct record *record, size_t at, size_t len, const void *with, size_t with_len)
{
	assert_true(record->len + with_len <= RECORD_MAX);
	memmove(record->bytes + at + with_len, record->bytes + at + len, record->len - at - len);
	memcpy(record->bytes + at, with, with_len);
	record->len = record->len - len + with_len;
	record_set(record, REC_LEN, 4, record->len);
}

/* The bitmap here is one run of two words as they are: 20 bytes. */
static void a_bitmap_has_its_form(void **state)
{
	static const uint8_t empty[4], unknown[4] = {2, 0, 0, 0xc0}, zeros[4] = {2, 0, 0, 0};
	struct rig *rig = *state;
	struct record good, bad;

	rig_save(rig, &good);
	bad = good;
	splice(&bad, REC_BITS, 0, empty, sizeof(empty));
	rig_fresh_mem(rig, NULL);
	assert_int_equal(rig_load(rig, &bad), VMEMDEV_E_RECORD);
	bad = good;
	splice(&bad, REC_BITS, 20, unknown, sizeof(unknown));
	rig_fresh_mem(rig, NULL);
	assert_int_equal(rig_load(rig, &bad), VMEMDEV_E_RECORD);
	bad = good;
	splice(&bad, REC_BITS, 20, zeros, sizeof(zeros));
	rig_fresh_mem(rig, NULL);
	assert_int_equal(rig_load(rig, &bad), 0);
	assert_true(mem_sizes(rig).plugged == 0);
}

/* What the host had asked of the fresh device gives way to the record. */
static void the_record_wins_over_what_was_set_before(void **state)
{
	struct rig *rig = *state;
	uint32_t generation = guest_driver_config_generation(&rig->driver);
	struct record record;

	rig_save(rig, &record);
	rig_fresh_mem(rig, NULL);
	mem_want(rig, MEM_REGION);
	assert_int_equal(rig_load(rig, &record), 0);
	assert_true(mem_sizes(rig).requested == 20 * MEM_BLOCK);
	assert_true(mem_sizes(rig).usable == 88 * MEM_BLOCK);
	assert_int_equal(guest_driver_config_generation(&rig->driver), generation);
}

/* A device with other features, or that asks more of its driver, is another device. */
/* shows: MEM-INIT-01 */
static void MEM_INIT_01_a_record_of_a_driver_that_would_be_refused_is_refused(void **state)
{
	struct rig *rig = *state;
	struct vmemdev_mem_config config;
	struct record record;

	rig_save(rig, &record);
	rig_mem_config(rig, &config);
	config.unplugged_inaccessible = true;
	rig_fresh_mem(rig, &config);
	assert_int_equal(rig_load(rig, &record), VMEMDEV_E_MISMATCH);
	rig_mem_config(rig, &config);
	config.region_size = 64 * MEM_BLOCK;
	rig_fresh_mem(rig, &config);
	assert_int_equal(rig_load(rig, &record), VMEMDEV_E_MISMATCH);
	rig_mem_config(rig, &config);
	config.has_node = true;
	config.node = 3;
	rig_fresh_mem(rig, &config);
	assert_int_equal(rig_load(rig, &record), VMEMDEV_E_MISMATCH);
	/* what the host has set it to do is not in the record: slack may differ */
	rig_mem_config(rig, &config);
	config.slack = 4 * MEM_BLOCK;
	rig_fresh_mem(rig, &config);
	assert_int_equal(rig_load(rig, &record), 0);
	mem_want(rig, 10 * MEM_BLOCK);
	mem_expect(rig, GUEST_MEM_UNPLUG_ALL, 0, 0, GUEST_MEM_ACK);
	assert_true(mem_sizes(rig).usable == 14 * MEM_BLOCK);
}

#ifdef FEWER_STEPS
#define RANDOM_RECORDS 2000
#else
#define RANDOM_RECORDS 40000
#endif

/* Each byte of a good record changed, in each way there is. */
/* shows: MEM-CFG-03 MEM-CFG-05 MEM-CFG-06 MEM-CFG-11 */
static void MEM_CFG_06_no_changed_byte_makes_an_impossible_device(void **state)
{
	struct rig *rig = *state;
	uint64_t mark = guest_place_mark(&rig->memory);
	struct record good, bad;
	uint32_t accepted = 0;

	rig_save(rig, &good);
	for (size_t at = 0; at < good.len; at++) {
		for (uint32_t flip = 1; flip < 256; flip++) {
			bad = good;
#ifdef FEWER_STEPS
			if ((flip & (flip - 1)) != 0 && flip != 255)
				continue;
#endif
			bad.bytes[at] ^= (uint8_t)flip;
			accepted += try_load(rig, &bad, mark);
		}
	}
	assert_true(accepted > 0);
}

/* The same with several bytes at once, and with the length made right. */
/* shows: MEM-CFG-03 MEM-CFG-05 MEM-CFG-06 MEM-CFG-11 */
static void MEM_CFG_06_no_random_record_makes_an_impossible_device(void **state)
{
	struct rig *rig = *state;
	uint64_t mark = guest_place_mark(&rig->memory);
	struct guest_random random;
	struct record good, bad;

	rig_save(rig, &good);
	guest_random_seed(&random, 99);
	for (uint32_t i = 0; i < RANDOM_RECORDS; i++) {
		uint32_t changes = guest_random_below(&random, 6) + 1;

		bad = good;
		if (guest_random_below(&random, 4) == 0)
			bad.len = guest_random_below(&random, (uint32_t)good.len + 40);
		while (changes-- > 0) {
			uint32_t at = guest_random_below(&random, (uint32_t)good.len);

			bad.bytes[at] = (uint8_t)guest_random_next(&random);
		}
		if (guest_random_below(&random, 2))
			memcpy(bad.bytes, good.bytes, 16);
		record_set(&bad, REC_LEN, 4, bad.len);
		try_load(rig, &bad, mark);
	}
}

static void each_cut_and_each_excess_is_refused(void **state)
{
	struct rig *rig = *state;
	struct record good, bad;

	rig_save(rig, &good);
	for (size_t len = 0; len < good.len; len++) {
		bad = good;
		bad.len = len;
		rig_fresh_mem(rig, NULL);
		assert_int_equal(rig_load(rig, &bad), VMEMDEV_E_RECORD);
		record_set(&bad, REC_LEN, 4, len);
		rig_fresh_mem(rig, NULL);
		assert_int_equal(rig_load(rig, &bad), VMEMDEV_E_RECORD);
	}
	for (size_t more = 1; more < 40; more++) {
		bad = good;
		bad.len = good.len + more;
		memset(bad.bytes + good.len, 0, more);
		rig_fresh_mem(rig, NULL);
		assert_int_equal(rig_load(rig, &bad), VMEMDEV_E_RECORD);
		record_set(&bad, REC_LEN, 4, bad.len);
		rig_fresh_mem(rig, NULL);
		assert_int_equal(rig_load(rig, &bad), VMEMDEV_E_RECORD);
	}
}

/* A ring that is not in guest memory where the record goes. */
/* shows: HOST-REG-14 STAT-07 */
static void HOST_REG_14_a_ring_that_is_gone_needs_a_reset(void **state)
{
	static const struct guest_region regions[] = {
		{.gpa = RAM_GPA, .len = RAM_SIZE}, {.gpa = UINT64_C(0x2000000), .len = 0x100000}};
	struct rig *rig = rig_bare_regions(*state, regions, 2);
	struct record record;

	*state = rig;
	rig_make_mem(rig, NULL);
	guest_place_in(&rig->memory, 1);
	drv_start(rig, 0);
	mem_want(rig, 8 * MEM_BLOCK);
	mem_expect(rig, GUEST_MEM_PLUG, BLOCK(2), 2, GUEST_MEM_ACK);
	rig_save(rig, &record);
	assert_int_equal(guest_memory_show(&rig->memory, 1), 0);
	rig_fresh_mem(rig, NULL);
	drv_took_config_irq(rig);
	assert_int_equal(rig_load(rig, &record), 0);
	assert_int_equal(guest_driver_status(&rig->driver), DRV_LIVE | VMEMDEV_STATUS_NEEDS_RESET);
	assert_int_equal(vmemdev_device_fault(rig->dev), VMEMDEV_E_GUEST_RING);
	assert_int_equal(rig->errors, 1);
	assert_int_equal(rig->last_error, VMEMDEV_E_GUEST_RING);
	assert_true(drv_took_config_irq(rig));
	assert_int_equal(rig_run(rig), VMEMDEV_E_GUEST_RING);
	assert_true(mem_has_block(rig, 2) && mem_has_block(rig, 3));
	/* the fault moves on, too */
	rig_save(rig, &record);
	rig_fresh_mem(rig, NULL);
	assert_int_equal(rig_load(rig, &record), 0);
	assert_int_equal(guest_driver_status(&rig->driver), DRV_LIVE | VMEMDEV_STATUS_NEEDS_RESET);
	assert_int_equal(vmemdev_device_fault(rig->dev), VMEMDEV_E_GUEST_RING);
	assert_int_equal(rig_run(rig), VMEMDEV_E_GUEST_RING);
	guest_place_in(&rig->memory, 0);
	drv_reset(rig);
	drv_start(rig, 0);
	mem_expect(rig, GUEST_MEM_UNPLUG, BLOCK(2), 2, GUEST_MEM_ACK);
}

/* Rings in the device's own plugged blocks. */
/* shows: HOST-MEM-06 HOST-REG-14 */
static void HOST_MEM_06_rings_in_plugged_blocks_are_there_after_a_load(void **state)
{
	static const struct guest_region regions[] = {
		{.gpa = RAM_GPA, .len = RAM_SIZE}, {.gpa = MEM_GPA, .len = MEM_REGION}};
	struct rig *rig = rig_bare_regions(*state, regions, 2);
	struct vmemdev_region table[2];
	struct record record;

	*state = rig;
	rig_make_mem(rig, NULL);
	table[0] = rig->memory.regions[0];
	vmemdev_mem_region(&rig->mem, rig->memory.regions[1].host, &table[1]);
	assert_int_equal(vmemdev_guest_set_regions(&rig->memory.guest, table, 2), 0);
	drv_start(rig, 0);
	mem_want(rig, 8 * MEM_BLOCK);
	mem_expect(rig, GUEST_MEM_PLUG, BLOCK(0), 8, GUEST_MEM_ACK);
	drv_reset(rig);
	guest_place_in(&rig->memory, 1);
	drv_start(rig, 0);
	mem_expect(rig, GUEST_MEM_UNPLUG, BLOCK(4), 4, GUEST_MEM_ACK);
	rig_move_mem(rig, NULL);
	mem_expect(rig, GUEST_MEM_PLUG, BLOCK(5), 3, GUEST_MEM_ACK);
	/* the same with the first block out of the bitmap: its ring is gone */
	rig_save(rig, &record);
	assert_true(record_get(&record, REC_BITS + 4, 8) == 0xef);
	record_set(&record, REC_BITS + 4, 8, 0xee);
	rig_fresh_mem(rig, NULL);
	assert_int_equal(rig_load(rig, &record), 0);
	assert_int_equal(vmemdev_device_fault(rig->dev), VMEMDEV_E_GUEST_RING);
	assert_true(mem_sizes(rig).plugged == 6 * MEM_BLOCK);
	assert_int_equal(vmemdev_guest_set_regions(&rig->memory.guest, rig->memory.regions, 1), 0);
}

/* Blocks that a load takes away may hold the ring of another device. */
/* shows: HOST-MEM-06 HOST-REG-14 */
static void HOST_MEM_06_a_load_takes_a_block_away_under_a_ring(void **state)
{
	static const struct guest_region regions[] = {
		{.gpa = RAM_GPA, .len = RAM_SIZE}, {.gpa = MEM_GPA, .len = MEM_REGION}};
	struct rig *rig = rig_bare_regions(*state, regions, 2);
	const struct guest_queue_config config = {.features = rig->ring_features, .size = 4};
	struct vmemdev_chain chain;
	struct vmemdev_region table[2];
	struct record record;
	struct guest_queue other;
	struct vmemdev_vq vq;

	*state = rig;
	rig_make_mem(rig, NULL);
	rig_save(rig, &record);
	table[0] = rig->memory.regions[0];
	vmemdev_mem_region(&rig->mem, rig->memory.regions[1].host, &table[1]);
	assert_int_equal(vmemdev_guest_set_regions(&rig->memory.guest, table, 2), 0);
	drv_start(rig, 0);
	mem_want(rig, 8 * MEM_BLOCK);
	mem_expect(rig, GUEST_MEM_PLUG, BLOCK(0), 1, GUEST_MEM_ACK);
	guest_place_in(&rig->memory, 1);
	guest_queue_open(&other, &rig->memory, &config);
	assert_int_equal(vmemdev_vq_init(&vq, sizeof(vq), &rig->memory.guest, 4), 0);
	assert_int_equal(vmemdev_vq_enable(&vq, &other.layout, rig->ring_features), 0);
	assert_int_equal(vmemdev_vq_pop(&vq, &chain), 0);
	rig_fresh_mem(rig, NULL);
	assert_int_equal(rig_load(rig, &record), 0);
	assert_int_equal(vmemdev_vq_pop(&vq, &chain), VMEMDEV_E_GUEST_RING);
	guest_queue_close(&other);
}

/* A large region in a small record: runs cost bytes, blocks do not. */
#define TIB (UINT64_C(1) << 40)

static void plug_gib(struct rig *rig, uint64_t from, uint64_t gib)
{
	uint64_t blocks = gib << 9;

	for (uint64_t done = 0; done < blocks; done += 32768) {
		uint64_t left = blocks - done;

		mem_expect(rig, GUEST_MEM_PLUG, MEM_GPA + ((from << 9) + done) * (2 << 20),
			   (uint16_t)(left < 32768 ? left : 32768), GUEST_MEM_ACK);
	}
}

static void a_record_of_1_TiB_is_small(void **state)
{
	struct rig *rig = rig_bare(*state);
	struct vmemdev_mem_config config;
	struct record record;

	*state = rig;
	rig_mem_config(rig, &config);
	config.region_size = TIB;
	config.block_size = 2 << 20;
	config.slack = TIB;
	config.bitmap_words = vmemdev_mem_bitmap_words(TIB, 2 << 20);
	config.bitmap = calloc(config.bitmap_words, sizeof(uint64_t));
	assert_non_null(config.bitmap);
	rig_make_mem(rig, &config);
	drv_start(rig, 0);
	mem_want(rig, TIB);
	for (uint32_t i = 0; i < 4; i++) {
		uint64_t plugged = mem_sizes(rig).plugged;
		size_t size = vmemdev_device_save_size(rig->dev);
		uint8_t *dst;

		assert_true(size < 8 * config.bitmap_words + 1024);
		dst = malloc(size);
		assert_non_null(dst);
		assert_int_equal(vmemdev_device_save(rig->dev, dst, size, &record.len), 0);
		assert_true(record.len <= 256);
		memcpy(record.bytes, dst, record.len);
		free(dst);
		rig_fresh_mem(rig, &config);
		assert_int_equal(rig_load(rig, &record), 0);
		assert_true(mem_sizes(rig).plugged == plugged);
		if (i == 0)
			plug_gib(rig, 0, 1);
		else if (i == 1)
			plug_gib(rig, 700, 5);
		else
			mem_expect(rig, GUEST_MEM_UNPLUG_ALL, 0, 0, GUEST_MEM_ACK);
		if (i == 2)
			plug_gib(rig, 0, 1024);
	}
	free(config.bitmap);
}

/* Nothing of a full, checkered bitmap is lost, and save_size holds for it. */
static void the_worst_bitmap_fits(void **state)
{
	struct rig *rig = *state;

	mem_expect(rig, GUEST_MEM_UNPLUG_ALL, 0, 0, GUEST_MEM_ACK);
	mem_want(rig, MEM_REGION);
	for (uint32_t block = 0; block < MEM_BLOCKS; block += 2)
		mem_expect(rig, GUEST_MEM_PLUG, BLOCK(block), 1, GUEST_MEM_ACK);
	rig_move_mem(rig, NULL);
	for (uint32_t block = 0; block < MEM_BLOCKS; block++)
		assert_int_equal(mem_has_block(rig, block), block % 2 == 0);
}

static int setup_way(void **state)
{
	(void)state;
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_ALL(MEM_CFG_05_a_loaded_device_is_the_saved_one, setup_state),
		TEST_ALL(CFG_03_no_change_is_lost_by_a_move, setup_state),
		TEST_ALL(AMB_11_a_change_before_DRIVER_OK_is_told_after_a_move, setup_state),
		TEST_ALL(STAT_01_a_move_in_the_middle_of_initialisation, setup_state),
		TEST_RINGS(FEAT_06_a_bad_feature_word_is_remembered, setup_state),
		TEST_RINGS(a_half_written_layout_is_kept, setup_state),
		TEST_ALL(MEM_OP_11_chains_in_flight_are_answered_once, setup_state),
		TEST_ALL(MEM_OP_04_work_put_off_is_asked_for_again, setup_state),
		TEST_RINGS(MEM_PLUG_07_a_plug_that_waits_stays_admitted, setup_state),
		TEST_BUSES(STAT_08_work_of_a_device_that_FAILED_cannot_be_saved, setup_state),
		TEST_ONCE(MEM_CFG_05_a_device_in_memory_that_was_in_use_can_be_moved,
			  rig_setup_mem),
		TEST_ONCE(MEM_PLUG_04_an_overlong_request_that_waits_is_refused, setup_state),
		TEST_RINGS(MEM_PLUG_08_another_request_is_not_admitted, setup_state),
		TEST_RINGS(MEM_PLUG_08_an_unplug_that_waits_admits_no_plug, setup_state),
		TEST_RINGS(RST_03_a_reset_ends_that_admission, setup_state),
		TEST_RINGS(the_saved_device_goes_on_unchanged, setup_state),
		TEST_RINGS(work_that_was_reset_away_cannot_be_saved, setup_state),
		TEST_RINGS(what_cannot_be_is_refused_by_name, setup_state),
		TEST_ONCE(a_device_with_listeners_is_not_fresh, setup_state),
		TEST_RINGS(RST_03_a_device_with_plugged_blocks_is_not_fresh, setup_state),
		TEST_RINGS(RST_03_nothing_is_loaded_while_the_host_works, setup_state),
		TEST_ONCE(nothing_is_loaded_inside_a_system_reset, setup_state),
		TEST_RINGS(damaged_fields_have_their_names, setup_state),
		TEST_RINGS(STAT_01_no_driver_runs_without_its_features, setup_state),
		TEST_ONCE(a_bitmap_has_its_form, setup_state),
		TEST_ONCE(the_record_wins_over_what_was_set_before, setup_state),
		TEST_ONCE(MEM_INIT_01_a_record_of_a_driver_that_would_be_refused_is_refused,
			  setup_state),
		TEST_RINGS(MEM_CFG_06_no_changed_byte_makes_an_impossible_device, setup_state),
		TEST_RINGS(MEM_CFG_06_no_random_record_makes_an_impossible_device, setup_state),
		TEST_RINGS(each_cut_and_each_excess_is_refused, setup_state),
		TEST_RINGS(HOST_REG_14_a_ring_that_is_gone_needs_a_reset, setup_way),
		TEST_RINGS(HOST_MEM_06_rings_in_plugged_blocks_are_there_after_a_load, setup_way),
		TEST_RINGS(HOST_MEM_06_a_load_takes_a_block_away_under_a_ring, setup_way),
		TEST_RINGS(a_record_of_1_TiB_is_small, setup_way),
		TEST_RINGS(the_worst_bitmap_fits, setup_state),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
