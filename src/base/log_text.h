/* SPDX-License-Identifier: MIT */
/* Private to the log: what was said, escaped, and lines for machines, JSON and logfmt. */
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
/** Add a text as people may see it: control bytes and what is no UTF-8 escaped. What is too
 * long ends in a mark, if there is room for that. */
void log_text_escaped(struct log_text *out, const char *text, int size);

#endif
