/* SPDX-License-Identifier: BSD-3-Clause */
/* Register accesses of any offset, width and value; a device that is set up by them. */
#include "pmem_device.h"

static struct vmemdev_mmio mmio;

static void interrupt(void *ctx, bool level)
{
	(void)ctx;
	(void)level;
}

static bool init(void)
{
	struct vmemdev_mmio_config config = { 0 };

	if (!init_pmem())
		return false;
	config.struct_size = sizeof(config);
	config.device = vmemdev_pmem_device(&pmem);
	config.interrupt = interrupt;
	return vmemdev_mmio_init(&mmio, sizeof(mmio), &config) == 0;
}

static void keep(void)
{
	uint8_t record[VMEMDEV_MMIO_SAVE_SIZE];

	vmemdev_mmio_save(&mmio, record, sizeof(record));
	anything(record);
	vmemdev_mmio_load(&mmio, record, sizeof(record));
}

void main(void)
{
	guest_setup(false);
	if (!init())
		return;
	while (any()) {
		if (any())
			vmemdev_mmio_read(&mmio, any64(), any32());
		else if (any())
			vmemdev_mmio_write(&mmio, any64(), any32(), any64());
		else
			keep();
	}
}
