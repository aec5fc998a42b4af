/* SPDX-License-Identifier: MIT */
/* What the files of this room share: a server that runs, as its parent knows
 * it. serve.c makes it, links.c tells its children of each other, configs.c
 * passes on what is to be configured, orders.c sees that dispatchers are told, groups.c
 * keeps what runs beside the pools. */
#ifndef SERVE_PRIVATE_H
#define SERVE_PRIVATE_H

#include <crew/serve.h>

#include "base/arena.h"
#include "dispatch/dispatcher.h"
#include "manage/become.h"
#include "manage/group_tables.h"
#include "base/loop.h"
#include "serve/address.h"
#include "supervise/supervise.h"
#include "transport/control.h"
#include "transport/link.h"
#include "worker/worker.h"

#define DISPATCHER_GROUP 0u
#define FIRST_POOL_GROUP 1u
#define GROUPS_MAX (FIRST_POOL_GROUP + CREW_POOLS_MAX + CREW_GROUPS_MAX)

/* What a dispatcher has no room for now (orders.c). */
struct orders {
	struct list waiting;
	unsigned files;      /* passed on, that wait */
	uint64_t files_bytes;
	unsigned missed;     /* since it takes none */
};

struct server_run {
	const struct crew_server *given; /* whose copy `server` is */
	struct crew_server server;
	struct arena tables; /* what the server's copy was given by defaults_fill */
	struct router *router;
	struct become become;
	int listeners[CREW_DISPATCHERS_MAX]; /* of each dispatcher; -1: none */
	char listening_on[128];
	struct address_file listening_file;
	int mount_fds[CREW_MOUNTS_MAX];
	unsigned mount_count;
	struct group groups[GROUPS_MAX]; /* the dispatchers, the pools, then the server's own */
	unsigned group_count;
	unsigned pool_count;
	struct crew_group own_groups[CREW_GROUPS_MAX + 1]; /* as in the server, by whole paths */
	struct kept_paths own_paths[CREW_GROUPS_MAX];
	unsigned own_count;
	struct dispatcher_options dispatchers[CREW_DISPATCHERS_MAX];
	struct worker_options workers[CREW_POOLS_MAX];
	struct plan *plan;
	int configs[CREW_POOLS_MAX]; /* the last one of each pool: a file; -1: none */
	struct timer config_retry;
	struct orders orders[CREW_DISPATCHERS_MAX]; /* that each has still to be told */
	struct timer orders_retry;
	struct timer links_retry; /* to workers that did not take theirs */
	struct control deaths[CONTROL_DEATHS]; /* of workers; the last ones that nobody ordered */
	uint64_t death_count; /* so far; the next one's place, modulo CONTROL_DEATHS */
};

/* What the parent notes of each life of a worker (child->user). */
struct worker_book {
	/* For each dispatcher, until the worker is ready. */
	struct link_fds fds[CREW_DISPATCHERS_MAX];
	bool config_behind;   /* it did not take the last configuration */
	bool link_behind[CREW_DISPATCHERS_MAX]; /* nor its link to that one */
};

void links_init(struct server_run *run);
/* Hooks of the groups; `context` is the struct server_run. */
void links_dispatcher_spawned(void *context, struct child *dispatcher);
void links_dispatcher_said(void *context, struct child *child, const void *data,
			   size_t size, int *fds, size_t fd_count);
void links_worker_said(void *context, struct child *child, const void *data,
		       size_t size, int *fds, size_t fd_count);
void links_worker_spawned(void *context, struct child *child);
void links_worker_ready(void *context, struct child *child);
void links_worker_retiring(void *context, struct child *child);
void links_worker_died(void *context, struct child *child,
		       const struct crew_death *death);
void links_pool_degraded(void *context, unsigned group, bool degraded);

/* Look at the server's groups and note them, while we are still in the directory in which we were
 * started. 0, or -errno with the row that is wrong. */
int groups_take(struct server_run *run, struct crew_error *ret_error);
/* Add them to those of the plan, behind the pools. */
void groups_add(struct server_run *run);
/* Tell a new dispatcher how they are. */
void groups_tell_new(struct server_run *run, unsigned dispatcher);
void groups_fini(struct server_run *run);

/* Tell a dispatcher, if it is there, now or as soon as it can hear; the descriptors become
 * ours. */
void orders_give(struct server_run *run, unsigned dispatcher, const struct control *order,
		 const int *fds, size_t fd_count);
/* The same with a copy of a file of another's events. Who takes none while more than all others
 * bring in a second wait for it, or than its share of a quarter of our descriptors, misses them,
 * which is logged. */
void orders_pass_on(struct server_run *run, unsigned dispatcher, const struct control *order,
		    int file);
/* It is dead, or all is over. */
void orders_forget(struct server_run *run, unsigned dispatcher);
void orders_init(struct server_run *run);

/* A configuration that came (its file becomes ours): keep it, and pass it on. */
void configs_take(struct server_run *run, const struct child *from, int fd);
/* Give a new worker the last one of its pool. */
void configs_give(struct server_run *run, struct child *child);
void configs_init(struct server_run *run);
void configs_fini(struct server_run *run);

#endif
