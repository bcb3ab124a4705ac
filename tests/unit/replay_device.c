/* SPDX-License-Identifier: BSD-3-Clause */
/* The calls that a test makes to devices and transports: each is a step. */
#include "replay_unit.h"

#include <stdlib.h>
#include <string.h>

static uint32_t depth;     /* calls that are on: only the outermost is the test's */
static struct unit *inner; /* whose call that is */

void replay_next_test(void)
{
	depth = 0;
	inner = NULL;
	unit_forget_all();
}

static void enter(const struct vmemdev_device *dev)
{
	if (depth++ == 0)
		inner = replay_on() ? unit_of(dev) : NULL;
}

/* Returns the unit at the end of the outermost call. */
static struct unit *leave(void)
{
	return --depth == 0 ? inner : NULL;
}

static void leave_step(void)
{
	unit_step(leave());
}

/* A copy of a config that was taken: what it has beyond @size is zero. */
static void keep_config(void *to, uint32_t size, const void *config, uint32_t struct_size)
{
	memset(to, 0, size);
	memcpy(to, config, struct_size < size ? struct_size : size);
	memcpy(to, &size, sizeof(size));
}

/* Making: twice, as only a good config can be led elsewhere. */
#define WRAP_INIT(name, type, unit_kind)                                                          \
	REPLAY_WRAP(int, vmemdev_##name##_init, (struct vmemdev_##name *object, size_t size,      \
						 const struct type *config))                      \
	{                                                                                         \
		int err = __real_vmemdev_##name##_init(object, size, config);                     \
		struct unit *u;                                                                   \
												  \
		if (err != 0 || !replay_on())                                                     \
			return err;                                                               \
		u = unit_make(vmemdev_##name##_device(object), object, size, unit_kind);          \
		keep_config(&u->config.name, sizeof(u->config.name), config,                      \
			    config->struct_size);                                                 \
		unit_redirect(u);                                                                 \
		return __real_vmemdev_##name##_init(object, size, &u->config.name);               \
	}

WRAP_INIT(balloon, vmemdev_balloon_config, UNIT_BALLOON)
WRAP_INIT(mem, vmemdev_mem_config, UNIT_MEM)
WRAP_INIT(pmem, vmemdev_pmem_config, UNIT_PMEM)

REPLAY_WRAP(int, vmemdev_device_attach, (struct vmemdev_device *dev,
					 const struct vmemdev_transport_ops *ops, void *ctx,
					 uint64_t features))
{
	struct unit *u = replay_on() && depth == 0 ? unit_of(dev) : NULL;
	int err;

	if (u == NULL || u->quiet || ops == NULL)
		return __real_vmemdev_device_attach(dev, ops, ctx, features);
	err = __real_vmemdev_device_attach(dev, &unit_transport, u, features);
	if (err != 0)
		return err;
	u->transport = ops;
	u->transport_ctx = ctx;
	u->transport_features = features;
	return 0;
}

static struct unit *block_unit(const struct vmemdev_mmio_config *config)
{
	if (config == NULL || config->struct_size < sizeof(*config) || config->interrupt == NULL)
		return NULL;
	return unit_of(config->device);
}

REPLAY_WRAP(int, vmemdev_mmio_init, (struct vmemdev_mmio *mmio, size_t size,
				     const struct vmemdev_mmio_config *config))
{
	struct unit *u = replay_on() ? block_unit(config) : NULL;
	struct vmemdev_mmio_config *led;
	int err;

	if (u == NULL)
		return __real_vmemdev_mmio_init(mmio, size, config);
	/* All of it: what lies beyond the end of the struct must be seen. */
	led = malloc(config->struct_size);
	if (led == NULL)
		replay_fail("no memory for a config", config->struct_size);
	memcpy(led, config, config->struct_size);
	led->interrupt = unit_interrupt;
	led->ctx = u;
	depth++;
	err = __real_vmemdev_mmio_init(mmio, size, led);
	depth--;
	free(led);
	if (err != 0)
		return err;
	keep_config(&u->mmio_config, sizeof(u->mmio_config), config, config->struct_size);
	u->transport = NULL;
	u->mmio = mmio;
	return 0;
}

/* Steps. */
#define WRAP_INT(name, params, dev, args)                                                         \
	REPLAY_WRAP(int, name, params)                                                            \
	{                                                                                         \
		int err;                                                                          \
												  \
		enter(dev);                                                                       \
		err = __real_##name args;                                                         \
		leave_step();                                                                     \
		return err;                                                                       \
	}

#define WRAP_VOID(name, params, dev, args)                                                        \
	REPLAY_WRAP(void, name, params)                                                           \
	{                                                                                         \
		enter(dev);                                                                       \
		__real_##name args;                                                               \
		leave_step();                                                                     \
	}

WRAP_VOID(vmemdev_device_accept, (struct vmemdev_device *dev, uint32_t word, uint32_t bits), dev,
	  (dev, word, bits))
WRAP_VOID(vmemdev_device_config_write, (struct vmemdev_device *dev, uint32_t offset,
					const void *src, uint32_t len), dev,
	  (dev, offset, src, len))
WRAP_INT(vmemdev_device_queue_enable, (struct vmemdev_device *dev, uint16_t queue), dev,
	 (dev, queue))
WRAP_INT(vmemdev_device_queue_resume, (struct vmemdev_device *dev, uint16_t queue,
				       const struct vmemdev_vq_state *state), dev,
	 (dev, queue, state))
WRAP_INT(vmemdev_device_queue_stop, (struct vmemdev_device *dev, uint16_t queue,
				     struct vmemdev_vq_state *state), dev, (dev, queue, state))
WRAP_VOID(vmemdev_device_queue_reset, (struct vmemdev_device *dev, uint16_t queue), dev,
	  (dev, queue))
WRAP_VOID(vmemdev_device_kick, (struct vmemdev_device *dev, uint16_t queue), dev, (dev, queue))
WRAP_INT(vmemdev_balloon_set_target, (struct vmemdev_balloon *balloon, uint64_t bytes),
	 vmemdev_balloon_device(balloon), (balloon, bytes))
WRAP_INT(vmemdev_balloon_poll_stats, (struct vmemdev_balloon *balloon),
	 vmemdev_balloon_device(balloon), (balloon))
WRAP_INT(vmemdev_balloon_hint_start, (struct vmemdev_balloon *balloon),
	 vmemdev_balloon_device(balloon), (balloon))
WRAP_INT(vmemdev_balloon_hint_stop, (struct vmemdev_balloon *balloon),
	 vmemdev_balloon_device(balloon), (balloon))
WRAP_INT(vmemdev_balloon_hint_done, (struct vmemdev_balloon *balloon),
	 vmemdev_balloon_device(balloon), (balloon))
WRAP_INT(vmemdev_balloon_forget, (struct vmemdev_balloon *balloon,
				  const struct vmemdev_range *range),
	 vmemdev_balloon_device(balloon), (balloon, range))
WRAP_INT(vmemdev_mem_set_requested, (struct vmemdev_mem *mem, uint64_t bytes),
	 vmemdev_mem_device(mem), (mem, bytes))

REPLAY_WRAP(uint32_t, vmemdev_device_config_generation, (struct vmemdev_device *dev))
{
	uint32_t generation;

	enter(dev);
	generation = __real_vmemdev_device_config_generation(dev);
	leave_step();
	return generation;
}

REPLAY_WRAP(uint64_t, vmemdev_mmio_read, (struct vmemdev_mmio *mmio, uint64_t offset,
					  uint32_t width))
{
	uint64_t value;

	enter(unit_behind(mmio));
	value = __real_vmemdev_mmio_read(mmio, offset, width);
	leave_step();
	return value;
}

/* A status of 0, whichever way it is written, is a reset: nothing is to be made up for. */
static void look_at_status(struct unit *u)
{
	if (u != NULL && vmemdev_device_status(u->dev) == 0)
		u->behind = u->catching_up = false;
	unit_step(u);
}

REPLAY_WRAP(void, vmemdev_mmio_write, (struct vmemdev_mmio *mmio, uint64_t offset, uint32_t width,
				       uint64_t value))
{
	enter(unit_behind(mmio));
	__real_vmemdev_mmio_write(mmio, offset, width, value);
	look_at_status(leave());
}

REPLAY_WRAP(int, vmemdev_mmio_load, (struct vmemdev_mmio *mmio, const void *src, size_t len))
{
	int err;

	enter(unit_behind(mmio));
	err = __real_vmemdev_mmio_load(mmio, src, len);
	leave_step();
	return err;
}

REPLAY_WRAP(void, vmemdev_device_set_status, (struct vmemdev_device *dev, uint8_t status))
{
	enter(dev);
	__real_vmemdev_device_set_status(dev, status);
	look_at_status(leave());
}

REPLAY_WRAP(void, vmemdev_device_reset, (struct vmemdev_device *dev))
{
	enter(dev);
	__real_vmemdev_device_reset(dev);
	look_at_status(leave());
}

REPLAY_WRAP(int, vmemdev_device_system_reset, (struct vmemdev_device *dev))
{
	struct unit *u;
	int err;

	enter(dev);
	err = __real_vmemdev_device_system_reset(dev);
	u = leave();
	/* It cannot wait: what it was told about later counts as failed. */
	if (u != NULL && err != VMEMDEV_E_STATE)
		u->later.on = false;
	look_at_status(u);
	return err;
}

REPLAY_WRAP(int, vmemdev_device_run, (struct vmemdev_device *dev, uint32_t budget))
{
	struct unit *u;
	int err;

	enter(dev);
	err = __real_vmemdev_device_run(dev, budget);
	u = leave();
	if (u != NULL && u->behind)
		u->behind = u->catching_up = err > 0 || u->later.on;
	if (u != NULL && u->kind == UNIT_BALLOON)
		u->ended = false;
	unit_step(u);
	return err;
}

REPLAY_WRAP(int, vmemdev_device_load, (struct vmemdev_device *dev, const void *src, size_t len))
{
	struct unit *u;
	int err;

	enter(dev);
	err = __real_vmemdev_device_load(dev, src, len);
	u = leave();
	if (u != NULL && err != 0 && err != VMEMDEV_E_STATE && err != VMEMDEV_E_INVAL)
		u->spoilt = true;
	/* There may be discards to make up for: the first run tells. */
	if (u != NULL && err == 0)
		u->behind = u->kind == UNIT_BALLOON;
	unit_step(u);
	return err;
}

/* What the device would not keep over a load, and its host has to. */

REPLAY_WRAP(int, vmemdev_balloon_inhibit, (struct vmemdev_balloon *balloon))
{
	struct unit *u;
	int err;

	enter(vmemdev_balloon_device(balloon));
	err = __real_vmemdev_balloon_inhibit(balloon);
	u = leave();
	if (u != NULL && err == 0) {
		u->inhibits++;
		u->behind = u->catching_up = false;
	}
	unit_step(u);
	return err;
}

REPLAY_WRAP(int, vmemdev_balloon_uninhibit, (struct vmemdev_balloon *balloon))
{
	struct unit *u;
	int err;

	enter(vmemdev_balloon_device(balloon));
	err = __real_vmemdev_balloon_uninhibit(balloon);
	u = leave();
	if (u != NULL && err == 0) {
		u->inhibits--;
		u->behind = u->inhibits == 0;
	}
	unit_step(u);
	return err;
}

REPLAY_WRAP(int, vmemdev_balloon_allow_reports, (struct vmemdev_balloon *balloon, uint64_t bytes))
{
	struct unit *u;
	int err;

	enter(vmemdev_balloon_device(balloon));
	err = __real_vmemdev_balloon_allow_reports(balloon, bytes);
	u = leave();
	if (u != NULL && err == 0)
		unit_limit(u, bytes);
	unit_step(u);
	return err;
}

REPLAY_WRAP(int, vmemdev_mem_listen, (struct vmemdev_mem *mem,
				      struct vmemdev_mem_listener *listener))
{
	struct unit *u;
	int err;

	enter(vmemdev_mem_device(mem));
	err = __real_vmemdev_mem_listen(mem, listener);
	u = leave();
	if (u != NULL && err == 0) {
		if (u->listener_count == UNIT_LISTENERS)
			replay_fail("more listeners than UNIT_LISTENERS", UNIT_LISTENERS);
		u->listeners[u->listener_count++] = listener;
	}
	unit_step(u);
	return err;
}

REPLAY_WRAP(int, vmemdev_mem_unlisten, (struct vmemdev_mem *mem,
					struct vmemdev_mem_listener *listener))
{
	struct unit *u;
	int err;

	enter(vmemdev_mem_device(mem));
	err = __real_vmemdev_mem_unlisten(mem, listener);
	u = leave();
	if (u != NULL && err == 0)
		unit_unlisten(u, listener);
	unit_step(u);
	return err;
}

/* Tokens go on where the device before left off. */

REPLAY_WRAP(int, vmemdev_balloon_complete, (struct vmemdev_balloon *balloon, uint64_t token,
					    int result))
{
	struct unit *u;
	int err;

	enter(vmemdev_balloon_device(balloon));
	err = __real_vmemdev_balloon_complete(balloon, inner ? unit_token(inner, token) : token,
					      result);
	u = leave();
	if (u != NULL && err == 0) {
		u->later.on = false;
		u->ended = true;
	}
	unit_step(u);
	return err;
}

REPLAY_WRAP(int, vmemdev_mem_complete, (struct vmemdev_mem *mem, uint64_t token, int result))
{
	struct unit *u;
	int err;

	enter(vmemdev_mem_device(mem));
	err = __real_vmemdev_mem_complete(mem, inner ? unit_token(inner, token) : token, result);
	u = leave();
	if (u != NULL && err == 0)
		u->later.on = false;
	unit_step(u);
	return err;
}

REPLAY_WRAP(int, vmemdev_pmem_complete, (struct vmemdev_pmem *pmem, uint64_t token, int result))
{
	struct unit *u;
	int err;

	enter(vmemdev_pmem_device(pmem));
	err = __real_vmemdev_pmem_complete(pmem, inner ? unit_token(inner, token) : token, result);
	u = leave();
	if (u != NULL && err == 0) {
		u->later.on = false;
		u->ended = u->taken > 0;
		u->end_result = result;
	}
	unit_step(u);
	return err;
}

/* Counters, too. */
#define WRAP_COUNTS(name)                                                                         	REPLAY_WRAP(void, vmemdev_##name##_get_counts, (const struct vmemdev_##name *object,      							struct vmemdev_##name##_counts *counts))  	{                                                                                         		__real_vmemdev_##name##_get_counts(object, counts);                               		unit_add_counts(object, counts, sizeof(*counts));                                 	}

WRAP_COUNTS(balloon)
WRAP_COUNTS(mem)
WRAP_COUNTS(pmem)

/* The device's own calls to its queues: what it has taken, and whether it is in a chain. */

REPLAY_WRAP(int, vmemdev_vq_pop, (struct vmemdev_vq *vq, struct vmemdev_chain *chain))
{
	int err = __real_vmemdev_vq_pop(vq, chain);

	if (err > 0 && inner != NULL) {
		inner->taken++;
		inner->half_read = vq;
	}
	return err;
}

REPLAY_WRAP(int, vmemdev_chain_finish, (struct vmemdev_chain *chain, struct vmemdev_held *held))
{
	int err = __real_vmemdev_chain_finish(chain, held);

	if (err == 0 && inner != NULL)
		inner->half_read = NULL;
	return err;
}

REPLAY_WRAP(int, vmemdev_vq_push, (struct vmemdev_vq *vq, const struct vmemdev_held *held,
				   uint32_t written))
{
	int err = __real_vmemdev_vq_push(vq, held, written);

	if (err == 0 && inner != NULL && inner->taken > 0 && --inner->taken == 0)
		inner->ended = false;
	return err;
}

REPLAY_WRAP(void, vmemdev_vq_reset, (struct vmemdev_vq *vq))
{
	__real_vmemdev_vq_reset(vq);
	if (inner == NULL)
		return;
	if (inner->half_read == vq)
		inner->half_read = NULL;
	if (inner->kind != UNIT_PMEM)
		return;
	inner->taken = 0;
	inner->ended = false;
}

/*
 * A loaded device looks at all its queues once, as a kick may have come while it moved. Here
 * none has: what a test has not kicked is not looked at, unless something was to be.
 */
REPLAY_WRAP(void, vmemdev_i_device_kick_all, (struct vmemdev_device *dev))
{
	struct unit *u = replay_on() ? unit_of(dev) : NULL;

	if (u != NULL && u->quiet)
		u->looks = true;
	else
		__real_vmemdev_i_device_kick_all(dev);
}

/* A loaded queue tells its driver once more, as it cannot know; the test would notice. */
REPLAY_WRAP(int, vmemdev_vq_load, (struct vmemdev_vq *vq, const struct vmemdev_vq_layout *layout,
				   uint64_t features, const struct vmemdev_vq_state *state))
{
	int err = __real_vmemdev_vq_load(vq, layout, features, state);

	if (err == 0 && inner != NULL && inner->quiet)
		vmemdev_vq_should_notify(vq);
	return err;
}
