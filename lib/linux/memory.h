/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VMEMDEV_LINUX_MEMORY_H
#define VMEMDEV_LINUX_MEMORY_H
/*
 * What the files of lib/linux share. They are visible to programs that link the static
 * archive, so they carry the library's prefix there and short names in the source.
 */
#include <sys/uio.h>
#include <vmemdev/linux.h>

#define memory_fail vmemdev_linux_i_memory_fail
#define memory_count vmemdev_linux_i_memory_count
#define ram_clip vmemdev_linux_i_ram_clip
#define ram_map vmemdev_linux_i_ram_map
#define ram_page_size vmemdev_linux_i_ram_page_size
#define ram_unmap vmemdev_linux_i_ram_unmap
#define ranges_check vmemdev_linux_i_ranges_check
#define vector_probe vmemdev_linux_i_vector_probe

/*
 * Keep the reason of a failure; @code is an errno, or 0 if no system call failed.
 * Returns @err.
 */
int memory_fail(struct vmemdev_linux_memory *memory, int err, int code, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

/* Add @more to the counters. */
void memory_count(struct vmemdev_linux_memory *memory, const struct vmemdev_linux_counts *more);

/* Find out which pages a stretch will have, into *page_size. Returns 0 or an error, kept. */
int ram_page_size(struct vmemdev_linux_memory *memory,
		  const struct vmemdev_linux_ram_config *config, uint64_t *page_size);

/*
 * Make and map what @ram says; fills in its host and fd. All sizes and addresses were
 * checked. Returns 0 or an error, kept, with nothing left behind.
 */
int ram_map(struct vmemdev_linux_memory *memory, const struct vmemdev_linux_ram_config *config,
	    struct vmemdev_linux_ram *ram);
void ram_unmap(const struct vmemdev_linux_ram *ram);

/* The part of a checked range that lies in @ram, in the host. Returns whether there is one. */
bool ram_clip(const struct vmemdev_linux_ram *ram, const struct vmemdev_range *range,
	      struct iovec *part);

/* Whether each range begins and ends in the memory. Returns 0 or an error, kept. */
int ranges_check(struct vmemdev_linux_memory *memory, const struct vmemdev_range *ranges,
		 uint32_t count);

/* Whether process_madvise() discards an array of ranges of this process, seen by its effect. */
bool vector_probe(size_t page_size);

#endif
