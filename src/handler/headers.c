/* SPDX-License-Identifier: MIT */
/*
 * The header lines of an answer, as the text that goes over the wire. Names
 * and values are checked when they are set, where the handler can see the
 * result; the dispatcher checks them again, since it trusts no worker. The
 * Content-Type is kept apart until the end: whichever reply counts decides it,
 * unless the handler has said it itself, and is not answered with an error.
 */
#include <errno.h>

#include "handler/reply.h"
#include "http/respond.h"

#define FIRST_ROOM 256u

static int add_line(struct crew_request *request, struct span name,
		    struct span value);
static int make_room(struct crew_request *request, size_t size);

int crew_set_header(struct crew_request *request, const char *name,
		    const char *value)
{
	struct span name_span;
	struct span value_span;
	const char *copy;

	if (!name || !value)
		return -EINVAL;
	name_span = span_of(name);
	value_span = span_of(value);
	if (!http_name_ok(name_span) || !http_value_ok(value_span) ||
	    http_name_is_reserved(name_span))
		return -EINVAL;
	if (!span_equal_nocase(name_span, span_of("content-type")))
		return add_line(request, name_span, value_span);
	copy = arena_copy(request->arena, value, value_span.size);
	if (!copy)
		return -ENOMEM;
	request->type_set = copy;
	return 0;
}

int reply_finish_headers(struct crew_request *request)
{
	/* It meant its own answer: an error's body is not of that type. */
	const char *type = request->type_set && !request->error_text ? request->type_set
								     : request->type;
	int r;

	if (request->head_sealed)
		return 0;
	if (type) {
		r = add_line(request, span_of("Content-Type"), span_of(type));
		if (r < 0)
			return r;
	}
	/* The form of an error is chosen by it (RFC 9110, 12.5.5). */
	if (request->error_text) {
		r = add_line(request, span_of("Vary"), span_of("Accept"));
		if (r < 0)
			return r;
	}
	if (request->location)
		return add_line(request, span_of("Location"),
				span_of(request->location));
	return 0;
}

static int add_line(struct crew_request *request, struct span name,
		    struct span value)
{
	char *at;
	int r;

	r = make_room(request, name.size + value.size + 4);
	if (r < 0)
		return r;
	at = request->headers + request->headers_size;
	memcpy(at, name.at, name.size);
	at += name.size;
	*at++ = ':';
	*at++ = ' ';
	memcpy(at, value.at, value.size);
	at += value.size;
	*at++ = '\r';
	*at++ = '\n';
	request->headers_size = (size_t)(at - request->headers);
	return 0;
}

static int make_room(struct crew_request *request, size_t size)
{
	size_t room = request->headers_room ? request->headers_room : FIRST_ROOM;
	char *headers;

	if (size > WIRE_HEADERS_MAX_BYTES - request->headers_size)
		return -ENOMEM;
	if (size <= request->headers_room - request->headers_size)
		return 0;
	while (room < request->headers_size + size)
		room *= 2;
	headers = arena_alloc(request->arena, room);
	if (!headers)
		return -ENOMEM;
	if (request->headers_size)
		memcpy(headers, request->headers, request->headers_size);
	request->headers = headers;
	request->headers_room = room;
	return 0;
}
