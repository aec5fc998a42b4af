/* SPDX-License-Identifier: MIT */
/*
 * What the files of this room share. Three kinds of things live here:
 *
 *   connection   a client's socket; reads, parses, writes (connection.h;
 *                connection.c, reader.c, writer.c)
 *   exchange     one request and its answer, in its place among those of its
 *                connection (exchange.h; submit.c, exchange.c, refusal.c, send_file.c)
 *   seat         one worker's place, and the link to whoever sits there now (seat.h;
 *                seat.c, slot.c, settle.c; what he says: answer.c, said.c), in a pool
 *                (pool.h; pool.c, choose.c, cost.c)
 *
 * Besides them: the topics to which streams are subscribed (topics.c), requests
 * of workers' own (calls.c), what the application runs here (local.c, hooks.c),
 * the access log (access.c).
 *
 * An exchange belongs to its connection until that is gone; then, if a worker
 * still has it, its slot is abandoned and the exchange is freed at once.
 */
#ifndef DISPATCH_PRIVATE_H
#define DISPATCH_PRIVATE_H

#include <time.h>

#include "base/kept.h"
#include "base/list.h"
#include "base/loop.h"
#include "dispatch/buffer.h"
#include "dispatch/coalesce.h"
#include "dispatch/connection.h"
#include "dispatch/dispatcher.h"
#include "dispatch/exchange.h"
#include "dispatch/alone.h"
#include "dispatch/few.h"
#include "dispatch/limits.h"
#include "dispatch/memo.h"
#include "dispatch/pool.h"
#include "dispatch/seat.h"
#include "dispatch/sisters.h"
#include "handler/request.h"
#include "http/parse.h"
#include "http/respond.h"
#include "http/text.h"
#include "transport/control.h"

/* ---- topics (topics.c) ---- */

#define TOPIC_BUCKETS 4096u

/** From now on the stream gets what is published there. 0 or -ENOMEM. */
int topic_subscribe(struct exchange *exchange, struct span topic);
void topic_unsubscribe(struct exchange *exchange, struct span topic);
/** It is over: forget all its subscriptions. */
void topic_forget(struct exchange *exchange);
/** Write an event to all that are subscribed; returns how many. */
unsigned topic_publish(struct dispatcher *dispatcher, struct span topic,
		       struct span event);

/* ---- calls (calls.c) ---- */

/** A wire_call, from a worker's seat or, with `done`, from this process. The
 * bytes are copied. 0, or -errno: -EBADMSG, if they are no call; -ENOMEM, which a worker
 * is told as 503, while `done` is not called back. */
int call_begin(struct dispatcher *dispatcher, struct seat *seat, struct span bytes,
	       crew_answered *done, void *context);
/** The answer of a call's exchange. */
void call_head(struct call *call, int status, struct span headers);
void call_body(struct call *call, struct span data);
void call_over(struct call *call);
/** Its connection is freed: answered or not, the call is over. */
void call_free(struct call *call);
/** A worker has sat down: nothing was called from there. */
void calls_open(struct seat *seat);
/** It is gone. What it has called with a token is over; the rest goes on, but no longer than
 * its pool gives it. */
void calls_close(struct seat *seat);
/** Tell it of calls that are over, as much as it may leave unread. */
void calls_tell(struct seat *seat);
/** Submit what this process has called for in this turn. */
void calls_submit(struct dispatcher *dispatcher);
/** Call back who called from this process. */
void calls_call_back(struct dispatcher *dispatcher);
/** Does a stop wait for any? Not for those that were begun when no client was left: who calls
 * again and again, by a timer, would go on for ever. */
bool calls_hold(const struct dispatcher *dispatcher);
/** The worker that has its request says that it goes on. */
void call_alive(struct call *call, const struct pool *pool);
unsigned call_depth(const struct call *call);

/* ---- the application's hooks (hooks.c) ---- */

/** Set up what stands for the dispatcher towards the application. */
void hooks_init(struct dispatcher *dispatcher);
int hooks_start(struct dispatcher *dispatcher);
void hooks_fini(struct dispatcher *dispatcher);
/** Ask the application's check. True: the request goes on, and `input` has the
 * values; false: it was answered. */
bool hooks_check(struct exchange *exchange, struct encode_input *input);
/** For on_response, if there is one: note what a client's request is; and tell that it is over. */
void hooks_note(struct exchange *exchange, const struct http_head *head);
void hooks_responded(struct exchange *exchange);
void hooks_idle(struct dispatcher *dispatcher);
void hooks_worker_exit(struct pool *pool, unsigned index, unsigned cause);

/* ---- the access log (access.c) ---- */

/** If there is one: note what the request is; and write its line, when it is over. Of calls
 * neither does anything. */
void access_asked(struct exchange *exchange, const struct http_head *head);
void access_over(struct exchange *exchange);

/* ---- the dispatcher ---- */

#define REFUSAL_MARKS 256u

struct dispatcher {
	struct crew_child *self;
	const struct dispatcher_options *options;
	const struct crew_server *server;
	struct loop loop;
	struct http_limits limits;
	struct watch listener;
	struct watch channel;
	struct watch stop;
	struct timer beat;
	struct timer accept_rest;
	struct timer drain_timer;
	struct timer pull_back;
	struct few few;
	struct alone alone;
	struct coalesce coalesce;
	struct timer retry;   /* somebody could not be told something */
	struct list connections;
	struct list to_flush;
	struct list gone;     /* connections to free at the end of the turn */
	struct list active;   /* seats */
	unsigned came_meanwhile; /* events, since all workers were rung */
	struct seat *gives_way_to; /* it got all that it can take in this turn, and works
				      only while we sleep; or NULL */
	uint64_t gives_way_at_ms;  /* not before: it was in vain */
	struct kept kept_exchanges;
	struct kept kept_blocks;
	struct pool pools[CREW_POOLS_MAX];
	unsigned pool_count;
	unsigned connection_count;
	unsigned connections_max;
	unsigned pending;     /* queued in all pools */
	unsigned max_pending;
	unsigned processors;  /* that workers can run on at once */
	unsigned to_spare;    /* of them, besides one for us, as far as we may use them up */
	unsigned call_count;  /* calls that have no answer yet */
	unsigned late_calls;  /* of them: begun at a stop when no client was left */
	size_t answer_bytes;  /* that all calls hold */
	uint64_t calls_failed; /* of those whose end nobody is told of */
	uint64_t call_failed_ms; /* when that was last logged */
	struct list calls_new;  /* calls of this process, to be submitted */
	struct list calls_done; /* calls of this process, to be called back */
	uint64_t slow_subscribers; /* cut off */
	uint64_t published;
	struct topic *topics[TOPIC_BUCKETS];
	struct buffer chunk;  /* scratch of a publication */
	struct buffer events; /* for the other dispatchers, not said yet */
	int events_file;      /* those before them, which the parent has not taken yet: a
				 descriptor plus 1; 0: none */
	uint64_t events_at_ms; /* the next file of them goes then at the earliest */
	int reserve_fd;
	int fds_max;          /* clients and their files get none from there on: the
				 rest is for links and messages */
	bool draining;
	bool streams_to_end; /* some began while draining */
	bool may_exit;
	bool over;           /* its loop has ended: nothing is sent or heard any more */
	uint64_t next_id;
	uint64_t served;
	time_t date_at;
	char date[HTTP_DATE_SIZE];
	/* scratch of one call, so that connections need none */
	struct http_head head;
	struct route_match match;
	struct memo memo;
	char good_lines[GOOD_LINES_BYTES]; /* the header lines checked last */
	size_t good_lines_size;
	char accept[ACCEPT_BYTES]; /* the last one, */
	size_t accept_size;
	struct http_wants accept_wants; /* and what it wants */
	char path[LINE_MAX_BYTES];
	char input[READ_BYTES];
	struct ahead *ahead;  /* NULL: each send and receive is a call of its own */
	/* local handlers and hooks run in this process */
	struct crew_worker local_worker;
	struct arena arena;
	uint64_t refused_ms[REFUSAL_MARKS]; /* when something was logged of addresses
					       with that hash */
	uint64_t mount_failed_ms[CREW_MOUNTS_MAX]; /* when that was last logged */
	uint64_t body_failed_ms; /* when it was last logged that one could not be kept */
	struct control deaths[CONTROL_DEATHS]; /* of workers, the last ones */
	uint64_t death_count; /* so far; the next one's place, modulo CONTROL_DEATHS */
	struct control groups[CREW_GROUPS_MAX]; /* what was said last of those beside the pools */
};

/** Look soon whether what waits with one worker had better go to another. */
void pull_back_soon(struct dispatcher *dispatcher);
/** Take back what is stuck behind a slow request. The timer's. */
void pull_back(struct loop *loop, struct timer *timer);
/** The same for single requests that their workers have not taken for long; each second. */
void pull_back_single(struct dispatcher *dispatcher);

/* The loop's events (turn.c). */
/** Hear what the workers have said. Any seat, connection and exchange may change. */
void turn_receive(struct dispatcher *dispatcher);
void turn_done(struct loop *loop);
bool turn_is_long_enough(struct loop *loop);
/** End the turn soon, and let that worker work before anything else is taken in. */
void turn_give_way_to(struct seat *seat);
bool turn_may_sleep(struct loop *loop);
void turn_woke(struct loop *loop);
void listener_ready(struct loop *loop, struct watch *watch, uint32_t events);
void listener_rested(struct loop *loop, struct timer *timer);
void asked_to_stop(struct loop *loop, struct watch *watch, uint32_t events);
void control_came(struct loop *loop, struct watch *watch, uint32_t events);
void drain_over(struct loop *loop, struct timer *timer);
void retry_saying(struct loop *loop, struct timer *timer);
/** Say again soon what could not be said. */
void retry_soon(struct dispatcher *dispatcher);
const char *dispatcher_date(struct dispatcher *dispatcher);
void dispatcher_drain_check(struct dispatcher *dispatcher);
/** What /status answers; malloc'ed, or NULL. */
char *status_text(struct dispatcher *dispatcher);
/** A worker is dead: /status lists the last of those who were not told to stop. */
void status_note_death(struct dispatcher *dispatcher, const struct control *death);
/** How a group beside the pools is. */
void status_note_group(struct dispatcher *dispatcher, const struct control *group);
/** Answer the built-in pages. */
void status_answer(struct exchange *exchange, unsigned page);
/** Run a local handler. */
void local_answer(struct exchange *exchange, const struct encode_input *input);
/** The same when its body came in pieces. */
void local_answer_block(struct exchange *exchange);

#endif
