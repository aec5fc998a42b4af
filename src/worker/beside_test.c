/* SPDX-License-Identifier: MIT */
/* When a worker goes beside its dispatcher: windows of wake-ups, as numbers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "worker/beside.h"

#define MS 1000000u

/* What one window is like. */
struct window {
	uint64_t ns;
	uint64_t busy_ns;
	unsigned requests; /* for each wake-up */
	unsigned elsewhere; /* in 100 wake-ups */
};

static const struct window often = { MS, MS / 10, 7, 100 };

static struct beside beside;
static uint64_t now_ns;

static int set_up(void **state)
{
	(void)state;
	beside = (struct beside){ 0 };
	now_ns = 1000 * (uint64_t)MS;
	(void)beside_judge(&beside, now_ns);
	return 0;
}

/* Let a window of that kind go by; whether the worker moves at its end. */
static bool moves_after(const struct window *window)
{
	unsigned wakes = 0;
	bool over;

	beside_served(&beside, 0, window->busy_ns);
	do {
		beside_served(&beside, window->requests, 0);
		over = beside_woke(&beside, wakes * window->elsewhere / 100 !=
						    (wakes + 1) * window->elsewhere / 100);
		wakes++;
	} while (!over);
	now_ns += window->ns;
	return beside_judge(&beside, now_ns);
}

static void who_is_woken_elsewhere_for_little_moves(void **state)
{
	(void)state;
	assert_true(moves_after(&often));
}

static void who_is_beside_already_stays(void **state)
{
	const struct window here = { MS, MS / 10, 7, 0 };
	const struct window mostly = { MS, MS / 10, 7, 30 };

	(void)state;
	for (int i = 0; i < 100; i++) {
		assert_false(moves_after(&here));
		assert_false(moves_after(&mostly));
	}
}

static void who_has_much_to_do_stays(void **state)
{
	const struct window busy = { MS, MS * 6 / 10, 7, 100 };
	const struct window bunches = { MS, MS / 10, 100, 100 };
	const struct window rarely = { 100 * MS, MS, 1, 100 };

	(void)state;
	for (int i = 0; i < 100; i++) {
		assert_false(moves_after(&busy));
		assert_false(moves_after(&bunches));
		assert_false(moves_after(&rarely));
	}
	assert_true(moves_after(&often));
}

static void a_move_that_does_not_last_is_made_less_often(void **state)
{
	const struct window here = { MS, MS / 10, 7, 0 };
	unsigned moves = 0;

	(void)state;
	for (int i = 0; i < 900; i++)
		moves += moves_after(&often);
	assert_in_range(moves, 90, 110);
	/* One that lasts makes up for it. */
	assert_false(moves_after(&here));
	assert_true(moves_after(&often));
	assert_false(moves_after(&here));
	assert_true(moves_after(&often));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(who_is_woken_elsewhere_for_little_moves, set_up),
		cmocka_unit_test_setup(who_is_beside_already_stays, set_up),
		cmocka_unit_test_setup(who_has_much_to_do_stays, set_up),
		cmocka_unit_test_setup(a_move_that_does_not_last_is_made_less_often, set_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
