/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef GUEST_DRIVER_H
#define GUEST_DRIVER_H
/**
 * @file driver.h - a virtio driver, down to the registers, for any device.
 *
 * It talks to a device in one of two ways, chosen at open: over the functions of
 * device.h, or over the virtio-mmio registers. The steps can be made one by one, in
 * any order and with any value, or all at once by guest_driver_start().
 */
#include "guest/queue.h"
#include <vmemdev/device.h>
#include <vmemdev/mmio.h>

enum guest_transport { GUEST_DIRECT, GUEST_MMIO };

struct guest_driver {
	struct guest_memory *mem;
	struct vmemdev_device *dev;
	enum guest_transport transport;
	struct vmemdev_mmio mmio;
	uint64_t features; /* negotiated */
	struct guest_queue queues[VMEMDEV_QUEUES_MAX];
	bool open[VMEMDEV_QUEUES_MAX]; /* queues[] that are in use */
	uint64_t request;  /* place of one request and its answer, 64 bytes */
	/* What the device told. Over MMIO the calls are counted as they come in
	 * line_raised; the others count once guest_driver_interrupts() has looked. */
	uint32_t queue_interrupts[VMEMDEV_QUEUES_MAX]; /* MMIO: all in number 0 */
	uint32_t config_interrupts;
	uint32_t resets;      /* direct only: calls of transport_ops.reset */
	uint32_t line_raised, line_lowered;
	bool line;
	/** Called inside each interrupt, after it was counted. May be NULL. */
	void (*on_interrupt)(void *ctx, bool config, uint16_t queue);
	void *on_interrupt_ctx;
};

/**
 * Connect to @dev; its memory is @mem's. Takes 64 bytes of @mem.
 * returns: what attach or mmio_init answers
 */
int guest_driver_open(struct guest_driver *d, struct guest_memory *mem,
		      struct vmemdev_device *dev, enum guest_transport transport);
void guest_driver_close(struct guest_driver *d);

/**
 * Put @dev in the place of the device that @d drives, as if nothing had happened: what @d
 * knows and counts stays. The register block, if there is one, is made anew.
 * returns: what attach or mmio_init answers
 */
int guest_driver_connect(struct guest_driver *d, struct vmemdev_device *dev);

/* Single steps. */
uint8_t guest_driver_status(struct guest_driver *d);
void guest_driver_set_status(struct guest_driver *d, uint8_t status);
/** Write 0 to the status and forget the queues. */
void guest_driver_reset(struct guest_driver *d);
/** The 64 offered bits. */
uint64_t guest_driver_offered(struct guest_driver *d);
/** Accept these 64 bits, without looking at what is offered. */
void guest_driver_accept(struct guest_driver *d, uint64_t features);
/** From reset to FEATURES_OK, accepting @features. returns: whether it stuck */
bool guest_driver_negotiate(struct guest_driver *d, uint64_t features);
/** Most entries of a queue. */
uint32_t guest_driver_queue_max(struct guest_driver *d, uint16_t queue);
/** Write a layout to the device and enable the queue. returns: whether it became ready */
bool guest_driver_queue_enable(struct guest_driver *d, uint16_t queue,
			       const struct vmemdev_vq_layout *layout);
bool guest_driver_queue_ready(struct guest_driver *d, uint16_t queue);
/** Reset one queue (RING_RESET). */
void guest_driver_queue_reset(struct guest_driver *d, uint16_t queue);
/**
 * Make d->queues[queue] with @size entries (0: the most) for the negotiated
 * features, with an indirect table of up to 8 entries for each ID if INDIRECT_DESC
 * was accepted, and enable it. Interrupts are on.
 * returns: whether it became ready
 */
bool guest_driver_queue_open(struct guest_driver *d, uint16_t queue, uint32_t size);

/**
 * All of the initialisation: negotiate @features (bits that are not offered are left
 * out, but VERSION_1 is always asked for), open each queue that is there with @size
 * entries, set DRIVER_OK.
 * returns: whether each step succeeded
 */
bool guest_driver_start(struct guest_driver *d, uint64_t features, uint32_t size);

/** Read or write configuration space; over MMIO with the widest aligned accesses. */
void guest_driver_config_read(struct guest_driver *d, uint32_t offset, void *dst, uint32_t len);
void guest_driver_config_write(struct guest_driver *d, uint32_t offset, const void *src,
			       uint32_t len);
/** Little-endian fields of it. */
uint16_t guest_driver_config16(struct guest_driver *d, uint32_t offset);
uint32_t guest_driver_config32(struct guest_driver *d, uint32_t offset);
uint64_t guest_driver_config64(struct guest_driver *d, uint32_t offset);
uint32_t guest_driver_config_generation(struct guest_driver *d);

/** Ring the doorbell, whether the device wants it or not. */
void guest_driver_kick(struct guest_driver *d, uint16_t queue);

/** Publish what was added to @queue and ring if the device wants it. returns: rang */
bool guest_driver_submit(struct guest_driver *d, uint16_t queue);

/**
 * Let the device work until it has nothing left, 64 units at a time, at most @turns
 * times (0: 100000).
 * returns: the last answer of vmemdev_device_run()
 */
int guest_driver_run(struct guest_driver *d, uint32_t turns);

/** MMIO: read and acknowledge the interrupt status and count what it says. */
void guest_driver_interrupts(struct guest_driver *d);

/** A register of the MMIO block. */
uint32_t guest_driver_register(struct guest_driver *d, uint32_t offset);
void guest_driver_set_register(struct guest_driver *d, uint32_t offset, uint32_t value);

/**
 * Add a buffer with @count page numbers to @queue (balloon), cut into @pieces
 * descriptors (0: one), in fresh memory of @d->mem, and submit it.
 * returns: the ID, or -1 if the ring is full
 */
int guest_driver_send_pfns(struct guest_driver *d, uint16_t queue, const uint32_t *pfns,
			   uint32_t count, uint32_t pieces);

/** What a balloon's queues are for (5.5.2), and the two ways that drivers number them. */
enum guest_role {
	GUEST_INFLATE,
	GUEST_DEFLATE,
	GUEST_STATS,
	GUEST_HINT,
	GUEST_REPORT,
	GUEST_ROLES
};
enum guest_numbering {
	GUEST_TEXT,   /* by the text: a number for each, whatever was accepted */
	GUEST_GAPLESS /* Linux: those of features that it accepted, one after the other */
};

/**
 * returns: the number that a driver which accepted @features has for that queue;
 * VMEMDEV_NO_QUEUE if it has none
 */
uint16_t guest_balloon_queue(uint64_t features, enum guest_role role,
			     enum guest_numbering numbering);

/** virtio-mem requests and answers (5.15.6). */
enum guest_mem_type {
	GUEST_MEM_PLUG = 0,
	GUEST_MEM_UNPLUG = 1,
	GUEST_MEM_UNPLUG_ALL = 2,
	GUEST_MEM_STATE = 3
};
enum guest_mem_answer {
	GUEST_MEM_ACK = 0,
	GUEST_MEM_NACK = 1,
	GUEST_MEM_BUSY = 2,
	GUEST_MEM_ERROR = 3
};
enum guest_mem_state {
	GUEST_MEM_PLUGGED = 0,
	GUEST_MEM_UNPLUGGED = 1,
	GUEST_MEM_MIXED = 2
};

struct guest_mem_response {
	uint16_t type;    /* enum guest_mem_answer */
	uint16_t pad[3];  /* as the device wrote it */
	uint16_t state;   /* enum guest_mem_state, for STATE */
	uint32_t len;     /* used len */
};

/** Add one request to queue 0 and submit it; the answer's place is filled with 0xaa.
 * Only one at a time may be out. returns: the ID, or -1 if the ring is full */
int guest_driver_mem_send(struct guest_driver *d, uint16_t type, uint64_t addr,
			  uint16_t nb_blocks);

/** Take the answer. returns: 1; 0 if there is none yet; -1 as guest_queue_poll() */
int guest_driver_mem_receive(struct guest_driver *d, struct guest_mem_response *response);

/**
 * Send, run, receive.
 * returns: the answer's type, or -1 if none came
 */
int guest_driver_mem_request(struct guest_driver *d, uint16_t type, uint64_t addr,
			     uint16_t nb_blocks, struct guest_mem_response *response);

#endif /* GUEST_DRIVER_H */
