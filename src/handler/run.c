/* SPDX-License-Identifier: MIT */
/*
 * A handler's call, from beginning to end: called by a worker for each request
 * that it took, and by the dispatcher for local routes. Whatever the handler
 * does short of a crash, afterwards the request holds one whole answer. What
 * it did wrong is logged here, in one place that knows the route's name.
 */
#include <inttypes.h>
#include <jansson.h>

#include "base/log.h"
#include "handler/reply.h"
#include "http/respond.h"

static void judge(struct crew_request *request, const char *fault,
		  const char *name);
static const char *find_fault(const struct crew_request *request,
			      crew_reply reply);
static void tell_error(struct crew_request *request, const char *name);
static void call_on_error(struct crew_request *request, int status, const char *text);
static void fail(struct crew_request *request);

void request_init(struct crew_request *request, const struct wire_request *wire,
		  struct span body, struct crew_worker *worker,
		  struct arena *arena)
{
	request->wire = wire;
	request->body = body;
	request->worker = worker;
	request->arena = arena;
	request->headers = NULL;
	request->headers_room = 0;
	request->query_count = 0;
	request->json = NULL;
	request->json_error = NULL;
	request->job = NULL;
	request->values = NULL;
	request->value_count = 0;
	reply_reset(request);
}

void request_fini(struct crew_request *request)
{
	json_decref(request->json);
	request->json = NULL;
}

void request_run(struct crew_request *request, crew_handler *handler,
		 const char *name)
{
	struct crew_request *const outer = request->worker->running;
	/* Those that a check has set stay. */
	const bool passed = request->state == REPLY_PASS;
	const size_t headers = passed ? request->headers_size : 0;
	const char *const type = passed ? request->type_set : NULL;
	crew_reply reply;

	reply_reset(request);
	request->headers_size = headers;
	request->type_set = type;
	request->worker->running = request;
	reply = handler(request);
	request->worker->running = outer;
	request_judge(request, reply, name);
}

bool request_check(struct crew_request *request, crew_handler *checker,
		   const char *name)
{
	struct crew_request *const outer = request->worker->running;
	const char *fault;
	crew_reply reply;

	reply_reset(request);
	request->worker->running = request;
	reply = checker(request);
	request->worker->running = outer;
	fault = find_fault(request, reply);
	if (!fault && request->state == REPLY_PASS)
		return false;
	if (!fault && request->state != REPLY_MADE)
		fault = "deferred or streamed an answer, being a check";
	judge(request, fault, name);
	return true;
}

void request_judge(struct crew_request *request, crew_reply reply,
		   const char *name)
{
	const char *fault = find_fault(request, reply);

	if (!fault && request->state == REPLY_PASS)
		fault = "let pass what only it can answer";
	judge(request, fault, name);
}

void request_restart(struct crew_request *request)
{
	request->seal = 0;
	request->state = REPLY_NONE;
	request->replies = 0;
	request->deferred_seal = 0;
}

static void judge(struct crew_request *request, const char *fault,
		  const char *name)
{
	const uint64_t id = request->wire->id;

	if (!fault && request->state == REPLY_DEFERRED)
		return;
	if (!fault && reply_finish_headers(request) < 0)
		fault = "set more headers than fit";
	if (fault) {
		log_error("route %s, request %" PRIu64
			  ": the handler %s; answered with 500",
			  name, id, fault);
		fail(request);
		call_on_error(request, 500, fault);
		return;
	}
	if (request->replies > (request->finished ? 2 : 1))
		log_warning("route %s, request %" PRIu64
			    ": the handler made %u replies; the last counts",
			    name, id, request->replies);
	if (request->status >= 500)
		tell_error(request, name);
}

static const char *find_fault(const struct crew_request *request,
			      crew_reply reply)
{
	if (request->state == REPLY_NONE)
		return "returned without making a reply";
	if (reply.seal != (request->finished ? request->deferred_seal
					     : request->seal))
		return "returned something else than the last reply that it made";
	if (request->failed)
		return "ran out of memory for its answer";
	return request->fault;
}

/* What was answered without crew_error() has no other reason than its status'. */
static void tell_error(struct crew_request *request, const char *name)
{
	const char *text = request->error_text ? request->error_text
					       : http_reason(request->status);

	if (request->error_text)
		log_error("route %s, request %" PRIu64 ": %d: %s (%s:%d)%s%s", name,
			  request->wire->id, request->status, text,
			  request->error_file, request->error_line,
			  request->backtrace ? "; " : "",
			  request->backtrace ? request->backtrace : "");
	else
		log_error("route %s, request %" PRIu64 ": %d: %s", name,
			  request->wire->id, request->status, text);
	call_on_error(request, request->status, text);
}

/* The answer stands: a handler's habits, such as to answer, have no effect there. */
static void call_on_error(struct crew_request *request, int status, const char *text)
{
	if (!request->worker->on_error)
		return;
	request->settled = true;
	request->worker->on_error(request, status, text);
	request->settled = false;
}

/* With memory, an error as the client wants it; without, as it can be had. */
static void fail(struct crew_request *request)
{
	static char headers[] = "Content-Type: application/json\r\n";
	static const char body[] = "{\"error\":\"internal server error\"}";

	reply_reset(request);
	reply_error(request, 500, "internal server error");
	if (!request->failed && reply_finish_headers(request) == 0)
		return;
	request->headers = headers;
	request->headers_size = sizeof(headers) - 1;
	/* There is no room for more: who adds a line copies them. */
	request->headers_room = request->headers_size;
	request->reply_body = (struct span){ body, sizeof(body) - 1 };
}
