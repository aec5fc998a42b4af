/* SPDX-License-Identifier: MIT */
/*
 * Configurations, on their way from whoever sends one to all workers of a pool.
 * They go through the parent, since it outlives all others: it keeps the last
 * one of each pool for workers that are still to come. A configuration is a file
 * in memory, so that its size does not matter to the channels.
 *
 * A worker that takes nothing for so long that its channel is full, or that cannot
 * be told for want of memory or of room for descriptors, misses those in between,
 * but not the last: it is offered again until it is taken. The order
 * is kept in any case.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/os/os.h"
#include "serve/private.h"
#include "transport/control.h"

#define RETRY_MS 100u

static int pool_of(const struct server_run *run, int fd);
static void offer(void *context, struct child *child);
static void offer_again(void *context, struct child *child);
static void retry(struct loop *loop, struct timer *timer);

void configs_init(struct server_run *run)
{
	for (unsigned i = 0; i < CREW_POOLS_MAX; i++)
		run->configs[i] = -1;
	run->config_retry.fire = retry;
}

void configs_fini(struct server_run *run)
{
	for (unsigned i = 0; i < CREW_POOLS_MAX; i++) {
		if (run->configs[i] >= 0)
			close(run->configs[i]);
		run->configs[i] = -1;
	}
}

void configs_take(struct server_run *run, const struct child *from, int fd)
{
	const int pool = pool_of(run, fd);

	if (pool < 0) {
		log_error("a configuration of %s[%u] is dropped: %s", from->group->is.name,
			  from->index, pool == -EMSGSIZE ? "it is too large"
						     : "its pool is not there");
		os_close_each(&fd, 1);
		return;
	}
	if (run->configs[pool] >= 0)
		close(run->configs[pool]);
	run->configs[pool] = fd;
	plan_each(run->plan, FIRST_POOL_GROUP + (unsigned)pool, offer, run);
}

void configs_give(struct server_run *run, struct child *child)
{
	if (run->configs[child->group_index - FIRST_POOL_GROUP] >= 0)
		offer(run, child);
}

/* The file begins with the pool's name and a NUL. -ENOENT; -EMSGSIZE if what follows is larger
 * than any worker's library lets it be. */
static int pool_of(const struct server_run *run, int fd)
{
	size_t size;
	const char *text = os_map_file(fd, &size);
	int found = -ENOENT;

	if (!text)
		return -ENOENT;
	for (int i = 0; found == -ENOENT && i < CREW_POOLS_MAX && run->server.pools[i].app; i++) {
		const char *name = run->server.pools[i].name;

		if (strlen(name) < size && memcmp(text, name, strlen(name) + 1) == 0)
			found = size - strlen(name) - 1 > CONFIG_MAX_BYTES ? -EMSGSIZE : i;
	}
	os_unmap_file((void *)(uintptr_t)text, size);
	return found;
}

static void offer(void *context, struct child *child)
{
	struct server_run *run = context;
	struct worker_book *book = child->user;
	const struct control order = { .kind = CONTROL_CONFIG };
	struct loop *loop = plan_loop(run->plan);
	int r;

	if (!book)
		return;
	r = os_channel_send(child->channel, &order, sizeof(order),
			    &run->configs[child->group_index - FIRST_POOL_GROUP], 1);
	if (os_channel_is_full(r) && !book->config_behind)
		log_warning("%s[%u] does not take its configurations: it gets the last "
			    "one as soon as it does",
			    child->group->is.name, child->index);
	book->config_behind = os_channel_is_full(r);
	if (book->config_behind && !loop_timer_is_set(&run->config_retry))
		loop_timer_set(loop, &run->config_retry, loop->now_ms + RETRY_MS);
}

static void offer_again(void *context, struct child *child)
{
	const struct worker_book *book = child->user;

	if (book && book->config_behind)
		offer(context, child);
}

static void retry(struct loop *loop, struct timer *timer)
{
	struct server_run *run = container_of(timer, struct server_run, config_retry);

	(void)loop;
	for (unsigned i = FIRST_POOL_GROUP; i < FIRST_POOL_GROUP + run->pool_count; i++)
		plan_each(run->plan, i, offer_again, run);
}
