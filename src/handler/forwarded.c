/* SPDX-License-Identifier: MIT */
/*
 * Whose request it is when proxies stand between. Each proxy appends the address
 * of its peer to X-Forwarded-For, as another element or as another line; what
 * stood there before is what that peer said. So the header is read from its end,
 * for as long as who said it is listed as a proxy, and the first address that is
 * not listed is the last that can be believed. Whoever reads it from its
 * beginning gets what the client has made up.
 *
 * Addresses are compared as those of IPv6, with IPv4 mapped into them (RFC 4291,
 * 2.5.5.2): a socket that takes both names its peers so.
 */
#include <arpa/inet.h>
#include <stdlib.h>

#include "handler/request.h"
#include "http/scan.h"

/* Of IPv4 in IPv6. */
#define MAPPED_BITS 96u
/* Proxies behind each other; more are a client that repeats one of them. */
#define HOPS_MAX 64u

struct address {
	unsigned char bytes[16];
};

/* Elements of a list over all its lines, from the last to the first. */
struct walk {
	const struct crew_request *request;
	size_t line;      /* those before it are still to be read */
	struct span rest; /* of the one that is being read */
};

static bool is_listed(const struct address *address, const char *const *proxies);
static bool names(const char *const *proxies, const char *peer);
static bool covers(const char *network, const struct address *address);
static bool previous(struct walk *walk, struct span *ret_element);
static bool read_address(struct span text, struct address *ret_address,
			 bool *ret_is_four);
static struct span without_port(struct span text);
static const char *write_address(struct crew_request *request,
				 const struct address *address);

const char *crew_forwarded_for(struct crew_request *request,
			       const char *const *proxies)
{
	const char *peer = crew_client_address(request);
	struct walk walk = { request, crew_header_count(request), { NULL, 0 } };
	struct address address;
	struct address next;
	struct span element;
	bool is_four;
	bool known = read_address(without_port(span_of(peer)), &address, &is_four);

	if (!known && !names(proxies, peer))
		return peer;
	for (unsigned hops = 0; hops < HOPS_MAX; hops++) {
		if ((known && !is_listed(&address, proxies)) ||
		    !previous(&walk, &element) ||
		    !read_address(without_port(element), &next, &is_four))
			break;
		address = next;
		known = true;
	}
	return known ? write_address(request, &address) : peer;
}

static bool is_listed(const struct address *address, const char *const *proxies)
{
	for (size_t i = 0; proxies && proxies[i]; i++) {
		if (covers(proxies[i], address))
			return true;
	}
	return false;
}

static bool names(const char *const *proxies, const char *peer)
{
	for (size_t i = 0; proxies && proxies[i]; i++) {
		if (strcmp(proxies[i], peer) == 0)
			return true;
	}
	return false;
}

/* "10.0.0.0/8", or one address. */
static bool covers(const char *network, const struct address *address)
{
	const char *slash = strchr(network, '/');
	struct span text = span_of(network);
	struct address base;
	unsigned long bits = 128;
	bool is_four;
	char *end;

	if (slash)
		text.size = (size_t)(slash - network);
	if (!read_address(text, &base, &is_four))
		return false;
	if (slash) {
		if (slash[1] < '0' || slash[1] > '9')
			return false;
		bits = strtoul(slash + 1, &end, 10);
		if (*end || bits > (is_four ? 32 : 128))
			return false;
		bits += is_four ? MAPPED_BITS : 0;
	}
	if (memcmp(base.bytes, address->bytes, bits / 8) != 0)
		return false;
	return bits % 8 == 0 ||
	       (base.bytes[bits / 8] ^ address->bytes[bits / 8]) >> (8 - bits % 8) == 0;
}

/* Empty elements count for nothing (RFC 9110, 5.6.1). */
static bool previous(struct walk *walk, struct span *ret_element)
{
	const char *name;
	const char *value;

	for (;;) {
		const char *comma = walk->rest.size
					    ? memrchr(walk->rest.at, ',', walk->rest.size)
					    : NULL;
		struct span element = walk->rest;

		if (comma) {
			element.at = comma + 1;
			element.size = walk->rest.size -
				       (size_t)(element.at - walk->rest.at);
		}
		walk->rest.size = comma ? (size_t)(comma - walk->rest.at) : 0;
		*ret_element = http_trim(element);
		if (ret_element->size)
			return true;
		if (walk->rest.size)
			continue;
		do {
			if (walk->line == 0)
				return false;
			walk->line--;
			crew_header_at(walk->request, walk->line, &name, &value);
		} while (!span_equal_nocase(span_of(name), span_of("x-forwarded-for")));
		walk->rest = span_of(value);
	}
}

static bool read_address(struct span text, struct address *ret_address,
			 bool *ret_is_four)
{
	static const unsigned char mapped[12] = { [10] = 0xff, [11] = 0xff };
	char copy[INET6_ADDRSTRLEN];
	struct address address;

	if (text.size >= sizeof(copy))
		return false;
	memcpy(copy, text.at, text.size);
	copy[text.size] = '\0';
	*ret_is_four = inet_pton(AF_INET, copy, address.bytes + sizeof(mapped)) == 1;
	if (*ret_is_four)
		memcpy(address.bytes, mapped, sizeof(mapped));
	else if (inet_pton(AF_INET6, copy, address.bytes) != 1)
		return false;
	*ret_address = address;
	return true;
}

/* "192.0.2.1:80", "[2001:db8::1]:80", "[2001:db8::1]", or neither bracket nor port; what is
 * wrong about it is left in, and so is no address. */
static struct span without_port(struct span text)
{
	const char *colon = memrchr(text.at, ':', text.size);
	struct span host = text;

	if (text.size == 0)
		return text;
	if (text.at[text.size - 1] == ']')
		colon = NULL;
	else if (text.at[0] != '[' && colon != memchr(text.at, ':', text.size))
		return text; /* of IPv6, alone */
	if (colon) {
		for (const char *c = colon + 1; c < text.at + text.size; c++) {
			if (*c < '0' || *c > '9')
				return text;
		}
		host.size = (size_t)(colon - text.at);
	}
	if (host.size >= 2 && host.at[0] == '[' && host.at[host.size - 1] == ']')
		host = (struct span){ host.at + 1, host.size - 2 };
	return host;
}

static const char *write_address(struct crew_request *request,
				 const struct address *address)
{
	static const unsigned char mapped[12] = { [10] = 0xff, [11] = 0xff };
	const bool is_four = memcmp(address->bytes, mapped, sizeof(mapped)) == 0;
	char text[INET6_ADDRSTRLEN];

	inet_ntop(is_four ? AF_INET : AF_INET6,
		  address->bytes + (is_four ? sizeof(mapped) : 0), text, sizeof(text));
	return arena_copy(request->arena, text, strlen(text));
}
