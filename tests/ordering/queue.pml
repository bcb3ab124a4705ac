/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Driver and device of one virtqueue, as far as they wake each other. In each state that this
 * model can reach, once all writes have arrived:
 *
 *	a device whose last look found nothing, and that nobody kicked since, has nothing to take;
 *	a driver whose last look found nothing, and that had no interrupt since, has nothing to take;
 *
 * unless the other side is about to decide whether to call it. So no wake-up is ever lost.
 *
 * Covered: both ring formats, event index and flags; writes that arrive late (memory.pml);
 * indices that wrap, in the smallest index space that a ring allows, and wrap counters; batches
 * of any size, published once or several times before the one question; used entries that stand
 * for several buffers (IN_ORDER; on a split ring just a batch); buffers of one slot and of two;
 * more publishing while the device sleeps, as when a host's work ends late; a driver that leaves
 * interrupts on (Linux's balloon) or turns them off while it works (most others), at its choice
 * each time.
 *
 * Not covered: contents of descriptors and used entries, which the tests with two threads look
 * at; buffers used in another order than they came, of which only the sum of the slots matters
 * here; reads of one side that overtake each other; saving and loading, at which every queue is
 * looked at and the driver is told once in any case (vq_state.c); resets; hostile drivers, who
 * hurt themselves only. The rings have two slots; run.sh --long adds three.
 *
 * The same two meetings of driver and device are on real CPUs in tests/unit/vq_litmus.c, where
 * both sides' moments are made to meet again and again, and tests/unit/vq_threads.c, where each
 * sleeps until it is called; these run the compiled library, but only in the orders that this
 * machine happens to show. The model shows all orders, but of itself only: what it takes from
 * the library stands at each step as "maps:", and mapping.py looks it up there. The driver's
 * steps are those of Linux (virtio_ring.c): show, full barrier, read the device's wish; and
 * write the own wish, full barrier, last look.
 *
 * With one of the names BROKEN_... defined, it has a mistake that run.sh wants to be found.
 */
bool kick = true;  /* a queue counts as kicked when its device goes live */
bool interrupt;
bool device_waits;         /* its last look found nothing, and no kick has come since */
bool driver_waits = true;  /* the same for the driver */
bool kicking;   /* the driver has shown something and not yet decided whether to kick */
bool notifying; /* the device has published something and not yet decided */

#ifdef PACKED
#include "packed.pml"
#else
#include "split.pml"
#endif

#define EMPTY(who) (buffer[who].count == 0)
#define FENCE_AFTER_WISH EMPTY(DEVICE)
#define FENCE_BEFORE_DRIVERS_EVENT EMPTY(DEVICE)
#define FENCE_BEFORE_DEVICES_EVENT EMPTY(DRIVER)
#define FENCE_BEFORE_LAST_LOOK EMPTY(DRIVER)

#ifdef BROKEN_NO_FENCE_AFTER_WISH
#undef FENCE_AFTER_WISH
#define FENCE_AFTER_WISH true
#endif
#ifdef BROKEN_NO_FENCE_BEFORE_EVENT
#undef FENCE_BEFORE_DRIVERS_EVENT
#define FENCE_BEFORE_DRIVERS_EVENT true
#endif
#ifdef BROKEN_DRIVER_NO_FENCE_BEFORE_EVENT
#undef FENCE_BEFORE_DEVICES_EVENT
#define FENCE_BEFORE_DEVICES_EVENT true
#endif
#ifdef BROKEN_DRIVER_NO_FENCE_BEFORE_LOOK
#undef FENCE_BEFORE_LAST_LOOK
#define FENCE_BEFORE_LAST_LOOK true
#endif

#define HELD AHEAD(next_avail, (next_used + staged) % POSITIONS)

/*
 * maps: lib/core/virtqueue.c vmemdev_vq_pop: packed_pop( | split_pop(
 * maps: lib/core/split.c split_pop: look( | !vq->kick_asked_ | ask_for_kick(vq) | look( | next_avail_++ | kick_asked_ = 0
 * maps: lib/core/packed.c packed_pop: look( | !vq->kick_asked_ | ask_for_kick(vq) | look( | kick_asked_ = 0
 * maps: lib/core/split.c ask_for_kick: write_used16( | kick_asked_ = 1 | order_full()
 * maps: lib/core/packed.c ask_for_kick: guest_store_release16( | kick_asked_ = 1 | order_full()
 */
inline pop()
{
	found = true;
	if
	:: HAS_MORE_SEEN
	:: else ->
		device_look(true);
		if
		:: !found && !kick_asked ->
#ifdef BROKEN_WISH_AFTER_LOOK
			device_look(true);
			device_ask()
#else
			device_ask();
#ifdef BROKEN_NO_SECOND_LOOK
			FENCE_AFTER_WISH
#else
			device_look(FENCE_AFTER_WISH)
#endif
#endif
		:: else
		fi
	fi;
	if
	:: found ->
		d_step {
			device_take();
#ifndef BROKEN_WISH_NEVER_RENEWED
			kick_asked = false;
#endif
			found = false
		}
	:: else ->
		device_waits = true;
		break
	fi
}

/* maps: lib/core/virtqueue.c vmemdev_vq_publish: packed_publish( | split_publish( | moved_ + staged > UINT16_MAX | moved_unknown_ = 1 | vq->moved_ + staged */
inline publish()
{
	do
	:: HELD > 0 -> device_stage()
	:: staged > 0 -> break
	od;
	notifying = true;
	device_show();
	d_step {
		next_used = (next_used + staged) % POSITIONS;
#ifdef BROKEN_ONLY_LAST_BATCH
		moved = staged;
#else
		if
		:: moved + staged >= POSITIONS ->
			moved_unknown = true;
			moved = (moved + staged) % POSITIONS
		:: else -> moved = moved + staged
		fi;
#endif
		staged = 0
	}
}

/* maps: lib/core/virtqueue.c vmemdev_vq_should_notify: order_full() | packed_wants_notify(vq) : split_wants_notify(vq) | moved_ = 0 | moved_unknown_ = 0 */
inline ask_whether_to_notify()
{
	FENCE_BEFORE_DRIVERS_EVENT;
	d_step {
		device_wants_notify();
		moved = 0;
		moved_unknown = false
	};
	if
	:: wanted && EMPTY(DEVICE) -> d_step { interrupt = true; wanted = false; notifying = false }
	:: !wanted -> notifying = false
	fi
}

/*
 * Publishes a batch or several, then asks once.
 *
 * maps: lib/core/device.c device_publish: vmemdev_vq_publish( | vmemdev_vq_should_notify( | queue_interrupt(
 */
inline give_back()
{
	publish();
#ifndef ASKS_AFTER_EACH_BATCH
	do
	:: HELD > 0 -> publish()
	:: break
	od;
#endif
	ask_whether_to_notify()
}

active proctype device()
{
	DEVICES_OWN;

	do
	:: d_step { kick -> kick = false; device_waits = false };
		do
		:: pop()
		:: HELD > 0 -> give_back()
		od
	:: HELD > 0 -> give_back()
	od
}

inline add_and_kick()
{
	driver_add();
	do
	:: ROOM -> driver_add()
	:: break
	od;
	FENCE_BEFORE_DEVICES_EVENT;
	d_step { driver_wants_kick(); added = 0 };
	if
	:: wanted && EMPTY(DRIVER) ->
		d_step { kick = true; wanted = false; kicking = false }
	:: !wanted -> kicking = false
	fi
}

inline take_used()
{
	driver_look(true);
	do
	:: found ->
		d_step { driver_take(); found = false };
		if
		:: !interrupts_off ->
			driver_ask_next();
			driver_look(FENCE_BEFORE_LAST_LOOK)
		:: else -> driver_look(true)
		fi
	:: else -> break
	od
}

active proctype driver()
{
	DRIVERS_OWN;

	do
	:: ROOM -> add_and_kick()
	:: d_step { interrupt -> interrupt = false; driver_waits = false };
		do
		:: true ->
			if
			:: driver_interrupts_off()
			:: skip
			fi;
			take_used();
			if
			:: interrupts_off ->
				driver_interrupts_on();
				driver_look(FENCE_BEFORE_LAST_LOOK);
				if
				:: found -> found = false
				:: else -> break
				fi
			:: else -> break
			fi
		od;
		driver_waits = true
	od
}

#define LOST_KICK (device_waits && !kick && !kicking && shown != next_avail)
#define LOST_INTERRUPT (driver_waits && !interrupt && !notifying && next_used != taken)

never
{
	do
	:: assert(!(ALL_WRITTEN && (LOST_KICK || LOST_INTERRUPT)))
	od
}
