/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DEVICE_RIG_H
#define DEVICE_RIG_H
/*
 * What the device suites stand on: a small machine with guest memory, one balloon, memory
 * device or persistent memory device, a host that records each call, and the model driver of tests/guest, which
 * alone writes rings and which reaches the device through device.h or virtio-mmio.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <vmemdev/vmemdev.h>

#include "guest/driver.h"

/* The machine's memory map. */
#define RAM_GPA UINT64_C(0x100000)
#define RAM_SIZE UINT64_C(0x800000)
#define DATA_GPA UINT64_C(0x500000)   /* buffers that tests place by hand: 1 MiB */
#define PLAY_GPA UINT64_C(0x600000)   /* pages that tests give up and take back: 2 MiB */
#define PLAY_PFN ((uint32_t)(PLAY_GPA / PAGE))
#define MEM_GPA UINT64_C(0x100000000) /* region of the memory device */
#define MEM_BLOCK UINT64_C(0x10000)
#define MEM_BLOCKS 96u
#define MEM_REGION (MEM_BLOCK * MEM_BLOCKS)
#define MEM_SLACK (MEM_BLOCK * 8)
#define BLOCK(n) (MEM_GPA + (uint64_t)(n) * MEM_BLOCK)
#define PAGE UINT64_C(4096)
#define PMEM_GPA UINT64_C(0x240000000) /* region of the persistent memory device */
#define PMEM_SIZE UINT64_C(0x200000)
#define PMEM_REQUESTS 8u

/* How a test reaches its device, and which ring format it negotiates. */
struct way {
	bool mmio;
	bool packed;
};

extern const struct way ways[4]; /* split direct, packed direct, split mmio, packed mmio */

#define TEST_WAY(f, setup, text, n) {#f " (" text ")", f, setup, rig_teardown, (void *)&ways[n]}
#define TEST_ONCE(f, setup) TEST_WAY(f, setup, "split, direct", 0)
#define TEST_MMIO(f, setup) TEST_WAY(f, setup, "split, mmio", 2)
#define TEST_BUSES(f, setup) TEST_ONCE(f, setup), TEST_MMIO(f, setup)
#define TEST_RINGS(f, setup) TEST_ONCE(f, setup), TEST_WAY(f, setup, "packed, direct", 1)
#define TEST_RINGS_MMIO(f, setup) TEST_MMIO(f, setup), TEST_WAY(f, setup, "packed, mmio", 3)
#define TEST_ALL(f, setup) TEST_RINGS(f, setup), TEST_RINGS_MMIO(f, setup)

enum host_op {
	HOST_INFLATE, HOST_DEFLATE, HOST_ACTUAL, HOST_PLUG, HOST_UNPLUG, HOST_PLUGGED,
	HOST_REPORT, HOST_HINT, HOST_ROUND, HOST_STATS, HOST_UNKNOWN_STAT,
	HOST_FLUSH
};

#define HOST_RANGES 300
#define HOST_CALLS 40

/* One call that the device made to its host. */
struct host_call {
	enum host_op op;
	uint32_t count;
	uint64_t token;
	uint64_t value;                   /* of ACTUAL, PLUGGED, ROUND and UNKNOWN_STAT */
	uint16_t tag;                     /* of UNKNOWN_STAT */
	const struct vmemdev_range *live; /* the device's own array */
	struct vmemdev_range ranges[HOST_RANGES];
};

struct rig;

/* The host of the device, by recording. */
struct host {
	struct host_call calls[HOST_CALLS]; /* the last HOST_CALLS; see host_call() */
	uint32_t count;
	int answer;                         /* what calls return */
	void (*hook)(struct rig *rig, const struct host_call *call);
	uint64_t clock;                     /* what the stats callback answers */
	uint64_t token;                     /* of the newest call that has one */
	uint64_t cancelled;                 /* the token that was last called off */
	uint32_t cancels;
};

struct rig {
	struct way way;
	uint64_t ring_features; /* those of the way, that drv_start() asks for */
	struct guest_memory memory;
	struct guest_driver driver;
	struct vmemdev_device *dev;
	struct vmemdev_balloon balloon;
	struct vmemdev_mem mem;
	struct vmemdev_pmem pmem;
	struct vmemdev_pmem_request requests[PMEM_REQUESTS];
	struct vmemdev_range scratch[512];
	struct vmemdev_region table[8]; /* what rig_show_spare() shows */
	uint64_t bitmap[(MEM_BLOCKS + 63) / 64];
	struct host host;
	void *ctx; /* for hooks */
	uint32_t seen_generation;
	uint32_t seen_queue_irqs, seen_config_irqs;
	void (*irq_hook)(struct rig *rig, bool config);
	uint32_t errors;
	int last_error;
	uint16_t last_error_queue;
	bool window;    /* the test is inside a call that may call back */
	bool connected; /* the driver is open */
};

/* Configurations of the devices as the rig makes them; tests change what they are about. */
void rig_balloon_config(struct rig *rig, struct vmemdev_balloon_config *config);
void rig_mem_config(struct rig *rig, struct vmemdev_mem_config *config);
void rig_pmem_config(struct rig *rig, struct vmemdev_pmem_config *config);
/* A balloon's, with statistics, hinting and reporting. */
void rig_balloon_full_config(struct rig *rig, struct vmemdev_balloon_config *config);
extern const struct vmemdev_balloon_ops rig_balloon_ops;
extern const struct vmemdev_mem_ops rig_mem_ops;
extern const struct vmemdev_pmem_ops rig_pmem_ops;

/*
 * A rig with memory but no device yet; then a device with such a configuration (NULL: the
 * one above) and the model driver on the bus that the way says.
 */
struct rig *rig_bare(const struct way *way);
struct rig *rig_bare_regions(const struct way *way, const struct guest_region *regions,
			     uint32_t count); /* region 0 must hold the map's RAM */
/*
 * Show devices the RAM and, beyond, these regions, up to 7, that have no memory behind them:
 * for pages that a device hears of but never touches.
 */
void rig_show_spare(struct rig *rig, const struct guest_region *regions, uint32_t count);
#define SPARE_GPA UINT64_C(0x100000000)
void rig_make_balloon(struct rig *rig, const struct vmemdev_balloon_config *config);
void rig_make_mem(struct rig *rig, const struct vmemdev_mem_config *config);
void rig_make_pmem(struct rig *rig, const struct vmemdev_pmem_config *config);
void rig_free(struct rig *rig);

/* cmocka fixtures: *state is a way on entry and a rig afterwards. */
int rig_setup_bare(void **state);
int rig_setup_balloon(void **state); /* made, status 0 */
int rig_setup_mem(void **state);
int rig_setup_balloon_live(void **state); /* driver running */
int rig_setup_mem_live(void **state);
int rig_setup_pmem(void **state); /* its region is guest memory of its own */
int rig_setup_pmem_live(void **state);
int rig_setup_balloon_full(void **state); /* rig_balloon_full_config(), status 0 */
int rig_setup_balloon_full_live(void **state); /* driver running with BALLOON_FULL */
#define BALLOON_FULL (VMEMDEV_BALLOON_F_STATS_VQ | VMEMDEV_BALLOON_F_FREE_PAGE_HINT | \
		      VMEMDEV_BALLOON_F_PAGE_REPORTING)
int rig_teardown(void **state);

/* From reset to DRIVER_OK with the features of the way and @more; to FEATURES_OK only. */
void drv_start(struct rig *rig, uint64_t more);
void drv_negotiate(struct rig *rig, uint64_t more);
/* The same as drv_start(), opening only a balloon's queues of accepted features, by this
 * numbering; drv_role() tells which number each of them has. */
void drv_start_numbered(struct rig *rig, uint64_t more, enum guest_numbering numbering);
uint16_t drv_role(struct rig *rig, enum guest_role role, enum guest_numbering numbering);
void drv_open(struct rig *rig, uint16_t queue);
void drv_set_status(struct rig *rig, uint8_t status);
void drv_reset(struct rig *rig);
#define DRV_READY 0x0b /* status before DRIVER_OK */
#define DRV_LIVE 0x0f

/* Whether such an interrupt came since this was last asked; acknowledges it. */
bool drv_took_queue_irq(struct rig *rig);
bool drv_took_config_irq(struct rig *rig);

/* Make a chain available, with or without a kick. Returns its ID. */
int drv_add(struct rig *rig, uint16_t queue, const struct vmemdev_buf *bufs, uint32_t count);
void drv_kick(struct rig *rig, uint16_t queue);
/* Take one used buffer. */
bool drv_used(struct rig *rig, uint16_t queue, struct guest_used *used);
/* The number of used buffers there are; all are taken. */
uint32_t drv_used_count(struct rig *rig, uint16_t queue);
/* Add a chain that breaks the rules, a readable buffer after a writable one; kick. */
void drv_break(struct rig *rig, uint16_t queue);

/* Run the device until it has nothing left; or once. Returns what run returned last. */
int rig_run(struct rig *rig);
int rig_step(struct rig *rig, uint32_t budget);
int rig_complete(struct rig *rig, uint64_t token, int result);

/* Call number @n that the host got, from 0. */
const struct host_call *host_call(struct rig *rig, uint32_t n);
const struct host_call *host_last(struct rig *rig);
void host_forget(struct rig *rig);
/* How often it got this one (of the last HOST_CALLS). */
uint32_t host_count(struct rig *rig, enum host_op op);

uint64_t ram_sum(struct rig *rig); /* moves when any byte of guest memory does */

/* Little-endian numbers in plain bytes. */
void put16(void *at, uint16_t value);
void put32(void *at, uint32_t value);
void put64(void *at, uint64_t value);

/* Post page numbers, without a kick; the same, kicked, run and used. */
int pages_post(struct rig *rig, uint16_t queue, const uint32_t *pfns, uint32_t count);
void pages_send(struct rig *rig, uint16_t queue, const uint32_t *pfns, uint32_t count);
/* Post one buffer of device-writable elements, hints or reports, without a kick. */
int ranges_post(struct rig *rig, uint16_t queue, const struct vmemdev_range *ranges,
		uint32_t count);
#define INFLATEQ 0
#define DEFLATEQ 1
#define STATSQ 2 /* from here on by the text, or with BALLOON_FULL accepted */
#define HINTQ 3
#define REPORTQ 4

/* A virtio-mem request; all of its bytes may be set before it is sent. */
struct request {
	uint8_t bytes[32];
	uint32_t len;  /* of the readable part */
	uint32_t room; /* of the writable part */
};

struct answer {
	int type; /* GUEST_MEM_*; -1: nothing was used */
	uint16_t state;
	uint32_t len; /* as in the used entry */
	uint8_t bytes[32];
};

void request_make(struct request *request, uint16_t type, uint64_t addr, uint16_t blocks);
/* Post in @slot (0 to 63) of the data area, without a kick; take the answer from there. */
void request_post(struct rig *rig, uint32_t slot, const struct request *request);
struct answer request_take(struct rig *rig, uint32_t slot);
/* All at once: the answer to a request of 24 readable and 10 writable bytes. */
struct answer request_send(struct rig *rig, const struct request *request);
struct answer mem_ask(struct rig *rig, uint16_t type, uint64_t addr, uint16_t blocks);
/* The answer's type must be as expected. */
void mem_expect(struct rig *rig, uint16_t type, uint64_t addr, uint16_t blocks, int answer);

struct vmemdev_mem_sizes mem_sizes(struct rig *rig);
void mem_want(struct rig *rig, uint64_t bytes); /* set_requested, must succeed */
bool mem_has_block(struct rig *rig, uint32_t block);

/* virtio-pmem: post a request of @len readable and @room writable bytes in @slot of the data
 * area, without a kick; take the answer from there: FLUSH_NONE if nothing was used. */
void flush_post_as(struct rig *rig, uint32_t slot, uint32_t type, uint32_t len, uint32_t room);
void flush_post(struct rig *rig, uint32_t slot); /* a good one, kicked */
uint32_t flush_take(struct rig *rig, uint32_t slot);
/* All at once: the answer to one flush. */
uint32_t flush_send(struct rig *rig);
#define FLUSH_OK 0u
#define FLUSH_FAILED UINT32_MAX
#define FLUSH_NONE 0x5a5a5a5au

/* Configuration space of the devices. */
enum { PMEM_CFG_START = 0, PMEM_CFG_SIZE = 8, PMEM_CFG_END = 16 };
enum { BAL_NUM_PAGES = 0, BAL_ACTUAL = 4, BAL_CMD_ID = 8, BAL_POISON = 12 };
enum {
	MEM_CFG_BLOCK = 0, MEM_CFG_NODE = 8, MEM_CFG_ADDR = 16, MEM_CFG_REGION = 24,
	MEM_CFG_USABLE = 32, MEM_CFG_PLUGGED = 40, MEM_CFG_REQUESTED = 48, MEM_CFG_SIZE = 56
};

/* A field of a configuration struct set to something, and what init must say to that. */
struct spoil {
	const char *what;
	size_t at, size;
	uint64_t value;
	int err;
};

#define SPOIL(type, field, v, e) \
	{#field " = " #v, offsetof(type, field), sizeof(((type *)0)->field), v, e}
#define SPOIL_END {NULL, 0, 0, 0, 0}

void spoil_apply(const struct spoil *spoil, void *config);

/* Registers of mmio.h. */
enum {
	REG_MAGIC = 0x000, REG_VERSION = 0x004, REG_DEVICE_ID = 0x008, REG_VENDOR_ID = 0x00c,
	REG_DEVICE_FEATURES = 0x010, REG_DEVICE_FEATURES_SEL = 0x014,
	REG_DRIVER_FEATURES = 0x020, REG_DRIVER_FEATURES_SEL = 0x024,
	REG_QUEUE_SEL = 0x030, REG_QUEUE_SIZE_MAX = 0x034, REG_QUEUE_SIZE = 0x038,
	REG_QUEUE_READY = 0x044, REG_QUEUE_NOTIFY = 0x050,
	REG_INTERRUPT_STATUS = 0x060, REG_INTERRUPT_ACK = 0x064, REG_STATUS = 0x070,
	REG_QUEUE_DESC_LOW = 0x080, REG_QUEUE_DESC_HIGH = 0x084,
	REG_QUEUE_DRIVER_LOW = 0x090, REG_QUEUE_DRIVER_HIGH = 0x094,
	REG_QUEUE_DEVICE_LOW = 0x0a0, REG_QUEUE_DEVICE_HIGH = 0x0a4,
	REG_SHM_SEL = 0x0ac, REG_SHM_LEN_LOW = 0x0b0, REG_SHM_LEN_HIGH = 0x0b4,
	REG_SHM_BASE_LOW = 0x0b8, REG_SHM_BASE_HIGH = 0x0bc, REG_QUEUE_RESET = 0x0c0,
	REG_CONFIG_GENERATION = 0x0fc, REG_CONFIG = 0x100
};

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

#endif /* DEVICE_RIG_H */
