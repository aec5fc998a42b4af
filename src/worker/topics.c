/* SPDX-License-Identifier: MIT */
/*
 * Published events, as a worker sees them: it says which of its streams want
 * which topic, and hands events over. The dispatcher alone knows who is
 * subscribed, and copies an event to all of them; a worker is not woken by what
 * others publish.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "handler/event.h"
#include "worker/private.h"

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

int worker_publish(struct crew_worker *public, const void *bytes, size_t size,
		   crew_published *done, void *context)
{
	struct worker *worker = container_of(public, struct worker, public);
	struct wire_publish head;
	unsigned char *copy;
	struct awaited *awaited = NULL;
	int r;

	if (!worker->linked)
		return -ENOTCONN;
	if (!worker_may_say(worker))
		return -EAGAIN;
	copy = malloc(size);
	if (done)
		awaited = awaited_new(worker, context);
	if (!copy || (done && !awaited)) {
		free(copy);
		awaited_free(awaited);
		return -ENOMEM;
	}
	memcpy(copy, bytes, size);
	if (awaited) {
		awaited->published = done;
		memcpy(&head, copy, sizeof(head));
		head.token = awaited->token;
		memcpy(copy, &head, sizeof(head));
	}
	r = worker_say(worker, NULL, MESSAGE_PUBLISH, 0, (uint32_t)size, copy);
	free(copy);
	if (r < 0)
		awaited_free(awaited);
	return r;
}

int topics_published(struct worker *worker, const struct message *message)
{
	struct awaited *awaited = awaited_find(worker, message->generation);

	if (!awaited || !awaited->published)
		return 0;
	/* Called between two handlers: this may be read inside of one. */
	awaited->have = message->size;
	list_remove(&awaited->link);
	list_push_back(&worker->come, &awaited->link);
	return 0;
}

static int say_topic(struct crew_request *stream, const char *topic,
		     enum message_kind kind)
{
	struct worker *worker = worker_of(stream);
	const struct job *job = job_of_request(stream);
	const size_t size = topic ? strlen(topic) : 0;

	if (!worker || size == 0 || size > WIRE_TOPIC_MAX_BYTES ||
	    job->cancelled || job->ending ||
	    !(job->streaming || (job->state == JOB_RUNNING &&
				 stream->state == REPLY_STREAM)))
		return -EINVAL;
	return worker_say(worker, job, kind, 0, (uint32_t)size, topic);
}
