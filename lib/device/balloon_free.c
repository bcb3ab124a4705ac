/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Free page reporting and free page hinting (VIRTIO 1.4, 5.5.6.5 and 5.5.6.7): the
 * device-writable elements of a chain are the free ranges themselves.
 */
#include "core/bitmap.h"
#include "core/endian.h"
#include "device/balloon_parts.h"

enum {
	SLICE = 64, /* elements that one unit of budget pays for */
	COMMAND_STOP = 0,
	COMMAND_DONE = 1,
	COMMAND_FIRST = 2
};

/* Take in one free range, whole pages of it. Returns 0, or VMEMDEV_LATER and not taken. */
static int take_element(struct vmemdev_balloon *b, const struct vmemdev_buf *buf)
{
	uint64_t first = (buf->gpa >> PAGE_SHIFT) + (buf->gpa % VMEMDEV_BALLOON_PAGE != 0);
	uint64_t end = (buf->gpa + buf->len) >> PAGE_SHIFT;

	if (buf->gpa + buf->len < buf->gpa || first >= end) {
		b->counts_.inputs_ignored++;
		return 0;
	}
	if (batch_role(b) == ROLE_HINT && b->round_ != VMEMDEV_BALLOON_ROUND_OPEN) {
		b->counts_.pages_stale += end - first;
		return 0;
	}
	if (batch_take(b, first, end) == VMEMDEV_LATER)
		return VMEMDEV_LATER;
	if (batch_role(b) == ROLE_REPORT && b->report_credit_ != UINT64_MAX)
		b->report_credit_ -= b->report_credit_ < buf->len ? b->report_credit_ : buf->len;
	return 0;
}

int free_read(struct vmemdev_balloon *b)
{
	struct vmemdev_chain before;
	struct vmemdev_buf buf;
	int got;

	for (uint32_t done = 0; done < SLICE; done++) {
		before = b->chain_;
		got = vmemdev_chain_next(&b->chain_, &buf);
		if (got < 0)
			return got;
		if (got == 0)
			return batch_give_back(b);
		if (!buf.writable) {
			b->counts_.inputs_ignored++;
		} else if (take_element(b, &buf) == VMEMDEV_LATER) {
			/* It is read again when the host is ready for it. */
			b->chain_ = before;
			return VMEMDEV_LATER;
		}
	}
	return 0;
}

static void set_round(struct vmemdev_balloon *b, enum vmemdev_balloon_round round)
{
	if (b->round_ == round)
		return;
	b->round_ = (uint8_t)round;
	if (b->ops_->round != NULL)
		b->ops_->round(b->ctx_, round);
}

/* The guest ends what it has begun; what it hinted until then is told before. */
static void end_round(struct vmemdev_balloon *b)
{
	if (b->round_ != VMEMDEV_BALLOON_ROUND_OPEN)
		return;
	if (batch_flush(b) == VMEMDEV_LATER) {
		/* More holes than a run's work is for: what is not told now is no hint. */
		b->counts_.pages_stale += b->run_end_ - b->run_first_;
		b->run_first_ = b->run_end_;
	}
	set_round(b, VMEMDEV_BALLOON_ROUND_ENDED);
}

int hint_begin(struct vmemdev_balloon *b)
{
	uint8_t command[4];
	int32_t got = vmemdev_chain_read(&b->chain_, command, sizeof(command));

	if (got <= 0)
		return got;
	if (got == sizeof(command) && load_le32(command) == b->command_ &&
	    b->command_ >= COMMAND_FIRST) {
		/* A round opens once; naming it again changes nothing. */
		if (b->round_ == VMEMDEV_BALLOON_ROUND_ASKED)
			set_round(b, VMEMDEV_BALLOON_ROUND_OPEN);
		return 0;
	}
	if (got < (int32_t)sizeof(command) || load_le32(command) != COMMAND_STOP)
		b->counts_.inputs_ignored++;
	end_round(b);
	return 0;
}

void hint_queue_reset(struct vmemdev_balloon *b)
{
	if (b->round_ == VMEMDEV_BALLOON_ROUND_OPEN)
		set_round(b, VMEMDEV_BALLOON_ROUND_ASKED);
}

void hint_reset(struct vmemdev_balloon *b)
{
	b->command_ = COMMAND_STOP;
	b->hints_held_ = 0;
	set_round(b, VMEMDEV_BALLOON_ROUND_NONE);
}

static void show_command(struct vmemdev_balloon *b, uint32_t command)
{
	/* What was hinted and not told yet was hinted under another command. */
	if (b->batch_ && batch_role(b) == ROLE_HINT)
		b->run_end_ = b->run_first_;
	b->command_ = command;
	device_config_changed(&b->device_);
}

int vmemdev_balloon_hint_start(struct vmemdev_balloon *balloon)
{
	if (!(balloon->device_.offered_ & VMEMDEV_BALLOON_F_FREE_PAGE_HINT))
		return VMEMDEV_E_FEATURE;
	if (balloon->device_.inside_ || !in_use(balloon, VMEMDEV_BALLOON_F_FREE_PAGE_HINT))
		return VMEMDEV_E_STATE;
	balloon->round_ = VMEMDEV_BALLOON_ROUND_ASKED;
	balloon->hints_held_ = 1;
	balloon->counts_.rounds++;
	show_command(balloon, balloon->next_round_);
	balloon->next_round_++;
	if (balloon->next_round_ < COMMAND_FIRST)
		balloon->next_round_ = COMMAND_FIRST;
	return 0;
}

static int end_by_host(struct vmemdev_balloon *b, uint32_t command)
{
	if (b->device_.inside_)
		return VMEMDEV_E_STATE;
	if (!b->hints_held_ || b->command_ == command)
		return 0;
	b->hints_held_ = command != COMMAND_DONE;
	b->round_ = VMEMDEV_BALLOON_ROUND_NONE;
	show_command(b, command);
	return 0;
}

int vmemdev_balloon_hint_stop(struct vmemdev_balloon *balloon)
{
	return end_by_host(balloon, COMMAND_STOP);
}

int vmemdev_balloon_hint_done(struct vmemdev_balloon *balloon)
{
	return end_by_host(balloon, COMMAND_DONE);
}

enum vmemdev_balloon_round vmemdev_balloon_hint_round(const struct vmemdev_balloon *balloon)
{
	return (enum vmemdev_balloon_round)balloon->round_;
}

uint64_t vmemdev_balloon_skip(uint64_t *to_send, uint64_t gpa, uint64_t pages, uint32_t page_shift,
			      const struct vmemdev_range *ranges, uint32_t count)
{
	uint64_t mask = (UINT64_C(1) << page_shift) - 1, taken = 0, from, len, first, end;

	for (uint32_t i = 0; i < count; i++) {
		from = ranges[i].gpa;
		len = ranges[i].len;
		if (from < gpa) {
			if (len <= gpa - from)
				continue;
			len -= gpa - from;
			from = gpa;
		}
		from -= gpa;
		first = (from >> page_shift) + ((from & mask) != 0);
		end = (from + len) >> page_shift;
		if (end > pages)
			end = pages;
		if (first < end)
			taken += bitmap_change(to_send, first, end, false);
	}
	return taken;
}

int vmemdev_balloon_allow_reports(struct vmemdev_balloon *balloon, uint64_t bytes)
{
	if (balloon->device_.inside_)
		return VMEMDEV_E_STATE;
	balloon->report_credit_ = bytes;
	if (bytes > 0)
		balloon_kick(balloon, ROLE_REPORT);
	return 0;
}
