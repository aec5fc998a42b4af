/* SPDX-License-Identifier: MIT */
/*
 * Log lines: one message, one line, one write. Every process writes them: the
 * parent to the standard error that it was given, a child to its pipe. What a
 * message holds of control bytes and of broken UTF-8 is escaped, so nobody can
 * forge a line or talk to a terminal. A backslash stays as it is: so a line
 * that a child has escaped passes the parent unchanged.
 *
 * A line that cannot be written at once is dropped and counted: no log ever
 * holds up a request. Standard error is shared with whoever started crew, so
 * it cannot be made non-blocking. Instead a pipe is asked first, and given no
 * more than PIPE_BUF bytes for one yes, which is what it then takes without
 * blocking; a socket is told with each send. A terminal's yes is good for a
 * byte: it is opened anew, which gives an open file of our own that can be
 * non-blocking. If only a part of a line was taken, its rest is kept and goes
 * before the next line: no line is ever torn.
 */
#include "base/log.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/log_level.h"
#include "base/log_text.h"
#include "base/os/os.h"
#include "base/rotate.h"

/* With its newline. The parent takes a child's lines apart at this size, so a
 * line of ours must fit, or its tail would be taken for a new line. */
#define LINE_BYTES 8192
#define HEAD_BYTES 64
#define ORIGIN_BYTES 100
#define TAIL_BYTES 5 /* end of colour, newline */
/* A byte of a message takes up to six in JSON. */
#define STRUCTURED_BYTES (6 * LINE_BYTES + 6 * ORIGIN_BYTES + 256)

enum sink {
	SINK_PIPE,     /* ask before writing */
	SINK_TERMINAL, /* by `output`, if it could be opened anew */
	SINK_SOCKET,
	SINK_FILE, /* never blocks for long */
};

struct line {
	char text[STRUCTURED_BYTES];
	int used;
};

static int form = CREW_LOG_PLAIN;
static enum crew_log_form wanted_form = CREW_LOG_AUTO;
static enum sink sink = SINK_PIPE;
static int output = STDERR_FILENO;
static bool colours;
static _Atomic int level_now = CREW_INFO;
static _Thread_local const _Atomic uint32_t *level_word;
static _Thread_local int thread_index = -1;
static _Atomic uint64_t dropped;
static _Atomic uint64_t told_dropped; /* how many of them were told */
static crew_log_taker *taker;
static void *taker_context;
static bool taking;
/* The threads of a worker share its pipe: a long line takes several writes. */
static pthread_mutex_t writing = PTHREAD_MUTEX_INITIALIZER;
static struct line rest; /* of the last line, not yet written; under `writing` */
static struct rotate *file; /* instead of standard error */

static void choose_sink(void);
static void follow(void);
static bool taken(const struct log_level_row *row, const char *origin, int pid,
		  const char *text, int size);
static void tell_dropped(void);
static void add_structured(struct line *line, const struct log_level_row *row,
			   const char *origin, int pid, const char *text, int size);
static void add_head(struct line *line, const struct log_level_row *row,
		     const char *origin, int pid);
static void add_time(struct line *line);
static void add_escaped(struct line *line, int room, const char *text, int size);
static bool write_line(const struct line *line);
static bool write_rest(void);
static bool nobody_reads(void);
static int write_all(const char *bytes, int size);
static ssize_t write_some(const char *bytes, size_t size);

void log_init(void)
{
	const char *no_colour = getenv("NO_COLOR");

	rest.used = 0;
	form = wanted_form			 ? (int)wanted_form
	       : log_is_journal(STDERR_FILENO) ? CREW_LOG_SYSTEMD
						 : CREW_LOG_PLAIN;
	colours = form == CREW_LOG_PLAIN && isatty(STDERR_FILENO) &&
		  !(no_colour && *no_colour);
	choose_sink();
}

/* The terminal that is open already is kept: who has become another user since may not
 * open it. */
static void choose_sink(void)
{
	struct stat status = { 0 };
	int terminal = -1;

	if (output != STDERR_FILENO && os_same_file(output, STDERR_FILENO))
		return;
	if (output != STDERR_FILENO)
		close(output);
	fstat(STDERR_FILENO, &status);
	if (S_ISCHR(status.st_mode))
		terminal = os_terminal_open(STDERR_FILENO);
	output = terminal < 0 ? STDERR_FILENO : terminal;
	sink = S_ISREG(status.st_mode)			? SINK_FILE
	       : S_ISSOCK(status.st_mode)		? SINK_SOCKET
	       : terminal >= 0 || isatty(STDERR_FILENO) ? SINK_TERMINAL
							: SINK_PIPE;
}

void log_follow(void)
{
	pthread_mutex_lock(&writing);
	follow();
	pthread_mutex_unlock(&writing);
}

/* JOURNAL_STREAM holds device and inode of the journal's socket; it may be
 * inherited by somebody whose standard error is another file by now. */
bool log_is_journal(int fd)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long device;
	unsigned long long inode;
	struct stat status;

	return stream && sscanf(stream, "%llu:%llu", &device, &inode) == 2 &&
	       fstat(fd, &status) == 0 &&
	       status.st_dev == device && status.st_ino == inode;
}

/* Under `writing`. Somebody may put another file in the place of a terminal: as a daemon
 * does. */
static void follow(void)
{
	if (output != STDERR_FILENO && !os_same_file(output, STDERR_FILENO)) {
		rest.used = 0;
		choose_sink();
	}
}

void log_become_child(void)
{
	form = LOG_FORM_CHILD;
	colours = false;
	sink = SINK_PIPE;
	if (output != STDERR_FILENO)
		close(output);
	output = STDERR_FILENO;
	rest.used = 0;
	file = NULL;
	taker = NULL;
	/* Another thread of the parent may have held it at the fork. */
	pthread_mutex_init(&writing, NULL);
}

void log_to_file(struct rotate *rotate)
{
	pthread_mutex_lock(&writing);
	file = rotate;
	form = wanted_form ? (int)wanted_form : CREW_LOG_PLAIN;
	colours = false;
	pthread_mutex_unlock(&writing);
}

void log_set_level(int level)
{
	atomic_store_explicit(&level_now, level, memory_order_relaxed);
}

int log_level(void)
{
	return atomic_load_explicit(&level_now, memory_order_relaxed);
}

void log_use_level_word(const _Atomic uint32_t *word)
{
	level_word = word;
}

void log_use_index(unsigned index)
{
	thread_index = (int)index;
}

bool log_enabled(int level)
{
	const uint32_t own = level_word ? atomic_load_explicit(level_word,
							       memory_order_relaxed)
					: 0;

	return level >= (own ? (int)own : log_level());
}

void log_set_form(enum crew_log_form wanted)
{
	wanted_form = wanted;
	if (file)
		log_to_file(file);
	else if (form != LOG_FORM_CHILD)
		log_init();
}

void log_set_taker(crew_log_taker *new_taker, void *context)
{
	taker = new_taker;
	taker_context = context;
}

void log_forget_taker(crew_log_taker *old_taker, void *context)
{
	if (taker == old_taker && taker_context == context)
		log_set_taker(NULL, NULL);
}

bool log_is_taken(void)
{
	return taker != NULL;
}

void log_line(int level, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	log_line_va(level, format, arguments);
	va_end(arguments);
}

void log_line_va(int level, const char *format, va_list arguments)
{
	const int error = errno; /* who logs a failure still needs it */
	char text[LINE_BYTES + 1];
	int size;

	if (!log_enabled(level))
		return;
	size = vsnprintf(text, sizeof(text), format, arguments);
	tell_dropped();
	if (size < 0 || (!log_from("parent", 0, level, text,
				   size > LINE_BYTES ? LINE_BYTES : size) &&
			 !log_counts()))
		atomic_fetch_add_explicit(&dropped, 1, memory_order_relaxed);
	errno = error;
}

void log_access(const char *format, ...)
{
	const int error = errno;
	char text[LINE_BYTES + 1];
	struct line line;
	va_list arguments;
	int size;

	check(form == LOG_FORM_CHILD);
	va_start(arguments, format);
	size = vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	line.used = snprintf(line.text, HEAD_BYTES, LOG_ACCESS_MARK);
	tell_dropped();
	add_escaped(&line, LINE_BYTES - TAIL_BYTES, text,
		    size > LINE_BYTES ? LINE_BYTES : size);
	line.text[line.used++] = '\n';
	if (!write_line(&line))
		atomic_fetch_add_explicit(&dropped, 1, memory_order_relaxed);
	errno = error;
}

bool log_counts(void)
{
	return file != NULL;
}

void log_tell_dropped(void)
{
	pthread_mutex_lock(&writing);
	if (file)
		rotate_tell(file);
	pthread_mutex_unlock(&writing);
	tell_dropped();
}

/* Each process says what it could not say, as soon as it can say something. */
static void tell_dropped(void)
{
	uint64_t told = atomic_load_explicit(&told_dropped, memory_order_relaxed);
	const uint64_t now = log_dropped();
	char text[80];
	int n;

	/* Of several threads one says it. A taker is not asked again and again about what can
	 * not be written. */
	if (now == told || !log_has_room() ||
	    !atomic_compare_exchange_strong(&told_dropped, &told, now))
		return;
	n = snprintf(text, sizeof(text), "dropped %llu of this process's lines: the log "
		     "does not keep up",
		     (unsigned long long)(now - told));
	/* Nor this one: it is none of those that are counted. */
	if (!log_from("parent", 0, CREW_WARNING, text, n))
		atomic_fetch_sub_explicit(&told_dropped, now - told, memory_order_relaxed);
}

bool log_from(const char *origin, int pid, int level, const char *text, int size)
{
	const struct log_level_row *row = log_level_row(level);
	struct line line;

	if (size > 0 && text[size - 1] == '\n')
		size--;
	if (taker && !taking && taken(row, origin, pid, text, size))
		return true;
	line.used = 0;
	if (form == CREW_LOG_JSON || form == CREW_LOG_LOGFMT) {
		add_structured(&line, row, origin, pid, text,
			       size > LINE_BYTES ? LINE_BYTES : size);
		return write_line(&line);
	}
	add_head(&line, row, origin, pid);
	/* Of a child's line the head is counted, see above; of others not, so that
	 * what was one line in the child is one here. */
	add_escaped(&line, form == LOG_FORM_CHILD ? LINE_BYTES - TAIL_BYTES
						  : line.used + LINE_BYTES,
		    text, size);
	if (colours && row->colour[0]) {
		memcpy(line.text + line.used, "\033[0m", 4);
		line.used += 4;
	}
	line.text[line.used++] = '\n';
	return write_line(&line);
}

/* Ask who wants to have the lines. What he logs himself is not asked about. */
static bool taken(const struct log_level_row *row, const char *origin, int pid,
		  const char *text, int size)
{
	char message[LINE_BYTES + 1];
	struct timespec now;
	bool done;

	if (size > LINE_BYTES)
		size = LINE_BYTES;
	memcpy(message, text, (size_t)size);
	message[size] = '\0';
	clock_gettime(CLOCK_REALTIME, &now);
	taking = true;
	done = taker(taker_context, &(struct crew_log_line){
		.level = (enum crew_level)row->level,
		.level_name = row->name,
		.origin = origin,
		.pid = pid,
		.message = message,
		.message_bytes = (size_t)size,
		.time_ms = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000,
	});
	taking = false;
	return done;
}

static void add_structured(struct line *line, const struct log_level_row *row,
			   const char *origin, int pid, const char *text, int size)
{
	struct log_text out = { line->text, 0, STRUCTURED_BYTES - 1 };
	struct line time; /* its text need not be zeroed */

	time.used = 0;
	add_time(&time);
	log_text_structured(&out, form == CREW_LOG_JSON, &(struct log_record){
		.time = time.text,
		.time_size = time.used,
		.level = row->name,
		.origin = origin,
		.pid = pid,
		.message = text,
		.message_size = size,
	});
	line->used = out.used;
	line->text[line->used++] = '\n';
}

bool log_raw(const char *origin, int pid, int level, const char *text, int size)
{
	struct line line;

	if (taker && !taking && taken(log_level_row(level), origin, pid, text, size))
		return true;
	line.used = 0;
	add_escaped(&line, LINE_BYTES - 1, text, size);
	line.text[line.used++] = '\n';
	return write_line(&line);
}

void log_escape(char *out, size_t room, const char *text, size_t size)
{
	struct log_text escaped = { out, 0, (int)room - 1 };

	log_text_escaped(&escaped, text, (int)size);
	out[escaped.used] = '\0';
}

bool log_has_room(void)
{
	struct pollfd out = { .events = POLLOUT };
	bool room;

	pthread_mutex_lock(&writing);
	follow();
	out.fd = output;
	room = file || sink == SINK_FILE ||
	       (write_rest() && poll(&out, 1, 0) != 0);
	pthread_mutex_unlock(&writing);
	return room;
}

uint64_t log_dropped(void)
{
	return atomic_load_explicit(&dropped, memory_order_relaxed);
}

static void add_head(struct line *line, const struct log_level_row *row,
		     const char *origin, int pid)
{
	if (form != CREW_LOG_PLAIN)
		line->used += snprintf(line->text, HEAD_BYTES, "<%d>", row->priority);
	if (form == LOG_FORM_CHILD) {
		if (thread_index >= 0)
			line->used += snprintf(line->text + line->used, HEAD_BYTES,
					       "[%d] ", thread_index);
		return;
	}
	if (form == CREW_LOG_PLAIN) {
		if (colours)
			line->used += snprintf(line->text, HEAD_BYTES, "%s", row->colour);
		add_time(line);
		line->used += snprintf(line->text + line->used, HEAD_BYTES, " %-8s ",
				       row->name);
	}
	add_escaped(line, line->used + ORIGIN_BYTES, origin, (int)strlen(origin));
	if (pid)
		line->used += snprintf(line->text + line->used, HEAD_BYTES, " %d", pid);
	memcpy(line->text + line->used, ": ", 2);
	line->used += 2;
}

static void add_time(struct line *line)
{
	struct timespec now;
	struct tm utc;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &utc);
	line->used += (int)strftime(line->text + line->used, HEAD_BYTES,
				    "%Y-%m-%dT%H:%M:%S", &utc);
	line->used += snprintf(line->text + line->used, HEAD_BYTES, ".%03dZ",
			       (int)(now.tv_nsec / 1000000));
}

/* Until the line has `room` bytes. */
static void add_escaped(struct line *line, int room, const char *text, int size)
{
	struct log_text out = { line->text, line->used, room };

	log_text_escaped(&out, text, size);
	line->used = out.used;
}

static bool write_line(const struct line *line)
{
	bool written;
	int n;

	pthread_mutex_lock(&writing);
	if (file) {
		written = rotate_write(file, line->text, (size_t)line->used);
	} else {
		follow();
		n = write_rest() ? write_all(line->text, line->used) : 0;
		written = n > 0;
		if (n > 0 && n < line->used) {
			rest.used = line->used - n;
			memcpy(rest.text, line->text + n, (size_t)rest.used);
		}
	}
	pthread_mutex_unlock(&writing);
	return written;
}

static bool write_rest(void)
{
	const int n = write_all(rest.text, rest.used);

	rest.used -= n;
	memmove(rest.text, rest.text + n, (size_t)rest.used);
	/* Nobody will ever read it, nor who would wait for that what he has to say. */
	if (rest.used > 0 && nobody_reads())
		rest.used = 0;
	return rest.used == 0;
}

static bool nobody_reads(void)
{
	struct pollfd out = { .fd = output, .events = POLLOUT };

	return poll(&out, 1, 0) == 1 && (out.revents & (POLLERR | POLLHUP | POLLNVAL));
}

/* As much as can be written now. */
static int write_all(const char *bytes, int size)
{
	int at = 0;

	while (at < size) {
		ssize_t n = write_some(bytes + at, (size_t)(size - at));

		if (n <= 0)
			break;
		at += (int)n;
	}
	return at;
}

/* What can be written without waiting; -1 if nothing can. */
static ssize_t write_some(const char *bytes, size_t size)
{
	struct pollfd out = { .fd = output, .events = POLLOUT };
	ssize_t n;

	if (sink == SINK_PIPE || sink == SINK_TERMINAL) {
		/* With an error, such as no reader, comes SIGPIPE. */
		if (poll(&out, 1, 0) != 1 || out.revents != POLLOUT)
			return -1;
		if (size > PIPE_BUF)
			size = PIPE_BUF;
		if (sink == SINK_TERMINAL && output == STDERR_FILENO)
			size = 1; /* more might block */
	}
	do
		n = sink == SINK_SOCKET ? send(output, bytes, size,
					       MSG_DONTWAIT | MSG_NOSIGNAL)
					: write(output, bytes, size);
	while (n < 0 && errno == EINTR);
	return n;
}
