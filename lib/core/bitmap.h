/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VMEMDEV_CORE_BITMAP_H
#define VMEMDEV_CORE_BITMAP_H
/*
 * Bits in 64-bit words, bit 0 of word 0 first, looked at and changed a word at a time.
 */
#include "core/names.h"

#include <stdbool.h>
#include <stdint.h>

/* The first bit in [first, end) whose value is not @value, or @end. */
uint64_t bitmap_run_end(const uint64_t *bits, uint64_t first, uint64_t end, bool value);

/* Give the bits [first, end) the value @value. */
void bitmap_fill(uint64_t *bits, uint64_t first, uint64_t end, bool value);

/* How many of the bits [first, end) are set. */
uint64_t bitmap_count(const uint64_t *bits, uint64_t first, uint64_t end);

/* As bitmap_fill(). Returns how many bits had the other value. */
uint64_t bitmap_change(uint64_t *bits, uint64_t first, uint64_t end, bool value);

#endif
