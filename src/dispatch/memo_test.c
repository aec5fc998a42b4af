/* SPDX-License-Identifier: MIT */
/* With the memo every match is what it is without. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <crew/crew.h>

#include "dispatch/memo.h"

static crew_reply run(struct crew_request *request)
{
	return crew_text(request, 200, "");
}

static crew_reply pass(struct crew_request *request)
{
	return crew_pass(request);
}

static const struct crew_route local[] = {
	{ .on = "GET /here", .run = run },
	{ 0 },
};
#define LONG_METHOD "A-METHOD-THAT-TAKES-MOST-OF-THE-ROOM-THERE-IS-FOR-ALL-OF-THEM-IN-THE-HEADER-LINE"
static const struct crew_route rows[] = {
	{ .on = LONG_METHOD "," LONG_METHOD "-AND-MORE,SHORT /long", .run = run },
	{ .on = "GET /", .run = run },
	{ .on = "GET /items", .run = run },
	{ .on = "POST /items", .run = run },
	{ .on = "GET /items/{id:int}", .run = run },
	{ .on = "/admin/users", .run = run },
	{ .on = "BREW,WHEN /items", .run = run },
	{ .on = "/files/**", .run = run },
	{ 0 },
};
static const struct crew_app app = { .name = "app", .routes = rows };
static const char *const checked[] = { "/admin/**", NULL };
static const struct crew_server server = {
	.local = local,
	.mounts = { { .at = "/static/", .root = "/" } },
	.hooks = { .check = pass, .check_prefix = checked },
	.pools = { { .app = &app } },
};

static struct router *router;
static struct memo memo;

/* As the dispatcher does. Says whether it was known. */
static bool match(const char *method, const char *path, struct route_match *ret_match)
{
	const enum http_method number = http_method_of(span_of(method));

	const bool known = memo_match(&memo, number, span_of(path), ret_match);

	memo_route(&memo, router, number, span_of(method), span_of(path), ret_match);
	return known;
}

static bool is_known_second(const char *method, const char *path)
{
	struct route_match without;
	struct route_match with;
	bool known;

	router_match(router, http_method_of(span_of(method)), span_of(method),
		     span_of(path), &without);
	match(method, path, &with);
	known = match(method, path, &with);
	assert_int_equal(with.target, without.target);
	assert_int_equal(with.param_count, without.param_count);
	if (without.target == ROUTE_NONE || without.target == ROUTE_METHOD ||
	    without.target == ROUTE_MOUNT)
		return known;
	assert_int_equal(with.row, without.row);
	assert_ptr_equal(with.route, without.route);
	if (without.target == ROUTE_POOL) {
		assert_int_equal(with.index, without.index);
		assert_int_equal(with.checked, without.checked);
	}
	return known;
}

static void what_took_no_parameter_is_noted(void **state)
{
	struct route_match found;

	(void)state;
	for (int i = 0; i < 3; i++) {
		assert_true(is_known_second("GET", "/"));
		assert_true(is_known_second("GET", "/here"));
		assert_true(is_known_second("GET", "/items"));
		assert_true(is_known_second("POST", "/items"));
		assert_true(is_known_second("HEAD", "/items"));
		assert_true(is_known_second("PUT", "/admin/users"));
		assert_true(is_known_second("GET", "/status"));
	}
	match("GET", "/admin/users", &found);
	assert_true(found.checked);
	match("GET", "/items", &found);
	assert_false(found.checked);
}

static void methods_of_ones_own_are_named_too(void **state)
{
	struct route_match found;

	(void)state;
	match("BREW", "/items", &found);
	assert_int_equal(found.target, ROUTE_POOL);
	match("PUT", "/items", &found);
	assert_int_equal(found.target, ROUTE_METHOD);
	assert_string_equal(found.allow, "GET, HEAD, POST, BREW, WHEN");
	match("STEEP", "/items", &found);
	assert_string_equal(found.allow, "GET, HEAD, POST, BREW, WHEN");
	match("POST", "/here", &found);
	assert_string_equal(found.allow, "GET, HEAD");
}

static void names_without_room_are_left_out(void **state)
{
	struct route_match found;

	(void)state;
	match("GET", "/long", &found);
	assert_int_equal(found.target, ROUTE_METHOD);
	assert_string_equal(found.allow, LONG_METHOD ", SHORT");
}

static void the_rest_is_searched_each_time(void **state)
{
	char path[100];

	(void)state;
	assert_false(is_known_second("GET", "/items/7"));
	assert_false(is_known_second("BREW", "/items"));
	assert_false(is_known_second("GET", "/static/hello.txt"));
	assert_false(is_known_second("GET", "/nothing"));
	assert_false(is_known_second("DELETE", "/items"));
	assert_false(is_known_second("GET", "/items/.."));
	memset(path, 'x', sizeof(path));
	memcpy(path, "/files/", 7);
	path[MEMO_PATH_MAX_BYTES + 1] = '\0';
	assert_false(is_known_second("GET", path));
	path[MEMO_PATH_MAX_BYTES] = '\0';
	assert_true(is_known_second("GET", path));
}

/* More paths than places: each takes over another's, and nobody gets a neighbour's
 * match. */
static void places_are_taken_over(void **state)
{
	char path[40];

	(void)state;
	for (int round = 0; round < 2; round++) {
		for (unsigned i = 0; i < 4 * MEMO_PLACES; i++) {
			snprintf(path, sizeof(path), "/files/%u", i);
			assert_true(is_known_second("GET", path));
			snprintf(path, sizeof(path), "/%u", i);
			assert_false(is_known_second("GET", path));
		}
		assert_true(is_known_second("GET", "/items"));
	}
}

static int set_up(void **state)
{
	struct crew_error error = { 0 };

	(void)state;
	return router_new(&server, &router, &error);
}

static int tear_down(void **state)
{
	(void)state;
	router_free(router);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_took_no_parameter_is_noted),
		cmocka_unit_test(methods_of_ones_own_are_named_too),
		cmocka_unit_test(names_without_room_are_left_out),
		cmocka_unit_test(the_rest_is_searched_each_time),
		cmocka_unit_test(places_are_taken_over),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
