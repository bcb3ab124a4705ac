/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A program for strace.sh to watch: discards a fragmented array, a contiguous one and one
 * over all of the memory, in private and in shared memory, and prints what the library
 * counted.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <vmemdev/linux.h>

#define SIZE (UINT64_C(8) << 20)
#define HIGH (UINT64_C(1) << 32)

static int fill(struct vmemdev_linux_memory *memory, uint32_t backing, uint64_t gpa)
{
	struct vmemdev_linux_ram_config config = {
		.struct_size = sizeof(config),
		.backing = backing,
		.gpa = gpa,
		.size = SIZE,
	};
	int err = vmemdev_linux_add_ram(memory, &config);

	if (err == 0)
		memset(vmemdev_linux_region(memory, gpa)->host, 1, SIZE);
	return err;
}

int main(int argc, char **argv)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	struct vmemdev_linux_config config = {
		.struct_size = sizeof(config),
		.single_calls = argc > 1 && strcmp(argv[1], "single") == 0,
	};
	struct vmemdev_range ranges[64], all[2] = {{0, SIZE}, {HIGH, SIZE}};
	struct vmemdev_linux_memory memory;
	struct vmemdev_linux_counts counts;
	int err = vmemdev_linux_memory_init(&memory, sizeof(memory), &config);

	err = err != 0 ? err : fill(&memory, VMEMDEV_LINUX_ANONYMOUS, 0);
	err = err != 0 ? err : fill(&memory, VMEMDEV_LINUX_MEMFD, HIGH);
	/* Without the calls that set the memory up: what follows this write counts. */
	err = err != 0 ? err : write(STDERR_FILENO, "begin\n", 6) != 6;
	for (uint64_t step = 1; step <= 2 && err == 0; step++) {
		for (uint64_t i = 0; i < 64; i++)
			ranges[i] = (struct vmemdev_range){(i % 2) * HIGH + i / 2 * step * page, page};
		err = vmemdev_linux_discard(&memory, ranges, 64);
	}
	err = err != 0 ? err : vmemdev_linux_discard(&memory, all, 2);
	err = err != 0 ? err : write(STDERR_FILENO, "end\n", 4) != 4;
	vmemdev_linux_memory_get_counts(&memory, &counts);
	printf("process_madvise %" PRIu64 "\nmadvise %" PRIu64 "\nfallocate %" PRIu64 "\n",
	       counts.process_madvise, counts.madvise, counts.fallocate);
	vmemdev_linux_memory_finish(&memory);
	return err != 0;
}
