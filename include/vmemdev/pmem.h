/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VMEMDEV_PMEM_H
#define VMEMDEV_PMEM_H
/**
 * @file pmem.h - persistent memory device, "virtio-pmem" (VIRTIO 1.4, 5.19).
 *
 * Purpose: a region of guest-physical memory that the host keeps on stable storage. The
 * guest reads and writes it directly; through the queue it asks for one thing, that what
 * it has written be made to last (flush). The model gathers all requests at hand, has the
 * host flush once for them, and answers each when that flush has ended.
 *
 * Trust: everything from the guest is hostile. The host's flush is called with nothing
 * of the guest's but the fact that it asked.
 *
 * Order: requests are answered only by a flush that began after they were taken; one that
 * arrives during a flush waits for the next (5.19.7.1). A failure is answered to exactly
 * the requests that it was for; if they are gone, as the driver has reset, to the next ones,
 * since what it wrote before may be lost.
 *
 * Resets: neither a device reset nor a system reset changes the region. A flush that goes
 * on while the driver resets is waited for before the next begins.
 *
 * Moves: a device saved during a flush asks for it again after the load. The host ends that
 * flush first; if it fails, the record says too little: complete, and save again.
 *
 * Bounds: a unit of budget pays for one request. The end of a flush answers all that it was
 * for, request_count at most, before that. All other calls are a constant number of steps.
 *
 * Hosts: give each device a backing of its own (5.19.9), mark its region
 * VMEMDEV_REGION_KEEP, which vmemdev_pmem_region() does, and align it and its size to
 * 2 MiB at least: Linux keeps page structures for it.
 *
 * Features: device.features_on may add IN_ORDER and ACCESS_PLATFORM.
 *
 * Threads: as device.h.
 */
#include <vmemdev/device.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Feature bits (5.19.3), as bit masks. */
#define VMEMDEV_PMEM_F_SHMEM_REGION (UINT64_C(1) << 0)

/** The host's side. Called only inside vmemdev_device_run(). */
struct vmemdev_pmem_ops {
	/**
	 * Make everything that was written to the region before this call last through
	 * a power failure. returns: 0; a negative VMEMDEV_E_*: the guest sees an I/O
	 * error; or VMEMDEV_LATER: vmemdev_pmem_complete() with the same @token will say
	 * how it ended. One flush is outstanding at a time. Required.
	 */
	int (*flush)(void *ctx, uint64_t token);
};

/** A request that waits for a flush; the host's memory, the device's content. */
struct vmemdev_pmem_request {
	struct vmemdev_held held_;
	struct vmemdev_reply reply_;
	uint32_t bad_;
	uint32_t pad_;
};

/** Zero it, set what you need. Init copies it; what it points to is borrowed. */
struct vmemdev_pmem_config {
	uint32_t struct_size;   /* sizeof(struct vmemdev_pmem_config) */
	uint32_t request_count; /* entries in requests, at least 1: as many share a flush */
	struct vmemdev_pmem_request *requests;
	uint64_t addr;          /* start of the region, a multiple of 4096 */
	uint64_t size;          /* bytes, above 0, a multiple of 4096 */
	bool shmem_region;      /* offer SHMEM_REGION: the region is shared memory region 0 */
	uint8_t pad_[7];        /* zero */
	struct vmemdev_device_config device;
	const struct vmemdev_pmem_ops *ops;
	void *ctx;              /* first argument of the ops */
};

/** What a device has done since init. Counters wrap. */
struct vmemdev_pmem_counts {
	uint64_t requests;      /* answered with success */
	uint64_t failed;        /* answered with failure because the host's flush failed */
	uint64_t refused;       /* answered with failure as they were no flush requests */
	uint64_t host_calls;
	uint64_t host_failures;
};

/** One device. Fields are private. Must not be moved after init. */
struct vmemdev_pmem {
	struct vmemdev_device device_;
	struct vmemdev_vq vqs_[1];
	struct vmemdev_pmem_counts counts_;
	const struct vmemdev_pmem_ops *ops_;
	void *ctx_;
	struct vmemdev_pmem_request *requests_;
	uint64_t addr_, size_;
	uint64_t token_;                  /* the last one given to the host */
	uint32_t request_max_, request_count_;
	uint8_t waiting_;                 /* the host answered LATER */
	uint8_t ended_, failed_;          /* its flush has ended, and how; answer in a run */
	uint8_t owed_;                    /* a failure that nobody was told of */
	uint8_t pad_[4];
};

/**
 * Prepare @pmem; @pmem_size is the caller's sizeof(*pmem). Calls nothing.
 * returns: 0; VMEMDEV_E_ABI; VMEMDEV_E_INVAL (a required pointer is NULL, padding is not
 * 0), VMEMDEV_E_SIZE (request_count 0, size, queue_size, or the region passes 2^64),
 * VMEMDEV_E_ALIGN (addr), VMEMDEV_E_FEATURE. On error @pmem is unchanged.
 */
int vmemdev_pmem_init(struct vmemdev_pmem *pmem, size_t pmem_size,
		      const struct vmemdev_pmem_config *config);

/** The device to hand to a transport. Never NULL; lives as long as @pmem. */
struct vmemdev_device *vmemdev_pmem_device(struct vmemdev_pmem *pmem);

/**
 * Fill in @region for the guest-memory table: the device's region at @host, which is
 * never discarded; with @read_only, devices do not write there either. Without an entry
 * in the table, devices refuse buffers in the region.
 */
void vmemdev_pmem_region(const struct vmemdev_pmem *pmem, void *host, bool read_only,
			 struct vmemdev_region *region);

/** The counters. */
void vmemdev_pmem_get_counts(const struct vmemdev_pmem *pmem, struct vmemdev_pmem_counts *counts);

/**
 * The flush that was answered with VMEMDEV_LATER has ended; @result is what the callback
 * would have returned. The next vmemdev_device_run() answers the guest and goes on.
 * returns: 0; VMEMDEV_E_STATE if @token is not outstanding, or inside a callback;
 * VMEMDEV_E_INVAL for a positive @result
 */
int vmemdev_pmem_complete(struct vmemdev_pmem *pmem, uint64_t token, int result);

#ifdef __cplusplus
}
#endif
#endif /* VMEMDEV_PMEM_H */
