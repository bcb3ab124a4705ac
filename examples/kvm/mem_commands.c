// SPDX-License-Identifier: BSD-3-Clause
/*
 * The memory devices' commands on the control socket: a size can be asked of a guest and
 * then forgotten (set-requested), or be followed to its end (resize).
 */
#include <string.h>

#include "answers.h"

#define STALL_DEFAULT 10 /* seconds */

/* The memory device that the request names. returns: NULL, or an error to answer */
static struct json_object *find_device(const struct request *request, struct slot **slot)
{
	const char *id = request_text(request, "id");

	*slot = id ? virtio_slot(request->vmm, id) : NULL;
	if (*slot && (*slot)->mem_option)
		return NULL;
	return answer_error("id \"%s\": expected that of a memory device, such as \"mem0\"; "
			    "\"info\" lists them", id ? id : "");
}

static struct json_object *size_error(const struct request *request, const struct slot *slot,
				      int err)
{
	return answer_error("size %s: %s (expected a multiple of %llu, at most %llu)",
			    request_text(request, "size"), vmemdev_strerror(err),
			    (unsigned long long)slot->mem_option->block,
			    (unsigned long long)slot->mem_option->size);
}

struct json_object *set_requested(struct request *request)
{
	struct json_object *answer;
	struct slot *slot;
	uint64_t size;
	int err;

	answer = find_device(request, &slot);
	if (!answer)
		answer = request_size(request, &size);
	if (answer)
		return answer;
	err = vmemdev_mem_set_requested(&slot->mem, size);
	if (err)
		return size_error(request, slot, err);
	resize_look(&slot->resize); /* another size ends it */
	return answer_number("requested", size);
}

static struct json_object *progress_answer(const struct slot *slot)
{
	struct vmemdev_mem_resize_progress progress;
	struct json_object *answer = json_object_new_object();

	vmemdev_mem_resize_get(&slot->resize.run, &progress);
	answer_add_text(answer, "id", slot->id);
	answer_add_progress(answer, &progress);
	return answer;
}

struct json_object *mem_resize(struct request *request)
{
	struct vmemdev_mem_resize_config config = {.struct_size = sizeof(config)};
	uint32_t stall = STALL_DEFAULT, timeout = 0;
	struct json_object *answer;
	struct slot *slot;
	int err;

	answer = find_device(request, &slot);
	if (!answer)
		answer = request_size(request, &config.bytes);
	if (!answer)
		answer = request_seconds(request, "stall", &stall);
	if (!answer)
		answer = request_seconds(request, "timeout", &timeout);
	if (answer)
		return answer;
	config.stall_after = stall * UINT64_C(1000);
	config.timeout = timeout * UINT64_C(1000);
	err = resize_start(&slot->resize, &config);
	return err ? size_error(request, slot, err) : progress_answer(slot);
}

struct json_object *mem_resize_cancel(struct request *request)
{
	struct json_object *answer;
	struct slot *slot;

	answer = find_device(request, &slot);
	if (answer)
		return answer;
	if (!resize_cancel(&slot->resize))
		return answer_error("id \"%s\": no resize is running: expected a \"resize\" before "
				    "that has not ended", slot->id);
	return progress_answer(slot);
}

/* ---- info ---- */

static void add_counts(struct json_object *info, const struct vmemdev_mem *mem)
{
	struct vmemdev_mem_counts counts;

	vmemdev_mem_get_counts(mem, &counts);
	answer_add(info, "plug_requests", counts.plug);
	answer_add(info, "unplug_requests", counts.unplug);
	answer_add(info, "unplug_all_requests", counts.unplug_all);
	answer_add(info, "state_requests", counts.state);
	answer_add(info, "nack", counts.nack);
	answer_add(info, "busy", counts.busy);
	answer_add(info, "error", counts.error);
	answer_add(info, "host_calls", counts.host_calls);
	answer_add(info, "host_failures", counts.host_failures);
}

struct json_object *mem_info(const struct slot *slot)
{
	struct json_object *info = json_object_new_object();
	const struct mem_option *option = slot->mem_option;
	struct vmemdev_mem_sizes sizes;

	vmemdev_mem_get_sizes(&slot->mem, &sizes);
	answer_add_text(info, "id", slot->id);
	answer_add(info, "node", option->node);
	answer_add(info, "addr", option->addr);
	answer_add(info, "block", option->block);
	answer_add(info, "size", sizes.region);
	answer_add(info, "usable", sizes.usable);
	answer_add(info, "requested", sizes.requested);
	answer_add(info, "plugged", sizes.plugged);
	answer_add(info, "slots", memory_slots_shown(slot));
	answer_add(info, "slots_max", slot->kvm_count);
	answer_add(info, "slot_size", option->kvm_slot ? option->kvm_slot : option->size);
	answer_add_flag(info, "guarded", option->guarded);
	answer_add_text(info, "resize", resize_state_name(slot->resize.told_state));
	add_counts(info, &slot->mem);
	return info;
}
