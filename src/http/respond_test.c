/* SPDX-License-Identifier: MIT */
/* Heads of answers, dates, and what a worker may not say. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "base/check.h"
#include "http/respond.h"

#define DATE "Sun, 06 Nov 1994 08:49:37 GMT"

static void expect_head(struct http_answer answer, const char *expected)
{
	size_t room = HTTP_HEAD_ROOM + answer.headers.size;
	char *buffer = malloc(room);
	size_t size;

	assert_non_null(buffer);
	answer.date = DATE;
	size = http_write_head(buffer, &answer);
	assert_true(size <= room);
	assert_int_equal(size, strlen(expected));
	assert_memory_equal(buffer, expected, size);
	free(buffer);
}

static void heads_are_written(void **state)
{
	(void)state;
	expect_head((struct http_answer){ .status = 200,
					  .minor = 1,
					  .keep_alive = true,
					  .length_known = true,
					  .length = 17,
					  .headers = span_of("A: b\r\nC: d\r\n") },
		    "HTTP/1.1 200 OK\r\nDate: " DATE "\r\nContent-Length: 17\r\n"
		    "A: b\r\nC: d\r\n\r\n");
	expect_head((struct http_answer){ .status = 404, .minor = 1,
					  .length_known = true },
		    "HTTP/1.1 404 Not Found\r\nDate: " DATE "\r\n"
		    "Content-Length: 0\r\nConnection: close\r\n\r\n");
	expect_head((struct http_answer){ .status = 299, .minor = 1,
					  .keep_alive = true, .chunked = true },
		    "HTTP/1.1 299 Unknown\r\nDate: " DATE "\r\n"
		    "Transfer-Encoding: chunked\r\n\r\n");
}

static void old_clients_get_no_chunks(void **state)
{
	(void)state;
	expect_head((struct http_answer){ .status = 200, .keep_alive = true,
					  .length_known = true, .length = 1 },
		    "HTTP/1.1 200 OK\r\nDate: " DATE "\r\nContent-Length: 1\r\n"
		    "Connection: keep-alive\r\n\r\n");
	expect_head((struct http_answer){ .status = 200, .keep_alive = true,
					  .chunked = true },
		    "HTTP/1.1 200 OK\r\nDate: " DATE "\r\nConnection: close\r\n\r\n");
	expect_head((struct http_answer){ .status = 200, .length_known = true, .length = 1 },
		    "HTTP/1.1 200 OK\r\nDate: " DATE "\r\nContent-Length: 1\r\n"
		    "Connection: close\r\n\r\n");
}

static void answers_without_a_body_announce_none(void **state)
{
	(void)state;
	expect_head((struct http_answer){ .status = 204, .minor = 1,
					  .keep_alive = true,
					  .length_known = true },
		    "HTTP/1.1 204 No Content\r\nDate: " DATE "\r\n\r\n");
	expect_head((struct http_answer){ .status = 100, .minor = 1,
					  .length_known = true },
		    "HTTP/1.1 100 Continue\r\nDate: " DATE "\r\n\r\n");
	expect_head((struct http_answer){ .status = 304, .minor = 1,
					  .keep_alive = true, .chunked = true },
		    "HTTP/1.1 304 Not Modified\r\nDate: " DATE "\r\n\r\n");
	assert_true(http_status_has_body(200));
	assert_true(http_status_has_body(404));
	assert_false(http_status_has_body(101));
	assert_false(http_status_has_body(204));
	assert_false(http_status_has_body(304));
}

static void every_head_fits(void **state)
{
	(void)state;
	for (int status = 100; status < 600; status++) {
		struct http_answer answer = { .status = status,
					      .keep_alive = true,
					      .length_known = true,
					      .length = UINT64_MAX,
					      .date = DATE };
		char *buffer = malloc(HTTP_HEAD_ROOM);

		assert_non_null(buffer);
		assert_true(http_write_head(buffer, &answer) <= HTTP_HEAD_ROOM);
		free(buffer);
	}
}

static void reasons_are_known(void **state)
{
	(void)state;
	assert_string_equal(http_reason(200), "OK");
	assert_string_equal(http_reason(431), "Request Header Fields Too Large");
	assert_string_equal(http_reason(418), "Unknown");
	assert_string_equal(http_reason(-1), "Unknown");
	assert_string_equal(http_reason(600), "Unknown");
}

static void dates_go_there_and_back(void **state)
{
	static const struct {
		time_t when;
		const char *text;
	} dates[] = {
		{ 784111777, DATE },
		{ 0, "Thu, 01 Jan 1970 00:00:00 GMT" },
		{ 951782399, "Mon, 28 Feb 2000 23:59:59 GMT" },
		{ 951782400, "Tue, 29 Feb 2000 00:00:00 GMT" },
		{ 4102444800, "Fri, 01 Jan 2100 00:00:00 GMT" },
		{ 253402300799, "Fri, 31 Dec 9999 23:59:59 GMT" },
	};
	char text[HTTP_DATE_SIZE];

	(void)state;
	for (size_t i = 0; i < COUNT_OF(dates); i++) {
		http_date(text, dates[i].when);
		assert_string_equal(text, dates[i].text);
		assert_true(http_date_parse(span_of(text)) == dates[i].when);
	}
	http_date(text, 253402300800);
	assert_string_equal(text, dates[1].text);
}

/* So many years and days from now on. */
static time_t years_ahead(int years, int days)
{
	const time_t now = time(NULL);
	struct tm tm;

	gmtime_r(&now, &tm);
	tm.tm_year += years;
	tm.tm_mday += days;
	return timegm(&tm);
}

static void dates_of_older_forms_are_read(void **state)
{
	const time_t years = 31556952; /* seconds in each, on average */
	const time_t now = time(NULL);
	const time_t whens[] = { now, now - years, now - 48 * years, now + 49 * years,
				 years_ahead(50, -1), years_ahead(-50, 1) };
	char text[64];
	struct tm tm;

	(void)state;
	assert_true(http_date_parse(span_of("Sun Nov  6 08:49:37 1994")) == 784111777);
	assert_true(http_date_parse(span_of("Sun Nov 06 08:49:37 1994")) == 784111777);
	assert_true(http_date_parse(span_of("Tue Feb 29 00:00:00 2000")) == 951782400);
	for (size_t i = 0; i < COUNT_OF(whens); i++) {
		gmtime_r(&whens[i], &tm);
		strftime(text, sizeof(text), "%A, %d-%b-%y %H:%M:%S GMT", &tm);
		assert_true(http_date_parse(span_of(text)) == whens[i]);
	}
}

static void other_texts_are_no_dates(void **state)
{
	static const char *const bad[] = {
		"", "Sun", DATE "x",
		"Mon, 06 Nov 1994 08:49:37 GMT", /* it was a Sunday */
		"Sun, 31 Feb 1994 08:49:37 GMT",
		"Sun, 06 nov 1994 08:49:37 GMT",
		"Sun, 06 Nov 1994 24:49:37 GMT",
		"Sun, 06 Nov 1994 08:60:37 GMT",
		"Sun, 06 Nov 1994 08:49:60 GMT",
		"Sun, 06 Nov 1994 08:49:37 UTC",
		"Sun,  6 Nov 1994 08:49:37 GMT",
		"Sun. 06 Nov 1994 08:49:37 GMT",
		"Sun, 06-Nov-94 08:49:37 GMT",
		"Sunnyday, 06-Nov-94 08:49:37 GMT",
		"Monday, 06-Nov-94 08:49:37 GMT",
		"Sunday, 06-Nov-94 08:49:37 UTC",
		"Sunday, 06 Nov 94 08:49:37 GMT",
		"Sunday, 06-Nov-1994 08:49:37 GMT",
		", 06-Nov-94 08:49:37 GMT",
		"Sun Nov  6 08:49:37 1994 xxxx",
		"Mon Nov  6 08:49:37 1994",
		"Sun Nov  6 08-49-37 1994",
		"Sun Nov  6 08:49:37 19 4",
		"Sun Feb 30 08:49:37 1994",
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(bad); i++)
		assert_true(http_date_parse(span_of(bad[i])) == -1);
}

static void chunk_sizes_are_hexadecimal(void **state)
{
	static const struct {
		uint64_t size;
		const char *text;
	} sizes[] = {
		{ 0, "0\r\n" },
		{ 15, "f\r\n" },
		{ 16, "10\r\n" },
		{ 0xabc0, "abc0\r\n" },
		{ UINT64_MAX, "ffffffffffffffff\r\n" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(sizes); i++) {
		char text[18];
		size_t size = http_write_chunk_size(text, sizes[i].size);

		assert_int_equal(size, strlen(sizes[i].text));
		assert_memory_equal(text, sizes[i].text, size);
	}
}

static void workers_may_write_good_lines(void **state)
{
	static const char *const good[] = {
		"",
		"A: b\r\n",
		"A:\r\nX-B:c \t d\r\nSet-Cookie: a=b; Path=/\r\n",
		"Content-Type: text/html; charset=\"\xc3\xa9\"\r\n",
		"Dates: x\r\nContent-Lengths: 1\r\n",
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(good); i++)
		assert_null(http_check_headers(span_of(good[i])));
	assert_null(http_check_headers((struct span){ NULL, 0 }));
}

static void workers_may_not_split_answers(void **state)
{
	static const char *const bad[] = {
		"A: b", "A: b\n", "A: b\r", "\r\n", "\n", "A: b\r\n\r\n",
		"A: b\r\n\r\nHTTP/1.1 200 OK\r\n", "A: b\nC: d\r\n",
		"A: b\rC: d\r\n", "A: b\r\r\n", "A : b\r\n", " A: b\r\n",
		"A: b\r\n c\r\n", ": b\r\n", "A\r\n", "A b: c\r\n",
		"A: \x01\r\n", "A: \x7f\r\n", "\xc3\xa9: b\r\n",
		"Connection: close\r\n", "content-length: 5\r\n",
		"Transfer-Encoding: chunked\r\n", "DATE: x\r\n",
		"Keep-Alive: x\r\n", "Upgrade: x\r\n", "Trailer: x\r\n",
		"A: b\r\nTE: x\r\n",
	};
	static const char nul[] = "A: b\0c\r\n";

	(void)state;
	for (size_t i = 0; i < COUNT_OF(bad); i++)
		assert_non_null(http_check_headers(span_of(bad[i])));
	assert_non_null(
		http_check_headers((struct span){ nul, sizeof(nul) - 1 }));
}

static void names_and_values_are_checked(void **state)
{
	(void)state;
	assert_true(http_name_ok(span_of("X-a_1!")));
	assert_false(http_name_ok(span_of("")));
	assert_false(http_name_ok(span_of("a b")));
	assert_false(http_name_ok(span_of("a:")));
	assert_true(http_value_ok(span_of("")));
	assert_true(http_value_ok((struct span){ NULL, 0 }));
	assert_true(http_value_ok(span_of("a \t\xff")));
	assert_false(http_value_ok(span_of("a\r\nb: c")));
	assert_false(http_value_ok((struct span){ "", 1 }));
	assert_true(http_name_is_reserved(span_of("te")));
	assert_false(http_name_is_reserved(span_of("t")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(heads_are_written),
		cmocka_unit_test(old_clients_get_no_chunks),
		cmocka_unit_test(answers_without_a_body_announce_none),
		cmocka_unit_test(every_head_fits),
		cmocka_unit_test(reasons_are_known),
		cmocka_unit_test(dates_go_there_and_back),
		cmocka_unit_test(dates_of_older_forms_are_read),
		cmocka_unit_test(other_texts_are_no_dates),
		cmocka_unit_test(chunk_sizes_are_hexadecimal),
		cmocka_unit_test(workers_may_write_good_lines),
		cmocka_unit_test(workers_may_not_split_answers),
		cmocka_unit_test(names_and_values_are_checked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
