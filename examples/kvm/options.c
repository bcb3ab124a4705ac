// SPDX-License-Identifier: BSD-3-Clause
/*
 * The command line: --option name=value,name=value as users of VMMs know it. What this file
 * shows is how the devices' configuration looks from outside, and that each wrong value is
 * named together with what would be right.
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "settings.h"

#define ID_CHARACTERS \
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"
#define SYSTEM_PAGE 4096
#define REPORT_LIMIT_MAX (UINT64_C(1) << 44)
#define GUEST_BLOCK_MIN (UINT64_C(128) << 20)
#define GUEST_BLOCK_MAX (UINT64_C(2) << 30)
#define REQUEST_BLOCKS 65535
#define REPORTING_QUEUE_MIN 32 /* entries that Linux fills at once, */
#define HINTING_QUEUE_MIN 2    /* or else it does not take the device */
#define PMEM_QUEUE_MIN 2       /* entries of a flush */

static const char usage[] =
	"usage: toyvmm --kernel FILE [option]...\n"
	"       toyvmm --restore FILE [option]...\n"
	"       toyvmm --takeover SOCKET [option]...\n"
	"Boots a Linux bzImage through KVM, with virtio memory devices, or goes on with a guest.\n"
	"\n"
	"  --kernel FILE        the kernel, a bzImage for x86-64\n"
	"  --initrd FILE        its initramfs\n"
	"  --append TEXT        its command line; \"console=ttyS0\" shows it on stdio\n"
	"  --memory SIZE[,...]  RAM at start, by default 512M\n"
	"      backing=anon|memfd|hugetlb|file   what it is made of (anon)\n"
	"      path=FILE                         the file of backing=file\n"
	"      shared=on|off                     map it shared (on for memfd and file)\n"
	"  --cpus N             vCPUs, by default 1\n"
	"  --balloon[=...]      a balloon device\n"
	"      deflate-on-oom=on|off  let the guest take pages back when it is short (off)\n"
	"      must-tell-host=on|off|require  ask the guest to announce what it takes back, or\n"
	"                       refuse one that does not (on; off with frame=off)\n"
	"      frame=SIZE|off   remember what was given up, and discard it by host pages of this\n"
	"                       size (the RAM's page; off with must-tell-host=off)\n"
	"      stats=on|off     statistics of the guest (on)\n"
	"      hinting=on|off   free page hinting (on)\n"
	"      reporting=on|off free page reporting (off), with\n"
	"      report-min=SIZE       shorter ranges left alone (0)\n"
	"      report-limit=SIZE     no more than this in a second (no limit)\n"
	"      queues=both|text queues by the numbers of Linux too, or the text's alone (both)\n"
	"  --mem size=SIZE[,...]  a memory device (virtio-mem); may be repeated\n"
	"      block=SIZE       what is plugged at once (2M)\n"
	"      node=N           its NUMA node (0)\n"
	"      requested=SIZE   how much the guest should plug at start (0)\n"
	"      id=NAME          its name on the control socket (mem0, mem1, ...)\n"
	"      addr=ADDRESS     its guest-physical address (the next multiple of 2G)\n"
	"      slots=SIZE|off   memory slots of this size in KVM, there only while something in\n"
	"                       them is plugged; off: one for the whole region (1G)\n"
	"      guarded=on|off   unplugged memory cannot be touched: a guest that does is stopped,\n"
	"                       and one that does not promise to leave it alone refused (off)\n"
	"      populate=on|off  plugging brings the pages, or says busy (on for huge pages)\n"
	"      persistent-suspend=on|off  blocks outlive the guest's sleep (off)\n"
	"      guest-block=SIZE what Linux adds at once; above 64G of RAM it may be 2G (128M)\n"
	"  --pmem path=FILE[,...]  a persistent memory device (virtio-pmem); may be repeated\n"
	"      readonly[=on|off]  what the guest writes goes nowhere, and its flushes fail (off)\n"
	"      region=config|shmem  the guest finds the region in the configuration, or as a shared\n"
	"                       memory region, which Linux knows since 6.9 (config)\n"
	"      id=NAME          its name on the control socket (pmem0, pmem1, ...)\n"
	"      addr=ADDRESS     its guest-physical address (the next multiple of 2G)\n";

static const char more_usage[] =
	"  for --balloon, --mem and --pmem:\n"
	"      packed, notification-data=on|off                 virtqueue features (off)\n"
	"      indirect, event-idx, ring-reset=on|off           virtqueue features (on)\n"
	"      in-order=on|off                                  another (on for --mem)\n"
	"      queue-size=N     entries in a queue, a power of two (128)\n"
	"  --packed             packed=on for all devices that do not say packed=off\n"
	"  --reboot=exit|restart  a guest that resets itself ends the VMM, or starts anew with\n"
	"                       nothing plugged (exit)\n"
	"  --restore FILE       go on with the guest of a snapshot; with the options that it was\n"
	"                       started with, of which those may differ that it cannot see\n"
	"  --takeover SOCKET    go on with the guest of the toyvmm that has this --control socket,\n"
	"                       whose memory is shared, such as of backing=memfd; likewise\n"
	"  --control SOCKET     where toyvmm-ctl can reach this VMM\n"
	"  --help\n"
	"\n"
	"Sizes are decimal, or hexadecimal after 0x, and may end in K, M, G or T.\n"
	"On a terminal, Ctrl-A x ends the VMM.\n"
	"Exit status: 0 guest powered off or quit, 1 trouble, 2 wrong command line,\n"
	"3 guest reset itself, 4 guest touched unplugged memory of a guarded device.\n";

/* What any device takes. returns: 1 if @s was not one of these. */
static int device_setting(const struct setting *s, struct device_option *device)
{
	static const struct {
		const char *name;
		uint64_t bit;
	} features[] = {
		{"packed", VMEMDEV_F_RING_PACKED},
		{"in-order", VMEMDEV_F_IN_ORDER},
		{"notification-data", VMEMDEV_F_NOTIFICATION_DATA},
		{"indirect", VMEMDEV_F_INDIRECT_DESC},
		{"event-idx", VMEMDEV_F_EVENT_IDX},
		{"ring-reset", VMEMDEV_F_RING_RESET},
	};
	uint64_t number;
	bool on;

	if (!strcmp(s->name, "queue-size")) {
		if (!size_parse(s->value, &number) || !number || number > VMEMDEV_VQ_SIZE_MAX ||
		    (number & (number - 1)))
			return fail("%s: queue-size=%s: expected a power of two from 1 to %d",
				    s->option, s->value, VMEMDEV_VQ_SIZE_MAX);
		device->queue_size = (uint16_t)number;
		return 0;
	}
	for (size_t i = 0; i < sizeof(features) / sizeof(features[0]); i++) {
		if (strcmp(s->name, features[i].name))
			continue;
		if (setting_bool(s, &on))
			return -1;
		device->features_on &= ~features[i].bit;
		device->features_off &= ~features[i].bit;
		*(on ? &device->features_on : &device->features_off) |= features[i].bit;
		return 0;
	}
	return 1;
}

static int set_backing(const struct setting *s, struct memory_option *memory)
{
	memory->page_size = 0;
	if (!strcmp(s->value, "anon")) {
		memory->backing = VMEMDEV_LINUX_ANONYMOUS;
	} else if (!strcmp(s->value, "memfd")) {
		memory->backing = VMEMDEV_LINUX_MEMFD;
	} else if (!strcmp(s->value, "hugetlb")) {
		memory->backing = VMEMDEV_LINUX_MEMFD;
		memory->page_size = 2 << 20;
	} else if (!strcmp(s->value, "file")) {
		memory->backing = VMEMDEV_LINUX_FILE;
	} else {
		return setting_bad(s, "anon, memfd, hugetlb or file");
	}
	memory->shared = memory->backing != VMEMDEV_LINUX_ANONYMOUS;
	return 0;
}

static int memory_option(char *list, struct memory_option *memory)
{
	struct setting s = {.option = "--memory", .name = "size"};
	const char *shared = NULL;
	int more = 0, err = 0;

	s.value = strsep(&list, ",");
	if (!strncmp(s.value, "size=", 5))
		s.value += 5;
	if (setting_size(&s, &memory->size))
		return -1;
	while (!err && (more = setting_next(&list, &s)) > 0) {
		if (!strcmp(s.name, "backing"))
			err = set_backing(&s, memory);
		else if (!strcmp(s.name, "path"))
			memory->path = s.value;
		else if (!strcmp(s.name, "shared"))
			shared = s.value;
		else
			err = fail("--memory: unknown \"%s\": expected backing, path or shared",
				   s.name);
	}
	if (err || more)
		return -1;
	if (shared) {
		s.name = "shared";
		s.value = shared;
		if (setting_bool(&s, &memory->shared))
			return -1;
	}
	if ((memory->backing == VMEMDEV_LINUX_FILE) != (memory->path != NULL))
		return fail("--memory: backing=file and path=FILE go together: give both or "
			    "neither");
	if (memory->shared && memory->backing == VMEMDEV_LINUX_ANONYMOUS)
		return fail("--memory: shared=on with backing=anon: anonymous memory is private; "
			    "use backing=memfd");
	return 0;
}

/* On and off. returns: 1 if @s was not one of these. */
static int balloon_flag(const struct setting *s, struct balloon_option *balloon)
{
	const struct {
		const char *name;
		bool *flag;
	} flags[] = {
		{"deflate-on-oom", &balloon->deflate_on_oom},
		{"stats", &balloon->stats},
		{"hinting", &balloon->hinting},
		{"reporting", &balloon->reporting},
	};

	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		if (!strcmp(s->name, flags[i].name))
			return setting_bool(s, flags[i].flag);
	}
	return 1;
}

static int set_must_tell_host(const struct setting *s, enum must_tell_host *must_tell_host)
{
	bool on;

	if (!strcmp(s->value, "require")) {
		*must_tell_host = MUST_TELL_HOST_REQUIRED;
		return 0;
	}
	if (strcmp(s->value, "on") && strcmp(s->value, "off"))
		return setting_bad(s, "on, off or require");
	if (setting_bool(s, &on))
		return -1;
	*must_tell_host = on ? MUST_TELL_HOST_OFFERED : MUST_TELL_HOST_OFF;
	return 0;
}

static int set_frame(const struct setting *s, uint64_t *frame)
{
	*frame = 0;
	if (!strcmp(s->value, "off"))
		return 0;
	if (!size_parse(s->value, frame) || *frame < SYSTEM_PAGE || *frame > FRAME_MAX ||
	    (*frame & (*frame - 1)))
		return setting_bad(s, "a power of two from 4K to 1G, or off");
	return 0;
}

static int balloon_setting(const struct setting *s, struct balloon_option *balloon)
{
	int err = device_setting(s, &balloon->device);

	if (err == 1)
		err = balloon_flag(s, balloon);
	if (err <= 0)
		return err;
	if (!strcmp(s->name, "must-tell-host"))
		return set_must_tell_host(s, &balloon->must_tell_host);
	if (!strcmp(s->name, "frame"))
		return set_frame(s, &balloon->frame);
	if (!strcmp(s->name, "report-min"))
		return setting_size(s, &balloon->report_min);
	if (!strcmp(s->name, "report-limit")) {
		if (!size_parse(s->value, &balloon->report_limit) || !balloon->report_limit ||
		    balloon->report_limit > REPORT_LIMIT_MAX)
			return setting_bad(s, "a size such as 64M, above 0 and up to 16T");
		return 0;
	}
	if (!strcmp(s->name, "queues")) {
		balloon->text_queues_only = !strcmp(s->value, "text");
		return balloon->text_queues_only || !strcmp(s->value, "both") ? 0 :
		       setting_bad(s, "both or text");
	}
	return fail("--balloon: unknown \"%s\": --help lists what there is", s->name);
}

static int balloon_option(char *list, struct balloon_option *balloon)
{
	struct setting s = {.option = "--balloon"};
	int more = 0, err = 0;

	balloon->present = true;
	while (!err && (more = setting_next(&list, &s)) > 0)
		err = balloon_setting(&s, balloon);
	return err || more ? -1 : 0;
}

/* On and off. returns: 1 if @s was not one of these. */
static int mem_flag(const struct setting *s, struct mem_option *mem)
{
	bool on;

	if (!strcmp(s->name, "guarded"))
		return setting_bool(s, &mem->guarded);
	if (!strcmp(s->name, "persistent-suspend"))
		return setting_bool(s, &mem->persistent_suspend);
	if (strcmp(s->name, "populate"))
		return 1;
	if (setting_bool(s, &on))
		return -1;
	mem->populate = on ? POPULATE_ON : POPULATE_OFF;
	return 0;
}

static int set_kvm_slot(const struct setting *s, uint64_t *size)
{
	*size = 0;
	if (!strcmp(s->value, "off"))
		return 0;
	if (!size_parse(s->value, size) || *size < SYSTEM_PAGE || *size > KVM_SLOT_MAX ||
	    (*size & (*size - 1)))
		return setting_bad(s, "a power of two from 4K to 4T such as 1G, or off");
	return 0;
}

static int mem_setting(const struct setting *s, struct mem_option *mem)
{
	uint64_t number = 0;
	int err = device_setting(s, &mem->device);

	if (err == 1)
		err = mem_flag(s, mem);
	if (err <= 0)
		return err;
	if (!strcmp(s->name, "slots"))
		return set_kvm_slot(s, &mem->kvm_slot);
	if (!strcmp(s->name, "guest-block"))
		return setting_size(s, &mem->guest_block);
	if (!strcmp(s->name, "size"))
		return setting_size(s, &mem->size);
	if (!strcmp(s->name, "block"))
		return setting_size(s, &mem->block);
	if (!strcmp(s->name, "requested"))
		return setting_size(s, &mem->requested);
	if (!strcmp(s->name, "addr"))
		return setting_size(s, &mem->addr);
	if (!strcmp(s->name, "id")) {
		mem->id = s->value;
		return 0;
	}
	if (!strcmp(s->name, "node")) {
		err = setting_number(s, 255, &number);
		mem->node = (uint16_t)number;
		return err;
	}
	return fail("--mem: unknown \"%s\": --help lists what there is", s->name);
}

static int check_room(const struct options *options, const char *option)
{
	if (options->mem_count + options->pmem_count < SLOTS_MAX - 1)
		return 0;
	return fail("%s: --mem and --pmem are given more than %d times; that is all there is room "
		    "for", option, SLOTS_MAX - 1);
}

/* The last --mem or --pmem has this name. */
static int check_id(const struct options *options, const char *option, const char *id)
{
	unsigned others = 0;

	if (!*id || id[strspn(id, ID_CHARACTERS)] || strlen(id) > ID_MAX)
		return fail("%s: id=%s: expected up to %d letters, digits, \"_\" or \"-\"", option,
			    id, ID_MAX);
	if (!strcmp(id, "balloon"))
		return fail("%s: id=balloon is the balloon's name; choose another", option);
	for (unsigned i = 0; i < options->mem_count; i++)
		others += !strcmp(options->mem[i].id, id);
	for (unsigned i = 0; i < options->pmem_count; i++)
		others += !strcmp(options->pmem[i].id, id);
	return others == 1 ? 0 : fail("%s: id=%s is taken; give each device another", option, id);
}

static int mem_option(char *list, struct options *options)
{
	static char names[SLOTS_MAX][8];
	struct setting s = {.option = "--mem"};
	struct mem_option *mem;
	int more = 0, err = 0;

	if (check_room(options, s.option))
		return -1;
	mem = &options->mem[options->mem_count];
	mem->block = 2 << 20;
	mem->kvm_slot = KVM_SLOT_DEFAULT;
	snprintf(names[options->mem_count], sizeof(names[0]), "mem%u", options->mem_count);
	mem->id = names[options->mem_count];
	options->mem_count++;
	while (!err && (more = setting_next(&list, &s)) > 0)
		err = mem_setting(&s, mem);
	if (err || more)
		return -1;
	if (!mem->size)
		return fail("--mem: no size: say how far it may grow, such as size=1G");
	return check_id(options, s.option, mem->id);
}

static int pmem_setting(const struct setting *s, struct pmem_option *pmem)
{
	int err = device_setting(s, &pmem->device);

	if (err <= 0)
		return err;
	if (!strcmp(s->name, "readonly"))
		return setting_bool(s, &pmem->readonly);
	if (!strcmp(s->name, "addr"))
		return setting_size(s, &pmem->addr);
	if (!strcmp(s->name, "path")) {
		pmem->path = s->value;
		return 0;
	}
	if (!strcmp(s->name, "id")) {
		pmem->id = s->value;
		return 0;
	}
	if (!strcmp(s->name, "region")) {
		pmem->shmem = !strcmp(s->value, "shmem");
		return pmem->shmem || !strcmp(s->value, "config") ? 0 :
		       setting_bad(s, "config or shmem");
	}
	return fail("--pmem: unknown \"%s\": --help lists what there is", s->name);
}

static int pmem_option(char *list, struct options *options)
{
	static char names[SLOTS_MAX][8];
	struct setting s = {.option = "--pmem", .bare = "readonly"};
	struct pmem_option *pmem;
	int more = 0, err = 0;

	if (check_room(options, s.option))
		return -1;
	pmem = &options->pmem[options->pmem_count];
	snprintf(names[options->pmem_count], sizeof(names[0]), "pmem%u", options->pmem_count);
	pmem->id = names[options->pmem_count];
	options->pmem_count++;
	while (!err && (more = setting_next(&list, &s)) > 0)
		err = pmem_setting(&s, pmem);
	if (err || more)
		return -1;
	if (!pmem->path || !*pmem->path)
		return fail("--pmem: no path: name the file that keeps what the guest writes, such "
			    "as path=disk.img");
	if (pmem->addr && (pmem->addr < HIGH_RAM_START || pmem->addr % PMEM_ALIGN))
		return fail("--pmem: %s: addr=0x%" PRIx64 ": expected a multiple of 2M, from 4G on",
			    pmem->id, pmem->addr);
	if (pmem->device.queue_size && pmem->device.queue_size < PMEM_QUEUE_MIN)
		return fail("--pmem: %s: queue-size=%u: expected at least %d, as a flush takes so "
			    "many entries", pmem->id, pmem->device.queue_size, PMEM_QUEUE_MIN);
	return check_id(options, s.option, pmem->id);
}

static int one_option(struct options *options, int letter, char *value)
{
	uint64_t number;

	switch (letter) {
	case 'k':
		options->kernel = value;
		return 0;
	case 'i':
		options->initrd = value;
		return 0;
	case 'a':
		options->append = value;
		return 0;
	case 'C':
		options->control = value;
		return 0;
	case 'R':
		options->restore = value;
		return 0;
	case 'T':
		options->takeover = value;
		return 0;
	case 'p':
		options->packed = true;
		return 0;
	case 'r':
		options->restart = !strcmp(value, "restart");
		if (!options->restart && strcmp(value, "exit"))
			return fail("--reboot %s: expected exit or restart", value);
		return 0;
	case 'm':
		return memory_option(value, &options->memory);
	case 'b':
		return balloon_option(value, &options->balloon);
	case 'M':
		return mem_option(value, options);
	case 'P':
		return pmem_option(value, options);
	case 'c':
		if (!size_parse(value, &number) || number < 1 || number > CPUS_MAX)
			return fail("--cpus %s: expected a number from 1 to %d", value, CPUS_MAX);
		options->cpus = (unsigned)number;
		return 0;
	default:
		fputs("Try \"toyvmm --help\".\n", stderr);
		return -1;
	}
}

/*
 * --packed is for the devices that say nothing of it themselves. After that, an "off" for what
 * vmemdev does not offer by itself has done its work, and is refused in features_off.
 */
static void settle_features(struct device_option *device, bool packed)
{
	if (packed && !(device->features_off & VMEMDEV_F_RING_PACKED))
		device->features_on |= VMEMDEV_F_RING_PACKED;
	device->features_off &= ~(VMEMDEV_F_RING_PACKED | VMEMDEV_F_NOTIFICATION_DATA);
}

static int check_memory(const struct memory_option *memory)
{
	uint64_t page = memory->page_size ? memory->page_size : SYSTEM_PAGE;

	if (memory->size < MEMORY_MIN || memory->size % page)
		return fail("--memory: size of %" PRIu64 " bytes: expected at least 64M, and a "
			    "multiple of the page of %" PRIu64 " bytes", memory->size, page);
	return 0;
}

/* Together they would give nothing back. */
static int check_frame(const struct balloon_option *balloon, uint64_t page_size)
{
	bool untold = balloon->must_tell_host == MUST_TELL_HOST_OFF;

	if (balloon->frame && balloon->frame < page_size)
		return fail("--balloon: frame of %" PRIu64 " bytes: expected at least the page of "
			    "%" PRIu64 " bytes that --memory asks for, as no part of it can be "
			    "given back", balloon->frame, page_size);
	if (page_size > SYSTEM_PAGE && (untold || !balloon->frame))
		return fail("--balloon: %s with --memory's backing=hugetlb: Linux never gives up a "
			    "page of %" PRIu64 " bytes at once, so none would be given back: leave "
			    "both frame and must-tell-host away, or take backing=memfd",
			    untold ? "must-tell-host=off" : "frame=off", page_size);
	if (untold && balloon->frame != FRAME_BY_PAGE && balloon->frame > SYSTEM_PAGE)
		return fail("--balloon: frame=%" PRIu64 " with must-tell-host=off: without the "
			    "guest's promise nothing is remembered, and Linux never gives up so "
			    "much at once, so nothing would be given back: expected "
			    "must-tell-host=on or require, or frame=off", balloon->frame);
	return 0;
}

/* @all is the guest's memory at its largest. */
static int check_balloon(const struct balloon_option *balloon, uint64_t page_size, uint64_t all)
{
	uint16_t entries = balloon->device.queue_size;
	unsigned needed = balloon->reporting ? REPORTING_QUEUE_MIN :
			  balloon->hinting ? HINTING_QUEUE_MIN : 1;

	if (check_frame(balloon, page_size))
		return -1;
	if (entries && entries < needed)
		return fail("--balloon: queue-size=%u: expected at least %u, as Linux wants with "
			    "%s=on", entries, needed, balloon->reporting ? "reporting" : "hinting");
	if (!balloon->reporting && (balloon->report_min || balloon->report_limit))
		return fail("--balloon: report-min and report-limit are for free page reporting: "
			    "give reporting=on, too");
	if (balloon->report_min > all)
		return fail("--balloon: report-min=%" PRIu64 ": expected at most what the guest "
			    "can have, %" PRIu64 " bytes, or no report is ever taken",
			    balloon->report_min, all);
	return 0;
}

/* Of the sizes that fit each other, beside the region's. */
static int check_mem_parts(const struct mem_option *mem)
{
	if (mem->kvm_slot && mem->kvm_slot < mem->block)
		return fail("--mem: %s: slots=%" PRIu64 ": expected at least the block of %" PRIu64
			    " bytes, or off", mem->id, mem->kvm_slot, mem->block);
	if (!mem->kvm_slot && mem->size > KVM_SLOT_MAX)
		return fail("--mem: %s: slots=off with a size of %" PRIu64 " bytes: KVM takes no "
			    "more than 4T in one piece: give a size such as slots=1G", mem->id,
			    mem->size);
	if (mem->guest_block && (mem->guest_block < GUEST_BLOCK_MIN ||
				 mem->guest_block > GUEST_BLOCK_MAX ||
				 (mem->guest_block & (mem->guest_block - 1))))
		return fail("--mem: %s: guest-block=%" PRIu64 ": expected a power of two from 128M "
			    "to 2G, as /sys/devices/system/memory/block_size_bytes of the guest",
			    mem->id, mem->guest_block);
	if (mem->guest_block / REQUEST_BLOCKS >= mem->block)
		return fail("--mem: %s: guest-block=%" PRIu64 " with blocks of %" PRIu64 " bytes: "
			    "a request can name %d blocks: expected larger blocks, such as "
			    "block=2M", mem->id, mem->guest_block, mem->block, REQUEST_BLOCKS);
	return 0;
}

static int check_mem(const struct mem_option *mem, uint64_t page_size)
{
	if (mem->block < VMEMDEV_MEM_BLOCK_MIN || mem->block > VMEMDEV_MEM_BLOCK_MAX ||
	    (mem->block & (mem->block - 1)))
		return fail("--mem: %s: block of %" PRIu64 " bytes: expected a power of two from 4K"
			    " to 1G, such as 2M", mem->id, mem->block);
	if (mem->block < page_size)
		return fail("--mem: %s: block of %" PRIu64 " bytes: expected at least the page of "
			    "%" PRIu64 " bytes that --memory asks for", mem->id, mem->block,
			    page_size);
	if (mem->size % mem->block || mem->size > VMEMDEV_MEM_REGION_MAX)
		return fail("--mem: %s: size of %" PRIu64 " bytes: expected a multiple of the block"
			    " of %" PRIu64 " bytes, at most 64T", mem->id, mem->size, mem->block);
	if (mem->requested % mem->block || mem->requested > mem->size)
		return fail("--mem: %s: requested=%" PRIu64 " bytes: expected a multiple of the "
			    "block of %" PRIu64 ", at most the size of %" PRIu64, mem->id,
			    mem->requested, mem->block, mem->size);
	if (mem->addr && (mem->addr < HIGH_RAM_START || mem->addr % mem->block ||
			  mem->addr > UINT64_MAX - mem->size))
		return fail("--mem: %s: addr=0x%" PRIx64 ": expected a multiple of the block of "
			    "%" PRIu64 " bytes, from 4G on", mem->id, mem->addr, mem->block);
	return check_mem_parts(mem);
}

bool options_continue(const struct options *options)
{
	return options->restore || options->takeover;
}

/* What can only be seen when all options are known. */
static int check(struct options *options)
{
	uint64_t all = options->memory.size;

	if (options->restore && options->takeover)
		return fail("--restore and --takeover: a guest comes from one place: give one of "
			    "them");
	if (!options->kernel && options_continue(options) && options->restart)
		return fail("--reboot restart: a guest that starts anew needs its kernel: give "
			    "--kernel FILE, too, and what belongs to it");
	if (!options->kernel && !options_continue(options))
		return fail("no kernel: give one with --kernel FILE, such as "
			    "/boot/vmlinuz-$(uname -r)");
	if (check_memory(&options->memory))
		return -1;
	for (unsigned i = 0; i < options->mem_count; i++) {
		if (check_mem(&options->mem[i], options->memory.page_size))
			return -1;
		all += options->mem[i].size;
	}
	return check_balloon(&options->balloon, options->memory.page_size, all);
}

int options_parse(struct options *options, int argc, char **argv)
{
	static const struct option names[] = {
		{"kernel", required_argument, NULL, 'k'},
		{"initrd", required_argument, NULL, 'i'},
		{"append", required_argument, NULL, 'a'},
		{"memory", required_argument, NULL, 'm'},
		{"cpus", required_argument, NULL, 'c'},
		{"balloon", optional_argument, NULL, 'b'},
		{"mem", required_argument, NULL, 'M'},
		{"pmem", required_argument, NULL, 'P'},
		{"packed", no_argument, NULL, 'p'},
		{"reboot", required_argument, NULL, 'r'},
		{"control", required_argument, NULL, 'C'},
		{"restore", required_argument, NULL, 'R'},
		{"takeover", required_argument, NULL, 'T'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	int letter;
	unsigned char given[sizeof(names) / sizeof(names[0])] = {0};

	*options = (struct options){.append = "console=ttyS0", .cpus = 1};
	options->memory.size = UINT64_C(512) << 20;
	options->balloon.stats = true;
	options->balloon.hinting = true;
	options->balloon.frame = FRAME_BY_PAGE;
	while ((letter = getopt_long(argc, argv, "h", names, NULL)) != -1) {
		if (letter == 'h') {
			fputs(usage, stdout);
			fputs(more_usage, stdout);
			return EXIT_POWER_OFF;
		}
		for (unsigned i = 0; names[i].name; i++) {
			if (names[i].val == letter && !strchr("MP", letter) && given[i]++) {
				fail("--%s is given twice: give it once", names[i].name);
				return EXIT_USAGE;
			}
		}
		if (one_option(options, letter, optarg))
			return EXIT_USAGE;
	}
	if (optind < argc) {
		fail("unexpected \"%s\": everything is given by options; try --help", argv[optind]);
		return EXIT_USAGE;
	}
	if (check(options))
		return EXIT_USAGE;
	settle_features(&options->balloon.device, options->packed);
	for (unsigned i = 0; i < options->mem_count; i++)
		settle_features(&options->mem[i].device, options->packed);
	for (unsigned i = 0; i < options->pmem_count; i++)
		settle_features(&options->pmem[i].device, options->packed);
	return EXIT_RUNNING;
}
