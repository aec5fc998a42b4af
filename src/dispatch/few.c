/* SPDX-License-Identifier: MIT */
/*
 * While few clients are busy, nobody sleeps between their requests: each of them waits
 * for its answer, so that everybody would sleep, and be woken again at each step, which
 * takes far longer than the work. The dispatcher looks for what comes next, lets others
 * have the processor after each look, and tells the workers that it does so: then they
 * look for their next request too, until it sleeps. It judges by itself whether that
 * pays (base/spin.h).
 *
 * With more clients there is always something to do, and who looks at once finds little of it:
 * see coalesce.c.
 */
#include "base/clock.h"
#include "base/os/os.h"
#include "dispatch/private.h"

/* So many requests are judged together. */
#define WINDOW_REQUESTS 512u
/* That many clients are few; of all dispatchers together. */
#define CLIENTS_MAX 6u
/* A look lasts at most so long, in a trial: the first goes to who sleeps still. */
#define LOOK_US 1000u
/* What a look may take on the average: as long as all the wake-ups that it spares. */
#define WORTH_US 50u

static void say(struct dispatcher *dispatcher, bool spins);

void few_init(struct dispatcher *dispatcher)
{
	const struct crew_server *server = dispatcher->server;
	const bool has_room = dispatcher->processors > 1 && !os_processors_are_rationed();
	const unsigned us = server->spin_us;
	struct few *few = &dispatcher->few;

	few->always = us != 0;
	few->clients_max = server->dispatchers < CLIENTS_MAX ? CLIENTS_MAX / server->dispatchers
							     : 1;
	few->window = 1;
	if (us == CREW_NEVER || (us == 0 && !has_room))
		spin_init(&few->spin, 0, 1, 1);
	else if (us == 0)
		spin_init(&few->spin, LOOK_US, WORTH_US, 1);
	else
		spin_init(&few->spin, us, us, 1);
}

void few_count(struct connection *connection)
{
	struct dispatcher *dispatcher = connection->dispatcher;
	struct few *few = &dispatcher->few;
	unsigned clients;

	/* Calls come from workers. */
	if (connection->busy_in != few->window && !connection->call) {
		connection->busy_in = few->window;
		few->clients++;
	}
	dispatcher->coalesce.asked = true;
	if (++few->requests < WINDOW_REQUESTS)
		return;
	few->is_few = few->clients <= few->clients_max;
	/* Connections that come and go are not busy at once. */
	clients = few->clients < dispatcher->connection_count ? few->clients
							      : dispatcher->connection_count;
	coalesce_judge(&dispatcher->coalesce, few->requests, clients, clock_now_ns());
	few->window++;
	few->requests = 0;
	few->clients = 0;
	/* Maybe there is no time to sleep from now on. */
	if (!few->is_few && !few->always)
		say(dispatcher, false);
}

bool few_spin(struct dispatcher *dispatcher)
{
	struct few *few = &dispatcher->few;

	if ((!few->always && !few->is_few) || dispatcher->draining) {
		say(dispatcher, false);
		return false;
	}
	say(dispatcher, spin_is_on(&few->spin));
	if (spin_until(&few->spin, alone_look, dispatcher)) {
		few->found++;
		return true;
	}
	say(dispatcher, false);
	return false;
}

void few_tell(struct seat *seat)
{
	link_say_spins(&seat->link, seat->dispatcher->few.spins);
}

static void say(struct dispatcher *dispatcher, bool spins)
{
	if (spins == dispatcher->few.spins)
		return;
	dispatcher->few.spins = spins;
	for (unsigned i = 0; i < dispatcher->pool_count; i++) {
		struct pool *pool = &dispatcher->pools[i];

		for (unsigned j = 0; j < pool->seat_count; j++) {
			if (pool->seats[j]->up)
				few_tell(pool->seats[j]);
		}
	}
}
