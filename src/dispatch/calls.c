/* SPDX-License-Identifier: MIT */
/*
 * Requests that no client has sent: a worker's, or a hook's of this process.
 * Such a request has a connection without a socket, so that all that is true of
 * a client's request is true of it too: it is parsed, routed, queued, limited
 * and timed in the same way, and its worker's death is settled in the same way.
 * What differs is where the answer goes: it is put together here and handed over
 * whole, for which there is a deadline; and that the application's check is not
 * asked, which judges what clients show. Each call ends exactly once; whatever
 * becomes of it, its caller is told; where none wants to be, that it failed is
 * logged and counted. An answer to a worker waits here as long as that has much to
 * read already: it may be large, and so may many others be.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "dispatch/call_parts.h"
#include "dispatch/private.h"

/* Of an answer that is told in parts: they share the room of requests. */
#define ANSWER_PART_BYTES (16u * 1024u)
/* How seldom a line is logged of those that nobody is told of. */
#define FAILED_LOG_MS 1000u

struct call {
	struct dispatcher *dispatcher;
	struct connection *connection; /* NULL once it is freed */
	struct timer timer;
	struct list in_list;   /* of its seat; or, if this process has called, of what is
				  new or done there */
	struct seat *seat;     /* where the worker sits that has called; NULL: it has
				  gone, or is this process */
	uint32_t token;
	uint32_t depth;
	uint32_t timeout_ms;   /* 0: its pool's */
	uint64_t pool_ms;      /* what its pool gives it; 0: it has none yet */
	crew_answered *done;
	void *context;
	int status;
	struct buffer answer;  /* header lines, then the body */
	uint32_t headers_size;
	size_t told;           /* bytes of it */
	bool late;             /* begun at a stop when no client was left: not waited for */
	bool over;
	bool untold;           /* it is over, and its caller does not know yet */
	char name[CALL_NAME_BYTES]; /* whom, if nobody is told of its end */
	char *bytes;           /* a call of this process, not yet submitted */
	size_t size;
};

static struct call *call_new(struct dispatcher *dispatcher, struct seat *seat,
			     const struct call_parts *parts);
static void refuse(struct seat *seat, const struct call_parts *parts);
static void note_failed(struct dispatcher *dispatcher, const char *name, int status);
static void hurry(struct call *call);
static bool is_forgotten(const struct call *call);
static bool keep(struct call *call, struct span data);
static void drop_answer(struct call *call);
static void submit(struct call *call);
static void route(struct call *call, const struct call_parts *parts);
static void submit_body(struct call *call, struct exchange *exchange,
			const struct http_head *head, struct span body);
static int set_clock(struct call *call, const struct pool *pool);
static void fail(struct call *call, int status);
static void settle(struct call *call);
static void leave_seat(struct call *call);
static bool tell(struct call *call);
static void too_long(struct loop *loop, struct timer *timer);
static void free_if_done(struct call *call);

int call_begin(struct dispatcher *dispatcher, struct seat *seat, struct span bytes,
	       crew_answered *done, void *context)
{
	struct call_parts parts;
	struct call *call;
	char *copy;

	if (call_take_apart(bytes, &parts) < 0)
		return -EBADMSG;
	if (seat && seat->call_count + dispatcher->call_count >= CALLS_MAX) {
		refuse(seat, &parts);
		return 0;
	}
	copy = malloc(bytes.size);
	call = copy ? call_new(dispatcher, seat, &parts) : NULL;
	if (!call) {
		free(copy);
		if (seat)
			refuse(seat, &parts);
		return -ENOMEM;
	}
	memcpy(copy, bytes.at, bytes.size);
	/* A worker may write there meanwhile: it stands as it was judged. */
	memcpy(copy, &parts.head, sizeof(parts.head));
	call->done = done;
	call->context = context;
	if (is_forgotten(call))
		call_name(call->name, &parts);
	call->bytes = copy;
	call->size = bytes.size;
	if (dispatcher->call_count > CALLS_MAX)
		fail(call, 503);
	else if (seat)
		submit(call);
	else
		list_push_back(&dispatcher->calls_new, &call->in_list);
	return 0;
}

/* Not where they are made: that may be inside of a handler, whose memory the
 * routing of another request would take. */
void calls_submit(struct dispatcher *dispatcher)
{
	struct list *link;

	while ((link = list_pop_front(&dispatcher->calls_new)))
		submit(container_of(link, struct call, in_list));
}

void call_head(struct call *call, int status, struct span headers)
{
	if (call->over)
		return;
	call->status = status;
	if (is_forgotten(call))
		return;
	if (keep(call, headers))
		call->headers_size = (uint32_t)headers.size;
	else
		fail(call, 502);
}

void call_body(struct call *call, struct span data)
{
	if (call->over || is_forgotten(call))
		return;
	if (buffer_size(&call->answer) + data.size > CALL_ANSWER_MAX_BYTES) {
		log_warning("the answer to a call is larger than %u bytes: 502",
			    CALL_ANSWER_MAX_BYTES);
		fail(call, 502);
	} else if (!keep(call, data)) {
		log_error("there is no room for the answer to a call: 502");
		fail(call, 502);
	}
}

void call_over(struct call *call)
{
	settle(call);
}

void call_free(struct call *call)
{
	call->connection = NULL;
	fail(call, 502);
	free_if_done(call);
}

/* The time that its caller has for it stays as it is. */
void call_alive(struct call *call, const struct pool *pool)
{
	if (!call->over && !call->timeout_ms)
		(void)set_clock(call, pool); /* moved, which never fails */
}

unsigned call_depth(const struct call *call)
{
	return call->depth;
}

/* Each that is there now, once: who asks again where nothing has changed is told so in the next
 * turn, after others were heard. */
void calls_call_back(struct dispatcher *dispatcher)
{
	struct list now;
	struct list *link;

	list_init(&now);
	while ((link = list_pop_front(&dispatcher->calls_done)))
		list_push_back(&now, link);
	while ((link = list_pop_front(&now))) {
		struct call *call = container_of(link, struct call, in_list);
		const struct span all = buffer_span(&call->answer);
		const struct crew_answer answer = {
			.status = call->status,
			.headers = all.at ? all.at : "",
			.headers_bytes = call->headers_size,
			.body = all.at ? all.at + call->headers_size : "",
			.body_bytes = all.size - call->headers_size,
		};

		dispatcher->local_worker.depth = call->depth;
		call->done(&dispatcher->local_worker, &answer, call->context);
		dispatcher->local_worker.depth = 0;
		call->untold = false;
		free_if_done(call);
	}
}

bool calls_hold(const struct dispatcher *dispatcher)
{
	if (dispatcher->call_count > dispatcher->late_calls)
		return true;
	list_each(link, (struct list *)(uintptr_t)&dispatcher->calls_done) {
		if (!container_of(link, struct call, in_list)->late)
			return true;
	}
	return false;
}

void calls_open(struct seat *seat)
{
	list_init(&seat->calls);
	list_init(&seat->answers);
}

void calls_tell(struct seat *seat)
{
	while (seat->outbox.bytes < ANSWERS_AHEAD_BYTES && !list_empty(&seat->answers)) {
		struct call *call = container_of(seat->answers.next, struct call, in_list);

		if (!tell(call))
			return;
		list_remove(&call->in_list);
		leave_seat(call);
		free_if_done(call);
	}
}

/* Nobody who sits there later is told of them. */
void calls_close(struct seat *seat)
{
	struct list *link;

	while ((link = list_pop_front(&seat->calls))) {
		struct call *call = container_of(link, struct call, in_list);

		leave_seat(call);
		if (call->token)
			fail(call, 502);
		else
			hurry(call);
	}
	while ((link = list_pop_front(&seat->answers))) {
		struct call *call = container_of(link, struct call, in_list);

		leave_seat(call);
		free_if_done(call);
	}
}

/* Its caller is gone, and cannot have thought of more than what is usual. */
static void hurry(struct call *call)
{
	struct loop *loop = &call->dispatcher->loop;

	if (call->pool_ms && call->timer.due_ms > loop->now_ms + call->pool_ms)
		(void)loop_timer_set(loop, &call->timer, loop->now_ms + call->pool_ms);
}

/* Nobody is told of its end. */
static bool is_forgotten(const struct call *call)
{
	return !call->token && !call->done;
}

static bool keep(struct call *call, struct span data)
{
	struct dispatcher *dispatcher = call->dispatcher;
	const size_t own = call->seat ? call->seat->answer_bytes : 0;

	if (dispatcher->answer_bytes + own + data.size > CALL_ANSWERS_MAX_BYTES ||
	    !buffer_append(&call->answer, data.at, data.size))
		return false;
	dispatcher->answer_bytes += data.size;
	if (call->seat)
		call->seat->answer_bytes += data.size;
	return true;
}

static void drop_answer(struct call *call)
{
	const size_t size = buffer_size(&call->answer);

	call->dispatcher->answer_bytes -= size;
	if (call->seat)
		call->seat->answer_bytes -= size;
	buffer_fini(&call->answer);
	call->headers_size = 0;
}

static struct call *call_new(struct dispatcher *dispatcher, struct seat *seat,
			     const struct call_parts *parts)
{
	struct connection *connection = calloc(1, sizeof(*connection));
	struct call *call = calloc(1, sizeof(*call));

	if (!connection || !call) {
		free(connection);
		free(call);
		return NULL;
	}
	connection->dispatcher = dispatcher;
	connection->watch.fd = -1;
	connection->call = call;
	connection->state = CONNECTION_DEAF;
	list_init(&connection->in_dispatcher);
	list_init(&connection->in_flush);
	list_init(&connection->exchanges);
	snprintf(connection->client, CLIENT_TEXT_BYTES, "call:%s",
		 seat ? seat->pool->name : DISPATCHER_NAME);
	list_push_back(&dispatcher->connections, &connection->in_dispatcher);
	call->dispatcher = dispatcher;
	call->connection = connection;
	call->timer.fire = too_long;
	call->token = parts->head.token;
	call->depth = parts->head.depth;
	call->timeout_ms = parts->head.timeout_ms;
	list_init(&call->in_list);
	call->seat = seat;
	if (seat) {
		list_push_back(&seat->calls, &call->in_list);
		seat->call_count++;
	}
	call->late = dispatcher->draining && dispatcher->connection_count == 0;
	dispatcher->late_calls += call->late;
	dispatcher->call_count++;
	return call;
}

/* There is no room for it. */
static void refuse(struct seat *seat, const struct call_parts *parts)
{
	const struct message none = { .kind = MESSAGE_CALL_ANSWER, .flags = MESSAGE_LAST,
				      .generation = parts->head.token };
	char name[CALL_NAME_BYTES];

	if (parts->head.token) {
		seat_say(seat, &none, NULL);
		return;
	}
	call_name(name, parts);
	note_failed(seat->dispatcher, name, 503);
}

static void note_failed(struct dispatcher *dispatcher, const char *name, int status)
{
	const uint64_t now_ms = dispatcher->loop.now_ms;

	if (dispatcher->calls_failed++ &&
	    now_ms - dispatcher->call_failed_ms < FAILED_LOG_MS)
		return;
	dispatcher->call_failed_ms = now_ms;
	log_warning("a call without a callback (%s) ended with %d; so far %llu have failed",
		    name, status, (unsigned long long)dispatcher->calls_failed);
}

static struct pool *pool_named(struct dispatcher *dispatcher, struct span name)
{
	for (unsigned i = 0; i < dispatcher->pool_count; i++) {
		if (span_equal(span_of(dispatcher->pools[i].name), name))
			return &dispatcher->pools[i];
	}
	return NULL;
}

static void submit(struct call *call)
{
	char *bytes = call->bytes;
	struct call_parts parts;

	call->bytes = NULL;
	/* It was taken apart before, with success. */
	if (call_take_apart((struct span){ bytes, call->size }, &parts) == 0)
		route(call, &parts);
	free(bytes);
}

static void route(struct call *call, const struct call_parts *parts)
{
	struct dispatcher *dispatcher = call->dispatcher;
	struct pool *pool = pool_named(dispatcher, parts->pool);
	/* Not the dispatcher's own: that may hold a client's request just now. */
	struct http_head *head = malloc(sizeof(*head));
	struct buffer text = { 0 };
	struct http_parser parser = { 0 };
	struct exchange *exchange;
	struct span bytes;
	ssize_t n = -500;

	if (parts->pool.size && !pool) {
		fail(call, 404);
		goto out;
	}
	if (head && call_compose(&text, parts)) {
		bytes = buffer_span(&text);
		n = http_parse_head(&parser, &dispatcher->limits, bytes.at, bytes.size,
				    head);
	}
	/* What a worker says may be anything, another header line too. */
	if (n > 0 && ((size_t)n != bytes.size ||
		      head->header_count != CALL_LINES + (parts->type.size > 0)))
		n = -400;
	if (n <= 0) {
		fail(call, n < 0 ? (int)-n : 400);
		goto out;
	}
	exchange = exchange_new(call->connection, head);
	if (!exchange) {
		fail(call, 503);
		goto out;
	}
	exchange->pool = pool;
	submit_body(call, exchange, head, parts->body);
	/* Whose it is is known now; only pools do not answer at once. */
	if (!call->over && !call->connection->gone &&
	    set_clock(call, exchange->pool) < 0)
		fail(call, 503);
out:
	buffer_fini(&text);
	free(head);
}

/* A small body stands in the request's block; a larger one is kept beside it,
 * as if it had been read from a client. */
static void submit_body(struct call *call, struct exchange *exchange,
			const struct http_head *head, struct span body)
{
	struct connection *connection = call->connection;

	if (body.size <= INLINE_BODY_BYTES) {
		exchange_submit(exchange, head, body);
		return;
	}
	connection->reading = exchange;
	exchange_submit(exchange, head, (struct span){ 0 });
	if (call->over || connection->gone || exchange->state != EXCHANGE_READING)
		return;
	connection->reading = NULL;
	if (body_append(&exchange->body, body.at, body.size) < 0)
		exchange_fail(exchange, 503, "out of memory");
	else if (exchange->is_local)
		local_answer_block(exchange);
	else
		pool_enter(exchange);
}

/* For all of it, also of a stream, which its pool sets no deadline. */
static int set_clock(struct call *call, const struct pool *pool)
{
	struct loop *loop = &call->dispatcher->loop;
	uint64_t timeout_ms = call->timeout_ms;

	check(pool);
	call->pool_ms = (uint64_t)pool->options->request_timeout_ms +
			pool->options->queue_timeout_ms;
	if (!timeout_ms)
		timeout_ms = call->pool_ms;
	return loop_timer_set(loop, &call->timer, loop->now_ms + timeout_ms);
}

/* It has no answer but that, whatever has come of one. */
static void fail(struct call *call, int status)
{
	if (call->over)
		return;
	drop_answer(call);
	call->status = status;
	settle(call);
}

/* The call is over: tell whoever made it, and let the rest go. */
static void settle(struct call *call)
{
	struct dispatcher *dispatcher = call->dispatcher;

	if (call->over)
		return;
	call->over = true;
	dispatcher->call_count--;
	dispatcher->late_calls -= call->late;
	if (is_forgotten(call) && call->status >= 400)
		note_failed(dispatcher, call->name, call->status);
	list_remove(&call->in_list);
	loop_timer_clear(&dispatcher->loop, &call->timer);
	if (call->seat && call->token) {
		call->untold = true;
		list_push_back(&call->seat->answers, &call->in_list);
		call->seat->must_ring = true;
	} else if (call->seat) {
		leave_seat(call);
	} else if (call->done) {
		call->untold = true;
		list_push_back(&dispatcher->calls_done, &call->in_list);
	}
	if (call->connection)
		connection_drop(call->connection);
}

/* It is on neither of its lists any more. */
static void leave_seat(struct call *call)
{
	call->seat->call_count--;
	call->seat->answer_bytes -= buffer_size(&call->answer);
	call->seat = NULL;
	call->untold = false;
}

/* The answer to its call: header lines, then the body. False: there is no memory for some of it
 * now; the next time it goes on there. */
static bool tell(struct call *call)
{
	const struct span all = buffer_span(&call->answer);
	struct wire_call_answer head = {
		.token = call->token,
		.status = (uint32_t)call->status,
		.headers_size = call->headers_size,
		.body_size = (uint32_t)(all.size - call->headers_size),
	};
	struct message message = { .kind = MESSAGE_CALL_ANSWER, .generation = call->token };
	char part[ANSWER_PART_BYTES];

	do {
		const size_t before = call->told == 0 ? sizeof(head) : 0;
		size_t size = all.size - call->told;

		if (size > sizeof(part) - before)
			size = sizeof(part) - before;
		if (before)
			memcpy(part, &head, before);
		if (size)
			memcpy(part + before, all.at + call->told, size);
		message.size = (uint32_t)(before + size);
		message.flags = call->told + size == all.size ? MESSAGE_LAST : 0;
		if (!seat_say(call->seat, &message, part))
			return false;
		call->told += size;
	} while (call->told < all.size);
	return true;
}

static void too_long(struct loop *loop, struct timer *timer)
{
	struct call *call = container_of(timer, struct call, timer);

	(void)loop;
	turn_receive(call->dispatcher); /* see pool_deadline() */
	/* It may be over, or have said that it goes on. */
	if (call->over || loop_timer_is_set(&call->timer))
		return;
	fail(call, 504);
}

static void free_if_done(struct call *call)
{
	if (call->connection || call->untold)
		return;
	drop_answer(call);
	free(call->bytes);
	free(call);
}
