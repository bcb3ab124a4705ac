/* SPDX-License-Identifier: BSD-3-Clause */
/* Queues that are stopped and go on where they stood, as vhost-user front ends have them do. */
#include "device_rig.h"

#define CHAINS 40u
#define NUMBERS 600u /* page numbers of a chain at most: several units of budget */

static struct vmemdev_vq_state stop(struct rig *rig, uint16_t queue)
{
	struct vmemdev_vq_state state;

	memset(&state, 0xff, sizeof(state));
	assert_int_equal(vmemdev_device_queue_stop(rig->dev, queue, &state), 0);
	assert_false(vmemdev_device_queue_enabled(rig->dev, queue));
	return state;
}

static void go_on(struct rig *rig, uint16_t queue, const struct vmemdev_vq_state *state)
{
	struct vmemdev_vq_layout *layout = vmemdev_device_queue_layout(rig->dev, queue);

	assert_non_null(layout);
	*layout = rig->driver.queues[queue].layout;
	assert_int_equal(vmemdev_device_queue_resume(rig->dev, queue, state), 0);
	assert_true(vmemdev_device_queue_enabled(rig->dev, queue));
}

static void stop_and_go_on(struct rig *rig, uint16_t queue)
{
	struct vmemdev_vq_state state = stop(rig, queue);

	assert_int_equal(rig_run(rig), 0);
	go_on(rig, queue, &state);
}

/*
 * The same with work in hand. Used entries of a packed ring overwrite the request as soon as
 * they are staged: there the device may ask to finish what it has begun.
 */
static void use_features(struct rig *rig, uint64_t features)
{
	struct vmemdev_balloon_config config;

	rig_balloon_full_config(rig, &config);
	config.device.features_on |= features & VMEMDEV_F_IN_ORDER;
	if (rig->connected)
		guest_driver_close(&rig->driver);
	guest_place_release(&rig->memory, 0);
	rig_make_balloon(rig, &config);
	drv_start(rig, BALLOON_FULL | features);
}

/* What the host was told of the play area, a bit a page, since it was last cleared. */
static uint64_t told[8];

static void note(struct rig *rig, const struct host_call *call)
{
	(void)rig;
	for (uint32_t i = 0; i < call->count; i++) {
		for (uint64_t at = 0; at < call->ranges[i].len; at += PAGE) {
			uint64_t page = (call->ranges[i].gpa + at - PLAY_GPA) / PAGE;

			told[page / 64] |= UINT64_C(1) << page % 64;
		}
	}
}

/* A chain of @count page numbers, all of them @page. */
static void post(struct rig *rig, uint32_t page, uint32_t count)
{
	const uint64_t gpa = guest_place(&rig->memory, 4 * (uint64_t)count, 4);
	const struct vmemdev_buf buf = {.gpa = gpa, .len = 4 * count, .writable = 0};
	struct guest_add how = {.tag = page};

	for (uint32_t i = 0; i < count; i++)
		guest_store32(&rig->memory, gpa + 4 * (uint64_t)i, PLAY_PFN + page);
	assert_true(guest_queue_add(&rig->driver.queues[INFLATEQ], &buf, 1, &how) >= 0);
	guest_queue_publish(&rig->driver.queues[INFLATEQ]);
	drv_kick(rig, INFLATEQ);
}

/* Used buffers come in order, each once, and only after the host was told. */
static uint32_t take_used(struct rig *rig, uint32_t next)
{
	struct guest_used used;

	for (; drv_used(rig, INFLATEQ, &used); next++) {
		assert_int_equal(used.tag, next);
		assert_int_equal(used.len, 0);
		assert_true(told[next / 64] >> next % 64 & 1);
	}
	return next;
}

static void stop_at_random(struct rig *rig, uint64_t features, uint64_t seed)
{
	struct guest_random random;
	uint32_t posted = 0, used = 0;
	uint64_t mark;

	use_features(rig, features);
	mark = guest_place_mark(&rig->memory);
	memset(told, 0, sizeof(told));
	rig->host.hook = note;
	guest_random_seed(&random, seed);
	for (uint32_t turns = 0; used < CHAINS; turns++) {
		if (turns == 5000)
			fail_msg("seed %u: chain %u was lost", (unsigned int)seed, used);
		while (posted < CHAINS && guest_random_below(&random, 3))
			post(rig, posted++, 1 + guest_random_below(&random, NUMBERS));
		rig->host.answer = guest_random_below(&random, 4) ? 0 : VMEMDEV_LATER;
		assert_true(rig_step(rig, 1 + guest_random_below(&random, 5)) >= 0);
		if (guest_random_below(&random, 2))
			(void)rig_complete(rig, rig->host.token, 0);
		used = take_used(rig, used);
		if (guest_random_below(&random, 3) == 0) {
			/* the host ends its work, and hears of what is left of a buffer */
			rig->host.answer = 0;
			(void)rig_complete(rig, rig->host.token, 0);
			assert_true(rig_step(rig, 1) >= 0);
			stop_and_go_on(rig, INFLATEQ);
			used = take_used(rig, used);
		}
	}
	rig->host.answer = 0;
	assert_int_equal(rig_run(rig), 0);
	assert_int_equal(take_used(rig, used), CHAINS);
	assert_int_equal(rig->errors, 0);
	guest_place_release(&rig->memory, mark);
}

static void device_stop_loses_no_request_and_uses_none_twice(void **state)
{
	static const uint64_t features[] = {
		0, VMEMDEV_F_EVENT_IDX, VMEMDEV_F_IN_ORDER, VMEMDEV_F_IN_ORDER | VMEMDEV_F_EVENT_IDX};

	for (size_t i = 0; i < ARRAY_LEN(features); i++) {
		for (uint64_t seed = 1; seed < 12; seed++)
			stop_at_random(*state, features[i], seed);
	}
}

static void device_stop_between_requests_goes_on_with_the_next(void **state)
{
	struct rig *rig = *state;
	uint32_t used = 0;

	memset(told, 0, sizeof(told));
	rig->host.hook = note;
	/* three times around the ring */
	for (uint32_t i = 0; i < 400; i++) {
		used = i % 512;
		post(rig, used, 1);
		assert_int_equal(rig_run(rig), 0);
		assert_int_equal(take_used(rig, used), used + 1);
		stop_and_go_on(rig, INFLATEQ);
		assert_int_equal(rig_run(rig), 0);
		assert_int_equal(take_used(rig, used), used);
	}
}

static void device_stop_waits_for_host_work(void **state)
{
	struct rig *rig = *state;
	struct vmemdev_vq_state at;

	rig->host.answer = VMEMDEV_LATER;
	post(rig, 0, 1);
	assert_int_equal(rig_run(rig), 0);
	assert_int_equal(vmemdev_device_queue_stop(rig->dev, INFLATEQ, &at), VMEMDEV_E_STATE);
	assert_int_equal(rig->host.cancels, 0);
	assert_int_equal(drv_used_count(rig, INFLATEQ), 0);
	assert_int_equal(rig_complete(rig, rig->host.token, 0), 0);
	assert_false(drv_took_queue_irq(rig));
	/* the host is done with it: it is used, and not asked for again */
	rig->host.answer = 0;
	at = stop(rig, INFLATEQ);
	assert_true(drv_took_queue_irq(rig));
	assert_int_equal(drv_used_count(rig, INFLATEQ), 1);
	go_on(rig, INFLATEQ, &at);
	assert_int_equal(rig_run(rig), 0);
	assert_int_equal(host_count(rig, HOST_INFLATE), 1);
	assert_int_equal(drv_used_count(rig, INFLATEQ), 0);
}

/* The driver does not notice: its round of hinting goes on. */
static void device_stop_leaves_a_round_of_hinting_open(void **state)
{
	const struct vmemdev_range range = {PLAY_GPA, 4 * PAGE};
	struct rig *rig = *state;
	uint8_t id[4];

	assert_int_equal(vmemdev_balloon_hint_start(&rig->balloon), 0);
	vmemdev_device_config_read(rig->dev, 8, id, sizeof(id));
	assert_true(guest_write(&rig->memory, DATA_GPA, id, sizeof(id)));
	drv_add(rig, HINTQ, &(struct vmemdev_buf){.gpa = DATA_GPA, .len = 4}, 1);
	drv_kick(rig, HINTQ);
	assert_int_equal(rig_run(rig), 0);
	assert_int_equal(vmemdev_balloon_hint_round(&rig->balloon), VMEMDEV_BALLOON_ROUND_OPEN);
	stop_and_go_on(rig, HINTQ);
	assert_int_equal(vmemdev_balloon_hint_round(&rig->balloon), VMEMDEV_BALLOON_ROUND_OPEN);
	ranges_post(rig, HINTQ, &range, 1);
	drv_kick(rig, HINTQ);
	assert_int_equal(rig_run(rig), 0);
	assert_true(host_last(rig)->op == HOST_HINT);
	assert_true(host_last(rig)->ranges[0].gpa == PLAY_GPA);
}

static void device_stop_reads_the_kept_statistics_anew(void **state)
{
	struct rig *rig = *state;
	const struct vmemdev_buf buf = {.gpa = DATA_GPA, .len = 20, .writable = 0};
	struct vmemdev_balloon_stats stats;
	uint8_t bytes[20] = {4, 0, 7};

	assert_true(guest_write(&rig->memory, DATA_GPA, bytes, sizeof(bytes)));
	drv_add(rig, STATSQ, &buf, 1);
	drv_kick(rig, STATSQ);
	assert_int_equal(rig_run(rig), 0);
	for (uint32_t i = 0; i < 3; i++) {
		stop_and_go_on(rig, STATSQ);
		assert_int_equal(rig_run(rig), 0);
		assert_int_equal(host_count(rig, HOST_STATS), i + 2);
		assert_int_equal(drv_used_count(rig, STATSQ), 0);
	}
	vmemdev_balloon_get_stats(&rig->balloon, &stats);
	assert_true(stats.valid);
	assert_true(stats.value[VMEMDEV_BALLOON_UNUSED] == 7);
	assert_int_equal(vmemdev_balloon_poll_stats(&rig->balloon), 0);
	assert_int_equal(rig_run(rig), 0);
	assert_int_equal(drv_used_count(rig, STATSQ), 1);
}

/* shows: AMB-01 */
static void AMB_01_a_stopped_queue_keeps_its_meaning(void **state)
{
	struct rig *rig = *state;
	const struct vmemdev_buf buf = {.gpa = PLAY_GPA, .len = PAGE, .writable = 1};

	drv_start_numbered(rig, VMEMDEV_BALLOON_F_PAGE_REPORTING, GUEST_GAPLESS);
	for (uint32_t i = 0; i < 3; i++) {
		stop_and_go_on(rig, 2);
		drv_add(rig, 2, &buf, 1);
		drv_kick(rig, 2);
		assert_int_equal(rig_run(rig), 0);
		assert_int_equal(host_count(rig, HOST_REPORT), i + 1);
		assert_int_equal(drv_used_count(rig, 2), 1);
	}
}

static void stop_inside(struct rig *rig, const struct host_call *call)
{
	struct vmemdev_vq_state state;

	(void)call;
	assert_int_equal(vmemdev_device_queue_stop(rig->dev, INFLATEQ, &state), VMEMDEV_E_STATE);
	assert_int_equal(vmemdev_device_queue_resume(rig->dev, HINTQ, &state), VMEMDEV_E_STATE);
}

static void device_stop_tells_why_it_cannot(void **state)
{
	struct rig *rig = *state;
	struct vmemdev_vq_state at = {.busy = 0};
	const struct vmemdev_vq_state bad = {.next_avail = 5, .next_used = 3, .busy = 1};

	assert_int_equal(vmemdev_device_queue_stop(rig->dev, INFLATEQ, NULL), VMEMDEV_E_INVAL);
	assert_int_equal(vmemdev_device_queue_stop(rig->dev, 5, &at), VMEMDEV_E_INVAL);
	assert_int_equal(vmemdev_device_queue_resume(rig->dev, 5, &at), VMEMDEV_E_INVAL);
	assert_int_equal(vmemdev_device_queue_resume(rig->dev, INFLATEQ, NULL), VMEMDEV_E_INVAL);
	assert_int_equal(vmemdev_device_queue_resume(rig->dev, INFLATEQ, &at), VMEMDEV_E_STATE);
	rig->host.hook = stop_inside;
	post(rig, 0, 1);
	assert_int_equal(rig_run(rig), 0);
	assert_int_equal(rig->host.count, 1);
	rig->host.hook = NULL;

	at = stop(rig, INFLATEQ);
	assert_int_equal(vmemdev_device_queue_stop(rig->dev, INFLATEQ, &at), VMEMDEV_E_STATE);
	*vmemdev_device_queue_layout(rig->dev, INFLATEQ) = rig->driver.queues[INFLATEQ].layout;
	assert_int_equal(vmemdev_device_queue_resume(rig->dev, INFLATEQ, &bad), VMEMDEV_E_INVAL);
	assert_false(vmemdev_device_queue_enabled(rig->dev, INFLATEQ));
	go_on(rig, INFLATEQ, &at);

	drv_break(rig, DEFLATEQ);
	assert_true(rig_run(rig) < 0);
	assert_int_equal(vmemdev_device_queue_stop(rig->dev, DEFLATEQ, &at),
			 vmemdev_device_fault(rig->dev));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_RINGS(device_stop_loses_no_request_and_uses_none_twice, rig_setup_bare),
		TEST_RINGS(device_stop_between_requests_goes_on_with_the_next,
			   rig_setup_balloon_full_live),
		TEST_RINGS(device_stop_waits_for_host_work, rig_setup_balloon_full_live),
		TEST_RINGS(device_stop_leaves_a_round_of_hinting_open,
			   rig_setup_balloon_full_live),
		TEST_RINGS(device_stop_reads_the_kept_statistics_anew,
			   rig_setup_balloon_full_live),
		TEST_RINGS(AMB_01_a_stopped_queue_keeps_its_meaning, rig_setup_balloon_full),
		TEST_RINGS(device_stop_tells_why_it_cannot, rig_setup_balloon_full_live),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
