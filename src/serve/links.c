/* SPDX-License-Identifier: MIT */
/*
 * Who is given what, and told of whom. A link belongs to one worker and one
 * dispatcher. Whichever of them is replaced, the link is made anew, so that no
 * state of the dead is inherited; a worker that outlives its dispatcher keeps
 * its process, and what setup() made, and gets a new link. A worker gets his end
 * when he is born; the dispatcher gets the other when he is ready, and hears
 * when he is going to leave, and when he is gone.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/os/os.h"
#include "serve/private.h"
#include "transport/control.h"
#include "transport/link.h"

static void tell_loss(const struct child *child, const struct control *order,
		      size_t fd_count);
static void obey(struct server_run *run, const struct control *order);
static struct worker_book *open_book(struct child *child);
static void give_link(struct server_run *run, struct child *child, unsigned dispatcher);
static void retry(struct loop *loop, struct timer *timer);
static void retry_links(void *context, struct child *child);
static void tell_dispatcher(struct server_run *run, struct child *child,
			    unsigned dispatcher);
static void renew_link(void *context, struct child *child);
static void send_dispatchers(struct server_run *run, const struct control *order);
static void note_death(struct server_run *run, const struct crew_death *death, unsigned group);
static void tell_deaths(struct server_run *run, unsigned dispatcher);
static struct control order_of(const struct crew_death *death, enum control_kind kind,
			       unsigned group);

#define RETRY_MS 20u

/* Whose links are made anew. */
struct renewal {
	struct server_run *run;
	unsigned dispatcher;
};

void links_init(struct server_run *run)
{
	run->links_retry.fire = retry;
}

/* A new dispatcher starts with nothing: renew all its links. */
void links_dispatcher_spawned(void *context, struct child *dispatcher)
{
	struct server_run *run = context;
	struct renewal renewal = { run, dispatcher->index };

	orders_forget(run, dispatcher->index);
	tell_deaths(run, dispatcher->index);
	groups_tell_new(run, dispatcher->index);
	for (unsigned i = FIRST_POOL_GROUP;
	     dispatcher->generation > 1 && i < FIRST_POOL_GROUP + run->pool_count; i++) {
		plan_each(run->plan, i, renew_link, &renewal);
		if (plan_degraded(run->plan, i))
			links_pool_degraded(run, i, true);
	}
}

void links_dispatcher_said(void *context, struct child *child, const void *data,
			   size_t size, int *fds, size_t fd_count)
{
	struct server_run *run = context;
	const struct control *order = data;
	struct child *worker;

	if (size == sizeof(*order) && order->kind == CONTROL_CONFIG && fd_count == 1) {
		configs_take(run, child, fds[0]);
		return;
	}
	if (size == sizeof(*order) && order->kind == CONTROL_PUBLISH && fd_count == 1)
		for (unsigned i = 0; i < run->server.dispatchers; i++) {
			if (i != child->index)
				orders_pass_on(run, i, order, fds[0]);
		}
	if (size == sizeof(*order)) {
		tell_loss(child, order, fd_count);
		obey(run, order);
	}
	os_close_each(fds, fd_count);
	if (size != sizeof(*order) || order->kind != CONTROL_CONDEMN ||
	    order->pool >= run->pool_count)
		return;
	worker = plan_life(run->plan, order->pool + FIRST_POOL_GROUP, order->index,
			   order->generation);
	if (worker)
		plan_condemn(run->plan, worker, (enum crew_cause)order->cause);
}

void links_worker_said(void *context, struct child *child, const void *data,
		       size_t size, int *fds, size_t fd_count)
{
	const struct control *order = data;

	if (size == sizeof(*order) && order->kind == CONTROL_CONFIG && fd_count == 1) {
		configs_take(context, child, fds[0]);
		return;
	}
	if (size == sizeof(*order)) {
		tell_loss(child, order, fd_count);
		obey(context, order);
	}
	os_close_each(fds, fd_count);
}

void links_worker_spawned(void *context, struct child *child)
{
	struct server_run *run = context;

	/* In this order: requests come over the links, and a worker takes one message
	 * of its channel at a time. */
	if (open_book(child))
		configs_give(context, child);
	for (unsigned i = 0; i < run->server.dispatchers; i++)
		give_link(run, child, i);
}

void links_worker_ready(void *context, struct child *child)
{
	const struct server_run *run = context;

	if (!child_is_up(child))
		return; /* it was told to stop while it booted, and will do nothing */
	for (unsigned i = 0; i < run->server.dispatchers; i++)
		tell_dispatcher(context, child, i);
}

void links_worker_retiring(void *context, struct child *child)
{
	struct server_run *run = context;
	const struct control order = {
		.kind = CONTROL_DRAIN,
		.pool = child->group_index - FIRST_POOL_GROUP,
		.index = child->index,
		.generation = child->generation,
		.restarts = plan_restarts(run->plan, child->group_index),
	};

	send_dispatchers(run, &order);
}

void links_worker_died(void *context, struct child *child,
		       const struct crew_death *death)
{
	struct server_run *run = context;
	struct control order = order_of(death, CONTROL_LINK_DOWN, child->group_index);
	struct worker_book *book = child->user;

	order.restarts = plan_restarts(run->plan, child->group_index);
	for (unsigned i = 0; book && i < CREW_DISPATCHERS_MAX; i++)
		link_close_fds(&book->fds[i]);
	free(book);
	child->user = NULL;
	note_death(run, death, child->group_index);
	send_dispatchers(run, &order);
}

void links_pool_degraded(void *context, unsigned group, bool degraded)
{
	const struct control order = {
		.kind = CONTROL_DEGRADED,
		.pool = group - FIRST_POOL_GROUP,
		.detail = degraded,
	};

	send_dispatchers(context, &order);
}

/* Its file was left behind, since this process had no place for it. */
static void tell_loss(const struct child *child, const struct control *order,
		      size_t fd_count)
{
	if (fd_count == 0 &&
	    (order->kind == CONTROL_CONFIG || order->kind == CONTROL_PUBLISH))
		log_error("%s of %s[%u] is lost: the parent has no descriptor left; raise "
			  "its limit (ulimit -n)",
			  order->kind == CONTROL_CONFIG ? "a configuration" : "an event",
			  child->group->is.name, child->index);
}

/* What any child may ask for. */
static void obey(struct server_run *run, const struct control *order)
{
	const bool all = order->pool == CONTROL_ALL;
	const unsigned group = order->pool + FIRST_POOL_GROUP;

	if (!all && order->pool >= run->pool_count)
		return;
	if (order->kind == CONTROL_LOG_LEVEL && order->detail >= CREW_DEBUG &&
	    order->detail <= CREW_CRITICAL)
		plan_set_log_level(run->plan, all ? -1 : (int)group, order->detail);
	else if (order->kind == CONTROL_SCALE && !all)
		plan_scale(run->plan, group, order->detail);
	else if (order->kind == CONTROL_RELOAD && all)
		plan_reload_all(run->plan);
	else if (order->kind == CONTROL_RELOAD)
		plan_reload(run->plan, group);
}

/* What the parent keeps of this life; null: no memory. */
static struct worker_book *open_book(struct child *child)
{
	struct worker_book *book = child->user;

	if (book)
		return book;
	book = calloc(1, sizeof(*book));
	for (unsigned i = 0; book && i < CREW_DISPATCHERS_MAX; i++)
		book->fds[i] = (struct link_fds){ -1, { -1, -1 } };
	child->user = book;
	return book;
}

/* Make a new link to a dispatcher and give the worker his end. What the
 * dispatcher needs is kept until the worker is ready. A worker whose channel is full is
 * busy, and no worse for it: it is tried again. */
static void give_link(struct server_run *run, struct child *child, unsigned dispatcher)
{
	struct worker_book *book = open_book(child);
	const struct child *to = plan_child(child->plan, DISPATCHER_GROUP, dispatcher);
	const struct control order = { .kind = CONTROL_LINK, .index = dispatcher,
				       .pid = to ? to->pid : 0 };
	struct link_fds *fds;
	int r;

	if (!book) {
		log_error("no memory for a link");
		goto failed;
	}
	fds = &book->fds[dispatcher];
	link_close_fds(fds);
	r = link_create(fds);
	if (r < 0) {
		log_error("cannot make a link for %s[%u]: %s", child->group->is.name,
			  child->index, strerror(-r));
		goto failed;
	}
	r = os_channel_send(child->channel, &order, sizeof(order),
			    (int[]){ fds->memory, fds->bell[LINK_DISPATCHER],
				     fds->bell[LINK_WORKER] }, 3);
	book->link_behind[dispatcher] = os_channel_is_full(r);
	/* Who is dead died of something else, which we are about to hear. */
	if (r == 0 || r == -EPIPE || r == -ECONNRESET)
		return;
	if (book->link_behind[dispatcher]) {
		link_close_fds(fds);
		if (!loop_timer_is_set(&run->links_retry))
			loop_timer_set(plan_loop(run->plan), &run->links_retry,
				       clock_now_ms() + RETRY_MS);
		return;
	}

failed:
	/* A worker without a link is of no use; its successor gets another. */
	plan_condemn(child->plan, child, CREW_CAUSE_ORDER);
}

/* Tell a dispatcher of a worker that is ready, and give it the link's end. */
static void tell_dispatcher(struct server_run *run, struct child *child,
			    unsigned dispatcher)
{
	struct worker_book *book = child->user;
	const struct control order = {
		.kind = CONTROL_LINK_UP,
		.pool = child->group_index - FIRST_POOL_GROUP,
		.index = child->index,
		.generation = child->generation,
		.pid = child->pid,
		.restarts = plan_restarts(run->plan, child->group_index),
	};

	struct link_fds *fds = book ? &book->fds[dispatcher] : NULL;

	if (!fds || fds->memory < 0 ||
	    !plan_child(run->plan, DISPATCHER_GROUP, dispatcher))
		return;
	orders_give(run, dispatcher, &order,
		    (int[]){ fds->memory, fds->bell[LINK_DISPATCHER],
			     fds->bell[LINK_WORKER] }, 3);
	*fds = (struct link_fds){ -1, { -1, -1 } };
}

static void renew_link(void *context, struct child *child)
{
	const struct renewal *renewal = context;

	give_link(renewal->run, child, renewal->dispatcher);
	if (child_is_up(child))
		tell_dispatcher(renewal->run, child, renewal->dispatcher);
}

static void retry(struct loop *loop, struct timer *timer)
{
	struct server_run *run = container_of(timer, struct server_run, links_retry);

	(void)loop;
	for (unsigned i = FIRST_POOL_GROUP; i < FIRST_POOL_GROUP + run->pool_count; i++)
		plan_each(run->plan, i, retry_links, run);
}

static void retry_links(void *context, struct child *child)
{
	struct server_run *run = context;
	const struct worker_book *book = child->user;

	for (unsigned i = 0; book && i < run->server.dispatchers; i++) {
		if (book->link_behind[i])
			renew_link(&(struct renewal){ run, i }, child);
	}
}

static void send_dispatchers(struct server_run *run, const struct control *order)
{
	for (unsigned i = 0; i < run->server.dispatchers; i++)
		orders_give(run, i, order, NULL, 0);
}

/* Apart from the plan's history, in which each reload is as many as there are workers. */
static void note_death(struct server_run *run, const struct crew_death *death, unsigned group)
{
	if (death->cause != CREW_CAUSE_ORDER)
		run->deaths[run->death_count++ % CONTROL_DEATHS] =
			order_of(death, CONTROL_DEATH, group);
}

/* A new dispatcher knows of none. The newest is the last. */
static void tell_deaths(struct server_run *run, unsigned dispatcher)
{
	const uint64_t count = run->death_count;

	for (uint64_t i = count > CONTROL_DEATHS ? count - CONTROL_DEATHS : 0; i < count; i++)
		orders_give(run, dispatcher, &run->deaths[i % CONTROL_DEATHS], NULL, 0);
}

static struct control order_of(const struct crew_death *death, enum control_kind kind,
			       unsigned group)
{
	return (struct control){
		.kind = kind,
		.pool = group - FIRST_POOL_GROUP,
		.index = death->index,
		.generation = death->generation,
		.pid = death->pid,
		.cause = death->cause,
		.detail = death->signal ? death->signal : death->exit_code,
		.signal = death->signal,
		.at = death->at,
	};
}
