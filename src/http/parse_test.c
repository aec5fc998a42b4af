/* SPDX-License-Identifier: MIT */
/* Heads, good and bad, whole and in pieces. Each is parsed from memory of just
 * its size, so that the address sanitizer sees a read beyond it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "http/head.h"
#include "http/scan.h"

static const struct http_limits limits = {
	.line_max_bytes = 100,
	.head_max_bytes = 400,
	.headers_max = 8,
	.body_max_bytes = 1000,
	.chunk_extra_max_bytes = 50,
};

/* Bytes behind a head, which must not be looked at. */
#define BEHIND "\0\n:"

#define H "Host: a\r\n"
#define GET "GET / HTTP/1.1\r\n" H
#define POST "POST / HTTP/1.1\r\n" H
#define END "\r\n"

struct good {
	const char *text;
	const char *path, *query, *host; /* NULL: none; host "": not checked */
	enum http_method method;
	int minor;
	bool keep_alive, expect_continue;
	enum http_framing framing;
	uint64_t length;
	uint32_t headers;
};

static const struct good good[] = {
	{ GET END, "/", NULL, "a", HTTP_GET, 1, true, false, 0, 0, 1 },
	{ "\r\n\r\n" GET END, "/", NULL, "a", HTTP_GET, 1, true, false, 0, 0, 1 },
	{ "GET / HTTP/1.0\r\n\r\n", "/", NULL, NULL, HTTP_GET, 0, false, false, 0,
	  0, 0 },
	{ "GET /a/b?c=d?e HTTP/1.1\r\nhOST:\ta.b:80 \t\r\n\r\n", "/a/b", "c=d?e",
	  "a.b:80", HTTP_GET, 1, true, false, 0, 0, 1 },
	{ "GET /? HTTP/1.9\r\n" H END, "/", "", "a", HTTP_GET, 1, true, false, 0,
	  0, 1 },
	{ "GET /%41%2f%fF HTTP/1.1\r\n" H END, "/%41%2f%fF", NULL, "a", HTTP_GET,
	  1, true, false, 0, 0, 1 },
	{ "GET http://x.y:1/p?q HTTP/1.1\r\n" H END, "/p", "q", "x.y:1", HTTP_GET,
	  1, true, false, 0, 0, 1 },
	{ "GET HTTPS://x HTTP/1.1\r\n" H END, "/", NULL, "x", HTTP_GET, 1, true,
	  false, 0, 0, 1 },
	{ "GET http://x?q HTTP/1.1\r\n" H END, "/", "q", "x", HTTP_GET, 1, true,
	  false, 0, 0, 1 },
	{ "GET http://[::1]:8080/ HTTP/1.0\r\n\r\n", "/", NULL, "[::1]:8080",
	  HTTP_GET, 0, false, false, 0, 0, 0 },
	{ "OPTIONS * HTTP/1.1\r\n" H END, "*", NULL, "a", HTTP_OPTIONS, 1, true,
	  false, 0, 0, 1 },
	{ "HEAD //x HTTP/1.1\r\n" H END, "//x", NULL, "a", HTTP_HEAD, 1, true,
	  false, 0, 0, 1 },
	{ "M-SEARCH / HTTP/1.1\r\n" H END, "/", NULL, "a", HTTP_OTHER, 1, true,
	  false, 0, 0, 1 },
	{ "get / HTTP/1.1\r\n" H END, "/", NULL, "a", HTTP_OTHER, 1, true, false,
	  0, 0, 1 },
	{ POST "Content-Length: 5\r\n\r\n", "/", NULL, "a", HTTP_POST, 1, true,
	  false, HTTP_LENGTH, 5, 2 },
	{ POST "content-length:0\r\n\r\n", "/", NULL, "a", HTTP_POST, 1, true,
	  false, HTTP_NO_BODY, 0, 2 },
	{ POST "Content-Length: 0018446744073709551615\r\n\r\n", "/", NULL, "a",
	  HTTP_POST, 1, true, false, HTTP_LENGTH, UINT64_MAX, 2 },
	{ POST "Transfer-Encoding: Chunked\r\n\r\n", "/", NULL, "a", HTTP_POST, 1,
	  true, false, HTTP_CHUNKED, 0, 2 },
	{ POST "Content-Length: 1\r\nExpect: 100-Continue\r\n\r\n", "/", NULL, "a",
	  HTTP_POST, 1, true, true, HTTP_LENGTH, 1, 3 },
	{ GET "Expect: 100-continue\r\n\r\n", "/", NULL, "a", HTTP_GET, 1, true,
	  false, 0, 0, 2 },
	{ "POST / HTTP/1.0\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n",
	  "/", NULL, NULL, HTTP_POST, 0, false, false, HTTP_LENGTH, 1, 2 },
	{ GET "Connection: close\r\n\r\n", "/", NULL, "a", HTTP_GET, 1, false,
	  false, 0, 0, 2 },
	{ GET "Connection: te , , Close,x\r\n\r\n", "/", NULL, "a", HTTP_GET, 1,
	  false, false, 0, 0, 2 },
	{ GET "Connection: keep-alive\r\nConnection: close\r\n\r\n", "/", NULL,
	  "a", HTTP_GET, 1, false, false, 0, 0, 3 },
	{ GET "Connection: closed\r\n\r\n", "/", NULL, "a", HTTP_GET, 1, true,
	  false, 0, 0, 2 },
	{ "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", "/", NULL, NULL,
	  HTTP_GET, 0, true, false, 0, 0, 1 },
	{ GET "X:\r\nY: \t \r\nZ: a\tb \xc3\xa9\xff ~\r\n\r\n", "/", NULL, "a",
	  HTTP_GET, 1, true, false, 0, 0, 4 },
	{ "GET / HTTP/1.1\r\nHost: a%20b:\r\n\r\n", "/", NULL, "a%20b:", HTTP_GET,
	  1, true, false, 0, 0, 1 },
	{ "GET / HTTP/1.1\r\nHost: [2001:db8::1.2.3.4]:065535\r\n\r\n", "/", NULL,
	  "[2001:db8::1.2.3.4]:065535", HTTP_GET, 1, true, false, 0, 0, 1 },
	{ "GET / HTTP/1.1\r\nHost: 127.0.0.1:65535\r\n\r\n", "/", NULL,
	  "127.0.0.1:65535", HTTP_GET, 1, true, false, 0, 0, 1 },
	{ GET "A:1\r\nB:1\r\nC:1\r\nD:1\r\nE:1\r\nF:1\r\nG:1\r\n\r\n", "/", NULL,
	  "a", HTTP_GET, 1, true, false, 0, 0, 8 },
};

struct bad {
	int status;
	const char *text;
	size_t size; /* 0: strlen */
};

#define SIZED(text) (text), sizeof(text) - 1
#define TEN "0123456789"
#define FIFTY TEN TEN TEN TEN TEN

static const struct bad bad[] = {
	/* the request line */
	{ 400, "\r\n\r\n\r\n" GET END, 0 },
	{ 400, "\n" GET END, 0 },
	{ 400, " GET / HTTP/1.1\r\n" H END, 0 },
	{ 400, "GET  / HTTP/1.1\r\n" H END, 0 },
	{ 400, "GET /  HTTP/1.1\r\n" H END, 0 },
	{ 400, "GET / HTTP/1.1 \r\n" H END, 0 },
	{ 400, "GET\t/ HTTP/1.1\r\n" H END, 0 },
	{ 400, "GET /\tHTTP/1.1\r\n" H END, 0 },
	{ 400, "GET / HTTP/1.1\n" H END, 0 },
	{ 400, "GET / HTTP/1.1\r" H END, 0 },
	{ 400, "GET /\r HTTP/1.1\r\n" H END, 0 },
	{ 400, SIZED("GET /\0 HTTP/1.1\r\n" H END) },
	{ 400, "GET /\x7f HTTP/1.1\r\n" H END, 0 },
	{ 400, "GET /\x80 HTTP/1.1\r\n" H END, 0 },
	{ 400, "GET /a b HTTP/1.1\r\n" H END, 0 },
	{ 400, "GET /a#b HTTP/1.1\r\n" H END, 0 },
	{ 400, "GET /%4 HTTP/1.1\r\n" H END, 0 },
	{ 400, "GET /%g0 HTTP/1.1\r\n" H END, 0 },
	{ 400, "GET /?% HTTP/1.1\r\n" H END, 0 },
	{ 400, "GET a HTTP/1.1\r\n" H END, 0 },
	{ 400, "GET * HTTP/1.1\r\n" H END, 0 },
	{ 400, "OPTIONS ** HTTP/1.1\r\n" H END, 0 },
	{ 400, "GET ftp://a/ HTTP/1.1\r\n" H END, 0 },
	{ 400, "GET http:// HTTP/1.1\r\n" H END, 0 },
	{ 400, "GET http:///x HTTP/1.1\r\n" H END, 0 },
	{ 400, "GET http://u@a/ HTTP/1.1\r\n" H END, 0 },
	{ 400, "GET http://a:x/ HTTP/1.1\r\n" H END, 0 },
	{ 400, "GET http://[::1/ HTTP/1.1\r\n" H END, 0 },
	{ 400, "G@T / HTTP/1.1\r\n" H END, 0 },
	{ 400, "G\xc3\xa9T / HTTP/1.1\r\n" H END, 0 },
	{ 400, "GET /\r\n" H END, 0 },
	{ 400, "GET\r\n" H END, 0 },
	{ 400, "GET / \r\n" H END, 0 },
	{ 400, "GET / HTTP/1\r\n" H END, 0 },
	{ 400, "GET / HTTP/1.\r\n" H END, 0 },
	{ 400, "GET / HTTP/1.10\r\n" H END, 0 },
	{ 400, "GET / http/1.1\r\n" H END, 0 },
	{ 400, "GET / HTTP/1,1\r\n" H END, 0 },
	{ 400, "GET / HTTP/+1.1\r\n" H END, 0 },
	{ 400, "GET / ICY/1.1\r\n" H END, 0 },
	{ 400, "\x16\x03\x01\x02 TLS", 0 },
	{ 505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 0 },
	{ 505, "GET / HTTP/0.9\r\n" H END, 0 },
	{ 505, "GET / HTTP/3.1\r\n" H END, 0 },
	{ 405, "CONNECT a:1 HTTP/1.1\r\n" H END, 0 },
	{ 405, "CONNECT / HTTP/1.1\r\n" H END, 0 },
	{ 414, "GET /" FIFTY FIFTY " HTTP/1.1\r\n" H END, 0 },
	{ 414, FIFTY FIFTY "x", 0 },
	/* header lines */
	{ 400, "GET / HTTP/1.1\r\n X: y\r\n" H END, 0 },
	{ 400, GET "X: y\r\n z\r\n\r\n", 0 },
	{ 400, GET "X: y\r\n\tz\r\n\r\n", 0 },
	{ 400, GET " \r\n\r\n", 0 },
	{ 400, GET "X : y\r\n\r\n", 0 },
	{ 400, GET "X\t: y\r\n\r\n", 0 },
	{ 400, GET ": y\r\n\r\n", 0 },
	{ 400, GET "X\r\n\r\n", 0 },
	{ 400, GET "X y: z\r\n\r\n", 0 },
	{ 400, GET "X(y): z\r\n\r\n", 0 },
	{ 400, GET "\xc3\xa9: z\r\n\r\n", 0 },
	{ 400, GET "X: y\n\r\n", 0 },
	{ 400, GET "X: y\rZ: 1\r\n\r\n", 0 },
	{ 400, GET "X: y\r\r\n\r\n", 0 },
	{ 400, GET "X: y\r\n\n", 0 },
	{ 400, GET "X: y\r\n\rX", 0 },
	{ 400, SIZED(GET "X: \0\r\n\r\n") },
	{ 400, GET "X: \x01\r\n\r\n", 0 },
	{ 400, GET "X: \x1b[0m\r\n\r\n", 0 },
	{ 400, GET "X: \x7f\r\n\r\n", 0 },
	{ 400, GET "X: \v\r\n\r\n", 0 },
	{ 431, GET "A:\r\nB:\r\nC:\r\nD:\r\nE:\r\nF:\r\nG:\r\nI:\r\n\r\n", 0 },
	{ 431, GET "X: " FIFTY FIFTY FIFTY FIFTY FIFTY FIFTY FIFTY FIFTY, 0 },
	{ 431, GET "X: " FIFTY FIFTY FIFTY "\r\nY: " FIFTY FIFTY FIFTY FIFTY FIFTY
	       "\r\n\r\n", 0 },
	/* Host */
	{ 400, "GET / HTTP/1.1\r\n\r\n", 0 },
	{ 400, "GET http://a/ HTTP/1.1\r\n\r\n", 0 },
	{ 400, GET H END, 0 },
	{ 400, "GET / HTTP/1.0\r\n" H H END, 0 },
	{ 400, "GET / HTTP/1.1\r\nHost:\r\n\r\n", 0 },
	{ 400, "GET / HTTP/1.1\r\nHost: :80\r\n\r\n", 0 },
	{ 400, "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 0 },
	{ 400, "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 0 },
	{ 400, "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 0 },
	{ 400, "GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n", 0 },
	{ 400, "GET / HTTP/1.1\r\nHost: a:99999999999999999999\r\n\r\n", 0 },
	{ 400, "GET / HTTP/1.1\r\nHost: a:-1\r\n\r\n", 0 },
	{ 400, "GET / HTTP/1.1\r\nHost: a:8 0\r\n\r\n", 0 },
	{ 400, "GET / HTTP/1.1\r\nHost: a:1:2\r\n\r\n", 0 },
	{ 400, "GET / HTTP/1.1\r\nHost: ::1\r\n\r\n", 0 },
	{ 400, "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", 0 },
	{ 400, "GET / HTTP/1.1\r\nHost: []\r\n\r\n", 0 },
	{ 400, "GET / HTTP/1.1\r\nHost: [a]\r\n\r\n", 0 },
	{ 400, "GET / HTTP/1.1\r\nHost: [::1]x\r\n\r\n", 0 },
	{ 400, "GET / HTTP/1.1\r\nHost: [fe80::1%25lo]\r\n\r\n", 0 },
	{ 400, "GET / HTTP/1.1\r\nHost: a%2\r\n\r\n", 0 },
	{ 400, "GET / HTTP/1.1\r\nHost: a\xc3\xa9\r\n\r\n", 0 },
	{ 400, "GET http://b/ HTTP/1.1\r\nHost: a@b\r\n\r\n", 0 },
	/* ways to smuggle a request */
	{ 400, POST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 0 },
	{ 400, POST "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", 0 },
	{ 400, POST "Content-Length: 5\r\nContent-Length: 5\r\n\r\n", 0 },
	{ 400, POST "Content-Length: 5\r\ncontent-length: 6\r\n\r\n", 0 },
	{ 400, POST "Content-Length: 5, 5\r\n\r\n", 0 },
	{ 400, POST "Content-Length: +5\r\n\r\n", 0 },
	{ 400, POST "Content-Length: -5\r\n\r\n", 0 },
	{ 400, POST "Content-Length: 0x5\r\n\r\n", 0 },
	{ 400, POST "Content-Length: 5 5\r\n\r\n", 0 },
	{ 400, POST "Content-Length: 5.0\r\n\r\n", 0 },
	{ 400, POST "Content-Length: \"5\"\r\n\r\n", 0 },
	{ 400, POST "Content-Length:\r\n\r\n", 0 },
	{ 400, POST "Content-Length: \xb2\r\n\r\n", 0 },
	{ 400, POST "Content-Length: 18446744073709551616\r\n\r\n", 0 },
	{ 400, POST "Content-Length: 99999999999999999999999\r\n\r\n", 0 },
	{ 400, POST "Content-Length : 5\r\n\r\n", 0 },
	{ 400, POST "Transfer-Encoding : chunked\r\n\r\n", 0 },
	{ 400, POST "Transfer-Encoding:\r\n chunked\r\n\r\n", 0 },
	{ 400, POST "X: y\nTransfer-Encoding: chunked\r\n\r\n", 0 },
	{ 400, POST "Transfer-Encoding: chunked, chunked\r\n\r\n", 0 },
	{ 400, POST "Transfer-Encoding: gzip, chunked\r\n\r\n", 0 },
	{ 400, POST "Transfer-Encoding: chunked, identity\r\n\r\n", 0 },
	{ 400, POST "Transfer-Encoding: chunked,\r\n\r\n", 0 },
	{ 400, POST "Transfer-Encoding: ,chunked\r\n\r\n", 0 },
	{ 400, POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n", 0 },
	{ 400, POST "Transfer-Encoding:\r\n\r\n", 0 },
	{ 400, POST "Transfer-Encoding: chunked;q=1\r\n\r\n", 0 },
	{ 400, POST "Transfer-Encoding: \"chunked\"\r\n\r\n", 0 },
	{ 400, POST "Transfer-Encoding: chunked x\r\n\r\n", 0 },
	{ 400, POST "Transfer-Encoding: chunked\v\r\n\r\n", 0 },
	{ 400, "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 0 },
	{ 400, POST "Transfer-Encoding\xff: chunked\r\n\r\n", 0 },
	{ 501, POST "Transfer-Encoding: gzip\r\n\r\n", 0 },
	{ 501, POST "Transfer-Encoding: identity\r\n\r\n", 0 },
	{ 501, POST "Transfer-Encoding: xchunked\r\n\r\n", 0 },
	{ 501, POST "Transfer-Encoding: x ; y=z\r\n\r\n", 0 },
	{ 417, POST "Expect: 200-ok\r\n\r\n", 0 },
	{ 417, POST "Expect: 100-continue, x\r\n\r\n", 0 },
	{ 417, "GET / HTTP/1.0\r\nExpect: x\r\n\r\n", 0 },
};

/* One call with memory of just that size. What the head's spans point to is
 * turned into offsets from `base`, so that heads can be compared. */
static ssize_t parse(struct http_parser *parser, const char *text, size_t size,
		     struct http_head *head)
{
	char *copy = malloc(size > 0 ? size : 1);
	ssize_t r;

	assert_non_null(copy);
	memcpy(copy, text, size);
	memset(head, 0, sizeof(*head));
	r = http_parse_head(parser, &limits, copy, size, head);
	if (r > 0) {
		struct span *spans[] = { &head->method_text, &head->target,
					 &head->path, &head->query, &head->host };

		for (size_t i = 0; i < COUNT_OF(spans); i++) {
			if (spans[i]->at != NULL)
				spans[i]->at = text + (spans[i]->at - copy);
		}
		for (uint32_t i = 0; i < head->header_count; i++) {
			struct http_header *header = &head->headers[i];

			header->name.at = text + (header->name.at - copy);
			header->value.at = text + (header->value.at - copy);
		}
	}
	free(copy);
	return r;
}

static void expect_span(const char *expected, struct span span)
{
	if (expected == NULL) {
		assert_null(span.at);
		return;
	}
	assert_non_null(span.at);
	assert_true(span_equal(span_of(expected), span));
}

static void good_requests_are_understood(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(good); i++) {
		const struct good *want = &good[i];
		struct http_parser parser = { 0 };
		struct http_head head;
		size_t size = strlen(want->text);
		ssize_t r = parse(&parser, want->text, size, &head);

		if (r != (ssize_t)size)
			print_error("%s: %s\n", want->text, http_fault(&parser));
		assert_int_equal(r, size);
		expect_span(want->path, head.path);
		expect_span(want->query, head.query);
		expect_span(want->host, head.host);
		assert_int_equal(head.method, want->method);
		assert_int_equal(head.minor, want->minor);
		assert_int_equal(head.keep_alive, want->keep_alive);
		assert_int_equal(head.expect_continue, want->expect_continue);
		assert_int_equal(head.framing, want->framing);
		assert_true(head.content_length == want->length);
		assert_int_equal(head.header_count, want->headers);
	}
}

static void header_lines_are_trimmed(void **state)
{
	static const char text[] = GET "X:\r\nY: \t \r\nZ: a\tb \r\n\r\n";
	struct http_parser parser = { 0 };
	struct http_head head;

	(void)state;
	assert_true(parse(&parser, text, sizeof(text) - 1, &head) > 0);
	expect_span("Host", head.headers[0].name);
	expect_span("a", head.headers[0].value);
	expect_span("", head.headers[1].value);
	expect_span("", head.headers[2].value);
	expect_span("Z", head.headers[3].name);
	expect_span("a\tb", head.headers[3].value);
}

/* And so it does for whom the header lines are given to. */
static void an_absolute_target_names_the_host(void **state)
{
	static const struct {
		const char *text;
		uint32_t host; /* where that line is; none: how many lines there are */
		uint32_t lines;
	} heads[] = {
		{ "GET http://x.y:1/p HTTP/1.1\r\n" H "A: 1\r\nB: 1\r\n\r\n", 0, 3 },
		{ "GET http://x.y:1/p HTTP/1.1\r\nA: 1\r\n" H "B: 1\r\n\r\n", 1, 3 },
		{ "GET http://x.y:1/p HTTP/1.1\r\nA: 1\r\nB: 1\r\n" H END, 2, 3 },
		{ "POST http://x.y:1 HTTP/1.1\r\nContent-Length: 1\r\n" H END, 1, 2 },
		{ "GET http://x.y:1?q HTTP/1.0\r\n" H END, 0, 1 },
		{ "GET http://x.y:1/p HTTP/1.0\r\nA: 1\r\n\r\n", 1, 1 },
		{ "GET http://x.y:1/p HTTP/1.0\r\n\r\n", 0, 0 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(heads); i++) {
		struct http_parser parser = { 0 };
		struct http_head head;

		assert_true(parse(&parser, heads[i].text, strlen(heads[i].text), &head) > 0);
		expect_span("x.y:1", head.host);
		assert_int_equal(head.header_count, heads[i].lines);
		for (uint32_t j = 0; j < head.header_count; j++) {
			expect_span(j == heads[i].host ? "x.y:1" : "1", head.headers[j].value);
			assert_int_equal(span_equal_nocase(head.headers[j].name, span_of("host")),
					 j == heads[i].host);
		}
	}
}

static void bad_requests_are_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(bad); i++) {
		struct http_parser parser = { 0 };
		struct http_head head;
		size_t size = bad[i].size > 0 ? bad[i].size : strlen(bad[i].text);
		ssize_t r = parse(&parser, bad[i].text, size, &head);

		if (r != -bad[i].status)
			print_error("%s: %zd, not %d\n", bad[i].text, r,
				    -bad[i].status);
		assert_int_equal(r, -bad[i].status);
		assert_string_not_equal(http_fault(&parser), "no fault");
	}
}

/* Give the first `first` bytes, then `step` more each time. */
static void compare_in_pieces(const char *text, size_t size, size_t first,
			      size_t step)
{
	struct http_parser whole = { 0 }, pieces = { 0 };
	struct http_head whole_head, head;
	ssize_t expected = parse(&whole, text, size, &whole_head);
	ssize_t r = 0;

	for (size_t now = first; r == 0 && now <= size;) {
		r = parse(&pieces, text, now, &head);
		if (now == size)
			break;
		now = now + step < size ? now + step : size;
	}
	if (r != expected)
		print_error("%s: %zd, not %zd\n", text, r, expected);
	assert_int_equal(r, expected);
	assert_string_equal(http_fault(&whole), http_fault(&pieces));
	if (r > 0)
		assert_memory_equal(&head, &whole_head,
				    offsetof(struct http_head, headers) +
					    head.header_count *
						    sizeof(head.headers[0]));
}

static void compare_all_splits(const char *text, size_t size)
{
	for (size_t first = 0; first <= size; first++)
		compare_in_pieces(text, size, first, size);
	compare_in_pieces(text, size, 1, 1);
	compare_in_pieces(text, size, 3, 7);
}

static void splits_change_nothing(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(good); i++)
		compare_all_splits(good[i].text, strlen(good[i].text));
	for (size_t i = 0; i < COUNT_OF(bad); i++)
		compare_all_splits(bad[i].text, bad[i].size > 0 ?
							bad[i].size :
							strlen(bad[i].text));
}

static void incomplete_heads_need_more(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(good); i++) {
		struct http_head head;

		for (size_t size = 0; size < strlen(good[i].text); size++) {
			struct http_parser parser = { 0 };

			assert_int_equal(
				parse(&parser, good[i].text, size, &head), 0);
		}
	}
}

static void line_ends_alone_begin_no_head(void **state)
{
	static const char text[] = "\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n";
	struct http_parser parser = { 0 };
	struct http_head head;

	(void)state;
	assert_false(http_has_begun(&parser));
	for (size_t size = 1; size < sizeof(text) - 1; size++) {
		assert_int_equal(parse(&parser, text, size, &head), 0);
		assert_int_equal(http_has_begun(&parser), size > 4);
	}
	assert_int_equal(parse(&parser, text, sizeof(text) - 1, &head),
			 sizeof(text) - 1);
	assert_false(http_has_begun(&parser));
}

static void what_is_behind_a_head_is_the_next(void **state)
{
	static const char text[] = GET "X: 1\r\n\r\n" POST
		"Content-Length: 2\r\n\r\n" BEHIND;
	size_t first = strlen(GET "X: 1\r\n\r\n"), size = sizeof(text) - 1;
	struct http_parser parser = { 0 };
	struct http_head head;
	ssize_t r;

	(void)state;
	assert_int_equal(parse(&parser, text, size, &head), first);
	assert_int_equal(head.method, HTTP_GET);
	r = parse(&parser, text + first, size - first, &head);
	assert_int_equal(r, size - first - (sizeof(BEHIND) - 1));
	assert_int_equal(head.method, HTTP_POST);
	assert_int_equal(head.content_length, 2);
}

/* Just at a limit is well, and one byte more is found without the rest. */
static void limits_hold_at_the_byte(void **state)
{
	static const char at_limit[] = "GET /" FIFTY TEN TEN TEN
				       "012345 HTTP/1.1\r\n" H END;
	char text[401];
	struct http_parser parser = { 0 };
	struct http_head head;

	(void)state;
	assert_int_equal(strcspn(at_limit, "\r"), limits.line_max_bytes);
	assert_true(parse(&parser, at_limit, sizeof(at_limit) - 1, &head) > 0);

	memset(text, 'x', sizeof(text));
	parser = (struct http_parser){ 0 };
	assert_int_equal(parse(&parser, text, 100, &head), 0);
	assert_int_equal(parse(&parser, text, 101, &head), -414);

	memcpy(text, GET "X:", strlen(GET "X:"));
	parser = (struct http_parser){ 0 };
	assert_int_equal(parse(&parser, text, 399, &head), 0);
	assert_int_equal(parse(&parser, text, 400, &head), -431);

	memcpy(text + 396, "\r\n\r\n", 4);
	parser = (struct http_parser){ 0 };
	assert_int_equal(parse(&parser, text, 400, &head), 400);
	memcpy(text + 396, "x\r\n\r\n", 5);
	parser = (struct http_parser){ 0 };
	assert_int_equal(parse(&parser, text, 401, &head), -431);
}

static void faults_are_found_before_the_line_ends(void **state)
{
	static const struct bad early[] = {
		{ 400, SIZED("GET /\0") },
		{ 400, "GET / HTTP/1.1\n", 0 },
		{ 400, "GET / HTTP/1.1\rX", 0 },
		{ 505, "GET / HTTP/2.0\r\n", 0 },
		{ 400, GET "X : y\r\n", 0 },
		{ 400, GET "X: \x01", 0 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(early); i++) {
		size_t size = early[i].size > 0 ? early[i].size :
						  strlen(early[i].text);
		struct http_parser parser = { 0 };
		struct http_head head;

		assert_int_equal(parse(&parser, early[i].text, size - 1, &head), 0);
		assert_int_equal(parse(&parser, early[i].text, size, &head),
				 -early[i].status);
	}
}

static void faults_are_told_apart(void **state)
{
	static const struct {
		const char *text, *fault;
	} told[] = {
		{ GET "X : y\r\n\r\n", "space before the colon of a header" },
		{ GET "X: y\r\n z\r\n\r\n", "a folded header line" },
		{ GET ": y\r\n\r\n", "a header without a name" },
		{ GET "y\r\n\r\n", "a header line without a colon" },
		{ "GET / HTTP/1.1\r\n\r\n", "no Host" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(told); i++) {
		struct http_parser parser = { 0 };
		struct http_head head;

		parse(&parser, told[i].text, strlen(told[i].text), &head);
		assert_string_equal(http_fault(&parser), told[i].fault);
	}
}

/* The table against the sets as the RFCs spell them. */
static void bytes_have_their_classes(void **state)
{
	static const char alnum[] = "0123456789abcdefghijklmnopqrstuvwxyz"
				    "ABCDEFGHIJKLMNOPQRSTUVWXYZ";

	(void)state;
	for (int byte = 0; byte < 256; byte++) {
		bool letter = byte != 0 && strchr(alnum, byte) != NULL;
		int expected = 0;

		if (letter || (byte != 0 && strchr("!#$%&'*+-.^_`|~", byte)))
			expected |= BYTE_TOKEN;
		if (byte > 0x20 && byte < 0x7f && byte != '#')
			expected |= BYTE_TARGET;
		if (letter || (byte != 0 && strchr("-._~!$&'()*+,;=", byte)))
			expected |= BYTE_HOST;
		if (byte != 0 && strchr("0123456789abcdefABCDEF", byte))
			expected |= BYTE_HEX;
		if (byte == '\t' || (byte >= 0x20 && byte != 0x7f))
			expected |= BYTE_VALUE;
		if (byte >= '0' && byte <= '9')
			expected |= BYTE_DIGIT;
		assert_int_equal(http_bytes[byte], expected);
		assert_int_equal(os_class_has(&http_token, (char)byte) != 0,
				 (expected & BYTE_TOKEN) != 0);
		assert_int_equal(os_class_has(&http_target, (char)byte) != 0,
				 (expected & BYTE_TARGET) != 0);
	}
}

/* The scan of eight bytes at once must agree with the table at every place. */
static void control_bytes_are_found_anywhere(void **state)
{
	(void)state;
	for (int byte = 0; byte < 256; byte++) {
		for (size_t place = 0; place < 19; place++) {
			char text[19];
			bool control = !http_byte_is((char)byte, BYTE_VALUE);

			memset(text, place % 2 ? 0x80 : '\t', sizeof(text));
			text[place] = (char)byte;
			assert_int_equal(http_find_control(text, 0, sizeof(text)),
					 control ? place : sizeof(text));
		}
	}
}

static void methods_have_names(void **state)
{
	(void)state;
	assert_int_equal(http_method_of(span_of("GET")), HTTP_GET);
	assert_int_equal(http_method_of(span_of("TRACE")), HTTP_TRACE);
	assert_int_equal(http_method_of(span_of("CONNECT")), HTTP_CONNECT);
	assert_int_equal(http_method_of(span_of("Get")), HTTP_OTHER);
	assert_int_equal(http_method_of(span_of("")), HTTP_OTHER);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bytes_have_their_classes),
		cmocka_unit_test(control_bytes_are_found_anywhere),
		cmocka_unit_test(methods_have_names),
		cmocka_unit_test(good_requests_are_understood),
		cmocka_unit_test(header_lines_are_trimmed),
		cmocka_unit_test(an_absolute_target_names_the_host),
		cmocka_unit_test(bad_requests_are_refused),
		cmocka_unit_test(faults_are_told_apart),
		cmocka_unit_test(faults_are_found_before_the_line_ends),
		cmocka_unit_test(limits_hold_at_the_byte),
		cmocka_unit_test(incomplete_heads_need_more),
		cmocka_unit_test(line_ends_alone_begin_no_head),
		cmocka_unit_test(what_is_behind_a_head_is_the_next),
		cmocka_unit_test(splits_change_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
