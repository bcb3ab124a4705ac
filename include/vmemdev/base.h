/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VMEMDEV_BASE_H
#define VMEMDEV_BASE_H
/**
 * @file base.h - errors, ranges and the version; what every other header needs.
 *
 * Purpose: one way to be wrong. Each function that can fail returns 0 or a
 * count on success and a negative enum vmemdev_err otherwise; on error nothing
 * was changed. The error's range says who has to act.
 *
 * Trust: nothing here touches the guest. Threads: everything here may be called
 * from any thread at any time.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define VMEMDEV_VERSION_MAJOR 0
#define VMEMDEV_VERSION_MINOR 1
#define VMEMDEV_VERSION_PATCH 0

/** Errors are negative. Values never change their meaning between releases. */
enum vmemdev_err {
	VMEMDEV_OK = 0,

	/**
	 * Not an error: a host callback that answers this has started the work
	 * and will report its end through the device's complete function.
	 */
	VMEMDEV_LATER = 1,

	/* -1 to -31: the host called us wrongly. Nothing was changed. */
	VMEMDEV_E_INVAL = -1,   /* an argument is outside its documented values */
	VMEMDEV_E_ABI = -2,     /* the caller's sizeof() is not this library's */
	VMEMDEV_E_STATE = -3,   /* the call does not fit the object's state */
	VMEMDEV_E_NOSPC = -4,   /* a buffer of the caller's is too small */
	VMEMDEV_E_SIZE = -5,    /* a size is zero, too large or not a multiple */
	VMEMDEV_E_ALIGN = -6,   /* an address is not aligned as documented */
	VMEMDEV_E_OVERLAP = -7, /* regions overlap or are not in order */
	VMEMDEV_E_FEATURE = -8, /* a feature set that this device cannot keep */
	VMEMDEV_E_REACH = -9,   /* guest memory lies where this device cannot name it */

	/* -16 to -19: a saved record that cannot be loaded here. */
	VMEMDEV_E_RECORD = -16,   /* damaged, cut off, or no record of this kind */
	VMEMDEV_E_VERSION = -17,  /* written by a newer release than this library can read */
	VMEMDEV_E_MISMATCH = -18, /* of another device, or of one configured otherwise */

	/* -32 to -63: the guest broke the specification. The device needs a reset. */
	VMEMDEV_E_GUEST_RING = -32,  /* a ring index or ring address is impossible */
	VMEMDEV_E_GUEST_CHAIN = -33, /* a looped, too long or mis-ordered chain */
	VMEMDEV_E_GUEST_ADDR = -34,  /* a needed buffer is not in guest memory */
	VMEMDEV_E_GUEST_REPLY = -35, /* a request without room for its answer */

	/* -64 to -95: the host's own work failed; passed on, device state kept. */
	VMEMDEV_E_HOST = -64, /* a host callback failed */
	VMEMDEV_E_BUSY = -65  /* a host callback cannot do it now */
};

/** Guest-physical bytes [gpa, gpa + len). */
struct vmemdev_range {
	uint64_t gpa;
	uint64_t len;
};

/**
 * The error's meaning in one English sentence, for logs.
 * returns: a static string, never NULL, also for numbers that are no error
 */
const char *vmemdev_strerror(int err);

/**
 * The version of the library that is linked, which may be newer than the header.
 * returns: major << 16 | minor << 8 | patch
 */
uint32_t vmemdev_version(void);

#ifdef __cplusplus
}
#endif
#endif /* VMEMDEV_BASE_H */
