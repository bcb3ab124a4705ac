/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The driver on one thread, the device on another. Data and used entries must arrive
 * whole, and where each side sleeps until it is called, nobody sleeps for ever.
 */
#define _POSIX_C_SOURCE 200809L /* clock_gettime */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <time.h>

#include "vq_rig.h"

#define CHAINS 3000u
#define PATIENCE 60 /* seconds; only a lost wake-up ever takes that long */

/* A doorbell or interrupt line: remembers that it rang. */
struct bell {
	pthread_mutex_t lock;
	pthread_cond_t rang;
	bool pending;
};

static void bell_open(struct bell *bell)
{
	pthread_mutex_init(&bell->lock, NULL);
	pthread_cond_init(&bell->rang, NULL);
	bell->pending = false;
}

static void bell_close(struct bell *bell)
{
	pthread_cond_destroy(&bell->rang);
	pthread_mutex_destroy(&bell->lock);
}

static void bell_ring(struct bell *bell)
{
	pthread_mutex_lock(&bell->lock);
	bell->pending = true;
	pthread_cond_signal(&bell->rang);
	pthread_mutex_unlock(&bell->lock);
}

/* returns: whether it rang before the patience ended */
static bool bell_wait(struct bell *bell)
{
	struct timespec end;
	bool rang;
	int err = 0;

	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += PATIENCE;
	pthread_mutex_lock(&bell->lock);
	while (!bell->pending && err != ETIMEDOUT)
		err = pthread_cond_timedwait(&bell->rang, &bell->lock, &end);
	rang = bell->pending;
	bell->pending = false;
	pthread_mutex_unlock(&bell->lock);
	return rang;
}

struct world {
	struct vq_rig rig;
	struct bell doorbell, interrupt;
	uint32_t chains;
	bool sleeps;          /* each side waits for its bell; otherwise both spin */
	uint64_t data;        /* a page for each ID: tag in, tag out */
	atomic_bool stop;     /* one side has failed */
	const char *wrong;    /* what the driver's thread found */
};

static bool stopped(struct world *w)
{
	return atomic_load(&w->stop);
}

static void driver_fails(struct world *w, const char *what)
{
	if (w->wrong == NULL)
		w->wrong = what;
	atomic_store(&w->stop, true);
	bell_ring(&w->doorbell);
}

/* One chain: 8 bytes in, 8 bytes out, where the ring has room for two descriptors. */
static bool add_one(struct world *w, uint64_t tag)
{
	struct guest_queue *q = &w->rig.q;
	const uint32_t need = q->size > 1 ? 2 : 1;
	const uint64_t at = w->data + 64 * (uint64_t)q->free_first;
	const struct vmemdev_buf bufs[] = { { at, 8, 0 }, { at + 8, 8, 1 } };
	const struct guest_add how = { .tag = tag, .indirect = q->table_entries > 0 };

	if (guest_queue_free(q) < (how.indirect ? 1 : need))
		return false;
	guest_store64(&w->rig.mem, at, tag);
	guest_store64(&w->rig.mem, at + 8, 0);
	return guest_queue_add(q, bufs, need, &how) >= 0;
}

/* Take what is used; returns how many, or -1. */
static int take_used(struct world *w)
{
	const uint32_t out = w->rig.q.size > 1 ? 8 : 0;
	struct guest_used used;
	int count = 0, got;

	while ((got = guest_queue_poll(&w->rig.q, &used)) == 1) {
		const uint64_t at = w->data + 64 * (uint64_t)used.id;

		if (!used.skipped && used.len != out)
			return -1;
		if (out > 0 && guest_load64(&w->rig.mem, at + 8) != ~used.tag)
			return -1;
		count++;
	}
	return got < 0 ? -1 : count;
}

static void *drive(void *ctx)
{
	struct world *w = ctx;
	uint32_t added = 0, done = 0;

	while (done < w->chains && !stopped(w)) {
		const uint32_t batch = 1 + added % 5;
		int got;

		for (uint32_t i = 0; i < batch && added < w->chains; i++)
			added += add_one(w, added + 1) ? 1 : 0;
		guest_queue_publish(&w->rig.q);
		if (guest_queue_want_kick(&w->rig.q))
			bell_ring(&w->doorbell);
		got = take_used(w);
		if (got < 0)
			driver_fails(w, "a used buffer is not what was sent");
		done += got > 0 ? (uint32_t)got : 0;
		if (got != 0 || done == w->chains)
			continue;
		if (!w->sleeps) {
			sched_yield();
			continue;
		}
		guest_queue_interrupts_on(&w->rig.q);
		if (!guest_queue_has_used(&w->rig.q) && !bell_wait(&w->interrupt))
			driver_fails(w, "no interrupt came: a wake-up was lost");
		guest_queue_interrupts_off(&w->rig.q);
	}
	/* the device may be asleep */
	bell_ring(&w->doorbell);
	return NULL;
}

/* Serve up to @budget chains; returns how many, or -1. */
static int serve(struct world *w, uint32_t budget)
{
	const uint32_t out = w->rig.q.size > 1 ? 8 : 0;
	struct vmemdev_chain chain;
	struct vmemdev_held held;
	uint8_t tag[8];
	int count = 0, got;

	while (budget-- > 0 && (got = vmemdev_vq_pop(&w->rig.vq, &chain)) != 0) {
		if (got < 0 || vmemdev_chain_read(&chain, tag, 8) != 8)
			return -1;
		for (uint32_t i = 0; i < 8; i++)
			tag[i] = (uint8_t)~tag[i];
		if (out > 0 && vmemdev_chain_write(&chain, tag, 8) != 8)
			return -1;
		if (vmemdev_chain_finish(&chain, &held) != 0 ||
		    vmemdev_vq_push(&w->rig.vq, &held, out) != 0)
			return -1;
		count++;
	}
	if (vmemdev_vq_publish(&w->rig.vq) < 0)
		return -1;
	if (vmemdev_vq_should_notify(&w->rig.vq))
		bell_ring(&w->interrupt);
	return count;
}

/* The device's side, on the test's own thread. */
static const char *device(struct world *w)
{
	uint32_t done = 0, turn = 0;

	while (done < w->chains && !stopped(w)) {
		const int got = serve(w, 1 + turn++ % 7);

		if (got < 0)
			return "the device found the ring broken";
		done += (uint32_t)got;
		if (got > 0 || done == w->chains)
			continue;
		if (!w->sleeps)
			sched_yield();
		else if (!bell_wait(&w->doorbell))
			return "no kick came: a wake-up was lost";
	}
	return NULL;
}

static void run(uint64_t features, uint32_t size, bool sleeps)
{
	static struct world w;
	pthread_t driver;
	const char *wrong;

	memset(&w, 0, sizeof(w));
	rig_open(&w.rig, features, size);
	w.data = guest_place(&w.rig.mem, 64 * (uint64_t)size, 64);
	w.chains = CHAINS;
	w.sleeps = sleeps;
	bell_open(&w.doorbell);
	bell_open(&w.interrupt);
	assert_int_equal(pthread_create(&driver, NULL, drive, &w), 0);
	wrong = device(&w);
	if (wrong != NULL) {
		atomic_store(&w.stop, true);
		bell_ring(&w.interrupt);
	}
	pthread_join(driver, NULL);
	if (wrong != NULL || w.wrong != NULL)
		fail_msg("%s", wrong != NULL ? wrong : w.wrong);
	bell_close(&w.interrupt);
	bell_close(&w.doorbell);
	rig_close(&w.rig);
}

static void run_all(uint64_t format, bool sleeps)
{
	static const uint32_t sizes[] = { 1, 2, 4, 256 };

	for (uint32_t mix = 0; mix < 8; mix++) {
		const uint64_t features = format | ((mix & 1) != 0 ? EVENT : 0) |
					  ((mix & 2) != 0 ? INDIRECT : 0) |
					  ((mix & 4) != 0 ? ORDER : 0);

		for (uint32_t i = 0; i < COUNT(sizes); i++)
			run(features, sizes[i], sleeps);
	}
}

/* shows: VQ-SPLIT-24 VQ-SPLIT-28 */
static void VQ_SPLIT_24_no_lost_wake_up(void **state)
{
	(void)state;
	run_all(0, true);
}

/* shows: VQ-PACK-24 VQ-PACK-26 */
static void VQ_PACK_24_no_lost_wake_up(void **state)
{
	(void)state;
	run_all(PACKED, true);
}

/* shows: VQ-SPLIT-11 VQ-SPLIT-13 */
static void VQ_SPLIT_11_both_sides_spin(void **state)
{
	(void)state;
	run_all(0, false);
}

/* shows: VQ-PACK-05 VQ-PACK-06 */
static void VQ_PACK_06_both_sides_spin(void **state)
{
	(void)state;
	run_all(PACKED, false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(VQ_SPLIT_24_no_lost_wake_up),
		RIG_TEST(VQ_PACK_24_no_lost_wake_up),
		RIG_TEST(VQ_SPLIT_11_both_sides_spin),
		RIG_TEST(VQ_PACK_06_both_sides_spin),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
