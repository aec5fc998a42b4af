/* SPDX-License-Identifier: MIT */
/*
 * The inside of a worker process: waits for requests on its links, one to each
 * dispatcher, runs the application's handlers one at a time, sends the answers.
 */
#ifndef WORKER_WORKER_H
#define WORKER_WORKER_H

#include <crew/serve.h>

#include "supervise/supervise.h"

struct worker_options {
	const struct crew_pool *pool; /* its app, its timeouts */
	const char *pool_name;
	const struct crew_server *server; /* whose pools can be called; or NULL */
};

/** A worker's life, in the child: setup, readiness, the loop until SIGTERM or
 * until the parent is gone, teardown. Returns the exit code of the process:
 * what setup returned, 0 after an orderly stop, EX_PROTOCOL (76) if the
 * dispatcher's side of the link makes no sense. Blocks. */
int worker_main(struct crew_child *self, const struct worker_options *options);

#endif
