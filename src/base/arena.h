/* SPDX-License-Identifier: MIT */
/*
 * Memory that is given out bit by bit and taken back all at once: one arena
 * serves one request and is reset for the next, keeping its first block.
 */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stddef.h>

struct arena_block;

struct arena {
	struct arena_block *first; /* kept over resets */
	struct arena_block *last;  /* the one that is filled now */
};

void arena_init(struct arena *arena);
/** Free all; the arena can be used again. Takes zeroed memory too. */
void arena_fini(struct arena *arena);
/** Give all memory back to the arena at once; frees all blocks but the first. */
void arena_reset(struct arena *arena);
/** Memory aligned for any type, not zeroed; NULL if there is none. */
void *arena_alloc(struct arena *arena, size_t size);
/** A copy with a NUL behind it; NULL if there is no memory. */
char *arena_copy(struct arena *arena, const void *data, size_t size);

#endif
