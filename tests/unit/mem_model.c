/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The memory device against the simplest possible model of it, one byte a block. Random
 * sequences of everything that can happen: legal and hostile requests, several at a time;
 * resets of the driver, of the queue and of the machine; targets moved at any moment; a host
 * that fails, is busy, or finishes later, at a random time; listeners that come, go and
 * refuse; saving, and going on with a fresh device. The model goes first and says which calls
 * host and listeners will get and which answers the guest will get; a failure prints the seed.
 *
 * The same sequence without and with saves between its steps must look the same to the guest,
 * byte for byte.
 */
#include "device_move.h"

#ifdef FEWER_STEPS
#define STEPS 30000u
#else
#define STEPS 500000u
#endif

enum {
	LISTENERS = 3,
	OUT_MAX = 6,       /* requests out at a time */
	CALLS_MAX = 128,   /* expected of one step */
	QUEUE_SIZE = 16,
	SLOTS = 16,
	SLOT_BYTES = 128,
	RANGES_AT_ONCE = 16
};

/* A call to the host or to a listener. */
enum call_kind { PLUG, UNPLUG, PLUGGED, LISTENER_PLUG, LISTENER_UNPLUG };

struct call {
	enum call_kind kind;
	uint32_t listener;
	uint32_t count;
	int answer;
	uint64_t shown; /* the plugged size that the guest can read meanwhile, in blocks */
	struct vmemdev_range ranges[RANGES_AT_ONCE];
};

/* A request that is out, and how the host will take it. */
struct wanted {
	uint64_t addr;
	uint16_t type, count;
	uint32_t slot;
	bool cut;         /* fewer bytes than a request has */
	bool later;       /* the host finishes later */
	int host, undo;   /* what it answers; to taking a refused plug back, too */
	uint32_t refuser; /* which listener refuses, in the order of listening */
};

struct reply {
	uint32_t slot;
	uint16_t type, state;
};

struct model {
	uint8_t plugged[MEM_BLOCKS];
	uint64_t requested, usable, slack; /* blocks */
	struct wanted out[OUT_MAX];        /* posted and not answered, the oldest first */
	uint32_t out_count;
	struct wanted waits;               /* at the host, while waiting */
	bool waiting, orphan;
	bool admitted;                     /* the oldest was at the host when it was saved */
	uint32_t listeners[LISTENERS], listener_count;
	struct reply replies[OUT_MAX];
	uint32_t reply_count;
	struct call calls[CALLS_MAX];
	uint32_t call_count, call_seen;
};

struct run {
	struct rig *rig;
	struct model model;
	struct guest_random random, move_random;
	struct vmemdev_mem_listener listeners[LISTENERS];
	uint64_t bitmap[(MEM_BLOCKS + 63) / 64];
	uint64_t mark;    /* of placed memory, before any ring */
	uint64_t token;   /* of the call that was answered LATER */
	uint64_t digest;  /* of all that the guest has seen */
	uint32_t step, next_slot;
	uint32_t moves;   /* in a thousand steps */
	uint64_t acks, refusals, lates, moved;
	bool window;      /* calls are allowed */
};

static uint32_t below(struct run *run, uint32_t limit)
{
	return guest_random_below(&run->random, limit);
}

/* The model. */

static uint64_t plugged_count(const struct model *m)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < MEM_BLOCKS; i++)
		n += m->plugged[i];
	return n;
}

static uint64_t usable_for(const struct model *m)
{
	uint64_t usable = m->requested + m->slack;

	return usable < MEM_BLOCKS ? usable : MEM_BLOCKS;
}

static struct call *expect(struct model *m, enum call_kind kind, uint32_t listener)
{
	struct call *call = &m->calls[m->call_count++];

	assert_true(m->call_count <= CALLS_MAX);
	call->kind = kind;
	call->listener = listener;
	call->count = 0;
	call->answer = 0;
	call->shown = plugged_count(m);
	return call;
}

static void expect_span(struct call *call, uint64_t first, uint64_t count)
{
	call->ranges[call->count].gpa = BLOCK(first);
	call->ranges[call->count].len = count * MEM_BLOCK;
	call->count++;
}

/* The run of plugged blocks at or after @at. Returns its length, 0 if there is none. */
static uint32_t run_at(const struct model *m, uint32_t *at)
{
	uint32_t end;

	while (*at < MEM_BLOCKS && !m->plugged[*at])
		++*at;
	for (end = *at; end < MEM_BLOCKS && m->plugged[end]; end++)
		;
	return end - *at;
}

/* A listener is told of all plugged runs, 16 at a time. */
static void expect_runs(struct model *m, enum call_kind kind, uint32_t listener)
{
	struct call *call = NULL;
	uint32_t at = 0, len;

	for (; (len = run_at(m, &at)) > 0; at += len) {
		if (call == NULL || call->count == RANGES_AT_ONCE)
			call = expect(m, kind, listener);
		expect_span(call, at, len);
	}
}

/* The host is told of all runs at once; the last range covers what is left. */
static struct call *expect_all(struct model *m)
{
	struct call *call = expect(m, UNPLUG, 0);
	uint32_t at = 0, len;

	for (; (len = run_at(m, &at)) > 0; at += len) {
		if (call->count < VMEMDEV_MEM_RANGES)
			expect_span(call, at, len);
		else
			call->ranges[call->count - 1].len =
				BLOCK(at + len) - call->ranges[call->count - 1].gpa;
	}
	return call;
}

/* The listeners are asked one by one; one of them may refuse. Returns whether one did. */
static bool listeners_refuse(struct model *m, const struct wanted *w, uint64_t first)
{
	struct call *call;

	for (uint32_t i = 0; i < m->listener_count; i++) {
		call = expect(m, LISTENER_PLUG, m->listeners[i]);
		expect_span(call, first, w->count);
		if (i != w->refuser)
			continue;
		call->answer = VMEMDEV_E_HOST;
		for (uint32_t k = 0; k < i; k++)
			expect_span(expect(m, LISTENER_UNPLUG, m->listeners[k]), first, w->count);
		call = expect(m, UNPLUG, 0);
		expect_span(call, first, w->count);
		call->answer = w->undo;
		return true;
	}
	return false;
}

static void unplug_everything(struct model *m)
{
	for (uint32_t i = 0; i < m->listener_count; i++)
		expect_runs(m, LISTENER_UNPLUG, m->listeners[i]);
	memset(m->plugged, 0, sizeof(m->plugged));
	m->usable = usable_for(m);
	expect(m, PLUGGED, 0);
}

/* The host has answered. Returns the guest's answer. */
static uint16_t settle(struct model *m, const struct wanted *w, int host)
{
	uint64_t first = (w->addr - MEM_GPA) / MEM_BLOCK;

	if (host != 0)
		return GUEST_MEM_BUSY;
	if (w->type == GUEST_MEM_UNPLUG_ALL) {
		unplug_everything(m);
		return GUEST_MEM_ACK;
	}
	if (w->type == GUEST_MEM_PLUG && listeners_refuse(m, w, first))
		return GUEST_MEM_BUSY;
	for (uint32_t i = 0; i < m->listener_count && w->type == GUEST_MEM_UNPLUG; i++)
		expect_span(expect(m, LISTENER_UNPLUG, m->listeners[i]), first, w->count);
	memset(m->plugged + first, w->type == GUEST_MEM_PLUG, w->count);
	expect(m, PLUGGED, 0);
	return GUEST_MEM_ACK;
}

/* How many of the blocks are plugged; -1 if the place is wrong. */
static int64_t count_at(const struct model *m, const struct wanted *w)
{
	uint64_t first = (w->addr - MEM_GPA) / MEM_BLOCK;
	int64_t n = 0;

	if (w->addr < MEM_GPA || w->addr % MEM_BLOCK || w->count == 0)
		return -1;
	for (uint64_t i = first; i < first + w->count; i++) {
		if (i >= m->usable)
			return -1;
		n += m->plugged[i];
	}
	return n;
}

/* The guest's answer without the host, or -1 if the host is to be asked. */
static int answer_at_once(struct model *m, const struct wanted *w, uint16_t *state)
{
	int64_t n = count_at(m, w);
	bool plug = w->type == GUEST_MEM_PLUG;

	if (w->cut || w->type > GUEST_MEM_STATE)
		return GUEST_MEM_ERROR;
	if (w->type == GUEST_MEM_UNPLUG_ALL)
		return -1;
	if (n < 0)
		return GUEST_MEM_ERROR;
	if (w->type == GUEST_MEM_STATE) {
		*state = n == 0 ? GUEST_MEM_UNPLUGGED : GUEST_MEM_MIXED;
		if (n == w->count)
			*state = GUEST_MEM_PLUGGED;
		return GUEST_MEM_ACK;
	}
	if (n != (plug ? 0 : w->count))
		return GUEST_MEM_ERROR;
	if (plug && !m->admitted && plugged_count(m) + w->count > m->requested)
		return GUEST_MEM_NACK;
	return -1;
}

static void model_reply(struct model *m, uint16_t type, uint16_t state)
{
	struct reply *reply = &m->replies[m->reply_count++];

	reply->slot = m->out[0].slot;
	reply->type = type;
	reply->state = state;
	m->out_count--;
	memmove(m->out, m->out + 1, m->out_count * sizeof(m->out[0]));
}

/* Serve the oldest request. */
static void model_serve(struct model *m)
{
	const struct wanted w = m->out[0];
	uint16_t state = 0;
	int type = answer_at_once(m, &w, &state);
	struct call *call;

	if (type >= 0) {
		model_reply(m, (uint16_t)type, state);
		return;
	}
	if (w.type != GUEST_MEM_UNPLUG_ALL || plugged_count(m) > 0) {
		if (w.type == GUEST_MEM_UNPLUG_ALL) {
			call = expect_all(m);
		} else {
			call = expect(m, w.type == GUEST_MEM_PLUG ? PLUG : UNPLUG, 0);
			expect_span(call, (w.addr - MEM_GPA) / MEM_BLOCK, w.count);
		}
		call->answer = w.later ? VMEMDEV_LATER : w.host;
		if (w.later) {
			m->waiting = true;
			m->waits = w;
			return;
		}
		type = settle(m, &w, w.host);
	} else {
		type = settle(m, &w, 0);
	}
	model_reply(m, (uint16_t)type, 0);
}

static void model_run(struct model *m, uint32_t budget)
{
	while (budget-- > 0 && m->out_count > 0 && !m->waiting)
		model_serve(m);
}

static void model_complete(struct model *m)
{
	uint16_t type = settle(m, &m->waits, m->waits.host);

	if (!m->orphan)
		model_reply(m, type, 0);
	m->waiting = m->orphan = false;
}

/* The driver has forgotten its queue. */
static void model_forget(struct model *m)
{
	m->out_count = 0;
	m->orphan = m->waiting;
}

/* The host and the listeners: each call must be the one that the model foretold. */

static const struct call *called(struct run *run, enum call_kind kind, uint32_t listener)
{
	struct model *m = &run->model;
	const struct call *call = &m->calls[m->call_seen];

	assert_true(run->window);
	assert_true(m->call_seen < m->call_count);
	assert_int_equal(call->kind, kind);
	assert_int_equal(call->listener, listener);
	assert_true(mem_sizes(run->rig).plugged == call->shown * MEM_BLOCK);
	if (run->rig->driver.open[0])
		assert_false(guest_queue_has_used(&run->rig->driver.queues[0]));
	m->call_seen++;
	return call;
}

static const struct call *called_with(struct run *run, enum call_kind kind, uint32_t listener,
				      const struct vmemdev_range *ranges, uint32_t count)
{
	const struct call *call = called(run, kind, listener);

	assert_int_equal(count, call->count);
	assert_memory_equal(ranges, call->ranges, count * sizeof(*ranges));
	return call;
}

static int on_plug(void *ctx, const struct vmemdev_range *ranges, uint32_t count, uint64_t token)
{
	struct run *run = ctx;
	const struct call *call = called_with(run, PLUG, 0, ranges, count);

	if (call->answer == VMEMDEV_LATER)
		run->token = token;
	return call->answer;
}

static int on_unplug(void *ctx, const struct vmemdev_range *ranges, uint32_t count,
		     uint64_t token)
{
	struct run *run = ctx;
	const struct call *call = called_with(run, UNPLUG, 0, ranges, count);

	if (call->answer == VMEMDEV_LATER)
		run->token = token;
	return call->answer;
}

static void on_plugged(void *ctx, uint64_t bytes)
{
	struct run *run = ctx;

	assert_true(called(run, PLUGGED, 0)->shown * MEM_BLOCK == bytes);
}

static const struct vmemdev_mem_ops ops = {
	.plug = on_plug, .unplug = on_unplug, .plugged = on_plugged};

/* Each listener has a context of its own: where it stands in the array. */
struct listener_ctx {
	struct run *run;
	uint32_t number;
};
static struct listener_ctx listener_ctx[LISTENERS];

static int on_listener_plug(void *ctx, const struct vmemdev_range *ranges, uint32_t count)
{
	const struct listener_ctx *own = ctx;
	const struct call *call =
		called_with(own->run, LISTENER_PLUG, own->number, ranges, count);

	own->run->refusals += call->answer != 0;
	return call->answer;
}

static void on_listener_unplug(void *ctx, const struct vmemdev_range *ranges, uint32_t count)
{
	const struct listener_ctx *own = ctx;

	called_with(own->run, LISTENER_UNPLUG, own->number, ranges, count);
}

/* What the guest can see. */

static void digest(struct run *run, const void *bytes, size_t len)
{
	const uint8_t *at = bytes;

	for (size_t i = 0; i < len; i++)
		run->digest = (run->digest ^ at[i]) * UINT64_C(0x100000001b3);
}

static uint64_t slot_gpa(uint32_t slot)
{
	return DATA_GPA + (uint64_t)slot * SLOT_BYTES;
}

static void take_replies(struct run *run)
{
	struct model *m = &run->model;
	struct guest_used used;
	uint8_t bytes[16];

	for (uint32_t i = 0; i < m->reply_count; i++) {
		const struct reply *reply = &m->replies[i];

		assert_true(drv_used(run->rig, 0, &used));
		assert_int_equal(used.tag, reply->slot);
		if (!used.skipped)
			assert_int_equal(used.len, 10);
		assert_true(guest_read(&run->rig->memory, slot_gpa(reply->slot) + 64, bytes, 16));
		assert_int_equal(bytes[0] | bytes[1] << 8, reply->type);
		assert_int_equal(bytes[8] | bytes[9] << 8, reply->state);
		assert_memory_equal(bytes + 2, "\0\0\0\0\0", 6);
		assert_memory_equal(bytes + 10, "\xa5\xa5\xa5\xa5\xa5\xa5", 6);
		digest(run, &used.id, sizeof(used.id));
		digest(run, &used.len, sizeof(used.len));
		digest(run, bytes, sizeof(bytes));
		run->acks += reply->type == GUEST_MEM_ACK;
	}
	assert_false(run->rig->driver.open[0] && drv_used(run->rig, 0, &used));
	m->reply_count = 0;
}

static void compare_runs(struct run *run, bool plugged)
{
	struct vmemdev_range range = {0, 0};
	uint32_t block = 0, end;

	while (vmemdev_mem_next(&run->rig->mem, range.gpa + range.len, plugged, &range)) {
		for (; block < (range.gpa - MEM_GPA) / MEM_BLOCK; block++)
			assert_int_equal(run->model.plugged[block], !plugged);
		end = block + (uint32_t)(range.len / MEM_BLOCK);
		for (; block < end; block++)
			assert_int_equal(run->model.plugged[block], plugged);
	}
	for (; block < MEM_BLOCKS; block++)
		assert_int_equal(run->model.plugged[block], !plugged);
}

/* The configuration space as the text wants it, from the model alone. */
static void compare_config(struct run *run)
{
	const struct model *m = &run->model;
	uint32_t generation = vmemdev_device_config_generation(run->rig->dev);
	uint8_t wanted[MEM_CFG_SIZE] = {0}, config[MEM_CFG_SIZE];

	put64(wanted + MEM_CFG_BLOCK, MEM_BLOCK);
	put64(wanted + MEM_CFG_ADDR, MEM_GPA);
	put64(wanted + MEM_CFG_REGION, MEM_REGION);
	put64(wanted + MEM_CFG_USABLE, m->usable * MEM_BLOCK);
	put64(wanted + MEM_CFG_PLUGGED, plugged_count(m) * MEM_BLOCK);
	put64(wanted + MEM_CFG_REQUESTED, m->requested * MEM_BLOCK);
	vmemdev_device_config_read(run->rig->dev, 0, config, sizeof(config));
	assert_memory_equal(config, wanted, sizeof(config));
	assert_true(m->usable >= m->requested && m->usable <= MEM_BLOCKS);
	digest(run, config, sizeof(config));
	digest(run, &generation, sizeof(generation));
}

static void compare(struct run *run)
{
	struct model *m = &run->model;

	assert_int_equal(m->call_seen, m->call_count);
	m->call_seen = m->call_count = 0;
	take_replies(run);
	compare_config(run);
	compare_runs(run, run->step % 2);
}

/* Steps. */

static void plan_host(struct run *run, struct wanted *w)
{
	w->host = below(run, 12) == 0 ? VMEMDEV_E_HOST : 0;
	if (below(run, 20) == 0)
		w->host = VMEMDEV_E_BUSY;
	w->later = below(run, 6) == 0;
	w->undo = below(run, 4) == 0 ? VMEMDEV_E_BUSY : 0;
	w->refuser = below(run, 10) == 0 ? below(run, LISTENERS) : LISTENERS;
}

static uint16_t random_type(struct run *run)
{
	uint32_t dice = below(run, 100);

	if (dice < 45)
		return GUEST_MEM_PLUG;
	if (dice < 75)
		return GUEST_MEM_UNPLUG;
	if (dice < 95)
		return GUEST_MEM_STATE;
	return dice < 98 ? GUEST_MEM_UNPLUG_ALL : (uint16_t)below(run, 65536);
}

static uint64_t random_addr(struct run *run)
{
	uint32_t dice = below(run, 100);

	if (dice < 94)
		return BLOCK(below(run, MEM_BLOCKS + 4));
	if (dice < 96)
		return BLOCK(below(run, MEM_BLOCKS)) + 4096;
	if (dice < 98)
		return MEM_GPA - MEM_BLOCK * (below(run, 4) + 1);
	return guest_random_next(&run->random) & ~(MEM_BLOCK - 1);
}

static void write_request(struct run *run, const struct wanted *w)
{
	uint8_t raw[32];

	for (size_t i = 0; i < sizeof(raw); i += 8)
		put64(raw + i, guest_random_next(&run->random));
	put16(raw, w->type);
	put64(raw + 8, w->addr);
	put16(raw + 16, w->count);
	assert_true(guest_write(&run->rig->memory, slot_gpa(w->slot), raw, sizeof(raw)));
	guest_fill(&run->rig->memory, slot_gpa(w->slot) + 64, 0xa5, 32);
}

/* Put a request into the ring: type, place and length may be anything. */
static void post(struct run *run, uint32_t room)
{
	struct model *m = &run->model;
	struct wanted *w = &m->out[m->out_count++];
	struct guest_queue *queue = &run->rig->driver.queues[0];
	struct guest_add how = {.indirect = queue->table_entries > 0 && below(run, 2) == 0};
	struct vmemdev_buf bufs[2] = {{.len = 24}, {.len = room, .writable = 1}};

	w->type = random_type(run);
	w->addr = random_addr(run);
	w->count = (uint16_t)(below(run, 50) == 0 ? below(run, 65536) : below(run, 7));
	w->cut = below(run, 60) == 0;
	w->slot = run->next_slot++ % SLOTS;
	plan_host(run, w);
	write_request(run, w);
	bufs[0].gpa = slot_gpa(w->slot);
	bufs[0].len = w->cut ? below(run, 24) + (room == 10) : 24 + below(run, 2) * 8;
	if (w->cut && bufs[0].len >= 24)
		bufs[0].len = 23;
	bufs[1].gpa = slot_gpa(w->slot) + 64;
	how.tag = w->slot;
	assert_true(guest_queue_add(queue, bufs, 2, &how) >= 0);
	guest_queue_publish(queue);
	drv_kick(run->rig, 0);
}

/* Let the device work with this budget; the model has done so already. */
static int step_device(struct run *run, uint32_t budget)
{
	int err;

	run->window = true;
	err = vmemdev_device_run(run->rig->dev, budget);
	run->window = false;
	return err;
}

static void run_some(struct run *run, uint32_t budget)
{
	model_run(&run->model, budget);
	assert_true(step_device(run, budget) >= 0);
}

static void random_requests(struct run *run)
{
	uint32_t count = below(run, 8) == 0 ? below(run, OUT_MAX) + 1 : 1;

	while (count-- > 0 && run->model.out_count < OUT_MAX)
		post(run, 10);
	run_some(run, below(run, 4) == 0 ? below(run, 3) + 1 : 64);
}

static void random_target(struct run *run)
{
	struct model *m = &run->model;

	if (below(run, 10) == 0)
		assert_int_equal(vmemdev_mem_set_requested(&run->rig->mem, MEM_BLOCK / 2),
				 VMEMDEV_E_ALIGN);
	m->requested = below(run, MEM_BLOCKS + 1);
	mem_want(run->rig, m->requested * MEM_BLOCK);
	if (usable_for(m) > m->usable)
		m->usable = usable_for(m);
}

static void random_completion(struct run *run)
{
	struct model *m = &run->model;
	uint64_t token = run->token;
	int host = m->waits.host;

	assert_int_equal(vmemdev_mem_complete(&run->rig->mem, token + 1, 0), VMEMDEV_E_STATE);
	if (!m->waiting) {
		assert_int_equal(vmemdev_mem_complete(&run->rig->mem, token, 0), VMEMDEV_E_STATE);
		return;
	}
	run->lates++;
	model_complete(m);
	run->window = true;
	assert_int_equal(vmemdev_mem_complete(&run->rig->mem, token, host), 0);
	run->window = false;
}

static void start_driver(struct run *run)
{
	uint64_t features = VMEMDEV_F_RING_RESET;

	features |= below(run, 2) ? VMEMDEV_F_EVENT_IDX : 0;
	features |= below(run, 2) ? VMEMDEV_F_IN_ORDER : 0;
	features |= below(run, 2) ? VMEMDEV_F_INDIRECT_DESC : 0;
	features |= below(run, 2) ? VMEMDEV_MEM_F_UNPLUGGED_INACCESSIBLE : 0;
	guest_place_release(&run->rig->memory, run->mark);
	drv_start(run->rig, features);
}

/* A reset by the driver, by the machine, or of the queue alone. */
static void random_reset(struct run *run)
{
	struct rig *rig = run->rig;
	struct model *m = &run->model;
	struct wanted all = {.type = GUEST_MEM_UNPLUG_ALL};
	int answer = 0, expected = 0;

	if (below(run, 3) == 0) {
		guest_driver_queue_reset(&rig->driver, 0);
		model_forget(m);
		guest_place_release(&rig->memory, run->mark);
		drv_open(rig, 0);
		return;
	}
	if (below(run, 2) == 0) {
		plan_host(run, &all);
		answer = all.later ? VMEMDEV_LATER : all.host;
		if (m->waiting)
			expected = VMEMDEV_E_STATE;
		else if (plugged_count(m) == 0)
			unplug_everything(m);
		else if ((expect_all(m)->answer = answer) != 0)
			expected = answer < 0 ? answer : VMEMDEV_E_BUSY;
		else
			unplug_everything(m);
		rig->driver.open[0] = false; /* its ring is nobody's from here on */
		run->window = true;
		assert_int_equal(vmemdev_device_system_reset(rig->dev), expected);
		run->window = false;
		rig->driver.open[0] = true;
	}
	drv_reset(rig);
	model_forget(m);
	start_driver(run);
}

static void random_listener(struct run *run)
{
	struct model *m = &run->model;
	uint32_t number = below(run, LISTENERS), at = 0;
	struct vmemdev_mem_listener *listener = &run->listeners[number];
	uint32_t refuse = below(run, 5), before = m->call_count;
	int expected = 0;

	while (at < m->listener_count && m->listeners[at] != number)
		at++;
	run->window = true;
	if (at < m->listener_count) {
		assert_int_equal(vmemdev_mem_listen(&run->rig->mem, listener), VMEMDEV_E_STATE);
		m->listener_count--;
		for (; at < m->listener_count; at++)
			m->listeners[at] = m->listeners[at + 1];
		expect_runs(m, LISTENER_UNPLUG, number);
		assert_int_equal(vmemdev_mem_unlisten(&run->rig->mem, listener), 0);
	} else {
		assert_int_equal(vmemdev_mem_unlisten(&run->rig->mem, listener), VMEMDEV_E_STATE);
		expect_runs(m, LISTENER_PLUG, number);
		if (before + refuse < m->call_count) {
			/* refused in the middle: what was told before is taken back */
			uint32_t told = refuse;

			m->calls[before + refuse].answer = expected = VMEMDEV_E_NOSPC;
			m->call_count = before + refuse + 1;
			for (uint32_t i = 0; i < told; i++) {
				struct call *call = expect(m, LISTENER_UNPLUG, number);

				*call = m->calls[before + i];
				call->kind = LISTENER_UNPLUG;
			}
		} else {
			m->listeners[m->listener_count++] = number;
		}
		assert_int_equal(vmemdev_mem_listen(&run->rig->mem, listener), expected);
	}
	run->window = false;
}

/* A request that has no room for its answer: the device stops until the driver resets it. */
static void random_outrage(struct run *run)
{
	struct model *m = &run->model;

	if (m->waiting || m->out_count > 0)
		return;
	post(run, below(run, 10));
	assert_int_equal(step_device(run, 64), VMEMDEV_E_GUEST_REPLY);
	assert_int_equal(step_device(run, 1), VMEMDEV_E_GUEST_REPLY);
	drv_reset(run->rig);
	model_forget(m);
	start_driver(run);
}

/* The queue stopped, and resumed where it stood. */
static void random_stop(struct run *run)
{
	struct rig *rig = run->rig;
	struct vmemdev_vq_state state;

	assert_int_equal(vmemdev_device_queue_stop(rig->dev, 0, &state),
			 run->model.waiting ? VMEMDEV_E_STATE : 0);
	if (run->model.waiting)
		return;
	assert_false(vmemdev_device_queue_enabled(rig->dev, 0));
	*vmemdev_device_queue_layout(rig->dev, 0) = rig->driver.queues[0].layout;
	assert_int_equal(vmemdev_device_queue_resume(rig->dev, 0, &state), 0);
}

static void random_step(struct run *run)
{
	uint32_t what = below(run, 1000);

	if (what < 750)
		random_requests(run);
	else if (what < 880)
		random_completion(run);
	else if (what < 950)
		random_target(run);
	else if (what < 980)
		random_listener(run);
	else if (what < 990)
		random_stop(run);
	else if (what < 998)
		random_reset(run);
	else
		random_outrage(run);
}

/* Moving to a fresh device. */

static void device_config(struct run *run, struct vmemdev_mem_config *config)
{
	rig_mem_config(run->rig, config);
	config->bitmap = run->bitmap;
	config->ops = &ops;
	config->ctx = run;
	config->device.queue_size = QUEUE_SIZE;
}

static void move(struct run *run)
{
	struct model *m = &run->model;
	struct vmemdev_mem_config config;
	struct record record;
	bool waited = m->waiting;

	if (m->orphan) {
		assert_int_equal(vmemdev_device_save(run->rig->dev, record.bytes, RECORD_MAX,
						     &record.len), VMEMDEV_E_STATE);
		return;
	}
	device_config(run, &config);
	rig_move_mem(run->rig, &config);
	run->moved++;
	m->waiting = false;
	run->window = true;
	for (uint32_t i = 0; i < m->listener_count; i++) {
		expect_runs(m, LISTENER_PLUG, m->listeners[i]);
		assert_int_equal(vmemdev_mem_listen(&run->rig->mem,
						    &run->listeners[m->listeners[i]]), 0);
	}
	run->window = false;
	m->admitted = waited;
	if (waited)
		run_some(run, 1);
	assert_int_equal(m->waiting, waited);
	m->admitted = false;
	assert_int_equal(m->reply_count, 0);
	assert_int_equal(m->call_seen, m->call_count);
	m->call_seen = m->call_count = 0;
}

/* Returns the digest of what the guest has seen. */
static uint64_t run_model(const struct way *way, uint64_t seed, uint32_t steps, uint32_t moves)
{
	struct run *run = calloc(1, sizeof(*run));
	struct vmemdev_mem_config config;
	uint64_t seen;

	assert_non_null(run);
	run->rig = rig_bare(way);
	run->moves = moves;
	run->model.slack = run->model.usable = MEM_SLACK / MEM_BLOCK;
	for (uint32_t i = 0; i < LISTENERS; i++) {
		listener_ctx[i].run = run;
		listener_ctx[i].number = i;
		run->listeners[i].plug = on_listener_plug;
		run->listeners[i].unplug = on_listener_unplug;
		run->listeners[i].ctx = &listener_ctx[i];
	}
	device_config(run, &config);
	rig_make_mem(run->rig, &config);
	run->mark = guest_place_mark(&run->rig->memory);
	guest_random_seed(&run->random, seed);
	guest_random_seed(&run->move_random, seed + 1);
	print_message("seed %llu, %u steps, %u moves in 1000\n", (unsigned long long)seed, steps,
		      moves);
	start_driver(run);
	for (run->step = 0; run->step < steps; run->step++) {
		if (guest_random_below(&run->move_random, 1000) < moves)
			move(run);
		random_step(run);
		compare(run);
	}
	assert_true(run->acks > steps / 10);
	assert_true(run->refusals > steps / 1000 && run->lates > steps / 100);
	assert_true(run->moved >= (uint64_t)steps * moves / 1000 * 3 / 4);
	seen = run->digest;
	rig_free(run->rig);
	free(run);
	return seen;
}

static const struct way *way_of(void **state)
{
	return *state;
}

/*
 * shows: MEM-CFG-03 MEM-CFG-04 MEM-CFG-05 MEM-CFG-06 MEM-CFG-07 MEM-CFG-11 MEM-OP-03
 * MEM-PLUG-07 MEM-UNPL-05 MEM-STATE-03 MEM-ALL-03 MEM-ALL-04 MEM-OP-09 MEM-INIT-02 LNX-MEM-06
 */
static void MEM_CFG_05_long_random_sequences_match_the_model(void **state)
{
	run_model(way_of(state), 20261121, STEPS, 0);
}

/* shows: MEM-CFG-05 MEM-INIT-02 */
static void MEM_CFG_05_saving_between_any_two_steps_changes_nothing(void **state)
{
	uint64_t stayed = run_model(way_of(state), 7, STEPS / 4, 0);

	assert_true(run_model(way_of(state), 7, STEPS / 4, 300) == stayed);
	stayed = run_model(way_of(state), 8, STEPS / 16, 0);
	assert_true(run_model(way_of(state), 8, STEPS / 16, 1000) == stayed);
}

/* shows: MEM-CFG-05 RST-05 */
static void MEM_CFG_05_more_seeds(void **state)
{
	for (uint64_t seed = 100; seed < 110; seed++)
		run_model(way_of(state), seed, STEPS / 50, seed % 2 ? 50 : 0);
}

static int setup_way(void **state)
{
	(void)state;
	return 0;
}

#define TEST_MODEL(f, text, n) {#f " (" text ")", f, setup_way, NULL, (void *)&ways[n]}
#define TEST_MODELS(f) TEST_MODEL(f, "split, direct", 0), TEST_MODEL(f, "packed, direct", 1)
#define TEST_MODELS_MMIO(f) TEST_MODEL(f, "split, mmio", 2), TEST_MODEL(f, "packed, mmio", 3)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_MODELS(MEM_CFG_05_long_random_sequences_match_the_model),
		TEST_MODELS(MEM_CFG_05_saving_between_any_two_steps_changes_nothing),
		TEST_MODELS(MEM_CFG_05_more_seeds),
		TEST_MODELS_MMIO(MEM_CFG_05_more_seeds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
