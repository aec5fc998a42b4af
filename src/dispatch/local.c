/* SPDX-License-Identifier: MIT */
/*
 * Local routes: handlers that run in the dispatcher itself, for answers that
 * need no isolation. They see the same request block and make the same replies
 * as in a worker, so a handler can be moved from one place to the other by
 * moving its row, unless it defers or streams, or uses what only workers have.
 */
#include <stdlib.h>

#include "dispatch/private.h"
#include "handler/encode.h"

static void run(struct exchange *exchange, const struct wire_request *wire,
		struct span body);

void local_answer(struct exchange *exchange, const struct encode_input *input)
{
	struct dispatcher *dispatcher = exchange->connection->dispatcher;
	const uint32_t size = encode_size(input);
	const struct wire_request *wire;
	void *block;

	if (exchange->connection->reading == exchange)
		block = exchange_take_block(exchange, size) ? exchange->block : NULL;
	else
		block = arena_alloc(&dispatcher->arena, size);
	if (!block) {
		exchange_fail(exchange, 503, "out of memory");
		return;
	}
	encode_request(block, size, input);
	if (exchange->block)
		return;
	wire = block;
	run(exchange, wire,
	    (struct span){ (char *)block + wire->body.offset, wire->body.size });
}

void local_answer_block(struct exchange *exchange)
{
	struct dispatcher *dispatcher = exchange->connection->dispatcher;
	struct wire_request *wire = (void *)exchange->block;
	char *body = arena_alloc(&dispatcher->arena, exchange->body.size + 1);
	int r;

	exchange->began_ms = dispatcher->loop.now_ms;
	if (!body) {
		arena_reset(&dispatcher->arena);
		exchange_fail(exchange, 503, "out of memory");
		return;
	}
	r = body_read(&exchange->body, 0, body, exchange->body.size);
	if (r < 0) {
		arena_reset(&dispatcher->arena);
		exchange_fail_body(exchange, -r);
		return;
	}
	wire->body_size = exchange->body.size;
	run(exchange, wire, (struct span){ body, exchange->body.size });
}

static void run(struct exchange *exchange, const struct wire_request *wire,
		struct span body)
{
	struct dispatcher *dispatcher = exchange->connection->dispatcher;
	struct crew_request request;

	request_init(&request, wire, body, &dispatcher->local_worker,
		     &dispatcher->arena);
	request_run(&request, exchange->route->run, exchange->route->on);
	exchange_answer(exchange, request.status,
			(struct span){ request.headers, request.headers_size },
			request.reply_body);
	request_fini(&request);
	arena_reset(&dispatcher->arena);
}
