/* SPDX-License-Identifier: BSD-3-Clause */
#include "world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum mark { MARK_WRITTEN = 1, MARK_UNTOLD = 2 };
enum { DESC_SIZE = 16, DESC_NEXT = 1, DESC_WRITE = 2, DESC_INDIRECT = 4, DESC_FLAGS = 14 };
enum { SPLIT_RING = 4, SPLIT_ENTRY = 8, SPLIT_FLAGS = 12, PAGE = 4096 };

static const struct guest_region places[REGIONS] = {
	[RINGS] = { 0, RINGS_LEN, 0 },
	[BUFFERS] = { RINGS_LEN, BUFFERS_LEN, 0 },
	[ROM] = { ROM_ADDR, 4096, VMEMDEV_REGION_READONLY },
	[BLOCKS] = { BLOCKS_ADDR, BLOCKS_LEN, 0 },
	[PMEM] = { PMEM_ADDR, PMEM_LEN, VMEMDEV_REGION_KEEP },
};

static struct world *world; /* whom the seam serves */

_Noreturn void fuzz_fail(const char *property, const char *file, int line)
{
	fprintf(stderr, "%s:%d: this does not hold: %s\n", file, line, property);
	abort();
}

uint64_t take(struct input *in, uint32_t bytes)
{
	uint64_t value = 0;

	for (uint32_t i = 0; i < bytes && in->at < in->end; i++)
		value |= (uint64_t)*in->at++ << (8 * i);
	return value;
}

static uint32_t le(const uint8_t *bytes, uint32_t count)
{
	struct input in = { bytes, bytes + count };

	return (uint32_t)take(&in, count);
}

void ring_place(uint32_t slot, uint32_t size, struct vmemdev_vq_layout *layout)
{
	const uint64_t at = RING_ROOM * (slot + 1);

	*layout = (struct vmemdev_vq_layout){ .desc = at, .driver = at + 0x200,
					      .device = at + 0x280, .size = size };
}

uint64_t ring_table(uint32_t slot, uint32_t id)
{
	return RING_ROOM * (slot + 1) + 0x400 + (uint64_t)DESC_SIZE * TABLE_ENTRIES * id;
}

uint64_t ring_buffer(uint32_t slot, uint32_t id)
{
	return RINGS_LEN + BUFFER_ROOM * (RING_SIZE_MAX * slot + id);
}

static bool inside(uint64_t gpa, uint64_t len, uint64_t at, uint64_t size)
{
	return gpa >= at && len <= size && gpa - at <= size - len;
}

/* The region that holds @gpa, or REGIONS. */
static uint32_t region_at(uint64_t gpa)
{
	for (uint32_t i = 0; i < REGIONS; i++) {
		if (inside(gpa, 1, places[i].gpa, places[i].len))
			return i;
	}
	return REGIONS;
}

/* Whether the blocks that [gpa, gpa + len) of BLOCKS touches are all plugged. */
static bool all_plugged(uint32_t plugged, uint64_t gpa, uint64_t len)
{
	for (uint64_t i = (gpa - BLOCKS_ADDR) / BLOCK; i <= (gpa + len - 1 - BLOCKS_ADDR) / BLOCK; i++) {
		if (!(plugged >> i & 1))
			return false;
	}
	return true;
}

static void *map(void *ctx, uint64_t gpa, uint64_t len, enum vmemdev_access access)
{
	const struct world *w = ctx;
	const uint32_t r = region_at(gpa);

	if (r == REGIONS || !(w->shown >> r & 1) || !inside(gpa, len, places[r].gpa, places[r].len))
		return NULL;
	if (access == VMEMDEV_WRITE && (places[r].flags & VMEMDEV_REGION_READONLY))
		return NULL;
	if (r == BLOCKS && !all_plugged((uint32_t)w->bitmap[0], gpa, len))
		return NULL;
	return (uint8_t *)w->mem->regions[r].host + (gpa - places[r].gpa);
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t run(void *ctx, uint64_t gpa, uint64_t len, bool *discardable)
{
	const struct world *w = ctx;
	const uint32_t r = region_at(gpa);

	*discardable = false;
	if (r == REGIONS) {
		for (uint32_t i = 0; i < REGIONS; i++) {
			if (places[i].gpa > gpa)
				len = least(len, places[i].gpa - gpa);
		}
		return len;
	}
	if (r == BLOCKS) {
		*discardable = (w->shown >> r & 1) && all_plugged((uint32_t)w->bitmap[0], gpa, 1);
		return least(len, BLOCK - gpa % BLOCK);
	}
	*discardable = (w->shown >> r & 1) && places[r].flags == 0;
	return least(len, places[r].gpa + places[r].len - gpa);
}

static void dirty(void *ctx, uint64_t gpa, uint64_t len)
{
	struct world *w = ctx;
	const uint32_t r = region_at(gpa);
	uint8_t *mark;

	require(r < REGIONS && inside(gpa, len, places[r].gpa, places[r].len));
	mark = w->marks[r] + (gpa - places[r].gpa);
	for (uint64_t i = 0; i < len; i++) {
		w->untold -= (mark[i] & MARK_UNTOLD) != 0;
		mark[i] &= (uint8_t)~MARK_UNTOLD;
	}
}

/* Allocated once: an input costs no more than what it clears. */
static struct {
	struct guest_memory mem;
	uint8_t *marks[REGIONS], *copy[REGIONS];
	struct fetched fetched[FETCHED_MAX];
} kept;

static void allocate(void)
{
	guest_memory_open(&kept.mem, GUEST_TABLE, places, REGIONS);
	kept.mem.regions[BLOCKS].block_shift = 12;
	for (uint32_t i = 0; i < REGIONS; i++) {
		kept.marks[i] = malloc((size_t)places[i].len);
		kept.copy[i] = malloc((size_t)places[i].len);
		require(kept.marks[i] != NULL && kept.copy[i] != NULL);
	}
}

void world_open(struct world *w, bool callbacks)
{
	struct vmemdev_guest_config config = { .struct_size = sizeof(config), .ctx = w };

	if (kept.mem.count == 0)
		allocate();
	w->mem = &kept.mem;
	w->fetched = kept.fetched;
	for (uint32_t i = 0; i < REGIONS; i++) {
		w->marks[i] = kept.marks[i];
		w->copy[i] = kept.copy[i];
		memset(w->marks[i], 0, (size_t)places[i].len);
		memset(w->mem->regions[i].host, 0, (size_t)places[i].len);
	}
	w->mem->regions[BLOCKS].blocks = w->bitmap;
	w->mem->ops = (struct vmemdev_guest_ops){ .dirty = dirty };
	config.ops = &w->mem->ops;
	if (callbacks) {
		w->mem->ops.map = map;
		w->mem->ops.run = run;
	} else {
		memcpy(w->tables[0], w->mem->regions, sizeof(w->tables[0]));
		config.regions = w->tables[0];
		config.region_count = REGIONS;
	}
	require(vmemdev_guest_init(&w->mem->guest, sizeof(w->mem->guest), &config) == 0);
	w->shown = (1u << REGIONS) - 1;
	world = w;
}

void world_close(struct world *w)
{
	require(world == w);
	world = NULL;
}

void world_show(struct world *w, uint32_t shown)
{
	struct vmemdev_region *table = w->tables[w->table ^ 1];
	uint32_t count = 0;

	shown |= 1u << ROM;
	if (w->mem->ops.map != NULL) {
		w->shown = shown;
		vmemdev_guest_changed(&w->mem->guest);
		return;
	}
	for (uint32_t i = 0; i < REGIONS; i++) {
		if (shown >> i & 1)
			table[count++] = w->mem->regions[i];
	}
	require(vmemdev_guest_set_regions(&w->mem->guest, table, count) == 0);
	w->table ^= 1;
	w->shown = shown;
}

bool world_discardable(const struct world *w, uint64_t gpa, uint64_t len)
{
	uint64_t part;

	for (; len > 0; gpa += part, len -= part) {
		const uint32_t r = region_at(gpa);

		if (r == REGIONS || !(w->shown >> r & 1) || places[r].flags != 0)
			return false;
		part = least(len, places[r].gpa + places[r].len - gpa);
		if (r == BLOCKS && !all_plugged(w->plugged, gpa, part))
			return false;
	}
	return true;
}

/* Something of that kind that holds [gpa, gpa + len), the newest first; NULL: nothing does. */
static const struct fetched *find_fetched(const struct world *w, uint32_t kind, uint64_t gpa,
					  uint64_t len)
{
	uint32_t i = w->fetched_count < FETCHED_MAX ? w->fetched_count : FETCHED_MAX;

	while (i-- > 0) {
		if (w->fetched[i].kind == kind &&
		    inside(gpa, len, w->fetched[i].at.gpa, w->fetched[i].at.len))
			return &w->fetched[i];
	}
	return NULL;
}

bool world_fetched(const struct world *w, uint64_t gpa, uint64_t len)
{
	for (; len > 0; gpa += PAGE, len -= PAGE) {
		if (find_fetched(w, FETCHED_WRITABLE, gpa, PAGE) == NULL)
			return w->fetched_count > FETCHED_MAX;
	}
	return true;
}

/* Write one byte that is not the library's, if that is memory. */
static void put(struct world *w, uint64_t gpa, uint8_t byte)
{
	const uint32_t r = region_at(gpa);

	if (r == REGIONS)
		return;
	((uint8_t *)w->mem->regions[r].host)[gpa - places[r].gpa] = byte;
	w->marks[r][gpa - places[r].gpa] |= MARK_WRITTEN;
}

void world_scribble(struct world *w, uint64_t gpa, uint64_t len, struct input *in)
{
	for (uint64_t i = 0; i < len && in->at < in->end; i++)
		put(w, gpa + i, (uint8_t)take(in, 1));
}

void world_zero(struct world *w, uint64_t gpa, uint64_t len)
{
	for (uint64_t i = 0; i < len; i++)
		put(w, gpa + i, 0);
}

void world_race(struct world *w, struct input *in)
{
	struct race race = { .after = (uint32_t)take(in, 1) };
	const uint32_t how = (uint32_t)take(in, 1);

	race.there = how & 0x80;
	race.len = 1 + how % RACE_BYTES;
	race.at = take(in, 2);
	for (uint32_t i = 0; i < race.len; i++)
		race.bytes[i] = (uint8_t)take(in, 1);
	if (w->race_count < RACES)
		w->races[w->race_count++] = race;
}

void world_ring(struct world *w, uint32_t slot, const struct vmemdev_vq_layout *layout,
		bool packed, uint32_t used_max)
{
	w->rings[slot].live = layout != NULL;
	w->rings[slot].packed = packed;
	w->rings[slot].used_max = used_max;
	if (layout != NULL)
		w->rings[slot].at = *layout;
}

/* The guest's other CPUs run before the read at @gpa. */
static void run_races(struct world *w, uint64_t gpa)
{
	uint32_t left = 0;

	for (uint32_t i = 0; i < w->race_count; i++) {
		struct race *race = &w->races[i];

		if (race->after-- > 0) {
			w->races[left++] = *race;
			continue;
		}
		w->raced = true;
		for (uint32_t b = 0; b < race->len; b++)
			put(w, (race->there ? gpa : 0) + race->at + b, race->bytes[b]);
	}
	w->race_count = left;
}

static void add_fetched(struct world *w, uint32_t kind, const struct vmemdev_range *at)
{
	if (at->len == 0 || find_fetched(w, kind, at->gpa, at->len) != NULL ||
	    w->fetched_count > FETCHED_MAX)
		return;
	if (w->fetched_count < FETCHED_MAX) {
		w->fetched[w->fetched_count].at = *at;
		w->fetched[w->fetched_count].kind = kind;
	}
	w->fetched_count++;
}

/* A descriptor of the library's, with these flags: what it may read and write by that. */
static void learn(struct world *w, bool packed, bool direct, uint32_t flags)
{
	const uint8_t *bytes = w->fetching.bytes;
	const struct vmemdev_range at = { le(bytes, 4) | (uint64_t)le(bytes + 4, 4) << 32,
					  le(bytes + 8, 4) };

	if (direct && (flags & DESC_INDIRECT))
		add_fetched(w, packed ? FETCHED_PACKED : FETCHED_SPLIT, &at);
	else
		add_fetched(w, flags & DESC_WRITE ? FETCHED_WRITABLE : FETCHED_READABLE, &at);
}

static void note_descriptor(struct world *w, uint64_t gpa, bool packed, bool direct)
{
	struct fetching *f = &w->fetching;
	const bool head = direct && packed && f->head_at == gpa;
	uint32_t flags = le(f->bytes + (packed ? DESC_FLAGS : SPLIT_FLAGS), 2);

	learn(w, packed, direct, flags);
	if (head)
		learn(w, packed, direct, f->head_flags);
	flags |= head ? f->head_flags : 0;
	f->last = true;
	f->last_at = gpa;
	f->last_leads_on = flags & (DESC_NEXT | DESC_INDIRECT);
	f->len = 0;
}

/* A part of a descriptor, or all of it. */
static void fetch(struct world *w, uint64_t gpa, const uint8_t *host, size_t len, bool packed,
		  bool direct)
{
	struct fetching *f = &w->fetching;

	if (gpa != f->end || f->len + len > DESC_SIZE)
		f->len = 0;
	memcpy(f->bytes + f->len, host, len);
	f->len += (uint32_t)len;
	f->end = gpa + len;
	if (f->len == DESC_SIZE)
		note_descriptor(w, f->end - DESC_SIZE, packed, direct);
}

/* A whole descriptor of the table at @base; or its first or last part, as pages are mapped. */
static bool is_descriptor(uint64_t base, uint64_t gpa, size_t len)
{
	const bool first = (gpa - base) % DESC_SIZE == 0;
	const bool last = (gpa + len - base) % DESC_SIZE == 0;

	if (len >= DESC_SIZE)
		return len == DESC_SIZE && first;
	return (first && (gpa + len) % PAGE == 0) || (last && gpa % PAGE == 0);
}

/* Whether that may be read of the rings: the driver's part, or a descriptor, which is noted. */
static bool read_of_ring(struct world *w, uint64_t gpa, const uint8_t *host, size_t len)
{
	bool allowed = false;

	for (uint32_t i = w->slot_first; i < w->slot_end; i++) {
		const struct ring *ring = &w->rings[i];
		const struct vmemdev_vq_layout *at = &ring->at;

		if (!ring->live)
			continue;
		allowed = allowed || inside(gpa, len, at->driver,
					    ring->packed ? 4 : 6 + 2 * (uint64_t)at->size);
		if (!inside(gpa, len, at->desc, (uint64_t)DESC_SIZE * at->size))
			continue;
		if (is_descriptor(at->desc, gpa, len)) {
			fetch(w, gpa, host, len, ring->packed, true);
			allowed = true;
		} else if (ring->packed && len == 2 && (gpa - at->desc) % DESC_SIZE == DESC_FLAGS) {
			w->fetching.head_at = gpa - DESC_FLAGS;
			w->fetching.head_flags = (uint16_t)le(host, 2);
			allowed = true;
		}
	}
	return allowed;
}

static bool read_of_table(struct world *w, uint64_t gpa, const uint8_t *host, size_t len)
{
	bool allowed = false;

	for (uint32_t kind = FETCHED_SPLIT; kind <= FETCHED_PACKED; kind++) {
		const struct fetched *table = find_fetched(w, kind, gpa, len);

		if (table == NULL || !is_descriptor(table->at.gpa, gpa, len))
			continue;
		fetch(w, gpa, host, len, kind == FETCHED_PACKED, false);
		allowed = true;
	}
	return allowed;
}

/* What is fetched twice may be another thing the second time. */
static void note_read(struct world *w, uint64_t gpa, const uint8_t *host, size_t len)
{
	const bool again = w->fetching.last && w->fetching.last_at == gpa && len == DESC_SIZE &&
			   !w->fetching.last_leads_on;
	const bool of_buffer = find_fetched(w, FETCHED_READABLE, gpa, len) != NULL;
	bool allowed;

	w->reads++;
	w->fetching.last = false;
	allowed = read_of_ring(w, gpa, host, len);
	allowed = read_of_table(w, gpa, host, len) || allowed;
	require(of_buffer || allowed || w->fetched_count > FETCHED_MAX);
	require(of_buffer || !again);
}

/* Whether @ring's device part holds it; *used says if that is where a used length stands. */
static bool in_device_part(const struct ring *ring, uint64_t gpa, uint64_t len, bool *used)
{
	uint64_t offset = gpa - ring->at.device;

	*used = false;
	if (!ring->packed) {
		*used = offset >= SPLIT_RING && (offset - SPLIT_RING) % SPLIT_ENTRY == 4 &&
			offset < SPLIT_RING + (uint64_t)SPLIT_ENTRY * ring->at.size;
		return inside(gpa, len, ring->at.device,
			      SPLIT_RING + (uint64_t)SPLIT_ENTRY * ring->at.size + 2);
	}
	if (inside(gpa, len, ring->at.device, 4))
		return true;
	offset = (gpa - ring->at.desc) % DESC_SIZE;
	*used = offset == 8;
	return inside(gpa, len, ring->at.desc, (uint64_t)DESC_SIZE * ring->at.size) &&
	       offset >= 8 && offset + len <= DESC_SIZE;
}

static void check_used(struct world *w)
{
	if (w->used_at != NULL)
		require(le(w->used_at, 4) <= w->used_max);
	w->used_at = NULL;
}

static void check_write(struct world *w, uint64_t gpa, const uint8_t *host, size_t len)
{
	bool allowed = w->fetched_count > FETCHED_MAX, lengths = len == 4, used;
	uint32_t used_max = 0;

	for (uint32_t i = w->slot_first; i < w->slot_end; i++) {
		const struct ring *ring = &w->rings[i];

		if (!ring->live || !in_device_part(ring, gpa, len, &used))
			continue;
		allowed = true;
		lengths = lengths && used;
		used_max = ring->used_max;
	}
	lengths = lengths && allowed && w->fetched_count <= FETCHED_MAX;
	if (find_fetched(w, FETCHED_WRITABLE, gpa, len) != NULL) {
		allowed = true;
		lengths = false;
	}
	require(allowed);
	if (lengths) {
		w->used_at = host;
		w->used_max = used_max;
	}
}

static uint32_t region_of_host(const struct world *w, const uint8_t *host, size_t len)
{
	for (uint32_t i = 0; i < REGIONS; i++) {
		if (inside((uintptr_t)host, len, (uintptr_t)w->mem->regions[i].host, places[i].len))
			return i;
	}
	return REGIONS;
}

void vmemdev_guest_seam(uint8_t *host, size_t len, bool write)
{
	struct world *w = world;
	const uint32_t r = region_of_host(w, host, len);
	uint64_t gpa;
	uint8_t *mark;

	check_used(w);
	require(r < REGIONS && len > 0);
	require(w->shown >> r & 1);
	gpa = places[r].gpa + (uint64_t)(host - (uint8_t *)w->mem->regions[r].host);
	require(r != BLOCKS || all_plugged(w->plugged, gpa, len));
	if (!write) {
		run_races(w, gpa);
		note_read(w, gpa, host, len);
		return;
	}
	require(!(places[r].flags & VMEMDEV_REGION_READONLY));
	check_write(w, gpa, host, len);
	mark = w->marks[r] + (gpa - places[r].gpa);
	for (size_t i = 0; i < len; i++) {
		w->untold += !(mark[i] & MARK_UNTOLD);
		mark[i] |= MARK_WRITTEN | MARK_UNTOLD;
	}
}

void world_enter(struct world *w, uint32_t slot_first, uint32_t slot_end, bool watch)
{
	w->slot_first = slot_first;
	w->slot_end = slot_end;
	w->fetching.last = false;
	w->watched = watch;
	for (uint32_t i = 0; watch && i < REGIONS; i++) {
		memcpy(w->copy[i], w->mem->regions[i].host, (size_t)places[i].len);
		memset(w->marks[i], 0, (size_t)places[i].len);
	}
}

/* Byte for byte only where a line of them differs. */
static void compare(const uint8_t *before, const uint8_t *now, const uint8_t *marks, uint64_t len)
{
	enum { LINE = 256 };

	for (uint64_t at = 0; at < len; at += LINE) {
		if (memcmp(before + at, now + at, LINE) == 0)
			continue;
		for (uint64_t b = at; b < at + LINE; b++)
			require(before[b] == now[b] || (marks[b] & MARK_WRITTEN));
	}
}

void world_leave(struct world *w)
{
	check_used(w);
	require(w->untold == 0);
	for (uint32_t i = 0; w->watched && i < REGIONS; i++)
		compare(w->copy[i], w->mem->regions[i].host, w->marks[i], places[i].len);
}
