/* SPDX-License-Identifier: MIT */
/*
 * What happens to the dispatcher: turns of its loop, messages of the parent,
 * the order to stop. Draining goes: accept what the kernel has accepted
 * already, then no more; close idle connections; finish what was received, and
 * what has begun to be, up to the timeout; answer 503 to the rest; leave.
 */
#include <errno.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/os/os.h"
#include "dispatch/private.h"
#include "transport/control.h"

/* After 503 was written to all, so long for their sockets to take it. */
#define LAST_WORDS_MS 500u

static void drain(struct dispatcher *dispatcher);
static void end_streams_of(struct connection *connection);
static void read_the_last(struct connection *connection);
static void give_up(struct connection *connection);
static void each_connection(struct dispatcher *dispatcher,
			    void (*visit)(struct connection *connection));
static void obey(struct pool *pool, const struct control *order, const int *fds,
		 size_t *fd_count);
static void hear_and_ring(struct dispatcher *dispatcher);
static void give_way(struct dispatcher *dispatcher);
static void flush_all(struct dispatcher *dispatcher);
static void free_gone(struct dispatcher *dispatcher);
static bool ring_all(struct dispatcher *dispatcher);
static bool a_ring_is_put_off(const struct dispatcher *dispatcher);
static bool rings_can_wait(const struct dispatcher *dispatcher);
static bool ring_can_wait(const struct seat *seat);
static void ring_one(struct seat *seat);
static void end_streams(struct dispatcher *dispatcher);

void turn_done(struct loop *loop)
{
	struct dispatcher *dispatcher = loop->owner;

	dispatcher->came_meanwhile += loop->came;
	hear_and_ring(dispatcher);
	if (dispatcher->gives_way_to) {
		give_way(dispatcher);
		hear_and_ring(dispatcher);
	}
	flush_all(dispatcher);
	free_gone(dispatcher);
	if (ring_all(dispatcher))
		dispatcher->came_meanwhile = 0;
	if (dispatcher->server->dispatchers > 1) {
		sisters_tell(dispatcher);
		sisters_note(dispatcher);
	}
	if (dispatcher->draining)
		dispatcher_drain_check(dispatcher);
}

bool turn_is_long_enough(struct loop *loop)
{
	const struct dispatcher *dispatcher = loop->owner;

	return dispatcher->gives_way_to != NULL;
}

static void hear_and_ring(struct dispatcher *dispatcher)
{
	turn_receive(dispatcher);
	calls_submit(dispatcher);
	calls_call_back(dispatcher);
	ring_all(dispatcher);
}

static bool a_ring_is_put_off(const struct dispatcher *dispatcher)
{
	for (unsigned i = 0; i < dispatcher->pool_count; i++) {
		const struct pool *pool = &dispatcher->pools[i];

		for (unsigned j = 0; j < pool->seat_count; j++) {
			if (pool->seats[j]->must_ring)
				return true;
		}
	}
	return false;
}

bool turn_may_sleep(struct loop *loop)
{
	struct dispatcher *dispatcher = loop->owner;

	if (!list_empty(&dispatcher->to_flush) || !list_empty(&dispatcher->gone) ||
	    !list_empty(&dispatcher->calls_done) || !list_empty(&dispatcher->calls_new))
		return false;
	/* Nobody sleeps while a ring is put off. */
	if (a_ring_is_put_off(dispatcher) || few_spin(dispatcher) || alone_wait(dispatcher) ||
	    coalesce_nap(dispatcher))
		return false;
	for (unsigned i = 0; i < dispatcher->pool_count; i++) {
		struct pool *pool = &dispatcher->pools[i];

		for (unsigned j = 0; j < pool->seat_count; j++) {
			struct seat *seat = pool->seats[j];

			if (!seat->up || seat->announced)
				continue;
			seat_announce(seat);
			if (seat_has_news(seat)) {
				seat_awake(seat);
				turn_woke(loop);
				return false;
			}
		}
	}
	list_each(link, &dispatcher->active) {
		if (seat_has_news(container_of(link, struct seat, in_active))) {
			turn_woke(loop);
			return false;
		}
	}
	coalesce_sleep(&dispatcher->coalesce);
	return true;
}

void turn_woke(struct loop *loop)
{
	struct dispatcher *dispatcher = loop->owner;

	coalesce_wake(&dispatcher->coalesce);
	list_each(link, &dispatcher->active)
		seat_awake(container_of(link, struct seat, in_active));
}

void listener_ready(struct loop *loop, struct watch *watch, uint32_t events)
{
	(void)watch;
	(void)events;
	connection_accept_all(loop->owner);
}

void listener_rested(struct loop *loop, struct timer *timer)
{
	struct dispatcher *dispatcher = loop->owner;

	(void)timer;
	if (!dispatcher->draining)
		loop_change(loop, &dispatcher->listener, EPOLLIN);
}

void asked_to_stop(struct loop *loop, struct watch *watch, uint32_t events)
{
	struct dispatcher *dispatcher = loop->owner;
	bool by_parent;

	(void)watch;
	(void)events;
	if (self_take_stop(dispatcher->self, &by_parent) && !dispatcher->draining)
		drain(dispatcher);
}

void control_came(struct loop *loop, struct watch *watch, uint32_t events)
{
	struct dispatcher *dispatcher = loop->owner;
	int fds[OS_CHANNEL_FDS_MAX];
	struct control order;
	size_t fd_count;
	int r;

	(void)events;
	for (int i = 0; i < ORDERS_A_TURN; i++) {
		r = os_channel_receive(watch->fd, &order, sizeof(order), fds,
				       &fd_count);
		if (r == -EAGAIN)
			return;
		if (r <= 0) {
			log_error("the parent is gone: the dispatcher stops");
			loop_stop(loop);
			return;
		}
		if (r == sizeof(order) && order.kind == CONTROL_PUBLISH)
			sisters_heard(dispatcher, fd_count == 1 ? fds[0] : -1);
		else if (r == sizeof(order) && order.kind == CONTROL_GROUP)
			status_note_group(dispatcher, &order);
		else if (r == sizeof(order) && order.pool < dispatcher->pool_count)
			obey(&dispatcher->pools[order.pool], &order, fds, &fd_count);
		os_close_each(fds, fd_count);
	}
}

static void obey(struct pool *pool, const struct control *order, const int *fds,
		 size_t *fd_count)
{
	struct link_fds link = { -1, { -1, -1 } };
	struct seat *seat = seat_find(pool, order->index, order->generation);

	if (order->kind == CONTROL_DEGRADED) {
		pool_set_degraded(pool, order->detail != 0);
		return;
	}
	if (order->kind == CONTROL_LINK_DOWN || order->kind == CONTROL_DEATH)
		status_note_death(pool->dispatcher, order);
	if (order->kind == CONTROL_DEATH)
		return;
	pool->restarts = order->restarts;
	if (order->kind == CONTROL_LINK_DOWN)
		hooks_worker_exit(pool, order->index, order->cause);
	if (order->kind == CONTROL_LINK_UP && *fd_count == 3) {
		link = (struct link_fds){ fds[0], { fds[1], fds[2] } };
		*fd_count = 0;
		seat_up(pool, order, &link);
	} else if (order->kind == CONTROL_LINK_UP) {
		seat_refuse(pool, order, "no descriptor is left");
	} else if (order->kind == CONTROL_LINK_DOWN && seat) {
		seat_down(seat, order->cause);
	} else if (order->kind == CONTROL_DRAIN && seat) {
		seat_drain(seat);
	}
}

/* By place, not by the list of active ones: an answer that ends a connection
 * can take requests back from any seat. One that has nothing in hand rings when
 * it has something to say, unless it was told that we are awake. */
void turn_receive(struct dispatcher *dispatcher)
{
	for (unsigned i = 0; i < dispatcher->pool_count; i++) {
		struct pool *pool = &dispatcher->pools[i];

		for (unsigned j = 0; j < pool->seat_count; j++) {
			struct seat *seat = pool->seats[j];

			if (seat->up && (seat->in_hand > 0 || !seat->announced) &&
			    seat_has_news(seat))
				seat_receive(seat);
		}
	}
}

void turn_give_way_to(struct seat *seat)
{
	struct dispatcher *dispatcher = seat->dispatcher;

	if (dispatcher->loop.now_ms >= dispatcher->gives_way_at_ms)
		dispatcher->gives_way_to = seat;
}

/* What more we took in now would only lie in the queue, and out of the cache by the time
 * that it is this worker's turn: who pipelines has sent it long before it is wanted. So
 * the worker works first, for a moment, and what else is pending comes after. If it
 * does not get to it, we do without for a while. */
static void give_way(struct dispatcher *dispatcher)
{
	struct seat *seat = dispatcher->gives_way_to;
	bool in_vain = false;

	dispatcher->gives_way_to = NULL;
	if (!seat->up)
		return;
	seat_announce(seat);
	if (!seat_has_news(seat)) {
		/* Rings that were heard otherwise are in there still. */
		os_bell_hush(seat->bell.fd);
		if (!seat_has_news(seat))
			in_vain = os_bell_wait(seat->bell.fd, GIVE_WAY_MS) <= 0;
	}
	seat_awake(seat);
	dispatcher->loop.now_ms = clock_now_ms();
	if (in_vain)
		dispatcher->gives_way_at_ms =
			dispatcher->loop.now_ms + PULL_BACK_ANYWAY_MS;
}

/* Those that are put on the list again while it is worked off get the next
 * turn, as do those that are too many, so that nobody can hold the loop. */
static void flush_all(struct dispatcher *dispatcher)
{
	struct connection *now[FLUSHES_A_TURN];
	int32_t failures[FLUSHES_A_TURN];
	struct list *link;
	unsigned count = 0;

	while (count < FLUSHES_A_TURN &&
	       (link = list_pop_front(&dispatcher->to_flush)))
		now[count++] = container_of(link, struct connection, in_flush);
	ahead_send(dispatcher, now, count, failures);
	for (unsigned i = 0; i < count; i++) {
		if (!now[i]->gone)
			writer_flush_on(now[i], failures[i]);
	}
}

static void free_gone(struct dispatcher *dispatcher)
{
	struct list *link;

	while ((link = list_pop_front(&dispatcher->gone)))
		connection_free(container_of(link, struct connection,
					     in_dispatcher));
}

/* Whether none is left that can wait. */
static bool ring_all(struct dispatcher *dispatcher)
{
	const bool can_wait = rings_can_wait(dispatcher);
	bool all = true;

	for (unsigned i = 0; i < dispatcher->pool_count; i++) {
		struct pool *pool = &dispatcher->pools[i];

		for (unsigned j = 0; j < pool->seat_count; j++) {
			struct seat *seat = pool->seats[j];

			if (!seat->must_ring)
				continue;
			if (can_wait && ring_can_wait(seat))
				all = false;
			else
				ring_one(seat);
		}
	}
	return all;
}

/* A worker beside us that is rung takes our place, and wakes us again for what came
 * meanwhile: two switches. So we take that in first, as long as there is some. Who
 * comes alone is not kept waiting. */
static bool rings_can_wait(const struct dispatcher *dispatcher)
{
	return dispatcher->loop.came > 0 && dispatcher->came_meanwhile > 1 &&
	       dispatcher->came_meanwhile < RING_AFTER_EVENTS &&
	       dispatcher->server->dispatchers == 1 && !dispatcher->gives_way_to &&
	       !dispatcher->draining;
}

static bool ring_can_wait(const struct seat *seat)
{
	return seat->up && !seat->condemned && seat->at_work < RING_AT_WORK &&
	       seat->pool->queued == 0 && !seat_is_silent(seat) &&
	       link_would_wake(&seat->link) && seat_is_beside(seat);
}

/* What could not be said is tried again soon: the worker makes room by reading,
 * which it does not tell. */
static void ring_one(struct seat *seat)
{
	struct dispatcher *dispatcher = seat->dispatcher;

	seat->must_ring = false;
	if (!seat->up || seat->condemned)
		return;
	if (!seat_flush(seat))
		retry_soon(dispatcher);
	if (link_ring(&seat->link))
		atomic_fetch_add_explicit(&dispatcher->self->score->bells, 1,
					  memory_order_relaxed);
}

void retry_soon(struct dispatcher *dispatcher)
{
	if (!loop_timer_is_set(&dispatcher->retry))
		loop_timer_set(&dispatcher->loop, &dispatcher->retry,
			       dispatcher->loop.now_ms + RETRY_MS);
}

void retry_saying(struct loop *loop, struct timer *timer)
{
	struct dispatcher *dispatcher = loop->owner;

	(void)timer;
	for (unsigned i = 0; i < dispatcher->pool_count; i++) {
		struct pool *pool = &dispatcher->pools[i];

		for (unsigned j = 0; j < pool->seat_count; j++) {
			struct seat *seat = pool->seats[j];

			if (seat->untold)
				seat_tell_condemned(seat);
			else if (seat->up && !seat->condemned &&
				 (!outbox_empty(&seat->outbox) ||
				  !list_empty(&seat->answers)))
				seat->must_ring = true;
		}
	}
}

/* Streams whose clients come again by themselves end when we do. */
static void end_streams(struct dispatcher *dispatcher)
{
	dispatcher->streams_to_end = false;
	each_connection(dispatcher, end_streams_of);
}

/* With one, those behind it may go too. */
static void end_streams_of(struct connection *connection)
{
	struct list *link = connection->exchanges.next;

	while (link != &connection->exchanges) {
		if (exchange_end_stream(container_of(link, struct exchange, in_connection)))
			link = connection->exchanges.next;
		else
			link = link->next;
	}
}

/* Each that is there now, once; it and any other may be dropped meanwhile. */
static void each_connection(struct dispatcher *dispatcher,
			    void (*visit)(struct connection *connection))
{
	struct list todo;
	struct list *link;

	list_init(&todo);
	while ((link = list_pop_front(&dispatcher->connections)) != NULL)
		list_push_back(&todo, link);
	while ((link = list_pop_front(&todo)) != NULL) {
		list_push_back(&dispatcher->connections, link);
		visit(container_of(link, struct connection, in_dispatcher));
	}
}

static void drain(struct dispatcher *dispatcher)
{
	struct loop *loop = &dispatcher->loop;

	log_info("stopping: %u connections, finishing what is pending for up to %u ms",
		 dispatcher->connection_count,
		 dispatcher->server->shutdown_timeout_ms);
	/* As many as may be: who is left in the listener's queue is reset. */
	while (connection_accept_all(dispatcher))
		;
	loop_remove(loop, &dispatcher->listener);
	close(dispatcher->listener.fd);
	dispatcher->draining = true;
	loop_timer_set(loop, &dispatcher->drain_timer,
		       loop->now_ms + dispatcher->server->shutdown_timeout_ms);
	each_connection(dispatcher, read_the_last);
	end_streams(dispatcher);
}

/* What has arrived already was received by us. */
static void read_the_last(struct connection *connection)
{
	if (connection->state == CONNECTION_IDLE || connection->state == CONNECTION_HEAD)
		reader_ready(connection);
	connection_finish(connection);
}

void drain_over(struct loop *loop, struct timer *timer)
{
	struct dispatcher *dispatcher = loop->owner;

	if (dispatcher->may_exit) {
		loop_stop(loop);
		return;
	}
	dispatcher->may_exit = true;
	each_connection(dispatcher, give_up);
	loop_timer_set(loop, timer, loop->now_ms + LAST_WORDS_MS);
}

static void give_up(struct connection *connection)
{
	if (connection->state == CONNECTION_FULL)
		reader_set_state(connection, CONNECTION_DEAF);
	if (connection->state == CONNECTION_HEAD)
		refusal_of_parser(connection, 503, "the server is stopping");
	while (!list_empty(&connection->exchanges) && !connection->gone &&
	       !connection->broken) {
		struct exchange *exchange = container_of(connection->exchanges.next,
							 struct exchange, in_connection);

		if (exchange->seat) {
			pool_leave(exchange);
			slot_abandon(exchange->seat, exchange->slot);
		}
		exchange_give_up(exchange);
	}
}

void dispatcher_drain_check(struct dispatcher *dispatcher)
{
	if (dispatcher->streams_to_end)
		end_streams(dispatcher);
	if (dispatcher->connection_count == 0 && !calls_hold(dispatcher))
		loop_stop(&dispatcher->loop);
}
