/* SPDX-License-Identifier: MIT */
/*
 * The event loop of a process: descriptors (epoll), timers (monotonic
 * clock), and two places in each turn: after the events, and just before sleeping.
 * All functions are called from the loop's own thread. Watches and timers are
 * embedded in their owners; the loop allocates nothing per event.
 */
#ifndef BASE_LOOP_H
#define BASE_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>

struct loop;

/** A descriptor and what to do when it is ready. Zero-initialise, set fd and
 * ready, then loop_add. */
struct watch {
	int fd;
	uint32_t events; /* what it is watched for now; read only for the owner */
	void (*ready)(struct loop *loop, struct watch *watch, uint32_t events);
};

/** A moment and what to do then. Zero-initialise and set fire. */
struct timer {
	uint64_t due_ms;
	size_t place; /* 1 + place in the heap; 0: not set */
	void (*fire)(struct loop *loop, struct timer *timer);
};

struct loop {
	int fd;          /* epoll's */
	uint64_t now_ms; /* monotonic, read once a turn, and by who has waited in one */
	struct timer **timers;
	size_t timer_count;
	size_t timer_room;
	struct epoll_event *pending; /* events that were taken in */
	int pending_count;
	int next; /* the first of those that is not yet handled */
	unsigned came; /* how many this turn began with */
	bool full; /* the last turn took in as many events as it could */
	void *owner; /* for the callbacks below */
	/* After the events and timers of each turn; may be NULL. */
	void (*turn_done)(struct loop *loop);
	/* After events were taken in, before the first is handled; may be NULL. */
	void (*taken)(struct loop *loop);
	/* After each event; may be NULL. True: what else is pending waits for the
	 * next turn, which takes in nothing new and does not sleep. Not for a loop
	 * whose descriptor is polled elsewhere. */
	bool (*enough)(struct loop *loop);
	/* Just before sleeping: false means that there is work after all, and
	 * the loop only polls. Called only when the turn would sleep. */
	bool (*may_sleep)(struct loop *loop);
	/* After a sleep that may_sleep allowed, before any event; may be NULL. */
	void (*woke)(struct loop *loop);
	struct watch clock;  /* a timerfd, once exposed */
	uint64_t clock_due_ms;
	bool peeked;   /* since this turn was to sleep: some time may have passed */
	bool stopping;
	bool firing; /* timers are being fired: the loop's own */
};

int loop_init(struct loop *loop);
void loop_fini(struct loop *loop);

/** Watch a descriptor for EPOLLIN, EPOLLOUT… (level-triggered unless EPOLLET
 * is given). 0 or -errno. */
int loop_add(struct loop *loop, struct watch *watch, uint32_t events);
/** Change what it is watched for; no system call if nothing changes. */
int loop_change(struct loop *loop, struct watch *watch, uint32_t events);
/** Tell of it again if it is still ready, although nothing new came: for a watch
 * with EPOLLET that was not read or written to its end. 0 or -errno. */
int loop_rearm(struct loop *loop, struct watch *watch);
/** Watch it no longer; events for it that are pending are dropped. Harmless if it
 * is not watched. Call before closing the descriptor or freeing the watch. */
void loop_remove(struct loop *loop, struct watch *watch);

/** Fire at `due_ms` (loop->now_ms plus a delay), once. Setting it again moves
 * it. 0, or -ENOMEM. Moving a timer that is set never fails. What a firing
 * timer sets for now or earlier fires a millisecond later, in another turn. */
int loop_timer_set(struct loop *loop, struct timer *timer, uint64_t due_ms);
/** Do not fire. Harmless if it is not set. */
void loop_timer_clear(struct loop *loop, struct timer *timer);
static inline bool loop_timer_is_set(const struct timer *timer)
{
	return timer->place != 0;
}

/** A descriptor that is readable when the loop has something to do; the loop's own. */
int loop_fd(const struct loop *loop);

/** Let loop_fd() become readable when a timer is due too, for a
 * program that polls it in a loop of its own; costs a system call for each turn
 * that changes the next timer. 0 or -errno. */
int loop_expose(struct loop *loop);

/** One turn: sleep until something is ready or due, at most `timeout_ms` (-1:
 * no limit, 0: poll), handle it. 0 or -errno. */
int loop_turn(struct loop *loop, int timeout_ms);
/** For may_sleep: is something ready? It is what this turn goes on with. */
bool loop_peek(struct loop *loop);
/** Turns until loop_stop(). 0 or -errno. */
int loop_run(struct loop *loop);
void loop_stop(struct loop *loop);

#endif
