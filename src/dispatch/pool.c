/* SPDX-License-Identifier: MIT */
/*
 * Pools: the bounded queue in front of some workers, and its deadlines. Who gets
 * the next request of it is chosen in choose.c.
 */
#include "base/log.h"
#include "dispatch/private.h"

static const char degraded_text[] = "this service is degraded: its workers fail";

static void give(struct pool *pool);
static void take_nexts(struct pool *pool);
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
	 * when a worker has spoken. What keeps workers busy for others we do not hear; and
	 * when so many wait each worker may have a next one. */
	if (is_first || has_sisters || pool->queued <= pool->dispatcher->to_spare)
		pool_feed(pool);
	if (pool->queued && has_sisters)
		pull_back_soon(pool->dispatcher);
	warn_of_length(pool);
}

void pool_feed(struct pool *pool)
{
	give(pool);
	if (pool->nexts > 0 && list_empty(&pool->queue))
		take_nexts(pool);
	/* Should who is to take it have got stuck, an idle worker does. */
	if (pool->queued && pool_has_idle(pool))
		pull_back_soon(pool->dispatcher);
}

/* As many as can be given now. */
static void give(struct pool *pool)
{
	struct exchange *exchange;
	struct seat *seat;

	while (!list_empty(&pool->queue)) {
		exchange = container_of(pool->queue.next, struct exchange,
					in_pool);
		/* It is freed at the end of the turn. */
		if (exchange->connection->gone || exchange->connection->broken) {
			pool_leave(exchange);
			continue;
		}
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
}

/* Who is idle does what another has not begun. */
static void take_nexts(struct pool *pool)
{
	for (unsigned i = 0; i < pool->seat_count; i++) {
		struct seat *seat = pool->seats[i];

		if (!seat->has_next)
			continue;
		if (!pool_has_ready(pool))
			break;
		if (seat_take_next(seat))
			give(pool);
	}
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
	if (exchange->since_ms + pool->options->queue_timeout_ms <= now_ms &&
	    !pool_has_ready(pool)) {
		too_long_in_queue(exchange);
		return;
	}
	set_timer_for(pool, queue_due(exchange));
	if (pool->dispatcher->server->dispatchers > 1)
		pull_back_soon(pool->dispatcher);
}

void pool_leave(struct exchange *exchange)
{
	if (exchange->state == EXCHANGE_QUEUED) {
		count_queued(exchange->pool, -1);
		exchange->state = EXCHANGE_READING;
	}
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
		exchange_fail(exchange, 503, degraded_text);
	}
}

void pool_linked(struct exchange *exchange)
{
	struct pool *pool = exchange->pool;

	exchange->state = EXCHANGE_LINKED;
	exchange->since_ms = pool->dispatcher->loop.now_ms;
	list_push_back(&pool->linked, &exchange->in_pool);
	set_timer_for(pool, exchange->since_ms + pool->options->request_timeout_ms);
}

void pool_alive(struct exchange *exchange)
{
	if (exchange->state == EXCHANGE_LINKED) {
		list_remove(&exchange->in_pool);
		pool_linked(exchange);
	}
	if (exchange->connection->call)
		call_alive(exchange->connection->call, exchange->pool);
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
