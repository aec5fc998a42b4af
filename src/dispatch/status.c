/* SPDX-License-Identifier: MIT */
/*
 * The built-in pages: /status, /health, /live and /ready. They are answered
 * here, from the scoreboard and the dispatcher's own books, so that they work
 * also when every worker is busy. Keys of /status are added, never renamed.
 *
 * The text is written at once, without a tree of values: there may be thousands of
 * requests in it, and meanwhile the dispatcher does nothing else. Where there is no memory
 * for all of it there is no page.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/os/os.h"
#include "dispatch/private.h"
#include "http/text.h"

#define load(field) atomic_load_explicit(&(field), memory_order_relaxed)

/* JSON, as far as it is written. */
struct page {
	struct buffer text;
	bool failed; /* there was no memory for some of it */
};

/* Of the scoreboard. */
struct line {
	const struct score *score;
	const struct score_owner *owner;
};

static void say_all(struct page *page, struct dispatcher *dispatcher);
static void say_dispatcher(struct page *page, const struct line *line);
static void say_deaths(struct page *page, const struct dispatcher *dispatcher);
static void say_pool(struct page *page, struct dispatcher *dispatcher, struct pool *pool,
		     const struct line *lines, unsigned count);
static void say_workers(struct page *page, struct dispatcher *dispatcher,
			const struct pool *pool);
static struct line *lines_of(const struct dispatcher *dispatcher, unsigned group,
			     unsigned *ret_count);
static int by_index(const void *a, const void *b);
static void say_worker(struct page *page, struct dispatcher *dispatcher,
		       const struct pool *pool, const struct line *line);
static void say_requests(struct page *page, const struct seat *seat);
static void say_group(struct page *page, const struct dispatcher *dispatcher, unsigned number);
static void say_who(struct page *page, const struct dispatcher *dispatcher,
		    const struct line *line);
static bool is_up(const struct line *line);
static const char *pool_state(const struct pool *pool);
static bool ready(const struct dispatcher *dispatcher);
static void answer_page(struct exchange *exchange, int status, struct page *page);
static void begin(struct page *page, const char *name, char bracket);
static void end(struct page *page, char bracket);
static void number(struct page *page, const char *name, int64_t value);
static void text(struct page *page, const char *name, const char *value);

void status_answer(struct exchange *exchange, unsigned which)
{
	struct dispatcher *dispatcher = exchange->connection->dispatcher;
	const bool is_ready = ready(dispatcher);
	struct page page = { 0 };

	if (which == STATUS_PAGE_STATUS) {
		say_all(&page, dispatcher);
		answer_page(exchange, 200, &page);
		return;
	}
	begin(&page, NULL, '{');
	text(&page, "status", which != STATUS_PAGE_READY ? "ok"
			      : is_ready		 ? "ready"
							 : "not ready");
	end(&page, '}');
	answer_page(exchange, which == STATUS_PAGE_READY && !is_ready ? 503 : 200, &page);
}

char *status_text(struct dispatcher *dispatcher)
{
	struct page page = { 0 };
	struct span all;
	char *copy = NULL;

	say_all(&page, dispatcher);
	all = buffer_span(&page.text);
	if (!page.failed)
		copy = strndup(all.at, all.size);
	buffer_fini(&page.text);
	return copy;
}

void status_note_death(struct dispatcher *dispatcher, const struct control *death)
{
	if (death->cause != CREW_CAUSE_ORDER)
		dispatcher->deaths[dispatcher->death_count++ % CONTROL_DEATHS] = *death;
}

void status_note_group(struct dispatcher *dispatcher, const struct control *group)
{
	if (group->pool < CREW_GROUPS_MAX)
		dispatcher->groups[group->pool] = *group;
}

static void say_all(struct page *page, struct dispatcher *dispatcher)
{
	const struct crew_group *groups = dispatcher->server->groups;
	struct line *lines;
	unsigned count;

	sisters_note(dispatcher);
	lines = lines_of(dispatcher, dispatcher->options->own_group, &count);
	page->failed = !lines;
	begin(page, NULL, '{');
	text(page, "version", crew_version());
	number(page, "pid", dispatcher->self->parent);
	number(page, "uptime_s", (int64_t)((dispatcher->loop.now_ms -
					    dispatcher->options->started_ms) / 1000));
	begin(page, "dispatchers", '[');
	for (unsigned i = 0; i < count; i++) {
		if (score_state(lines[i].score) != CREW_CHILD_DEAD)
			say_dispatcher(page, &lines[i]);
	}
	end(page, ']');
	begin(page, "pools", '[');
	for (unsigned i = 0; i < dispatcher->pool_count; i++)
		say_pool(page, dispatcher, &dispatcher->pools[i], lines, count);
	end(page, ']');
	begin(page, "groups", '[');
	for (unsigned i = 0; groups && groups[i].name; i++)
		say_group(page, dispatcher, i);
	end(page, ']');
	say_deaths(page, dispatcher);
	end(page, '}');
	free(lines);
}

/* The newest is the first. */
static void say_deaths(struct page *page, const struct dispatcher *dispatcher)
{
	const uint64_t count = dispatcher->death_count;

	begin(page, "deaths", '[');
	for (uint64_t i = 1; i <= count && i <= CONTROL_DEATHS; i++) {
		const struct control *death = &dispatcher->deaths[(count - i) % CONTROL_DEATHS];

		begin(page, NULL, '{');
		text(page, "pool", dispatcher->pools[death->pool].name);
		number(page, "index", death->index);
		number(page, "generation", death->generation);
		number(page, "pid", death->pid);
		number(page, "at", death->at);
		text(page, "cause", crew_cause_name((enum crew_cause)death->cause));
		if (death->signal) {
			number(page, "signal", death->signal);
			text(page, "name", os_signal_name(death->signal));
		} else if (death->detail >= 0) {
			number(page, "exit_code", death->detail);
		}
		end(page, '}');
	}
	end(page, ']');
}

static void say_dispatcher(struct page *page, const struct line *line)
{
	const struct score *score = line->score;
	const _Atomic uint64_t *figures = score->figures;

	begin(page, NULL, '{');
	number(page, "index", load(line->owner->index));
	number(page, "pid", load(line->owner->pid));
	number(page, "generation", load(line->owner->generation));
	number(page, "connections", (int64_t)load(score->connections));
	number(page, "served", (int64_t)load(figures[FIGURE_SERVED]));
	number(page, "bells", (int64_t)load(score->bells));
	number(page, "spins", (int64_t)load(figures[FIGURE_SPINS]));
	number(page, "awaited", (int64_t)load(figures[FIGURE_AWAITED]));
	number(page, "naps", (int64_t)load(figures[FIGURE_NAPS]));
	number(page, "pending", (int64_t)load(figures[FIGURE_PENDING]));
	number(page, "calls", (int64_t)load(figures[FIGURE_CALLS]));
	number(page, "calls_failed", (int64_t)load(figures[FIGURE_CALLS_FAILED]));
	number(page, "published", (int64_t)load(figures[FIGURE_PUBLISHED]));
	number(page, "slow_subscribers", (int64_t)load(figures[FIGURE_SLOW_SUBSCRIBERS]));
	end(page, '}');
}

/* Figures are of all dispatchers; `lines` are theirs. */
static void say_pool(struct page *page, struct dispatcher *dispatcher, struct pool *pool,
		     const struct line *lines, unsigned count)
{
	int64_t sums[FIGURES_A_POOL] = { 0 };

	for (unsigned i = 0; i < count; i++) {
		if (score_state(lines[i].score) == CREW_CHILD_DEAD)
			continue;
		for (unsigned j = 0; j < FIGURES_A_POOL; j++)
			sums[j] += (int64_t)load(
				lines[i].score->figures[FIGURE_OF_POOL(pool->number, j)]);
	}
	begin(page, NULL, '{');
	text(page, "name", pool->name);
	text(page, "state", pool_state(pool));
	number(page, "queue", sums[FIGURE_QUEUED]);
	number(page, "queue_max", pool->options->queue_max);
	number(page, "in_hand", sums[FIGURE_IN_HAND]);
	number(page, "served", sums[FIGURE_POOL_SERVED]);
	number(page, "restarts", (int64_t)pool->restarts);
	number(page, "late_answers", sums[FIGURE_LATE]);
	say_workers(page, dispatcher, pool);
	end(page, '}');
}

/* Who is there is told by the scoreboard: also those that boot, those that are
 * leaving, and places whose worker is dead and waits to be started again. */
static void say_workers(struct page *page, struct dispatcher *dispatcher,
			const struct pool *pool)
{
	unsigned count;
	struct line *lines = lines_of(
		dispatcher, dispatcher->options->first_group + pool->number, &count);

	page->failed = page->failed || !lines;
	begin(page, "workers", '[');
	for (unsigned i = 0; i < count; i++)
		say_worker(page, dispatcher, pool, &lines[i]);
	end(page, ']');
	free(lines);
}

/* The lines of a group, by index and generation; to be freed. None where there is
 * no memory. */
static struct line *lines_of(const struct dispatcher *dispatcher, unsigned group,
			     unsigned *ret_count)
{
	const struct scoreboard *board = dispatcher->self->board;
	const unsigned used = scoreboard_used(board);
	struct line *lines = calloc(used, sizeof(*lines));
	const struct score *score = NULL;
	unsigned count = 0;

	/* There may be more of them by now. */
	while (lines && count < used && (score = scoreboard_next(board, group, score)))
		lines[count++] = (struct line){ score, scoreboard_owner(board, score) };
	if (count > 0)
		qsort(lines, count, sizeof(*lines), by_index);
	*ret_count = count;
	return lines;
}

static int by_index(const void *a, const void *b)
{
	const struct score_owner *left = ((const struct line *)a)->owner;
	const struct score_owner *right = ((const struct line *)b)->owner;
	const uint64_t l = (uint64_t)load(left->index) << 32 | load(left->generation);
	const uint64_t r = (uint64_t)load(right->index) << 32 | load(right->generation);

	return (l > r) - (l < r);
}

static void say_worker(struct page *page, struct dispatcher *dispatcher,
		       const struct pool *pool, const struct line *line)
{
	const struct score *score = line->score;

	begin(page, NULL, '{');
	say_who(page, dispatcher, line);
	number(page, "served", (int64_t)load(score->served));
	number(page, "bells", (int64_t)load(score->bells));
	number(page, "moves", (int64_t)load(score->moves));
	say_requests(page, seat_find(pool, load(line->owner->index),
				     load(line->owner->generation)));
	end(page, '}');
}

static void say_who(struct page *page, const struct dispatcher *dispatcher,
		    const struct line *line)
{
	const uint64_t beat = load(line->score->heartbeat_ms);
	const uint64_t now = dispatcher->loop.now_ms;
	const pid_t pid = load(line->owner->pid);

	number(page, "index", load(line->owner->index));
	number(page, "pid", pid);
	text(page, "state", crew_child_state_name(score_state(line->score)));
	number(page, "generation", load(line->owner->generation));
	number(page, "last_seen_ms", (int64_t)(now > beat ? now - beat : 0));
	number(page, "rss_bytes", (int64_t)os_resident_bytes(pid));
}

/* It runs beside the pools. */
static void say_group(struct page *page, const struct dispatcher *dispatcher, unsigned number_of)
{
	const struct dispatcher_options *options = dispatcher->options;
	const struct control *told = &dispatcher->groups[number_of];
	char status[SCORE_STATUS_BYTES];
	unsigned count;
	struct line *lines = lines_of(
		dispatcher, options->first_group + dispatcher->pool_count + number_of, &count);
	bool some_up = false;

	page->failed = page->failed || !lines;
	for (unsigned i = 0; i < count; i++)
		some_up = some_up || is_up(&lines[i]);
	begin(page, NULL, '{');
	text(page, "name", options->server->groups[number_of].name);
	text(page, "state", told->detail ? "degraded" : some_up ? "ready" : "starting");
	number(page, "restarts", (int64_t)told->restarts);
	begin(page, "children", '[');
	for (unsigned i = 0; i < count; i++) {
		begin(page, NULL, '{');
		say_who(page, dispatcher, &lines[i]);
		score_get_status(lines[i].score, status);
		text(page, "status", status);
		end(page, '}');
	}
	end(page, ']');
	end(page, '}');
	free(lines);
}

static bool is_up(const struct line *line)
{
	const enum crew_child_state state = score_state(line->score);

	return state == CREW_CHILD_READY || state == CREW_CHILD_BUSY || state == CREW_CHILD_PAUSED;
}

static void say_requests(struct page *page, const struct seat *seat)
{
	const uint64_t now = seat ? seat->dispatcher->loop.now_ms : 0;

	begin(page, "requests", '[');
	for (uint32_t i = seat ? slots_next(&seat->used_slots, 0) : LINK_SLOTS;
	     i < LINK_SLOTS; i = slots_next(&seat->used_slots, i + 1)) {
		struct exchange *exchange = seat->slots[i].exchange;
		const char *method;
		const char *path;

		if (!exchange)
			continue;
		exchange_describe(exchange, &method, &path);
		begin(page, NULL, '{');
		number(page, "id", (int64_t)exchange->id);
		text(page, "method", method);
		text(page, "path", path);
		text(page, "state", exchange->state == EXCHANGE_ANSWERING ? "answering"
				    : seat->slots[i].at_work		  ? "at work"
									  : "deferred");
		number(page, "age_ms", (int64_t)(now - exchange->began_ms));
		end(page, '}');
	}
	end(page, ']');
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

/* The page is used up. */
static void answer_page(struct exchange *exchange, int status, struct page *page)
{
	static const char headers[] = "Content-Type: application/json\r\n"
				      "Cache-Control: no-store\r\n";

	if (page->failed)
		exchange_fail(exchange, 500, "out of memory");
	else
		exchange_answer(exchange, status,
				(struct span){ headers, sizeof(headers) - 1 },
				buffer_span(&page->text));
	buffer_fini(&page->text);
}

/* So many bytes of it, if there is memory for them. */
static char *room(struct page *page, size_t size)
{
	char *place = page->failed ? NULL : buffer_reserve(&page->text, size);

	page->failed = !place;
	return place;
}

/* What stands before a value: the comma, and its name if it has one. */
static void name_it(struct page *page, const char *name)
{
	const size_t size = name ? strlen(name) : 0;
	char *place = room(page, size + 4);
	char *at = place;

	if (!place)
		return;
	if (buffer_size(&page->text) && at[-1] != '{' && at[-1] != '[')
		*at++ = ',';
	if (name) {
		*at++ = '"';
		memcpy(at, name, size);
		at += size;
		*at++ = '"';
		*at++ = ':';
	}
	page->text.end += (size_t)(at - place);
}

static void begin(struct page *page, const char *name, char bracket)
{
	name_it(page, name);
	end(page, bracket);
}

static void end(struct page *page, char bracket)
{
	char *place = room(page, 1);

	if (!place)
		return;
	*place = bracket;
	page->text.end++;
}

static void number(struct page *page, const char *name, int64_t value)
{
	char *place;

	name_it(page, name);
	place = room(page, 24);
	if (place)
		page->text.end += (size_t)snprintf(place, 24, "%" PRId64, value);
}

/* Any bytes: what is not UTF-8 becomes U+FFFD. */
static void text(struct page *page, const char *name, const char *value)
{
	const struct span all = span_of(value);
	char *place;

	name_it(page, name);
	place = room(page, 6 * all.size + 2);
	if (place)
		page->text.end += http_json_string(place, all);
}
