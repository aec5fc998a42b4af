/* SPDX-License-Identifier: MIT */
/*
 * One direction of a link: a ring for one producer and one consumer, the bell
 * that wakes the consumer, and the one that wakes a producer which has no room
 * (src/transport/ring.c, src/transport/bell.c).
 *
 * Each side's stores to shared memory go through a store buffer and become
 * visible later, in order, as on x86; a sequentially consistent fence waits
 * until the buffer is empty. That is what makes the model fail where the real
 * thing would: without the fences, and without the second look before sleeping.
 *
 *   spin -a link.pml                 must find no error
 *   spin -DNO_RECHECK -a link.pml    must find one: a wake-up is lost
 *   spin -DNO_ROOM -a link.pml       must find one: who has no room is not woken
 *   spin -DNO_FENCE -a link.pml      must find one: a wake-up is lost
 *   spin -DNO_HEAD -a link.pml       must find one: an entry is overwritten
 */
#define CAPACITY 2
#define MESSAGES 5

/* A side's words. */
#define INDEX 0 /* the producer's tail, the consumer's head */
#define EPOCH 1 /* odd: it sleeps */

/* Shared memory, as the other side sees it. */
byte entries[CAPACITY];
byte tail = 0;
byte head = 0;
byte producer_epoch = 0;
byte consumer_epoch = 0;
bool producer_bell = false;  /* the eventfds: kernel state, seen at once */
bool consumer_bell = false;

/* Store buffers. An entry itself is stored before the tail in the same buffer, so it
 * is never seen later. */
chan producer_stores = [2] of { byte, byte };
chan consumer_stores = [2] of { byte, byte };

#ifdef NO_FENCE
#define producer_fence skip
#define consumer_fence skip
#else
#define producer_fence empty(producer_stores)
#define consumer_fence empty(consumer_stores)
#endif

/* The processor empties the buffers whenever it likes. */
active proctype memory()
{
end:	do
	:: atomic { producer_stores ? INDEX, tail }
	:: atomic { producer_stores ? EPOCH, producer_epoch }
	:: atomic { consumer_stores ? INDEX, head }
	:: atomic { consumer_stores ? EPOCH, consumer_epoch }
	od
}

active proctype producer()
{
	byte next = 0;
	byte mine = 0; /* own epoch */
	byte rung = 0;
	byte seen;

	do
	:: next == MESSAGES -> break
#ifdef NO_HEAD
	:: next < MESSAGES ->
#else
	:: next < MESSAGES && next - head < CAPACITY ->
#endif
		entries[next % CAPACITY] = next + 1;
		next++;
		producer_stores ! INDEX, next;
		producer_fence;
		seen = consumer_epoch;
		if
		:: (seen % 2 == 1 && seen != rung) -> rung = seen; consumer_bell = true
		:: else
		fi
#ifndef NO_HEAD
	:: next < MESSAGES && next - head == CAPACITY ->
		mine++;
		producer_stores ! EPOCH, mine;
		producer_fence;
#ifndef NO_ROOM
		if
		:: next - head < CAPACITY -> skip  /* there is room after all */
		:: else ->
#endif
			producer_bell;             /* asleep until it rings */
			producer_bell = false;
#ifndef NO_ROOM
		fi;
#endif
		mine++;
		producer_stores ! EPOCH, mine
#endif
	od
}

active proctype consumer()
{
	byte next = 0;
	byte mine = 0; /* own epoch */
	byte rung = 0;
	byte seen;

	do
	:: next == MESSAGES -> break
	:: next < MESSAGES && tail != next ->
		/* In order, none lost, none twice. */
		assert(entries[next % CAPACITY] == next + 1);
		next++;
		consumer_stores ! INDEX, next
	:: next < MESSAGES && tail == next ->
		/* Once for all that it has taken. */
		consumer_fence;
		seen = producer_epoch;
		if
		:: (seen % 2 == 1 && seen != rung) -> rung = seen; producer_bell = true
		:: else
		fi;
		mine++;
		consumer_stores ! EPOCH, mine;
		consumer_fence;
#ifndef NO_RECHECK
		if
		:: tail != next -> skip       /* there is work after all */
		:: else ->
#endif
			consumer_bell;        /* asleep until it rings */
			consumer_bell = false;
#ifndef NO_RECHECK
		fi;
#endif
		mine++;
		consumer_stores ! EPOCH, mine
	od
}
