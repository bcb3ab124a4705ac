/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VMEMDEV_CORE_VQ_H
#define VMEMDEV_CORE_VQ_H
/*
 * What the two ring formats provide, and what virtqueue.c and chain.c, which do not
 * know the formats' layouts, share with them.
 */
#include "core/names.h"

#include <vmemdev/virtqueue.h>

/* Descriptor flags of both formats (2.7.5, 2.8.3 to 2.8.7). */
enum { DESC_NEXT = 1, DESC_WRITE = 2, DESC_INDIRECT = 4, DESC_SIZE = 16 };

/* Sizes and alignments of a ring's three parts, in the order of the layout. */
struct vq_parts {
	uint64_t len[3];
	uint32_t align[3];
};

/* split.c: 2.7 */
bool split_size_ok(uint32_t size);
void split_parts(const struct vmemdev_vq *vq, struct vq_parts *parts);
int split_pop(struct vmemdev_vq *vq, struct vmemdev_chain *chain);
void split_used(struct vmemdev_vq *vq, uint16_t id, uint32_t len, uint16_t slots);
void split_publish(struct vmemdev_vq *vq);
bool split_wants_notify(const struct vmemdev_vq *vq);

/* packed.c: 2.8 */
bool packed_size_ok(uint32_t size);
void packed_parts(const struct vmemdev_vq *vq, struct vq_parts *parts);
int packed_pop(struct vmemdev_vq *vq, struct vmemdev_chain *chain);
int packed_finish(struct vmemdev_vq *vq, const struct vmemdev_chain *chain);
void packed_used(struct vmemdev_vq *vq, uint16_t id, uint32_t len, uint16_t slots);
void packed_publish(struct vmemdev_vq *vq);
bool packed_restage(struct vmemdev_vq *vq, uint16_t staged, uint16_t first_flags);
bool packed_wants_notify(const struct vmemdev_vq *vq);

/* virtqueue.c: note that the guest broke the ring; returns @err. */
int vq_break(struct vmemdev_vq *vq, int err);

/* The positions at which everything used so far is done, and nothing else was taken. */
void vq_rewound(const struct vmemdev_vq *vq, struct vmemdev_vq_state *state);

/* Whether a ring of these features may be laid out so, wherever guest memory is. */
bool vq_layout_possible(const struct vmemdev_vq_layout *layout, uint64_t features);

/*
 * Enable without a ring: @err has broken it, and only a reset can follow. The positions are
 * nobody's to use, but are kept.
 */
void vq_park(struct vmemdev_vq *vq, const struct vmemdev_vq_layout *layout,
	     const struct vmemdev_vq_state *state, int err);

/* In a queue just loaded, have @staged positions be staged. Returns whether that can be. */
bool vq_restage(struct vmemdev_vq *vq, uint16_t staged, uint16_t first_flags);

/* chain.c: put @chain at descriptor @first of the ring itself. */
void chain_start(struct vmemdev_chain *chain, struct vmemdev_vq *vq, uint16_t first);

/* chain.c: whether nothing is left, as far as that is known without a fetch. */
bool chain_at_end(const struct vmemdev_chain *chain);

#endif
