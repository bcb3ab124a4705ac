/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Boundary: the buffers of a balloon: page numbers, free ranges, commands and statistics.
 * Input: machine.h. Properties: machine.h, world.h, host_balloon.c.
 */
#include "machine.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	machine_play(&plans[PLAN_BALLOON], data, size);
	return 0;
}
