/* SPDX-License-Identifier: BSD-3-Clause */
#include "lane.h"

#include <string.h>

enum { ANSWER_AT = 0x80, ANSWER_ROOM = 0x80, UNTOUCHED = 0xaa };

void lane_open(struct world *w, struct lane *lane, uint32_t slot, uint32_t size, uint64_t features)
{
	struct guest_queue_config config = { .features = features, .size = size };

	lane_close(lane);
	memset(lane, 0, sizeof(*lane));
	lane->slot = slot;
	ring_place(slot, size, &config.at);
	guest_queue_open(&lane->q, w->mem, &config);
	guest_queue_interrupts_on(&lane->q);
	lane->open = true;
}

void lane_close(struct lane *lane)
{
	if (lane->open)
		guest_queue_close(&lane->q);
	lane->open = false;
}

/* Readable bytes of the input, in 1 to 3 pieces. Returns how many buffers they make. */
static uint32_t plan_readable(struct world *w, struct input *in, uint64_t at, uint32_t how,
			      uint32_t len, struct vmemdev_buf *bufs)
{
	const uint32_t pieces = 1 + (how & POST_PIECES) % 3, part = len / pieces;

	if (len == 0)
		return 0;
	for (uint32_t i = 0; i < len; i++)
		guest_fill(w->mem, at + i, (uint8_t)take(in, 1), 1);
	for (uint32_t i = 0; i < pieces; i++) {
		bufs[i].gpa = at + i * (uint64_t)part;
		bufs[i].len = i + 1 < pieces ? part : len - i * part;
		bufs[i].writable = 0;
	}
	return pieces;
}

static uint32_t plan_writable(struct input *in, uint64_t at, uint32_t how, struct vmemdev_buf *bufs)
{
	const uint32_t count = (uint32_t)take(in, 1) & 3;

	for (uint32_t i = 0; i < count; i++) {
		bufs[i].writable = 1;
		if (how & POST_PAGES) {
			bufs[i].gpa = take(in, 2) * 4096 + (how & POST_ODD ? 2048 : 0);
			bufs[i].len = (uint32_t)take(in, 1) * 4096;
		} else {
			bufs[i].gpa = at;
			bufs[i].len = (uint32_t)take(in, 1) & 31;
			at += bufs[i].len;
		}
	}
	return count;
}

struct posted *lane_post(struct world *w, struct lane *lane, struct input *in)
{
	struct guest_queue *q = &lane->q;
	const uint32_t how = (uint32_t)take(in, 1), len = (uint32_t)take(in, 1) & 0x7f;
	struct guest_add add = { .tag = lane->next, .backwards = (how & POST_BACKWARDS) && !q->packed };
	struct vmemdev_buf bufs[TABLE_ENTRIES];
	struct posted posted = { true, lane->next, 0, len, 0, !(how & POST_PAGES) };
	uint32_t id = q->free_first, count;
	int got;

	if (guest_queue_free(q) == 0)
		return NULL;
	require(id < RING_SIZE_MAX);
	guest_fill(w->mem, ring_buffer(lane->slot, id) + ANSWER_AT, UNTOUCHED, ANSWER_ROOM);
	count = plan_readable(w, in, ring_buffer(lane->slot, id), how, len, bufs);
	count += plan_writable(in, ring_buffer(lane->slot, id) + ANSWER_AT, how, bufs + count);
	/* No chain, in a table or not, may be longer than the ring. */
	if (count == 0 || count > q->size)
		return NULL;
	for (uint32_t i = 0; i < count; i++)
		posted.writable += bufs[i].writable ? bufs[i].len : 0;
	add.indirect = (how & POST_INDIRECT) && (q->features & VMEMDEV_F_INDIRECT_DESC);
	add.table = ring_table(lane->slot, id);
	got = guest_queue_add(q, bufs, count, &add);
	if (got < 0)
		return NULL;
	require((uint32_t)got == id);
	lane->posted[id] = posted;
	lane->next++;
	if (!(how & POST_LATER))
		guest_queue_publish(q);
	return &lane->posted[id];
}

const uint8_t *lane_answer(const struct world *w, const struct lane *lane, uint32_t id)
{
	return guest_at(w->mem, ring_buffer(lane->slot, id) + ANSWER_AT, ANSWER_ROOM);
}

bool lane_poll(struct world *w, struct lane *lane, bool honest, struct guest_used *used,
	       struct posted *was)
{
	const int got = guest_queue_poll(&lane->q, used);
	const uint8_t *answer;

	require(got >= 0 || !honest);
	if (got <= 0)
		return false;
	*was = lane->posted[used->id];
	lane->posted[used->id].live = false;
	if (!honest)
		return true;
	require(was->live && was->number == used->tag);
	require(used->len <= was->writable);
	answer = lane_answer(w, lane, used->id);
	for (uint32_t i = used->skipped ? was->writable : used->len; i < ANSWER_ROOM && was->answer; i++)
		require(answer[i] == UNTOUCHED);
	return true;
}
