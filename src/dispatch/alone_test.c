/* SPDX-License-Identifier: MIT */
/* When the dispatcher looks for an answer: a dispatcher with two workers, whose links are ours. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/os/os.h"
#include "dispatch/private.h"

#define WORKERS 2u

static struct crew_server server;
static struct dispatcher *dispatcher;
static struct seat workers[WORKERS];
static struct seat *seats[] = { &workers[0], &workers[1] };
static struct link ends[WORKERS]; /* the workers' */

static void begin(unsigned spin_us, unsigned processors)
{
	server = (struct crew_server){ .dispatchers = 1, .spin_us = spin_us };
	dispatcher->processors = processors;
	alone_init(dispatcher);
}

static int set_up(void **state)
{
	(void)state;
	dispatcher = calloc(1, sizeof(*dispatcher));
	assert_non_null(dispatcher);
	dispatcher->server = &server;
	assert_int_equal(loop_init(&dispatcher->loop), 0);
	dispatcher->loop.owner = dispatcher;
	dispatcher->pools[0].seats = seats;
	dispatcher->pools[0].seat_count = WORKERS;
	dispatcher->pool_count = 1;
	list_init(&dispatcher->active);
	for (unsigned i = 0; i < WORKERS; i++) {
		struct link_fds fds;
		struct link_fds its;

		workers[i] = (struct seat){ .dispatcher = dispatcher, .up = true };
		assert_int_equal(link_create(&fds), 0);
		its = (struct link_fds){ dup(fds.memory),
					 { dup(fds.bell[0]), dup(fds.bell[1]) } };
		assert_int_equal(link_open(&workers[i].link, LINK_DISPATCHER, &fds), 0);
		assert_int_equal(link_open(&ends[i], LINK_WORKER, &its), 0);
	}
	begin(0, 2);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	for (unsigned i = 0; i < WORKERS; i++) {
		link_fini(&ends[i]);
		link_fini(&workers[i].link);
	}
	loop_fini(&dispatcher->loop);
	free(dispatcher);
	return 0;
}

/* It is given so many requests, which together are thought to take so long. */
static void give(struct seat *seat, unsigned count, unsigned work_us)
{
	if (seat->in_hand == 0)
		list_push_back(&dispatcher->active, &seat->in_active);
	seat->in_hand += count;
	seat->at_work += count;
	seat->work_ns += work_us * 1000u;
}

static void answer(unsigned worker)
{
	const struct message message = { .kind = MESSAGE_PAUSE };

	assert_int_equal(link_send(&ends[worker], &message), 0);
}

static void what_one_is_quickly_done_with_is_looked_for(void **state)
{
	(void)state;
	give(&workers[1], 1, 10);
	answer(1);
	assert_true(alone_wait(dispatcher));
	assert_int_equal(dispatcher->alone.found, 1);
}

static void forget(unsigned worker)
{
	struct message message;

	while (link_receive(&workers[worker].link, &message) == 1)
		continue;
}

static void *answer_soon(void *context)
{
	(void)context;
	os_nap(20000);
	answer(0);
	return NULL;
}

/* Of 200 us in a trial; a machine that is busy may be late for some. */
static void it_looks_until_the_answer_is_there(void **state)
{
	bool found = false;

	(void)state;
	give(&workers[0], 1, 10);
	for (unsigned i = 0; i < 1000 && !found; i++) {
		pthread_t thread;

		forget(0);
		alone_init(dispatcher);
		assert_int_equal(pthread_create(&thread, NULL, answer_soon, NULL), 0);
		found = alone_wait(dispatcher);
		assert_int_equal(pthread_join(thread, NULL), 0);
	}
	assert_true(found);
}

static void nothing_is_looked_for_while_nothing_is_asked(void **state)
{
	(void)state;
	answer(0);
	assert_false(alone_wait(dispatcher));
	/* A stream that is held is no work. */
	list_push_back(&dispatcher->active, &workers[0].in_active);
	workers[0].in_hand = 1;
	assert_false(alone_wait(dispatcher));
	give(&workers[1], 1, 10);
	assert_true(alone_wait(dispatcher));
}

static void more_than_one_request_is_not_waited_for(void **state)
{
	(void)state;
	answer(0);
	give(&workers[0], 1, 10);
	assert_true(alone_wait(dispatcher));
	give(&workers[1], 1, 10);
	assert_false(alone_wait(dispatcher));
	list_remove(&workers[1].in_active);
	assert_true(alone_wait(dispatcher));
	give(&workers[0], 1, 10);
	assert_false(alone_wait(dispatcher));
}

static void what_takes_long_is_not_waited_for(void **state)
{
	(void)state;
	answer(0);
	give(&workers[0], 1, 50);
	assert_false(alone_wait(dispatcher));
	workers[0].work_ns--;
	assert_true(alone_wait(dispatcher));
}

static void in_vain_it_rests(void **state)
{
	(void)state;
	give(&workers[0], 1, 10);
	assert_false(alone_wait(dispatcher));
	answer(0);
	for (unsigned i = 0; i < 128; i++)
		assert_false(alone_wait(dispatcher));
	assert_true(alone_wait(dispatcher));
}

static void on_one_processor_or_if_told_so_it_does_not(void **state)
{
	(void)state;
	answer(0);
	give(&workers[0], 1, 10);
	begin(0, 1);
	assert_false(alone_wait(dispatcher));
	begin(CREW_NEVER, 2);
	assert_false(alone_wait(dispatcher));
	begin(20, 2);
	assert_false(alone_wait(dispatcher));
	begin(0, 2);
	dispatcher->draining = true;
	assert_false(alone_wait(dispatcher));
	dispatcher->draining = false;
	assert_true(alone_wait(dispatcher));
}

#define OF_ONE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		OF_ONE(what_one_is_quickly_done_with_is_looked_for),
		OF_ONE(it_looks_until_the_answer_is_there),
		OF_ONE(nothing_is_looked_for_while_nothing_is_asked),
		OF_ONE(more_than_one_request_is_not_waited_for),
		OF_ONE(what_takes_long_is_not_waited_for),
		OF_ONE(in_vain_it_rests),
		OF_ONE(on_one_processor_or_if_told_so_it_does_not),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
