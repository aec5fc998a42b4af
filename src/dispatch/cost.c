/* SPDX-License-Identifier: MIT */
/*
 * What requests take, by their routes: of the worker's time, by which it is chosen
 * who gets the next one (choose.c), and of our memory, if an answer has to wait for
 * others of its connection. Both are learned from those that were answered.
 */
#include <errno.h>
#include <stdlib.h>

#include "dispatch/private.h"

static size_t row_of(const struct pool *pool, const struct exchange *exchange);

int pool_init_costs(struct pool *pool)
{
	const struct crew_route *routes = pool->options->app->routes;

	while (routes && routes[pool->route_count].on)
		pool->route_count++;
	pool->costs = malloc((pool->route_count + 1) * sizeof(*pool->costs));
	pool->sizes = calloc(pool->route_count + 1, sizeof(*pool->sizes));
	for (size_t i = 0; pool->costs && i <= pool->route_count; i++)
		pool->costs[i] = (struct cost){ PACK_US * 1000u, UINT32_MAX };
	return pool->costs && pool->sizes ? 0 : -ENOMEM;
}

void pool_fini_costs(struct pool *pool)
{
	free(pool->costs);
	free(pool->sizes);
}

struct cost *pool_cost(struct pool *pool, const struct exchange *exchange)
{
	return &pool->costs[row_of(pool, exchange)];
}

uint32_t pool_size_of(const struct pool *pool, const struct exchange *exchange)
{
	return pool->sizes[row_of(pool, exchange)];
}

/* It does not become less: who asks for many small ones could make us forget large ones. */
void pool_note_size(struct pool *pool, const struct exchange *exchange)
{
	uint32_t *noted = &pool->sizes[row_of(pool, exchange)];
	const uint32_t size = exchange->answer_sent < SIZE_NOTED_BYTES
				      ? (uint32_t)exchange->answer_sent
				      : SIZE_NOTED_BYTES;

	if (*noted < size)
		*noted = size;
}

/* The average moves by an eighth; one very slow answer counts as a millisecond,
 * so that a route is soon believed to be fast again, and as no more than some times the
 * average: among quick ones it may be that its worker was taken its processor. The peak counts
 * each as what it took: who stands behind one like it would have waited for that. */
void pool_note_service(struct cost *cost, uint32_t service_us)
{
	const uint32_t limited = service_us > 1000 ? 1000 : service_us;
	const int64_t most = (int64_t)cost->ns * OUTLIER_TIMES;
	int64_t sample = (int64_t)limited * 1000 + 500;

	sample = sample < most ? sample : most;
	cost->ns = (uint32_t)(cost->ns + (sample - (int64_t)cost->ns) / 8);
	if (cost->peak_us == UINT32_MAX || service_us >= cost->peak_us)
		cost->peak_us = service_us < PEAK_MAX_US ? service_us : PEAK_MAX_US;
	else
		cost->peak_us -= (cost->peak_us - service_us + 7) / 8;
}

void pool_note_silence(struct cost *cost, uint64_t silent_ms)
{
	const uint32_t us = silent_ms < PEAK_MAX_US / 1000u ? (uint32_t)silent_ms * 1000u
							    : PEAK_MAX_US;

	if (cost->peak_us < us)
		cost->peak_us = us;
}

static size_t row_of(const struct pool *pool, const struct exchange *exchange)
{
	const struct crew_route *routes = pool->options->app->routes;
	const size_t row = exchange->route && routes ? (size_t)(exchange->route - routes)
						     : pool->route_count;

	return row < pool->route_count ? row : pool->route_count;
}
