/* SPDX-License-Identifier: MIT */
/* Bodies by length and in chunks, whole and in pieces. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "base/check.h"
#include "http/parse.h"

static const struct http_limits limits = {
	.body_max_bytes = 40,
	.chunk_extra_max_bytes = 30,
};

struct decoded {
	char payload[64];
	size_t size;
	size_t consumed; /* up to the end of the body */
	int result;      /* HTTP_BODY_MORE, HTTP_BODY_DONE or minus a status */
};

/* Decode one piece from memory of just its size. */
static void decode_piece(struct http_body *body, const char *input, size_t size,
			 struct decoded *decoded)
{
	char *copy = malloc(size > 0 ? size : 1);
	size_t used = 0;

	assert_non_null(copy);
	memcpy(copy, input, size);
	do {
		struct span data = { NULL, 0 };
		size_t consumed = 0;

		decoded->result = http_body_next(body, &limits, copy + used,
						 size - used, &consumed, &data);
		if (decoded->result == HTTP_BODY_DATA) {
			assert_true(data.size > 0);
			assert_true(decoded->size + data.size <=
				    sizeof(decoded->payload));
			memcpy(decoded->payload + decoded->size, data.at, data.size);
			decoded->size += data.size;
		}
		used += consumed;
		assert_true(used <= size);
	} while (decoded->result == HTTP_BODY_DATA);
	if (decoded->result == HTTP_BODY_MORE)
		assert_int_equal(used, size);
	decoded->consumed += used;
	free(copy);
}

/* Decode with the first piece of `first` bytes and later ones of `step`. */
static struct decoded decode(enum http_framing framing, uint64_t length,
			     const char *text, size_t first, size_t step)
{
	struct http_head *head = calloc(1, sizeof(*head));
	struct decoded decoded = { .result = HTTP_BODY_MORE };
	size_t size = strlen(text), at = 0, piece = first;
	struct http_body body;

	assert_non_null(head);
	head->framing = framing;
	head->content_length = length;
	assert_int_equal(http_body_init(&body, &limits, head), 0);
	do {
		if (piece > size - at)
			piece = size - at;
		decode_piece(&body, text + at, piece, &decoded);
		at += piece;
		piece = step;
	} while (decoded.result == HTTP_BODY_MORE && at < size);
	if (decoded.result < 0) {
		struct span data;
		size_t consumed;

		assert_non_null(body.fault);
		assert_int_equal(http_body_next(&body, &limits, "0\r\n\r\n", 5,
						&consumed, &data),
				 decoded.result);
	}
	assert_true(body.total == decoded.size);
	free(head);
	return decoded;
}

static const struct {
	const char *text, *payload, *behind;
} good[] = {
	{ "0\r\n\r\n", "", "" },
	{ "0\r\n\r\nGET /", "", "GET /" },
	{ "5\r\nhello\r\n0\r\n\r\nX", "hello", "X" },
	{ "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", "hello world", "" },
	{ "0000000000000002\r\n\r\n\r\n000\r\n\r\n", "\r\n", "" },
	{ "a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n",
	  "01234567890123456789", "" },
	{ "1;a\r\nx\r\n0;b=c\r\n\r\n", "x", "" },
	{ "1 ;\ta = b ; c\r\nx\r\n0\r\n\r\n", "x", "" },
	{ "1;a=\"b;\\\"\xc3\xa9\\\\\"\r\nx\r\n0;c=\"\"\r\n\r\n", "x", "" },
	{ "1\r\nx\r\n0\r\nA: b\r\nC:\r\nD:\t\"e\\\xff\r\n\r\n", "x", "" },
	{ "28\r\n0123456789012345678901234567890123456789\r\n0\r\n\r\n",
	  "0123456789012345678901234567890123456789", "" },
};

static const struct {
	int status;
	const char *text;
} bad[] = {
	/* sizes */
	{ 400, "\r\n" },
	{ 400, " 5\r\nhello\r\n0\r\n\r\n" },
	{ 400, "5 \r\nhello\r\n0\r\n\r\n" },
	{ 400, "5\t\r\nhello\r\n0\r\n\r\n" },
	{ 400, "+5\r\nhello\r\n0\r\n\r\n" },
	{ 400, "-1\r\nhello\r\n0\r\n\r\n" },
	{ 400, "0x5\r\nhello\r\n0\r\n\r\n" },
	{ 400, "5_0\r\nhello\r\n0\r\n\r\n" },
	{ 400, "5h\r\nhello\r\n0\r\n\r\n" },
	{ 400, "g\r\n" },
	{ 400, "\xb2\r\n" },
	{ 400, "00000000000000005\r\nhello\r\n0\r\n\r\n" },
	{ 400, "10000000000000005\r\nhello\r\n0\r\n\r\n" },
	{ 413, "ffffffffffffffff\r\n" },
	{ 413, "8000000000000000\r\n" },
	{ 413, "29\r\n" },
	{ 413, "1\r\nx\r\n28\r\n" },
	{ 413, "1\r\nx\r\nffffffffffffffff\r\n" },
	/* ends of lines */
	{ 400, "5\nhello\r\n0\r\n\r\n" },
	{ 400, "5\rhello\r\n0\r\n\r\n" },
	{ 400, "5\r\r\nhello\r\n0\r\n\r\n" },
	{ 400, "5\r\nhello\n0\r\n\r\n" },
	{ 400, "5\r\nhello0\r\n\r\n" },
	{ 400, "5\r\nhelloXX0\r\n\r\n" },
	{ 400, "5\r\nhello\rX0\r\n\r\n" },
	{ 400, "5\r\nhello\r\n\r\n0\r\n\r\n" },
	{ 400, "0\n\n" },
	{ 400, "0\r\n\n" },
	{ 400, "0\r\n\rX" },
	/* extensions */
	{ 400, "5;\r\nhello\r\n0\r\n\r\n" },
	{ 400, "5;a=\r\nhello\r\n0\r\n\r\n" },
	{ 400, "5;=b\r\nhello\r\n0\r\n\r\n" },
	{ 400, "5;a \r\nhello\r\n0\r\n\r\n" },
	{ 400, "5;a=b \r\nhello\r\n0\r\n\r\n" },
	{ 400, "5;a b\r\nhello\r\n0\r\n\r\n" },
	{ 400, "5;a=b c\r\nhello\r\n0\r\n\r\n" },
	{ 400, "5;a=b=c\r\nhello\r\n0\r\n\r\n" },
	{ 400, "5;a\nhello\r\n0\r\n\r\n" },
	{ 400, "5;a=\"b\nc\"\r\nhello\r\n0\r\n\r\n" },
	{ 400, "5;a=\"b\r\nhello\r\n0\r\n\r\n" },
	{ 400, "5;a=\"b\\\r\nhello\r\n0\r\n\r\n" },
	{ 400, "5;a=\"b\"c\r\nhello\r\n0\r\n\r\n" },
	{ 400, "5;a=\"b\x01\"\r\nhello\r\n0\r\n\r\n" },
	{ 400, "5;a/b\r\nhello\r\n0\r\n\r\n" },
	{ 400, "1;aaaaaaaaaaaaaa\r\nx\r\n1;aaaaaaaaaaaaaa\r\nx\r\n0;a\r\n\r\n" },
	{ 400, "1;aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" },
	/* trailers */
	{ 400, "0\r\n: b\r\n\r\n" },
	{ 400, "0\r\na\r\n\r\n" },
	{ 400, "0\r\na : b\r\n\r\n" },
	{ 400, "0\r\n a: b\r\n\r\n" },
	{ 400, "0\r\na: b\r\n c\r\n\r\n" },
	{ 400, "0\r\na: b\n\r\n" },
	{ 400, "0\r\na: b\rc\r\n\r\n" },
	{ 400, "0\r\na: \x7f\r\n\r\n" },
	{ 400, "0\r\na: 0123456789012345678901234567890\r\n\r\n" },
	{ 400, "0\r\nGET / HTTP/1.1\r\n\r\n" },
};

static void expect_good(size_t i, struct decoded decoded)
{
	size_t behind = strlen(good[i].behind);

	assert_int_equal(decoded.result, HTTP_BODY_DONE);
	assert_int_equal(decoded.size, strlen(good[i].payload));
	assert_memory_equal(decoded.payload, good[i].payload, decoded.size);
	assert_int_equal(decoded.consumed, strlen(good[i].text) - behind);
}

static void chunks_are_joined(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(good); i++)
		expect_good(i, decode(HTTP_CHUNKED, 0, good[i].text, 1000, 1));
}

static void chunks_may_be_split_anywhere(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(good); i++) {
		for (size_t first = 0; first <= strlen(good[i].text); first++)
			expect_good(i, decode(HTTP_CHUNKED, 0, good[i].text,
					      first, 1000));
		expect_good(i, decode(HTTP_CHUNKED, 0, good[i].text, 1, 1));
	}
}

static void bad_chunks_are_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(bad); i++) {
		size_t size = strlen(bad[i].text);
		struct decoded whole =
			decode(HTTP_CHUNKED, 0, bad[i].text, 1000, 1);

		if (whole.result != -bad[i].status)
			print_error("%s: %d\n", bad[i].text, whole.result);
		assert_int_equal(whole.result, -bad[i].status);
		for (size_t first = 0; first <= size; first++) {
			struct decoded split = decode(HTTP_CHUNKED, 0,
						      bad[i].text, first, 2);

			assert_int_equal(split.result, whole.result);
			assert_int_equal(split.size, whole.size);
		}
	}
}

static void half_a_body_needs_more(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(good); i++) {
		size_t size = strlen(good[i].text) - strlen(good[i].behind);
		char text[100] = "";

		memcpy(text, good[i].text, size);
		while (size-- > 0) {
			text[size] = '\0';
			assert_int_equal(decode(HTTP_CHUNKED, 0, text, 1000, 1)
						 .result,
					 HTTP_BODY_MORE);
		}
	}
}

static void a_length_ends_the_body(void **state)
{
	(void)state;
	for (size_t first = 0; first <= 7; first++) {
		struct decoded decoded = decode(HTTP_LENGTH, 5, "helloGE", first, 1);

		assert_int_equal(decoded.result, HTTP_BODY_DONE);
		assert_int_equal(decoded.consumed, 5);
		assert_int_equal(decoded.size, 5);
		assert_memory_equal(decoded.payload, "hello", 5);
	}
	assert_int_equal(decode(HTTP_LENGTH, 5, "hell", 1, 1).result,
			 HTTP_BODY_MORE);
}

static void no_body_is_over_at_once(void **state)
{
	struct decoded decoded = decode(HTTP_NO_BODY, 0, "GET /", 0, 1);

	(void)state;
	assert_int_equal(decoded.result, HTTP_BODY_DONE);
	assert_int_equal(decoded.consumed, 0);
}

static void a_known_length_is_refused_before_it_comes(void **state)
{
	struct http_head *head = calloc(1, sizeof(*head));
	struct http_body body;
	struct span data;
	size_t consumed;

	(void)state;
	assert_non_null(head);
	head->framing = HTTP_LENGTH;
	head->content_length = 40;
	assert_int_equal(http_body_init(&body, &limits, head), 0);
	head->content_length = 41;
	assert_int_equal(http_body_init(&body, &limits, head), -413);
	assert_int_equal(http_body_next(&body, &limits, "x", 1, &consumed, &data),
			 -413);
	free(head);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_body_is_over_at_once),
		cmocka_unit_test(a_length_ends_the_body),
		cmocka_unit_test(a_known_length_is_refused_before_it_comes),
		cmocka_unit_test(chunks_are_joined),
		cmocka_unit_test(chunks_may_be_split_anywhere),
		cmocka_unit_test(half_a_body_needs_more),
		cmocka_unit_test(bad_chunks_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
