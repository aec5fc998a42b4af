/* SPDX-License-Identifier: MIT */
/*
 * The tree. A node has literal children, sorted for a binary search, and at
 * most one child of each other kind. The match goes depth first and tries the
 * most particular child first; it comes back from a branch that leads nowhere,
 * also from one that ends at a route for other methods, whose methods it notes
 * for the Allow header.
 */
#include "dispatch/trie.h"

#include <stdlib.h>

#include "base/check.h"

#define NO_ROW UINT32_MAX
#define ANY_METHOD HTTP_METHOD_COUNT

/* A row for a method that is not one of the common ones. */
struct other_method {
	struct span token;
	uint32_t row;
};

struct literal {
	struct span text;
	struct trie_node *node;
};

struct trie_node {
	struct literal *literals;
	unsigned literal_count;
	struct trie_node *children[SEGMENT_KIND_COUNT]; /* not LITERAL */
	uint32_t rows[HTTP_METHOD_COUNT + 1];           /* last: any method */
	struct other_method *others;
	unsigned other_count;
};

struct search {
	enum http_method method;
	struct span method_text;
	struct route_match *match;
	struct trie_allow *allow;
	uint32_t row;
};

static struct trie_node *new_node(void);
static struct trie_node *descend(struct trie_node *node,
				 const struct segment *segment);
static const char *add_methods(struct trie_node *node, struct span methods,
			       unsigned row, struct span *ret_about);
static const char *add_method(struct trie_node *node, struct span token,
			      unsigned row);
static int compare_literals(const void *a, const void *b);
static void finish_node(struct trie_node *node);
static void free_node(struct trie_node *node);
static bool match_node(const struct trie_node *node, struct span path,
		       struct search *search);
static bool match_child(const struct trie_node *child, enum segment_kind kind,
			struct span text, struct span path, struct search *search);
static bool take_row(const struct trie_node *node, struct search *search);
static void add_allowed(const struct trie_node *node, struct trie_allow *allow);
static void add_other(struct span token, struct trie_allow *allow);

const char *trie_add(struct trie *trie, const struct crew_route *route,
		     unsigned row, struct span *ret_about)
{
	struct span text = span_of(route->on);
	const char *space = memchr(text.at, ' ', text.size);
	struct span methods = { text.at, space ? (size_t)(space - text.at) : 0 };
	struct trie_node *node;
	struct pattern pattern;
	const char *fault;

	if (space)
		text = (struct span){ space + 1, text.size - methods.size - 1 };
	fault = pattern_parse(&pattern, text, ret_about);
	if (fault)
		return fault;
	if (!trie->root)
		trie->root = new_node();
	node = trie->root;
	for (unsigned i = 0; node && i < pattern.count; i++)
		node = descend(node, &pattern.segments[i]);
	if (!node)
		return "out of memory";
	*ret_about = methods;
	if (space)
		return add_methods(node, methods, row, ret_about);
	*ret_about = text;
	if (node->rows[ANY_METHOD] != NO_ROW)
		return "the same route stands in the table twice";
	node->rows[ANY_METHOD] = row;
	return NULL;
}

void trie_finish(struct trie *trie)
{
	if (trie->root)
		finish_node(trie->root);
}

void trie_free(struct trie *trie)
{
	free_node(trie->root);
	trie->root = NULL;
}

bool trie_match(const struct trie *trie, enum http_method method,
		struct span method_text, struct span path,
		struct route_match *ret_match, struct trie_allow *allow)
{
	struct search search = { method, method_text, ret_match, allow, NO_ROW };

	ret_match->param_count = 0;
	if (!trie->root || !match_node(trie->root, path, &search))
		return false;
	ret_match->row = search.row;
	return true;
}

/* Two rows may share a place in the tree and call its parameters differently:
 * the names are those of the row that matched. */
void trie_name_params(const struct crew_route *route, struct route_match *match)
{
	const char *at = route->on;

	for (unsigned i = 0; i < match->param_count; i++) {
		const char *open = strchr(at, '{');
		size_t size = strcspn(open + 1, ":}");

		match->params[i].name = (struct span){ open + 1, size };
		at = open + 1 + size;
	}
}

static struct trie_node *new_node(void)
{
	struct trie_node *node = calloc(1, sizeof(*node));

	for (unsigned i = 0; node && i <= ANY_METHOD; i++)
		node->rows[i] = NO_ROW;
	return node;
}

/* The child for a segment, made if it is not there. While the tree is built
 * its literals are not sorted: the search is linear. */
static struct trie_node *descend(struct trie_node *node,
				 const struct segment *segment)
{
	struct literal *literals;

	if (segment->kind != SEGMENT_LITERAL) {
		if (!node->children[segment->kind])
			node->children[segment->kind] = new_node();
		return node->children[segment->kind];
	}
	for (unsigned i = 0; i < node->literal_count; i++) {
		if (span_equal(node->literals[i].text, segment->text))
			return node->literals[i].node;
	}
	literals = realloc(node->literals,
			   (node->literal_count + 1) * sizeof(*literals));
	if (!literals)
		return NULL;
	node->literals = literals;
	literals += node->literal_count;
	*literals = (struct literal){ segment->text, new_node() };
	if (literals->node)
		node->literal_count++;
	return literals->node;
}

static const char *add_methods(struct trie_node *node, struct span methods,
			       unsigned row, struct span *ret_about)
{
	while (true) {
		const char *comma = memchr(methods.at, ',', methods.size);
		struct span token = methods;
		const char *fault;

		if (comma)
			token.size = (size_t)(comma - methods.at);
		*ret_about = token;
		fault = add_method(node, token, row);
		if (fault)
			return fault;
		if (!comma)
			return NULL;
		methods.size -= token.size + 1;
		methods.at = comma + 1;
	}
}

static const char *add_method(struct trie_node *node, struct span token,
			      unsigned row)
{
	const enum http_method method = http_method_of(token);
	struct other_method *others;

	if (token.size == 0)
		return "a method is missing before the pattern";
	for (size_t i = 0; i < token.size; i++) {
		if (!(token.at[i] >= 'A' && token.at[i] <= 'Z') &&
		    token.at[i] != '-' && token.at[i] != '_')
			return "a method is written in capital letters, several "
			       "with commas and no spaces between them";
	}
	if (method != HTTP_OTHER) {
		if (node->rows[method] != NO_ROW)
			return "the same route stands in the table twice";
		node->rows[method] = row;
		return NULL;
	}
	for (unsigned i = 0; i < node->other_count; i++) {
		if (span_equal(node->others[i].token, token))
			return "the same route stands in the table twice";
	}
	others = realloc(node->others, (node->other_count + 1) * sizeof(*others));
	if (!others)
		return "out of memory";
	node->others = others;
	others[node->other_count++] = (struct other_method){ token, row };
	return NULL;
}

static int compare_spans(struct span a, struct span b)
{
	if (a.size != b.size)
		return a.size < b.size ? -1 : 1;
	return memcmp(a.at, b.at, a.size);
}

static int compare_literals(const void *a, const void *b)
{
	return compare_spans(((const struct literal *)a)->text,
			     ((const struct literal *)b)->text);
}

static void finish_node(struct trie_node *node)
{
	if (node->literal_count > 1)
		qsort(node->literals, node->literal_count,
		      sizeof(*node->literals), compare_literals);
	for (unsigned i = 0; i < node->literal_count; i++)
		finish_node(node->literals[i].node);
	for (unsigned i = 0; i < SEGMENT_KIND_COUNT; i++) {
		if (node->children[i])
			finish_node(node->children[i]);
	}
}

static void free_node(struct trie_node *node)
{
	if (!node)
		return;
	for (unsigned i = 0; i < node->literal_count; i++)
		free_node(node->literals[i].node);
	for (unsigned i = 0; i < SEGMENT_KIND_COUNT; i++)
		free_node(node->children[i]);
	free(node->literals);
	free(node->others);
	free(node);
}

static const struct trie_node *find_literal(const struct trie_node *node,
					    struct span text)
{
	unsigned low = 0;
	unsigned high = node->literal_count;

	while (low < high) {
		const unsigned middle = (low + high) / 2;
		const int order = compare_spans(text, node->literals[middle].text);

		if (order == 0)
			return node->literals[middle].node;
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}

static bool match_node(const struct trie_node *node, struct span path,
		       struct search *search)
{
	const struct trie_node *rest = node->children[SEGMENT_REST];
	const struct trie_node *literal;
	struct span behind = path;
	struct span segment;

	if (!path_next(&behind, &segment))
		return take_row(node, search) || (rest && take_row(rest, search));
	literal = find_literal(node, segment);
	if (literal && match_node(literal, behind, search))
		return true;
	for (enum segment_kind kind = SEGMENT_INT; kind <= SEGMENT_TEXT; kind++) {
		if (node->children[kind] &&
		    match_child(node->children[kind], kind, segment, behind, search))
			return true;
	}
	return rest && take_row(rest, search);
}

static bool match_child(const struct trie_node *child, enum segment_kind kind,
			struct span text, struct span path, struct search *search)
{
	static const enum wire_param_type types[SEGMENT_KIND_COUNT] = {
		[SEGMENT_INT] = WIRE_PARAM_INT,
		[SEGMENT_FLOAT] = WIRE_PARAM_FLOAT,
		[SEGMENT_TEXT] = WIRE_PARAM_TEXT,
	};
	struct route_match *match = search->match;
	struct route_param *param = &match->params[match->param_count];
	int64_t integer = 0;
	double real = 0;

	check(match->param_count < WIRE_PARAMS_MAX);
	if (!segment_value(kind, text, &integer, &real))
		return false;
	*param = (struct route_param){ .text = text, .type = types[kind] };
	if (kind == SEGMENT_INT)
		param->integer = integer;
	else
		param->real = real;
	match->param_count++;
	if (match_node(child, path, search))
		return true;
	match->param_count--;
	return false;
}

static bool take_row(const struct trie_node *node, struct search *search)
{
	uint32_t row = node->rows[search->method];

	if (search->method == HTTP_OTHER) {
		row = NO_ROW;
		for (unsigned i = 0; i < node->other_count; i++) {
			if (span_equal(node->others[i].token, search->method_text))
				row = node->others[i].row;
		}
	}
	if (row == NO_ROW && search->method == HTTP_HEAD)
		row = node->rows[HTTP_GET];
	if (row == NO_ROW)
		row = node->rows[ANY_METHOD];
	if (row != NO_ROW) {
		search->row = row;
		return true;
	}
	if (search->allow)
		add_allowed(node, search->allow);
	return false;
}

static void add_allowed(const struct trie_node *node, struct trie_allow *allow)
{
	for (unsigned i = 0; i < HTTP_METHOD_COUNT; i++) {
		if (node->rows[i] != NO_ROW)
			allow->known |= 1u << i;
	}
	for (unsigned i = 0; i < node->other_count; i++)
		add_other(node->others[i].token, allow);
}

/* Once: several tables may have the path. */
static void add_other(struct span token, struct trie_allow *allow)
{
	for (unsigned i = 0; i < allow->other_count; i++) {
		if (span_equal(allow->others[i], token))
			return;
	}
	if (allow->other_count < TRIE_OTHERS_MAX)
		allow->others[allow->other_count++] = token;
}
