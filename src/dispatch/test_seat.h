/* SPDX-License-Identifier: MIT */
/*
 * For tests only: a dispatcher with one pool and one seat in it, a client without a
 * socket, and the test at the worker's end of the seat's link. A test has `set_up_seat`
 * called before it and `tear_down` after it.
 */
#ifndef DISPATCH_TEST_SEAT_H
#define DISPATCH_TEST_SEAT_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <crew/crew.h>

#include "base/log.h"
#include "dispatch/private.h"

#define BLOCK_SIZE 256u
#define REQUESTS   2u
#define PARTS      6u /* more than may be on their way at once */

static inline crew_reply run(struct crew_request *request)
{
	return crew_text(request, 200, "");
}

static const struct crew_route rows[] = { { .on = "GET /", .run = run, .idempotent = true },
					  { 0 } };
static const struct crew_app app = { .name = "app", .routes = rows };
static const struct crew_pool options = { .app = &app, .request_timeout_ms = 60000,
					  .queue_timeout_ms = 60000,
					  .queue_warning = CREW_NEVER };

static struct crew_server server = { .dispatchers = 1,
				     .pools = { { .name = "pool", .app = &app } } };
static struct dispatcher_options dispatcher_options = { .server = &server };
static struct scoreboard_head no_lines;
static struct scoreboard board = { .head = &no_lines };
static struct crew_child self = { .channel = -1, .board = &board };
static struct dispatcher *dispatcher;
static struct router *router;
static struct pool *pool;
static struct seat seat;
static struct seat *seats[] = { &seat };
static struct link worker;
static struct connection *connection;
static char last_line[200]; /* of the log */

static inline bool take_line(void *context, const struct crew_log_line *line)
{
	(void)context;
	snprintf(last_line, sizeof(last_line), "%s", line->message);
	return true;
}

static inline void open_seat(struct seat *place, struct link *its_worker)
{
	struct link_fds ours;
	struct link_fds theirs;

	*place = (struct seat){ .dispatcher = dispatcher, .pool = pool, .up = true };
	place->slots = calloc(LINK_SLOTS, sizeof(*place->slots));
	assert_non_null(place->slots);
	memset(&place->free_slots, 0xff, sizeof(place->free_slots));
	list_init(&place->in_active);
	outbox_init(&place->outbox);
	assert_int_equal(outbox_reserve(&place->outbox, LINK_SLOTS), 0);
	calls_open(place);
	assert_int_equal(link_create(&ours), 0);
	theirs = (struct link_fds){ dup(ours.memory),
				    { dup(ours.bell[0]), dup(ours.bell[1]) } };
	assert_int_equal(link_open(&place->link, LINK_DISPATCHER, &ours), 0);
	assert_int_equal(link_open(its_worker, LINK_WORKER, &theirs), 0);
}

static inline void close_seat(struct seat *place, struct link *its_worker)
{
	calls_close(place);
	outbox_fini(&place->outbox);
	link_fini(&place->link);
	link_fini(its_worker);
	free(place->slots);
}

/* For requests that are the worker's own. */
static inline void set_up_calls(void)
{
	struct crew_error error;

	assert_int_equal(router_new(&server, &router, &error), 0);
	dispatcher_options.router = router;
	dispatcher->options = &dispatcher_options;
	dispatcher->limits = (struct http_limits){
		.line_max_bytes = LINE_MAX_BYTES,
		.head_max_bytes = LINE_MAX_BYTES,
		.headers_max = HTTP_HEADERS_MAX,
		.body_max_bytes = WIRE_CALL_MAX_BYTES,
	};
	list_init(&dispatcher->connections);
	list_init(&dispatcher->gone);
	list_init(&dispatcher->calls_done);
}

static inline void end_calls(struct list *connections)
{
	struct list *link;

	while ((link = connections->next) != connections)
		connection_free(container_of(link, struct connection, in_dispatcher));
}

static inline void set_up_seat(void)
{
	dispatcher = calloc(1, sizeof(*dispatcher));
	connection = calloc(1, sizeof(*connection));
	assert_true(dispatcher && connection);
	dispatcher->server = &server;
	dispatcher->self = &self;
	dispatcher->kept_exchanges = (struct kept){ sizeof(struct exchange), 0, 0, NULL };
	dispatcher->kept_blocks = (struct kept){ KEPT_BLOCK_BYTES, 0, 0, NULL };
	assert_int_equal(loop_init(&dispatcher->loop), 0);
	dispatcher->loop.owner = dispatcher;
	dispatcher->pull_back.fire = pull_back;
	list_init(&dispatcher->to_flush);
	list_init(&dispatcher->active);
	set_up_calls();
	pool = &dispatcher->pools[0];
	pool->dispatcher = dispatcher;
	pool->options = &options;
	pool->name = "pool";
	pool->queue_max = dispatcher->max_pending = REQUESTS;
	pool->seats = seats;
	pool->seat_count = 1;
	list_init(&pool->queue);
	list_init(&pool->linked);
	assert_int_equal(pool_init_costs(pool), 0);
	dispatcher->pool_count = 1;
	open_seat(&seat, &worker);
	connection->dispatcher = dispatcher;
	connection->watch.fd = -1;
	list_init(&connection->in_flush);
	list_init(&connection->exchanges);
	last_line[0] = '\0';
	log_set_taker(take_line, NULL);
}

static inline void end_requests(void)
{
	struct list *link;

	while ((link = connection->exchanges.next) != &connection->exchanges)
		exchange_free(container_of(link, struct exchange, in_connection));
}

static inline int tear_down(void **state)
{
	(void)state;
	log_forget_taker(take_line, NULL);
	end_requests();
	end_calls(&dispatcher->connections);
	end_calls(&dispatcher->gone);
	router_free(router);
	buffer_fini(&connection->out);
	buffer_fini(&dispatcher->chunk);
	buffer_free_kept();
	free(connection);
	close_seat(&seat, &worker);
	pool_fini_costs(pool);
	loop_fini(&dispatcher->loop);
	free(dispatcher);
	return 0;
}

/* With another worker at another place behind the first. */
static inline void add_seat(struct seat *other, struct link *other_worker)
{
	static struct seat *both[2];

	open_seat(other, other_worker);
	both[0] = &seat;
	both[1] = other;
	pool->seats = both;
	pool->seat_count = 2;
	dispatcher->processors = 2;
}

static inline void remove_seat(struct seat *other, struct link *other_worker)
{
	end_requests();
	pool->seats = seats;
	pool->seat_count = 1;
	close_seat(other, other_worker);
}

/* A request of the client, with a body of so many bytes. */
static inline struct exchange *request_of(size_t size)
{
	static const char body[PARTS * LINK_PART_BYTES];
	const struct http_head head = { .method = HTTP_GET, .method_text = { "GET", 3 },
					.path = { "/", 1 }, .minor = 1, .keep_alive = true };
	struct exchange *exchange = exchange_new(connection, &head);

	assert_non_null(exchange);
	exchange->pool = pool;
	exchange->queued_ms = dispatcher->loop.now_ms;
	hooks_note(exchange, &head);
	assert_true(exchange_take_block(exchange, BLOCK_SIZE));
	memset(exchange->block, 0, BLOCK_SIZE);
	((struct wire_request *)(void *)exchange->block)->size = BLOCK_SIZE;
	assert_int_equal(body_append(&exchange->body, body, size), 0);
	return exchange;
}

/* The same, given to the worker of that place. */
static inline struct exchange *ask_at(struct seat *place, size_t size)
{
	struct exchange *exchange = request_of(size);

	assert_int_equal(slot_send(place, exchange), 0);
	return exchange;
}

static inline struct exchange *ask(size_t size)
{
	return ask_at(&seat, size);
}

static inline struct message take(void)
{
	struct message message;

	assert_int_equal(link_receive(&worker, &message), 1);
	assert_int_equal(message.kind, MESSAGE_REQUEST);
	assert_true(link_take(&worker, message.slot, message.generation));
	return message;
}

/* The whole answer of that worker to that request, with this header line. */
static inline void answer_at(struct link *its_worker, const struct message *request,
			     const char *line)
{
	const struct wire_answer head = { .status = 200,
					  .headers_size = (uint32_t)strlen(line) };
	struct message message = { .kind = MESSAGE_ANSWER, .flags = MESSAGE_LAST,
				   .slot = request->slot, .generation = request->generation,
				   .size = (uint32_t)(sizeof(head) + strlen(line)) };
	char *place = link_alloc(its_worker, LINK_NO_SLOT, message.size, &message.offset);

	assert_non_null(place);
	memcpy(place, &head, sizeof(head));
	memcpy(place + sizeof(head), line, strlen(line));
	assert_int_equal(link_send(its_worker, &message), 0);
}

static inline void answer(const struct message *request, const char *line)
{
	answer_at(&worker, request, line);
}

static inline bool client_was_told(int status)
{
	const struct span out = buffer_span(&connection->out);
	char line[16];

	snprintf(line, sizeof(line), "HTTP/1.1 %d", status);
	return out.size > strlen(line) && memcmp(out.at, line, strlen(line)) == 0;
}

#endif
