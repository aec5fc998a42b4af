/* SPDX-License-Identifier: MIT */
/*
 * Arenas: a chain of blocks, of which the last one is filled. Blocks grow, so
 * that a large request takes few of them; a reset keeps the first, so that the
 * usual small request takes none. The first is always of the usual size, so
 * that one huge request does not stay in memory for good.
 *
 * What is large has a block of its own, of one of few sizes where such blocks can
 * be shared, so that the next request's fits; pages that nobody touches cost
 * nothing.
 */
#include "base/arena.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* What the usual small answer needs; thousands of requests may be held. */
#define FIRST_BYTES 2048u
#define ALIGNMENT _Alignof(max_align_t)
#define GROWN_BYTES (1u << 20) /* no block for small things is larger */

/* From here on the allocator gives memory back to the system when it is freed. */
#define SPARE_MIN_BYTES (64u * 1024u)
#define SPARE_MAX_BYTES (4u * 1024u * 1024u)
#define SPARES_MAX_BYTES (16u * 1024u * 1024u)
#define SPARE_STEPS 4u /* sizes between one power of two and the next */

struct arena_block {
	struct arena_block *next;
	size_t room;
	size_t used;
	bool stale; /* of a spare: it lay there when they were trimmed */
	_Alignas(max_align_t) unsigned char bytes[];
};

static struct arena_block *add_block(struct arena *arena, size_t size);
static struct arena_block *get_block(struct arena_spares *spares, size_t size);
static size_t spare_size(size_t size);
static struct arena_block *take_spare(struct arena_spares *spares, size_t room);
static bool keep_spare(struct arena_spares *spares, struct arena_block *block);
static void free_chain(struct arena_spares *spares, struct arena_block *block);

void arena_init(struct arena *arena, struct arena_spares *spares)
{
	*arena = (struct arena){ .spares = spares };
}

void arena_fini(struct arena *arena)
{
	free_chain(arena->spares, arena->first);
	arena_init(arena, arena->spares);
}

void arena_reset(struct arena *arena)
{
	if (!arena->first)
		return;
	free_chain(arena->spares, arena->first->next);
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

/* What is large stands behind the last, which goes on being filled. */
static struct arena_block *add_block(struct arena *arena, size_t size)
{
	struct arena_block *last = arena->last;
	size_t room = last ? last->room * 2 : FIRST_BYTES;
	struct arena_block *block;

	bool alone;

	if (room > GROWN_BYTES)
		room = GROWN_BYTES;
	alone = last && size > room;
	if (room < size)
		room = size;
	block = get_block(arena->spares, room);
	if (!block)
		return NULL;
	block->used = 0;
	block->next = last ? last->next : NULL;
	if (last)
		last->next = block;
	else
		arena->first = block;
	if (!alone)
		arena->last = block;
	return block;
}

static struct arena_block *get_block(struct arena_spares *spares, size_t size)
{
	struct arena_block *block = NULL;
	size_t room = size;

	if (spares && size >= SPARE_MIN_BYTES && size <= SPARE_MAX_BYTES) {
		room = spare_size(size);
		block = take_spare(spares, room);
	}
	if (!block)
		block = malloc(sizeof(*block) + room);
	if (block)
		block->room = room;
	return block;
}

static size_t spare_size(size_t size)
{
	size_t step = SPARE_MIN_BYTES / SPARE_STEPS;

	while (step * 2 * SPARE_STEPS <= size)
		step *= 2;
	return (size + step - 1) / step * step;
}

static struct arena_block *take_spare(struct arena_spares *spares, size_t room)
{
	for (struct arena_block **at = &spares->first; *at; at = &(*at)->next) {
		struct arena_block *block = *at;

		if (block->room != room)
			continue;
		*at = block->next;
		spares->bytes -= room;
		return block;
	}
	return NULL;
}

/* Other sizes are never asked for. */
static bool keep_spare(struct arena_spares *spares, struct arena_block *block)
{
	if (!spares || block->room < SPARE_MIN_BYTES || block->room > SPARE_MAX_BYTES ||
	    block->room != spare_size(block->room) ||
	    spares->bytes + block->room > SPARES_MAX_BYTES)
		return false;
	block->stale = false;
	block->next = spares->first;
	spares->first = block;
	spares->bytes += block->room;
	return true;
}

static void free_chain(struct arena_spares *spares, struct arena_block *block)
{
	struct arena_block *next;

	for (; block; block = next) {
		next = block->next;
		if (!keep_spare(spares, block))
			free(block);
	}
}

void arena_spares_trim(struct arena_spares *spares)
{
	struct arena_block **at = &spares->first;

	while (*at) {
		struct arena_block *block = *at;

		if (!block->stale) {
			block->stale = true;
			at = &block->next;
			continue;
		}
		*at = block->next;
		spares->bytes -= block->room;
		free(block);
	}
}

void arena_spares_fini(struct arena_spares *spares)
{
	struct arena_block *next;

	for (struct arena_block *block = spares->first; block; block = next) {
		next = block->next;
		free(block);
	}
	*spares = (struct arena_spares){ 0 };
}
