/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Guest memory as core/guest.h promises it, in the place of lib/core/guest.c: any address
 * may be memory or not, differently each time, and what stands there is anything, anew with
 * each access. That guest.c keeps these promises is shown on its own (table.c).
 */
#include "core/guest.h"
#include "proof.h"

/* Room for the largest piece that is mapped: an indirect table that 16-bit links can reach. */
#define ARENA (1u << 20)

struct vmemdev_guest guest;
static uint8_t arena[ARENA];
static bool tight;

void vmemdev_guest_seam(uint8_t *host, size_t len, bool write)
{
	(void)write;
	/*@ assert mapped: \valid(host + (0 .. len - 1));
	 */
	Frama_C_make_unknown((char *)arena, ARENA);
}

uint8_t *guest_map(const struct vmemdev_guest *g, uint64_t gpa, uint64_t len,
		   enum vmemdev_access access)
{
	(void)g;
	(void)gpa;
	(void)access;
	/*@ assert some: len > 0;
	 */
	/*@ assert fits: len <= ARENA;
	 */
	if (any())
		return NULL;
	return tight ? arena + (ARENA - len) : arena;
}

bool guest_check(const struct vmemdev_guest *g, uint64_t gpa, uint64_t len,
		 enum vmemdev_access access)
{
	(void)g;
	(void)gpa;
	(void)len;
	(void)access;
	return any();
}

int guest_read(const struct vmemdev_guest *g, uint64_t gpa, void *dst, uint64_t len)
{
	(void)g;
	(void)gpa;
	/* Also where it fails: a part may have been copied. */
	Frama_C_make_unknown(dst, len);
	return any() ? 0 : VMEMDEV_E_GUEST_ADDR;
}

int guest_write(const struct vmemdev_guest *g, uint64_t gpa, const void *src, uint64_t len)
{
	(void)g;
	(void)gpa;
	/*@ assert readable: \valid_read((const uint8_t *)src + (0 .. len - 1));
	 */
	/*@ assert set: \initialized((const uint8_t *)src + (0 .. len - 1));
	 */
	return any() ? 0 : VMEMDEV_E_GUEST_ADDR;
}

uint64_t guest_run(const struct vmemdev_guest *g, uint64_t gpa, uint64_t len, bool *discardable)
{
	(void)g;
	(void)gpa;
	/*@ assert some: len > 0;
	 */
	*discardable = any();
	return Frama_C_unsigned_long_long_interval(1, len);
}

bool guest_reaches(const struct vmemdev_guest *g, uint64_t gpa)
{
	(void)g;
	(void)gpa;
	return any();
}

void guest_dirty(const struct vmemdev_guest *g, uint64_t gpa, uint64_t len)
{
	(void)g;
	(void)gpa;
	(void)len;
}

/* Also from a callback: memory moves. */
void vmemdev_guest_changed(struct vmemdev_guest *g)
{
	g->generation_++;
}

void guest_setup(bool tight_pieces)
{
	/* Where counters of slots and of 16 bits end. */
	/*@ widen_hints global:"all", 32767, 65535;
	 */
	tight = tight_pieces;
	anything(arena);
	anything(guest);
}
