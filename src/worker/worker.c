/* SPDX-License-Identifier: MIT */
/*
 * The life of a worker process. The parent forks it and calls worker_main;
 * setup runs, then the worker says that it is ready, is sent its links over the
 * channel, and serves until the parent tells it to stop (SIGTERM; of somebody
 * else's the parent is told) or is gone (the channel ends: it leaves at once,
 * there is nobody to work for).
 *
 * An orderly stop runs no further request. Those that were not claimed go back
 * to their dispatchers by themselves; answers that were begun are sent to their
 * end, if their dispatcher has not gone.
 *
 * The loop is turned by hand, not by loop_run: requests do not come by events
 * but by shared memory, and are served between two turns. It sleeps only after
 * it has said so (the bell's epoch) and has looked once more.
 */
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/os/os.h"
#include "transport/control.h"
#include "worker/private.h"

static int set_up(struct worker *worker, struct crew_child *self,
		  const struct worker_options *options);
static int watch_events(struct worker *worker);
static void serve_until_over(struct worker *worker);
static void take_message(struct loop *loop, struct watch *watch, uint32_t events);
static void asked_to_stop(struct loop *loop, struct watch *watch, uint32_t events);
static void hear_stop(struct worker *worker);
static void stop_orderly(struct worker *worker);
static uint64_t served_max(const struct crew_pool *pool);
static void drain_from(struct worker *worker, uint64_t now_ms);
static void prepare_spin(struct worker *worker);
static bool may_spin(const struct worker *worker);
static bool may_sleep(struct loop *loop);
static void woke(struct loop *loop);
static bool goes_beside(const struct worker *worker);
static bool is_told_to_spin(unsigned us);
static void move(struct worker *worker);
static void beat(struct crew_worker *public);
static size_t link_memory(struct crew_worker *public, void **ret_start,
			  size_t *ret_size, size_t max);
static void take_config(struct worker *worker, int fd);
static void lose_config(struct worker *worker, const char *why);
static int knows_pool(const struct crew_worker *public, const char *pool);
static void set_paused(struct crew_worker *public, bool paused);
static void show_state(const struct worker *worker);

int worker_main(struct crew_child *self, const struct worker_options *options)
{
	struct worker *worker = malloc(sizeof(*worker));
	int r;

	r = worker ? set_up(worker, self, options) : -ENOMEM;
	if (r < 0) {
		log_critical("the worker cannot start: %s", strerror(-r));
		free(worker);
		return EXIT_SYSTEM;
	}
	r = app_set_up(worker);
	if (r == 0) {
		crew_ready(self);
		worker->set_up = true;
		show_state(worker); /* setup() may have paused it */
		serve_until_over(worker);
		for (unsigned i = 0; i < worker->peer_count; i++)
			peer_drop(worker, &worker->peers[i]);
		if (worker->draining)
			app_tear_down(worker);
		r = worker->exit_code;
	}
	app_fini(worker);
	peers_fini(worker);
	arena_spares_fini(&worker->spares);
	worker_events_fini(&worker->public);
	json_decref(worker->public.config);
	loop_fini(&worker->loop);
	free(worker);
	log_tell_dropped();
	return r;
}

void worker_condemn_link(struct worker *worker, const char *what)
{
	log_critical("the link cannot be used: %s", what);
	worker->exit_code = EXIT_PROTOCOL;
	worker->over = true;
}

void worker_fail(struct worker *worker, int error)
{
	if (error == -ENOMEM) {
		worker_condemn_link(worker, "out of memory for a request");
		worker->exit_code = EXIT_SYSTEM;
	} else {
		worker_condemn_link(worker, "the dispatcher's side makes no sense");
	}
}

static int set_up(struct worker *worker, struct crew_child *self,
		  const struct worker_options *options)
{
	const struct crew_route *routes = options->pool->app->routes;
	const struct crew_server *server = options->server;
	int r;

	*worker = (struct worker){
		.public = {
			.pool = options->pool_name,
			.index = self->index,
			.generation = self->generation,
			.beat = beat,
			.link_memory = link_memory,
			.on_error = options->pool->app->on_error,
			.publish = worker_publish,
			.call = worker_call,
			.knows_pool = knows_pool,
			.channel = self->channel,
		},
		.self = self,
		.options = options,
		.served_max = served_max(options->pool),
	};
	while (routes && routes[worker->route_count].on)
		worker->route_count++;
	prepare_spin(worker);
	if (options->pool->policy == CREW_POLICY_BATCH) {
		r = os_schedule_batch();
		if (r < 0)
			log_warning("no batch scheduling: %s", strerror(-r));
	}
	serve_init(worker);
	r = peers_init(worker, server && server->dispatchers ? server->dispatchers : 1);
	if (r < 0)
		return r;
	worker->goes_beside = goes_beside(worker);
	r = loop_init(&worker->loop);
	if (r < 0) {
		peers_fini(worker);
		return r;
	}
	worker_events_init(&worker->public, &worker->loop);
	worker->loop.now_ms = clock_now_ms();
	worker->loop.owner = worker;
	worker->loop.may_sleep = may_sleep;
	worker->loop.woke = woke;
	r = watch_events(worker);
	if (r < 0) {
		peers_fini(worker);
		loop_fini(&worker->loop);
	}
	return r;
}

static int watch_events(struct worker *worker)
{
	int r;

	worker->stop.fd = worker->self->stop_fd;
	worker->stop.ready = asked_to_stop;
	worker->channel.fd = worker->self->channel;
	worker->channel.ready = take_message;
	r = loop_add(&worker->loop, &worker->stop, EPOLLIN);
	if (r == 0)
		r = loop_add(&worker->loop, &worker->channel, EPOLLIN);
	return r;
}

static bool drained(const struct worker *worker)
{
	return worker->draining &&
	       ((list_empty(&worker->sending) && list_empty(&worker->held) &&
		 list_empty(&worker->cancelled) && peers_told(worker) &&
		 !awaited_hold(worker)) ||
		worker->loop.now_ms >= worker->drain_until_ms);
}

static unsigned idle_interval_ms(const struct worker *worker)
{
	const unsigned interval = worker->options->pool->idle_interval_ms;

	return interval ? interval : IDLE_BEAT_MS;
}

/* Often enough to be seen well within the pool's heartbeat timeout, and for
 * on_idle. */
static int turn_ms(const struct worker *worker)
{
	const unsigned quarter = worker->options->pool->heartbeat_timeout_ms / 4;
	const struct crew_app *app = worker->options->pool->app;
	uint64_t wait = IDLE_BEAT_MS;

	if (quarter > 0 && quarter < wait)
		wait = quarter;
	if (!peers_told(worker))
		wait = UNSAID_MS;
	if (app->on_idle && worker->idle_at_ms <= worker->loop.now_ms)
		wait = 0;
	else if (app->on_idle && worker->idle_at_ms - worker->loop.now_ms < wait)
		wait = worker->idle_at_ms - worker->loop.now_ms;
	return (int)wait;
}

/* Nothing waits to be run, or will be: an idle moment, if it is time for one. */
static void maybe_idle(struct worker *worker)
{
	const struct crew_app *app = worker->options->pool->app;

	if (!app->on_idle || worker->loop.now_ms < worker->idle_at_ms ||
	    (!serve_rests(worker) && !list_empty(&worker->runnable)))
		return;
	worker->idle_at_ms = worker->loop.now_ms + idle_interval_ms(worker);
	app->on_idle(&worker->public);
}

/* In its own time: a worker that has always something to do, none of it large, gives
 * memory back too. */
static void maybe_trim(struct worker *worker)
{
	if (worker->loop.now_ms < worker->trim_at_ms)
		return;
	worker->trim_at_ms = worker->loop.now_ms + SPARES_MS;
	arena_spares_trim(&worker->spares);
}

/* It has run as many requests as one is to. It goes on until the parent says that its successor
 * is ready. */
static void maybe_leave(struct worker *worker)
{
	if (atomic_load_explicit(&worker->self->score->served, memory_order_relaxed) >=
		    worker->served_max &&
	    self_ask_for_successor(worker->self) == 0)
		worker->served_max = UINT64_MAX;
}

static void serve_until_over(struct worker *worker)
{
	struct score *score = worker->self->score;
	int r;

	worker->idle_at_ms = worker->loop.now_ms + idle_interval_ms(worker);
	while (!worker->over && !drained(worker)) {
		r = loop_turn(&worker->loop, turn_ms(worker));
		if (r < 0) {
			log_critical("the event loop failed: %s", strerror(-r));
			worker->exit_code = EXIT_SYSTEM;
			return;
		}
		atomic_store_explicit(&score->heartbeat_ms, worker->loop.now_ms,
				      memory_order_relaxed);
		if (!worker->over)
			serve_batch(worker);
		maybe_leave(worker);
		if (!worker->over && worker->must_stop)
			stop_orderly(worker);
		if (!worker->over && worker->draining)
			peers_drop_gone(worker);
		if (!worker->over)
			maybe_idle(worker);
		maybe_trim(worker);
	}
}

void crew_pause(struct crew_worker *public)
{
	set_paused(public, true);
}

void crew_resume(struct crew_worker *public)
{
	set_paused(public, false);
}

bool crew_paused(const struct crew_worker *public)
{
	return !public->is_dispatcher &&
	       container_of(public, const struct worker, public)->paused;
}

static void set_paused(struct crew_worker *public, bool paused)
{
	struct worker *worker = container_of(public, struct worker, public);

	if (public->is_dispatcher || worker->paused == paused)
		return;
	worker->paused = paused;
	if (worker->set_up)
		show_state(worker);
	for (unsigned i = 0; i < worker->peer_count; i++)
		(void)peer_say(worker, &worker->peers[i],
			       paused ? MESSAGE_PAUSE : MESSAGE_RESUME, 0, NULL);
}

static void show_state(const struct worker *worker)
{
	score_set_state(worker->self->score, worker->draining ? CREW_CHILD_DRAINING
					     : worker->paused ? CREW_CHILD_PAUSED
							      : CREW_CHILD_READY);
}

static void stop_orderly(struct worker *worker)
{
	if (worker->draining)
		return;
	worker->draining = true;
	drain_from(worker, clock_now_ms());
	atomic_store_explicit(&worker->self->score->state, CREW_CHILD_DRAINING,
			      memory_order_relaxed);
	peers_drop_gone(worker);
	if (worker->options->pool->app->on_stop)
		worker->options->pool->app->on_stop(&worker->public);
	worker->last_awaited = worker->next_token;
	stream_drain(worker);
}

static void drain_from(struct worker *worker, uint64_t now_ms)
{
	const unsigned patience_ms = worker->options->pool->request_timeout_ms;

	worker->drain_until_ms = now_ms + (patience_ms ? patience_ms : DRAIN_MS);
}

void worker_goes_on(struct worker *worker, uint64_t now_ms)
{
	atomic_store_explicit(&worker->self->score->alive_ms, now_ms, memory_order_relaxed);
	drain_from(worker, now_ms);
}

static void asked_to_stop(struct loop *loop, struct watch *watch, uint32_t events)
{
	struct worker *worker = loop->owner;

	(void)watch;
	(void)events;
	hear_stop(worker);
	if (worker->must_stop)
		stop_orderly(worker);
}

bool worker_must_stop(struct worker *worker)
{
	const uint64_t now_ms = clock_now_ms();

	if (now_ms >= worker->hear_stop_at_ms) {
		worker->hear_stop_at_ms = now_ms + HEAR_STOP_MS;
		hear_stop(worker);
	}
	return worker->must_stop;
}

static void hear_stop(struct worker *worker)
{
	bool by_parent;

	/* Who goes while requests are still taken in leaves them without a worker. */
	if (self_take_stop(worker->self, &by_parent) &&
	    (by_parent || self_ask_to_leave(worker->self) < 0))
		worker->must_stop = true;
}

static void take_message(struct loop *loop, struct watch *watch, uint32_t events)
{
	struct worker *worker = loop->owner;
	int fds[OS_CHANNEL_FDS_MAX];
	struct control control;
	size_t fd_count = 0;
	int r;

	(void)events;
	r = os_channel_receive(watch->fd, &control, sizeof(control), fds,
			       &fd_count);
	if (r == -EAGAIN || r == -EINTR)
		return;
	if (r == (int)sizeof(control) && control.kind == CONTROL_LINK &&
	    fd_count == 3 && control.index < worker->peer_count) {
		peer_take(worker, &worker->peers[control.index], &control, fds);
		return;
	}
	if (r == (int)sizeof(control) && control.kind == CONTROL_CONFIG &&
	    fd_count == 1) {
		take_config(worker, fds[0]);
		return;
	}
	if (r > 0)
		os_close_each(fds, fd_count);
	if (r == (int)sizeof(control) && control.kind == CONTROL_CONFIG) {
		lose_config(worker, "no descriptor is left for it");
		return;
	}
	/* Else it would be given requests that it cannot see. */
	if (r == (int)sizeof(control) && control.kind == CONTROL_LINK) {
		worker_condemn_link(worker, "no descriptor is left for it");
		worker->exit_code = EXIT_SYSTEM;
		return;
	}
	if (r == 0 || r == -ECONNRESET) /* the parent is gone */
		worker->over = true;
	else if (r > 0)
		log_warning("a message from the parent was not understood");
	else
		log_warning("the channel to the parent failed: %s", strerror(-r));
}

/* The file holds the pool's name, a NUL, and the text. */
static void take_config(struct worker *worker, int fd)
{
	const struct crew_app *app = worker->options->pool->app;
	json_error_t error;
	const char *text;
	json_t *config;
	size_t size;
	void *data;

	data = os_map_file(fd, &size);
	close(fd);
	if (!data) {
		lose_config(worker, "its memory cannot be mapped");
		return;
	}
	text = memchr(data, '\0', size);
	if (text && size - (size_t)(text + 1 - (char *)data) > CONFIG_MAX_BYTES)
		text = NULL;
	config = text ? json_loadb(text + 1, size - (size_t)(text + 1 - (char *)data),
				   JSON_DECODE_ANY, &error)
		      : NULL;
	os_unmap_file(data, size);
	if (!config && text && json_error_code(&error) == json_error_out_of_memory) {
		lose_config(worker, "out of memory");
		return;
	}
	if (!config) {
		log_error("a configuration from the parent cannot be read");
		return;
	}
	json_decref(worker->public.config);
	worker->public.config = config;
	if (app->on_config)
		app->on_config(&worker->public, config);
}

/* Who is born next is given it. What we have in hand is finished with the old one. */
static void lose_config(struct worker *worker, const char *why)
{
	log_error("a configuration cannot be taken, so that another worker is asked for: %s",
		  why);
	if (self_ask_to_leave(worker->self) < 0) {
		worker->exit_code = EXIT_SYSTEM;
		worker->over = true;
	}
}

static int knows_pool(const struct crew_worker *public, const char *pool)
{
	const struct worker *worker = container_of(public, const struct worker, public);
	const struct crew_server *server = worker->options->server;

	for (unsigned i = 0; pool && server && i < CREW_POOLS_MAX && server->pools[i].app; i++) {
		if (strcmp(server->pools[i].name, pool) == 0)
			return (int)i;
	}
	return -ENOENT;
}

/* Those that began together are not to end together. */
static uint64_t served_max(const struct crew_pool *pool)
{
	const unsigned max = pool->max_requests;

	return max ? max - (unsigned)random() % (max / 10 + 1) : UINT64_MAX;
}

static void prepare_spin(struct worker *worker)
{
	const unsigned us = worker->options->pool->spin_us;

	worker->follows = us == 0;
	if (us == CREW_NEVER)
		spin_init(&worker->spin, 0, 1, LOOKS);
	else if (us == 0)
		spin_init(&worker->spin, FOLLOW_US, FOLLOW_US, LOOKS);
	else
		spin_init(&worker->spin, us, us, LOOKS);
}

/* If nothing else is said, while a dispatcher does: it knows whether that pays. */
static bool may_spin(const struct worker *worker)
{
	return !worker->follows || peers_spin(worker);
}

/* Or there is no reason any more to look. The application's descriptors are looked at more
 * rarely, since that takes a system call. */
static bool has_news(void *context)
{
	struct worker *worker = context;

	return peers_have_news(worker) || !may_spin(worker) ||
	       (++worker->looks % LOOKS == 0 && loop_peek(&worker->loop));
}

static bool may_sleep(struct loop *loop)
{
	struct worker *worker = loop->owner;

	if (worker->over)
		return false;
	/* Look before it is announced too: a bell rung for nothing is dear. */
	if (serve_has_work(worker) ||
	    (may_spin(worker) && spin_until(&worker->spin, has_news, worker) &&
	     (serve_has_work(worker) || loop->pending_count > 0)))
		return false;
	if (worker->must_move)
		move(worker);
	peers_announce(worker);
	if (!serve_has_work(worker))
		return true;
	peers_awake(worker);
	return false;
}

static void woke(struct loop *loop)
{
	peers_awake(loop->owner);
}

/* Not where there are several dispatchers, who would draw it to and fro, nor where who
 * is told to spin would take the processor from whom it waits for. */
static bool goes_beside(const struct worker *worker)
{
	const struct crew_pool *pool = worker->options->pool;
	const struct crew_server *server = worker->options->server;

	return pool->policy == CREW_POLICY_BESIDE && worker->peer_count == 1 &&
	       !is_told_to_spin(pool->spin_us) && (!server || !is_told_to_spin(server->spin_us));
}

static bool is_told_to_spin(unsigned us)
{
	return us != 0 && us != CREW_NEVER;
}

void worker_rung(struct worker *worker, const struct peer *peer)
{
	unsigned place;

	if (!worker->goes_beside || !peer->linked || !link_rung_on(&peer->link, &place) ||
	    !beside_woke(&worker->beside, place != os_processor()))
		return;
	worker->must_move = beside_judge(
		&worker->beside,
		&(struct beside_account){
			.now_ns = clock_now_ns(),
			.cpu_ns = os_thread_cpu_ns(),
			.served = atomic_load_explicit(&worker->self->score->served,
						       memory_order_relaxed),
		});
	worker->place = place;
}

/* Only with nothing in hand: who moves waits for the other processor. */
static void move(struct worker *worker)
{
	int r = os_move_to(worker->place);

	worker->must_move = false;
	if (r == 0) {
		atomic_fetch_add_explicit(&worker->self->score->moves, 1,
					  memory_order_relaxed);
	} else if (r != -EINVAL) {
		worker->goes_beside = false;
		log_info("it stays where it runs, since it cannot move to its "
			 "dispatcher's processor: %s", strerror(-r));
	}
}

static void beat(struct crew_worker *public)
{
	struct worker *worker = container_of(public, struct worker, public);

	crew_child_beat(worker->self);
}

static size_t link_memory(struct crew_worker *public, void **ret_start,
			  size_t *ret_size, size_t max)
{
	struct worker *worker = container_of(public, struct worker, public);

	return peers_memory(worker, ret_start, ret_size, max);
}
