/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef HOSTILE_WATCH_H
#define HOSTILE_WATCH_H
/*
 * What holds whatever a guest or a host does: every byte that the library reads or writes is
 * guest memory that is there and, for a write, may be written; every write is told to the
 * dirty log; each chain that was taken is given back at most once, and never one that was not.
 * Whatever does not hold prints what and aborts. One machine at a time, one thread. Nothing is
 * watched while watch.region_count is 0, as at first.
 */
#include "guest/queue.h"
#include "seam.h"

struct watch {
	const struct guest_memory *mem;
	const struct vmemdev_region *regions; /* the table that devices see */
	uint32_t region_count;
	/* Called before each read, after it was checked. May be NULL. */
	void (*on_read)(void *ctx, uint8_t *host, size_t len);
	void *ctx;
	const char *what; /* printed with a failure: the case */
	uint64_t seed, step;
	/* counted since somebody set them to 0 */
	uint64_t reads, writes, bytes_read, bytes_written, dirty_calls;
	uint64_t popped, pushed;
};

extern struct watch watch;

/* Watch the devices on @mem from now on; sets mem->on_write. Forgets what was counted. */
void watch_start(struct guest_memory *mem);

/* Devices see this table now. */
void watch_table(const struct vmemdev_region *regions, uint32_t count);

/* Between calls on devices: every write has been told to the dirty log. */
void watch_settled(void);

/* Chains that were taken and not given back, of all queues. */
uint32_t watch_out(void);

_Noreturn void watch_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif /* HOSTILE_WATCH_H */
