// SPDX-License-Identifier: BSD-3-Clause
#include "machine.h"

#include "../../examples/kvm/record.h"

#include <getopt.h>
#include <poll.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define WATCHES 64

/* ---- what a vmm is made of that is not under test ---- */

static struct watch *watches[WATCHES];

int loop_add(struct vmm *vmm, struct watch *watch)
{
	(void)vmm;
	for (int i = 0; i < WATCHES; i++) {
		if (watches[i] == NULL) {
			watches[i] = watch;
			return 0;
		}
	}
	return -1;
}

void loop_remove(struct vmm *vmm, struct watch *watch)
{
	(void)vmm;
	for (int i = 0; i < WATCHES; i++) {
		if (watches[i] == watch)
			watches[i] = NULL;
	}
}

void loop_wake(struct vmm *vmm)
{
	(void)vmm;
}

void vmm_stop(struct vmm *vmm, enum exit_status status, const char *reason)
{
	atomic_store(&vmm->exit_status, (int)status);
	atomic_store(&vmm->exit_reason, reason);
}

struct fake_kvm fake_kvm;

uint32_t kvm_slots_max(const struct vmm *vmm)
{
	(void)vmm;
	return fake_kvm.slots_max;
}

unsigned kvm_address_bits(const struct vmm *vmm)
{
	(void)vmm;
	return fake_kvm.address_bits;
}

/* As particular as the real one: no number twice, no memory twice. */
static int add_memory(struct fake_memory memory)
{
	struct fake_memory *free_entry = NULL;
	uint64_t gpa = memory.gpa, len = memory.len;
	uint32_t slot = memory.slot;

	assert_true(slot < fake_kvm.slots_max);
	assert_non_null(memory.host);
	if (fake_kvm.refuse)
		return -1;
	for (int i = 0; i < FAKE_MEMORY_MAX; i++) {
		struct fake_memory *entry = &fake_kvm.memory[i];

		if (!entry->len) {
			free_entry = entry;
			continue;
		}
		assert_int_not_equal(entry->slot, slot);
		assert_true(gpa >= entry->gpa + entry->len || entry->gpa >= gpa + len);
	}
	assert_non_null(free_entry);
	*free_entry = memory;
	return 0;
}

int kvm_add_memory(struct vmm *vmm, uint32_t slot, uint64_t gpa, uint64_t len, void *host)
{
	(void)vmm;
	return add_memory((struct fake_memory){.slot = slot, .gpa = gpa, .len = len, .host = host});
}

int kvm_add_read_only(struct vmm *vmm, uint32_t slot, uint64_t gpa, uint64_t len, void *host)
{
	(void)vmm;
	return add_memory((struct fake_memory){.slot = slot, .gpa = gpa, .len = len, .host = host,
					       .read_only = true});
}

void kvm_remove_memory(struct vmm *vmm, uint32_t slot)
{
	(void)vmm;
	for (int i = 0; i < FAKE_MEMORY_MAX; i++) {
		if (fake_kvm.memory[i].len && fake_kvm.memory[i].slot == slot) {
			fake_kvm.memory[i].len = 0;
			return;
		}
	}
	fail_msg("slot %u is removed and was not there", slot);
}

const struct fake_memory *fake_memory_at(uint64_t gpa)
{
	for (int i = 0; i < FAKE_MEMORY_MAX; i++) {
		const struct fake_memory *entry = &fake_kvm.memory[i];

		if (entry->len && gpa >= entry->gpa && gpa - entry->gpa < entry->len)
			return entry;
	}
	return NULL;
}

void kvm_stop(struct vmm *vmm)
{
	(void)vmm;
	fake_kvm.stops++;
}

int kvm_renew(struct vmm *vmm)
{
	(void)vmm;
	memset(fake_kvm.memory, 0, sizeof(fake_kvm.memory));
	fake_kvm.renewals++;
	return 0;
}

int kvm_start(struct vmm *vmm)
{
	(void)vmm;
	fake_kvm.starts++;
	return 0;
}

int kvm_log_writes(struct vmm *vmm, uint32_t slot, uint64_t gpa, uint64_t len, void *host, bool log)
{
	const struct fake_memory *entry = fake_memory_at(gpa);

	(void)vmm;
	assert_non_null(entry);
	assert_true(entry->slot == slot && entry->len == len && entry->host == host);
	fake_kvm.logs[slot] = log;
	memset(fake_kvm.written, 0, sizeof(fake_kvm.written));
	return 0;
}

void fake_write(uint64_t gpa)
{
	assert_true(gpa / PAGE / 64 < FAKE_LOG_WORDS);
	fake_kvm.written[gpa / PAGE / 64] |= UINT64_C(1) << gpa / PAGE % 64;
}

int kvm_take_written(struct vmm *vmm, uint32_t slot, uint64_t *pages)
{
	assert_true(slot == LOW_RAM_SLOT && fake_kvm.logs[slot]);
	assert_true(vmm->low_ram / PAGE / 64 <= FAKE_LOG_WORDS);
	memcpy(pages, fake_kvm.written, vmm->low_ram / PAGE / 8);
	memset(fake_kvm.written, 0, sizeof(fake_kvm.written));
	return 0;
}

void kvm_pause(struct vmm *vmm)
{
	(void)vmm;
	fake_kvm.pauses++;
}

int kvm_go_on(struct vmm *vmm)
{
	(void)vmm;
	fake_kvm.goes_on++;
	return 0;
}

int kvm_save(struct vmm *vmm, struct record *record)
{
	uint64_t *clock = record_add(record, PART_CLOCK, 0, sizeof(*clock));

	(void)vmm;
	assert_non_null(clock);
	*clock = FAKE_CLOCK;
	return fake_kvm.refuse ? (fail)("KVM_GET_CLOCK: it is broken") : 0;
}

int kvm_load(struct vmm *vmm, const struct record *record)
{
	struct part part;
	uint64_t clock;

	(void)vmm;
	if (record_need(record, PART_CLOCK, 0, sizeof(clock), &part))
		return -1;
	memcpy(&clock, part.bytes, sizeof(clock));
	return clock == FAKE_CLOCK ? 0 : (fail)("the clock is another");
}

int serial_save(struct vmm *vmm, struct record *record)
{
	(void)vmm;
	assert_non_null(record_add(record, PART_SERIAL, 0, 1));
	return 0;
}

int serial_load(struct vmm *vmm, const struct record *record)
{
	struct part part;

	(void)vmm;
	return record_need(record, PART_SERIAL, 0, 1, &part);
}

void serial_hold(struct vmm *vmm, bool hold)
{
	(void)vmm;
	fake_kvm.console_held = hold;
}

void serial_own_terminal(struct vmm *vmm, bool own)
{
	(void)vmm;
	fake_kvm.terminal_left = !own;
}

int boot_load(struct vmm *vmm)
{
	/* Into RAM that KVM has, as nothing of the old machine is left. */
	assert_non_null(fake_memory_at(0));
	assert_int_equal(*(const uint8_t *)memory_at(vmm, PLAY_GPA, 1), 0);
	fake_kvm.loads++;
	return 0;
}

int acpi_write(struct vmm *vmm)
{
	(void)vmm;
	return 0;
}

void serial_reset(struct vmm *vmm)
{
	(void)vmm;
}

int kvm_add_irqfd(struct vmm *vmm, uint32_t gsi)
{
	(void)vmm, (void)gsi;
	return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

int kvm_add_doorbell(struct vmm *vmm, uint64_t gpa, uint32_t value)
{
	(void)vmm, (void)gpa, (void)value;
	return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

/* ---- the machine ---- */

static void parse(struct machine *m, const char *const *options)
{
	const char *const first[] = {"toyvmm", "--kernel", "none", "--control", m->socket};
	char *argv[MACHINE_WORDS + 1];
	int argc = 0;

	while (argc < MACHINE_WORDS && (argc < 5 || *options != NULL)) {
		argv[argc] = m->words[argc];
		snprintf(m->words[argc], sizeof(m->words[0]), "%s",
			 argc < 5 ? first[argc] : *options++);
		argc++;
	}
	argv[argc] = NULL;
	optind = 0;
	assert_int_equal(options_parse(&m->vmm.options, argc, argv), EXIT_RUNNING);
}

/* ---- what is said on stderr ---- */

static char said[4096];
static FILE *said_file;
static int saved_stderr;

void listen_start(void)
{
	said_file = tmpfile();
	saved_stderr = dup(STDERR_FILENO);
	assert_non_null(said_file);
	dup2(fileno(said_file), STDERR_FILENO);
}

const char *listen_stop(void)
{
	dup2(saved_stderr, STDERR_FILENO);
	close(saved_stderr);
	rewind(said_file);
	said[fread(said, 1, sizeof(said) - 1, said_file)] = 0;
	fclose(said_file);
	return said;
}

/* ---- making one ---- */

struct machine *machine_prepare(const char *const *options)
{
	struct machine *m = calloc(1, sizeof(*m));

	assert_non_null(m);
	snprintf(m->directory, sizeof(m->directory), "/tmp/toyvmm-test.XXXXXX");
	assert_non_null(mkdtemp(m->directory));
	snprintf(m->socket, sizeof(m->socket), "%s/control", m->directory);
	parse(m, options);
	pthread_mutex_init(&m->vmm.lock, NULL);
	vmm_stop(&m->vmm, EXIT_RUNNING, "the test is over");
	fake_kvm = (struct fake_kvm){.slots_max = 32764, .address_bits = 52};
	return m;
}

void machine_create(struct machine *m)
{
	assert_int_equal(memory_create(&m->vmm), 0);
	assert_int_equal(virtio_create(&m->vmm), 0);
}

struct machine *machine_start(const char *const *options)
{
	struct machine *m = machine_prepare(options);

	machine_create(m);
	assert_int_equal(control_create(&m->vmm), 0);
	return m;
}

/* As if the RAM were of huge pages, which the machine that tests may not have reserved. */
static void pretend_huge(struct machine *m)
{
	struct vmemdev_linux_ram *ram =
		(struct vmemdev_linux_ram *)(uintptr_t)vmemdev_linux_ram_at(&m->vmm.memory, 0);

	ram->page_size = HUGE;
}

struct machine *machine_start_huge(const char *const *options)
{
	struct machine *m = machine_prepare(options);

	assert_int_equal(memory_create(&m->vmm), 0);
	pretend_huge(m);
	assert_int_equal(virtio_create(&m->vmm), 0);
	assert_int_equal(control_create(&m->vmm), 0);
	return m;
}

static void refused(struct machine *m, bool huge, const char *words)
{
	int err;

	listen_start();
	err = memory_create(&m->vmm);
	if (!err && huge)
		pretend_huge(m);
	err = err || virtio_create(&m->vmm);
	listen_stop();
	machine_stop(m);
	assert_true(err);
	if (strstr(said, words) == NULL)
		fail_msg("\"%s\", expected \"%s\" in it", said, words);
}

void machine_refused(const char *const *options, uint32_t slots_max, unsigned address_bits,
		     const char *words)
{
	struct machine *m = machine_prepare(options);

	fake_kvm.slots_max = slots_max;
	fake_kvm.address_bits = address_bits;
	refused(m, false, words);
}

void machine_refused_huge(const char *const *options, const char *words)
{
	refused(machine_prepare(options), true, words);
}

void machine_stop(struct machine *m)
{
	if (m->driven)
		guest_driver_close(&m->driver);
	pmem_finish(&m->vmm);
	control_destroy(&m->vmm);
	for (int i = 0; i < WATCHES; i++) {
		if (watches[i] != NULL)
			close(watches[i]->fd);
		watches[i] = NULL;
	}
	vmemdev_linux_memory_finish(&m->vmm.memory);
	rmdir(m->directory);
	for (int i = 0; i < HINT_PARTS; i++) {
		free(m->vmm.hints.hinted[i]);
		free(m->vmm.hints.written[i]);
	}
	for (uint32_t i = 0; i < m->vmm.balloon.track_count; i++)
		free(m->vmm.balloon.tracks[i].words);
	for (unsigned i = 0; i < SLOTS_MAX; i++) {
		free(m->vmm.slots[i].bitmap);
		free(m->vmm.slots[i].kvm_plugged);
	}
	free(m);
}

void machine_turn(struct machine *m)
{
	struct pollfd fds[WATCHES];

	for (int i = 0; i < WATCHES; i++)
		fds[i] = (struct pollfd){.fd = watches[i] ? watches[i]->fd : -1, .events = POLLIN};
	assert_true(poll(fds, WATCHES, 1) >= 0);
	for (int i = 0; i < WATCHES; i++) {
		if (fds[i].revents && watches[i] != NULL)
			watches[i]->ready(watches[i]->ctx);
	}
	pause_proceed(&m->vmm);
	while (virtio_run(&m->vmm))
		;
}

static bool drive(struct machine *m, struct vmemdev_device *device, uint64_t features)
{
	/* The VMM's own memory, as the guest has it. */
	m->memory.regions[0] = *vmemdev_linux_region(&m->vmm.memory, 0);
	m->memory.count = 1;
	m->memory.place_used = MIB;
	/* Not guest_driver_open(), as the device has its transport: interrupts go to the VMM. */
	m->driver.mem = &m->memory;
	m->driver.dev = device;
	m->driver.transport = GUEST_DIRECT;
	m->driver.request = guest_place(&m->memory, 64, 8);
	m->driven = true;
	return guest_driver_start(&m->driver, features, 0);
}

void machine_drive(struct machine *m, uint64_t features)
{
	assert_true(drive(m, m->vmm.balloon.slot->device, features));
	machine_turn(m);
}

bool machine_drive_mem(struct machine *m, const char *id, uint64_t features)
{
	struct slot *slot = virtio_slot(&m->vmm, id);
	bool started;

	assert_non_null(slot);
	if (m->driven)
		guest_driver_close(&m->driver);
	started = drive(m, slot->device, features);
	machine_turn(m);
	return started;
}

/* ---- clients ---- */

int client_open(struct machine *m)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	memcpy(address.sun_path, m->socket, strlen(m->socket) + 1);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	machine_turn(m);
	return fd;
}

void client_say(int client, const char *line)
{
	assert_int_equal(send(client, line, strlen(line), MSG_NOSIGNAL), strlen(line));
	assert_int_equal(send(client, "\n", 1, MSG_NOSIGNAL), 1);
}

struct json_object *client_hear(struct machine *m, int client)
{
	static char line[65536];
	struct json_object *object;
	time_t end = time(NULL) + PATIENCE;
	size_t len = 0;

	while (len < sizeof(line) - 1) {
		ssize_t got = recv(client, line + len, 1, MSG_DONTWAIT);

		assert_true(got != 0);
		if (got > 0 && line[len++] == '\n')
			break;
		if (got < 0) {
			assert_true(time(NULL) < end);
			machine_turn(m);
		}
	}
	line[len] = 0;
	object = json_tokener_parse(line);
	assert_non_null(object);
	return object;
}

struct json_object *ask(struct machine *m, const char *line)
{
	int client = client_open(m);
	struct json_object *answer;

	client_say(client, line);
	answer = client_hear(m, client);
	close(client);
	machine_turn(m);
	return answer;
}

uint64_t number_of(struct json_object *object, const char *name)
{
	struct json_object *member = NULL;

	if (!json_object_object_get_ex(object, name, &member))
		fail_msg("no \"%s\" in %s", name, json_object_to_json_string(object));
	return json_object_get_uint64(member);
}

const char *text_of(struct json_object *object, const char *name)
{
	struct json_object *member = NULL;

	if (!json_object_object_get_ex(object, name, &member))
		fail_msg("no \"%s\" in %s", name, json_object_to_json_string(object));
	return json_object_get_string(member);
}

uint64_t balloon_number(struct machine *m, const char *name)
{
	struct json_object *info = ask(m, "{\"cmd\":\"info\"}");
	struct json_object *balloon = json_object_object_get(info, "balloon");
	uint64_t number = number_of(balloon, name);

	json_object_put(info);
	return number;
}

static uint64_t number_in(struct machine *m, const char *kind, const char *id, const char *name)
{
	struct json_object *info = ask(m, "{\"cmd\":\"info\"}");
	struct json_object *mems = json_object_object_get(info, kind);
	uint64_t number = 0;
	bool found = false;

	for (size_t i = 0; i < json_object_array_length(mems); i++) {
		struct json_object *mem = json_object_array_get_idx(mems, i);

		if (strcmp(text_of(mem, "id"), id) == 0) {
			number = number_of(mem, name);
			found = true;
		}
	}
	json_object_put(info);
	assert_true(found);
	return number;
}

uint64_t mem_number(struct machine *m, const char *id, const char *name)
{
	return number_in(m, "mem", id, name);
}

uint64_t pmem_number(struct machine *m, const char *id, const char *name)
{
	return number_in(m, "pmem", id, name);
}

void ask_ok(struct machine *m, const char *line)
{
	struct json_object *answer = ask(m, line);

	if (json_object_object_get(answer, "error") != NULL)
		fail_msg("%s: %s", line, text_of(answer, "error"));
	json_object_put(answer);
}

void ask_refused(struct machine *m, const char *line, const char *words)
{
	struct json_object *answer = ask(m, line);
	const char *error = text_of(answer, "error");

	if (strstr(error, words) == NULL)
		fail_msg("%s: \"%s\", expected \"%s\" in it", line, error, words);
	json_object_put(answer);
}

void until_balloon(struct machine *m, const char *name, uint64_t value)
{
	time_t end = time(NULL) + PATIENCE;
	uint64_t last = balloon_number(m, name);

	while (last != value && time(NULL) < end)
		last = balloon_number(m, name);
	assert_int_equal(last, value);
}
