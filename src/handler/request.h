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

#include <crew/worker.h>

#include "base/arena.h"
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
};

enum reply_state { REPLY_NONE = 0, REPLY_MADE };

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
	struct json_t *json;
	char json_error[200];
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
/** Check that a block of `size` bytes is a well-formed wire_request: all its
 * offsets inside, all texts NUL-terminated. */
bool wire_request_ok(const void *block, uint32_t size);

#endif
