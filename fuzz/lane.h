/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FUZZ_LANE_H
#define FUZZ_LANE_H
/*
 * The driver's side of one queue of a harness: the model driver of tests/guest, posting
 * what the input says at fixed places, and the book of what it has posted. As long as the
 * guest is honest, each used buffer must be one of those.
 */
#include "world.h"

/* A chain that is out. */
struct posted {
	bool live;
	uint64_t number;             /* counted in the order of posting */
	uint64_t mark;               /* the harness's own */
	uint32_t readable, writable; /* bytes */
	bool answer;                 /* the writable part is in the ID's buffer */
};

struct lane {
	struct guest_queue q;
	uint32_t slot;
	bool open;
	uint64_t next;               /* number of the next chain posted */
	struct posted posted[RING_SIZE_MAX];
};

enum post_how {
	POST_PIECES = 3,      /* readable bytes are cut into one to three buffers */
	POST_INDIRECT = 4,
	POST_BACKWARDS = 8,
	POST_PAGES = 16,      /* writable buffers are pages anywhere, not in the ID's buffer */
	POST_LATER = 32,      /* not shown to the device yet */
	POST_ODD = 64         /* pages begin and end in their middle */
};

/* An empty ring at the slot's place, and the lane's book closed. */
void lane_open(struct world *w, struct lane *lane, uint32_t slot, uint32_t size,
	       uint64_t features);
void lane_close(struct lane *lane);

/*
 * Post a chain: u8 enum post_how, u8 readable bytes (to 127), those, u8 writable buffers
 * (to 3), of each u8 bytes (to 31), or u16 page and u8 pages. Returns it, or NULL if the
 * ring is full.
 */
struct posted *lane_post(struct world *w, struct lane *lane, struct input *in);

/*
 * Take one used buffer. With @honest it must be one of those posted, with a length of at
 * most its writable bytes, and what lies beyond that in its buffer untouched. Returns
 * whether there was one; then *@was is the book's entry of it.
 */
bool lane_poll(struct world *w, struct lane *lane, bool honest, struct guest_used *used,
	       struct posted *was);

/* Where the answer to @id was to be put. */
const uint8_t *lane_answer(const struct world *w, const struct lane *lane, uint32_t id);

#endif
