/* SPDX-License-Identifier: BSD-3-Clause */
/* Bytes moved in and out of a chain, and room set aside: 24 of a request, 16 of an answer. */
#include "proof.h"

static struct vmemdev_vq vq;

static void read_some(struct vmemdev_chain *chain)
{
	uint8_t bytes[24];

	vmemdev_chain_read(chain, bytes, sizeof(bytes));
}

static void write_some(struct vmemdev_chain *chain)
{
	uint8_t bytes[24] = { 0 };

	vmemdev_chain_write(chain, bytes, sizeof(bytes));
}

static void reserve(struct vmemdev_chain *chain)
{
	uint8_t bytes[VMEMDEV_REPLY_MAX] = { 0 };
	struct vmemdev_reply reply;

	if (vmemdev_chain_reserve(chain, &reply, sizeof(bytes)) >= 0)
		vmemdev_reply_write(&guest, &reply, bytes, sizeof(bytes));
}

static void use(struct vmemdev_chain *chain)
{
	while (any()) {
		switch (Frama_C_interval(0, 3)) {
		case 0:
			read_some(chain);
			break;
		case 1:
			vmemdev_chain_read(chain, NULL, any32());
			break;
		case 2:
			write_some(chain);
			break;
		default:
			reserve(chain);
			break;
		}
	}
}

static void serve(void)
{
	struct vmemdev_chain chain;
	struct vmemdev_held held;

	if (vmemdev_vq_pop(&vq, &chain) <= 0)
		return;
	use(&chain);
	vmemdev_chain_finish(&chain, &held);
}

void main(void)
{
	struct vmemdev_vq_layout layout = { any64(), any64(), any64(), any32(), 0 };

	guest_setup(false);
	if (vmemdev_vq_init(&vq, sizeof(vq), &guest, 32768) != 0 ||
	    vmemdev_vq_enable(&vq, &layout, any64()) != 0)
		return;
	serve();
}
