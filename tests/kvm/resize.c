// SPDX-License-Identifier: BSD-3-Clause
/* "resize" on the control socket, its events, and toyvmm-ctl that shows them. */
#include "machine.h"

#include <poll.h>
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BLOCK (2 * MIB)

static struct machine *start(void)
{
	struct machine *m = machine_start((const char *const[]){
		"--memory=64M", "--mem=size=1G", "--mem=size=1G", NULL});

	assert_true(machine_drive_mem(m, "mem0", 0));
	return m;
}

static int subscribe(struct machine *m)
{
	int client = client_open(m);

	client_say(client, "{\"cmd\":\"events\"}");
	json_object_put(client_hear(m, client));
	return client;
}

/* The device's blocks from its start, one by one, as Linux does with larger pieces. */
static void move(struct machine *m, uint16_t type, uint64_t first, uint64_t count)
{
	uint64_t addr = virtio_slot(&m->vmm, "mem0")->mem_option->addr;
	struct guest_mem_response response;

	for (uint64_t i = first; i < first + count; i++)
		assert_int_equal(guest_driver_mem_request(&m->driver, type, addr + i * BLOCK, 1,
							  &response), GUEST_MEM_ACK);
	machine_turn(m);
}

static void expect(struct json_object *object, const char *state, uint64_t from, uint64_t to,
		   uint64_t plugged, uint64_t percent)
{
	assert_string_equal(text_of(object, "id"), "mem0");
	assert_string_equal(text_of(object, "state"), state);
	assert_int_equal(number_of(object, "from"), from);
	assert_int_equal(number_of(object, "to"), to);
	assert_int_equal(number_of(object, "plugged"), plugged);
	assert_int_equal(number_of(object, "percent"), percent);
	json_object_put(object);
}

/* The next event "resize"; others, such as "plugged", are passed over. */
static struct json_object *next_resize(struct machine *m, int events)
{
	struct json_object *event = client_hear(m, events);

	while (strcmp(text_of(event, "event"), "resize") != 0) {
		json_object_put(event);
		event = client_hear(m, events);
	}
	return event;
}

static void a_resize_tells_how_it_goes(void **state)
{
	struct machine *m = start();
	int events = subscribe(m);

	(void)state;
	expect(ask(m, "{\"cmd\":\"resize\",\"id\":\"mem0\",\"size\":\"8M\"}"), "running", 0,
	       8 * MIB, 0, 0);
	expect(next_resize(m, events), "running", 0, 8 * MIB, 0, 0);
	move(m, GUEST_MEM_PLUG, 0, 1);
	expect(next_resize(m, events), "running", 0, 8 * MIB, 2 * MIB, 25);
	move(m, GUEST_MEM_PLUG, 1, 3);
	expect(next_resize(m, events), "done", 0, 8 * MIB, 8 * MIB, 100);
	assert_int_equal(mem_number(m, "mem0", "requested"), 8 * MIB);
	expect(ask(m, "{\"cmd\":\"resize\",\"id\":\"mem0\",\"size\":\"8M\"}"), "done", 8 * MIB,
	       8 * MIB, 8 * MIB, 100);
	expect(next_resize(m, events), "done", 8 * MIB, 8 * MIB, 8 * MIB, 100);
	close(events);
	machine_stop(m);
}

static void a_stall_is_told_and_may_go_on(void **state)
{
	struct machine *m = start();
	int events = subscribe(m);

	(void)state;
	json_object_put(ask(m, "{\"cmd\":\"resize\",\"id\":\"mem0\",\"size\":\"8M\",\"stall\":1}"));
	expect(next_resize(m, events), "running", 0, 8 * MIB, 0, 0);
	expect(next_resize(m, events), "stalled", 0, 8 * MIB, 0, 0);
	move(m, GUEST_MEM_PLUG, 0, 1);
	expect(next_resize(m, events), "running", 0, 8 * MIB, 2 * MIB, 25);
	move(m, GUEST_MEM_PLUG, 1, 3);
	expect(next_resize(m, events), "done", 0, 8 * MIB, 8 * MIB, 100);
	close(events);
	machine_stop(m);
}

static void after_the_timeout_what_was_reached_is_requested(void **state)
{
	struct machine *m = start();
	int events = subscribe(m);

	(void)state;
	json_object_put(ask(m, "{\"cmd\":\"resize\",\"id\":\"mem0\",\"size\":\"8M\",\"stall\":0,"
			    "\"timeout\":\"1\"}"));
	expect(next_resize(m, events), "running", 0, 8 * MIB, 0, 0);
	move(m, GUEST_MEM_PLUG, 0, 3);
	expect(next_resize(m, events), "running", 0, 8 * MIB, 6 * MIB, 75);
	expect(next_resize(m, events), "timed-out", 0, 8 * MIB, 6 * MIB, 75);
	assert_int_equal(mem_number(m, "mem0", "requested"), 6 * MIB);
	ask_refused(m, "{\"cmd\":\"resize-cancel\",\"id\":\"mem0\"}", "no resize is running");
	close(events);
	machine_stop(m);
}

static void it_can_be_cancelled(void **state)
{
	struct machine *m = start();
	int events = subscribe(m);

	(void)state;
	ask_refused(m, "{\"cmd\":\"resize-cancel\",\"id\":\"mem0\"}",
		    "no resize is running: expected a \"resize\" before");
	json_object_put(ask(m, "{\"cmd\":\"resize\",\"id\":\"mem0\",\"size\":\"8M\"}"));
	json_object_put(next_resize(m, events));
	move(m, GUEST_MEM_PLUG, 0, 1);
	expect(ask(m, "{\"cmd\":\"resize-cancel\",\"id\":\"mem0\"}"), "cancelled", 0, 8 * MIB,
	       2 * MIB, 25);
	expect(next_resize(m, events), "cancelled", 0, 8 * MIB, 2 * MIB, 25);
	assert_int_equal(mem_number(m, "mem0", "requested"), 2 * MIB);
	close(events);
	machine_stop(m);
}

static void another_one_takes_its_place(void **state)
{
	struct machine *m = start();
	int events = subscribe(m);

	(void)state;
	json_object_put(ask(m, "{\"cmd\":\"resize\",\"id\":\"mem0\",\"size\":\"8M\"}"));
	expect(next_resize(m, events), "running", 0, 8 * MIB, 0, 0);
	/* A wrong size harms nobody. */
	ask_refused(m, "{\"cmd\":\"resize\",\"id\":\"mem0\",\"size\":\"3M\"}",
		    "expected a multiple of 2097152, at most 1073741824");
	expect(ask(m, "{\"cmd\":\"resize\",\"id\":\"mem0\",\"size\":\"4M\"}"), "running", 0,
	       4 * MIB, 0, 0);
	expect(next_resize(m, events), "cancelled", 0, 8 * MIB, 0, 0);
	expect(next_resize(m, events), "running", 0, 4 * MIB, 0, 0);
	assert_int_equal(mem_number(m, "mem0", "requested"), 4 * MIB);
	ask_ok(m, "{\"cmd\":\"set-requested\",\"id\":\"mem0\",\"size\":\"6M\"}");
	expect(next_resize(m, events), "cancelled", 0, 4 * MIB, 0, 0);
	assert_int_equal(mem_number(m, "mem0", "requested"), 6 * MIB);
	close(events);
	machine_stop(m);
}

/* The clock is for progress, and for what happens when nothing does. */
static void a_change_of_state_waits_for_no_clock(void **state)
{
	struct machine *m = start();
	const struct watch *timer = &virtio_slot(&m->vmm, "mem0")->resize.timer;
	int events = subscribe(m);

	(void)state;
	json_object_put(ask(m, "{\"cmd\":\"resize\",\"id\":\"mem0\",\"size\":\"8M\"}"));
	json_object_put(next_resize(m, events));
	timer_set(timer, 0);
	move(m, GUEST_MEM_PLUG, 0, 4);
	expect(next_resize(m, events), "done", 0, 8 * MIB, 8 * MIB, 100);
	json_object_put(ask(m, "{\"cmd\":\"resize\",\"id\":\"mem0\",\"size\":\"0\"}"));
	json_object_put(next_resize(m, events));
	timer_set(timer, 0);
	ask_ok(m, "{\"cmd\":\"set-requested\",\"id\":\"mem0\",\"size\":\"6M\"}");
	expect(next_resize(m, events), "cancelled", 8 * MIB, 0, 8 * MIB, 0);
	close(events);
	machine_stop(m);
}

static void wrong_values_are_named(void **state)
{
	struct machine *m = start();

	(void)state;
	ask_refused(m, "{\"cmd\":\"resize\",\"id\":\"mem9\",\"size\":\"8M\"}",
		    "id \"mem9\": expected that of a memory device");
	ask_refused(m, "{\"cmd\":\"resize\",\"size\":\"8M\"}", "id \"\"");
	ask_refused(m, "{\"cmd\":\"resize\",\"id\":\"mem0\"}", "no \"size\"");
	ask_refused(m, "{\"cmd\":\"resize\",\"id\":\"mem0\",\"size\":\"2G\"}",
		    "at most 1073741824");
	ask_refused(m, "{\"cmd\":\"resize\",\"id\":\"mem0\",\"size\":\"8M\",\"stall\":\"5s\"}",
		    "stall \"5s\": expected a number of seconds");
	ask_refused(m, "{\"cmd\":\"resize\",\"id\":\"mem0\",\"size\":\"8M\",\"timeout\":-1}",
		    "timeout \"-1\": expected a number of seconds");
	ask_refused(m, "{\"cmd\":\"resize-cancel\",\"id\":\"balloon\"}", "id \"balloon\"");
	assert_int_equal(mem_number(m, "mem0", "requested"), 0);
	machine_stop(m);
}

/* ---- toyvmm-ctl ---- */

struct ctl {
	pid_t pid;
	int out;
	char text[8192];
	size_t len;
};

static struct ctl ctl_start(struct machine *m, const char *const *words)
{
	const char *argv[12] = {getenv("TOYVMM_CTL"), m->socket};
	struct ctl ctl = {.pid = 0};
	int pipe_fds[2];

	for (int i = 0; words[i] != NULL; i++)
		argv[2 + i] = words[i];
	assert_int_equal(pipe(pipe_fds), 0);
	ctl.pid = fork();
	if (ctl.pid == 0) {
		dup2(pipe_fds[1], STDOUT_FILENO);
		dup2(pipe_fds[1], STDERR_FILENO);
		close(pipe_fds[0]);
		close(pipe_fds[1]);
		execv(argv[0], (char *const *)argv);
		_exit(127);
	}
	close(pipe_fds[1]);
	ctl.out = pipe_fds[0];
	return ctl;
}

/* Turns the machine until these words were said, or, with NULL, until the end. */
static void ctl_until(struct machine *m, struct ctl *ctl, const char *words)
{
	time_t end = time(NULL) + PATIENCE;

	while (words == NULL || strstr(ctl->text, words) == NULL) {
		struct pollfd out = {.fd = ctl->out, .events = POLLIN};
		ssize_t got;

		machine_turn(m);
		assert_true(time(NULL) < end);
		if (poll(&out, 1, 0) != 1)
			continue;
		got = read(ctl->out, ctl->text + ctl->len, sizeof(ctl->text) - 1 - ctl->len);
		if (got <= 0 && words == NULL)
			return;
		if (got <= 0)
			fail_msg("said \"%s\", expected \"%s\" in it", ctl->text, words);
		ctl->len += (size_t)got;
	}
}

static int ctl_end(struct machine *m, struct ctl *ctl)
{
	int status;

	ctl_until(m, ctl, NULL);
	close(ctl->out);
	assert_int_equal(waitpid(ctl->pid, &status, 0), ctl->pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static struct machine *start_for_ctl(void)
{
	if (getenv("TOYVMM_CTL") == NULL)
		skip();
	return start();
}

static void the_client_follows_a_resize_to_its_end(void **state)
{
	struct machine *m = start_for_ctl();
	struct ctl ctl = ctl_start(m, (const char *const[]){"resize", "mem0", "8M", NULL});

	(void)state;
	ctl_until(m, &ctl, "mem0: running at 0 MiB of 0 MiB -> 8 MiB (0%)\n");
	move(m, GUEST_MEM_PLUG, 0, 2);
	ctl_until(m, &ctl, "mem0: running at 4 MiB of 0 MiB -> 8 MiB (50%)\n");
	move(m, GUEST_MEM_PLUG, 2, 2);
	ctl_until(m, &ctl, "mem0: done at 8 MiB of 0 MiB -> 8 MiB (100%)\n");
	assert_int_equal(ctl_end(m, &ctl), 0);
	machine_stop(m);
}

static void the_client_ends_when_nothing_moves(void **state)
{
	struct machine *m = start_for_ctl();
	struct ctl ctl;

	(void)state;
	json_object_put(ask(m, "{\"cmd\":\"resize\",\"id\":\"mem0\",\"size\":\"8M\"}"));
	move(m, GUEST_MEM_PLUG, 0, 4);
	ctl = ctl_start(m, (const char *const[]){"resize", "mem0", "0", "stall=1", NULL});
	ctl_until(m, &ctl, "running");
	move(m, GUEST_MEM_UNPLUG, 0, 1);
	assert_int_equal(ctl_end(m, &ctl), 1);
	assert_non_null(strstr(ctl.text, "mem0: stalled at 6 MiB of 8 MiB -> 0 MiB (25%)\n"));
	assert_non_null(strstr(ctl.text, "resize-cancel mem0"));
	/* The VMM has not given up. */
	assert_int_equal(mem_number(m, "mem0", "requested"), 0);
	ctl = ctl_start(m, (const char *const[]){"resize", "mem0", "0", "stall=1", "timeout=2",
						 NULL});
	assert_int_equal(ctl_end(m, &ctl), 1);
	assert_non_null(strstr(ctl.text, "mem0: stalled at 6 MiB of 6 MiB -> 0 MiB (0%)\n"));
	assert_non_null(strstr(ctl.text, "mem0: timed-out at 6 MiB of 6 MiB -> 0 MiB (0%)\n"));
	assert_int_equal(mem_number(m, "mem0", "requested"), 6 * MIB);
	machine_stop(m);
}

/* Its own resize, that is: neither that which it replaces nor that of another device. */
static void the_client_hears_of_its_own_resize_only(void **state)
{
	struct machine *m = start_for_ctl();
	struct ctl ctl, second;

	(void)state;
	ctl = ctl_start(m, (const char *const[]){"resize", "mem0", "8M", "timeout=0", NULL});
	ctl_until(m, &ctl, "running");
	json_object_put(ask(m, "{\"cmd\":\"resize\",\"id\":\"mem1\",\"size\":\"0\"}"));
	second = ctl_start(m, (const char *const[]){"resize", "mem0", "2M", NULL});
	ctl_until(m, &second, "-> 2 MiB (0%)");
	assert_int_equal(ctl_end(m, &ctl), 1);
	assert_non_null(strstr(ctl.text, "cancelled at 0 MiB of 0 MiB -> 8 MiB"));
	move(m, GUEST_MEM_PLUG, 0, 1);
	assert_int_equal(ctl_end(m, &second), 0);
	assert_null(strstr(second.text, "cancelled"));
	assert_null(strstr(second.text, "mem1"));
	machine_stop(m);
}

static void the_client_says_what_is_wrong(void **state)
{
	struct machine *m = start_for_ctl();
	struct ctl ctl;

	(void)state;
	ctl = ctl_start(m, (const char *const[]){"resize", "mem0", "3M", NULL});
	assert_int_equal(ctl_end(m, &ctl), 1);
	assert_non_null(strstr(ctl.text, "expected a multiple of 2097152"));
	ctl = ctl_start(m, (const char *const[]){"resize", "mem0", "2M", "stall=1", "stall=2",
						 NULL});
	assert_int_equal(ctl_end(m, &ctl), 2);
	ctl = ctl_start(m, (const char *const[]){"resize", "mem0", "2M", "wait=1", NULL});
	assert_int_equal(ctl_end(m, &ctl), 2);
	assert_non_null(strstr(ctl.text, "resize ID SIZE [stall=SECONDS] [timeout=SECONDS]"));
	assert_non_null(strstr(ctl.text, "timeout=SECONDS, each once, not \"wait=1\""));
	ctl = ctl_start(m, (const char *const[]){"resize", "mem0", NULL});
	assert_int_equal(ctl_end(m, &ctl), 2);
	assert_non_null(strstr(ctl.text, "resize: not given: its \"size\""));
	ctl = ctl_start(m, (const char *const[]){"info", "mem0", NULL});
	assert_int_equal(ctl_end(m, &ctl), 2);
	assert_non_null(strstr(ctl.text, "info: takes no \"mem0\""));
	ctl = ctl_start(m, (const char *const[]){NULL});
	assert_int_equal(ctl_end(m, &ctl), 2);
	assert_non_null(strstr(ctl.text, "not given: a command"));
	machine_stop(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_resize_tells_how_it_goes),
		cmocka_unit_test(a_stall_is_told_and_may_go_on),
		cmocka_unit_test(after_the_timeout_what_was_reached_is_requested),
		cmocka_unit_test(it_can_be_cancelled),
		cmocka_unit_test(another_one_takes_its_place),
		cmocka_unit_test(a_change_of_state_waits_for_no_clock),
		cmocka_unit_test(wrong_values_are_named),
		cmocka_unit_test(the_client_follows_a_resize_to_its_end),
		cmocka_unit_test(the_client_ends_when_nothing_moves),
		cmocka_unit_test(the_client_hears_of_its_own_resize_only),
		cmocka_unit_test(the_client_says_what_is_wrong),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
