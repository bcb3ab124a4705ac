/* SPDX-License-Identifier: BSD-3-Clause */
/* Inflate and deflate: arrays of 32-bit page numbers (VIRTIO 1.4, 5.5.6). */
#include "device/balloon_parts.h"

enum {
	NUMBERS = 64, /* page numbers copied at a time */
	SLICE = 256   /* page numbers that one unit of budget pays for */
};

/* Take in @count page numbers. Returns how many were, fewer only if the host is busy. */
static uint32_t take_numbers(struct vmemdev_balloon *b, const uint8_t *numbers, uint32_t count)
{
	uint64_t first = b->run_first_, end = b->run_end_, number;

	for (uint32_t i = 0; i < count; i++) {
		number = load_le32(numbers + 4 * (size_t)i);
		if (number == end) {
			end++;
		} else if (number + 1 == first) {
			first--;
		} else {
			b->run_first_ = first;
			b->run_end_ = end;
			if (batch_end_run(b) == VMEMDEV_LATER)
				return i;
			first = number;
			end = number + 1;
		}
	}
	b->run_first_ = first;
	b->run_end_ = end;
	return count;
}

/* Whether it matters which pages the guest takes back. */
static bool deflate_matters(const struct vmemdev_balloon *b)
{
	return b->ops_->deflate != NULL || b->tracked_;
}

int pages_read(struct vmemdev_balloon *b)
{
	uint8_t numbers[4 * NUMBERS];
	struct vmemdev_chain before;
	uint32_t taken;
	int32_t got;

	if (batch_role(b) == ROLE_DEFLATE && !deflate_matters(b))
		return batch_give_back(b);
	for (uint32_t done = 0; done < SLICE; done += NUMBERS) {
		before = b->chain_;
		got = vmemdev_chain_read(&b->chain_, numbers, sizeof(numbers));
		if (got < 0)
			return got;
		taken = take_numbers(b, numbers, (uint32_t)got / 4);
		if (taken < (uint32_t)got / 4) {
			/* The rest is read again when the host is ready for it. */
			b->chain_ = before;
			got = vmemdev_chain_read(&b->chain_, NULL, 4 * taken);
			return got < 0 ? got : VMEMDEV_LATER;
		}
		/* A last incomplete number is none. */
		b->counts_.inputs_ignored += got % 4 != 0;
		if (got < (int32_t)sizeof(numbers) || chain_at_end(&b->chain_))
			return batch_give_back(b);
	}
	return 0;
}

static bool all_discardable(const struct vmemdev_guest *guest, uint64_t gpa, uint64_t len)
{
	bool discardable;

	return guest_run(guest, gpa, len, &discardable) == len && discardable;
}

/* A host page that began before @range, or ends after it, was looked at in earlier runs. */
static void look_again(const struct vmemdev_balloon *b, uint64_t frame,
		       const struct vmemdev_range *range, struct vmemdev_range *done)
{
	const struct vmemdev_guest *guest = b->device_.guest_;

	if (done->len > 0 && done->gpa < range->gpa && !all_discardable(guest, done->gpa, frame)) {
		done->gpa += frame;
		done->len -= frame;
	}
	if (done->len > 0 && done->gpa + (done->len - 1) > range->gpa + (range->len - 1) &&
	    !all_discardable(guest, done->gpa + (done->len - frame), frame))
		done->len -= frame;
}

void pages_inflate(struct vmemdev_balloon *b, const struct vmemdev_balloon_track *track,
		   struct vmemdev_range *range)
{
	struct vmemdev_range done = *range;

	if (track != NULL && accepted(b, VMEMDEV_BALLOON_F_MUST_TELL_HOST)) {
		b->tracked_ = 1;
		track_give(track, &done);
		look_again(b, UINT64_C(1) << track->frame_shift, range, &done);
	} else if (track != NULL) {
		/* The guest may use the pages once the buffer is used: remember nothing. */
		batch_cut(b, track, &done);
	}
	if (b->inhibited_) {
		b->counts_.pages_inhibited += done.len >> PAGE_SHIFT;
		done.len = 0;
	}
	*range = done;
}
