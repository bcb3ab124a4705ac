/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A balloon, a memory device and a persistent memory device in one machine: sequences of
 * register accesses, memory changes and host calls of the whole interface. Input: machine.h.
 * Properties, besides those of machine.h, world.h and the hosts: a step of one device leaves
 * the others' state as it was.
 */
#include "machine.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	machine_play(&plans[PLAN_DEVICE], data, size);
	return 0;
}
