/* SPDX-License-Identifier: BSD-3-Clause */
/* Discards forbidden for a while, and what is made up for afterwards. */
#include "device/balloon_parts.h"

#define SLICE UINT64_C(0x400000) /* bytes of a track that one unit of budget pays for */

int vmemdev_balloon_inhibit(struct vmemdev_balloon *balloon)
{
	if (balloon->device_.inside_)
		return VMEMDEV_E_STATE;
	balloon->inhibited_++;
	balloon->behind_ = 0;
	return 0;
}

int vmemdev_balloon_uninhibit(struct vmemdev_balloon *balloon)
{
	if (balloon->device_.inside_ || balloon->inhibited_ == 0)
		return VMEMDEV_E_STATE;
	balloon->inhibited_--;
	if (balloon->inhibited_ == 0 && balloon->tracked_) {
		balloon->behind_ = 1;
		balloon->catch_up_ = 0;
		balloon_kick(balloon, ROLE_INFLATE);
	}
	return 0;
}

void inhibit_reset(struct vmemdev_balloon *b)
{
	b->behind_ = 0;
}

/* Make @range part of the last of ranges_, if it follows it. */
static bool join_last(struct vmemdev_balloon *b, const struct vmemdev_range *range)
{
	struct vmemdev_range *last;

	if (b->range_count_ == 0)
		return false;
	last = &b->ranges_[b->range_count_ - 1];
	if (last->gpa + last->len != range->gpa)
		return false;
	last->len += range->len;
	return true;
}

/* Add what of a run of given pages is whole host pages of discardable memory. */
static int add_run(struct vmemdev_balloon *b, const struct vmemdev_balloon_track *track,
		   struct vmemdev_range run)
{
	struct vmemdev_range whole;
	bool discardable;
	uint64_t len;

	for (; run.len > 0; run.gpa += len, run.len -= len) {
		len = guest_run(b->device_.guest_, run.gpa, run.len, &discardable);
		if (!discardable)
			continue;
		whole.gpa = run.gpa;
		whole.len = len;
		cut_inwards(&whole, track->frame_shift);
		if (whole.len == 0 || join_last(b, &whole))
			continue;
		if (b->range_count_ == b->range_max_) {
			b->catch_up_ = whole.gpa;
			if (batch_flush(b) == VMEMDEV_LATER)
				return VMEMDEV_LATER;
			/* The host may have shown other memory meanwhile: look again. */
			len = 0;
			continue;
		}
		b->ranges_[b->range_count_++] = whole;
	}
	return 0;
}

/* The track that holds catch_up_, or the next one, to which catch_up_ moves; or NULL. */
static const struct vmemdev_balloon_track *next_track(struct vmemdev_balloon *b)
{
	const struct vmemdev_balloon_track *track = b->tracks_;

	for (uint32_t i = 0; i < b->track_count_; i++, track++) {
		if (b->catch_up_ < track->gpa)
			b->catch_up_ = track->gpa;
		if (b->catch_up_ - track->gpa < track->len)
			return track;
	}
	return NULL;
}

static int catch_up_slice(struct vmemdev_balloon *b)
{
	const struct vmemdev_balloon_track *track = next_track(b);
	uint64_t slice, left, end;
	struct vmemdev_range given, whole;

	if (track == NULL) {
		b->behind_ = 0;
		return 0;
	}
	slice = UINT64_C(1) << track->frame_shift;
	slice = slice > SLICE ? slice : SLICE;
	left = track->gpa + track->len - b->catch_up_;
	end = b->catch_up_ + (left < slice ? left : slice);
	for (uint64_t at = b->catch_up_; at < end; at = given.gpa + given.len) {
		given = track_given(track, at, end);
		whole = given;
		cut_inwards(&whole, track->frame_shift);
		if (add_run(b, track, whole) == VMEMDEV_LATER)
			return VMEMDEV_LATER;
	}
	b->catch_up_ = end;
	return 0;
}

int inhibit_catch_up(struct vmemdev_balloon *b, uint32_t *budget)
{
	while (b->behind_ && *budget > 0) {
		(*budget)--;
		if (catch_up_slice(b) == VMEMDEV_LATER)
			return 0;
	}
	return b->behind_;
}
