// SPDX-License-Identifier: BSD-3-Clause
#include "machine.h"

#include <getopt.h>
#include <poll.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define WATCHES 64
#define OPTIONS 12

/* ---- what a vmm is made of that is not under test ---- */

static struct watch *watches[WATCHES];

int loop_add(struct vmm *vmm, struct watch *watch)
{
	(void)vmm;
	for (int i = 0; i < WATCHES; i++) {
		if (watches[i] == NULL) {
			watches[i] = watch;
			return 0;
		}
	}
	return -1;
}

void loop_remove(struct vmm *vmm, struct watch *watch)
{
	(void)vmm;
	for (int i = 0; i < WATCHES; i++) {
		if (watches[i] == watch)
			watches[i] = NULL;
	}
}

void loop_wake(struct vmm *vmm)
{
	(void)vmm;
}

void vmm_stop(struct vmm *vmm, enum exit_status status, const char *reason)
{
	atomic_store(&vmm->exit_status, (int)status);
	atomic_store(&vmm->exit_reason, reason);
}

int kvm_add_memory(struct vmm *vmm, uint32_t slot, uint64_t gpa, uint64_t len, void *host)
{
	(void)vmm, (void)slot, (void)gpa, (void)len, (void)host;
	return 0;
}

int kvm_add_irqfd(struct vmm *vmm, uint32_t gsi)
{
	(void)vmm, (void)gsi;
	return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

int kvm_add_doorbell(struct vmm *vmm, uint64_t gpa, uint32_t value)
{
	(void)vmm, (void)gpa, (void)value;
	return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

/* ---- the machine ---- */

static void parse(struct machine *m, const char *const *options)
{
	char words[OPTIONS + 5][128] = {"toyvmm", "--kernel", "none", "--control"};
	char *argv[OPTIONS + 6];
	int argc = 5;

	snprintf(words[4], sizeof(words[4]), "%s", m->socket);
	for (; *options != NULL; options++)
		snprintf(words[argc++], sizeof(words[0]), "%s", *options);
	for (int i = 0; i < argc; i++)
		argv[i] = words[i];
	argv[argc] = NULL;
	optind = 0;
	assert_int_equal(options_parse(&m->vmm.options, argc, argv), EXIT_RUNNING);
	m->vmm.options.control = m->socket; /* the words go */
}

struct machine *machine_start(const char *const *options)
{
	struct machine *m = calloc(1, sizeof(*m));

	assert_non_null(m);
	snprintf(m->directory, sizeof(m->directory), "/tmp/toyvmm-test.XXXXXX");
	assert_non_null(mkdtemp(m->directory));
	snprintf(m->socket, sizeof(m->socket), "%s/control", m->directory);
	parse(m, options);
	pthread_mutex_init(&m->vmm.lock, NULL);
	vmm_stop(&m->vmm, EXIT_RUNNING, "the test is over");
	assert_int_equal(memory_create(&m->vmm), 0);
	assert_int_equal(virtio_create(&m->vmm), 0);
	assert_int_equal(control_create(&m->vmm), 0);
	return m;
}

void machine_stop(struct machine *m)
{
	if (m->driven)
		guest_driver_close(&m->driver);
	control_destroy(&m->vmm);
	for (int i = 0; i < WATCHES; i++) {
		if (watches[i] != NULL)
			close(watches[i]->fd);
		watches[i] = NULL;
	}
	vmemdev_linux_memory_finish(&m->vmm.memory);
	rmdir(m->directory);
	for (uint32_t i = 0; i < m->vmm.balloon.track_count; i++)
		free(m->vmm.balloon.tracks[i].words);
	free(m);
}

void machine_turn(struct machine *m)
{
	struct pollfd fds[WATCHES];

	for (int i = 0; i < WATCHES; i++)
		fds[i] = (struct pollfd){.fd = watches[i] ? watches[i]->fd : -1, .events = POLLIN};
	assert_true(poll(fds, WATCHES, 1) >= 0);
	for (int i = 0; i < WATCHES; i++) {
		if (fds[i].revents && watches[i] != NULL)
			watches[i]->ready(watches[i]->ctx);
	}
	while (virtio_run(&m->vmm))
		;
}

void machine_drive(struct machine *m, uint64_t features)
{
	/* The VMM's own memory, as the guest has it. */
	m->memory.regions[0] = *vmemdev_linux_region(&m->vmm.memory, 0);
	m->memory.count = 1;
	m->memory.place_used = MIB;
	/* Not guest_driver_open(), as the device has its transport: interrupts go to the VMM. */
	m->driver.mem = &m->memory;
	m->driver.dev = m->vmm.balloon.slot->device;
	m->driver.transport = GUEST_DIRECT;
	m->driven = true;
	assert_true(guest_driver_start(&m->driver, features, 0));
	machine_turn(m);
}

/* ---- clients ---- */

int client_open(struct machine *m)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	memcpy(address.sun_path, m->socket, strlen(m->socket) + 1);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	machine_turn(m);
	return fd;
}

void client_say(int client, const char *line)
{
	assert_int_equal(send(client, line, strlen(line), MSG_NOSIGNAL), strlen(line));
	assert_int_equal(send(client, "\n", 1, MSG_NOSIGNAL), 1);
}

struct json_object *client_hear(struct machine *m, int client)
{
	static char line[65536];
	struct json_object *object;
	time_t end = time(NULL) + PATIENCE;
	size_t len = 0;

	while (len < sizeof(line) - 1) {
		ssize_t got = recv(client, line + len, 1, MSG_DONTWAIT);

		assert_true(got != 0);
		if (got > 0 && line[len++] == '\n')
			break;
		if (got < 0) {
			assert_true(time(NULL) < end);
			machine_turn(m);
		}
	}
	line[len] = 0;
	object = json_tokener_parse(line);
	assert_non_null(object);
	return object;
}

struct json_object *ask(struct machine *m, const char *line)
{
	int client = client_open(m);
	struct json_object *answer;

	client_say(client, line);
	answer = client_hear(m, client);
	close(client);
	machine_turn(m);
	return answer;
}

uint64_t number_of(struct json_object *object, const char *name)
{
	struct json_object *member = NULL;

	if (!json_object_object_get_ex(object, name, &member))
		fail_msg("no \"%s\" in %s", name, json_object_to_json_string(object));
	return json_object_get_uint64(member);
}

const char *text_of(struct json_object *object, const char *name)
{
	struct json_object *member = NULL;

	if (!json_object_object_get_ex(object, name, &member))
		fail_msg("no \"%s\" in %s", name, json_object_to_json_string(object));
	return json_object_get_string(member);
}

uint64_t balloon_number(struct machine *m, const char *name)
{
	struct json_object *info = ask(m, "{\"cmd\":\"info\"}");
	struct json_object *balloon = json_object_object_get(info, "balloon");
	uint64_t number = number_of(balloon, name);

	json_object_put(info);
	return number;
}

void ask_ok(struct machine *m, const char *line)
{
	struct json_object *answer = ask(m, line);

	if (json_object_object_get(answer, "error") != NULL)
		fail_msg("%s: %s", line, text_of(answer, "error"));
	json_object_put(answer);
}

void ask_refused(struct machine *m, const char *line, const char *words)
{
	struct json_object *answer = ask(m, line);
	const char *error = text_of(answer, "error");

	if (strstr(error, words) == NULL)
		fail_msg("%s: \"%s\", expected \"%s\" in it", line, error, words);
	json_object_put(answer);
}

void until_balloon(struct machine *m, const char *name, uint64_t value)
{
	time_t end = time(NULL) + PATIENCE;
	uint64_t last = balloon_number(m, name);

	while (last != value && time(NULL) < end)
		last = balloon_number(m, name);
	assert_int_equal(last, value);
}
