/* SPDX-License-Identifier: MIT */
/* A run of bytes that somebody else owns. */
#ifndef BASE_SPAN_H
#define BASE_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

struct span {
	const char *at;
	size_t size;
};

/** The span of a C string, its NUL not counted. */
static inline struct span span_of(const char *text)
{
	return (struct span){ text, strlen(text) };
}

static inline bool span_equal(struct span a, struct span b)
{
	return a.size == b.size && (a.size == 0 || memcmp(a.at, b.at, a.size) == 0);
}

/** Equal but for the case of ASCII letters (the process runs in the C locale
 * as far as this is concerned: only ASCII is given to it). */
static inline bool span_equal_nocase(struct span a, struct span b)
{
	return a.size == b.size &&
	       (a.size == 0 || strncasecmp(a.at, b.at, a.size) == 0);
}

#endif
