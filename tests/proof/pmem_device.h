/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VMEMDEV_PROOF_PMEM_DEVICE_H
#define VMEMDEV_PROOF_PMEM_DEVICE_H
/* A persistent memory device, for its own entry points and for those of the registers. */
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

static bool init_pmem(void)
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

#endif
