/* SPDX-License-Identifier: MIT */
/*
 * One request and its answer. The answers of a connection leave in the order
 * of its requests (RFC 9112, 9.3.2): the first exchange writes to the
 * connection, those behind it into buffers of their own until their turn
 * comes. An exchange is freed when its answer is whole, or when its client is
 * gone; a worker that still has it then has an abandoned slot.
 */
#include <stdlib.h>
#include <string.h>

#include "dispatch/private.h"

static void take_head(struct exchange *exchange, const struct http_head *head);
static bool is_over(const struct connection *connection);
static bool must_close(const struct exchange *exchange, uint64_t body_size);
static void write_bytes(struct exchange *exchange, struct span data);
static void finish(struct exchange *exchange);
static void stop_answering(struct exchange *exchange);

struct exchange *exchange_new(struct connection *connection,
			      const struct http_head *head)
{
	struct exchange *exchange = kept_take(&connection->dispatcher->kept_exchanges);

	if (!exchange)
		return NULL;
	*exchange = (struct exchange){ 0 };
	list_init(&exchange->in_connection);
	list_init(&exchange->in_pool);
	list_init(&exchange->subscriptions);
	exchange->connection = connection;
	exchange->file_fd = -1;
	exchange->id = ++connection->dispatcher->next_id;
	take_head(exchange, head);
	if (connection->dispatcher->server->access_log)
		access_asked(exchange, head);
	list_push_back(&connection->exchanges, &exchange->in_connection);
	connection->exchange_count++;
	few_count(connection);
	return exchange;
}

void exchange_free(struct exchange *exchange)
{
	struct connection *connection = exchange->connection;

	topic_forget(exchange);
	if (exchange->state != EXCHANGE_DONE && !connection->call &&
	    connection->dispatcher->server->hooks.on_response)
		hooks_responded(exchange);
	if (connection->dispatcher->server->access_log)
		access_over(exchange);
	if (exchange->pool)
		pool_leave(exchange);
	if (exchange->seat)
		slot_abandon(exchange->seat, exchange->slot);
	exchange_close_file(exchange);
	if (connection->reading == exchange)
		connection->reading = NULL;
	list_remove(&exchange->in_connection);
	connection->exchange_count--;
	connection->promised -= exchange->promised;
	buffer_fini(&exchange->out);
	buffer_fini(&exchange->early);
	free(exchange->label);
	body_fini(&exchange->body);
	exchange_drop_block(exchange);
	kept_give(&connection->dispatcher->kept_exchanges, exchange);
}

bool exchange_take_block(struct exchange *exchange, uint32_t size)
{
	struct kept *kept = &exchange->connection->dispatcher->kept_blocks;

	exchange->block = size <= kept->size ? kept_take(kept) : malloc(size);
	exchange->block_size = size;
	return exchange->block != NULL;
}

void exchange_drop_block(struct exchange *exchange)
{
	struct kept *kept = &exchange->connection->dispatcher->kept_blocks;

	if (exchange->block_size <= kept->size)
		kept_give(kept, exchange->block);
	else
		free(exchange->block);
	exchange->block = NULL;
}

bool exchange_is_first(const struct exchange *exchange)
{
	return exchange->connection->exchanges.next == &exchange->in_connection;
}

void exchange_begin(struct exchange *exchange, int status, struct span headers,
		    uint64_t body_size)
{
	struct connection *connection = exchange->connection;
	struct dispatcher *dispatcher = connection->dispatcher;
	const bool has_body = http_status_has_body(status);
	struct http_answer answer = {
		.status = status,
		.minor = exchange->minor,
		.headers = headers,
		.date = dispatcher_date(dispatcher),
	};
	struct buffer *out = exchange_is_first(exchange) && !connection->broken
				     ? &connection->out
				     : &exchange->out;
	char *place;

	exchange->status = status;
	exchange->is_bodyless = exchange->is_head || !has_body;
	if (connection->call) {
		exchange->answer_left = body_size;
		exchange->state = EXCHANGE_ANSWERING;
		call_head(connection->call, status, headers);
		return;
	}
	exchange->chunked = has_body && body_size == WIRE_UNKNOWN &&
			    exchange->minor > 0;
	if (must_close(exchange, has_body ? body_size : 0))
		exchange->keep_alive = false;
	answer.keep_alive = exchange->keep_alive;
	answer.chunked = exchange->chunked;
	answer.length_known = has_body && body_size != WIRE_UNKNOWN;
	answer.length = body_size;
	exchange->answer_left = body_size;
	exchange->state = EXCHANGE_ANSWERING;
	place = buffer_reserve(out, HTTP_HEAD_ROOM + headers.size);
	if (!place) {
		connection_drop(connection);
		return;
	}
	out->end += http_write_head(place, &answer);
	if (out == &connection->out)
		writer_later(connection);
	if (body_size == WIRE_UNKNOWN && !exchange->chunked && !exchange->is_bodyless)
		connection->ends_answer = true;
}

void exchange_write(struct exchange *exchange, struct span data)
{
	char size_line[18];

	if (data.size == 0)
		return;
	if (exchange->answer_left != WIRE_UNKNOWN) {
		check(data.size <= exchange->answer_left);
		exchange->answer_left -= data.size;
	}
	exchange->answer_sent += data.size;
	if (exchange->is_bodyless)
		return;
	if (exchange->connection->call) {
		call_body(exchange->connection->call, data);
		return;
	}
	if (!exchange->chunked) {
		write_bytes(exchange, data);
		return;
	}
	write_bytes(exchange, (struct span){
		size_line, http_write_chunk_size(size_line, data.size) });
	write_bytes(exchange, data);
	write_bytes(exchange, (struct span){ "\r\n", 2 });
}

void exchange_end(struct exchange *exchange)
{
	if (exchange->connection->call) {
		exchange->state = EXCHANGE_DONE;
		call_over(exchange->connection->call);
		return;
	}
	if (exchange->chunked && !exchange->is_bodyless)
		write_bytes(exchange, (struct span){ "0\r\n\r\n", 5 });
	exchange->state = EXCHANGE_DONE;
	exchange->connection->dispatcher->served++;
	if (exchange->connection->dispatcher->server->hooks.on_response)
		hooks_responded(exchange);
	if (exchange_is_first(exchange))
		exchange_advance(exchange->connection);
}

void exchange_abort(struct exchange *exchange)
{
	if (!exchange_is_first(exchange)) {
		exchange_fail(exchange, 502, "the worker gave up its answer");
		return;
	}
	connection_break(exchange->connection);
}

void exchange_cut(struct exchange *exchange)
{
	struct connection *connection = exchange->connection;

	if (exchange_is_first(exchange)) {
		connection_break(connection);
		return;
	}
	container_of(exchange->in_connection.prev, struct exchange, in_connection)
		->keep_alive = false;
	connection->reading = NULL;
	reader_set_state(connection, CONNECTION_DEAF);
	for (struct list *link = &exchange->in_connection; link != &connection->exchanges;
	     link = link->next)
		stop_answering(container_of(link, struct exchange, in_connection));
}

/* It is freed when those before it are answered. What was whole stays so: that was told. */
static void stop_answering(struct exchange *exchange)
{
	if (exchange->state == EXCHANGE_DONE)
		return;
	if (exchange->pool)
		pool_leave(exchange);
	exchange_unsay(exchange);
	exchange->state = EXCHANGE_READING;
}

bool exchange_unsay(struct exchange *exchange)
{
	if (exchange_is_first(exchange))
		return false;
	if (exchange->seat)
		slot_abandon(exchange->seat, exchange->slot);
	topic_forget(exchange);
	buffer_fini(&exchange->out);
	exchange->answer_sent = 0;
	exchange->credit_owed = 0;
	exchange->events = false;
	return true;
}

void exchange_write_event(struct exchange *exchange, struct span event,
			  struct span framed)
{
	exchange->answer_sent += event.size;
	if (exchange->is_bodyless)
		return;
	if (exchange->connection->call)
		call_body(exchange->connection->call, event);
	else
		write_bytes(exchange, exchange->chunked ? framed : event);
}

void exchange_describe(struct exchange *exchange, const char **ret_method,
		       const char **ret_path)
{
	const struct wire_request *wire = (const void *)exchange->block;

	*ret_method = "?";
	*ret_path = "?";
	if (!wire && exchange->seat)
		slot_label(exchange->seat, exchange->slot);
	if (wire) {
		*ret_method = (const char *)wire + wire->method.offset;
		*ret_path = (const char *)wire + wire->path.offset;
	} else if (exchange->label) {
		*ret_method = exchange->label;
		*ret_path = exchange->label + strlen(exchange->label) + 1;
	}
}

bool exchange_end_stream(struct exchange *exchange)
{
	struct seat *seat = exchange->seat;

	if (exchange->state != EXCHANGE_ANSWERING || !exchange->events)
		return false;
	/* Cut here it would seem to be whole. */
	if (exchange->is_midway && seat) {
		exchange->events = false; /* told once */
		slot_end_stream(seat, exchange->slot);
		return false;
	}
	if (seat)
		slot_abandon(seat, exchange->slot);
	exchange_end(exchange);
	return true;
}

void exchange_answer(struct exchange *exchange, int status, struct span headers,
		     struct span body)
{
	exchange_begin(exchange, status, headers, body.size);
	exchange_write(exchange, body);
	exchange_end(exchange);
}

void exchange_advance(struct connection *connection)
{
	struct exchange *exchange;
	struct span held;

	while (!list_empty(&connection->exchanges) && !connection->gone) {
		exchange = container_of(connection->exchanges.next,
					struct exchange, in_connection);
		held = buffer_span(&exchange->out);
		writer_append(connection, held.at, held.size);
		buffer_fini(&exchange->out);
		/* From now on it counts as what is unsent. */
		connection->promised -= exchange->promised;
		exchange->promised = 0;
		writer_later(connection);
		if (exchange->wants_continue &&
		    exchange->state == EXCHANGE_READING)
			exchange_continue(exchange);
		if (exchange->state != EXCHANGE_DONE || exchange->dropping_body)
			return;
		finish(exchange);
	}
	if (connection->state == CONNECTION_IDLE)
		connection->deadline_ms = connection->dispatcher->loop.now_ms +
			connection->dispatcher->server->idle_timeout_ms;
}

void exchange_promise(struct exchange *exchange, size_t size)
{
	if (size <= exchange->promised)
		return;
	exchange->connection->promised += size - exchange->promised;
	exchange->promised = size;
}

void exchange_continue(struct exchange *exchange)
{
	static const char line[] = "HTTP/1.1 100 Continue\r\n\r\n";

	exchange->wants_continue = false;
	if (exchange->connection->reading == exchange)
		reader_set_state(exchange->connection, CONNECTION_BODY); /* its clock begins */
	writer_append(exchange->connection, line, sizeof(line) - 1);
}

bool exchange_was_written(const struct exchange *exchange)
{
	const struct connection *connection = exchange->connection;

	return exchange->state == EXCHANGE_DONE && !connection->gone && !connection->broken;
}

void exchange_give_up(struct exchange *exchange)
{
	struct connection *connection = exchange->connection;

	exchange->dropping_body = false;
	if (connection->reading == exchange)
		connection->reading = NULL;
	if (exchange->pool && exchange->state == EXCHANGE_QUEUED)
		pool_leave(exchange);
	if (exchange->state == EXCHANGE_ANSWERING)
		connection_break(connection);
	else if (exchange->state == EXCHANGE_DONE)
		exchange_advance(connection);
	else
		exchange_fail(exchange, 503, "the server is stopping");
}

static void take_head(struct exchange *exchange, const struct http_head *head)
{
	exchange->minor = head->minor;
	exchange->keep_alive = head->keep_alive;
	exchange->is_head = head->method == HTTP_HEAD;
	exchange->wants_continue = head->expect_continue;
	exchange->error_form = refusal_form(exchange->connection->dispatcher, head);
}

/* The connection ends with this answer: because nothing else could mark the
 * answer's end, because an unread body is in the way, or because we stop. */
static bool must_close(const struct exchange *exchange, uint64_t body_size)
{
	const struct connection *connection = exchange->connection;

	if (body_size == WIRE_UNKNOWN && !exchange->chunked)
		return true;
	if (connection->reading == exchange)
		return !exchange->rest_is_small;
	return is_over(connection) &&
	       exchange->in_connection.next == &connection->exchanges;
}

/* We stop, and all that its client has asked is there. */
static bool is_over(const struct connection *connection)
{
	if (!connection->dispatcher->draining)
		return false;
	return connection->state == CONNECTION_DEAF ||
	       (connection->state != CONNECTION_FULL && !connection->pipelines);
}

static void write_bytes(struct exchange *exchange, struct span data)
{
	struct connection *connection = exchange->connection;

	if (exchange_is_first(exchange)) {
		writer_direct(connection, data);
		return;
	}
	if (!buffer_append(&exchange->out, data.at, data.size))
		connection_drop(connection);
	exchange_promise(exchange, buffer_size(&exchange->out));
}

/* The first exchange is over: its bytes are all in the connection's hands. */
static void finish(struct exchange *exchange)
{
	struct connection *connection = exchange->connection;
	const bool keep_alive = exchange->keep_alive;
	struct list *next;

	exchange_free(exchange);
	if (keep_alive && !(is_over(connection) && list_empty(&connection->exchanges)))
		return;
	connection->closing = true;
	reader_set_state(connection, CONNECTION_DEAF);
	while ((next = connection->exchanges.next) != &connection->exchanges)
		exchange_free(container_of(next, struct exchange, in_connection));
}
