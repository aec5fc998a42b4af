/* SPDX-License-Identifier: MIT */
/*
 * What the application runs in the dispatcher besides local handlers: its check
 * before requests are queued, and what it does when something has happened. It
 * sees the dispatcher as a worker of the pool "local", which can publish, call
 * pools, set timers and watch descriptors.
 */
#include <errno.h>
#include <stdlib.h>

#include "dispatch/private.h"
#include "handler/encode.h"
#include "http/text.h"

static int publish(struct crew_worker *worker, void *bytes, size_t size,
		   crew_published *done, void *context);
static int call(struct crew_worker *worker, void *bytes, size_t size,
		crew_answered *done, void *context);
static int knows_pool(const struct crew_worker *worker, const char *pool);
static char *status(struct crew_worker *worker);

void hooks_init(struct dispatcher *dispatcher)
{
	dispatcher->local_worker = (struct crew_worker){
		.pool = "local",
		.index = dispatcher->self->index,
		.generation = dispatcher->self->generation,
		.is_dispatcher = true,
		.channel = dispatcher->self->channel,
		.publish = publish,
		.call = call,
		.knows_pool = knows_pool,
		.status = status,
	};
	worker_events_init(&dispatcher->local_worker, &dispatcher->loop);
	list_init(&dispatcher->calls_new);
	list_init(&dispatcher->calls_done);
}

int hooks_start(struct dispatcher *dispatcher)
{
	const struct crew_hooks *hooks = &dispatcher->server->hooks;

	return hooks->on_start ? hooks->on_start(&dispatcher->local_worker) : 0;
}

void hooks_fini(struct dispatcher *dispatcher)
{
	if (dispatcher->server->hooks.on_stop)
		dispatcher->server->hooks.on_stop(&dispatcher->local_worker);
	worker_events_fini(&dispatcher->local_worker);
}

bool hooks_check(struct exchange *exchange, struct encode_input *input)
{
	struct dispatcher *dispatcher = exchange->connection->dispatcher;
	static struct request_value values[REQUEST_VALUES_MAX];
	struct crew_request request;
	struct encode_input head = *input;
	uint32_t size;
	void *block;
	bool answered;

	/* Its head alone is asked about. */
	head.body = (struct span){ 0 };
	head.body_size = 0;
	size = encode_size(&head);
	arena_reset(&dispatcher->arena);
	block = arena_alloc(&dispatcher->arena, size);
	if (!block) {
		exchange_fail(exchange, 503, "out of memory");
		return false;
	}
	encode_request(block, size, &head);
	request_init(&request, block, (struct span){ 0 }, &dispatcher->local_worker,
		     &dispatcher->arena);
	request.values = values;
	answered = request_check(&request, dispatcher->server->hooks.check, "check");
	if (answered)
		exchange_answer(exchange, request.status,
				(struct span){ request.headers, request.headers_size },
				request.reply_body);
	request_fini(&request);
	/* The values stay in the arena until the request was encoded. */
	input->values = values;
	input->value_count = request.value_count;
	return !answered;
}

void hooks_note(struct exchange *exchange, const struct http_head *head)
{
	struct dispatcher *dispatcher = exchange->connection->dispatcher;
	const ssize_t n = http_decode(dispatcher->path, head->path, false);
	const struct span path = n < 0 ? head->path
				       : (struct span){ dispatcher->path, (size_t)n };
	const struct span method = head->method_text;
	char *label;

	exchange->began_ms = dispatcher->loop.now_ms;
	label = calloc(1, method.size + path.size + 2);
	if (!label)
		return;
	memcpy(label, method.at, method.size);
	memcpy(label + method.size + 1, path.at, path.size);
	exchange->label = label;
}

/* What has no name is no request: nothing was parsed. */
void hooks_responded(struct exchange *exchange)
{
	struct dispatcher *dispatcher = exchange->connection->dispatcher;
	struct crew_response response = {
		.id = exchange->id,
		.client = exchange->connection->client,
		.pool = exchange->pool ? exchange->pool->name : "",
		.status = exchange->status,
		.body_bytes = exchange->is_bodyless ? 0 : exchange->answer_sent,
		.duration_ms = (unsigned)(dispatcher->loop.now_ms - exchange->began_ms),
		.whole = exchange_was_written(exchange),
	};

	if (!exchange->label)
		return;
	response.method = exchange->label;
	response.path = exchange->label + strlen(exchange->label) + 1;
	dispatcher->server->hooks.on_response(&dispatcher->local_worker, &response);
}

void hooks_idle(struct dispatcher *dispatcher)
{
	if (dispatcher->server->hooks.on_idle)
		dispatcher->server->hooks.on_idle(&dispatcher->local_worker);
}

void hooks_worker_exit(struct pool *pool, unsigned index, unsigned cause)
{
	struct dispatcher *dispatcher = pool->dispatcher;

	if (dispatcher->server->hooks.on_worker_exit)
		dispatcher->server->hooks.on_worker_exit(
			&dispatcher->local_worker, pool->name, index,
			(enum crew_cause)cause);
}

static struct dispatcher *dispatcher_of(struct crew_worker *worker)
{
	return container_of(worker, struct dispatcher, local_worker);
}

static char *status(struct crew_worker *worker)
{
	return status_text(dispatcher_of(worker));
}

static int publish(struct crew_worker *worker, void *bytes, size_t size,
		   crew_published *done, void *context)
{
	struct wire_publish head;
	const char *at = (const char *)bytes + sizeof(head);
	unsigned count;
	int r;

	if (dispatcher_of(worker)->over)
		return -ENOTCONN;
	memcpy(&head, bytes, sizeof(head));
	r = sisters_publish(dispatcher_of(worker), bytes, size);
	if (r < 0)
		return r;
	count = topic_publish(dispatcher_of(worker), (struct span){ at, head.topic_size },
			      (struct span){ at + head.topic_size, head.event_size });
	if (done)
		done(worker, count, context);
	return 0;
}

static int call(struct crew_worker *worker, void *bytes, size_t size,
		crew_answered *done, void *context)
{
	if (dispatcher_of(worker)->over)
		return -ENOTCONN;
	return call_begin(dispatcher_of(worker), NULL, (struct span){ bytes, size },
			  done, context);
}

static int knows_pool(const struct crew_worker *worker, const char *pool)
{
	const struct dispatcher *dispatcher =
		container_of(worker, const struct dispatcher, local_worker);

	for (unsigned i = 0; pool && i < dispatcher->pool_count; i++) {
		if (strcmp(dispatcher->pools[i].name, pool) == 0)
			return (int)i;
	}
	return -ENOENT;
}
