// SPDX-License-Identifier: BSD-3-Clause
/* The guest resets the machine: a system reset, which is more than that of a device. */
#include "machine.h"

#include <unistd.h>

#define BLOCK (2 * MIB)

static struct machine *start(const char *reboot)
{
	struct machine *m = machine_start((const char *const[]){
		"--memory=64M", reboot, "--mem=size=1G,requested=4M", "--mem=size=1G,slots=off",
		NULL});
	uint64_t addr = virtio_slot(&m->vmm, "mem0")->mem_option->addr;
	struct guest_mem_response response;

	assert_true(machine_drive_mem(m, "mem0", 0));
	assert_int_equal(guest_driver_mem_request(&m->driver, GUEST_MEM_PLUG, addr, 2, &response),
			 GUEST_MEM_ACK);
	guest_fill(&m->memory, PLAY_GPA, 0x5a, PAGE);
	return m;
}

static void a_reset_ends_the_vmm_by_default(void **state)
{
	struct machine *m = start("--reboot=exit");

	(void)state;
	reset_request(&m->vmm, "guest reset");
	assert_int_equal(atomic_load(&m->vmm.exit_status), EXIT_GUEST_RESET);
	reset_proceed(&m->vmm);
	assert_int_equal(fake_kvm.renewals, 0);
	machine_stop(m);
}

static void a_restart_waits_for_the_vcpus(void **state)
{
	struct machine *m = start("--reboot=restart");

	(void)state;
	atomic_store(&m->vmm.vcpus_running, 1);
	reset_proceed(&m->vmm);
	assert_int_equal(fake_kvm.stops, 0);
	reset_request(&m->vmm, "guest reset");
	reset_proceed(&m->vmm);
	reset_proceed(&m->vmm);
	assert_int_equal(fake_kvm.stops, 1);
	assert_int_equal(fake_kvm.renewals, 0);
	assert_int_equal(mem_number(m, "mem0", "plugged"), 2 * BLOCK);
	atomic_store(&m->vmm.vcpus_running, 0);
	reset_proceed(&m->vmm);
	assert_int_equal(fake_kvm.renewals, 1);
	reset_proceed(&m->vmm);
	assert_int_equal(fake_kvm.renewals, 1);
	machine_stop(m);
}

static void a_restart_unplugs_clears_and_boots(void **state)
{
	struct machine *m = start("--reboot=restart");
	uint64_t addr = virtio_slot(&m->vmm, "mem0")->mem_option->addr;
	struct json_object *event;
	int events = client_open(m);

	(void)state;
	client_say(events, "{\"cmd\":\"events\"}");
	json_object_put(client_hear(m, events));
	assert_non_null(fake_memory_at(addr));
	reset_request(&m->vmm, "guest reset");
	reset_proceed(&m->vmm);
	event = client_hear(m, events);
	while (strcmp(text_of(event, "event"), "reset") != 0) {
		json_object_put(event);
		event = client_hear(m, events);
	}
	assert_string_equal(text_of(event, "reason"), "guest reset");
	json_object_put(event);
	assert_int_equal(fake_kvm.loads, 1); /* it saw that the RAM is clear */
	assert_int_equal(fake_kvm.starts, 1);
	assert_int_equal(atomic_load(&m->vmm.exit_status), EXIT_RUNNING);
	assert_int_equal(mem_number(m, "mem0", "plugged"), 0);
	assert_int_equal(mem_number(m, "mem0", "slots"), 0);
	assert_null(fake_memory_at(addr));
	assert_non_null(fake_memory_at(virtio_slot(&m->vmm, "mem1")->mem_option->addr));
	assert_int_equal(mem_number(m, "mem0", "requested"), 4 * MIB);
	/* The next guest finds a device as good as new. */
	assert_true(machine_drive_mem(m, "mem0", 0));
	assert_int_equal(guest_driver_mem_request(&m->driver, GUEST_MEM_PLUG, addr, 2,
						  &(struct guest_mem_response){0}), GUEST_MEM_ACK);
	assert_non_null(fake_memory_at(addr));
	close(events);
	machine_stop(m);
}

/* What a driver does to its device: blocks and slots stay. */
static void a_device_reset_keeps_blocks_and_slots(void **state)
{
	struct machine *m = start("--reboot=restart");
	uint64_t addr = virtio_slot(&m->vmm, "mem0")->mem_option->addr;

	(void)state;
	guest_driver_reset(&m->driver);
	machine_turn(m);
	assert_int_equal(mem_number(m, "mem0", "plugged"), 2 * BLOCK);
	assert_non_null(fake_memory_at(addr));
	machine_stop(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_reset_ends_the_vmm_by_default),
		cmocka_unit_test(a_restart_waits_for_the_vcpus),
		cmocka_unit_test(a_restart_unplugs_clears_and_boots),
		cmocka_unit_test(a_device_reset_keeps_blocks_and_slots),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
