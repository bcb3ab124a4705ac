/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VMEMDEV_CORE_RECORD_H
#define VMEMDEV_CORE_RECORD_H
/*
 * Writing and reading saved state: little-endian fields, one after another. Both ends keep
 * the first failure, so that callers check once, at the end: a write that does not fit, a
 * read beyond the end or of something that cannot be.
 */
#include "core/names.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct record_out {
	uint8_t *dst;
	size_t size, done;
	bool full;
};

struct record_in {
	const uint8_t *src;
	size_t len, done;
	bool bad;
};

void record_put8(struct record_out *out, uint8_t value);
void record_put16(struct record_out *out, uint16_t value);
void record_put32(struct record_out *out, uint32_t value);
void record_put64(struct record_out *out, uint64_t value);

uint8_t record_get8(struct record_in *in);
uint16_t record_get16(struct record_in *in);
uint32_t record_get32(struct record_in *in);
uint64_t record_get64(struct record_in *in);

/* A number of which only 0 to @max are possible. */
uint32_t record_get_upto(struct record_in *in, uint32_t max);

/*
 * What each record begins with: le32 magic, le16 major, le16 minor, le32 length of it all,
 * le32 device ID. As the length is known last, record_begin() leaves room for it and
 * record_end() fills that in, if all has fit. Reading it leaves the rest, and returns 0,
 * VMEMDEV_E_RECORD, VMEMDEV_E_VERSION or VMEMDEV_E_MISMATCH.
 */
#define RECORD_HEADER 16
void record_begin(struct record_out *out, void *dst, size_t size);
void record_end(struct record_out *out, uint32_t magic, uint32_t device_id);
int record_get_header(struct record_in *in, uint32_t magic, uint32_t device_id);

/*
 * Words of bits: runs of words that are all zeros or all ones take four bytes. At most
 * record_bits_size() bytes. When reading fails, @words is partly overwritten.
 */
size_t record_bits_size(uint64_t count);
void record_put_bits(struct record_out *out, const uint64_t *words, uint64_t count);
void record_get_bits(struct record_in *in, uint64_t *words, uint64_t count);

#endif
