/* SPDX-License-Identifier: MIT */
/*
 * Timers and watched descriptors of the application, over the loop of whoever
 * runs its handlers: a worker, or the dispatcher. Each is a small piece of heap
 * memory in a list of its worker, freed when it is over: a timer that is stopped
 * from its own call when that returns, a watch at once, since nothing of it is
 * looked at after its call (loop_remove drops the events of this turn).
 */
#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "handler/request.h"

struct crew_timer {
	struct list link;
	struct timer timer;
	struct crew_worker *worker;
	crew_timed *call;
	void *context;
	unsigned every_ms; /* 0: once */
	bool firing;       /* its call is being made: it cannot be freed */
	bool stopped;      /* so it is freed after that */
};

struct crew_watcher {
	struct list link;
	struct watch watch;
	struct crew_worker *worker;
	crew_watched *call;
	void *context;
};

static struct crew_timer *timer_new(struct crew_worker *worker, unsigned ms,
				    unsigned every_ms, crew_timed *call,
				    void *context);
static void timer_fired(struct loop *loop, struct timer *timer);
static struct crew_watcher *watcher_of(const struct crew_worker *worker, int fd);
static void watcher_ready(struct loop *loop, struct watch *watch, uint32_t events);

void worker_events_init(struct crew_worker *worker, struct loop *loop)
{
	worker->loop = loop;
	list_init(&worker->timers);
	list_init(&worker->watches);
}

void worker_events_fini(struct crew_worker *worker)
{
	if (!worker->loop)
		return;
	list_each(link, &worker->timers)
		crew_timer_stop(container_of(link, struct crew_timer, link));
	list_each(link, &worker->watches)
		crew_unwatch(worker, container_of(link, struct crew_watcher,
						  link)->watch.fd);
	worker->loop = NULL;
}

struct crew_timer *crew_after(struct crew_worker *worker, unsigned ms,
			      crew_timed *call, void *context)
{
	return timer_new(worker, ms, 0, call, context);
}

struct crew_timer *crew_every(struct crew_worker *worker, unsigned ms,
			      crew_timed *call, void *context)
{
	return timer_new(worker, ms, ms ? ms : 1, call, context);
}

void crew_timer_stop(struct crew_timer *timer)
{
	if (!timer)
		return;
	loop_timer_clear(timer->worker->loop, &timer->timer);
	timer->stopped = true;
	if (timer->firing)
		return;
	list_remove(&timer->link);
	free(timer);
}

int crew_watch(struct crew_worker *worker, int fd, unsigned events,
	       crew_watched *call, void *context)
{
	const uint32_t wanted = (events & CREW_READ ? EPOLLIN : 0u) |
				(events & CREW_WRITE ? EPOLLOUT : 0u);
	struct crew_watcher *watcher = watcher_of(worker, fd);
	int r;

	if (fd < 0 || !call || !wanted || !worker->loop)
		return -EINVAL;
	if (watcher) {
		watcher->call = call;
		watcher->context = context;
		return loop_change(worker->loop, &watcher->watch, wanted);
	}
	watcher = calloc(1, sizeof(*watcher));
	if (!watcher)
		return -ENOMEM;
	watcher->worker = worker;
	watcher->call = call;
	watcher->context = context;
	watcher->watch.fd = fd;
	watcher->watch.ready = watcher_ready;
	r = loop_add(worker->loop, &watcher->watch, wanted);
	if (r < 0) {
		free(watcher);
		return r;
	}
	list_push_back(&worker->watches, &watcher->link);
	return 0;
}

int crew_unwatch(struct crew_worker *worker, int fd)
{
	struct crew_watcher *watcher = watcher_of(worker, fd);

	if (!watcher)
		return -ENOENT;
	loop_remove(worker->loop, &watcher->watch);
	list_remove(&watcher->link);
	free(watcher);
	return 0;
}

static struct crew_timer *timer_new(struct crew_worker *worker, unsigned ms,
				    unsigned every_ms, crew_timed *call,
				    void *context)
{
	struct crew_timer *timer = worker->loop ? calloc(1, sizeof(*timer)) : NULL;

	if (!timer)
		return NULL;
	timer->worker = worker;
	timer->call = call;
	timer->context = context;
	timer->every_ms = every_ms;
	timer->timer.fire = timer_fired;
	if (loop_timer_set(worker->loop, &timer->timer,
			   clock_now_ms() + ms) < 0) {
		free(timer);
		return NULL;
	}
	list_push_back(&worker->timers, &timer->link);
	return timer;
}

static void timer_fired(struct loop *loop, struct timer *inner)
{
	struct crew_timer *timer = container_of(inner, struct crew_timer, timer);
	uint64_t next = inner->due_ms + timer->every_ms;

	/* It had a place in the heap a moment ago: this cannot fail. */
	if (timer->every_ms)
		(void)loop_timer_set(loop, inner, next > loop->now_ms
							  ? next : loop->now_ms + 1);
	timer->firing = true;
	timer->call(timer->worker, timer->context);
	timer->firing = false;
	if (timer->stopped || !timer->every_ms)
		crew_timer_stop(timer);
}

static struct crew_watcher *watcher_of(const struct crew_worker *worker, int fd)
{
	if (!worker->loop)
		return NULL;
	list_each(link, (struct list *)(uintptr_t)&worker->watches) {
		struct crew_watcher *watcher =
			container_of(link, struct crew_watcher, link);

		if (watcher->watch.fd == fd)
			return watcher;
	}
	return NULL;
}

static void watcher_ready(struct loop *loop, struct watch *watch, uint32_t events)
{
	struct crew_watcher *watcher =
		container_of(watch, struct crew_watcher, watch);
	const bool failed = events & (EPOLLERR | EPOLLHUP);
	unsigned ready = 0;

	(void)loop;
	if (failed || events & EPOLLIN)
		ready |= CREW_READ;
	if (failed || events & EPOLLOUT)
		ready |= CREW_WRITE;
	watcher->call(watcher->worker, watch->fd, ready, watcher->context);
}
