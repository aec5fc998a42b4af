/* SPDX-License-Identifier: MIT */
/*
 * Buffers hold what a client has not yet sent whole, or not yet taken. They
 * are empty most of the time, and an idle connection must cost next to
 * nothing: so a drained buffer frees its memory. The allocator keeps blocks of
 * these few sizes at hand, which makes that cheaper than a pool of our own.
 */
#include "dispatch/buffer.h"

#include <stdlib.h>

#include "base/check.h"

#define FIRST_ROOM 4096u

char *buffer_reserve(struct buffer *buffer, size_t size)
{
	size_t room = buffer->room ? buffer->room : FIRST_ROOM;
	size_t used = buffer_size(buffer);
	char *data;

	if (buffer->room - buffer->end >= size)
		return buffer->data + buffer->end;
	if (buffer->start > 0) {
		memmove(buffer->data, buffer->data + buffer->start, used);
		buffer->start = 0;
		buffer->end = used;
	}
	while (room - used < size)
		room *= 2;
	if (room != buffer->room) {
		data = realloc(buffer->data, room);
		if (!data)
			return NULL;
		buffer->data = data;
		buffer->room = room;
	}
	return buffer->data + buffer->end;
}

bool buffer_append(struct buffer *buffer, const void *data, size_t size)
{
	char *place;

	if (size == 0)
		return true;
	place = buffer_reserve(buffer, size);
	if (!place)
		return false;
	memcpy(place, data, size);
	buffer->end += size;
	return true;
}

void buffer_drain(struct buffer *buffer, size_t size)
{
	check(size <= buffer_size(buffer));
	buffer->start += size;
	if (buffer->start == buffer->end)
		buffer_fini(buffer);
}

void buffer_fini(struct buffer *buffer)
{
	free(buffer->data);
	*buffer = (struct buffer){ 0 };
}
