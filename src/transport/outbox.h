/* SPDX-License-Identifier: MIT */
/*
 * Messages that must not be lost because a ring or an arena is full just now.
 * They leave in the order in which they were given; what cannot leave at once
 * is kept here, in memory of our own, until the peer has made room. One outbox
 * belongs to one side of one link. What has no bytes can have its memory beforehand.
 */
#ifndef TRANSPORT_OUTBOX_H
#define TRANSPORT_OUTBOX_H

#include "base/list.h"
#include "transport/link.h"

struct outbox {
	struct list waiting;
	unsigned count;          /* of all that wait */
	size_t bytes;            /* that those in the list take */
	struct message *reserve; /* those behind the list, without bytes: a ring of
				    reserve_size; NULL: there is none */
	unsigned reserve_size;
	unsigned reserve_first;
	unsigned reserve_count;
};

void outbox_init(struct outbox *outbox);
/** Have room for so many messages without bytes that are to wait when there is no memory. It is
 * not touched before. 0 or -ENOMEM. */
int outbox_reserve(struct outbox *outbox, unsigned count);
/** Forget all that waits, and the reserve. Takes an outbox that was used or initialised. */
void outbox_fini(struct outbox *outbox);
/** Send a message, now or as soon as there is room. With `bytes`, message->size
 * of them are copied into our arena, in the name of LINK_NO_SLOT; else size and
 * offset go as they are. 0, -ENOMEM (it is lost, though what has no bytes not before the
 * reserve is full), or -EBADMSG. Rings no bell. */
int outbox_send(struct outbox *outbox, struct link *link,
		const struct message *message, const void *bytes);
/** Send what waits. 1: nothing waits any more; 0: something does; -EBADMSG. */
int outbox_flush(struct outbox *outbox, struct link *link);
static inline bool outbox_empty(const struct outbox *outbox)
{
	return outbox->count == 0;
}

#endif
