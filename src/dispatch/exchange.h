/* SPDX-License-Identifier: MIT */
/* One request and its answer: see exchange.c, submit.c, refusal.c and send_file.c. Part of
 * private.h. */
#ifndef DISPATCH_EXCHANGE_H
#define DISPATCH_EXCHANGE_H

#include "base/list.h"
#include "base/span.h"
#include "dispatch/body.h"
#include "dispatch/buffer.h"
#include "http/parse.h"

struct asked;
struct connection;
struct crew_route;
struct dispatcher;
struct pool;
struct seat;

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
/** Its head is whole: route it on (submit.c). `inline_body` is the body, if that is there, whole
 * and small; else it follows, and the connection is reading it. */
void exchange_submit(struct exchange *exchange, const struct http_head *head,
		     struct span inline_body);
/** Its turn has come: send the "100 Continue" that its client waits for. */
void exchange_continue(struct exchange *exchange);
/** That many bytes of its answer may come to be held, so that no more is taken in than what
 * there is room for. */
void exchange_promise(struct exchange *exchange, size_t size);
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
/** An enum http_error_form: what the client wants errors as, by its Accept. */
int refusal_form(struct dispatcher *dispatcher, const struct http_head *head);

#endif
