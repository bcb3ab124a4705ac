/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Moves of bare queues: vmemdev_vq_save() and vmemdev_vq_load(). A move is refused while a
 * chain is open or an entry is staged. publish is no step, as should_notify belongs to it: a
 * queue that is loaded does not know what it has told its driver, and tells it once more.
 * That one time is taken out here; where the question is still open, it is asked before.
 */
#include "replay.h"

#include <string.h>

#include <vmemdev/virtqueue.h>

#define QUEUES 64

/* What is known of a queue from the calls that were made to it. */
struct seen {
	struct vmemdev_vq *vq;
	const struct vmemdev_chain *chain; /* the newest popped */
	struct vmemdev_guest *guest;
	struct vmemdev_vq_layout layout;
	uint64_t features;
	uint16_t size_max;
	bool enabled;
	bool asked;  /* should_notify was asked since the last publish */
	bool wanted; /* the answer to a question that a move came before */
};

static struct seen all[QUEUES];
static uint32_t count;

void replay_next_test(void)
{
	memset(all, 0, sizeof(all));
}

static struct seen *find(const struct vmemdev_vq *vq)
{
	for (uint32_t i = 0; i < QUEUES; i++) {
		if (all[i].vq == vq)
			return &all[i];
	}
	return NULL;
}

REPLAY_WRAP(bool, vmemdev_vq_should_notify, (struct vmemdev_vq *vq));
REPLAY_WRAP(int, vmemdev_vq_load, (struct vmemdev_vq *vq, const struct vmemdev_vq_layout *layout,
				   uint64_t features, const struct vmemdev_vq_state *state));
REPLAY_WRAP(int, vmemdev_vq_init, (struct vmemdev_vq *vq, size_t size, struct vmemdev_guest *guest,
				   uint16_t size_max));

static void step(struct vmemdev_vq *vq)
{
	struct seen *s = replay_on() ? find(vq) : NULL;
	struct vmemdev_vq_state before, after;
	int err;

	if (s == NULL || !s->enabled || !replay_wanted())
		return;
	if (vmemdev_vq_save(vq, &before) != 0) {
		replay_count(REPLAY_REFUSED);
		return;
	}
	if (!s->asked)
		s->wanted |= __real_vmemdev_vq_should_notify(vq);
	s->asked = true;
	replay_spoil(vq, sizeof(*vq));
	if (__real_vmemdev_vq_init(vq, sizeof(*vq), s->guest, s->size_max) != 0)
		replay_fail("a queue cannot be initialised once more", 0);
	err = __real_vmemdev_vq_load(vq, &s->layout, s->features, &before);
	if (err != 0)
		replay_fail("a queue cannot be loaded", err);
	if (vmemdev_vq_save(vq, &after) != 0 || memcmp(&before, &after, sizeof(before)) != 0)
		replay_fail("a queue saves something else after its load", 0);
	__real_vmemdev_vq_should_notify(vq);
	replay_count(REPLAY_MOVED);
}

int __wrap_vmemdev_vq_init(struct vmemdev_vq *vq, size_t size, struct vmemdev_guest *guest,
			   uint16_t size_max)
{
	int err = __real_vmemdev_vq_init(vq, size, guest, size_max);
	struct seen *s = find(vq);

	if (err != 0)
		return err;
	if (s == NULL)
		s = &all[count++ % QUEUES];
	*s = (struct seen){.vq = vq, .guest = guest, .size_max = size_max};
	return 0;
}

static void enabled(struct vmemdev_vq *vq, const struct vmemdev_vq_layout *layout,
		    uint64_t features)
{
	struct seen *s = find(vq);

	if (s == NULL)
		return;
	s->layout = *layout;
	s->features = features;
	s->enabled = true;
	s->asked = true;
	s->wanted = false;
}

REPLAY_WRAP(int, vmemdev_vq_enable, (struct vmemdev_vq *vq, const struct vmemdev_vq_layout *layout,
				     uint64_t features))
{
	const struct vmemdev_vq_layout given = *layout;
	int err = __real_vmemdev_vq_enable(vq, layout, features);

	if (err == 0)
		enabled(vq, &given, features);
	step(vq);
	return err;
}

int __wrap_vmemdev_vq_load(struct vmemdev_vq *vq, const struct vmemdev_vq_layout *layout,
			   uint64_t features, const struct vmemdev_vq_state *state)
{
	const struct vmemdev_vq_layout given = *layout;
	int err = __real_vmemdev_vq_load(vq, layout, features, state);
	struct seen *s = find(vq);

	if (err == 0)
		enabled(vq, &given, features);
	/* This one the test has made itself, with all that belongs to it. */
	if (err == 0 && s != NULL)
		s->asked = false;
	step(vq);
	return err;
}

REPLAY_WRAP(void, vmemdev_vq_reset, (struct vmemdev_vq *vq))
{
	struct seen *s = find(vq);

	__real_vmemdev_vq_reset(vq);
	if (s != NULL)
		s->enabled = s->wanted = false;
}

/* A queue that broke tells nobody any more. */
static void look_at(struct vmemdev_vq *vq, int err)
{
	struct seen *s = find(vq);

	if (s != NULL && (err == VMEMDEV_E_GUEST_RING || err == VMEMDEV_E_GUEST_CHAIN))
		s->wanted = false;
	step(vq);
}

REPLAY_WRAP(int, vmemdev_vq_pop, (struct vmemdev_vq *vq, struct vmemdev_chain *chain))
{
	int err = __real_vmemdev_vq_pop(vq, chain);
	struct seen *s = find(vq);

	if (err > 0 && s != NULL)
		s->chain = chain;
	look_at(vq, err);
	return err;
}

REPLAY_WRAP(int, vmemdev_chain_finish, (struct vmemdev_chain *chain, struct vmemdev_held *held))
{
	int err = __real_vmemdev_chain_finish(chain, held);

	for (uint32_t i = 0; i < QUEUES; i++) {
		if (all[i].vq == NULL || all[i].chain != chain)
			continue;
		all[i].chain = NULL;
		look_at(all[i].vq, err);
	}
	return err;
}

REPLAY_WRAP(int, vmemdev_vq_push, (struct vmemdev_vq *vq, const struct vmemdev_held *held,
				   uint32_t written))
{
	int err = __real_vmemdev_vq_push(vq, held, written);

	look_at(vq, err);
	return err;
}

REPLAY_WRAP(int, vmemdev_vq_publish, (struct vmemdev_vq *vq))
{
	int err = __real_vmemdev_vq_publish(vq);
	struct seen *s = find(vq);

	if (err > 0 && s != NULL)
		s->asked = false;
	return err;
}

bool __wrap_vmemdev_vq_should_notify(struct vmemdev_vq *vq)
{
	bool wanted = __real_vmemdev_vq_should_notify(vq);
	struct seen *s = find(vq);

	if (s != NULL) {
		wanted = wanted || s->wanted;
		s->wanted = false;
		s->asked = true;
	}
	step(vq);
	return wanted;
}
