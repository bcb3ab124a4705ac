// SPDX-License-Identifier: BSD-3-Clause
/*
 * The ACPI tables that tell Linux about virtio-mmio devices and about memory that may come.
 * For a device it takes an SSDT with _HID "LNRO0005", its registers and its interrupt
 * (slot.asl.in, compiled by iasl when this is built, one table a slot). For virtio-mem it takes
 * an SRAT whose entry covers the device's whole region and is marked hot-pluggable: so the
 * node exists for the guest and it keeps its address space open that far.
 *
 * The machine is "hardware-reduced": no legacy timer, interrupt controller or power
 * management; power-off and reset are one register each (kvm.c).
 */
#include <stdio.h>
#include <string.h>

#include "vmm.h"

#include "dsdt.hex"
#include "slot0.hex"
#include "slot1.hex"
#include "slot2.hex"
#include "slot3.hex"
#include "slot4.hex"
#include "slot5.hex"
#include "slot6.hex"
#include "slot7.hex"

#define TABLES_MAX (4 + SLOTS_MAX) /* FADT, MADT, SRAT and the SSDTs */
#define HEADER 36
#define LAPIC_ADDRESS 0xfee00000
#define IOAPIC_ADDRESS 0xfec00000
#define SYSTEM_IO 1

/* FADT: offsets and flags (ACPI 6.5, 5.2.9). */
#define FADT_SIZE 276
#define FADT_BOOT_ARCH 109
#define FADT_FLAGS 112
#define FADT_RESET_REG 116
#define FADT_RESET_VALUE 128
#define FADT_X_DSDT 140
#define FADT_SLEEP_CONTROL 244
#define FADT_SLEEP_STATUS 256
#define NO_VGA_NO_CMOS 0x24
#define WBINVD 1u
#define RESET_SUPPORTED (1u << 10)
#define HARDWARE_REDUCED (1u << 20)

#define AFFINITY_ENABLED 1
#define AFFINITY_HOTPLUG 2

struct tables {
	uint8_t *base; /* the host's view of ACPI_BASE */
	size_t used;
	uint8_t *open; /* the table being written */
	uint64_t entries[TABLES_MAX];
	unsigned count;
};

static const struct {
	const unsigned char *aml;
	size_t size;
} slot_tables[SLOTS_MAX] = {
	{slot0_aml_code, sizeof(slot0_aml_code)}, {slot1_aml_code, sizeof(slot1_aml_code)},
	{slot2_aml_code, sizeof(slot2_aml_code)}, {slot3_aml_code, sizeof(slot3_aml_code)},
	{slot4_aml_code, sizeof(slot4_aml_code)}, {slot5_aml_code, sizeof(slot5_aml_code)},
	{slot6_aml_code, sizeof(slot6_aml_code)}, {slot7_aml_code, sizeof(slot7_aml_code)},
};

/* The area is some twenty times what the most devices and CPUs need, so put() only asserts it. */
static void put(struct tables *t, uint64_t value, size_t width)
{
	for (size_t i = 0; i < width && t->used < ACPI_END - ACPI_BASE; i++)
		t->base[t->used++] = (uint8_t)(value >> 8 * i);
}

static void put_text(struct tables *t, const char *text, size_t width)
{
	for (size_t i = 0; i < width; i++)
		put(t, *text ? (uint8_t)*text++ : ' ', 1);
}

static void set(uint8_t *at, uint64_t value, size_t width)
{
	for (size_t i = 0; i < width; i++)
		at[i] = (uint8_t)(value >> 8 * i);
}

static uint8_t checksum(const uint8_t *bytes, size_t len)
{
	uint8_t sum = 0;

	while (len--)
		sum = (uint8_t)(sum + *bytes++);
	return (uint8_t)-sum;
}

static uint64_t here(const struct tables *t)
{
	return ACPI_BASE + t->used;
}

static void begin(struct tables *t, const char *signature, uint8_t revision)
{
	t->used = (t->used + 15) & ~(size_t)15;
	t->open = t->base + t->used;
	put_text(t, signature, 4);
	put(t, 0, 4); /* length, filled in by end() */
	put(t, revision, 1);
	put(t, 0, 1); /* checksum, likewise */
	put_text(t, "VMEMDV", 6);
	put_text(t, "TOYVMM", 8);
	put(t, 1, 4);
	put_text(t, "VMEM", 4);
	put(t, 1, 4);
}

/* returns: the table's guest-physical address */
static uint64_t end(struct tables *t)
{
	size_t size = (size_t)(t->base + t->used - t->open);

	set(t->open + 4, size, 4);
	t->open[9] = checksum(t->open, size);
	return (uint64_t)(t->open - t->base) + ACPI_BASE;
}

static uint64_t add_aml(struct tables *t, const unsigned char *aml, size_t size)
{
	uint64_t at = here(t);

	for (size_t i = 0; i < size; i++)
		put(t, aml[i], 1);
	return at;
}

static void set_register(uint8_t *at, uint16_t port)
{
	set(at, SYSTEM_IO, 1);
	set(at + 1, 8, 1); /* bits */
	set(at + 3, 1, 1); /* byte access */
	set(at + 4, port, 8);
}

static uint64_t write_fadt(struct tables *t, uint64_t dsdt)
{
	begin(t, "FACP", 6);
	for (size_t i = HEADER; i < FADT_SIZE; i++)
		put(t, 0, 1);
	set(t->open + FADT_BOOT_ARCH, NO_VGA_NO_CMOS, 2);
	set(t->open + FADT_FLAGS, WBINVD | RESET_SUPPORTED | HARDWARE_REDUCED, 4);
	set_register(t->open + FADT_RESET_REG, RESET_PORT);
	set(t->open + FADT_RESET_VALUE, RESET_VALUE, 1);
	set(t->open + FADT_X_DSDT, dsdt, 8);
	set_register(t->open + FADT_SLEEP_CONTROL, SLEEP_CONTROL_PORT);
	set_register(t->open + FADT_SLEEP_STATUS, SLEEP_STATUS_PORT);
	return end(t);
}

static uint64_t write_madt(struct tables *t, unsigned cpus)
{
	begin(t, "APIC", 5);
	put(t, LAPIC_ADDRESS, 4);
	put(t, 0, 4);
	for (unsigned i = 0; i < cpus; i++) {
		put(t, 0 | 8 << 8, 2); /* type and size: local APIC */
		put(t, i, 1);
		put(t, i, 1);
		put(t, 1, 4); /* enabled */
	}
	put(t, 1 | 12 << 8, 2); /* I/O APIC */
	put(t, 0, 2);
	put(t, IOAPIC_ADDRESS, 4);
	put(t, 0, 4);
	return end(t);
}

static void put_memory_affinity(struct tables *t, uint32_t node, uint64_t gpa, uint64_t len,
				uint32_t flags)
{
	if (!len)
		return;
	put(t, 1 | 40 << 8, 2);
	put(t, node, 4);
	put(t, 0, 2);
	put(t, gpa, 8);
	put(t, len, 8);
	put(t, 0, 4);
	put(t, flags, 4);
	put(t, 0, 8);
}

static uint64_t write_srat(struct tables *t, const struct vmm *vmm)
{
	begin(t, "SRAT", 3);
	put(t, 1, 4);
	put(t, 0, 8);
	for (unsigned i = 0; i < vmm->options.cpus; i++) {
		put(t, 0 | 16 << 8, 2); /* all CPUs are in node 0 */
		put(t, 0, 1);
		put(t, i, 1);
		put(t, AFFINITY_ENABLED, 4);
		put(t, 0, 8);
	}
	put_memory_affinity(t, 0, 0, vmm->low_ram, AFFINITY_ENABLED);
	put_memory_affinity(t, 0, HIGH_RAM_START, vmm->high_ram, AFFINITY_ENABLED);
	for (unsigned i = 0; i < vmm->slot_count; i++) {
		const struct mem_option *mem = vmm->slots[i].mem_option;

		if (mem)
			put_memory_affinity(t, mem->node, mem->addr, mem->size,
					    AFFINITY_ENABLED | AFFINITY_HOTPLUG);
	}
	return end(t);
}

static uint64_t write_xsdt(struct tables *t)
{
	begin(t, "XSDT", 1);
	for (unsigned i = 0; i < t->count; i++)
		put(t, t->entries[i], 8);
	return end(t);
}

/* At the very start of the area, where boot_params points. */
static void write_rsdp(uint8_t *at, uint64_t xsdt)
{
	memcpy(at, "RSD PTR ", 8);
	memcpy(at + 9, "VMEMDV", 6);
	set(at + 15, 2, 1); /* revision */
	set(at + 20, 36, 4);
	set(at + 24, xsdt, 8);
	at[8] = checksum(at, 20);
	at[32] = checksum(at, 36);
}

int acpi_write(struct vmm *vmm)
{
	struct tables t = {.base = memory_at(vmm, ACPI_BASE, ACPI_END - ACPI_BASE)};
	uint64_t dsdt;

	t.used = 64; /* the RSDP goes here */
	dsdt = add_aml(&t, dsdt_aml_code, sizeof(dsdt_aml_code));
	t.entries[t.count++] = write_fadt(&t, dsdt);
	t.entries[t.count++] = write_madt(&t, vmm->options.cpus);
	t.entries[t.count++] = write_srat(&t, vmm);
	for (unsigned i = 0; i < vmm->slot_count; i++)
		t.entries[t.count++] = add_aml(&t, slot_tables[i].aml, slot_tables[i].size);
	write_rsdp(t.base, write_xsdt(&t));
	return 0;
}
