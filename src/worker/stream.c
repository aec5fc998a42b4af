/* SPDX-License-Identifier: MIT */
/*
 * Answers whose end is not known. What the application sends is put behind
 * what waits, and leaves in parts at the end of the turn, as the client's credit
 * allows; so a thousand small events of one turn are few messages. What waits is
 * bounded: above CREW_SEND_ROOM_BYTES a send is refused and on_room called
 * later. With what the dispatcher may hold (LINK_CREDIT_BYTES) that is all that
 * a client who does not read can cost.
 *
 * A handler that sends before it returns has begun the stream for good: the
 * head leaves with the first bytes, at once, since such a handler may go on for
 * long. If it then returns something else, the stream ends as a failure. What it
 * has read of the request before stays where it was until it returns: only then
 * the dispatcher is told that the request's block is read no more.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/os/os.h"
#include "handler/event.h"
#include "handler/json.h"
#include "handler/reply.h"
#include "http/parse.h"
#include "http/respond.h"
#include "worker/private.h"

#define FIRST_ROOM 512u
#define BOUNDARY_ROOM 64u
#define PART_HEAD_ROOM 512u
/* A handler that waits for its client looks about so often. */
#define WAIT_STEP_MS 500u

static void count_stream(struct worker *worker, int by);
static int begin_now(struct worker *worker, struct job *job);
static bool has_room(const struct job *job);
static void say_end(struct job *job);
static void end_by_ourselves(struct job *job);
static void end_events(struct worker *worker, struct list *jobs);
static bool was_ended(struct job *job);
static bool has_body(const struct job *job);
static bool is_stream(const struct job *job);
static bool may_go_on(struct worker *worker, struct job *job);
static bool goes_on_for_long(const struct job *job);
static char *reserve(struct pending *pending, size_t size);
static int go_on(struct worker *worker, struct job *job);
static crew_reply begin(struct crew_request *request, int status, const char *type,
			bool events, crew_ticket *ret_ticket);

/* ---- beginning and ending ---- */

crew_reply crew_stream(struct crew_request *request, int status,
		       const char *type, crew_ticket *ret_ticket)
{
	if (ret_ticket)
		*ret_ticket = 0;
	return begin(request, status, type, false, ret_ticket);
}

crew_reply crew_events(struct crew_request *request, crew_ticket *ret_ticket)
{
	if (ret_ticket)
		*ret_ticket = 0;
	if (request->settled || crew_set_header(request, "Cache-Control", "no-store") < 0 ||
	    crew_set_header(request, "X-Accel-Buffering", "no") < 0)
		return reply_failed(request);
	return begin(request, 200, "text/event-stream", true, ret_ticket);
}

crew_reply crew_multipart(struct crew_request *request, crew_ticket *ret_ticket)
{
	struct job *job = job_of_request(request);
	char *boundary = crew_alloc(request, BOUNDARY_ROOM);
	char type[BOUNDARY_ROOM + 64];

	if (ret_ticket)
		*ret_ticket = 0;
	if (!boundary || request->settled)
		return reply_failed(request);
	snprintf(boundary, BOUNDARY_ROOM, "crew-%016llx-%08x",
		 (unsigned long long)crew_request_id(request) * 0x9e3779b97f4a7c15u,
		 (unsigned)getpid());
	if (job)
		job->boundary = boundary;
	snprintf(type, sizeof(type), "multipart/x-mixed-replace; boundary=%s",
		 boundary);
	return begin(request, 200, type, true, ret_ticket);
}

int crew_end(struct crew_request *stream)
{
	struct job *job = job_of_request(stream);
	struct worker *worker = worker_of(stream);

	if (worker && was_ended(job))
		return 0;
	if (!worker || !stream_is_open(job))
		return -EINVAL;
	say_end(job);
	job->ending = true;
	return go_on(worker, job);
}

int crew_abort(struct crew_request *stream)
{
	struct job *job = job_of_request(stream);
	struct worker *worker = worker_of(stream);

	if (worker && was_ended(job)) {
		job->aborting = has_body(job);
		return 0;
	}
	if (!worker || !stream_is_open(job))
		return -EINVAL;
	job->ending = true;
	job->aborting = true;
	return go_on(worker, job);
}

void stream_begin(struct worker *worker, struct job *job)
{
	if (!job->counted)
		count_stream(worker, 1);
	job->counted = true;
	job->streaming = true;
	job->streaming_since_ms = clock_now_ms();
	if (has_body(job))
		return;
	job->pending.start = job->pending.end;
	end_by_ourselves(job);
}

bool stream_is_open(const struct job *job)
{
	return is_stream(job) && !job->ending && !job->cancelled && !job->cut;
}

void stream_broken(struct job *job)
{
	log_error("request %llu: the handler began a stream and then returned "
		  "something else: the stream is cut off",
		  (unsigned long long)job->request.wire->id);
	job->ending = true;
	job->untold = false;
	job->aborting = true;
}

void stream_fini(struct worker *worker, struct job *job)
{
	if (job->counted)
		count_stream(worker, -1);
	job->counted = false;
	list_remove(&job->in_roomy);
	free(job->pending.data);
	job->pending = (struct pending){ 0 };
}

/* What waits are whole pieces, also where the handler is still at it. */
void stream_stop(struct worker *worker, struct job *job)
{
	if (!job->events || !job->streaming || !stream_is_open(job))
		return;
	say_end(job);
	end_by_ourselves(job);
	if (job->state != JOB_RUNNING)
		later_tell(worker, job);
}

void stream_hear_stop(struct worker *worker, struct job *job)
{
	if (job->state == JOB_RUNNING && goes_on_for_long(job) && worker_must_stop(worker))
		stream_stop(worker, job);
}

void stream_drain(struct worker *worker)
{
	end_events(worker, &worker->sending);
	end_events(worker, &worker->held);
}

/* ---- sending ---- */

int crew_send(struct crew_request *stream, const void *data, size_t size)
{
	struct job *job = job_of_request(stream);
	char *place;
	int r = stream_reserve(stream, size, &place);

	if (r < 0 || size == 0)
		return r;
	memcpy(place, data, size);
	job->pending.end += size;
	return go_on(worker_of(stream), job);
}

int crew_send_event(struct crew_request *stream, const struct crew_event *event)
{
	const ssize_t size = event_write(event, NULL);
	struct job *job = job_of_request(stream);
	char *place;
	int r;

	if (size < 0)
		return (int)size;
	r = stream_reserve(stream, (size_t)size, &place);
	if (r < 0)
		return r;
	job->pending.end += (size_t)event_write(event, place);
	return go_on(worker_of(stream), job);
}

int crew_send_json_fields(struct crew_request *stream,
			  const struct crew_field *fields)
{
	struct arena arena;
	struct json_out out;
	int r;

	arena_init(&arena, NULL);
	json_out_init(&out, &arena);
	json_write_object(&out, fields);
	r = out.error;
	if (r == 0)
		r = json_append(&out, "\n", 1);
	if (r == 0)
		r = crew_send(stream, out.text, out.size);
	arena_fini(&arena);
	return r;
}

int crew_send_part(struct crew_request *stream, const char *type,
		   const void *data, size_t size)
{
	struct job *job = job_of_request(stream);
	char head[PART_HEAD_ROOM];
	char *place;
	int n;
	int r;

	if (!type)
		type = "application/octet-stream";
	if (!job || !job->boundary || !http_value_ok(span_of(type)))
		return -EINVAL;
	if (size > CREW_SEND_MAX_BYTES)
		return -EMSGSIZE;
	n = snprintf(head, sizeof(head),
		     "--%s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n\r\n",
		     job->boundary, type, size);
	if (n < 0 || (size_t)n >= sizeof(head))
		return -EINVAL;
	r = stream_reserve(stream, (size_t)n + size + 2, &place);
	if (r < 0)
		return r;
	memcpy(place, head, (size_t)n);
	if (size)
		memcpy(place + n, data, size);
	memcpy(place + (size_t)n + size, "\r\n", 2);
	job->pending.end += (size_t)n + size + 2;
	return go_on(worker_of(stream), job);
}

int stream_reserve(struct crew_request *stream, size_t size, char **ret_place)
{
	struct worker *worker = worker_of(stream);
	struct job *job = job_of_request(stream);
	size_t waiting;

	if (!worker || !is_stream(job))
		return -EINVAL;
	if (!may_go_on(worker, job))
		return -EPIPE;
	if (size > CREW_SEND_MAX_BYTES)
		return -EMSGSIZE;
	waiting = job->pending.end - job->pending.start;
	if (waiting > 0 && waiting + size > CREW_SEND_ROOM_BYTES) {
		job->wants_room = true;
		job->refused = size;
		return -EAGAIN;
	}
	job->refused = 0;
	*ret_place = reserve(&job->pending, size);
	return *ret_place ? 0 : -ENOMEM;
}

int crew_wait_room(struct crew_request *stream, unsigned timeout_ms)
{
	struct worker *worker = worker_of(stream);
	struct job *job = job_of_request(stream);
	const uint64_t until_ms = clock_now_ms() + timeout_ms;
	uint64_t now_ms;
	int r;

	if (!worker || job->state != JOB_RUNNING || !is_stream(job))
		return -EINVAL;
	for (;;) {
		r = may_go_on(worker, job) ? begin_now(worker, job) : -EPIPE;
		if (r < 0 || !stream_is_open(job) || worker->over)
			return -EPIPE;
		crew_beat(stream->worker);
		if (has_room(job))
			return 0;
		now_ms = clock_now_ms();
		if (now_ms >= until_ms)
			return -ETIMEDOUT;
		bell_announce(&job->peer->link.sleeper);
		if (!peer_has_news(job->peer))
			os_bell_wait(job->peer->link.sleeper.fd,
				     until_ms - now_ms < WAIT_STEP_MS
					     ? (int)(until_ms - now_ms)
					     : (int)WAIT_STEP_MS);
		bell_awake(&job->peer->link.sleeper);
	}
}

int stream_send(struct worker *worker, struct job *job)
{
	struct pending *pending = &job->pending;
	/* The last word frees the slot for another request: not before the handler has returned. */
	const bool may_end = job->ending && job->state != JOB_RUNNING;
	int r = 1;

	while (r > 0 && !job->last_sent) {
		unsigned flags = 0;
		size_t size = pending->end - pending->start;
		const size_t left = size;

		if (size > LINK_PART_BYTES)
			size = LINK_PART_BYTES;
		if (size > LINK_CREDIT_BYTES - job->owed)
			size = LINK_CREDIT_BYTES - job->owed;
		if (size == 0 && (left > 0 || !may_end))
			break;
		if (size < left)
			flags = MESSAGE_MORE;
		else if (may_end)
			flags = job->aborting ? MESSAGE_LAST | MESSAGE_ABORT
					      : MESSAGE_LAST;
		r = output_part(job, flags, (struct span){
			pending->data + pending->start, size });
		if (r > 0)
			pending->start += size;
	}
	if (pending->start == pending->end && pending->room > STREAM_KEPT_BYTES) {
		free(pending->data);
		*pending = (struct pending){ 0 };
	}
	if (job->wants_room && !job->ending && has_room(job) && list_empty(&job->in_roomy))
		list_push_back(&worker->roomy, &job->in_roomy);
	if (r < 0)
		return r;
	return job->last_sent ? 1 : 0;
}

void stream_tell_room(struct worker *worker)
{
	const struct crew_app *app = worker->options->pool->app;
	struct list *link;

	while ((link = list_pop_front(&worker->roomy))) {
		struct job *job = container_of(link, struct job, in_roomy);

		if (job->state == JOB_RUNNING || job->cancelled || job->ending)
			continue;
		job->wants_room = false;
		if (app->on_room)
			app->on_room(&job->request);
	}
}

unsigned crew_streams(const struct crew_worker *public)
{
	return public->is_dispatcher
		       ? 0
		       : container_of(public, const struct worker, public)->streams;
}

unsigned crew_pool_streams(const struct crew_worker *public)
{
	const struct worker *worker = container_of(public, const struct worker, public);
	const struct crew_child *self = worker->self;
	const struct score *score = NULL;
	unsigned count = 0;

	if (public->is_dispatcher)
		return 0;
	while ((score = scoreboard_next(self->board, self->group_index, score))) {
		if (score != self->score && score_state(score) != CREW_CHILD_DEAD)
			count += (unsigned)atomic_load_explicit(&score->streams,
								memory_order_relaxed);
	}
	return count + worker->streams;
}

/* ---- in this file only ---- */

static void count_stream(struct worker *worker, int by)
{
	worker->streams += (unsigned)by;
	atomic_store_explicit(&worker->self->score->streams, worker->streams,
			      memory_order_relaxed);
}

static crew_reply begin(struct crew_request *request, int status, const char *type,
			bool events, crew_ticket *ret_ticket)
{
	struct worker *worker = worker_of(request);
	struct job *job = job_of_request(request);
	crew_reply reply;

	if (!worker)
		return reply_make_later(request, REPLY_STREAM);
	if (request->settled || !later_copy(worker, job))
		return reply_failed(request);
	job->events = events;
	reply = reply_make_stream(request, status, type);
	if (ret_ticket && request->state == REPLY_STREAM)
		*ret_ticket = crew_ticket_of(request);
	return reply;
}

/* Enough for what was refused to be worth another try: else who waits and tries again
 * would go round without a pause. */
static bool has_room(const struct job *job)
{
	const size_t waiting = job->pending.end - job->pending.start;

	return waiting == 0 || (waiting <= STREAM_LOW_BYTES &&
				waiting + job->refused <= CREW_SEND_ROOM_BYTES);
}

/* What says in the stream itself that it is whole: the last delimiter of a multipart
 * (RFC 2046, 5.1.1). */
static void say_end(struct job *job)
{
	if (job->boundary && reserve(&job->pending, BOUNDARY_ROOM + 8))
		job->pending.end += (size_t)snprintf(
			job->pending.data + job->pending.end, BOUNDARY_ROOM + 8,
			"--%s--\r\n", job->boundary);
}

/* Its application, if it has not ended it, is told before the last word is sent. */
static void end_by_ourselves(struct job *job)
{
	job->untold = job->untold || !job->ending;
	job->ending = true;
}

static void end_events(struct worker *worker, struct list *jobs)
{
	list_each(link, jobs)
		stream_stop(worker, container_of(link, struct job, link));
}

/* Its application ends what we have ended already: that it need not be told then. */
static bool was_ended(struct job *job)
{
	const bool untold = job->untold;

	job->untold = false;
	return untold;
}

static bool has_body(const struct job *job)
{
	return job->request.wire->method_number != HTTP_HEAD &&
	       http_status_has_body(job->request.status);
}

/* Was it made one, whatever became of it? While the handler runs it is what it has
 * made last; later it is what it has returned. */
static bool is_stream(const struct job *job)
{
	return job->streaming ||
	       (job->state == JOB_RUNNING && job->request.state == REPLY_STREAM);
}

/* While its handler is at it the loop does not hear that the dispatcher is dead. */
static bool may_go_on(struct worker *worker, struct job *job)
{
	const bool in_handler = job->state == JOB_RUNNING;

	if (in_handler && peer_is_gone(job->peer))
		job->cancelled = true;
	stream_hear_stop(worker, job);
	return stream_is_open(job) && !worker->over;
}

/* Who has only begun, or is done in a moment, sends all that it has. */
static bool goes_on_for_long(const struct job *job)
{
	return job->events && job->streaming && stream_is_open(job) &&
	       clock_now_ms() >= job->streaming_since_ms + HEAR_STOP_MS;
}

static char *reserve(struct pending *pending, size_t size)
{
	const size_t used = pending->end - pending->start;
	size_t room = pending->room ? pending->room : FIRST_ROOM;
	char *data;

	if (pending->room - pending->end >= size && pending->data)
		return pending->data + pending->end;
	if (pending->start > 0) {
		memmove(pending->data, pending->data + pending->start, used);
		pending->start = 0;
		pending->end = used;
	}
	while (room - used < size)
		room *= 2;
	if (room != pending->room) {
		data = realloc(pending->data, room);
		if (!data)
			return NULL;
		pending->data = data;
		pending->room = room;
	}
	return pending->data + pending->end;
}

/* Something was added: it leaves at the end of the turn, or now if a handler is
 * still at it. */
static int go_on(struct worker *worker, struct job *job)
{
	int r;

	if (job->state == JOB_HELD && !output_waits_for_credit(job))
		serve_ready_to_send(worker, job);
	if (job->state != JOB_RUNNING || job->deferred)
		return 0;
	r = begin_now(worker, job);
	return r < 0 ? -EPIPE : 0;
}

/* In the handler: the head, if it is not out, and what waits. */
static int begin_now(struct worker *worker, struct job *job)
{
	int r;

	if (!job->peer->linked)
		return -EPIPE;
	if (!job->streaming) {
		if (reply_finish_headers(&job->request) < 0)
			return -EPIPE;
		job->request.head_sealed = true;
		stream_begin(worker, job);
	}
	r = serve_receive(worker, job->peer);
	if (r >= 0)
		r = peer_settle(worker, job->peer);
	if (r >= 0 && !job->cancelled)
		r = output_send(worker, job);
	link_ring(&job->peer->link);
	if (r < 0)
		worker_fail(worker, r);
	return r < 0 ? r : 0;
}
