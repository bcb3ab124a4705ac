/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Writes the seeds of each harness into FOLDER/TARGET: what a well-behaved driver does, on
 * both ring formats, as steps; and rings as the model driver writes them, as images of
 * memory.
 *
 *     seeds FOLDER
 */
#include "machine.h"
#include "ring.h"

#include "guest/driver.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { SEED_MAX = 4096, DEFLATE = 1, STATS = 2, HINTS = 3, REPORTS = 4 };

struct seed {
	const struct plan *plan;
	uint8_t bytes[SEED_MAX];
	size_t len;
};

static const char *folder;

static void put(struct seed *s, uint32_t bytes, uint64_t value)
{
	for (uint32_t i = 0; i < bytes; i++) {
		require(s->len < SEED_MAX);
		s->bytes[s->len++] = (uint8_t)(value >> 8 * i);
	}
}

/* The opcode of @step; nothing if the harness does not know it. */
static bool op(struct seed *s, uint8_t step)
{
	for (uint32_t i = 0; i < s->plan->step_count; i++) {
		if (s->plan->steps[i] == step) {
			put(s, 1, i);
			return true;
		}
	}
	return false;
}

/* A step with one operand. */
static void op8(struct seed *s, uint8_t step, uint64_t operand)
{
	if (op(s, step))
		put(s, 1, operand);
}

static void save(const struct seed *s, const char *target, const char *name)
{
	char path[512];
	FILE *file;

	(void)mkdir(folder, 0777);
	snprintf(path, sizeof(path), "%s/%s", folder, target);
	(void)mkdir(path, 0777);
	snprintf(path, sizeof(path), "%s/%s/%s", folder, target, name);
	file = fopen(path, "wb");
	if (file == NULL || fwrite(s->bytes, 1, s->len, file) != s->len || fclose(file) != 0) {
		fprintf(stderr, "seeds: cannot write %s; expected a folder that can be written to\n",
			path);
		exit(1);
	}
}

static void start(struct seed *s, uint64_t features, uint8_t size_log)
{
	if (!op(s, STEP_START))
		return;
	put(s, 8, features);
	put(s, 1, size_log);
	put(s, 1, 0);
}

/* Post a chain of @count numbers of @width bytes, and @pages pages or @room bytes behind. */
static void post(struct seed *s, uint8_t queue, uint8_t how, uint32_t width, uint32_t count,
		 const uint64_t *numbers, uint32_t room)
{
	if (!op(s, STEP_POST))
		return;
	put(s, 1, queue);
	put(s, 1, how);
	put(s, 1, width * count);
	for (uint32_t i = 0; i < count; i++)
		put(s, width, numbers[i]);
	put(s, 1, room > 0);
	if (room > 0 && (how & POST_PAGES))
		put(s, 2, how & POST_ODD ? 16 : 8);
	if (room > 0)
		put(s, 1, room);
}

static void run(struct seed *s, uint8_t queue)
{
	op8(s, STEP_RUN, 16);
	op8(s, STEP_POLL, queue);
}

static void balloon_requests(struct seed *s, uint8_t how)
{
	const uint64_t pages[] = { 12, 13, 14, 15, 0x105, 0x104, 0x3ff }, command[] = { 0xfffffffe };
	const uint64_t entries[] = { 4, 0x1000, 0, 0, 0, 5, 0x2000, 0, 0, 0 }, stop[] = { 0 };

	if (op(s, STEP_CONFIG)) {
		put(s, 2, 4 | 4 << 8);
		put(s, 4, 16);
	}
	op8(s, STEP_INHIBIT, 1);
	post(s, 0, how, 4, 7, pages, 0);
	run(s, 0);
	op8(s, STEP_INHIBIT, 0);
	op8(s, STEP_ANSWER, 1);
	post(s, 0, how, 4, 4, pages, 0);
	run(s, 0);
	op8(s, STEP_COMPLETE, 0);
	op8(s, STEP_ANSWER, 0);
	run(s, 0);
	post(s, DEFLATE, how, 4, 7, pages, 0);
	run(s, DEFLATE);
	post(s, STATS, how, 2, 10, entries, 0);
	run(s, STATS);
	(void)op(s, STEP_STATS);
	run(s, STATS);
	op8(s, STEP_HINT, 0);
	post(s, HINTS, how, 4, 1, command, 0);
	post(s, HINTS, how | POST_PAGES, 1, 0, NULL, 6);
	post(s, HINTS, how, 4, 1, stop, 0);
	run(s, HINTS);
	op8(s, STEP_HINT, 2);
	post(s, REPORTS, how | POST_PAGES | POST_ODD, 1, 0, NULL, 9);
	post(s, REPORTS, how | POST_PAGES, 1, 0, NULL, 8);
	run(s, REPORTS);
}

static void mem_request(struct seed *s, uint8_t how, uint8_t type, uint64_t block, uint64_t blocks)
{
	const uint64_t words[] = { type, BLOCKS_ADDR + block * BLOCK, blocks };

	post(s, 0, how, 8, 3, words, 10);
	run(s, 0);
}

static void mem_requests(struct seed *s, uint8_t how)
{
	if (op(s, STEP_TARGET))
		put(s, 2, 16);
	op8(s, STEP_LISTEN, 1);
	mem_request(s, how, GUEST_MEM_PLUG, 0, 4);
	op8(s, STEP_ANSWER, 1);
	mem_request(s, how, GUEST_MEM_PLUG, 8, 2);
	op8(s, STEP_COMPLETE, 0);
	op8(s, STEP_ANSWER, 0);
	mem_request(s, how, GUEST_MEM_STATE, 2, 4);
	mem_request(s, how, GUEST_MEM_UNPLUG, 1, 2);
	(void)op(s, STEP_MOVE);
	mem_request(s, how, GUEST_MEM_UNPLUG_ALL, 0, 0);
}

static void pmem_requests(struct seed *s, uint8_t how)
{
	const uint64_t flush[] = { 0 }, other[] = { 7 };

	post(s, 0, how, 4, 1, flush, 4);
	run(s, 0);
	op8(s, STEP_ANSWER, 1);
	post(s, 0, how, 4, 1, flush, 4);
	post(s, 0, how, 4, 1, other, 4);
	run(s, 0);
	op8(s, STEP_COMPLETE, 1);
	op8(s, STEP_ANSWER, 0);
	run(s, 0);
}

static void requests(struct seed *s, uint32_t number, uint8_t how)
{
	if (number == NUMBER_BALLOON)
		balloon_requests(s, how);
	else if (number == NUMBER_MEM)
		mem_requests(s, how);
	else
		pmem_requests(s, how);
}

/* Memory of [gpa, gpa + len) that is not 0, as scribbling. */
static void put_image(struct seed *s, const struct world *w, uint64_t gpa, uint64_t len)
{
	const uint8_t *bytes = guest_at(w->mem, gpa, len);

	for (uint64_t at = 0; at < len; at += 16) {
		static const uint8_t zeros[16];

		if (memcmp(bytes + at, zeros, 16) == 0 || !op(s, STEP_SCRIBBLE))
			continue;
		put(s, 2, (gpa + at) / 2);
		put(s, 1, 16);
		for (uint32_t i = 0; i < 16; i++)
			put(s, 1, bytes[at + i]);
	}
}

/* Bytes of what the requests have of a step that the driver does not make. */
static uint32_t operands(uint64_t step)
{
	if (step == STEP_STATS || step == STEP_MOVE)
		return 0;
	if (step == STEP_CONFIG)
		return 6;
	return step == STEP_TARGET ? 2 : 1;
}

/* Play the posts on a machine of our own, and show the rings that this makes. */
static void put_rings(struct seed *s, uint32_t number, uint64_t features, uint8_t how)
{
	struct seed played = { .plan = &plans[PLAN_DEVICE] };
	struct machine *m = machine_open(1u << number, 0, 0);
	struct input in = { played.bytes, NULL };

	start(&played, features, 2);
	requests(&played, number, how);
	in.end = played.bytes + played.len;
	while (in.at < in.end) {
		const uint64_t step = played.plan->steps[take(&in, 1)];
		const uint8_t *at = in.at;

		/* What the driver does, and nothing of the device's. */
		if (step == STEP_START || step == STEP_POST)
			machine_step(m, step, &in);
		else
			in.at += operands(step);
		require(in.at >= at);
	}
	put_image(s, &m->w, 0, RINGS_LEN);
	put_image(s, &m->w, ring_buffer(m->ports[number].slot, 0), 4 * BUFFER_ROOM);
	machine_close(m);
}

/* A record of a device that has served its driver. */
static void put_record(struct seed *s, uint32_t number, uint64_t features)
{
	struct seed played = { .plan = &plans[PLAN_DEVICE] };
	struct machine *m = machine_open(1u << number, 0, 0);
	struct input in = { played.bytes, NULL };
	struct record record;

	start(&played, features, 2);
	in.at++;
	in.end = played.bytes + played.len;
	machine_step(m, STEP_START, &in);
	require(port_save(&m->ports[number], &record) == 0);
	machine_close(m);
	if (op(s, STEP_LOAD)) {
		put(s, 1, RECORD_HEADED);
		put(s, 2, record.len - 16);
		for (size_t i = 16; i < record.len; i++)
			put(s, 1, record.device[i]);
	}
	if (op(s, STEP_LOAD_MMIO)) {
		put(s, 1, RECORD_RAW);
		for (size_t i = 0; i < sizeof(record.mmio); i++)
			put(s, 1, record.mmio[i]);
	}
}

/* The registers as a driver writes them, up to DRIVER_OK. */
static void put_registers(struct seed *s, uint32_t format)
{
	static const struct {
		uint16_t offset;
		uint32_t value;
	} writes[] = {
		{ 0x070, 0 }, { 0x070, 3 }, { 0x014, 1 }, { 0x024, 1 }, { 0x020, 1 }, { 0x024, 0 },
		{ 0x020, 0x3000003f }, { 0x070, 0xb }, { 0x030, 0 }, { 0x038, 8 }, { 0x080, 0x1000 },
		{ 0x090, 0x1200 }, { 0x0a0, 0x1280 }, { 0x044, 1 }, { 0x070, 0xf }, { 0x050, 0 },
		{ 0x064, 3 }, { 0x0ac, 0 }, { 0x0c0, 1 }, { 0x070, 0 }
	};
	static const uint16_t reads[] = { 0x000, 0x008, 0x010, 0x034, 0x044, 0x060, 0x070, 0x0b0,
					  0x0fc, 0x100, 0x104 };

	for (size_t i = 0; i < sizeof(writes) / sizeof(writes[0]); i++) {
		if (!op(s, STEP_WRITE))
			return;
		put(s, 2, writes[i].offset);
		put(s, 1, 2);
		put(s, 4, writes[i].offset == 0x020 && i == 4 ? format : writes[i].value);
	}
	for (size_t i = 0; i < sizeof(reads) / sizeof(reads[0]) && op(s, STEP_READ); i++) {
		put(s, 2, reads[i]);
		put(s, 1, 2);
	}
}

/* The devices in turns, each with selectors of its own. */
static void turns_seed(void)
{
	struct seed s = { .plan = &plans[PLAN_DEVICE] };

	put(&s, 2, 0);
	for (uint32_t turn = 0; turn < 2 * NUMBERS; turn++) {
		op8(&s, STEP_DEVICE, turn % NUMBERS);
		for (uint32_t offset = 0x14; offset <= 0x30 && op(&s, STEP_WRITE); offset += 0x1c) {
			put(&s, 2, offset);
			put(&s, 1, 2);
			put(&s, 4, turn + 1);
		}
		put_registers(&s, 5);
	}
	save(&s, "device", "turns");
}

/* One seed of @plan for each device that it has, in one format and way of posting. */
static void machine_seed(const struct plan *plan, uint32_t number, bool packed, bool image)
{
	const uint64_t features = 0x33000003f | (packed ? VMEMDEV_F_RING_PACKED : 0);
	const uint8_t how = packed ? POST_INDIRECT : 2;
	struct seed s = { .plan = plan };
	char name[64];

	put(&s, 1, (plan->present == 0 ? number << 6 : 0) |
			   (packed ? MACHINE_CALLBACKS | MACHINE_SLACK : 0));
	put(&s, 1, 0);
	op8(&s, STEP_DEVICE, number);
	if (plan == &plans[PLAN_STATE] && !image)
		put_record(&s, number, features);
	if (plan == &plans[PLAN_MMIO])
		put_registers(&s, packed ? 5 : 1);
	start(&s, features, 3);
	if (image)
		put_rings(&s, number, features, how);
	else
		requests(&s, number, how);
	op8(&s, STEP_KICK, 0);
	op8(&s, STEP_RUN, 0x80 | 64);
	if (op(&s, STEP_EDIT))
		put(&s, 1, 0);
	(void)op(&s, STEP_MOVE);
	op8(&s, STEP_STOP, 0);
	if (op(&s, STEP_RESUME))
		put(&s, 2, 0);
	snprintf(name, sizeof(name), "%s-%s-%s", packed ? "packed" : "split",
		 image ? "image" : "driver",
		 number == NUMBER_BALLOON ? "balloon" : number == NUMBER_MEM ? "mem" : "pmem");
	save(&s, plan->name, name);
}

static void ring_op(struct seed *s, uint8_t step, uint64_t operand, uint32_t bytes)
{
	put(s, 1, step);
	put(s, bytes, operand);
}

/* Pages before, in and behind what may not be written (ROM), not be discarded, or is no memory. */
static const uint64_t edge_pages[] = { 0x1f, 0x20, 0x21, 0xff, 0x100, 0x11f, 0x120,
				       0x1ff, 0x200, 0x201, 0x202 };
enum { EDGE_PAGES = sizeof(edge_pages) / sizeof(edge_pages[0]) };

/* Each edge as the place of an answer, or as what is free. */
static void edge_answers(struct seed *s, uint32_t number, uint8_t queue)
{
	const uint32_t readable = number == NUMBER_MEM ? 24 : 4;

	for (uint32_t i = 0; i < EDGE_PAGES; i++) {
		/* An answer that fits nowhere stops the device. */
		if (number != NUMBER_BALLOON)
			start(s, 0x33000003f, 5);
		if (!op(s, STEP_POST))
			break;
		put(s, 1, queue);
		put(s, 1, POST_PAGES);
		put(s, 1, readable);
		for (uint32_t k = 0; k < readable; k++)
			put(s, 1, 0);
		put(s, 1, 1);
		put(s, 2, edge_pages[i]);
		put(s, 1, 2);
		if (number != NUMBER_BALLOON)
			run(s, 0);
	}
	run(s, queue);
}

/* A device that is asked about each edge of memory, and of its region of blocks. */
static void edges_seed(const struct plan *plan, uint32_t number)
{
	static const char *const names[] = { "edges-balloon", "edges-mem", "edges-pmem" };
	struct seed s = { .plan = plan };

	put(&s, 2, plan->present == 0 ? number << 6 : MACHINE_PLUGGED);
	op8(&s, STEP_DEVICE, number);
	start(&s, 0x33000003f, 5);
	if (number == NUMBER_BALLOON) {
		post(&s, 0, 0, 4, EDGE_PAGES, edge_pages, 0);
		run(&s, 0);
	}
	if (number == NUMBER_MEM && op(&s, STEP_TARGET)) {
		put(&s, 2, BLOCK_COUNT);
		for (uint32_t first = BLOCK_COUNT - 1; first <= BLOCK_COUNT + 1; first++) {
			for (uint32_t type = GUEST_MEM_PLUG; type <= GUEST_MEM_STATE; type++)
				mem_request(&s, 0, (uint8_t)type, first, 1 + first % 2);
		}
	}
	edge_answers(&s, number, 0);
	edge_answers(&s, number, REPORTS);
	save(&s, plan->name, names[number]);
}

/* Chains whose writable part is in ROM, and behind and before it, and written. */
static void ring_edges_seed(const char *target)
{
	const uint64_t pages[] = { 0x20, 0x1f, 0x21, 0x201, 0x202, 0x17, 0x18 };
	struct seed s = { .plan = NULL };

	put(&s, 1, 0);
	put(&s, 1, 7);
	for (uint32_t i = 0; i < sizeof(pages) / sizeof(pages[0]); i++) {
		ring_op(&s, RING_POST, POST_PAGES, 1);
		put(&s, 2, 1 << 8);
		put(&s, 2, pages[i]);
		put(&s, 1, 2);
		ring_op(&s, RING_TAKE, 1, 1);
		put(&s, 2, RING_WRITE | 8 << 8);
		ring_op(&s, RING_PUSH, 0, 1);
		ring_op(&s, RING_PUBLISH, 0, 0);
		ring_op(&s, RING_POLL, 0, 0);
	}
	save(&s, target, "edges");
}

/* A record of a device on a packed ring in which @count bytes, from @at on, are others. */
static void edited_seed(uint32_t number, const char *name, bool of_queue, size_t at,
			const uint8_t *bytes, uint32_t count)
{
	struct seed s = { .plan = &plans[PLAN_STATE] };
	struct machine *m = machine_open(1u << number, 0, 0);
	struct record record;
	struct input in;

	put(&s, 2, number << 6);
	start(&s, VMEMDEV_F_RING_PACKED, 3);
	in = (struct input){ s.bytes + 3, s.bytes + s.len };
	machine_step(m, STEP_START, &in);
	require(port_save(&m->ports[number], &record) == 0);
	if (of_queue)
		at += record.len - 36 * (size_t)vmemdev_device_queue_count(m->ports[number].dev);
	machine_close(m);
	(void)op(&s, STEP_EDIT);
	put(&s, 1, count);
	for (size_t i = 0; i < count; i++) {
		put(&s, 2, at + i);
		put(&s, 1, bytes[i]);
	}
	op8(&s, STEP_RUN, 16);
	save(&s, "state", name);
}

/* More is staged than the ring has entries; more is plugged than there are blocks. */
static void edited_seeds(void)
{
	static const uint8_t staged[] = { 0xff, 0xff, 0x80, 0x80 }, ones[] = { 0x40 };

	edited_seed(NUMBER_BALLOON, "hostile-staged-balloon", true, 4, staged, 4);
	edited_seed(NUMBER_MEM, "hostile-staged-mem", true, 4, staged, 4);
	edited_seed(NUMBER_PMEM, "hostile-staged-pmem", true, 4, staged, 4);
	edited_seed(NUMBER_MEM, "hostile-plugged", false, 99, ones, 1);
}

/* Chains there and back, with each of the options by itself and with all of them. */
static void ring_seed(const char *target, uint8_t options)
{
	struct seed s = { .plan = NULL };
	char name[64];

	put(&s, 1, options);
	put(&s, 1, 7);
	for (uint32_t i = 0; i < 6; i++) {
		ring_op(&s, RING_POST, i % 3 | (options & RING_INDIRECT ? POST_INDIRECT : 0), 1);
		put(&s, 1, 4);
		put(&s, 4, 0x03020100);
		put(&s, 2, 1 | 8 << 8);
		ring_op(&s, RING_TAKE, 2, 1);
		put(&s, 2, RING_READ | 4 << 8);
		put(&s, 2, RING_WRITE | 8 << 8);
		ring_op(&s, i == 3 ? RING_MOVE : RING_EVENTS, 1, i == 3 ? 0 : 1);
		if (i % 2 == 0)
			continue;
		ring_op(&s, RING_PUSH, 0, 1);
		ring_op(&s, RING_PUSH, 0, 1);
		ring_op(&s, RING_PUBLISH, 0, 0);
		ring_op(&s, RING_POLL, 0, 0);
	}
	snprintf(name, sizeof(name), "driver-%u", options);
	save(&s, target, name);
}

/* A chain of three in a ring of four, and then the 16-bit word at @at is another. */
static void hostile_seed(const char *target, const char *name, bool taken, uint64_t at,
			 uint64_t word)
{
	struct seed s = { .plan = NULL };

	put(&s, 1, RING_EVENT_IDX);
	put(&s, 1, 3);
	ring_op(&s, RING_POST, 2, 1);
	put(&s, 1, 6);
	put(&s, 6, 0x060504030201);
	put(&s, 1, 0);
	if (taken)
		ring_op(&s, RING_TAKE, 0, 1);
	ring_op(&s, RING_SCRIBBLE, at, 2);
	put(&s, 1, 2);
	put(&s, 2, word);
	ring_op(&s, RING_TAKE, 0, 1);
	ring_op(&s, RING_TAKE, 0, 1);
	ring_op(&s, RING_PUSH, 0, 1);
	ring_op(&s, RING_PUBLISH, 0, 0);
	save(&s, target, name);
}

static void hostile_seeds(void)
{
	const uint16_t available = GUEST_AVAIL | GUEST_NEXT;
	struct vmemdev_vq_layout at;

	ring_place(0, 4, &at);
	hostile_seed("split", "hostile-head", false, at.driver + 4, 4);
	hostile_seed("split", "hostile-index", false, at.driver + 2, 5);
	hostile_seed("split", "hostile-index-in-flight", true, at.driver + 2, 5);
	hostile_seed("split", "hostile-loop", false, at.desc + 2 * 16 + 12, GUEST_NEXT);
	hostile_seed("split", "hostile-next", false, at.desc + 14, 4);
	hostile_seed("packed", "hostile-in-flight", true, at.desc + 3 * 16 + 14, available);
	hostile_seed("packed", "hostile-endless", false, at.desc + 2 * 16 + 14, available);
}

int main(int argc, char **argv)
{
	if (argc != 2) {
		fprintf(stderr, "%s: expected one folder to write the seeds into\n", argv[0]);
		return 2;
	}
	folder = argv[1];
	for (uint8_t options = 0; options < 16; options++) {
		ring_seed("split", options);
		ring_seed("packed", options);
	}
	ring_edges_seed("split");
	ring_edges_seed("packed");
	hostile_seeds();
	turns_seed();
	edited_seeds();
	for (uint32_t i = 0; i < PLANS; i++) {
		for (uint32_t number = 0; number < NUMBERS; number++) {
			if (plans[i].present != 0 && !(plans[i].present >> number & 1))
				continue;
			/* Registers alone post nothing. */
			if (i != PLAN_MMIO)
				edges_seed(&plans[i], number);
			for (uint32_t kind = 0; kind < 4; kind++)
				machine_seed(&plans[i], number, kind & 1, kind & 2);
		}
	}
	return 0;
}
