/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VMEMDEV_CORE_LIBC_H
#define VMEMDEV_CORE_LIBC_H
/*
 * All that the pure library needs from outside: the four functions that a compiler
 * asks of any freestanding environment.
 */
#include <stddef.h>

void *memcpy(void *dst, const void *src, size_t n);
void *memmove(void *dst, const void *src, size_t n);
void *memset(void *dst, int byte, size_t n);
int memcmp(const void *a, const void *b, size_t n);

#endif
