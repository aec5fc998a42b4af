/* SPDX-License-Identifier: MIT */
/*
 * Text of unknown origin inside JSON, HTML and plain text: error bodies and
 * JSON strings. The dispatcher writes its own errors with it, workers those of
 * handlers.
 *
 * What always holds: what comes out is well-formed UTF-8 and well-formed in
 * its form, whatever goes in. Bytes that are not UTF-8 become U+FFFD; a message
 * is cut only between characters, never inside an escape, and what closes the
 * body always fits behind it. If not even the frame fits, nothing is written.
 */
#include "http/text.h"

#include <stdio.h>

#include "http/respond.h"
#include "http/scan.h"

/* The longest thing that one character becomes: \u001f. */
enum { ESCAPED_MAX = 6 };

static size_t json_plain(struct span text);
static size_t escape_one(char ret[ESCAPED_MAX], struct span *text,
			 enum http_error_form form);
static size_t escape_json(char *ret, char byte);
static size_t escape_html(char *ret, char byte);
static size_t character_size(struct span text);

size_t http_json_string(char *buffer, struct span text)
{
	char *at = buffer;

	*at++ = '"';
	while (text.size > 0) {
		size_t plain = json_plain(text);

		memcpy(at, text.at, plain);
		at += plain;
		text.at += plain;
		text.size -= plain;
		if (text.size > 0) {
			char escaped[ESCAPED_MAX];
			size_t size = escape_one(escaped, &text, HTTP_ERROR_JSON);

			memcpy(at, escaped, size);
			at += size;
		}
	}
	*at++ = '"';
	return (size_t)(at - buffer);
}

size_t http_error_body(char *buffer, size_t room, enum http_error_form form,
		       int status, const char *message, const char **ret_type)
{
	static const struct {
		const char *type, *before, *after;
	} frames[] = {
		[HTTP_ERROR_JSON] = { "application/json", "{\"error\":\"", "\"}" },
		[HTTP_ERROR_TEXT] = { "text/plain; charset=utf-8", "", "\n" },
		[HTTP_ERROR_HTML] = { "text/html; charset=utf-8", NULL,
				      "</p></body></html>\n" },
	};
	char page[256], escaped[ESCAPED_MAX];
	const char *before = frames[form].before;
	size_t after_size = strlen(frames[form].after);
	struct span text = span_of(message != NULL ? message : http_reason(status));
	size_t used, size;

	*ret_type = frames[form].type;
	if (before == NULL) {
		snprintf(page, sizeof(page),
			 "<!DOCTYPE html>\n<html lang=\"en\"><head>"
			 "<meta charset=\"utf-8\"><title>%d %s</title></head>"
			 "<body><h1>%d %s</h1><p>",
			 status, http_reason(status), status, http_reason(status));
		before = page;
	}
	used = strlen(before);
	if (used + after_size > room)
		return 0;
	memcpy(buffer, before, used);
	while (text.size > 0) {
		size = escape_one(escaped, &text, form);
		if (size > room - used - after_size)
			break;
		memcpy(buffer + used, escaped, size);
		used += size;
	}
	memcpy(buffer + used, frames[form].after, after_size);
	return used + after_size;
}

/* How many bytes stand in a JSON string as they are. */
static size_t json_plain(struct span text)
{
	size_t size = 0;

	while (size < text.size && (unsigned char)text.at[size] >= 0x20 &&
	       (unsigned char)text.at[size] < 0x80 && text.at[size] != '"' &&
	       text.at[size] != '\\')
		size++;
	return size;
}

/* Take one character off the text and write it escaped. */
static size_t escape_one(char ret[ESCAPED_MAX], struct span *text,
			 enum http_error_form form)
{
	size_t size = character_size(*text);
	char byte = text->at[0];

	if (size > 1)
		memcpy(ret, text->at, size);
	text->at += size > 0 ? size : 1;
	text->size -= size > 0 ? size : 1;
	if (size > 1)
		return size;
	if (size == 0) {
		memcpy(ret, "\xef\xbf\xbd", 3);
		return 3;
	}
	if (form == HTTP_ERROR_JSON)
		return escape_json(ret, byte);
	if (form == HTTP_ERROR_HTML)
		return escape_html(ret, byte);
	/* A control byte in plain text could fool a terminal. */
	ret[0] = http_byte_is(byte, BYTE_VALUE) ? byte : ' ';
	return 1;
}

static size_t escape_json(char *ret, char byte)
{
	static const char plain[] = "\"\\\b\f\n\r\t", letters[] = "\"\\bfnrt";
	const char *found = byte != '\0' ? strchr(plain, byte) : NULL;

	ret[0] = byte;
	if (found == NULL && (unsigned char)byte >= 0x20)
		return 1;
	ret[0] = '\\';
	if (found != NULL) {
		ret[1] = letters[found - plain];
		return 2;
	}
	memcpy(ret + 1, "u00", 3);
	ret[4] = (char)('0' + (byte >> 4));
	ret[5] = "0123456789abcdef"[byte & 15];
	return 6;
}

static size_t escape_html(char *ret, char byte)
{
	const char *entity;

	switch (byte) {
	case '&':
		entity = "&amp;";
		break;
	case '<':
		entity = "&lt;";
		break;
	case '>':
		entity = "&gt;";
		break;
	case '"':
		entity = "&#34;";
		break;
	case '\'':
		entity = "&#39;";
		break;
	default:
		ret[0] = http_byte_is(byte, BYTE_VALUE) ? byte : ' ';
		return 1;
	}
	memcpy(ret, entity, strlen(entity));
	return strlen(entity);
}

/* The bytes of the first character, 0 if it is not UTF-8 (RFC 3629, 4). */
static size_t character_size(struct span text)
{
	static const unsigned lowest[] = { 0, 0, 0x80, 0x800, 0x10000 };
	unsigned first = (unsigned char)text.at[0];
	unsigned point;
	size_t size;

	if (first < 0x80)
		return 1;
	size = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
	if (first < 0xc2 || first > 0xf4 || size > text.size)
		return 0;
	point = first & (0x7fu >> size);
	for (size_t i = 1; i < size; i++) {
		unsigned next = (unsigned char)text.at[i];

		if ((next & 0xc0) != 0x80)
			return 0;
		point = point << 6 | (next & 0x3f);
	}
	if (point < lowest[size] || point > 0x10ffff ||
	    (point >= 0xd800 && point <= 0xdfff))
		return 0;
	return size;
}
