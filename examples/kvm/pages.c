// SPDX-License-Identifier: BSD-3-Clause
/*
 * What a copy of guest memory leaves out. The devices know of what the guest does not need
 * (plugged blocks, vmemdev_balloon_given(), hints); of the rest the kernel knows what was never
 * there or was given back. It is asked, and not the memory: to read a page that is not there
 * would bring one, which in shared memory and in huge pages stays.
 *
 *     shared (memfd, file)   the file is read, where SEEK_DATA says that it has something
 *     private                /proc/self/pagemap; a file's content where the guest wrote nothing
 */
#include "pages.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#define PAGE UINT64_C(4096)
#define BATCH 256 /* pages */
#define PAGEMAP_THERE (UINT64_C(3) << 62) /* present, or swapped out */

enum kind { WANTED = 0, FROM_FILE, BALLOONED, HINTED, ABSENT };

/* A stretch of guest memory, and where the walk through it is. */
struct walk {
	struct vmm *vmm;
	const struct vmemdev_linux_ram *ram;
	struct slot *slot; /* NULL: RAM */
	struct pages *pages;
	pages_put *put;
	void *ctx;
	int pagemap;                /* -1: cannot be asked */
	struct vmemdev_range given; /* the next that the balloon holds; len 0: there is none */
	uint64_t data, hole;        /* the file has something from here to there */
	uint64_t gpa;               /* of the batch, */
	size_t count;               /* its pages, */
	uint8_t kinds[BATCH];       /* enum kind of each, */
	uint8_t bytes[BATCH * PAGE]; /* and what they hold */
};

static char *host_of(const struct walk *w)
{
	return (char *)w->ram->host + (w->gpa - w->ram->gpa);
}

static uint64_t file_offset(const struct walk *w)
{
	return w->ram->file_offset + (w->gpa - w->ram->gpa);
}

/* ---- the reasons ---- */

static void mark(struct walk *w, const struct vmemdev_range *range, enum kind kind)
{
	uint64_t end = w->gpa + w->count * PAGE, stop = range->gpa + range->len;

	for (uint64_t gpa = range->gpa > w->gpa ? range->gpa : w->gpa; gpa < end && gpa < stop;
	     gpa += PAGE) {
		uint8_t *mine = &w->kinds[(gpa - w->gpa) / PAGE];

		if (*mine <= FROM_FILE)
			*mine = (uint8_t)kind;
	}
}

static void next_given(struct walk *w, uint64_t from)
{
	const struct balloon *balloon = &w->vmm->balloon;

	if (!balloon->slot || !vmemdev_balloon_given(&balloon->device, from, &w->given))
		w->given.len = 0;
}

/* Each is looked up once, however many batches it covers. */
static void mark_ballooned(struct walk *w)
{
	uint64_t end = w->gpa + w->count * PAGE;

	while (w->given.len && w->given.gpa < end) {
		mark(w, &w->given, BALLOONED);
		if (w->given.gpa + w->given.len >= end)
			break;
		next_given(w, w->given.gpa + w->given.len);
	}
}

static void mark_hinted(struct walk *w)
{
	for (size_t i = 0; i < w->count; i++) {
		if (w->kinds[i] == WANTED && hints_cover(w->vmm, w->gpa + i * PAGE))
			w->kinds[i] = HINTED;
	}
}

/* Of a kernel that does not tell, all is taken to be there: then zeros are found by reading. */
static void mark_absent_private(struct walk *w)
{
	uint64_t entries[BATCH];
	size_t size = w->count * sizeof(entries[0]);
	uint64_t at = (uintptr_t)host_of(w) / PAGE * sizeof(entries[0]);

	if (w->pagemap < 0 || pread(w->pagemap, entries, size, (off_t)at) != (ssize_t)size)
		return;
	for (size_t i = 0; i < w->count; i++) {
		if (w->kinds[i] == WANTED && !(entries[i] & PAGEMAP_THERE))
			w->kinds[i] = w->ram->backing == VMEMDEV_LINUX_FILE ? FROM_FILE : ABSENT;
	}
}

/* A file system that cannot say has data everywhere. */
static void find_data(struct walk *w, uint64_t from)
{
	off_t data = lseek(w->ram->fd, (off_t)from, SEEK_DATA);
	off_t hole = data < 0 ? -1 : lseek(w->ram->fd, data, SEEK_HOLE);

	w->data = data >= 0 ? (uint64_t)data : errno == ENXIO ? UINT64_MAX : from;
	w->hole = hole >= 0 ? (uint64_t)hole : UINT64_MAX;
}

static void mark_absent_shared(struct walk *w)
{
	for (size_t i = 0; i < w->count; i++) {
		uint64_t offset = file_offset(w) + i * PAGE;

		if (offset >= w->hole)
			find_data(w, offset);
		if (w->kinds[i] == WANTED)
			w->kinds[i] = offset + PAGE <= w->data ? ABSENT : FROM_FILE;
	}
}

/* ---- what is left ---- */

static int read_file(const struct walk *w, size_t first, size_t count)
{
	size_t done = 0, len = count * PAGE;

	while (done < len) {
		uint64_t offset = file_offset(w) + first * PAGE + done;
		ssize_t got = pread(w->ram->fd, (char *)w->bytes + first * PAGE + done, len - done,
				    (off_t)offset);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return fail("reading the memory at 0x%" PRIx64 ": %s: expected a file that "
				    "nobody makes shorter", w->gpa, got ? strerror(errno) : "it ends");
		done += (size_t)got;
	}
	return 0;
}

/* returns: the end of the pages of this kind from @first on */
static size_t run_end(const struct walk *w, size_t first)
{
	size_t end = first;

	while (end < w->count && w->kinds[end] == w->kinds[first])
		end++;
	return end;
}

static int fetch(struct walk *w)
{
	for (size_t first = 0, end; first < w->count; first = end) {
		end = run_end(w, first);
		if (w->kinds[first] == WANTED)
			memcpy(w->bytes + first * PAGE, host_of(w) + first * PAGE,
			       (end - first) * PAGE);
		else if (w->kinds[first] == FROM_FILE && read_file(w, first, end - first))
			return -1;
	}
	return 0;
}

static bool holds_something(const struct walk *w, size_t page)
{
	const uint8_t *bytes = w->bytes + page * PAGE;

	return w->kinds[page] <= FROM_FILE && (bytes[0] || memcmp(bytes, bytes + 1, PAGE - 1));
}

static int hand_out(struct walk *w)
{
	uint64_t *counts[] = {&w->pages->zero, &w->pages->zero, &w->pages->ballooned,
			      &w->pages->hinted, &w->pages->absent};
	size_t end;

	for (size_t first = 0; first < w->count; first = end) {
		end = first;
		while (end < w->count && holds_something(w, end))
			end++;
		if (end == first) {
			*counts[w->kinds[end++]] += PAGE;
			continue;
		}
		if (w->put(w->ctx, w->gpa + first * PAGE, w->bytes + first * PAGE,
			   (end - first) * PAGE))
			return -1;
		w->pages->written += (end - first) * PAGE;
	}
	return 0;
}

static int do_batch(struct walk *w)
{
	memset(w->kinds, WANTED, sizeof(w->kinds));
	mark_ballooned(w);
	mark_hinted(w);
	if (w->ram->shared)
		mark_absent_shared(w);
	else
		mark_absent_private(w);
	return fetch(w) ? -1 : hand_out(w);
}

/* Pages that may hold something from @gpa on; in a device's region those of plugged blocks. */
static bool next_run(const struct walk *w, uint64_t gpa, struct vmemdev_range *run)
{
	uint64_t end = w->ram->gpa + w->ram->size;

	if (gpa >= end)
		return false;
	if (w->slot)
		return vmemdev_mem_next(&w->slot->mem, gpa, true, run);
	*run = (struct vmemdev_range){.gpa = gpa, .len = end - gpa};
	return true;
}

static int walk_ram(struct walk *w)
{
	struct vmemdev_range run;
	uint64_t gpa = w->ram->gpa, counted = 0;
	int err = 0;

	w->data = w->hole = 0;
	next_given(w, gpa);
	while (!err && next_run(w, gpa, &run)) {
		counted += run.len;
		if (w->given.len && w->given.gpa + w->given.len <= run.gpa)
			next_given(w, run.gpa);
		for (gpa = run.gpa; !err && gpa < run.gpa + run.len; gpa += w->count * PAGE) {
			uint64_t left = (run.gpa + run.len - gpa) / PAGE;

			w->gpa = gpa;
			w->count = left < BATCH ? (size_t)left : BATCH;
			err = do_batch(w);
		}
	}
	w->pages->unplugged += w->ram->size - counted;
	return err;
}

/* A file that lasts by itself is not the snapshot's. */
static bool is_kept_apart(const struct vmemdev_linux_ram *ram)
{
	return ram->keep;
}

int pages_walk(struct vmm *vmm, struct pages *pages, pages_put *put, void *ctx)
{
	static struct walk w; /* larger than a stack should have */
	const struct vmemdev_linux_ram *ram;
	int err = 0;

	*pages = (struct pages){0};
	w = (struct walk){.vmm = vmm, .pages = pages, .put = put, .ctx = ctx};
	w.pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	for (uint32_t i = 0; !err && (ram = vmemdev_linux_ram_at(&vmm->memory, i)); i++) {
		w.ram = ram;
		w.slot = memory_device_at(vmm, ram->gpa);
		err = is_kept_apart(ram) ? 0 : walk_ram(&w);
	}
	if (w.pagemap >= 0)
		close(w.pagemap);
	return err;
}

void *pages_at(struct vmm *vmm, uint64_t gpa, uint64_t len)
{
	const struct vmemdev_region *region = vmemdev_linux_region(&vmm->memory, gpa);
	struct slot *slot = memory_device_at(vmm, gpa);
	struct vmemdev_range run;

	if (!region || (region->flags & VMEMDEV_REGION_KEEP) ||
	    len > region->len - (gpa - region->gpa))
		return NULL;
	if (slot && (!vmemdev_mem_next(&slot->mem, gpa, true, &run) || run.gpa != gpa ||
		     run.len < len))
		return NULL;
	return (char *)region->host + (gpa - region->gpa);
}
