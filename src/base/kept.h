/* SPDX-License-Identifier: MIT */
/*
 * Memory of one size that is needed again and again. What is given back is kept
 * at hand for the next one, the warmest first, since the allocator takes longer
 * than much of what such memory is needed for. For one thread.
 */
#ifndef BASE_KEPT_H
#define BASE_KEPT_H

#include <stddef.h>

struct kept {
	size_t size;    /* of each piece in bytes; at least that of a pointer */
	unsigned max;   /* so many are kept, what is more is freed */
	unsigned count;
	void *first;    /* each kept piece begins with the address of the next */
};

/** A piece that was kept, or a new one; its bytes mean nothing. NULL: no memory. */
void *kept_take(struct kept *kept);
/** Give a piece back; NULL is harmless. */
void kept_give(struct kept *kept, void *piece);
/** Free what is kept; more can be taken and given. */
void kept_free(struct kept *kept);

#endif
