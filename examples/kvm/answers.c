// SPDX-License-Identifier: BSD-3-Clause
/* What all commands of the control socket need to read a request and to make an answer. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "answers.h"

void answer_add(struct json_object *object, const char *name, uint64_t value)
{
	json_object_object_add(object, name, json_object_new_uint64(value));
}

void answer_add_text(struct json_object *object, const char *name, const char *text)
{
	json_object_object_add(object, name, json_object_new_string(text));
}

void answer_add_flag(struct json_object *object, const char *name, bool flag)
{
	json_object_object_add(object, name, json_object_new_boolean(flag));
}

void answer_add_progress(struct json_object *object,
			 const struct vmemdev_mem_resize_progress *progress)
{
	answer_add_text(object, "state", resize_state_name(progress->state));
	answer_add(object, "from", progress->from);
	answer_add(object, "to", progress->to);
	answer_add(object, "plugged", progress->plugged);
	answer_add(object, "percent", progress->percent);
}

struct json_object *answer_number(const char *name, uint64_t value)
{
	struct json_object *answer = json_object_new_object();

	answer_add(answer, name, value);
	return answer;
}

struct json_object *answer_error(const char *format, ...)
{
	struct json_object *answer = json_object_new_object();
	char text[1024]; /* a whole line of a client fits in */
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	answer_add_text(answer, "error", text);
	return answer;
}

const char *request_text(const struct request *request, const char *name)
{
	struct json_object *member;

	if (!json_object_object_get_ex(request->json, name, &member) || !member)
		return NULL;
	return json_object_get_string(member);
}

struct json_object *request_size(const struct request *request, uint64_t *size)
{
	const char *text = request_text(request, "size");
	struct json_object *member = json_object_object_get(request->json, "size");

	if (!text)
		return answer_error("no \"size\": expected one, such as \"256M\" or 268435456");
	/* What json-c makes of any larger number, too: what was given is lost. */
	if (json_object_is_type(member, json_type_int) &&
	    json_object_get_uint64(member) == UINT64_MAX)
		return answer_error("size of %s or more: expected a size such as \"256M\" or "
				    "268435456", text);
	if (!size_parse(text, size))
		return answer_error("size \"%s\": expected a size such as \"256M\" or 268435456",
				    text);
	return NULL;
}

struct json_object *request_seconds(const struct request *request, const char *name,
				    uint32_t *seconds)
{
	const char *text = request_text(request, name);
	uint64_t number;

	if (!text)
		return NULL;
	if (!*text || text[strspn(text, "0123456789")] || !size_parse(text, &number) ||
	    number > UINT32_MAX)
		return answer_error("%s \"%s\": expected a number of seconds such as 5; 0 means "
				    "never", name, text);
	*seconds = (uint32_t)number;
	return NULL;
}
