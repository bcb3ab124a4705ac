/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VMEMDEV_BALLOON_H
#define VMEMDEV_BALLOON_H
/**
 * @file balloon.h - traditional memory balloon (VIRTIO 1.4, 5.5).
 *
 * Purpose: the guest names pages that it gives up (inflate) or takes back
 * (deflate). The model gathers them over all chains at hand, merges neighbours up
 * and down, keeps only what is guest memory that may be discarded, and hands the
 * host arrays of ranges. It never touches the pages.
 *
 * Trust: everything from the guest is hostile. The host sees only ranges that are
 * 4 KiB aligned and lie in memory that the guest-memory table holds and does not
 * mark VMEMDEV_REGION_KEEP or READONLY. It may see a range twice, or a deflate without an
 * inflate, and must stay safe. What the guest claims as its balloon's size decides
 * nothing.
 *
 * Order: a page's buffer is used only after the host's callback has agreed, or
 * failed; a failing callback leaves the page to the host and is counted, as the
 * guest has no way to be told (5.5.6).
 *
 * Bounds: a unit of budget pays for 256 page numbers of one chain; a longer array is
 * read on in a later unit. Each costs a look-up in the table of guest memory at most.
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

/** Largest target: page counts on the wire have 32 bits. */
#define VMEMDEV_BALLOON_TARGET_MAX (UINT64_C(0xffffffff) * VMEMDEV_BALLOON_PAGE)

/** Ranges that one Linux request can make: one array of page numbers. */
#define VMEMDEV_BALLOON_RANGES 256

/** Feature bits (5.5.3), as bit masks. */
#define VMEMDEV_BALLOON_F_MUST_TELL_HOST (UINT64_C(1) << 0)
#define VMEMDEV_BALLOON_F_DEFLATE_ON_OOM (UINT64_C(1) << 2)

/**
 * The host's side. inflate and deflate are called only inside vmemdev_device_run();
 * actual and cancel inside the configuration write or reset that causes them, so often
 * on a vCPU's thread.
 *
 * inflate and deflate return 0, a negative VMEMDEV_E_*, or, if there is a cancel
 * callback, VMEMDEV_LATER: the work goes on and vmemdev_balloon_complete() with the same
 * @token will say how it ended. Until then @ranges stays as it is, the guest's buffers
 * are not used, and nothing else of the device is served. Meanwhile the guest may unplug
 * memory blocks there and the host may replace the table: before it takes that memory
 * away, the host must have ended its own work on it.
 *
 * A host whose pages are larger than 4 KiB gives back only those of which a range holds
 * every part: it cuts ranges inwards to its own pages (5.5.6; lib/linux does so).
 */
struct vmemdev_balloon_ops {
	/** The guest has given up @ranges, merged, in no order. Required. */
	int (*inflate)(void *ctx, const struct vmemdev_range *ranges, uint32_t count,
		       uint64_t token);
	/**
	 * The guest wants @ranges back. Optional: with NULL the page numbers are
	 * not even read, which is right where a touch brings the page back.
	 */
	int (*deflate)(void *ctx, const struct vmemdev_range *ranges, uint32_t count,
		       uint64_t token);
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

/** Zero it, set what you need. Init copies it; what it points to is borrowed. */
struct vmemdev_balloon_config {
	uint32_t struct_size;               /* sizeof(struct vmemdev_balloon_config) */
	uint32_t range_count;               /* entries in ranges, at least 1 */
	struct vmemdev_range *ranges;       /* scratch; VMEMDEV_BALLOON_RANGES entries make
	                                     * one host call of each Linux request */
	struct vmemdev_device_config device;
	const struct vmemdev_balloon_ops *ops;
	void *ctx;                          /* first argument of the ops */
	bool deflate_on_oom;                /* offer DEFLATE_ON_OOM */
	bool must_tell_host;                /* offer MUST_TELL_HOST */
	uint8_t pad_[6];                    /* zero */
};

/** What a balloon has done since init. Counters wrap. */
struct vmemdev_balloon_counts {
	uint64_t pages_inflated;  /* page numbers handed to the host, in ranges */
	uint64_t pages_deflated;  /* the same; 0 without a deflate callback */
	uint64_t ranges;          /* ranges handed to the host */
	uint64_t host_calls;
	uint64_t host_failures;   /* host calls that failed */
	uint64_t pages_ignored;   /* page numbers outside discardable memory */
};

/** One balloon. Fields are private. Must not be moved after init. */
struct vmemdev_balloon {
	struct vmemdev_device device_;
	struct vmemdev_vq vqs_[5];
	struct vmemdev_chain chain_;      /* the chain being read, valid while open_ */
	const struct vmemdev_balloon_ops *ops_;
	void *ctx_;
	struct vmemdev_range *ranges_;
	struct vmemdev_balloon_counts counts_;
	uint64_t run_first_, run_end_;    /* page numbers gathered, not yet in ranges_ */
	uint64_t token_;                  /* the last one given to the host */
	uint32_t range_max_, range_count_;
	uint32_t target_, actual_;        /* pages; actual_ is the guest's word */
	uint16_t queue_;                  /* whose pages ranges_ and the run hold */
	uint8_t batch_;                   /* something of queue_ is not settled yet */
	uint8_t open_;                    /* chain_ is half read */
	uint8_t waiting_;                 /* the host answered LATER */
	uint8_t pad_[3];
};

/**
 * Prepare @balloon; @balloon_size is the caller's sizeof(*balloon). Calls nothing.
 * returns: 0; VMEMDEV_E_ABI; VMEMDEV_E_INVAL (a required pointer is NULL, padding is
 * not 0), VMEMDEV_E_SIZE (range_count 0, queue_size), VMEMDEV_E_FEATURE. On error
 * @balloon is unchanged.
 */
int vmemdev_balloon_init(struct vmemdev_balloon *balloon, size_t balloon_size,
			 const struct vmemdev_balloon_config *config);

/** The device to hand to a transport. Never NULL; lives as long as @balloon. */
struct vmemdev_device *vmemdev_balloon_device(struct vmemdev_balloon *balloon);

/**
 * Ask the guest for a balloon of @bytes. Notifies the driver if that is a change;
 * the guest follows when and as far as it likes.
 * returns: 0; VMEMDEV_E_ALIGN if @bytes is no multiple of 4096; VMEMDEV_E_SIZE above
 * VMEMDEV_BALLOON_TARGET_MAX; VMEMDEV_E_STATE inside a callback
 */
int vmemdev_balloon_set_target(struct vmemdev_balloon *balloon, uint64_t bytes);

/** The target last set, in bytes. */
uint64_t vmemdev_balloon_target(const struct vmemdev_balloon *balloon);

/** The balloon's size in bytes as the guest last claimed it: for display only. */
uint64_t vmemdev_balloon_actual(const struct vmemdev_balloon *balloon);

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
