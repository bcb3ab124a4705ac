/* SPDX-License-Identifier: BSD-3-Clause */
/* The split ring (VIRTIO 1.4, 2.7). */
#include "core/guest.h"
#include "core/vq.h"

enum {
	AVAIL_FLAGS = 0,
	AVAIL_IDX = 2,
	AVAIL_RING = 4,
	USED_FLAGS = 0,
	USED_IDX = 2,
	USED_RING = 4,
	USED_ENTRY = 8,
	AVAIL_NO_INTERRUPT = 1
};

bool split_size_ok(uint32_t size)
{
	return size > 0 && size <= VMEMDEV_VQ_SIZE_MAX && (size & (size - 1)) == 0;
}

void split_parts(const struct vmemdev_vq *vq, struct vq_parts *parts)
{
	/* The event fields are required and touched only with EVENT_IDX (2.7.6, 2.7.8). */
	uint32_t event = vq->event_idx_ ? 2 : 0;

	parts->len[0] = (uint64_t)DESC_SIZE * vq->size_;
	parts->len[1] = AVAIL_RING + UINT64_C(2) * vq->size_ + event;
	parts->len[2] = USED_RING + (uint64_t)USED_ENTRY * vq->size_ + event;
	parts->align[0] = 16;
	parts->align[1] = 2;
	parts->align[2] = 4;
}

static uint32_t used_slot(const struct vmemdev_vq *vq, uint16_t index)
{
	return USED_RING + (uint32_t)USED_ENTRY * (index & (vq->size_ - 1u));
}

static void write_used16(struct vmemdev_vq *vq, uint32_t offset, uint16_t value)
{
	guest_store16(vq->device_ + offset, value);
	guest_dirty(vq->guest_, vq->layout_.device + offset, 2);
}

/*
 * Ask the driver to kick when it adds the entry that is next. Without EVENT_IDX it
 * always kicks while the used flags are 0, which is all we ever put there (2.7.10.2).
 */
static void ask_for_kick(struct vmemdev_vq *vq)
{
	if (vq->event_idx_)
		write_used16(vq, USED_RING + (uint32_t)USED_ENTRY * vq->size_, vq->next_avail_);
	write_used16(vq, USED_FLAGS, 0);
	vq->kick_asked_ = 1;
	/*
	 * Pairs with the driver's barrier between moving the available index and looking
	 * at avail_event: either it sees the wish, or the next look sees its index.
	 */
	order_full();
}

/* Take a look at the driver's index. Returns whether entries are there, or an error. */
static int look(struct vmemdev_vq *vq)
{
	uint16_t count;

	/* Pairs with the driver's write barrier between filling entries and moving the index. */
	vq->seen_avail_ = guest_load_acquire16(vq->driver_ + AVAIL_IDX);
	count = (uint16_t)(vq->seen_avail_ - vq->next_avail_);
	/* More than the ring holds, those in flight counted: moved back or too far (2.7.6.1). */
	if ((uint32_t)count + vq->busy_ > vq->size_)
		return VMEMDEV_E_GUEST_RING;
	return count > 0;
}

int split_pop(struct vmemdev_vq *vq, struct vmemdev_chain *chain)
{
	uint16_t head;
	int found;

	if (vq->next_avail_ == vq->seen_avail_) {
		found = look(vq);
		if (found == 0 && !vq->kick_asked_) {
			ask_for_kick(vq);
			found = look(vq);
		}
		if (found <= 0)
			return found;
	}
	head = guest_load16(vq->driver_ + AVAIL_RING + 2u * (vq->next_avail_ & (vq->size_ - 1u)));
	if (head >= vq->size_)
		return VMEMDEV_E_GUEST_RING;
	vq->next_avail_++;
	vq->busy_++;
	vq->kick_asked_ = 0;
	chain_start(chain, vq, head);
	chain->id_ = head;
	chain->slots_ = 1;
	return 1;
}

/* One entry that stands for @slots buffers, at the place of the first of them. */
void split_used(struct vmemdev_vq *vq, uint16_t id, uint32_t len, uint16_t slots)
{
	uint32_t at = used_slot(vq, (uint16_t)(vq->next_used_ + vq->staged_));

	guest_store32(vq->device_ + at, id);
	guest_store32(vq->device_ + at + 4, len);
	guest_dirty(vq->guest_, vq->layout_.device + at, USED_ENTRY);
	vq->staged_ = (uint16_t)(vq->staged_ + slots);
}

void split_publish(struct vmemdev_vq *vq)
{
	vq->next_used_ = (uint16_t)(vq->next_used_ + vq->staged_);
	/* Pairs with the driver's read barrier between the index and the used entries. */
	guest_store_release16(vq->device_ + USED_IDX, vq->next_used_);
	guest_dirty(vq->guest_, vq->layout_.device + USED_IDX, 2);
}

bool split_wants_notify(const struct vmemdev_vq *vq)
{
	uint16_t event;

	if (!vq->event_idx_)
		return !(guest_load16(vq->driver_ + AVAIL_FLAGS) & AVAIL_NO_INTERRUPT);
	if (vq->moved_unknown_)
		return true;
	event = guest_load16(vq->driver_ + AVAIL_RING + 2u * vq->size_);
	/* The entry at used_event is among those that moved_ counts back from next_used_. */
	return (uint16_t)(vq->next_used_ - event - 1) < vq->moved_;
}
