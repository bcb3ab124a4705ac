/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A host with nothing: no libc, no allocation, no operating system. Each object stands in
 * static storage, and the library is used through its headers alone. It shows
 *
 *   - how guest memory, a balloon and a memory device are put together,
 *   - that the pure library needs nothing but the four functions in start.c.
 *
 * A guest (driver.c) then gives two pages to the balloon and plugs one block of memory.
 */
#include "bare.h"

#define BALLOON_SPACE 0x10000u /* where the guest keeps each device's queue */
#define MEM_SPACE 0x20000u

#define BLOCK 0x10000u
#define REGION_GPA 0x40000000u
#define REGION_SIZE (4 * BLOCK)

_Alignas(4096) uint8_t ram[RAM_SIZE];
static _Alignas(4096) uint8_t hotplug[REGION_SIZE];

static struct vmemdev_guest guest;
static struct vmemdev_balloon balloon;
static struct vmemdev_mem mem;
static struct vmemdev_mmio balloon_mmio, mem_mmio;

static struct vmemdev_region regions[2];
static struct vmemdev_range ranges[VMEMDEV_BALLOON_RANGES];
static uint64_t bitmap[1]; /* four blocks fit into a word */

/* What the host was told; a real one acts on it. */
static struct vmemdev_range given_up, plugged;
static unsigned int interrupts;

/* The guest has given pages up: a real host would hand them to somebody else. */
static int inflate(void *ctx, const struct vmemdev_range *list, uint32_t count, uint64_t token)
{
	(void)ctx;
	(void)token;
	for (uint32_t i = 0; i < count; i++) {
		for (uint64_t n = 0; n < list[i].len; n++)
			ram[list[i].gpa + n] = 0;
	}
	given_up = list[0];
	return 0;
}

/* The guest may use these blocks as soon as this returns. */
static int plug(void *ctx, const struct vmemdev_range *list, uint32_t count, uint64_t token)
{
	(void)ctx;
	(void)count;
	(void)token;
	plugged = list[0];
	return 0;
}

/* The guest will not touch these blocks any more. */
static int unplug(void *ctx, const struct vmemdev_range *list, uint32_t count, uint64_t token)
{
	(void)ctx;
	(void)list;
	(void)count;
	(void)token;
	return 0;
}

static void interrupt(void *ctx, bool level)
{
	(void)ctx;
	if (level)
		interrupts++;
}

static const struct vmemdev_balloon_ops balloon_ops = { .inflate = inflate };
static const struct vmemdev_mem_ops mem_ops = { .plug = plug, .unplug = unplug };

/* Guest memory: one stretch of RAM, for a start. */
static int build_guest(void)
{
	const struct vmemdev_guest_config config = {
		.struct_size = sizeof(config),
		.region_count = 1,
		.regions = regions,
	};

	regions[0] = (struct vmemdev_region){ .gpa = 0, .len = RAM_SIZE, .host = ram };
	return vmemdev_guest_init(&guest, sizeof(guest), &config);
}

static int build_balloon(void)
{
	const struct vmemdev_balloon_config config = {
		.struct_size = sizeof(config),
		.range_count = VMEMDEV_BALLOON_RANGES,
		.ranges = ranges,
		.device = { .guest = &guest },
		.ops = &balloon_ops,
	};
	const struct vmemdev_mmio_config mmio_config = {
		.struct_size = sizeof(mmio_config),
		.device = vmemdev_balloon_device(&balloon),
		.interrupt = interrupt,
	};
	int err = vmemdev_balloon_init(&balloon, sizeof(balloon), &config);

	if (err != 0)
		return err;
	return vmemdev_mmio_init(&balloon_mmio, sizeof(balloon_mmio), &mmio_config);
}

static int build_mem(void)
{
	const struct vmemdev_mem_config config = {
		.struct_size = sizeof(config),
		.addr = REGION_GPA,
		.region_size = REGION_SIZE,
		.block_size = BLOCK,
		.bitmap = bitmap,
		.bitmap_words = sizeof(bitmap) / sizeof(bitmap[0]),
		.device = { .guest = &guest },
		.ops = &mem_ops,
	};
	const struct vmemdev_mmio_config mmio_config = {
		.struct_size = sizeof(mmio_config),
		.device = vmemdev_mem_device(&mem),
		.interrupt = interrupt,
	};
	int err = vmemdev_mem_init(&mem, sizeof(mem), &config);

	if (err != 0)
		return err;
	/* Plugged blocks are guest memory for the other devices as well. */
	vmemdev_mem_region(&mem, hotplug, &regions[1]);
	err = vmemdev_guest_set_regions(&guest, regions, 2);
	if (err != 0)
		return err;
	return vmemdev_mmio_init(&mem_mmio, sizeof(mem_mmio), &mmio_config);
}

/* Work off what the guest announced, a little at a time. */
static bool serve(struct vmemdev_device *device)
{
	int left;

	do {
		left = vmemdev_device_run(device, 8);
	} while (left > 0);
	return left == 0;
}

static bool balloon_takes_two_pages(void)
{
	uint8_t pages[8];
	const struct request request = { .out = pages, .out_len = sizeof(pages) };

	/* Named in descending order, as Linux does; the host sees one range. */
	put_le(pages, 0x51, 4);
	put_le(pages + 4, 0x50, 4);
	ram[0x50123] = 0xaa;
	driver_send(&balloon_mmio, BALLOON_SPACE, &request);
	return serve(vmemdev_balloon_device(&balloon)) && driver_finished(BALLOON_SPACE) == 1 &&
	       given_up.gpa == 0x50000 && given_up.len == 0x2000 && ram[0x50123] == 0;
}

static bool memory_grows_by_a_block(void)
{
	uint8_t plug_request[24] = { 0 }; /* type 0: PLUG */
	const struct request request = {
		.out = plug_request,
		.out_len = sizeof(plug_request),
		.in_len = 10,
	};
	struct vmemdev_mem_sizes sizes;

	if (vmemdev_mem_set_requested(&mem, BLOCK) != 0)
		return false;
	put_le(plug_request + 8, REGION_GPA + BLOCK, 8);
	put_le(plug_request + 16, 1, 2);
	driver_send(&mem_mmio, MEM_SPACE, &request);
	if (!serve(vmemdev_mem_device(&mem)) || driver_finished(MEM_SPACE) != 1)
		return false;
	vmemdev_mem_get_sizes(&mem, &sizes);
	return get_le(driver_answer(MEM_SPACE), 2) == 0 && /* ACK */
	       sizes.plugged == BLOCK && plugged.gpa == REGION_GPA + BLOCK && plugged.len == BLOCK;
}

int run(void)
{
	if (build_guest() != 0 || build_balloon() != 0 || build_mem() != 0) {
		say("bare: the devices could not be built\n");
		return 1;
	}
	if (!driver_start(&balloon_mmio, 5, BALLOON_SPACE) ||
	    !driver_start(&mem_mmio, 24, MEM_SPACE)) {
		say("bare: a device did not agree with its driver\n");
		return 2;
	}
	if (!balloon_takes_two_pages()) {
		say("bare: the balloon did not take the two pages\n");
		return 3;
	}
	if (!memory_grows_by_a_block()) {
		say("bare: the memory device did not plug the block\n");
		return 4;
	}
	if (interrupts == 0) {
		say("bare: nobody was interrupted\n");
		return 5;
	}
	say("bare: two pages given up, one block plugged, and no libc in sight\n");
	return 0;
}
