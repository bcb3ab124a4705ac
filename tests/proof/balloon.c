/* SPDX-License-Identifier: BSD-3-Clause */
/* The balloon with one of its queues (SERVED), and what its host may do; or its record. */
#include "proof.h"

#define RANGES 2
#define ALL 5

static struct vmemdev_balloon balloon;
static struct vmemdev_range ranges[RANGES];

static int change(void *ctx, const struct vmemdev_range *told, uint32_t count, uint64_t token)
{
	(void)ctx;
	(void)token;
	/*@ assert given: \valid_read(told + (0 .. count - 1)) && count > 0;
	 */
	return any_answer();
}

static void hint(void *ctx, const struct vmemdev_range *told, uint32_t count)
{
	(void)ctx;
	/*@ assert given: \valid_read(told + (0 .. count - 1)) && count > 0;
	 */
}

static void round_moved(void *ctx, enum vmemdev_balloon_round round)
{
	(void)ctx;
	(void)round;
}

static uint64_t stats(void *ctx)
{
	(void)ctx;
	return any64();
}

static void unknown_stat(void *ctx, uint16_t tag, uint64_t value)
{
	(void)ctx;
	(void)tag;
	(void)value;
}

static void cancel(void *ctx, uint64_t token)
{
	(void)ctx;
	(void)token;
}

static void actual(void *ctx, uint64_t bytes)
{
	(void)ctx;
	(void)bytes;
}

static const struct vmemdev_balloon_ops ops = {
	.inflate = change,
	.deflate = change,
	.report = change,
	.hint = hint,
	.round = round_moved,
	.stats = stats,
	.unknown_stat = unknown_stat,
	.cancel = cancel,
	.actual = actual,
};

static bool init(void)
{
	struct vmemdev_balloon_config config = { 0 };

	config.struct_size = sizeof(config);
	config.ranges = ranges;
	config.range_count = RANGES;
	config.device.guest = &guest;
	config.device.features_on = VMEMDEV_F_RING_PACKED | VMEMDEV_F_IN_ORDER;
	config.ops = &ops;
	config.must_tell_host = true;
	config.stats = SERVED == ALL || SERVED == 2;
	config.hinting = SERVED == ALL || SERVED == 3;
	config.reporting = SERVED == ALL || SERVED == 4;
	config.text_queues_only = SERVED != ALL;
	return vmemdev_balloon_init(&balloon, sizeof(balloon), &config) == 0;
}

#ifdef RECORD

static void work(struct vmemdev_device *dev)
{
	load(dev, RECORD);
}

#else

static void host(void)
{
	struct vmemdev_balloon_stats set;

	switch (Frama_C_interval(0, 8)) {
	case 0:
		vmemdev_balloon_set_target(&balloon, any64());
		break;
	case 1:
		vmemdev_balloon_poll_stats(&balloon);
		break;
	case 2:
		vmemdev_balloon_get_stats(&balloon, &set);
		break;
	case 3:
		vmemdev_balloon_hint_start(&balloon);
		break;
	case 4:
		vmemdev_balloon_hint_stop(&balloon);
		break;
	case 5:
		vmemdev_balloon_hint_done(&balloon);
		break;
	case 6:
		vmemdev_balloon_allow_reports(&balloon, any64());
		break;
	case 7:
		vmemdev_balloon_inhibit(&balloon);
		break;
	default:
		vmemdev_balloon_uninhibit(&balloon);
		break;
	}
}

/* What is the same for each queue is done to one of them. */
static bool driver(struct vmemdev_device *dev)
{
	if (SERVED == 0)
		return drive_on(dev, SERVED);
	if (any()) {
		vmemdev_device_kick(dev, SERVED);
		return true;
	}
	vmemdev_device_queue_reset(dev, SERVED);
	return vmemdev_device_queue_enable(dev, SERVED) == 0;
}

static bool act(struct vmemdev_device *dev)
{
	switch (Frama_C_interval(0, 3)) {
	case 0:
		vmemdev_device_run(dev, any32());
		return true;
	case 1:
		vmemdev_balloon_complete(&balloon, any64(), Frama_C_interval(-95, 1));
		return true;
	case 2:
		host();
		return true;
	default:
		return driver(dev);
	}
}

static void life(struct vmemdev_device *dev)
{
	if (set_up_queue(dev, SERVED)) {
		while (any()) {
			if (!act(dev))
				break;
		}
	}
	reset(dev);
}

static void work(struct vmemdev_device *dev)
{
	do
		life(dev);
	while (SERVED == 0 && any());
}

#endif

void main(void)
{
	struct vmemdev_device *dev = vmemdev_balloon_device(&balloon);

	/*@ widen_hints global:"all", RANGES;

	 */
	guest_setup(false);
	if (!init())
		return;
	attach(dev, SERVED == ALL ? any64() : UINT64_MAX);
	work(dev);
}
