/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FUZZ_WORLD_H
#define FUZZ_WORLD_H
/*
 * What all harnesses share: the input, and a guest's memory that watches over each access
 * that the library makes to it.
 *
 * Every read and write of the library comes by vmemdev_guest_seam(). There must hold:
 * - it lies in guest memory that is shown now, and in blocks that are plugged now;
 * - what is read lies in the driver's part of a ring, or is one whole descriptor of a ring or
 *   of a table that a fetched descriptor leads to, or lies in a readable buffer whose descriptor
 *   the device has fetched; and no descriptor is fetched twice in a row unless it leads to itself;
 * - what is written lies in the device's part of a ring, or in a buffer whose descriptor
 *   the device has fetched and found writable; and the dirty log is told of it before the
 *   call that wrote it ends;
 * - a used length is one that the device can have written.
 * What is written behind the seam's back is found by comparing with a copy.
 *
 * There, too, the guest races: the input says what it writes into its memory before which of
 * the library's reads.
 */
#include "guest/queue.h"

#include <vmemdev/vmemdev.h>

void vmemdev_guest_seam(uint8_t *host, size_t len, bool write);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A property does not hold: say which, and crash. */
#define require(holds) ((holds) ? (void)0 : fuzz_fail(#holds, __FILE__, __LINE__))
_Noreturn void fuzz_fail(const char *property, const char *file, int line);

struct input {
	const uint8_t *at, *end;
};

/* The next @bytes of the input as a little-endian number; zeros beyond its end. */
uint64_t take(struct input *in, uint32_t bytes);

/* The regions of guest memory, in ascending order. The first two meet. */
enum region { RINGS, BUFFERS, ROM, BLOCKS, PMEM, REGIONS };
#define RINGS_LEN UINT64_C(0x8000)
#define BUFFERS_LEN UINT64_C(0x10000)
#define ROM_ADDR UINT64_C(0x20000)
#define BLOCK UINT64_C(0x1000)
#define BLOCK_COUNT 32u
#define BLOCKS_ADDR UINT64_C(0x100000)
#define BLOCKS_LEN (BLOCK_COUNT * BLOCK)
#define PMEM_ADDR UINT64_C(0x200000)
#define PMEM_LEN UINT64_C(0x2000)

/* Where a ring stands that the model driver makes, and the buffers of its chains. */
#define RING_SIZE_MAX 32u
#define RING_ROOM UINT64_C(0x1000)   /* descriptors, driver and device part, tables */
#define BUFFER_ROOM UINT64_C(0x100)  /* for each ID */
#define TABLE_ENTRIES 6u
void ring_place(uint32_t slot, uint32_t size, struct vmemdev_vq_layout *layout);
uint64_t ring_table(uint32_t slot, uint32_t id);
uint64_t ring_buffer(uint32_t slot, uint32_t id);

enum { SLOTS = 7, RACES = 8, RACE_BYTES = 16, FETCHED_MAX = 4096 };

/* A ring that a device may write to now. */
struct ring {
	struct vmemdev_vq_layout at;
	uint32_t used_max; /* the largest used length that the device writes */
	bool live, packed;
};

struct race {
	uint32_t after; /* reads from now */
	bool there;     /* at the place that is read then; else at @at */
	uint64_t at;
	uint32_t len;
	uint8_t bytes[RACE_BYTES];
};

/* What the device has learnt of descriptors: a buffer, or a table of more of them. */
struct fetched {
	struct vmemdev_range at;
	enum { FETCHED_READABLE, FETCHED_WRITABLE, FETCHED_SPLIT, FETCHED_PACKED } kind;
};

/* The descriptor that is being fetched, which is in parts where regions meet. */
struct fetching {
	uint8_t bytes[16];
	uint32_t len;
	uint64_t end;
	uint64_t head_at;             /* a packed head, whose flags came before the rest */
	uint16_t head_flags;
	uint64_t last_at;             /* nothing was read since this one, if last */
	bool last, last_leads_on;
};

struct world {
	struct guest_memory *mem;
	uint64_t bitmap[1];           /* of BLOCKS, the device's */
	uint32_t plugged;             /* and the reference: what the host has agreed to */
	uint32_t shown;               /* a bit a region */
	struct vmemdev_region tables[2][REGIONS];
	uint32_t table;
	uint8_t *marks[REGIONS];      /* a byte of enum mark for each byte of memory */
	uint8_t *copy[REGIONS];
	bool watched;                 /* the copy is good */
	uint32_t untold;              /* bytes written and not in the dirty log */
	uint32_t slot_first, slot_end; /* rings of the device that is running */
	struct ring rings[SLOTS];
	struct fetched *fetched;
	uint32_t fetched_count;       /* above FETCHED_MAX: too many to tell */
	struct fetching fetching;
	struct race races[RACES];
	uint32_t race_count;
	bool raced;                   /* memory has changed under a device */
	const uint8_t *used_at;       /* a used length that was just written */
	uint32_t used_max;
	uint64_t reads;               /* since the input began */
};

/* One at a time. @callbacks: devices see the memory through map and run instead of a table. */
void world_open(struct world *w, bool callbacks);
void world_close(struct world *w);

/* Regions of @shown are memory from now on; ROM always is. */
void world_show(struct world *w, uint32_t shown);

/* Whether all of [gpa, gpa + len) is memory that may be discarded, by the reference. */
bool world_discardable(const struct world *w, uint64_t gpa, uint64_t len);

/*
 * Whether each page of [gpa, gpa + len) lies in a writable buffer that was fetched, as far as
 * they are remembered.
 */
bool world_fetched(const struct world *w, uint64_t gpa, uint64_t len);

/* The guest, or its host, writes: input bytes, or zeros. Outside memory nothing happens. */
void world_scribble(struct world *w, uint64_t gpa, uint64_t len, struct input *in);
void world_zero(struct world *w, uint64_t gpa, uint64_t len);

/* u8 reads until then, u8 kind and length, u16 place, bytes. */
void world_race(struct world *w, struct input *in);

/* From now on the ring of @slot is there, or (@layout NULL) is not. */
void world_ring(struct world *w, uint32_t slot, const struct vmemdev_vq_layout *layout,
		bool packed, uint32_t used_max);

/* Around library calls of the device whose rings are [first, end). */
void world_enter(struct world *w, uint32_t slot_first, uint32_t slot_end, bool watch);
void world_leave(struct world *w);

#endif
