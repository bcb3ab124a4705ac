/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A resize driven to its end: progress, standing still, giving up. The guest here is as slow,
 * or as unable, as each test wants; the clock is a number.
 */
#include "device_rig.h"

static struct vmemdev_mem_resize resize;

static int setup_resize(void **state)
{
	rig_setup_mem_live(state);
	memset(&resize, 0, sizeof(resize));
	return 0;
}

static struct vmemdev_mem_resize_config config_of(uint64_t blocks)
{
	struct vmemdev_mem_resize_config config = {
		.struct_size = sizeof(config), .bytes = blocks * MEM_BLOCK, .stall_after = 10,
		.timeout = 100};

	return config;
}

static void start(struct rig *rig, uint64_t blocks, uint64_t now)
{
	struct vmemdev_mem_resize_config config = config_of(blocks);

	assert_int_equal(vmemdev_mem_resize_start(&resize, sizeof(resize), &rig->mem, &config,
						  now), 0);
}

static struct vmemdev_mem_resize_progress progress(void)
{
	struct vmemdev_mem_resize_progress now;

	memset(&now, 0x5a, sizeof(now));
	vmemdev_mem_resize_get(&resize, &now);
	return now;
}

static void step(uint64_t now, enum vmemdev_mem_resize_state state, uint32_t percent)
{
	assert_int_equal(vmemdev_mem_resize_step(&resize, now), state);
	assert_int_equal(progress().state, state);
	assert_int_equal(progress().percent, percent);
}

static void plug(struct rig *rig, uint32_t first, uint16_t count)
{
	mem_expect(rig, GUEST_MEM_PLUG, BLOCK(first), count, GUEST_MEM_ACK);
}

static void unplug(struct rig *rig, uint32_t first, uint16_t count)
{
	mem_expect(rig, GUEST_MEM_UNPLUG, BLOCK(first), count, GUEST_MEM_ACK);
}

static void a_resize_grows_to_its_end(void **state)
{
	struct rig *rig = *state;

	start(rig, 40, 1000);
	assert_true(mem_sizes(rig).requested == 40 * MEM_BLOCK);
	assert_true(drv_took_config_irq(rig));
	assert_int_equal(progress().state, VMEMDEV_MEM_RESIZE_RUNNING);
	step(1001, VMEMDEV_MEM_RESIZE_RUNNING, 0);
	for (uint32_t done = 10; done < 40; done += 10) {
		plug(rig, done, 10);
		step(1000 + done, VMEMDEV_MEM_RESIZE_RUNNING, done * 100 / 40);
		assert_true(progress().from == 0 && progress().to == 40 * MEM_BLOCK);
		assert_true(progress().plugged == done * MEM_BLOCK);
		assert_true(progress().still_for == 0);
	}
	plug(rig, 0, 9);
	step(1045, VMEMDEV_MEM_RESIZE_RUNNING, 97);
	plug(rig, 9, 1);
	step(1046, VMEMDEV_MEM_RESIZE_DONE, 100);
	/* it is over, whatever comes */
	unplug(rig, 9, 1);
	step(5000, VMEMDEV_MEM_RESIZE_DONE, 97);
	vmemdev_mem_resize_cancel(&resize);
	step(5001, VMEMDEV_MEM_RESIZE_DONE, 97);
	assert_true(mem_sizes(rig).requested == 40 * MEM_BLOCK);
}

static void a_resize_shrinks_to_its_end(void **state)
{
	struct rig *rig = *state;

	mem_want(rig, 50 * MEM_BLOCK);
	plug(rig, 0, 50);
	start(rig, 10, 5);
	assert_true(progress().from == 50 * MEM_BLOCK && progress().to == 10 * MEM_BLOCK);
	step(6, VMEMDEV_MEM_RESIZE_RUNNING, 0);
	unplug(rig, 0, 10);
	step(7, VMEMDEV_MEM_RESIZE_RUNNING, 25);
	unplug(rig, 20, 29);
	step(8, VMEMDEV_MEM_RESIZE_RUNNING, 97);
	unplug(rig, 10, 1);
	step(9, VMEMDEV_MEM_RESIZE_DONE, 100);
}

static void nothing_to_do_is_done(void **state)
{
	struct rig *rig = *state;

	start(rig, 0, 5);
	assert_false(drv_took_config_irq(rig));
	assert_int_equal(progress().percent, 100);
	step(5, VMEMDEV_MEM_RESIZE_DONE, 100);
}

/* The guest cannot go on, then can, then cannot again. */
static void standing_still_is_seen_and_may_end(void **state)
{
	struct rig *rig = *state;

	mem_want(rig, 50 * MEM_BLOCK);
	plug(rig, 0, 50);
	start(rig, 10, 0);
	unplug(rig, 0, 20);
	step(3, VMEMDEV_MEM_RESIZE_RUNNING, 50);
	step(12, VMEMDEV_MEM_RESIZE_RUNNING, 50);
	assert_true(progress().still_for == 9);
	step(13, VMEMDEV_MEM_RESIZE_STALLED, 50);
	assert_true(progress().still_for == 10);
	step(30, VMEMDEV_MEM_RESIZE_STALLED, 50);
	assert_true(progress().still_for == 27);
	/* the device works as before, the target stands */
	assert_true(mem_sizes(rig).requested == 10 * MEM_BLOCK);
	unplug(rig, 20, 2);
	step(31, VMEMDEV_MEM_RESIZE_RUNNING, 55);
	assert_true(progress().still_for == 0);
	step(40, VMEMDEV_MEM_RESIZE_RUNNING, 55);
	step(41, VMEMDEV_MEM_RESIZE_STALLED, 55);
	/* a block that moves the wrong way moves, too */
	mem_want(rig, 60 * MEM_BLOCK);
	plug(rig, 0, 1);
	mem_want(rig, 10 * MEM_BLOCK);
	step(42, VMEMDEV_MEM_RESIZE_RUNNING, 52);
	unplug(rig, 0, 1);
	unplug(rig, 22, 18);
	step(43, VMEMDEV_MEM_RESIZE_DONE, 100);
}

/* When the time is over, the guest is asked for no more than it has managed. */
static void time_is_over(void **state)
{
	struct rig *rig = *state;

	mem_want(rig, 50 * MEM_BLOCK);
	plug(rig, 0, 50);
	drv_took_config_irq(rig);
	start(rig, 10, 7);
	unplug(rig, 0, 4);
	step(106, VMEMDEV_MEM_RESIZE_RUNNING, 10);
	assert_true(drv_took_config_irq(rig));
	step(107, VMEMDEV_MEM_RESIZE_TIMED_OUT, 10);
	assert_true(mem_sizes(rig).requested == 46 * MEM_BLOCK);
	assert_true(drv_took_config_irq(rig));
	step(108, VMEMDEV_MEM_RESIZE_TIMED_OUT, 10);
	/* the next one starts from there */
	start(rig, 50, 200);
	assert_true(progress().from == 46 * MEM_BLOCK);
	plug(rig, 0, 2);
	step(201, VMEMDEV_MEM_RESIZE_RUNNING, 50);
	plug(rig, 2, 2);
	step(300, VMEMDEV_MEM_RESIZE_DONE, 100); /* done wins over the end of the time */
}

static void a_time_of_0_means_never(void **state)
{
	struct rig *rig = *state;
	struct vmemdev_mem_resize_config config = config_of(8);

	config.timeout = 0;
	config.stall_after = 0;
	assert_int_equal(vmemdev_mem_resize_start(&resize, sizeof(resize), &rig->mem, &config, 0),
			 0);
	step(UINT64_MAX, VMEMDEV_MEM_RESIZE_RUNNING, 0);
	config.timeout = 50;
	assert_int_equal(vmemdev_mem_resize_start(&resize, sizeof(resize), &rig->mem, &config, 0),
			 0);
	step(49, VMEMDEV_MEM_RESIZE_RUNNING, 0);
	step(50, VMEMDEV_MEM_RESIZE_TIMED_OUT, 0);
	assert_true(mem_sizes(rig).requested == 0);
	config.timeout = 0;
	config.stall_after = 10;
	assert_int_equal(vmemdev_mem_resize_start(&resize, sizeof(resize), &rig->mem, &config, 0),
			 0);
	step(1000000, VMEMDEV_MEM_RESIZE_STALLED, 0);
}

static void cancel_leaves_what_was_reached(void **state)
{
	struct rig *rig = *state;

	vmemdev_mem_resize_cancel(&resize); /* none was started: nothing happens */
	start(rig, 40, 0);
	plug(rig, 0, 30);
	step(1, VMEMDEV_MEM_RESIZE_RUNNING, 75);
	plug(rig, 30, 2);
	vmemdev_mem_resize_cancel(&resize);
	assert_int_equal(progress().state, VMEMDEV_MEM_RESIZE_CANCELLED);
	assert_true(mem_sizes(rig).requested == 32 * MEM_BLOCK);
	step(500, VMEMDEV_MEM_RESIZE_CANCELLED, 80);
	mem_want(rig, 96 * MEM_BLOCK);
	vmemdev_mem_resize_cancel(&resize);
	assert_true(mem_sizes(rig).requested == 96 * MEM_BLOCK);
	/* one that stands still can be cancelled, too */
	start(rig, 0, 0);
	step(20, VMEMDEV_MEM_RESIZE_STALLED, 0);
	vmemdev_mem_resize_cancel(&resize);
	assert_true(mem_sizes(rig).requested == 32 * MEM_BLOCK);
}

/* Somebody asks for another size meanwhile: this one ends, and does not touch that. */
static void another_request_ends_it(void **state)
{
	struct rig *rig = *state;

	start(rig, 40, 0);
	plug(rig, 0, 10);
	step(1, VMEMDEV_MEM_RESIZE_RUNNING, 25);
	mem_want(rig, 60 * MEM_BLOCK);
	step(1000, VMEMDEV_MEM_RESIZE_CANCELLED, 25);
	assert_true(mem_sizes(rig).requested == 60 * MEM_BLOCK);
	vmemdev_mem_resize_cancel(&resize);
	assert_true(mem_sizes(rig).requested == 60 * MEM_BLOCK);
	/* also where nobody has looked in between */
	start(rig, 40, 0);
	mem_want(rig, 50 * MEM_BLOCK);
	vmemdev_mem_resize_cancel(&resize);
	assert_int_equal(progress().state, VMEMDEV_MEM_RESIZE_CANCELLED);
	assert_true(mem_sizes(rig).requested == 50 * MEM_BLOCK);
}

/* Fewer blocks than at the start, or more than wanted: from 0 to 100, not beyond. */
static void percent_stays_within_its_bounds(void **state)
{
	struct rig *rig = *state;

	mem_want(rig, 50 * MEM_BLOCK);
	plug(rig, 0, 20);
	start(rig, 40, 0);
	unplug(rig, 0, 20);
	step(1, VMEMDEV_MEM_RESIZE_RUNNING, 0);
	plug(rig, 0, 20);
	step(2, VMEMDEV_MEM_RESIZE_RUNNING, 0);
	plug(rig, 20, 1);
	step(3, VMEMDEV_MEM_RESIZE_RUNNING, 5);
	start(rig, 21, 0);
	step(1, VMEMDEV_MEM_RESIZE_DONE, 100);
	unplug(rig, 0, 5);
	assert_int_equal(progress().percent, 0); /* no way to go at all, and not there */
}

/* 64 TiB are no number too large; and a step of 1 in 65536 is not yet one per cent. */
static void percent_at_64_TiB(void **state)
{
	const uint64_t gib = UINT64_C(1) << 30, all = VMEMDEV_MEM_REGION_MAX;
	struct vmemdev_mem_resize_config config = config_of(0);
	struct rig *rig = rig_bare(*state);
	struct vmemdev_mem_config mem;

	*state = rig;
	memset(&resize, 0, sizeof(resize));
	rig_mem_config(rig, &mem);
	mem.block_size = gib;
	mem.region_size = all;
	mem.slack = all;
	mem.bitmap_words = vmemdev_mem_bitmap_words(all, gib);
	mem.bitmap = calloc(mem.bitmap_words, sizeof(uint64_t));
	assert_non_null(mem.bitmap);
	rig_make_mem(rig, &mem);
	drv_start(rig, 0);
	config.bytes = all;
	assert_int_equal(vmemdev_mem_resize_start(&resize, sizeof(resize), &rig->mem, &config, 0),
			 0);
	mem_expect(rig, GUEST_MEM_PLUG, MEM_GPA, 1, GUEST_MEM_ACK);
	step(1, VMEMDEV_MEM_RESIZE_RUNNING, 0);
	mem_expect(rig, GUEST_MEM_PLUG, MEM_GPA + gib, 32767, GUEST_MEM_ACK);
	step(2, VMEMDEV_MEM_RESIZE_RUNNING, 50);
	mem_expect(rig, GUEST_MEM_PLUG, MEM_GPA + 32768 * gib, 32767, GUEST_MEM_ACK);
	step(3, VMEMDEV_MEM_RESIZE_RUNNING, 99);
	mem_expect(rig, GUEST_MEM_PLUG, MEM_GPA + 65535 * gib, 1, GUEST_MEM_ACK);
	step(4, VMEMDEV_MEM_RESIZE_DONE, 100);
	free(mem.bitmap);
}

/* Only differences of the clock count, also where it passes its end. */
static void the_clock_may_wrap(void **state)
{
	struct rig *rig = *state;
	const uint64_t late = UINT64_MAX - 4;

	start(rig, 40, late);
	step(late + 2, VMEMDEV_MEM_RESIZE_RUNNING, 0); /* before its end, too */
	step(late + 8, VMEMDEV_MEM_RESIZE_RUNNING, 0);
	assert_true(progress().still_for == 8);
	plug(rig, 0, 10);
	step(late + 9, VMEMDEV_MEM_RESIZE_RUNNING, 25);
	step(late + 18, VMEMDEV_MEM_RESIZE_RUNNING, 25);
	step(late + 19, VMEMDEV_MEM_RESIZE_STALLED, 25);
	step(late + 99, VMEMDEV_MEM_RESIZE_STALLED, 25);
	step(late + 100, VMEMDEV_MEM_RESIZE_TIMED_OUT, 25);
}

static void none_is_all_zero(void **state)
{
	const struct vmemdev_mem_resize_progress none = {0};
	struct vmemdev_mem_resize_progress now = progress();

	(void)state;
	assert_memory_equal(&now, &none, sizeof(now));
	assert_int_equal(vmemdev_mem_resize_step(&resize, 77), VMEMDEV_MEM_RESIZE_NONE);
}

static int inside_result;

static void start_inside(struct rig *rig, const struct host_call *call)
{
	struct vmemdev_mem_resize_config config = config_of(50);

	(void)call;
	inside_result = vmemdev_mem_resize_start(&resize, sizeof(resize), &rig->mem, &config, 0);
}

static void start_names_what_is_wrong(void **state)
{
	struct rig *rig = *state;
	struct vmemdev_mem_resize_config config;
	struct vmemdev_mem *mem = &rig->mem;

	mem_want(rig, 10 * MEM_BLOCK);
	config = config_of(20);
	assert_int_equal(vmemdev_mem_resize_start(NULL, sizeof(resize), mem, &config, 0),
			 VMEMDEV_E_INVAL);
	assert_int_equal(vmemdev_mem_resize_start(&resize, sizeof(resize), NULL, &config, 0),
			 VMEMDEV_E_INVAL);
	assert_int_equal(vmemdev_mem_resize_start(&resize, sizeof(resize), mem, NULL, 0),
			 VMEMDEV_E_INVAL);
	assert_int_equal(vmemdev_mem_resize_start(&resize, sizeof(resize) - 8, mem, &config, 0),
			 VMEMDEV_E_ABI);
	config.struct_size = 8;
	assert_int_equal(vmemdev_mem_resize_start(&resize, sizeof(resize), mem, &config, 0),
			 VMEMDEV_E_ABI);
	for (uint32_t i = 0; i < 4; i++) {
		config = config_of(20);
		config.pad_[i] = 1;
		assert_int_equal(vmemdev_mem_resize_start(&resize, sizeof(resize), mem, &config,
							  0), VMEMDEV_E_INVAL);
	}
	config = config_of(MEM_BLOCKS + 1);
	assert_int_equal(vmemdev_mem_resize_start(&resize, sizeof(resize), mem, &config, 0),
			 VMEMDEV_E_SIZE);
	config = config_of(20);
	config.bytes++;
	assert_int_equal(vmemdev_mem_resize_start(&resize, sizeof(resize), mem, &config, 0),
			 VMEMDEV_E_ALIGN);
	rig->host.hook = start_inside;
	plug(rig, 0, 1);
	assert_int_equal(inside_result, VMEMDEV_E_STATE);
	none_is_all_zero(state);
	assert_true(mem_sizes(rig).requested == 10 * MEM_BLOCK);
}

static int setup_way(void **state)
{
	(void)state;
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_RINGS(a_resize_grows_to_its_end, setup_resize),
		TEST_RINGS(a_resize_shrinks_to_its_end, setup_resize),
		TEST_ONCE(nothing_to_do_is_done, setup_resize),
		TEST_ONCE(standing_still_is_seen_and_may_end, setup_resize),
		TEST_BUSES(time_is_over, setup_resize),
		TEST_ONCE(a_time_of_0_means_never, setup_resize),
		TEST_ONCE(cancel_leaves_what_was_reached, setup_resize),
		TEST_ONCE(another_request_ends_it, setup_resize),
		TEST_ONCE(percent_stays_within_its_bounds, setup_resize),
		TEST_ONCE(percent_at_64_TiB, setup_way),
		TEST_ONCE(the_clock_may_wrap, setup_resize),
		TEST_ONCE(none_is_all_zero, setup_resize),
		TEST_ONCE(start_names_what_is_wrong, setup_resize),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
