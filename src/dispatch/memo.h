/* SPDX-License-Identifier: MIT */
/*
 * What was matched before. Tables of routes do not change while a server runs,
 * so a method and a path whose match took no parameter match the same again;
 * and most requests of a service ask for few such paths. A place is found by
 * the path's hash and taken over by the next one that has the same: whoever
 * asks for ever new paths makes others search the tables, as without it.
 */
#ifndef DISPATCH_MEMO_H
#define DISPATCH_MEMO_H

#include <stdbool.h>
#include <stdint.h>

#include "base/span.h"
#include "dispatch/router.h"

#define MEMO_PLACES 256u /* a power of two */
#define MEMO_PATH_MAX_BYTES 64u

struct memo_place {
	const struct crew_route *route;
	uint32_t target; /* enum route_target; ROUTE_NONE: nothing is noted here */
	uint32_t index;
	uint32_t row;
	uint8_t method;
	uint8_t path_size;
	bool checked;
	char path[MEMO_PATH_MAX_BYTES];
};

/** All zero: nothing is noted. */
struct memo {
	struct memo_place places[MEMO_PLACES];
};

/** Is it known what this matches? Then the result is as router_match's. */
bool memo_match(const struct memo *memo, enum http_method method, struct span path,
		struct route_match *ret_match);
/** router_match, unless the match is known; noted, if it is one that can be. */
void memo_route(struct memo *memo, const struct router *router, enum http_method method,
		struct span method_text, struct span path,
		struct route_match *ret_match);

#endif
