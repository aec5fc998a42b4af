/* SPDX-License-Identifier: MIT */
/* Fields become JSON, byte for byte as RFC 8259 asks. */
#include <errno.h>
#include <locale.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "handler/json.h"

static struct arena arena;

static void expect(const char *wanted, const struct crew_field *fields)
{
	struct json_out out;

	json_out_init(&out, &arena);
	assert_int_equal(json_write_object(&out, fields), 0);
	assert_int_equal(out.size, strlen(wanted));
	assert_memory_equal(out.text, wanted, out.size);
	arena_reset(&arena);
}

#define expect_json(wanted, ...) \
	expect((wanted), (const struct crew_field[]){ __VA_ARGS__, { 0 } })

static void all_kinds(void **state)
{
	(void)state;
	expect("{}", (const struct crew_field[]){ { 0 } });
	expect("{}", NULL);
	expect_json("{\"id\":1,\"name\":\"bolt\"}", crew_int("id", 1),
		    crew_str("name", "bolt"));
	expect_json("{\"a\":true,\"b\":false,\"c\":null,\"d\":null,\"e\":[1,2]}",
		    crew_bool("a", true), crew_bool("b", false), crew_null("c"),
		    crew_str("d", NULL), crew_raw("e", "[1,2]"));
	expect_json("{\"o\":{\"x\":[1,\"two\",{}]},\"e\":[]}",
		    crew_object("o", crew_array("x", crew_int(NULL, 1),
						crew_str("ignored", "two"),
						crew_fields(NULL, NULL))),
		    crew_elements("e", NULL));
}

static void whole_numbers_are_whole(void **state)
{
	(void)state;
	expect_json("{\"\":0}", crew_int(NULL, 0));
	expect_json("{\"n\":9223372036854775807}", crew_int("n", INT64_MAX));
	expect_json("{\"n\":-9223372036854775808}", crew_int("n", INT64_MIN));
}

static void reals_have_the_fewest_digits(void **state)
{
	(void)state;
	expect_json("{\"n\":0.1}", crew_real("n", 0.1));
	expect_json("{\"n\":-3}", crew_real("n", -3.0));
	expect_json("{\"n\":0.30000000000000004}", crew_real("n", 0.1 + 0.2));
	expect_json("{\"n\":1e+300}", crew_real("n", 1e300));
	expect_json("{\"n\":5e-324}", crew_real("n", 4.9406564584124654e-324));
	expect_json("{\"a\":null,\"b\":null}", crew_real("a", NAN),
		    crew_real("b", -INFINITY));
}

static void reals_read_back(void **state)
{
	struct json_out out;
	char text[64];

	(void)state;
	srandom(7);
	for (unsigned i = 0; i < 2000; i++) {
		const double value = ldexp((double)random() / (double)random(),
					   (int)(random() % 600) - 300);

		json_out_init(&out, &arena);
		json_write_object(&out, (const struct crew_field[]){
						crew_real("", value), { 0 } });
		assert_true(out.size < sizeof(text));
		memcpy(text, out.text, out.size);
		text[out.size] = '\0';
		assert_true(strtod(text + strlen("{\"\":"), NULL) == value);
		arena_reset(&arena);
	}
}

/* A locale with decimal commas, made for this test: nobody has to have installed one. */
static void a_locale_changes_nothing(void **state)
{
	char folder[] = "/tmp/crew-locale-XXXXXX", command[128];

	(void)state;
	assert_non_null(mkdtemp(folder));
	snprintf(command, sizeof(command), "localedef -i de_DE -f ISO-8859-1 %s/commas", folder);
	assert_int_equal(system(command), 0);
	setenv("LOCPATH", folder, 1);
	assert_non_null(setlocale(LC_NUMERIC, "commas"));
	assert_string_equal(localeconv()->decimal_point, ",");
	expect_json("{\"n\":0.5}", crew_real("n", 0.5));
	setlocale(LC_NUMERIC, "C");
	snprintf(command, sizeof(command), "rm -r %s", folder);
	assert_int_equal(system(command), 0);
}

static void strings_are_escaped(void **state)
{
	(void)state;
	expect_json("{\"a\\\"b\":\"c\\\\d\"}", crew_str("a\"b", "c\\d"));
	expect_json("{\"s\":\"\\u0001\\n\"}", crew_str("s", "\001\n"));
	expect_json("{\"s\":\"h\xc3\xa9\"}", crew_str("s", "h\xc3\xa9"));
	expect_json("{\"s\":\"x\xef\xbf\xbdy\"}", crew_str("s", "x\xffy"));
}

static void long_strings_fit(void **state)
{
	static char text[100001];
	static char wanted[sizeof(text) + 16];

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	snprintf(wanted, sizeof(wanted), "{\"s\":\"%s\"}", text);
	expect_json(wanted, crew_str("s", text));
}

static void a_cycle_is_an_error(void **state)
{
	struct crew_field cycle[2] = { { 0 } };
	struct json_out out;

	(void)state;
	cycle[0] = crew_fields("again", cycle);
	json_out_init(&out, &arena);
	assert_int_equal(json_write_object(&out, cycle), -EINVAL);
	cycle[0] = (struct crew_field){ .kind = (enum crew_field_kind)99 };
	json_out_init(&out, &arena);
	assert_int_equal(json_write_object(&out, cycle), -EINVAL);
	arena_reset(&arena);
}

static void expect_tree(const char *wanted, json_t *value)
{
	struct json_out out;

	assert_non_null(value);
	json_out_init(&out, &arena);
	assert_int_equal(json_write_value(&out, value), 0);
	assert_int_equal(out.size, strlen(wanted));
	assert_memory_equal(out.text, wanted, out.size);
	json_decref(value);
	arena_reset(&arena);
}

/* As it stands there it is written back. */
static void expect_same(const char *text)
{
	expect_tree(text, json_loads(text, JSON_DECODE_ANY, NULL));
}

static void values_of_jansson_are_written_as_they_were_read(void **state)
{
	(void)state;
	expect_same("[true,false,null,\"\",[],{}]");
	expect_same("{\"b\":1,\"a\":{\"z\":[1,{\"y\":2}],\"c\":3}}");
	expect_same("\"h\xc3\xa9 \xf0\x9f\x98\x80 \\\"\\\\\\n\\u0001\"");
	expect_same("9223372036854775807");
	expect_same("-9223372036854775808");
	expect_same("[0.1,19.99,0.30000000000000004,-0.0,0.0,3.0,1e-07,1e+22,5e-324]");
	expect_same("[1234567890123456.0,123456789012345.5]");
	expect_tree("\"a\\u0000b\"", json_stringn("a\0b", 3));
	expect_tree("\"x\xef\xbf\xbdy\"", json_string_nocheck("x\xffy"));
#if JANSSON_VERSION_HEX >= 0x020e00
	json_t *object = json_object();

	assert_int_equal(json_object_setn_new(object, "a\0b", 3, json_true()), 0);
	expect_tree("{\"a\\u0000b\":true}", object);
#endif
}

/* So many arrays in each other. */
static json_t *nested(unsigned depth)
{
	json_t *value = json_array();

	while (--depth > 0)
		value = json_pack("[o]", value);
	return value;
}

static void what_jansson_reads_is_not_nested_too_deep(void **state)
{
	static char text[2 * JSON_PARSER_MAX_DEPTH + 1];
	json_t *const deeper = nested(JSON_PARSER_MAX_DEPTH + 1);
	struct json_out out;

	(void)state;
	memset(text, '[', JSON_PARSER_MAX_DEPTH);
	memset(text + JSON_PARSER_MAX_DEPTH, ']', JSON_PARSER_MAX_DEPTH);
	expect_same(text);
	json_out_init(&out, &arena);
	assert_int_equal(json_write_value(&out, deeper), -EINVAL);
	json_decref(deeper);
	json_out_init(&out, &arena);
	assert_int_equal(json_write_value(&out, NULL), -EINVAL);
	arena_reset(&arena);
}

static int fini(void **state)
{
	(void)state;
	arena_fini(&arena);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_kinds),
		cmocka_unit_test(whole_numbers_are_whole),
		cmocka_unit_test(reals_have_the_fewest_digits),
		cmocka_unit_test(reals_read_back),
		cmocka_unit_test(a_locale_changes_nothing),
		cmocka_unit_test(strings_are_escaped),
		cmocka_unit_test(long_strings_fit),
		cmocka_unit_test(a_cycle_is_an_error),
		cmocka_unit_test(values_of_jansson_are_written_as_they_were_read),
		cmocka_unit_test(what_jansson_reads_is_not_nested_too_deep),
	};

	arena_init(&arena, NULL);
	return cmocka_run_group_tests(tests, NULL, fini);
}
