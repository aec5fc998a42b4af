/* SPDX-License-Identifier: MIT */
/*
 * A ring for one producer and one consumer in different processes. The entries
 * and the tail lie in memory that the producer writes and the consumer maps
 * read-only; the head lies in memory of the consumer. Neither side believes
 * the other's index: an impossible one is -EBADMSG, and the link is condemned.
 */
#ifndef TRANSPORT_RING_H
#define TRANSPORT_RING_H

#include <stdatomic.h>
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

/** Copy an entry in and publish it. 0, -EAGAIN if the ring is full, -EBADMSG if
 * the consumer's index is impossible. Never blocks. */
int ring_push(struct ring_producer *ring, const void *entry);
/** Copy the oldest entry out (once) and give its place back. 1 if there was
 * one, 0 if not, -EBADMSG if the producer's index is impossible. */
int ring_pop(struct ring_consumer *ring, void *ret_entry);
/** Is there an entry now (or an impossible index, which pop will report)? */
int ring_has_entry(const struct ring_consumer *ring);

#endif
