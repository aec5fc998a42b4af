/* SPDX-License-Identifier: MIT */
/*
 * Topics: which streams get what is published. A table of names, each with the
 * list of its subscriptions; a subscription stands in the list of its topic and
 * in that of its exchange, so that either end finds it. A topic without
 * subscriptions is forgotten.
 *
 * An event is framed as a chunk once and then copied to each subscriber's
 * buffer; the sends follow at the end of the turn, some hundreds in a turn, so
 * that ten thousand subscribers do not hold up anybody else. One of 16 KiB or more is
 * sent to each at once (writer_direct): to copy it first would take as long, and its
 * size for each subscriber. A subscriber whose client does not keep up is cut off,
 * visibly, behind what it was given so far: it is never silently given less than the others.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "dispatch/private.h"
#include "http/respond.h"

struct topic {
	struct topic *next; /* of the same bucket */
	struct list subscriptions;
	uint32_t size;
	char name[];
};

struct subscription {
	struct list in_topic;
	struct list in_exchange;
	struct exchange *exchange;
	struct topic *topic;
};

static struct topic **place_of(struct dispatcher *dispatcher, struct span name);
static void end(struct dispatcher *dispatcher, struct subscription *subscription);
static bool frame(struct dispatcher *dispatcher, struct span event,
		  struct span *ret_framed);
static bool deliver(struct exchange *exchange, struct span event, struct span framed);
static bool is_or_may_be_stream(const struct exchange *exchange);
static void cut_off(struct exchange *exchange, const char *why);

int topic_subscribe(struct exchange *exchange, struct span name)
{
	struct dispatcher *dispatcher = exchange->connection->dispatcher;
	struct topic **place = place_of(dispatcher, name);
	struct subscription *subscription;
	unsigned count = 0;

	list_each(link, &exchange->subscriptions) {
		if (container_of(link, struct subscription, in_exchange)->topic == *place)
			return 0;
		count++;
	}
	if (count >= SUBSCRIPTIONS_MAX)
		return -ENOSPC;
	subscription = calloc(1, sizeof(*subscription));
	if (!subscription)
		return -ENOMEM;
	if (!*place) {
		struct topic *topic = malloc(sizeof(*topic) + name.size);

		if (!topic) {
			free(subscription);
			return -ENOMEM;
		}
		topic->next = NULL;
		topic->size = (uint32_t)name.size;
		list_init(&topic->subscriptions);
		memcpy(topic->name, name.at, name.size);
		*place = topic;
	}
	subscription->exchange = exchange;
	subscription->topic = *place;
	list_push_back(&(*place)->subscriptions, &subscription->in_topic);
	list_push_back(&exchange->subscriptions, &subscription->in_exchange);
	return 0;
}

void topic_unsubscribe(struct exchange *exchange, struct span name)
{
	list_each(link, &exchange->subscriptions) {
		struct subscription *subscription =
			container_of(link, struct subscription, in_exchange);

		if (subscription->topic->size == name.size &&
		    memcmp(subscription->topic->name, name.at, name.size) == 0) {
			end(exchange->connection->dispatcher, subscription);
			return;
		}
	}
}

void topic_forget(struct exchange *exchange)
{
	list_each(link, &exchange->subscriptions)
		end(exchange->connection->dispatcher,
		    container_of(link, struct subscription, in_exchange));
}

unsigned topic_publish(struct dispatcher *dispatcher, struct span name,
		       struct span event)
{
	struct topic *topic = *place_of(dispatcher, name);
	struct span framed;
	unsigned count = 0;

	dispatcher->published++;
	if (!topic || event.size == 0)
		return 0;
	if (!frame(dispatcher, event, &framed)) {
		list_each(link, &topic->subscriptions) {
			struct exchange *exchange =
				container_of(link, struct subscription, in_topic)->exchange;

			if (is_or_may_be_stream(exchange))
				cut_off(exchange, "no memory for an event: cut off a subscriber");
		}
		return 0;
	}
	list_each(link, &topic->subscriptions) {
		struct exchange *exchange =
			container_of(link, struct subscription, in_topic)->exchange;

		if (deliver(exchange, event, framed))
			count++;
	}
	return count;
}

static bool deliver(struct exchange *exchange, struct span event, struct span framed)
{
	struct connection *connection = exchange->connection;
	size_t waiting = buffer_size(&exchange->early) + buffer_size(&exchange->out);

	if (connection->gone || connection->broken || !is_or_may_be_stream(exchange))
		return false;
	if (exchange_is_first(exchange)) {
		/* It may be that nobody has tried to send that yet. */
		if (waiting + buffer_size(&connection->out) + framed.size > SUBSCRIBER_MAX_BYTES)
			writer_send_now(connection);
		waiting += buffer_size(&connection->out);
	}
	if (connection->gone)
		return false;
	if (waiting + framed.size > SUBSCRIBER_MAX_BYTES && waiting > 0) {
		cut_off(exchange, "cut off a subscriber that reads too slowly");
		return false;
	}
	/* Before its head, or amid an event of its worker's, it has to wait. */
	if (exchange->state == EXCHANGE_LINKED || exchange->is_midway) {
		if (!buffer_append(&exchange->early, event.at, event.size))
			connection_drop(connection);
		return !connection->gone;
	}
	exchange_write_event(exchange, event, framed);
	return true;
}

/* While it is at a worker it may still become one. */
static bool is_or_may_be_stream(const struct exchange *exchange)
{
	return exchange->state == EXCHANGE_LINKED ||
	       (exchange->state == EXCHANGE_ANSWERING && exchange->answer_left == WIRE_UNKNOWN);
}

static void cut_off(struct exchange *exchange, const char *why)
{
	struct connection *connection = exchange->connection;

	if (connection->gone || connection->broken)
		return;
	connection->dispatcher->slow_subscribers++;
	refusal_note(connection, why);
	connection_break(connection);
}

/* The bucket's link to the topic, or to where it would stand. */
static struct topic **place_of(struct dispatcher *dispatcher, struct span name)
{
	struct topic **place;
	uint32_t hash = 2166136261u;

	for (size_t i = 0; i < name.size; i++)
		hash = (hash ^ (unsigned char)name.at[i]) * 16777619u;
	place = &dispatcher->topics[hash % TOPIC_BUCKETS];
	while (*place && ((*place)->size != name.size ||
			  memcmp((*place)->name, name.at, name.size) != 0))
		place = &(*place)->next;
	return place;
}

static void end(struct dispatcher *dispatcher, struct subscription *subscription)
{
	struct topic *topic = subscription->topic;
	struct topic **place;

	list_remove(&subscription->in_topic);
	list_remove(&subscription->in_exchange);
	free(subscription);
	if (!list_empty(&topic->subscriptions))
		return;
	place = place_of(dispatcher, (struct span){ topic->name, topic->size });
	*place = topic->next;
	free(topic);
}

/* The event as a chunk (RFC 9112, 7.1), in the dispatcher's scratch. */
static bool frame(struct dispatcher *dispatcher, struct span event,
		  struct span *ret_framed)
{
	struct buffer *chunk = &dispatcher->chunk;
	char size_line[18];

	if (buffer_size(chunk))
		buffer_drain(chunk, buffer_size(chunk));
	if (!buffer_append(chunk, size_line,
			   http_write_chunk_size(size_line, event.size)) ||
	    !buffer_append(chunk, event.at, event.size) ||
	    !buffer_append(chunk, "\r\n", 2))
		return false;
	*ret_framed = buffer_span(chunk);
	return true;
}
