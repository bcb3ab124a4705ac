// SPDX-License-Identifier: BSD-3-Clause
/*
 * The commands of the control socket but those of the balloon. They show a VMM author what
 * there is to steer and to watch on the devices: what is asked of the guest, and what it has
 * made of that.
 */
#include <stdio.h>
#include <string.h>

#include "answers.h"

static struct json_object *set_requested(struct request *request)
{
	const char *id = request_text(request, "id");
	struct slot *slot = id ? virtio_slot(request->vmm, id) : NULL;
	struct json_object *answer;
	uint64_t size;
	int err;

	if (!slot || !slot->mem_option)
		return answer_error("id \"%s\": expected that of a memory device, such as "
				    "\"mem0\"; \"info\" lists them", id ? id : "");
	answer = request_size(request, &size);
	if (answer)
		return answer;
	err = vmemdev_mem_set_requested(&slot->mem, size);
	if (err)
		return answer_error("size %s: %s (expected a multiple of %llu, at most %llu)",
				    request_text(request, "size"), vmemdev_strerror(err),
				    (unsigned long long)slot->mem_option->block,
				    (unsigned long long)slot->mem_option->size);
	return answer_number("requested", size);
}

static struct json_object *mem_info(const struct slot *slot)
{
	struct json_object *info = json_object_new_object();
	struct vmemdev_mem_counts counts;
	struct vmemdev_mem_sizes sizes;

	vmemdev_mem_get_counts(&slot->mem, &counts);
	vmemdev_mem_get_sizes(&slot->mem, &sizes);
	answer_add_text(info, "id", slot->id);
	answer_add(info, "node", slot->mem_option->node);
	answer_add(info, "addr", slot->mem_option->addr);
	answer_add(info, "block", slot->mem_option->block);
	answer_add(info, "size", sizes.region);
	answer_add(info, "usable", sizes.usable);
	answer_add(info, "requested", sizes.requested);
	answer_add(info, "plugged", sizes.plugged);
	answer_add(info, "plug_requests", counts.plug);
	answer_add(info, "unplug_requests", counts.unplug);
	answer_add(info, "unplug_all_requests", counts.unplug_all);
	answer_add(info, "state_requests", counts.state);
	answer_add(info, "nack", counts.nack);
	answer_add(info, "busy", counts.busy);
	answer_add(info, "error", counts.error);
	answer_add(info, "host_calls", counts.host_calls);
	answer_add(info, "host_failures", counts.host_failures);
	return info;
}

/* What every device has: what was negotiated, and whether it still works. */
static void add_device_info(struct json_object *info, const struct slot *slot)
{
	const struct vmemdev_device *device = slot->device;
	uint64_t features = vmemdev_device_accepted(device, 0) |
			    (uint64_t)vmemdev_device_accepted(device, 1) << 32;
	int fault = vmemdev_device_fault(device);
	char text[24];

	snprintf(text, sizeof(text), "0x%llx", (unsigned long long)features);
	answer_add_text(info, "features", text);
	answer_add_flag(info, "packed", (features & VMEMDEV_F_RING_PACKED) != 0);
	answer_add_flag(info, "driver_ok",
			(vmemdev_device_status(device) & VMEMDEV_STATUS_DRIVER_OK) != 0);
	/* Always there, so that a reader can tell "none" from no answer. */
	answer_add_text(info, "fault", fault ? vmemdev_strerror(fault) : "none");
	answer_add(info, "guest_errors", slot->guest_errors);
}

/* What giving memory back has cost, and how much was given. */
static struct json_object *syscall_info(struct vmm *vmm)
{
	struct json_object *info = json_object_new_object();
	struct vmemdev_linux_counts counts;

	vmemdev_linux_memory_get_counts(&vmm->memory, &counts);
	answer_add(info, "process_madvise", counts.process_madvise);
	answer_add(info, "madvise", counts.madvise);
	answer_add(info, "fallocate", counts.fallocate);
	answer_add(info, "populate", counts.populate);
	answer_add(info, "bytes", counts.bytes);
	answer_add(info, "bytes_left", counts.bytes_left);
	return info;
}

static struct json_object *info(struct request *request)
{
	struct vmm *vmm = request->vmm;
	struct json_object *answer = json_object_new_object();
	struct json_object *mems = json_object_new_array();

	answer_add(answer, "memory", vmm->low_ram + vmm->high_ram);
	answer_add(answer, "resident", request->resident);
	answer_add(answer, "process_rss", memory_process_rss());
	json_object_object_add(answer, "syscalls", syscall_info(vmm));
	for (unsigned i = 0; i < vmm->slot_count; i++) {
		const struct slot *slot = &vmm->slots[i];
		struct json_object *device = slot->mem_option ? mem_info(slot)
							      : balloon_info(&vmm->balloon);

		add_device_info(device, slot);
		if (slot->mem_option)
			json_object_array_add(mems, device);
		else
			json_object_object_add(answer, "balloon", device);
	}
	json_object_object_add(answer, "mem", mems);
	return answer;
}

static struct json_object *events(struct request *request)
{
	request->client->wants_events = true;
	return json_object_new_object();
}

static struct json_object *quit(struct request *request)
{
	vmm_stop(request->vmm, EXIT_POWER_OFF, "quit on the control socket");
	return json_object_new_object();
}

static const struct command commands[] = {
	{"set-balloon", set_balloon, false},
	{"set-requested", set_requested, false},
	{"stats", balloon_stats, false},
	{"poll-stats", balloon_poll_stats, false},
	{"stats-period", balloon_stats_period, false},
	{"hint", balloon_hint_step, false},
	{"inhibit", balloon_inhibit, false},
	{"uninhibit", balloon_uninhibit, false},
	{"info", info, true},
	{"events", events, false},
	{"quit", quit, false},
};

#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

const struct command *command_find(struct json_object *json, struct json_object **answer)
{
	const struct request request = {.json = json};
	const char *name;

	if (!json_object_is_type(json, json_type_object)) {
		*answer = answer_error("not a JSON object: expected a line such as "
				       "{\"cmd\":\"info\"}");
		return NULL;
	}
	name = request_text(&request, "cmd");
	for (size_t i = 0; name && i < COMMANDS; i++) {
		if (!strcmp(commands[i].name, name))
			return &commands[i];
	}
	*answer = answer_error("cmd \"%s\": expected set-balloon, set-requested, stats, "
			       "poll-stats, stats-period, hint, inhibit, uninhibit, info, events "
			       "or quit", name ? name : "");
	return NULL;
}
