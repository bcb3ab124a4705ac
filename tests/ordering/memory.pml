/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory as two CPUs see it. What one of them writes waits in a buffer of its own, where only
 * it finds it, and gets into memory later and in any order, except that two writes of one word
 * stay in order and that nothing before a release comes after it. A full fence waits until the
 * buffer is empty; it stands as the condition of the step that comes after it. That is weaker than x86 and, for writes, as weak as Arm. Reads happen where
 * they stand: wherever the order of two reads matters here, a full fence lies between.
 */
#define DRIVER 0
#define DEVICE 1
#ifndef DEPTH
#define DEPTH 3
#endif

typedef waiting {
	byte word[DEPTH];
	byte value[DEPTH];
	bool release[DEPTH];
	byte count
};

byte memory[WORDS];
waiting buffer[2];

#define ALL_WRITTEN (buffer[DRIVER].count == 0 && buffer[DEVICE].count == 0)

inline store(who, where, what, is_release)
{
	d_step {
		buffer[who].count < DEPTH ->
		buffer[who].word[buffer[who].count] = where;
		buffer[who].value[buffer[who].count] = what;
		buffer[who].release[buffer[who].count] = is_release;
		buffer[who].count++
	}
}

#define write(who, where, what) store(who, where, what, false)
#define write_release(who, where, what) store(who, where, what, true)

/* Stands inside a d_step. */
inline read(who, where, into)
{
	into = memory[where];
	at = 0;
	do
	:: at < buffer[who].count ->
		if
		:: buffer[who].word[at] == where -> into = buffer[who].value[at]
		:: else
		fi;
		at++
	:: else -> break
	od;
	at = 0
}

#define FIRST(who) (buffer[who].count > 0)
#define SECOND(who) (buffer[who].count > 1 && !buffer[who].release[1] && \
		     buffer[who].word[1] != buffer[who].word[0])
#define THIRD(who) (buffer[who].count > 2 && !buffer[who].release[2] && \
		    buffer[who].word[2] != buffer[who].word[0] && \
		    buffer[who].word[2] != buffer[who].word[1])

inline arrive(who, which)
{
	memory[buffer[who].word[which]] = buffer[who].value[which];
	at = which;
	do
	:: at + 1 < buffer[who].count ->
		buffer[who].word[at] = buffer[who].word[at + 1];
		buffer[who].value[at] = buffer[who].value[at + 1];
		buffer[who].release[at] = buffer[who].release[at + 1];
		at++
	:: else -> break
	od;
	buffer[who].count--;
	buffer[who].word[at] = 0;
	buffer[who].value[at] = 0;
	buffer[who].release[at] = 0;
	at = 0
}

active proctype buses()
{
	byte at;

	do
	:: d_step { FIRST(DRIVER) -> arrive(DRIVER, 0) }
	:: d_step { SECOND(DRIVER) -> arrive(DRIVER, 1) }
	:: d_step { THIRD(DRIVER) -> arrive(DRIVER, 2) }
	:: d_step { FIRST(DEVICE) -> arrive(DEVICE, 0) }
	:: d_step { SECOND(DEVICE) -> arrive(DEVICE, 1) }
	:: d_step { THIRD(DEVICE) -> arrive(DEVICE, 2) }
	od
}
