/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VMEMDEV_PROOF_H
#define VMEMDEV_PROOF_H
/*
 * What the entry points of the proof share. any...() is any value of its type, anew with each
 * call; an analysis follows all of them.
 */
#include <vmemdev/vmemdev.h>

#include <__fc_builtin.h>

static inline bool any(void)
{
	return Frama_C_interval(0, 1) == 1;
}

static inline uint8_t any8(void)
{
	return Frama_C_unsigned_char_interval(0, UINT8_MAX);
}

static inline uint16_t any16(void)
{
	return Frama_C_unsigned_short_interval(0, UINT16_MAX);
}

static inline uint32_t any32(void)
{
	return Frama_C_unsigned_int_interval(0, UINT32_MAX);
}

static inline uint64_t any64(void)
{
	return Frama_C_unsigned_long_long_interval(0, UINT64_MAX);
}

/* Bytes that anyone may have written. */
#define anything(object) Frama_C_make_unknown((char *)&(object), sizeof(object))

/* --- memory.c --- */

extern struct vmemdev_guest guest;

/*
 * How guest memory is shown: each piece ends where its object ends (@tight, for lengths that
 * the analysis knows exactly), or lies in an object of 1 MiB.
 */
void guest_setup(bool tight);

/* --- host.c --- */

/* A legal answer of a host callback: done, later, or an error. */
int any_answer(void);

/* Give @dev a transport that lets these features pass; to be called once. */
void attach(struct vmemdev_device *dev, uint64_t features);

/* A driver sets all queues up, somewhere, somehow. Returns whether it could. */
bool set_up(struct vmemdev_device *dev);

/* The same with @queue alone, and with all optional features or none. */
bool set_up_queue(struct vmemdev_device *dev, uint16_t queue);

/*
 * Something that a driver does to a running device, or its host. Returns whether all queues
 * are enabled after it; if not, reset() follows.
 */
bool drive(struct vmemdev_device *dev, uint16_t queue);

/* The same, but the features stay as they were accepted. */
bool drive_on(struct vmemdev_device *dev, uint16_t queue);

/* Load a record of @len bytes, which are anything. */
void load(struct vmemdev_device *dev, size_t len);

/* A reset, and what may be done to a device that is not set up. */
void reset(struct vmemdev_device *dev);

/* A driver's life with @dev: set up, then @act until it says that this is the end, and a reset. */
void live(struct vmemdev_device *dev, bool (*act)(struct vmemdev_device *dev));

#endif
