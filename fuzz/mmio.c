/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Boundary: the registers of a virtio-mmio block. The input's first byte also says whose: its
 * two upper bits name the device. Input: machine.h. Properties, besides those of machine.h
 * and world.h: an access that the text does not know has no effect and reads 0; a read has
 * none either; a doorbell changes nothing that a record tells; the line is up as long as an
 * interrupt is unacknowledged; status and features keep to their rules (steps.c, machine.c).
 */
#include "machine.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	machine_play(&plans[PLAN_MMIO], data, size);
	return 0;
}
