/* SPDX-License-Identifier: MIT */
/*
 * The choice of the worker for a request: all are looked at once, and then it is
 * decided among the few that were noted.
 *
 * The choice packs while work is cheap: the first worker is filled as long as
 * what it has in hand is a matter of microseconds, since a bell costs more
 * than such a request, and one busy worker needs none. What a request takes is
 * known from those of its route before it (cost.c); slow ones go to an idle worker
 * each. Quick work occupies no more workers than there are processors, since more
 * would only take turns, and what takes less than the dispatcher's own part no more
 * than one: if it is pipelined, the one that shares the dispatcher's processor.
 *
 * Behind a slow request nothing is put but what its client pipelines and is quick, and
 * the next one behind what is known to take less than a millisecond, while so many wait
 * that each worker can have one: else it would sleep from its answer until we have heard
 * that and woken it again, which takes as long as many a handler does. Who is idle before
 * that takes it away (pool.c). Quick ones are packed further then. A request that turns
 * out to be stuck all the same is pulled back by the dispatcher's timer.
 */
#include "dispatch/private.h"

/* A difference of so many held requests makes another worker the emptier one. */
#define HELD_STEP 8u

/* What is known of the request. */
struct wanted {
	uint32_t cost_ns; /* that it is thought to take */
	bool pipelined;   /* more of its client's are here, or on their way */
};

struct candidates {
	struct seat *ready;  /* has room for one more at once: it is packed */
	struct seat *idle;   /* with nothing in hand, and the fewest streams */
	struct seat *least;  /* at quick work, and least of it */
	struct seat *shared; /* idle for us, and at another dispatcher's request */
	struct seat *next;   /* at one request, which it will have answered soon */
	struct seat *last;   /* would be ready, but has taken nothing so far */
	unsigned busy;       /* at any work */
	unsigned quick;      /* at quick work, how many */
	unsigned full;       /* those of them that can take no more */
};

static void look(const struct pool *pool, const struct wanted *wanted,
		 struct candidates *ret);
static void note(struct candidates *found, struct seat *seat, const struct wanted *wanted);
static struct seat *decide(const struct pool *pool, const struct candidates *found,
			   const struct wanted *wanted, const struct exchange *exchange);
static bool is_trifle(const struct wanted *wanted, const struct pool *pool);
static struct seat *beside_us(const struct pool *pool);
static bool takes_work(const struct seat *seat);
static bool is_there(const struct seat *seat);
static bool is_idle(struct seat *seat);
static bool is_full(const struct seat *seat);
static bool has_room(const struct seat *seat, uint32_t cost_ns, unsigned limit_us);
static bool is_quick(const struct seat *seat, unsigned each_us);
static bool is_done_soon(const struct seat *seat);
static bool is_crowded(const struct pool *pool, const struct candidates *found,
		       const struct exchange *exchange);
static bool has_waited(const struct exchange *exchange);
static unsigned held(const struct seat *seat);
static bool is_better(struct seat *seat, struct seat *than);

struct seat *pool_choose(struct pool *pool, const struct exchange *exchange)
{
	const struct wanted wanted = {
		.cost_ns = pool_cost(pool, exchange)->ns,
		.pipelined = exchange->connection->pipelines ||
			     exchange->connection->exchange_count > 1,
	};
	struct seat *beside = wanted.cost_ns < BESIDE_US * 1000u && wanted.pipelined &&
					      pool->dispatcher->server->dispatchers == 1
				      ? beside_us(pool)
				      : NULL;
	struct candidates found;

	if (beside && !is_full(beside))
		return beside;
	/* It will have taken so many soon, but not any number. */
	if (beside && pool->queued < LINK_WORK_MAX)
		return NULL;
	look(pool, &wanted, &found);
	return found.ready ? found.ready : decide(pool, &found, &wanted, exchange);
}

bool pool_has_idle(const struct pool *pool)
{
	/* One that is full too: somebody has to look whether it still is. */
	for (unsigned i = 0; i < pool->seat_count; i++) {
		if (is_idle(pool->seats[i]))
			return true;
	}
	return false;
}

bool pool_has_ready(const struct pool *pool)
{
	for (unsigned i = 0; i < pool->seat_count; i++) {
		struct seat *seat = pool->seats[i];

		if (is_idle(seat) && takes_work(seat) && !is_full(seat))
			return true;
	}
	return false;
}

bool pool_has_workers(const struct pool *pool)
{
	for (unsigned i = 0; i < pool->seat_count; i++) {
		if (pool->seats[i]->up)
			return true;
	}
	return false;
}

void pool_note_full(struct seat *seat)
{
	seat->full_until_ms = seat->dispatcher->loop.now_ms + PULL_BACK_MS;
	pull_back_soon(seat->dispatcher);
}

/* Up to the first that is ready. */
static void look(const struct pool *pool, const struct wanted *wanted,
		 struct candidates *ret)
{
	const struct dispatcher *dispatcher = pool->dispatcher;
	const unsigned dispatchers = dispatcher->server->dispatchers;
	/* Each dispatcher begins with another worker. */
	unsigned next = dispatchers > 1
				? pool->seat_count * dispatcher->self->index / dispatchers
				: 0;

	*ret = (struct candidates){ 0 };
	for (unsigned i = 0; i < pool->seat_count && !ret->ready; i++) {
		if (takes_work(pool->seats[next]))
			note(ret, pool->seats[next], wanted);
		next = next + 1 < pool->seat_count ? next + 1 : 0;
	}
}

static void note(struct candidates *found, struct seat *seat, const struct wanted *wanted)
{
	const bool quick = is_quick(seat, PACK_US);

	/* Nor does it keep a processor busy. */
	if (seat->at_work > 0 && seat_is_doubted(seat)) {
		if (!is_full(seat) && has_room(seat, wanted->cost_ns, PACK_US))
			found->last = seat;
		return;
	}
	found->busy += seat->at_work > 0;
	found->quick += quick;
	found->full += quick && seat->at_work >= LINK_WORK_MAX;
	if (is_full(seat))
		return;
	if (seat->at_work == 0 && sisters_keep_busy(seat)) {
		found->shared = found->shared ? found->shared : seat;
	} else if (seat->at_work == 0) {
		if (!found->idle || is_better(seat, found->idle))
			found->idle = seat;
	} else if (has_room(seat, wanted->cost_ns, PACK_US)) {
		found->ready = seat;
	} else if (wanted->cost_ns < PACK_US * 1000u && (wanted->pipelined || quick) &&
		   has_room(seat, wanted->cost_ns, FILL_US) &&
		   (!found->least || seat->work_ns < found->least->work_ns)) {
		found->least = seat;
	} else if (!found->next && is_done_soon(seat)) {
		found->next = seat;
	}
}

static struct seat *decide(const struct pool *pool, const struct candidates *found,
			   const struct wanted *wanted, const struct exchange *exchange)
{
	const unsigned processors = pool->dispatcher->processors;

	/* More workers than processors only take turns at quick work. */
	if (wanted->cost_ns < PACK_US * 1000u && found->quick >= processors &&
	    (found->least || found->full >= processors))
		return found->least;
	/* One that does nothing else keeps up with trifles. */
	if (found->least && is_trifle(wanted, pool) && is_quick(found->least, TRIFLE_US) &&
	    (!found->idle || held(found->least) <= held(found->idle)))
		return found->least;
	if (found->idle && !(found->shared && seat_is_doubted(found->idle)))
		return found->idle;
	if (found->least && wanted->pipelined)
		return found->least;
	/* Who works for another dispatcher works. */
	if (found->shared)
		return has_waited(exchange) ? found->shared : NULL;
	if ((found->least || found->next) && is_crowded(pool, found, exchange))
		return found->least ? found->least : found->next;
	return found->last;
}

/* What is pipelined comes faster than one worker answers it, unless that takes even less than to
 * have it done elsewhere. */
static bool is_trifle(const struct wanted *wanted, const struct pool *pool)
{
	return wanted->cost_ns < TRIFLE_US * 1000u && !wanted->pipelined &&
	       pool->dispatcher->server->dispatchers == 1;
}

/* The worker, if there is one, that shares our processor and does nothing else than what
 * takes no time. It has to do that, too: else all that comes would wait for it. */
static struct seat *beside_us(const struct pool *pool)
{
	for (unsigned i = 0; i < pool->seat_count; i++) {
		struct seat *seat = pool->seats[i];

		if (takes_work(seat) && held(seat) == 0 && seat_is_beside(seat) &&
		    (seat->at_work == 0 || is_quick(seat, BESIDE_US)) &&
		    !seat_is_doubted(seat))
			return seat;
	}
	return NULL;
}

static bool takes_work(const struct seat *seat)
{
	return is_there(seat) && seat->full_until_ms <= seat->dispatcher->loop.now_ms;
}

static bool is_there(const struct seat *seat)
{
	return seat->up && !seat->condemned && !seat->draining && !seat->paused;
}

static bool is_idle(struct seat *seat)
{
	return is_there(seat) && seat->at_work == 0 && !sisters_keep_busy(seat) &&
	       !seat_is_doubted(seat);
}

static bool is_full(const struct seat *seat)
{
	return seat->at_work >= LINK_WORK_MAX || slots_empty(&seat->free_slots);
}

static bool has_room(const struct seat *seat, uint32_t cost_ns, unsigned limit_us)
{
	return seat->work_ns + cost_ns < limit_us * 1000u && !seat_is_silent(seat);
}

/* It is at work, and that keeps its processor busy but not for long: requests take less
 * than so many microseconds each, so that none is thought to block, or is not known yet. */
static bool is_quick(const struct seat *seat, unsigned each_us)
{
	return seat->at_work > 0 && has_room(seat, 0, FILL_US) &&
	       seat->work_ns < (uint64_t)seat->at_work * each_us * 1000u;
}

/* It is at one request of a route that has taken little for a while. */
static bool is_done_soon(const struct seat *seat)
{
	return seat->at_work == 1 && seat->newest && seat->newest->cost->peak_us < NEXT_US &&
	       !seat_is_silent(seat);
}

/* So many wait that there is one for each, whoever is done first; and processors are idle while
 * workers wait for us. Where others wait for these it costs little to be woken, and who has lost
 * its processor is long about what it has. Another dispatcher's turn would never come. */
static bool is_crowded(const struct pool *pool, const struct candidates *found,
		       const struct exchange *exchange)
{
	const struct dispatcher *dispatcher = pool->dispatcher;
	const bool comes = exchange->state != EXCHANGE_QUEUED;
	unsigned busy = 0;

	if (pool->queued + pool->nexts + comes < found->busy ||
	    dispatcher->server->dispatchers > 1)
		return false;
	list_each(link, &dispatcher->active) {
		struct seat *seat = container_of(link, struct seat, in_active);

		busy += seat->at_work > 0 && !seat->condemned && !seat_is_doubted(seat);
	}
	return busy <= dispatcher->to_spare;
}

/* Who gives a worker its next request is its dispatcher's matter as long as that has
 * one: the others' turn comes when one of theirs stands in the worker's line too. */
static bool has_waited(const struct exchange *exchange)
{
	return exchange->state == EXCHANGE_QUEUED &&
	       exchange->pool->dispatcher->loop.now_ms - exchange->since_ms >=
		       TURN_TAKING_MS;
}

/* Of idle workers the one with the fewest streams and deferred requests is
 * taken; a few more or less do not make it leave the warm one. */
static unsigned held(const struct seat *seat)
{
	return (seat->in_hand - seat->at_work) / HELD_STEP;
}

/* Who takes nothing is given something only where nobody else is. */
static bool is_better(struct seat *seat, struct seat *than)
{
	return seat_is_doubted(seat) == seat_is_doubted(than) ? held(seat) < held(than)
							      : seat_is_doubted(than);
}
