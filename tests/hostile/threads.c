/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Guest CPUs that scribble over rings, descriptors and requests while devices run: a thread for
 * each of three devices, two of which share their guest-memory object, threads that do the work
 * which the hosts put off, and two that scribble.
 *
 * For ThreadSanitizer guest memory is no place for races: the scribblers are not instrumented,
 * copies are made by the two functions below (a scribbled address may lead one device into the
 * memory of another that shares it), and what is left of accesses to it is atomic. Everything
 * else it sees: the state of devices, the guest-memory object that is shared, and the arrays of
 * ranges that stay as they are while work is put off. So nothing is suppressed. For
 * AddressSanitizer each region of guest memory is an allocation of its own.
 */
#define _POSIX_C_SOURCE 200809L
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <vmemdev/vmemdev.h>

#include "guest/driver.h"
#include "seam.h"

#ifdef FEWER_STEPS
#define STEPS 40000u
#else
#define STEPS 200000u
#endif

#if defined(__clang__) || defined(__GNUC__)
#define UNSEEN __attribute__((no_sanitize("thread")))
#else
#define UNSEEN
#endif

/* The linker has all copies made by these (--wrap). */
void *__wrap_memcpy(void *dst, const void *src, size_t len);
void *__wrap_memset(void *dst, int byte, size_t len);

UNSEEN void *__wrap_memcpy(void *dst, const void *src, size_t len)
{
	const volatile uint8_t *from = src;
	volatile uint8_t *to = dst;

	while (len-- > 0)
		*to++ = *from++;
	return dst;
}

UNSEEN void *__wrap_memset(void *dst, int byte, size_t len)
{
	volatile uint8_t *to = dst;

	while (len-- > 0)
		*to++ = (uint8_t)byte;
	return dst;
}

enum { DEVICES = 3, ENTRIES = 32, SCRIBBLERS = 2, BLOCKS = 64, REQUESTS = 8, RANGES = 64 };

#define PAGE UINT64_C(4096)
#define RAM_LEN UINT64_C(0x40000) /* of each device: rings and requests */
#define RAM_GPA(n) (UINT64_C(0x1000000) * ((n) + 1))
#define PMEM_GPA UINT64_C(0x100000000)
#define MEM_GPA UINT64_C(0x200000000)
#define BLOCK UINT64_C(0x10000)

/* Someone who does what the host has put off: it reads the ranges. */
enum worker_state { IDLE, BUSY, DONE, QUIT };

struct worker {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t moved;
	enum worker_state state;
	const struct vmemdev_range *ranges;
	uint32_t count;
	uint64_t token, seen, jobs;
};

struct machine {
	uint32_t number;
	bool packed, waiting;
	struct guest_memory memory;
	struct guest_driver driver;
	struct vmemdev_device *dev;
	struct guest_random random;
	struct worker worker;
	pthread_t thread;
	uint64_t data; /* where requests are */
	uint64_t faults, used;
};

/* The world, made before the threads are and not changed until they are joined. */
static struct machine machines[DEVICES];
static struct vmemdev_balloon balloon;
static struct vmemdev_pmem pmem;
static struct vmemdev_mem mem;
static struct vmemdev_guest shared, alone;
static struct vmemdev_region tables[2][3];
static struct vmemdev_range scratch[RANGES];
static struct vmemdev_pmem_request requests[REQUESTS];
static uint64_t bitmap[1];
static atomic_bool stop;

static uint32_t below(struct machine *m, uint32_t limit)
{
	return guest_random_below(&m->random, limit);
}

/* Every access of the library lies in guest memory. */
void vmemdev_guest_seam(uint8_t *host, size_t len, bool write)
{
	uintptr_t at = (uintptr_t)host;

	(void)write;
	for (uint32_t i = 0; i < 5; i++) {
		const struct vmemdev_region *region = &tables[i / 3][i % 3];
		uintptr_t start = (uintptr_t)region->host;

		if (region->host != NULL && at >= start && at - start < region->len &&
		    len <= region->len - (at - start))
			return;
	}
	guest_die("the library reaches beyond guest memory, for bytes", len);
}

/* Work that was put off. */

static void *work(void *ctx)
{
	struct worker *w = ctx;
	uint64_t seen = 0;

	pthread_mutex_lock(&w->lock);
	while (w->state != QUIT) {
		if (w->state != BUSY) {
			pthread_cond_wait(&w->moved, &w->lock);
			continue;
		}
		pthread_mutex_unlock(&w->lock);
		for (uint32_t i = 0; i < w->count; i++)
			seen += w->ranges[i].gpa ^ w->ranges[i].len;
		pthread_mutex_lock(&w->lock);
		w->seen = seen;
		w->jobs++;
		w->state = w->state == QUIT ? QUIT : DONE;
		pthread_cond_broadcast(&w->moved);
	}
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

static void worker_move(struct worker *w, enum worker_state state)
{
	pthread_mutex_lock(&w->lock);
	while (w->state == BUSY)
		pthread_cond_wait(&w->moved, &w->lock);
	w->state = state;
	pthread_cond_broadcast(&w->moved);
	pthread_mutex_unlock(&w->lock);
}

static int answer(struct machine *m, const struct vmemdev_range *ranges, uint32_t count,
		  uint64_t token)
{
	uint32_t what = below(m, 4);

	if (what == 0)
		return VMEMDEV_E_BUSY;
	if (what > 1)
		return 0;
	m->worker.ranges = ranges;
	m->worker.count = count;
	m->worker.token = token;
	m->waiting = true;
	worker_move(&m->worker, BUSY);
	return VMEMDEV_LATER;
}

static int on_pages(void *ctx, const struct vmemdev_range *ranges, uint32_t count, uint64_t token)
{
	for (uint32_t i = 0; i < count; i++) {
		/* the memory of the balloon, or of the device that shares it */
		uint64_t other = ranges[i].gpa >= RAM_GPA(1);
		uint64_t at = ranges[i].gpa - RAM_GPA(other);

		if (at >= RAM_LEN || ranges[i].len > RAM_LEN - at || ranges[i].len % PAGE != 0)
			guest_die("a range outside of memory at", ranges[i].gpa);
	}
	return answer(ctx, ranges, count, token);
}

static void on_hint(void *ctx, const struct vmemdev_range *ranges, uint32_t count)
{
	(void)ctx;
	(void)ranges;
	(void)count;
}

/* The pages are the new driver's: not before the worker has let go of them. */
static void on_cancel(void *ctx, uint64_t token)
{
	struct machine *m = ctx;

	(void)token;
	m->waiting = false;
	worker_move(&m->worker, IDLE);
}

static int on_flush(void *ctx, uint64_t token)
{
	return answer(ctx, NULL, 0, token);
}

static int on_blocks(void *ctx, const struct vmemdev_range *ranges, uint32_t count, uint64_t token)
{
	for (uint32_t i = 0; i < count; i++) {
		if (ranges[i].gpa < MEM_GPA || ranges[i].gpa % BLOCK != 0 ||
		    ranges[i].gpa + ranges[i].len > MEM_GPA + BLOCKS * BLOCK)
			guest_die("blocks outside of the region at", ranges[i].gpa);
	}
	return answer(ctx, ranges, count, token);
}

static const struct vmemdev_balloon_ops balloon_ops = {
	.inflate = on_pages, .deflate = on_pages, .report = on_pages, .hint = on_hint,
	.cancel = on_cancel};
static const struct vmemdev_pmem_ops pmem_ops = {.flush = on_flush};
static const struct vmemdev_mem_ops mem_ops = {.plug = on_blocks, .unplug = on_blocks};

static void complete(struct machine *m)
{
	uint64_t token = m->worker.token;
	int result = below(m, 3) ? 0 : VMEMDEV_E_HOST, err;

	if (!m->waiting)
		return;
	m->waiting = false;
	worker_move(&m->worker, IDLE);
	if (m->number == 0)
		err = vmemdev_balloon_complete(&balloon, token, result);
	else if (m->number == 1)
		err = vmemdev_pmem_complete(&pmem, token, result);
	else
		err = vmemdev_mem_complete(&mem, token, result);
	if (err != 0)
		guest_die("the end of work is refused on device", m->number);
}

/* The driver of a device. */

static void start(struct machine *m)
{
	const uint64_t features = VMEMDEV_F_EVENT_IDX | VMEMDEV_F_INDIRECT_DESC |
				  VMEMDEV_BALLOON_F_STATS_VQ | VMEMDEV_BALLOON_F_FREE_PAGE_HINT |
				  VMEMDEV_BALLOON_F_PAGE_REPORTING;

	guest_driver_reset(&m->driver);
	guest_place_release(&m->memory, 0);
	m->data = guest_place(&m->memory, RAM_LEN / 2, PAGE);
	if (!guest_driver_start(&m->driver,
				features | (m->packed ? VMEMDEV_F_RING_PACKED : 0), ENTRIES))
		guest_die("a reset did not help device", m->number);
}

static uint32_t fill_request(struct machine *m, uint16_t queue, uint64_t at,
			     struct vmemdev_buf *bufs)
{
	uint32_t page = (uint32_t)(RAM_GPA(0) / PAGE), pages = (uint32_t)(RAM_LEN / PAGE);

	if (m->number > 0) {
		guest_fill(&m->memory, at, 0, 64);
		if (m->number == 2) {
			guest_store16(&m->memory, at, (uint16_t)below(m, 4));
			guest_store64(&m->memory, at + 8, MEM_GPA + below(m, BLOCKS) * BLOCK);
			guest_store16(&m->memory, at + 16, (uint16_t)(1 + below(m, 4)));
		}
		bufs[0] = (struct vmemdev_buf){at, m->number == 2 ? 24 : 4, 0};
		bufs[1] = (struct vmemdev_buf){at + 32, 16, 1};
		return 2;
	}
	for (uint32_t i = 0; i < 128; i++)
		guest_store32(&m->memory, at + 4 * i, page + below(m, pages));
	bufs[0] = (struct vmemdev_buf){at, 200, 0};
	bufs[1] = (struct vmemdev_buf){at + 200, 312, 0};
	if (queue >= 3) {
		bufs[0] = (struct vmemdev_buf){(page + below(m, pages - 4)) * PAGE, 16384, 1};
		bufs[1] = (struct vmemdev_buf){(page + below(m, pages - 1)) * PAGE, 4096, 1};
	}
	return 2;
}

static void post(struct machine *m)
{
	uint16_t queue = (uint16_t)below(m, vmemdev_device_queue_count(m->dev));
	uint64_t at = m->data + below(m, 128) * UINT64_C(1024);
	struct guest_add how = {.indirect = below(m, 2)};
	struct vmemdev_buf bufs[2];
	uint32_t count = fill_request(m, queue, at, bufs);

	if (guest_queue_add(&m->driver.queues[queue], bufs, count, &how) < 0)
		return;
	guest_queue_publish(&m->driver.queues[queue]);
	guest_driver_kick(&m->driver, queue);
}

/* returns: whether the driver can still make sense of its rings */
static bool take_used(struct machine *m)
{
	struct guest_used used;
	int got = 0;

	for (uint16_t q = 0; q < VMEMDEV_QUEUES_MAX && got >= 0; q++) {
		if (!m->driver.open[q])
			continue;
		while ((got = guest_queue_poll(&m->driver.queues[q], &used)) > 0)
			m->used++;
	}
	return got >= 0;
}

static void control(struct machine *m)
{
	if (m->number == 2)
		(void)vmemdev_mem_set_requested(&mem, below(m, BLOCKS + 1) * BLOCK);
	else if (m->number == 0 && below(m, 2))
		(void)vmemdev_balloon_hint_start(&balloon);
	else if (m->number == 0)
		(void)vmemdev_balloon_poll_stats(&balloon);
}

static void *live(void *ctx)
{
	struct machine *m = ctx;
	int left;

	for (uint32_t i = 0; i < STEPS; i++) {
		uint32_t what = below(m, 32);

		if (what < 14)
			post(m);
		else if (what < 28)
			(void)vmemdev_device_run(m->dev, 1 + below(m, 3));
		else if (what < 31)
			complete(m);
		else
			control(m);
		left = vmemdev_device_fault(m->dev);
		if (left < 0 || !take_used(m) || below(m, 500) == 0) {
			m->faults += left < 0;
			start(m);
		}
	}
	return NULL;
}

/* The guest's other CPUs. They write bytes and words without asking anybody. */

UNSEEN static void scribble_word(uint8_t *at, uint64_t value, uint32_t len)
{
	volatile uint8_t *byte = at;

	for (uint32_t i = 0; i < len; i++)
		byte[i] = (uint8_t)(value >> 8 * i);
}

UNSEEN static uint8_t peek(const uint8_t *at)
{
	return *(const volatile uint8_t *)at;
}

/* Mostly a small change of what is there, in the second half of memory, which rings begin. */
static void scribble_once(struct guest_random *random)
{
	const struct machine *m = &machines[guest_random_below(random, DEVICES)];
	uint8_t *ram = m->memory.regions[0].host;
	uint32_t half = (uint32_t)(RAM_LEN / 2);
	bool rings = guest_random_below(random, 4);
	uint8_t *at = ram + (rings ? half : 0) + guest_random_below(random, rings ? 16384 : half);

	switch (guest_random_below(random, 4)) {
	case 0:
		scribble_word(at, (uint64_t)peek(at) ^ 1u << guest_random_below(random, 8), 1);
		break;
	case 1:
		scribble_word(at, (uint64_t)peek(at) + 1, 1);
		break;
	case 2:
		scribble_word(ram + ((at - ram) & ~3), guest_random_next(random), 4);
		break;
	default:
		scribble_word(at, 0, 8);
		break;
	}
}

static void *scribble(void *ctx)
{
	struct guest_random random = {.state = 77 + *(uint32_t *)ctx};

	while (!atomic_load_explicit(&stop, memory_order_relaxed))
		scribble_once(&random);
	return NULL;
}

/* Making the world. */

static void common(struct machine *m, struct vmemdev_device_config *config)
{
	config->guest = m->number == 2 ? &alone : &shared;
	config->ctx = m;
	config->features_on = VMEMDEV_F_RING_PACKED;
}

static void make_devices(void)
{
	struct vmemdev_balloon_config b = {
		.struct_size = sizeof(b), .range_count = RANGES, .ranges = scratch,
		.ops = &balloon_ops, .ctx = &machines[0], .stats = true, .hinting = true,
		.reporting = true};
	struct vmemdev_pmem_config p = {
		.struct_size = sizeof(p), .request_count = REQUESTS, .requests = requests,
		.addr = PMEM_GPA, .size = 0x200000, .ops = &pmem_ops, .ctx = &machines[1]};
	struct vmemdev_mem_config k = {
		.struct_size = sizeof(k), .addr = MEM_GPA, .region_size = BLOCKS * BLOCK,
		.block_size = BLOCK, .bitmap = bitmap, .bitmap_words = 1, .ops = &mem_ops,
		.ctx = &machines[2]};

	common(&machines[0], &b.device);
	common(&machines[1], &p.device);
	common(&machines[2], &k.device);
	assert_int_equal(vmemdev_balloon_init(&balloon, sizeof(balloon), &b), 0);
	assert_int_equal(vmemdev_pmem_init(&pmem, sizeof(pmem), &p), 0);
	assert_int_equal(vmemdev_mem_init(&mem, sizeof(mem), &k), 0);
	machines[0].dev = vmemdev_balloon_device(&balloon);
	machines[1].dev = vmemdev_pmem_device(&pmem);
	machines[2].dev = vmemdev_mem_device(&mem);
}

static void make_world(bool packed)
{
	struct vmemdev_guest_config config = {.struct_size = sizeof(config)};

	memset(machines, 0, sizeof(machines));
	memset(tables, 0, sizeof(tables));
	atomic_store(&stop, false);
	for (uint32_t i = 0; i < DEVICES; i++) {
		machines[i].number = i;
		machines[i].packed = packed;
		guest_memory_open_flat(&machines[i].memory, RAM_GPA(i), RAM_LEN);
		guest_random_seed(&machines[i].random, 1000 * packed + i);
		tables[i / 2][i % 2] = machines[i].memory.regions[0];
	}
	config.regions = tables[0];
	config.region_count = 2;
	assert_int_equal(vmemdev_guest_init(&shared, sizeof(shared), &config), 0);
	config.regions = tables[1];
	config.region_count = 1;
	assert_int_equal(vmemdev_guest_init(&alone, sizeof(alone), &config), 0);
	make_devices();
	for (uint32_t i = 0; i < DEVICES; i++) {
		struct machine *m = &machines[i];

		assert_int_equal(guest_driver_open(&m->driver, &m->memory, m->dev, GUEST_DIRECT),
				 0);
		start(m);
		assert_int_equal(pthread_mutex_init(&m->worker.lock, NULL), 0);
		assert_int_equal(pthread_cond_init(&m->worker.moved, NULL), 0);
		assert_int_equal(pthread_create(&m->worker.thread, NULL, work, &m->worker), 0);
	}
}

/* With memory that stays as it is, the device serves a good driver at once. */
static void check_alive(struct machine *m)
{
	uint64_t before;

	complete(m);
	start(m);
	before = m->used;
	post(m);
	for (uint32_t i = 0; i < 100 && m->used == before; i++) {
		assert_true(vmemdev_device_run(m->dev, 64) >= 0);
		complete(m);
		assert_true(take_used(m));
		/* a statistics buffer is kept */
		post(m);
	}
	assert_true(m->used > before);
}

static void end_world(void)
{
	for (uint32_t i = 0; i < DEVICES; i++) {
		struct machine *m = &machines[i];

		check_alive(m);
		guest_driver_reset(&m->driver);
		worker_move(&m->worker, QUIT);
		pthread_join(m->worker.thread, NULL);
		pthread_mutex_destroy(&m->worker.lock);
		pthread_cond_destroy(&m->worker.moved);
		print_message("device %u: %llu faults, %llu used, %llu jobs put off\n", i,
			      (unsigned long long)m->faults, (unsigned long long)m->used,
			      (unsigned long long)m->worker.jobs);
		/* how often the device was stopped is for the threads' scheduler to say */
		assert_true(m->used > 100 && m->worker.jobs > 10);
		guest_driver_close(&m->driver);
		guest_memory_close(&m->memory);
	}
}

static void scribbled_world(bool packed)
{
	pthread_t scribblers[SCRIBBLERS];
	uint32_t numbers[SCRIBBLERS];

	make_world(packed);
	for (uint32_t i = 0; i < SCRIBBLERS; i++) {
		numbers[i] = i;
		assert_int_equal(pthread_create(&scribblers[i], NULL, scribble, &numbers[i]), 0);
	}
	for (uint32_t i = 0; i < DEVICES; i++)
		assert_int_equal(pthread_create(&machines[i].thread, NULL, live, &machines[i]), 0);
	for (uint32_t i = 0; i < DEVICES; i++)
		pthread_join(machines[i].thread, NULL);
	atomic_store(&stop, true);
	for (uint32_t i = 0; i < SCRIBBLERS; i++)
		pthread_join(scribblers[i], NULL);
	end_world();
}

/* shows: HOST-VQ-13 HOST-VQ-14 VQ-SPLIT-12 */
static void HOST_VQ_13_split_rings_that_other_threads_scribble_on(void **state)
{
	(void)state;
	scribbled_world(false);
}

/* shows: HOST-VQ-13 HOST-VQ-14 */
static void HOST_VQ_13_packed_rings_that_other_threads_scribble_on(void **state)
{
	(void)state;
	scribbled_world(true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(HOST_VQ_13_split_rings_that_other_threads_scribble_on),
		cmocka_unit_test(HOST_VQ_13_packed_rings_that_other_threads_scribble_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
