/* SPDX-License-Identifier: MIT */
/* Whose request it is, by what proxies say and clients make up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "handler/encode.h"
#include "handler/request.h"

static const char *const proxies[] = { "127.0.0.1", "10.0.0.0/8", "172.16.0.0/12", "fd00::/8",
				       "unix:", "nonsense", "1.2.3.4/33", "1.2.3.4/", "/8",
				       "", NULL };

/* The address that is found, of a peer with these header lines. */
static const char *found_by(const char *const *list, const char *peer, const char *lines)
{
	static const struct http_limits limits = {
		.line_max_bytes = 8000, .head_max_bytes = 16000,
		.headers_max = 100, .body_max_bytes = 1000,
	};
	static struct crew_worker worker = { .pool = "items" };
	static char found[100];
	struct http_parser parser = { 0 };
	struct http_head head;
	struct encode_input input = { .head = &head, .path = span_of("/"),
				      .client = span_of(peer) };
	struct crew_request request;
	struct arena arena = { 0 };
	char text[8000];
	uint32_t size;
	void *block;

	snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: a\r\n%s\r\n", lines);
	assert_int_equal(http_parse_head(&parser, &limits, text, strlen(text), &head),
			 strlen(text));
	size = encode_size(&input);
	block = malloc(size);
	assert_non_null(block);
	encode_request(block, size, &input);
	request_init(&request, block, (struct span){ 0 }, &worker, &arena);
	snprintf(found, sizeof(found), "%s", crew_forwarded_for(&request, list));
	request_fini(&request);
	arena_fini(&arena);
	free(block);
	return found;
}

#define expect(peer, lines, address) \
	assert_string_equal(found_by(proxies, (peer), (lines)), (address))

static void the_word_of_a_stranger_counts_for_nothing(void **state)
{
	(void)state;
	expect("192.0.2.1:4000", "", "192.0.2.1");
	expect("192.0.2.1:4000", "X-Forwarded-For: 1.1.1.1\r\n", "192.0.2.1");
	expect("[2001:db8::1]:4000", "X-Forwarded-For: 1.1.1.1\r\n", "2001:db8::1");
	expect("172.32.0.1:1", "X-Forwarded-For: 1.1.1.1\r\n", "172.32.0.1");
	expect("call:items", "X-Forwarded-For: 1.1.1.1\r\n", "call:items");
	assert_string_equal(found_by(NULL, "127.0.0.1:9", "X-Forwarded-For: 1.1.1.1\r\n"),
			    "127.0.0.1");
	assert_string_equal(found_by(NULL, "unix:", "X-Forwarded-For: 1.1.1.1\r\n"), "unix:");
}

static void of_those_that_no_proxy_has_the_last_counts(void **state)
{
	(void)state;
	expect("127.0.0.1:9", "", "127.0.0.1");
	expect("unix:", "", "unix:");
	expect("127.0.0.1:9", "X-Forwarded-For: 192.0.2.1\r\n", "192.0.2.1");
	expect("unix:", "x-forwarded-for: 192.0.2.1\r\n", "192.0.2.1");
	expect("127.0.0.1:9", "X-Forwarded-For: 1.1.1.1, 192.0.2.1\r\n", "192.0.2.1");
	expect("127.0.0.1:9", "X-Forwarded-For: 1.1.1.1,192.0.2.1 , 10.1.2.3,\t172.31.0.1\r\n",
	       "192.0.2.1");
	expect("127.0.0.1:9", "X-Forwarded-For: 10.1.2.3, 127.0.0.1\r\n", "10.1.2.3");
}

/* Some proxies add a line of their own behind the client's. */
static void lines_are_one_list(void **state)
{
	(void)state;
	expect("127.0.0.1:9",
	       "X-Forwarded-For: 127.0.0.1\r\nA: 2.2.2.2\r\nX-Forwarded-For: 192.0.2.1\r\n",
	       "192.0.2.1");
	expect("127.0.0.1:9",
	       "X-Forwarded-For: 1.1.1.1, 192.0.2.1\r\nX-Forwarded-For:\r\n"
	       "X-Forwarded-For: , ,10.0.0.1,,\r\n",
	       "192.0.2.1");
}

static void what_is_no_address_ends_it(void **state)
{
	(void)state;
	expect("127.0.0.1:9", "X-Forwarded-For: 1.1.1.1, unknown\r\n", "127.0.0.1");
	expect("127.0.0.1:9", "X-Forwarded-For: 1.1.1.1, 010.0.0.1, 10.0.0.2\r\n", "10.0.0.2");
	expect("127.0.0.1:9", "X-Forwarded-For: 1.1.1.1, [::1, 10.0.0.2\r\n", "10.0.0.2");
	expect("127.0.0.1:9", "X-Forwarded-For: 1.1.1.1, 1.1.1.1:x\r\n", "127.0.0.1");
	expect("unix:", "X-Forwarded-For: 1.1.1.1, ::1:::, []\r\n", "unix:");
	expect("127.0.0.1:9",
	       "X-Forwarded-For: 1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1\r\n",
	       "127.0.0.1");
}

static void addresses_have_several_forms(void **state)
{
	(void)state;
	expect("[::ffff:127.0.0.1]:9", "X-Forwarded-For: ::ffff:192.0.2.1\r\n", "192.0.2.1");
	expect("127.0.0.1:9", "X-Forwarded-For: 192.0.2.1:4000, [fd12::1]:80, [fd00::1], fd01::\r\n",
	       "192.0.2.1");
	expect("127.0.0.1:9", "X-Forwarded-For: [2001:DB8:0::1]:4000\r\n", "2001:db8::1");
	expect("[fe00::1]:9", "X-Forwarded-For: 1.1.1.1\r\n", "fe00::1");
}

/* Who repeats a proxy without end costs no more than some. */
static void a_list_without_end_is_given_up(void **state)
{
	char lines[4000];
	size_t size = (size_t)snprintf(lines, sizeof(lines), "X-Forwarded-For: 192.0.2.1");

	(void)state;
	for (int i = 0; i < 100; i++)
		size += (size_t)snprintf(lines + size, sizeof(lines) - size, ", 10.0.0.1");
	snprintf(lines + size, sizeof(lines) - size, "\r\n");
	expect("127.0.0.1:9", lines, "10.0.0.1");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_word_of_a_stranger_counts_for_nothing),
		cmocka_unit_test(of_those_that_no_proxy_has_the_last_counts),
		cmocka_unit_test(lines_are_one_list),
		cmocka_unit_test(what_is_no_address_ends_it),
		cmocka_unit_test(addresses_have_several_forms),
		cmocka_unit_test(a_list_without_end_is_given_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
