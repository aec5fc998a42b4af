/* SPDX-License-Identifier: MIT */
/* Groups of routes, made into the one flat table that a pool works by. */
#ifndef SERVE_ROUTES_H
#define SERVE_ROUTES_H

#include <crew/serve.h>

#include "base/arena.h"

/** How long a chain of bases may be, its last group counted: longer ones are
 * beyond what a reader follows. */
#define ROUTES_CHAIN_MAX 16u

/** Give pool `number` an application of its own, in the arena, whose `routes`
 * hold the rows of all its groups too, patterns whole and `group` filled in. A
 * pool without groups is left as it is. 0, -ENOMEM, or -EINVAL with an error
 * that names the row that is wrong. In the parent, before the fork. */
int routes_flatten(struct crew_pool *pool, unsigned number, struct arena *arena,
		   struct crew_error *ret_error);

#endif
