/* SPDX-License-Identifier: MIT */
/* What the dispatchers of one server have in common: see sisters.c. Part of private.h. */
#ifndef DISPATCH_SISTERS_H
#define DISPATCH_SISTERS_H

#include <stdbool.h>
#include <stddef.h>

#include <crew/serve.h>

#include "supervise/scoreboard.h"

struct dispatcher;
struct seat;

/** The figures of a dispatcher in its scoreboard line. */
enum figure {
	FIGURE_SERVED = 0,
	FIGURE_PENDING,
	FIGURE_CALLS,
	FIGURE_CALLS_FAILED,
	FIGURE_PUBLISHED,
	FIGURE_SLOW_SUBSCRIBERS,
	FIGURE_SPINS,
	FIGURE_AWAITED,
	FIGURE_NAPS,
	FIGURE_POOLS, /* from here on those of its pools */
};

enum pool_figure {
	FIGURE_QUEUED = 0,
	FIGURE_IN_HAND,
	FIGURE_POOL_SERVED,
	FIGURE_LATE,
	FIGURES_A_POOL,
};

#define FIGURE_OF_POOL(pool, figure) (FIGURE_POOLS + (pool) * FIGURES_A_POOL + (figure))
_Static_assert(FIGURE_OF_POOL(CREW_POOLS_MAX, 0) <= SCORE_FIGURES, "they have room");

/** Our part of a limit of the server's. */
unsigned sisters_share(const struct dispatcher *dispatcher, unsigned limit);
/** Write our figures where all can read them. */
void sisters_note(struct dispatcher *dispatcher);
/** The line of that worker, or NULL. */
const struct score *sisters_worker(const struct dispatcher *dispatcher,
				   unsigned pool, unsigned index, unsigned generation);
/** Has that worker nothing of ours, but is at another dispatcher's request? */
bool sisters_keep_busy(const struct seat *seat);
/** A wire_publish, for the subscribers of all others. 0; -EAGAIN if too much waits
 * for the parent to take it; -ENOMEM. */
int sisters_publish(struct dispatcher *dispatcher, const void *bytes, size_t size);
/** Say those of this turn. */
void sisters_tell(struct dispatcher *dispatcher);
/** A file of them came; -1: it was lost. */
void sisters_heard(struct dispatcher *dispatcher, int fd);

#endif
