// SPDX-License-Identifier: BSD-3-Clause
/*
 * Persistent memory: a file that the guest has as memory. It reads and writes there without us;
 * what it asks for through the device's queue is that the file's disk has all of it, which may
 * take long, so lib/linux does that on a thread of its own.
 *
 * Of a file that is readonly, the guest can but read: its writes go nowhere. The device has no
 * way to say that beforehand, but a flush is a promise that what was written lasts: so it fails
 * from the first such write on, and Linux tells its programs of an I/O error.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "answers.h"

#define LONG_WAIT 2000 /* milliseconds */

/* ---- the file ---- */

static int check_file(struct pmem_option *option, int fd)
{
	struct stat st;
	uint64_t size;

	if (fstat(fd, &st) < 0)
		return fail("--pmem: %s: path=%s: %s", option->id, option->path, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return fail("--pmem: %s: path=%s: expected a regular file", option->id,
			    option->path);
	size = (uint64_t)st.st_size;
	if (!size || size % PMEM_ALIGN)
		return fail("--pmem: %s: path=%s: has %" PRIu64 " bytes: expected a multiple of 2M,"
			    " which Linux has page structures for: \"truncate -s %" PRIu64 "M %s\""
			    " makes it so long", option->id, option->path, size,
			    (size / PMEM_ALIGN + 1) * (PMEM_ALIGN >> 20), option->path);
	/* Two guests, or one twice, would not know of each other's writes. */
	if (flock(fd, (option->readonly ? LOCK_SH : LOCK_EX) | LOCK_NB) < 0)
		return fail("--pmem: %s: path=%s: %s", option->id, option->path,
			    errno == EWOULDBLOCK ? "is in use by another VMM or another --pmem: "
						   "expected a file of its own for each, or "
						   "readonly for all" : strerror(errno));
	option->size = size;
	return 0;
}

/* In a live update the other process has it open and locked. returns: that, or -1 */
static int taken_file(const struct vmm *vmm, const char *path)
{
	struct stat named, open_one;

	if (stat(path, &named) < 0)
		return -1;
	for (unsigned i = 0; i < vmm->taken_count; i++) {
		int fd = vmm->taken[i].fd;

		if (!fstat(fd, &open_one) && open_one.st_dev == named.st_dev &&
		    open_one.st_ino == named.st_ino)
			return fcntl(fd, F_DUPFD_CLOEXEC, 0);
	}
	return -1;
}

static int map_file(struct vmm *vmm, struct pmem_option *option)
{
	/* Not waiting on a FIFO, nor made: a mistyped path is no new disk. */
	int flags = (option->readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK;
	int fd = taken_file(vmm, option->path), err;

	if (fd < 0)
		fd = open(option->path, flags);

	if (fd < 0)
		return fail("--pmem: %s: path=%s: %s: expected a file that can be %s, such as "
			    "\"truncate -s 64M FILE\" makes", option->id, option->path,
			    strerror(errno), option->readonly ? "read" : "written");
	err = check_file(option, fd);
	if (!err)
		err = memory_add_file(vmm, option, fd);
	close(fd); /* the memory has it open */
	return err;
}

int pmem_map(struct vmm *vmm)
{
	for (unsigned i = 0; i < vmm->options.pmem_count; i++) {
		if (map_file(vmm, &vmm->options.pmem[i]))
			return -1;
	}
	return 0;
}

/* ---- flushes ---- */

static int flush(void *ctx, uint64_t token)
{
	struct slot *slot = ctx;
	struct pmem *pmem = &slot->pmem;
	int result;

	if (pmem->option->readonly)
		return pmem->lossy ? VMEMDEV_E_HOST : 0;
	result = vmemdev_linux_pmem_ops()->flush(&pmem->flusher, token);
	pmem->flushing = result == VMEMDEV_LATER;
	return result;
}

static const struct vmemdev_pmem_ops ops = {.flush = flush};

/* A broken disk can fail for ever, so the first time is printed; "info" has the count. */
static void tell_failure(struct slot *slot)
{
	struct vmemdev_linux_error error;

	vmemdev_linux_flusher_last_error(&slot->pmem.flusher, &error);
	if (!slot->pmem.failing)
		fail("%s: %s: %s; further failures are only counted until one succeeds", slot->id,
		     slot->pmem.option->path, error.text);
	control_text_event(slot->vmm, "flush-failed", slot->id, "reason", error.text);
}

/* The loop answers the guest. Under the lock. */
static void take_end(struct slot *slot)
{
	struct pmem *pmem = &slot->pmem;
	uint64_t token;
	int result;

	if (vmemdev_linux_flusher_take(&pmem->flusher, &token, &result) <= 0)
		return;
	pmem->flushing = false;
	if (result)
		tell_failure(slot);
	pmem->failing = result != 0;
	vmemdev_pmem_complete(&pmem->device, token, result);
}

static void flush_ended(void *ctx)
{
	struct slot *slot = ctx;

	pthread_mutex_lock(&slot->vmm->lock);
	take_end(slot);
	pthread_mutex_unlock(&slot->vmm->lock);
}

static struct slot *read_only_at(struct vmm *vmm, uint64_t gpa)
{
	for (unsigned i = 0; i < vmm->slot_count; i++) {
		const struct pmem_option *option = vmm->slots[i].pmem.option;

		if (option && option->readonly && gpa >= option->addr &&
		    gpa - option->addr < option->size)
			return &vmm->slots[i];
	}
	return NULL;
}

void pmem_wrote(struct vmm *vmm, uint64_t gpa)
{
	struct slot *slot = read_only_at(vmm, gpa);

	if (!slot)
		return;
	pthread_mutex_lock(&vmm->lock);
	slot->pmem.dropped++;
	if (!slot->pmem.lossy) {
		fail("%s: the guest wrote to 0x%" PRIx64 ", but %s is readonly: what it writes goes"
		     " nowhere, and flushes fail until it starts anew: mount it with \"-o ro\"",
		     slot->id, gpa, slot->pmem.option->path);
		control_number_event(vmm, "write-dropped", slot->id, "address", gpa);
	}
	slot->pmem.lossy = true;
	pthread_mutex_unlock(&vmm->lock);
}

/* What the kernel that is gone believed to have written is no matter of the next one. */
void pmem_restart(struct slot *slot)
{
	slot->pmem.lossy = false;
}

/* ---- making and ending the devices ---- */

static int init_device(struct slot *slot)
{
	struct pmem *pmem = &slot->pmem;
	const struct pmem_option *option = pmem->option;
	struct vmemdev_pmem_config config = {
		.struct_size = sizeof(config),
		.request_count = PMEM_REQUESTS,
		.requests = pmem->requests,
		.addr = option->addr,
		.size = option->size,
		.shmem_region = option->shmem,
		.device = virtio_config(slot, &option->device),
		.ops = &ops,
		.ctx = slot,
	};
	int err = vmemdev_pmem_init(&pmem->device, sizeof(pmem->device), &config);

	return err ? fail("--pmem: %s: %s", option->id, vmemdev_strerror(err)) : 0;
}

static const struct vmemdev_linux_ram *ram_of(const struct slot *slot)
{
	const struct vmemdev_linux_ram *ram;
	uint32_t i = 0;

	do {
		ram = vmemdev_linux_ram_at(&slot->vmm->memory, i++);
	} while (ram->gpa != slot->pmem.option->addr);
	return ram;
}

int pmem_show(const struct slot *slot)
{
	const struct pmem_option *option = slot->pmem.option;
	const struct vmemdev_linux_ram *ram = ram_of(slot);

	return (option->readonly ? kvm_add_read_only : kvm_add_memory)(
		slot->vmm, slot->pmem.kvm_slot, ram->gpa, ram->size, ram->host);
}

static int show_first(struct slot *slot)
{
	struct vmm *vmm = slot->vmm;
	struct vmemdev_region *region = vmemdev_linux_region(&vmm->memory, slot->pmem.option->addr);

	vmemdev_pmem_region(&slot->pmem.device, region->host, slot->pmem.option->readonly, region);
	vmemdev_guest_changed(&vmm->guest);
	if (vmm->kvm_slots == kvm_slots_max(vmm))
		return fail("--pmem: %s: this KVM has %" PRIu32 " memory slots, and none is left: "
			    "expected larger slots of --mem, or fewer devices", slot->id,
			    vmm->kvm_slots);
	slot->pmem.kvm_slot = vmm->kvm_slots++;
	return pmem_show(slot);
}

static int start_flusher(struct slot *slot)
{
	struct pmem *pmem = &slot->pmem;
	struct vmemdev_linux_error error;

	if (vmemdev_linux_flusher_init(&pmem->flusher, sizeof(pmem->flusher), ram_of(slot)->fd)) {
		vmemdev_linux_flusher_last_error(&pmem->flusher, &error);
		return fail("--pmem: %s: %s", slot->id, error.text);
	}
	pmem->ended = (struct watch){
		.fd = vmemdev_linux_flusher_fd(&pmem->flusher), .ready = flush_ended, .ctx = slot,
	};
	if (loop_add(slot->vmm, &pmem->ended))
		return fail("--pmem: %s: watching the flusher failed", slot->id);
	return 0;
}

int pmem_create(struct vmm *vmm)
{
	for (unsigned i = 0; i < vmm->options.pmem_count; i++) {
		const struct pmem_option *option = &vmm->options.pmem[i];
		struct slot *slot = virtio_new_slot(vmm, option->id);

		slot->pmem.option = option;
		if (init_device(slot) || show_first(slot) ||
		    (!option->readonly && start_flusher(slot)) ||
		    virtio_connect(slot, vmemdev_pmem_device(&slot->pmem.device)))
			return -1;
	}
	return 0;
}

/* Nobody hears the answer, but a failure is told. */
static void finish(struct slot *slot)
{
	struct pmem *pmem = &slot->pmem;
	struct pollfd ended = {.fd = pmem->ended.fd, .events = POLLIN};
	int wait = LONG_WAIT;

	while (pmem->flushing) {
		if (!poll(&ended, 1, wait)) {
			fail("%s: waiting for the flush of %s that goes on", slot->id,
			     pmem->option->path);
			wait = -1;
		}
		flush_ended(slot);
	}
	loop_remove(slot->vmm, &pmem->ended);
	vmemdev_linux_flusher_finish(&pmem->flusher);
}

void pmem_finish(struct vmm *vmm)
{
	for (unsigned i = 0; i < vmm->slot_count; i++) {
		const struct pmem_option *option = vmm->slots[i].pmem.option;

		if (option && !option->readonly)
			finish(&vmm->slots[i]);
	}
}

/* ---- moving ---- */

/*
 * The flush that goes on ends here, but its requests are still to be answered, by whoever goes on
 * with the guest and flushes once more. If it failed, the record says so.
 */
void pmem_settle(struct slot *slot)
{
	struct pmem *pmem = &slot->pmem;
	struct pollfd ended = {.fd = pmem->ended.fd, .events = POLLIN};

	pmem->moved_flushing = pmem->flushing;
	while (pmem->flushing) {
		if (!poll(&ended, 1, LONG_WAIT))
			fail("%s: waiting for the flush of %s that goes on", slot->id,
			     pmem->option->path);
		take_end(slot);
	}
}

/* ---- info ---- */

struct json_object *pmem_info(const struct slot *slot)
{
	struct json_object *info = json_object_new_object();
	const struct pmem_option *option = slot->pmem.option;
	struct vmemdev_pmem_counts counts;

	vmemdev_pmem_get_counts(&slot->pmem.device, &counts);
	answer_add_text(info, "id", slot->id);
	answer_add_text(info, "path", option->path);
	answer_add(info, "addr", option->addr);
	answer_add(info, "size", option->size);
	answer_add_flag(info, "readonly", option->readonly);
	answer_add_text(info, "region", option->shmem ? "shmem" : "config");
	answer_add(info, "requests", counts.requests);
	answer_add(info, "failed", counts.failed);
	answer_add(info, "refused", counts.refused);
	answer_add(info, "host_calls", counts.host_calls);
	answer_add(info, "host_failures", counts.host_failures);
	answer_add_flag(info, "flushing", slot->pmem.flushing);
	answer_add(info, "dropped_writes", slot->pmem.dropped);
	return info;
}
