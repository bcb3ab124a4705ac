/* SPDX-License-Identifier: BSD-3-Clause */
/* The virtqueue as its users see it; split.c and packed.c know the formats. */
#include "core/guest.h"
#include "core/vq.h"

int vmemdev_vq_init(struct vmemdev_vq *vq, size_t vq_size, struct vmemdev_guest *guest,
		    uint16_t size_max)
{
	if (vq == NULL || guest == NULL)
		return VMEMDEV_E_INVAL;
	if (vq_size != sizeof(*vq))
		return VMEMDEV_E_ABI;
	if (!split_size_ok(size_max))
		return VMEMDEV_E_SIZE;
	memset(vq, 0, sizeof(*vq));
	vq->guest_ = guest;
	vq->size_max_ = size_max;
	vq->layout_.size = size_max;
	return 0;
}

void vmemdev_vq_reset(struct vmemdev_vq *vq)
{
	struct vmemdev_guest *guest = vq->guest_;
	uint16_t size_max = vq->size_max_;

	memset(vq, 0, sizeof(*vq));
	vq->guest_ = guest;
	vq->size_max_ = size_max;
	vq->layout_.size = size_max;
}

int vq_break(struct vmemdev_vq *vq, int err)
{
	vq->broken_ = (int8_t)err;
	return err;
}

static void ring_parts(const struct vmemdev_vq *vq, struct vq_parts *parts)
{
	if (vq->packed_)
		packed_parts(vq, parts);
	else
		split_parts(vq, parts);
}

/* Find the ring, or find it again after guest memory moved. Returns 0 or an error. */
static int locate_ring(struct vmemdev_vq *vq)
{
	const uint64_t gpa[3] = { vq->layout_.desc, vq->layout_.driver, vq->layout_.device };
	/* Split never writes descriptors, but a packed ring's used entries lie there. */
	const enum vmemdev_access access[3] = { vq->packed_ ? VMEMDEV_WRITE : VMEMDEV_READ,
						VMEMDEV_READ, VMEMDEV_WRITE };
	struct vq_parts parts;
	uint8_t *host[3];

	ring_parts(vq, &parts);
	for (int i = 0; i < 3; i++) {
		host[i] = guest_map(vq->guest_, gpa[i], parts.len[i], access[i]);
		if (host[i] == NULL || ((uintptr_t)host[i] & (parts.align[i] - 1)) != 0)
			return VMEMDEV_E_GUEST_RING;
	}
	vq->desc_ = host[0];
	vq->driver_ = host[1];
	vq->device_ = host[2];
	vq->generation_ = vq->guest_->generation_;
	return 0;
}

int vmemdev_vq_enable(struct vmemdev_vq *vq, const struct vmemdev_vq_layout *layout,
		      uint64_t features)
{
	struct vmemdev_vq_layout given = *layout;
	bool packed = features & VMEMDEV_F_RING_PACKED;
	int err;

	if (vq->enabled_)
		return VMEMDEV_E_STATE;
	if (given.size > vq->size_max_ || !vq_layout_possible(&given, features))
		return VMEMDEV_E_GUEST_RING;

	vmemdev_vq_reset(vq);
	vq->layout_ = given;
	vq->size_ = (uint16_t)given.size;
	vq->packed_ = packed;
	vq->indirect_ = (features & VMEMDEV_F_INDIRECT_DESC) != 0;
	vq->event_idx_ = (features & VMEMDEV_F_EVENT_IDX) != 0;
	vq->in_order_ = (features & VMEMDEV_F_IN_ORDER) != 0;
	vq->avail_wrap_ = packed;
	vq->used_wrap_ = packed;
	err = locate_ring(vq);
	if (err != 0) {
		vmemdev_vq_reset(vq);
		vq->layout_ = given;
		return err;
	}
	vq->enabled_ = 1;
	return 0;
}

/* What each call on an enabled queue begins with. */
static int usable(struct vmemdev_vq *vq)
{
	int err;

	if (vq->broken_ != 0)
		return vq->broken_;
	if (!vq->enabled_)
		return VMEMDEV_E_STATE;
	if (vq->generation_ != vq->guest_->generation_) {
		err = locate_ring(vq);
		if (err != 0)
			return vq_break(vq, err);
	}
	return 0;
}

int vmemdev_vq_pop(struct vmemdev_vq *vq, struct vmemdev_chain *chain)
{
	int err;

	if (!vq->enabled_)
		return 0;
	err = usable(vq);
	if (err != 0)
		return err;
	if (vq->open_)
		return VMEMDEV_E_STATE;
	err = vq->packed_ ? packed_pop(vq, chain) : split_pop(vq, chain);
	if (err < 0)
		return vq_break(vq, err);
	vq->open_ = (uint8_t)err;
	return err;
}

static void used(struct vmemdev_vq *vq, uint16_t id, uint32_t len, uint16_t slots)
{
	if (vq->packed_)
		packed_used(vq, id, len, slots);
	else
		split_used(vq, id, len, slots);
}

/* Write the IN_ORDER entry that was kept back for a newer one to stand for it. */
static void flush_pending(struct vmemdev_vq *vq)
{
	if (vq->pending_slots_ > 0)
		used(vq, vq->pending_id_, vq->pending_len_, vq->pending_slots_);
	vq->pending_slots_ = 0;
}

/*
 * One used entry may stand for all before it (2.7.9, 2.8.8). The driver then takes
 * the skipped ones as written to their full length, so only those that were may be.
 */
static void push_in_order(struct vmemdev_vq *vq, const struct vmemdev_held *held, uint32_t written)
{
	uint16_t slots = held->slots;

	if (vq->pending_slots_ > 0 && vq->pending_skippable_)
		slots = (uint16_t)(slots + vq->pending_slots_);
	else
		flush_pending(vq);
	vq->pending_id_ = held->id;
	vq->pending_len_ = written;
	vq->pending_slots_ = slots;
	vq->pending_skippable_ = held->writable == written;
	vq->order_pushed_++;
}

int vmemdev_vq_push(struct vmemdev_vq *vq, const struct vmemdev_held *held, uint32_t written)
{
	int err = usable(vq);

	if (err != 0)
		return err;
	if (held->slots == 0 || held->slots > vq->busy_ - vq->staged_ - vq->pending_slots_ -
						      (vq->packed_ ? 0 : vq->open_))
		return VMEMDEV_E_STATE;
	if (!vq->in_order_) {
		used(vq, held->id, written, held->slots);
		return 0;
	}
	if (held->order != vq->order_pushed_)
		return VMEMDEV_E_STATE;
	push_in_order(vq, held, written);
	return 0;
}

int vmemdev_vq_publish(struct vmemdev_vq *vq)
{
	uint16_t staged;
	int err;

	if (!vq->enabled_)
		return 0;
	err = usable(vq);
	if (err != 0)
		return err;
	flush_pending(vq);
	staged = vq->staged_;
	if (staged == 0)
		return 0;
	if (vq->packed_)
		packed_publish(vq);
	else
		split_publish(vq);
	vq->staged_ = 0;
	vq->busy_ = (uint16_t)(vq->busy_ - staged);
	if (vq->moved_ + staged > UINT16_MAX)
		vq->moved_unknown_ = 1;
	vq->moved_ = (uint16_t)(vq->moved_ + staged);
	return staged;
}

bool vmemdev_vq_should_notify(struct vmemdev_vq *vq)
{
	bool wanted;

	if ((vq->moved_ == 0 && !vq->moved_unknown_) || usable(vq) != 0)
		return false;
	/*
	 * Pairs with the driver's barrier between asking for a notification (used_event,
	 * flags, event suppression) and its last look at the used ring: either the driver
	 * sees what was published, or its wish is seen here.
	 */
	order_full();
	wanted = vq->packed_ ? packed_wants_notify(vq) : split_wants_notify(vq);
	vq->moved_ = 0;
	vq->moved_unknown_ = 0;
	return wanted;
}

int vmemdev_vq_save(const struct vmemdev_vq *vq, struct vmemdev_vq_state *state)
{
	if (!vq->enabled_ || vq->broken_ != 0 || vq->open_ || vq->staged_ > 0 ||
	    vq->pending_slots_ > 0)
		return VMEMDEV_E_STATE;
	memset(state, 0, sizeof(*state));
	state->next_avail = vq->next_avail_;
	state->next_used = vq->next_used_;
	state->busy = vq->busy_;
	state->order_popped = vq->order_popped_;
	state->order_pushed = vq->order_pushed_;
	state->avail_wrap = vq->avail_wrap_;
	state->used_wrap = vq->used_wrap_;
	return 0;
}

void vq_rewound(const struct vmemdev_vq *vq, struct vmemdev_vq_state *state)
{
	memset(state, 0, sizeof(*state));
	state->next_avail = vq->next_used_;
	state->next_used = vq->next_used_;
	state->avail_wrap = vq->used_wrap_;
	state->used_wrap = vq->used_wrap_;
}

bool vq_layout_possible(const struct vmemdev_vq_layout *layout, uint64_t features)
{
	const uint64_t gpa[3] = { layout->desc, layout->driver, layout->device };
	bool packed = features & VMEMDEV_F_RING_PACKED;
	struct vmemdev_vq vq = { .size_ = (uint16_t)layout->size, .packed_ = packed };
	struct vq_parts parts;

	if (!(packed ? packed_size_ok(layout->size) : split_size_ok(layout->size)))
		return false;
	ring_parts(&vq, &parts);
	return ((gpa[0] & (parts.align[0] - 1)) | (gpa[1] & (parts.align[1] - 1)) |
		(gpa[2] & (parts.align[2] - 1))) == 0;
}

void vq_park(struct vmemdev_vq *vq, const struct vmemdev_vq_layout *layout,
	     const struct vmemdev_vq_state *state, int err)
{
	vq->layout_ = *layout;
	vq->next_used_ = state->next_used;
	vq->used_wrap_ = state->used_wrap;
	vq->enabled_ = 1;
	vq_break(vq, err);
}

bool vq_restage(struct vmemdev_vq *vq, uint16_t staged, uint16_t first_flags)
{
	if (staged == 0)
		return first_flags == 0;
	if (staged > vq->size_)
		return false;
	if (!vq->packed_)
		vq->next_avail_ = vq->seen_avail_ = (uint16_t)(vq->next_used_ + staged);
	else if (!packed_restage(vq, staged, first_flags))
		return false;
	vq->staged_ = vq->busy_ = staged;
	return true;
}

/* Whether these positions could have come from a queue of @size entries in this format. */
static bool positions_possible(const struct vmemdev_vq_state *state, uint32_t size, bool packed)
{
	uint32_t distance;

	if (state->busy > size)
		return false;
	if (!packed)
		return state->avail_wrap == 0 && state->used_wrap == 0 &&
		       (uint16_t)(state->next_avail - state->next_used) == state->busy;
	if (state->avail_wrap > 1 || state->used_wrap > 1 || state->next_avail >= size ||
	    state->next_used >= size)
		return false;
	distance = state->avail_wrap == state->used_wrap ? 0 : size;
	return state->next_used + (uint32_t)state->busy == state->next_avail + distance;
}

/* IN_ORDER: as many chains are out as the busy positions can hold, or none could be pushed. */
static bool order_possible(const struct vmemdev_vq_state *state, bool packed)
{
	uint16_t chains = (uint16_t)(state->order_popped - state->order_pushed);

	if (!packed || state->busy == 0)
		return chains == state->busy;
	return chains > 0 && chains <= state->busy;
}

int vmemdev_vq_load(struct vmemdev_vq *vq, const struct vmemdev_vq_layout *layout,
		    uint64_t features, const struct vmemdev_vq_state *state)
{
	struct vmemdev_vq_layout given = *layout;
	bool packed = features & VMEMDEV_F_RING_PACKED;
	int err;

	if (vq->enabled_)
		return VMEMDEV_E_STATE;
	if (!positions_possible(state, given.size, packed) ||
	    ((features & VMEMDEV_F_IN_ORDER) && !order_possible(state, packed)))
		return VMEMDEV_E_INVAL;
	err = vmemdev_vq_enable(vq, &given, features);
	if (err != 0)
		return err;
	vq->next_avail_ = state->next_avail;
	vq->seen_avail_ = state->next_avail;
	vq->next_used_ = state->next_used;
	vq->busy_ = state->busy;
	vq->order_popped_ = state->order_popped;
	vq->order_pushed_ = state->order_pushed;
	vq->avail_wrap_ = state->avail_wrap;
	vq->used_wrap_ = state->used_wrap;
	vq->moved_unknown_ = 1;
	return 0;
}
