/* SPDX-License-Identifier: MIT */
/* What the files of this room share: a server that runs, as its parent knows
 * it. serve.c makes it, links.c tells its children of each other. */
#ifndef SERVE_PRIVATE_H
#define SERVE_PRIVATE_H

#include <crew/serve.h>

#include "base/arena.h"
#include "dispatch/dispatcher.h"
#include "manage/become.h"
#include "supervise/supervise.h"
#include "worker/worker.h"

#define DISPATCHER_GROUP 0u
#define FIRST_POOL_GROUP 1u
#define GROUPS_MAX (FIRST_POOL_GROUP + CREW_POOLS_MAX)

struct server_run {
	struct crew_server server;
	struct arena tables; /* what the server's copy was given by defaults_fill */
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

/* Hooks of the groups; `context` is the struct server_run. */
void links_dispatcher_spawned(void *context, struct child *dispatcher);
void links_dispatcher_said(void *context, struct child *child, const void *data,
			   size_t size, int *fds, size_t fd_count);
void links_worker_spawned(void *context, struct child *child);
void links_worker_ready(void *context, struct child *child);
void links_worker_retiring(void *context, struct child *child);
void links_worker_died(void *context, struct child *child,
		       const struct crew_death *death);
void links_pool_degraded(void *context, unsigned group, bool degraded);

#endif
