/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TOYVMM_VMM_H
#define TOYVMM_VMM_H
/*
 * The toy VMM in one page: what a virtual machine consists of, and which file owns which
 * part. A VMM author who wants the memory devices reads virtio.c and memory.c, and finds
 * here what the two need from the rest.
 *
 * Threads: each vCPU has one, and the main thread runs an epoll loop (main.c) that serves
 * doorbells, the control socket and the console's input. Whoever calls a device holds
 * vmm->lock. One lock for all devices is the simplest thing that is right: calls on one
 * device must not overlap (vmemdev/device.h), and the balloon reads the block bitmaps that
 * the virtio-mem devices change (vmemdev/guest.h). None of it is on a hot path.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <vmemdev/linux.h>
#include <vmemdev/vmemdev.h>

struct kvm_cpuid2;
struct kvm_run;
struct record;

/* The guest-physical address space. */
#define LOW_RAM_END UINT64_C(0xc0000000)    /* RAM ends here at the latest, ... */
#define HIGH_RAM_START UINT64_C(0x100000000) /* ... and goes on here */
#define MEMORY_MIN (UINT64_C(64) << 20)      /* no Linux boots in less */
#define MMIO_BASE UINT64_C(0xd0000000)      /* register block of virtio-mmio slot 0 */
#define MMIO_STRIDE UINT64_C(0x1000)
#define ACPI_BASE UINT64_C(0xe0000)         /* tables, in the old BIOS area */
#define ACPI_END UINT64_C(0x100000)
#define MEM_ALIGN (UINT64_C(2) << 30)       /* Linux's memory block is 2 GiB at most */
#define ID_MAX 64                            /* characters of a device's name */
#define FRAME_MAX (UINT64_C(1) << 30)
#define INHIBITED_MAX 65536                  /* of the balloon, at once */
#define FRAME_BY_PAGE UINT64_MAX            /* nothing was said of --balloon's frame */
#define SMALL_PAGE UINT64_C(4096)            /* what is never short of a page of its kind */
#define KVM_SLOT_DEFAULT (UINT64_C(1) << 30) /* of a memory device's region; as large as a block */
#define KVM_SLOT_MAX (UINT64_C(4) << 40)     /* KVM takes less than 8 TiB in one piece */
#define PMEM_ALIGN (UINT64_C(2) << 20)       /* Linux's page structures for device memory */

/* KVM's numbers of memory slots; those of the memory devices follow. */
#define LOW_RAM_SLOT 0
#define HIGH_RAM_SLOT 1
#define RAM_SLOTS 2

/* What boot.c puts into low memory for the first vCPU to start with. */
#define BOOT_GDT 0x500
#define BOOT_GDT_SIZE 32
#define BOOT_CS 0x10 /* the boot protocol asks for these two */
#define BOOT_DS 0x18
#define BOOT_PAGE_TABLES 0x9000
#define BOOT_PAGE_TABLES_SIZE (6 * 0x1000)

/* I/O APIC pins. */
#define SERIAL_IRQ 4
#define SLOT_IRQ 5 /* slot 0; one pin a slot from there on */

/* I/O ports. */
#define SERIAL_PORT 0x3f8
#define SLEEP_CONTROL_PORT 0x600
#define SLEEP_ENABLE 0x20
#define SLEEP_STATUS_PORT 0x601
#define RESET_PORT 0x602
#define RESET_VALUE 1

#define SLOTS_MAX 8 /* VMEMDEV_LINUX_RAM_MAX leaves room for them */
#define CPUS_MAX 64

/* How the VMM ends: its exit status. */
enum exit_status {
	EXIT_POWER_OFF = 0,   /* the guest powered off, or somebody told us to quit */
	EXIT_TROUBLE = 1,     /* something did not work; a message said what */
	EXIT_USAGE = 2,       /* the command line is wrong */
	EXIT_GUEST_RESET = 3, /* the guest reset itself, and --reboot=exit */
	EXIT_GUEST_FAULT = 4, /* the guest touched unplugged memory of a guarded device */
	EXIT_RUNNING = 255    /* not yet */
};

/* ---- options.c: the command line ---- */

struct memory_option {
	uint64_t size;
	uint32_t backing;   /* enum vmemdev_linux_backing */
	uint64_t page_size; /* 0: the system's */
	const char *path;   /* of a file backing */
	bool shared;
};

/* What --balloon, --mem and --pmem have in common. */
struct device_option {
	uint64_t features_on, features_off; /* VMEMDEV_F_* */
	uint16_t queue_size;
};

enum must_tell_host {
	MUST_TELL_HOST_BY_FRAME = 0, /* nothing was said of it */
	MUST_TELL_HOST_OFF,
	MUST_TELL_HOST_OFFERED,
	MUST_TELL_HOST_REQUIRED
};

struct balloon_option {
	bool present, deflate_on_oom, stats, hinting, reporting, text_queues_only;
	enum must_tell_host must_tell_host;
	uint64_t frame;                    /* bytes of the host pages tracked; 0: none are */
	uint64_t report_min, report_limit; /* bytes, and bytes a second; 0: no limit */
	struct device_option device;
};

enum populate {
	POPULATE_BY_PAGE = 0, /* nothing was said of it: on for huge pages */
	POPULATE_OFF,
	POPULATE_ON
};

struct mem_option {
	const char *id;
	uint64_t size, block, requested, addr; /* addr 0: memory.c chooses */
	uint64_t kvm_slot;    /* bytes of a KVM memory slot; 0: one for the whole region */
	uint64_t guest_block; /* Linux's memory block; 0: as the library has it */
	enum populate populate;
	bool guarded, persistent_suspend;
	uint16_t node;
	struct device_option device;
};

struct pmem_option {
	const char *id, *path;
	uint64_t addr, size; /* addr 0: memory.c chooses; size: the file's */
	bool readonly, shmem;
	struct device_option device;
};

struct options {
	const char *kernel, *initrd, *append, *control;
	const char *restore, *takeover; /* a snapshot, or another VMM's socket, to go on from */
	unsigned cpus;
	struct memory_option memory;
	struct balloon_option balloon;
	struct mem_option mem[SLOTS_MAX];
	unsigned mem_count;
	struct pmem_option pmem[SLOTS_MAX];
	unsigned pmem_count;
	bool packed, restart; /* the guest's reset starts it anew */
};

/* Fill in @options. returns: EXIT_RUNNING, or the status to exit with. */
int options_parse(struct options *options, int argc, char **argv);

/* Whether the guest is not started, but goes on. */
bool options_continue(const struct options *options);

/* Read a size such as "512M" or "4096". returns: whether @text is one. */
bool size_parse(const char *text, uint64_t *size);

/* Say on stderr what went wrong. returns: -1 always, for "return fail(...)". */
int fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
const char *fail_text(void); /* what it last said in this thread */

/* ---- main.c: the event loop ---- */

struct watch {
	int fd;
	void (*ready)(void *ctx);
	void *ctx;
};

struct vmm;

/* Call @watch->ready in the main thread whenever its fd can be read. 0 or -1. */
int loop_add(struct vmm *vmm, struct watch *watch);
void loop_remove(struct vmm *vmm, struct watch *watch);

/* Make the main thread look at the devices. From any thread. */
void loop_wake(struct vmm *vmm);

/* End the VMM; the first reason given counts. From any thread. */
void vmm_stop(struct vmm *vmm, enum exit_status status, const char *reason);

/* ---- timers.c: clocks for the event loop ---- */

#define MILLISECOND INT64_C(1000000) /* in nanoseconds */
#define SECOND INT64_C(1000000000)

/* Make @timer, at rest, with @ready called in the main thread when it rings. 0 or -1. */
int timer_add(struct vmm *vmm, struct watch *timer, void (*ready)(void *ctx), void *ctx);
void timer_set(const struct watch *timer, int64_t interval); /* nanoseconds; 0: to rest */
uint64_t timer_rang(const struct watch *timer); /* how often since it was last asked */
uint64_t timer_now(void);                       /* milliseconds, of a clock that only goes on */

/* ---- the machine ---- */

struct vcpu {
	struct vmm *vmm;
	struct kvm_run *run;
	pthread_t thread;
	unsigned index;
	int fd;
	size_t run_size;
	bool faulted; /* touched memory that is not there */
	struct kvm_cpuid2 *cpuid; /* as the guest sees it */
};

/* What joins a device to KVM, kept to do it again. */
struct irq_wire {
	int fd;
	uint32_t gsi;
};

struct doorbell_wire {
	int fd;
	uint32_t value;
	uint64_t gpa;
};

struct serial {
	pthread_mutex_t lock; /* the console does not wait for the devices */
	struct watch input;
	bool listening;       /* input is being watched */
	bool raw, escape;     /* input is a terminal; the escape key was pressed */
	int irq_fd;
	uint8_t ier, lcr, mcr, scr, dll, dlm;
	bool thr_empty_pending;
	uint8_t fifo[1024];
	unsigned fifo_head, fifo_len;
};

/* What a doorbell's eventfd stands for. */
struct doorbell {
	struct watch watch;
	struct slot *slot;
	uint16_t queue;
};

/* How a memory device is brought to a size, as it is told on the control socket. */
struct resize {
	struct slot *slot;
	struct vmemdev_mem_resize run;
	struct watch timer;
	uint32_t told_state;   /* enum vmemdev_mem_resize_state, */
	uint64_t told_plugged; /* and the size, of the newest event */
	struct vmemdev_mem_resize_config asked;
	uint64_t started;      /* by timer_now() */
};

#define PMEM_REQUESTS 64 /* that share a flush */

/* A persistent memory device, and who has its file flushed. */
struct pmem {
	const struct pmem_option *option; /* NULL: another device's slot */
	struct vmemdev_pmem device;
	struct vmemdev_pmem_request requests[PMEM_REQUESTS];
	struct vmemdev_linux_flusher flusher;
	struct watch ended;
	uint32_t kvm_slot;
	bool flushing;    /* the flusher is at work, or its end was not taken */
	bool failing;     /* the last flush failed */
	bool moved_flushing; /* one went on when the machine was saved */
	bool lossy;       /* since it was started, the guest wrote to what is read-only, */
	uint64_t dropped; /* and how often, ever */
};

/* One virtio-mmio device: which device it is, and its wires into the machine. */
struct slot {
	struct vmm *vmm;
	const char *id;
	struct vmemdev_device *device; /* of the balloon, or of a member below */
	struct vmemdev_mmio mmio;
	int irq_fd;
	uint64_t guest_errors; /* how often the guest's driver broke the rules */
	unsigned doorbell_count;
	struct doorbell doorbells[VMEMDEV_QUEUES_MAX];

	struct pmem pmem;

	const struct mem_option *mem_option; /* NULL: another device */
	struct vmemdev_mem mem;
	uint64_t *bitmap; /* the device's: a bit a block */
	bool moved; /* blocks were plugged or unplugged: the resize is to look at it */
	struct resize resize;

	/* KVM's memory slots for the region: numbers from kvm_first on, kvm_count of them. */
	uint32_t kvm_first, kvm_count;
	uint64_t *kvm_plugged; /* what is plugged in each; NULL: one for the whole region */
	struct vmemdev_mem_slots kvm_slots;
	bool hidden; /* by memory_hide_guarded() */
};

/* Statistics whose tags the library does not know, of one set. */
#define UNKNOWN_STATS_MAX 8

struct unknown_stats {
	uint32_t count;
	uint64_t dropped; /* for which there was no room */
	uint16_t tags[UNKNOWN_STATS_MAX];
	uint64_t values[UNKNOWN_STATS_MAX];
};

/* A deflate that waits for free huge pages; ranges are the device's. */
struct deflate {
	const struct vmemdev_range *ranges;
	uint32_t count;      /* 0: none waits */
	uint64_t token;
	uint64_t waits;      /* how often one has waited */
	struct watch timer;
};

struct balloon {
	struct vmm *vmm;
	struct slot *slot; /* NULL: there is no balloon */
	struct vmemdev_balloon device;
	struct vmemdev_range ranges[VMEMDEV_BALLOON_RANGES];
	struct vmemdev_balloon_track tracks[VMEMDEV_LINUX_RAM_MAX];
	uint32_t track_count;

	struct deflate deflate;
	struct watch stats_timer, report_timer;
	uint32_t stats_period; /* seconds; 0: nobody asks */
	struct unknown_stats unknown, unknown_next; /* of the newest set, and of that being read */
	int64_t report_credit;    /* bytes; below 0: what was reported beyond the limit */
	uint64_t reported;        /* pages, when the credit was last reckoned */
	uint64_t hinted;          /* bytes, in the newest round */
	uint32_t round;           /* enum vmemdev_balloon_round, as last told to subscribers */
	uint32_t inhibited;       /* how many times */
};

struct client {
	struct watch watch;
	struct vmm *vmm; /* NULL: nobody is here */
	bool wants_events;
	bool leaves;     /* its connection is for update_begin() */
	bool cut_off;    /* did not read; the main thread is to hang up */
	uint64_t heard;  /* control.turn when it last said something */
	size_t len;
	char line[512];
};

#define CLIENTS_MAX 8

struct control {
	struct watch listener;
	struct client clients[CLIENTS_MAX];
	uint64_t turn;
};

#define HINT_PARTS 2 /* low RAM and high */

/* Free page hints, as far as a snapshot may make use of them; a bit a page. */
struct hints {
	bool open; /* a round was started, and they are not done */
	uint64_t *hinted[HINT_PARTS], *written[HINT_PARTS];
};

/* Why the vCPUs are to stand still. */
struct pause {
	void (*paused)(struct vmm *vmm); /* in the main thread, when they do; NULL: no reason */
	bool told, still;                /* they were told to; they do */
	uint64_t since;                  /* when they were told, by pause_clock() */
};

/* A snapshot that was asked for. */
struct snapshot {
	char *path;
	bool quit; /* the VMM ends when it is written */
	uint64_t restored; /* bytes of memory, by --restore */
};

/* Memory that another VMM had. */
struct taken_memory {
	uint64_t gpa, size, offset; /* in the file */
	int fd;
};

/* A live update, on the side that is taken over. */
struct update {
	struct watch peer;  /* the new process; there, the old one */
	struct watch limit; /* a timer */
	bool running, stopped;      /* stopped: the record is taken, and nothing may change */
	uint8_t heard[24];          /* of the peer's next word, as much as came */
	size_t heard_len;
};

struct vmm {
	struct options options;
	pthread_mutex_t lock; /* devices, slots, the balloon, guest memory's table, clients */

	int epoll_fd;
	struct watch wake;
	_Atomic int exit_status; /* enum exit_status */
	const char *_Atomic exit_reason;

	int kvm_fd, vm_fd;
	struct vcpu vcpus[CPUS_MAX];
	_Atomic unsigned vcpus_running;
	const char *_Atomic reset_reason; /* the guest has reset the machine; or NULL */
	bool stopping;                    /* its vCPUs were told to stop */
	_Atomic bool pausing;             /* vCPUs that are told to stop go on later */
	struct pause pause;
	struct irq_wire irqs[SLOTS_MAX + 1]; /* and the console's */
	struct doorbell_wire doorbells[SLOTS_MAX * VMEMDEV_QUEUES_MAX];
	unsigned irq_count, doorbell_count;
	uint64_t kernel_entry, boot_params; /* where the first vCPU starts, and its RSI */

	struct vmemdev_linux_memory memory;
	struct vmemdev_guest guest;
	uint64_t low_ram, high_ram;
	uint32_t kvm_slots; /* numbers of KVM memory slots given away */
	struct watch shortage_timer;
	uint64_t shortage; /* bytes that the guest may touch and the host has no page for */

	struct slot slots[SLOTS_MAX];
	unsigned slot_count;
	struct balloon balloon;
	struct serial serial;
	struct control control;

	struct hints hints;
	struct snapshot snapshot;
	struct update update;
	struct taken_memory taken[VMEMDEV_LINUX_RAM_MAX];
	unsigned taken_count;
};

/*
 * kvm.c. Those that return an int return 0 or -1, having said what is wrong. What is added
 * stays over kvm_renew(), which makes the virtual machine anew; but not memory.
 */
int kvm_create(struct vmm *vmm);
uint32_t kvm_slots_max(const struct vmm *vmm);     /* memory slots of a virtual machine */
unsigned kvm_address_bits(const struct vmm *vmm);  /* of guest-physical addresses */
int kvm_add_memory(struct vmm *vmm, uint32_t slot, uint64_t gpa, uint64_t len, void *host);
int kvm_add_read_only(struct vmm *vmm, uint32_t slot, uint64_t gpa, uint64_t len, void *host);
void kvm_remove_memory(struct vmm *vmm, uint32_t slot);
int kvm_add_irqfd(struct vmm *vmm, uint32_t gsi);       /* the eventfd, or -1 */
int kvm_add_doorbell(struct vmm *vmm, uint64_t gpa, uint32_t value); /* the eventfd, or -1 */
int kvm_log_writes(struct vmm *vmm, uint32_t slot, uint64_t gpa, uint64_t len, void *host,
		   bool log); /* of memory that was added: note which pages are written, or do not */
int kvm_take_written(struct vmm *vmm, uint32_t slot, uint64_t *pages); /* a bit each; then none are */
int kvm_create_vcpus(struct vmm *vmm);
int kvm_run(struct vmm *vmm);   /* start them */
int kvm_start(struct vmm *vmm); /* both */
void kvm_stop(struct vmm *vmm); /* tell the vCPUs; loop_wake() when vcpus_running is 0 */
int kvm_renew(struct vmm *vmm); /* all vCPUs have stopped */
void kvm_pause(struct vmm *vmm); /* as kvm_stop(), but they can go on by */
int kvm_go_on(struct vmm *vmm);  /* after all have stopped */

/* vcpu_state.c: all that KVM knows of the machine, while its vCPUs stand still. 0 or -1. */
int kvm_save(struct vmm *vmm, struct record *record);
int kvm_load(struct vmm *vmm, const struct record *record);
void kvm_tell_paused(struct vmm *vmm); /* the guest's clocks, so that it knows */

/* memory.c */
int memory_create(struct vmm *vmm);
int memory_add_file(struct vmm *vmm, struct pmem_option *option, int fd); /* for good */
int memory_show_device(struct slot *slot);   /* to the devices */
int memory_follow_device(struct slot *slot); /* show KVM what is plugged, from now on */
int memory_open_plugged(struct slot *slot);  /* of a device that was loaded */
int memory_log_writes(struct vmm *vmm, uint32_t slot, bool log); /* of RAM, by KVM */
int memory_show_all(struct vmm *vmm);      /* all that KVM is to have, to a new machine */
int memory_clear(struct vmm *vmm);         /* the RAM */
int memory_empty_files(struct vmm *vmm);   /* that guest memory is in: it is zeros by others */
struct slot *memory_device_at(struct vmm *vmm, uint64_t gpa); /* whose region it is, or NULL */
bool memory_is_unplugged(const struct slot *slot, uint64_t gpa); /* not under the lock */
bool memory_is_hidden(const struct slot *slot); /* by the next */
bool memory_hide_guarded(struct vmm *vmm); /* from KVM, for good; whether there is anything */
uint32_t memory_slots_shown(const struct slot *slot); /* how many KVM has now */
uint64_t memory_top(const struct vmm *vmm); /* where the last region ends */
void *memory_at(const struct vmm *vmm, uint64_t gpa, uint64_t len); /* RAM only, or NULL */
uint64_t memory_resident(struct vmm *vmm);  /* not under the lock */
uint64_t memory_ram_resident(struct vmm *vmm); /* the same of the RAM alone */
uint64_t memory_process_rss(void);
uint64_t memory_process_huge(void); /* bytes of hugetlb pages, which the RSS leaves out */
uint64_t memory_page(const struct vmm *vmm); /* of the RAM */

/* Have the host pages there that hold @range. returns: 0; VMEMDEV_E_BUSY: none is free */
int memory_bring(struct vmm *vmm, const struct vmemdev_range *range);

/* huge.c: what is different where the pages are scarce. 0 or -1. */
int huge_create(struct vmm *vmm);
int huge_create_deflate(struct balloon *balloon);
int huge_deflate(void *ctx, const struct vmemdev_range *ranges, uint32_t count, uint64_t token);
void huge_cancel(void *ctx, uint64_t token);
uint64_t huge_waiting(const struct balloon *balloon); /* bytes */

/* boot.c, acpi.c: put things into RAM. 0 or -1. */
int boot_load(struct vmm *vmm);
int acpi_write(struct vmm *vmm);

/* serial.c */
int serial_create(struct vmm *vmm);
void serial_destroy(struct vmm *vmm);
void serial_reset(struct vmm *vmm);
int serial_save(struct vmm *vmm, struct record *record);
int serial_load(struct vmm *vmm, const struct record *record);
void serial_hold(struct vmm *vmm, bool hold); /* leave input to others, or go on reading it */
void serial_own_terminal(struct vmm *vmm, bool own); /* raw for the guest, or as it was found */
uint8_t serial_read(struct vmm *vmm, uint16_t reg);
void serial_write(struct vmm *vmm, uint16_t reg, uint8_t value);

/* virtio.c; the three that take part in making a device are for balloon.c */
struct slot *virtio_new_slot(struct vmm *vmm, const char *id);
struct vmemdev_device_config virtio_config(struct slot *slot, const struct device_option *option);
int virtio_connect(struct slot *slot, struct vmemdev_device *device);
int virtio_create(struct vmm *vmm);
int virtio_settle(struct slot *slot); /* it can be saved; 0 or -1 */
bool virtio_run(struct vmm *vmm); /* whether work is left */
uint64_t virtio_read(struct vmm *vmm, uint64_t gpa, uint32_t width);
void virtio_write(struct vmm *vmm, uint64_t gpa, uint32_t width, uint64_t value);
struct slot *virtio_slot(struct vmm *vmm, const char *id); /* NULL: no such device */

/* pmem.c. Those that return an int return 0 or -1, having said what is wrong. */
int pmem_map(struct vmm *vmm);           /* the files, into guest memory */
int pmem_create(struct vmm *vmm);        /* the devices */
int pmem_show(const struct slot *slot);  /* to KVM */
void pmem_wrote(struct vmm *vmm, uint64_t gpa); /* a vCPU, where it cannot */
void pmem_restart(struct slot *slot);    /* a system reset; under the lock */
void pmem_settle(struct slot *slot);     /* it can be saved; under the lock */
void pmem_finish(struct vmm *vmm);       /* waits for flushes that go on */

/* resize.c. Under the lock, but for the first. */
int resize_create(struct slot *slot);
int resize_start(struct resize *resize, const struct vmemdev_mem_resize_config *config);
void resize_look(struct resize *resize);   /* after anything that may have changed it */
bool resize_cancel(struct resize *resize); /* whether there was one */
bool resize_goes_on(const struct resize *resize);
const char *resize_state_name(uint32_t state);

/* reset.c: the guest resets the machine. */
void reset_request(struct vmm *vmm, const char *reason); /* from a vCPU's thread, which ends */
void reset_proceed(struct vmm *vmm);                     /* in the main thread, at each turn */

/* balloon.c. Under the lock, but for the first. */
int balloon_create(struct vmm *vmm);
int balloon_hint(struct balloon *balloon, int (*step)(struct vmemdev_balloon *device));
int balloon_poll_every(struct balloon *balloon, uint32_t seconds);
uint64_t balloon_given(struct balloon *balloon); /* bytes; not under the lock */
bool balloon_remembers(const struct balloon *balloon); /* what this guest gives up */
void balloon_ran(struct balloon *balloon); /* vmemdev_device_run() is over */
const char *balloon_round_name(uint32_t round);

/* pause.c: the vCPUs stand still for a while. In the main thread. */
bool pause_start(struct vmm *vmm, void (*paused)(struct vmm *vmm)); /* false: they do already */
void pause_proceed(struct vmm *vmm); /* at each turn */
void pause_end(struct vmm *vmm);
uint64_t pause_clock(void); /* ns, the same in all processes */

/* hints.c. Under the lock. */
int hints_begin(struct vmm *vmm); /* before a round is started; 0 or a VMEMDEV_E_* */
void hints_take(struct vmm *vmm, const struct vmemdev_range *ranges, uint32_t count);
void hints_end(struct vmm *vmm);
int hints_look(struct vmm *vmm); /* what was written by now; vCPUs have stopped. 0 or -1 */
bool hints_cover(const struct vmm *vmm, uint64_t gpa); /* after that: whether it can be left out */

/* saved.c: the record of a machine whose vCPUs stand still. 0 or -1. */
int saved_take(struct vmm *vmm, struct record *record);
int saved_load_devices(struct vmm *vmm, const struct record *record); /* first; memory's content; */
int saved_load_machine(struct vmm *vmm, const struct record *record); /* then this */

/* snapshot.c */
int snapshot_start(struct vmm *vmm, const char *path, bool quit); /* -1: one is being made */
/* By --restore: devices and memory, of a machine that is made and has no state. */
int snapshot_restore(struct vmm *vmm, struct record *record);
void snapshot_went_on(const struct vmm *vmm, const struct record *record); /* it runs */

/* update.c */
bool update_possible(const struct vmm *vmm); /* guest memory can be handed to others */
void update_begin(struct vmm *vmm, int fd);  /* another process is to go on with the guest */
int update_connect(struct vmm *vmm);         /* by --takeover: first, the memory; */
int update_take(struct vmm *vmm, struct record *record); /* all made: the devices; */
int update_commit(struct vmm *vmm);          /* all loaded: from here on the guest is ours */
void update_went_on(struct vmm *vmm, const struct record *record); /* it runs */

/* control.c. Events: under the lock, from any thread. */
int control_create(struct vmm *vmm);   /* unless it is there by now */
int control_prepare(struct vmm *vmm);  /* by --takeover: it can be made; is, if the name is free */
void control_close(struct vmm *vmm);   /* no new clients; the socket's name is free */
void control_destroy(struct vmm *vmm); /* tells subscribers why the VMM ends */
void control_number_event(struct vmm *vmm, const char *event, const char *id, const char *what,
			  uint64_t number);
void control_text_event(struct vmm *vmm, const char *event, const char *id, const char *what,
			const char *text);
void control_error_event(struct vmm *vmm, const char *id, unsigned queue, const char *error);
void control_resize_event(struct vmm *vmm, const char *id,
			  const struct vmemdev_mem_resize_progress *progress);

#endif
