/* SPDX-License-Identifier: BSD-3-Clause */
#include "vq_rig.h"

const struct guest_region rig_regions[RIG_REGIONS] = {
	[MAIN] = { 0x100000, 0x200000, 0 },
	[NEXT] = { 0x300000, 0x10000, 0 },
	[ISLAND] = { 0x400000, 0x10000, 0 },
	[ROM] = { 0x410000, 0x10000, VMEMDEV_REGION_READONLY },
	[KEEP] = { 0x500000, 0x10000, VMEMDEV_REGION_KEEP },
	[HIGH] = { UINT64_C(0x100000000), 0x10000, 0 },
	[HIGHER] = { UINT64_C(0x8000000000), 0x10000, 0 },
	[TOP] = { UINT64_C(0xffffffffffff0000), 0x10000, 0 },
};

const uint32_t rig_sizes[RIG_SIZES] = { 1, 2, 3, 7, 256, 32768 };

static char at_case[128];

void rig_say(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(at_case, sizeof(at_case), format, args);
	va_end(args);
}

int rig_report(void **state)
{
	(void)state;
	if (at_case[0] != '\0')
		print_message("    in the case: %s\n", at_case);
	at_case[0] = '\0';
	return 0;
}

void rig_open_mode(struct vq_rig *rig, enum guest_mode mode, uint64_t features, uint32_t size)
{
	const bool tables = (features & INDIRECT) != 0 && size <= RIG_TABLE_QUEUE;
	const struct guest_queue_config config = {
		.features = features,
		.size = size,
		.table_entries = tables ? RIG_TABLE : 0,
	};

	rig_say("%s%s%s%s, size %u%s", (features & PACKED) != 0 ? "packed" : "split",
		(features & EVENT) != 0 ? " event_idx" : "",
		(features & INDIRECT) != 0 ? " indirect" : "",
		(features & ORDER) != 0 ? " in_order" : "", size,
		mode == GUEST_TABLE ? "" : ", callbacks");
	rig->features = features;
	rig->packed = (features & PACKED) != 0;
	guest_memory_open(&rig->mem, mode, rig_regions, RIG_REGIONS);
	guest_queue_open(&rig->q, &rig->mem, &config);
	assert_int_equal(vmemdev_vq_init(&rig->vq, sizeof(rig->vq), &rig->mem.guest,
					 VMEMDEV_VQ_SIZE_MAX), 0);
	assert_int_equal(vmemdev_vq_enable(&rig->vq, &rig->q.layout, features), 0);
}

void rig_open(struct vq_rig *rig, uint64_t features, uint32_t size)
{
	rig_open_mode(rig, GUEST_TABLE, features, size);
}

void rig_close(struct vq_rig *rig)
{
	guest_queue_close(&rig->q);
	guest_memory_close(&rig->mem);
	at_case[0] = '\0';
}

static bool size_fits(uint64_t features, uint32_t size)
{
	return (features & PACKED) != 0 || (size & (size - 1)) == 0;
}

void rig_each(uint64_t always, uint64_t vary, uint32_t size_max, void (*body)(struct vq_rig *))
{
	const uint64_t bits[] = { PACKED, EVENT, INDIRECT, ORDER };
	struct vq_rig rig;

	for (uint32_t mix = 0; mix < 16; mix++) {
		uint64_t features = 0;

		for (uint32_t i = 0; i < COUNT(bits); i++)
			features |= (mix >> i & 1) != 0 ? bits[i] : 0;
		if ((features & ~(vary | PACKED)) != 0)
			continue;
		for (uint32_t i = 0; i < RIG_SIZES && rig_sizes[i] <= size_max; i++) {
			if (!size_fits(features, rig_sizes[i]))
				continue;
			rig_open(&rig, features | always, rig_sizes[i]);
			body(&rig);
			rig_close(&rig);
		}
	}
}

struct vmemdev_buf rig_buf(struct vq_rig *rig, uint32_t len, bool writable)
{
	return (struct vmemdev_buf){ guest_place(&rig->mem, len, 1), len, writable };
}

int rig_send_bufs(struct vq_rig *rig, const struct vmemdev_buf *bufs, uint32_t count,
		  const struct guest_add *how)
{
	const int id = guest_queue_add(&rig->q, bufs, count, how);

	assert_true(id >= 0);
	guest_queue_publish(&rig->q);
	return id;
}

int rig_send(struct vq_rig *rig, bool writable, uint64_t tag)
{
	/* all share the same bytes: what counts here is the ring */
	const struct vmemdev_buf buf = { rig_regions[ISLAND].gpa, 16, writable };
	const struct guest_add how = { .tag = tag };

	return rig_send_bufs(rig, &buf, 1, &how);
}

struct vmemdev_held rig_take(struct vq_rig *rig)
{
	struct vmemdev_chain chain;
	struct vmemdev_held held;

	assert_int_equal(vmemdev_vq_pop(&rig->vq, &chain), 1);
	assert_int_equal(vmemdev_chain_finish(&chain, &held), 0);
	return held;
}

void rig_give(struct vq_rig *rig, const struct vmemdev_held *held, uint32_t written)
{
	assert_int_equal(vmemdev_vq_push(&rig->vq, held, written), 0);
	assert_int_equal(vmemdev_vq_publish(&rig->vq), held->slots);
}

void rig_empty(struct vq_rig *rig)
{
	struct vmemdev_chain chain;

	assert_int_equal(vmemdev_vq_pop(&rig->vq, &chain), 0);
}

void rig_used(struct vq_rig *rig, int id, uint32_t len)
{
	struct guest_used used;

	assert_int_equal(guest_queue_poll(&rig->q, &used), 1);
	assert_int_equal(used.id, id);
	assert_int_equal(used.len, len);
	assert_int_equal(used.written, len > 0);
}

void rig_none_used(struct vq_rig *rig)
{
	struct guest_used used;

	assert_int_equal(guest_queue_poll(&rig->q, &used), 0);
}

void rig_lap(struct vq_rig *rig)
{
	const int id = rig_send(rig, true, 0);
	const struct vmemdev_held held = rig_take(rig);

	rig_give(rig, &held, 16);
	rig_used(rig, id, 16);
}

void rig_laps(struct vq_rig *rig, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		rig_lap(rig);
}
