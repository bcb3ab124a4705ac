// SPDX-License-Identifier: BSD-3-Clause
/*
 * toyvmm-ctl: one command to a running toyvmm. It shows that the control socket needs no
 * special client: connect, write a line of JSON, read a line of JSON.
 */
#include <errno.h>
#include <json-c/json.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static const char usage[] =
	"usage: toyvmm-ctl SOCKET set-balloon SIZE\n"
	"       toyvmm-ctl SOCKET set-requested ID SIZE\n"
	"       toyvmm-ctl SOCKET stats | poll-stats | stats-period SECONDS\n"
	"       toyvmm-ctl SOCKET hint start|stop|done\n"
	"       toyvmm-ctl SOCKET inhibit | uninhibit\n"
	"       toyvmm-ctl SOCKET info | events | quit\n"
	"Prints the answer, a line of JSON; \"stats\" prints the guest's statistics instead, one\n"
	"a line, and \"events\" an event a line until the VMM ends.\n"
	"Exit status: 0, 1 if the VMM answered with an error or is not there, 2 wrong usage.\n";

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

/* What a command's arguments are called in its request; most have none. */
static const struct {
	const char *command, *names[2];
	int count;
} arguments[] = {
	{"set-balloon", {"size"}, 1},
	{"set-requested", {"id", "size"}, 2},
	{"stats-period", {"seconds"}, 1},
	{"hint", {"step"}, 1},
};

/* returns: NULL if the arguments make no command */
static struct json_object *build_request(int argc, char **argv)
{
	struct json_object *request;
	const char *const *names = NULL;
	int count = 0;

	for (size_t i = 0; i < sizeof(arguments) / sizeof(arguments[0]); i++) {
		if (!strcmp(argv[0], arguments[i].command)) {
			names = arguments[i].names;
			count = arguments[i].count;
		}
	}
	if (argc != 1 + count)
		return NULL;
	request = json_object_new_object();
	json_object_object_add(request, "cmd", json_object_new_string(argv[0]));
	for (int i = 0; i < count; i++)
		json_object_object_add(request, names[i], json_object_new_string(argv[1 + i]));
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

static int converse(int fd, struct json_object *request, bool endless, bool columns)
{
	const char *text = json_object_to_json_string_ext(request, JSON_C_TO_STRING_PLAIN);
	FILE *stream = fdopen(fd, "r+");
	char *line = NULL;
	size_t size = 0;
	int lines = 0, status = 0;

	/* Hung up before we said a word? Then there is an error to read, such as "too many". */
	signal(SIGPIPE, SIG_IGN);
	if (!stream || (dprintf(fd, "%s\n", text) < 0 && errno != EPIPE)) {
		perror("toyvmm-ctl: sending the command");
		return 1;
	}
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

int main(int argc, char **argv)
{
	struct json_object *request;
	int fd;

	request = argc > 2 ? build_request(argc - 2, argv + 2) : NULL;
	if (!request) {
		fputs(usage, stderr);
		return 2;
	}
	fd = connect_to(argv[1]);
	return fd < 0 ? 1 : converse(fd, request, !strcmp(argv[2], "events"),
				   !strcmp(argv[2], "stats"));
}
