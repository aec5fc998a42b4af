/* SPDX-License-Identifier: MIT */
/* What several dispatchers share: a dispatcher of three, and no workers. */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dispatch/private.h"

static const struct crew_server server = { .dispatchers = 3 };
static struct dispatcher dispatcher = { .server = &server };

static void all_shares_are_the_limit_or_a_little_more(void **state)
{
	(void)state;
	assert_int_equal(sisters_share(&dispatcher, 0), 0);
	assert_int_equal(sisters_share(&dispatcher, 1), 1);
	assert_int_equal(sisters_share(&dispatcher, 3), 1);
	assert_int_equal(sisters_share(&dispatcher, 1000), 334);
	assert_int_equal(sisters_share(&dispatcher, UINT_MAX - 1), UINT_MAX / 3);
	assert_int_equal(sisters_share(&dispatcher, CREW_NEVER), UINT_MAX / 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_shares_are_the_limit_or_a_little_more),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
