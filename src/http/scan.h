/* SPDX-License-Identifier: MIT */
/* Private to this room: classes of bytes, and steps over text. */
#ifndef HTTP_SCAN_H
#define HTTP_SCAN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/os/scan.h"
#include "base/span.h"

enum {
	BYTE_TOKEN = 1,   /* RFC 9110, 5.6.2: tchar */
	BYTE_TARGET = 2,  /* visible ASCII but '#', which no target holds */
	BYTE_HOST = 4,    /* RFC 3986, 3.2.2: unreserved and sub-delims */
	BYTE_HEX = 8,     /* a hexadecimal digit of either case */
	BYTE_VALUE = 16,  /* RFC 9110, 5.5: VCHAR, obs-text, space and tab */
	BYTE_DIGIT = 32,  /* 0 to 9 */
};

extern const uint8_t http_bytes[256];

/** Is a byte in one of these classes? */
static inline bool http_byte_is(char byte, uint8_t classes)
{
	return (http_bytes[(unsigned char)byte] & classes) != 0;
}

/** Space or tab. */
static inline bool http_is_blank(char byte)
{
	return byte == ' ' || byte == '\t';
}

/** The first byte from `at` on that is in none of the classes, or `end`. */
static inline const char *http_skip(const char *at, const char *end,
				    uint8_t classes)
{
	while (at < end && http_byte_is(*at, classes))
		at++;
	return at;
}

/** The value of a hexadecimal digit. */
static inline unsigned http_hex(char digit)
{
	if (http_byte_is(digit, BYTE_DIGIT))
		return (unsigned)(digit - '0');
	return (unsigned)((digit | 0x20) - 'a') + 10;
}

/** Where the first byte from `at` on is that no header value may hold (control
 * bytes but the tab), or `end`. */
static inline size_t http_find_control(const char *buffer, size_t at, size_t end)
{
	return at + os_scan_control(buffer + at, end - at);
}

/** As http_skip, for a run that may be long: of tokens, and of targets. */
extern const struct os_class http_token;
extern const struct os_class http_target;

static inline const char *http_skip_long(const char *at, const char *end,
					 const struct os_class *class)
{
	return at + os_scan_class(at, (size_t)(end - at), class);
}

/** Without the spaces and tabs around it. */
struct span http_trim(struct span text);

/** Are all bytes in one of these classes? True for no bytes. */
bool http_all(struct span text, uint8_t classes);

/** Cut the next part of a list off, trimmed. With `quotes`, separators in
 * quoted strings do not count. False when nothing is left, or at == NULL. A
 * part may be empty. */
bool http_split(struct span *rest, char separator, bool quotes,
		struct span *ret_part);

#endif
