/* SPDX-License-Identifier: MIT */
/*
 * Request heads from bytes. The dispatcher calls http_parse_head each time that
 * bytes arrive, with all that it holds of the head so far.
 *
 * What always holds: the answer depends on the bytes alone, never on how they
 * were split over calls. For that, lines are read strictly in order, and each
 * in the same three steps: control bytes, then limits, then (once it ends) its
 * grammar. The first two may speak before the line has ended; they look at
 * positions only, so the whole line would have got the same verdict. What
 * several lines mean together (framing, Host) is decided when all are there.
 *
 * The common case, a head that comes in one piece, is one pass that fills the
 * caller's struct. If it comes in pieces, the lines that have ended are checked
 * as they come and only the rest is looked at again; since the buffer may move
 * between calls no span is kept, and the lines are read a second time when the
 * empty line arrives. So a byte is looked at a fixed number of times, however
 * slowly a client drips.
 *
 * Why not one state per byte, as other parsers do: the end of a line is found
 * 8 to 32 bytes at a time, the same scan refuses every control byte, and what is
 * left are short loops over a table. It is faster and shorter.
 *
 * A fault is a status and a constant text; nothing is allocated.
 */
#include "http/parse.h"

#include "http/head.h"
#include "http/scan.h"

enum {
	EMPTY_LINES_MAX = 2,
	/* parser.state below this: empty lines so far; from this on: this plus
	 * the number of header lines so far. */
	IN_HEADERS = EMPTY_LINES_MAX + 1,
};

static ssize_t read_lines(struct http_parser *parser,
			  const struct http_limits *limits, const char *buffer,
			  size_t size, struct http_head *head);
static int next_line(struct http_parser *parser,
		     const struct http_limits *limits, const char *buffer,
		     size_t end, struct span *ret_line);
static int control_fault(struct http_parser *parser, char byte);
static int read_line(struct http_parser *parser,
		     const struct http_limits *limits, struct span line,
		     struct http_head *head);
static int read_request_line(struct http_parser *parser, struct span line,
			     struct http_head *head);
static int read_version(struct http_parser *parser, struct span version,
			struct http_head *head);
static int read_header(struct http_parser *parser, struct span line,
		       struct http_header *ret_header);
static int name_fault(struct http_parser *parser, struct span line,
		      size_t size);

ssize_t http_parse_head(struct http_parser *parser,
			const struct http_limits *limits, const char *buffer,
			size_t size, struct http_head *ret_head)
{
	bool resumed = parser->scanned > 0;
	ssize_t size_or_fault;
	int r;

	size_or_fault = read_lines(parser, limits, buffer, size, ret_head);
	if (size_or_fault > 0 && resumed) {
		*parser = (struct http_parser){ 0 };
		size_or_fault = read_lines(parser, limits, buffer, size, ret_head);
	}
	if (size_or_fault <= 0)
		return size_or_fault;

	ret_head->header_count = parser->state - IN_HEADERS;
	r = http_read_headers(parser, ret_head);
	if (r < 0)
		return r;
	*parser = (struct http_parser){ 0 };
	return size_or_fault;
}

bool http_has_begun(const struct http_parser *parser)
{
	return parser->state >= IN_HEADERS || parser->scanned > parser->line_start;
}

const char *http_fault(const struct http_parser *parser)
{
	return parser->fault != NULL ? parser->fault : "no fault";
}

enum http_method http_method_of(struct span token)
{
	static const struct span names[] = {
		[HTTP_GET] = { "GET", 3 },
		[HTTP_HEAD] = { "HEAD", 4 },
		[HTTP_POST] = { "POST", 4 },
		[HTTP_PUT] = { "PUT", 3 },
		[HTTP_DELETE] = { "DELETE", 6 },
		[HTTP_PATCH] = { "PATCH", 5 },
		[HTTP_OPTIONS] = { "OPTIONS", 7 },
		[HTTP_TRACE] = { "TRACE", 5 },
		[HTTP_CONNECT] = { "CONNECT", 7 },
	};
	_Static_assert(sizeof(names) / sizeof(names[0]) == HTTP_METHOD_COUNT,
		       "every method has a name");

	for (int i = HTTP_GET; i < HTTP_METHOD_COUNT; i++) {
		if (span_equal(token, names[i]))
			return (enum http_method)i;
	}
	return HTTP_OTHER;
}

/* Read the lines that are there, from where the last call stopped. Returns the
 * head's size, 0 for more, or minus a status. */
static ssize_t read_lines(struct http_parser *parser,
			  const struct http_limits *limits, const char *buffer,
			  size_t size, struct http_head *head)
{
	size_t end = size < limits->head_max_bytes ? size : limits->head_max_bytes;
	struct span line;
	int r;

	for (;;) {
		r = next_line(parser, limits, buffer, end, &line);
		if (r < 0)
			return r;
		if (r == 0)
			break;
		if (line.size == 0 && parser->state >= IN_HEADERS)
			return (ssize_t)parser->line_start;
		r = read_line(parser, limits, line, head);
		if (r < 0)
			return r;
	}
	if (end < limits->head_max_bytes)
		return 0;
	if (parser->state < IN_HEADERS)
		return http_fail(parser, 414, "the request line is too long");
	return http_fail(parser, 431, "the head is too long");
}

/* Find the next line, without its CRLF. Returns 1 with it, 0 if it has not
 * ended, or minus a status. */
static int next_line(struct http_parser *parser,
		     const struct http_limits *limits, const char *buffer,
		     size_t end, struct span *ret_line)
{
	size_t start = parser->line_start;
	size_t limit = end;
	bool too_long = false;
	size_t at;

	/* One byte more than a request line may have is all that is looked at:
	 * it must be the CR. */
	if (parser->state < IN_HEADERS && end - start > limits->line_max_bytes) {
		limit = start + limits->line_max_bytes + 1;
		too_long = true;
	}
	at = http_find_control(buffer, parser->scanned, limit);
	if (at == limit && too_long)
		return http_fail(parser, 414, "the request line is too long");
	if (at < limit && buffer[at] != '\r')
		return control_fault(parser, buffer[at]);
	parser->scanned = (uint32_t)at;
	if (end - at < 2)
		return 0;
	if (buffer[at + 1] != '\n')
		return http_fail(parser, 400, "a CR without LF in the head");

	*ret_line = (struct span){ buffer + start, at - start };
	parser->scanned = (uint32_t)at + 2;
	parser->line_start = parser->scanned;
	return 1;
}

static int control_fault(struct http_parser *parser, char byte)
{
	if (byte == '\n')
		return http_fail(parser, 400, "an LF without CR in the head");
	if (byte == '\0')
		return http_fail(parser, 400, "a NUL in the head");
	return http_fail(parser, 400, "a control byte in the head");
}

static int read_line(struct http_parser *parser,
		     const struct http_limits *limits, struct span line,
		     struct http_head *head)
{
	uint32_t index = parser->state - IN_HEADERS;
	int r;

	if (parser->state < IN_HEADERS && line.size == 0) {
		if (parser->state++ < EMPTY_LINES_MAX)
			return 0;
		return http_fail(parser, 400,
				 "too many empty lines before the request line");
	}
	if (parser->state < IN_HEADERS) {
		r = read_request_line(parser, line, head);
		parser->state = IN_HEADERS;
		return r;
	}
	if (index >= limits->headers_max || index >= HTTP_HEADERS_MAX)
		return http_fail(parser, 431, "too many header lines");
	parser->state++;
	return read_header(parser, line, &head->headers[index]);
}

/* method SP target SP version, with exactly those spaces (RFC 9112, 3). */
static int read_request_line(struct http_parser *parser, struct span line,
			     struct http_head *head)
{
	const char *end = line.at + line.size;
	const char *method_end = http_skip(line.at, end, BYTE_TOKEN);
	const char *target, *target_end;
	int r;

	if (method_end == line.at || method_end == end || *method_end != ' ')
		return http_fail(parser, 400, "the method is not a token");
	target = method_end + 1;
	target_end = http_skip_long(target, end, &http_target);
	if (target_end == target)
		return http_fail(parser, 400, "no target in the request line");
	if (target_end == end)
		return http_fail(parser, 400, "no version in the request line");
	if (*target_end != ' ')
		return http_fail(parser, 400, "a byte that no target may hold");

	head->method_text.at = line.at;
	head->method_text.size = (size_t)(method_end - line.at);
	head->method = http_method_of(head->method_text);
	head->target = (struct span){ target, (size_t)(target_end - target) };
	r = read_version(parser,
			 (struct span){ target_end + 1,
					(size_t)(end - target_end - 1) },
			 head);
	return r < 0 ? r : http_read_target(parser, head);
}

/* "HTTP/" digit "." digit. A later minor version is a 1.1 that can do more,
 * which nobody has to use (RFC 9110, 2.5). */
static int read_version(struct http_parser *parser, struct span version,
			struct http_head *head)
{
	if (version.size != 8 || memcmp(version.at, "HTTP/", 5) != 0 ||
	    !http_byte_is(version.at[5], BYTE_DIGIT) || version.at[6] != '.' ||
	    !http_byte_is(version.at[7], BYTE_DIGIT))
		return http_fail(parser, 400, "the version is malformed");
	if (version.at[5] != '1')
		return http_fail(parser, 505, "a version that is not HTTP/1");
	head->minor = version.at[7] == '0' ? 0 : 1;
	return 0;
}

/* name ":" value. The scan for the line's end has seen that the value holds no
 * control byte, so only the name is looked at again. */
static int read_header(struct http_parser *parser, struct span line,
		       struct http_header *ret_header)
{
	const char *end = line.at + line.size;
	const char *colon = http_skip_long(line.at, end, &http_token);
	size_t size = (size_t)(colon - line.at);

	if (size == 0 || colon == end || *colon != ':')
		return name_fault(parser, line, size);
	ret_header->name = (struct span){ line.at, size };
	ret_header->value = http_trim(
		(struct span){ colon + 1, (size_t)(end - colon - 1) });
	return 0;
}

/* Say why a line does not begin with a name and a colon; `size` is that of the
 * token it begins with. */
static int name_fault(struct http_parser *parser, struct span line, size_t size)
{
	const char *fault = "a byte that no header name may hold";

	if (size == 0 && http_is_blank(line.at[0]))
		fault = "a folded header line";
	else if (size == 0 && line.at[0] == ':')
		fault = "a header without a name";
	else if (size == line.size)
		fault = "a header line without a colon";
	else if (http_is_blank(line.at[size]))
		fault = "space before the colon of a header";
	return http_fail(parser, 400, fault);
}
