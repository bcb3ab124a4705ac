// SPDX-License-Identifier: BSD-3-Clause
/* RAM of huge pages whose pool others have emptied: the guest waits, and loses nothing. */
#include "machine.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#define INFLATE 0
#define DEFLATE 1
#define POPULATE_WRITE 23

/* The pool, played. */
static bool pool_empty;
static uint64_t brought_at, brought; /* the newest piece, and all of them, in bytes */
static const char *ram;

int __real_madvise(void *at, size_t len, int advice);
int __wrap_madvise(void *at, size_t len, int advice);

int __wrap_madvise(void *at, size_t len, int advice)
{
	if (advice != POPULATE_WRITE)
		return __real_madvise(at, len, advice);
	if (pool_empty) {
		errno = EFAULT;
		return -1;
	}
	brought_at = (uint64_t)((const char *)at - ram);
	brought += len;
	return 0;
}

static struct machine *start(void)
{
	struct machine *m = machine_start_huge((const char *const[]){"--memory=64M", "--balloon",
								     NULL});

	pool_empty = false;
	brought = 0;
	ram = vmemdev_linux_region(&m->vmm.memory, 0)->host;
	machine_drive(m, VMEMDEV_BALLOON_F_MUST_TELL_HOST);
	return m;
}

/* Whole megabytes. The guest's buffer is used when the host has done its part, or not yet. */
static bool pass_pages(struct machine *m, uint16_t queue, uint64_t gpa, uint64_t bytes)
{
	struct guest_used used;
	uint32_t pfns[256], done = 0;

	for (uint64_t at = 0; at < bytes; at += MIB) {
		for (uint32_t i = 0; i < 256; i++)
			pfns[i] = (uint32_t)((gpa + at) / PAGE) + i;
		assert_true(guest_driver_send_pfns(&m->driver, queue, pfns, 256, 0) >= 0);
		machine_turn(m);
		done += guest_queue_poll(&m->driver.queues[queue], &used) == 1;
	}
	return done == bytes / MIB;
}

static bool was_used(struct machine *m, uint16_t queue)
{
	struct guest_used used;

	return guest_queue_poll(&m->driver.queues[queue], &used) == 1;
}

static int subscribe(struct machine *m)
{
	int client = client_open(m);

	client_say(client, "{\"cmd\":\"events\"}");
	json_object_put(client_hear(m, client));
	return client;
}

static void expect_event(struct machine *m, int client, const char *name, uint64_t bytes)
{
	struct json_object *event = client_hear(m, client);

	assert_string_equal(text_of(event, "event"), name);
	assert_string_equal(text_of(event, "id"), "balloon");
	assert_int_equal(number_of(event, "bytes"), bytes);
	json_object_put(event);
}

static void what_is_taken_back_is_there_before_the_guest_is_told(void **state)
{
	struct machine *m = start();

	(void)state;
	assert_true(pass_pages(m, INFLATE, PLAY_GPA, HUGE));
	assert_int_equal(balloon_number(m, "pages_inflated"), HUGE / PAGE);
	assert_true(pass_pages(m, DEFLATE, PLAY_GPA + MIB, MIB));
	/* All of the host page that holds it. */
	assert_int_equal(brought, HUGE);
	assert_int_equal(brought_at, PLAY_GPA);
	assert_int_equal(balloon_number(m, "deflate_waits"), 0);
	machine_stop(m);
}

static void a_deflate_waits_for_free_pages(void **state)
{
	struct machine *m = start();
	int events;

	(void)state;
	assert_true(pass_pages(m, INFLATE, PLAY_GPA, HUGE));
	events = subscribe(m);
	pool_empty = true;
	listen_start();
	assert_false(pass_pages(m, DEFLATE, PLAY_GPA, MIB));
	assert_non_null(strstr(listen_stop(), "the guest wants 1048576 bytes back, but the host "
					      "has no free huge page"));
	expect_event(m, events, "deflate-waits", MIB);
	assert_int_equal(balloon_number(m, "deflate_waits"), MIB);
	assert_false(was_used(m, DEFLATE));
	pool_empty = false;
	expect_event(m, events, "deflate-goes-on", MIB);
	machine_turn(m);
	assert_true(was_used(m, DEFLATE));
	assert_int_equal(brought, HUGE);
	assert_int_equal(balloon_number(m, "deflate_waits"), 0);
	assert_int_equal(balloon_number(m, "host_failures"), 0);
	assert_int_equal(balloon_number(m, "given"), MIB);
	close(events);
	machine_stop(m);
}

/* The pages are the guest's own again, and the next guest has its turn. */
static void a_reset_ends_the_wait(void **state)
{
	struct machine *m = start();

	(void)state;
	assert_true(pass_pages(m, INFLATE, PLAY_GPA, HUGE));
	pool_empty = true;
	listen_start();
	assert_false(pass_pages(m, DEFLATE, PLAY_GPA, MIB));
	listen_stop();
	guest_driver_reset(&m->driver);
	machine_turn(m);
	assert_int_equal(balloon_number(m, "deflate_waits"), 0);
	pool_empty = false;
	guest_driver_close(&m->driver);
	machine_drive(m, VMEMDEV_BALLOON_F_MUST_TELL_HOST);
	assert_true(pass_pages(m, DEFLATE, PLAY_GPA, MIB));
	assert_int_equal(brought, HUGE); /* once, by the new guest */
	machine_stop(m);
}

/* As a file on hugetlbfs, of which the command line cannot know. */
static void huge_pages_want_to_be_remembered(void **state)
{
	static const char *const balloons[] = {
		"--balloon=frame=off", "--balloon=must-tell-host=off", "--balloon=frame=4K",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(balloons) / sizeof(balloons[0]); i++)
		machine_refused_huge((const char *const[]){"--memory=64M", balloons[i], NULL},
				     "the RAM has pages of 2097152 bytes: expected a frame");
}

/* In words of this VMM's options. */
static void a_pool_that_is_too_small_is_named(void **state)
{
	(void)state;
	if (access("/sys/kernel/mm/hugepages/hugepages-2048kB", F_OK))
		skip();
	machine_refused((const char *const[]){"--memory=2T,backing=hugetlb", NULL}, 100, 52,
			"2048 KiB: write a larger number to /proc/sys/vm/nr_hugepages, or take "
			"backing=memfd");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_taken_back_is_there_before_the_guest_is_told),
		cmocka_unit_test(a_deflate_waits_for_free_pages),
		cmocka_unit_test(a_reset_ends_the_wait),
		cmocka_unit_test(huge_pages_want_to_be_remembered),
		cmocka_unit_test(a_pool_that_is_too_small_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
