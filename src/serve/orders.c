/* SPDX-License-Identifier: MIT */
/*
 * What dispatchers are told, in order and in full. A channel holds some two hundred messages,
 * and a server may have more workers than that, all of whom a dispatcher is told of before it
 * has read the first word. What finds no room waits here and is tried again; that a dispatcher
 * reads at all its heartbeat says. The successor of one that died is told all anew.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/os/os.h"
#include "serve/private.h"

#define RETRY_MS 5u
#define FDS_MAX  3u

struct waiting_order {
	struct list link;
	struct control order;
	int fds[FDS_MAX];
	size_t fd_count;
};

static bool tell(struct server_run *run, unsigned dispatcher, const struct control *order,
		 const int *fds, size_t fd_count);
static bool keep(struct server_run *run, unsigned dispatcher, const struct control *order,
		 const int *fds, size_t fd_count);
static void retry(struct loop *loop, struct timer *timer);
static void try_again_soon(struct server_run *run);

void orders_init(struct server_run *run)
{
	for (unsigned i = 0; i < CREW_DISPATCHERS_MAX; i++)
		list_init(&run->orders[i]);
	run->orders_retry.fire = retry;
}

void orders_forget(struct server_run *run, unsigned dispatcher)
{
	struct list *link;

	while ((link = list_pop_front(&run->orders[dispatcher])) != NULL) {
		struct waiting_order *waiting = container_of(link, struct waiting_order, link);

		os_close_each(waiting->fds, waiting->fd_count);
		free(waiting);
	}
}

void orders_give(struct server_run *run, unsigned dispatcher, const struct control *order,
		 const int *fds, size_t fd_count)
{
	struct child *child = plan_child(run->plan, DISPATCHER_GROUP, dispatcher);

	if (child && (!list_empty(&run->orders[dispatcher]) ||
		      !tell(run, dispatcher, order, fds, fd_count))) {
		if (keep(run, dispatcher, order, fds, fd_count))
			return;
		log_error("no memory for what dispatcher[%u] (pid %d) is to be told: its "
			  "successor will hear it", dispatcher, (int)child->pid);
		plan_condemn(run->plan, child, CREW_CAUSE_STUCK);
	}
	os_close_each(fds, fd_count);
}

/* Whether there is no more to do: it is told, or dead, which we are about to hear. Else there is
 * no room now, be it for descriptors on their way (unix(7)). */
static bool tell(struct server_run *run, unsigned dispatcher, const struct control *order,
		 const int *fds, size_t fd_count)
{
	const struct child *child = plan_child(run->plan, DISPATCHER_GROUP, dispatcher);
	int r;

	if (!child)
		return true;
	r = os_channel_send(child->channel, order, sizeof(*order), fds, fd_count);
	return r == 0 || r == -EPIPE || r == -ECONNRESET || r == -ENOTCONN || r == -EBADF;
}

static bool keep(struct server_run *run, unsigned dispatcher, const struct control *order,
		 const int *fds, size_t fd_count)
{
	struct waiting_order *waiting = malloc(sizeof(*waiting));

	check(fd_count <= FDS_MAX);
	if (!waiting)
		return false;
	waiting->order = *order;
	waiting->fd_count = fd_count;
	if (fd_count > 0)
		memcpy(waiting->fds, fds, fd_count * sizeof(*fds));
	list_push_back(&run->orders[dispatcher], &waiting->link);
	try_again_soon(run);
	return true;
}

static void retry(struct loop *loop, struct timer *timer)
{
	struct server_run *run = container_of(timer, struct server_run, orders_retry);

	(void)loop;
	for (unsigned i = 0; i < run->server.dispatchers; i++) {
		while (!list_empty(&run->orders[i])) {
			struct waiting_order *waiting =
				container_of(run->orders[i].next, struct waiting_order, link);

			if (!tell(run, i, &waiting->order, waiting->fds,
				  waiting->fd_count)) {
				try_again_soon(run);
				break;
			}
			list_remove(&waiting->link);
			os_close_each(waiting->fds, waiting->fd_count);
			free(waiting);
		}
	}
}

static void try_again_soon(struct server_run *run)
{
	if (!loop_timer_is_set(&run->orders_retry))
		loop_timer_set(plan_loop(run->plan), &run->orders_retry,
			       clock_now_ms() + RETRY_MS);
}
