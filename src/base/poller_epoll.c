/* SPDX-License-Identifier: MIT */
/* Readiness by epoll(7): what every loop begins with. */
#include "base/poller.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/loop.h"

static int control(const struct poller *poller, int what, struct watch *watch,
		   uint32_t events)
{
	struct epoll_event event = { .events = events, .data.ptr = watch };

	return epoll_ctl(poller->fd, what, watch->fd, &event) < 0 ? -errno : 0;
}

static int add(struct poller *poller, struct watch *watch, uint32_t events)
{
	return control(poller, EPOLL_CTL_ADD, watch, events);
}

static int change(struct poller *poller, struct watch *watch, uint32_t events)
{
	return control(poller, EPOLL_CTL_MOD, watch, events);
}

/* What is closed epoll forgets by itself, but not while a child that somebody has
 * forked has it too (epoll(7), questions and answers). */
static void forget(struct poller *poller, struct watch *watch)
{
	(void)control(poller, EPOLL_CTL_DEL, watch, 0);
}

static int wait_for(struct poller *poller, struct epoll_event *events, int room,
		    int timeout_ms)
{
	const int n = epoll_wait(poller->fd, events, room, timeout_ms);

	return n < 0 ? -errno : n;
}

static void close_it(struct poller *poller)
{
	if (!poller)
		return;
	close(poller->fd);
	free(poller);
}

static const struct poller_kind epoll_kind = {
	.add = add,
	.change = change,
	.remove = forget,
	.wait = wait_for,
	.free = close_it,
};

int poller_epoll_new(struct poller **ret_poller)
{
	struct poller *poller = malloc(sizeof(*poller));
	int r;

	if (!poller)
		return -ENOMEM;
	*poller = (struct poller){ .kind = &epoll_kind,
				   .fd = epoll_create1(EPOLL_CLOEXEC) };
	if (poller->fd < 0) {
		r = -errno;
		free(poller);
		return r;
	}
	*ret_poller = poller;
	return 0;
}
