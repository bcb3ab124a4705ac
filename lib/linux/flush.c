/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A thread that calls fdatasync(). The state says whose the flusher's fields are: the host's
 * while IDLE or ENDED, the worker's while BUSY. Two eventfds say that it has changed.
 */
#include <errno.h>
#include <inttypes.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>
#include <vmemdev/linux.h>

enum { IDLE, BUSY, ENDED };

_Static_assert(sizeof(pthread_t) <= sizeof(uint64_t), "a thread's name fits");

static uint32_t state_of(const struct vmemdev_linux_flusher *flusher)
{
	return __atomic_load_n(&flusher->state_, __ATOMIC_ACQUIRE);
}

static void set_state(struct vmemdev_linux_flusher *flusher, uint32_t state)
{
	__atomic_store_n(&flusher->state_, state, __ATOMIC_RELEASE);
}

/* Add to an event. Returns 0 or -1 with errno. */
static int event_raise(int event)
{
	const uint64_t one = 1;
	ssize_t put;

	do {
		put = write(event, &one, sizeof(one));
	} while (put < 0 && errno == EINTR);
	return put < 0 ? -1 : 0;
}

/* Wait for an event, unless it does not block, and clear it. */
static void event_clear(int event)
{
	uint64_t count;
	ssize_t got;

	do {
		got = read(event, &count, sizeof(count));
	} while (got < 0 && errno == EINTR);
}

/* Returns 0 or VMEMDEV_E_HOST, with the reason kept. */
static int sync_file(struct vmemdev_linux_flusher *flusher)
{
	struct vmemdev_linux_error *error = &flusher->error_;
	int failed;

	do {
		failed = fdatasync(flusher->fd_);
	} while (failed != 0 && errno == EINTR);
	if (failed == 0)
		return 0;
	error->code = errno;
	snprintf(error->text, sizeof(error->text),
		 "flush %" PRIu64 ": fdatasync: %s: what the guest wrote since the last flush may "
		 "be lost, and it was told of an I/O error; look after the disk",
		 flusher->token_, strerror(error->code));
	return VMEMDEV_E_HOST;
}

static void *work(void *ctx)
{
	struct vmemdev_linux_flusher *flusher = ctx;

	for (;;) {
		event_clear(flusher->wake_);
		if (state_of(flusher) == BUSY) {
			flusher->result_ = sync_file(flusher);
			set_state(flusher, ENDED);
			(void)event_raise(flusher->ended_);
		}
		if (__atomic_load_n(&flusher->stop_, __ATOMIC_ACQUIRE))
			return NULL;
	}
}

static int init_fail(struct vmemdev_linux_flusher *flusher, int err, int code, const char *what,
		     int fd, const char *advice)
{
	flusher->error_.code = code;
	snprintf(flusher->error_.text, sizeof(flusher->error_.text),
		 "flusher for file descriptor %d: %s%s%s: %s", fd, what, code != 0 ? ": " : "",
		 code != 0 ? strerror(code) : "", advice);
	return err;
}

static void close_all(struct vmemdev_linux_flusher *flusher)
{
	int *fds[] = { &flusher->fd_, &flusher->wake_, &flusher->ended_ };

	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++) {
		if (*fds[i] >= 0)
			close(*fds[i]);
		*fds[i] = -1;
	}
}

/* Returns 0 or an errno. The host's signals are not the worker's. */
static int start_thread(struct vmemdev_linux_flusher *flusher)
{
	sigset_t all, before;
	pthread_t thread;
	int code;

	sigfillset(&all);
	code = pthread_sigmask(SIG_SETMASK, &all, &before);
	if (code != 0)
		return code;
	code = pthread_create(&thread, NULL, work, flusher);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (code == 0)
		memcpy(&flusher->thread_, &thread, sizeof(thread));
	return code;
}

int vmemdev_linux_flusher_init(struct vmemdev_linux_flusher *flusher, size_t flusher_size, int fd)
{
	struct stat status;
	int code;

	if (flusher == NULL)
		return VMEMDEV_E_INVAL;
	if (flusher_size != sizeof(*flusher))
		return VMEMDEV_E_ABI;
	memset(flusher, 0, sizeof(*flusher));
	flusher->fd_ = flusher->wake_ = flusher->ended_ = -1;
	if (fstat(fd, &status) != 0)
		return init_fail(flusher, VMEMDEV_E_INVAL, errno, "fstat", fd,
				 "pass the open file that the region is mapped from");
	if (!S_ISREG(status.st_mode) && !S_ISBLK(status.st_mode))
		return init_fail(flusher, VMEMDEV_E_INVAL, 0, "is of a kind that keeps nothing", fd,
				 "pass a regular file or a block device");
	flusher->fd_ = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (flusher->fd_ >= 0)
		flusher->wake_ = eventfd(0, EFD_CLOEXEC);
	if (flusher->wake_ >= 0)
		flusher->ended_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (flusher->ended_ < 0) {
		code = errno;
		close_all(flusher);
		return init_fail(flusher, VMEMDEV_E_HOST, code, "three more descriptors", fd,
				 "raise ulimit -n, or close what is not needed");
	}
	code = start_thread(flusher);
	if (code != 0) {
		close_all(flusher);
		return init_fail(flusher, VMEMDEV_E_HOST, code, "pthread_create", fd,
				 "raise ulimit -u or the pids limit of the cgroup");
	}
	return 0;
}

void vmemdev_linux_flusher_finish(struct vmemdev_linux_flusher *flusher)
{
	pthread_t thread;

	if (flusher->thread_ == 0)
		return;
	__atomic_store_n(&flusher->stop_, 1, __ATOMIC_RELEASE);
	(void)event_raise(flusher->wake_);
	memcpy(&thread, &flusher->thread_, sizeof(thread));
	pthread_join(thread, NULL);
	flusher->thread_ = 0;
	close_all(flusher);
}

int vmemdev_linux_flusher_fd(const struct vmemdev_linux_flusher *flusher)
{
	return flusher->ended_;
}

int vmemdev_linux_flusher_take(struct vmemdev_linux_flusher *flusher, uint64_t *token, int *result)
{
	if (flusher == NULL || token == NULL || result == NULL)
		return VMEMDEV_E_INVAL;
	/* Cleared before the look: an end that comes in between is raised anew. */
	event_clear(flusher->ended_);
	if (state_of(flusher) != ENDED)
		return 0;
	*token = flusher->token_;
	*result = flusher->result_;
	set_state(flusher, IDLE);
	return 1;
}

void vmemdev_linux_flusher_last_error(const struct vmemdev_linux_flusher *flusher,
				      struct vmemdev_linux_error *error)
{
	memset(error, 0, sizeof(*error));
	if (state_of(flusher) != BUSY)
		*error = flusher->error_;
}

static int flush(void *ctx, uint64_t token)
{
	struct vmemdev_linux_flusher *flusher = ctx;

	if (state_of(flusher) != IDLE)
		return VMEMDEV_E_STATE;
	memset(&flusher->error_, 0, sizeof(flusher->error_));
	flusher->token_ = token;
	set_state(flusher, BUSY);
	/* An event that is never far from 0 takes one more. */
	(void)event_raise(flusher->wake_);
	return VMEMDEV_LATER;
}

const struct vmemdev_pmem_ops *vmemdev_linux_pmem_ops(void)
{
	static const struct vmemdev_pmem_ops ops = { .flush = flush };

	return &ops;
}
