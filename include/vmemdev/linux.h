/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VMEMDEV_LINUX_H
#define VMEMDEV_LINUX_H
/**
 * @file linux.h - guest memory, discarding and flushing for hosts on Linux (library
 * vmemdev-linux, beside the pure library).
 *
 * Purpose: allocate guest memory (anonymous, memfd, huge pages or a file), describe it
 * to the devices, and give pages back to the kernel with the fewest system calls it
 * allows. The ready ops tables make a balloon or a memory device a dozen lines:
 *
 *     struct vmemdev_linux_memory memory;
 *     struct vmemdev_linux_ram_config ram = {.struct_size = sizeof(ram), .size = 1 << 30};
 *     struct vmemdev_guest_config guest_config = {.struct_size = sizeof(guest_config)};
 *
 *     vmemdev_linux_memory_init(&memory, sizeof(memory), NULL);
 *     if (vmemdev_linux_add_ram(&memory, &ram) < 0) {
 *             vmemdev_linux_last_error(&memory, &error);
 *             fail(error.text);
 *     }
 *     guest_config.regions = vmemdev_linux_regions(&memory, &guest_config.region_count);
 *     vmemdev_guest_init(&guest, sizeof(guest), &guest_config);
 *     balloon_config.device.guest = &guest;
 *     balloon_config.ops = vmemdev_linux_balloon_ops();
 *     balloon_config.ctx = &memory;
 *
 * Trust: sizes, paths and ranges are the host's. Ranges that devices pass on are
 * checked against the memory once more before a system call is made.
 *
 * Threads: the ops, vmemdev_linux_discard(), vmemdev_linux_last_error() and
 * vmemdev_linux_memory_get_counts() may overlap each other on one memory, so that devices
 * on different threads can share it. No other two calls on one memory may overlap. A
 * flusher has rules of its own: see there.
 */
#include <vmemdev/balloon.h>
#include <vmemdev/mem.h>
#include <vmemdev/pmem.h>

#ifdef __cplusplus
extern "C" {
#endif

/** What a stretch of guest memory is made of. */
enum vmemdev_linux_backing {
	VMEMDEV_LINUX_ANONYMOUS = 0, /* memory of this process */
	VMEMDEV_LINUX_MEMFD = 1,     /* a memfd: can be handed to other processes */
	VMEMDEV_LINUX_FILE = 2       /* a regular file that the caller opened */
};

/** How it is mapped, and with it what a discard does. */
enum vmemdev_linux_mapping {
	VMEMDEV_LINUX_USUAL = 0,  /* ANONYMOUS: private; MEMFD, FILE: shared */
	VMEMDEV_LINUX_SHARED = 1, /* discarding frees the pages for all who map them, and the
	                           * file's blocks */
	VMEMDEV_LINUX_PRIVATE = 2 /* copy on write; discarding frees this process's copy */
};

/** Why a call failed, for people. */
struct vmemdev_linux_error {
	int code;       /* errno of the system call that failed, 0 if none did */
	char text[380]; /* what was given, what was expected, what to do; "" if nothing failed */
};

/** Zero it, set what you need. */
struct vmemdev_linux_config {
	uint32_t struct_size; /* sizeof(struct vmemdev_linux_config) */
	/**
	 * Never call process_madvise(), which gives back an array of ranges at once,
	 * not even to try it: for hosts whose seccomp filter kills for it.
	 */
	bool single_calls;
	uint8_t pad_[3];      /* zero */
};

/** One stretch of guest memory. Zero it, set what you need. */
struct vmemdev_linux_ram_config {
	uint32_t struct_size;  /* sizeof(struct vmemdev_linux_ram_config) */
	uint32_t backing;      /* enum vmemdev_linux_backing */
	uint64_t gpa;          /* guest-physical start, a multiple of the page size */
	uint64_t size;         /* bytes, above 0, a multiple of the page size */
	uint64_t page_size;    /* 0: the system's, or the file's on hugetlbfs; else a size of
	                        * huge pages (2 MiB, 1 GiB) that the kernel has */
	uint64_t file_offset;  /* FILE: where in the file it starts, a multiple of the page
	                        * size; the file must reach to its end */
	int fd;                /* FILE: the open file; may be closed after the call */
	uint32_t mapping;      /* enum vmemdev_linux_mapping */
	bool transparent_huge; /* ask for transparent huge pages, where page_size is 0 */
	bool no_reserve;       /* do not set huge pages or swap aside: for the region of a
	                        * memory device, most of which is never plugged. A huge page
	                        * that is missing at the first touch is then a SIGBUS */
	bool populate;         /* a memory device's plug brings all pages or fails, which the
	                        * guest sees as busy, instead of the first touch; Linux 5.14 */
	bool keep;             /* never discard it (VMEMDEV_REGION_KEEP): pinned for a
	                        * device (VFIO), holding data that must last */
	bool guarded;          /* a memory device's region: nothing of it can be touched
	                        * (mprotect) but what is plugged; a touch is a SIGSEGV, of a
	                        * vCPU a KVM_RUN that fails with EFAULT. Each plugged run takes
	                        * two of the process's mappings (vm.max_map_count, 65530), and
	                        * the guest chooses the runs: have no more than some 20,000
	                        * blocks. Set unplugged_inaccessible in the device. Not for
	                        * shared ANONYMOUS */
	uint8_t pad_[3];       /* zero */
};

/** Most stretches in one memory. */
#define VMEMDEV_LINUX_RAM_MAX 16

/** One stretch, as it was made. Read only. */
struct vmemdev_linux_ram {
	uint64_t gpa, size, page_size, file_offset;
	void *host;       /* where gpa is mapped; for 2 MiB and more, it lies in its 2 MiB as
	                   * gpa does, so that KVM can map huge pages */
	int fd;           /* to hand to other processes; -1: ANONYMOUS */
	uint32_t backing; /* enum vmemdev_linux_backing */
	bool shared, populate, keep, guarded;
	uint8_t pad_[4];
};

/** What was done since init. Counters wrap. */
struct vmemdev_linux_counts {
	uint64_t process_madvise; /* system calls that discard, by kind */
	uint64_t madvise;
	uint64_t fallocate;
	uint64_t populate;        /* madvise calls that bring memory */
	uint64_t protect;         /* mprotect calls on guarded stretches */
	uint64_t bytes;           /* given back, whether pages were there or not */
	uint64_t bytes_left;      /* asked to be given back, but left alone: parts of pages,
	                           * and memory marked to be kept */
};

/** Guest memory. Fields are private. Must not be moved while devices use it. */
struct vmemdev_linux_memory {
	struct vmemdev_linux_ram ram_[VMEMDEV_LINUX_RAM_MAX]; /* ascending */
	struct vmemdev_region regions_[VMEMDEV_LINUX_RAM_MAX]; /* the same for devices */
	struct vmemdev_linux_counts counts_; /* under lock_ */
	struct vmemdev_linux_error error_;   /* under lock_ */
	uint64_t page_size_;                 /* the system's */
	uint32_t count_;
	uint32_t lock_;                      /* 1 while held; atomic */
	uint8_t vectored_;                   /* process_madvise() was seen to work */
	uint8_t pad_[7];
};

/**
 * Prepare @memory, empty; @memory_size is the caller's sizeof(*memory). @config may be
 * NULL: all defaults. Finds out by trying whether the kernel discards arrays of ranges.
 * returns: 0; VMEMDEV_E_ABI; VMEMDEV_E_INVAL (NULL, padding not 0). On error @memory is
 * unchanged.
 */
int vmemdev_linux_memory_init(struct vmemdev_linux_memory *memory, size_t memory_size,
			      const struct vmemdev_linux_config *config);

/**
 * Unmap and close everything; @memory is empty again. Only when no device and no vCPU
 * uses the memory any more. Does nothing on an empty or a zeroed memory.
 */
void vmemdev_linux_memory_finish(struct vmemdev_linux_memory *memory);

/**
 * Make one stretch of zeroed memory (FILE: with the file's content) and map it. Stretches
 * may come in any order. Not while a device uses the table of vmemdev_linux_regions().
 * returns: 0, or with the reason in vmemdev_linux_last_error() and @memory otherwise
 * unchanged: VMEMDEV_E_ABI; VMEMDEV_E_INVAL (NULL, an unknown value, a field that does not
 * fit the backing), VMEMDEV_E_SIZE (size or page_size, or the file is too short),
 * VMEMDEV_E_ALIGN (gpa, file_offset), VMEMDEV_E_OVERLAP, VMEMDEV_E_NOSPC
 * (VMEMDEV_LINUX_RAM_MAX stretches are there), VMEMDEV_E_HOST (the kernel refused: no
 * memory, no huge pages reserved, a file system that cannot punch holes, ...)
 */
int vmemdev_linux_add_ram(struct vmemdev_linux_memory *memory,
			  const struct vmemdev_linux_ram_config *config);

/**
 * Stretch number @index in ascending order of gpa; good until the next add or finish.
 * returns: NULL after the last
 */
const struct vmemdev_linux_ram *vmemdev_linux_ram_at(const struct vmemdev_linux_memory *memory,
						     uint32_t index);

/**
 * The table for vmemdev_guest_init(): ascending, one entry a stretch, *@count entries.
 * It lives in @memory. The entry of a stretch that serves as a memory device's region is
 * to be filled in anew by the device:
 *
 *     region = vmemdev_linux_region(&memory, mem_gpa);
 *     vmemdev_mem_region(&mem, region->host, region);
 *     vmemdev_guest_changed(&guest);
 */
struct vmemdev_region *vmemdev_linux_regions(struct vmemdev_linux_memory *memory,
					     uint32_t *count);

/** The entry that @gpa lies in. returns: NULL if it lies in none */
struct vmemdev_region *vmemdev_linux_region(struct vmemdev_linux_memory *memory, uint64_t gpa);

/**
 * Give the host memory of @ranges back to the kernel. Afterwards they read zero, but a
 * private mapping of a MEMFD or FILE reads as the file again. The guest may touch them
 * at any time: the kernel brings new pages. With huge pages there must be a free one
 * then; if not, the kernel ends the process with SIGBUS.
 *
 * Ranges may come in any order, touch and overlap; they are merged. Only whole pages of
 * the backing are given back: the first and last part of one stay as they are (so the
 * blocks of a memory device should be no smaller than its stretch's huge pages). A range
 * must begin and end in the memory; holes between stretches and stretches marked to be
 * kept are passed over. For up to 1024 ranges the system calls are:
 *
 *     private, Linux 6.14   one process_madvise(MADV_DONTNEED) for all ranges together,
 *                           or for each 2 GiB of them; for a single one, one madvise()
 *     private otherwise     one madvise(MADV_DONTNEED) a merged range; huge pages
 *                           want Linux 5.18
 *     shared MEMFD, FILE    one fallocate(PUNCH_HOLE | KEEP_SIZE) a merged range
 *     shared ANONYMOUS      one madvise(MADV_REMOVE) a merged range
 *
 * Uses 17 KiB of stack.
 * returns: 0, or with the reason in vmemdev_linux_last_error(): VMEMDEV_E_INVAL (NULL),
 * VMEMDEV_E_SIZE (a range is empty, passes 2^64, or begins or ends outside the memory:
 * nothing was done); VMEMDEV_E_HOST (the kernel refused: what was before that is gone)
 */
int vmemdev_linux_discard(struct vmemdev_linux_memory *memory,
			  const struct vmemdev_range *ranges, uint32_t count);

/**
 * Ops whose ctx is a struct vmemdev_linux_memory: inflate and report discard. There is no
 * deflate, as a touch brings the page back. With huge pages, of which only whole ones are
 * given back, have the balloon track them (struct vmemdev_balloon_track).
 * returns: never NULL; lives for ever
 */
const struct vmemdev_balloon_ops *vmemdev_linux_balloon_ops(void);

/**
 * Ops whose ctx is a struct vmemdev_linux_memory: unplug discards; plug brings the pages
 * of stretches marked populate, or answers VMEMDEV_E_BUSY where memory is short, having
 * brought nothing. Of guarded stretches, plug opens the ranges and unplug shuts them; a
 * host that loads a device's record calls plug for each run of vmemdev_mem_next(). If the
 * kernel refuses to discard, as it does for locked memory (mlock), what was shut is opened
 * again, of unplug-all with many runs also what lies between them.
 * returns: never NULL; lives for ever
 */
const struct vmemdev_mem_ops *vmemdev_linux_mem_ops(void);

/** A copy of why the last call failed that failed, on whatever thread. */
void vmemdev_linux_last_error(struct vmemdev_linux_memory *memory,
			      struct vmemdev_linux_error *error);

/** The counters. */
void vmemdev_linux_memory_get_counts(struct vmemdev_linux_memory *memory,
				 struct vmemdev_linux_counts *counts);

/**
 * Has what a guest wrote into a file's shared mapping made to last, on a thread of its own, so
 * that no vCPU and no event loop waits for the disk. One file, one persistent memory device:
 *
 *     vmemdev_linux_flusher_init(&flusher, sizeof(flusher), fd);
 *     pmem_config.ops = vmemdev_linux_pmem_ops();
 *     pmem_config.ctx = &flusher;
 *     ...
 *     when vmemdev_linux_flusher_fd(&flusher) is readable, on the device's thread:
 *     if (vmemdev_linux_flusher_take(&flusher, &token, &result) > 0)
 *             vmemdev_pmem_complete(&pmem, token, result);
 *     vmemdev_device_run(vmemdev_pmem_device(&pmem), 64);
 *
 * The kernel is asked by fdatasync(). It tells each lost write once to each open file: so
 * give the flusher an open file that nobody else syncs. Map the file shared: what is
 * written to a private mapping reaches no disk. A memfd, or a file on tmpfs, is flushed
 * without complaint and lasts no longer than the machine.
 *
 * Threads: all calls on one flusher, and its ops, from one thread at a time. The flusher's
 * own thread has all signals blocked, calls nothing of the host's and touches no guest
 * memory. Bounds: one thread, three descriptors, one fdatasync() at a time.
 *
 * Fields are private. Must not be moved after init.
 */
struct vmemdev_linux_flusher {
	struct vmemdev_linux_error error_; /* the worker's while it is at work */
	uint64_t thread_;                  /* a pthread_t, or 0 */
	uint64_t token_;
	int fd_, wake_, ended_;            /* the file; events to the worker and from it */
	int result_;
	uint32_t state_, stop_;            /* atomic */
};

/**
 * Prepare @flusher for the open file @fd, a regular file or a block device, which may be
 * closed afterwards, and start its thread; @flusher_size is the caller's sizeof(*flusher).
 * An @fd opened for reading only will do.
 * returns: 0; VMEMDEV_E_ABI or VMEMDEV_E_INVAL for a NULL, with @flusher unchanged; with
 * the reason in vmemdev_linux_flusher_last_error() and nothing left behind: VMEMDEV_E_INVAL
 * (@fd is of another kind), VMEMDEV_E_HOST (no descriptor or no thread to be had)
 */
int vmemdev_linux_flusher_init(struct vmemdev_linux_flusher *flusher, size_t flusher_size,
			       int fd);

/**
 * Wait for the flush that goes on, if one does, end the thread and close everything. An end
 * that was not taken is lost: take it first. Does nothing after an init that failed, on a
 * zeroed flusher, or twice.
 */
void vmemdev_linux_flusher_finish(struct vmemdev_linux_flusher *flusher);

/**
 * A descriptor for poll() and the like, readable when a flush has ended; at times without one.
 * Only to be polled; lives as long as @flusher.
 */
int vmemdev_linux_flusher_fd(const struct vmemdev_linux_flusher *flusher);

/**
 * Whether a flush has ended that was not taken yet: then *@token is the device's and *@result
 * is 0, or VMEMDEV_E_HOST with the reason in vmemdev_linux_flusher_last_error(). Never waits.
 * returns: 1; 0 if none has, with both unchanged; VMEMDEV_E_INVAL (NULL)
 */
int vmemdev_linux_flusher_take(struct vmemdev_linux_flusher *flusher, uint64_t *token,
			       int *result);

/**
 * Why init or the flush that was last taken failed. Not while a flush goes on: then, as if
 * nothing had failed.
 */
void vmemdev_linux_flusher_last_error(const struct vmemdev_linux_flusher *flusher,
				      struct vmemdev_linux_error *error);

/**
 * Ops whose ctx is a struct vmemdev_linux_flusher: flush starts one and answers
 * VMEMDEV_LATER, or VMEMDEV_E_STATE while another goes on or its end was not taken, as
 * after a device reset of the host's own making: take, complete, and only then go on.
 * returns: never NULL; lives for ever
 */
const struct vmemdev_pmem_ops *vmemdev_linux_pmem_ops(void);

#ifdef __cplusplus
}
#endif
#endif /* VMEMDEV_LINUX_H */
