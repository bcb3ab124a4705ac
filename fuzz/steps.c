/* SPDX-License-Identifier: BSD-3-Clause */
/* The steps that all devices know; what is a device's own goes to its host's file. */
#include "machine.h"

#include <string.h>

enum { NOTIFY = VMEMDEV_MMIO_NOTIFY, CONFIG_AT = 0x100 };
enum { UNIT_READS = 400 }; /* more than what a unit of work can fetch */

static struct port *port_of(struct machine *m)
{
	return &m->ports[m->which];
}

/* The queue that an operand names, as a number of lanes[]. */
static uint16_t take_queue(struct machine *m, struct input *in)
{
	const uint64_t count = vmemdev_device_queue_count(port_of(m)->dev);

	return (uint16_t)(take(in, 1) % (count < QUEUES_MAX ? count : QUEUES_MAX));
}

/* What a driver does up to DRIVER_OK. */
static void start(struct machine *m, struct input *in)
{
	struct port *p = port_of(m);
	const uint64_t wanted = take(in, 8) | VMEMDEV_F_VERSION_1;
	const uint32_t size = 1u << take(in, 1) % 6, left_out = (uint32_t)take(in, 1);
	uint64_t features = wanted & (vmemdev_device_features(p->dev, 0) |
				      (uint64_t)vmemdev_device_features(p->dev, 1) << 32);

	vmemdev_device_set_status(p->dev, 0);
	port_follow(m, p);
	vmemdev_device_set_status(p->dev, 3);
	vmemdev_device_accept(p->dev, 0, (uint32_t)features);
	vmemdev_device_accept(p->dev, 1, (uint32_t)(features >> 32));
	vmemdev_device_set_status(p->dev, 0xb);
	for (uint16_t i = 0; i < vmemdev_device_queue_count(p->dev); i++) {
		struct vmemdev_vq_layout *layout = vmemdev_device_queue_layout(p->dev, i);

		if (layout == NULL || (left_out >> i & 1))
			continue;
		lane_open(&m->w, &p->lanes[i], p->slot + i, size, features);
		*layout = p->layouts[i] = p->lanes[i].q.layout;
		(void)vmemdev_device_queue_enable(p->dev, i);
	}
	if (m->which == NUMBER_BALLOON)
		m->balloon.all_queues = left_out == 0;
	vmemdev_device_set_status(p->dev, 0xf);
}

static void post(struct machine *m, struct input *in)
{
	struct port *p = port_of(m);
	const uint16_t queue = take_queue(m, in);
	struct lane *lane = &p->lanes[queue];
	struct posted *posted;

	if (!lane->open)
		return;
	posted = lane_post(&m->w, lane, in);
	if (posted == NULL)
		return;
	posted->mark = m->pmem.begun;
	if (m->which == NUMBER_BALLOON)
		balloon_named(m, lane_answer(&m->w, lane, (uint32_t)(posted - lane->posted)) -
				 BUFFER_ROOM / 2, posted->readable);
	/* An answer to anywhere may overwrite a ring. */
	if (!posted->answer && m->which != NUMBER_BALLOON)
		m->honest = false;
	if (guest_queue_want_kick(&lane->q))
		vmemdev_mmio_write(&p->mmio, NOTIFY, 4, guest_queue_kick_data(&lane->q, queue));
}

static void poll(struct machine *m, struct input *in)
{
	struct lane *lane = &port_of(m)->lanes[take_queue(m, in)];
	struct guest_used used;
	struct posted was;

	for (uint32_t most = RING_SIZE_MAX; most > 0 && lane->open; most--) {
		const uint8_t *answer;

		if (!lane_poll(&m->w, lane, m->honest, &used, &was))
			return;
		if (!m->honest || used.skipped)
			continue;
		answer = lane_answer(&m->w, lane, used.id);
		if (m->which == NUMBER_BALLOON)
			balloon_answered(m, &used);
		else if (m->which == NUMBER_MEM)
			mem_answered(m, &used, answer);
		else
			pmem_answered(m, &used, &was, answer);
	}
}

static void run(struct machine *m, uint64_t operand)
{
	struct port *p = port_of(m);
	const uint32_t budget = (uint32_t)operand & 0x7f;
	const uint64_t reads = m->w.reads;
	int left;

	world_enter(&m->w, m->w.slot_first, m->w.slot_end, operand & 0x80);
	m->inside_run = true;
	m->budget = budget;
	m->balloon.calls = 0;
	left = vmemdev_device_run(p->dev, budget);
	m->inside_run = false;
	world_leave(&m->w);
	m->w.watched = false;
	require(m->w.reads - reads <= UNIT_READS * (uint64_t)(budget + QUEUES_MAX));
	if (budget == 0)
		require(left == VMEMDEV_E_INVAL);
	else if (left < 0)
		require(left == vmemdev_device_fault(p->dev));
	else
		require(left == 0 || (left == 1 && vmemdev_device_pending(p->dev)));
}

static void complete(struct machine *m, int result)
{
	m->inside_run = true;
	if (m->which == NUMBER_BALLOON)
		balloon_complete(m, result);
	else if (m->which == NUMBER_MEM)
		mem_complete(m, result);
	else
		pmem_complete(m, result);
	m->inside_run = false;
}

/* Whether a register access has a meaning (4.2.2). */
static bool writable(uint64_t offset, uint32_t width)
{
	static const uint8_t registers[] = { 0x14, 0x20, 0x24, 0x30, 0x38, 0x44, 0x64, 0x70, 0x80,
					     0x84, 0x90, 0x94, 0xa0, 0xa4, 0xac, 0xc0 };

	if (offset >= CONFIG_AT || offset == NOTIFY)
		return true;
	return width == 4 && memchr(registers, (int)offset, sizeof(registers)) != NULL;
}

static void write_register(struct machine *m, struct input *in)
{
	struct port *p = port_of(m);
	const uint64_t offset = take(in, 2);
	const uint32_t width = 1u << (take(in, 1) & 3);
	const uint64_t value = take(in, 4);
	struct record before, after;
	const bool saved = port_save(p, &before) == 0;

	if (offset < CONFIG_AT && offset != NOTIFY)
		m->honest = false;
	vmemdev_mmio_write(&p->mmio, offset, width, value);
	/* A doorbell is noted, and no record tells of it; what is no register has no effect. */
	if (saved && (!writable(offset, width) || offset == NOTIFY))
		require(port_save(p, &after) == 0 && records_equal(&before, &after));
}

static void read_register(struct machine *m, struct input *in)
{
	struct port *p = port_of(m);
	const uint64_t offset = take(in, 2);
	const uint32_t width = 1u << (take(in, 1) & 3);
	struct record before, after;
	const bool saved = port_save(p, &before) == 0;
	const uint64_t value = vmemdev_mmio_read(&p->mmio, offset, width);

	require(value == vmemdev_mmio_read(&p->mmio, offset, width));
	require(width == 8 || value >> 8 * width == 0);
	if (offset < CONFIG_AT && (width != 4 || offset % 4 != 0))
		require(value == 0);
	if (saved)
		require(port_save(p, &after) == 0 && records_equal(&before, &after));
}

static void reset(struct machine *m, struct input *in)
{
	struct port *p = port_of(m);
	const uint64_t kind = take(in, 1) % 3;
	const uint16_t queue = take_queue(m, in);
	int err;

	if (kind == 0) {
		vmemdev_device_reset(p->dev);
	} else if (kind == 1) {
		p->stopped[queue] = false;
		vmemdev_device_queue_reset(p->dev, queue);
	} else {
		m->inside_run = true;
		err = vmemdev_device_system_reset(p->dev);
		m->inside_run = false;
		require(err <= 0 && err > VMEMDEV_E_HOST - 32);
		/* A system reset asks for an answer at once: LATER means no. */
		if (m->which == NUMBER_MEM && err == VMEMDEV_E_BUSY)
			m->mem.waits = false;
	}
}

static void stop(struct machine *m, uint16_t queue)
{
	struct port *p = port_of(m);
	const int err = vmemdev_device_queue_stop(p->dev, queue, &p->stopped_at[queue]);

	require(err == 0 || err == VMEMDEV_E_STATE || err == VMEMDEV_E_INVAL ||
		(err <= VMEMDEV_E_GUEST_RING && err >= VMEMDEV_E_GUEST_REPLY));
	require(err != VMEMDEV_E_GUEST_RING || !m->honest);
	if (err == 0)
		p->stopped[queue] = true;
}

static void resume(struct machine *m, struct input *in)
{
	struct port *p = port_of(m);
	const uint16_t queue = take_queue(m, in);
	const bool made_up = take(in, 1) & 1;
	struct vmemdev_vq_layout *layout = vmemdev_device_queue_layout(p->dev, queue);
	struct vmemdev_vq_state state = p->stopped_at[queue];
	int err;

	if (made_up) {
		m->honest = false;
		state.next_avail = (uint16_t)take(in, 2);
		state.next_used = state.next_avail;
		state.avail_wrap = state.used_wrap = (uint8_t)take(in, 1);
	} else if (!p->stopped[queue]) {
		return;
	}
	if (layout != NULL)
		*layout = p->layouts[queue];
	err = vmemdev_device_queue_resume(p->dev, queue, &state);
	require(err == 0 || err == VMEMDEV_E_STATE || err == VMEMDEV_E_INVAL ||
		err == VMEMDEV_E_GUEST_RING);
	require(err == 0 || !m->honest);
	p->stopped[queue] = false;
}

static void show_regions(struct machine *m, uint32_t shown)
{
	/* Work on memory that goes away has to end before. */
	if (m->balloon.waits && m->which == NUMBER_BALLOON)
		balloon_complete(m, 0);
	if (m->balloon.waits)
		return;
	world_show(&m->w, shown);
	m->honest = m->honest && (m->w.shown & 3) == 3;
}

static void config(struct machine *m, struct input *in)
{
	struct port *p = port_of(m);
	const uint32_t offset = (uint32_t)take(in, 1), len = (uint32_t)take(in, 1) % 17;
	uint8_t bytes[17] = { 0 }, now[17], again[17];

	for (uint32_t i = 0; i < 4; i++)
		bytes[i] = (uint8_t)take(in, 1);
	vmemdev_device_config_write(p->dev, offset, bytes, len);
	vmemdev_device_config_read(p->dev, offset, now, len);
	vmemdev_device_config_read(p->dev, offset, again, len);
	require(memcmp(now, again, len) == 0);
	require(vmemdev_device_config_generation(p->dev) == vmemdev_device_config_generation(p->dev));
}

static void select_device(struct machine *m, uint64_t which)
{
	for (uint32_t i = 0; i < NUMBERS; i++) {
		const uint32_t number = (uint32_t)(which + i) % NUMBERS;

		if (m->present >> number & 1) {
			m->which = number;
			return;
		}
	}
}

static void set_blocks(struct machine *m, uint32_t blocks)
{
	if (m->present & 1u << NUMBER_MEM)
		return;
	if (m->balloon.waits)
		balloon_complete(m, 0);
	m->w.bitmap[0] = m->w.plugged = blocks;
	vmemdev_guest_changed(&m->w.mem->guest);
}

static void driver_step(struct machine *m, uint64_t step, struct input *in)
{
	struct lane *lane;
	uint64_t operand;

	switch (step) {
	case STEP_START:
		start(m, in);
		break;
	case STEP_POST:
		post(m, in);
		break;
	case STEP_POLL:
		poll(m, in);
		break;
	case STEP_EVENTS:
		lane = &port_of(m)->lanes[take_queue(m, in)];
		operand = take(in, 1);
		if (lane->open && (operand & 1))
			guest_queue_interrupts_on(&lane->q);
		else if (lane->open)
			guest_queue_interrupts_off(&lane->q);
		break;
	case STEP_WRITE:
		write_register(m, in);
		break;
	case STEP_READ:
		read_register(m, in);
		break;
	case STEP_SCRIBBLE:
		operand = 2 * take(in, 2);
		world_scribble(&m->w, operand, take(in, 1), in);
		m->honest = false;
		break;
	default:
		world_race(&m->w, in);
		break;
	}
}

static void host_step(struct machine *m, uint64_t step, struct input *in)
{
	static const int answers[] = { 0, VMEMDEV_LATER, VMEMDEV_E_HOST, VMEMDEV_E_BUSY };

	switch (step) {
	case STEP_RUN:
		run(m, take(in, 1));
		break;
	case STEP_ANSWER:
		m->answer = answers[take(in, 1) & 3];
		break;
	case STEP_COMPLETE:
		complete(m, take(in, 1) & 1 ? VMEMDEV_E_HOST : 0);
		break;
	case STEP_RESET:
		reset(m, in);
		break;
	case STEP_STOP:
		stop(m, take_queue(m, in));
		break;
	case STEP_RESUME:
		resume(m, in);
		break;
	case STEP_REGIONS:
		show_regions(m, (uint32_t)take(in, 1));
		break;
	case STEP_DEVICE:
		select_device(m, take(in, 1));
		break;
	case STEP_KICK:
		vmemdev_device_kick(port_of(m)->dev, (uint16_t)take(in, 1));
		break;
	case STEP_BLOCKS:
		set_blocks(m, (uint32_t)take(in, 4));
		break;
	default:
		config(m, in);
		break;
	}
}

void machine_step(struct machine *m, uint64_t step, struct input *in)
{
	switch (step) {
	case STEP_START: case STEP_POST: case STEP_POLL: case STEP_EVENTS: case STEP_WRITE:
	case STEP_READ: case STEP_SCRIBBLE: case STEP_RACE:
		driver_step(m, step, in);
		break;
	case STEP_MOVE: case STEP_LOAD: case STEP_EDIT: case STEP_LOAD_MMIO:
		record_step(m, step, in);
		break;
	case STEP_STATS: case STEP_HINT: case STEP_INHIBIT: case STEP_ALLOW: case STEP_FORGET:
		if (m->which == NUMBER_BALLOON)
			balloon_step(m, step, in);
		break;
	case STEP_LISTEN: case STEP_RESIZE:
		if (m->which == NUMBER_MEM)
			mem_step(m, step, in);
		break;
	case STEP_TARGET:
		if (m->which == NUMBER_BALLOON)
			balloon_step(m, step, in);
		else if (m->which == NUMBER_MEM)
			mem_step(m, step, in);
		break;
	default:
		host_step(m, step, in);
		break;
	}
}
