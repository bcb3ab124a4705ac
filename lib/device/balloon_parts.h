/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VMEMDEV_DEVICE_BALLOON_PARTS_H
#define VMEMDEV_DEVICE_BALLOON_PARTS_H
/*
 * What the balloon's files share. balloon.c is the device as its base sees it;
 * balloon_batch.c gathers what one queue names and settles it with the host;
 * balloon_pages.c reads inflate and deflate buffers, balloon_free.c reports and hints,
 * balloon_stats.c statistics; balloon_track.c remembers pages, balloon_inhibit.c makes up
 * for discards that were forbidden.
 */
#include "core/device.h"
#include "core/guest.h"
#include "core/vq.h"

#include <vmemdev/balloon.h>

#define PAGE_SHIFT 12

/* What a queue is for; the numbers are the text's queue indices (5.5.2). */
enum role {
	ROLE_INFLATE = 0,
	ROLE_DEFLATE = 1,
	ROLE_STATS = 2,
	ROLE_HINT = 3,
	ROLE_REPORT = 4,
	ROLE_NONE = 5
};

static inline struct vmemdev_balloon *balloon_of(struct vmemdev_device *dev)
{
	return (struct vmemdev_balloon *)dev;
}

static inline bool accepted(const struct vmemdev_balloon *b, uint64_t feature)
{
	return (b->device_.accepted_ & feature) != 0;
}

/* Whether a running driver has accepted @feature. */
static inline bool in_use(const struct vmemdev_balloon *b, uint64_t feature)
{
	return device_live(&b->device_) && accepted(b, feature);
}

/* The role of the queue whose batch is open. */
static inline enum role batch_role(const struct vmemdev_balloon *b)
{
	return (enum role)b->roles_[b->queue_];
}

/* --- balloon_batch.c --- */

/* Serve a queue that names memory; as process() of the class. */
int batch_process(struct vmemdev_balloon *b, uint16_t queue, uint32_t *budget);

/*
 * Move the run of page numbers into ranges_. Returns 0, or VMEMDEV_LATER with what is
 * left of the run still in place: the host is busy, or the run's work is used up.
 */
int batch_end_run(struct vmemdev_balloon *b);

/* Make the pages [first, end) part of the run, or VMEMDEV_LATER with nothing taken. */
int batch_take(struct vmemdev_balloon *b, uint64_t first, uint64_t end);

/* Cut @range inwards to the host pages of @track; what falls off is counted as ignored. */
void batch_cut(struct vmemdev_balloon *b, const struct vmemdev_balloon_track *track,
	       struct vmemdev_range *range);

/* Tell the host all that is gathered. Returns 0, or VMEMDEV_LATER as batch_end_run(). */
int batch_flush(struct vmemdev_balloon *b);

/* The chain is read: give it back, to be seen by the driver with the batch. */
int batch_give_back(struct vmemdev_balloon *b);

/* The driver has reset the queue: drop what was gathered, call off the host's work. */
void batch_forget(struct vmemdev_balloon *b);

/* --- balloon_pages.c --- */

/* Read a slice of the open chain. Returns 0, VMEMDEV_LATER or an error. */
int pages_read(struct vmemdev_balloon *b);

/*
 * @range, in @track or in none, was given up: it becomes the range of it that the host is
 * to know of; its len is 0 if there is none.
 */
void pages_inflate(struct vmemdev_balloon *b, const struct vmemdev_balloon_track *track,
		   struct vmemdev_range *range);

/* --- balloon_free.c --- */

/* Read a slice of the open chain. Returns 0, VMEMDEV_LATER or an error. */
int free_read(struct vmemdev_balloon *b);

/* Read the command ID that a hinting chain may begin with. Returns 0 or an error. */
int hint_begin(struct vmemdev_balloon *b);

/* A device reset ends hinting. */
void hint_reset(struct vmemdev_balloon *b);

/* A reset of the hinting queue: a command ID is to come before pages again. */
void hint_queue_reset(struct vmemdev_balloon *b);

/* --- balloon_stats.c --- */

/* Serve the statistics queue; as process() of the class. */
int stats_process(struct vmemdev_balloon *b, uint16_t queue, uint32_t *budget);

/* The driver has reset the queue. */
void stats_reset(struct vmemdev_balloon *b);

/* --- balloon_track.c --- */

/* Returns 0, VMEMDEV_E_INVAL, VMEMDEV_E_SIZE, VMEMDEV_E_ALIGN or VMEMDEV_E_OVERLAP. */
int tracks_check(const struct vmemdev_balloon_track *tracks, uint32_t count);

void tracks_clear(struct vmemdev_balloon *b);

/* The track that holds @gpa, or NULL; *len is cut to where that changes. */
const struct vmemdev_balloon_track *track_at(const struct vmemdev_balloon *b, uint64_t gpa,
					     uint64_t *len);

/*
 * Remember that @range is given up. It becomes the host pages that were completed by
 * this, and those between them; its len is 0 if there are none.
 */
void track_give(const struct vmemdev_balloon_track *track, struct vmemdev_range *range);

/* Forget that @range was given up. */
void track_take(const struct vmemdev_balloon_track *track, const struct vmemdev_range *range);

/* The first run of given pages in [gpa, end) of @track; len 0 if there is none. */
struct vmemdev_range track_given(const struct vmemdev_balloon_track *track, uint64_t gpa,
				 uint64_t end);

/* Their part of a record; see balloon_state.c. */
size_t tracks_save_size(const struct vmemdev_balloon *b);
void tracks_save(const struct vmemdev_balloon *b, struct record_out *out);
int tracks_load(struct vmemdev_balloon *b, struct record_in *in, bool tracked);

/* --- balloon.c --- */

/* What the queues are for, with the accepted features and this numbering. */
void balloon_assign_roles(struct vmemdev_balloon *b, bool gapless);

/* Look at the queue of @role in the next run, if there is one. */
void balloon_kick(struct vmemdev_balloon *b, enum role role);

/* --- balloon_state.c: members of the class --- */

size_t balloon_save_size(const struct vmemdev_device *dev);
void balloon_save(const struct vmemdev_device *dev, struct record_out *out);
int balloon_load(struct vmemdev_device *dev, struct record_in *in);

/* Cut @range inwards to multiples of 1 << @shift; its len may become 0. */
static inline void cut_inwards(struct vmemdev_range *range, uint32_t shift)
{
	uint64_t mask = (UINT64_C(1) << shift) - 1;
	uint64_t skip = -range->gpa & mask;

	if (range->len < skip) {
		range->len = 0;
		return;
	}
	range->gpa += skip;
	range->len = (range->len - skip) & ~mask;
}

/* --- balloon_inhibit.c --- */

/*
 * Discard what was given up while that was forbidden. Returns 1 if the budget ended it,
 * 0 if nothing is left or the host is busy.
 */
int inhibit_catch_up(struct vmemdev_balloon *b, uint32_t *budget);

/* A device reset: nothing is given up any more. */
void inhibit_reset(struct vmemdev_balloon *b);

#endif
