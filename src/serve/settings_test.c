/* SPDX-License-Identifier: MIT */
/* Settings, from how they are written to how a worker is given them. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/check.h"
#include "serve/settings.h"

static struct arena arena;
static struct crew_error error;

static int clean_up(void **state)
{
	(void)state;
	arena_fini(&arena);
	error = (struct crew_error){ 0 };
	return 0;
}

static int fill(struct crew_pool *pool)
{
	pool->name = "items";
	return settings_fill(pool, 2, &arena, &error);
}

/* The text of a key; NULL if the list has none, or has it twice. */
static const char *text(const struct crew_pool *pool, const char *key)
{
	const char *found = NULL;
	unsigned count = 0;

	for (const struct crew_setting *at = pool->settings; at->key; at++) {
		if (strcmp(at->key, key) == 0) {
			found = at->value;
			count++;
		}
	}
	return count == 1 ? found : NULL;
}

static void none_stay_none(void **state)
{
	struct crew_pool pool = { 0 };

	(void)state;
	assert_int_equal(fill(&pool), 0);
	assert_null(pool.settings);
	assert_null(pool.settings_json);
	assert_null(arena.first);
}

static void pairs_are_text_and_members(void **state)
{
	struct crew_pool pool = {
		.settings = (const struct crew_setting[]){
			{ "db", "postgres://db" }, { "retries", "3" }, { 0 } },
	};

	(void)state;
	assert_int_equal(fill(&pool), 0);
	assert_string_equal(text(&pool, "db"), "postgres://db");
	assert_string_equal(text(&pool, "retries"), "3");
	assert_null(text(&pool, "nothing"));
	assert_string_equal(pool.settings_json, "{\"db\":\"postgres://db\",\"retries\":\"3\"}");
}

static void members_are_text(void **state)
{
	struct crew_pool pool = {
		.settings_json = "{\"name\": \"\\u00e9t\\u00e9\", \"big\": -9223372036854775808,"
				 " \"tenth\": 0.1, \"third\": 0.33333333333333331, \"on\": true,"
				 " \"off\": false, \"nil\": null, \"list\": [1], \"in\": {\"a\": 1}}",
	};

	(void)state;
	assert_int_equal(fill(&pool), 0);
	assert_string_equal(text(&pool, "name"), "\303\251t\303\251");
	assert_string_equal(text(&pool, "big"), "-9223372036854775808");
	assert_string_equal(text(&pool, "tenth"), "0.1");
	assert_string_equal(text(&pool, "third"), "0.3333333333333333");
	assert_string_equal(text(&pool, "on"), "true");
	assert_string_equal(text(&pool, "off"), "false");
	assert_null(text(&pool, "nil"));
	assert_null(text(&pool, "list"));
	assert_null(text(&pool, "in"));
}

static void a_pair_stands_before_a_member(void **state)
{
	struct crew_pool pool = {
		.settings = (const struct crew_setting[]){ { "limit", "5" }, { 0 } },
		.settings_json = "{\"limit\": 10, \"deep\": {\"real\": 0.1}}",
	};
	json_t *object;

	(void)state;
	assert_int_equal(fill(&pool), 0);
	assert_string_equal(text(&pool, "limit"), "5");
	object = json_loads(pool.settings_json, 0, NULL);
	assert_int_equal(json_object_size(object), 2);
	assert_string_equal(json_string_value(json_object_get(object, "limit")), "5");
	assert_true(json_real_value(json_object_get(json_object_get(object, "deep"), "real")) ==
		    0.1);
	json_decref(object);
}

static void wrong_json_is_refused_by_place(void **state)
{
	static const struct {
		const char *json;
		const char *says;
	} rows[] = {
		{ "", "line 1, column 0: '[' or '{' expected near end of file" },
		{ "{\n  \"a\": 1,\n  \"b\": tru\n}", "line 3, column 10: invalid token near 'tru'" },
		{ "{\"a\": 1}\n{", "line 2, column 1: end of file expected near '{'" },
		{ "{\"a\": 1, \"a\": 2}", "line 1, column 12: duplicate object key near '\"a\"'" },
		{ "\n\n  [1]", "line 3, column 3: settings are an object, not an array" },
		{ "3", "line 1, column 1: '[' or '{' expected near '3'" },
		{ "{\"a\": 1e999}", "line 1, column 11: real number overflow near '1e999'" },
		{ "{\"a\": \"\\u0000\"}", "column" },
		{ "{\"a\": \"\xff\"}", "line 1, column 7: unable to decode byte 0xff near '\"'" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct crew_pool pool = { .settings_json = rows[i].json };

		assert_int_equal(fill(&pool), -EINVAL);
		assert_int_equal(error.code, EINVAL);
		assert_ptr_equal(strstr(error.text, "pool 2 (\"items\"), settings_json, line "),
				 error.text);
		if (!strstr(error.text, rows[i].says))
			fail_msg("\"%s\" does not say \"%s\"", error.text, rows[i].says);
		assert_ptr_equal(pool.settings_json, rows[i].json);
	}
}

static void wrong_pairs_are_refused_by_row(void **state)
{
	static const struct {
		struct crew_setting pair;
		const char *says;
	} rows[] = {
		{ { "", "x" }, "row 1 (\"\"): the setting has no key" },
		{ { NULL, "x" }, "row 1 (\"\"): the setting has no key" },
		{ { "b", NULL }, "row 1 (\"b\"): the setting has no value" },
		{ { "b", "\xff" }, "row 1 (\"b\"): key and value must be UTF-8" },
		{ { "\xff", "b" }, "key and value must be UTF-8" },
		{ { "a", "2" }, "row 1 (\"a\"): the key stands there twice" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		const struct crew_setting pairs[] = { { "a", "1" }, rows[i].pair, { 0 } };
		struct crew_pool pool = { .settings = pairs };

		assert_int_equal(fill(&pool), -EINVAL);
		assert_ptr_equal(strstr(error.text, "pool 2 (\"items\"), settings, "), error.text);
		if (!strstr(error.text, rows[i].says))
			fail_msg("\"%s\" does not say \"%s\"", error.text, rows[i].says);
	}
}

#define with_arena(test) cmocka_unit_test_teardown(test, clean_up)

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_arena(none_stay_none),
		with_arena(pairs_are_text_and_members),
		with_arena(members_are_text),
		with_arena(a_pair_stands_before_a_member),
		with_arena(wrong_json_is_refused_by_place),
		with_arena(wrong_pairs_are_refused_by_row),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
