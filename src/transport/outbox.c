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

static int keep_in_reserve(struct outbox *outbox, const struct message *message);
static int send_now(struct link *link, struct message message, const void *bytes);

void outbox_init(struct outbox *outbox)
{
	*outbox = (struct outbox){ .count = 0 };
	list_init(&outbox->waiting);
}

int outbox_reserve(struct outbox *outbox, unsigned count)
{
	outbox->reserve = malloc(count * sizeof(*outbox->reserve));
	if (!outbox->reserve)
		return -ENOMEM;
	outbox->reserve_size = count;
	return 0;
}

void outbox_fini(struct outbox *outbox)
{
	struct list *link;

	while ((link = list_pop_front(&outbox->waiting)))
		free(container_of(link, struct waiting, link));
	free(outbox->reserve);
	outbox_init(outbox);
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
	/* Nobody goes before what is in the reserve. */
	waiting = outbox->reserve_count ? NULL : malloc(sizeof(*waiting) + size);
	if (!waiting)
		return bytes ? -ENOMEM : keep_in_reserve(outbox, message);
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
	while (!list_empty(&outbox->waiting)) {
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
	for (; outbox->reserve_count > 0; outbox->reserve_count--) {
		int r = send_now(link, outbox->reserve[outbox->reserve_first], NULL);

		if (r < 0)
			return r == -EAGAIN ? 0 : r;
		outbox->reserve_first =
			(outbox->reserve_first + 1) % outbox->reserve_size;
		outbox->count--;
	}
	return 1;
}

static int keep_in_reserve(struct outbox *outbox, const struct message *message)
{
	const unsigned first = outbox->reserve_first;

	if (outbox->reserve_count == outbox->reserve_size)
		return -ENOMEM;
	outbox->reserve[(first + outbox->reserve_count++) % outbox->reserve_size] =
		*message;
	outbox->count++;
	return 0;
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
