// SPDX-License-Identifier: BSD-3-Clause
/*
 * vmemdev-vhost-user-balloon: a balloon for any front end that has a generic vhost-user device.
 * This file is the command line and the event loop; daemon.h is the map of the rest.
 *
 *	vmemdev-vhost-user-balloon --socket /tmp/balloon.sock --stdin
 *	linux.uml mem=256M virtio_uml.device=/tmp/balloon.sock:5 ...     (5: a balloon)
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon.h"

static const char usage[] =
	"usage: vmemdev-vhost-user-balloon --socket PATH [options]\n"
	"\n"
	"Serves a memory balloon on a vhost-user socket, to one front end after the other.\n"
	"\n"
	"  --socket PATH        listen here for front ends\n"
	"  --control PATH       listen here for commands: target SIZE, info, stats, events, quit;\n"
	"                       the answer to each is a line of JSON\n"
	"  --stdin              take commands from standard input; its end ends the daemon\n"
	"  --target SIZE        the balloon to begin with, such as 64M (default 0)\n"
	"  --must-tell-host     offer MUST_TELL_HOST\n"
	"  --no-stats, --no-reporting, --no-deflate-on-oom\n"
	"                       do not offer statistics, free page reporting, deflating when the\n"
	"                       guest is out of memory\n"
	"  --verbose            a line in the log for each request of the front end\n"
	"\n"
	"Exit status: 0 told to quit, 1 something did not work, 2 wrong usage.\n";

/* ---- messages ---- */

static void say_v(const char *format, va_list args)
{
	char text[1024];

	vsnprintf(text, sizeof(text), format, args);
	fprintf(stderr, "vhost-user-balloon: %s\n", text);
}

/*
 * Front ends cause most lines, and must not fill the log's disk: after a first hundred,
 * ten a second. What is left out is counted in the next line; "info" counts everything.
 */
static bool may_say(void)
{
	enum { FIRST = 100, A_SECOND = 10 };
	static time_t second;
	static unsigned left = FIRST;
	static unsigned long dropped;
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	if (now.tv_sec != second) {
		second = now.tv_sec;
		if (left < A_SECOND)
			left = A_SECOND;
	}
	if (left == 0) {
		dropped++;
		return false;
	}
	left--;
	if (dropped > 0)
		fprintf(stderr, "vhost-user-balloon: (%lu lines left out)\n", dropped);
	dropped = 0;
	return true;
}

void say(const char *format, ...)
{
	va_list args;

	if (!may_say())
		return;
	va_start(args, format);
	say_v(format, args);
	va_end(args);
}

int fail(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	say_v(format, args);
	va_end(args);
	return -1;
}

/* ---- the command line ---- */

bool size_parse(const char *text, uint64_t *size)
{
	static const char units[] = "KMGT";
	unsigned shift = 0;
	const char *unit;
	char *end;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	*size = strtoull(text, &end, 10);
	unit = *end ? strchr(units, *end) : NULL;
	if (unit) {
		shift = 10 * (unsigned)(unit - units + 1);
		end++;
	}
	if (errno || *end || *size > UINT64_MAX >> shift)
		return false;
	*size <<= shift;
	return true;
}

enum option_id {
	SOCKET = 256,
	CONTROL,
	STDIN,
	TARGET,
	MUST_TELL,
	NO_STATS,
	NO_REPORTING,
	NO_DEFLATE,
	VERBOSE,
	HELP
};

static const struct option known[] = {
	{ "socket", required_argument, NULL, SOCKET },
	{ "control", required_argument, NULL, CONTROL },
	{ "stdin", no_argument, NULL, STDIN },
	{ "target", required_argument, NULL, TARGET },
	{ "must-tell-host", no_argument, NULL, MUST_TELL },
	{ "no-stats", no_argument, NULL, NO_STATS },
	{ "no-reporting", no_argument, NULL, NO_REPORTING },
	{ "no-deflate-on-oom", no_argument, NULL, NO_DEFLATE },
	{ "verbose", no_argument, NULL, VERBOSE },
	{ "help", no_argument, NULL, HELP },
	{ 0 },
};

/* returns: -1 to go on, or the exit status */
static int take_option(struct options *options, int id)
{
	switch (id) {
	case SOCKET:
		options->socket = optarg;
		break;
	case CONTROL:
		options->control = optarg;
		break;
	case STDIN:
		options->use_stdin = true;
		break;
	case MUST_TELL:
		options->must_tell_host = true;
		break;
	case NO_STATS:
		options->no_stats = true;
		break;
	case NO_REPORTING:
		options->no_reporting = true;
		break;
	case NO_DEFLATE:
		options->no_deflate_on_oom = true;
		break;
	case VERBOSE:
		options->verbose = true;
		break;
	case TARGET:
		if (size_parse(optarg, &options->target))
			break;
		say("--target %s: expected a size such as 64M or 67108864", optarg);
		return 2;
	case HELP:
		fputs(usage, stdout);
		return 0;
	default:
		return 2; /* getopt has said what is wrong */
	}
	return -1;
}

static int parse(struct options *options, int argc, char **argv)
{
	int id, status;

	while ((id = getopt_long(argc, argv, "", known, NULL)) != -1) {
		status = take_option(options, id);
		if (status >= 0)
			return status;
	}
	if (optind < argc) {
		say("unexpected argument '%s'; --help shows what is expected", argv[optind]);
		return 2;
	}
	if (!options->socket) {
		say("--socket PATH is missing; --help shows what is expected");
		return 2;
	}
	return -1;
}

/* ---- sockets ---- */

/* A socket file that nobody listens on is left from a process that was killed. */
static void remove_stale(const struct sockaddr_un *address)
{
	struct stat status;
	int fd;

	if (lstat(address->sun_path, &status) || !S_ISSOCK(status.st_mode))
		return;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return;
	if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) &&
	    errno == ECONNREFUSED)
		unlink(address->sun_path);
	close(fd);
}

int listen_at(const char *option, const char *path, int backlog)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd;

	if (strlen(path) >= sizeof(address.sun_path))
		return fail("%s %s: expected a path of at most %zu characters", option, path,
			    sizeof(address.sun_path) - 1);
	strcpy(address.sun_path, path);
	remove_stale(&address);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd >= 0 && bind(fd, (const struct sockaddr *)&address, sizeof(address)) == 0 &&
	    listen(fd, backlog) == 0)
		return fd;
	fail("%s %s: %s: expected a path where a socket can be made", option, path,
	     strerror(errno));
	if (fd >= 0)
		close(fd);
	return -1;
}

/* ---- the event loop ---- */

int loop_add(struct daemon *daemon, struct watch *watch)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = watch };

	return epoll_ctl(daemon->epoll_fd, EPOLL_CTL_ADD, watch->fd, &event);
}

void loop_ignore(struct daemon *daemon, struct watch *watch)
{
	epoll_ctl(daemon->epoll_fd, EPOLL_CTL_DEL, watch->fd, NULL);
}

void loop_close(struct daemon *daemon, struct watch *watch)
{
	/* Closing is not enough: the front end may hold the same open file. */
	loop_ignore(daemon, watch);
	close(watch->fd);
	watch->fd = -1;
}

static void signalled(void *ctx)
{
	struct daemon *daemon = ctx;

	daemon->quit = true;
}

static void ticked(int number)
{
	(void)number;
}

static int prepare_loop(struct daemon *daemon, struct watch *signals)
{
	struct sigaction tick = { .sa_handler = ticked }; /* no SA_RESTART: see channel.c */
	sigset_t set;

	signal(SIGPIPE, SIG_IGN);
	sigaction(SIGALRM, &tick, NULL);
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	daemon->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	*signals = (struct watch){ signalfd(-1, &set, SFD_CLOEXEC), signalled, daemon };
	if (loop_add(daemon, signals))
		return fail("preparing the event loop: %s", strerror(errno));
	return 0;
}

/* One event at a time, as it may close what the next one would have been about. */
static int loop(struct daemon *daemon)
{
	while (!daemon->quit) {
		bool busy = vmemdev_device_pending(daemon->device.base);
		struct epoll_event event;
		int count = epoll_wait(daemon->epoll_fd, &event, 1, busy ? 0 : -1);

		if (count < 0 && errno != EINTR)
			return fail("waiting for events: %s", strerror(errno));
		if (count > 0) {
			struct watch *watch = event.data.ptr;

			watch->ready(watch->ctx);
		}
		device_run(daemon);
		session_settle(daemon);
	}
	return 0;
}

int main(int argc, char **argv)
{
	static struct daemon daemon;
	struct watch signals;
	int status = parse(&daemon.options, argc, argv);

	if (status >= 0)
		return status;
	if (prepare_loop(&daemon, &signals))
		return 1;
	if (memory_init(&daemon.memory)) {
		say("preparing guest memory did not work");
		return 1;
	}
	if (device_create(&daemon) || session_listen(&daemon))
		return 1;
	status = control_create(&daemon);
	if (status == 0) {
		say("listening on %s", daemon.options.socket);
		status = loop(&daemon);
	}
	control_destroy(&daemon);
	session_destroy(&daemon);
	return status ? 1 : 0;
}
