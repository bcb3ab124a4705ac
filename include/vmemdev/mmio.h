/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VMEMDEV_MMIO_H
#define VMEMDEV_MMIO_H
/**
 * @file mmio.h - virtio over MMIO, version 2 registers (VIRTIO 1.4, 4.2).
 *
 * Purpose: the register block of a virtio-mmio device for a host that has no virtio
 * transport of its own. The host passes on guest accesses to the block as (offset,
 * width, value) and drives one interrupt line.
 *
 * Wiring: a write to VMEMDEV_MMIO_NOTIFY may be taken by an ioeventfd (then the host
 * calls vmemdev_device_kick() itself); all others must come here. After a write,
 * call vmemdev_device_run() while vmemdev_device_pending() says so.
 *
 * Trust: offset, width and value are the guest's; any are safe. Accesses that the
 * specification does not allow read 0 and write nothing, except that a write to
 * QueueNotify rings whatever its width.
 *
 * Bounds: an access is a constant number of steps besides what the device's own call says.
 *
 * Threads: as device.h; these calls count as calls on the device.
 */
#include <vmemdev/device.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Bytes of the register block to give a device: registers and configuration. */
#define VMEMDEV_MMIO_SIZE 0x200

/** Offset of QueueNotify. */
#define VMEMDEV_MMIO_NOTIFY 0x050

/** Zero it, set what you need. Init copies it; @device and @ctx are borrowed. */
struct vmemdev_mmio_config {
	uint32_t struct_size;  /* sizeof(struct vmemdev_mmio_config) */
	uint32_t vendor;       /* VendorID register, free choice */
	struct vmemdev_device *device;
	/**
	 * Assert (@level true) or deassert the interrupt line. Called with true for
	 * each new event, also when the line is asserted already, so that an
	 * edge-triggered line works as well; with false once the driver has
	 * acknowledged everything, or reset the device. Required.
	 */
	void (*interrupt)(void *ctx, bool level);
	void *ctx;             /* first argument of interrupt */
};

/** One register block. Fields are private. Must not be moved after init. */
struct vmemdev_mmio {
	struct vmemdev_device *device_;
	void (*interrupt_)(void *ctx, bool level);
	void *ctx_;
	uint32_t vendor_;
	uint32_t features_sel_, accept_sel_, queue_sel_, shm_sel_;
	uint32_t interrupts_; /* InterruptStatus */
};

/**
 * Prepare @mmio and attach it to its device; @mmio_size is the caller's
 * sizeof(*mmio). Calls nothing.
 * returns: 0; VMEMDEV_E_ABI; VMEMDEV_E_INVAL (a NULL); VMEMDEV_E_STATE as
 * vmemdev_device_attach(). On error @mmio is unchanged.
 */
int vmemdev_mmio_init(struct vmemdev_mmio *mmio, size_t mmio_size,
		      const struct vmemdev_mmio_config *config);

/** Bytes of a saved register block. */
#define VMEMDEV_MMIO_SAVE_SIZE 36

/**
 * Write the selectors and the interrupt status into @dst, VMEMDEV_MMIO_SAVE_SIZE bytes;
 * the device has a record of its own (vmemdev_device_save()). Between calls.
 * returns: 0; VMEMDEV_E_INVAL for a NULL; VMEMDEV_E_NOSPC if @size is smaller
 */
int vmemdev_mmio_save(const struct vmemdev_mmio *mmio, void *dst, size_t size);

/**
 * Take over a record, which is checked as if a guest had written it; after the device's
 * has been loaded. If the driver has not acknowledged an interrupt, interrupt is called
 * with true.
 * returns: 0; VMEMDEV_E_INVAL for a NULL; VMEMDEV_E_RECORD, VMEMDEV_E_VERSION,
 * VMEMDEV_E_MISMATCH (of another device type), with nothing changed
 */
int vmemdev_mmio_load(struct vmemdev_mmio *mmio, const void *src, size_t len);

/**
 * The guest reads @width bytes (1, 2, 4 or 8) at @offset of the block.
 * returns: the value, little-endian bytes as a number; 0 where nothing is
 */
uint64_t vmemdev_mmio_read(struct vmemdev_mmio *mmio, uint64_t offset, uint32_t width);

/** The guest writes @width bytes (1, 2, 4 or 8) of @value at @offset of the block. */
void vmemdev_mmio_write(struct vmemdev_mmio *mmio, uint64_t offset, uint32_t width, uint64_t value);

#ifdef __cplusplus
}
#endif
#endif /* VMEMDEV_MMIO_H */
