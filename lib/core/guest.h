/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VMEMDEV_CORE_GUEST_H
#define VMEMDEV_CORE_GUEST_H
/*
 * The only code that touches guest memory: this header and guest.c. A guest changes
 * its memory whenever it likes, so each function here fetches a value once, into a
 * copy, and nothing is ever fetched twice to be checked and then used.
 *
 * The functions on host addresses (guest_load..., guest_store..., guest_copy...)
 * take what guest_map() gave out; they turn little-endian words into numbers.
 */
#include "core/endian.h"
#include "core/libc.h"
#include "core/names.h"
#include "core/order.h"

#include <vmemdev/guest.h>

/*
 * Host address of [gpa, gpa + len), len > 0, if all of it is memory open to @access
 * and contiguous in the host; else NULL. Good for this generation.
 */
uint8_t *guest_map(const struct vmemdev_guest *guest, uint64_t gpa, uint64_t len,
		   enum vmemdev_access access);

/* Whether all of [gpa, gpa + len) is memory open to @access, contiguous or not. */
bool guest_check(const struct vmemdev_guest *guest, uint64_t gpa, uint64_t len,
		 enum vmemdev_access access);

/* Copy out of, or into, guest memory. Returns 0 or VMEMDEV_E_GUEST_ADDR. */
int guest_read(const struct vmemdev_guest *guest, uint64_t gpa, void *dst, uint64_t len);
int guest_write(const struct vmemdev_guest *guest, uint64_t gpa, const void *src, uint64_t len);

/*
 * How many bytes from @gpa on, at least 1 and at most @len, are alike in whether they
 * may be discarded, and no fewer: what follows them differs. @len > 0; gpa + len may be
 * 2^64 at the most.
 */
uint64_t guest_run(const struct vmemdev_guest *guest, uint64_t gpa, uint64_t len,
		   bool *discardable);

/* Whether the table holds memory at or above @gpa that may be discarded. */
bool guest_reaches(const struct vmemdev_guest *guest, uint64_t gpa);

/* Tell the host's dirty log, if there is one. */
void guest_dirty(const struct vmemdev_guest *guest, uint64_t gpa, uint64_t len);

/*
 * Where tests stand between the library and guest memory: called before each read and each
 * write, it may change what is there, count, or make it unknown to an analysis. The library
 * as it is installed has nothing here.
 */
#ifdef VMEMDEV_GUEST_SEAM
void vmemdev_guest_seam(uint8_t *host, size_t len, bool write);
#else
static inline void vmemdev_guest_seam(uint8_t *host, size_t len, bool write)
{
	(void)host;
	(void)len;
	(void)write;
}
#endif

static inline void before_read(const uint8_t *host, size_t len)
{
	vmemdev_guest_seam((uint8_t *)(uintptr_t)host, len, false);
}

static inline uint16_t guest_load16(const uint8_t *host)
{
	before_read(host, 2);
	return le16(order_read16(host));
}

static inline uint32_t guest_load32(const uint8_t *host)
{
	before_read(host, 4);
	return le32(order_read32(host));
}

static inline uint16_t guest_load_acquire16(const uint8_t *host)
{
	before_read(host, 2);
	return le16(order_load_acquire16(host));
}

static inline void guest_store16(uint8_t *host, uint16_t value)
{
	vmemdev_guest_seam(host, 2, true);
	order_write16(host, le16(value));
}

static inline void guest_store32(uint8_t *host, uint32_t value)
{
	vmemdev_guest_seam(host, 4, true);
	order_write32(host, le32(value));
}

static inline void guest_store_release16(uint8_t *host, uint16_t value)
{
	vmemdev_guest_seam(host, 2, true);
	order_store_release16(host, le16(value));
}

static inline void guest_copy_in(void *dst, const uint8_t *host, size_t len)
{
	before_read(host, len);
	memcpy(dst, host, len);
	order_copied();
}

static inline void guest_copy_out(uint8_t *host, const void *src, size_t len)
{
	vmemdev_guest_seam(host, len, true);
	memcpy(host, src, len);
}

#endif
