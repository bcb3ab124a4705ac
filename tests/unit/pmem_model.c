/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The persistent memory device against the simplest possible model of it, a list of requests.
 * Random sequences of everything that can happen: good and bad requests, resets of the driver,
 * of the queue and of the machine, stops, saves into a fresh device, and a host that flushes,
 * fails, or finishes later. The model goes first and says which flushes the host will be asked
 * for and which answers the guest will get; a failure prints the seed.
 *
 * Beside it stands a disk, which knows nothing of requests: what is on it, and whether writes
 * were lost of which nobody was told. No guest may hear of a success that the disk denies.
 */
#include "device_move.h"

#ifdef FEWER_STEPS
#define STEPS 20000u
#else
#define STEPS 200000u
#endif

enum { OUT_MAX = 20, SLOTS = 40, CALLS_MAX = 64, QUEUE_SIZE = 64, MERGED = 5 };

struct wanted {
	uint32_t slot, version; /* version: of the data when it was posted */
	bool bad;
};

struct reply {
	struct wanted of;
	uint32_t answer;
};

struct model {
	struct wanted out[OUT_MAX]; /* posted and not answered, the oldest first */
	uint32_t out_count, taken;  /* the first @taken wait for a flush */
	bool waiting, ended, failed, owed;
	struct reply replies[OUT_MAX];
	uint32_t reply_count, reply_seen;
	int calls[CALLS_MAX];       /* what the host will answer */
	uint32_t call_count, call_seen;
};

struct disk {
	uint32_t begun, safe; /* versions: when the flush began; on the disk */
	bool lost;            /* a flush failed, and nobody was told yet */
};

struct run {
	struct rig *rig;
	struct model model;
	struct disk disk;
	struct guest_random random;
	uint64_t mark, seed;
	uint32_t version, step, next_slot;
	uint64_t good, failures, lates, moves;
};

static uint32_t below(struct run *run, uint32_t limit)
{
	return guest_random_below(&run->random, limit);
}

/* The disk. */

static void disk_end(struct run *run, int result)
{
	if (result == 0)
		run->disk.safe = run->disk.begun;
	else
		run->disk.lost = true;
}

/* The model. */

static bool any_good(const struct model *m)
{
	for (uint32_t i = 0; i < m->taken; i++) {
		if (!m->out[i].bad)
			return true;
	}
	return false;
}

static void model_answer(struct model *m, bool failed)
{
	if (any_good(m)) {
		failed = failed || m->owed;
		m->owed = false;
	}
	for (uint32_t i = 0; i < m->taken; i++) {
		m->replies[m->reply_count++] = (struct reply){
			m->out[i], m->out[i].bad || failed ? FLUSH_FAILED : FLUSH_OK};
	}
	memmove(m->out, m->out + m->taken, (m->out_count - m->taken) * sizeof(m->out[0]));
	m->out_count -= m->taken;
	m->taken = 0;
}

static int plan_call(struct run *run)
{
	static const int answers[] = {0, 0, 0, VMEMDEV_LATER, VMEMDEV_LATER, VMEMDEV_E_HOST};
	struct model *m = &run->model;

	m->calls[m->call_count] = answers[below(run, ARRAY_LEN(answers))];
	return m->calls[m->call_count++];
}

static void model_run(struct run *run, uint32_t budget)
{
	struct model *m = &run->model;
	int answer;

	if (m->ended) {
		m->ended = false;
		model_answer(m, m->failed);
	}
	while (!m->waiting && budget > 0 && m->out_count > 0) {
		m->taken = m->out_count < MERGED ? m->out_count : MERGED;
		m->taken = m->taken < budget ? m->taken : budget;
		budget -= m->taken;
		answer = any_good(m) ? plan_call(run) : 0;
		if (answer == VMEMDEV_LATER)
			m->waiting = true;
		else
			model_answer(m, answer != 0);
	}
}

/* The requests are @lost, or taken again. */
static void model_forget(struct model *m, bool lost)
{
	m->owed = m->owed || (m->ended && m->failed);
	m->ended = false;
	m->taken = 0;
	if (lost)
		m->out_count = 0;
}

/* Comparing. */

static void check_reply(struct run *run, const struct reply *want)
{
	uint32_t got = flush_take(run->rig, want->of.slot);

	if (got != want->answer)
		fail_msg("seed %u, step %u: slot %u has %x, not %x", (unsigned int)run->seed,
			 run->step, want->of.slot, got, want->answer);
	if (want->of.bad)
		return;
	if (got == FLUSH_OK) {
		assert_false(run->disk.lost);
		assert_true(run->disk.safe >= want->of.version);
		run->good++;
	} else {
		run->disk.lost = false;
		run->failures++;
	}
}

static void take_replies(struct run *run)
{
	struct model *m = &run->model;

	while (guest_queue_has_used(&run->rig->driver.queues[0])) {
		assert_true(m->reply_seen < m->reply_count);
		check_reply(run, &m->replies[m->reply_seen++]);
	}
}

static int on_flush(void *ctx, uint64_t token)
{
	struct run *run = ctx;
	struct model *m = &run->model;
	int answer;

	if (m->call_seen == m->call_count)
		fail_msg("seed %u, step %u: a flush that the model does not know",
			 (unsigned int)run->seed, run->step);
	/* What is answered so far must be true before anything else happens to the disk. */
	take_replies(run);
	answer = m->calls[m->call_seen++];
	run->rig->host.token = token;
	run->disk.begun = guest_load32(&run->rig->memory, PMEM_GPA);
	if (answer != VMEMDEV_LATER)
		disk_end(run, answer);
	return answer;
}

static const struct vmemdev_pmem_ops ops = {.flush = on_flush};

static void compare(struct run *run)
{
	struct model *m = &run->model;

	assert_int_equal(m->call_seen, m->call_count);
	m->call_seen = m->call_count = 0;
	take_replies(run);
	assert_int_equal(m->reply_seen, m->reply_count);
	m->reply_seen = m->reply_count = 0;
	assert_int_equal(run->rig->errors, 0);
}

/* Steps. */

static void post(struct run *run)
{
	struct model *m = &run->model;
	struct wanted *w = &m->out[m->out_count];
	uint32_t len = 4;

	if (m->out_count == OUT_MAX)
		return;
	m->out_count++;
	w->slot = run->next_slot++ % SLOTS;
	w->bad = below(run, 8) == 0;
	guest_store32(&run->rig->memory, PMEM_GPA, ++run->version);
	w->version = run->version;
	if (w->bad && below(run, 2))
		len = below(run, 4);
	flush_post_as(run->rig, w->slot, w->bad && len == 4 ? 1 + below(run, 9) : 0, len,
		      4 + below(run, 2) * 4);
	drv_kick(run->rig, 0);
}

static void run_device(struct run *run, uint32_t budget)
{
	model_run(run, budget);
	assert_true(rig_step(run->rig, budget) >= 0);
	compare(run);
}

static void complete(struct run *run, int result)
{
	struct model *m = &run->model;
	uint64_t token = run->rig->host.token;

	if (!m->waiting) {
		assert_int_equal(rig_complete(run->rig, token, result), VMEMDEV_E_STATE);
		return;
	}
	disk_end(run, result);
	m->waiting = false;
	if (m->taken > 0) {
		m->ended = true;
		m->failed = result != 0;
	} else {
		m->owed = m->owed || result != 0;
	}
	run->lates++;
	assert_int_equal(rig_complete(run->rig, token, result), 0);
}

static void start_driver(struct run *run)
{
	uint64_t features = VMEMDEV_F_RING_RESET;

	if (below(run, 2))
		features |= VMEMDEV_F_EVENT_IDX;
	if (below(run, 2))
		features |= VMEMDEV_F_IN_ORDER;
	guest_place_release(&run->rig->memory, run->mark);
	drv_start(run->rig, features);
}

static void reset(struct run *run)
{
	model_forget(&run->model, true);
	if (below(run, 3) == 0) {
		guest_driver_queue_reset(&run->rig->driver, 0);
		guest_place_release(&run->rig->memory, run->mark);
		drv_open(run->rig, 0);
		return;
	}
	if (below(run, 2))
		assert_int_equal(vmemdev_device_system_reset(run->rig->dev), 0);
	drv_reset(run->rig);
	start_driver(run);
}

static void stop(struct run *run)
{
	struct vmemdev_device *dev = run->rig->dev;
	struct model *m = &run->model;
	struct vmemdev_vq_state at;

	if (m->ended || (m->waiting && m->taken > 0)) {
		assert_int_equal(vmemdev_device_queue_stop(dev, 0, &at), VMEMDEV_E_STATE);
		return;
	}
	assert_int_equal(vmemdev_device_queue_stop(dev, 0, &at), 0);
	*vmemdev_device_queue_layout(dev, 0) = run->rig->driver.queues[0].layout;
	assert_int_equal(vmemdev_device_queue_resume(dev, 0, &at), 0);
}

static void config_of(struct run *run, struct vmemdev_pmem_config *config)
{
	rig_pmem_config(run->rig, config);
	config->request_count = MERGED;
	config->ops = &ops;
	config->ctx = run;
	config->device.features_on |= VMEMDEV_F_IN_ORDER;
}

/* As pmem.h has it: the host ends its flush, tells of a failure, and then saves. */
static void move(struct run *run)
{
	struct vmemdev_pmem_config config;
	struct model *m = &run->model;

	if (m->waiting && (m->taken == 0 || below(run, 3) == 0))
		complete(run, below(run, 2) ? 0 : VMEMDEV_E_HOST);
	else if (m->waiting)
		disk_end(run, 0);
	m->waiting = false;
	model_forget(m, false);
	config_of(run, &config);
	rig_move_pmem(run->rig, &config);
	run->moves++;
}

static void random_step(struct run *run)
{
	uint32_t dice = below(run, 1000);

	if (dice < 400)
		post(run);
	else if (dice < 700)
		run_device(run, 1 + below(run, 12));
	else if (dice < 960)
		complete(run, below(run, 4) ? 0 : VMEMDEV_E_HOST);
	else if (dice < 975)
		reset(run);
	else
		stop(run);
}

static struct run *open_run(const struct way *way, uint64_t seed)
{
	static const struct guest_region regions[] = {
		{.gpa = RAM_GPA, .len = RAM_SIZE}, {.gpa = PMEM_GPA, .len = PMEM_SIZE}};
	struct run *run = calloc(1, sizeof(*run));
	struct vmemdev_pmem_config config;

	assert_non_null(run);
	run->rig = rig_bare_regions(way, regions, 2);
	run->seed = seed;
	config_of(run, &config);
	config.device.queue_size = QUEUE_SIZE;
	rig_make_pmem(run->rig, &config);
	run->mark = guest_place_mark(&run->rig->memory);
	guest_random_seed(&run->random, seed);
	start_driver(run);
	return run;
}

static void run_model(void **state, uint64_t seed, uint32_t steps, uint32_t moves)
{
	struct run *run = open_run(*state, seed);

	print_message("seed %u, %u steps, %u moves in 1000\n", (unsigned int)seed, steps, moves);
	for (run->step = 0; run->step < steps; run->step++) {
		if (below(run, 1000) < moves)
			move(run);
		random_step(run);
		compare(run);
	}
	/* in the end every request is answered (LNX-PMEM-01) */
	for (uint32_t i = 0; i < 1000 && (run->model.out_count > 0 || run->model.ended); i++) {
		complete(run, 0);
		run_device(run, 64);
	}
	assert_int_equal(run->model.out_count, 0);
	assert_true(run->good > steps / 20 && run->failures > steps / 50);
	assert_true(moves == 1000 || run->lates > steps / 50);
	rig_free(run->rig);
	free(run);
}

/* shows: PMEM-06 PMEM-07 PMEM-08 PMEM-09 PMEM-11 LNX-PMEM-01 HOST-PMEM-01 HOST-PMEM-03 */
static void PMEM_06_long_random_sequences_match_the_model(void **state)
{
	run_model(state, 20261121, STEPS, 0);
}

/* shows: PMEM-06 PMEM-09 PMEM-11 */
static void PMEM_06_saves_between_the_steps_lose_nothing(void **state)
{
	run_model(state, 7, STEPS / 4, 300);
	run_model(state, 8, STEPS / 8, 1000);
}

/* shows: PMEM-06 PMEM-09 */
static void PMEM_06_more_seeds(void **state)
{
	for (uint64_t seed = 100; seed < 110; seed++)
		run_model(state, seed, STEPS / 50, seed % 2 ? 50 : 0);
}

static int setup_way(void **state)
{
	(void)state;
	return 0;
}

#define TEST_MODEL(f, text, n) {#f " (" text ")", f, setup_way, NULL, (void *)&ways[n]}
#define TEST_MODELS(f) TEST_MODEL(f, "split, direct", 0), TEST_MODEL(f, "packed, direct", 1)
#define TEST_MODELS_MMIO(f) TEST_MODEL(f, "split, mmio", 2), TEST_MODEL(f, "packed, mmio", 3)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_MODELS(PMEM_06_long_random_sequences_match_the_model),
		TEST_MODELS(PMEM_06_saves_between_the_steps_lose_nothing),
		TEST_MODELS(PMEM_06_more_seeds),
		TEST_MODELS_MMIO(PMEM_06_more_seeds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
