/* SPDX-License-Identifier: MIT */
/*
 * A request's way from its head to who answers it: matched once, and answered here where no
 * worker has to; else checked by the application, if a client asks, and given to a worker or to
 * its pool's queue. What has a body that is not there yet goes there when it is.
 */
#include "dispatch/private.h"
#include "http/text.h"

static void route(struct exchange *exchange, const struct http_head *head,
		  struct span inline_body);
static void refuse_route(struct exchange *exchange);
static void to_pool(struct exchange *exchange, struct encode_input *input);
static void answered_early(struct exchange *exchange);

void exchange_submit(struct exchange *exchange, const struct http_head *head,
		     struct span inline_body)
{
	struct connection *connection = exchange->connection;
	const bool reading = connection->reading == exchange;

	if (reading) {
		/* Hold it, should it be answered before its body is here. */
		exchange->dropping_body = true;
		exchange->rest_is_small = head->framing == HTTP_LENGTH &&
					  head->content_length <= DROP_BODY_BYTES &&
					  !exchange->wants_continue;
	}
	route(exchange, head, inline_body);
	if (!reading || connection->gone)
		return;
	if (exchange->state != EXCHANGE_READING) {
		answered_early(exchange);
		return;
	}
	exchange->dropping_body = false;
	if (exchange->wants_continue && exchange_is_first(exchange))
		exchange_continue(exchange);
}

/* Match, and send the request on its way; answers at once where nobody else
 * has to. */
static void route(struct exchange *exchange, const struct http_head *head,
		  struct span inline_body)
{
	struct dispatcher *dispatcher = exchange->connection->dispatcher;
	struct route_match *match = &dispatcher->match;
	ssize_t n = http_decode(dispatcher->path, head->path, false);
	struct encode_input input = {
		.id = exchange->id,
		.head = head,
		.client = span_of(exchange->connection->client),
		.body = inline_body,
		.body_size = inline_body.size,
	};

	if (n < 0) {
		exchange_fail(exchange, 400, "broken percent-encoding in the path");
		return;
	}
	/* The server as a whole (RFC 9110, 9.3.7), and nothing that is called so. */
	if (dispatcher->path[0] == '*') {
		exchange_answer(exchange, 204, (struct span){ 0 }, (struct span){ 0 });
		return;
	}
	input.path = (struct span){ dispatcher->path, (size_t)n };
	input.depth = exchange->connection->call
			      ? call_depth(exchange->connection->call)
			      : 0;
	if (exchange->pool) {
		router_match_pool(dispatcher->options->router, exchange->pool->number,
				  head->method, head->method_text, input.path, match);
	} else {
		memo_route(&dispatcher->memo, dispatcher->options->router, head->method,
			   head->method_text, input.path, match);
	}
	exchange->pool = NULL;
	input.params = match->params;
	input.param_count = match->param_count;
	input.route = match->row;
	exchange->route = match->route;
	switch (match->target) {
	case ROUTE_NONE:
	case ROUTE_METHOD:
		refuse_route(exchange);
		break;
	case ROUTE_MOUNT:
		exchange_answer_file(exchange, head);
		break;
	case ROUTE_STATUS:
		status_answer(exchange, match->row);
		break;
	case ROUTE_LOCAL:
		exchange->is_local = true;
		local_answer(exchange, &input);
		break;
	case ROUTE_POOL:
		exchange->pool = &dispatcher->pools[match->index];
		to_pool(exchange, &input);
		break;
	}
}

static void refuse_route(struct exchange *exchange)
{
	if (exchange->connection->dispatcher->match.target == ROUTE_NONE)
		exchange_fail(exchange, 404, "nothing is at this path");
	else
		exchange_refuse_method(exchange);
}

static void to_pool(struct exchange *exchange, struct encode_input *input)
{
	struct dispatcher *dispatcher = exchange->connection->dispatcher;
	struct pool *pool = exchange->pool;
	const bool whole = exchange->connection->reading != exchange;
	struct seat *seat;

	exchange->began_ms = dispatcher->loop.now_ms;
	exchange->queued_ms = exchange->began_ms;
	if (!exchange_is_first(exchange))
		exchange_promise(exchange, pool_size_of(pool, exchange));
	/* What the application asks itself carries nothing that a client would have shown. */
	if (dispatcher->match.checked && !exchange->connection->call &&
	    !hooks_check(exchange, input))
		return;
	if (whole && list_empty(&pool->queue)) {
		seat = pool_choose(pool, exchange);
		if (seat && slot_send_encoded(seat, exchange, input) == 0)
			return;
		if (seat)
			pool_note_full(seat);
	}
	if (!exchange_take_block(exchange, encode_size(input))) {
		exchange_fail(exchange, 503, "out of memory");
		return;
	}
	encode_request(exchange->block, exchange->block_size, input);
	if (whole)
		pool_enter(exchange);
}

/* The answer is there before the body is: the rest of a small one is read and
 * dropped, before a larger one the connection ends (RFC 9112, 9.3). */
static void answered_early(struct exchange *exchange)
{
	struct connection *connection = exchange->connection;

	if (exchange->keep_alive)
		return;
	connection->reading = NULL;
	exchange->dropping_body = false;
	reader_set_state(connection, CONNECTION_DEAF);
	if (exchange->state == EXCHANGE_DONE && exchange_is_first(exchange))
		exchange_advance(connection);
}
