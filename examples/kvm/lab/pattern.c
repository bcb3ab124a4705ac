// SPDX-License-Identifier: BSD-3-Clause
/*
 * pattern fill FILE MIB, pattern check FILE: runs in a guest. Fills a file on a tmpfs, that is
 * memory, with words that are all unlike each other, and tells whether they still are there.
 * A page that was lost, mixed up with another or dropped at the wrong time is found.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static uint64_t word_at(size_t index)
{
	return (uint64_t)index * UINT64_C(0x9e3779b97f4a7c15) + 1;
}

static int trouble(const char *what)
{
	fprintf(stderr, "pattern: %s: %s\n", what, strerror(errno));
	return 2;
}

static int fill(uint64_t *words, size_t count)
{
	for (size_t i = 0; i < count; i++)
		words[i] = word_at(i);
	return 0;
}

static int check(const uint64_t *words, size_t count)
{
	size_t wrong = 0, first = 0;

	for (size_t i = count; i-- > 0;) {
		if (words[i] != word_at(i)) {
			wrong++;
			first = i;
		}
	}
	if (!wrong)
		return 0;
	printf("pattern: %zu of %zu words differ, the first at offset %zu: 0x%llx, expected 0x%llx\n",
	       wrong, count, first * sizeof(*words), (unsigned long long)words[first],
	       (unsigned long long)word_at(first));
	return 1;
}

int main(int argc, char **argv)
{
	int filling = argc == 4 && !strcmp(argv[1], "fill");
	uint64_t *words;
	struct stat st;
	int fd;

	if (!filling && (argc != 3 || strcmp(argv[1], "check"))) {
		fputs("usage: pattern fill FILE MIB | pattern check FILE\n", stderr);
		return 2;
	}
	fd = open(argv[2], O_RDWR | (filling ? O_CREAT | O_TRUNC : 0), 0600);
	if (fd < 0 || (filling && ftruncate(fd, (off_t)strtoul(argv[3], NULL, 10) << 20)) ||
	    fstat(fd, &st))
		return trouble(argv[2]);
	words = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (words == MAP_FAILED)
		return trouble("mmap");
	return filling ? fill(words, (size_t)st.st_size / sizeof(*words))
		       : check(words, (size_t)st.st_size / sizeof(*words));
}
