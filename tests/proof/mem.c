/* SPDX-License-Identifier: BSD-3-Clause */
/* The memory device: requests, the host's answers at once and later, changes of the size. */
#include "proof.h"

#define BLOCK (UINT64_C(2) << 20)
#define BLOCKS 70

static struct vmemdev_mem mem;
static uint64_t bitmap[(BLOCKS + 63) / 64];

static int change(void *ctx, const struct vmemdev_range *ranges, uint32_t count, uint64_t token)
{
	(void)ctx;
	(void)token;
	/*@ assert given: \valid_read(ranges + (0 .. count - 1)) && count > 0;
	 */
	return any_answer();
}

static void plugged(void *ctx, uint64_t bytes)
{
	(void)ctx;
	(void)bytes;
}

static int hear_plug(void *ctx, const struct vmemdev_range *ranges, uint32_t count)
{
	(void)ctx;
	/*@ assert given: \valid_read(ranges + (0 .. count - 1)) && count > 0;
	 */
	return Frama_C_interval(-95, 0);
}

static void hear_unplug(void *ctx, const struct vmemdev_range *ranges, uint32_t count)
{
	(void)ctx;
	/*@ assert given: \valid_read(ranges + (0 .. count - 1)) && count > 0;
	 */
}

static const struct vmemdev_mem_ops ops = { change, change, plugged };
static struct vmemdev_mem_listener listener = { hear_plug, hear_unplug, NULL, NULL };

static bool init(void)
{
	struct vmemdev_mem_config config = { 0 };

	config.struct_size = sizeof(config);
	config.addr = UINT64_C(1) << 32;
	config.region_size = BLOCKS * BLOCK;
	config.block_size = BLOCK;
	config.slack = 16 * BLOCK;
	config.bitmap = bitmap;
	config.bitmap_words = sizeof(bitmap) / sizeof(bitmap[0]);
	config.device.guest = &guest;
	config.device.features_on = VMEMDEV_F_RING_PACKED;
	config.ops = &ops;
	return vmemdev_mem_init(&mem, sizeof(mem), &config) == 0;
}

static bool act(struct vmemdev_device *dev)
{
	struct vmemdev_range run;

	switch (Frama_C_interval(0, 4)) {
	case 0:
		vmemdev_mem_set_requested(&mem, any64());
		return true;
	case 1:
		vmemdev_mem_complete(&mem, any64(), Frama_C_interval(-95, 1));
		return true;
	case 2:
		vmemdev_mem_next(&mem, any64(), any(), &run);
		return true;
	default:
		return drive(dev, 0);
	}
}

void main(void)
{
	struct vmemdev_device *dev = vmemdev_mem_device(&mem);

	guest_setup(false);
	if (!init())
		return;
	attach(dev, any64());
#ifdef RECORD
	load(dev, RECORD);
#else
	vmemdev_mem_listen(&mem, &listener);
	while (any())
		live(dev, act);
#endif
}
