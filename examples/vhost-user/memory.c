// SPDX-License-Identifier: BSD-3-Clause
/*
 * The memory that the front end shares. vmemdev-linux maps it and punches holes into its files;
 * what is left to do here is to check the front end's table, to translate the addresses of its own
 * address space, and to outlive a file that is cut short while it is mapped.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "daemon.h"

/* ---- memory that goes away ---- */

/* For the signal handler, which has no other way to know. */
static struct memory *in_use;
static volatile sig_atomic_t lost;

/*
 * The front end has shortened a file. The access is repeated on zeros, which are as good as any
 * other content of memory that others write; the connection is closed afterwards.
 */
static void on_sigbus(int number, siginfo_t *info, void *context)
{
	struct vmemdev_linux_memory *mapped = &in_use->mapped[in_use->present];
	const uint8_t *fault = info->si_addr;
	const struct vmemdev_linux_ram *ram;

	(void)context;
	for (uint32_t i = 0; (ram = vmemdev_linux_ram_at(mapped, i)); i++) {
		const uint8_t *start = ram->host;

		if (fault < start || (uint64_t)(fault - start) >= ram->size)
			continue;
		lost = 1;
		if (mmap(ram->host, ram->size, PROT_READ | PROT_WRITE,
			 MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
			 0) != MAP_FAILED)
			return;
	}
	signal(number, SIG_DFL); /* not the front end's doing */
}

bool memory_was_lost(void)
{
	bool was = lost;

	lost = 0;
	return was;
}

/* ---- the table ---- */

/* A table has one region at least: this one is no memory to anybody. */
static _Alignas(4096) uint8_t nothing[4096];
static const struct vmemdev_region no_memory = {
	.gpa = VMEMDEV_BALLOON_GPA_MAX,
	.len = sizeof(nothing),
	.host = nothing,
	.flags = VMEMDEV_REGION_READONLY | VMEMDEV_REGION_KEEP,
};

int memory_init(struct memory *memory)
{
	struct vmemdev_guest_config config = {
		.struct_size = sizeof(config),
		.region_count = 1,
		.regions = &no_memory,
	};
	struct sigaction action = { .sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO };

	in_use = memory;
	sigaction(SIGBUS, &action, NULL);
	if (vmemdev_linux_memory_init(&memory->mapped[0], sizeof(memory->mapped[0]), NULL))
		return -1;
	return vmemdev_guest_init(&memory->guest, sizeof(memory->guest), &config) ? -1 : 0;
}

static bool overlap(uint64_t a, uint64_t b, uint64_t a_len, uint64_t b_len)
{
	return a < b + b_len && b < a + a_len;
}

/* What vmemdev-linux cannot know: addresses of the front end, and what a balloon can name. */
static const char *check_region(const struct region *regions, unsigned index)
{
	const struct memory_region *region = &regions[index].wire;
	struct stat file;

	if (region->size == 0 || region->size > VMEMDEV_BALLOON_GPA_MAX ||
	    region->gpa > VMEMDEV_BALLOON_GPA_MAX - region->size)
		return "expected a size above 0, and an end at or below 16 TiB, which is as far as "
		       "a balloon can name pages";
	if (region->user + region->size < region->user)
		return "expected it to end within the front end's 64-bit address space";
	for (unsigned i = 0; i < index; i++) {
		if (overlap(regions[i].wire.user, region->user, regions[i].wire.size, region->size))
			return "expected no other region at the same addresses of the front end";
	}
	if (fstat(regions[index].fd, &file) || !S_ISREG(file.st_mode))
		return "expected its file to be a regular one, such as a memfd";
	return NULL;
}

static int add_region(struct vmemdev_linux_memory *mapped, const struct region *region, char *why,
		      size_t why_size)
{
	struct vmemdev_linux_ram_config ram = {
		.struct_size = sizeof(ram),
		.backing = VMEMDEV_LINUX_FILE,
		.gpa = region->wire.gpa,
		.size = region->wire.size,
		.file_offset = region->wire.mmap_offset,
		.fd = region->fd,
		.no_reserve = true,
	};
	struct vmemdev_linux_error error;

	if (vmemdev_linux_add_ram(mapped, &ram) == 0)
		return 0;
	vmemdev_linux_last_error(mapped, &error);
	snprintf(why, why_size, "%s", error.text);
	return -1;
}

static int map_all(struct vmemdev_linux_memory *mapped, const struct region *regions,
		   unsigned count, char *why, size_t why_size)
{
	for (unsigned i = 0; i < count; i++) {
		const char *wrong = check_region(regions, i);

		if (wrong) {
			snprintf(why, why_size,
				 "region %u (0x%llx bytes at guest address 0x%llx): %s", i,
				 (unsigned long long)regions[i].wire.size,
				 (unsigned long long)regions[i].wire.gpa, wrong);
			return -1;
		}
		if (add_region(mapped, &regions[i], why, why_size))
			return -1;
	}
	return 0;
}

/* The descriptors that the mapping keeps, in the order of our own table. */
static void adopt_fds(struct memory *memory, const struct vmemdev_linux_memory *mapped)
{
	const struct vmemdev_linux_ram *ram;

	for (uint32_t i = 0; (ram = vmemdev_linux_ram_at(mapped, i)); i++) {
		for (unsigned j = 0; j < memory->count; j++) {
			if (memory->regions[j].wire.gpa == ram->gpa)
				memory->regions[j].fd = ram->fd;
		}
	}
}

int memory_replace(struct memory *memory, const struct region *regions, unsigned count, char *why,
		   size_t why_size)
{
	struct vmemdev_linux_memory *old = &memory->mapped[memory->present];
	struct vmemdev_linux_memory *next = &memory->mapped[!memory->present];
	const struct vmemdev_region *table = &no_memory;
	uint32_t table_count = 1;

	if (count > VMEMDEV_LINUX_RAM_MAX) {
		snprintf(why, why_size, "%u regions: expected at most %u", count,
			 VMEMDEV_LINUX_RAM_MAX);
		return -1;
	}
	vmemdev_linux_memory_init(next, sizeof(*next), NULL);
	if (map_all(next, regions, count, why, why_size)) {
		vmemdev_linux_memory_finish(next);
		return -1;
	}
	if (count > 0)
		table = vmemdev_linux_regions(next, &table_count);
	vmemdev_guest_set_regions(&memory->guest, table, table_count);
	for (unsigned i = 0; i < count; i++)
		memory->regions[i] = regions[i];
	memory->count = count;
	memory->present = !memory->present;
	adopt_fds(memory, next);
	vmemdev_linux_memory_finish(old);
	return 0;
}

bool memory_translate(const struct memory *memory, uint64_t user, uint64_t len, uint64_t *gpa)
{
	for (unsigned i = 0; i < memory->count; i++) {
		const struct memory_region *region = &memory->regions[i].wire;
		uint64_t offset = user - region->user;

		/* Addresses below it are far above by the wrap. */
		if (offset >= region->size || len > region->size - offset)
			continue;
		*gpa = region->gpa + offset;
		return true;
	}
	return false;
}

/* ---- giving it back ---- */

int memory_discard(struct memory *memory, const struct vmemdev_range *ranges, uint32_t count)
{
	struct vmemdev_linux_memory *mapped = &memory->mapped[memory->present];
	int err = vmemdev_linux_discard(mapped, ranges, count);
	struct vmemdev_linux_error error;

	if (err && memory->discard_failures++ == 0) {
		vmemdev_linux_last_error(mapped, &error);
		say("giving memory back: %s (further failures are only counted)", error.text);
	}
	return err;
}

uint64_t memory_allocated(const struct memory *memory)
{
	struct stat files[VMEMDEV_LINUX_RAM_MAX];
	uint64_t bytes = 0;

	for (unsigned i = 0; i < memory->count; i++) {
		bool seen = false;

		if (fstat(memory->regions[i].fd, &files[i]))
			memset(&files[i], 0, sizeof(files[i]));
		for (unsigned j = 0; j < i; j++)
			seen |= files[i].st_ino == files[j].st_ino &&
				files[i].st_dev == files[j].st_dev;
		if (!seen)
			bytes += (uint64_t)files[i].st_blocks * 512;
	}
	return bytes;
}
