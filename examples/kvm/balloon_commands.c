// SPDX-License-Identifier: BSD-3-Clause
/*
 * The balloon's commands on the control socket. Statistics come by the names and in the units
 * that users of "virsh dommemstat" know: memory in KiB, everything else as it was counted.
 */
#include <stdio.h>
#include <string.h>

#include "answers.h"

#define KIB 1024
#define TAG(name) (1u << VMEMDEV_BALLOON_##name)

/* The tags that count bytes. */
#define MEMORY_TAGS (TAG(SWAP_IN) | TAG(SWAP_OUT) | TAG(UNUSED) | TAG(AVAILABLE) | TAG(USABLE) | \
		     TAG(DISK_CACHES) | TAG(ASYNC_SCAN) | TAG(DIRECT_SCAN) | \
		     TAG(ASYNC_RECLAIM) | TAG(DIRECT_RECLAIM))

/* returns: NULL, or an error to answer */
static struct json_object *need_balloon(const struct request *request)
{
	return request->vmm->balloon.slot ? NULL :
	       answer_error("no balloon: start the VMM with --balloon");
}

/* What the guest was given in all: what a balloon can hold. */
static uint64_t plugged(const struct vmm *vmm)
{
	uint64_t bytes = 0;

	for (unsigned i = 0; i < vmm->slot_count; i++) {
		struct vmemdev_mem_sizes sizes;

		if (!vmm->slots[i].mem_option)
			continue;
		vmemdev_mem_get_sizes(&vmm->slots[i].mem, &sizes);
		bytes += sizes.plugged;
	}
	return bytes;
}

struct json_object *set_balloon(struct request *request)
{
	struct vmm *vmm = request->vmm;
	uint64_t size, ram = vmm->low_ram + vmm->high_ram, more = plugged(vmm);
	struct json_object *answer = need_balloon(request);
	int err;

	if (!answer)
		answer = request_size(request, &size);
	if (answer)
		return answer;
	if (size > ram + more)
		return answer_error("size %s: expected at most what the guest has: %llu bytes, "
				    "%llu of RAM and %llu plugged",
				    request_text(request, "size"), (unsigned long long)(ram + more),
				    (unsigned long long)ram, (unsigned long long)more);
	if (size % VMEMDEV_BALLOON_PAGE)
		return answer_error("size %s: expected a multiple of %d, the balloon's page",
				    request_text(request, "size"), VMEMDEV_BALLOON_PAGE);
	err = vmemdev_balloon_set_target(&vmm->balloon.device, size);
	if (err)
		return answer_error("size %s: %s: the guest's memory ends at 0x%llx, but a balloon "
				    "can only name what lies below 16T: expected less --memory, or "
				    "--mem with addr= and size= that end below 16T",
				    request_text(request, "size"), vmemdev_strerror(err),
				    (unsigned long long)memory_top(vmm));
	return answer_number("target", vmemdev_balloon_target(&vmm->balloon.device));
}

/* ---- statistics ---- */

static void add_known(struct json_object *answer, const struct vmemdev_balloon_stats *stats,
		      uint16_t tag)
{
	bool memory = MEMORY_TAGS >> tag & 1;

	if (stats->present >> tag & 1)
		answer_add(answer, vmemdev_balloon_stat_name(tag),
			   memory ? stats->value[tag] / KIB : stats->value[tag]);
}

static void add_unknown(struct json_object *answer, const struct unknown_stats *unknown)
{
	for (uint32_t i = 0; i < unknown->count; i++) {
		char name[16];

		snprintf(name, sizeof(name), "tag_%u", unknown->tags[i]);
		answer_add(answer, name, unknown->values[i]);
	}
	if (unknown->dropped)
		answer_add(answer, "tags_dropped", unknown->dropped);
}

/* In virsh's order. Its "actual" is the memory that is left beside the balloon. */
static struct json_object *statistics(const struct vmm *vmm)
{
	const struct balloon *balloon = &vmm->balloon;
	uint64_t all = vmm->low_ram + vmm->high_ram + plugged(vmm), held;
	struct vmemdev_balloon_counts counts;
	struct vmemdev_balloon_stats stats;
	struct json_object *answer;

	vmemdev_balloon_get_stats(&balloon->device, &stats);
	vmemdev_balloon_get_counts(&balloon->device, &counts);
	held = vmemdev_balloon_actual(&balloon->device); /* the guest's word: it may say too much */
	answer = answer_number("actual", (held < all ? all - held : 0) / KIB);
	if (stats.valid) {
		for (uint16_t tag = 0; tag <= VMEMDEV_BALLOON_USABLE; tag++)
			add_known(answer, &stats, tag);
		answer_add(answer, "last_update", stats.updated);
		for (uint16_t tag = VMEMDEV_BALLOON_USABLE + 1; tag < VMEMDEV_BALLOON_STATS; tag++)
			add_known(answer, &stats, tag);
		add_unknown(answer, &balloon->unknown);
	}
	answer_add(answer, "rss", memory_process_rss() / KIB);
	answer_add(answer, "hugetlb", memory_process_huge() / KIB);
	answer_add(answer, "sets", counts.stats_sets);
	answer_add_flag(answer, "pending", stats.pending);
	return answer;
}

struct json_object *balloon_stats(struct request *request)
{
	struct json_object *answer = need_balloon(request);

	return answer ? answer : statistics(request->vmm);
}

/* @option is what to start the VMM with; NULL: the command needs none. */
static struct json_object *outcome(int err, const char *option, const char *state)
{
	if (err == VMEMDEV_E_FEATURE)
		return answer_error("the balloon does not offer that: start the VMM with "
				    "--balloon=%s", option);
	if (err == VMEMDEV_E_STATE)
		return answer_error("not now: expected %s", state);
	return err ? answer_error("%s", vmemdev_strerror(err)) : json_object_new_object();
}

struct json_object *balloon_poll_stats(struct request *request)
{
	struct json_object *answer = need_balloon(request);

	return answer ? answer :
	       outcome(vmemdev_balloon_poll_stats(&request->vmm->balloon.device), "stats=on",
		       "a guest whose balloon driver runs and has accepted statistics; \"info\" "
		       "shows driver_ok and features");
}

struct json_object *balloon_stats_period(struct request *request)
{
	const char *text = request_text(request, "seconds");
	struct json_object *answer = need_balloon(request);
	uint64_t seconds;

	if (answer)
		return answer;
	if (!text || !*text || text[strspn(text, "0123456789")] || !size_parse(text, &seconds) ||
	    seconds > UINT32_MAX)
		return answer_error("seconds \"%s\": expected a number of seconds such as 5; 0 "
				    "ends the polling", text ? text : "");
	return outcome(balloon_poll_every(&request->vmm->balloon, (uint32_t)seconds), "stats=on",
		       "nothing");
}

/* ---- hinting and discards ---- */

struct json_object *balloon_hint_step(struct request *request)
{
	static const struct {
		const char *name;
		int (*step)(struct vmemdev_balloon *device);
	} steps[] = {
		{"start", vmemdev_balloon_hint_start},
		{"stop", vmemdev_balloon_hint_stop},
		{"done", vmemdev_balloon_hint_done},
	};
	const char *text = request_text(request, "step");
	struct json_object *answer = need_balloon(request);

	if (answer)
		return answer;
	if (!request->vmm->options.balloon.hinting)
		return outcome(VMEMDEV_E_FEATURE, "hinting=on", NULL);
	for (size_t i = 0; text && i < sizeof(steps) / sizeof(steps[0]); i++) {
		if (!strcmp(text, steps[i].name))
			return outcome(balloon_hint(&request->vmm->balloon, steps[i].step),
				       "hinting=on", "a guest whose balloon driver runs and has "
				       "accepted free page hints; \"info\" shows driver_ok and "
				       "features");
	}
	return answer_error("step \"%s\": expected start, stop or done", text ? text : "");
}

/* How many inhibits there are, and whether what they hold up is made up for. */
static struct json_object *inhibits(const struct balloon *balloon)
{
	struct json_object *answer = answer_number("inhibited", balloon->inhibited);

	if (!balloon_remembers(balloon))
		answer_add_text(answer, "note", "what is ballooned meanwhile will not be "
				"discarded: that takes a frame and must-tell-host=on, as by "
				"default, and a guest that accepts it");
	return answer;
}

struct json_object *balloon_inhibit(struct request *request)
{
	struct balloon *balloon = &request->vmm->balloon;
	struct json_object *answer = need_balloon(request);
	int err;

	if (answer)
		return answer;
	err = vmemdev_balloon_inhibit(&balloon->device);
	if (err)
		return outcome(err, NULL, "nothing");
	balloon->inhibited++;
	return inhibits(balloon);
}

struct json_object *balloon_uninhibit(struct request *request)
{
	struct balloon *balloon = &request->vmm->balloon;
	struct json_object *answer = need_balloon(request);
	int err;

	if (answer)
		return answer;
	err = vmemdev_balloon_uninhibit(&balloon->device);
	if (err)
		return outcome(err, NULL, "an \"inhibit\" before, as discards are allowed");
	balloon->inhibited--;
	return inhibits(balloon);
}

/* ---- info ---- */

struct json_object *balloon_info(const struct balloon *balloon, uint64_t given)
{
	struct json_object *info = json_object_new_object();
	uint32_t round = vmemdev_balloon_hint_round(&balloon->device);
	struct vmemdev_balloon_counts counts;

	vmemdev_balloon_get_counts(&balloon->device, &counts);
	answer_add(info, "target", vmemdev_balloon_target(&balloon->device));
	answer_add(info, "actual", vmemdev_balloon_actual(&balloon->device));
	answer_add(info, "pages_inflated", counts.pages_inflated);
	answer_add(info, "pages_deflated", counts.pages_deflated);
	answer_add(info, "pages_reported", counts.pages_reported);
	answer_add(info, "pages_hinted", counts.pages_hinted);
	answer_add(info, "ranges", counts.ranges);
	answer_add(info, "host_calls", counts.host_calls);
	answer_add(info, "host_failures", counts.host_failures);
	answer_add(info, "rounds", counts.rounds);
	answer_add(info, "stats_sets", counts.stats_sets);
	answer_add(info, "pages_ignored", counts.pages_ignored);
	answer_add(info, "pages_inhibited", counts.pages_inhibited);
	answer_add(info, "pages_poisoned", counts.pages_poisoned);
	answer_add(info, "pages_short", counts.pages_short);
	answer_add(info, "pages_stale", counts.pages_stale);
	answer_add(info, "inputs_ignored", counts.inputs_ignored);
	answer_add_text(info, "round", balloon_round_name(round));
	answer_add(info, "hinted", balloon->hinted);
	answer_add(info, "inhibited", balloon->inhibited);
	answer_add_flag(info, "remembers", balloon_remembers(balloon));
	answer_add(info, "given", given);
	answer_add(info, "deflate_waits", huge_waiting(balloon));
	answer_add(info, "stats_period", balloon->stats_period);
	json_object_object_add(info, "stats", statistics(balloon->vmm));
	return info;
}
