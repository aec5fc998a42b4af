/* SPDX-License-Identifier: MIT */
/*
 * HTTP/1.1 answers as bytes. No I/O, no allocation: all is written into the
 * caller's buffer.
 */
#ifndef HTTP_RESPOND_H
#define HTTP_RESPOND_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "base/span.h"

/** The reason phrase of a status (RFC 9110, 15); "Unknown" if it has none. */
const char *http_reason(int status);

/** "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110, 5.6.7): 29 bytes and a NUL. */
#define HTTP_DATE_SIZE 30
void http_date(char ret_text[HTTP_DATE_SIZE], time_t when);
/** The same read back, or one of the two older forms, "Sunday, 06-Nov-94 08:49:37 GMT" (of a year
 * that is at most 50 ahead) and "Sun Nov  6 08:49:37 1994"; -1 if it is not a date. */
time_t http_date_parse(struct span text);

/** May a status have a body at all (not 1xx, 204, 304)? */
bool http_status_has_body(int status);

struct http_answer {
	int status;               /* 100 to 599 */
	int minor;                /* of the request: 0 or 1 */
	bool keep_alive;
	bool chunked;             /* instead of a length */
	bool length_known;        /* write Content-Length: length */
	uint64_t length;
	struct span headers;      /* lines that end in CRLF, already checked */
	const char *date;         /* HTTP_DATE_SIZE text */
};

/** The largest head without `headers`: room for that plus headers.size is
 * always enough. */
#define HTTP_HEAD_ROOM 256

/** Write status line, Date, Content-Length or Transfer-Encoding, Connection
 * (that it ends; to HTTP/1.0 also that it stays), the given headers, and
 * the empty line; no Server. Returns the bytes written
 * (at most HTTP_HEAD_ROOM + headers.size). */
size_t http_write_head(char *buffer, const struct http_answer *answer);

/** Chunk framing: write "SIZE\r\n" of a chunk; returns its bytes (at most 18).
 * Behind the data goes "\r\n"; the last chunk is "0\r\n\r\n". */
size_t http_write_chunk_size(char buffer[18], uint64_t size);

/**
 * Check header lines that came from a worker: each "Name: value\r\n", name a
 * token, value of visible bytes, spaces and tabs, none of the names that only
 * the dispatcher writes (Connection, Content-Length, Transfer-Encoding, Date,
 * Keep-Alive, Upgrade, Trailer, TE). Returns NULL if all is well, else a
 * constant string that says what is wrong.
 */
const char *http_check_headers(struct span lines);

/** The same rules for one name and one value (RFC 9110, 5.1 and 5.5). */
bool http_name_ok(struct span name);
bool http_value_ok(struct span value);
bool http_name_is_reserved(struct span name);

#endif
