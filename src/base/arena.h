/* SPDX-License-Identifier: MIT */
/*
 * Memory that is given out bit by bit and taken back all at once: one arena
 * serves one request and is reset for the next, keeping its first block.
 *
 * Large blocks can be shared with other arenas of the same thread. Who frees a
 * megabyte and asks for it again at the next request has the system take the
 * pages away and clear new ones each time, which takes longer than to fill them.
 */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stddef.h>

struct arena_block;

/* Large blocks that nobody uses, 16 MiB at most. Zeroed: none. */
struct arena_spares {
	struct arena_block *first; /* the one given back last */
	size_t bytes;
};

struct arena {
	struct arena_block *first; /* kept over resets */
	struct arena_block *last;  /* the one that is filled now */
	struct arena_spares *spares; /* NULL: large blocks are had from the allocator */
};

/** The spares, if any, must outlive the arena, and their owner's thread is the one
 * that uses it. */
void arena_init(struct arena *arena, struct arena_spares *spares);
/** Free all; the arena can be used again. Takes zeroed memory too. */
void arena_fini(struct arena *arena);
/** Give all memory back to the arena at once; all blocks but the first are freed, or
 * become spares. */
void arena_reset(struct arena *arena);
/** Memory aligned for any type, not zeroed; NULL if there is none. */
void *arena_alloc(struct arena *arena, size_t size);
/** A copy with a NUL behind it; NULL if there is no memory. */
char *arena_copy(struct arena *arena, const void *data, size_t size);

/** Free those that nobody took since the last call: to be called once in a while. */
void arena_spares_trim(struct arena_spares *spares);
/** Free all; there can be new ones then. */
void arena_spares_fini(struct arena_spares *spares);

#endif
