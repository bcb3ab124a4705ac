/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Giving memory back. What counts is the number of system calls: each one interrupts
 * every vCPU to flush its TLB, whatever its size.
 */
#include "linux/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/falloc.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define PIECES 1024 /* UIO_MAXIOV, the most that process_madvise() takes */

/* PIDFD_SELF, newer than many a libc: it costs no descriptor, and is right after fork(). */
#define SELF (-10000)

/* Merged parts of ranges in host addresses, and what was done with such. */
struct batch {
	struct vmemdev_linux_memory *memory;
	struct vmemdev_linux_counts did;
	uint32_t first; /* pieces before it are settled and of other stretches */
	uint32_t count;
	struct iovec pieces[PIECES];
};

static uint8_t *end_of(const struct iovec *piece)
{
	return (uint8_t *)piece->iov_base + piece->iov_len;
}

static long advise_vector(const struct iovec *pieces, size_t count)
{
	return syscall(SYS_process_madvise, SELF, pieces, count, MADV_DONTNEED, 0);
}

bool vector_probe(size_t page_size)
{
	size_t size = 3 * page_size;
	uint8_t *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	bool works;

	if (at == MAP_FAILED)
		return false;
	memset(at, 1, size);
	advise_vector(
		(const struct iovec[]){ { at, page_size }, { at + 2 * page_size, page_size } }, 2);
	works = at[0] == 0 && at[page_size] == 1 && at[2 * page_size] == 0;
	munmap(at, size);
	return works;
}

static const struct vmemdev_linux_ram *ram_of(const struct vmemdev_linux_memory *memory,
					      const void *host)
{
	const struct vmemdev_linux_ram *ram = memory->ram_;

	while ((uintptr_t)host - (uintptr_t)ram->host >= ram->size)
		ram++;
	return ram;
}

static int refused(const struct batch *batch, const struct vmemdev_linux_ram *ram,
		   const struct iovec *piece, const char *call)
{
	uint64_t gpa = ram->gpa + (uintptr_t)piece->iov_base - (uintptr_t)ram->host;
	const char *advice = "see the manual page of that call";
	int code = errno;

	if (code == EINVAL && ram->page_size != batch->memory->page_size_)
		advice =
			"private huge pages want Linux 5.18: use a shared MEMFD on older ones; and "
			"do not lock guest memory (mlock)";
	else if (code == EINVAL)
		advice = "do not lock guest memory (mlock, mlockall), or mark it keep";
	else if (code == EPERM)
		advice = "remove the memfd's F_SEAL_WRITE or the file's immutable mark, or mark it "
			 "keep";
	return memory_fail(batch->memory, VMEMDEV_E_HOST, code,
			   "discarding %zu bytes at 0x%" PRIx64 ": %s: %s: %s", piece->iov_len, gpa,
			   call, strerror(code), advice);
}

/* Give back one piece by the one call that frees its backing, and by no second one. */
static int discard_piece(struct batch *batch, const struct vmemdev_linux_ram *ram,
			 const struct iovec *piece)
{
	const int hole = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
	uint64_t offset = (uintptr_t)piece->iov_base - (uintptr_t)ram->host + ram->file_offset;
	int result;

	if (ram->shared && ram->fd >= 0) {
		do {
			batch->did.fallocate++;
			result = fallocate(ram->fd, hole, (off_t)offset, (off_t)piece->iov_len);
		} while (result != 0 && errno == EINTR);
	} else {
		batch->did.madvise++;
		result = madvise(piece->iov_base, piece->iov_len,
				 ram->shared ? MADV_REMOVE : MADV_DONTNEED);
	}
	if (result != 0)
		return refused(batch, ram, piece,
			       !ram->shared   ? "madvise(MADV_DONTNEED)"
			       : ram->fd >= 0 ? "fallocate(PUNCH_HOLE)"
					      : "madvise(MADV_REMOVE)");
	batch->did.bytes += piece->iov_len;
	return 0;
}

/* One piece a call, from number @i to before @end. */
static int discard_each(struct batch *batch, uint32_t i, uint32_t end)
{
	int err = 0;

	for (; i < end && err == 0; i++)
		err = discard_piece(batch, ram_of(batch->memory, batch->pieces[i].iov_base),
				    &batch->pieces[i]);
	return err;
}

/* Pieces @i to before @end in one call; what it leaves, one by one, for the exact reason. */
static int discard_vector(struct batch *batch, uint32_t i, uint32_t end)
{
	long done = advise_vector(&batch->pieces[i], end - i);

	batch->did.process_madvise++;
	for (; i < end && done >= (long)batch->pieces[i].iov_len; i++) {
		done -= (long)batch->pieces[i].iov_len;
		batch->did.bytes += batch->pieces[i].iov_len;
	}
	return discard_each(batch, i, end);
}

/*
 * Everything gathered, in as few calls as there can be. The kernel cuts an array off
 * at 2 GiB, wherever that is; one madvise() has no such limit.
 */
static int flush_vectored(struct batch *batch)
{
	const size_t limit = INT_MAX & ~((size_t)batch->memory->page_size_ - 1);
	uint32_t i = 0, end;
	int err = 0;

	while (i < batch->count && err == 0) {
		size_t total = 0;

		for (end = i; end < batch->count && batch->pieces[end].iov_len <= limit - total;
		     end++)
			total += batch->pieces[end].iov_len;
		if (end < i + 2) {
			end = i + 1;
			err = discard_each(batch, i, end);
		} else {
			err = discard_vector(batch, i, end);
		}
		i = end;
	}
	batch->first = batch->count = 0;
	return err;
}

/* Shell's sort: libc's may allocate. Arrays come nearly in order, up or down. */
static void sort(struct iovec *pieces, uint32_t count)
{
	static const uint32_t gaps[] = { 701, 301, 132, 57, 23, 10, 4, 1 };

	for (size_t g = 0; g < sizeof(gaps) / sizeof(gaps[0]); g++) {
		for (uint32_t i = gaps[g]; i < count; i++) {
			struct iovec piece = pieces[i];
			uint32_t j = i;

			for (; j >= gaps[g] &&
			       (uintptr_t)pieces[j - gaps[g]].iov_base > (uintptr_t)piece.iov_base;
			     j -= gaps[g])
				pieces[j] = pieces[j - gaps[g]];
			pieces[j] = piece;
		}
	}
}

/* Join sorted pieces that touch or overlap. Returns how many are left, at least 1. */
static uint32_t merge(struct iovec *pieces, uint32_t count)
{
	uint32_t last = 0;

	for (uint32_t i = 1; i < count; i++) {
		if ((uintptr_t)pieces[i].iov_base > (uintptr_t)end_of(&pieces[last]))
			pieces[++last] = pieces[i];
		else if ((uintptr_t)end_of(&pieces[i]) > (uintptr_t)end_of(&pieces[last]))
			pieces[last].iov_len =
				(size_t)(end_of(&pieces[i]) - (uint8_t *)pieces[last].iov_base);
	}
	return last + 1;
}

/* Bring what was gathered of one stretch into its final form: merged, whole pages only. */
static void settle(struct batch *batch, const struct vmemdev_linux_ram *ram)
{
	struct iovec *pieces = &batch->pieces[batch->first];
	uint32_t count = batch->count - batch->first, kept = 0;
	size_t page = (size_t)ram->page_size;

	if (count > 1) {
		sort(pieces, count);
		count = merge(pieces, count);
	}
	for (uint32_t i = 0; i < count; i++) {
		uintptr_t start = (uintptr_t)pieces[i].iov_base;
		size_t head = (page - start % page) % page, len = pieces[i].iov_len;

		len = len > head ? (len - head) / page * page : 0;
		batch->did.bytes_left += pieces[i].iov_len - len;
		if (len > 0)
			pieces[kept++] =
				(struct iovec){ (uint8_t *)pieces[i].iov_base + head, len };
	}
	batch->first = batch->count = batch->first + kept;
}

static bool is_vectored(const struct batch *batch, const struct vmemdev_linux_ram *ram)
{
	return batch->memory->vectored_ && !ram->shared;
}

/* Discard what was gathered of @ram, unless it may wait for that of other stretches. */
static int flush(struct batch *batch, const struct vmemdev_linux_ram *ram)
{
	int err;

	settle(batch, ram);
	if (is_vectored(batch, ram))
		return batch->count == PIECES ? flush_vectored(batch) : 0;
	err = discard_each(batch, 0, batch->count);
	batch->first = batch->count = 0;
	return err;
}

bool ram_clip(const struct vmemdev_linux_ram *ram, const struct vmemdev_range *range,
	      struct iovec *part)
{
	uint64_t start = range->gpa > ram->gpa ? range->gpa : ram->gpa;
	uint64_t last = range->gpa + (range->len - 1);

	if (last > ram->gpa + (ram->size - 1))
		last = ram->gpa + (ram->size - 1);
	if (start > last)
		return false;
	part->iov_base = (uint8_t *)ram->host + (start - ram->gpa);
	part->iov_len = (size_t)(last - start + 1);
	return true;
}

/* Add a part of @ram, joined with the part before it where they touch. */
static int gather(struct batch *batch, const struct vmemdev_linux_ram *ram,
		  const struct iovec *part)
{
	struct iovec *before;
	int err;

	if (batch->count > batch->first) {
		before = &batch->pieces[batch->count - 1];
		if (end_of(part) == before->iov_base)
			before->iov_base = part->iov_base;
		else if (end_of(before) != part->iov_base)
			before = NULL;
		if (before != NULL) {
			before->iov_len += part->iov_len;
			return 0;
		}
	}
	if (batch->count == PIECES) {
		err = flush(batch, ram);
		if (err != 0)
			return err;
	}
	batch->pieces[batch->count++] = *part;
	return 0;
}

static int discard_in(struct batch *batch, const struct vmemdev_linux_ram *ram,
		      const struct vmemdev_range *ranges, uint32_t count)
{
	struct iovec part;
	int err = 0;

	for (uint32_t i = 0; i < count && err == 0; i++) {
		if (!ram_clip(ram, &ranges[i], &part))
			continue;
		if (ram->keep)
			batch->did.bytes_left += part.iov_len;
		else
			err = gather(batch, ram, &part);
	}
	return err != 0 ? err : flush(batch, ram);
}

static bool holds(const struct vmemdev_linux_memory *memory, uint64_t gpa)
{
	for (uint32_t i = 0; i < memory->count_; i++) {
		if (gpa >= memory->ram_[i].gpa && gpa - memory->ram_[i].gpa < memory->ram_[i].size)
			return true;
	}
	return false;
}

int ranges_check(struct vmemdev_linux_memory *memory, const struct vmemdev_range *ranges,
		 uint32_t count)
{
	if (ranges == NULL && count > 0)
		return memory_fail(memory, VMEMDEV_E_INVAL, 0,
				   "discarding or bringing %" PRIu32
				   " ranges: the array is NULL: pass one",
				   count);
	for (uint32_t i = 0; i < count; i++) {
		uint64_t gpa = ranges[i].gpa, len = ranges[i].len;

		if (len > 0 && len - 1 <= UINT64_MAX - gpa && holds(memory, gpa) &&
		    holds(memory, gpa + (len - 1)))
			continue;
		return memory_fail(
			memory, VMEMDEV_E_SIZE, 0,
			"range %" PRIu32 " of %" PRIu32 ", 0x%" PRIx64 " with %" PRIu64 " bytes, "
			"does not begin and end in guest memory: cut it to the regions; nothing was "
			"done",
			i, count, gpa, len);
	}
	return 0;
}

int vmemdev_linux_discard(struct vmemdev_linux_memory *memory, const struct vmemdev_range *ranges,
			  uint32_t count)
{
	struct batch batch;
	int err;

	if (memory == NULL)
		return VMEMDEV_E_INVAL;
	err = ranges_check(memory, ranges, count);
	if (err != 0 || count == 0)
		return err;
	batch.memory = memory;
	batch.did = (struct vmemdev_linux_counts){ 0 };
	batch.first = batch.count = 0;
	/* Shared stretches first: from then on the batch belongs to the private ones. */
	for (uint32_t pass = 0; pass < 2; pass++) {
		for (uint32_t i = 0; i < memory->count_ && err == 0; i++) {
			if (memory->ram_[i].shared == (pass == 0))
				err = discard_in(&batch, &memory->ram_[i], ranges, count);
		}
	}
	if (err == 0)
		err = flush_vectored(&batch);
	memory_count(memory, &batch.did);
	return err;
}
