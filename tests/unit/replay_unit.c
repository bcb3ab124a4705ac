/* SPDX-License-Identifier: BSD-3-Clause */
/* A device moved, and what its host does before and after. */
#include "replay_unit.h"

#include <stdlib.h>
#include <string.h>

REPLAY_WRAP(int, vmemdev_balloon_init, (struct vmemdev_balloon *balloon, size_t size,
					const struct vmemdev_balloon_config *config));
REPLAY_WRAP(int, vmemdev_mem_init, (struct vmemdev_mem *mem, size_t size,
				    const struct vmemdev_mem_config *config));
REPLAY_WRAP(int, vmemdev_pmem_init, (struct vmemdev_pmem *pmem, size_t size,
				     const struct vmemdev_pmem_config *config));
REPLAY_WRAP(int, vmemdev_mmio_init, (struct vmemdev_mmio *mmio, size_t size,
				     const struct vmemdev_mmio_config *config));
REPLAY_WRAP(int, vmemdev_device_attach, (struct vmemdev_device *dev,
					 const struct vmemdev_transport_ops *ops, void *ctx,
					 uint64_t features));
REPLAY_WRAP(int, vmemdev_device_load, (struct vmemdev_device *dev, const void *src, size_t len));
REPLAY_WRAP(void, vmemdev_i_device_kick_all, (struct vmemdev_device *dev));
REPLAY_WRAP(void, vmemdev_device_kick, (struct vmemdev_device *dev, uint16_t queue));
REPLAY_WRAP(int, vmemdev_device_run, (struct vmemdev_device *dev, uint32_t budget));
REPLAY_WRAP(int, vmemdev_mmio_load, (struct vmemdev_mmio *mmio, const void *src, size_t len));
REPLAY_WRAP(int, vmemdev_mem_listen, (struct vmemdev_mem *mem, struct vmemdev_mem_listener *l));
REPLAY_WRAP(int, vmemdev_pmem_complete, (struct vmemdev_pmem *pmem, uint64_t token, int result));
REPLAY_WRAP(int, vmemdev_balloon_inhibit, (struct vmemdev_balloon *balloon));
REPLAY_WRAP(int, vmemdev_balloon_allow_reports, (struct vmemdev_balloon *balloon, uint64_t bytes));
REPLAY_WRAP(void, vmemdev_balloon_get_counts, (const struct vmemdev_balloon *balloon,
					       struct vmemdev_balloon_counts *counts));
REPLAY_WRAP(void, vmemdev_mem_get_counts, (const struct vmemdev_mem *mem,
					   struct vmemdev_mem_counts *counts));
REPLAY_WRAP(void, vmemdev_pmem_get_counts, (const struct vmemdev_pmem *pmem,
					    struct vmemdev_pmem_counts *counts));

/* A record, and the room behind it that save must leave alone. */
struct saved {
	uint8_t *bytes;
	size_t size, len;
};

static struct unit *units;

struct unit *unit_of(const struct vmemdev_device *dev)
{
	struct unit *u = units;

	while (u != NULL && u->dev != dev)
		u = u->next;
	return u;
}

struct vmemdev_device *unit_behind(const struct vmemdev_mmio *mmio)
{
	struct unit *u = units;

	while (u != NULL && u->mmio != mmio)
		u = u->next;
	return u != NULL ? u->dev : NULL;
}

void unit_forget_all(void)
{
	while (units != NULL) {
		struct unit *u = units;

		units = u->next;
		free(u);
	}
}

struct unit *unit_make(struct vmemdev_device *dev, void *object, size_t size,
		       enum unit_kind kind)
{
	struct unit *u = unit_of(dev);
	struct unit *next;

	if (u == NULL) {
		u = calloc(1, sizeof(*u));
		if (u == NULL)
			replay_fail("no memory for a unit", 0);
		u->next = units;
		units = u;
	}
	next = u->next;
	memset(u, 0, sizeof(*u));
	u->next = next;
	u->dev = dev;
	u->object = object;
	u->size = size;
	u->kind = kind;
	u->report_limit = UINT64_MAX;
	return u;
}

void unit_unlisten(struct unit *u, const struct vmemdev_mem_listener *listener)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < u->listener_count; i++) {
		if (u->listeners[i] != listener)
			u->listeners[kept++] = u->listeners[i];
	}
	u->listener_count = kept;
}

void unit_add_counts(const void *object, void *counts, size_t size)
{
	struct unit *u = units;
	uint64_t *each = counts;

	while (u != NULL && u->object != object)
		u = u->next;
	for (size_t i = 0; u != NULL && i < size / sizeof(*each); i++)
		each[i] += u->counts[i];
}

static void must(int got, const char *what)
{
	if (got != 0)
		replay_fail(what, got);
}

/* Returns whether the device may be saved. */
static bool save(const struct unit *u, struct saved *saved)
{
	int err;

	saved->size = vmemdev_device_save_size(u->dev);
	saved->bytes = malloc(saved->size);
	if (saved->bytes == NULL)
		replay_fail("no memory for a record", (int64_t)saved->size);
	err = vmemdev_device_save(u->dev, saved->bytes, saved->size, &saved->len);
	if (err == 0)
		return true;
	free(saved->bytes);
	if (err != VMEMDEV_E_STATE)
		replay_fail("save", err);
	return false;
}

/* All counters are 64 bits wide. Add what the device has counted, or take it off. */
static void count(struct unit *u, uint64_t sign)
{
	union {
		struct vmemdev_balloon_counts balloon;
		struct vmemdev_mem_counts mem;
		struct vmemdev_pmem_counts pmem;
		uint64_t each[UNIT_COUNTS];
	} now;

	memset(&now, 0, sizeof(now));
	if (u->kind == UNIT_BALLOON)
		__real_vmemdev_balloon_get_counts(u->object, &now.balloon);
	else if (u->kind == UNIT_MEM)
		__real_vmemdev_mem_get_counts(u->object, &now.mem);
	else
		__real_vmemdev_pmem_get_counts(u->object, &now.pmem);
	for (uint32_t i = 0; i < UNIT_COUNTS; i++)
		u->counts[i] += sign * now.each[i];
}

/* The object and the memory that its host lends it. */
static void spoil(struct unit *u)
{
	const struct vmemdev_balloon_config *b = &u->config.balloon;
	const struct vmemdev_mem_config *m = &u->config.mem;
	const struct vmemdev_pmem_config *p = &u->config.pmem;

	replay_spoil(u->object, u->size);
	if (u->mmio != NULL)
		replay_spoil(u->mmio, sizeof(*u->mmio));
	if (u->kind == UNIT_MEM)
		replay_spoil(m->bitmap, m->bitmap_words * sizeof(*m->bitmap));
	else if (u->kind == UNIT_PMEM)
		replay_spoil(p->requests, p->request_count * sizeof(*p->requests));
	if (u->kind != UNIT_BALLOON)
		return;
	replay_spoil(b->ranges, b->range_count * sizeof(*b->ranges));
	for (uint32_t i = 0; b->tracks != NULL && i < b->track_count; i++) {
		const struct vmemdev_balloon_track *t = &b->tracks[i];

		replay_spoil(t->words, sizeof(*t->words) *
			     vmemdev_balloon_track_words(t->len, t->frame_shift));
	}
}

static void make_again(struct unit *u)
{
	struct vmemdev_mmio_config mmio = u->mmio_config;
	int err;

	if (u->kind == UNIT_BALLOON)
		err = __real_vmemdev_balloon_init(u->object, u->size, &u->config.balloon);
	else if (u->kind == UNIT_MEM)
		err = __real_vmemdev_mem_init(u->object, u->size, &u->config.mem);
	else
		err = __real_vmemdev_pmem_init(u->object, u->size, &u->config.pmem);
	must(err, "init in the same place");
	if (u->transport != NULL)
		must(__real_vmemdev_device_attach(u->dev, &unit_transport, u,
						  u->transport_features), "attach");
	if (u->mmio == NULL)
		return;
	mmio.interrupt = unit_interrupt;
	mmio.ctx = u;
	must(__real_vmemdev_mmio_init(u->mmio, sizeof(*u->mmio), &mmio), "mmio_init");
}

/* What was plugged is told to those who know it: they need not hear it. */
static int unheard_plug(void *ctx, const struct vmemdev_range *ranges, uint32_t ranges_count)
{
	(void)ctx;
	(void)ranges;
	(void)ranges_count;
	return 0;
}

static void listen_again(struct unit *u)
{
	for (uint32_t i = 0; i < u->listener_count; i++) {
		struct vmemdev_mem_listener *l = u->listeners[i];
		int (*plug)(void *, const struct vmemdev_range *, uint32_t) = l->plug;

		l->plug = unheard_plug;
		must(__real_vmemdev_mem_listen(u->object, l), "listen");
		l->plug = plug;
	}
}

/* Bytes that count against a limit of reports. */
static uint64_t reported(const uint64_t *counts)
{
	struct vmemdev_balloon_counts c;

	memcpy(&c, counts, sizeof(c));
	return VMEMDEV_BALLOON_PAGE *
	       (c.pages_reported + c.pages_ignored + c.pages_inhibited + c.pages_poisoned +
		c.pages_short);
}

void unit_limit(struct unit *u, uint64_t bytes)
{
	uint64_t now[UNIT_COUNTS] = {0};

	__real_vmemdev_balloon_get_counts(u->object, (struct vmemdev_balloon_counts *)now);
	u->report_limit = bytes;
	u->report_seen = reported(now) + reported(u->counts);
}

static void limit_again(struct unit *u)
{
	uint64_t now = reported(u->counts), gone;

	if (u->report_limit == UINT64_MAX)
		return;
	gone = now - u->report_seen;
	u->report_limit -= gone < u->report_limit ? gone : u->report_limit;
	u->report_seen = now;
	must(__real_vmemdev_balloon_allow_reports(u->object, u->report_limit), "allow_reports");
}

static void inhibit_again(struct unit *u)
{
	for (uint32_t i = 0; i < u->inhibits; i++)
		must(__real_vmemdev_balloon_inhibit(u->object), "inhibit");
}

/*
 * Work that was put off is asked for once more, when the chains that it is for are taken
 * again: as many units of budget. If it has ended meanwhile, it has now, too.
 */
static void ask_again(struct unit *u, uint32_t chains)
{
	u->later.again = false;
	u->later.on = true;
	__real_vmemdev_device_kick(u->dev, 0);
	__real_vmemdev_device_run(u->dev, chains);
	if (!u->later.again)
		replay_fail("what was put off is not asked for again", chains);
	/* The test has a token for it. */
	u->token_base--;
	if (!u->ended)
		return;
	must(__real_vmemdev_pmem_complete(u->object, u->later.token, u->end_result), "complete");
	u->later.on = false;
}

/* A balloon's set of statistics is read again: its queue is the first optional one. */
static void read_again(struct unit *u)
{
	__real_vmemdev_device_kick(u->dev, 2);
	__real_vmemdev_device_run(u->dev, 1);
}

static int64_t first_difference(const struct saved *a, const struct saved *b)
{
	size_t i = 0;

	while (i < a->len && i < b->len && a->bytes[i] == b->bytes[i])
		i++;
	return (int64_t)i;
}

static void compare(const struct unit *u, const struct saved *before)
{
	struct saved after;

	if (!save(u, &after))
		replay_fail("a loaded device cannot be saved", 0);
	if (after.len != before->len || memcmp(after.bytes, before->bytes, after.len) != 0)
		replay_fail("a device saves something else after its load, first at byte",
			    first_difference(before, &after));
	free(after.bytes);
}

/* Fresh, and as the host had set it. */
static void begin_again(struct unit *u)
{
	u->token_base = u->token_last;
	make_again(u);
	if (u->kind == UNIT_BALLOON)
		limit_again(u);
}

/* What a running host goes on with. */
static void go_on_again(struct unit *u, uint32_t taken, bool pending)
{
	const bool waits = u->kind != UNIT_BALLOON && (u->later.on || u->ended);
	const uint8_t stopped = VMEMDEV_STATUS_FAILED | VMEMDEV_STATUS_NEEDS_RESET;

	u->taken = 0;
	listen_again(u);
	inhibit_again(u);
	if (vmemdev_device_status(u->dev) & stopped) {
		u->ended = false;
		return;
	}
	if (waits)
		ask_again(u, u->kind == UNIT_PMEM ? taken : 1);
	else if (taken > 0)
		read_again(u);
	if (pending)
		__real_vmemdev_i_device_kick_all(u->dev);
}

static void move(struct unit *u, const struct saved *before)
{
	uint8_t block[VMEMDEV_MMIO_SAVE_SIZE];
	const bool pending = vmemdev_device_pending(u->dev);
	const int fault = vmemdev_device_fault(u->dev);
	const uint32_t taken = u->taken;
	struct vmemdev_balloon_stats stats;

	if (u->mmio != NULL)
		must(vmemdev_mmio_save(u->mmio, block, sizeof(block)), "mmio_save");
	if (u->kind == UNIT_BALLOON) {
		vmemdev_balloon_get_stats(u->object, &stats);
		u->stats_updated = stats.updated;
	}
	count(u, 1);
	spoil(u);
	u->quiet = true;
	u->told = u->looks = false;
	begin_again(u);
	must(__real_vmemdev_device_load(u->dev, before->bytes, before->len), "load");
	if (vmemdev_device_fault(u->dev) == 0 && !u->looks)
		replay_fail("a loaded device does not look at its queues", 0);
	/* Where a ring has gone, the load has found it, before the device did. */
	if (vmemdev_device_fault(u->dev) == fault)
		compare(u, before);
	if (u->mmio != NULL)
		must(__real_vmemdev_mmio_load(u->mmio, block, sizeof(block)), "mmio_load");
	go_on_again(u, taken, pending);
	/* What was done once more does not count. */
	count(u, UINT64_MAX);
	u->quiet = false;
	if (u->told && u->transport != NULL)
		u->transport->config_interrupt(u->transport_ctx);
}

/* Whether a poll of statistics waits for the run that hands the buffer back. */
static bool polled(const struct unit *u)
{
	struct vmemdev_balloon_stats stats;

	vmemdev_balloon_get_stats(u->object, &stats);
	return stats.pending && u->taken > 0;
}

/*
 * What is documented to be lost, or to be done twice: a balloon's work that was put off, or has
 * ended and is not answered, counts as failed; an array that is half read is read again from
 * its start; so is the catching up with discards; a set of statistics is told again.
 */
static bool test_would_notice(const struct unit *u)
{
	if (u->kind != UNIT_BALLOON || vmemdev_device_fault(u->dev) != 0)
		return false;
	return u->later.on || u->ended || u->half_read != NULL || u->catching_up || polled(u);
}

void unit_step(struct unit *u)
{
	struct saved before;

	if (u == NULL || u->quiet || u->spoilt || !replay_wanted())
		return;
	if (test_would_notice(u)) {
		replay_count(REPLAY_PASSED);
		return;
	}
	if (!save(u, &before)) {
		replay_count(REPLAY_REFUSED);
		return;
	}
	move(u, &before);
	free(before.bytes);
	replay_count(REPLAY_MOVED);
}
