/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Each callback of each ops table, failing in each way there is: the answers that it may give
 * and some that it may not; work put off and ended well, badly, twice, with another token, with
 * a wrong result, after a stop, a reset of the queue, the device or the machine, after the
 * driver gave up, and with the rings moved, gone or read-only meanwhile; listeners that refuse
 * and hosts that cannot undo; callbacks that are not there; look-ups of guest memory that fail
 * at any one place. In each case the request is used once or, where its ring is gone, not at
 * all, what happened to blocks is known, and a good driver finds a good device afterwards.
 */
#include "../unit/device_rig.h"
#include "watch.h"

#define FIRST_BLOCK 3
#define BLOCKS 2
#define SPARE_RAM UINT64_C(0x8000000)

struct kind {
	const char *name;
	uint32_t device; /* virtio ID */
	enum host_op op;
	uint16_t queue;
	uint16_t request; /* virtio-mem */
};

static const struct kind kinds[] = {
	{"inflate", 5, HOST_INFLATE, INFLATEQ, 0},
	{"deflate", 5, HOST_DEFLATE, DEFLATEQ, 0},
	{"report", 5, HOST_REPORT, REPORTQ, 0},
	{"plug", 24, HOST_PLUG, 0, GUEST_MEM_PLUG},
	{"unplug", 24, HOST_UNPLUG, 0, GUEST_MEM_UNPLUG},
	{"unplug all", 24, HOST_UNPLUG, 0, GUEST_MEM_UNPLUG_ALL},
	{"flush", 27, HOST_FLUSH, 0, 0},
};

enum { UNUSED = -1, DONE = 0, REFUSED = 1 };

struct bed {
	struct rig *rig;
	const struct kind *kind;
	uint64_t failures; /* the balloon's count of them before the request */
	uint64_t mark;
	bool owed;         /* the next flush is told of a failure */
	struct vmemdev_region table[2];
};

static const struct guest_region bed_regions[] = {
	{.gpa = RAM_GPA, .len = RAM_SIZE},
	{.gpa = SPARE_RAM, .len = PAGE},
};

static void start(struct bed *bed)
{
	drv_start(bed->rig, VMEMDEV_F_RING_RESET | (bed->kind->device == 5 ? BALLOON_FULL : 0));
}

static void make_device(struct bed *bed, const struct vmemdev_balloon_ops *balloon_ops,
			const struct vmemdev_mem_ops *mem_ops)
{
	struct vmemdev_balloon_config balloon;
	struct vmemdev_mem_config mem;

	rig_balloon_full_config(bed->rig, &balloon);
	balloon.ops = balloon_ops;
	rig_mem_config(bed->rig, &mem);
	mem.ops = mem_ops;
	if (bed->kind->device == 5)
		rig_make_balloon(bed->rig, &balloon);
	else if (bed->kind->device == 24)
		rig_make_mem(bed->rig, &mem);
	else
		rig_make_pmem(bed->rig, NULL);
	if (bed->kind->device == 24)
		mem_want(bed->rig, MEM_REGION);
	watch_start(&bed->rig->memory);
	watch.what = bed->kind->name;
	bed->mark = guest_place_mark(&bed->rig->memory);
	start(bed);
	assert_int_equal(rig_run(bed->rig), 0);
}

static void open_bare(struct bed *bed, const struct way *way, const struct kind *kind)
{
	memset(bed, 0, sizeof(*bed));
	bed->kind = kind;
	bed->rig = rig_bare_regions(way, bed_regions, ARRAY_LEN(bed_regions));
	bed->rig->ctx = bed;
}

static void open_bed(struct bed *bed, const struct way *way, const struct kind *kind)
{
	open_bare(bed, way, kind);
	make_device(bed, &rig_balloon_ops, &rig_mem_ops);
}

static void close_bed(struct bed *bed)
{
	watch.region_count = 0;
	rig_free(bed->rig);
}

static bool plugged(struct bed *bed)
{
	return mem_has_block(bed->rig, FIRST_BLOCK);
}

static bool wants_plugged(const struct bed *bed)
{
	return bed->kind->request == GUEST_MEM_PLUG;
}

/* Blocks as the request wants to find them. */
static void prepare(struct bed *bed)
{
	bed->rig->host.answer = 0;
	if (bed->kind->device == 24 && plugged(bed) == wants_plugged(bed))
		mem_expect(bed->rig, wants_plugged(bed) ? GUEST_MEM_UNPLUG : GUEST_MEM_PLUG,
			   BLOCK(FIRST_BLOCK), BLOCKS, GUEST_MEM_ACK);
	host_forget(bed->rig);
}

static uint64_t failures_of(struct bed *bed)
{
	struct vmemdev_balloon_counts counts;

	vmemdev_balloon_get_counts(&bed->rig->balloon, &counts);
	return counts.host_failures;
}

static void post(struct bed *bed)
{
	const struct vmemdev_range range = {PLAY_GPA, 16 * PAGE};
	const uint32_t pfn = PLAY_PFN;
	struct request request;

	switch (bed->kind->op) {
	case HOST_INFLATE:
	case HOST_DEFLATE:
		pages_post(bed->rig, bed->kind->queue, &pfn, 1);
		break;
	case HOST_REPORT:
		ranges_post(bed->rig, REPORTQ, &range, 1);
		break;
	case HOST_FLUSH:
		flush_post_as(bed->rig, 0, 0, 4, 4);
		break;
	default:
		request_make(&request, bed->kind->request, BLOCK(FIRST_BLOCK), BLOCKS);
		request_post(bed->rig, 0, &request);
		break;
	}
	if (bed->kind->device == 5)
		bed->failures = failures_of(bed);
	drv_kick(bed->rig, bed->kind->queue);
}

/* What has become of the request, as the guest sees it, or for a balloon the host. */
static int outcome(struct bed *bed)
{
	struct guest_used used;
	uint32_t flushed;
	int type;

	if (bed->kind->device == 5) {
		if (!drv_used(bed->rig, bed->kind->queue, &used))
			return UNUSED;
		return failures_of(bed) > bed->failures ? REFUSED : DONE;
	}
	if (bed->kind->device == 27) {
		flushed = flush_take(bed->rig, 0);
		if (flushed == FLUSH_NONE)
			return UNUSED;
		return flushed == FLUSH_OK ? DONE : REFUSED;
	}
	type = request_take(bed->rig, 0).type;
	if (type != GUEST_MEM_ACK && type != GUEST_MEM_BUSY)
		return UNUSED;
	return type == GUEST_MEM_ACK ? DONE : REFUSED;
}

static void check_blocks(struct bed *bed, bool changed)
{
	if (bed->kind->device == 24 && plugged(bed) != (changed == wants_plugged(bed)))
		watch_fail("the blocks are not as they should be");
}

/* It was used with this outcome, after one call to the host, and only once. */
static void check_outcome(struct bed *bed, int want)
{
	int got = outcome(bed);

	if (got != want)
		watch_fail("outcome %d, not %d", got, want);
	if (outcome(bed) != UNUSED)
		watch_fail("the request is used twice");
	if (host_count(bed->rig, bed->kind->op) != 1)
		watch_fail("%u calls to the host", host_count(bed->rig, bed->kind->op));
	check_blocks(bed, want == DONE);
	watch_settled();
	if (watch_out() > 0)
		watch_fail("a chain was not given back");
}

/* Once more, with a host that does as it should. */
static void check_good(struct bed *bed)
{
	prepare(bed);
	post(bed);
	assert_int_equal(rig_run(bed->rig), 0);
	check_outcome(bed, bed->owed ? REFUSED : DONE);
	if (!bed->owed)
		return;
	bed->owed = false;
	check_good(bed);
}

static void new_driver(struct bed *bed)
{
	drv_reset(bed->rig);
	guest_place_release(&bed->rig->memory, bed->mark);
	bed->rig->errors = 0;
	start(bed);
	check_good(bed);
}

/* shows: BAL-INF-03 BAL-REP-02 MEM-PLUG-06 PMEM-09 */
static void BAL_INF_03_answers_of_each_callback(void **state)
{
	static const int answers[] = {0, VMEMDEV_E_INVAL, VMEMDEV_E_STATE, VMEMDEV_E_GUEST_RING,
				      VMEMDEV_E_GUEST_ADDR, VMEMDEV_E_HOST, VMEMDEV_E_BUSY, -1000,
				      INT32_MIN, VMEMDEV_LATER + 1, INT32_MAX};

	for (uint32_t k = 0; k < ARRAY_LEN(kinds); k++) {
		struct bed bed;

		open_bed(&bed, *state, &kinds[k]);
		for (uint32_t i = 0; i < ARRAY_LEN(answers); i++) {
			prepare(&bed);
			bed.rig->host.answer = answers[i];
			watch.step = i;
			post(&bed);
			assert_int_equal(rig_run(bed.rig), 0);
			check_outcome(&bed, answers[i] == 0 ? DONE : REFUSED);
			check_good(&bed);
		}
		assert_int_equal(bed.rig->errors, 0);
		close_bed(&bed);
	}
}

/* What happens while work is put off. */
enum event {
	NOTHING, MORE_RUNS, TWICE, OTHER_TOKENS, WRONG_RESULT, STOP_REFUSED, RINGS_MOVED,
	QUEUE_RESET, DEVICE_RESET, MACHINE_RESET, GIVEN_UP, RINGS_GONE, RINGS_READONLY, EVENTS
};

static void set_table(struct bed *bed, uint32_t first, uint32_t flags)
{
	uint32_t count = ARRAY_LEN(bed_regions) - first;

	memcpy(bed->table, bed->rig->memory.regions + first, count * sizeof(bed->table[0]));
	bed->table[0].flags = flags;
	assert_int_equal(vmemdev_guest_set_regions(&bed->rig->memory.guest, bed->table, count), 0);
	watch_table(bed->table, count);
}

static void move_rings(struct bed *bed)
{
	struct vmemdev_region *ram = &bed->rig->memory.regions[0];
	void *old = ram->host;

	ram->host = aligned_alloc(4096, (size_t)ram->len);
	assert_non_null(ram->host);
	memcpy(ram->host, old, (size_t)ram->len);
	free(old);
	for (uint16_t q = 0; q < VMEMDEV_QUEUES_MAX; q++) {
		struct guest_queue *queue = &bed->rig->driver.queues[q];

		if (!bed->rig->driver.open[q])
			continue;
		queue->desc = guest_at(&bed->rig->memory, queue->layout.desc, 1);
		queue->driver = guest_at(&bed->rig->memory, queue->layout.driver, 1);
		queue->device = guest_at(&bed->rig->memory, queue->layout.device, 1);
	}
	set_table(bed, 0, 0);
}

static int reset_machine(struct bed *bed)
{
	int err;

	bed->rig->window = true;
	err = vmemdev_device_system_reset(bed->rig->dev);
	bed->rig->window = false;
	return err;
}

/* returns: whether the request can still be answered */
static bool happens(struct bed *bed, enum event event, uint64_t token)
{
	struct rig *rig = bed->rig;
	struct vmemdev_vq_state stopped;

	switch (event) {
	case MORE_RUNS:
		for (uint32_t i = 0; i < 5; i++) {
			drv_kick(rig, bed->kind->queue);
			assert_int_equal(rig_step(rig, 100), 0);
		}
		return true;
	case OTHER_TOKENS:
		assert_int_equal(rig_complete(rig, token - 1, 0), VMEMDEV_E_STATE);
		assert_int_equal(rig_complete(rig, token + 1, 0), VMEMDEV_E_STATE);
		assert_int_equal(rig_complete(rig, 0, 0), VMEMDEV_E_STATE);
		assert_int_equal(rig_complete(rig, UINT64_MAX, 0), VMEMDEV_E_STATE);
		return true;
	case WRONG_RESULT:
		assert_int_equal(rig_complete(rig, token, VMEMDEV_LATER), VMEMDEV_E_INVAL);
		assert_int_equal(rig_complete(rig, token, INT32_MAX), VMEMDEV_E_INVAL);
		return true;
	case STOP_REFUSED:
		assert_int_equal(vmemdev_device_queue_stop(rig->dev, bed->kind->queue, &stopped),
				 VMEMDEV_E_STATE);
		return true;
	case RINGS_MOVED:
		move_rings(bed);
		return true;
	case QUEUE_RESET:
		guest_driver_queue_reset(&rig->driver, bed->kind->queue);
		return false;
	case DEVICE_RESET:
		drv_reset(rig);
		return false;
	case MACHINE_RESET:
		if (bed->kind->device == 24) {
			assert_int_equal(reset_machine(bed), VMEMDEV_E_STATE);
			return true;
		}
		assert_int_equal(reset_machine(bed), 0);
		return false;
	case GIVEN_UP:
		drv_set_status(rig, DRV_LIVE | VMEMDEV_STATUS_FAILED);
		return false;
	case RINGS_GONE:
		set_table(bed, 1, 0);
		return false;
	case RINGS_READONLY:
		set_table(bed, 0, VMEMDEV_REGION_READONLY);
		return false;
	default:
		return true;
	}
}

static void check_unused(struct bed *bed, enum event event, bool called_off, int result)
{
	struct rig *rig = bed->rig;
	bool rings_bad = event == RINGS_GONE || event == RINGS_READONLY;

	if (rings_bad) {
		/* nothing can be answered: the device says so, once */
		assert_true(rig_step(rig, 1) < 0);
		assert_int_equal(rig->errors, 1);
		set_table(bed, 0, 0);
	} else {
		assert_int_equal(rig_step(rig, 1), 0);
		assert_int_equal(rig->errors, 0);
	}
	if (rig->driver.open[bed->kind->queue] && outcome(bed) != UNUSED)
		watch_fail("a request is used whose queue is gone");
	check_blocks(bed, result == 0 && !called_off);
	bed->owed = bed->kind->device == 27 && result != 0;
}

/* One case: the work is put off, this happens, and the work ends so. */
static void late(const struct way *way, const struct kind *kind, enum event event, int result)
{
	uint32_t cancels;
	bool answered, called_off;
	uint64_t token;
	struct bed bed;

	open_bed(&bed, way, kind);
	watch.step = 10 * (uint64_t)event + (result != 0);
	prepare(&bed);
	bed.rig->host.answer = VMEMDEV_LATER;
	post(&bed);
	assert_int_equal(rig_run(bed.rig), 0);
	assert_int_equal(host_count(bed.rig, kind->op), 1);
	token = bed.rig->host.token;
	bed.rig->host.answer = 0;
	check_blocks(&bed, false);
	cancels = bed.rig->host.cancels;
	answered = happens(&bed, event, token);
	called_off = bed.rig->host.cancels != cancels;
	if (called_off != (kind->device == 5 && event >= QUEUE_RESET && event <= MACHINE_RESET))
		watch_fail("work is called off, or not, at the wrong time");
	assert_true(!called_off || bed.rig->host.cancelled == token);
	if (answered && outcome(&bed) != UNUSED)
		watch_fail("the request is used before the work has ended");
	assert_int_equal(rig_complete(bed.rig, token, result), called_off ? VMEMDEV_E_STATE : 0);
	if (event == TWICE)
		assert_int_equal(rig_complete(bed.rig, token, result), VMEMDEV_E_STATE);
	if (answered) {
		assert_int_equal(rig_run(bed.rig), 0);
		check_outcome(&bed, result == 0 ? DONE : REFUSED);
		assert_int_equal(bed.rig->errors, 0);
	} else {
		check_unused(&bed, event, called_off, result);
	}
	assert_int_equal(rig_complete(bed.rig, token, 0), VMEMDEV_E_STATE);
	new_driver(&bed);
	close_bed(&bed);
}

/* shows: BAL-INF-03 BAL-GEN-09 MEM-PLUG-06 PMEM-06 PMEM-09 RST-03 HOST-REG-14 */
static void RST_03_whatever_happens_while_work_is_put_off(void **state)
{
	for (uint32_t k = 0; k < ARRAY_LEN(kinds); k++) {
		for (enum event event = NOTHING; event < EVENTS; event++) {
			late(*state, &kinds[k], event, 0);
			late(*state, &kinds[k], event, VMEMDEV_E_HOST);
		}
	}
}

/* Without a way to call work off, a balloon's host may not put it off. */
/* shows: BAL-INF-03 BAL-GEN-09 */
static void BAL_GEN_09_callbacks_that_are_not_there(void **state)
{
	static const size_t balloon_optional[] = {
		offsetof(struct vmemdev_balloon_ops, deflate),
		offsetof(struct vmemdev_balloon_ops, round),
		offsetof(struct vmemdev_balloon_ops, stats),
		offsetof(struct vmemdev_balloon_ops, unknown_stat),
		offsetof(struct vmemdev_balloon_ops, cancel),
		offsetof(struct vmemdev_balloon_ops, actual)};
	const uint8_t actual[4] = {1, 0, 0, 0};
	const struct vmemdev_buf stats = {.gpa = DATA_GPA, .len = 20};

	for (uint32_t i = 0; i < ARRAY_LEN(balloon_optional); i++) {
		struct vmemdev_balloon_ops ops = rig_balloon_ops;
		struct bed bed;

		memset((uint8_t *)&ops + balloon_optional[i], 0, sizeof(ops.inflate));
		open_bare(&bed, *state, &kinds[0]);
		make_device(&bed, &ops, &rig_mem_ops);
		bed.rig->host.answer = ops.cancel == NULL ? VMEMDEV_LATER : 0;
		post(&bed);
		assert_int_equal(rig_run(bed.rig), 0);
		check_outcome(&bed, ops.cancel == NULL ? REFUSED : DONE);
		assert_int_equal(vmemdev_balloon_hint_start(&bed.rig->balloon), 0);
		guest_store16(&bed.rig->memory, DATA_GPA, 99);
		drv_add(bed.rig, STATSQ, &stats, 1);
		drv_kick(bed.rig, STATSQ);
		guest_driver_config_write(&bed.rig->driver, BAL_ACTUAL, actual, sizeof(actual));
		assert_int_equal(rig_run(bed.rig), 0);
		assert_true(vmemdev_balloon_actual(&bed.rig->balloon) == PAGE);
		new_driver(&bed);
		close_bed(&bed);
	}
}

/* shows: MEM-PLUG-06 MEM-UNPL-04 */
static void MEM_PLUG_06_callbacks_that_are_not_there(void **state)
{
	for (uint32_t i = 0; i < 4; i++) {
		struct vmemdev_mem_ops ops = rig_mem_ops;
		struct bed bed;

		ops.plug = i & 1 ? NULL : ops.plug;
		ops.plugged = i & 2 ? NULL : ops.plugged;
		open_bare(&bed, *state, &kinds[4]);
		make_device(&bed, &rig_balloon_ops, &ops);
		check_good(&bed);
		new_driver(&bed);
		close_bed(&bed);
	}
}

/* Listeners. */

struct hearer {
	struct vmemdev_mem_listener listener;
	int answer;
	uint32_t plugs, unplugs;
};

static int hear_plug(void *ctx, const struct vmemdev_range *ranges, uint32_t count)
{
	struct hearer *hearer = ctx;

	assert_int_equal(count, 1);
	assert_true(ranges[0].gpa == BLOCK(FIRST_BLOCK) && ranges[0].len == BLOCKS * MEM_BLOCK);
	hearer->plugs++;
	return hearer->answer;
}

static void hear_unplug(void *ctx, const struct vmemdev_range *ranges, uint32_t count)
{
	struct hearer *hearer = ctx;

	(void)ranges;
	assert_int_equal(count, 1);
	hearer->unplugs++;
}

/* The host agrees to plug, number @refuser of three listeners refuses, the host answers @undo. */
static void refused(const struct way *way, uint32_t refuser, int answer, int undo)
{
	struct hearer hearers[3];
	struct bed bed;

	open_bed(&bed, way, &kinds[3]);
	watch.step = refuser;
	memset(hearers, 0, sizeof(hearers));
	for (uint32_t i = 0; i < ARRAY_LEN(hearers); i++) {
		hearers[i].listener = (struct vmemdev_mem_listener){
			.plug = hear_plug, .unplug = hear_unplug, .ctx = &hearers[i]};
		assert_int_equal(vmemdev_mem_listen(&bed.rig->mem, &hearers[i].listener), 0);
	}
	hearers[refuser].answer = answer;
	bed.rig->host.answer = VMEMDEV_LATER;
	post(&bed);
	assert_int_equal(rig_run(bed.rig), 0);
	bed.rig->host.answer = undo;
	assert_int_equal(rig_complete(bed.rig, bed.rig->host.token, 0), 0);
	assert_int_equal(rig_run(bed.rig), 0);
	check_outcome(&bed, REFUSED);
	assert_int_equal(host_count(bed.rig, HOST_UNPLUG), 1);
	/* what was put off where that is not possible was not put off */
	assert_int_equal(rig_complete(bed.rig, bed.rig->host.token, 0), VMEMDEV_E_STATE);
	for (uint32_t i = 0; i < ARRAY_LEN(hearers); i++) {
		assert_int_equal(hearers[i].plugs, i <= refuser);
		assert_int_equal(hearers[i].unplugs, i < refuser);
	}
	hearers[refuser].answer = 0;
	check_good(&bed);
	assert_int_equal(hearers[2].plugs, refuser == 2 ? 2 : 1);
	close_bed(&bed);
}

/* shows: MEM-PLUG-06 */
static void MEM_PLUG_06_listeners_that_refuse_and_hosts_that_cannot_undo(void **state)
{
	static const int answers[] = {VMEMDEV_E_HOST, VMEMDEV_E_BUSY, 7, INT32_MIN};
	static const int undos[] = {0, VMEMDEV_E_HOST, VMEMDEV_LATER, INT32_MIN};

	for (uint32_t i = 0; i < 3; i++) {
		for (uint32_t k = 0; k < ARRAY_LEN(answers); k++)
			refused(*state, i, answers[k], undos[k]);
	}
}

/* The machine's reset cannot wait, and says when the host refuses. */
/* shows: MEM-OP-06 */
static void MEM_OP_06_a_machine_reset_that_the_host_refuses(void **state)
{
	static const int answers[] = {VMEMDEV_E_HOST, VMEMDEV_E_BUSY, VMEMDEV_LATER, 9, INT32_MIN};

	for (uint32_t i = 0; i < ARRAY_LEN(answers); i++) {
		struct bed bed;

		open_bed(&bed, *state, &kinds[5]);
		prepare(&bed);
		bed.rig->host.answer = answers[i];
		assert_true(reset_machine(&bed) < 0);
		assert_int_equal(vmemdev_device_status(bed.rig->dev), 0);
		check_blocks(&bed, false);
		assert_int_equal(rig_complete(bed.rig, bed.rig->host.token, 0), VMEMDEV_E_STATE);
		bed.rig->host.answer = 0;
		assert_int_equal(reset_machine(&bed), 0);
		check_blocks(&bed, true);
		new_driver(&bed);
		close_bed(&bed);
	}
}

/* Guest memory through callbacks that fail at one place. */

static uint32_t map_calls, run_calls, fail_at;
static uint64_t odd_run; /* what run answers there */
static uint64_t (*good_run)(void *ctx, uint64_t gpa, uint64_t len, bool *discardable);

static void on_map(void *ctx, uint64_t gpa, uint64_t len, enum vmemdev_access access)
{
	struct guest_memory *mem = ctx;

	(void)gpa;
	(void)len;
	(void)access;
	mem->refuse = (struct vmemdev_range){RAM_GPA, map_calls++ == fail_at ? RAM_SIZE : 0};
}

static uint64_t on_run(void *ctx, uint64_t gpa, uint64_t len, bool *discardable)
{
	if (run_calls++ != fail_at)
		return good_run(ctx, gpa, len, discardable);
	*discardable = odd_run > 0;
	return odd_run;
}

static void open_by_callbacks(struct bed *bed, const struct way *way, const struct kind *kind)
{
	open_bare(bed, way, kind);
	guest_memory_close(&bed->rig->memory);
	guest_memory_open(&bed->rig->memory, GUEST_CALLBACKS, bed_regions, ARRAY_LEN(bed_regions));
	fail_at = UINT32_MAX;
	make_device(bed, &rig_balloon_ops, &rig_mem_ops);
	good_run = bed->rig->memory.ops.run;
	bed->rig->memory.on_map = on_map;
	bed->rig->memory.on_map_ctx = &bed->rig->memory;
	bed->rig->memory.ops.run = on_run;
}

/* returns: whether that many calls were made at all */
static bool lookup_fails(const struct way *way, const struct kind *kind, uint32_t at, uint64_t odd)
{
	struct bed bed;
	bool reached;
	int err;

	open_by_callbacks(&bed, way, kind);
	watch.step = at;
	prepare(&bed);
	vmemdev_guest_changed(&bed.rig->memory.guest);
	map_calls = run_calls = 0;
	odd_run = odd;
	fail_at = at;
	post(&bed);
	err = rig_run(bed.rig);
	reached = map_calls > at || run_calls > at;
	fail_at = UINT32_MAX;
	assert_int_equal(bed.rig->errors, err < 0);
	assert_int_equal(bed.rig->last_error, err < 0 ? err : 0);
	/* as long as the device goes on, the request is used, with whatever outcome */
	if (err == 0)
		assert_int_equal(guest_queue_has_used(&bed.rig->driver.queues[kind->queue]), true);
	new_driver(&bed);
	close_bed(&bed);
	return reached;
}

/* shows: HOST-REG-14 HOST-VQ-11 */
static void HOST_REG_14_look_ups_that_fail_at_any_one_place(void **state)
{
	for (uint32_t k = 0; k < ARRAY_LEN(kinds); k++) {
		uint32_t at = 0;

		while (lookup_fails(*state, &kinds[k], at, 0))
			at++;
		assert_true(at >= 3);
		/* a run longer than what was asked about, and one of a single byte */
		lookup_fails(*state, &kinds[k], 0, UINT64_MAX);
		lookup_fails(*state, &kinds[k], 0, 1);
	}
}

static int keep_state(void **state)
{
	(void)state;
	return 0;
}

#define TEST_FAULT(f, text, n) {#f " (" text ")", f, keep_state, NULL, (void *)&ways[n]}
#define TEST_FAULTS(f) TEST_FAULT(f, "split, direct", 0), TEST_FAULT(f, "packed, direct", 1), \
	TEST_FAULT(f, "packed, mmio", 3)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_FAULTS(BAL_INF_03_answers_of_each_callback),
		TEST_FAULTS(RST_03_whatever_happens_while_work_is_put_off),
		TEST_FAULTS(BAL_GEN_09_callbacks_that_are_not_there),
		TEST_FAULTS(MEM_PLUG_06_callbacks_that_are_not_there),
		TEST_FAULTS(MEM_PLUG_06_listeners_that_refuse_and_hosts_that_cannot_undo),
		TEST_FAULTS(MEM_OP_06_a_machine_reset_that_the_host_refuses),
		TEST_FAULTS(HOST_REG_14_look_ups_that_fail_at_any_one_place),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
