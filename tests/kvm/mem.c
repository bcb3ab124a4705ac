// SPDX-License-Identifier: BSD-3-Clause
/* What the toy VMM does for a memory device: KVM's memory slots, guarding, its options. */
#include "machine.h"

#include <stdio.h>

#define GIB (1024 * MIB)
#define BLOCK (2 * MIB)
#define RAM_SLOTS 2
#define INACCESSIBLE VMEMDEV_MEM_F_UNPLUGGED_INACCESSIBLE

static uint64_t addr_of(struct machine *m, const char *id)
{
	return virtio_slot(&m->vmm, id)->mem_option->addr;
}

static void request(struct machine *m, uint16_t type, uint64_t gpa, uint16_t answer)
{
	struct guest_mem_response response;

	assert_int_equal(guest_driver_mem_request(&m->driver, type, gpa, 1, &response), answer);
	machine_turn(m);
}

static uint8_t *byte_at(struct machine *m, uint64_t gpa)
{
	const struct vmemdev_region *region = vmemdev_linux_region(&m->vmm.memory, gpa);

	return (uint8_t *)region->host + (gpa - region->gpa);
}

static void slots_follow_what_is_plugged(void **state)
{
	struct machine *m = machine_start((const char *const[]){
		"--memory=64M", "--mem=size=1T,requested=6M", NULL});
	uint64_t addr = addr_of(m, "mem0"), last = addr + 2 * GIB - BLOCK;
	const struct fake_memory *memory;

	(void)state;
	assert_int_equal(mem_number(m, "mem0", "slots"), 0);
	assert_int_equal(mem_number(m, "mem0", "slots_max"), 1024);
	assert_null(fake_memory_at(addr));
	ask_ok(m, "{\"cmd\":\"set-requested\",\"id\":\"mem0\",\"size\":\"2G\"}");
	assert_true(machine_drive_mem(m, "mem0", 0));
	request(m, GUEST_MEM_PLUG, addr, GUEST_MEM_ACK);
	request(m, GUEST_MEM_PLUG, last, GUEST_MEM_ACK);
	request(m, GUEST_MEM_PLUG, last - BLOCK, GUEST_MEM_ACK);
	assert_int_equal(mem_number(m, "mem0", "slots"), 2);
	memory = fake_memory_at(last);
	assert_non_null(memory);
	assert_int_equal(memory->gpa, addr + GIB);
	assert_int_equal(memory->len, GIB);
	assert_ptr_equal(memory->host, byte_at(m, addr + GIB));
	request(m, GUEST_MEM_UNPLUG, last, GUEST_MEM_ACK);
	assert_non_null(fake_memory_at(last));
	request(m, GUEST_MEM_UNPLUG, last - BLOCK, GUEST_MEM_ACK);
	assert_null(fake_memory_at(last));
	assert_non_null(fake_memory_at(addr));
	assert_int_equal(mem_number(m, "mem0", "slots"), 1);
	machine_stop(m);
}

/* The last slot of a region is no longer than the region. */
static void devices_have_their_own_slots(void **state)
{
	struct machine *m = machine_start((const char *const[]){
		"--memory=64M", "--mem=size=6M,slots=4M,requested=6M",
		"--mem=size=4M,slots=off,node=1", "--mem=size=8M,slots=2M,requested=2M,node=2",
		NULL});
	uint64_t addr;

	(void)state;
	assert_true(machine_drive_mem(m, "mem0", 0));
	addr = addr_of(m, "mem0");
	request(m, GUEST_MEM_PLUG, addr, GUEST_MEM_ACK);
	request(m, GUEST_MEM_PLUG, addr + 4 * MIB, GUEST_MEM_ACK);
	assert_int_equal(fake_memory_at(addr)->slot, RAM_SLOTS);
	assert_int_equal(fake_memory_at(addr + 4 * MIB)->slot, RAM_SLOTS + 1);
	assert_int_equal(fake_memory_at(addr + 4 * MIB)->len, 2 * MIB);
	addr = addr_of(m, "mem1");
	assert_int_equal(fake_memory_at(addr)->slot, RAM_SLOTS + 2);
	assert_int_equal(fake_memory_at(addr)->len, 4 * MIB);
	assert_int_equal(mem_number(m, "mem1", "slots"), 1);
	assert_int_equal(mem_number(m, "mem1", "slots_max"), 1);
	assert_true(machine_drive_mem(m, "mem2", 0));
	addr = addr_of(m, "mem2");
	request(m, GUEST_MEM_PLUG, addr + 6 * MIB, GUEST_MEM_ACK);
	assert_int_equal(fake_memory_at(addr + 6 * MIB)->slot, RAM_SLOTS + 3 + 3);
	machine_stop(m);
}

static void a_slot_that_KVM_refuses_is_busy_for_the_guest(void **state)
{
	struct machine *m = machine_start((const char *const[]){
		"--memory=64M", "--mem=size=1G,requested=4M", NULL});
	uint64_t addr = addr_of(m, "mem0");

	(void)state;
	assert_true(machine_drive_mem(m, "mem0", 0));
	fake_kvm.refuse = true;
	request(m, GUEST_MEM_PLUG, addr, GUEST_MEM_BUSY);
	assert_int_equal(mem_number(m, "mem0", "plugged"), 0);
	assert_int_equal(mem_number(m, "mem0", "slots"), 0);
	fake_kvm.refuse = false;
	request(m, GUEST_MEM_PLUG, addr, GUEST_MEM_ACK);
	assert_int_equal(mem_number(m, "mem0", "slots"), 1);
	machine_stop(m);
}

static void what_was_touched_beside_the_blocks_goes_with_the_slot(void **state)
{
	struct machine *m = machine_start((const char *const[]){
		"--memory=64M", "--mem=size=1G,requested=4M", NULL});
	uint64_t addr = addr_of(m, "mem0"), before;

	(void)state;
	assert_true(machine_drive_mem(m, "mem0", 0));
	request(m, GUEST_MEM_PLUG, addr, GUEST_MEM_ACK);
	*byte_at(m, addr + BLOCK) = 0x5a;
	before = memory_resident(&m->vmm);
	request(m, GUEST_MEM_UNPLUG, addr, GUEST_MEM_ACK);
	assert_true(memory_resident(&m->vmm) < before);
	assert_int_equal(*byte_at(m, addr + BLOCK), 0);
	machine_stop(m);
}

static void too_many_slots_are_refused_with_a_size_that_fits(void **state)
{
	(void)state;
	machine_refused((const char *const[]){"--memory=64M", "--mem=size=1T", NULL}, 100, 52,
			"slots=1073741824 makes 1024 memory slots, but of the 100 that this KVM "
			"has 98 are left: expected slots=16384M or larger");
	machine_refused((const char *const[]){"--memory=64M", "--mem=size=4M,slots=off",
					      "--mem=size=4M,slots=off", NULL}, 3, 52,
			"this KVM has 3 memory slots, and 0 are left");
}

static void a_region_beyond_the_addresses_is_refused(void **state)
{
	(void)state;
	machine_refused((const char *const[]){"--memory=64M", "--mem=size=1T", NULL}, 32764, 40,
			"--mem: mem0: 1099511627776 bytes from 0x100000000 on end at "
			"0x10100000000, but the processor that KVM gives the guest has addresses "
			"of 40 bits: expected at most 1020G there");
	machine_refused((const char *const[]){"--memory=64M", "--mem=size=1G,addr=0x10000000000",
					      NULL}, 32764, 40, "expected at most 0G there");
	/* One that fits to the last byte comes as far as the slots, of which there are none. */
	machine_refused((const char *const[]){"--memory=64M", "--mem=size=1020G", NULL},
			2, 40, "0 are left");
}

static void a_guarded_device_wants_the_promise(void **state)
{
	struct machine *m = machine_start((const char *const[]){
		"--memory=64M", "--mem=size=1G,requested=4M,guarded=on", NULL});
	const struct slot *slot = virtio_slot(&m->vmm, "mem0");
	uint64_t addr = addr_of(m, "mem0");
	struct vmemdev_linux_counts counts;

	(void)state;
	assert_false(machine_drive_mem(m, "mem0", 0));
	assert_true(machine_drive_mem(m, "mem0", INACCESSIBLE));
	request(m, GUEST_MEM_PLUG, addr, GUEST_MEM_ACK);
	vmemdev_linux_memory_get_counts(&m->vmm.memory, &counts);
	assert_int_equal(counts.protect, 1);
	*byte_at(m, addr) = 1; /* it is open */
	assert_false(memory_is_unplugged(slot, addr + BLOCK - 1));
	assert_true(memory_is_unplugged(slot, addr + BLOCK));
	assert_ptr_equal(memory_device_at(&m->vmm, addr + GIB - 1), slot);
	assert_null(memory_device_at(&m->vmm, addr + GIB));
	assert_true(memory_hide_guarded(&m->vmm));
	assert_null(fake_memory_at(addr));
	assert_non_null(fake_memory_at(0));
	machine_stop(m);
}

static void without_guarding_nothing_is_hidden(void **state)
{
	struct machine *m = machine_start((const char *const[]){
		"--memory=64M", "--mem=size=1G,slots=off", NULL});

	(void)state;
	assert_true(machine_drive_mem(m, "mem0", 0));
	assert_false(memory_hide_guarded(&m->vmm));
	assert_non_null(fake_memory_at(addr_of(m, "mem0")));
	machine_stop(m);
}

static void options_reach_the_device(void **state)
{
	struct machine *m = machine_start((const char *const[]){
		"--memory=64M", "--mem=size=1G,persistent-suspend=on,node=7", "--mem=size=1G",
		NULL});
	uint32_t first = vmemdev_device_features(virtio_slot(&m->vmm, "mem0")->device, 0);
	uint32_t second = vmemdev_device_features(virtio_slot(&m->vmm, "mem1")->device, 0);

	(void)state;
	assert_true(first & VMEMDEV_MEM_F_PERSISTENT_SUSPEND);
	assert_false(second & VMEMDEV_MEM_F_PERSISTENT_SUSPEND);
	assert_true(machine_drive_mem(m, "mem0", VMEMDEV_MEM_F_ACPI_PXM));
	assert_int_equal(guest_driver_config16(&m->driver, 8), 7);
	machine_stop(m);
}

static void populate_brings_the_pages_at_once(void **state)
{
	struct machine *m = machine_start((const char *const[]){
		"--memory=64M", "--mem=size=1G,requested=4M,populate=on", NULL});
	uint64_t before;

	(void)state;
	assert_true(machine_drive_mem(m, "mem0", 0));
	before = memory_resident(&m->vmm);
	request(m, GUEST_MEM_PLUG, addr_of(m, "mem0"), GUEST_MEM_ACK);
	assert_int_equal(memory_resident(&m->vmm), before + BLOCK);
	machine_stop(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(slots_follow_what_is_plugged),
		cmocka_unit_test(devices_have_their_own_slots),
		cmocka_unit_test(a_slot_that_KVM_refuses_is_busy_for_the_guest),
		cmocka_unit_test(what_was_touched_beside_the_blocks_goes_with_the_slot),
		cmocka_unit_test(too_many_slots_are_refused_with_a_size_that_fits),
		cmocka_unit_test(a_region_beyond_the_addresses_is_refused),
		cmocka_unit_test(a_guarded_device_wants_the_promise),
		cmocka_unit_test(without_guarding_nothing_is_hidden),
		cmocka_unit_test(options_reach_the_device),
		cmocka_unit_test(populate_brings_the_pages_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
