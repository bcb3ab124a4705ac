/* SPDX-License-Identifier: BSD-3-Clause */
/* Plays files through a fuzz target without a fuzzer: the corpus as an ordinary test. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t input[1 << 20];

int main(int argc, char **argv)
{
	if (argc < 2) {
		fprintf(stderr, "%s: no input given; expected the names of corpus files\n", argv[0]);
		return 2;
	}
	for (int i = 1; i < argc; i++) {
		FILE *file = fopen(argv[i], "rb");
		size_t size;

		if (file == NULL) {
			fprintf(stderr, "%s: cannot open %s; expected a corpus file\n", argv[0], argv[i]);
			return 2;
		}
		size = fread(input, 1, sizeof(input), file);
		fclose(file);
		LLVMFuzzerTestOneInput(input, size);
	}
	printf("%d inputs replayed\n", argc - 1);
	return 0;
}
