/* SPDX-License-Identifier: MIT */
/*
 * What a handler sees and says: a view of a wire_request block, and the answer
 * that it builds. Both a worker (over shared memory) and a dispatcher (for
 * local routes, over its own) run handlers through this room, so that a
 * handler cannot tell where it runs. It includes include/crew/worker.h and
 * implements its request and reply functions.
 */
#ifndef HANDLER_REQUEST_H
#define HANDLER_REQUEST_H

#include <stdbool.h>
#include <stdint.h>

#include <crew/later.h>
#include <crew/worker.h>

#include "base/arena.h"
#include "base/list.h"
#include "base/loop.h"
#include "base/span.h"
#include "transport/message.h"

/** The worker as handlers see it (crew_worker_*). */
struct crew_worker {
	const char *pool;
	unsigned index;
	unsigned generation;
	void *state;
	void *const *row_states; /* of each route's group; NULL: no groups */
	size_t row_count;
	const struct crew_setting *settings; /* all that are text; may be NULL */
	struct json_t *settings_object;      /* NULL: it has no pool */
	/* Beats the heart of the process; may be NULL. */
	void (*beat)(struct crew_worker *worker);
	size_t (*link_memory)(struct crew_worker *worker, void **ret_start,
			      size_t *ret_size, size_t max);
	/* Told of answers of 500 and up; may be NULL. */
	void (*on_error)(struct crew_request *request, int status,
			 const char *text);
	/* What handler/say.c has encoded: to the rest of the server. They set the token
	 * in it, if somebody is to be told. NULL: cannot. */
	int (*publish)(struct crew_worker *worker, void *bytes, size_t size,
		       crew_published *done, void *context);
	int (*call)(struct crew_worker *worker, void *bytes, size_t size,
		    crew_answered *done, void *context);
	/* Its number, or -ENOENT. */
	int (*knows_pool)(const struct crew_worker *worker, const char *pool);
	char *(*status)(struct crew_worker *worker);
	bool is_dispatcher;
	int channel;                  /* to the parent */
	unsigned depth;               /* of the call whose answer is being told */
	struct crew_request *running; /* whose handler is being called, or NULL */
	struct json_t *config;
	struct loop *loop;            /* for timers and watched descriptors */
	struct list timers;
	struct list watches;
};

enum reply_state {
	REPLY_NONE = 0,
	REPLY_MADE,     /* a whole answer */
	REPLY_DEFERRED, /* it comes later */
	REPLY_STREAM,   /* its head is made, its body has no end yet */
	REPLY_PASS,     /* of a check: none */
};

/** A value that the dispatcher's check has set. */
struct request_value {
	struct span name;
	struct span value;
};

#define REQUEST_VALUES_MAX 16u
/* Names and values together: they travel in the request's block, of which a link must
 * have room for some. */
#define REQUEST_VALUES_MAX_BYTES (64u * 1024u)

struct crew_request {
	const struct wire_request *wire;
	struct span body;            /* whole */
	struct crew_worker *worker;
	struct arena *arena;         /* reset by the owner after the answer */
	uint64_t seal;               /* what the one valid reply must carry */
	/* the answer */
	enum reply_state state;
	unsigned replies;            /* how many were made */
	int status;
	struct span reply_body;      /* in the arena, or constant */
	char *headers;               /* lines, in the arena */
	size_t headers_size;
	size_t headers_room;
	bool failed;                 /* no memory for the answer */
	const char *fault;           /* what is wrong with the answer, or NULL */
	const char *type;            /* Content-Type by the last reply, or NULL */
	const char *type_set;        /* the one that the handler set, or NULL */
	const char *location;        /* of a redirect, or NULL */
	const char *error_text;      /* what crew_error said, or NULL */
	const char *error_file;      /* where crew_error was called, or NULL */
	int error_line;
	const char *backtrace;       /* of that call, or NULL */
	uint32_t query_count;        /* pairs that crew_query_at() has passed … */
	uint32_t query_offset;       /* … and where that was; set if any were */
	struct json_t *json;
	const char *json_error;      /* in the arena, or constant; NULL */
	void *job;                   /* struct job of a worker; NULL elsewhere */
	uint64_t deferred_seal;      /* of the reply that crew_defer() made; 0 */
	bool finished;               /* answered before its handler returned */
	bool head_sealed;            /* its header lines are finished */
	bool settled;                /* on_error is told of it: no other can be made */
	/* in the dispatcher's check: what it sets; NULL elsewhere */
	struct request_value *values;
	unsigned value_count;
};

/** Begin: all fields but those given are reset. */
void request_init(struct crew_request *request, const struct wire_request *wire,
		  struct span body, struct crew_worker *worker,
		  struct arena *arena);
/** Release what the arena does not hold (jansson's values). */
void request_fini(struct crew_request *request);
/**
 * Call the handler and judge what it returns. Afterwards status, headers
 * (without Content-Length) and reply_body hold a whole answer, in any case: of
 * a handler that returned no valid reply, an error 500, logged as `name`.
 */
void request_run(struct crew_request *request, crew_handler *handler,
		 const char *name);
/** The same for a check that goes before handlers. Returns false if it lets the
 * request pass; else the request holds the answer. */
bool request_check(struct crew_request *request, crew_handler *checker,
		   const char *name);
/** The same for an answer that was made by somebody else: judge `reply`. */
void request_judge(struct crew_request *request, crew_reply reply,
		   const char *name);
/** Begin anew, for the answer of a request that was deferred. */
void request_restart(struct crew_request *request);

/** Set up what timers and watched descriptors need; and end them all. */
void worker_events_init(struct crew_worker *worker, struct loop *loop);
void worker_events_fini(struct crew_worker *worker);
/** Check that a block of `size` bytes is a well-formed wire_request: all its
 * offsets inside, all texts NUL-terminated. */
bool wire_request_ok(const void *block, uint32_t size);

#endif
