/* SPDX-License-Identifier: MIT */
/*
 * What dispatchers are told, in order and in full. A channel holds some two hundred messages,
 * and a server may have more workers than that, all of whom a dispatcher is told of before it
 * has read the first word. What finds no room waits here and is tried again; that a dispatcher
 * reads at all its heartbeat says. The successor of one that died is told all anew. Files of
 * events that others publish are kept like that up to a limit: who is deaf for longer misses some.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/os/os.h"
#include "serve/private.h"

#define RETRY_MS        5u
#define FDS_MAX         3u
#define FILES_EACH      512u                    /* a second's of each other: EVENTS_GATHER_MS */
#define FILES_SHARE     4u                      /* so manyth of our descriptors, for all */
#define FILES_MAX_BYTES (64ull * 1024u * 1024u) /* what the slowest may cost us */

struct waiting_order {
	struct list link;
	struct control order;
	int fds[FDS_MAX];
	size_t fd_count;
	uint64_t file_bytes; /* 0: not passed on */
};

static int pass_on(struct server_run *run, unsigned dispatcher, const struct control *order,
		   int file);
static unsigned files_max(const struct server_run *run);
static bool tell(struct server_run *run, unsigned dispatcher, const struct control *order,
		 const int *fds, size_t fd_count);
static bool keep(struct server_run *run, unsigned dispatcher, const struct control *order,
		 const int *fds, size_t fd_count, uint64_t file_bytes);
static void drop(struct orders *orders, struct waiting_order *waiting);
static void retry(struct loop *loop, struct timer *timer);
static void try_again_soon(struct server_run *run);

void orders_init(struct server_run *run)
{
	for (unsigned i = 0; i < CREW_DISPATCHERS_MAX; i++)
		list_init(&run->orders[i].waiting);
	run->orders_retry.fire = retry;
}

void orders_forget(struct server_run *run, unsigned dispatcher)
{
	struct orders *orders = &run->orders[dispatcher];

	while (!list_empty(&orders->waiting))
		drop(orders, container_of(orders->waiting.next, struct waiting_order, link));
	orders->missed = 0;
}

void orders_give(struct server_run *run, unsigned dispatcher, const struct control *order,
		 const int *fds, size_t fd_count)
{
	struct child *child = plan_child(run->plan, DISPATCHER_GROUP, dispatcher);

	if (child && (!list_empty(&run->orders[dispatcher].waiting) ||
		      !tell(run, dispatcher, order, fds, fd_count))) {
		if (keep(run, dispatcher, order, fds, fd_count, 0))
			return;
		log_error("no memory for what dispatcher[%u] (pid %d) is to be told: its "
			  "successor will hear it", dispatcher, (int)child->pid);
		plan_condemn(run->plan, child, CREW_CAUSE_STUCK);
	}
	os_close_each(fds, fd_count);
}

void orders_pass_on(struct server_run *run, unsigned dispatcher, const struct control *order,
		    int file)
{
	struct orders *orders = &run->orders[dispatcher];
	const struct child *child = plan_child(run->plan, DISPATCHER_GROUP, dispatcher);
	const int r = pass_on(run, dispatcher, order, file);

	if (!child || (r == 0 && orders->missed == 0))
		return;
	if (r == 0) {
		log_warning("dispatcher[%u] (pid %d) takes events again: its clients missed "
			    "%u files of them", dispatcher, (int)child->pid, orders->missed);
		orders->missed = 0;
		return;
	}
	if (orders->missed++ == 0)
		log_error("dispatcher[%u] (pid %d) takes no events now, its clients miss "
			  "some: %s", dispatcher, (int)child->pid, strerror(-r));
}

static int pass_on(struct server_run *run, unsigned dispatcher, const struct control *order,
		   int file)
{
	const struct orders *orders = &run->orders[dispatcher];
	struct stat status;
	uint64_t bytes;
	int copy;

	if (fstat(file, &status) < 0 || status.st_size <= 0)
		return 0;
	bytes = (uint64_t)status.st_size;
	if (list_empty(&orders->waiting) && tell(run, dispatcher, order, &file, 1))
		return 0;
	if (orders->files >= files_max(run) || orders->files_bytes + bytes > FILES_MAX_BYTES)
		return -EAGAIN;
	copy = fcntl(file, F_DUPFD_CLOEXEC, 0);
	if (copy < 0)
		return -errno;
	if (keep(run, dispatcher, order, &copy, 1, bytes))
		return 0;
	close(copy);
	return -ENOMEM;
}

/* Even when all but the one who publishes are deaf there are descriptors left: for files that come,
 * for other orders, for new children. */
static unsigned files_max(const struct server_run *run)
{
	const unsigned others = run->server.dispatchers - 1;
	const uint64_t limit = os_descriptor_limit(0);
	const uint64_t most = (uint64_t)FILES_EACH * others;

	if (others == 0 || limit / FILES_SHARE / others > most)
		return (unsigned)most;
	return (unsigned)(limit / FILES_SHARE / others);
}

/* Whether there is no more to do: it is told, or dead, which we are about to hear. Else there is
 * no room now. */
static bool tell(struct server_run *run, unsigned dispatcher, const struct control *order,
		 const int *fds, size_t fd_count)
{
	const struct child *child = plan_child(run->plan, DISPATCHER_GROUP, dispatcher);

	return !child || !os_channel_is_full(os_channel_send(child->channel, order,
							     sizeof(*order), fds, fd_count));
}

static bool keep(struct server_run *run, unsigned dispatcher, const struct control *order,
		 const int *fds, size_t fd_count, uint64_t file_bytes)
{
	struct orders *orders = &run->orders[dispatcher];
	struct waiting_order *waiting = malloc(sizeof(*waiting));

	check(fd_count <= FDS_MAX);
	if (!waiting)
		return false;
	waiting->order = *order;
	waiting->fd_count = fd_count;
	if (fd_count > 0)
		memcpy(waiting->fds, fds, fd_count * sizeof(*fds));
	waiting->file_bytes = file_bytes;
	orders->files += file_bytes > 0;
	orders->files_bytes += file_bytes;
	list_push_back(&orders->waiting, &waiting->link);
	try_again_soon(run);
	return true;
}

static void drop(struct orders *orders, struct waiting_order *waiting)
{
	list_remove(&waiting->link);
	orders->files -= waiting->file_bytes > 0;
	orders->files_bytes -= waiting->file_bytes;
	os_close_each(waiting->fds, waiting->fd_count);
	free(waiting);
}

static void retry(struct loop *loop, struct timer *timer)
{
	struct server_run *run = container_of(timer, struct server_run, orders_retry);

	(void)loop;
	for (unsigned i = 0; i < run->server.dispatchers; i++) {
		struct orders *orders = &run->orders[i];

		while (!list_empty(&orders->waiting)) {
			struct waiting_order *waiting = container_of(
				orders->waiting.next, struct waiting_order, link);

			if (!tell(run, i, &waiting->order, waiting->fds,
				  waiting->fd_count)) {
				try_again_soon(run);
				break;
			}
			drop(orders, waiting);
		}
	}
}

static void try_again_soon(struct server_run *run)
{
	if (!loop_timer_is_set(&run->orders_retry))
		loop_timer_set(plan_loop(run->plan), &run->orders_retry,
			       clock_now_ms() + RETRY_MS);
}
