/* SPDX-License-Identifier: MIT */
/* A growing run of private bytes: filled at its end, drained at its start. */
#ifndef DISPATCH_BUFFER_H
#define DISPATCH_BUFFER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/span.h"

struct buffer {
	char *data;
	size_t start; /* of what is not drained */
	size_t end;
	size_t room;
};

static inline size_t buffer_size(const struct buffer *buffer)
{
	return buffer->end - buffer->start;
}

static inline struct span buffer_span(const struct buffer *buffer)
{
	return (struct span){ buffer->data + buffer->start, buffer_size(buffer) };
}

/** Room for `size` more bytes at the end; NULL if there is no memory. */
char *buffer_reserve(struct buffer *buffer, size_t size);
/** Append a copy. False if there is no memory. */
bool buffer_append(struct buffer *buffer, const void *data, size_t size);
/** Drop `size` bytes at the start; a buffer that is empty then has no memory. */
void buffer_drain(struct buffer *buffer, size_t size);
/** Free the memory; the buffer can be used again. */
void buffer_fini(struct buffer *buffer);
/** Free what is kept at hand; once, at the end. */
void buffer_free_kept(void);

#endif
