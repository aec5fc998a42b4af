/* SPDX-License-Identifier: MIT */
/*
 * Requests that outlive their handlers. A ticket names the place of a job and
 * a number that this worker gives once only, so that a ticket of the past never
 * meets another request, also when the dispatcher was replaced and its own
 * numbers begin anew.
 *
 * A deferred request keeps nothing of the dispatcher's memory: its block was
 * copied when it was deferred, so that thousands can be outstanding while the
 * link's arena serves others. When nobody waits for it any more the application
 * is told, between two handlers, and then it is ended towards the dispatcher
 * too, which frees its place.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "handler/reply.h"
#include "worker/private.h"

/* A worker that keeps its request alive says so at most so often in a timeout. */
#define ALIVE_SHARE 8u
#define TIMEOUT_MS 30000u

static struct job *job_open(const struct crew_request *request);

bool later_copy(struct worker *worker, struct job *job)
{
	struct crew_request *request = &job->request;

	if (!job->serial && ++worker->next_serial == 0)
		worker->next_serial = 1;
	if (!job->serial)
		job->serial = worker->next_serial;
	if (job->copy)
		return true;
	job->copy = malloc(job->wire_size);
	if (!job->copy)
		return false;
	memcpy(job->copy, job->wire, job->wire_size);
	if (request->body.size && !job->gathered)
		request->body.at = (const char *)job->copy +
				   (request->body.at - (const char *)job->wire);
	request->wire = job->copy;
	return true;
}

crew_reply crew_defer(struct crew_request *request, crew_ticket *ret_ticket)
{
	struct worker *worker = worker_of(request);
	crew_reply reply;

	if (ret_ticket)
		*ret_ticket = 0;
	if (request->settled || (worker && !later_copy(worker, job_of_request(request))))
		return reply_failed(request);
	reply = reply_make_later(request, REPLY_DEFERRED);
	request->deferred_seal = reply.seal;
	if (ret_ticket)
		*ret_ticket = crew_ticket_of(request);
	return reply;
}

crew_ticket crew_ticket_of(const struct crew_request *request)
{
	const struct job *job = job_of_request(request);

	return job && job->serial ? (uint64_t)job->serial << 32 |
					     (job->peer->number * LINK_SLOTS + job->slot)
				   : 0;
}

struct crew_request *crew_claim(struct crew_worker *public, crew_ticket ticket)
{
	struct worker *worker = container_of(public, struct worker, public);
	const uint32_t number = (uint32_t)ticket / LINK_SLOTS;
	const uint32_t slot = (uint32_t)ticket % LINK_SLOTS;
	struct job *job;

	if (ticket == 0 || public->is_dispatcher || number >= worker->peer_count)
		return NULL;
	job = worker->peers[number].jobs[slot];
	if (!job || job->serial != (uint32_t)(ticket >> 32) || !job_open(&job->request))
		return NULL;
	return &job->request;
}

int crew_finish(struct crew_request *request, crew_reply reply)
{
	struct worker *worker = worker_of(request);
	struct job *job = job_of_request(request);

	if (!worker || request->settled)
		return -EINVAL;
	if (job->state == JOB_RUNNING && request->deferred_seal && !request->finished) {
		/* Before its handler has returned: what that returns is known. */
		if (job->cancelled) {
			reply_take_back(request);
			return -EINVAL;
		}
		request->finished = true;
		if (reply.seal != request->seal)
			request->fault = "finished with something else than the "
					 "last reply that it made";
		return 0;
	}
	/* Nobody would give credit for it, and on_disconnect is still to be called. */
	if (job->state != JOB_HELD || !job->deferred || job->cancelled)
		return -EINVAL;
	request_judge(request, reply,
		      worker->options->pool->app->routes[request->wire->route].on);
	job->deferred = false;
	if (request->state == REPLY_DEFERRED) {
		/* It was put off once more: nothing was said. */
		job->deferred = true;
		return -EINVAL;
	}
	if (request->state == REPLY_STREAM)
		stream_begin(worker, job);
	/* As those that were there when it was told to stop; see stream_drain(). */
	if (worker->draining)
		stream_stop(worker, job);
	if (job->untold)
		later_tell(worker, job);
	else
		serve_ready_to_send(worker, job);
	return 0;
}

bool crew_cancelled(struct crew_request *request)
{
	struct worker *worker = worker_of(request);
	struct job *job = job_of_request(request);
	int r = 0;

	if (!worker)
		return false;
	stream_hear_stop(worker, job);
	if (job->peer->linked && link_has_news(&job->peer->link))
		r = serve_receive(worker, job->peer);
	if (r >= 0 && job->peer->linked && !outbox_empty(&job->peer->outbox)) {
		r = peer_settle(worker, job->peer);
		link_ring(&job->peer->link);
	}
	if (r < 0)
		worker_fail(worker, r);
	/* Or a stop has ended its stream, of which it has not been told. */
	return job->cancelled || job->half_closed || (job->streaming && job->untold) ||
	       peer_is_gone(job->peer);
}

void crew_keep_alive(struct crew_request *request)
{
	struct worker *worker = worker_of(request);
	struct job *job = job_of_request(request);
	const uint64_t now_ms = clock_now_ms();
	unsigned timeout_ms;

	if (!worker)
		return;
	crew_beat(request->worker);
	timeout_ms = worker->options->pool->request_timeout_ms;
	if (job->alive_ms &&
	    now_ms - job->alive_ms < (timeout_ms ? timeout_ms : TIMEOUT_MS) / ALIVE_SHARE)
		return;
	job->alive_ms = now_ms;
	worker_goes_on(worker, now_ms);
	(void)peer_say_of(worker, job, MESSAGE_ALIVE, 0, 0, NULL);
}

void crew_set_data(struct crew_request *request, void *data)
{
	struct job *job = job_of_request(request);

	if (job)
		job->data = data;
}

void *crew_data(const struct crew_request *request)
{
	const struct job *job = job_of_request(request);

	return job ? job->data : NULL;
}

int later_begin(struct worker *worker, struct job *job)
{
	job->deferred = true;
	request_restart(&job->request);
	serve_hold(worker, job);
	if (job->cancelled)
		later_tell(worker, job);
	return later_say_returned(worker, job);
}

/* Should there be no memory to say it, it is only thought to be busier. */
int later_say_returned(struct worker *worker, const struct job *job)
{
	return peer_say_of(worker, job, MESSAGE_DEFER, MESSAGE_COPIED, 0, NULL) ==
			       -EBADMSG
		       ? -EBADMSG
		       : 0;
}

void later_tell(struct worker *worker, struct job *job)
{
	list_remove(&job->link);
	job->state = JOB_HELD;
	list_push_back(&worker->cancelled, &job->link);
}

void later_tell_cancelled(struct worker *worker)
{
	const struct crew_app *app = worker->options->pool->app;
	struct list *link;

	while ((link = list_pop_front(&worker->cancelled))) {
		struct job *job = container_of(link, struct job, link);
		const bool open = job->deferred || job->untold || stream_goes_on(job);

		job->half_closed = job->half_closed || job->cancelled;
		job->untold = false;
		job->state = JOB_RUNNING;
		if (open && app->on_disconnect)
			app->on_disconnect(&job->request);
		job->deferred = false;
		job->ending = true;
		if (job->cancelled)
			output_cut(job);
		serve_ready_to_send(worker, job);
	}
}

/* The job of a request that still can be answered or gone on with. */
static struct job *job_open(const struct crew_request *request)
{
	struct job *job = job_of_request(request);

	if (!job || job->cancelled || job->cut || job->state < JOB_RUNNING)
		return NULL;
	if (stream_is_open(job))
		return job;
	if (job->state == JOB_RUNNING)
		return request->deferred_seal && !request->finished && !job->streaming
			       ? job
			       : NULL;
	return job->deferred ? job : NULL;
}
