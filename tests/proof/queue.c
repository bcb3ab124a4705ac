/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A virtqueue as virtqueue.h promises it, in the place of virtqueue.c, chain.c and the ring
 * formats, which ring.c and chain.c show on their own: any chains come, of any content.
 */
#include "core/vq.h"
#include "proof.h"

#include <string.h>

bool split_size_ok(uint32_t size)
{
	return size > 0 && size <= VMEMDEV_VQ_SIZE_MAX && (size & (size - 1)) == 0;
}

int vmemdev_vq_init(struct vmemdev_vq *vq, size_t vq_size, struct vmemdev_guest *g,
		    uint16_t size_max)
{
	(void)vq_size;
	memset(vq, 0, sizeof(*vq));
	vq->guest_ = g;
	vq->size_max_ = size_max;
	return 0;
}

void vmemdev_vq_reset(struct vmemdev_vq *vq)
{
	(void)vmemdev_vq_init(vq, sizeof(*vq), vq->guest_, vq->size_max_);
}

int vmemdev_vq_enable(struct vmemdev_vq *vq, const struct vmemdev_vq_layout *layout,
		      uint64_t features)
{
	struct vmemdev_vq_layout given = *layout;

	(void)features;
	if (vq->enabled_)
		return VMEMDEV_E_STATE;
	vq->layout_ = given;
	vq->enabled_ = any();
	return vq->enabled_ ? 0 : VMEMDEV_E_GUEST_RING;
}

int vmemdev_vq_load(struct vmemdev_vq *vq, const struct vmemdev_vq_layout *layout,
		    uint64_t features, const struct vmemdev_vq_state *state)
{
	(void)state;
	return any() ? VMEMDEV_E_INVAL : vmemdev_vq_enable(vq, layout, features);
}

static int broken(void)
{
	return any() ? VMEMDEV_E_GUEST_RING : VMEMDEV_E_GUEST_CHAIN;
}

int vq_break(struct vmemdev_vq *vq, int err)
{
	vq->broken_ = (int8_t)err;
	return err;
}

int vmemdev_vq_pop(struct vmemdev_vq *vq, struct vmemdev_chain *chain)
{
	if (!vq->enabled_ || any())
		return 0;
	if (any())
		return vq_break(vq, broken());
	anything(*chain);
	chain->vq_ = vq;
	return 1;
}

int vmemdev_chain_next(struct vmemdev_chain *chain, struct vmemdev_buf *buf)
{
	(void)chain;
	if (any())
		return any() ? 0 : broken();
	anything(*buf);
	return 1;
}

/* With STRICT, what was not read in full was not written to; else @dst is anything in any case. */
int32_t vmemdev_chain_read(struct vmemdev_chain *chain, void *dst, uint32_t len)
{
	(void)chain;
	if (dst != NULL && !STRICT)
		Frama_C_make_unknown(dst, len);
	if (any())
		return any() ? VMEMDEV_E_GUEST_ADDR : broken();
	if (!STRICT)
		return Frama_C_interval(0, (int32_t)len);
	if (any())
		return len > 0 ? Frama_C_interval(0, (int32_t)len - 1) : 0;
	if (dst != NULL)
		Frama_C_make_unknown(dst, len);
	return (int32_t)len;
}

bool chain_at_end(const struct vmemdev_chain *chain)
{
	(void)chain;
	return any();
}

int32_t vmemdev_chain_reserve(struct vmemdev_chain *chain, struct vmemdev_reply *reply,
			      uint32_t len)
{
	(void)chain;
	if (any())
		return any() ? VMEMDEV_E_GUEST_ADDR : broken();
	anything(*reply);
	return Frama_C_interval(0, (int32_t)len);
}

int vmemdev_reply_write(struct vmemdev_guest *g, const struct vmemdev_reply *reply,
			const void *src, uint32_t len)
{
	(void)g;
	(void)reply;
	/*@ assert readable: \valid_read((const uint8_t *)src + (0 .. len - 1));
	 */
	/*@ assert set: \initialized((const uint8_t *)src + (0 .. len - 1));
	 */
	return any() ? 0 : VMEMDEV_E_GUEST_ADDR;
}

int vmemdev_chain_finish(struct vmemdev_chain *chain, struct vmemdev_held *held)
{
	(void)chain;
	if (any())
		return broken();
	anything(*held);
	return 0;
}

int vmemdev_vq_push(struct vmemdev_vq *vq, const struct vmemdev_held *held, uint32_t written)
{
	(void)held;
	(void)written;
	return any() ? 0 : vq_break(vq, broken());
}

int vmemdev_vq_publish(struct vmemdev_vq *vq)
{
	return any() ? Frama_C_interval(0, VMEMDEV_VQ_SIZE_MAX) : vq_break(vq, broken());
}

bool vmemdev_vq_should_notify(struct vmemdev_vq *vq)
{
	(void)vq;
	return any();
}

void vq_rewound(const struct vmemdev_vq *vq, struct vmemdev_vq_state *state)
{
	(void)vq;
	anything(*state);
}

bool vq_layout_possible(const struct vmemdev_vq_layout *layout, uint64_t features)
{
	(void)layout;
	(void)features;
	return any();
}

void vq_park(struct vmemdev_vq *vq, const struct vmemdev_vq_layout *layout,
	     const struct vmemdev_vq_state *state, int err)
{
	(void)state;
	vq->layout_ = *layout;
	vq->enabled_ = 1;
	vq->broken_ = (int8_t)err;
}

bool vq_restage(struct vmemdev_vq *vq, uint16_t staged, uint16_t first_flags)
{
	(void)vq;
	(void)staged;
	(void)first_flags;
	return any();
}
