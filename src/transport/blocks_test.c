/* SPDX-License-Identifier: MIT */
/*
 * The allocator of an arena, by examples and against a plain map at random.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "transport/blocks.h"

#define BLOCKS 256u

static void the_lowest_fit_is_given(void **state)
{
	struct blocks blocks;
	uint32_t offset[4];
	uint32_t size;
	uint32_t tag;

	(void)state;
	assert_int_equal(blocks_init(&blocks, BLOCKS * BLOCK_BYTES), 0);
	for (uint32_t i = 0; i < 4; i++) {
		assert_int_equal(blocks_alloc(&blocks, 1, i, &offset[i]), 0);
		assert_int_equal(offset[i], i * BLOCK_BYTES);
	}
	assert_int_equal(blocks_free(&blocks, offset[1], &tag, &size), 0);
	assert_int_equal(tag, 1);
	assert_int_equal(size, 1);
	/* Two blocks do not fit into the gap, one does. */
	assert_int_equal(blocks_alloc(&blocks, BLOCK_BYTES + 1, 7, &offset[1]), 0);
	assert_int_equal(offset[1], 4 * BLOCK_BYTES);
	assert_int_equal(blocks_alloc(&blocks, BLOCK_BYTES, 8, &offset[1]), 0);
	assert_int_equal(offset[1], BLOCK_BYTES);
	blocks_fini(&blocks);
}

static void all_of_it_can_be_had_and_no_more(void **state)
{
	struct blocks blocks;
	uint32_t offset;
	uint32_t size;
	uint32_t tag;

	(void)state;
	assert_int_equal(blocks_init(&blocks, BLOCKS * BLOCK_BYTES), 0);
	assert_int_equal(blocks_alloc(&blocks, BLOCKS * BLOCK_BYTES + 1, 0, &offset),
			 -ENOSPC);
	assert_int_equal(blocks_alloc(&blocks, BLOCKS * BLOCK_BYTES, 3, &offset), 0);
	assert_int_equal(blocks_alloc(&blocks, 1, 0, &offset), -ENOSPC);
	assert_int_equal(blocks_free(&blocks, 0, &tag, &size), 0);
	assert_int_equal(size, BLOCKS * BLOCK_BYTES);
	assert_int_equal(blocks.free_count, BLOCKS);
	blocks_fini(&blocks);
}

static void invented_offsets_are_refused(void **state)
{
	struct blocks blocks;
	uint32_t offset;
	uint32_t size;
	uint32_t tag;

	(void)state;
	assert_int_equal(blocks_init(&blocks, BLOCKS * BLOCK_BYTES), 0);
	assert_int_equal(blocks_alloc(&blocks, 3 * BLOCK_BYTES, 1, &offset), 0);
	assert_int_equal(blocks_free(&blocks, 1, &tag, &size), -EBADMSG);
	assert_int_equal(blocks_free(&blocks, BLOCK_BYTES, &tag, &size), -EBADMSG);
	assert_int_equal(blocks_free(&blocks, BLOCKS * BLOCK_BYTES, &tag, &size),
			 -EBADMSG);
	assert_int_equal(blocks_free(&blocks, UINT32_MAX, &tag, &size), -EBADMSG);
	assert_int_equal(blocks_free(&blocks, offset, &tag, &size), 0);
	assert_int_equal(blocks_free(&blocks, offset, &tag, &size), -EBADMSG);
	blocks_fini(&blocks);
}

/* Random use against a plain map of who owns which block. */
static void runs_never_overlap(void **state)
{
	struct { uint32_t offset, size; } held[64] = { 0 };
	unsigned char owner[BLOCKS] = { 0 };
	struct blocks blocks;
	uint32_t size;
	uint32_t tag;

	(void)state;
	assert_int_equal(blocks_init(&blocks, BLOCKS * BLOCK_BYTES), 0);
	srandom(1);
	for (int round = 0; round < 20000; round++) {
		const unsigned i = (unsigned)random() % COUNT_OF(held);
		const uint32_t count = held[i].size / BLOCK_BYTES +
				       (held[i].size % BLOCK_BYTES != 0);

		if (held[i].size) {
			assert_int_equal(blocks_free(&blocks, held[i].offset,
						     &tag, &size), 0);
			assert_int_equal(tag, i);
			assert_int_equal(size, held[i].size);
			memset(owner + held[i].offset / BLOCK_BYTES, 0, count);
			held[i].size = 0;
			continue;
		}
		size = 1 + (uint32_t)random() % (BLOCK_BYTES * 20);
		if (blocks_alloc(&blocks, size, i, &held[i].offset) < 0)
			continue;
		held[i].size = size;
		for (uint32_t b = 0; b * BLOCK_BYTES < size; b++) {
			const uint32_t block = held[i].offset / BLOCK_BYTES + b;

			assert_true(block < BLOCKS);
			assert_int_equal(owner[block], 0);
			owner[block] = 1;
		}
	}
	blocks_fini(&blocks);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_lowest_fit_is_given),
		cmocka_unit_test(all_of_it_can_be_had_and_no_more),
		cmocka_unit_test(invented_offsets_are_refused),
		cmocka_unit_test(runs_never_overlap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
