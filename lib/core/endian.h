/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VMEMDEV_CORE_ENDIAN_H
#define VMEMDEV_CORE_ENDIAN_H
/*
 * Everything on the wire is little-endian. Bytes in our own copies are taken apart
 * and put together here; compilers make one move of each where the host allows it.
 */
#include <stdint.h>

static inline uint16_t load_le16(const uint8_t *p)
{
	return (uint16_t)(p[0] | p[1] << 8);
}

static inline uint32_t load_le32(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline uint64_t load_le64(const uint8_t *p)
{
	return load_le32(p) | (uint64_t)load_le32(p + 4) << 32;
}

static inline void store_le16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)v;
	p[1] = (uint8_t)(v >> 8);
}

static inline void store_le32(uint8_t *p, uint32_t v)
{
	store_le16(p, (uint16_t)v);
	store_le16(p + 2, (uint16_t)(v >> 16));
}

static inline void store_le64(uint8_t *p, uint64_t v)
{
	store_le32(p, (uint32_t)v);
	store_le32(p + 4, (uint32_t)(v >> 32));
}

/* A ring word as it was fetched whole, to a number; and back (the same turn). */
static inline uint16_t le16(uint16_t word)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	return (uint16_t)(word << 8 | word >> 8);
#else
	return word;
#endif
}

static inline uint32_t le32(uint32_t word)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	return (uint32_t)le16((uint16_t)word) << 16 | le16((uint16_t)(word >> 16));
#else
	return word;
#endif
}

#endif
