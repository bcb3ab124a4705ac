/* SPDX-License-Identifier: BSD-3-Clause */
#include "proof.h"

#ifndef SIZE
#define SIZE 8
#endif
#ifndef LOADED
#define LOADED 0
#endif

static struct vmemdev_vq vq;

static void walk(struct vmemdev_chain *chain)
{
	struct vmemdev_buf buf;

	while (any())
		vmemdev_chain_next(chain, &buf);
}

static void serve(void)
{
	struct vmemdev_chain chain;
	struct vmemdev_held held;

	if (vmemdev_vq_pop(&vq, &chain) > 0) {
		walk(&chain);
		vmemdev_chain_finish(&chain, &held);
	}
}

static void give_back(void)
{
	struct vmemdev_held held;

	anything(held);
	vmemdev_vq_push(&vq, &held, any32());
}

static void work(void)
{
	while (any()) {
		switch (Frama_C_interval(0, 3)) {
		case 0:
			serve();
			break;
		case 1:
			give_back();
			break;
		case 2:
			vmemdev_vq_publish(&vq);
			vmemdev_vq_should_notify(&vq);
			break;
		case 3:
			vmemdev_guest_changed(&guest);
			break;
		}
	}
}

static void start(uint64_t features)
{
	struct vmemdev_vq_layout layout = { any64(), any64(), any64(), SIZE, 0 };
	struct vmemdev_vq_state state;

	guest_setup(!INDIRECT);
	if (vmemdev_vq_init(&vq, sizeof(vq), &guest, 32768) != 0)
		return;
	anything(state);
#if LOADED
	if (vmemdev_vq_load(&vq, &layout, features, &state) == 0)
#else
	if (vmemdev_vq_enable(&vq, &layout, features) == 0)
#endif
		work();
}

void main(void)
{
	uint64_t features = any64() & VMEMDEV_F_IN_ORDER;

	if (PACKED)
		features |= VMEMDEV_F_RING_PACKED;
	if (INDIRECT)
		features |= VMEMDEV_F_INDIRECT_DESC;

	if (any())
		start(features);
	else
		start(features | VMEMDEV_F_EVENT_IDX);
}
