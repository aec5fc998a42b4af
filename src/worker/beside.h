/* SPDX-License-Identifier: MIT */
/*
 * When to take a worker to the processor of its dispatcher. To wake a worker on
 * another processor costs an interrupt there, and the time of whoever it cuts short:
 * more than some quick requests take. On the dispatcher's own processor it costs
 * a switch. The system knows that, but takes whom it has woken elsewhere a few times
 * for somebody who belongs there. So who is woken elsewhere again and again, for
 * little work, goes over by itself. It is not held there: the system takes it away
 * as soon as another processor is idle or this one has too much to do, and if it
 * does so each time, it is tried less often.
 *
 * This is the judgement alone; worker.c makes the move. Used by one thread.
 */
#ifndef WORKER_BESIDE_H
#define WORKER_BESIDE_H

#include <stdbool.h>
#include <stdint.h>

struct beside {
	uint64_t since_ns; /* the window's beginning */
	uint64_t busy_ns;  /* at work since then */
	unsigned requests; /* served since then */
	unsigned wakes;
	unsigned elsewhere; /* of those, on another processor than the dispatcher's */
	unsigned patience;  /* windows that are let go by after a move */
	unsigned waited;
	bool moved; /* before this window */
};

/** The worker was woken. True if a window is over: then ask beside_judge(). */
bool beside_woke(struct beside *beside, bool elsewhere);
/** It has served something. */
static inline void beside_served(struct beside *beside, unsigned requests, uint64_t busy_ns)
{
	beside->requests += requests;
	beside->busy_ns += busy_ns;
}
/** Close the window; returns whether to move now. */
bool beside_judge(struct beside *beside, uint64_t now_ns);

#endif
