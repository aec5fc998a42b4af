/* SPDX-License-Identifier: MIT */
/*
 * Rings. Indexes count entries since the start and wrap around at 2^32; the
 * place of an entry is its index modulo the capacity. Each side keeps the truth
 * about its own index in private memory and only publishes it, so whatever the
 * peer does to shared memory, a side's own index stays right.
 */
#include "transport/ring.h"

#include <string.h>

int ring_push(struct ring_producer *ring, const void *entry)
{
	void *place;
	int r = ring_reserve(ring, &place);

	if (r < 0)
		return r;
	memcpy(place, entry, ring->entry_size);
	ring_publish(ring);
	return 0;
}

int ring_pop(struct ring_consumer *ring, void *ret_entry)
{
	/* Acquire: pairs with the release of *tail in ring_publish. */
	uint32_t tail = atomic_load_explicit(ring->tail, memory_order_acquire);
	uint32_t place;

	if (tail == ring->next)
		return 0;
	if (tail - ring->next > ring->capacity)
		return -EBADMSG;
	place = ring->next & (ring->capacity - 1);
	memcpy(ret_entry, ring->entries + (size_t)place * ring->entry_size,
	       ring->entry_size);
	ring->next++;
	/* Release: pairs with the acquire of *head in ring_reserve. */
	atomic_store_explicit(ring->head, ring->next, memory_order_release);
	return 1;
}

bool ring_has_entry(const struct ring_consumer *ring)
{
	return atomic_load_explicit(ring->tail, memory_order_acquire) !=
	       ring->next;
}
