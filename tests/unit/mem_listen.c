/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Listeners of the memory device: each is told of each change before the guest is, in the
 * order in which they came; one that refuses undoes the change for all.
 */
#include "device_rig.h"

enum { LISTENERS = 3, TOLD_MAX = 64, HOST = LISTENERS };

/* One thing that a listener, or the host (number LISTENERS), was told. */
struct told {
	uint32_t who, count;
	bool plug;
	struct vmemdev_range ranges[24];
};

struct ear {
	struct vmemdev_mem_listener listener;
	struct scene *scene;
	uint32_t number;
	int answer;              /* to plug */
	uint32_t refuse_from;    /* how many times it agrees before it gives that answer */
	uint8_t has[MEM_BLOCKS]; /* blocks that it believes to be plugged */
};

struct scene {
	struct rig *rig;
	struct ear ears[LISTENERS];
	struct told told[TOLD_MAX];
	uint32_t count;
	uint8_t config[MEM_CFG_SIZE]; /* as the guest saw it before the change */
	bool runs_now;                /* the guest waits: it may have noticed nothing yet */
};

static struct scene scene;

static struct told *note(uint32_t who, bool plug, const struct vmemdev_range *ranges,
			 uint32_t count)
{
	struct told *told = &scene.told[scene.count++];

	assert_true(scene.count <= TOLD_MAX);
	assert_true(count > 0 && count <= ARRAY_LEN(told->ranges));
	told->who = who;
	told->plug = plug;
	told->count = count;
	memcpy(told->ranges, ranges, count * sizeof(*ranges));
	return told;
}

/* Nothing that the guest can look at has changed yet. */
static void guest_knows_nothing(void)
{
	uint8_t now[MEM_CFG_SIZE];

	if (!scene.runs_now)
		return;
	assert_false(guest_queue_has_used(&scene.rig->driver.queues[0]));
	vmemdev_device_config_read(scene.rig->dev, 0, now, sizeof(now));
	assert_memory_equal(now, scene.config, sizeof(now));
	assert_false(drv_took_queue_irq(scene.rig));
}

static void follow(struct ear *ear, bool plug, const struct vmemdev_range *ranges, uint32_t count)
{
	uint64_t last = 0;

	for (uint32_t i = 0; i < count; i++) {
		uint64_t first = (ranges[i].gpa - MEM_GPA) / MEM_BLOCK;
		uint64_t end = first + ranges[i].len / MEM_BLOCK;

		assert_true(ranges[i].gpa % MEM_BLOCK == 0 && ranges[i].len % MEM_BLOCK == 0);
		assert_true(ranges[i].len > 0 && end <= MEM_BLOCKS && ranges[i].gpa >= last);
		last = ranges[i].gpa + ranges[i].len;
		for (; first < end; first++) {
			assert_int_equal(ear->has[first], !plug);
			ear->has[first] = plug;
		}
	}
}

static int on_plug(void *ctx, const struct vmemdev_range *ranges, uint32_t count)
{
	struct ear *ear = ctx;

	assert_int_equal(vmemdev_mem_listen(&scene.rig->mem, &scene.ears[0].listener),
			 VMEMDEV_E_STATE);
	assert_int_equal(vmemdev_mem_unlisten(&scene.rig->mem, &ear->listener), VMEMDEV_E_STATE);
	guest_knows_nothing();
	note(ear->number, true, ranges, count);
	if (ear->answer != 0 && ear->refuse_from-- == 0)
		return ear->answer;
	follow(ear, true, ranges, count);
	return 0;
}

static void on_unplug(void *ctx, const struct vmemdev_range *ranges, uint32_t count)
{
	struct ear *ear = ctx;

	assert_int_equal(vmemdev_mem_unlisten(&scene.rig->mem, &ear->listener), VMEMDEV_E_STATE);
	guest_knows_nothing();
	note(ear->number, false, ranges, count);
	follow(ear, false, ranges, count);
}

static void on_host(struct rig *rig, const struct host_call *call)
{
	(void)rig;
	if (call->op == HOST_PLUGGED)
		return;
	guest_knows_nothing();
	note(HOST, call->op == HOST_PLUG, call->ranges, call->count);
}

static int setup_scene(void **state)
{
	struct rig *rig;

	rig_setup_mem_live(state);
	rig = *state;
	memset(&scene, 0, sizeof(scene));
	scene.rig = rig;
	for (uint32_t i = 0; i < LISTENERS; i++) {
		scene.ears[i].scene = &scene;
		scene.ears[i].number = i;
		scene.ears[i].listener.plug = on_plug;
		scene.ears[i].listener.unplug = on_unplug;
		scene.ears[i].listener.ctx = &scene.ears[i];
	}
	rig->host.hook = on_host;
	mem_want(rig, MEM_REGION);
	drv_took_config_irq(rig);
	return 0;
}

static void listen_all(void)
{
	for (uint32_t i = 0; i < LISTENERS; i++)
		assert_int_equal(vmemdev_mem_listen(&scene.rig->mem, &scene.ears[i].listener), 0);
	scene.count = 0;
}

/* A request, watched: until its answer is there nobody may see a change. */
static void ask(uint16_t type, uint64_t addr, uint16_t blocks, int answer)
{
	vmemdev_device_config_read(scene.rig->dev, 0, scene.config, sizeof(scene.config));
	drv_took_queue_irq(scene.rig);
	scene.count = 0;
	scene.runs_now = true;
	mem_expect(scene.rig, type, addr, blocks, answer);
	scene.runs_now = false;
}

static void told(uint32_t n, uint32_t who, bool plug, uint64_t first, uint64_t blocks)
{
	assert_true(n < scene.count);
	assert_int_equal(scene.told[n].who, who);
	assert_int_equal(scene.told[n].plug, plug);
	assert_int_equal(scene.told[n].count, 1);
	assert_true(scene.told[n].ranges[0].gpa == BLOCK(first));
	assert_true(scene.told[n].ranges[0].len == blocks * MEM_BLOCK);
}

/* Each listener's own view is that of the device. */
static void all_agree(uint32_t listeners)
{
	for (uint32_t i = 0; i < listeners; i++)
		for (uint32_t block = 0; block < MEM_BLOCKS; block++)
			assert_int_equal(scene.ears[i].has[block],
					 mem_has_block(scene.rig, block));
}

static void forget_told(void)
{
	scene.count = 0;
}

/* shows: MEM-OP-04 MEM-OP-10 */
static void MEM_OP_10_listeners_know_before_the_guest_does(void **state)
{
	(void)state;
	listen_all();
	ask(GUEST_MEM_PLUG, BLOCK(8), 4, GUEST_MEM_ACK);
	assert_int_equal(scene.count, 4);
	told(0, HOST, true, 8, 4);
	for (uint32_t i = 0; i < LISTENERS; i++)
		told(1 + i, i, true, 8, 4);
	all_agree(LISTENERS);

	ask(GUEST_MEM_UNPLUG, BLOCK(9), 2, GUEST_MEM_ACK);
	assert_int_equal(scene.count, 4);
	told(0, HOST, false, 9, 2);
	for (uint32_t i = 0; i < LISTENERS; i++)
		told(1 + i, i, false, 9, 2);
	all_agree(LISTENERS);

	/* what changes nothing is told to nobody */
	ask(GUEST_MEM_STATE, BLOCK(8), 4, GUEST_MEM_ACK);
	ask(GUEST_MEM_PLUG, BLOCK(8), 1, GUEST_MEM_ERROR);
	assert_int_equal(scene.count, 0);
	scene.rig->host.answer = VMEMDEV_E_BUSY;
	ask(GUEST_MEM_PLUG, BLOCK(20), 1, GUEST_MEM_BUSY);
	assert_int_equal(scene.count, 1);
	ask(GUEST_MEM_UNPLUG, BLOCK(8), 1, GUEST_MEM_BUSY);
	assert_int_equal(scene.count, 1);
	all_agree(LISTENERS);
}

/* One refuses: those before it, and the host, take it back; those after it hear nothing. */
/* shows: MEM-PLUG-06 MEM-OP-09 */
static void MEM_OP_09_a_refusal_undoes_the_plug_for_all(void **state)
{
	struct vmemdev_mem_counts before, after;

	(void)state;
	listen_all();
	ask(GUEST_MEM_PLUG, BLOCK(30), 2, GUEST_MEM_ACK);
	for (uint32_t who = 0; who < LISTENERS; who++) {
		uint64_t plugged = mem_sizes(scene.rig).plugged;

		vmemdev_mem_get_counts(&scene.rig->mem, &before);
		scene.ears[who].answer = VMEMDEV_E_NOSPC;
		ask(GUEST_MEM_PLUG, BLOCK(8), 4, GUEST_MEM_BUSY);
		assert_int_equal(scene.count, 1 + (who + 1) + who + 1);
		told(0, HOST, true, 8, 4);
		for (uint32_t i = 0; i <= who; i++)
			told(1 + i, i, true, 8, 4);
		for (uint32_t i = 0; i < who; i++)
			told(2 + who + i, i, false, 8, 4);
		told(2 + 2 * who, HOST, false, 8, 4);
		assert_true(mem_sizes(scene.rig).plugged == plugged);
		all_agree(LISTENERS);
		vmemdev_mem_get_counts(&scene.rig->mem, &after);
		assert_int_equal(after.busy, before.busy + 1);
		assert_int_equal(after.plug, before.plug);
		assert_int_equal(after.host_calls, before.host_calls + 2);
		scene.ears[who].answer = 0;
	}
	ask(GUEST_MEM_PLUG, BLOCK(8), 4, GUEST_MEM_ACK);
	all_agree(LISTENERS);
}

/* shows: MEM-OP-04 MEM-OP-09 */
static void MEM_OP_09_late_work_is_told_when_it_is_done(void **state)
{
	struct rig *rig = scene.rig;
	struct request request;

	(void)state;
	listen_all();
	for (uint32_t refused = 0; refused < 2; refused++) {
		rig->host.answer = VMEMDEV_LATER;
		request_make(&request, GUEST_MEM_PLUG, BLOCK(8), 4);
		request_post(rig, 0, &request);
		drv_kick(rig, 0);
		forget_told();
		assert_int_equal(rig_run(rig), 0);
		assert_int_equal(scene.count, 1);
		vmemdev_device_config_read(rig->dev, 0, scene.config, sizeof(scene.config));
		rig->host.answer = 0;
		scene.ears[1].answer = refused == 0 ? VMEMDEV_E_HOST : 0;
		drv_took_queue_irq(rig);
		scene.runs_now = true;
		assert_int_equal(rig_complete(rig, rig->host.token, 0), 0);
		scene.runs_now = false;
		assert_int_equal(rig_run(rig), 0);
		assert_int_equal(request_take(rig, 0).type,
				 refused == 0 ? GUEST_MEM_BUSY : GUEST_MEM_ACK);
		assert_int_equal(scene.count, refused == 0 ? 5 : 4);
		told(1, 0, true, 8, 4);
		if (refused == 0)
			told(4, HOST, false, 8, 4);
		all_agree(LISTENERS);
	}
	/* late failure: the listeners never hear of it */
	rig->host.answer = VMEMDEV_LATER;
	request_make(&request, GUEST_MEM_UNPLUG, BLOCK(8), 2);
	request_post(rig, 0, &request);
	drv_kick(rig, 0);
	forget_told();
	assert_int_equal(rig_run(rig), 0);
	assert_int_equal(rig_complete(rig, rig->host.token, VMEMDEV_E_HOST), 0);
	assert_int_equal(scene.count, 1);
	assert_int_equal(request_take(rig, 0).type, GUEST_MEM_BUSY);
	all_agree(LISTENERS);
}

/* Every other block plugged: 48 runs, more than a callback is handed at once. */
static void plug_checkered(void)
{
	for (uint32_t block = 0; block < MEM_BLOCKS; block += 2)
		mem_expect(scene.rig, GUEST_MEM_PLUG, BLOCK(block), 1, GUEST_MEM_ACK);
	scene.count = 0;
}

static void a_late_joiner_hears_every_run(void **state)
{
	uint32_t ranges = 0;

	(void)state;
	assert_int_equal(vmemdev_mem_listen(&scene.rig->mem, &scene.ears[0].listener), 0);
	for (uint32_t block = 0; block < MEM_BLOCKS; block += 2) {
		forget_told();
		mem_expect(scene.rig, GUEST_MEM_PLUG, BLOCK(block), 1, GUEST_MEM_ACK);
	}
	forget_told();
	assert_int_equal(vmemdev_mem_listen(&scene.rig->mem, &scene.ears[1].listener), 0);
	for (uint32_t i = 0; i < scene.count; i++) {
		assert_int_equal(scene.told[i].who, 1);
		assert_true(scene.told[i].plug);
		assert_true(scene.told[i].count <= 16);
		ranges += scene.told[i].count;
	}
	assert_int_equal(ranges, MEM_BLOCKS / 2);
	all_agree(2);
	ask(GUEST_MEM_UNPLUG, BLOCK(2), 1, GUEST_MEM_ACK);
	assert_int_equal(scene.count, 3);
	all_agree(2);
	/* it leaves: what is plugged is taken from it, and from it alone */
	forget_told();
	assert_int_equal(vmemdev_mem_unlisten(&scene.rig->mem, &scene.ears[1].listener), 0);
	for (uint32_t i = 0; i < scene.count; i++)
		assert_true(scene.told[i].who == 1 && !scene.told[i].plug);
	for (uint32_t block = 0; block < MEM_BLOCKS; block++)
		assert_false(scene.ears[1].has[block]);
	all_agree(1);
	ask(GUEST_MEM_PLUG, BLOCK(2), 1, GUEST_MEM_ACK);
	assert_int_equal(scene.count, 2);
	assert_int_equal(scene.told[1].who, 0);
}

static void a_refused_replay_is_taken_back(void **state)
{
	(void)state;
	plug_checkered();
	for (uint32_t agreed = 0; agreed < 4; agreed++) {
		struct ear *ear = &scene.ears[0];

		forget_told();
		ear->answer = VMEMDEV_E_BUSY;
		ear->refuse_from = agreed;
		assert_int_equal(vmemdev_mem_listen(&scene.rig->mem, &ear->listener),
				 agreed < 3 ? VMEMDEV_E_BUSY : 0);
		if (agreed == 3) {
			all_agree(1);
			break;
		}
		assert_int_equal(scene.count, 2 * agreed + 1);
		for (uint32_t block = 0; block < MEM_BLOCKS; block++)
			assert_false(ear->has[block]);
		assert_int_equal(vmemdev_mem_unlisten(&scene.rig->mem, &ear->listener),
				 VMEMDEV_E_STATE);
		forget_told();
		mem_expect(scene.rig, GUEST_MEM_UNPLUG, BLOCK(0), 1, GUEST_MEM_ACK);
		mem_expect(scene.rig, GUEST_MEM_PLUG, BLOCK(0), 1, GUEST_MEM_ACK);
		assert_int_equal(scene.count, 2); /* the host alone */
	}
}

/* shows: MEM-ALL-03 */
static void MEM_ALL_03_unplugging_all_tells_every_run(void **state)
{
	(void)state;
	listen_all();
	for (uint32_t block = 0; block < MEM_BLOCKS; block += 2) {
		forget_told();
		mem_expect(scene.rig, GUEST_MEM_PLUG, BLOCK(block), 1, GUEST_MEM_ACK);
	}
	scene.rig->host.answer = VMEMDEV_E_BUSY;
	ask(GUEST_MEM_UNPLUG_ALL, 0, 0, GUEST_MEM_BUSY);
	assert_int_equal(scene.count, 1);
	all_agree(LISTENERS);
	scene.rig->host.answer = 0;
	ask(GUEST_MEM_UNPLUG_ALL, 0, 0, GUEST_MEM_ACK);
	assert_int_equal(scene.told[0].who, HOST);
	all_agree(LISTENERS);
	assert_true(mem_sizes(scene.rig).plugged == 0);
	ask(GUEST_MEM_UNPLUG_ALL, 0, 0, GUEST_MEM_ACK);
	assert_int_equal(scene.count, 0);
}

/* shows: MEM-OP-06 MEM-INIT-02 */
static void MEM_OP_06_a_system_reset_is_told_and_a_device_reset_is_none(void **state)
{
	struct rig *rig = scene.rig;

	(void)state;
	listen_all();
	ask(GUEST_MEM_PLUG, BLOCK(0), 4, GUEST_MEM_ACK);
	ask(GUEST_MEM_PLUG, BLOCK(70), 4, GUEST_MEM_ACK);
	forget_told();
	drv_reset(rig);
	assert_int_equal(scene.count, 0);
	rig->window = true;
	rig->host.answer = VMEMDEV_E_HOST;
	assert_int_equal(vmemdev_device_system_reset(rig->dev), VMEMDEV_E_HOST);
	assert_int_equal(scene.count, 1);
	all_agree(LISTENERS);
	rig->host.answer = 0;
	forget_told();
	assert_int_equal(vmemdev_device_system_reset(rig->dev), 0);
	rig->window = false;
	assert_int_equal(scene.count, 1 + LISTENERS);
	assert_int_equal(scene.told[0].count, 2);
	for (uint32_t i = 0; i < LISTENERS; i++) {
		assert_int_equal(scene.told[1 + i].who, i);
		assert_int_equal(scene.told[1 + i].count, 2);
	}
	all_agree(LISTENERS);
	assert_false(mem_has_block(rig, 0) || mem_has_block(rig, 70));
}

/* The order is that of listening, also after one has left and come back. */
static void the_order_is_that_of_coming(void **state)
{
	static const uint32_t order[] = {0, 2, 1};

	(void)state;
	listen_all();
	assert_int_equal(vmemdev_mem_unlisten(&scene.rig->mem, &scene.ears[1].listener), 0);
	assert_int_equal(vmemdev_mem_listen(&scene.rig->mem, &scene.ears[1].listener), 0);
	ask(GUEST_MEM_PLUG, BLOCK(1), 1, GUEST_MEM_ACK);
	for (uint32_t i = 0; i < LISTENERS; i++)
		told(1 + i, order[i], true, 1, 1);
	assert_int_equal(vmemdev_mem_unlisten(&scene.rig->mem, &scene.ears[0].listener), 0);
	assert_int_equal(vmemdev_mem_unlisten(&scene.rig->mem, &scene.ears[1].listener), 0);
	ask(GUEST_MEM_UNPLUG, BLOCK(1), 1, GUEST_MEM_ACK);
	assert_int_equal(scene.count, 2);
	told(1, 2, false, 1, 1);
	assert_int_equal(vmemdev_mem_unlisten(&scene.rig->mem, &scene.ears[2].listener), 0);
	ask(GUEST_MEM_PLUG, BLOCK(1), 1, GUEST_MEM_ACK);
	assert_int_equal(scene.count, 1);
}

static void listen_and_unlisten_name_what_is_wrong(void **state)
{
	struct vmemdev_mem *mem = &scene.rig->mem;
	struct vmemdev_mem_listener *one = &scene.ears[0].listener, bad;

	(void)state;
	assert_int_equal(vmemdev_mem_listen(mem, NULL), VMEMDEV_E_INVAL);
	assert_int_equal(vmemdev_mem_unlisten(mem, NULL), VMEMDEV_E_INVAL);
	bad = *one;
	bad.plug = NULL;
	assert_int_equal(vmemdev_mem_listen(mem, &bad), VMEMDEV_E_INVAL);
	bad = *one;
	bad.unplug = NULL;
	assert_int_equal(vmemdev_mem_listen(mem, &bad), VMEMDEV_E_INVAL);
	assert_int_equal(vmemdev_mem_unlisten(mem, one), VMEMDEV_E_STATE);
	assert_int_equal(vmemdev_mem_listen(mem, one), 0);
	assert_int_equal(vmemdev_mem_listen(mem, one), VMEMDEV_E_STATE);
	assert_int_equal(vmemdev_mem_unlisten(mem, one), 0);
	assert_int_equal(vmemdev_mem_unlisten(mem, one), VMEMDEV_E_STATE);
	assert_int_equal(scene.count, 0);
}

/* Work that goes on after a reset is told to listeners like any other. */
/* shows: RST-03 */
static void RST_03_orphaned_work_is_told(void **state)
{
	struct rig *rig = scene.rig;
	struct request request;

	(void)state;
	listen_all();
	rig->host.answer = VMEMDEV_LATER;
	request_make(&request, GUEST_MEM_PLUG, BLOCK(8), 4);
	request_post(rig, 0, &request);
	drv_kick(rig, 0);
	assert_int_equal(rig_run(rig), 0);
	drv_reset(rig);
	assert_int_equal(vmemdev_mem_unlisten(&rig->mem, &scene.ears[2].listener), 0);
	forget_told();
	assert_int_equal(rig_complete(rig, rig->host.token, 0), 0);
	assert_int_equal(scene.count, 2);
	all_agree(2);
	assert_true(mem_has_block(rig, 8));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_ALL(MEM_OP_10_listeners_know_before_the_guest_does, setup_scene),
		TEST_RINGS(MEM_OP_09_a_refusal_undoes_the_plug_for_all, setup_scene),
		TEST_RINGS(MEM_OP_09_late_work_is_told_when_it_is_done, setup_scene),
		TEST_RINGS(a_late_joiner_hears_every_run, setup_scene),
		TEST_RINGS(a_refused_replay_is_taken_back, setup_scene),
		TEST_RINGS(MEM_ALL_03_unplugging_all_tells_every_run, setup_scene),
		TEST_BUSES(MEM_OP_06_a_system_reset_is_told_and_a_device_reset_is_none,
			   setup_scene),
		TEST_ONCE(the_order_is_that_of_coming, setup_scene),
		TEST_ONCE(listen_and_unlisten_name_what_is_wrong, setup_scene),
		TEST_RINGS(RST_03_orphaned_work_is_told, setup_scene),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
