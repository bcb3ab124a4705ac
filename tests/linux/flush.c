/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The flusher: with a device in front of it, and by its ops alone. What fdatasync() says is
 * the kernel's own word: a descriptor opened with O_PATH, put in the place of the flusher's,
 * makes it fail until the file is put back. Where the kernel cannot be had to say something, or
 * to say it at the right time, its calls are led through this file (meson.build). That data
 * outlives the machine is not seen here.
 */
#include "linux/support.h"

#include "guest/driver.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define SIZE (2 * MIB)
#define PMEM_GPA (4 * GIB)

struct flush_rig {
	struct vmemdev_linux_flusher flusher;
	int fd;     /* the file, and the same without a right to sync it */
	int path_fd;
	int inside; /* the flusher's own descriptor of it */
};

/* Of the calls that are led through here: what was seen, and what is played. */
static struct {
	uint32_t syncs;       /* atomic: fdatasync() calls */
	int last;             /* the descriptor of the last one */
	uint32_t interrupted; /* so many of them are not made: EINTR */
	mode_t kind;          /* what fstat() says that files are, if not 0 */
	bool gated;           /* strerror() waits */
	sem_t came, go;
} played;

int __real_fdatasync(int fd);
int __wrap_fdatasync(int fd);
int __wrap_fstat(int fd, struct stat *status);
int __wrap_fstat64(int fd, struct stat *status);
char *__real_strerror(int code);
char *__wrap_strerror(int code);

int __wrap_fdatasync(int fd)
{
	played.last = fd;
	__atomic_add_fetch(&played.syncs, 1, __ATOMIC_RELEASE);
	if (played.interrupted > 0) {
		played.interrupted--;
		errno = EINTR;
		return -1;
	}
	return __real_fdatasync(fd);
}

int __wrap_fstat(int fd, struct stat *status)
{
	int failed = fstatat(fd, "", status, AT_EMPTY_PATH);

	if (failed == 0 && played.kind != 0)
		status->st_mode = (status->st_mode & ~(mode_t)S_IFMT) | played.kind;
	return failed;
}

/* What some libraries call it where files may be large. */
int __wrap_fstat64(int fd, struct stat *status)
{
	return __wrap_fstat(fd, status);
}

char *__wrap_strerror(int code)
{
	if (played.gated) {
		sem_post(&played.came);
		while (sem_wait(&played.go) != 0)
			;
	}
	return __real_strerror(code);
}

static bool same_file(int a, int b)
{
	struct stat x, y;

	return fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_dev == y.st_dev &&
	       x.st_ino == y.st_ino;
}

static int setup(void **state)
{
	struct flush_rig *rig = calloc(1, sizeof(*rig));
	char name[32];

	assert_non_null(rig);
	memset(&played, 0, sizeof(played));
	rig->fd = scratch_file(SIZE);
	snprintf(name, sizeof(name), "/proc/self/fd/%d", rig->fd);
	assert_int_equal(vmemdev_linux_flusher_init(&rig->flusher, sizeof(rig->flusher), rig->fd),
			 0);
	for (rig->inside = 0; rig->inside < 1024; rig->inside++) {
		if (rig->inside != rig->fd && same_file(rig->inside, rig->fd))
			break;
	}
	assert_true(rig->inside < 1024);
	rig->path_fd = open(name, O_PATH | O_CLOEXEC);
	assert_true(rig->path_fd >= 0);
	*state = rig;
	return 0;
}

static int teardown(void **state)
{
	struct flush_rig *rig = *state;

	vmemdev_linux_flusher_finish(&rig->flusher);
	close(rig->fd);
	close(rig->path_fd);
	free(rig);
	return 0;
}

static void make_it(struct flush_rig *rig, bool fail)
{
	assert_int_equal(dup3(fail ? rig->path_fd : rig->fd, rig->inside, O_CLOEXEC), rig->inside);
}

static int start(struct flush_rig *rig, uint64_t token)
{
	return vmemdev_linux_pmem_ops()->flush(&rig->flusher, token);
}

static bool readable(struct flush_rig *rig, int milliseconds)
{
	struct pollfd event = {.fd = vmemdev_linux_flusher_fd(&rig->flusher), .events = POLLIN};

	return poll(&event, 1, milliseconds) == 1 && (event.revents & POLLIN);
}

/* Wait for the end of a flush, as a host's event loop does. */
static uint64_t take(struct flush_rig *rig, int *result)
{
	uint64_t token = 0;

	do {
		if (!readable(rig, 60000))
			fail_msg("no flush has ended for a minute");
	} while (vmemdev_linux_flusher_take(&rig->flusher, &token, result) == 0);
	return token;
}

static void assert_flushes(struct flush_rig *rig, uint64_t token, int expected)
{
	int result = 1;

	assert_int_equal(start(rig, token), VMEMDEV_LATER);
	assert_true(take(rig, &result) == token);
	assert_int_equal(result, expected);
}

static void flushes_end_once_each_with_their_token(void **state)
{
	struct flush_rig *rig = *state;
	uint64_t token = 5;
	int result = 7;

	assert_int_equal(vmemdev_linux_flusher_take(&rig->flusher, &token, &result), 0);
	assert_false(readable(rig, 0));
	for (uint64_t i = 0; i < 50; i++) {
		assert_int_equal(pwrite(rig->fd, &i, sizeof(i), 0), sizeof(i));
		assert_flushes(rig, UINT64_MAX - i, 0);
		token = 5;
		assert_int_equal(vmemdev_linux_flusher_take(&rig->flusher, &token, &result), 0);
		assert_int_equal(token, 5);
	}
	/* At most once more for nothing: a host that polls does not spin. */
	if (readable(rig, 0))
		assert_int_equal(vmemdev_linux_flusher_take(&rig->flusher, &token, &result), 0);
	assert_false(readable(rig, 0));
}

/* shows: PMEM-09 */
static void PMEM_09_a_failure_belongs_to_its_flush_alone(void **state)
{
	struct flush_rig *rig = *state;
	struct vmemdev_linux_error error;

	for (uint64_t i = 1; i < 30; i++) {
		bool fails = i % 3 == 0;

		make_it(rig, fails);
		assert_flushes(rig, i, fails ? VMEMDEV_E_HOST : 0);
		vmemdev_linux_flusher_last_error(&rig->flusher, &error);
		assert_int_equal(error.code, fails ? EBADF : 0);
		assert_int_equal(strstr(error.text, "fdatasync") != NULL, fails);
		if (!fails)
			assert_string_equal(error.text, "");
	}
}

/* Asked for once by each flush, of the file, and answered before the flush has ended. */
/* shows: PMEM-06 */
static void PMEM_06_the_kernel_is_asked_to_sync_the_file(void **state)
{
	struct flush_rig *rig = *state;

	for (uint32_t i = 1; i < 20; i++) {
		assert_flushes(rig, i, 0);
		assert_int_equal(__atomic_load_n(&played.syncs, __ATOMIC_ACQUIRE), i);
		assert_int_equal(played.last, rig->inside);
	}
}

/* A signal's interruption is no failure, and no success. */
/* shows: PMEM-09 */
static void PMEM_09_what_was_interrupted_is_asked_again(void **state)
{
	struct flush_rig *rig = *state;
	struct vmemdev_linux_error error;

	for (uint32_t times = 1; times < 5; times++) {
		played.syncs = 0;
		played.interrupted = times;
		assert_flushes(rig, times, 0);
		assert_int_equal(__atomic_load_n(&played.syncs, __ATOMIC_ACQUIRE), times + 1);
		vmemdev_linux_flusher_last_error(&rig->flusher, &error);
		assert_int_equal(error.code, 0);
	}
	make_it(rig, true);
	played.interrupted = 1;
	assert_flushes(rig, 9, VMEMDEV_E_HOST);
}

/* Half a reason is none: the worker is held while it writes it down. */
static void no_reason_is_told_while_a_flush_goes_on(void **state)
{
	struct flush_rig *rig = *state;
	struct vmemdev_linux_error error;
	struct timespec until;
	int result = 1;

	assert_int_equal(sem_init(&played.came, 0, 0), 0);
	assert_int_equal(sem_init(&played.go, 0, 0), 0);
	played.gated = true;
	make_it(rig, true);
	assert_int_equal(start(rig, 1), VMEMDEV_LATER);
	assert_int_equal(clock_gettime(CLOCK_REALTIME, &until), 0);
	until.tv_sec += 60;
	if (sem_timedwait(&played.came, &until) != 0)
		fail_msg("no flush has failed for a minute");
	memset(&error, 0x5a, sizeof(error));
	vmemdev_linux_flusher_last_error(&rig->flusher, &error);
	sem_post(&played.go);
	assert_int_equal(error.code, 0);
	assert_string_equal(error.text, "");
	assert_true(take(rig, &result) == 1);
	assert_int_equal(result, VMEMDEV_E_HOST);
	vmemdev_linux_flusher_last_error(&rig->flusher, &error);
	assert_int_equal(error.code, EBADF);
	played.gated = false;
}

/* A second flush cannot be served by the first one, which began before it was asked for. */
/* shows: PMEM-07 */
static void PMEM_07_one_flush_at_a_time(void **state)
{
	struct flush_rig *rig = *state;
	int result = 1;

	assert_int_equal(start(rig, 1), VMEMDEV_LATER);
	assert_int_equal(start(rig, 2), VMEMDEV_E_STATE);
	while (!readable(rig, 60000))
		fail_msg("no flush has ended for a minute");
	assert_int_equal(start(rig, 2), VMEMDEV_E_STATE);
	assert_true(take(rig, &result) == 1);
	assert_int_equal(result, 0);
	assert_flushes(rig, 2, 0);
}

static void finish_waits_for_the_flush(void **state)
{
	struct flush_rig *rig = *state;

	for (int i = 0; i < 50; i++) {
		if (i % 2)
			assert_int_equal(start(rig, 1), VMEMDEV_LATER);
		vmemdev_linux_flusher_finish(&rig->flusher);
		assert_int_equal(fcntl(rig->inside, F_GETFD), -1);
		vmemdev_linux_flusher_finish(&rig->flusher);
		assert_int_equal(vmemdev_linux_flusher_init(&rig->flusher, sizeof(rig->flusher),
							    rig->fd), 0);
	}
}

static void assert_refused(int fd, const char *word)
{
	struct vmemdev_linux_flusher flusher;
	struct vmemdev_linux_error error;

	assert_int_equal(vmemdev_linux_flusher_init(&flusher, sizeof(flusher), fd),
			 VMEMDEV_E_INVAL);
	vmemdev_linux_flusher_last_error(&flusher, &error);
	assert_non_null(strstr(error.text, word));
	vmemdev_linux_flusher_finish(&flusher);
}

static void what_cannot_be_flushed_is_refused_by_name(void **state)
{
	int pair[2], full = open("/dev/full", O_RDWR | O_CLOEXEC);

	(void)state;
	assert_true(full >= 0);
	assert_int_equal(pipe2(pair, O_CLOEXEC), 0);
	assert_refused(-1, "fstat");
	assert_refused(1 << 20, "fstat");
	assert_refused(pair[0], "regular file");
	assert_refused(full, "regular file");
	close(full);
	close(pair[0]);
	close(pair[1]);
}

static void a_block_device_will_do_and_no_other_kind(void **state)
{
	static const mode_t others[] = {S_IFCHR, S_IFDIR, S_IFIFO, S_IFSOCK, S_IFLNK};
	struct flush_rig *rig = *state;

	vmemdev_linux_flusher_finish(&rig->flusher);
	for (size_t i = 0; i < ARRAY_LEN(others); i++) {
		played.kind = others[i];
		assert_refused(rig->fd, "regular file");
	}
	played.kind = S_IFBLK;
	assert_int_equal(vmemdev_linux_flusher_init(&rig->flusher, sizeof(rig->flusher), rig->fd),
			 0);
	played.kind = 0;
	assert_flushes(rig, 1, 0);
}

/* Programs that the host starts get none of the three. */
static void no_descriptor_is_handed_on(void **state)
{
	struct flush_rig *rig = *state;
	bool open_before[1024];
	int made = 0;

	vmemdev_linux_flusher_finish(&rig->flusher);
	for (int fd = 0; fd < 1024; fd++)
		open_before[fd] = fcntl(fd, F_GETFD) >= 0;
	assert_int_equal(vmemdev_linux_flusher_init(&rig->flusher, sizeof(rig->flusher), rig->fd),
			 0);
	for (int fd = 0; fd < 1024; fd++) {
		int flags = fcntl(fd, F_GETFD);

		if (flags < 0 || open_before[fd])
			continue;
		assert_int_equal(flags & FD_CLOEXEC, FD_CLOEXEC);
		made++;
	}
	assert_int_equal(made, 3);
}

static void wrong_arguments_change_nothing(void **state)
{
	struct flush_rig *rig = *state;
	struct vmemdev_linux_flusher other;
	uint64_t token = 0;
	int result;

	memset(&other, 0x5a, sizeof(other));
	assert_int_equal(vmemdev_linux_flusher_init(NULL, sizeof(other), rig->fd),
			 VMEMDEV_E_INVAL);
	assert_int_equal(vmemdev_linux_flusher_init(&other, sizeof(other) - 8, rig->fd),
			 VMEMDEV_E_ABI);
	for (size_t i = 0; i < sizeof(other); i++)
		assert_int_equal(((uint8_t *)&other)[i], 0x5a);
	memset(&other, 0, sizeof(other));
	vmemdev_linux_flusher_finish(&other);
	assert_int_equal(start(rig, 3), VMEMDEV_LATER);
	assert_true(readable(rig, 60000));
	assert_int_equal(vmemdev_linux_flusher_take(NULL, &token, &result), VMEMDEV_E_INVAL);
	assert_int_equal(vmemdev_linux_flusher_take(&rig->flusher, NULL, &result),
			 VMEMDEV_E_INVAL);
	assert_int_equal(vmemdev_linux_flusher_take(&rig->flusher, &token, NULL),
			 VMEMDEV_E_INVAL);
	assert_int_equal(take(rig, &result), 3);
}

/* With room for none, one and two descriptors more. */
static void an_init_that_fails_leaves_nothing_behind(void **state)
{
	struct vmemdev_linux_flusher flusher;
	struct vmemdev_linux_error error;
	struct rlimit before, few;
	int fd = scratch_file(SIZE), free_fd;
	(void)state;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	free_fd = dup(fd);
	close(free_fd);
	for (int room = 0; room < 3; room++) {
		few = before;
		few.rlim_cur = (rlim_t)(free_fd + room);
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
		assert_int_equal(vmemdev_linux_flusher_init(&flusher, sizeof(flusher), fd),
				 VMEMDEV_E_HOST);
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
		vmemdev_linux_flusher_last_error(&flusher, &error);
		assert_int_equal(error.code, EMFILE);
		assert_non_null(strstr(error.text, "ulimit -n"));
		vmemdev_linux_flusher_finish(&flusher);
		for (int i = 0; i < 3; i++)
			assert_int_equal(fcntl(free_fd + i, F_GETFD), -1);
	}
	close(fd);
}

static void a_read_only_file_will_do(void **state)
{
	struct flush_rig *rig = *state;
	char name[32];
	int fd;

	snprintf(name, sizeof(name), "/proc/self/fd/%d", rig->fd);
	fd = open(name, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	vmemdev_linux_flusher_finish(&rig->flusher);
	assert_int_equal(vmemdev_linux_flusher_init(&rig->flusher, sizeof(rig->flusher), fd), 0);
	close(fd);
	assert_flushes(rig, 1, 0);
}

static pthread_t handled_by;

static void on_signal(int number)
{
	(void)number;
	handled_by = pthread_self();
}

/* The host's signals are handled on the host's threads. */
static void the_thread_takes_no_signals(void **state)
{
	struct sigaction action = {.sa_handler = on_signal}, before;
	struct flush_rig *rig = *state;
	sigset_t usr1, mask, now;

	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	assert_int_equal(sigaction(SIGUSR1, &action, &before), 0);
	assert_int_equal(pthread_sigmask(SIG_BLOCK, &usr1, &mask), 0);
	assert_int_equal(sigismember(&mask, SIGUSR1), 0);
	assert_int_equal(kill(getpid(), SIGUSR1), 0);
	assert_flushes(rig, 1, 0);
	assert_int_equal(sigpending(&now), 0);
	assert_int_equal(sigismember(&now, SIGUSR1), 1);
	assert_int_equal(pthread_sigmask(SIG_SETMASK, &mask, NULL), 0);
	assert_true(pthread_equal(handled_by, pthread_self()));
	sigaction(SIGUSR1, &before, NULL);
}

/* A device whose region is the file, mapped; a driver that flushes it. */
struct machine {
	struct guest_memory rings;
	struct guest_driver driver;
	struct vmemdev_pmem pmem;
	struct vmemdev_pmem_request requests[4];
	uint8_t *region;
	uint64_t at; /* of the request and its answer */
};

static void power_on(struct machine *m, struct flush_rig *rig, bool packed)
{
	struct vmemdev_pmem_config config = {
		.struct_size = sizeof(config),
		.request_count = ARRAY_LEN(m->requests),
		.requests = m->requests,
		.addr = PMEM_GPA,
		.size = SIZE,
		.device = {.guest = &m->rings.guest,
			   .features_on = packed ? VMEMDEV_F_RING_PACKED : 0},
		.ops = vmemdev_linux_pmem_ops(),
		.ctx = &rig->flusher,
	};

	memset(m, 0, sizeof(*m));
	guest_memory_open_flat(&m->rings, 0x10000, 512 * KIB);
	m->region = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, rig->fd, 0);
	assert_true(m->region != MAP_FAILED);
	assert_int_equal(vmemdev_pmem_init(&m->pmem, sizeof(m->pmem), &config), 0);
	assert_int_equal(guest_driver_open(&m->driver, &m->rings, vmemdev_pmem_device(&m->pmem),
					   GUEST_MMIO), 0);
	assert_true(guest_driver_start(&m->driver, packed ? VMEMDEV_F_RING_PACKED : 0, 0));
	m->at = guest_place(&m->rings, 8, 8);
}

static void power_off(struct machine *m)
{
	guest_driver_close(&m->driver);
	guest_memory_close(&m->rings);
	munmap(m->region, SIZE);
}

/* Returns what the guest is answered. */
static uint32_t guest_flush(struct machine *m, struct flush_rig *rig)
{
	const struct vmemdev_buf bufs[2] = {{.gpa = m->at, .len = 4, .writable = 0},
					    {.gpa = m->at + 4, .len = 4, .writable = 1}};
	struct guest_used used;
	uint64_t token;
	int result = 1;

	guest_store32(&m->rings, m->at, 0);
	guest_store32(&m->rings, m->at + 4, 0xa5a5a5a5);
	assert_true(guest_queue_add(&m->driver.queues[0], bufs, 2, NULL) >= 0);
	guest_driver_submit(&m->driver, 0);
	assert_int_equal(guest_driver_run(&m->driver, 0), 0);
	assert_int_equal(guest_queue_poll(&m->driver.queues[0], &used), 0);
	token = take(rig, &result);
	assert_int_equal(vmemdev_pmem_complete(&m->pmem, token, result), 0);
	assert_int_equal(guest_driver_run(&m->driver, 0), 0);
	assert_int_equal(guest_queue_poll(&m->driver.queues[0], &used), 1);
	assert_int_equal(used.len, 4);
	return guest_load32(&m->rings, m->at + 4);
}

/* shows: PMEM-06 PMEM-08 PMEM-09 */
static void PMEM_06_a_guest_flushes_a_file(void **state)
{
	struct flush_rig *rig = *state;
	struct vmemdev_pmem_counts counts;
	struct machine m;
	uint8_t byte;

	for (int packed = 0; packed < 2; packed++) {
		power_on(&m, rig, packed != 0);
		for (uint32_t i = 1; i <= 20; i++) {
			m.region[i * 4096] = (uint8_t)(i + 32 * (uint32_t)packed);
			make_it(rig, i % 5 == 0);
			assert_int_equal(guest_flush(&m, rig), i % 5 ? 0 : UINT32_MAX);
			assert_int_equal(pread(rig->fd, &byte, 1, i * 4096), 1);
			assert_int_equal(byte, m.region[i * 4096]);
		}
		vmemdev_pmem_get_counts(&m.pmem, &counts);
		assert_int_equal(counts.requests, 16);
		assert_int_equal(counts.failed, 4);
		power_off(&m);
	}
}

#define TEST_FLUSH(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_FLUSH(flushes_end_once_each_with_their_token),
		TEST_FLUSH(PMEM_09_a_failure_belongs_to_its_flush_alone),
		TEST_FLUSH(PMEM_06_the_kernel_is_asked_to_sync_the_file),
		TEST_FLUSH(PMEM_09_what_was_interrupted_is_asked_again),
		TEST_FLUSH(no_reason_is_told_while_a_flush_goes_on),
		TEST_FLUSH(PMEM_07_one_flush_at_a_time),
		TEST_FLUSH(finish_waits_for_the_flush),
		cmocka_unit_test(what_cannot_be_flushed_is_refused_by_name),
		TEST_FLUSH(a_block_device_will_do_and_no_other_kind),
		TEST_FLUSH(no_descriptor_is_handed_on),
		TEST_FLUSH(wrong_arguments_change_nothing),
		cmocka_unit_test(an_init_that_fails_leaves_nothing_behind),
		TEST_FLUSH(a_read_only_file_will_do),
		TEST_FLUSH(the_thread_takes_no_signals),
		TEST_FLUSH(PMEM_06_a_guest_flushes_a_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
