/* SPDX-License-Identifier: MIT */
/*
 * A ring for one producer and one consumer in different processes. The entries
 * and the tail lie in memory that the producer writes and the consumer maps
 * read-only; the head lies in memory of the consumer. Neither side believes
 * the other's index: an impossible one is -EBADMSG, and the link is condemned.
 */
#ifndef TRANSPORT_RING_H
#define TRANSPORT_RING_H

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ring_producer {
	unsigned char *entries;        /* own memory */
	uint32_t entry_size;
	uint32_t capacity;             /* a power of two */
	_Atomic uint32_t *tail;        /* own memory; read by the consumer */
	const _Atomic uint32_t *head;  /* the consumer's memory */
	uint32_t next;                 /* private truth of *tail */
	uint32_t seen_head;            /* the last believable *head */
};

struct ring_consumer {
	const unsigned char *entries;  /* the producer's memory */
	uint32_t entry_size;
	uint32_t capacity;
	const _Atomic uint32_t *tail;  /* the producer's memory */
	_Atomic uint32_t *head;        /* own memory; read by the producer */
	uint32_t next;                 /* private truth of *head */
};

/** Where the next entry is to be written, before ring_publish. 0, -EAGAIN if the ring is
 * full, -EBADMSG if the consumer's index is impossible. Never blocks. */
static inline int ring_reserve(struct ring_producer *ring, void **ret_place)
{
	uint32_t head;

	if (ring->next - ring->seen_head == ring->capacity) {
		/* Acquire: pairs with the release of *head in ring_pop, so that the
		 * consumer has copied an entry out before its place is used again. */
		head = atomic_load_explicit(ring->head, memory_order_acquire);
		if (head - ring->seen_head > ring->capacity)
			return -EBADMSG;
		ring->seen_head = head;
		if (ring->next - head == ring->capacity)
			return -EAGAIN;
	}
	*ret_place = ring->entries + (size_t)(ring->next & (ring->capacity - 1)) *
					     ring->entry_size;
	return 0;
}

/** Let the consumer see the entry that was written there. */
static inline void ring_publish(struct ring_producer *ring)
{
	ring->next++;
	/* Release: pairs with the acquire of *tail in ring_pop. */
	atomic_store_explicit(ring->tail, ring->next, memory_order_release);
}

/** Has the consumer made room since ring_reserve found none (or is its index impossible, which
 * that will report)? Changes nothing. */
static inline bool ring_has_room(const struct ring_producer *ring)
{
	return ring->next - atomic_load_explicit(ring->head, memory_order_acquire) !=
	       ring->capacity;
}

/** Copy an entry in and publish it. 0, -EAGAIN if the ring is full, -EBADMSG if
 * the consumer's index is impossible. Never blocks. */
int ring_push(struct ring_producer *ring, const void *entry);
/** Copy the oldest entry out (once) and give its place back. 1 if there was
 * one, 0 if not, -EBADMSG if the producer's index is impossible. */
int ring_pop(struct ring_consumer *ring, void *ret_entry);
/** Is there an entry now (or an impossible index, which pop will report)? */
bool ring_has_entry(const struct ring_consumer *ring);

#endif
