/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/config.h"
#include "core/libc.h"

#include <vmemdev/base.h>

bool config_zero(const uint8_t *pad, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (pad[i] != 0)
			return false;
	}
	return true;
}

int config_take(void *dst, size_t size, size_t oldest, const void *src)
{
	const uint8_t *bytes = src;
	uint32_t given;

	if (src == NULL)
		return VMEMDEV_E_INVAL;
	memcpy(&given, src, sizeof(given));
	if (given < oldest)
		return VMEMDEV_E_ABI;
	if (given > size && !config_zero(bytes + size, given - size))
		return VMEMDEV_E_ABI;
	memset(dst, 0, size);
	memcpy(dst, src, given < size ? given : size);
	return 0;
}
