/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VMEMDEV_CORE_ORDER_H
#define VMEMDEV_CORE_ORDER_H
/*
 * The ordering of accesses that the driver makes at the same time on another CPU.
 * Only here are atomics and fences named; each use says which access of the driver
 * (or of ours) it pairs with. Ring words are 16 or 32 bits, naturally aligned, and
 * little-endian; these functions move them, endian.h reads them.
 */
#include <stdatomic.h>
#include <stdint.h>

/* Read once; orders nothing. For words that are only hints. */
static inline uint16_t order_read16(const void *word)
{
	return atomic_load_explicit((const volatile _Atomic(uint16_t) *)word, memory_order_relaxed);
}

static inline uint32_t order_read32(const void *word)
{
	return atomic_load_explicit((const volatile _Atomic(uint32_t) *)word, memory_order_relaxed);
}

/* Write once; orders nothing. */
static inline void order_write16(void *word, uint16_t value)
{
	atomic_store_explicit((volatile _Atomic(uint16_t) *)word, value, memory_order_relaxed);
}

static inline void order_write32(void *word, uint32_t value)
{
	atomic_store_explicit((volatile _Atomic(uint32_t) *)word, value, memory_order_relaxed);
}

/* Read; what is read after it is at least as new as what the value announces. */
static inline uint16_t order_load_acquire16(const void *word)
{
	return atomic_load_explicit((const volatile _Atomic(uint16_t) *)word, memory_order_acquire);
}

/* Write; whoever sees the value sees everything written before it. */
static inline void order_store_release16(void *word, uint16_t value)
{
	atomic_store_explicit((volatile _Atomic(uint16_t) *)word, value, memory_order_release);
}

/* Everything before it is visible before anything after it is read. */
static inline void order_full(void)
{
	atomic_thread_fence(memory_order_seq_cst);
}

/*
 * The compiler may not fetch again, after this, what was copied before it: a copy
 * out of guest memory stays the one and only fetch.
 */
static inline void order_copied(void)
{
	atomic_signal_fence(memory_order_seq_cst);
}

#endif
