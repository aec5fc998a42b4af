/* SPDX-License-Identifier: MIT */
/*
 * Request targets and hosts (RFC 9112, 3.2 and RFC 3986, 3.2). parse.c calls it
 * once for each request line; headers.c has it check Host.
 *
 * What always holds: an accepted target has a path that begins with '/' (or is
 * "*", for OPTIONS), every escape in it is whole, and a host is one host and
 * one port and nothing else. Most servers are lax here, and two of them in a
 * row that read a host differently send a request where it does not belong.
 *
 * All spans lie in the request itself, so that the caller may note them as
 * offsets; see path_of for how that is kept where a target has no path.
 */
#include "http/head.h"

#include <arpa/inet.h>

#include "http/scan.h"

static int read_absolute(struct http_parser *parser, struct http_head *head);
static void path_of(struct http_head *head, struct span rest);
static bool bracketed_ok(struct span host, size_t *ret_size);
static bool named_ok(struct span host, size_t *ret_size);
static bool port_ok(struct span port);

int http_read_target(struct http_parser *parser, struct http_head *head)
{
	struct span target = head->target;

	head->host = (struct span){ NULL, 0 };
	if (head->method == HTTP_CONNECT)
		return http_fail(parser, 405, "CONNECT is for proxies");
	if (!http_escapes_ok(target))
		return http_fail(parser, 400, "a broken escape in the target");
	if (target.at[0] == '/') {
		path_of(head, target);
		return 0;
	}
	if (target.size == 1 && target.at[0] == '*') {
		head->path = target;
		head->query = (struct span){ NULL, 0 };
		if (head->method == HTTP_OPTIONS)
			return 0;
		return http_fail(parser, 400, "the target * without OPTIONS");
	}
	return read_absolute(parser, head);
}

bool http_path_ok(struct span target)
{
	const char *end = target.at + target.size;

	return target.size > 0 && target.at[0] == '/' &&
	       http_skip_long(target.at, end, &http_target) == end && http_escapes_ok(target);
}

bool http_escapes_ok(struct span text)
{
	const char *at = text.at, *end = text.at + text.size;

	while ((at = memchr(at, '%', (size_t)(end - at))) != NULL) {
		if (end - at < 3 || !http_byte_is(at[1], BYTE_HEX) ||
		    !http_byte_is(at[2], BYTE_HEX))
			return false;
		at += 3;
	}
	return true;
}

bool http_host_ok(struct span host)
{
	size_t size = 0;
	bool ok;

	if (host.size == 0)
		return false;
	ok = host.at[0] == '[' ? bracketed_ok(host, &size) : named_ok(host, &size);
	if (!ok || size == host.size)
		return ok;
	return host.at[size] == ':' &&
	       port_ok((struct span){ host.at + size + 1, host.size - size - 1 });
}

/* http://authority/path: what a proxy is sent, and every server must accept. */
static int read_absolute(struct http_parser *parser, struct http_head *head)
{
	static const struct span schemes[] = { { "http://", 7 }, { "https://", 8 } };
	struct span target = head->target;
	size_t start = 0, end;

	for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
		struct span scheme = { target.at, schemes[i].size };

		if (target.size > scheme.size &&
		    span_equal_nocase(scheme, schemes[i]))
			start = scheme.size;
	}
	if (start == 0)
		return http_fail(parser, 400, "a target of no known form");
	end = start;
	while (end < target.size && target.at[end] != '/' && target.at[end] != '?')
		end++;
	head->host = (struct span){ target.at + start, end - start };
	if (!http_host_ok(head->host))
		return http_fail(parser, 400, "the target's host is malformed");
	path_of(head, (struct span){ target.at + end, target.size - end });
	return 0;
}

/* Divide path and query. If there is no path it is "/" (RFC 9110, 4.2.3), and
 * that must be a span of the request: the scheme's second slash serves. */
static void path_of(struct http_head *head, struct span rest)
{
	const char *mark = NULL;

	if (rest.size > 0)
		mark = memchr(rest.at, '?', rest.size);
	head->path = rest;
	head->query = (struct span){ NULL, 0 };
	if (mark != NULL) {
		head->path.size = (size_t)(mark - rest.at);
		head->query.at = mark + 1;
		head->query.size = rest.size - head->path.size - 1;
	}
	if (head->path.size == 0)
		head->path = (struct span){ head->host.at - 1, 1 };
}

/* "[" IPv6address "]". The forms of the future and zones are refused: nobody
 * may send them (RFC 9110, 4.2 and RFC 6874, 4). */
static bool bracketed_ok(struct span host, size_t *ret_size)
{
	char text[INET6_ADDRSTRLEN];
	struct in6_addr address;
	const char *close = memchr(host.at, ']', host.size);
	size_t size;

	if (close == NULL)
		return false;
	size = (size_t)(close - host.at) - 1;
	if (size >= sizeof(text))
		return false;
	memcpy(text, host.at + 1, size);
	text[size] = '\0';
	*ret_size = size + 2;
	return strlen(text) == size && inet_pton(AF_INET6, text, &address) == 1;
}

/* A registered name, of which an IPv4 address is a special case. */
static bool named_ok(struct span host, size_t *ret_size)
{
	const char *end = host.at + host.size;
	const char *at = http_skip(host.at, end, BYTE_HOST);

	while (at < end && *at == '%') {
		if (end - at < 3 || !http_byte_is(at[1], BYTE_HEX) ||
		    !http_byte_is(at[2], BYTE_HEX))
			return false;
		at = http_skip(at + 3, end, BYTE_HOST);
	}
	*ret_size = (size_t)(at - host.at);
	return *ret_size > 0;
}

/* Digits up to 65535, or nothing (RFC 3986, 3.2.3). */
static bool port_ok(struct span port)
{
	uint32_t value = 0;

	for (size_t i = 0; i < port.size; i++) {
		if (!http_byte_is(port.at[i], BYTE_DIGIT))
			return false;
		value = value * 10 + http_hex(port.at[i]);
		if (value > 65535)
			return false;
	}
	return true;
}
