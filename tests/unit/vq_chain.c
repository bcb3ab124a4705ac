/* SPDX-License-Identifier: BSD-3-Clause */
/* Reading and writing chains, however the driver cut them into descriptors. */
#include "vq_rig.h"

#define IN_LEN 24u
#define OUT_LEN 10u
#define MESSAGE_BUFS 64

/* A message of IN_LEN readable and OUT_LEN writable bytes in scattered pieces. */
struct message {
	struct vmemdev_buf bufs[MESSAGE_BUFS];
	uint32_t count;
};

static uint8_t pattern(uint32_t i)
{
	return (uint8_t)(0x31 + 7 * i);
}

/* Pieces of @cut bytes, with gaps between them and, if @holes, empty buffers as well. */
static void cut_part(struct vq_rig *rig, struct message *message, uint32_t len, bool writable,
		     uint32_t cut, bool holes)
{
	for (uint32_t done = 0; done < len; done += cut) {
		const uint32_t piece = len - done < cut ? len - done : cut;
		const struct vmemdev_buf buf = rig_buf(rig, piece, writable);

		guest_place(&rig->mem, 3, 1);
		for (uint32_t i = 0; i < piece; i++) {
			const uint8_t byte = writable ? 0xee : pattern(done + i);

			guest_fill(&rig->mem, buf.gpa + i, byte, 1);
		}
		if (holes && done % 2 == 0)
			message->bufs[message->count++] =
				(struct vmemdev_buf){ UINT64_MAX - done, 0, writable };
		message->bufs[message->count++] = buf;
	}
}

static void cut_message(struct vq_rig *rig, struct message *message, uint32_t cut, bool holes)
{
	message->count = 0;
	cut_part(rig, message, IN_LEN, false, cut, holes);
	cut_part(rig, message, OUT_LEN, true, cut, holes);
}

/* The device reads and writes in steps of @step; each byte must arrive in its place. */
static void serve(struct vq_rig *rig, uint32_t step, struct vmemdev_held *held)
{
	struct vmemdev_chain chain;
	uint8_t in[IN_LEN + 8], out[OUT_LEN + 8];
	uint32_t got = 0, put = 0;
	int32_t n;

	memset(in, 0, sizeof(in));
	for (uint32_t i = 0; i < sizeof(out); i++)
		out[i] = (uint8_t)(0x91 + i);
	assert_int_equal(vmemdev_vq_pop(&rig->vq, &chain), 1);
	do {
		n = vmemdev_chain_read(&chain, in + got, step);
		assert_true(n >= 0 && n <= (int32_t)step);
		got += (uint32_t)n;
	} while (n == (int32_t)step && got + step <= sizeof(in));
	assert_int_equal(got, IN_LEN);
	assert_int_equal(vmemdev_chain_read(&chain, in, 1), 0);
	for (uint32_t i = 0; i < IN_LEN; i++)
		assert_int_equal(in[i], pattern(i));
	do {
		n = vmemdev_chain_write(&chain, out + put, step);
		assert_true(n >= 0 && n <= (int32_t)step);
		put += (uint32_t)n;
	} while (n == (int32_t)step && put + step <= sizeof(out));
	assert_int_equal(put, OUT_LEN);
	assert_int_equal(vmemdev_chain_write(&chain, out, 1), 0);
	assert_int_equal(vmemdev_chain_finish(&chain, held), 0);
	assert_int_equal(held->writable, OUT_LEN);
}

static void check_answer(struct vq_rig *rig, const struct message *message)
{
	uint32_t in = 0, out = 0;

	for (uint32_t i = 0; i < message->count; i++) {
		const struct vmemdev_buf *buf = &message->bufs[i];

		for (uint32_t b = 0; b < buf->len; b++) {
			uint8_t byte;

			assert_true(guest_read(&rig->mem, buf->gpa + b, &byte, 1));
			if (buf->writable)
				assert_int_equal(byte, 0x91 + out++);
			else
				assert_int_equal(byte, pattern(in++));
		}
	}
	assert_int_equal(in + out, IN_LEN + OUT_LEN);
}

static void one_message(struct vq_rig *rig, uint32_t cut, bool holes, uint32_t step,
			const struct guest_add *how)
{
	struct message message;
	struct vmemdev_held held;
	int id;

	rig_say("%s, cut %u%s, steps of %u%s%s, %u direct", rig->packed ? "packed" : "split", cut,
		holes ? " with empty buffers" : "", step, how->indirect ? " indirect" : "",
		how->backwards ? " backwards" : "", how->direct);
	cut_message(rig, &message, cut, holes);
	if (how->direct > message.count)
		return;
	id = rig_send_bufs(rig, message.bufs, message.count, how);
	serve(rig, step, &held);
	check_answer(rig, &message);
	rig_give(rig, &held, OUT_LEN);
	rig_used(rig, id, OUT_LEN);
}

/* Run over all cuts and steps with such a way to add, on rings of 64. */
static void all_cuts(uint64_t features, const struct guest_add *how)
{
	static const uint32_t cuts[] = { 1, 2, 3, 7, 10, 23, 24, 100 };
	static const uint32_t steps[] = { 1, 2, 5, 8, 10, 24, 32 };
	struct vq_rig rig;

	rig_open(&rig, features, 64);
	for (uint32_t c = 0; c < COUNT(cuts); c++) {
		for (uint32_t s = 0; s < COUNT(steps); s++) {
			struct guest_add each = *how;

			if (how->indirect && how->table == 0)
				each.table = guest_place(&rig.mem, 16 * 80, 16);
			one_message(&rig, cuts[c], false, steps[s], &each);
			one_message(&rig, cuts[c], true, steps[s], &each);
		}
	}
	rig_close(&rig);
}

/* shows: VQ-SPLIT-03 VQ-PACK-13 HOST-VQ-12 */
static void VQ_SPLIT_03_framing_does_not_matter(void **state)
{
	static const struct guest_add direct = { .tag = 0 };

	(void)state;
	all_cuts(0, &direct);
	all_cuts(PACKED, &direct);
}

/* shows: VQ-SPLIT-03 VQ-SPLIT-08 VQ-SPLIT-10 VQ-PACK-18 VQ-PACK-19 HOST-VQ-12 */
static void VQ_SPLIT_10_indirect_tables(void **state)
{
	const struct guest_add ways[] = {
		{ .indirect = true },
		{ .indirect = true, .extra = GUEST_WRITE },
	};
	const struct guest_add linked[] = {
		{ .indirect = true, .backwards = true },
		{ .indirect = true, .spare = 9 },
		{ .indirect = true, .backwards = true, .spare = 2, .extra = GUEST_WRITE },
	};
	const struct guest_add noisy = { .indirect = true, .noise = 0xffff };

	(void)state;
	for (uint32_t i = 0; i < COUNT(ways); i++) {
		all_cuts(INDIRECT, &ways[i]);
		all_cuts(PACKED | INDIRECT, &ways[i]);
	}
	for (uint32_t i = 0; i < COUNT(linked); i++)
		all_cuts(INDIRECT, &linked[i]);
	all_cuts(PACKED | INDIRECT, &noisy);
}

/* shows: VQ-SPLIT-09 VQ-SPLIT-08 */
static void VQ_SPLIT_09_direct_then_indirect(void **state)
{
	(void)state;
	for (uint16_t direct = 0; direct <= 33; direct++) {
		const struct guest_add how = { .indirect = true, .direct = direct,
					       .extra = direct % 2 != 0 ? GUEST_WRITE : 0 };
		struct vq_rig rig;

		rig_open(&rig, INDIRECT, 64);
		for (uint32_t cut = 1; cut <= 24; cut++) {
			struct guest_add each = how;
			struct message probe;

			cut_message(&rig, &probe, cut, false);
			/* an empty table is another matter */
			if (direct >= probe.count)
				break;
			each.table = guest_place(&rig.mem, 16 * 80, 16);
			one_message(&rig, cut, false, 8, &each);
		}
		rig_close(&rig);
	}
}

/* shows: VQ-PACK-20 VQ-PACK-10 VQ-PACK-12 LNX-COR-08 LNX-COR-09 */
static void VQ_PACK_20_direct_and_indirect_mixed(void **state)
{
	const uint64_t formats[] = { INDIRECT, INDIRECT | PACKED };

	(void)state;
	for (uint32_t f = 0; f < COUNT(formats); f++) {
		struct vq_rig rig;

		/* lists of 2 to 4 slots and single ones: all positions of the ring are met */
		rig_open(&rig, formats[f], 8);
		for (uint32_t lap = 0; lap < 200; lap++) {
			const uint32_t cut = lap % 3 == 0 ? 24 : lap % 3 == 1 ? 12 : 10;
			struct guest_add how = { .indirect = lap % 7 < 3 };

			one_message(&rig, cut, false, 8, &how);
		}
		rig_close(&rig);
	}
}

/* Lists that begin at each slot, of each length. */
static void wrap_body(struct vq_rig *rig)
{
	const uint32_t size = rig->q.size;
	struct vmemdev_buf bufs[8];

	if (size > 8)
		return;
	for (uint32_t lap = 0; lap < 6 * size; lap++) {
		for (uint32_t len = 1; len <= size; len++) {
			struct vmemdev_chain chain;
			struct vmemdev_held held;
			struct vmemdev_buf buf;
			int id;

			for (uint32_t i = 0; i < len; i++)
				bufs[i] = (struct vmemdev_buf){ 0x400000 + i, 1 + i, i > 1 };
			id = rig_send_bufs(rig, bufs, len, NULL);
			assert_int_equal(vmemdev_vq_pop(&rig->vq, &chain), 1);
			for (uint32_t i = 0; i < len; i++) {
				assert_int_equal(vmemdev_chain_next(&chain, &buf), 1);
				assert_memory_equal(&buf, &bufs[i], sizeof(buf));
			}
			assert_int_equal(vmemdev_chain_next(&chain, &buf), 0);
			assert_int_equal(vmemdev_chain_next(&chain, &buf), 0);
			assert_int_equal(vmemdev_chain_finish(&chain, &held), 0);
			rig_give(rig, &held, len > 2 ? 3 : 0);
			rig_used(rig, id, len > 2 ? 3 : 0);
		}
		rig_lap(rig);
	}
}

/* shows: VQ-PACK-12 VQ-PACK-10 VQ-PACK-13 VQ-SPLIT-03 */
static void VQ_PACK_12_lists_over_the_end(void **state)
{
	(void)state;
	rig_each(0, EVENT | ORDER, 7, wrap_body);
}

/* A chain with as many descriptors as the queue has is the longest. */
static void longest(uint64_t features, uint32_t size, bool indirect)
{
	static struct vmemdev_buf bufs[1025];
	struct guest_add how = { .indirect = indirect };
	struct vmemdev_chain chain;
	struct vmemdev_held held;
	struct vq_rig rig;
	int id;

	rig_open(&rig, features, size);
	for (uint32_t i = 0; i < COUNT(bufs); i++)
		bufs[i] = (struct vmemdev_buf){ 0x400000, 4, i > 0 };
	if (indirect)
		how.table = guest_place(&rig.mem, 16 * 1025, 16);
	id = rig_send_bufs(&rig, bufs, size, &how);
	held = rig_take(&rig);
	assert_int_equal(held.writable, 4 * (size - 1));
	rig_give(&rig, &held, 0);
	rig_used(&rig, id, 0);
	if (indirect) {
		rig_send_bufs(&rig, bufs, size + 1, &how);
		assert_int_equal(vmemdev_vq_pop(&rig.vq, &chain), 1);
		assert_int_equal(vmemdev_chain_finish(&chain, &held), VMEMDEV_E_GUEST_CHAIN);
		assert_int_equal(vmemdev_vq_pop(&rig.vq, &chain), VMEMDEV_E_GUEST_CHAIN);
	}
	rig_close(&rig);
}

/* shows: VQ-SPLIT-04 VQ-PACK-14 HOST-VQ-04 */
static void VQ_SPLIT_04_chain_as_long_as_the_queue(void **state)
{
	(void)state;
	for (uint32_t size = 1; size <= 1024; size *= 2) {
		longest(0, size, false);
		longest(PACKED, size, false);
		longest(INDIRECT, size, true);
		longest(INDIRECT | PACKED, size, true);
	}
	longest(PACKED, 1023, false);
	longest(INDIRECT | PACKED, 1023, true);
}

/* Copying in skips what was not read; NULL passes over bytes; copies keep their place. */
static void cursor_body(struct vq_rig *rig)
{
	struct message message;
	struct vmemdev_chain chain, copy;
	struct vmemdev_held held;
	uint8_t byte, answer[OUT_LEN];

	if (rig->q.size < 64)
		return;
	for (uint32_t cut = 1; cut <= 24; cut++) {
		cut_message(rig, &message, cut, cut % 2 != 0);
		rig_send_bufs(rig, message.bufs, message.count, NULL);
		assert_int_equal(vmemdev_vq_pop(&rig->vq, &chain), 1);
		assert_int_equal(vmemdev_chain_read(&chain, NULL, 5), 5);
		copy = chain;
		assert_int_equal(vmemdev_chain_read(&chain, &byte, 1), 1);
		assert_int_equal(byte, pattern(5));
		assert_int_equal(vmemdev_chain_read(&copy, &byte, 1), 1);
		assert_int_equal(byte, pattern(5));
		for (uint32_t i = 0; i < OUT_LEN; i++)
			answer[i] = (uint8_t)(0x91 + i);
		assert_int_equal(vmemdev_chain_write(&chain, answer, 3), 3);
		assert_int_equal(vmemdev_chain_read(&chain, &byte, 1), 0);
		assert_int_equal(vmemdev_chain_write(&chain, answer + 3, 100), OUT_LEN - 3);
		check_answer(rig, &message);
		assert_int_equal(vmemdev_chain_finish(&chain, &held), 0);
		assert_int_equal(held.writable, OUT_LEN);
		rig_give(rig, &held, OUT_LEN);
		rig_used(rig, held.id, OUT_LEN);
	}
}

/* shows: VQ-SPLIT-03 VQ-PACK-13 */
static void VQ_SPLIT_03_cursor_keeps_its_place(void **state)
{
	(void)state;
	rig_each(0, EVENT | ORDER, 256, cursor_body);
}

/* Reserve the answer's room, write it later, when the chain is long finished. */
static void reserve_body(struct vq_rig *rig)
{
	struct message message;
	struct vmemdev_chain chain;
	struct vmemdev_reply reply;
	struct vmemdev_held held;
	uint8_t answer[VMEMDEV_REPLY_MAX];

	if (rig->q.size < 64)
		return;
	for (uint32_t i = 0; i < sizeof(answer); i++)
		answer[i] = (uint8_t)(0x91 + i);
	for (uint32_t cut = 1; cut <= 24; cut++) {
		cut_message(rig, &message, cut, cut % 2 != 0);
		rig_send_bufs(rig, message.bufs, message.count, NULL);
		assert_int_equal(vmemdev_vq_pop(&rig->vq, &chain), 1);
		assert_int_equal(vmemdev_chain_reserve(&chain, &reply, 0), VMEMDEV_E_INVAL);
		assert_int_equal(vmemdev_chain_reserve(&chain, &reply, VMEMDEV_REPLY_MAX + 1),
				 VMEMDEV_E_INVAL);
		assert_int_equal(vmemdev_chain_reserve(&chain, &reply, VMEMDEV_REPLY_MAX), OUT_LEN);
		assert_int_equal(reply.len, OUT_LEN);
		assert_int_equal(vmemdev_chain_finish(&chain, &held), 0);
		assert_int_equal(vmemdev_reply_write(&rig->mem.guest, &reply, answer, OUT_LEN + 1),
				 VMEMDEV_E_INVAL);
		assert_int_equal(vmemdev_reply_write(&rig->mem.guest, &reply, answer, 0), 0);
		assert_int_equal(vmemdev_reply_write(&rig->mem.guest, &reply, answer, OUT_LEN), 0);
		check_answer(rig, &message);
		rig_give(rig, &held, OUT_LEN);
		rig_used(rig, held.id, OUT_LEN);
	}
}

/* shows: VQ-SPLIT-14 VQ-SPLIT-03 */
static void VQ_SPLIT_14_answer_given_later(void **state)
{
	(void)state;
	rig_each(0, EVENT | ORDER, 256, reserve_body);
}

/* The answer's room vanishes between reserve and write. */
static void reply_room_must_still_be_memory(void **state)
{
	const struct vmemdev_buf buf = { UINT64_C(0x8000000100), 10, 1 };
	struct vmemdev_chain chain;
	struct vmemdev_reply reply;
	struct vq_rig rig;

	(void)state;
	rig_open(&rig, 0, 2);
	rig_send_bufs(&rig, &buf, 1, NULL);
	assert_int_equal(vmemdev_vq_pop(&rig.vq, &chain), 1);
	assert_int_equal(vmemdev_chain_reserve(&chain, &reply, 10), 10);
	assert_int_equal(guest_memory_show(&rig.mem, HIGHER), 0);
	assert_int_equal(vmemdev_reply_write(&rig.mem.guest, &reply, "0123456789", 10),
			 VMEMDEV_E_GUEST_ADDR);
	assert_int_equal(guest_memory_show(&rig.mem, RIG_REGIONS), 0);
	assert_int_equal(vmemdev_reply_write(&rig.mem.guest, &reply, "0123456789", 10), 0);
	rig_close(&rig);
}

/* Descriptor tables, and readable buffers, are never written (split). */
static void readonly_body(struct vq_rig *rig)
{
	static uint8_t before[256 * 16];
	const uint64_t table_len = 16 * (uint64_t)rig->q.size;
	struct message message;
	struct vmemdev_held held;

	if (rig->q.size != 256)
		return;
	guest_memory_forget(&rig->mem);
	for (uint32_t lap = 0; lap < 20; lap++) {
		const struct guest_add how = {
			.indirect = (rig->features & INDIRECT) != 0,
			.table = guest_place(&rig->mem, 16 * 80, 16),
		};

		cut_message(rig, &message, 1 + lap, true);
		rig_send_bufs(rig, message.bufs, message.count, &how);
		assert_true(guest_read(&rig->mem, rig->q.layout.desc, before, table_len));
		serve(rig, 3, &held);
		check_answer(rig, &message);
		rig_give(rig, &held, OUT_LEN);
		if (!rig->packed) {
			assert_memory_equal(guest_at(&rig->mem, rig->q.layout.desc, table_len),
					    before, (size_t)table_len);
			assert_false(guest_memory_wrote(&rig->mem, rig->q.layout.desc, table_len));
		}
		assert_false(guest_memory_wrote(&rig->mem, how.table, 16 * 80));
		for (uint32_t i = 0; i < message.count; i++) {
			if (!message.bufs[i].writable)
				assert_false(guest_memory_wrote(&rig->mem, message.bufs[i].gpa,
								message.bufs[i].len));
		}
		rig_used(rig, held.id, OUT_LEN);
	}
}

/* shows: VQ-SPLIT-05 VQ-SPLIT-07 VQ-PACK-15 */
static void VQ_SPLIT_07_tables_and_readable_buffers_stay(void **state)
{
	(void)state;
	rig_each(0, EVENT | INDIRECT | ORDER, 256, readonly_body);
}

/* What the device asked the host to map, in callback mode. */
struct map_log {
	uint64_t gpa, len;   /* of the writable buffers */
	uint32_t reads, writes;
};

static void log_map(void *ctx, uint64_t gpa, uint64_t len, enum vmemdev_access access)
{
	struct map_log *log = ctx;

	if (gpa >= log->gpa + log->len || log->gpa >= gpa + len)
		return;
	if (access == VMEMDEV_READ)
		log->reads++;
	else
		log->writes++;
}

/* shows: VQ-SPLIT-06 VQ-PACK-15 */
static void VQ_SPLIT_06_writable_buffers_are_not_read(void **state)
{
	const uint64_t formats[] = { 0, PACKED };

	(void)state;
	for (uint32_t f = 0; f < COUNT(formats); f++) {
		struct map_log log = { 0x400000, 0x1000, 0, 0 };
		const struct vmemdev_buf bufs[] = {
			{ 0x300000, 8, 0 }, { 0x400000, 8, 1 }, { 0x400800, 8, 1 },
		};
		struct vmemdev_chain chain;
		struct vmemdev_held held;
		struct vmemdev_reply reply;
		uint8_t in[16];
		struct vq_rig rig;

		rig_open_mode(&rig, GUEST_CALLBACKS, formats[f], 8);
		rig.mem.on_map = log_map;
		rig.mem.on_map_ctx = &log;
		rig_send_bufs(&rig, bufs, 3, NULL);
		assert_int_equal(vmemdev_vq_pop(&rig.vq, &chain), 1);
		assert_int_equal(vmemdev_chain_read(&chain, in, 16), 8);
		assert_int_equal(vmemdev_chain_write(&chain, in, 4), 4);
		assert_int_equal(vmemdev_chain_reserve(&chain, &reply, 12), 12);
		assert_int_equal(vmemdev_chain_finish(&chain, &held), 0);
		rig_give(&rig, &held, 4);
		assert_int_equal(log.reads, 0);
		assert_true(log.writes > 0);
		rig_close(&rig);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(VQ_SPLIT_03_framing_does_not_matter),
		RIG_TEST(VQ_SPLIT_10_indirect_tables),
		RIG_TEST(VQ_SPLIT_09_direct_then_indirect),
		RIG_TEST(VQ_PACK_20_direct_and_indirect_mixed),
		RIG_TEST(VQ_PACK_12_lists_over_the_end),
		RIG_TEST(VQ_SPLIT_04_chain_as_long_as_the_queue),
		RIG_TEST(VQ_SPLIT_03_cursor_keeps_its_place),
		RIG_TEST(VQ_SPLIT_14_answer_given_later),
		RIG_TEST(reply_room_must_still_be_memory),
		RIG_TEST(VQ_SPLIT_07_tables_and_readable_buffers_stay),
		RIG_TEST(VQ_SPLIT_06_writable_buffers_are_not_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
