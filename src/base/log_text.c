/* SPDX-License-Identifier: MIT */
/*
 * What was said, as it may stand in a line, for people and for machines. Both forms
 * for machines quote it so that any bytes make one well-formed line: control
 * characters are escaped, bytes that are not UTF-8 become U+FFFD. A logfmt value that
 * is plain stands as it is; the message is always quoted. For people such bytes are
 * shown as numbers, so that what a child says cannot talk to a terminal.
 */
#include "base/log_text.h"

#include <stdio.h>
#include <string.h>

/* What may still have to be written behind a text: quote and brace. */
#define TAIL_BYTES 8
#define ESCAPED_BYTES_MAX 6
#define SHOWN_BYTES_MAX 4

static void put(struct log_text *out, const char *text, int size);
static void put_text(struct log_text *out, const char *text);
static void put_quoted(struct log_text *out, const char *text, int size);
static int utf8_size(const char *text, int size);
static int show(char *out, const char *text, int size, int *ret_taken);
static int escape(char *out, const char *text, int size, int *ret_taken);
static bool is_plain(const char *text);

void log_text_structured(struct log_text *out, bool json,
			 const struct log_record *record)
{
	char number[16];

	put_text(out, json ? "{\"time\":\"" : "time=");
	put(out, record->time, record->time_size);
	put_text(out, json ? "\",\"level\":\"" : " level=");
	put_text(out, record->level);
	put_text(out, json ? "\",\"origin\":" : " origin=");
	if (!json && is_plain(record->origin))
		put_text(out, record->origin);
	else
		put_quoted(out, record->origin, (int)strlen(record->origin));
	if (record->pid) {
		put_text(out, json ? ",\"pid\":" : " pid=");
		snprintf(number, sizeof(number), "%d", record->pid);
		put_text(out, number);
	}
	put_text(out, json ? ",\"message\":" : " msg=");
	put_quoted(out, record->message, record->message_size);
	if (json)
		put_text(out, "}");
}

void log_text_escaped(struct log_text *out, const char *text, int size)
{
	static const char cut[] = " [cut]";
	const int mark = (int)sizeof(cut) - 1;
	int before_mark = out->used;
	char shown[SHOWN_BYTES_MAX];
	int taken;

	for (int i = 0; i < size; i += taken) {
		const int n = show(shown, text + i, size - i, &taken);

		if (out->used + mark <= out->room)
			before_mark = out->used;
		if (out->used + n > out->room) {
			out->used = before_mark;
			put_text(out, cut);
			return;
		}
		put(out, shown, n);
	}
}

/* The size of the UTF-8 character at the start, 0 if there is none (RFC 3629,
 * section 4) or if it is a control character of U+0080 to U+009F. */
static int utf8_size(const char *text, int size)
{
	const unsigned char *at = (const unsigned char *)text;
	const unsigned char lead = at[0];
	const int whole = lead < 0x80			? 1
			  : lead >= 0xc2 && lead < 0xe0 ? 2
			  : lead >= 0xe0 && lead < 0xf0 ? 3
			  : lead >= 0xf0 && lead < 0xf5 ? 4
							: 0;
	const unsigned char low = lead == 0xc2 || lead == 0xe0 ? 0xa0
				  : lead == 0xf0	       ? 0x90
							       : 0x80;
	const unsigned char high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;

	if (whole > size)
		return 0;
	if (whole > 1 && (at[1] < low || at[1] > high))
		return 0;
	for (int i = 2; i < whole; i++) {
		if (at[i] < 0x80 || at[i] > 0xbf)
			return 0;
	}
	return whole;
}

static void put(struct log_text *out, const char *text, int size)
{
	if (size > out->room - out->used)
		size = out->room - out->used;
	memcpy(out->at + out->used, text, (size_t)size);
	out->used += size;
}

static void put_text(struct log_text *out, const char *text)
{
	put(out, text, (int)strlen(text));
}

static void put_quoted(struct log_text *out, const char *text, int size)
{
	char escaped[ESCAPED_BYTES_MAX + 2];
	int taken;

	put_text(out, "\"");
	for (int i = 0; i < size; i += taken) {
		const int n = escape(escaped, text + i, size - i, &taken);

		if (out->used + n + TAIL_BYTES > out->room)
			break;
		put(out, escaped, n);
	}
	put_text(out, "\"");
}

/* One character as people see it. */
static int show(char *out, const char *text, int size, int *ret_taken)
{
	static const char digits[] = "0123456789abcdef";
	const unsigned char byte = (unsigned char)*text;
	const int whole = utf8_size(text, size);

	*ret_taken = whole > 0 ? whole : 1;
	if (whole > 1 || byte == '\t' || (whole == 1 && byte >= 0x20 && byte != 0x7f)) {
		memcpy(out, text, (size_t)whole);
		return whole;
	}
	out[0] = '\\';
	out[1] = byte == '\n' ? 'n' : 'x';
	if (byte == '\n')
		return 2;
	out[2] = digits[byte >> 4];
	out[3] = digits[byte & 15];
	return 4;
}

/* One character as it stands between quotes (RFC 8259, 7). */
static int escape(char *out, const char *text, int size, int *ret_taken)
{
	const unsigned char byte = (unsigned char)*text;
	const int whole = utf8_size(text, size);

	*ret_taken = whole > 0 ? whole : 1;
	if (byte == '"' || byte == '\\') {
		out[0] = '\\';
		out[1] = (char)byte;
		return 2;
	}
	if (whole == 1 && (byte < 0x20 || byte == 0x7f))
		return snprintf(out, ESCAPED_BYTES_MAX + 1, "\\u%04x", byte);
	if (whole == 0) {
		memcpy(out, "\xef\xbf\xbd", 3);
		return 3;
	}
	memcpy(out, text, (size_t)whole);
	return whole;
}

static bool is_plain(const char *text)
{
	for (; *text; text++) {
		if ((unsigned char)*text <= ' ' || *text == '"' || *text == '=' ||
		    *text == '\\' || (unsigned char)*text >= 0x7f)
			return false;
	}
	return true;
}
