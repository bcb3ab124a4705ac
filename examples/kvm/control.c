// SPDX-License-Identifier: BSD-3-Clause
/*
 * The control socket: one line of JSON in, one line of JSON out, and events for who asks for
 * them. commands.c and balloon_commands.c execute.
 *
 *   {"cmd":"set-balloon","size":"256M"}
 *   {"cmd":"set-requested","id":"mem0","size":"1G"}
 *   {"cmd":"resize","id":"mem0","size":"1G","stall":10,"timeout":60}  seconds; 0: never. The
 *                         answer says how far it is, and events "resize" how it goes on
 *   {"cmd":"resize-cancel","id":"mem0"}  leaves the device at what was reached
 *   {"cmd":"stats"}
 *   {"cmd":"poll-stats"}  the event "stats" follows when the guest has answered
 *   {"cmd":"stats-period","seconds":5}
 *   {"cmd":"hint","step":"start"}  or "stop" or "done"; events "hint-round" follow
 *   {"cmd":"inhibit"}     no discards until as many of
 *   {"cmd":"uninhibit"}
 *   {"cmd":"snapshot","file":"/path","then":"quit"}  or "then":"go-on"; events "snapshot" say how
 *                         it goes: "writing", and "done" or "failed"
 *   {"cmd":"takeover"}    from a toyvmm --takeover alone: update.c says what follows
 *   {"cmd":"info"}
 *   {"cmd":"events"}      events follow, one a line, until either side hangs up
 *   {"cmd":"quit"}
 *
 * Keys that a command does not take are refused, as are keys that come twice (requests.c).
 *
 * An answer is an object with "error" if the command failed. Sizes are numbers of bytes, or
 * text such as "256M".
 *
 * Clients are served in the main thread. An event may come from a vCPU's thread, too, where a
 * device's callback causes it: whatever is sent is sent under vmm->lock, and a client that has
 * to go is hung up on by the main thread alone.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include "answers.h"

/* ---- clients ---- */

static void hang_up(struct client *client)
{
	struct vmm *vmm = client->vmm;

	loop_remove(vmm, &client->watch);
	pthread_mutex_lock(&vmm->lock);
	close(client->watch.fd);
	client->vmm = NULL;
	pthread_mutex_unlock(&vmm->lock);
}

/*
 * A client that does not read what it asked for is cut off: the VMM waits for nobody. The
 * main thread then reads its end. Under the lock.
 */
static void send_line(struct client *client, struct json_object *object)
{
	size_t len;
	const char *text = json_object_to_json_string_length(object, JSON_C_TO_STRING_PLAIN, &len);
	struct iovec parts[] = {
		{.iov_base = (void *)(uintptr_t)text, .iov_len = len},
		{.iov_base = (char[]){'\n'}, .iov_len = 1},
	};
	struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};

	if (client->cut_off || sendmsg(client->watch.fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) ==
			       (ssize_t)len + 1)
		return;
	client->cut_off = true;
	shutdown(client->watch.fd, SHUT_RDWR);
}

/* Sends @answer, which is used up, or what @command answers. */
static void answer_client(struct client *client, const struct command *command,
			  struct request *request, struct json_object *answer)
{
	pthread_mutex_lock(&client->vmm->lock);
	if (command && command->changes && client->vmm->update.stopped)
		answer = answer_error("a live update is going on, and nothing can change now: try "
				      "again, there or here, when that is over");
	else if (command)
		answer = command->run(request);
	send_line(client, answer);
	pthread_mutex_unlock(&client->vmm->lock);
	json_object_put(answer);
}

/* The connection goes on, but not as a client's. */
static void hand_on(struct client *client)
{
	struct vmm *vmm = client->vmm;

	loop_remove(vmm, &client->watch);
	pthread_mutex_lock(&vmm->lock);
	client->vmm = NULL;
	pthread_mutex_unlock(&vmm->lock);
	update_begin(vmm, client->watch.fd);
}

static void serve_line(struct client *client, const char *line, size_t len)
{
	struct json_object *answer = NULL;
	struct request request = {.vmm = client->vmm, .client = client};
	const struct command *command = NULL;

	request.json = request_parse(line, len, &answer);
	if (!answer)
		command = command_find(request.json, &answer);
	if (command && command->wants_sizes) {
		request.resident = memory_resident(client->vmm);
		if (client->vmm->balloon.slot)
			request.given = balloon_given(&client->vmm->balloon);
	}
	answer_client(client, command, &request, answer);
	json_object_put(request.json);
	if (client->leaves)
		hand_on(client);
}

static void client_ready(void *ctx)
{
	struct client *client = ctx;
	char *newline;
	ssize_t got;

	got = recv(client->watch.fd, client->line + client->len,
		   sizeof(client->line) - 1 - client->len, MSG_DONTWAIT);
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got <= 0) {
		hang_up(client);
		return;
	}
	client->len += (size_t)got;
	client->heard = ++client->vmm->control.turn;
	client->line[client->len] = 0;
	while (client->vmm && (newline = memchr(client->line, '\n', client->len))) {
		*newline = 0;
		serve_line(client, client->line, (size_t)(newline - client->line));
		client->len -= (size_t)(newline + 1 - client->line);
		memmove(client->line, newline + 1, client->len + 1);
	}
	if (client->vmm && client->len == sizeof(client->line) - 1) {
		answer_client(client, NULL, NULL,
			      answer_error("a line of more than %zu bytes: no command is that long",
					   sizeof(client->line) - 2));
		hang_up(client);
	}
}

static void turn_away(int fd)
{
	static const char full[] =
		"{\"error\":\"too many clients: %d are connected and listen to events: try "
		"when one has left\"}\n";
	char line[sizeof(full) + 8];
	int len = snprintf(line, sizeof(line), full, CLIENTS_MAX);

	send(fd, line, (size_t)len, MSG_DONTWAIT | MSG_NOSIGNAL);
	close(fd);
}

/* Those that listen to events have reason to be silent. returns: NULL: there are no others */
static struct client *longest_idle(struct control *control)
{
	struct client *idle = NULL;

	for (struct client *c = control->clients; c < control->clients + CLIENTS_MAX; c++) {
		if (!c->wants_events && (!idle || c->heard < idle->heard))
			idle = c;
	}
	return idle;
}

/* returns: a place for one more client, or NULL */
static struct client *make_room(struct control *control)
{
	struct client *client = control->clients;

	while (client < control->clients + CLIENTS_MAX && client->vmm)
		client++;
	if (client < control->clients + CLIENTS_MAX)
		return client;
	client = longest_idle(control);
	if (!client)
		return NULL;
	answer_client(client, NULL, NULL,
		      answer_error("hung up: %d clients are connected, one more came, and this one "
				   "was silent longest: connect again", CLIENTS_MAX));
	hang_up(client);
	return client;
}

static void accept_client(void *ctx)
{
	struct vmm *vmm = ctx;
	struct client *client;
	int fd = accept4(vmm->control.listener.fd, NULL, NULL, SOCK_CLOEXEC);

	if (fd < 0)
		return;
	client = make_room(&vmm->control);
	if (!client) {
		turn_away(fd);
		return;
	}
	/* Room for many small events; each counts with the kernel's overhead. */
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &(int){1 << 20}, sizeof(int));
	pthread_mutex_lock(&vmm->lock);
	*client = (struct client){.vmm = vmm, .watch = {fd, client_ready, client},
				  .heard = ++vmm->control.turn};
	pthread_mutex_unlock(&vmm->lock);
	if (loop_add(vmm, &client->watch))
		hang_up(client);
}

/* ---- events ---- */

void control_publish(struct vmm *vmm, struct json_object *event)
{
	for (unsigned i = 0; i < CLIENTS_MAX; i++) {
		struct client *client = &vmm->control.clients[i];

		if (client->vmm && client->wants_events)
			send_line(client, event);
	}
	json_object_put(event);
}

static struct json_object *new_event(const char *name)
{
	struct json_object *event = json_object_new_object();

	answer_add_text(event, "event", name);
	return event;
}

void control_number_event(struct vmm *vmm, const char *name, const char *id, const char *what,
			  uint64_t number)
{
	struct json_object *event = new_event(name);

	answer_add_text(event, "id", id);
	answer_add(event, what, number);
	control_publish(vmm, event);
}

void control_text_event(struct vmm *vmm, const char *name, const char *id, const char *what,
			const char *text)
{
	struct json_object *event = new_event(name);

	answer_add_text(event, "id", id);
	answer_add_text(event, what, text);
	control_publish(vmm, event);
}

void control_error_event(struct vmm *vmm, const char *id, unsigned queue, const char *text)
{
	struct json_object *event = new_event("guest-error");

	answer_add_text(event, "id", id);
	answer_add(event, "queue", queue);
	answer_add_text(event, "error", text);
	control_publish(vmm, event);
}

void control_resize_event(struct vmm *vmm, const char *id,
			  const struct vmemdev_mem_resize_progress *progress)
{
	struct json_object *event = new_event("resize");

	answer_add_text(event, "id", id);
	answer_add_progress(event, progress);
	control_publish(vmm, event);
}

/* ---- the socket ---- */

/* A socket file that nobody listens on is left from a VMM that was killed. */
static void remove_stale(const struct sockaddr_un *address)
{
	struct stat st;
	int fd;

	if (lstat(address->sun_path, &st) || !S_ISSOCK(st.st_mode))
		return;
	/* Not to wait: a VMM that is alive may have a full backlog. */
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return;
	if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) &&
	    errno == ECONNREFUSED)
		unlink(address->sun_path);
	close(fd);
}

int control_create(struct vmm *vmm)
{
	struct control *control = &vmm->control;
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	const char *path = vmm->options.control;
	int fd;

	if (!path || control->listener.fd > 0)
		return 0;
	if (strlen(path) >= sizeof(address.sun_path))
		return fail("--control %s: expected a path of at most %zu characters", path,
			    sizeof(address.sun_path) - 1);
	strcpy(address.sun_path, path);
	remove_stale(&address);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof(address)))
		return fail("--control %s: %s: expected a path where a socket can be made", path,
			    strerror(errno));
	/* The file is there: control_destroy() removes it, also if something fails from here. */
	control->listener = (struct watch){fd, accept_client, vmm};
	if (listen(fd, CLIENTS_MAX) || loop_add(vmm, &control->listener))
		return fail("--control %s: listening: %s", path, strerror(errno));
	return 0;
}

/* Whether a socket can be made in the directory of @path. 0, or -1 having said why not. */
static int check_directory(const char *path)
{
	const size_t most = sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1;
	const char *slash = strrchr(path, '/');
	char *directory = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
	int err = !directory || access(directory, W_OK | X_OK) ?
		  fail("--control %s: %s: expected a path where a socket can be made", path,
		       strerror(errno)) : 0;

	free(directory);
	if (!err && strlen(path) > most)
		err = fail("--control %s: expected a path of at most %zu characters", path, most);
	return err;
}

/* The name that the other toyvmm's socket still has is free as soon as that has let go. */
int control_prepare(struct vmm *vmm)
{
	const char *path = vmm->options.control;
	struct stat theirs, ours;

	/* A link to it would stay. */
	if (path && !lstat(path, &ours) && !stat(vmm->options.takeover, &theirs) &&
	    ours.st_dev == theirs.st_dev && ours.st_ino == theirs.st_ino)
		return check_directory(path);
	return control_create(vmm);
}

void control_close(struct vmm *vmm)
{
	struct control *control = &vmm->control;

	if (control->listener.fd <= 0)
		return;
	unlink(vmm->options.control);
	loop_remove(vmm, &control->listener);
	close(control->listener.fd);
	control->listener.fd = -1;
}

void control_destroy(struct vmm *vmm)
{
	struct json_object *event = new_event("shutdown");

	answer_add_text(event, "reason", atomic_load(&vmm->exit_reason));
	answer_add(event, "status", (uint64_t)atomic_load(&vmm->exit_status));
	pthread_mutex_lock(&vmm->lock);
	control_publish(vmm, event);
	pthread_mutex_unlock(&vmm->lock);
	control_close(vmm);
}
