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

static uint32_t next_free(const struct blocks *blocks, uint32_t block);
static uint32_t find(const struct blocks *blocks, uint32_t block, uint32_t want);
static bool is_used(const struct blocks *blocks, uint32_t block);
static void mark(struct blocks *blocks, uint32_t first, uint32_t count, bool used);
static uint32_t blocks_of(uint32_t size);

int blocks_init(struct blocks *blocks, uint32_t arena_bytes)
{
	const uint32_t count = arena_bytes / BLOCK_BYTES;

	check(count > 0 && arena_bytes % (64 * BLOCK_BYTES) == 0);
	*blocks = (struct blocks){ .block_count = count, .free_count = count };
	blocks->used = calloc(count / 64, sizeof(*blocks->used));
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
	const uint32_t lowest = next_free(blocks, blocks->lowest_free);
	uint32_t i = lowest;

	check(size > 0);
	if (want > blocks->free_count)
		return -ENOSPC;
	if (want > 1)
		i = find(blocks, lowest, want);
	if (i >= blocks->block_count)
		return -ENOSPC;
	mark(blocks, i, want, true);
	blocks->free_count -= want;
	blocks->runs[i] = (struct block_run){ size, tag };
	blocks->lowest_free = i == lowest ? i + want : lowest;
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

/* The lowest free block that is not below this one, or block_count. */
static uint32_t next_free(const struct blocks *blocks, uint32_t block)
{
	uint32_t word = block / 64;
	uint64_t unused;

	if (block >= blocks->block_count)
		return blocks->block_count;
	unused = ~blocks->used[word] >> (block % 64) << (block % 64);
	while (!unused && ++word < blocks->block_count / 64)
		unused = ~blocks->used[word];
	return unused ? word * 64 + (uint32_t)__builtin_ctzll(unused)
		      : blocks->block_count;
}

/* The first run of so many from this one on, or block_count. */
static uint32_t find(const struct blocks *blocks, uint32_t block, uint32_t want)
{
	uint32_t found = 0;

	while (found < want && block < blocks->block_count) {
		if (is_used(blocks, block)) {
			block = next_free(blocks, block);
			found = 0;
		} else {
			block++;
			found++;
		}
	}
	return found == want ? block - want : blocks->block_count;
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
