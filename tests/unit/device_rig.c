/* SPDX-License-Identifier: BSD-3-Clause */
#include "device_rig.h"

const struct way ways[4] = {{false, false}, {false, true}, {true, false}, {true, true}};

#define SLOT_STRIDE 128

/* The host side. */

static struct host_call *record(struct rig *rig, enum host_op op)
{
	struct host_call *call = &rig->host.calls[rig->host.count % HOST_CALLS];

	assert_true(rig->window || op == HOST_ACTUAL || op == HOST_ROUND);
	memset(call, 0, sizeof(*call));
	call->op = op;
	rig->host.count++;
	return call;
}

static int record_ranges(struct rig *rig, enum host_op op, const struct vmemdev_range *ranges,
			 uint32_t count, uint64_t token)
{
	struct host_call *call = record(rig, op);
	uint32_t n = count < HOST_RANGES ? count : HOST_RANGES;

	assert_true(count > 0);
	call->count = count;
	call->token = token;
	call->live = ranges;
	memcpy(call->ranges, ranges, n * sizeof(*ranges));
	rig->host.token = token;
	if (rig->host.hook)
		rig->host.hook(rig, call);
	return rig->host.answer;
}

static void record_value(struct rig *rig, enum host_op op, uint64_t value)
{
	struct host_call *call = record(rig, op);

	call->value = value;
	if (rig->host.hook)
		rig->host.hook(rig, call);
}

static int on_inflate(void *ctx, const struct vmemdev_range *ranges, uint32_t count,
		      uint64_t token)
{
	return record_ranges(ctx, HOST_INFLATE, ranges, count, token);
}

static int on_deflate(void *ctx, const struct vmemdev_range *ranges, uint32_t count,
		      uint64_t token)
{
	return record_ranges(ctx, HOST_DEFLATE, ranges, count, token);
}

static void on_actual(void *ctx, uint64_t bytes)
{
	record_value(ctx, HOST_ACTUAL, bytes);
}

static void on_cancel(void *ctx, uint64_t token)
{
	struct rig *rig = ctx;

	rig->host.cancelled = token;
	rig->host.cancels++;
}

static int on_report(void *ctx, const struct vmemdev_range *ranges, uint32_t count,
		     uint64_t token)
{
	return record_ranges(ctx, HOST_REPORT, ranges, count, token);
}

static void on_hint(void *ctx, const struct vmemdev_range *ranges, uint32_t count)
{
	struct rig *rig = ctx;

	record_ranges(rig, HOST_HINT, ranges, count, rig->host.token);
}

static void on_round(void *ctx, enum vmemdev_balloon_round round)
{
	record_value(ctx, HOST_ROUND, round);
}

static uint64_t on_stats(void *ctx)
{
	struct rig *rig = ctx;

	record_value(rig, HOST_STATS, rig->host.clock);
	return rig->host.clock;
}

static void on_unknown_stat(void *ctx, uint16_t tag, uint64_t value)
{
	struct rig *rig = ctx;
	struct host_call *call = record(rig, HOST_UNKNOWN_STAT);

	call->tag = tag;
	call->value = value;
}

static int on_plug(void *ctx, const struct vmemdev_range *ranges, uint32_t count, uint64_t token)
{
	return record_ranges(ctx, HOST_PLUG, ranges, count, token);
}

static int on_unplug(void *ctx, const struct vmemdev_range *ranges, uint32_t count,
		     uint64_t token)
{
	return record_ranges(ctx, HOST_UNPLUG, ranges, count, token);
}

static void on_plugged(void *ctx, uint64_t bytes)
{
	record_value(ctx, HOST_PLUGGED, bytes);
}

static int on_flush(void *ctx, uint64_t token)
{
	struct rig *rig = ctx;
	struct host_call *call = record(rig, HOST_FLUSH);

	call->token = token;
	rig->host.token = token;
	if (rig->host.hook)
		rig->host.hook(rig, call);
	return rig->host.answer;
}

static void on_guest_error(void *ctx, int err, uint16_t queue)
{
	struct rig *rig = ctx;

	rig->errors++;
	rig->last_error = err;
	rig->last_error_queue = queue;
}

static void on_interrupt(void *ctx, bool config, uint16_t queue)
{
	struct rig *rig = ctx;

	(void)queue;
	if (rig->irq_hook)
		rig->irq_hook(rig, config);
}

const struct vmemdev_balloon_ops rig_balloon_ops = {
	.inflate = on_inflate,
	.deflate = on_deflate,
	.report = on_report,
	.hint = on_hint,
	.round = on_round,
	.stats = on_stats,
	.unknown_stat = on_unknown_stat,
	.cancel = on_cancel,
	.actual = on_actual,
};
const struct vmemdev_mem_ops rig_mem_ops = {
	.plug = on_plug, .unplug = on_unplug, .plugged = on_plugged};
const struct vmemdev_pmem_ops rig_pmem_ops = {.flush = on_flush};

const struct host_call *host_call(struct rig *rig, uint32_t n)
{
	assert_true(n < rig->host.count);
	assert_true(rig->host.count - n <= HOST_CALLS);
	return &rig->host.calls[n % HOST_CALLS];
}

const struct host_call *host_last(struct rig *rig)
{
	assert_true(rig->host.count > 0);
	return host_call(rig, rig->host.count - 1);
}

void host_forget(struct rig *rig)
{
	rig->host.count = 0;
}

uint32_t host_count(struct rig *rig, enum host_op op)
{
	uint32_t total = rig->host.count < HOST_CALLS ? rig->host.count : HOST_CALLS;
	uint32_t found = 0;

	for (uint32_t i = 0; i < total; i++)
		found += rig->host.calls[i].op == op;
	return found;
}

/* Making and unmaking. */

static void common_config(struct rig *rig, struct vmemdev_device_config *config)
{
	config->guest = &rig->memory.guest;
	config->guest_error = on_guest_error;
	config->ctx = rig;
	config->features_on = rig->way.packed ? VMEMDEV_F_RING_PACKED : 0;
}

void rig_balloon_config(struct rig *rig, struct vmemdev_balloon_config *config)
{
	memset(config, 0, sizeof(*config));
	config->struct_size = sizeof(*config);
	config->range_count = VMEMDEV_BALLOON_RANGES;
	config->ranges = rig->scratch;
	config->ops = &rig_balloon_ops;
	config->ctx = rig;
	common_config(rig, &config->device);
}

void rig_balloon_full_config(struct rig *rig, struct vmemdev_balloon_config *config)
{
	rig_balloon_config(rig, config);
	config->stats = true;
	config->hinting = true;
	config->reporting = true;
}

void rig_mem_config(struct rig *rig, struct vmemdev_mem_config *config)
{
	memset(config, 0, sizeof(*config));
	config->struct_size = sizeof(*config);
	config->addr = MEM_GPA;
	config->region_size = MEM_REGION;
	config->block_size = MEM_BLOCK;
	config->slack = MEM_SLACK;
	config->bitmap = rig->bitmap;
	config->bitmap_words = ARRAY_LEN(rig->bitmap);
	config->ops = &rig_mem_ops;
	config->ctx = rig;
	common_config(rig, &config->device);
}

void rig_pmem_config(struct rig *rig, struct vmemdev_pmem_config *config)
{
	memset(config, 0, sizeof(*config));
	config->struct_size = sizeof(*config);
	config->request_count = PMEM_REQUESTS;
	config->requests = rig->requests;
	config->addr = PMEM_GPA;
	config->size = PMEM_SIZE;
	config->ops = &rig_pmem_ops;
	config->ctx = rig;
	common_config(rig, &config->device);
}

struct rig *rig_bare(const struct way *way)
{
	const struct guest_region ram = {.gpa = RAM_GPA, .len = RAM_SIZE};

	return rig_bare_regions(way, &ram, 1);
}

struct rig *rig_bare_regions(const struct way *way, const struct guest_region *regions,
			     uint32_t count)
{
	struct rig *rig = calloc(1, sizeof(*rig));

	assert_non_null(rig);
	rig->way = *way;
	rig->ring_features = way->packed ? VMEMDEV_F_RING_PACKED : 0;
	guest_memory_open(&rig->memory, GUEST_TABLE, regions, count);
	return rig;
}

void rig_show_spare(struct rig *rig, const struct guest_region *regions, uint32_t count)
{
	rig->table[0] = rig->memory.regions[0];
	assert_true(count < ARRAY_LEN(rig->table));
	for (uint32_t i = 0; i < count; i++) {
		rig->table[i + 1] = (struct vmemdev_region){
			.gpa = regions[i].gpa,
			.len = regions[i].len,
			.host = (void *)(uintptr_t)PAGE,
			.flags = regions[i].flags,
		};
	}
	assert_int_equal(vmemdev_guest_set_regions(&rig->memory.guest, rig->table, count + 1), 0);
}

static void connect_driver(struct rig *rig)
{
	enum guest_transport transport = rig->way.mmio ? GUEST_MMIO : GUEST_DIRECT;

	assert_int_equal(guest_driver_open(&rig->driver, &rig->memory, rig->dev, transport), 0);
	rig->driver.on_interrupt = on_interrupt;
	rig->driver.on_interrupt_ctx = rig;
	rig->connected = true;
}

void rig_make_balloon(struct rig *rig, const struct vmemdev_balloon_config *config)
{
	struct vmemdev_balloon_config plain;

	rig_balloon_config(rig, &plain);
	assert_int_equal(vmemdev_balloon_init(&rig->balloon, sizeof(rig->balloon),
					      config ? config : &plain), 0);
	rig->dev = vmemdev_balloon_device(&rig->balloon);
	connect_driver(rig);
}

void rig_make_mem(struct rig *rig, const struct vmemdev_mem_config *config)
{
	struct vmemdev_mem_config plain;

	rig_mem_config(rig, &plain);
	assert_int_equal(vmemdev_mem_init(&rig->mem, sizeof(rig->mem),
					  config ? config : &plain), 0);
	rig->dev = vmemdev_mem_device(&rig->mem);
	connect_driver(rig);
}

void rig_make_pmem(struct rig *rig, const struct vmemdev_pmem_config *config)
{
	struct vmemdev_pmem_config plain;

	rig_pmem_config(rig, &plain);
	assert_int_equal(vmemdev_pmem_init(&rig->pmem, sizeof(rig->pmem),
					   config ? config : &plain), 0);
	rig->dev = vmemdev_pmem_device(&rig->pmem);
	connect_driver(rig);
}

void rig_free(struct rig *rig)
{
	if (rig->connected)
		guest_driver_close(&rig->driver);
	guest_memory_close(&rig->memory);
	free(rig);
}

int rig_setup_bare(void **state)
{
	*state = rig_bare(*state);
	return 0;
}

int rig_setup_balloon(void **state)
{
	struct rig *rig = rig_bare(*state);

	rig_make_balloon(rig, NULL);
	*state = rig;
	return 0;
}

int rig_setup_mem(void **state)
{
	struct rig *rig = rig_bare(*state);

	rig_make_mem(rig, NULL);
	*state = rig;
	return 0;
}

int rig_setup_pmem(void **state)
{
	static const struct guest_region regions[] = {
		{.gpa = RAM_GPA, .len = RAM_SIZE},
		{.gpa = PMEM_GPA, .len = PMEM_SIZE, .flags = VMEMDEV_REGION_KEEP}};
	struct rig *rig = rig_bare_regions(*state, regions, 2);

	rig_make_pmem(rig, NULL);
	*state = rig;
	return 0;
}

int rig_setup_pmem_live(void **state)
{
	rig_setup_pmem(state);
	drv_start(*state, 0);
	return 0;
}

int rig_setup_balloon_live(void **state)
{
	rig_setup_balloon(state);
	drv_start(*state, 0);
	return 0;
}

int rig_setup_mem_live(void **state)
{
	rig_setup_mem(state);
	drv_start(*state, 0);
	return 0;
}

int rig_setup_balloon_full(void **state)
{
	struct rig *rig = rig_bare(*state);
	struct vmemdev_balloon_config config;

	rig_balloon_full_config(rig, &config);
	rig_make_balloon(rig, &config);
	*state = rig;
	return 0;
}

int rig_setup_balloon_full_live(void **state)
{
	rig_setup_balloon_full(state);
	drv_start(*state, BALLOON_FULL);
	return 0;
}

int rig_teardown(void **state)
{
	rig_free(*state);
	return 0;
}

/* The driver side. */

void drv_negotiate(struct rig *rig, uint64_t more)
{
	uint64_t features = VMEMDEV_F_VERSION_1 | rig->ring_features | more;

	rig->window = true;
	assert_true(guest_driver_negotiate(&rig->driver, features));
	rig->window = false;
}

void drv_open(struct rig *rig, uint16_t queue)
{
	assert_true(guest_driver_queue_open(&rig->driver, queue, 0));
}

void drv_start(struct rig *rig, uint64_t more)
{
	drv_negotiate(rig, more);
	for (uint16_t q = 0; q < vmemdev_device_queue_count(rig->dev); q++)
		if (guest_driver_queue_max(&rig->driver, q))
			drv_open(rig, q);
	drv_set_status(rig, DRV_LIVE);
	assert_int_equal(guest_driver_status(&rig->driver), DRV_LIVE);
}

uint16_t drv_role(struct rig *rig, enum guest_role role, enum guest_numbering numbering)
{
	return guest_balloon_queue(rig->driver.features, role, numbering);
}

void drv_start_numbered(struct rig *rig, uint64_t more, enum guest_numbering numbering)
{
	drv_negotiate(rig, more);
	for (int role = GUEST_INFLATE; role < GUEST_ROLES; role++) {
		uint16_t queue = drv_role(rig, (enum guest_role)role, numbering);

		if (queue != VMEMDEV_NO_QUEUE)
			drv_open(rig, queue);
	}
	drv_set_status(rig, DRV_LIVE);
	assert_int_equal(guest_driver_status(&rig->driver), DRV_LIVE);
}

void drv_set_status(struct rig *rig, uint8_t status)
{
	guest_driver_set_status(&rig->driver, status);
}

void drv_reset(struct rig *rig)
{
	guest_driver_reset(&rig->driver);
	assert_int_equal(guest_driver_status(&rig->driver), 0);
}

bool drv_took_queue_irq(struct rig *rig)
{
	uint32_t total = 0;
	bool came;

	guest_driver_interrupts(&rig->driver);
	for (int i = 0; i < VMEMDEV_QUEUES_MAX; i++)
		total += rig->driver.queue_interrupts[i];
	came = total != rig->seen_queue_irqs;
	rig->seen_queue_irqs = total;
	return came;
}

bool drv_took_config_irq(struct rig *rig)
{
	bool came;

	guest_driver_interrupts(&rig->driver);
	came = rig->driver.config_interrupts != rig->seen_config_irqs;
	rig->seen_config_irqs = rig->driver.config_interrupts;
	return came;
}

int drv_add(struct rig *rig, uint16_t queue, const struct vmemdev_buf *bufs, uint32_t count)
{
	int id = guest_queue_add(&rig->driver.queues[queue], bufs, count, NULL);

	assert_true(id >= 0);
	guest_queue_publish(&rig->driver.queues[queue]);
	return id;
}

void drv_kick(struct rig *rig, uint16_t queue)
{
	guest_driver_kick(&rig->driver, queue);
}

bool drv_used(struct rig *rig, uint16_t queue, struct guest_used *used)
{
	int got = guest_queue_poll(&rig->driver.queues[queue], used);

	assert_true(got >= 0);
	return got == 1;
}

uint32_t drv_used_count(struct rig *rig, uint16_t queue)
{
	struct guest_used used;
	uint32_t count = 0;

	while (drv_used(rig, queue, &used))
		count++;
	return count;
}

void drv_break(struct rig *rig, uint16_t queue)
{
	const struct vmemdev_buf bufs[2] = {
		{.gpa = DATA_GPA, .len = 16, .writable = 1},
		{.gpa = DATA_GPA + 64, .len = 32, .writable = 0}};

	drv_add(rig, queue, bufs, 2);
	drv_kick(rig, queue);
}

int rig_run(struct rig *rig)
{
	int err;

	rig->window = true;
	err = guest_driver_run(&rig->driver, 0);
	rig->window = false;
	return err;
}

int rig_step(struct rig *rig, uint32_t budget)
{
	int err;

	rig->window = true;
	err = vmemdev_device_run(rig->dev, budget);
	rig->window = false;
	return err;
}

int rig_complete(struct rig *rig, uint64_t token, int result)
{
	int err;

	rig->window = true;
	if (rig->dev == vmemdev_mem_device(&rig->mem))
		err = vmemdev_mem_complete(&rig->mem, token, result);
	else if (rig->dev == vmemdev_pmem_device(&rig->pmem))
		err = vmemdev_pmem_complete(&rig->pmem, token, result);
	else
		err = vmemdev_balloon_complete(&rig->balloon, token, result);
	rig->window = false;
	return err;
}

uint64_t ram_sum(struct rig *rig)
{
	uint64_t sum = UINT64_C(0xcbf29ce484222325);

	for (uint32_t i = 0; i < rig->memory.count; i++) {
		const struct vmemdev_region *region = &rig->memory.regions[i];
		const uint8_t *bytes = region->host;

		for (uint64_t k = 0; k < region->len; k += sizeof(sum)) {
			uint64_t word;

			memcpy(&word, bytes + k, sizeof(word));
			sum = (sum ^ word) * UINT64_C(0x100000001b3);
		}
	}
	return sum;
}

void put16(void *at, uint16_t value)
{
	uint8_t *byte = at;

	byte[0] = (uint8_t)value;
	byte[1] = (uint8_t)(value >> 8);
}

void put32(void *at, uint32_t value)
{
	uint8_t *byte = at;

	put16(byte, (uint16_t)value);
	put16(byte + 2, (uint16_t)(value >> 16));
}

void put64(void *at, uint64_t value)
{
	uint8_t *byte = at;

	put32(byte, (uint32_t)value);
	put32(byte + 4, (uint32_t)(value >> 32));
}

/* Balloon. */

int pages_post(struct rig *rig, uint16_t queue, const uint32_t *pfns, uint32_t count)
{
	uint64_t gpa = guest_place(&rig->memory, 4 * (uint64_t)count, 4);
	const struct vmemdev_buf buf = {.gpa = gpa, .len = 4 * count, .writable = 0};

	for (uint32_t i = 0; i < count; i++)
		guest_store32(&rig->memory, gpa + 4 * (uint64_t)i, pfns[i]);
	return drv_add(rig, queue, &buf, 1);
}

void pages_send(struct rig *rig, uint16_t queue, const uint32_t *pfns, uint32_t count)
{
	uint64_t mark = guest_place_mark(&rig->memory);
	struct guest_used used;
	int id = pages_post(rig, queue, pfns, count);

	drv_kick(rig, queue);
	assert_int_equal(rig_run(rig), 0);
	assert_true(drv_used(rig, queue, &used));
	assert_int_equal(used.id, id);
	assert_int_equal(used.len, 0);
	assert_false(used.written);
	guest_place_release(&rig->memory, mark);
}

int ranges_post(struct rig *rig, uint16_t queue, const struct vmemdev_range *ranges,
		uint32_t count)
{
	struct vmemdev_buf bufs[128];

	assert_true(count <= ARRAY_LEN(bufs));
	for (uint32_t i = 0; i < count; i++) {
		bufs[i] = (struct vmemdev_buf){
			.gpa = ranges[i].gpa, .len = (uint32_t)ranges[i].len, .writable = 1};
	}
	return drv_add(rig, queue, bufs, count);
}

/* virtio-mem. */

void request_make(struct request *request, uint16_t type, uint64_t addr, uint16_t blocks)
{
	memset(request, 0, sizeof(*request));
	request->len = 24;
	request->room = 10;
	put16(request->bytes, type);
	put64(request->bytes + 8, addr);
	put16(request->bytes + 16, blocks);
}

static uint64_t slot_gpa(uint32_t slot)
{
	return DATA_GPA + (uint64_t)slot * SLOT_STRIDE;
}

void request_post(struct rig *rig, uint32_t slot, const struct request *request)
{
	uint64_t gpa = slot_gpa(slot);
	const struct vmemdev_buf bufs[2] = {
		{.gpa = gpa, .len = request->len, .writable = 0},
		{.gpa = gpa + 64, .len = request->room, .writable = 1}};
	struct guest_add how = {.tag = slot};
	int id;

	assert_true(guest_write(&rig->memory, gpa, request->bytes, sizeof(request->bytes)));
	guest_fill(&rig->memory, gpa + 64, 0xa5, 32);
	id = guest_queue_add(&rig->driver.queues[0], bufs, request->room ? 2 : 1, &how);
	assert_true(id >= 0);
	guest_queue_publish(&rig->driver.queues[0]);
}

struct answer request_take(struct rig *rig, uint32_t slot)
{
	struct answer answer = {.type = -1};
	struct guest_used used;

	if (!drv_used(rig, 0, &used))
		return answer;
	assert_int_equal(used.tag, slot);
	assert_true(guest_read(&rig->memory, slot_gpa(slot) + 64, answer.bytes,
			       sizeof(answer.bytes)));
	answer.len = used.len;
	answer.type = answer.bytes[0] | answer.bytes[1] << 8;
	answer.state = (uint16_t)(answer.bytes[8] | answer.bytes[9] << 8);
	return answer;
}

struct answer request_send(struct rig *rig, const struct request *request)
{
	request_post(rig, 0, request);
	drv_kick(rig, 0);
	assert_int_equal(rig_run(rig), 0);
	return request_take(rig, 0);
}

struct answer mem_ask(struct rig *rig, uint16_t type, uint64_t addr, uint16_t blocks)
{
	struct request request;

	request_make(&request, type, addr, blocks);
	return request_send(rig, &request);
}

void mem_expect(struct rig *rig, uint16_t type, uint64_t addr, uint16_t blocks, int answer)
{
	assert_int_equal(mem_ask(rig, type, addr, blocks).type, answer);
}

struct vmemdev_mem_sizes mem_sizes(struct rig *rig)
{
	struct vmemdev_mem_sizes sizes;

	vmemdev_mem_get_sizes(&rig->mem, &sizes);
	return sizes;
}

void mem_want(struct rig *rig, uint64_t bytes)
{
	assert_int_equal(vmemdev_mem_set_requested(&rig->mem, bytes), 0);
}

bool mem_has_block(struct rig *rig, uint32_t block)
{
	struct vmemdev_range run;

	return vmemdev_mem_next(&rig->mem, BLOCK(block), true, &run) && run.gpa == BLOCK(block);
}

/* virtio-pmem. */

void flush_post_as(struct rig *rig, uint32_t slot, uint32_t type, uint32_t len, uint32_t room)
{
	uint64_t gpa = slot_gpa(slot);
	const struct vmemdev_buf bufs[2] = {
		{.gpa = gpa, .len = len, .writable = 0},
		{.gpa = gpa + 64, .len = room, .writable = 1}};
	struct guest_add how = {.tag = slot};
	uint32_t first = len > 0 ? 0 : 1, count = (len > 0 ? 1u : 0u) + (room > 0 ? 1u : 0u);

	guest_fill(&rig->memory, gpa, 0, 64);
	guest_store32(&rig->memory, gpa, type);
	guest_fill(&rig->memory, gpa + 64, 0xa5, 64);
	assert_true(guest_queue_add(&rig->driver.queues[0], bufs + first, count, &how) >= 0);
	guest_queue_publish(&rig->driver.queues[0]);
}

void flush_post(struct rig *rig, uint32_t slot)
{
	flush_post_as(rig, slot, 0, 4, 4);
	drv_kick(rig, 0);
}

uint32_t flush_take(struct rig *rig, uint32_t slot)
{
	uint64_t gpa = slot_gpa(slot) + 64;
	struct guest_used used;

	if (!drv_used(rig, 0, &used))
		return FLUSH_NONE;
	assert_int_equal(used.tag, slot);
	assert_true(used.skipped || used.len == 4);
	for (uint32_t i = 4; i < 64; i++) {
		uint8_t byte;

		assert_true(guest_read(&rig->memory, gpa + i, &byte, 1));
		assert_int_equal(byte, 0xa5);
	}
	return guest_load32(&rig->memory, gpa);
}

uint32_t flush_send(struct rig *rig)
{
	flush_post(rig, 0);
	assert_int_equal(rig_run(rig), 0);
	return flush_take(rig, 0);
}

void spoil_apply(const struct spoil *spoil, void *config)
{
	uint8_t *at = (uint8_t *)config + spoil->at;
	uint32_t value32 = (uint32_t)spoil->value;
	uint16_t value16 = (uint16_t)spoil->value;

	if (spoil->size == sizeof(value32))
		memcpy(at, &value32, sizeof(value32));
	else if (spoil->size == sizeof(value16))
		memcpy(at, &value16, sizeof(value16));
	else if (spoil->size == sizeof(spoil->value))
		memcpy(at, &spoil->value, sizeof(spoil->value));
	else
		memset(at, (int)spoil->value, spoil->size);
}
