/* SPDX-License-Identifier: MIT */
/*
 * The worker's work: requests come off the links into jobs, runnable jobs are
 * run one at a time in the order in which they came, answers go back. worker.c
 * calls serve_batch between two turns of its loop.
 *
 * On the way of a small request nothing is allocated and no system call is
 * made but the bell, and that only if the dispatcher sleeps: the clock is read
 * once a request, since the end of one handler is the start of the next.
 *
 * A request is claimed just before it runs. One that the dispatcher has taken
 * back by then is forgotten without a word: it is another worker's now. What
 * the dispatcher sends is checked for form; if it makes no sense the worker
 * ends, since then nothing on the link can be believed.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "worker/private.h"

static int look(struct worker *worker);
static int receive_all(struct worker *worker);
static void forget_revoked(struct worker *worker, struct list *jobs);
static int continue_sending(struct worker *worker);
static int run_next(struct worker *worker, uint64_t *now_ns);

static int take_request(struct worker *worker, struct peer *peer,
			const struct message *message);
static int take_part(struct worker *worker, struct peer *peer,
		     const struct message *message);
static int take_cancel(struct worker *worker, struct peer *peer,
		       const struct message *message);
static int take_credit(struct worker *worker, struct peer *peer,
		       const struct message *message);

static void job_reset_answer(struct job *job);
static int begin_sending(struct worker *worker, struct job *job);

static int (*const take[])(struct worker *, struct peer *, const struct message *) = {
	[MESSAGE_REQUEST] = take_request,
	[MESSAGE_BODY_PART] = take_part,
	[MESSAGE_CANCEL] = take_cancel,
	[MESSAGE_CREDIT] = take_credit,
	[MESSAGE_PUBLISHED] = topics_published,
	[MESSAGE_CALL_ANSWER] = calls_answered,
};

void serve_init(struct worker *worker)
{
	list_init(&worker->gathering);
	list_init(&worker->runnable);
	list_init(&worker->sending);
	list_init(&worker->held);
	list_init(&worker->cancelled);
	list_init(&worker->awaited);
	list_init(&worker->come);
	list_init(&worker->roomy);
}

struct job *job_of_request(const struct crew_request *request)
{
	return request->job;
}

struct worker *worker_of(const struct crew_request *request)
{
	return request->job ? container_of(request->worker, struct worker, public)
			    : NULL;
}

/* Whose handlers have returned, and who have not ended, are told: their clients have gone, with
 * the dispatcher. First of all, so that none is sent anything by another that is told. */
void serve_drop(struct worker *worker, struct peer *peer)
{
	for (uint32_t i = 0; i < peer->jobs_used; i++) {
		struct job *job = peer->jobs[i];

		if (job && (job->state == JOB_HELD ||
			    (job->state == JOB_SENDING && stream_goes_on(job)))) {
			job->cancelled = true;
			later_tell(worker, job);
		}
	}
	later_tell_cancelled(worker);
	awaited_fail(worker, peer);
	awaited_call_back(worker);
	outbox_fini(&peer->outbox);
	for (uint32_t i = 0; i < peer->jobs_used; i++) {
		if (peer->jobs[i])
			job_end(worker, peer->jobs[i]);
	}
}

void job_end(struct worker *worker, struct job *job)
{
	if (job->state == JOB_FREE)
		return;
	list_remove(&job->link);
	if (job->state >= JOB_RUNNING)
		request_fini(&job->request);
	arena_reset(&job->arena);
	stream_fini(worker, job);
	free(job->copy);
	job->copy = NULL;
	job->gathered = NULL;
	job->serial = 0;
	job->state = JOB_FREE;
}

bool serve_has_work(const struct worker *worker)
{
	return peers_have_news(worker) || worker->dirty ||
	       !list_empty(&worker->cancelled) || !list_empty(&worker->come) ||
	       !list_empty(&worker->roomy) ||
	       (!serve_rests(worker) && !list_empty(&worker->runnable));
}

void serve_batch(struct worker *worker)
{
	struct score *score = worker->self->score;
	const uint64_t start_ns = clock_now_ns();
	uint64_t now_ns = start_ns;
	uint64_t look_ns = start_ns;
	unsigned count = 0;
	int r;

	do {
		r = 0;
		if (now_ns >= look_ns || list_empty(&worker->runnable)) {
			r = look(worker);
			look_ns = now_ns + LOOK_NS;
		}
		if (r >= 0)
			r = run_next(worker, &now_ns);
	} while (r > 0 && ++count < BATCH_REQUESTS &&
		 now_ns - start_ns < BATCH_NS);
	if (r < 0)
		worker_fail(worker, r);
	else
		forget_revoked(worker, &worker->gathering);
	if (worker->over)
		return;
	/* Else their turn comes soon. */
	if (serve_rests(worker))
		forget_revoked(worker, &worker->runnable);
	/* What was released or sent outside an answer's own ring. */
	atomic_store_explicit(&score->bells, peers_ring(worker), memory_order_relaxed);
}

/* All that comes from the links, and all that waits to go there. */
static int look(struct worker *worker)
{
	int r = receive_all(worker);

	if (r < 0)
		return r;
	later_tell_cancelled(worker);
	awaited_call_back(worker);
	return continue_sending(worker);
}

static int receive_all(struct worker *worker)
{
	int r = 0;

	for (unsigned i = 0; r >= 0 && i < worker->peer_count; i++) {
		if (worker->peers[i].linked)
			r = serve_receive(worker, &worker->peers[i]);
	}
	return r;
}

int serve_receive(struct worker *worker, struct peer *peer)
{
	struct message messages[LINK_BATCH];
	unsigned count;
	int received;
	int r;

	do {
		count = 0;
		while (count < LINK_BATCH &&
		       (received = link_receive(&peer->link, &messages[count])) > 0)
			link_foresee(&peer->link, &messages[count++]);
		for (unsigned i = 0; i < count; i++) {
			const struct message *message = &messages[i];

			if (message->kind >= COUNT_OF(take) || !take[message->kind])
				return -EBADMSG;
			r = take[message->kind](worker, peer, message);
			if (r < 0)
				return r;
		}
	} while (count == LINK_BATCH);
	return received;
}

/* The job that a message speaks of, or NULL if that one is of the past. */
static struct job *job_of(struct peer *peer, const struct message *message)
{
	struct job *job = peer->jobs[message->slot];

	if (!job || job->state == JOB_FREE || job->generation != message->generation)
		return NULL;
	return job;
}

static void make_runnable(struct worker *worker, struct job *job)
{
	job->state = JOB_RUNNABLE;
	list_push_back(&worker->runnable, &job->link);
}

/* Is the request still meant for us? Bytes of it that were read before this is
 * asked were its own if the answer is yes: the dispatcher takes a request back
 * (link_revoke) before it uses the bytes for something else. */
static bool still_offered(const struct job *job)
{
	/* Pairs with the fence in link_revoke. */
	atomic_thread_fence(memory_order_acquire);
	return link_claim(&job->peer->link, job->slot, job->generation) ==
	       CLAIM_QUEUED;
}

/* Some of the body is to follow in parts. Where there is no memory for it the
 * request is refused when its turn comes, and its parts go by. */
static void begin_gathering(struct worker *worker, struct job *job, uint64_t size)
{
	job->gathered = size <= SIZE_MAX ? arena_alloc(&job->arena, (size_t)size) : NULL;
	if (!job->gathered) {
		job->no_memory = true;
		job->body = (struct span){ 0 };
		make_runnable(worker, job);
		return;
	}
	if (job->body.size)
		memcpy(job->gathered, job->body.at, job->body.size);
	job->gathered_size = job->body.size;
	job->body = (struct span){ (const char *)job->gathered, (size_t)size };
	job->state = JOB_GATHERING;
	list_push_back(&worker->gathering, &job->link);
}

/* The block is looked at as a whole only after it was claimed: until then it
 * may be taken back and its bytes change under our eyes. What is needed of it
 * now is copied first. */
static int take_request(struct worker *worker, struct peer *peer,
			const struct message *message)
{
	struct job *job = peer_job(worker, peer, message->slot);
	struct wire_request head;

	if (!job)
		return -ENOMEM;
	if (message->size < sizeof(head) ||
	    (job->state != JOB_FREE && job->generation == message->generation))
		return -EBADMSG;
	if (job->state == JOB_RUNNING)
		return -EBADMSG;
	/* A slot that is used anew: the dispatcher has given the old one up. */
	job_end(worker, job);
	job->generation = message->generation;
	job->wire = link_bytes(&peer->link, message);
	job->wire_size = message->size;
	memcpy(&head, job->wire, sizeof(head));
	if (!still_offered(job))
		return 0;
	if (head.body.offset > message->size ||
	    head.body.size > message->size - head.body.offset ||
	    head.body.size > head.body_size)
		return -EBADMSG;
	job->body.at = (const char *)job->wire + head.body.offset;
	job->body.size = head.body.size;
	job->no_memory = false;
	job_reset_answer(job);
	if (head.body.size == head.body_size)
		make_runnable(worker, job);
	else
		begin_gathering(worker, job, head.body_size);
	return 0;
}

/* Bodies that came, whole or half, before their request was taken back would lie here
 * until their slot is used again. */
static void forget_revoked(struct worker *worker, struct list *jobs)
{
	list_each(link, jobs) {
		struct job *job = container_of(link, struct job, link);

		if (!still_offered(job))
			job_end(worker, job);
	}
}

static int take_part(struct worker *worker, struct peer *peer,
		     const struct message *message)
{
	struct job *job = job_of(peer, message);

	if (message->size == 0)
		return 0;
	if (job && job->state == JOB_GATHERING) {
		if (message->size > job->body.size - job->gathered_size)
			return -EBADMSG;
		memcpy(job->gathered + job->gathered_size,
		       link_bytes(&peer->link, message), message->size);
		job->gathered_size += message->size;
		if (job->gathered_size == job->body.size) {
			list_remove(&job->link);
			make_runnable(worker, job);
		}
	}
	return link_release(&peer->link, message->offset);
}

/* Who holds a request is told between two handlers, not now: this may be read
 * inside of one (crew_cancelled). */
static int take_cancel(struct worker *worker, struct peer *peer,
		       const struct message *message)
{
	struct job *job = job_of(peer, message);

	if (!job)
		return 0;
	if (message->flags & MESSAGE_LAST) {
		stream_stop(worker, job);
		return 0;
	}
	job->half_closed = true;
	if (message->flags & MESSAGE_HALF)
		return 0;
	job->cancelled = true;
	switch (job->state) {
	case JOB_FREE:
	case JOB_RUNNING:
		break;
	case JOB_GATHERING:
	case JOB_RUNNABLE:
		job_end(worker, job);
		break;
	case JOB_HELD:
		later_tell(worker, job);
		break;
	case JOB_SENDING:
		if (stream_goes_on(job))
			later_tell(worker, job);
		else
			output_cut(job);
		worker->dirty = true;
		break;
	}
	return 0;
}

static int take_credit(struct worker *worker, struct peer *peer,
		       const struct message *message)
{
	struct job *job = job_of(peer, message);

	if (!job || job->state < JOB_RUNNING)
		return 0;
	output_credit(job, message->size);
	if (job->state == JOB_HELD && job->streaming && !job->untold)
		serve_ready_to_send(worker, job);
	else if (job->state == JOB_SENDING)
		worker->dirty = true;
	return 0;
}

void serve_hold(struct worker *worker, struct job *job)
{
	list_remove(&job->link);
	job->state = JOB_HELD;
	list_push_back(&worker->held, &job->link);
}

void serve_ready_to_send(struct worker *worker, struct job *job)
{
	list_remove(&job->link);
	job->state = JOB_SENDING;
	list_push_back(&worker->sending, &job->link);
	worker->dirty = true;
}

/* Send on, and let go of what is sent. */
int serve_send(struct worker *worker, struct job *job)
{
	int r = output_send(worker, job);

	if (r > 0)
		job_end(worker, job);
	else if (r == 0 && job->streaming && job->head_sent && !job->cut &&
		 (output_waits_for_credit(job) ||
		  (job->pending.start == job->pending.end && !job->ending)))
		serve_hold(worker, job);
	link_ring(&job->peer->link);
	return r;
}

static int continue_sending(struct worker *worker)
{
	int r = peers_settle(worker);

	if (r < 0)
		return r;
	worker->dirty = false;
	list_each(link, &worker->sending) {
		r = serve_send(worker, container_of(link, struct job, link));
		if (r < 0)
			return r;
	}
	stream_tell_room(worker);
	return 0;
}

static crew_reply refuse_for_memory(struct crew_request *request)
{
	return crew_error(request, 503, "out of memory for the request's body");
}

static void run_handler(struct worker *worker, struct job *job)
{
	const struct crew_app *app = worker->options->pool->app;
	const struct crew_route *route = &app->routes[job->wire->route];

	request_init(&job->request, job->wire, job->body, &worker->public,
		     &job->arena);
	job->request.job = job;
	if (app->check && request_check(&job->request, app->check, route->on))
		return;
	request_run(&job->request,
		    job->no_memory ? refuse_for_memory : route->run, route->on);
}

/* Show what is in hand, run it, and show that it is done. */
static void run_job(struct worker *worker, struct job *job, uint64_t *now_ns)
{
	struct score *score = worker->self->score;
	const uint64_t start_ns = *now_ns;
	/* Written by this process alone: no other add can come between. */
	const uint64_t served =
		atomic_load_explicit(&score->served, memory_order_relaxed);

	atomic_store_explicit(&score->request_id, job->wire->id,
			      memory_order_relaxed);
	atomic_store_explicit(&score->state, CREW_CHILD_BUSY, memory_order_relaxed);
	run_handler(worker, job);
	*now_ns = clock_now_ns();
	job->service_us = (uint32_t)((*now_ns - start_ns) / 1000u);
	atomic_store_explicit(&score->request_id, 0, memory_order_relaxed);
	atomic_store_explicit(&score->state,
			      worker->paused ? CREW_CHILD_PAUSED : CREW_CHILD_READY,
			      memory_order_relaxed);
	atomic_store_explicit(&score->heartbeat_ms, *now_ns / 1000000u,
			      memory_order_relaxed);
	atomic_store_explicit(&score->served, served + 1, memory_order_relaxed);
}

/* 1: one was run or dropped, there may be more; 0: nothing to run; -EBADMSG. */
static int run_next(struct worker *worker, uint64_t *now_ns)
{
	struct job *job;
	struct list *link;
	int r;

	if (serve_rests(worker) || worker->over)
		return 0;
	link = list_pop_front(&worker->runnable);
	if (!link)
		return 0;
	job = container_of(link, struct job, link);
	if (!link_take(&job->peer->link, job->slot, job->generation)) {
		job_end(worker, job);
		return 1;
	}
	if (!wire_request_ok(job->wire, job->wire_size) ||
	    job->wire->route >= worker->route_count)
		return -EBADMSG;
	job->state = JOB_RUNNING;
	link_foresee_send(&job->peer->link);
	run_job(worker, job, now_ns);
	if (worker->over)
		return 0;
	if (job->request.state == REPLY_DEFERRED && !job->streaming)
		r = later_begin(worker, job);
	else
		r = begin_sending(worker, job);
	return r < 0 ? r : 1;
}

static void job_reset_answer(struct job *job)
{
	job->head_sent = false;
	job->last_sent = false;
	job->sent = 0;
	job->owed = 0;
	job->cut = false;
	job->data = NULL;
	job->deferred = false;
	job->cancelled = false;
	job->half_closed = false;
	job->alive_ms = 0;
	job->streaming = false;
	job->events = false;
	job->ending = false;
	job->untold = false;
	job->aborting = false;
	job->wants_room = false;
	job->refused = 0;
	job->boundary = NULL;
}

static int begin_sending(struct worker *worker, struct job *job)
{
	/* By its handler, which the dispatcher takes to be at it still. */
	const bool begun = job->head_sent;
	int r;

	if (job->request.state == REPLY_STREAM)
		stream_begin(worker, job);
	else if (job->streaming)
		stream_broken(job);
	if (job->untold || (job->cancelled && stream_goes_on(job))) {
		/* We have ended it, or its client went while the handler ran. */
		later_tell(worker, job);
		return begun && !job->cancelled ? later_say_returned(worker, job) : 0;
	}
	/* Nobody waits for it, nor gives credit for more. */
	if (job->cancelled)
		output_cut(job);
	job->state = JOB_SENDING;
	list_push_back(&worker->sending, &job->link);
	r = serve_send(worker, job);
	return r == 0 && begun ? later_say_returned(worker, job) : r;
}
