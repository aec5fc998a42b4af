/* SPDX-License-Identifier: MIT */
/* A request that comes alone: see alone.c. Part of private.h. */
#ifndef DISPATCH_ALONE_H
#define DISPATCH_ALONE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/spin.h"

struct dispatcher;

struct alone {
	struct spin spin;
	uint64_t found; /* times that the dispatcher did not have to sleep */
};

/** Before the first request; needs dispatcher->processors. */
void alone_init(struct dispatcher *dispatcher);
/** Before the dispatcher sleeps, with no ring put off: true if something came instead. May
 * look for as long as spin_until(). */
bool alone_wait(struct dispatcher *dispatcher);
/** Whether a worker has anything for us, or a descriptor is ready; `context` is the
 * dispatcher. For spin_until(). */
bool alone_look(void *context);

#endif
