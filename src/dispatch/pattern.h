/* SPDX-License-Identifier: MIT */
/* Route patterns: "/item/{id:int}", from text to segments. */
#ifndef DISPATCH_PATTERN_H
#define DISPATCH_PATTERN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/span.h"
#include "transport/message.h"

#define SEGMENTS_MAX 32u

/** The kinds of segments, most particular first: the order in which they are
 * tried. */
enum segment_kind {
	SEGMENT_LITERAL = 0,
	SEGMENT_INT,
	SEGMENT_FLOAT,
	SEGMENT_TEXT,
	SEGMENT_REST, /* ** */
	SEGMENT_KIND_COUNT
};

struct segment {
	enum segment_kind kind;
	struct span text; /* the literal, or the parameter's name */
};

struct pattern {
	struct segment segments[SEGMENTS_MAX];
	unsigned count;
	unsigned param_count;
};

/** Parse; spans point into `text`. NULL, or what is wrong, in the static form
 * of "unknown type" with the part of the text that it is about. */
const char *pattern_parse(struct pattern *pattern, struct span text,
			  struct span *ret_about);

/** The next non-empty segment of a decoded path; moves `path` behind it. False
 * at the end. */
bool path_next(struct span *path, struct span *ret_segment);

/** Does a segment of a path fit that kind? Fills the value of a parameter. */
bool segment_value(enum segment_kind kind, struct span text, int64_t *ret_integer,
		   double *ret_real);

#endif
