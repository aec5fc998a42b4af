/* SPDX-License-Identifier: MIT */
/*
 * What a zero in a public table means. One place, so that the rooms below can
 * rely on numbers that are there.
 */
#include "serve/defaults.h"

#include <errno.h>

#include "base/check.h"
#include "base/error.h"
#include "base/log.h"
#include "serve/routes.h"
#include "serve/settings.h"

static void fill_pool(struct crew_pool *pool);
static bool is_too_long(unsigned spin_us);

#define fill(field, value)              \
	do {                            \
		if (!(field))           \
			(field) = (value); \
	} while (0)

int defaults_fill(const struct crew_server *server, struct arena *arena,
		  struct crew_server *ret_server, struct crew_error *ret_error)
{
	struct crew_server *full = ret_server;
	int r;

	*full = *server;
	fill(full->listen, "127.0.0.1:8080");
	fill(full->listen_mode, 0666);
	fill(full->status_path, "/status");
	fill(full->shutdown_timeout_ms, 10000);
	fill(full->head_timeout_ms, 5000);
	fill(full->body_timeout_ms, 10000);
	fill(full->idle_timeout_ms, 15000);
	fill(full->head_max_bytes, 16384);
	fill(full->body_max_bytes, UINT64_C(8) << 20);
	fill(full->log_level, CREW_INFO);
	fill(full->max_pending, 1000);
	fill(full->dispatchers, 1);
	if (full->dispatchers > CREW_DISPATCHERS_MAX)
		return error_set(ret_error, EINVAL,
				 "the server has %u dispatchers; at most %u are possible",
				 full->dispatchers, CREW_DISPATCHERS_MAX);
	if (full->listen_mode & ~LISTEN_MODE_BITS || !(full->listen_mode & LISTEN_MODE_WRITE))
		return error_set(ret_error, EINVAL,
				 "listen_mode is %#o: it is permissions such as 0666, 0660 or 0600, "
				 "and who may write may connect", full->listen_mode);
	if (full->head_max_bytes > 65536)
		return error_set(ret_error, EINVAL,
				 "head_max_bytes is %u; at most 65536 are possible",
				 full->head_max_bytes);
	if (is_too_long(full->spin_us))
		return error_set(ret_error, EINVAL, "spin_us is %u; at most %u make sense",
				 full->spin_us, SPIN_US_MAX);
	if (full->coalesce_us > COALESCE_US_MAX && full->coalesce_us != CREW_NEVER)
		return error_set(ret_error, EINVAL,
				 "coalesce_us is %u; at most %u make sense",
				 full->coalesce_us, COALESCE_US_MAX);
	for (unsigned i = 0; i < CREW_POOLS_MAX && full->pools[i].app; i++) {
		struct crew_pool *pool = &full->pools[i];

		fill_pool(pool);
		if (is_too_long(pool->spin_us))
			return error_set(ret_error, EINVAL,
					 "pool \"%s\": spin_us is %u; at most %u make sense",
					 pool->name ? pool->name : "", pool->spin_us,
					 SPIN_US_MAX);
		if (pool->kind != CREW_PROCESS && pool->kind != CREW_THREAD)
			return error_set(ret_error, EINVAL,
					 "pool \"%s\": its workers are processes or "
					 "threads; another program cannot answer requests",
					 pool->name ? pool->name : "");
		if (pool->workers > WORKERS_MAX)
			return error_set(ret_error, EINVAL,
					 "pool \"%s\" has %u workers; at most %u are possible",
					 pool->name ? pool->name : "", pool->workers,
					 WORKERS_MAX);
		r = settings_fill(pool, i, arena, ret_error);
		if (r == 0)
			r = routes_flatten(pool, i, arena, ret_error);
		if (r < 0)
			return r;
	}
	return 0;
}

void defaults_tell(const struct crew_server *server, const struct crew_server *full)
{
	char why[120];

	for (unsigned i = 0; i < CREW_POOLS_MAX && server->pools[i].app; i++) {
		if (server->pools[i].workers)
			continue;
		(void)crew_default_count(why, sizeof(why));
		log_info("%s: %u workers (%s)", full->pools[i].name, full->pools[i].workers,
			 why);
	}
}

static bool is_too_long(unsigned spin_us)
{
	return spin_us > SPIN_US_MAX && spin_us != CREW_NEVER;
}

static void fill_pool(struct crew_pool *pool)
{
	char why[120];

	fill(pool->name, pool->app->name);
	fill(pool->workers, crew_default_count(why, sizeof(why)));
	fill(pool->queue_max, 1000);
	fill(pool->queue_timeout_ms, 30000);
	fill(pool->queue_warning, 100);
	fill(pool->idle_interval_ms, 1000);
	fill(pool->request_timeout_ms, 30000);
	fill(pool->boot_timeout_ms, 60000);
	fill(pool->heartbeat_timeout_ms, 60000);
}
