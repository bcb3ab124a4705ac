// SPDX-License-Identifier: BSD-3-Clause
/* The command line of the toy VMM: what an option means, and what is said of a wrong one. */
#include "machine.h"

#include <getopt.h>
#include <stdio.h>

#define WORDS_MAX 12

/* What was said on stderr while the words were parsed. */
static const char *said;

static int parse(struct options *options, const char *const *words)
{
	static char copies[WORDS_MAX][400]; /* which options point into */
	char *argv[WORDS_MAX + 1] = {NULL};
	int argc = 0, status;

	for (; words[argc] != NULL; argc++) {
		snprintf(copies[argc], sizeof(copies[0]), "%s", words[argc]);
		argv[argc] = copies[argc];
	}
	listen_start();
	optind = 0;
	status = options_parse(options, argc, argv);
	said = listen_stop();
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

static struct mem_option mem_of(const char *option)
{
	const char *const words[] = {"toyvmm", "--kernel", "k", option, NULL};
	struct options options;

	if (parse(&options, words) != EXIT_RUNNING)
		fail_msg("%s: %s", option, said);
	assert_int_equal(options.mem_count, 1);
	return options.mem[0];
}

static void a_memory_device_has_these_defaults(void **state)
{
	struct mem_option mem = mem_of("--mem=size=1G");

	(void)state;
	assert_int_equal(mem.size, 1024 * MIB);
	assert_int_equal(mem.block, 2 * MIB);
	assert_int_equal(mem.kvm_slot, 1024 * MIB);
	assert_int_equal(mem.requested, 0);
	assert_int_equal(mem.node, 0);
	assert_int_equal(mem.guest_block, 0);
	assert_int_equal(mem.populate, POPULATE_BY_PAGE);
	assert_false(mem.guarded);
	assert_false(mem.persistent_suspend);
}

static void a_memory_device_takes_every_setting(void **state)
{
	struct mem_option mem = mem_of(
		"--mem=size=1T,block=4M,node=3,requested=8M,addr=0x10000000000,slots=64M,"
		"guarded=on,populate=on,persistent-suspend=on,guest-block=2G,queue-size=8");

	(void)state;
	assert_int_equal(mem.size, MIB << 20);
	assert_int_equal(mem.block, 4 * MIB);
	assert_int_equal(mem.node, 3);
	assert_int_equal(mem.requested, 8 * MIB);
	assert_int_equal(mem.addr, UINT64_C(1) << 40);
	assert_int_equal(mem.kvm_slot, 64 * MIB);
	assert_int_equal(mem.guest_block, 2048 * MIB);
	assert_int_equal(mem.populate, POPULATE_ON);
	assert_true(mem.guarded);
	assert_true(mem.persistent_suspend);
	assert_int_equal(mem.device.queue_size, 8);
	assert_int_equal(mem_of("--mem=size=1G,slots=off").kvm_slot, 0);
	assert_int_equal(mem_of("--mem=size=1G,populate=off").populate, POPULATE_OFF);
	assert_int_equal(mem_of("--mem=size=4T,slots=4T").kvm_slot, MIB << 22);
}

static void a_reset_ends_the_vmm_or_starts_it_again(void **state)
{
	const char *words[] = {"toyvmm", "--kernel", "k", "--reboot=restart", NULL};
	struct options options;

	(void)state;
	assert_int_equal(parse(&options, words), EXIT_RUNNING);
	assert_true(options.restart);
	words[3] = "--reboot=exit";
	assert_int_equal(parse(&options, words), EXIT_RUNNING);
	assert_false(options.restart);
	words[3] = NULL;
	assert_int_equal(parse(&options, words), EXIT_RUNNING);
	assert_false(options.restart);
	words[3] = "--reboot=off";
	assert_int_equal(parse(&options, words), EXIT_USAGE);
	assert_non_null(strstr(said, "--reboot off: expected exit or restart"));
}

/* Who goes on needs no kernel, unless the guest may start anew. */
static void a_guest_that_goes_on_comes_from_one_place(void **state)
{
	struct options options;

	(void)state;
	assert_int_equal(parse(&options, (const char *const[]){"toyvmm", "--restore", "f", NULL}),
			 EXIT_RUNNING);
	assert_string_equal(options.restore, "f");
	assert_true(options_continue(&options));
	assert_int_equal(parse(&options, (const char *const[]){"toyvmm", "--takeover", "s", NULL}),
			 EXIT_RUNNING);
	assert_string_equal(options.takeover, "s");
	assert_int_equal(parse(&options, (const char *const[]){
		"toyvmm", "--takeover", "s", "--restore", "f", NULL}), EXIT_USAGE);
	assert_non_null(strstr(said, "a guest comes from one place"));
	assert_int_equal(parse(&options, (const char *const[]){
		"toyvmm", "--restore", "f", "--reboot=restart", NULL}), EXIT_USAGE);
	assert_non_null(strstr(said, "give --kernel FILE, too"));
	assert_int_equal(parse(&options, (const char *const[]){
		"toyvmm", "--restore", "f", "--reboot=restart", "--kernel", "k", NULL}),
			 EXIT_RUNNING);
	assert_int_equal(parse(&options, (const char *const[]){"toyvmm", NULL}), EXIT_USAGE);
	assert_non_null(strstr(said, "no kernel"));
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
		{"--balloon=queue-size=0", "queue-size=0", "a power of two from 1 to 32768"},
		{"--balloon=queue-size=65536", "queue-size=65536",
		 "a power of two from 1 to 32768"},
		{"--balloon=report-min=513M,reporting=on", "report-min=537919488",
		 "at most what the guest can have, 536870912 bytes"},
		{"--balloon=frame=2M,must-tell-host=off", "frame=2097152",
		 "must-tell-host=on or require, or frame=off"},
		{"--balloon=queues=linux", "queues=linux", "both or text"},
		{"--balloon=colour=red", "\"colour\"", "--help"},
		{"--mem=size=1G,slots=3M", "slots=3M", "a power of two from 4K to 4T"},
		{"--mem=size=1G,slots=8T", "slots=8T", "or off"},
		{"--mem=size=1G,slots=on", "slots=on", "or off"},
		{"--mem=size=1G,slots=1M", "slots=1048576", "at least the block of 2097152"},
		{"--mem=size=8T,slots=off", "slots=off", "slots=1G"},
		{"--mem=size=1G,guarded=yes", "guarded=yes", "on or off"},
		{"--mem=size=1G,persistent-suspend=1", "persistent-suspend=1", "on or off"},
		{"--mem=size=1G,populate=maybe", "populate=maybe", "on or off"},
		{"--mem=size=1G,guest-block=64M", "guest-block=67108864", "from 128M to 2G"},
		{"--mem=size=1G,guest-block=192M", "guest-block=201326592", "a power of two"},
		{"--mem=size=1G,guest-block=2G,block=32K", "guest-block=2147483648",
		 "larger blocks"},
		{"--mem=size=1G,node=256", "node=256", "from 0 to 255"},
		{"--mem=size=3M", "size of 3145728", "a multiple of the block of 2097152"},
		{"--mem=slots=1G", "no size", "size=1G"},
		{"--mem=size=1G,readonly", "\"readonly\"", "name=value"},
		{"--mem=size=1G,id=balloon", "id=balloon", "choose another"},
		{"--pmem=readonly", "no path", "path=disk.img"},
		{"--pmem=path=", "no path", "path=disk.img"},
		{"--pmem=disk.img", "\"disk.img\"", "name=value"},
		{"--pmem=path=p,readonly=yes", "readonly=yes", "on or off"},
		{"--pmem=path=p,readonly,readonly=on", "readonly=on", "give it once"},
		{"--pmem=path=p,region=pci", "region=pci", "config or shmem"},
		{"--pmem=path=p,addr=0x100100000", "addr=0x100100000", "a multiple of 2M, from 4G on"},
		{"--pmem=path=p,addr=2G", "addr=0x80000000", "from 4G on"},
		{"--pmem=path=p,queue-size=1", "queue-size=1", "at least 2"},
		{"--pmem=path=p,id=a/b", "id=a/b", "letters, digits"},
		{"--pmem=path=p,id=balloon", "id=balloon", "choose another"},
		{"--pmem=path=p,size=1G", "\"size\"", "--help"},
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

static void a_persistent_memory_takes_every_setting(void **state)
{
	const char *const words[] = {
		"toyvmm", "--kernel", "k", "--packed", "--pmem=path=a",
		"--pmem=path=b,readonly,region=shmem,id=disk,addr=6G,queue-size=4,packed=off", NULL};
	struct options options;

	(void)state;
	if (parse(&options, words) != EXIT_RUNNING)
		fail_msg("%s", said);
	assert_int_equal(options.pmem_count, 2);
	assert_string_equal(options.pmem[0].path, "a");
	assert_string_equal(options.pmem[0].id, "pmem0");
	assert_false(options.pmem[0].readonly);
	assert_false(options.pmem[0].shmem);
	assert_int_equal(options.pmem[0].addr, 0);
	assert_int_equal(options.pmem[0].device.features_on, VMEMDEV_F_RING_PACKED);
	assert_string_equal(options.pmem[1].path, "b");
	assert_string_equal(options.pmem[1].id, "disk");
	assert_true(options.pmem[1].readonly);
	assert_true(options.pmem[1].shmem);
	assert_int_equal(options.pmem[1].addr, 6 * 1024 * MIB);
	assert_int_equal(options.pmem[1].device.queue_size, 4);
	assert_int_equal(options.pmem[1].device.features_on, 0);
}

/* Of whatever kind they are. */
static void names_and_places_are_for_one_device_each(void **state)
{
	const char *words[WORDS_MAX] = {"toyvmm", "--kernel", "k", "--mem=size=1G,id=x",
					"--pmem=path=p,id=x"};
	struct options options;

	(void)state;
	assert_int_equal(parse(&options, words), EXIT_USAGE);
	assert_non_null(strstr(said, "--pmem: id=x is taken"));
	for (int i = 4; i < 10; i++)
		words[i] = "--pmem=path=p";
	assert_int_equal(parse(&options, words), EXIT_RUNNING);
	words[10] = "--mem=size=1G";
	assert_int_equal(parse(&options, words), EXIT_USAGE);
	assert_non_null(strstr(said, "--mem: --mem and --pmem are given more than 7 times"));
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

/* Nothing would ever be given back: better no VMM than one that only seems to do it. */
static void huge_pages_without_memory_of_them_are_refused(void **state)
{
	static const char *const balloons[] = {
		"--balloon=frame=off", "--balloon=must-tell-host=off",
		"--balloon=must-tell-host=off,frame=2M",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(balloons) / sizeof(balloons[0]); i++) {
		const char *const words[] = {"toyvmm", "--kernel", "k", balloons[i],
					     "--memory=512M,backing=hugetlb", NULL};
		struct options options;

		if (parse(&options, words) != EXIT_USAGE)
			fail_msg("%s was taken", balloons[i]);
		assert_non_null(strstr(said, i ? "must-tell-host=off" : "frame=off"));
		assert_non_null(strstr(said, "backing=memfd"));
	}
	assert_int_equal(balloon_of("--balloon=must-tell-host=off,frame=4K", NULL).frame, 4096);
}

/* What may be plugged counts: it may be reported, too. */
static void a_report_may_be_as_large_as_all_memory(void **state)
{
	const char *const words[] = {"toyvmm", "--kernel", "k", "--mem=size=1G",
				     "--balloon=reporting=on,report-min=1536M", NULL};
	struct options options;

	(void)state;
	assert_int_equal(parse(&options, words), EXIT_RUNNING);
}

static void a_block_below_the_page_of_the_memory_is_refused(void **state)
{
	const char *const words[] = {"toyvmm", "--kernel", "k", "--mem=size=1G,block=1M",
				     "--memory=512M,backing=hugetlb", NULL};
	struct options options;

	(void)state;
	assert_int_equal(parse(&options, words), EXIT_USAGE);
	assert_non_null(strstr(said, "block of 1048576 bytes"));
	assert_non_null(strstr(said, "the page of 2097152 bytes"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_balloon_has_these_defaults),
		cmocka_unit_test(a_balloon_takes_every_setting),
		cmocka_unit_test(a_memory_device_has_these_defaults),
		cmocka_unit_test(a_memory_device_takes_every_setting),
		cmocka_unit_test(a_reset_ends_the_vmm_or_starts_it_again),
		cmocka_unit_test(a_wrong_setting_is_named),
		cmocka_unit_test(a_persistent_memory_takes_every_setting),
		cmocka_unit_test(names_and_places_are_for_one_device_each),
		cmocka_unit_test(a_guest_that_goes_on_comes_from_one_place),
		cmocka_unit_test(a_frame_below_the_page_of_the_memory_is_refused),
		cmocka_unit_test(a_block_below_the_page_of_the_memory_is_refused),
		cmocka_unit_test(huge_pages_without_memory_of_them_are_refused),
		cmocka_unit_test(a_report_may_be_as_large_as_all_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
