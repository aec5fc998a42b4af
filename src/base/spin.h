/* SPDX-License-Identifier: MIT */
/*
 * Looking a little longer before going to sleep: a wake-up by the kernel costs more
 * than what is waited for takes. It judges by itself whether that pays, for each look in
 * vain takes a processor for nothing. A trial are some looks; it ends with the first in
 * vain. If they found what they looked for within what that is worth, on the average, it
 * goes on until that is no longer so. Else it rests, after each trial in vain twice as
 * long, up to some thousand sleeps. Used by one thread.
 */
#ifndef BASE_SPIN_H
#define BASE_SPIN_H

#include <stdbool.h>
#include <stdint.h>

struct spin {
	uint32_t max_ns;   /* of one look; 0: never */
	uint32_t worth_ns; /* that a look may take on the average */
	uint64_t mean_ns;  /* that it took lately; in vain counts double */
	unsigned calls;    /* of look() between others being let go first */
	unsigned trial;    /* looks until it is judged */
	unsigned rest;     /* sleeps until the next trial */
	unsigned rested;   /* so long was the last rest; 0: looks were worth it since */
};

/** A look of a trial lasts max_us at most, a later one no longer than twice
 * worth_us, which is not 0. With max_us 0 there is none. Each so many calls of look()
 * others may have the processor first (sched_yield(2)), for it may be who is looked for
 * that waits for it. */
void spin_init(struct spin *spin, unsigned max_us, unsigned worth_us, unsigned calls);

/** Look until something is there, or patience ends; returns whether it is. Keeps the
 * processor busy for max_us at most, and takes longer if others want it. */
bool spin_until(struct spin *spin, bool (*look)(void *context), void *context);

/** Whether the next spin_until() will look; else call it all the same, for it counts
 * the sleeps that it rests. */
static inline bool spin_is_on(const struct spin *spin)
{
	return spin->max_ns > 0 && spin->rest == 0;
}

#endif
