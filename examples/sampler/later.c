/* SPDX-License-Identifier: MIT */
/* Answers that come later, checks, calls to pools, and configuration. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "sampler.h"

#define WAIT_MAX_MS 600000

static unsigned wanted_ms(const struct crew_request *request)
{
	const int64_t ms = crew_path_int(request, "ms");

	return ms < 0 ? 0 : ms > WAIT_MAX_MS ? WAIT_MAX_MS : (unsigned)ms;
}

crew_reply sampler_refused(struct crew_request *request, int r, const char *why)
{
	if (r == -EAGAIN || r == -ENOTCONN || r == -ENOMEM) {
		crew_set_header(request, "Retry-After", "1");
		return crew_error(request, 503, "%s", why);
	}
	return crew_error(request, r == -EMSGSIZE ? 413 : r == -ELOOP ? 508 : 400, "%s", why);
}

static void time_is_up(struct crew_worker *worker, void *context)
{
	struct crew_request *request = crew_claim_context(worker, context);

	if (request)
		crew_finish(request, crew_json(request, 200, crew_int("deferred_ms",
								      wanted_ms(request))));
}

crew_reply page_defer(struct crew_request *request)
{
	crew_ticket ticket;
	crew_reply reply;

	sampler_ran(request);
	reply = crew_defer(request, &ticket);
	if (!crew_after(crew_worker(request), wanted_ms(request), time_is_up,
			crew_ticket_context(ticket)))
		return crew_error(request, 503, "out of memory");
	return reply;
}

/* Works until its time is up, or nobody waits any more. */
crew_reply page_cancelled(struct crew_request *request)
{
	const struct timespec moment = { .tv_nsec = 5 * 1000000 };
	unsigned done = 0;

	sampler_ran(request);
	while (done < wanted_ms(request) && !crew_cancelled(request)) {
		nanosleep(&moment, NULL);
		done += 5;
	}
	crew_log(crew_worker(request), CREW_INFO, "worked %s",
		 done < wanted_ms(request) ? "in vain: cancelled" : "to the end");
	return crew_json(request, 200, crew_int("worked_ms", done));
}

/* In the dispatcher: who has no key does not reach a worker. */
crew_reply sampler_dispatcher_check(struct crew_request *request)
{
	const char *key = crew_header(request, "X-API-Key");

	if (!key || strcmp(key, "sesame") != 0)
		return crew_error(request, 401, "unauthorized");
	crew_set_value(request, "caller", "the one who knows the word");
	return crew_pass(request);
}

/* In the worker: who has no session does not reach the handler. */
crew_reply sampler_check(struct crew_request *request)
{
	const char *session;

	if (strncmp(crew_path(request), "/private", 8) != 0)
		return crew_pass(request);
	session = crew_cookie(request, "session");
	if (!session || strcmp(session, "ok") != 0)
		return crew_refuse(request);
	return crew_pass(request);
}

crew_reply page_private(struct crew_request *request)
{
	sampler_ran(request);
	return crew_json(request, 200, crew_str("path", crew_path(request)),
			 crew_str("caller", crew_value(request, "caller")));
}

crew_reply page_config(struct crew_request *request)
{
	const struct json_t *config = crew_config(crew_worker(request));

	sampler_ran(request);
	if (!config)
		return crew_json(request, 200, crew_null("config"));
	return crew_json_value(request, 200, config);
}

crew_reply page_set_config(struct crew_request *request)
{
	struct crew_worker *worker = crew_worker(request);
	struct crew_error error = { 0 };
	const char *body;
	char *text;
	size_t size;
	int r;

	sampler_ran(request);
	body = crew_body(request, &size);
	text = crew_alloc(request, size + 1);
	if (!text)
		return crew_error(request, 503, "out of memory");
	if (size)
		memcpy(text, body, size);
	text[size] = '\0';
	r = crew_pool_config(worker, crew_worker_pool(worker), text, &error);
	if (r < 0)
		return sampler_refused(request, r, error.text);
	return crew_json(request, 202, crew_bool("sent", true));
}

static void call_answered(struct crew_worker *worker, const struct crew_answer *answer,
			  void *context)
{
	struct crew_request *request = crew_claim_context(worker, context);
	char *body;

	if (!request)
		return;
	body = crew_alloc(request, answer->body_bytes + 1);
	if (!body) {
		crew_finish(request, crew_error(request, 503, "out of memory"));
		return;
	}
	if (answer->body_bytes)
		memcpy(body, answer->body, answer->body_bytes);
	body[answer->body_bytes] = '\0';
	crew_finish(request, crew_json(request, 200, crew_int("status", answer->status),
				       crew_int("size", (int64_t)answer->body_bytes),
				       crew_str("body", body)));
}

/* GET or POST /call?target=/hello: ask the server itself, with the same body. */
crew_reply page_call(struct crew_request *request)
{
	struct crew_call call = {
		.pool = crew_query(request, "pool"),
		.method = crew_query(request, "method"),
		.target = crew_query(request, "target"),
		.type = crew_header(request, "Content-Type"),
	};
	const char *timeout = crew_query(request, "timeout");
	const bool forget = crew_query(request, "forget") != NULL;
	crew_ticket ticket;
	crew_reply reply;
	int r;

	sampler_ran(request);
	call.body = crew_body(request, &call.body_bytes);
	call.timeout_ms = timeout ? (unsigned)strtoul(timeout, NULL, 10) : 0;
	if (forget) {
		r = crew_call(crew_worker(request), &call, NULL, NULL);
		return r < 0 ? sampler_refused(request, r, strerror(-r))
			     : crew_json(request, 202, crew_bool("sent", true));
	}
	reply = crew_defer(request, &ticket);
	r = crew_call(crew_worker(request), &call, call_answered, crew_ticket_context(ticket));
	if (r < 0)
		return sampler_refused(request, r, strerror(-r));
	return reply;
}

static void pause_over(struct crew_worker *worker, void *context)
{
	(void)context;
	crew_resume(worker);
}

/* This worker takes nothing for a while; the others do. */
crew_reply page_pause(struct crew_request *request)
{
	struct crew_worker *worker = crew_worker(request);

	sampler_ran(request);
	crew_pause(worker);
	if (!crew_after(worker, wanted_ms(request), pause_over, NULL))
		crew_resume(worker);
	return crew_json(request, 200, crew_int("worker", crew_worker_index(worker)));
}

crew_reply page_log(struct crew_request *request)
{
	const int64_t level = crew_path_int(request, "level");
	const char *text = crew_query(request, "text");

	sampler_ran(request);
	if (level < CREW_DEBUG || level > CREW_CRITICAL)
		return crew_error(request, 400, "levels go from 10 to 50");
	crew_log(crew_worker(request), (enum crew_level)level, "%s",
		 text ? text : "a line");
	return crew_json(request, 200, crew_bool("written", crew_log_enabled(
							  crew_worker(request),
							  (enum crew_level)level)));
}

/* From now on, in this pool or, with ?all, everywhere. */
crew_reply page_level(struct crew_request *request)
{
	struct crew_worker *worker = crew_worker(request);
	const char *pool = crew_query(request, "all") ? NULL : crew_worker_pool(worker);

	sampler_ran(request);
	if (crew_set_log_level(worker, pool,
			       (enum crew_level)crew_path_int(request, "level")) < 0)
		return crew_error(request, 400, "levels go from 10 to 50");
	return crew_json(request, 200, crew_int("level", crew_path_int(request, "level")));
}

/* The pool of ?pool=…, or all. */
crew_reply page_reload(struct crew_request *request)
{
	const int r = crew_reload_pool(crew_worker(request), crew_query(request, "pool"));

	sampler_ran(request);
	if (r < 0)
		return crew_error(request, 404, "%s", strerror(-r));
	return crew_json(request, 202, crew_bool("reloading", true));
}

/* So many workers of the pool of ?pool=… more, or fewer. */
crew_reply page_scale(struct crew_request *request)
{
	const int by = (int)crew_path_int(request, "by");
	const int r = crew_pool_scale(crew_worker(request), crew_query(request, "pool"), by);

	sampler_ran(request);
	if (r < 0)
		return crew_error(request, 404, "%s", strerror(-r));
	return crew_json(request, 202, crew_int("by", by));
}

/* ---- in the dispatcher: what it has answered ---- */

static struct {
	int64_t count;
	int64_t errors;
	int64_t bytes;
	char last[200];
	char last_other[200]; /* that no pool answered */
} responses;

void sampler_responded(struct crew_worker *dispatcher,
		       const struct crew_response *response)
{
	const bool of_pool = *response->pool;
	char *last = of_pool ? responses.last : responses.last_other;

	(void)dispatcher;
	snprintf(last, sizeof(responses.last), "%s %s %d%s", response->method,
		 response->path, response->status, response->whole ? "" : " not whole");
	if (!of_pool)
		return;
	responses.count++;
	responses.errors += response->status >= 500;
	responses.bytes += (int64_t)response->body_bytes;
}

crew_reply page_responses(struct crew_request *request)
{
	return crew_json(request, 200, crew_int("count", responses.count),
			 crew_int("errors", responses.errors),
			 crew_int("bytes", responses.bytes),
			 crew_str("last", responses.last),
			 crew_str("last_other", responses.last_other));
}
