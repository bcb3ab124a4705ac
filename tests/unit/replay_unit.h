/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef REPLAY_UNIT_H
#define REPLAY_UNIT_H
/*
 * What the replay mode knows of a device: what it was made of, and what has been asked of it
 * that no record holds. The device calls its host and its transport through tables of the
 * unit's, so that a move is not heard of, and tokens go on where they were.
 */
#include <vmemdev/vmemdev.h>

#include "replay.h"

enum unit_kind { UNIT_BALLOON, UNIT_MEM, UNIT_PMEM };

#define UNIT_LISTENERS 8
#define UNIT_COUNTS 16
#define UNIT_RANGES 300

/* Work that the host has put off. */
struct unit_later {
	bool on;
	bool again;     /* after a move it was asked for once more */
	uint64_t token; /* the device's */
	int (*op)(void *ctx, const struct vmemdev_range *ranges, uint32_t count, uint64_t token);
	uint32_t count;
	struct vmemdev_range ranges[UNIT_RANGES];
};

struct unit {
	struct unit *next;
	struct vmemdev_device *dev;
	void *object;
	size_t size;
	enum unit_kind kind;
	union {
		struct vmemdev_balloon_config balloon;
		struct vmemdev_mem_config mem;
		struct vmemdev_pmem_config pmem;
	} config; /* as given, but for ops and ctx */
	struct vmemdev_balloon_ops balloon_ops;
	struct vmemdev_mem_ops mem_ops;
	struct vmemdev_pmem_ops pmem_ops;
	const void *given_ops;
	void *given_ctx;

	const struct vmemdev_transport_ops *transport; /* NULL: none, or mmio */
	void *transport_ctx;
	uint64_t transport_features;
	struct vmemdev_mmio *mmio;
	struct vmemdev_mmio_config mmio_config;

	struct vmemdev_mem_listener *listeners[UNIT_LISTENERS];
	uint32_t listener_count;
	uint32_t inhibits;
	bool behind, catching_up; /* discards are to be made up for; that has begun */
	uint64_t stats_updated; /* what a set that is taken again was told */
	uint64_t report_limit, report_seen;
	uint64_t counts[UNIT_COUNTS]; /* of the devices before this one */

	struct unit_later later;
	uint64_t token_base, token_last; /* the test's, when this device was made; the newest */
	bool ended;      /* what was put off has, and no run has answered the guest yet */
	int end_result;
	uint32_t taken;  /* chains that were taken and are not pushed */
	const void *half_read; /* the queue of the chain that is open */
	bool looks;      /* the load has wanted all queues to be looked at */
	bool told;       /* the load has found the driver something to be told */
	bool quiet;      /* a move is on: nobody is told */
	bool spoilt;     /* a load failed: only init helps */
};

/* The unit of a device, or NULL. */
struct unit *unit_of(const struct vmemdev_device *dev);

/* The device behind a register block, or NULL. */
struct vmemdev_device *unit_behind(const struct vmemdev_mmio *mmio);

/* Whatever there was is gone. */
void unit_forget_all(void);

/* An object has been initialised: its unit, all else forgotten. */
struct unit *unit_make(struct vmemdev_device *dev, void *object, size_t size,
		       enum unit_kind kind);

/* Put the unit's tables in the place of those in its config. */
void unit_redirect(struct unit *u);
extern const struct vmemdev_transport_ops unit_transport;
void unit_interrupt(void *ctx, bool level);

/* The device's token for one that the test was given. */
uint64_t unit_token(const struct unit *u, uint64_t given);

void unit_unlisten(struct unit *u, const struct vmemdev_mem_listener *listener);
void unit_limit(struct unit *u, uint64_t bytes);

/* Add what the devices before @object have counted. */
void unit_add_counts(const void *object, void *counts, size_t size);

/* Save, make afresh, load, and do the host's part again; or not, as replay.h says. */
void unit_step(struct unit *u);

#endif /* REPLAY_UNIT_H */
