/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VMEMDEV_VIRTQUEUE_H
#define VMEMDEV_VIRTQUEUE_H
/**
 * @file virtqueue.h - the device side of one virtqueue (VIRTIO 1.4, 2.6 to 2.9).
 *
 * Purpose: take descriptor chains off a split or packed ring and give them back.
 * Which format it is, is chosen when the ring is enabled; nothing after that
 * differs. A device takes as many chains as it wants, finishes each, stages their
 * used entries with push, shows them all to the driver with one publish, and asks
 * once whether to notify:
 *
 *     int got = 0;
 *
 *     while (budget-- > 0 && (got = vmemdev_vq_pop(vq, &chain)) > 0) {
 *             got = vmemdev_chain_read(&chain, &request, sizeof(request));
 *             if (got >= 0)
 *                     got = vmemdev_chain_finish(&chain, &held);
 *             if (got >= 0)
 *                     got = vmemdev_vq_push(vq, &held, 0);
 *             if (got < 0)
 *                     break;
 *     }
 *     if (got >= 0)
 *             got = vmemdev_vq_publish(vq);
 *     if (got < 0)
 *             the guest broke the queue, or what it asked cannot be read: stop;
 *     else if (vmemdev_vq_should_notify(vq))
 *             interrupt the guest;
 *
 * Users of the ready devices (balloon.h, mem.h) never call this header.
 *
 * Trust: the guest may rewrite rings, tables and buffers at any moment. Each
 * value is read once, into a copy, and checked there. After any
 * VMEMDEV_E_GUEST_RING or VMEMDEV_E_GUEST_CHAIN the queue is broken: each later
 * call on it returns that same error until vmemdev_vq_reset().
 * VMEMDEV_E_GUEST_ADDR speaks of a buffer's contents only: whether the request can
 * still be answered is the device's to know, and the queue goes on.
 *
 * Threads: calls on one queue must not overlap; distinct queues are independent.
 *
 * Bounds: no call takes more steps than the queue has descriptors, and two, but for
 * copies, which take one step a byte asked for and one a descriptor passed, and for
 * entering an indirect table, whose reachable part, at most 1 MiB, must be memory: a step
 * a region, a page where callbacks serve instead of a table. A descriptor that lies in two
 * regions is read in two pieces.
 */
#include <vmemdev/guest.h>

#ifdef __cplusplus
extern "C" {
#endif

#define VMEMDEV_VQ_SIZE_MAX 32768

/** Ring features (2.3 of the specification's feature bits), as bit masks. */
#define VMEMDEV_F_INDIRECT_DESC (UINT64_C(1) << 28)
#define VMEMDEV_F_EVENT_IDX (UINT64_C(1) << 29)
#define VMEMDEV_F_VERSION_1 (UINT64_C(1) << 32)
#define VMEMDEV_F_ACCESS_PLATFORM (UINT64_C(1) << 33)
#define VMEMDEV_F_RING_PACKED (UINT64_C(1) << 34)
#define VMEMDEV_F_IN_ORDER (UINT64_C(1) << 35)
#define VMEMDEV_F_NOTIFICATION_DATA (UINT64_C(1) << 38)
#define VMEMDEV_F_RING_RESET (UINT64_C(1) << 40)

/** Where the driver put the ring, as a transport received it: unchecked. */
struct vmemdev_vq_layout {
	uint64_t desc;   /* descriptor table or ring, guest-physical */
	uint64_t driver; /* available ring or driver event suppression */
	uint64_t device; /* used ring or device event suppression */
	uint32_t size;   /* entries */
	uint32_t pad_;
};

/** Ring state. Fields are private; the layout is here so that you can embed it. */
struct vmemdev_vq {
	struct vmemdev_guest *guest_;
	uint8_t *desc_, *driver_, *device_; /* host addresses, good for generation_ */
	struct vmemdev_vq_layout layout_;
	uint64_t generation_;
	uint32_t pending_len_;   /* IN_ORDER: the used entry that may yet be merged */
	uint16_t pending_id_;
	uint16_t pending_slots_; /* ring positions it covers; 0: none */
	uint16_t size_max_, size_;
	uint16_t next_avail_;    /* split: free-running index; packed: slot */
	uint16_t seen_avail_;    /* split: newest available index that was read */
	uint16_t next_used_;     /* where the driver looks next; staged entries lie beyond */
	uint16_t staged_;        /* split: entries, packed: slots, not yet published */
	uint16_t busy_;          /* split: chains, packed: slots, taken and not published */
	uint16_t moved_;         /* positions published since should_notify was last asked */
	uint16_t order_popped_, order_pushed_; /* IN_ORDER: next numbers */
	uint16_t first_flags_;   /* packed: flags of the first staged entry */
	int8_t broken_;          /* a VMEMDEV_E_GUEST_* once the guest erred */
	uint8_t enabled_, packed_, indirect_, event_idx_, in_order_;
	uint8_t open_;           /* a chain is popped and not finished */
	uint8_t avail_wrap_, used_wrap_;
	uint8_t moved_unknown_;  /* after a load: tell the driver once in any case */
	uint8_t pending_skippable_, kick_asked_;
	uint8_t pad_[6];
};

/** A buffer of a chain, not yet looked at: the address may be anything. */
struct vmemdev_buf {
	uint64_t gpa;
	uint32_t len;
	uint32_t writable; /* 1: device-writable, 0: device-readable */
};

/**
 * A popped chain: a forward-only cursor. Plain data, meant for the caller's
 * stack; a copy of it remembers the place. Fields are private.
 */
struct vmemdev_chain {
	struct vmemdev_vq *vq_;
	const uint8_t *table_;   /* host address of the table being walked, or NULL */
	uint64_t table_gpa_;     /* ...and its guest address */
	uint64_t gpa_;           /* rest of the present buffer */
	uint64_t writable_;      /* writable bytes met so far */
	uint64_t total_;         /* bytes met so far */
	uint64_t generation_;    /* of guest memory when table_ was found */
	uint32_t len_;           /* rest of the present buffer */
	uint32_t table_size_;    /* entries in the table being walked */
	uint32_t next_;          /* entry to load next */
	uint16_t left_;          /* descriptors still allowed */
	uint16_t flags_;         /* packed: the head's flags, fetched by the pop */
	uint16_t id_, slots_, order_;
	uint8_t in_indirect_, writing_, ended_, head_;
	uint8_t pad_[6];
};

/** What has to be kept of a chain until it is pushed. Plain data; may be saved. */
struct vmemdev_held {
	uint64_t writable; /* bytes the chain has room for */
	uint16_t id;       /* split: head index; packed: buffer ID */
	uint16_t slots;    /* ring positions it took */
	uint16_t order;    /* its number in the order of taking */
	uint16_t pad_;
};

/** Most bytes that vmemdev_chain_reserve() can set aside. */
#define VMEMDEV_REPLY_MAX 16

/** Where an answer will be written, however the driver cut the room for it. */
struct vmemdev_reply {
	struct vmemdev_range seg[VMEMDEV_REPLY_MAX];
	uint32_t segs;
	uint32_t len; /* bytes of room, up to what was asked for */
};

/** Ring positions in a form that can be stored. Untrusted when loaded. */
struct vmemdev_vq_state {
	uint16_t next_avail; /* split: index; packed: slot */
	uint16_t next_used;
	uint16_t busy;
	uint16_t order_popped, order_pushed;
	uint8_t avail_wrap, used_wrap; /* packed only, else 0 */
};

/**
 * Prepare @vq, not enabled. @vq_size is the caller's sizeof(*vq); @guest is
 * borrowed until @vq is no longer used.
 * returns: 0; VMEMDEV_E_ABI; VMEMDEV_E_INVAL for a NULL; VMEMDEV_E_SIZE if
 * @size_max is no power of two in 1..VMEMDEV_VQ_SIZE_MAX
 */
int vmemdev_vq_init(struct vmemdev_vq *vq, size_t vq_size, struct vmemdev_guest *guest,
		    uint16_t size_max);

/**
 * Start using the ring at @layout, whose format and options @features gives
 * (VMEMDEV_F_* as negotiated). The first entry used is number 0.
 * returns: 0; VMEMDEV_E_STATE if already enabled; VMEMDEV_E_GUEST_RING if the size
 * is 0, above the maximum or (split) no power of two, or if a part is misaligned
 * (2.7, 2.8.10), wraps or is not in guest memory: each part must lie in one piece in
 * the host, so within one region of the table. On error still not enabled.
 */
int vmemdev_vq_enable(struct vmemdev_vq *vq, const struct vmemdev_vq_layout *layout,
		      uint64_t features);

/**
 * Back to just-initialised: no ring memory is touched until the next enable.
 * Chains and held entries of before are void.
 */
void vmemdev_vq_reset(struct vmemdev_vq *vq);

/**
 * Take the next available chain. An answer of 0 promises that the driver was
 * asked to kick for whatever it adds from now on.
 * returns: 1 with @chain at its start; 0 if nothing is available or the queue is
 * not enabled; VMEMDEV_E_STATE if the chain before was not finished;
 * VMEMDEV_E_GUEST_RING
 */
int vmemdev_vq_pop(struct vmemdev_vq *vq, struct vmemdev_chain *chain);

/**
 * The chain's next buffer, readable ones first; an empty one is passed over.
 * The address is the guest's word.
 * returns: 1 with @buf filled; 0 at the end; VMEMDEV_E_GUEST_CHAIN
 */
int vmemdev_chain_next(struct vmemdev_chain *chain, struct vmemdev_buf *buf);

/**
 * Copy out of the device-readable part, from where the last call stopped, however
 * the driver cut it. @dst may be NULL to pass over bytes. @len <= INT32_MAX.
 * returns: bytes copied, fewer than @len only at the part's end;
 * VMEMDEV_E_GUEST_CHAIN, VMEMDEV_E_GUEST_ADDR
 */
int32_t vmemdev_chain_read(struct vmemdev_chain *chain, void *dst, uint32_t len);

/**
 * Copy into the device-writable part, from where the last call stopped; what was
 * left unread is passed over. @len <= INT32_MAX.
 * returns: bytes copied, fewer than @len only at the chain's end;
 * VMEMDEV_E_GUEST_CHAIN, VMEMDEV_E_GUEST_ADDR
 */
int32_t vmemdev_chain_write(struct vmemdev_chain *chain, const void *src, uint32_t len);

/**
 * Note where the next @len (1 to VMEMDEV_REPLY_MAX) writable bytes lie, without
 * touching them, so that an answer can be given later. All of the room was guest
 * memory open to writing when noted.
 * returns: bytes of room found, up to @len; VMEMDEV_E_INVAL for @len,
 * VMEMDEV_E_GUEST_CHAIN, VMEMDEV_E_GUEST_ADDR
 */
int32_t vmemdev_chain_reserve(struct vmemdev_chain *chain, struct vmemdev_reply *reply,
			      uint32_t len);

/**
 * Write the first @len bytes of the answer, @len <= reply->len.
 * returns: 0; VMEMDEV_E_INVAL; VMEMDEV_E_GUEST_ADDR if the room is no guest memory
 * any more
 */
int vmemdev_reply_write(struct vmemdev_guest *guest, const struct vmemdev_reply *reply,
			const void *src, uint32_t len);

/**
 * Walk what is left of the chain, checking it, and fill @held in for the push.
 * To be called once for each popped chain before the next pop.
 * returns: 0; VMEMDEV_E_STATE; VMEMDEV_E_GUEST_CHAIN; VMEMDEV_E_GUEST_RING (more
 * in flight than the ring can hold)
 */
int vmemdev_chain_finish(struct vmemdev_chain *chain, struct vmemdev_held *held);

/**
 * Stage the used entry of @held, its first @written bytes written. The driver
 * does not see it before vmemdev_vq_publish(). Each finished chain is pushed
 * exactly once, or dropped by a reset.
 * returns: 0; VMEMDEV_E_STATE if nothing is in flight, or if IN_ORDER was
 * negotiated and an older chain is still unpushed: push that first;
 * VMEMDEV_E_GUEST_RING
 */
int vmemdev_vq_push(struct vmemdev_vq *vq, const struct vmemdev_held *held, uint32_t written);

/**
 * Show the driver everything that was pushed.
 * returns: used entries' ring positions published, 0 if none; VMEMDEV_E_GUEST_RING
 */
int vmemdev_vq_publish(struct vmemdev_vq *vq);

/**
 * Whether the driver wants a notification for what was published since this was
 * last asked. Ask once after a batch.
 */
bool vmemdev_vq_should_notify(struct vmemdev_vq *vq);

/**
 * Read the ring positions, between calls only: no chain open, nothing staged.
 * returns: 0; VMEMDEV_E_STATE
 */
int vmemdev_vq_save(const struct vmemdev_vq *vq, struct vmemdev_vq_state *state);

/**
 * Enable with the positions of @state instead of zeros. @state is checked as if
 * a guest had written it.
 * returns: as vmemdev_vq_enable(); VMEMDEV_E_INVAL if @state is impossible
 */
int vmemdev_vq_load(struct vmemdev_vq *vq, const struct vmemdev_vq_layout *layout,
		    uint64_t features, const struct vmemdev_vq_state *state);

#ifdef __cplusplus
}
#endif
#endif /* VMEMDEV_VIRTQUEUE_H */
