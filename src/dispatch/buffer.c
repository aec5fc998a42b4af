/* SPDX-License-Identifier: MIT */
/*
 * Buffers hold what a client has not yet sent whole, or not yet taken. They
 * are empty most of the time, and an idle connection must cost next to
 * nothing: so a drained buffer gives its memory back. Nearly every answer needs
 * one for a moment, of the first size: some of those are kept at hand, since
 * the allocator takes as long for one as the parser for a request. The cache is
 * the process's: only the dispatcher has buffers, and it is one thread.
 */
#include "dispatch/buffer.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/kept.h"

#define FIRST_ROOM 4096u
/* As many as a turn's answers may need; a quarter of a megabyte at most. */
#define KEPT_MAX 64u

static struct kept kept = { FIRST_ROOM, KEPT_MAX, 0, NULL };

static void give_back(void *data, size_t room)
{
	if (room == FIRST_ROOM)
		kept_give(&kept, data);
	else
		free(data);
}

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
		data = room == FIRST_ROOM ? kept_take(&kept) : malloc(room);
		if (!data)
			return NULL;
		if (used)
			memcpy(data, buffer->data, used);
		if (buffer->data)
			give_back(buffer->data, buffer->room);
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
	if (buffer->data)
		give_back(buffer->data, buffer->room);
	*buffer = (struct buffer){ 0 };
}

void buffer_free_kept(void)
{
	kept_free(&kept);
}
