/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef GUEST_QUEUE_H
#define GUEST_QUEUE_H
/**
 * @file queue.h - the driver's side of one virtqueue, in both formats.
 *
 * This is the only code of the tests that writes rings. Used as a well-behaved
 * driver: open, add, publish, want_kick, poll. Used as a hostile one: get and set
 * reach every word of the ring, whatever the driver's own state says.
 */
#include "guest/memory.h"
#include <vmemdev/virtqueue.h>

/* Ring constants (2.7.5, 2.8.10, 2.8.13 of the specification). */
enum guest_desc_flag {
	GUEST_NEXT = 0x1,
	GUEST_WRITE = 0x2,
	GUEST_INDIRECT = 0x4,
	GUEST_AVAIL = 0x80,   /* packed */
	GUEST_USED = 0x8000   /* packed */
};
enum guest_event_flag { GUEST_EVENT_ENABLE = 0, GUEST_EVENT_DISABLE = 1, GUEST_EVENT_DESC = 2 };
#define GUEST_EVENT_WRAP 0x8000 /* in the offset word of an event structure */

/** Every word of a ring. Those with [] want an index. */
enum guest_word {
	GUEST_DESC_ADDR,   /* [] both formats */
	GUEST_DESC_LEN,    /* [] */
	GUEST_DESC_FLAGS,  /* [] */
	GUEST_DESC_NEXT,   /* [] split */
	GUEST_DESC_ID,     /* [] packed */
	GUEST_AVAIL_FLAGS, /* split, from here to AVAIL_EVENT */
	GUEST_AVAIL_IDX,
	GUEST_AVAIL_RING,  /* [] */
	GUEST_USED_EVENT,
	GUEST_USED_FLAGS,
	GUEST_USED_IDX,
	GUEST_USED_ID,     /* [] */
	GUEST_USED_LEN,    /* [] */
	GUEST_AVAIL_EVENT,
	GUEST_DRIVER_EVENT, /* packed: offset and wrap; from here to the end */
	GUEST_DRIVER_FLAGS,
	GUEST_DEVICE_EVENT,
	GUEST_DEVICE_FLAGS
};

/** Where and how a queue is made. Zero is good but for features and size. */
struct guest_queue_config {
	uint64_t features;      /* VMEMDEV_F_*: RING_PACKED, EVENT_IDX, IN_ORDER, INDIRECT_DESC */
	uint32_t size;          /* entries */
	uint32_t table_entries; /* room for an indirect table of so many for each ID; 0: none */
	struct vmemdev_vq_layout at; /* addresses; a part with address 0 is placed */
};

/** One used buffer, as the driver sees it. */
struct guest_used {
	uint32_t id;   /* head or buffer ID */
	uint32_t len;  /* as the device wrote it; 0 for skipped */
	uint64_t tag;  /* what was given to add */
	bool skipped;  /* IN_ORDER: stood for by a later entry */
	bool written;  /* packed: WRITE flag; split: len > 0 */
};

/** What the driver knows of an ID that is out. */
struct guest_out {
	uint64_t tag;
	uint32_t slots;  /* ring descriptors it took */
	uint16_t next;   /* IN_ORDER: the ID that was added after this one */
	uint16_t last;   /* split: last ring descriptor of the chain */
	bool busy;
};

/** All fields may be read by tests. */
struct guest_queue {
	struct guest_memory *mem;
	struct vmemdev_vq_layout layout; /* to be handed to the device */
	uint64_t features;
	uint64_t tables;        /* guest address of the tables, table_entries for each ID */
	uint32_t size, table_entries;
	bool packed, event_idx, in_order;
	uint8_t *desc, *driver, *device; /* the ring's parts in the host */
	struct guest_out *out;  /* by ID */
	uint16_t *follow;       /* the next in a list: free descriptors and chains (split), IDs */
	uint32_t free_count;    /* ring descriptors free */
	uint16_t free_first, free_last; /* list of free descriptors (split) or IDs (packed) */
	uint32_t free_listed;   /* how many it has */
	uint16_t order_first, order_last; /* IN_ORDER: IDs that are out */
	uint32_t out_count;     /* buffers that are out */
	uint16_t avail;         /* split: free-running index; packed: slot; of the next added */
	uint16_t shown;         /* the same, of the next published */
	uint16_t first_flags;   /* packed: flags of the first unpublished head */
	uint32_t unshown;       /* ring positions added and not published */
	uint32_t unkicked;      /* ... published since want_kick was last asked */
	uint16_t used;          /* split: free-running index; packed: slot; of the next used */
	bool avail_wrap, shown_wrap, used_wrap;
	/* IN_ORDER: a used entry that is being told apart */
	uint32_t batch_left, batch_id, batch_len;
	bool batch_written;
};

/** How to add a chain. NULL or zero: direct descriptors, any ID. */
struct guest_add {
	bool indirect;      /* buffers from number @direct on go into an indirect table */
	bool backwards;     /* split: link the table from its end to its start, entry 0 first */
	bool explicit_id;   /* use @id: split head (must be free), packed buffer ID */
	uint16_t id;
	uint16_t direct;    /* split: buffers that stay direct before the table */
	uint16_t spare;     /* garbage entries that the table has at its end */
	uint16_t extra;     /* flags or'ed into the descriptor that refers to the table */
	uint16_t noise;     /* packed: or'ed into id and flags (but WRITE) of table entries */
	uint64_t table;     /* where the table is; 0: the ID's own room */
	uint64_t tag;       /* handed back by poll */
};

/** Make an empty ring and the driver's side of it. All parts are zeroed. */
void guest_queue_open(struct guest_queue *q, struct guest_memory *mem,
		      const struct guest_queue_config *config);
void guest_queue_close(struct guest_queue *q);

/** Forget everything and zero the ring, as a driver after a reset. */
void guest_queue_restart(struct guest_queue *q);

/** Ring descriptors free now. */
uint32_t guest_queue_free(const struct guest_queue *q);

/**
 * Write a chain of @count buffers into the ring; the device does not see it before
 * publish. Buffers are taken as they are: the order of readable and writable ones
 * is the caller's.
 * returns: the ID; -1 if the ring has no room for it
 */
int guest_queue_add(struct guest_queue *q, const struct vmemdev_buf *bufs, uint32_t count,
		    const struct guest_add *how);

/** Show the device everything that was added. returns: buffers' ring positions shown */
uint32_t guest_queue_publish(struct guest_queue *q);

/** Whether the device asked for a kick for what was published since last asked.
 * Includes the full barrier that the driver owes. */
bool guest_queue_want_kick(struct guest_queue *q);

/** The 32-bit notification value with NOTIFICATION_DATA, for queue number @index. */
uint32_t guest_queue_kick_data(const struct guest_queue *q, uint16_t index);

/**
 * Take the next used buffer. With IN_ORDER, one entry that stands for several is
 * told as several.
 * returns: 1 with @used filled; 0 if there is none; -1 if the device broke the rules
 * (an ID that is not out, an entry beyond what was published)
 */
int guest_queue_poll(struct guest_queue *q, struct guest_used *used);

/** Whether poll would find something. */
bool guest_queue_has_used(const struct guest_queue *q);

/**
 * Ask for an interrupt at the next used buffer. The driver must look at the ring
 * once more afterwards. Includes the full barrier.
 */
void guest_queue_interrupts_on(struct guest_queue *q);

/** Ask for none: flags, and with EVENT_IDX an event that is half the ring away. */
void guest_queue_interrupts_off(struct guest_queue *q);

/**
 * EVENT_IDX: ask for an interrupt when the ring position @ahead places beyond the
 * next used one becomes used (0: the next one).
 */
void guest_queue_interrupt_at(struct guest_queue *q, uint16_t ahead);

/** Guest address and width in bytes of a ring word; aborts for the wrong format. */
uint64_t guest_queue_where(const struct guest_queue *q, enum guest_word word, uint32_t index);

/** Read or write any ring word. */
uint64_t guest_queue_get(const struct guest_queue *q, enum guest_word word, uint32_t index);
void guest_queue_set(struct guest_queue *q, enum guest_word word, uint32_t index, uint64_t value);

/** A descriptor as it stands in memory, for tables and hostile rings. */
struct guest_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags;
	uint16_t next; /* split; packed: the buffer ID */
};

/** Write entry @index of the descriptor table at @table. */
void guest_desc_put(struct guest_memory *mem, bool packed, uint64_t table, uint32_t index,
		    const struct guest_desc *desc);
void guest_desc_get(const struct guest_memory *mem, bool packed, uint64_t table, uint32_t index,
		    struct guest_desc *desc);

/**
 * Hostile: make @head available, behind everything that was added, without a look
 * at what stands in the table (split), or write @desc into the next ring slot as it
 * is but for AVAIL and USED, which are made to say "available" (packed).
 * guest_queue_publish() shows it. The driver's book of IDs does not know it.
 */
void guest_queue_offer_head(struct guest_queue *q, uint16_t head);
void guest_queue_offer_desc(struct guest_queue *q, const struct guest_desc *desc);

/** AVAIL and USED flags that make a descriptor at slot @q->avail available. */
uint16_t guest_queue_avail_flags(const struct guest_queue *q);

#endif /* GUEST_QUEUE_H */
