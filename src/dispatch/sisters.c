/* SPDX-License-Identifier: MIT */
/*
 * Several dispatchers of one server. Each has clients, queues and links of its
 * own; what they have in common is little, and stands here: limits are shared out
 * among them in equal parts, the figures of all are on the status page (over the
 * scoreboard), an event that one publishes goes to all (through the parent, which
 * passes a file on), and a worker that is at another's request is not idle.
 */
#include <errno.h>
#include <unistd.h>

#include "base/log.h"
#include "base/os/os.h"
#include "dispatch/private.h"

#define load(field) atomic_load_explicit(&(field), memory_order_relaxed)

static int write_file(struct buffer *events);
static size_t hear_one(struct dispatcher *dispatcher, struct span bytes);
static void set(struct score *score, unsigned figure, uint64_t value);

unsigned sisters_share(const struct dispatcher *dispatcher, unsigned limit)
{
	const unsigned count = dispatcher->server->dispatchers;

	return limit / count + (limit % count != 0);
}

void sisters_note(struct dispatcher *dispatcher)
{
	struct score *score = dispatcher->self->score;

	set(score, FIGURE_SERVED, dispatcher->served);
	set(score, FIGURE_PENDING, dispatcher->pending);
	set(score, FIGURE_CALLS, dispatcher->call_count);
	set(score, FIGURE_CALLS_FAILED, dispatcher->calls_failed);
	set(score, FIGURE_PUBLISHED, dispatcher->published);
	set(score, FIGURE_SLOW_SUBSCRIBERS, dispatcher->slow_subscribers);
	set(score, FIGURE_SPINS, dispatcher->few.found);
	set(score, FIGURE_AWAITED, dispatcher->alone.found);
	set(score, FIGURE_NAPS, dispatcher->coalesce.naps);
	for (unsigned i = 0; i < dispatcher->pool_count; i++) {
		const struct pool *pool = &dispatcher->pools[i];
		unsigned in_hand = 0;

		for (unsigned j = 0; j < pool->seat_count; j++)
			in_hand += pool->seats[j]->up ? pool->seats[j]->in_hand : 0;
		set(score, FIGURE_OF_POOL(i, FIGURE_QUEUED), pool->queued);
		set(score, FIGURE_OF_POOL(i, FIGURE_IN_HAND), in_hand);
		set(score, FIGURE_OF_POOL(i, FIGURE_POOL_SERVED), pool->served);
		set(score, FIGURE_OF_POOL(i, FIGURE_LATE), pool->late_answers);
	}
}

const struct score *sisters_worker(const struct dispatcher *dispatcher,
				   unsigned pool, unsigned index, unsigned generation)
{
	const struct scoreboard *board = dispatcher->self->board;
	const unsigned group = dispatcher->options->first_group + pool;
	const struct score *score = NULL;

	while ((score = scoreboard_next(board, group, score))) {
		const struct score_owner *owner = scoreboard_owner(board, score);

		if (load(owner->index) == index && load(owner->generation) == generation)
			break;
	}
	return score;
}

bool sisters_keep_busy(const struct seat *seat)
{
	return seat->at_work == 0 && seat->dispatcher->server->dispatchers > 1 &&
	       seat->score && load(seat->score->request_id) != 0;
}

int sisters_publish(struct dispatcher *dispatcher, const void *bytes, size_t size)
{
	struct buffer *events = &dispatcher->events;

	if (dispatcher->server->dispatchers < 2)
		return 0;
	if (buffer_size(events) + size > UNTOLD_EVENTS_MAX_BYTES)
		return -EAGAIN;
	return buffer_append(events, bytes, size) ? 0 : -ENOMEM;
}

/* Those of some turns in one file, so that the channels have room for other words. The parent may
 * take none for a while: then those that come meanwhile wait for a file of their own, so that
 * nothing is written twice. */
void sisters_tell(struct dispatcher *dispatcher)
{
	const struct control order = { .kind = CONTROL_PUBLISH };
	int r = 0;

	if (dispatcher->loop.now_ms < dispatcher->events_at_ms && !dispatcher->draining) {
		if (dispatcher->events_file || buffer_size(&dispatcher->events))
			retry_soon(dispatcher);
		return;
	}
	while (r == 0 && (dispatcher->events_file || buffer_size(&dispatcher->events))) {
		int fd = dispatcher->events_file - 1;

		if (fd < 0)
			r = fd = write_file(&dispatcher->events);
		if (fd < 0)
			break;
		dispatcher->events_file = fd + 1;
		r = os_channel_send(dispatcher->self->channel, &order, sizeof(order), &fd, 1);
		if (r == 0) {
			close(fd);
			dispatcher->events_file = 0;
			dispatcher->events_at_ms = dispatcher->loop.now_ms + EVENTS_GATHER_MS;
		}
	}
	if (r == 0)
		return;
	if (!os_channel_is_full(r))
		log_error("events wait for the other dispatchers: %s", strerror(-r));
	retry_soon(dispatcher);
}

void sisters_heard(struct dispatcher *dispatcher, int fd)
{
	size_t size;
	void *const file = fd < 0 ? NULL : os_map_file(fd, &size);
	struct span rest;
	size_t used;

	if (!file) {
		log_error("events of another dispatcher are lost, our clients miss them: %s",
			  fd < 0 ? "no descriptor is left" : "they cannot be mapped");
		return;
	}
	rest = (struct span){ file, size };
	while ((used = hear_one(dispatcher, rest)) > 0) {
		rest.at += used;
		rest.size -= used;
	}
	os_unmap_file(file, size);
}

/* All of that, which is nothing then; or -errno. */
static int write_file(struct buffer *events)
{
	const struct span all = buffer_span(events);
	int fd = os_memory_file("crew-events");

	if (fd < 0)
		return fd;
	if (write(fd, all.at, all.size) != (ssize_t)all.size || os_memory_seal(fd) < 0) {
		close(fd);
		return -EIO;
	}
	buffer_fini(events);
	return fd;
}

/* The bytes that the first event takes; 0 if there is none. */
static size_t hear_one(struct dispatcher *dispatcher, struct span bytes)
{
	struct wire_publish head;
	struct span topic;
	struct span event;

	if (bytes.size < sizeof(head))
		return 0;
	memcpy(&head, bytes.at, sizeof(head));
	bytes.at += sizeof(head);
	bytes.size -= sizeof(head);
	if (head.topic_size > bytes.size || head.event_size > bytes.size - head.topic_size)
		return 0;
	topic = (struct span){ bytes.at, head.topic_size };
	event = (struct span){ bytes.at + head.topic_size, head.event_size };
	topic_publish(dispatcher, topic, event);
	return sizeof(head) + topic.size + event.size;
}

static void set(struct score *score, unsigned figure, uint64_t value)
{
	atomic_store_explicit(&score->figures[figure], value, memory_order_relaxed);
}
