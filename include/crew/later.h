/* SPDX-License-Identifier: MIT */
/*
 * What outlives a handler: answers that come later, streams, published events,
 * calls to other pools, timers and watched descriptors. All functions here are
 * called in the process and from the thread that crew runs the worker's
 * handlers and callbacks on; none of them blocks. Callbacks run between two
 * handlers, never inside one (but see crew_published).
 *
 * A request that outlives its handler is named by a ticket. Keep the ticket,
 * not the pointer: crew_claim() gives the request back, or NULL once it is
 * over (answered, ended, or its client has gone, or its deadline has passed).
 */
#ifndef CREW_LATER_H
#define CREW_LATER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <crew/worker.h>

/** Names one request of one worker, for as long as the worker lives; never 0. */
typedef uint64_t crew_ticket;

/* ---- answers that come later ---- */

/** Answer later: the handler returns what this gives, the worker goes on with
 * other requests, and crew_finish() answers. The request's own texts move: what
 * crew_path_str() and its sisters returned before this call is valid until the
 * handler returns, what they return after it until the request is over. The
 * pool's request timeout goes on running. `ret_ticket` may be NULL; it is 0 where that
 * failed (no memory), which no request has. In a worker only: a local handler that
 * defers is answered with 500. */
crew_reply crew_defer(struct crew_request *request, crew_ticket *ret_ticket);
/** The ticket of a request that was deferred or is a stream; 0 of another. */
crew_ticket crew_ticket_of(const struct crew_request *request);
/** The request of a ticket, valid until the callback that asks for it returns
 * or ends it; NULL if it is over. */
struct crew_request *crew_claim(struct crew_worker *worker, crew_ticket ticket);
/** The `context` of a callback that is to go on with that request. */
static inline void *crew_ticket_context(crew_ticket ticket)
{
	_Static_assert(sizeof(void *) >= sizeof(ticket), "a ticket fits into a pointer");
	return (void *)(uintptr_t)ticket;
}
/** In that callback: crew_claim() of it. */
static inline struct crew_request *crew_claim_context(struct crew_worker *worker,
						      void *context)
{
	return crew_claim(worker, (crew_ticket)(uintptr_t)context);
}
/** Send the answer of a deferred request: crew_finish(request, crew_json(…)).
 * The request is over then, and the pointer no more valid. Returns 0, or
 * -EINVAL if the request was not deferred (it goes on as it is), or is over since
 * crew_cancelled() was asked (on_disconnect follows). A reply that
 * is not valid is answered with 500, as a handler's is. */
int crew_finish(struct crew_request *request, crew_reply reply);
/** Has the client gone, or the deadline passed? A long handler may ask now and
 * then, and stop its work: what it answers is dropped. Also true when the
 * client has closed only its sending side; then the answer is still sent. */
bool crew_cancelled(struct crew_request *request);
/** The request's deadline starts anew, and the worker is seen to be alive; one that is to
 * leave (reload, scaling, but not a stop of the server) stays for as long as it has such a
 * request. May be called often: it says something at most eight times in a timeout. */
void crew_keep_alive(struct crew_request *request);
/** A pointer of yours that belongs to this request; crew does not own it. */
void crew_set_data(struct crew_request *request, void *data);
/** What crew_set_data() left, or NULL. */
void *crew_data(const struct crew_request *request);

/* ---- streams ---- */

/** Begin an answer whose end is not known, and return from the handler with
 * it; crew_send() and crew_end() go on from anywhere. From its first byte, or its
 * handler's return, a stream has no deadline (until then it has the pool's);
 * but a client that takes no byte for 30 seconds while some wait for it is given
 * up, as with any answer. The request's own texts move, as with crew_defer(): also
 * in a handler that goes on for long, what it has read of them before is valid
 * until it returns. When its client goes, on_disconnect of the application is
 * called, within moments also if nothing is being sent. (A client that closes its
 * sending side has gone.) A status without a body (204, 304), and the method HEAD,
 * end it at once, which on_disconnect is called for too: it is for each stream that
 * its application has not ended itself. 205, which must be empty, cannot be streamed
 * (500). `ret_ticket` as in crew_defer(). In a worker only: a local handler that streams
 * is answered with 500. */
crew_reply crew_stream(struct crew_request *request, int status,
		       const char *type, crew_ticket *ret_ticket);
/** The same, of Server-Sent Events (WHATWG HTML, 9.2): text/event-stream, not
 * cached. It ends when the worker is to stop, since its client comes again; a handler
 * that goes on with it gets -EPIPE then, within moments, and crew_cancelled() is true.
 * (One of crew_stream() may finish what it sends: it does not hear of the stop.) */
crew_reply crew_events(struct crew_request *request, crew_ticket *ret_ticket);
/** The same, of parts that replace each other: multipart/x-mixed-replace. */
crew_reply crew_multipart(struct crew_request *request, crew_ticket *ret_ticket);

/** At most so many bytes in one call of crew_send() and its sisters. */
#define CREW_SEND_MAX_BYTES (1024u * 1024u)
/** So many bytes may wait for a client before -EAGAIN; what is larger is taken when
 * nothing waits. */
#define CREW_SEND_ROOM_BYTES (64u * 1024u)

/** Send bytes; copied. 0; -EAGAIN if the client reads too slowly: on_room is
 * called when there is room for as much; -EPIPE if the stream is over; -EMSGSIZE;
 * -EINVAL if the request is no stream; -ENOMEM. All of it or nothing is sent. */
int crew_send(struct crew_request *stream, const void *data, size_t size_bytes);

/** In the handler that has begun a stream and goes on with it: wait until half
 * of that room is free, or all is on its way; after a send that was refused, until
 * there is room for that one. Blocks, and keeps the worker alive. 0; -ETIMEDOUT;
 * -EPIPE if the stream is over; -EINVAL elsewhere. */
int crew_wait_room(struct crew_request *stream, unsigned timeout_ms);

/** An event. All may be left out but one. */
struct crew_event {
	const char *data;    /* any number of lines */
	size_t data_bytes;   /* 0: strlen(data) */
	const char *event;   /* its type; one line */
	const char *id;      /* what a client says as Last-Event-ID; one line */
	unsigned retry_ms;   /* 0: leave it as it is */
	const char *comment; /* any number of lines; a lone one keeps proxies calm */
};

/** Send an event. As crew_send(); -EINVAL also if `event` or `id` hold a line
 * break or NUL, or nothing is given. */
int crew_send_event(struct crew_request *stream, const struct crew_event *event);
/** Send a JSON object and a newline (NDJSON): crew_send_json(stream,
 * crew_int("n", 1)). */
int crew_send_json_fields(struct crew_request *stream,
			  const struct crew_field *fields);
#define crew_send_json(stream, ...)             \
	crew_send_json_fields((stream),         \
			      (const struct crew_field[]){ __VA_ARGS__, { 0 } })
/** Send a part of a crew_multipart() stream; `type` NULL: application/octet-stream. */
int crew_send_part(struct crew_request *stream, const char *type,
		   const void *data, size_t size_bytes);
/** End the stream when all is sent, and its handler has returned. The request is
 * over then. 0 or -EINVAL. */
int crew_end(struct crew_request *stream);
/** End it as a failure: the client sees that it is not whole. 0 or -EINVAL. */
int crew_abort(struct crew_request *stream);

/* ---- topics ---- */

/** From now on the stream gets each event that is published under `topic` (1
 * to 256 bytes), by any worker of any pool. 0, -EINVAL (also if the stream
 * is over), -ENOMEM. A subscriber that takes nothing until 128 KiB wait for it is cut
 * off, and counted; one of more than 256 topics is cut off too. Events come between
 * what is sent by one call of crew_send(), crew_send_event() and the like, never amid
 * it. */
int crew_subscribe(struct crew_request *stream, const char *topic);
/** It gets no more of that topic. */
int crew_unsubscribe(struct crew_request *stream, const char *topic);
/** Called when the event was handed to so many streams. (Published in a dispatcher,
 * by a hook or a local handler, it is called before crew_publish() returns, and counts
 * the streams of that dispatcher only; those of the others get it too.) */
typedef void crew_published(struct crew_worker *worker, unsigned streams,
			    void *context);
/** Send an event to all who are subscribed, in the order in which one worker
 * publishes. It is encoded once, and copied to the streams by the dispatcher.
 * `done` may be NULL. 0; -EINVAL; -EMSGSIZE (64 KiB at most); -EAGAIN (more than
 * a thousand are on their way: go on in a later callback); -ENOMEM; -ENOTCONN
 * (there is no dispatcher now). */
int crew_publish(struct crew_worker *worker, const char *topic,
		 const struct crew_event *event, crew_published *done,
		 void *context);
/** How many streams this worker holds. */
unsigned crew_streams(const struct crew_worker *worker);
/** How many all workers of its pool hold. */
unsigned crew_pool_streams(const struct crew_worker *worker);

/* ---- flow ---- */

/** Take no more requests until crew_resume(); others of the pool take them.
 * Streams, timers, watched descriptors and configuration go on. */
void crew_pause(struct crew_worker *worker);
/** Take requests again. */
void crew_resume(struct crew_worker *worker);
/** Does it take none now? */
bool crew_paused(const struct crew_worker *worker);

/* ---- calls to other pools ---- */

/** A request of your own. */
struct crew_call {
	const char *pool;     /* its name; NULL: whoever the path belongs to */
	const char *method;   /* NULL: "GET", or "POST" if there is a body */
	const char *target;   /* path and query, as a client would send them */
	const char *type;     /* Content-Type of the body, or NULL */
	const void *body;     /* copied */
	size_t body_bytes;    /* at most 256 KiB in all */
	unsigned timeout_ms;  /* for all of it; 0: what the pool gives a request to wait
				 and be answered, anew with crew_keep_alive(). A longer
				 one does not move the pool's own deadlines */
	const struct crew_request *request; /* on whose behalf, or NULL: needed only
					       outside of its handler, so that loops
					       of calls are found */
};

/** The answer to a call; valid in the callback only. */
struct crew_answer {
	int status;           /* 502, 503, 504 also where no handler answered */
	const char *headers;  /* lines "Name: value\r\n" */
	size_t headers_bytes;
	const void *body;
	size_t body_bytes;
};

/** Told of the answer to a call. */
typedef void crew_answered(struct crew_worker *worker,
			   const struct crew_answer *answer, void *context);
/** Ask a pool. The dispatcher's check is not asked, and sets no values (crew_value());
 * that of the pool's application is. `done` is called once, from the loop, whatever
 * happens; NULL: fire and forget (if it fails, that is logged and counted). A worker that is
 * to leave (reload, scaling) waits, as for a request, for the answers of calls that it made
 * before it was told, or in on_stop; those that it makes later may be told 502. When the
 * server stops, its workers are told when the dispatchers have gone: of none is an answer to
 * come, and in on_stop there is nobody to ask (-ENOTCONN). 0; -EINVAL
 * (target, method or type are not legal); -ENOENT (no such pool); -ELOOP (calls within calls,
 * more than 8 deep); -EMSGSIZE; -EAGAIN, -ENOMEM, -ENOTCONN as crew_publish(). */
int crew_call(struct crew_worker *worker, const struct crew_call *call,
	      crew_answered *done, void *context);

/* ---- timers and descriptors ---- */

struct crew_timer; /* one that is set */

/** Called by a timer. */
typedef void crew_timed(struct crew_worker *worker, void *context);
/** Call once after so many milliseconds. The timer, or NULL without memory; it
 * is crew's and gone after the call. */
struct crew_timer *crew_after(struct crew_worker *worker, unsigned ms,
			      crew_timed *call, void *context);
/** Call every so many milliseconds (at least 1), until crew_timer_stop(). */
struct crew_timer *crew_every(struct crew_worker *worker, unsigned ms,
			      crew_timed *call, void *context);
/** Call no more; also from the call itself. Takes NULL. */
void crew_timer_stop(struct crew_timer *timer);

enum crew_ready { CREW_READ = 1, CREW_WRITE = 2 };

/** Called when a descriptor is ready (enum crew_ready, or-ed). */
typedef void crew_watched(struct crew_worker *worker, int fd, unsigned ready,
			  void *context);
/** Call whenever `fd` can be read or written without blocking (`events`: enum
 * crew_ready, or-ed; an error or hang-up counts as both). A descriptor that is
 * watched already is changed. It stays yours: crew_unwatch() it before closing
 * it. 0, -EINVAL, -ENOMEM, or epoll_ctl(2)'s error. */
int crew_watch(struct crew_worker *worker, int fd, unsigned events,
	       crew_watched *call, void *context);
/** Watch it no longer. 0, or -ENOENT if it was not watched. */
int crew_unwatch(struct crew_worker *worker, int fd);

#endif
