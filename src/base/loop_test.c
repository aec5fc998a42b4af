/* SPDX-License-Identifier: MIT */
/* The loop: watches, timers, the order of a turn, and who may not starve whom. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/loop.h"

#define TIMERS 300

static char story[64]; /* one letter for each thing that happened */

static void tell(char letter)
{
	size_t length = strlen(story);

	assert_true(length + 1 < sizeof(story));
	story[length] = letter;
}

static int set_up(void **state)
{
	static struct loop loop;

	memset(story, 0, sizeof(story));
	*state = &loop;
	return loop_init(&loop);
}

static int tear_down(void **state)
{
	loop_fini(*state);
	loop_fini(*state);
	return 0;
}

/* A pipe whose reading end is watched. */
struct ear {
	struct watch watch;
	int mouth;
	int heard;
	uint32_t events;
	struct ear *victim; /* removed by who is heard first */
};

static void hear(struct loop *loop, struct watch *watch, uint32_t events)
{
	struct ear *ear = container_of(watch, struct ear, watch);

	tell('e');
	ear->heard++;
	ear->events = events;
	if (ear->victim)
		loop_remove(loop, &ear->victim->watch);
}

static void ear_open(struct loop *loop, struct ear *ear)
{
	int ends[2];

	assert_int_equal(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
	*ear = (struct ear){ .watch = { .fd = ends[0], .ready = hear },
			     .mouth = ends[1] };
	assert_int_equal(loop_add(loop, &ear->watch, EPOLLIN), 0);
	assert_int_equal(write(ear->mouth, "x", 1), 1);
}

static void ear_close(struct loop *loop, struct ear *ear)
{
	loop_remove(loop, &ear->watch);
	loop_remove(loop, &ear->watch);
	close(ear->watch.fd);
	close(ear->mouth);
}

static void descriptors_are_watched(void **state)
{
	struct loop *loop = *state;
	struct ear ear;

	ear_open(loop, &ear);
	assert_int_equal(loop_turn(loop, -1), 0);
	assert_int_equal(ear.heard, 1);
	assert_true(ear.events & EPOLLIN);

	assert_int_equal(loop_change(loop, &ear.watch, 0), 0);
	assert_int_equal(loop_turn(loop, 0), 0);
	assert_int_equal(ear.heard, 1);
	assert_int_equal(loop_change(loop, &ear.watch, EPOLLIN), 0);
	assert_int_equal(loop_change(loop, &ear.watch, EPOLLIN), 0);
	assert_int_equal(loop_turn(loop, 0), 0);
	assert_int_equal(ear.heard, 2);

	loop_remove(loop, &ear.watch);
	assert_int_equal(loop_turn(loop, 0), 0);
	assert_int_equal(ear.heard, 2);
	ear_close(loop, &ear);
}

static void what_cannot_be_watched_is_told(void **state)
{
	struct loop *loop = *state;
	struct watch nothing = { .fd = -1, .ready = hear };

	assert_int_equal(loop_add(loop, &nothing, EPOLLIN), -EBADF);
	assert_int_equal(nothing.events, 0);
	loop_remove(loop, &nothing);
}

/* Both are ready in one turn; whichever is first removes the other. */
static void events_of_a_removed_watch_are_dropped(void **state)
{
	struct loop *loop = *state;
	struct ear ears[2];

	ear_open(loop, &ears[0]);
	ear_open(loop, &ears[1]);
	ears[0].victim = &ears[1];
	ears[1].victim = &ears[0];
	assert_int_equal(loop_turn(loop, -1), 0);
	assert_int_equal(ears[0].heard + ears[1].heard, 1);
	ear_close(loop, &ears[0]);
	ear_close(loop, &ears[1]);
}

static void a_watch_may_remove_itself(void **state)
{
	struct loop *loop = *state;
	struct ear ear;

	ear_open(loop, &ear);
	ear.victim = &ear;
	assert_int_equal(loop_turn(loop, -1), 0);
	assert_int_equal(loop_turn(loop, 0), 0);
	assert_int_equal(ear.heard, 1);
	ear_close(loop, &ear);
}

struct alarm {
	struct timer timer;
	int fired;
	struct timer *sets; /* for now, when it fires; may be itself */
	struct timer *clears;
};

static uint64_t last_due;

static void ring(struct loop *loop, struct timer *timer)
{
	struct alarm *alarm = container_of(timer, struct alarm, timer);

	tell('t');
	alarm->fired++;
	assert_false(loop_timer_is_set(timer));
	if (alarm->sets)
		assert_int_equal(loop_timer_set(loop, alarm->sets, loop->now_ms), 0);
	if (alarm->clears)
		loop_timer_clear(loop, alarm->clears);
}

static void ring_in_order(struct loop *loop, struct timer *timer)
{
	assert_true(timer->due_ms >= last_due);
	assert_true(timer->due_ms <= loop->now_ms);
	last_due = timer->due_ms;
	container_of(timer, struct alarm, timer)->fired++;
}

static void a_timer_ends_a_sleep(void **state)
{
	struct loop *loop = *state;
	struct alarm alarm = { .timer.fire = ring };
	const uint64_t start = clock_now_ms();

	assert_int_equal(loop_timer_set(loop, &alarm.timer, start + 20), 0);
	while (!alarm.fired)
		assert_int_equal(loop_turn(loop, -1), 0);
	assert_in_range(clock_now_ms() - start, 20, 2000);
	assert_string_equal(story, "t");
	loop_timer_clear(loop, &alarm.timer);
	loop_timer_clear(loop, &alarm.timer);
}

/* Set, move and clear many at random: all that are left fire, in their order. */
static void timers_fire_in_order(void **state)
{
	static struct alarm alarms[TIMERS];
	struct loop *loop = *state;
	int expected = 0;
	int fired = 0;

	srandom(1);
	last_due = 0;
	memset(alarms, 0, sizeof(alarms));
	for (int i = 0; i < 10 * TIMERS; i++) {
		struct alarm *alarm = &alarms[random() % TIMERS];
		const uint64_t due = loop->now_ms - (uint64_t)(random() % 1000);

		alarm->timer.fire = ring_in_order;
		if (random() % 3 == 0)
			loop_timer_clear(loop, &alarm->timer);
		else
			assert_int_equal(loop_timer_set(loop, &alarm->timer, due), 0);
	}
	for (int i = 0; i < TIMERS; i++)
		expected += loop_timer_is_set(&alarms[i].timer);
	assert_true(expected > TIMERS / 4);
	assert_int_equal(loop_turn(loop, -1), 0);
	for (int i = 0; i < TIMERS; i++)
		fired += alarms[i].fired;
	assert_int_equal(fired, expected);
	assert_int_equal(loop->timer_count, 0);
}

static void a_timer_that_sets_itself_for_now_starves_nobody(void **state)
{
	struct loop *loop = *state;
	struct alarm eager = { .timer.fire = ring, .sets = &eager.timer };
	struct alarm later = { .timer.fire = ring };
	struct alarm other = { .timer.fire = ring };

	assert_int_equal(loop_timer_set(loop, &eager.timer, loop->now_ms), 0);
	assert_int_equal(loop_timer_set(loop, &other.timer, loop->now_ms), 0);
	assert_int_equal(loop_timer_set(loop, &later.timer, loop->now_ms + 60000), 0);
	assert_int_equal(loop_turn(loop, 0), 0);
	assert_int_equal(eager.fired, 1);
	assert_int_equal(other.fired, 1);
	assert_int_equal(loop_turn(loop, -1), 0);
	assert_int_equal(eager.fired, 2);
	assert_int_equal(later.fired, 0);
}

static void a_timer_may_clear_another_that_is_due(void **state)
{
	struct loop *loop = *state;
	struct alarm first = { .timer.fire = ring };
	struct alarm second = { .timer.fire = ring };

	first.clears = &second.timer;
	assert_int_equal(loop_timer_set(loop, &second.timer, loop->now_ms), 0);
	assert_int_equal(loop_timer_set(loop, &first.timer, loop->now_ms - 1), 0);
	assert_int_equal(loop_turn(loop, 0), 0);
	assert_int_equal(first.fired, 1);
	assert_int_equal(second.fired, 0);
}

static bool yes(struct loop *loop)
{
	(void)loop;
	tell('s');
	return true;
}

static bool no(struct loop *loop)
{
	(void)loop;
	tell('n');
	return false;
}

static void woke(struct loop *loop)
{
	(void)loop;
	tell('w');
}

static void done(struct loop *loop)
{
	(void)loop;
	tell('d');
}

static void a_turn_has_its_order(void **state)
{
	struct loop *loop = *state;
	struct alarm alarm = { .timer.fire = ring };
	struct ear ear;

	ear_open(loop, &ear);
	assert_int_equal(loop_timer_set(loop, &alarm.timer, loop->now_ms + 1), 0);
	usleep(2000);
	loop->turn_done = done;
	loop->woke = woke;
	loop->may_sleep = yes;
	assert_int_equal(loop_turn(loop, -1), 0);
	assert_string_equal(story, "etd"); /* due: it would not sleep */

	memset(story, 0, sizeof(story));
	assert_int_equal(loop_turn(loop, 50), 0);
	assert_string_equal(story, "swed");
	ear_close(loop, &ear);
}

static void work_that_is_left_forbids_to_sleep(void **state)
{
	struct loop *loop = *state;
	const uint64_t start = clock_now_ms();

	loop->turn_done = done;
	loop->woke = woke;
	loop->may_sleep = no;
	assert_int_equal(loop_turn(loop, 5000), 0);
	assert_true(clock_now_ms() - start < 4000);
	assert_string_equal(story, "nd");
}

static void nothing(int signal_number)
{
	(void)signal_number;
}

static void a_signal_is_no_error(void **state)
{
	struct loop *loop = *state;
	const struct sigaction action = { .sa_handler = nothing };
	const struct itimerval soon = { .it_value.tv_usec = 10000,
					.it_interval.tv_usec = 10000 };
	const struct itimerval never = { 0 };

	loop->may_sleep = yes;
	loop->woke = woke;
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &soon, NULL);
	assert_int_equal(loop_turn(loop, -1), 0);
	setitimer(ITIMER_REAL, &never, NULL);
	assert_string_equal(story, "sw");
}

static void who_failed_to_sleep_is_awake(void **state)
{
	struct loop *loop = *state;
	const int fd = loop->epoll_fd;

	loop->may_sleep = yes;
	loop->woke = woke;
	loop->epoll_fd = -1;
	assert_int_equal(loop_turn(loop, 10), -EBADF);
	assert_string_equal(story, "sw");
	loop->epoll_fd = fd;
}

static void stop(struct loop *loop, struct timer *timer)
{
	container_of(timer, struct alarm, timer)->fired++;
	loop_stop(loop);
}

/* A timer in a month must not overflow what epoll takes. */
static void it_runs_until_it_is_stopped(void **state)
{
	struct loop *loop = *state;
	struct alarm far = { .timer.fire = ring };
	struct alarm near = { .timer.fire = stop };

	assert_int_equal(loop_timer_set(loop, &far.timer, UINT64_MAX), 0);
	assert_int_equal(loop_turn(loop, 1), 0);
	assert_int_equal(loop_timer_set(loop, &near.timer, loop->now_ms + 5), 0);
	assert_int_equal(loop_run(loop), 0);
	assert_int_equal(near.fired, 1);
	assert_int_equal(far.fired, 0);
}

int main(void)
{
#define ON_A_LOOP(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		ON_A_LOOP(descriptors_are_watched),
		ON_A_LOOP(what_cannot_be_watched_is_told),
		ON_A_LOOP(events_of_a_removed_watch_are_dropped),
		ON_A_LOOP(a_watch_may_remove_itself),
		ON_A_LOOP(a_timer_ends_a_sleep),
		ON_A_LOOP(timers_fire_in_order),
		ON_A_LOOP(a_timer_that_sets_itself_for_now_starves_nobody),
		ON_A_LOOP(a_timer_may_clear_another_that_is_due),
		ON_A_LOOP(a_turn_has_its_order),
		ON_A_LOOP(work_that_is_left_forbids_to_sleep),
		ON_A_LOOP(a_signal_is_no_error),
		ON_A_LOOP(who_failed_to_sleep_is_awake),
		ON_A_LOOP(it_runs_until_it_is_stopped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
