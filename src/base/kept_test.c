/* SPDX-License-Identifier: MIT */
/* Pieces that are given back come again, up to the number that may be kept. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/kept.h"

static void what_is_given_back_is_taken_again(void **state)
{
	struct kept kept = { .size = 64, .max = 2 };
	void *pieces[3];

	(void)state;
#ifdef __SANITIZE_ADDRESS__
	skip(); /* nothing is kept there */
#endif
	for (int i = 0; i < 3; i++) {
		pieces[i] = kept_take(&kept);
		assert_non_null(pieces[i]);
		memset(pieces[i], 0xa5, 64);
	}
	for (int i = 0; i < 3; i++)
		kept_give(&kept, pieces[i]);
	kept_give(&kept, NULL);
	assert_int_equal(kept.count, 2); /* the third was freed */
	assert_ptr_equal(kept_take(&kept), pieces[1]);
	assert_ptr_equal(kept_take(&kept), pieces[0]);
	assert_int_equal(kept.count, 0);
	kept_give(&kept, pieces[0]);
	kept_give(&kept, pieces[1]);
	kept_free(&kept);
	assert_int_equal(kept.count, 0);
	pieces[0] = kept_take(&kept);
	assert_non_null(pieces[0]);
	kept_give(&kept, pieces[0]);
	kept_free(&kept);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_given_back_is_taken_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
