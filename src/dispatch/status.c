/* SPDX-License-Identifier: MIT */
/*
 * The built-in pages: /status, /health, /live and /ready. They are answered
 * here, from the scoreboard and the dispatcher's own books, so that they work
 * also when every worker is busy. Keys of /status are added, never renamed.
 */
#include <jansson.h>
#include <stdlib.h>

#include "base/os/os.h"
#include "dispatch/private.h"
#include "http/text.h"

#define load(field) atomic_load_explicit(&(field), memory_order_relaxed)

static json_t *status_all(struct dispatcher *dispatcher);
static json_t *status_dispatcher(const struct score *score);
static json_t *status_pool(struct dispatcher *dispatcher, struct pool *pool,
			   const struct score *const *scores, unsigned count);
static json_t *status_workers(struct dispatcher *dispatcher, const struct pool *pool);
static const struct score **scores_of(const struct dispatcher *dispatcher,
				      unsigned group, unsigned *ret_count);
static int by_index(const void *a, const void *b);
static json_t *status_worker(struct dispatcher *dispatcher, const struct pool *pool,
			     const struct score *score);
static json_t *status_requests(const struct seat *seat);
static json_t *any_text(const char *text);
static const char *pool_state(const struct pool *pool);
static bool ready(const struct dispatcher *dispatcher);
static void answer_json(struct exchange *exchange, int status, json_t *value);

void status_answer(struct exchange *exchange, unsigned page)
{
	struct dispatcher *dispatcher = exchange->connection->dispatcher;
	const bool is_ready = ready(dispatcher);

	switch ((enum status_page)page) {
	case STATUS_PAGE_STATUS:
		answer_json(exchange, 200, status_all(dispatcher));
		return;
	case STATUS_PAGE_READY:
		answer_json(exchange, is_ready ? 200 : 503,
			    json_pack("{s:s}", "status",
				      is_ready ? "ready" : "not ready"));
		return;
	case STATUS_PAGE_HEALTH:
	case STATUS_PAGE_LIVE:
		answer_json(exchange, 200, json_pack("{s:s}", "status", "ok"));
		return;
	}
}

char *status_text(struct dispatcher *dispatcher)
{
	json_t *value = status_all(dispatcher);
	char *text = value ? json_dumps(value, JSON_COMPACT) : NULL;

	json_decref(value);
	return text;
}

static json_t *status_all(struct dispatcher *dispatcher)
{
	const struct score **scores;
	json_t *dispatchers = json_array();
	json_t *pools = json_array();
	unsigned count;

	sisters_note(dispatcher);
	scores = scores_of(dispatcher, dispatcher->options->own_group, &count);
	for (unsigned i = 0; i < count; i++) {
		if (score_state(scores[i]) != CREW_CHILD_DEAD)
			json_array_append_new(dispatchers, status_dispatcher(scores[i]));
	}
	for (unsigned i = 0; i < dispatcher->pool_count; i++)
		json_array_append_new(pools, status_pool(dispatcher, &dispatcher->pools[i],
							 scores, count));
	free(scores);
	return json_pack("{s:s, s:I, s:I, s:o, s:o}",
			 "version", crew_version(),
			 "pid", (json_int_t)dispatcher->self->parent,
			 "uptime_s",
			 (json_int_t)((dispatcher->loop.now_ms -
				       dispatcher->options->started_ms) / 1000),
			 "dispatchers", dispatchers, "pools", pools);
}

static json_t *status_dispatcher(const struct score *score)
{
	const _Atomic uint64_t *figures = score->figures;

	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}",
			 "index", (json_int_t)load(score->index),
			 "pid", (json_int_t)load(score->pid),
			 "generation", (json_int_t)load(score->generation),
			 "connections", (json_int_t)load(score->connections),
			 "served", (json_int_t)load(figures[FIGURE_SERVED]),
			 "bells", (json_int_t)load(score->bells),
			 "spins", (json_int_t)load(figures[FIGURE_SPINS]),
			 "naps", (json_int_t)load(figures[FIGURE_NAPS]),
			 "pending", (json_int_t)load(figures[FIGURE_PENDING]),
			 "calls", (json_int_t)load(figures[FIGURE_CALLS]),
			 "published", (json_int_t)load(figures[FIGURE_PUBLISHED]),
			 "slow_subscribers",
			 (json_int_t)load(figures[FIGURE_SLOW_SUBSCRIBERS]));
}

/* Figures are of all dispatchers; `scores` are theirs. */
static json_t *status_pool(struct dispatcher *dispatcher, struct pool *pool,
			   const struct score *const *scores, unsigned count)
{
	json_int_t sums[FIGURES_A_POOL] = { 0 };

	for (unsigned i = 0; i < count; i++) {
		if (score_state(scores[i]) == CREW_CHILD_DEAD)
			continue;
		for (unsigned j = 0; j < FIGURES_A_POOL; j++)
			sums[j] += (json_int_t)load(
				scores[i]->figures[FIGURE_OF_POOL(pool->number, j)]);
	}
	return json_pack("{s:o, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:o}",
			 "name", any_text(pool->name), "state", pool_state(pool),
			 "queue", sums[FIGURE_QUEUED],
			 "queue_max", (json_int_t)pool->options->queue_max,
			 "in_hand", sums[FIGURE_IN_HAND],
			 "served", sums[FIGURE_POOL_SERVED],
			 "restarts", (json_int_t)pool->restarts,
			 "late_answers", sums[FIGURE_LATE],
			 "workers", status_workers(dispatcher, pool));
}

/* Who is there is told by the scoreboard: also those that boot, those that are
 * leaving, and places whose worker is dead and waits to be started again. */
static json_t *status_workers(struct dispatcher *dispatcher, const struct pool *pool)
{
	const unsigned group =
		dispatcher->options->first_group + pool->number;
	json_t *workers = json_array();
	unsigned count;
	const struct score **scores = scores_of(dispatcher, group, &count);

	for (unsigned i = 0; i < count; i++)
		json_array_append_new(workers,
				      status_worker(dispatcher, pool, scores[i]));
	free(scores);
	return workers;
}

/* The lines of a group, by index and generation; to be freed. None where there is
 * no memory. */
static const struct score **scores_of(const struct dispatcher *dispatcher,
				      unsigned group, unsigned *ret_count)
{
	const struct scoreboard *board = dispatcher->self->board;
	const unsigned used = scoreboard_used(board);
	const struct score **scores = calloc(used, sizeof(*scores));
	unsigned count = 0;

	for (unsigned i = 0; scores && i < used; i++) {
		const struct score *score = scoreboard_line(board, i);

		if (score_state(score) != CREW_CHILD_EMPTY &&
		    load(score->group) == group)
			scores[count++] = score;
	}
	if (count > 0)
		qsort(scores, count, sizeof(const struct score *), by_index);
	*ret_count = count;
	return scores;
}

static int by_index(const void *a, const void *b)
{
	const struct score *left = *(const struct score *const *)a;
	const struct score *right = *(const struct score *const *)b;
	const uint64_t l = (uint64_t)load(left->index) << 32 | load(left->generation);
	const uint64_t r = (uint64_t)load(right->index) << 32 | load(right->generation);

	return (l > r) - (l < r);
}

static json_t *status_worker(struct dispatcher *dispatcher, const struct pool *pool,
			     const struct score *score)
{
	const uint64_t beat = load(score->heartbeat_ms);
	const uint64_t now = dispatcher->loop.now_ms;
	const pid_t pid = load(score->pid);

	return json_pack("{s:I, s:I, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:o}",
			 "index", (json_int_t)load(score->index),
			 "pid", (json_int_t)pid,
			 "state", crew_child_state_name(score_state(score)),
			 "generation", (json_int_t)load(score->generation),
			 "last_seen_ms", (json_int_t)(now > beat ? now - beat : 0),
			 "served", (json_int_t)load(score->served),
			 "rss_bytes", (json_int_t)os_resident_bytes(pid),
			 "bells", (json_int_t)load(score->bells),
			 "moves", (json_int_t)load(score->moves),
			 "requests",
			 status_requests(seat_find(pool, load(score->index),
						   load(score->generation))));
}

static json_t *status_requests(const struct seat *seat)
{
	json_t *requests = json_array();
	const uint64_t now = seat ? seat->dispatcher->loop.now_ms : 0;

	for (uint32_t i = seat ? slots_next(&seat->used_slots, 0) : LINK_SLOTS;
	     i < LINK_SLOTS; i = slots_next(&seat->used_slots, i + 1)) {
		const struct exchange *exchange = seat->slots[i].exchange;
		const char *method;
		const char *path;

		if (!exchange)
			continue;
		exchange_describe(exchange, &method, &path);
		json_array_append_new(
			requests,
			json_pack("{s:I, s:s, s:o, s:s, s:I}",
				  "id", (json_int_t)exchange->id, "method", method,
				  "path", any_text(path), "state",
				  exchange->state == EXCHANGE_ANSWERING ? "answering"
				  : seat->slots[i].at_work		? "at work"
									: "deferred",
				  "age_ms", (json_int_t)(now - exchange->began_ms)));
	}
	return requests;
}

/* What is not UTF-8 becomes U+FFFD: else jansson takes none of it, and the
 * request, or pool, could not be seen. NULL without memory. */
static json_t *any_text(const char *text)
{
	json_t *value = json_string(text);
	const struct span all = span_of(text);
	char *quoted;

	if (value)
		return value;
	quoted = malloc(6 * all.size + 2);
	if (quoted)
		value = json_loadb(quoted, http_json_string(quoted, all), JSON_DECODE_ANY, NULL);
	free(quoted);
	return value;
}

static const char *pool_state(const struct pool *pool)
{
	if (pool->degraded)
		return "degraded";
	return pool_has_workers(pool) ? "ready" : "starting";
}

static bool ready(const struct dispatcher *dispatcher)
{
	for (unsigned i = 0; i < dispatcher->pool_count; i++) {
		if (!pool_has_workers(&dispatcher->pools[i]))
			return false;
	}
	return !dispatcher->draining;
}

static void answer_json(struct exchange *exchange, int status, json_t *value)
{
	static const char headers[] = "Content-Type: application/json\r\n"
				      "Cache-Control: no-store\r\n";
	char *text = value ? json_dumps(value, JSON_COMPACT) : NULL;

	if (text)
		exchange_answer(exchange, status,
				(struct span){ headers, sizeof(headers) - 1 },
				span_of(text));
	else
		exchange_fail(exchange, 500, "out of memory");
	free(text);
	json_decref(value);
}
