/* SPDX-License-Identifier: MIT */
/* The loop: watches, timers, the order of a turn, and who may not starve whom. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
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
	assert_int_equal(loop->came, 1);

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
	const int kept = loop->fd;

	loop->may_sleep = yes;
	loop->woke = woke;
	loop->fd = -1;
	assert_int_equal(loop_turn(loop, 10), -EBADF);
	assert_string_equal(story, "sw");
	loop->fd = kept;
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

/* What of a pair of sockets is watched for what is told, and how often. */
struct socket {
	struct watch watch;
	int peer;
	int told;
	uint32_t events;
};

static void hear_socket(struct loop *loop, struct watch *watch, uint32_t events)
{
	struct socket *socket = container_of(watch, struct socket, watch);

	(void)loop;
	socket->told++;
	socket->events = events;
}

static void socket_open(struct loop *loop, struct socket *socket, uint32_t events)
{
	int ends[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
				    0, ends),
			 0);
	*socket = (struct socket){ .watch = { .fd = ends[0], .ready = hear_socket },
				   .peer = ends[1] };
	assert_int_equal(loop_add(loop, &socket->watch, events), 0);
}

static void socket_close(struct loop *loop, struct socket *socket)
{
	loop_remove(loop, &socket->watch);
	close(socket->watch.fd);
	close(socket->peer);
}

static void turns(struct loop *loop, int count)
{
	while (count-- > 0)
		assert_int_equal(loop_turn(loop, 0), 0);
}

static void a_level_is_told_until_it_is_gone(void **state)
{
	struct loop *loop = *state;
	struct socket socket;
	char byte;

	socket_open(loop, &socket, EPOLLIN);
	turns(loop, 3);
	assert_int_equal(socket.told, 0);
	assert_int_equal(write(socket.peer, "x", 1), 1);
	turns(loop, 3);
	assert_int_equal(socket.told, 3);
	assert_int_equal(socket.events, EPOLLIN);
	assert_int_equal(read(socket.watch.fd, &byte, 1), 1);
	turns(loop, 3);
	assert_int_equal(socket.told, 3);
	socket_close(loop, &socket);
}

static void an_edge_is_told_once(void **state)
{
	struct loop *loop = *state;
	struct socket socket;

	socket_open(loop, &socket, EPOLLIN | EPOLLET);
	assert_int_equal(write(socket.peer, "x", 1), 1);
	turns(loop, 3);
	assert_int_equal(socket.told, 1);
	/* Two in one turn are one. */
	assert_int_equal(write(socket.peer, "x", 1), 1);
	assert_int_equal(write(socket.peer, "x", 1), 1);
	turns(loop, 3);
	assert_int_equal(socket.told, 2);
	assert_int_equal(loop_rearm(loop, &socket.watch), 0);
	turns(loop, 3);
	assert_int_equal(socket.told, 3);
	assert_int_equal(loop_change(loop, &socket.watch, EPOLLIN | EPOLLOUT | EPOLLET), 0);
	turns(loop, 3);
	assert_int_equal(socket.told, 4);
	assert_int_equal(socket.events, EPOLLIN | EPOLLOUT);
	socket_close(loop, &socket);
}

/* A peer that has shut its side down is no event for who did not ask, nor a reason
 * not to tell what was asked for. */
static void what_nobody_asked_for_is_not_told(void **state)
{
	struct loop *loop = *state;
	struct socket socket;
	static char full[1 << 16];
	int written = 0;

	socket_open(loop, &socket, 0);
	assert_int_equal(shutdown(socket.peer, SHUT_WR), 0);
	turns(loop, 5);
	assert_int_equal(socket.told, 0);
	while (write(socket.watch.fd, full, sizeof(full)) > 0)
		written++;
	assert_true(written > 0);
	assert_int_equal(loop_change(loop, &socket.watch, EPOLLOUT), 0);
	turns(loop, 5);
	assert_int_equal(socket.told, 0);
	while (read(socket.peer, full, sizeof(full)) > 0)
		;
	turns(loop, 5);
	assert_int_equal(socket.told, 5);
	assert_int_equal(socket.events, EPOLLOUT);
	assert_int_equal(loop_change(loop, &socket.watch, EPOLLRDHUP), 0);
	turns(loop, 1);
	assert_int_equal(socket.events, EPOLLRDHUP);
	close(socket.peer);
	assert_int_equal(loop_change(loop, &socket.watch, 0), 0);
	turns(loop, 1);
	assert_true(socket.events & EPOLLHUP);
	loop_remove(loop, &socket.watch);
	close(socket.watch.fd);
}

#define SOCKETS 600
#define FEW 16

/* More than a turn takes: nobody is forgotten, and the levels are told fairly. */
static void all_of_many_are_told(void **state)
{
	static struct socket sockets[SOCKETS];
	struct loop *loop = *state;

	for (int i = 0; i < SOCKETS; i++)
		socket_open(loop, &sockets[i], i % 2 ? EPOLLIN : EPOLLIN | EPOLLET);
	turns(loop, 1);
	for (int i = 0; i < SOCKETS; i++)
		assert_int_equal(write(sockets[i].peer, "x", 1), 1);
	turns(loop, 80);
	for (int i = 0; i < SOCKETS; i++) {
		if (i % 2)
			assert_true(sockets[i].told > 1);
		else
			assert_int_equal(sockets[i].told, 1);
	}
	for (int i = 0; i < SOCKETS; i++)
		socket_close(loop, &sockets[i]);
	turns(loop, 2);
}

static int sleeps;

static bool would_sleep(struct loop *loop)
{
	(void)loop;
	sleeps++;
	return true;
}

/* All have something to tell, once each, to a loop whose sleeps are counted. */
static void make_ready(struct loop *loop, struct socket *sockets, int count)
{
	for (int i = 0; i < count; i++)
		socket_open(loop, &sockets[i], EPOLLIN | EPOLLET);
	turns(loop, 3);
	for (int i = 0; i < count; i++)
		assert_int_equal(write(sockets[i].peer, "x", 1), 1);
	sleeps = 0;
	loop->may_sleep = would_sleep;
}

/* Who has not seen all yet need not say that it sleeps, or it is rung for nothing. */
static void a_full_turn_is_not_followed_by_sleep(void **state)
{
	static struct socket sockets[SOCKETS];
	struct loop *loop = *state;

	make_ready(loop, sockets, SOCKETS);
	assert_int_equal(loop_turn(loop, -1), 0);
	assert_int_equal(sleeps, 1);
	for (int turn = 0; turn < 4; turn++)
		assert_int_equal(loop_turn(loop, 10), 0);
	assert_int_equal(sleeps, 1);
	for (int turn = 0; turn < 10; turn++)
		assert_int_equal(loop_turn(loop, 1), 0);
	assert_true(sleeps > 1);
	for (int i = 0; i < SOCKETS; i++)
		assert_int_equal(sockets[i].told, 1);
	for (int i = 0; i < SOCKETS; i++)
		socket_close(loop, &sockets[i]);
	turns(loop, 2);
}

static int told_of(const struct socket *sockets, int count)
{
	int told = 0;

	for (int i = 0; i < count; i++)
		told += sockets[i].told;
	return told;
}

static bool peeks(struct loop *loop)
{
	sleeps++;
	return !loop_peek(loop);
}

/* It is handled in the same turn, and once; who is removed meanwhile is not told. */
static void what_was_seen_before_sleeping_is_this_turns(void **state)
{
	static struct socket sockets[FEW];
	struct loop *loop = *state;
	int told;

	make_ready(loop, sockets, FEW);
	loop->may_sleep = peeks;
	assert_int_equal(loop_turn(loop, -1), 0);
	assert_int_equal(sleeps, 1);
	assert_true(loop->came > 0);
	assert_int_equal(told_of(sockets, FEW), loop->came);
	turns(loop, FEW + 1);
	told = told_of(sockets, FEW);
	assert_int_equal(told, FEW);
	assert_int_equal(loop_turn(loop, 1), 0);
	assert_int_equal(loop->came, 0);
	assert_int_equal(write(sockets[0].peer, "x", 1), 1);
	assert_true(loop_peek(loop));
	for (int i = 0; i < FEW; i++)
		socket_close(loop, &sockets[i]);
	turns(loop, 2);
	assert_int_equal(told_of(sockets, FEW), told);
}

static bool one_is_enough(struct loop *loop)
{
	(void)loop;
	return true;
}

/* It is not asked for anew, and nobody sleeps before it; who is removed meanwhile is
 * forgotten. */
static void what_was_put_off_comes_next(void **state)
{
	static struct socket sockets[FEW];
	struct loop *loop = *state;
	unsigned left;
	int before;

	make_ready(loop, sockets, FEW);
	loop->enough = one_is_enough;
	assert_int_equal(loop_turn(loop, 1000), 0);
	assert_int_equal(sleeps, 1);
	assert_int_equal(loop->came, loop->pending_count);
	for (before = loop->pending_count; loop->pending_count > 0;) {
		assert_int_equal(told_of(sockets, FEW), loop->next);
		left = (unsigned)(before - loop->next);
		loop->now_ms = 0;
		assert_int_equal(loop_turn(loop, -1), 0);
		assert_true(loop->now_ms > 0);
		assert_int_equal(loop->came, left);
	}
	assert_int_equal(loop_turn(loop, 0), 0);
	assert_int_equal(loop->came, 0);
	assert_int_equal(sleeps, 1);
	assert_int_equal(told_of(sockets, FEW), before);
	turns(loop, FEW + 1);
	for (int i = 0; i < FEW; i++) {
		assert_int_equal(sockets[i].told, 1);
		assert_int_equal(write(sockets[i].peer, "x", 1), 1);
	}
	assert_int_equal(loop_turn(loop, 1000), 0);
	before = told_of(sockets, FEW);
	for (int i = 0; i < FEW; i++)
		socket_close(loop, &sockets[i]);
	turns(loop, FEW + 1);
	assert_int_equal(told_of(sockets, FEW), before);
}

/* A number that is used again is another descriptor. */
static void who_is_removed_is_closed_and_its_number_is_free(void **state)
{
	struct loop *loop = *state;
	struct socket first;
	struct socket second;
	char byte;

	socket_open(loop, &first, EPOLLIN | EPOLLET);
	turns(loop, 1);
	loop_remove(loop, &first.watch);
	close(first.watch.fd);
	socket_open(loop, &second, EPOLLIN);
	assert_int_equal(second.watch.fd, first.watch.fd);
	turns(loop, 1);
	assert_int_equal(read(first.peer, &byte, 1), 0);
	assert_int_equal(write(second.peer, "x", 1), 1);
	turns(loop, 1);
	assert_int_equal(first.told, 0);
	assert_int_equal(second.told, 1);
	close(first.peer);
	/* Added, changed and removed without a turn between. */
	assert_int_equal(loop_change(loop, &second.watch, EPOLLOUT), 0);
	assert_int_equal(loop_change(loop, &second.watch, EPOLLIN), 0);
	loop_remove(loop, &second.watch);
	assert_int_equal(loop_add(loop, &second.watch, EPOLLIN), 0);
	turns(loop, 1);
	assert_int_equal(second.told, 2);
	assert_int_equal(read(second.watch.fd, &byte, 1), 1);
	/* Nothing of it is held when the loop has ended. */
	close(second.watch.fd);
	loop_fini(loop);
	assert_int_equal(read(second.peer, &byte, 1), 0);
	close(second.peer);
}

#define STEPS 4000

/* One random thing, out of all that can happen to a watch and its descriptor. */
static void anything_happens(struct loop *loop, struct socket *socket)
{
	static const uint32_t choices[] = { 0, EPOLLIN, EPOLLOUT, EPOLLIN | EPOLLOUT,
					    EPOLLIN | EPOLLRDHUP };
	const uint32_t events = choices[(unsigned)rand() % COUNT_OF(choices)];
	char bytes[16];

	switch (rand() % 8) {
	case 0:
		(void)!send(socket->peer, "xyz", 3, MSG_NOSIGNAL);
		break;
	case 1:
		(void)!read(socket->watch.fd, bytes, sizeof(bytes));
		break;
	case 2:
		if (socket->watch.events)
			assert_int_equal(loop_change(loop, &socket->watch, events), 0);
		break;
	case 3:
		loop_remove(loop, &socket->watch);
		break;
	case 4:
		if (!socket->watch.events)
			assert_int_equal(loop_add(loop, &socket->watch, events), 0);
		break;
	case 5:
		socket_close(loop, socket);
		socket_open(loop, socket, events);
		break;
	case 6:
		shutdown(socket->peer, SHUT_WR);
		break;
	default:
		if (socket->watch.events)
			assert_int_equal(loop_rearm(loop, &socket->watch), 0);
	}
}

static uint32_t ready_events(const struct socket *socket)
{
	struct pollfd asked = { .fd = socket->watch.fd,
				.events = (short)socket->watch.events };

	assert_true(poll(&asked, 1, 0) >= 0);
	return socket->watch.events ? (uint32_t)asked.revents : 0;
}

/* What poll(2) says of a watched descriptor is what was told of it. */
static void told_is_what_is_ready(void **state)
{
	static struct socket sockets[FEW];
	struct loop *loop = *state;

	srand(1);
	for (int i = 0; i < FEW; i++)
		socket_open(loop, &sockets[i], EPOLLIN);
	for (int step = 0; step < STEPS; step++) {
		for (int i = rand() % 4; i > 0; i--)
			anything_happens(loop, &sockets[rand() % FEW]);
		for (int i = 0; i < FEW; i++)
			sockets[i].events = 0;
		turns(loop, 1);
		for (int i = 0; i < FEW; i++)
			assert_int_equal(sockets[i].events, ready_events(&sockets[i]));
	}
	for (int i = 0; i < FEW; i++)
		socket_close(loop, &sockets[i]);
}

static void files_cannot_be_watched(void **state)
{
	struct watch watch = { .fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC),
			       .ready = hear };

	assert_true(watch.fd >= 0);
	assert_int_equal(loop_add(*state, &watch, EPOLLIN), -EPERM);
	close(watch.fd);
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
		ON_A_LOOP(a_level_is_told_until_it_is_gone),
		ON_A_LOOP(an_edge_is_told_once),
		ON_A_LOOP(what_nobody_asked_for_is_not_told),
		ON_A_LOOP(all_of_many_are_told),
		ON_A_LOOP(a_full_turn_is_not_followed_by_sleep),
		ON_A_LOOP(what_was_put_off_comes_next),
		ON_A_LOOP(what_was_seen_before_sleeping_is_this_turns),
		ON_A_LOOP(who_is_removed_is_closed_and_its_number_is_free),
		ON_A_LOOP(told_is_what_is_ready),
		ON_A_LOOP(files_cannot_be_watched),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
