/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The words of a split ring that notifications depend on. Indices count modulo INDICES, of
 * which 2 * SIZE stands for the largest real queue and more for smaller ones.
 */
#ifndef SIZE
#define SIZE 2
#endif
#ifndef INDICES
#define INDICES 4
#endif
#define POSITIONS INDICES
#define WORDS 5
#define AVAIL_IDX 0
#define USED_EVENT 1
#define AVAIL_FLAGS 2
#define USED_IDX 3
#define AVAIL_EVENT 4
#define AHEAD(a, b) (((a) + INDICES - (b)) % INDICES)

#include "memory.pml"

byte next_avail, next_used; /* the device's */
byte shown, taken;          /* the driver's */

#define DEVICES_OWN \
	byte at, moved, staged, event, seen_avail; \
	bool found, wanted, moved_unknown, kick_asked

#define DRIVERS_OWN \
	byte at, added, event; \
	bool found, wanted, interrupts_off

/* ---- the device ---- */

/* maps: lib/core/split.c split_pop: next_avail_ == vq->seen_avail_ | look( */
#define HAS_MORE_SEEN (next_avail != seen_avail)

/* maps: lib/core/split.c look: guest_load_acquire16(vq->driver_ + AVAIL_IDX) */
inline device_look(fence)
{
	d_step {
		fence ->
		read(DEVICE, AVAIL_IDX, seen_avail);
		found = (next_avail != seen_avail)
	}
}

/* maps: lib/core/split.c ask_for_kick: write_used16( | vq->next_avail_ | kick_asked_ = 1 */
inline device_ask()
{
#ifdef EVENT_IDX
	write(DEVICE, AVAIL_EVENT, next_avail);
#endif
	kick_asked = true
}

/* maps: lib/core/split.c split_pop: next_avail_++ | kick_asked_ = 0 */
inline device_take()
{
	next_avail = (next_avail + 1) % POSITIONS
}

/* maps: lib/core/split.c split_used: vq->next_used_ + vq->staged_ | vq->staged_ + slots */
inline device_stage()
{
	staged++
}

/* maps: lib/core/split.c split_publish: next_used_ + vq->staged_ | guest_store_release16( | USED_IDX */
inline device_show()
{
	write_release(DEVICE, USED_IDX, (next_used + staged) % POSITIONS)
}

/* maps: lib/core/split.c split_wants_notify: event_idx_ | AVAIL_FLAGS | moved_unknown_ | vq->next_used_ - event - 1) < vq->moved_ */
inline device_wants_notify()
{
#ifdef EVENT_IDX
	read(DEVICE, USED_EVENT, event);
#ifdef BROKEN_OFF_BY_ONE
	wanted = moved_unknown || AHEAD(next_used, event) < moved;
#else
	wanted = moved_unknown || AHEAD(next_used, event + 1) < moved;
#endif
	event = 0
#else
	read(DEVICE, AVAIL_FLAGS, event);
	wanted = !event;
	event = 0
#endif
}

/* ---- the driver, after Linux ---- */

#define ROOM (AHEAD(shown, taken) < SIZE)

inline driver_add()
{
	d_step { kicking = true; shown = (shown + 1) % POSITIONS; added++ };
	write_release(DRIVER, AVAIL_IDX, shown)
}

inline driver_wants_kick()
{
#ifdef EVENT_IDX
	read(DRIVER, AVAIL_EVENT, event);
	wanted = AHEAD(shown, event + 1) < added;
	event = 0
#else
	wanted = true
#endif
}

inline driver_look(fence)
{
	d_step {
		fence ->
		read(DRIVER, USED_IDX, event);
		found = (event != taken);
		event = 0
	}
}

inline driver_take()
{
	taken = (taken + 1) % POSITIONS
}

/* After each entry taken, while interrupts are on. */
inline driver_ask_next()
{
#ifdef EVENT_IDX
	write(DRIVER, USED_EVENT, taken)
#else
	skip
#endif
}

/* With an event index Linux leaves it alone or makes it 0, as it pleases its version. */
inline driver_interrupts_off()
{
	interrupts_off = true;
#ifdef EVENT_IDX
	if
	:: write(DRIVER, USED_EVENT, 0)
	:: skip
	fi
#else
	write(DRIVER, AVAIL_FLAGS, 1)
#endif
}

inline driver_interrupts_on()
{
	interrupts_off = false;
#ifdef EVENT_IDX
	write(DRIVER, USED_EVENT, taken)
#else
	write(DRIVER, AVAIL_FLAGS, 0)
#endif
}
