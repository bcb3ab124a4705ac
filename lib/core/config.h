/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VMEMDEV_CORE_CONFIG_H
#define VMEMDEV_CORE_CONFIG_H
/*
 * The rule of all config structs: uint32_t struct_size comes first, fields are only
 * ever appended, and what the library does not know must be zero.
 */
#include "core/names.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Copy the caller's config @src into @dst, which has the library's @size bytes;
 * @oldest is the struct's size in the first release that had it.
 * Returns 0, VMEMDEV_E_INVAL for NULL, or VMEMDEV_E_ABI.
 */
int config_take(void *dst, size_t size, size_t oldest, const void *src);

/* Whether the padding @pad of @len bytes is zero, as it must be. */
bool config_zero(const uint8_t *pad, size_t len);

#endif
