/* SPDX-License-Identifier: MIT */
/* Private to this room: the parts of http_parse_head. Each returns 0 or minus
 * a status, with the reason noted in the parser. */
#ifndef HTTP_HEAD_H
#define HTTP_HEAD_H

#include "http/parse.h"

/** Note what is wrong and return minus the status. */
static inline int http_fail(struct http_parser *parser, int status,
			    const char *fault)
{
	parser->fault = fault;
	return -status;
}

/** Fill path, query and (absolute form) host from method and target, whose
 * bytes are known to be of class BYTE_TARGET. */
int http_read_target(struct http_parser *parser, struct http_head *head);

/** Is it `host [ ":" port ]` with a host that is not empty? */
bool http_host_ok(struct span host);

/** Is it a path, and what may follow it, as it stands in a request line? */
bool http_path_ok(struct span target);

/** Is every '%' followed by two hexadecimal digits? */
bool http_escapes_ok(struct span text);

/** Fill what the header lines mean: host, keep_alive, expect_continue, framing
 * and content_length. All lines are there and well-formed. */
int http_read_headers(struct http_parser *parser, struct http_head *head);

#endif
