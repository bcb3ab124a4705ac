// SPDX-License-Identifier: BSD-3-Clause
/*
 * Free page hints, so that a snapshot may leave hinted pages out. A hint is good only for a page
 * that the guest has not written since its round was started: the guest keeps hinted pages, but
 * takes them back without a word when it is short of memory. So KVM notes what is written from
 * before the round's start on, and a page that was hinted and written counts as written, in
 * whatever order that came about. This is for the RAM alone.
 *
 * KVM notes what vCPUs write, and not what our devices write to rings and to buffers. That misses
 * nothing as long as the guest has written to such a page itself, to put it to use, as Linux does.
 * A VMM whose devices write whole pages that the guest has not touched, such as a disk, has to note
 * these, too.
 */
#include <stdlib.h>

#include "vmm.h"

#define PAGE_SHIFT 12
#define WORD 64

static const uint32_t kvm_slots[HINT_PARTS] = {LOW_RAM_SLOT, HIGH_RAM_SLOT};
static const uint64_t starts[HINT_PARTS] = {0, HIGH_RAM_START};

static uint64_t pages_of(const struct vmm *vmm, unsigned part)
{
	return (part ? vmm->high_ram : vmm->low_ram) >> PAGE_SHIFT;
}

static size_t words_of(const struct vmm *vmm, unsigned part)
{
	return (size_t)((pages_of(vmm, part) + WORD - 1) / WORD);
}

void hints_end(struct vmm *vmm)
{
	struct hints *hints = &vmm->hints;

	for (unsigned i = 0; i < HINT_PARTS && hints->open; i++) {
		if (pages_of(vmm, i))
			memory_log_writes(vmm, kvm_slots[i], false);
		free(hints->hinted[i]);
		free(hints->written[i]);
		hints->hinted[i] = hints->written[i] = NULL;
	}
	hints->open = false;
}

/* KVM's log is empty after that, so it is kept here. */
int hints_look(struct vmm *vmm)
{
	struct hints *hints = &vmm->hints;
	int err = 0;

	for (unsigned i = 0; i < HINT_PARTS && hints->open && !err; i++) {
		size_t words = words_of(vmm, i);
		uint64_t *log = calloc(words + 1, sizeof(*log));

		err = !log ? fail("out of memory") : words ?
		      kvm_take_written(vmm, kvm_slots[i], log) : 0;
		for (size_t w = 0; w < words && !err; w++)
			hints->written[i][w] |= log[w];
		free(log);
	}
	return err;
}

/*
 * Hints of the round before are good for what was not written until now. Those that are still to
 * come are not: no device runs between this and the new round, which makes them stale.
 */
static int begin_again(struct vmm *vmm)
{
	struct hints *hints = &vmm->hints;

	if (hints_look(vmm))
		return VMEMDEV_E_HOST;
	for (unsigned i = 0; i < HINT_PARTS; i++) {
		for (size_t w = 0; w < words_of(vmm, i); w++) {
			hints->hinted[i][w] &= ~hints->written[i][w];
			hints->written[i][w] = 0;
		}
	}
	return 0;
}

int hints_begin(struct vmm *vmm)
{
	struct hints *hints = &vmm->hints;
	int err = 0;

	if (hints->open)
		return begin_again(vmm);
	hints->open = true;
	for (unsigned i = 0; i < HINT_PARTS && !err; i++) {
		hints->hinted[i] = calloc(words_of(vmm, i) + 1, sizeof(uint64_t));
		hints->written[i] = calloc(words_of(vmm, i) + 1, sizeof(uint64_t));
		if (!hints->hinted[i] || !hints->written[i])
			err = fail("out of memory");
		else if (pages_of(vmm, i))
			err = memory_log_writes(vmm, kvm_slots[i], true);
	}
	if (err)
		hints_end(vmm);
	return err ? VMEMDEV_E_HOST : 0;
}

static void take_page(struct vmm *vmm, uint64_t gpa)
{
	unsigned part = gpa >= HIGH_RAM_START;
	uint64_t page = (gpa - starts[part]) >> PAGE_SHIFT;

	if (page < pages_of(vmm, part))
		vmm->hints.hinted[part][page / WORD] |= UINT64_C(1) << page % WORD;
}

void hints_take(struct vmm *vmm, const struct vmemdev_range *ranges, uint32_t count)
{
	uint64_t page = UINT64_C(1) << PAGE_SHIFT;

	for (uint32_t i = 0; i < count && vmm->hints.open; i++) {
		for (uint64_t at = 0; at < ranges[i].len; at += page)
			take_page(vmm, ranges[i].gpa + at);
	}
}

/* After a reset of the device, or "stop", nobody knows whose the pages are. */
bool hints_cover(const struct vmm *vmm, uint64_t gpa)
{
	const struct hints *hints = &vmm->hints;
	unsigned part = gpa >= HIGH_RAM_START;
	uint64_t page = (gpa - starts[part]) >> PAGE_SHIFT;
	uint32_t round;

	if (!hints->open || page >= pages_of(vmm, part))
		return false;
	round = vmemdev_balloon_hint_round(&vmm->balloon.device);
	if (round != VMEMDEV_BALLOON_ROUND_OPEN && round != VMEMDEV_BALLOON_ROUND_ENDED)
		return false;
	return (hints->hinted[part][page / WORD] & ~hints->written[part][page / WORD]) >>
	       page % WORD & 1;
}
