// SPDX-License-Identifier: BSD-3-Clause
/*
 * The balloon: what its device asks of this VMM, what it is made of, and the two clocks that
 * the library leaves to its host. Beside virtio.c, this is what a VMM author copies from.
 *
 * Everything here is called under vmm->lock; what holds work up, giving pages back to the
 * kernel, happens in the main thread.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#include "vmm.h"

#define REFILLS 10      /* a second, of what free page reporting is allowed */
#define GIVEN_RUNS 1024 /* counted before others have their turn */

/* ---- what the device asks of the host ---- */

/* Given up by the guest, or reported as free: either way the kernel may have the pages. */
static int discard(void *ctx, const struct vmemdev_range *ranges, uint32_t count, uint64_t token)
{
	struct balloon *balloon = ctx;

	(void)token;
	return vmemdev_linux_discard(&balloon->vmm->memory, ranges, count);
}

/* A migration takes these out of what it has to send; here, a snapshot does (hints.c). */
static void hint(void *ctx, const struct vmemdev_range *ranges, uint32_t count)
{
	struct balloon *balloon = ctx;

	for (uint32_t i = 0; i < count; i++)
		balloon->hinted += ranges[i].len;
	hints_take(balloon->vmm, ranges, count);
}

static void tell_round(void *ctx, enum vmemdev_balloon_round round)
{
	struct balloon *balloon = ctx;

	balloon->round = round;
	control_text_event(balloon->vmm, "hint-round", balloon->slot->id, "round",
			   balloon_round_name(round));
}

static void unknown_stat(void *ctx, uint16_t tag, uint64_t value)
{
	struct balloon *balloon = ctx;
	struct unknown_stats *unknown = &balloon->unknown_next;

	if (unknown->count == UNKNOWN_STATS_MAX) {
		unknown->dropped++;
		return;
	}
	unknown->tags[unknown->count] = tag;
	unknown->values[unknown->count++] = value;
}

static uint64_t stats_arrived(void *ctx)
{
	struct balloon *balloon = ctx;
	uint64_t now = (uint64_t)time(NULL);

	balloon->unknown = balloon->unknown_next;
	balloon->unknown_next = (struct unknown_stats){0};
	control_number_event(balloon->vmm, "stats", balloon->slot->id, "last_update", now);
	return now;
}

/* A set is read in one go: what is left of one that did not get to its end is of no use. */
void balloon_ran(struct balloon *balloon)
{
	balloon->unknown_next = (struct unknown_stats){0};
}

static void actual(void *ctx, uint64_t bytes)
{
	const struct balloon *balloon = ctx;

	control_number_event(balloon->vmm, "balloon-actual", balloon->slot->id, "bytes", bytes);
}

/* No deflate: when the guest touches the memory again, the kernel brings it back. */
static const struct vmemdev_balloon_ops ops = {
	.inflate = discard,
	.report = discard,
	.hint = hint,
	.round = tell_round,
	.stats = stats_arrived,
	.unknown_stat = unknown_stat,
	.actual = actual,
};

/* Huge pages may have run out meanwhile: they are there before the guest is told. */
static const struct vmemdev_balloon_ops huge_ops = {
	.inflate = discard,
	.deflate = huge_deflate,
	.cancel = huge_cancel,
	.report = discard,
	.hint = hint,
	.round = tell_round,
	.stats = stats_arrived,
	.unknown_stat = unknown_stat,
	.actual = actual,
};

/* ---- clocks ---- */

/* Without a driver there is nobody to ask, which is no mistake: the next time, perhaps. */
static void poll_stats(void *ctx)
{
	struct balloon *balloon = ctx;

	if (!timer_rang(&balloon->stats_timer))
		return;
	pthread_mutex_lock(&balloon->vmm->lock);
	vmemdev_balloon_poll_stats(&balloon->device);
	pthread_mutex_unlock(&balloon->vmm->lock);
}

int balloon_poll_every(struct balloon *balloon, uint32_t seconds)
{
	if (!balloon->vmm->options.balloon.stats)
		return VMEMDEV_E_FEATURE;
	balloon->stats_period = seconds;
	timer_set(&balloon->stats_timer, seconds * SECOND);
	return 0;
}

/*
 * The device takes the range that passes what it is allowed, and Linux reports 4 MiB at once:
 * what was taken too much is paid off before anything is allowed again.
 */
static void refill_reports(struct balloon *balloon, uint64_t times)
{
	int64_t part = (int64_t)((balloon->vmm->options.balloon.report_limit + REFILLS - 1) /
				 REFILLS);
	int64_t parts = part * (int64_t)(times < REFILLS ? times : REFILLS);
	struct vmemdev_balloon_counts counts;

	vmemdev_balloon_get_counts(&balloon->device, &counts);
	balloon->report_credit += parts - (int64_t)(counts.pages_reported - balloon->reported) *
					  VMEMDEV_BALLOON_PAGE;
	balloon->reported = counts.pages_reported;
	if (balloon->report_credit > parts)
		balloon->report_credit = parts;
	if (balloon->report_credit > 0)
		vmemdev_balloon_allow_reports(&balloon->device, (uint64_t)balloon->report_credit);
}

static void reports_due(void *ctx)
{
	struct balloon *balloon = ctx;
	uint64_t times = timer_rang(&balloon->report_timer);

	if (!times)
		return;
	pthread_mutex_lock(&balloon->vmm->lock);
	refill_reports(balloon, times);
	pthread_mutex_unlock(&balloon->vmm->lock);
}

/* ---- making it ---- */

/*
 * The words live as long as the vCPUs, whose reset of the device may clear them: as all of the
 * guest's memory they go with the process.
 */
static int add_track(struct balloon *balloon, uint64_t start, uint64_t end, uint64_t frame)
{
	struct vmemdev_balloon_track *track = &balloon->tracks[balloon->track_count];
	uint64_t words;

	track->gpa = (start + frame - 1) / frame * frame;
	if (track->gpa >= end / frame * frame)
		return 0;
	track->len = end / frame * frame - track->gpa;
	track->frame_shift = (uint32_t)__builtin_ctzll(frame);
	words = vmemdev_balloon_track_words(track->len, track->frame_shift);
	track->words = calloc(words, sizeof(*track->words));
	if (!track->words)
		return fail("--balloon: frame=%" PRIu64 ": no memory for %" PRIu64 " words that "
			    "track 0x%" PRIx64 " bytes at 0x%" PRIx64 ": expected less guest "
			    "memory, or frame=off", frame, words, track->len, track->gpa);
	balloon->track_count++;
	return 0;
}

/*
 * RAM and the regions of memory devices, but not what is kept whatever the guest does with it; a
 * part of a frame at either end is not tracked.
 */
static int add_tracks(struct balloon *balloon, uint64_t frame)
{
	const struct vmemdev_linux_memory *memory = &balloon->vmm->memory;
	const struct vmemdev_linux_ram *ram;

	for (uint32_t i = 0; frame && (ram = vmemdev_linux_ram_at(memory, i)); i++) {
		if (!ram->keep && add_track(balloon, ram->gpa, ram->gpa + ram->size, frame))
			return -1;
	}
	if (frame && !balloon->track_count)
		return fail("--balloon: frame=%" PRIu64 ": guest memory has no whole frame of that "
			    "size: expected a smaller one, or more --memory", frame);
	return 0;
}

/*
 * What is not remembered is lost to the host while discards are inhibited. So the default is to
 * remember, unless the option says that the guest shall promise nothing.
 */
static uint64_t choose_frame(const struct balloon_option *option, uint64_t page)
{
	if (option->frame != FRAME_BY_PAGE)
		return option->frame;
	return option->must_tell_host == MUST_TELL_HOST_OFF ? 0 : page;
}

/* A file of backing=file may lie on hugetlbfs, which options.c cannot know. */
static int check_page(const struct balloon_option *option, uint64_t page, uint64_t frame)
{
	if (page == VMEMDEV_BALLOON_PAGE ||
	    (frame >= page && option->must_tell_host != MUST_TELL_HOST_OFF))
		return 0;
	return fail("--balloon: the RAM has pages of %" PRIu64 " bytes: expected a frame of at "
		    "least that and must-tell-host=on, as by default, or nothing would be given "
		    "back", page);
}

static int init_device(struct balloon *balloon)
{
	const struct balloon_option *option = &balloon->vmm->options.balloon;
	uint64_t page = memory_page(balloon->vmm), frame = choose_frame(option, page);
	struct vmemdev_balloon_config config = {
		.struct_size = sizeof(config),
		.range_count = VMEMDEV_BALLOON_RANGES,
		.ranges = balloon->ranges,
		.device = virtio_config(balloon->slot, &option->device),
		.ops = page > VMEMDEV_BALLOON_PAGE ? &huge_ops : &ops,
		.ctx = balloon,
		.report_min = option->report_min,
		.deflate_on_oom = option->deflate_on_oom,
		.must_tell_host = option->must_tell_host == MUST_TELL_HOST_BY_FRAME ?
				  frame != 0 : option->must_tell_host != MUST_TELL_HOST_OFF,
		.require_must_tell_host = option->must_tell_host == MUST_TELL_HOST_REQUIRED,
		.stats = option->stats,
		.hinting = option->hinting,
		.reporting = option->reporting,
		.text_queues_only = option->text_queues_only,
	};
	int err;

	if (check_page(option, page, frame) || add_tracks(balloon, frame))
		return -1;
	config.tracks = balloon->track_count ? balloon->tracks : NULL;
	config.track_count = balloon->track_count;
	err = vmemdev_balloon_init(&balloon->device, sizeof(balloon->device), &config);
	return err ? fail("--balloon: %s", vmemdev_strerror(err)) : 0;
}

int balloon_create(struct vmm *vmm)
{
	struct balloon *balloon = &vmm->balloon;

	balloon->vmm = vmm;
	balloon->slot = virtio_new_slot(vmm, "balloon");
	if (init_device(balloon) || timer_add(vmm, &balloon->stats_timer, poll_stats, balloon) ||
	    huge_create_deflate(balloon))
		return -1;
	if (vmm->options.balloon.report_limit) {
		if (timer_add(vmm, &balloon->report_timer, reports_due, balloon))
			return -1;
		vmemdev_balloon_allow_reports(&balloon->device, 0);
		timer_set(&balloon->report_timer, SECOND / REFILLS);
	}
	return virtio_connect(balloon->slot, vmemdev_balloon_device(&balloon->device));
}

/* ---- what the control socket asks for ---- */

int balloon_hint(struct balloon *balloon, int (*step)(struct vmemdev_balloon *device))
{
	bool start = step == vmemdev_balloon_hint_start;
	uint32_t round;
	int err = start ? hints_begin(balloon->vmm) : 0;

	if (!err)
		err = step(&balloon->device);
	if (err || step == vmemdev_balloon_hint_done)
		hints_end(balloon->vmm);
	if (err)
		return err;
	round = vmemdev_balloon_hint_round(&balloon->device);
	if (round == VMEMDEV_BALLOON_ROUND_ASKED)
		balloon->hinted = 0;
	if (round == VMEMDEV_BALLOON_ROUND_ASKED || round != balloon->round)
		tell_round(balloon, round);
	return 0;
}

const char *balloon_round_name(uint32_t round)
{
	static const char *const names[] = {"none", "asked", "open", "ended"};

	return round < sizeof(names) / sizeof(names[0]) ? names[round] : "unknown";
}

bool balloon_remembers(const struct balloon *balloon)
{
	const struct vmemdev_device *device = balloon->slot->device;
	bool live = vmemdev_device_status(device) & VMEMDEV_STATUS_DRIVER_OK;
	uint32_t features = live ? vmemdev_device_accepted(device, 0)
				 : vmemdev_device_features(device, 0);

	return balloon->track_count && (features & VMEMDEV_BALLOON_F_MUST_TELL_HOST);
}

/* A guest can give up every other page: nobody is to wait for all of these to be counted. */
uint64_t balloon_given(struct balloon *balloon)
{
	struct vmemdev_range range;
	uint64_t bytes = 0, gpa = 0;
	bool more = true;

	while (more) {
		pthread_mutex_lock(&balloon->vmm->lock);
		for (int i = 0; i < GIVEN_RUNS && more; i++) {
			more = vmemdev_balloon_given(&balloon->device, gpa, &range);
			bytes += more ? range.len : 0;
			gpa = more ? range.gpa + range.len : gpa;
		}
		pthread_mutex_unlock(&balloon->vmm->lock);
	}
	return bytes;
}
