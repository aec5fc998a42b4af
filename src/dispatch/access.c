/* SPDX-License-Identifier: MIT */
/*
 * The access log: one line for each request of a client, when the last of its answer
 * has gone to its connection's buffer, or will not any more, so that the lines of a
 * connection stand in the order of its requests. What was asked is noted when its head
 * is there, since nothing else keeps the target as it was sent; of what the parser
 * refused nothing is known but the answer.
 *
 * The request line stands between quotes: a quote or a backslash in it is written as a
 * number, so that a client can end it no sooner. All else that could do harm the parser
 * refuses, and the log escapes.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "dispatch/private.h"

/* Of the request line as it is shown: the rest of the line always has room in the log's. */
#define SHOWN_BYTES 7168u

struct asked {
	uint64_t at_ns;
	size_t size;
	char line[];
};

static void quote(char *out, size_t room, const char *text, size_t size);

void access_asked(struct exchange *exchange, const struct http_head *head)
{
	const struct span method = head->method_text;
	const struct span target = head->target;
	const size_t room = method.size + target.size + sizeof("  HTTP/1.1");
	struct asked *asked;

	if (exchange->connection->call || method.size == 0)
		return;
	asked = malloc(sizeof(*asked) + room);
	if (!asked)
		return;
	asked->at_ns = clock_now_ns();
	asked->size = room - 1;
	snprintf(asked->line, room, "%.*s %.*s HTTP/1.%d", (int)method.size, method.at,
		 (int)target.size, target.at, head->minor);
	exchange->asked = asked;
}

void access_over(struct exchange *exchange)
{
	struct asked *asked = exchange->asked;
	char line[SHOWN_BYTES] = "-";
	char status[16] = "-";
	char took[32] = "-";

	if (exchange->connection->call)
		return;
	if (asked) {
		quote(line, sizeof(line), asked->line, asked->size);
		snprintf(took, sizeof(took), "%.3f",
			 (double)(clock_now_ns() - asked->at_ns) / 1e6);
	}
	if (exchange->status)
		snprintf(status, sizeof(status), "%d", exchange->status);
	log_access("access %s \"%s\" %s %llu %s ms %s%s", exchange->connection->client, line,
		   status,
		   (unsigned long long)(exchange->is_bodyless ? 0 : exchange->answer_sent),
		   took, exchange->pool ? exchange->pool->name : "-",
		   /* Or it was whole, and those before it were not. */
		   exchange_was_written(exchange) && buffer_size(&exchange->out) == 0 ? ""
										      : " cut");
	free(asked);
	exchange->asked = NULL;
}

/* What has no room is cut, with a mark. */
static void quote(char *out, size_t room, const char *text, size_t size)
{
	static const char cut[] = " [cut]";
	const char *end = out + room - sizeof(cut) - 4;
	size_t i;

	for (i = 0; i < size && out < end; i++) {
		if (text[i] == '"' || text[i] == '\\')
			out += snprintf(out, 5, "\\x%02x", (unsigned char)text[i]);
		else
			*out++ = text[i];
	}
	snprintf(out, sizeof(cut), "%s", i < size ? cut : "");
}
