/* SPDX-License-Identifier: MIT */
/*
 * What the files of this room share. Three kinds of things live here:
 *
 *   connection   a client's socket; reads, parses, writes (connection.h;
 *                connection.c, reader.c, writer.c)
 *   exchange     one request and its answer, in its place among those of its
 *                connection (exchange.c, refusal.c)
 *   seat         one worker's place in a pool, and the link to whoever sits
 *                there now (seat.c, slot.c, pool.c; what he says: answer.c,
 *                said.c)
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
#include "dispatch/body.h"
#include "dispatch/buffer.h"
#include "dispatch/coalesce.h"
#include "dispatch/connection.h"
#include "dispatch/dispatcher.h"
#include "dispatch/alone.h"
#include "dispatch/few.h"
#include "dispatch/limits.h"
#include "dispatch/memo.h"
#include "dispatch/sisters.h"
#include "handler/request.h"
#include "http/parse.h"
#include "http/respond.h"
#include "http/text.h"
#include "supervise/scoreboard.h"
#include "transport/control.h"
#include "transport/link.h"
#include "transport/outbox.h"
#include "transport/slots.h"

struct seat;

/* ---- exchanges ---- */

enum exchange_state {
	EXCHANGE_READING = 0, /* its body is not whole */
	EXCHANGE_QUEUED,      /* in its pool's queue */
	EXCHANGE_LINKED,      /* in a worker's link */
	EXCHANGE_ANSWERING,   /* its head was written, more is to come */
	EXCHANGE_DONE,        /* whole answer written into a buffer */
};

struct exchange {
	struct list in_connection;
	struct list in_pool;  /* the pool's queue, or its list of linked ones */
	struct connection *connection;
	struct pool *pool;
	const struct crew_route *route;
	struct seat *seat;
	uint32_t slot;
	uint64_t id;
	enum exchange_state state;
	uint64_t since_ms;    /* queued or linked at */
	unsigned char *block; /* encoded request without its body; NULL if it
				 stands in a link's arena only */
	uint32_t block_size;
	struct body body;
	unsigned deaths;      /* workers that died with it taken */
	unsigned begun_anew;  /* times that it was taken back when some of its body was
				 with a worker */
	int minor;
	int error_form;       /* enum http_error_form, by its Accept */
	bool is_local;        /* a local handler answers */
	bool is_head;         /* HEAD: the answer has no body */
	bool is_bodyless;     /* nor has this one, be it for its status */
	bool is_midway;       /* a stream, whose worker's last part ends amid an event */
	bool keep_alive;
	bool wants_continue;  /* 100 Continue is due when its turn comes */
	bool dropping_body;   /* its answer, if there is one, waits for the rest of
				 the body, which is dropped */
	bool rest_is_small;   /* so that dropping it is cheaper than to close */
	/* the answer */
	struct buffer out;    /* while it is not the first */
	uint64_t answer_left; /* bytes of the body still to come, or WIRE_UNKNOWN */
	uint32_t credit_owed; /* bytes of parts not yet taken by the client */
	int status;
	uint64_t answer_sent; /* bytes of the body */
	size_t promised;      /* bytes of it that are held, or may come to be, while others
				 are before it: what its route answers, or what is held */
	uint64_t began_ms;    /* when the request was whole */
	uint64_t queued_ms;   /* since when it has waited for a worker to begin */
	struct list subscriptions; /* of a stream (topics.c) */
	struct buffer early;  /* events published before its head */
	char *label;          /* "METHOD" NUL "/path", once its block is gone; at once if there
				 is an on_response */
	struct asked *asked;  /* what the access log will say of it; NULL: there is none, or
				 nothing is known */
	bool events;          /* a stream that its client takes up again */
	bool chunked;
	uint8_t mount;        /* whose file it is */
	int file_fd;          /* -1: none */
	uint64_t file_offset;
};

/** A request whose head is whole; its body follows or not. `head` is valid in
 * this call only. */
struct exchange *exchange_new(struct connection *connection,
			      const struct http_head *head);
/** Its head is whole: route it on. `inline_body` is the body, if that is there whole and small;
 * else it follows, and the connection is reading it. */
void exchange_submit(struct exchange *exchange, const struct http_head *head,
		     struct span inline_body);
/** Free it; a worker that has it is told to give up. */
void exchange_free(struct exchange *exchange);
/** Memory for its encoded request. False: there is none. */
bool exchange_take_block(struct exchange *exchange, uint32_t size);
/** Free it, if there is any. */
void exchange_drop_block(struct exchange *exchange);
bool exchange_is_first(const struct exchange *exchange);
/** Write the head of an answer, and begin its body. */
void exchange_begin(struct exchange *exchange, int status, struct span headers,
		    uint64_t body_size);
/** Write more of the body; at most what is left. */
void exchange_write(struct exchange *exchange, struct span data);
/** The body is whole. */
void exchange_end(struct exchange *exchange);
/** It ends as a failure, which its client can see. */
void exchange_abort(struct exchange *exchange);
/** Nobody will read its answer to the end: it is given up, and what was asked behind it; those
 * before it are answered, and then the connection ends. Frees nothing itself. */
void exchange_cut(struct exchange *exchange);
/** Write an event of a stream; `framed` is the same as a chunk. */
void exchange_write_event(struct exchange *exchange, struct span event,
			  struct span framed);
/** Method and path, for the log and the status page; never NULL. While a worker has the request
 * they are what stands there, which it can change. */
void exchange_describe(struct exchange *exchange, const char **ret_method,
		       const char **ret_path);
/** The server stops, and if this is a stream that can end well now, end it: then it, and those
 * behind it, may be gone. Whether it was. One that is amid an event its worker ends. */
bool exchange_end_stream(struct exchange *exchange);
/** Take back what there is of its answer, so that another can be given; false if the client may
 * have had some of it, it being the first of its connection. */
bool exchange_unsay(struct exchange *exchange);
/** The whole answer at once. */
void exchange_answer(struct exchange *exchange, int status, struct span headers,
		     struct span body);
/** Answer with an error; if an answer was begun, end the connection visibly. */
void exchange_fail(struct exchange *exchange, int status, const char *message);
/** 500, and a line in the log: its body cannot be read where it is kept, for that errno. */
void exchange_fail_body(struct exchange *exchange, int error);
/** Answer with an error that has more header lines ("Allow: …\r\n"). */
void exchange_refuse(struct exchange *exchange, int status, const char *headers,
		     const char *message);
/** 405, with what the dispatcher's match allows. */
void exchange_refuse_method(struct exchange *exchange);
/** The server stops: 503 if no answer was begun, else the connection ends visibly (see
 * connection_break()); the exchange may be freed. */
void exchange_give_up(struct exchange *exchange);
/** Its answer is whole, and none of it was thrown away with its connection. */
bool exchange_was_written(const struct exchange *exchange);
/** The first exchange of a connection has changed: move its bytes along. */
void exchange_advance(struct connection *connection);
/** Answer with what the match of this turn names in its mount (send_file.c). */
void exchange_answer_file(struct exchange *exchange, const struct http_head *head);
/** Send file bytes of the first exchange; called when the socket has room. */
void exchange_send_file(struct exchange *exchange);
void exchange_close_file(struct exchange *exchange);
/** A request that could not be parsed: answer and close. */
void refusal_of_parser(struct connection *connection, int status, const char *why);
/** One log line a second at most for each client. */
void refusal_log(struct connection *connection, int status, const char *why);
void refusal_note(struct connection *connection, const char *what);
/** An enum http_error_form: what the client wants errors as, by its Accept. */
int refusal_form(struct dispatcher *dispatcher, const struct http_head *head);
/** Whether a second has passed since the last line, which that mark notes, and now this one. */
bool refusal_is_due(uint64_t *at_ms, uint64_t now_ms);

/* ---- pools and seats ---- */

/* In our arena: whose bytes a request is, which no worker gives back. */
#define SLOT_BLOCK (LINK_NO_SLOT + 1u)

struct slot {
	struct exchange *exchange;  /* NULL: free, or abandoned */
	uint32_t generation;
	uint32_t offset;            /* of the request's block in the arena */
	uint32_t size;              /* of that block */
	uint32_t parts_out;         /* bytes of body parts not yet released */
	uint64_t body_sent;
	uint32_t cost_ns;           /* what its route was thought to take */
	uint32_t *cost;             /* what it is thought to take: its route's */
	bool used;
	bool holds_block;           /* its request stands in the arena */
	bool at_work;               /* no answer has begun, or its handler goes on */
};

struct seat {
	struct dispatcher *dispatcher;
	struct pool *pool;
	unsigned index;
	const struct score *score; /* the worker's line; may be NULL */
	uint32_t worker_generation;
	int32_t pid;
	struct watch bell;
	struct list in_active;  /* seats with something in hand */
	struct link link;
	struct slot *slots;     /* LINK_SLOTS of them; touched as they are used */
	struct slots free_slots;
	struct slots used_slots; /* a slot whose parts are not all back is neither */
	unsigned in_hand;       /* slots in use */
	unsigned at_work;       /* those whose handlers have not returned: what keeps the
				   worker busy. A client that reads slowly does not */
	uint64_t work_ns;       /* what those are thought to take */
	uint64_t progress_ms;   /* last answer that began or part of a body that was
				   taken, or first request after idleness */
	bool up;
	bool condemned;
	bool untold;            /* the parent does not know yet that it is; or, if it is
				   not up, that its worker was refused */
	bool draining;          /* gets no more work: the worker is leaving */
	bool announced;         /* we have said that we sleep */
	bool must_ring;
	bool paused;            /* the worker wants no more for now */
	bool doubted;           /* whether it takes anything; until it has woken or gone to
				   sleep since that epoch of its, or was heard */
	uint32_t doubted_epoch;
	uint64_t full_until_ms; /* there was no room for a request: others are asked first */
	struct outbox outbox;   /* what is to be said besides requests */
	struct list answers;    /* to calls of its worker: what is to be said behind that */
	struct list calls;      /* those that are not over */
	unsigned call_count;    /* of both */
	size_t answer_bytes;    /* that they hold */
	struct slots want_parts; /* slots that have more of a body to send */
};

struct pool {
	struct dispatcher *dispatcher;
	const struct crew_pool *options;
	const char *name;
	unsigned number;
	struct list queue;      /* exchanges that wait */
	struct list linked;     /* exchanges in links, by since_ms */
	struct timer timer;     /* the next deadline of both */
	unsigned queued;
	unsigned queue_max;
	struct seat **seats; /* grows as workers come */
	unsigned seat_count;
	uint32_t *costs;        /* of each route's handler: nanoseconds, moving average;
				   one more for what has no route */
	uint32_t *sizes;        /* of each route's answers: bytes of the largest body so
				   far, up to SIZE_NOTED_BYTES */
	size_t route_count;
	uint64_t served;
	uint64_t restarts;
	uint64_t late_answers;
	bool degraded;          /* its workers fail: they are tried slowly */
	bool warned;            /* that its queue is long */
};

/* ---- pools (pool.c) ---- */

/** An exchange whose request is whole enters its pool. */
void pool_enter(struct exchange *exchange);
/** Give queued exchanges to workers that have room. */
void pool_feed(struct pool *pool);
/** It was put into a link. */
void pool_linked(struct exchange *exchange);
/** Its worker goes on with it: its deadline starts anew; of a stream, which has none, that of
 * the call that it answers. */
void pool_alive(struct exchange *exchange);
/** Back to the head of the queue; it has waited since it came, unless a worker had begun with
 * it. It may have waited too long, and be answered. */
void pool_return(struct exchange *exchange, bool was_begun);
/** It left the queue or the links by other ways. */
void pool_leave(struct exchange *exchange);
void pool_deadline(struct loop *loop, struct timer *timer);
/** That pool's workers fail, or work again. */
void pool_set_degraded(struct pool *pool, bool degraded);

/* ---- which worker (choose.c), by what requests take (cost.c) ---- */

/** The worker that should get this request, or NULL. */
struct seat *pool_choose(struct pool *pool, const struct exchange *exchange);
/** It had no room for a request: for a moment others are asked. */
void pool_note_full(struct seat *seat);
/** Is there a worker with nothing in hand? */
bool pool_has_idle(const struct pool *pool);
bool pool_has_workers(const struct pool *pool);
/** Routes are slow until they were seen to be fast. 0 or -ENOMEM. */
int pool_init_costs(struct pool *pool);
void pool_fini_costs(struct pool *pool);
/** Where it is noted what a request like this takes. */
uint32_t *pool_cost(struct pool *pool, const struct exchange *exchange);
/** A worker needed that long for one whose cost is noted there. */
void pool_note_service(uint32_t *cost, uint32_t service_us);
/** How large the answer to a request like this may be, and that it was so large. */
uint32_t pool_size_of(const struct pool *pool, const struct exchange *exchange);
void pool_note_size(struct pool *pool, const struct exchange *exchange);

/* ---- seats (seat.c) ---- */

/** A worker came up: give it a seat and open its link. */
void seat_up(struct pool *pool, const struct control *order, struct link_fds *fds);
/** The seat of that worker, or NULL. */
struct seat *seat_find(const struct pool *pool, uint32_t index,
		       uint32_t generation);
/** It is leaving: give it no more, take back what it has not begun. */
void seat_drain(struct seat *seat);
/** It died: settle all that it had. */
void seat_down(struct seat *seat, uint32_t cause);
/** See what the worker has sent. */
void seat_receive(struct seat *seat);
/** Our side found nonsense: have it killed. */
void seat_condemn(struct seat *seat, const char *why);
/** Tell the parent, if it could not be told yet; the same of one that was refused. */
void seat_tell_condemned(struct seat *seat);
/** That worker cannot be linked: have another made in its place. */
void seat_refuse(struct pool *pool, const struct control *up, const char *why);
/** A message of the worker (answer.c); and one that is no answer (said.c). */
void answer_received(struct seat *seat, const struct message *message);
void said_received(struct seat *seat, const struct message *message);
/** Say something besides requests; it is sent as soon as there is room. With
 * `bytes`, message->size of them are copied: false, if there is no memory for that. */
bool seat_say(struct seat *seat, const struct message *message, const void *bytes);
/** Send what waits. False: something still does. */
bool seat_flush(struct seat *seat);
bool seat_has_news(const struct seat *seat);
void seat_announce(struct seat *seat);
void seat_awake(struct seat *seat);
/** Put a whole request into a free slot. 0, -EAGAIN (no room now), or -errno. */
int slot_send(struct seat *seat, struct exchange *exchange);
/** The same for a request that is encoded straight into the arena. */
int slot_send_encoded(struct seat *seat, struct exchange *exchange,
		      const struct encode_input *input);
/** Send more of a body, as credit allows. */
void slot_send_parts(struct seat *seat, uint32_t slot);
/** The slot's exchange is over or given up by its client. */
void slot_abandon(struct seat *seat, uint32_t slot);
void slot_free(struct seat *seat, uint32_t slot);
/** Copy the request out of the link, should it have to be run again. False: no
 * memory, it is gone already, or its worker has changed it and is condemned. */
bool slot_keep_block(struct seat *seat, struct slot *slot);
/** The worker needs the request's bytes no more. */
void slot_let_block_go(struct seat *seat, uint32_t slot);
/** The worker reads the request's block no more: let it go, and keep what we may
 * need of it ourselves. */
void slot_copied(struct seat *seat, uint32_t slot);
/** What stands in the slot's block, which its worker may have changed: in the link's memory,
 * bounded. "?" where there is none. */
struct slot_label {
	uint64_t id;
	struct span method, path;
};
void slot_read_label(const struct seat *seat, const struct slot *slot,
		     struct slot_label *ret);
/** Note method and path, before the block goes. */
void slot_label(struct seat *seat, uint32_t slot);
/** Its handler has returned: the worker can do something else. */
void slot_answering(struct seat *seat, uint32_t slot);
/** Its client may have gone: tell the worker. */
void slot_half_closed(struct seat *seat, uint32_t slot);
/** The server stops: the worker is to end this stream of events. */
void slot_end_stream(struct seat *seat, uint32_t slot);
/** Let the worker send that many more bytes of the slot's answer. */
void slot_credit(struct seat *seat, uint32_t slot, uint32_t size);
/** Did it share our processor when it rang last? As it says, and as it was then. */
bool seat_is_beside(const struct seat *seat);
/** It is at something slow, whatever its requests were thought to be. */
bool seat_is_silent(const struct seat *seat);
/** It has taken nothing of what it was given, and nothing shows that it would now. */
bool seat_is_doubted(struct seat *seat);
/** Take back what a worker has not begun; patiently: not yet a body of which it has some. True:
 * something is to be looked at again. */
bool seat_pull_back(struct seat *seat, bool patiently);

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
