/* SPDX-License-Identifier: BSD-3-Clause */
/* Listeners of the memory device, in the order in which they began to listen. */
#include "device/mem_parts.h"

enum { RANGES = 16 }; /* handed to a listener at a time */

/* The plugged runs of [span->first, span->end), RANGES at the most; they leave @span. */
static uint32_t take_runs(const struct vmemdev_mem *m, struct span *span,
			  struct vmemdev_range *ranges)
{
	struct span run;
	uint32_t count = 0;

	while (count < RANGES && next_run(m, span->first, span->end, true, &run)) {
		ranges[count++] = range_of(m, run);
		span->first = run.end;
	}
	return count;
}

static void unplug_runs(const struct vmemdev_mem *m, const struct vmemdev_mem_listener *listener,
			struct span span)
{
	struct vmemdev_range ranges[RANGES];
	uint32_t count;

	while ((count = take_runs(m, &span, ranges)) > 0)
		listener->unplug(listener->ctx, ranges, count);
}

int listeners_plug(struct vmemdev_mem *m, struct span span)
{
	struct vmemdev_range range = range_of(m, span);
	struct vmemdev_mem_listener *listener, *told;
	int err = 0;

	for (listener = m->listeners_; listener != NULL && err == 0; listener = listener->next_) {
		err = listener->plug(listener->ctx, &range, 1);
		if (err == 0)
			continue;
		for (told = m->listeners_; told != listener; told = told->next_)
			told->unplug(told->ctx, &range, 1);
	}
	return err;
}

void listeners_unplug(struct vmemdev_mem *m, struct span span)
{
	struct vmemdev_mem_listener *listener;

	for (listener = m->listeners_; listener != NULL; listener = listener->next_)
		unplug_runs(m, listener, span);
}

/* The link that points at @listener, or the last one. */
static struct vmemdev_mem_listener **link_to(struct vmemdev_mem *m,
					     const struct vmemdev_mem_listener *listener)
{
	struct vmemdev_mem_listener **link = &m->listeners_;

	while (*link != NULL && *link != listener)
		link = &(*link)->next_;
	return link;
}

/* Returns 0, or what @listener answered, nothing of the replay being left with it. */
static int replay(const struct vmemdev_mem *m, const struct vmemdev_mem_listener *listener)
{
	struct span rest = { 0, usable_blocks(m) }, done = rest;
	struct vmemdev_range ranges[RANGES];
	uint32_t count;
	int err;

	while ((count = take_runs(m, &rest, ranges)) > 0) {
		err = listener->plug(listener->ctx, ranges, count);
		if (err != 0) {
			done.end = (ranges[0].gpa - m->addr_) >> m->block_shift_;
			unplug_runs(m, listener, done);
			return err;
		}
	}
	return 0;
}

int vmemdev_mem_listen(struct vmemdev_mem *mem, struct vmemdev_mem_listener *listener)
{
	struct vmemdev_mem_listener **link;
	int err;

	if (listener == NULL || listener->plug == NULL || listener->unplug == NULL)
		return VMEMDEV_E_INVAL;
	link = link_to(mem, listener);
	if (mem->device_.inside_ || *link != NULL)
		return VMEMDEV_E_STATE;
	mem->device_.inside_ = 1;
	err = replay(mem, listener);
	mem->device_.inside_ = 0;
	if (err != 0)
		return err;
	listener->next_ = NULL;
	*link = listener;
	return 0;
}

int vmemdev_mem_unlisten(struct vmemdev_mem *mem, struct vmemdev_mem_listener *listener)
{
	const struct span all = { 0, usable_blocks(mem) };
	struct vmemdev_mem_listener **link;

	if (listener == NULL)
		return VMEMDEV_E_INVAL;
	link = link_to(mem, listener);
	if (mem->device_.inside_ || *link == NULL)
		return VMEMDEV_E_STATE;
	*link = listener->next_;
	mem->device_.inside_ = 1;
	unplug_runs(mem, listener, all);
	mem->device_.inside_ = 0;
	return 0;
}
