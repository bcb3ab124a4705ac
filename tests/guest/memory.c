/* SPDX-License-Identifier: BSD-3-Clause */
#include "guest/memory.h"
#include "guest/word.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

_Noreturn void guest_die(const char *what, uint64_t value)
{
	fprintf(stderr, "model guest: %s (0x%" PRIx64 ")\n", what, value);
	abort();
}

static const struct vmemdev_region *region_of(const struct guest_memory *mem, uint64_t gpa)
{
	for (uint32_t i = 0; i < mem->count; i++) {
		const struct vmemdev_region *region = &mem->regions[i];

		if (gpa >= region->gpa && gpa - region->gpa < region->len)
			return region;
	}
	return NULL;
}

static bool touches(uint64_t gpa, uint64_t len, const struct vmemdev_range *range)
{
	if (gpa >= range->gpa)
		return len > 0 && gpa - range->gpa < range->len;
	return range->len > 0 && range->gpa - gpa < len;
}

static void *map(void *ctx, uint64_t gpa, uint64_t len, enum vmemdev_access access)
{
	struct guest_memory *mem = ctx;
	const struct vmemdev_region *region = region_of(mem, gpa);

	mem->map_calls++;
	if (mem->on_map != NULL)
		mem->on_map(mem->on_map_ctx, gpa, len, access);
	if (region == NULL || touches(gpa, len, &mem->refuse))
		return NULL;
	if (access == VMEMDEV_WRITE && (region->flags & VMEMDEV_REGION_READONLY) != 0)
		return NULL;
	return guest_at(mem, gpa, len);
}

static uint64_t run(void *ctx, uint64_t gpa, uint64_t len, bool *discardable)
{
	struct guest_memory *mem = ctx;
	const struct vmemdev_region *region = region_of(mem, gpa);
	uint64_t rest;

	mem->run_calls++;
	if (region != NULL) {
		*discardable = (region->flags &
				(VMEMDEV_REGION_READONLY | VMEMDEV_REGION_KEEP)) == 0;
		rest = region->len - (gpa - region->gpa);
		return rest < len ? rest : len;
	}
	*discardable = false;
	for (uint32_t i = 0; i < mem->count; i++) {
		if (mem->regions[i].gpa > gpa && mem->regions[i].gpa - gpa < len)
			len = mem->regions[i].gpa - gpa;
	}
	return len;
}

static void dirty(void *ctx, uint64_t gpa, uint64_t len)
{
	struct guest_memory *mem = ctx;

	if (mem->write_count < GUEST_WRITES_MAX)
		mem->writes[mem->write_count] = (struct vmemdev_range){ gpa, len };
	mem->write_count++;
	if (mem->on_write != NULL)
		mem->on_write(mem->on_write_ctx, gpa, len);
}

void guest_memory_open(struct guest_memory *mem, enum guest_mode mode,
		       const struct guest_region *regions, uint32_t count)
{
	struct vmemdev_guest_config config = { 0 };

	memset(mem, 0, sizeof(*mem));
	if (count == 0 || count > GUEST_REGIONS_MAX)
		guest_die("1 to GUEST_REGIONS_MAX regions are possible, not", count);
	mem->mode = mode;
	mem->count = count;
	for (uint32_t i = 0; i < count; i++) {
		void *host = aligned_alloc(4096, (size_t)regions[i].len);

		if (host == NULL)
			guest_die("no host memory for a region of", regions[i].len);
		memset(host, 0, (size_t)regions[i].len);
		mem->regions[i] = (struct vmemdev_region){
			.gpa = regions[i].gpa,
			.len = regions[i].len,
			.host = host,
			.flags = regions[i].flags,
		};
	}
	mem->ops.dirty = dirty;
	config.struct_size = sizeof(config);
	config.ops = &mem->ops;
	config.ctx = mem;
	if (mode == GUEST_TABLE) {
		config.regions = mem->regions;
		config.region_count = count;
	} else {
		mem->ops.map = map;
		mem->ops.run = run;
	}
	if (vmemdev_guest_init(&mem->guest, sizeof(mem->guest), &config) != 0)
		guest_die("vmemdev_guest_init refused these regions, as many as", count);
}

void guest_memory_open_flat(struct guest_memory *mem, uint64_t gpa, uint64_t len)
{
	const struct guest_region region = { .gpa = gpa, .len = len };

	guest_memory_open(mem, GUEST_TABLE, &region, 1);
}

void guest_memory_close(struct guest_memory *mem)
{
	for (uint32_t i = 0; i < mem->count; i++)
		free(mem->regions[i].host);
	mem->count = 0;
}

int guest_memory_show(struct guest_memory *mem, uint32_t count)
{
	return vmemdev_guest_set_regions(&mem->guest, mem->regions, count);
}

void guest_memory_forget(struct guest_memory *mem)
{
	mem->write_count = 0;
	mem->map_calls = 0;
	mem->run_calls = 0;
}

bool guest_memory_wrote(const struct guest_memory *mem, uint64_t gpa, uint64_t len)
{
	const uint64_t count =
		mem->write_count < GUEST_WRITES_MAX ? mem->write_count : GUEST_WRITES_MAX;

	for (uint64_t i = 0; i < count; i++) {
		if (touches(gpa, len, &mem->writes[i]))
			return true;
	}
	return false;
}

void *guest_at(const struct guest_memory *mem, uint64_t gpa, uint64_t len)
{
	const struct vmemdev_region *region = region_of(mem, gpa);

	if (region == NULL || len > region->len - (gpa - region->gpa))
		return NULL;
	return (uint8_t *)region->host + (gpa - region->gpa);
}

/* Bytes from @gpa to the end of its region, at most @len; 0 outside memory. */
static uint64_t piece_at(const struct guest_memory *mem, uint64_t gpa, uint64_t len)
{
	const struct vmemdev_region *region = region_of(mem, gpa);
	uint64_t rest;

	if (region == NULL)
		return 0;
	rest = region->len - (gpa - region->gpa);
	return rest < len ? rest : len;
}

static bool is_memory(const struct guest_memory *mem, uint64_t gpa, uint64_t len)
{
	while (len > 0) {
		const uint64_t piece = piece_at(mem, gpa, len);

		if (piece == 0)
			return false;
		gpa += piece;
		len -= piece;
	}
	return true;
}

bool guest_read(const struct guest_memory *mem, uint64_t gpa, void *dst, uint64_t len)
{
	uint8_t *to = dst;

	if (!is_memory(mem, gpa, len))
		return false;
	while (len > 0) {
		const uint64_t piece = piece_at(mem, gpa, len);

		memcpy(to, guest_at(mem, gpa, piece), (size_t)piece);
		to += piece;
		gpa += piece;
		len -= piece;
	}
	return true;
}

bool guest_write(struct guest_memory *mem, uint64_t gpa, const void *src, uint64_t len)
{
	const uint8_t *from = src;

	if (!is_memory(mem, gpa, len))
		return false;
	while (len > 0) {
		const uint64_t piece = piece_at(mem, gpa, len);

		memcpy(guest_at(mem, gpa, piece), from, (size_t)piece);
		from += piece;
		gpa += piece;
		len -= piece;
	}
	return true;
}

void guest_fill(struct guest_memory *mem, uint64_t gpa, uint8_t byte, uint64_t len)
{
	while (len > 0) {
		const uint64_t piece = piece_at(mem, gpa, len);

		if (piece == 0)
			guest_die("fill outside of guest memory at", gpa);
		memset(guest_at(mem, gpa, piece), byte, (size_t)piece);
		gpa += piece;
		len -= piece;
	}
}

static void *word_at(const struct guest_memory *mem, uint64_t gpa, uint64_t len)
{
	void *host = guest_at(mem, gpa, len);

	if (host == NULL || gpa % len != 0)
		guest_die("word outside of guest memory or not aligned at", gpa);
	return host;
}

uint16_t guest_load16(const struct guest_memory *mem, uint64_t gpa)
{
	return word_load16(word_at(mem, gpa, 2));
}

uint32_t guest_load32(const struct guest_memory *mem, uint64_t gpa)
{
	return word_load32(word_at(mem, gpa, 4));
}

uint64_t guest_load64(const struct guest_memory *mem, uint64_t gpa)
{
	return word_load64(word_at(mem, gpa, 8));
}

void guest_store16(struct guest_memory *mem, uint64_t gpa, uint16_t value)
{
	word_store16(word_at(mem, gpa, 2), value);
}

void guest_store32(struct guest_memory *mem, uint64_t gpa, uint32_t value)
{
	word_store32(word_at(mem, gpa, 4), value);
}

void guest_store64(struct guest_memory *mem, uint64_t gpa, uint64_t value)
{
	word_store64(word_at(mem, gpa, 8), value);
}

uint64_t guest_place(struct guest_memory *mem, uint64_t len, uint64_t align)
{
	const struct vmemdev_region *region = &mem->regions[mem->place_region];
	const uint64_t at = (mem->place_used + align - 1) / align * align;

	if (at > region->len || len > region->len - at)
		guest_die("the test's guest memory is full; it wanted bytes", len);
	mem->place_used = at + len;
	return region->gpa + at;
}

void guest_place_in(struct guest_memory *mem, uint32_t region)
{
	if (region >= mem->count)
		guest_die("no such region", region);
	mem->place_region = region;
	mem->place_used = 0;
}

uint64_t guest_place_mark(const struct guest_memory *mem)
{
	return mem->place_used;
}

void guest_place_release(struct guest_memory *mem, uint64_t mark)
{
	mem->place_used = mark;
}

void guest_random_seed(struct guest_random *random, uint64_t seed)
{
	random->state = seed;
}

/* SplitMix64: good enough, tiny, and the same everywhere. */
uint64_t guest_random_next(struct guest_random *random)
{
	uint64_t z = random->state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

uint32_t guest_random_below(struct guest_random *random, uint32_t limit)
{
	return limit == 0 ? 0 : (uint32_t)((guest_random_next(random) >> 32) % limit);
}
