/* SPDX-License-Identifier: BSD-3-Clause */
#include "guest/queue.h"
#include "guest/word.h"

#include <stdlib.h>
#include <string.h>

/* Where a ring word stands: part, offset, step from one index to the next, width. */
enum part { DESC, DRIVER, DEVICE };
struct place {
	enum part part;
	uint8_t offset, step, width;
	uint8_t split, packed; /* in which formats there is such a word */
};

static const struct place places[] = {
	[GUEST_DESC_ADDR] = { DESC, 0, 16, 8, 1, 1 },
	[GUEST_DESC_LEN] = { DESC, 8, 16, 4, 1, 1 },
	[GUEST_DESC_FLAGS] = { DESC, 12, 16, 2, 1, 0 },
	[GUEST_DESC_NEXT] = { DESC, 14, 16, 2, 1, 0 },
	[GUEST_DESC_ID] = { DESC, 12, 16, 2, 0, 1 },
	[GUEST_AVAIL_FLAGS] = { DRIVER, 0, 0, 2, 1, 0 },
	[GUEST_AVAIL_IDX] = { DRIVER, 2, 0, 2, 1, 0 },
	[GUEST_AVAIL_RING] = { DRIVER, 4, 2, 2, 1, 0 },
	[GUEST_USED_EVENT] = { DRIVER, 4, 2, 2, 1, 0 },
	[GUEST_USED_FLAGS] = { DEVICE, 0, 0, 2, 1, 0 },
	[GUEST_USED_IDX] = { DEVICE, 2, 0, 2, 1, 0 },
	[GUEST_USED_ID] = { DEVICE, 4, 8, 4, 1, 0 },
	[GUEST_USED_LEN] = { DEVICE, 8, 8, 4, 1, 0 },
	[GUEST_AVAIL_EVENT] = { DEVICE, 4, 8, 2, 1, 0 },
	[GUEST_DRIVER_EVENT] = { DRIVER, 0, 0, 2, 0, 1 },
	[GUEST_DRIVER_FLAGS] = { DRIVER, 2, 0, 2, 0, 1 },
	[GUEST_DEVICE_EVENT] = { DEVICE, 0, 0, 2, 0, 1 },
	[GUEST_DEVICE_FLAGS] = { DEVICE, 2, 0, 2, 0, 1 },
};

static const struct place packed_flags = { DESC, 14, 16, 2, 0, 1 };

static const struct place *place_of(const struct guest_queue *q, enum guest_word word,
				    uint64_t *offset, uint32_t index)
{
	const struct place *place = &places[word];

	if (q->packed && word == GUEST_DESC_FLAGS)
		place = &packed_flags;
	if (q->packed ? !place->packed : !place->split)
		guest_die("this ring format has no word of number", word);
	if (word == GUEST_USED_EVENT || word == GUEST_AVAIL_EVENT)
		index = q->size;
	else if (index >= q->size)
		guest_die("ring word beyond the ring's size at index", index);
	*offset = place->offset + (uint64_t)place->step * index;
	return place;
}

uint64_t guest_queue_where(const struct guest_queue *q, enum guest_word word, uint32_t index)
{
	const uint64_t base[] = { q->layout.desc, q->layout.driver, q->layout.device };
	uint64_t offset;
	const struct place *place = place_of(q, word, &offset, index);

	return base[place->part] + offset;
}

static uint8_t *host_of(const struct guest_queue *q, enum guest_word word, uint32_t index,
			uint8_t *width)
{
	uint8_t *const base[] = { q->desc, q->driver, q->device };
	uint64_t offset;
	const struct place *place = place_of(q, word, &offset, index);

	*width = place->width;
	return base[place->part] + offset;
}

uint64_t guest_queue_get(const struct guest_queue *q, enum guest_word word, uint32_t index)
{
	uint8_t width;
	const uint8_t *at = host_of(q, word, index, &width);

	if (width == 2)
		return word_load16(at);
	return width == 4 ? word_load32(at) : word_load64(at);
}

void guest_queue_set(struct guest_queue *q, enum guest_word word, uint32_t index, uint64_t value)
{
	uint8_t width;
	uint8_t *at = host_of(q, word, index, &width);

	if (width == 2)
		word_store16(at, (uint16_t)value);
	else if (width == 4)
		word_store32(at, (uint32_t)value);
	else
		word_store64(at, value);
}

static uint16_t get16(const struct guest_queue *q, enum guest_word word, uint32_t index)
{
	return (uint16_t)guest_queue_get(q, word, index);
}

void guest_desc_put(struct guest_memory *mem, bool packed, uint64_t table, uint32_t index,
		    const struct guest_desc *desc)
{
	const uint64_t at = table + 16 * (uint64_t)index;

	guest_store64(mem, at, desc->addr);
	guest_store32(mem, at + 8, desc->len);
	guest_store16(mem, at + (packed ? 12 : 14), desc->next);
	guest_store16(mem, at + (packed ? 14 : 12), desc->flags);
}

void guest_desc_get(const struct guest_memory *mem, bool packed, uint64_t table, uint32_t index,
		    struct guest_desc *desc)
{
	const uint64_t at = table + 16 * (uint64_t)index;

	desc->addr = guest_load64(mem, at);
	desc->len = guest_load32(mem, at + 8);
	desc->next = guest_load16(mem, at + (packed ? 12 : 14));
	desc->flags = guest_load16(mem, at + (packed ? 14 : 12));
}

/* The list of what is free. In order it is a queue, so that ring descriptors are
 * used in ring order; otherwise a stack that starts at the high end, so that heads
 * and IDs never happen to equal positions. */
static void list_free(struct guest_queue *q, uint16_t first, uint16_t last, uint32_t count)
{
	if (q->free_listed == 0) {
		q->free_first = first;
		q->free_last = last;
	} else if (q->in_order) {
		q->follow[q->free_last] = first;
		q->free_last = last;
	} else {
		q->follow[last] = q->free_first;
		q->free_first = first;
	}
	q->free_listed += count;
}

static uint16_t take_first(struct guest_queue *q)
{
	const uint16_t taken = q->free_first;

	q->free_first = q->follow[taken];
	q->free_listed--;
	return taken;
}

/* Move @id to the front of the free list. Says whether it was in it. */
static bool bring_first(struct guest_queue *q, uint16_t id)
{
	uint16_t at = q->free_first;

	if (q->free_listed == 0 || id >= q->size)
		return false;
	if (at == id)
		return true;
	for (uint32_t i = 1; i < q->free_listed; i++, at = q->follow[at]) {
		if (q->follow[at] != id)
			continue;
		if (q->free_last == id)
			q->free_last = at;
		q->follow[at] = q->follow[id];
		q->follow[id] = q->free_first;
		q->free_first = id;
		return true;
	}
	return false;
}

static void start(struct guest_queue *q)
{
	memset(q->out, 0, q->size * sizeof(*q->out));
	q->free_listed = 0;
	for (uint32_t i = 0; i < q->size; i++)
		list_free(q, (uint16_t)i, (uint16_t)i, 1);
	q->free_count = q->size;
	q->out_count = 0;
	q->avail = q->shown = q->used = 0;
	q->avail_wrap = q->shown_wrap = q->used_wrap = true;
	q->unshown = q->unkicked = 0;
	q->batch_left = 0;
}

static uint64_t driver_bytes(const struct guest_queue *q)
{
	return q->packed ? 4 : 6 + 2 * (uint64_t)q->size;
}

static uint64_t device_bytes(const struct guest_queue *q)
{
	return q->packed ? 4 : 6 + 8 * (uint64_t)q->size;
}

/* A part without its event word may stand at the very end of memory. */
static uint8_t *part_at(const struct guest_queue *q, uint64_t gpa, uint64_t len)
{
	uint8_t *host = guest_at(q->mem, gpa, len);

	if (host == NULL && !q->packed)
		host = guest_at(q->mem, gpa, len - 2);
	if (host == NULL)
		guest_die("ring part outside of guest memory at", gpa);
	return host;
}

static void clear_part(const struct guest_queue *q, uint64_t gpa, uint64_t len)
{
	guest_fill(q->mem, gpa, 0, guest_at(q->mem, gpa, len) != NULL ? len : len - 2);
}

void guest_queue_restart(struct guest_queue *q)
{
	clear_part(q, q->layout.desc, 16 * (uint64_t)q->size);
	clear_part(q, q->layout.driver, driver_bytes(q));
	clear_part(q, q->layout.device, device_bytes(q));
	start(q);
}

void guest_queue_open(struct guest_queue *q, struct guest_memory *mem,
		      const struct guest_queue_config *config)
{
	struct vmemdev_vq_layout *at = &q->layout;

	memset(q, 0, sizeof(*q));
	q->mem = mem;
	q->features = config->features;
	q->packed = (config->features & VMEMDEV_F_RING_PACKED) != 0;
	q->event_idx = (config->features & VMEMDEV_F_EVENT_IDX) != 0;
	q->in_order = (config->features & VMEMDEV_F_IN_ORDER) != 0;
	q->size = config->size;
	if (q->size == 0 || q->size > VMEMDEV_VQ_SIZE_MAX)
		guest_die("impossible queue size", q->size);
	*at = config->at;
	at->size = q->size;
	if (at->desc == 0)
		at->desc = guest_place(mem, 16 * (uint64_t)q->size, 16);
	if (at->driver == 0)
		at->driver = guest_place(mem, driver_bytes(q), 4);
	if (at->device == 0)
		at->device = guest_place(mem, device_bytes(q), 4);
	q->desc = part_at(q, at->desc, 16 * (uint64_t)q->size);
	q->driver = part_at(q, at->driver, driver_bytes(q));
	q->device = part_at(q, at->device, device_bytes(q));
	q->table_entries = config->table_entries;
	if (q->table_entries > 0)
		q->tables = guest_place(mem, 16 * (uint64_t)q->table_entries * q->size, 16);
	q->out = calloc(q->size, sizeof(*q->out));
	q->follow = calloc(q->size, sizeof(*q->follow));
	if (q->out == NULL || q->follow == NULL)
		guest_die("no host memory for a queue of size", q->size);
	guest_queue_restart(q);
}

void guest_queue_close(struct guest_queue *q)
{
	free(q->out);
	free(q->follow);
	memset(q, 0, sizeof(*q));
}

uint32_t guest_queue_free(const struct guest_queue *q)
{
	return q->free_count;
}

uint16_t guest_queue_avail_flags(const struct guest_queue *q)
{
	return q->avail_wrap ? GUEST_AVAIL : GUEST_USED;
}

/* Next free slot of a packed ring gets @desc; the batch's first head stays hidden. */
static void put_packed(struct guest_queue *q, const struct guest_desc *desc)
{
	const uint16_t flags = desc->flags;

	guest_queue_set(q, GUEST_DESC_ADDR, q->avail, desc->addr);
	guest_queue_set(q, GUEST_DESC_LEN, q->avail, desc->len);
	guest_queue_set(q, GUEST_DESC_ID, q->avail, desc->next);
	if (q->unshown == 0)
		q->first_flags = flags;
	else
		guest_queue_set(q, GUEST_DESC_FLAGS, q->avail, flags);
	q->unshown++;
	if (++q->avail == q->size) {
		q->avail = 0;
		q->avail_wrap = !q->avail_wrap;
	}
}

static void put_split(struct guest_queue *q, uint16_t index, const struct guest_desc *desc)
{
	guest_queue_set(q, GUEST_DESC_ADDR, index, desc->addr);
	guest_queue_set(q, GUEST_DESC_LEN, index, desc->len);
	guest_queue_set(q, GUEST_DESC_FLAGS, index, desc->flags);
	guest_queue_set(q, GUEST_DESC_NEXT, index, desc->next);
}

void guest_queue_offer_head(struct guest_queue *q, uint16_t head)
{
	guest_queue_set(q, GUEST_AVAIL_RING, q->avail % q->size, head);
	q->avail++;
	q->unshown++;
}

void guest_queue_offer_desc(struct guest_queue *q, const struct guest_desc *desc)
{
	struct guest_desc made = *desc;

	made.flags = (uint16_t)((desc->flags & ~(GUEST_AVAIL | GUEST_USED)) |
				guest_queue_avail_flags(q));
	put_packed(q, &made);
}

static uint16_t write_flag(const struct vmemdev_buf *buf)
{
	return buf->writable ? GUEST_WRITE : 0;
}

/* Entry of a linked table that buffer @i of @count is put into. */
static uint32_t table_place(const struct guest_add *how, uint32_t i, uint32_t count)
{
	return how->backwards && i > 0 ? count - i : i;
}

/* Fill the indirect table; @desc becomes the descriptor that refers to it. */
static void put_table(struct guest_queue *q, uint16_t id, const struct vmemdev_buf *bufs,
		      uint32_t count, const struct guest_add *how, struct guest_desc *desc)
{
	uint64_t table = how->table;

	if (table == 0) {
		table = q->tables + 16 * (uint64_t)q->table_entries * id;
		if (count + how->spare > q->table_entries)
			guest_die("the indirect table has no room for entries",
				  (uint64_t)count + how->spare);
	}
	for (uint32_t i = 0; i < count; i++) {
		struct guest_desc entry = { bufs[i].gpa, bufs[i].len, write_flag(&bufs[i]), 0 };

		if (q->packed) {
			entry.flags |= (uint16_t)(how->noise & ~GUEST_WRITE);
			entry.next = how->noise;
		} else if (i + 1 < count) {
			entry.flags |= GUEST_NEXT;
			entry.next = (uint16_t)table_place(how, i + 1, count);
		}
		guest_desc_put(q->mem, q->packed, table, q->packed ? i : table_place(how, i, count),
			       &entry);
	}
	for (uint32_t i = 0; i < how->spare; i++) {
		const struct guest_desc garbage = { UINT64_MAX, UINT32_MAX, 0xffff, 0xffff };

		guest_desc_put(q->mem, q->packed, table, count + i, &garbage);
	}
	*desc = (struct guest_desc){ table, 16 * (count + how->spare),
				     (uint16_t)(GUEST_INDIRECT | how->extra), 0 };
}

/* Descriptor @i of the @slots that the ring itself gets. */
static struct guest_desc ring_desc(struct guest_queue *q, uint16_t id,
				   const struct vmemdev_buf *bufs, uint32_t count,
				   const struct guest_add *how, uint32_t i, uint32_t slots)
{
	struct guest_desc desc;

	if (how->indirect && i + 1 == slots) {
		put_table(q, id, bufs + i, count - i, how, &desc);
		return desc;
	}
	desc = (struct guest_desc){ bufs[i].gpa, bufs[i].len, write_flag(&bufs[i]), 0 };
	if (i + 1 < slots)
		desc.flags |= GUEST_NEXT;
	return desc;
}

static void remember(struct guest_queue *q, uint16_t id, uint16_t last, uint32_t slots,
		     uint64_t tag)
{
	q->out[id] = (struct guest_out){ .tag = tag, .slots = slots, .last = last, .busy = true };
	q->free_count -= slots;
	if (q->out_count++ == 0)
		q->order_first = id;
	else
		q->out[q->order_last].next = id;
	q->order_last = id;
}

static void add_split(struct guest_queue *q, const struct vmemdev_buf *bufs, uint32_t count,
		      const struct guest_add *how, uint32_t slots)
{
	const uint16_t head = take_first(q);
	uint16_t at = head;

	for (uint32_t i = 0; i < slots; i++) {
		struct guest_desc desc = ring_desc(q, head, bufs, count, how, i, slots);

		if (i + 1 < slots) {
			desc.next = take_first(q);
			q->follow[at] = desc.next;
		}
		put_split(q, at, &desc);
		if (i + 1 < slots)
			at = desc.next;
	}
	guest_queue_offer_head(q, head);
	remember(q, head, at, slots, how->tag);
}

static void add_packed(struct guest_queue *q, const struct vmemdev_buf *bufs, uint32_t count,
		       const struct guest_add *how, uint32_t slots)
{
	const uint16_t id = take_first(q);

	for (uint32_t i = 0; i < slots; i++) {
		struct guest_desc desc = ring_desc(q, id, bufs, count, how, i, slots);

		/* only the last descriptor's ID counts: the others carry a wrong one */
		desc.next = i + 1 < slots ? (uint16_t)~id : id;
		desc.flags |= guest_queue_avail_flags(q);
		put_packed(q, &desc);
	}
	remember(q, id, id, slots, how->tag);
}

int guest_queue_add(struct guest_queue *q, const struct vmemdev_buf *bufs, uint32_t count,
		    const struct guest_add *how)
{
	static const struct guest_add plain = { 0 };
	uint16_t id;
	uint32_t slots;

	if (how == NULL)
		how = &plain;
	if (count == 0 || (how->indirect && how->direct > count))
		guest_die("a chain cannot have so many buffers", count);
	slots = how->indirect ? how->direct + 1u : count;
	if (slots > q->free_count || (how->explicit_id && !bring_first(q, how->id)))
		return -1;
	id = q->free_first;
	if (q->packed)
		add_packed(q, bufs, count, how, slots);
	else
		add_split(q, bufs, count, how, slots);
	return id;
}

uint32_t guest_queue_publish(struct guest_queue *q)
{
	const uint32_t count = q->unshown;

	if (count == 0)
		return 0;
	if (q->packed)
		guest_queue_set(q, GUEST_DESC_FLAGS, q->shown, q->first_flags);
	else
		guest_queue_set(q, GUEST_AVAIL_IDX, 0, q->avail);
	q->shown = q->avail;
	q->shown_wrap = q->avail_wrap;
	q->unkicked += count;
	q->unshown = 0;
	return count;
}

static bool want_kick_split(const struct guest_queue *q, uint32_t added)
{
	uint16_t event;

	if (!q->event_idx)
		return (get16(q, GUEST_USED_FLAGS, 0) & 1) == 0;
	event = get16(q, GUEST_AVAIL_EVENT, 0);
	/* 2.7.10.2: when the entry of index event was among those added */
	return (uint16_t)(q->shown - event - 1) < added;
}

static bool want_kick_packed(const struct guest_queue *q, uint32_t added)
{
	const uint32_t flags = get16(q, GUEST_DEVICE_FLAGS, 0) & 3u;
	const uint16_t word = get16(q, GUEST_DEVICE_EVENT, 0);
	int32_t event = word & 0x7fff;

	if (flags != GUEST_EVENT_DESC)
		return flags != GUEST_EVENT_DISABLE;
	if (((word & GUEST_EVENT_WRAP) != 0) != q->shown_wrap)
		event -= (int32_t)q->size;
	return event >= q->shown - (int32_t)added && event < q->shown;
}

bool guest_queue_want_kick(struct guest_queue *q)
{
	const uint32_t added = q->unkicked;

	q->unkicked = 0;
	if (added == 0)
		return false;
	word_full_barrier();
	return q->packed ? want_kick_packed(q, added) : want_kick_split(q, added);
}

uint32_t guest_queue_kick_data(const struct guest_queue *q, uint16_t index)
{
	uint32_t next = q->shown;

	if (q->packed && q->shown_wrap)
		next |= 0x8000;
	return next << 16 | index;
}

static bool packed_used(const struct guest_queue *q, uint16_t *flags)
{
	*flags = get16(q, GUEST_DESC_FLAGS, q->used);
	return ((*flags & GUEST_AVAIL) != 0) == q->used_wrap &&
	       ((*flags & GUEST_USED) != 0) == q->used_wrap;
}

bool guest_queue_has_used(const struct guest_queue *q)
{
	uint16_t flags;

	if (q->batch_left > 0)
		return true;
	return q->packed ? packed_used(q, &flags) : get16(q, GUEST_USED_IDX, 0) != q->used;
}

/* How many buffers an entry with @id stands for; 0 if that cannot be. */
static uint32_t batch_of(const struct guest_queue *q, uint32_t id)
{
	uint16_t at = q->order_first;

	if (id >= q->size || !q->out[id].busy)
		return 0;
	if (!q->in_order)
		return 1;
	for (uint32_t count = 1; count <= q->out_count; count++, at = q->out[at].next) {
		if (at == id)
			return count;
	}
	return 0;
}

static int fetch_split(struct guest_queue *q)
{
	const uint16_t ready = (uint16_t)(get16(q, GUEST_USED_IDX, 0) - q->used);
	const uint32_t slot = q->used % q->size;

	if (ready == 0)
		return 0;
	q->batch_id = (uint32_t)guest_queue_get(q, GUEST_USED_ID, slot);
	q->batch_len = (uint32_t)guest_queue_get(q, GUEST_USED_LEN, slot);
	q->batch_written = q->batch_len > 0;
	q->batch_left = batch_of(q, q->batch_id);
	if (q->batch_left == 0 || q->batch_left > ready || ready > q->out_count) {
		q->batch_left = 0;
		return -1;
	}
	return 1;
}

static int fetch_packed(struct guest_queue *q)
{
	uint16_t flags;

	if (!packed_used(q, &flags))
		return 0;
	q->batch_id = get16(q, GUEST_DESC_ID, q->used);
	q->batch_written = (flags & GUEST_WRITE) != 0;
	q->batch_len = (uint32_t)guest_queue_get(q, GUEST_DESC_LEN, q->used);
	q->batch_left = batch_of(q, q->batch_id);
	if (q->batch_left == 0 || (flags & ~(GUEST_WRITE | GUEST_AVAIL | GUEST_USED)) != 0) {
		q->batch_left = 0;
		return -1;
	}
	return 1;
}

/* The driver's position behind the buffer that is @slots long. */
static void step_used(struct guest_queue *q, uint32_t slots)
{
	uint32_t next;

	if (!q->packed) {
		q->used++;
		return;
	}
	next = q->used + slots;
	if (next >= q->size) {
		next -= q->size;
		q->used_wrap = !q->used_wrap;
	}
	q->used = (uint16_t)next;
}

static void release(struct guest_queue *q, uint16_t id)
{
	struct guest_out *out = &q->out[id];

	if (id == q->order_first)
		q->order_first = out->next;
	out->busy = false;
	q->out_count--;
	q->free_count += out->slots;
	list_free(q, id, out->last, q->packed ? 1 : out->slots);
	step_used(q, out->slots);
}

int guest_queue_poll(struct guest_queue *q, struct guest_used *used)
{
	uint16_t id;

	if (q->batch_left == 0) {
		const int got = q->packed ? fetch_packed(q) : fetch_split(q);

		if (got <= 0)
			return got;
	}
	q->batch_left--;
	id = q->batch_left > 0 ? q->order_first : (uint16_t)q->batch_id;
	*used = (struct guest_used){ .id = id, .tag = q->out[id].tag };
	used->skipped = q->batch_left > 0;
	if (!used->skipped) {
		used->len = q->batch_len;
		used->written = q->batch_written;
	}
	release(q, id);
	return 1;
}

void guest_queue_interrupt_at(struct guest_queue *q, uint16_t ahead)
{
	uint32_t at = (uint32_t)q->used + ahead;
	bool wrap = q->used_wrap;

	if (!q->packed) {
		guest_queue_set(q, GUEST_AVAIL_FLAGS, 0, 0);
		guest_queue_set(q, GUEST_USED_EVENT, 0, at);
	} else {
		for (; at >= q->size; at -= q->size)
			wrap = !wrap;
		guest_queue_set(q, GUEST_DRIVER_EVENT, 0, at | (wrap ? GUEST_EVENT_WRAP : 0));
		guest_queue_set(q, GUEST_DRIVER_FLAGS, 0, GUEST_EVENT_DESC);
	}
	word_full_barrier();
}

void guest_queue_interrupts_on(struct guest_queue *q)
{
	if (q->event_idx) {
		guest_queue_interrupt_at(q, 0);
		return;
	}
	guest_queue_set(q, q->packed ? GUEST_DRIVER_FLAGS : GUEST_AVAIL_FLAGS, 0, 0);
	word_full_barrier();
}

void guest_queue_interrupts_off(struct guest_queue *q)
{
	if (q->packed) {
		guest_queue_set(q, GUEST_DRIVER_FLAGS, 0, GUEST_EVENT_DISABLE);
		return;
	}
	guest_queue_set(q, GUEST_AVAIL_FLAGS, 0, 1);
	if (q->event_idx)
		guest_queue_set(q, GUEST_USED_EVENT, 0, (uint16_t)(q->used + 0x8000u));
}
