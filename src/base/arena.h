/* SPDX-License-Identifier: MIT */
/*
 * Memory that is given out bit by bit and taken back all at once: one arena
 * serves one request and is reset for the next, keeping its first block. Where many
 * arenas are used in turn, their first blocks can come from one place, so that the
 * next one writes where the last one did, which the processor still has near.
 */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stddef.h>

#include "base/kept.h"

struct arena_block;

struct arena {
	struct arena_block *first; /* kept over resets */
	struct arena_block *last;  /* the one that is filled now */
	struct kept *firsts;       /* where the first comes from; NULL: the heap */
};

void arena_init(struct arena *arena);
/** An arena whose first block is taken from `firsts`, and goes back there by
 * arena_fini. It must outlive the arena, and is of one thread, as they are. */
void arena_init_shared(struct arena *arena, struct kept *firsts);
/** Make ready for arena_init_shared; at most `max` blocks are kept. kept_free ends it. */
void arena_firsts_init(struct kept *firsts, unsigned max);
/** Free all; the arena can be used again. Takes zeroed memory too. */
void arena_fini(struct arena *arena);
/** Give all memory back to the arena at once; frees all blocks but the first. */
void arena_reset(struct arena *arena);
/** Memory aligned for any type, not zeroed; NULL if there is none. */
void *arena_alloc(struct arena *arena, size_t size);
/** A copy with a NUL behind it; NULL if there is no memory. */
char *arena_copy(struct arena *arena, const void *data, size_t size);

#endif
