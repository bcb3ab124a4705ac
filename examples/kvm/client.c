// SPDX-License-Identifier: BSD-3-Clause
/*
 * toyvmm-ctl: one command to a running toyvmm. It shows that the control socket needs no
 * special client: connect, write a line of JSON, read a line of JSON.
 */
#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define MIB (UINT64_C(1) << 20)

static const char usage[] =
	"usage: toyvmm-ctl SOCKET set-balloon SIZE\n"
	"       toyvmm-ctl SOCKET set-requested ID SIZE\n"
	"       toyvmm-ctl SOCKET resize ID SIZE [stall=SECONDS] [timeout=SECONDS]\n"
	"       toyvmm-ctl SOCKET resize-cancel ID\n"
	"       toyvmm-ctl SOCKET stats | poll-stats | stats-period SECONDS\n"
	"       toyvmm-ctl SOCKET hint start|stop|done\n"
	"       toyvmm-ctl SOCKET inhibit | uninhibit\n"
	"       toyvmm-ctl SOCKET snapshot FILE [then=quit]\n"
	"       toyvmm-ctl SOCKET info | events | quit\n"
	"Prints the answer, a line of JSON; \"stats\" prints the guest's statistics instead, one\n"
	"a line, and \"events\" an event a line until the VMM ends. \"resize\" shows how far it\n"
	"is until it is done, is given up after the timeout, or is ended by another or by\n"
	"resize-cancel; without a timeout it waits no longer than until nothing moves any more\n"
	"for the time of stall (10 seconds), and the VMM goes on alone.\n"
	"\"snapshot\" waits until FILE is written, and shows what is in it; the guest stands still\n"
	"meanwhile, and then goes on, or ends with then=quit.\n"
	"Exit status: 0; 1 if the VMM answered with an error or is not there, or if a resize is\n"
	"not done; 2 wrong usage.\n";

static int connect_to(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (strlen(path) >= sizeof(address.sun_path))
		errno = ENAMETOOLONG;
	else if (strcpy(address.sun_path, path),
		 connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	fprintf(stderr, "toyvmm-ctl: %s: %s: expected the --control socket of a running toyvmm\n",
		path, strerror(errno));
	return -1;
}

/*
 * What a command's arguments are called in its request; most have none. After them those may
 * follow that are given as NAME=VALUE.
 */
static const struct {
	const char *command, *names[2];
	int count;
	const char *more[2];
} arguments[] = {
	{"set-balloon", {"size"}, 1, {NULL}},
	{"set-requested", {"id", "size"}, 2, {NULL}},
	{"resize", {"id", "size"}, 2, {"stall", "timeout"}},
	{"resize-cancel", {"id"}, 1, {NULL}},
	{"snapshot", {"file"}, 1, {"then"}},
	{"stats-period", {"seconds"}, 1, {NULL}},
	{"hint", {"step"}, 1, {NULL}},
};

static void add_argument(struct json_object *request, const char *name, const char *value)
{
	json_object_object_add(request, name, json_object_new_string(value));
}

/* Say what is wrong with the arguments of @command. returns: NULL always */
static struct json_object *wrong(const char *command, const char *what, const char *word)
{
	fprintf(stderr, "toyvmm-ctl: %s: %s%s%s%s\n", command, what, word ? " \"" : "",
		word ? word : "", word ? "\"" : "");
	return NULL;
}

/* returns: whether @word is NAME=VALUE with a name that is in @names and not given yet */
static bool add_named(struct json_object *request, const char *const names[2], const char *word)
{
	for (int i = 0; i < 2 && names[i]; i++) {
		size_t len = strlen(names[i]);

		if (strncmp(word, names[i], len) || word[len] != '=' ||
		    json_object_object_get(request, names[i]))
			continue;
		add_argument(request, names[i], word + len + 1);
		return true;
	}
	return false;
}

/* returns: NULL, having said why, if the arguments make no command */
static struct json_object *build_request(int argc, char **argv)
{
	static const char *const none[2];
	const char *const *names = none, *const *more = none;
	struct json_object *request;
	int count = 0;

	for (size_t i = 0; i < sizeof(arguments) / sizeof(arguments[0]); i++) {
		if (!strcmp(argv[0], arguments[i].command)) {
			names = arguments[i].names;
			count = arguments[i].count;
			more = arguments[i].more;
		}
	}
	if (argc < 1 + count)
		return wrong(argv[0], "not given: its", names[argc - 1]);
	request = json_object_new_object();
	add_argument(request, "cmd", argv[0]);
	for (int i = 0; i < count; i++)
		add_argument(request, names[i], argv[1 + i]);
	for (int i = 1 + count; i < argc; i++) {
		if (!add_named(request, more, argv[i])) {
			json_object_put(request);
			return wrong(argv[0], more[1] ? "expected stall=SECONDS or "
				     "timeout=SECONDS, each once, not" :
				     more[0] ? "expected then=quit or then=go-on, not" :
				     "takes no", argv[i]);
		}
	}
	return request;
}

/* "name value" a line, as users of "virsh dommemstat" know it. */
static void print_columns(const char *line)
{
	struct json_object *answer = json_tokener_parse(line);

	if (!json_object_is_type(answer, json_type_object)) {
		fputs(line, stdout);
		return;
	}
	json_object_object_foreach(answer, name, value)
		printf("%s %s\n", name, json_object_get_string(value));
	json_object_put(answer);
}

/* returns: 0, or 1 having said what is wrong */
static int say(int fd, struct json_object *request)
{
	const char *text = json_object_to_json_string_ext(request, JSON_C_TO_STRING_PLAIN);

	/* Hung up before we said a word? Then there is an error to read, such as "too many". */
	if (dprintf(fd, "%s\n", text) < 0 && errno != EPIPE) {
		perror("toyvmm-ctl: sending the command");
		return 1;
	}
	return 0;
}

static int converse(FILE *stream, bool endless, bool columns)
{
	char *line = NULL;
	size_t size = 0;
	int lines = 0, status = 0;

	while ((!lines || endless) && getline(&line, &size, stream) > 0) {
		if (!lines++ && !strncmp(line, "{\"error\":", 9))
			status = 1;
		if (columns && !status)
			print_columns(line);
		else
			fputs(line, stdout);
		fflush(stdout);
		if (status)
			break;
	}
	if (!lines) {
		fputs("toyvmm-ctl: the VMM hung up without an answer\n", stderr);
		status = 1;
	}
	return status;
}

/* ---- resize: the answer and the events after it, as a line that moves on ---- */

struct progress {
	const char *id, *state;
	uint64_t from, to, plugged, percent;
};

static uint64_t number_of(struct json_object *object, const char *name)
{
	return json_object_get_uint64(json_object_object_get(object, name));
}

static const char *text_of(struct json_object *object, const char *name)
{
	const char *text = json_object_get_string(json_object_object_get(object, name));

	return text ? text : "";
}

/* In MiB, with as many decimals as blocks of 4 KiB can need. */
static void print_size(uint64_t bytes)
{
	if (bytes % MIB)
		printf("%.3f MiB", (double)bytes / (double)MIB);
	else
		printf("%llu MiB", (unsigned long long)(bytes / MIB));
}

/* On a terminal each takes the place of the last; elsewhere there is one a tenth of the way. */
static void print_progress(const struct progress *p, bool last)
{
	static uint64_t tenth = UINT64_MAX;
	static char state[16];
	bool terminal = isatty(STDOUT_FILENO);

	if (!terminal && !last && tenth == p->percent / 10 && !strcmp(state, p->state))
		return;
	tenth = p->percent / 10;
	snprintf(state, sizeof(state), "%s", p->state);
	printf("%s%s: %s at ", terminal ? "\r\033[K" : "", p->id, p->state);
	print_size(p->plugged);
	fputs(" of ", stdout);
	print_size(p->from);
	fputs(" -> ", stdout);
	print_size(p->to);
	printf(" (%llu%%)%s", (unsigned long long)p->percent, terminal && !last ? "" : "\n");
	fflush(stdout);
}

/* returns: -1 if it goes on, or the exit status */
static int follow(const struct progress *p, bool patient)
{
	bool stalled = !strcmp(p->state, "stalled");
	bool last = strcmp(p->state, "running") && (!stalled || !patient);

	print_progress(p, last);
	if (!last)
		return -1;
	if (stalled)
		fprintf(stderr, "toyvmm-ctl: %s: the guest frees or takes no more memory for now; "
			"the VMM goes on trying until \"resize-cancel %s\"\n", p->id, p->id);
	return strcmp(p->state, "done") ? 1 : 0;
}

/*
 * @line is an answer or an event. Events from before the answer are those of an older resize.
 * returns: -1 if it goes on, or the exit status
 */
static int resize_line(const char *line, const char *id, bool patient, bool *answered)
{
	struct json_object *object = json_tokener_parse(line);
	bool event = json_object_object_get(object, "event") != NULL;
	struct progress p = {
		.id = text_of(object, "id"), .state = text_of(object, "state"),
		.from = number_of(object, "from"), .to = number_of(object, "to"),
		.plugged = number_of(object, "plugged"), .percent = number_of(object, "percent"),
	};
	int status = -1;

	if (json_object_object_get(object, "error") && !event) {
		fputs(line, stdout);
		status = 1;
	} else if (!strcmp(p.id, id) && *p.state && event == *answered) {
		*answered = true;
		status = follow(&p, patient);
	}
	json_object_put(object);
	return status;
}

static int resize(FILE *stream, const char *id, bool patient)
{
	bool answered = false;
	char *line = NULL;
	size_t size = 0;
	int status = -1;

	while (status < 0 && getline(&line, &size, stream) > 0)
		status = resize_line(line, id, patient, &answered);
	if (status < 0) {
		fputs("toyvmm-ctl: the VMM hung up before the resize was over\n", stderr);
		status = 1;
	}
	free(line);
	return status;
}

/* Events are asked for first, so that none is missed. */
static int start_resize(int fd, FILE *stream, struct json_object *request)
{
	struct json_object *events = json_object_new_object();

	add_argument(events, "cmd", "events");
	if (say(fd, events) || say(fd, request))
		return 1;
	json_object_put(events);
	return resize(stream, text_of(request, "id"),
		      json_object_object_get(request, "timeout") != NULL);
}

/* ---- snapshot: the events after the answer, until it is written ---- */

/* returns: -1 if it goes on, or the exit status */
static int snapshot_line(const char *line, const char *file)
{
	struct json_object *object = json_tokener_parse(line);
	const char *state = text_of(object, "state");
	bool event = json_object_object_get(object, "event") != NULL;
	int status = -1;

	if (json_object_object_get(object, "error") && !event) {
		fputs(line, stdout);
		status = 1;
	} else if (event && !strcmp(text_of(object, "event"), "snapshot") &&
		   !strcmp(text_of(object, "file"), file)) {
		if (!strcmp(state, "writing")) {
			printf("%" PRIu64 " MiB are written\n", number_of(object, "written") / MIB);
		} else {
			fputs(line, stdout);
			status = strcmp(state, "done") ? 1 : 0;
		}
	}
	fflush(stdout);
	json_object_put(object);
	return status;
}

/* The VMM may have another idea of where the file is than whoever named it. */
static int make_absolute(struct json_object *request)
{
	const char *file = text_of(request, "file");
	char *directory, *path;

	if (file[0] == '/')
		return 0;
	directory = getcwd(NULL, 0);
	if (!directory || asprintf(&path, "%s/%s", directory, file) < 0) {
		perror("toyvmm-ctl: the current directory");
		return 1;
	}
	add_argument(request, "file", path);
	free(directory);
	free(path);
	return 0;
}

static int start_snapshot(int fd, FILE *stream, struct json_object *request)
{
	struct json_object *events = json_object_new_object();
	char *line = NULL;
	size_t size = 0;
	int status = -1;

	add_argument(events, "cmd", "events");
	if (make_absolute(request) || say(fd, events) || say(fd, request))
		return 1;
	json_object_put(events);
	while (status < 0 && getline(&line, &size, stream) > 0)
		status = snapshot_line(line, text_of(request, "file"));
	if (status < 0) {
		fputs("toyvmm-ctl: the VMM hung up before the snapshot was written\n", stderr);
		status = 1;
	}
	free(line);
	return status;
}

int main(int argc, char **argv)
{
	struct json_object *request;
	FILE *stream;
	int fd;

	if (argc < 3)
		fprintf(stderr, "toyvmm-ctl: not given: %s\n", argc < 2 ? "SOCKET and a command"
								       : "a command");
	request = argc > 2 ? build_request(argc - 2, argv + 2) : NULL;
	if (!request) {
		fputs(usage, stderr);
		return 2;
	}
	fd = connect_to(argv[1]);
	if (fd < 0)
		return 1;
	signal(SIGPIPE, SIG_IGN);
	stream = fdopen(fd, "r+");
	if (!stream) {
		perror("toyvmm-ctl");
		return 1;
	}
	if (!strcmp(argv[2], "snapshot"))
		return start_snapshot(fd, stream, request);
	if (!strcmp(argv[2], "resize"))
		return start_resize(fd, stream, request);
	if (say(fd, request))
		return 1;
	return converse(stream, !strcmp(argv[2], "events"), !strcmp(argv[2], "stats"));
}
