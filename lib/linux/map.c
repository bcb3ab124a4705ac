/* SPDX-License-Identifier: BSD-3-Clause */
/* Making and mapping one stretch of guest memory, for each backing. */
#include "linux/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/falloc.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define MIB2 (UINT64_C(2) << 20)
#define HUGE_SHIFT 26 /* of the page size's logarithm in flags: MAP_HUGE_*, MFD_HUGE_* */

static unsigned log2_of(uint64_t power)
{
	return (unsigned)__builtin_ctzll(power);
}

/* A number that the kernel shows for one size of huge pages. Returns -1 if it has none. */
static long huge_number(uint64_t page_size, const char *what)
{
	char path[96], text[24];
	ssize_t got;
	int fd;

	snprintf(path, sizeof(path), "/sys/kernel/mm/hugepages/hugepages-%" PRIu64 "kB/%s",
		 page_size / 1024, what);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	got = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (got <= 0)
		return -1;
	text[got] = '\0';
	return strtol(text, NULL, 10);
}

static int file_page_size(struct vmemdev_linux_memory *memory,
			  const struct vmemdev_linux_ram_config *config, uint64_t *page_size)
{
	struct stat status;
	struct statfs system;

	if (fstat(config->fd, &status) != 0 || fstatfs(config->fd, &system) != 0)
		return memory_fail(memory, VMEMDEV_E_INVAL, errno,
				   "guest memory at 0x%" PRIx64
				   ": fd %d: %s: pass the descriptor of an open "
				   "file",
				   config->gpa, config->fd, strerror(errno));
	if (!S_ISREG(status.st_mode))
		return memory_fail(memory, VMEMDEV_E_INVAL, 0,
				   "guest memory at 0x%" PRIx64
				   ": fd %d is no regular file (mode 0%o): open a "
				   "file on a disk, tmpfs or hugetlbfs",
				   config->gpa, config->fd, (unsigned)status.st_mode);
	*page_size = memory->page_size_;
	if ((uint32_t)system.f_type == HUGETLBFS_MAGIC)
		*page_size = (uint64_t)system.f_bsize;
	if (config->page_size != 0 && config->page_size != *page_size)
		return memory_fail(
			memory, VMEMDEV_E_SIZE, 0,
			"guest memory at 0x%" PRIx64 ": page_size is %" PRIu64 ", but the file's "
			"pages have %" PRIu64 " bytes: leave it 0, or take a file on a hugetlbfs "
			"with such pages",
			config->gpa, config->page_size, *page_size);
	return 0;
}

int ram_page_size(struct vmemdev_linux_memory *memory,
		  const struct vmemdev_linux_ram_config *config, uint64_t *page_size)
{
	uint64_t page = config->page_size;

	if (config->backing == VMEMDEV_LINUX_FILE)
		return file_page_size(memory, config, page_size);
	*page_size = page != 0 ? page : memory->page_size_;
	if (*page_size == memory->page_size_)
		return 0;
	if ((page & (page - 1)) != 0 || huge_number(page, "nr_hugepages") < 0)
		return memory_fail(
			memory, VMEMDEV_E_SIZE, 0,
			"guest memory at 0x%" PRIx64 ": page_size is %" PRIu64 ", and this kernel "
			"has no such pages: set 0 for pages of %" PRIu64 ", or one of the sizes in "
			"/sys/kernel/mm/hugepages",
			config->gpa, page, memory->page_size_);
	return 0;
}

/*
 * Address space for @ram, with its address congruent to gpa modulo 2 MiB (and the page
 * size): only then can KVM map host huge pages as such. Returns MAP_FAILED if there is none.
 */
static void *reserve(const struct vmemdev_linux_ram *ram)
{
	uint64_t align = ram->size >= MIB2 && ram->page_size < MIB2 ? MIB2 : ram->page_size;
	size_t size = (size_t)ram->size, head;
	uint8_t *start;

	start = mmap(NULL, size + (size_t)align, PROT_NONE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (start == MAP_FAILED)
		return MAP_FAILED;
	head = (size_t)((ram->gpa - (uintptr_t)start) % align);
	if (head > 0)
		munmap(start, head);
	munmap(start + head + size, (size_t)align - head);
	return start + head;
}

/* Say why the kernel did not give memory; ENOMEM with huge pages has one usual reason. */
static int refused(struct vmemdev_linux_memory *memory, const struct vmemdev_linux_ram *ram,
		   int code, const char *what)
{
	uint64_t page = ram->page_size;

	if (page != memory->page_size_ && code == ENOMEM)
		return memory_fail(
			memory, VMEMDEV_E_HOST, code,
			"guest memory at 0x%" PRIx64 ": %" PRIu64 " huge pages of %" PRIu64 " KiB "
			"are needed, and %ld of %ld are free: reserve more in /sys/kernel/mm/"
			"hugepages/hugepages-%" PRIu64 "kB/nr_hugepages, or set no_reserve",
			ram->gpa, ram->size / page, page / 1024,
			huge_number(page, "free_hugepages"), huge_number(page, "nr_hugepages"),
			page / 1024);
	return memory_fail(memory, VMEMDEV_E_HOST, code,
			   "guest memory at 0x%" PRIx64 ", %" PRIu64 " bytes: %s: %s%s", ram->gpa,
			   ram->size, what, strerror(code),
			   code == ENOMEM ? ": make it smaller, or raise the limits (ulimit -v, "
					    "vm.overcommit_memory, vm.max_map_count)"
					  : "");
}

/* A memfd that nobody can shorten under the guest: that would end us with SIGBUS. */
static int open_memfd(struct vmemdev_linux_memory *memory, struct vmemdev_linux_ram *ram)
{
	unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
	int code;

	if (ram->page_size != memory->page_size_)
		flags |= MFD_HUGETLB | log2_of(ram->page_size) << HUGE_SHIFT;
	ram->fd = memfd_create("vmemdev-ram", flags);
	if (ram->fd < 0)
		return refused(memory, ram, errno, "memfd_create");
	if (ftruncate(ram->fd, (off_t)ram->size) == 0 &&
	    fcntl(ram->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
		return 0;
	code = errno;
	close(ram->fd);
	return refused(memory, ram, code, "sizing the memfd");
}

/* Everything that would else go wrong when the guest runs: a hole at the end, no holes. */
static int check_file(struct vmemdev_linux_memory *memory, const struct vmemdev_linux_ram *ram)
{
	uint64_t end = ram->file_offset + ram->size, page = ram->page_size, size;
	int access = fcntl(ram->fd, F_GETFL) & O_ACCMODE;
	struct stat status;

	if (fstat(ram->fd, &status) != 0)
		return refused(memory, ram, errno, "fstat");
	size = (uint64_t)status.st_size;
	if (end < ram->size || end > size)
		return memory_fail(memory, VMEMDEV_E_SIZE, 0,
				   "guest memory at 0x%" PRIx64 ": the file has %" PRIu64
				   " bytes, and %" PRIu64 " from offset %" PRIu64
				   " are asked for: make the file longer (truncate) or "
				   "the memory smaller",
				   ram->gpa, size, ram->size, ram->file_offset);
	if (access == O_WRONLY || (ram->shared && access != O_RDWR))
		return memory_fail(memory, VMEMDEV_E_INVAL, 0,
				   "guest memory at 0x%" PRIx64
				   ": fd %d was opened %s: open it O_RDWR%s",
				   ram->gpa, ram->fd, access == O_WRONLY ? "O_WRONLY" : "O_RDONLY",
				   access == O_WRONLY ? "" : ", or map it VMEMDEV_LINUX_PRIVATE");
	if (!ram->shared || ram->keep)
		return 0;
	/* Beyond the file's end a hole changes nothing, but is refused where none can be. */
	size = (size + page - 1) / page * page;
	if (fallocate(ram->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)size,
		      (off_t)page) != 0)
		return memory_fail(
			memory, VMEMDEV_E_HOST, errno,
			"guest memory at 0x%" PRIx64 ": fd %d: punching holes: %s: without them "
			"nothing can be discarded: use ext4, xfs, btrfs, tmpfs or hugetlbfs, or set "
			"keep",
			ram->gpa, ram->fd, strerror(errno));
	return 0;
}

static int open_file(struct vmemdev_linux_memory *memory, const struct vmemdev_linux_ram *ram,
		     int given, int *fd)
{
	struct vmemdev_linux_ram open = *ram;
	int err;

	open.fd = fcntl(given, F_DUPFD_CLOEXEC, 0);
	if (open.fd < 0)
		return refused(memory, ram, errno, "duplicating the file descriptor");
	err = check_file(memory, &open);
	if (err != 0) {
		close(open.fd);
		return err;
	}
	*fd = open.fd;
	return 0;
}

static int map_pages(struct vmemdev_linux_memory *memory,
		     const struct vmemdev_linux_ram_config *config, struct vmemdev_linux_ram *ram)
{
	int flags = MAP_FIXED | (ram->shared ? MAP_SHARED : MAP_PRIVATE), code;
	size_t size = (size_t)ram->size;
	const char *what = "mmap";
	void *host;

	if (ram->fd < 0)
		flags |= MAP_ANONYMOUS;
	if (ram->fd < 0 && ram->page_size != memory->page_size_)
		flags |= MAP_HUGETLB | (int)(log2_of(ram->page_size) << HUGE_SHIFT);
	if (config->no_reserve)
		flags |= MAP_NORESERVE;
	host = reserve(ram);
	if (host == MAP_FAILED)
		return refused(memory, ram, errno, "reserving address space");
	ram->host = mmap(host, size, config->guarded ? PROT_NONE : PROT_READ | PROT_WRITE, flags,
			 ram->fd, (off_t)ram->file_offset);
	if (ram->host != MAP_FAILED) {
		if (!config->transparent_huge || madvise(host, size, MADV_HUGEPAGE) == 0)
			return 0;
		what = "asking for transparent huge pages, which this kernel may lack";
	}
	code = errno;
	munmap(host, size);
	return refused(memory, ram, code, what);
}

int ram_map(struct vmemdev_linux_memory *memory, const struct vmemdev_linux_ram_config *config,
	    struct vmemdev_linux_ram *ram)
{
	int err = 0;

	if (ram->backing == VMEMDEV_LINUX_MEMFD)
		err = open_memfd(memory, ram);
	if (ram->backing == VMEMDEV_LINUX_FILE)
		err = open_file(memory, ram, config->fd, &ram->fd);
	if (err != 0)
		return err;
	err = map_pages(memory, config, ram);
	if (err != 0 && ram->fd >= 0)
		close(ram->fd);
	return err;
}

void ram_unmap(const struct vmemdev_linux_ram *ram)
{
	munmap(ram->host, (size_t)ram->size);
	if (ram->fd >= 0)
		close(ram->fd);
}
