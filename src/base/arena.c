/* SPDX-License-Identifier: MIT */
/*
 * Arenas: a chain of blocks, of which the last one is filled. Blocks grow, so
 * that a large request takes few of them; a reset keeps the first, so that the
 * usual small request takes none. The first is always of the usual size, so
 * that one huge request does not stay in memory for good.
 */
#include "base/arena.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* What the usual small answer needs; thousands of requests may be held. */
#define FIRST_BYTES 2048u
#define ALIGNMENT _Alignof(max_align_t)

struct arena_block {
	struct arena_block *next;
	size_t room;
	size_t used;
	_Alignas(max_align_t) unsigned char bytes[];
};

static struct arena_block *add_block(struct arena *arena, size_t size);
static void free_chain(struct arena_block *block);

void arena_init(struct arena *arena)
{
	*arena = (struct arena){ 0 };
}

void arena_fini(struct arena *arena)
{
	free_chain(arena->first);
	*arena = (struct arena){ 0 };
}

void arena_reset(struct arena *arena)
{
	if (!arena->first)
		return;
	free_chain(arena->first->next);
	arena->first->next = NULL;
	arena->first->used = 0;
	arena->last = arena->first;
}

void *arena_alloc(struct arena *arena, size_t size)
{
	struct arena_block *block = arena->last;
	void *place;

	if (size > SIZE_MAX / 4)
		return NULL;
	size = (size + ALIGNMENT - 1) & ~(ALIGNMENT - 1);
	if (!block)
		block = add_block(arena, FIRST_BYTES);
	if (block && block->room - block->used < size)
		block = add_block(arena, size);
	if (!block)
		return NULL;
	place = block->bytes + block->used;
	block->used += size;
	return place;
}

char *arena_copy(struct arena *arena, const void *data, size_t size)
{
	char *copy = size < SIZE_MAX ? arena_alloc(arena, size + 1) : NULL;

	if (!copy)
		return NULL;
	if (size > 0)
		memcpy(copy, data, size);
	copy[size] = '\0';
	return copy;
}

static struct arena_block *add_block(struct arena *arena, size_t size)
{
	size_t room = arena->last ? arena->last->room * 2 : FIRST_BYTES;
	struct arena_block *block;

	if (room > (1u << 20))
		room = 1u << 20;
	if (room < size)
		room = size;
	block = malloc(sizeof(*block) + room);
	if (!block)
		return NULL;
	block->next = NULL;
	block->room = room;
	block->used = 0;
	if (arena->last)
		arena->last->next = block;
	else
		arena->first = block;
	arena->last = block;
	return block;
}

static void free_chain(struct arena_block *block)
{
	struct arena_block *next;

	for (; block; block = next) {
		next = block->next;
		free(block);
	}
}
