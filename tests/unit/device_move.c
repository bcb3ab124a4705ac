/* SPDX-License-Identifier: BSD-3-Clause */
#include "device_move.h"

/* What the model driver counts, as if its first device still were there. */

static void on_queue(void *ctx, uint16_t queue)
{
	struct guest_driver *d = ctx;

	assert_true(queue < VMEMDEV_QUEUES_MAX);
	d->queue_interrupts[queue]++;
	if (d->on_interrupt != NULL)
		d->on_interrupt(d->on_interrupt_ctx, false, queue);
}

static void on_config(void *ctx)
{
	struct guest_driver *d = ctx;

	d->config_interrupts++;
	if (d->on_interrupt != NULL)
		d->on_interrupt(d->on_interrupt_ctx, true, VMEMDEV_NO_QUEUE);
}

static void on_reset(void *ctx)
{
	struct guest_driver *d = ctx;

	d->resets++;
}

static void on_line(void *ctx, bool level)
{
	struct guest_driver *d = ctx;

	d->line = level;
	if (!level) {
		d->line_lowered++;
		return;
	}
	d->line_raised++;
	if (d->on_interrupt != NULL)
		d->on_interrupt(d->on_interrupt_ctx, false, VMEMDEV_NO_QUEUE);
}

static void connect(struct rig *rig)
{
	static const struct vmemdev_transport_ops direct = {
		.queue_interrupt = on_queue, .config_interrupt = on_config, .reset = on_reset};
	struct guest_driver *d = &rig->driver;
	struct vmemdev_mmio_config mmio = {.struct_size = sizeof(mmio)};

	if (d->transport == GUEST_DIRECT) {
		assert_int_equal(vmemdev_device_attach(rig->dev, &direct, d, UINT64_MAX), 0);
		return;
	}
	mmio.device = rig->dev;
	mmio.interrupt = on_line;
	mmio.ctx = d;
	assert_int_equal(vmemdev_mmio_init(&d->mmio, sizeof(d->mmio), &mmio), 0);
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
