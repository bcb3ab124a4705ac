// SPDX-License-Identifier: BSD-3-Clause
/*
 * The console: as much of an 8250 UART as Linux's driver wants, on stdin and stdout. Nothing
 * here concerns the memory devices; it is what lets a human see the guest. It has a lock of
 * its own, so that a slow terminal never holds up a device. Only a vCPU waits for the terminal,
 * and without the lock: the main thread takes it for input, and has more to do than that.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <termios.h>
#include <unistd.h>

#include "record.h"
#include "vmm.h"

#define ESCAPE 0x01 /* Ctrl-A */

enum { DATA, IER, IIR_FCR, LCR, MCR, LSR, MSR, SCR };

#define IER_RECEIVED 0x01
#define IER_THR_EMPTY 0x02
#define IIR_NONE 0x01
#define IIR_THR_EMPTY 0x02
#define IIR_RECEIVED 0x04
#define LCR_DIVISOR 0x80
#define MCR_LOOP 0x10
#define LSR_RECEIVED 0x01
#define LSR_IDLE 0x60 /* nothing left to send */
#define MSR_READY 0xb0 /* carrier, data set ready, clear to send */

static struct termios saved_terminal;

/* The line is edge-triggered: each new reason is a pulse. */
static void interrupt(const struct serial *serial)
{
	eventfd_write(serial->irq_fd, 1);
}

static void thr_empty(struct serial *serial)
{
	serial->thr_empty_pending = true;
	if (serial->ier & IER_THR_EMPTY)
		interrupt(serial);
}

static void receive(struct serial *serial, const char *bytes, size_t len)
{
	for (size_t i = 0; i < len && serial->fifo_len < sizeof(serial->fifo); i++) {
		serial->fifo[(serial->fifo_head + serial->fifo_len) % sizeof(serial->fifo)] =
			(uint8_t)bytes[i];
		serial->fifo_len++;
	}
	if (serial->fifo_len && (serial->ier & IER_RECEIVED))
		interrupt(serial);
}

/* Stop reading stdin while the guest does not keep up, and go on later. */
static void listen_if_room(struct vmm *vmm, struct serial *serial)
{
	bool room = serial->fifo_len <= sizeof(serial->fifo) / 2;

	if (room == serial->listening || serial->input.fd < 0)
		return;
	serial->listening = room;
	if (!room)
		loop_remove(vmm, &serial->input);
	else
		loop_add(vmm, &serial->input);
}

static void input_ready(void *ctx)
{
	struct vmm *vmm = ctx;
	struct serial *serial = &vmm->serial;
	char bytes[sizeof(serial->fifo) / 2];
	ssize_t got = read(serial->input.fd, bytes, sizeof(bytes));

	if (got < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	pthread_mutex_lock(&serial->lock);
	if (got <= 0) {
		loop_remove(vmm, &serial->input);
		serial->input.fd = -1;
		got = 0;
	}
	if (serial->raw && got > 0 && serial->escape && bytes[0] == 'x')
		vmm_stop(vmm, EXIT_POWER_OFF, "quit on the console");
	serial->escape = got > 0 && bytes[got - 1] == ESCAPE;
	receive(serial, bytes, (size_t)got);
	listen_if_room(vmm, serial);
	pthread_mutex_unlock(&serial->lock);
}

static uint8_t read_iir(struct serial *serial)
{
	if (serial->fifo_len && (serial->ier & IER_RECEIVED))
		return IIR_RECEIVED;
	if (serial->thr_empty_pending && (serial->ier & IER_THR_EMPTY)) {
		serial->thr_empty_pending = false;
		return IIR_THR_EMPTY;
	}
	return IIR_NONE;
}

static uint8_t read_data(struct vmm *vmm, struct serial *serial)
{
	uint8_t byte = 0;

	if (serial->fifo_len) {
		byte = serial->fifo[serial->fifo_head];
		serial->fifo_head = (serial->fifo_head + 1) % sizeof(serial->fifo);
		serial->fifo_len--;
		listen_if_room(vmm, serial);
	}
	return byte;
}

static uint8_t read_register(struct vmm *vmm, struct serial *serial, uint16_t reg)
{
	bool divisor = serial->lcr & LCR_DIVISOR;

	switch (reg) {
	case DATA:
		return divisor ? serial->dll : read_data(vmm, serial);
	case IER:
		return divisor ? serial->dlm : serial->ier;
	case IIR_FCR:
		return read_iir(serial);
	case LCR:
		return serial->lcr;
	case MCR:
		return serial->mcr;
	case LSR:
		return LSR_IDLE | (serial->fifo_len ? LSR_RECEIVED : 0);
	case MSR: /* in loop mode the driver's own outputs come back */
		return serial->mcr & MCR_LOOP ? (uint8_t)((serial->mcr & 0x0c) << 4 |
							   (serial->mcr & 0x02) << 3 |
							   (serial->mcr & 0x01) << 5)
					      : MSR_READY;
	default:
		return serial->scr;
	}
}

uint8_t serial_read(struct vmm *vmm, uint16_t reg)
{
	struct serial *serial = &vmm->serial;
	uint8_t value;

	pthread_mutex_lock(&serial->lock);
	value = read_register(vmm, serial, reg);
	pthread_mutex_unlock(&serial->lock);
	return value;
}

/*
 * Called with the lock, and gives it up while the terminal takes the byte. Bytes stay in order:
 * the vCPU that sends one is in here until it is out, and the guest's driver has a lock too.
 */
static void send_byte(struct serial *serial, uint8_t byte)
{
	char c = (char)byte;

	if (serial->mcr & MCR_LOOP) {
		receive(serial, &c, 1);
	} else {
		pthread_mutex_unlock(&serial->lock);
		while (write(STDOUT_FILENO, &c, 1) < 0 && errno == EINTR)
			;
		pthread_mutex_lock(&serial->lock);
	}
	thr_empty(serial);
}

static void write_ier(struct serial *serial, uint8_t value)
{
	uint8_t fresh = value & (uint8_t)~serial->ier;

	serial->ier = value & 0x0f;
	if (fresh & IER_THR_EMPTY)
		thr_empty(serial);
	if ((fresh & IER_RECEIVED) && serial->fifo_len)
		interrupt(serial);
}

void serial_write(struct vmm *vmm, uint16_t reg, uint8_t value)
{
	struct serial *serial = &vmm->serial;
	bool divisor;

	pthread_mutex_lock(&serial->lock);
	divisor = serial->lcr & LCR_DIVISOR;
	if (reg == DATA && divisor)
		serial->dll = value;
	else if (reg == DATA)
		send_byte(serial, value);
	else if (reg == IER && divisor)
		serial->dlm = value;
	else if (reg == IER)
		write_ier(serial, value);
	else if (reg == LCR)
		serial->lcr = value;
	else if (reg == MCR)
		serial->mcr = value;
	else if (reg == SCR)
		serial->scr = value;
	pthread_mutex_unlock(&serial->lock);
}

int serial_create(struct vmm *vmm)
{
	struct serial *serial = &vmm->serial;

	pthread_mutex_init(&serial->lock, NULL);
	serial->irq_fd = kvm_add_irqfd(vmm, SERIAL_IRQ);
	if (serial->irq_fd < 0)
		return -1;
	serial->input = (struct watch){.fd = STDIN_FILENO, .ready = input_ready, .ctx = vmm};
	serial->listening = !loop_add(vmm, &serial->input);
	if (!serial->listening)
		serial->input.fd = -1; /* closed, or a plain file */
	/* In a live update it is the other process's by now, and raw. */
	if (!vmm->options.takeover)
		serial_own_terminal(vmm, true);
	return 0;
}

void serial_own_terminal(struct vmm *vmm, bool own)
{
	struct serial *serial = &vmm->serial;
	struct termios raw;

	if (serial->raw && !own)
		tcsetattr(STDIN_FILENO, TCSANOW, &saved_terminal);
	if (serial->raw == own)
		return;
	serial->raw = false;
	/* In the background it is somebody else's, and would stop us for touching it. */
	if (own && tcgetpgrp(STDIN_FILENO) == getpgrp() &&
	    tcgetattr(STDIN_FILENO, &saved_terminal) == 0) {
		raw = saved_terminal;
		cfmakeraw(&raw);
		raw.c_oflag |= OPOST;
		serial->raw = tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
	}
}

void serial_destroy(struct vmm *vmm)
{
	serial_own_terminal(vmm, false);
}

/* What was typed and not read yet stays: it is the terminal's, not the guest's. */
void serial_reset(struct vmm *vmm)
{
	struct serial *serial = &vmm->serial;

	pthread_mutex_lock(&serial->lock);
	serial->ier = serial->lcr = serial->mcr = serial->scr = serial->dll = serial->dlm = 0;
	serial->thr_empty_pending = false;
	pthread_mutex_unlock(&serial->lock);
}

/* ---- saved and loaded ---- */

struct saved_serial {
	uint8_t ier, lcr, mcr, scr, dll, dlm, thr_empty_pending, pad;
	uint32_t len; /* what was typed and the guest has not read yet */
	uint8_t bytes[sizeof(((struct serial *)0)->fifo)];
};

int serial_save(struct vmm *vmm, struct record *record)
{
	struct serial *serial = &vmm->serial;
	struct saved_serial *saved = record_add(record, PART_SERIAL, 0, sizeof(*saved));

	if (!saved)
		return fail("out of memory");
	pthread_mutex_lock(&serial->lock);
	*saved = (struct saved_serial){
		.ier = serial->ier, .lcr = serial->lcr, .mcr = serial->mcr, .scr = serial->scr,
		.dll = serial->dll, .dlm = serial->dlm, .len = serial->fifo_len,
		.thr_empty_pending = serial->thr_empty_pending,
	};
	for (unsigned i = 0; i < serial->fifo_len; i++)
		saved->bytes[i] = serial->fifo[(serial->fifo_head + i) % sizeof(serial->fifo)];
	pthread_mutex_unlock(&serial->lock);
	return 0;
}

/* An interrupt too many is answered by the registers; one that was lost would be waited for. */
int serial_load(struct vmm *vmm, const struct record *record)
{
	struct serial *serial = &vmm->serial;
	struct saved_serial saved;
	struct part part;

	if (record_need(record, PART_SERIAL, 0, sizeof(saved), &part))
		return -1;
	memcpy(&saved, part.bytes, sizeof(saved));
	if (saved.len > sizeof(saved.bytes))
		return fail("record: the console has %u bytes of input: expected at most %zu: it is "
			    "damaged", (unsigned)saved.len, sizeof(saved.bytes));
	pthread_mutex_lock(&serial->lock);
	serial->ier = saved.ier & 0x0f;
	serial->lcr = saved.lcr;
	serial->mcr = saved.mcr;
	serial->scr = saved.scr;
	serial->dll = saved.dll;
	serial->dlm = saved.dlm;
	serial->thr_empty_pending = saved.thr_empty_pending;
	memcpy(serial->fifo, saved.bytes, saved.len);
	serial->fifo_head = 0;
	serial->fifo_len = saved.len;
	if (serial->ier)
		interrupt(serial);
	pthread_mutex_unlock(&serial->lock);
	return 0;
}

void serial_hold(struct vmm *vmm, bool hold)
{
	struct serial *serial = &vmm->serial;

	pthread_mutex_lock(&serial->lock);
	if (hold && serial->listening && serial->input.fd >= 0)
		loop_remove(vmm, &serial->input);
	if (hold)
		serial->listening = false;
	else
		listen_if_room(vmm, serial);
	pthread_mutex_unlock(&serial->lock);
}
