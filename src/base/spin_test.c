/* SPDX-License-Identifier: MIT */
/* Spinning: a trial, a rest where it is in vain, and how long looks may take. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/spin.h"

static unsigned looks;
static unsigned found_at; /* 0: never */
static uint64_t found_ns; /* when it may be found; 0: at any time */

static bool look(void *context)
{
	(void)context;
	looks++;
	return found_at && looks >= found_at && clock_now_ns() >= found_ns;
}

static bool spin(struct spin *spinner, unsigned found)
{
	looks = 0;
	found_at = found;
	found_ns = 0;
	return spin_until(spinner, look, NULL);
}

static bool spin_for(struct spin *spinner, uint64_t us)
{
	looks = 0;
	found_at = 1;
	found_ns = clock_now_ns() + us * 1000u;
	return spin_until(spinner, look, NULL);
}

/* Looks in vain until it rests; returns how many there were. */
static unsigned vain(struct spin *spinner)
{
	unsigned count = 0;

	while (spinner->rest == 0) {
		assert_false(spin(spinner, 0));
		count++;
	}
	return count;
}

/* Until it looks again; returns how often it did not. */
static unsigned rest(struct spin *spinner)
{
	unsigned count = 0;

	while (spinner->rest > 0) {
		assert_false(spin(spinner, 1));
		assert_int_equal(looks, 0);
		count++;
	}
	return count;
}

static void without_patience_it_does_not_look(void **state)
{
	struct spin spinner;

	(void)state;
	spin_init(&spinner, 0, 1, 16);
	assert_false(spin(&spinner, 1));
	assert_int_equal(looks, 0);
}

static void it_stops_when_something_is_there(void **state)
{
	struct spin spinner;

	(void)state;
	spin_init(&spinner, 1000000, 1000000, 16);
	assert_true(spin(&spinner, 1));
	assert_int_equal(looks, 1);
	assert_true(spin(&spinner, 100));
	assert_int_equal(looks, 100);
}

static void a_trial_in_vain_is_followed_by_a_rest(void **state)
{
	struct spin spinner;

	(void)state;
	spin_init(&spinner, 64, 64, 16);
	assert_int_equal(vain(&spinner), 1);
	assert_int_equal(rest(&spinner), 128);
	assert_int_equal(vain(&spinner), 1);
	assert_int_equal(rest(&spinner), 256);
}

static void rests_have_an_end(void **state)
{
	struct spin spinner;
	unsigned longest = 0;

	(void)state;
	spin_init(&spinner, 2, 2, 16);
	for (unsigned i = 0; i < 8; i++) {
		(void)vain(&spinner);
		longest = rest(&spinner);
	}
	assert_int_equal(longest, 4096);
}

static void success_goes_on_and_ends_long_rests(void **state)
{
	struct spin spinner;

	(void)state;
	spin_init(&spinner, 20000, 20000, 16);
	(void)vain(&spinner);
	(void)rest(&spinner);
	(void)vain(&spinner);
	(void)rest(&spinner);
	for (unsigned i = 0; i < 100; i++)
		assert_true(spin(&spinner, 1));
	assert_in_range(vain(&spinner), 2, 8);
	assert_int_equal(rest(&spinner), 128);
}

/* One look in vain among many that are not is no reason to stop. */
static void a_look_in_vain_is_forgiven(void **state)
{
	struct spin spinner;

	(void)state;
	spin_init(&spinner, 1000000, 100000, 16);
	for (unsigned i = 0; i < 1000; i++)
		assert_true(spin(&spinner, 1));
	assert_false(spin(&spinner, 0));
	assert_int_equal(spinner.rest, 0);
	assert_true(spin(&spinner, 1));
}

/* What a trial bears, to get over the slow beginning, is not borne for ever. */
static void what_is_found_too_late_is_not_worth_it(void **state)
{
	struct spin spinner;

	(void)state;
	spin_init(&spinner, 4000000, 5000, 16);
	for (unsigned i = 0; i < 8; i++) {
		assert_int_equal(spinner.rest, 0);
		assert_true(spin_for(&spinner, 10000));
	}
	assert_int_equal(spinner.rest, 128);
}

/* The first looks may take long: who is waited for sleeps and has to be woken. */
static void a_slow_beginning_is_borne(void **state)
{
	struct spin spinner;

	(void)state;
	spin_init(&spinner, 4000000, 10000, 16);
	for (unsigned i = 0; i < 3; i++)
		assert_true(spin_for(&spinner, 20000));
	for (unsigned i = 0; i < 100; i++)
		assert_true(spin(&spinner, 1));
	assert_int_equal(spinner.rest, 0);
}

/* What slept because of a look in vain may take as long as in the beginning. */
static void after_a_look_in_vain_there_is_a_trial(void **state)
{
	struct spin spinner;

	(void)state;
	spin_init(&spinner, 4000000, 100000, 16);
	for (unsigned i = 0; i < 100; i++)
		assert_true(spin(&spinner, 1));
	assert_false(spin(&spinner, 0));
	assert_true(spin_for(&spinner, 400000));
	assert_true(spin(&spinner, 1));
	assert_int_equal(spinner.rest, 0);
}

/* Else a look lasts no longer than twice what is worth it. */
static void after_the_trial_looks_are_shorter(void **state)
{
	struct spin spinner;
	uint64_t start_ns;

	(void)state;
	spin_init(&spinner, 4000000, 50000, 16);
	for (unsigned i = 0; i < 100; i++)
		assert_true(spin(&spinner, 1));
	start_ns = clock_now_ns();
	assert_false(spin(&spinner, 0));
	assert_true(clock_now_ns() - start_ns < 2000000000u);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_patience_it_does_not_look),
		cmocka_unit_test(it_stops_when_something_is_there),
		cmocka_unit_test(a_trial_in_vain_is_followed_by_a_rest),
		cmocka_unit_test(rests_have_an_end),
		cmocka_unit_test(success_goes_on_and_ends_long_rests),
		cmocka_unit_test(a_look_in_vain_is_forgiven),
		cmocka_unit_test(what_is_found_too_late_is_not_worth_it),
		cmocka_unit_test(a_slow_beginning_is_borne),
		cmocka_unit_test(after_a_look_in_vain_there_is_a_trial),
		cmocka_unit_test(after_the_trial_looks_are_shorter),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
