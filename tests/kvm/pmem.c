// SPDX-License-Identifier: BSD-3-Clause
/*
 * What the toy VMM does for persistent memory: which files it takes, where the guest has them, and
 * who waits for whom when one is flushed. What fdatasync() says, and when, is played here.
 */
#include "machine.h"

#include "../../examples/kvm/record.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define GIB (1024 * MIB)
#define SIZE (4 * MIB)
#define UNANSWERED 0xa5a5a5a5
#define FAILED UINT32_MAX

/* The disk: errors to give, and a gate that a sync waits at while it is shut. */
static struct {
	_Atomic int error;
	_Atomic unsigned syncs;
	_Atomic bool shut;
	int entered, opened; /* eventfds */
} disk;

int __wrap_fdatasync(int fd);
int __wrap_fdatasync(int fd)
{
	eventfd_t count;

	(void)fd;
	if (atomic_load(&disk.shut)) {
		eventfd_write(disk.entered, 1);
		eventfd_read(disk.opened, &count);
	}
	atomic_fetch_add(&disk.syncs, 1);
	errno = atomic_load(&disk.error);
	return errno ? -1 : 0;
}

static void disk_shut(void)
{
	atomic_store(&disk.shut, true);
}

static void disk_await(void)
{
	struct pollfd entered = {.fd = disk.entered, .events = POLLIN};
	eventfd_t count;

	assert_int_equal(poll(&entered, 1, PATIENCE * 1000), 1);
	eventfd_read(disk.entered, &count);
}

static void disk_open(void)
{
	atomic_store(&disk.shut, false);
	eventfd_write(disk.opened, 1);
}

static int setup(void **state)
{
	(void)state;
	disk.error = 0;
	disk.syncs = 0;
	disk.shut = false;
	disk.entered = eventfd(0, EFD_CLOEXEC);
	disk.opened = eventfd(0, EFD_CLOEXEC);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	close(disk.entered);
	close(disk.opened);
	return 0;
}

/* ---- files ---- */

static char files[2][40], pmem_words[2][96];

/* File number @which, @size bytes long; returns it as an option. */
static const char *make_file(int which, uint64_t size, const char *more)
{
	int fd;

	snprintf(files[which], sizeof(files[0]), "/tmp/toyvmm-pmem.XXXXXX");
	fd = mkstemp(files[which]);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	close(fd);
	snprintf(pmem_words[which], sizeof(pmem_words[0]), "--pmem=path=%s%s", files[which], more);
	return pmem_words[which];
}

static uint8_t byte_in(const char *path, uint64_t offset)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	uint8_t byte = 0xee;

	assert_int_equal(pread(fd, &byte, 1, (off_t)offset), 1);
	close(fd);
	return byte;
}

static struct machine *start(const char *option)
{
	return machine_start((const char *const[]){
		"--memory=64M", option, "--reboot=restart", NULL});
}

static void stop(struct machine *m)
{
	machine_stop(m);
	unlink(files[0]);
}

/* ---- requests ---- */

static void send_flush(struct machine *m)
{
	const struct vmemdev_buf bufs[2] = {
		{.gpa = m->driver.request, .len = 4, .writable = 0},
		{.gpa = m->driver.request + 4, .len = 4, .writable = 1},
	};

	guest_store32(&m->memory, m->driver.request, 0);
	guest_store32(&m->memory, m->driver.request + 4, UNANSWERED);
	assert_true(guest_queue_add(&m->driver.queues[0], bufs, 2, NULL) >= 0);
	guest_driver_submit(&m->driver, 0);
	machine_turn(m);
}

static uint32_t answer_to(struct machine *m)
{
	time_t end = time(NULL) + PATIENCE;
	struct guest_used used;

	while (guest_queue_poll(&m->driver.queues[0], &used) != 1) {
		assert_true(time(NULL) < end);
		machine_turn(m);
	}
	assert_int_equal(used.len, 4);
	return guest_load32(&m->memory, m->driver.request + 4);
}

static uint32_t flush(struct machine *m)
{
	send_flush(m);
	return answer_to(m);
}

/* ---- what is shown ---- */

/* shows: PMEM-04 PMEM-13 PMEM-14 LNX-PMEM-05 */
static void PMEM_14_a_file_is_memory_of_the_guest(void **state)
{
	struct machine *m = machine_start((const char *const[]){
		"--memory=64M", "--balloon", "--mem=size=1G", make_file(0, SIZE, ""),
		make_file(1, 2 * MIB, ",addr=0x200200000"), NULL});
	const struct fake_memory *memory = fake_memory_at(6 * GIB);
	uint64_t before;

	(void)state;
	assert_non_null(memory);
	assert_int_equal(memory->gpa, 6 * GIB); /* as Linux's memory block may be 2 GiB */
	assert_int_equal(memory->len, SIZE);
	assert_false(memory->read_only);
	assert_int_equal(fake_memory_at(0x200200000)->len, 2 * MIB);
	assert_int_equal(pmem_number(m, "pmem0", "addr"), 6 * GIB);
	assert_int_equal(pmem_number(m, "pmem0", "size"), SIZE);
	assert_int_equal(pmem_number(m, "pmem1", "addr"), 0x200200000);
	before = memory_resident(&m->vmm);
	((uint8_t *)memory->host)[SIZE - 1] = 0x77;
	assert_int_equal(byte_in(files[0], SIZE - 1), 0x77);
	/* It is neither RAM nor what a balloon is made of. */
	assert_int_equal(memory_resident(&m->vmm), before);
	assert_int_equal(m->vmm.balloon.track_count, 2);
	assert_true(machine_drive_mem(m, "pmem0", 0));
	assert_int_equal(guest_driver_config64(&m->driver, 0), 6 * GIB);
	assert_int_equal(guest_driver_config64(&m->driver, 8), SIZE);
	unlink(files[1]);
	stop(m);
}

/* shows: PMEM-02 */
static void PMEM_02_the_region_is_offered_as_shared_memory(void **state)
{
	struct machine *m = start(make_file(0, SIZE, ",region=shmem"));

	(void)state;
	assert_true(machine_drive_mem(m, "pmem0", VMEMDEV_PMEM_F_SHMEM_REGION));
	assert_true(m->driver.features & VMEMDEV_PMEM_F_SHMEM_REGION);
	assert_int_equal(guest_driver_config64(&m->driver, 0), 0);
	stop(m);
}

/* shows: PMEM-06 PMEM-07 */
static void PMEM_06_nobody_waits_for_the_disk_but_who_asked(void **state)
{
	struct machine *m = start(make_file(0, SIZE, ""));
	struct guest_used used;

	(void)state;
	assert_true(machine_drive_mem(m, "pmem0", 0));
	disk_shut();
	send_flush(m);
	disk_await();
	/* The loop turns, and answers others. */
	assert_int_equal(pmem_number(m, "pmem0", "host_calls"), 1);
	assert_int_equal(pmem_number(m, "pmem0", "requests"), 0);
	assert_int_equal(guest_queue_poll(&m->driver.queues[0], &used), 0);
	disk_open();
	assert_int_equal(answer_to(m), 0);
	assert_int_equal(disk.syncs, 1);
	assert_int_equal(pmem_number(m, "pmem0", "requests"), 1);
	stop(m);
}

/* shows: PMEM-08 PMEM-09 */
static void PMEM_09_a_failure_is_told_to_the_guest_and_to_people(void **state)
{
	struct machine *m = start(make_file(0, SIZE, ""));
	int events = client_open(m);
	struct json_object *event;

	(void)state;
	assert_true(machine_drive_mem(m, "pmem0", 0));
	client_say(events, "{\"cmd\":\"events\"}");
	json_object_put(client_hear(m, events));
	for (int i = 0; i < 2; i++) {
		disk.error = EIO;
		listen_start();
		assert_int_equal(flush(m), FAILED);
		assert_non_null(strstr(listen_stop(), "fdatasync"));
		event = client_hear(m, events);
		assert_string_equal(text_of(event, "event"), "flush-failed");
		assert_string_equal(text_of(event, "id"), "pmem0");
		assert_non_null(strstr(text_of(event, "reason"), strerror(EIO)));
		json_object_put(event);
		listen_start();
		assert_int_equal(flush(m), FAILED);
		assert_string_equal(listen_stop(), ""); /* once is enough */
		json_object_put(client_hear(m, events));
		disk.error = 0;
		assert_int_equal(flush(m), 0);
	}
	assert_int_equal(pmem_number(m, "pmem0", "failed"), 4);
	assert_int_equal(pmem_number(m, "pmem0", "host_failures"), 4);
	assert_int_equal(pmem_number(m, "pmem0", "requests"), 2);
	close(events);
	stop(m);
}

/* shows: PMEM-06 PMEM-08 */
static void PMEM_06_what_is_readonly_fails_once_it_was_written(void **state)
{
	struct machine *m = start(make_file(0, SIZE, ",readonly"));
	const struct fake_memory *memory = fake_memory_at(4 * GIB);
	const char *words;

	(void)state;
	assert_true(memory->read_only);
	assert_true(machine_drive_mem(m, "pmem0", 0));
	assert_int_equal(flush(m), 0);
	listen_start();
	virtio_write(&m->vmm, 4 * GIB - 1, 1, 1);
	virtio_write(&m->vmm, 4 * GIB + SIZE, 1, 1);
	assert_int_equal(flush(m), 0);
	virtio_write(&m->vmm, 4 * GIB + SIZE - 1, 1, 1);
	virtio_write(&m->vmm, 4 * GIB, 1, 1);
	words = listen_stop();
	assert_non_null(strstr(words, "wrote to 0x1003fffff"));
	assert_non_null(strstr(words, files[0]));
	assert_null(strstr(words, "0x100000000"));
	assert_int_equal(pmem_number(m, "pmem0", "dropped_writes"), 2);
	assert_int_equal(flush(m), FAILED);
	assert_int_equal(flush(m), FAILED);
	assert_int_equal(disk.syncs, 0);
	/* Whatever this process writes, it is not to the file. */
	((uint8_t *)memory->host)[0] = 0x77;
	assert_int_equal(byte_in(files[0], 0), 0);
	stop(m);
}

/* shows: PMEM-12 */
static void PMEM_12_a_restart_finds_what_was_written(void **state)
{
	struct machine *m = start(make_file(0, SIZE, ""));

	(void)state;
	((uint8_t *)fake_memory_at(4 * GIB)->host)[PAGE] = 0x77;
	reset_request(&m->vmm, "guest reset");
	reset_proceed(&m->vmm);
	assert_int_equal(fake_kvm.renewals, 1);
	assert_non_null(fake_memory_at(4 * GIB));
	assert_false(fake_memory_at(4 * GIB)->read_only);
	assert_int_equal(((uint8_t *)fake_memory_at(4 * GIB)->host)[PAGE], 0x77);
	stop(m);
	m = start(make_file(0, SIZE, ",readonly"));
	virtio_write(&m->vmm, 4 * GIB, 1, 1);
	reset_request(&m->vmm, "guest reset");
	reset_proceed(&m->vmm);
	assert_true(fake_memory_at(4 * GIB)->read_only);
	assert_true(machine_drive_mem(m, "pmem0", 0));
	assert_int_equal(flush(m), 0);
	stop(m);
}

static void *open_later(void *ctx)
{
	(void)ctx;
	disk_await();
	disk_open();
	return NULL;
}

/* shows: PMEM-06 */
static void PMEM_06_the_end_waits_for_the_flush_and_tells_of_it(void **state)
{
	struct machine *m = start(make_file(0, SIZE, ""));
	pthread_t other;

	(void)state;
	assert_true(machine_drive_mem(m, "pmem0", 0));
	disk_shut();
	disk.error = EIO;
	send_flush(m);
	assert_int_equal(pthread_create(&other, NULL, open_later, NULL), 0);
	listen_start();
	pmem_finish(&m->vmm);
	assert_non_null(strstr(listen_stop(), "fdatasync"));
	assert_int_equal(disk.syncs, 1);
	pthread_join(other, NULL);
	stop(m);
}

static void refused(const char *first, const char *second, const char *words)
{
	machine_refused((const char *const[]){"--memory=64M", first, second, NULL}, 32764, 52,
			words);
}

static void a_wrong_file_is_refused_by_name(void **state)
{
	(void)state;
	refused("--pmem=path=/tmp/none/such", NULL, "path=/tmp/none/such: No such file");
	refused("--pmem=path=/tmp", NULL, "path=/tmp: Is a directory");
	refused("--pmem=path=/tmp,readonly", NULL, "path=/tmp: expected a regular file");
	refused(make_file(0, 0, ""), NULL, "has 0 bytes: expected a multiple of 2M, which Linux"
		" has page structures for: \"truncate -s 2M /tmp/");
	unlink(files[0]);
	refused(make_file(0, 2 * MIB + 1, ""), NULL, "has 2097153 bytes");
	unlink(files[0]);
	refused(make_file(0, 3 * MIB, ""), NULL, "truncate -s 4M");
	unlink(files[0]);
	refused(make_file(0, SIZE, ",addr=4G"), make_file(1, SIZE, ",addr=0x100200000"),
		"--pmem: pmem1");
	unlink(files[0]);
	unlink(files[1]);
	make_file(0, SIZE, "");
	machine_refused((const char *const[]){"--memory=64M", pmem_words[0], NULL}, 32764, 32,
			"--pmem: pmem0: 4194304 bytes from 0x100000000 on end at 0x100400000");
	machine_refused((const char *const[]){"--memory=64M", pmem_words[0], NULL}, 2, 52,
			"this KVM has 2 memory slots, and none is left");
	unlink(files[0]);
}

/* shows: PMEM-13 */
static void PMEM_13_a_file_is_for_one_writer(void **state)
{
	const char *option = make_file(0, SIZE, ""), *words = "is in use by another VMM";
	char shared[120];
	struct machine *m;

	(void)state;
	refused(option, option, "--pmem: pmem1");
	m = start(option);
	refused(option, NULL, words);
	snprintf(shared, sizeof(shared), "%s,readonly", option);
	refused(shared, NULL, words);
	machine_stop(m);
	/* Readers do not mind each other. */
	m = machine_start((const char *const[]){"--memory=64M", shared, shared, NULL});
	refused(option, NULL, words);
	stop(m);
}

/* ---- moving ---- */

/* The disk is done by the time that the vCPUs stand still, but the guest was not answered. */
static void send_and_save(struct machine *m, const char *path)
{
	disk_shut();
	send_flush(m);
	disk_await();
	disk_open();
	assert_int_equal(snapshot_start(&m->vmm, path, false), 0);
	pause_proceed(&m->vmm);
}

static void restore(struct machine *m, const char *path)
{
	struct record record = {0};

	m->vmm.options.restore = path;
	listen_start();
	assert_int_equal(snapshot_restore(&m->vmm, &record), 0);
	assert_int_equal(saved_load_machine(&m->vmm, &record), 0);
	listen_stop();
	record_free(&record);
}

/* shows: PMEM-06 */
static void PMEM_06_a_flush_that_goes_on_when_saved_is_asked_for_again(void **state)
{
	struct machine *m = start(make_file(0, SIZE, ""));
	char path[48];

	(void)state;
	snprintf(path, sizeof(path), "%s.saved", files[0]);
	assert_true(machine_drive_mem(m, "pmem0", 0));
	send_and_save(m, path);
	assert_true(m->vmm.slots[0].pmem.moved_flushing);
	/* Here it goes on, too, and is answered without a second flush. */
	assert_int_equal(answer_to(m), 0);
	assert_int_equal(atomic_load(&disk.syncs), 1);
	assert_int_equal(flush(m), 0);
	machine_stop(m);

	m = machine_start((const char *const[]){
		"--memory=64M", pmem_words[0], "--restore=unnamed", NULL});
	restore(m, path);
	machine_turn(m);
	for (time_t end = time(NULL) + PATIENCE; !pmem_number(m, "pmem0", "requests");)
		assert_true(time(NULL) < end);
	assert_int_equal(pmem_number(m, "pmem0", "requests"), 1);
	assert_int_equal(atomic_load(&disk.syncs), 3);
	unlink(path);
	stop(m);
}

/* shows: PMEM-09 */
static void PMEM_09_a_flush_that_failed_has_failed_after_the_move(void **state)
{
	struct machine *m = start(make_file(0, SIZE, ""));
	char path[48];

	(void)state;
	snprintf(path, sizeof(path), "%s.saved", files[0]);
	assert_true(machine_drive_mem(m, "pmem0", 0));
	atomic_store(&disk.error, EIO);
	listen_start();
	send_and_save(m, path);
	listen_stop();
	assert_int_equal(answer_to(m), FAILED);
	machine_stop(m);
	atomic_store(&disk.error, 0);

	m = machine_start((const char *const[]){
		"--memory=64M", pmem_words[0], "--restore=unnamed", NULL});
	restore(m, path);
	for (time_t end = time(NULL) + PATIENCE; !pmem_number(m, "pmem0", "failed");)
		assert_true(time(NULL) < end);
	assert_int_equal(pmem_number(m, "pmem0", "requests"), 0);
	unlink(path);
	stop(m);
}

/* shows: PMEM-09 */
static void PMEM_09_what_was_lost_stays_lost_after_the_move(void **state)
{
	struct machine *m = start(make_file(0, SIZE, ",readonly"));
	char path[48];

	(void)state;
	snprintf(path, sizeof(path), "%s.saved", files[0]);
	assert_true(machine_drive_mem(m, "pmem0", 0));
	listen_start();
	pmem_wrote(&m->vmm, m->vmm.options.pmem[0].addr);
	pmem_wrote(&m->vmm, m->vmm.options.pmem[0].addr);
	listen_stop();
	assert_int_equal(snapshot_start(&m->vmm, path, false), 0);
	pause_proceed(&m->vmm);
	machine_stop(m);

	m = machine_start((const char *const[]){
		"--memory=64M", pmem_words[0], "--restore=unnamed", NULL});
	restore(m, path);
	assert_int_equal(pmem_number(m, "pmem0", "dropped_writes"), 2);
	assert_true(virtio_slot(&m->vmm, "pmem0")->pmem.lossy);
	unlink(path);
	stop(m);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(PMEM_14_a_file_is_memory_of_the_guest),
		TEST(PMEM_02_the_region_is_offered_as_shared_memory),
		TEST(PMEM_06_nobody_waits_for_the_disk_but_who_asked),
		TEST(PMEM_09_a_failure_is_told_to_the_guest_and_to_people),
		TEST(PMEM_06_what_is_readonly_fails_once_it_was_written),
		TEST(PMEM_12_a_restart_finds_what_was_written),
		TEST(PMEM_06_the_end_waits_for_the_flush_and_tells_of_it),
		TEST(a_wrong_file_is_refused_by_name),
		TEST(PMEM_13_a_file_is_for_one_writer),
		TEST(PMEM_06_a_flush_that_goes_on_when_saved_is_asked_for_again),
		TEST(PMEM_09_a_flush_that_failed_has_failed_after_the_move),
		TEST(PMEM_09_what_was_lost_stays_lost_after_the_move),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
