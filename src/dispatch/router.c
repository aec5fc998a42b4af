/* SPDX-License-Identifier: MIT */
/*
 * The order of routing, and the check of the tables behind it. Mounts come
 * first, then local routes, then the built-in pages, then the pools that have
 * prefixes, in their order, then those that have none. The first pool whose
 * prefix takes a path decides about it; only pools without a prefix pass on
 * what they do not have. A mount at "/" would have everything, and so it comes
 * last: files for what nobody else takes, or takes by other methods only.
 */
#include "dispatch/router.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/error.h"
#include "dispatch/reach.h"
#include "dispatch/trie.h"
#include "manage/group_tables.h"

struct pool_routes {
	struct trie table;
	struct trie prefixes; /* rows mean nothing; a match is what counts */
	bool has_prefixes;
};

struct router {
	const struct crew_server *server;
	struct trie local;
	struct trie status;
	struct trie checked; /* paths that the application's check wants to see */
	bool checks_all;
	struct pool_routes pools[CREW_POOLS_MAX];
	unsigned pool_count;
	struct crew_route status_rows[4];
	char status_on[4][256];
};

static int fail(struct crew_error *error, const char *where, unsigned row,
		const char *on, const char *fault, struct span about);
static int add_table(struct trie *trie, const struct crew_route *routes,
		     const char *where, struct crew_error *ret_error);
static int add_pool(struct router *router, unsigned index,
		    struct crew_error *ret_error);
static int add_prefixes(struct trie *trie, const char *const *prefixes,
			const char *where, struct crew_error *ret_error);
static int add_status(struct router *router, struct crew_error *ret_error);
static int check_mounts(const struct crew_server *server,
			struct crew_error *ret_error);
static bool match_mount(const struct crew_server *server, struct span path,
			struct route_match *match);
static void match_root(const struct router *router, struct span path,
		       struct route_match *match);
static bool match_pool(const struct router *router, unsigned index,
		       enum http_method method, struct span method_text,
		       struct span path, struct route_match *match,
		       struct trie_allow *allow);
static bool match_pools(const struct router *router, enum http_method method,
			struct span method_text, struct span path,
			struct route_match *match, struct trie_allow *allow);
static bool is_checked(const struct router *router, struct span path);
static bool has_dots(struct span path);
static void refuse_method(const struct trie_allow *allow, struct route_match *match);
static void allow_one(struct route_match *match, size_t *used, struct span name);

int router_new(const struct crew_server *server, struct router **ret_router,
	       struct crew_error *ret_error)
{
	struct router *router = calloc(1, sizeof(*router));
	int r;

	if (!router)
		return error_set(ret_error, ENOMEM, "no memory for the routes");
	router->server = server;
	r = check_mounts(server, ret_error);
	if (r == 0)
		r = add_table(&router->local, server->local, "local routes",
			      ret_error);
	if (r == 0)
		r = add_prefixes(&router->checked, server->hooks.check_prefix,
				 "hooks.check", ret_error);
	router->checks_all = server->hooks.check && !server->hooks.check_prefix;
	if (r == 0)
		r = add_status(router, ret_error);
	for (unsigned i = 0; r == 0 && i < CREW_POOLS_MAX && server->pools[i].app;
	     i++)
		r = add_pool(router, i, ret_error);
	if (r == 0)
		r = reach_check(server, ret_error);
	if (r < 0) {
		router_free(router);
		return r;
	}
	*ret_router = router;
	return 0;
}

void router_free(struct router *router)
{
	if (!router)
		return;
	trie_free(&router->local);
	trie_free(&router->status);
	trie_free(&router->checked);
	for (unsigned i = 0; i < CREW_POOLS_MAX; i++) {
		trie_free(&router->pools[i].table);
		trie_free(&router->pools[i].prefixes);
	}
	free(router);
}

void router_match(const struct router *router, enum http_method method,
		  struct span method_text, struct span path,
		  struct route_match *ret_match)
{
	struct trie_allow allow; /* not zeroed: its list is long, and seldom looked at */

	allow.known = allow.other_count = 0;
	ret_match->route = NULL;
	ret_match->param_count = 0;
	ret_match->checked = false;
	ret_match->target = ROUTE_NONE;
	if (has_dots(path))
		return;
	if (router->server->mounts[0].at && match_mount(router->server, path, ret_match))
		return;
	if (trie_match(&router->local, method, method_text, path, ret_match,
		       &allow)) {
		ret_match->target = ROUTE_LOCAL;
		ret_match->route = &router->server->local[ret_match->row];
		trie_name_params(ret_match->route, ret_match);
		return;
	}
	if (trie_match(&router->status, method, method_text, path, ret_match,
		       &allow)) {
		ret_match->target = ROUTE_STATUS;
		return;
	}
	if (match_pools(router, method, method_text, path, ret_match, &allow))
		return;
	refuse_method(&allow, ret_match);
	if (ret_match->target == ROUTE_NONE || method == HTTP_GET || method == HTTP_HEAD)
		match_root(router, path, ret_match);
}

void router_match_pool(const struct router *router, unsigned index,
		       enum http_method method, struct span method_text,
		       struct span path, struct route_match *ret_match)
{
	struct trie_allow allow;

	allow.known = allow.other_count = 0;
	ret_match->route = NULL;
	ret_match->param_count = 0;
	ret_match->target = ROUTE_NONE;
	if (has_dots(path) || match_pool(router, index, method, method_text, path,
					 ret_match, &allow))
		return;
	refuse_method(&allow, ret_match);
}

static int fail(struct crew_error *error, const char *where, unsigned row,
		const char *on, const char *fault, struct span about)
{
	if (error) {
		error->code = EINVAL;
		snprintf(error->text, sizeof(error->text),
			 "%s, row %u (\"%s\"): %s: \"%.*s\"", where, row, on,
			 fault, (int)about.size, about.at);
	}
	return -EINVAL;
}

static int add_table(struct trie *trie, const struct crew_route *routes,
		     const char *where, struct crew_error *ret_error)
{
	for (unsigned i = 0; routes && routes[i].on; i++) {
		struct span about = { "", 0 };
		const char *fault = trie_add(trie, &routes[i], i, &about);

		if (fault)
			return fail(ret_error, where, i, routes[i].on, fault, about);
		if (!routes[i].run)
			return fail(ret_error, where, i, routes[i].on,
				    "the row has no handler (.run)", about);
	}
	trie_finish(trie);
	return 0;
}

static int add_pool(struct router *router, unsigned index,
		    struct crew_error *ret_error)
{
	const struct crew_pool *pool = &router->server->pools[index];
	const char *name = pool->name ? pool->name : pool->app->name;
	char where[128];
	int r;

	if (!name || !*name)
		return error_set(ret_error, EINVAL,
				 "pool %u has no name: give it, or its application, a .name", index);
	r = group_tables_check_name("pool", index, name, ret_error);
	if (r < 0)
		return r;
	if (strcmp(name, DISPATCHER_NAME) == 0)
		return error_set(ret_error, EINVAL,
				 "pool %u is called \"%s\", as are the processes that talk to "
				 "clients: give it another .name", index, name);
	for (unsigned i = 0; i < index; i++) {
		const struct crew_pool *other = &router->server->pools[i];
		const char *other_name = other->name ? other->name
						     : other->app->name;

		if (strcmp(name, other_name) == 0)
			return error_set(ret_error, EINVAL,
					 "pools %u and %u are both called \"%.60s\": give one "
					 "another .name", i, index, name);
	}
	snprintf(where, sizeof(where), "pool %u (\"%.60s\")", index, name);
	r = add_table(&router->pools[index].table, pool->app->routes, where,
		      ret_error);
	if (r == 0)
		r = add_prefixes(&router->pools[index].prefixes, pool->prefix, where,
				 ret_error);
	router->pools[index].has_prefixes = pool->prefix && pool->prefix[0];
	router->pool_count = index + 1;
	return r;
}

static int add_prefixes(struct trie *trie, const char *const *prefixes,
			const char *where, struct crew_error *ret_error)
{
	for (unsigned i = 0; prefixes && prefixes[i]; i++) {
		const struct crew_route row = { .on = prefixes[i] };
		struct span about = { "", 0 };
		const char *fault;

		fault = row.on[0] == '/' ? trie_add(trie, &row, i, &about)
					 : "a prefix is a pattern without a method";
		if (fault) {
			char part[160];

			snprintf(part, sizeof(part), "%s, prefixes", where);
			return fail(ret_error, part, i, row.on, fault, about);
		}
	}
	trie_finish(trie);
	return 0;
}

static int add_status(struct router *router, struct crew_error *ret_error)
{
	const char *status = router->server->status_path;
	const char *paths[] = {
		[STATUS_PAGE_STATUS] = status ? status : "/status",
		[STATUS_PAGE_HEALTH] = "/health",
		[STATUS_PAGE_LIVE] = "/live",
		[STATUS_PAGE_READY] = "/ready",
	};

	if (status && !*status)
		return 0;
	for (unsigned i = 0; i < 4; i++) {
		struct span about = { "", 0 };
		const char *fault;

		snprintf(router->status_on[i], sizeof(router->status_on[i]),
			 "GET %s", paths[i]);
		router->status_rows[i].on = router->status_on[i];
		fault = trie_add(&router->status, &router->status_rows[i], i, &about);
		if (fault)
			return fail(ret_error, "status_path", 0, paths[i], fault,
				    about);
	}
	trie_finish(&router->status);
	return 0;
}

static int check_mounts(const struct crew_server *server,
			struct crew_error *ret_error)
{
	for (unsigned i = 0; i < CREW_MOUNTS_MAX && server->mounts[i].at; i++) {
		const struct crew_mount *mount = &server->mounts[i];
		struct span at = span_of(mount->at);

		if (at.size == 0 || at.at[0] != '/' || at.at[at.size - 1] != '/')
			return fail(ret_error, "mounts", i, mount->at,
				    "a mount begins and ends with a slash", at);
		if (!mount->root || !*mount->root)
			return fail(ret_error, "mounts", i, mount->at,
				    "the mount has no directory (.root)", at);
	}
	return 0;
}

/* The longest mount that the path lies below, but for that at "/"; "/static" is "/static/". */
static bool match_mount(const struct crew_server *server, struct span path,
			struct route_match *match)
{
	size_t best = 1;

	for (unsigned i = 0; i < CREW_MOUNTS_MAX && server->mounts[i].at; i++) {
		const struct span at = span_of(server->mounts[i].at);
		const bool below = path.size >= at.size &&
				   memcmp(path.at, at.at, at.size) == 0;
		const bool itself = path.size + 1 == at.size && at.size > 1 &&
				    memcmp(path.at, at.at, path.size) == 0;

		if ((!below && !itself) || at.size <= best)
			continue;
		best = at.size;
		match->target = ROUTE_MOUNT;
		match->index = i;
		match->rest = (struct span){ path.at + (below ? at.size : path.size),
					     below ? path.size - at.size : 0 };
	}
	if (best > 1)
		match->allow[0] = '\0';
	return best > 1;
}

/* What is a pool's by its prefix is nobody else's, also where the pool does not have it. */
static void match_root(const struct router *router, struct span path,
		       struct route_match *match)
{
	const struct crew_mount *mounts = router->server->mounts;
	unsigned root = 0;

	while (root < CREW_MOUNTS_MAX && mounts[root].at && mounts[root].at[1])
		root++;
	if (root == CREW_MOUNTS_MAX || !mounts[root].at || path.size == 0 || path.at[0] != '/')
		return;
	for (unsigned i = 0; i < router->pool_count; i++) {
		if (router->pools[i].has_prefixes &&
		    trie_match(&router->pools[i].prefixes, HTTP_GET, (struct span){ "GET", 3 },
			       path, match, NULL))
			return;
	}
	match->target = ROUTE_MOUNT;
	match->index = root;
	match->rest = (struct span){ path.at + 1, path.size - 1 };
}

static bool match_pool(const struct router *router, unsigned index,
		       enum http_method method, struct span method_text,
		       struct span path, struct route_match *match,
		       struct trie_allow *allow)
{
	if (!trie_match(&router->pools[index].table, method, method_text, path,
			match, allow))
		return false;
	match->target = ROUTE_POOL;
	match->index = index;
	match->checked = is_checked(router, path);
	match->route = &router->server->pools[index].app->routes[match->row];
	trie_name_params(match->route, match);
	return true;
}

static bool match_pools(const struct router *router, enum http_method method,
			struct span method_text, struct span path,
			struct route_match *match, struct trie_allow *allow)
{
	for (unsigned i = 0; i < router->pool_count; i++) {
		if (router->pools[i].has_prefixes &&
		    trie_match(&router->pools[i].prefixes, HTTP_GET, method_text,
			       path, match, NULL))
			return match_pool(router, i, method, method_text, path,
					  match, allow);
	}
	for (unsigned i = 0; i < router->pool_count; i++) {
		if (!router->pools[i].has_prefixes &&
		    match_pool(router, i, method, method_text, path, match, allow))
			return true;
	}
	return false;
}

static bool is_checked(const struct router *router, struct span path)
{
	const struct crew_hooks *hooks = &router->server->hooks;
	struct route_match match;

	if (!hooks->check || router->checks_all)
		return hooks->check != NULL;
	return trie_match(&router->checked, HTTP_GET, (struct span){ "GET", 3 }, path,
			  &match, NULL);
}

/* Dot segments are no names: a path that has one left after the client's own
 * normalisation matches nothing (RFC 3986, 5.2.4). */
static bool has_dots(struct span path)
{
	struct span segment;

	if (!memchr(path.at, '.', path.size))
		return false;
	while (path_next(&path, &segment)) {
		if (segment.at[0] == '.' &&
		    (segment.size == 1 ||
		     (segment.size == 2 && segment.at[1] == '.')))
			return true;
	}
	return false;
}

/* A path that takes other methods, if there is one. */
static void refuse_method(const struct trie_allow *allow, struct route_match *match)
{
	static const char *const names[HTTP_METHOD_COUNT] = {
		[HTTP_GET] = "GET",         [HTTP_HEAD] = "HEAD",
		[HTTP_POST] = "POST",       [HTTP_PUT] = "PUT",
		[HTTP_DELETE] = "DELETE",   [HTTP_PATCH] = "PATCH",
		[HTTP_OPTIONS] = "OPTIONS", [HTTP_TRACE] = "TRACE",
		[HTTP_CONNECT] = "CONNECT",
	};
	unsigned known = allow->known;
	size_t used = 0;

	match->allow[0] = '\0';
	if (known == 0 && allow->other_count == 0)
		return;
	match->target = ROUTE_METHOD;
	if (known & (1u << HTTP_GET))
		known |= 1u << HTTP_HEAD;
	for (unsigned i = 1; i < HTTP_METHOD_COUNT; i++) {
		if (known & (1u << i))
			allow_one(match, &used, span_of(names[i]));
	}
	for (unsigned i = 0; i < allow->other_count; i++)
		allow_one(match, &used, allow->others[i]);
}

/* What there is no room for is not named. */
static void allow_one(struct route_match *match, size_t *used, struct span name)
{
	const char *comma = *used ? ", " : "";

	if (*used + strlen(comma) + name.size >= sizeof(match->allow))
		return;
	*used += (size_t)snprintf(match->allow + *used, sizeof(match->allow) - *used,
				  "%s%.*s", comma, (int)name.size, name.at);
}
