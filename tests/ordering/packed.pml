/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The words of a packed ring that notifications depend on. A position is a slot and a wrap
 * counter in one number: the counter is 1 in the first SIZE of them and 0 in the others. A
 * slot's word holds both flags and how many slots the buffer, or the buffers that one used
 * entry stands for, have.
 */
#ifndef SIZE
#define SIZE 2
#endif
#define POSITIONS (2 * SIZE)
#define WORDS (SIZE + 4)
#define DRIVER_OFFSET SIZE
#define DRIVER_FLAGS (SIZE + 1)
#define DEVICE_OFFSET (SIZE + 2)
#define DEVICE_FLAGS (SIZE + 3)
#define ENABLE 0
#define DISABLE 1
#define DESC 2

#define SLOT(position) ((position) % SIZE)
#define WRAP(position) (1 - (position) / SIZE)
#define AHEAD(a, b) (((a) + POSITIONS - (b)) % POSITIONS)
#define AVAIL_FLAG(word) ((word) & 1)
#define USED_FLAG(word) (((word) >> 1) & 1)
#define SLOTS(word) ((word) >> 2)
#define OFFERED(position, slots) (WRAP(position) + 2 * (1 - WRAP(position)) + 4 * (slots))
#define RETURNED(position, slots) (3 * WRAP(position) + 4 * (slots))

#include "memory.pml"

byte next_avail, next_used; /* the device's */
byte shown, taken;          /* the driver's */

#define DEVICES_OWN \
	byte at, moved, staged, first_slots, word, flags; \
	short back; \
	bool found, wanted, moved_unknown, kick_asked

#define DRIVERS_OWN \
	byte at, added, word, flags, mode; \
	short back; \
	bool found, wanted, interrupts_off

/* ---- the device ---- */

/* maps: lib/core/packed.c packed_pop: look( | !found && !vq->kick_asked_ */
#define HAS_MORE_SEEN false

/* maps: lib/core/packed.c look: guest_load_acquire16( | avail == vq->avail_wrap_ && used != vq->avail_wrap_ */
inline device_look(fence)
{
	d_step {
		fence ->
		read(DEVICE, SLOT(next_avail), word);
		found = (AVAIL_FLAG(word) == WRAP(next_avail) &&
			 USED_FLAG(word) != WRAP(next_avail));
		word = 0
	}
}

/* maps: lib/core/packed.c ask_for_kick: EVENT_OFFSET | next_avail_ | avail_wrap_ << 15 | guest_store_release16( | EVENT_FLAGS | kick_asked_ = 1 */
inline device_ask()
{
#ifdef EVENT_IDX
#ifdef BROKEN_WISH_WITHOUT_WRAP
	write(DEVICE, DEVICE_OFFSET, SLOT(next_avail));
#else
	write(DEVICE, DEVICE_OFFSET, next_avail);
#endif
	write_release(DEVICE, DEVICE_FLAGS, DESC);
#else
	write_release(DEVICE, DEVICE_FLAGS, ENABLE);
#endif
	kick_asked = true
}

/* maps: lib/core/packed.c packed_finish: next_avail_ = step( | chain->slots_ */
inline device_take()
{
	read(DEVICE, SLOT(next_avail), word);
	next_avail = (next_avail + SLOTS(word)) % POSITIONS;
	word = 0
}

/*
 * The next buffer is used, in an entry of its own, or in order also together with the first.
 *
 * maps: lib/core/packed.c packed_used: vq->staged_ == 0 | first_flags_ = flags | store_flags( | vq->staged_ + slots
 * maps: lib/core/virtqueue.c push_in_order: slots + vq->pending_slots_
 */
inline device_stage()
{
	d_step {
		read(DEVICE, SLOT((next_used + staged) % POSITIONS), word);
		word = SLOTS(word)
	};
	if
	:: staged == 0 -> first_slots = word
#ifndef ONE_ENTRY_EACH
	:: staged > 0 && staged == first_slots -> first_slots = first_slots + word
#endif
	:: staged > 0 ->
		write_release(DEVICE, SLOT((next_used + staged) % POSITIONS),
			      RETURNED((next_used + staged) % POSITIONS, word))
	fi;
	d_step { staged = staged + word; word = 0 }
}

/* maps: lib/core/packed.c store_flags: guest_store_release16( */
/* maps: lib/core/packed.c packed_publish: store_flags(vq, vq->next_used_, vq->first_flags_) | next_used_ = step( */
inline device_show()
{
	write_release(DEVICE, SLOT(next_used), RETURNED(next_used, first_slots));
	first_slots = 0
}

/* maps: lib/core/packed.c packed_wants_notify: guest_load32( | EVENT_DISABLE | EVENT_DESC | event_idx_ | moved_unknown_ | vq->next_used_ - offset | wrap != vq->used_wrap_ | back += vq->size_ | back - 1 < vq->moved_ */
inline device_wants_notify()
{
	read(DEVICE, DRIVER_OFFSET, word);
	read(DEVICE, DRIVER_FLAGS, flags);
	back = SLOT(next_used) - SLOT(word);
	if
#ifndef BROKEN_WRAP_IGNORED
	:: WRAP(word) != WRAP(next_used) -> back = back + SIZE
#endif
	:: else
	fi;
#ifdef BROKEN_OFF_BY_ONE
	wanted = (back >= 0 && back < moved);
#else
	wanted = (back >= 1 && back - 1 < moved);
#endif
	wanted = (flags != DISABLE && (flags != DESC || moved_unknown || wanted));
	word = 0;
	flags = 0;
	back = 0
}

/* ---- the driver, after Linux ---- */

#define ROOM (AHEAD(shown, taken) < SIZE)
#define ROOM_FOR_TWO (AHEAD(shown, taken) + 1 < SIZE)

inline driver_add()
{
	if
	:: word = 1
#ifndef ONE_SLOT_EACH
	:: ROOM_FOR_TWO ->
		word = 2;
		write(DRIVER, SLOT((shown + 1) % POSITIONS), OFFERED((shown + 1) % POSITIONS, 0))
#endif
	fi;
	kicking = true;
	write_release(DRIVER, SLOT(shown), OFFERED(shown, word));
	d_step {
		shown = (shown + word) % POSITIONS;
		added = added + word;
		word = 0
	}
}

/* Linux reads the device's structure as one word, too. */
inline driver_wants_kick()
{
	read(DRIVER, DEVICE_OFFSET, word);
	read(DRIVER, DEVICE_FLAGS, flags);
	back = SLOT(shown) - SLOT(word);
	if
	:: WRAP(word) != WRAP(shown) -> back = back + SIZE
	:: else
	fi;
	wanted = (flags != DISABLE &&
			(flags != DESC || (back >= 1 && back - 1 < added)));
	word = 0;
	flags = 0;
	back = 0
}

inline driver_look(fence)
{
	d_step {
		fence ->
		read(DRIVER, SLOT(taken), word);
		found = (AVAIL_FLAG(word) == WRAP(taken) &&
				USED_FLAG(word) == WRAP(taken));
		word = 0
	}
}

inline driver_take()
{
	read(DRIVER, SLOT(taken), word);
	taken = (taken + SLOTS(word)) % POSITIONS;
	word = 0
}

/* After each entry taken, while interrupts are on. */
inline driver_ask_next()
{
	if
	:: mode == DESC -> write(DRIVER, DRIVER_OFFSET, taken)
	:: else
	fi
}

inline driver_interrupts_off()
{
	d_step { interrupts_off = true; mode = DISABLE };
	write(DRIVER, DRIVER_FLAGS, DISABLE)
}

inline driver_interrupts_on()
{
	interrupts_off = false;
#ifdef EVENT_IDX
	write(DRIVER, DRIVER_OFFSET, taken);
	mode = DESC;
#else
	mode = ENABLE;
#endif
	write_release(DRIVER, DRIVER_FLAGS, mode)
}
