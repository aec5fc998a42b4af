/* SPDX-License-Identifier: MIT */
/*
 * The contract between dispatcher and worker: what lies in the rings of a link
 * and what the bytes behind it mean. This is the one header that both rooms
 * include. All numbers are in the machine's order; all places are offsets from
 * the start of the block that they stand in, never pointers.
 *
 * A request's way: the dispatcher picks a slot, raises its generation, writes
 * a struct wire_request block (or one that wants more body) into its arena,
 * offers the claim, and sends MESSAGE_REQUEST. The worker takes the claim,
 * runs the handler, and sends MESSAGE_ANSWER, MESSAGE_ANSWER_PART…, the last
 * one marked MESSAGE_LAST. The request block is the worker's to read until its
 * answer's last part is sent, or MESSAGE_COPIED said.
 */
#ifndef TRANSPORT_MESSAGE_H
#define TRANSPORT_MESSAGE_H

#include <stdint.h>

#include "base/span.h"

#define MESSAGE_VERSION 7u

enum message_kind {
	MESSAGE_NONE = 0,
	/* dispatcher to worker */
	MESSAGE_REQUEST,      /* bytes: a wire_request; claim before use */
	MESSAGE_BODY_PART,    /* bytes: more of the slot's body; release when copied */
	MESSAGE_CANCEL,       /* the client left or the deadline passed: nobody waits
				 for the answer. With MESSAGE_HALF the client has
				 only closed its sending side: it may still read.
				 With MESSAGE_LAST the server stops: a stream of
				 MESSAGE_EVENTS ends, behind what waits to be sent */
	MESSAGE_CREDIT,       /* the client has taken `size` bytes of ANSWER_PARTs of
				 this slot: so many more may be sent (no bytes come
				 with it; the offset means nothing) */
	MESSAGE_PUBLISHED,    /* to the publisher: its `generation` is the token of the
				 MESSAGE_PUBLISH, its `size` how many were reached */
	MESSAGE_CALL_ANSWER,  /* bytes: a wire_call_answer, the first one; then more of
				 its body, until MESSAGE_LAST. Without any: 503 */
	/* worker to dispatcher */
	MESSAGE_ANSWER,       /* bytes: a wire_answer, LINK_CREDIT_BYTES at most;
				 release when written */
	MESSAGE_ANSWER_PART,  /* bytes: more of the slot's body. Those parts for
				 which no credit has come back yet are at most
				 LINK_CREDIT_BYTES: release frees the arena, credit
				 says that the client keeps up */
	MESSAGE_DEFER,        /* the slot's handler has returned, its answer comes
				 later, or goes on; the worker can do something else */
	MESSAGE_ALIVE,        /* the slot's deadline starts anew */
	MESSAGE_SUBSCRIBE,    /* bytes: a topic of which the slot's stream is to get
				 all that is published */
	MESSAGE_UNSUBSCRIBE,  /* bytes: that topic */
	MESSAGE_PUBLISH,      /* bytes: a wire_publish */
	MESSAGE_PAUSE,        /* no more requests for now; what is not taken is to be
				 given to others */
	MESSAGE_RESUME,
	MESSAGE_CALL,         /* bytes: a wire_call */
	MESSAGE_KIND_COUNT
};

enum message_flag {
	MESSAGE_LAST = 1u << 0,   /* nothing follows for this slot */
	MESSAGE_COPIED = 1u << 1, /* the worker reads the request's block no more */
	MESSAGE_EVENTS = 1u << 2, /* of a stream that its client takes up again by
				     itself: it ends when the server stops */
	MESSAGE_HALF = 1u << 3,   /* see MESSAGE_CANCEL */
	MESSAGE_ABORT = 1u << 4,  /* with MESSAGE_LAST: the stream ends as a failure,
				     visibly */
	MESSAGE_MORE = 1u << 5,   /* with MESSAGE_ANSWER_PART of a stream: it ends in the
				     middle of what was sent at once, the rest follows */
	MESSAGE_RUNNING = 1u << 6, /* with MESSAGE_ANSWER of a stream: its handler goes on,
				     and reads the request's block. A
				     MESSAGE_DEFER follows when it returns, unless the
				     stream is over then */
};

/** An entry of a ring. */
struct message {
	uint16_t kind;
	uint16_t flags;
	uint32_t slot;
	uint32_t generation; /* of the slot: an old one is dropped and counted */
	uint32_t offset;     /* of the bytes, in the sender's arena */
	uint32_t size;       /* of the bytes; 0: none, and the offset means nothing */
	uint32_t service_us; /* an answer and its parts: how long the handler ran */
	uint64_t reserved;
};
_Static_assert(sizeof(struct message) == 32, "two entries a cache line");

/** A text in a block: `offset` from the block's start, NUL behind it. */
struct wire_text {
	uint32_t offset;
	uint32_t size;
};

struct wire_header {
	struct wire_text name;
	struct wire_text value;
};

enum wire_param_type { WIRE_PARAM_TEXT = 0, WIRE_PARAM_INT, WIRE_PARAM_FLOAT };

/** A path parameter, decoded and converted by the router. */
struct wire_param {
	struct wire_text name;
	struct wire_text text;
	uint32_t type;
	uint32_t reserved;
	union {
		int64_t integer;
		double real;
	};
};

#define WIRE_PARAMS_MAX 8u

/** The head of a request block; the arrays and texts follow it. */
struct wire_request {
	uint64_t id;
	uint64_t body_size;      /* whole body; parts follow if body.size is less */
	uint32_t size;           /* of the whole block */
	uint32_t route;          /* row in the pool's table of routes */
	uint32_t headers;        /* offset of struct wire_header[header_count] */
	uint32_t params;         /* offset of struct wire_param[param_count] */
	uint16_t header_count;
	uint16_t param_count;
	uint16_t value_count;
	uint16_t depth;          /* 0: a client's; else of a call within calls */
	uint16_t method_number;  /* enum http_method */
	uint16_t minor;          /* of HTTP/1.0 and HTTP/1.1 */
	uint32_t values;         /* offset of struct wire_header[value_count]: what the
				    dispatcher's check has set */
	struct wire_text method;
	struct wire_text path;   /* decoded */
	struct wire_text query;  /* as sent */
	struct wire_text client;
	struct wire_text body;   /* what of it stands in this block */
};

/** The head of an answer block. Behind it: `headers_size` bytes of header
 * lines ("Name: value\r\n"…), then the first part of the body. */
struct wire_answer {
	uint32_t status;
	uint32_t headers_size;
	uint64_t body_size;  /* whole body; WIRE_UNKNOWN: chunked, until the last part */
};

#define WIRE_UNKNOWN UINT64_MAX
/** Header lines of one answer in sum, so that its head always fits into one
 * message of a link with room to spare. A handler cannot set more, and a worker
 * that sends more has gone wrong. */
#define WIRE_HEADERS_MAX_BYTES (32u * 1024u)

/** What a stream's subscribers get: `topic_size` bytes of topic stand behind it,
 * then the event as it goes to the client. */
struct wire_publish {
	uint32_t token;      /* 0: no MESSAGE_PUBLISHED is wanted */
	uint32_t topic_size;
	uint32_t event_size;
	uint32_t reserved;
};

#define WIRE_TOPIC_MAX_BYTES 256u
#define WIRE_PUBLISH_MAX_BYTES (64u * 1024u)

/** A request of a worker's own. Behind it stand the texts and the body. */
struct wire_call {
	uint32_t token;       /* 0: no MESSAGE_CALL_ANSWER is wanted */
	uint32_t depth;       /* of calls within calls */
	uint32_t timeout_ms;
	uint32_t pool_size;   /* name; 0: by its path */
	uint32_t method_size;
	uint32_t target_size; /* path and query */
	uint32_t type_size;   /* Content-Type; 0: none */
	uint32_t body_size;
};

#define WIRE_CALL_MAX_BYTES (256u * 1024u)
/** Calls within calls: a loop ends here. */
#define WIRE_CALL_DEPTH_MAX 8u

/** The answer to a call; header lines and the first of the body follow. */
struct wire_call_answer {
	uint32_t token;
	uint32_t status;
	uint32_t headers_size;
	uint32_t body_size;   /* whole */
};

#endif
