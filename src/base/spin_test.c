/* SPDX-License-Identifier: MIT */
/* Patience: it ends, is tried again, and comes back with success. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/spin.h"

static unsigned looks;
static unsigned found_at; /* 0: never */

static bool look(const void *context)
{
	(void)context;
	looks++;
	return found_at && looks >= found_at;
}

static bool spin(struct spin *spinner, unsigned found)
{
	looks = 0;
	found_at = found;
	return spin_until(spinner, look, NULL);
}

static void without_patience_it_does_not_look(void **state)
{
	struct spin spinner;

	(void)state;
	spin_init(&spinner, 0);
	assert_false(spin(&spinner, 1));
	assert_int_equal(looks, 0);
}

static void it_stops_when_something_is_there(void **state)
{
	struct spin spinner;

	(void)state;
	spin_init(&spinner, 1000000);
	assert_true(spin(&spinner, 1));
	assert_int_equal(looks, 1);
	assert_true(spin(&spinner, 100));
	assert_int_equal(looks, 100);
}

static void patience_ends_and_is_tried_again(void **state)
{
	struct spin spinner;
	unsigned vain = 0;
	unsigned skipped = 0;

	(void)state;
	spin_init(&spinner, 64);
	do {
		assert_false(spin(&spinner, 0));
		vain++;
	} while (looks > 0);
	assert_in_range(vain, 7, 9); /* 64, 32, 16, 8, 4, 2, 1 us */
	do {
		assert_false(spin(&spinner, 0));
		skipped++;
	} while (looks == 0);
	assert_in_range(skipped, 100, 200);
}

static void success_gives_patience_back(void **state)
{
	struct spin spinner;

	(void)state;
	spin_init(&spinner, 64);
	for (unsigned i = 0; i < 5; i++)
		assert_false(spin(&spinner, 0));
	assert_int_equal(spinner.patience_ns, 2000);
	assert_true(spin(&spinner, 1));
	assert_int_equal(spinner.patience_ns, 64000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_patience_it_does_not_look),
		cmocka_unit_test(it_stops_when_something_is_there),
		cmocka_unit_test(patience_ends_and_is_tried_again),
		cmocka_unit_test(success_gives_patience_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
