/* SPDX-License-Identifier: BSD-3-Clause */
/* What devices call in the replay mode, in the place of a test's own tables. */
#include "replay_unit.h"

#include <string.h>

typedef int range_op(void *ctx, const struct vmemdev_range *ranges, uint32_t count,
		     uint64_t token);

static const struct vmemdev_balloon_ops *balloon_ops(const struct unit *u)
{
	return u->given_ops;
}

static const struct vmemdev_mem_ops *mem_ops(const struct unit *u)
{
	return u->given_ops;
}

static void not_while_moving(const struct unit *u)
{
	if (u->quiet)
		replay_fail("a load has called the host", 0);
}

static uint64_t token_out(struct unit *u, uint64_t real)
{
	u->token_last = u->token_base + real;
	return u->token_last;
}

/* After a move: it has to be what the host was asked before, word by word. */
static int asked_again(struct unit *u, range_op *op, const struct vmemdev_range *ranges,
		       uint32_t count, uint64_t token)
{
	struct unit_later *later = &u->later;

	if (!later->on || later->again || later->op != op || later->count != count)
		replay_fail("a load asks for something else", (int64_t)count);
	if (count > 0 && memcmp(later->ranges, ranges, count * sizeof(*ranges)) != 0)
		replay_fail("a load asks for other ranges", (int64_t)count);
	later->again = true;
	later->token = token;
	return VMEMDEV_LATER;
}

static void put_off(struct unit *u, range_op *op, const struct vmemdev_range *ranges,
		    uint32_t count, uint64_t token)
{
	struct unit_later *later = &u->later;

	if (count > UNIT_RANGES)
		replay_fail("more ranges than UNIT_RANGES", (int64_t)count);
	*later = (struct unit_later){.on = true, .token = token, .op = op, .count = count};
	if (count > 0)
		memcpy(later->ranges, ranges, count * sizeof(*ranges));
}

static int call(struct unit *u, range_op *op, const struct vmemdev_range *ranges, uint32_t count,
		uint64_t token)
{
	int result;

	if (u->quiet)
		return asked_again(u, op, ranges, count, token);
	result = op(u->given_ctx, ranges, count, token_out(u, token));
	if (result == VMEMDEV_LATER && (u->kind != UNIT_BALLOON || balloon_ops(u)->cancel != NULL))
		put_off(u, op, ranges, count, token);
	return result;
}

static int on_inflate(void *ctx, const struct vmemdev_range *ranges, uint32_t count,
		      uint64_t token)
{
	return call(ctx, balloon_ops(ctx)->inflate, ranges, count, token);
}

static int on_deflate(void *ctx, const struct vmemdev_range *ranges, uint32_t count,
		      uint64_t token)
{
	return call(ctx, balloon_ops(ctx)->deflate, ranges, count, token);
}

static int on_report(void *ctx, const struct vmemdev_range *ranges, uint32_t count,
		     uint64_t token)
{
	return call(ctx, balloon_ops(ctx)->report, ranges, count, token);
}

static void on_hint(void *ctx, const struct vmemdev_range *ranges, uint32_t count)
{
	struct unit *u = ctx;

	not_while_moving(u);
	balloon_ops(u)->hint(u->given_ctx, ranges, count);
}

static void on_round(void *ctx, enum vmemdev_balloon_round round)
{
	struct unit *u = ctx;

	not_while_moving(u);
	balloon_ops(u)->round(u->given_ctx, round);
}

static uint64_t on_stats(void *ctx)
{
	struct unit *u = ctx;

	if (u->quiet)
		return u->stats_updated;
	return balloon_ops(u)->stats(u->given_ctx);
}

static void on_unknown_stat(void *ctx, uint16_t tag, uint64_t value)
{
	struct unit *u = ctx;

	if (!u->quiet)
		balloon_ops(u)->unknown_stat(u->given_ctx, tag, value);
}

static void on_cancel(void *ctx, uint64_t token)
{
	struct unit *u = ctx;

	not_while_moving(u);
	u->later.on = false;
	balloon_ops(u)->cancel(u->given_ctx, u->token_base + token);
}

static void on_actual(void *ctx, uint64_t bytes)
{
	struct unit *u = ctx;

	not_while_moving(u);
	balloon_ops(u)->actual(u->given_ctx, bytes);
}

static int on_plug(void *ctx, const struct vmemdev_range *ranges, uint32_t count, uint64_t token)
{
	return call(ctx, mem_ops(ctx)->plug, ranges, count, token);
}

static int on_unplug(void *ctx, const struct vmemdev_range *ranges, uint32_t count,
		     uint64_t token)
{
	return call(ctx, mem_ops(ctx)->unplug, ranges, count, token);
}

static void on_plugged(void *ctx, uint64_t bytes)
{
	struct unit *u = ctx;

	not_while_moving(u);
	mem_ops(u)->plugged(u->given_ctx, bytes);
}

static int on_flush(void *ctx, uint64_t token)
{
	struct unit *u = ctx;
	const struct vmemdev_pmem_ops *ops = u->given_ops;
	int result;

	if (u->quiet)
		return asked_again(u, NULL, NULL, 0, token);
	result = ops->flush(u->given_ctx, token_out(u, token));
	if (result == VMEMDEV_LATER)
		put_off(u, NULL, NULL, 0, token);
	return result;
}

static void redirect_balloon(struct unit *u)
{
	const struct vmemdev_balloon_ops *given = u->config.balloon.ops;

	u->given_ops = given;
	u->given_ctx = u->config.balloon.ctx;
	u->balloon_ops = (struct vmemdev_balloon_ops){
		.inflate = on_inflate,
		.deflate = given->deflate != NULL ? on_deflate : NULL,
		.report = given->report != NULL ? on_report : NULL,
		.hint = given->hint != NULL ? on_hint : NULL,
		.round = given->round != NULL ? on_round : NULL,
		.stats = given->stats != NULL ? on_stats : NULL,
		.unknown_stat = given->unknown_stat != NULL ? on_unknown_stat : NULL,
		.cancel = given->cancel != NULL ? on_cancel : NULL,
		.actual = given->actual != NULL ? on_actual : NULL,
	};
	u->config.balloon.ops = &u->balloon_ops;
	u->config.balloon.ctx = u;
}

static void redirect_mem(struct unit *u)
{
	const struct vmemdev_mem_ops *given = u->config.mem.ops;

	u->given_ops = given;
	u->given_ctx = u->config.mem.ctx;
	u->mem_ops = (struct vmemdev_mem_ops){
		.plug = given->plug != NULL ? on_plug : NULL,
		.unplug = on_unplug,
		.plugged = given->plugged != NULL ? on_plugged : NULL,
	};
	u->config.mem.ops = &u->mem_ops;
	u->config.mem.ctx = u;
}

void unit_redirect(struct unit *u)
{
	if (u->kind == UNIT_BALLOON) {
		redirect_balloon(u);
		return;
	}
	if (u->kind == UNIT_MEM) {
		redirect_mem(u);
		return;
	}
	u->given_ops = u->config.pmem.ops;
	u->given_ctx = u->config.pmem.ctx;
	u->pmem_ops.flush = on_flush;
	u->config.pmem.ops = &u->pmem_ops;
	u->config.pmem.ctx = u;
}

uint64_t unit_token(const struct unit *u, uint64_t given)
{
	return given > u->token_base ? given - u->token_base : 0;
}

/* The transport: silent while a device moves, as its driver has nothing to learn. */

static void queue_interrupt(void *ctx, uint16_t queue)
{
	struct unit *u = ctx;

	if (!u->quiet)
		u->transport->queue_interrupt(u->transport_ctx, queue);
}

static void config_interrupt(void *ctx)
{
	struct unit *u = ctx;

	if (u->quiet)
		u->told = true;
	else
		u->transport->config_interrupt(u->transport_ctx);
}

static void was_reset(void *ctx)
{
	struct unit *u = ctx;

	if (!u->quiet)
		u->transport->reset(u->transport_ctx);
}

const struct vmemdev_transport_ops unit_transport = {
	.queue_interrupt = queue_interrupt,
	.config_interrupt = config_interrupt,
	.reset = was_reset,
};

void unit_interrupt(void *ctx, bool level)
{
	struct unit *u = ctx;

	if (!u->quiet)
		u->mmio_config.interrupt(u->mmio_config.ctx, level);
}
