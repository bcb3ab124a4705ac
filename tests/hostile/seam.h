/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef HOSTILE_SEAM_H
#define HOSTILE_SEAM_H
/*
 * The library that these tests are linked with calls this before each read or write of guest
 * memory (lib/core/guest.h). Each program has its own.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void vmemdev_guest_seam(uint8_t *host, size_t len, bool write);

#endif /* HOSTILE_SEAM_H */
