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

/* The bits of the word that @bit lies in, from @bit on and before @end. */
static uint64_t mask_of(uint64_t bit, uint64_t end)
{
	uint64_t mask = UINT64_MAX << (bit & 63);

	if (end - (bit & ~UINT64_C(63)) < 64)
		mask &= (UINT64_C(1) << (end & 63)) - 1;
	return mask;
}

void bitmap_fill(uint64_t *bits, uint64_t first, uint64_t end, bool value)
{
	for (uint64_t bit = first; bit < end; bit = (bit | 63) + 1) {
		if (value)
			bits[bit >> 6] |= mask_of(bit, end);
		else
			bits[bit >> 6] &= ~mask_of(bit, end);
	}
}

/* How many bits are set. Without the compiler's builtin, which may want libgcc. */
static uint64_t ones(uint64_t word)
{
	word -= word >> 1 & UINT64_C(0x5555555555555555);
	word = (word & UINT64_C(0x3333333333333333)) + (word >> 2 & UINT64_C(0x3333333333333333));
	word = (word + (word >> 4)) & UINT64_C(0x0f0f0f0f0f0f0f0f);
	return word * UINT64_C(0x0101010101010101) >> 56;
}

uint64_t bitmap_count(const uint64_t *bits, uint64_t first, uint64_t end)
{
	uint64_t sum = 0;

	for (uint64_t bit = first; bit < end; bit = (bit | 63) + 1)
		sum += ones(bits[bit >> 6] & mask_of(bit, end));
	return sum;
}

uint64_t bitmap_change(uint64_t *bits, uint64_t first, uint64_t end, bool value)
{
	uint64_t changed, sum = 0;

	for (uint64_t bit = first; bit < end; bit = (bit | 63) + 1) {
		changed = (value ? ~bits[bit >> 6] : bits[bit >> 6]) & mask_of(bit, end);
		bits[bit >> 6] ^= changed;
		sum += ones(changed);
	}
	return sum;
}
