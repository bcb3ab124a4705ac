// SPDX-License-Identifier: BSD-3-Clause
/*
 * What the host's operator can ask, on standard input or on a control socket: a line of words in, a
 * line of JSON out.
 *
 *	target 64M     ask the guest for a balloon of that size
 *	info           everything that is known
 *	stats          ask the guest for new statistics; "info" shows them when they are there
 *	events         from now on an event a line
 *	quit
 */
#include <errno.h>
#include <json-c/json.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon.h"

/* ---- answers ---- */

static void add(struct json_object *object, const char *name, uint64_t value)
{
	json_object_object_add(object, name, json_object_new_uint64(value));
}

static void add_text(struct json_object *object, const char *name, const char *text)
{
	json_object_object_add(object, name, json_object_new_string(text));
}

static void add_bool(struct json_object *object, const char *name, bool value)
{
	json_object_object_add(object, name, json_object_new_boolean(value));
}

static struct json_object *error(const char *format, ...) __attribute__((format(printf, 1, 2)));

static struct json_object *error(const char *format, ...)
{
	struct json_object *answer = json_object_new_object();
	char text[512];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	add_text(answer, "error", text);
	return answer;
}

/* ---- commands ---- */

static struct json_object *set_target(struct daemon *daemon, const char *text)
{
	struct json_object *answer;
	uint64_t size;
	int err;

	if (!text || !size_parse(text, &size))
		return error("target %s: expected a size such as 64M or 67108864",
			     text ? text : "");
	err = vmemdev_balloon_set_target(&daemon->device.balloon, size);
	if (err)
		return error("target %s: %s (expected a multiple of 4096 below 16T)", text,
			     vmemdev_strerror(err));
	answer = json_object_new_object();
	add(answer, "target", vmemdev_balloon_target(&daemon->device.balloon));
	return answer;
}

static struct json_object *poll_stats(struct daemon *daemon)
{
	int err = vmemdev_balloon_poll_stats(&daemon->device.balloon);

	return err ? error("stats: %s: expected a running driver that has accepted statistics",
			   vmemdev_strerror(err))
		   : json_object_new_object();
}

static struct json_object *stats_info(const struct vmemdev_balloon *balloon)
{
	struct json_object *info = json_object_new_object();
	struct vmemdev_balloon_stats stats;

	vmemdev_balloon_get_stats(balloon, &stats);
	for (uint16_t tag = 0; tag < VMEMDEV_BALLOON_STATS; tag++) {
		if (stats.present & UINT32_C(1) << tag)
			add(info, vmemdev_balloon_stat_name(tag), stats.value[tag]);
	}
	return info;
}

static struct json_object *balloon_info(const struct daemon *daemon)
{
	const struct vmemdev_balloon *balloon = &daemon->device.balloon;
	const struct vmemdev_device *base = daemon->device.base;
	struct json_object *info = json_object_new_object();
	int fault = vmemdev_device_fault(base);
	struct vmemdev_balloon_counts counts;
	char features[24];

	vmemdev_balloon_get_counts(balloon, &counts);
	snprintf(features, sizeof(features), "0x%llx",
		 (unsigned long long)vmemdev_device_accepted(base, 1) << 32 |
			 vmemdev_device_accepted(base, 0));
	add(info, "target", vmemdev_balloon_target(balloon));
	add(info, "actual", vmemdev_balloon_actual(balloon));
	add_text(info, "features", features);
	add_bool(info, "driver_ok", vmemdev_device_status(base) & VMEMDEV_STATUS_DRIVER_OK);
	add_text(info, "fault", fault ? vmemdev_strerror(fault) : "none");
	add(info, "pages_inflated", counts.pages_inflated);
	add(info, "pages_reported", counts.pages_reported);
	add(info, "pages_ignored", counts.pages_ignored);
	add(info, "ranges", counts.ranges);
	add(info, "host_calls", counts.host_calls);
	add(info, "host_failures", counts.host_failures);
	add(info, "stats_sets", counts.stats_sets);
	add(info, "inputs_ignored", counts.inputs_ignored);
	json_object_object_add(info, "stats", stats_info(balloon));
	return info;
}

static struct json_object *memory_info(struct daemon *daemon)
{
	struct memory *memory = &daemon->memory;
	struct json_object *info = json_object_new_object();
	struct json_object *regions = json_object_new_array();
	struct vmemdev_linux_counts counts;
	uint64_t size = 0;

	for (unsigned i = 0; i < memory->count; i++) {
		const struct memory_region *wire = &memory->regions[i].wire;
		struct json_object *region = json_object_new_object();

		add(region, "gpa", wire->gpa);
		add(region, "size", wire->size);
		add(region, "file_offset", wire->mmap_offset);
		json_object_array_add(regions, region);
		size += wire->size;
	}
	vmemdev_linux_memory_get_counts(&memory->mapped[memory->present], &counts);
	add(info, "size", size);
	add(info, "allocated", memory_allocated(memory));
	add(info, "discarded", counts.bytes);
	add(info, "fallocate_calls", counts.fallocate);
	json_object_object_add(info, "regions", regions);
	return info;
}

static struct json_object *rings_info(struct daemon *daemon)
{
	struct json_object *rings = json_object_new_array();

	for (uint16_t i = 0; i < QUEUES; i++) {
		if (vmemdev_device_queue_enabled(daemon->device.base, i))
			json_object_array_add(rings, json_object_new_int(i));
	}
	return rings;
}

static struct json_object *info(struct daemon *daemon)
{
	struct json_object *answer = json_object_new_object();
	const struct counts *counts = &daemon->counts;

	add_bool(answer, "connected", daemon->session.connected);
	add(answer, "connections", counts->connections);
	add(answer, "messages", counts->messages);
	add(answer, "refused", counts->refused);
	add(answer, "broken", counts->broken);
	add(answer, "kicks", counts->kicks);
	add(answer, "interrupts", counts->interrupts);
	add(answer, "config_changes", counts->config_changes);
	add(answer, "guest_errors", counts->guest_errors);
	json_object_object_add(answer, "rings", rings_info(daemon));
	json_object_object_add(answer, "memory", memory_info(daemon));
	json_object_object_add(answer, "balloon", balloon_info(daemon));
	return answer;
}

static struct json_object *execute(struct client *client, char *line)
{
	struct daemon *daemon = client->daemon;
	char *rest = line, *word = strtok_r(rest, " \t\r", &rest);
	char *argument = strtok_r(rest, " \t\r", &rest);

	if (word && !strcmp(word, "target"))
		return set_target(daemon, argument);
	if (word && !strcmp(word, "info"))
		return info(daemon);
	if (word && !strcmp(word, "stats"))
		return poll_stats(daemon);
	if (word && !strcmp(word, "events"))
		client->wants_events = true;
	else if (word && !strcmp(word, "quit"))
		daemon->quit = true;
	else
		return error("command '%s': expected target SIZE, info, stats, events or quit",
			     word ? word : "");
	return json_object_new_object();
}

/* ---- clients ---- */

/* The end of standard input ends the daemon, as whoever started it is gone. */
static void hang_up(struct client *client)
{
	if (client->out == STDOUT_FILENO)
		client->daemon->quit = true;
	loop_close(client->daemon, &client->in);
	client->daemon = NULL;
}

static void send_line(struct client *client, struct json_object *object)
{
	const char *text = json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN);
	char line[8192];
	int len = snprintf(line, sizeof(line), "%s\n", text);
	ssize_t sent;

	if (client->out == STDOUT_FILENO)
		sent = write(client->out, line, (size_t)len);
	else
		/* Who does not read what he asked for is cut off. */
		sent = send(client->out, line, (size_t)len, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (sent != len)
		hang_up(client);
}

static void client_ready(void *ctx)
{
	struct client *client = ctx;
	size_t room = sizeof(client->line) - 1 - client->len;
	ssize_t got = read(client->in.fd, client->line + client->len, room);
	char *newline;

	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got <= 0) {
		hang_up(client);
		return;
	}
	client->len += (size_t)got;
	while (client->daemon && (newline = memchr(client->line, '\n', client->len))) {
		struct json_object *answer;

		*newline = 0;
		answer = execute(client, client->line);
		send_line(client, answer);
		json_object_put(answer);
		client->len -= (size_t)(newline + 1 - client->line);
		memmove(client->line, newline + 1, client->len);
	}
	if (client->daemon && client->len == sizeof(client->line) - 1) {
		say("control: a line of more than %zu bytes: no command is that long", client->len);
		hang_up(client);
	}
}

static struct client *free_place(struct daemon *daemon)
{
	for (unsigned i = 0; i < CLIENTS_MAX; i++) {
		if (!daemon->control.clients[i].daemon)
			return &daemon->control.clients[i];
	}
	return NULL;
}

static int add_client(struct daemon *daemon, int in, int out)
{
	struct client *client = free_place(daemon);

	if (!client)
		return -1;
	*client =
		(struct client){ .daemon = daemon, .in = { in, client_ready, client }, .out = out };
	if (loop_add(daemon, &client->in) == 0)
		return 0;
	client->daemon = NULL;
	return -1;
}

static void accept_client(void *ctx)
{
	struct daemon *daemon = ctx;
	int fd = accept4(daemon->control.listener.fd, NULL, NULL, SOCK_CLOEXEC);

	if (fd >= 0 && add_client(daemon, fd, fd)) {
		say("control: turned away: %d clients are connected", CLIENTS_MAX);
		close(fd);
	}
}

/* ---- events ---- */

static void publish(struct daemon *daemon, struct json_object *event)
{
	for (unsigned i = 0; i < CLIENTS_MAX; i++) {
		struct client *client = &daemon->control.clients[i];

		if (client->daemon && client->wants_events)
			send_line(client, event);
	}
	json_object_put(event);
}

void control_event(struct daemon *daemon, const char *name, const char *text)
{
	struct json_object *event = json_object_new_object();

	add_text(event, "event", name);
	add_text(event, "text", text);
	publish(daemon, event);
}

void control_size_event(struct daemon *daemon, const char *name, uint64_t bytes)
{
	struct json_object *event = json_object_new_object();

	add_text(event, "event", name);
	add(event, "bytes", bytes);
	publish(daemon, event);
}

/* ---- the beginning and the end ---- */

int control_create(struct daemon *daemon)
{
	struct control *control = &daemon->control;
	int fd;

	control->listener.fd = -1;
	if (daemon->options.use_stdin && add_client(daemon, STDIN_FILENO, STDOUT_FILENO))
		return fail("--stdin: %s: expected a pipe or a terminal", strerror(errno));
	if (!daemon->options.control)
		return 0;
	fd = listen_at("--control", daemon->options.control, CLIENTS_MAX);
	if (fd < 0)
		return -1;
	control->listener = (struct watch){ fd, accept_client, daemon };
	if (loop_add(daemon, &control->listener))
		return fail("--control %s: %s", daemon->options.control, strerror(errno));
	return 0;
}

void control_destroy(struct daemon *daemon)
{
	if (daemon->control.listener.fd >= 0)
		unlink(daemon->options.control);
}
