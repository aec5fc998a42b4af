/* SPDX-License-Identifier: MIT */
/* Which worker gets the next request: a pool whose workers are numbers only. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include <crew/crew.h>

#include "base/os/os.h"
#include "dispatch/private.h"

#define SEATS      4u
#define PROCESSORS 2u
#define QUICK_NS   2000u
#define FULL_NS    200000u /* still quick */
#define TRIFLE_NS  500u
#define NOW_MS     1000u

static crew_reply run(struct crew_request *request)
{
	return crew_text(request, 200, "");
}

enum { QUICK = 0, SLOW, TRIFLE };

static const struct crew_route rows[] = {
	[QUICK] = { .on = "GET /quick", .run = run },
	[SLOW] = { .on = "GET /slow", .run = run },
	[TRIFLE] = { .on = "GET /trifle", .run = run },
	{ 0 },
};
static const struct crew_app app = { .name = "app", .routes = rows };
static const struct crew_pool options = { .app = &app };
static const struct crew_server server = { .dispatchers = 1 };

static struct crew_child self;
static _Atomic uint32_t processors[SEATS]; /* on which the workers rang, plus 1 */
static _Atomic uint32_t epochs[SEATS];     /* of the workers' sleeps */
static struct dispatcher *dispatcher;
static struct pool *pool;
static struct connection *connection;
static struct exchange *exchange;

static int set_up(void **state)
{
	(void)state;
	dispatcher = calloc(1, sizeof(*dispatcher));
	connection = calloc(1, sizeof(*connection));
	exchange = calloc(1, sizeof(*exchange));
	assert_true(dispatcher && connection && exchange);
	dispatcher->server = &server;
	dispatcher->self = &self;
	dispatcher->processors = PROCESSORS;
	dispatcher->loop.now_ms = NOW_MS;
	pool = &dispatcher->pools[0];
	pool->dispatcher = dispatcher;
	pool->options = &options;
	list_init(&dispatcher->active);
	assert_int_equal(pool_init_costs(pool), 0);
	pool->costs[QUICK].ns = QUICK_NS;
	pool->costs[SLOW].ns = 1000000;
	pool->costs[TRIFLE].ns = TRIFLE_NS;
	pool->seats = calloc(SEATS, sizeof(struct seat *));
	pool->seat_count = SEATS;
	for (unsigned i = 0; i < SEATS; i++) {
		struct seat *seat = calloc(1, sizeof(*seat));

		seat->dispatcher = dispatcher;
		seat->pool = pool;
		list_init(&seat->in_active);
		seat->up = true;
		seat->progress_ms = NOW_MS;
		seat->link.peer_processor = &processors[i];
		processors[i] = 0;
		seat->link.ringer.epoch = &epochs[i];
		epochs[i] = 0;
		for (uint32_t slot = 0; slot < LINK_SLOTS; slot++)
			slots_add(&seat->free_slots, slot);
		pool->seats[i] = seat;
	}
	exchange->connection = connection;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	for (unsigned i = 0; i < SEATS; i++)
		free(pool->seats[i]);
	free(pool->seats);
	pool_fini_costs(pool);
	free(exchange);
	free(connection);
	free(dispatcher->loop.timers);
	free(dispatcher);
	return 0;
}

static void is_at(unsigned seat, unsigned requests, uint64_t work_ns)
{
	pool->seats[seat]->at_work = requests;
	pool->seats[seat]->in_hand = requests;
	pool->seats[seat]->work_ns = work_ns;
	list_remove(&pool->seats[seat]->in_active);
	if (requests > 0)
		list_push_back(&dispatcher->active, &pool->seats[seat]->in_active);
}

/* The number of the seat that is chosen for a request of that row, or -1. */
static int choose(unsigned row)
{
	const struct seat *seat;

	exchange->route = &rows[row];
	seat = pool_choose(pool, exchange);
	for (unsigned i = 0; seat && i < SEATS; i++) {
		if (pool->seats[i] == seat)
			return (int)i;
	}
	return -1;
}

static void quick_requests_are_packed_and_slow_ones_spread(void **state)
{
	(void)state;
	assert_int_equal(choose(QUICK), 0);
	is_at(0, 5, 5 * QUICK_NS);
	assert_int_equal(choose(QUICK), 0);
	assert_int_equal(choose(SLOW), 1);
	is_at(0, 1, 1000000);
	assert_int_equal(choose(QUICK), 1);
	for (unsigned i = 0; i < SEATS; i++)
		is_at(i, 1, 1000000);
	assert_int_equal(choose(QUICK), -1);
	assert_int_equal(choose(SLOW), -1);
}

static void quick_work_occupies_no_more_workers_than_processors(void **state)
{
	(void)state;
	is_at(0, 100, 100 * QUICK_NS);
	assert_int_equal(choose(QUICK), 1); /* one processor is free */
	is_at(1, 50, 50 * QUICK_NS);
	assert_int_equal(choose(QUICK), 1); /* the one with less */
	assert_int_equal(choose(SLOW), 2);
	is_at(0, LINK_WORK_MAX, FULL_NS);
	assert_int_equal(choose(QUICK), 1);
	is_at(1, LINK_WORK_MAX, FULL_NS);
	assert_int_equal(choose(QUICK), -1); /* they will answer sooner than others wake */
	assert_int_equal(choose(SLOW), 2);
	pool->seats[1]->draining = true;
	assert_int_equal(choose(QUICK), 2);
}

static void one_worker_is_enough_for_trifles(void **state)
{
	(void)state;
	is_at(0, 100, 100 * TRIFLE_NS);
	assert_int_equal(choose(QUICK), 1);
	assert_int_equal(choose(TRIFLE), 0);
	connection->pipelines = true;
	assert_int_equal(choose(TRIFLE), 1);
	connection->pipelines = false;
	/* Who can take no more, does something else too, or is silent for long. */
	is_at(0, LINK_WORK_MAX, LINK_WORK_MAX * TRIFLE_NS);
	assert_int_equal(choose(TRIFLE), 1);
	is_at(0, 20, 20 * PACK_US * 1000u / 3);
	assert_int_equal(choose(TRIFLE), 1);
	is_at(0, 100, 100 * TRIFLE_NS);
	pool->seats[0]->progress_ms = NOW_MS - PULL_BACK_MS - 1;
	assert_int_equal(choose(TRIFLE), 1);
}

/* Where we are, and now remain. */
static unsigned stay(void)
{
	const unsigned processor = os_processor();
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(processor, &set);
	assert_int_equal(sched_setaffinity(0, sizeof(set), &set), 0);
	return processor;
}

static void what_is_tiny_and_pipelined_is_for_who_is_beside_us(void **state)
{
	const unsigned here = stay() + 1;

	(void)state;
	connection->pipelines = true;
	is_at(0, 2, 2 * TRIFLE_NS);
	assert_int_equal(choose(TRIFLE), 0);
	processors[1] = here;
	assert_int_equal(choose(TRIFLE), 1);
	is_at(0, 0, 0);
	assert_int_equal(choose(TRIFLE), 1);
	is_at(1, 100, 100 * TRIFLE_NS);
	assert_int_equal(choose(TRIFLE), 1);
	assert_int_equal(choose(QUICK), 0);
	/* It takes them soon; unless it does something else too, or nothing. */
	is_at(1, LINK_WORK_MAX, LINK_WORK_MAX * TRIFLE_NS);
	assert_int_equal(choose(TRIFLE), -1);
	pool->queued = LINK_WORK_MAX;
	assert_int_equal(choose(TRIFLE), 0);
	pool->queued = 0;
	pool->seats[1]->progress_ms = NOW_MS - PULL_BACK_MS - 1;
	assert_int_equal(choose(TRIFLE), 0);
	pool->seats[1]->progress_ms = NOW_MS;
	is_at(1, 20, 20 * QUICK_NS);
	assert_int_equal(choose(TRIFLE), 0);
	is_at(1, 100, 100 * TRIFLE_NS);
	pool->seats[1]->in_hand += 100;
	assert_int_equal(choose(TRIFLE), 0);
	pool->seats[1]->in_hand -= 100;
	processors[1] = here + 1;
	assert_int_equal(choose(TRIFLE), 0);
}

/* What was pulled back from it would only be given to it again. */
static void who_takes_nothing_is_asked_last_though_it_is_beside_us(void **state)
{
	(void)state;
	processors[1] = stay() + 1;
	connection->pipelines = true;
	assert_int_equal(choose(TRIFLE), 1);
	pool->seats[1]->doubted = true;
	assert_int_equal(choose(TRIFLE), 0);
	is_at(1, 2, 2 * TRIFLE_NS);
	assert_int_equal(choose(TRIFLE), 0);
	assert_int_equal(choose(QUICK), 0);
	/* Nor is its processor busy. */
	is_at(1, LINK_WORK_MAX, LINK_WORK_MAX * TRIFLE_NS);
	dispatcher->processors = 1;
	assert_int_equal(choose(QUICK), 0);
	dispatcher->processors = PROCESSORS;
	/* There is nobody else. */
	is_at(1, 2, 2 * TRIFLE_NS);
	for (unsigned i = 0; i < SEATS; i++)
		pool->seats[i]->up = i == 1;
	assert_int_equal(choose(QUICK), 1);
	for (unsigned i = 0; i < SEATS; i++)
		pool->seats[i]->up = true;
	/* It stirs. */
	epochs[1]++;
	assert_int_equal(choose(TRIFLE), 1);
}

/* Requests that are deferred, and streams, are handed out in no time, but stay. */
static void trifles_that_stay_are_shared_out(void **state)
{
	(void)state;
	is_at(0, 100, 100 * TRIFLE_NS);
	pool->seats[0]->in_hand += 100;
	assert_int_equal(choose(TRIFLE), 1);
	for (unsigned i = 1; i < SEATS; i++)
		pool->seats[i]->in_hand = 100;
	assert_int_equal(choose(TRIFLE), 0);
}

static void several_dispatchers_can_outrun_one_worker(void **state)
{
	static const struct crew_server several = { .dispatchers = 2 };
	static struct score scores[SEATS];

	(void)state;
	for (unsigned i = 0; i < SEATS; i++)
		pool->seats[i]->score = &scores[i];
	dispatcher->server = &several;
	is_at(0, 100, 100 * TRIFLE_NS);
	assert_int_equal(choose(TRIFLE), 1);
}

static void who_works_for_a_sister_is_asked_before_who_takes_nothing(void **state)
{
	static const struct crew_server several = { .dispatchers = 2 };
	static struct score scores[SEATS];

	(void)state;
	dispatcher->server = &several;
	for (unsigned i = 0; i < SEATS; i++) {
		pool->seats[i]->score = &scores[i];
		pool->seats[i]->up = i < 2;
	}
	pool->seats[1]->doubted = true;
	exchange->pool = pool;
	for (unsigned at_work = 0; at_work < 2; at_work++) {
		is_at(1, at_work, at_work * QUICK_NS);
		scores[0].request_id = 7;
		exchange->state = EXCHANGE_READING;
		assert_int_equal(choose(QUICK), -1);
		exchange->state = EXCHANGE_QUEUED;
		exchange->since_ms = NOW_MS - 2;
		assert_int_equal(choose(QUICK), 0);
		scores[0].request_id = 0;
		assert_int_equal(choose(QUICK), 0);
		pool->seats[0]->up = false;
		assert_int_equal(choose(QUICK), 1);
		pool->seats[0]->up = true;
	}
}

static void who_may_block_does_not_count(void **state)
{
	(void)state;
	/* One request each of some tens of microseconds: it may well sleep. */
	is_at(0, 1, 100000);
	is_at(1, 1, 100000);
	assert_int_equal(choose(QUICK), 2);
	/* Not known yet. */
	is_at(0, 1, PACK_US * 1000u);
	is_at(1, 1, PACK_US * 1000u);
	assert_int_equal(choose(QUICK), 2);
	/* Known as quick, but silent for long. */
	is_at(0, 40, 40 * QUICK_NS);
	is_at(1, 40, 40 * QUICK_NS);
	assert_int_equal(choose(QUICK), 0);
	pool->seats[0]->progress_ms = pool->seats[1]->progress_ms =
		NOW_MS - PULL_BACK_MS - 1;
	assert_int_equal(choose(QUICK), 2);
}

/* Streams and deferred requests may hold all slots of a worker that has little to
 * do: that it can take no more is no reason to wait. */
static void who_has_no_slots_left_does_not_make_others_wait(void **state)
{
	(void)state;
	for (unsigned i = 0; i < PROCESSORS; i++) {
		is_at(i, 1, QUICK_NS);
		memset(&pool->seats[i]->free_slots, 0, sizeof(struct slots));
	}
	assert_int_equal(choose(QUICK), 2);
}

/* Be it idle, or the best one to have it. */
static void while_one_is_full_others_are_asked(void **state)
{
	(void)state;
	is_at(1, 5, 5 * QUICK_NS);
	assert_int_equal(choose(SLOW), 0);
	assert_int_equal(choose(QUICK), 1);
	pool_note_full(pool->seats[0]);
	pool_note_full(pool->seats[1]);
	assert_int_equal(choose(SLOW), 2);
	assert_int_equal(choose(QUICK), 2);
	pool_note_full(pool->seats[2]);
	pool_note_full(pool->seats[3]);
	assert_int_equal(choose(SLOW), -1);
	assert_int_equal(choose(QUICK), -1);
	/* Somebody will look again. */
	assert_true(pool_has_idle(pool));
	assert_true(loop_timer_is_set(&dispatcher->pull_back));
	dispatcher->loop.now_ms = dispatcher->pull_back.due_ms;
	assert_int_equal(choose(SLOW), 0);
	assert_int_equal(choose(QUICK), 1);
}

static void what_a_client_pipelines_is_put_behind_other_work(void **state)
{
	(void)state;
	for (unsigned i = 0; i < SEATS; i++)
		is_at(i, 1, 100000 + i * 1000);
	assert_int_equal(choose(QUICK), -1);
	connection->pipelines = true;
	assert_int_equal(choose(QUICK), 0);
	is_at(3, 0, 0);
	assert_int_equal(choose(QUICK), 3);
}

static void one_slow_answer_among_quick_ones_is_not_believed(void **state)
{
	struct cost cost = { PACK_US * 1000u, UINT32_MAX };

	(void)state;
	for (int i = 0; i < 100; i++)
		pool_note_service(&cost, 0);
	assert_true(cost.ns < TRIFLE_US * 1000u);
	pool_note_service(&cost, 3000000);
	assert_true(cost.ns < TRIFLE_US * 1000u);
	for (int i = 0; i < 6; i++)
		pool_note_service(&cost, 1000);
	assert_true(cost.ns > PACK_US * 1000u);
	for (int i = 0; i < 50; i++)
		pool_note_service(&cost, 0);
	assert_true(cost.ns < TRIFLE_US * 1000u);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			quick_requests_are_packed_and_slow_ones_spread, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			quick_work_occupies_no_more_workers_than_processors, set_up,
			tear_down),
		cmocka_unit_test_setup_teardown(one_worker_is_enough_for_trifles, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(
			what_is_tiny_and_pipelined_is_for_who_is_beside_us, set_up,
			tear_down),
		cmocka_unit_test_setup_teardown(
			who_takes_nothing_is_asked_last_though_it_is_beside_us, set_up,
			tear_down),
		cmocka_unit_test_setup_teardown(trifles_that_stay_are_shared_out, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(
			who_works_for_a_sister_is_asked_before_who_takes_nothing, set_up,
			tear_down),
		cmocka_unit_test_setup_teardown(several_dispatchers_can_outrun_one_worker,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(who_may_block_does_not_count, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(
			who_has_no_slots_left_does_not_make_others_wait, set_up, tear_down),
		cmocka_unit_test_setup_teardown(while_one_is_full_others_are_asked, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(
			what_a_client_pipelines_is_put_behind_other_work, set_up,
			tear_down),
		cmocka_unit_test(one_slow_answer_among_quick_ones_is_not_believed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
