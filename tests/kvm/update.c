// SPDX-License-Identifier: BSD-3-Clause
/*
 * Live update: the test's process is the old one, and a child is the new one, or says what it
 * should not. Guest memory is in memfds that both have.
 */
#include "machine.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../../examples/kvm/record.h"

#define BLOCK (2 * MIB)

static const char *const usual[] = {
	"--memory=64M,backing=memfd", "--balloon",
	"--mem=size=1G,slots=4M,guarded=on,requested=16M", NULL};

static struct machine *start(void)
{
	struct machine *m = machine_start(usual);
	uint64_t addr = virtio_slot(&m->vmm, "mem0")->mem_option->addr;
	struct guest_mem_response response;

	assert_true(machine_drive_mem(m, "mem0", VMEMDEV_MEM_F_UNPLUGGED_INACCESSIBLE));
	assert_int_equal(guest_driver_mem_request(&m->driver, GUEST_MEM_PLUG, addr, 2, &response),
			 GUEST_MEM_ACK);
	memset(memory_at(&m->vmm, PLAY_GPA, PAGE), 0x5a, PAGE);
	memset(vmemdev_linux_region(&m->vmm.memory, addr)->host, 0x77, PAGE);
	return m;
}

/* ---- the child ---- */

/* What the new process finds. returns: its exit status; 0: all is well */
static int look(struct machine *m)
{
	uint64_t addr = virtio_slot(&m->vmm, "mem0")->mem_option->addr;
	const uint8_t *block = vmemdev_linux_region(&m->vmm.memory, addr)->host;
	const uint8_t *ram = memory_at(&m->vmm, PLAY_GPA, PAGE);
	struct vmemdev_range run;

	if (ram[0] != 0x5a || block[0] != 0x77)
		return 11;
	if (!vmemdev_mem_next(&virtio_slot(&m->vmm, "mem0")->mem, 0, true, &run) ||
	    run.gpa != addr || run.len != 2 * BLOCK)
		return 12;
	memset(memory_at(&m->vmm, PLAY_GPA, PAGE), 0x5b, PAGE); /* the old one sees that */
	return 0;
}

static int take_over(const char *socket, const char *const *options)
{
	struct record record = {0};
	struct machine *m = machine_prepare(options);

	m->vmm.options.takeover = socket;
	if (update_connect(&m->vmm))
		return 1;
	machine_create(m);
	if (update_take(&m->vmm, &record))
		return 2;
	if (saved_load_machine(&m->vmm, &record))
		return 3;
	if (update_commit(&m->vmm))
		return 4;
	update_went_on(&m->vmm, &record);
	return look(m);
}

static int other_options(const char *socket)
{
	return take_over(socket, (const char *const[]){usual[0], "--balloon=queue-size=64",
						       usual[2], NULL});
}

static int less_memory(const char *socket)
{
	struct machine *m = machine_prepare((const char *const[]){"--memory=128M", NULL});

	m->vmm.options.takeover = socket;
	if (update_connect(&m->vmm))
		return 1;
	return memory_create(&m->vmm) ? 2 : 0;
}

static int the_same(const char *socket)
{
	return take_over(socket, usual);
}

static int nothing_of_it(const char *socket)
{
	struct machine *m = machine_prepare(usual);

	m->vmm.options.takeover = socket;
	return update_connect(&m->vmm) ? 1 : 5;
}

/* It has the record, and ends without a word. */
static int ends_late(const char *socket)
{
	struct record record = {0};
	struct machine *m = machine_prepare(usual);

	m->vmm.options.takeover = socket;
	if (update_connect(&m->vmm))
		return 1;
	machine_create(m);
	return update_take(&m->vmm, &record) ? 2 : 6;
}

/* READY before it was STOP. */
static int says_another_word(const char *socket)
{
	struct machine *m = machine_prepare(usual);
	const uint32_t ready[6] = {4};

	m->vmm.options.takeover = socket;
	if (update_connect(&m->vmm))
		return 1;
	if (send(m->vmm.update.peer.fd, ready, sizeof(ready), 0) != sizeof(ready))
		return 2;
	return recv(m->vmm.update.peer.fd, (uint32_t[6]){0}, 24, 0) == 0 ? 7 : 3;
}

/* ---- the old process ---- */

/* Turn the loop until @child has ended. returns: its exit status */
static int turn_until_end(struct machine *m, pid_t child)
{
	time_t end = time(NULL) + PATIENCE;
	int status;

	while (waitpid(child, &status, WNOHANG) == 0) {
		machine_turn(m);
		assert_true(time(NULL) < end);
	}
	for (int i = 0; i < 5; i++)
		machine_turn(m);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* returns: the exit status of a new process that does so */
static int update(struct machine *m, int (*child)(const char *socket), const char **said)
{
	pid_t pid;
	int status;

	listen_start();
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		_exit(child(m->socket));
	status = turn_until_end(m, pid);
	*said = listen_stop();
	return status;
}

static void the_guest_goes_on_in_another_process(void **state)
{
	struct machine *m = start();
	const char *said;

	(void)state;
	assert_int_equal(update(m, the_same, &said), 0);
	assert_int_equal(atomic_load(&m->vmm.exit_status), EXIT_POWER_OFF);
	assert_non_null(strstr(said, "it stood still for "));
	assert_int_equal(fake_kvm.pauses, 1);
	assert_int_equal(fake_kvm.goes_on, 0);
	assert_true(fake_kvm.console_held);
	assert_int_equal(*(const uint8_t *)memory_at(&m->vmm, PLAY_GPA, 1), 0x5b);
	/* The name is the new one's to take. */
	assert_int_not_equal(access(m->socket, F_OK), 0);
	machine_stop(m);
}

static void a_new_process_that_fails_leaves_the_guest_where_it_is(void **state)
{
	static const struct {
		int (*child)(const char *socket);
		int status;
		unsigned pauses;
		const char *words;
	} cases[] = {
		{other_options, 2, 1, "expected the options that it was started with"},
		{less_memory, 2, 0, "no memory of 134217728 bytes at 0x0"},
		{nothing_of_it, 5, 0, "the guest goes on here"},
		{ends_late, 6, 1, "the guest goes on here"},
		{says_another_word, 7, 0, "said something else"},
	};
	struct machine *m = start();
	const char *said;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		fake_kvm.pauses = fake_kvm.goes_on = 0;
		assert_int_equal(update(m, cases[i].child, &said), cases[i].status);
		if (strstr(said, cases[i].words) == NULL)
			fail_msg("\"%s\", expected \"%s\" in it", said, cases[i].words);
		assert_int_equal(fake_kvm.pauses, cases[i].pauses);
		assert_int_equal(fake_kvm.goes_on, cases[i].pauses);
		assert_false(fake_kvm.console_held);
		assert_int_equal(atomic_load(&m->vmm.exit_status), EXIT_RUNNING);
	}
	/* And after all that another one can. */
	assert_int_equal(update(m, the_same, &said), 0);
	assert_int_equal(atomic_load(&m->vmm.exit_status), EXIT_POWER_OFF);
	machine_stop(m);
}

static void memory_that_cannot_be_handed_over_is_named(void **state)
{
	static const char *const backings[] = {"--memory=64M", "--memory=64M,backing=memfd,shared=off"};

	(void)state;
	for (int i = 0; i < 2; i++) {
		struct machine *m = machine_start((const char *const[]){backings[i], NULL});

		ask_refused(m, "{\"cmd\":\"takeover\"}", "expected one that was started with "
			    "--memory SIZE,backing=memfd");
		machine_stop(m);
	}
}

/* One at a time: nobody is to find the machine half way to elsewhere. */
static void a_snapshot_and_an_update_exclude_each_other(void **state)
{
	struct machine *m = start();
	int client = client_open(m);
	struct json_object *answer;
	char line[256];

	(void)state;
	atomic_store(&m->vmm.vcpus_running, 1);
	snprintf(line, sizeof(line), "{\"cmd\":\"snapshot\",\"file\":\"%s/s\"}", m->directory);
	ask_ok(m, line);
	ask_refused(m, "{\"cmd\":\"takeover\"}", "a snapshot is being written");
	ask_refused(m, line, "a snapshot is being written");
	atomic_store(&m->vmm.vcpus_running, 0);
	machine_turn(m);
	snprintf(line, sizeof(line), "%s/s", m->directory);
	assert_int_equal(unlink(line), 0);

	client_say(client, "{\"cmd\":\"takeover\"}");
	answer = client_hear(m, client);
	assert_null(json_object_object_get(answer, "error"));
	json_object_put(answer);
	ask_refused(m, "{\"cmd\":\"takeover\"}", "another process is taking the guest over");
	listen_start();
	close(client);
	machine_turn(m);
	listen_stop();
	ask_ok(m, "{\"cmd\":\"info\"}");
	machine_stop(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_guest_goes_on_in_another_process),
		cmocka_unit_test(a_new_process_that_fails_leaves_the_guest_where_it_is),
		cmocka_unit_test(memory_that_cannot_be_handed_over_is_named),
		cmocka_unit_test(a_snapshot_and_an_update_exclude_each_other),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
