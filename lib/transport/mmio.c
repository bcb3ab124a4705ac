/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The virtio-mmio register block, version 2 (VIRTIO 1.4, 4.2.2): a table of registers,
 * each with what a read and a write of it do.
 */
#include "core/config.h"
#include "core/endian.h"
#include "core/libc.h"
#include "core/record.h"

#include <vmemdev/mmio.h>

enum {
	REGISTERS_END = 0x100,
	MAGIC = 0x74726976,
	VERSION = 2,
	INTERRUPT_QUEUE = 1,
	INTERRUPT_CONFIG = 2,
	RECORD_MAGIC = 0x4d4d4d56 /* "VMMM" */
};

enum part { PART_DESC, PART_DRIVER, PART_DEVICE };

/* SR_IOV, NOTIF_CONFIG_DATA and ADMIN_VQ have no means of being used here (4.2.5). */
static const uint64_t features_possible =
	~(UINT64_C(1) << 37 | UINT64_C(1) << 39 | UINT64_C(1) << 41);

/* The selected queue's number, or one that no device has. */
static uint16_t selected(const struct vmemdev_mmio *m)
{
	return m->queue_sel_ < VMEMDEV_QUEUES_MAX ? (uint16_t)m->queue_sel_ : VMEMDEV_NO_QUEUE;
}

static bool negotiated(const struct vmemdev_mmio *m, uint64_t feature)
{
	uint64_t accepted = vmemdev_device_accepted(m->device_, 0) |
			    (uint64_t)vmemdev_device_accepted(m->device_, 1) << 32;

	return (vmemdev_device_status(m->device_) & VMEMDEV_STATUS_FEATURES_OK) &&
	       (accepted & feature);
}

static void interrupt(struct vmemdev_mmio *m, uint32_t bit)
{
	m->interrupts_ |= bit;
	m->interrupt_(m->ctx_, true);
}

static void acknowledge(struct vmemdev_mmio *m, uint32_t bits)
{
	uint32_t before = m->interrupts_;

	m->interrupts_ &= ~bits;
	if (before != 0 && m->interrupts_ == 0)
		m->interrupt_(m->ctx_, false);
}

static uint32_t read_magic(struct vmemdev_mmio *m)
{
	(void)m;
	return MAGIC;
}

static uint32_t read_version(struct vmemdev_mmio *m)
{
	(void)m;
	return VERSION;
}

static uint32_t read_device_id(struct vmemdev_mmio *m)
{
	return vmemdev_device_id(m->device_);
}

static uint32_t read_vendor(struct vmemdev_mmio *m)
{
	return m->vendor_;
}

static uint32_t read_features(struct vmemdev_mmio *m)
{
	return vmemdev_device_features(m->device_, m->features_sel_);
}

static void write_features_sel(struct vmemdev_mmio *m, uint32_t value)
{
	m->features_sel_ = value;
}

static void write_accept(struct vmemdev_mmio *m, uint32_t value)
{
	vmemdev_device_accept(m->device_, m->accept_sel_, value);
}

static void write_accept_sel(struct vmemdev_mmio *m, uint32_t value)
{
	m->accept_sel_ = value;
}

static void write_queue_sel(struct vmemdev_mmio *m, uint32_t value)
{
	m->queue_sel_ = value;
}

static uint32_t read_queue_size_max(struct vmemdev_mmio *m)
{
	return vmemdev_device_queue_size_max(m->device_, selected(m));
}

static void write_queue_size(struct vmemdev_mmio *m, uint32_t value)
{
	struct vmemdev_vq_layout *layout = vmemdev_device_queue_layout(m->device_, selected(m));

	if (layout != NULL)
		layout->size = value;
}

static uint32_t read_queue_ready(struct vmemdev_mmio *m)
{
	return vmemdev_device_queue_enabled(m->device_, selected(m));
}

/* A refusal shows in what QueueReady then reads; 0 stops the queue (4.2.2.1). */
static void write_queue_ready(struct vmemdev_mmio *m, uint32_t value)
{
	uint16_t queue = selected(m);

	if (value == 1)
		(void)vmemdev_device_queue_enable(m->device_, queue);
	else if (value == 0 && vmemdev_device_queue_enabled(m->device_, queue))
		vmemdev_device_queue_reset(m->device_, queue);
}

static uint32_t read_interrupts(struct vmemdev_mmio *m)
{
	return m->interrupts_;
}

static uint32_t read_status(struct vmemdev_mmio *m)
{
	return vmemdev_device_status(m->device_);
}

/* The upper bits are ignored (4.2.2), also where all that counts is whether it is 0. */
static void write_status(struct vmemdev_mmio *m, uint32_t value)
{
	vmemdev_device_set_status(m->device_, (uint8_t)value);
}

/* Ring addresses come in halves, in any order; an enabled queue's are frozen. */
static void set_half(struct vmemdev_mmio *m, enum part part, bool high, uint32_t value)
{
	struct vmemdev_vq_layout *layout = vmemdev_device_queue_layout(m->device_, selected(m));
	uint64_t *address;

	if (layout == NULL)
		return;
	address = part == PART_DESC	? &layout->desc
		  : part == PART_DRIVER ? &layout->driver
					: &layout->device;
	if (high)
		*address = (*address & UINT32_MAX) | (uint64_t)value << 32;
	else
		*address = (*address & ~(uint64_t)UINT32_MAX) | value;
}

static void write_desc_low(struct vmemdev_mmio *m, uint32_t value)
{
	set_half(m, PART_DESC, false, value);
}

static void write_desc_high(struct vmemdev_mmio *m, uint32_t value)
{
	set_half(m, PART_DESC, true, value);
}

static void write_driver_low(struct vmemdev_mmio *m, uint32_t value)
{
	set_half(m, PART_DRIVER, false, value);
}

static void write_driver_high(struct vmemdev_mmio *m, uint32_t value)
{
	set_half(m, PART_DRIVER, true, value);
}

static void write_device_low(struct vmemdev_mmio *m, uint32_t value)
{
	set_half(m, PART_DEVICE, false, value);
}

static void write_device_high(struct vmemdev_mmio *m, uint32_t value)
{
	set_half(m, PART_DEVICE, true, value);
}

static void write_shm_sel(struct vmemdev_mmio *m, uint32_t value)
{
	m->shm_sel_ = value;
}

/* The selected region; all ones where there is none (4.2.2). */
static struct vmemdev_range shm(const struct vmemdev_mmio *m)
{
	const struct vmemdev_range none = { UINT64_MAX, UINT64_MAX };
	struct vmemdev_range range;

	if (m->shm_sel_ <= UINT8_MAX &&
	    vmemdev_device_shm(m->device_, (uint8_t)m->shm_sel_, &range))
		return range;
	return none;
}

static uint32_t read_shm_len_low(struct vmemdev_mmio *m)
{
	return (uint32_t)shm(m).len;
}

static uint32_t read_shm_len_high(struct vmemdev_mmio *m)
{
	return (uint32_t)(shm(m).len >> 32);
}

static uint32_t read_shm_base_low(struct vmemdev_mmio *m)
{
	return (uint32_t)shm(m).gpa;
}

static uint32_t read_shm_base_high(struct vmemdev_mmio *m)
{
	return (uint32_t)(shm(m).gpa >> 32);
}

/* Our queues stop at once, so the register never reads 1 (2.6.1). */
static void write_queue_reset(struct vmemdev_mmio *m, uint32_t value)
{
	if (value == 1 && negotiated(m, VMEMDEV_F_RING_RESET))
		vmemdev_device_queue_reset(m->device_, selected(m));
}

static uint32_t read_generation(struct vmemdev_mmio *m)
{
	return vmemdev_device_config_generation(m->device_);
}

/* Registers not named here, and the missing directions, read 0 and ignore writes. */
static const struct {
	uint32_t (*read)(struct vmemdev_mmio *m);
	void (*write)(struct vmemdev_mmio *m, uint32_t value);
} registers[REGISTERS_END / 4] = {
	[0x000 / 4] = { read_magic, NULL },
	[0x004 / 4] = { read_version, NULL },
	[0x008 / 4] = { read_device_id, NULL },
	[0x00c / 4] = { read_vendor, NULL },
	[0x010 / 4] = { read_features, NULL },
	[0x014 / 4] = { NULL, write_features_sel },
	[0x020 / 4] = { NULL, write_accept },
	[0x024 / 4] = { NULL, write_accept_sel },
	[0x030 / 4] = { NULL, write_queue_sel },
	[0x034 / 4] = { read_queue_size_max, NULL },
	[0x038 / 4] = { NULL, write_queue_size },
	[0x044 / 4] = { read_queue_ready, write_queue_ready },
	[0x060 / 4] = { read_interrupts, NULL },
	[0x064 / 4] = { NULL, acknowledge },
	[0x070 / 4] = { read_status, write_status },
	[0x080 / 4] = { NULL, write_desc_low },
	[0x084 / 4] = { NULL, write_desc_high },
	[0x090 / 4] = { NULL, write_driver_low },
	[0x094 / 4] = { NULL, write_driver_high },
	[0x0a0 / 4] = { NULL, write_device_low },
	[0x0a4 / 4] = { NULL, write_device_high },
	[0x0ac / 4] = { NULL, write_shm_sel },
	[0x0b0 / 4] = { read_shm_len_low, NULL },
	[0x0b4 / 4] = { read_shm_len_high, NULL },
	[0x0b8 / 4] = { read_shm_base_low, NULL },
	[0x0bc / 4] = { read_shm_base_high, NULL },
	[0x0c0 / 4] = { NULL, write_queue_reset },
	[0x0fc / 4] = { read_generation, NULL },
};

static void queue_interrupt(void *ctx, uint16_t queue)
{
	(void)queue;
	interrupt(ctx, INTERRUPT_QUEUE);
}

static void config_interrupt(void *ctx)
{
	interrupt(ctx, INTERRUPT_CONFIG);
}

static void forget(void *ctx)
{
	struct vmemdev_mmio *m = ctx;

	m->features_sel_ = 0;
	m->accept_sel_ = 0;
	m->queue_sel_ = 0;
	m->shm_sel_ = 0;
	acknowledge(m, UINT32_MAX);
}

static const struct vmemdev_transport_ops transport = {
	.queue_interrupt = queue_interrupt,
	.config_interrupt = config_interrupt,
	.reset = forget,
};

int vmemdev_mmio_init(struct vmemdev_mmio *mmio, size_t mmio_size,
		      const struct vmemdev_mmio_config *config)
{
	struct vmemdev_mmio_config given;
	int err;

	if (mmio == NULL)
		return VMEMDEV_E_INVAL;
	if (mmio_size != sizeof(*mmio))
		return VMEMDEV_E_ABI;
	err = config_take(&given, sizeof(given), sizeof(given), config);
	if (err != 0)
		return err;
	if (given.device == NULL || given.interrupt == NULL)
		return VMEMDEV_E_INVAL;
	err = vmemdev_device_attach(given.device, &transport, mmio, features_possible);
	if (err != 0)
		return err;
	memset(mmio, 0, sizeof(*mmio));
	mmio->device_ = given.device;
	mmio->interrupt_ = given.interrupt;
	mmio->ctx_ = given.ctx;
	mmio->vendor_ = given.vendor;
	return 0;
}

static bool width_ok(uint32_t width)
{
	return width == 1 || width == 2 || width == 4 || width == 8;
}

uint64_t vmemdev_mmio_read(struct vmemdev_mmio *mmio, uint64_t offset, uint32_t width)
{
	uint8_t config[8] = { 0 };

	if (!width_ok(width) || offset > UINT32_MAX - REGISTERS_END)
		return 0;
	if (offset >= REGISTERS_END) {
		vmemdev_device_config_read(mmio->device_, (uint32_t)offset - REGISTERS_END, config,
					   width);
		return load_le64(config);
	}
	if (width != 4 || offset % 4 != 0 || registers[offset / 4].read == NULL)
		return 0;
	return registers[offset / 4].read(mmio);
}

void vmemdev_mmio_write(struct vmemdev_mmio *mmio, uint64_t offset, uint32_t width, uint64_t value)
{
	uint8_t config[8];

	if (!width_ok(width) || offset > UINT32_MAX - REGISTERS_END)
		return;
	if (offset >= REGISTERS_END) {
		store_le64(config, value);
		vmemdev_device_config_write(mmio->device_, (uint32_t)offset - REGISTERS_END, config,
					    width);
		return;
	}
	if (offset == VMEMDEV_MMIO_NOTIFY) {
		/* With NOTIFICATION_DATA the upper half is only a hint; the ring decides. */
		vmemdev_device_kick(mmio->device_, (uint16_t)value);
		return;
	}
	if (width == 4 && offset % 4 == 0 && registers[offset / 4].write != NULL)
		registers[offset / 4].write(mmio, (uint32_t)value);
}

int vmemdev_mmio_save(const struct vmemdev_mmio *mmio, void *dst, size_t size)
{
	struct record_out out;

	if (dst == NULL)
		return VMEMDEV_E_INVAL;
	if (size < VMEMDEV_MMIO_SAVE_SIZE)
		return VMEMDEV_E_NOSPC;
	record_begin(&out, dst, size);
	record_put32(&out, mmio->features_sel_);
	record_put32(&out, mmio->accept_sel_);
	record_put32(&out, mmio->queue_sel_);
	record_put32(&out, mmio->shm_sel_);
	record_put32(&out, mmio->interrupts_);
	record_end(&out, RECORD_MAGIC, vmemdev_device_id(mmio->device_));
	return 0;
}

int vmemdev_mmio_load(struct vmemdev_mmio *mmio, const void *src, size_t len)
{
	struct record_in in = { src, len, 0, false };
	struct vmemdev_mmio loaded = *mmio;
	int err;

	if (src == NULL)
		return VMEMDEV_E_INVAL;
	err = record_get_header(&in, RECORD_MAGIC, vmemdev_device_id(mmio->device_));
	if (err != 0)
		return err;
	loaded.features_sel_ = record_get32(&in);
	loaded.accept_sel_ = record_get32(&in);
	loaded.queue_sel_ = record_get32(&in);
	loaded.shm_sel_ = record_get32(&in);
	/* The device's load may have found that it needs a reset, and said so. */
	loaded.interrupts_ |= record_get_upto(&in, INTERRUPT_QUEUE | INTERRUPT_CONFIG);
	if (in.bad || in.done < in.len)
		return VMEMDEV_E_RECORD;
	*mmio = loaded;
	if (mmio->interrupts_ != 0)
		mmio->interrupt_(mmio->ctx_, true);
	return 0;
}
