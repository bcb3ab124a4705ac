// SPDX-License-Identifier: BSD-3-Clause
/*
 * A machine as a record, and back. This is what linking vmemdev takes to move a guest:
 *
 *   save   vCPUs have stopped. vmemdev_device_save() for each device and vmemdev_mmio_save() for
 *          its registers; what only the host knows (a resize that goes on) it saves itself
 *   load   the same devices, made anew and not shown to anybody: memory devices first, whose
 *          plugged blocks are then brought and shown to KVM, and then those whose rings may lie
 *          there. Registers last of all, when an interrupt that waits finds its controller
 *
 * Doorbells that rang and were not read yet need no place in it: all queues of a device that was
 * loaded count as kicked.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "record.h"
#include "vmm.h"

#define CONFIG_MAX 4096
#define SAVE_TRIES 100
#define RUN_BUDGET 64

/*
 * What the host is about to do with a device. What the type does not have is 0. It grows at its
 * end: a longer one is from a later toyvmm.
 */
struct saved_host {
	uint64_t guest_errors;
	uint64_t stats_period, inhibited, hinted;            /* the balloon */
	uint64_t lossy, dropped;                             /* persistent memory */
	uint64_t resizing, size, stall_after, timeout_after; /* a memory device; ms */
};

/* ---- the configuration: what the guest sees of it ---- */

/* Words that --OPTION takes, so that a difference can be told by them. */
static size_t device_text(char *text, size_t room, const struct device_option *device)
{
	static const struct {
		const char *name;
		uint64_t bit;
	} features[] = {
		{"packed", VMEMDEV_F_RING_PACKED}, {"in-order", VMEMDEV_F_IN_ORDER},
		{"notification-data", VMEMDEV_F_NOTIFICATION_DATA},
		{"indirect", VMEMDEV_F_INDIRECT_DESC}, {"event-idx", VMEMDEV_F_EVENT_IDX},
		{"ring-reset", VMEMDEV_F_RING_RESET},
	};
	size_t len = 0;

	for (size_t i = 0; i < sizeof(features) / sizeof(features[0]); i++)
		len += (size_t)snprintf(text + len, room - len, " %s=%s", features[i].name,
					device->features_on & features[i].bit ? "on" :
					device->features_off & features[i].bit ? "off" : "default");
	return len + (size_t)snprintf(text + len, room - len, device->queue_size ?
				      " queue-size=%u\n" : " queue-size=default\n",
				      device->queue_size);
}

static const char *on_off(bool on)
{
	return on ? "on" : "off";
}

static size_t balloon_text(char *text, size_t room, const struct balloon_option *balloon)
{
	static const char *const must_tell_host[] = {
		[MUST_TELL_HOST_BY_FRAME] = "default", [MUST_TELL_HOST_OFF] = "off",
		[MUST_TELL_HOST_OFFERED] = "on", [MUST_TELL_HOST_REQUIRED] = "require",
	};
	size_t len;

	if (!balloon->present)
		return 0;
	len = (size_t)snprintf(text, room, "--balloon: deflate-on-oom=%s must-tell-host=%s "
			       "stats=%s hinting=%s reporting=%s queues=%s frame=",
			       on_off(balloon->deflate_on_oom),
			       must_tell_host[balloon->must_tell_host], on_off(balloon->stats),
			       on_off(balloon->hinting), on_off(balloon->reporting),
			       balloon->text_queues_only ? "text" : "both");
	if (balloon->frame && balloon->frame != FRAME_BY_PAGE)
		len += (size_t)snprintf(text + len, room - len, "%" PRIu64, balloon->frame);
	else
		len += (size_t)snprintf(text + len, room - len, balloon->frame ? "default" : "off");
	return len + device_text(text + len, room - len, &balloon->device);
}

/* One line an option, of which all but what concerns the host alone. */
static size_t config_text(const struct vmm *vmm, char *text, size_t room)
{
	const struct options *options = &vmm->options;
	size_t len = (size_t)snprintf(text, room, "--memory: %" PRIu64 "\n--cpus: %u\n",
				      options->memory.size, options->cpus);

	len += balloon_text(text + len, room - len, &options->balloon);
	for (unsigned i = 0; i < options->mem_count; i++) {
		const struct mem_option *mem = &options->mem[i];

		len += (size_t)snprintf(text + len, room - len, "--mem: id=%s size=%" PRIu64
					" block=%" PRIu64 " addr=0x%" PRIx64 " node=%u "
					"guest-block=%" PRIu64 " persistent-suspend=%s", mem->id,
					mem->size, mem->block, mem->addr, mem->node,
					mem->guest_block, on_off(mem->persistent_suspend));
		len += device_text(text + len, room - len, &mem->device);
	}
	for (unsigned i = 0; i < options->pmem_count; i++) {
		const struct pmem_option *pmem = &options->pmem[i];

		len += (size_t)snprintf(text + len, room - len, "--pmem: id=%s size=%" PRIu64
					" addr=0x%" PRIx64 " readonly=%s region=%s", pmem->id,
					pmem->size, pmem->addr, on_off(pmem->readonly),
					pmem->shmem ? "shmem" : "config");
		len += device_text(text + len, room - len, &pmem->device);
	}
	return len;
}

/* The words of a line, each up to a space or the line's end. */
static int word_length(const char *word)
{
	return (int)strcspn(word, " \n");
}

static int line_length(const char *line)
{
	return (int)strcspn(line, "\n");
}

/* @was and @now begin where two lines do, which differ. returns: -1 always */
static int lines_differ(const char *was, const char *now)
{
	const char *option = now;
	int len = (int)strcspn(now, ":\n");

	if (!*now)
		return fail("the machine was saved with \"%.*s\", and there is no such device now: "
			    "expected the options that it was started with", line_length(was), was);
	if (!*was)
		return fail("the machine was saved without \"%.*s\": expected the options that it "
			    "was started with", line_length(now), now);
	if (strncmp(was, now, (size_t)len + 1))
		return fail("the machine was saved with \"%.*s\", and now \"%.*s\" is there in "
			    "its place: expected the options that it was started with",
			    line_length(was), was, line_length(now), now);
	while (word_length(was) == word_length(now) &&
	       !strncmp(was, now, (size_t)word_length(now) + 1)) {
		was += word_length(was) + 1;
		now += word_length(now) + 1;
	}
	if (!strncmp(option + len, ": id=", 5)) /* it has a name, too */
		len += 2 + word_length(option + len + 2);
	return fail("%.*s: was \"%.*s\" when the machine was saved, and is \"%.*s\" now%s: "
		    "expected the options that it was started with", len, option, word_length(was),
		    was, word_length(now), now, strncmp(now, "packed=", 7) ? "" :
		    " (--packed is packed=on for all)");
}

static bool is_text(const struct part *part)
{
	for (size_t i = 0; i < part->len; i++) {
		if (part->bytes[i] != '\n' && (part->bytes[i] < ' ' || part->bytes[i] > '~'))
			return false;
	}
	return part->len && part->len < CONFIG_MAX && part->bytes[part->len - 1] == '\n';
}

static int check_config(const struct vmm *vmm, const struct record *record)
{
	char now[CONFIG_MAX], was[CONFIG_MAX];
	size_t at = 0;
	struct part part;

	config_text(vmm, now, sizeof(now));
	if (!record_find(record, PART_CONFIG, 0, &part))
		return record_need(record, PART_CONFIG, 0, 0, &part);
	if (!is_text(&part))
		return fail("record: the configuration is no text of at most %d bytes: it is "
			    "damaged", CONFIG_MAX - 1);
	memcpy(was, part.bytes, part.len);
	was[part.len] = 0;
	if (!strcmp(was, now))
		return 0;
	while (was[at] == now[at])
		at++;
	while (at && (was[at - 1] != '\n' || now[at - 1] != '\n'))
		at--;
	return lines_differ(was + at, now + at);
}

/* ---- save ---- */

/* What a balloon has taken from its queue it tells the host first, a bounded piece at a time. */
static int save_device(struct slot *slot, uint32_t index, struct record *record)
{
	size_t size = vmemdev_device_save_size(slot->device), len = 0;
	void *bytes = record_add(record, PART_DEVICE, index, size);
	int err = VMEMDEV_E_STATE;

	if (!bytes)
		return fail("%s: no memory for a record of %zu bytes", slot->id, size);
	for (int i = 0; i < SAVE_TRIES && err == VMEMDEV_E_STATE; i++) {
		err = vmemdev_device_save(slot->device, bytes, size, &len);
		if (err == VMEMDEV_E_STATE)
			vmemdev_device_run(slot->device, RUN_BUDGET);
	}
	if (err)
		return fail("%s: saving the device: %s", slot->id, vmemdev_strerror(err));
	record_shorten(record, size, len);
	return 0;
}

static void save_resize(const struct slot *slot, struct saved_host *host)
{
	const struct resize *resize = &slot->resize;
	uint64_t gone = timer_now() - resize->started;

	if (!resize_goes_on(resize))
		return;
	host->resizing = 1;
	host->size = resize->asked.bytes;
	host->stall_after = resize->asked.stall_after;
	if (resize->asked.timeout)
		host->timeout_after = resize->asked.timeout > gone ? resize->asked.timeout - gone
								   : 1;
}

static int save_host(const struct slot *slot, uint32_t index, struct record *record)
{
	const struct balloon *balloon = &slot->vmm->balloon;
	struct saved_host *host = record_add(record, PART_HOST, index, sizeof(*host));

	if (!host)
		return fail("out of memory");
	host->guest_errors = slot->guest_errors;
	if (slot->mem_option) {
		save_resize(slot, host);
	} else if (slot == balloon->slot) {
		host->stats_period = balloon->stats_period;
		host->inhibited = balloon->inhibited;
		host->hinted = balloon->hinted;
	}
	host->lossy = slot->pmem.lossy;
	host->dropped = slot->pmem.dropped;
	return 0;
}

static int save_slot(struct slot *slot, uint32_t index, struct record *record)
{
	void *registers;

	if (virtio_settle(slot) || save_device(slot, index, record))
		return -1;
	registers = record_add(record, PART_REGISTERS, index, VMEMDEV_MMIO_SAVE_SIZE);
	if (!registers)
		return fail("out of memory");
	vmemdev_mmio_save(&slot->mmio, registers, VMEMDEV_MMIO_SAVE_SIZE);
	return save_host(slot, index, record);
}

int saved_take(struct vmm *vmm, struct record *record)
{
	char text[CONFIG_MAX];
	size_t len = config_text(vmm, text, sizeof(text));
	void *config = record_add(record, PART_CONFIG, 0, len);

	if (!config)
		return fail("out of memory");
	memcpy(config, text, len);
	for (unsigned i = 0; i < vmm->slot_count; i++) {
		if (save_slot(&vmm->slots[i], i, record))
			return -1;
	}
	return kvm_save(vmm, record) || serial_save(vmm, record) ? -1 : 0;
}

/* ---- load ---- */

static int load_device(struct slot *slot, uint32_t index, const struct record *record)
{
	struct part part;
	int err;

	if (!record_find(record, PART_DEVICE, index, &part))
		return record_need(record, PART_DEVICE, index, 0, &part);
	err = vmemdev_device_load(slot->device, part.bytes, part.len);
	return err ? fail("%s: the device's record: %s", slot->id, vmemdev_strerror(err)) : 0;
}

static int load_resize(struct slot *slot, const struct saved_host *host)
{
	const struct vmemdev_mem_resize_config config = {
		.struct_size = sizeof(config), .bytes = host->size,
		.stall_after = host->stall_after, .timeout = host->timeout_after,
	};
	int err = host->resizing ? resize_start(&slot->resize, &config) : 0;

	return err ? fail("%s: its resize: %s", slot->id, vmemdev_strerror(err)) : 0;
}

static int load_balloon(struct balloon *balloon, const struct saved_host *host)
{
	struct vmemdev_balloon *device = &balloon->device;

	if (host->inhibited > INHIBITED_MAX || host->stats_period > UINT32_MAX)
		return fail("record: the balloon is inhibited %" PRIu64 " times, and its statistics "
			    "asked for each %" PRIu64 " s: it is damaged", host->inhibited,
			    host->stats_period);
	for (uint64_t i = 0; i < host->inhibited; i++)
		vmemdev_balloon_inhibit(device);
	balloon->inhibited = (uint32_t)host->inhibited;
	balloon->hinted = host->hinted;
	balloon->round = vmemdev_balloon_hint_round(device);
	if (host->stats_period)
		balloon_poll_every(balloon, (uint32_t)host->stats_period);
	return 0;
}

static int load_host(struct slot *slot, uint32_t index, const struct record *record)
{
	struct saved_host host;
	struct part part;

	if (record_find(record, PART_HOST, index, &part) && part.len > sizeof(host))
		return fail("record: %s: its host's part has %zu bytes, and this toyvmm knows %zu: "
			    "it is from a later toyvmm: take that, or a later one", slot->id,
			    part.len, sizeof(host));
	if (record_need(record, PART_HOST, index, sizeof(host), &part))
		return -1;
	memcpy(&host, part.bytes, sizeof(host));
	slot->guest_errors = host.guest_errors;
	slot->pmem.lossy = host.lossy != 0;
	slot->pmem.dropped = host.dropped;
	if (slot->mem_option)
		return load_resize(slot, &host);
	return slot == slot->vmm->balloon.slot ? load_balloon(&slot->vmm->balloon, &host) : 0;
}

static int load_memory_device(struct slot *slot, uint32_t index, const struct record *record)
{
	return load_device(slot, index, record) || memory_open_plugged(slot) ||
	       memory_follow_device(slot) ? -1 : 0;
}

int saved_load_devices(struct vmm *vmm, const struct record *record)
{
	struct part part;

	if (record_check(record) || check_config(vmm, record))
		return -1;
	/* What a snapshot leaves out is zeros; a file may have something there from before. */
	if (vmm->options.restore && memory_empty_files(vmm))
		return -1;
	if (record_find(record, PART_DEVICE, vmm->slot_count, &part))
		return fail("record: it has more devices than the options make: expected the "
			    "options that it was started with");
	for (unsigned i = 0; i < vmm->slot_count; i++) {
		if (vmm->slots[i].mem_option && load_memory_device(&vmm->slots[i], i, record))
			return -1;
	}
	for (unsigned i = 0; i < vmm->slot_count; i++) {
		if (!vmm->slots[i].mem_option && load_device(&vmm->slots[i], i, record))
			return -1;
	}
	return 0;
}

static int load_registers(struct slot *slot, uint32_t index, const struct record *record)
{
	struct part part;
	int err;

	if (record_need(record, PART_REGISTERS, index, VMEMDEV_MMIO_SAVE_SIZE, &part))
		return -1;
	err = vmemdev_mmio_load(&slot->mmio, part.bytes, part.len);
	return err ? fail("%s: the register block's record: %s", slot->id, vmemdev_strerror(err))
		   : 0;
}

int saved_load_machine(struct vmm *vmm, const struct record *record)
{
	if (kvm_load(vmm, record) || serial_load(vmm, record))
		return -1;
	for (unsigned i = 0; i < vmm->slot_count; i++) {
		if (load_registers(&vmm->slots[i], i, record) ||
		    load_host(&vmm->slots[i], i, record))
			return -1;
	}
	return 0;
}
