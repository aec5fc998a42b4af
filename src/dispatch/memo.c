/* SPDX-License-Identifier: MIT */
/*
 * The memo of matches: a table with one place for each hash, and no chains. What
 * is found there is compared as a whole, so that a collision costs a search and
 * never a wrong route.
 */
#include "dispatch/memo.h"

#include <string.h>

/* Odd, and without a pattern in its bits: the fractional part of the golden ratio. */
#define MIX UINT64_C(0x9e3779b97f4a7c15)

/* Eight bytes at a time; the upper bits are the ones that all bytes have moved. */
static unsigned place_of(enum http_method method, struct span path)
{
	uint64_t hash = path.size << 8 | (uint64_t)method;
	uint64_t word;

	for (; path.size >= sizeof(word); path.at += sizeof(word)) {
		memcpy(&word, path.at, sizeof(word));
		hash = (hash ^ word) * MIX;
		hash ^= hash >> 32;
		path.size -= sizeof(word);
	}
	word = 0;
	for (size_t i = 0; i < path.size; i++)
		word = word << 8 | (unsigned char)path.at[i];
	hash = (hash ^ word) * MIX;
	return (unsigned)(hash >> 40) & (MEMO_PLACES - 1);
}

static bool fits(enum http_method method, struct span path)
{
	return method != HTTP_OTHER && path.size <= MEMO_PATH_MAX_BYTES;
}

bool memo_match(const struct memo *memo, enum http_method method, struct span path,
		struct route_match *ret_match)
{
	const struct memo_place *place;

	if (!fits(method, path))
		return false;
	place = &memo->places[place_of(method, path)];
	if (place->target == ROUTE_NONE || place->method != method ||
	    place->path_size != path.size ||
	    memcmp(place->path, path.at, path.size) != 0)
		return false;
	ret_match->target = (enum route_target)place->target;
	ret_match->index = place->index;
	ret_match->row = place->row;
	ret_match->route = place->route;
	ret_match->checked = place->checked;
	ret_match->param_count = 0;
	return true;
}

/* A mount's match points into its path, and what was refused says why. */
static void note(struct memo *memo, enum http_method method, struct span path,
		 const struct route_match *match)
{
	struct memo_place *place;

	if (!fits(method, path) || match->param_count > 0 ||
	    (match->target != ROUTE_LOCAL && match->target != ROUTE_STATUS &&
	     match->target != ROUTE_POOL))
		return;
	place = &memo->places[place_of(method, path)];
	*place = (struct memo_place){
		.route = match->route,
		.target = match->target,
		.index = match->index,
		.row = match->row,
		.method = (uint8_t)method,
		.path_size = (uint8_t)path.size,
		.checked = match->checked,
	};
	memcpy(place->path, path.at, path.size);
}

void memo_route(struct memo *memo, const struct router *router, enum http_method method,
		struct span method_text, struct span path,
		struct route_match *ret_match)
{
	if (memo_match(memo, method, path, ret_match))
		return;
	router_match(router, method, method_text, path, ret_match);
	note(memo, method, path, ret_match);
}
