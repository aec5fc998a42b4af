/* SPDX-License-Identifier: MIT */
/* A table of routes as a tree over path segments: what a match costs depends
 * on the path's length, not on the number of routes. */
#ifndef DISPATCH_TRIE_H
#define DISPATCH_TRIE_H

#include <crew/serve.h>

#include "dispatch/pattern.h"
#include "dispatch/router.h"

/** Methods of one's own at one path that are named to who asks with another. */
#define TRIE_OTHERS_MAX 16u

struct trie_node;

struct trie {
	struct trie_node *root;
};

/** Methods that would have done, where one did not. */
struct trie_allow {
	unsigned known; /* bit: enum http_method */
	unsigned other_count;
	struct span others[TRIE_OTHERS_MAX]; /* in the texts of the routes */
};

/** Add row `row` of a table: "GET,POST /x/{id}". NULL, or what is wrong (with
 * the part that it is about). -ENOMEM is told as text too. */
const char *trie_add(struct trie *trie, const struct crew_route *route,
		     unsigned row, struct span *ret_about);
/** Make it ready for matching; after the last trie_add. */
void trie_finish(struct trie *trie);
void trie_free(struct trie *trie);

/** Find the most particular row for a method and a path, which has no dot segments. Fills
 * row and params of `ret_match`; otherwise adds to `allow`, if it is not NULL, what the path
 * would take. */
bool trie_match(const struct trie *trie, enum http_method method,
		struct span method_text, struct span path,
		struct route_match *ret_match, struct trie_allow *allow);

/** Give the parameters of a match the names that its row uses. */
void trie_name_params(const struct crew_route *route, struct route_match *match);

#endif
