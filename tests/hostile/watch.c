/* SPDX-License-Identifier: BSD-3-Clause */
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "watch.h"

enum { QUEUES = 8, CHAINS = 8, WRITES = 4096, ORDERS = 65536 };

struct queue_book {
	const struct vmemdev_vq *vq;
	uint32_t open, finished; /* popped and not finished; finished and not pushed */
	bool out[ORDERS];        /* finished and not pushed, by their numbers */
};

struct watch watch;
static struct queue_book books[QUEUES];
static struct {
	const struct vmemdev_chain *chain;
	struct queue_book *book;
} chains[CHAINS];
static struct {
	const uint8_t *host;
	size_t len;
} untold[WRITES];
static uint32_t untold_count;

_Noreturn void watch_fail(const char *format, ...)
{
	va_list args;

	fprintf(stderr, "%s, seed %" PRIu64 ", step %" PRIu64 ": ",
		watch.what != NULL ? watch.what : "?", watch.seed, watch.step);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	abort();
}

static void on_write(void *ctx, uint64_t gpa, uint64_t len)
{
	const uint8_t *host = guest_at(watch.mem, gpa, len);
	uint32_t kept = 0;

	(void)ctx;
	watch.dirty_calls++;
	for (uint32_t i = 0; i < watch.region_count && host == NULL; i++) {
		const struct vmemdev_region *region = &watch.regions[i];

		if (gpa >= region->gpa && gpa - region->gpa < region->len)
			host = (const uint8_t *)region->host + (gpa - region->gpa);
	}
	if (host == NULL)
		watch_fail("the dirty log is told of 0x%" PRIx64 ", which is no memory", gpa);
	for (uint32_t i = 0; i < untold_count; i++) {
		if (untold[i].host < host || untold[i].host + untold[i].len > host + len)
			untold[kept++] = untold[i];
	}
	untold_count = kept;
}

void watch_start(struct guest_memory *mem)
{
	memset(&watch, 0, sizeof(watch));
	memset(books, 0, sizeof(books));
	memset(chains, 0, sizeof(chains));
	untold_count = 0;
	watch.mem = mem;
	watch_table(mem->regions, mem->count);
	mem->on_write = on_write;
}

void watch_table(const struct vmemdev_region *regions, uint32_t count)
{
	watch.regions = regions;
	watch.region_count = count;
}

void watch_settled(void)
{
	if (untold_count > 0)
		watch_fail("%" PRIu32 " writes were not told to the dirty log", untold_count);
}

uint32_t watch_out(void)
{
	uint32_t out = 0;

	for (uint32_t i = 0; i < QUEUES; i++)
		out += books[i].open + books[i].finished;
	return out;
}

static bool plugged(const struct vmemdev_region *region, uint64_t offset, uint64_t len)
{
	if (region->blocks == NULL)
		return true;
	for (uint64_t b = offset >> region->block_shift;
	     b <= (offset + len - 1) >> region->block_shift; b++) {
		if (!(region->blocks[b / 64] >> b % 64 & 1))
			return false;
	}
	return true;
}

static void check_access(const uint8_t *host, size_t len, bool write)
{
	for (uint32_t i = 0; i < watch.region_count; i++) {
		const struct vmemdev_region *region = &watch.regions[i];
		uint64_t offset = (uint64_t)((uintptr_t)host - (uintptr_t)region->host);

		if ((uintptr_t)host < (uintptr_t)region->host || offset >= region->len)
			continue;
		if (len == 0 || len > region->len - offset || !plugged(region, offset, len))
			watch_fail("%zu bytes at 0x%" PRIx64 " are not all memory", len,
				   region->gpa + offset);
		if (write && (region->flags & VMEMDEV_REGION_READONLY))
			watch_fail("a write to ROM at 0x%" PRIx64, region->gpa + offset);
		return;
	}
	watch_fail("%zu bytes at %p are no guest memory", len, (const void *)host);
}

void vmemdev_guest_seam(uint8_t *host, size_t len, bool write)
{
	if (watch.region_count == 0)
		return;
	check_access(host, len, write);
	if (!write) {
		watch.reads++;
		watch.bytes_read += len;
		if (watch.on_read != NULL)
			watch.on_read(watch.ctx, host, len);
		return;
	}
	watch.writes++;
	watch.bytes_written += len;
	if (untold_count == WRITES)
		watch_fail("thousands of writes were not told to the dirty log");
	untold[untold_count].host = host;
	untold[untold_count].len = len;
	untold_count++;
}

static struct queue_book *book_of(const struct vmemdev_vq *vq)
{
	for (uint32_t i = 0; i < QUEUES; i++) {
		if (books[i].vq == vq || books[i].vq == NULL) {
			books[i].vq = vq;
			return &books[i];
		}
	}
	watch_fail("more queues than a device has");
}

/* The linker puts these in the place of the library's functions, also inside the library. */
int __real_vmemdev_vq_pop(struct vmemdev_vq *vq, struct vmemdev_chain *chain);
int __wrap_vmemdev_vq_pop(struct vmemdev_vq *vq, struct vmemdev_chain *chain);
int __wrap_vmemdev_vq_pop(struct vmemdev_vq *vq, struct vmemdev_chain *chain)
{
	int got = __real_vmemdev_vq_pop(vq, chain);
	struct queue_book *book;
	uint32_t i = 0;

	if (got != 1 || watch.region_count == 0)
		return got;
	book = book_of(vq);
	if (book->open > 0)
		watch_fail("a chain is taken before the one before it was finished");
	while (i < CHAINS && chains[i].chain != chain)
		i++;
	/* If it is another chain: in the place of one that is not open any more. */
	for (uint32_t k = 0; k < CHAINS && i == CHAINS; k++) {
		if (chains[k].book == NULL || chains[k].book->open == 0)
			i = k;
	}
	if (i == CHAINS)
		watch_fail("more chains open than a device has queues");
	chains[i].chain = chain;
	chains[i].book = book;
	book->open = 1;
	watch.popped++;
	return 1;
}

int __real_vmemdev_chain_finish(struct vmemdev_chain *chain, struct vmemdev_held *held);
int __wrap_vmemdev_chain_finish(struct vmemdev_chain *chain, struct vmemdev_held *held);
int __wrap_vmemdev_chain_finish(struct vmemdev_chain *chain, struct vmemdev_held *held)
{
	int err = __real_vmemdev_chain_finish(chain, held);
	struct queue_book *book = NULL;

	if (err != 0 || watch.region_count == 0)
		return err;
	for (uint32_t i = 0; i < CHAINS; i++) {
		if (chains[i].chain == chain)
			book = chains[i].book;
	}
	if (book == NULL || book->open == 0)
		watch_fail("a chain is finished that was not taken, or twice");
	if (book->out[held->order])
		watch_fail("two chains are out with the number %u", held->order);
	book->open = 0;
	book->out[held->order] = true;
	book->finished++;
	return 0;
}

int __real_vmemdev_vq_push(struct vmemdev_vq *vq, const struct vmemdev_held *held,
			   uint32_t written);
int __wrap_vmemdev_vq_push(struct vmemdev_vq *vq, const struct vmemdev_held *held,
			   uint32_t written);
int __wrap_vmemdev_vq_push(struct vmemdev_vq *vq, const struct vmemdev_held *held,
			   uint32_t written)
{
	int err = __real_vmemdev_vq_push(vq, held, written);
	struct queue_book *book;

	if (err != 0 || watch.region_count == 0)
		return err;
	book = book_of(vq);
	if (!book->out[held->order])
		watch_fail("chain number %u is given back, which is not out", held->order);
	if (written > held->writable)
		watch_fail("%" PRIu32 " bytes written of %" PRIu64, written, held->writable);
	book->out[held->order] = false;
	book->finished--;
	watch.pushed++;
	return 0;
}

void __real_vmemdev_vq_reset(struct vmemdev_vq *vq);
void __wrap_vmemdev_vq_reset(struct vmemdev_vq *vq);
void __wrap_vmemdev_vq_reset(struct vmemdev_vq *vq)
{
	struct queue_book *book;

	__real_vmemdev_vq_reset(vq);
	if (watch.region_count == 0)
		return;
	book = book_of(vq);
	book->open = book->finished = 0;
	memset(book->out, 0, sizeof(book->out));
	for (uint32_t i = 0; i < CHAINS; i++) {
		if (chains[i].book == book)
			chains[i].chain = NULL, chains[i].book = NULL;
	}
}
