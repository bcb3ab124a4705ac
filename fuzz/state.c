/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Boundary: saved records of each device type and of the register block. Records are bytes of
 * the input as they are, such bytes behind a header made for them, or a record of the device
 * as it stands with bytes replaced. What loads is run against hostile memory, and saved
 * again. The two upper bits of the first byte name the device. Input: machine.h. Properties:
 * machine.h, world.h, records.c.
 */
#include "machine.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	machine_play(&plans[PLAN_STATE], data, size);
	return 0;
}
