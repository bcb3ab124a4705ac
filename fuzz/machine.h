/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FUZZ_MACHINE_H
#define FUZZ_MACHINE_H
/*
 * The machine that the device harnesses share: one or more devices, each behind a register
 * block, in front of the memory of world.h; a guest that is a model driver, a scribbler and
 * a racer, and a host that answers at once, later, or not well. An input is
 *
 *     u8 enum machine_option, u8 enum balloon_option, then steps: u8 step, operands
 *
 * where a harness says which steps its inputs know, and in which order they are numbered:
 * an opcode is taken modulo their number. All numbers are little-endian.
 *
 * While the guest is honest (nothing but the model driver has written its memory or
 * registers), its requests must be answered as posted, each once, and no device may find
 * fault with it but for a reply that does not fit.
 */
#include "lane.h"

enum machine_option {
	MACHINE_CALLBACKS = 1,    /* guest memory through callbacks, not a table */
	MACHINE_IN_ORDER = 2,     /* offer IN_ORDER everywhere */
	MACHINE_SHMEM = 4,        /* pmem: its region is shared memory */
	MACHINE_INACCESSIBLE = 8, /* mem: refuse drivers that would read unplugged blocks */
	MACHINE_SLACK = 16,       /* mem: the guest may reach four blocks beyond */
	MACHINE_SLOTS = 32,       /* mem: map only slots in use */
	MACHINE_PLUGGED = 64      /* no mem: the block region is memory in part */
};

enum balloon_option {
	BALLOON_NO_STATS = 1,
	BALLOON_NO_HINTING = 2,
	BALLOON_NO_REPORTING = 4,
	BALLOON_TEXT_QUEUES = 8,
	BALLOON_REQUIRE_TELL = 16,
	BALLOON_NO_TRACKS = 32,
	BALLOON_REPORT_MIN = 64,
	BALLOON_LARGE_FRAMES = 128 /* tracks of larger host pages */
};

enum number { NUMBER_BALLOON, NUMBER_MEM, NUMBER_PMEM, NUMBERS };

enum step {
	STEP_START,    /* u64 features, u8 log2 of the ring size, u8 queues left out:
	                * negotiate and open the others */
	STEP_POST,     /* u8 queue, lane_post() */
	STEP_POLL,     /* u8 queue: take what is used */
	STEP_EVENTS,   /* u8 queue, u8: the driver's interrupts on or off */
	STEP_RUN,      /* u8 budget; its top bit: watch all of memory */
	STEP_ANSWER,   /* u8: what the host's callbacks answer from now on */
	STEP_COMPLETE, /* u8 result */
	STEP_WRITE,    /* u16 offset, u8 log2 width, u32 value: a register */
	STEP_READ,     /* u16 offset, u8 log2 width */
	STEP_SCRIBBLE, /* u16 address in units of 2, u8 length, bytes */
	STEP_RACE,     /* world_race() */
	STEP_RESET,    /* u8: device, queue or system reset; u8 queue */
	STEP_MOVE,     /* save, and load into a device in its place */
	STEP_STOP,     /* u8 queue */
	STEP_RESUME,   /* u8 queue; u8: 0: where it stopped; else u16 position, u8 wrap */
	STEP_REGIONS,  /* u8: the regions that are shown */
	STEP_TARGET,   /* u16 pages or blocks */
	STEP_DEVICE,   /* u8: which device the next steps are about */
	STEP_KICK,     /* u8 queue */
	STEP_CONFIG,   /* u8 offset, u8 length, u32: write the configuration space; read it */
	STEP_STATS,    /* balloon: ask for statistics */
	STEP_HINT,     /* balloon, u8: start, stop or end a round of hinting */
	STEP_INHIBIT,  /* balloon, u8: forbid or allow discards */
	STEP_ALLOW,    /* balloon, u8 pages: limit of reporting; 255: none */
	STEP_FORGET,   /* balloon, u16 page, u8 pages */
	STEP_BLOCKS,   /* without mem, u32: which blocks are memory */
	STEP_LISTEN,   /* mem, u8: listen, or not; bit 1: and refuse */
	STEP_RESIZE,   /* mem, u8 kind, u16 blocks, u8 time: start, step or cancel */
	STEP_LOAD,     /* u8 enum record_form, u16 length, bytes: load that in its place */
	STEP_EDIT,     /* u8 count, of each u16 place, u8 value: move, with the record edited */
	STEP_LOAD_MMIO /* u8 enum record_form, 36 bytes or 20 */
};

enum { QUEUES_MAX = 5, RANGES = 8, REQUESTS = 4, NAMED_MAX = 1024 };

/* One device as its driver and its transport see it. */
struct port {
	struct vmemdev_device *dev;
	struct vmemdev_mmio mmio;
	bool line;                /* its interrupt line */
	uint32_t slot;            /* of its first queue */
	uint32_t used_max;        /* largest used length that it ever writes */
	uint32_t faults;          /* calls of guest_error since the last reset */
	struct lane lanes[QUEUES_MAX];
	struct vmemdev_vq_layout layouts[QUEUES_MAX];
	struct vmemdev_vq_state stopped_at[QUEUES_MAX];
	bool stopped[QUEUES_MAX];
};

struct balloon_host {
	struct vmemdev_balloon balloon;
	struct vmemdev_range ranges[RANGES], given[RANGES]; /* the second: as handed over */
	uint64_t words[2][4];
	struct vmemdev_balloon_track tracks[2];
	uint64_t token, report_min, allowed;
	uint32_t given_count, calls;
	uint64_t named[NAMED_MAX / 64]; /* a bit a page that an honest guest has named */
	bool waits;
	bool all_queues;          /* the driver has set up all: they are numbered by the text */
	uint32_t inhibited;
};

struct mem_host {
	struct vmemdev_mem mem;
	struct vmemdev_mem_listener listener;
	struct vmemdev_mem_slots slots;
	struct vmemdev_mem_resize resize;
	uint64_t slot_bytes[8];
	uint32_t heard;           /* blocks that the listener knows as plugged */
	uint32_t mapped;          /* slots that are mapped */
	bool listens, refuses, has_slots;
	struct vmemdev_range work[VMEMDEV_MEM_RANGES];
	uint32_t work_count;
	bool waits, plug;
	uint64_t token, now;
};

struct pmem_host {
	struct vmemdev_pmem pmem;
	struct vmemdev_pmem_request requests[REQUESTS];
	uint64_t begun, ended, last_good; /* flushes, counted from 1 */
	uint64_t token;
	bool waits;
};

struct machine {
	struct world w;
	uint32_t present;         /* a bit a device */
	uint32_t options, balloon_options;
	uint32_t which;
	int answer;               /* what host callbacks answer */
	bool honest;
	bool inside_run;          /* where host callbacks may be called */
	uint32_t budget;          /* of the run, which bounds them */
	struct port ports[NUMBERS];
	struct balloon_host balloon;
	struct mem_host mem;
	struct pmem_host pmem;
};

enum record_form { RECORD_RAW, RECORD_HEADED, RECORD_FORMS }; /* or with a header made for it */

/* What a harness plays. */
struct plan {
	const char *name;
	uint32_t present;         /* devices, a bit each; 0: one, told by the options */
	const uint8_t *steps;
	uint32_t step_count;
};
enum { PLAN_BALLOON, PLAN_MEM, PLAN_PMEM, PLAN_MMIO, PLAN_STATE, PLAN_DEVICE, PLANS };
extern const struct plan plans[PLANS];
void machine_play(const struct plan *plan, const uint8_t *data, size_t size);

struct machine *machine_open(uint32_t present, uint32_t options, uint32_t balloon_options);
void machine_close(struct machine *m);
void machine_step(struct machine *m, uint64_t step, struct input *in);
/* What holds between any two steps. */
void machine_check(struct machine *m);

/* Device @number at its beginning, with its register block, as if just configured. */
void machine_create(struct machine *m, uint32_t number);

/* Tell the world which rings the device has enabled, and where. */
void port_follow(struct machine *m, struct port *p);
void port_note_layouts(struct port *p);

/* A record of the device and of its register block. Returns what save answers. */
enum { RECORD_MAX = 1024 };
struct record {
	uint8_t device[RECORD_MAX], mmio[VMEMDEV_MMIO_SAVE_SIZE];
	size_t len;
};
int port_save(const struct port *p, struct record *record);
bool records_equal(const struct record *a, const struct record *b);

/* STEP_MOVE, STEP_LOAD, STEP_EDIT and STEP_LOAD_MMIO: records.c. */
void record_step(struct machine *m, uint64_t step, struct input *in);

/* The hosts of the three devices: host_*.c. */
void balloon_create(struct machine *m, struct vmemdev_device_config *device);
void balloon_moved(struct machine *m);
void balloon_step(struct machine *m, uint64_t step, struct input *in);
void balloon_complete(struct machine *m, int result);
void balloon_check(struct machine *m);
void mem_create(struct machine *m, struct vmemdev_device_config *device);
void mem_leave(struct machine *m);
void mem_moved(struct machine *m);
void mem_step(struct machine *m, uint64_t step, struct input *in);
void mem_complete(struct machine *m, int result);
void mem_check(struct machine *m);
void pmem_create(struct machine *m, struct vmemdev_device_config *device);
void pmem_complete(struct machine *m, int result);

/* A chain with @len bytes of page numbers is on its way to the balloon. */
void balloon_named(struct machine *m, const uint8_t *numbers, uint32_t len);

/* What the driver finds in an answer: the model of each device. */
void balloon_answered(struct machine *m, const struct guest_used *used);
void mem_answered(struct machine *m, const struct guest_used *used, const uint8_t *answer);
void pmem_answered(struct machine *m, const struct guest_used *used, const struct posted *was,
		   const uint8_t *answer);

#endif
