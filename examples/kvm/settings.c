// SPDX-License-Identifier: BSD-3-Clause
/*
 * The parts that an option's list is made of. Whatever is wrong is named together with what
 * would be right, and with the option that it stands in.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "settings.h"

#define STDERR_WAIT 200 /* ms */

static _Thread_local char said[1024];

int fail(const char *format, ...)
{
	struct pollfd out = {.fd = STDERR_FILENO, .events = POLLOUT};
	va_list args;

	va_start(args, format);
	vsnprintf(said, sizeof(said), format, args);
	va_end(args);
	/*
	 * One write, so that the guest's console does not come in between; and none to a terminal
	 * that has been stopped, or the VMM would stop with it.
	 */
	if (poll(&out, 1, STDERR_WAIT) > 0)
		dprintf(STDERR_FILENO, "toyvmm: %s\n", said);
	return -1;
}

const char *fail_text(void)
{
	return said;
}

bool size_parse(const char *text, uint64_t *size)
{
	static const char units[] = "KMGTkmgt";
	unsigned shift = 0;
	uint64_t number;
	char *end;

	if (text[0] < '0' || text[0] > '9')
		return false;
	errno = 0;
	/* Not base 0: nobody who writes 010M means octal. */
	number = strtoull(text, &end, text[0] == '0' && (text[1] | 0x20) == 'x' ? 16 : 10);
	if (errno)
		return false;
	if (*end) {
		const char *unit = strchr(units, *end);

		if (!unit || end[1])
			return false;
		shift = 10 * (unsigned)((unit - units) % 4 + 1);
	}
	if (number > UINT64_MAX >> shift)
		return false;
	*size = number << shift;
	return true;
}

int setting_bad(const struct setting *s, const char *expected)
{
	return fail("%s: %s=%s: expected %s", s->option, s->name, s->value, expected);
}

int setting_size(const struct setting *s, uint64_t *size)
{
	if (!size_parse(s->value, size))
		return setting_bad(s, "a size such as 512M or 2G");
	return 0;
}

int setting_number(const struct setting *s, uint64_t max, uint64_t *number)
{
	if (!size_parse(s->value, number) || *number > max)
		return fail("%s: %s=%s: expected a number from 0 to %" PRIu64, s->option, s->name,
			    s->value, max);
	return 0;
}

int setting_bool(const struct setting *s, bool *flag)
{
	*flag = !strcmp(s->value, "on");
	if (!*flag && strcmp(s->value, "off"))
		return setting_bad(s, "on or off");
	return 0;
}

int setting_next(char **list, struct setting *s)
{
	char *equals;

	s->name = strsep(list, ",");
	if (!s->name)
		return 0;
	equals = strchr(s->name, '=');
	if (!equals && (!s->bare || strcmp(s->name, s->bare)))
		return fail("%s: \"%s\": expected name=value", s->option, s->name);
	s->value = equals ? equals + 1 : "on";
	if (equals)
		*equals = 0;
	for (unsigned i = 0; i < s->seen_count; i++) {
		if (!strcmp(s->seen[i], s->name))
			return fail("%s: %s=%s: %s is given twice: give it once", s->option,
				    s->name, s->value, s->name);
	}
	if (s->seen_count < SETTINGS_MAX) /* else one of them is unknown, and refused */
		s->seen[s->seen_count++] = s->name;
	return 1;
}
