/* SPDX-License-Identifier: MIT */
/*
 * The composition root: from a table of pools and routes to running processes.
 * It lives in the parent, which owns the listeners; what a new worker or a new
 * dispatcher is given, and who is told of whom, stands in links.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <crew/serve.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/os/os.h"
#include "base/path.h"
#include "dispatch/root.h"
#include "serve/address.h"
#include "serve/defaults.h"
#include "serve/private.h"

#define LOCAL "unix:"

#define STOP_SLACK_MS 2000u
#define WORKER_STOP_MS 5000u

static int check_tables(struct server_run *run, struct crew_error *ret_error);
static int prepare(struct server_run *run, struct crew_error *ret_error);
static int make_plan(struct server_run *run, struct crew_error *ret_error);
static int start(struct server_run *run, struct crew_error *ret_error);
static void set_log(const struct crew_server *server);
static int listen_all(struct server_run *run, struct crew_error *ret_error);
static void warn_of_one_client(const struct crew_server *server);
static void warn_of_links(void);
static int stay_put(struct server_run *run, struct crew_error *ret_error);
static int make_absolute(struct server_run *run, const char *prefix, const char *path,
			 const char **ret_path);
static int open_mounts(struct server_run *run, struct crew_error *ret_error);
static void make_groups(struct server_run *run);
static unsigned longer(unsigned ms, unsigned by_ms);
static void make_pool_group(struct server_run *run, unsigned number);
static void clean_up(struct server_run *run);
static int run_dispatcher(struct crew_child *self);
static int run_worker(struct crew_child *self);
static int dispatcher_keeps(const struct crew_child *self, int *ret_fds, int room);
static bool close_listeners(struct server_run *run);
static void stopping(void *context);
static void reopen(void *context);

int crew_serve(const struct crew_server *server, struct crew_error *ret_error)
{
	struct server_run *run = calloc(1, sizeof(*run));
	struct crew_error error = { 0 };
	int r;

	if (!run) {
		error_set(ret_error, ENOMEM, "no memory for the server");
		return CREW_EXIT_FAILED;
	}
	become_hold_signals(&run->become);
	for (unsigned i = 0; i < CREW_DISPATCHERS_MAX; i++)
		run->listeners[i] = -1;
	configs_init(run);
	orders_init(run);
	links_init(run);
	os_hold_standard_streams();
	log_init();
	set_log(server);
	run->given = server;
	r = defaults_fill(server, &run->tables, &run->server, &error);
	if (r == 0)
		r = check_tables(run, &error);
	if (r == 0)
		r = stay_put(run, &error);
	if (r == 0)
		r = become_begin(&run->become, &run->server.daemon, &error);
	if (r == 1) { /* the daemon is up: this is who was called */
		log_forget_taker(server->on_log, server->on_log_context);
		clean_up(run);
		return CREW_EXIT_OK;
	}
	if (r == 0)
		r = prepare(run, &error);
	if (r == 0)
		r = start(run, &error);
	if (r == 0) {
		r = plan_run(run->plan);
		if (r == 3)
			error_set(&error, ECHILD, "no worker, or no dispatcher, ever "
				  "came up, or no child of a group; its last lines are in "
				  "the log");
	} else {
		r = become_exit_code(&run->become, r);
	}
	r = r < 0 ? CREW_EXIT_FAILED : r;
	plan_free(run->plan);
	run->plan = NULL;
	if (ret_error && error.text[0])
		*ret_error = error;
	become_end(&run->become, r, error.text[0] ? error.text : NULL);
	log_forget_taker(server->on_log, server->on_log_context);
	clean_up(run);
	return r;
}

static int check_tables(struct server_run *run, struct crew_error *ret_error)
{
	const struct crew_server *server = &run->server;
	int r;

	if (!server->pools[0].app && !server->local && !server->mounts[0].at)
		return error_set(ret_error, EINVAL,
				 "the server has no pool, no local route and no "
				 "mount: there is nothing to serve");
	r = router_new(server, &run->router, ret_error);
	return r < 0 ? r : groups_take(run, ret_error);
}

/* Before anything is said. */
static void set_log(const struct crew_server *server)
{
	log_set_level(server->log_level ? (int)server->log_level : CREW_INFO);
	log_set_form(server->log_form);
	log_set_taker(server->on_log, server->on_log_context);
}

/* What needs privileges, which are given up at the end of it. */
static int prepare(struct server_run *run, struct crew_error *ret_error)
{
	int r = open_mounts(run, ret_error);

	if (r == 0)
		r = listen_all(run, ret_error);
	if (r == 0)
		r = make_plan(run, ret_error);
	return r < 0 ? r : become_ready(&run->become, run->plan, ret_error);
}

static int listen_all(struct server_run *run, struct crew_error *ret_error)
{
	const struct crew_server *server = &run->server;
	int r = address_listen(server->listen, server->dispatchers > 1, server->listen_mode,
			       run->listening_on, sizeof(run->listening_on), ret_error);

	if (r >= 0)
		run->listening_file = address_file(server->listen);
	for (unsigned i = 0; r >= 0; i++) {
		run->listeners[i] = r;
		if (i + 1 == server->dispatchers)
			return 0;
		r = address_listen_too(run->listeners[0], server->listen, ret_error);
	}
	return r;
}

static int make_plan(struct server_run *run, struct crew_error *ret_error)
{
	struct plan_options options = {
		.groups = run->groups,
		.context = run,
		.take_signals = true,
		.raise_descriptors = true, /* each client takes one */
		.log_repeat_ms = run->server.log_repeat_ms,
		.stopping = stopping,
		.reopen = reopen,
	};

	make_groups(run);
	options.group_count = run->group_count;
	return plan_new(&options, &run->plan, ret_error);
}

static int start(struct server_run *run, struct crew_error *ret_error)
{
	int r;

	defaults_tell(run->given, &run->server);
	log_info("crew %s listening on %s", crew_version(), run->listening_on);
	warn_of_one_client(&run->server);
	warn_of_links();
	become_watch(&run->become, plan_loop(run->plan));
	r = plan_start(run->plan);
	if (r < 0)
		return error_set(ret_error, -r, "cannot start the processes: %s",
				 strerror(-r));
	become_up(&run->become);
	return 0;
}

/* Whoever connects there has the same address, or none. */
static void warn_of_one_client(const struct crew_server *server)
{
	if (strncmp(server->listen, LOCAL, strlen(LOCAL)) != 0)
		return;
	for (unsigned i = 0; i < CREW_POOLS_MAX && server->pools[i].app; i++) {
		const struct crew_pool *pool = &server->pools[i];

		if (pool->queue_client_max && pool->queue_client_max < pool->queue_max)
			log_warning("pool \"%s\": all clients of a Unix socket count as one: "
				    "queue_client_max bounds the whole queue, to %u",
				    pool->name, pool->queue_client_max);
	}
}

static void warn_of_links(void)
{
	if (root_refuses_links())
		log_warning("openat2(2) is refused here (%s): links below mounts are not followed",
			    strerror(root_refuses_links()));
}

/* Relative names mean what they mean here, in whatever directory we are later. A mount's is
 * looked up again if its directory is removed. */
static int stay_put(struct server_run *run, struct crew_error *ret_error)
{
	const struct crew_daemon *daemon = &run->server.daemon;
	const char *listen = run->server.listen;
	const size_t prefix = strlen(LOCAL);
	const bool moves = daemon->detach || daemon->directory;
	int r = 0;

	/* What is none is told of later; what begins with @ is no file (unix(7)). */
	if (moves && strncmp(listen, LOCAL, prefix) == 0 && listen[prefix] &&
	    listen[prefix] != '@')
		r = make_absolute(run, LOCAL, listen + prefix, &run->server.listen);
	for (unsigned i = 0; r == 0 && i < CREW_MOUNTS_MAX && run->server.mounts[i].at; i++) {
		const char *root = run->server.mounts[i].root;

		if (root && root[0])
			r = make_absolute(run, "", root, &run->server.mounts[i].root);
	}
	return r < 0 ? error_set(ret_error, -r, "the name of this directory: %s", strerror(-r))
		     : 0;
}

static int make_absolute(struct server_run *run, const char *prefix, const char *path,
			 const char **ret_path)
{
	char *whole = NULL;
	char *kept;
	size_t size;
	int r = path_absolute(path, &whole);

	if (r < 0)
		return r;
	size = strlen(prefix) + strlen(whole) + 1;
	kept = arena_alloc(&run->tables, size);
	if (kept) {
		snprintf(kept, size, "%s%s", prefix, whole);
		*ret_path = kept;
	}
	free(whole);
	return kept ? 0 : -ENOMEM;
}

static int open_mounts(struct server_run *run, struct crew_error *ret_error)
{
	for (unsigned i = 0; i < CREW_MOUNTS_MAX && run->server.mounts[i].at; i++) {
		const struct crew_mount *mount = &run->server.mounts[i];
		int fd = root_open(mount->root);

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
			.name = DISPATCHER_NAME,
			.run = run_dispatcher,
			.argument = run,
			.count = server->dispatchers,
			.notify = true,
			.boot_timeout_ms = 10000,
			.heartbeat_timeout_ms = 10000,
			.stop_timeout_ms = longer(server->shutdown_timeout_ms, STOP_SLACK_MS),
			.max_descriptors = CREW_NEVER,
			.stop_order = 0,
			.fixed = true,
		},
		.raw = true,
		.keep = dispatcher_keeps,
		.spawned = links_dispatcher_spawned,
		.message = links_dispatcher_said,
	};
	run->group_count = FIRST_POOL_GROUP;
	for (unsigned i = 0; i < CREW_POOLS_MAX && server->pools[i].app; i++)
		make_pool_group(run, i);
	run->pool_count = run->group_count - FIRST_POOL_GROUP;
	groups_add(run);
	for (unsigned i = 0; i < server->dispatchers; i++)
		run->dispatchers[i] = (struct dispatcher_options){
			.server = server,
			.router = run->router,
			.mount_fds = run->mount_fds,
			.listener = run->listeners[i],
			.own_group = DISPATCHER_GROUP,
			.first_group = FIRST_POOL_GROUP,
			.started_ms = clock_now_ms(),
		};
}

/* Never stays never. */
static unsigned longer(unsigned ms, unsigned by_ms)
{
	return ms > CREW_NEVER - by_ms ? CREW_NEVER : ms + by_ms;
}

static void make_pool_group(struct server_run *run, unsigned number)
{
	const struct crew_pool *pool = &run->server.pools[number];

	run->workers[number] = (struct worker_options){ pool, pool->name,
						      &run->server };
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
			.degraded_retry_ms = pool->degraded_retry_ms,
			.max_rss_bytes = pool->max_rss_bytes,
			.log_level = pool->log_level,
			.stop_order = 1,
		},
		.raw = true,
		/* What it has begun may take its whole time. */
		.retire_timeout_ms = longer(pool->request_timeout_ms, WORKER_STOP_MS),
		.spawned = links_worker_spawned,
		.message = links_worker_said,
		.ready = links_worker_ready,
		.retiring = links_worker_retiring,
		.died = links_worker_died,
		.degraded = links_pool_degraded,
	};
}

static void clean_up(struct server_run *run)
{
	plan_free(run->plan);
	configs_fini(run);
	for (unsigned i = 0; i < CREW_DISPATCHERS_MAX; i++)
		orders_forget(run, i);
	close_listeners(run);
	for (unsigned i = 0; i < run->mount_count; i++)
		close(run->mount_fds[i]);
	router_free(run->router);
	groups_fini(run);
	arena_fini(&run->tables);
	free(run);
}

static int run_dispatcher(struct crew_child *self)
{
	const struct server_run *run = self->argument;

	return dispatcher_main(self, &run->dispatchers[self->index]);
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
	ret_fds[count++] = run->listeners[self->index];
	for (unsigned i = 0; i < run->mount_count; i++)
		ret_fds[count++] = run->mount_fds[i];
	return count;
}

static void reopen(void *context)
{
	struct server_run *run = context;

	become_reopen(&run->become);
}

static bool close_listeners(struct server_run *run)
{
	const bool open = run->listeners[0] >= 0;

	for (unsigned i = 0; i < CREW_DISPATCHERS_MAX; i++) {
		if (run->listeners[i] >= 0)
			close(run->listeners[i]);
		run->listeners[i] = -1;
	}
	return open;
}

/* From here on nobody new is let in: each dispatcher drains what the kernel has
 * accepted, and closes its copy of its listener too. */
static void stopping(void *context)
{
	struct server_run *run = context;

	if (close_listeners(run))
		address_forget(run->server.listen, run->listening_file);
}
