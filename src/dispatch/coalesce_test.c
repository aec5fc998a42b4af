/* SPDX-License-Identifier: MIT */
/* When the dispatcher naps: windows of which we say how long they took and how much of it was
 * slept. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/os/os.h"
#include "dispatch/private.h"

#define REQUESTS 512u
#define US       1000u
#define MS       1000000u
#define MANY     512u /* clients */
#define PLAIN    4u   /* windows of a phase without naps */
#define NAPPING  28u
#define TRIED    8u   /* phases with naps are judged together */
#define REST     64u  /* phases, the first time */
#define REST_MAX 1024u

static struct crew_server server;
static struct dispatcher *dispatcher;
static struct coalesce *coalesce;
static uint64_t now_ns;

static void begin(unsigned coalesce_us, unsigned spin_us)
{
	server.coalesce_us = coalesce_us;
	server.spin_us = spin_us;
	coalesce_init(dispatcher);
	now_ns = clock_now_ns();
	coalesce_judge(coalesce, REQUESTS, MANY, now_ns);
}

static int set_up(void **state)
{
	(void)state;
	dispatcher = calloc(1, sizeof(*dispatcher));
	assert_non_null(dispatcher);
	server = (struct crew_server){ .dispatchers = 1 };
	dispatcher->server = &server;
	coalesce = &dispatcher->coalesce;
	begin(0, 0);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	free(dispatcher);
	return 0;
}

/* So many windows of this length, of which one part in a hundred each was slept. */
static void pass(unsigned windows, unsigned clients, uint64_t took_ns, unsigned asleep_percent)
{
	for (unsigned i = 0; i < windows; i++) {
		now_ns += took_ns;
		coalesce->slept_ns += took_ns * asleep_percent / 100u;
		coalesce_judge(coalesce, REQUESTS, clients, now_ns);
	}
}

static void begin_to_nap(void)
{
	pass(PLAIN, MANY, 5 * MS, 2);
	assert_true(coalesce->nap_ns > 0);
}

/* It rests for so many phases, and no longer. */
static void rests_for(unsigned phases, uint64_t took_ns)
{
	for (unsigned i = 0; i < phases * PLAIN; i++) {
		pass(1, MANY, took_ns, 2);
		assert_int_equal(coalesce->nap_ns, 0);
	}
	pass(PLAIN, MANY, took_ns, 2);
	assert_true(coalesce->nap_ns > 0);
	pass(1, 55, took_ns, 0);
}

/* As often as it takes to judge them; each time so many windows. */
static void try_naps(unsigned windows, uint64_t took_ns)
{
	for (unsigned tried = 0; tried < TRIED * NAPPING; tried += windows) {
		begin_to_nap();
		pass(windows, MANY, took_ns, 0);
	}
	assert_int_equal(coalesce->nap_ns, 0);
}

/* 42 of 512 clients, at a request in 9.8 us. */
static void many_clients_that_leave_no_time_to_sleep_are_coalesced(void **state)
{
	(void)state;
	pass(PLAIN - 1, MANY, 5 * MS, 2);
	assert_int_equal(coalesce->nap_ns, 0);
	pass(1, MANY, 5 * MS, 2);
	assert_in_range(coalesce->nap_ns, 416 * US, 417 * US);
}

static void naps_are_shorter_the_more_is_asked_and_the_fewer_ask(void **state)
{
	(void)state;
	pass(PLAIN, MANY, 1 * MS, 2);
	assert_in_range(coalesce->nap_ns, 83 * US, 84 * US);
	begin(0, 0);
	pass(PLAIN, 64, 5 * MS, 2);
	assert_in_range(coalesce->nap_ns, 26 * US, 27 * US);
	begin(0, 0);
	pass(PLAIN, 56, 5 * MS, 2);
	assert_in_range(coalesce->nap_ns, 22 * US, 23 * US);
	begin(0, 0);
	pass(PLAIN, 128, 5 * MS, 2);
	assert_in_range(coalesce->nap_ns, 104 * US, 105 * US);
	begin(0, 0);
	pass(PLAIN, MANY, 30 * MS, 2);
	assert_int_equal(coalesce->nap_ns, 500 * US);
}

static void what_is_too_short_for_a_nap_is_none(void **state)
{
	(void)state;
	pass(10 * PLAIN, 64, 5 * MS, 38);
	assert_int_equal(coalesce->nap_ns, 0);
	begin(0, 0);
	pass(PLAIN, 64, 5 * MS, 36);
	assert_in_range(coalesce->nap_ns, 5 * US, 6 * US);
}

static void few_clients_are_not_coalesced(void **state)
{
	(void)state;
	pass(10 * PLAIN, 55, 5 * MS, 2);
	assert_int_equal(coalesce->nap_ns, 0);
	pass(PLAIN, 56, 5 * MS, 2);
	assert_true(coalesce->nap_ns > 0);
	pass(1, 55, 5 * MS, 0);
	assert_int_equal(coalesce->nap_ns, 0);
}

static void where_there_is_time_to_sleep_nobody_is_kept_waiting(void **state)
{
	(void)state;
	pass(10 * PLAIN, MANY, 5 * MS, 41);
	assert_int_equal(coalesce->nap_ns, 0);
	pass(PLAIN, MANY, 5 * MS, 39);
	assert_in_range(coalesce->nap_ns, 20 * US, 21 * US);
	begin(0, 0);
	pass(PLAIN, MANY, 5 * MS, 30);
	assert_in_range(coalesce->nap_ns, 208 * US, 209 * US);
	begin(0, 0);
	pass(PLAIN, MANY, 5 * MS, 20);
	assert_in_range(coalesce->nap_ns, 416 * US, 417 * US);
}

/* What is slept is known by the clock, and only without naps. */
static void sleeps_are_counted(void **state)
{
	const uint64_t began_ns = clock_now_ns();

	(void)state;
	coalesce_wake(coalesce);
	assert_int_equal(coalesce->slept_ns, 0);
	coalesce_sleep(coalesce);
	os_nap(2 * MS);
	coalesce_wake(coalesce);
	coalesce_wake(coalesce);
	assert_in_range(coalesce->slept_ns, 2 * MS, clock_now_ns() - began_ns);
	coalesce->slept_ns = 0;
	begin_to_nap();
	coalesce_sleep(coalesce);
	os_nap(2 * MS);
	coalesce_wake(coalesce);
	assert_int_equal(coalesce->slept_ns, 0);
}

static void from_time_to_time_it_looks_how_it_is_without(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 20; i++) {
		begin_to_nap();
		pass(NAPPING - 1, MANY, 5 * MS, 0);
		assert_true(coalesce->nap_ns > 0);
		pass(1, MANY, 5 * MS, 0);
		assert_int_equal(coalesce->nap_ns, 0);
	}
	/* Fewer come now: naps are no longer. */
	pass(PLAIN, MANY, 20 * MS, 60);
	assert_int_equal(coalesce->nap_ns, 0);
}

/* Less is served with naps than without. */
static void where_it_costs_requests_it_rests_ever_longer(void **state)
{
	unsigned rest = REST;

	(void)state;
	for (unsigned i = 0; i < 10; i++) {
		try_naps(NAPPING, 6 * MS);
		rests_for(rest, 5 * MS);
		rest = 2 * rest < REST_MAX ? 2 * rest : REST_MAX;
	}
	/* Now it is worth it. */
	try_naps(NAPPING, 5 * MS);
	/* What it was counts half when it is not again. */
	for (unsigned i = 0; i < TRIED / 2; i++) {
		begin_to_nap();
		pass(NAPPING, MANY, 7 * MS, 0);
	}
	rests_for(REST, 5 * MS);
}

/* A phase without naps is short, and so may be faster than all others. */
static void what_is_slow_by_chance_is_tried_again(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 10 * TRIED; i++) {
		pass(PLAIN, MANY, i % TRIED ? 5 * MS : 4 * MS, 2);
		assert_true(coalesce->nap_ns > 0);
		pass(NAPPING, MANY, i % TRIED == 1 ? 6 * MS : 5 * MS, 0);
	}
}

/* Where a nap takes much longer than it should, as on a machine that wakes nobody in time. */
static void what_is_far_too_slow_is_not_waited_for(void **state)
{
	(void)state;
	begin_to_nap();
	pass(PLAIN + 1, MANY, 20 * MS, 0);
	assert_int_equal(coalesce->nap_ns, 0);
	rests_for(REST, 5 * MS);
	/* Once is chance. */
	begin_to_nap();
	pass(1, MANY, 20 * MS, 0);
	assert_true(coalesce->nap_ns > 0);
}

/* Pauses, and clients that go, hide nothing. */
static void phases_that_are_cut_short_are_judged(void **state)
{
	(void)state;
	for (unsigned tried = 0; tried < TRIED * NAPPING; tried += 2 * PLAIN) {
		begin_to_nap();
		pass(PLAIN, MANY, 6 * MS, 0);
		pass(1, MANY, 1000 * MS, 0);
		begin_to_nap();
		pass(PLAIN - 1, MANY, 6 * MS, 0);
		pass(1, 55, 6 * MS, 0);
		assert_int_equal(coalesce->nap_ns, 0);
	}
	rests_for(REST, 5 * MS);
}

/* Each phase with naps is held against the one before it. */
static void loads_that_change_are_no_reason_to_rest(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 4 * TRIED; i++) {
		pass(PLAIN, MANY, i % 2 ? 5 * MS : 11 * MS, 2);
		assert_true(coalesce->nap_ns > 0);
		pass(i % 2 ? PLAIN : NAPPING, MANY, i % 2 ? 5 * MS : 11 * MS, 0);
		pass(1, 55, 5 * MS, 0);
	}
}

static void loads_that_change_hide_nothing(void **state)
{
	(void)state;
	for (unsigned i = 0; i < TRIED; i++) {
		pass(PLAIN, MANY, i % 2 ? 5 * MS : 11 * MS, 2);
		assert_true(coalesce->nap_ns > 0);
		pass(NAPPING, MANY, i % 2 ? 9 * MS : 20 * MS, 0);
	}
	rests_for(REST, 5 * MS);
}

/* Its naps were short: what took so long were others. */
static void a_pause_is_no_fault_of_naps(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 2 * TRIED; i++) {
		begin_to_nap();
		pass(1, MANY, 60 * MS, 1);
		assert_int_equal(coalesce->nap_ns, 0);
	}
	begin_to_nap();
	pass(1, MANY, 60 * MS, 90);
	assert_int_equal(coalesce->nap_ns, 0);
	rests_for(REST, 5 * MS);
}

/* They would be too long for plain ones, and it is the naps that make them so. */
static void naps_that_make_windows_long_are_seen(void **state)
{
	(void)state;
	pass(PLAIN, MANY, 20 * MS, 2);
	assert_true(coalesce->nap_ns > 0);
	pass(9, MANY, 60 * MS, 0);
	assert_int_equal(coalesce->nap_ns, 0);
	rests_for(REST, 20 * MS);
}

static void after_a_pause_it_begins_anew(void **state)
{
	(void)state;
	begin_to_nap();
	pass(1, MANY, 1000 * MS, 0);
	assert_int_equal(coalesce->nap_ns, 0);
	pass(PLAIN - 1, MANY, 5 * MS, 2);
	pass(1, MANY, 1000 * MS, 0);
	pass(PLAIN - 1, MANY, 5 * MS, 2);
	assert_int_equal(coalesce->nap_ns, 0);
	pass(1, MANY, 5 * MS, 2);
	assert_in_range(coalesce->nap_ns, 416 * US, 417 * US);
}

static void it_naps_for_who_asks(void **state)
{
	uint64_t began_ns;

	(void)state;
	coalesce->asked = true;
	assert_false(coalesce_nap(dispatcher));
	begin_to_nap();
	coalesce->until_ns = clock_now_ns() + 1000ull * MS;
	began_ns = clock_now_ns();
	assert_true(coalesce_nap(dispatcher));
	assert_true(clock_now_ns() - began_ns >= coalesce->nap_ns);
	assert_int_equal(coalesce->naps, 1);
	/* Nothing came: then it sleeps. */
	assert_false(coalesce_nap(dispatcher));
	coalesce->asked = true;
	dispatcher->pending = 1;
	assert_false(coalesce_nap(dispatcher));
	dispatcher->pending = 0;
	/* Who stops has no time for it. */
	dispatcher->draining = true;
	assert_false(coalesce_nap(dispatcher));
	dispatcher->draining = false;
	assert_int_equal(coalesce->naps, 1);
	assert_true(coalesce_nap(dispatcher));
	assert_int_equal(coalesce->naps, 2);
}

static void who_is_behind_looks_for_more(void **state)
{
	(void)state;
	pass(PLAIN, 64, 5 * MS, 2);
	assert_true(coalesce->nap_ns > 0);
	coalesce->until_ns = clock_now_ns() + 1000ull * MS;
	coalesce->asked = true;
	dispatcher->loop.came = 64 / 5 + 1;
	assert_true(coalesce_nap(dispatcher));
	assert_int_equal(coalesce->naps, 0);
	dispatcher->loop.came = 64 / 5;
	assert_true(coalesce_nap(dispatcher));
	assert_int_equal(coalesce->naps, 1);
}

/* The window goes on for as long as nobody asks. */
static void it_naps_no_more_when_requests_come_no_more(void **state)
{
	(void)state;
	begin_to_nap();
	assert_in_range(coalesce->until_ns, now_ns + 10 * MS, now_ns + 10 * MS);
	coalesce->asked = true;
	coalesce->until_ns = clock_now_ns();
	assert_false(coalesce_nap(dispatcher));
	assert_int_equal(coalesce->naps, 0);
}

static void it_does_as_it_is_told(void **state)
{
	(void)state;
	begin(100, 0);
	begin_to_nap();
	assert_int_equal(coalesce->nap_ns, 100 * US);
	begin(0, CREW_NEVER);
	begin_to_nap();
	begin(CREW_NEVER, 0);
	pass(PLAIN, MANY, 5 * MS, 2);
	assert_int_equal(coalesce->nap_ns, 0);
	begin(100, 20);
	pass(PLAIN, MANY, 5 * MS, 2);
	assert_int_equal(coalesce->nap_ns, 0);
}

#define with_dispatcher(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_dispatcher(many_clients_that_leave_no_time_to_sleep_are_coalesced),
		with_dispatcher(naps_are_shorter_the_more_is_asked_and_the_fewer_ask),
		with_dispatcher(few_clients_are_not_coalesced),
		with_dispatcher(where_there_is_time_to_sleep_nobody_is_kept_waiting),
		with_dispatcher(sleeps_are_counted),
		with_dispatcher(from_time_to_time_it_looks_how_it_is_without),
		with_dispatcher(where_it_costs_requests_it_rests_ever_longer),
		with_dispatcher(what_is_slow_by_chance_is_tried_again),
		with_dispatcher(what_is_far_too_slow_is_not_waited_for),
		with_dispatcher(phases_that_are_cut_short_are_judged),
		with_dispatcher(loads_that_change_are_no_reason_to_rest),
		with_dispatcher(loads_that_change_hide_nothing),
		with_dispatcher(a_pause_is_no_fault_of_naps),
		with_dispatcher(what_is_too_short_for_a_nap_is_none),
		with_dispatcher(naps_that_make_windows_long_are_seen),
		with_dispatcher(after_a_pause_it_begins_anew),
		with_dispatcher(it_naps_for_who_asks),
		with_dispatcher(who_is_behind_looks_for_more),
		with_dispatcher(it_naps_no_more_when_requests_come_no_more),
		with_dispatcher(it_does_as_it_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
