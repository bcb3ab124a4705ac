/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A balloon and a memory device under a guest that does anything: the input is a list of
 * register accesses, memory writes, kicks and host calls. What must hold whatever it does:
 * the host is only ever told of guest memory, the bitmap is the sum of what the host was
 * asked to do, and no call answers what its header does not name.
 *
 * Input, one step after another: an opcode byte and its operands, little-endian.
 */
#include <stdlib.h>
#include <string.h>
#include <vmemdev/vmemdev.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { RAM = 0x20000, REGION = 0x100000, BLOCKS = 64, BLOCK = 0x1000, RANGES = 8 };

enum step {
	STEP_WRITE,    /* u16 offset, u8 log2 width, u32 value */
	STEP_READ,     /* u16 offset, u8 log2 width */
	STEP_MEMORY,   /* u16 address in units of 2, u8 length, bytes */
	STEP_START,    /* u64 features: negotiate and enable all queues at fixed places */
	STEP_RUN,      /* u8 budget */
	STEP_TARGET,   /* u16 pages or blocks */
	STEP_LATER,    /* u8: what the host's next calls answer */
	STEP_COMPLETE, /* u8: result */
	STEP_RESET,    /* u8: device or system reset */
	STEP_DEVICE,   /* u8: which of the two the next steps are about */
	STEPS
};

struct input {
	const uint8_t *at, *end;
};

struct machine {
	uint8_t *ram;
	uint64_t bitmap[1];
	bool plugged[BLOCKS]; /* the reference: what the host has agreed to */
	struct vmemdev_region regions[2];
	struct vmemdev_guest guest;
	struct vmemdev_range ranges[RANGES];
	struct vmemdev_balloon balloon;
	struct vmemdev_mem mem;
	struct vmemdev_mmio mmio[2];
	int answer;
	bool pending, pending_plug;      /* a memory device's work that ends later */
	struct vmemdev_range work[VMEMDEV_MEM_RANGES];
	uint32_t work_count;
	uint64_t balloon_token, mem_token;
	int which;
};

static void require(bool holds)
{
	if (!holds)
		abort();
}

static uint64_t take(struct input *in, size_t bytes)
{
	uint64_t value = 0;

	for (size_t i = 0; i < bytes && in->at < in->end; i++)
		value |= (uint64_t)*in->at++ << (8 * i);
	return value;
}

static int balloon_op(void *ctx, const struct vmemdev_range *ranges, uint32_t count, uint64_t token)
{
	struct machine *m = ctx;

	require(count > 0 && count <= RANGES);
	for (uint32_t i = 0; i < count; i++) {
		uint64_t at = ranges[i].gpa, end = at + ranges[i].len;

		require(at % 4096 == 0 && ranges[i].len % 4096 == 0 && at < end);
		if (end <= RAM)
			continue;
		require(at >= REGION && end <= REGION + BLOCKS * BLOCK);
		for (; at < end; at += BLOCK)
			require(m->plugged[(at - REGION) / BLOCK]);
	}
	m->balloon_token = token;
	return m->answer;
}

static void apply(struct machine *m, bool plug)
{
	for (uint32_t i = 0; i < m->work_count; i++) {
		for (uint64_t at = 0; at < m->work[i].len; at += BLOCK)
			m->plugged[(m->work[i].gpa + at - REGION) / BLOCK] = plug;
	}
}

static int mem_op(struct machine *m, const struct vmemdev_range *ranges, uint32_t count,
		  uint64_t token, bool plug)
{
	require(count > 0 && count <= VMEMDEV_MEM_RANGES && !m->pending);
	for (uint32_t i = 0; i < count; i++) {
		require(ranges[i].gpa >= REGION && ranges[i].gpa % BLOCK == 0 && ranges[i].len > 0);
		require(ranges[i].len % BLOCK == 0);
		require(ranges[i].gpa - REGION + ranges[i].len <= BLOCKS * BLOCK);
		require(m->plugged[(ranges[i].gpa - REGION) / BLOCK] == !plug);
		m->work[i] = ranges[i];
	}
	m->work_count = count;
	m->pending_plug = plug;
	m->mem_token = token;
	m->pending = m->answer == VMEMDEV_LATER;
	if (m->answer == 0)
		apply(m, plug);
	return m->answer;
}

static int plug(void *ctx, const struct vmemdev_range *ranges, uint32_t count, uint64_t token)
{
	return mem_op(ctx, ranges, count, token, true);
}

static int unplug(void *ctx, const struct vmemdev_range *ranges, uint32_t count, uint64_t token)
{
	return mem_op(ctx, ranges, count, token, false);
}

static void cancel(void *ctx, uint64_t token)
{
	struct machine *m = ctx;

	require(token == m->balloon_token);
}

static const struct vmemdev_balloon_ops balloon_ops = { .inflate = balloon_op,
							.deflate = balloon_op,
							.cancel = cancel };
static const struct vmemdev_mem_ops mem_ops = { .plug = plug, .unplug = unplug };

static void interrupt(void *ctx, bool level)
{
	(void)ctx;
	(void)level;
}

static void create(struct machine *m)
{
	struct vmemdev_guest_config guest = { .struct_size = sizeof(guest), .region_count = 2,
					      .regions = m->regions };
	struct vmemdev_balloon_config balloon = {
		.struct_size = sizeof(balloon), .range_count = RANGES, .ranges = m->ranges,
		.device = { .guest = &m->guest, .queue_size = 16,
			    .features_on = VMEMDEV_F_RING_PACKED | VMEMDEV_F_IN_ORDER |
					   VMEMDEV_F_NOTIFICATION_DATA },
		.ops = &balloon_ops, .ctx = m, .must_tell_host = true, .deflate_on_oom = true,
	};
	struct vmemdev_mem_config mem = {
		.struct_size = sizeof(mem), .addr = REGION, .region_size = BLOCKS * BLOCK,
		.block_size = BLOCK, .bitmap = m->bitmap, .bitmap_words = 1,
		.device = { .guest = &m->guest, .queue_size = 16,
			    .features_on = VMEMDEV_F_RING_PACKED },
		.ops = &mem_ops, .ctx = m,
	};
	struct vmemdev_mmio_config mmio = { .struct_size = sizeof(mmio), .interrupt = interrupt };

	m->ram = aligned_alloc(4096, RAM + BLOCKS * BLOCK);
	require(m->ram != NULL);
	memset(m->ram, 0, RAM + BLOCKS * BLOCK);
	m->regions[0] = (struct vmemdev_region){ .gpa = 0, .len = RAM, .host = m->ram };
	m->regions[1] = (struct vmemdev_region){ .gpa = REGION, .len = BLOCKS * BLOCK,
						 .host = m->ram + RAM, .blocks = m->bitmap,
						 .block_shift = 12 };
	require(vmemdev_guest_init(&m->guest, sizeof(m->guest), &guest) == 0);
	require(vmemdev_balloon_init(&m->balloon, sizeof(m->balloon), &balloon) == 0);
	require(vmemdev_mem_init(&m->mem, sizeof(m->mem), &mem) == 0);
	mmio.device = vmemdev_balloon_device(&m->balloon);
	require(vmemdev_mmio_init(&m->mmio[0], sizeof(m->mmio[0]), &mmio) == 0);
	mmio.device = vmemdev_mem_device(&m->mem);
	require(vmemdev_mmio_init(&m->mmio[1], sizeof(m->mmio[1]), &mmio) == 0);
}

static struct vmemdev_device *device(struct machine *m)
{
	return m->which ? vmemdev_mem_device(&m->mem) : vmemdev_balloon_device(&m->balloon);
}

/* What a driver does up to DRIVER_OK, so that inputs reach the rings soon. */
static void start(struct machine *m, uint64_t features)
{
	struct vmemdev_device *dev = device(m);
	struct vmemdev_vq_layout *layout;

	vmemdev_device_set_status(dev, 0);
	vmemdev_device_set_status(dev, 3);
	vmemdev_device_accept(dev, 0, (uint32_t)features & vmemdev_device_features(dev, 0));
	vmemdev_device_accept(dev, 1, ((uint32_t)(features >> 32) & vmemdev_device_features(dev, 1)) | 1);
	vmemdev_device_set_status(dev, 0xb);
	for (uint16_t i = 0; i < vmemdev_device_queue_count(dev); i++) {
		layout = vmemdev_device_queue_layout(dev, i);
		if (layout == NULL)
			continue;
		layout->desc = 0x1000u * i;
		layout->driver = 0x1000u * i + 0x400;
		layout->device = 0x1000u * i + 0x800;
		layout->size = 16;
		(void)vmemdev_device_queue_enable(dev, i);
	}
	vmemdev_device_set_status(dev, 0xf);
}

static void complete(struct machine *m, int result)
{
	(void)vmemdev_balloon_complete(&m->balloon, m->balloon_token, result);
	if (!m->pending)
		return;
	m->pending = false;
	if (result == 0)
		apply(m, m->pending_plug);
	require(vmemdev_mem_complete(&m->mem, m->mem_token, result) == 0);
}

static void check(struct machine *m)
{
	struct vmemdev_mem_sizes sizes;
	uint64_t plugged = 0;

	vmemdev_mem_get_sizes(&m->mem, &sizes);
	for (int i = 0; i < BLOCKS; i++) {
		require(m->plugged[i] == (m->bitmap[0] >> i & 1));
		plugged += m->plugged[i] ? BLOCK : 0;
	}
	require(sizes.plugged == plugged);
	require(sizes.requested <= sizes.usable && sizes.usable <= sizes.region);
}

static void memory(struct machine *m, struct input *in)
{
	uint64_t at = 2 * take(in, 2);
	uint64_t len = take(in, 1);

	for (uint64_t i = 0; i < len && in->at < in->end && at + i < RAM; i++)
		m->ram[at + i] = (uint8_t)take(in, 1);
}

static void reset(struct machine *m, bool system)
{
	if (!system) {
		vmemdev_device_reset(device(m));
		return;
	}
	int err = vmemdev_device_system_reset(device(m));

	require(err <= 0);
	/* A system reset asks for an answer at once: LATER means no. */
	if (m->which && err == VMEMDEV_E_BUSY)
		m->pending = false;
}

static void step(struct machine *m, struct input *in)
{
	static const int answers[] = { 0, VMEMDEV_LATER, VMEMDEV_E_HOST, VMEMDEV_E_BUSY };
	uint64_t offset;
	uint32_t width;

	switch (take(in, 1) % STEPS) {
	case STEP_WRITE:
		offset = take(in, 2);
		width = 1u << (take(in, 1) & 3);
		vmemdev_mmio_write(&m->mmio[m->which], offset, width, take(in, 4));
		break;
	case STEP_READ:
		offset = take(in, 2);
		(void)vmemdev_mmio_read(&m->mmio[m->which], offset, 1u << (take(in, 1) & 3));
		break;
	case STEP_MEMORY:
		memory(m, in);
		break;
	case STEP_START:
		start(m, take(in, 8));
		break;
	case STEP_RUN:
		require(vmemdev_device_run(device(m), 1 + (uint32_t)take(in, 1)) <= 1);
		break;
	case STEP_TARGET:
		offset = take(in, 2) * 4096;
		(void)(m->which ? vmemdev_mem_set_requested(&m->mem, offset)
				: vmemdev_balloon_set_target(&m->balloon, offset));
		break;
	case STEP_LATER:
		m->answer = answers[take(in, 1) & 3];
		break;
	case STEP_COMPLETE:
		complete(m, take(in, 1) & 1 ? VMEMDEV_E_HOST : 0);
		break;
	case STEP_RESET:
		reset(m, take(in, 1) & 1);
		break;
	default:
		m->which = take(in, 1) & 1;
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct machine *m = calloc(1, sizeof(*m));
	struct input in = { data, data + size };

	require(m != NULL);
	create(m);
	while (in.at < in.end) {
		step(m, &in);
		check(m);
	}
	free(m->ram);
	free(m);
	return 0;
}
