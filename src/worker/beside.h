/* SPDX-License-Identifier: MIT */
/*
 * When a worker goes to the processor of its dispatcher. To wake a worker on another
 * processor costs an interrupt there, and takes time from whoever it interrupts: more
 * than a few quick requests need. On the dispatcher's own processor it costs a switch.
 * The system chooses by itself, but where processors are scarce it comes to regard the
 * wrong one as the worker's own. So who is woken elsewhere again and again, for little
 * work, goes over by itself. It is not held there: the system takes it away as soon as
 * another processor is idle or this one has too much to do, and if that happens
 * each time, it is tried ever more rarely.
 *
 * This is the judgement alone; worker.c makes the move. Used by one thread.
 */
#ifndef WORKER_BESIDE_H
#define WORKER_BESIDE_H

#include <stdbool.h>
#include <stdint.h>

/* Wake-ups that are judged together. */
#define WINDOW_WAKES 32u

/* What has been used up until now. */
struct beside_account {
	uint64_t now_ns;
	uint64_t cpu_ns; /* processor time of this thread */
	uint64_t served; /* requests */
};

struct beside {
	struct beside_account since; /* the window's beginning */
	unsigned wakes;
	unsigned elsewhere; /* of those, on another processor than the dispatcher's */
	unsigned patience;  /* windows to let go by after a move */
	unsigned waited;
	bool moved; /* before this window */
};

/** The dispatcher has woken the worker. True if a window is over: then call
 * beside_judge(). */
static inline bool beside_woke(struct beside *beside, bool elsewhere)
{
	beside->elsewhere += elsewhere;
	return ++beside->wakes >= WINDOW_WAKES;
}

/** Close the window; returns whether to move as soon as there is nothing to do. */
bool beside_judge(struct beside *beside, const struct beside_account *now);

#endif
