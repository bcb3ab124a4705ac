/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Persistent memory devices stopped, saved and loaded: no request is lost or answered twice,
 * no failure turns into success, and no record, however damaged, makes an impossible device.
 */
#include "device_move.h"

/* The device's part of a record (lib/device/pmem.c). */
enum { REC_ADDR = REC_TYPE, REC_SIZE = REC_TYPE + 8, REC_OWED = REC_TYPE + 16, REC_END = REC_TYPE + 20 };

static int setup_later(void **state)
{
	struct rig *rig;

	rig_setup_pmem_live(state);
	rig = *state;
	rig->host.answer = VMEMDEV_LATER;
	return 0;
}

static void run(struct rig *rig)
{
	assert_int_equal(rig_run(rig), 0);
}

static void end(struct rig *rig, int result)
{
	assert_int_equal(rig_complete(rig, rig->host.token, result), 0);
	run(rig);
}

static void stop_and_go_on(struct rig *rig)
{
	struct vmemdev_vq_state at;
	struct vmemdev_vq_layout *layout;

	assert_int_equal(vmemdev_device_queue_stop(rig->dev, 0, &at), 0);
	run(rig);
	layout = vmemdev_device_queue_layout(rig->dev, 0);
	assert_non_null(layout);
	*layout = rig->driver.queues[0].layout;
	assert_int_equal(vmemdev_device_queue_resume(rig->dev, 0, &at), 0);
}

/* shows: PMEM-09 PMEM-11 */
static void PMEM_09_a_queue_stops_only_between_flushes(void **state)
{
	struct rig *rig = *state;
	struct vmemdev_vq_state at;

	for (uint32_t lap = 0; lap < 200; lap++) {
		uint32_t answer = lap % 2 ? FLUSH_OK : FLUSH_FAILED;

		flush_post(rig, 0);
		flush_post(rig, 1);
		run(rig);
		assert_int_equal(vmemdev_device_queue_stop(rig->dev, 0, &at), VMEMDEV_E_STATE);
		flush_post(rig, 2);
		assert_int_equal(rig_complete(rig, rig->host.token, lap % 2 ? 0 : VMEMDEV_E_HOST),
				 0);
		assert_int_equal(vmemdev_device_queue_stop(rig->dev, 0, &at), VMEMDEV_E_STATE);
		rig->host.answer = 0;
		run(rig);
		flush_post(rig, 3);
		stop_and_go_on(rig);
		run(rig);
		rig->host.answer = VMEMDEV_LATER;
		assert_int_equal(flush_take(rig, 0), answer);
		assert_int_equal(flush_take(rig, 1), answer);
		assert_int_equal(flush_take(rig, 2), FLUSH_OK);
		assert_int_equal(flush_take(rig, 3), FLUSH_OK);
		assert_int_equal(flush_take(rig, 0), FLUSH_NONE);
	}
}

/* A flush that nobody waits for any more does not hold a stop up. */
/* shows: PMEM-09 */
static void PMEM_09_a_stop_while_a_flush_is_reset_away(void **state)
{
	struct rig *rig = *state;

	flush_post(rig, 0);
	run(rig);
	drv_reset(rig);
	drv_start(rig, 0);
	flush_post(rig, 1);
	stop_and_go_on(rig);
	run(rig);
	assert_int_equal(rig->host.count, 1);
	end(rig, VMEMDEV_E_HOST);
	end(rig, 0);
	assert_int_equal(flush_take(rig, 1), FLUSH_FAILED);
}

/* shows: PMEM-06 PMEM-07 PMEM-11 */
static void PMEM_06_a_flush_that_waits_is_asked_for_again_after_a_load(void **state)
{
	static const uint64_t features[] = {0, VMEMDEV_F_EVENT_IDX};
	struct rig *rig = *state;

	for (size_t i = 0; i < ARRAY_LEN(features); i++) {
		drv_reset(rig);
		drv_start(rig, features[i]);
		for (uint32_t lap = 0; lap < 200; lap++) {
			for (uint32_t k = 0; k < 3; k++)
				flush_post_as(rig, k, k == 1, 4, 4);
			drv_kick(rig, 0);
			run(rig);
			flush_post(rig, 3);
			host_forget(rig);
			rig_move_pmem(rig, NULL);
			assert_int_equal(rig->host.count, 0);
			assert_int_equal(rig_complete(rig, rig->host.token, 0), VMEMDEV_E_STATE);
			run(rig);
			assert_int_equal(rig->host.count, 1);
			assert_int_equal(flush_take(rig, 0), FLUSH_NONE);
			guest_queue_interrupts_on(&rig->driver.queues[0]);
			end(rig, 0);
			assert_true(drv_took_queue_irq(rig));
			for (uint32_t k = 0; k < 4; k++)
				assert_int_equal(flush_take(rig, k),
						 k == 1 ? FLUSH_FAILED : FLUSH_OK);
			assert_int_equal(flush_take(rig, 0), FLUSH_NONE);
		}
	}
}

/* shows: PMEM-09 */
static void PMEM_09_a_failure_not_answered_yet_is_in_the_record(void **state)
{
	struct rig *rig = *state;

	for (int reset = 0; reset < 2; reset++) {
		flush_post(rig, 0);
		run(rig);
		assert_int_equal(rig_complete(rig, rig->host.token, VMEMDEV_E_HOST), 0);
		if (reset) {
			drv_reset(rig);
			drv_start(rig, 0);
			flush_post(rig, 0);
		}
		rig_move_pmem(rig, NULL);
		rig_move_pmem(rig, NULL);
		run(rig);
		end(rig, 0);
		assert_int_equal(flush_take(rig, 0), FLUSH_FAILED);
		rig_move_pmem(rig, NULL);
		flush_post(rig, 0);
		run(rig);
		end(rig, 0);
		assert_int_equal(flush_take(rig, 0), FLUSH_OK);
	}
}

static void a_flush_that_was_reset_away_cannot_be_saved(void **state)
{
	struct rig *rig = *state;
	struct record record;

	flush_post(rig, 0);
	run(rig);
	drv_reset(rig);
	assert_int_equal(vmemdev_device_save(rig->dev, record.bytes, RECORD_MAX, &record.len),
			 VMEMDEV_E_STATE);
	assert_int_equal(rig_complete(rig, rig->host.token, 0), 0);
	rig_move_pmem(rig, NULL);
	drv_start(rig, 0);
	flush_post(rig, 0);
	run(rig);
	end(rig, 0);
	assert_int_equal(flush_take(rig, 0), FLUSH_OK);
}

/* shows: STAT-08 */
static void STAT_08_a_flush_of_a_device_that_FAILED_cannot_be_saved(void **state)
{
	struct rig *rig = *state;
	struct record record;

	flush_post(rig, 0);
	run(rig);
	drv_set_status(rig, DRV_LIVE | VMEMDEV_STATUS_FAILED);
	assert_int_equal(vmemdev_device_save(rig->dev, record.bytes, RECORD_MAX, &record.len),
			 VMEMDEV_E_STATE);
	assert_int_equal(rig_complete(rig, rig->host.token, VMEMDEV_E_HOST), 0);
	rig_move_pmem(rig, NULL);
	/* the failure is not forgotten */
	rig->host.answer = 0;
	drv_reset(rig);
	drv_start(rig, 0);
	assert_int_equal(flush_send(rig), FLUSH_FAILED);
	assert_int_equal(flush_send(rig), FLUSH_OK);
}

/* shows: PMEM-03 PMEM-04 */
static void PMEM_03_what_was_negotiated_is_kept(void **state)
{
	struct rig *rig = rig_bare(*state);
	struct vmemdev_pmem_config config;
	struct record record;

	*state = rig;
	rig_pmem_config(rig, &config);
	config.shmem_region = true;
	rig_make_pmem(rig, &config);
	drv_start(rig, VMEMDEV_PMEM_F_SHMEM_REGION);
	rig_move_pmem(rig, &config);
	assert_true(guest_driver_config64(&rig->driver, PMEM_CFG_SIZE) == 0);
	assert_int_equal(flush_send(rig), FLUSH_OK);
	rig_save(rig, &record);
	rig_fresh_pmem(rig, NULL); /* without the feature */
	assert_int_equal(rig_load(rig, &record), VMEMDEV_E_MISMATCH);
}

static void fresh(struct rig *rig)
{
	rig_fresh_pmem(rig, NULL);
}

static void damaged_fields_have_their_names(void **state)
{
	static const struct damage rows[] = {
		{REC_MAGIC, 4, 0, VMEMDEV_E_RECORD},
		{REC_MAJOR, 2, 2, VMEMDEV_E_VERSION},
		{REC_MINOR, 2, 1, VMEMDEV_E_VERSION},
		{REC_ID, 4, 24, VMEMDEV_E_MISMATCH},
		{REC_ACCEPTED, 8, VMEMDEV_F_VERSION_1 | VMEMDEV_PMEM_F_SHMEM_REGION,
		 VMEMDEV_E_MISMATCH},
		{REC_QUEUES, 1, 2, VMEMDEV_E_MISMATCH},
		{REC_ADDR, 8, PMEM_GPA + 4096, VMEMDEV_E_MISMATCH},
		{REC_SIZE, 8, PMEM_SIZE - 4096, VMEMDEV_E_MISMATCH},
		{REC_OWED, 4, 2, VMEMDEV_E_RECORD},
		{REC_OWED, 4, UINT32_MAX, VMEMDEV_E_RECORD},
		{REC_END + REC_Q_FLAGS, 1, 2, VMEMDEV_E_RECORD},
	};
	struct rig *rig = *state;
	struct record good, bad;

	rig_save(rig, &good);
	assert_int_equal(good.len, REC_END + REC_Q_BYTES);
	assert_int_equal(vmemdev_device_save_size(rig->dev), good.len);
	rig_expect_damages(rig, &good, rows, ARRAY_LEN(rows), fresh);
	for (size_t len = 0; len < good.len; len++) {
		bad = good;
		bad.len = len;
		record_set(&bad, REC_LEN, 4, len);
		rig_fresh_pmem(rig, NULL);
		assert_int_equal(rig_load(rig, &bad), VMEMDEV_E_RECORD);
	}
	rig_fresh_pmem(rig, NULL);
	assert_int_equal(rig_load(rig, &good), 0);
	run(rig);
}

/* Whatever was loaded, the device can be run, and a driver can begin anew with it. */
static void random_damage_makes_no_impossible_device(void **state)
{
	struct rig *rig = *state;
	uint64_t mark = guest_place_mark(&rig->memory);
	struct guest_random random;
	struct record good, bad;
	uint32_t loaded = 0;

	for (uint32_t i = 0; i < 3; i++)
		flush_post(rig, i);
	run(rig);
	rig_save(rig, &good);
	guest_random_seed(&random, 5);
	for (uint32_t i = 0; i < 3000; i++) {
		int err;

		bad = good;
		for (uint32_t n = 1 + guest_random_below(&random, 3); n > 0; n--) {
			size_t at = REC_ID + guest_random_below(&random,
								(uint32_t)(good.len - REC_ID));

			bad.bytes[at] ^= (uint8_t)(1 << guest_random_below(&random, 8));
		}
		rig_fresh_pmem(rig, NULL);
		rig->host.answer = guest_random_below(&random, 2) ? VMEMDEV_LATER : 0;
		err = rig_load(rig, &bad);
		if (err != 0) {
			assert_true(err <= VMEMDEV_E_RECORD && err >= VMEMDEV_E_MISMATCH);
			assert_int_equal(vmemdev_device_status(rig->dev), 0);
			continue;
		}
		loaded++;
		err = rig_run(rig);
		assert_true(err == 0 || (err <= VMEMDEV_E_GUEST_RING && err >= VMEMDEV_E_GUEST_REPLY));
		drv_reset(rig);
		(void)rig_complete(rig, 1, 0);
		guest_place_release(&rig->memory, mark);
		drv_start(rig, 0);
		rig->host.answer = 0;
		assert_int_not_equal(flush_send(rig), FLUSH_NONE);
		assert_int_equal(flush_send(rig), FLUSH_OK);
	}
	assert_true(loaded > 100);
}

/* A flush that failed, or may fail yet, is not forgotten for a record. */
/* shows: PMEM-09 */
static void PMEM_09_a_device_that_owes_a_failure_is_not_fresh(void **state)
{
	struct rig *rig = *state;
	struct record record;

	drv_reset(rig);
	rig_save(rig, &record);
	drv_start(rig, 0);
	flush_post(rig, 0);
	run(rig);
	drv_reset(rig);
	/* the flush goes on; it has failed */
	assert_int_equal(rig_load(rig, &record), VMEMDEV_E_STATE);
	assert_int_equal(rig_complete(rig, rig->host.token, VMEMDEV_E_HOST), 0);
	assert_int_equal(rig_load(rig, &record), VMEMDEV_E_STATE);
	rig->host.answer = 0;
	drv_start(rig, 0);
	assert_int_equal(flush_send(rig), FLUSH_FAILED);
	/* and was told */
	drv_reset(rig);
	assert_int_equal(rig_load(rig, &record), 0);
	drv_start(rig, 0);
	assert_int_equal(flush_send(rig), FLUSH_OK);
}

static int setup_way(void **state)
{
	(void)state;
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_ALL(PMEM_09_a_queue_stops_only_between_flushes, setup_later),
		TEST_RINGS(PMEM_09_a_stop_while_a_flush_is_reset_away, setup_later),
		TEST_ALL(PMEM_06_a_flush_that_waits_is_asked_for_again_after_a_load, setup_later),
		TEST_ALL(PMEM_09_a_failure_not_answered_yet_is_in_the_record, setup_later),
		TEST_RINGS(a_flush_that_was_reset_away_cannot_be_saved, setup_later),
		TEST_BUSES(STAT_08_a_flush_of_a_device_that_FAILED_cannot_be_saved, setup_later),
		TEST_ALL(PMEM_03_what_was_negotiated_is_kept, setup_way),
		TEST_RINGS(PMEM_09_a_device_that_owes_a_failure_is_not_fresh, setup_later),
		TEST_RINGS(damaged_fields_have_their_names, rig_setup_pmem_live),
		TEST_RINGS(random_damage_makes_no_impossible_device, setup_later),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
