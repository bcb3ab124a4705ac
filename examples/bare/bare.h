/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BARE_H
#define BARE_H
/*
 * The example's three parts: main.c is the host, which is what you would write; driver.c
 * plays the guest; start.c is what a libc would bring.
 */
#include <vmemdev/vmemdev.h>

/* start.c */
void say(const char *text);

/* main.c: returns 0, or the number of the step that went wrong. */
int run(void);

/* The guest's memory: 1 MiB from guest address 0 on. */
#define RAM_SIZE 0x100000
extern uint8_t ram[RAM_SIZE];

/* One request: what the driver hands to the device, and the room for its answer. */
struct request {
	const void *out;
	uint32_t out_len;
	uint32_t in_len; /* 0: no answer is wanted */
};

/* Where in guest memory the driver of a device puts its one queue and its buffers. */
#define QUEUE_SPACE 0x3000

/* driver.c: bring up the device behind @mmio. Returns whether it agreed. */
bool driver_start(struct vmemdev_mmio *mmio, uint32_t device_id, uint32_t space);

/* Put a request on queue 0 and ring the doorbell. */
void driver_send(struct vmemdev_mmio *mmio, uint32_t space, const struct request *request);

/* Requests that the device has finished since it was started. */
uint16_t driver_finished(uint32_t space);

/* The answer to the newest request, in guest memory. */
const uint8_t *driver_answer(uint32_t space);

/* Numbers in guest memory are little-endian, whatever the host is. */
void put_le(uint8_t *to, uint64_t value, unsigned int bytes);
uint64_t get_le(const uint8_t *from, unsigned int bytes);

#endif
