/* SPDX-License-Identifier: MIT */
/*
 * While few clients are busy, nobody sleeps between their requests: each of them waits
 * for its answer, so that everybody would sleep, and be woken again at each step, which
 * takes far longer than the work. The dispatcher looks for what comes next, lets others
 * have the processor after each look, and tells the workers that it does so: then they
 * look for their next request too. It judges by itself whether that pays (base/spin.h).
 *
 * With more clients there is always something to do, and who sleeps meanwhile gathers
 * work, which is cheaper.
 */
#include "dispatch/private.h"

/* So many requests are judged together. */
#define WINDOW_REQUESTS 256u
/* Clients among whom they are few. */
#define CLIENTS_MAX 4u
/* A look lasts at most so long, in a trial: the first goes to who sleeps still. */
#define LOOK_US 1000u
/* What a look may take on the average: as long as all the wake-ups that it spares. */
#define WORTH_US 50u

static bool may_spin(const struct dispatcher *dispatcher);
static void tell_workers(struct dispatcher *dispatcher);
static bool look(void *context);

void few_init(struct dispatcher *dispatcher)
{
	const unsigned us = dispatcher->server->spin_us;
	struct few *few = &dispatcher->few;

	few->always = us != 0;
	few->window = 1;
	if (us == CREW_NEVER || (us == 0 && dispatcher->processors < 2))
		spin_init(&few->spin, 0, 1, 1);
	else if (us == 0)
		spin_init(&few->spin, LOOK_US, WORTH_US, 1);
	else
		spin_init(&few->spin, us, us, 1);
}

void few_count(struct connection *connection)
{
	struct few *few = &connection->dispatcher->few;

	if (connection->busy_in != few->window) {
		connection->busy_in = few->window;
		few->clients++;
	}
	if (++few->requests < WINDOW_REQUESTS)
		return;
	few->is_few = few->clients <= CLIENTS_MAX;
	few->window++;
	few->requests = 0;
	few->clients = 0;
}

bool few_spin(struct dispatcher *dispatcher)
{
	const bool may = may_spin(dispatcher);
	const bool spins = may && spin_is_on(&dispatcher->few.spin);

	if (spins != dispatcher->few.spins) {
		dispatcher->few.spins = spins;
		tell_workers(dispatcher);
	}
	if (!may || !spin_until(&dispatcher->few.spin, look, dispatcher))
		return false;
	dispatcher->few.found++;
	return true;
}

void few_tell(struct seat *seat)
{
	link_say_spins(&seat->link, seat->dispatcher->few.spins);
}

static bool may_spin(const struct dispatcher *dispatcher)
{
	const struct few *few = &dispatcher->few;

	return (few->always || few->is_few) && !dispatcher->draining;
}

static void tell_workers(struct dispatcher *dispatcher)
{
	for (unsigned i = 0; i < dispatcher->pool_count; i++) {
		struct pool *pool = &dispatcher->pools[i];

		for (unsigned j = 0; j < pool->seat_count; j++) {
			if (pool->seats[j]->up)
				few_tell(pool->seats[j]);
		}
	}
}

static bool look(void *context)
{
	struct dispatcher *dispatcher = context;

	list_each(link, &dispatcher->active) {
		if (seat_has_news(container_of(link, struct seat, in_active)))
			return true;
	}
	return loop_peek(&dispatcher->loop);
}
