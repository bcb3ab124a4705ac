/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The two places where driver and device each write one word and then read the
 * other's. Both sides do it at the same moment, again and again: never may both miss
 * what the other wrote.
 */
#define _GNU_SOURCE /* CPU affinity */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "vq_rig.h"

#define ROUNDS 100000u

struct litmus {
	struct vq_rig rig;
	atomic_uint arrivals;
	void (*other)(struct litmus *l); /* what the other thread does in each round */
	uint32_t delay;                  /* of the other thread, in steps of nothing */
	cpu_set_t cpus;                  /* that the test may use */
	bool seen;                       /* what the other thread found */
};

/* Both threads leave at the same moment; they take turns where there is one CPU. */
static void meet(struct litmus *l)
{
	const unsigned int target = (atomic_fetch_add(&l->arrivals, 1) / 2 + 1) * 2;
	uint32_t spins = 0;

	while (atomic_load_explicit(&l->arrivals, memory_order_acquire) < target) {
		if (++spins % 2000 == 0)
			sched_yield();
	}
}

static void idle(uint32_t steps)
{
	while (steps-- > 0)
		atomic_signal_fence(memory_order_seq_cst);
}

/* The calling thread gets the allowed CPU number @which to itself, if there is one: on
 * a busy machine both would else take turns, and nothing would ever meet. */
static void stay_on(const struct litmus *l, uint32_t which)
{
	cpu_set_t one;

	CPU_ZERO(&one);
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET((size_t)cpu, &l->cpus) || which-- > 0)
			continue;
		CPU_SET((size_t)cpu, &one);
		sched_setaffinity(0, sizeof(one), &one);
		return;
	}
}

static void *other_thread(void *ctx)
{
	struct litmus *l = ctx;

	stay_on(l, 1);
	for (uint32_t round = 0; round < ROUNDS; round++) {
		meet(l);
		idle(l->delay);
		l->other(l);
		meet(l);
	}
	return NULL;
}

/* The driver, which has been looking all the time, asks for an interrupt and then looks
 * once more. */
static void ask_and_look(struct litmus *l)
{
	l->seen = guest_queue_has_used(&l->rig.q);
	guest_queue_interrupts_on(&l->rig.q);
	l->seen = guest_queue_has_used(&l->rig.q);
}

/* The driver shows a chain, then looks whether to kick. */
static void show_and_look(struct litmus *l)
{
	guest_queue_publish(&l->rig.q);
	l->seen = guest_queue_want_kick(&l->rig.q);
}

static void open_litmus(struct litmus *l, uint64_t features, void (*other)(struct litmus *l),
			pthread_t *thread)
{
	memset(l, 0, sizeof(*l));
	if (sched_getaffinity(0, sizeof(l->cpus), &l->cpus) != 0)
		CPU_ZERO(&l->cpus);
	if (CPU_COUNT(&l->cpus) == 1) {
		print_message("one processor alone shows no reordering; two are needed\n");
		skip();
	}
	rig_open(&l->rig, features, 4);
	l->rig.mem.ops.dirty = NULL; /* it would keep the two words apart in time */
	l->other = other;
	assert_int_equal(pthread_create(thread, NULL, other_thread, l), 0);
	stay_on(l, 0);
}

static void close_litmus(struct litmus *l, pthread_t thread)
{
	pthread_join(thread, NULL);
	if (CPU_COUNT(&l->cpus) > 0)
		sched_setaffinity(0, sizeof(l->cpus), &l->cpus);
	rig_close(&l->rig);
}

static void run_used(uint64_t features)
{
	static struct litmus l;
	uint32_t lost = 0;
	pthread_t thread;

	open_litmus(&l, features, ask_and_look, &thread);
	for (uint32_t round = 0; round < ROUNDS; round++) {
		struct vmemdev_held held;
		struct guest_used used;
		bool notified;

		guest_queue_interrupts_off(&l.rig.q);
		rig_send(&l.rig, true, 0);
		held = rig_take(&l.rig);
		vmemdev_vq_push(&l.rig.vq, &held, 16);
		l.delay = round % 16;
		meet(&l);
		idle(round / 16 % 1000);
		vmemdev_vq_publish(&l.rig.vq);
		notified = vmemdev_vq_should_notify(&l.rig.vq);
		meet(&l);
		lost += !notified && !l.seen ? 1 : 0;
		guest_queue_poll(&l.rig.q, &used);
	}
	close_litmus(&l, thread);
	assert_int_equal(lost, 0);
}

static void run_avail(uint64_t features)
{
	static struct litmus l;
	const struct vmemdev_buf buf = { rig_regions[ISLAND].gpa, 16, 1 };
	uint32_t lost = 0;
	pthread_t thread;

	open_litmus(&l, features, show_and_look, &thread);
	for (uint32_t round = 0; round < ROUNDS; round++) {
		struct vmemdev_chain chain;
		struct vmemdev_held held;
		struct guest_used used;
		int got;

		guest_queue_add(&l.rig.q, &buf, 1, NULL);
		l.delay = round % 16;
		meet(&l);
		idle(round / 16 % 1000);
		got = vmemdev_vq_pop(&l.rig.vq, &chain);
		meet(&l);
		lost += got == 0 && !l.seen ? 1 : 0;
		if (got == 0)
			got = vmemdev_vq_pop(&l.rig.vq, &chain);
		lost += got != 1 ? 1 : 0;
		vmemdev_chain_finish(&chain, &held);
		vmemdev_vq_push(&l.rig.vq, &held, 16);
		vmemdev_vq_publish(&l.rig.vq);
		guest_queue_poll(&l.rig.q, &used);
	}
	close_litmus(&l, thread);
	assert_int_equal(lost, 0);
}

/* shows: VQ-SPLIT-24 */
static void VQ_SPLIT_24_publish_against_asking(void **state)
{
	(void)state;
	run_used(0);
	run_used(EVENT);
}

/* shows: VQ-PACK-24 */
static void VQ_PACK_24_publish_against_asking(void **state)
{
	(void)state;
	run_used(PACKED);
	run_used(PACKED | EVENT);
}

/* shows: VQ-SPLIT-28 */
static void VQ_SPLIT_28_asking_against_adding(void **state)
{
	(void)state;
	run_avail(EVENT);
}

/* shows: VQ-PACK-26 */
static void VQ_PACK_26_asking_against_adding(void **state)
{
	(void)state;
	run_avail(PACKED | EVENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(VQ_SPLIT_24_publish_against_asking),
		RIG_TEST(VQ_PACK_24_publish_against_asking),
		RIG_TEST(VQ_SPLIT_28_asking_against_adding),
		RIG_TEST(VQ_PACK_26_asking_against_adding),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
