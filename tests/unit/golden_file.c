/* SPDX-License-Identifier: BSD-3-Clause */
#include "golden_file.h"

#include <stdio.h>

#define PATH_MAX_LEN 1024
#define BYTES_A_LINE 16

static const char *path_of(const char *name, uint32_t major, uint32_t minor)
{
	static char path[PATH_MAX_LEN];
	int len = snprintf(path, sizeof(path), "%s/%s-%u.%u.hex", GOLDEN_DIR, name, major, minor);

	assert_true(len > 0 && (size_t)len < sizeof(path));
	return path;
}

/* Hexadecimal bytes; a # begins a comment, to the end of its line. */
static void parse(FILE *file, const char *path, struct record *record)
{
	unsigned int byte;
	int c;

	record->len = 0;
	while ((c = getc(file)) != EOF) {
		if (c == '#') {
			while (c != '\n' && c != EOF)
				c = getc(file);
			continue;
		}
		if (c == ' ' || c == '\n')
			continue;
		ungetc(c, file);
		if (fscanf(file, "%2x", &byte) != 1 || record->len == RECORD_MAX)
			fail_msg("%s: byte %zu is no hexadecimal number, or one too many; a file "
				 "holds comments and up to %d bytes", path, record->len,
				 RECORD_MAX);
		record->bytes[record->len++] = (uint8_t)byte;
	}
}

bool golden_read(const char *name, uint32_t major, uint32_t minor, struct record *record)
{
	const char *path = path_of(name, major, minor);
	FILE *file = fopen(path, "r");

	if (file == NULL)
		return false;
	parse(file, path, record);
	fclose(file);
	return true;
}

bool golden_write(const char *name, uint32_t major, uint32_t minor, const char *what,
		  const struct record *record)
{
	const char *path = path_of(name, major, minor);
	FILE *file;

	if (getenv("VMEMDEV_GOLDEN_WRITE") == NULL)
		return false;
	file = fopen(path, "wx");
	if (file == NULL)
		fail_msg("%s cannot be made; a golden file that is there is never written anew", path);
	fprintf(file, "# SPDX-License-Identifier: BSD-3-Clause\n# %s, version %u.%u: %s\n", name,
		major, minor, what);
	for (size_t i = 0; i < record->len; i++)
		fprintf(file, "%02x%c", record->bytes[i],
			i % BYTES_A_LINE == BYTES_A_LINE - 1 || i + 1 == record->len ? '\n' : ' ');
	assert_int_equal(fclose(file), 0);
	print_message("wrote %s\n", path);
	return true;
}
