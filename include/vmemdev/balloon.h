/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VMEMDEV_BALLOON_H
#define VMEMDEV_BALLOON_H
/**
 * @file balloon.h - traditional memory balloon (VIRTIO 1.4, 5.5).
 *
 * Purpose: the guest names memory that the host may take: pages that it gives up
 * (inflate) or takes back (deflate), pages that are free at the moment (reporting,
 * and hinting for migration). The model gathers them over all chains at hand, merges
 * neighbours up and down, keeps only what is guest memory that may be discarded, and
 * hands the host arrays of ranges. It never touches the pages. It also carries the
 * guest's own memory statistics.
 *
 * Trust: everything from the guest is hostile. The host sees only ranges that are
 * 4 KiB aligned and lie in memory that the guest-memory table holds and does not
 * mark VMEMDEV_REGION_KEEP or READONLY. It may see a range twice, or a deflate without an
 * inflate, and must stay safe. What the guest claims as its balloon's size, or in its
 * statistics, decides nothing.
 *
 * Order: a buffer is used only after the host's callback has agreed, or failed; a
 * failing callback leaves the pages to the host and is counted, as the guest has no
 * way to be told (5.5.6).
 *
 * Bounds: a unit of budget pays for 256 page numbers or 64 free ranges of one chain, or
 * for one set of statistics, of which 256 entries are read; a longer array is read on in
 * a later unit, and what a busy host could not take is read once more. Each number, and
 * each stretch of a range that is alike in being memory, costs a look-up in the table of
 * guest memory; a unit pays for 256 stretches, and 256 more come with each run. With
 * tracks each of these costs a step a track besides, and a step for each 64 pages and each
 * host page: keep the tracks few. A reset clears the tracks: a step for each 64 pages. So do
 * init, a load, and, of the pages that they are about, vmemdev_balloon_given(),
 * vmemdev_balloon_forget() and vmemdev_balloon_skip(), the last one a range besides.
 * vmemdev_balloon_set_target() looks at each region of that table. The other calls are a
 * constant number of steps.
 *
 * Queues: the text numbers them inflate 0, deflate 1, statistics 2, hinting 3,
 * reporting 4; Linux leaves out those whose features it did not accept. Both are shown
 * and understood: at DRIVER_OK the queues that the driver has enabled tell which it is.
 * If neither fits, what a number means by the text counts, and a feature without its
 * queue stays idle.
 *
 * Features: device.features_on may add IN_ORDER. ACCESS_PLATFORM is never offered.
 *
 * Threads: as device.h.
 */
#include <vmemdev/device.h>

#ifdef __cplusplus
extern "C" {
#endif

/** The balloon's unit: 4096 bytes whatever the pages of guest and host (5.5.6). */
#define VMEMDEV_BALLOON_PAGE 4096

/**
 * Largest target: page counts on the wire have 32 bits. So have page numbers: memory at
 * and above 16 TiB cannot be named, and Linux would name other pages instead.
 */
#define VMEMDEV_BALLOON_TARGET_MAX (UINT64_C(0xffffffff) * VMEMDEV_BALLOON_PAGE)
#define VMEMDEV_BALLOON_GPA_MAX (UINT64_C(1) << 44)

/** Ranges that one Linux request can make: one array of page numbers. */
#define VMEMDEV_BALLOON_RANGES 256

/** Feature bits (5.5.3), as bit masks. */
#define VMEMDEV_BALLOON_F_MUST_TELL_HOST (UINT64_C(1) << 0)
#define VMEMDEV_BALLOON_F_STATS_VQ (UINT64_C(1) << 1)
#define VMEMDEV_BALLOON_F_DEFLATE_ON_OOM (UINT64_C(1) << 2)
#define VMEMDEV_BALLOON_F_FREE_PAGE_HINT (UINT64_C(1) << 3)
#define VMEMDEV_BALLOON_F_PAGE_POISON (UINT64_C(1) << 4)
#define VMEMDEV_BALLOON_F_PAGE_REPORTING (UINT64_C(1) << 5)

/** Tags of statistics (5.5.6.4; 10 and up: Linux, include/uapi/linux/virtio_balloon.h). */
enum vmemdev_balloon_stat {
	VMEMDEV_BALLOON_SWAP_IN = 0,         /* bytes swapped in since boot */
	VMEMDEV_BALLOON_SWAP_OUT = 1,        /* bytes swapped out since boot */
	VMEMDEV_BALLOON_MAJOR_FAULT = 2,     /* page faults that needed I/O */
	VMEMDEV_BALLOON_MINOR_FAULT = 3,
	VMEMDEV_BALLOON_UNUSED = 4,          /* bytes of free memory (MEMFREE) */
	VMEMDEV_BALLOON_AVAILABLE = 5,       /* bytes of memory in all (MEMTOT) */
	VMEMDEV_BALLOON_USABLE = 6,          /* bytes to be had without swapping (AVAIL) */
	VMEMDEV_BALLOON_DISK_CACHES = 7,     /* bytes of page cache */
	VMEMDEV_BALLOON_HUGETLB_PGALLOC = 8, /* huge pages allocated */
	VMEMDEV_BALLOON_HUGETLB_PGFAIL = 9,  /* and failed to be */
	VMEMDEV_BALLOON_OOM_KILL = 10,
	VMEMDEV_BALLOON_ALLOC_STALL = 11,    /* allocations that waited for reclaim */
	VMEMDEV_BALLOON_ASYNC_SCAN = 12,     /* bytes scanned by kswapd, */
	VMEMDEV_BALLOON_DIRECT_SCAN = 13,    /* by allocations */
	VMEMDEV_BALLOON_ASYNC_RECLAIM = 14,  /* bytes reclaimed, likewise */
	VMEMDEV_BALLOON_DIRECT_RECLAIM = 15
};
#define VMEMDEV_BALLOON_STATS 16

/** The newest set of the guest's statistics. */
struct vmemdev_balloon_stats {
	uint64_t value[VMEMDEV_BALLOON_STATS]; /* by tag; 0 where absent */
	uint64_t updated; /* what the stats callback returned for this set; 0 without */
	uint32_t present; /* a bit a tag that the set holds */
	bool valid;       /* there is a set: none before the first, none after a reset */
	bool pending;     /* a poll has not been answered yet */
	uint8_t pad_[2];
};

/** Where a round of free page hinting is. */
enum vmemdev_balloon_round {
	VMEMDEV_BALLOON_ROUND_NONE = 0,  /* none, or ended by the host or a reset */
	VMEMDEV_BALLOON_ROUND_ASKED = 1, /* started by the host, not yet taken up */
	VMEMDEV_BALLOON_ROUND_OPEN = 2,  /* the guest is sending hints */
	VMEMDEV_BALLOON_ROUND_ENDED = 3  /* the guest has sent all it had */
};

/**
 * The host's side. inflate, deflate, report and hint are called only inside
 * vmemdev_device_run(), as are stats and unknown_stat; actual, round and cancel also inside
 * the configuration write or reset that causes them, so often on a vCPU's thread.
 *
 * inflate, deflate and report return 0, a negative VMEMDEV_E_*, or, if there is a cancel
 * callback, VMEMDEV_LATER: the work goes on and vmemdev_balloon_complete() with the same
 * @token will say how it ended. Until then @ranges stays as it is, the guest's buffers
 * are not used, and nothing else of the device is served. Meanwhile the guest may unplug
 * memory blocks there and the host may replace the table: before it takes that memory
 * away, the host must have ended its own work on it.
 *
 * A host whose pages are larger than 4 KiB gives back only those of which a range holds
 * every part: it cuts ranges inwards to its own pages (5.5.6; lib/linux does so), or
 * has the balloon track them, see struct vmemdev_balloon_track.
 */
struct vmemdev_balloon_ops {
	/** The guest has given up @ranges, merged, in no order. Required. */
	int (*inflate)(void *ctx, const struct vmemdev_range *ranges, uint32_t count,
		       uint64_t token);
	/**
	 * The guest wants @ranges back. Optional: with NULL the page numbers are
	 * not even read, unless tracks are, which is right where a touch brings the
	 * page back.
	 */
	int (*deflate)(void *ctx, const struct vmemdev_range *ranges, uint32_t count,
		       uint64_t token);
	/**
	 * @ranges are free in the guest until this call, or the work that it puts off,
	 * has ended; then the guest may use them again without a word. They may be
	 * discarded: the guest does not mind zeros there. Required with reporting.
	 */
	int (*report)(void *ctx, const struct vmemdev_range *ranges, uint32_t count,
		      uint64_t token);
	/**
	 * @ranges were free in the guest at some time since the round that is open was
	 * started: what they held when it was started is not needed, what the guest has
	 * written there since is. vmemdev_balloon_hint_start() tells what a host may do
	 * with that. Required with hinting.
	 */
	void (*hint)(void *ctx, const struct vmemdev_range *ranges, uint32_t count);
	/** The round of hinting has moved on, by the guest's doing or a reset. Optional. */
	void (*round)(void *ctx, enum vmemdev_balloon_round round);
	/**
	 * A set of statistics has arrived; vmemdev_balloon_get_stats() shows it.
	 * returns: the time, in the host's own unit, to be kept as stats.updated.
	 * Optional.
	 */
	uint64_t (*stats)(void *ctx);
	/** The set being read holds a @tag that this library does not know. Optional. */
	void (*unknown_stat)(void *ctx, uint16_t tag, uint64_t value);
	/**
	 * The guest has reset the device or the queue while work was outstanding: its
	 * pages are its own again. When this returns, which may be after waiting, the
	 * host must not touch the ranges any more; @token is void, and a completion that
	 * crosses is answered VMEMDEV_E_STATE. Called inside the register write that
	 * resets: do not wait here for a thread that waits to call a device. Required of
	 * hosts that answer VMEMDEV_LATER; without it that answer counts as a failure.
	 */
	void (*cancel)(void *ctx, uint64_t token);
	/** The guest says that its balloon now holds @bytes; 0 by a reset. Optional. */
	void (*actual)(void *ctx, uint64_t bytes);
};

/**
 * A stretch of guest memory in which the balloon remembers, page by page, what the guest
 * has given up, so that
 *
 * - a host page larger than 4 KiB is handed to the inflate callback when, and only when,
 *   the last of its 4 KiB pages has been given up, in whatever order and however many
 *   requests that took (Linux names at most 1 MiB at a time);
 * - what is given up while discards are inhibited is discarded afterwards;
 * - vmemdev_balloon_given() can say what is given up.
 *
 * The memory of it is good only while the guest has promised not to touch such a page
 * before it has asked for it back: offer must_tell_host. Without that promise nothing is
 * remembered, and each range is cut inwards to host pages. A reset forgets all, of the
 * device or of the inflate queue while a buffer of it is being served.
 */
struct vmemdev_balloon_track {
	uint64_t gpa, len;    /* multiples of the host page, len above 0; below 2^64 */
	uint64_t *words;      /* vmemdev_balloon_track_words() of them, for the device alone;
	                       * cleared by init */
	uint32_t frame_shift; /* the host page is 1 << frame_shift bytes; 12 to 30 */
	uint32_t pad_;        /* zero */
};

/** Zero it, set what you need. Init copies it; what it points to is borrowed. */
struct vmemdev_balloon_config {
	uint32_t struct_size;               /* sizeof(struct vmemdev_balloon_config) */
	uint32_t range_count;               /* entries in ranges, at least 1 */
	struct vmemdev_range *ranges;       /* scratch; VMEMDEV_BALLOON_RANGES entries make
	                                     * one host call of each Linux request */
	struct vmemdev_device_config device;
	const struct vmemdev_balloon_ops *ops;
	void *ctx;                          /* first argument of the ops */
	const struct vmemdev_balloon_track *tracks; /* ascending, apart; NULL: none */
	uint32_t track_count;
	uint32_t first_round;               /* command ID of the first round of hinting;
	                                     * 0: 2. For a host that sets a device up anew
	                                     * and goes on counting; 1 is refused */
	uint64_t report_min;                /* bytes; shorter reported ranges are left alone */
	bool deflate_on_oom;                /* offer DEFLATE_ON_OOM */
	bool must_tell_host;                /* offer MUST_TELL_HOST */
	bool require_must_tell_host;        /* and refuse a driver that does not accept it */
	bool stats;                         /* offer STATS_VQ */
	bool hinting;                       /* offer FREE_PAGE_HINT */
	bool reporting;                     /* offer PAGE_REPORTING, and PAGE_POISON with it,
	                                     * or Linux with poisoning would decline */
	bool text_queues_only;              /* show queues by the text's numbers alone */
	uint8_t pad_;                       /* zero */
};

/** What a balloon has done since init, in pages of 4 KiB. Counters wrap. */
struct vmemdev_balloon_counts {
	uint64_t pages_inflated;  /* handed to the inflate callback, in ranges */
	uint64_t pages_deflated;  /* the same of deflate; 0 without that callback */
	uint64_t pages_reported;
	uint64_t pages_hinted;
	uint64_t ranges;          /* ranges handed to the host */
	uint64_t host_calls;
	uint64_t host_failures;   /* host calls that failed */
	uint64_t rounds;          /* rounds of hinting started */
	uint64_t stats_sets;      /* sets of statistics received */
	uint64_t pages_ignored;   /* named, but not in discardable memory, or not the whole
	                           * of a tracked host page */
	uint64_t pages_inhibited; /* not discarded because discards were inhibited */
	uint64_t pages_poisoned;  /* reported, but to be kept as poison_val is not 0 */
	uint64_t pages_short;     /* reported in ranges below report_min */
	uint64_t pages_stale;     /* hinted outside the open round */
	uint64_t inputs_ignored;  /* buffers with bytes or parts that do not belong there,
	                           * command IDs of no round, misplaced poison_val */
};

/** One balloon. Fields are private. Must not be moved after init. */
struct vmemdev_balloon {
	struct vmemdev_device device_;
	struct vmemdev_vq vqs_[5];
	struct vmemdev_chain chain_;      /* the chain being read, valid while open_ */
	struct vmemdev_held stats_held_;  /* the statistics buffer, valid while stats_has_ */
	struct vmemdev_balloon_stats stats_;
	struct vmemdev_balloon_counts counts_;
	const struct vmemdev_balloon_ops *ops_;
	const struct vmemdev_balloon_track *tracks_;
	void *ctx_;
	struct vmemdev_range *ranges_;
	uint64_t run_first_, run_end_;    /* page numbers gathered, not yet in ranges_ */
	uint64_t pieces_;                 /* stretches of memory that may yet be looked at */
	uint64_t token_;                  /* the last one given to the host */
	uint64_t report_min_;
	uint64_t report_credit_;          /* bytes that may yet be reported */
	uint64_t catch_up_;               /* where making up for inhibited discards goes on */
	uint32_t range_max_, range_count_;
	uint32_t target_, actual_;        /* pages; actual_ is the guest's word */
	uint32_t command_, next_round_;   /* hinting's command ID, shown and next */
	uint32_t poison_;
	uint32_t track_count_;
	uint32_t inhibited_;              /* by how many vmemdev_balloon_inhibit() */
	uint16_t queue_;                  /* whose pages ranges_ and the run hold */
	uint8_t roles_[5];                /* what the queues are for, decided at DRIVER_OK */
	uint8_t gapless_;                 /* they are numbered as Linux does */
	uint8_t batch_;                   /* something of queue_ is not settled yet */
	uint8_t open_;                    /* chain_ is half read */
	uint8_t waiting_;                 /* the host answered LATER */
	uint8_t round_;                   /* enum vmemdev_balloon_round */
	uint8_t hints_held_;              /* rounds were started since DONE was shown */
	uint8_t stats_has_, stats_wanted_;
	uint8_t tracked_;                 /* a track holds something */
	uint8_t behind_;                  /* inhibited discards are to be made up */
	uint8_t require_must_tell_;
	uint8_t pad_[2];
};

/**
 * Prepare @balloon; @balloon_size is the caller's sizeof(*balloon). Calls nothing.
 * returns: 0; VMEMDEV_E_ABI; VMEMDEV_E_INVAL (a required pointer is NULL, first_round is
 * 1, padding is not 0), VMEMDEV_E_SIZE (range_count 0, queue_size, which must be 32 at
 * least with reporting and 2 with hinting as Linux wants it, a track's len),
 * VMEMDEV_E_ALIGN (a track's gpa or frame_shift), VMEMDEV_E_OVERLAP (tracks),
 * VMEMDEV_E_FEATURE (also require_must_tell_host without must_tell_host). On error
 * @balloon is unchanged.
 */
int vmemdev_balloon_init(struct vmemdev_balloon *balloon, size_t balloon_size,
			 const struct vmemdev_balloon_config *config);

/**
 * Words that a track of @len bytes with host pages of 1 << @frame_shift needs: one for
 * each 64 pages of 4 KiB, and one more for each host page above 256 KiB.
 */
uint64_t vmemdev_balloon_track_words(uint64_t len, uint32_t frame_shift);

/** The device to hand to a transport. Never NULL; lives as long as @balloon. */
struct vmemdev_device *vmemdev_balloon_device(struct vmemdev_balloon *balloon);

/**
 * Ask the guest for a balloon of @bytes. Notifies the driver if that is a change;
 * the guest follows when and as far as it likes.
 * returns: 0; VMEMDEV_E_ALIGN if @bytes is no multiple of 4096; VMEMDEV_E_SIZE above
 * VMEMDEV_BALLOON_TARGET_MAX; VMEMDEV_E_REACH, for any balloon but an empty one, if the
 * table of guest memory holds discardable memory at or above VMEMDEV_BALLOON_GPA_MAX (a
 * host without a table, or one that adds such memory later, sees to that itself: such a
 * guest must have no balloon); VMEMDEV_E_STATE inside a callback
 */
int vmemdev_balloon_set_target(struct vmemdev_balloon *balloon, uint64_t bytes);

/** The target last set, in bytes. */
uint64_t vmemdev_balloon_target(const struct vmemdev_balloon *balloon);

/** The balloon's size in bytes as the guest last claimed it: for display only. */
uint64_t vmemdev_balloon_actual(const struct vmemdev_balloon *balloon);

/**
 * Ask the guest for a new set of statistics: the next vmemdev_device_run() hands the
 * buffer back that it waits for. If the guest has not returned the buffer yet, that set
 * is the answer; if it has not given one at all, the first is followed by another.
 * The library has no clock: call this as often as new statistics are wanted.
 * returns: 0; VMEMDEV_E_FEATURE if stats was not set; VMEMDEV_E_STATE if no running
 * driver has accepted STATS_VQ, or inside a callback
 */
int vmemdev_balloon_poll_stats(struct vmemdev_balloon *balloon);

/** The newest statistics. */
void vmemdev_balloon_get_stats(const struct vmemdev_balloon *balloon,
			       struct vmemdev_balloon_stats *stats);

/**
 * What users of libvirt call a statistic ("swap_in", "unused", "disk_caches").
 * returns: a static string; NULL for tags that are not in enum vmemdev_balloon_stat
 */
const char *vmemdev_balloon_stat_name(uint16_t tag);

/**
 * Start a round of free page hinting, with a command ID of its own; what still arrives
 * of an earlier one is ignored. The guest takes its free pages away from its own
 * use, names them through the hint callback, and keeps them until
 * vmemdev_balloon_hint_done() or until it is short of memory.
 *
 * Between this call and the one that ends the round, a hinted page may be left out of a
 * copy of the guest's memory if what it held at the start of the round is all that would
 * be lost. So in pre-copy migration, and in every scheme with a dirty log:
 *
 *     for each pass over the pages:
 *             vmemdev_balloon_hint_stop();      no hint is believed from here on
 *             merge the dirty log into the pages to send, and clear it
 *             vmemdev_balloon_hint_start();     while it is clear: later writes are in it
 *             send, and take out what is hinted meanwhile (vmemdev_balloon_skip)
 *     vmemdev_balloon_hint_done();              also on cancel and failure
 *
 * Merging the log while a round is open could put a page in that the guest has
 * taken back and written, and a late hint would take it out again. A hinted page may be
 * dropped (filled with zeros) only on the same condition: not written since the start.
 * returns: 0; VMEMDEV_E_FEATURE if hinting was not set; VMEMDEV_E_STATE if no running
 * driver has accepted FREE_PAGE_HINT, or inside a callback
 */
int vmemdev_balloon_hint_start(struct vmemdev_balloon *balloon);

/**
 * Hints are of no use for now: show STOP. Hints that still arrive are ignored. The guest
 * keeps its pages. Does nothing if no round was started since the last of these.
 * returns: 0; VMEMDEV_E_STATE inside a callback
 */
int vmemdev_balloon_hint_stop(struct vmemdev_balloon *balloon);

/**
 * Hinting is over, however it went: show DONE, and the guest has its pages back. Does
 * nothing if there was no round since the last of these or the reset.
 * returns: 0; VMEMDEV_E_STATE inside a callback
 */
int vmemdev_balloon_hint_done(struct vmemdev_balloon *balloon);

/** Where the round of hinting is. */
enum vmemdev_balloon_round vmemdev_balloon_hint_round(const struct vmemdev_balloon *balloon);

/**
 * Take ranges out of a bitmap of pages to send, as the hint callback of a migration
 * wants to. Bit n of @to_send stands for the page of 1 << @page_shift bytes (12 to 30) at
 * @gpa + (n << @page_shift), of @pages in all; pages that a range holds only in part stay.
 * returns: pages taken out that were in
 */
uint64_t vmemdev_balloon_skip(uint64_t *to_send, uint64_t gpa, uint64_t pages,
			      uint32_t page_shift, const struct vmemdev_range *ranges,
			      uint32_t count);

/**
 * Limit the rate of free page reporting, each of which costs the host a discard and the
 * guest a fault: from now on take reports until they come to @bytes (the buffer that
 * passes it is still taken: 128 MiB of Linux at the most), then let them wait until this
 * is called again, so ten times a second or so. The guest cannot use what it has reported
 * while that waits. UINT64_MAX: no limit, as at the start.
 * returns: 0; VMEMDEV_E_STATE inside a callback
 */
int vmemdev_balloon_allow_reports(struct vmemdev_balloon *balloon, uint64_t bytes);

/**
 * From now on discard nothing, as memory is pinned for a device or being copied. The
 * guest does not notice: what it gives up counts as given up, what it reports is left
 * alone. Work that the host has put off (VMEMDEV_LATER) is in the host's own hands.
 * Calls nest.
 * returns: 0; VMEMDEV_E_STATE inside a callback
 */
int vmemdev_balloon_inhibit(struct vmemdev_balloon *balloon);

/**
 * The end of one vmemdev_balloon_inhibit(). After the last, the next
 * vmemdev_device_run() discards what tracks hold as given up and complete, also what was
 * discarded before; a unit of budget pays for 4 MiB, or for one larger host page. A
 * device saved before the end of that, or while discards are inhibited, begins with it
 * after the load: a host that still forbids them says so then, before the first run.
 * returns: 0; VMEMDEV_E_STATE if discards are not inhibited, or inside a callback
 */
int vmemdev_balloon_uninhibit(struct vmemdev_balloon *balloon);

/**
 * The host has taken the memory at @range away from the guest, or put other memory there:
 * nothing of it counts as given up any more. To be called for what a memory device unplugs
 * in a track, and when the table of guest memory loses a region that the guest has not
 * emptied.
 * returns: 0; VMEMDEV_E_INVAL (NULL, an empty range, or one that passes 2^64);
 * VMEMDEV_E_ALIGN if it is not of 4 KiB pages; VMEMDEV_E_STATE inside a callback of this
 * device
 */
int vmemdev_balloon_forget(struct vmemdev_balloon *balloon, const struct vmemdev_range *range);

/**
 * The next run of tracked pages at or after @gpa that the guest has given up and not
 * asked back: their content is not needed. Nothing is known of memory outside of tracks,
 * nor without MUST_TELL_HOST. To be asked between runs; work: one step for each 64 pages.
 * returns: whether there is one; then @range is it, cut at the end of its track
 */
bool vmemdev_balloon_given(const struct vmemdev_balloon *balloon, uint64_t gpa,
			   struct vmemdev_range *range);

/** The counters. */
void vmemdev_balloon_get_counts(const struct vmemdev_balloon *balloon,
			    struct vmemdev_balloon_counts *counts);

/**
 * The work that a callback answered with VMEMDEV_LATER has ended; @result is what
 * the callback would have returned. The next vmemdev_device_run() uses the guest's
 * buffers and goes on.
 * returns: 0; VMEMDEV_E_STATE if @token is not outstanding, or inside a callback;
 * VMEMDEV_E_INVAL for a positive @result
 */
int vmemdev_balloon_complete(struct vmemdev_balloon *balloon, uint64_t token, int result);

#ifdef __cplusplus
}
#endif
#endif /* VMEMDEV_BALLOON_H */
