/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VMEMDEV_CORE_LIBC_H
#define VMEMDEV_CORE_LIBC_H
/*
 * Stands before lib/core/libc.h while the library is analysed: the analyser knows the four
 * memory functions, and what they require, by its own header.
 */
#include <stddef.h>
#include <string.h>

#endif
