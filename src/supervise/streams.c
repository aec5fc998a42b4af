/* SPDX-License-Identifier: MIT */
/*
 * Standard streams of children. Each is a pipe that the parent reads, puts
 * together to whole lines, and gives to the group's sink in the child's name.
 * Memory for a line is held only while there is a part of one. The last lines
 * are kept for the child's post-mortem.
 *
 * A child that floods does not own the parent: it is read a little in each turn.
 * If its sink has no room its lines are dropped there and counted, or, by
 * option, the pipe is left alone until there is room: then the child waits.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "supervise/private.h"

/* Reads of one pipe in one turn. */
#define READS_A_TURN 16
#define READ_BYTES 16384
#define FIRST_ROOM 256u

static void stream_ready(struct loop *loop, struct watch *watch, uint32_t events);
static size_t stream_read(struct stream *stream);
static size_t bytes_there(const struct stream *stream);
static bool may_go_on(const struct stream *stream);
static bool take_held(struct stream *stream);
static size_t take_bytes(struct stream *stream, const char *bytes, size_t size);
static void drop_line(struct stream *stream);
static size_t hold(struct stream *stream, const char *bytes, size_t size);
static void line_done(struct stream *stream, const char *line, size_t size);
static void wait_for_room(struct stream *stream);
static bool finish_lines(struct plan *plan);
static bool *keep_line(struct life *life, const char *line, size_t size);

/* Takes `fd` on success. Nothing to read: -1. */
int stream_open(struct stream *stream, struct life *owner, struct sink *sink, int fd)
{
	int r;

	stream->owner = owner;
	stream->sink = sink;
	if (fd < 0)
		return 0;
	stream->watch = (struct watch){ .fd = fd, .ready = stream_ready };
	fcntl(fd, F_SETFL, O_NONBLOCK);
	r = loop_add(&owner->child.plan->loop, &stream->watch, EPOLLIN);
	stream->open = r == 0;
	return r;
}

/* Reads what is left, so that no last word is lost; but not what comes meanwhile: whatever the
 * child has started may have the pipe too, and write for ever. */
void stream_close(struct stream *stream)
{
	size_t left;
	size_t n;

	if (!stream->open)
		return;
	list_remove(&stream->in_waiting);
	/* Now or never: what finds no room is counted as dropped. */
	stream->open = false;
	(void)take_held(stream);
	for (left = bytes_there(stream); left > 0; left -= n < left ? n : left) {
		n = stream_read(stream);
		if (n == 0)
			break;
	}
	if (stream->used > 0)
		line_done(stream, stream->line, stream->used);
	loop_remove(&stream->owner->child.plan->loop, &stream->watch);
	close(stream->watch.fd);
	drop_line(stream);
}

void streams_room_fire(struct loop *loop, struct timer *timer)
{
	struct plan *plan = container_of(timer, struct plan, room);
	bool finished;

	list_each(link, &plan->waiting) {
		struct stream *stream =
			container_of(link, struct stream, in_waiting);

		/* With an empty pipe no event would come for what is held. */
		if (!sink_has_room(stream->sink) || !take_held(stream))
			continue;
		if (loop_add(loop, &stream->watch, EPOLLIN) == 0)
			list_remove(link);
	}
	finished = finish_lines(plan);
	if (!finished || !list_empty(&plan->waiting))
		loop_timer_set(loop, timer, loop->now_ms + ROOM_MS);
}

/* Nor is a line left half written because no other follows. */
static bool finish_lines(struct plan *plan)
{
	bool finished = true;

	for (unsigned i = 0; i < plan->options.group_count; i++) {
		finished &= sink_finish_line(&plan->groups[i].out);
		finished &= sink_finish_line(&plan->groups[i].error);
	}
	return finished;
}

char *stream_last_lines(const struct life *life)
{
	size_t size = 1;
	char *text;
	char *at;

	for (unsigned i = 0; i < LAST_LINES; i++)
		size += life->last_lines[i] ? strlen(life->last_lines[i]) + 1 : 0;
	text = malloc(size);
	if (!text)
		return NULL;
	at = text;
	for (unsigned i = 0; i < LAST_LINES; i++) {
		const char *line =
			life->last_lines[(life->last_line + i) % LAST_LINES];

		if (!line)
			continue;
		if (at > text)
			*at++ = '\n';
		at = stpcpy(at, line);
	}
	*at = '\0';
	return text;
}

bool stream_tell_untold(struct life *life)
{
	char name[64];

	name_life(life, name, sizeof(name));
	for (unsigned i = 0; i < LAST_LINES; i++) {
		const unsigned at = (life->last_line + i) % LAST_LINES;

		if (life->line_untold[at] && life->last_lines[at]) {
			log_error("last line of %s: %s", name, life->last_lines[at]);
			life->lines_told = log_enabled(CREW_ERROR);
		}
		life->line_untold[at] = false;
	}
	return life->lines_told;
}

static void stream_ready(struct loop *loop, struct watch *watch, uint32_t events)
{
	struct stream *stream = container_of(watch, struct stream, watch);

	for (int i = 0; i < READS_A_TURN; i++) {
		if (!take_held(stream) || !may_go_on(stream)) {
			wait_for_room(stream);
			return;
		}
		if (!stream_read(stream))
			break;
	}
	/* It has closed its end: nothing will come any more. */
	if ((events & (EPOLLHUP | EPOLLERR)) && !(events & EPOLLIN))
		loop_remove(loop, watch);
}

/* Not watched at all meanwhile: a pipe whose child is gone would be reported
 * again and again. */
static void wait_for_room(struct stream *stream)
{
	struct plan *plan = stream->owner->child.plan;

	loop_remove(&plan->loop, &stream->watch);
	list_push_back(&plan->waiting, &stream->in_waiting);
	if (!loop_timer_is_set(&plan->room))
		loop_timer_set(&plan->loop, &plan->room,
			       clock_now_ms() + ROOM_MS);
}

/* Read once; returns how much there was, 0 if there is nothing more now. */
static size_t stream_read(struct stream *stream)
{
	char bytes[READ_BYTES];
	size_t taken;
	ssize_t n;

	do
		n = read(stream->watch.fd, bytes, sizeof(bytes));
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		return 0;
	taken = take_bytes(stream, bytes, (size_t)n);
	if (taken == (size_t)n)
		return (size_t)n;
	stream->held = malloc((size_t)n - taken);
	if (!stream->held) {
		stream->sink->dropped++;
		return (size_t)n;
	}
	stream->held_size = (uint32_t)((size_t)n - taken);
	memcpy(stream->held, bytes + taken, stream->held_size);
	return (size_t)n;
}

static size_t bytes_there(const struct stream *stream)
{
	int size = 0;

	return ioctl(stream->watch.fd, FIONREAD, &size) == 0 && size > 0 ? (size_t)size : 0;
}

/* Is there room for one line more, or does nobody care? */
static bool may_go_on(const struct stream *stream)
{
	return !stream->open || !stream->sink->options->wait ||
	       sink_has_room(stream->sink);
}

/* What was read before goes first. False: there is still something left of it. */
static bool take_held(struct stream *stream)
{
	char *held = stream->held;
	size_t taken;

	if (!held)
		return true;
	taken = take_bytes(stream, held, stream->held_size);
	stream->held_size -= (uint32_t)taken;
	memmove(held, held + taken, stream->held_size);
	if (stream->held_size > 0)
		return false;
	free(held);
	stream->held = NULL;
	return true;
}

/* Returns how many bytes it took: not all if the sink has no room for a line. */
static size_t take_bytes(struct stream *stream, const char *bytes, size_t size)
{
	size_t at = 0;

	while (at < size && may_go_on(stream)) {
		const char *end = memchr(bytes + at, '\n', size - at);
		size_t part = end ? (size_t)(end - bytes) - at : size - at;

		if (end && stream->used == 0 && part <= LINE_MAX_BYTES) {
			line_done(stream, bytes + at, part);
		} else {
			const size_t held = hold(stream, bytes + at, part);

			end = held < part ? NULL : end;
			part = held;
			if (end || stream->used == LINE_MAX_BYTES) {
				line_done(stream, stream->line, stream->used);
				stream->used = 0;
			}
		}
		at += part + (end ? 1 : 0);
	}
	if (stream->used == 0)
		drop_line(stream);
	return at;
}

static void drop_line(struct stream *stream)
{
	free(stream->line);
	stream->line = NULL;
	stream->used = stream->room = 0;
}

/* Add to the part of a line; returns how much fitted. Without memory what is
 * there is done as a line of its own. */
static size_t hold(struct stream *stream, const char *bytes, size_t size)
{
	char *line;
	uint32_t room = stream->room ? stream->room : FIRST_ROOM;

	if (size > LINE_MAX_BYTES - stream->used)
		size = LINE_MAX_BYTES - stream->used;
	while (room < stream->used + size)
		room *= 2;
	if (room > stream->room) {
		line = realloc(stream->line, room);
		if (!line) {
			line_done(stream, bytes, size);
			return size;
		}
		stream->line = line;
		stream->room = room;
	}
	memcpy(stream->line + stream->used, bytes, size);
	stream->used += (uint32_t)size;
	return size;
}

static void line_done(struct stream *stream, const char *line, size_t size)
{
	bool access = line_is_of_access_log(stream->owner, line, size);
	bool *untold = access ? &access : keep_line(stream->owner, line, size);

	*untold = !sink_write(stream->sink, stream->owner, line, size);
}

/* Returns where to note whether it was told. */
static bool *keep_line(struct life *life, const char *line, size_t size)
{
	char **place = &life->last_lines[life->last_line];
	bool *untold = &life->line_untold[life->last_line];

	if (size >= 3 && line[0] == '<' && line[2] == '>') {
		line += 3;
		size -= 3;
	}
	free(*place);
	*place = strndup(line, size < LAST_LINE_BYTES ? size : LAST_LINE_BYTES);
	life->last_line = (life->last_line + 1) % LAST_LINES;
	return untold;
}
