/* SPDX-License-Identifier: MIT */
/*
 * Fuzzes the room src/http with libFuzzer. The first bytes of the input choose
 * limits and splits; the rest is a request. It is read whole, and again in
 * pieces, each from memory of just its size and at a new address, as the
 * dispatcher's buffer may move. Splitting must change nothing, and what is
 * accepted must hold what the contract in parse.h promises.
 *
 * clang -g -O1 -D_GNU_SOURCE -fsanitize=fuzzer,address,undefined -Iinclude
 *   -Isrc tests/fuzz/http_fuzz.c, and each .c of src/http but the tests
 */
#include <errno.h>
#include <stdlib.h>

#include "http/parse.h"
#include "http/respond.h"
#include "http/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define require(condition)       \
	do {                     \
		if (!(condition)) \
			abort(); \
	} while (0)

struct decoded {
	char *payload;
	size_t size;
	size_t consumed;
	int result;
};

static size_t next_piece(uint32_t *seed)
{
	*seed = *seed * 1664525u + 1013904223u;
	/* Mostly small pieces, at times a large one. */
	return (*seed >> 24) < 200 ? (*seed >> 16) % 8 : (*seed >> 16) % 200;
}

static char *copy_of(const char *text, size_t size)
{
	char *copy = malloc(size > 0 ? size : 1);

	require(copy != NULL);
	if (size > 0)
		memcpy(copy, text, size);
	return copy;
}

static void move_span(struct span *span, const char *from, const char *to,
		      size_t size)
{
	if (span->at == NULL) {
		require(span->size == 0);
		return;
	}
	require(span->at >= from && span->at + span->size <= from + size);
	span->at = to + (span->at - from);
}

/* Spans must lie in the head that was given; they are moved to `text`. */
static void move_head(struct http_head *head, const char *from, const char *text,
		      size_t size)
{
	move_span(&head->method_text, from, text, size);
	move_span(&head->target, from, text, size);
	move_span(&head->path, from, text, size);
	move_span(&head->query, from, text, size);
	move_span(&head->host, from, text, size);
	require(head->header_count <= HTTP_HEADERS_MAX);
	for (uint32_t i = 0; i < head->header_count; i++) {
		move_span(&head->headers[i].name, from, text, size);
		move_span(&head->headers[i].value, from, text, size);
		require(http_name_ok(head->headers[i].name));
		require(http_value_ok(head->headers[i].value));
	}
}

static ssize_t parse_once(struct http_parser *parser,
			  const struct http_limits *limits, const char *text,
			  size_t size, struct http_head *head)
{
	char *copy = copy_of(text, size);
	ssize_t r;

	memset(head, 0, sizeof(*head));
	r = http_parse_head(parser, limits, copy, size, head);
	require(r <= (ssize_t)size && r > -600);
	require(r >= 0 || r <= -400);
	require(r >= 0 || parser->fault != NULL);
	if (r > 0)
		move_head(head, copy, text, (size_t)r);
	free(copy);
	return r;
}

static void check_promises(const struct http_head *head,
			   const struct http_limits *limits, size_t size)
{
	char decoded[4096];

	require(size <= limits->head_max_bytes);
	require(head->header_count <= limits->headers_max);
	require(head->method != HTTP_CONNECT);
	require(head->path.size > 0);
	require(head->path.at[0] == '/' ||
		(head->path.at[0] == '*' && head->method == HTTP_OPTIONS));
	require(head->minor == 0 || head->host.size > 0);
	require(head->minor == 1 || head->framing != HTTP_CHUNKED);
	require((head->framing == HTTP_LENGTH) == (head->content_length > 0));
	if (head->path.size <= sizeof(decoded))
		require(http_decode(decoded, head->path, false) > 0 ||
			memmem(head->path.at, head->path.size, "%00", 3) != NULL);
}

/* Returns the head's size if it is a good one. */
static size_t fuzz_head(const struct http_limits *limits, uint32_t seed,
			const char *text, size_t size, struct http_head *head)
{
	static struct http_head pieces_head;
	struct http_parser whole = { 0 }, pieces = { 0 };
	ssize_t expected = parse_once(&whole, limits, text, size, head);
	ssize_t r = 0;
	size_t now = 0;

	while (r == 0 && now < size) {
		size_t piece = next_piece(&seed);

		now = piece < size - now ? now + piece : size;
		r = parse_once(&pieces, limits, text, now, &pieces_head);
	}
	require(r == expected);
	require(whole.fault == pieces.fault);
	if (r <= 0)
		return 0;
	require(memcmp(head, &pieces_head, sizeof(*head)) == 0);
	check_promises(head, limits, (size_t)r);
	return (size_t)r;
}

static void decode_piece(struct http_body *body, const struct http_limits *limits,
			 const char *input, size_t size, struct decoded *decoded)
{
	char *copy = copy_of(input, size);
	size_t used = 0;

	do {
		struct span data = { NULL, 0 };
		size_t consumed = 0;

		decoded->result = http_body_next(body, limits, copy + used,
						 size - used, &consumed, &data);
		require(consumed <= size - used);
		if (decoded->result == HTTP_BODY_DATA) {
			require(data.size > 0 && data.at >= copy + used);
			require(data.at + data.size <= copy + used + consumed);
			memcpy(decoded->payload + decoded->size, data.at, data.size);
			decoded->size += data.size;
		}
		used += consumed;
	} while (decoded->result == HTTP_BODY_DATA);
	require(decoded->result != HTTP_BODY_MORE || used == size);
	decoded->consumed += used;
	free(copy);
}

static void decode(const struct http_limits *limits, const struct http_head *head,
		   uint32_t *seed, const char *text, size_t size,
		   struct decoded *decoded)
{
	struct http_body body;
	size_t at = 0;

	decoded->payload = copy_of(text, size);
	decoded->result = http_body_init(&body, limits, head);
	if (decoded->result < 0)
		return;
	do {
		size_t piece = seed != NULL ? next_piece(seed) : size;

		if (piece > size - at)
			piece = size - at;
		decode_piece(&body, limits, text + at, piece, decoded);
		at += piece;
	} while (decoded->result == HTTP_BODY_MORE && at < size);
	require(body.total == decoded->size);
	require(body.total <= limits->body_max_bytes);
	require(decoded->result >= 0 || body.fault != NULL);
}

static void fuzz_body(const struct http_limits *limits, uint32_t seed,
		      const struct http_head *head, const char *text, size_t size)
{
	struct decoded whole = { 0 }, pieces = { 0 };

	decode(limits, head, NULL, text, size, &whole);
	decode(limits, head, &seed, text, size, &pieces);
	require(whole.result == pieces.result);
	require(whole.size == pieces.size);
	require(memcmp(whole.payload, pieces.payload, whole.size) == 0);
	if (whole.result == HTTP_BODY_DONE)
		require(whole.consumed == pieces.consumed);
	free(whole.payload);
	free(pieces.payload);
}

static void fuzz_text(const char *text, size_t size)
{
	char *copy = copy_of(text, size), *out = malloc(6 * size + 2);
	char *message = malloc(size + 1);
	struct span span = { copy, size }, value;
	struct http_wants wants = { 0 };
	const char *type;
	time_t when;

	require(out != NULL && message != NULL);
	require(http_json_string(out, span) <= 6 * size + 2);
	(void)http_decode(out, span, true);
	(void)http_query_find(span, span_of("a"), &value);
	(void)http_cookie_find(span, span_of("a"), &value);
	when = http_date_parse(span);
	if (when != -1) {
		char date[HTTP_DATE_SIZE];

		http_date(date, when);
		require(http_date_parse(span_of(date)) == when);
	}
	(void)http_check_headers(span);
	memcpy(message, text, size);
	message[size] = '\0';
	http_wants_add(&wants, span);
	require(http_error_body(out, 5 * size, http_error_form_of(&wants), 500,
				message, &type) <= 5 * size);
	free(message);
	free(copy);
	free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct http_head head;
	struct http_limits limits = { .chunk_extra_max_bytes = 64,
				      .body_max_bytes = 4096 };
	const char *text = (const char *)data + 4;
	uint32_t seed;
	size_t used;

	if (size < 5)
		return 0;
	memcpy(&seed, data, sizeof(seed));
	size -= sizeof(seed);
	limits.line_max_bytes = 8 + (seed & 0xff);
	limits.head_max_bytes = 64 + (seed >> 8 & 0x3ff);
	limits.headers_max = 1 + (seed >> 18 & 0x7f);

	used = fuzz_head(&limits, seed, text, size, &head);
	if (used > 0) {
		fuzz_body(&limits, seed, &head, text + used, size - used);
		fuzz_text(text + used, size - used);
	}
	memset(&head, 0, sizeof(head));
	head.framing = HTTP_CHUNKED;
	fuzz_body(&limits, seed, &head, text, size);
	fuzz_text(text, size);
	return 0;
}
