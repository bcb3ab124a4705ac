// SPDX-License-Identifier: BSD-3-Clause
/*
 * The control socket: one line of JSON in, one line of JSON out, and events for who asks for
 * them. It shows a VMM author what there is to steer and to watch on the devices: a target for
 * the balloon, a requested size for virtio-mem, and what the guest has made of them.
 *
 *   {"cmd":"set-balloon","size":"256M"}
 *   {"cmd":"set-requested","id":"mem0","size":"1G"}
 *   {"cmd":"info"}
 *   {"cmd":"events"}      events follow, one a line, until either side hangs up
 *   {"cmd":"quit"}
 *
 * An answer is an object with "error" if the command failed. Sizes are numbers of bytes, or
 * text such as "256M". Everything here runs in the main thread.
 */
#include <errno.h>
#include <json-c/json.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "vmm.h"

/* ---- answers ---- */

static void add(struct json_object *object, const char *name, uint64_t value)
{
	json_object_object_add(object, name, json_object_new_uint64(value));
}

static void add_text(struct json_object *object, const char *name, const char *text)
{
	json_object_object_add(object, name, json_object_new_string(text));
}

static struct json_object *error(const char *format, ...)
	__attribute__((format(printf, 1, 2)));

static struct json_object *error(const char *format, ...)
{
	struct json_object *answer = json_object_new_object();
	char text[1024]; /* a whole line of a client fits in */
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	add_text(answer, "error", text);
	return answer;
}

/* ---- commands ---- */

/* The member @name of @request as text, or NULL. */
static const char *text_of(struct json_object *request, const char *name)
{
	struct json_object *member;

	if (!json_object_object_get_ex(request, name, &member) || !member)
		return NULL;
	return json_object_get_string(member);
}

/* returns: NULL, or an error to answer */
static struct json_object *get_size(struct json_object *request, uint64_t *size)
{
	const char *text = text_of(request, "size");
	struct json_object *member = json_object_object_get(request, "size");

	if (!text)
		return error("no \"size\": expected one, such as \"256M\" or 268435456");
	/* What json-c makes of any larger number, too: what was given is lost. */
	if (json_object_is_type(member, json_type_int) &&
	    json_object_get_uint64(member) == UINT64_MAX)
		return error("size of %s or more: expected a size such as \"256M\" or 268435456",
			     text);
	if (!size_parse(text, size))
		return error("size \"%s\": expected a size such as \"256M\" or 268435456", text);
	return NULL;
}

static struct json_object *set_balloon(struct vmm *vmm, struct json_object *request)
{
	struct slot *slot = virtio_slot(vmm, "balloon");
	struct json_object *answer;
	uint64_t size;
	int err;

	if (!slot)
		return error("no balloon: start the VMM with --balloon");
	answer = get_size(request, &size);
	if (answer)
		return answer;
	err = vmemdev_balloon_set_target(&slot->balloon, size);
	if (err)
		return error("size %s: %s (expected a multiple of 4096 below 16T)",
			     text_of(request, "size"), vmemdev_strerror(err));
	answer = json_object_new_object();
	add(answer, "target", vmemdev_balloon_target(&slot->balloon));
	return answer;
}

static struct json_object *set_requested(struct vmm *vmm, struct json_object *request)
{
	const char *id = text_of(request, "id");
	struct slot *slot = id ? virtio_slot(vmm, id) : NULL;
	struct json_object *answer;
	uint64_t size;
	int err;

	if (!slot || !slot->mem_option)
		return error("id \"%s\": expected that of a memory device, such as \"mem0\"; "
			     "\"info\" lists them", id ? id : "");
	answer = get_size(request, &size);
	if (answer)
		return answer;
	err = vmemdev_mem_set_requested(&slot->mem, size);
	if (err)
		return error("size %s: %s (expected a multiple of %llu, at most %llu)",
			     text_of(request, "size"), vmemdev_strerror(err),
			     (unsigned long long)slot->mem_option->block,
			     (unsigned long long)slot->mem_option->size);
	answer = json_object_new_object();
	add(answer, "requested", size);
	return answer;
}

static struct json_object *balloon_info(const struct slot *slot)
{
	struct json_object *info = json_object_new_object();
	struct vmemdev_balloon_counts counts;

	vmemdev_balloon_get_counts(&slot->balloon, &counts);
	add(info, "target", vmemdev_balloon_target(&slot->balloon));
	add(info, "actual", vmemdev_balloon_actual(&slot->balloon));
	add(info, "pages_inflated", counts.pages_inflated);
	add(info, "pages_deflated", counts.pages_deflated);
	add(info, "pages_ignored", counts.pages_ignored);
	add(info, "ranges", counts.ranges);
	add(info, "host_calls", counts.host_calls);
	add(info, "host_failures", counts.host_failures);
	return info;
}

static struct json_object *mem_info(const struct slot *slot)
{
	struct json_object *info = json_object_new_object();
	struct vmemdev_mem_counts counts;
	struct vmemdev_mem_sizes sizes;

	vmemdev_mem_get_counts(&slot->mem, &counts);
	vmemdev_mem_get_sizes(&slot->mem, &sizes);
	add_text(info, "id", slot->id);
	add(info, "node", slot->mem_option->node);
	add(info, "addr", slot->mem_option->addr);
	add(info, "block", slot->mem_option->block);
	add(info, "size", sizes.region);
	add(info, "usable", sizes.usable);
	add(info, "requested", sizes.requested);
	add(info, "plugged", sizes.plugged);
	add(info, "plug_requests", counts.plug);
	add(info, "unplug_requests", counts.unplug);
	add(info, "unplug_all_requests", counts.unplug_all);
	add(info, "state_requests", counts.state);
	add(info, "nack", counts.nack);
	add(info, "busy", counts.busy);
	add(info, "error", counts.error);
	add(info, "host_calls", counts.host_calls);
	add(info, "host_failures", counts.host_failures);
	return info;
}

/* What every device has: what was negotiated, and whether it still works. */
static void add_device_info(struct json_object *info, const struct slot *slot)
{
	const struct vmemdev_device *device = slot->device;
	uint64_t features = vmemdev_device_accepted(device, 0) |
			    (uint64_t)vmemdev_device_accepted(device, 1) << 32;
	int fault = vmemdev_device_fault(device);
	char text[24];

	snprintf(text, sizeof(text), "0x%llx", (unsigned long long)features);
	add_text(info, "features", text);
	json_object_object_add(info, "packed",
			       json_object_new_boolean((features & VMEMDEV_F_RING_PACKED) != 0));
	json_object_object_add(info, "driver_ok",
			       json_object_new_boolean(vmemdev_device_status(device) &
						       VMEMDEV_STATUS_DRIVER_OK));
	/* Always there, so that a reader can tell "none" from no answer. */
	add_text(info, "fault", fault ? vmemdev_strerror(fault) : "none");
	add(info, "guest_errors", slot->guest_errors);
}

/* What giving memory back has cost, and how much was given. */
static struct json_object *syscall_info(struct vmm *vmm)
{
	struct json_object *info = json_object_new_object();
	struct vmemdev_linux_counts counts;

	vmemdev_linux_memory_get_counts(&vmm->memory, &counts);
	add(info, "process_madvise", counts.process_madvise);
	add(info, "madvise", counts.madvise);
	add(info, "fallocate", counts.fallocate);
	add(info, "populate", counts.populate);
	add(info, "bytes", counts.bytes);
	add(info, "bytes_left", counts.bytes_left);
	return info;
}

static struct json_object *info(struct vmm *vmm)
{
	struct json_object *answer = json_object_new_object();
	struct json_object *mems = json_object_new_array();

	add(answer, "memory", vmm->low_ram + vmm->high_ram);
	add(answer, "resident", memory_resident(vmm));
	add(answer, "process_rss", memory_process_rss());
	json_object_object_add(answer, "syscalls", syscall_info(vmm));
	for (unsigned i = 0; i < vmm->slot_count; i++) {
		const struct slot *slot = &vmm->slots[i];
		struct json_object *device = slot->mem_option ? mem_info(slot) : balloon_info(slot);

		add_device_info(device, slot);
		if (slot->mem_option)
			json_object_array_add(mems, device);
		else
			json_object_object_add(answer, "balloon", device);
	}
	json_object_object_add(answer, "mem", mems);
	return answer;
}

static struct json_object *execute(struct client *client, struct json_object *request)
{
	struct vmm *vmm = client->vmm;
	const char *cmd;

	if (!json_object_is_type(request, json_type_object))
		return error("not a JSON object: expected a line such as {\"cmd\":\"info\"}");
	cmd = text_of(request, "cmd");
	if (cmd && !strcmp(cmd, "set-balloon"))
		return set_balloon(vmm, request);
	if (cmd && !strcmp(cmd, "set-requested"))
		return set_requested(vmm, request);
	if (cmd && !strcmp(cmd, "info"))
		return info(vmm);
	if (cmd && !strcmp(cmd, "events"))
		client->wants_events = true;
	else if (cmd && !strcmp(cmd, "quit"))
		vmm_stop(vmm, EXIT_POWER_OFF, "quit on the control socket");
	else
		return error("cmd \"%s\": expected set-balloon, set-requested, info, events or "
			     "quit", cmd ? cmd : "");
	return json_object_new_object();
}

/* ---- clients ---- */

static void hang_up(struct client *client)
{
	loop_remove(client->vmm, &client->watch);
	close(client->watch.fd);
	client->vmm = NULL;
}

/* A client that does not read what it asked for is cut off: the VMM waits for nobody. */
static void send_line(struct client *client, struct json_object *object)
{
	char line[4096 * SLOTS_MAX];
	int len = snprintf(line, sizeof(line), "%s\n",
			   json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN));

	if (send(client->watch.fd, line, (size_t)len, MSG_DONTWAIT | MSG_NOSIGNAL) != len)
		hang_up(client);
}

static void send_error(struct client *client, struct json_object *answer)
{
	send_line(client, answer);
	json_object_put(answer);
}

/*
 * Exactly one JSON value: with something after it, half of what the client meant would be
 * dropped unseen. returns: the value, or NULL and an @answer
 */
static struct json_object *parse_line(const char *line, size_t len, struct json_object **answer)
{
	struct json_tokener *tokener = json_tokener_new();
	struct json_object *request;
	enum json_tokener_error err;

	if (!tokener) {
		*answer = error("out of memory");
		return NULL;
	}
	json_tokener_set_flags(tokener, JSON_TOKENER_STRICT);
	request = json_tokener_parse_ex(tokener, line, (int)len);
	err = json_tokener_get_error(tokener);
	if (err || json_tokener_get_parse_end(tokener) != len) {
		json_object_put(request);
		request = NULL;
		*answer = error("'%s': %s: expected one JSON object and nothing else, such as "
				"{\"cmd\":\"info\"}", line,
				err == json_tokener_continue ? "it ends early" :
				err ? json_tokener_error_desc(err) : "more follows the object");
	}
	json_tokener_free(tokener);
	return request;
}

static void serve_line(struct client *client, const char *line, size_t len)
{
	struct json_object *answer = NULL;
	struct json_object *request = parse_line(line, len, &answer);

	if (!answer) {
		pthread_mutex_lock(&client->vmm->lock);
		answer = execute(client, request);
		pthread_mutex_unlock(&client->vmm->lock);
	}
	send_line(client, answer);
	json_object_put(answer);
	json_object_put(request);
}

static void client_ready(void *ctx)
{
	struct client *client = ctx;
	char *newline;
	ssize_t got;

	if (!client->vmm)
		return; /* hung up since epoll reported it */
	got = recv(client->watch.fd, client->line + client->len,
		   sizeof(client->line) - 1 - client->len, MSG_DONTWAIT);
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got <= 0) {
		hang_up(client);
		return;
	}
	client->len += (size_t)got;
	client->line[client->len] = 0;
	while (client->vmm && (newline = memchr(client->line, '\n', client->len))) {
		*newline = 0;
		serve_line(client, client->line, (size_t)(newline - client->line));
		client->len -= (size_t)(newline + 1 - client->line);
		memmove(client->line, newline + 1, client->len + 1);
	}
	if (client->vmm && client->len == sizeof(client->line) - 1) {
		send_error(client, error("a line of more than %zu bytes: no command is that long",
					 sizeof(client->line) - 2));
		if (client->vmm)
			hang_up(client);
	}
}

static void turn_away(int fd)
{
	static const char full[] =
		"{\"error\":\"too many clients: %d are connected: try when one has left\"}\n";
	char line[sizeof(full) + 8];
	int len = snprintf(line, sizeof(line), full, CLIENTS_MAX);

	send(fd, line, (size_t)len, MSG_DONTWAIT | MSG_NOSIGNAL);
	close(fd);
}

static void accept_client(void *ctx)
{
	struct vmm *vmm = ctx;
	struct client *client = vmm->control.clients;
	int fd = accept4(vmm->control.listener.fd, NULL, NULL, SOCK_CLOEXEC);

	if (fd < 0)
		return;
	while (client < vmm->control.clients + CLIENTS_MAX && client->vmm)
		client++;
	if (client == vmm->control.clients + CLIENTS_MAX) {
		turn_away(fd);
		return;
	}
	/* Room for many small events; each counts with the kernel's overhead. */
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &(int){1 << 20}, sizeof(int));
	*client = (struct client){.vmm = vmm, .watch = {fd, client_ready, client}};
	if (loop_add(vmm, &client->watch))
		hang_up(client);
}

/* ---- events ---- */

static void publish(struct vmm *vmm, struct json_object *event)
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

	add_text(event, "event", name);
	return event;
}

void control_size_event(struct vmm *vmm, const char *name, const char *id, uint64_t bytes)
{
	struct json_object *event = new_event(name);

	add_text(event, "id", id);
	add(event, "bytes", bytes);
	publish(vmm, event);
}

void control_error_event(struct vmm *vmm, const char *id, unsigned queue, const char *text)
{
	struct json_object *event = new_event("guest-error");

	add_text(event, "id", id);
	add(event, "queue", queue);
	add_text(event, "error", text);
	publish(vmm, event);
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

	if (!path)
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

void control_destroy(struct vmm *vmm)
{
	struct json_object *event = new_event("shutdown");

	add_text(event, "reason", atomic_load(&vmm->exit_reason));
	add(event, "status", (uint64_t)atomic_load(&vmm->exit_status));
	pthread_mutex_lock(&vmm->lock);
	publish(vmm, event);
	pthread_mutex_unlock(&vmm->lock);
	if (vmm->control.listener.fd > 0)
		unlink(vmm->options.control);
}
