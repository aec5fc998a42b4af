/* SPDX-License-Identifier: MIT */
/*
 * What the header lines of a request mean together: where its body ends, whom
 * it is for, whether the connection stays. parse.c calls it once, when all
 * lines are there.
 *
 * What always holds: there is one framing decision, this one, and it is made
 * only if nobody could make another. Whatever two readers have ever disagreed
 * on (both kinds of length, repeated or listed lengths, signs, codings besides
 * chunked, codings in HTTP/1.0, several hosts) is refused, even where the RFC
 * would let a server repair it: repairing is where requests are smuggled.
 *
 * A line that is not known here means nothing here; its value was checked by
 * parse.c.
 */
#include "http/head.h"

#include "http/scan.h"

struct meaning {
	const struct http_header *length;
	const struct http_header *coding;
	const struct http_header *host;
	bool close;
	bool keep_alive;
	bool expects;
};

static int collect(struct http_parser *parser, const struct http_header *header,
		   struct meaning *meaning);
static int only(struct http_parser *parser, const struct http_header *header,
		const struct http_header **place, const char *fault);
static void collect_connection(struct span value, struct meaning *meaning);
static int collect_expect(struct http_parser *parser, struct span value,
			  struct meaning *meaning);
static int decide_host(struct http_parser *parser, struct http_head *head,
		       const struct http_header *host);
static int decide_framing(struct http_parser *parser, struct http_head *head,
			  const struct meaning *meaning);
static int coding_fault(struct http_parser *parser, struct span value);
static int read_length(struct http_parser *parser, struct span value,
		       uint64_t *ret_length);
static bool is(struct span text, const char *name);

int http_read_headers(struct http_parser *parser, struct http_head *head)
{
	struct meaning meaning = { 0 };
	int r;

	for (uint32_t i = 0; i < head->header_count; i++) {
		r = collect(parser, &head->headers[i], &meaning);
		if (r < 0)
			return r;
	}
	r = decide_host(parser, head, meaning.host);
	if (r < 0)
		return r;
	r = decide_framing(parser, head, &meaning);
	if (r < 0)
		return r;
	head->keep_alive = !meaning.close && (head->minor > 0 || meaning.keep_alive);
	/* HTTP/1.0 knows no interim answer (RFC 9110, 10.1.1). */
	head->expect_continue = meaning.expects && head->minor > 0 &&
				head->framing != HTTP_NO_BODY;
	return 0;
}

/* The name's size rules almost all lines out before a letter is compared. */
static int collect(struct http_parser *parser, const struct http_header *header,
		   struct meaning *meaning)
{
	struct span name = header->name;

	switch (name.size) {
	case 4:
		if (is(name, "host"))
			return only(parser, header, &meaning->host,
				    "more than one Host");
		break;
	case 6:
		if (is(name, "expect"))
			return collect_expect(parser, header->value, meaning);
		break;
	case 10:
		if (is(name, "connection"))
			collect_connection(header->value, meaning);
		break;
	case 14:
		if (is(name, "content-length"))
			return only(parser, header, &meaning->length,
				    "more than one Content-Length");
		break;
	case 17:
		if (is(name, "transfer-encoding"))
			return only(parser, header, &meaning->coding,
				    "more than one Transfer-Encoding");
		break;
	}
	return 0;
}

static int only(struct http_parser *parser, const struct http_header *header,
		const struct http_header **place, const char *fault)
{
	if (*place != NULL)
		return http_fail(parser, 400, fault);
	*place = header;
	return 0;
}

static void collect_connection(struct span value, struct meaning *meaning)
{
	struct span option;

	while (http_split(&value, ',', false, &option)) {
		if (is(option, "close"))
			meaning->close = true;
		else if (is(option, "keep-alive"))
			meaning->keep_alive = true;
	}
}

static int collect_expect(struct http_parser *parser, struct span value,
			  struct meaning *meaning)
{
	struct span expectation;

	while (http_split(&value, ',', false, &expectation)) {
		if (expectation.size == 0)
			continue;
		if (!is(expectation, "100-continue"))
			return http_fail(parser, 417, "an unknown expectation");
		meaning->expects = true;
	}
	return 0;
}

/* An absolute target names the host, whatever Host says (RFC 9112, 3.2.2); it must be good
 * all the same, since what stands before or behind crew may go by it. */
static int decide_host(struct http_parser *parser, struct http_head *head,
		       const struct http_header *host)
{
	if (host == NULL && head->minor > 0)
		return http_fail(parser, 400, "no Host");
	if (host == NULL)
		return 0;
	if (!http_host_ok(host->value))
		return http_fail(parser, 400, "Host is malformed");
	if (head->host.at == NULL)
		head->host = host->value;
	else
		head->headers[host - head->headers].value = head->host;
	return 0;
}

static int decide_framing(struct http_parser *parser, struct http_head *head,
			  const struct meaning *meaning)
{
	uint64_t length = 0;
	int r;

	head->framing = HTTP_NO_BODY;
	head->content_length = 0;
	if (meaning->coding != NULL) {
		if (meaning->length != NULL)
			return http_fail(parser, 400,
					 "Content-Length with Transfer-Encoding");
		if (head->minor == 0)
			return http_fail(parser, 400,
					 "Transfer-Encoding in HTTP/1.0");
		if (!is(meaning->coding->value, "chunked"))
			return coding_fault(parser, meaning->coding->value);
		head->framing = HTTP_CHUNKED;
		return 0;
	}
	if (meaning->length == NULL)
		return 0;
	r = read_length(parser, meaning->length->value, &length);
	if (r < 0)
		return r;
	head->content_length = length;
	head->framing = length > 0 ? HTTP_LENGTH : HTTP_NO_BODY;
	return 0;
}

/* One coding that is only unknown is 501; whatever else is malformed or a way
 * to hide "chunked" is 400. */
static int coding_fault(struct http_parser *parser, struct span value)
{
	const char *end = value.at + value.size;
	const char *name_end = http_skip(value.at, end, BYTE_TOKEN);
	struct span name = { value.at, (size_t)(name_end - value.at) };

	if (name.size > 0 && memchr(value.at, ',', value.size) != NULL)
		return http_fail(parser, 400, "a list of transfer codings");
	while (name_end < end && http_is_blank(*name_end))
		name_end++;
	if (name.size == 0 || is(name, "chunked") ||
	    (name_end < end && *name_end != ';'))
		return http_fail(parser, 400, "Transfer-Encoding is malformed");
	return http_fail(parser, 501, "an unknown transfer coding");
}

/* Digits and nothing else. */
static int read_length(struct http_parser *parser, struct span value,
		       uint64_t *ret_length)
{
	uint64_t length = 0;

	if (value.size == 0 || !http_all(value, BYTE_DIGIT))
		return http_fail(parser, 400, "Content-Length is not a number");
	for (size_t i = 0; i < value.size; i++) {
		unsigned digit = http_hex(value.at[i]);

		if (length > (UINT64_MAX - digit) / 10)
			return http_fail(parser, 400,
					 "Content-Length is too large");
		length = length * 10 + digit;
	}
	*ret_length = length;
	return 0;
}

static bool is(struct span text, const char *name)
{
	return span_equal_nocase(text, span_of(name));
}
