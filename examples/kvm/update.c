// SPDX-License-Identifier: BSD-3-Clause
/*
 * Live update: another process, of a newer toyvmm perhaps, goes on with the guest, whose memory
 * stays where it is. The other is started with the same options and --takeover SOCKET, connects
 * there and asks for "takeover"; then, on the same connection,
 *
 *     MEMORY  to the new one: where guest memory is, and the files it is in (SCM_RIGHTS). The
 *             guest runs on, while the new process makes a machine
 *     STOP    to the old one, which has its vCPUs stand still
 *     RECORD  to the new one: what a snapshot has beside the memory
 *     READY   to the old one: all of it is loaded
 *     GO      to the new one, which has the guest from now on; the old one ends
 *
 * Until GO the guest is the old process's: if anything fails, or takes too long, it goes on there.
 * The old one reads what comes as it comes, and never waits for the rest of a word: its devices
 * and clients have their turns until the vCPUs stand still.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "answers.h"
#include "record.h"

#define PATIENCE 10 /* seconds for the other side's next word, all of it */

enum message_type { MEMORY = 1, STOP, RECORD, READY, GO };

struct message {
	uint32_t type, count; /* MEMORY: stretches, each with a descriptor */
	uint64_t since;       /* RECORD: when the vCPUs were told to stop, ns */
	uint64_t len;         /* of what follows */
};

struct stretch {
	uint64_t gpa, size, offset;
};

/* ---- both sides ---- */

/* Wait until @fd is ready for @events, no longer than to @end, by pause_clock(). 0 or -1. */
static int await(int fd, short events, uint64_t end)
{
	struct pollfd ready = {.fd = fd, .events = events};
	uint64_t now = pause_clock();
	int count;

	do {
		if (now >= end)
			return -1;
		count = poll(&ready, 1, (int)((end - now) / (uint64_t)MILLISECOND) + 1);
		now = pause_clock();
	} while (count < 0 && errno == EINTR);
	return count > 0 ? 0 : -1;
}

static uint64_t end_of_patience(void)
{
	return pause_clock() + PATIENCE * (uint64_t)SECOND;
}

static int send_all(int fd, const void *bytes, size_t len)
{
	uint64_t end = end_of_patience();
	const char *at = bytes;

	while (len) {
		ssize_t did = send(fd, at, len, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (did < 0 && errno == EINTR)
			continue;
		if (did < 0 && errno == EAGAIN && !await(fd, POLLOUT, end))
			continue;
		if (did <= 0)
			return -1;
		at += did;
		len -= (size_t)did;
	}
	return 0;
}

static int receive_all(int fd, void *bytes, size_t len)
{
	uint64_t end = end_of_patience();
	char *at = bytes;

	while (len) {
		ssize_t got = recv(fd, at, len, MSG_DONTWAIT);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0 && errno == EAGAIN && !await(fd, POLLIN, end))
			continue;
		if (got <= 0)
			return -1;
		at += got;
		len -= (size_t)got;
	}
	return 0;
}

static int send_word(int fd, enum message_type type)
{
	const struct message message = {.type = type};

	return send_all(fd, &message, sizeof(message));
}

/* returns: 0, or -1 if another word came, or none */
static int receive_word(int fd, enum message_type type, struct message *message)
{
	return receive_all(fd, message, sizeof(*message)) || message->type != type ? -1 : 0;
}

/* ---- the old process ---- */

static void forget_peer(struct vmm *vmm)
{
	loop_remove(vmm, &vmm->update.peer);
	loop_remove(vmm, &vmm->update.limit);
	close(vmm->update.peer.fd);
	if (vmm->update.limit.fd >= 0)
		close(vmm->update.limit.fd);
	vmm->update = (struct update){0};
}

static void give_up(struct vmm *vmm, const char *why)
{
	bool stopped = vmm->update.stopped;

	fail("live update: %s: the guest goes on here", why);
	forget_peer(vmm);
	if (stopped) {
		serial_own_terminal(vmm, true);
		serial_hold(vmm, false);
		pause_end(vmm);
	}
}

static int send_record(struct vmm *vmm, const struct record *record)
{
	const struct message message = {
		.type = RECORD, .since = vmm->pause.since, .len = record->len,
	};
	int fd = vmm->update.peer.fd;

	return send_all(fd, &message, sizeof(message)) ||
	       send_all(fd, record->bytes, record->len) ? -1 : 0;
}

static void paused(struct vmm *vmm)
{
	struct record record = {0};
	int err;

	if (!vmm->update.running) {
		pause_end(vmm); /* it was given up meanwhile */
		return;
	}
	vmm->update.stopped = true;
	serial_hold(vmm, true);
	pthread_mutex_lock(&vmm->lock);
	err = saved_take(vmm, &record);
	pthread_mutex_unlock(&vmm->lock);
	if (err)
		give_up(vmm, "saving the machine failed");
	else if (send_record(vmm, &record))
		give_up(vmm, "the new process does not take the record");
	record_free(&record);
}

/*
 * The socket's name is free for the new process before that is told to go, and the terminal as it
 * was found: the new one makes it raw again, and nobody after that makes it otherwise.
 */
static void hand_over(struct vmm *vmm)
{
	control_close(vmm);
	serial_own_terminal(vmm, false);
	if (send_word(vmm->update.peer.fd, GO)) {
		if (control_create(vmm))
			fail("live update: there is no control socket any more");
		give_up(vmm, "the new process hung up at the last moment");
		return;
	}
	forget_peer(vmm); /* whatever becomes of it */
	vmm_stop(vmm, EXIT_POWER_OFF, "another process goes on with the guest");
}

/* returns: 1: a word came to its end; 0: not yet; -1: the peer hung up */
static int hear(struct update *update)
{
	ssize_t got = recv(update->peer.fd, update->heard + update->heard_len,
			   sizeof(update->heard) - update->heard_len, MSG_DONTWAIT);

	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (got <= 0)
		return -1;
	update->heard_len += (size_t)got;
	return update->heard_len == sizeof(update->heard);
}

static void peer_ready(void *ctx)
{
	struct vmm *vmm = ctx;
	struct update *update = &vmm->update;
	enum message_type expected = update->stopped ? READY : STOP;
	struct message message;
	int heard = hear(update);

	if (!heard)
		return;
	_Static_assert(sizeof(message) == sizeof(update->heard), "a word");
	memcpy(&message, update->heard, sizeof(message));
	update->heard_len = 0;
	if (heard < 0)
		give_up(vmm, "the new process ended");
	else if (message.type != expected)
		give_up(vmm, "the new process said something else than was expected");
	else if (expected == READY)
		hand_over(vmm);
	else if (!pause_start(vmm, paused))
		give_up(vmm, "a snapshot is being written");
}

static void too_late(void *ctx)
{
	struct vmm *vmm = ctx;

	if (timer_rang(&vmm->update.limit))
		give_up(vmm, "the new process takes too long");
}

static int send_memory(const struct vmm *vmm, int fd)
{
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(VMEMDEV_LINUX_RAM_MAX * sizeof(int))];
	} control = {0};
	struct message message = {.type = MEMORY};
	struct stretch stretches[VMEMDEV_LINUX_RAM_MAX];
	struct iovec part = {.iov_base = &message, .iov_len = sizeof(message)};
	struct msghdr head = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control};
	int *fds = (int *)(void *)CMSG_DATA(&control.head);
	const struct vmemdev_linux_ram *ram;

	for (uint32_t i = 0; (ram = vmemdev_linux_ram_at(&vmm->memory, i)); i++) {
		fds[message.count] = ram->fd;
		stretches[message.count++] = (struct stretch){ram->gpa, ram->size,
							      ram->file_offset};
	}
	message.len = message.count * sizeof(stretches[0]);
	control.head.cmsg_level = SOL_SOCKET;
	control.head.cmsg_type = SCM_RIGHTS;
	control.head.cmsg_len = CMSG_LEN(message.count * sizeof(int));
	head.msg_controllen = CMSG_SPACE(message.count * sizeof(int));
	/* Answers that nobody reads may have left no room: then this is no new process. */
	if (sendmsg(fd, &head, MSG_NOSIGNAL | MSG_DONTWAIT) != sizeof(message))
		return -1;
	return send_all(fd, stretches, message.len);
}

bool update_possible(const struct vmm *vmm)
{
	const struct vmemdev_linux_ram *ram;

	for (uint32_t i = 0; (ram = vmemdev_linux_ram_at(&vmm->memory, i)); i++) {
		if (!ram->keep && (ram->fd < 0 || !ram->shared))
			return false;
	}
	return true;
}

void update_begin(struct vmm *vmm, int fd)
{
	struct update *update = &vmm->update;

	*update = (struct update){
		.running = true, .peer = {fd, peer_ready, vmm}, .limit = {.fd = -1},
	};
	if (send_memory(vmm, fd) || timer_add(vmm, &update->limit, too_late, vmm) ||
	    loop_add(vmm, &update->peer)) {
		give_up(vmm, "the new process cannot be given the memory");
		return;
	}
	timer_set(&update->limit, 3 * PATIENCE * SECOND);
}

/* ---- the new process ---- */

static int trouble(const struct vmm *vmm, const char *what)
{
	return fail("--takeover %s: %s: the guest goes on there, if at all", vmm->options.takeover,
		    what);
}

static int connect_to(const struct vmm *vmm)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	const char *path = vmm->options.takeover;
	int fd;

	if (strlen(path) >= sizeof(address.sun_path))
		return fail("--takeover %s: expected a path of at most %zu characters", path,
			    sizeof(address.sun_path) - 1);
	strcpy(address.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof(address)))
		return fail("--takeover %s: %s: expected the --control socket of a running toyvmm",
			    path, strerror(errno));
	return fd;
}

/* The answer to the command is a line like any other; what follows it is not. */
static int ask(const struct vmm *vmm, int fd)
{
	static const char command[] = "{\"cmd\":\"takeover\"}\n";
	struct json_object *answer;
	const char *error;
	char line[1024];
	size_t len = 0;
	int err = 0;

	if (send_all(fd, command, sizeof(command) - 1))
		return trouble(vmm, "it hung up");
	while (len < sizeof(line) - 1 && !receive_all(fd, line + len, 1) && line[len] != '\n')
		len++;
	line[len] = 0;
	answer = json_tokener_parse(line);
	error = json_object_get_string(json_object_object_get(answer, "error"));
	if (error)
		err = trouble(vmm, error);
	else if (!json_object_is_type(answer, json_type_object))
		err = trouble(vmm, len ? "its answer is none of toyvmm's" : "it did not answer");
	json_object_put(answer);
	return err;
}

static int receive_memory(struct vmm *vmm, int fd)
{
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(VMEMDEV_LINUX_RAM_MAX * sizeof(int))];
	} control = {0};
	struct message message;
	struct stretch stretches[VMEMDEV_LINUX_RAM_MAX];
	struct iovec part = {.iov_base = &message, .iov_len = sizeof(message)};
	struct msghdr head = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control,
			      .msg_controllen = sizeof(control)};
	const int *fds = (const int *)(const void *)CMSG_DATA(&control.head);

	if (await(fd, POLLIN, end_of_patience()) ||
	    recvmsg(fd, &head, MSG_CMSG_CLOEXEC | MSG_DONTWAIT) != sizeof(message) ||
	    message.type != MEMORY || message.count > VMEMDEV_LINUX_RAM_MAX ||
	    message.len != message.count * sizeof(stretches[0]) ||
	    head.msg_controllen < CMSG_LEN(message.count * sizeof(int)) ||
	    control.head.cmsg_type != SCM_RIGHTS ||
	    control.head.cmsg_len != CMSG_LEN(message.count * sizeof(int)) ||
	    receive_all(fd, stretches, message.len))
		return trouble(vmm, "it did not say where its memory is");
	for (uint32_t i = 0; i < message.count; i++)
		vmm->taken[i] = (struct taken_memory){stretches[i].gpa, stretches[i].size,
						      stretches[i].offset, fds[i]};
	vmm->taken_count = message.count;
	return 0;
}

int update_connect(struct vmm *vmm)
{
	int fd = connect_to(vmm);

	vmm->update.peer.fd = fd;
	return fd < 0 || ask(vmm, fd) || receive_memory(vmm, fd) ? -1 : 0;
}

int update_take(struct vmm *vmm, struct record *record)
{
	int fd = vmm->update.peer.fd;
	struct message message;

	for (unsigned i = 0; i < vmm->taken_count; i++)
		close(vmm->taken[i].fd); /* mapped by now */
	if (send_word(fd, STOP) || receive_word(fd, RECORD, &message) || message.len > RECORD_MAX)
		return trouble(vmm, "it sent no record");
	vmm->pause.since = message.since;
	record->bytes = malloc((size_t)message.len + 1);
	record->len = record->room = (size_t)message.len;
	if (!record->bytes || receive_all(fd, record->bytes, record->len))
		return trouble(vmm, "its record did not come");
	return saved_load_devices(vmm, record);
}

int update_commit(struct vmm *vmm)
{
	int fd = vmm->update.peer.fd;
	struct message message;

	if (control_prepare(vmm))
		return trouble(vmm, "there can be no control socket here");
	if (send_word(fd, READY) || receive_word(fd, GO, &message))
		return trouble(vmm, "it did not give the guest away");
	close(fd);
	serial_own_terminal(vmm, true);
	return 0;
}

void update_went_on(struct vmm *vmm, const struct record *record)
{
	uint64_t us = (pause_clock() - vmm->pause.since) / 1000;

	vmm->pause = (struct pause){0};
	fail("--takeover %s: the guest goes on here; it stood still for %" PRIu64 ".%03" PRIu64
	     " ms; a record of %zu bytes came, and its memory stayed in place",
	     vmm->options.takeover, us / 1000, us % 1000, record->len);
}
