/* SPDX-License-Identifier: BSD-3-Clause */
#include "device_move.h"

static void connect(struct rig *rig)
{
	assert_int_equal(guest_driver_connect(&rig->driver, rig->dev), 0);
}

void rig_fresh_mem(struct rig *rig, const struct vmemdev_mem_config *config)
{
	struct vmemdev_mem_config plain;

	rig_mem_config(rig, &plain);
	if (config == NULL)
		config = &plain;
	memset(&rig->mem, 0x5a, sizeof(rig->mem));
	memset(config->bitmap, 0x5a, config->bitmap_words * sizeof(*config->bitmap));
	assert_int_equal(vmemdev_mem_init(&rig->mem, sizeof(rig->mem), config), 0);
	connect(rig);
}

void rig_fresh_pmem(struct rig *rig, const struct vmemdev_pmem_config *config)
{
	struct vmemdev_pmem_config plain;

	rig_pmem_config(rig, &plain);
	memset(&rig->pmem, 0x5a, sizeof(rig->pmem));
	memset(rig->requests, 0x5a, sizeof(rig->requests));
	assert_int_equal(vmemdev_pmem_init(&rig->pmem, sizeof(rig->pmem),
					   config != NULL ? config : &plain), 0);
	connect(rig);
}

void rig_fresh_balloon(struct rig *rig, const struct vmemdev_balloon_config *config)
{
	struct vmemdev_balloon_config plain;

	rig_balloon_config(rig, &plain);
	memset(&rig->balloon, 0x5a, sizeof(rig->balloon));
	assert_int_equal(vmemdev_balloon_init(&rig->balloon, sizeof(rig->balloon),
					      config != NULL ? config : &plain), 0);
	connect(rig);
}

void rig_save(struct rig *rig, struct record *record)
{
	size_t size = vmemdev_device_save_size(rig->dev);

	assert_true(size <= RECORD_MAX);
	memset(record, 0x5a, sizeof(*record));
	assert_int_equal(vmemdev_device_save(rig->dev, record->bytes, size, &record->len), 0);
	assert_true(record->len <= size);
	for (size_t i = record->len; i < RECORD_MAX; i++)
		assert_int_equal(record->bytes[i], 0x5a);
}

int rig_load(struct rig *rig, const struct record *record)
{
	/* A copy of its own, so that a sanitizer sees a step beyond the end. */
	uint8_t *bytes = malloc(record->len + 1);
	int err;

	assert_non_null(bytes);
	memcpy(bytes + 1, record->bytes, record->len);
	err = vmemdev_device_load(rig->dev, bytes + 1, record->len);
	free(bytes);
	return err;
}

/* Load what was saved into the fresh device, which saves the same. */
static void arrive(struct rig *rig, const struct record *before)
{
	struct record after;

	assert_int_equal(rig_load(rig, before), 0);
	rig_save(rig, &after);
	assert_int_equal(after.len, before->len);
	assert_memory_equal(after.bytes, before->bytes, before->len);
}

void rig_move_mem(struct rig *rig, const struct vmemdev_mem_config *config)
{
	struct record before;

	rig_save(rig, &before);
	rig_fresh_mem(rig, config);
	arrive(rig, &before);
}

void rig_move_pmem(struct rig *rig, const struct vmemdev_pmem_config *config)
{
	struct record before;

	rig_save(rig, &before);
	rig_fresh_pmem(rig, config);
	arrive(rig, &before);
}

uint64_t record_get(const struct record *record, size_t at, size_t size)
{
	uint64_t value = 0;

	assert_true(at + size <= RECORD_MAX);
	for (size_t i = 0; i < size; i++)
		value |= (uint64_t)record->bytes[at + i] << (8 * i);
	return value;
}

void record_set(struct record *record, size_t at, size_t size, uint64_t value)
{
	assert_true(at + size <= RECORD_MAX);
	for (size_t i = 0; i < size; i++)
		record->bytes[at + i] = (uint8_t)(value >> (8 * i));
}

void rig_expect_damages(struct rig *rig, const struct record *good, const struct damage *rows,
			size_t count, void (*fresh)(struct rig *rig))
{
	for (size_t i = 0; i < count; i++) {
		struct record bad = *good;
		int err;

		record_set(&bad, rows[i].at, rows[i].size, rows[i].value);
		fresh(rig);
		err = rig_load(rig, &bad);
		if (err != rows[i].err)
			fail_msg("row %u: expected %d, got %d", (unsigned)i, rows[i].err, err);
	}
}
