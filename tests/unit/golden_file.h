/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef GOLDEN_FILE_H
#define GOLDEN_FILE_H
/* The files of golden/, which says what they are. */
#include <stdbool.h>

#include "device_move.h"

/* Read NAME-MAJOR.MINOR.hex. returns: whether there is such a file */
bool golden_read(const char *name, uint32_t major, uint32_t minor, struct record *record);

/*
 * Write it, if VMEMDEV_GOLDEN_WRITE is set; a file that is there is an error, as it must stay.
 * returns: whether it was written
 */
bool golden_write(const char *name, uint32_t major, uint32_t minor, const char *what,
		  const struct record *record);

#endif /* GOLDEN_FILE_H */
