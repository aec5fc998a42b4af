/* SPDX-License-Identifier: MIT */
/* Private to the log: lines for machines, JSON and logfmt. */
#ifndef BASE_LOG_TEXT_H
#define BASE_LOG_TEXT_H

#include <stdbool.h>

struct log_text {
	char *at;
	int used;
	int room;
};

struct log_record {
	const char *time;
	int time_size;
	const char *level;
	const char *origin;
	int pid; /* 0: none */
	const char *message; /* any bytes */
	int message_size;
};

/** Write the record as one line without its newline, JSON or logfmt. What does
 * not fit is left out of the message; the line is well formed in any case. */
void log_text_structured(struct log_text *out, bool json,
			 const struct log_record *record);
/** The size of the UTF-8 character at the start, 0 if there is none (RFC 3629,
 * section 4) or if it is a control character of U+0080 to U+009F. */
int log_utf8_size(const char *text, int size);

#endif
