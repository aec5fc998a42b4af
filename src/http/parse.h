/* SPDX-License-Identifier: MIT */
/*
 * HTTP/1.1 requests from bytes (RFC 9112), strictly. No I/O: the caller gives
 * a buffer and gets spans into it. What is wrong is a status to answer with,
 * after which the connection must be closed.
 */
#ifndef HTTP_PARSE_H
#define HTTP_PARSE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/span.h"

#define HTTP_HEADERS_MAX 100

enum http_method {
	HTTP_OTHER = 0, /* a token that is none of these */
	HTTP_GET,
	HTTP_HEAD,
	HTTP_POST,
	HTTP_PUT,
	HTTP_DELETE,
	HTTP_PATCH,
	HTTP_OPTIONS,
	HTTP_TRACE,
	HTTP_CONNECT,
	HTTP_METHOD_COUNT
};

/** The method that a token names (case-sensitive). */
enum http_method http_method_of(struct span token);

enum http_framing {
	HTTP_NO_BODY = 0, /* neither Content-Length nor Transfer-Encoding, or length 0 */
	HTTP_LENGTH,
	HTTP_CHUNKED,
};

struct http_limits {
	uint32_t line_max_bytes;   /* request line; beyond: 414 */
	uint32_t head_max_bytes;   /* line and headers together; beyond: 431 */
	uint32_t headers_max;      /* header lines, at most HTTP_HEADERS_MAX; beyond: 431 */
	uint64_t body_max_bytes;   /* payload; beyond: 413 */
	uint32_t chunk_extra_max_bytes; /* chunk extensions and trailers in sum; beyond: 400 */
};

struct http_header {
	struct span name;
	struct span value; /* without the white space around it */
};

struct http_head {
	struct span method_text;
	enum http_method method;
	struct span target; /* as sent */
	struct span path;   /* of the target, still percent-encoded; "*" for OPTIONS * */
	struct span query;  /* after '?', still encoded; at == NULL if there is none */
	struct span host;   /* Host's value, or the authority of an absolute target */
	int minor;          /* 0 or 1: HTTP/1.0 or HTTP/1.1 */
	bool keep_alive;
	bool expect_continue; /* Expect: 100-continue (only with a body, only 1.1) */
	enum http_framing framing;
	uint64_t content_length; /* with HTTP_LENGTH */
	uint32_t header_count;
	struct http_header headers[HTTP_HEADERS_MAX];
};

/** Where a head that is not yet whole was left off. Zeroed before the first
 * head; after a whole head it is ready for the next. */
struct http_parser {
	uint32_t scanned; /* bytes of the buffer that need no second look */
	uint32_t line_start;
	uint32_t state;
	const char *fault; /* what http_fault gives */
};

/**
 * Parse a head from the buffer's start. `buffer` holds all bytes of it so far;
 * on a later call it may have moved, but must begin with the same bytes. Up to
 * two empty lines (CRLF) before the request line are skipped.
 *
 * Returns the number of bytes of the head (the body starts there) with
 * `ret_head` filled with spans into `buffer`; 0 if more bytes are needed; or
 * minus the status to answer with: 400, 405 (CONNECT), 414, 417 (an unknown
 * expectation), 431, 501 (an unknown transfer coding), 505 (a version that is
 * not 1.x). Faults are found as early as their bytes are there: limits hold
 * before the head is whole. Never reads past `size`; no allocation.
 */
ssize_t http_parse_head(struct http_parser *parser,
			const struct http_limits *limits, const char *buffer,
			size_t size, struct http_head *ret_head);

/** Has more been seen of a head that is not whole than line ends, which may stand before
 * it (RFC 9112, 2.2)? */
bool http_has_begun(const struct http_parser *parser);

/** What the last negative result meant, for a log line or an error body: a
 * constant string such as "space before the colon of a header". */
const char *http_fault(const struct http_parser *parser);

/** The state of a body while it is decoded. */
struct http_body {
	enum http_framing framing;
	uint32_t state;
	uint64_t remaining;  /* of the length, or of the current chunk */
	uint64_t total;      /* payload so far */
	uint32_t extra;      /* extension and trailer bytes so far */
	uint32_t digits;
	int status; /* once it has failed: minus this is the answer for ever */
	const char *fault;
};

/** Begin the body that a head announces. 0, or -413 if its length is known and
 * too large. */
int http_body_init(struct http_body *body, const struct http_limits *limits,
		   const struct http_head *head);

enum http_body_result {
	HTTP_BODY_MORE = 0, /* all of `input` is consumed, or more is needed */
	HTTP_BODY_DATA = 1, /* *ret_data holds payload (a span into input) */
	HTTP_BODY_DONE = 2, /* the body is over; what is left of input is the next request's */
};

/**
 * Decode the next piece. Call it again with the rest until it says MORE or
 * DONE. `ret_consumed` is how many bytes of input it used. Returns one of the
 * above or minus a status (400, 413). Chunk lines end in CRLF only; extensions
 * and trailers are checked against their grammar (RFC 9112, 7.1) and dropped.
 */
int http_body_next(struct http_body *body, const struct http_limits *limits,
		   const char *input, size_t size, size_t *ret_consumed,
		   struct span *ret_data);

#endif
