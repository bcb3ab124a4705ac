/* SPDX-License-Identifier: BSD-3-Clause */
/* The golden records (golden/README): read by this release, and gone on from. */
#include "golden_file.h"

#define TELL VMEMDEV_BALLOON_F_MUST_TELL_HOST
#define POISON VMEMDEV_BALLOON_F_PAGE_POISON
#define FRAME UINT64_C(0x200000)
#define FRAME_SHIFT 21
#define ARRAY_PAGES 300 /* more than a unit of budget reads */

enum { QUEUE_SIZE = 32, WORDS = 16, STAT_ENTRY = 10, HINT_ROUND = 3, MAJOR = 1 };

/* A state that files hold: how it comes about, and how it goes on. */
struct state {
	const char *name;
	const char *what;
	struct rig *(*make)(const struct way *way);
	void (*build)(struct rig *rig);
	void (*fresh)(struct rig *rig); /* a device of that configuration */
	void (*other)(struct rig *rig); /* one of another; NULL: there is none */
	void (*save)(struct rig *rig, struct record *record);
	int (*load)(struct rig *rig, const struct record *record);
	void (*go_on)(struct rig *rig); /* after the load */
};

/* Rings at fixed places, as the record names them. */
static void open_at(struct rig *rig, uint16_t queue)
{
	const uint64_t at = RAM_GPA + 0x10000 + 0x3000 * (uint64_t)queue;
	const struct guest_queue_config config = {
		.features = rig->driver.features, .size = QUEUE_SIZE,
		.at = {.desc = at, .driver = at + 0x1000, .device = at + 0x2000}};

	guest_queue_open(&rig->driver.queues[queue], &rig->memory, &config);
	rig->driver.open[queue] = true;
	guest_queue_interrupts_on(&rig->driver.queues[queue]);
	assert_true(guest_driver_queue_enable(&rig->driver, queue,
					      &rig->driver.queues[queue].layout));
}

/* Balloon. */

static uint64_t words[WORDS];
static struct vmemdev_balloon_track track;

static void balloon_config(struct rig *rig, struct vmemdev_balloon_config *config)
{
	rig_balloon_full_config(rig, config);
	config->must_tell_host = true;
	track = (struct vmemdev_balloon_track){
		.gpa = PLAY_GPA, .len = FRAME, .words = words, .frame_shift = FRAME_SHIFT};
	assert_true(vmemdev_balloon_track_words(FRAME, FRAME_SHIFT) <= WORDS);
	config->tracks = &track;
	config->track_count = 1;
}

static struct rig *make_balloon(const struct way *way)
{
	struct rig *rig = rig_bare(way);
	struct vmemdev_balloon_config config;

	balloon_config(rig, &config);
	rig_make_balloon(rig, &config);
	return rig;
}

static void fresh_balloon(struct rig *rig)
{
	struct vmemdev_balloon_config config;

	balloon_config(rig, &config);
	memset(words, 0x5a, sizeof(words));
	rig_fresh_balloon(rig, &config);
}

static void other_balloon(struct rig *rig)
{
	struct vmemdev_balloon_config config;

	balloon_config(rig, &config);
	config.track_count = 0;
	rig_fresh_balloon(rig, &config);
}

static void send_set(struct rig *rig, uint64_t value)
{
	const struct vmemdev_buf buf = {.gpa = DATA_GPA, .len = STAT_ENTRY, .writable = 0};
	uint8_t bytes[STAT_ENTRY];

	put16(bytes, VMEMDEV_BALLOON_DISK_CACHES);
	put64(bytes + 2, value);
	assert_true(guest_write(&rig->memory, DATA_GPA, bytes, sizeof(bytes)));
	drv_add(rig, STATSQ, &buf, 1);
	drv_kick(rig, STATSQ);
	assert_int_equal(rig_run(rig), 0);
}

static void send_hint(struct rig *rig, uint64_t gpa)
{
	const struct vmemdev_buf id = {.gpa = DATA_GPA + PAGE, .len = 4, .writable = 0};
	const struct vmemdev_range range = {gpa, PAGE};

	guest_store32(&rig->memory, DATA_GPA + PAGE, HINT_ROUND);
	drv_add(rig, HINTQ, &id, 1);
	ranges_post(rig, HINTQ, &range, 1);
	drv_kick(rig, HINTQ);
	assert_int_equal(rig_run(rig), 0);
	assert_int_equal(drv_used_count(rig, HINTQ), 2);
}

static void set_actual(struct rig *rig, uint32_t pages)
{
	uint8_t bytes[4];

	put32(bytes, pages);
	rig->window = true;
	guest_driver_config_write(&rig->driver, BAL_ACTUAL, bytes, sizeof(bytes));
	rig->window = false;
}

static void build_balloon(struct rig *rig)
{
	const uint32_t pfns[] = {PLAY_PFN, PLAY_PFN + 1, PLAY_PFN + 9};
	uint32_t array[ARRAY_PAGES];

	drv_negotiate(rig, BALLOON_FULL | TELL | POISON);
	guest_driver_config_write(&rig->driver, BAL_POISON, "\xaa\xaa\xaa\xaa", 4);
	for (uint16_t i = 0; i < 5; i++)
		open_at(rig, i);
	drv_set_status(rig, DRV_LIVE);
	assert_int_equal(vmemdev_balloon_set_target(&rig->balloon, 64 * PAGE), 0);
	pages_send(rig, INFLATEQ, pfns, 3);
	set_actual(rig, 3);
	rig->host.clock = 99;
	send_set(rig, UINT64_C(0x1122334455667788));
	assert_int_equal(vmemdev_balloon_hint_start(&rig->balloon), 0);
	assert_int_equal(vmemdev_balloon_hint_start(&rig->balloon), 0);
	send_hint(rig, PLAY_GPA + 16 * PAGE);
	for (uint32_t i = 0; i < ARRAY_PAGES; i++)
		array[i] = PLAY_PFN + 100 + i;
	pages_post(rig, INFLATEQ, array, ARRAY_PAGES);
	drv_kick(rig, INFLATEQ);
	assert_int_equal(rig_step(rig, 1), 1);
	assert_int_equal(drv_used_count(rig, INFLATEQ), 0);
}

static void expect_given(struct rig *rig, uint64_t from, uint64_t gpa, uint64_t pages)
{
	struct vmemdev_range given;

	assert_true(vmemdev_balloon_given(&rig->balloon, from, &given));
	assert_true(given.gpa == gpa && given.len == pages * PAGE);
}

static void go_on_balloon(struct rig *rig)
{
	struct vmemdev_balloon_stats stats;

	assert_true(vmemdev_balloon_target(&rig->balloon) == 64 * PAGE);
	assert_true(vmemdev_balloon_actual(&rig->balloon) == 3 * PAGE);
	assert_int_equal(guest_driver_config32(&rig->driver, BAL_POISON), 0xaaaaaaaa);
	vmemdev_balloon_get_stats(&rig->balloon, &stats);
	assert_true(stats.valid && !stats.pending && stats.updated == 99);
	assert_true(stats.present == 1u << VMEMDEV_BALLOON_DISK_CACHES);
	assert_true(stats.value[VMEMDEV_BALLOON_DISK_CACHES] == UINT64_C(0x1122334455667788));
	expect_given(rig, 0, PLAY_GPA, 2);
	expect_given(rig, PLAY_GPA + 2 * PAGE, PLAY_GPA + 9 * PAGE, 1);
	/* the array that was half read is answered, the statistics are still kept */
	assert_int_equal(rig_run(rig), 0);
	assert_int_equal(drv_used_count(rig, INFLATEQ), 1);
	expect_given(rig, PLAY_GPA + 10 * PAGE, PLAY_GPA + 100 * PAGE, ARRAY_PAGES);
	assert_int_equal(drv_used_count(rig, STATSQ), 0);
	assert_int_equal(vmemdev_balloon_poll_stats(&rig->balloon), 0);
	assert_int_equal(rig_run(rig), 0);
	assert_int_equal(drv_used_count(rig, STATSQ), 1);
	/* the round is open, under the same number */
	assert_int_equal(vmemdev_balloon_hint_round(&rig->balloon), VMEMDEV_BALLOON_ROUND_OPEN);
	assert_int_equal(guest_driver_config32(&rig->driver, BAL_CMD_ID), HINT_ROUND);
	host_forget(rig);
	send_hint(rig, PLAY_GPA + 20 * PAGE);
	assert_int_equal(host_last(rig)->op, HOST_HINT);
	assert_true(host_last(rig)->ranges[0].gpa == PLAY_GPA + 20 * PAGE);
}

/* Memory device. */

static struct rig *make_mem(const struct way *way)
{
	struct rig *rig = rig_bare(way);

	rig_make_mem(rig, NULL);
	return rig;
}

static void fresh_mem(struct rig *rig)
{
	rig_fresh_mem(rig, NULL);
}

static void other_mem(struct rig *rig)
{
	struct vmemdev_mem_config config;

	rig_mem_config(rig, &config);
	config.addr += MEM_BLOCK;
	rig_fresh_mem(rig, &config);
}

static void post(struct rig *rig, uint32_t slot, uint16_t type, uint64_t addr, uint16_t blocks)
{
	struct request request;

	request_make(&request, type, addr, blocks);
	request_post(rig, slot, &request);
}

static void build_mem(struct rig *rig)
{
	drv_negotiate(rig, VMEMDEV_MEM_F_UNPLUGGED_INACCESSIBLE);
	open_at(rig, 0);
	drv_set_status(rig, DRV_LIVE);
	mem_want(rig, 72 * MEM_BLOCK);
	mem_expect(rig, GUEST_MEM_PLUG, BLOCK(0), 5, GUEST_MEM_ACK);
	mem_expect(rig, GUEST_MEM_PLUG, BLOCK(60), 10, GUEST_MEM_ACK);
	mem_expect(rig, GUEST_MEM_UNPLUG, BLOCK(4), 1, GUEST_MEM_ACK);
	rig->host.answer = VMEMDEV_LATER;
	post(rig, 1, GUEST_MEM_PLUG, BLOCK(70), 2);
	post(rig, 2, GUEST_MEM_STATE, BLOCK(4), 1);
	drv_kick(rig, 0);
	assert_int_equal(rig_run(rig), 0);
	/* it was admitted before this, and stays so */
	mem_want(rig, 10 * MEM_BLOCK);
}

static void go_on_mem(struct rig *rig)
{
	struct answer answer;

	assert_true(mem_sizes(rig).usable == 80 * MEM_BLOCK);
	assert_true(mem_sizes(rig).requested == 10 * MEM_BLOCK);
	assert_true(mem_sizes(rig).plugged == 14 * MEM_BLOCK);
	assert_true(mem_has_block(rig, 3) && !mem_has_block(rig, 4) && mem_has_block(rig, 69));
	host_forget(rig);
	assert_int_equal(rig_run(rig), 0);
	assert_int_equal(host_last(rig)->op, HOST_PLUG);
	assert_true(host_last(rig)->ranges[0].gpa == BLOCK(70));
	assert_true(host_last(rig)->ranges[0].len == 2 * MEM_BLOCK);
	assert_int_equal(rig_complete(rig, rig->host.token, 0), 0);
	assert_int_equal(rig_run(rig), 0);
	assert_int_equal(request_take(rig, 1).type, GUEST_MEM_ACK);
	answer = request_take(rig, 2);
	assert_int_equal(answer.type, GUEST_MEM_ACK);
	assert_int_equal(answer.state, GUEST_MEM_UNPLUGGED);
	assert_true(mem_sizes(rig).plugged == 16 * MEM_BLOCK);
}

/* Persistent memory device. */

static struct rig *make_pmem(const struct way *way)
{
	void *state = (void *)(uintptr_t)way;

	rig_setup_pmem(&state);
	return state;
}

static void fresh_pmem(struct rig *rig)
{
	rig_fresh_pmem(rig, NULL);
}

static void other_pmem(struct rig *rig)
{
	struct vmemdev_pmem_config config;

	rig_pmem_config(rig, &config);
	config.size /= 2;
	rig_fresh_pmem(rig, &config);
}

static void start_pmem(struct rig *rig)
{
	drv_negotiate(rig, 0);
	open_at(rig, 0);
	drv_set_status(rig, DRV_LIVE);
}

/* A flush failed when nobody was there to be told; now one goes on, and two more are wanted. */
static void build_pmem(struct rig *rig)
{
	start_pmem(rig);
	rig->host.answer = VMEMDEV_LATER;
	flush_post(rig, 0);
	assert_int_equal(rig_run(rig), 0);
	drv_reset(rig);
	assert_int_equal(rig_complete(rig, rig->host.token, VMEMDEV_E_HOST), 0);
	start_pmem(rig);
	for (uint32_t slot = 1; slot <= 3; slot++)
		flush_post(rig, slot);
	assert_int_equal(rig_run(rig), 0);
	flush_post(rig, 4);
	flush_post(rig, 5);
}

static void go_on_pmem(struct rig *rig)
{
	host_forget(rig);
	assert_int_equal(rig_run(rig), 0);
	assert_int_equal(rig->host.count, 1);
	assert_int_equal(flush_take(rig, 1), FLUSH_NONE);
	assert_int_equal(rig_complete(rig, rig->host.token, 0), 0);
	assert_int_equal(rig_run(rig), 0);
	for (uint32_t slot = 1; slot <= 5; slot++)
		assert_int_equal(flush_take(rig, slot), FLUSH_FAILED);
	rig->host.answer = 0;
	assert_int_equal(flush_send(rig), FLUSH_OK);
}

/* Register block: of a memory device whose driver has a change to hear of. */

static struct record behind_block;

static void build_block(struct rig *rig)
{
	build_mem(rig);
	guest_driver_set_register(&rig->driver, REG_DEVICE_FEATURES_SEL, 1);
	guest_driver_set_register(&rig->driver, REG_DRIVER_FEATURES_SEL, 0xff);
	guest_driver_set_register(&rig->driver, REG_QUEUE_SEL, 5);
	guest_driver_set_register(&rig->driver, REG_SHM_SEL, 7);
	rig_save(rig, &behind_block);
}

static void fresh_block(struct rig *rig)
{
	rig_fresh_mem(rig, NULL);
	assert_int_equal(rig_load(rig, &behind_block), 0);
}

static void save_block(struct rig *rig, struct record *record)
{
	record->len = VMEMDEV_MMIO_SAVE_SIZE;
	assert_int_equal(vmemdev_mmio_save(&rig->driver.mmio, record->bytes, record->len), 0);
}

static int load_block(struct rig *rig, const struct record *record)
{
	return vmemdev_mmio_load(&rig->driver.mmio, record->bytes, record->len);
}

static void go_on_block(struct rig *rig)
{
	struct guest_driver *d = &rig->driver;

	assert_true(d->line);
	assert_int_equal(guest_driver_register(d, REG_INTERRUPT_STATUS), 3);
	assert_int_equal(guest_driver_register(d, REG_DEVICE_FEATURES),
			 vmemdev_device_features(rig->dev, 1));
	assert_int_equal(guest_driver_register(d, REG_QUEUE_SIZE_MAX), 0);
	guest_driver_set_register(d, REG_QUEUE_SEL, 0);
	assert_int_equal(guest_driver_register(d, REG_QUEUE_READY), 1);
	assert_int_equal(guest_driver_register(d, REG_SHM_LEN_LOW), UINT32_MAX);
	guest_driver_set_register(d, REG_INTERRUPT_ACK, 3);
	assert_false(d->line);
	go_on_mem(rig);
}

static const struct state balloon = {
	"balloon", "statistics kept, a round of hinting open, an array of pages half read",
	make_balloon, build_balloon, fresh_balloon, other_balloon, rig_save, rig_load,
	go_on_balloon};
static const struct state mem = {
	"mem", "14 blocks plugged, a plug of two that waits for the host, a question behind it",
	make_mem, build_mem, fresh_mem, other_mem, rig_save, rig_load, go_on_mem};
static const struct state pmem = {
	"pmem", "three requests of a flush that goes on, two behind them, an old failure to tell",
	make_pmem, build_pmem, fresh_pmem, other_pmem, rig_save, rig_load, go_on_pmem};
static const struct state block = {
	"mmio", "a memory device's block, both interrupts not acknowledged",
	make_mem, build_block, fresh_block, NULL, save_block, load_block, go_on_block};

/* A state in a ring format. */
struct row {
	const struct state *state;
	const struct way *way;
};

static const struct row rows[] = {
	{&balloon, &ways[0]}, {&balloon, &ways[1]}, {&mem, &ways[0]}, {&mem, &ways[1]},
	{&pmem, &ways[0]}, {&pmem, &ways[1]}, {&block, &ways[2]}};

static const char *file_name(const struct row *row)
{
	static char name[64];

	snprintf(name, sizeof(name), "%s-%s", row->state->name,
		 row->way->packed ? "packed" : "split");
	return name;
}

/* Which version this release writes. */
static uint32_t version_now(struct rig *rig, const struct row *row)
{
	struct record record;

	row->state->save(rig, &record);
	assert_int_equal(record_get(&record, REC_MAJOR, 2), MAJOR);
	return (uint32_t)record_get(&record, REC_MINOR, 2);
}

static struct rig *built(const struct row *row)
{
	struct rig *rig = row->state->make(row->way);

	row->state->build(rig);
	return rig;
}

static void what_is_saved_is_the_newest_golden_record(void **state)
{
	const struct row *row = *state;
	struct rig *rig = built(row);
	uint32_t minor = version_now(rig, row);
	struct record now, golden;

	row->state->save(rig, &now);
	if (!golden_read(file_name(row), MAJOR, minor, &golden) &&
	    !golden_write(file_name(row), MAJOR, minor, row->state->what, &now))
		fail_msg("there is no golden record %s-%d.%u.hex; golden/README says how to add one",
			 file_name(row), MAJOR, minor);
	else if (golden_read(file_name(row), MAJOR, minor, &golden)) {
		assert_int_equal(now.len, golden.len);
		assert_memory_equal(now.bytes, golden.bytes, golden.len);
	}
	rig_free(rig);
}

static void go_on_from(const struct row *row, uint32_t minor)
{
	struct rig *rig = built(row);
	struct record golden, again;

	if (!golden_read(file_name(row), MAJOR, minor, &golden))
		fail_msg("the golden record %s-%d.%u.hex is gone; it has to stay for ever",
			 file_name(row), MAJOR, minor);
	row->state->fresh(rig);
	assert_int_equal(row->state->load(rig, &golden), 0);
	row->state->save(rig, &again);
	if (record_get(&again, REC_MINOR, 2) == minor) {
		assert_int_equal(again.len, golden.len);
		assert_memory_equal(again.bytes, golden.bytes, golden.len);
	}
	row->state->go_on(rig);
	assert_int_equal(rig->errors, 0);
	rig_free(rig);
}

static void every_golden_record_loads_and_goes_on(void **state)
{
	const struct row *row = *state;
	struct rig *rig = built(row);
	uint32_t newest = version_now(rig, row);

	rig_free(rig);
	for (uint32_t minor = 0; minor <= newest; minor++)
		go_on_from(row, minor);
}

static void what_is_newer_or_of_another_device_is_refused_by_name(void **state)
{
	const struct row *row = *state;
	struct rig *rig = built(row);
	uint32_t minor = version_now(rig, row);
	const struct damage damages[] = {
		{REC_MAJOR, 2, MAJOR + 1, VMEMDEV_E_VERSION},
		{REC_MAJOR, 2, UINT16_MAX, VMEMDEV_E_VERSION},
		{REC_MINOR, 2, minor + 1, VMEMDEV_E_VERSION},
		{REC_MINOR, 2, UINT16_MAX, VMEMDEV_E_VERSION},
		{REC_ID, 4, 4, VMEMDEV_E_MISMATCH},
	};

	for (size_t i = 0; i < ARRAY_LEN(damages); i++) {
		struct record bad;

		assert_true(golden_read(file_name(row), MAJOR, minor, &bad));
		record_set(&bad, damages[i].at, damages[i].size, damages[i].value);
		row->state->fresh(rig);
		assert_int_equal(row->state->load(rig, &bad), damages[i].err);
	}
	rig_free(rig);
}

static void another_configuration_is_refused_by_name(void **state)
{
	const struct row *row = *state;
	struct rig *rig = built(row);
	struct record golden;

	assert_true(golden_read(file_name(row), MAJOR, version_now(rig, row), &golden));
	row->state->other(rig);
	assert_int_equal(row->state->load(rig, &golden), VMEMDEV_E_MISMATCH);
	rig_free(rig);
}

/* Queues. */

enum { VQ_SIZE = 8, VQ_FIELDS = 7 };

struct vq_row {
	const char *name;
	uint64_t features;
};

static const struct vq_row vq_rows[] = {
	{"vq-split", 0}, {"vq-packed", VMEMDEV_F_RING_PACKED},
	{"vq-packed-in-order", VMEMDEV_F_RING_PACKED | VMEMDEV_F_IN_ORDER}};

static void fields_of(const struct vmemdev_vq_state *state, struct record *record)
{
	const uint16_t fields[VQ_FIELDS] = {
		state->next_avail, state->next_used, state->busy, state->order_popped,
		state->order_pushed, state->avail_wrap, state->used_wrap};

	record->len = sizeof(fields);
	for (size_t i = 0; i < VQ_FIELDS; i++)
		record_set(record, 2 * i, 2, fields[i]);
}

static struct vmemdev_vq_state state_of(const struct record *record)
{
	assert_int_equal(record->len, 2 * VQ_FIELDS);
	return (struct vmemdev_vq_state){
		.next_avail = (uint16_t)record_get(record, 0, 2),
		.next_used = (uint16_t)record_get(record, 2, 2),
		.busy = (uint16_t)record_get(record, 4, 2),
		.order_popped = (uint16_t)record_get(record, 6, 2),
		.order_pushed = (uint16_t)record_get(record, 8, 2),
		.avail_wrap = (uint8_t)record_get(record, 10, 2),
		.used_wrap = (uint8_t)record_get(record, 12, 2)};
}

static void send_and_take(struct vmemdev_vq *vq, struct guest_queue *q, struct vmemdev_held *held)
{
	const struct vmemdev_buf bufs[] = {{DATA_GPA, 16, 0}, {DATA_GPA + 64, 16, 1}};
	struct vmemdev_chain chain;

	assert_true(guest_queue_add(q, bufs, 2, NULL) >= 0);
	guest_queue_publish(q);
	assert_int_equal(vmemdev_vq_pop(vq, &chain), 1);
	assert_int_equal(vmemdev_chain_finish(&chain, held), 0);
}

static void give_back(struct vmemdev_vq *vq, struct guest_queue *q,
		      const struct vmemdev_held *held)
{
	struct guest_used used;

	assert_int_equal(vmemdev_vq_push(vq, held, 16), 0);
	assert_true(vmemdev_vq_publish(vq) > 0);
	assert_int_equal(guest_queue_poll(q, &used), 1);
	assert_int_equal(used.id, held->id);
	assert_int_equal(used.len, 16);
}

/* 21 chains of two buffers went through, two are out. */
static void a_queue_goes_on_from_its_golden_state(void **state)
{
	const struct vq_row *row = *state;
	const struct guest_queue_config config = {.features = row->features, .size = VQ_SIZE};
	struct rig *rig = rig_bare(&ways[0]);
	struct guest_queue q;
	struct vmemdev_vq vq;
	struct vmemdev_held held[2];
	struct vmemdev_vq_state at;
	struct record now, golden;

	guest_queue_open(&q, &rig->memory, &config);
	assert_int_equal(vmemdev_vq_init(&vq, sizeof(vq), &rig->memory.guest, VQ_SIZE), 0);
	assert_int_equal(vmemdev_vq_enable(&vq, &q.layout, row->features), 0);
	for (uint32_t i = 0; i < 21; i++) {
		send_and_take(&vq, &q, &held[0]);
		give_back(&vq, &q, &held[0]);
	}
	send_and_take(&vq, &q, &held[0]);
	send_and_take(&vq, &q, &held[1]);
	assert_int_equal(vmemdev_vq_save(&vq, &at), 0);
	fields_of(&at, &now);
	if (!golden_read(row->name, MAJOR, 0, &golden))
		assert_true(golden_write(row->name, MAJOR, 0, "21 chains done, 2 taken", &now));
	assert_true(golden_read(row->name, MAJOR, 0, &golden));
	assert_int_equal(now.len, golden.len);
	assert_memory_equal(now.bytes, golden.bytes, golden.len);

	memset(&vq, 0x5a, sizeof(vq));
	at = state_of(&golden);
	assert_int_equal(vmemdev_vq_init(&vq, sizeof(vq), &rig->memory.guest, VQ_SIZE), 0);
	assert_int_equal(vmemdev_vq_load(&vq, &q.layout, row->features, &at), 0);
	give_back(&vq, &q, &held[0]);
	give_back(&vq, &q, &held[1]);
	send_and_take(&vq, &q, &held[0]);
	give_back(&vq, &q, &held[0]);
	guest_queue_close(&q);
	rig_free(rig);
}

#define TEST_ROW(f, n, text) {#f " (" text ")", f, NULL, NULL, (void *)(uintptr_t)&rows[n]}
#define TEST_TYPES(f) \
	TEST_ROW(f, 0, "balloon, split"), TEST_ROW(f, 1, "balloon, packed"), \
	TEST_ROW(f, 2, "mem, split"), TEST_ROW(f, 3, "mem, packed"), \
	TEST_ROW(f, 4, "pmem, split"), TEST_ROW(f, 5, "pmem, packed")
#define TEST_ROWS(f) TEST_TYPES(f), TEST_ROW(f, 6, "mmio")
#define TEST_VQ(f, n, text) {#f " (" text ")", f, NULL, NULL, (void *)(uintptr_t)&vq_rows[n]}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_ROWS(what_is_saved_is_the_newest_golden_record),
		TEST_ROWS(every_golden_record_loads_and_goes_on),
		TEST_ROWS(what_is_newer_or_of_another_device_is_refused_by_name),
		TEST_TYPES(another_configuration_is_refused_by_name),
		TEST_VQ(a_queue_goes_on_from_its_golden_state, 0, "split"),
		TEST_VQ(a_queue_goes_on_from_its_golden_state, 1, "packed"),
		TEST_VQ(a_queue_goes_on_from_its_golden_state, 2, "packed, in order"),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
