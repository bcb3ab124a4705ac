// SPDX-License-Identifier: BSD-3-Clause
/*
 * Huge pages are scarce: those that a balloon or a report gave back may be others' by the time
 * the guest wants them again. A guest that says so first (MUST_TELL_HOST) is made to wait for
 * the answer, until the host has pages. One that just touches them is in the hands of KVM,
 * whose asynchronous page faults drop the error and try again for ever, without a word to the
 * VMM: the guest stands still until there are pages. All that this VMM can do there is to say
 * so, as soon as it may happen.
 */
#include <inttypes.h>
#include <stdio.h>

#include "vmm.h"

#define RETRY (100 * MILLISECOND)

/* ---- a deflate that waits ---- */

uint64_t huge_waiting(const struct balloon *balloon)
{
	const struct deflate *deflate = &balloon->deflate;
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < deflate->count; i++)
		bytes += deflate->ranges[i].len;
	return bytes;
}

static int bring_all(struct vmm *vmm, const struct vmemdev_range *ranges, uint32_t count)
{
	int err = 0;

	for (uint32_t i = 0; i < count && !err; i++)
		err = memory_bring(vmm, &ranges[i]);
	return err;
}

int huge_deflate(void *ctx, const struct vmemdev_range *ranges, uint32_t count, uint64_t token)
{
	struct balloon *balloon = ctx;
	struct deflate *deflate = &balloon->deflate;

	if (!bring_all(balloon->vmm, ranges, count))
		return 0;
	deflate->ranges = ranges;
	deflate->count = count;
	deflate->token = token;
	timer_set(&deflate->timer, RETRY);
	if (!deflate->waits++)
		fail("balloon: the guest wants %" PRIu64 " bytes back, but the host has no free "
		     "huge page: it waits until there are some in /proc/sys/vm/nr_hugepages; "
		     "further waits are only told as events", huge_waiting(balloon));
	control_number_event(balloon->vmm, "deflate-waits", balloon->slot->id, "bytes",
			     huge_waiting(balloon));
	return VMEMDEV_LATER;
}

static void end_wait(struct deflate *deflate)
{
	timer_set(&deflate->timer, 0);
	deflate->count = 0;
}

void huge_cancel(void *ctx, uint64_t token)
{
	struct balloon *balloon = ctx;

	(void)token; /* there is but one */
	end_wait(&balloon->deflate);
}

static void try_again(void *ctx)
{
	struct balloon *balloon = ctx;
	struct deflate *deflate = &balloon->deflate;

	if (!timer_rang(&deflate->timer))
		return;
	pthread_mutex_lock(&balloon->vmm->lock);
	if (deflate->count && !bring_all(balloon->vmm, deflate->ranges, deflate->count)) {
		control_number_event(balloon->vmm, "deflate-goes-on", balloon->slot->id, "bytes",
				     huge_waiting(balloon));
		end_wait(deflate);
		vmemdev_balloon_complete(&balloon->device, deflate->token, 0);
	}
	pthread_mutex_unlock(&balloon->vmm->lock);
}

int huge_create_deflate(struct balloon *balloon)
{
	return timer_add(balloon->vmm, &balloon->deflate.timer, try_again, balloon);
}

/* ---- touches that would find no page ---- */

/* A number that the kernel shows of its pool of pages of that size. */
static uint64_t pool_number(uint64_t page, const char *what)
{
	unsigned long long number = 0;
	char path[96];
	FILE *file;

	snprintf(path, sizeof(path), "/sys/kernel/mm/hugepages/hugepages-%" PRIu64 "kB/%s",
		 page >> 10, what);
	file = fopen(path, "re");
	if (!file)
		return 0;
	if (fscanf(file, "%llu", &number) != 1)
		number = 0;
	fclose(file);
	return number;
}

static bool pool_has_pages(uint64_t page)
{
	uint64_t more = pool_number(page, "nr_overcommit_hugepages"); /* made when wanted */

	return pool_number(page, "free_hugepages") > pool_number(page, "resv_hugepages") ||
	       more > pool_number(page, "surplus_hugepages");
}

/*
 * RAM that is not there and that the guest can touch without a word. What it has never touched
 * is still set aside for it; if others have pages set aside, too, less is seen than there is.
 */
static uint64_t uncovered(struct vmm *vmm)
{
	uint64_t page = memory_page(vmm), ram = vmm->low_ram + vmm->high_ram, covered;

	if (pool_has_pages(page))
		return 0;
	covered = memory_ram_resident(vmm) + pool_number(page, "resv_hugepages") * page;
	if (vmm->balloon.slot)
		covered += balloon_given(&vmm->balloon);
	return ram > covered ? ram - covered : 0;
}

static void look_for_shortage(void *ctx)
{
	struct vmm *vmm = ctx;
	uint64_t bytes;

	if (!timer_rang(&vmm->shortage_timer))
		return;
	bytes = uncovered(vmm);
	if (bytes && !vmm->shortage) {
		fail("%" PRIu64 " bytes of the guest's RAM have no page, and the host has no free "
		     "huge page: a guest that touches them stands still until there are some in "
		     "/proc/sys/vm/nr_hugepages", bytes);
		pthread_mutex_lock(&vmm->lock);
		control_number_event(vmm, "memory-short", "machine", "bytes", bytes);
		pthread_mutex_unlock(&vmm->lock);
	}
	vmm->shortage = bytes;
}

int huge_create(struct vmm *vmm)
{
	if (memory_page(vmm) == SMALL_PAGE)
		return 0;
	if (timer_add(vmm, &vmm->shortage_timer, look_for_shortage, vmm))
		return -1;
	timer_set(&vmm->shortage_timer, SECOND);
	return 0;
}
