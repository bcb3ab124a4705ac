/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef GUEST_MEMORY_H
#define GUEST_MEMORY_H
/**
 * @file memory.h - a fake guest's memory for tests, fuzzers and benchmarks.
 *
 * Each region has a host allocation of its own, so that an overrun meets a
 * sanitizer's red zone, and neighbours in the guest are none in the host. The same
 * memory is shown to devices as a table or through callbacks. Everything that
 * devices report as written is counted and, up to a limit, logged.
 *
 * Running out of host memory, or wrong use by the test, prints a line and aborts;
 * whatever a device does never does.
 */
#include <stdio.h>
#include <vmemdev/guest.h>

#define GUEST_REGIONS_MAX 16
#define GUEST_WRITES_MAX 4096

/** A stretch of guest memory to make. */
struct guest_region {
	uint64_t gpa, len; /* multiples of 4096 */
	uint32_t flags;    /* vmemdev_region_flag bits */
};

/** How the devices see it. */
enum guest_mode { GUEST_TABLE, GUEST_CALLBACKS };

struct guest_memory {
	struct vmemdev_guest guest; /* hand &memory.guest to devices */
	struct vmemdev_region regions[GUEST_REGIONS_MAX];
	struct vmemdev_guest_ops ops;
	uint32_t count;
	enum guest_mode mode;
	uint32_t place_region; /* where guest_place() takes room, and how much it took */
	uint64_t place_used;
	/* what devices did */
	uint32_t map_calls, run_calls;
	uint64_t write_count; /* calls of dirty, also those that the log has no room for */
	struct vmemdev_range writes[GUEST_WRITES_MAX];
	/** Called for each reported write, after it was logged. May be NULL. */
	void (*on_write)(void *ctx, uint64_t gpa, uint64_t len);
	void *on_write_ctx;
	/** Callback mode: called for each map. May be NULL. */
	void (*on_map)(void *ctx, uint64_t gpa, uint64_t len, enum vmemdev_access access);
	void *on_map_ctx;
	/* Callback mode: map calls answer NULL for this range, if its length is not 0 */
	struct vmemdev_range refuse;
};

/**
 * Make zeroed memory of these regions, in ascending order, and a vmemdev_guest on
 * top of it.
 */
void guest_memory_open(struct guest_memory *mem, enum guest_mode mode,
		       const struct guest_region *regions, uint32_t count);

/** The same with one region of @len bytes at guest address @gpa, as a table. */
void guest_memory_open_flat(struct guest_memory *mem, uint64_t gpa, uint64_t len);

void guest_memory_close(struct guest_memory *mem);

/**
 * Show devices only the first @count regions (table mode), as a host does that
 * removes memory. The memory itself stays until close.
 * returns: what vmemdev_guest_set_regions() answers
 */
int guest_memory_show(struct guest_memory *mem, uint32_t count);

/** Forget the log of writes and the call counters. */
void guest_memory_forget(struct guest_memory *mem);

/** Whether any logged write touches [gpa, gpa + len). */
bool guest_memory_wrote(const struct guest_memory *mem, uint64_t gpa, uint64_t len);

/**
 * Host address of [gpa, gpa + len) if it lies in one region.
 * returns: NULL if not
 */
void *guest_at(const struct guest_memory *mem, uint64_t gpa, uint64_t len);

/** Copy out of or into guest memory, over neighbouring regions too.
 * returns: whether all of it is guest memory; if not, nothing was copied */
bool guest_read(const struct guest_memory *mem, uint64_t gpa, void *dst, uint64_t len);
bool guest_write(struct guest_memory *mem, uint64_t gpa, const void *src, uint64_t len);

/** Fill with one byte; aborts outside memory. */
void guest_fill(struct guest_memory *mem, uint64_t gpa, uint8_t byte, uint64_t len);

/**
 * Little-endian words in guest memory, naturally aligned, each read or written in
 * one piece and in order with what stands before and after (acquire and release).
 * They abort outside memory.
 */
uint16_t guest_load16(const struct guest_memory *mem, uint64_t gpa);
uint32_t guest_load32(const struct guest_memory *mem, uint64_t gpa);
uint64_t guest_load64(const struct guest_memory *mem, uint64_t gpa);
void guest_store16(struct guest_memory *mem, uint64_t gpa, uint16_t value);
void guest_store32(struct guest_memory *mem, uint64_t gpa, uint32_t value);
void guest_store64(struct guest_memory *mem, uint64_t gpa, uint64_t value);

/**
 * Room for an object: the next free bytes of region mem->place_region (0 at first),
 * aligned, not cleared. Aborts when the region is full.
 * returns: its guest address
 */
uint64_t guest_place(struct guest_memory *mem, uint64_t len, uint64_t align);

/** Take room out of another region from now on, from its start. */
void guest_place_in(struct guest_memory *mem, uint32_t region);

/** Give back everything placed after the mark was taken (in the same region). */
uint64_t guest_place_mark(const struct guest_memory *mem);
void guest_place_release(struct guest_memory *mem, uint64_t mark);

/** A deterministic random number generator, for tests that print their seed. */
struct guest_random {
	uint64_t state;
};
void guest_random_seed(struct guest_random *random, uint64_t seed);
uint64_t guest_random_next(struct guest_random *random);
/** A number in 0 to @limit - 1; 0 for a limit of 0. */
uint32_t guest_random_below(struct guest_random *random, uint32_t limit);

/** Print why the test itself is wrong, and abort. */
_Noreturn void guest_die(const char *what, uint64_t value);

#endif /* GUEST_MEMORY_H */
