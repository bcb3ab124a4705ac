/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The traditional balloon (VIRTIO 1.4, 5.5): page numbers in, ranges out.
 *
 * Page numbers of one queue are gathered over all chains at hand. Neighbours grow a
 * run, at either end, as Linux names pages downwards; a number that does not fit ends
 * the run, which is cut to discardable memory and joins ranges_. The host is told when
 * ranges_ is full and when nothing more is at hand; only then are the chains, staged
 * meanwhile, shown to the driver as used.
 */
#include "core/config.h"
#include "core/device.h"
#include "core/guest.h"
#include "core/vq.h"

#include <vmemdev/balloon.h>

enum {
	INFLATE = 0,
	DEFLATE = 1,
	QUEUES = 2,
	CONFIG_NUM_PAGES = 0,
	CONFIG_ACTUAL = 4,
	CONFIG_SIZE = 8,
	PAGE_SHIFT = 12,
	NUMBERS = 64, /* page numbers copied at a time */
	SLICE = 256   /* page numbers that one unit of budget pays for */
};

static struct vmemdev_balloon *balloon_of(struct vmemdev_device *dev)
{
	return (struct vmemdev_balloon *)dev;
}

static const struct vmemdev_balloon *const_balloon_of(const struct vmemdev_device *dev)
{
	return (const struct vmemdev_balloon *)dev;
}

/*
 * Hand ranges_ to the host. Returns 0 when it is done with them, or VMEMDEV_LATER, which
 * only a host that can also cancel may answer.
 */
static int tell_host(struct vmemdev_balloon *b)
{
	int (*op)(void *, const struct vmemdev_range *, uint32_t, uint64_t) =
		b->queue_ == INFLATE ? b->ops_->inflate : b->ops_->deflate;
	uint64_t *pages =
		b->queue_ == INFLATE ? &b->counts_.pages_inflated : &b->counts_.pages_deflated;
	int result;

	if (b->range_count_ == 0)
		return 0;
	b->counts_.host_calls++;
	b->counts_.ranges += b->range_count_;
	for (uint32_t i = 0; i < b->range_count_; i++)
		*pages += b->ranges_[i].len >> PAGE_SHIFT;
	b->token_++;
	result = op(b->ctx_, b->ranges_, b->range_count_, b->token_);
	if (result == VMEMDEV_LATER && b->ops_->cancel != NULL) {
		b->waiting_ = 1;
		return VMEMDEV_LATER;
	}
	b->counts_.host_failures += result != 0;
	b->range_count_ = 0;
	return 0;
}

/* Bytes from @gpa on, whole pages of at most @len, that are alike in being discardable. */
static uint64_t alike(const struct vmemdev_balloon *b, uint64_t gpa, uint64_t len,
		      bool *discardable)
{
	uint64_t got = guest_run(b->device_.guest_, gpa, len, discardable);

	if (got >= VMEMDEV_BALLOON_PAGE)
		return got & ~(uint64_t)(VMEMDEV_BALLOON_PAGE - 1);
	/* A callback host may answer for less than a page: then the page is not whole. */
	*discardable = false;
	return VMEMDEV_BALLOON_PAGE;
}

/*
 * Move the run into ranges_. Returns 0, or VMEMDEV_LATER with what is left of the run
 * still in place.
 */
static int end_run(struct vmemdev_balloon *b)
{
	uint64_t gpa, len;
	bool discardable;

	while (b->run_first_ < b->run_end_) {
		gpa = b->run_first_ << PAGE_SHIFT;
		len = alike(b, gpa, (b->run_end_ - b->run_first_) << PAGE_SHIFT, &discardable);
		if (discardable) {
			if (b->range_count_ == b->range_max_ && tell_host(b) == VMEMDEV_LATER)
				return VMEMDEV_LATER;
			b->ranges_[b->range_count_].gpa = gpa;
			b->ranges_[b->range_count_].len = len;
			b->range_count_++;
		} else {
			b->counts_.pages_ignored += len >> PAGE_SHIFT;
		}
		b->run_first_ += len >> PAGE_SHIFT;
	}
	return 0;
}

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
			if (end_run(b) == VMEMDEV_LATER)
				return i;
			first = number;
			end = number + 1;
		}
	}
	b->run_first_ = first;
	b->run_end_ = end;
	return count;
}

/* The chain is read: give it back, to be seen by the driver with the batch. */
static int give_back(struct vmemdev_balloon *b)
{
	struct vmemdev_held held;
	int err;

	b->open_ = 0;
	err = vmemdev_chain_finish(&b->chain_, &held);
	if (err != 0)
		return err;
	return vmemdev_vq_push(&b->vqs_[b->queue_], &held, 0);
}

/*
 * Read up to SLICE page numbers of the open chain (5.5.6: an array of le32; a last
 * incomplete one is no page number). Returns 0, VMEMDEV_LATER or an error.
 */
static int read_slice(struct vmemdev_balloon *b)
{
	uint8_t numbers[4 * NUMBERS];
	struct vmemdev_chain before;
	uint32_t taken;
	int32_t got;

	if (b->queue_ == DEFLATE && b->ops_->deflate == NULL)
		return give_back(b);
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
		if (got < (int32_t)sizeof(numbers) || chain_at_end(&b->chain_))
			return give_back(b);
	}
	return 0;
}

/* Read chains. Returns 1 if the budget ended it, 0 if nothing is left, or an error. */
static int gather(struct vmemdev_balloon *b, uint32_t *budget)
{
	int got;

	while (*budget > 0) {
		if (!b->open_) {
			got = vmemdev_vq_pop(&b->vqs_[b->queue_], &b->chain_);
			if (got <= 0)
				return got;
			b->open_ = 1;
		}
		(*budget)--;
		got = read_slice(b);
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
	if (end_run(b) == VMEMDEV_LATER || tell_host(b) == VMEMDEV_LATER || b->open_)
		return 0;
	b->batch_ = 0;
	return device_publish(&b->device_, b->queue_);
}

static int process(struct vmemdev_device *dev, uint16_t queue, uint32_t *budget)
{
	struct vmemdev_balloon *b = balloon_of(dev);
	int left, err;

	if (b->waiting_)
		return 0;
	/* What one queue has gathered must not meet the other's: it is settled first. */
	if (*budget == 0 || (b->batch_ && b->queue_ != queue))
		return 1;
	b->batch_ = 1;
	b->queue_ = queue;
	left = gather(b, budget);
	if (left < 0 || b->waiting_)
		return left < 0 ? left : 0;
	err = settle(b);
	if (err != 0)
		return err;
	return b->waiting_ ? 0 : left;
}

/* What queues had to say while the host was busy was put off: look at them again. */
static void kick_all(struct vmemdev_balloon *b)
{
	for (uint16_t i = 0; i < QUEUES; i++)
		vmemdev_device_kick(&b->device_, i);
}

static void forget(struct vmemdev_balloon *b)
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
		kick_all(b);
	}
}

static void queue_reset(struct vmemdev_device *dev, uint16_t queue)
{
	struct vmemdev_balloon *b = balloon_of(dev);

	if (b->queue_ == queue)
		forget(b);
}

static void set_actual(struct vmemdev_balloon *b, uint32_t pages)
{
	if (pages == b->actual_)
		return;
	b->actual_ = pages;
	if (b->ops_->actual != NULL)
		b->ops_->actual(b->ctx_, (uint64_t)pages << PAGE_SHIFT);
}

/* After a reset the balloon is empty: the pages are ordinary memory again (2.4). */
static void reset(struct vmemdev_device *dev)
{
	set_actual(balloon_of(dev), 0);
}

static void config_read(const struct vmemdev_device *dev, uint8_t *config)
{
	const struct vmemdev_balloon *b = const_balloon_of(dev);

	store_le32(config + CONFIG_NUM_PAGES, b->target_);
	store_le32(config + CONFIG_ACTUAL, b->actual_);
}

static void config_write(struct vmemdev_device *dev, uint32_t offset, const uint8_t *src,
			 uint32_t len)
{
	struct vmemdev_balloon *b = balloon_of(dev);
	uint8_t actual[4];

	store_le32(actual, b->actual_);
	for (uint32_t i = 0; i < len; i++) {
		if (offset + i >= CONFIG_ACTUAL && offset + i < CONFIG_ACTUAL + sizeof(actual))
			actual[offset + i - CONFIG_ACTUAL] = src[i];
	}
	set_actual(b, load_le32(actual));
}

_Static_assert(CONFIG_SIZE <= DEVICE_CONFIG_MAX, "configuration space");

/*
 * ACCESS_PLATFORM is not for the balloon: its page numbers are guest-physical, and
 * Linux never accepts it there.
 */
static const struct vmemdev_class class = {
	.id = 5,
	.config_size = CONFIG_SIZE,
	.may_offer = VMEMDEV_F_RING_PACKED | VMEMDEV_F_IN_ORDER | VMEMDEV_F_NOTIFICATION_DATA,
	.offer = VMEMDEV_F_INDIRECT_DESC | VMEMDEV_F_EVENT_IDX | VMEMDEV_F_RING_RESET,
	.config_read = config_read,
	.config_write = config_write,
	.process = process,
	.queue_reset = queue_reset,
	.reset = reset,
};

int vmemdev_balloon_init(struct vmemdev_balloon *balloon, size_t balloon_size,
			 const struct vmemdev_balloon_config *config)
{
	struct vmemdev_balloon_config given;
	uint64_t features = 0;
	int err;

	if (balloon == NULL)
		return VMEMDEV_E_INVAL;
	if (balloon_size != sizeof(*balloon))
		return VMEMDEV_E_ABI;
	err = config_take(&given, sizeof(given), sizeof(given), config);
	if (err != 0)
		return err;
	if (given.ops == NULL || given.ops->inflate == NULL || given.ranges == NULL)
		return VMEMDEV_E_INVAL;
	for (size_t i = 0; i < sizeof(given.pad_); i++) {
		if (given.pad_[i] != 0)
			return VMEMDEV_E_INVAL;
	}
	if (given.range_count == 0)
		return VMEMDEV_E_SIZE;
	if (given.must_tell_host)
		features |= VMEMDEV_BALLOON_F_MUST_TELL_HOST;
	if (given.deflate_on_oom)
		features |= VMEMDEV_BALLOON_F_DEFLATE_ON_OOM;
	err = device_check(&class, &given.device);
	if (err != 0)
		return err;

	memset(balloon, 0, sizeof(*balloon));
	device_init(&balloon->device_, &class, &given.device, features, balloon->vqs_, QUEUES);
	balloon->ops_ = given.ops;
	balloon->ctx_ = given.ctx;
	balloon->ranges_ = given.ranges;
	balloon->range_max_ = given.range_count;
	return 0;
}

struct vmemdev_device *vmemdev_balloon_device(struct vmemdev_balloon *balloon)
{
	return &balloon->device_;
}

int vmemdev_balloon_set_target(struct vmemdev_balloon *balloon, uint64_t bytes)
{
	uint32_t pages;

	if (balloon->device_.inside_)
		return VMEMDEV_E_STATE;
	if (bytes > VMEMDEV_BALLOON_TARGET_MAX)
		return VMEMDEV_E_SIZE;
	if (bytes % VMEMDEV_BALLOON_PAGE != 0)
		return VMEMDEV_E_ALIGN;
	pages = (uint32_t)(bytes >> PAGE_SHIFT);
	if (pages == balloon->target_)
		return 0;
	balloon->target_ = pages;
	device_config_changed(&balloon->device_);
	return 0;
}

uint64_t vmemdev_balloon_target(const struct vmemdev_balloon *balloon)
{
	return (uint64_t)balloon->target_ << PAGE_SHIFT;
}

uint64_t vmemdev_balloon_actual(const struct vmemdev_balloon *balloon)
{
	return (uint64_t)balloon->actual_ << PAGE_SHIFT;
}

void vmemdev_balloon_get_counts(const struct vmemdev_balloon *balloon,
				struct vmemdev_balloon_counts *counts)
{
	*counts = balloon->counts_;
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
	kick_all(balloon);
	return 0;
}
