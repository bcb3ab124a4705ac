/* SPDX-License-Identifier: BSD-3-Clause */
/* Boundary: the split ring. Input and properties: ring.c. */
#include "ring.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	ring_play(data, size, false);
	return 0;
}
