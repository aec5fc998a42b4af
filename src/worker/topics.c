/* SPDX-License-Identifier: MIT */
/*
 * Published events, as a worker sees them: it says which of its streams want
 * which topic, and hands events over. The dispatcher alone knows who is
 * subscribed, and copies an event to all of them; a worker is not woken by what
 * others publish.
 */
#include <errno.h>
#include <string.h>

#include "handler/event.h"
#include "worker/private.h"

static int tell_all(struct worker *worker, const void *bytes, uint32_t size,
		    struct awaited *awaited);
static int say_topic(struct crew_request *stream, const char *topic,
		     enum message_kind kind);

int crew_subscribe(struct crew_request *stream, const char *topic)
{
	return say_topic(stream, topic, MESSAGE_SUBSCRIBE);
}

int crew_unsubscribe(struct crew_request *stream, const char *topic)
{
	return say_topic(stream, topic, MESSAGE_UNSUBSCRIBE);
}

int worker_publish(struct crew_worker *public, void *bytes, size_t size,
		   crew_published *done, void *context)
{
	struct worker *worker = container_of(public, struct worker, public);
	struct awaited *awaited = NULL;
	int r;

	if (!peers_any(worker))
		return -ENOTCONN;
	for (unsigned i = 0; i < worker->peer_count; i++) {
		if (worker->peers[i].linked && !peer_may_say(worker, &worker->peers[i]))
			return -EAGAIN;
	}
	if (done) {
		awaited = awaited_new(worker, bytes, context);
		if (!awaited)
			return -ENOMEM;
		awaited->published = done;
	}
	r = tell_all(worker, bytes, (uint32_t)size, awaited);
	if (r < 0)
		awaited_free(awaited);
	return r;
}

/* Each dispatcher has subscribers of its own. What one of them did not get for
 * want of memory is told as if it had none. */
static int tell_all(struct worker *worker, const void *bytes, uint32_t size,
		    struct awaited *awaited)
{
	int r = -ENOTCONN;

	for (unsigned i = 0; i < worker->peer_count; i++) {
		struct peer *peer = &worker->peers[i];
		int told = peer->linked ? peer_say(worker, peer, MESSAGE_PUBLISH, size, bytes)
					: -ENOTCONN;

		if (told == 0 && awaited)
			awaited->waits_for |= 1u << i;
		if (told == 0 || (told != -ENOTCONN && r < 0))
			r = told;
	}
	return r;
}

int topics_published(struct worker *worker, struct peer *peer,
		     const struct message *message)
{
	struct awaited *awaited = awaited_find(worker, message->generation);

	if (!awaited || !awaited->published)
		return 0;
	awaited->have += message->size;
	awaited_heard(worker, awaited, peer);
	return 0;
}

static int say_topic(struct crew_request *stream, const char *topic,
		     enum message_kind kind)
{
	struct worker *worker = worker_of(stream);
	const struct job *job = job_of_request(stream);
	const size_t size = topic ? strlen(topic) : 0;

	if (!worker || size == 0 || size > WIRE_TOPIC_MAX_BYTES ||
	    !stream_is_open(job))
		return -EINVAL;
	return peer_say_of(worker, job, kind, 0, (uint32_t)size, topic);
}
