/* SPDX-License-Identifier: MIT */
/*
 * From groups of routes that inherit from each other to one flat table for
 * each pool. defaults_fill calls it in the parent, before anything is forked:
 * the router, the dispatcher and the workers know a route by its number in
 * that table, and nothing of bases and prefixes. Of its group a row keeps a
 * pointer, by which a worker finds the group's state.
 *
 * A group is made from its farthest base on: each group of the chain puts its
 * rows over those that are there by then, and only at the end are all of them
 * given the whole prefix, which is the deriving group's and not that of the
 * group that wrote the row.
 *
 * The router would find wrong patterns and doubled routes by itself, but could
 * only name rows of the flat table, which nobody wrote. So the table is tried
 * here too, in a tree that is thrown away, and what is said names the group
 * and the row as they stand in the source.
 */
#include "serve/routes.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "dispatch/trie.h"

/* A row on its way into the table. */
struct origin {
	const struct crew_route *row;     /* as it was written */
	const struct crew_routes *writer; /* the group it stands in; NULL: the application */
	const struct crew_routes *owner;  /* the group that has it in the end */
	unsigned number;                  /* in the table of its writer */
	const char *on;                   /* without prefix; its own or inherited */
};

struct table {
	struct arena *arena;
	struct crew_error *error;
	const struct crew_app *app;
	char pool[96]; /* for messages */
	struct origin *origins;
	struct crew_route *rows;
	unsigned count;
};

/* A group and its bases, the farthest last. */
struct chain {
	const struct crew_routes *groups[ROUTES_CHAIN_MAX];
	unsigned count;
};

static int check_groups(const struct table *table, size_t *ret_room);
static int check_group(const struct table *table, unsigned index, struct chain *ret_chain);
static int follow_bases(const struct table *table, const struct crew_routes *group,
			struct chain *ret_chain);
static const char *check_prefix(const char *prefix, struct span *ret_about);
static size_t count_rows(const struct crew_route *rows, bool in_group);
static bool is_row(const struct crew_route *row);
static void add_plain(struct table *table);
static int add_group(struct table *table, const struct crew_routes *group);
static int add_own(struct table *table, unsigned first, const struct crew_routes *writer,
		   const struct crew_routes *owner);
static int put_row(struct table *table, unsigned first, const struct origin *origin);
static unsigned find_row(const struct table *table, unsigned first, const char *name);
static const char *check_row(const struct crew_route *row, const char *inherited,
			     struct span *ret_about);
static const char *pattern_of(const char *on);
static char *join_prefixes(struct arena *arena, const struct chain *chain);
static char *join_pattern(struct arena *arena, const char *prefix, const char *on);
static int check_table(const struct table *table);
static int fail_row(const struct table *table, const struct origin *origin, const char *whole,
		    const char *fault, struct span about);

int routes_flatten(struct crew_pool *pool, unsigned number, struct arena *arena,
		   struct crew_error *ret_error)
{
	struct table table = { .arena = arena, .error = ret_error, .app = pool->app };
	struct crew_app *app;
	size_t room;
	int r;

	if (!pool->app->groups)
		return 0;
	snprintf(table.pool, sizeof(table.pool), "pool %u (\"%.60s\")", number,
		 pool->name ? pool->name : "");
	r = check_groups(&table, &room);
	if (r < 0)
		return r;
	table.origins = arena_alloc(arena, room * sizeof(*table.origins));
	table.rows = arena_alloc(arena, (room + 1) * sizeof(*table.rows));
	app = arena_alloc(arena, sizeof(*app));
	if (!table.origins || !table.rows || !app)
		return error_set(ret_error, ENOMEM, "out of memory");
	add_plain(&table);
	for (unsigned i = 0; r == 0 && table.app->groups[i]; i++)
		r = add_group(&table, table.app->groups[i]);
	if (r == 0)
		r = check_table(&table);
	if (r < 0)
		return r;
	table.rows[table.count] = (struct crew_route){ 0 };
	*app = *pool->app;
	app->routes = table.rows;
	pool->app = app;
	return 0;
}

/* Also how many rows the flat table has at most. */
static int check_groups(const struct table *table, size_t *ret_room)
{
	size_t room = count_rows(table->app->routes, false);
	struct chain chain;
	int r;

	for (unsigned i = 0; table->app->groups[i]; i++) {
		r = check_group(table, i, &chain);
		if (r < 0)
			return r;
		for (unsigned j = 0; j < chain.count; j++)
			room += count_rows(chain.groups[j]->routes, true);
	}
	*ret_room = room;
	return 0;
}

static int check_group(const struct table *table, unsigned index, struct chain *ret_chain)
{
	const struct crew_routes *const *groups = table->app->groups;
	const struct crew_routes *group = groups[index];
	int r;

	if (!group->name || !*group->name)
		return error_set(table->error, EINVAL, "%s, group %u: it has no name (.name)",
				 table->pool, index);
	for (unsigned i = 0; i < index; i++) {
		if (groups[i] == group)
			return error_set(table->error, EINVAL,
					 "%s, group \"%s\": it stands in the list twice",
					 table->pool, group->name);
	}
	r = follow_bases(table, group, ret_chain);
	for (unsigned i = 0; r == 0 && i < ret_chain->count; i++) {
		const char *prefix = ret_chain->groups[i]->prefix;
		struct span about;
		const char *fault = check_prefix(prefix, &about);

		if (fault)
			r = error_set(table->error, EINVAL,
				      "%s, group \"%s\", prefix \"%s\": %s: \"%.*s\"",
				      table->pool, ret_chain->groups[i]->name, prefix,
				      fault, (int)about.size, about.at);
	}
	return r;
}

static int follow_bases(const struct table *table, const struct crew_routes *group,
			struct chain *ret_chain)
{
	struct chain *chain = ret_chain;

	chain->count = 0;
	for (const struct crew_routes *base = group; base; base = base->base) {
		for (unsigned i = 0; i < chain->count; i++) {
			if (chain->groups[i] == base)
				return error_set(table->error, EINVAL,
						 "%s, group \"%s\": its bases go in a "
						 "circle, which closes at \"%s\"",
						 table->pool, group->name, base->name);
		}
		if (chain->count == ROUTES_CHAIN_MAX)
			return error_set(table->error, EINVAL,
					 "%s, group \"%s\": it has %u bases or more",
					 table->pool, group->name, ROUTES_CHAIN_MAX);
		if (!base->name || !*base->name)
			return error_set(table->error, EINVAL,
					 "%s, group \"%s\": a base of it has no name (.name)",
					 table->pool, group->name);
		chain->groups[chain->count++] = base;
	}
	return 0;
}

static const char *check_prefix(const char *prefix, struct span *ret_about)
{
	struct pattern pattern;
	const char *fault;

	if (!prefix || !*prefix)
		return NULL;
	*ret_about = span_of(prefix);
	if (prefix[0] != '/')
		return "a prefix begins with a slash, and has no method";
	if (strchr(prefix, ' '))
		return "a prefix has no spaces";
	fault = pattern_parse(&pattern, *ret_about, ret_about);
	if (fault)
		return fault;
	if (pattern.count > 0 && pattern.segments[pattern.count - 1].kind == SEGMENT_REST)
		return "nothing can follow **";
	return NULL;
}

/* In a group a row may be there for its name alone. */
static size_t count_rows(const struct crew_route *rows, bool in_group)
{
	size_t count = 0;

	while (rows && (in_group ? is_row(&rows[count]) : rows[count].on != NULL))
		count++;
	return count;
}

static bool is_row(const struct crew_route *row)
{
	return row->on || row->name || row->run;
}

/* The application's own rows stand first and keep their numbers. */
static void add_plain(struct table *table)
{
	const struct crew_route *routes = table->app->routes;

	for (unsigned i = 0; routes && routes[i].on; i++) {
		table->origins[i] = (struct origin){ &routes[i], NULL, NULL, i, routes[i].on };
		table->rows[i] = routes[i];
		table->rows[i].group = NULL;
		table->count++;
	}
}

static int add_group(struct table *table, const struct crew_routes *group)
{
	const unsigned first = table->count;
	struct chain chain;
	const char *prefix;
	int r;

	r = follow_bases(table, group, &chain);
	for (unsigned i = chain.count; r == 0 && i-- > 0;)
		r = add_own(table, first, chain.groups[i], group);
	if (r < 0)
		return r;
	prefix = join_prefixes(table->arena, &chain);
	for (unsigned i = first; prefix && i < table->count; i++) {
		table->rows[i] = *table->origins[i].row;
		table->rows[i].group = group;
		table->rows[i].on = join_pattern(table->arena, prefix, table->origins[i].on);
		if (!table->rows[i].on)
			prefix = NULL;
	}
	return prefix ? 0 : error_set(table->error, ENOMEM, "out of memory");
}

/* Put a group's own rows over those from `first` on, which it inherits. */
static int add_own(struct table *table, unsigned first, const struct crew_routes *writer,
		   const struct crew_routes *owner)
{
	const struct crew_route *rows = writer->routes;
	int r = 0;

	for (unsigned i = 0; r == 0 && rows && is_row(&rows[i]); i++) {
		const struct origin origin = { &rows[i], writer, owner, i, rows[i].on };

		for (unsigned j = 0; rows[i].name && j < i; j++) {
			if (rows[j].name && strcmp(rows[i].name, rows[j].name) == 0)
				return fail_row(table, &origin, NULL,
						"two rows of the group have the same name",
						span_of(rows[i].name));
		}
		r = put_row(table, first, &origin);
	}
	return r;
}

/* Over the row of that name, if there is one, or behind all others. */
static int put_row(struct table *table, unsigned first, const struct origin *origin)
{
	const unsigned at = find_row(table, first, origin->row->name);
	const char *inherited = at < table->count ? table->origins[at].on : NULL;
	struct span about = { "", 0 };
	const char *fault = check_row(origin->row, inherited, &about);

	if (fault)
		return fail_row(table, origin, NULL, fault, about);
	if (!origin->row->run) {
		table->count--;
		memmove(&table->origins[at], &table->origins[at + 1],
			(table->count - at) * sizeof(table->origins[0]));
		return 0;
	}
	if (at == table->count)
		table->count++;
	table->origins[at] = *origin;
	if (!origin->on)
		table->origins[at].on = inherited;
	return 0;
}

/* The row of that name from `first` on; the number of all rows if none has it. */
static unsigned find_row(const struct table *table, unsigned first, const char *name)
{
	unsigned at = name ? first : table->count;

	while (at < table->count && (!table->origins[at].row->name ||
				     strcmp(table->origins[at].row->name, name) != 0))
		at++;
	return at;
}

/* What is wrong with a row of a group, or NULL; `inherited` is the pattern of
 * the row that it overrides, or NULL. */
static const char *check_row(const struct crew_route *row, const char *inherited,
			     struct span *ret_about)
{
	if (!row->run)
		return inherited ? NULL
				 : "the row has no handler (.run), and no base has a row "
				   "of its name that it could remove";
	if (!row->on)
		return inherited ? NULL
				 : "the row has no pattern (.on), and no base has a row "
				   "of its name to take one from";
	*ret_about = span_of(pattern_of(row->on));
	return ret_about->at[0] == '/' ? NULL : "a pattern begins with a slash";
}

/* The part behind the methods. */
static const char *pattern_of(const char *on)
{
	const char *space = strchr(on, ' ');

	return space ? space + 1 : on;
}

/* The whole prefix of a group, without slashes at its end; "" if it has none. */
static char *join_prefixes(struct arena *arena, const struct chain *chain)
{
	size_t size = 1;
	char *whole;
	char *end;

	for (unsigned i = 0; i < chain->count; i++)
		size += chain->groups[i]->prefix ? strlen(chain->groups[i]->prefix) : 0;
	whole = end = arena_alloc(arena, size);
	if (!whole)
		return NULL;
	*end = '\0';
	for (unsigned i = chain->count; i-- > 0;) {
		if (chain->groups[i]->prefix)
			end = stpcpy(end, chain->groups[i]->prefix);
		while (end > whole && end[-1] == '/')
			*--end = '\0';
	}
	return whole;
}

static char *join_pattern(struct arena *arena, const char *prefix, const char *on)
{
	const char *pattern = pattern_of(on);
	const size_t size = strlen(on) + strlen(prefix) + 1;
	char *whole = arena_alloc(arena, size);

	if (whole)
		snprintf(whole, size, "%.*s%s%s", (int)(pattern - on), on, prefix,
			 *prefix && pattern[1] == '\0' ? "" : pattern);
	return whole;
}

static int check_table(const struct table *table)
{
	struct trie trie = { 0 };
	int r = 0;

	for (unsigned i = 0; r == 0 && i < table->count; i++) {
		struct span about = { "", 0 };
		const char *fault = trie_add(&trie, &table->rows[i], i, &about);

		if (fault)
			r = fail_row(table, &table->origins[i], table->rows[i].on, fault, about);
	}
	trie_free(&trie);
	return r;
}

/* `whole`: the pattern with its prefix, where that matters. */
static int fail_row(const struct table *table, const struct origin *origin, const char *whole,
		    const char *fault, struct span about)
{
	const struct crew_route *row = origin->row;
	char group[160] = "";
	char as[160] = "";

	if (origin->writer)
		snprintf(group, sizeof(group), ", group \"%.60s\"", origin->writer->name);
	if (whole && origin->owner != origin->writer)
		snprintf(as, sizeof(as), ", inherited by \"%.40s\" as \"%.80s\"",
			 origin->owner->name, whole);
	else if (whole && origin->owner)
		snprintf(as, sizeof(as), ", as \"%.80s\"", whole);
	return error_set(table->error, EINVAL, "%s%s, row %u (\"%.80s\")%s: %s%s%.*s%s",
			 table->pool, group, origin->number,
			 row->on ? row->on : row->name ? row->name : "", as, fault,
			 about.size ? ": \"" : "", (int)about.size, about.at,
			 about.size ? "\"" : "");
}
