/* SPDX-License-Identifier: BSD-3-Clause */
/* Two devices of a kind at once, each in its own machine: neither ever sees the other. */
#include "device_rig.h"

struct pair {
	struct rig *one, *two;
};

static int setup_pair(void **state, bool mem)
{
	struct pair *pair = calloc(1, sizeof(*pair));
	struct rig **rigs[2];

	assert_non_null(pair);
	rigs[0] = &pair->one;
	rigs[1] = &pair->two;
	for (int i = 0; i < 2; i++) {
		*rigs[i] = rig_bare(*state);
		if (mem)
			rig_make_mem(*rigs[i], NULL);
		else
			rig_make_balloon(*rigs[i], NULL);
		drv_start(*rigs[i], 0);
		rig_run(*rigs[i]);
	}
	*state = pair;
	return 0;
}

static int setup_balloons(void **state)
{
	return setup_pair(state, false);
}

static int setup_mems(void **state)
{
	return setup_pair(state, true);
}

static int teardown_pair(void **state)
{
	struct pair *pair = *state;

	rig_free(pair->one);
	rig_free(pair->two);
	free(pair);
	return 0;
}

static void two_balloons_share_nothing(void **state)
{
	struct pair *pair = *state;
	const uint32_t a = PLAY_PFN, b = PLAY_PFN + 9;
	uint64_t sum;

	pair->one->host.answer = VMEMDEV_LATER;
	pages_post(pair->one, INFLATEQ, &a, 1);
	drv_kick(pair->one, INFLATEQ);
	rig_run(pair->one);
	sum = ram_sum(pair->one);
	pages_send(pair->two, INFLATEQ, &b, 1);
	pages_send(pair->two, DEFLATEQ, &b, 1);
	assert_int_equal(vmemdev_balloon_set_target(&pair->two->balloon, 5 * PAGE), 0);
	drv_break(pair->two, INFLATEQ);
	assert_true(rig_run(pair->two) < 0);
	assert_int_equal(rig_complete(pair->two, pair->one->host.token, 0), VMEMDEV_E_STATE);
	drv_reset(pair->two);

	assert_int_equal(pair->one->host.count, 1);
	assert_int_equal(pair->one->errors, 0);
	assert_true(ram_sum(pair->one) == sum);
	assert_int_equal(guest_driver_status(&pair->one->driver), DRV_LIVE);
	assert_int_equal(vmemdev_balloon_target(&pair->one->balloon), 0);
	assert_false(drv_took_config_irq(pair->one));
	assert_int_equal(rig_complete(pair->one, pair->one->host.token, 0), 0);
	rig_run(pair->one);
	assert_int_equal(drv_used_count(pair->one, INFLATEQ), 1);
	assert_true(host_call(pair->one, 0)->ranges[0].gpa == PLAY_GPA);
}

static void two_memory_devices_share_nothing(void **state)
{
	struct pair *pair = *state;

	mem_want(pair->one, 8 * MEM_BLOCK);
	mem_want(pair->two, 2 * MEM_BLOCK);
	mem_expect(pair->one, GUEST_MEM_PLUG, BLOCK(0), 8, GUEST_MEM_ACK);
	mem_expect(pair->two, GUEST_MEM_PLUG, BLOCK(0), 3, GUEST_MEM_NACK);
	mem_expect(pair->two, GUEST_MEM_PLUG, BLOCK(7), 2, GUEST_MEM_ACK);
	mem_expect(pair->one, GUEST_MEM_STATE, BLOCK(8), 1, GUEST_MEM_ACK);
	assert_false(mem_has_block(pair->one, 8));
	assert_false(mem_has_block(pair->two, 0));
	pair->two->window = true;
	assert_int_equal(vmemdev_device_system_reset(pair->two->dev), 0);
	pair->two->window = false;
	assert_true(mem_sizes(pair->one).plugged == 8 * MEM_BLOCK);
	assert_true(mem_sizes(pair->two).plugged == 0);
	mem_expect(pair->one, GUEST_MEM_UNPLUG, BLOCK(0), 8, GUEST_MEM_ACK);
}

/* One machine: a balloon and a memory device over the same guest-memory object. */
/* shows: HOST-BAL-03 */
static void HOST_BAL_03_a_balloon_follows_the_blocks_of_a_memory_device(void **state)
{
	static const struct guest_region regions[] = {
		{.gpa = RAM_GPA, .len = RAM_SIZE}, {.gpa = MEM_GPA, .len = MEM_REGION}};
	struct rig *rig = rig_bare_regions(*state, regions, 2);
	struct rig *owner = rig_bare_regions(*state, regions, 2);
	struct vmemdev_region table[2];
	struct vmemdev_mem_config config;
	const uint32_t pages = (uint32_t)(MEM_BLOCK / PAGE);
	uint32_t pfns[16];
	struct pair *pair = calloc(1, sizeof(*pair));

	assert_non_null(pair);
	pair->one = rig;
	pair->two = owner;
	*state = pair;
	/* the memory device works on its rig's rings, but tells the balloon's guest object */
	rig_mem_config(owner, &config);
	rig_make_mem(owner, &config);
	table[0] = rig->memory.regions[0];
	vmemdev_mem_region(&owner->mem, rig->memory.regions[1].host, &table[1]);
	assert_int_equal(vmemdev_guest_set_regions(&rig->memory.guest, table, 2), 0);
	rig_make_balloon(rig, NULL);
	drv_start(rig, 0);
	drv_start(owner, 0);
	mem_want(owner, 4 * MEM_BLOCK);

	for (uint32_t i = 0; i < pages; i++)
		pfns[i] = (uint32_t)(BLOCK(2) / PAGE) + i;
	pages_send(rig, INFLATEQ, pfns, pages);
	assert_int_equal(rig->host.count, 0);
	mem_expect(owner, GUEST_MEM_PLUG, BLOCK(2), 1, GUEST_MEM_ACK);
	vmemdev_guest_changed(&rig->memory.guest);
	pages_send(rig, INFLATEQ, pfns, pages);
	assert_int_equal(rig->host.count, 1);
	assert_true(host_last(rig)->ranges[0].gpa == BLOCK(2));
	assert_true(host_last(rig)->ranges[0].len == MEM_BLOCK);
	mem_expect(owner, GUEST_MEM_UNPLUG, BLOCK(2), 1, GUEST_MEM_ACK);
	vmemdev_guest_changed(&rig->memory.guest);
	pages_send(rig, INFLATEQ, pfns, pages);
	assert_int_equal(rig->host.count, 1);
}

/* The test makes its rigs itself. */
static int setup_way(void **state)
{
	(void)state;
	return 0;
}

#define TEST_PAIR(f, setup) \
	{#f " (split)", f, setup, teardown_pair, (void *)&ways[0]}, \
	{#f " (packed)", f, setup, teardown_pair, (void *)&ways[1]}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_PAIR(two_balloons_share_nothing, setup_balloons),
		TEST_PAIR(two_memory_devices_share_nothing, setup_mems),
		TEST_PAIR(HOST_BAL_03_a_balloon_follows_the_blocks_of_a_memory_device, setup_way),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
