/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A guest that changes its memory between any two reads of the library: bits turn, an index
 * becomes its neighbour, a descriptor another one, a length everything or nothing, an address
 * one in ROM, in a hole or at the end of a region; and some turn back after the next read.
 * What such a guest gets is its own affair. What the host gets must be in order at any time:
 * watch.h says what is watched of guest memory and of chains; here are added what callbacks are
 * told (whole pages and blocks that are memory, never twice the same block), a second book of
 * plugged blocks, that each run ends within its bounds, and that a reset always helps.
 */
#include "play.h"

#ifdef FEWER_STEPS
#define STEPS 6000u
#else
#define STEPS 30000u
#endif

struct racer {
	struct player *player;
	struct guest_random random;
	bool armed;
	uint32_t odds; /* a change at one read of so many */
	uint8_t *back; /* bytes that turn back after the next read */
	uint8_t back_bytes[16];
	uint32_t back_len;
	uint64_t changes;
};

static uint32_t below(struct racer *r, uint32_t limit)
{
	return guest_random_below(&r->random, limit);
}

/* The changes. */

static uint64_t odd_address(struct racer *r)
{
	const uint64_t places[] = {
		ROM_GPA, KEEP_GPA, NEXT_GPA - 8, NEXT_GPA + EXTRA_SIZE - 4, RAM_GPA,
		RAM_GPA - 16, UINT64_MAX - 7, MEM_GPA + MEM_BLOCK - 8,
		DATA_GPA + below(r, SLOTS) * SLOT, PLAY_GPA + below(r, 512) * PAGE,
	};

	return places[below(r, ARRAY_LEN(places))];
}

static void change_descriptor(struct racer *r, uint8_t *at)
{
	const uint32_t lengths[] = {0, 1, 4, 16, 24, 1024, 65536, 0x7fffffff, UINT32_MAX};

	switch (below(r, 5)) {
	case 0:
		put64(at, odd_address(r));
		break;
	case 1:
		put32(at + 8, lengths[below(r, ARRAY_LEN(lengths))]);
		break;
	case 2:
		at[12 + below(r, 4)] ^= (uint8_t)(1u << below(r, 8));
		break;
	case 3:
		put16(at + 12 + 2 * below(r, 2), (uint16_t)below(r, ENTRIES + 1));
		break;
	default:
		/* another descriptor of the same ring, or what lies where it would be */
		memcpy(at, guest_at(&r->player->rig->memory,
				    r->player->rig->driver.queues[0].layout.desc + 16 * below(r, ENTRIES),
				    16), 16);
		break;
	}
}

static void change_words(struct racer *r, uint8_t *at, size_t len)
{
	size_t i = below(r, (uint32_t)len);

	switch (below(r, 4)) {
	case 0:
		at[i] ^= (uint8_t)(1u << below(r, 8));
		break;
	case 1:
		at[i & ~(size_t)1]++;
		break;
	case 2:
		memset(at, below(r, 2) ? 0xff : 0, len);
		break;
	default:
		if (len >= 4)
			put32(at + (i & ~(size_t)3) % (len - 3), PLAY_PFN + below(r, 512));
		else
			at[0] = (uint8_t)below(r, ENTRIES);
		break;
	}
}

static void turn_back(struct racer *r)
{
	if (r->back != NULL)
		memcpy(r->back, r->back_bytes, r->back_len);
	r->back = NULL;
}

static void between_reads(void *ctx, uint8_t *host, size_t len)
{
	struct racer *r = ctx;

	if (!r->armed)
		return;
	turn_back(r);
	if (below(r, r->odds) != 0)
		return;
	r->changes++;
	if (below(r, 4) == 0) {
		/* somewhere else: the rings, which lie at the start of RAM, or a request */
		uint64_t gpa = below(r, 2) ? RAM_GPA + below(r, 0x8000)
					   : DATA_GPA + below(r, SLOTS * SLOT);

		host = guest_at(&r->player->rig->memory, gpa & ~UINT64_C(15), 16);
		len = 16;
	}
	if (below(r, 3) == 0 && len <= sizeof(r->back_bytes)) {
		r->back = host;
		r->back_len = (uint32_t)len;
		memcpy(r->back_bytes, host, len);
	}
	if (len == 16)
		change_descriptor(r, host);
	else
		change_words(r, host, len);
}

/* A good driver comes, with memory that stays as it is. */
static void recover(struct racer *r)
{
	turn_back(r);
	r->armed = false;
	play_reset(r->player);
	r->armed = true;
}

static void step(struct racer *r)
{
	struct player *p = r->player;
	uint32_t what = below(r, 40);

	if (what < 16)
		play_post(p);
	else if (what < 34 && (play_run(p) < 0 || !play_take(p)))
		recover(r);
	else if (what >= 34 && what < 37)
		play_complete(p, below(r, 4) ? 0 : VMEMDEV_E_HOST);
	else if (what >= 37 && what < 39)
		play_control(p);
	else if (what == 39 && below(r, 20) == 0)
		recover(r);
	/* The guest has made its own ring useless, and notices. */
	if (p->full > ENTRIES)
		recover(r);
}

/* returns: how often the guest changed its mind */
static uint64_t race(void **state, enum play_device device, uint64_t seed)
{
	struct racer r = {.player = play_open(*state, device, seed)};
	struct player *p = r.player;

	guest_random_seed(&r.random, seed + 1000);
	r.odds = 4u << below(&r, 8);
	watch.on_read = between_reads;
	watch.ctx = &r;
	r.armed = true;
	for (watch.step = 0; watch.step < STEPS; watch.step++)
		step(&r);
	recover(&r);
	print_message("seed %u: %u changes, %u faults, %u resets, %u host calls, %u chains\n",
		      (unsigned int)seed, (unsigned int)r.changes, (unsigned int)p->faults,
		      (unsigned int)p->resets, (unsigned int)p->calls, (unsigned int)watch.pushed);
	assert_true(p->calls > 20 && watch.pushed > 20);
	play_close(p);
	return r.changes;
}

static void race_all(void **state, enum play_device device, uint64_t first)
{
	uint64_t changes = 0;

	for (uint64_t seed = first; seed < first + 24; seed++)
		changes += race(state, device, seed);
	assert_true(changes > STEPS / 2);
}

/* shows: HOST-VQ-13 HOST-VQ-14 HOST-VQ-16 HOST-VQ-17 HOST-BAL-01 HOST-BAL-02 */
static void HOST_VQ_13_balloon_of_a_guest_that_changes_its_mind(void **state)
{
	race_all(state, PLAY_BALLOON, 100);
}

/* shows: HOST-VQ-13 HOST-VQ-14 HOST-MEM-03 HOST-MEM-06 HOST-MEM-07 */
static void HOST_VQ_13_blocks_of_a_guest_that_changes_its_mind(void **state)
{
	race_all(state, PLAY_MEM, 200);
}

/* shows: HOST-VQ-13 HOST-PMEM-01 HOST-PMEM-02 HOST-PMEM-03 */
static void HOST_VQ_13_flushes_of_a_guest_that_changes_its_mind(void **state)
{
	race_all(state, PLAY_PMEM, 300);
}

static int keep_state(void **state)
{
	(void)state;
	return 0;
}

#define TEST_RACE(f, text, n) {#f " (" text ")", f, keep_state, NULL, (void *)&ways[n]}
#define TEST_RACES(f) TEST_RACE(f, "split", 0), TEST_RACE(f, "packed", 1)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_RACES(HOST_VQ_13_balloon_of_a_guest_that_changes_its_mind),
		TEST_RACES(HOST_VQ_13_blocks_of_a_guest_that_changes_its_mind),
		TEST_RACES(HOST_VQ_13_flushes_of_a_guest_that_changes_its_mind),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
