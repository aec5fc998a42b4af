/* SPDX-License-Identifier: MIT */
/* What a worker has at hand behind the request that it is at, and who gets that in the end:
 * this test at the worker's end of its link. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dispatch/test_seat.h"

#define SHORT_US 100u /* longer than what is packed */

static struct seat other;
static struct link other_worker;
static bool has_other;

static int set_up(void **state)
{
	(void)state;
	set_up_seat();
	dispatcher->processors = 3;
	dispatcher->to_spare = 2;
	pool->queue_max = dispatcher->max_pending = 8;
	has_other = false;
	return 0;
}

static void add_other(void)
{
	add_seat(&other, &other_worker);
	has_other = true;
}

static int clean_up(void **state)
{
	server.dispatchers = 1;
	if (has_other)
		remove_seat(&other, &other_worker);
	return tear_down(state);
}

static struct cost *cost(void)
{
	return &pool->costs[pool->route_count];
}

static void learn(unsigned service_us, unsigned times)
{
	for (unsigned i = 0; i < times; i++)
		pool_note_service(cost(), service_us);
}

static void come(unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		pool_enter(request_of(0));
}

/* What was given to a worker; none of it is begun. */
static unsigned given(struct link *its_worker, struct message *ret_first)
{
	struct message message;
	unsigned count = 0;

	while (link_receive(its_worker, &message) > 0) {
		assert_int_equal(message.kind, MESSAGE_REQUEST);
		if (count++ == 0)
			*ret_first = message;
	}
	return count;
}

static void begin(struct link *its_worker, const struct message *request)
{
	assert_true(link_take(its_worker, request->slot, request->generation));
}

/* The whole answer, to which the handler came after so long. */
static void answer_taking(const struct message *request, uint32_t service_us)
{
	const struct wire_answer head = { .status = 200 };
	struct message message = { .kind = MESSAGE_ANSWER, .flags = MESSAGE_LAST,
				   .slot = request->slot, .generation = request->generation,
				   .size = sizeof(head), .service_us = service_us };
	char *place = link_alloc(&worker, LINK_NO_SLOT, message.size, &message.offset);

	assert_non_null(place);
	memcpy(place, &head, sizeof(head));
	assert_int_equal(link_send(&worker, &message), 0);
}

static void defer(const struct message *request)
{
	const struct message message = { .kind = MESSAGE_DEFER, .slot = request->slot,
					 .generation = request->generation };

	assert_int_equal(link_send(&worker, &message), 0);
}

static void who_is_done_soon_has_the_next_one_at_hand(void **state)
{
	struct message first, next, last;

	(void)state;
	learn(SHORT_US, 1);
	come(4);
	assert_int_equal(pool->queued, 2);
	assert_int_equal(pool->nexts, 1);
	first = take();
	next = take();
	assert_int_equal(link_receive(&worker, &last), 0);
	answer(&first, "");
	seat_receive(&seat);
	assert_int_equal(pool->queued, 1);
	last = take();
	answer(&next, "");
	answer(&last, "");
	seat_receive(&seat);
	last = take();
	assert_int_equal(pool->queued, 0);
	assert_int_equal(pool->nexts, 0);
	answer(&last, "");
	seat_receive(&seat);
	assert_true(list_empty(&connection->exchanges));
	assert_false(seat.condemned);
}

static void nothing_is_put_behind_what_may_take_long(void **state)
{
	struct message message;

	(void)state;
	/* Nobody knows. */
	come(2);
	assert_int_equal(given(&worker, &message), 1);
	begin(&worker, &message);
	/* It took long once. */
	learn(SHORT_US, 50);
	learn(300000, 1);
	come(1);
	assert_int_equal(given(&worker, &message), 0);
	/* But not for a while. */
	learn(SHORT_US, 60);
	pool_feed(pool);
	assert_int_equal(given(&worker, &message), 1);
	assert_int_equal(pool->queued, 1);
	seat_down(&seat, CREW_CAUSE_SIGNAL);
	assert_int_equal(pool->nexts, 0);
}

static void what_takes_a_millisecond_is_long(void **state)
{
	struct message message;

	(void)state;
	learn(NEXT_US, 1);
	come(2);
	assert_int_equal(given(&worker, &message), 1);
	learn(NEXT_US - 1, 8);
	pool_feed(pool);
	assert_int_equal(given(&worker, &message), 1);
}

static void who_is_silent_gets_no_next_one(void **state)
{
	struct message message;

	(void)state;
	learn(SHORT_US, 1);
	come(1);
	assert_int_equal(given(&worker, &message), 1);
	dispatcher->loop.now_ms += PULL_BACK_MS + 1;
	come(1);
	assert_int_equal(given(&worker, &message), 0);
}

static void there_is_a_next_one_for_each_or_for_none(void **state)
{
	struct message message;

	(void)state;
	add_other();
	learn(SHORT_US, 1);
	come(3);
	assert_int_equal(given(&worker, &message), 1);
	assert_int_equal(given(&other_worker, &message), 1);
	assert_int_equal(pool->queued, 1);
	come(1);
	assert_int_equal(given(&worker, &message), 1);
	assert_int_equal(given(&other_worker, &message), 1);
	assert_int_equal(pool->queued, 0);
	assert_int_equal(pool->nexts, 2);
}

static void more_workers_than_there_are_processors_for_have_none(void **state)
{
	struct message message;

	(void)state;
	add_other();
	dispatcher->to_spare = 1;
	learn(SHORT_US, 1);
	come(5);
	assert_int_equal(given(&worker, &message), 1);
	assert_int_equal(given(&other_worker, &message), 1);
	assert_int_equal(pool->queued, 3);
}

static void quick_ones_are_packed_further_while_they_wait(void **state)
{
	struct exchange *exchanges[4];
	struct message message;

	(void)state;
	learn(10, 50);
	dispatcher->to_spare = 0;
	for (unsigned i = 0; i < 4; i++)
		exchanges[i] = request_of(0);
	/* As if each came from another client. */
	connection->exchange_count = 1;
	for (unsigned i = 0; i < 4; i++)
		pool_enter(exchanges[i]);
	assert_int_equal(given(&worker, &message), 2);
	assert_int_equal(pool->queued, 2);
	dispatcher->to_spare = 1;
	pool_feed(pool);
	assert_int_equal(given(&worker, &message), 2);
	assert_int_equal(pool->queued, 0);
	connection->exchange_count = 4;
	/* For so little nobody else is woken. */
	assert_int_equal(pool->nexts, 0);
}

static void of_several_dispatchers_none_keeps_a_worker_for_itself(void **state)
{
	struct message message;

	(void)state;
	server.dispatchers = 2;
	learn(SHORT_US, 1);
	come(2);
	assert_int_equal(given(&worker, &message), 1);
	assert_int_equal(pool->queued, 1);
}

/* Two requests for each of two workers: what is had of them, in the order of the clients. */
static void give_two_each(struct message ret_mine[2], struct message ret_its[2])
{
	add_other();
	learn(SHORT_US, 1);
	come(4);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(link_receive(&worker, &ret_mine[i]), 1);
		assert_int_equal(link_receive(&other_worker, &ret_its[i]), 1);
	}
	begin(&worker, &ret_mine[0]);
	begin(&other_worker, &ret_its[0]);
}

static void who_is_idle_gets_what_another_has_not_begun(void **state)
{
	struct message mine[2], its[2], message;

	(void)state;
	give_two_each(mine, its);
	begin(&worker, &mine[1]);
	answer(&mine[0], "");
	answer(&mine[1], "");
	seat_receive(&seat);
	assert_int_equal(pool->nexts, 0);
	assert_false(link_take(&other_worker, its[1].slot, its[1].generation));
	message = take();
	answer(&message, "");
	answer_at(&other_worker, &its[0], "");
	seat_receive(&other);
	seat_receive(&seat);
	assert_true(list_empty(&connection->exchanges));
	assert_false(seat.condemned || other.condemned);
}

static void what_is_begun_stays(void **state)
{
	struct message mine[2], its[2], message;

	(void)state;
	give_two_each(mine, its);
	begin(&worker, &mine[1]);
	begin(&other_worker, &its[1]);
	answer(&mine[0], "");
	answer(&mine[1], "");
	seat_receive(&seat);
	assert_int_equal(given(&worker, &message), 0);
	answer_at(&other_worker, &its[0], "");
	answer_at(&other_worker, &its[1], "");
	seat_receive(&other);
	assert_true(list_empty(&connection->exchanges));
	assert_int_equal(pool->nexts, 0);
	assert_false(seat.condemned || other.condemned);
}

/* Nor is it doubted: it may be waking up. */
static void what_stands_behind_nothing_stays(void **state)
{
	struct message mine[2], its[2], message;

	(void)state;
	add_other();
	learn(SHORT_US, 1);
	come(4);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(link_receive(&worker, &mine[i]), 1);
		assert_int_equal(link_receive(&other_worker, &its[i]), 1);
		begin(&worker, &mine[i]);
		answer(&mine[i], "");
	}
	seat_receive(&seat);
	assert_int_equal(given(&worker, &message), 1);
	assert_int_equal(other.at_work, 1);
	assert_false(other.doubted);
	begin(&other_worker, &its[0]);
	assert_false(link_take(&other_worker, its[1].slot, its[1].generation));
}

/* It keeps nobody waiting. */
static void what_was_deferred_and_ends_changes_nothing(void **state)
{
	struct message deferred, first;

	(void)state;
	learn(SHORT_US, 1);
	come(1);
	deferred = take();
	defer(&deferred);
	seat_receive(&seat);
	come(2);
	assert_int_equal(given(&worker, &first), 2);
	assert_int_equal(pool->nexts, 1);
	answer(&deferred, "");
	seat_receive(&seat);
	assert_false(seat.condemned);
	assert_int_equal(pool->nexts, 1);
	assert_int_equal(seat.at_work, 2);
}

/* Though it has waited for longer than it may, where nobody is there. */
static void who_could_be_answered_at_once_is_not_refused(void **state)
{
	struct message mine[2], its[2];

	(void)state;
	give_two_each(mine, its);
	begin(&worker, &mine[1]);
	dispatcher->loop.now_ms += options.queue_timeout_ms;
	answer(&mine[0], "");
	answer(&mine[1], "");
	seat_receive(&seat);
	(void)take();
	assert_int_equal(pool->queued, 0);
}

/* It had it at hand, and did not begin. */
static void who_dies_has_its_next_one_answered_by_another(void **state)
{
	struct message mine[2], its[2], message;

	(void)state;
	give_two_each(mine, its);
	seat_down(&seat, CREW_CAUSE_SIGNAL);
	assert_int_equal(pool->nexts, 1);
	assert_int_equal(pool->queued, 1);
	assert_true(client_was_told(502)); /* what was begun */
	begin(&other_worker, &its[1]);
	answer_at(&other_worker, &its[0], "");
	answer_at(&other_worker, &its[1], "");
	seat_receive(&other);
	assert_int_equal(pool->queued, 0);
	while (link_receive(&other_worker, &message) > 0) {
		begin(&other_worker, &message);
		answer_at(&other_worker, &message, "");
	}
	seat_receive(&other);
	assert_true(list_empty(&connection->exchanges));
	assert_int_equal(pool->nexts, 0);
}

/* Neither is answered as usual: of one the client was told 504, the other goes on when its
 * handler has returned. */
static void what_took_long_counts_however_it_ended(void **state)
{
	struct message request, message;

	(void)state;
	learn(SHORT_US, 1);
	come(1);
	request = take();
	exchange_free(container_of(connection->exchanges.next, struct exchange, in_connection));
	answer_taking(&request, 300000);
	seat_receive(&seat);
	assert_int_equal(cost()->peak_us, 300000);
	cost()->peak_us = SHORT_US;
	come(1);
	assert_int_equal(link_receive(&worker, &message), 1);
	assert_int_equal(message.kind, MESSAGE_CANCEL);
	request = take();
	dispatcher->loop.now_ms += 200;
	defer(&request);
	seat_receive(&seat);
	assert_int_equal(cost()->peak_us, 200000);
	assert_false(seat.condemned);
}

/* Its worker may say what it likes. */
static void what_others_are_stuck_behind_takes_long(void **state)
{
	struct message request;

	(void)state;
	learn(SHORT_US, 1);
	come(2);
	request = take();
	dispatcher->loop.now_ms += PULL_BACK_ANYWAY_MS + 1;
	pull_back(&dispatcher->loop, &dispatcher->pull_back);
	assert_int_equal(pool->queued, 1);
	assert_int_equal(pool->nexts, 0);
	assert_true(cost()->peak_us >= PULL_BACK_ANYWAY_MS * 1000u);
	answer(&request, "");
	seat_receive(&seat);
	(void)given(&worker, &request);
	assert_int_equal(pool->queued, 0);
}

static void a_peak_is_forgotten_slowly(void **state)
{
	struct cost cost = { PACK_US * 1000u, UINT32_MAX };

	(void)state;
	pool_note_service(&cost, 70);
	assert_int_equal(cost.peak_us, 70);
	pool_note_service(&cost, UINT32_MAX);
	assert_int_equal(cost.peak_us, PEAK_MAX_US);
	for (unsigned i = 0; i < 40; i++)
		pool_note_service(&cost, 70);
	assert_true(cost.peak_us >= NEXT_US);
	for (unsigned i = 0; i < 20; i++)
		pool_note_service(&cost, 70);
	assert_true(cost.peak_us < NEXT_US);
	for (unsigned i = 0; i < 60; i++)
		pool_note_service(&cost, 0);
	assert_int_equal(cost.peak_us, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, clean_up)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(who_is_done_soon_has_the_next_one_at_hand),
		TEST(nothing_is_put_behind_what_may_take_long),
		TEST(what_takes_a_millisecond_is_long),
		TEST(who_is_silent_gets_no_next_one),
		TEST(there_is_a_next_one_for_each_or_for_none),
		TEST(more_workers_than_there_are_processors_for_have_none),
		TEST(quick_ones_are_packed_further_while_they_wait),
		TEST(of_several_dispatchers_none_keeps_a_worker_for_itself),
		TEST(who_is_idle_gets_what_another_has_not_begun),
		TEST(what_is_begun_stays),
		TEST(what_stands_behind_nothing_stays),
		TEST(what_was_deferred_and_ends_changes_nothing),
		TEST(who_could_be_answered_at_once_is_not_refused),
		TEST(who_dies_has_its_next_one_answered_by_another),
		TEST(what_took_long_counts_however_it_ended),
		TEST(what_others_are_stuck_behind_takes_long),
		cmocka_unit_test(a_peak_is_forgotten_slowly),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
