/* SPDX-License-Identifier: MIT */
/*
 * Saying no: the answers that the dispatcher makes itself, and the log lines
 * about clients that send nonsense, at most one a second for each of them. A
 * table of marks by a hash of the address bounds what that costs; two clients
 * that share a mark share its line.
 */
#include <stdio.h>

#include "base/log.h"
#include "dispatch/private.h"
#include "http/respond.h"
#include "http/text.h"

#define REFUSAL_BYTES 2048u

static bool may_log(const struct connection *connection);
static void add_wants(struct dispatcher *dispatcher, struct http_wants *wants,
		      struct span accept, unsigned before);

void refusal_of_parser(struct connection *connection, int status, const char *why)
{
	struct exchange *exchange = connection->reading;

	/* Who was answered already is told nothing more. */
	if (!exchange || exchange->state == EXCHANGE_READING)
		refusal_log(connection, status, why);
	reader_set_state(connection, CONNECTION_DEAF);
	if (exchange) {
		connection->reading = NULL;
		exchange->dropping_body = false;
		exchange->keep_alive = false;
		connection->closing = true;
		if (exchange->state == EXCHANGE_READING)
			exchange_fail(exchange, status, why);
		else
			exchange_advance(connection);
		return;
	}
	/* The parser gave no head: there is nothing to hold on to. */
	connection->dispatcher->head = (struct http_head){ .minor = 1 };
	exchange = exchange_new(connection, &connection->dispatcher->head);
	if (!exchange) {
		connection_drop(connection);
		return;
	}
	exchange->keep_alive = false;
	exchange_fail(exchange, status, why);
}

void refusal_log(struct connection *connection, int status, const char *why)
{
	if (may_log(connection))
		log_warning("refused a request of %s with %d: %s",
			    connection->client, status, why);
}

void refusal_note(struct connection *connection, const char *what)
{
	if (may_log(connection))
		log_warning("%s: %s", connection->client, what);
}

static bool may_log(const struct connection *connection)
{
	struct dispatcher *dispatcher = connection->dispatcher;

	return refusal_is_due(
		&dispatcher->refused_ms[connection->address_hash % REFUSAL_MARKS],
		dispatcher->loop.now_ms);
}

bool refusal_is_due(uint64_t *at_ms, uint64_t now_ms)
{
	if (*at_ms && now_ms - *at_ms < 1000)
		return false;
	*at_ms = now_ms;
	return true;
}

int refusal_form(struct dispatcher *dispatcher, const struct http_head *head)
{
	struct http_wants wants = { 0 };
	unsigned lines = 0;

	for (uint32_t i = 0; i < head->header_count; i++) {
		if (span_equal_nocase(head->headers[i].name,
				      (struct span){ "accept", 6 }))
			add_wants(dispatcher, &wants, head->headers[i].value, lines++);
	}
	return (int)http_error_form_of(&wants);
}

/* Most requests have one line of it, which says what that of the one before them said. */
static void add_wants(struct dispatcher *dispatcher, struct http_wants *wants,
		      struct span accept, unsigned before)
{
	const struct span last = { dispatcher->accept, dispatcher->accept_size };

	if (before == 0 && span_equal(accept, last)) {
		*wants = dispatcher->accept_wants;
		return;
	}
	http_wants_add(wants, accept);
	if (before > 0 || accept.size > sizeof(dispatcher->accept))
		return;
	memcpy(dispatcher->accept, accept.at, accept.size);
	dispatcher->accept_size = accept.size;
	dispatcher->accept_wants = *wants;
}

void exchange_fail(struct exchange *exchange, int status, const char *message)
{
	/* 405 says what is allowed: nothing, where no resource is meant (RFC 9110, 15.5.6). */
	exchange_refuse(exchange, status,
			status == 503   ? "Retry-After: 1\r\n"
			: status == 405 ? "Allow: \r\n"
					: "", message);
}

void exchange_fail_body(struct exchange *exchange, int error)
{
	log_error("the body of request %llu cannot be read back: %s",
		  (unsigned long long)exchange->id, strerror(error));
	exchange_fail(exchange, 500, "the body of the request cannot be read back");
}

void exchange_refuse_method(struct exchange *exchange)
{
	char allow[160];

	snprintf(allow, sizeof(allow), "Allow: %s\r\n",
		 exchange->connection->dispatcher->match.allow);
	exchange_refuse(exchange, 405, allow, "this path takes other methods");
}

void exchange_refuse(struct exchange *exchange, int status, const char *headers,
		     const char *message)
{
	char body[REFUSAL_BYTES];
	char lines[512];
	const char *type;
	size_t size;
	int n;

	if (exchange->state == EXCHANGE_ANSWERING && !exchange_unsay(exchange)) {
		connection_break(exchange->connection);
		return;
	}
	size = http_error_body(body, sizeof(body), exchange->error_form, status,
			       message, &type);
	n = snprintf(lines, sizeof(lines), "Content-Type: %s\r\nVary: Accept\r\n%s", type,
		     headers);
	check(n > 0 && (size_t)n < sizeof(lines));
	exchange_answer(exchange, status, (struct span){ lines, (size_t)n },
			(struct span){ body, size });
}
