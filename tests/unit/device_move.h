/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DEVICE_MOVE_H
#define DEVICE_MOVE_H
/*
 * A rig's device saved, and a fresh one loaded in its place: same memory, same driver, which
 * notices nothing. The MMIO block is made anew; its own record is for mmio_state.c.
 */
#include "device_rig.h"

#define RECORD_MAX 8192

struct record {
	size_t len;
	uint8_t bytes[RECORD_MAX];
};

/* Save, which must succeed, within the size promised and not beyond the length told. */
void rig_save(struct rig *rig, struct record *record);

/* A fresh device of such a configuration (NULL: the usual one), connected, status 0. */
void rig_fresh_mem(struct rig *rig, const struct vmemdev_mem_config *config);
void rig_fresh_pmem(struct rig *rig, const struct vmemdev_pmem_config *config);
void rig_fresh_balloon(struct rig *rig, const struct vmemdev_balloon_config *config);

/* What loading answers. */
int rig_load(struct rig *rig, const struct record *record);

/* Save, and load into a fresh device, which must then save the same. */
void rig_move_mem(struct rig *rig, const struct vmemdev_mem_config *config);
void rig_move_pmem(struct rig *rig, const struct vmemdev_pmem_config *config);

/* Little-endian fields of a record. */
uint64_t record_get(const struct record *record, size_t at, size_t size);
void record_set(struct record *record, size_t at, size_t size, uint64_t value);

/* A field of a record set to what it cannot be, and the name that this has. */
struct damage {
	size_t at, size;
	uint64_t value;
	int err;
};

/* Load @good with each of @rows into a device that @fresh has made anew. */
void rig_expect_damages(struct rig *rig, const struct record *good, const struct damage *rows,
			size_t count, void (*fresh)(struct rig *rig));

/* Where things are in a record (lib/core/state.c). */
enum {
	REC_MAGIC = 0, REC_MAJOR = 4, REC_MINOR = 6, REC_LEN = 8, REC_ID = 12, REC_ACCEPTED = 16,
	REC_GENERATION = 24, REC_STATUS = 28, REC_FAULT = 29, REC_FLAGS = 30, REC_QUEUES = 31,
	REC_TYPE = 32 /* what the device type adds; then the queues */
};
enum {
	REC_Q_FLAGS = 0, REC_Q_WRAP = 1, REC_Q_POSITION = 2, REC_Q_STAGED = 4,
	REC_Q_FIRST_FLAGS = 6, REC_Q_SIZE = 8, REC_Q_DESC = 12, REC_Q_DRIVER = 20,
	REC_Q_DEVICE = 28, REC_Q_BYTES = 36
};

#endif /* DEVICE_MOVE_H */
