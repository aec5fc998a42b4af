/* SPDX-License-Identifier: MIT */
/* What a worker keeps for its application: settings, and the state of groups. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/log.h"
#include "worker/private.h"

static struct worker worker;
static char story[200]; /* what was called, in its order */
static int code;        /* what the last group's setup returns */

static void tell(const char *what)
{
	strncat(story, what, sizeof(story) - strlen(story) - 1);
}

/* ---- the application ---- */

static int set_up_app(struct crew_worker *public)
{
	assert_string_equal(crew_setting(public, "key"), "value");
	tell("app ");
	return 0;
}

static void tear_down_app(struct crew_worker *public)
{
	(void)public;
	tell("-app ");
}

static int set_up_base(struct crew_worker *public, void **ret_state)
{
	static int states[4];
	static unsigned used;

	(void)public;
	tell("base ");
	*ret_state = &states[used++ % 4];
	return 0;
}

static void tear_down_base(struct crew_worker *public, void *state)
{
	(void)public;
	assert_non_null(state);
	tell("-base ");
}

static int set_up_last(struct crew_worker *public, void **ret_state)
{
	(void)public;
	tell("last ");
	*ret_state = story;
	return code;
}

static const struct crew_routes base = { .name = "base", .setup = set_up_base,
					 .teardown = tear_down_base };
static const struct crew_routes heir = { .name = "heir", .base = &base };
static const struct crew_routes plain = { .name = "plain" };
static const struct crew_routes last = { .name = "last", .base = &heir, .setup = set_up_last };
static const struct crew_app app = {
	.name = "app",
	.setup = set_up_app,
	.teardown = tear_down_app,
	.routes = (const struct crew_route[]){ { .on = "/" },
					       { .on = "/", .group = &heir },
					       { .on = "/", .group = &base },
					       { .on = "/", .group = &plain },
					       { .on = "/", .group = &last },
					       { .on = "/", .group = &heir },
					       { 0 } },
	.groups = (const struct crew_routes *const[]){ &base, &heir, &plain, &last, NULL },
};
static const struct crew_pool pool = {
	.app = &app,
	.settings = (const struct crew_setting[]){ { "key", "value" }, { 0 } },
	.settings_json = "{\"key\":\"value\",\"list\":[1,2]}",
};

static int begin(void **state)
{
	static const struct worker_options options = { &pool, "pool", NULL };

	(void)state;
	worker = (struct worker){ .options = &options, .route_count = 6 };
	story[0] = '\0';
	code = 0;
	return 0;
}

static int end(void **state)
{
	(void)state;
	app_fini(&worker);
	return 0;
}

static void *state_of(uint32_t route)
{
	const struct wire_request wire = { .route = route };
	const struct crew_request request = { .wire = &wire, .worker = &worker.public };

	return crew_group_state(&request);
}

/* ---- tests ---- */

static void each_group_has_a_state(void **state)
{
	(void)state;
	assert_int_equal(app_set_up(&worker), 0);
	assert_string_equal(story, "app base base last ");
	assert_null(state_of(0));
	assert_non_null(state_of(1));
	assert_non_null(state_of(2));
	assert_ptr_not_equal(state_of(1), state_of(2));
	assert_null(state_of(3));
	assert_ptr_equal(state_of(4), story);
	assert_ptr_equal(state_of(5), state_of(1));
	for (uint32_t beyond = 6; beyond < 64; beyond++)
		assert_null(state_of(beyond));
	story[0] = '\0';
	app_tear_down(&worker);
	assert_string_equal(story, "-base -base -app ");
}

static void a_failed_group_undoes_the_others(void **state)
{
	(void)state;
	code = 7;
	assert_int_equal(app_set_up(&worker), 7);
	assert_string_equal(story, "app base base last -base -base -app ");
	assert_null(state_of(1));
}

static void settings_are_at_hand(void **state)
{
	const json_t *settings;

	(void)state;
	assert_int_equal(app_set_up(&worker), 0);
	assert_string_equal(crew_setting(&worker.public, "key"), "value");
	assert_null(crew_setting(&worker.public, "list"));
	settings = crew_settings(&worker.public);
	assert_int_equal(json_array_size(json_object_get(settings, "list")), 2);
}

static void without_anything_there_is_an_empty_object(void **state)
{
	static const struct crew_app bare = { .name = "bare" };
	static const struct crew_pool bare_pool = { .app = &bare };
	static const struct worker_options options = { &bare_pool, "pool", NULL };

	(void)state;
	worker = (struct worker){ .options = &options };
	assert_null(crew_settings(&worker.public)); /* so it is in the dispatcher */
	assert_null(crew_setting(&worker.public, "key"));
	assert_int_equal(app_set_up(&worker), 0);
	assert_null(state_of(0));
	assert_null(crew_setting(&worker.public, "key"));
	assert_true(json_is_object(crew_settings(&worker.public)));
	assert_int_equal(json_object_size(crew_settings(&worker.public)), 0);
	app_tear_down(&worker);
}

#define with_worker(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_worker(each_group_has_a_state),
		with_worker(a_failed_group_undoes_the_others),
		with_worker(settings_are_at_hand),
		with_worker(without_anything_there_is_an_empty_object),
	};

	log_init();
	log_set_level(CREW_CRITICAL + 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
