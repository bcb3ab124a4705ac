/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The memory device against the simplest possible model of it, one byte a block, over long
 * random sequences of requests, target changes, host answers and resets. A failure prints
 * the seed and the step.
 */
#include "device_rig.h"

#define STEPS 100000

struct model {
	uint8_t plugged[MEM_BLOCKS];
	uint64_t requested, usable; /* blocks */
	uint64_t slack;
};

struct run {
	struct rig *rig;
	struct model model;
	struct guest_random random;
	uint32_t step;
	uint64_t acks;
};

static uint64_t model_plugged(const struct model *model)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < MEM_BLOCKS; i++)
		n += model->plugged[i];
	return n;
}

static uint64_t usable_for(const struct model *model, uint64_t requested)
{
	uint64_t usable = requested + model->slack;

	return usable < MEM_BLOCKS ? usable : MEM_BLOCKS;
}

static void model_unplug_all(struct model *model)
{
	memset(model->plugged, 0, sizeof(model->plugged));
	model->usable = usable_for(model, model->requested);
}

/* How many of @count blocks from @first on are plugged; -1 if the place is wrong. */
static int64_t model_count(const struct model *model, uint64_t addr, uint16_t count)
{
	uint64_t first = (addr - MEM_GPA) / MEM_BLOCK;
	int64_t n = 0;

	if (addr < MEM_GPA || addr % MEM_BLOCK || count == 0)
		return -1;
	for (uint64_t i = first; i < first + count; i++) {
		if (i >= model->usable)
			return -1;
		n += model->plugged[i];
	}
	return n;
}

/* What the text says the answer is, when the host answers @host. */
static int model_answer(struct model *model, uint16_t type, uint64_t addr, uint16_t count,
			int host, int *state)
{
	int64_t n = model_count(model, addr, count);
	uint64_t first = (addr - MEM_GPA) / MEM_BLOCK;
	bool plug = type == GUEST_MEM_PLUG;

	*state = 0;
	if (type == GUEST_MEM_UNPLUG_ALL) {
		if (host && model_plugged(model))
			return GUEST_MEM_BUSY;
		model_unplug_all(model);
		return GUEST_MEM_ACK;
	}
	if (type > GUEST_MEM_STATE || n < 0)
		return GUEST_MEM_ERROR;
	if (type == GUEST_MEM_STATE) {
		*state = n == count ? GUEST_MEM_PLUGGED
				    : (n ? GUEST_MEM_MIXED : GUEST_MEM_UNPLUGGED);
		return GUEST_MEM_ACK;
	}
	if (n != (plug ? 0 : count))
		return GUEST_MEM_ERROR;
	if (plug && model_plugged(model) + count > model->requested)
		return GUEST_MEM_NACK;
	if (host)
		return GUEST_MEM_BUSY;
	memset(model->plugged + first, plug, count);
	return GUEST_MEM_ACK;
}

static void compare(struct run *run)
{
	struct vmemdev_mem_sizes sizes = mem_sizes(run->rig);
	struct vmemdev_range range;
	uint64_t at = 0, found = 0;

	assert_true(sizes.region == MEM_REGION);
	assert_true(sizes.plugged == model_plugged(&run->model) * MEM_BLOCK);
	assert_true(sizes.requested == run->model.requested * MEM_BLOCK);
	assert_true(sizes.usable == run->model.usable * MEM_BLOCK);
	while (vmemdev_mem_next(&run->rig->mem, at, true, &range)) {
		for (uint64_t gpa = range.gpa; gpa < range.gpa + range.len; gpa += MEM_BLOCK) {
			assert_true(run->model.plugged[(gpa - MEM_GPA) / MEM_BLOCK]);
			found++;
		}
		at = range.gpa + range.len;
	}
	assert_true(found == model_plugged(&run->model));
}

/* The host's own view: it must be told about blocks in the right state only. */
static void check_host_call(struct rig *rig, const struct host_call *call)
{
	struct run *run = rig->ctx;

	if (call->op == HOST_PLUGGED)
		return;
	assert_true(call->op == HOST_PLUG || call->op == HOST_UNPLUG);
	assert_true(call->count <= VMEMDEV_MEM_RANGES);
	for (uint32_t i = 0; i < call->count; i++) {
		const struct vmemdev_range *range = &call->ranges[i];
		bool last = i == VMEMDEV_MEM_RANGES - 1;
		uint64_t first = (range->gpa - MEM_GPA) / MEM_BLOCK;

		assert_true(range->gpa % MEM_BLOCK == 0 && range->len % MEM_BLOCK == 0);
		assert_true(range->gpa >= MEM_GPA && range->len > 0);
		assert_true(range->gpa + range->len <= MEM_GPA + MEM_REGION);
		for (uint64_t k = 0; k < range->len / MEM_BLOCK && !last; k++)
			assert_int_equal(run->model.plugged[first + k], call->op == HOST_UNPLUG);
	}
}

static void random_request(struct run *run)
{
	struct rig *rig = run->rig;
	uint16_t type = (uint16_t)guest_random_below(&run->random, 20);
	uint64_t addr = BLOCK(guest_random_below(&run->random, MEM_BLOCKS + 4));
	uint16_t count = (uint16_t)guest_random_below(&run->random, 7);
	int host = guest_random_below(&run->random, 10) == 0 ? VMEMDEV_E_BUSY : 0;
	bool later = guest_random_below(&run->random, 8) == 0;
	struct answer answer;
	struct request request;
	int expected, state;

	/* 0 to 3: as they are; 4 to 18: plug, unplug, state more often; 19: unknown type */
	if (type > 3 && type < 19)
		type = type % 3 == 2 ? GUEST_MEM_STATE : type % 3;
	if (type == GUEST_MEM_UNPLUG_ALL && guest_random_below(&run->random, 8))
		type = GUEST_MEM_PLUG;
	if (guest_random_below(&run->random, 50) == 0)
		addr += 4096;
	request_make(&request, type, addr, count);
	request_post(rig, run->step % 32, &request);
	drv_kick(rig, 0);
	rig->host.answer = later ? VMEMDEV_LATER : host;
	rig->host.token = 0;
	rig->host.count = 0;
	assert_int_equal(rig_run(rig), 0);
	if (later && rig->host.count > 0 && host_call(rig, 0)->op != HOST_PLUGGED) {
		assert_false(guest_queue_has_used(&rig->driver.queues[0]));
		assert_int_equal(rig_complete(rig, rig->host.token, host), 0);
		assert_int_equal(rig_run(rig), 0);
	}
	expected = model_answer(&run->model, type, addr, count, host, &state);
	answer = request_take(rig, run->step % 32);
	assert_int_equal(answer.type, expected);
	assert_int_equal(answer.state, state);
	assert_int_equal(answer.len, 10);
	run->acks += expected == GUEST_MEM_ACK;
}

static void random_reset(struct run *run)
{
	struct rig *rig = run->rig;

	if (guest_random_below(&run->random, 4) == 0) {
		rig->host.answer = 0;
		rig->window = true;
		assert_int_equal(vmemdev_device_system_reset(rig->dev), 0);
		rig->window = false;
		model_unplug_all(&run->model);
	}
	drv_reset(rig);
	drv_start(rig, 0);
}

static void random_step(struct run *run)
{
	uint32_t what = guest_random_below(&run->random, 1000);

	if (what < 960) {
		random_request(run);
	} else if (what < 998) {
		uint64_t blocks = guest_random_below(&run->random, MEM_BLOCKS + 1);

		mem_want(run->rig, blocks * MEM_BLOCK);
		run->model.requested = blocks;
		if (usable_for(&run->model, blocks) > run->model.usable)
			run->model.usable = usable_for(&run->model, blocks);
	} else {
		random_reset(run);
	}
	compare(run);
}

static void run_model(struct rig *rig, uint64_t seed, uint32_t steps)
{
	struct run run = {.rig = rig};

	run.model.slack = MEM_SLACK / MEM_BLOCK;
	run.model.usable = run.model.slack;
	rig->ctx = &run;
	rig->host.hook = check_host_call;
	guest_random_seed(&run.random, seed);
	print_message("seed %llu\n", (unsigned long long)seed);
	for (run.step = 0; run.step < steps; run.step++) {
		if (run.step % 20000 == 19999)
			print_message("step %u\n", run.step + 1);
		random_step(&run);
	}
	assert_true(run.acks > steps / 10);
	assert_int_equal(rig->errors, 0);
}

/*
 * shows: MEM-CFG-03 MEM-CFG-04 MEM-CFG-05 MEM-CFG-06 MEM-CFG-07 MEM-CFG-11 MEM-OP-03
 * MEM-PLUG-07 MEM-UNPL-05 MEM-STATE-03 MEM-ALL-03 MEM-ALL-04 MEM-OP-09 MEM-INIT-02 LNX-MEM-06
 */
static void MEM_CFG_05_long_random_sequences_match_the_model(void **state)
{
	run_model(*state, 20261121, STEPS);
}

/* shows: MEM-CFG-05 RST-05 */
static void MEM_CFG_05_more_seeds_on_registers(void **state)
{
	run_model(*state, 7, STEPS / 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_RINGS(MEM_CFG_05_long_random_sequences_match_the_model, rig_setup_mem_live),
		TEST_RINGS_MMIO(MEM_CFG_05_more_seeds_on_registers, rig_setup_mem_live),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
