/* SPDX-License-Identifier: MIT */
/* A request becomes a block; and blocks that are no requests are found out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/check.h"
#include "handler/encode.h"
#include "handler/request.h"

static struct http_head head;

static struct encode_input example(void)
{
	static const struct route_param params[] = {
		{ .name = { "id", 2 }, .text = { "-7", 2 },
		  .type = WIRE_PARAM_INT, .integer = -7 },
		{ .name = { "x", 1 }, .text = { "0.5", 3 },
		  .type = WIRE_PARAM_FLOAT, .real = 0.5 },
		{ .name = { "tag", 3 }, .text = { "", 0 } },
	};
	static const struct request_value values[] = {
		{ { "user", 4 }, { "bob", 3 } },
		{ { "role", 4 }, { "", 0 } },
	};

	head = (struct http_head){
		.method_text = { "POST", 4 },
		.method = HTTP_POST,
		.query = { "a=1", 3 },
		.header_count = 2,
		.headers = { { { "Host", 4 }, { "a.example", 9 } },
			     { { "X-Empty", 7 }, { NULL, 0 } } },
	};
	return (struct encode_input){
		.id = 42,
		.head = &head,
		.path = { "/a b", 4 },
		.params = params,
		.param_count = 3,
		.values = values,
		.value_count = 2,
		.depth = 3,
		.route = 5,
		.client = { "127.0.0.1:4000", 14 },
		.body = { "12345", 5 },
		.body_size = 9,
	};
}

static struct wire_request *encode(const struct encode_input *input)
{
	/* Of that very size: a write beyond it is found by the sanitizer. */
	const uint32_t size = encode_size(input);
	void *block = malloc(size);

	assert_non_null(block);
	encode_request(block, size, input);
	return block;
}

static const char *text(const struct wire_request *wire, struct wire_text text)
{
	const char *at = (const char *)wire + text.offset;

	assert_int_equal(strlen(at), text.size);
	return at;
}

static void everything_is_in_the_block(void **state)
{
	const struct encode_input input = example();
	struct wire_request *wire = encode(&input);
	const struct wire_header *headers =
		(const void *)((char *)wire + wire->headers);
	const struct wire_param *params =
		(const void *)((char *)wire + wire->params);
	const struct wire_header *values =
		(const void *)((char *)wire + wire->values);

	(void)state;
	assert_int_equal(wire->value_count, 2);
	assert_string_equal(text(wire, values[0].name), "user");
	assert_string_equal(text(wire, values[0].value), "bob");
	assert_string_equal(text(wire, values[1].value), "");
	assert_int_equal(wire->depth, 3);
	assert_int_equal(wire->size, encode_size(&input));
	assert_true(wire_request_ok(wire, wire->size));
	assert_int_equal(wire->id, 42);
	assert_int_equal(wire->route, 5);
	assert_int_equal(wire->method_number, HTTP_POST);
	assert_string_equal(text(wire, wire->method), "POST");
	assert_string_equal(text(wire, wire->path), "/a b");
	assert_string_equal(text(wire, wire->query), "a=1");
	assert_string_equal(text(wire, wire->client), "127.0.0.1:4000");
	assert_int_equal(wire->header_count, 2);
	assert_string_equal(text(wire, headers[0].name), "Host");
	assert_string_equal(text(wire, headers[0].value), "a.example");
	assert_string_equal(text(wire, headers[1].value), "");
	assert_int_equal(wire->param_count, 3);
	assert_int_equal(params[0].integer, -7);
	assert_true(params[1].real == 0.5);
	assert_string_equal(text(wire, params[2].name), "tag");
	assert_int_equal(wire->body_size, 9);
	assert_int_equal(wire->body.size, 5);
	assert_int_equal(wire->body.offset % 8, 0);
	assert_memory_equal((char *)wire + wire->body.offset, "12345", 5);
	free(wire);
}

static void the_least_request_is_a_block_too(void **state)
{
	const struct http_head least = { .method_text = { "GET", 3 } };
	const struct encode_input input = { .head = &least, .path = { "/", 1 } };
	struct wire_request *wire = encode(&input);

	(void)state;
	assert_true(wire_request_ok(wire, wire->size));
	assert_string_equal(text(wire, wire->query), "");
	assert_int_equal(wire->body.size, 0);
	free(wire);
}

/* Each of these numbers, made impossible, is noticed. */
static void damage_is_found(void **state)
{
	const struct encode_input input = example();
	struct wire_request *good = encode(&input);
	const uint32_t size = good->size;
	struct wire_request *bad = malloc(size);
	uint32_t *const numbers[] = {
		&bad->size,          &bad->headers,     &bad->params,
		&bad->method.offset, &bad->method.size, &bad->path.offset,
		&bad->path.size,     &bad->query.size,  &bad->client.offset,
		&bad->body.offset,   &bad->body.size,
	};
	const uint32_t values[] = { size, size - 1, UINT32_MAX, UINT32_MAX - 7 };

	(void)state;
	assert_non_null(bad);
	for (size_t i = 0; i < COUNT_OF(numbers); i++) {
		for (size_t j = numbers[i] == &bad->size ? 1 : 0;
		     j < COUNT_OF(values); j++) {
			memcpy(bad, good, size);
			*numbers[i] = values[j];
			assert_false(wire_request_ok(bad, size));
		}
	}
	memcpy(bad, good, size);
	bad->header_count = UINT16_MAX;
	assert_false(wire_request_ok(bad, size));
	bad->header_count = good->header_count;
	bad->param_count = WIRE_PARAMS_MAX + 1;
	assert_false(wire_request_ok(bad, size));
	bad->param_count = good->param_count;
	assert_true(wire_request_ok(bad, size));
	assert_false(wire_request_ok(bad, sizeof(*bad) - 1));
	free(bad);
	free(good);
}

/* Whatever the bytes are, the answer comes without a read outside. */
static void random_damage_is_harmless(void **state)
{
	const struct encode_input input = example();
	struct wire_request *good = encode(&input);
	const uint32_t size = good->size;
	unsigned char *bad = malloc(size);
	unsigned refused = 0;

	(void)state;
	assert_non_null(bad);
	srandom(1);
	for (unsigned i = 0; i < 20000; i++) {
		memcpy(bad, good, size);
		for (unsigned j = 0; j < 1 + i % 4; j++)
			bad[(unsigned long)random() % size] =
				(unsigned char)random();
		refused += !wire_request_ok(bad, size);
	}
	assert_true(refused > 0);
	free(bad);
	free(good);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(everything_is_in_the_block),
		cmocka_unit_test(the_least_request_is_a_block_too),
		cmocka_unit_test(damage_is_found),
		cmocka_unit_test(random_damage_is_harmless),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
