/* SPDX-License-Identifier: MIT */
/* What a dispatcher is told of workers that come and go: over real channels. */
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/os/os.h"
#include "serve/private.h"

#define PATIENCE_MS 10000u

static struct server_run *run;
static unsigned told[3][CONTROL_KIND_COUNT]; /* by the worker's index */
static bool kills; /* who is born next, before it gets its link */

/* ---- children ---- */

/* A dispatcher that says what it hears. */
static int repeat(struct crew_child *self)
{
	struct pollfd news = { .fd = self->channel, .events = POLLIN };
	int fds[OS_CHANNEL_FDS_MAX];
	struct control order;
	size_t fd_count;

	while (crew_running(self)) {
		if (poll(&news, 1, 10) != 1 ||
		    os_channel_receive(self->channel, &order, sizeof(order), fds,
				       &fd_count) != sizeof(order))
			continue;
		os_close_each(fds, fd_count);
		os_channel_send(self->channel, &order, sizeof(order), NULL, 0);
	}
	return 0;
}

/* The second is not up before it is told to stop. */
static int boot(struct crew_child *self)
{
	while (crew_index(self) == 1 && crew_rest(self, 1000))
		;
	return 0;
}

static int rest(struct crew_child *self)
{
	while (crew_rest(self, 1000))
		;
	return 0;
}

/* ---- the parent ---- */

static void said(void *context, struct child *child, const void *data, size_t size, int *fds,
		 size_t fd_count)
{
	const struct control *order = data;

	(void)context;
	(void)child;
	(void)fds;
	assert_int_equal(size, sizeof(*order));
	assert_int_equal(fd_count, 0);
	assert_true(order->index < COUNT_OF(told) && order->kind < CONTROL_KIND_COUNT);
	told[order->index][order->kind]++;
}

static void spawned(void *context, struct child *child)
{
	struct pollfd end = { .fd = child->pidfd, .events = POLLIN };

	if (kills) {
		kill(child->pid, SIGSEGV);
		assert_int_equal(poll(&end, 1, PATIENCE_MS), 1);
	}
	kills = false;
	links_worker_spawned(context, child);
}

static void turn_until(const unsigned *number, unsigned value)
{
	const uint64_t end = clock_now_ms() + PATIENCE_MS;

	while (*number < value) {
		assert_true(clock_now_ms() < end);
		assert_int_equal(loop_turn(plan_loop(run->plan), 100), 0);
	}
}

static int begin(void **state)
{
	static int (*const starts[])(struct crew_child *) = { boot, NULL };
	const struct group groups[] = {
		{ .is = { .name = "dispatcher", .run = repeat, .count = 1, .stop_order = 1 },
		  .spawned = links_dispatcher_spawned,
		  .message = said },
		{ .is = { .name = "pool", .run = rest, .count = 2, .on_start = starts },
		  .spawned = spawned,
		  .ready = links_worker_ready,
		  .retiring = links_worker_retiring,
		  .died = links_worker_died },
	};
	struct plan_options options = { .groups = groups, .group_count = COUNT_OF(groups) };

	(void)state;
	memset(told, 0, sizeof(told));
	run = calloc(1, sizeof(*run));
	assert_non_null(run);
	options.context = run;
	run->pool_count = 1;
	run->server.dispatchers = 1;
	configs_init(run);
	orders_init(run);
	assert_int_equal(plan_new(&options, &run->plan, NULL), 0);
	assert_int_equal(plan_start(run->plan), 0);
	return 0;
}

static int end(void **state)
{
	(void)state;
	plan_free(run->plan);
	orders_forget(run, 0);
	configs_fini(run);
	free(run);
	return 0;
}

/* ---- tests ---- */

/* It would be given requests, and run none. */
static void who_is_told_to_stop_before_it_is_up_is_not_announced(void **state)
{
	(void)state;
	turn_until(&told[0][CONTROL_LINK_UP], 1);
	assert_int_equal(plan_remove(run->plan, FIRST_POOL_GROUP, 1, 0, NULL, NULL), 0);
	turn_until(&told[1][CONTROL_LINK_DOWN], 1);
	assert_int_equal(told[1][CONTROL_LINK_UP], 0);
}

/* What it died of is not that it could be given no link. */
static void who_dies_before_it_has_a_link_dies_of_its_own(void **state)
{
	struct crew_death death;

	(void)state;
	kills = true;
	assert_int_equal(plan_add(run->plan, FIRST_POOL_GROUP, 2), 2);
	while (plan_deaths(run->plan, &death, 1) == 0)
		assert_int_equal(loop_turn(plan_loop(run->plan), 100), 0);
	assert_int_equal(death.index, 2);
	assert_int_equal(death.cause, CREW_CAUSE_SIGNAL);
	assert_int_equal(death.signal, SIGSEGV);
}

/* However many were only replaced since. */
static void a_new_dispatcher_is_told_of_those_who_died(void **state)
{
	(void)state;
	turn_until(&told[0][CONTROL_LINK_UP], 1);
	kill(plan_child(run->plan, FIRST_POOL_GROUP, 0)->pid, SIGSEGV);
	turn_until(&told[0][CONTROL_LINK_DOWN], 1);
	for (unsigned i = 1; i <= 40; i++) {
		assert_int_equal(plan_add(run->plan, FIRST_POOL_GROUP, 2), 2);
		assert_int_equal(plan_remove(run->plan, FIRST_POOL_GROUP, 2, 0, NULL, NULL), 0);
		turn_until(&told[2][CONTROL_LINK_DOWN], i);
	}
	turn_until(&told[0][CONTROL_LINK_UP], 2);
	kill(plan_child(run->plan, DISPATCHER_GROUP, 0)->pid, SIGKILL);
	turn_until(&told[0][CONTROL_LINK_UP], 3);
	assert_int_equal(told[0][CONTROL_DEATH], 1);
	assert_int_equal(told[2][CONTROL_DEATH], 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(who_dies_before_it_has_a_link_dies_of_its_own,
						begin, end),
		cmocka_unit_test_setup_teardown(
			who_is_told_to_stop_before_it_is_up_is_not_announced, begin, end),
		cmocka_unit_test_setup_teardown(a_new_dispatcher_is_told_of_those_who_died,
						begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
