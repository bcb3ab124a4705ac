// SPDX-License-Identifier: BSD-3-Clause
/*
 * The memory devices, wired into the machine. This is what linking vmemdev takes:
 *
 *   1. describe guest memory to the devices (memory.c);
 *   2. initialise a device, with callbacks that do the host's part of the work;
 *   3. give it a transport: here virtio-mmio, whose register accesses come in from vCPU exits
 *      and whose interrupt goes out through an irqfd;
 *   4. when a doorbell rings, note it with vmemdev_device_kick(), and from the event loop call
 *      vmemdev_device_run() as long as there is work.
 *
 * All device calls are made under vmm->lock (vmm.h says why). vCPU threads only pass register
 * accesses on; the devices' real work, and with it every callback below but interrupt(),
 * happens in the main thread. The balloon's callbacks are in balloon.c, those of persistent
 * memory in pmem.c.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "vmm.h"

#define BUDGET 64 /* units of work for a device before the others have their turn */

/* ---- what the devices ask of the host ---- */

/* Memory comes with the first touch; huge pages at once, or the guest is told "busy". */
static int mem_plug(void *ctx, const struct vmemdev_range *ranges, uint32_t count, uint64_t token)
{
	struct slot *slot = ctx;

	return vmemdev_linux_mem_ops()->plug(&slot->vmm->memory, ranges, count, token);
}

static int mem_unplug(void *ctx, const struct vmemdev_range *ranges, uint32_t count, uint64_t token)
{
	struct slot *slot = ctx;
	struct balloon *balloon = &slot->vmm->balloon;

	/* What the guest had ballooned there is gone with the block. */
	for (uint32_t i = 0; i < count && balloon->slot != NULL; i++)
		(void)vmemdev_balloon_forget(&balloon->device, &ranges[i]);
	return vmemdev_linux_mem_ops()->unplug(&slot->vmm->memory, ranges, count, token);
}

static void mem_plugged(void *ctx, uint64_t bytes)
{
	struct slot *slot = ctx;

	control_number_event(slot->vmm, "plugged", slot->id, "bytes", bytes);
	slot->moved = true;
}

static const struct vmemdev_mem_ops mem_ops = {
	.plug = mem_plug,
	.unplug = mem_unplug,
	.plugged = mem_plugged,
};

/* A guest can do this for ever, so only the first is printed; "info" has the count. */
static void guest_error(void *ctx, int err, uint16_t queue)
{
	struct slot *slot = ctx;

	if (!slot->guest_errors++)
		fail("%s: the guest's driver broke the rules of queue %u: %s; the device waits for "
		     "a reset; further errors are only counted", slot->id, queue,
		     vmemdev_strerror(err));
	control_error_event(slot->vmm, slot->id, queue, vmemdev_strerror(err));
}

/* The guest sees an edge-triggered line, so only the rising edge is of interest. */
static void interrupt(void *ctx, bool level)
{
	const struct slot *slot = ctx;

	if (level)
		eventfd_write(slot->irq_fd, 1);
}

/* ---- the transport ---- */

static uint64_t slot_address(const struct slot *slot)
{
	return MMIO_BASE + (uint64_t)(slot - slot->vmm->slots) * MMIO_STRIDE;
}

static void doorbell_rang(void *ctx)
{
	struct doorbell *doorbell = ctx;
	struct vmm *vmm = doorbell->slot->vmm;
	eventfd_t count;

	eventfd_read(doorbell->watch.fd, &count);
	pthread_mutex_lock(&vmm->lock);
	vmemdev_device_kick(doorbell->slot->device, doorbell->queue);
	pthread_mutex_unlock(&vmm->lock);
}

static int add_doorbell(struct slot *slot, uint16_t queue)
{
	struct doorbell *doorbell = &slot->doorbells[queue];
	int fd = kvm_add_doorbell(slot->vmm, slot_address(slot) + VMEMDEV_MMIO_NOTIFY, queue);

	if (fd < 0)
		return -1;
	doorbell->slot = slot;
	doorbell->queue = queue;
	doorbell->watch = (struct watch){.fd = fd, .ready = doorbell_rang, .ctx = doorbell};
	if (loop_add(slot->vmm, &doorbell->watch))
		return fail("%s: watching the doorbell of queue %u failed", slot->id, queue);
	return 0;
}

int virtio_connect(struct slot *slot, struct vmemdev_device *device)
{
	struct vmm *vmm = slot->vmm;
	struct vmemdev_mmio_config config = {
		.struct_size = sizeof(config),
		.device = device,
		.interrupt = interrupt,
		.ctx = slot,
	};
	int err = vmemdev_mmio_init(&slot->mmio, sizeof(slot->mmio), &config);

	if (err)
		return fail("%s: %s", slot->id, vmemdev_strerror(err));
	slot->device = device;
	slot->irq_fd = kvm_add_irqfd(vmm, SLOT_IRQ + vmm->slot_count);
	if (slot->irq_fd < 0)
		return -1;
	for (uint16_t i = 0; i < vmemdev_device_queue_count(device); i++) {
		if (vmemdev_device_queue_size_max(device, i) && add_doorbell(slot, i))
			return -1;
	}
	vmm->slot_count++;
	return 0;
}

/* @width bytes at @gpa, which no memory slot covers, were read or written by a vCPU. */
static struct slot *slot_at(struct vmm *vmm, uint64_t gpa, uint64_t *offset)
{
	uint64_t index = (gpa - MMIO_BASE) / MMIO_STRIDE;

	*offset = (gpa - MMIO_BASE) % MMIO_STRIDE;
	return gpa >= MMIO_BASE && index < vmm->slot_count ? &vmm->slots[index] : NULL;
}

uint64_t virtio_read(struct vmm *vmm, uint64_t gpa, uint32_t width)
{
	uint64_t offset, value = UINT64_MAX;
	struct slot *slot = slot_at(vmm, gpa, &offset);

	if (!slot)
		return value;
	pthread_mutex_lock(&vmm->lock);
	value = vmemdev_mmio_read(&slot->mmio, offset, width);
	pthread_mutex_unlock(&vmm->lock);
	return value;
}

void virtio_write(struct vmm *vmm, uint64_t gpa, uint32_t width, uint64_t value)
{
	uint64_t offset;
	struct slot *slot = slot_at(vmm, gpa, &offset);
	bool pending;

	if (!slot) {
		pmem_wrote(vmm, gpa);
		return;
	}
	pthread_mutex_lock(&vmm->lock);
	vmemdev_mmio_write(&slot->mmio, offset, width, value);
	pending = vmemdev_device_pending(slot->device);
	pthread_mutex_unlock(&vmm->lock);
	if (pending)
		loop_wake(vmm);
}

bool virtio_run(struct vmm *vmm)
{
	bool left = false;

	if (vmm->pause.still) /* somebody may be saving it, or have it already */
		return false;
	pthread_mutex_lock(&vmm->lock);
	for (unsigned i = 0; i < vmm->slot_count; i++) {
		struct slot *slot = &vmm->slots[i];

		if (vmemdev_device_run(slot->device, BUDGET) > 0)
			left = true;
		if (slot == vmm->balloon.slot)
			balloon_ran(&vmm->balloon);
		if (slot->moved)
			resize_look(&slot->resize);
		slot->moved = false;
	}
	pthread_mutex_unlock(&vmm->lock);
	return left;
}

/* What the balloon has put off would count as failed by whoever loads it. */
int virtio_settle(struct slot *slot)
{
	uint64_t waiting = slot == slot->vmm->balloon.slot ? huge_waiting(&slot->vmm->balloon) : 0;

	if (slot->pmem.option && !slot->pmem.option->readonly)
		pmem_settle(slot);
	return waiting ? fail("%s: the guest waits for %" PRIu64 " bytes of huge pages that the "
			      "host has not: expected more in /proc/sys/vm/nr_hugepages, first",
			      slot->id, waiting) : 0;
}

/* ---- making the devices ---- */

struct slot *virtio_new_slot(struct vmm *vmm, const char *id)
{
	struct slot *slot = &vmm->slots[vmm->slot_count]; /* options.c counts */

	slot->vmm = vmm;
	slot->id = id;
	return slot;
}

struct vmemdev_device_config virtio_config(struct slot *slot, const struct device_option *option)
{
	return (struct vmemdev_device_config){
		.guest = &slot->vmm->guest,
		.guest_error = guest_error,
		.ctx = slot,
		.features_on = option->features_on,
		.features_off = option->features_off,
		.queue_size = option->queue_size,
	};
}

/* What the slot's option says, into the device's configuration. */
static int init_mem(struct slot *slot)
{
	const struct mem_option *option = slot->mem_option;
	size_t words = vmemdev_mem_bitmap_words(option->size, option->block);
	struct vmemdev_mem_config config = {
		.struct_size = sizeof(config),
		.has_node = true,
		.node = option->node,
		.persistent_suspend = option->persistent_suspend,
		.unplugged_inaccessible = option->guarded,
		.addr = option->addr,
		.region_size = option->size,
		.block_size = option->block,
		.guest_block = option->guest_block,
		.bitmap = calloc(words, sizeof(*config.bitmap)),
		.bitmap_words = words,
		.device = virtio_config(slot, &option->device),
		.ops = &mem_ops,
		.ctx = slot,
	};
	int err;

	if (!config.bitmap)
		return fail("--mem: %s: no memory for the bitmap of %zu words: expected a smaller "
			    "size or a larger block", option->id, words);
	slot->bitmap = config.bitmap;
	err = vmemdev_mem_init(&slot->mem, sizeof(slot->mem), &config);
	return err ? fail("--mem: %s: %s", option->id, vmemdev_strerror(err)) : 0;
}

static int create_mem(struct vmm *vmm, const struct mem_option *option)
{
	struct slot *slot = virtio_new_slot(vmm, option->id);
	int err;

	slot->mem_option = option;
	if (init_mem(slot))
		return -1;
	err = vmemdev_mem_set_requested(&slot->mem, option->requested);
	if (err)
		return fail("--mem: %s: requested=%" PRIu64 ": %s", option->id, option->requested,
			    vmemdev_strerror(err));
	if (memory_show_device(slot) || resize_create(slot) ||
	    virtio_connect(slot, vmemdev_mem_device(&slot->mem)))
		return -1;
	/* What is plugged is not known yet if the machine comes from elsewhere (saved.c). */
	return options_continue(&vmm->options) ? 0 : memory_follow_device(slot);
}

int virtio_create(struct vmm *vmm)
{
	if ((vmm->options.balloon.present && balloon_create(vmm)) || huge_create(vmm))
		return -1;
	for (unsigned i = 0; i < vmm->options.mem_count; i++) {
		if (create_mem(vmm, &vmm->options.mem[i]))
			return -1;
	}
	return pmem_create(vmm);
}

struct slot *virtio_slot(struct vmm *vmm, const char *id)
{
	for (unsigned i = 0; i < vmm->slot_count; i++) {
		if (!strcmp(vmm->slots[i].id, id))
			return &vmm->slots[i];
	}
	return NULL;
}
