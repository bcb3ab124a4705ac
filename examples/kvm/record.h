/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TOYVMM_RECORD_H
#define TOYVMM_RECORD_H
/*
 * The record of a whole machine but for its memory: parts one after another, each
 *
 *     le32 kind  le32 index  le64 length  its bytes, with zeros up to a multiple of 8
 *
 * A snapshot has it in a file, a live update sends it through a socket. Whoever reads one has
 * it from somebody else: record_check() comes first, and each reader checks its part.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a part holds; the index is that of the vCPU, the slot or the chip. */
enum part_kind {
	PART_CONFIG = 1, /* what the options say of it, as text (saved.c) */
	PART_CLOCK,      /* from here on KVM's structures (vcpu_state.c) */
	PART_IRQCHIP,
	PART_CPUID,
	PART_TSC_KHZ,
	PART_MP_STATE,
	PART_REGS,
	PART_SREGS,
	PART_XSAVE,
	PART_XCRS,
	PART_DEBUGREGS,
	PART_LAPIC,
	PART_MSRS,
	PART_EVENTS,
	PART_SERIAL,     /* the console (serial.c) */
	PART_DEVICE,     /* vmemdev_device_save() */
	PART_REGISTERS,  /* vmemdev_mmio_save() */
	PART_HOST,       /* what this VMM was about to do with the device (saved.c) */
	PART_KINDS
};

#define RECORD_MAX (UINT64_C(1) << 31) /* no machine's is nearly as long */

struct record {
	uint8_t *bytes;
	size_t len, room;
	bool failed; /* there was no memory for a part */
	size_t file_offset; /* where it begins in the file that it was read from */
};

struct part {
	const uint8_t *bytes;
	size_t len;
	uint32_t kind, index;
};

/*
 * One more part of @len bytes. returns: where to write them, zeros by now, until the next is
 * added; NULL, and then @record has failed
 */
void *record_add(struct record *record, uint32_t kind, uint32_t index, size_t len);

/* The part that was added last is but @len bytes long. */
void record_shorten(struct record *record, size_t added, size_t len);

/*
 * Whether it is made of whole parts, of known kinds, and none twice. A part that nobody asks for,
 * such as of a vCPU that there is not, is its readers' matter. 0, or -1 having said what is wrong.
 */
int record_check(const struct record *record);

/* returns: whether there is such a part */
bool record_find(const struct record *record, uint32_t kind, uint32_t index, struct part *part);

/* The same for one that has to be there, of @len bytes. 0, or -1 having said that it is not. */
int record_need(const struct record *record, uint32_t kind, uint32_t index, size_t len,
		struct part *part);

void record_free(struct record *record);

#endif
