// SPDX-License-Identifier: BSD-3-Clause
/*
 * One connection after the other, and what the front end asks for on it. Each request has a line
 * in a table that says how long it may be, how many descriptors belong to it and which protocol
 * feature it needs, so that a handler sees only what has the right shape.
 */
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon.h"

#define PROTOCOL_FEATURES                                                                    \
	(PROTOCOL_F_MQ | PROTOCOL_F_REPLY_ACK | PROTOCOL_F_BACKEND_REQ | PROTOCOL_F_CONFIG | \
	 PROTOCOL_F_RESET_DEVICE | PROTOCOL_F_CONFIGURE_MEM_SLOTS | PROTOCOL_F_STATUS)

#define HUNG_UP "the front end hung up" /* nothing wrong with that */

int refuse(struct daemon *daemon, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(daemon->why, sizeof(daemon->why), format, args);
	va_end(args);
	return -1;
}

void session_break(struct daemon *daemon, const char *format, ...)
{
	va_list args;

	if (daemon->break_why[0])
		return;
	va_start(args, format);
	vsnprintf(daemon->break_why, sizeof(daemon->break_why), format, args);
	va_end(args);
}

/* ---- answers ---- */

static int reply(struct daemon *daemon, const struct message *message, const void *payload,
		 uint32_t size)
{
	if (channel_send(daemon->session.channel.watch.fd, message->header.request, FLAG_REPLY,
			 payload, size))
		session_break(daemon, "%s",
			      errno == EAGAIN ? "it does not read its answers" : HUNG_UP);
	return 0;
}

static int reply_number(struct daemon *daemon, const struct message *message, uint64_t number)
{
	return reply(daemon, message, &number, sizeof(number));
}

/* ---- requests: features and status ---- */

static uint64_t number_in(const struct message *message)
{
	uint64_t number;

	memcpy(&number, message->payload, sizeof(number));
	return number;
}

static int get_features(struct daemon *daemon, struct message *message)
{
	return reply_number(daemon, message, device_offered(daemon));
}

static int set_features(struct daemon *daemon, struct message *message)
{
	return device_set_features(daemon, number_in(message));
}

static int get_protocol_features(struct daemon *daemon, struct message *message)
{
	return reply_number(daemon, message, PROTOCOL_FEATURES);
}

static int set_protocol_features(struct daemon *daemon, struct message *message)
{
	uint64_t features = number_in(message);

	if (features & ~PROTOCOL_FEATURES)
		return refuse(daemon, "protocol features 0x%llx: expected some of 0x%llx",
			      (unsigned long long)features, (unsigned long long)PROTOCOL_FEATURES);
	daemon->session.protocol_features = features;
	return 0;
}

static int set_owner(struct daemon *daemon, struct message *message)
{
	(void)daemon;
	(void)message;
	return 0;
}

/* What it is still used for is to disable all rings. */
static int reset_owner(struct daemon *daemon, struct message *message)
{
	(void)message;
	device_disable_rings(daemon);
	return 0;
}

static int reset_device(struct daemon *daemon, struct message *message)
{
	(void)message;
	device_reset(daemon);
	return 0;
}

static int get_queue_num(struct daemon *daemon, struct message *message)
{
	return reply_number(daemon, message, vmemdev_device_queue_count(daemon->device.base));
}

static int get_status(struct daemon *daemon, struct message *message)
{
	return reply_number(daemon, message, device_status(daemon));
}

static int set_status(struct daemon *daemon, struct message *message)
{
	uint64_t status = number_in(message);

	if (status > 0xff)
		return refuse(daemon, "status 0x%llx: expected 8 bits", (unsigned long long)status);
	return device_set_status(daemon, (uint8_t)status);
}

/* ---- requests: memory ---- */

static int replace_memory(struct daemon *daemon, const struct region *regions, unsigned count)
{
	return memory_replace(&daemon->memory, regions, count, daemon->why, sizeof(daemon->why));
}

static int set_mem_table(struct daemon *daemon, struct message *message)
{
	struct region regions[TABLE_REGIONS_MAX];
	struct memory_table table;

	memcpy(&table, message->payload, sizeof(table));
	/* UML sends room for two regions, whether it has two or one. */
	if (table.count == 0 || table.count > TABLE_REGIONS_MAX ||
	    message->header.size < sizeof(table) + table.count * sizeof(struct memory_region))
		return refuse(daemon,
			      "%u regions in %u bytes: expected 1 to %u regions, %zu bytes "
			      "each",
			      table.count, message->header.size, TABLE_REGIONS_MAX,
			      sizeof(struct memory_region));
	if (message->fd_count != table.count)
		return refuse(daemon, "%u regions with %u descriptors: expected one for each",
			      table.count, message->fd_count);
	for (uint32_t i = 0; i < table.count; i++) {
		memcpy(&regions[i].wire,
		       message->payload + sizeof(table) + i * sizeof(struct memory_region),
		       sizeof(struct memory_region));
		regions[i].fd = message->fds[i];
	}
	return replace_memory(daemon, regions, table.count);
}

static int get_max_mem_slots(struct daemon *daemon, struct message *message)
{
	return reply_number(daemon, message, VMEMDEV_LINUX_RAM_MAX);
}

static int add_mem_reg(struct daemon *daemon, struct message *message)
{
	struct region regions[VMEMDEV_LINUX_RAM_MAX + 1];
	const struct memory *memory = &daemon->memory;
	struct memory_single single;

	memcpy(&single, message->payload, sizeof(single));
	memcpy(regions, memory->regions, memory->count * sizeof(*regions));
	regions[memory->count] = (struct region){ single.region, message->fds[0] };
	return replace_memory(daemon, regions, memory->count + 1);
}

static int rem_mem_reg(struct daemon *daemon, struct message *message)
{
	struct region regions[VMEMDEV_LINUX_RAM_MAX];
	const struct memory *memory = &daemon->memory;
	struct memory_single single;
	unsigned kept = 0;

	memcpy(&single, message->payload, sizeof(single));
	for (unsigned i = 0; i < memory->count; i++) {
		const struct memory_region *wire = &memory->regions[i].wire;

		if (wire->gpa != single.region.gpa || wire->size != single.region.size ||
		    wire->user != single.region.user)
			regions[kept++] = memory->regions[i];
	}
	if (kept == memory->count)
		return refuse(daemon,
			      "no region of 0x%llx bytes at guest address 0x%llx, 0x%llx "
			      "for the front end",
			      (unsigned long long)single.region.size,
			      (unsigned long long)single.region.gpa,
			      (unsigned long long)single.region.user);
	return replace_memory(daemon, regions, kept);
}

/* ---- requests: rings ---- */

static struct vring_state state_in(const struct message *message)
{
	struct vring_state state;

	memcpy(&state, message->payload, sizeof(state));
	return state;
}

static int set_vring_num(struct daemon *daemon, struct message *message)
{
	struct vring_state state = state_in(message);

	return ring_set_num(daemon, state.index, state.num);
}

static int set_vring_addr(struct daemon *daemon, struct message *message)
{
	struct vring_addr addr;

	memcpy(&addr, message->payload, sizeof(addr));
	return ring_set_addr(daemon, &addr);
}

static int set_vring_base(struct daemon *daemon, struct message *message)
{
	struct vring_state state = state_in(message);

	return ring_set_base(daemon, state.index, state.num);
}

static int get_vring_base(struct daemon *daemon, struct message *message)
{
	struct vring_state state = state_in(message);

	if (ring_get_base(daemon, state.index, &state.num))
		return -1;
	return reply(daemon, message, &state, sizeof(state));
}

static int set_vring_enable(struct daemon *daemon, struct message *message)
{
	struct vring_state state = state_in(message);

	return ring_set_enabled(daemon, state.index, state.num);
}

/* For the three requests that give a ring a descriptor, or say that there is none. */
static int set_vring_fd(struct daemon *daemon, struct message *message,
			int (*set)(struct daemon *daemon, uint32_t index, int fd))
{
	uint64_t number = number_in(message);
	unsigned expected = number & VRING_FD_NONE ? 0 : 1;
	int fd = -1;

	if (number & ~(uint64_t)(VRING_FD_INDEX | VRING_FD_NONE) || message->fd_count != expected)
		return refuse(daemon,
			      "0x%llx with %u descriptors: expected a ring's number with "
			      "one, or with bit 8 set and none",
			      (unsigned long long)number, message->fd_count);
	if (expected)
		fd = message_take_fd(message);
	if (set(daemon, number & VRING_FD_INDEX, fd) == 0)
		return 0;
	if (fd >= 0)
		close(fd);
	return -1;
}

static int set_vring_kick(struct daemon *daemon, struct message *message)
{
	return set_vring_fd(daemon, message, ring_set_kick);
}

static int set_vring_call(struct daemon *daemon, struct message *message)
{
	return set_vring_fd(daemon, message, ring_set_call);
}

static int set_vring_err(struct daemon *daemon, struct message *message)
{
	return set_vring_fd(daemon, message, ring_set_err);
}

/* ---- requests: configuration ---- */

static int config_in(struct daemon *daemon, const struct message *message,
		     struct config_header *config)
{
	memcpy(config, message->payload, sizeof(*config));
	if (config->size <= CONFIG_SIZE_MAX && config->offset <= CONFIG_SIZE_MAX - config->size &&
	    message->header.size == sizeof(*config) + config->size)
		return 0;
	return refuse(daemon,
		      "%u bytes of configuration at %u in a message of %u: expected them to "
		      "end at %u at most, and room for just them",
		      config->size, config->offset, message->header.size, CONFIG_SIZE_MAX);
}

static int get_config(struct daemon *daemon, struct message *message)
{
	struct config_header config;

	if (config_in(daemon, message, &config))
		return -1;
	vmemdev_device_config_read(daemon->device.base, config.offset,
				   message->payload + sizeof(config), config.size);
	return reply(daemon, message, message->payload, message->header.size);
}

static int set_config(struct daemon *daemon, struct message *message)
{
	struct config_header config;

	if (config_in(daemon, message, &config))
		return -1;
	vmemdev_device_config_write(daemon->device.base, config.offset,
				    message->payload + sizeof(config), config.size);
	return 0;
}

/* A socket is what all front ends use, and the only thing that can be sent to without waiting. */
static int set_backend_req_fd(struct daemon *daemon, struct message *message)
{
	struct stat status;

	if (fstat(message->fds[0], &status) || !S_ISSOCK(status.st_mode))
		return refuse(daemon, "the descriptor is no socket: expected one end of a "
				      "socket pair");
	if (daemon->session.backend >= 0)
		close(daemon->session.backend);
	daemon->session.backend = message_take_fd(message);
	return 0;
}

void session_config_changed(struct daemon *daemon)
{
	/* If there is no room, one of these is still unread: that one will do. */
	if (daemon->session.backend >= 0 &&
	    channel_send(daemon->session.backend, BACKEND_CONFIG_CHANGE_MSG, 0, NULL, 0) == 0)
		daemon->counts.config_changes++;
}

/* ---- the table ---- */

struct rule {
	const char *name;
	int (*handle)(struct daemon *daemon, struct message *message);
	uint64_t feature; /* PROTOCOL_F_* without which it must not come; 0: always */
	uint32_t size_min, size_max;
	unsigned fds_min, fds_max;
	bool replies; /* has an answer of its own */
};

#define NUMBER sizeof(uint64_t), sizeof(uint64_t)
#define STATE sizeof(struct vring_state), sizeof(struct vring_state)
#define SINGLE sizeof(struct memory_single), sizeof(struct memory_single)
#define CONFIG sizeof(struct config_header), sizeof(struct config_header) + CONFIG_SIZE_MAX

static const struct rule rules[] = {
	[GET_FEATURES] = { "GET_FEATURES", get_features, 0, 0, 0, 0, 0, true },
	[SET_FEATURES] = { "SET_FEATURES", set_features, 0, NUMBER, 0, 0, false },
	[SET_OWNER] = { "SET_OWNER", set_owner, 0, 0, 0, 0, 0, false },
	[RESET_OWNER] = { "RESET_OWNER", reset_owner, 0, 0, 0, 0, 0, false },
	[SET_MEM_TABLE] = { "SET_MEM_TABLE", set_mem_table, 0, sizeof(struct memory_table),
			    PAYLOAD_MAX, 0, FDS_MAX, false },
	[SET_VRING_NUM] = { "SET_VRING_NUM", set_vring_num, 0, STATE, 0, 0, false },
	[SET_VRING_ADDR] = { "SET_VRING_ADDR", set_vring_addr, 0, sizeof(struct vring_addr),
			     sizeof(struct vring_addr), 0, 0, false },
	[SET_VRING_BASE] = { "SET_VRING_BASE", set_vring_base, 0, STATE, 0, 0, false },
	[GET_VRING_BASE] = { "GET_VRING_BASE", get_vring_base, 0, STATE, 0, 0, true },
	[SET_VRING_KICK] = { "SET_VRING_KICK", set_vring_kick, 0, NUMBER, 0, 1, false },
	[SET_VRING_CALL] = { "SET_VRING_CALL", set_vring_call, 0, NUMBER, 0, 1, false },
	[SET_VRING_ERR] = { "SET_VRING_ERR", set_vring_err, 0, NUMBER, 0, 1, false },
	[GET_PROTOCOL_FEATURES] = { "GET_PROTOCOL_FEATURES", get_protocol_features, 0, 0, 0, 0, 0,
				    true },
	[SET_PROTOCOL_FEATURES] = { "SET_PROTOCOL_FEATURES", set_protocol_features, 0, NUMBER, 0, 0,
				    false },
	[GET_QUEUE_NUM] = { "GET_QUEUE_NUM", get_queue_num, PROTOCOL_F_MQ, 0, 0, 0, 0, true },
	[SET_VRING_ENABLE] = { "SET_VRING_ENABLE", set_vring_enable, 0, STATE, 0, 0, false },
	[SET_BACKEND_REQ_FD] = { "SET_BACKEND_REQ_FD", set_backend_req_fd, PROTOCOL_F_BACKEND_REQ,
				 0, 0, 1, 1, false },
	[GET_CONFIG] = { "GET_CONFIG", get_config, PROTOCOL_F_CONFIG, CONFIG, 0, 0, true },
	[SET_CONFIG] = { "SET_CONFIG", set_config, PROTOCOL_F_CONFIG, CONFIG, 0, 0, false },
	[RESET_DEVICE] = { "RESET_DEVICE", reset_device, PROTOCOL_F_RESET_DEVICE, 0, 0, 0, 0,
			   false },
	[GET_MAX_MEM_SLOTS] = { "GET_MAX_MEM_SLOTS", get_max_mem_slots,
				PROTOCOL_F_CONFIGURE_MEM_SLOTS, 0, 0, 0, 0, true },
	[ADD_MEM_REG] = { "ADD_MEM_REG", add_mem_reg, PROTOCOL_F_CONFIGURE_MEM_SLOTS, SINGLE, 1, 1,
			  false },
	/* Some front ends give the region's descriptor here too. */
	[REM_MEM_REG] = { "REM_MEM_REG", rem_mem_reg, PROTOCOL_F_CONFIGURE_MEM_SLOTS, SINGLE, 0, 1,
			  false },
	[SET_STATUS] = { "SET_STATUS", set_status, PROTOCOL_F_STATUS, NUMBER, 0, 0, false },
	[GET_STATUS] = { "GET_STATUS", get_status, PROTOCOL_F_STATUS, 0, 0, 0, 0, true },
};

/* returns: NULL after refuse() */
static const struct rule *find_rule(struct daemon *daemon, const struct message *message)
{
	const struct header *header = &message->header;
	const struct rule *rule;

	if (header->request >= sizeof(rules) / sizeof(rules[0]) || !rules[header->request].handle) {
		refuse(daemon, "request %u is not known here", header->request);
		return NULL;
	}
	rule = &rules[header->request];
	if (header->size < rule->size_min || header->size > rule->size_max)
		refuse(daemon, "%u bytes: expected %u to %u", header->size, rule->size_min,
		       rule->size_max);
	else if (message->fd_count < rule->fds_min || message->fd_count > rule->fds_max)
		refuse(daemon, "%u descriptors: expected %u to %u", message->fd_count,
		       rule->fds_min, rule->fds_max);
	else if ((daemon->session.protocol_features & rule->feature) != rule->feature)
		refuse(daemon, "it belongs to protocol feature 0x%llx, which was not accepted",
		       (unsigned long long)rule->feature);
	else
		return rule;
	return NULL;
}

static const char *name_of(uint32_t request)
{
	if (request < sizeof(rules) / sizeof(rules[0]) && rules[request].name)
		return rules[request].name;
	return "unknown request";
}

/* ---- one message ---- */

/* UML wants one even to the message that accepts REPLY_ACK, so this is asked afterwards. */
static bool wants_ack(const struct daemon *daemon, const struct message *message)
{
	return message->header.flags & FLAG_NEED_REPLY &&
	       daemon->session.protocol_features & PROTOCOL_F_REPLY_ACK;
}

static void answer_refusal(struct daemon *daemon, const struct message *message)
{
	uint32_t request = message->header.request;
	const char *name = name_of(request);
	bool own_answer = request < sizeof(rules) / sizeof(rules[0]) && rules[request].replies;

	daemon->counts.refused++;
	say("refused: %s: %s", name, daemon->why);
	control_event(daemon, "refused", daemon->why);
	if (request == GET_CONFIG)
		reply(daemon, message, NULL, 0); /* an empty payload means an error */
	else if (!own_answer && wants_ack(daemon, message))
		reply_number(daemon, message, 1);
	else
		session_break(daemon, "%s: %s", name, daemon->why);
}

static void serve(struct daemon *daemon, struct message *message)
{
	const struct rule *rule = find_rule(daemon, message);

	daemon->counts.messages++;
	if (daemon->options.verbose)
		say("request: %s, %u bytes, %u descriptors, 0x%llx",
		    name_of(message->header.request), message->header.size, message->fd_count,
		    (unsigned long long)number_in(message));
	if (!rule || rule->handle(daemon, message)) {
		answer_refusal(daemon, message);
		return;
	}
	if (!rule->replies && wants_ack(daemon, message))
		reply_number(daemon, message, 0);
	device_advance(daemon);
}

static void channel_ready(void *ctx)
{
	struct daemon *daemon = ctx;
	struct channel *channel = &daemon->session.channel;
	const char *why = NULL;
	int got = channel_receive(channel, &why);

	if (got < 0)
		session_break(daemon, "%s", *why ? why : HUNG_UP);
	if (got <= 0)
		return;
	/* An answer to nothing that was asked, since we ask for no answers. */
	if (channel->message.header.flags & FLAG_REPLY)
		session_break(daemon, "an answer where a request was expected");
	else
		serve(daemon, &channel->message);
	channel_next(channel);
}

/* ---- connections ---- */

/* It may have gone and be back already, with what it said last still unread. */
static bool hung_up(const struct channel *channel)
{
	struct pollfd poller = { .fd = channel->watch.fd, .events = POLLRDHUP };

	return poll(&poller, 1, 0) > 0;
}

static void front_end_calls(void *ctx)
{
	struct daemon *daemon = ctx;
	struct session *session = &daemon->session;
	int fd = accept4(session->listener.fd, NULL, NULL, SOCK_CLOEXEC);

	if (fd < 0)
		return;
	if (session->connected && hung_up(&session->channel)) {
		session_break(daemon, HUNG_UP);
		session_settle(daemon);
	}
	if (session->connected) {
		/* One device has one driver. */
		say("turned away: a front end is connected already");
		close(fd);
		return;
	}
	session->channel.watch = (struct watch){ fd, channel_ready, daemon };
	if (loop_add(daemon, &session->channel.watch)) {
		close(fd);
		return;
	}
	session->connected = true;
	daemon->counts.connections++;
	say("connected");
	control_event(daemon, "connected", "");
}

static void disconnect(struct daemon *daemon)
{
	struct session *session = &daemon->session;

	loop_close(daemon, &session->channel.watch);
	channel_next(&session->channel);
	if (session->backend >= 0)
		close(session->backend);
	session->backend = -1;
	session->protocol_features = 0;
	session->connected = false;
	device_disconnect(daemon);
}

void session_settle(struct daemon *daemon)
{
	if (!daemon->break_why[0])
		return;
	if (daemon->session.connected) {
		if (strcmp(daemon->break_why, HUNG_UP))
			daemon->counts.broken++;
		disconnect(daemon);
		say("connection closed: %s", daemon->break_why);
		control_event(daemon, "disconnected", daemon->break_why);
	}
	daemon->break_why[0] = 0;
}

int session_listen(struct daemon *daemon)
{
	struct session *session = &daemon->session;
	int fd = listen_at("--socket", daemon->options.socket, 16);

	session->backend = -1;
	session->channel.watch.fd = -1;
	session->listener = (struct watch){ fd, front_end_calls, daemon };
	if (fd < 0)
		return -1;
	if (loop_add(daemon, &session->listener))
		return fail("--socket %s: %s", daemon->options.socket, strerror(errno));
	return 0;
}

void session_destroy(struct daemon *daemon)
{
	if (daemon->session.connected)
		disconnect(daemon);
	if (daemon->session.listener.fd >= 0)
		unlink(daemon->options.socket);
}
