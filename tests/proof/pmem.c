/* SPDX-License-Identifier: BSD-3-Clause */
/* The persistent memory device: flushes that end at once and later. */
#include "proof.h"

static struct vmemdev_pmem pmem;
static struct vmemdev_pmem_request requests[4];

static int flush(void *ctx, uint64_t token)
{
	(void)ctx;
	(void)token;
	return any_answer();
}

static const struct vmemdev_pmem_ops ops = { flush };

static bool init(void)
{
	struct vmemdev_pmem_config config = { 0 };

	config.struct_size = sizeof(config);
	config.requests = requests;
	config.request_count = sizeof(requests) / sizeof(requests[0]);
	config.addr = UINT64_C(1) << 32;
	config.size = UINT64_C(1) << 30;
	config.shmem_region = any();
	config.device.guest = &guest;
	config.device.features_on = VMEMDEV_F_RING_PACKED | VMEMDEV_F_IN_ORDER;
	config.ops = &ops;
	return vmemdev_pmem_init(&pmem, sizeof(pmem), &config) == 0;
}

static void life(struct vmemdev_device *dev)
{
	if (set_up(dev)) {
		while (any()) {
			if (any())
				vmemdev_pmem_complete(&pmem, any64(), Frama_C_interval(-95, 1));
			else if (!drive(dev, 0))
				break;
		}
	}
	reset(dev);
}

void main(void)
{
	struct vmemdev_device *dev = vmemdev_pmem_device(&pmem);

	guest_setup(false);
	if (!init())
		return;
	attach(dev, any64());
#ifdef RECORD
	load(dev, RECORD);
#else
	while (any())
		life(dev);
#endif
}
