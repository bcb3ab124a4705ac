/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Plays inputs through a fuzz target without a fuzzer: the corpus as an ordinary test. What a
 * folder holds is found when it runs, so that a new file needs no new build.
 */
#define _POSIX_C_SOURCE 200809L
/* Or a 32-bit program cannot list folders whose entries have 64-bit places. */
#define _FILE_OFFSET_BITS 64
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t input[1 << 20];

_Noreturn static void refuse(const char *path, const char *why)
{
	fprintf(stderr, "replay: %s: %s; expected an input file, or a folder of them\n", path, why);
	exit(2);
}

static void play_file(const char *path)
{
	FILE *file = fopen(path, "rb");
	size_t size;

	if (file == NULL)
		refuse(path, strerror(errno));
	size = fread(input, 1, sizeof(input), file);
	if (ferror(file) || size == sizeof(input))
		refuse(path, "cannot be read, or has 1 MiB or more");
	fclose(file);
	LLVMFuzzerTestOneInput(input, size);
}

static int shown(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

/* Returns how many files were played. */
static int play(const char *path)
{
	struct dirent **entries;
	const int count = scandir(path, &entries, shown, alphasort);
	char name[4096];

	if (count < 0 && errno != ENOTDIR)
		refuse(path, strerror(errno));
	if (count < 0) {
		play_file(path);
		return 1;
	}
	if (count == 0)
		refuse(path, "this folder is empty");
	for (int i = 0; i < count; i++) {
		const int len = snprintf(name, sizeof(name), "%s/%s", path, entries[i]->d_name);

		if (len < 0 || (size_t)len >= sizeof(name))
			refuse(path, "names in it are too long");
		play_file(name);
		free(entries[i]);
	}
	free(entries);
	return count;
}

int main(int argc, char **argv)
{
	int count = 0;

	if (argc < 2)
		refuse(argv[0], "no input is named");
	for (int i = 1; i < argc; i++)
		count += play(argv[i]);
	printf("%d inputs replayed\n", count);
	return 0;
}
