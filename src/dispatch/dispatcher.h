/* SPDX-License-Identifier: MIT */
/*
 * The dispatcher process: the only one that talks to clients. It accepts,
 * parses, routes, queues, hands requests to workers over their links, and
 * writes the answers.
 */
#ifndef DISPATCH_DISPATCHER_H
#define DISPATCH_DISPATCHER_H

#include <crew/serve.h>

#include "dispatch/router.h"
#include "supervise/supervise.h"

struct dispatcher_options {
	const struct crew_server *server; /* all defaults filled in */
	const struct router *router;
	const int *mount_fds;             /* one for each mount */
	int listener;
	unsigned own_group;               /* the number of the dispatchers' group */
	unsigned first_group;             /* the number of the first pool's group */
	uint64_t started_ms;              /* when the program started, monotonic */
};

/** A dispatcher's life, in the child: serves until SIGTERM (then it drains) or
 * until the parent is gone. Returns its exit code. Blocks. */
int dispatcher_main(struct crew_child *self, const struct dispatcher_options *options);

#endif
