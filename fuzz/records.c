/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Devices saved, loaded and moved. A record saved here always loads, and the driver sees the
 * same configuration; what is saved after a load is what was loaded; a record from anywhere is
 * refused with one of three errors and leaves nothing behind, or makes a device that keeps to all
 * the rules of machine.h. Nothing is read beyond a record.
 */
#include "machine.h"

#include <stdlib.h>
#include <string.h>

enum { HEADER = 16, QUEUE = 36, MMIO_INTERRUPTS = 32, CONFIG = 64 };
enum { MMIO_ID = 0x4d4d4d56, DEVICE_ID = 0x44564d56 };

int port_save(const struct port *p, struct record *record)
{
	const size_t most = vmemdev_device_save_size(p->dev);
	int err;

	require(most <= RECORD_MAX);
	memset(record, 0, sizeof(*record));
	err = vmemdev_device_save(p->dev, record->device, most, &record->len);
	require(err == 0 || err == VMEMDEV_E_STATE);
	require(vmemdev_mmio_save(&p->mmio, record->mmio, sizeof(record->mmio)) == 0);
	return err;
}

bool records_equal(const struct record *a, const struct record *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

static void put(uint8_t *at, uint32_t bytes, uint64_t value)
{
	for (uint32_t i = 0; i < bytes; i++)
		at[i] = (uint8_t)(value >> 8 * i);
}

static void put_header(uint8_t *record, uint32_t magic, size_t len, uint32_t id)
{
	put(record, 4, magic);
	put(record + 4, 2, 1);
	put(record + 6, 2, 0);
	put(record + 8, 4, len);
	put(record + 12, 4, id);
}

/* Where the record says that the rings are; its end holds them, 36 bytes each. */
static void layouts_of(struct port *p, const struct record *record)
{
	const uint16_t count = vmemdev_device_queue_count(p->dev);
	struct input in;

	if (record->len < HEADER + QUEUE * (size_t)count)
		return;
	in.end = record->device + record->len;
	in.at = in.end - QUEUE * (size_t)count;
	for (uint16_t i = 0; i < count; i++) {
		struct vmemdev_vq_layout layout = { 0 };

		(void)take(&in, 8);
		layout.size = (uint32_t)take(&in, 4);
		layout.desc = take(&in, 8);
		layout.driver = take(&in, 8);
		layout.device = take(&in, 8);
		/* A queue that was stopped is in the transport's hands. */
		if (!p->stopped[i])
			p->layouts[i] = layout;
	}
}

/* From an allocation of its own, beyond which nothing may be read. */
static int load_exactly(struct vmemdev_device *dev, const struct record *record)
{
	uint8_t *exact = malloc(record->len);
	int err;

	require(exact != NULL || record->len == 0);
	if (record->len > 0)
		memcpy(exact, record->device, record->len);
	/* A NULL is no record. */
	err = vmemdev_device_load(dev, exact != NULL ? exact : record->device, record->len);
	free(exact);
	return err;
}

/* Nothing of a record that was refused is left where the driver or another device could meet it. */
static void check_refused(struct machine *m, int err)
{
	const struct vmemdev_device *dev = m->ports[m->which].dev;

	require(err == VMEMDEV_E_RECORD || err == VMEMDEV_E_VERSION || err == VMEMDEV_E_MISMATCH);
	require(vmemdev_device_status(dev) == 0 && vmemdev_device_fault(dev) == 0);
	require(!vmemdev_device_pending(dev));
	for (uint32_t word = 0; word < 3; word++)
		require(vmemdev_device_accepted(dev, word) == 0);
	for (uint16_t i = 0; i < vmemdev_device_queue_count(dev); i++)
		require(!vmemdev_device_queue_enabled(dev, i));
	require(m->which != NUMBER_MEM || m->w.bitmap[0] == 0);
}

/* A device made anew takes the record over. Returns what load answers. */
static int load(struct machine *m, const struct record *record)
{
	struct port *p = &m->ports[m->which];
	int err;

	if (m->which == NUMBER_MEM)
		mem_leave(m);
	machine_create(m, m->which);
	layouts_of(p, record);
	err = load_exactly(p->dev, record);
	if (err != 0) {
		check_refused(m, err);
		machine_create(m, m->which);
	}
	/* Which blocks are there is for the host to see to: it does what the record says. */
	if (m->present & 1u << NUMBER_MEM)
		m->w.plugged = (uint32_t)m->w.bitmap[0];
	if (m->which == NUMBER_MEM)
		mem_moved(m);
	else if (m->which == NUMBER_BALLOON)
		balloon_moved(m);
	return err;
}

static void move(struct machine *m)
{
	struct port *p = &m->ports[m->which];
	const int fault = vmemdev_device_fault(p->dev);
	uint8_t shown[CONFIG], shown_after[CONFIG];
	struct record before, after;

	if (port_save(p, &before) != 0)
		return;
	vmemdev_device_config_read(p->dev, 0, shown, CONFIG);
	require(load(m, &before) == 0);
	vmemdev_device_config_read(p->dev, 0, shown_after, CONFIG);
	require(memcmp(shown, shown_after, CONFIG) == 0);
	require(vmemdev_mmio_load(&p->mmio, before.mmio, sizeof(before.mmio)) == 0);
	/* But for a ring that is no memory any more. */
	if (vmemdev_device_fault(p->dev) == fault)
		require(port_save(p, &after) == 0 && records_equal(&before, &after));
}

/* A record that may be anything; if it loads, moving on from there changes nothing. */
static void load_any(struct machine *m, const struct record *record)
{
	struct record before, after;
	struct port *p = &m->ports[m->which];

	m->honest = false;
	if (load(m, record) != 0 || vmemdev_device_fault(p->dev) != 0)
		return;
	require(port_save(p, &before) == 0);
	require(load(m, &before) == 0 && vmemdev_device_fault(p->dev) == 0);
	require(port_save(p, &after) == 0 && records_equal(&before, &after));
}

static void load_made(struct machine *m, struct input *in)
{
	const uint64_t form = take(in, 1) % RECORD_FORMS;
	size_t len = take(in, 2) % RECORD_MAX;
	struct record record = { .len = 0 };

	if (len > (size_t)(in->end - in->at))
		len = (size_t)(in->end - in->at);
	if (form == RECORD_HEADED) {
		record.len = HEADER;
		len = len > RECORD_MAX - HEADER ? RECORD_MAX - HEADER : len;
	}
	for (size_t i = 0; i < len; i++)
		record.device[record.len++] = (uint8_t)take(in, 1);
	if (form == RECORD_HEADED)
		put_header(record.device, DEVICE_ID, record.len,
			   vmemdev_device_id(m->ports[m->which].dev));
	load_any(m, &record);
}

static void edit(struct machine *m, struct input *in)
{
	struct record record;
	uint64_t count = take(in, 1) & 15, place;

	if (port_save(&m->ports[m->which], &record) != 0)
		return;
	for (; count > 0; count--) {
		place = take(in, 2) % record.len;
		record.device[place] = (uint8_t)take(in, 1);
	}
	load_any(m, &record);
}

static void load_mmio(struct machine *m, struct input *in)
{
	struct port *p = &m->ports[m->which];
	struct record before, after;
	uint8_t made[VMEMDEV_MMIO_SAVE_SIZE] = { 0 };
	const bool headed = take(in, 1) % RECORD_FORMS == RECORD_HEADED;
	bool saved;
	int err;

	if (headed)
		put_header(made, MMIO_ID, sizeof(made), vmemdev_device_id(p->dev));
	for (size_t i = headed ? HEADER : 0; i < sizeof(made); i++)
		made[i] = (uint8_t)take(in, 1);
	m->honest = false;
	saved = port_save(p, &before) == 0;
	err = vmemdev_mmio_load(&p->mmio, made, sizeof(made));
	require(err == 0 || err == VMEMDEV_E_RECORD || err == VMEMDEV_E_VERSION ||
		err == VMEMDEV_E_MISMATCH);
	require((port_save(p, &after) == 0) == saved);
	/* What the driver has yet to be told of is added to. */
	made[MMIO_INTERRUPTS] |= before.mmio[MMIO_INTERRUPTS];
	require(err != 0 ? records_equal(&before, &after)
			 : memcmp(after.mmio, made, sizeof(made)) == 0);
}

void record_step(struct machine *m, uint64_t step, struct input *in)
{
	switch (step) {
	case STEP_MOVE:
		move(m);
		break;
	case STEP_LOAD:
		load_made(m, in);
		break;
	case STEP_EDIT:
		edit(m, in);
		break;
	default:
		load_mmio(m, in);
		break;
	}
}
