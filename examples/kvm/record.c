// SPDX-License-Identifier: BSD-3-Clause
/* The parts of a record, one after another. */
#include "record.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "vmm.h"

#define PARTS_MAX 4096 /* more than the largest machine makes */

struct head {
	uint32_t kind, index;
	uint64_t len;
};

static const char *const names[PART_KINDS] = {
	[PART_CONFIG] = "the configuration", [PART_CLOCK] = "the clock",
	[PART_IRQCHIP] = "an interrupt controller", [PART_CPUID] = "CPUID",
	[PART_TSC_KHZ] = "the TSC's frequency", [PART_MP_STATE] = "the run state",
	[PART_REGS] = "the registers", [PART_SREGS] = "the system registers",
	[PART_XSAVE] = "the extended state", [PART_XCRS] = "the extended control registers",
	[PART_DEBUGREGS] = "the debug registers", [PART_LAPIC] = "the local APIC",
	[PART_MSRS] = "the MSRs", [PART_EVENTS] = "the pending events",
	[PART_SERIAL] = "the console", [PART_DEVICE] = "a device",
	[PART_REGISTERS] = "a register block", [PART_HOST] = "a device's host",
};

static size_t padded(size_t len)
{
	return (len + 7) & ~(size_t)7;
}

static bool make_room(struct record *record, size_t more)
{
	size_t room = record->room ? record->room : 65536;
	uint8_t *bytes;

	while (room - record->len < more)
		room *= 2;
	if (room == record->room)
		return true;
	bytes = realloc(record->bytes, room);
	if (!bytes)
		return false;
	record->bytes = bytes;
	record->room = room;
	return true;
}

void *record_add(struct record *record, uint32_t kind, uint32_t index, size_t len)
{
	struct head head = {.kind = kind, .index = index, .len = len};
	uint8_t *place;

	if (record->failed || len > RECORD_MAX || !make_room(record, sizeof(head) + padded(len))) {
		record->failed = true;
		return NULL;
	}
	place = record->bytes + record->len;
	memcpy(place, &head, sizeof(head));
	memset(place + sizeof(head), 0, padded(len));
	record->len += sizeof(head) + padded(len);
	return place + sizeof(head);
}

void record_shorten(struct record *record, size_t added, size_t len)
{
	uint8_t *part = record->bytes + record->len - padded(added) - sizeof(struct head);
	struct head head;

	memcpy(&head, part, sizeof(head));
	head.len = len;
	memcpy(part, &head, sizeof(head));
	record->len -= padded(added) - padded(len);
	memset(part + sizeof(head) + len, 0, padded(len) - len);
}

/* returns: 1 and the part at @at, which goes on to the next; 0 at the end; -1: none is whole */
static int next_part(const struct record *record, size_t *at, struct part *part)
{
	size_t left = record->len - *at;
	struct head head;

	if (!left)
		return 0;
	if (left < sizeof(head))
		return -1;
	memcpy(&head, record->bytes + *at, sizeof(head));
	left -= sizeof(head);
	if (head.len > left || padded((size_t)head.len) > left)
		return -1;
	*part = (struct part){
		.kind = head.kind, .index = head.index, .len = (size_t)head.len,
		.bytes = record->bytes + *at + sizeof(head),
	};
	*at += sizeof(head) + padded(part->len);
	return 1;
}

int record_check(const struct record *record)
{
	struct part part, other;
	size_t at = 0, start = 0;
	unsigned count = 0;
	int more;

	while ((more = next_part(record, &at, &part)) > 0) {
		if (part.kind < PART_CONFIG || part.kind >= PART_KINDS)
			return fail("record: at byte %zu is a part of kind %" PRIu32 ": expected 1 "
				    "to %d: it is damaged, or from a later toyvmm",
				    record->file_offset + start, part.kind, PART_KINDS - 1);
		if (record_find(record, part.kind, part.index, &other) && other.bytes != part.bytes)
			return fail("record: %s, number %" PRIu32 ", is there twice: it is damaged",
				    names[part.kind], part.index);
		if (++count > PARTS_MAX)
			return fail("record: more than %d parts: it is damaged", PARTS_MAX);
		start = at;
	}
	return more ? fail("record: the part at byte %zu is longer than what is left up to byte "
			   "%zu: it is damaged", record->file_offset + start,
			   record->file_offset + record->len) : 0;
}

bool record_find(const struct record *record, uint32_t kind, uint32_t index, struct part *part)
{
	size_t at = 0;

	while (next_part(record, &at, part) > 0) {
		if (part->kind == kind && part->index == index)
			return true;
	}
	return false;
}

int record_need(const struct record *record, uint32_t kind, uint32_t index, size_t len,
		struct part *part)
{
	if (!record_find(record, kind, index, part))
		return fail("record: %s, number %" PRIu32 ", is missing: it is damaged",
			    names[kind], index);
	if (part->len != len)
		return fail("record: %s, number %" PRIu32 ", has %zu bytes: expected %zu: it is "
			    "damaged, or from a host with another processor or KVM", names[kind],
			    index, part->len, len);
	return 0;
}

void record_free(struct record *record)
{
	free(record->bytes);
	*record = (struct record){0};
}
