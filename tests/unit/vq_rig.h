/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VQ_RIG_H
#define VQ_RIG_H
/*
 * What the virtqueue suites share: a guest with eight regions, a ring of the model
 * driver in the first of them, and the device's queue on it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "guest/queue.h"

#define PACKED VMEMDEV_F_RING_PACKED
#define EVENT VMEMDEV_F_EVENT_IDX
#define INDIRECT VMEMDEV_F_INDIRECT_DESC
#define ORDER VMEMDEV_F_IN_ORDER

/* The eight regions. The second follows the first without a hole, in the guest but not
 * in the host; so does the fourth the third; the last ends at 2^64. */
enum rig_region { MAIN, NEXT, ISLAND, ROM, KEEP, HIGH, HIGHER, TOP, RIG_REGIONS };
extern const struct guest_region rig_regions[RIG_REGIONS];

/* Entries that an indirect table of a rig's queue has room for, up to this ring size. */
#define RIG_TABLE 16
#define RIG_TABLE_QUEUE 256

#define RIG_SIZES 6
extern const uint32_t rig_sizes[RIG_SIZES]; /* 1, 2, 3, 7, 256, 32768 */

#define COUNT(a) ((uint32_t)(sizeof(a) / sizeof((a)[0])))

struct vq_rig {
	struct guest_memory mem;
	struct guest_queue q;
	struct vmemdev_vq vq;
	uint64_t features;
	bool packed;
};

/* Guest, driver and an enabled queue. The case is named if the test then fails. */
void rig_open(struct vq_rig *rig, uint64_t features, uint32_t size);
void rig_open_mode(struct vq_rig *rig, enum guest_mode mode, uint64_t features, uint32_t size);
void rig_close(struct vq_rig *rig);

/* Name the case that the test is at, for its failure message. */
void rig_say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A test whose failure names its case. */
#define RIG_TEST(name) cmocka_unit_test_teardown(name, rig_report)
int rig_report(void **state);

/* Call @body with a fresh rig for each combination of format and the features in
 * @vary, on top of @always, and for each ring size up to @size_max that the format
 * can have. */
void rig_each(uint64_t always, uint64_t vary, uint32_t size_max, void (*body)(struct vq_rig *));

/* Room for @len bytes in the main region, as a buffer. */
struct vmemdev_buf rig_buf(struct vq_rig *rig, uint32_t len, bool writable);

/* Add one chain of one 16-byte buffer, or of given ones, and publish. Returns the ID. */
int rig_send(struct vq_rig *rig, bool writable, uint64_t tag);
int rig_send_bufs(struct vq_rig *rig, const struct vmemdev_buf *bufs, uint32_t count,
		  const struct guest_add *how);

/* Pop and finish one chain; there must be one. */
struct vmemdev_held rig_take(struct vq_rig *rig);
/* Push and publish. */
void rig_give(struct vq_rig *rig, const struct vmemdev_held *held, uint32_t written);
/* There must be nothing to pop. */
void rig_empty(struct vq_rig *rig);
/* The driver must see this one used. */
void rig_used(struct vq_rig *rig, int id, uint32_t len);
void rig_none_used(struct vq_rig *rig);

/* Let one chain through: send, take, give, poll. */
void rig_lap(struct vq_rig *rig);
void rig_laps(struct vq_rig *rig, uint32_t count);

#endif /* VQ_RIG_H */
