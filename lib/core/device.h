/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VMEMDEV_CORE_DEVICE_H
#define VMEMDEV_CORE_DEVICE_H
/*
 * What a device type is to the rest of the library: a table of what it does, and the
 * few things that it asks of the base. A new device type fills in the table and calls
 * device_check() and device_init(); nothing in core or transport changes.
 */
#include "core/names.h"

#include <vmemdev/device.h>

/* Room for the largest configuration space. */
#define DEVICE_CONFIG_MAX 64

struct record_in;
struct record_out;

/*
 * Members may be NULL where the type has nothing to do, but for process, queue_stop,
 * save_size, save and load.
 */
struct vmemdev_class {
	uint32_t id;
	uint32_t config_size; /* at most DEVICE_CONFIG_MAX */
	uint64_t may_offer;   /* ring features that device.features_on may add */
	uint64_t offer;	      /* offered unless device.features_off takes them away */

	/* Fill in the whole space; @config is zeroed. Required with a config_size. */
	void (*config_read)(const struct vmemdev_device *dev, uint8_t *config);
	/* [offset, offset + len) lies in the space. NULL: all of it is read-only. */
	void (*config_write)(struct vmemdev_device *dev, uint32_t offset, const uint8_t *src,
			     uint32_t len);
	/* Whether the type can work with these accepted features. NULL: with any. */
	bool (*features_ok)(const struct vmemdev_device *dev, uint64_t accepted);
	/* The driver sets DRIVER_OK; then process() follows for each enabled queue. */
	void (*start)(struct vmemdev_device *dev);
	/*
	 * Serve @queue until it is empty, *budget is used up, or host work is
	 * outstanding. Returns 1 if it is to be called again, 0 if not (the next kick
	 * will), or the VMEMDEV_E_GUEST_* that stops the device.
	 */
	int (*process)(struct vmemdev_device *dev, uint16_t queue, uint32_t *budget);
	/* Whether process() may leave used entries staged, to be published by a later one. */
	bool stages;
	/* Forget what was taken from @queue; its ring is reset afterwards. */
	void (*queue_reset)(struct vmemdev_device *dev, uint16_t queue);
	/*
	 * Forget what was taken from @queue and not pushed; the driver goes on later and
	 * does not notice. Returns 0, or VMEMDEV_E_STATE if the host is at work for it.
	 */
	int (*queue_stop)(struct vmemdev_device *dev, uint16_t queue);
	/* Back to what a new driver expects; queue_reset was called for each queue. */
	void (*reset)(struct vmemdev_device *dev);
	/* Whether host work is outstanding. */
	bool (*waiting)(const struct vmemdev_device *dev);
	/* Whether nothing is left of what was before, so that load() may begin. NULL: always. */
	bool (*fresh)(const struct vmemdev_device *dev);
	/* Whether save() can tell all. NULL: always. */
	bool (*savable)(const struct vmemdev_device *dev);
	/* Most bytes that save() writes; what it writes; and that read again, checked. */
	size_t (*save_size)(const struct vmemdev_device *dev);
	void (*save)(const struct vmemdev_device *dev, struct record_out *out);
	/* Returns 0, VMEMDEV_E_RECORD or VMEMDEV_E_MISMATCH. */
	int (*load)(struct vmemdev_device *dev, struct record_in *in);
	/* A load was refused: take back what others would see of it. NULL: they see nothing. */
	void (*unload)(struct vmemdev_device *dev);
	/* Back to power-on, after reset. Returns 0 or an error; NULL: nothing to do. */
	int (*system_reset)(struct vmemdev_device *dev);
	/* Shared memory region @id. NULL: there is none. */
	bool (*shm)(const struct vmemdev_device *dev, uint8_t id, struct vmemdev_range *range);
};

/*
 * Whether a device of @class can be made from @config. Returns 0, VMEMDEV_E_INVAL,
 * VMEMDEV_E_SIZE or VMEMDEV_E_FEATURE.
 */
int device_check(const struct vmemdev_class *class, const struct vmemdev_device_config *config);

/*
 * Prepare the base of a device from a @config that was checked. Its type offers
 * @type_features and has @count queues in @vqs, zeroed, of which those are there whose
 * bit is set in @present.
 */
void device_init(struct vmemdev_device *dev, const struct vmemdev_class *class,
		 const struct vmemdev_device_config *config, uint64_t type_features,
		 struct vmemdev_vq *vqs, uint16_t count, uint32_t present);

/* Whether queues may be served: after DRIVER_OK and before whatever ends that. */
bool device_live(const struct vmemdev_device *dev);

/* The configuration space has changed: notify the driver, now or at DRIVER_OK. */
void device_config_changed(struct vmemdev_device *dev);

/* Whether the accepted features will do (2.2). */
bool device_features_ok(const struct vmemdev_device *dev);

/* Nothing is left of what a driver has said or met; its queues are reset by the caller. */
void device_forget_driver(struct vmemdev_device *dev);

/* Look at each enabled queue in the next run. */
void device_kick_all(struct vmemdev_device *dev);

/* Publish what was pushed on @queue and interrupt if wanted. Returns 0 or an error. */
int device_publish(struct vmemdev_device *dev, uint16_t queue);

/*
 * The guest broke @queue: stop the device, tell the driver and the host (2.1.2).
 * Returns @err. The base does this itself for what process() returns.
 */
int device_fail(struct vmemdev_device *dev, int err, uint16_t queue);

#endif
