/* SPDX-License-Identifier: MIT */
/* The small grammars around a request: percent-encoding, queries, cookies,
 * Accept. No allocation: results go into the caller's buffer. */
#ifndef HTTP_TEXT_H
#define HTTP_TEXT_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/span.h"

/** Percent-decode (RFC 3986, 2.1) into `ret`, which has room for text.size
 * bytes; with `plus_is_space` as HTML forms do. Returns the size, or -EINVAL
 * for a broken escape or a NUL. Input and output may be the same memory. */
ssize_t http_decode(char *ret, struct span text, bool plus_is_space);

/** Take the next pair off a query ("a=1&b"), still encoded; empty ones are passed
 * over. False if there is none left. */
bool http_query_next(struct span *query, struct span *ret_name, struct span *ret_value);

/** The first value of `name` in a query ("a=1&b"), still encoded; names are
 * compared decoded. False if it is absent. */
bool http_query_find(struct span query, struct span name, struct span *ret_value);

/** The value of a cookie in a Cookie header (RFC 6265, 4.2), without quotes. */
bool http_cookie_find(struct span header, struct span name, struct span *ret_value);

/** What an error body should be. */
enum http_error_form { HTTP_ERROR_JSON = 0, HTTP_ERROR_TEXT, HTTP_ERROR_HTML };
/** How much a client wants each of them, by its Accept; zero: it has not said. */
struct http_wants {
	struct http_want {
		int quality;   /* in thousandths */
		int closeness; /* how closely the range names it that says so */
	} of[HTTP_ERROR_HTML + 1];
};
/** Take a line of Accept into account (RFC 9110, 12.5.1); several count as one list. */
void http_wants_add(struct http_wants *wants, struct span accept);
/** JSON unless text/plain or text/html is named and preferred over JSON. A wild
 * card alone means JSON. */
enum http_error_form http_error_form_of(const struct http_wants *wants);

/** Write an error body in that form: {"error":"…"}, the bare text and a
 * newline, or a small HTML page, all escaped. Cuts a message that does not
 * fit. Returns the size; *ret_type is the Content-Type. */
size_t http_error_body(char *buffer, size_t room, enum http_error_form form,
		       int status, const char *message, const char **ret_type);

/** Write `text` as a JSON string, with quotes (RFC 8259, 7): bytes that are
 * not UTF-8 become U+FFFD. `buffer` has room for 6 * size + 2. Returns the
 * size. */
size_t http_json_string(char *buffer, struct span text);

#endif
