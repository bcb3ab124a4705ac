/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A host in trouble under an honest guest. Its callbacks fail, answer what no callback should
 * answer, put work off and end it late, twice, or when it was called off; its memory moves to
 * other addresses, becomes read-only, goes away and comes back, also inside callbacks; devices and queues are reset, stopped
 * and resumed in between. Nothing is lost and nothing done twice: the books of play.h agree at
 * any time, no device stops, and each time that everything is let come to its end, each request
 * has been used exactly once.
 */
#include "play.h"

#ifdef FEWER_STEPS
#define STEPS 6000u
#else
#define STEPS 20000u
#endif

struct trouble {
	struct player *p;
	bool gone[PLAY_REGIONS];
	uint64_t moves, stops, settled, inside;
};

static uint32_t below(struct trouble *t, uint32_t limit)
{
	return play_below(t->p, limit);
}

static const struct vmemdev_region *shown_blocks(const struct player *p)
{
	return &p->table[p->table_count - 1];
}

/* The table anew, of what is not gone. */
static void show(struct trouble *t)
{
	struct player *p = t->p;
	struct vmemdev_region blocks = *shown_blocks(p);
	uint32_t count = 0;

	for (uint32_t i = 0; i < PLAY_BLOCKS; i++) {
		if (!t->gone[i])
			p->table[count++] = p->rig->memory.regions[i];
	}
	if (p->device == PLAY_MEM) {
		blocks.host = p->rig->memory.regions[PLAY_BLOCKS].host;
		p->table[count++] = blocks;
	}
	p->table_count = count;
	play_show(p);
}

/* The region is somewhere else in the host; where it was, nothing is (AddressSanitizer). */
static void move_region(struct trouble *t, uint32_t number)
{
	struct guest_memory *mem = &t->p->rig->memory;
	struct vmemdev_region *region = &mem->regions[number];
	void *old = region->host;

	region->host = aligned_alloc(4096, (size_t)region->len);
	assert_non_null(region->host);
	memcpy(region->host, old, (size_t)region->len);
	for (uint16_t q = 0; number == PLAY_RAM && q < VMEMDEV_QUEUES_MAX; q++) {
		struct guest_queue *queue = &t->p->rig->driver.queues[q];

		if (!t->p->rig->driver.open[q])
			continue;
		queue->desc = guest_at(mem, queue->layout.desc, 1);
		queue->driver = guest_at(mem, queue->layout.driver, 1);
		queue->device = guest_at(mem, queue->layout.device, 1);
	}
	show(t);
	free(old);
	t->moves++;
}

static void change_table(struct trouble *t)
{
	static const uint32_t flags[] = {0, 0, VMEMDEV_REGION_KEEP, VMEMDEV_REGION_READONLY};
	uint32_t number = 1 + below(t, PLAY_BLOCKS - 1);

	switch (below(t, 4)) {
	case 0:
		move_region(t, below(t, 32) ? number : PLAY_RAM);
		break;
	case 1:
		vmemdev_guest_changed(&t->p->rig->memory.guest);
		break;
	case 2:
		t->p->rig->memory.regions[number].flags = flags[below(t, ARRAY_LEN(flags))];
		show(t);
		break;
	default:
		/* Not before the host has ended its own work there. */
		if (!t->p->waiting)
			t->gone[number] = !t->gone[number];
		show(t);
		break;
	}
}

/* Inside a callback of a device: what it was told of stays, all else may be elsewhere or gone. */
static void change_inside(struct player *p)
{
	struct trouble *t = p->inside_ctx;

	if (below(t, 4) == 0) {
		change_table(t);
		t->inside++;
	}
}

static uint16_t some_queue(struct trouble *t)
{
	return (uint16_t)below(t, vmemdev_device_queue_count(t->p->rig->dev));
}

static void reset_queue(struct trouble *t)
{
	struct rig *rig = t->p->rig;
	uint16_t queue = some_queue(t);
	uint32_t cancels = rig->host.cancels;

	guest_driver_queue_reset(&rig->driver, queue);
	if (rig->host.cancels != cancels) {
		if (!t->p->waiting || rig->host.cancelled != t->p->token)
			watch_fail("work is called off that was not there");
		t->p->waiting = false;
		t->p->cancels++;
	}
	t->p->posted[queue] = t->p->used[queue] = 0;
	drv_open(rig, queue);
}

static void stop_queue(struct trouble *t)
{
	struct rig *rig = t->p->rig;
	struct vmemdev_vq_state state;
	uint16_t queue = some_queue(t);
	int err;

	rig->window = true;
	err = vmemdev_device_queue_stop(rig->dev, queue, &state);
	rig->window = false;
	if (err == VMEMDEV_E_STATE)
		return;
	assert_int_equal(err, 0);
	if (below(t, 2))
		(void)play_run(t->p);
	*vmemdev_device_queue_layout(rig->dev, queue) = rig->driver.queues[queue].layout;
	assert_int_equal(vmemdev_device_queue_resume(rig->dev, queue, &state), 0);
	drv_kick(rig, queue);
	t->stops++;
}

/* The machine's reset cannot wait: work that would be put off counts as refused. */
static void reset_machine(struct trouble *t)
{
	struct player *p = t->p;
	uint32_t cancels = p->rig->host.cancels;
	bool was_waiting = p->waiting;
	int err;

	p->rig->window = true;
	err = vmemdev_device_system_reset(p->rig->dev);
	p->rig->window = false;
	if (p->device == PLAY_MEM && was_waiting) {
		assert_int_equal(err, VMEMDEV_E_STATE);
		return;
	}
	if (p->rig->host.cancels != cancels || (p->device == PLAY_MEM && err != 0))
		p->waiting = false;
	if (p->device == PLAY_MEM && err == 0 && mem_sizes(p->rig).plugged != 0)
		watch_fail("blocks survive a reset of the machine");
	play_reset(p);
}

/* What waited behind the host's work goes on, though nobody rings for it again. */
static void reset_busy_queue(struct trouble *t)
{
	for (uint32_t i = 0; i < 8; i++)
		play_post(t->p);
	if (play_run(t->p) < 0)
		watch_fail("the host's trouble stops the guest's device");
	if (!t->p->waiting)
		return;
	reset_queue(t);
	t->settled++;
	play_settle(t->p);
}

static void step(struct trouble *t)
{
	struct player *p = t->p;
	uint32_t what = below(t, 45);

	if (what < 14)
		play_post(p);
	else if (what < 30 && (play_run(p) < 0 || !play_take(p)))
		watch_fail("the host's trouble stops the guest's device");
	else if (what >= 30 && what < 34)
		play_complete(p, below(t, 3) ? 0 : VMEMDEV_E_HOST);
	else if (what >= 34 && what < 36)
		play_control(p);
	else if (what >= 36 && what < 40)
		change_table(t);
	else if (what == 40 && below(t, 8) == 0)
		reset_queue(t);
	else if (what == 41)
		stop_queue(t);
	else if (what == 44 && p->waiting)
		reset_busy_queue(t);
	else if (what == 42 && below(t, 10) == 0)
		t->settled++, play_settle(p);
	else if (what == 43 && below(t, 20) == 0)
		reset_machine(t);
	else if (what == 43 && below(t, 20) == 0)
		play_reset(p);
	watch_settled();
}

static void trouble(void **state, enum play_device device, uint64_t seed)
{
	struct trouble t = {.p = play_open(*state, device, seed)};

	t.p->honest = true;
	t.p->refuse = true;
	t.p->inside = change_inside;
	t.p->inside_ctx = &t;
	for (watch.step = 0; watch.step < STEPS; watch.step++)
		step(&t);
	play_settle(t.p);
	play_reset(t.p);
	print_message("seed %u: %u host calls, %u cancels, %u chains, %u moves, %u stops, %u resets, %u inside\n",
		      (unsigned int)seed, (unsigned int)t.p->calls, (unsigned int)t.p->cancels,
		      (unsigned int)watch.pushed, (unsigned int)t.moves, (unsigned int)t.stops,
		      (unsigned int)t.p->resets, (unsigned int)t.inside);
	assert_true(t.p->calls > 50 && watch.pushed > 100 && t.moves > 20 && t.stops > 5);
	assert_true(t.settled > 5 && t.p->resets > 2 && t.inside > 10);
	assert_int_equal(t.p->faults, 0);
	play_close(t.p);
}

/* shows: BAL-INF-03 HOST-REG-14 HOST-BAL-01 HOST-BAL-02 VQR-02 */
static void BAL_INF_03_a_balloon_of_a_host_in_trouble(void **state)
{
	for (uint64_t seed = 1; seed <= 6; seed++)
		trouble(state, PLAY_BALLOON, seed);
}

/* shows: MEM-OP-09 HOST-MEM-08 HOST-REG-14 VQR-02 */
static void HOST_MEM_08_blocks_of_a_host_in_trouble(void **state)
{
	for (uint64_t seed = 21; seed <= 26; seed++)
		trouble(state, PLAY_MEM, seed);
}

/* shows: PMEM-06 PMEM-07 HOST-PMEM-03 HOST-REG-14 VQR-02 */
static void PMEM_06_flushes_of_a_host_in_trouble(void **state)
{
	for (uint64_t seed = 41; seed <= 46; seed++)
		trouble(state, PLAY_PMEM, seed);
}

static int keep_state(void **state)
{
	(void)state;
	return 0;
}

#define TEST_TROUBLE(f, text, n) {#f " (" text ")", f, keep_state, NULL, (void *)&ways[n]}
#define TEST_TROUBLES(f) TEST_TROUBLE(f, "split", 0), TEST_TROUBLE(f, "packed", 1)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_TROUBLES(BAL_INF_03_a_balloon_of_a_host_in_trouble),
		TEST_TROUBLES(HOST_MEM_08_blocks_of_a_host_in_trouble),
		TEST_TROUBLES(PMEM_06_flushes_of_a_host_in_trouble),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
