/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The memory device (VIRTIO 1.4, 5.15): one request at a time, checked against the
 * block bitmap, done by the host, then recorded, then answered.
 */
#include "core/config.h"
#include "core/libc.h"
#include "device/mem_parts.h"

enum {
	QUEUES = 1,
	REQUEST_QUEUE = 0,
	CONFIG_SIZE = 56,

	/* 5.15.6: requests and responses. */
	REQ_PLUG = 0,
	REQ_UNPLUG = 1,
	REQ_UNPLUG_ALL = 2,
	REQ_STATE = 3,
	REQ_SIZE = 24,
	RESP_ACK = 0,
	RESP_NACK = 1,
	RESP_BUSY = 2,
	RESP_ERROR = 3,
	RESP_SIZE = 10,
	STATE_PLUGGED = 0,
	STATE_UNPLUGGED = 1,
	STATE_MIXED = 2,
	HELD = 4 /* no response yet: the host answered LATER */
};

static const uint64_t default_slack = UINT64_C(256) << 20;
static const uint64_t default_guest_block = UINT64_C(128) << 20;

struct request {
	uint16_t type;
	uint64_t addr;
	uint16_t blocks;
};

/* How far the guest may reach while @requested is asked of it: AMB-18 in our rulings. */
static uint64_t usable_for(const struct vmemdev_mem *m, uint64_t requested)
{
	uint64_t reach = requested + m->slack_; /* init has bounded both */

	return reach < m->region_size_ ? reach : m->region_size_;
}

/* 5.15.6.3.2: aligned, not empty, inside the usable region, without overflow. */
static bool find_span(const struct vmemdev_mem *m, const struct request *req, struct span *span)
{
	uint64_t offset = req->addr - m->addr_;

	if (req->addr < m->addr_ || (offset & (bytes(m, 1) - 1)) != 0 || req->blocks == 0)
		return false;
	span->first = offset >> m->block_shift_;
	span->end = span->first + req->blocks;
	return span->end <= usable_blocks(m);
}

static bool all_are(const struct vmemdev_mem *m, struct span span, bool plugged)
{
	return bitmap_run_end(m->bitmap_, span.first, span.end, plugged) == span.end;
}

/* All plugged runs, the last range covering what does not fit (see mem.h). */
static uint32_t plugged_ranges(struct vmemdev_mem *m)
{
	/* If the sum is 0, there is nothing to look for. */
	uint64_t end = m->plugged_ > 0 ? usable_blocks(m) : 0;
	struct span run = { 0, 0 }, hull;
	uint32_t count = 0;

	while (next_run(m, run.end, end, true, &run)) {
		if (count < VMEMDEV_MEM_RANGES) {
			hull = run;
			count++;
		}
		hull.end = run.end;
		m->ranges_[count - 1] = range_of(m, hull);
	}
	return count;
}

/* The host has done it: record it. A span is empty for "all". */
static void record(struct vmemdev_mem *m, uint16_t type, struct span span)
{
	bool revoked = type != REQ_PLUG && m->plugged_ > 0;

	if (type == REQ_PLUG) {
		bitmap_fill(m->bitmap_, span.first, span.end, true);
		m->plugged_ += bytes(m, span.end - span.first);
	} else if (type == REQ_UNPLUG) {
		bitmap_fill(m->bitmap_, span.first, span.end, false);
		m->plugged_ -= bytes(m, span.end - span.first);
	} else {
		if (revoked)
			bitmap_fill(m->bitmap_, 0, usable_blocks(m), false);
		m->plugged_ = 0;
		/* The one moment at which the usable region may shrink (5.15.4.2). */
		m->usable_ = usable_for(m, m->requested_);
	}
	/* Two halves of a 64-bit field may be read around this, but nobody is notified. */
	m->device_.config_stale_ = 1;
	/* Rings in blocks that went away must be noticed before they are used again. */
	if (revoked)
		vmemdev_guest_changed(m->device_.guest_);
	if (m->ops_->plugged != NULL)
		m->ops_->plugged(m->ctx_, m->plugged_);
}

/* Have the host do it. Returns what it answered; 0 if there is nothing for it to do. */
static int ask_host(struct vmemdev_mem *m, uint16_t type, struct span span)
{
	int (*op)(void *, const struct vmemdev_range *, uint32_t, uint64_t) =
		type == REQ_PLUG ? m->ops_->plug : m->ops_->unplug;
	uint32_t count = 1;

	if (type == REQ_UNPLUG_ALL)
		count = plugged_ranges(m);
	else
		m->ranges_[0] = range_of(m, span);
	if (op == NULL || count == 0)
		return 0;
	m->counts_.host_calls++;
	m->token_++;
	return op(m->ctx_, m->ranges_, count, m->token_);
}

/* A listener refused what the host has brought: the host is to take it away again. */
static void undo_plug(struct vmemdev_mem *m)
{
	m->counts_.host_calls++;
	m->token_++;
	m->counts_.host_failures += m->ops_->unplug(m->ctx_, m->ranges_, 1, m->token_) != 0;
}

/* The host has answered @result. Returns the response type. */
static uint16_t settle(struct vmemdev_mem *m, uint16_t type, struct span span, int result)
{
	const struct span all = { 0, usable_blocks(m) };

	if (result == 0 && type == REQ_PLUG && listeners_plug(m, span) != 0) {
		undo_plug(m);
		result = VMEMDEV_E_HOST;
	}
	if (result != 0) {
		m->counts_.host_failures++;
		return RESP_BUSY;
	}
	if (type != REQ_PLUG && m->plugged_ > 0)
		listeners_unplug(m, type == REQ_UNPLUG_ALL ? all : span);
	record(m, type, span);
	return RESP_ACK;
}

/* Change the blocks of a request. Returns the response type, or HELD. */
static uint16_t change(struct vmemdev_mem *m, uint16_t type, struct span span)
{
	int result = ask_host(m, type, span);

	if (result != VMEMDEV_LATER)
		return settle(m, type, span, result);
	m->waiting_ = 1;
	m->request_ = type;
	m->first_ = span.first;
	m->end_ = span.end;
	return HELD;
}

static uint16_t state_of(const struct vmemdev_mem *m, struct span span)
{
	if (all_are(m, span, true))
		return STATE_PLUGGED;
	return all_are(m, span, false) ? STATE_UNPLUGGED : STATE_MIXED;
}

/* Whether this plug was waiting for the host when the device was saved. */
static bool was_admitted(const struct vmemdev_mem *m, struct span span)
{
	return m->admitted_ && m->request_ == REQ_PLUG && m->first_ == span.first &&
	       m->end_ == span.end;
}

/*
 * 5.15.6.3 to 5.15.6.6. Errors come first, then NACK, then the host's BUSY. Returns the
 * response type, or HELD.
 */
static uint16_t serve(struct vmemdev_mem *m, const struct request *req, uint16_t *state)
{
	struct span span = { 0, 0 };

	if (req->type > REQ_STATE)
		return RESP_ERROR;
	if (req->type == REQ_UNPLUG_ALL)
		return change(m, REQ_UNPLUG_ALL, span);
	if (!find_span(m, req, &span))
		return RESP_ERROR;
	if (req->type == REQ_STATE) {
		*state = state_of(m, span);
		return RESP_ACK;
	}
	if (!all_are(m, span, req->type == REQ_UNPLUG))
		return RESP_ERROR;
	/* The guest may hold more than is requested of it now: no difference is taken. */
	if (req->type == REQ_PLUG && !was_admitted(m, span) &&
	    m->plugged_ + bytes(m, span.end - span.first) > m->requested_)
		return RESP_NACK;
	return change(m, req->type, span);
}

static void count_answer(struct vmemdev_mem *m, uint16_t request, uint16_t response)
{
	if (response == RESP_NACK)
		m->counts_.nack++;
	else if (response == RESP_BUSY)
		m->counts_.busy++;
	else if (response == RESP_ERROR)
		m->counts_.error++;
	else if (request == REQ_PLUG)
		m->counts_.plug++;
	else if (request == REQ_UNPLUG)
		m->counts_.unplug++;
	else if (request == REQ_UNPLUG_ALL)
		m->counts_.unplug_all++;
	else
		m->counts_.state++;
}

/* Write the response and stage the request as used. Returns 0 or an error. */
static int answer(struct vmemdev_mem *m, uint16_t request, uint16_t response, uint16_t state)
{
	uint8_t raw[RESP_SIZE] = { 0 };
	int err;

	count_answer(m, request, response);
	store_le16(raw, response);
	store_le16(raw + 8, state);
	err = vmemdev_reply_write(m->device_.guest_, &m->reply_, raw, sizeof(raw));
	if (err != 0)
		return err;
	return vmemdev_vq_push(&m->vqs_[REQUEST_QUEUE], &m->held_, sizeof(raw));
}

/*
 * Read the request and find room for its answer. Returns 1 if it can be served, 0 if
 * it can only be answered with ERROR, or what stops the device.
 */
static int parse(struct vmemdev_mem *m, struct vmemdev_chain *chain, struct request *req)
{
	uint8_t raw[REQ_SIZE];
	int32_t got, room;
	int err;

	got = vmemdev_chain_read(chain, raw, sizeof(raw));
	if (got < 0 && got != VMEMDEV_E_GUEST_ADDR)
		return got;
	room = vmemdev_chain_reserve(chain, &m->reply_, RESP_SIZE);
	if (room < 0)
		return room;
	if (room < RESP_SIZE)
		return VMEMDEV_E_GUEST_REPLY;
	err = vmemdev_chain_finish(chain, &m->held_);
	if (err != 0)
		return err;
	if (got != (int32_t)sizeof(raw)) {
		req->type = UINT16_MAX;
		return 0;
	}
	req->type = load_le16(raw);
	req->addr = load_le64(raw + 8);
	req->blocks = load_le16(raw + 16);
	return 1;
}

/* Serve one request. Returns 1, 0 if there is none, or an error. */
static int serve_one(struct vmemdev_mem *m)
{
	struct vmemdev_chain chain;
	struct request req = { 0 };
	uint16_t response = RESP_ERROR, state = 0;
	int got = vmemdev_vq_pop(&m->vqs_[REQUEST_QUEUE], &chain);

	if (got <= 0)
		return got;
	got = parse(m, &chain, &req);
	if (got < 0)
		return got;
	if (got > 0)
		response = serve(m, &req, &state);
	m->admitted_ = 0;
	if (response == HELD)
		return 1;
	got = answer(m, req.type, response, state);
	return got != 0 ? got : 1;
}

static int process(struct vmemdev_device *dev, uint16_t queue, uint32_t *budget)
{
	struct vmemdev_mem *m = mem_of(dev);
	int got = 1, err;

	while (!m->waiting_ && *budget > 0) {
		got = serve_one(m);
		if (got < 0)
			return got;
		if (got == 0)
			break;
		(*budget)--;
	}
	err = device_publish(dev, queue);
	if (err != 0)
		return err;
	return m->waiting_ ? 0 : got;
}

/* The guest's request is gone, but the host's work goes on and will be recorded. */
static void queue_reset(struct vmemdev_device *dev, uint16_t queue)
{
	struct vmemdev_mem *m = mem_of(dev);

	(void)queue;
	m->admitted_ = 0;
	m->orphan_ = m->waiting_;
}

static int queue_stop(struct vmemdev_device *dev, uint16_t queue)
{
	(void)queue;
	/* Work that goes on would be done twice when its request is taken again. */
	return mem_of(dev)->waiting_ ? VMEMDEV_E_STATE : 0;
}

static bool waiting(const struct vmemdev_device *dev)
{
	return const_mem_of(dev)->waiting_;
}

/* What is plugged, or told to somebody, would be lost track of. */
static bool fresh(const struct vmemdev_device *dev)
{
	const struct vmemdev_mem *m = const_mem_of(dev);

	return !m->waiting_ && m->listeners_ == NULL && m->plugged_ == 0;
}

/* Work whose request is gone, or is not looked at again, whoever loads could not ask for. */
static bool savable(const struct vmemdev_device *dev)
{
	const struct vmemdev_mem *m = const_mem_of(dev);

	return !m->orphan_ && (!m->waiting_ || device_live(dev));
}

/* 5.15.6.2: here, and only here, blocks are unplugged without a request. */
static int system_reset(struct vmemdev_device *dev)
{
	struct vmemdev_mem *m = mem_of(dev);
	const struct span all = { 0, 0 };
	int result = ask_host(m, REQ_UNPLUG_ALL, all);

	if (settle(m, REQ_UNPLUG_ALL, all, result) == RESP_ACK)
		return 0;
	return result < 0 ? result : VMEMDEV_E_BUSY;
}

static void config_read(const struct vmemdev_device *dev, uint8_t *config)
{
	const struct vmemdev_mem *m = const_mem_of(dev);

	store_le64(config, bytes(m, 1));
	store_le16(config + 8, m->node_);
	store_le64(config + 16, m->addr_);
	store_le64(config + 24, m->region_size_);
	store_le64(config + 32, m->usable_);
	store_le64(config + 40, m->plugged_);
	store_le64(config + 48, m->requested_);
}

static bool features_ok(const struct vmemdev_device *dev, uint64_t accepted)
{
	const struct vmemdev_mem *m = const_mem_of(dev);

	return !m->inaccessible_ || (accepted & VMEMDEV_MEM_F_UNPLUGGED_INACCESSIBLE);
}

_Static_assert(CONFIG_SIZE <= DEVICE_CONFIG_MAX, "configuration space");

/* No reset: blocks stay as they are (5.15.5.2). */
static const struct vmemdev_class class = {
	.id = 24,
	.config_size = CONFIG_SIZE,
	.may_offer =
		VMEMDEV_F_RING_PACKED | VMEMDEV_F_NOTIFICATION_DATA | VMEMDEV_F_ACCESS_PLATFORM,
	.offer = VMEMDEV_F_INDIRECT_DESC | VMEMDEV_F_EVENT_IDX | VMEMDEV_F_IN_ORDER |
		 VMEMDEV_F_RING_RESET,
	.config_read = config_read,
	.features_ok = features_ok,
	.process = process,
	.queue_reset = queue_reset,
	.queue_stop = queue_stop,
	.waiting = waiting,
	.fresh = fresh,
	.savable = savable,
	.save_size = mem_save_size,
	.save = mem_save,
	.load = mem_load,
	.unload = mem_unload,
	.system_reset = system_reset,
};

/* log2 of a power of two, without a library call. */
static uint32_t shift_of(uint64_t size)
{
	uint32_t shift = 0;

	while (size >> shift > 1)
		shift++;
	return shift;
}

static bool sizes_ok(uint64_t region_size, uint64_t block_size)
{
	if (block_size < VMEMDEV_MEM_BLOCK_MIN || block_size > VMEMDEV_MEM_BLOCK_MAX ||
	    (block_size & (block_size - 1)) != 0)
		return false;
	return region_size > 0 && region_size <= VMEMDEV_MEM_REGION_MAX &&
	       (region_size & (block_size - 1)) == 0;
}

size_t vmemdev_mem_bitmap_words(uint64_t region_size, uint64_t block_size)
{
	if (!sizes_ok(region_size, block_size))
		return 0;
	return (size_t)(((region_size >> shift_of(block_size)) + 63) >> 6);
}

static int check_config(const struct vmemdev_mem_config *config)
{
	uint64_t guest_block = config->guest_block != 0 ? config->guest_block : default_guest_block;

	if (config->ops == NULL || config->ops->unplug == NULL || config->bitmap == NULL)
		return VMEMDEV_E_INVAL;
	if (!config_zero(config->pad_, sizeof(config->pad_)))
		return VMEMDEV_E_INVAL;
	/* Linux cuts the number of blocks to 16 bits without a look. */
	if (!sizes_ok(config->region_size, config->block_size) ||
	    guest_block > VMEMDEV_MEM_REGION_MAX ||
	    (guest_block - 1) / 65535 >= config->block_size ||
	    config->region_size > UINT64_MAX - config->addr ||
	    config->slack > VMEMDEV_MEM_REGION_MAX)
		return VMEMDEV_E_SIZE;
	if ((config->addr & (config->block_size - 1)) != 0)
		return VMEMDEV_E_ALIGN;
	if (config->bitmap_words <
	    vmemdev_mem_bitmap_words(config->region_size, config->block_size))
		return VMEMDEV_E_NOSPC;
	return device_check(&class, &config->device);
}

int vmemdev_mem_init(struct vmemdev_mem *mem, size_t mem_size,
		     const struct vmemdev_mem_config *config)
{
	struct vmemdev_mem_config given;
	uint64_t features = VMEMDEV_MEM_F_UNPLUGGED_INACCESSIBLE;
	uint64_t slack;
	int err;

	if (mem == NULL)
		return VMEMDEV_E_INVAL;
	if (mem_size != sizeof(*mem))
		return VMEMDEV_E_ABI;
	err = config_take(&given, sizeof(given), sizeof(given), config);
	if (err == 0)
		err = check_config(&given);
	if (err != 0)
		return err;

	if (given.has_node)
		features |= VMEMDEV_MEM_F_ACPI_PXM;
	if (given.persistent_suspend)
		features |= VMEMDEV_MEM_F_PERSISTENT_SUSPEND;
	memset(mem, 0, sizeof(*mem));
	device_init(&mem->device_, &class, &given.device, features, mem->vqs_, QUEUES, 1);
	mem->ops_ = given.ops;
	mem->ctx_ = given.ctx;
	mem->bitmap_ = given.bitmap;
	mem->addr_ = given.addr;
	mem->region_size_ = given.region_size;
	mem->block_shift_ = shift_of(given.block_size);
	slack = given.slack != 0 ? given.slack : default_slack;
	mem->slack_ = (slack + given.block_size - 1) & ~(given.block_size - 1);
	mem->usable_ = usable_for(mem, 0);
	/* Optional fields of features that are not offered read 0 (2.5). */
	mem->node_ = given.has_node ? given.node : 0;
	mem->inaccessible_ = given.unplugged_inaccessible;
	/* All of its words, as the last one's rest is saved too. */
	bitmap_fill(mem->bitmap_, 0,
		    64 * vmemdev_mem_bitmap_words(given.region_size, given.block_size), false);
	return 0;
}

struct vmemdev_device *vmemdev_mem_device(struct vmemdev_mem *mem)
{
	return &mem->device_;
}

void vmemdev_mem_region(const struct vmemdev_mem *mem, void *host, struct vmemdev_region *region)
{
	memset(region, 0, sizeof(*region));
	region->gpa = mem->addr_;
	region->len = mem->region_size_;
	region->host = host;
	region->blocks = mem->bitmap_;
	region->block_shift = mem->block_shift_;
}

int vmemdev_mem_set_requested(struct vmemdev_mem *mem, uint64_t bytes_wanted)
{
	uint64_t usable;

	if (mem->device_.inside_)
		return VMEMDEV_E_STATE;
	if (bytes_wanted > mem->region_size_)
		return VMEMDEV_E_SIZE;
	if ((bytes_wanted & (bytes(mem, 1) - 1)) != 0)
		return VMEMDEV_E_ALIGN;
	if (bytes_wanted == mem->requested_)
		return 0;
	/* Both fields change in one generation, and the usable region never shrinks here. */
	usable = usable_for(mem, bytes_wanted);
	if (usable > mem->usable_)
		mem->usable_ = usable;
	mem->requested_ = bytes_wanted;
	device_config_changed(&mem->device_);
	return 0;
}

void vmemdev_mem_get_sizes(const struct vmemdev_mem *mem, struct vmemdev_mem_sizes *sizes)
{
	sizes->region = mem->region_size_;
	sizes->usable = mem->usable_;
	sizes->requested = mem->requested_;
	sizes->plugged = mem->plugged_;
}

void vmemdev_mem_get_counts(const struct vmemdev_mem *mem, struct vmemdev_mem_counts *counts)
{
	*counts = mem->counts_;
}

bool vmemdev_mem_next(const struct vmemdev_mem *mem, uint64_t from, bool plugged,
		      struct vmemdev_range *run)
{
	uint64_t end = mem->region_size_ >> mem->block_shift_;
	uint64_t offset = from > mem->addr_ ? from - mem->addr_ : 0;
	uint64_t cut = offset & (bytes(mem, 1) - 1);
	struct span found;

	if (offset >= mem->region_size_ ||
	    !next_run(mem, offset >> mem->block_shift_, end, plugged, &found))
		return false;
	*run = range_of(mem, found);
	if (found.first == offset >> mem->block_shift_) {
		run->gpa += cut;
		run->len -= cut;
	}
	return true;
}

int vmemdev_mem_complete(struct vmemdev_mem *mem, uint64_t token, int result)
{
	struct vmemdev_device *dev = &mem->device_;
	struct span span = { mem->first_, mem->end_ };
	uint8_t orphan = mem->orphan_;
	uint16_t response;
	int err;

	if (result > 0)
		return VMEMDEV_E_INVAL;
	if (dev->inside_ || !mem->waiting_ || token != mem->token_)
		return VMEMDEV_E_STATE;
	dev->inside_ = 1;
	mem->waiting_ = 0;
	mem->orphan_ = 0;
	response = settle(mem, mem->request_, span, result);
	if (!orphan && device_live(dev)) {
		err = answer(mem, mem->request_, response, 0);
		if (err == 0)
			err = device_publish(dev, REQUEST_QUEUE);
		if (err != 0)
			(void)device_fail(dev, err, REQUEST_QUEUE);
	}
	dev->inside_ = 0;
	vmemdev_device_kick(dev, REQUEST_QUEUE);
	return 0;
}
