/* SPDX-License-Identifier: BSD-3-Clause */
/* A host, its transport, and what a driver makes them do. */
#include "proof.h"

int any_answer(void)
{
	return any() ? VMEMDEV_LATER : Frama_C_interval(-95, 0);
}

static void queue_interrupt(void *ctx, uint16_t queue)
{
	(void)ctx;
	(void)queue;
}

static void config_interrupt(void *ctx)
{
	(void)ctx;
}

static void forget(void *ctx)
{
	(void)ctx;
}

static const struct vmemdev_transport_ops transport = {
	.queue_interrupt = queue_interrupt,
	.config_interrupt = config_interrupt,
	.reset = forget,
};

static bool enable(struct vmemdev_device *dev, uint16_t queue)
{
	struct vmemdev_vq_layout *layout = vmemdev_device_queue_layout(dev, queue);

	if (layout != NULL)
		anything(*layout);
	return vmemdev_device_queue_enable(dev, queue) == 0;
}

void attach(struct vmemdev_device *dev, uint64_t features)
{
	vmemdev_device_attach(dev, &transport, NULL, features);
}

/* All features or none, as the analysis keeps no bits apart. */
bool set_up_queue(struct vmemdev_device *dev, uint16_t queue)
{
	vmemdev_device_accept(dev, 0, any() ? vmemdev_device_features(dev, 0) : 0);
	vmemdev_device_accept(dev, 1, 1);
	vmemdev_device_set_status(dev, VMEMDEV_STATUS_FEATURES_OK);
	if (!enable(dev, queue))
		return false;
	vmemdev_device_set_status(dev, VMEMDEV_STATUS_DRIVER_OK);
	return true;
}

bool set_up(struct vmemdev_device *dev)
{
	vmemdev_device_accept(dev, 0, any32());
	vmemdev_device_accept(dev, 1, any32());
	vmemdev_device_set_status(dev, VMEMDEV_STATUS_FEATURES_OK);
	for (uint16_t i = 0; i < vmemdev_device_queue_count(dev); i++) {
		if (!enable(dev, i))
			return false;
	}
	vmemdev_device_set_status(dev, VMEMDEV_STATUS_DRIVER_OK);
	return true;
}

static void configure(struct vmemdev_device *dev)
{
	uint8_t bytes[8];

	vmemdev_device_config_read(dev, any32(), bytes, Frama_C_unsigned_int_interval(0, 8));
	anything(bytes);
	vmemdev_device_config_write(dev, any32(), bytes, Frama_C_unsigned_int_interval(0, 8));
	vmemdev_device_config_generation(dev);
}

static bool restart(struct vmemdev_device *dev, uint16_t queue)
{
	vmemdev_device_queue_reset(dev, queue);
	return enable(dev, queue);
}

/* A transport that stops a queue, and goes on somewhere. */
static bool resume(struct vmemdev_device *dev, uint16_t queue)
{
	struct vmemdev_vq_layout *layout;
	struct vmemdev_vq_state state;

	if (vmemdev_device_queue_stop(dev, queue, &state) != 0)
		return true;
	anything(state);
	layout = vmemdev_device_queue_layout(dev, queue);
	if (layout != NULL)
		anything(*layout);
	return vmemdev_device_queue_resume(dev, queue, &state) == 0;
}

static void save(const struct vmemdev_device *dev)
{
	static uint8_t record[1024];
	size_t len;

	vmemdev_device_save(dev, record, sizeof(record), &len);
}

bool drive(struct vmemdev_device *dev, uint16_t queue)
{
	if (any())
		vmemdev_device_accept(dev, any32(), any32());
	return drive_on(dev, queue);
}

bool drive_on(struct vmemdev_device *dev, uint16_t queue)
{
	switch (Frama_C_interval(1, 7)) {
	case 1:
		vmemdev_device_set_status(dev, any8() | VMEMDEV_STATUS_ACKNOWLEDGE);
		return true;
	case 2:
		return restart(dev, queue);
	case 3:
		vmemdev_device_kick(dev, any16());
		return true;
	case 4:
		configure(dev);
		return true;
	case 5:
		return resume(dev, queue);
	case 6:
		save(dev);
		return true;
	default:
		vmemdev_device_run(dev, any32());
		return true;
	}
}

void reset(struct vmemdev_device *dev)
{
	if (any())
		vmemdev_device_system_reset(dev);
	vmemdev_device_set_status(dev, 0);
	configure(dev);
	vmemdev_device_kick(dev, any16());
	vmemdev_device_run(dev, any32());
	vmemdev_device_queue_reset(dev, any16());
	save(dev);
}

void load(struct vmemdev_device *dev, size_t len)
{
	static uint8_t record[256];

	/*@ assert room: len <= sizeof(record);

	 */
	anything(record);
	/* It ends where its object ends. */
	if (vmemdev_device_load(dev, record + (sizeof(record) - len), len) == 0)
		save(dev);
}

void live(struct vmemdev_device *dev, bool (*act)(struct vmemdev_device *dev))
{
	if (set_up(dev)) {
		while (any()) {
			if (!act(dev))
				break;
		}
	}
	reset(dev);
}
