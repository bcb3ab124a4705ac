// SPDX-License-Identifier: BSD-3-Clause
/*
 * From the command line to the exit status, and the event loop between. What a VMM author
 * finds here is where the devices' work is done: in one thread, a bounded piece at a time
 * (virtio_run), with everything else getting its turn in between.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "record.h"
#include "vmm.h"

#define EVENTS 16

int loop_add(struct vmm *vmm, struct watch *watch)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = watch};

	return epoll_ctl(vmm->epoll_fd, EPOLL_CTL_ADD, watch->fd, &event);
}

void loop_remove(struct vmm *vmm, struct watch *watch)
{
	epoll_ctl(vmm->epoll_fd, EPOLL_CTL_DEL, watch->fd, NULL);
}

void loop_wake(struct vmm *vmm)
{
	eventfd_write(vmm->wake.fd, 1);
}

static void woken(void *ctx)
{
	struct vmm *vmm = ctx;
	eventfd_t count;

	eventfd_read(vmm->wake.fd, &count);
}

static void signalled(void *ctx)
{
	vmm_stop(ctx, EXIT_POWER_OFF, "signal");
}

void vmm_stop(struct vmm *vmm, enum exit_status status, const char *reason)
{
	const char *none = NULL;

	if (atomic_compare_exchange_strong(&vmm->exit_reason, &none, reason)) {
		atomic_store(&vmm->exit_status, (int)status);
		loop_wake(vmm);
	}
}

static int create_loop(struct vmm *vmm)
{
	signal(SIGPIPE, SIG_IGN);
	vmm->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	vmm->wake.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	vmm->wake.ready = woken;
	vmm->wake.ctx = vmm;
	if (loop_add(vmm, &vmm->wake))
		return fail("preparing the event loop: %s", strerror(errno));
	return 0;
}

/*
 * From here on, signals wait for the event loop. That is after all that takes long, so that
 * they still kill a VMM stuck in it; before there is a socket or a raw terminal to clean up;
 * and before the vCPU threads start, which inherit the mask.
 */
static int watch_signals(struct vmm *vmm, struct watch *signals)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	signals->fd = signalfd(-1, &set, SFD_CLOEXEC);
	signals->ready = signalled;
	signals->ctx = vmm;
	if (loop_add(vmm, signals))
		return fail("watching for signals: %s", strerror(errno));
	return 0;
}

/*
 * A device reads or writes memory that the guest gave back, and the host has no page for it, or
 * the file behind it has become shorter.
 */
static void no_page(int signal)
{
	static const char text[] =
		"toyvmm: SIGBUS: the host has no page for memory of the guest: expected free huge "
		"pages in /proc/sys/vm/nr_hugepages, or a file that nobody makes shorter\n";
	ssize_t written = write(STDERR_FILENO, text, sizeof(text) - 1);

	(void)signal;
	(void)written;
	_exit(EXIT_TROUBLE);
}

static void loop(struct vmm *vmm)
{
	struct epoll_event events[EVENTS];
	bool work = false;

	while (atomic_load(&vmm->exit_status) == EXIT_RUNNING) {
		int count = epoll_wait(vmm->epoll_fd, events, EVENTS, work ? 0 : -1);

		for (int i = 0; i < count; i++) {
			const struct watch *watch = events[i].data.ptr;

			/* One before it may have ended this one. */
			if (watch->ready)
				watch->ready(watch->ctx);
		}
		reset_proceed(vmm);
		pause_proceed(vmm);
		work = virtio_run(vmm);
	}
}

/*
 * A guest that comes from elsewhere. In a live update it is the other process's until
 * update_commit() has succeeded, which is why all that can fail comes before; after that it is not
 * given back, and what fails still is told.
 */
static int go_on(struct vmm *vmm, struct watch *signals, struct record *record)
{
	bool taken = vmm->options.takeover;

	if (kvm_create_vcpus(vmm) ||
	    (taken ? update_take(vmm, record) : snapshot_restore(vmm, record)) ||
	    watch_signals(vmm, signals) || (!taken && control_create(vmm)) ||
	    serial_create(vmm) || saved_load_machine(vmm, record) || (taken && update_commit(vmm)))
		return -1;
	if (kvm_run(vmm))
		return -1;
	loop_wake(vmm); /* all queues are to be looked at */
	if (taken)
		update_went_on(vmm, record);
	else
		snapshot_went_on(vmm, record);
	if (taken && control_create(vmm))
		fail("there is no control socket; the guest goes on");
	return 0;
}

static int create(struct vmm *vmm, struct watch *signals)
{
	struct record record = {0};
	int err;

	pthread_mutex_init(&vmm->lock, NULL);
	signal(SIGBUS, no_page);
	signal(SIGXFSZ, SIG_IGN); /* a write that fails says so */
	if ((vmm->options.takeover && update_connect(vmm)) || create_loop(vmm) ||
	    kvm_create(vmm) || memory_create(vmm) || virtio_create(vmm))
		return -1;
	if (options_continue(&vmm->options)) {
		err = go_on(vmm, signals, &record);
		record_free(&record);
		if (err && vmm->options.restore)
			fail("--restore %s: the guest does not go on", vmm->options.restore);
		return err;
	}
	if (boot_load(vmm) || acpi_write(vmm) || watch_signals(vmm, signals) ||
	    control_create(vmm) || serial_create(vmm))
		return -1;
	return kvm_start(vmm);
}

int main(int argc, char **argv)
{
	static struct vmm vmm = {.exit_status = EXIT_RUNNING};
	struct watch signals;
	int status = options_parse(&vmm.options, argc, argv);

	if (status != EXIT_RUNNING)
		return status;
	if (create(&vmm, &signals) == 0)
		loop(&vmm);
	else
		vmm_stop(&vmm, EXIT_TROUBLE, "not started");
	pmem_finish(&vmm);
	control_destroy(&vmm);
	serial_destroy(&vmm);
	status = atomic_load(&vmm.exit_status);
	fail("%s, exit status %d", atomic_load(&vmm.exit_reason), status);
	/*
	 * The vCPU threads and the guest's memory go with the process: nothing is to be saved. What
	 * was written to persistent memory is in its file.
	 */
	fflush(NULL);
	_exit(status);
}
