// SPDX-License-Identifier: BSD-3-Clause
/* The clocks that the library leaves to its host: they ring in the event loop. */
#include <errno.h>
#include <string.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "vmm.h"

int timer_add(struct vmm *vmm, struct watch *timer, void (*ready)(void *ctx), void *ctx)
{
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);

	*timer = (struct watch){.fd = fd, .ready = ready, .ctx = ctx};
	if (fd < 0 || loop_add(vmm, timer))
		return fail("the kernel has no timer: %s", strerror(errno));
	return 0;
}

void timer_set(const struct watch *timer, int64_t interval)
{
	struct timespec each = {.tv_sec = interval / SECOND, .tv_nsec = interval % SECOND};
	struct itimerspec spec = {.it_interval = each, .it_value = each};

	timerfd_settime(timer->fd, 0, &spec, NULL);
}

uint64_t timer_rang(const struct watch *timer)
{
	uint64_t times;

	return read(timer->fd, &times, sizeof(times)) == sizeof(times) ? times : 0;
}

uint64_t timer_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}
