/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/record.h"
#include "core/endian.h"
#include "core/libc.h"

#include <vmemdev/base.h>

/* Of all records. */
enum { MAJOR = 1, MINOR = 0 };

/* A run of words is one le32: its kind in the upper two bits, its length in the others. */
enum { ZEROS = 0, ONES = 1, AS_IS = 2, KIND_SHIFT = 30 };
#define RUN_MAX ((UINT32_C(1) << KIND_SHIFT) - 1)

static uint8_t *room(struct record_out *out, size_t len)
{
	if (out->full || len > out->size || out->done > out->size - len) {
		out->full = true;
		return NULL;
	}
	out->done += len;
	return out->dst + (out->done - len);
}

static const uint8_t *take(struct record_in *in, size_t len)
{
	if (in->bad || len > in->len || in->done > in->len - len) {
		in->bad = true;
		return NULL;
	}
	in->done += len;
	return in->src + (in->done - len);
}

void record_put8(struct record_out *out, uint8_t value)
{
	uint8_t *at = room(out, 1);

	if (at != NULL)
		*at = value;
}

void record_put16(struct record_out *out, uint16_t value)
{
	uint8_t *at = room(out, 2);

	if (at != NULL)
		store_le16(at, value);
}

void record_put32(struct record_out *out, uint32_t value)
{
	uint8_t *at = room(out, 4);

	if (at != NULL)
		store_le32(at, value);
}

void record_put64(struct record_out *out, uint64_t value)
{
	uint8_t *at = room(out, 8);

	if (at != NULL)
		store_le64(at, value);
}

uint8_t record_get8(struct record_in *in)
{
	const uint8_t *at = take(in, 1);

	return at != NULL ? *at : 0;
}

uint16_t record_get16(struct record_in *in)
{
	const uint8_t *at = take(in, 2);

	return at != NULL ? load_le16(at) : 0;
}

uint32_t record_get32(struct record_in *in)
{
	const uint8_t *at = take(in, 4);

	return at != NULL ? load_le32(at) : 0;
}

uint64_t record_get64(struct record_in *in)
{
	const uint8_t *at = take(in, 8);

	return at != NULL ? load_le64(at) : 0;
}

uint32_t record_get_upto(struct record_in *in, uint32_t max)
{
	uint32_t value = record_get32(in);

	if (value <= max)
		return value;
	in->bad = true;
	return 0;
}

void record_begin(struct record_out *out, void *dst, size_t size)
{
	*out = (struct record_out){ dst, size, RECORD_HEADER, size < RECORD_HEADER };
}

void record_end(struct record_out *out, uint32_t magic, uint32_t device_id)
{
	struct record_out header = { out->dst, RECORD_HEADER, 0, out->full };

	record_put32(&header, magic);
	record_put16(&header, MAJOR);
	record_put16(&header, MINOR);
	record_put32(&header, (uint32_t)out->done);
	record_put32(&header, device_id);
}

int record_get_header(struct record_in *in, uint32_t magic, uint32_t device_id)
{
	uint16_t major, minor;

	if (record_get32(in) != magic)
		return VMEMDEV_E_RECORD;
	major = record_get16(in);
	minor = record_get16(in);
	if (major > MAJOR || (major == MAJOR && minor > MINOR))
		return VMEMDEV_E_VERSION;
	if (major == 0 || record_get32(in) != in->len)
		return VMEMDEV_E_RECORD;
	if (record_get32(in) != device_id)
		return in->bad ? VMEMDEV_E_RECORD : VMEMDEV_E_MISMATCH;
	return 0;
}

static uint32_t kind_of(uint64_t word)
{
	if (word == 0)
		return ZEROS;
	return word == UINT64_MAX ? ONES : AS_IS;
}

/* A run costs four bytes, but for a lone word of the other kinds, which is worth eight. */
size_t record_bits_size(uint64_t count)
{
	return (size_t)(8 * count + 8);
}

void record_put_bits(struct record_out *out, const uint64_t *words, uint64_t count)
{
	uint64_t end;
	uint32_t kind;

	for (uint64_t at = 0; at < count; at = end) {
		kind = kind_of(words[at]);
		end = at + 1;
		while (end < count && end - at < RUN_MAX && kind_of(words[end]) == kind)
			end++;
		record_put32(out, kind << KIND_SHIFT | (uint32_t)(end - at));
		for (uint64_t i = at; kind == AS_IS && i < end; i++)
			record_put64(out, words[i]);
	}
}

void record_get_bits(struct record_in *in, uint64_t *words, uint64_t count)
{
	uint64_t at = 0, len;
	uint32_t run, kind;

	while (at < count && !in->bad) {
		run = record_get32(in);
		kind = run >> KIND_SHIFT;
		len = run & RUN_MAX;
		if (len == 0 || len > count - at || kind > AS_IS) {
			in->bad = true;
			return;
		}
		for (uint64_t end = at + len; at < end && !in->bad; at++) {
			if (kind == AS_IS)
				words[at] = record_get64(in);
			else
				words[at] = kind == ONES ? UINT64_MAX : 0;
		}
	}
}
