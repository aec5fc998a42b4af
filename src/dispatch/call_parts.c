/* SPDX-License-Identifier: MIT */
/*
 * A call's bytes are a worker's, and may be anything: their sizes are copied once and have to
 * add up. Texts are not judged here, but where a client's are: in the head that they are put
 * together to.
 */
#include "dispatch/call_parts.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define HEAD_ROOM 256u

int call_take_apart(struct span bytes, struct call_parts *parts)
{
	const struct wire_call *head = &parts->head;
	uint64_t sum;
	const char *at;

	if (bytes.size < sizeof(*head) || bytes.size > WIRE_CALL_MAX_BYTES)
		return -EBADMSG;
	memcpy(&parts->head, bytes.at, sizeof(*head));
	sum = sizeof(*head) + (uint64_t)head->pool_size + head->method_size +
	      head->target_size + head->type_size + head->body_size;
	if (sum != bytes.size || head->depth == 0 || head->depth > WIRE_CALL_DEPTH_MAX)
		return -EBADMSG;
	at = bytes.at + sizeof(*head);
	parts->pool = (struct span){ at, head->pool_size };
	parts->method = (struct span){ at += head->pool_size, head->method_size };
	parts->target = (struct span){ at += head->method_size, head->target_size };
	parts->type = (struct span){ at += head->target_size, head->type_size };
	parts->body = (struct span){ at + head->type_size, head->body_size };
	return 0;
}

void call_name(char name[CALL_NAME_BYTES], const struct call_parts *parts)
{
	snprintf(name, CALL_NAME_BYTES, "%.*s%s%.*s", (int)parts->pool.size, parts->pool.at,
		 parts->pool.size ? ": " : "", (int)parts->target.size, parts->target.at);
}

bool call_compose(struct buffer *text, const struct call_parts *parts)
{
	char *place = buffer_reserve(text, HEAD_ROOM + parts->method.size +
						   parts->target.size +
						   parts->type.size);
	int n;

	if (!place)
		return false;
	n = snprintf(place, HEAD_ROOM + parts->method.size + parts->target.size +
				    parts->type.size,
		     "%.*s %.*s HTTP/1.1\r\nHost: crew.internal\r\n%s%.*s%s"
		     "Content-Length: %zu\r\n\r\n",
		     (int)parts->method.size, parts->method.at,
		     (int)parts->target.size, parts->target.at,
		     parts->type.size ? "Content-Type: " : "",
		     (int)parts->type.size, parts->type.at,
		     parts->type.size ? "\r\n" : "", parts->body.size);
	text->end += (size_t)n;
	return true;
}
