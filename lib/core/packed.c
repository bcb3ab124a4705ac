/* SPDX-License-Identifier: BSD-3-Clause */
/* The packed ring (VIRTIO 1.4, 2.8). */
#include "core/guest.h"
#include "core/vq.h"

enum {
	DESC_LEN = 8, /* the part of a used descriptor that the device writes */
	DESC_ID = 12,
	DESC_FLAGS = 14,
	FLAG_AVAIL = 1 << 7,
	FLAG_USED = 1 << 15,
	EVENT_OFFSET = 0,
	EVENT_FLAGS = 2,
	EVENT_SIZE = 4,
	EVENT_ENABLE = 0,
	EVENT_DISABLE = 1,
	EVENT_DESC = 2
};

bool packed_size_ok(uint32_t size)
{
	return size > 0 && size <= VMEMDEV_VQ_SIZE_MAX;
}

void packed_parts(const struct vmemdev_vq *vq, struct vq_parts *parts)
{
	parts->len[0] = (uint64_t)DESC_SIZE * vq->size_;
	parts->len[1] = EVENT_SIZE;
	parts->len[2] = EVENT_SIZE;
	parts->align[0] = 16;
	parts->align[1] = 4;
	parts->align[2] = 4;
}

/*
 * The slot @steps, at most the queue's size, beyond @slot; flips @wrap at the end. By a
 * remainder, so that whatever the counts say, it is a slot of the ring.
 */
static uint16_t step(const struct vmemdev_vq *vq, uint16_t slot, uint32_t steps, uint8_t *wrap)
{
	uint32_t to = (uint32_t)slot + steps;

	if (to >= vq->size_) {
		to %= vq->size_;
		*wrap = !*wrap;
	}
	return (uint16_t)to;
}

/*
 * Ask the driver to kick when it makes the next slot available. Its offset is written
 * before the flags that give it a meaning (2.8.10, 2.8.14).
 */
static void ask_for_kick(struct vmemdev_vq *vq)
{
	uint16_t flags = EVENT_ENABLE;

	if (vq->event_idx_) {
		guest_store16(vq->device_ + EVENT_OFFSET,
			      (uint16_t)(vq->next_avail_ | vq->avail_wrap_ << 15));
		flags = EVENT_DESC;
	}
	/* Pairs with the driver's read of the structure as one word, flags and offset. */
	guest_store_release16(vq->device_ + EVENT_FLAGS, flags);
	guest_dirty(vq->guest_, vq->layout_.device, EVENT_SIZE);
	vq->kick_asked_ = 1;
	/*
	 * Pairs with the driver's barrier between making descriptors available and looking
	 * at this structure: either it sees the wish, or the next look sees its descriptor.
	 */
	order_full();
}

/* Whether the next slot's descriptor is available; its flags in @flags. */
static bool look(struct vmemdev_vq *vq, uint16_t *flags)
{
	bool avail, used;

	/* Pairs with the driver's write barrier before it writes a head's flags. */
	*flags = guest_load_acquire16(vq->desc_ + (size_t)DESC_SIZE * vq->next_avail_ + DESC_FLAGS);
	avail = (*flags & FLAG_AVAIL) != 0;
	used = (*flags & FLAG_USED) != 0;
	return avail == vq->avail_wrap_ && used != vq->avail_wrap_;
}

int packed_pop(struct vmemdev_vq *vq, struct vmemdev_chain *chain)
{
	uint16_t flags;
	bool found = look(vq, &flags);

	if (!found && !vq->kick_asked_) {
		ask_for_kick(vq);
		found = look(vq, &flags);
	}
	if (!found)
		return 0;
	if (vq->busy_ >= vq->size_)
		return VMEMDEV_E_GUEST_RING;
	vq->kick_asked_ = 0;
	chain_start(chain, vq, vq->next_avail_);
	chain->flags_ = flags;
	chain->head_ = 1;
	return 1;
}

/* Only the end of a list says where the next one starts. */
int packed_finish(struct vmemdev_vq *vq, const struct vmemdev_chain *chain)
{
	if ((uint32_t)vq->busy_ + chain->slots_ > vq->size_)
		return VMEMDEV_E_GUEST_RING;
	vq->next_avail_ = step(vq, vq->next_avail_, chain->slots_, &vq->avail_wrap_);
	vq->busy_ = (uint16_t)(vq->busy_ + chain->slots_);
	return 0;
}

static void store_flags(struct vmemdev_vq *vq, uint16_t slot, uint16_t flags)
{
	/* Pairs with the driver's read barrier between a used flag and the ID and length. */
	guest_store_release16(vq->desc_ + (size_t)DESC_SIZE * slot + DESC_FLAGS, flags);
	guest_dirty(vq->guest_, vq->layout_.desc + (uint64_t)DESC_SIZE * slot + DESC_LEN,
		    DESC_SIZE - DESC_LEN);
}

/*
 * A used descriptor at the next used slot. The driver takes them in ring order, so the
 * flags of the first one staged, written last, show all of them at once.
 */
void packed_used(struct vmemdev_vq *vq, uint16_t id, uint32_t len, uint16_t slots)
{
	uint8_t wrap = vq->used_wrap_;
	uint16_t slot = step(vq, vq->next_used_, vq->staged_, &wrap);
	uint8_t *desc = vq->desc_ + (size_t)DESC_SIZE * slot;
	uint16_t flags = (uint16_t)(wrap ? FLAG_AVAIL | FLAG_USED : 0);

	if (len > 0)
		flags |= DESC_WRITE;
	guest_store32(desc + DESC_LEN, len);
	guest_store16(desc + DESC_ID, id);
	if (vq->staged_ == 0) {
		vq->first_flags_ = flags;
		guest_dirty(vq->guest_, vq->layout_.desc + (uint64_t)DESC_SIZE * slot + DESC_LEN,
			    DESC_FLAGS - DESC_LEN);
	} else {
		store_flags(vq, slot, flags);
	}
	vq->staged_ = (uint16_t)(vq->staged_ + slots);
}

void packed_publish(struct vmemdev_vq *vq)
{
	store_flags(vq, vq->next_used_, vq->first_flags_);
	vq->next_used_ = step(vq, vq->next_used_, vq->staged_, &vq->used_wrap_);
}

bool packed_restage(struct vmemdev_vq *vq, uint16_t staged, uint16_t first_flags)
{
	uint16_t flags = vq->used_wrap_ ? FLAG_AVAIL | FLAG_USED : 0;

	if ((first_flags & ~DESC_WRITE) != flags)
		return false;
	vq->first_flags_ = first_flags;
	vq->next_avail_ = step(vq, vq->next_used_, staged, &vq->avail_wrap_);
	return true;
}

bool packed_wants_notify(const struct vmemdev_vq *vq)
{
	uint32_t event = guest_load32(vq->driver_);
	uint32_t mode = event >> 16 & 3;
	uint32_t offset = event & 0x7fff;
	uint32_t wrap = event >> 15 & 1;
	uint32_t back;

	if (mode == EVENT_DISABLE)
		return false;
	if (mode != EVENT_DESC || !vq->event_idx_ || vq->moved_unknown_)
		return true;
	/* How many slots before the next used one the driver's slot lies. */
	back = vq->next_used_ - offset;
	if (wrap != vq->used_wrap_)
		back += vq->size_;
	return back - 1 < vq->moved_;
}
