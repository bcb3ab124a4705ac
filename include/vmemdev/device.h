/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VMEMDEV_DEVICE_H
#define VMEMDEV_DEVICE_H
/**
 * @file device.h - what every device has, as its transport and its host see it
 * (VIRTIO 1.4, chapters 2, 3 and 6).
 *
 * Purpose: status, features, configuration space, reset and queue set-up, once for
 * all device types. mmio.h is built on these calls; a host with a transport of its
 * own makes them directly, and then needs no other header but its device's.
 *
 * The flow: register writes and kicks only note what the guest asked for. The work,
 * and with it each host callback but those for which the device type's header names
 * another place, happens in vmemdev_device_run(), on the thread that calls it and
 * within the budget that it gives:
 *
 *     vmemdev_device_kick(dev, queue);               a doorbell rang
 *     while (vmemdev_device_run(dev, 64) > 0)        64 units of work at a time
 *             let others have their turn;
 *
 * Trust: everything a transport passes on comes from the guest: any value is
 * accepted, and answered as the specification says or ignored. A guest that breaks
 * the rules of its rings stops its device: DEVICE_NEEDS_RESET is set, guest_error
 * is called once, and only a reset brings the device back.
 *
 * Bounds: vmemdev_device_run() does what its budget pays for. A step a byte takes access to
 * the configuration space, which is small, and a record that is saved or loaded. Every other call
 * is a constant number of steps for each queue of the device, and for each part of a ring that
 * it places a look-up in the table of guest memory (guest.h). The device type's header says what
 * a reset and a load cost besides. None of this depends on what rings hold.
 *
 * Threads: calls on one device must not overlap. Distinct devices are independent,
 * but for the guest-memory object that they may share (guest.h). Callbacks may read
 * from their device (functions that take it const, and config_generation) and may
 * kick it; other calls on it return VMEMDEV_E_STATE, or do nothing where they return
 * no error.
 */
#include <vmemdev/guest.h>
#include <vmemdev/virtqueue.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Device status bits (2.1). */
enum vmemdev_status {
	VMEMDEV_STATUS_ACKNOWLEDGE = 0x01,
	VMEMDEV_STATUS_DRIVER = 0x02,
	VMEMDEV_STATUS_DRIVER_OK = 0x04,
	VMEMDEV_STATUS_FEATURES_OK = 0x08,
	VMEMDEV_STATUS_NEEDS_RESET = 0x40,
	VMEMDEV_STATUS_FAILED = 0x80
};

/** Most queues a device type may have. */
#define VMEMDEV_QUEUES_MAX 8

/** The queue number in guest_error when the fault lies in no queue. */
#define VMEMDEV_NO_QUEUE 0xffff

/** How a device reaches its driver. All members are required. */
struct vmemdev_transport_ops {
	/** Used buffers were published on @queue and the driver wants to know. */
	void (*queue_interrupt)(void *ctx, uint16_t queue);
	/** The configuration space or DEVICE_NEEDS_RESET changed. */
	void (*config_interrupt)(void *ctx);
	/** The device was reset: forget selectors and interrupt state. */
	void (*reset)(void *ctx);
};

/** The part of the configuration that all device types share. Zero is good. */
struct vmemdev_device_config {
	struct vmemdev_guest *guest; /* required, borrowed; with ACCESS_PLATFORM it
	                              * shows the addresses the device may use */
	/**
	 * The guest broke the rules of @queue and its device has stopped. Called
	 * once until the next reset. Optional.
	 */
	void (*guest_error)(void *ctx, int err, uint16_t queue);
	void *ctx;            /* first argument of each callback */
	/**
	 * Offer these too (VMEMDEV_F_*): RING_PACKED, NOTIFICATION_DATA, and what the
	 * device type's header adds.
	 */
	uint64_t features_on;
	/** Do not offer these: INDIRECT_DESC, EVENT_IDX, RING_RESET, IN_ORDER. */
	uint64_t features_off;
	uint16_t queue_size;  /* entries a queue at most, a power of two; 0: 128 */
	uint16_t pad_[3];     /* zero */
};

struct vmemdev_class; /* private: what a device type does */

/** A device. Fields are private. Lives inside its device type's struct. */
struct vmemdev_device {
	const struct vmemdev_class *class_;
	struct vmemdev_guest *guest_;
	struct vmemdev_vq *vqs_;
	const struct vmemdev_transport_ops *transport_;
	void *transport_ctx_;
	void (*guest_error_)(void *ctx, int err, uint16_t queue);
	void *ctx_;
	uint64_t offered_, accepted_;
	uint32_t generation_;
	uint32_t kicked_;      /* a bit a queue: look at it in the next run */
	uint16_t vq_count_;
	int8_t fault_;         /* the VMEMDEV_E_GUEST_* that set NEEDS_RESET, or 0 */
	uint8_t status_;
	uint8_t accepted_bad_; /* the driver set a bit in feature word 2 or above */
	uint8_t config_stale_; /* the generation must step at the next look */
	uint8_t config_held_;  /* a change waits for DRIVER_OK to be notified */
	uint8_t inside_;       /* a host callback is running */
};

/**
 * Connect a transport, which may take away features it cannot carry:
 * only bits in @features stay offered. Once, before the guest runs. A device
 * without a transport works but interrupts nobody.
 * returns: 0; VMEMDEV_E_INVAL (NULL), VMEMDEV_E_STATE (status is not 0),
 * VMEMDEV_E_FEATURE if VERSION_1 is not in @features
 */
int vmemdev_device_attach(struct vmemdev_device *dev, const struct vmemdev_transport_ops *ops,
			  void *ctx, uint64_t features);

/** Virtio device ID (chapter 5). */
uint32_t vmemdev_device_id(const struct vmemdev_device *dev);

/** Number of queue indices; some of them may be absent (size 0). */
uint16_t vmemdev_device_queue_count(const struct vmemdev_device *dev);

/** Offered feature bits 32 x @word to 32 x @word + 31; 0 for words above 1. */
uint32_t vmemdev_device_features(const struct vmemdev_device *dev, uint32_t word);

/** The driver accepts these bits of @word. Ignored once FEATURES_OK is set (2.2). */
void vmemdev_device_accept(struct vmemdev_device *dev, uint32_t word, uint32_t bits);

/** The bits of @word as accepted so far. */
uint32_t vmemdev_device_accepted(const struct vmemdev_device *dev, uint32_t word);

/** The device status field. */
uint8_t vmemdev_device_status(const struct vmemdev_device *dev);

/**
 * The driver writes the status field: 0 resets, other values add bits. FEATURES_OK
 * is not latched if the accepted set will not do, nor DRIVER_OK without FEATURES_OK
 * (2.2, 3.1.1); no other order is enforced. At DRIVER_OK each enabled queue counts as
 * kicked.
 */
void vmemdev_device_set_status(struct vmemdev_device *dev, uint8_t status);

/**
 * A device reset by the host. The same as a status write of 0: plugged memory
 * blocks stay as they are. Not for a machine reset: see the next function.
 */
void vmemdev_device_reset(struct vmemdev_device *dev);

/**
 * The machine is being reset: a device reset, and the device's own state goes back
 * to power-on (5.15.6.2: memory blocks are unplugged through the host's callback).
 * returns: 0; VMEMDEV_E_STATE inside a callback, or while host work is outstanding
 * that a reset cannot call off, with nothing changed; the host callback's error, with
 * the device reset and its own state as it was
 */
int vmemdev_device_system_reset(struct vmemdev_device *dev);

/** Read the configuration space bytewise; bytes that do not exist read 0 (2.5). */
void vmemdev_device_config_read(const struct vmemdev_device *dev, uint32_t offset, void *dst,
				uint32_t len);

/** Write the configuration space; read-only and absent bytes keep their value. */
void vmemdev_device_config_write(struct vmemdev_device *dev, uint32_t offset, const void *src,
				 uint32_t len);

/** Changes whenever two reads could see different versions of the space (2.5). */
uint32_t vmemdev_device_config_generation(struct vmemdev_device *dev);

/** Most entries of @queue, 0 if that queue is not there. */
uint16_t vmemdev_device_queue_size_max(const struct vmemdev_device *dev, uint16_t queue);

/**
 * Where the driver's set-up of @queue is kept until it is enabled; to be filled in
 * as register writes arrive.
 * returns: NULL if the queue is not there or is enabled: its layout is frozen
 */
struct vmemdev_vq_layout *vmemdev_device_queue_layout(struct vmemdev_device *dev, uint16_t queue);

/**
 * Enable @queue with its layout. Only after FEATURES_OK.
 * returns: 0; VMEMDEV_E_STATE (already enabled, or too early), VMEMDEV_E_INVAL (no
 * such queue), VMEMDEV_E_GUEST_RING (the layout is impossible; not enabled)
 */
int vmemdev_device_queue_enable(struct vmemdev_device *dev, uint16_t queue);

/**
 * Enable @queue with its layout, at the positions of @state instead of at the start: for
 * transports that can stop a queue and go on elsewhere (vhost-user). @state is checked as
 * if a guest had written it.
 * returns: as vmemdev_device_queue_enable(); VMEMDEV_E_INVAL also if @state is impossible
 */
int vmemdev_device_queue_resume(struct vmemdev_device *dev, uint16_t queue,
				const struct vmemdev_vq_state *state);

/**
 * Stop @queue and say where it stood, with the driver going on later and not noticing.
 * Buffers that were served are used, and the driver is told. What was taken otherwise (a
 * half-read chain, a buffer that is kept) counts as not taken: whoever goes on at @state
 * takes it again, in the same order. Nothing is lost or used twice. The layout has to be
 * set up again.
 * returns: 0; VMEMDEV_E_INVAL (no such queue, NULL), VMEMDEV_E_STATE (not enabled, inside a
 * callback, or host work for this queue is outstanding or to be asked for: complete it, and
 * run, first); the
 * VMEMDEV_E_GUEST_* that broke the queue
 */
int vmemdev_device_queue_stop(struct vmemdev_device *dev, uint16_t queue,
			      struct vmemdev_vq_state *state);

/** Whether @queue is enabled. */
bool vmemdev_device_queue_enabled(const struct vmemdev_device *dev, uint16_t queue);

/**
 * Stop @queue and forget its set-up (2.6.1, and QueueReady 0 on MMIO). Chains taken
 * from it are dropped; the other queues go on.
 */
void vmemdev_device_queue_reset(struct vmemdev_device *dev, uint16_t queue);

/**
 * A shared memory region of the device (2.10).
 * returns: whether there is one of number @id; then @range says where
 */
bool vmemdev_device_shm(const struct vmemdev_device *dev, uint8_t id, struct vmemdev_range *range);

/** The driver's doorbell for @queue. Cheap; ignored where the text says so. */
void vmemdev_device_kick(struct vmemdev_device *dev, uint16_t queue);

/**
 * Whether vmemdev_device_run() has something to do.
 */
bool vmemdev_device_pending(const struct vmemdev_device *dev);

/**
 * Do the work that kicks have announced. Host callbacks and interrupts happen here.
 * @budget, at least 1, bounds it: one unit is a chain, or such a part of it as the
 * device type's header says; it also pays for a look at each descriptor of the chain, at
 * most as many as the queue has entries, and a call looks once at each queue that was
 * kicked. Queues are visited in ascending order, so a guest that keeps a low one full
 * keeps its own higher ones waiting.
 * returns: 1 if work is left; 0 if not, or if it waits for the host's completion;
 * VMEMDEV_E_STATE inside a callback; VMEMDEV_E_INVAL; the VMEMDEV_E_GUEST_* that
 * stopped the device, also on later calls
 */
int vmemdev_device_run(struct vmemdev_device *dev, uint32_t budget);

/** Most bytes that a record of @dev takes, at any time. */
size_t vmemdev_device_save_size(const struct vmemdev_device *dev);

/**
 * Write what @dev knows into @dst, at most @size bytes, *@len in the end: features,
 * status, queues and the state of its type; not its configuration, nor guest memory, nor
 * what the host has set it to do. Between runs, at any time: what was taken from a queue
 * and is not used yet counts as not taken, and is taken again after a load, by which
 * a memory or pmem device's host work that was put off (VMEMDEV_LATER) is asked for again; a
 * balloon's counts as failed where it is not. @dev goes on unchanged.
 * The record is small, little-endian and versioned; later releases read it.
 * returns: 0; VMEMDEV_E_NOSPC if @size is below vmemdev_device_save_size();
 * VMEMDEV_E_INVAL for a NULL; VMEMDEV_E_STATE inside a callback, while host work of a
 * memory or pmem device is outstanding that the guest has reset away, or that a device
 * which needs a reset or has FAILED would not ask for again, or while a balloon has yet to
 * ask the host for the rest of what a buffer named: complete, run, and save then
 */
int vmemdev_device_save(const struct vmemdev_device *dev, void *dst, size_t size, size_t *len);

/**
 * Take over the state in the record @src of @len bytes, which is checked as if a guest had
 * written it. @dev is freshly initialised with the same configuration, its transport
 * attached if it has one, its guest memory in place. Calls no ops of the device type: what
 * the state asks of the host's memory (plugged blocks) is the host's to bring. Listeners and
 * slots of a memory device come after its load, and are told what is plugged then.
 * Tokens count from the start again: what the host had put off before the load is not to
 * be completed on @dev. The guest's last statistics are read again, and come with the time
 * of that. A ring that is not in guest memory makes a device that needs a reset: load memory
 * devices before others, as rings may lie in their blocks.
 * returns: 0; VMEMDEV_E_INVAL for a NULL; VMEMDEV_E_STATE (not fresh, inside a callback);
 * VMEMDEV_E_RECORD, VMEMDEV_E_VERSION, VMEMDEV_E_MISMATCH (of another configuration:
 * another type, region, block size, host page size, smaller queues, features that are not
 * offered), after which @dev must be initialised again
 */
int vmemdev_device_load(struct vmemdev_device *dev, const void *src, size_t len);

/** Which VMEMDEV_E_GUEST_* stopped the device, or 0. */
int vmemdev_device_fault(const struct vmemdev_device *dev);

#ifdef __cplusplus
}
#endif
#endif /* VMEMDEV_DEVICE_H */
