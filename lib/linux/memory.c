/* SPDX-License-Identifier: BSD-3-Clause */
/* The memory object: its stretches, their table for the devices, errors and counters. */
#include "linux/memory.h"

#include <inttypes.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Sizes in release 0.1, the least that a caller can have been built with. */
#define CONFIG_SIZE_0_1 8
#define RAM_CONFIG_SIZE_0_1 56
_Static_assert(sizeof(struct vmemdev_linux_config) >= CONFIG_SIZE_0_1, "configs only grow");
_Static_assert(sizeof(struct vmemdev_linux_ram_config) >= RAM_CONFIG_SIZE_0_1, "configs only grow");

/* Held for a few hundred bytes of copying at most, so waiting is not worth a sleep. */
static void lock(struct vmemdev_linux_memory *memory)
{
	while (__atomic_exchange_n(&memory->lock_, 1, __ATOMIC_ACQUIRE) != 0)
		sched_yield();
}

static void unlock(struct vmemdev_linux_memory *memory)
{
	__atomic_store_n(&memory->lock_, 0, __ATOMIC_RELEASE);
}

int memory_fail(struct vmemdev_linux_memory *memory, int err, int code, const char *format, ...)
{
	struct vmemdev_linux_error error = { .code = code };
	va_list args;

	va_start(args, format);
	vsnprintf(error.text, sizeof(error.text), format, args);
	va_end(args);
	lock(memory);
	memory->error_ = error;
	unlock(memory);
	return err;
}

void memory_count(struct vmemdev_linux_memory *memory, const struct vmemdev_linux_counts *more)
{
	struct vmemdev_linux_counts *counts = &memory->counts_;

	lock(memory);
	counts->process_madvise += more->process_madvise;
	counts->madvise += more->madvise;
	counts->fallocate += more->fallocate;
	counts->populate += more->populate;
	counts->protect += more->protect;
	counts->bytes += more->bytes;
	counts->bytes_left += more->bytes_left;
	unlock(memory);
}

/*
 * Copy a caller's config, which may be of an older or newer release: what it lacks is
 * zero, and what we do not know must be. The pure library has the same rule in a
 * function of its own, which nobody outside it may call.
 */
static int take(void *dst, size_t size, size_t oldest, const void *src)
{
	const uint8_t *bytes = src;
	uint32_t given;

	memcpy(&given, src, sizeof(given));
	if (given < oldest)
		return VMEMDEV_E_ABI;
	for (size_t i = size; i < given; i++) {
		if (bytes[i] != 0)
			return VMEMDEV_E_ABI;
	}
	memset(dst, 0, size);
	memcpy(dst, src, given < size ? given : size);
	return 0;
}

static bool all_zero(const uint8_t *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		if (bytes[i] != 0)
			return false;
	}
	return true;
}

int vmemdev_linux_memory_init(struct vmemdev_linux_memory *memory, size_t memory_size,
			      const struct vmemdev_linux_config *config)
{
	struct vmemdev_linux_config given = { .struct_size = sizeof(given) };
	int err;

	if (memory == NULL)
		return VMEMDEV_E_INVAL;
	if (memory_size != sizeof(*memory))
		return VMEMDEV_E_ABI;
	if (config != NULL) {
		err = take(&given, sizeof(given), CONFIG_SIZE_0_1, config);
		if (err != 0)
			return err;
		if (!all_zero(given.pad_, sizeof(given.pad_)))
			return VMEMDEV_E_INVAL;
	}
	memset(memory, 0, sizeof(*memory));
	memory->page_size_ = (uint64_t)sysconf(_SC_PAGESIZE);
	memory->vectored_ = !given.single_calls && vector_probe((size_t)memory->page_size_);
	return 0;
}

void vmemdev_linux_memory_finish(struct vmemdev_linux_memory *memory)
{
	for (uint32_t i = 0; i < memory->count_; i++)
		ram_unmap(&memory->ram_[i]);
	memory->count_ = 0;
}

/* Values by themselves, whatever else is there. */
static int check_values(struct vmemdev_linux_memory *memory,
			const struct vmemdev_linux_ram_config *c)
{
	if (c->backing > VMEMDEV_LINUX_FILE)
		return memory_fail(memory, VMEMDEV_E_INVAL, 0,
				   "guest memory at 0x%" PRIx64 ": backing is %" PRIu32
				   ": set it to "
				   "VMEMDEV_LINUX_ANONYMOUS, MEMFD or FILE",
				   c->gpa, c->backing);
	if (c->mapping > VMEMDEV_LINUX_PRIVATE)
		return memory_fail(memory, VMEMDEV_E_INVAL, 0,
				   "guest memory at 0x%" PRIx64 ": mapping is %" PRIu32
				   ": set it to "
				   "VMEMDEV_LINUX_USUAL, SHARED or PRIVATE",
				   c->gpa, c->mapping);
	if (c->guarded && c->backing == VMEMDEV_LINUX_ANONYMOUS &&
	    c->mapping == VMEMDEV_LINUX_SHARED)
		return memory_fail(memory, VMEMDEV_E_INVAL, 0,
				   "guest memory at 0x%" PRIx64
				   ": guarded is set with shared ANONYMOUS memory, which cannot be "
				   "discarded once it is shut: take MEMFD",
				   c->gpa);
	if (!all_zero(c->pad_, sizeof(c->pad_)))
		return memory_fail(memory, VMEMDEV_E_INVAL, 0,
				   "guest memory at 0x%" PRIx64
				   ": the padding of the config is not zero: "
				   "zero the whole struct before you set what you need",
				   c->gpa);
	if (c->backing != VMEMDEV_LINUX_FILE && c->file_offset != 0)
		return memory_fail(memory, VMEMDEV_E_INVAL, 0,
				   "guest memory at 0x%" PRIx64 ": file_offset is %" PRIu64
				   ", but there is no "
				   "file: leave it 0, or set backing to VMEMDEV_LINUX_FILE",
				   c->gpa, c->file_offset);
	if (c->transparent_huge && (c->page_size != 0 || c->backing == VMEMDEV_LINUX_FILE))
		return memory_fail(memory, VMEMDEV_E_INVAL, 0,
				   "guest memory at 0x%" PRIx64
				   ": transparent_huge is set with %s: it is for "
				   "ANONYMOUS and MEMFD with page_size 0; drop one of the two",
				   c->gpa, c->page_size != 0 ? "a page_size" : "a file");
	return 0;
}

/* Sizes and addresses, once the page size is known. */
static int check_place(struct vmemdev_linux_memory *memory,
		       const struct vmemdev_linux_ram_config *c, uint64_t page)
{
	if (c->size == 0 || c->size % page != 0)
		return memory_fail(memory, VMEMDEV_E_SIZE, 0,
				   "guest memory at 0x%" PRIx64 ": size is %" PRIu64
				   " bytes: it must be a "
				   "multiple of the page size, %" PRIu64
				   ", and above 0; the next one is %" PRIu64,
				   c->gpa, c->size, page, (c->size / page + 1) * page);
	if (c->gpa % page != 0)
		return memory_fail(
			memory, VMEMDEV_E_ALIGN, 0,
			"guest memory at 0x%" PRIx64 ": the address is no multiple of the page "
			"size, %" PRIu64 ": move it to 0x%" PRIx64 " or choose smaller pages",
			c->gpa, page, c->gpa - c->gpa % page);
	if (c->size - 1 > UINT64_MAX - c->gpa || c->size > PTRDIFF_MAX)
		return memory_fail(memory, VMEMDEV_E_SIZE, 0,
				   "guest memory at 0x%" PRIx64 ": size 0x%" PRIx64
				   " passes the end of the "
				   "address space: make it smaller",
				   c->gpa, c->size);
	if (c->file_offset % page != 0)
		return memory_fail(memory, VMEMDEV_E_ALIGN, 0,
				   "guest memory at 0x%" PRIx64 ": file_offset %" PRIu64
				   " is no multiple of "
				   "the page size, %" PRIu64 ": move the data in the file",
				   c->gpa, c->file_offset, page);
	return 0;
}

/* Where the new stretch belongs in the table, into *index. */
static int check_neighbours(struct vmemdev_linux_memory *memory,
			    const struct vmemdev_linux_ram_config *c, uint32_t *index)
{
	uint32_t i;

	if (memory->count_ == VMEMDEV_LINUX_RAM_MAX)
		return memory_fail(memory, VMEMDEV_E_NOSPC, 0,
				   "guest memory at 0x%" PRIx64
				   ": there are %d stretches already, and no "
				   "more fit: join some",
				   c->gpa, VMEMDEV_LINUX_RAM_MAX);
	for (i = 0; i < memory->count_; i++) {
		const struct vmemdev_linux_ram *ram = &memory->ram_[i];

		if (c->gpa < ram->gpa && ram->gpa - c->gpa >= c->size)
			break;
		if (c->gpa < ram->gpa || c->gpa - ram->gpa < ram->size)
			return memory_fail(
				memory, VMEMDEV_E_OVERLAP, 0,
				"guest memory at 0x%" PRIx64 " to 0x%" PRIx64 " overlaps the "
				"stretch at 0x%" PRIx64 " to 0x%" PRIx64 ": move or shorten one "
				"of them",
				c->gpa, c->gpa + (c->size - 1), ram->gpa,
				ram->gpa + (ram->size - 1));
	}
	*index = i;
	return 0;
}

static void insert(struct vmemdev_linux_memory *memory, uint32_t index,
		   const struct vmemdev_linux_ram *ram)
{
	uint32_t behind = memory->count_ - index;

	memmove(&memory->ram_[index + 1], &memory->ram_[index], behind * sizeof(*ram));
	memmove(&memory->regions_[index + 1], &memory->regions_[index],
		behind * sizeof(memory->regions_[0]));
	memory->ram_[index] = *ram;
	memory->regions_[index] = (struct vmemdev_region){
		.gpa = ram->gpa,
		.len = ram->size,
		.host = ram->host,
		.flags = ram->keep ? VMEMDEV_REGION_KEEP : 0,
	};
	memory->count_++;
}

int vmemdev_linux_add_ram(struct vmemdev_linux_memory *memory,
			  const struct vmemdev_linux_ram_config *config)
{
	struct vmemdev_linux_ram_config given;
	struct vmemdev_linux_ram ram;
	uint64_t page = 0;
	uint32_t index = 0;
	int err;

	if (memory == NULL)
		return VMEMDEV_E_INVAL;
	if (config == NULL)
		return memory_fail(memory, VMEMDEV_E_INVAL, 0,
				   "guest memory: the config is NULL: pass a "
				   "struct vmemdev_linux_ram_config");
	if (take(&given, sizeof(given), RAM_CONFIG_SIZE_0_1, config) != 0)
		return memory_fail(
			memory, VMEMDEV_E_ABI, 0,
			"guest memory: struct_size is %" PRIu32 ", this library's is %zu: set it "
			"to sizeof(struct vmemdev_linux_ram_config), zero the rest, and build "
			"against the header of the library in use",
			config->struct_size, sizeof(given));
	err = check_values(memory, &given);
	if (err == 0)
		err = ram_page_size(memory, &given, &page);
	if (err == 0)
		err = check_place(memory, &given, page);
	if (err == 0)
		err = check_neighbours(memory, &given, &index);
	if (err != 0)
		return err;
	ram = (struct vmemdev_linux_ram){
		.gpa = given.gpa,
		.size = given.size,
		.page_size = page,
		.file_offset = given.file_offset,
		.fd = -1,
		.backing = given.backing,
		.shared = given.mapping == VMEMDEV_LINUX_SHARED ||
			  (given.mapping == VMEMDEV_LINUX_USUAL &&
			   given.backing != VMEMDEV_LINUX_ANONYMOUS),
		.populate = given.populate,
		.guarded = given.guarded,
		.keep = given.keep,
	};
	err = ram_map(memory, &given, &ram);
	if (err == 0)
		insert(memory, index, &ram);
	return err;
}

const struct vmemdev_linux_ram *vmemdev_linux_ram_at(const struct vmemdev_linux_memory *memory,
						     uint32_t index)
{
	return index < memory->count_ ? &memory->ram_[index] : NULL;
}

struct vmemdev_region *vmemdev_linux_regions(struct vmemdev_linux_memory *memory, uint32_t *count)
{
	*count = memory->count_;
	return memory->regions_;
}

struct vmemdev_region *vmemdev_linux_region(struct vmemdev_linux_memory *memory, uint64_t gpa)
{
	for (uint32_t i = 0; i < memory->count_; i++) {
		if (gpa >= memory->ram_[i].gpa && gpa - memory->ram_[i].gpa < memory->ram_[i].size)
			return &memory->regions_[i];
	}
	return NULL;
}

void vmemdev_linux_last_error(struct vmemdev_linux_memory *memory,
			      struct vmemdev_linux_error *error)
{
	lock(memory);
	*error = memory->error_;
	unlock(memory);
}

void vmemdev_linux_memory_get_counts(struct vmemdev_linux_memory *memory,
				     struct vmemdev_linux_counts *counts)
{
	lock(memory);
	*counts = memory->counts_;
	unlock(memory);
}
