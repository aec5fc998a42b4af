/* SPDX-License-Identifier: MIT */
/*
 * One direction of a link: a ring for one producer and one consumer, and the
 * bell that wakes the consumer (src/transport/ring.c, src/transport/bell.c).
 *
 * Each side's stores to shared memory go through a store buffer and become
 * visible later, in order, as on x86; a sequentially consistent fence waits
 * until the buffer is empty. That is what makes the model fail where the real
 * thing would: without the fences, and without the second look before sleeping.
 *
 *   spin -a link.pml                 must find no error
 *   spin -DNO_RECHECK -a link.pml    must find one: a wake-up is lost
 *   spin -DNO_FENCE -a link.pml      must find one: a wake-up is lost
 *   spin -DNO_HEAD -a link.pml       must find one: an entry is overwritten
 */
#define CAPACITY 2
#define MESSAGES 5

/* Shared memory, as the other side sees it. */
byte entries[CAPACITY];
byte tail = 0;   /* written by the producer */
byte head = 0;   /* written by the consumer */
byte epoch = 0;  /* written by the consumer; odd: it sleeps */
byte bell = 0;   /* the eventfd: kernel state, seen at once */

/* Store buffers: the producer's tail, the consumer's epoch. The entry itself is
 * stored before the tail in the same buffer, so it is never seen later. */
bool tail_waits = false;
byte tail_next = 0;
bool epoch_waits = false;
byte epoch_next = 0;

bool finished = false;

inline store_tail(value) {
	atomic { !tail_waits -> tail_next = value; tail_waits = true }
}

inline store_epoch(value) {
	atomic { !epoch_waits -> epoch_next = value; epoch_waits = true }
}

#ifdef NO_FENCE
#define producer_fence skip
#define consumer_fence skip
#else
#define producer_fence (!tail_waits)
#define consumer_fence (!epoch_waits)
#endif

/* The processor empties the buffers whenever it likes. */
active proctype memory()
{
end:	do
	:: atomic { tail_waits -> tail = tail_next; tail_waits = false }
	:: atomic { epoch_waits -> epoch = epoch_next; epoch_waits = false }
	od
}

active proctype producer()
{
	byte next = 0;
	byte rung = 0;
	byte seen;

	do
	:: next < MESSAGES ->
#ifndef NO_HEAD
		(next - head < CAPACITY);     /* full: come back later */
#endif
		entries[next % CAPACITY] = next + 1;
		next++;
		store_tail(next);
		producer_fence;
		seen = epoch;
		if
		:: (seen % 2 == 1 && seen != rung) -> rung = seen; bell = 1
		:: else
		fi
	:: else -> break
	od
}

active proctype consumer()
{
	byte next = 0;
	byte mine = 0; /* own epoch */

	do
	:: next == MESSAGES -> break
	:: next < MESSAGES && tail != next ->
		/* In order, none lost, none twice. */
		assert(entries[next % CAPACITY] == next + 1);
		next++;
		head = next;
	:: next < MESSAGES && tail == next ->
		mine++;
		store_epoch(mine);
		consumer_fence;
#ifndef NO_RECHECK
		if
		:: tail != next -> skip       /* there is work after all */
		:: else ->
#endif
			(bell == 1);          /* asleep until it rings */
			bell = 0;
#ifndef NO_RECHECK
		fi;
#endif
		mine++;
		store_epoch(mine);
	od;
	finished = true
}
