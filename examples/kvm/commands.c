// SPDX-License-Identifier: BSD-3-Clause
/*
 * The commands of the control socket, but for those that are one device's alone
 * (balloon_commands.c, mem_commands.c).
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "answers.h"

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
	answer_add(info, "protect", counts.protect);
	answer_add(info, "bytes", counts.bytes);
	answer_add(info, "bytes_left", counts.bytes_left);
	return info;
}

static struct json_object *info(struct request *request)
{
	struct vmm *vmm = request->vmm;
	struct json_object *answer = json_object_new_object();
	struct json_object *mems = json_object_new_array();
	struct json_object *pmems = json_object_new_array();

	answer_add(answer, "pid", (uint64_t)getpid());
	answer_add(answer, "memory", vmm->low_ram + vmm->high_ram);
	answer_add(answer, "resident", request->resident);
	answer_add(answer, "process_rss", memory_process_rss());
	answer_add(answer, "process_hugetlb", memory_process_huge());
	answer_add(answer, "shortage", vmm->shortage);
	json_object_object_add(answer, "syscalls", syscall_info(vmm));
	for (unsigned i = 0; i < vmm->slot_count; i++) {
		const struct slot *slot = &vmm->slots[i];
		struct json_object *device =
			slot->mem_option ? mem_info(slot) :
			slot->pmem.option ? pmem_info(slot) :
			balloon_info(&vmm->balloon, request->given);

		add_device_info(device, slot);
		if (slot->mem_option)
			json_object_array_add(mems, device);
		else if (slot->pmem.option)
			json_object_array_add(pmems, device);
		else
			json_object_object_add(answer, "balloon", device);
	}
	json_object_object_add(answer, "mem", mems);
	json_object_object_add(answer, "pmem", pmems);
	return answer;
}

static struct json_object *events(struct request *request)
{
	request->client->wants_events = true;
	return json_object_new_object();
}

/* The guest stands still until it is written: the answer is that it was begun. */
static struct json_object *snapshot(struct request *request)
{
	const char *file = request_text(request, "file"), *then = request_text(request, "then");
	bool quits = then && !strcmp(then, "quit");
	struct json_object *answer;

	if (!file || file[0] != '/')
		return answer_error("file \"%s\": expected the absolute name of a file to write",
				    file ? file : "");
	if (json_object_object_get(request->json, "then") && !quits &&
	    (!then || strcmp(then, "go-on")))
		return answer_error("then \"%s\": expected go-on or quit", then ? then : "");
	if (request->vmm->update.running || snapshot_start(request->vmm, file, quits))
		return answer_error("a snapshot is being written, or another process is taking the "
				    "guest over: try again when that is over");
	answer = json_object_new_object();
	answer_add_text(answer, "file", file);
	answer_add_text(answer, "state", "stopping");
	return answer;
}

static struct json_object *takeover(struct request *request)
{
	struct vmm *vmm = request->vmm;

	if (vmm->update.running || vmm->pause.paused)
		return answer_error("a snapshot is being written, or another process is taking the "
				    "guest over: try again when that is over");
	if (!update_possible(vmm))
		return answer_error("the guest's memory is this process's alone: expected one that "
				    "was started with --memory SIZE,backing=memfd, or another shared "
				    "backing; of this one take a snapshot");
	request->client->leaves = true;
	return json_object_new_object();
}

static struct json_object *quit(struct request *request)
{
	vmm_stop(request->vmm, EXIT_POWER_OFF, "quit on the control socket");
	return json_object_new_object();
}

static const struct command commands[] = {
	{"set-balloon", set_balloon, {"size"}, false, true},
	{"set-requested", set_requested, {"id", "size"}, false, true},
	{"resize", mem_resize, {"id", "size", "stall", "timeout"}, false, true},
	{"resize-cancel", mem_resize_cancel, {"id"}, false, true},
	{"stats", balloon_stats, {NULL}, false, false},
	{"poll-stats", balloon_poll_stats, {NULL}, false, true},
	{"stats-period", balloon_stats_period, {"seconds"}, false, true},
	{"hint", balloon_hint_step, {"step"}, false, true},
	{"inhibit", balloon_inhibit, {NULL}, false, true},
	{"uninhibit", balloon_uninhibit, {NULL}, false, true},
	{"snapshot", snapshot, {"file", "then"}, false, false},
	{"takeover", takeover, {NULL}, false, false},
	{"info", info, {NULL}, true, false},
	{"events", events, {NULL}, false, false},
	{"quit", quit, {NULL}, false, false},
};

#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

static bool takes(const struct command *command, const char *key)
{
	if (!strcmp(key, "cmd"))
		return true;
	for (size_t i = 0; i < KEYS_MAX && command->keys[i]; i++) {
		if (!strcmp(command->keys[i], key))
			return true;
	}
	return false;
}

/* A key that nobody reads is a mistake, such as "timout", that would be found out too late. */
static const struct command *check_keys(const struct command *command, struct json_object *json,
					struct json_object **answer)
{
	char known[64] = "cmd";

	for (size_t i = 0; i < KEYS_MAX && command->keys[i]; i++) {
		strcat(known, ", ");
		strcat(known, command->keys[i]);
	}
	json_object_object_foreach(json, key, value) {
		(void)value;
		if (takes(command, key))
			continue;
		*answer = answer_error("unknown key \"%s\": \"%s\" takes %s%s", key, command->name,
				       known, command->keys[0] ? "" : " alone");
		return NULL;
	}
	return command;
}

const struct command *command_find(struct json_object *json, struct json_object **answer)
{
	const struct request request = {.json = json};
	const char *name = request_text(&request, "cmd");

	for (size_t i = 0; name && i < COMMANDS; i++) {
		if (!strcmp(commands[i].name, name))
			return check_keys(&commands[i], json, answer);
	}
	*answer = answer_error("cmd \"%s\": expected set-balloon, set-requested, resize, "
			       "resize-cancel, stats, poll-stats, stats-period, hint, inhibit, "
			       "uninhibit, snapshot, takeover, info, events or quit", name ? name : "");
	return NULL;
}
