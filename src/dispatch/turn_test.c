/* SPDX-License-Identifier: MIT */
/* When a worker is rung: a dispatcher with one worker, that sleeps, and no clients. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/os/os.h"
#include "dispatch/private.h"
#include "supervise/scoreboard.h"

#define NOW_MS 1000u

static const struct crew_server alone = { .dispatchers = 1 };
static const struct crew_server with_sisters = { .dispatchers = 2 };
static struct score score;
static struct crew_child self = { .score = &score };
static struct dispatcher *dispatcher;
static struct seat seat;
static struct seat *seats[] = { &seat };
static _Atomic uint32_t epoch;  /* the worker's: odd while it sleeps */
static _Atomic uint32_t was_on; /* where the worker rang last, plus 1 */
static _Atomic uint32_t our_processor;

static int set_up(void **state)
{
	cpu_set_t here;

	(void)state;
	CPU_ZERO(&here);
	CPU_SET(os_processor(), &here);
	assert_int_equal(sched_setaffinity(0, sizeof(here), &here), 0);
	dispatcher = calloc(1, sizeof(*dispatcher));
	assert_non_null(dispatcher);
	dispatcher->server = &alone;
	dispatcher->self = &self;
	dispatcher->loop.owner = dispatcher;
	dispatcher->connection_count = 1;
	list_init(&dispatcher->to_flush);
	list_init(&dispatcher->gone);
	list_init(&dispatcher->active);
	list_init(&dispatcher->connections);
	list_init(&dispatcher->calls_new);
	list_init(&dispatcher->calls_done);
	dispatcher->loop.now_ms = NOW_MS;
	dispatcher->pools[0].dispatcher = dispatcher;
	dispatcher->pools[0].seats = seats;
	dispatcher->pools[0].seat_count = 1;
	dispatcher->pool_count = 1;
	seat = (struct seat){ .dispatcher = dispatcher, .pool = &dispatcher->pools[0],
			      .up = true, .announced = true, .progress_ms = NOW_MS };
	outbox_init(&seat.outbox);
	calls_open(&seat);
	seat.link.ringer.epoch = &epoch;
	seat.link.ringer.fd = os_bell_create();
	seat.link.ringer.processor = &our_processor;
	seat.link.peer_processor = &was_on;
	assert_true(seat.link.ringer.fd >= 0);
	epoch = 1;
	was_on = os_processor() + 1;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	outbox_fini(&seat.outbox);
	close(seat.link.ringer.fd);
	free(dispatcher);
	return 0;
}

/* A turn of so many events, which gave the worker so many requests. */
static void turn(unsigned events, unsigned requests)
{
	dispatcher->loop.came = events;
	seat.at_work += requests;
	seat.must_ring |= requests > 0;
	turn_done(&dispatcher->loop);
}

static bool was_rung(void)
{
	return os_bell_wait(seat.link.ringer.fd, 0) > 0;
}

static void a_single_request_is_rung_for_at_once(void **state)
{
	(void)state;
	turn(1, 1);
	assert_true(was_rung());
	assert_true(turn_may_sleep(&dispatcher->loop));
}

/* Nobody sleeps on a ring that was put off. */
static void who_is_beside_is_rung_when_no_more_comes(void **state)
{
	(void)state;
	turn(5, 5);
	assert_false(was_rung());
	assert_false(turn_may_sleep(&dispatcher->loop));
	turn(1, 1);
	assert_false(was_rung());
	assert_false(turn_may_sleep(&dispatcher->loop));
	turn(0, 0);
	assert_true(was_rung());
	assert_true(turn_may_sleep(&dispatcher->loop));
	/* It begins anew. */
	epoch += 2;
	turn(1, 1);
	assert_true(was_rung());
}

static void who_has_enough_to_do_is_rung(void **state)
{
	(void)state;
	turn(2, RING_AT_WORK - 1);
	assert_false(was_rung());
	turn(2, 1);
	assert_true(was_rung());
}

/* Requests of others, which it has no part in, keep it waiting for a while only. */
static void who_waited_for_long_is_rung_though_more_comes(void **state)
{
	unsigned events = 0;

	(void)state;
	turn(2, 1);
	for (events = 2; !was_rung(); events += 2) {
		assert_true(events < RING_AFTER_EVENTS);
		turn(2, 0);
	}
	assert_int_equal(events, RING_AFTER_EVENTS);
	assert_true(turn_may_sleep(&dispatcher->loop));
	turn(2, 0);
	epoch += 2;
	turn(2, 1);
	assert_false(was_rung());
}

static void who_is_elsewhere_is_rung_at_once(void **state)
{
	(void)state;
	was_on++;
	turn(5, 5);
	assert_true(was_rung());
	was_on = 0; /* nobody knows where */
	epoch += 2;
	turn(5, 5);
	assert_true(was_rung());
}

/* Nothing is put off for who hears it without. */
static void who_is_awake_or_rung_keeps_nobody_awake(void **state)
{
	(void)state;
	epoch = 2;
	turn(5, 5);
	assert_false(was_rung());
	assert_true(turn_may_sleep(&dispatcher->loop));
	epoch = 3;
	turn(1, 1);
	assert_true(was_rung());
	turn(5, 5);
	assert_false(was_rung());
	assert_true(turn_may_sleep(&dispatcher->loop));
}

/* Its link is no more. */
static void who_has_gone_is_forgotten(void **state)
{
	(void)state;
	seat.up = false;
	seat.link.ringer.epoch = NULL;
	turn(5, 5);
	assert_false(seat.must_ring);
	assert_true(turn_may_sleep(&dispatcher->loop));
}

/* The same turn twice: with something that forbids to wait, and without. */
static void rings(bool at_once)
{
	epoch += 2;
	turn(5, 5);
	assert_int_equal(was_rung(), at_once);
	turn(0, 0);
	assert_int_equal(was_rung(), !at_once);
	seat.at_work = 0;
}

static void who_could_be_missed_is_rung_at_once(void **state)
{
	(void)state;
	rings(false);
	/* More wait for it than it can take. */
	dispatcher->pools[0].queued = 1;
	rings(true);
	dispatcher->pools[0].queued = 0;
	rings(false);
	/* It would be thought stuck. */
	seat.progress_ms = NOW_MS - PULL_BACK_MS - 1;
	rings(true);
	seat.progress_ms = NOW_MS;
	rings(false);
	/* There may be no other turn. */
	dispatcher->draining = true;
	rings(true);
	dispatcher->draining = false;
	rings(false);
}

/* That is a sleep too: until the other one has worked. */
static void who_gives_way_rings_all_others_before(void **state)
{
	struct seat other = { 0 };

	(void)state;
	dispatcher->gives_way_to = &other;
	turn(5, 5);
	assert_true(was_rung());
}

/* Each has sisters, whose requests it cannot see. */
static void who_is_not_the_only_dispatcher_does_not_wait(void **state)
{
	(void)state;
	dispatcher->server = &with_sisters;
	turn(5, 5);
	assert_true(was_rung());
}

/* What is said while a turn is cleared up after is rung for in the next. */
static void nobody_sleeps_before_all_are_rung(void **state)
{
	(void)state;
	seat.must_ring = true;
	assert_false(turn_may_sleep(&dispatcher->loop));
	turn(0, 0);
	assert_true(was_rung());
	assert_true(turn_may_sleep(&dispatcher->loop));
}

static void nobody_naps_before_all_are_rung(void **state)
{
	struct coalesce *coalesce = &dispatcher->coalesce;

	(void)state;
	coalesce->nap_ns = 1000;
	coalesce->until_ns = UINT64_MAX;
	coalesce->behind = UINT32_MAX;
	coalesce->asked = true;
	turn(5, 5);
	assert_false(turn_may_sleep(&dispatcher->loop));
	assert_false(was_rung());
	assert_int_equal(coalesce->naps, 0);
	turn(0, 0);
	assert_true(was_rung());
	assert_false(turn_may_sleep(&dispatcher->loop));
	assert_int_equal(coalesce->naps, 1);
}

/* There was no descriptor left for the file. */
static void events_that_are_lost_are_no_word_of_a_pool(void **state)
{
	const struct control order = { .kind = CONTROL_PUBLISH };
	struct watch channel;
	int ends[2];

	(void)state;
	assert_int_equal(os_channel_create(ends), 0);
	dispatcher->pools[0].restarts = 5;
	assert_int_equal(os_channel_send(ends[0], &order, sizeof(order), NULL, 0), 0);
	channel = (struct watch){ .fd = ends[1] };
	control_came(&dispatcher->loop, &channel, EPOLLIN);
	assert_int_equal(dispatcher->pools[0].restarts, 5);
	assert_int_equal(dispatcher->published, 0);
	close(ends[0]);
	close(ends[1]);
}

static unsigned called_back;

/* Nobody takes it: there are too many of them. */
static void call(crew_answered *done)
{
	static const struct wire_call head = { .depth = 1 };
	const struct span bytes = { (const char *)&head, sizeof(head) };

	assert_int_equal(call_begin(dispatcher, NULL, bytes, done, NULL), 0);
}

/* Asks twice for each answer that it did not get. */
static void call_again(struct crew_worker *local, const struct crew_answer *answer,
		       void *context)
{
	(void)local;
	(void)context;
	assert_int_equal(answer->status, 503);
	if (++called_back > 100)
		return;
	call(call_again);
	call(call_again);
}

static void who_calls_again_when_called_back_waits_for_the_next_turn(void **state)
{
	(void)state;
	called_back = 0;
	dispatcher->call_count = CALLS_MAX;
	call(call_again);
	turn(0, 0);
	assert_int_equal(called_back, 1);
	assert_false(turn_may_sleep(&dispatcher->loop));
	turn(0, 0);
	assert_int_equal(called_back, 3);
	while (!turn_may_sleep(&dispatcher->loop))
		turn(0, 0);
	assert_true(called_back > 100);
	assert_int_equal(dispatcher->call_count, CALLS_MAX);
	assert_true(list_empty(&dispatcher->connections));
}

int main(void)
{
#define ON_A_TURN(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		ON_A_TURN(a_single_request_is_rung_for_at_once),
		ON_A_TURN(who_is_beside_is_rung_when_no_more_comes),
		ON_A_TURN(who_has_enough_to_do_is_rung),
		ON_A_TURN(who_waited_for_long_is_rung_though_more_comes),
		ON_A_TURN(who_is_elsewhere_is_rung_at_once),
		ON_A_TURN(who_could_be_missed_is_rung_at_once),
		ON_A_TURN(who_gives_way_rings_all_others_before),
		ON_A_TURN(who_is_not_the_only_dispatcher_does_not_wait),
		ON_A_TURN(nobody_sleeps_before_all_are_rung),
		ON_A_TURN(nobody_naps_before_all_are_rung),
		ON_A_TURN(who_has_gone_is_forgotten),
		ON_A_TURN(who_is_awake_or_rung_keeps_nobody_awake),
		ON_A_TURN(events_that_are_lost_are_no_word_of_a_pool),
		ON_A_TURN(who_calls_again_when_called_back_waits_for_the_next_turn),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
