/* SPDX-License-Identifier: MIT */
/*
 * The allocator of one arena of a link: runs of fixed-size blocks, lowest
 * address first so that the touched pages stay few and warm. All of its state
 * is private to the process that writes the arena; nothing lies in the arena.
 */
#ifndef TRANSPORT_BLOCKS_H
#define TRANSPORT_BLOCKS_H

#include <stdint.h>

#define BLOCK_BYTES 512u

struct block_run; /* private */

struct blocks {
	uint32_t block_count;
	uint32_t free_count;
	uint64_t *used;         /* one bit a block */
	struct block_run *runs; /* indexed by first block: size and tag */
	uint32_t lowest_free;   /* no block below is free */
};

/** 0 or -ENOMEM. `arena_bytes` is a multiple of 64 * BLOCK_BYTES. */
int blocks_init(struct blocks *blocks, uint32_t arena_bytes);
void blocks_fini(struct blocks *blocks);
/** Give out a run of at least `size` bytes (size > 0), marked with the caller's
 * `tag`. 0 with its byte offset, or -ENOSPC. */
int blocks_alloc(struct blocks *blocks, uint32_t size, uint32_t tag,
		 uint32_t *ret_offset);
/** Take a run back. Returns 0 and its tag and the size asked for, or -EBADMSG
 * if no run begins at that offset (the peer invented it). */
int blocks_free(struct blocks *blocks, uint32_t offset, uint32_t *ret_tag,
		uint32_t *ret_size);

#endif
