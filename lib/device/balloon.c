/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The traditional balloon (VIRTIO 1.4, 5.5): the device as its base sees it. What its
 * queues carry is in the balloon_*.c files beside this one.
 */
#include "core/config.h"
#include "core/endian.h"
#include "core/libc.h"
#include "device/balloon_parts.h"

enum {
	QUEUES = 5,
	FIRST_OPTIONAL = 2,
	REPORT_QUEUE_MIN = 32, /* or Linux does not take the device */
	HINT_QUEUE_MIN = 2,
	CONFIG_NUM_PAGES = 0,
	CONFIG_ACTUAL = 4,
	CONFIG_COMMAND = 8,
	CONFIG_POISON = 12,
	CONFIG_SIZE = 16
};

_Static_assert(CONFIG_SIZE <= DEVICE_CONFIG_MAX, "configuration space");

/* The roles that optional queues have with these features, as bits. */
static uint32_t optional_roles(uint64_t features)
{
	uint32_t roles = 0;

	if (features & VMEMDEV_BALLOON_F_STATS_VQ)
		roles |= 1u << ROLE_STATS;
	if (features & VMEMDEV_BALLOON_F_FREE_PAGE_HINT)
		roles |= 1u << ROLE_HINT;
	if (features & VMEMDEV_BALLOON_F_PAGE_REPORTING)
		roles |= 1u << ROLE_REPORT;
	return roles;
}

/* The indices of the optional queues as Linux numbers them, without gaps, as bits. */
static uint32_t gapless(uint32_t roles)
{
	uint32_t indices = 0;

	for (uint32_t next = FIRST_OPTIONAL; roles != 0; roles &= roles - 1, next++)
		indices |= 1u << next;
	return indices;
}

void balloon_assign_roles(struct vmemdev_balloon *b, bool without_gaps)
{
	uint32_t roles = optional_roles(b->device_.accepted_);
	uint8_t queue = FIRST_OPTIONAL;

	b->gapless_ = without_gaps;
	memset(b->roles_, ROLE_NONE, sizeof(b->roles_));
	b->roles_[ROLE_INFLATE] = ROLE_INFLATE;
	b->roles_[ROLE_DEFLATE] = ROLE_DEFLATE;
	for (uint8_t role = FIRST_OPTIONAL; role < ROLE_NONE; role++) {
		if (roles & 1u << role)
			b->roles_[without_gaps ? queue++ : role] = role;
	}
}

void balloon_kick(struct vmemdev_balloon *b, enum role role)
{
	for (uint16_t i = 0; i < b->device_.vq_count_; i++) {
		if (b->roles_[i] == role)
			vmemdev_device_kick(&b->device_, i);
	}
}

/* Which numbering the driver follows shows in the queues that it has enabled (AMB-01). */
static void start(struct vmemdev_device *dev)
{
	uint32_t roles = optional_roles(dev->accepted_), indices = gapless(roles), enabled = 0;

	for (uint16_t i = 0; i < QUEUES; i++) {
		if (vmemdev_device_queue_enabled(dev, i))
			enabled |= 1u << i;
	}
	balloon_assign_roles(balloon_of(dev),
			     (enabled & roles) != roles && (enabled & indices) == indices);
}

static int process(struct vmemdev_device *dev, uint16_t queue, uint32_t *budget)
{
	struct vmemdev_balloon *b = balloon_of(dev);

	if (b->waiting_)
		return 0;
	if (*budget == 0)
		return 1;
	switch (b->roles_[queue]) {
	case ROLE_NONE:
		return 0;
	case ROLE_STATS:
		return stats_process(b, queue, budget);
	default:
		return batch_process(b, queue, budget);
	}
}

static void queue_reset(struct vmemdev_device *dev, uint16_t queue)
{
	struct vmemdev_balloon *b = balloon_of(dev);

	if (b->roles_[queue] == ROLE_STATS)
		stats_reset(b);
	if (b->roles_[queue] == ROLE_HINT)
		hint_queue_reset(b);
	if (b->queue_ != queue)
		return;
	/* Pages of buffers that are dropped were not given up; which they are is not known. */
	if (b->batch_ && b->tracked_ && queue == ROLE_INFLATE)
		tracks_clear(b);
	batch_forget(b);
}

/*
 * Whether nothing is left to be told of what was named in buffers that are staged. A device
 * that does not run any more will not tell it, nor use them.
 */
static bool all_told(const struct vmemdev_balloon *b)
{
	return b->run_first_ >= b->run_end_ || !device_live(&b->device_);
}

static int queue_stop(struct vmemdev_device *dev, uint16_t queue)
{
	struct vmemdev_balloon *b = balloon_of(dev);

	if (b->queue_ == queue && (b->waiting_ || !all_told(b)))
		return VMEMDEV_E_STATE;
	if (b->roles_[queue] == ROLE_STATS)
		b->stats_has_ = 0;
	if (b->queue_ == queue)
		batch_forget(b);
	return 0;
}

/* Work that was put off counts as failed by whoever loads; what was not even asked cannot. */
static bool savable(const struct vmemdev_device *dev)
{
	return all_told((const struct vmemdev_balloon *)dev);
}

static void set_actual(struct vmemdev_balloon *b, uint32_t pages)
{
	if (pages == b->actual_)
		return;
	b->actual_ = pages;
	if (b->ops_->actual != NULL)
		b->ops_->actual(b->ctx_, (uint64_t)pages << PAGE_SHIFT);
}

/*
 * After a reset the balloon is empty: the pages are ordinary memory again (2.4). The
 * poison stays, as Linux does not write it again when it wakes from sleep (AMB-03).
 */
static void reset(struct vmemdev_device *dev)
{
	struct vmemdev_balloon *b = balloon_of(dev);

	if (b->tracked_)
		tracks_clear(b);
	inhibit_reset(b);
	hint_reset(b);
	set_actual(b, 0);
	b->gapless_ = 0;
	memset(b->roles_, ROLE_NONE, sizeof(b->roles_));
}

static int system_reset(struct vmemdev_device *dev)
{
	balloon_of(dev)->poison_ = 0;
	return 0;
}

static void config_read(const struct vmemdev_device *dev, uint8_t *config)
{
	const struct vmemdev_balloon *b = (const struct vmemdev_balloon *)dev;

	store_le32(config + CONFIG_NUM_PAGES, b->target_);
	store_le32(config + CONFIG_ACTUAL, b->actual_);
	store_le32(config + CONFIG_COMMAND, b->command_);
	store_le32(config + CONFIG_POISON, b->poison_);
}

/* The field at @at, now @value, after @src was written to [offset, offset + len). */
static uint32_t merge(uint32_t at, uint32_t value, uint32_t offset, const uint8_t *src,
		      uint32_t len)
{
	uint8_t bytes[4];

	store_le32(bytes, value);
	for (uint32_t i = 0; i < len; i++) {
		if (offset + i >= at && offset + i < at + sizeof(bytes))
			bytes[offset + i - at] = src[i];
	}
	return load_le32(bytes);
}

static void config_write(struct vmemdev_device *dev, uint32_t offset, const uint8_t *src,
			 uint32_t len)
{
	struct vmemdev_balloon *b = balloon_of(dev);

	set_actual(b, merge(CONFIG_ACTUAL, b->actual_, offset, src, len));
	if (offset + len <= CONFIG_POISON)
		return;
	/* 5.5.6.6.1: before DRIVER_OK, and not with a feature that was not accepted. */
	if (accepted(b, VMEMDEV_BALLOON_F_PAGE_POISON) &&
	    !(dev->status_ & VMEMDEV_STATUS_DRIVER_OK))
		b->poison_ = merge(CONFIG_POISON, b->poison_, offset, src, len);
	else
		b->counts_.inputs_ignored++;
}

static bool features_ok(const struct vmemdev_device *dev, uint64_t features)
{
	const struct vmemdev_balloon *b = (const struct vmemdev_balloon *)dev;

	return !b->require_must_tell_ || (features & VMEMDEV_BALLOON_F_MUST_TELL_HOST);
}

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
	.features_ok = features_ok,
	.start = start,
	.process = process,
	.stages = true,
	.queue_reset = queue_reset,
	.queue_stop = queue_stop,
	.reset = reset,
	.savable = savable,
	.save_size = balloon_save_size,
	.save = balloon_save,
	.load = balloon_load,
	.system_reset = system_reset,
};

static uint64_t features_of(const struct vmemdev_balloon_config *config)
{
	uint64_t features = 0;

	if (config->must_tell_host)
		features |= VMEMDEV_BALLOON_F_MUST_TELL_HOST;
	if (config->deflate_on_oom)
		features |= VMEMDEV_BALLOON_F_DEFLATE_ON_OOM;
	if (config->stats)
		features |= VMEMDEV_BALLOON_F_STATS_VQ;
	if (config->hinting)
		features |= VMEMDEV_BALLOON_F_FREE_PAGE_HINT;
	if (config->reporting)
		features |= VMEMDEV_BALLOON_F_PAGE_REPORTING | VMEMDEV_BALLOON_F_PAGE_POISON;
	return features;
}

static int check(const struct vmemdev_balloon_config *config)
{
	const struct vmemdev_balloon_ops *ops = config->ops;
	uint16_t least = 0;
	int err;

	if (ops == NULL || ops->inflate == NULL || config->ranges == NULL ||
	    (config->reporting && ops->report == NULL) || (config->hinting && ops->hint == NULL))
		return VMEMDEV_E_INVAL;
	if (config->pad_ != 0 || config->first_round == 1)
		return VMEMDEV_E_INVAL;
	if (config->range_count == 0)
		return VMEMDEV_E_SIZE;
	if (config->require_must_tell_host && !config->must_tell_host)
		return VMEMDEV_E_FEATURE;
	err = device_check(&class, &config->device);
	if (err != 0)
		return err;
	if (config->reporting)
		least = REPORT_QUEUE_MIN;
	else if (config->hinting)
		least = HINT_QUEUE_MIN;
	if (config->device.queue_size != 0 && config->device.queue_size < least)
		return VMEMDEV_E_SIZE;
	return tracks_check(config->tracks, config->track_count);
}

int vmemdev_balloon_init(struct vmemdev_balloon *balloon, size_t balloon_size,
			 const struct vmemdev_balloon_config *config)
{
	struct vmemdev_balloon_config given;
	uint32_t roles, queues;
	uint64_t features;
	int err;

	if (balloon == NULL)
		return VMEMDEV_E_INVAL;
	if (balloon_size != sizeof(*balloon))
		return VMEMDEV_E_ABI;
	err = config_take(&given, sizeof(given), sizeof(given), config);
	if (err == 0)
		err = check(&given);
	if (err != 0)
		return err;

	memset(balloon, 0, sizeof(*balloon));
	features = features_of(&given);
	roles = optional_roles(features);
	queues = 1u << ROLE_INFLATE | 1u << ROLE_DEFLATE | roles;
	if (!given.text_queues_only)
		queues |= gapless(roles);
	device_init(&balloon->device_, &class, &given.device, features, balloon->vqs_,
		    roles != 0 ? QUEUES : FIRST_OPTIONAL, queues);
	memset(balloon->roles_, ROLE_NONE, sizeof(balloon->roles_));
	balloon->ops_ = given.ops;
	balloon->ctx_ = given.ctx;
	balloon->ranges_ = given.ranges;
	balloon->range_max_ = given.range_count;
	balloon->tracks_ = given.tracks;
	balloon->track_count_ = given.track_count;
	balloon->next_round_ = given.first_round != 0 ? given.first_round : 2;
	balloon->report_min_ = given.report_min;
	balloon->report_credit_ = UINT64_MAX;
	balloon->require_must_tell_ = given.require_must_tell_host;
	tracks_clear(balloon);
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
	if (bytes > 0 && guest_reaches(balloon->device_.guest_, VMEMDEV_BALLOON_GPA_MAX))
		return VMEMDEV_E_REACH;
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
