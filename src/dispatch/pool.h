/* SPDX-License-Identifier: MIT */
/* The workers of an application, and the requests that wait for one: see pool.c, choose.c and
 * cost.c. Part of private.h. */
#ifndef DISPATCH_POOL_H
#define DISPATCH_POOL_H

#include "base/list.h"
#include "base/loop.h"

struct crew_pool;
struct dispatcher;
struct exchange;
struct seat;

/* What the requests of a route take of a worker's time. */
struct cost {
	uint32_t ns;      /* on the average, of late */
	uint32_t peak_us; /* the longest of late: each that is shorter takes away an eighth of
			     what it is shorter by; UINT32_MAX: none was answered yet */
};

struct pool {
	struct dispatcher *dispatcher;
	const struct crew_pool *options;
	const char *name;
	unsigned number;
	struct list queue;      /* exchanges that wait */
	struct list linked;     /* exchanges in links, by since_ms */
	struct timer timer;     /* the next deadline of both */
	unsigned queued;
	unsigned queue_max;
	struct seat **seats; /* grows as workers come */
	unsigned seat_count;
	unsigned nexts;         /* seats that have a next one */
	struct cost *costs;     /* of each route's handler; one more for what has no route */
	uint32_t *sizes;        /* of each route's answers: bytes of the largest body so
				   far, up to SIZE_NOTED_BYTES */
	size_t route_count;
	uint64_t served;
	uint64_t restarts;
	uint64_t late_answers;
	bool degraded;          /* its workers fail: they are tried slowly */
	bool warned;            /* that its queue is long */
};

/** An exchange whose request is whole enters its pool. */
void pool_enter(struct exchange *exchange);
/** Give queued exchanges to workers that have room. */
void pool_feed(struct pool *pool);
/** It was put into a link. */
void pool_linked(struct exchange *exchange);
/** Its worker goes on with it: its deadline starts anew; of a stream, which has none, that of
 * the call that it answers. */
void pool_alive(struct exchange *exchange);
/** Back to the head of the queue; it has waited since it came, unless a worker had begun with
 * it. It may have waited too long, and be answered. */
void pool_return(struct exchange *exchange, bool was_begun);
/** It left the queue or the links by other ways. */
void pool_leave(struct exchange *exchange);
void pool_deadline(struct loop *loop, struct timer *timer);
/** That pool's workers fail, or work again. */
void pool_set_degraded(struct pool *pool, bool degraded);

/* ---- which worker (choose.c), by what requests take (cost.c) ---- */

/** The worker that should get this request, or NULL. */
struct seat *pool_choose(struct pool *pool, const struct exchange *exchange);
/** It had no room for a request: for a moment others are asked. */
void pool_note_full(struct seat *seat);
/** Is there a worker with nothing in hand? */
bool pool_has_idle(const struct pool *pool);
/** The same, and is it known to have room? */
bool pool_has_ready(const struct pool *pool);
bool pool_has_workers(const struct pool *pool);
/** Routes are slow until they were seen to be fast. 0 or -ENOMEM. */
int pool_init_costs(struct pool *pool);
void pool_fini_costs(struct pool *pool);
/** Where it is noted what a request like this takes. */
struct cost *pool_cost(struct pool *pool, const struct exchange *exchange);
/** A worker needed that long for one whose cost is noted there. */
void pool_note_service(struct cost *cost, uint32_t service_us);
/** Or so long at least: it has said nothing for that time. */
void pool_note_silence(struct cost *cost, uint64_t silent_ms);
/** How large the answer to a request like this may be, and that it was so large. */
uint32_t pool_size_of(const struct pool *pool, const struct exchange *exchange);
void pool_note_size(struct pool *pool, const struct exchange *exchange);

#endif
