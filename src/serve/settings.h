/* SPDX-License-Identifier: MIT */
/* The settings of a pool: pairs and JSON, checked and joined. */
#ifndef SERVE_SETTINGS_H
#define SERVE_SETTINGS_H

#include <crew/serve.h>

#include "base/arena.h"

/** Check the settings of pool `number`, and replace them by joined ones in the
 * arena: `settings` by all that are text (the pairs, then the strings, numbers
 * and booleans of the JSON object), `settings_json` by the whole object, pairs
 * in it. A pool without settings is left as it is. 0, -ENOMEM, or -EINVAL with
 * an error that names the pool, and the key or the line and column. In the
 * parent, before the fork. */
int settings_fill(struct crew_pool *pool, unsigned number, struct arena *arena,
		  struct crew_error *ret_error);

#endif
