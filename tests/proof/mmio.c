/* SPDX-License-Identifier: BSD-3-Clause */
/* Register accesses of any offset, width and value; a device that is set up by them. */
#include "proof.h"

static struct vmemdev_pmem pmem;
static struct vmemdev_pmem_request requests[1];
static struct vmemdev_mmio mmio;

static int flush(void *ctx, uint64_t token)
{
	(void)ctx;
	(void)token;
	return any_answer();
}

static void interrupt(void *ctx, bool level)
{
	(void)ctx;
	(void)level;
}

static const struct vmemdev_pmem_ops ops = { flush };

static bool init_pmem(void)
{
	struct vmemdev_pmem_config config = { 0 };

	config.struct_size = sizeof(config);
	config.requests = requests;
	config.request_count = 1;
	config.addr = UINT64_C(1) << 32;
	config.size = UINT64_C(1) << 30;
	config.shmem_region = any();
	config.device.guest = &guest;
	config.device.features_on = VMEMDEV_F_RING_PACKED | VMEMDEV_F_IN_ORDER;
	config.ops = &ops;
	return vmemdev_pmem_init(&pmem, sizeof(pmem), &config) == 0;
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
