/* SPDX-License-Identifier: MIT */
/*
 * Pools: the bounded queue in front of some workers, its deadlines, and the
 * choice of the worker for the next request.
 *
 * The choice packs while work is cheap: the first worker is filled as long as
 * what it has in hand is a matter of microseconds, since a bell costs more
 * than such a request, and one busy worker needs none. What a request takes is
 * known from those of its route before it; slow ones go to an idle worker each,
 * and nothing is put behind them. Quick work occupies no more workers than there
 * are processors, since more would only take turns, and what takes less than the
 * dispatcher's own part no more than one: if it is pipelined, the one that shares the
 * dispatcher's processor. A request that turns out to be stuck behind
 * a slow one all the same is pulled back by the dispatcher's timer.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "dispatch/private.h"

/* A difference of so many held requests makes another worker the emptier one. */
#define HELD_STEP 8u

static const char degraded_text[] = "this service is degraded: its workers fail";

static bool takes_work(const struct seat *seat);
static bool is_there(const struct seat *seat);
static bool has_room(const struct seat *seat, uint32_t cost_ns, unsigned limit_us);
static bool is_quick(const struct seat *seat, unsigned each_us);
static bool has_waited(const struct exchange *exchange);
static struct seat *beside_us(const struct pool *pool);
static size_t row_of(const struct pool *pool, const struct exchange *exchange);
static unsigned held(const struct seat *seat);
static bool is_better(struct seat *seat, struct seat *than);
static void count_queued(struct pool *pool, int by);
static void warn_of_length(struct pool *pool);
static bool client_has_enough(const struct exchange *exchange);
static uint64_t queue_due(const struct exchange *exchange);
static struct exchange *next_due(const struct pool *pool);
static void set_timer(struct pool *pool);
static void set_timer_for(struct pool *pool, uint64_t due_ms);
static void too_long_in_queue(struct exchange *exchange);
static void too_long_at_work(struct exchange *exchange);

void pool_enter(struct exchange *exchange)
{
	struct pool *pool = exchange->pool;
	const bool has_sisters = pool->dispatcher->server->dispatchers > 1;
	const bool is_first = list_empty(&pool->queue);

	exchange->began_ms = pool->dispatcher->loop.now_ms;
	exchange->queued_ms = exchange->began_ms;
	if (pool->queued >= pool->queue_max ||
	    pool->dispatcher->pending >= pool->dispatcher->max_pending) {
		exchange_fail(exchange, 503, "the queue of this service is full");
		return;
	}
	if (client_has_enough(exchange)) {
		exchange_fail(exchange, 503, "too many requests of this client wait");
		return;
	}
	if (pool->degraded && !pool_has_workers(pool)) {
		exchange_refuse(exchange, 503, "Retry-After: 5\r\n", degraded_text);
		return;
	}
	exchange->state = EXCHANGE_QUEUED;
	exchange->since_ms = pool->dispatcher->loop.now_ms;
	list_push_back(&pool->queue, &exchange->in_pool);
	count_queued(pool, 1);
	set_timer_for(pool, queue_due(exchange));
	/* Whom the first one waits for was looked at when it came, and is looked at anew
	 * when a worker has spoken. What keeps workers busy for others we do not hear. */
	if (is_first || has_sisters)
		pool_feed(pool);
	if (pool->queued && has_sisters)
		pull_back_soon(pool->dispatcher);
	warn_of_length(pool);
}

void pool_feed(struct pool *pool)
{
	struct exchange *exchange;
	struct seat *seat;

	while (!list_empty(&pool->queue)) {
		exchange = container_of(pool->queue.next, struct exchange,
					in_pool);
		seat = pool_choose(pool, exchange);
		if (!seat)
			break;
		list_remove(&exchange->in_pool);
		count_queued(pool, -1);
		if (slot_send(seat, exchange) < 0) {
			list_push_front(&pool->queue, &exchange->in_pool);
			count_queued(pool, 1);
			pool_note_full(seat);
		}
	}
	/* Should who is to take it have got stuck, an idle worker does. */
	if (pool->queued && pool_has_idle(pool))
		pull_back_soon(pool->dispatcher);
}

void pool_return(struct exchange *exchange, bool was_begun)
{
	struct pool *pool = exchange->pool;
	const uint64_t now_ms = pool->dispatcher->loop.now_ms;

	list_remove(&exchange->in_pool);
	exchange->state = EXCHANGE_QUEUED;
	if (was_begun)
		exchange->queued_ms = now_ms;
	exchange->since_ms = exchange->queued_ms;
	list_push_front(&pool->queue, &exchange->in_pool);
	count_queued(pool, 1);
	if (exchange->since_ms + pool->options->queue_timeout_ms <= now_ms) {
		too_long_in_queue(exchange);
		return;
	}
	set_timer_for(pool, queue_due(exchange));
	if (pool->dispatcher->server->dispatchers > 1)
		pull_back_soon(pool->dispatcher);
}

void pool_leave(struct exchange *exchange)
{
	if (exchange->state == EXCHANGE_QUEUED)
		count_queued(exchange->pool, -1);
	list_remove(&exchange->in_pool);
}

void pool_deadline(struct loop *loop, struct timer *timer)
{
	struct pool *pool = container_of(timer, struct pool, timer);
	struct exchange *exchange;

	/* What is answered already is not late, though we may be. */
	turn_receive(pool->dispatcher);
	while ((exchange = next_due(pool)) && queue_due(exchange) <= loop->now_ms)
		too_long_in_queue(exchange);
	while (!list_empty(&pool->linked)) {
		exchange = container_of(pool->linked.next, struct exchange, in_pool);
		if (exchange->since_ms + pool->options->request_timeout_ms > loop->now_ms)
			break;
		too_long_at_work(exchange);
	}
	set_timer(pool);
}

void pool_set_degraded(struct pool *pool, bool degraded)
{
	pool->degraded = degraded;
	while (degraded && !pool_has_workers(pool) && !list_empty(&pool->queue)) {
		struct exchange *exchange = container_of(
			pool->queue.next, struct exchange, in_pool);

		pool_leave(exchange);
		exchange->state = EXCHANGE_READING;
		exchange_fail(exchange, 503, degraded_text);
	}
}

int pool_init_costs(struct pool *pool)
{
	const struct crew_route *routes = pool->options->app->routes;

	while (routes && routes[pool->route_count].on)
		pool->route_count++;
	pool->costs = malloc((pool->route_count + 1) * sizeof(*pool->costs));
	pool->sizes = calloc(pool->route_count + 1, sizeof(*pool->sizes));
	for (size_t i = 0; pool->costs && i <= pool->route_count; i++)
		pool->costs[i] = PACK_US * 1000u;
	return pool->costs && pool->sizes ? 0 : -ENOMEM;
}

void pool_fini_costs(struct pool *pool)
{
	free(pool->costs);
	free(pool->sizes);
}

static size_t row_of(const struct pool *pool, const struct exchange *exchange)
{
	const struct crew_route *routes = pool->options->app->routes;
	const size_t row = exchange->route && routes ? (size_t)(exchange->route - routes)
						     : pool->route_count;

	return row < pool->route_count ? row : pool->route_count;
}

uint32_t *pool_cost(struct pool *pool, const struct exchange *exchange)
{
	return &pool->costs[row_of(pool, exchange)];
}

uint32_t pool_size_of(const struct pool *pool, const struct exchange *exchange)
{
	return pool->sizes[row_of(pool, exchange)];
}

/* It does not become less: who asks for many small ones could make us forget large ones. */
void pool_note_size(struct pool *pool, const struct exchange *exchange)
{
	uint32_t *noted = &pool->sizes[row_of(pool, exchange)];
	const uint32_t size = exchange->answer_sent < SIZE_NOTED_BYTES
				      ? (uint32_t)exchange->answer_sent
				      : SIZE_NOTED_BYTES;

	if (*noted < size)
		*noted = size;
}

/* The average moves by an eighth; one very slow answer counts as a millisecond,
 * so that a route is soon believed to be fast again, and as no more than some times the
 * average: among quick ones it may be that its worker was taken its processor. */
void pool_note_service(uint32_t *cost, uint32_t service_us)
{
	const uint32_t limited = service_us > 1000 ? 1000 : service_us;
	const int64_t most = (int64_t)*cost * OUTLIER_TIMES;
	int64_t sample = (int64_t)limited * 1000 + 500;

	sample = sample < most ? sample : most;
	*cost = (uint32_t)(*cost + (sample - (int64_t)*cost) / 8);
}

struct seat *pool_choose(struct pool *pool, const struct exchange *exchange)
{
	const unsigned dispatchers = pool->dispatcher->server->dispatchers;
	/* Each dispatcher begins with another worker. */
	unsigned next = dispatchers > 1 ? pool->seat_count *
						  pool->dispatcher->self->index /
						  dispatchers
					: 0;
	const uint32_t cost_ns = *pool_cost(pool, exchange);
	const bool pipelined = exchange->connection->pipelines ||
			       exchange->connection->exchange_count > 1;
	struct seat *idle = NULL;
	struct seat *least = NULL;
	struct seat *shared = NULL;
	/* What is pipelined comes faster than one worker answers it, unless that takes even
	 * less than to have it done elsewhere. */
	const bool trifle = cost_ns < TRIFLE_US * 1000u && !pipelined &&
			    dispatchers == 1;
	struct seat *beside = cost_ns < BESIDE_US * 1000u && pipelined && dispatchers == 1
				      ? beside_us(pool)
				      : NULL;
	unsigned quick = 0; /* workers at work that is a matter of microseconds */
	unsigned full = 0;  /* those of them that can take no more */

	if (beside && beside->at_work < LINK_WORK_MAX && !slots_empty(&beside->free_slots))
		return beside;
	/* It will have taken so many soon, but not any number. */
	if (beside && pool->queued < LINK_WORK_MAX)
		return NULL;
	for (unsigned i = 0; i < pool->seat_count; i++) {
		struct seat *seat = pool->seats[next];
		const bool is_full = seat->at_work >= LINK_WORK_MAX ||
				     slots_empty(&seat->free_slots);

		next = next + 1 < pool->seat_count ? next + 1 : 0;
		if (!takes_work(seat))
			continue;
		if (is_quick(seat, PACK_US)) {
			quick++;
			full += seat->at_work >= LINK_WORK_MAX;
		}
		if (is_full)
			continue;
		if (seat->at_work == 0 && !sisters_keep_busy(seat)) {
			if (!idle || is_better(seat, idle))
				idle = seat;
		} else if (seat->at_work == 0) {
			shared = shared ? shared : seat;
		} else if (has_room(seat, cost_ns, PACK_US)) {
			return seat;
		} else if (cost_ns < PACK_US * 1000u &&
			   (pipelined || is_quick(seat, PACK_US)) &&
			   has_room(seat, cost_ns, FILL_US) &&
			   (!least || seat->work_ns < least->work_ns)) {
			least = seat;
		}
	}
	/* More workers than processors only take turns at quick work. */
	if (cost_ns < PACK_US * 1000u && quick >= pool->dispatcher->processors &&
	    (least || full >= pool->dispatcher->processors))
		return least;
	/* One that does nothing else keeps up with trifles. */
	if (trifle && least && is_quick(least, TRIFLE_US) &&
	    (!idle || held(least) <= held(idle)))
		return least;
	if (idle || (least && pipelined))
		return idle ? idle : least;
	return shared && has_waited(exchange) ? shared : NULL;
}

void pool_alive(struct exchange *exchange)
{
	list_remove(&exchange->in_pool);
	pool_linked(exchange);
	if (exchange->connection->call)
		call_alive(exchange->connection->call, exchange->pool);
}

static bool takes_work(const struct seat *seat)
{
	return is_there(seat) && seat->full_until_ms <= seat->dispatcher->loop.now_ms;
}

static bool is_there(const struct seat *seat)
{
	return seat->up && !seat->condemned && !seat->draining && !seat->paused;
}

void pool_note_full(struct seat *seat)
{
	seat->full_until_ms = seat->dispatcher->loop.now_ms + PULL_BACK_MS;
	pull_back_soon(seat->dispatcher);
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

/* The worker, if there is one, that shares our processor and does nothing else than what
 * takes no time. */
static struct seat *beside_us(const struct pool *pool)
{
	for (unsigned i = 0; i < pool->seat_count; i++) {
		struct seat *seat = pool->seats[i];

		if (takes_work(seat) && held(seat) == 0 && seat_is_beside(seat) &&
		    (seat->at_work == 0 || is_quick(seat, BESIDE_US)))
			return seat;
	}
	return NULL;
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

static void count_queued(struct pool *pool, int by)
{
	pool->queued += (unsigned)by;
	pool->dispatcher->pending += (unsigned)by;
	if (pool->warned &&
	    pool->queued < pool->options->queue_warning / QUEUE_CALM_SHARE)
		pool->warned = false;
}

/* Once for each time that it grows so long. */
static void warn_of_length(struct pool *pool)
{
	if (pool->warned || pool->queued < pool->options->queue_warning)
		return;
	pool->warned = true;
	log_warning("%s: %u requests wait for a worker", pool->name, pool->queued);
}

/* Counted only where it is limited: the queue is short enough to be walked. */
static bool client_has_enough(const struct exchange *exchange)
{
	const unsigned max = exchange->pool->options->queue_client_max;
	unsigned count = 0;

	if (!max || exchange->connection->call)
		return false;
	list_each(link, &exchange->pool->queue) {
		const struct exchange *other =
			container_of(link, struct exchange, in_pool);

		count += other->connection->address_hash ==
				 exchange->connection->address_hash &&
			 !other->connection->call;
	}
	return count >= max;
}

static uint64_t queue_due(const struct exchange *exchange)
{
	return exchange->since_ms + exchange->pool->options->queue_timeout_ms;
}

/* Of the queue, whose deadline is next; NULL if it is empty. It is in the order of deadlines,
 * since all waits of a pool are equally long, and what is returned to its head has waited
 * longest. But who is to run again has a clock that started anew, and others behind it. */
static struct exchange *next_due(const struct pool *pool)
{
	struct exchange *next = NULL;

	list_each(link, &pool->queue) {
		struct exchange *exchange = container_of(link, struct exchange, in_pool);

		if (!next || exchange->since_ms < next->since_ms)
			next = exchange;
		/* Many may run again: the first who is late is as good as the latest. */
		if (exchange->deaths == 0 ||
		    queue_due(next) <= pool->dispatcher->loop.now_ms)
			break;
	}
	return next;
}

/* Those with workers are in the order of their deadlines. */
static void set_timer(struct pool *pool)
{
	struct exchange *exchange = next_due(pool);
	uint64_t due = exchange ? queue_due(exchange) : UINT64_MAX;

	if (!list_empty(&pool->linked)) {
		exchange = container_of(pool->linked.next, struct exchange, in_pool);
		if (exchange->since_ms + pool->options->request_timeout_ms < due)
			due = exchange->since_ms +
			      pool->options->request_timeout_ms;
	}
	if (due != UINT64_MAX)
		set_timer_for(pool, due);
}

/* There is one more: nobody else's deadline is looked at. */
static void set_timer_for(struct pool *pool, uint64_t due_ms)
{
	if (!loop_timer_is_set(&pool->timer) || pool->timer.due_ms > due_ms)
		loop_timer_set(&pool->dispatcher->loop, &pool->timer, due_ms);
}

void pool_linked(struct exchange *exchange)
{
	struct pool *pool = exchange->pool;

	exchange->state = EXCHANGE_LINKED;
	exchange->since_ms = pool->dispatcher->loop.now_ms;
	list_push_back(&pool->linked, &exchange->in_pool);
	set_timer_for(pool, exchange->since_ms + pool->options->request_timeout_ms);
}

bool pool_has_idle(const struct pool *pool)
{
	for (unsigned i = 0; i < pool->seat_count; i++) {
		struct seat *seat = pool->seats[i];

		/* One that is full too: somebody has to look whether it still is. */
		if (is_there(seat) && seat->at_work == 0 && !sisters_keep_busy(seat) &&
		    !seat_is_doubted(seat))
			return true;
	}
	return false;
}

static void too_long_in_queue(struct exchange *exchange)
{
	struct pool *pool = exchange->pool;
	const char *method;
	const char *path;

	exchange_describe(exchange, &method, &path);
	log_warning("%s: request %llu (%s %s) waited %u ms for a worker: 503",
		    pool->name, (unsigned long long)exchange->id, method, path,
		    pool->options->queue_timeout_ms);
	pool_leave(exchange);
	exchange->state = EXCHANGE_READING;
	exchange_fail(exchange, 503, "no worker became free in time");
}

static void too_long_at_work(struct exchange *exchange)
{
	struct pool *pool = exchange->pool;
	const char *method;
	const char *path;

	exchange_describe(exchange, &method, &path);
	log_warning("%s[%u]: request %llu (%s %s) took longer than %u ms: 504",
		    pool->name, exchange->seat->index,
		    (unsigned long long)exchange->id, method, path,
		    pool->options->request_timeout_ms);
	pool_leave(exchange);
	slot_label(exchange->seat, exchange->slot);
	slot_abandon(exchange->seat, exchange->slot);
	exchange_fail(exchange, 504, "the worker did not answer in time");
}

bool pool_has_workers(const struct pool *pool)
{
	for (unsigned i = 0; i < pool->seat_count; i++) {
		if (pool->seats[i]->up)
			return true;
	}
	return false;
}
