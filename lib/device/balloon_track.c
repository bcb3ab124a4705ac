/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the guest has given up, page by page. A track's words are one bit a page and
 * then, for host pages of more than 64 pages, the number of bits set in each host page, so
 * that no guest can make the device search. Smaller host pages lie within a word.
 */
#include "core/bitmap.h"
#include "core/record.h"
#include "device/balloon_parts.h"

#define WORD_SHIFT (PAGE_SHIFT + 6) /* memory that a word of bits stands for */
#define FRAME_SHIFT_MAX 30

static bool counted(const struct vmemdev_balloon_track *track)
{
	return track->frame_shift > WORD_SHIFT;
}

static uint64_t bit_words(uint64_t len)
{
	return (len >> WORD_SHIFT) + ((len & ((UINT64_C(1) << WORD_SHIFT) - 1)) != 0);
}

uint64_t vmemdev_balloon_track_words(uint64_t len, uint32_t frame_shift)
{
	return bit_words(len) + (frame_shift > WORD_SHIFT ? len >> frame_shift : 0);
}

static int track_check(const struct vmemdev_balloon_track *track)
{
	uint64_t mask;

	if (track->words == NULL || track->pad_ != 0)
		return VMEMDEV_E_INVAL;
	if (track->frame_shift < PAGE_SHIFT || track->frame_shift > FRAME_SHIFT_MAX)
		return VMEMDEV_E_ALIGN;
	mask = (UINT64_C(1) << track->frame_shift) - 1;
	if (track->gpa & mask)
		return VMEMDEV_E_ALIGN;
	if (track->len == 0 || (track->len & mask) || track->len > UINT64_MAX - track->gpa)
		return VMEMDEV_E_SIZE;
	return vmemdev_balloon_track_words(track->len, track->frame_shift) > SIZE_MAX / 8
		       ? VMEMDEV_E_SIZE
		       : 0;
}

int tracks_check(const struct vmemdev_balloon_track *tracks, uint32_t count)
{
	int err;

	if (tracks == NULL && count > 0)
		return VMEMDEV_E_INVAL;
	for (uint32_t i = 0; i < count; i++) {
		err = track_check(&tracks[i]);
		if (err != 0)
			return err;
		if (i > 0 && (tracks[i].gpa < tracks[i - 1].gpa ||
			      tracks[i].gpa - tracks[i - 1].gpa < tracks[i - 1].len))
			return VMEMDEV_E_OVERLAP;
	}
	return 0;
}

/* Words that are zero are not written: a host's untouched pages stay untouched. */
void tracks_clear(struct vmemdev_balloon *b)
{
	const struct vmemdev_balloon_track *track = b->tracks_;
	uint64_t count;

	for (uint32_t i = 0; i < b->track_count_; i++, track++) {
		count = vmemdev_balloon_track_words(track->len, track->frame_shift);
		for (uint64_t word = 0; word < count; word++) {
			if (track->words[word] != 0)
				track->words[word] = 0;
		}
	}
	b->tracked_ = 0;
}

const struct vmemdev_balloon_track *track_at(const struct vmemdev_balloon *b, uint64_t gpa,
					     uint64_t *len)
{
	const struct vmemdev_balloon_track *track = b->tracks_;
	uint64_t left;

	for (uint32_t i = 0; i < b->track_count_; i++, track++) {
		if (gpa < track->gpa) {
			left = track->gpa - gpa;
			*len = *len < left ? *len : left;
			return NULL;
		}
		if (gpa - track->gpa < track->len) {
			left = track->len - (gpa - track->gpa);
			*len = *len < left ? *len : left;
			return track;
		}
	}
	return NULL;
}

/*
 * Set the bits [first, end), which lie in one host page of @pages. Returns whether that
 * completed it.
 */
static bool complete(const struct vmemdev_balloon_track *track, uint64_t first, uint64_t end,
		     uint64_t pages)
{
	uint64_t changed = bitmap_change(track->words, first, end, true);
	uint64_t frame = first / pages * pages, *set;

	if (changed == 0)
		return false;
	if (!counted(track))
		return bitmap_run_end(track->words, frame, frame + pages, true) == frame + pages;
	set = track->words + bit_words(track->len) + frame / pages;
	*set += changed;
	return *set == pages;
}

/*
 * Host pages between two that were completed lie wholly in the range, so they are
 * complete too: what is handed on is one range.
 */
void track_give(const struct vmemdev_balloon_track *track, struct vmemdev_range *range)
{
	uint64_t pages = UINT64_C(1) << (track->frame_shift - PAGE_SHIFT);
	uint64_t first = (range->gpa - track->gpa) >> PAGE_SHIFT;
	uint64_t end = first + (range->len >> PAGE_SHIFT);
	uint64_t done_first = 0, done_end = 0, next;

	if (pages == 1) {
		bitmap_fill(track->words, first, end, true);
		return;
	}
	for (; first < end; first = next) {
		next = (first / pages + 1) * pages;
		if (complete(track, first, next < end ? next : end, pages)) {
			if (done_end == 0)
				done_first = next - pages;
			done_end = next;
		}
	}
	range->gpa = track->gpa + (done_first << PAGE_SHIFT);
	range->len = (done_end - done_first) << PAGE_SHIFT;
}

void track_take(const struct vmemdev_balloon_track *track, const struct vmemdev_range *range)
{
	uint64_t pages = UINT64_C(1) << (track->frame_shift - PAGE_SHIFT);
	uint64_t first = (range->gpa - track->gpa) >> PAGE_SHIFT;
	uint64_t end = first + (range->len >> PAGE_SHIFT);
	uint64_t *set = track->words + bit_words(track->len), next;

	if (!counted(track)) {
		bitmap_fill(track->words, first, end, false);
		return;
	}
	for (; first < end; first = next) {
		next = (first / pages + 1) * pages;
		set[first / pages] -=
			bitmap_change(track->words, first, next < end ? next : end, false);
	}
}

struct vmemdev_range track_given(const struct vmemdev_balloon_track *track, uint64_t gpa,
				 uint64_t end)
{
	uint64_t bits_end = (end - track->gpa) >> PAGE_SHIFT, first, last;
	struct vmemdev_range range;

	first = bitmap_run_end(track->words, (gpa - track->gpa) >> PAGE_SHIFT, bits_end, false);
	last = bitmap_run_end(track->words, first, bits_end, true);
	range.gpa = track->gpa + (first << PAGE_SHIFT);
	range.len = (last - first) << PAGE_SHIFT;
	return range;
}

int vmemdev_balloon_forget(struct vmemdev_balloon *balloon, const struct vmemdev_range *range)
{
	const struct vmemdev_balloon_track *track;
	struct vmemdev_range rest, part;

	if (range == NULL || range->len == 0 || range->len - 1 > UINT64_MAX - range->gpa)
		return VMEMDEV_E_INVAL;
	if ((range->gpa | range->len) % VMEMDEV_BALLOON_PAGE != 0)
		return VMEMDEV_E_ALIGN;
	if (balloon->device_.inside_)
		return VMEMDEV_E_STATE;
	for (rest = *range; rest.len > 0; rest.gpa += part.len, rest.len -= part.len) {
		part = rest;
		track = track_at(balloon, rest.gpa, &part.len);
		if (track != NULL)
			track_take(track, &part);
	}
	return 0;
}

bool vmemdev_balloon_given(const struct vmemdev_balloon *balloon, uint64_t gpa,
			   struct vmemdev_range *range)
{
	const struct vmemdev_balloon_track *track = balloon->tracks_;

	for (uint32_t i = 0; i < balloon->track_count_; i++, track++) {
		if (gpa < track->gpa)
			gpa = track->gpa;
		if (gpa - track->gpa >= track->len)
			continue;
		*range = track_given(track, gpa, track->gpa + track->len);
		if (range->len > 0)
			return true;
	}
	return false;
}

size_t tracks_save_size(const struct vmemdev_balloon *b)
{
	size_t size = 0;

	for (uint32_t i = 0; i < b->track_count_; i++)
		size += 20 + record_bits_size(bit_words(b->tracks_[i].len));
	return size;
}

void tracks_save(const struct vmemdev_balloon *b, struct record_out *out)
{
	const struct vmemdev_balloon_track *track = b->tracks_;

	record_put32(out, b->tracked_ ? b->track_count_ : 0);
	for (uint32_t i = 0; b->tracked_ && i < b->track_count_; i++, track++) {
		record_put64(out, track->gpa);
		record_put64(out, track->len);
		record_put32(out, track->frame_shift);
		record_put_bits(out, track->words, bit_words(track->len));
	}
}

/* Count anew what bits are set. Returns whether none lies beyond the track's end. */
static bool count_all(const struct vmemdev_balloon_track *track)
{
	uint64_t bits = track->len >> PAGE_SHIFT, all = bit_words(track->len) * 64;
	uint64_t pages = UINT64_C(1) << (track->frame_shift - PAGE_SHIFT), next;
	uint64_t *set = track->words + bit_words(track->len);

	for (uint64_t first = 0; counted(track) && first < bits; first = next) {
		next = first + pages;
		set[first / pages] = bitmap_count(track->words, first, next);
	}
	return bitmap_run_end(track->words, bits, all, false) == all;
}

int tracks_load(struct vmemdev_balloon *b, struct record_in *in, bool tracked)
{
	const struct vmemdev_balloon_track *track = b->tracks_;
	uint32_t count = record_get32(in), shift;
	uint64_t gpa, len;

	if (tracked != (count > 0) || (tracked && !accepted(b, VMEMDEV_BALLOON_F_MUST_TELL_HOST)))
		return VMEMDEV_E_RECORD;
	if (count > 0 && count != b->track_count_)
		return VMEMDEV_E_MISMATCH;
	b->tracked_ = tracked;
	for (uint32_t i = 0; i < count; i++, track++) {
		gpa = record_get64(in);
		len = record_get64(in);
		shift = record_get32(in);
		if (in->bad)
			break;
		if (gpa != track->gpa || len != track->len || shift != track->frame_shift)
			return VMEMDEV_E_MISMATCH;
		record_get_bits(in, track->words, bit_words(len));
		if (in->bad || !count_all(track))
			return VMEMDEV_E_RECORD;
	}
	return in->bad ? VMEMDEV_E_RECORD : 0;
}
