// SPDX-License-Identifier: BSD-3-Clause
/*
 * Snapshots: what is in the file and what is not, files that were damaged or are of another
 * machine, and disks that are full.
 */
#include "machine.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../examples/kvm/record.h"

#define BLOCK (2 * MIB)
#define HINT 3
#define HEAD 32 /* bytes, of the file */
#define RUN_HEAD 16
#define BALLOONED (PLAY_GPA + 8 * MIB)
#define TOUCHED (PLAY_GPA + 16 * MIB) /* and zero */
#define PLUGGED 3                     /* blocks, from the second on */

#define MEMORY "--memory=64M"
#define BALLOON "--balloon=frame=4K"
#define MEM "--mem=size=1G,slots=4M,guarded=on,requested=16M"

static const char *const usual[] = {MEMORY, BALLOON, MEM, NULL};

/* ---- making one ---- */

struct saved {
	struct machine *m;
	char path[128];
	struct json_object *event; /* the last one of the snapshot */
};

static void no_driver(struct saved *s)
{
	machine_stop(s->m);
	json_object_put(s->event);
}

/* Ask for it, and have it written. */
static void take(struct saved *s, const char *more)
{
	int client = client_open(s->m);
	char line[512];
	struct json_object *object;

	snprintf(s->path, sizeof(s->path), "%s/snapshot", s->m->directory);
	snprintf(line, sizeof(line), "{\"cmd\":\"snapshot\",\"file\":\"%s\"%s}", s->path, more);
	client_say(client, "{\"cmd\":\"events\"}");
	json_object_put(client_hear(s->m, client));
	client_say(client, line);
	object = client_hear(s->m, client);
	assert_null(json_object_object_get(object, "error"));
	do {
		json_object_put(object);
		object = client_hear(s->m, client);
	} while (strcmp(text_of(object, "event"), "snapshot") ||
		 !strcmp(text_of(object, "state"), "writing"));
	s->event = object;
	close(client);
	machine_turn(s->m);
}

static void fill(struct machine *m)
{
	uint64_t addr = virtio_slot(&m->vmm, "mem0")->mem_option->addr;
	uint32_t pfns[64];
	struct guest_mem_response response;

	assert_true(machine_drive_mem(m, "mem0", VMEMDEV_MEM_F_UNPLUGGED_INACCESSIBLE));
	assert_int_equal(guest_driver_mem_request(&m->driver, GUEST_MEM_PLUG, addr + BLOCK,
						  PLUGGED, &response), GUEST_MEM_ACK);
	guest_driver_close(&m->driver);
	m->driven = false;
	memset((char *)vmemdev_linux_region(&m->vmm.memory, addr)->host + BLOCK, 0x77, PAGE);
	machine_drive(m, VMEMDEV_BALLOON_F_MUST_TELL_HOST | VMEMDEV_BALLOON_F_FREE_PAGE_HINT);
	memset(memory_at(&m->vmm, PLAY_GPA, PAGE), 0x5a, PAGE);
	memset(memory_at(&m->vmm, PLAY_GPA + 2 * PAGE, PAGE), 0x5b, PAGE);
	memset(memory_at(&m->vmm, BALLOONED, 64 * PAGE), 0x11, 64 * PAGE);
	memset(memory_at(&m->vmm, TOUCHED, 4 * PAGE), 0, 4 * PAGE);
	for (uint32_t i = 0; i < 64; i++)
		pfns[i] = (uint32_t)(BALLOONED / PAGE) + i;
	assert_true(guest_driver_send_pfns(&m->driver, 0, pfns, 64, 1) >= 0);
	machine_turn(m);
}

static void make(struct saved *s)
{
	*s = (struct saved){.m = machine_start(usual)};
	fill(s->m);
	take(s, "");
	assert_string_equal(text_of(s->event, "state"), "done");
}

/* ---- reading one ---- */

/* returns: 0, or -1 with what was said in *@words */
static int restore(const char *path, const char *const *options, struct machine **m,
		   const char **words)
{
	char option[160];
	const char *all[12] = {option};
	struct record record = {0};
	int err;

	snprintf(option, sizeof(option), "--restore=%s", path);
	for (int i = 0; options[i] != NULL; i++)
		all[i + 1] = options[i];
	*m = machine_start(all);
	(*m)->vmm.options.restore = path;
	listen_start();
	err = snapshot_restore(&(*m)->vmm, &record) || saved_load_machine(&(*m)->vmm, &record);
	*words = listen_stop();
	record_free(&record);
	return err ? -1 : 0;
}

static void refused_or(const char *path, const char *const *options, const char *words,
		       const char *or)
{
	struct machine *m;
	const char *said;
	int err = restore(path, options, &m, &said);

	machine_stop(m);
	if (!err || (strstr(said, words) == NULL && strstr(said, or) == NULL))
		fail_msg("restored: %s, \"%s\", expected \"%s\" in it", err ? "no" : "yes", said,
			 words);
}

static void refused(const char *path, const char *const *options, const char *words)
{
	refused_or(path, options, words, words);
}

/* The file at @path with @len bytes of @bytes at @at, under another name. */
static char *changed(const struct saved *s, uint64_t at, const void *bytes, size_t len)
{
	static char path[160];
	char command[400];
	int fd;

	snprintf(path, sizeof(path), "%s.changed", s->path);
	snprintf(command, sizeof(command), "cp %s %s", s->path, path);
	assert_int_equal(system(command), 0);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	assert_int_equal(pwrite(fd, bytes, len, (off_t)at), len);
	close(fd);
	return path;
}

static uint64_t number_in(const struct saved *s, uint64_t at)
{
	int fd = open(s->path, O_RDONLY | O_CLOEXEC);
	uint64_t value = 0;

	assert_int_equal(pread(fd, &value, sizeof(value), (off_t)at), sizeof(value));
	close(fd);
	return value;
}

static void with_number(const struct saved *s, uint64_t at, uint64_t value, const char *words)
{
	char *path = changed(s, at, &value, sizeof(value));

	refused(path, usual, words);
	unlink(path);
}

static uint64_t file_size(const char *path)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	return (uint64_t)st.st_size;
}

static void end(struct saved *s)
{
	unlink(s->path);
	no_driver(s);
}

/* ---- what it is ---- */

static void what_is_not_needed_is_left_out_and_counted(void **state)
{
	struct saved s;
	uint64_t all = 0;
	static const char *const kinds[] = {"written", "unplugged", "ballooned", "hinted",
					    "absent", "zero"};

	(void)state;
	make(&s);
	for (size_t i = 0; i < 6; i++)
		all += number_of(s.event, kinds[i]);
	assert_int_equal(all, 64 * MIB + 1024 * MIB);
	assert_int_equal(number_of(s.event, "unplugged"), 1024 * MIB - PLUGGED * BLOCK);
	assert_int_equal(number_of(s.event, "ballooned"), 64 * PAGE);
	assert_int_equal(number_of(s.event, "hinted"), 0);
	assert_true(number_of(s.event, "zero") >= 4 * PAGE);
	/* Three pages, and what the model driver has of its own, all below its 2 MiB. */
	assert_true(number_of(s.event, "written") >= 3 * PAGE);
	assert_true(number_of(s.event, "written") < 2 * MIB);
	assert_true(number_of(s.event, "absent") > 60 * MIB);
	assert_int_equal(number_of(s.event, "file_size"), file_size(s.path));
	assert_true(file_size(s.path) < number_of(s.event, "written") + 65536);
	assert_int_equal(number_of(json_object_object_get(s.event, "balloon"), "target"), 0);
	assert_int_equal(fake_kvm.pauses, 1);
	assert_int_equal(fake_kvm.goes_on, 1);
	end(&s);
}

/* To look is not to touch: pages that are not there stay so. */
static void a_snapshot_brings_no_pages(void **state)
{
	static const char *const backings[] = {"--memory=64M", "--memory=64M,backing=memfd"};

	(void)state;
	for (int i = 0; i < 2; i++) {
		struct saved s = {.m = machine_start((const char *const[]){
			backings[i], "--balloon", "--mem=size=1G", NULL})};
		uint64_t before;

		machine_drive(s.m, 0);
		memset(memory_at(&s.m->vmm, PLAY_GPA, PAGE), 1, PAGE);
		before = memory_resident(&s.m->vmm);
		take(&s, "");
		assert_int_equal(memory_resident(&s.m->vmm), before);
		assert_true(number_of(s.event, "absent") > 60 * MIB);
		end(&s);
	}
}

static void check_restored(struct machine *m)
{
	uint64_t addr = virtio_slot(&m->vmm, "mem0")->mem_option->addr;
	const uint8_t *block = (uint8_t *)vmemdev_linux_region(&m->vmm.memory, addr)->host + BLOCK;
	const uint8_t *ram = memory_at(&m->vmm, 0, 64 * MIB);
	struct vmemdev_range run;

	assert_true(vmemdev_mem_next(&virtio_slot(&m->vmm, "mem0")->mem, 0, true, &run));
	assert_int_equal(run.gpa, addr + BLOCK);
	assert_int_equal(run.len, PLUGGED * BLOCK);
	assert_int_equal(block[0], 0x77);
	assert_int_equal(block[PAGE - 1], 0x77);
	assert_int_equal(block[PAGE], 0);
	assert_int_equal(ram[PLAY_GPA + PAGE - 1], 0x5a);
	assert_int_equal(ram[PLAY_GPA + PAGE], 0);
	assert_int_equal(ram[PLAY_GPA + 2 * PAGE], 0x5b);
	assert_int_equal(ram[BALLOONED], 0);
	assert_int_equal(balloon_given(&m->vmm.balloon), 64 * PAGE);
	assert_int_equal(mem_number(m, "mem0", "requested"), 16 * MIB);
	/* KVM has the two slots of 4 MiB in which something is plugged. */
	assert_non_null(fake_memory_at(addr));
	assert_non_null(fake_memory_at(addr + 4 * MIB));
	assert_null(fake_memory_at(addr + 8 * MIB));
}

static void a_machine_comes_back_as_it_was(void **state)
{
	static const char *const memfd[] = {
		"--memory=64M,backing=memfd", "--balloon=frame=4K,report-min=0",
		"--mem=size=1G,slots=4M,populate=on", NULL};
	const char *const *options[] = {usual, memfd};
	struct machine *m;
	struct saved s;
	const char *said;

	(void)state;
	make(&s);
	for (int i = 0; i < 2; i++) {
		if (restore(s.path, options[i], &m, &said))
			fail_msg("refused: %s", said);
		check_restored(m);
		machine_stop(m);
	}
	end(&s);
}

/* What is not in the snapshot is zeros, whatever the file held that memory is in. */
static void a_file_of_memory_begins_empty(void **state)
{
	static const char *const more[] = {"", ",shared=off"};
	static uint8_t z[MIB];
	char ram[128], option[160];
	struct machine *m;
	struct saved s;
	const char *said;

	(void)state;
	make(&s);
	snprintf(ram, sizeof(ram), "%s/ram", s.m->directory);
	memset(z, 'Z', sizeof(z));
	for (int i = 0; i < 2; i++) {
		int fd = open(ram, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

		/* The RAM, and the first blocks of the device. */
		for (int n = 0; n < 80; n++)
			assert_int_equal(write(fd, z, MIB), MIB);
		assert_int_equal(ftruncate(fd, (64 + 1024) * (off_t)MIB), 0);
		close(fd);
		snprintf(option, sizeof(option), "--memory=64M,backing=file,path=%s%s", ram,
			 more[i]);
		if (restore(s.path, (const char *const[]){option, BALLOON, MEM, NULL}, &m, &said))
			fail_msg("refused: %s", said);
		check_restored(m);
		assert_int_equal(*(const uint8_t *)memory_at(&m->vmm, TOUCHED, 1), 0);
		machine_stop(m);
		unlink(ram);
	}
	end(&s);
}

/* One that is refused has cost nothing. */
static void a_refused_snapshot_leaves_the_file_of_memory(void **state)
{
	char ram[128], option[160], byte = 0;
	struct saved s;
	int fd;

	(void)state;
	make(&s);
	snprintf(ram, sizeof(ram), "%s/ram", s.m->directory);
	snprintf(option, sizeof(option), "--memory=128M,backing=file,path=%s", ram);
	fd = open(ram, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	assert_int_equal(ftruncate(fd, (128 + 1024) * (off_t)MIB), 0);
	assert_int_equal(pwrite(fd, "Z", 1, PLAY_GPA), 1);
	refused(s.path, (const char *const[]){option, BALLOON, MEM, NULL}, "expected the options");
	assert_int_equal(pread(fd, &byte, 1, PLAY_GPA), 1);
	assert_int_equal(byte, 'Z');
	close(fd);
	unlink(ram);
	end(&s);
}

static void a_restored_machine_can_be_saved_again(void **state)
{
	struct saved s, again = {0};
	const char *said;

	(void)state;
	make(&s);
	assert_int_equal(restore(s.path, usual, &again.m, &said), 0);
	take(&again, "");
	assert_int_equal(number_of(again.event, "written"), number_of(s.event, "written"));
	assert_int_equal(number_of(again.event, "ballooned"), 64 * PAGE);
	unlink(again.path);
	no_driver(&again);
	end(&s);
}

static void then_quit_ends_the_vmm(void **state)
{
	struct saved s = {.m = machine_start((const char *const[]){"--memory=64M", NULL})};

	(void)state;
	take(&s, ",\"then\":\"quit\"");
	assert_string_equal(text_of(s.event, "state"), "done");
	assert_int_equal(atomic_load(&s.m->vmm.exit_status), EXIT_POWER_OFF);
	assert_int_equal(fake_kvm.goes_on, 0);
	end(&s);
}

static void it_waits_for_the_vcpus_and_for_a_reset(void **state)
{
	struct saved s = {.m = machine_start((const char *const[]){
		"--memory=64M", "--reboot=restart", NULL})};
	struct vmm *vmm = &s.m->vmm;

	(void)state;
	snprintf(s.path, sizeof(s.path), "%s/snapshot", s.m->directory);
	atomic_store(&vmm->vcpus_running, 1);
	assert_int_equal(snapshot_start(vmm, s.path, false), 0);
	assert_int_equal(snapshot_start(vmm, s.path, false), -1);
	pause_proceed(vmm);
	pause_proceed(vmm);
	assert_int_equal(fake_kvm.pauses, 1);
	assert_int_not_equal(access(s.path, F_OK), 0);
	reset_request(vmm, "guest reset");
	atomic_store(&vmm->vcpus_running, 0);
	pause_proceed(vmm);
	assert_int_not_equal(access(s.path, F_OK), 0);
	listen_start();
	reset_proceed(vmm);
	listen_stop();
	pause_proceed(vmm);
	assert_int_equal(fake_kvm.pauses, 2);
	assert_int_equal(access(s.path, F_OK), 0);
	end(&s);
}

static void still(struct vmm *vmm)
{
	(void)vmm;
}

/* A record that was sent is of no use once a device has moved on. */
static void no_device_moves_while_the_guest_stands_still(void **state)
{
	struct saved s = {.m = machine_start(usual)};
	const uint32_t pfn = BALLOONED / PAGE;

	(void)state;
	machine_drive(s.m, VMEMDEV_BALLOON_F_MUST_TELL_HOST);
	assert_true(pause_start(&s.m->vmm, still));
	machine_turn(s.m);
	assert_true(guest_driver_send_pfns(&s.m->driver, 0, &pfn, 1, 1) >= 0);
	vmemdev_device_kick(s.m->vmm.balloon.slot->device, 0);
	machine_turn(s.m);
	assert_int_equal(balloon_number(s.m, "pages_inflated"), 0);
	pause_end(&s.m->vmm);
	machine_turn(s.m);
	assert_int_equal(balloon_number(s.m, "pages_inflated"), 1);
	no_driver(&s);
}

/* ---- hints ---- */

static void hint(struct machine *m, uint64_t gpa, uint32_t len, bool write)
{
	struct vmemdev_buf buf = {.gpa = gpa, .len = len, .writable = write};

	assert_true(guest_queue_add(&m->driver.queues[HINT], &buf, 1, NULL) >= 0);
	guest_driver_submit(&m->driver, HINT);
	machine_turn(m);
}

static void open_round(struct machine *m)
{
	uint8_t command[4];
	uint64_t at = guest_place(&m->memory, sizeof(command), 4);

	ask_ok(m, "{\"cmd\":\"hint\",\"step\":\"start\"}");
	guest_driver_config_read(&m->driver, 8, command, sizeof(command));
	memcpy(memory_at(&m->vmm, at, 4), command, 4);
	hint(m, at, 4, false);
}

static struct saved start_hinting(void)
{
	struct saved s = {.m = machine_start((const char *const[]){
		"--memory=64M", "--balloon", NULL})};

	machine_drive(s.m, VMEMDEV_BALLOON_F_FREE_PAGE_HINT);
	memset(memory_at(&s.m->vmm, PLAY_GPA, 4 * MIB), 0x5a, 4 * MIB);
	open_round(s.m);
	return s;
}

/* shows: BAL-HINT-06 BAL-HINT-12 */
static void BAL_HINT_06_hinted_pages_are_left_out_unless_written_since(void **state)
{
	struct saved s = start_hinting();

	(void)state;
	fake_write(PLAY_GPA); /* before its hint arrives */
	hint(s.m, PLAY_GPA, 2 * MIB, true);
	fake_write(PLAY_GPA + PAGE); /* and after */
	take(&s, "");
	assert_int_equal(number_of(s.event, "hinted"), 2 * MIB - 2 * PAGE);
	json_object_put(s.event);
	/* What was seen to be written stays so, though KVM has told it only once. */
	hint(s.m, PLAY_GPA, PAGE, true);
	take(&s, "");
	assert_int_equal(number_of(s.event, "hinted"), 2 * MIB - 2 * PAGE);
	end(&s);
}

/* shows: BAL-HINT-07 */
static void BAL_HINT_07_after_done_nothing_counts_as_hinted(void **state)
{
	struct saved s = start_hinting();

	(void)state;
	hint(s.m, PLAY_GPA, 2 * MIB, true);
	ask_ok(s.m, "{\"cmd\":\"hint\",\"step\":\"done\"}");
	assert_false(fake_kvm.logs[LOW_RAM_SLOT]);
	take(&s, "");
	assert_int_equal(number_of(s.event, "hinted"), 0);
	assert_true(number_of(s.event, "written") >= 4 * MIB);
	end(&s);
}

/* shows: BAL-HINT-11 */
static void BAL_HINT_11_hints_of_an_earlier_round_stay_good(void **state)
{
	struct saved s = start_hinting();

	(void)state;
	hint(s.m, PLAY_GPA, MIB, true);
	fake_write(PLAY_GPA);
	open_round(s.m);
	hint(s.m, PLAY_GPA + MIB, MIB, true);
	take(&s, "");
	assert_int_equal(number_of(s.event, "hinted"), 2 * MIB - PAGE);
	json_object_put(s.event);
	guest_driver_reset(&s.m->driver);
	take(&s, "");
	assert_int_equal(number_of(s.event, "hinted"), 0);
	end(&s);
}

/* ---- files that are refused ---- */

static void another_machine_is_named(void **state)
{
	static const struct {
		const char *options[5], *words;
	} others[] = {
		{{"--memory=128M", BALLOON, MEM}, "--memory: was \"67108864\" when the machine was "
		 "saved, and is \"134217728\" now: expected the options"},
		{{MEMORY, MEM}, "was saved with \"--balloon: deflate-on-oom=off"},
		{{MEMORY, BALLOON}, "no such device now"},
		{{MEMORY, BALLOON, MEM, "--mem=size=1G"}, "was saved without \"--mem: id=mem1"},
		{{MEMORY, BALLOON, "--mem=size=2G,requested=16M"},
		 "--mem: id=mem0: was \"size=1073741824\""},
		{{MEMORY, "--balloon=frame=4K,queue-size=64", MEM},
		 "--balloon: was \"queue-size=default\" when the machine was saved, and is "
		 "\"queue-size=64\" now"},
		{{MEMORY, "--balloon=frame=2M", MEM}, "is \"frame=2097152\" now"},
		{{MEMORY, BALLOON, "--mem=size=1G,addr=8G"}, "addr=0x200000000"},
		{{MEMORY, BALLOON, MEM, "--packed"},
		 "is \"packed=on\" now (--packed is packed=on for all)"},
	};
	struct saved s;

	(void)state;
	make(&s);
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		refused(s.path, others[i].options, others[i].words);
	end(&s);
}

static void a_head_that_lies_is_refused(void **state)
{
	struct saved s;

	(void)state;
	make(&s);
	with_number(&s, 0, 0, "has written to its end");
	with_number(&s, 8, 2, "version 2");
	with_number(&s, 8, 1 | UINT64_C(1) << 32, "at byte 12 is 0x1: expected 0");
	with_number(&s, 16, UINT64_MAX, "a record of 18446744073709551615 bytes");
	with_number(&s, 16, file_size(s.path), "a record of");
	with_number(&s, 16, file_size(s.path) - HEAD, "record: at byte");
	with_number(&s, 24, UINT64_MAX, "cut short or damaged");
	with_number(&s, 24, file_size(s.path) - 1, "cut short or damaged");
	end(&s);
}

static void a_configuration_is_text(void **state)
{
	struct saved s;
	uint64_t len;

	(void)state;
	make(&s);
	assert_int_equal(number_in(&s, HEAD), PART_CONFIG);
	len = number_in(&s, HEAD + 8);
	/* One of the zeros that the part is filled up with, or what a terminal obeys. */
	with_number(&s, HEAD + 8, len % 8 ? len + 1 : len - 1, "the configuration is no text");
	with_number(&s, HEAD + 16, 0x1b5b324a1b5b324a, "the configuration is no text");
	end(&s);
}

static void a_file_that_was_cut_is_refused_wherever(void **state)
{
	struct saved s;
	uint64_t size;

	(void)state;
	make(&s);
	size = file_size(s.path);
	for (uint64_t at = 0; at < size; at += at < 4096 ? 97 : size / 16) {
		char *path = changed(&s, 0, "T", 1);

		assert_int_equal(truncate(path, (off_t)at), 0);
		refused(path, usual, "cut short");
		/* And if its head agreed. */
		if (at >= HEAD) {
			int fd = open(path, O_WRONLY | O_CLOEXEC);

			assert_int_equal(pwrite(fd, &at, sizeof(at), 24), sizeof(at));
			close(fd);
			refused_or(path, usual, "it is damaged", "it was cut short");
		}
		unlink(path);
	}
	end(&s);
}

static void memory_that_is_not_the_guests_is_refused(void **state)
{
	static const char words[] = "of the guest's RAM or of plugged blocks";
	uint64_t addr, run;
	struct saved s;

	(void)state;
	make(&s);
	addr = virtio_slot(&s.m->vmm, "mem0")->mem_option->addr;
	run = HEAD + number_in(&s, 16);
	with_number(&s, run, 64 * MIB, words);         /* behind the RAM */
	with_number(&s, run, addr, words);             /* unplugged */
	with_number(&s, run, addr + BLOCK + 1, words); /* no page */
	with_number(&s, run, UINT64_MAX - PAGE + 1, words);
	with_number(&s, run + 8, UINT64_MAX, words);
	with_number(&s, run + 8, UINT64_MAX - PAGE + 1, words);
	with_number(&s, run + 8, 0, words);
	with_number(&s, run + 8, 128 * MIB, words);
	with_number(&s, run + 8, 32 * MIB, "the file ends there"); /* more than there is in the file */
	with_number(&s, run, addr + BLOCK, words);          /* the next one is below */
	end(&s);
}

/* What lasts by itself is nothing that a snapshot writes to. */
static void persistent_memory_is_not_written_by_a_snapshot(void **state)
{
	char path[128], option[160];
	struct machine *dir = machine_prepare((const char *const[]){"--memory=64M", NULL});
	struct saved s = {0};
	const char *const options[] = {"--memory=64M", option, NULL};
	uint64_t addr;
	char *bad;
	int fd;

	(void)state;
	snprintf(path, sizeof(path), "%s/pmem", dir->directory);
	fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	assert_int_equal(ftruncate(fd, 4 * (off_t)MIB), 0);
	snprintf(option, sizeof(option), "--pmem=path=%s", path);
	s.m = machine_start(options);
	memset(memory_at(&s.m->vmm, PLAY_GPA, PAGE), 0x5a, PAGE);
	addr = s.m->vmm.options.pmem[0].addr;
	take(&s, ",\"then\":\"quit\"");
	bad = changed(&s, HEAD + number_in(&s, 16), &addr, sizeof(addr));
	unlink(s.path);
	no_driver(&s);
	refused(bad, options, "of the guest's RAM or of plugged blocks");
	unlink(bad);
	close(fd);
	unlink(path);
	machine_stop(dir);
}

static void bytes_after_the_end_are_refused(void **state)
{
	struct saved s;
	uint64_t len;

	(void)state;
	make(&s);
	len = file_size(s.path);
	for (int i = 0; i < 2; i++) {
		uint64_t more = len + 1;
		char *path = changed(&s, len, "", 1);
		int fd = open(path, O_WRONLY | O_CLOEXEC);

		/* The head agrees, or does not. */
		if (i)
			assert_int_equal(pwrite(fd, &more, sizeof(more), 24), sizeof(more));
		close(fd);
		refused(path, usual, i ? "more follows its end" : "cut short or damaged");
		unlink(path);
	}
	end(&s);
}

/* ---- what only the host knows ---- */

static void what_the_host_was_about_to_do_goes_on(void **state)
{
	struct saved s = {.m = machine_start(usual)};
	struct vmemdev_mem_resize_config *asked;
	struct machine *m;
	const char *said;

	(void)state;
	machine_drive(s.m, VMEMDEV_BALLOON_F_STATS_VQ);
	ask_ok(s.m, "{\"cmd\":\"inhibit\"}");
	ask_ok(s.m, "{\"cmd\":\"inhibit\"}");
	ask_ok(s.m, "{\"cmd\":\"stats-period\",\"seconds\":7}");
	ask_ok(s.m, "{\"cmd\":\"resize\",\"id\":\"mem0\",\"size\":\"32M\",\"stall\":5,"
	       "\"timeout\":60}");
	/* Ten seconds of it are gone. */
	virtio_slot(&s.m->vmm, "mem0")->resize.started -= 10000;
	take(&s, "");
	if (restore(s.path, usual, &m, &said))
		fail_msg("refused: %s", said);
	assert_int_equal(m->vmm.balloon.inhibited, 2);
	assert_int_equal(vmemdev_balloon_uninhibit(&m->vmm.balloon.device), 0);
	assert_int_equal(vmemdev_balloon_uninhibit(&m->vmm.balloon.device), 0);
	assert_int_equal(vmemdev_balloon_uninhibit(&m->vmm.balloon.device), VMEMDEV_E_STATE);
	assert_int_equal(m->vmm.balloon.stats_period, 7);
	assert_true(resize_goes_on(&virtio_slot(&m->vmm, "mem0")->resize));
	asked = &virtio_slot(&m->vmm, "mem0")->resize.asked;
	assert_int_equal(asked->bytes, 32 * MIB);
	assert_int_equal(asked->stall_after, 5000);
	assert_true(asked->timeout > 0 && asked->timeout <= 50000);
	machine_stop(m);
	end(&s);
}

/* A later toyvmm may have more to say of a device, or more devices. */
static void a_record_from_a_later_toyvmm_is_named(void **state)
{
	struct machine *m = machine_start((const char *const[]){"--memory=64M", "--balloon", NULL});
	struct record record = {0}, more = {0};
	struct part part;

	(void)state;
	assert_int_equal(saved_take(&m->vmm, &record), 0);
	assert_non_null(record_add(&record, PART_DEVICE, 1, 8));
	listen_start();
	assert_int_equal(saved_load_devices(&m->vmm, &record), -1);
	assert_non_null(strstr(listen_stop(), "it has more devices than the options make"));
	assert_true(record_find(&record, PART_REGISTERS, 0, &part));
	memcpy(record_add(&more, PART_REGISTERS, 0, part.len), part.bytes, part.len);
	assert_true(record_find(&record, PART_HOST, 0, &part));
	assert_non_null(record_add(&more, PART_HOST, 0, part.len + 8));
	*(uint64_t *)record_add(&more, PART_CLOCK, 0, 8) = FAKE_CLOCK;
	assert_non_null(record_add(&more, PART_SERIAL, 0, 1));
	listen_start();
	assert_int_equal(saved_load_machine(&m->vmm, &more), -1);
	assert_non_null(strstr(listen_stop(), "it is from a later toyvmm"));
	record_free(&record);
	record_free(&more);
	machine_stop(m);
}

/* A head and a record in which any byte is another one: refused, or some other guest. */
static void no_byte_of_the_record_is_believed(void **state)
{
	struct saved s;
	uint64_t len;
	unsigned refusals = 0, tries = 0;

	(void)state;
	make(&s);
	len = HEAD + number_in(&s, 16) + RUN_HEAD;
	for (uint64_t at = 0; at < len; at += 3, tries++) {
		uint8_t byte = (uint8_t)~(number_in(&s, at) & 0xff);
		char *path = changed(&s, at, &byte, 1);
		struct machine *m;
		const char *said;

		if (restore(path, usual, &m, &said)) {
			refusals++;
			assert_true(strlen(said) > 20);
		}
		machine_stop(m);
		unlink(path);
	}
	/* What may be anything: a serial number, an address of a ring, a size. */
	assert_true(refusals > tries / 2);
	end(&s);
}

static void parts_of_a_record_are_checked(void **state)
{
	struct record record = {0};
	struct part part;
	uint64_t huge = UINT64_MAX;

	(void)state;
	assert_non_null(record_add(&record, PART_CONFIG, 0, 5));
	assert_non_null(record_add(&record, PART_DEVICE, 1, 16));
	assert_int_equal(record_check(&record), 0);
	assert_true(record_find(&record, PART_DEVICE, 1, &part));
	assert_int_equal(part.len, 16);
	assert_false(record_find(&record, PART_DEVICE, 0, &part));
	record_shorten(&record, 16, 3);
	assert_int_equal(record_need(&record, PART_DEVICE, 1, 3, &part), 0);

	listen_start();
	assert_int_equal(record_need(&record, PART_DEVICE, 1, 4, &part), -1);
	assert_non_null(record_add(&record, PART_DEVICE, 1, 8));
	assert_int_equal(record_check(&record), -1);
	assert_non_null(strstr(listen_stop(), "is there twice"));
	record_shorten(&record, 8, 0);
	memcpy(record.bytes + 8, &huge, sizeof(huge));
	listen_start();
	assert_int_equal(record_check(&record), -1);
	assert_non_null(strstr(listen_stop(), "longer than what is left"));
	memset(record.bytes, 0xff, 4);
	memset(record.bytes + 8, 0, 8);
	listen_start();
	assert_int_equal(record_check(&record), -1);
	assert_non_null(strstr(listen_stop(), "of kind 4294967295"));
	record_free(&record);
}

/* ---- files that cannot be written ---- */

static void limit_files(rlim_t bytes)
{
	struct rlimit limit;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
	limit.rlim_cur = bytes == RLIM_INFINITY ? limit.rlim_max : bytes;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void failed(struct saved *s, const char *words)
{
	assert_string_equal(text_of(s->event, "state"), "failed");
	if (strstr(text_of(s->event, "error"), words) == NULL)
		fail_msg("\"%s\", expected \"%s\" in it", text_of(s->event, "error"), words);
	json_object_put(s->event);
}

/* The directory has nothing but the control socket and @s->path. */
static void nothing_is_left_over(const struct saved *s)
{
	char command[400];

	snprintf(command, sizeof(command), "test -z \"$(ls -A %s | grep -vx control | grep -vx %s)\"",
		 s->m->directory, strrchr(s->path, '/') + 1);
	assert_int_equal(system(command), 0);
}

static void a_full_disk_costs_no_older_snapshot(void **state)
{
	struct saved s = {.m = machine_start(usual)};
	struct machine *m;
	const char *said;

	(void)state;
	fill(s.m);
	take(&s, "");
	json_object_put(s.event);
	signal(SIGXFSZ, SIG_IGN);
	for (rlim_t limit = 16; limit < 20000; limit += 6000) {
		limit_files(limit);
		listen_start();
		take(&s, ",\"then\":\"quit\"");
		listen_stop();
		limit_files(RLIM_INFINITY);
		failed(&s, "File too large: expected a file system with room");
	}
	assert_int_equal(atomic_load(&s.m->vmm.exit_status), EXIT_RUNNING);
	assert_int_equal(fake_kvm.goes_on, 5);
	nothing_is_left_over(&s);
	assert_int_equal(restore(s.path, usual, &m, &said), 0);
	check_restored(m);
	machine_stop(m);
	s.event = NULL;
	end(&s);
}

static void what_a_killed_vmm_left_is_no_snapshot_and_in_nobodys_way(void **state)
{
	struct saved s;
	char part[160];

	(void)state;
	make(&s);
	json_object_put(s.event);
	/* As far as it had come: all but the head, which is written last. */
	snprintf(part, sizeof(part), "%s.part.aaaaaa", s.path);
	assert_int_equal(rename(changed(&s, 0, "\0\0\0\0\0\0\0", 8), part), 0);
	take(&s, "");
	assert_string_equal(text_of(s.event, "state"), "done");
	refused(part, usual, "has written to its end");
	assert_int_equal(unlink(part), 0);
	end(&s);
}

static void take_fails(struct saved *s, const char *words)
{
	listen_start();
	take(s, "");
	listen_stop();
	failed(s, words);
	s->event = NULL;
	nothing_is_left_over(s);
}

/* Whoever can guess a name prepares nothing with it, and only the owner can read. */
static void a_snapshot_is_its_owners(void **state)
{
	struct saved s = {.m = machine_start(usual)};
	mode_t mask = umask(0);
	char part[160], precious[160];
	struct stat st;

	(void)state;
	snprintf(part, sizeof(part), "%s/snapshot.part", s.m->directory);
	snprintf(precious, sizeof(precious), "%s/precious", s.m->directory);
	assert_int_equal(close(open(precious, O_CREAT | O_WRONLY | O_CLOEXEC, 0666)), 0);
	assert_int_equal(link(precious, part), 0);
	take(&s, "");
	umask(mask);
	assert_string_equal(text_of(s.event, "state"), "done");
	assert_int_equal(stat(s.path, &st), 0);
	assert_int_equal(st.st_mode, S_IFREG | 0600);
	assert_int_equal(st.st_nlink, 1);
	assert_int_equal(file_size(precious), 0);
	unlink(part);
	unlink(precious);
	end(&s);
}

static void only_a_snapshot_is_replaced(void **state)
{
	struct saved s = {.m = machine_start(usual)};
	int fd;

	(void)state;
	snprintf(s.path, sizeof(s.path), "%s/snapshot", s.m->directory);
	assert_int_equal(mkdir(s.path, 0700), 0);
	take_fails(&s, "that is a directory: expected the name of a new file, or of an older");
	assert_int_equal(rmdir(s.path), 0);
	assert_int_equal(mkfifo(s.path, 0600), 0);
	take_fails(&s, "that is a pipe");
	unlink(s.path);
	assert_int_equal(symlink("nowhere", s.path), 0);
	take_fails(&s, "that is a symbolic link");
	unlink(s.path);
	fd = open(s.path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	take_fails(&s, "that is a file that is no snapshot");
	assert_int_equal(write(fd, "precious", 8), 8);
	take_fails(&s, "that is a file that is no snapshot");
	assert_int_equal(file_size(s.path), 8);
	close(fd);
	unlink(s.path);
	no_driver(&s);
}

/* Though a guest can write there what it likes, such as a snapshot's beginning. */
static void the_guests_own_files_are_not_replaced(void **state)
{
	struct machine *m = machine_prepare((const char *const[]){"--memory=64M", NULL});
	char path[128], option[160];
	struct saved s = {0};
	int fd;

	(void)state;
	snprintf(path, sizeof(path), "%s/snapshot", m->directory);
	fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	assert_int_equal(write(fd, "TOYVMM\r\n", 8), 8);
	assert_int_equal(ftruncate(fd, 64 * (off_t)MIB), 0);
	for (int i = 0; i < 2; i++) {
		snprintf(option, sizeof(option), i ? "--pmem=path=%s" :
			 "--memory=64M,backing=file,path=%s", path);
		s.m = machine_start((const char *const[]){option, NULL});
		memcpy(s.m->directory, m->directory, sizeof(m->directory));
		listen_start();
		take(&s, "");
		listen_stop();
		failed(&s, "that is a file that this guest has as memory");
		s.event = NULL;
		no_driver(&s);
	}
	assert_int_equal(file_size(path), 64 * MIB);
	close(fd);
	unlink(path);
	machine_stop(m);
}

static void a_place_that_is_none_is_named(void **state)
{
	struct saved s = {.m = machine_start((const char *const[]){"--memory=64M", NULL})};

	(void)state;
	ask_refused(s.m, "{\"cmd\":\"snapshot\"}", "expected the absolute name");
	ask_refused(s.m, "{\"cmd\":\"snapshot\",\"file\":\"here\"}", "expected the absolute name");
	ask_refused(s.m, "{\"cmd\":\"snapshot\",\"file\":\"/x\",\"then\":\"dance\"}",
		    "expected go-on or quit");
	s.m->directory[0] = 0; /* so that it is /snapshot/... */
	snprintf(s.m->directory, sizeof(s.m->directory), "/nonexistent");
	listen_start();
	take(&s, "");
	listen_stop();
	failed(&s, "No such file or directory: expected a directory");
	fake_kvm.refuse = true;
	listen_start();
	take(&s, "");
	listen_stop();
	failed(&s, "it is broken");
	assert_int_equal(fake_kvm.goes_on, 2);
	s.event = NULL;
	no_driver(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_not_needed_is_left_out_and_counted),
		cmocka_unit_test(a_snapshot_brings_no_pages),
		cmocka_unit_test(a_machine_comes_back_as_it_was),
		cmocka_unit_test(a_file_of_memory_begins_empty),
		cmocka_unit_test(a_refused_snapshot_leaves_the_file_of_memory),
		cmocka_unit_test(a_restored_machine_can_be_saved_again),
		cmocka_unit_test(then_quit_ends_the_vmm),
		cmocka_unit_test(it_waits_for_the_vcpus_and_for_a_reset),
		cmocka_unit_test(no_device_moves_while_the_guest_stands_still),
		cmocka_unit_test(BAL_HINT_06_hinted_pages_are_left_out_unless_written_since),
		cmocka_unit_test(BAL_HINT_07_after_done_nothing_counts_as_hinted),
		cmocka_unit_test(BAL_HINT_11_hints_of_an_earlier_round_stay_good),
		cmocka_unit_test(another_machine_is_named),
		cmocka_unit_test(a_head_that_lies_is_refused),
		cmocka_unit_test(a_configuration_is_text),
		cmocka_unit_test(a_file_that_was_cut_is_refused_wherever),
		cmocka_unit_test(memory_that_is_not_the_guests_is_refused),
		cmocka_unit_test(persistent_memory_is_not_written_by_a_snapshot),
		cmocka_unit_test(bytes_after_the_end_are_refused),
		cmocka_unit_test(what_the_host_was_about_to_do_goes_on),
		cmocka_unit_test(a_record_from_a_later_toyvmm_is_named),
		cmocka_unit_test(no_byte_of_the_record_is_believed),
		cmocka_unit_test(parts_of_a_record_are_checked),
		cmocka_unit_test(a_full_disk_costs_no_older_snapshot),
		cmocka_unit_test(what_a_killed_vmm_left_is_no_snapshot_and_in_nobodys_way),
		cmocka_unit_test(a_snapshot_is_its_owners),
		cmocka_unit_test(only_a_snapshot_is_replaced),
		cmocka_unit_test(the_guests_own_files_are_not_replaced),
		cmocka_unit_test(a_place_that_is_none_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
