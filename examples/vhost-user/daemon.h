/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VHOST_USER_DAEMON_H
#define VHOST_USER_DAEMON_H
/*
 * A vhost-user back end that serves one vmemdev balloon, in one page. The layers, each of which
 * calls only those below it:
 *
 *	main.c      command line, event loop
 *	control.c   what the host's operator asks and is told
 *	session.c   the front end's requests: which are allowed when, and how they are answered
 *	device.c    rings and the life of the device: from features to the running balloon
 *	memory.c    the front end's memory: checked, mapped, translated, given back
 *	channel.c   messages and file descriptors on the socket; doorbells and interrupts
 *
 * Trust: the front end is not trusted. It may send anything at any time, change or shorten the
 * memory that it shares, and go away in the middle of a message. What it asks for and cannot have
 * is refused, with a sentence in the log: by an answer if it wants answers (REPLY_ACK), else by
 * closing the connection, as the protocol has no other way to say no. Then the next one is served.
 *
 * Threads: there is one.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vmemdev/balloon.h>
#include <vmemdev/linux.h>

#include "protocol.h"

#define QUEUES 5
#define RING_SIZE_MAX 1024 /* UML has 256 entries, whatever is offered */
#define CLIENTS_MAX 8

/* ---- main.c: the event loop ---- */

struct watch {
	int fd; /* -1: not watched */
	void (*ready)(void *ctx);
	void *ctx;
};

struct daemon;

/* Call @watch->ready whenever its fd can be read. 0, or -1 with errno. */
int loop_add(struct daemon *daemon, struct watch *watch);

/* Stop watching: the fd stays open. */
void loop_ignore(struct daemon *daemon, struct watch *watch);

/* Stop watching and close the fd. */
void loop_close(struct daemon *daemon, struct watch *watch);

/* ---- channel.c ---- */

struct channel {
	struct watch watch;
	struct message message; /* the one that is coming in */
	size_t have;		/* bytes of it that are there */
};

/* returns: 1 a whole message is there; 0 not yet; -1 with @why: the connection is no good */
int channel_receive(struct channel *channel, const char **why);

/* Make room for the next message, and close the file descriptors that nobody took. */
void channel_next(struct channel *channel);

/* Take the only file descriptor of a message. */
int message_take_fd(struct message *message);

/* Send at once or not at all. returns: 0, or -1 with errno; EAGAIN: the peer does not read */
int channel_send(int fd, uint32_t request, uint32_t flags, const void *payload, uint32_t size);

/* Add one to an eventfd, or what else the front end uses for one, without waiting.
 * returns: 0, or -1 if there was no room, so that the other side has something to read anyway */
int event_signal(int fd);

/* Take what has been added. returns: false if nothing will ever come again */
bool event_drain(int fd);

/* ---- memory.c ---- */

struct region {
	struct memory_region wire;
	int fd; /* of the mapping, which closes it */
};

struct memory {
	struct region regions[VMEMDEV_LINUX_RAM_MAX];
	unsigned count;
	struct vmemdev_linux_memory mapped[2]; /* the present one, and the next while it is made */
	unsigned present;
	struct vmemdev_guest guest;
	uint64_t discard_failures;
};

int memory_init(struct memory *memory);

/*
 * Put another table in the place of the present one, as a whole. The fds of regions that are not
 * mapped yet are duplicated, not kept. returns: 0, or -1 with the reason in @why, and nothing
 * changed
 */
int memory_replace(struct memory *memory, const struct region *regions, unsigned count, char *why,
		   size_t why_size);

/* Where @len bytes at the front end's address @user are for the guest. returns: whether they are */
bool memory_translate(const struct memory *memory, uint64_t user, uint64_t len, uint64_t *gpa);

/* Give @ranges back to the kernel: a callback of the balloon, whose ctx is the memory. */
int memory_discard(struct memory *memory, const struct vmemdev_range *ranges, uint32_t count);

/* Bytes that the files behind the memory really have, each file counted once. */
uint64_t memory_allocated(const struct memory *memory);

/* Whether the front end has taken away memory that was in use, since this was last asked. */
bool memory_was_lost(void);

/* ---- device.c ---- */

struct ring {
	struct daemon *daemon;
	uint16_t index;
	uint32_t num;
	uint64_t desc, avail, used;   /* guest-physical, known if has_addr */
	struct vmemdev_vq_state base; /* where it starts, or has stopped */
	struct watch kick;
	int call, err; /* -1: none */
	bool has_addr, enabled;
	bool kicked; /* while it could not be served */
	bool told;   /* stopped by GET_VRING_BASE: the front end knows base */
};

struct device {
	struct vmemdev_balloon balloon;
	struct vmemdev_device *base; /* the balloon, as a transport sees it */
	struct vmemdev_range ranges[VMEMDEV_BALLOON_RANGES];
	struct ring rings[QUEUES];
	uint64_t features; /* as SET_FEATURES gave them */
	bool negotiated;   /* features are accepted */
	bool running;	   /* DRIVER_OK */
	uint8_t status;	   /* as SET_STATUS gave it */
};

int device_create(struct daemon *daemon);

/* The features that a front end may accept. */
uint64_t device_offered(const struct daemon *daemon);

/*
 * The steps of the front end. returns: 0, or -1 after refuse() has said why.
 *
 * SET_FEATURES stands for all that a virtio driver does up to FEATURES_OK. The device then runs
 * (DRIVER_OK) once every ring of which anything was set has all it needs and is enabled, and there
 * was a kick; or, with PROTOCOL_F_STATUS, as soon as DRIVER_OK is written.
 */
int device_set_features(struct daemon *daemon, uint64_t features);
int device_set_status(struct daemon *daemon, uint8_t status);
uint8_t device_status(const struct daemon *daemon);
void device_reset(struct daemon *daemon);

int ring_set_num(struct daemon *daemon, uint32_t index, uint32_t num);
int ring_set_addr(struct daemon *daemon, const struct vring_addr *addr);
int ring_set_base(struct daemon *daemon, uint32_t index, uint32_t base);
int ring_set_kick(struct daemon *daemon, uint32_t index, int fd);
int ring_set_call(struct daemon *daemon, uint32_t index, int fd);
int ring_set_err(struct daemon *daemon, uint32_t index, int fd);
int ring_set_enabled(struct daemon *daemon, uint32_t index, uint32_t enabled);
int ring_get_base(struct daemon *daemon, uint32_t index, uint32_t *base);

/* No ring is processed any more, until it is enabled again. */
void device_disable_rings(struct daemon *daemon);

/* Start what has all it needs. To be called when any of the above, or a kick, has happened. */
void device_advance(struct daemon *daemon);

/* The connection is gone: as after power-on, but for the target and the counters. */
void device_disconnect(struct daemon *daemon);

/* A slice of work. */
void device_run(struct daemon *daemon);

/* ---- session.c ---- */

struct session {
	struct watch listener;
	struct channel channel;
	int backend; /* where our own requests go, or -1 */
	bool connected;
	uint64_t protocol_features;
};

int session_listen(struct daemon *daemon);

/*
 * Note why what the front end asks for is refused: "SET_VRING_NUM: ring 9: ...".
 * returns: -1 always, for "return refuse(...)"
 */
int refuse(struct daemon *daemon, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Close the connection once the present event has been served. The first reason counts. */
void session_break(struct daemon *daemon, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* Close it now, if somebody asked to. To be called between events. */
void session_settle(struct daemon *daemon);

void session_config_changed(struct daemon *daemon);
void session_destroy(struct daemon *daemon);

/* ---- control.c ---- */

struct client {
	struct daemon *daemon; /* NULL: the place is free */
	struct watch in;
	int out;
	char line[256];
	size_t len;
	bool wants_events;
};

struct control {
	struct watch listener;
	struct client clients[CLIENTS_MAX];
};

int control_create(struct daemon *daemon);
void control_destroy(struct daemon *daemon);

/* Tell who asked for events: {"event":"@name","text":"@text"}. */
void control_event(struct daemon *daemon, const char *name, const char *text);
void control_size_event(struct daemon *daemon, const char *name, uint64_t bytes);

/* ---- all of it ---- */

struct options {
	const char *socket, *control;
	uint64_t target;
	bool use_stdin, must_tell_host, no_stats, no_reporting, no_deflate_on_oom, verbose;
};

struct counts {
	uint64_t connections, messages;
	uint64_t refused; /* requests that were refused */
	uint64_t broken;  /* connections that were closed for what came over them */
	uint64_t kicks, interrupts, config_changes;
	uint64_t guest_errors;
};

struct daemon {
	struct options options;
	int epoll_fd;
	bool quit;
	struct session session;
	struct device device;
	struct memory memory;
	struct control control;
	struct counts counts;
	char why[512];	     /* of the last refusal */
	char break_why[600]; /* "": the connection is good */
};

/* Read a size such as "512M" or "4096". returns: whether @text is one. */
bool size_parse(const char *text, uint64_t *size);

/* A line in the log, which is stderr. */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The same for what ends the daemon. returns: -1 always, for "return fail(...)". */
int fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A listening socket at @path, which replaces what a dead process left. returns: fd or -1 */
int listen_at(const char *option, const char *path, int backlog);

#endif /* VHOST_USER_DAEMON_H */
