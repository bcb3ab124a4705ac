/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the records of all device types have in common: queues that the device has not so, or
 * not at all, devices that had stopped, refusals that leave nothing behind.
 */
#include "device_move.h"

/* A device type, made anew with queues of so many entries at most (0: the usual ones). */
struct type {
	void (*fresh)(struct rig *rig, uint16_t queue_size);
	uint32_t queues;
	bool stages; /* may leave used entries for a later run to show */
};

static const struct type *type;

static void fresh_balloon(struct rig *rig, uint16_t queue_size)
{
	struct vmemdev_balloon_config config;

	rig_balloon_config(rig, &config);
	config.device.queue_size = queue_size;
	rig_fresh_balloon(rig, &config);
}

static void fresh_mem(struct rig *rig, uint16_t queue_size)
{
	struct vmemdev_mem_config config;

	rig_mem_config(rig, &config);
	config.device.queue_size = queue_size;
	rig_fresh_mem(rig, &config);
}

static void fresh_pmem(struct rig *rig, uint16_t queue_size)
{
	struct vmemdev_pmem_config config;

	rig_pmem_config(rig, &config);
	config.device.queue_size = queue_size;
	rig_fresh_pmem(rig, &config);
}

static int setup_balloon(void **state)
{
	static const struct type balloon = {fresh_balloon, 2, true};

	type = &balloon;
	return rig_setup_balloon_live(state);
}

static int setup_mem(void **state)
{
	static const struct type mem = {fresh_mem, 1, false};

	type = &mem;
	return rig_setup_mem_live(state);
}

static int setup_pmem(void **state)
{
	static const struct type pmem = {fresh_pmem, 1, false};

	type = &pmem;
	return rig_setup_pmem_live(state);
}

static void fresh(struct rig *rig)
{
	type->fresh(rig, 0);
}

/* Where queue @queue of @count is. */
static size_t queue_at(const struct record *record, uint32_t queue, uint32_t count)
{
	return record->len - (count - queue) * (size_t)REC_Q_BYTES;
}

/* The device type's last queue. */
static size_t last_queue(const struct record *record)
{
	return queue_at(record, type->queues - 1, type->queues);
}

/* Loading @record into a fresh device is refused so, and nobody hears of it. */
static void expect_refused(struct rig *rig, const struct record *record, int err)
{
	uint32_t errors = rig->errors;

	host_forget(rig);
	assert_int_equal(rig_load(rig, record), err);
	assert_int_equal(rig->host.count, 0);
	assert_int_equal(rig->errors, errors);
	assert_int_equal(vmemdev_device_status(rig->dev), 0);
	assert_int_equal(vmemdev_device_fault(rig->dev), 0);
	for (uint16_t queue = 0; queue < type->queues; queue++)
		assert_false(vmemdev_device_queue_enabled(rig->dev, queue));
}

/* A record of a running device, or of one that has stopped. */
static void save_as(struct rig *rig, bool stopped, struct record *record)
{
	fresh(rig);
	drv_reset(rig);
	drv_start(rig, 0);
	if (stopped) {
		drv_break(rig, 0);
		assert_true(rig_run(rig) < 0);
	}
	rig_save(rig, record);
}

/* shows: VQ-SPLIT-02 HOST-REG-12 */
static void VQ_SPLIT_02_queues_larger_than_the_devices_are_refused(void **state)
{
	static const uint16_t sizes[] = {32, 64, 128, 256};
	struct rig *rig = *state;
	struct record record;

	for (int stopped = 0; stopped < 2; stopped++) {
		save_as(rig, stopped, &record);
		assert_int_equal(record_get(&record, last_queue(&record) + REC_Q_SIZE, 4), 128);
		for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
			type->fresh(rig, sizes[i]);
			if (sizes[i] < 128)
				expect_refused(rig, &record, VMEMDEV_E_MISMATCH);
			else
				assert_int_equal(rig_load(rig, &record), 0);
		}
	}
}

/* Wherever guest memory is, no ring lies so. */
/* shows: HOST-REG-14 VQ-SPLIT-01 VQ-SPLIT-02 */
static void HOST_REG_14_rings_that_cannot_be_laid_out_so_are_refused(void **state)
{
	struct rig *rig = *state;
	const int split_only = rig->way.packed ? VMEMDEV_E_RECORD : 0;
	const int packed_only = rig->way.packed ? 0 : VMEMDEV_E_RECORD;
	struct record good, bad;

	for (int stopped = 0; stopped < 2; stopped++) {
		size_t queue;

		save_as(rig, stopped, &good);
		queue = last_queue(&good);
		{
			const struct damage rows[] = {
				{queue + REC_Q_SIZE, 4, 0, VMEMDEV_E_RECORD},
				{queue + REC_Q_SIZE, 4, 100, packed_only},
				{queue + REC_Q_SIZE, 4, 129, VMEMDEV_E_MISMATCH},
				{queue + REC_Q_SIZE, 4, 65536 + 64, VMEMDEV_E_MISMATCH},
				{queue + REC_Q_DESC, 1, 8, VMEMDEV_E_RECORD},
				{queue + REC_Q_DRIVER, 1, 1, VMEMDEV_E_RECORD},
				{queue + REC_Q_DRIVER, 1, 2, split_only},
				{queue + REC_Q_DEVICE, 1, 2, VMEMDEV_E_RECORD},
			};

			rig_expect_damages(rig, &good, rows, ARRAY_LEN(rows), fresh);
		}
		bad = good;
		record_set(&bad, queue + REC_Q_DEVICE, 1, 2);
		fresh(rig);
		expect_refused(rig, &bad, VMEMDEV_E_RECORD);
	}
}

/* Only a balloon leaves used entries staged; the others would not show them in time. */
/* shows: VQ-PACK-10 */
static void VQ_PACK_10_staged_entries_where_nothing_is_staged(void **state)
{
	struct rig *rig = *state;
	struct record record;

	rig_save(rig, &record);
	record_set(&record, last_queue(&record) + REC_Q_STAGED, 2, 1);
	record_set(&record, last_queue(&record) + REC_Q_FIRST_FLAGS, 2,
		   rig->way.packed ? 0x8080 : 0);
	fresh(rig);
	if (type->stages)
		assert_int_equal(rig_load(rig, &record), 0);
	else
		expect_refused(rig, &record, VMEMDEV_E_RECORD);
}

/* Refused by its last byte, when all else is loaded. */
static void a_refused_load_leaves_nothing_behind(void **state)
{
	struct rig *rig = *state;
	struct record bad;

	for (int stopped = 0; stopped < 2; stopped++) {
		save_as(rig, stopped, &bad);
		bad.bytes[bad.len++] = 0;
		record_set(&bad, REC_LEN, 4, bad.len);
		fresh(rig);
		expect_refused(rig, &bad, VMEMDEV_E_RECORD);
		assert_int_equal(vmemdev_device_accepted(rig->dev, 0), 0);
		assert_int_equal(vmemdev_device_accepted(rig->dev, 1), 0);
		assert_false(vmemdev_device_pending(rig->dev));
		assert_int_equal(rig_run(rig), 0);
	}
}

/* A minor version belongs to its major one. */
static void no_minor_version_makes_an_old_record_newer(void **state)
{
	static const struct damage rows[] = {
		{REC_MAJOR, 4, 0x00000000, VMEMDEV_E_RECORD}, /* there was no such version */
		{REC_MAJOR, 4, 0x00010000, VMEMDEV_E_RECORD},
		{REC_MAJOR, 4, 0xffff0000, VMEMDEV_E_RECORD},
		{REC_MAJOR, 4, 0x00000001, 0},
		{REC_MAJOR, 4, 0x00010001, VMEMDEV_E_VERSION},
		{REC_MAJOR, 4, 0x00000002, VMEMDEV_E_VERSION},
	};
	struct rig *rig = *state;
	struct record good;

	rig_save(rig, &good);
	rig_expect_damages(rig, &good, rows, ARRAY_LEN(rows), fresh);
}

/* What a stopped device had staged nobody will see: no record tells of it. */
/* shows: STAT-05 HOST-REG-14 */
static void STAT_05_a_record_of_a_stopped_device(void **state)
{
	struct rig *rig = *state;
	struct record good;
	size_t queue;

	save_as(rig, true, &good);
	queue = last_queue(&good);
	{
		const struct damage rows[] = {
			{queue + REC_Q_STAGED, 2, 0, 0},
			{queue + REC_Q_STAGED, 2, 1, VMEMDEV_E_RECORD},
			{queue + REC_Q_FIRST_FLAGS, 2, 0x8080, VMEMDEV_E_RECORD},
			{REC_FAULT, 1, 31, VMEMDEV_E_RECORD},
			{REC_FAULT, 1, 32, 0},
			{REC_FAULT, 1, 35, 0},
			{REC_FAULT, 1, 36, VMEMDEV_E_RECORD},
			{REC_FAULT, 1, 0, VMEMDEV_E_RECORD},
			{REC_FAULT, 1, 0x80, VMEMDEV_E_RECORD},
		};

		rig_expect_damages(rig, &good, rows, ARRAY_LEN(rows), fresh);
	}
}

/* What is staged is in the ring, and in its format; there is not more than the ring holds. */
/* shows: VQ-PACK-10 HOST-REG-14 */
static void VQ_PACK_10_a_record_of_staged_entries(void **state)
{
	static const uint16_t some[] = {0, 1, 0x80, 0x8000, 0x8080, 0x8081, 0x8084};
	struct rig *rig = *state;
	struct record good, bad;
	size_t queue;

	rig_save(rig, &good);
	queue = queue_at(&good, 0, 2);
	for (uint16_t staged = 0; staged <= 129; staged++) {
		bool fits = staged > 0 && staged <= 128;

		bad = good;
		record_set(&bad, queue + REC_Q_STAGED, 2, staged);
		record_set(&bad, queue + REC_Q_FIRST_FLAGS, 2, rig->way.packed ? 0x8082 : 0);
		fresh(rig);
		assert_int_equal(rig_load(rig, &bad), fits || (!staged && !rig->way.packed)
							      ? 0
							      : VMEMDEV_E_RECORD);
	}
	for (size_t i = 0; rig->way.packed && i < 2 * ARRAY_LEN(some); i++) {
		uint16_t wrap = i >= ARRAY_LEN(some), flags = some[i % ARRAY_LEN(some)];
		bool right = flags == (wrap ? 0x8080 : 0);

		bad = good;
		record_set(&bad, queue + REC_Q_WRAP, 1, wrap);
		record_set(&bad, queue + REC_Q_STAGED, 2, 1);
		record_set(&bad, queue + REC_Q_FIRST_FLAGS, 2, flags);
		fresh(rig);
		assert_int_equal(rig_load(rig, &bad), right ? 0 : VMEMDEV_E_RECORD);
	}
}

/* A balloon with the text's numbering of queues has none of numbers 2 and 3. */
static void fresh_reporting(struct rig *rig)
{
	struct vmemdev_balloon_config config;

	rig_balloon_config(rig, &config);
	config.reporting = true;
	config.text_queues_only = true;
	rig_fresh_balloon(rig, &config);
}

/* shows: HOST-REG-11 */
static void HOST_REG_11_a_record_of_queues_that_are_not_there(void **state)
{
	struct rig *rig = *state;
	struct record good;

	fresh_reporting(rig);
	rig_save(rig, &good);
	{
		const struct damage rows[] = {
			{queue_at(&good, 2, 5) + REC_Q_FLAGS, 1, 1, VMEMDEV_E_MISMATCH},
			{queue_at(&good, 3, 5) + REC_Q_FLAGS, 1, 1, VMEMDEV_E_MISMATCH},
			{queue_at(&good, 2, 5) + REC_Q_FLAGS, 1, 2, VMEMDEV_E_RECORD},
			{queue_at(&good, 2, 5) + REC_Q_WRAP, 1, 2, VMEMDEV_E_RECORD},
			{REC_QUEUES, 1, 4, VMEMDEV_E_MISMATCH},
		};

		rig_expect_damages(rig, &good, rows, ARRAY_LEN(rows), fresh_reporting);
	}
}

#define TEST_TYPE(f, setup, name) \
	TEST_WAY(f, setup, name ", split", 0), TEST_WAY(f, setup, name ", packed", 1)
#define TEST_TYPES(f) \
	TEST_TYPE(f, setup_balloon, "balloon"), TEST_TYPE(f, setup_mem, "mem"), \
	TEST_TYPE(f, setup_pmem, "pmem")

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_TYPES(VQ_SPLIT_02_queues_larger_than_the_devices_are_refused),
		TEST_TYPES(HOST_REG_14_rings_that_cannot_be_laid_out_so_are_refused),
		TEST_TYPES(VQ_PACK_10_staged_entries_where_nothing_is_staged),
		TEST_TYPES(a_refused_load_leaves_nothing_behind),
		TEST_TYPES(no_minor_version_makes_an_old_record_newer),
		TEST_TYPES(STAT_05_a_record_of_a_stopped_device),
		TEST_RINGS(VQ_PACK_10_a_record_of_staged_entries, setup_balloon),
		TEST_ONCE(HOST_REG_11_a_record_of_queues_that_are_not_there, setup_balloon),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
