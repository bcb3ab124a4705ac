/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TOYVMM_ANSWERS_H
#define TOYVMM_ANSWERS_H
/*
 * The commands of the control socket: JSON in, JSON out. control.c reads and sends, commands.c
 * and balloon_commands.c execute.
 */
#include <json-c/json.h>

#include "vmm.h"

#define KEYS_MAX 4 /* that a command takes */

struct request {
	struct vmm *vmm;
	struct client *client;
	struct json_object *json;
	uint64_t resident, given; /* bytes, for a command that wants them */
};

struct command {
	const char *name;
	struct json_object *(*run)(struct request *request); /* the answer; under the lock */
	const char *keys[KEYS_MAX];  /* of its request, beside "cmd" */
	bool wants_sizes; /* measured before, without the lock: it takes long */
	bool changes;     /* the machine's state, of which a record may have been sent */
};

/* answers.c */
void answer_add(struct json_object *object, const char *name, uint64_t value);
void answer_add_text(struct json_object *object, const char *name, const char *text);
void answer_add_flag(struct json_object *object, const char *name, bool flag);
void answer_add_progress(struct json_object *object,
			 const struct vmemdev_mem_resize_progress *progress);
struct json_object *answer_number(const char *name, uint64_t value);
struct json_object *answer_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The member @name of the request as text, or NULL. */
const char *request_text(const struct request *request, const char *name);

/* Its member "size". returns: NULL, or an error to answer */
struct json_object *request_size(const struct request *request, uint64_t *size);

/* Its member @name in seconds, or @seconds as it is if there is none. The same. */
struct json_object *request_seconds(const struct request *request, const char *name,
				    uint32_t *seconds);

/* control.c: tell those who listen, and put @event. Under the lock. */
void control_publish(struct vmm *vmm, struct json_object *event);

/* requests.c. returns: the object that @line is, or NULL and an @answer */
struct json_object *request_parse(const char *line, size_t len, struct json_object **answer);

/* commands.c. returns: NULL and an @answer if there is no such command, or not with such keys */
const struct command *command_find(struct json_object *json, struct json_object **answer);

/* mem_commands.c */
struct json_object *set_requested(struct request *request);
struct json_object *mem_resize(struct request *request);
struct json_object *mem_resize_cancel(struct request *request);
struct json_object *mem_info(const struct slot *slot);

/* pmem.c */
struct json_object *pmem_info(const struct slot *slot);

/* balloon_commands.c */
struct json_object *set_balloon(struct request *request);
struct json_object *balloon_stats(struct request *request);
struct json_object *balloon_poll_stats(struct request *request);
struct json_object *balloon_stats_period(struct request *request);
struct json_object *balloon_hint_step(struct request *request);
struct json_object *balloon_inhibit(struct request *request);
struct json_object *balloon_uninhibit(struct request *request);
struct json_object *balloon_info(const struct balloon *balloon, uint64_t given);

#endif
