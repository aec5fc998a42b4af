/* SPDX-License-Identifier: MIT */
/*
 * Readiness by io_uring(7): a poll request (io_uring_enter(2), IORING_OP_POLL_ADD)
 * for each watch. What is added, changed and removed in a turn goes to the kernel
 * with the wait that ends it, in one system call. A watch with EPOLLET is a request
 * that goes on telling (multishot); any other is told once and asked for anew at the
 * next wait, when it is told at once if it is still ready: that is what
 * level-triggered means.
 *
 * A request outlives its watch until the kernel says that it has ended, so it is
 * memory of its own (struct ask), not the watch's. Until then it also holds the
 * file: a descriptor that was removed and closed is really closed at the next wait.
 *
 * Only readiness, not the reads and writes themselves: the loop's owners are written
 * for that. Those of a turn can be made with one call all the same (base/batch.h).
 */
#include "base/poller.h"

#include <errno.h>
#include <liburing.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/check.h"
#include "base/list.h"
#include "base/loop.h"

#define SUBMIT_ENTRIES   256u
#define COMPLETE_ENTRIES 4096u
/* How often the kernel is asked to let go of all at the end, before it has to do so
 * by itself. */
#define CLOSE_TURNS      100
/* The kernel tells of these whether they were asked for or not. */
#define ALWAYS_TOLD      ((uint32_t)(EPOLLERR | EPOLLHUP))
/* Flags of a watch that are no events. */
#define NO_EVENTS        ((uint32_t)EPOLLET)
/* What a lasting request tells is what the wake-up said, and TCP says EPOLLPRI with
 * all data; so urgent data is told as any other. */
#define NOT_LASTING      (NO_EVENTS | (uint32_t)EPOLLPRI)

/* One request to the kernel. */
struct ask {
	struct list in_all;
	struct list in_changed;
	struct watch *watch; /* NULL: nobody's any more */
	int fd;
	uint32_t wanted;
	uint32_t armed;      /* `wanted` of the request in flight */
	bool in_flight;
	bool lasting;        /* multishot */
	/* What is ready is only what nobody wants (EPOLLRDHUP is told to all): to
	 * ask anew would only tell it again, so it waits for what changes. */
	bool only_changes;
	uint64_t told_turn;  /* when it was last told, and */
	int told_place;      /* where among the events of that turn */
};

struct uring {
	struct poller poller;
	struct io_uring ring;
	struct list all;
	struct list changed; /* to be asked, asked differently, or cancelled */
	uint64_t turn;
};

static void mark_changed(struct uring *uring, struct ask *ask)
{
	if (list_empty(&ask->in_changed))
		list_push_back(&uring->changed, &ask->in_changed);
}

static void ask_free(struct ask *ask)
{
	list_remove(&ask->in_all);
	list_remove(&ask->in_changed);
	free(ask);
}

static struct ask *ask_new(struct uring *uring, struct watch *watch, uint32_t events)
{
	struct ask *ask = malloc(sizeof(*ask));

	if (!ask)
		return NULL;
	*ask = (struct ask){ .watch = watch, .fd = watch->fd, .wanted = events };
	list_init(&ask->in_changed);
	list_init(&ask->in_all);
	list_push_back(&uring->all, &ask->in_all);
	mark_changed(uring, ask);
	watch->ask = ask;
	return ask;
}

/* Let the request go; its memory follows when the kernel has let go too. */
static void ask_leave(struct uring *uring, struct ask *ask)
{
	ask->watch = NULL;
	if (ask->in_flight)
		mark_changed(uring, ask);
	else
		ask_free(ask);
}

static int add(struct poller *poller, struct watch *watch, uint32_t events)
{
	struct uring *uring = container_of(poller, struct uring, poller);
	struct stat status;

	/* The kernel says this only later, when there is nobody to be told. */
	if (fstat(watch->fd, &status) < 0)
		return -errno;
	if (S_ISREG(status.st_mode) || S_ISDIR(status.st_mode))
		return -EPERM;
	return ask_new(uring, watch, events) ? 0 : -ENOMEM;
}

static int change(struct poller *poller, struct watch *watch, uint32_t events)
{
	struct uring *uring = container_of(poller, struct uring, poller);
	struct ask *ask = watch->ask;

	if (!ask->in_flight) {
		ask->wanted = events;
		ask->only_changes = false;
		mark_changed(uring, ask);
		return 0;
	}
	/* What is in flight may be told at any moment: it is left, not altered. */
	if (!ask_new(uring, watch, events))
		return -ENOMEM;
	ask_leave(uring, ask);
	return 0;
}

static void forget(struct poller *poller, struct watch *watch)
{
	struct ask *ask = watch->ask;

	watch->ask = NULL;
	ask_leave(container_of(poller, struct uring, poller), ask);
}

static struct io_uring_sqe *entry(struct uring *uring)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&uring->ring);

	while (!sqe) {
		/* All are taken: the kernel copies them, and they are free again. */
		if (io_uring_submit(&uring->ring) < 0)
			return NULL;
		sqe = io_uring_get_sqe(&uring->ring);
	}
	return sqe;
}

static bool ask_submit(struct uring *uring, struct ask *ask)
{
	struct io_uring_sqe *sqe = entry(uring);

	if (!sqe)
		return false;
	if (!ask->watch) {
		io_uring_prep_cancel(sqe, ask, 0);
		io_uring_sqe_set_data(sqe, NULL);
		io_uring_sqe_set_flags(sqe, IOSQE_CQE_SKIP_SUCCESS);
		return true;
	}
	ask->lasting = ask->only_changes || (ask->wanted & EPOLLET);
	if (ask->lasting)
		io_uring_prep_poll_multishot(sqe, ask->fd, ask->wanted & ~NOT_LASTING);
	else
		io_uring_prep_poll_add(sqe, ask->fd, ask->wanted & ~NO_EVENTS);
	io_uring_sqe_set_data(sqe, ask);
	ask->armed = ask->wanted;
	ask->in_flight = true;
	return true;
}

static void submit_changed(struct uring *uring)
{
	list_each(link, &uring->changed) {
		struct ask *ask = container_of(link, struct ask, in_changed);

		if (!ask_submit(uring, ask))
			return; /* the rest at the next wait */
		list_remove(&ask->in_changed);
	}
}

/* Say it to the loop, once a turn for each watch. */
static int tell(struct uring *uring, struct ask *ask, uint32_t ready,
		struct epoll_event *events, int count)
{
	if (ask->told_turn == uring->turn) {
		events[ask->told_place].events |= ready;
		return count;
	}
	ask->told_turn = uring->turn;
	ask->told_place = count;
	events[count] = (struct epoll_event){ .events = ready, .data.ptr = ask->watch };
	return count + 1;
}

/* How many events there are after this one. */
static int take(struct uring *uring, const struct io_uring_cqe *cqe,
		struct epoll_event *events, int count)
{
	struct ask *ask = io_uring_cqe_get_data(cqe);
	uint32_t ready = 0;

	if (!ask) /* a cancellation that came too late */
		return count;
	if (!(cqe->flags & IORING_CQE_F_MORE))
		ask->in_flight = false;
	if (!ask->watch) {
		if (ask->in_flight)
			mark_changed(uring, ask); /* still alive: once more */
		else
			ask_free(ask);
		return count;
	}
	if (cqe->res >= 0)
		ready = (uint32_t)cqe->res & (ask->armed | ALWAYS_TOLD);
	else if (cqe->res != -ENOMEM && cqe->res != -EAGAIN)
		ready = EPOLLERR;
	if (ready)
		count = tell(uring, ask, ready, events, count);
	if (ready && ask->only_changes) {
		/* Something that is wanted came: ask as before. A failure leaves the
		 * lasting request, which tells the next change. */
		ask->only_changes = false;
		if (ask->in_flight && !(ask->wanted & EPOLLET))
			(void)change(&uring->poller, ask->watch, ask->wanted);
	} else if (!ready && cqe->res >= 0 && !ask->lasting) {
		ask->only_changes = true;
	}
	if (!ask->in_flight && ask->watch)
		mark_changed(uring, ask);
	return count;
}

static int wait_for(struct poller *poller, struct epoll_event *events, int room,
		    int timeout_ms)
{
	struct uring *uring = container_of(poller, struct uring, poller);
	struct __kernel_timespec limit = {
		.tv_sec = timeout_ms / 1000,
		.tv_nsec = (long long)(timeout_ms % 1000) * 1000000,
	};
	struct io_uring_cqe *cqe = NULL;
	int count = 0;
	int r;

	uring->turn++;
	submit_changed(uring);
	if (timeout_ms == 0)
		r = io_uring_submit_and_get_events(&uring->ring);
	else
		r = io_uring_submit_and_wait_timeout(&uring->ring, &cqe, 1,
						     timeout_ms < 0 ? NULL : &limit,
						     NULL);
	while (count < room && io_uring_peek_cqe(&uring->ring, &cqe) == 0) {
		count = take(uring, cqe, events, count);
		io_uring_cqe_seen(&uring->ring, cqe);
	}
	if (r >= 0 || count > 0 || r == -ETIME || r == -EBUSY || r == -EAGAIN)
		return count;
	return r;
}

static void close_it(struct poller *poller)
{
	struct uring *uring;
	struct epoll_event nothing;

	if (!poller)
		return;
	uring = container_of(poller, struct uring, poller);
	/* Who only closes the ring holds its descriptors, a listening socket among
	 * them, until the kernel finds time to let go. */
	list_each(link, &uring->all)
		ask_leave(uring, container_of(link, struct ask, in_all));
	for (int i = 0; !list_empty(&uring->all) && i < CLOSE_TURNS; i++)
		(void)wait_for(poller, &nothing, 1, i < CLOSE_TURNS / 2 ? 0 : 1);
	io_uring_queue_exit(&uring->ring);
	list_each(link, &uring->all)
		ask_free(container_of(link, struct ask, in_all));
	free(uring);
}

static const struct poller_kind uring_kind = {
	.add = add,
	.change = change,
	.remove = forget,
	.wait = wait_for,
	.free = close_it,
};

int poller_uring_new(struct poller **ret_poller)
{
	/* The last two came with Linux 6.1: who has them has the rest. */
	struct io_uring_params params = {
		.flags = IORING_SETUP_CQSIZE | IORING_SETUP_SINGLE_ISSUER |
			 IORING_SETUP_DEFER_TASKRUN,
		.cq_entries = COMPLETE_ENTRIES,
	};
	struct uring *uring = calloc(1, sizeof(*uring));
	int r;

	if (!uring)
		return -ENOMEM;
	r = io_uring_queue_init_params(SUBMIT_ENTRIES, &uring->ring, &params);
	if (r < 0) {
		free(uring);
		return r == -EINVAL ? -ENOSYS : r;
	}
	list_init(&uring->all);
	list_init(&uring->changed);
	uring->poller = (struct poller){ .kind = &uring_kind, .fd = uring->ring.ring_fd };
	*ret_poller = &uring->poller;
	return 0;
}
