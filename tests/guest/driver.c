/* SPDX-License-Identifier: BSD-3-Clause */
#include "guest/driver.h"

#include <string.h>

#define REQUEST_ROOM 64
#define TABLE_ENTRIES 8

enum mmio_register {
	DEVICE_FEATURES = 0x010,
	DEVICE_FEATURES_SEL = 0x014,
	DRIVER_FEATURES = 0x020,
	DRIVER_FEATURES_SEL = 0x024,
	QUEUE_SEL = 0x030,
	QUEUE_SIZE_MAX = 0x034,
	QUEUE_SIZE = 0x038,
	QUEUE_READY = 0x044,
	QUEUE_NOTIFY = 0x050,
	INTERRUPT_STATUS = 0x060,
	INTERRUPT_ACK = 0x064,
	STATUS = 0x070,
	QUEUE_DESC_LOW = 0x080,
	QUEUE_DRIVER_LOW = 0x090,
	QUEUE_DEVICE_LOW = 0x0a0,
	QUEUE_RESET = 0x0c0,
	CONFIG_GENERATION = 0x0fc,
	CONFIG = 0x100
};

static void queue_interrupt(void *ctx, uint16_t queue)
{
	struct guest_driver *d = ctx;

	if (queue >= VMEMDEV_QUEUES_MAX)
		guest_die("the device interrupts for a queue that cannot be", queue);
	d->queue_interrupts[queue]++;
	if (d->on_interrupt != NULL)
		d->on_interrupt(d->on_interrupt_ctx, false, queue);
}

static void config_interrupt(void *ctx)
{
	struct guest_driver *d = ctx;

	d->config_interrupts++;
	if (d->on_interrupt != NULL)
		d->on_interrupt(d->on_interrupt_ctx, true, VMEMDEV_NO_QUEUE);
}

static void was_reset(void *ctx)
{
	struct guest_driver *d = ctx;

	d->resets++;
}

static void line_changed(void *ctx, bool level)
{
	struct guest_driver *d = ctx;

	d->line = level;
	if (!level) {
		d->line_lowered++;
		return;
	}
	d->line_raised++;
	if (d->on_interrupt != NULL)
		d->on_interrupt(d->on_interrupt_ctx, false, VMEMDEV_NO_QUEUE);
}

static const struct vmemdev_transport_ops direct_ops = {
	.queue_interrupt = queue_interrupt,
	.config_interrupt = config_interrupt,
	.reset = was_reset,
};

int guest_driver_open(struct guest_driver *d, struct guest_memory *mem,
		      struct vmemdev_device *dev, enum guest_transport transport)
{
	memset(d, 0, sizeof(*d));
	d->mem = mem;
	d->transport = transport;
	d->request = guest_place(mem, REQUEST_ROOM, 64);
	return guest_driver_connect(d, dev);
}

int guest_driver_connect(struct guest_driver *d, struct vmemdev_device *dev)
{
	struct vmemdev_mmio_config config = { .struct_size = sizeof(config) };

	d->dev = dev;
	if (d->transport == GUEST_DIRECT)
		return vmemdev_device_attach(dev, &direct_ops, d, UINT64_MAX);
	config.vendor = 0x54534554;
	config.device = dev;
	config.interrupt = line_changed;
	config.ctx = d;
	return vmemdev_mmio_init(&d->mmio, sizeof(d->mmio), &config);
}

static void forget_queue(struct guest_driver *d, uint16_t queue)
{
	if (d->open[queue])
		guest_queue_close(&d->queues[queue]);
	d->open[queue] = false;
}

static void forget_queues(struct guest_driver *d)
{
	for (uint16_t i = 0; i < VMEMDEV_QUEUES_MAX; i++)
		forget_queue(d, i);
}

void guest_driver_close(struct guest_driver *d)
{
	forget_queues(d);
}

uint32_t guest_driver_register(struct guest_driver *d, uint32_t offset)
{
	return (uint32_t)vmemdev_mmio_read(&d->mmio, offset, 4);
}

void guest_driver_set_register(struct guest_driver *d, uint32_t offset, uint32_t value)
{
	vmemdev_mmio_write(&d->mmio, offset, 4, value);
}

uint8_t guest_driver_status(struct guest_driver *d)
{
	if (d->transport == GUEST_DIRECT)
		return vmemdev_device_status(d->dev);
	return (uint8_t)guest_driver_register(d, STATUS);
}

void guest_driver_set_status(struct guest_driver *d, uint8_t status)
{
	if (d->transport == GUEST_DIRECT)
		vmemdev_device_set_status(d->dev, status);
	else
		guest_driver_set_register(d, STATUS, status);
}

void guest_driver_reset(struct guest_driver *d)
{
	guest_driver_set_status(d, 0);
	forget_queues(d);
}

static uint32_t offered_word(struct guest_driver *d, uint32_t word)
{
	if (d->transport == GUEST_DIRECT)
		return vmemdev_device_features(d->dev, word);
	guest_driver_set_register(d, DEVICE_FEATURES_SEL, word);
	return guest_driver_register(d, DEVICE_FEATURES);
}

uint64_t guest_driver_offered(struct guest_driver *d)
{
	const uint64_t high = offered_word(d, 1);

	return high << 32 | offered_word(d, 0);
}

static void accept_word(struct guest_driver *d, uint32_t word, uint32_t bits)
{
	if (d->transport == GUEST_DIRECT) {
		vmemdev_device_accept(d->dev, word, bits);
		return;
	}
	guest_driver_set_register(d, DRIVER_FEATURES_SEL, word);
	guest_driver_set_register(d, DRIVER_FEATURES, bits);
}

void guest_driver_accept(struct guest_driver *d, uint64_t features)
{
	accept_word(d, 1, (uint32_t)(features >> 32));
	accept_word(d, 0, (uint32_t)features);
	d->features = features;
}

/* Drivers read the status, add a bit, and write it back. */
static uint8_t add_status(struct guest_driver *d, uint8_t bit)
{
	guest_driver_set_status(d, guest_driver_status(d) | bit);
	return guest_driver_status(d);
}

bool guest_driver_negotiate(struct guest_driver *d, uint64_t features)
{
	guest_driver_reset(d);
	if (guest_driver_status(d) != 0)
		return false;
	add_status(d, VMEMDEV_STATUS_ACKNOWLEDGE);
	add_status(d, VMEMDEV_STATUS_DRIVER);
	guest_driver_accept(d, features);
	return (add_status(d, VMEMDEV_STATUS_FEATURES_OK) & VMEMDEV_STATUS_FEATURES_OK) != 0;
}

uint32_t guest_driver_queue_max(struct guest_driver *d, uint16_t queue)
{
	if (d->transport == GUEST_DIRECT)
		return vmemdev_device_queue_size_max(d->dev, queue);
	guest_driver_set_register(d, QUEUE_SEL, queue);
	return guest_driver_register(d, QUEUE_SIZE_MAX);
}

static void set_address(struct guest_driver *d, uint32_t low, uint64_t gpa)
{
	guest_driver_set_register(d, low, (uint32_t)gpa);
	guest_driver_set_register(d, low + 4, (uint32_t)(gpa >> 32));
}

bool guest_driver_queue_enable(struct guest_driver *d, uint16_t queue,
			       const struct vmemdev_vq_layout *layout)
{
	if (d->transport == GUEST_DIRECT) {
		struct vmemdev_vq_layout *kept = vmemdev_device_queue_layout(d->dev, queue);

		if (kept == NULL)
			return false;
		*kept = *layout;
		return vmemdev_device_queue_enable(d->dev, queue) == 0;
	}
	guest_driver_set_register(d, QUEUE_SEL, queue);
	if (guest_driver_register(d, QUEUE_READY) != 0)
		return false;
	guest_driver_set_register(d, QUEUE_SIZE, layout->size);
	set_address(d, QUEUE_DESC_LOW, layout->desc);
	set_address(d, QUEUE_DRIVER_LOW, layout->driver);
	set_address(d, QUEUE_DEVICE_LOW, layout->device);
	guest_driver_set_register(d, QUEUE_READY, 1);
	return guest_driver_register(d, QUEUE_READY) == 1;
}

bool guest_driver_queue_ready(struct guest_driver *d, uint16_t queue)
{
	if (d->transport == GUEST_DIRECT)
		return vmemdev_device_queue_enabled(d->dev, queue);
	guest_driver_set_register(d, QUEUE_SEL, queue);
	return guest_driver_register(d, QUEUE_READY) != 0;
}

void guest_driver_queue_reset(struct guest_driver *d, uint16_t queue)
{
	if (d->transport == GUEST_DIRECT) {
		vmemdev_device_queue_reset(d->dev, queue);
	} else {
		guest_driver_set_register(d, QUEUE_SEL, queue);
		guest_driver_set_register(d, QUEUE_RESET, 1);
	}
	forget_queue(d, queue);
}

bool guest_driver_queue_open(struct guest_driver *d, uint16_t queue, uint32_t size)
{
	const bool tables = (d->features & VMEMDEV_F_INDIRECT_DESC) != 0;
	const struct guest_queue_config config = {
		.features = d->features,
		.size = size != 0 ? size : guest_driver_queue_max(d, queue),
		.table_entries = tables ? TABLE_ENTRIES : 0,
	};

	if (queue >= VMEMDEV_QUEUES_MAX || config.size == 0)
		return false;
	forget_queue(d, queue);
	guest_queue_open(&d->queues[queue], d->mem, &config);
	d->open[queue] = true;
	guest_queue_interrupts_on(&d->queues[queue]);
	return guest_driver_queue_enable(d, queue, &d->queues[queue].layout);
}

bool guest_driver_start(struct guest_driver *d, uint64_t features, uint32_t size)
{
	features = (features & guest_driver_offered(d)) | VMEMDEV_F_VERSION_1;
	if (!guest_driver_negotiate(d, features))
		return false;
	for (uint16_t i = 0; i < VMEMDEV_QUEUES_MAX; i++) {
		if (guest_driver_queue_max(d, i) != 0 && !guest_driver_queue_open(d, i, size))
			return false;
	}
	return (add_status(d, VMEMDEV_STATUS_DRIVER_OK) & VMEMDEV_STATUS_DRIVER_OK) != 0;
}

/* The widest access that MMIO drivers make here: a field is at most read in words. */
static uint32_t access_width(uint32_t offset, uint32_t len)
{
	if (offset % 4 == 0 && len >= 4)
		return 4;
	return offset % 2 == 0 && len >= 2 ? 2 : 1;
}

void guest_driver_config_read(struct guest_driver *d, uint32_t offset, void *dst, uint32_t len)
{
	uint8_t *to = dst;

	if (d->transport == GUEST_DIRECT) {
		vmemdev_device_config_read(d->dev, offset, dst, len);
		return;
	}
	while (len > 0) {
		const uint32_t width = access_width(offset, len);
		const uint64_t value = vmemdev_mmio_read(&d->mmio, CONFIG + offset, width);

		for (uint32_t i = 0; i < width; i++)
			*to++ = (uint8_t)(value >> 8 * i);
		offset += width;
		len -= width;
	}
}

void guest_driver_config_write(struct guest_driver *d, uint32_t offset, const void *src,
			       uint32_t len)
{
	const uint8_t *from = src;

	if (d->transport == GUEST_DIRECT) {
		vmemdev_device_config_write(d->dev, offset, src, len);
		return;
	}
	while (len > 0) {
		const uint32_t width = access_width(offset, len);
		uint64_t value = 0;

		for (uint32_t i = 0; i < width; i++)
			value |= (uint64_t)*from++ << 8 * i;
		vmemdev_mmio_write(&d->mmio, CONFIG + offset, width, value);
		offset += width;
		len -= width;
	}
}

static uint64_t config_field(struct guest_driver *d, uint32_t offset, uint32_t len)
{
	uint8_t bytes[8];
	uint64_t value = 0;

	guest_driver_config_read(d, offset, bytes, len);
	for (uint32_t i = 0; i < len; i++)
		value |= (uint64_t)bytes[i] << 8 * i;
	return value;
}

uint16_t guest_driver_config16(struct guest_driver *d, uint32_t offset)
{
	return (uint16_t)config_field(d, offset, 2);
}

uint32_t guest_driver_config32(struct guest_driver *d, uint32_t offset)
{
	return (uint32_t)config_field(d, offset, 4);
}

uint64_t guest_driver_config64(struct guest_driver *d, uint32_t offset)
{
	return config_field(d, offset, 8);
}

uint32_t guest_driver_config_generation(struct guest_driver *d)
{
	if (d->transport == GUEST_DIRECT)
		return vmemdev_device_config_generation(d->dev);
	return guest_driver_register(d, CONFIG_GENERATION);
}

void guest_driver_kick(struct guest_driver *d, uint16_t queue)
{
	uint32_t value = queue;

	if (d->transport == GUEST_DIRECT) {
		vmemdev_device_kick(d->dev, queue);
		return;
	}
	if ((d->features & VMEMDEV_F_NOTIFICATION_DATA) != 0 && queue < VMEMDEV_QUEUES_MAX &&
	    d->open[queue])
		value = guest_queue_kick_data(&d->queues[queue], queue);
	guest_driver_set_register(d, QUEUE_NOTIFY, value);
}

bool guest_driver_submit(struct guest_driver *d, uint16_t queue)
{
	guest_queue_publish(&d->queues[queue]);
	if (!guest_queue_want_kick(&d->queues[queue]))
		return false;
	guest_driver_kick(d, queue);
	return true;
}

int guest_driver_run(struct guest_driver *d, uint32_t turns)
{
	int result = 1;

	if (turns == 0)
		turns = 100000;
	for (uint32_t i = 0; i < turns && result > 0; i++)
		result = vmemdev_device_run(d->dev, 64);
	return result;
}

void guest_driver_interrupts(struct guest_driver *d)
{
	const uint32_t status = guest_driver_register(d, INTERRUPT_STATUS);

	guest_driver_set_register(d, INTERRUPT_ACK, status);
	if ((status & 1) != 0)
		d->queue_interrupts[0]++;
	if ((status & 2) != 0)
		d->config_interrupts++;
}

int guest_driver_send_pfns(struct guest_driver *d, uint16_t queue, const uint32_t *pfns,
			   uint32_t count, uint32_t pieces)
{
	struct vmemdev_buf bufs[64];
	const uint32_t bytes = count * 4;
	const uint64_t at = guest_place(d->mem, bytes, 4);
	uint32_t done = 0;
	int id;

	if (pieces == 0)
		pieces = 1;
	if (pieces > 64)
		guest_die("at most 64 pieces, not", pieces);
	for (uint32_t i = 0; i < count; i++)
		guest_store32(d->mem, at + 4 * (uint64_t)i, pfns[i]);
	for (uint32_t i = 0; i < pieces; i++) {
		const uint32_t len = (bytes - done) / (pieces - i);

		bufs[i] = (struct vmemdev_buf){ at + done, len, 0 };
		done += len;
	}
	id = guest_queue_add(&d->queues[queue], bufs, pieces, NULL);
	if (id >= 0)
		guest_driver_submit(d, queue);
	return id;
}

uint16_t guest_balloon_queue(uint64_t features, enum guest_role role,
			     enum guest_numbering numbering)
{
	/* STATS_VQ, FREE_PAGE_HINT, PAGE_REPORTING */
	static const uint8_t bits[GUEST_ROLES] = { [GUEST_STATS] = 1, [GUEST_HINT] = 3,
						   [GUEST_REPORT] = 5 };
	uint16_t gaps = 0;

	if (role < GUEST_STATS)
		return (uint16_t)role;
	if ((features >> bits[role] & 1) == 0)
		return VMEMDEV_NO_QUEUE;
	for (int before = GUEST_STATS; before < (int)role; before++)
		gaps = (uint16_t)(gaps + ((features >> bits[before] & 1) == 0));
	return (uint16_t)(role - (numbering == GUEST_GAPLESS ? gaps : 0));
}

int guest_driver_mem_send(struct guest_driver *d, uint16_t type, uint64_t addr,
			  uint16_t nb_blocks)
{
	const struct vmemdev_buf bufs[] = {
		{ d->request, 24, 0 },
		{ d->request + 32, 10, 1 },
	};
	const struct guest_add how = { .indirect = d->queues[0].table_entries > 0 };
	int id;

	guest_fill(d->mem, d->request, 0, 24);
	guest_fill(d->mem, d->request + 32, 0xaa, 10);
	guest_store16(d->mem, d->request, type);
	guest_store64(d->mem, d->request + 8, addr);
	guest_store16(d->mem, d->request + 16, nb_blocks);
	id = guest_queue_add(&d->queues[0], bufs, 2, &how);
	if (id >= 0)
		guest_driver_submit(d, 0);
	return id;
}

int guest_driver_mem_receive(struct guest_driver *d, struct guest_mem_response *response)
{
	const uint64_t at = d->request + 32;
	struct guest_used used;
	const int got = guest_queue_poll(&d->queues[0], &used);

	if (got <= 0)
		return got;
	response->type = guest_load16(d->mem, at);
	for (uint32_t i = 0; i < 3; i++)
		response->pad[i] = guest_load16(d->mem, at + 2 + 2 * i);
	response->state = guest_load16(d->mem, at + 8);
	response->len = used.len;
	return 1;
}

int guest_driver_mem_request(struct guest_driver *d, uint16_t type, uint64_t addr,
			     uint16_t nb_blocks, struct guest_mem_response *response)
{
	if (guest_driver_mem_send(d, type, addr, nb_blocks) < 0)
		return -1;
	guest_driver_run(d, 0);
	if (guest_driver_mem_receive(d, response) != 1)
		return -1;
	return response->type;
}
