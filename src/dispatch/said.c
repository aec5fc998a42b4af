/* SPDX-License-Identifier: MIT */
/*
 * What a worker says besides answers: that one comes later or is alive, that a
 * stream wants a topic, an event for all, a call to a pool, that it wants no
 * more work for now. All of it is judged as answers are: what speaks of a slot
 * must be of its present request, which the worker has begun, what has a length
 * must have it, and texts are copied before they are looked at.
 */
#include <errno.h>

#include "base/log.h"
#include "dispatch/private.h"

static bool is_of_now(struct seat *seat, const struct message *message);
static struct exchange *exchange_of(struct seat *seat, const struct message *message);
static void take_topic(struct seat *seat, const struct message *message);
static void take_publication(struct seat *seat, const struct message *message);
static void take_call(struct seat *seat, const struct message *message);
static void take_deferral(struct seat *seat, const struct message *message);

void said_received(struct seat *seat, const struct message *message)
{
	struct exchange *exchange;

	switch ((enum message_kind)message->kind) {
	case MESSAGE_DEFER:
		take_deferral(seat, message);
		break;
	case MESSAGE_ALIVE:
		exchange = exchange_of(seat, message);
		if (exchange)
			pool_alive(exchange);
		break;
	case MESSAGE_SUBSCRIBE:
	case MESSAGE_UNSUBSCRIBE:
		take_topic(seat, message);
		break;
	case MESSAGE_PUBLISH:
		take_publication(seat, message);
		break;
	case MESSAGE_CALL:
		take_call(seat, message);
		break;
	case MESSAGE_PAUSE:
		seat->paused = true;
		seat_pull_back(seat, false);
		break;
	case MESSAGE_RESUME:
		seat->paused = false;
		break;
	default: /* link_receive lets no other kind through */
		break;
	}
	/* Of the kinds above these have bytes. */
	if (message->kind != MESSAGE_SUBSCRIBE && message->kind != MESSAGE_UNSUBSCRIBE &&
	    message->kind != MESSAGE_PUBLISH && message->kind != MESSAGE_CALL)
		return;
	if (message->size && !seat->condemned &&
	    link_release(&seat->link, message->offset) < 0)
		seat_condemn(seat, "its index of freed bytes is impossible");
}

/* Whether it is of the slot's present request, which the worker must have begun. */
static bool is_of_now(struct seat *seat, const struct message *message)
{
	const struct slot *slot = &seat->slots[message->slot];

	if (!slot->used || slot->generation != message->generation)
		return false;
	if (link_claim(&seat->link, message->slot, message->generation) == CLAIM_TAKEN)
		return true;
	seat_condemn(seat, "speaks of a request that it does not have");
	return false;
}

/* NULL if it is of the past, or its client has gone. */
static struct exchange *exchange_of(struct seat *seat, const struct message *message)
{
	return is_of_now(seat, message) ? seat->slots[message->slot].exchange : NULL;
}

static void take_deferral(struct seat *seat, const struct message *message)
{
	if (!is_of_now(seat, message))
		return;
	slot_note_silence(seat, message->slot);
	seat->progress_ms = seat->dispatcher->loop.now_ms;
	slot_answering(seat, message->slot);
	slot_copied(seat, message->slot);
}

static void take_topic(struct seat *seat, const struct message *message)
{
	char topic[WIRE_TOPIC_MAX_BYTES];
	struct exchange *exchange;
	int r;

	if (message->size == 0 || message->size > sizeof(topic)) {
		seat_condemn(seat, "a topic is too long, or none");
		return;
	}
	memcpy(topic, link_bytes(&seat->link, message), message->size);
	exchange = exchange_of(seat, message);
	if (!exchange || (exchange->state != EXCHANGE_LINKED &&
			  exchange->state != EXCHANGE_ANSWERING))
		return;
	if (message->kind == MESSAGE_UNSUBSCRIBE) {
		topic_unsubscribe(exchange, (struct span){ topic, message->size });
	} else {
		r = topic_subscribe(exchange, (struct span){ topic, message->size });
		if (r == 0)
			return;
		log_error("%s[%u]: request %llu cannot subscribe, so its client is cut off: %s",
			  seat->pool->name, seat->index, (unsigned long long)exchange->id,
			  r == -ENOSPC ? "it has as many topics as a stream may have"
				       : strerror(-r));
		connection_break(exchange->connection);
	}
}

static void take_publication(struct seat *seat, const struct message *message)
{
	const char *bytes = link_bytes(&seat->link, message);
	char topic[WIRE_TOPIC_MAX_BYTES];
	struct message told = { .kind = MESSAGE_PUBLISHED };
	struct wire_publish head;

	if (message->size < sizeof(head) || message->size > WIRE_PUBLISH_MAX_BYTES) {
		seat_condemn(seat, "a publication is too short or too long");
		return;
	}
	memcpy(&head, bytes, sizeof(head));
	if (head.topic_size == 0 || head.topic_size > sizeof(topic) ||
	    head.event_size > WIRE_PUBLISH_MAX_BYTES ||
	    sizeof(head) + head.topic_size + head.event_size != message->size) {
		seat_condemn(seat, "a publication is not as long as it says");
		return;
	}
	memcpy(topic, bytes + sizeof(head), head.topic_size);
	told.generation = head.token;
	told.size = topic_publish(seat->dispatcher,
				  (struct span){ topic, head.topic_size },
				  (struct span){ bytes + sizeof(head) + head.topic_size,
						 head.event_size });
	if (head.token)
		seat_say(seat, &told, NULL);
}

static void take_call(struct seat *seat, const struct message *message)
{
	const struct span bytes = { link_bytes(&seat->link, message), message->size };

	if (call_begin(seat->dispatcher, seat, bytes, NULL, NULL) == -EBADMSG)
		seat_condemn(seat, "a call is not as long as it says");
}
