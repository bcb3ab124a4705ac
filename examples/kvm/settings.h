/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TOYVMM_SETTINGS_H
#define TOYVMM_SETTINGS_H
/*
 * An option's list, name=value,name=value, and how its values are read. All functions that
 * return an int return 0, or -1 having said what is wrong.
 */
#include "vmm.h"

#define SETTINGS_MAX 24 /* more than any option has names */

/* One name=value of an option's list, for messages that say where they come from. */
struct setting {
	const char *option, *name, *value;
	const char *bare; /* a name that may stand alone, which is name=on; or NULL */
	const char *seen[SETTINGS_MAX]; /* the names so far */
	unsigned seen_count;
};

/*
 * Take the next name=value off @list, which is cut up. returns: 1, 0 at the end, -1 if a
 * part has no value or comes a second time.
 */
int setting_next(char **list, struct setting *s);

/* Say that the value of @s is not what was @expected. returns: -1 */
int setting_bad(const struct setting *s, const char *expected);

int setting_size(const struct setting *s, uint64_t *size);
int setting_number(const struct setting *s, uint64_t max, uint64_t *number);
int setting_bool(const struct setting *s, bool *flag);

#endif
