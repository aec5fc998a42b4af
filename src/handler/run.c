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

static const char *find_fault(const struct crew_request *request,
			      crew_reply reply);
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
	request->json = NULL;
	request->json_error[0] = '\0';
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
	const uint64_t id = request->wire->id;
	const char *fault;

	reply_reset(request);
	fault = find_fault(request, handler(request));
	if (!fault && reply_finish_headers(request) < 0)
		fault = "set more headers than fit";
	if (fault) {
		log_error("route %s, request %" PRIu64
			  ": the handler %s; answered with 500",
			  name, id, fault);
		fail(request);
		return;
	}
	if (request->replies > 1)
		log_warning("route %s, request %" PRIu64
			    ": the handler made %u replies; the last counts",
			    name, id, request->replies);
	if (request->error_text && request->status >= 500)
		log_error("route %s, request %" PRIu64 ": %d: %s", name, id,
			  request->status, request->error_text);
}

static const char *find_fault(const struct crew_request *request,
			      crew_reply reply)
{
	if (request->state == REPLY_NONE)
		return "returned without making a reply";
	if (reply.seal != request->seal)
		return "returned something else than the last reply that it made";
	if (request->failed)
		return "ran out of memory for its answer";
	return request->fault;
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
	request->headers_room = 0;
	request->reply_body = (struct span){ body, sizeof(body) - 1 };
}
