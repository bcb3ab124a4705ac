/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef GUEST_WORD_H
#define GUEST_WORD_H
/*
 * Little-endian words at host addresses, for the files of this directory. 16 and 32
 * bits are read with acquire and written with release order, whole; 64-bit words
 * are data, never a sign between driver and device: no atomics, which some 32-bit
 * hosts would need a library for.
 */
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

/* Between the host's byte order and little-endian, both ways. */
static inline uint16_t word_turn16(uint16_t value)
{
	const uint8_t bytes[2] = { (uint8_t)value, (uint8_t)(value >> 8) };
	uint16_t word;

	memcpy(&word, bytes, sizeof(word));
	return word;
}

static inline uint32_t word_turn32(uint32_t value)
{
	const uint16_t halves[2] = { word_turn16((uint16_t)value),
				     word_turn16((uint16_t)(value >> 16)) };
	uint32_t word;

	memcpy(&word, halves, sizeof(word));
	return word;
}

static inline uint64_t word_turn64(uint64_t value)
{
	const uint32_t halves[2] = { word_turn32((uint32_t)value),
				     word_turn32((uint32_t)(value >> 32)) };
	uint64_t word;

	memcpy(&word, halves, sizeof(word));
	return word;
}

static inline uint16_t word_load16(const void *at)
{
	return word_turn16(atomic_load_explicit((const _Atomic(uint16_t) *)at,
						memory_order_acquire));
}

static inline uint32_t word_load32(const void *at)
{
	return word_turn32(atomic_load_explicit((const _Atomic(uint32_t) *)at,
						memory_order_acquire));
}

static inline uint64_t word_load64(const void *at)
{
	uint64_t word;

	memcpy(&word, at, sizeof(word));
	return word_turn64(word);
}

static inline void word_store16(void *at, uint16_t value)
{
	atomic_store_explicit((_Atomic(uint16_t) *)at, word_turn16(value), memory_order_release);
}

static inline void word_store32(void *at, uint32_t value)
{
	atomic_store_explicit((_Atomic(uint32_t) *)at, word_turn32(value), memory_order_release);
}

static inline void word_store64(void *at, uint64_t value)
{
	const uint64_t word = word_turn64(value);

	memcpy(at, &word, sizeof(word));
}

/* Everything before it is visible before anything after it is read. */
static inline void word_full_barrier(void)
{
	atomic_thread_fence(memory_order_seq_cst);
}

#endif /* GUEST_WORD_H */
