/* SPDX-License-Identifier: MIT */
/*
 * Log lines: one message, one line, one write. What a message holds of control
 * bytes is escaped, so nobody can forge a line. A line that cannot be written
 * at once is dropped and counted: no log ever holds up a request.
 */
#include "base/log.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"

#define LINE_BYTES 8192
#define HEAD_BYTES 160

static enum log_form form = LOG_FORM_PLAIN;
static bool colours;
static bool may_block; /* standard error is no plain file */
static int level_now = LOG_INFO_LEVEL;
static uint64_t dropped;

static const struct level_row {
	int level;
	int priority; /* syslog(3) */
	const char *name;
	const char *colour;
} level_rows[] = {
	{ LOG_DEBUG_LEVEL, 7, "debug", "\033[2m" },
	{ LOG_INFO_LEVEL, 6, "info", "" },
	{ LOG_WARNING_LEVEL, 4, "warning", "\033[33m" },
	{ LOG_ERROR_LEVEL, 3, "error", "\033[31m" },
	{ LOG_CRITICAL_LEVEL, 2, "critical", "\033[1;31m" },
};

static const struct level_row *row_of(int level);
static bool journal_reads_us(void);
static int write_head(char *line, const struct level_row *row, const char *origin);
static int escape(char *line, int room, const char *text, int size);
static void write_line(const char *line, int size);

void log_init(void)
{
	const char *no_colour = getenv("NO_COLOR");
	struct stat status;

	form = journal_reads_us() ? LOG_FORM_SYSTEMD : LOG_FORM_PLAIN;
	colours = form == LOG_FORM_PLAIN && isatty(STDERR_FILENO) &&
		  !(no_colour && *no_colour);
	may_block = fstat(STDERR_FILENO, &status) < 0 || !S_ISREG(status.st_mode);
}

void log_become_child(void)
{
	form = LOG_FORM_CHILD;
	colours = false;
	may_block = true;
}

void log_set_level(int level)
{
	level_now = level;
}

bool log_enabled(int level)
{
	return level >= level_now;
}

int log_level_by_name(const char *name)
{
	for (size_t i = 0; i < COUNT_OF(level_rows); i++) {
		if (strcmp(level_rows[i].name, name) == 0)
			return level_rows[i].level;
	}
	return 0;
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
	char text[LINE_BYTES];
	int size;

	if (!log_enabled(level))
		return;
	size = vsnprintf(text, sizeof(text), format, arguments);
	if (size < 0)
		return;
	if (size >= (int)sizeof(text))
		size = sizeof(text) - 1;
	log_from("parent", level, text, size);
}

void log_from(const char *origin, int level, const char *text, int size)
{
	char line[HEAD_BYTES + LINE_BYTES + 16];
	int used;

	if (!log_enabled(level))
		return;
	used = write_head(line, row_of(level), origin);
	used += escape(line + used, LINE_BYTES, text, size);
	if (colours && row_of(level)->colour[0]) {
		memcpy(line + used, "\033[0m", 4);
		used += 4;
	}
	line[used++] = '\n';
	write_line(line, used);
}

uint64_t log_dropped(void)
{
	return dropped;
}

static const struct level_row *row_of(int level)
{
	size_t i = COUNT_OF(level_rows) - 1;

	while (i > 0 && level_rows[i].level > level)
		i--;
	return &level_rows[i];
}

/* JOURNAL_STREAM holds device and inode of the journal's socket; it may be
 * inherited by somebody whose standard error is another file by now. */
static bool journal_reads_us(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long device;
	unsigned long long inode;
	struct stat status;

	return stream && sscanf(stream, "%llu:%llu", &device, &inode) == 2 &&
	       fstat(STDERR_FILENO, &status) == 0 &&
	       status.st_dev == device && status.st_ino == inode;
}

static int write_head(char *line, const struct level_row *row, const char *origin)
{
	struct timespec now;
	struct tm utc;

	if (form == LOG_FORM_CHILD)
		return snprintf(line, HEAD_BYTES, "<%d>", row->priority);
	if (form == LOG_FORM_SYSTEMD)
		return snprintf(line, HEAD_BYTES, "<%d>%.80s: ", row->priority,
				origin);
	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &utc);
	return snprintf(line, HEAD_BYTES,
			"%s%04d-%02d-%02dT%02d:%02d:%02d.%03ldZ %-8s %.60s: ",
			colours ? row->colour : "", utc.tm_year + 1900,
			utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min,
			utc.tm_sec, now.tv_nsec / 1000000, row->name, origin);
}

/* Copy with control bytes made visible; a text that is too long ends in a mark. */
static int escape(char *line, int room, const char *text, int size)
{
	static const char cut[] = " [cut]";
	int used = 0;

	for (int i = 0; i < size; i++) {
		const unsigned char byte = (unsigned char)text[i];

		if (used + 4 + (int)sizeof(cut) > room) {
			memcpy(line + used, cut, sizeof(cut) - 1);
			return used + (int)sizeof(cut) - 1;
		}
		if (byte == '\n')
			used += snprintf(line + used, 5, "\\n");
		else if ((byte < 0x20 && byte != '\t') || byte == 0x7f)
			used += snprintf(line + used, 5, "\\x%02x", byte);
		else
			line[used++] = (char)byte;
	}
	return used;
}

static void write_line(const char *line, int size)
{
	struct pollfd out = { .fd = STDERR_FILENO, .events = POLLOUT };
	ssize_t n;

	if (may_block && poll(&out, 1, 0) != 1) {
		dropped++;
		return;
	}
	do
		n = write(STDERR_FILENO, line, (size_t)size);
	while (n < 0 && errno == EINTR);
	if (n != size)
		dropped++;
}
