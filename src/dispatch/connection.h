/* SPDX-License-Identifier: MIT */
/*
 * A client's socket: what is read from it and written to it, its clocks, and its end. Of
 * the dispatcher's room alone, whose private.h says how it goes with the rest.
 */
#ifndef DISPATCH_CONNECTION_H
#define DISPATCH_CONNECTION_H

#include "base/batch.h"
#include "base/list.h"
#include "base/loop.h"
#include "dispatch/buffer.h"
#include "http/parse.h"

#define CLIENT_TEXT_BYTES 64u

struct dispatcher;
struct exchange;
struct call;

enum connection_state {
	CONNECTION_IDLE = 0, /* no byte of a request yet */
	CONNECTION_HEAD,     /* some bytes of a head */
	CONNECTION_BODY,
	CONNECTION_FULL,     /* enough in hand: reads no more for now */
	CONNECTION_DEAF,     /* will read no further request */
	CONNECTION_LINGER,   /* all is sent; what still comes is dropped */
};

struct connection {
	struct dispatcher *dispatcher;
	struct watch watch;
	struct timer timer;
	struct list in_dispatcher;
	struct list in_flush;
	struct list exchanges; /* in the order of their requests */
	struct exchange *reading; /* whose body is being read */
	struct buffer in;
	struct buffer out;
	struct http_parser parser;
	struct http_body body;
	uint64_t deadline_ms;  /* of reading; 0: none */
	uint64_t linger_until_ms; /* at most */
	uint64_t write_since_ms; /* last progress of writing, while out is full */
	unsigned unsent;         /* bytes that its client had not taken when it was last
				    found idle, or to take no more */
	enum connection_state state;
	unsigned exchange_count;
	size_t promised; /* bytes of its exchanges' answers (struct exchange) */
	unsigned files;  /* that its exchanges hold open */
	bool peer_closed;  /* its end of file was read */
	bool hung_up;      /* there is one, behind what was not read yet */
	bool read_on;      /* a short read does not mean that all was read: an end of
			      file or urgent data stand behind it */
	bool resuming;     /* it was FULL, and is just read on */
	bool unread;       /* there may be more to read, of which nothing is told */
	bool asked_all;    /* its last request was whole and said that it is the last */
	bool pipelines;    /* behind the last request stood another */
	bool finishing;    /* the head that has begun is the last that is read */
	bool closing;      /* close when out is empty */
	bool ends_answer;  /* an answer of it is as long as the connection lasts */
	bool broken;       /* the answer that it is at will not be completed: what stands
			      before is sent, then it ends */
	bool gone;         /* to be freed at the end of the turn */
	uint8_t ahead;     /* 1 + place of what was received for it (ahead.c); 0: nothing */
	uint8_t together;  /* how often it was received from with others, below KEEP_AFTER */
	uint16_t kept;     /* batch_keep() */
	struct call *call; /* it is no client's: its one request is a call, and it has
			      no socket. Else NULL */
	uint32_t edge;     /* EPOLLET; 0 for Unix sockets, where a read ends at each
			      descriptor that the client sends along */
	unsigned busy_in;  /* the window of few_count() in which it last asked */
	uint32_t address_hash;
	char client[CLIENT_TEXT_BYTES];
};

/** Those who wait, as many as may be in a turn. Are there more? */
bool connection_accept_all(struct dispatcher *dispatcher);
/** Free it now, with its exchanges; no answer is sent. */
void connection_free(struct connection *connection);
/** Give the client up: it is freed at the end of the turn. */
void connection_drop(struct connection *connection);
/** The answer that it is at cannot be completed. What stands before is sent yet, then it
 * is closed, so that its client sees that the last one is cut short. Nothing is freed
 * before the connection's next flush. */
void connection_break(struct connection *connection);
/** Set what it is watched for from the state; call after any change. TCP is
 * watched edge-triggered, for all: who stops before the end calls loop_rearm. */
void connection_update(struct connection *connection);
/** Read no further request but one of which some is here; close when all is answered. */
void connection_finish(struct connection *connection);
/** The client has closed its sending side: has it gone? */
void connection_half_closed(struct connection *connection);
/** Parse what has been read already, after a place became free. */
void connection_resume(struct connection *connection);
/** The connection of this event, if that says that there is something to be read of a
 * client between two requests, or in a head; else NULL. */
struct connection *connection_to_read(const struct epoll_event *event);

/* ---- all of a turn with one call (ahead.c) ---- */

/** Receive ahead and send together from now on, what is `least` or more at once. 0 or
 * -errno, see batch_new(). */
int ahead_init(struct dispatcher *dispatcher, unsigned least);
void ahead_fini(struct dispatcher *dispatcher);
/** Receive what the events that were taken in speak of. The loop's. */
void ahead_receive(struct loop *loop);
/** Before its descriptor is closed. */
void ahead_forget(struct connection *connection);
/** What was received for this connection, of which that is so (connection->ahead), and
 * not any more; bytes, -errno or BATCH_UNDONE. They stay until the next turn takes in
 * events. */
int32_t ahead_take(struct connection *connection, char **ret_place);
/** Send once for each of these (FLUSHES_A_TURN at most). failures[i] is set to -errno, or to
 * BATCH_UNDONE where it did not fail; what is left is to be sent as ever. */
void ahead_send(struct dispatcher *dispatcher, struct connection *const *connections,
		unsigned count, int32_t *failures);

/** Bytes that came (reader.c). */
void reader_ready(struct connection *connection);
void reader_set_state(struct connection *connection, enum connection_state state);

/* ---- what is refused (refusal.c) ---- */

/** A request that could not be parsed: answer and close. */
void refusal_of_parser(struct connection *connection, int status, const char *why);
/** One log line a second at most for each client. */
void refusal_log(struct connection *connection, int status, const char *why);
void refusal_note(struct connection *connection, const char *what);
/** Whether a second has passed since the last line, which that mark notes, and now this one. */
bool refusal_is_due(uint64_t *at_ms, uint64_t now_ms);

/* ---- writing (writer.c) ---- */

/** Queue bytes of the first exchange for this turn's send. */
void writer_append(struct connection *connection, const void *data, size_t size);
/** Send bytes that need not be copied, behind what is queued; what the socket
 * does not take is copied. */
void writer_direct(struct connection *connection, struct span data);
/** Send what is queued. */
void writer_flush(struct connection *connection);
/** Send what there is to send, and nothing else: no other exchange goes on by it, so that it may
 * be called from anywhere. May drop the connection. */
void writer_send_now(struct connection *connection);
/** The same, after a first send() of it failed with that -errno; or BATCH_UNDONE. */
void writer_flush_on(struct connection *connection, int32_t failure);
/** So many bytes of what is queued were sent. */
void writer_sent(struct connection *connection, size_t size);
/** Put it on the list of those that are flushed at the end of the turn. */
void writer_later(struct connection *connection);
/** Come back (through writer_flush) when the socket has room. */
void writer_wait_for_room(struct connection *connection);

#endif
