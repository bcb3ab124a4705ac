/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The guest's statistics (VIRTIO 1.4, 5.5.6.3): a buffer holds a set and is kept until the
 * host wants the next one.
 */
#include "core/endian.h"
#include "core/libc.h"
#include "device/balloon_parts.h"

enum {
	ENTRY = 10,   /* bytes: le16 tag, le64 value */
	ENTRIES = 16, /* copied at a time */
	SET = 256     /* entries read of one buffer; there are 16 tags */
};

static void take_entry(struct vmemdev_balloon *b, struct vmemdev_balloon_stats *set,
		       const uint8_t *entry)
{
	uint16_t tag = load_le16(entry);
	uint64_t value = load_le64(entry + 2);

	if (tag < VMEMDEV_BALLOON_STATS) {
		set->value[tag] = value;
		set->present |= UINT32_C(1) << tag;
	} else if (b->ops_->unknown_stat != NULL) {
		b->ops_->unknown_stat(b->ctx_, tag, value);
	}
}

/* Read a set. A last incomplete entry is none, what is beyond SET is not read. */
static int read_set(struct vmemdev_balloon *b, struct vmemdev_chain *chain,
		    struct vmemdev_balloon_stats *set)
{
	uint8_t entries[ENTRY * ENTRIES];
	int32_t got;

	memset(set, 0, sizeof(*set));
	for (uint32_t done = 0; done < SET; done += ENTRIES) {
		got = vmemdev_chain_read(chain, entries, sizeof(entries));
		if (got < 0)
			return got;
		for (int32_t at = 0; at + ENTRY <= got; at += ENTRY)
			take_entry(b, set, entries + at);
		if (got < (int32_t)sizeof(entries)) {
			b->counts_.inputs_ignored += got % ENTRY != 0;
			return 0;
		}
	}
	return 0;
}

/* Stage the buffer that is kept: the driver is to fill it anew. */
static int hand_back(struct vmemdev_balloon *b, uint16_t queue)
{
	b->stats_has_ = 0;
	return vmemdev_vq_push(&b->vqs_[queue], &b->stats_held_, 0);
}

/* A set has come in @chain; a buffer that was kept till now is of no use any more. */
static int take_set(struct vmemdev_balloon *b, uint16_t queue, struct vmemdev_chain *chain)
{
	struct vmemdev_balloon_stats set;
	struct vmemdev_held held;
	int err = read_set(b, chain, &set);

	if (err == 0)
		err = vmemdev_chain_finish(chain, &held);
	if (err == 0 && b->stats_has_)
		err = hand_back(b, queue);
	if (err != 0)
		return err;
	b->counts_.inputs_ignored += held.writable > 0;
	b->stats_held_ = held;
	b->stats_has_ = 1;
	set.valid = true;
	set.pending = b->stats_wanted_;
	b->stats_ = set;
	b->counts_.stats_sets++;
	if (b->ops_->stats != NULL)
		b->stats_.updated = b->ops_->stats(b->ctx_);
	return 0;
}

int stats_process(struct vmemdev_balloon *b, uint16_t queue, uint32_t *budget)
{
	struct vmemdev_chain chain;
	int got = 1, err;

	while (*budget > 0) {
		got = vmemdev_vq_pop(&b->vqs_[queue], &chain);
		if (got <= 0)
			break;
		(*budget)--;
		got = take_set(b, queue, &chain);
		if (got < 0)
			break;
		got = 1;
	}
	if (got < 0)
		return got;
	if (b->stats_has_ && b->stats_wanted_) {
		b->stats_wanted_ = 0;
		err = hand_back(b, queue);
		if (err != 0)
			return err;
	}
	err = device_publish(&b->device_, queue);
	return err != 0 ? err : got;
}

void stats_reset(struct vmemdev_balloon *b)
{
	b->stats_has_ = 0;
	b->stats_wanted_ = 0;
	memset(&b->stats_, 0, sizeof(b->stats_));
}

int vmemdev_balloon_poll_stats(struct vmemdev_balloon *balloon)
{
	if (!(balloon->device_.offered_ & VMEMDEV_BALLOON_F_STATS_VQ))
		return VMEMDEV_E_FEATURE;
	if (balloon->device_.inside_ || !in_use(balloon, VMEMDEV_BALLOON_F_STATS_VQ))
		return VMEMDEV_E_STATE;
	/* A set that is under way answers this too. */
	if (balloon->stats_.pending)
		return 0;
	balloon->stats_.pending = true;
	balloon->stats_wanted_ = 1;
	balloon_kick(balloon, ROLE_STATS);
	return 0;
}

void vmemdev_balloon_get_stats(const struct vmemdev_balloon *balloon,
			       struct vmemdev_balloon_stats *stats)
{
	*stats = balloon->stats_;
}

const char *vmemdev_balloon_stat_name(uint16_t tag)
{
	static const char names[VMEMDEV_BALLOON_STATS][16] = {
		"swap_in",	   "swap_out",	     "major_fault",   "minor_fault",
		"unused",	   "available",	     "usable",	      "disk_caches",
		"hugetlb_pgalloc", "hugetlb_pgfail", "oom_kill",      "alloc_stall",
		"async_scan",	   "direct_scan",    "async_reclaim", "direct_reclaim",
	};

	return tag < VMEMDEV_BALLOON_STATS ? names[tag] : NULL;
}
