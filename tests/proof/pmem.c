/* SPDX-License-Identifier: BSD-3-Clause */
/* The persistent memory device: flushes that end at once and later. */
#include "pmem_device.h"

static bool act(struct vmemdev_device *dev)
{
	if (any()) {
		vmemdev_pmem_complete(&pmem, any64(), Frama_C_interval(-95, 1));
		return true;
	}
	return drive(dev, 0);
}

void main(void)
{
	struct vmemdev_device *dev = vmemdev_pmem_device(&pmem);

	guest_setup(false);
	if (!init_pmem())
		return;
	attach(dev, any64());
#ifdef RECORD
	load(dev, RECORD);
#else
	while (any())
		live(dev, act);
#endif
}
