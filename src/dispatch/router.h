/* SPDX-License-Identifier: MIT */
/*
 * Routing, once for each request, in the dispatcher: static mounts first, then
 * local routes, then the built-in pages, then the pools in their order by prefix and
 * table, then those without a prefix, then a mount at "/". Compiled from the public tables
 * before the fork.
 */
#ifndef DISPATCH_ROUTER_H
#define DISPATCH_ROUTER_H

#include <crew/serve.h>

#include "base/span.h"
#include "handler/encode.h"
#include "http/parse.h"

/* What dispatchers are called in the log, as a group: no pool or other group is. */
#define DISPATCHER_NAME "dispatcher"

struct router;

enum route_target {
	ROUTE_NONE = 0,    /* 404 */
	ROUTE_METHOD,      /* 405: `allow` says what would do */
	ROUTE_MOUNT,       /* index: mount; rest: path below it */
	ROUTE_LOCAL,       /* row: of the local table */
	ROUTE_POOL,        /* index: pool; row: of its table */
	ROUTE_STATUS,      /* the built-in pages; row: enum status_page */
};

/** The built-in pages. */
enum status_page {
	STATUS_PAGE_STATUS = 0,
	STATUS_PAGE_HEALTH,
	STATUS_PAGE_LIVE,
	STATUS_PAGE_READY,
};

struct route_match {
	enum route_target target;
	unsigned index;
	unsigned row;
	const struct crew_route *route; /* of ROUTE_LOCAL and ROUTE_POOL */
	struct span rest;
	bool checked;                   /* ROUTE_POOL: the application's check wants to
					   see it */
	unsigned param_count;
	struct route_param params[WIRE_PARAMS_MAX];
	char allow[128]; /* "GET, HEAD, POST"; of ROUTE_MOUNT: what routes there take if
			    there is no such file, or "" */
};

/** Compile and validate the tables of a server. Returns 0, or -EINVAL with an
 * error that names the row: 'pool "items", route 3 "GET /x/{a:date}": …'. The
 * server's tables are borrowed. */
int router_new(const struct crew_server *server, struct router **ret_router,
	       struct crew_error *ret_error);
void router_free(struct router *router);

/** Match a decoded path. Spans of the result point into `path` and into the
 * tables. No allocation. */
void router_match(const struct router *router, enum http_method method,
		  struct span method_text, struct span path,
		  struct route_match *ret_match);
/** The same in the table of one pool, whatever its prefixes: for a request that
 * was sent to that pool by name. */
void router_match_pool(const struct router *router, unsigned index,
		       enum http_method method, struct span method_text,
		       struct span path, struct route_match *ret_match);
#endif
