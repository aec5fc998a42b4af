/* SPDX-License-Identifier: MIT */
/*
 * A link: one sealed memory between a dispatcher and a worker, and a bell for
 * each side. It has two halves and a table of claims. A half is written by one
 * side and mapped read-only by the other, and holds all that this side says:
 * its messages, its arena, which bytes of the other's arena it is done with,
 * its indexes, its sleep epoch, the processor on which it rang, whether it spins. The
 * claims alone are written by both.
 *
 *      offset 0        header (read-only for both)
 *      pages           claims: one atomic word a slot
 *      page            half of the dispatcher
 *      page            half of the worker
 *
 * The parent makes links and maps none; a side opens one from the descriptors.
 * No side trusts what it reads: indexes, offsets and sizes are checked, and
 * -EBADMSG means that the peer must be condemned. That a half is read-only guards
 * against wild pointers; a peer that was taken over can make it writable for itself
 * (mprotect(2)), so a side decides by nothing that it would read back from its own
 * half. Not thread-safe.
 */
#ifndef TRANSPORT_LINK_H
#define TRANSPORT_LINK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/os/near.h"
#include "transport/bell.h"
#include "transport/blocks.h"
#include "transport/message.h"
#include "transport/ring.h"

#define LINK_SLOTS 4096u        /* requests in a worker's hands, deferred ones and
				   streams included */
#define LINK_NO_SLOT LINK_SLOTS /* whose bytes are no slot's */
#define LINK_WORK_MAX 192u      /* of those, at work at once */
#define LINK_RING_ENTRIES 256u  /* messages each way */
#define LINK_BATCH 8u           /* of those, best received together */
#define LINK_ARENA_BYTES (1024u * 1024u) /* each way */
#define LINK_PART_BYTES (32u * 1024u) /* of a body that travels in parts */
#define LINK_CREDIT_BYTES (2u * LINK_PART_BYTES) /* of one slot, on their way */

enum link_side { LINK_DISPATCHER = 0, LINK_WORKER = 1 };

/** What the parent keeps of a link and gives to both sides. */
struct link_fds {
	int memory;
	int bell[2]; /* bell[side] is rung to wake that side */
};

/** Make a link; its memory is allocated now. 0 or -errno; then nothing is
 * left open. */
int link_create(struct link_fds *ret_fds);
/** Close the descriptors of a link (those that are >= 0). */
void link_close_fds(struct link_fds *fds);

struct link {
	enum link_side side;
	unsigned char *base;   /* of the whole mapping */
	struct ring_producer out;
	struct ring_consumer in;
	struct ring_producer done_out; /* offsets in the peer's arena */
	struct ring_consumer done_in;  /* offsets in our arena */
	struct blocks blocks;          /* our arena's truth */
	unsigned char *arena;          /* ours */
	const unsigned char *peer_arena; /* read-only */
	_Atomic uint64_t *claims;
	struct bell_sleeper sleeper;
	struct bell_ringer ringer;
	const _Atomic uint32_t *peer_processor;
	_Atomic uint32_t *spins;
	const _Atomic uint32_t *peer_spins;
};

/** Map a link as one side of it. The descriptors become the link's when this
 * succeeds (the memory's is closed), and stay the caller's when it fails. 0 or -errno
 * (-EPROTO: the memory is not a link of this version). */
int link_open(struct link *link, enum link_side side, const struct link_fds *fds);
/** Unmap and close. Takes a zeroed link. */
void link_fini(struct link *link);

/** Room for `size` bytes (1 to LINK_ARENA_BYTES) in our arena, for `slot`. The
 * pointer to it, or NULL if there is none now. */
void *link_alloc(struct link *link, uint32_t slot, uint32_t size,
		 uint32_t *ret_offset);
/** Take back bytes of our arena that the peer was not told of, or with which it
 * cannot be busy any more. Returns the size, or -EBADMSG. */
int link_free(struct link *link, uint32_t offset);
/** Take back all that the peer is done with: `freed` is called for each run
 * with its slot and size (may be NULL). Returns how many, or -EBADMSG. */
int link_reap(struct link *link,
	      void (*freed)(void *context, uint32_t slot, uint32_t size),
	      void *context);

/** Where the claim of a slot stands. Neighbours are on lines of their own, since the
 * dispatcher offers one while the worker takes another. */
static inline _Atomic uint64_t *link_claim_of(const struct link *link, uint32_t slot)
{
	return &link->claims[slot % (LINK_SLOTS / 8u) * 8u + slot / (LINK_SLOTS / 8u)];
}

/** Send a message. 0, -EAGAIN (ring full), -EBADMSG. Rings no bell. Inline, so that a
 * message is written where it is to stand: to gather its fields elsewhere and to copy
 * them as a whole waits for all stores before. */
static inline int link_send(struct link *link, const struct message *message)
{
	struct message *entry;
	void *place;
	int r = ring_reserve(&link->out, &place);

	if (r < 0)
		return r;
	entry = place;
	entry->kind = message->kind;
	entry->flags = message->flags;
	entry->slot = message->slot;
	entry->generation = message->generation;
	entry->offset = message->offset;
	entry->size = message->size;
	entry->service_us = message->service_us;
	entry->reserved = 0;
	ring_publish(&link->out);
	return 0;
}

/** Is there room for a message now? Who waits for that before it sleeps looks here once more
 * after it has said that it sleeps. */
static inline bool link_has_room(const struct link *link)
{
	return ring_has_room(&link->out);
}

/** Have what the next message and its bytes will be written to brought near, since the
 * peer has it: soon there will be one. */
static inline void link_foresee_send(const struct link *link)
{
	const unsigned char *bytes =
		link->arena + (size_t)link->blocks.lowest_free * BLOCK_BYTES;
	const struct ring_producer *out = &link->out;

	os_foresee_write(out->entries + (size_t)(out->next & (out->capacity - 1)) *
						  out->entry_size);
	os_foresee_write(bytes);
	os_foresee_write(bytes + 64);
}

/** Receive one, copied. 1, 0 (none), or -EBADMSG; its offset and size have been
 * checked to lie within the peer's arena, its slot to be below LINK_SLOTS, its
 * kind to be one that the peer may send. */
int link_receive(struct link *link, struct message *ret_message);
/** Has the peer sent something, or given bytes back, that we have not seen? */
bool link_has_news(const struct link *link);
/** The bytes of a received message. The peer can still change them: copy what
 * will be judged. */
const void *link_bytes(const struct link *link, const struct message *message);
/** Have the first bytes of a received message, and its slot's claim, brought near: they
 * will be looked at soon. Who receives some messages before it looks at the first waits
 * for the peer's memory once, not for each. */
static inline void link_foresee(const struct link *link, const struct message *message)
{
	const unsigned char *bytes = link->peer_arena + message->offset;

	os_foresee_read(bytes);
	os_foresee_read(bytes + 64);
	os_foresee_read((const void *)link_claim_of(link, message->slot));
}

/** Tell the peer that we are done with the bytes at `offset` of its arena. The
 * ring of these has room for as many as there are blocks: it is full only if
 * the peer lies: -EBADMSG. */
int link_release(struct link *link, uint32_t offset);

/** Wake the peer if it sleeps. Returns whether the bell was rung. */
static inline bool link_ring(struct link *link)
{
	return bell_ring(&link->ringer);
}

/** A number that has changed if this side has said, taken or given back anything since: who has
 * several links need not ring where it has not. */
static inline uint32_t link_progress(const struct link *link)
{
	return link->out.next + link->in.next + link->done_out.next + link->done_in.next;
}

/** See bell_would_wake(). */
static inline bool link_would_wake(const struct link *link)
{
	return bell_would_wake(&link->ringer);
}

/** The other side's sleeps: 0 before the first, odd in one, more with each. Any number if
 * that side is mad. */
static inline uint32_t link_peer_epoch(const struct link *link)
{
	return atomic_load_explicit(link->ringer.epoch, memory_order_relaxed);
}

/** On which processor the other side was when it rang last: a hint, and any number if
 * that side is mad. False if it has not rung yet. */
static inline bool link_rung_on(const struct link *link, unsigned *ret_processor)
{
	const uint32_t said =
		atomic_load_explicit(link->peer_processor, memory_order_relaxed);

	*ret_processor = said - 1;
	return said != 0;
}

/** Say whether this side looks for work for a while before it sleeps, so that it pays for
 * the other one to do so too; and whether that side says so: a hint. */
static inline void link_say_spins(const struct link *link, bool spins)
{
	atomic_store_explicit(link->spins, spins, memory_order_relaxed);
}
static inline bool link_peer_spins(const struct link *link)
{
	return atomic_load_explicit(link->peer_spins, memory_order_relaxed) != 0;
}

/* ---- claims: who may run the request in a slot ---- */

enum claim { CLAIM_EMPTY = 0, CLAIM_QUEUED, CLAIM_TAKEN, CLAIM_REVOKED };

/** Dispatcher: offer the request of this generation (before it is sent). */
void link_offer(struct link *link, uint32_t slot, uint32_t generation);
/** Worker: queued to taken. False if it was revoked, or is of the past. */
bool link_take(struct link *link, uint32_t slot, uint32_t generation);
/** Dispatcher: queued to revoked. False if the worker has taken it. */
bool link_revoke(struct link *link, uint32_t slot, uint32_t generation);
/** The claim of a slot if its generation matches, else CLAIM_EMPTY. Of a worker
 * that wrote nonsense this is only a hint. */
enum claim link_claim(const struct link *link, uint32_t slot,
		      uint32_t generation);

/** The memory of the link that this side may write (for the sampler's
 * /crash/garbage): claims and own half. Returns 2. */
unsigned link_writable(const struct link *link, void *ret_start[2],
		       uint64_t ret_size[2]);

#endif
