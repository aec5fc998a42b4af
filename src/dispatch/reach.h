/* SPDX-License-Identifier: MIT */
/* What the order of routing leaves without a request. */
#ifndef DISPATCH_REACH_H
#define DISPATCH_REACH_H

#include <crew/serve.h>

/** Look for what no client can reach, in tables that are otherwise valid. A pool's prefix
 * whose paths are another pool's is refused (-EINVAL, with an error that names both); routes
 * are warned of in the log, since crew_call() with the pool's name reaches them all the
 * same. In the parent, before the fork. */
int reach_check(const struct crew_server *server, struct crew_error *ret_error);

/** Does pattern `a` match each path that `b` matches? Both without methods. */
bool reach_covers(const char *a, const char *b);
/** Is there a path that both match? */
bool reach_meets(const char *a, const char *b);

#endif
