/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VMEMDEV_MEM_SLOTS_H
#define VMEMDEV_MEM_SLOTS_H
/**
 * @file mem_slots.h - map only that part of a memory device's region that is in use.
 *
 * Purpose: a hypervisor keeps tables for all memory that a guest could touch, in
 * proportion to its memory slots. This cuts a region into slots of one size and has
 * the host map a slot when its first block is plugged and unmap it when its last one is
 * unplugged, so that a region of 1 TiB with 1 GiB in use costs as much as 1 GiB. With
 * slots as large as blocks, unplugged memory is not there at all; then, and wherever
 * guests must not read unplugged memory, set unplugged_inaccessible in the device.
 *
 * Trust: it listens to the device (mem.h) and sees what the device has checked. A slot
 * that cannot be mapped is a plug refused: the guest is answered BUSY.
 *
 * Bounds: init and finish cost a step for each slot, and what listen and unlisten do (mem.h);
 * each plug and unplug a step for each slot that it touches, at most one call for each.
 *
 * Threads: as the device. Callbacks come from the same places as the device's.
 */
#include <vmemdev/mem.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Zero it, set what you need. Init copies it; what it points to is borrowed. */
struct vmemdev_mem_slots_config {
	uint32_t struct_size;  /* sizeof(struct vmemdev_mem_slots_config) */
	uint32_t slot_count;   /* entries of plugged */
	uint64_t slot_size;    /* bytes; a power of two, at least the device's block size */
	uint64_t *plugged;     /* for each slot the bytes plugged; cleared by init. At least
	                        * region_size / slot_size entries, rounded up */
	/**
	 * Show slot number @slot, at @range, to the guest. Unplugged blocks in it come with
	 * it. returns: 0 or a negative VMEMDEV_E_*, and then nothing is mapped. Required.
	 */
	int (*map)(void *ctx, uint32_t slot, const struct vmemdev_range *range);
	/**
	 * Hide it again, then discard all of @range: until now the guest could touch blocks that
	 * were taken away before, and what it touched would stay. Required.
	 */
	void (*unmap)(void *ctx, uint32_t slot, const struct vmemdev_range *range);
	void *ctx;             /* first argument of both */
};

/** The slots of one region. Fields are private. Must not be moved after init. */
struct vmemdev_mem_slots {
	struct vmemdev_mem_listener listener_;
	struct vmemdev_mem *mem_;
	uint64_t *plugged_;
	int (*map_)(void *ctx, uint32_t slot, const struct vmemdev_range *range);
	void (*unmap_)(void *ctx, uint32_t slot, const struct vmemdev_range *range);
	void *ctx_;
	uint64_t addr_, size_;
	uint32_t shift_;
	uint32_t mapped_;
};

/**
 * Prepare @slots for @mem and map what is plugged; @slots_size is the caller's
 * sizeof(*slots).
 * returns: 0; VMEMDEV_E_ABI; VMEMDEV_E_INVAL (a required pointer is NULL); VMEMDEV_E_SIZE
 * (slot_size); VMEMDEV_E_NOSPC (slot_count); what map answered. On error nothing stays
 * mapped.
 */
int vmemdev_mem_slots_init(struct vmemdev_mem_slots *slots, size_t slots_size,
			   struct vmemdev_mem *mem, const struct vmemdev_mem_slots_config *config);

/** Unmap everything and let go of the device. returns: 0; VMEMDEV_E_STATE in a callback */
int vmemdev_mem_slots_finish(struct vmemdev_mem_slots *slots);

/** How many slots are mapped. */
uint32_t vmemdev_mem_slots_mapped(const struct vmemdev_mem_slots *slots);

#ifdef __cplusplus
}
#endif
#endif /* VMEMDEV_MEM_SLOTS_H */
