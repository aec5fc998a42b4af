/* SPDX-License-Identifier: MIT */
/*
 * The composition root: from a table of pools and routes to running processes.
 * It lives in the parent, which owns the listeners and makes the links: here
 * is decided what a new worker or a new dispatcher is given, and nothing else.
 *
 * A link belongs to one worker and one dispatcher. Whichever of them is
 * replaced, the link is made anew, so that no state of the dead is inherited;
 * a worker that outlives its dispatcher keeps its process, and what setup()
 * made, and gets a new link.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <crew/serve.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/os/os.h"
#include "dispatch/dispatcher.h"
#include "dispatch/files.h"
#include "manage/become.h"
#include "serve/address.h"
#include "serve/defaults.h"
#include "supervise/supervise.h"
#include "transport/control.h"
#include "transport/link.h"
#include "worker/worker.h"

#define DISPATCHER_GROUP 0u
#define FIRST_POOL_GROUP 1u
#define GROUPS_MAX (FIRST_POOL_GROUP + CREW_POOLS_MAX)
#define STOP_SLACK_MS 2000u
#define WORKER_STOP_MS 5000u

struct server_run {
	struct crew_server server;
	struct router *router;
	struct become become;
	int listener;
	char listening_on[128];
	int mount_fds[CREW_MOUNTS_MAX];
	unsigned mount_count;
	struct group groups[GROUPS_MAX];
	unsigned group_count;
	struct dispatcher_options dispatcher;
	struct worker_options workers[CREW_POOLS_MAX];
	struct plan *plan;
};

static int check_tables(struct server_run *run, struct crew_error *ret_error);
static int prepare(struct server_run *run, struct crew_error *ret_error);
static int make_plan(struct server_run *run, struct crew_error *ret_error);
static int open_mounts(struct server_run *run, struct crew_error *ret_error);
static void make_groups(struct server_run *run);
static void make_pool_group(struct server_run *run, unsigned number);
static void raise_descriptor_limit(void);
static void clean_up(struct server_run *run);
static int run_dispatcher(struct crew_child *self);
static int run_worker(struct crew_child *self);
static int dispatcher_keeps(const struct crew_child *self, int *ret_fds, int room);
static void dispatcher_spawned(void *context, struct child *child);
static void dispatcher_said(void *context, struct child *child, const void *data,
			    size_t size, int *fds, size_t fd_count);
static void worker_spawned(void *context, struct child *child);
static void worker_ready(void *context, struct child *child);
static void worker_retiring(void *context, struct child *child);
static void worker_died(void *context, struct child *child,
			const struct crew_death *death);
static void pool_degraded(void *context, unsigned group, bool degraded);
static void renew_link(void *context, struct child *child);
static void send_dispatcher(struct server_run *run, const struct control *order);
static void stopping(void *context);
static void reopen(void *context);

int crew_serve(const struct crew_server *server, struct crew_error *ret_error)
{
	struct server_run *run = calloc(1, sizeof(*run));
	struct crew_error error = { 0 };
	int r;

	if (!run)
		return 1;
	run->listener = -1;
	os_hold_standard_streams();
	log_init();
	r = defaults_fill(server, &run->server, &error);
	if (r == 0)
		r = check_tables(run, &error);
	if (r == 0)
		r = become_begin(&run->become, &run->server.daemon, &error);
	if (r == 1) { /* the daemon is up: this is who was called */
		clean_up(run);
		return 0;
	}
	if (r == 0)
		r = prepare(run, &error);
	if (r == 0)
		r = make_plan(run, &error);
	if (r == 0) {
		r = plan_run(run->plan);
		if (r == 3)
			error_set(&error, ECHILD, "no worker ever came up; its last "
				  "lines are in the log");
	} else {
		r = become_exit_code(&run->become, r);
	}
	r = r < 0 ? 1 : r;
	plan_free(run->plan);
	run->plan = NULL;
	if (ret_error && error.text[0])
		*ret_error = error;
	become_end(&run->become, r, error.text[0] ? error.text : NULL);
	clean_up(run);
	return r;
}

static int check_tables(struct server_run *run, struct crew_error *ret_error)
{
	struct crew_server *server = &run->server;

	log_set_level((int)server->log_level);
	if (!server->pools[0].app && !server->local && !server->mounts[0].at)
		return error_set(ret_error, EINVAL,
				 "the server has no pool, no local route and no "
				 "mount: there is nothing to serve");
	return router_new(server, &run->router, ret_error);
}

/* What needs privileges, which are given up at the end of it. */
static int prepare(struct server_run *run, struct crew_error *ret_error)
{
	int r;

	raise_descriptor_limit();
	r = open_mounts(run, ret_error);
	if (r < 0)
		return r;
	r = address_listen(run->server.listen, run->listening_on,
			   sizeof(run->listening_on), ret_error);
	if (r < 0)
		return r;
	run->listener = r;
	make_groups(run);
	return become_ready(&run->become, ret_error);
}

static int make_plan(struct server_run *run, struct crew_error *ret_error)
{
	const struct plan_options options = {
		.groups = run->groups,
		.group_count = run->group_count,
		.context = run,
		.take_signals = true,
		.stopping = stopping,
		.reopen = reopen,
	};
	int r = plan_new(&options, &run->plan);

	if (r == 0) {
		log_info("crew %s listening on %s", crew_version(),
			 run->listening_on);
		become_watch(&run->become, plan_loop(run->plan));
		r = plan_start(run->plan);
	}
	if (r < 0)
		return error_set(ret_error, -r, "cannot start the processes: %s",
				 strerror(-r));
	return 0;
}

static int open_mounts(struct server_run *run, struct crew_error *ret_error)
{
	for (unsigned i = 0; i < CREW_MOUNTS_MAX && run->server.mounts[i].at; i++) {
		const struct crew_mount *mount = &run->server.mounts[i];
		int fd = files_open_root(mount->root);

		if (fd < 0) {
			error_set(ret_error, -fd,
				  "mount %u (\"%s\"): cannot open the directory "
				  "%s: %s", i, mount->at, mount->root,
				  strerror(-fd));
			return fd == -EINVAL ? -ENOENT : fd;
		}
		run->mount_fds[run->mount_count++] = fd;
	}
	return 0;
}

static void make_groups(struct server_run *run)
{
	const struct crew_server *server = &run->server;

	run->groups[DISPATCHER_GROUP] = (struct group){
		.is = {
			.name = "dispatcher",
			.run = run_dispatcher,
			.argument = run,
			.count = 1,
			.notify = true,
			.boot_timeout_ms = 10000,
			.heartbeat_timeout_ms = 10000,
			.stop_timeout_ms = server->shutdown_timeout_ms + STOP_SLACK_MS,
			.max_descriptors = CREW_NEVER,
			.stop_order = 0,
			.fixed = true,
		},
		.raw = true,
		.keep = dispatcher_keeps,
		.spawned = dispatcher_spawned,
		.message = dispatcher_said,
	};
	run->group_count = FIRST_POOL_GROUP;
	for (unsigned i = 0; i < CREW_POOLS_MAX && server->pools[i].app; i++)
		make_pool_group(run, i);
	run->dispatcher = (struct dispatcher_options){
		.server = server,
		.router = run->router,
		.mount_fds = run->mount_fds,
		.listener = run->listener,
		.first_group = FIRST_POOL_GROUP,
		.started_ms = clock_now_ms(),
	};
}

static void make_pool_group(struct server_run *run, unsigned number)
{
	const struct crew_pool *pool = &run->server.pools[number];

	run->workers[number] = (struct worker_options){ pool, pool->name };
	run->groups[run->group_count++] = (struct group){
		.is = {
			.name = pool->name,
			.kind = pool->kind,
			.run = run_worker,
			.argument = run,
			.count = pool->workers,
			.notify = true,
			.boot_timeout_ms = pool->boot_timeout_ms,
			.heartbeat_timeout_ms = pool->heartbeat_timeout_ms,
			.stop_timeout_ms = WORKER_STOP_MS,
			.max_starting = pool->max_starting,
			.max_restarts = pool->max_restarts,
			.restart_window_ms = pool->restart_window_ms,
			.max_rss_bytes = pool->max_rss_bytes,
			.stop_order = 1,
		},
		.raw = true,
		.spawned = worker_spawned,
		.ready = worker_ready,
		.retiring = worker_retiring,
		.died = worker_died,
		.degraded = pool_degraded,
	};
}

/* Each client is a descriptor: use what the system allows. */
static void raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 &&
	    limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

static void clean_up(struct server_run *run)
{
	plan_free(run->plan);
	if (run->listener >= 0)
		close(run->listener);
	for (unsigned i = 0; i < run->mount_count; i++)
		close(run->mount_fds[i]);
	router_free(run->router);
	free(run);
}

static int run_dispatcher(struct crew_child *self)
{
	const struct server_run *run = self->argument;

	return dispatcher_main(self, &run->dispatcher);
}

static int run_worker(struct crew_child *self)
{
	const struct server_run *run = self->argument;

	return worker_main(self, &run->workers[self->group_index - FIRST_POOL_GROUP]);
}

static int dispatcher_keeps(const struct crew_child *self, int *ret_fds, int room)
{
	const struct server_run *run = self->argument;
	int count = 0;

	check(room > (int)run->mount_count);
	ret_fds[count++] = run->listener;
	for (unsigned i = 0; i < run->mount_count; i++)
		ret_fds[count++] = run->mount_fds[i];
	return count;
}

/* Make a new link and give the worker his end. What the dispatcher needs is
 * kept in child->user until the worker is ready. */
static void give_link(struct child *child)
{
	struct link_fds *fds = child->user;
	const struct control order = { .kind = CONTROL_LINK };
	int all[3];
	int r;

	if (!fds) {
		fds = calloc(1, sizeof(*fds));
		if (!fds)
			goto no_memory;
		child->user = fds;
	} else {
		link_close_fds(fds);
	}
	r = link_create(fds);
	if (r < 0) {
		free(fds);
		child->user = NULL;
		log_error("cannot make a link for %s[%u]: %s", child->group->is.name,
			  child->index, strerror(-r));
		goto failed;
	}
	all[0] = fds->memory;
	all[1] = fds->bell[LINK_DISPATCHER];
	all[2] = fds->bell[LINK_WORKER];
	if (os_channel_send(child->channel, &order, sizeof(order), all, 3) == 0)
		return;
	goto failed;

no_memory:
	log_error("no memory for a link");
failed:
	/* A worker without a link is of no use; its successor gets another. */
	plan_condemn(child->plan, child, CREW_CAUSE_ORDER);
}

/* Tell the dispatcher of a worker that is ready, and give it the link's end. */
static void tell_dispatcher(struct server_run *run, struct child *child)
{
	struct child *dispatcher = plan_child(run->plan, DISPATCHER_GROUP, 0);
	struct link_fds *fds = child->user;
	const struct control order = {
		.kind = CONTROL_LINK_UP,
		.pool = child->group_index - FIRST_POOL_GROUP,
		.index = child->index,
		.generation = child->generation,
		.pid = child->pid,
		.restarts = plan_restarts(run->plan, child->group_index),
	};

	if (!fds || !dispatcher)
		return;
	(void)!os_channel_send(dispatcher->channel, &order, sizeof(order),
			       (int[]){ fds->memory, fds->bell[LINK_DISPATCHER],
					fds->bell[LINK_WORKER] }, 3);
	link_close_fds(fds);
	free(fds);
	child->user = NULL;
}

/* A new dispatcher starts with nothing: renew all links. */
static void dispatcher_spawned(void *context, struct child *dispatcher)
{
	struct server_run *run = context;

	for (unsigned i = FIRST_POOL_GROUP;
	     dispatcher->generation > 1 && i < run->group_count; i++) {
		plan_each(run->plan, i, renew_link, run);
		if (plan_degraded(run->plan, i))
			pool_degraded(run, i, true);
	}
}

static void renew_link(void *context, struct child *child)
{
	give_link(child);
	if (child_is_up(child))
		tell_dispatcher(context, child);
}

static void dispatcher_said(void *context, struct child *child, const void *data,
			    size_t size, int *fds, size_t fd_count)
{
	struct server_run *run = context;
	const struct control *order = data;
	struct child *worker;

	(void)child;
	while (fd_count > 0)
		close(fds[--fd_count]);
	if (size != sizeof(*order) || order->kind != CONTROL_CONDEMN ||
	    order->pool >= run->group_count - FIRST_POOL_GROUP)
		return;
	worker = plan_life(run->plan, order->pool + FIRST_POOL_GROUP, order->index,
			   order->generation);
	if (worker)
		plan_condemn(run->plan, worker, (enum crew_cause)order->cause);
}

static void worker_spawned(void *context, struct child *child)
{
	(void)context;
	give_link(child);
}

static void worker_ready(void *context, struct child *child)
{
	tell_dispatcher(context, child);
}

static void worker_retiring(void *context, struct child *child)
{
	const struct control order = {
		.kind = CONTROL_DRAIN,
		.pool = child->group_index - FIRST_POOL_GROUP,
		.index = child->index,
		.generation = child->generation,
	};

	send_dispatcher(context, &order);
}

static void worker_died(void *context, struct child *child,
			const struct crew_death *death)
{
	struct server_run *run = context;
	const struct control order = {
		.kind = CONTROL_LINK_DOWN,
		.pool = child->group_index - FIRST_POOL_GROUP,
		.index = child->index,
		.generation = child->generation,
		.cause = death->cause,
		.detail = death->signal ? death->signal : death->exit_code,
		.restarts = plan_restarts(run->plan, child->group_index),
	};

	if (child->user) {
		link_close_fds(child->user);
		free(child->user);
		child->user = NULL;
	}
	send_dispatcher(run, &order);
}

static void pool_degraded(void *context, unsigned group, bool degraded)
{
	const struct control order = {
		.kind = CONTROL_DEGRADED,
		.pool = group - FIRST_POOL_GROUP,
		.detail = degraded,
	};

	send_dispatcher(context, &order);
}

static void send_dispatcher(struct server_run *run, const struct control *order)
{
	const struct child *dispatcher = plan_child(run->plan, DISPATCHER_GROUP, 0);

	if (dispatcher)
		(void)!os_channel_send(dispatcher->channel, order, sizeof(*order),
				       NULL, 0);
}

static void reopen(void *context)
{
	struct server_run *run = context;

	become_reopen(&run->become);
}

/* From here on nobody new is let in: the dispatcher drains what the kernel has
 * accepted, and closes its copy of the listener too. */
static void stopping(void *context)
{
	struct server_run *run = context;

	if (run->listener < 0)
		return;
	close(run->listener);
	run->listener = -1;
	address_forget(run->server.listen);
}
