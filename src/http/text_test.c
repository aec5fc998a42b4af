/* SPDX-License-Identifier: MIT */
/* Percent-encoding, queries, cookies, Accept, and escaped text. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>

#include "base/check.h"
#include "http/text.h"

static void expect_text(const char *expected, const char *text, size_t size)
{
	if (size != strlen(expected))
		print_error("%.*s, not %s\n", (int)size, text, expected);
	assert_int_equal(size, strlen(expected));
	assert_memory_equal(text, expected, size);
}

static void escapes_are_decoded(void **state)
{
	static const struct {
		const char *text, *plain, *form;
	} good[] = {
		{ "", "", "" },
		{ "abc", "abc", "abc" },
		{ "a+b%2B%20", "a+b+ ", "a b+ " },
		{ "%41%7e%C3%a9", "A~\xc3\xa9", "A~\xc3\xa9" },
		{ "%2541", "%41", "%41" },
	};
	char text[20];

	(void)state;
	for (size_t i = 0; i < COUNT_OF(good); i++) {
		ssize_t size = http_decode(text, span_of(good[i].text), false);

		expect_text(good[i].plain, text, (size_t)size);
		size = http_decode(text, span_of(good[i].text), true);
		expect_text(good[i].form, text, (size_t)size);
	}
	memcpy(text, "%61%62c", 7);
	expect_text("abc", text,
		    (size_t)http_decode(text, (struct span){ text, 7 }, false));
}

static void broken_escapes_are_refused(void **state)
{
	static const char *const bad[] = { "%",  "a%", "%4",   "%4g",
					   "%g4", "%%",  "%00", "a%00b" };
	char text[20];

	(void)state;
	for (size_t i = 0; i < COUNT_OF(bad); i++)
		assert_int_equal(http_decode(text, span_of(bad[i]), false),
				 -EINVAL);
	assert_int_equal(http_decode(text, (struct span){ "a\0b", 3 }, false),
			 -EINVAL);
}

static void parameters_are_found(void **state)
{
	static const struct {
		const char *query, *name, *value; /* NULL: absent */
	} cases[] = {
		{ "a=1&b=2", "a", "1" },    { "a=1&b=2", "b", "2" },
		{ "a=1&a=2", "a", "1" },    { "ab=1&a=2", "a", "2" },
		{ "a=1=2&b", "a", "1=2" },  { "a&b", "a", "" },
		{ "a&b", "b", "" },	    { "a=&b", "a", "" },
		{ "&&b=2&", "b", "2" },	    { "%61=%32", "a", "%32" },
		{ "a+b=1", "a b", "1" },    { "a%20b=1", "a b", "1" },
		{ "%6=1&a=2", "a", "2" },   { "A=1", "a", NULL },
		{ "", "a", NULL },	    { "ab=1", "a", NULL },
		{ "a=1", "ab", NULL },	    { "b=a", "a", NULL },
		{ "a%00=1", "a", NULL },
	};
	struct span value;

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		bool found = http_query_find(span_of(cases[i].query),
					     span_of(cases[i].name), &value);

		assert_int_equal(found, cases[i].value != NULL);
		if (found)
			expect_text(cases[i].value, value.at, value.size);
	}
	assert_false(http_query_find((struct span){ NULL, 0 }, span_of("a"),
				     &value));
}

static void cookies_are_found(void **state)
{
	static const struct {
		const char *header, *name, *value; /* NULL: absent */
	} cases[] = {
		{ "a=1; b=2", "a", "1" },     { "a=1; b=2", "b", "2" },
		{ "a=1;b=2", "b", "2" },      { "a=\"1\"; b=2", "a", "1" },
		{ "a=\"; b=2", "b", "2" },    { "a=\"; b=2", "a", "\"" },
		{ "a=b=c", "a", "b=c" },      { "a=; b", "a", "" },
		{ "x; a=1", "a", "1" },	      { "session=ok", "session", "ok" },
		{ "a=1; b=2", "c", NULL },    { "A=1", "a", NULL },
		{ "", "a", NULL },	      { "xa=1", "a", NULL },
		{ "b=a=1", "a", NULL },	      { "a", "a", NULL },
	};
	struct span value;

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		bool found = http_cookie_find(span_of(cases[i].header),
					      span_of(cases[i].name), &value);

		assert_int_equal(found, cases[i].value != NULL);
		if (found)
			expect_text(cases[i].value, value.at, value.size);
	}
}

/* Of so many lines as are not NULL. */
static enum http_error_form form_by(const char *first, const char *second)
{
	struct http_wants wants = { 0 };

	if (first)
		http_wants_add(&wants, span_of(first));
	if (second)
		http_wants_add(&wants, span_of(second));
	return http_error_form_of(&wants);
}

static void the_client_chooses_the_form(void **state)
{
	static const struct {
		const char *accept;
		enum http_error_form form;
	} cases[] = {
		{ "", HTTP_ERROR_JSON },
		{ "*/*", HTTP_ERROR_JSON },
		{ "application/*", HTTP_ERROR_JSON },
		{ "image/png", HTTP_ERROR_JSON },
		{ "text/plain", HTTP_ERROR_TEXT },
		{ "text/*", HTTP_ERROR_TEXT },
		{ "Text/HTML", HTTP_ERROR_HTML },
		{ "text/html, */*", HTTP_ERROR_HTML },
		{ "application/json, text/plain, */*", HTTP_ERROR_JSON },
		{ "text/html, application/json;q=0.9", HTTP_ERROR_HTML },
		{ "text/html;q=0.8, application/json;q=0.9", HTTP_ERROR_JSON },
		{ "text/html;q=0.8, text/plain;q=0.9", HTTP_ERROR_TEXT },
		{ "text/plain;q=0.8, text/html;q=0.801", HTTP_ERROR_HTML },
		{ "text/*, text/html", HTTP_ERROR_HTML },
		{ "text/html;q=0", HTTP_ERROR_JSON },
		{ "text/html;q=2", HTTP_ERROR_JSON },
		{ "text/html;q=0.1, */*;q=0.2", HTTP_ERROR_JSON },
		{ "x/y;a=\"b,text/html\"", HTTP_ERROR_JSON },
		{ "text/html,application/xhtml+xml,application/xml;q=0.9,"
		  "image/webp,*/*;q=0.8", HTTP_ERROR_HTML },
		{ "*/*;q=1, application/json;q=0.1, text/html;q=0.5",
		  HTTP_ERROR_HTML },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		if (form_by(cases[i].accept, NULL) != cases[i].form)
			print_error("%s\n", cases[i].accept);
		assert_int_equal(form_by(cases[i].accept, NULL), cases[i].form);
	}
	assert_int_equal(form_by(NULL, NULL), HTTP_ERROR_JSON);
}

static void several_lines_of_accept_are_one_list(void **state)
{
	(void)state;
	assert_int_equal(form_by("text/html", "application/xml;q=0.1"), HTTP_ERROR_HTML);
	assert_int_equal(form_by("application/xml;q=0.1", "text/html"), HTTP_ERROR_HTML);
	assert_int_equal(form_by("text/plain;q=0.5", "text/html"), HTTP_ERROR_HTML);
	assert_int_equal(form_by("text/html", "text/plain;q=0.5"), HTTP_ERROR_HTML);
	assert_int_equal(form_by("text/html", "application/json"), HTTP_ERROR_JSON);
}

static void json_strings_are_well_formed(void **state)
{
	static const struct {
		const char *text, *json;
	} cases[] = {
		{ "", "\"\"" },
		{ "abc", "\"abc\"" },
		{ "a\"b\\c/", "\"a\\\"b\\\\c/\"" },
		{ "\b\f\n\r\t", "\"\\b\\f\\n\\r\\t\"" },
		{ "\x01\x1f\x7f", "\"\\u0001\\u001f\x7f\"" },
		{ "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80",
		  "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"" },
#define BAD "\xef\xbf\xbd"
		{ "\xff", "\"" BAD "\"" },
		{ "\x80z", "\"" BAD "z\"" },
		{ "\xc0\xaf", "\"" BAD BAD "\"" },
		{ "\xe0\x80\x80", "\"" BAD BAD BAD "\"" },
		{ "\xed\xa0\x80", "\"" BAD BAD BAD "\"" },
		{ "\xf4\x90\x80\x80", "\"" BAD BAD BAD BAD "\"" },
		{ "\xf0\x9f\x98", "\"" BAD BAD BAD "\"" },
		{ "\xc3\"", "\"" BAD "\\\"\"" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		size_t size = strlen(cases[i].text);
		char *buffer = malloc(6 * size + 2);

		assert_non_null(buffer);
		expect_text(cases[i].json, buffer,
			    http_json_string(buffer, span_of(cases[i].text)));
		free(buffer);
	}
	char zero[8];

	expect_text("\"\\u0000\"", zero,
		    http_json_string(zero, (struct span){ "", 1 }));
}

static void errors_take_their_form(void **state)
{
	char buffer[400];
	const char *type;
	size_t size;

	(void)state;
	size = http_error_body(buffer, sizeof(buffer), HTTP_ERROR_JSON, 404,
			       "no \"x\"\n", &type);
	expect_text("{\"error\":\"no \\\"x\\\"\\n\"}", buffer, size);
	assert_string_equal(type, "application/json");

	size = http_error_body(buffer, sizeof(buffer), HTTP_ERROR_TEXT, 404,
			       "no <x>\x1b\n\xff", &type);
	expect_text("no <x>  \xef\xbf\xbd\n", buffer, size);
	assert_string_equal(type, "text/plain; charset=utf-8");

	size = http_error_body(buffer, sizeof(buffer), HTTP_ERROR_HTML, 404,
			       "<b a='\"'>&\xc3\xa9", &type);
	buffer[size] = '\0';
	assert_non_null(strstr(buffer, "<title>404 Not Found</title>"));
	assert_non_null(strstr(buffer, "<p>&lt;b a=&#39;&#34;&#39;&gt;&amp;"
				       "\xc3\xa9</p></body></html>\n"));
	assert_string_equal(type, "text/html; charset=utf-8");

	size = http_error_body(buffer, sizeof(buffer), HTTP_ERROR_TEXT, 503, NULL,
			       &type);
	expect_text("Service Unavailable\n", buffer, size);
}

/* In whatever room, a body is whole or absent. */
static void long_messages_are_cut_between_characters(void **state)
{
	const char *type;

	(void)state;
	for (size_t room = 0; room < 30; room++) {
		char *buffer = malloc(room + 1);
		size_t size;

		assert_non_null(buffer);
		size = http_error_body(buffer, room, HTTP_ERROR_JSON, 500,
				       "\"\"\xc3\xa9\"\xc3\xa9 and so on and on",
				       &type);
		assert_true(size <= room);
		assert_int_equal(size == 0, room < strlen("{\"error\":\"\"}"));
		if (size > 0)
			assert_memory_equal(buffer + size - 2, "\"}", 2);
		if (room == 17)
			expect_text("{\"error\":\"\\\"\\\"\"}", buffer, size);
		if (room == 18)
			expect_text("{\"error\":\"\\\"\\\"\xc3\xa9\"}", buffer, size);
		free(buffer);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(escapes_are_decoded),
		cmocka_unit_test(broken_escapes_are_refused),
		cmocka_unit_test(parameters_are_found),
		cmocka_unit_test(cookies_are_found),
		cmocka_unit_test(the_client_chooses_the_form),
		cmocka_unit_test(several_lines_of_accept_are_one_list),
		cmocka_unit_test(json_strings_are_well_formed),
		cmocka_unit_test(errors_take_their_form),
		cmocka_unit_test(long_messages_are_cut_between_characters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
