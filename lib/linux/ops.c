/* SPDX-License-Identifier: BSD-3-Clause */
/* The ready ops tables of the devices. */
#include "linux/memory.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>

#define POPULATE_WRITE 23 /* MADV_POPULATE_WRITE, newer than many a libc */

static int discard(void *ctx, const struct vmemdev_range *ranges, uint32_t count, uint64_t token)
{
	(void)token;
	return vmemdev_linux_discard(ctx, ranges, count);
}

/* Returns 0 or an error, kept. Short memory passes, so that one is BUSY. */
static int populate_part(struct vmemdev_linux_memory *memory, const struct vmemdev_linux_ram *ram,
			 const struct iovec *part)
{
	uint64_t gpa = ram->gpa + (uintptr_t)part->iov_base - (uintptr_t)ram->host;
	const char *advice = "see the manual page of that call";
	int err = VMEMDEV_E_HOST, code;

	if (madvise(part->iov_base, part->iov_len, POPULATE_WRITE) == 0)
		return 0;
	code = errno;
	if (code == EFAULT || code == ENOMEM || code == EAGAIN) {
		err = VMEMDEV_E_BUSY;
		advice = "no pages are free: reserve more huge pages, or give the host or the "
			 "file system more room";
	} else if (code == EINVAL) {
		advice = "it wants Linux 5.14: leave populate unset on older ones";
	}
	return memory_fail(memory, err, code,
			   "bringing %zu bytes at 0x%" PRIx64
			   ": madvise(MADV_POPULATE_WRITE): %s: %s",
			   part->iov_len, gpa, strerror(code), advice);
}

static int populate(struct vmemdev_linux_memory *memory, const struct vmemdev_range *ranges,
		    uint32_t count)
{
	struct vmemdev_linux_counts did = { 0 };
	struct iovec part;
	int err = 0;

	for (uint32_t i = 0; i < memory->count_ && err == 0; i++) {
		const struct vmemdev_linux_ram *ram = &memory->ram_[i];

		for (uint32_t j = 0; j < count && ram->populate && err == 0; j++) {
			if (!ram_clip(ram, &ranges[j], &part))
				continue;
			did.populate++;
			err = populate_part(memory, ram, &part);
		}
	}
	memory_count(memory, &did);
	return err;
}

static int protect_part(struct vmemdev_linux_memory *memory, const struct vmemdev_linux_ram *ram,
			const struct iovec *part, int protection)
{
	uint64_t gpa = ram->gpa + (uintptr_t)part->iov_base - (uintptr_t)ram->host;
	int code;

	if (mprotect(part->iov_base, part->iov_len, protection) == 0)
		return 0;
	code = errno;
	return memory_fail(memory, code == ENOMEM ? VMEMDEV_E_BUSY : VMEMDEV_E_HOST, code,
			   "%s %zu bytes at 0x%" PRIx64 ": mprotect: %s%s",
			   protection == PROT_NONE ? "shutting" : "opening", part->iov_len, gpa,
			   strerror(code),
			   code == ENOMEM ? ": raise vm.max_map_count, or make the blocks larger"
					  : ": see the manual page of that call");
}

/* Open or shut what of @ranges lies in guarded stretches. */
static int protect(struct vmemdev_linux_memory *memory, const struct vmemdev_range *ranges,
		   uint32_t count, int protection)
{
	struct vmemdev_linux_counts did = { 0 };
	struct iovec part;
	int err = 0;

	for (uint32_t i = 0; i < memory->count_ && err == 0; i++) {
		const struct vmemdev_linux_ram *ram = &memory->ram_[i];

		for (uint32_t j = 0; j < count && ram->guarded && err == 0; j++) {
			if (!ram_clip(ram, &ranges[j], &part))
				continue;
			did.protect++;
			err = protect_part(memory, ram, &part, protection);
		}
	}
	memory_count(memory, &did);
	return err;
}

/*
 * Shut first: a vCPU that touched pages again after the discard would leave them behind.
 * What cannot be shut or discarded is opened again, as it still counts as plugged.
 */
static int unplug(void *ctx, const struct vmemdev_range *ranges, uint32_t count, uint64_t token)
{
	int err = ranges_check(ctx, ranges, count);

	if (err != 0)
		return err;
	err = protect(ctx, ranges, count, PROT_NONE);
	if (err == 0)
		err = discard(ctx, ranges, count, token);
	if (err != 0)
		(void)protect(ctx, ranges, count, PROT_READ | PROT_WRITE);
	return err;
}

/* A plug that failed: nothing is left of it. */
static int take_back(struct vmemdev_linux_memory *memory, const struct vmemdev_range *ranges,
		     uint32_t count)
{
	int err = vmemdev_linux_discard(memory, ranges, count);

	return protect(memory, ranges, count, PROT_NONE) != 0 ? VMEMDEV_E_HOST : err;
}

static int plug(void *ctx, const struct vmemdev_range *ranges, uint32_t count, uint64_t token)
{
	struct vmemdev_linux_memory *memory = ctx;
	int err;

	(void)token;
	err = ranges_check(memory, ranges, count);
	if (err != 0)
		return err;
	err = protect(memory, ranges, count, PROT_READ | PROT_WRITE);
	if (err == 0)
		err = populate(memory, ranges, count);
	/* What came before the shortage was unplugged until now, so it holds nothing. */
	if (err != 0 && take_back(memory, ranges, count) != 0)
		err = VMEMDEV_E_HOST;
	return err;
}

const struct vmemdev_balloon_ops *vmemdev_linux_balloon_ops(void)
{
	static const struct vmemdev_balloon_ops ops = { .inflate = discard, .report = discard };

	return &ops;
}

const struct vmemdev_mem_ops *vmemdev_linux_mem_ops(void)
{
	static const struct vmemdev_mem_ops ops = { .plug = plug, .unplug = unplug };

	return &ops;
}
