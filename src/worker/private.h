/* SPDX-License-Identifier: MIT */
/*
 * What the files of this room share. worker.c lives and stops, app.c sets the
 * application up, peer.c knows the dispatchers, serve.c takes requests from their
 * links and runs them, output.c sends their answers, later.c keeps those that are
 * answered later, stream.c those whose answer has no end yet, topics.c and calls.c
 * speak with the rest of the server.
 *
 * A job is one request in this worker's hands, in the place of its slot:
 *
 *   free -> gathering -> runnable -> running -> sending -> free
 *                                       \-> held -> sending -> free
 *
 * Held are deferred requests and streams that have nothing to send, or may not
 * send now. The request's bytes lie in the dispatcher's half of the link until
 * the job's last message is sent, or until they were copied; a body that comes
 * in parts is put together in memory of our own.
 */
#ifndef WORKER_PRIVATE_H
#define WORKER_PRIVATE_H

#include "base/arena.h"
#include "base/list.h"
#include "base/loop.h"
#include "base/spin.h"
#include "handler/request.h"
#include "transport/link.h"
#include "transport/outbox.h"
#include "worker/beside.h"
#include "worker/worker.h"

/* sysexits.h, EX_PROTOCOL and EX_OSERR: what the parent logs by name. */
#define EXIT_PROTOCOL 76
#define EXIT_SYSTEM 71

/* So often at least an idle worker shows that it lives. */
#define IDLE_BEAT_MS 1000u
/* Large memory that no request needed for so long goes back to the system. */
#define SPARES_MS 1000u
/* A busy worker looks at signals and its channel after so many requests… */
#define BATCH_REQUESTS 64u
/* …or so much time, whichever comes first. */
#define BATCH_NS 20000000u
/* Between requests that have come already: how long the links are not looked at, since
 * each look waits for memory that the dispatcher has just written. */
#define LOOK_NS 20000u
/* How long, at most, a worker looks for its next request because its dispatcher spins; so
 * often between others being let go first, and looks at its own descriptors. */
#define FOLLOW_US 1000u
#define LOOKS 16u
/* How long an orderly stop waits for clients to take what was begun, where the
 * pool has no request timeout, which only tests leave out. The parent kills sooner if
 * it has no patience. */
#define DRAIN_MS 30000u

/* A handler that goes on with a stream of events looks so often whether the worker is to
 * stop: each look is a system call. */
#define HEAR_STOP_MS 100u

/* How many bytes of streams may wait for their clients before a send is refused
 * is CREW_SEND_ROOM_BYTES: who was refused may go on when so few still do. */
#define STREAM_LOW_BYTES (CREW_SEND_ROOM_BYTES / 2)

/* Room for what a stream sends that it keeps while it has nothing to send: thousands may be
 * silent. */
#define STREAM_KEPT_BYTES 4096u

/* What the application publishes and calls is refused beyond that, while the
 * dispatcher does not keep up. */
#define UNSAID_MAX 1024u
/* How often is looked whether there is room for it: the dispatcher does not ring for that
 * where it has nothing else in hand. */
#define UNSAID_MS 1u

enum job_state {
	JOB_FREE = 0,
	JOB_GATHERING,
	JOB_RUNNABLE,
	JOB_RUNNING, /* its handler, or a callback about its end, is being called */
	JOB_HELD,
	JOB_SENDING,
};

/* What a stream has still to send. */
struct pending {
	char *data;
	size_t start;
	size_t end;
	size_t room;
};

struct control;

struct job {
	struct peer *peer;
	struct list link; /* in gathering, runnable, held, sending or cancelled */
	struct list in_roomy;
	enum job_state state;
	uint32_t slot;
	uint32_t generation;
	const struct wire_request *wire;
	uint32_t wire_size;
	struct span body;
	unsigned char *gathered; /* in the arena; NULL: the body stands in the block */
	uint64_t gathered_size;
	bool no_memory;          /* for its body: to be refused */
	/* the answer */
	struct crew_request request;
	struct arena arena;
	uint32_t service_us;
	bool head_sent;
	bool last_sent;
	size_t sent;             /* bytes of the body */
	uint32_t owed;           /* bytes of parts without credit so far */
	bool cut;                /* nobody waits for it: only its end is to be told */
	/* of one that outlives its handler */
	uint32_t serial;         /* of its ticket; 0: it has none */
	struct wire_request *copy; /* of the request's block */
	void *data;              /* the application's */
	bool deferred;
	bool cancelled;          /* its client has gone, or its deadline passed */
	bool half_closed;        /* its client may have gone */
	uint64_t alive_ms;       /* when it was last said to be alive */
	/* of a stream */
	bool streaming;
	uint64_t streaming_since_ms;
	bool counted;            /* in worker->streams */
	bool events;             /* of a kind that clients take up again */
	bool ending;             /* no more is taken for it */
	bool untold;             /* it was we who ended it, as its application is to hear */
	bool aborting;
	bool wants_room;         /* a send was refused */
	size_t refused;          /* how large it was; 0: the last one was not */
	struct pending pending;
	const char *boundary;    /* of multipart */
};

/* A callback that waits for the dispatcher's word. */
struct awaited {
	struct list link;
	uint32_t waits_for;        /* peers that have not said theirs: bits by number */
	uint32_t token;
	void *context;
	crew_published *published; /* of a crew_publish(), or */
	crew_answered *answered;   /* of a crew_call() */
	uint32_t depth;
	int status;
	bool lost;                 /* there is none, but for that status */
	char *answer;              /* header lines, then the body */
	size_t headers_size;
	size_t size;
	size_t have;
};

/* What the application's groups left in this worker. */
struct app_state {
	void **states;     /* of each group of the list */
	void **row_states; /* the same by route */
	unsigned up;       /* how many groups are set up */
};

/* A dispatcher, and what it has given. */
struct peer {
	unsigned number;
	bool linked;
	struct link link;
	const struct score *score; /* the dispatcher's line; NULL: not known */
	const struct score_owner *owner; /* whose that is by now */
	int32_t pid;
	struct watch bell;
	uint32_t rung_at;     /* its progress: see link_progress() */
	bool full;            /* an answer has found no room in the ring since it was settled */
	struct outbox outbox; /* what is to be said besides answers */
	uint32_t jobs_used;   /* those from here on never were */
	struct job *jobs[LINK_SLOTS]; /* made when their slot is first used */
};

struct worker {
	struct crew_worker public;
	struct crew_child *self;
	const struct worker_options *options;
	size_t route_count;
	struct app_state app; /* app.c */
	struct loop loop;
	struct watch channel;
	struct watch stop;
	struct peer *peers;
	unsigned peer_count;
	struct list gathering; /* jobs whose body is not whole */
	struct list runnable; /* jobs, oldest first */
	struct list sending;  /* jobs whose answer waits for room or credit */
	struct list held;     /* jobs that wait for the application, or for credit */
	struct list cancelled; /* held jobs whose client has gone, or streams that we have
				  ended: to be told */
	struct list awaited;  /* callbacks that the dispatcher will cause */
	struct list come;     /* those that it has caused */
	struct list roomy;    /* streams that can take more, and were refused */
	struct arena_spares spares; /* of all jobs' arenas */
	uint64_t trim_at_ms;  /* when those that lie there are freed */
	bool dirty;           /* something became ready to be sent */
	uint32_t next_token;
	uint32_t last_awaited; /* when it was told to stop: a token */
	uint32_t next_serial;
	unsigned streams;
	uint64_t served_max;  /* then it asks for a successor; UINT64_MAX: never, or it has */
	bool paused;
	bool set_up;          /* until then the scoreboard shows it as starting */
	struct spin spin;
	bool follows;         /* it spins while a dispatcher does */
	unsigned looks;       /* of has_news() so far */
	bool goes_beside;     /* its dispatcher, when woken elsewhere for little */
	bool must_move;       /* when it has nothing to do */
	unsigned place;       /* the processor to move to */
	struct beside beside;
	uint64_t idle_at_ms;  /* when on_idle is due */
	uint64_t hear_stop_at_ms; /* when a handler's sends ask next whether to stop */
	bool must_stop;       /* the parent has said so */
	bool draining;
	uint64_t drain_until_ms;
	bool over;
	int exit_code;
};

/** The dispatcher's side of the link makes no sense: stop, and say why. */
void worker_condemn_link(struct worker *worker, const char *what);
/** The same for an error of serve_receive() and the like; or there is no memory for a
 * request, which its dispatcher takes to be with us. */
void worker_fail(struct worker *worker, int error);

/** In a handler that goes on: has the parent said that the worker is to stop? It does when the
 * handler has returned. Cheap: the system is asked some times a second. */
bool worker_must_stop(struct worker *worker);

/** A request is kept alive: if the worker is to stop, its time for that begins anew too. */
void worker_goes_on(struct worker *worker, uint64_t now_ms);

/** A dispatcher has rung while we slept. */
void worker_rung(struct worker *worker, const struct peer *peer);

/** Read the settings, set the application up and then its groups. 0, or the exit
 * code of the process, and then nothing is left set up. */
int app_set_up(struct worker *worker);
/** Tear down what app_set_up did, in reverse order: the worker's orderly end. */
void app_tear_down(struct worker *worker);
/** Free what crew itself holds for the application. */
void app_fini(struct worker *worker);

/** There are no jobs yet: make its lists empty ones; once at the start. */
void serve_init(struct worker *worker);
/** Drop that peer's jobs: its link is gone, or the process ends. */
void serve_drop(struct worker *worker, struct peer *peer);
/** Take what the link brought, run requests, send answers: until there is
 * nothing to do, or it is time to look elsewhere. Does not block by itself. */
void serve_batch(struct worker *worker);
/** Would serve_batch find something to do now? */
bool serve_has_work(const struct worker *worker);
/** Does it run no requests for now, or no more? */
static inline bool serve_rests(const struct worker *worker)
{
	return worker->draining || worker->paused;
}
/** The job is over, however it ended. */
void job_end(struct worker *worker, struct job *job);

/** Read what a dispatcher has sent. 0, -EBADMSG, -ENOMEM; runs no callback. */
int serve_receive(struct worker *worker, struct peer *peer);
/** Send as much of the job's answer as can be sent now, and end it if that was
 * all. 1: it was; 0: not; -EBADMSG. */
int serve_send(struct worker *worker, struct job *job);
/** A job that waits for the application, or for its client. */
void serve_hold(struct worker *worker, struct job *job);
/** A job that has something to send. */
void serve_ready_to_send(struct worker *worker, struct job *job);
/** The worker of a request; NULL in the dispatcher. */
struct worker *worker_of(const struct crew_request *request);
struct job *job_of_request(const struct crew_request *request);

/* ---- peer.c ---- */

/** Room for so many dispatchers. 0 or -ENOMEM. */
int peers_init(struct worker *worker, unsigned count);
/** Drop all links, and free what the jobs hold. */
void peers_fini(struct worker *worker);
/** A link came from that dispatcher, by that CONTROL_LINK; the descriptors become ours. */
void peer_take(struct worker *worker, struct peer *peer, const struct control *control,
	       const int fds[3]);
/** Its dispatcher is dead, and nothing will come over its link; for a handler that waits, since
 * the next link is taken between two of them. */
bool peer_is_gone(const struct peer *peer);
/** Close its link, if there is one, and drop what it has given. */
void peer_drop(struct worker *worker, struct peer *peer);
/** The same for each whose dispatcher has gone, between two handlers: who is to stop waits for
 * nothing that they would have to take. */
void peers_drop_gone(struct worker *worker);
/** The place of a slot; NULL without memory. */
struct job *peer_job(struct worker *worker, struct peer *peer, uint32_t slot);
/** Whom to ask for something: the dispatcher of the request that is running, or
 * any. NULL if there is none. */
struct peer *peers_any(struct worker *worker);
bool peers_have_news(const struct worker *worker);
/** Has it said something, or given back what somebody waits for? */
bool peer_has_news(const struct peer *peer);
/** Does any say that it looks for work for a while before it sleeps? */
bool peers_spin(const struct worker *worker);
/** Tell all that we sleep; and that we do not. */
void peers_announce(struct worker *worker);
void peers_awake(struct worker *worker);
/** Ring for those that sleep. Returns how often was rung so far. */
uint64_t peers_ring(struct worker *worker);
/** Was all said that was to be said besides answers? */
bool peers_told(const struct worker *worker);
/** Take back what they are done with, and say what waits. >= 0 or -EBADMSG. */
int peer_settle(struct worker *worker, struct peer *peer);
int peers_settle(struct worker *worker);
/** Is there room for more of what the application says? Else it is faster than
 * the dispatcher. */
bool peer_may_say(struct worker *worker, struct peer *peer);
/** Say something besides answers; and the same of a request. 0 or -errno. */
int peer_say(struct worker *worker, struct peer *peer, enum message_kind kind,
	     uint32_t size, const void *bytes);
int peer_say_of(struct worker *worker, const struct job *job, enum message_kind kind,
		unsigned flags, uint32_t size, const void *bytes);
/** What is ours to write of all links; returns how many runs. */
unsigned peers_memory(struct worker *worker, void **ret_start, size_t *ret_size,
		      size_t max);

/* ---- output.c ---- */

/** Send as much of the answer as there is room and credit for. 1: all of it
 * is sent; 0: come back when there is news on the link; -EBADMSG. */
int output_send(struct worker *worker, struct job *job);
/** Nobody waits for the rest: end the answer as soon as possible. */
void output_cut(struct job *job);
/** The client took bytes of the answer's parts. */
void output_credit(struct job *job, uint32_t size);
/** Is it a stream that can send nothing before its client takes something? */
bool output_waits_for_credit(const struct job *job);
/** One message with bytes of an answer, LINK_PART_BYTES at most. 1, 0 (no room now), or
 * -EBADMSG. */
int output_part(struct job *job, unsigned flags, struct span bytes);

/* ---- later.c ---- */

/** The handler has returned, the answer comes later. -EBADMSG. */
int later_begin(struct worker *worker, struct job *job);
/** Say that the handler has returned, and reads the request's block no more. 0 or
 * -EBADMSG. */
int later_say_returned(struct worker *worker, const struct job *job);
/** Its application is to be told, between two handlers, that it is over. */
void later_tell(struct worker *worker, struct job *job);
/** Tell the application of those whose clients have gone, and of streams that we have
 * ended, and end them. */
void later_tell_cancelled(struct worker *worker);
/** The request's bytes are to outlive the handler. False: no memory. */
bool later_copy(struct worker *worker, struct job *job);

/* ---- stream.c ---- */

/** The handler has begun a stream: it is one from now on. */
void stream_begin(struct worker *worker, struct job *job);
/** Is it a stream to which can be sent? */
bool stream_is_open(const struct job *job);
/** Is it one that nobody has ended, be its client there or not? */
static inline bool stream_goes_on(const struct job *job)
{
	return job->streaming && !job->ending;
}
/** Send what the stream has. As output_send(). */
int stream_send(struct worker *worker, struct job *job);
/** Let those go on who were refused, and whose clients take more. */
void stream_tell_room(struct worker *worker);
/** Its handler has returned something else than the stream that it began. */
void stream_broken(struct job *job);
/** Room for bytes behind what waits. 0 or -errno, see crew_send(). */
int stream_reserve(struct crew_request *stream, size_t size, char **ret_place);
/** Free what it holds; it is counted no more. */
void stream_fini(struct worker *worker, struct job *job);
/** The dispatcher stops: end it, if it is one that is taken up elsewhere. */
void stream_stop(struct worker *worker, struct job *job);
/** While its handler is at it the loop does not hear that the worker is to stop: look, and end
 * it then, if it is one that is taken up elsewhere. */
void stream_hear_stop(struct worker *worker, struct job *job);
/** The worker is to stop: end those that are taken up elsewhere. */
void stream_drain(struct worker *worker);

/* ---- topics.c, calls.c ---- */

int topics_published(struct worker *worker, struct peer *peer,
		     const struct message *message);
int calls_answered(struct worker *worker, struct peer *peer,
		   const struct message *message);
/** Make a place for a callback, and set its token in what is to be sent: a wire_publish or
 * wire_call. NULL: no memory. */
struct awaited *awaited_new(struct worker *worker, void *bytes, void *context);
struct awaited *awaited_find(struct worker *worker, uint32_t token);
void awaited_free(struct awaited *awaited);
/** That dispatcher will say no more of it. */
void awaited_heard(struct worker *worker, struct awaited *awaited,
		   const struct peer *peer);
/** Is there one that was begun before the worker was told to stop? */
bool awaited_hold(const struct worker *worker);
/** That dispatcher has gone. Calls that it had are told 502. */
void awaited_fail(struct worker *worker, const struct peer *peer);
/** Make the callbacks whose time has come. */
void awaited_call_back(struct worker *worker);
/** What crew_publish() and crew_call() hand over; see handler/say.c. */
int worker_publish(struct crew_worker *public, void *bytes, size_t size,
		   crew_published *done, void *context);
int worker_call(struct crew_worker *public, void *bytes, size_t size,
		crew_answered *done, void *context);

#endif
