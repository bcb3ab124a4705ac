/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lib/core/guest.c itself: each address near a table of guest memory, and all those far from
 * it at once. The table is smaller than any that vmemdev_guest_init() takes, so that every
 * address of it can be followed on its own; only that function knows of the difference.
 */
#include "core/guest.h"
#include "proof.h"

#define LEN 8
#define BLOCK_SHIFT 2
#define NEAR 2
#define LOW UINT64_C(0x1000)
#define HIGH (UINT64_MAX - LEN + 1)

static struct vmemdev_guest guest_memory;
static uint8_t plain[LEN], blocks[LEN], rom[LEN];
static uint64_t present[1];

/* Two regions that touch, and one at the end of the address space. */
static const struct vmemdev_region table[] = {
	{ .gpa = LOW, .len = LEN, .host = plain },
	{ .gpa = LOW + LEN, .len = LEN, .host = blocks, .blocks = present,
	  .block_shift = BLOCK_SHIFT },
	{ .gpa = HIGH, .len = LEN, .host = rom, .flags = VMEMDEV_REGION_READONLY },
};

/* The analyser knows it by its bounds alone; here it is to be exact. */
int __builtin_ctz(unsigned int word)
{
	int zeros = 0;

	/*@ assert x_nonzero: word != 0;

	 */
	while (!(word >> zeros & 1))
		zeros++;
	return zeros;
}

static void dirty(void *ctx, uint64_t gpa, uint64_t len)
{
	(void)ctx;
	(void)gpa;
	/*@ assert some: len > 0;
	 */
}

static const struct vmemdev_guest_ops ops = { .dirty = dirty };

/* What the library reads or writes lies in one region, and is no ROM if it is written. */
void vmemdev_guest_seam(uint8_t *host, size_t len, bool write)
{
	/*@ assert mapped: \valid(host + (0 .. len - 1));
	 */
	/*@ assert kept: !write || \base_addr(host) != \base_addr(&rom[0]);
	 */
	anything(plain);
	anything(blocks);
	anything(rom);
}

static enum vmemdev_access any_access(void)
{
	return any() ? VMEMDEV_READ : VMEMDEV_WRITE;
}

static void copy(uint64_t gpa, uint64_t len)
{
	uint8_t bytes[2 * LEN + 1] = { 0 };

	/* They end where their object ends. */
	guest_read(&guest_memory, gpa, bytes + (sizeof(bytes) - len), len);
	guest_write(&guest_memory, gpa, bytes + (sizeof(bytes) - len), len);
}

static void map(uint64_t gpa, uint64_t len)
{
	enum vmemdev_access access = any_access();
	uint8_t *host = guest_map(&guest_memory, gpa, len, access);

	if (host != NULL)
		vmemdev_guest_seam(host, len, access == VMEMDEV_WRITE);
}

static void map_and_copy(uint64_t gpa)
{
	/*@ loop unroll 9;
	 */
	for (uint64_t len = 1; len <= LEN + 1; len++)
		map(gpa, len);
	map(gpa, Frama_C_unsigned_long_long_interval(LEN + 2, UINT64_MAX));
	copy(gpa, 1);
	copy(gpa, LEN / 2 + 1);
	copy(gpa, 2 * LEN + 1);
	guest_reaches(&guest_memory, gpa);
}

/* What follows @gpa is looked at in pieces, so it is to be known where it is. */
static void use(uint64_t gpa)
{
	bool discardable;

	map_and_copy(gpa);
	/*@ loop unroll 7;
	 */
	for (uint64_t len = 1; len <= 2 * LEN + 2 * NEAR; len += 3) {
		guest_check(&guest_memory, gpa, len, any_access());
		if (len - 1 <= UINT64_MAX - gpa)
			guest_run(&guest_memory, gpa, len, &discardable);
	}
}

static void use_all(void)
{
	/*@ loop unroll 20;
	 */
	for (uint64_t gpa = LOW - NEAR; gpa < LOW + 2 * LEN + NEAR; gpa++)
		use(gpa);
	/*@ loop unroll 10;
	 */
	for (uint64_t left = LEN + NEAR; left > 0; left--)
		use(-left);
	map_and_copy(Frama_C_unsigned_long_long_interval(0, LOW - NEAR - 1));
	map_and_copy(Frama_C_unsigned_long_long_interval(LOW + 2 * LEN + NEAR, HIGH - NEAR - 1));
}

void main(void)
{
	guest_memory.regions_ = table;
	guest_memory.region_count_ = sizeof(table) / sizeof(table[0]);
	guest_memory.ops_ = any() ? &ops : NULL;
	/* Either block of the second region is memory or not. */
	/*@ loop unroll 4;
	 */
	for (present[0] = 0; present[0] < 4; present[0]++)
		use_all();
}
