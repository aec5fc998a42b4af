/* SPDX-License-Identifier: MIT */
/*
 * The loop: epoll(7) for descriptors, a binary heap for timers. A turn is: look
 * when the next timer is due; ask whether it may sleep; wait; handle events;
 * fire timers; say that the turn is done. Events can be put off, and are then what
 * the next turn begins with. A handler may remove any watch and
 * clear any timer, its own included: events of this turn for a removed watch
 * are struck out.
 */
#include "base/loop.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/os/os.h"

/* To take more at once saves nothing, and what came first is out of the cache by the time
 * that its answer is sent. */
#define EVENTS_A_TURN 64

static int control(const struct loop *loop, int what, struct watch *watch, uint32_t events);
static void clock_rang(struct loop *loop, struct watch *watch, uint32_t events);
static void clock_set(struct loop *loop);
static int wait_ms(const struct loop *loop, int timeout_ms);
static int take_events(struct loop *loop, int timeout_ms);
static void handle_events(struct loop *loop);
static void fire_timers(struct loop *loop);
static void heap_place(struct loop *loop, size_t index, struct timer *timer);
static void heap_up(struct loop *loop, size_t index, struct timer *timer);
static void heap_down(struct loop *loop, size_t index, struct timer *timer);

int loop_init(struct loop *loop)
{
	int r = 0;

	*loop = (struct loop){ .now_ms = clock_now_ms() };
	loop->pending = calloc(EVENTS_A_TURN, sizeof(*loop->pending));
	if (!loop->pending)
		return -ENOMEM;
	loop->fd = epoll_create1(EPOLL_CLOEXEC);
	loop->fd = loop->fd < 0 ? -errno : os_raise_descriptor(loop->fd);
	if (loop->fd < 0) {
		r = loop->fd;
		free(loop->pending);
		loop->pending = NULL;
	}
	return r;
}

void loop_fini(struct loop *loop)
{
	if (!loop->pending)
		return;
	if (loop->clock.ready)
		close(loop->clock.fd);
	close(loop->fd);
	free(loop->pending);
	free(loop->timers);
	*loop = (struct loop){ 0 };
}

int loop_add(struct loop *loop, struct watch *watch, uint32_t events)
{
	const int r = control(loop, EPOLL_CTL_ADD, watch, events);

	/* Watched for nothing is watched too: hang-ups are always told. */
	if (r == 0)
		watch->events = events | EPOLLERR;
	return r;
}

int loop_change(struct loop *loop, struct watch *watch, uint32_t events)
{
	int r;

	if (watch->events == (events | EPOLLERR))
		return 0;
	r = control(loop, EPOLL_CTL_MOD, watch, events);
	if (r == 0)
		watch->events = events | EPOLLERR;
	return r;
}

int loop_rearm(struct loop *loop, struct watch *watch)
{
	if (!watch->events)
		return 0;
	return control(loop, EPOLL_CTL_MOD, watch, watch->events);
}

void loop_remove(struct loop *loop, struct watch *watch)
{
	if (!watch->events)
		return;
	/* What is closed epoll forgets by itself, but not while a child that somebody has
	 * forked has it too (epoll(7), questions and answers). */
	(void)control(loop, EPOLL_CTL_DEL, watch, 0);
	watch->events = 0;
	for (int i = 0; i < loop->pending_count; i++) {
		if (loop->pending[i].data.ptr == watch)
			loop->pending[i].data.ptr = NULL;
	}
}

int loop_timer_set(struct loop *loop, struct timer *timer, uint64_t due_ms)
{
	if (!timer->place) {
		if (loop->timer_count == loop->timer_room) {
			size_t room = loop->timer_room ? loop->timer_room * 2 : 64;
			struct timer **timers =
				realloc(loop->timers, room * sizeof(*timers));

			if (!timers)
				return -ENOMEM;
			loop->timers = timers;
			loop->timer_room = room;
		}
		heap_place(loop, loop->timer_count++, timer);
	}
	/* Else a timer that sets itself for now would never let go. */
	if (loop->firing && due_ms <= loop->now_ms)
		due_ms = loop->now_ms + 1;
	timer->due_ms = due_ms;
	heap_up(loop, timer->place - 1, timer);
	heap_down(loop, timer->place - 1, timer);
	return 0;
}

void loop_timer_clear(struct loop *loop, struct timer *timer)
{
	size_t index = timer->place - 1;
	struct timer *last;

	if (!timer->place)
		return;
	check(loop->timers[index] == timer);
	timer->place = 0;
	last = loop->timers[--loop->timer_count];
	if (last == timer)
		return;
	heap_place(loop, index, last);
	heap_up(loop, index, last);
	heap_down(loop, last->place - 1, last);
}

int loop_fd(const struct loop *loop)
{
	return loop->fd;
}

int loop_expose(struct loop *loop)
{
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	int r;

	fd = fd < 0 ? -errno : os_raise_descriptor(fd);
	if (fd < 0)
		return fd;
	loop->clock = (struct watch){ .fd = fd, .ready = clock_rang };
	r = loop_add(loop, &loop->clock, EPOLLIN);
	if (r < 0) {
		close(fd);
		loop->clock = (struct watch){ 0 };
		return r;
	}
	clock_set(loop);
	return 0;
}

int loop_turn(struct loop *loop, int timeout_ms)
{
	const bool put_off = loop->pending_count > 0;
	int r = put_off ? 0 : take_events(loop, timeout_ms);

	if (r < 0)
		return r;
	loop->came = (unsigned)(loop->pending_count - loop->next);
	loop->now_ms = clock_now_ms();
	if (!put_off && loop->taken)
		loop->taken(loop);
	handle_events(loop);
	fire_timers(loop);
	if (loop->turn_done)
		loop->turn_done(loop);
	if (loop->clock.ready)
		clock_set(loop);
	return 0;
}

bool loop_peek(struct loop *loop)
{
	const int n = epoll_wait(loop->fd, loop->pending, EVENTS_A_TURN, 0);

	loop->peeked = true;
	loop->next = 0;
	loop->pending_count = n > 0 ? n : 0;
	return n > 0;
}

int loop_run(struct loop *loop)
{
	int r = 0;

	loop->stopping = false;
	while (!loop->stopping && r == 0)
		r = loop_turn(loop, -1);
	return r;
}

void loop_stop(struct loop *loop)
{
	loop->stopping = true;
}

static int control(const struct loop *loop, int what, struct watch *watch, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.ptr = watch };

	return epoll_ctl(loop->fd, what, watch->fd, &event) < 0 ? -errno : 0;
}

static int take_events(struct loop *loop, int timeout_ms)
{
	int wait = wait_ms(loop, timeout_ms);
	bool slept = false;
	int r = 0;
	int n;

	/* There is more of what did not go into the last turn. */
	if (loop->full)
		wait = 0;
	if (wait != 0 && loop->may_sleep) {
		loop->peeked = false;
		slept = loop->may_sleep(loop);
		if (!slept)
			wait = 0;
		else if (loop->peeked)
			wait = wait_ms(loop, timeout_ms);
	}
	n = loop->pending_count ? loop->pending_count
				: epoll_wait(loop->fd, loop->pending, EVENTS_A_TURN, wait);
	if (n < 0 && errno != EINTR)
		r = -errno;
	/* Also after a failure: the others must not ring for a sleeper that is
	 * none. */
	if (slept && loop->woke)
		loop->woke(loop);
	loop->pending_count = n > 0 ? n : 0;
	loop->next = 0;
	loop->full = n == EVENTS_A_TURN;
	return r;
}

static void clock_rang(struct loop *loop, struct watch *watch, uint32_t events)
{
	uint64_t count;

	(void)events;
	(void)!read(watch->fd, &count, sizeof(count));
	loop->clock_due_ms = 0;
}

static void clock_set(struct loop *loop)
{
	const uint64_t due = loop->timer_count ? loop->timers[0]->due_ms : 0;
	const struct itimerspec when = {
		.it_value = { .tv_sec = (time_t)(due / 1000),
			      .tv_nsec = (long)(due % 1000) * 1000000l },
	};

	if (due != loop->clock_due_ms)
		timerfd_settime(loop->clock.fd, TFD_TIMER_ABSTIME, &when, NULL);
	loop->clock_due_ms = due;
}

static int wait_ms(const struct loop *loop, int timeout_ms)
{
	uint64_t now;
	uint64_t left;

	if (timeout_ms == 0 || loop->timer_count == 0)
		return timeout_ms;
	now = clock_now_ms();
	left = loop->timers[0]->due_ms;
	left = left > now ? left - now : 0;
	if (timeout_ms >= 0 && left > (uint64_t)timeout_ms)
		return timeout_ms;
	return left > INT_MAX ? INT_MAX : (int)left;
}

static void handle_events(struct loop *loop)
{
	while (loop->next < loop->pending_count) {
		const struct epoll_event *event = &loop->pending[loop->next++];
		struct watch *watch = event->data.ptr;

		if (watch)
			watch->ready(loop, watch, event->events);
		if (loop->next < loop->pending_count && loop->enough &&
		    loop->enough(loop))
			return;
	}
	loop->pending_count = 0;
}

/* Each at most once: what is set meanwhile is due after now_ms. */
static void fire_timers(struct loop *loop)
{
	loop->firing = true;
	while (loop->timer_count > 0 && loop->timers[0]->due_ms <= loop->now_ms) {
		struct timer *timer = loop->timers[0];

		loop_timer_clear(loop, timer);
		timer->fire(loop, timer);
	}
	loop->firing = false;
}

static void heap_place(struct loop *loop, size_t index, struct timer *timer)
{
	loop->timers[index] = timer;
	timer->place = index + 1;
}

static void heap_up(struct loop *loop, size_t index, struct timer *timer)
{
	while (index > 0) {
		size_t parent = (index - 1) / 2;

		if (loop->timers[parent]->due_ms <= timer->due_ms)
			break;
		heap_place(loop, index, loop->timers[parent]);
		index = parent;
	}
	heap_place(loop, index, timer);
}

static void heap_down(struct loop *loop, size_t index, struct timer *timer)
{
	for (;;) {
		size_t child = 2 * index + 1;

		if (child >= loop->timer_count)
			break;
		if (child + 1 < loop->timer_count &&
		    loop->timers[child + 1]->due_ms < loop->timers[child]->due_ms)
			child++;
		if (loop->timers[child]->due_ms >= timer->due_ms)
			break;
		heap_place(loop, index, loop->timers[child]);
		index = child;
	}
	heap_place(loop, index, timer);
}
