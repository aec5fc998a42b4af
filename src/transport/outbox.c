/* SPDX-License-Identifier: MIT */
/*
 * A queue before the ring. It is empty nearly always: a message that finds it
 * so and finds room is sent without any allocation. Otherwise the message is
 * copied and waits, and all later ones wait behind it, since the order of what
 * is said of one slot matters.
 */
#include "transport/outbox.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct waiting {
	struct list link;
	struct message message;
	bool has_bytes;
	_Alignas(8) unsigned char bytes[];
};

static int send_now(struct link *link, struct message message, const void *bytes);

void outbox_init(struct outbox *outbox)
{
	list_init(&outbox->waiting);
	outbox->count = 0;
	outbox->bytes = 0;
}

void outbox_fini(struct outbox *outbox)
{
	struct list *link;

	while ((link = list_pop_front(&outbox->waiting)))
		free(container_of(link, struct waiting, link));
	outbox->count = 0;
	outbox->bytes = 0;
}

int outbox_send(struct outbox *outbox, struct link *link,
		const struct message *message, const void *bytes)
{
	const size_t size = bytes ? message->size : 0;
	struct waiting *waiting;
	int r = -EAGAIN;

	if (outbox_empty(outbox))
		r = send_now(link, *message, bytes);
	if (r != -EAGAIN)
		return r;
	waiting = malloc(sizeof(*waiting) + size);
	if (!waiting)
		return -ENOMEM;
	waiting->message = *message;
	waiting->has_bytes = bytes != NULL;
	if (size)
		memcpy(waiting->bytes, bytes, size);
	list_init(&waiting->link);
	list_push_back(&outbox->waiting, &waiting->link);
	outbox->count++;
	outbox->bytes += sizeof(*waiting) + size;
	return 0;
}

int outbox_flush(struct outbox *outbox, struct link *link)
{
	while (!outbox_empty(outbox)) {
		struct waiting *first = container_of(outbox->waiting.next,
						     struct waiting, link);
		int r = send_now(link, first->message,
				 first->has_bytes ? first->bytes : NULL);

		if (r == -EAGAIN)
			return 0;
		if (r < 0)
			return r;
		list_remove(&first->link);
		outbox->bytes -= sizeof(*first) +
				 (first->has_bytes ? first->message.size : 0);
		free(first);
		outbox->count--;
	}
	return 1;
}

/* 0, -EAGAIN, -EBADMSG. */
static int send_now(struct link *link, struct message message, const void *bytes)
{
	void *place;
	int r;

	if (bytes && message.size) {
		place = link_alloc(link, LINK_NO_SLOT, message.size, &message.offset);
		if (!place)
			return -EAGAIN;
		memcpy(place, bytes, message.size);
	}
	r = link_send(link, &message);
	if (r < 0 && bytes && message.size && link_free(link, message.offset) < 0)
		return -EBADMSG;
	return r;
}
