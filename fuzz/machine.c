/* SPDX-License-Identifier: BSD-3-Clause */
#include "machine.h"

#include <stdlib.h>
#include <string.h>

enum { REG_MAGIC = 0x000, REG_INTERRUPTS = 0x060, REG_STATUS = 0x070, MAGIC = 0x74726976 };
enum { TURNS = 64 };

static const uint32_t first_slots[NUMBERS] = { 0, 5, 6 };
static const uint32_t used_most[NUMBERS] = { 0, 10, 4 };

static bool present(const struct machine *m, uint32_t number)
{
	return m->present >> number & 1;
}

static void interrupt(void *ctx, bool level)
{
	struct port *p = ctx;

	p->line = level;
}

static void guest_error(void *ctx, int err, uint16_t queue)
{
	struct port *p = ctx;

	require(++p->faults == 1 && err == vmemdev_device_fault(p->dev));
	require(queue < vmemdev_device_queue_count(p->dev) || queue == VMEMDEV_NO_QUEUE);
}

void machine_create(struct machine *m, uint32_t number)
{
	struct port *p = &m->ports[number];
	const uint64_t in_order = VMEMDEV_F_IN_ORDER;
	struct vmemdev_device_config device = {
		.guest = &m->w.mem->guest, .queue_size = RING_SIZE_MAX, .ctx = p,
		.guest_error = guest_error,
		.features_on = VMEMDEV_F_RING_PACKED | VMEMDEV_F_NOTIFICATION_DATA,
	};
	struct vmemdev_mmio_config mmio = { .struct_size = sizeof(mmio), .interrupt = interrupt,
					    .ctx = p, .vendor = 7 };

	if (!(m->options & MACHINE_IN_ORDER))
		device.features_off |= in_order;
	else if (number != NUMBER_MEM)
		device.features_on |= in_order;
	p->line = false;
	p->faults = 0;
	p->slot = first_slots[number];
	p->used_max = used_most[number];
	if (number == NUMBER_BALLOON)
		balloon_create(m, &device);
	else if (number == NUMBER_MEM)
		mem_create(m, &device);
	else
		pmem_create(m, &device);
	mmio.device = p->dev;
	require(vmemdev_mmio_init(&p->mmio, sizeof(p->mmio), &mmio) == 0);
}

struct machine *machine_open(uint32_t devices, uint32_t options, uint32_t balloon_options)
{
	struct machine *m = calloc(1, sizeof(*m));

	require(m != NULL);
	m->present = devices;
	m->options = options;
	m->balloon_options = balloon_options;
	m->honest = true;
	world_open(&m->w, options & MACHINE_CALLBACKS);
	if (!present(m, NUMBER_MEM) && (options & MACHINE_PLUGGED))
		m->w.bitmap[0] = m->w.plugged = 0x0ff0f731;
	for (uint32_t i = NUMBERS; i-- > 0;) {
		if (!present(m, i))
			continue;
		machine_create(m, i);
		m->which = i;
	}
	if (present(m, NUMBER_MEM))
		mem_moved(m);
	return m;
}

void machine_close(struct machine *m)
{
	for (uint32_t i = 0; i < NUMBERS; i++) {
		for (uint32_t q = 0; q < QUEUES_MAX; q++)
			lane_close(&m->ports[i].lanes[q]);
	}
	world_close(&m->w);
	free(m);
}

void port_note_layouts(struct port *p)
{
	for (uint16_t i = 0; i < vmemdev_device_queue_count(p->dev); i++) {
		const struct vmemdev_vq_layout *layout = vmemdev_device_queue_layout(p->dev, i);

		if (layout != NULL && !p->stopped[i])
			p->layouts[i] = *layout;
	}
}

void port_follow(struct machine *m, struct port *p)
{
	const uint32_t accepted = vmemdev_device_accepted(p->dev, 1);
	const bool packed = accepted & (uint32_t)(VMEMDEV_F_RING_PACKED >> 32);

	for (uint16_t i = 0; i < vmemdev_device_queue_count(p->dev); i++) {
		const bool enabled = vmemdev_device_queue_enabled(p->dev, i);

		if (!(vmemdev_device_status(p->dev) & VMEMDEV_STATUS_FEATURES_OK))
			p->stopped[i] = false;
		world_ring(&m->w, p->slot + i, enabled ? &p->layouts[i] : NULL, packed, p->used_max);
		if (!enabled && !p->stopped[i])
			lane_close(&p->lanes[i]);
	}
	if (vmemdev_device_fault(p->dev) == 0)
		p->faults = 0;
}

static void check_port(struct machine *m, struct port *p)
{
	const uint8_t status = vmemdev_device_status(p->dev);
	const int fault = vmemdev_device_fault(p->dev);

	require((status & 0x30) == 0);
	require(!(status & VMEMDEV_STATUS_DRIVER_OK) || (status & VMEMDEV_STATUS_FEATURES_OK));
	require((fault != 0) == ((status & VMEMDEV_STATUS_NEEDS_RESET) != 0));
	require(fault == 0 || (fault <= VMEMDEV_E_GUEST_RING && fault >= VMEMDEV_E_GUEST_REPLY));
	require(fault == 0 || !m->honest || fault == VMEMDEV_E_GUEST_REPLY);
	for (uint32_t word = 0; word < 3 && (status & VMEMDEV_STATUS_FEATURES_OK); word++)
		require((vmemdev_device_accepted(p->dev, word) &
			 ~vmemdev_device_features(p->dev, word)) == 0);
	require(vmemdev_mmio_read(&p->mmio, REG_MAGIC, 4) == MAGIC);
	require(vmemdev_mmio_read(&p->mmio, REG_STATUS, 4) == status);
	require(p->line == (vmemdev_mmio_read(&p->mmio, REG_INTERRUPTS, 4) != 0));
}

void machine_check(struct machine *m)
{
	m->honest = m->honest && !m->w.raced;
	for (uint32_t i = 0; i < NUMBERS; i++) {
		if (present(m, i))
			check_port(m, &m->ports[i]);
	}
	if (present(m, NUMBER_BALLOON))
		balloon_check(m);
	if (present(m, NUMBER_MEM))
		mem_check(m);
}

/* One device's step: the others' state is as it was. */
static void step_alone(struct machine *m, uint64_t step, struct input *in)
{
	const uint32_t which = m->which;
	struct port *p = &m->ports[which];
	struct record before[NUMBERS], after;
	int saved[NUMBERS] = { 0 };

	for (uint32_t i = 0; i < NUMBERS; i++) {
		if (i != which && present(m, i))
			saved[i] = port_save(&m->ports[i], &before[i]);
	}
	world_enter(&m->w, p->slot, p->slot + QUEUES_MAX < SLOTS ? p->slot + QUEUES_MAX : SLOTS, false);
	port_note_layouts(p);
	machine_step(m, step, in);
	port_follow(m, p);
	world_leave(&m->w);
	for (uint32_t i = 0; i < NUMBERS; i++) {
		if (i == which || !present(m, i))
			continue;
		require(port_save(&m->ports[i], &after) == saved[i]);
		require(saved[i] != 0 || records_equal(&before[i], &after));
	}
}

static bool busy(const struct machine *m, uint32_t number)
{
	return m->balloon.waits || m->mem.waits || m->pmem.waits ||
	       vmemdev_device_pending(m->ports[number].dev);
}

static void run_out(struct machine *m, uint32_t number)
{
	static const uint8_t unlimited[] = { 255 }, budget[] = { 64 }, none[] = { 0 };
	struct input in;

	m->which = number;
	in = (struct input){ unlimited, unlimited + 1 };
	if (number == NUMBER_BALLOON)
		step_alone(m, STEP_ALLOW, &in);
	while (number == NUMBER_BALLOON && m->balloon.inhibited > 0) {
		in = (struct input){ none, none + 1 };
		step_alone(m, STEP_INHIBIT, &in);
	}
	for (uint8_t q = 0; q < QUEUES_MAX; q++) {
		const uint8_t resume[] = { q, 0 };

		in = (struct input){ resume, resume + 2 };
		if (m->ports[number].stopped[q])
			step_alone(m, STEP_RESUME, &in);
		if (m->ports[number].lanes[q].open)
			guest_queue_publish(&m->ports[number].lanes[q].q);
		if (m->ports[number].lanes[q].open && guest_queue_want_kick(&m->ports[number].lanes[q].q))
			vmemdev_device_kick(m->ports[number].dev, q);
	}
	for (uint32_t turns = 0; turns < TURNS && (turns == 0 || busy(m, number)); turns++) {
		in = (struct input){ none, none + 1 };
		step_alone(m, STEP_COMPLETE, &in);
		in = (struct input){ budget, budget + 1 };
		step_alone(m, STEP_RUN, &in);
	}
}

/* How many buffers of a queue may stay unused for good. */
static uint32_t most_kept(const struct machine *m, uint32_t number, uint32_t queue)
{
	static const uint32_t features[] = { VMEMDEV_BALLOON_F_STATS_VQ,
					     VMEMDEV_BALLOON_F_FREE_PAGE_HINT,
					     VMEMDEV_BALLOON_F_PAGE_REPORTING };

	if (queue < 2)
		return 0;
	if (!m->balloon.all_queues ||
	    !(vmemdev_device_accepted(m->ports[number].dev, 0) & features[queue - 2]))
		return RING_SIZE_MAX;
	/* A set of statistics is kept until the host wants another. */
	return queue == 2;
}

/* Everything that was posted has been used once the host has nothing in the way. */
static void finish(struct machine *m)
{
	m->answer = 0;
	m->mem.refuses = false;
	m->w.race_count = 0;
	for (uint32_t i = 0; m->honest && i < NUMBERS; i++) {
		struct port *p = &m->ports[i];

		if (!present(m, i))
			continue;
		run_out(m, i);
		if (vmemdev_device_fault(p->dev) != 0 ||
		    !(vmemdev_device_status(p->dev) & VMEMDEV_STATUS_DRIVER_OK))
			continue;
		for (uint8_t q = 0; q < QUEUES_MAX; q++) {
			const uint8_t operand[] = { q };
			struct input in = { operand, operand + 1 };

			if (!p->lanes[q].open)
				continue;
			step_alone(m, STEP_POLL, &in);
			if (m->honest)
				require(p->lanes[q].q.out_count <= most_kept(m, i, q));
		}
	}
}

void machine_play(const struct plan *plan, const uint8_t *data, size_t size)
{
	struct input in = { data, data + size };
	const uint32_t options = (uint32_t)take(&in, 1), balloon_options = (uint32_t)take(&in, 1);
	const uint32_t devices = plan->present != 0 ? plan->present : 1u << (options >> 6) % NUMBERS;
	struct machine *m = machine_open(devices, options, balloon_options);

	while (in.at < in.end) {
		step_alone(m, plan->steps[take(&in, 1) % plan->step_count], &in);
		machine_check(m);
	}
	finish(m);
	machine_close(m);
}
