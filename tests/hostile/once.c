/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A guest whose memory can be read once. As soon as the library has fetched an entry of an
 * available ring, a packed head's flags, a descriptor, or bytes of a buffer, they turn into
 * something else, and stay so until the chain is finished (or half read, and the run over).
 * The unit suites, linked with this and otherwise as they are, must see no difference: what
 * was checked is what is used, and nothing is fetched again to be used differently.
 *
 * What may be read again, because each reading is judged alone, is left as it is: the
 * available index, or the flags of a slot, once the driver was asked for a kick; the driver's
 * wish to be notified; and what follows in an array of page numbers at whose middle the balloon
 * had to wait for its host. The linker puts the functions below (--wrap) in the place of the
 * library's, also inside the library.
 *
 * ONCE_SKIP in the environment names tests to leave out: those that read twice themselves.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "guest/queue.h"
#include "seam.h"
#include <vmemdev/vmemdev.h>

#define ROOM (1u << 20)
#define FETCHES 65536u

struct fetch {
	uint8_t *host;
	uint32_t len, at; /* its bytes: before[at], now[at] */
};

static uint8_t before[ROOM], now[ROOM];
static struct fetch fetches[FETCHES], last;
static uint32_t count, room;
static enum { ELSEWHERE, POPPING, READING } place;
static uint64_t spoilt;
static struct guest_random random_bits = { .state = 1 };

/* What a hostile driver would put there: all bits turned, one turned, or anything. */
static uint8_t other(uint8_t byte, uint32_t kind, uint64_t noise)
{
	if (kind == 0)
		return (uint8_t)~byte;
	return kind == 1 ? byte ^ 1 : (uint8_t)noise;
}

static void spoil(uint8_t *host, size_t len)
{
	uint32_t kind = guest_random_below(&random_bits, 3);
	struct fetch *fetch = &fetches[count];

	if (len == 0)
		return;
	if (count == FETCHES || len > ROOM - room) {
		fprintf(stderr, "once: no room to remember %zu more bytes; enlarge ROOM\n", len);
		abort();
	}
	*fetch = (struct fetch){ host, (uint32_t)len, room };
	count++;
	room += (uint32_t)len;
	spoilt++;
	for (uint32_t i = 0; i < len; i++) {
		before[fetch->at + i] = host[i];
		host[i] = other(host[i], kind, guest_random_next(&random_bits));
		now[fetch->at + i] = host[i];
	}
}

static void spoil_last(void)
{
	spoil(last.host, last.len);
	last.len = 0;
}

/* Everything is as the driver left it, but for what was written since. */
static void restore(void)
{
	while (count > 0) {
		const struct fetch *fetch = &fetches[--count];

		for (uint32_t i = 0; i < fetch->len; i++) {
			if (fetch->host[i] == now[fetch->at + i])
				fetch->host[i] = before[fetch->at + i];
		}
	}
	room = 0;
	last.len = 0;
}

void vmemdev_guest_seam(uint8_t *host, size_t len, bool write)
{
	if (place == POPPING && write)
		last.len = 0; /* asks for a kick, and has to look again */
	if (place == ELSEWHERE || write)
		return;
	spoil_last();
	last.host = host;
	last.len = (uint32_t)len;
}

int __real_vmemdev_vq_pop(struct vmemdev_vq *vq, struct vmemdev_chain *chain);
int __wrap_vmemdev_vq_pop(struct vmemdev_vq *vq, struct vmemdev_chain *chain);
int __wrap_vmemdev_vq_pop(struct vmemdev_vq *vq, struct vmemdev_chain *chain)
{
	struct fetch head;
	int got;

	restore();
	place = POPPING;
	got = __real_vmemdev_vq_pop(vq, chain);
	head = last;
	restore();
	place = got == 1 ? READING : ELSEWHERE;
	if (got == 1)
		spoil(head.host, head.len);
	return got;
}

bool __real_vmemdev_vq_should_notify(struct vmemdev_vq *vq);
bool __wrap_vmemdev_vq_should_notify(struct vmemdev_vq *vq);
bool __wrap_vmemdev_vq_should_notify(struct vmemdev_vq *vq)
{
	restore();
	place = ELSEWHERE;
	return __real_vmemdev_vq_should_notify(vq);
}

int __real_vmemdev_chain_finish(struct vmemdev_chain *chain, struct vmemdev_held *held);
int __wrap_vmemdev_chain_finish(struct vmemdev_chain *chain, struct vmemdev_held *held);
int __wrap_vmemdev_chain_finish(struct vmemdev_chain *chain, struct vmemdev_held *held)
{
	int err = __real_vmemdev_chain_finish(chain, held);

	restore();
	place = ELSEWHERE;
	return err;
}

void __real_vmemdev_vq_reset(struct vmemdev_vq *vq);
void __wrap_vmemdev_vq_reset(struct vmemdev_vq *vq);
void __wrap_vmemdev_vq_reset(struct vmemdev_vq *vq)
{
	restore();
	__real_vmemdev_vq_reset(vq);
}

int __real_vmemdev_i_batch_end_run(struct vmemdev_balloon *b);
int __wrap_vmemdev_i_batch_end_run(struct vmemdev_balloon *b);
int __wrap_vmemdev_i_batch_end_run(struct vmemdev_balloon *b)
{
	int result = __real_vmemdev_i_batch_end_run(b);

	if (result == VMEMDEV_LATER)
		restore();
	return result;
}

int __real_vmemdev_device_run(struct vmemdev_device *dev, uint32_t budget);
int __wrap_vmemdev_device_run(struct vmemdev_device *dev, uint32_t budget);
int __wrap_vmemdev_device_run(struct vmemdev_device *dev, uint32_t budget)
{
	int left;

	place = READING; /* a chain may be half read */
	left = __real_vmemdev_device_run(dev, budget);
	restore();
	place = ELSEWHERE;
	return left;
}

/* A driver that looks into its ring inside a callback. */
int __real_guest_queue_poll(struct guest_queue *q, struct guest_used *used);
int __wrap_guest_queue_poll(struct guest_queue *q, struct guest_used *used);
int __wrap_guest_queue_poll(struct guest_queue *q, struct guest_used *used)
{
	restore();
	return __real_guest_queue_poll(q, used);
}

void __real_guest_memory_close(struct guest_memory *mem);
void __wrap_guest_memory_close(struct guest_memory *mem);
void __wrap_guest_memory_close(struct guest_memory *mem)
{
	restore();
	place = ELSEWHERE;
	__real_guest_memory_close(mem);
}

static void tell(void)
{
	fprintf(stderr, "once: %llu fetches could not be repeated\n", (unsigned long long)spoilt);
}

__attribute__((constructor)) static void set_up(void)
{
	const char *skip = getenv("ONCE_SKIP");

	if (skip != NULL)
		cmocka_set_skip_filter(skip);
	atexit(tell);
}
