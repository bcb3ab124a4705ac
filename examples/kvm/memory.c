// SPDX-License-Identifier: BSD-3-Clause
/*
 * Guest memory: allocated by lib/linux, mapped into the guest as KVM memory slots, and shown
 * to the devices as one table of regions. This and virtio.c are the two files that a VMM
 * author copies from.
 *
 * RAM lies below 3 GiB and, if there is more, from 4 GiB on. Each --mem device gets its whole
 * region as address space at once, but no memory behind it: that comes page by page when the
 * guest touches it.
 *
 * Nothing stops a hostile guest from touching what it has not plugged: the whole region is one
 * live KVM slot, so the host provides that memory too, and "requested" is no limit. A VMM in
 * production has KVM slots only where blocks are plugged, or makes the unplugged ones fault in
 * the host, with userfaultfd or mprotect().
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm.h"

#define RESIDENT_PAGE 4096
#define RESIDENT_STEP (UINT64_C(64) << 20) /* bytes looked at by one mincore() */

static uint64_t round_up(uint64_t value, uint64_t to)
{
	return (value + to - 1) / to * to;
}

static int add_ram(struct vmm *vmm, const char *what, struct vmemdev_linux_ram_config *config)
{
	struct vmemdev_linux_error error;

	if (!config->size)
		return 0;
	if (vmemdev_linux_add_ram(&vmm->memory, config)) {
		vmemdev_linux_last_error(&vmm->memory, &error);
		return fail("%s: %s", what, error.text);
	}
	if (config->backing == VMEMDEV_LINUX_FILE)
		config->file_offset += config->size;
	return 0;
}

static int add_all(struct vmm *vmm, struct vmemdev_linux_ram_config *config)
{
	struct options *options = &vmm->options;

	config->size = vmm->low_ram;
	if (add_ram(vmm, "--memory", config))
		return -1;
	config->gpa = HIGH_RAM_START;
	config->size = vmm->high_ram;
	if (add_ram(vmm, "--memory", config))
		return -1;
	config->no_reserve = true;
	config->populate = config->page_size != 0; /* scarce pages: better busy than SIGBUS */
	for (unsigned i = 0; i < options->mem_count; i++) {
		if (!options->mem[i].addr)
			options->mem[i].addr = round_up(memory_top(vmm), MEM_ALIGN);
		config->gpa = options->mem[i].addr;
		config->size = options->mem[i].size;
		if (add_ram(vmm, options->mem[i].id, config))
			return -1;
	}
	return 0;
}

/*
 * Make the file at @path, open as @fd, @size bytes long. Only an empty one grows: a mistyped
 * path must not cost anybody a file.
 */
static int size_backing(const char *path, int fd, uint64_t size)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return fail("--memory: path=%s: %s", path, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return fail("--memory: path=%s: expected a regular file, or the name of a new one",
			    path);
	if ((uint64_t)st.st_size == size)
		return 0;
	if (st.st_size)
		return fail("--memory: path=%s: has %" PRIu64 " bytes, but --memory and --mem make "
			    "%" PRIu64 ": remove it, or give the name of a new file", path,
			    (uint64_t)st.st_size, size);
	if (ftruncate(fd, (off_t)size) < 0)
		return fail("--memory: path=%s: %s: expected a file that can grow to %" PRIu64
			    " bytes", path, strerror(errno), size);
	return 0;
}

/* The file holds RAM first, then the regions of the memory devices; most of it is a hole. */
static int open_backing(const struct options *options)
{
	const char *path = options->memory.path;
	uint64_t size = options->memory.size;
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0600);

	for (unsigned i = 0; i < options->mem_count; i++)
		size += options->mem[i].size;
	if (fd < 0)
		return fail("--memory: path=%s: %s: expected a file that can be written", path,
			    strerror(errno));
	if (size_backing(path, fd, size)) {
		close(fd);
		return -1;
	}
	return fd;
}

static int map_all(struct vmm *vmm)
{
	const struct memory_option *option = &vmm->options.memory;
	struct vmemdev_linux_ram_config config = {
		.struct_size = sizeof(config),
		.backing = option->backing,
		.page_size = option->page_size,
		.mapping = option->shared ? VMEMDEV_LINUX_SHARED : VMEMDEV_LINUX_PRIVATE,
		.fd = -1,
	};
	const struct vmemdev_linux_ram *ram;
	int err;

	if (option->path) {
		config.fd = open_backing(&vmm->options);
		if (config.fd < 0)
			return -1;
	}
	err = add_all(vmm, &config);
	if (config.fd >= 0)
		close(config.fd);
	if (err)
		return -1;
	for (uint32_t i = 0; (ram = vmemdev_linux_ram_at(&vmm->memory, i)); i++) {
		if (kvm_add_memory(vmm, i, ram->gpa, ram->size, ram->host))
			return -1;
	}
	return 0;
}

int memory_create(struct vmm *vmm)
{
	struct vmemdev_guest_config config = {.struct_size = sizeof(config)};
	uint64_t size = vmm->options.memory.size;
	int err = vmemdev_linux_memory_init(&vmm->memory, sizeof(vmm->memory), NULL);

	if (err)
		return fail("--memory: %s", vmemdev_strerror(err));
	vmm->low_ram = size < LOW_RAM_END ? size : LOW_RAM_END;
	vmm->high_ram = size - vmm->low_ram;
	if (map_all(vmm))
		return -1;
	config.regions = vmemdev_linux_regions(&vmm->memory, &config.region_count);
	err = vmemdev_guest_init(&vmm->guest, sizeof(vmm->guest), &config);
	return err ? fail("--memory: %s", vmemdev_strerror(err)) : 0;
}

void memory_show_device(struct vmm *vmm, const struct vmemdev_mem *mem, uint64_t addr)
{
	struct vmemdev_region *region = vmemdev_linux_region(&vmm->memory, addr);

	vmemdev_mem_region(mem, region->host, region);
	vmemdev_guest_changed(&vmm->guest);
}

uint64_t memory_top(const struct vmm *vmm)
{
	const struct vmemdev_linux_ram *ram;
	uint64_t top = HIGH_RAM_START;

	for (uint32_t i = 0; (ram = vmemdev_linux_ram_at(&vmm->memory, i)); i++) {
		if (ram->gpa + ram->size > top)
			top = ram->gpa + ram->size;
	}
	return top;
}

void *memory_at(const struct vmm *vmm, uint64_t gpa, uint64_t len)
{
	if (gpa > vmm->low_ram || len > vmm->low_ram - gpa)
		return NULL;
	return (char *)vmemdev_linux_ram_at(&vmm->memory, 0)->host + gpa;
}

/* What mincore() says of guest memory: pages that the host holds for it, shared ones too. */
uint64_t memory_resident(const struct vmm *vmm)
{
	static unsigned char pages[RESIDENT_STEP / RESIDENT_PAGE];
	const struct vmemdev_linux_ram *ram;
	uint64_t count = 0;

	for (uint32_t i = 0; (ram = vmemdev_linux_ram_at(&vmm->memory, i)); i++) {
		for (uint64_t at = 0; at < ram->size; at += RESIDENT_STEP) {
			uint64_t len = ram->size - at < RESIDENT_STEP ? ram->size - at
								      : RESIDENT_STEP;

			if (mincore((char *)ram->host + at, len, pages))
				continue;
			for (uint64_t page = 0; page < len / RESIDENT_PAGE; page++)
				count += pages[page] & 1;
		}
	}
	return count * RESIDENT_PAGE;
}

uint64_t memory_process_rss(void)
{
	unsigned long long size, resident = 0;
	FILE *file = fopen("/proc/self/statm", "re");

	if (!file)
		return 0;
	if (fscanf(file, "%llu %llu", &size, &resident) != 2)
		resident = 0;
	fclose(file);
	return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}
