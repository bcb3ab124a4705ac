/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TESTS_KVM_MACHINE_H
#define TESTS_KVM_MACHINE_H
/*
 * The toy VMM without a vCPU: its options, memory, devices and control socket are its own,
 * what needs KVM is played here, and the model driver of tests/guest is the guest. The loop is
 * turned by the test.
 */
#include <json-c/json.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../examples/kvm/vmm.h" /* before cmocka.h, which has a fail() too */

#include <cmocka.h>

#include "guest/driver.h"

#define MIB (UINT64_C(1) << 20)
#define PAGE UINT64_C(4096)
#define HUGE (2 * MIB)
#define PLAY_GPA (32 * MIB) /* memory that tests give up; the model driver uses what is below */
#define PATIENCE 20         /* seconds after which what should happen has not */

#define MACHINE_WORDS 18

struct machine {
	struct vmm vmm;
	struct guest_memory memory;
	struct guest_driver driver;
	bool driven; /* the driver is open */
	char directory[64], socket[96];
	char words[MACHINE_WORDS][128]; /* the command line, which options point into */
};

/* What the VMM has asked of KVM, and what it is told of it. machine_start() sets it back. */
#define FAKE_MEMORY_MAX 32

struct fake_memory {
	uint64_t gpa, len; /* len 0: not there */
	void *host;
	uint32_t slot;
	bool read_only;
};

#define FAKE_LOG_WORDS 256 /* of 64 MiB */
#define FAKE_CLOCK UINT64_C(0x1234567890)

struct fake_kvm {
	uint32_t slots_max;
	unsigned address_bits;
	bool refuse; /* memory is not added, state not saved */
	bool console_held, terminal_left;
	bool logs[2]; /* of RAM */
	unsigned stops, renewals, starts, loads, pauses, goes_on;
	uint64_t written[FAKE_LOG_WORDS];
	struct fake_memory memory[FAKE_MEMORY_MAX];
};

extern struct fake_kvm fake_kvm;

/* The KVM memory slot that the guest finds at @gpa, or NULL. */
const struct fake_memory *fake_memory_at(uint64_t gpa);

/* The guest writes to that page of RAM. */
void fake_write(uint64_t gpa);

/* Keep what is said on stderr; and give it, until the next time. */
void listen_start(void);
const char *listen_stop(void);

/* Options without --kernel and --control; up to 13, NULL at the end. Aborts if refused. */
struct machine *machine_start(const char *const *options);
void machine_stop(struct machine *m);

/* machine_start() in two, and without the control socket. */
struct machine *machine_prepare(const char *const *options);
void machine_create(struct machine *m);

/* The same with RAM that passes for huge pages. */
struct machine *machine_start_huge(const char *const *options);

/* A KVM with these limits cannot do it, and is said so in these words. */
void machine_refused(const char *const *options, uint32_t slots_max, unsigned address_bits,
		     const char *words);

void machine_refused_huge(const char *const *options, const char *words);

/* One turn of the event loop: all that is ready, then the devices. */
void machine_turn(struct machine *m);

/* The model driver takes the balloon up with these features, its queues by the text's numbers. */
void machine_drive(struct machine *m, uint64_t features);

/* The same for another device, in place of what it drove before. returns: whether it was let */
bool machine_drive_mem(struct machine *m, const char *id, uint64_t features);

/* A client of the control socket, connected and accepted. */
int client_open(struct machine *m);
void client_say(int client, const char *line);
/* The next line that comes to it, without waiting for anything but PATIENCE. */
struct json_object *client_hear(struct machine *m, int client);
/* client_say() and client_hear() on a new connection. */
struct json_object *ask(struct machine *m, const char *line);

/* Members of an object; they fail the test if they are not there. Put nothing. */
uint64_t number_of(struct json_object *object, const char *name);
const char *text_of(struct json_object *object, const char *name);

/* The balloon's number @name in the answer to "info". */
uint64_t balloon_number(struct machine *m, const char *name);

/* The same for a memory device, and for one of persistent memory. */
uint64_t mem_number(struct machine *m, const char *id, const char *name);
uint64_t pmem_number(struct machine *m, const char *id, const char *name);

/* Ask, and put the answer: it must hold no error, or an error with these words in it. */
void ask_ok(struct machine *m, const char *line);
void ask_refused(struct machine *m, const char *line, const char *words);

/* Turn until the answer to "info" has this; fails after PATIENCE. */
void until_balloon(struct machine *m, const char *name, uint64_t value);

#endif
