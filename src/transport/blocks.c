/* SPDX-License-Identifier: MIT */
/*
 * First fit over a bitmap. Runs are short and few, and the search starts at the
 * lowest free block, so the common case is a look at one word. First fit also
 * keeps an idle link small: the pages that were touched once are those that
 * are used again.
 */
#include "transport/blocks.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/check.h"

struct block_run {
	uint32_t size; /* bytes asked for; 0: no run begins here */
	uint32_t tag;
};

static bool is_used(const struct blocks *blocks, uint32_t block);
static void mark(struct blocks *blocks, uint32_t first, uint32_t count, bool used);
static uint32_t blocks_of(uint32_t size);

int blocks_init(struct blocks *blocks, uint32_t arena_bytes)
{
	const uint32_t count = arena_bytes / BLOCK_BYTES;

	check(arena_bytes % BLOCK_BYTES == 0 && count > 0);
	*blocks = (struct blocks){ .block_count = count, .free_count = count };
	blocks->used = calloc((count + 63) / 64, sizeof(*blocks->used));
	blocks->runs = calloc(count, sizeof(*blocks->runs));
	if (!blocks->used || !blocks->runs) {
		blocks_fini(blocks);
		return -ENOMEM;
	}
	return 0;
}

void blocks_fini(struct blocks *blocks)
{
	free(blocks->used);
	free(blocks->runs);
	*blocks = (struct blocks){ 0 };
}

int blocks_alloc(struct blocks *blocks, uint32_t size, uint32_t tag,
		 uint32_t *ret_offset)
{
	const uint32_t want = blocks_of(size);
	uint32_t found = 0;
	bool below = false; /* a free block was passed over */
	uint32_t i;

	check(size > 0);
	if (want > blocks->free_count)
		return -ENOSPC;
	for (i = blocks->lowest_free; i < blocks->block_count; i++) {
		if (i % 64 == 0 && blocks->used[i / 64] == UINT64_MAX) {
			found = 0;
			i += 63;
			continue;
		}
		found = is_used(blocks, i) ? 0 : found + 1;
		if (found == want)
			break;
		if (found == 0)
			continue;
		below = true;
	}
	if (i >= blocks->block_count)
		return -ENOSPC;
	i -= want - 1;
	mark(blocks, i, want, true);
	blocks->free_count -= want;
	blocks->runs[i] = (struct block_run){ size, tag };
	if (i == blocks->lowest_free || !below)
		blocks->lowest_free = i + want;
	*ret_offset = i * BLOCK_BYTES;
	return 0;
}

int blocks_free(struct blocks *blocks, uint32_t offset, uint32_t *ret_tag,
		uint32_t *ret_size)
{
	const uint32_t first = offset / BLOCK_BYTES;
	struct block_run *run;

	if (offset % BLOCK_BYTES != 0 || first >= blocks->block_count ||
	    blocks->runs[first].size == 0)
		return -EBADMSG;
	run = &blocks->runs[first];
	*ret_tag = run->tag;
	*ret_size = run->size;
	mark(blocks, first, blocks_of(run->size), false);
	blocks->free_count += blocks_of(run->size);
	run->size = 0;
	if (first < blocks->lowest_free)
		blocks->lowest_free = first;
	return 0;
}

static bool is_used(const struct blocks *blocks, uint32_t block)
{
	return blocks->used[block / 64] >> (block % 64) & 1u;
}

static void mark(struct blocks *blocks, uint32_t first, uint32_t count, bool used)
{
	while (count > 0) {
		const uint32_t bit = first % 64;
		const uint32_t span = count < 64 - bit ? count : 64 - bit;
		const uint64_t mask =
			(span == 64 ? UINT64_MAX : (UINT64_C(1) << span) - 1) << bit;

		if (used)
			blocks->used[first / 64] |= mask;
		else
			blocks->used[first / 64] &= ~mask;
		first += span;
		count -= span;
	}
}

static uint32_t blocks_of(uint32_t size)
{
	return (uint32_t)(((uint64_t)size + BLOCK_BYTES - 1) / BLOCK_BYTES);
}
