/* SPDX-License-Identifier: MIT */
/*
 * From bytes to requests. All connections are read into scratch buffers of
 * the dispatcher, and parsed there; only what is left of an incomplete head is
 * kept by the connection, or what its answers have no room for yet. A request that
 * is whole in one read, which is nearly every one, is so never copied before it is
 * encoded for its worker.
 *
 * A fault ends the reading for good: there is no telling where the next
 * request would begin (RFC 9112, 11.2). What was asked before is answered.
 */
#include <errno.h>
#include <sys/socket.h>

#include "base/log.h"
#include "base/os/os.h"
#include "dispatch/private.h"

static bool has_enough(const struct connection *connection);
static ssize_t read_some(struct connection *connection, struct span *ret_bytes);
static ssize_t take_ahead(struct connection *connection, struct span *ret_bytes);
static ssize_t receive(const struct connection *connection, char *place, size_t room);
static char *reading_place(struct connection *connection);
static void read_again(struct connection *connection);
static void end_of_file(struct connection *connection);
static size_t feed(struct connection *connection, struct span bytes);
static ssize_t feed_head(struct connection *connection, struct span bytes);
static ssize_t feed_body(struct connection *connection, struct span bytes);
static ssize_t request_begins(struct connection *connection, ssize_t head_size,
			      struct span bytes);
static bool body_is_here(const struct http_head *head, struct span rest);
static bool another_begins(struct span rest);
static bool keep_body(struct connection *connection, struct span data);
static void body_over(struct connection *connection);
static void drop_input(struct connection *connection);
static void linger_on(struct connection *connection);

void reader_ready(struct connection *connection)
{
	struct span bytes;
	size_t used;
	ssize_t n;
	bool more;

	if (connection->state == CONNECTION_LINGER) {
		drop_input(connection);
		return;
	}
	if (has_enough(connection)) {
		bytes = buffer_span(&connection->in);
		n = -EAGAIN;
		more = true;
	} else {
		n = read_some(connection, &bytes);
		more = n == READ_BYTES || (n > 0 && connection->read_on);
	}
	connection->unread = more;
	if (n == -EAGAIN && bytes.size == 0)
		return;
	if (n < 0 && n != -EAGAIN) {
		connection_drop(connection);
		return;
	}
	if (n == 0)
		connection->peer_closed = true;
	used = feed(connection, bytes);
	if (connection->gone)
		return;
	if (connection->state == CONNECTION_DEAF || used == bytes.size)
		buffer_fini(&connection->in);
	else if (buffer_size(&connection->in))
		buffer_drain(&connection->in, used);
	else if (!buffer_append(&connection->in, bytes.at + used,
				bytes.size - used))
		connection_drop(connection);
	if (connection->peer_closed)
		end_of_file(connection);
	connection_update(connection);
	if (more && !connection->gone)
		read_again(connection);
}

void reader_set_state(struct connection *connection, enum connection_state state)
{
	struct dispatcher *dispatcher = connection->dispatcher;
	const struct crew_server *server = dispatcher->server;
	const uint64_t now = dispatcher->loop.now_ms;

	connection->state = state;
	switch (state) {
	case CONNECTION_IDLE:
		connection->deadline_ms = now + server->idle_timeout_ms;
		break;
	case CONNECTION_HEAD:
		connection->deadline_ms = now + server->head_timeout_ms;
		break;
	case CONNECTION_BODY:
		connection->deadline_ms = now + server->body_timeout_ms;
		break;
	case CONNECTION_LINGER:
		connection->deadline_ms = now + LINGER_MS;
		break;
	case CONNECTION_FULL:
	case CONNECTION_DEAF:
		connection->deadline_ms = 0;
		return;
	}
	if (!loop_timer_is_set(&connection->timer) ||
	    connection->timer.due_ms > connection->deadline_ms)
		loop_timer_set(&dispatcher->loop, &connection->timer,
			       connection->deadline_ms);
}

static void read_again(struct connection *connection)
{
	if (loop_rearm(&connection->dispatcher->loop, &connection->watch) < 0)
		connection_drop(connection);
}

/* What was read before holds a whole head, or what is refused as one: it was left since
 * there was no room for more answers. Reading on would keep in memory what a client that
 * asks faster than it is answered can keep itself. Nor is more taken when we stop. */
static bool has_enough(const struct connection *connection)
{
	const struct dispatcher *dispatcher = connection->dispatcher;

	if (connection->resuming && dispatcher->draining)
		return true;
	return !connection->reading &&
	       buffer_size(&connection->in) > dispatcher->limits.head_max_bytes;
}

/* Read once, unless that was done with others; what is given to the parser begins with
 * what was left before. */
static ssize_t read_some(struct connection *connection, struct span *ret_bytes)
{
	struct buffer *in = &connection->in;
	char *place;
	ssize_t n;

	if (connection->ahead) {
		n = take_ahead(connection, ret_bytes);
		if (n != BATCH_UNDONE)
			return n;
	}
	place = reading_place(connection);
	*ret_bytes = (struct span){ place, 0 };
	if (buffer_size(in)) {
		place = buffer_reserve(in, READ_BYTES);
		if (!place)
			return -ENOMEM;
		*ret_bytes = buffer_span(in);
	}
	if (connection->peer_closed)
		return 0;
	n = receive(connection, place, READ_BYTES);
	if (n < 0)
		return n;
	if (buffer_size(in))
		in->end += (size_t)n;
	ret_bytes->size += (size_t)n;
	return n;
}

/* What was read of it with others (ahead.c). If its room was too small for all, the rest
 * is read now, so that a request is whole that would have been. */
static ssize_t take_ahead(struct connection *connection, struct span *ret_bytes)
{
	struct dispatcher *dispatcher = connection->dispatcher;
	char *place;
	ssize_t n = ahead_take(connection, &place);
	ssize_t rest;

	*ret_bytes = (struct span){ place, n > 0 ? (size_t)n : 0 };
	if (n < (ssize_t)AHEAD_BYTES)
		return n;
	memcpy(dispatcher->input, place, AHEAD_BYTES);
	rest = receive(connection, dispatcher->input + AHEAD_BYTES,
		       READ_BYTES - AHEAD_BYTES);
	/* An end or a fault is met again: it is asked for once more. */
	if (rest <= 0 && rest != -EAGAIN)
		connection->read_on = true;
	if (rest > 0)
		n += rest;
	*ret_bytes = (struct span){ dispatcher->input, (size_t)n };
	return n;
}

/* A client of a Unix socket may send descriptors along. */
static ssize_t receive(const struct connection *connection, char *place, size_t room)
{
	ssize_t n;

	if (!connection->edge)
		return os_receive(connection->watch.fd, place, room, NULL);
	do
		n = recv(connection->watch.fd, place, room, 0);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

/* Where all connections are read; but what is a body's to its last byte, and stays in
 * memory, goes where it stays. */
static char *reading_place(struct connection *connection)
{
	struct exchange *reading = connection->reading;
	char *place = NULL;

	if (reading && !reading->dropping_body &&
	    connection->body.framing == HTTP_LENGTH &&
	    connection->body.remaining >= READ_BYTES)
		place = body_place(&reading->body, READ_BYTES);
	return place ? place : connection->dispatcher->input;
}

/* The client will send no more, but may still wait for answers. */
static void end_of_file(struct connection *connection)
{
	if (connection->gone || connection->state == CONNECTION_FULL)
		return;
	/* Who has not said all has left; but what it had asked before is answered. */
	if (connection->reading && exchange_is_first(connection->reading) &&
	    buffer_size(&connection->out) == 0) {
		connection_drop(connection);
		return;
	}
	connection_half_closed(connection);
	if (connection->reading && !connection->gone && !connection->broken)
		refusal_of_parser(connection, 400, "the body of the request ended early");
	reader_set_state(connection, CONNECTION_DEAF);
	if (list_empty(&connection->exchanges) &&
	    buffer_size(&connection->out) == 0)
		connection_drop(connection);
	else
		connection->closing = true;
}

/* Parse as much as there is; returns how many bytes were used. */
static size_t feed(struct connection *connection, struct span bytes)
{
	const size_t size = bytes.size;
	ssize_t n;

	while (bytes.size > 0 && !connection->gone) {
		if (connection->state == CONNECTION_DEAF ||
		    connection->state == CONNECTION_LINGER)
			return size;
		if (!connection->reading &&
		    (connection->exchange_count >= PIPELINE_MAX ||
		     connection->files >= PIPELINED_FILES_MAX ||
		     connection->promised > OUT_HIGH_BYTES ||
		     buffer_size(&connection->out) > OUT_HIGH_BYTES)) {
			reader_set_state(connection, CONNECTION_FULL);
			break;
		}
		n = connection->reading ? feed_body(connection, bytes)
					: feed_head(connection, bytes);
		if (n <= 0)
			break;
		bytes.at += n;
		bytes.size -= (size_t)n;
	}
	return size - bytes.size;
}

static ssize_t feed_head(struct connection *connection, struct span bytes)
{
	struct dispatcher *dispatcher = connection->dispatcher;
	ssize_t n = http_parse_head(&connection->parser, &dispatcher->limits,
				    bytes.at, bytes.size, &dispatcher->head);
	enum connection_state begun;

	if (n < 0) {
		refusal_of_parser(connection, (int)-n,
				  http_fault(&connection->parser));
		return (ssize_t)bytes.size;
	}
	if (n == 0) {
		begun = http_has_begun(&connection->parser) ? CONNECTION_HEAD
							    : CONNECTION_IDLE;
		if (connection->state != begun)
			reader_set_state(connection, begun);
		return 0;
	}
	connection->parser = (struct http_parser){ 0 };
	/* As if it had said so, but it may send on. */
	if (connection->finishing)
		dispatcher->head.keep_alive = false;
	bytes.at += n;
	bytes.size -= (size_t)n;
	return request_begins(connection, n, bytes);
}

/* A head is whole; `rest` are the bytes behind it. Returns how many bytes of
 * head and rest are used. */
static ssize_t request_begins(struct connection *connection, ssize_t head_size,
			      struct span rest)
{
	struct dispatcher *dispatcher = connection->dispatcher;
	const struct http_head *head = &dispatcher->head;
	struct span body = { NULL, 0 };
	struct exchange *exchange = exchange_new(connection, head);

	if (!exchange) {
		connection_drop(connection);
		return head_size;
	}
	if (dispatcher->server->hooks.on_response)
		hooks_note(exchange, head);
	if (http_body_init(&connection->body, &dispatcher->limits, head) < 0) {
		connection->reading = exchange;
		refusal_of_parser(connection, 413, "the body is too large");
		return head_size;
	}
	if (body_is_here(head, rest)) {
		body = (struct span){ rest.at, head->content_length };
		if (head->framing == HTTP_NO_BODY)
			body.size = 0;
		reader_set_state(connection, head->keep_alive ? CONNECTION_IDLE
							      : CONNECTION_DEAF);
		exchange->wants_continue = false;
		connection->asked_all = !head->keep_alive && !connection->finishing;
		connection->pipelines =
			rest.size > body.size &&
			another_begins((struct span){ rest.at + body.size,
						      rest.size - body.size });
		exchange_submit(exchange, head, body);
		return head_size + (ssize_t)body.size;
	}
	connection->reading = exchange;
	connection->pipelines = false;
	reader_set_state(connection, CONNECTION_BODY);
	exchange_submit(exchange, head, body);
	/* Not for one that was refused. */
	if (connection->reading == exchange && !exchange->dropping_body &&
	    head->framing == HTTP_LENGTH)
		body_expect(&exchange->body, head->content_length);
	return head_size;
}

static bool body_is_here(const struct http_head *head, struct span rest)
{
	if (head->framing == HTTP_NO_BODY)
		return true;
	return head->framing == HTTP_LENGTH &&
	       head->content_length <= INLINE_BODY_BYTES &&
	       head->content_length <= rest.size;
}

/* Some send a line end behind a body, which belongs to nothing (RFC 9112, 2.2). */
static bool another_begins(struct span rest)
{
	while (rest.size > 0 && (rest.at[0] == '\r' || rest.at[0] == '\n')) {
		rest.at++;
		rest.size--;
	}
	return rest.size > 0;
}

static ssize_t feed_body(struct connection *connection, struct span bytes)
{
	struct dispatcher *dispatcher = connection->dispatcher;
	struct exchange *exchange = connection->reading;
	const size_t size = bytes.size;
	struct span data;
	size_t used;
	int r;

	exchange->wants_continue = false;
	reader_set_state(connection, CONNECTION_BODY);
	/* Once more when all is used: only then does it say that it is done. */
	do {
		used = 0;
		r = http_body_next(&connection->body, &dispatcher->limits,
				   bytes.at, bytes.size, &used, &data);
		if (r < 0) {
			refusal_of_parser(connection, -r,
					  connection->body.fault
						  ? connection->body.fault
						  : "the body is malformed");
			return (ssize_t)size;
		}
		bytes.at += used;
		bytes.size -= used;
		if (r == HTTP_BODY_DATA && !keep_body(connection, data))
			return (ssize_t)size;
	} while (r == HTTP_BODY_DATA);
	if (r == HTTP_BODY_DONE)
		body_over(connection);
	return (ssize_t)(size - bytes.size);
}

/* False if there is no room for it; then the client was told. */
static bool keep_body(struct connection *connection, struct span data)
{
	struct dispatcher *dispatcher = connection->dispatcher;
	struct exchange *exchange = connection->reading;
	int r;

	if (exchange->dropping_body)
		return true;
	r = body_append(&exchange->body, data.at, data.size);
	if (r == 0 && exchange->body.fd > dispatcher->fds_max)
		r = -EMFILE;
	if (r == 0)
		return true;
	if (refusal_is_due(&dispatcher->body_failed_ms, dispatcher->loop.now_ms))
		log_error("cannot keep the body of a request in %s ($TMPDIR, else /tmp): %s",
			  body_directory(), strerror(-r));
	refusal_of_parser(connection, 507, "there is no room for the body");
	return false;
}

static void body_over(struct connection *connection)
{
	struct exchange *exchange = connection->reading;

	connection->reading = NULL;
	reader_set_state(connection, exchange->keep_alive ? CONNECTION_IDLE
							  : CONNECTION_DEAF);
	if (exchange->dropping_body) {
		exchange->dropping_body = false;
		if (exchange->state == EXCHANGE_DONE)
			exchange_advance(connection);
		return;
	}
	if (exchange->is_local)
		local_answer_block(exchange);
	else
		pool_enter(exchange);
}

/* The connection is over for us; let the client finish its sentence, so that
 * the kernel does not throw our answer away with a reset (RFC 9112, 9.6). */
static void drop_input(struct connection *connection)
{
	ssize_t n = receive(connection, connection->dispatcher->input, READ_BYTES);

	if (n == 0 || (n < 0 && n != -EAGAIN))
		connection_drop(connection);
	else if (n > 0)
		read_again(connection);
	if (n > 0)
		linger_on(connection);
}

/* It sends on, and may not have seen our answer. */
static void linger_on(struct connection *connection)
{
	const struct dispatcher *dispatcher = connection->dispatcher;
	const uint64_t due = dispatcher->loop.now_ms + LINGER_MS;

	if (!dispatcher->draining)
		connection->deadline_ms = due < connection->linger_until_ms
						  ? due
						  : connection->linger_until_ms;
}
