/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef HOSTILE_PLAY_H
#define HOSTILE_PLAY_H
/*
 * A machine with one device, played at random from a seed: a driver that posts requests of all
 * kinds, runs of small budgets, a host that does its work, fails, puts it off and ends it, and
 * books of what the host was told: pages must be discardable when told of, blocks whole, plugged
 * once and unplugged once, and the device's count, its bitmap, the host's and a listener's book
 * the same between runs. watch.h watches guest memory and chains meanwhile.
 */
#include "../unit/device_rig.h"
#include "watch.h"

#define ROM_GPA UINT64_C(0x2000000)
#define KEEP_GPA UINT64_C(0x2100000)
#define NEXT_GPA (RAM_GPA + RAM_SIZE) /* follows RAM in the guest, not in the host */
#define EXTRA_SIZE UINT64_C(0x20000)

/* Regions of the machine, in the order of the table. */
enum { PLAY_RAM, PLAY_NEXT, PLAY_ROM, PLAY_KEEP, PLAY_BLOCKS, PLAY_REGIONS };

#define SLOT UINT64_C(2048) /* room of one request */
#define SLOTS 128u
#define ENTRIES 64u         /* of each queue */

enum play_device { PLAY_BALLOON = 5, PLAY_MEM = 24, PLAY_PMEM = 27 };

struct player {
	struct rig *rig;
	enum play_device device;
	struct guest_random random;
	bool faulty;              /* the host fails now and then, or puts work off */
	bool honest;              /* the guest leaves its rings alone */
	bool refuse, undoing;     /* the listener refuses now and then; and has just done so */
	bool inhibited, waiting;
	uint32_t next_slot;
	uint32_t full;            /* times in a row that nothing could be posted */
	struct vmemdev_region table[PLAY_REGIONS];
	uint32_t table_count;
	uint64_t blocks[2], heard[2]; /* plugged, by the host's and a listener's book */
	uint64_t token;           /* of the work that was put off last */
	struct host_call late;    /* and what it is */
	struct vmemdev_mem_listener listener;
	/* Called last in the callbacks that may change the table (guest.h). May be NULL. */
	void (*inside)(struct player *p);
	void *inside_ctx;
	uint64_t mark;
	uint64_t posted[VMEMDEV_QUEUES_MAX], used[VMEMDEV_QUEUES_MAX]; /* since the last reset */
	uint64_t faults, resets, calls, cancels;
};

struct player *play_open(const struct way *way, enum play_device device, uint64_t seed);
void play_close(struct player *p);

uint32_t play_below(struct player *p, uint32_t limit);

/* Post some request to some queue, and kick. */
void play_post(struct player *p);

/*
 * Run the device with a small budget and compare the books.
 * returns: what vmemdev_device_run() does
 */
int play_run(struct player *p);

/* Take what is used. returns: whether the ring makes sense to the driver */
bool play_take(struct player *p);

/* The host ends what it has put off, or what it has not, which must be refused. */
void play_complete(struct player *p, int result);

/* Something that hosts do between runs. */
void play_control(struct player *p);

/* Reset the device; a new driver finds it in order at once. */
void play_reset(struct player *p);

/* Let everything come to its end: each request posted is used, once. */
void play_settle(struct player *p);

/* Show devices the table as it is in @p now. */
void play_show(struct player *p);

#endif /* HOSTILE_PLAY_H */
