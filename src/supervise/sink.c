/* SPDX-License-Identifier: MIT */
/*
 * Where lines of children go: the log, a rotated file, a descriptor. A line
 * that begins with "<N>" says its own priority, as under systemd; that is how
 * crew's own processes log. Each line is marked with group, index and pid, but
 * for JSON objects where the group says so. What cannot be written at once is
 * dropped and counted, and the count is told when there is room again. If only a
 * part of a line could be, as on a terminal, its rest is kept and goes first.
 *
 * A line that crew's own processes (or others that say their priority) repeat
 * within a second is counted instead of written: a fault that comes back with
 * each request does not fill a disk. What a program writes otherwise is never
 * touched, nor are lines of the access log, which no level keeps back either.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/os/os.h"
#include "supervise/private.h"

#define ORIGIN_BYTES 128
/* So long a line that is said again is only counted. */
#define REPEAT_MS 1000u
#define ACCESS_MARK_BYTES (sizeof(LOG_ACCESS_MARK) - 1)

static bool write_counted(struct sink *sink, const struct life *life, int level,
			  const char *line, size_t size);
static void tell_dropped(struct sink *sink);
static bool repeat_held(const struct sink *sink, struct life *life, int level,
			const char *line, size_t size);
static void repeat_remember(struct sink *sink, struct life *life, int level,
			    const char *line, size_t size);
static void take_index(char *name, size_t room, const char **line, size_t *size);
static void open_terminal(struct sink *sink);
static int fd_of(struct sink *sink);
static bool write_to_fd(struct sink *sink, const char *line, size_t size);
static bool keep_rest(struct sink *sink, const char *rest, size_t size);
static void drop_rest(struct sink *sink);
static ssize_t write_some(const struct sink *sink, int fd, const char *bytes, size_t size);
static bool write_out(struct sink *sink, const struct life *life, int level,
		      const char *line, size_t size);
static bool put(struct sink *sink, const char *name, int pid, int level, const char *line,
		size_t size);
static bool is_json(const char *line, size_t size);
static int level_of_priority(int priority);

int sink_open(struct sink *sink, struct group_state *group,
	      const struct crew_stream *options, int log_level,
	      struct crew_error *ret_error)
{
	int r;

	sink->group = group;
	sink->options = options;
	sink->log_level = log_level;
	if (options->to == CREW_TO_FD)
		open_terminal(sink);
	if (options->to != CREW_TO_FILE)
		return 0;
	r = rotate_open(&sink->file, options->path,
			options->max_bytes ? options->max_bytes : ROTATE_BYTES,
			options->keep ? options->keep : ROTATE_KEEP);
	if (r < 0)
		error_set(ret_error, -r, "cannot open the file %s: %s", options->path,
			  r == -ENOTSUP
				  ? "it is no regular file; use CREW_TO_FD for what is "
				    "open, CREW_TO_NULL for /dev/null"
				  : strerror(-r));
	sink->file_is_open = r == 0;
	return r;
}

void sink_close(struct sink *sink)
{
	(void)sink_finish_line(sink);
	sink_tell_dropped(sink);
	if (sink->file_is_open)
		rotate_fini(&sink->file);
	sink->file_is_open = false;
	drop_rest(sink);
	if (sink->terminal > 0)
		close(sink->terminal);
	sink->terminal = 0;
}

bool sink_has_room(struct sink *sink)
{
	struct pollfd out = { .events = POLLOUT };

	if (sink->options->to == CREW_TO_LOG)
		return log_has_room();
	if (sink->options->to != CREW_TO_FD)
		return true;
	out.fd = fd_of(sink);
	return sink_finish_line(sink) && poll(&out, 1, 0) != 0;
}

void sink_tell_dropped(struct sink *sink)
{
	/* Where a line follows the file says it itself, with that or not at all. */
	if (sink->file_is_open)
		rotate_tell(&sink->file);
	tell_dropped(sink);
}

bool sink_finish_line(struct sink *sink)
{
	const int fd = sink->rest ? fd_of(sink) : -1;
	ssize_t n;

	if (!sink->rest) /* or no more, having been another file's */
		return true;
	n = write_some(sink, fd, sink->rest, sink->rest_size);
	if (n < 0) {
		sink->dropped++;
		drop_rest(sink);
	} else {
		sink->rest_size -= (size_t)n;
		memmove(sink->rest, sink->rest + n, sink->rest_size);
		if (sink->rest_size == 0)
			drop_rest(sink);
	}
	return !sink->rest;
}

void sink_follow(struct sink *sink)
{
	if (sink->options->to == CREW_TO_FD)
		(void)fd_of(sink);
}

bool line_is_of_access_log(const struct life *life, const char *line, size_t size)
{
	return group_of(life)->options.raw && size >= ACCESS_MARK_BYTES &&
	       memcmp(line, LOG_ACCESS_MARK, ACCESS_MARK_BYTES) == 0;
}

bool sink_write(struct sink *sink, struct life *life, const char *line, size_t size)
{
	int level = sink->log_level;
	bool own = false; /* a line of crew's own, or one that knows its priority */
	bool access = false;

	if (size >= 3 && line[0] == '<' && line[1] >= '0' && line[1] <= '7' &&
	    line[2] == '>') {
		level = level_of_priority(line[1] - '0');
		line += 3;
		size -= 3;
		own = true;
	} else if (line_is_of_access_log(life, line, size)) {
		level = CREW_INFO;
		line += ACCESS_MARK_BYTES;
		size -= ACCESS_MARK_BYTES;
		own = access = true;
	}
	if (sink->options->to == CREW_TO_LOG && !access &&
	    level < group_log_level(group_of(life)))
		return false;
	own = own && sink->options->to == CREW_TO_LOG && !sink->options->wait &&
	      life->child.plan->options.log_repeat_ms != CREW_NEVER;
	if (own && !access && repeat_held(sink, life, level, line, size))
		return true;
	if (own)
		sink_tell_repeats(life);
	if (write_counted(sink, life, level, line, size) && own && !access)
		repeat_remember(sink, life, level, line, size);
	return true;
}

/* What was dropped before is told first, and what is dropped now is counted: by the file, where
 * it is one, which knows the reason. */
static bool write_counted(struct sink *sink, const struct life *life, int level,
			  const char *line, size_t size)
{
	tell_dropped(sink);
	if (write_out(sink, life, level, line, size))
		return true;
	if (sink->options->to != CREW_TO_FILE &&
	    (sink->options->to != CREW_TO_LOG || !log_counts()))
		sink->dropped++;
	return false;
}

/* In the group's name: whose lines they were nobody knows. */
static void tell_dropped(struct sink *sink)
{
	char name[64];
	char lost[80];
	int n;

	if (sink->dropped == 0 || !sink_has_room(sink))
		return;
	snprintf(name, sizeof(name), "%s", sink->group->options.is.name);
	n = snprintf(lost, sizeof(lost),
		     "%llu lines were dropped: written faster than the log "
		     "could take them", (unsigned long long)sink->dropped);
	if (put(sink, name, 0, CREW_WARNING, lost, (size_t)n))
		sink->dropped = 0;
}

/* The same line again, and soon: counted, not written. */
static bool repeat_held(const struct sink *sink, struct life *life, int level,
			const char *line, size_t size)
{
	struct repeat *repeat = &life->repeat;

	if (!repeat->line || repeat->sink != sink ||
	    repeat->until_ms <= life->child.plan->loop.now_ms ||
	    repeat->level != level || repeat->size != size ||
	    memcmp(repeat->line, line, size) != 0)
		return false;
	repeat->count++;
	return true;
}

/* It was written: should it come again, it need not be. */
static void repeat_remember(struct sink *sink, struct life *life, int level,
			    const char *line, size_t size)
{
	const struct plan *plan = life->child.plan;
	const unsigned window_ms = plan->options.log_repeat_ms;
	struct repeat *repeat = &life->repeat;

	repeat->sink = sink;
	repeat->line = malloc(size + 1);
	if (repeat->line && size)
		memcpy(repeat->line, line, size);
	repeat->size = size;
	repeat->level = level;
	repeat->until_ms = plan->loop.now_ms + (window_ms ? window_ms : REPEAT_MS);
}

/* To say that it came once more would take as much room as the line. What cannot
 * be told is counted among the lines that were dropped. */
void sink_tell_repeats(struct life *life)
{
	struct repeat *repeat = &life->repeat;
	struct sink *sink = repeat->sink;
	char text[80];
	int n;

	if (repeat->count == 1) {
		write_counted(sink, life, repeat->level, repeat->line, repeat->size);
	} else if (repeat->count > 1) {
		n = snprintf(text, sizeof(text), "the last line was repeated %llu times",
			     (unsigned long long)repeat->count);
		if (!write_counted(sink, life, repeat->level, text, (size_t)n) && !log_counts())
			sink->dropped += repeat->count - 1;
	}
	free(repeat->line);
	*repeat = (struct repeat){ 0 };
}

static bool write_out(struct sink *sink, const struct life *life, int level,
		      const char *line, size_t size)
{
	char name[64];

	name_life(life, name, sizeof(name));
	if (life->is_host)
		take_index(name, sizeof(name), &line, &size);
	return put(sink, name, (int)life->child.pid, level, line, size);
}

static bool put(struct sink *sink, const char *name, int pid, int level, const char *line,
		size_t size)
{
	const bool plain = sink->options->json_unmarked && is_json(line, size);
	char text[LINE_MAX_BYTES + ORIGIN_BYTES + 4];
	int n = 0;

	if (sink->options->to == CREW_TO_LOG)
		return plain ? log_raw(name, pid, level, line, (int)size)
			     : log_from(name, pid, level, line, (int)size);
	if (!plain)
		n = pid ? snprintf(text, ORIGIN_BYTES + 3, "%s %d: ", name, pid)
			: snprintf(text, ORIGIN_BYTES + 3, "%s: ", name);
	/* As it came, whatever it is: this is no terminal. */
	memcpy(text + n, line, size);
	text[(size_t)n + size] = '\n';
	size += (size_t)n + 1;
	if (sink->options->to == CREW_TO_FILE)
		return rotate_write(&sink->file, text, size);
	return write_to_fd(sink, text, size);
}

/* A thread of a host says which one it is: "[2] message". */
static void take_index(char *name, size_t room, const char **line, size_t *size)
{
	const size_t used = strlen(name);
	size_t digits = 0;

	while (1 + digits < *size && (*line)[1 + digits] >= '0' && (*line)[1 + digits] <= '9')
		digits++;
	if (*size < digits + 3 || digits == 0 || digits > 6 || (*line)[0] != '[' ||
	    (*line)[1 + digits] != ']' || (*line)[2 + digits] != ' ')
		return;
	snprintf(name + used, room - used, "%.*s", (int)digits + 2, *line);
	*line += digits + 3;
	*size -= digits + 3;
}

static void open_terminal(struct sink *sink)
{
	sink->terminal = os_terminal_open(sink->options->fd);
	if (sink->terminal < 0)
		sink->terminal = sink->terminal == -ENOTTY ? 0 : -1;
}

/* Somebody may have put another file in the place of the terminal: as a daemon does, which is not
 * to keep it open. */
static int fd_of(struct sink *sink)
{
	if (sink->terminal > 0 && !os_same_file(sink->terminal, sink->options->fd)) {
		close(sink->terminal);
		drop_rest(sink);
		open_terminal(sink);
	}
	return sink->terminal > 0 ? sink->terminal : sink->options->fd;
}

static bool write_to_fd(struct sink *sink, const char *line, size_t size)
{
	struct plan *plan = sink->group->plan;
	ssize_t n;

	if (!sink_finish_line(sink))
		return false;
	n = write_some(sink, fd_of(sink), line, size);
	if (n <= 0)
		return false;
	if ((size_t)n == size)
		return true;
	if (!loop_timer_is_set(&plan->room))
		loop_timer_set(&plan->loop, &plan->room, clock_now_ms() + ROOM_MS);
	return keep_rest(sink, line + n, size - (size_t)n);
}

static bool keep_rest(struct sink *sink, const char *rest, size_t size)
{
	sink->rest = malloc(size);
	if (!sink->rest)
		return false;
	memcpy(sink->rest, rest, size);
	sink->rest_size = size;
	return true;
}

static void drop_rest(struct sink *sink)
{
	free(sink->rest);
	sink->rest = NULL;
	sink->rest_size = 0;
}

/* As much as there is room for now; -1 if it cannot be written at all. A pipe that can be written
 * to takes PIPE_BUF bytes at once. A terminal's yes is good for one, but where it is open anew,
 * which does not block: there it is for what that takes. */
static ssize_t write_some(const struct sink *sink, int fd, const char *bytes, size_t size)
{
	struct pollfd out = { .fd = fd, .events = POLLOUT };
	const size_t most = sink->terminal < 0 ? 1 : PIPE_BUF;
	size_t at = 0;

	while (at < size && poll(&out, 1, 0) == 1) {
		const size_t part = size - at < most ? size - at : most;
		ssize_t n;

		if (out.revents != POLLOUT)
			return -1;
		n = write(fd, bytes + at, part);
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return -1;
		if (n <= 0)
			break;
		at += (size_t)n;
	}
	return (ssize_t)at;
}

static bool is_json(const char *line, size_t size)
{
	while (size > 0 && (line[size - 1] == '\r' || line[size - 1] == ' '))
		size--;
	return size >= 2 && line[0] == '{' && line[size - 1] == '}';
}

static int level_of_priority(int priority)
{
	static const int levels[8] = {
		CREW_CRITICAL, CREW_CRITICAL, CREW_CRITICAL,
		CREW_ERROR,    CREW_WARNING,  CREW_INFO,
		CREW_INFO,     CREW_DEBUG,
	};

	return levels[priority];
}
