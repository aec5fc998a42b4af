/* SPDX-License-Identifier: MIT */
/* Arenas: alignment, no overlap, reset, sizes that no memory has; large blocks that
 * go from one to the next. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <malloc.h>
#include <string.h>

#include "base/arena.h"

#define PIECES 2000

static void an_empty_arena_can_be_freed(void **state)
{
	struct arena arena = { 0 };

	(void)state;
	arena_reset(&arena);
	arena_fini(&arena);
	arena_init(&arena, NULL);
	arena_fini(&arena);
	arena_fini(&arena);
}

/* Each piece is filled with its own byte; at the end all still hold it. */
static void pieces_are_aligned_and_apart(void **state)
{
	static unsigned char *pieces[PIECES];
	struct arena arena;

	(void)state;
	arena_init(&arena, NULL);
	for (size_t i = 0; i < PIECES; i++) {
		pieces[i] = arena_alloc(&arena, i);
		assert_non_null(pieces[i]);
		assert_int_equal((uintptr_t)pieces[i] % _Alignof(max_align_t), 0);
		memset(pieces[i], (int)(i & 0xff), i);
	}
	for (size_t i = 0; i < PIECES; i++) {
		for (size_t k = 0; k < i; k++)
			assert_int_equal(pieces[i][k], i & 0xff);
	}
	arena_fini(&arena);
}

static void a_reset_gives_the_first_block_again(void **state)
{
	struct arena arena;
	void *first;

	(void)state;
	arena_init(&arena, NULL);
	first = arena_alloc(&arena, 100);
	assert_non_null(arena_alloc(&arena, 100000));
	for (int i = 0; i < 3; i++) {
		arena_reset(&arena);
		assert_ptr_equal(arena_alloc(&arena, 200), first);
		assert_non_null(arena_alloc(&arena, 100000));
	}
	arena_fini(&arena);
}

static void one_huge_request_is_not_kept(void **state)
{
	struct arena arena;

	(void)state;
	arena_init(&arena, NULL);
	assert_non_null(arena_alloc(&arena, 16 << 20));
	assert_non_null(arena_alloc(&arena, 1));
	arena_reset(&arena);
	assert_true(malloc_usable_size(arena.first) < 64 << 10);
	assert_ptr_equal(arena.first, arena.last);
	arena_fini(&arena);
}

static void copies_end_in_a_nul(void **state)
{
	struct arena arena;

	(void)state;
	arena_init(&arena, NULL);
	assert_string_equal(arena_copy(&arena, "bolt and nut", 4), "bolt");
	assert_string_equal(arena_copy(&arena, NULL, 0), "");
	assert_memory_equal(arena_copy(&arena, "a\0b", 3), "a\0b", 4);
	arena_fini(&arena);
}

static void impossible_sizes_are_refused(void **state)
{
	/* From a variable, or the compiler warns of what is meant. */
	static const size_t sizes[] = { SIZE_MAX, SIZE_MAX - 1, SIZE_MAX / 2 };
	struct arena arena;

	(void)state;
	arena_init(&arena, NULL);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		assert_null(arena_alloc(&arena, sizes[i]));
		assert_null(arena_copy(&arena, "x", sizes[i]));
	}
	assert_string_equal(arena_copy(&arena, "still there", 11), "still there");
	arena_fini(&arena);
}

static void what_is_large_leaves_the_small_ones_together(void **state)
{
	struct arena arena;
	char *small;

	(void)state;
	arena_init(&arena, NULL);
	small = arena_alloc(&arena, 16);
	assert_non_null(arena_alloc(&arena, 300000));
	assert_ptr_equal(arena_alloc(&arena, 16), small + 16);
	assert_non_null(arena_alloc(&arena, 5000));
	assert_non_null(arena_alloc(&arena, 300000));
	assert_non_null(arena_alloc(&arena, 5000));
	arena_fini(&arena);
}

static void a_large_block_serves_the_next_arena(void **state)
{
	struct arena_spares spares = { 0 };
	struct arena first;
	struct arena second;
	unsigned char *large;
	unsigned char *larger;

	(void)state;
	arena_init(&first, &spares);
	arena_init(&second, &spares);
	large = arena_alloc(&first, 1000000);
	memset(large, 1, 1000000);
	larger = arena_alloc(&second, 1000001);
	assert_ptr_not_equal(larger, large);
	arena_reset(&first);
	assert_int_equal(spares.bytes, 1u << 20);
	assert_ptr_equal(arena_alloc(&second, 920000), large);
	assert_int_equal(spares.bytes, 0);
	/* Of its own size only, larger ones are not wasted on it. */
	arena_fini(&second);
	assert_int_equal(spares.bytes, 2u << 20);
	larger = arena_alloc(&first, 100000);
	assert_ptr_not_equal(larger, large);
	memset(larger, 2, 100000);
	arena_fini(&first);
	assert_int_equal(spares.bytes, (2u << 20) + (112u << 10));
	arena_spares_fini(&spares);
	assert_int_equal(spares.bytes, 0);
}

/* Many small things become blocks of up to a megabyte, which are as good as others. */
static void what_grew_serves_again(void **state)
{
	struct arena_spares spares = { 0 };
	struct arena arena;
	size_t kept = 0;

	(void)state;
	arena_init(&arena, &spares);
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 1000; i++)
			assert_non_null(memset(arena_alloc(&arena, 1000), round, 1000));
		arena_reset(&arena);
		if (round > 0)
			assert_int_equal(spares.bytes, kept);
		kept = spares.bytes;
		assert_in_range(kept, 900000, 2000000);
	}
	arena_fini(&arena);
	arena_spares_fini(&spares);
}

static void spares_are_bounded(void **state)
{
	struct arena_spares spares = { 0 };
	struct arena arena;

	(void)state;
	arena_init(&arena, &spares);
	for (int i = 0; i < 40; i++)
		assert_non_null(arena_alloc(&arena, 1u << 20));
	assert_non_null(arena_alloc(&arena, (4u << 20) + 1));
	arena_reset(&arena);
	assert_int_equal(spares.bytes, 16u << 20);
	arena_fini(&arena);
	arena_spares_fini(&spares);
}

static void spares_that_nobody_needs_are_freed(void **state)
{
	struct arena_spares spares = { 0 };
	struct arena arena;

	(void)state;
	arena_spares_trim(&spares);
	arena_init(&arena, &spares);
	assert_non_null(arena_alloc(&arena, 1u << 20));
	assert_non_null(arena_alloc(&arena, 2u << 20));
	arena_reset(&arena);
	arena_spares_trim(&spares);
	assert_int_equal(spares.bytes, 3u << 20);
	/* One of them is used between. */
	assert_non_null(arena_alloc(&arena, 2u << 20));
	arena_reset(&arena);
	arena_spares_trim(&spares);
	assert_int_equal(spares.bytes, 2u << 20);
	arena_spares_trim(&spares);
	assert_int_equal(spares.bytes, 0);
	assert_null(spares.first);
	arena_fini(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_empty_arena_can_be_freed),
		cmocka_unit_test(pieces_are_aligned_and_apart),
		cmocka_unit_test(a_reset_gives_the_first_block_again),
		cmocka_unit_test(one_huge_request_is_not_kept),
		cmocka_unit_test(copies_end_in_a_nul),
		cmocka_unit_test(impossible_sizes_are_refused),
		cmocka_unit_test(what_is_large_leaves_the_small_ones_together),
		cmocka_unit_test(a_large_block_serves_the_next_arena),
		cmocka_unit_test(what_grew_serves_again),
		cmocka_unit_test(spares_are_bounded),
		cmocka_unit_test(spares_that_nobody_needs_are_freed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
