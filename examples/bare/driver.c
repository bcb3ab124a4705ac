/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The guest: the smallest driver that deserves the name, of one split queue with four
 * entries. It touches its memory and the device's registers, as guest code would.
 */
#include "bare.h"

/* virtio-mmio registers (VIRTIO 1.4, 4.2.2). */
enum {
	DEVICE_ID = 0x008,
	DEVICE_FEATURES = 0x010,
	DEVICE_FEATURES_SEL = 0x014,
	DRIVER_FEATURES = 0x020,
	DRIVER_FEATURES_SEL = 0x024,
	QUEUE_SEL = 0x030,
	QUEUE_SIZE = 0x038,
	QUEUE_READY = 0x044,
	QUEUE_NOTIFY = 0x050,
	STATUS = 0x070,
	QUEUE_DESC = 0x080,
	QUEUE_DRIVER = 0x090,
	QUEUE_DEVICE = 0x0a0
};

/* Where the parts of the queue lie in the space that the driver was given. */
enum {
	ENTRIES = 4,
	DESC = 0,
	AVAIL = 0x100,
	USED = 0x200,
	OUT = 0x1000,
	IN = 0x2000,
	FLAG_NEXT = 1,
	FLAG_WRITE = 2
};

void put_le(uint8_t *to, uint64_t value, unsigned int bytes)
{
	for (; bytes-- > 0; value >>= 8)
		*to++ = (uint8_t)value;
}

uint64_t get_le(const uint8_t *from, unsigned int bytes)
{
	uint64_t value = 0;

	while (bytes-- > 0)
		value = value << 8 | from[bytes];
	return value;
}

static uint32_t get(struct vmemdev_mmio *mmio, uint32_t offset)
{
	return (uint32_t)vmemdev_mmio_read(mmio, offset, 4);
}

static void set(struct vmemdev_mmio *mmio, uint32_t offset, uint32_t value)
{
	vmemdev_mmio_write(mmio, offset, 4, value);
}

bool driver_start(struct vmemdev_mmio *mmio, uint32_t device_id, uint32_t space)
{
	uint32_t status = VMEMDEV_STATUS_ACKNOWLEDGE | VMEMDEV_STATUS_DRIVER;

	if (get(mmio, DEVICE_ID) != device_id)
		return false;
	set(mmio, STATUS, 0);
	set(mmio, STATUS, status);
	/* Of all that is offered take VERSION_1 alone, the first bit of word 1. */
	set(mmio, DEVICE_FEATURES_SEL, 1);
	set(mmio, DRIVER_FEATURES_SEL, 1);
	set(mmio, DRIVER_FEATURES, get(mmio, DEVICE_FEATURES) & 1);
	status |= VMEMDEV_STATUS_FEATURES_OK;
	set(mmio, STATUS, status);
	if (get(mmio, STATUS) != status)
		return false;

	set(mmio, QUEUE_SEL, 0);
	set(mmio, QUEUE_SIZE, ENTRIES);
	set(mmio, QUEUE_DESC, space + DESC);
	set(mmio, QUEUE_DRIVER, space + AVAIL);
	set(mmio, QUEUE_DEVICE, space + USED);
	set(mmio, QUEUE_READY, 1);
	set(mmio, STATUS, status | VMEMDEV_STATUS_DRIVER_OK);
	return get(mmio, QUEUE_READY) == 1;
}

static void describe(uint8_t *entry, uint64_t gpa, uint32_t len, unsigned int flags)
{
	put_le(entry, gpa, 8);
	put_le(entry + 8, len, 4);
	put_le(entry + 12, flags, 2);
	put_le(entry + 14, 1, 2);
}

void driver_send(struct vmemdev_mmio *mmio, uint32_t space, const struct request *request)
{
	uint8_t *desc = ram + space + DESC, *avail = ram + space + AVAIL;
	const uint8_t *from = request->out;
	uint64_t index = get_le(avail + 2, 2);

	for (uint32_t i = 0; i < request->out_len; i++)
		ram[space + OUT + i] = from[i];
	describe(desc, space + OUT, request->out_len, request->in_len > 0 ? FLAG_NEXT : 0);
	describe(desc + 16, space + IN, request->in_len, FLAG_WRITE);
	put_le(avail + 4 + 2 * (index % ENTRIES), 0, 2);
	put_le(avail + 2, index + 1, 2);
	set(mmio, QUEUE_NOTIFY, 0);
}

uint16_t driver_finished(uint32_t space)
{
	return (uint16_t)get_le(ram + space + USED + 2, 2);
}

const uint8_t *driver_answer(uint32_t space)
{
	return ram + space + IN;
}
