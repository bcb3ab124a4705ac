// SPDX-License-Identifier: BSD-3-Clause
/*
 * Loading Linux: the 64-bit boot protocol of x86 (Documentation/arch/x86/boot.rst in its
 * source). The first vCPU enters the kernel in long mode with the first 4 GiB mapped as they
 * are, RSI pointing at struct boot_params, where the kernel finds its command line, its
 * initramfs, the memory map and the ACPI tables. No firmware is involved.
 */
#include <asm/bootparam.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm.h"

#define LOW_TABLE_END 0x9fc00 /* the memory below 640 KiB that PCs have */
#define BOOT_PARAMS 0x7000
#define COMMAND_LINE 0x20000
#define RESET_VECTOR 0xffff0 /* where a BIOS is entered */
#define SECTOR 512
#define ENTRY_64 0x200       /* from the start of the kernel proper */
#define BOOT_FLAG 0xaa55
#define HEADER_MAGIC 0x53726448 /* "HdrS" */
#define PROTOCOL 0x20c       /* the first with xloadflags */
#define E820_RAM 1
#define E820_RESERVED 2
#define LOADER_UNKNOWN 0xff

#define PTE_PRESENT_WRITE 3
#define PTE_HUGE 0x80
#define HUGE_PAGE (UINT64_C(2) << 20)

static int open_file(const char *what, const char *path, uint64_t *size)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* do not wait on a FIFO */

	if (fd < 0 || fstat(fd, &st) < 0)
		return fail("%s %s: %s", what, path, strerror(errno));
	if (!S_ISREG(st.st_mode) || st.st_size <= 0) {
		close(fd);
		return fail("%s %s: expected a regular file that is not empty", what, path);
	}
	*size = (uint64_t)st.st_size;
	return fd;
}

static int read_fully(const char *what, int fd, uint64_t offset, void *to, uint64_t len)
{
	for (uint64_t done = 0; done < len;) {
		ssize_t got = pread(fd, (char *)to + done, len - done, (off_t)(offset + done));

		if (got <= 0)
			return fail("%s: reading it: %s", what,
				    got ? strerror(errno) : "it ends early");
		done += (uint64_t)got;
	}
	return 0;
}

static int check_header(const char *path, const struct setup_header *header)
{
	if (header->boot_flag != BOOT_FLAG || header->header != HEADER_MAGIC)
		return fail("--kernel %s: not a bzImage: expected a kernel as in /boot/vmlinuz-* "
			    "(an ELF vmlinux is not)", path);
	if (header->version < PROTOCOL || !(header->xloadflags & XLF_KERNEL_64))
		return fail("--kernel %s: no 64-bit entry: expected a kernel for x86-64 of Linux"
			    " 3.8 or later", path);
	return 0;
}

static int load_kernel(struct vmm *vmm, struct boot_params *params)
{
	const char *path = vmm->options.kernel;
	struct setup_header *header = &params->hdr;
	uint64_t size, start, expected, address;
	void *to;
	int err, fd;

	fd = open_file("--kernel", path, &size);
	if (fd < 0)
		return -1;
	if (size < offsetof(struct boot_params, hdr) + sizeof(*header)) {
		close(fd);
		return fail("--kernel %s: %" PRIu64 " bytes are no bzImage", path, size);
	}
	err = read_fully(path, fd, offsetof(struct boot_params, hdr), header, sizeof(*header));
	if (!err)
		err = check_header(path, header);
	if (err) {
		close(fd);
		return -1;
	}
	start = ((header->setup_sects ? header->setup_sects : 4u) + 1u) * SECTOR;
	address = header->pref_address;
	to = memory_at(vmm, address, header->init_size);
	expected = start + UINT64_C(16) * header->syssize; /* a signature may follow */
	if (size <= start || size < expected)
		err = fail("--kernel %s: cut short: has %" PRIu64 " bytes, but its header says %"
			   PRIu64 ": copy it again", path, size, expected);
	else if (!to || size - start > header->init_size)
		err = fail("--memory: too small for %s: expected at least %" PRIu64 "M", path,
			   (address + header->init_size) >> 20);
	else
		err = read_fully(path, fd, start, to, size - start);
	close(fd);
	vmm->kernel_entry = address + ENTRY_64;
	return err;
}

/* At the end of RAM, as far from the unpacking kernel as can be. */
static int load_initrd(struct vmm *vmm, struct boot_params *params)
{
	const char *path = vmm->options.initrd;
	uint64_t floor = params->hdr.pref_address + params->hdr.init_size;
	uint64_t end = vmm->low_ram, size, address;
	int err, fd;

	if (!path)
		return 0;
	fd = open_file("--initrd", path, &size);
	if (fd < 0)
		return -1;
	if (end > (uint64_t)params->hdr.initrd_addr_max + 1)
		end = (uint64_t)params->hdr.initrd_addr_max + 1;
	address = size < end ? (end - size) & ~UINT64_C(0xfff) : 0;
	if (address < floor)
		err = fail("--memory: too small for %s: expected at least %" PRIu64 "M", path,
			   ((floor + size) >> 20) + 1);
	else
		err = read_fully(path, fd, 0, memory_at(vmm, address, size), size);
	close(fd);
	params->hdr.ramdisk_image = (uint32_t)address;
	params->hdr.ramdisk_size = (uint32_t)size;
	return err;
}

static int set_command_line(struct vmm *vmm, struct boot_params *params)
{
	const char *text = vmm->options.append;
	size_t len = strlen(text);

	if (len > params->hdr.cmdline_size)
		return fail("--append: %zu characters: expected at most %" PRIu32, len,
			    (uint32_t)params->hdr.cmdline_size);
	memcpy(memory_at(vmm, COMMAND_LINE, len + 1), text, len + 1);
	params->hdr.cmd_line_ptr = COMMAND_LINE;
	return 0;
}

static void add_e820(struct boot_params *params, uint64_t from, uint64_t to, uint32_t type)
{
	struct boot_e820_entry *entry = &params->e820_table[params->e820_entries];

	if (from >= to)
		return;
	entry->addr = from;
	entry->size = to - from;
	entry->type = type;
	params->e820_entries++;
}

static void write_page_tables(struct vmm *vmm)
{
	uint64_t *table = memory_at(vmm, BOOT_PAGE_TABLES, BOOT_PAGE_TABLES_SIZE);
	uint64_t *directories = table + 2 * 512;

	memset(table, 0, BOOT_PAGE_TABLES_SIZE);
	table[0] = (BOOT_PAGE_TABLES + 0x1000) | PTE_PRESENT_WRITE;
	for (uint64_t i = 0; i < 4; i++)
		table[512 + i] = (BOOT_PAGE_TABLES + (2 + i) * 0x1000) | PTE_PRESENT_WRITE;
	for (uint64_t i = 0; i < UINT64_C(4) * 512; i++)
		directories[i] = i * HUGE_PAGE | PTE_PRESENT_WRITE | PTE_HUGE;
}

static void write_gdt(struct vmm *vmm)
{
	static const uint64_t gdt[BOOT_GDT_SIZE / 8] = {
		[BOOT_CS / 8] = 0x00af9b000000ffff,
		[BOOT_DS / 8] = 0x00cf93000000ffff,
	};

	memcpy(memory_at(vmm, BOOT_GDT, sizeof(gdt)), gdt, sizeof(gdt));
}

/*
 * All the firmware there is. On a hardware-reduced machine Linux resets through EFI and, where
 * there is none, enters the BIOS in real mode, passing over the ACPI reset register.
 */
static void write_reset_vector(struct vmm *vmm)
{
	static const uint8_t code[] = {
		0xba, RESET_PORT & 0xff, RESET_PORT >> 8, /* mov dx, RESET_PORT */
		0xb0, RESET_VALUE,                        /* mov al, RESET_VALUE */
		0xee,                                     /* out dx, al */
		0xeb, 0xfd,                               /* jmp back to the out */
	};

	memcpy(memory_at(vmm, RESET_VECTOR, sizeof(code)), code, sizeof(code));
}

int boot_load(struct vmm *vmm)
{
	struct boot_params params;

	memset(&params, 0, sizeof(params));
	if (load_kernel(vmm, &params) || load_initrd(vmm, &params) ||
	    set_command_line(vmm, &params))
		return -1;
	params.hdr.type_of_loader = LOADER_UNKNOWN;
	params.acpi_rsdp_addr = ACPI_BASE;
	add_e820(&params, 0, LOW_TABLE_END, E820_RAM);
	add_e820(&params, ACPI_BASE, ACPI_END, E820_RESERVED);
	add_e820(&params, ACPI_END, vmm->low_ram, E820_RAM);
	add_e820(&params, HIGH_RAM_START, HIGH_RAM_START + vmm->high_ram, E820_RAM);
	vmm->boot_params = BOOT_PARAMS;
	memcpy(memory_at(vmm, BOOT_PARAMS, sizeof(params)), &params, sizeof(params));
	write_page_tables(vmm);
	write_gdt(vmm);
	write_reset_vector(vmm);
	return 0;
}
