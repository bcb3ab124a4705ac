/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What one queue names is gathered over all chains at hand. Neighbours grow a run, at
 * either end, as Linux names pages downwards; what does not fit ends the run, which is cut
 * to discardable memory and joins ranges_. The host is told when ranges_ is full and when
 * nothing more is at hand; only then are the chains, staged meanwhile, shown to the driver
 * as used.
 */
#include "device/balloon_parts.h"

/* Stretches of memory looked at for one unit of budget, and as many for each run. */
#define PIECES 256

static int call_host(struct vmemdev_balloon *b, uint64_t pages)
{
	const struct vmemdev_balloon_ops *ops = b->ops_;

	switch (batch_role(b)) {
	case ROLE_INFLATE:
		b->counts_.pages_inflated += pages;
		return ops->inflate(b->ctx_, b->ranges_, b->range_count_, b->token_);
	case ROLE_DEFLATE:
		b->counts_.pages_deflated += pages;
		return ops->deflate(b->ctx_, b->ranges_, b->range_count_, b->token_);
	case ROLE_REPORT:
		b->counts_.pages_reported += pages;
		return ops->report(b->ctx_, b->ranges_, b->range_count_, b->token_);
	default:
		b->counts_.pages_hinted += pages;
		ops->hint(b->ctx_, b->ranges_, b->range_count_);
		return 0;
	}
}

/*
 * Hand ranges_ to the host. Returns 0 when it is done with them, or VMEMDEV_LATER, which
 * only a host that can also cancel may answer.
 */
static int tell_host(struct vmemdev_balloon *b)
{
	uint64_t pages = 0;
	int result;

	if (b->range_count_ == 0)
		return 0;
	for (uint32_t i = 0; i < b->range_count_; i++)
		pages += b->ranges_[i].len >> PAGE_SHIFT;
	b->counts_.host_calls++;
	b->counts_.ranges += b->range_count_;
	b->token_++;
	result = call_host(b, pages);
	if (result == VMEMDEV_LATER && b->ops_->cancel != NULL) {
		b->waiting_ = 1;
		return VMEMDEV_LATER;
	}
	b->counts_.host_failures += result != 0;
	b->range_count_ = 0;
	return 0;
}

void batch_cut(struct vmemdev_balloon *b, const struct vmemdev_balloon_track *track,
	       struct vmemdev_range *range)
{
	uint64_t len = range->len;

	cut_inwards(range, track->frame_shift);
	b->counts_.pages_ignored += (len - range->len) >> PAGE_SHIFT;
}

static void report(struct vmemdev_balloon *b, const struct vmemdev_balloon_track *track,
		   struct vmemdev_range *range)
{
	uint64_t len;

	if (track != NULL)
		batch_cut(b, track, range);
	len = range->len;
	if (accepted(b, VMEMDEV_BALLOON_F_PAGE_POISON) && b->poison_ != 0) {
		/* The pages must keep what the guest has filled them with (5.5.6.7.2). */
		b->counts_.pages_poisoned += len >> PAGE_SHIFT;
		range->len = 0;
	} else if (b->inhibited_) {
		b->counts_.pages_inhibited += len >> PAGE_SHIFT;
		range->len = 0;
	} else if (len < b->report_min_) {
		b->counts_.pages_short += len >> PAGE_SHIFT;
		range->len = 0;
	}
}

/* Discardable memory, in one track or in none: what of it concerns the host joins ranges_. */
static void hand_over(struct vmemdev_balloon *b, const struct vmemdev_balloon_track *track,
		      struct vmemdev_range range)
{
	switch (batch_role(b)) {
	case ROLE_INFLATE:
		pages_inflate(b, track, &range);
		break;
	case ROLE_DEFLATE:
		range.len = b->ops_->deflate != NULL ? range.len : 0;
		break;
	case ROLE_REPORT:
		report(b, track, &range);
		break;
	default:
		break;
	}
	if (range.len > 0)
		b->ranges_[b->range_count_++] = range;
}

/*
 * Bytes from @gpa on, whole pages of at most @len, that are alike in being discardable and
 * in their track.
 */
static uint64_t alike(const struct vmemdev_balloon *b, uint64_t gpa, uint64_t len,
		      bool *discardable, const struct vmemdev_balloon_track **track)
{
	uint64_t got;

	*track = track_at(b, gpa, &len);
	got = guest_run(b->device_.guest_, gpa, len, discardable);
	if (got >= VMEMDEV_BALLOON_PAGE)
		return got & ~(uint64_t)(VMEMDEV_BALLOON_PAGE - 1);
	/* A callback host may answer for less than a page: then the page is not whole. */
	*discardable = false;
	return VMEMDEV_BALLOON_PAGE;
}

int batch_end_run(struct vmemdev_balloon *b)
{
	const struct vmemdev_balloon_track *track;
	struct vmemdev_range range;
	bool discardable;

	while (b->run_first_ < b->run_end_) {
		if (b->pieces_ == 0)
			return VMEMDEV_LATER;
		b->pieces_--;
		/* Room first, as a track must not be told twice of the same pages. */
		if (b->range_count_ == b->range_max_ && tell_host(b) == VMEMDEV_LATER)
			return VMEMDEV_LATER;
		range.gpa = b->run_first_ << PAGE_SHIFT;
		range.len = (b->run_end_ - b->run_first_) << PAGE_SHIFT;
		range.len = alike(b, range.gpa, range.len, &discardable, &track);
		b->run_first_ += range.len >> PAGE_SHIFT;
		/* Whatever the table says now: the pages are the guest's again. */
		if (track != NULL && batch_role(b) == ROLE_DEFLATE)
			track_take(track, &range);
		if (discardable)
			hand_over(b, track, range);
		else
			b->counts_.pages_ignored += range.len >> PAGE_SHIFT;
	}
	return 0;
}

int batch_take(struct vmemdev_balloon *b, uint64_t first, uint64_t end)
{
	if (first == b->run_end_) {
		b->run_end_ = end;
	} else if (end == b->run_first_) {
		b->run_first_ = first;
	} else {
		if (batch_end_run(b) == VMEMDEV_LATER)
			return VMEMDEV_LATER;
		b->run_first_ = first;
		b->run_end_ = end;
	}
	return 0;
}

/* Ranges are told in the run that found them to be memory; the rest of a run may wait. */
int batch_flush(struct vmemdev_balloon *b)
{
	int left = batch_end_run(b);

	if (b->waiting_ || tell_host(b) == VMEMDEV_LATER)
		return VMEMDEV_LATER;
	return left;
}

int batch_give_back(struct vmemdev_balloon *b)
{
	struct vmemdev_held held;
	int err;

	b->open_ = 0;
	err = vmemdev_chain_finish(&b->chain_, &held);
	if (err != 0)
		return err;
	/* Page numbers come in readable memory alone. */
	if (batch_role(b) <= ROLE_DEFLATE && held.writable > 0)
		b->counts_.inputs_ignored++;
	return vmemdev_vq_push(&b->vqs_[b->queue_], &held, 0);
}

/* Take the next chain. Returns 1, 0 if there is none for now, or an error. */
static int open_chain(struct vmemdev_balloon *b)
{
	int got;

	/* vmemdev_balloon_allow_reports() kicks the queue again. */
	if (batch_role(b) == ROLE_REPORT && b->report_credit_ == 0)
		return 0;
	got = vmemdev_vq_pop(&b->vqs_[b->queue_], &b->chain_);
	if (got <= 0)
		return got;
	b->open_ = 1;
	if (batch_role(b) == ROLE_HINT) {
		got = hint_begin(b);
		return got < 0 ? got : 1;
	}
	return 1;
}

/* Read chains. Returns 1 if the budget ended it, 0 if nothing is left, or an error. */
static int gather(struct vmemdev_balloon *b, uint32_t *budget)
{
	int got;

	while (*budget > 0) {
		if (!b->open_) {
			got = open_chain(b);
			if (got <= 0)
				return got;
		}
		(*budget)--;
		got = batch_role(b) <= ROLE_DEFLATE ? pages_read(b) : free_read(b);
		if (got < 0)
			return got;
		if (got == VMEMDEV_LATER)
			break;
	}
	return 1;
}

/*
 * Tell the host what is gathered, now, as it was found to be memory in this run; and the
 * driver, unless a chain is half read: its used entries go with the rest. Returns 0 or an
 * error.
 */
static int settle(struct vmemdev_balloon *b)
{
	if (batch_flush(b) == VMEMDEV_LATER || b->open_)
		return 0;
	b->batch_ = 0;
	return device_publish(&b->device_, b->queue_);
}

int batch_process(struct vmemdev_balloon *b, uint16_t queue, uint32_t *budget)
{
	int left = 0, err;

	/* What one queue has gathered must not meet the other's: it is settled first. */
	if (*budget == 0 || (b->batch_ && b->queue_ != queue))
		return 1;
	b->batch_ = 1;
	b->queue_ = queue;
	b->pieces_ = PIECES * ((uint64_t)*budget + 1);
	/* A run that was left over has its turn first. */
	if (b->run_first_ < b->run_end_ && batch_end_run(b) == VMEMDEV_LATER)
		left = 1;
	if (left == 0 && b->behind_ && batch_role(b) == ROLE_INFLATE)
		left = inhibit_catch_up(b, budget);
	if (left == 0 && !b->waiting_)
		left = gather(b, budget);
	if (left < 0 || b->waiting_)
		return left < 0 ? left : 0;
	err = settle(b);
	if (err != 0)
		return err;
	return b->waiting_ ? 0 : left || b->batch_;
}

void batch_forget(struct vmemdev_balloon *b)
{
	b->batch_ = 0;
	b->open_ = 0;
	b->run_first_ = 0;
	b->run_end_ = 0;
	b->range_count_ = 0;
	/* The driver owns the pages again: the host must have let go of them (2.4.1). */
	if (b->waiting_) {
		b->waiting_ = 0;
		b->ops_->cancel(b->ctx_, b->token_);
		/* What queues had to say while the host was busy was put off. */
		device_kick_all(&b->device_);
	}
}

int vmemdev_balloon_complete(struct vmemdev_balloon *balloon, uint64_t token, int result)
{
	if (result > 0)
		return VMEMDEV_E_INVAL;
	if (balloon->device_.inside_ || !balloon->waiting_ || token != balloon->token_)
		return VMEMDEV_E_STATE;
	balloon->waiting_ = 0;
	balloon->range_count_ = 0;
	balloon->counts_.host_failures += result != 0;
	device_kick_all(&balloon->device_);
	return 0;
}
