/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Boundary: the flush requests to a persistent memory device. Input: machine.h. Properties:
 * machine.h, world.h, host_pmem.c.
 */
#include "machine.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	machine_play(&plans[PLAN_PMEM], data, size);
	return 0;
}
