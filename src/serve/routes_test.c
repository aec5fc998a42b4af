/* SPDX-License-Identifier: MIT */
/* Groups of routes, and the flat table that comes of them. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/check.h"
#include "serve/routes.h"

#define WITH(...) .groups = (const struct crew_routes *const[]){ __VA_ARGS__, NULL }
#define ROWS(...) .routes = (const struct crew_route[]){ __VA_ARGS__, { 0 } }

static struct arena arena;
static struct crew_error error;

static int clean_up(void **state)
{
	(void)state;
	arena_fini(&arena);
	error = (struct crew_error){ 0 };
	return 0;
}

/* Handlers that are only told apart. */
static crew_reply list(struct crew_request *request)
{
	return crew_text(request, 200, "list");
}

static crew_reply get(struct crew_request *request)
{
	return crew_text(request, 200, "get");
}

static crew_reply other(struct crew_request *request)
{
	return crew_text(request, 200, "other");
}

static const struct crew_routes api = {
	.name = "api",
	.prefix = "/api/",
	ROWS({ .on = "GET /", .run = list, .name = "list" },
	     { .on = "GET,PUT /{id:int}", .run = get, .name = "get", .idempotent = true },
	     { .on = "/ping", .run = other }),
};
static const struct crew_routes users = { .name = "users", .prefix = "/user", .base = &api };

static int flatten(const struct crew_app *app, const struct crew_route **ret_rows)
{
	struct crew_pool pool = { .app = app, .name = "pool" };
	int r = routes_flatten(&pool, 1, &arena, &error);

	assert_true(r < 0 || pool.app != app || !app->groups);
	*ret_rows = r < 0 ? NULL : pool.app->routes;
	return r;
}

static const struct crew_route *flat(const struct crew_app *app)
{
	const struct crew_route *rows;

	if (flatten(app, &rows) < 0)
		fail_msg("%s", error.text);
	return rows;
}

static void expect(const struct crew_route *row, const char *on, crew_handler *run,
		   const struct crew_routes *group)
{
	assert_string_equal(row->on, on);
	assert_true(row->run == run);
	assert_ptr_equal(row->group, group);
}

static void without_groups_all_stays(void **state)
{
	const struct crew_app app = { ROWS({ .on = "GET /x", .run = list }) };

	(void)state;
	assert_ptr_equal(flat(&app), app.routes);
	assert_null(arena.first);
}

static void a_group_has_its_prefix(void **state)
{
	const struct crew_app app = {
		.name = "app",
		ROWS({ .on = "GET /api", .run = other, .group = &users },
		     { .on = "/plain", .run = other }),
		WITH(&users),
	};
	const struct crew_route *rows = flat(&app);

	(void)state;
	expect(&rows[0], "GET /api", other, NULL);
	expect(&rows[1], "/plain", other, NULL);
	expect(&rows[2], "GET /api/user", list, &users);
	expect(&rows[3], "GET,PUT /api/user/{id:int}", get, &users);
	assert_true(rows[3].idempotent);
	expect(&rows[4], "/api/user/ping", other, &users);
	assert_null(rows[5].on);
}

static void without_a_prefix_patterns_stay(void **state)
{
	const struct crew_routes root = {
		.name = "root", .prefix = "",
		ROWS({ .on = "GET /", .run = list }, { .on = "/x/", .run = get }) };
	const struct crew_routes slash = { .name = "slash", .prefix = "//",
					   ROWS({ .on = "PUT /", .run = list }) };
	const struct crew_route *rows = flat(&(struct crew_app){ WITH(&root, &slash) });

	(void)state;
	expect(&rows[0], "GET /", list, &root);
	expect(&rows[1], "/x/", get, &root);
	expect(&rows[2], "PUT /", list, &slash);
}

static void a_base_in_the_list_keeps_its_own(void **state)
{
	const struct crew_route *rows = flat(&(struct crew_app){ WITH(&users, &api) });

	(void)state;
	expect(&rows[0], "GET /api/user", list, &users);
	expect(&rows[3], "GET /api", list, &api);
	expect(&rows[4], "GET,PUT /api/{id:int}", get, &api);
	assert_null(rows[6].on);
}

static void a_row_overrides_by_name(void **state)
{
	const struct crew_routes moved = {
		.name = "moved", .base = &users,
		ROWS({ .on = "POST /new", .run = other },
		     { .name = "get", .on = "GET /by-name/{name}", .run = other }) };
	const struct crew_routes kept = { .name = "kept", .prefix = "/kept", .base = &moved,
					  ROWS({ .name = "get", .run = list }) };
	const struct crew_route *rows = flat(&(struct crew_app){ WITH(&moved, &kept) });

	(void)state;
	expect(&rows[0], "GET /api/user", list, &moved);
	expect(&rows[1], "GET /api/user/by-name/{name}", other, &moved);
	assert_false(rows[1].idempotent);
	expect(&rows[2], "/api/user/ping", other, &moved);
	expect(&rows[3], "POST /api/user/new", other, &moved);
	expect(&rows[4], "GET /api/user/kept", list, &kept);
	expect(&rows[5], "GET /api/user/kept/by-name/{name}", list, &kept);
	assert_null(rows[8].on);
}

static void a_row_without_a_handler_removes(void **state)
{
	const struct crew_routes less = {
		.name = "less", .base = &users,
		ROWS({ .name = "list" }, { .name = "get", .on = "GET /not/looked/at" }) };
	const struct crew_routes again = {
		.name = "again", .prefix = "/again", .base = &less,
		ROWS({ .name = "get", .on = "GET /one", .run = get }) };
	const struct crew_route *rows = flat(&(struct crew_app){ WITH(&less, &again) });

	(void)state;
	expect(&rows[0], "/api/user/ping", other, &less);
	expect(&rows[1], "/api/user/again/ping", other, &again);
	expect(&rows[2], "GET /api/user/again/one", get, &again);
	assert_null(rows[3].on);
}

static void a_name_means_something_in_its_group_only(void **state)
{
	const struct crew_routes a = { .name = "a", .prefix = "/a",
				       ROWS({ .name = "x", .on = "/", .run = get }) };
	const struct crew_routes b = { .name = "b", .prefix = "/b",
				       ROWS({ .name = "x", .on = "/", .run = list }) };
	const struct crew_app app = { ROWS({ .name = "x", .on = "/c", .run = other }),
				      WITH(&a, &b) };
	const struct crew_route *rows = flat(&app);

	(void)state;
	expect(&rows[0], "/c", other, NULL);
	expect(&rows[1], "/a", get, &a);
	expect(&rows[2], "/b", list, &b);
}

static void the_longest_chain(void **state)
{
	struct crew_routes groups[ROUTES_CHAIN_MAX + 1];
	const struct crew_route *rows;

	(void)state;
	for (unsigned i = 0; i < COUNT_OF(groups); i++)
		groups[i] = (struct crew_routes){ .name = "link", .prefix = "/x",
						  .base = i ? &groups[i - 1] : NULL };
	groups[0].routes = (const struct crew_route[]){ { .on = "/", .run = get }, { 0 } };
	rows = flat(&(struct crew_app){ WITH(&groups[ROUTES_CHAIN_MAX - 1]) });
	expect(&rows[0], "/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x", get, &groups[ROUTES_CHAIN_MAX - 1]);
	assert_int_equal(flatten(&(struct crew_app){ WITH(&groups[ROUTES_CHAIN_MAX]) }, &rows),
			 -EINVAL);
	assert_string_equal(error.text,
			    "pool 1 (\"pool\"), group \"link\": it has 16 bases or more");
}

static void refuse(const struct crew_routes *group, const char *says)
{
	const struct crew_app app = { .name = "app", WITH(&api, group) };
	const struct crew_route *rows;

	error = (struct crew_error){ 0 };
	assert_int_equal(flatten(&app, &rows), -EINVAL);
	assert_int_equal(error.code, EINVAL);
	assert_ptr_equal(strstr(error.text, "pool 1 (\"pool\"), "), error.text);
	assert_string_equal(error.text + strlen("pool 1 (\"pool\"), "), says);
}

static void wrong_groups_are_refused(void **state)
{
	struct crew_routes a = { .name = "a" };
	struct crew_routes b = { .name = "b", .base = &a };

	(void)state;
	a.base = &b;
	refuse(&a, "group \"a\": its bases go in a circle, which closes at \"a\"");
	refuse(&(struct crew_routes){ .name = "c", .base = &a },
	       "group \"c\": its bases go in a circle, which closes at \"a\"");
	refuse(&(struct crew_routes){ .prefix = "/x" }, "group 1: it has no name (.name)");
	a = (struct crew_routes){ .name = "" };
	refuse(&b, "group \"b\": a base of it has no name (.name)");
	refuse(&api, "group \"api\": it stands in the list twice");
}

static void wrong_prefixes_are_refused(void **state)
{
	static const struct {
		const char *prefix;
		const char *says;
	} rows[] = {
		{ "x", "a prefix begins with a slash, and has no method: \"x\"" },
		{ "GET /x", "a prefix begins with a slash, and has no method: \"GET /x\"" },
		{ "/x y", "a prefix has no spaces: \"/x y\"" },
		{ "/x/**", "nothing can follow **: \"**\"" },
		{ "/{id:date}", "unknown type; use int or float, or leave it out: \"{id:date}\"" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		const struct crew_routes base = { .name = "base", .prefix = rows[i].prefix };
		const struct crew_routes group = { .name = "group", .base = &base };
		char says[200];

		snprintf(says, sizeof(says), "group \"base\", prefix \"%s\": %s", rows[i].prefix,
			 rows[i].says);
		refuse(&group, says);
	}
}

static void wrong_rows_are_refused(void **state)
{
	static const struct {
		struct crew_route row;
		const char *says;
	} rows[] = {
		{ { .on = "/x" },
		  "row 1 (\"/x\"): the row has no handler (.run), and no base has a row of its "
		  "name that it could remove" },
		{ { .name = "x" },
		  "row 1 (\"x\"): the row has no handler (.run), and no base has a row of its "
		  "name that it could remove" },
		{ { .name = "x", .run = get },
		  "row 1 (\"x\"): the row has no pattern (.on), and no base has a row of its "
		  "name to take one from" },
		{ { .run = get },
		  "row 1 (\"\"): the row has no pattern (.on), and no base has a row of its "
		  "name to take one from" },
		{ { .on = "x", .run = get }, "row 1 (\"x\"): a pattern begins with a slash: \"x\"" },
		{ { .on = "GET x", .run = get },
		  "row 1 (\"GET x\"): a pattern begins with a slash: \"x\"" },
		{ { .name = "same", .on = "/y", .run = get },
		  "row 1 (\"/y\"): two rows of the group have the same name: \"same\"" },
		{ { .on = "GET /{a:date}", .run = get },
		  "row 1 (\"GET /{a:date}\"), as \"GET /api/g/{a:date}\": unknown type; use int "
		  "or float, or leave it out: \"{a:date}\"" },
		{ { .on = "get /a", .run = get },
		  "row 1 (\"get /a\"), as \"get /api/g/a\": a method is written in capital "
		  "letters, several with commas and no spaces between them: \"get\"" },
		{ { .on = "PUT /same", .run = get },
		  "row 1 (\"PUT /same\"), as \"PUT /api/g/same\": the same route stands in the "
		  "table twice: \"PUT\"" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		const struct crew_routes group = {
			.name = "g", .prefix = "/g", .base = &api,
			ROWS({ .name = "same", .on = "PUT /same", .run = other }, rows[i].row) };
		char says[300];

		snprintf(says, sizeof(says), "group \"g\", %s", rows[i].says);
		refuse(&group, says);
	}
}

/* The fault is the deriving group's: the base's row is good where it stands. */
static void a_doubled_inheritance_is_refused(void **state)
{
	const struct crew_routes bare = { .name = "bare", .base = &api };

	(void)state;
	refuse(&bare, "group \"api\", row 0 (\"GET /\"), inherited by \"bare\" as \"GET /api\": "
		      "the same route stands in the table twice: \"GET\"");
}

#define with_arena(test) cmocka_unit_test_teardown(test, clean_up)

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_arena(without_groups_all_stays),
		with_arena(a_group_has_its_prefix),
		with_arena(without_a_prefix_patterns_stay),
		with_arena(a_base_in_the_list_keeps_its_own),
		with_arena(a_row_overrides_by_name),
		with_arena(a_row_without_a_handler_removes),
		with_arena(a_name_means_something_in_its_group_only),
		with_arena(the_longest_chain),
		with_arena(wrong_groups_are_refused),
		with_arena(wrong_prefixes_are_refused),
		with_arena(wrong_rows_are_refused),
		with_arena(a_doubled_inheritance_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
