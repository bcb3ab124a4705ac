// SPDX-License-Identifier: BSD-3-Clause
/*
 * A guest in a file. In the file, all little-endian:
 *
 *     8 bytes "TOYVMM\r\n"  le32 version  le32 0  le64 bytes of the record  le64 of the file
 *     the record (record.h)
 *     guest memory: le64 address  le64 length  its bytes; ascending, and 2^64 - 1 with 0 at the end
 *
 * It is written beside its name and renamed when it is complete and on the disk, so that no
 * failure costs an older one. Whoever reads it may have it from anywhere: each address is looked
 * up, each length compared with what is there.
 *
 * The vCPUs stand still until it is written, and so does the control socket, but for events.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "answers.h"
#include "pages.h"
#include "record.h"

#define VERSION 1
#define PAGE UINT64_C(4096)
#define END UINT64_MAX
#define TELL_EVERY 1000 /* ms */

static const char magic[8] = "TOYVMM\r\n";

struct file_head {
	char magic[8];
	uint32_t version, zero;
	uint64_t record_len, file_len;
};

struct run_head {
	uint64_t gpa, len;
};

/* A file that is being written or read. */
struct stream {
	struct vmm *vmm;
	const char *path; /* as it was given */
	int fd;
	uint64_t len;     /* bytes written, or read */
	uint64_t told;    /* when somebody was last told how far it is */
	struct pages pages;
};

/* ---- events ---- */

static struct json_object *new_event(const struct stream *s, const char *state)
{
	struct json_object *event = json_object_new_object();

	answer_add_text(event, "event", "snapshot");
	answer_add_text(event, "id", "machine");
	answer_add_text(event, "state", state);
	answer_add_text(event, "file", s->path);
	answer_add(event, "written", s->pages.written);
	return event;
}

/* For what is read and written in one go; many seconds are possible. */
static void tell_progress(struct stream *s)
{
	uint64_t now = timer_now();

	if (now - s->told < TELL_EVERY)
		return;
	s->told = now;
	if (s->vmm->options.restore == s->path) /* nobody is connected yet */
		fail("--restore %s: %" PRIu64 " MiB are read", s->path, s->len >> 20);
	else
		control_publish(s->vmm, new_event(s, "writing"));
}

/* Where the devices are in what they were asked for: a snapshot may be in the middle of it. */
static void add_devices(struct json_object *event, struct vmm *vmm)
{
	struct json_object *mems = json_object_new_array(), *pmems = json_object_new_array();
	struct json_object *balloon;

	for (unsigned i = 0; i < vmm->slot_count; i++) {
		const struct slot *slot = &vmm->slots[i];
		struct json_object *mem;
		struct vmemdev_mem_sizes sizes;

		if (!slot->pmem.option && !slot->mem_option)
			continue;
		mem = json_object_new_object();
		answer_add_text(mem, "id", slot->id);
		if (slot->pmem.option) {
			answer_add_flag(mem, "flushing", slot->pmem.moved_flushing);
			json_object_array_add(pmems, mem);
			continue;
		}
		vmemdev_mem_get_sizes(&slot->mem, &sizes);
		answer_add(mem, "requested", sizes.requested);
		answer_add(mem, "plugged", sizes.plugged);
		json_object_array_add(mems, mem);
	}
	if (vmm->balloon.slot) {
		balloon = json_object_new_object();
		answer_add(balloon, "target", vmemdev_balloon_target(&vmm->balloon.device));
		answer_add(balloon, "actual", vmemdev_balloon_actual(&vmm->balloon.device));
		json_object_object_add(event, "balloon", balloon);
	}
	json_object_object_add(event, "mem", mems);
	json_object_object_add(event, "pmem", pmems);
}

static void tell_done(const struct stream *s, size_t record_len)
{
	struct json_object *event = new_event(s, "done");

	answer_add(event, "unplugged", s->pages.unplugged);
	answer_add(event, "ballooned", s->pages.ballooned);
	answer_add(event, "hinted", s->pages.hinted);
	answer_add(event, "absent", s->pages.absent);
	answer_add(event, "zero", s->pages.zero);
	answer_add(event, "record", record_len);
	answer_add(event, "file_size", s->len);
	answer_add(event, "paused_ms",
		   (pause_clock() - s->vmm->pause.since) / (uint64_t)MILLISECOND);
	add_devices(event, s->vmm);
	control_publish(s->vmm, event);
}

static void tell_failed(const struct stream *s, const char *error)
{
	struct json_object *event = new_event(s, "failed");

	answer_add_text(event, "error", error);
	control_publish(s->vmm, event);
}

/* ---- writing ---- */

static int cannot_write(const struct stream *s)
{
	return fail("snapshot %s: writing after %" PRIu64 " bytes: %s: expected a file system with "
		    "room for what the guest uses; what was there under that name is as it was",
		    s->path, s->len, strerror(errno));
}

static int write_all(struct stream *s, const void *bytes, size_t len)
{
	const char *at = bytes;

	while (len) {
		ssize_t did = write(s->fd, at, len);

		if (did < 0 && errno == EINTR)
			continue;
		if (did < 0)
			return cannot_write(s);
		at += did;
		len -= (size_t)did;
		s->len += (uint64_t)did;
	}
	return 0;
}

static int put_run(void *ctx, uint64_t gpa, const void *bytes, size_t len)
{
	struct stream *s = ctx;
	const struct run_head head = {.gpa = gpa, .len = len};

	tell_progress(s);
	return write_all(s, &head, sizeof(head)) ? -1 : write_all(s, bytes, len);
}

/* The head is written last: until then this is no snapshot. */
static int write_content(struct stream *s, const struct record *record)
{
	const struct run_head end = {.gpa = END};
	struct file_head head = {.version = VERSION, .record_len = record->len};

	if (write_all(s, &head, sizeof(head)) || write_all(s, record->bytes, record->len) ||
	    pages_walk(s->vmm, &s->pages, put_run, s) || write_all(s, &end, sizeof(end)))
		return -1;
	memcpy(head.magic, magic, sizeof(magic));
	head.file_len = s->len;
	if (pwrite(s->fd, &head, sizeof(head), 0) != sizeof(head) || fsync(s->fd))
		return cannot_write(s);
	return 0;
}

/* So that the name lasts, too. */
static void sync_directory(const char *path)
{
	const char *slash = strrchr(path, '/');
	char *directory = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
	int fd = directory ? open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

	if (fd >= 0) {
		fsync(fd);
		close(fd);
	}
	free(directory);
}

static bool is_guest_memory(const struct vmm *vmm, const struct stat *target)
{
	const struct vmemdev_linux_ram *ram;
	struct stat st;

	for (uint32_t i = 0; (ram = vmemdev_linux_ram_at(&vmm->memory, i)); i++) {
		if (ram->fd >= 0 && !fstat(ram->fd, &st) && st.st_dev == target->st_dev &&
		    st.st_ino == target->st_ino)
			return true;
	}
	return false;
}

static bool is_snapshot(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	char start[sizeof(magic)];
	bool is = fd >= 0 && read(fd, start, sizeof(start)) == sizeof(start) &&
		  !memcmp(start, magic, sizeof(magic));

	if (fd >= 0)
		close(fd);
	return is;
}

/* What is at a name that a snapshot must not take; NULL: it may. */
static const char *what_is_there(const struct stream *s)
{
	struct stat st;

	if (lstat(s->path, &st))
		return NULL; /* new; or it cannot be made, which is said when it is tried */
	if (S_ISDIR(st.st_mode))
		return "a directory";
	if (S_ISLNK(st.st_mode))
		return "a symbolic link";
	if (S_ISBLK(st.st_mode) || S_ISCHR(st.st_mode))
		return "a device";
	if (!S_ISREG(st.st_mode))
		return "a pipe or a socket";
	if (is_guest_memory(s->vmm, &st))
		return "a file that this guest has as memory";
	return is_snapshot(s->path) ? NULL : "a file that is no snapshot";
}

/* A name of its own, which nobody can have prepared; readable for the owner alone. */
static int open_part(const struct stream *s, char *part)
{
	const char *there = what_is_there(s);
	int fd;

	if (there)
		return fail("snapshot %s: that is %s: expected the name of a new file, or of an "
			    "older snapshot to replace", s->path, there);
	fd = mkostemp(part, O_CLOEXEC);
	return fd < 0 ? fail("snapshot %s: %s: %s: expected a directory where a file can be made",
			     s->path, part, strerror(errno)) : fd;
}

static int write_file(struct stream *s, const struct record *record)
{
	char *part;
	int err;

	if (asprintf(&part, "%s.part.XXXXXX", s->path) < 0)
		return fail("out of memory");
	s->fd = open_part(s, part);
	if (s->fd < 0) {
		free(part);
		return -1;
	}
	err = write_content(s, record);
	if (!err && rename(part, s->path))
		err = fail("snapshot %s: renaming %s: %s", s->path, part, strerror(errno));
	if (err)
		unlink(part);
	else
		sync_directory(s->path);
	close(s->fd);
	free(part);
	return err;
}

static int take(struct stream *s)
{
	struct record record = {0};
	int err = saved_take(s->vmm, &record) || hints_look(s->vmm) ? -1 : write_file(s, &record);

	if (err)
		tell_failed(s, fail_text());
	else
		tell_done(s, record.len);
	record_free(&record);
	return err;
}

static void paused(struct vmm *vmm)
{
	struct stream s = {.vmm = vmm, .path = vmm->snapshot.path, .told = timer_now()};
	int err;

	pthread_mutex_lock(&vmm->lock);
	err = take(&s);
	pthread_mutex_unlock(&vmm->lock);
	if (!err && vmm->snapshot.quit)
		vmm_stop(vmm, EXIT_POWER_OFF, "its snapshot is written");
	else
		pause_end(vmm);
	free(vmm->snapshot.path);
	vmm->snapshot.path = NULL;
}

int snapshot_start(struct vmm *vmm, const char *path, bool quit)
{
	if (!pause_start(vmm, paused))
		return -1;
	vmm->snapshot.path = strdup(path);
	vmm->snapshot.quit = quit;
	return 0;
}

/* ---- reading ---- */

static int read_all(struct stream *s, void *bytes, size_t len, const char *what)
{
	char *at = bytes;

	while (len) {
		ssize_t got = read(s->fd, at, len);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return fail("--restore %s: %s, at byte %" PRIu64 ": %s", s->path, what,
				    s->len, got ? strerror(errno) : "the file ends there: it was "
				    "cut short");
		at += got;
		len -= (size_t)got;
		s->len += (uint64_t)got;
	}
	return 0;
}

static int check_head(const struct stream *s, const struct file_head *head)
{
	struct stat st;

	if (memcmp(head->magic, magic, sizeof(magic)))
		return fail("--restore %s: expected a file that toyvmm's snapshot has written to "
			    "its end", s->path);
	if (head->version != VERSION)
		return fail("--restore %s: a snapshot of version %" PRIu32 ": this toyvmm reads "
			    "version %d: take the toyvmm that wrote it", s->path, head->version,
			    VERSION);
	if (head->zero)
		return fail("--restore %s: at byte %zu is 0x%" PRIx32 ": expected 0: it is damaged, "
			    "or from a later toyvmm", s->path, offsetof(struct file_head, zero),
			    head->zero);
	if (fstat(s->fd, &st) || (uint64_t)st.st_size != head->file_len)
		return fail("--restore %s: has %" PRIu64 " bytes: expected the %" PRIu64 " that it "
			    "says itself: it was cut short or damaged", s->path,
			    (uint64_t)st.st_size, head->file_len);
	if (head->record_len > RECORD_MAX || head->record_len > head->file_len - sizeof(*head))
		return fail("--restore %s: a record of %" PRIu64 " bytes in a file of %" PRIu64
			    ": it is damaged", s->path, head->record_len, head->file_len);
	return 0;
}

static int read_record(struct stream *s, struct record *record)
{
	struct file_head head;

	if (read_all(s, &head, sizeof(head), "its head") || check_head(s, &head))
		return -1;
	record->len = record->room = (size_t)head.record_len;
	record->file_offset = sizeof(head);
	record->bytes = malloc(record->len + 1);
	if (!record->bytes)
		return fail("--restore %s: no memory for its record of %zu bytes", s->path,
			    record->len);
	return read_all(s, record->bytes, record->len, "its record");
}

/* returns: 1: a run was read; 0: that was the last; -1 */
static int read_run(struct stream *s, uint64_t *from)
{
	struct run_head head;
	uint64_t at = s->len;
	void *host;

	if (read_all(s, &head, sizeof(head), "guest memory"))
		return -1;
	if (head.gpa == END && !head.len)
		return 0;
	if (head.gpa < *from || head.gpa % PAGE || !head.len || head.len % PAGE ||
	    !(host = pages_at(s->vmm, head.gpa, head.len)))
		return fail("--restore %s: at byte %" PRIu64 ": memory of 0x%" PRIx64 " bytes at "
			    "0x%" PRIx64 ": expected whole pages, ascending, of the guest's RAM or "
			    "of plugged blocks: it is damaged", s->path, at, head.len, head.gpa);
	*from = head.gpa + head.len;
	s->pages.written += head.len;
	return read_all(s, host, (size_t)head.len, "guest memory") ? -1 : 1;
}

static int read_memory(struct stream *s)
{
	uint64_t from = 0;
	char rest;
	int more;

	while ((more = read_run(s, &from)) > 0)
		tell_progress(s);
	if (!more && read(s->fd, &rest, 1) != 0)
		return fail("--restore %s: more follows its end, at byte %" PRIu64 ": it is "
			    "damaged", s->path, s->len);
	return more;
}

int snapshot_restore(struct vmm *vmm, struct record *record)
{
	struct stream s = {.vmm = vmm, .path = vmm->options.restore, .told = timer_now()};
	int err;

	s.fd = open(s.path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (s.fd < 0)
		return fail("--restore %s: %s: expected a file that toyvmm's snapshot has written",
			    s.path, strerror(errno));
	err = read_record(&s, record) || saved_load_devices(vmm, record) || read_memory(&s) ? -1
												: 0;
	close(s.fd);
	vmm->snapshot.restored = s.pages.written;
	return err;
}

void snapshot_went_on(const struct vmm *vmm, const struct record *record)
{
	fail("--restore %s: a record of %zu bytes and %" PRIu64 " bytes of memory: the guest goes "
	     "on", vmm->options.restore, record->len, vmm->snapshot.restored);
}
