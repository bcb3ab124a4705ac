/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A balloon and a memory device under a guest that does anything: the input is a list of
 * register accesses, memory writes, kicks and host calls. What must hold whatever it does:
 * the host is only ever told of guest memory, and of none that is to be left alone; the
 * bitmap is the sum of what the host was asked to do; and no call answers what its header
 * does not name.
 *
 * Input: a byte of enum option bits, then one step after another: an opcode byte and its
 * operands, little-endian.
 */
#include <stdlib.h>
#include <string.h>
#include <vmemdev/vmemdev.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { RAM = 0x20000, REGION = 0x100000, BLOCKS = 64, BLOCK = 0x1000, RANGES = 8 };
enum { QUEUE_SIZE = 32, RAM_FRAME_SHIFT = 14, REGION_FRAME_SHIFT = 12, POISON_AT = 12 };

/* What the balloon offers and how. */
enum option {
	OPTION_NO_STATS = 1,
	OPTION_NO_HINTING = 2,
	OPTION_NO_REPORTING = 4,
	OPTION_TEXT_QUEUES = 8,
	OPTION_REQUIRE_TELL = 16,
	OPTION_NO_TRACKS = 32,
	OPTION_REPORT_MIN = 64
};

enum step {
	STEP_WRITE,    /* u16 offset, u8 log2 width, u32 value */
	STEP_READ,     /* u16 offset, u8 log2 width */
	STEP_MEMORY,   /* u16 address in units of 2, u8 length, bytes */
	STEP_START,    /* u64 features, u8 queues that are left out: negotiate and enable the
	                * others at fixed places */
	STEP_RUN,      /* u8 budget */
	STEP_TARGET,   /* u16 pages or blocks */
	STEP_LATER,    /* u8: what the host's next calls answer */
	STEP_COMPLETE, /* u8: result */
	STEP_RESET,    /* u8: device or system reset */
	STEP_DEVICE,   /* u8: which of the two the next steps are about */
	STEP_POLL,     /* ask for statistics */
	STEP_HINT,     /* u8: start, stop or end a round of hinting */
	STEP_INHIBIT,  /* u8: forbid or allow discards */
	STEP_ALLOW,    /* u8 pages: limit of reporting; 255: none */
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
	uint64_t words[2][4];
	struct vmemdev_balloon_track tracks[2];
	struct vmemdev_balloon balloon;
	struct vmemdev_mem mem;
	struct vmemdev_mmio mmio[2];
	int answer;
	bool pending, pending_plug;      /* a memory device's work that ends later */
	struct vmemdev_range work[VMEMDEV_MEM_RANGES];
	uint32_t work_count;
	uint64_t balloon_token, mem_token;
	bool balloon_waits;              /* its host work ends later */
	unsigned int inhibited;
	uint64_t report_min;
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

/* What the balloon names is memory now, and nothing is served while the host is busy. */
static void check_ranges(const struct machine *m, const struct vmemdev_range *ranges,
			 uint32_t count)
{
	require(count > 0 && count <= RANGES && !m->balloon_waits);
	for (uint32_t i = 0; i < count; i++) {
		uint64_t at = ranges[i].gpa, end = at + ranges[i].len;

		require(at % 4096 == 0 && ranges[i].len % 4096 == 0 && at < end);
		if (end <= RAM)
			continue;
		require(at >= REGION && end <= REGION + BLOCKS * BLOCK);
		for (; at < end; at += BLOCK)
			require(m->plugged[(at - REGION) / BLOCK]);
	}
}

static int balloon_op(struct machine *m, const struct vmemdev_range *ranges, uint32_t count,
		      uint64_t token)
{
	check_ranges(m, ranges, count);
	m->balloon_token = token;
	m->balloon_waits = m->answer == VMEMDEV_LATER;
	return m->answer;
}

/* What is to be discarded may be, and where RAM is tracked it is whole host pages. */
static int discard(struct machine *m, const struct vmemdev_range *ranges, uint32_t count,
		   uint64_t token)
{
	const uint64_t part = (UINT64_C(1) << RAM_FRAME_SHIFT) - 1;

	require(m->inhibited == 0);
	for (uint32_t i = 0; i < count && m->tracks[0].len > 0; i++)
		require(ranges[i].gpa >= RAM || ((ranges[i].gpa | ranges[i].len) & part) == 0);
	return balloon_op(m, ranges, count, token);
}

static int inflate(void *ctx, const struct vmemdev_range *ranges, uint32_t count, uint64_t token)
{
	return discard(ctx, ranges, count, token);
}

static int deflate(void *ctx, const struct vmemdev_range *ranges, uint32_t count, uint64_t token)
{
	return balloon_op(ctx, ranges, count, token);
}

static bool accepted(struct machine *m, uint64_t feature)
{
	return (vmemdev_device_accepted(vmemdev_balloon_device(&m->balloon), 0) & feature) != 0;
}

static uint32_t balloon_field(struct machine *m, uint32_t offset)
{
	uint8_t bytes[4];

	vmemdev_device_config_read(vmemdev_balloon_device(&m->balloon), offset, bytes, 4);
	return bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
	       (uint32_t)bytes[3] << 24;
}

static int report(void *ctx, const struct vmemdev_range *ranges, uint32_t count, uint64_t token)
{
	struct machine *m = ctx;

	require(accepted(m, VMEMDEV_BALLOON_F_PAGE_REPORTING));
	require(!accepted(m, VMEMDEV_BALLOON_F_PAGE_POISON) || balloon_field(m, POISON_AT) == 0);
	for (uint32_t i = 0; i < count; i++)
		require(ranges[i].len >= m->report_min);
	return discard(m, ranges, count, token);
}

static void hint(void *ctx, const struct vmemdev_range *ranges, uint32_t count)
{
	struct machine *m = ctx;

	require(vmemdev_balloon_hint_round(&m->balloon) == VMEMDEV_BALLOON_ROUND_OPEN);
	check_ranges(m, ranges, count);
}

static void round_moved(void *ctx, enum vmemdev_balloon_round round)
{
	struct machine *m = ctx;

	require(vmemdev_balloon_hint_round(&m->balloon) == round);
}

static uint64_t stats_came(void *ctx)
{
	struct machine *m = ctx;
	struct vmemdev_balloon_stats stats;

	vmemdev_balloon_get_stats(&m->balloon, &stats);
	require(stats.valid && !m->balloon_waits && accepted(m, VMEMDEV_BALLOON_F_STATS_VQ));
	return 1;
}

static void unknown_stat(void *ctx, uint16_t tag, uint64_t value)
{
	(void)ctx;
	(void)value;
	require(vmemdev_balloon_stat_name(tag) == NULL);
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

	require(m->balloon_waits && token == m->balloon_token);
	m->balloon_waits = false;
}

static const struct vmemdev_balloon_ops balloon_ops = {
	.inflate = inflate, .deflate = deflate, .report = report, .hint = hint,
	.round = round_moved, .stats = stats_came, .unknown_stat = unknown_stat,
	.cancel = cancel,
};
static const struct vmemdev_mem_ops mem_ops = { .plug = plug, .unplug = unplug };

static void interrupt(void *ctx, bool level)
{
	(void)ctx;
	(void)level;
}

static void create_memory(struct machine *m)
{
	struct vmemdev_guest_config guest = { .struct_size = sizeof(guest), .region_count = 2,
					      .regions = m->regions };

	m->ram = aligned_alloc(4096, RAM + BLOCKS * BLOCK);
	require(m->ram != NULL);
	memset(m->ram, 0, RAM + BLOCKS * BLOCK);
	m->regions[0] = (struct vmemdev_region){ .gpa = 0, .len = RAM, .host = m->ram };
	m->regions[1] = (struct vmemdev_region){ .gpa = REGION, .len = BLOCKS * BLOCK,
						 .host = m->ram + RAM, .blocks = m->bitmap,
						 .block_shift = 12 };
	require(vmemdev_guest_init(&m->guest, sizeof(m->guest), &guest) == 0);
}

static void create_balloon(struct machine *m, uint8_t options)
{
	struct vmemdev_balloon_config config = {
		.struct_size = sizeof(config), .range_count = RANGES, .ranges = m->ranges,
		.device = { .guest = &m->guest, .queue_size = QUEUE_SIZE,
			    .features_on = VMEMDEV_F_RING_PACKED | VMEMDEV_F_IN_ORDER |
					   VMEMDEV_F_NOTIFICATION_DATA },
		.ops = &balloon_ops, .ctx = m, .must_tell_host = true, .deflate_on_oom = true,
		.stats = !(options & OPTION_NO_STATS), .hinting = !(options & OPTION_NO_HINTING),
		.reporting = !(options & OPTION_NO_REPORTING),
		.text_queues_only = options & OPTION_TEXT_QUEUES,
		.require_must_tell_host = options & OPTION_REQUIRE_TELL,
		.report_min = m->report_min,
		.first_round = 0xfffffffe,
	};

	if (!(options & OPTION_NO_TRACKS)) {
		m->tracks[0] = (struct vmemdev_balloon_track){
			.gpa = 0, .len = RAM, .words = m->words[0],
			.frame_shift = RAM_FRAME_SHIFT };
		m->tracks[1] = (struct vmemdev_balloon_track){
			.gpa = REGION, .len = BLOCKS * BLOCK, .words = m->words[1],
			.frame_shift = REGION_FRAME_SHIFT };
		for (int i = 0; i < 2; i++)
			require(vmemdev_balloon_track_words(m->tracks[i].len,
							    m->tracks[i].frame_shift) <= 4);
		config.tracks = m->tracks;
		config.track_count = 2;
	}
	require(vmemdev_balloon_init(&m->balloon, sizeof(m->balloon), &config) == 0);
}

static void create(struct machine *m, uint8_t options)
{
	struct vmemdev_mem_config mem = {
		.struct_size = sizeof(mem), .addr = REGION, .region_size = BLOCKS * BLOCK,
		.block_size = BLOCK, .bitmap = m->bitmap, .bitmap_words = 1,
		.device = { .guest = &m->guest, .queue_size = QUEUE_SIZE,
			    .features_on = VMEMDEV_F_RING_PACKED },
		.ops = &mem_ops, .ctx = m,
	};
	struct vmemdev_mmio_config mmio = { .struct_size = sizeof(mmio), .interrupt = interrupt };

	create_memory(m);
	m->report_min = options & OPTION_REPORT_MIN ? 8192 : 0;
	create_balloon(m, options);
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
static void start(struct machine *m, uint64_t features, uint64_t left_out)
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
		if (layout == NULL || (left_out >> i & 1))
			continue;
		layout->desc = 0x1000u * i;
		layout->driver = 0x1000u * i + 0x400;
		layout->device = 0x1000u * i + 0x800;
		layout->size = QUEUE_SIZE;
		(void)vmemdev_device_queue_enable(dev, i);
	}
	vmemdev_device_set_status(dev, 0xf);
}

static void complete(struct machine *m, int result)
{
	if (m->balloon_waits) {
		m->balloon_waits = false;
		require(vmemdev_balloon_complete(&m->balloon, m->balloon_token, result) == 0);
	}
	require(vmemdev_balloon_complete(&m->balloon, m->balloon_token, result) ==
		VMEMDEV_E_STATE);
	if (!m->pending)
		return;
	m->pending = false;
	if (result == 0)
		apply(m, m->pending_plug);
	require(vmemdev_mem_complete(&m->mem, m->mem_token, result) == 0);
}

/* What is remembered as given up lies in a track, in ascending runs; statistics are whole. */
static void check_balloon(struct machine *m)
{
	struct vmemdev_balloon_stats stats;
	struct vmemdev_range run;
	uint64_t at = 0;

	for (; vmemdev_balloon_given(&m->balloon, at, &run); at = run.gpa + run.len) {
		require(accepted(m, VMEMDEV_BALLOON_F_MUST_TELL_HOST) && m->tracks[0].len > 0);
		require(run.gpa >= at && run.len > 0 && (run.gpa | run.len) % 4096 == 0);
		require(run.gpa + run.len <= RAM ||
			(run.gpa >= REGION && run.gpa + run.len <= REGION + BLOCKS * BLOCK));
	}
	vmemdev_balloon_get_stats(&m->balloon, &stats);
	require(stats.valid || stats.present == 0);
	for (uint32_t tag = 0; tag < 32; tag++) {
		if (tag >= VMEMDEV_BALLOON_STATS)
			require(!(stats.present >> tag & 1));
		else
			require((stats.present >> tag & 1) || stats.value[tag] == 0);
	}
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
	check_balloon(m);
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

/* Whether @err is what asking for a feature may answer. */
static bool may_answer(int err)
{
	return err == 0 || err == VMEMDEV_E_STATE || err == VMEMDEV_E_FEATURE;
}

static void hinting(struct machine *m, uint64_t what)
{
	if (what % 3 == 0) {
		require(may_answer(vmemdev_balloon_hint_start(&m->balloon)));
	} else if (what % 3 == 1) {
		require(vmemdev_balloon_hint_stop(&m->balloon) == 0);
		require(vmemdev_balloon_hint_round(&m->balloon) != VMEMDEV_BALLOON_ROUND_OPEN);
	} else {
		require(vmemdev_balloon_hint_done(&m->balloon) == 0);
		require(vmemdev_balloon_hint_round(&m->balloon) == VMEMDEV_BALLOON_ROUND_NONE);
	}
}

static void inhibit(struct machine *m, bool on)
{
	if (on) {
		m->inhibited++;
		require(vmemdev_balloon_inhibit(&m->balloon) == 0);
	} else if (m->inhibited > 0) {
		m->inhibited--;
		require(vmemdev_balloon_uninhibit(&m->balloon) == 0);
	} else {
		require(vmemdev_balloon_uninhibit(&m->balloon) == VMEMDEV_E_STATE);
	}
}

static void balloon_step(struct machine *m, uint64_t opcode, struct input *in)
{
	uint64_t operand;

	switch (opcode) {
	case STEP_POLL:
		require(may_answer(vmemdev_balloon_poll_stats(&m->balloon)));
		break;
	case STEP_HINT:
		hinting(m, take(in, 1));
		break;
	case STEP_INHIBIT:
		inhibit(m, take(in, 1) & 1);
		break;
	default:
		operand = take(in, 1);
		require(vmemdev_balloon_allow_reports(&m->balloon, operand == 255 ?
						      UINT64_MAX : operand * 4096) == 0);
		break;
	}
}

static void step(struct machine *m, struct input *in)
{
	static const int answers[] = { 0, VMEMDEV_LATER, VMEMDEV_E_HOST, VMEMDEV_E_BUSY };
	const uint64_t opcode = take(in, 1) % STEPS;
	uint64_t offset;
	uint32_t width;

	switch (opcode) {
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
		offset = take(in, 8);
		start(m, offset, take(in, 1));
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
	case STEP_DEVICE:
		m->which = take(in, 1) & 1;
		break;
	default:
		balloon_step(m, opcode, in);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct machine *m = calloc(1, sizeof(*m));
	struct input in = { data, data + size };

	require(m != NULL);
	create(m, (uint8_t)take(&in, 1));
	while (in.at < in.end) {
		step(m, &in);
		check(m);
	}
	free(m->ram);
	free(m);
	return 0;
}
