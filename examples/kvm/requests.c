// SPDX-License-Identifier: BSD-3-Clause
/*
 * A line of the control socket becomes a request, or an error that says what is wrong. What
 * json-c takes in silence is refused here: half of what the client meant would be dropped.
 */
#include <string.h>

#include "answers.h"

#define EXAMPLE "such as {\"cmd\":\"info\"}"

static bool is_continuation(char c)
{
	return ((unsigned char)c & 0xc0) == 0x80;
}

/* returns: the bytes of the UTF-8 sequence at @text, of @left bytes; 0: it is none */
static size_t sequence(const char *text, size_t left)
{
	unsigned char first = (unsigned char)text[0];
	unsigned char second = left > 1 ? (unsigned char)text[1] : 0;
	size_t len = first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 :
		     first < 0xf5 ? 4 : 0;

	/* Longer than it need be, half of a pair of UTF-16, or beyond the last character. */
	if ((first == 0xe0 && second < 0xa0) || (first == 0xed && second > 0x9f) ||
	    (first == 0xf0 && second < 0x90) || (first == 0xf4 && second > 0x8f) || len > left)
		return 0;
	for (size_t i = 1; i < len; i++) {
		if (!is_continuation(text[i]))
			return 0;
	}
	return len;
}

/* returns: where the first byte is that is not UTF-8, or @len */
static size_t utf8_length(const char *line, size_t len)
{
	size_t at = 0, step;

	while (at < len && (step = sequence(line + at, len - at)))
		at += step;
	return at;
}

/* Of a line that is good JSON, what its text has and json-c's object does not show. */
struct scan {
	size_t keys; /* of the object itself, each as often as it comes */
	bool zero;   /* a string has the character 0 in it, where C would end it */
};

static void scan_line(const char *line, size_t len, struct scan *scan)
{
	bool in_string = false;
	int depth = 0;

	*scan = (struct scan){0};
	for (size_t i = 0; i < len; i++) {
		if (in_string && line[i] == '\\') {
			scan->zero |= !strncmp(line + i + 1, "u0000", 5);
			i++;
		} else if (line[i] == '"') {
			in_string = !in_string;
		} else if (!in_string) {
			depth += line[i] == '{' || line[i] == '[';
			depth -= line[i] == '}' || line[i] == ']';
			scan->keys += depth == 1 && line[i] == ':';
		}
	}
}

static struct json_object *check_object(struct json_object *object, const char *line, size_t len)
{
	struct scan scan;

	if (!json_object_is_type(object, json_type_object))
		return answer_error("'%s': not a JSON object: expected one " EXAMPLE, line);
	scan_line(line, len, &scan);
	if (scan.zero)
		return answer_error("'%s': \\u0000 in it: expected text without that", line);
	if (scan.keys > (size_t)json_object_object_length(object))
		return answer_error("'%s': a key is given twice: expected each once", line);
	return NULL;
}

static struct json_object *parse_error(enum json_tokener_error err, const char *line)
{
	const char *what = err == json_tokener_continue || err == json_tokener_error_parse_eof ?
			   "it ends early" : err ? json_tokener_error_desc(err) :
			   "more follows the object";

	return answer_error("'%s': %s: expected one JSON object and nothing else, " EXAMPLE, line,
			    what);
}

struct json_object *request_parse(const char *line, size_t len, struct json_object **answer)
{
	struct json_tokener *tokener;
	struct json_object *object;
	size_t good = utf8_length(line, len);
	enum json_tokener_error err;

	if (good < len || strlen(line) < len) {
		*answer = answer_error("byte %zu of the line is %s: expected one JSON object, "
				       EXAMPLE, (good < len ? good : strlen(line)) + 1,
				       good < len ? "no UTF-8" : "0");
		return NULL;
	}
	tokener = json_tokener_new();
	if (!tokener) {
		*answer = answer_error("out of memory");
		return NULL;
	}
	json_tokener_set_flags(tokener, JSON_TOKENER_STRICT);
	/* With the 0 that ends the line, which ends a number, too. */
	object = json_tokener_parse_ex(tokener, line, (int)len + 1);
	err = json_tokener_get_error(tokener);
	if (err || json_tokener_get_parse_end(tokener) < len)
		*answer = parse_error(err, line);
	else
		*answer = check_object(object, line, len);
	json_tokener_free(tokener);
	if (!*answer)
		return object;
	json_object_put(object);
	return NULL;
}
