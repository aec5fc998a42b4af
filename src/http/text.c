/* SPDX-License-Identifier: MIT */
/*
 * The small grammars around a request: percent-encoding, queries, cookies,
 * Accept. The router decodes paths with it, workers read parameters.
 *
 * What always holds: nothing is allocated and nothing is copied but by
 * http_decode; other results are spans of what was given. A NUL never comes
 * out of an escape, since what follows would be cut off by the first C string
 * function that an application uses.
 *
 * What a client sends malformed here is not a fault: such a parameter, cookie
 * or media range is just not found. Only a broken escape in what http_decode is
 * asked for is an error, because there is nothing that it could stand for.
 */
#include "http/text.h"

#include <errno.h>

#include "http/scan.h"

enum { ANY = 1, ANY_OF_KIND, EXACT };

static int decode_one(struct span *text, bool plus_is_space);
static bool name_is(struct span encoded, struct span name);
static struct span unquoted(struct span value);
static void read_range(struct span range, struct http_wants *wants);
static void want_at(struct http_want *want, int quality, int closeness);
static int quality_of(struct span parameters);
static int read_quality(struct span text);

ssize_t http_decode(char *ret, struct span text, bool plus_is_space)
{
	ssize_t size = 0;

	while (text.size > 0) {
		int byte = decode_one(&text, plus_is_space);

		if (byte <= 0)
			return -EINVAL;
		ret[size++] = (char)byte;
	}
	return size;
}

bool http_query_next(struct span *query, struct span *ret_name, struct span *ret_value)
{
	while (query->size > 0) {
		const char *end = memchr(query->at, '&', query->size);
		const struct span pair = { query->at, end ? (size_t)(end - query->at)
							  : query->size };
		const char *equals;

		query->at += pair.size + (end != NULL);
		query->size -= pair.size + (end != NULL);
		if (pair.size == 0)
			continue;
		equals = memchr(pair.at, '=', pair.size);
		if (equals == NULL)
			equals = pair.at + pair.size;
		*ret_name = (struct span){ pair.at, (size_t)(equals - pair.at) };
		ret_value->at = equals < pair.at + pair.size ? equals + 1 : equals;
		ret_value->size = (size_t)(pair.at + pair.size - ret_value->at);
		return true;
	}
	return false;
}

bool http_query_find(struct span query, struct span name, struct span *ret_value)
{
	struct span encoded;
	struct span value;

	while (http_query_next(&query, &encoded, &value)) {
		if (!name_is(encoded, name))
			continue;
		*ret_value = value;
		return true;
	}
	return false;
}

bool http_cookie_find(struct span header, struct span name, struct span *ret_value)
{
	struct span pair;

	while (http_split(&header, ';', false, &pair)) {
		const char *equals = NULL;
		size_t size;

		if (pair.size > 0)
			equals = memchr(pair.at, '=', pair.size);
		if (equals == NULL)
			continue;
		size = (size_t)(equals - pair.at);
		if (!span_equal((struct span){ pair.at, size }, name))
			continue;
		*ret_value = unquoted(
			(struct span){ equals + 1, pair.size - size - 1 });
		return true;
	}
	return false;
}

void http_wants_add(struct http_wants *wants, struct span accept)
{
	struct span range;

	while (http_split(&accept, ',', true, &range))
		read_range(range, wants);
}

/* A text form must be wanted more than JSON, or as much if JSON is only
 * covered by a wild card. */
enum http_error_form http_error_form_of(const struct http_wants *wants)
{
	enum http_error_form best = HTTP_ERROR_JSON;
	const struct http_want *json = &wants->of[HTTP_ERROR_JSON];

	for (int form = HTTP_ERROR_TEXT; form <= HTTP_ERROR_HTML; form++) {
		const struct http_want *want = &wants->of[form];

		if (want->quality <= 0 || want->quality < json->quality)
			continue;
		if (want->quality == json->quality && json->closeness == EXACT)
			continue;
		if (best == HTTP_ERROR_JSON ||
		    want->quality > wants->of[best].quality ||
		    (want->quality == wants->of[best].quality &&
		     want->closeness > wants->of[best].closeness))
			best = (enum http_error_form)form;
	}
	return best;
}

/* The next byte; 0 or less if it is a NUL or a broken escape. */
static int decode_one(struct span *text, bool plus_is_space)
{
	const char *at = text->at;
	size_t used = 1;
	int byte = (unsigned char)*at;

	if (*at == '%') {
		if (text->size < 3 || !http_byte_is(at[1], BYTE_HEX) ||
		    !http_byte_is(at[2], BYTE_HEX))
			return -EINVAL;
		byte = (int)(http_hex(at[1]) << 4 | http_hex(at[2]));
		used = 3;
	} else if (*at == '+' && plus_is_space) {
		byte = ' ';
	}
	text->at += used;
	text->size -= used;
	return byte;
}

/* Compare decoded, without room to decode into. */
static bool name_is(struct span encoded, struct span name)
{
	size_t size = 0;

	while (encoded.size > 0) {
		int byte = decode_one(&encoded, true);

		if (byte <= 0 || size == name.size ||
		    byte != (unsigned char)name.at[size])
			return false;
		size++;
	}
	return size == name.size;
}

static struct span unquoted(struct span value)
{
	if (value.size >= 2 && value.at[0] == '"' &&
	    value.at[value.size - 1] == '"')
		return (struct span){ value.at + 1, value.size - 2 };
	return value;
}

/* One media range: type "/" subtype *( ";" parameter ). */
static void read_range(struct span range, struct http_wants *wants)
{
	static const struct {
		const char *range;
		enum http_error_form form;
		int closeness;
	} known[] = {
		{ "application/json", HTTP_ERROR_JSON, EXACT },
		{ "application/*", HTTP_ERROR_JSON, ANY_OF_KIND },
		{ "*/*", HTTP_ERROR_JSON, ANY },
		{ "text/plain", HTTP_ERROR_TEXT, EXACT },
		{ "text/*", HTTP_ERROR_TEXT, ANY_OF_KIND },
		{ "text/html", HTTP_ERROR_HTML, EXACT },
	};
	struct span type;

	if (!http_split(&range, ';', true, &type))
		return;
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (span_equal_nocase(type, span_of(known[i].range)))
			want_at(&wants->of[known[i].form], quality_of(range),
				known[i].closeness);
	}
}

/* Of two ranges for one type, the closer one counts (RFC 9110, 12.5.1). */
static void want_at(struct http_want *want, int quality, int closeness)
{
	if (closeness > want->closeness)
		*want = (struct http_want){ quality, closeness };
}

/* q of the parameters, in thousandths; 1000 if it is not there. */
static int quality_of(struct span parameters)
{
	struct span parameter;

	while (http_split(&parameters, ';', true, &parameter)) {
		if (parameter.size >= 2 && (parameter.at[0] | 0x20) == 'q' &&
		    parameter.at[1] == '=')
			return read_quality((struct span){ parameter.at + 2,
							   parameter.size - 2 });
	}
	return 1000;
}

/* 0 to 1 with up to three digits behind the point; 0 if it is malformed. */
static int read_quality(struct span text)
{
	int quality = 0, weight = 1000;

	for (size_t i = 0; i < text.size; i++) {
		if (i == 1 && text.at[i] == '.')
			continue;
		if (i > 4 || i == 1 || !http_byte_is(text.at[i], BYTE_DIGIT))
			return 0;
		quality += weight * (text.at[i] - '0');
		weight /= 10;
	}
	return quality <= 1000 ? quality : 0;
}
