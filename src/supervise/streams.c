/* SPDX-License-Identifier: MIT */
/*
 * Standard streams of children. Each is a pipe that the parent reads, puts
 * together to whole lines, and logs in the child's name. A line that begins
 * with "<N>" says its own priority, as under systemd; that is how crew's own
 * processes log. The last lines are kept, for a group that never comes up.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "supervise/private.h"

/* Reads of one pipe in one turn: a child that floods does not own the parent. */
#define READS_A_TURN 16

static void stream_ready(struct loop *loop, struct watch *watch, uint32_t events);
static bool stream_read(struct stream *stream);
static void take_bytes(struct stream *stream, const char *bytes, size_t size);
static void log_one(struct stream *stream, const char *line, size_t size);
static void keep_line(struct child_private *child, const char *line, size_t size);
static int level_of_priority(int priority);

int stream_open(struct plan *plan, struct child_private *owner,
		struct stream *stream, int fd, int level)
{
	int r;

	stream->owner = owner;
	stream->level = level;
	stream->used = 0;
	stream->line = malloc(LINE_MAX_BYTES);
	if (!stream->line)
		return -ENOMEM;
	stream->watch = (struct watch){ .fd = fd, .ready = stream_ready };
	fcntl(fd, F_SETFL, O_NONBLOCK);
	r = loop_add(&plan->loop, &stream->watch, EPOLLIN);
	if (r < 0) {
		free(stream->line);
		stream->line = NULL;
	}
	return r;
}

/* Reads what is left, so that no last word is lost. */
void stream_close(struct plan *plan, struct stream *stream)
{
	if (!stream->line)
		return;
	while (stream_read(stream))
		;
	if (stream->used > 0)
		log_one(stream, stream->line, stream->used);
	loop_remove(&plan->loop, &stream->watch);
	close(stream->watch.fd);
	free(stream->line);
	stream->line = NULL;
}

void stream_show_last(struct child_private *child)
{
	char origin[128];

	snprintf(origin, sizeof(origin), "%s[%u]", child->child.group->name,
		 child->child.index);
	for (unsigned i = 0; i < LAST_LINES; i++) {
		const char *line =
			child->last_lines[(child->last_line + i) % LAST_LINES];

		if (line)
			log_critical("last line of %s: %s", origin, line);
	}
}

static void stream_ready(struct loop *loop, struct watch *watch, uint32_t events)
{
	struct stream *stream = container_of(watch, struct stream, watch);

	(void)events;
	for (int i = 0; i < READS_A_TURN; i++) {
		if (!stream_read(stream))
			break;
	}
	if (watch->fd >= 0 && (events & (EPOLLHUP | EPOLLERR)) &&
	    !(events & EPOLLIN))
		loop_remove(loop, watch);
}

/* Read once; false if there is nothing more now. */
static bool stream_read(struct stream *stream)
{
	char bytes[16384];
	ssize_t n;

	do
		n = read(stream->watch.fd, bytes, sizeof(bytes));
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		return false;
	take_bytes(stream, bytes, (size_t)n);
	return true;
}

static void take_bytes(struct stream *stream, const char *bytes, size_t size)
{
	while (size > 0) {
		const char *end = memchr(bytes, '\n', size);
		size_t part = end ? (size_t)(end - bytes) : size;
		const size_t room = LINE_MAX_BYTES - stream->used;

		if (part > room) {
			part = room;
			end = NULL;
		}
		memcpy(stream->line + stream->used, bytes, part);
		stream->used += (uint32_t)part;
		bytes += part;
		size -= part;
		if (end || stream->used == LINE_MAX_BYTES) {
			log_one(stream, stream->line, stream->used);
			stream->used = 0;
		}
		if (end) {
			bytes++;
			size--;
		}
	}
}

static void log_one(struct stream *stream, const char *line, size_t size)
{
	const struct child *child = &stream->owner->child;
	int level = stream->level;
	char origin[128];

	if (size >= 3 && line[0] == '<' && line[1] >= '0' && line[1] <= '7' &&
	    line[2] == '>') {
		level = level_of_priority(line[1] - '0');
		line += 3;
		size -= 3;
	}
	keep_line(stream->owner, line, size);
	snprintf(origin, sizeof(origin), "%s[%u]", child->group->name,
		 child->index);
	log_from(origin, level, line, (int)size);
}

static void keep_line(struct child_private *child, const char *line, size_t size)
{
	char **place = &child->last_lines[child->last_line];

	if (child->ready)
		return;
	free(*place);
	*place = strndup(line, size);
	child->last_line = (child->last_line + 1) % LAST_LINES;
}

static int level_of_priority(int priority)
{
	static const int levels[8] = {
		LOG_CRITICAL_LEVEL, LOG_CRITICAL_LEVEL, LOG_CRITICAL_LEVEL,
		LOG_ERROR_LEVEL,    LOG_WARNING_LEVEL,  LOG_INFO_LEVEL,
		LOG_INFO_LEVEL,     LOG_DEBUG_LEVEL,
	};

	return levels[priority];
}
