/* SPDX-License-Identifier: MIT */
/*
 * Patterns, as a person writes them in a route table, and the segments of the
 * paths that are held against them. Empty segments do not count, so a trailing
 * or doubled slash makes no difference.
 */
#include "dispatch/pattern.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#define NUMBER_MAX_BYTES 64u

static const char *parse_segment(struct pattern *pattern, struct span text);
static const char *parse_param(struct segment *segment, struct span inside);
static const char *check_name(const struct pattern *pattern, struct span name);
static bool parse_integer(struct span text, int64_t *ret_value);
static bool parse_real(struct span text, double *ret_value);

const char *pattern_parse(struct pattern *pattern, struct span text,
			  struct span *ret_about)
{
	struct span segment;
	const char *fault;

	*pattern = (struct pattern){ 0 };
	*ret_about = text;
	if (text.size == 0 || text.at[0] != '/')
		return "a pattern begins with a slash";
	while (path_next(&text, &segment)) {
		*ret_about = segment;
		if (pattern->count > 0 &&
		    pattern->segments[pattern->count - 1].kind == SEGMENT_REST)
			return "nothing can follow **";
		if (pattern->count == SEGMENTS_MAX)
			return "a pattern has too many segments";
		fault = parse_segment(pattern, segment);
		if (fault)
			return fault;
	}
	return NULL;
}

bool path_next(struct span *path, struct span *ret_segment)
{
	const char *end = path->at + path->size;
	const char *at = path->at;
	const char *stop;

	while (at < end && *at == '/')
		at++;
	if (at == end)
		return false;
	stop = memchr(at, '/', (size_t)(end - at));
	if (!stop)
		stop = end;
	*ret_segment = (struct span){ at, (size_t)(stop - at) };
	*path = (struct span){ stop, (size_t)(end - stop) };
	return true;
}

bool segment_value(enum segment_kind kind, struct span text, int64_t *ret_integer,
		   double *ret_real)
{
	switch (kind) {
	case SEGMENT_INT:
		return parse_integer(text, ret_integer);
	case SEGMENT_FLOAT:
		return parse_real(text, ret_real);
	default:
		return true;
	}
}

static const char *parse_segment(struct pattern *pattern, struct span text)
{
	struct segment *segment = &pattern->segments[pattern->count];
	const char *fault;

	segment->text = text;
	segment->kind = SEGMENT_LITERAL;
	if (span_equal(text, (struct span){ "**", 2 })) {
		segment->kind = SEGMENT_REST;
	} else if (text.at[0] == '{') {
		if (text.at[text.size - 1] != '}')
			return "a brace is not closed (a parameter fills its whole segment)";
		fault = parse_param(segment, (struct span){ text.at + 1,
							    text.size - 2 });
		if (!fault)
			fault = check_name(pattern, segment->text);
		if (fault)
			return fault;
		pattern->param_count++;
	} else if (memchr(text.at, '{', text.size) ||
		   memchr(text.at, '}', text.size)) {
		return "a parameter fills its whole segment";
	}
	pattern->count++;
	return NULL;
}

static const char *parse_param(struct segment *segment, struct span inside)
{
	const char *colon = memchr(inside.at, ':', inside.size);
	struct span type = { "", 0 };

	segment->kind = SEGMENT_TEXT;
	segment->text = inside;
	if (!colon)
		return NULL;
	segment->text.size = (size_t)(colon - inside.at);
	type.at = colon + 1;
	type.size = inside.size - segment->text.size - 1;
	if (span_equal(type, (struct span){ "int", 3 }))
		segment->kind = SEGMENT_INT;
	else if (span_equal(type, (struct span){ "float", 5 }))
		segment->kind = SEGMENT_FLOAT;
	else
		return "unknown type; use int or float, or leave it out";
	return NULL;
}

static const char *check_name(const struct pattern *pattern, struct span name)
{
	if (name.size == 0)
		return "a parameter has no name";
	if (memchr(name.at, '{', name.size) || memchr(name.at, '}', name.size))
		return "braces stand in a name";
	if (pattern->param_count == WIRE_PARAMS_MAX)
		return "a pattern has at most 8 parameters";
	for (unsigned i = 0; i < pattern->count; i++) {
		if (pattern->segments[i].kind != SEGMENT_LITERAL &&
		    span_equal(pattern->segments[i].text, name))
			return "two parameters have the same name";
	}
	return NULL;
}

static bool parse_integer(struct span text, int64_t *ret_value)
{
	const bool negative = text.size > 0 && text.at[0] == '-';
	uint64_t value = 0;

	if (text.size == (size_t)negative)
		return false;
	for (size_t i = negative; i < text.size; i++) {
		const unsigned digit = (unsigned char)text.at[i] - '0';

		if (digit > 9 || value > (UINT64_MAX - digit) / 10)
			return false;
		value = value * 10 + digit;
	}
	if (value > (uint64_t)INT64_MAX + negative)
		return false;
	*ret_value = (int64_t)(negative ? 0 - value : value);
	return true;
}

/* Digits with at most one point among them. The point is the C locale's, which
 * is the only one that a process of crew runs in unless the program says so. */
static bool parse_real(struct span text, double *ret_value)
{
	char copy[NUMBER_MAX_BYTES];
	unsigned digits = 0;
	unsigned points = 0;
	size_t i = text.size > 0 && text.at[0] == '-';

	if (text.size >= sizeof(copy))
		return false;
	for (; i < text.size; i++) {
		if (text.at[i] == '.')
			points++;
		else if (text.at[i] >= '0' && text.at[i] <= '9')
			digits++;
		else
			return false;
	}
	if (digits == 0 || points > 1)
		return false;
	memcpy(copy, text.at, text.size);
	copy[text.size] = '\0';
	*ret_value = strtod(copy, NULL);
	return isfinite(*ret_value);
}
