/* SPDX-License-Identifier: MIT */
/* The documented defaults of <crew/serve.h>, filled into a copy. */
#ifndef SERVE_DEFAULTS_H
#define SERVE_DEFAULTS_H

#include <crew/serve.h>

#include "base/arena.h"

/* More is no spinning any more, but a process that does nothing else. */
#define SPIN_US_MAX 1000u
/* Who can wait longer for more has time to sleep. */
#define COALESCE_US_MAX 1000u
/* Who asks once a day may as well connect. */
#define IDLE_TIMEOUT_S_MAX (24u * 60u * 60u)
#define WORKERS_MAX 512u /* of one pool: a place each on the scoreboard */
/* What makes up a mode; who may write may connect (unix(7)), so one of them must be there. */
#define LISTEN_MODE_BITS  0777u
#define LISTEN_MODE_WRITE 0222u

/** Copy a server with its zeroes replaced, its groups of routes made flat and its
 * settings read, and check its numbers. What the copy points to and the server
 * does not have lies in `arena`. 0, or -EINVAL with an error that names the
 * field. */
int defaults_fill(const struct crew_server *server, struct arena *arena,
		  struct crew_server *ret_server, struct crew_error *ret_error);
/** Log what was found out by it. */
void defaults_tell(const struct crew_server *server, const struct crew_server *full);

#endif
