/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Boundary: the requests to a memory device. Input: machine.h. Properties: machine.h,
 * world.h, host_mem.c.
 */
#include "machine.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	machine_play(&plans[PLAN_MEM], data, size);
	return 0;
}
