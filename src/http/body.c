/* SPDX-License-Identifier: MIT */
/*
 * Request bodies from bytes: by length, or chunked (RFC 9112, 6 and 7). The
 * dispatcher feeds what has arrived and gets payload as spans into it.
 *
 * What always holds: the state is a function of the bytes alone, one step for
 * each byte that is not payload, so no split can change the result; payload is
 * never copied; what is not payload is bounded (16 digits of a size, and
 * chunk_extra_max_bytes for all extensions and trailers of a body in sum).
 *
 * The chunk grammar is a table: from[state][class of byte] is the next state
 * and a blank cell is a fault. Steps over single bytes are slower than scans,
 * but there are about five of them for each chunk, and a table leaves no corner
 * in which a bare LF, a space behind a size or a sign can hide: these are the
 * places where readers of chunks have differed.
 *
 * Trailers are checked as header lines are and dropped: no header arrives
 * behind the body. After a fault each call gives that fault again.
 */
#include "http/parse.h"

#include "http/scan.h"

enum { SIZE_DIGITS_MAX = 16 };

enum state {
	FAULT = 0, /* so that blank cells mean it */
	SIZE,      /* before the first digit */
	DIGITS,
	SIZE_LF,
	DATA,
	DATA_CR,
	DATA_LF,
	END_LF,
	DONE,
	/* From here on, entering a state counts as an extra byte. */
	EXTENSION_SPACE, /* before a ';' that must come */
	EXTENSION,       /* behind ';' */
	NAME,
	NAME_SPACE,      /* before a '=' or ';' that must come */
	VALUE,           /* behind '=' */
	TOKEN,
	QUOTED,
	ESCAPED,
	CLOSED,
	TRAILER, /* at the start of a line */
	FIELD_NAME,
	FIELD_VALUE,
	FIELD_LF,
	STATE_COUNT,
	FIRST_EXTRA = EXTENSION_SPACE,
};

enum class {
	BAD = 0, /* control bytes */
	HEX,     /* a hexadecimal digit: also part of a token */
	WORD,    /* other bytes of a token */
	BLANK,
	SEMICOLON,
	EQUALS,
	QUOTE,
	BACKSLASH,
	COLON,
	CR,
	LF,
	TEXT, /* other visible bytes, and obs-text */
	CLASS_COUNT,
};

/* All that a quoted string or a field's value may hold leads to `state`. */
#define VISIBLE(state)                                                      \
	[HEX] = (state), [WORD] = (state), [BLANK] = (state),               \
	[SEMICOLON] = (state), [EQUALS] = (state), [COLON] = (state),       \
	[TEXT] = (state)

static const uint8_t from[STATE_COUNT][CLASS_COUNT] = {
	[SIZE] = { [HEX] = DIGITS },
	[DIGITS] = { [HEX] = DIGITS, [BLANK] = EXTENSION_SPACE,
		     [SEMICOLON] = EXTENSION, [CR] = SIZE_LF },
	[SIZE_LF] = { [LF] = DATA },
	[DATA_CR] = { [CR] = DATA_LF },
	[DATA_LF] = { [LF] = SIZE },
	[END_LF] = { [LF] = DONE },
	[EXTENSION_SPACE] = { [BLANK] = EXTENSION_SPACE,
			      [SEMICOLON] = EXTENSION },
	[EXTENSION] = { [BLANK] = EXTENSION, [HEX] = NAME, [WORD] = NAME },
	[NAME] = { [HEX] = NAME, [WORD] = NAME, [BLANK] = NAME_SPACE,
		   [EQUALS] = VALUE, [SEMICOLON] = EXTENSION, [CR] = SIZE_LF },
	[NAME_SPACE] = { [BLANK] = NAME_SPACE, [EQUALS] = VALUE,
			 [SEMICOLON] = EXTENSION },
	[VALUE] = { [BLANK] = VALUE, [HEX] = TOKEN, [WORD] = TOKEN,
		    [QUOTE] = QUOTED },
	[TOKEN] = { [HEX] = TOKEN, [WORD] = TOKEN, [BLANK] = EXTENSION_SPACE,
		    [SEMICOLON] = EXTENSION, [CR] = SIZE_LF },
	[QUOTED] = { VISIBLE(QUOTED), [QUOTE] = CLOSED, [BACKSLASH] = ESCAPED },
	[ESCAPED] = { VISIBLE(QUOTED), [QUOTE] = QUOTED, [BACKSLASH] = QUOTED },
	[CLOSED] = { [BLANK] = EXTENSION_SPACE, [SEMICOLON] = EXTENSION,
		     [CR] = SIZE_LF },
	[TRAILER] = { [HEX] = FIELD_NAME, [WORD] = FIELD_NAME, [CR] = END_LF },
	[FIELD_NAME] = { [HEX] = FIELD_NAME, [WORD] = FIELD_NAME,
			 [COLON] = FIELD_VALUE },
	[FIELD_VALUE] = { VISIBLE(FIELD_VALUE), [QUOTE] = FIELD_VALUE,
			  [BACKSLASH] = FIELD_VALUE, [CR] = FIELD_LF },
	[FIELD_LF] = { [LF] = TRAILER },
};

static const char *const faults[] = {
	[SIZE] = "a chunk without a size",
	[DIGITS] = "a byte that no chunk size may hold",
	[SIZE_LF] = "a CR without LF behind a chunk size",
	[DATA_CR] = "chunk data longer than its size",
	[DATA_LF] = "a CR without LF behind chunk data",
	[END_LF] = "a CR without LF behind the trailers",
	[EXTENSION_SPACE] = "space behind a chunk size or extension",
	[EXTENSION] = "a chunk extension without a name",
	[NAME] = "a byte that no chunk extension's name may hold",
	[NAME_SPACE] = "space behind a chunk extension's name",
	[VALUE] = "a chunk extension without a value",
	[TOKEN] = "a byte that no chunk extension's value may hold",
	[QUOTED] = "a control byte in a quoted chunk extension",
	[ESCAPED] = "a control byte in a quoted chunk extension",
	[CLOSED] = "a byte behind a quoted chunk extension",
	[TRAILER] = "a trailer without a name",
	[FIELD_NAME] = "a byte that no trailer's name may hold",
	[FIELD_VALUE] = "a byte that no trailer's value may hold",
	[FIELD_LF] = "a CR without LF in a trailer",
};
_Static_assert(sizeof(faults) / sizeof(faults[0]) == STATE_COUNT,
	       "every state has a fault");

static int next_by_length(struct http_body *body, const char *input, size_t size,
			  size_t *ret_consumed, struct span *ret_data);
static int next_chunked(struct http_body *body, const struct http_limits *limits,
			const char *input, size_t size, size_t *ret_consumed,
			struct span *ret_data);
static struct span take(struct http_body *body, const char *input, size_t size);
static int step(struct http_body *body, const struct http_limits *limits,
		char byte);
static int add_digit(struct http_body *body, char digit);
static enum class class_of(char byte);
static int fail(struct http_body *body, int status, const char *fault);

int http_body_init(struct http_body *body, const struct http_limits *limits,
		   const struct http_head *head)
{
	*body = (struct http_body){ .framing = head->framing, .state = SIZE };
	if (head->framing != HTTP_LENGTH)
		return 0;
	body->remaining = head->content_length;
	if (body->remaining > limits->body_max_bytes)
		return fail(body, 413, "the body is too long");
	return 0;
}

int http_body_next(struct http_body *body, const struct http_limits *limits,
		   const char *input, size_t size, size_t *ret_consumed,
		   struct span *ret_data)
{
	if (body->status != 0)
		return -body->status;
	if (body->framing == HTTP_CHUNKED)
		return next_chunked(body, limits, input, size, ret_consumed,
				    ret_data);
	/* No body is a body whose length is 0. */
	return next_by_length(body, input, size, ret_consumed, ret_data);
}

static int next_by_length(struct http_body *body, const char *input, size_t size,
			  size_t *ret_consumed, struct span *ret_data)
{
	*ret_consumed = 0;
	if (body->remaining == 0)
		return HTTP_BODY_DONE;
	if (size == 0)
		return HTTP_BODY_MORE;
	*ret_data = take(body, input, size);
	*ret_consumed = ret_data->size;
	return HTTP_BODY_DATA;
}

static int next_chunked(struct http_body *body, const struct http_limits *limits,
			const char *input, size_t size, size_t *ret_consumed,
			struct span *ret_data)
{
	size_t used = 0;
	int r;

	while (used < size && body->state != DONE && body->state != DATA) {
		r = step(body, limits, input[used]);
		if (r < 0)
			return r;
		used++;
	}
	if (body->state == DATA && used < size) {
		*ret_data = take(body, input + used, size - used);
		*ret_consumed = used + ret_data->size;
		if (body->remaining == 0)
			body->state = DATA_CR;
		return HTTP_BODY_DATA;
	}
	*ret_consumed = used;
	return body->state == DONE ? HTTP_BODY_DONE : HTTP_BODY_MORE;
}

/* As much payload as remains and is there. */
static struct span take(struct http_body *body, const char *input, size_t size)
{
	if (size > body->remaining)
		size = (size_t)body->remaining;
	body->remaining -= size;
	body->total += size;
	return (struct span){ input, size };
}

static int step(struct http_body *body, const struct http_limits *limits,
		char byte)
{
	enum state was = (enum state)body->state;
	enum state next = (enum state)from[was][class_of(byte)];

	if (next == FAULT)
		return fail(body, 400, faults[was]);
	if (next == DIGITS)
		return add_digit(body, byte);
	if (was == DIGITS && (body->total > limits->body_max_bytes ||
			      body->remaining > limits->body_max_bytes - body->total))
		return fail(body, 413, "the body is too long");
	if (next >= FIRST_EXTRA && ++body->extra > limits->chunk_extra_max_bytes)
		return fail(body, 400, "too many bytes in extensions and trailers");
	if (next == SIZE)
		body->digits = 0;
	if (next == DATA && body->remaining == 0)
		next = TRAILER; /* that was the last chunk */
	body->state = next;
	return 0;
}

static int add_digit(struct http_body *body, char digit)
{
	if (body->digits == SIZE_DIGITS_MAX)
		return fail(body, 400, "a chunk size has too many digits");
	body->digits++;
	body->remaining = body->remaining << 4 | http_hex(digit);
	body->state = DIGITS;
	return 0;
}

static enum class class_of(char byte)
{
	switch (byte) {
	case ' ':
	case '\t':
		return BLANK;
	case ';':
		return SEMICOLON;
	case '=':
		return EQUALS;
	case '"':
		return QUOTE;
	case '\\':
		return BACKSLASH;
	case ':':
		return COLON;
	case '\r':
		return CR;
	case '\n':
		return LF;
	}
	if (http_byte_is(byte, BYTE_HEX))
		return HEX;
	if (http_byte_is(byte, BYTE_TOKEN))
		return WORD;
	return http_byte_is(byte, BYTE_VALUE) ? TEXT : BAD;
}

static int fail(struct http_body *body, int status, const char *fault)
{
	body->state = FAULT;
	body->status = status;
	body->fault = fault;
	return -status;
}
