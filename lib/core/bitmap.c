/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/bitmap.h"

/* Position of the lowest set bit; @word is not 0. No libgcc helper is wanted. */
static uint32_t lowest(uint64_t word)
{
	uint32_t half = (uint32_t)word;

	if (half != 0)
		return (uint32_t)__builtin_ctz(half);
	return 32 + (uint32_t)__builtin_ctz((uint32_t)(word >> 32));
}

uint64_t bitmap_run_end(const uint64_t *bits, uint64_t first, uint64_t end, bool value)
{
	const uint64_t invert = value ? UINT64_MAX : 0;
	uint64_t bit = first, word;

	while (bit < end) {
		word = (bits[bit >> 6] ^ invert) & (UINT64_MAX << (bit & 63));
		if (word != 0) {
			bit = (bit & ~UINT64_C(63)) + lowest(word);
			return bit < end ? bit : end;
		}
		bit = (bit | 63) + 1;
	}
	return end;
}

void bitmap_fill(uint64_t *bits, uint64_t first, uint64_t end, bool value)
{
	uint64_t bit = first, mask;

	while (bit < end) {
		mask = UINT64_MAX << (bit & 63);
		if (end - (bit & ~UINT64_C(63)) < 64)
			mask &= (UINT64_C(1) << (end & 63)) - 1;
		if (value)
			bits[bit >> 6] |= mask;
		else
			bits[bit >> 6] &= ~mask;
		bit = (bit | 63) + 1;
	}
}
