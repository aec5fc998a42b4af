/* SPDX-License-Identifier: MIT */
/*
 * A request that comes alone would wake three times: the dispatcher, its worker, and the
 * dispatcher again. Each takes longer than all the work, the more so on processors that fall
 * asleep between. The last one is spared: while the only request at hand is with a worker, and
 * what is asked for has been a matter of microseconds so far, the dispatcher looks for the answer
 * instead of sleeping, and lets others have the processor between looks. Whether that pays it
 * judges by itself (base/spin.h). While nothing is asked nobody looks for anything: that is
 * few.c, for clients that ask again at once.
 *
 * To hold the worker on the dispatcher's processor, since the system puts it on another one that is
 * idle, would spare nearly as much again. But the programs and threads that a handler starts would
 * be held there too, for good; and to let it go each time before it works (sched_setaffinity(2))
 * takes as long as is gained.
 */
#include "base/os/os.h"
#include "dispatch/private.h"

/* What an answer may take on the average, and those that are waited for at all. */
#define WORTH_US 50u
/* In a trial: the worker may be on a processor that sleeps deeply. */
#define LOOK_US 200u

static const struct seat *the_only_one_at_work(const struct dispatcher *dispatcher);

void alone_init(struct dispatcher *dispatcher)
{
	/* Who is told to spin, or not to, does so at all times. */
	const bool may = dispatcher->server->spin_us == 0 && dispatcher->processors > 1 &&
			 !os_processors_are_rationed();

	spin_init(&dispatcher->alone.spin, may ? LOOK_US : 0, WORTH_US, 1);
}

bool alone_wait(struct dispatcher *dispatcher)
{
	struct alone *alone = &dispatcher->alone;
	const struct seat *seat = the_only_one_at_work(dispatcher);
	const bool looks = spin_is_on(&alone->spin);
	bool found;

	if (!seat || seat->work_ns >= WORTH_US * 1000u || dispatcher->draining)
		return false;
	/* It has as little to do as if it slept. */
	if (looks)
		coalesce_sleep(&dispatcher->coalesce);
	found = spin_until(&alone->spin, alone_look, dispatcher);
	if (looks)
		coalesce_wake(&dispatcher->coalesce);
	alone->found += found;
	return found;
}

/* Who was not told that we sleep does not ring. */
bool alone_look(void *context)
{
	struct dispatcher *dispatcher = context;

	for (unsigned i = 0; i < dispatcher->pool_count; i++) {
		const struct pool *pool = &dispatcher->pools[i];

		for (unsigned j = 0; j < pool->seat_count; j++) {
			const struct seat *seat = pool->seats[j];

			if (seat->up && !seat->announced && seat_has_news(seat))
				return true;
		}
	}
	return loop_peek(&dispatcher->loop);
}

/* The worker with the one request whose handler has not returned, or NULL: there is none, or
 * there are more. */
static const struct seat *the_only_one_at_work(const struct dispatcher *dispatcher)
{
	const struct seat *found = NULL;

	list_each(link, &dispatcher->active) {
		const struct seat *seat = container_of(link, const struct seat, in_active);

		if (seat->at_work == 0)
			continue;
		if (found || seat->at_work > 1)
			return NULL;
		found = seat;
	}
	return found;
}
