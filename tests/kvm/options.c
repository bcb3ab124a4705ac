// SPDX-License-Identifier: BSD-3-Clause
/* The command line of the toy VMM: what an option means, and what is said of a wrong one. */
#include "machine.h"

#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <unistd.h>

#define WORDS_MAX 8

/* What was said on stderr while @words were parsed. */
static char said[2048];

static int parse(struct options *options, const char *const *words)
{
	char copies[WORDS_MAX][400];
	char *argv[WORDS_MAX + 1] = {NULL};
	FILE *file = tmpfile();
	int argc = 0, status, saved = dup(STDERR_FILENO);

	assert_non_null(file);
	for (; words[argc] != NULL; argc++) {
		snprintf(copies[argc], sizeof(copies[0]), "%s", words[argc]);
		argv[argc] = copies[argc];
	}
	dup2(fileno(file), STDERR_FILENO);
	optind = 0;
	status = options_parse(options, argc, argv);
	dup2(saved, STDERR_FILENO);
	close(saved);
	rewind(file);
	said[fread(said, 1, sizeof(said) - 1, file)] = 0;
	fclose(file);
	return status;
}

static struct balloon_option balloon_of(const char *option, const char *memory)
{
	const char *const words[] = {"toyvmm", "--kernel", "k", option, memory, NULL};
	struct options options;

	if (parse(&options, words) != EXIT_RUNNING)
		fail_msg("%s: %s", option, said);
	return options.balloon;
}

static void a_balloon_has_these_defaults(void **state)
{
	struct balloon_option balloon = balloon_of("--balloon", NULL);

	(void)state;
	assert_true(balloon.present);
	assert_true(balloon.stats);
	assert_true(balloon.hinting);
	assert_false(balloon.reporting);
	assert_false(balloon.deflate_on_oom);
	assert_false(balloon.text_queues_only);
	assert_int_equal(balloon.must_tell_host, MUST_TELL_HOST_BY_FRAME);
	assert_int_equal(balloon.frame, FRAME_BY_PAGE);
	assert_int_equal(balloon.report_min, 0);
	assert_int_equal(balloon.report_limit, 0);
}

static void a_balloon_takes_every_setting(void **state)
{
	struct balloon_option balloon = balloon_of(
		"--balloon=stats=off,hinting=off,reporting=on,report-min=64K,report-limit=8M,"
		"must-tell-host=require,deflate-on-oom=on,frame=2M,queues=text,queue-size=64,"
		"packed=on,indirect=off,event-idx=off,ring-reset=off,in-order=on,"
		"notification-data=on", NULL);

	(void)state;
	assert_false(balloon.stats);
	assert_false(balloon.hinting);
	assert_true(balloon.reporting);
	assert_true(balloon.deflate_on_oom);
	assert_true(balloon.text_queues_only);
	assert_int_equal(balloon.report_min, 64 << 10);
	assert_int_equal(balloon.report_limit, 8 << 20);
	assert_int_equal(balloon.must_tell_host, MUST_TELL_HOST_REQUIRED);
	assert_int_equal(balloon.frame, 2 << 20);
	assert_int_equal(balloon.device.queue_size, 64);
	assert_int_equal(balloon_of("--balloon=frame=off", NULL).frame, 0);
	assert_int_equal(balloon_of("--balloon=must-tell-host=on", NULL).must_tell_host,
			 MUST_TELL_HOST_OFFERED);
	assert_int_equal(balloon_of("--balloon=must-tell-host=off", NULL).must_tell_host,
			 MUST_TELL_HOST_OFF);
	assert_int_equal(balloon_of("--balloon=frame=2M", "--memory=512M,backing=hugetlb").frame,
			 2 << 20);
}

/* Each is refused, and both what was given and what was expected is said. */
static void a_wrong_setting_is_named(void **state)
{
	static const struct {
		const char *option, *given, *expected;
	} wrong[] = {
		{"--balloon=stats=yes", "stats=yes", "on or off"},
		{"--balloon=hinting=1", "hinting=1", "on or off"},
		{"--balloon=reporting", "\"reporting\"", "name=value"},
		{"--balloon=reporting=on,reporting=on", "reporting=on", "give it once"},
		{"--balloon=must-tell-host=maybe", "must-tell-host=maybe", "on, off or require"},
		{"--balloon=frame=3M", "frame=3M", "a power of two from 4K to 1G, or off"},
		{"--balloon=frame=2K", "frame=2K", "from 4K"},
		{"--balloon=frame=2G", "frame=2G", "to 1G"},
		{"--balloon=frame=on", "frame=on", "or off"},
		{"--balloon=report-min=1X,reporting=on", "report-min=1X", "a size"},
		{"--balloon=report-limit=0,reporting=on", "report-limit=0", "above 0"},
		{"--balloon=report-limit=17T,reporting=on", "report-limit=17T", "up to 16T"},
		{"--balloon=report-limit=1M", "report-limit", "give reporting=on"},
		{"--balloon=report-min=1M", "report-min", "give reporting=on"},
		{"--balloon=reporting=on,queue-size=16", "queue-size=16", "at least 32"},
		{"--balloon=queue-size=1", "queue-size=1", "at least 2"},
		{"--balloon=queues=linux", "queues=linux", "both or text"},
		{"--balloon=colour=red", "\"colour\"", "--help"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		const char *const words[] = {"toyvmm", "--kernel", "k", wrong[i].option, NULL};
		struct options options;

		if (parse(&options, words) != EXIT_USAGE)
			fail_msg("%s was taken", wrong[i].option);
		if (!strstr(said, wrong[i].given) || !strstr(said, wrong[i].expected))
			fail_msg("%s: said \"%s\", expected it to name %s and %s", wrong[i].option,
				 said, wrong[i].given, wrong[i].expected);
	}
}

static void a_frame_below_the_page_of_the_memory_is_refused(void **state)
{
	const char *const words[] = {"toyvmm", "--kernel", "k", "--balloon=frame=4K",
				     "--memory=512M,backing=hugetlb", NULL};
	struct options options;

	(void)state;
	assert_int_equal(parse(&options, words), EXIT_USAGE);
	assert_non_null(strstr(said, "frame of 4096 bytes"));
	assert_non_null(strstr(said, "the page of 2097152 bytes"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_balloon_has_these_defaults),
		cmocka_unit_test(a_balloon_takes_every_setting),
		cmocka_unit_test(a_wrong_setting_is_named),
		cmocka_unit_test(a_frame_below_the_page_of_the_memory_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
