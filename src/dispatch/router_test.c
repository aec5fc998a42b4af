/* SPDX-License-Identifier: MIT */
/* Whose a path is where several could have it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include <crew/crew.h>

#include "dispatch/router.h"

static crew_reply run(struct crew_request *request)
{
	return crew_text(request, 200, "");
}

static const struct crew_route rows[] = {
	{ .on = "GET /both", .run = run },
	{ .on = "POST /contact", .run = run },
	{ 0 },
};
static const struct crew_route owned_rows[] = {
	{ .on = "POST /own/form", .run = run },
	{ 0 },
};
static const char *const owned[] = { "/own/**", NULL };
static const struct crew_app app = { .name = "app", .routes = rows };
static const struct crew_app owner = { .name = "owner", .routes = owned_rows };
static const struct crew_server server = {
	.mounts = { { .at = "/static/", .root = "/" }, { .at = "/", .root = "/" } },
	.pools = { { .app = &app }, { .app = &owner, .prefix = owned } },
};

static struct router *router;
static struct route_match found;

static enum route_target match(const char *method, const char *path)
{
	router_match(router, http_method_of(span_of(method)), span_of(method),
		     span_of(path), &found);
	return found.target;
}

static void files_at_the_root_are_for_what_no_route_takes(void **state)
{
	(void)state;
	assert_int_equal(match("GET", "/both"), ROUTE_POOL);
	assert_int_equal(match("GET", "/deep/file"), ROUTE_MOUNT);
	assert_int_equal(found.index, 1);
	assert_true(span_equal(found.rest, span_of("deep/file")));
	assert_string_equal(found.allow, "");
	assert_int_equal(match("POST", "/deep/file"), ROUTE_MOUNT);
	assert_int_equal(match("POST", "/both"), ROUTE_METHOD);
	assert_string_equal(found.allow, "GET, HEAD");
	assert_int_equal(match("GET", "/static/file"), ROUTE_MOUNT);
	assert_int_equal(found.index, 0);
	assert_string_equal(found.allow, "");
}

/* A form and who takes it have one path. */
static void a_file_may_have_the_path_of_a_route_of_other_methods(void **state)
{
	(void)state;
	assert_int_equal(match("POST", "/contact"), ROUTE_POOL);
	assert_int_equal(match("GET", "/contact/"), ROUTE_MOUNT);
	assert_true(span_equal(found.rest, span_of("contact/")));
	assert_string_equal(found.allow, "POST");
	assert_int_equal(match("HEAD", "/contact"), ROUTE_MOUNT);
	assert_int_equal(match("PUT", "/contact"), ROUTE_METHOD);
	assert_int_equal(match("GET", "/own/form"), ROUTE_METHOD);
	assert_int_equal(match("GET", "/own/file"), ROUTE_NONE);
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
		cmocka_unit_test(files_at_the_root_are_for_what_no_route_takes),
		cmocka_unit_test(a_file_may_have_the_path_of_a_route_of_other_methods),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
