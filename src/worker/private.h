/* SPDX-License-Identifier: MIT */
/*
 * What the files of this room share. worker.c lives and stops, app.c sets the
 * application up, serve.c takes requests from the link and runs them, output.c
 * sends their answers.
 *
 * A job is one request in this worker's hands, in the place of its slot:
 *
 *   free -> gathering -> runnable -> sending -> free
 *
 * The request's bytes lie in the dispatcher's half of the link and may be read
 * until the job's last message is sent; a body that comes in parts is put
 * together in memory of our own.
 */
#ifndef WORKER_PRIVATE_H
#define WORKER_PRIVATE_H

#include "base/arena.h"
#include "base/list.h"
#include "base/loop.h"
#include "handler/request.h"
#include "transport/link.h"
#include "worker/worker.h"

/* sysexits.h, EX_PROTOCOL and EX_OSERR: what the parent logs by name. */
#define EXIT_PROTOCOL 76
#define EXIT_SYSTEM 71

/* So often at least an idle worker shows that it lives. */
#define IDLE_BEAT_MS 1000u
/* A busy worker looks at signals and its channel after so many requests… */
#define BATCH_REQUESTS 64u
/* …or so much time, whichever comes first. */
#define BATCH_NS 20000000u
/* How long an orderly stop waits for clients to take what was begun, where the
 * pool sets no request timeout. The parent kills sooner if it has no patience. */
#define DRAIN_MS 30000u

enum job_state { JOB_FREE = 0, JOB_GATHERING, JOB_RUNNABLE, JOB_SENDING };

struct job {
	struct list link; /* in gathering, runnable or sending */
	enum job_state state;
	uint32_t slot;
	uint32_t generation;
	const struct wire_request *wire;
	uint32_t wire_size;
	struct span body;
	unsigned char *gathered; /* NULL: the body stands in the block */
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
};

/* What the application's groups left in this worker. */
struct app_state {
	void **states;     /* of each group of the list */
	void **row_states; /* the same by route */
	unsigned up;       /* how many groups are set up */
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
	struct watch bell;
	struct link link;
	bool linked;
	struct list gathering; /* jobs whose body is not whole */
	struct list runnable; /* jobs, oldest first */
	struct list sending;  /* jobs whose answer waits for room or credit */
	bool draining;
	uint64_t drain_until_ms;
	bool over;
	int exit_code;
	struct job jobs[LINK_SLOTS];
};

/** The dispatcher's side of the link makes no sense: stop, and say why. */
void worker_condemn_link(struct worker *worker, const char *what);

/** Read the settings, set the application up and then its groups. 0, or the exit
 * code of the process, and then nothing is left set up. */
int app_set_up(struct worker *worker);
/** Tear down what app_set_up did, in reverse order: the worker's orderly end. */
void app_tear_down(struct worker *worker);
/** Free what crew itself holds for the application. */
void app_fini(struct worker *worker);

/** Make all jobs free ones; once at the start. */
void serve_init(struct worker *worker);
/** Drop all jobs: their link is gone, or the process ends. */
void serve_drop_all(struct worker *worker);
/** Free what the jobs hold. */
void serve_fini(struct worker *worker);
/** Take what the link brought, run requests, send answers: until there is
 * nothing to do, or it is time to look elsewhere. Does not block by itself. */
void serve_batch(struct worker *worker);
/** Would serve_batch find something to do now? */
bool serve_has_work(const struct worker *worker);
/** The job is over, however it ended. */
void job_end(struct job *job);

/** Send as much of the answer as there is room and credit for. 1: all of it
 * is sent; 0: come back when there is news on the link; -EBADMSG. */
int output_send(struct worker *worker, struct job *job);
/** Nobody waits for the rest: end the answer as soon as possible. */
void output_cut(struct job *job);
/** The client took bytes of the answer's parts. */
void output_credit(struct job *job, uint32_t size);

#endif
