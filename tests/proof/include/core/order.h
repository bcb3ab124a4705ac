/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VMEMDEV_CORE_ORDER_H
#define VMEMDEV_CORE_ORDER_H
/*
 * Stands before lib/core/order.h while the library is analysed: Frama-C does not read C11
 * atomics. A volatile access is one access too, and its value anything; fences have no
 * meaning where every read may answer differently from the one before.
 */
#include <stdint.h>

static inline uint16_t order_read16(const void *word)
{
	return *(const volatile uint16_t *)word;
}

static inline uint32_t order_read32(const void *word)
{
	return *(const volatile uint32_t *)word;
}

static inline void order_write16(void *word, uint16_t value)
{
	*(volatile uint16_t *)word = value;
}

static inline void order_write32(void *word, uint32_t value)
{
	*(volatile uint32_t *)word = value;
}

static inline uint16_t order_load_acquire16(const void *word)
{
	return order_read16(word);
}

static inline void order_store_release16(void *word, uint16_t value)
{
	order_write16(word, value);
}

static inline void order_full(void)
{
}

static inline void order_copied(void)
{
}

#endif
