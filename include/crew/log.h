/* SPDX-License-Identifier: MIT */
/* The log: levels, the forms that its lines can have, and how to take it over. */
#ifndef CREW_LOG_H
#define CREW_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Log levels; numbers grow with gravity. */
enum crew_level {
	CREW_DEBUG = 10,
	CREW_INFO = 20,
	CREW_WARNING = 30,
	CREW_ERROR = 40,
	CREW_CRITICAL = 50,
};

/** How a line of the log is written. */
enum crew_log_form {
	CREW_LOG_AUTO = 0, /* systemd's under the journal, else plain */
	CREW_LOG_PLAIN,    /* time, level, origin, message; in colour on a terminal,
			      unless NO_COLOR is set */
	CREW_LOG_SYSTEMD,  /* "<priority>origin: message" (sd-daemon(3)) */
	CREW_LOG_JSON,     /* an object a line: time, level, origin, pid, message */
	CREW_LOG_LOGFMT,   /* time=… level=… origin=… pid=… msg="…" */
};

/** A line, as on_log sees it; valid in that call. */
struct crew_log_line {
	enum crew_level level;
	const char *level_name; /* "info" */
	const char *origin;     /* "parent", "items[2]" */
	int pid;                /* of the child; 0: the parent's own line */
	const char *message;    /* as it came: may hold any byte */
	size_t message_bytes;   /* a NUL stands behind them */
	int64_t time_ms;        /* since 1970 (CLOCK_REALTIME) */
};

/** Called in the parent with each line that would be written. True: it has been
 * taken care of; false: it is written as usual. Lines that are logged in this
 * call are written without asking again. It must not block for long. */
typedef bool crew_log_taker(void *context, const struct crew_log_line *line);

#endif
