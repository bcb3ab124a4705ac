/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The balloon's part of a record (core/state.c):
 *
 *     le32 target, actual, command, next round, poison
 *     u8 flags  u8 round  le16 0
 *     le32 present statistics  le64 updated  le64 for each that is present
 *     le32 tracks, and of each  le64 gpa, len  le32 frame shift  its bits
 *
 * Buffers that wait, a set of statistics among them, are still in their queues, not here:
 * they are taken again. What a queue is for follows from the features.
 */
#include "core/record.h"
#include "device/balloon_parts.h"

enum {
	FIXED = 20 + 4 + 12 + 4,
	FLAG_GAPLESS = 1,
	FLAG_HINTS_HELD = 2,
	FLAG_STATS_VALID = 4,
	FLAG_STATS_PENDING = 8,
	FLAG_STATS_WANTED = 16,
	FLAG_TRACKED = 32,
	FLAG_BEHIND = 64,
	FLAGS = 127
};

size_t balloon_save_size(const struct vmemdev_device *dev)
{
	const struct vmemdev_balloon *b = (const struct vmemdev_balloon *)dev;

	return FIXED + 8 * (size_t)VMEMDEV_BALLOON_STATS + tracks_save_size(b);
}

static uint8_t flags_of(const struct vmemdev_balloon *b)
{
	uint8_t flags = 0;

	flags |= b->gapless_ ? FLAG_GAPLESS : 0;
	flags |= b->hints_held_ ? FLAG_HINTS_HELD : 0;
	flags |= b->stats_.valid ? FLAG_STATS_VALID : 0;
	flags |= b->stats_.pending ? FLAG_STATS_PENDING : 0;
	flags |= b->stats_wanted_ ? FLAG_STATS_WANTED : 0;
	flags |= b->tracked_ ? FLAG_TRACKED : 0;
	/* Inhibitions are the host's to redo; should it have none left, they are over. */
	flags |= b->tracked_ && (b->behind_ || b->inhibited_) ? FLAG_BEHIND : 0;
	return flags;
}

void balloon_save(const struct vmemdev_device *dev, struct record_out *out)
{
	const struct vmemdev_balloon *b = (const struct vmemdev_balloon *)dev;

	record_put32(out, b->target_);
	record_put32(out, b->actual_);
	record_put32(out, b->command_);
	record_put32(out, b->next_round_);
	record_put32(out, b->poison_);
	record_put8(out, flags_of(b));
	record_put8(out, b->round_);
	record_put16(out, 0);
	record_put32(out, b->stats_.present);
	record_put64(out, b->stats_.updated);
	for (uint32_t tag = 0; tag < VMEMDEV_BALLOON_STATS; tag++) {
		if (b->stats_.present & UINT32_C(1) << tag)
			record_put64(out, b->stats_.value[tag]);
	}
	tracks_save(b, out);
}

static void load_stats(struct vmemdev_balloon *b, struct record_in *in, uint8_t flags)
{
	b->stats_.valid = (flags & FLAG_STATS_VALID) != 0;
	b->stats_.pending = (flags & FLAG_STATS_PENDING) != 0;
	b->stats_wanted_ = (flags & FLAG_STATS_WANTED) != 0;
	b->stats_.present = record_get_upto(in, (UINT32_C(1) << VMEMDEV_BALLOON_STATS) - 1);
	b->stats_.updated = record_get64(in);
	for (uint32_t tag = 0; tag < VMEMDEV_BALLOON_STATS; tag++) {
		if (b->stats_.present & UINT32_C(1) << tag)
			b->stats_.value[tag] = record_get64(in);
	}
}

/* Without a running driver that accepted the feature, there is nothing of these. */
static bool flags_possible(const struct vmemdev_balloon *b, uint8_t flags)
{
	const uint8_t stats = FLAG_STATS_VALID | FLAG_STATS_PENDING | FLAG_STATS_WANTED;

	if (flags & ~FLAGS)
		return false;
	if (!(b->device_.status_ & VMEMDEV_STATUS_DRIVER_OK))
		return flags == 0 && b->round_ == VMEMDEV_BALLOON_ROUND_NONE;
	if ((flags & stats) && !accepted(b, VMEMDEV_BALLOON_F_STATS_VQ))
		return false;
	if ((flags & FLAG_STATS_WANTED) && !(flags & FLAG_STATS_PENDING))
		return false;
	if ((flags & FLAG_BEHIND) && !(flags & FLAG_TRACKED))
		return false;
	return !(flags & FLAG_HINTS_HELD) || accepted(b, VMEMDEV_BALLOON_F_FREE_PAGE_HINT);
}

/* A round has a command ID, and that was counted past. */
static bool rounds_possible(const struct vmemdev_balloon *b)
{
	if (b->round_ > VMEMDEV_BALLOON_ROUND_ENDED || b->next_round_ < 2)
		return false;
	if (b->round_ == VMEMDEV_BALLOON_ROUND_NONE)
		return b->command_ < 2;
	return b->command_ >= 2 && b->command_ != b->next_round_ && b->hints_held_;
}

int balloon_load(struct vmemdev_device *dev, struct record_in *in)
{
	struct vmemdev_balloon *b = balloon_of(dev);
	uint8_t flags;

	b->target_ = record_get32(in);
	b->actual_ = record_get32(in);
	b->command_ = record_get32(in);
	b->next_round_ = record_get32(in);
	b->poison_ = record_get32(in);
	flags = record_get8(in);
	b->round_ = record_get8(in);
	b->hints_held_ = (flags & FLAG_HINTS_HELD) != 0;
	if (record_get16(in) != 0 || in->bad || !flags_possible(b, flags) || !rounds_possible(b))
		return VMEMDEV_E_RECORD;
	b->behind_ = (flags & FLAG_BEHIND) != 0;
	load_stats(b, in, flags);
	if (b->stats_.present != 0 && !b->stats_.valid)
		return VMEMDEV_E_RECORD;
	if (dev->status_ & VMEMDEV_STATUS_DRIVER_OK)
		balloon_assign_roles(b, (flags & FLAG_GAPLESS) != 0);
	return tracks_load(b, in, (flags & FLAG_TRACKED) != 0);
}
