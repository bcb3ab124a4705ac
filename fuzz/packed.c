/* SPDX-License-Identifier: BSD-3-Clause */
/* Boundary: the packed ring. Input and properties: ring.c. */
#include "ring.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	ring_play(data, size, true);
	return 0;
}
