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
	uint64_t cpu_ns;
	unsigned requests;  /* for each wake-up */
	unsigned elsewhere; /* in 100 wake-ups */
};

static const struct window often = { MS, MS / 10, 7, 100 };

static struct beside beside;
static struct beside_account account;

static int set_up(void **state)
{
	(void)state;
	beside = (struct beside){ 0 };
	account = (struct beside_account){ 1000 * (uint64_t)MS, 3 * MS, 99 };
	(void)beside_judge(&beside, &account);
	return 0;
}

/* Let a window of that kind go by; whether the worker moves at its end. */
static bool moves_after(const struct window *window)
{
	unsigned wakes = 0;
	bool over;

	do {
		account.served += window->requests;
		over = beside_woke(&beside, wakes * window->elsewhere / 100 !=
						    (wakes + 1) * window->elsewhere / 100);
		wakes++;
	} while (!over);
	account.now_ns += window->ns;
	account.cpu_ns += window->cpu_ns;
	return beside_judge(&beside, &account);
}

static void who_is_woken_elsewhere_for_little_moves(void **state)
{
	(void)state;
	assert_true(moves_after(&often));
}

static void so_does_who_is_woken_for_many_at_once(void **state)
{
	const struct window bunches = { 4 * MS, MS, 200, 100 };

	(void)state;
	assert_true(moves_after(&bunches));
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
	const struct window busy = { MS, MS * 4 / 10, 7, 100 };
	const struct window slow = { 10 * MS, MS, 1, 100 };
	const struct window rarely = { 100 * MS, MS / 10, 1, 100 };

	(void)state;
	for (int i = 0; i < 100; i++) {
		assert_false(moves_after(&busy));
		assert_false(moves_after(&slow));
		assert_false(moves_after(&rarely));
	}
	assert_true(moves_after(&often));
}

static unsigned moves_in(unsigned windows)
{
	unsigned moves = 0;

	for (unsigned i = 0; i < windows; i++)
		moves += moves_after(&often);
	return moves;
}

static void a_move_that_does_not_last_is_made_ever_more_rarely(void **state)
{
	const struct window here = { MS, MS / 10, 7, 0 };

	(void)state;
	assert_in_range(moves_in(1000), 8, 10);
	assert_in_range(moves_in(10240), 8, 11);
	/* Those that last make up for it. */
	for (int i = 0; i < 10; i++)
		assert_false(moves_after(&here));
	assert_true(moves_after(&often));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(who_is_woken_elsewhere_for_little_moves, set_up),
		cmocka_unit_test_setup(so_does_who_is_woken_for_many_at_once, set_up),
		cmocka_unit_test_setup(who_is_beside_already_stays, set_up),
		cmocka_unit_test_setup(who_has_much_to_do_stays, set_up),
		cmocka_unit_test_setup(a_move_that_does_not_last_is_made_ever_more_rarely,
				       set_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
