/* SPDX-License-Identifier: MIT */
/*
 * The ways to answer. Each fills the answer's fields in the request and gives
 * back a sealed reply; the last one made is the one that counts. What is wrong
 * (a status that is none, no memory) is noted and found by request_run, which
 * knows the route's name: a handler needs no error path for its answer.
 *
 * A seal is unlikely to be met by chance, so a handler that returns an old
 * reply, or one kept from another request, is told apart from a good one.
 */
#include <errno.h>
#include <stdio.h>

#include "base/os/os.h"
#include "handler/json.h"
#include "handler/reply.h"
#include "http/respond.h"
#include "http/text.h"

/* A longer message of crew_error() is cut. */
#define ERROR_TEXT_MAX 4096u
/* A longer backtrace is cut. */
#define BACKTRACE_TEXT_MAX 1024u
/* What an error page holds besides its message. */
#define ERROR_PAGE_ROOM 1024u

static crew_reply make(struct crew_request *request, int status,
		       const char *type, struct span body);
static crew_reply make_faulty(struct crew_request *request, const char *fault);
static crew_reply make_failed(struct crew_request *request);
static enum http_error_form form_of(const struct crew_request *request);
static crew_reply make_json(struct crew_request *request, int status,
			    const struct json_out *out);
static uint64_t new_seal(uint64_t id);

void reply_reset(struct crew_request *request)
{
	request->seal = 0;
	request->state = REPLY_NONE;
	request->replies = 0;
	request->status = 0;
	request->reply_body = (struct span){ 0 };
	request->headers_size = 0;
	request->failed = false;
	request->fault = NULL;
	request->type = NULL;
	request->type_set = NULL;
	request->location = NULL;
	request->error_text = NULL;
	request->deferred_seal = 0;
	request->finished = false;
	request->head_sealed = false;
	request->settled = false;
}

crew_reply reply_make_later(struct crew_request *request, enum reply_state state)
{
	crew_reply reply;

	if (!request->job)
		return make_faulty(request, "deferred or streamed an answer, which "
					    "only a worker can");
	reply = make(request, 200, NULL, (struct span){ 0 });
	if (!request->settled)
		request->state = state;
	return reply;
}

void reply_take_back(struct crew_request *request)
{
	request->state = REPLY_DEFERRED;
	request->seal = request->deferred_seal;
	request->fault = NULL;
	request->failed = false;
}

crew_reply reply_make_stream(struct crew_request *request, int status,
			     const char *type)
{
	crew_reply reply = status == 205 ? make_faulty(request, "began a stream with "
							 "status 205, which has no content")
					 : crew_bytes_nocopy(request, status, type, NULL, 0);

	if (!request->fault && !request->failed && !request->settled)
		request->state = REPLY_STREAM;
	return reply;
}

crew_reply reply_failed(struct crew_request *request)
{
	return make_failed(request);
}

crew_reply crew_pass(struct crew_request *request)
{
	crew_reply reply = make(request, 200, NULL, (struct span){ 0 });

	if (!request->settled)
		request->state = REPLY_PASS;
	return reply;
}

crew_reply crew_refuse(struct crew_request *request)
{
	return reply_error(request, 403, "forbidden");
}

crew_reply crew_json_fields(struct crew_request *request, int status,
			    const struct crew_field *fields)
{
	struct json_out out;

	json_out_init(&out, request->arena);
	json_write_object(&out, fields);
	return make_json(request, status, &out);
}

crew_reply crew_json_value(struct crew_request *request, int status,
			   const struct json_t *value)
{
	struct json_out out;

	json_out_init(&out, request->arena);
	json_write_value(&out, value);
	return make_json(request, status, &out);
}

crew_reply crew_text(struct crew_request *request, int status, const char *text)
{
	struct span copy = { NULL, text ? strlen(text) : 0 };

	if (copy.size) {
		copy.at = arena_copy(request->arena, text, copy.size);
		if (!copy.at)
			return make_failed(request);
	}
	return make(request, status, "text/plain; charset=utf-8", copy);
}

crew_reply crew_bytes(struct crew_request *request, int status, const char *type,
		      const void *data, size_t size_bytes)
{
	const void *copy = NULL;

	if (size_bytes) {
		copy = arena_copy(request->arena, data, size_bytes);
		if (!copy)
			return make_failed(request);
	}
	return crew_bytes_nocopy(request, status, type, copy, size_bytes);
}

crew_reply crew_bytes_nocopy(struct crew_request *request, int status,
			     const char *type, const void *data,
			     size_t size_bytes)
{
	const char *copy = "application/octet-stream";

	/* As of -1: no object is so large, and its announced length might mean another thing. */
	if (size_bytes > PTRDIFF_MAX)
		return make_faulty(request, "answered with an impossible size");
	if (type) {
		if (!http_value_ok(span_of(type)))
			return make_faulty(request, "gave a Content-Type that is "
						    "not legal in a header");
		copy = arena_copy(request->arena, type, strlen(type));
		if (!copy)
			return make_failed(request);
	}
	return make(request, status, copy, (struct span){ data, size_bytes });
}

crew_reply crew_empty(struct crew_request *request, int status)
{
	return make(request, status, NULL, (struct span){ 0 });
}

crew_reply crew_redirect(struct crew_request *request, int status,
			 const char *location)
{
	crew_reply reply;
	const char *copy;

	if (status != 301 && status != 302 && status != 303 && status != 307 &&
	    status != 308)
		return make_faulty(request, "redirected with a status that is "
					    "not 301, 302, 303, 307 or 308");
	if (!location || !http_value_ok(span_of(location)))
		return make_faulty(request, "redirected to a location that is "
					    "not legal in a header");
	copy = arena_copy(request->arena, location, strlen(location));
	if (!copy)
		return make_failed(request);
	reply = make(request, status, NULL, (struct span){ 0 });
	request->location = copy;
	return reply;
}

crew_reply crew_error_at(struct crew_request *request, int status,
			 const char *file, int line, const char *format, ...)
{
	char *message = arena_alloc(request->arena, ERROR_TEXT_MAX);
	char *trace = NULL;
	crew_reply reply;
	va_list arguments;

	if (!message)
		return make_failed(request);
	va_start(arguments, format);
	if (vsnprintf(message, ERROR_TEXT_MAX, format, arguments) < 0)
		message[0] = '\0';
	va_end(arguments);
	if (status >= 500)
		trace = arena_alloc(request->arena, BACKTRACE_TEXT_MAX);
	if (trace)
		os_backtrace(trace, BACKTRACE_TEXT_MAX);
	reply = reply_error(request, status, message);
	request->error_file = file;
	request->error_line = line;
	request->backtrace = trace;
	return reply;
}

crew_reply reply_error(struct crew_request *request, int status,
		       const char *message)
{
	const size_t room = 6 * strlen(message) + ERROR_PAGE_ROOM;
	struct span body = { 0 };
	const char *type;
	crew_reply reply;
	char *page;

	page = arena_alloc(request->arena, room);
	if (!page)
		return make_failed(request);
	body.at = page;
	body.size = http_error_body(page, room, form_of(request), status, message, &type);
	reply = make(request, status, type, body);
	request->error_text = message;
	request->error_file = "crew";
	request->error_line = 0;
	request->backtrace = NULL;
	return reply;
}

static enum http_error_form form_of(const struct crew_request *request)
{
	struct http_wants wants = { 0 };
	const char *name;
	const char *value;

	for (size_t i = 0; crew_header_at(request, i, &name, &value); i++) {
		if (span_equal_nocase(span_of(name), span_of("accept")))
			http_wants_add(&wants, span_of(value));
	}
	return http_error_form_of(&wants);
}

static crew_reply make_json(struct crew_request *request, int status,
			    const struct json_out *out)
{
	if (out->error == -ENOMEM)
		return make_failed(request);
	if (out->error)
		return make_faulty(request, "answered with JSON that is nested too "
					    "deep or of no kind");
	return make(request, status, "application/json",
		    (struct span){ out->text, out->size });
}

static crew_reply make(struct crew_request *request, int status,
		       const char *type, struct span body)
{
	if (request->settled)
		return (crew_reply){ 0 };
	request->fault = NULL;
	request->failed = false;
	request->location = NULL;
	request->error_text = NULL;
	request->status = status;
	if (status < 200 || status > 599)
		request->fault = "answered with a status outside 200 to 599";
	/* That of 205 is empty, and says so by its length (RFC 9110, 15.3.6). */
	if (!http_status_has_body(status) || status == 205) {
		body.size = 0;
		type = NULL;
	}
	request->type = type;
	request->reply_body = body;
	request->state = REPLY_MADE;
	request->replies++;
	request->seal = new_seal(request->wire->id);
	return (crew_reply){ request->seal };
}

static crew_reply make_faulty(struct crew_request *request, const char *fault)
{
	crew_reply reply = make(request, 500, NULL, (struct span){ 0 });

	request->fault = fault;
	return reply;
}

static crew_reply make_failed(struct crew_request *request)
{
	crew_reply reply = make(request, 500, NULL, (struct span){ 0 });

	request->failed = true;
	return reply;
}

/* Different for each reply of this thread, and a request is one thread's; the
 * mixing (a bijection, so no two counts collide for one id) is that of
 * SplitMix64. */
static uint64_t new_seal(uint64_t id)
{
	static _Thread_local uint64_t count;
	uint64_t seal = id + ++count * 0x9e3779b97f4a7c15u;

	seal = (seal ^ (seal >> 30)) * 0xbf58476d1ce4e5b9u;
	seal = (seal ^ (seal >> 27)) * 0x94d049bb133111ebu;
	seal ^= seal >> 31;
	return seal ? seal : 1;
}
