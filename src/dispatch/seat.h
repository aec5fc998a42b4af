/* SPDX-License-Identifier: MIT */
/* One worker's place in a pool, and what it has in hand: see seat.c, settle.c and slot.c; what
 * it says: answer.c and said.c. Part of private.h. */
#ifndef DISPATCH_SEAT_H
#define DISPATCH_SEAT_H

#include "base/list.h"
#include "base/loop.h"
#include "base/span.h"
#include "transport/control.h"
#include "transport/link.h"
#include "transport/outbox.h"
#include "transport/slots.h"

struct cost;
struct dispatcher;
struct encode_input;
struct exchange;
struct pool;
struct score;

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
	struct cost *cost;          /* what it is thought to take: its route's */
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
	struct slot *newest;    /* of those: what it was given last; NULL: not at work any
				   more */
	bool has_next;          /* one of those stands behind another that takes its time,
				   until this is answered */
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

/** A worker came up: give it a seat and open its link. */
void seat_up(struct pool *pool, const struct control *order, struct link_fds *fds);
/** The seat of that worker, or NULL. */
struct seat *seat_find(const struct pool *pool, uint32_t index,
		       uint32_t generation);
/** It is leaving: give it no more, take back what it has not begun. */
void seat_drain(struct seat *seat);
/** It died: settle all that it had. */
void seat_down(struct seat *seat, uint32_t cause);
/** Settle all requests that it had, each by its claim (settle.c): of seat_down(), while its link
 * is there and it is not up any more. */
void seat_settle(struct seat *seat);
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
/** Before that, where no time is said: it counts as what it has kept others waiting. */
void slot_note_silence(struct seat *seat, uint32_t slot);
/** Its client may have gone: tell the worker. */
void slot_half_closed(struct seat *seat, uint32_t slot);
/** The server stops: the worker is to end this stream of events. */
void slot_end_stream(struct seat *seat, uint32_t slot);
/** Let the worker send that many more bytes of the slot's answer. */
void slot_credit(struct seat *seat, uint32_t slot, uint32_t size);
/** Did it share our processor when it rang last? As it says, and as it was then. */
bool seat_is_beside(const struct seat *seat);
/** The next one, which stands behind another, if it has not begun. */
bool seat_take_next(struct seat *seat);
/** While it is at work: for how long it has begun no answer, and taken no part of a body. */
uint64_t seat_silent_ms(const struct seat *seat);
/** It is at something slow, whatever its requests were thought to be. */
bool seat_is_silent(const struct seat *seat);
/** It has taken nothing of what it was given, and nothing shows that it would now. */
bool seat_is_doubted(struct seat *seat);
/** Take back what a worker has not begun (settle.c); patiently: not yet a body of which it has
 * some. True: something is to be looked at again. */
bool seat_pull_back(struct seat *seat, bool patiently);

#endif
