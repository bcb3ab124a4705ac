/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VMEMDEV_MEM_H
#define VMEMDEV_MEM_H
/**
 * @file mem.h - memory device, "virtio-mem" (VIRTIO 1.4, 5.15).
 *
 * Purpose: a region of guest-physical memory in blocks that the guest plugs and
 * unplugs on the host's request. The model keeps which blocks are plugged, checks
 * each request against it, and asks the host to bring memory or take it away before
 * it answers.
 *
 * Trust: everything from the guest is hostile. The host's callbacks see only whole
 * blocks of the region, plug only unplugged ones and unplug only plugged ones (but
 * see unplug). A request changes all of its blocks or none.
 *
 * Resets: a device reset keeps every block (5.15.5.2); vmemdev_device_system_reset()
 * unplugs them (5.15.6.2). A platform that resets its devices when it wakes from sleep
 * uses vmemdev_device_reset() then, never the other: with PERSISTENT_SUSPEND the guest
 * relies on finding its blocks as they were.
 *
 * Order of a change: the host brings memory (plug), listeners agree, the bitmap records
 * it, the host and then the guest are told. Taking away: the host's unplug, listeners,
 * bitmap, host, guest. What is refused on the way is undone, and the guest told BUSY.
 *
 * Bounds: a unit of budget pays for one request. A request costs a step for each 64
 * blocks that it names; unplug-all, when something is plugged, one for each 64 blocks of
 * the usable region and each plugged run, and as many for each listener;
 * vmemdev_mem_complete() as the request, listen and unlisten as unplug-all, and so does a
 * system reset. vmemdev_mem_init(), a save and vmemdev_mem_next() cost a step for each 64
 * blocks, of the region or passed; a load that, and one for each plugged run. The other
 * calls, and a device reset, are a constant number of steps. Each listener is told of each
 * run once, and what that costs is the listener's: choose blocks that keep the runs of a
 * region few.
 *
 * Features: IN_ORDER is offered; device.features_on may add ACCESS_PLATFORM.
 *
 * Threads: as device.h.
 */
#include <vmemdev/device.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Smallest and largest block. */
#define VMEMDEV_MEM_BLOCK_MIN (UINT64_C(1) << 12)
#define VMEMDEV_MEM_BLOCK_MAX (UINT64_C(1) << 30)

/** Largest region: 64 TiB. */
#define VMEMDEV_MEM_REGION_MAX (UINT64_C(1) << 46)

/** Ranges handed to one callback at most. */
#define VMEMDEV_MEM_RANGES 16

/** Feature bits (5.15.3), as bit masks. */
#define VMEMDEV_MEM_F_ACPI_PXM (UINT64_C(1) << 0)
#define VMEMDEV_MEM_F_UNPLUGGED_INACCESSIBLE (UINT64_C(1) << 1)
#define VMEMDEV_MEM_F_PERSISTENT_SUSPEND (UINT64_C(1) << 2)

/**
 * The host's side. Called only inside vmemdev_device_run(), vmemdev_mem_complete() and
 * vmemdev_device_system_reset(), on their caller's thread.
 *
 * Each returns 0; a negative VMEMDEV_E_*, and then must have changed nothing: the
 * guest is answered BUSY and tries again much later (Linux: 50 seconds); or
 * VMEMDEV_LATER: vmemdev_mem_complete() with the same @token will say how it ended,
 * the guest waits, and @ranges stays as it is. A system reset cannot wait, nor can the
 * unplug that takes back what a listener has refused: there VMEMDEV_LATER counts as
 * VMEMDEV_E_BUSY, and the work must not go on.
 */
struct vmemdev_mem_ops {
	/**
	 * Make @ranges usable memory; the guest may touch it as soon as this has
	 * succeeded. Optional: NULL where a touch is enough.
	 */
	int (*plug)(void *ctx, const struct vmemdev_range *ranges, uint32_t count,
		    uint64_t token);
	/**
	 * Take @ranges away: their contents are lost. Merged, ascending. Until this
	 * has succeeded the blocks still count as plugged, and devices may read and
	 * write there: work that is put off must not shut the memory before the thread
	 * that completes it does; a host must have ended other
	 * work of its own there (balloon.h, VMEMDEV_LATER). When
	 * everything is unplugged at once and the plugged runs are more than
	 * VMEMDEV_MEM_RANGES, the last range covers all that remain and the
	 * unplugged blocks between them; vmemdev_mem_next() tells them apart.
	 * Required.
	 */
	int (*unplug)(void *ctx, const struct vmemdev_range *ranges, uint32_t count,
		      uint64_t token);
	/** The guest's plugged size is now @bytes. Optional. */
	void (*plugged)(void *ctx, uint64_t bytes);
};

/**
 * Someone besides the host's ops who must follow which blocks are plugged: memory slots,
 * a passed-through device, migration, a dump. Told of each change before the guest is,
 * from the same places as the ops. Callbacks must not listen or unlisten. The struct is
 * the caller's and is linked into the device while it listens.
 */
struct vmemdev_mem_listener {
	/**
	 * @ranges, whole blocks, ascending, are about to be plugged; the host's plug has
	 * succeeded. returns: 0, or a negative VMEMDEV_E_*: refused, with nothing
	 * changed; then those that agreed before get unplug, and so does the host, and
	 * the guest is answered BUSY. Required.
	 */
	int (*plug)(void *ctx, const struct vmemdev_range *ranges, uint32_t count);
	/**
	 * @ranges are not plugged any more: the host's unplug has succeeded, or a plug is
	 * undone. Cannot be refused. Required.
	 */
	void (*unplug)(void *ctx, const struct vmemdev_range *ranges, uint32_t count);
	void *ctx;
	struct vmemdev_mem_listener *next_;
};

/** Zero it, set what you need. Init copies it; what it points to is borrowed. */
struct vmemdev_mem_config {
	uint32_t struct_size;  /* sizeof(struct vmemdev_mem_config) */
	uint16_t node;         /* ACPI proximity domain; 0 is shown without has_node */
	bool has_node;         /* offer ACPI_PXM */
	bool persistent_suspend; /* offer PERSISTENT_SUSPEND: see Resets above */
	/**
	 * Unplugged memory cannot even be read: refuse drivers that do not accept
	 * UNPLUGGED_INACCESSIBLE, which is always offered (5.15.5.2).
	 */
	bool unplugged_inaccessible;
	uint8_t pad_[7];       /* zero */
	uint64_t addr;         /* start of the region, a multiple of block_size, where no
	                        * other memory is; Linux wants a multiple of its memory
	                        * block, 128 MiB to 2 GiB */
	uint64_t region_size;  /* bytes, a multiple of block_size, above 0 */
	uint64_t block_size;   /* a power of two; 2 MiB suits most hosts */
	/**
	 * The largest piece that the guest adds in one request, of which it can name
	 * 65535 blocks: Linux's memory block. 0 means 128 MiB; x86-64 guests with more
	 * than 64 GiB use up to 2 GiB, and then blocks of 64 KiB are the smallest.
	 */
	uint64_t guest_block;
	/**
	 * How far beyond the requested size the guest may reach for blocks, in
	 * bytes; rounded up to blocks. 0 means 256 MiB, twice Linux's memory block.
	 */
	uint64_t slack;
	uint64_t *bitmap;      /* vmemdev_mem_bitmap_words() words; init clears it */
	size_t bitmap_words;
	struct vmemdev_device_config device;
	const struct vmemdev_mem_ops *ops;
	void *ctx;             /* first argument of the ops */
};

/** The sizes of the device now, in bytes. */
struct vmemdev_mem_sizes {
	uint64_t region, usable, requested, plugged;
};

/** What a device has done since init. Counters wrap. */
struct vmemdev_mem_counts {
	uint64_t plug, unplug, unplug_all, state; /* requests acknowledged */
	uint64_t nack, busy, error;               /* requests answered so */
	uint64_t host_calls, host_failures;
};

/** One memory device. Fields are private. Must not be moved after init. */
struct vmemdev_mem {
	struct vmemdev_device device_;
	struct vmemdev_vq vqs_[1];
	struct vmemdev_range ranges_[VMEMDEV_MEM_RANGES];
	struct vmemdev_reply reply_;      /* the one request being served */
	struct vmemdev_held held_;
	struct vmemdev_mem_counts counts_;
	const struct vmemdev_mem_ops *ops_;
	struct vmemdev_mem_listener *listeners_;
	void *ctx_;
	uint64_t *bitmap_;                /* a set bit is a plugged block */
	uint64_t addr_, region_size_, usable_, requested_, plugged_, slack_;
	uint64_t first_, end_;            /* what the waiting host call is about */
	uint64_t token_;                  /* the last one given to the host */
	uint32_t block_shift_;
	uint16_t node_;
	uint16_t request_;                /* type of the request being served */
	uint8_t inaccessible_;
	uint8_t waiting_;                 /* the host answered LATER */
	uint8_t orphan_;                  /* ...and the guest has reset since */
	uint8_t admitted_;                /* loaded: such a request was already checked */
	uint8_t pad_[4];
};

/**
 * Words that the bitmap for such a region needs: one bit a block, rounded up to 64.
 * returns: 0 if init would refuse the sizes
 */
size_t vmemdev_mem_bitmap_words(uint64_t region_size, uint64_t block_size);

/**
 * Prepare @mem, all blocks unplugged; @mem_size is the caller's sizeof(*mem).
 * Calls nothing.
 * returns: 0; VMEMDEV_E_ABI; VMEMDEV_E_INVAL (a required pointer is NULL, padding is
 * not 0), VMEMDEV_E_SIZE (block_size, region_size, slack, queue_size, the region
 * reaches 2^64, or guest_block is more than 65535 blocks),
 * VMEMDEV_E_ALIGN (addr), VMEMDEV_E_NOSPC (bitmap_words), VMEMDEV_E_FEATURE. On
 * error @mem and the bitmap are unchanged.
 */
int vmemdev_mem_init(struct vmemdev_mem *mem, size_t mem_size,
		     const struct vmemdev_mem_config *config);

/** The device to hand to a transport. Never NULL; lives as long as @mem. */
struct vmemdev_device *vmemdev_mem_device(struct vmemdev_mem *mem);

/**
 * Fill in @region for the guest-memory table: the device's region at @host, of which
 * only plugged blocks count as memory. Lives as long as @mem and its bitmap.
 */
void vmemdev_mem_region(const struct vmemdev_mem *mem, void *host, struct vmemdev_region *region);

/**
 * Ask the guest to have @bytes plugged. The usable region grows with it in the same
 * step. Legal at any time; the guest follows when and as far as it can.
 * returns: 0; VMEMDEV_E_ALIGN if @bytes is no multiple of the block size;
 * VMEMDEV_E_SIZE if above the region; VMEMDEV_E_STATE inside a callback
 */
int vmemdev_mem_set_requested(struct vmemdev_mem *mem, uint64_t bytes);

/** The sizes now. */
void vmemdev_mem_get_sizes(const struct vmemdev_mem *mem, struct vmemdev_mem_sizes *sizes);

/** The counters. */
void vmemdev_mem_get_counts(const struct vmemdev_mem *mem, struct vmemdev_mem_counts *counts);

/**
 * Find the next run of plugged (or, if not @plugged, unplugged) blocks at or after
 * guest address @from. To list all, start at 0 and go on at run->gpa + run->len.
 * Works a bitmap word at a time.
 * returns: whether there is one; then @run is it, cut at @from
 */
bool vmemdev_mem_next(const struct vmemdev_mem *mem, uint64_t from, bool plugged,
		      struct vmemdev_range *run);

/**
 * Tell @listener of every change from now on; each plugged run is replayed to it first.
 * Before the guest runs, or between calls on the device.
 * returns: 0; what @listener answered when it refused a run, after it was told to unplug
 * those before; VMEMDEV_E_INVAL for a NULL; VMEMDEV_E_STATE if it listens already, or
 * inside a callback
 */
int vmemdev_mem_listen(struct vmemdev_mem *mem, struct vmemdev_mem_listener *listener);

/**
 * Stop telling @listener, which is told to unplug what is plugged.
 * returns: 0; VMEMDEV_E_INVAL for a NULL; VMEMDEV_E_STATE if it does not listen, or
 * inside a callback
 */
int vmemdev_mem_unlisten(struct vmemdev_mem *mem, struct vmemdev_mem_listener *listener);

/**
 * The work that a callback answered with VMEMDEV_LATER has ended; @result is what
 * the callback would have returned. Answers the guest; call vmemdev_device_run()
 * afterwards. If the guest reset the device meanwhile, the blocks still change as
 * @result says, and nobody is answered.
 * returns: 0; VMEMDEV_E_STATE if @token is not outstanding, or inside a callback;
 * VMEMDEV_E_INVAL for a positive @result
 */
int vmemdev_mem_complete(struct vmemdev_mem *mem, uint64_t token, int result);

#ifdef __cplusplus
}
#endif
#endif /* VMEMDEV_MEM_H */
