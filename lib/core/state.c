/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Saved devices. A record is a header, what all devices have, what the device type adds,
 * and its queues:
 *
 *     the header (core/record.h)
 *     le64 accepted features  le32 generation  u8 status  u8 fault  u8 flags  u8 queues
 *     the device type's part
 *     a queue: u8 flags  u8 wrap  le16 next used  le16 staged  le16 flags of the first
 *              le32 size  le64 desc, driver, device
 *
 * Chains that were taken and not pushed are not in it: devices push their chains in ring
 * order, so the positions say all, and the rest is taken again. What is staged stays so:
 * on a packed ring its descriptors are overwritten.
 * A minor version may add to the end of the record; what a reader does not know there it
 * refuses to drop. Nothing in a record is believed.
 */
#include "core/device.h"
#include "core/libc.h"
#include "core/record.h"
#include "core/vq.h"

enum {
	MAGIC = 0x44564d56, /* "VMVD" */
	COMMON = 16,
	QUEUE = 36,
	FLAG_CONFIG_HELD = 1,
	FLAG_ACCEPTED_BAD = 2,
	QUEUE_ENABLED = 1,
	QUEUE_WRAP = 1
};

size_t vmemdev_device_save_size(const struct vmemdev_device *dev)
{
	size_t size = RECORD_HEADER + COMMON + QUEUE * (size_t)dev->vq_count_;

	return size + dev->class_->save_size(dev);
}

static void put_queue(struct record_out *out, const struct vmemdev_device *dev,
		      const struct vmemdev_vq *vq)
{
	const struct vmemdev_vq_layout *layout = &vq->layout_;
	/* Nobody will see what a stopped device had staged. */
	uint16_t staged = dev->fault_ == 0 ? vq->staged_ : 0;
	struct vmemdev_vq_state state;

	vq_rewound(vq, &state);
	record_put8(out, vq->enabled_ ? QUEUE_ENABLED : 0);
	record_put8(out, state.used_wrap ? QUEUE_WRAP : 0);
	record_put16(out, state.next_used);
	record_put16(out, staged);
	record_put16(out, staged > 0 ? vq->first_flags_ : 0);
	record_put32(out, layout->size);
	record_put64(out, layout->desc);
	record_put64(out, layout->driver);
	record_put64(out, layout->device);
}

static void put_common(struct record_out *out, const struct vmemdev_device *dev)
{
	uint8_t flags = 0;

	if (dev->config_held_)
		flags |= FLAG_CONFIG_HELD;
	if (dev->accepted_bad_)
		flags |= FLAG_ACCEPTED_BAD;
	record_put64(out, dev->accepted_);
	/* As if looked at: then the next look steps it, should it be stale. */
	record_put32(out, dev->generation_ + dev->config_stale_);
	record_put8(out, dev->status_);
	record_put8(out, (uint8_t)-dev->fault_);
	record_put8(out, flags);
	record_put8(out, (uint8_t)dev->vq_count_);
}

int vmemdev_device_save(const struct vmemdev_device *dev, void *dst, size_t size, size_t *len)
{
	struct record_out out;

	if (dst == NULL || len == NULL)
		return VMEMDEV_E_INVAL;
	if (dev->inside_ || (dev->class_->savable != NULL && !dev->class_->savable(dev)))
		return VMEMDEV_E_STATE;
	if (size < vmemdev_device_save_size(dev))
		return VMEMDEV_E_NOSPC;
	record_begin(&out, dst, size);
	put_common(&out, dev);
	dev->class_->save(dev, &out);
	for (uint16_t i = 0; i < dev->vq_count_; i++)
		put_queue(&out, dev, &dev->vqs_[i]);
	if (out.full)
		return VMEMDEV_E_NOSPC;
	*len = out.done;
	record_end(&out, MAGIC, dev->class_->id);
	return 0;
}

static bool status_possible(uint8_t status, int8_t fault)
{
	const uint8_t known = VMEMDEV_STATUS_ACKNOWLEDGE | VMEMDEV_STATUS_DRIVER |
			      VMEMDEV_STATUS_DRIVER_OK | VMEMDEV_STATUS_FEATURES_OK |
			      VMEMDEV_STATUS_NEEDS_RESET | VMEMDEV_STATUS_FAILED;
	const uint8_t running = VMEMDEV_STATUS_DRIVER_OK;

	if ((status & ~known) || ((status & running) && !(status & VMEMDEV_STATUS_FEATURES_OK)))
		return false;
	if (fault == 0)
		return !(status & VMEMDEV_STATUS_NEEDS_RESET);
	return (status & VMEMDEV_STATUS_NEEDS_RESET) && fault <= VMEMDEV_E_GUEST_RING &&
	       fault >= VMEMDEV_E_GUEST_REPLY;
}

static int get_common(struct record_in *in, struct vmemdev_device *dev)
{
	uint64_t accepted = record_get64(in);
	uint32_t generation = record_get32(in);
	uint8_t status = record_get8(in);
	int8_t fault = (int8_t)-record_get8(in);
	uint8_t flags = record_get8(in);

	if (record_get8(in) != dev->vq_count_ || in->bad)
		return in->bad ? VMEMDEV_E_RECORD : VMEMDEV_E_MISMATCH;
	if ((flags & ~(FLAG_CONFIG_HELD | FLAG_ACCEPTED_BAD)) || !status_possible(status, fault))
		return VMEMDEV_E_RECORD;
	dev->accepted_ = accepted;
	dev->accepted_bad_ = (flags & FLAG_ACCEPTED_BAD) != 0;
	/* A set that this device would have refused comes from one with other features. */
	if ((status & VMEMDEV_STATUS_FEATURES_OK) && !device_features_ok(dev))
		return VMEMDEV_E_MISMATCH;
	dev->generation_ = generation;
	dev->status_ = status;
	dev->fault_ = fault;
	dev->config_held_ = (flags & FLAG_CONFIG_HELD) != 0;
	return 0;
}

/* Have @vq go on at @state. Returns as get_queue(). */
static int enable(struct vmemdev_device *dev, struct vmemdev_vq *vq,
		  const struct vmemdev_vq_state *state, uint16_t staged, uint16_t first_flags,
		  int *fault)
{
	const struct vmemdev_vq_layout layout = vq->layout_;
	int err;

	if (!(dev->status_ & VMEMDEV_STATUS_FEATURES_OK) || (staged > 0 && !dev->class_->stages))
		return VMEMDEV_E_RECORD;
	if (layout.size > vq->size_max_)
		return VMEMDEV_E_MISMATCH;
	if (!vq_layout_possible(&layout, dev->accepted_))
		return VMEMDEV_E_RECORD;
	if (dev->fault_ != 0) {
		vq_park(vq, &layout, state, dev->fault_);
		return staged == 0 && first_flags == 0 ? 0 : VMEMDEV_E_RECORD;
	}
	err = vmemdev_vq_load(vq, &layout, dev->accepted_, state);
	if (err == VMEMDEV_E_GUEST_RING) {
		*fault = err;
		vq_park(vq, &layout, state, err);
		return 0;
	}
	return err == 0 && vq_restage(vq, staged, first_flags) ? 0 : VMEMDEV_E_RECORD;
}

/*
 * Returns 0; VMEMDEV_E_RECORD; VMEMDEV_E_MISMATCH: there is no such queue, or not so large a
 * one. What the guest is to be told, as its ring is gone, is in *fault.
 */
static int get_queue(struct record_in *in, struct vmemdev_device *dev, struct vmemdev_vq *vq,
		     int *fault)
{
	uint8_t flags = record_get8(in), wrap = record_get8(in);
	struct vmemdev_vq_state state = { 0 };
	struct vmemdev_vq_layout layout = { 0 };
	uint16_t staged, first_flags;

	state.next_used = state.next_avail = record_get16(in);
	staged = record_get16(in);
	first_flags = record_get16(in);
	state.used_wrap = state.avail_wrap = wrap & QUEUE_WRAP;
	layout.size = record_get32(in);
	layout.desc = record_get64(in);
	layout.driver = record_get64(in);
	layout.device = record_get64(in);
	if (in->bad || (flags & ~QUEUE_ENABLED) || (wrap & ~QUEUE_WRAP))
		return VMEMDEV_E_RECORD;
	if (vq->size_max_ == 0)
		return flags == 0 ? 0 : VMEMDEV_E_MISMATCH;
	vq->layout_ = layout;
	return flags & QUEUE_ENABLED ? enable(dev, vq, &state, staged, first_flags, fault) : 0;
}

static int get_all(struct record_in *in, struct vmemdev_device *dev, int *fault)
{
	int err = record_get_header(in, MAGIC, dev->class_->id);

	if (err == 0)
		err = get_common(in, dev);
	if (err == 0)
		err = dev->class_->load(dev, in);
	for (uint16_t i = 0; i < dev->vq_count_ && err == 0; i++)
		err = get_queue(in, dev, &dev->vqs_[i], fault);
	if (err == 0 && (in->bad || in->done < in->len))
		err = VMEMDEV_E_RECORD;
	return err;
}

/* A load was refused: nothing is left for the driver to meet. The host is told nothing. */
static void forget(struct vmemdev_device *dev)
{
	for (uint16_t i = 0; i < dev->vq_count_; i++) {
		if (dev->vqs_[i].size_max_ > 0)
			vmemdev_vq_reset(&dev->vqs_[i]);
	}
	device_forget_driver(dev);
	if (dev->class_->unload != NULL)
		dev->class_->unload(dev);
}

int vmemdev_device_load(struct vmemdev_device *dev, const void *src, size_t len)
{
	struct record_in in = { src, len, 0, false };
	int fault = 0, err;

	if (src == NULL)
		return VMEMDEV_E_INVAL;
	if (dev->inside_ || dev->status_ != 0 ||
	    (dev->class_->fresh != NULL && !dev->class_->fresh(dev)))
		return VMEMDEV_E_STATE;
	err = get_all(&in, dev, &fault);
	if (err != 0) {
		forget(dev);
		return err;
	}
	dev->config_stale_ = 0;
	if (fault != 0)
		(void)device_fail(dev, fault, VMEMDEV_NO_QUEUE);
	else
		device_kick_all(dev);
	return 0;
}
