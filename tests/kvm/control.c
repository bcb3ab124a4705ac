// SPDX-License-Identifier: BSD-3-Clause
/* The commands of the control socket, with the model driver in the guest. */
#include "machine.h"

#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define INFLATE 0
#define STATS 2
#define HINT 3
#define REPORT 4

static void put(struct machine *m, uint64_t gpa, const void *bytes, uint32_t len)
{
	assert_true(guest_write(&m->memory, gpa, bytes, len));
}

static void add_buffer(struct machine *m, uint16_t queue, uint64_t gpa, uint32_t len, bool writable)
{
	struct vmemdev_buf buf = {.gpa = gpa, .len = len, .writable = writable};

	assert_true(guest_queue_add(&m->driver.queues[queue], &buf, 1, NULL) >= 0);
	guest_driver_submit(&m->driver, queue);
	machine_turn(m);
}

static bool was_used(struct machine *m, uint16_t queue)
{
	struct guest_used used;

	return guest_queue_poll(&m->driver.queues[queue], &used) == 1;
}

/* One set: little-endian pairs of a tag of 16 bits and a value of 64. */
static void send_stats(struct machine *m, const uint64_t (*pairs)[2], uint32_t count)
{
	uint64_t at = guest_place(&m->memory, count * 10, 8);

	for (uint32_t i = 0; i < count; i++) {
		uint8_t bytes[10];

		for (unsigned b = 0; b < 2; b++)
			bytes[b] = (uint8_t)(pairs[i][0] >> 8 * b);
		for (unsigned b = 0; b < 8; b++)
			bytes[2 + b] = (uint8_t)(pairs[i][1] >> 8 * b);
		put(m, at + i * 10, bytes, sizeof(bytes));
	}
	add_buffer(m, STATS, at, count * 10, false);
}

static void give_up(struct machine *m, uint64_t gpa, uint32_t pages)
{
	uint32_t pfns[256];

	for (uint32_t i = 0; i < pages; i++)
		pfns[i] = (uint32_t)(gpa / PAGE) + i;
	assert_true(guest_driver_send_pfns(&m->driver, INFLATE, pfns, pages, 0) >= 0);
	machine_turn(m);
}

/* Subscribed before what is to be heard happens. */
static int subscribe(struct machine *m)
{
	int client = client_open(m);

	client_say(client, "{\"cmd\":\"events\"}");
	json_object_put(client_hear(m, client));
	return client;
}

static void expect_round(struct machine *m, int client, const char *round)
{
	struct json_object *event = client_hear(m, client);

	assert_string_equal(text_of(event, "event"), "hint-round");
	assert_string_equal(text_of(event, "round"), round);
	json_object_put(event);
}

static void without_a_balloon_its_commands_say_so(void **state)
{
	static const char *const commands[] = {
		"{\"cmd\":\"set-balloon\",\"size\":\"1M\"}", "{\"cmd\":\"stats\"}",
		"{\"cmd\":\"poll-stats\"}", "{\"cmd\":\"stats-period\",\"seconds\":\"1\"}",
		"{\"cmd\":\"hint\",\"step\":\"start\"}", "{\"cmd\":\"inhibit\"}",
		"{\"cmd\":\"uninhibit\"}",
	};
	struct machine *m = machine_start((const char *const[]){"--memory=64M", NULL});

	(void)state;
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		ask_refused(m, commands[i], "start the VMM with --balloon");
	ask_ok(m, "{\"cmd\":\"info\"}");
	machine_stop(m);
}

static void what_was_not_offered_names_its_option(void **state)
{
	struct machine *m = machine_start((const char *const[]){
		"--memory=64M", "--balloon=stats=off,hinting=off", NULL});

	(void)state;
	ask_refused(m, "{\"cmd\":\"poll-stats\"}", "--balloon=stats=on");
	ask_refused(m, "{\"cmd\":\"stats-period\",\"seconds\":1}", "--balloon=stats=on");
	ask_refused(m, "{\"cmd\":\"hint\",\"step\":\"start\"}", "--balloon=hinting=on");
	ask_refused(m, "{\"cmd\":\"hint\",\"step\":\"stop\"}", "--balloon=hinting=on");
	ask_refused(m, "{\"cmd\":\"hint\",\"step\":\"done\"}", "--balloon=hinting=on");
	machine_stop(m);
}

static void wrong_values_are_named(void **state)
{
	struct machine *m = machine_start((const char *const[]){"--memory=64M", "--balloon", NULL});

	(void)state;
	ask_refused(m, "{\"cmd\":\"set-balloon\",\"size\":\"65M\"}",
		    "size 65M: expected at most what the guest has: 67108864 bytes, "
		    "67108864 of RAM and 0 plugged");
	ask_refused(m, "{\"cmd\":\"set-balloon\",\"size\":5000}",
		    "5000: expected a multiple of 4096");
	ask_ok(m, "{\"cmd\":\"set-balloon\",\"size\":\"64M\"}");
	assert_int_equal(balloon_number(m, "target"), 64 * MIB);
	ask_refused(m, "{\"cmd\":\"hint\",\"step\":\"pause\"}",
		    "\"pause\": expected start, stop or done");
	ask_refused(m, "{\"cmd\":\"hint\"}", "expected start, stop or done");
	ask_refused(m, "{\"cmd\":\"stats-period\",\"seconds\":\"1.5\"}",
		    "\"1.5\": expected a number");
	ask_refused(m, "{\"cmd\":\"stats-period\",\"seconds\":-1}", "\"-1\": expected a number");
	ask_refused(m, "{\"cmd\":\"stats-period\",\"seconds\":4294967296}", "expected a number");
	ask_refused(m, "{\"cmd\":\"uninhibit\"}", "expected an \"inhibit\" before");
	/* Nobody drives the balloon yet. */
	ask_refused(m, "{\"cmd\":\"poll-stats\"}", "expected a guest whose balloon driver runs");
	ask_refused(m, "{\"cmd\":\"hint\",\"step\":\"start\"}",
		    "expected a guest whose balloon driver runs");
	machine_stop(m);
}

static void memory_beyond_the_balloons_reach_is_named(void **state)
{
	struct machine *m = machine_start((const char *const[]){
		"--memory=64M", "--balloon", "--mem=size=1G,addr=16T", NULL});

	(void)state;
	ask_refused(m, "{\"cmd\":\"set-balloon\",\"size\":\"4M\"}",
		    "the guest's memory ends at 0x100040000000, but a balloon can only name what "
		    "lies below 16T");
	machine_stop(m);
}

static void statistics_come_as_virsh_prints_them(void **state)
{
	static const uint64_t set[][2] = {
		{VMEMDEV_BALLOON_UNUSED, 5 << 20}, {VMEMDEV_BALLOON_MAJOR_FAULT, 77},
		{VMEMDEV_BALLOON_DIRECT_SCAN, 8192}, {VMEMDEV_BALLOON_HUGETLB_PGFAIL, 3},
		{VMEMDEV_BALLOON_SWAP_IN, 4096}, {999, 123},
	};
	static const char *const lines[] = {
		"actual 65536", "swap_in 4", "major_fault 77", "unused 5120", "last_update",
		"hugetlb_pgfail 3", "direct_scan 8", "tag_999 123", "rss", "hugetlb 0", "sets 1",
		"pending false",
	};
	struct machine *m = machine_start((const char *const[]){"--memory=64M", "--balloon", NULL});
	uint64_t before = (uint64_t)time(NULL);
	struct json_object *answer, *info, *copy;
	size_t i = 0;
	int events;

	(void)state;
	answer = ask(m, "{\"cmd\":\"stats\"}");
	/* actual, rss, hugetlb, sets, pending */
	assert_int_equal(json_object_object_length(answer), 5);
	assert_int_equal(number_of(answer, "sets"), 0);
	json_object_put(answer);
	machine_drive(m, VMEMDEV_BALLOON_F_STATS_VQ);
	events = subscribe(m);
	send_stats(m, set, 6);
	answer = client_hear(m, events);
	assert_string_equal(text_of(answer, "event"), "stats");
	json_object_put(answer);

	answer = ask(m, "{\"cmd\":\"stats\"}");
	json_object_object_foreach(answer, name, value) {
		char line[64];

		snprintf(line, sizeof(line), "%s %s", name, json_object_get_string(value));
		assert_true(i < sizeof(lines) / sizeof(lines[0]));
		assert_int_equal(strncmp(line, lines[i], strlen(lines[i])), 0);
		i++;
	}
	assert_int_equal(i, sizeof(lines) / sizeof(lines[0]));
	assert_true(number_of(answer, "last_update") >= before);
	assert_true(number_of(answer, "last_update") <= (uint64_t)time(NULL));
	assert_true(number_of(answer, "rss") > 0);

	info = ask(m, "{\"cmd\":\"info\"}");
	copy = json_object_object_get(json_object_object_get(info, "balloon"), "stats");
	json_object_object_del(copy, "rss"); /* that may differ */
	json_object_object_del(answer, "rss");
	assert_non_null(copy);
	assert_string_equal(json_object_to_json_string(copy), json_object_to_json_string(answer));
	json_object_put(info);
	json_object_put(answer);
	close(events);
	machine_stop(m);
}

static void unknown_statistics_are_those_of_the_newest_set(void **state)
{
	static const uint64_t first[][2] = {{999, 1}, {VMEMDEV_BALLOON_UNUSED, 4096}};
	static const uint64_t second[][2] = {{1000, 2}};
	struct machine *m = machine_start((const char *const[]){"--memory=64M", "--balloon", NULL});
	struct json_object *answer;

	(void)state;
	machine_drive(m, VMEMDEV_BALLOON_F_STATS_VQ);
	send_stats(m, first, 2);
	ask_ok(m, "{\"cmd\":\"poll-stats\"}");
	machine_turn(m);
	assert_true(was_used(m, STATS));
	answer = ask(m, "{\"cmd\":\"stats\"}");
	assert_string_equal(text_of(answer, "pending"), "true");
	assert_int_equal(number_of(answer, "tag_999"), 1);
	json_object_put(answer);
	send_stats(m, second, 1);
	answer = ask(m, "{\"cmd\":\"stats\"}");
	assert_int_equal(number_of(answer, "sets"), 2);
	assert_string_equal(text_of(answer, "pending"), "false");
	assert_int_equal(number_of(answer, "tag_1000"), 2);
	assert_null(json_object_object_get(answer, "tag_999"));
	assert_null(json_object_object_get(answer, "unused"));
	json_object_put(answer);
	machine_stop(m);
}

/* Neither what came beyond the room for it, nor what belongs to no set, is passed over. */
static void unknown_statistics_are_counted_and_not_mixed(void **state)
{
	static const uint64_t last[][2] = {{1000, 2}};
	static const uint64_t many[UNKNOWN_STATS_MAX + 3][2] = {
		{900, 1}, {901, 1}, {902, 1}, {903, 1}, {904, 1}, {905, 1}, {906, 1}, {907, 1},
		{908, 1}, {909, 1}, {910, 1},
	};
	struct machine *m = machine_start((const char *const[]){"--memory=64M", "--balloon", NULL});
	struct vmemdev_buf bufs[2];
	struct json_object *answer;
	uint64_t bad;

	(void)state;
	machine_drive(m, VMEMDEV_BALLOON_F_STATS_VQ);
	send_stats(m, many, UNKNOWN_STATS_MAX + 3);
	answer = ask(m, "{\"cmd\":\"stats\"}");
	assert_int_equal(number_of(answer, "tag_900"), 1);
	assert_int_equal(number_of(answer, "tags_dropped"), 3);
	json_object_put(answer);

	/* A set that ends in memory that is none: the device needs a reset. */
	ask_ok(m, "{\"cmd\":\"poll-stats\"}");
	machine_turn(m);
	assert_true(was_used(m, STATS));
	bad = guest_place(&m->memory, 160, 8);
	for (uint64_t at = 0; at < 160; at += 10)
		put(m, bad + at, "\xe7\x03\x01\0\0\0\0\0\0\0", 10);
	bufs[0] = (struct vmemdev_buf){.gpa = bad, .len = 160};
	bufs[1] = (struct vmemdev_buf){.gpa = 1024 * MIB, .len = 10};
	assert_true(guest_queue_add(&m->driver.queues[STATS], bufs, 2, NULL) >= 0);
	guest_driver_submit(&m->driver, STATS);
	machine_turn(m);
	assert_int_not_equal(vmemdev_device_fault(m->vmm.balloon.slot->device), 0);
	guest_driver_close(&m->driver);
	m->driven = false;
	machine_drive(m, VMEMDEV_BALLOON_F_STATS_VQ);
	send_stats(m, last, 1);
	answer = ask(m, "{\"cmd\":\"stats\"}");
	assert_int_equal(number_of(answer, "tag_1000"), 2);
	assert_null(json_object_object_get(answer, "tag_999"));
	assert_null(json_object_object_get(answer, "tags_dropped"));
	json_object_put(answer);
	machine_stop(m);
}

static void a_period_polls_until_it_is_zero(void **state)
{
	static const uint64_t set[][2] = {{VMEMDEV_BALLOON_UNUSED, 4096}};
	struct machine *m = machine_start((const char *const[]){"--memory=64M", "--balloon", NULL});
	time_t end = time(NULL) + PATIENCE;
	struct itimerspec timer;

	(void)state;
	machine_drive(m, VMEMDEV_BALLOON_F_STATS_VQ);
	send_stats(m, set, 1);
	ask_ok(m, "{\"cmd\":\"stats-period\",\"seconds\":1}");
	assert_int_equal(balloon_number(m, "stats_period"), 1);
	for (int rounds = 0; rounds < 2; rounds++) {
		while (!was_used(m, STATS)) {
			assert_true(time(NULL) < end);
			machine_turn(m);
		}
		send_stats(m, set, 1);
	}
	assert_int_equal(balloon_number(m, "stats_sets"), 3);
	ask_ok(m, "{\"cmd\":\"stats-period\",\"seconds\":0}");
	assert_int_equal(balloon_number(m, "stats_period"), 0);
	assert_int_equal(timerfd_gettime(m->vmm.balloon.stats_timer.fd, &timer), 0);
	assert_true(timer.it_value.tv_sec == 0 && timer.it_value.tv_nsec == 0);
	machine_stop(m);
}

static void a_round_of_hinting_is_told_step_by_step(void **state)
{
	struct machine *m = machine_start((const char *const[]){"--memory=64M", "--balloon", NULL});
	uint8_t command[4];
	uint64_t at;
	int events;

	(void)state;
	machine_drive(m, VMEMDEV_BALLOON_F_FREE_PAGE_HINT);
	events = subscribe(m);
	at = guest_place(&m->memory, sizeof(command), 4);
	ask_ok(m, "{\"cmd\":\"hint\",\"step\":\"start\"}");
	expect_round(m, events, "asked");
	guest_driver_config_read(&m->driver, 8, command, sizeof(command));
	put(m, at, command, sizeof(command));
	add_buffer(m, HINT, at, sizeof(command), false);
	expect_round(m, events, "open");
	add_buffer(m, HINT, PLAY_GPA, 4 * MIB, true);
	assert_int_equal(balloon_number(m, "hinted"), 4 * MIB);
	put(m, at, "\0\0\0", sizeof(command));
	add_buffer(m, HINT, at, sizeof(command), false);
	expect_round(m, events, "ended");
	ask_ok(m, "{\"cmd\":\"hint\",\"step\":\"done\"}");
	expect_round(m, events, "none");
	assert_int_equal(balloon_number(m, "pages_hinted"), 4 * MIB / PAGE);
	ask_ok(m, "{\"cmd\":\"hint\",\"step\":\"start\"}");
	expect_round(m, events, "asked");
	assert_int_equal(balloon_number(m, "hinted"), 0);
	guest_driver_reset(&m->driver);
	expect_round(m, events, "none");
	assert_int_equal(balloon_number(m, "rounds"), 2);
	close(events);
	machine_stop(m);
}

static uint64_t byte_at(struct machine *m, uint64_t gpa)
{
	return *(uint8_t *)guest_at(&m->memory, gpa, 1);
}

static void inhibited_discards_are_made_up_by_frames(void **state)
{
	struct machine *m = machine_start((const char *const[]){
		"--memory=64M", "--balloon=frame=8K", NULL});

	(void)state;
	machine_drive(m, VMEMDEV_BALLOON_F_MUST_TELL_HOST);
	guest_fill(&m->memory, PLAY_GPA, 0x5a, 4 * PAGE);
	ask_ok(m, "{\"cmd\":\"inhibit\"}");
	ask_ok(m, "{\"cmd\":\"inhibit\"}");
	give_up(m, PLAY_GPA, 3);
	assert_int_equal(balloon_number(m, "given"), 3 * PAGE);
	assert_int_equal(balloon_number(m, "inhibited"), 2);
	ask_ok(m, "{\"cmd\":\"uninhibit\"}");
	assert_int_equal(byte_at(m, PLAY_GPA), 0x5a);
	ask_ok(m, "{\"cmd\":\"uninhibit\"}");
	assert_int_equal(byte_at(m, PLAY_GPA), 0);
	assert_int_equal(byte_at(m, PLAY_GPA + PAGE), 0);
	assert_int_equal(byte_at(m, PLAY_GPA + 2 * PAGE), 0x5a); /* half of a frame */
	give_up(m, PLAY_GPA + 3 * PAGE, 1);
	assert_int_equal(byte_at(m, PLAY_GPA + 2 * PAGE), 0);
	assert_int_equal(balloon_number(m, "given"), 4 * PAGE);
	ask_refused(m, "{\"cmd\":\"uninhibit\"}", "expected an \"inhibit\" before");
	machine_stop(m);
}

/* By default nothing is lost; where it is, because of an option or the guest, that is said. */
static void what_inhibit_loses_is_said(void **state)
{
	static const struct {
		const char *balloon;
		uint64_t features;
		bool kept;
	} cases[] = {
		{"--balloon", VMEMDEV_BALLOON_F_MUST_TELL_HOST, true},
		{"--balloon", 0, false},
		{"--balloon=frame=off", 0, false},
		{"--balloon=must-tell-host=off", 0, false},
		{"--balloon=frame=off,must-tell-host=on", VMEMDEV_BALLOON_F_MUST_TELL_HOST, false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct machine *m = machine_start((const char *const[]){
			"--memory=64M", cases[i].balloon, NULL});

		machine_drive(m, cases[i].features);
		guest_fill(&m->memory, PLAY_GPA, 0x5a, PAGE);
		for (int step = 0; step < 2; step++) {
			struct json_object *answer = ask(m, step ? "{\"cmd\":\"uninhibit\"}"
								 : "{\"cmd\":\"inhibit\"}");

			assert_int_equal(number_of(answer, "inhibited"), !step);
			if (!cases[i].kept)
				assert_non_null(strstr(text_of(answer, "note"),
						       "will not be discarded"));
			else
				assert_null(json_object_object_get(answer, "note"));
			json_object_put(answer);
			if (!step)
				give_up(m, PLAY_GPA, 1);
		}
		machine_turn(m);
		assert_int_equal(byte_at(m, PLAY_GPA), cases[i].kept ? 0 : 0x5a);
		machine_stop(m);
	}
}

/* What a report took beyond the limit is paid off first, so that a second one has to wait. */
static void reports_beyond_the_limit_wait_for_the_clock(void **state)
{
	struct machine *m = machine_start((const char *const[]){
		"--memory=64M", "--balloon=reporting=on,report-limit=1K", NULL});

	(void)state;
	machine_drive(m, VMEMDEV_BALLOON_F_PAGE_REPORTING);
	guest_fill(&m->memory, PLAY_GPA, 0x5a, 2 * MIB);
	add_buffer(m, REPORT, PLAY_GPA, MIB, true);
	until_balloon(m, "pages_reported", MIB / PAGE);
	assert_int_equal(byte_at(m, PLAY_GPA), 0);
	assert_true(was_used(m, REPORT));
	add_buffer(m, REPORT, PLAY_GPA + MIB, MIB, true);
	for (int rang = 0; rang < 2; rang++) {
		struct pollfd timer = {.fd = m->vmm.balloon.report_timer.fd, .events = POLLIN};

		assert_int_equal(poll(&timer, 1, PATIENCE * 1000), 1);
		machine_turn(m);
	}
	assert_false(was_used(m, REPORT));
	assert_int_equal(byte_at(m, PLAY_GPA + MIB), 0x5a);
	m->vmm.options.balloon.report_limit = 100 * MIB; /* 1 MiB is paid off at once */
	until_balloon(m, "pages_reported", 2 * MIB / PAGE);
	assert_true(was_used(m, REPORT));
	machine_stop(m);
}

static void must_tell_host_comes_with_frames(void **state)
{
	static const struct {
		const char *balloon;
		bool offered;
	} cases[] = {
		{"--balloon", true},
		{"--balloon=frame=4K", true},
		{"--balloon=frame=off", false},
		{"--balloon=must-tell-host=off", false},
		{"--balloon=must-tell-host=on", true},
		{"--balloon=must-tell-host=require", true},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct machine *m = machine_start((const char *const[]){
			"--memory=64M", cases[i].balloon, NULL});
		uint32_t offered = vmemdev_device_features(m->vmm.balloon.slot->device, 0);

		assert_int_equal(offered & VMEMDEV_BALLOON_F_MUST_TELL_HOST, cases[i].offered);
		machine_stop(m);
	}
}

/* Nobody waits for it, and the others go on. */
static void a_client_that_does_not_read_is_cut_off(void **state)
{
	struct machine *m = machine_start((const char *const[]){"--memory=64M", "--balloon", NULL});
	int deaf = subscribe(m), small = 1024;
	const struct client *client = &m->vmm.control.clients[0];

	(void)state;
	setsockopt(client->watch.fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	for (int i = 0; i < 100000 && !client->cut_off; i++) {
		pthread_mutex_lock(&m->vmm.lock);
		control_number_event(&m->vmm, "balloon-actual", "balloon", "bytes", 4096);
		pthread_mutex_unlock(&m->vmm.lock);
	}
	assert_true(client->cut_off);
	assert_non_null(client->vmm); /* the main thread alone hangs up */
	machine_turn(m);
	assert_null(client->vmm);
	ask_ok(m, "{\"cmd\":\"info\"}");
	close(deaf);
	machine_stop(m);
}

/* Eight that say nothing do not lock a ninth out; nor does it cost one that listens its place. */
static void the_longest_silent_client_makes_room(void **state)
{
	struct machine *m = machine_start((const char *const[]){"--memory=64M", "--balloon", NULL});
	int clients[CLIENTS_MAX], ninth;
	struct json_object *answer;
	char byte;

	(void)state;
	clients[0] = subscribe(m);
	for (int i = 1; i < CLIENTS_MAX; i++)
		clients[i] = client_open(m);
	client_say(clients[1], "{\"cmd\":\"info\"}"); /* so that the third is silent longest */
	json_object_put(client_hear(m, clients[1]));
	ninth = client_open(m);
	client_say(ninth, "{\"cmd\":\"info\"}");
	answer = client_hear(m, ninth);
	assert_int_equal(number_of(answer, "memory"), 64 * MIB);
	json_object_put(answer);
	answer = client_hear(m, clients[2]);
	assert_non_null(strstr(text_of(answer, "error"), "this one was silent longest"));
	json_object_put(answer);
	assert_int_equal(recv(clients[2], &byte, 1, 0), 0);
	for (int i = 0; i < CLIENTS_MAX; i++) {
		if (i == 2)
			continue;
		client_say(clients[i], "{\"cmd\":\"events\"}");
		json_object_put(client_hear(m, clients[i]));
	}
	client_say(ninth, "{\"cmd\":\"events\"}");
	json_object_put(client_hear(m, ninth));
	close(clients[2]);
	clients[2] = client_open(m);
	answer = client_hear(m, clients[2]);
	assert_non_null(strstr(text_of(answer, "error"), "too many clients: 8"));
	json_object_put(answer);
	for (int i = 0; i < CLIENTS_MAX; i++)
		close(clients[i]);
	close(ninth);
	machine_stop(m);
}

/* What json-c would take, and do something else than the client meant. */
static void half_understood_requests_are_refused(void **state)
{
	static const struct {
		const char *line, *words;
	} cases[] = {
		{"{\"cmd\":\"info\",\"x\":1}", "unknown key \"x\": \"info\" takes cmd alone"},
		{"{\"cmd\":\"resize\",\"id\":\"mem0\",\"size\":0,\"timout\":5}",
		 "unknown key \"timout\": \"resize\" takes cmd, id, size, stall, timeout"},
		{"{\"cmd\":\"info\",\"cmd\":\"quit\"}", "a key is given twice"},
		{"{\"cmd\":\"info\",\"c\\u006dd\":\"quit\"}", "a key is given twice"},
		{"{\"cmd\":\"info\\u0000x\"}", "\\u0000 in it"},
		{"{\"cmd\\u0000x\":\"info\"}", "\\u0000 in it"},
		{"{\"cmd\":\"in\xff\"}", "byte 11 of the line is no UTF-8"},
		{"{\"cmd\":\"\xed\xa0\x80\"}", "byte 9 of the line is no UTF-8"},
		{"{\"cmd\":\"\xc3\xb6\"}", "cmd \"\xc3\xb6\": expected"},
		{"{\"cmd\":\"a\\\\u0000\"}", "cmd \"a\\u0000\": expected"},
		{"{\"cmd\":\"info\"", "it ends early"},
		{"5", "'5': not a JSON object"},
		{"null", "'null': not a JSON object"},
		{"\"info\"", "'\"info\"': not a JSON object"},
		{"[{\"cmd\":\"quit\"}]", "not a JSON object"},
		{"{\"cmd\":[\"quit\"]}", "expected set-balloon"},
		{"{\"cmd\":null}", "cmd \"\": expected"},
	};
	struct machine *m = machine_start((const char *const[]){"--memory=64M", "--balloon", NULL});
	int client = client_open(m);
	struct json_object *answer;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		ask_refused(m, cases[i].line, cases[i].words);
	assert_int_equal(send(client, "{\"cmd\":\"quit\"}\0{}\n", 19, 0), 19);
	answer = client_hear(m, client);
	assert_non_null(strstr(text_of(answer, "error"), "byte 15 of the line is 0"));
	json_object_put(answer);
	assert_int_equal(atomic_load(&m->vmm.exit_status), EXIT_RUNNING);
	close(client);
	machine_stop(m);
}

static void unknown_commands_name_the_known(void **state)
{
	struct machine *m = machine_start((const char *const[]){"--memory=64M", "--balloon", NULL});

	(void)state;
	ask_refused(m, "{\"cmd\":\"dance\"}",
		    "cmd \"dance\": expected set-balloon, set-requested, resize, resize-cancel, "
		    "stats, poll-stats, stats-period, hint, inhibit, uninhibit, snapshot, takeover, "
		    "info, events or quit");
	ask_refused(m, "[]", "not a JSON object");
	ask_refused(m, "{\"cmd\":\"info\"} {}", "expected one JSON object and nothing else");
	machine_stop(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_a_balloon_its_commands_say_so),
		cmocka_unit_test(what_was_not_offered_names_its_option),
		cmocka_unit_test(wrong_values_are_named),
		cmocka_unit_test(memory_beyond_the_balloons_reach_is_named),
		cmocka_unit_test(statistics_come_as_virsh_prints_them),
		cmocka_unit_test(unknown_statistics_are_those_of_the_newest_set),
		cmocka_unit_test(unknown_statistics_are_counted_and_not_mixed),
		cmocka_unit_test(a_period_polls_until_it_is_zero),
		cmocka_unit_test(a_round_of_hinting_is_told_step_by_step),
		cmocka_unit_test(inhibited_discards_are_made_up_by_frames),
		cmocka_unit_test(what_inhibit_loses_is_said),
		cmocka_unit_test(reports_beyond_the_limit_wait_for_the_clock),
		cmocka_unit_test(must_tell_host_comes_with_frames),
		cmocka_unit_test(a_client_that_does_not_read_is_cut_off),
		cmocka_unit_test(the_longest_silent_client_makes_room),
		cmocka_unit_test(half_understood_requests_are_refused),
		cmocka_unit_test(unknown_commands_name_the_known),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
