/* SPDX-License-Identifier: MIT */
/*
 * What the console writes. A terminal that was stopped (Ctrl-S), or a pipe that
 * nobody reads, must not hold up the supervisor, as stdio would: so what is said
 * is kept here, written as far as there is room, and the rest later, when it is
 * asked again. What grows beyond CONSOLE_BYTES is dropped by the text.
 *
 * A terminal is opened anew, to be non-blocking without those who share it being
 * touched; see os_terminal_open.
 */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/os/os.h"
#include "manage/private.h"
#include "supervise/limits.h"

/* Some times what `status` says of as many children as it shows. */
#define CONSOLE_BYTES (256u << 10)

static void room_fire(struct loop *loop, struct timer *timer);
static void write_text(struct console_output *output);
static ssize_t write_some(const struct console_output *output);

void console_open_output(struct crew_supervisor *supervisor)
{
	struct console_output *output = &supervisor->console_output;
	const int terminal = os_terminal_open(STDOUT_FILENO);

	*output = (struct console_output){
		.fd = terminal < 0 ? STDOUT_FILENO : terminal,
		/* A pipe's yes is good for so much, a terminal's for a byte. */
		.at_once = terminal >= 0 || terminal == -ENOTTY ? PIPE_BUF : 1,
		.room.fire = room_fire,
		.is_open = true,
	};
}

void console_close_output(struct crew_supervisor *supervisor)
{
	struct console_output *output = &supervisor->console_output;

	if (!output->is_open)
		return;
	write_text(output);
	if (supervisor->plan)
		loop_timer_clear(plan_loop(supervisor->plan), &output->room);
	if (output->fd != STDOUT_FILENO)
		close(output->fd);
	free(output->text);
	*output = (struct console_output){ 0 };
}

void console_say(struct crew_supervisor *supervisor, const char *format, ...)
{
	struct console_output *output = &supervisor->console_output;
	va_list arguments;
	char *more = NULL;
	char *text;
	int n;

	va_start(arguments, format);
	n = vasprintf(&more, format, arguments);
	va_end(arguments);
	if (n < 0)
		return;
	text = output->used + (size_t)n > CONSOLE_BYTES
		       ? NULL
		       : realloc(output->text, output->used + (size_t)n + 1);
	if (text) {
		memcpy(text + output->used, more, (size_t)n);
		output->text = text;
		output->used += (size_t)n;
	}
	free(more);
}

void console_flush(struct crew_supervisor *supervisor)
{
	struct console_output *output = &supervisor->console_output;

	write_text(output);
	if (output->used > 0 && !loop_timer_is_set(&output->room))
		loop_timer_set(plan_loop(supervisor->plan), &output->room,
			       clock_now_ms() + ROOM_MS);
}

static void room_fire(struct loop *loop, struct timer *timer)
{
	struct console_output *output = container_of(timer, struct console_output, room);

	write_text(output);
	if (output->used > 0)
		loop_timer_set(loop, timer, loop->now_ms + ROOM_MS);
}

/* As much as there is room for now; nothing is kept for who is not there any more. */
static void write_text(struct console_output *output)
{
	ssize_t n;

	while (output->used > 0 && (n = write_some(output)) != 0) {
		if (n < 0)
			n = (ssize_t)output->used;
		output->used -= (size_t)n;
		memmove(output->text, output->text + n, output->used);
	}
}

/* 0: there is no room now; -1: there will be none. */
static ssize_t write_some(const struct console_output *output)
{
	struct pollfd out = { .fd = output->fd, .events = POLLOUT };
	const size_t size = output->used < output->at_once ? output->used : output->at_once;
	ssize_t n;

	if (poll(&out, 1, 0) != 1)
		return 0;
	if (out.revents != POLLOUT)
		return -1;
	n = write(output->fd, output->text, size);
	return n < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : n;
}
