/* SPDX-License-Identifier: MIT */
/*
 * The tables are searched in an order (router.c), in which something may have what stands
 * behind it whole: each table is valid by itself, and its rows are 404 or somebody
 * else's for ever. That is found here once, at the start, by comparing patterns. It says
 * too little rather than too much: what is taken by two others together is not found.
 */
#include "dispatch/reach.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "dispatch/pattern.h"

#define WHY_BYTES 256
/* Of a table: it takes no time that way, and who has the wrong one sees it by these. */
#define ROWS_LOOKED_AT 300u

static int check_prefixes(const struct crew_server *server, unsigned index,
			  struct crew_error *ret_error);
static void check_routes(const struct crew_server *server, unsigned index);
static bool is_elsewhere(const struct crew_server *server, unsigned index);
static bool is_taken(const struct crew_server *server, unsigned index, const char *on,
		     char *ret_why);
static bool taken_by_pool(const struct crew_server *server, unsigned index, const char *on,
			  char *ret_why);
static bool taken_by_page(const struct crew_server *server, const char *on);
static bool row_covers(const char *a, const char *b);
static bool fits(const struct segment *kind, const struct segment *segment, bool in_doubt);

int reach_check(const struct crew_server *server, struct crew_error *ret_error)
{
	int r = 0;

	for (unsigned i = 0; r == 0 && i < CREW_POOLS_MAX && server->pools[i].app; i++)
		r = check_prefixes(server, i, ret_error);
	for (unsigned i = 0; r == 0 && i < CREW_POOLS_MAX && server->pools[i].app; i++)
		check_routes(server, i);
	return r;
}

static const char *name_of(const struct crew_pool *pool)
{
	return pool->name ? pool->name : pool->app->name;
}

/* The prefix of a pool that covers the pattern, or NULL. */
static const char *find_prefix(const struct crew_pool *pool, const char *pattern)
{
	for (unsigned i = 0; pool->prefix && pool->prefix[i]; i++) {
		if (reach_covers(pool->prefix[i], pattern))
			return pool->prefix[i];
	}
	return NULL;
}

static int check_prefixes(const struct crew_server *server, unsigned index,
			  struct crew_error *ret_error)
{
	const struct crew_pool *pool = &server->pools[index];

	for (unsigned i = 0; pool->prefix && pool->prefix[i]; i++) {
		for (unsigned j = 0; j < index; j++) {
			const char *own = pool->prefix[i];
			const char *other = find_prefix(&server->pools[j], own);

			if (!other)
				continue;
			return error_set(ret_error, EINVAL,
					 "pool %u (\"%.60s\"), prefix \"%.80s\": pool %u (\"%.60s\") "
					 "takes these paths already, by \"%.80s\"%s", index,
					 name_of(pool), own, j, name_of(&server->pools[j]), other,
					 reach_covers(own, other)
						 ? ""
						 : ": put the pool with the narrower one first");
		}
	}
	return 0;
}

/* One line for a pool: who has put a whole table into the wrong place need not read it. */
static void check_routes(const struct crew_server *server, unsigned index)
{
	const struct crew_pool *pool = &server->pools[index];
	const struct crew_route *routes = pool->app->routes;
	const char *first = NULL;
	char why[WHY_BYTES];
	char other_why[WHY_BYTES];
	char more[40] = "";
	unsigned count = 0;

	if (routes && is_elsewhere(server, index))
		return;
	for (unsigned i = 0; routes && routes[i].on && i < ROWS_LOOKED_AT; i++) {
		if (!is_taken(server, index, routes[i].on, first ? other_why : why))
			continue;
		if (!first)
			first = routes[i].on;
		count++;
	}
	if (!first)
		return;
	if (count > 1)
		snprintf(more, sizeof(more), " (and %u more)", count - 1);
	log_warning("pool \"%s\", route \"%s\"%s: no client reaches it: %s", name_of(pool), first,
		    more, why);
}

/* Another pool runs the same application: by their prefixes they share its rows. */
static bool is_elsewhere(const struct crew_server *server, unsigned index)
{
	for (unsigned i = 0; i < CREW_POOLS_MAX && server->pools[i].app; i++) {
		if (i != index && server->pools[i].app == server->pools[index].app)
			return true;
	}
	return false;
}

static const char *pattern_of(const char *on)
{
	const char *space = strchr(on, ' ');

	return space ? space + 1 : on;
}

static bool is_taken(const struct crew_server *server, unsigned index, const char *on,
		     char *ret_why)
{
	const struct crew_pool *pool = &server->pools[index];
	const char *pattern = pattern_of(on);
	bool outside = pool->prefix && pool->prefix[0];

	for (unsigned i = 0; i < CREW_MOUNTS_MAX && server->mounts[i].at; i++) {
		char below[256];

		snprintf(below, sizeof(below), "%.200s**", server->mounts[i].at);
		if (!strcmp(below, "/**") || !reach_covers(below, pattern))
			continue;
		snprintf(ret_why, WHY_BYTES, "the mount at \"%.80s\" has its path",
			 server->mounts[i].at);
		return true;
	}
	for (unsigned i = 0; server->local && server->local[i].on && i < ROWS_LOOKED_AT; i++) {
		if (!row_covers(server->local[i].on, on))
			continue;
		snprintf(ret_why, WHY_BYTES, "the local route \"%.80s\" has its path",
			 server->local[i].on);
		return true;
	}
	if (taken_by_page(server, on)) {
		snprintf(ret_why, WHY_BYTES, "a built-in page has its path (see status_path)");
		return true;
	}
	for (unsigned i = 0; outside && pool->prefix[i]; i++)
		outside = !reach_meets(pool->prefix[i], pattern);
	if (outside)
		snprintf(ret_why, WHY_BYTES, "it lies outside of the prefixes of its pool");
	return outside || taken_by_pool(server, index, on, ret_why);
}

/* Pools with prefixes go before those without. */
static bool taken_by_pool(const struct crew_server *server, unsigned index, const char *on,
			  char *ret_why)
{
	const bool has_prefix = server->pools[index].prefix && server->pools[index].prefix[0];

	for (unsigned i = 0; i < CREW_POOLS_MAX && server->pools[i].app; i++) {
		const struct crew_pool *other = &server->pools[i];
		const struct crew_route *routes = other->app->routes;
		const char *by = i < index || !has_prefix ? find_prefix(other, pattern_of(on))
							  : NULL;

		/* Of those without, the first that has such a row. */
		for (unsigned j = 0; !by && !has_prefix && i < index && routes && routes[j].on &&
				     !(other->prefix && other->prefix[0]) && j < ROWS_LOOKED_AT;
		     j++)
			by = row_covers(routes[j].on, on) ? routes[j].on : NULL;
		if (!by)
			continue;
		snprintf(ret_why, WHY_BYTES, "pool \"%.60s\" takes its path, by \"%.80s\"",
			 name_of(other), by);
		return true;
	}
	return false;
}

static bool taken_by_page(const struct crew_server *server, const char *on)
{
	const char *const paths[] = {
		server->status_path ? server->status_path : "/status", "/health", "/live", "/ready",
	};

	for (unsigned i = 0; *paths[0] && i < sizeof(paths) / sizeof(*paths); i++) {
		char row[256];

		snprintf(row, sizeof(row), "GET %.200s", paths[i]);
		if (row_covers(row, on))
			return true;
	}
	return false;
}

static struct span methods_of(const char *on)
{
	const char *space = strchr(on, ' ');

	return (struct span){ on, space ? (size_t)(space - on) : 0 };
}

/* Cut the first off a list with commas. */
static bool next_method(struct span *methods, struct span *ret_method)
{
	const char *comma = memchr(methods->at, ',', methods->size);
	const size_t size = comma ? (size_t)(comma - methods->at) : methods->size;

	if (methods->size == 0)
		return false;
	*ret_method = (struct span){ methods->at, size };
	methods->at += size + (comma != NULL);
	methods->size -= size + (comma != NULL);
	return true;
}

/* With their methods: none is all. */
static bool row_covers(const char *a, const char *b)
{
	struct span asked = methods_of(b);
	struct span method;

	if (methods_of(a).size > 0 && asked.size == 0)
		return false;
	while (methods_of(a).size > 0 && next_method(&asked, &method)) {
		struct span known = methods_of(a);
		struct span one;
		bool found = false;

		while (!found && next_method(&known, &one))
			found = span_equal(one, method);
		if (!found)
			return false;
	}
	return reach_covers(pattern_of(a), pattern_of(b));
}

bool reach_covers(const char *a, const char *b)
{
	struct pattern wide;
	struct pattern narrow;
	struct span about;

	if (pattern_parse(&wide, span_of(a), &about) || pattern_parse(&narrow, span_of(b), &about))
		return false;
	for (unsigned i = 0; i < wide.count; i++) {
		if (wide.segments[i].kind == SEGMENT_REST)
			return true;
		if (i == narrow.count || !fits(&wide.segments[i], &narrow.segments[i], false))
			return false;
	}
	return wide.count == narrow.count;
}

bool reach_meets(const char *a, const char *b)
{
	struct pattern one;
	struct pattern other;
	struct span about;

	if (pattern_parse(&one, span_of(a), &about) || pattern_parse(&other, span_of(b), &about))
		return false;
	for (unsigned i = 0;; i++) {
		const struct segment *x = i < one.count ? &one.segments[i] : NULL;
		const struct segment *y = i < other.count ? &other.segments[i] : NULL;

		if ((x && x->kind == SEGMENT_REST) || (y && y->kind == SEGMENT_REST))
			return true;
		if (!x || !y)
			return x == y;
		if (!fits(x, y, true) && !fits(y, x, true))
			return false;
	}
}

/* Does it match all that the segment may be? Whether a literal is a number is not looked at:
 * who writes "/{n:int}" and "/7" means both. */
static bool fits(const struct segment *kind, const struct segment *segment, bool in_doubt)
{
	if (segment->kind == SEGMENT_REST)
		return false;
	if (kind->kind == SEGMENT_LITERAL)
		return segment->kind == SEGMENT_LITERAL &&
		       span_equal(kind->text, segment->text);
	if (segment->kind == SEGMENT_LITERAL)
		return kind->kind == SEGMENT_TEXT || in_doubt;
	/* Each integer is a decimal number, and each of both a text. */
	return kind->kind >= segment->kind;
}
