/* SPDX-License-Identifier: MIT */
/*
 * The dispatcher's life: set up, turn the loop, drain, leave. Each turn ends
 * in one place, where answers are fetched, workers rung and clients sent to,
 * each client at most once. Before it sleeps it tells the workers that have something
 * of it in hand, and looks once more.
 */
#include "dispatch/dispatcher.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/os/os.h"
#include "dispatch/private.h"
#include "http/respond.h"
#include "transport/control.h"

#define BEAT_MS 1000u

static int init(struct dispatcher *dispatcher);
static int init_pools(struct dispatcher *dispatcher);
static int init_loop(struct dispatcher *dispatcher);
static void use_io_uring(struct dispatcher *dispatcher);
static void init_limits(struct dispatcher *dispatcher);
static int watch_fd(struct dispatcher *dispatcher, struct watch *watch, int fd,
		    void (*ready)(struct loop *, struct watch *, uint32_t));
static void fini(struct dispatcher *dispatcher);
static void free_connections(struct list *connections);
static void beat(struct loop *loop, struct timer *timer);
static bool pull_back_in(struct pool *pool, unsigned least);

int dispatcher_main(struct crew_child *self, const struct dispatcher_options *options)
{
	struct dispatcher *dispatcher = calloc(1, sizeof(*dispatcher));
	int r;

	if (!dispatcher)
		return 1;
	dispatcher->self = self;
	dispatcher->options = options;
	dispatcher->server = options->server;
	r = init(dispatcher);
	if (r < 0) {
		log_critical("the dispatcher cannot start: %s", strerror(-r));
		return 1;
	}
	r = hooks_start(dispatcher);
	if (r != 0) {
		log_critical("on_start of the dispatcher failed with code %d", r);
		return 1;
	}
	crew_ready(self);
	beat(&dispatcher->loop, &dispatcher->beat);
	r = loop_run(&dispatcher->loop);
	if (r < 0)
		log_critical("the dispatcher's loop failed: %s", strerror(-r));
	fini(dispatcher);
	log_tell_dropped();
	return r < 0 ? 1 : 0;
}

const char *dispatcher_date(struct dispatcher *dispatcher)
{
	const time_t now = time(NULL);

	if (now != dispatcher->date_at) {
		http_date(dispatcher->date, now);
		dispatcher->date_at = now;
	}
	return dispatcher->date;
}

static int init(struct dispatcher *dispatcher)
{
	int r;

	list_init(&dispatcher->connections);
	list_init(&dispatcher->to_flush);
	list_init(&dispatcher->gone);
	dispatcher->kept_exchanges = (struct kept){ sizeof(struct exchange),
						    KEPT_EXCHANGES_MAX, 0, NULL };
	dispatcher->kept_blocks = (struct kept){ KEPT_BLOCK_BYTES, KEPT_BLOCKS_MAX, 0,
						 NULL };
	list_init(&dispatcher->active);
	arena_init(&dispatcher->arena, NULL);
	if (dispatcher->server->policy == CREW_POLICY_BATCH) {
		r = os_schedule_batch();
		if (r < 0)
			log_warning("no batch scheduling: %s", strerror(-r));
	}
	r = init_loop(dispatcher);
	if (r < 0)
		return r;
	dispatcher->beat.fire = beat;
	hooks_init(dispatcher);
	dispatcher->pull_back.fire = pull_back;
	dispatcher->retry.fire = retry_saying;
	dispatcher->accept_rest.fire = listener_rested;
	dispatcher->drain_timer.fire = drain_over;
	/* Ids stay unique in one run of the program, over dispatchers. */
	dispatcher->next_id = (uint64_t)dispatcher->self->index << 49 |
			      (uint64_t)((dispatcher->self->generation - 1) % 512) << 40;
	dispatcher->processors = os_processors();
	dispatcher->to_spare = os_usable_processors() - 1;
	few_init(dispatcher);
	alone_init(dispatcher);
	coalesce_init(dispatcher);
	dispatcher->max_pending = sisters_share(dispatcher, dispatcher->server->max_pending);
	init_limits(dispatcher);
	r = init_pools(dispatcher);
	if (r < 0)
		return r;
	dispatcher->reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	r = watch_fd(dispatcher, &dispatcher->stop, dispatcher->self->stop_fd,
		     asked_to_stop);
	if (r == 0)
		r = watch_fd(dispatcher, &dispatcher->channel,
			     dispatcher->self->channel, control_came);
	if (r == 0)
		r = watch_fd(dispatcher, &dispatcher->listener,
			     dispatcher->options->listener, listener_ready);
	return r;
}

static int init_loop(struct dispatcher *dispatcher)
{
	struct loop *loop = &dispatcher->loop;
	int r = loop_init(loop);

	if (r < 0)
		return r;
	if (dispatcher->server->loop != CREW_LOOP_EPOLL)
		use_io_uring(dispatcher);
	loop->now_ms = clock_now_ms();
	loop->owner = dispatcher;
	loop->taken = dispatcher->ahead ? ahead_receive : NULL;
	loop->turn_done = turn_done;
	loop->enough = turn_is_long_enough;
	loop->may_sleep = turn_may_sleep;
	loop->woke = turn_woke;
	return 0;
}

static void use_io_uring(struct dispatcher *dispatcher)
{
	const bool wanted = dispatcher->server->loop == CREW_LOOP_IO_URING;
	const int r = ahead_init(dispatcher, wanted ? 1u : FEWEST_AHEAD);

	if (r == 0)
		log_info("connections are read and written by io_uring");
	else if (wanted)
		log_warning("no io_uring: %s; each connection is read and written by system "
			    "calls of its own", strerror(-r));
	else
		log_info("connections are read and written by system calls, not io_uring: "
			 "%s", strerror(-r));
}

static void init_limits(struct dispatcher *dispatcher)
{
	const struct crew_server *server = dispatcher->server;
	struct rlimit limit;
	unsigned most = INT_MAX;
	unsigned links = 0; /* their descriptors: when workers are replaced all come anew */
	unsigned reserved;
	unsigned others;

	dispatcher->limits = (struct http_limits){
		.line_max_bytes = LINE_MAX_BYTES,
		.head_max_bytes = server->head_max_bytes,
		.headers_max = HTTP_HEADERS_MAX,
		.body_max_bytes = server->body_max_bytes,
		.chunk_extra_max_bytes = CHUNK_EXTRA_MAX_BYTES,
	};
	dispatcher->connections_max = sisters_share(dispatcher, server->connections_max);
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < INT_MAX)
		most = (unsigned)limit.rlim_cur;
	for (unsigned i = 0; i < CREW_POOLS_MAX && server->pools[i].app; i++)
		links += LINK_FDS * server->pools[i].workers;
	others = most > RESERVED_FDS * 2 ? RESERVED_FDS : most / 4;
	reserved = links < most / 2 - others ? others + links : most / 2;
	dispatcher->fds_max = (int)(most - reserved + others / 2);
	if (!dispatcher->connections_max || dispatcher->connections_max > most - reserved)
		dispatcher->connections_max = most - reserved;
}

static int init_pools(struct dispatcher *dispatcher)
{
	const struct crew_server *server = dispatcher->server;
	int r = 0;

	for (unsigned i = 0; r == 0 && i < CREW_POOLS_MAX && server->pools[i].app; i++) {
		struct pool *pool = &dispatcher->pools[i];

		pool->dispatcher = dispatcher;
		pool->options = &server->pools[i];
		pool->name = pool->options->name;
		pool->number = i;
		pool->queue_max = sisters_share(dispatcher, pool->options->queue_max);
		pool->timer.fire = pool_deadline;
		list_init(&pool->queue);
		list_init(&pool->linked);
		dispatcher->pool_count++;
		r = pool_init_costs(pool);
	}
	return r;
}

static int watch_fd(struct dispatcher *dispatcher, struct watch *watch, int fd,
		    void (*ready)(struct loop *, struct watch *, uint32_t))
{
	watch->fd = fd;
	watch->ready = ready;
	return loop_add(&dispatcher->loop, watch, EPOLLIN);
}

static void fini(struct dispatcher *dispatcher)
{
	dispatcher->over = true;
	/* What on_response is told of them is before on_stop. */
	free_connections(&dispatcher->connections);
	free_connections(&dispatcher->gone);
	/* So are the answers of the hooks' own calls, which are over with them. */
	calls_call_back(dispatcher);
	hooks_fini(dispatcher);
	for (unsigned i = 0; i < dispatcher->pool_count; i++) {
		struct pool *pool = &dispatcher->pools[i];

		for (unsigned j = 0; j < pool->seat_count; j++) {
			if (pool->seats[j]->up) {
				calls_close(pool->seats[j]);
				outbox_fini(&pool->seats[j]->outbox);
				link_fini(&pool->seats[j]->link);
			}
			free(pool->seats[j]->slots);
			free(pool->seats[j]);
		}
		free(pool->seats);
		pool_fini_costs(pool);
	}
	arena_fini(&dispatcher->arena);
	buffer_fini(&dispatcher->chunk);
	buffer_fini(&dispatcher->events);
	buffer_free_kept();
	kept_free(&dispatcher->kept_exchanges);
	kept_free(&dispatcher->kept_blocks);
	ahead_fini(dispatcher);
	loop_fini(&dispatcher->loop);
	free(dispatcher);
}

static void free_connections(struct list *connections)
{
	struct list *link;

	while ((link = connections->next) != connections)
		connection_free(container_of(link, struct connection,
					     in_dispatcher));
}

static void beat(struct loop *loop, struct timer *timer)
{
	struct dispatcher *dispatcher = loop->owner;

	crew_child_beat(dispatcher->self);
	hooks_idle(dispatcher);
	pull_back_single(dispatcher);
	retry_saying(loop, timer); /* for which there may have been no memory */
	loop_timer_set(loop, timer, loop->now_ms + BEAT_MS);
}

/* Without an idle worker at hand what is taken back only waits elsewhere, but
 * there it is counted, has its deadline, and goes to who is free first. */
static bool is_stuck(const struct seat *seat, uint64_t now_ms)
{
	const uint64_t silent = now_ms - seat->progress_ms;

	return silent > PULL_BACK_ANYWAY_MS ||
	       (silent > PULL_BACK_MS && pool_has_idle(seat->pool));
}

void pull_back_soon(struct dispatcher *dispatcher)
{
	if (!loop_timer_is_set(&dispatcher->pull_back))
		loop_timer_set(&dispatcher->loop, &dispatcher->pull_back,
			       dispatcher->loop.now_ms + PULL_BACK_MS);
}

/* By place, not by the list of active ones: what is taken back may have waited too long, and
 * be answered, and that can end a connection and take requests back from any seat. */
void pull_back(struct loop *loop, struct timer *timer)
{
	struct dispatcher *dispatcher = loop->owner;
	/* Of several dispatchers each hears only of its own requests: who waits here
	 * for a worker that another keeps busy looks again itself. */
	const bool others = dispatcher->server->dispatchers > 1;
	bool again = false;

	/* If it was us who did not run, the answers lie there. */
	turn_receive(dispatcher);
	for (unsigned i = 0; i < dispatcher->pool_count; i++) {
		struct pool *pool = &dispatcher->pools[i];

		pool_feed(pool);
		again = again || (pool->queued && (others || pool_has_idle(pool)));
	}
	for (unsigned i = 0; i < dispatcher->pool_count; i++) {
		if (pull_back_in(&dispatcher->pools[i], others ? 1 : 2))
			again = true;
	}
	if (again)
		loop_timer_set(loop, timer, loop->now_ms + PULL_BACK_MS);
}

/* From workers that have so many requests, or more. True: one of them is to be looked at again. */
static bool pull_back_in(struct pool *pool, unsigned least)
{
	const uint64_t now_ms = pool->dispatcher->loop.now_ms;
	bool again = false;

	for (unsigned i = 0; i < pool->seat_count; i++) {
		struct seat *seat = pool->seats[i];

		if (!seat->up || seat->condemned ||
		    seat->at_work < (seat_is_doubted(seat) ? 1 : least))
			continue;
		/* What is still there then has begun. */
		if (!is_stuck(seat, now_ms)) {
			again = true;
			continue;
		}
		/* It would only be given to the same one again. (Where that is at another
		 * dispatcher's request it waits in our queue, with its deadline, in between.) */
		if (pool->dispatcher->server->dispatchers == 1 && seat_is_doubted(seat) &&
		    !pool_has_idle(pool)) {
			again = again || pool->seat_count > 1;
			continue;
		}
		if (seat_pull_back(seat, true))
			again = true;
		pool_feed(pool);
	}
	return again;
}

/* Who has one request only is not looked at each millisecond. But it may stand still, or be at
 * something of its own, and not have taken it. */
void pull_back_single(struct dispatcher *dispatcher)
{
	turn_receive(dispatcher);
	for (unsigned i = 0; i < dispatcher->pool_count; i++) {
		struct pool *pool = &dispatcher->pools[i];

		for (unsigned j = 0; j < pool->seat_count; j++) {
			struct seat *seat = pool->seats[j];

			if (seat->up && !seat->condemned && seat->at_work == 1 &&
			    dispatcher->loop.now_ms - seat->progress_ms > STILL_MS &&
			    pool_has_idle(pool)) {
				seat_pull_back(seat, true);
				pool_feed(pool);
			}
		}
	}
}
