// SPDX-License-Identifier: BSD-3-Clause
/*
 * Live update: the test's process is the old one, and a child is the new one, or says what it
 * should not. Guest memory is in memfds that both have.
 */
#include "machine.h"

#include <errno.h>
#include <fcntl.h>
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

static const char *other_control; /* of the new process; NULL: one of its own */

static int take_over(const char *socket, const char *const *options)
{
	struct record record = {0};
	struct machine *m = machine_prepare(options);

	m->vmm.options.takeover = socket;
	fake_kvm.terminal_left = true;
	if (other_control)
		m->vmm.options.control = other_control;
	if (update_connect(&m->vmm))
		return 1;
	if (memory_create(&m->vmm) || virtio_create(&m->vmm))
		return 8;
	if (update_take(&m->vmm, &record))
		return 2;
	if (saved_load_machine(&m->vmm, &record))
		return 3;
	if (update_commit(&m->vmm))
		return 4;
	update_went_on(&m->vmm, &record);
	control_close(&m->vmm);
	rmdir(m->directory);
	return fake_kvm.terminal_left ? 9 : look(m);
}

/* What it finds out after GO would cost the guest. */
static int no_place_for_a_socket(const char *socket)
{
	other_control = "/nonexistent/control";
	return take_over(socket, usual);
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
	assert_true(fake_kvm.terminal_left);
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
		{no_place_for_a_socket, 4, 1, "--control /nonexistent/control: No such file"},
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
		assert_false(fake_kvm.terminal_left);
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

static int to_a_private_one(const char *socket)
{
	struct machine *m = machine_prepare(usual);

	m->vmm.options.takeover = socket;
	return update_connect(&m->vmm) ? 1 : 0;
}

static void a_refusal_is_shown_as_text(void **state)
{
	struct machine *m = machine_start((const char *const[]){"--memory=64M", NULL});
	const char *said;

	(void)state;
	assert_int_equal(update(m, to_a_private_one, &said), 1);
	assert_non_null(strstr(said, ": the guest's memory is this process's alone: expected"));
	assert_null(strchr(said, '{'));
	machine_stop(m);
}

/* ---- a peer that the test plays ---- */

struct word {
	uint32_t type, count;
	uint64_t since, len;
};

/* Ask for a takeover, and drop what comes of it. returns: the connection */
static int ask_for_takeover(struct machine *m)
{
	int peer = client_open(m);
	char bytes[256];
	struct word word;

	client_say(peer, "{\"cmd\":\"takeover\"}");
	json_object_put(client_hear(m, peer));
	assert_int_equal(recv(peer, &word, sizeof(word), MSG_WAITALL), sizeof(word));
	assert_int_equal(word.type, 1);
	assert_true(word.len < sizeof(bytes));
	assert_int_equal(recv(peer, bytes, word.len, MSG_WAITALL), word.len);
	return peer;
}

/* Say the first @len bytes of a word, one by one. */
static void drip(struct machine *m, int peer, uint32_t type, size_t from, size_t end)
{
	const struct word word = {.type = type};

	for (size_t i = from; i < end; i++) {
		assert_int_equal(send(peer, (const char *)&word + i, 1, 0), 1);
		machine_turn(m);
	}
}

/* Half a word holds up nobody, is no word, and does not put off the end. */
static void a_slow_peer_is_not_waited_for(void **state)
{
	struct machine *m = start();
	time_t end = time(NULL) + PATIENCE;
	int peer = ask_for_takeover(m);

	(void)state;
	drip(m, peer, 2, 0, sizeof(struct word) - 1);
	assert_int_equal(fake_kvm.pauses, 0);
	ask_ok(m, "{\"cmd\":\"info\"}");
	drip(m, peer, 2, sizeof(struct word) - 1, sizeof(struct word));
	assert_int_equal(fake_kvm.pauses, 1);
	assert_true(m->vmm.update.stopped);
	drip(m, peer, 4, 0, 1);
	assert_true(m->vmm.update.running);
	listen_start();
	timer_set(&m->vmm.update.limit, MILLISECOND);
	for (size_t i = 1; m->vmm.update.running; i++) {
		assert_true(time(NULL) < end);
		machine_turn(m);
	}
	assert_non_null(strstr(listen_stop(), "takes too long: the guest goes on here"));
	assert_int_equal(fake_kvm.goes_on, 1);
	close(peer);
	machine_stop(m);
}

/* Neither is one that asks and is gone, which leaves nothing else closed. */
static void a_peer_that_is_gone_at_once_changes_nothing(void **state)
{
	struct machine *m = start();
	int peer = client_open(m);

	(void)state;
	listen_start();
	client_say(peer, "{\"cmd\":\"takeover\"}");
	close(peer);
	for (int i = 0; i < 4; i++)
		machine_turn(m);
	listen_stop();
	assert_false(m->vmm.update.running);
	assert_true(fcntl(STDIN_FILENO, F_GETFD) >= 0);
	ask_ok(m, "{\"cmd\":\"info\"}");
	machine_stop(m);
}

/* Nor one that reads no answers: there is room for that to the command, and for no more. */
static void a_peer_that_reads_nothing_is_not_waited_for(void **state)
{
	struct machine *m = start();
	int peer = client_open(m);
	char room[3];

	(void)state;
	client_say(peer, "{\"cmd\":\"takeover\"}");
	for (int i = 0; i < CLIENTS_MAX; i++) {
		struct client *client = &m->vmm.control.clients[i];

		while (client->vmm && send(client->watch.fd, "{}\n", 3, MSG_DONTWAIT) == 3)
			continue;
	}
	assert_int_equal(recv(peer, room, sizeof(room), 0), sizeof(room));
	listen_start();
	for (int i = 0; i < 4; i++)
		machine_turn(m);
	listen_stop();
	assert_false(m->vmm.update.running);
	close(peer);
	machine_stop(m);
}

/* Whatever was let go by then is taken up again. */
static void a_peer_that_is_gone_at_the_last_moment_gets_nothing(void **state)
{
	const struct word ready = {.type = 4};
	struct machine *m = start();
	int peer = ask_for_takeover(m);

	(void)state;
	drip(m, peer, 2, 0, sizeof(struct word));
	assert_int_equal(send(peer, &ready, sizeof(ready), 0), sizeof(ready));
	close(peer);
	listen_start();
	machine_turn(m);
	assert_non_null(strstr(listen_stop(), "at the last moment: the guest goes on here"));
	assert_int_equal(fake_kvm.goes_on, 1);
	assert_false(fake_kvm.console_held);
	assert_false(fake_kvm.terminal_left);
	ask_ok(m, "{\"cmd\":\"info\"}");
	machine_stop(m);
}

/* What a client was told to be done would not be so for the new process. */
static void nothing_changes_once_the_record_is_taken(void **state)
{
	static const char *const commands[] = {
		"{\"cmd\":\"set-balloon\",\"size\":\"1M\"}",
		"{\"cmd\":\"set-requested\",\"id\":\"mem0\",\"size\":\"4M\"}",
		"{\"cmd\":\"resize\",\"id\":\"mem0\",\"size\":\"4M\"}",
		"{\"cmd\":\"resize-cancel\",\"id\":\"mem0\"}",
		"{\"cmd\":\"poll-stats\"}",
		"{\"cmd\":\"stats-period\",\"seconds\":1}",
		"{\"cmd\":\"hint\",\"step\":\"start\"}",
		"{\"cmd\":\"inhibit\"}",
		"{\"cmd\":\"uninhibit\"}",
	};
	struct machine *m = start();
	int peer = ask_for_takeover(m);

	(void)state;
	ask_ok(m, commands[0]);
	drip(m, peer, 2, 0, sizeof(struct word));
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		ask_refused(m, commands[i], "a live update is going on");
	ask_ok(m, "{\"cmd\":\"info\"}");
	listen_start();
	close(peer);
	machine_turn(m);
	listen_stop();
	ask_ok(m, commands[1]);
	machine_stop(m);
}

/* What an old process says is not believed either. */
struct lie {
	struct word memory; /* its MEMORY, */
	unsigned fds;       /* with so many descriptors, and zeros for what follows */
	uint64_t record;    /* the length of its record; 0: the first was refused by now */
	const char *words;
};

static int believe(const char *socket)
{
	struct machine *m = machine_prepare(usual);
	struct record record = {0};

	m->vmm.options.takeover = socket;
	if (update_connect(&m->vmm))
		return 1;
	return update_take(&m->vmm, &record) ? 2 : 0;
}

static void say_memory(int fd, const struct lie *lie)
{
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(4 * sizeof(int))];
	} control = {0};
	struct iovec part = {.iov_base = (void *)(uintptr_t)&lie->memory,
			     .iov_len = sizeof(lie->memory)};
	struct msghdr head = {.msg_iov = &part, .msg_iovlen = 1};
	static const char stretches[8192];

	if (lie->fds) {
		head.msg_control = &control;
		head.msg_controllen = CMSG_SPACE(lie->fds * sizeof(int));
		control.head = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS,
						.cmsg_len = CMSG_LEN(lie->fds * sizeof(int))};
		for (unsigned i = 0; i < lie->fds; i++)
			memcpy(CMSG_DATA(&control.head) + i * sizeof(int), &(int){fd}, sizeof(int));
	}
	assert_int_equal(sendmsg(fd, &head, MSG_NOSIGNAL), sizeof(lie->memory));
	send(fd, stretches, lie->memory.len < 8192 ? lie->memory.len : 8192, MSG_NOSIGNAL);
}

/* returns: what the new process says, which has ended */
static const char *tell(int listener, const char *path, const struct lie *lie)
{
	const struct word record = {.type = 3, .len = lie->record};
	char line[64];
	pid_t pid;
	int fd, status;

	listen_start();
	pid = fork();
	if (pid == 0)
		_exit(believe(path));
	fd = accept(listener, NULL, NULL);
	assert_true(recv(fd, line, sizeof(line), 0) > 0);
	assert_int_equal(send(fd, "{}\n", 3, 0), 3);
	say_memory(fd, lie);
	if (lie->record)
		assert_int_equal(send(fd, &record, sizeof(record), MSG_NOSIGNAL), sizeof(record));
	shutdown(fd, SHUT_WR);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	close(fd);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), lie->record ? 2 : 1);
	return listen_stop();
}

static void what_an_old_process_says_is_checked(void **state)
{
	static const char where[] = "it did not say where its memory is";
	static const struct lie lies[] = {
		{{1, 1, 0, 24}, 0, 0, where},       /* no descriptor, */
		{{1, 1, 0, 24}, 2, 0, where},       /* one too many, */
		{{1, 2, 0, 48}, 1, 0, where},       /* too few */
		{{1, 1, 0, 48}, 1, 0, where},       /* a length that is another */
		{{1, 1, 0, UINT64_MAX}, 1, 0, where},
		{{1, 300, 0, 7200}, 3, 0, where},   /* more than there can be */
		{{3, 1, 0, 24}, 1, 0, where},       /* another word */
		{{1, 1, 0, 24}, 1, RECORD_MAX + 1, "it sent no record"},
		{{1, 1, 0, 24}, 1, 64, "its record did not come"},
	};
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	char directory[] = "/tmp/toyvmm-update.XXXXXX";
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)state;
	assert_non_null(mkdtemp(directory));
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/s", directory);
	assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(listener, 4), 0);
	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		const char *said = tell(listener, address.sun_path, &lies[i]);

		if (strstr(said, lies[i].words) == NULL)
			fail_msg("%zu: \"%s\", expected \"%s\"", i, said, lies[i].words);
	}
	close(listener);
	unlink(address.sun_path);
	rmdir(directory);
}

/* ---- files ---- */

static char files[3][160]; /* --pmem=path=... */

static int files_exchanged(const char *socket)
{
	return take_over(socket, (const char *const[]){usual[0], files[1], files[0], NULL});
}

static int another_file(const char *socket)
{
	return take_over(socket, (const char *const[]){usual[0], files[0], files[2], NULL});
}

static int another_readonly_file(const char *socket)
{
	char readonly[180];

	snprintf(readonly, sizeof(readonly), "%s,readonly", files[2]);
	return take_over(socket, (const char *const[]){usual[0], files[0], readonly, NULL});
}

static int a_file_more(const char *socket)
{
	return take_over(socket, (const char *const[]){usual[0], files[0], files[1], files[2],
						       NULL});
}

static int the_same_files(const char *socket)
{
	struct record record = {0};
	struct machine *m = machine_prepare((const char *const[]){usual[0], files[0], files[1],
								  NULL});

	m->vmm.options.takeover = socket;
	if (update_connect(&m->vmm))
		return 1;
	machine_create(m);
	return update_take(&m->vmm, &record) || update_commit(&m->vmm) ? 2 : 0;
}

static void files_that_the_guest_does_not_have_are_named(void **state)
{
	static const struct {
		int (*child)(const char *socket);
		const char *words;
	} cases[] = {
		{files_exchanged, "--pmem: pmem0: path="},
		{another_file, "--pmem: pmem1: path="},
		{another_readonly_file, "is another file than the other toyvmm has at"},
		{a_file_more, "--pmem: pmem2: path="},
	};
	struct machine *m;
	const char *said;

	(void)state;
	for (int i = 0; i < 3; i++) {
		char path[] = "/tmp/toyvmm-update.XXXXXX";
		int fd = mkstemp(path);

		assert_int_equal(ftruncate(fd, 4 * (off_t)MIB), 0);
		close(fd);
		snprintf(files[i], sizeof(files[0]), "--pmem=path=%s", path);
	}
	m = machine_start((const char *const[]){usual[0], files[0], files[1], NULL});
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(update(m, cases[i].child, &said), 8);
		if (strstr(said, cases[i].words) == NULL)
			fail_msg("\"%s\", expected \"%s\" in it", said, cases[i].words);
		assert_int_equal(fake_kvm.pauses, 0);
		assert_int_equal(atomic_load(&m->vmm.exit_status), EXIT_RUNNING);
	}
	assert_int_equal(update(m, the_same_files, &said), 0);
	machine_stop(m);
	for (int i = 0; i < 3; i++)
		unlink(files[i] + strlen("--pmem=path="));
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
		cmocka_unit_test(a_refusal_is_shown_as_text),
		cmocka_unit_test(a_peer_that_is_gone_at_once_changes_nothing),
		cmocka_unit_test(a_peer_that_reads_nothing_is_not_waited_for),
		cmocka_unit_test(a_slow_peer_is_not_waited_for),
		cmocka_unit_test(a_peer_that_is_gone_at_the_last_moment_gets_nothing),
		cmocka_unit_test(nothing_changes_once_the_record_is_taken),
		cmocka_unit_test(what_an_old_process_says_is_checked),
		cmocka_unit_test(files_that_the_guest_does_not_have_are_named),
		cmocka_unit_test(a_snapshot_and_an_update_exclude_each_other),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
