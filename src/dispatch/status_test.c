/* SPDX-License-Identifier: MIT */
/* /status is JSON, whatever the names and paths in it are: a dispatcher with one pool, and one
 * worker that has some requests. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include <crew/crew.h>

#include "dispatch/private.h"

enum { DISPATCHERS = 0, WORKERS, JOBS, MORE_JOBS, LINES };
#define REQUESTS 3000u /* more than any first room is for */
#define LABEL    "GET\0/\xff\"\xc3\xa9\n"

static const struct crew_pool options = { .queue_max = 5 };
static const struct crew_server server = {
	.dispatchers = 1,
	.groups = (const struct crew_group[]){ { .name = "jobs" }, { .name = "more" }, { 0 } },
};
static const struct dispatcher_options dispatcher_options = { .server = &server,
							      .first_group = WORKERS };
static struct scoreboard board;
static struct crew_child self = { .board = &board };
static struct dispatcher *dispatcher;
static struct seat seat;
static struct seat *seats[] = { &seat };
static struct exchange *exchanges;

static int set_up(void **state)
{
	(void)state;
	assert_int_equal(scoreboard_init(&board, LINES), 0);
	for (unsigned i = 0; i < LINES; i++) {
		struct score *score = scoreboard_line(&board, i);

		scoreboard_use(&board, i);
		atomic_store(&scoreboard_owner(&board, score)->group, i);
		score_set_state(score, CREW_CHILD_READY);
	}
	self.score = scoreboard_line(&board, DISPATCHERS);
	dispatcher = calloc(1, sizeof(*dispatcher));
	exchanges = calloc(REQUESTS, sizeof(*exchanges));
	seat.slots = calloc(LINK_SLOTS, sizeof(*seat.slots));
	assert_true(dispatcher && exchanges && seat.slots);
	dispatcher->server = &server;
	dispatcher->options = &dispatcher_options;
	dispatcher->self = &self;
	dispatcher->pool_count = 1;
	dispatcher->pools[0] = (struct pool){ .dispatcher = dispatcher, .options = &options,
					      .name = "p\xff", .seats = seats,
					      .seat_count = 1 };
	seat.dispatcher = dispatcher;
	seat.pool = &dispatcher->pools[0];
	seat.up = true;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	free(seat.slots);
	free(exchanges);
	free(dispatcher);
	buffer_free_kept();
	scoreboard_fini(&board);
	return 0;
}

static void what_is_no_text_is_there_all_the_same(void **state)
{
	static char label[] = LABEL;
	json_t *status;
	const char *name;
	const char *method;
	const char *path;
	json_t *requests;
	char *text;
	int queue_max;

	(void)state;
	for (uint32_t i = 0; i < REQUESTS; i++) {
		exchanges[i].label = label;
		seat.slots[i].exchange = &exchanges[i];
		slots_add(&seat.used_slots, i);
	}
	text = status_text(dispatcher);
	assert_non_null(text);
	status = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(status);
	assert_int_equal(json_unpack(status, "{s:[{s:s, s:i, s:[{s:o}]}]}", "pools", "name",
				     &name, "queue_max", &queue_max, "workers", "requests",
				     &requests), 0);
	assert_string_equal(name, "p\xef\xbf\xbd");
	assert_int_equal(queue_max, 5);
	assert_int_equal(json_array_size(requests), REQUESTS);
	assert_int_equal(json_unpack(json_array_get(requests, REQUESTS - 1), "{s:s, s:s}",
				     "method", &method, "path", &path), 0);
	assert_string_equal(method, "GET");
	assert_string_equal(path, "/\xef\xbf\xbd\"\xc3\xa9\n");
	assert_int_equal(json_array_size(json_object_get(status, "dispatchers")), 1);
	json_decref(status);
	free(text);
}

static void status_is(const json_t *value, const char *expected)
{
	char *text = json_dumps(value, JSON_COMPACT | JSON_SORT_KEYS);

	assert_non_null(text);
	assert_string_equal(text, expected);
	free(text);
}

/* But for those who were told to stop. */
static void the_last_deaths_are_listed(void **state)
{
	struct control death = { .kind = CONTROL_LINK_DOWN, .pid = 7, .at = 5 };
	json_t *status;
	json_t *deaths;
	char *text;

	(void)state;
	for (unsigned i = 1; i <= 24; i++) {
		death.generation = i;
		death.cause = i % 2 ? CREW_CAUSE_ORDER : CREW_CAUSE_EXIT;
		death.detail = (int)i;
		status_note_death(dispatcher, &death);
	}
	death = (struct control){ .cause = CREW_CAUSE_STUCK, .detail = 9, .signal = 9,
				  .pid = 7, .at = 6 };
	status_note_death(dispatcher, &death);
	text = status_text(dispatcher);
	assert_non_null(text);
	status = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	deaths = json_object_get(status, "deaths");
	assert_int_equal(json_array_size(deaths), 10);
	status_is(json_array_get(deaths, 0), "{\"at\":6,\"cause\":\"stuck\",\"generation\":0,"
		  "\"index\":0,\"name\":\"SIGKILL\",\"pid\":7,\"pool\":\"p\xef\xbf\xbd\","
		  "\"signal\":9}");
	status_is(json_array_get(deaths, 9), "{\"at\":5,\"cause\":\"exit\",\"exit_code\":8,"
		  "\"generation\":8,\"index\":0,\"pid\":7,\"pool\":\"p\xef\xbf\xbd\"}");
	json_decref(status);
	free(text);
}

/* What runs beside the pools. */
static void groups_are_listed(void **state)
{
	const struct control told = { .kind = CONTROL_GROUP, .pool = 1, .detail = 1,
				      .restarts = 7 };
	const struct control wrong = { .kind = CONTROL_GROUP, .pool = CREW_GROUPS_MAX };
	json_t *status;
	json_t *groups;
	json_t *child;
	char *text;

	(void)state;
	status_note_group(dispatcher, &told);
	status_note_group(dispatcher, &wrong);
	score_set_status(scoreboard_line(&board, JOBS), "half \"done\"", 11);
	text = status_text(dispatcher);
	assert_non_null(text);
	status = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	groups = json_object_get(status, "groups");
	assert_int_equal(json_array_size(groups), 2);
	child = json_array_get(json_object_get(json_array_get(groups, 0), "children"), 0);
	assert_string_equal(json_string_value(json_object_get(child, "status")), "half \"done\"");
	assert_string_equal(json_string_value(json_object_get(child, "state")), "ready");
	json_object_del(json_array_get(groups, 0), "children");
	json_object_del(json_array_get(groups, 1), "children");
	status_is(json_array_get(groups, 0), "{\"name\":\"jobs\",\"restarts\":0,"
		  "\"state\":\"ready\"}");
	status_is(json_array_get(groups, 1), "{\"name\":\"more\",\"restarts\":7,"
		  "\"state\":\"degraded\"}");
	json_decref(status);
	free(text);
}

static int countdown;

static void *fail_once(size_t size)
{
	return --countdown == 0 ? NULL : malloc(size);
}

/* What a library leaves out for want of memory is none of ours. */
static void there_is_all_of_it_or_nothing(void **state)
{
	json_malloc_t take;
	json_free_t give;
	json_t *status;
	char *text;

	(void)state;
	json_get_alloc_funcs(&take, &give);
	for (int i = 1; i < 200; i++) {
		countdown = i;
		json_set_alloc_funcs(fail_once, free);
		text = status_text(dispatcher);
		json_set_alloc_funcs(take, give);
		status = text ? json_loads(text, JSON_REJECT_DUPLICATES, NULL) : NULL;
		assert_true(!text || json_object_size(status) == 7);
		json_decref(status);
		free(text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_is_no_text_is_there_all_the_same, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(the_last_deaths_are_listed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(groups_are_listed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(there_is_all_of_it_or_nothing, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
