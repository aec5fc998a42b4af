/* SPDX-License-Identifier: MIT */
/*
 * The tables that describe a server, and the calls that run it. In every
 * struct here zero is the documented default. The tables are constant data:
 * crew validates them before it forks and never changes them.
 */
#ifndef CREW_SERVE_H
#define CREW_SERVE_H

#include <crew/error.h>
#include <crew/later.h>
#include <crew/log.h>
#include <crew/supervise.h>
#include <crew/worker.h>

/**
 * One row of a route table. `on` is "METHOD[,METHOD…] /pattern", or "/pattern"
 * for any method. A segment `{name}` matches any one segment, `{name:int}` a
 * decimal integer that fits an int64_t (with an optional minus sign),
 * `{name:float}` a decimal number. A last segment `**` matches the rest, none
 * included. A route for GET answers HEAD too. A row without `on` ends the table
 * (in a group a zeroed row does).
 */
struct crew_route {
	const char *on;
	crew_handler *run;
	bool idempotent; /* may be run again if its worker dies of it; once */
	const char *name; /* in a group: by which derived groups override it */
	const struct crew_routes *group; /* crew fills it, in its own copy */
};

/**
 * A group of routes with a prefix, a state of its own, and perhaps a base whose
 * rows it inherits. All rows that a group has, inherited ones too, answer below
 * the prefixes of its bases, the farthest first, and its own: with "/api" and
 * "/user", the row "GET /{id:int}" is "GET /api/user/{id:int}" and "GET /" is
 * "GET /api/user". A prefix may have parameters; handlers read them like others.
 *
 * A row that has the name of an inherited one stands in its place. Without `on`
 * it keeps the pattern; without `run` it removes the row. All else is as its own
 * table says. Inherited handlers run with the state of the group that inherits.
 */
struct crew_routes {
	const char *name;                /* for messages; must be there */
	const char *prefix;              /* "/api/user"; NULL: the base's */
	const struct crew_routes *base;  /* NULL: none */
	const struct crew_route *routes; /* ends with a zeroed row; NULL: the base's */
	/* Called once in each new worker, after the application's setup and those
	 * of the groups before it in the list; what is left in `ret_state` is what
	 * crew_group_state() gives the group's handlers. A non-zero return value
	 * ends the worker (and is its exit code), after the teardown of all that
	 * was set up. The threads of a pool may call it at the same time. */
	int (*setup)(struct crew_worker *worker, void **ret_state);
	/* Called with that state when a worker stops in an orderly way, the last
	 * group of the list first, the application after all groups. A group that
	 * has neither of the two has those of its nearest base that has one: they
	 * run for it too, and make it a state of its own. */
	void (*teardown)(struct crew_worker *worker, void *state);
};

/** An application: what a pool's workers run. */
struct crew_app {
	const char *name;
	const struct crew_route *routes; /* ends with a zeroed row; may be NULL */
	/* Called once in each new worker before its first request; a non-zero
	 * return value ends the worker (and is its exit code). */
	int (*setup)(struct crew_worker *worker);
	/* Called when a worker stops in an orderly way. */
	void (*teardown)(struct crew_worker *worker);
	/* Called before each handler; answers in its place, unless it returns
	 * crew_pass(). Headers that it sets are the handler's answer's too. */
	crew_reply (*check)(struct crew_request *request);
	/* Called when a handler or check answers with 500 or more, or with nothing
	 * valid: with what is logged, which is what crew_error() was told, or the
	 * status' reason phrase. The answer stands already: headers can be added,
	 * another that is made here has no effect. */
	void (*on_error)(struct crew_request *request, int status,
			 const char *text);
	/* Called with each configuration of crew_pool_config(), in order; for one
	 * that was sent before this worker began, between setup and its first
	 * request. */
	void (*on_config)(struct crew_worker *worker, const struct json_t *config);
	/* Called when there is nothing to do, every idle_interval_ms of the pool. */
	void (*on_idle)(struct crew_worker *worker);
	/* Called when the client of a stream or of a deferred request has gone, or
	 * its deadline passed, and for each stream that crew itself has ended: one
	 * without a body (HEAD, 204, 304), or events when the worker is to stop. So what
	 * belongs to a stream is let go of here, and where crew_end() or crew_abort() is
	 * called. The request is over when it returns. */
	void (*on_disconnect)(struct crew_request *request);
	/* Called when a stream can take more, after -EAGAIN. */
	void (*on_room)(struct crew_request *stream);
	/* Called when the worker begins to stop: what is deferred and streamed
	 * should come to its end. */
	void (*on_stop)(struct crew_worker *worker);
	/* Groups beside `routes`: a NULL-terminated list; NULL: none. A base that
	 * is not in the list gives its rows to others and answers nothing itself. */
	const struct crew_routes *const *groups;
};

/** A setting of a pool, which its handlers read with crew_setting(). */
struct crew_setting {
	const char *key;   /* not empty */
	const char *value; /* UTF-8 */
};

/** How the system schedules a process or thread (sched(7)). */
enum crew_policy {
	CREW_POLICY_BESIDE = 0, /* as it is, but a worker that its dispatcher wakes again and
				   again on another processor, for little work, moves to
				   the dispatcher's (sched_setaffinity(2)). It is not held
				   there, and where it may run stays as it was. With one
				   dispatcher, and no spin_us but 0; else, and for
				   dispatchers, as NORMAL. */
	CREW_POLICY_BATCH, /* SCHED_BATCH: it does not pre-empt others when it wakes. Fewer
			      switches, and more of them late: measure first */
	CREW_POLICY_NORMAL, /* as it is: all is left to the system */
};

/** How dispatchers read and write connections; which of them are ready epoll(7) says. */
enum crew_loop {
	CREW_LOOP_AUTO = 0, /* those of a turn together by io_uring where the system has it
			       (Linux 6.1) and allows it, as most containers do not; one
			       alone, and all elsewhere, as EPOLL */
	CREW_LOOP_EPOLL,    /* a system call for each read and write */
	CREW_LOOP_IO_URING, /* io_uring(7), one alone too; where it is not to be had as
			       EPOLL, with a warning */
};

/** A number of workers that run one application. A zeroed pool ends the list. */
struct crew_pool {
	const struct crew_app *app;
	const char *name;          /* 1 to 40 characters, and no blank, newline or
				      bracket; NULL: the application's */
	enum crew_kind kind;       /* CREW_PROCESS, or CREW_THREAD: all workers are
				      threads of one process, not isolated from each
				      other */
	unsigned workers;          /* 0: see crew_default_count() */
	/* Paths that are this pool's: a NULL-terminated list of patterns, of which
	 * one that ends in a segment of two stars takes all below it (and itself).
	 * The first pool that has the path decides about it, so the narrower one
	 * stands first; a prefix that a pool before it takes whole is refused.
	 * NULL: the pool takes what is no other pool's. */
	const char *const *prefix;
	unsigned queue_max;              /* requests waiting; 0: 1000 */
	unsigned queue_timeout_ms;       /* 503 after that wait; 0: 30000 */
	unsigned queue_warning;          /* a warning when so many wait; 0: 100;
					    UINT_MAX: never */
	unsigned queue_client_max;       /* waiting for one client address; 0: as many
					    as there is room for. It is the peer's: all
					    clients of a proxy have one, and all of a
					    Unix socket (which is warned of) */
	unsigned request_timeout_ms;     /* 504 after that; 0: 30000 */
	unsigned idle_interval_ms;       /* of on_idle; 0: 1000 */
	unsigned boot_timeout_ms;        /* 0: 60000 */
	unsigned heartbeat_timeout_ms;   /* 0: 60000 */
	/* As in struct crew_group; a degraded pool without a worker answers 503. */
	unsigned max_starting;
	unsigned max_restarts;
	unsigned restart_window_ms;
	unsigned degraded_retry_ms;
	/* A worker that has run so many requests, or up to a tenth fewer, by chance, so that
	 * not all come to it together, is replaced as SIGHUP does it: its successor is ready
	 * first, it finishes what it has in hand, and nothing is dropped. No two of a pool
	 * are replaced at a time, and who has them within a second of its start goes on for
	 * a while: it is no exact limit. Of threads each is started anew in the same
	 * process. 0: never. */
	unsigned max_requests;
	/* Resident size of a worker (of threads: of their process); 0: no limit. Beyond it
	 * the worker is replaced: its successor is ready before it is told to stop, it
	 * finishes what it has in hand, and no two of a pool are replaced at a time. Who has
	 * a quarter more than that, or is too large before it is ready, is killed. */
	uint64_t max_rss_bytes;
	enum crew_policy policy;         /* of its workers */
	/* How long, in microseconds, a worker that has nothing to do looks for more before
	 * it sleeps, at most 1000. Spares the wake-up, and takes a processor for so long:
	 * for where there are more processors than dispatchers and workers. Where it is in
	 * vain it ends by itself, and is tried again from time to time. 0: while its
	 * dispatcher does. CREW_NEVER: not at all. */
	unsigned spin_us;
	enum crew_level log_level;       /* 0: the server's */
	/* What the program's author has to tell the handlers: pairs that end with
	 * a zeroed row, and a JSON object as text. A pair stands before a member
	 * of the object that has the same key. NULL: none. */
	const struct crew_setting *settings;
	const char *settings_json;
};

/** Files of a directory, sent by the dispatcher. Mounts come before all routes, but for
 * one at "/": that has what no route takes by the method that is asked for. The directory
 * is opened at the start: a link that is turned to another one meanwhile is followed after a
 * restart, or when what it led to is removed, as a directory that is removed and made again
 * is found again. Links below it are followed each time, within it (not where openat2(2) is
 * refused, which is logged at the start). Regular files only, and none where a part of the
 * path below the mount begins with a dot, but for a first ".well-known" (RFC 8615). A
 * directory with an index.html that is named without its last slash, the mount itself too,
 * is redirected to it. What the disk fails to give is 500, and logged. */
struct crew_mount {
	const char *at;   /* URL prefix, "/static/" */
	const char *root; /* directory */
};

/** A request that is over, as on_response sees it; valid in that call. */
struct crew_response {
	uint64_t id;
	const char *method;
	const char *path;
	const char *client; /* the peer's address: behind a proxy the proxy's */
	const char *pool;   /* "": none, it was for a file, a local route or nothing at all */
	int status;         /* 0: its client left before there was an answer */
	uint64_t body_bytes; /* of the answer, as far as it was written */
	unsigned duration_ms; /* since the request was whole; or its head, if it never was */
	bool whole;         /* the answer was written whole; false: it was cut short, or its
			       client left */
};

/** What runs in the dispatcher besides local handlers; all must be quick. Each
 * gets a crew_worker that stands for the dispatcher: its pool is "local", and
 * crew_call, crew_publish, timers and watched descriptors work with it. */
struct crew_hooks {
	/* Called before a request is queued for a pool, when its head is there: may
	 * answer in the pool's place, or set values for the handler; returns
	 * crew_pass() to let it through. Headers that it sets are for its own
	 * answer. Not called for crew_call(), which carries no header to judge: what
	 * clients may have called is for who calls to ask. */
	crew_reply (*check)(struct crew_request *request);
	/* The paths for which it is called, as crew_pool.prefix; NULL: all. Others
	 * are spared what it costs. */
	const char *const *check_prefix;
	/* Called once for each request of a client, when its answer was written, or will not
	 * be: also for what the dispatcher answers itself (files, local routes, its check, 404)
	 * and for streams and requests whose clients have left. Not for crew_call(), nor for
	 * what is refused before its head was accepted, which is logged. It sees neither
	 * headers nor bodies. Of requests that the dispatcher gives up when it ends it is told
	 * as in on_stop. */
	void (*on_response)(struct crew_worker *dispatcher,
			    const struct crew_response *response);
	/* Called when there is nothing to do, every second. */
	void (*on_idle)(struct crew_worker *dispatcher);
	/* Called when the dispatcher has started, and before it ends. If on_start does
	 * not return 0, or not within 10 s, the dispatcher ends and is started again; if
	 * none comes up so three times, the program ends with 3. */
	int (*on_start)(struct crew_worker *dispatcher);
	/* Called when the dispatcher has ended its work: crew_call() and crew_publish() are
	 * refused with -ENOTCONN, timers and watched descriptors call no more. */
	void (*on_stop)(struct crew_worker *dispatcher);
	/* Called when a worker has ended: its pool, index and why. Each dispatcher calls it
	 * once, so that what is to be done once for all is the first one's; one that is
	 * started again hears only of those who end from then on. /status lists the last. */
	void (*on_worker_exit)(struct crew_worker *dispatcher, const char *pool,
			       unsigned index, enum crew_cause cause);
};

#define CREW_POOLS_MAX 16
#define CREW_DISPATCHERS_MAX 16
#define CREW_MOUNTS_MAX 16

/** A whole server. */
struct crew_server {
	const char *listen;              /* "ADDRESS:PORT", "[v6]:PORT", "unix:PATH" or
					    "unix:@NAME" (abstract: no file, open to all
					    of this network namespace, unix(7));
					    NULL: "127.0.0.1:8080"; port 0 picks one */
	unsigned listen_mode;            /* permissions of the file of unix:PATH, whatever the
					    umask: who may write may connect. 0: 0666, so that
					    a proxy may that runs as another user; who is to be
					    kept out is so by the directory, or by 0660 and its
					    group (a new file has that of who starts the
					    server, or of a directory with the setgid bit) */
	struct crew_pool pools[CREW_POOLS_MAX];
	/* What runs beside the pools and has nothing to do with HTTP: functions, threads, other
	 * programs, as crew_supervise() keeps them (docs/supervisor.md), under the same parent
	 * and in the same log. The list ends with a zeroed row; at most CREW_GROUPS_MAX; NULL:
	 * none. No two groups or pools have the same name, and none is called "dispatcher".
	 * Relative names in it are meant from where the server is started, and its
	 * descriptors must be open then; files are opened before `daemon.user` is become.
	 * Groups stop when the dispatchers and after them all pools are gone, in the order of
	 * their stop_order. SIGHUP replaces their children too. What becomes of a group is
	 * nothing to the pools and to /ready, but for one of which no child ever comes up: then
	 * the server gives up (CREW_EXIT_GAVE_UP). /status lists them as `groups`. */
	const struct crew_group *groups;
	const struct crew_route *local;  /* handlers that run in the dispatcher;
					    they must not block, and answer at once:
					    neither defer nor stream (500). Settings and
					    states of groups are not there */
	struct crew_hooks hooks;         /* that run in the dispatcher */
	struct crew_mount mounts[CREW_MOUNTS_MAX];
	/* Processes that talk to clients, each with a listening socket of its own on
	 * the same address (SO_REUSEPORT, socket(7)) and links to all workers; 0: 1.
	 * One serves some 200,000 requests a second: more are for machines with
	 * many processors. connections_max, max_pending and queue_max are shared out
	 * among them in equal parts; what else is limited is so for each. At most
	 * CREW_DISPATCHERS_MAX. */
	unsigned dispatchers;
	enum crew_policy policy;         /* of the dispatchers */
	enum crew_loop loop;             /* of the dispatchers */
	unsigned spin_us;                /* as a pool's, of the dispatchers; 0: while at most
					    six clients are busy (of all dispatchers), on
					    more than one processor without a quota
					    (cgroups(7)), and as long as what comes next
					    takes less than 50 microseconds on the average */
	unsigned coalesce_us;            /* how long, at most, a dispatcher that has little time to
					    sleep between the requests of many clients (less
					    than two fifths of it) naps, and lets them gather,
					    before it looks again, in microseconds, at most
					    1000: fewer rounds with more in each. 0: 500.
					    CREW_NEVER: not at all. By itself it is less: a
					    12th part of the time in which each of the busy
					    clients (512 at most) asks once; with less than 128
					    of them a smaller part, with 64 a 24th. Not with
					    fewer than 56 of them, nor if fewer than some
					    13,000 requests come in a second, nor for long
					    where a tenth less is served so; all of this for
					    each dispatcher. Nor with spin_us but 0 and
					    CREW_NEVER */
	unsigned max_pending;            /* requests waiting in all pools; 0: 1000 */
	const char *status_path;         /* NULL: "/status"; "": none. /health, /live
					    and /ready stand beside it */
	unsigned shutdown_timeout_ms;    /* 0: 10000 */
	unsigned head_timeout_ms;        /* first byte to whole head; 0: 5000 */
	unsigned body_timeout_ms;        /* between two reads of a body; 0: 10000 */
	unsigned idle_timeout_ms;        /* keep-alive; 0: 15000. Behind a proxy more than it keeps
					    idle connections to us (nginx and AWS's load
					    balancers 60 s, Go's 90 s), or it may send a request
					    into one that is being closed. (A client that takes
					    no byte of an answer or stream for 30 seconds, while
					    some wait for it, is given up in any case. TCP asks
					    who is silent for 60 seconds whether it is still
					    there, so that one that vanished is found in two
					    minutes.) */
	unsigned head_max_bytes;         /* line and headers; 0: 16384; at most 65536. Whatever
					    it is, a request line has at most 8 KiB (414),
					    and there are at most 100 header lines (431) */
	uint64_t body_max_bytes;         /* 0: 8 MiB. A dispatcher keeps a body until it is
					    answered: in memory up to 256 KiB, or up to 4 MiB
					    if its length is announced and all of those
					    hold no more than 32 MiB; else in an unlinked
					    file in $TMPDIR, or /tmp, which must be a directory
					    that may be written: else they are 507 */
	unsigned connections_max;        /* 0: what the descriptor limit allows */
	enum crew_level log_level;       /* 0: CREW_INFO */
	enum crew_log_form log_form;
	unsigned log_repeat_ms;          /* as in struct crew_plan */
	bool access_log;                 /* a line of the log for each request of a client, when it
					    is over, as info, whatever log_level is: client,
					    request line, status, bytes of the body, how long it
					    took from its head on, pool (docs/logging.md). Those
					    of a connection are in order, and none is left out as
					    repeated; but what the log cannot take at once is
					    dropped and counted, like all lines */
	crew_log_taker *on_log;          /* in the parent; NULL: all lines are written */
	void *on_log_context;
	struct crew_daemon daemon;
};

/**
 * Run a server from main(): reads the command line (--help lists it),
 * validates, forks, supervises, and returns the program's exit code: 0 after an
 * orderly stop, 1 if it could not start, 2 for a command line or table that is
 * wrong, 3 if no worker, no dispatcher, or no child of a group ever came up. With a
 * daemon it returns 0 in the process that was called, once the daemon is up; the daemon
 * never returns from it.
 * Blocks until the server stops; must be called from a single-threaded process. Signals
 * are, then and when it has returned, as crew_supervise says (<crew/supervise.h>).
 */
int crew_main(int argc, char **argv, const struct crew_server *server);

/**
 * The same without a command line: the caller's own. Returns the exit code, an
 * enum crew_exit (<crew/supervise.h>), and says in `ret_error` (may be NULL) why,
 * where that is not CREW_EXIT_OK.
 */
int crew_serve(const struct crew_server *server, struct crew_error *ret_error);

/** The version of the library that runs, "0.1.0". */
const char *crew_version(void);
/** The number of its binary interface: it equals CREW_ABI if the program was
 * compiled against the same one. */
unsigned crew_abi(void);
#define CREW_ABI 1u

/** Begins the tables of a server that is built as a shared object, for `crew run`, and says
 * against which interface: CREW_EXPORT_SERVER = { .pools = { … } }; */
#define CREW_EXPORT_SERVER                                                         \
	extern const unsigned crew_server_abi;                                     \
	extern const struct crew_server crew_server;                               \
	__attribute__((visibility("default"))) const unsigned crew_server_abi = CREW_ABI; \
	__attribute__((visibility("default"))) const struct crew_server crew_server

#endif
