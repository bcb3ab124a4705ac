/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VHOST_USER_PROTOCOL_H
#define VHOST_USER_PROTOCOL_H
/*
 * The vhost-user protocol as far as this back end speaks it, in the order of its specification:
 * a message is a header, a payload of the length that the header tells, and file descriptors
 * that come along with its first byte. All numbers are in the byte order of the machine.
 */
#include <stdint.h>

/* header.flags: the lowest two bits are the protocol's version. */
#define FLAG_VERSION_MASK 0x3u
#define FLAG_VERSION 0x1u
#define FLAG_REPLY 0x4u
#define FLAG_NEED_REPLY 0x8u

/* The one bit of the virtio feature word that is not the device's. */
#define F_PROTOCOL_FEATURES (UINT64_C(1) << 30)

/* Protocol features that this back end offers. */
#define PROTOCOL_F_MQ (UINT64_C(1) << 0)
#define PROTOCOL_F_REPLY_ACK (UINT64_C(1) << 3)
#define PROTOCOL_F_BACKEND_REQ (UINT64_C(1) << 5)
#define PROTOCOL_F_CONFIG (UINT64_C(1) << 9)
#define PROTOCOL_F_RESET_DEVICE (UINT64_C(1) << 13)
#define PROTOCOL_F_CONFIGURE_MEM_SLOTS (UINT64_C(1) << 15)
#define PROTOCOL_F_STATUS (UINT64_C(1) << 16)

/* Requests of the front end. */
enum request {
	GET_FEATURES = 1,
	SET_FEATURES = 2,
	SET_OWNER = 3,
	RESET_OWNER = 4,
	SET_MEM_TABLE = 5,
	SET_VRING_NUM = 8,
	SET_VRING_ADDR = 9,
	SET_VRING_BASE = 10,
	GET_VRING_BASE = 11,
	SET_VRING_KICK = 12,
	SET_VRING_CALL = 13,
	SET_VRING_ERR = 14,
	GET_PROTOCOL_FEATURES = 15,
	SET_PROTOCOL_FEATURES = 16,
	GET_QUEUE_NUM = 17,
	SET_VRING_ENABLE = 18,
	SET_BACKEND_REQ_FD = 21,
	GET_CONFIG = 24,
	SET_CONFIG = 25,
	RESET_DEVICE = 34,
	GET_MAX_MEM_SLOTS = 36,
	ADD_MEM_REG = 37,
	REM_MEM_REG = 38,
	SET_STATUS = 39,
	GET_STATUS = 40
};

/* The one request of the back end, on a channel of its own. */
#define BACKEND_CONFIG_CHANGE_MSG 2

struct header {
	uint32_t request;
	uint32_t flags;
	uint32_t size; /* of the payload */
};

struct vring_state {
	uint32_t index;
	uint32_t num;
};

#define VRING_F_LOG 1u /* in vring_addr.flags: log writes to the ring */

struct vring_addr {
	uint32_t index;
	uint32_t flags;
	uint64_t desc; /* these are addresses in the front end's own address space */
	uint64_t used;
	uint64_t avail;
	uint64_t log;
};

/* SET_VRING_KICK, _CALL and _ERR: a number with the queue in it. */
#define VRING_FD_INDEX 0xffu
#define VRING_FD_NONE 0x100u

struct memory_region {
	uint64_t gpa;
	uint64_t size;
	uint64_t user; /* where the front end has mapped it */
	uint64_t mmap_offset;
};

struct memory_table {
	uint32_t count;
	uint32_t padding;
	struct memory_region regions[];
};

/* ADD_MEM_REG and REM_MEM_REG. */
struct memory_single {
	uint64_t padding;
	struct memory_region region;
};

/* GET_CONFIG and SET_CONFIG; the bytes follow. */
struct config_header {
	uint32_t offset;
	uint32_t size;
	uint32_t flags;
};

#define CONFIG_SIZE_MAX 256u
#define TABLE_REGIONS_MAX 8u /* in one SET_MEM_TABLE */
#define FDS_MAX 8u	     /* with one message */

/* The longest payload is a configuration space or a table; anything above this is nonsense. */
#define PAYLOAD_MAX 512u

/* A message as it is put together. */
struct message {
	struct header header;
	_Alignas(8) uint8_t payload[PAYLOAD_MAX];
	int fds[FDS_MAX];
	unsigned fd_count;
};

#endif /* VHOST_USER_PROTOCOL_H */
