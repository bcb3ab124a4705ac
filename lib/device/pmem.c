/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The persistent memory device (VIRTIO 1.4, 5.19): take the requests at hand, flush once,
 * answer them all in ring order. What arrives meanwhile stays in the ring.
 *
 * A kernel tells of lost writes once: the next flush may succeed with nothing left to write.
 * So a failure whose requests are gone (reset, or saved before they were answered) is owed
 * to the next ones, which ask for the same writes to last.
 */
#include "core/config.h"
#include "core/device.h"
#include "core/endian.h"
#include "core/libc.h"
#include "core/record.h"
#include "core/vq.h"

#include <vmemdev/pmem.h>

enum {
	QUEUES = 1,
	REQUEST_QUEUE = 0,
	CONFIG_SIZE = 16,
	SHM_ID = 0,
	REQ_FLUSH = 0,
	REQ_SIZE = 4,
	RESP_SIZE = 4,
	SAVE_SIZE = 20
};

#define RESP_OK 0
#define RESP_FAILED UINT32_MAX

static struct vmemdev_pmem *pmem_of(struct vmemdev_device *dev)
{
	return (struct vmemdev_pmem *)dev;
}

static const struct vmemdev_pmem *const_pmem_of(const struct vmemdev_device *dev)
{
	return (const struct vmemdev_pmem *)dev;
}

/*
 * Read a request and find room for its answer. Returns 0, or what stops the device; with
 * nowhere to put an answer there is nothing else to do.
 */
static int parse(struct vmemdev_chain *chain, struct vmemdev_pmem_request *req)
{
	uint8_t raw[REQ_SIZE];
	int32_t got, room;

	got = vmemdev_chain_read(chain, raw, sizeof(raw));
	if (got < 0 && got != VMEMDEV_E_GUEST_ADDR)
		return got;
	req->bad_ = got != REQ_SIZE || load_le32(raw) != REQ_FLUSH;
	room = vmemdev_chain_reserve(chain, &req->reply_, RESP_SIZE);
	if (room < 0)
		return room;
	if (room < RESP_SIZE)
		return VMEMDEV_E_GUEST_REPLY;
	return vmemdev_chain_finish(chain, &req->held_);
}

/* Take what is in the ring. Returns 1 if the budget ended it, 0 if not, or an error. */
static int gather(struct vmemdev_pmem *p, uint32_t *budget)
{
	struct vmemdev_chain chain;
	int got;

	while (p->request_count_ < p->request_max_) {
		if (*budget == 0)
			return 1;
		got = vmemdev_vq_pop(&p->vqs_[REQUEST_QUEUE], &chain);
		if (got <= 0)
			return got;
		(*budget)--;
		got = parse(&chain, &p->requests_[p->request_count_]);
		if (got != 0)
			return got;
		p->request_count_++;
	}
	/* There may be more, which the next flush is for. */
	return 1;
}

/* Answer one request. Returns 0 or an error. */
static int answer(struct vmemdev_pmem *p, const struct vmemdev_pmem_request *req, bool failed)
{
	uint8_t raw[RESP_SIZE];
	int err;

	if (req->bad_)
		p->counts_.refused++;
	else if (failed)
		p->counts_.failed++;
	else
		p->counts_.requests++;
	store_le32(raw, req->bad_ || failed ? RESP_FAILED : RESP_OK);
	err = vmemdev_reply_write(p->device_.guest_, &req->reply_, raw, sizeof(raw));
	if (err != 0)
		return err;
	return vmemdev_vq_push(&p->vqs_[REQUEST_QUEUE], &req->held_, sizeof(raw));
}

static bool any_flush(const struct vmemdev_pmem *p)
{
	for (uint32_t i = 0; i < p->request_count_; i++) {
		if (!p->requests_[i].bad_)
			return true;
	}
	return false;
}

/* The flush that all gathered requests were for has ended. Returns 0 or an error. */
static int answer_all(struct vmemdev_pmem *p, bool failed)
{
	int err = 0;

	if (any_flush(p)) {
		failed = failed || p->owed_;
		p->owed_ = 0;
	}
	for (uint32_t i = 0; i < p->request_count_ && err == 0; i++)
		err = answer(p, &p->requests_[i], failed);
	p->request_count_ = 0;
	if (err == 0)
		err = device_publish(&p->device_, REQUEST_QUEUE);
	if (err != 0)
		p->owed_ |= failed;
	return err;
}

/* Nobody waits for answers any more, be there a flush that goes on or not. */
static void forget(struct vmemdev_pmem *p)
{
	p->request_count_ = 0;
	p->owed_ |= p->ended_ && p->failed_;
	p->ended_ = 0;
}

/* A flush is for those who asked: elsewhere they could not be told that it failed. */
static int queue_stop(struct vmemdev_device *dev, uint16_t queue)
{
	struct vmemdev_pmem *p = pmem_of(dev);

	(void)queue;
	if (p->ended_ || (p->waiting_ && p->request_count_ > 0))
		return VMEMDEV_E_STATE;
	forget(p);
	return 0;
}

/* How a flush ends that nobody will ask for again, a record could not tell. */
static bool savable(const struct vmemdev_device *dev)
{
	const struct vmemdev_pmem *p = const_pmem_of(dev);

	return !p->waiting_ || (p->request_count_ > 0 && device_live(dev));
}

/* A flush that goes on, or a failure to be told, is the next driver's matter. */
static bool fresh(const struct vmemdev_device *dev)
{
	return !const_pmem_of(dev)->waiting_ && !const_pmem_of(dev)->owed_;
}

/* Flush for what is gathered. Returns what the host answered. */
static int flush(struct vmemdev_pmem *p)
{
	int result;

	if (!any_flush(p))
		return 0;
	p->counts_.host_calls++;
	p->token_++;
	result = p->ops_->flush(p->ctx_, p->token_);
	if (result != VMEMDEV_LATER)
		p->counts_.host_failures += result != 0;
	return result;
}

static int process(struct vmemdev_device *dev, uint16_t queue, uint32_t *budget)
{
	struct vmemdev_pmem *p = pmem_of(dev);
	int left = 1, result, err;

	(void)queue;
	if (p->ended_) {
		p->ended_ = 0;
		err = answer_all(p, p->failed_);
		if (err != 0)
			return err;
	}
	while (!p->waiting_ && left > 0 && *budget > 0) {
		left = gather(p, budget);
		if (left < 0)
			return left;
		result = flush(p);
		if (result == VMEMDEV_LATER) {
			p->waiting_ = 1;
			break;
		}
		err = answer_all(p, result != 0);
		if (err != 0)
			return err;
	}
	return p->waiting_ ? 0 : left;
}

/* The driver's requests are gone. A flush that goes on is waited for. */
static void queue_reset(struct vmemdev_device *dev, uint16_t queue)
{
	(void)queue;
	forget(pmem_of(dev));
}

/* 5.19.5: before it is settled how the range is told, both ways tell it. */
static void config_read(const struct vmemdev_device *dev, uint8_t *config)
{
	const struct vmemdev_pmem *p = const_pmem_of(dev);

	if ((dev->status_ & VMEMDEV_STATUS_FEATURES_OK) &&
	    (dev->accepted_ & VMEMDEV_PMEM_F_SHMEM_REGION))
		return;
	store_le64(config, p->addr_);
	store_le64(config + 8, p->size_);
}

static bool shm(const struct vmemdev_device *dev, uint8_t id, struct vmemdev_range *range)
{
	const struct vmemdev_pmem *p = const_pmem_of(dev);

	if (id != SHM_ID || !(dev->offered_ & VMEMDEV_PMEM_F_SHMEM_REGION))
		return false;
	range->gpa = p->addr_;
	range->len = p->size_;
	return true;
}

/* Requests that wait are still in the queue, and a flush can be asked for again. */
static size_t save_size(const struct vmemdev_device *dev)
{
	(void)dev;
	return SAVE_SIZE;
}

static void save(const struct vmemdev_device *dev, struct record_out *out)
{
	const struct vmemdev_pmem *p = const_pmem_of(dev);

	record_put64(out, p->addr_);
	record_put64(out, p->size_);
	record_put32(out, p->owed_ || (p->ended_ && p->failed_));
}

static int load(struct vmemdev_device *dev, struct record_in *in)
{
	struct vmemdev_pmem *p = pmem_of(dev);
	uint64_t addr = record_get64(in), size = record_get64(in);
	uint32_t owed = record_get_upto(in, 1);

	if (in->bad)
		return VMEMDEV_E_RECORD;
	if (addr != p->addr_ || size != p->size_)
		return VMEMDEV_E_MISMATCH;
	p->owed_ = owed != 0;
	return 0;
}

_Static_assert(CONFIG_SIZE <= DEVICE_CONFIG_MAX, "configuration space");

static const struct vmemdev_class class = {
	.id = 27,
	.config_size = CONFIG_SIZE,
	.may_offer = VMEMDEV_F_RING_PACKED | VMEMDEV_F_IN_ORDER | VMEMDEV_F_NOTIFICATION_DATA |
		     VMEMDEV_F_ACCESS_PLATFORM,
	.offer = VMEMDEV_F_INDIRECT_DESC | VMEMDEV_F_EVENT_IDX | VMEMDEV_F_RING_RESET,
	.config_read = config_read,
	.process = process,
	.queue_reset = queue_reset,
	.queue_stop = queue_stop,
	.fresh = fresh,
	.savable = savable,
	.save_size = save_size,
	.save = save,
	.load = load,
	.shm = shm,
};

static int check_config(const struct vmemdev_pmem_config *config)
{
	if (config->ops == NULL || config->ops->flush == NULL || config->requests == NULL)
		return VMEMDEV_E_INVAL;
	if (!config_zero(config->pad_, sizeof(config->pad_)))
		return VMEMDEV_E_INVAL;
	if (config->request_count == 0 || config->size == 0 || config->size % 4096 != 0 ||
	    config->size - 1 > UINT64_MAX - config->addr)
		return VMEMDEV_E_SIZE;
	if (config->addr % 4096 != 0)
		return VMEMDEV_E_ALIGN;
	return device_check(&class, &config->device);
}

int vmemdev_pmem_init(struct vmemdev_pmem *pmem, size_t pmem_size,
		      const struct vmemdev_pmem_config *config)
{
	struct vmemdev_pmem_config given;
	int err;

	if (pmem == NULL)
		return VMEMDEV_E_INVAL;
	if (pmem_size != sizeof(*pmem))
		return VMEMDEV_E_ABI;
	err = config_take(&given, sizeof(given), sizeof(given), config);
	if (err == 0)
		err = check_config(&given);
	if (err != 0)
		return err;

	memset(pmem, 0, sizeof(*pmem));
	device_init(&pmem->device_, &class, &given.device,
		    given.shmem_region ? VMEMDEV_PMEM_F_SHMEM_REGION : 0, pmem->vqs_, QUEUES, 1);
	pmem->ops_ = given.ops;
	pmem->ctx_ = given.ctx;
	pmem->requests_ = given.requests;
	pmem->request_max_ = given.request_count;
	pmem->addr_ = given.addr;
	pmem->size_ = given.size;
	return 0;
}

struct vmemdev_device *vmemdev_pmem_device(struct vmemdev_pmem *pmem)
{
	return &pmem->device_;
}

void vmemdev_pmem_region(const struct vmemdev_pmem *pmem, void *host, bool read_only,
			 struct vmemdev_region *region)
{
	memset(region, 0, sizeof(*region));
	region->gpa = pmem->addr_;
	region->len = pmem->size_;
	region->host = host;
	region->flags = VMEMDEV_REGION_KEEP | (read_only ? VMEMDEV_REGION_READONLY : 0);
}

void vmemdev_pmem_get_counts(const struct vmemdev_pmem *pmem, struct vmemdev_pmem_counts *counts)
{
	*counts = pmem->counts_;
}

int vmemdev_pmem_complete(struct vmemdev_pmem *pmem, uint64_t token, int result)
{
	struct vmemdev_device *dev = &pmem->device_;

	if (result > 0)
		return VMEMDEV_E_INVAL;
	if (dev->inside_ || !pmem->waiting_ || token != pmem->token_)
		return VMEMDEV_E_STATE;
	pmem->waiting_ = 0;
	pmem->counts_.host_failures += result != 0;
	if (pmem->request_count_ > 0) {
		pmem->ended_ = 1;
		pmem->failed_ = result != 0;
	} else {
		pmem->owed_ |= result != 0;
	}
	vmemdev_device_kick(dev, REQUEST_QUEUE);
	return 0;
}
