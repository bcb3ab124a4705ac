/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VMEMDEV_GUEST_H
#define VMEMDEV_GUEST_H
/**
 * @file guest.h - the guest's memory as the host shows it to the devices.
 *
 * Purpose: one object that says which guest-physical addresses are memory,
 * where the host sees them, and which of them may be given back to the host.
 * A host that keeps a table of its memory hands over that table; a host that
 * cannot, hands over two callbacks.
 *
 * Trust: the table and the callbacks are the host's and are believed. What
 * stands in the memory is the guest's and is not: the library reads each value
 * once, into a copy of its own.
 *
 * Bounds: a look-up in a table halves it: as many steps as its number of regions has binary
 * digits, and for a region with blocks one for each 64 blocks that are alike. Init and
 * set_regions take a step a region, changed a constant number; after either a device
 * looks its rings up anew.
 *
 * Threads: one vmemdev_guest may serve several devices. set_regions and changed
 * must not overlap any call on a device that uses the object, but may be called inside the
 * callbacks inflate, deflate, report, hint, plug, unplug and flush of the one that is running: the
 * device goes on with the new table, and what it had told before stays told. Not inside
 * vmemdev_guest_ops, nor any other callback. Nor may a call on a
 * virtio-mem device overlap calls on the other devices that share its object, since
 * unplugging changes what is memory.
 */
#include <vmemdev/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/** What a device is about to do with guest memory. */
enum vmemdev_access { VMEMDEV_READ = 1, VMEMDEV_WRITE = 2 };

/** Properties of a region. */
enum vmemdev_region_flag {
	VMEMDEV_REGION_READONLY = 1, /* devices must not write here, nor discard it (ROM) */
	VMEMDEV_REGION_KEEP = 2      /* never handed out for discarding: pmem, shared, pinned */
};

/** One stretch of guest memory that is contiguous in the host as well. */
struct vmemdev_region {
	uint64_t gpa; /* first byte; a multiple of 4096 */
	uint64_t len; /* bytes, more than 0; a multiple of 4096 */
	void *host;   /* where the host sees gpa, a multiple of 16; stays mapped */
	/**
	 * NULL: all of it is memory. Otherwise one bit a block of
	 * 1 << block_shift bytes, bit 0 of word 0 first: only the blocks whose
	 * bit is set are memory now. vmemdev_mem_region() fills this in.
	 */
	const uint64_t *blocks;
	uint32_t block_shift; /* 12 to 40; used only with blocks */
	uint32_t flags;       /* vmemdev_region_flag bits */
};

/**
 * For hosts without a table, and for dirty logging. Called on the thread of the device
 * call that needs it, so at the same time where devices that share the object run so; must
 * not call set_regions or changed.
 */
struct vmemdev_guest_ops {
	/**
	 * Host address of guest bytes [gpa, gpa + len), len > 0, or NULL if any
	 * of them is not memory open to @access. The address stays good until
	 * vmemdev_guest_changed(). Where more than the rest of a page is refused,
	 * it is asked again for that. Required without a table, unused with one.
	 */
	void *(*map)(void *ctx, uint64_t gpa, uint64_t len, enum vmemdev_access access);
	/**
	 * How many bytes from @gpa on, 1 to @len, are alike, and whether these
	 * may be discarded. Answer for all that are alike: it is asked again until
	 * what follows differs, which no budget counts. Required without a table,
	 * unused with one.
	 */
	uint64_t (*run)(void *ctx, uint64_t gpa, uint64_t len, bool *discardable);
	/**
	 * A device has written [gpa, gpa + len). Called after the bytes are in
	 * place. Optional: NULL means that the host keeps no dirty log.
	 */
	void (*dirty)(void *ctx, uint64_t gpa, uint64_t len);
};

/** Zero it, set what you need. Init copies it; what it points to is borrowed. */
struct vmemdev_guest_config {
	uint32_t struct_size;  /* sizeof(struct vmemdev_guest_config) */
	uint32_t region_count; /* 0: no table, ops->map and ops->run serve */
	const struct vmemdev_region *regions;
	const struct vmemdev_guest_ops *ops; /* may be NULL with a table */
	void *ctx;                           /* first argument of each callback */
};

/** Guest memory. Fields are private. Borrowed by each device that is given it. */
struct vmemdev_guest {
	const struct vmemdev_region *regions_;
	const struct vmemdev_guest_ops *ops_;
	void *ctx_;
	uint32_t region_count_;
	uint32_t pad_;
	uint64_t generation_; /* moves, and never wraps, when any host address may have changed */
};

/**
 * Prepare @guest. @guest_size is the caller's sizeof(*guest). Calls no callback.
 * The regions must be in ascending order without overlap, and must stay as they
 * are until they are replaced.
 * returns: 0; VMEMDEV_E_ABI; VMEMDEV_E_INVAL (a NULL, an unknown flag, neither
 * table nor callbacks), VMEMDEV_E_SIZE (length 0, not a multiple of 4096, past 2^64, or
 * more than a pointer can span), VMEMDEV_E_ALIGN (gpa, host or block_shift),
 * VMEMDEV_E_OVERLAP. On error @guest is unchanged. Work: one step a region.
 */
int vmemdev_guest_init(struct vmemdev_guest *guest, size_t guest_size,
		       const struct vmemdev_guest_config *config);

/**
 * Put another table in the place of the present one, as a whole. A ring that is no
 * longer in guest memory puts its device into DEVICE_NEEDS_RESET when the device next
 * looks at that queue. Work that a balloon's host has put off in memory that goes away
 * must have ended (balloon.h, VMEMDEV_LATER); what its tracks hold of it is forgotten by
 * vmemdev_balloon_forget().
 * returns: as vmemdev_guest_init(); on error the old table stays. VMEMDEV_E_STATE
 * if the object was set up without a table.
 */
int vmemdev_guest_set_regions(struct vmemdev_guest *guest, const struct vmemdev_region *regions,
			      uint32_t count);

/** Say that host addresses which map gave out, or block bitmaps, have changed. */
void vmemdev_guest_changed(struct vmemdev_guest *guest);

#ifdef __cplusplus
}
#endif
#endif /* VMEMDEV_GUEST_H */
