/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef REPLAY_H
#define REPLAY_H
/*
 * The replay mode: VMEMDEV_REPLAY=PERCENT in the environment of a suite. After each call
 * that a test makes to a device or a queue, or after a random PERCENT of them, the object is
 * saved, its memory is overwritten, a fresh one of the same configuration is initialised in
 * the same place and loaded, and what the headers leave to the host is done again. The test
 * must not notice. VMEMDEV_REPLAY_SEED=N chooses other random calls.
 *
 * Nothing in a suite knows of this: the linker leads its calls, and those of the rigs and of
 * the model driver, through replay_device.c or replay_vq.c (--wrap), and the two objects at
 * once: devices in one kind of suite, bare queues in the other. Calls that the library makes
 * to itself, or that callbacks make, are no steps.
 *
 * replay.c holds the list of tests that a move would rightly disturb, with the reasons.
 */
#include <stdbool.h>
#include <stdint.h>

/* Declares and defines what calls of @name become; the library's own is __real_@name. */
#define REPLAY_WRAP(type, name, params)                                                           \
	type __real_##name params;                                                                \
	type __wrap_##name params;                                                                \
	type __wrap_##name params

/* Whether the mode is on. */
bool replay_on(void);

/* Whether this step is one to move at. */
bool replay_wanted(void);

/* The objects of the test before are gone. */
void replay_next_test(void);

/* What became of a step. */
enum replay_fate {
	REPLAY_MOVED,
	REPLAY_REFUSED, /* save answered VMEMDEV_E_STATE, as documented */
	REPLAY_PASSED   /* the test would see what is documented to be lost */
};
void replay_count(enum replay_fate fate);

/* Overwrite @len bytes at @at with what no fresh object holds. */
void replay_spoil(void *at, uint64_t len);

/* End the test: the library has not done its part. */
void replay_fail(const char *what, int64_t got);

#endif /* REPLAY_H */
