/* SPDX-License-Identifier: BSD-3-Clause */
/* What all device types share (VIRTIO 1.4, chapters 2, 3 and 6). */
#include "core/device.h"
#include "core/libc.h"
#include "core/vq.h"

#define DRIVER_BITS                                                                      \
	(VMEMDEV_STATUS_ACKNOWLEDGE | VMEMDEV_STATUS_DRIVER | VMEMDEV_STATUS_DRIVER_OK | \
	 VMEMDEV_STATUS_FEATURES_OK | VMEMDEV_STATUS_FAILED)

/* What a host may take away; what is not offered anyway may be named too. */
#define FEATURES_SPARED \
	(VMEMDEV_F_INDIRECT_DESC | VMEMDEV_F_EVENT_IDX | VMEMDEV_F_IN_ORDER | VMEMDEV_F_RING_RESET)

static uint64_t bit(uint16_t queue)
{
	return UINT64_C(1) << queue;
}

static uint16_t queue_size(const struct vmemdev_device_config *config)
{
	return config->queue_size != 0 ? config->queue_size : 128;
}

int device_check(const struct vmemdev_class *class, const struct vmemdev_device_config *config)
{
	if (config->guest == NULL || config->pad_[0] || config->pad_[1] || config->pad_[2])
		return VMEMDEV_E_INVAL;
	if (!split_size_ok(queue_size(config)))
		return VMEMDEV_E_SIZE;
	if ((config->features_on & ~(class->may_offer | class->offer)) ||
	    (config->features_off & ~FEATURES_SPARED) ||
	    (config->features_on & config->features_off))
		return VMEMDEV_E_FEATURE;
	return 0;
}

void device_init(struct vmemdev_device *dev, const struct vmemdev_class *class,
		 const struct vmemdev_device_config *config, uint64_t type_features,
		 struct vmemdev_vq *vqs, uint16_t count, uint32_t present)
{
	memset(dev, 0, sizeof(*dev));
	dev->class_ = class;
	dev->guest_ = config->guest;
	dev->vqs_ = vqs;
	dev->vq_count_ = count;
	dev->guest_error_ = config->guest_error;
	dev->ctx_ = config->ctx;
	dev->offered_ = type_features | VMEMDEV_F_VERSION_1 | config->features_on |
			(class->offer & ~config->features_off);
	for (uint16_t i = 0; i < count; i++) {
		if (present & bit(i))
			(void)vmemdev_vq_init(&vqs[i], sizeof(vqs[i]), config->guest,
					      queue_size(config));
	}
}

int vmemdev_device_attach(struct vmemdev_device *dev, const struct vmemdev_transport_ops *ops,
			  void *ctx, uint64_t features)
{
	if (dev == NULL || ops == NULL || ops->queue_interrupt == NULL ||
	    ops->config_interrupt == NULL || ops->reset == NULL)
		return VMEMDEV_E_INVAL;
	if (dev->transport_ != NULL || dev->status_ != 0)
		return VMEMDEV_E_STATE;
	if (!(features & VMEMDEV_F_VERSION_1))
		return VMEMDEV_E_FEATURE;
	dev->transport_ = ops;
	dev->transport_ctx_ = ctx;
	dev->offered_ &= features;
	return 0;
}

uint32_t vmemdev_device_id(const struct vmemdev_device *dev)
{
	return dev->class_->id;
}

uint16_t vmemdev_device_queue_count(const struct vmemdev_device *dev)
{
	return dev->vq_count_;
}

static uint32_t feature_word(uint64_t features, uint32_t word)
{
	return word < 2 ? (uint32_t)(features >> (32 * word)) : 0;
}

uint32_t vmemdev_device_features(const struct vmemdev_device *dev, uint32_t word)
{
	return feature_word(dev->offered_, word);
}

uint32_t vmemdev_device_accepted(const struct vmemdev_device *dev, uint32_t word)
{
	return feature_word(dev->accepted_, word);
}

void vmemdev_device_accept(struct vmemdev_device *dev, uint32_t word, uint32_t bits)
{
	uint64_t mask;

	if (dev->inside_ || (dev->status_ & VMEMDEV_STATUS_FEATURES_OK))
		return;
	if (word >= 2) {
		/* Nothing is offered there, so any bit spoils the whole set (2.2.1). */
		dev->accepted_bad_ |= bits != 0;
		return;
	}
	mask = UINT64_C(0xffffffff) << (32 * word);
	dev->accepted_ = (dev->accepted_ & ~mask) | (uint64_t)bits << (32 * word);
}

uint8_t vmemdev_device_status(const struct vmemdev_device *dev)
{
	return dev->status_;
}

bool device_live(const struct vmemdev_device *dev)
{
	/* 2.1, 2.1.2: FAILED means that the driver gave up. */
	const uint8_t dead = VMEMDEV_STATUS_NEEDS_RESET | VMEMDEV_STATUS_FAILED;

	return (dev->status_ & VMEMDEV_STATUS_DRIVER_OK) && !(dev->status_ & dead);
}

static void config_interrupt(struct vmemdev_device *dev)
{
	uint8_t inside = dev->inside_;

	if (dev->transport_ == NULL)
		return;
	dev->inside_ = 1;
	dev->transport_->config_interrupt(dev->transport_ctx_);
	dev->inside_ = inside;
}

void device_config_changed(struct vmemdev_device *dev)
{
	dev->config_stale_ = 1;
	/* Nothing may be sent before DRIVER_OK (2.4.1): keep it until then. */
	if (dev->status_ & VMEMDEV_STATUS_DRIVER_OK)
		config_interrupt(dev);
	else
		dev->config_held_ = 1;
}

/* Refusing VERSION_1 or ACCESS_PLATFORM would make every address mean something else. */
bool device_features_ok(const struct vmemdev_device *dev)
{
	uint64_t required = VMEMDEV_F_VERSION_1 | (dev->offered_ & VMEMDEV_F_ACCESS_PLATFORM);

	if (dev->accepted_bad_ || (dev->accepted_ & ~dev->offered_))
		return false;
	if ((dev->accepted_ & required) != required)
		return false;
	return dev->class_->features_ok == NULL || dev->class_->features_ok(dev, dev->accepted_);
}

void device_kick_all(struct vmemdev_device *dev)
{
	for (uint16_t i = 0; i < dev->vq_count_; i++)
		vmemdev_device_kick(dev, i);
}

static void start(struct vmemdev_device *dev)
{
	if (dev->class_->start != NULL)
		dev->class_->start(dev);
	/* Queues may have been filled before DRIVER_OK, and their kicks came too early. */
	device_kick_all(dev);
	if (dev->config_held_) {
		dev->config_held_ = 0;
		config_interrupt(dev);
	}
}

void vmemdev_device_set_status(struct vmemdev_device *dev, uint8_t status)
{
	uint8_t added;

	if (dev->inside_)
		return;
	if (status == 0) {
		vmemdev_device_reset(dev);
		return;
	}
	added = status & DRIVER_BITS & (uint8_t)~dev->status_;
	if ((added & VMEMDEV_STATUS_FEATURES_OK) && !device_features_ok(dev))
		added &= (uint8_t)~VMEMDEV_STATUS_FEATURES_OK;
	if (!((dev->status_ | added) & VMEMDEV_STATUS_FEATURES_OK))
		added &= (uint8_t)~VMEMDEV_STATUS_DRIVER_OK;
	dev->status_ |= added;
	if (added & VMEMDEV_STATUS_DRIVER_OK)
		start(dev);
}

void device_forget_driver(struct vmemdev_device *dev)
{
	dev->status_ = 0;
	dev->accepted_ = 0;
	dev->accepted_bad_ = 0;
	dev->kicked_ = 0;
	dev->fault_ = 0;
	dev->config_held_ = 0;
}

void vmemdev_device_reset(struct vmemdev_device *dev)
{
	if (dev->inside_)
		return;
	dev->inside_ = 1;
	for (uint16_t i = 0; i < dev->vq_count_; i++) {
		if (dev->class_->queue_reset != NULL)
			dev->class_->queue_reset(dev, i);
		if (dev->vqs_[i].size_max_ > 0)
			vmemdev_vq_reset(&dev->vqs_[i]);
	}
	if (dev->class_->reset != NULL)
		dev->class_->reset(dev);
	device_forget_driver(dev);
	if (dev->transport_ != NULL)
		dev->transport_->reset(dev->transport_ctx_);
	dev->inside_ = 0;
}

int vmemdev_device_system_reset(struct vmemdev_device *dev)
{
	int err = 0;

	if (dev->inside_ || (dev->class_->waiting != NULL && dev->class_->waiting(dev)))
		return VMEMDEV_E_STATE;
	vmemdev_device_reset(dev);
	dev->inside_ = 1;
	if (dev->class_->system_reset != NULL)
		err = dev->class_->system_reset(dev);
	dev->inside_ = 0;
	return err;
}

void vmemdev_device_config_read(const struct vmemdev_device *dev, uint32_t offset, void *dst,
				uint32_t len)
{
	uint32_t size = dev->class_->config_size;
	uint8_t config[DEVICE_CONFIG_MAX];

	memset(dst, 0, len);
	if (offset >= size)
		return;
	memset(config, 0, sizeof(config));
	dev->class_->config_read(dev, config);
	memcpy(dst, config + offset, len < size - offset ? len : size - offset);
}

void vmemdev_device_config_write(struct vmemdev_device *dev, uint32_t offset, const void *src,
				 uint32_t len)
{
	uint32_t size = dev->class_->config_size;

	if (dev->inside_ || dev->class_->config_write == NULL || offset >= size)
		return;
	dev->inside_ = 1;
	dev->class_->config_write(dev, offset, src, len < size - offset ? len : size - offset);
	dev->inside_ = 0;
}

/*
 * Stepping at the next look, and not at each change, makes 256 changes between two
 * looks differ too, where a transport shows only eight bits (4.1.4.3.1).
 */
uint32_t vmemdev_device_config_generation(struct vmemdev_device *dev)
{
	if (dev->config_stale_) {
		dev->config_stale_ = 0;
		dev->generation_++;
	}
	return dev->generation_;
}

static struct vmemdev_vq *queue_at(const struct vmemdev_device *dev, uint16_t queue)
{
	if (queue >= dev->vq_count_ || dev->vqs_[queue].size_max_ == 0)
		return NULL;
	return &dev->vqs_[queue];
}

uint16_t vmemdev_device_queue_size_max(const struct vmemdev_device *dev, uint16_t queue)
{
	const struct vmemdev_vq *vq = queue_at(dev, queue);

	return vq != NULL ? vq->size_max_ : 0;
}

struct vmemdev_vq_layout *vmemdev_device_queue_layout(struct vmemdev_device *dev, uint16_t queue)
{
	struct vmemdev_vq *vq = queue_at(dev, queue);

	return vq != NULL && !vq->enabled_ && !dev->inside_ ? &vq->layout_ : NULL;
}

/* @state NULL: from the start. */
static int enable_at(struct vmemdev_device *dev, uint16_t queue,
		     const struct vmemdev_vq_state *state)
{
	struct vmemdev_vq *vq = queue_at(dev, queue);
	int err;

	if (vq == NULL)
		return VMEMDEV_E_INVAL;
	/* The ring's format is known only once features are settled (3.1.1). */
	if (dev->inside_ || !(dev->status_ & VMEMDEV_STATUS_FEATURES_OK))
		return VMEMDEV_E_STATE;
	if (state == NULL)
		err = vmemdev_vq_enable(vq, &vq->layout_, dev->accepted_);
	else
		err = vmemdev_vq_load(vq, &vq->layout_, dev->accepted_, state);
	if (err == 0 && device_live(dev))
		dev->kicked_ |= (uint32_t)bit(queue);
	return err;
}

int vmemdev_device_queue_enable(struct vmemdev_device *dev, uint16_t queue)
{
	return enable_at(dev, queue, NULL);
}

int vmemdev_device_queue_resume(struct vmemdev_device *dev, uint16_t queue,
				const struct vmemdev_vq_state *state)
{
	return state != NULL ? enable_at(dev, queue, state) : VMEMDEV_E_INVAL;
}

bool vmemdev_device_queue_enabled(const struct vmemdev_device *dev, uint16_t queue)
{
	const struct vmemdev_vq *vq = queue_at(dev, queue);

	return vq != NULL && vq->enabled_;
}

void vmemdev_device_queue_reset(struct vmemdev_device *dev, uint16_t queue)
{
	struct vmemdev_vq *vq = queue_at(dev, queue);

	if (vq == NULL || dev->inside_)
		return;
	dev->inside_ = 1;
	if (dev->class_->queue_reset != NULL)
		dev->class_->queue_reset(dev, queue);
	dev->inside_ = 0;
	vmemdev_vq_reset(vq);
	dev->kicked_ &= ~(uint32_t)bit(queue);
}

int vmemdev_device_queue_stop(struct vmemdev_device *dev, uint16_t queue,
			      struct vmemdev_vq_state *state)
{
	struct vmemdev_vq *vq = queue_at(dev, queue);
	int err;

	if (vq == NULL || state == NULL)
		return VMEMDEV_E_INVAL;
	if (dev->inside_ || !vq->enabled_)
		return VMEMDEV_E_STATE;
	if (vq->broken_ != 0)
		return vq->broken_;
	err = dev->class_->queue_stop(dev, queue);
	if (err != 0)
		return err;
	/* What is staged has overwritten its descriptors, if packed: nobody can take it again. */
	dev->inside_ = 1;
	err = device_publish(dev, queue);
	dev->inside_ = 0;
	if (err != 0)
		return err;
	vq_rewound(vq, state);
	vmemdev_vq_reset(vq);
	dev->kicked_ &= ~(uint32_t)bit(queue);
	return 0;
}

bool vmemdev_device_shm(const struct vmemdev_device *dev, uint8_t id, struct vmemdev_range *range)
{
	return dev->class_->shm != NULL && dev->class_->shm(dev, id, range);
}

void vmemdev_device_kick(struct vmemdev_device *dev, uint16_t queue)
{
	/* A kick that comes too early is not lost: start() looks at each queue. */
	if (device_live(dev) && vmemdev_device_queue_enabled(dev, queue))
		dev->kicked_ |= (uint32_t)bit(queue);
}

bool vmemdev_device_pending(const struct vmemdev_device *dev)
{
	return dev->kicked_ != 0 && device_live(dev);
}

int device_fail(struct vmemdev_device *dev, int err, uint16_t queue)
{
	dev->fault_ = (int8_t)err;
	dev->status_ |= VMEMDEV_STATUS_NEEDS_RESET;
	dev->kicked_ = 0;
	if (dev->status_ & VMEMDEV_STATUS_DRIVER_OK)
		config_interrupt(dev);
	if (dev->guest_error_ != NULL) {
		uint8_t inside = dev->inside_;

		dev->inside_ = 1;
		dev->guest_error_(dev->ctx_, err, queue);
		dev->inside_ = inside;
	}
	return err;
}

/* One visit to each queue that was kicked. */
static int visit_queues(struct vmemdev_device *dev, uint32_t *budget)
{
	int left;

	for (uint16_t i = 0; i < dev->vq_count_; i++) {
		if (!(dev->kicked_ & bit(i)))
			continue;
		dev->kicked_ &= ~(uint32_t)bit(i);
		if (!dev->vqs_[i].enabled_)
			continue;
		left = dev->class_->process(dev, i, budget);
		if (left < 0)
			return device_fail(dev, left, i);
		if (left > 0)
			dev->kicked_ |= (uint32_t)bit(i);
	}
	return dev->kicked_ != 0;
}

int vmemdev_device_run(struct vmemdev_device *dev, uint32_t budget)
{
	int left;

	if (dev->inside_)
		return VMEMDEV_E_STATE;
	if (budget == 0)
		return VMEMDEV_E_INVAL;
	if (dev->fault_ != 0)
		return dev->fault_;
	if (!device_live(dev))
		return 0;
	dev->inside_ = 1;
	left = visit_queues(dev, &budget);
	dev->inside_ = 0;
	return left;
}

int device_publish(struct vmemdev_device *dev, uint16_t queue)
{
	struct vmemdev_vq *vq = &dev->vqs_[queue];
	int published = vmemdev_vq_publish(vq);

	if (published <= 0)
		return published;
	if (vmemdev_vq_should_notify(vq) && dev->transport_ != NULL)
		dev->transport_->queue_interrupt(dev->transport_ctx_, queue);
	return 0;
}

int vmemdev_device_fault(const struct vmemdev_device *dev)
{
	return dev->fault_;
}
