/* SPDX-License-Identifier: MIT */
/* Whether the dispatcher lets requests gather before it looks again: see coalesce.c. Part of
 * private.h. */
#ifndef DISPATCH_COALESCE_H
#define DISPATCH_COALESCE_H

#include <stdbool.h>
#include <stdint.h>

struct dispatcher;

/* Windows, and how long they took together. */
struct coalesce_sum {
	unsigned windows;
	uint64_t ns;
};

struct coalesce {
	uint32_t max_ns;    /* of a nap; 0: never */
	uint32_t nap_ns;    /* of each; 0: not now */
	unsigned behind;    /* events in a turn; after more of them it does not nap */
	uint64_t until_ns;  /* nobody naps for requests that come no more */
	bool asked;         /* something was asked since the last nap */
	uint64_t naps;      /* so far */
	uint64_t slept_ns;  /* in this phase; with naps, by these, in this window */
	uint64_t asleep_since_ns; /* 0: awake */
	uint64_t window_began_ns;
	struct coalesce_sum phase;
	struct coalesce_sum plain;  /* the last phase without naps */
	struct coalesce_sum napped; /* all with naps that are to be judged together */
	uint64_t expected_ns;       /* that these had taken like the phases before them */
	unsigned rest;      /* phases until it is tried again */
	unsigned rested;    /* so long was the last rest; 0: it was worth it since */
};

/** Before the first request, in the dispatcher's thread. */
void coalesce_init(struct dispatcher *dispatcher);
/** A window is over: so many requests have come since the last call, of so many clients. */
void coalesce_judge(struct coalesce *coalesce, unsigned requests, unsigned clients,
		    uint64_t now_ns);
/** Before the dispatcher sleeps, with no ring put off: true if it is to look what came,
 * before a nap or after one, in which the workers were heard. */
bool coalesce_nap(struct dispatcher *dispatcher);
/** It goes to sleep, without a nap; and it is awake again. */
void coalesce_sleep(struct coalesce *coalesce);
void coalesce_wake(struct coalesce *coalesce);

#endif
