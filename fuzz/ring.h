/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FUZZ_RING_H
#define FUZZ_RING_H
#include "world.h"

/* What an input is made of; see ring.c. */
enum ring_option {
	RING_CALLBACKS = 1,
	RING_EVENT_IDX = 2,
	RING_INDIRECT = 4,
	RING_IN_ORDER = 8
};

enum ring_step {
	RING_POST,     /* lane_post() */
	RING_SHOW,     /* publish what was posted and not shown */
	RING_TAKE,     /* u8 actions, of each u8 kind, u8 bytes: pop, act, finish */
	RING_PUSH,     /* u8: which of those in hand */
	RING_PUBLISH,  /* and ask whether to notify */
	RING_POLL,     /* the driver takes what is used */
	RING_EVENTS,   /* u8: interrupts on, off, or at a distance */
	RING_SCRIBBLE, /* u16 address, u8 length, bytes */
	RING_RACE,     /* world_race() */
	RING_MOVE,     /* save, and load into a fresh queue */
	RING_RESTART,  /* reset, u8 distance of the ring from its place: enable again */
	RING_STATE,    /* u16 next avail, next used, busy, popped, pushed, u8 wraps: load that */
	RING_REGIONS,  /* u8: the regions that are shown */
	RING_STEPS
};

enum ring_action { RING_READ, RING_SKIP, RING_WRITE, RING_NEXT, RING_RESERVE, RING_ACTIONS };

/* Play one input on a virtqueue of either format; see ring.c. */
void ring_play(const uint8_t *data, size_t size, bool packed);

#endif
