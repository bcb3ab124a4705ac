// SPDX-License-Identifier: BSD-3-Clause
/*
 * Runs in a guest, on a file on a tmpfs, that is on memory, which it fills with words that are
 * all unlike each other. A page that was lost, mixed up with another or dropped at the wrong
 * time is found.
 *
 * pattern fill FILE MIB   makes the file and fills it
 * pattern check FILE      tells whether it still is as "fill" left it
 * pattern work FILE STOP  reads each word and puts another one there, round after round, and
 *                         says a dot a round, until there is a file STOP; leaves the file as
 *                         "fill" does. Ends at the first word that is not what it left there
 * pattern pin FILE        puts a page of each MiB into a pipe, without a copy, so that Linux
 *                         cannot move it; says the number of the process that keeps it open
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)

struct file {
	uint64_t *words;
	size_t count;
};

static uint64_t word_at(size_t index, uint64_t round)
{
	return (uint64_t)index * UINT64_C(0x9e3779b97f4a7c15) + 1 + round;
}

static int trouble(const char *what)
{
	fprintf(stderr, "pattern: %s: %s\n", what, strerror(errno));
	return 2;
}

static int fill(struct file file, const char *unused)
{
	(void)unused;
	for (size_t i = 0; i < file.count; i++)
		file.words[i] = word_at(i, 0);
	return 0;
}

static int differs(size_t wrong, size_t count, size_t first, uint64_t found, uint64_t round)
{
	fprintf(stderr,
		"pattern: %zu of %zu words differ, the first at offset %zu: 0x%llx, "
		"expected 0x%llx\n",
		wrong, count, first * sizeof(found), (unsigned long long)found,
		(unsigned long long)word_at(first, round));
	return 1;
}

static int check(struct file file, const char *unused)
{
	size_t wrong = 0, first = 0;

	(void)unused;
	for (size_t i = file.count; i-- > 0;) {
		if (file.words[i] != word_at(i, 0)) {
			wrong++;
			first = i;
		}
	}
	return wrong ? differs(wrong, file.count, first, file.words[first], 0) : 0;
}

static int work(struct file file, const char *stop)
{
	volatile uint64_t *words = file.words; /* really there, each time */
	uint64_t round = 0, next;

	do {
		next = access(stop, F_OK) ? round + 1 : 0;
		for (size_t i = 0; i < file.count; i++) {
			uint64_t word = words[i];

			if (word != word_at(i, round))
				return differs(1, file.count, i, word, round);
			words[i] = word_at(i, next);
		}
		if (write(STDOUT_FILENO, ".", 1) != 1)
			return trouble("output");
		round = next;
	} while (next);
	return 0;
}

static int pin(struct file file, const char *unused)
{
	size_t size = file.count * sizeof(*file.words);
	pid_t child;
	int ends[2];

	(void)unused;
	if (pipe(ends) || fcntl(ends[1], F_SETPIPE_SZ, (int)MIB) < 0)
		return trouble("pipe");
	for (size_t at = 0; at < size; at += MIB) {
		struct iovec page = { .iov_base = (char *)file.words + at, .iov_len = 1 };

		if (vmsplice(ends[1], &page, 1, SPLICE_F_NONBLOCK) != 1)
			return trouble("vmsplice, of at most 256 pages");
	}
	child = fork();
	if (child < 0)
		return trouble("fork");
	if (child) {
		printf("%d\n", (int)child);
		return 0;
	}
	pause();
	return 0;
}

static const struct {
	const char *name;
	int (*run)(struct file file, const char *more);
	int argc;
} modes[] = {
	{ "fill", fill, 4 },
	{ "check", check, 3 },
	{ "work", work, 4 },
	{ "pin", pin, 3 },
};

int main(int argc, char **argv)
{
	struct file file;
	struct stat st;
	size_t mode = 0;
	int fd, filling;

	while (mode < 4 && (argc != modes[mode].argc || strcmp(argv[1], modes[mode].name)))
		mode++;
	if (mode == 4) {
		fputs("usage: pattern fill FILE MIB | check FILE | work FILE STOP | pin FILE\n",
		      stderr);
		return 2;
	}
	filling = modes[mode].run == fill;
	fd = open(argv[2], O_RDWR | (filling ? O_CREAT | O_TRUNC : 0), 0600);
	if (fd < 0 || (filling && ftruncate(fd, (off_t)(strtoul(argv[3], NULL, 10) * MIB))) ||
	    fstat(fd, &st))
		return trouble(argv[2]);
	file.words = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (file.words == MAP_FAILED)
		return trouble("mmap");
	file.count = (size_t)st.st_size / sizeof(*file.words);
	return modes[mode].run(file, argc > 3 ? argv[3] : NULL);
}
