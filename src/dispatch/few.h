/* SPDX-License-Identifier: MIT */
/* Whether few clients are busy, so that nobody sleeps between their requests: see few.c.
 * Part of private.h. */
#ifndef DISPATCH_FEW_H
#define DISPATCH_FEW_H

#include <stdbool.h>
#include <stdint.h>

#include "base/spin.h"

struct connection;
struct dispatcher;
struct seat;

struct few {
	struct spin spin;
	bool always;          /* whether they are few does not matter */
	bool is_few;          /* they were in the last window */
	bool spins;           /* so the workers were told */
	uint64_t found;       /* times that the dispatcher did not have to sleep */
	unsigned window;      /* of so many requests; its number */
	unsigned requests;    /* in it so far */
	unsigned clients;     /* that have made them */
	unsigned clients_max; /* that are few */
};

/** Before the first request; needs dispatcher->processors. */
void few_init(struct dispatcher *dispatcher);
/** The connection makes a request. From time to time it is judged by that whether they are few,
 * and whether what they ask is coalesced. */
void few_count(struct connection *connection);
/** Before the dispatcher sleeps, with no ring put off: true if something came instead. May
 * look for as long as spin_until(). */
bool few_spin(struct dispatcher *dispatcher);
/** Tell a new worker whether the dispatcher spins. */
void few_tell(struct seat *seat);

#endif
