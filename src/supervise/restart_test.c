/* SPDX-License-Identifier: MIT */
/* How long a place waits for its next child. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "supervise/limits.h"
#include "supervise/private.h"

/* With a quarter of it as jitter. */
static void pauses_double_up_to_a_limit(void **state)
{
	unsigned failures = 0;
	unsigned least = BACKOFF_FIRST_MS;

	(void)state;
	for (unsigned times = 0; times < 40; times++) {
		const unsigned pause = restart_pause(&failures, MOMENT_MS - 1);

		assert_in_range(pause, least, least + least / 4);
		least = 2 * least < BACKOFF_MAX_MS ? 2 * least : BACKOFF_MAX_MS;
	}
	assert_int_equal(restart_pause(&failures, MOMENT_MS), 0);
	assert_in_range(restart_pause(&failures, 0), BACKOFF_FIRST_MS, BACKOFF_FIRST_MS * 5 / 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pauses_double_up_to_a_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
