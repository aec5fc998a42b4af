/* SPDX-License-Identifier: MIT */
/* Arenas: alignment, no overlap, reset, and sizes that no memory has. */
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
	arena_init(&arena);
	arena_fini(&arena);
	arena_fini(&arena);
}

/* Each piece is filled with its own byte; at the end all still hold it. */
static void pieces_are_aligned_and_apart(void **state)
{
	static unsigned char *pieces[PIECES];
	struct arena arena;

	(void)state;
	arena_init(&arena);
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
	arena_init(&arena);
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
	arena_init(&arena);
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
	arena_init(&arena);
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
	arena_init(&arena);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		assert_null(arena_alloc(&arena, sizes[i]));
		assert_null(arena_copy(&arena, "x", sizes[i]));
	}
	assert_string_equal(arena_copy(&arena, "still there", 11), "still there");
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
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
