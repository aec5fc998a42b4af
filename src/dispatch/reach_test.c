/* SPDX-License-Identifier: MIT */
/* What no client can reach, and what is said of it; and the order in which tables are searched. */
#include "dispatch/reach.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
#include "dispatch/router.h"

static crew_reply nothing(struct crew_request *request)
{
	return crew_text(request, 200, "");
}

static void one_pattern_covers_another(void **state)
{
	static const struct {
		const char *a;
		const char *b;
		bool covers;
		bool meets;
	} rows[] = {
		{ "/a", "/a/", true, true },
		{ "/a", "/b", false, false },
		{ "/a", "/a/b", false, false },
		{ "/**", "/", true, true },
		{ "/", "/**", false, true },
		{ "/api/**", "/api", true, true },
		{ "/api/**", "/api/**", true, true },
		{ "/api/**", "/api/admin/**", true, true },
		{ "/api/admin/**", "/api/**", false, true },
		{ "/api/**", "/apix", false, false },
		{ "/{a}", "/x", true, true },
		{ "/{a}", "/{b:int}", true, true },
		{ "/{a:int}", "/{b}", false, true },
		{ "/{a:int}", "/7", false, true },
		{ "/{a:float}", "/{b:int}", true, true },
		{ "/{a:float}", "/1.5", false, true },
		{ "/x/{a}", "/{b}/y", false, true },
		{ "/{a}/**", "/x/y/z", true, true },
		{ "/{a}/**", "/", false, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		assert_int_equal(reach_covers(rows[i].a, rows[i].b), rows[i].covers);
		assert_int_equal(reach_meets(rows[i].a, rows[i].b), rows[i].meets);
		assert_int_equal(reach_meets(rows[i].b, rows[i].a), rows[i].meets);
	}
}

#define PREFIXES(...) ((const char *const[]){ __VA_ARGS__, NULL })

static char said[4096];

static bool take_line(void *context, const struct crew_log_line *line)
{
	(void)context;
	strncat(said, line->message, sizeof(said) - strlen(said) - 1);
	return true;
}

/* What the router says of it: an error, warnings, or "". */
static const char *judge(const struct crew_server *server)
{
	struct router *router = NULL;
	static struct crew_error error;

	error = (struct crew_error){ 0 };
	said[0] = '\0';
	log_set_taker(take_line, NULL);
	if (router_new(server, &router, &error) < 0)
		return error.text;
	router_free(router);
	return said;
}

static const struct crew_app app = {
	.name = "app",
	.routes = (const struct crew_route[]){ { .on = "GET /api/x", .run = nothing }, { 0 } },
};

static void prefixes_that_another_pool_has_are_refused(void **state)
{
	const struct crew_app two = { .name = "two", .routes = app.routes };
	struct crew_server server = { .pools = { { .app = &app, .prefix = PREFIXES("/api/**") },
						 { .app = &two } } };

	(void)state;
	server.pools[1].prefix = PREFIXES("/y", "/api/admin/**");
	assert_string_equal(judge(&server),
			    "pool 1 (\"two\"), prefix \"/api/admin/**\": pool 0 (\"app\") takes these "
			    "paths already, by \"/api/**\": put the pool with the narrower one first");
	server.pools[1].prefix = PREFIXES("/api/**");
	assert_string_equal(judge(&server),
			    "pool 1 (\"two\"), prefix \"/api/**\": pool 0 (\"app\") takes these "
			    "paths already, by \"/api/**\"");
	server.pools[0].prefix = PREFIXES("/api/admin/**", "/api/x");
	assert_string_equal(judge(&server), "pool \"two\", route \"GET /api/x\": no client reaches "
					    "it: pool \"app\" takes its path, by \"/api/x\"");
	server.pools[0].prefix = PREFIXES("/api/{which}");
	assert_non_null(strstr(judge(&server), "takes its path"));
	/* By their prefixes both have all of it. */
	server.pools[1] = (struct crew_pool){ .app = &app, .name = "rest" };
	assert_string_equal(judge(&server), "");
	server.pools[1].app = NULL;
	assert_string_equal(judge(&server), "");
}

static void routes_without_clients_are_warned_of(void **state)
{
	static const struct crew_route own[] = {
		{ .on = "GET,POST /static/a", .run = nothing },
		{ .on = "GET /static/b", .run = nothing },
		{ 0 },
	};
	static const struct crew_route local[] = { { .on = "GET,PUT /api/x", .run = nothing }, { 0 } };
	static const struct crew_route pages[] = {
		{ .on = "GET /health", .run = nothing },
		{ .on = "POST /live", .run = nothing },
		{ .on = "/ready", .run = nothing },
		{ 0 },
	};
	const struct crew_app files = { .name = "files", .routes = own };
	const struct crew_app page = { .name = "pages", .routes = pages };
	const struct crew_app again = { .name = "again", .routes = pages };
	struct crew_server server = { .pools = { { .app = &app } }, .local = local };

	(void)state;
	assert_string_equal(judge(&server), "pool \"app\", route \"GET /api/x\": no client reaches it: "
					    "the local route \"GET,PUT /api/x\" has its path");
	server.local = NULL;
	server.pools[0].prefix = PREFIXES("/other/**");
	assert_string_equal(judge(&server), "pool \"app\", route \"GET /api/x\": no client reaches it: "
					    "it lies outside of the prefixes of its pool");
	server.pools[0] = (struct crew_pool){ .app = &files };
	server.mounts[0] = (struct crew_mount){ "/static/", "/" };
	assert_string_equal(judge(&server),
			    "pool \"files\", route \"GET,POST /static/a\" (and 1 more): no "
			    "client reaches it: the mount at \"/static/\" has its path");
	server.mounts[0].at = "/";
	assert_string_equal(judge(&server), "");
	server.pools[0].app = &page;
	assert_string_equal(judge(&server), "pool \"pages\", route \"GET /health\": no client reaches "
					    "it: a built-in page has its path (see status_path)");
	server.status_path = "";
	assert_string_equal(judge(&server), "");
	server.pools[1] = (struct crew_pool){ .app = &again };
	assert_non_null(strstr(judge(&server), "(and 2 more): no client reaches it: pool "
					       "\"pages\" takes its path, by \"GET /health\""));
}

static void names_of_pools_differ(void **state)
{
	const struct crew_app nameless = { .routes = app.routes };
	const struct crew_server twice = { .pools = { { .app = &app }, { .app = &app } } };
	const struct crew_server none = { .pools = { { .app = &app }, { .app = &nameless } } };
	const struct crew_server blank = { .pools = { { .app = &app, .name = "my app" } } };
	const struct crew_server ours = { .pools = { { .app = &app, .name = "dispatcher" } } };

	(void)state;
	assert_string_equal(judge(&twice),
			    "pools 0 and 1 are both called \"app\": give one another .name");
	assert_string_equal(judge(&none),
			    "pool 1 has no name: give it, or its application, a .name");
	assert_string_equal(judge(&blank), "pool 0: its name \"my app\" must have 1 to 40 "
					   "characters, and no blank or bracket");
	assert_non_null(strstr(judge(&ours), "pool 0 is called \"dispatcher\", as are the "
					     "processes that talk to clients"));
}

static void a_mount_at_the_root_comes_last(void **state)
{
	static const struct {
		const char *path;
		enum http_method method;
		enum route_target target;
	} rows[] = {
		{ "/api/x", HTTP_GET, ROUTE_POOL },   { "/api/x", HTTP_POST, ROUTE_METHOD },
		{ "/api/y", HTTP_GET, ROUTE_NONE },   { "/health", HTTP_GET, ROUTE_STATUS },
		{ "/", HTTP_GET, ROUTE_MOUNT },       { "/a/b.html", HTTP_GET, ROUTE_MOUNT },
		{ "/static/a", HTTP_GET, ROUTE_MOUNT }, { "/../x", HTTP_GET, ROUTE_NONE },
	};
	const struct crew_server server = {
		.mounts = { { "/", "/" }, { "/static/", "/" } },
		.pools = { { .app = &app, .prefix = PREFIXES("/api/**") } },
	};
	struct router *router = NULL;
	struct route_match match;

	(void)state;
	assert_int_equal(router_new(&server, &router, NULL), 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		router_match(router, rows[i].method, span_of("?"), span_of(rows[i].path), &match);
		assert_int_equal(match.target, rows[i].target);
	}
	router_match(router, HTTP_GET, span_of("GET"), span_of("/static/a"), &match);
	assert_int_equal(match.index, 1);
	router_match(router, HTTP_GET, span_of("GET"), span_of("/a/b"), &match);
	assert_int_equal(match.index, 0);
	assert_true(span_equal(match.rest, span_of("a/b")));
	router_free(router);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_pattern_covers_another),
		cmocka_unit_test(prefixes_that_another_pool_has_are_refused),
		cmocka_unit_test(routes_without_clients_are_warned_of),
		cmocka_unit_test(names_of_pools_differ),
		cmocka_unit_test(a_mount_at_the_root_comes_last),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
