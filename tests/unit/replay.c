/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "replay.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "guest/memory.h"

/* A test that runs without moves only: its name up to the way, and what a move changes. */
struct left_out {
	const char *suite;
	const char *name;
	const char *why;
};

static const struct left_out left_out[] = {
	{"device_gone", "HOST_REG_14_a_queue_cannot_be_stopped_without_its_ring",
	 "a load finds first that the ring is gone"},
	{"device_misuse", "FEAT_06_a_device_is_attached_once_and_wholly",
	 "attaches a device by hand, which a move attaches, too"},
	{"device_queues", "VQR_01_after_a_queue_reset_its_memory_is_not_touched",
	 "a loaded device looks at all queues if one was kicked, not at that one alone"},
	{"pmem_later", "HOST_VQ_11_room_that_vanishes_meanwhile_stops_the_device",
	 "requests are taken again, and refused, before their flush is asked for again"},
	{"vq_edges", "HOST_VQ_10_a_host_that_takes_memory_away_at_any_call",
	 "a load finds first that the ring is gone"},
	{"vq_state", "random_states_are_refused_or_harmless",
	 "what a queue makes of an invented state need not be a possible one"},
	{NULL, NULL, NULL},
};

static uint32_t percent;
static struct guest_random dice;
static uint64_t moved, refused, passed;

static uint64_t number_from(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);
	char *end;
	uint64_t value;

	if (text == NULL || *text == '\0')
		return otherwise;
	value = strtoull(text, &end, 10);
	if (*end != '\0')
		guest_die(name, value);
	return value;
}

/* Before any test: what has been set is read once. */
__attribute__((constructor)) static void begin(void)
{
	percent = (uint32_t)number_from("VMEMDEV_REPLAY", 0);
	if (percent > 100)
		guest_die("VMEMDEV_REPLAY is a percentage, 0 to 100, not", percent);
	guest_random_seed(&dice, number_from("VMEMDEV_REPLAY_SEED", 1));
}

bool replay_on(void)
{
	return percent > 0;
}

bool replay_wanted(void)
{
	return percent == 100 || guest_random_below(&dice, 100) < percent;
}

void replay_count(enum replay_fate fate)
{
	if (fate == REPLAY_MOVED)
		moved++;
	else if (fate == REPLAY_REFUSED)
		refused++;
	else
		passed++;
}

void replay_spoil(void *at, uint64_t len)
{
	memset(at, 0x5a, (size_t)len);
}

void replay_fail(const char *what, int64_t got)
{
	fail_msg("replay: %s (%lld)", what, (long long)got);
}

static const struct left_out *find_left_out(const char *name)
{
	for (const struct left_out *l = left_out; l->name != NULL; l++) {
		size_t len = strlen(l->name);

		/* programs are called after their suites: test_ and the name */
		if (strstr(program_invocation_short_name, l->suite) == NULL)
			continue;
		if (strncmp(name, l->name, len) == 0 && (name[len] == '\0' || name[len] == ' '))
			return l;
	}
	return NULL;
}

/* The tests of the group that is on, in the order in which cmocka sets them up. */
static const struct CMUnitTest **setups;

static int next_setup(void **state)
{
	const struct CMUnitTest *test = *setups++;

	replay_next_test();
	return test->setup_func != NULL ? test->setup_func(state) : 0;
}

int __real__cmocka_run_group_tests(const char *group, const struct CMUnitTest *const tests,
				   const size_t count, CMFixtureFunction setup,
				   CMFixtureFunction teardown);
int __wrap__cmocka_run_group_tests(const char *group, const struct CMUnitTest *const tests,
				   const size_t count, CMFixtureFunction setup,
				   CMFixtureFunction teardown);

int __wrap__cmocka_run_group_tests(const char *group, const struct CMUnitTest *const tests,
				   const size_t count, CMFixtureFunction setup,
				   CMFixtureFunction teardown)
{
	const struct CMUnitTest **given;
	struct CMUnitTest *kept;
	size_t n = 0;
	int failed;

	if (!replay_on())
		return __real__cmocka_run_group_tests(group, tests, count, setup, teardown);
	kept = calloc(count, sizeof(*kept));
	setups = given = calloc(count, sizeof(*given));
	if (kept == NULL || given == NULL)
		guest_die("no memory for a list of tests", count);
	for (size_t i = 0; i < count; i++) {
		const struct left_out *l = find_left_out(tests[i].name);

		if (l != NULL) {
			printf("replay: left out %s: %s\n", tests[i].name, l->why);
			continue;
		}
		given[n] = &tests[i];
		kept[n] = tests[i];
		kept[n++].setup_func = next_setup;
	}
	failed = __real__cmocka_run_group_tests(group, kept, n, setup, teardown);
	printf("replay: %zu of %zu tests; %llu moves, %llu refused, %llu passed over\n", n, count,
	       (unsigned long long)moved, (unsigned long long)refused,
	       (unsigned long long)passed);
	free(kept);
	free(given);
	if (moved == 0)
		printf("replay: nothing was moved; a suite without moves is not to be registered\n");
	return failed != 0 || moved == 0;
}
