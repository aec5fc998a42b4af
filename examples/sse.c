/* SPDX-License-Identifier: MIT */
/*
 * Publish and subscribe by Server-Sent Events, with a page to try it from: open
 * http://127.0.0.1:8080/ in two windows, or
 *   curl -N '127.0.0.1:8080/events?channel=news'
 *   curl -d '{"channel":"news","msg":"hello"}' 127.0.0.1:8080/publish
 *
 * Subscribers are held by all workers alike, and any worker can publish: it is
 * the dispatcher that knows who has subscribed to what. A client that goes is
 * forgotten without a line of code here. Where nothing is published for long, a
 * comment now and then keeps proxies from closing the stream.
 */
#include <errno.h>
#include <jansson.h>
#include <string.h>

#include <crew/crew.h>

#include "files.h"

#define CALM_MS 15000

static crew_reply get_index(struct crew_request *request)
{
	return crew_redirect(request, 303, "/static/sse.html");
}

/* What was asked for is wrong; or all is well with it, and it cannot be done now. */
static crew_reply refused(struct crew_request *request, int r)
{
	if (r == -EINVAL || r == -EMSGSIZE)
		return crew_error(request, 400, "a channel has 1 to 256 bytes, a message at "
				  "most 64 KiB");
	crew_set_header(request, "Retry-After", "1");
	return crew_error(request, 503, "%s", strerror(-r));
}

static crew_reply get_events(struct crew_request *request)
{
	const char *channel = crew_query(request, "channel");
	crew_reply reply = crew_events(request, NULL);
	int r = crew_subscribe(request, channel ? channel : "news");

	if (r == 0)
		r = crew_subscribe(request, " all channels");
	if (r < 0)
		return refused(request, r);
	crew_send_event(request, &(struct crew_event){ .comment = "welcome",
						       .retry_ms = 1000 });
	return reply;
}

/* The answer waits until the dispatcher has said how many were reached. */
static void published(struct crew_worker *worker, unsigned streams, void *context)
{
	struct crew_request *request = crew_claim_context(worker, context);

	if (request)
		crew_finish(request, crew_json(request, 200,
					       crew_int("published", streams)));
}

static crew_reply post_publish(struct crew_request *request)
{
	const json_t *body = crew_body_json(request);
	const char *channel = json_string_value(json_object_get(body, "channel"));
	const char *message = json_string_value(json_object_get(body, "msg"));
	crew_ticket ticket;
	crew_reply reply;
	int r;

	if (!message)
		return crew_error(request, 400, "{\"channel\": …, \"msg\": …} is wanted");
	reply = crew_defer(request, &ticket);
	r = crew_publish(crew_worker(request), channel ? channel : "news",
			 &(struct crew_event){ .data = message, .event = "message" },
			 published, crew_ticket_context(ticket));
	return r < 0 ? refused(request, r) : reply;
}

static void keep_calm(struct crew_worker *dispatcher, void *context)
{
	(void)context;
	crew_publish(dispatcher, " all channels",
		     &(struct crew_event){ .comment = "still here" }, NULL, NULL);
}

static int on_start(struct crew_worker *dispatcher)
{
	return crew_every(dispatcher, CALM_MS, keep_calm, NULL) ? 0 : ENOMEM;
}

static const struct crew_app app = {
	.name = "sse",
	.routes = (const struct crew_route[]){
		{ .on = "GET /events", .run = get_events },
		{ .on = "POST /publish", .run = post_publish },
		{ 0 },
	},
};

int main(int argc, char **argv)
{
	return crew_main(argc, argv, &(struct crew_server){
		.local = (const struct crew_route[]){
			{ .on = "GET /", .run = get_index },
			{ 0 },
		},
		.mounts = { { .at = "/static/", .root = example_files() } },
		.hooks = { .on_start = on_start },
		.pools = { { .app = &app, .workers = 2 } },
	});
}
