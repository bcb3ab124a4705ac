/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A virtqueue between a driver and a device that do what the input says; the driver may
 * write anything anywhere, at any time.
 *
 * Input: u8 enum ring_option, u8 ring size, then steps: u8 enum ring_step and its operands,
 * little-endian.
 *
 * Properties, besides those of world.h. While the guest is honest (nothing but the model
 * driver has written its memory): chains are taken in the order of posting, each once, with
 * the bytes that were posted; no call says that the guest erred; each pushed chain, and no
 * other, comes back to the driver once, with the length that was given. Always: a queue
 * that broke stays broken, with the same error; positions in flight never exceed the ring;
 * no call reads more often than the ring has entries, but for one read for each byte that
 * is copied; readable buffers never follow writable ones.
 */
#include "ring.h"
#include "lane.h"

#include <stdlib.h>
#include <string.h>

struct hand {
	struct vmemdev_held held;
	uint32_t written;
	uint64_t number;
};

struct rig {
	struct world w;
	struct vmemdev_vq vq;
	struct lane lane;
	uint64_t features;
	bool honest;
	int broken;
	struct hand hands[RING_SIZE_MAX];
	uint32_t count;              /* in hand */
	uint32_t pushed_len[RING_SIZE_MAX];
	uint32_t in_flight, staged;  /* ring positions taken, and of those pushed */
	uint64_t taken, pushed, seen;
};

/* What one chain has been through. */
struct walk {
	uint8_t bytes[512];
	uint32_t read, written;
	bool wrote;      /* at least its writable part was reached */
	bool skipped;    /* the bytes are not all there */
};

static void rig_open(struct rig *r, struct input *in, bool packed)
{
	const uint32_t options = (uint32_t)take(in, 1);
	uint32_t size = (uint32_t)take(in, 1) % RING_SIZE_MAX + 1;

	while (!packed && (size & (size - 1)) != 0)
		size &= size - 1;
	r->features = VMEMDEV_F_VERSION_1 | (packed ? VMEMDEV_F_RING_PACKED : 0);
	r->features |= options & RING_EVENT_IDX ? VMEMDEV_F_EVENT_IDX : 0;
	r->features |= options & RING_INDIRECT ? VMEMDEV_F_INDIRECT_DESC : 0;
	r->features |= options & RING_IN_ORDER ? VMEMDEV_F_IN_ORDER : 0;
	world_open(&r->w, options & RING_CALLBACKS);
	lane_open(&r->w, &r->lane, 0, size, r->features);
	require(vmemdev_vq_init(&r->vq, sizeof(r->vq), &r->w.mem->guest, RING_SIZE_MAX) == 0);
	require(vmemdev_vq_enable(&r->vq, &r->lane.q.layout, r->features) == 0);
	world_ring(&r->w, 0, &r->lane.q.layout, packed, UINT32_MAX);
	r->honest = true;
}

/* The answer of a call: the guest's errors are those the header names, and stay. */
static int judge(struct rig *r, int64_t got)
{
	if (r->w.raced)
		r->honest = false;
	if (r->broken != 0)
		require(got == r->broken || got == 0 || got == VMEMDEV_E_STATE);
	if (got != VMEMDEV_E_GUEST_RING && got != VMEMDEV_E_GUEST_CHAIN)
		return (int)got;
	require(!r->honest);
	r->broken = (int)got;
	return (int)got;
}

static void act(struct rig *r, struct vmemdev_chain *chain, struct walk *walk, struct input *in)
{
	static const uint8_t pattern[256];
	struct vmemdev_reply reply;
	struct vmemdev_buf buf;
	const uint32_t kind = (uint32_t)take(in, 1) % RING_ACTIONS, len = (uint32_t)take(in, 1);
	const uint64_t reads = r->w.reads;
	int64_t got;

	if (kind == RING_READ && walk->read + len <= sizeof(walk->bytes)) {
		got = vmemdev_chain_read(chain, walk->bytes + walk->read, len);
		require(got <= (int64_t)len);
		walk->read += got > 0 ? (uint32_t)got : 0;
	} else if (kind == RING_WRITE) {
		got = vmemdev_chain_write(chain, pattern, len);
		require(got <= (int64_t)len);
		walk->written += got > 0 ? (uint32_t)got : 0;
		walk->wrote = walk->wrote || got > 0;
	} else if (kind == RING_RESERVE) {
		got = vmemdev_chain_reserve(chain, &reply, len % 18);
		require(got <= VMEMDEV_REPLY_MAX);
		walk->wrote = walk->wrote || got > 0;
		if (got > 0)
			require(vmemdev_reply_write(&r->w.mem->guest, &reply, pattern,
						    reply.len) == 0);
		walk->written += got > 0 ? (uint32_t)got : 0;
	} else {
		got = kind == RING_NEXT ? vmemdev_chain_next(chain, &buf)
				       : vmemdev_chain_read(chain, NULL, len);
		walk->skipped = true;
		if (kind == RING_NEXT && got > 0) {
			require(buf.len > 0 && (buf.writable || !walk->wrote));
			walk->wrote = walk->wrote || buf.writable;
		}
	}
	(void)judge(r, got);
	require(got >= 0 || got == VMEMDEV_E_GUEST_ADDR || got == VMEMDEV_E_INVAL || r->broken != 0);
	require(r->w.reads - reads <= 2 * (RING_SIZE_MAX + 2) + 2 * len);
}

/* An honest chain is the next one posted. */
static void check_taken(struct rig *r, const struct vmemdev_held *held, const struct walk *walk)
{
	struct posted *posted = &r->lane.posted[held->id];
	const uint8_t *bytes;

	require(held->id < RING_SIZE_MAX && posted->live && posted->number == r->taken);
	require(held->writable == posted->writable && walk->written <= posted->writable);
	require(walk->read <= posted->readable);
	if (walk->skipped) {
		posted->answer = false;
		return;
	}
	bytes = guest_at(r->w.mem, ring_buffer(0, held->id), BUFFER_ROOM);
	require(memcmp(bytes, walk->bytes, walk->read) == 0);
}

static void take_chain(struct rig *r, struct input *in)
{
	struct vmemdev_chain chain;
	struct walk walk = { 0 };
	struct hand *hand = &r->hands[r->count];
	uint64_t reads = r->w.reads;
	uint32_t actions;
	int got = vmemdev_vq_pop(&r->vq, &chain);

	require(r->w.reads - reads <= 4);
	if (judge(r, got) <= 0)
		return;
	require(got == 1 && r->in_flight < RING_SIZE_MAX && r->count < RING_SIZE_MAX);
	for (actions = (uint32_t)take(in, 1) & 7; actions > 0 && r->broken == 0; actions--)
		act(r, &chain, &walk, in);
	reads = r->w.reads;
	got = judge(r, vmemdev_chain_finish(&chain, &hand->held));
	require(r->w.reads - reads <= 2 * (RING_SIZE_MAX + 2));
	if (got != 0) {
		require(r->broken != 0);
		return;
	}
	require(walk.written <= hand->held.writable && hand->held.slots > 0);
	if (r->honest)
		check_taken(r, &hand->held, &walk);
	hand->written = walk.written;
	hand->number = r->taken++;
	r->count++;
	r->in_flight += hand->held.slots;
	require(r->in_flight <= r->lane.q.size);
}

static void push(struct rig *r, uint32_t which)
{
	struct hand hand;
	int got;

	if (r->count == 0)
		return;
	which %= r->count;
	hand = r->hands[which];
	got = judge(r, vmemdev_vq_push(&r->vq, &hand.held, hand.written));
	if (got != 0) {
		require(r->broken != 0 || got == VMEMDEV_E_GUEST_RING ||
			(got == VMEMDEV_E_STATE && (r->features & VMEMDEV_F_IN_ORDER)));
		/* In order means: the oldest is welcome. */
		require(r->broken != 0 || hand.number != r->pushed);
		return;
	}
	require(!(r->features & VMEMDEV_F_IN_ORDER) || hand.number == r->pushed);
	if (hand.held.id < RING_SIZE_MAX)
		r->pushed_len[hand.held.id] = hand.written;
	memmove(&r->hands[which], &r->hands[which + 1], (r->count - which - 1) * sizeof(hand));
	r->count--;
	r->pushed++;
	r->staged += hand.held.slots;
	/* Once is enough: whatever is not in flight any more is not taken back. */
	if (r->in_flight == r->staged)
		require(vmemdev_vq_push(&r->vq, &hand.held, hand.written) < 0);
}

static void publish(struct rig *r)
{
	const int got = judge(r, vmemdev_vq_publish(&r->vq));

	if (got >= 0 && r->broken == 0) {
		require((uint32_t)got == r->staged);
		r->in_flight -= r->staged;
		r->staged = 0;
	}
	(void)judge(r, vmemdev_vq_should_notify(&r->vq));
}

static void poll(struct rig *r)
{
	struct guest_used used;
	struct posted was;
	uint32_t most = RING_SIZE_MAX;

	while (most-- > 0 && lane_poll(&r->w, &r->lane, r->honest, &used, &was)) {
		if (!r->honest)
			continue;
		r->seen++;
		require(r->seen <= r->pushed);
		require(used.skipped ? r->pushed_len[used.id] == was.writable
				     : r->pushed_len[used.id] == used.len);
	}
}

/* The queue is at its start: so is the driver, if it can be. */
static void begin_anew(struct rig *r, const struct vmemdev_vq_layout *layout)
{
	const bool placed = layout->desc == r->lane.q.layout.desc;

	r->broken = 0;
	r->count = r->in_flight = r->staged = 0;
	r->taken = r->pushed = r->seen = 0;
	r->honest = placed && (r->w.shown & 3) == 3;
	if (placed)
		lane_open(&r->w, &r->lane, 0, layout->size, r->features);
	r->w.raced = false;
	r->w.race_count = 0;
}

static void restart(struct rig *r, uint64_t distance)
{
	struct vmemdev_vq_layout layout = r->lane.q.layout;
	int err;

	vmemdev_vq_reset(&r->vq);
	layout.desc += 16 * distance;
	layout.driver += 64 * distance;
	layout.device += 64 * distance;
	world_ring(&r->w, 0, NULL, false, 0);
	begin_anew(r, &layout);
	err = vmemdev_vq_enable(&r->vq, &layout, r->features);
	require(err == 0 || err == VMEMDEV_E_GUEST_RING);
	if (err == 0)
		world_ring(&r->w, 0, &layout, r->lane.q.packed, UINT32_MAX);
	else
		r->honest = false;
}

/* What is saved is what is loaded; a chain in hand may be pushed there. */
static void move(struct rig *r)
{
	struct vmemdev_vq_state before, after;
	const struct vmemdev_vq_layout layout = r->w.rings[0].at;
	int err = vmemdev_vq_save(&r->vq, &before);

	require(err == 0 || err == VMEMDEV_E_STATE);
	if (err != 0) {
		require(r->staged > 0 || r->broken != 0 || !r->w.rings[0].live);
		return;
	}
	require(vmemdev_vq_init(&r->vq, sizeof(r->vq), &r->w.mem->guest, RING_SIZE_MAX) == 0);
	err = vmemdev_vq_load(&r->vq, &layout, r->features, &before);
	require(err == 0 || (!r->honest && err == VMEMDEV_E_GUEST_RING));
	if (err != 0) {
		r->broken = err;
		world_ring(&r->w, 0, NULL, false, 0);
		return;
	}
	require(vmemdev_vq_save(&r->vq, &after) == 0 && memcmp(&before, &after, sizeof(after)) == 0);
}

static void load(struct rig *r, struct input *in)
{
	const struct vmemdev_vq_layout layout = r->lane.q.layout;
	struct vmemdev_vq_state state = { 0 }, after;
	int err;

	state.next_avail = (uint16_t)take(in, 2);
	state.next_used = (uint16_t)take(in, 2);
	state.busy = (uint16_t)take(in, 2);
	state.order_popped = (uint16_t)take(in, 2);
	state.order_pushed = (uint16_t)take(in, 2);
	state.avail_wrap = (uint8_t)take(in, 1);
	state.used_wrap = (uint8_t)take(in, 1);
	vmemdev_vq_reset(&r->vq);
	world_ring(&r->w, 0, NULL, false, 0);
	begin_anew(r, &layout);
	r->honest = false;
	err = vmemdev_vq_load(&r->vq, &layout, r->features, &state);
	require(err == 0 || err == VMEMDEV_E_INVAL || err == VMEMDEV_E_GUEST_RING);
	if (err != 0)
		return;
	require(vmemdev_vq_save(&r->vq, &after) == 0 && memcmp(&state, &after, sizeof(after)) == 0);
	r->in_flight = state.busy;
	r->pushed = r->taken - (uint16_t)(state.order_popped - state.order_pushed);
	world_ring(&r->w, 0, &layout, r->lane.q.packed, UINT32_MAX);
}

static void driver_step(struct rig *r, uint64_t opcode, struct input *in)
{
	const struct posted *posted;
	uint64_t operand;

	switch (opcode) {
	case RING_POST:
		posted = lane_post(&r->w, &r->lane, in);
		/* The device may write there, be it a ring. */
		r->honest = r->honest && (posted == NULL || posted->answer);
		break;
	case RING_SHOW:
		guest_queue_publish(&r->lane.q);
		break;
	case RING_POLL:
		poll(r);
		break;
	case RING_EVENTS:
		operand = take(in, 1);
		if (operand == 0)
			guest_queue_interrupts_off(&r->lane.q);
		else if (operand == 1 || !r->lane.q.event_idx)
			guest_queue_interrupts_on(&r->lane.q);
		else
			guest_queue_interrupt_at(&r->lane.q, (uint16_t)operand % 32);
		break;
	case RING_SCRIBBLE:
		operand = take(in, 2);
		world_scribble(&r->w, operand, take(in, 1), in);
		r->honest = false;
		break;
	case RING_RACE:
		world_race(&r->w, in);
		break;
	default:
		world_show(&r->w, (uint32_t)take(in, 1));
		r->honest = r->honest && (r->w.shown & 3) == 3;
		break;
	}
}

static void step(struct rig *r, uint64_t opcode, struct input *in)
{
	switch (opcode) {
	case RING_TAKE:
		take_chain(r, in);
		break;
	case RING_PUSH:
		push(r, (uint32_t)take(in, 1));
		break;
	case RING_PUBLISH:
		publish(r);
		break;
	case RING_MOVE:
		move(r);
		break;
	case RING_RESTART:
		restart(r, take(in, 1));
		break;
	case RING_STATE:
		load(r, in);
		break;
	default:
		driver_step(r, opcode, in);
		break;
	}
}

/* What was shown can be taken, pushed and seen by the driver: nothing is lost. */
static void finish(struct rig *r)
{
	struct input nothing = { NULL, NULL };
	uint64_t before;

	guest_queue_publish(&r->lane.q);
	do {
		before = r->taken;
		take_chain(r, &nothing);
	} while (r->taken > before);
	for (uint32_t most = RING_SIZE_MAX; r->count > 0 && most > 0; most--) {
		for (uint32_t i = r->count; i-- > 0;)
			push(r, i);
	}
	publish(r);
	poll(r);
	if (r->honest)
		require(r->lane.q.out_count == 0 && r->taken == r->lane.next &&
			r->seen == r->taken && r->in_flight == 0);
}

void ring_play(const uint8_t *data, size_t size, bool packed)
{
	struct rig *r = calloc(1, sizeof(*r));
	struct input in = { data, data + size };
	uint64_t opcode;
	uint32_t count = 0;

	require(r != NULL);
	rig_open(r, &in, packed);
	while (in.at < in.end) {
		opcode = take(&in, 1) % RING_STEPS;
		world_enter(&r->w, 0, 1, count++ % 16 == 0 && opcode >= RING_TAKE &&
			    opcode <= RING_PUBLISH);
		step(r, opcode, &in);
		world_leave(&r->w);
		r->honest = r->honest && !r->w.raced;
	}
	world_enter(&r->w, 0, 1, false);
	finish(r);
	lane_close(&r->lane);
	world_close(&r->w);
	free(r);
}
