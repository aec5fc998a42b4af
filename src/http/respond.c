/* SPDX-License-Identifier: MIT */
/*
 * Answers as bytes. The dispatcher writes each head here, and has here checked
 * what a worker wants to say in it.
 *
 * What always holds: a head is written in one go into memory that is large
 * enough by contract (HTTP_HEAD_ROOM), and it is crew alone that says where an
 * answer ends and what becomes of the connection. Header lines of a worker come
 * in only through http_check_headers, so that neither a careless nor a broken
 * handler can split an answer in two.
 *
 * Numbers and copies are written by hand: snprintf would take most of the time
 * of a small answer, and a date must not depend on the locale.
 */
#include "http/respond.h"

#include "http/scan.h"

static char *put(char *at, const char *text);
static char *put_number(char *at, uint64_t number);
static char *put_status_line(char *at, int status);
static char *put_framing(char *at, const struct http_answer *answer);
static char *put_connection(char *at, const struct http_answer *answer);
static void put_digits(char *at, unsigned width, uint64_t number);
static bool from_asctime(char ret_text[HTTP_DATE_SIZE], struct span text);
static bool from_rfc850(char ret_text[HTTP_DATE_SIZE], struct span text);
static uint64_t year_of(const char *date, int digits);
static bool has_form(const char *at, const char *form);
static bool is_day(struct span name);
static bool digits_ok(const char *at, int width, int *ret_number);
static int name_index(const char *at, const char *names, int count);
static const char *check_line(struct span line);

static const char day_names[] = "SunMonTueWedThuFriSat";
static const char month_names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
/* Into which those of older forms are written. */
static const char empty_date[HTTP_DATE_SIZE] = "Day, 00 Mon 0000 00:00:00 GMT";

static const char *const reasons[600] = {
	[100] = "Continue",
	[101] = "Switching Protocols",
	[102] = "Processing",
	[103] = "Early Hints",
	[200] = "OK",
	[201] = "Created",
	[202] = "Accepted",
	[203] = "Non-Authoritative Information",
	[204] = "No Content",
	[205] = "Reset Content",
	[206] = "Partial Content",
	[207] = "Multi-Status",
	[208] = "Already Reported",
	[226] = "IM Used",
	[300] = "Multiple Choices",
	[301] = "Moved Permanently",
	[302] = "Found",
	[303] = "See Other",
	[304] = "Not Modified",
	[305] = "Use Proxy",
	[307] = "Temporary Redirect",
	[308] = "Permanent Redirect",
	[400] = "Bad Request",
	[401] = "Unauthorized",
	[402] = "Payment Required",
	[403] = "Forbidden",
	[404] = "Not Found",
	[405] = "Method Not Allowed",
	[406] = "Not Acceptable",
	[407] = "Proxy Authentication Required",
	[408] = "Request Timeout",
	[409] = "Conflict",
	[410] = "Gone",
	[411] = "Length Required",
	[412] = "Precondition Failed",
	[413] = "Content Too Large",
	[414] = "URI Too Long",
	[415] = "Unsupported Media Type",
	[416] = "Range Not Satisfiable",
	[417] = "Expectation Failed",
	[421] = "Misdirected Request",
	[422] = "Unprocessable Content",
	[423] = "Locked",
	[424] = "Failed Dependency",
	[425] = "Too Early",
	[426] = "Upgrade Required",
	[428] = "Precondition Required",
	[429] = "Too Many Requests",
	[431] = "Request Header Fields Too Large",
	[451] = "Unavailable For Legal Reasons",
	[500] = "Internal Server Error",
	[501] = "Not Implemented",
	[502] = "Bad Gateway",
	[503] = "Service Unavailable",
	[504] = "Gateway Timeout",
	[505] = "HTTP Version Not Supported",
	[506] = "Variant Also Negotiates",
	[507] = "Insufficient Storage",
	[508] = "Loop Detected",
	[510] = "Not Extended",
	[511] = "Network Authentication Required",
};

const char *http_reason(int status)
{
	if (status < 0 || status >= 600 || reasons[status] == NULL)
		return "Unknown";
	return reasons[status];
}

void http_date(char ret_text[HTTP_DATE_SIZE], time_t when)
{
	struct tm tm = { .tm_mday = 1 };

	/* Years have four digits here; a time beyond them is the epoch. */
	if (gmtime_r(&when, &tm) == NULL || tm.tm_year < -1900 ||
	    tm.tm_year > 9999 - 1900)
		tm = (struct tm){ .tm_mday = 1, .tm_year = 70, .tm_wday = 4 };
	memcpy(ret_text, "Day, 00 Mon 0000 00:00:00 GMT", HTTP_DATE_SIZE);
	memcpy(ret_text, day_names + 3 * tm.tm_wday, 3);
	put_digits(ret_text + 5, 2, (uint64_t)tm.tm_mday);
	memcpy(ret_text + 8, month_names + 3 * tm.tm_mon, 3);
	put_digits(ret_text + 12, 4, (uint64_t)tm.tm_year + 1900);
	put_digits(ret_text + 17, 2, (uint64_t)tm.tm_hour);
	put_digits(ret_text + 20, 2, (uint64_t)tm.tm_min);
	put_digits(ret_text + 23, 2, (uint64_t)tm.tm_sec);
}

time_t http_date_parse(struct span text)
{
	char rewritten[HTTP_DATE_SIZE];
	char again[HTTP_DATE_SIZE];
	struct tm tm = { 0 };
	time_t when;

	if (from_asctime(rewritten, text) || from_rfc850(rewritten, text))
		text = (struct span){ rewritten, HTTP_DATE_SIZE - 1 };
	if (text.size != HTTP_DATE_SIZE - 1 ||
	    !digits_ok(text.at + 5, 2, &tm.tm_mday) ||
	    !digits_ok(text.at + 12, 4, &tm.tm_year) ||
	    !digits_ok(text.at + 17, 2, &tm.tm_hour) ||
	    !digits_ok(text.at + 20, 2, &tm.tm_min) ||
	    !digits_ok(text.at + 23, 2, &tm.tm_sec))
		return -1;
	tm.tm_year -= 1900;
	tm.tm_mon = name_index(text.at + 8, month_names, 12);
	if (tm.tm_mon < 0)
		return -1;
	when = timegm(&tm);
	/* What is not written back the same is no date: a 30th of February, a
	 * wrong day of the week, a missing comma. */
	http_date(again, when);
	return memcmp(again, text.at, text.size) == 0 ? when : -1;
}

bool http_status_has_body(int status)
{
	return status >= 200 && status != 204 && status != 304;
}

size_t http_write_head(char *buffer, const struct http_answer *answer)
{
	char *at = put_status_line(buffer, answer->status);

	if (answer->date != NULL) {
		at = put(at, "Date: ");
		memcpy(at, answer->date, HTTP_DATE_SIZE - 1);
		at = put(at + HTTP_DATE_SIZE - 1, "\r\n");
	}
	at = put_framing(at, answer);
	at = put_connection(at, answer);
	if (answer->headers.size > 0) {
		memcpy(at, answer->headers.at, answer->headers.size);
		at += answer->headers.size;
	}
	at = put(at, "\r\n");
	return (size_t)(at - buffer);
}

size_t http_write_chunk_size(char buffer[18], uint64_t size)
{
	size_t digits = 1;

	while (digits < 16 && size >> (4 * digits) != 0)
		digits++;
	for (size_t i = 0; i < digits; i++)
		buffer[i] = "0123456789abcdef"[size >> (4 * (digits - 1 - i)) & 15];
	memcpy(buffer + digits, "\r\n", 2);
	return digits + 2;
}

const char *http_check_headers(struct span lines)
{
	const char *fault;

	while (lines.size > 0) {
		const char *lf = memchr(lines.at, '\n', lines.size);
		size_t size;

		if (lf == NULL || lf == lines.at || lf[-1] != '\r')
			return "a header line that does not end in CRLF";
		size = (size_t)(lf - lines.at) + 1;
		fault = check_line((struct span){ lines.at, size - 2 });
		if (fault != NULL)
			return fault;
		lines = (struct span){ lines.at + size, lines.size - size };
	}
	return NULL;
}

bool http_name_ok(struct span name)
{
	return name.size > 0 &&
	       os_scan_class(name.at, name.size, &http_token) == name.size;
}

bool http_value_ok(struct span value)
{
	return value.size == 0 ||
	       http_find_control(value.at, 0, value.size) == value.size;
}

bool http_name_is_reserved(struct span name)
{
	static const struct span reserved[] = {
		{ "Connection", 10 }, { "Content-Length", 14 },
		{ "Transfer-Encoding", 17 }, { "Date", 4 },
		{ "Keep-Alive", 10 }, { "Upgrade", 7 },
		{ "Trailer", 7 }, { "TE", 2 },
	};

	for (size_t i = 0; i < sizeof(reserved) / sizeof(reserved[0]); i++) {
		if (span_equal_nocase(name, reserved[i]))
			return true;
	}
	return false;
}

static const char *check_line(struct span line)
{
	const char *colon = memchr(line.at, ':', line.size);
	struct span name, value;

	if (line.size == 0)
		return "an empty line among the headers";
	if (colon == NULL)
		return "a header line without a colon";
	name = (struct span){ line.at, (size_t)(colon - line.at) };
	value = (struct span){ colon + 1, line.size - name.size - 1 };
	if (!http_name_ok(name))
		return "a header name that is not a token";
	if (!http_value_ok(value))
		return "a control byte in a header value";
	if (http_name_is_reserved(name))
		return "a header that only the dispatcher writes";
	return NULL;
}

static char *put(char *at, const char *text)
{
	size_t size = strlen(text);

	memcpy(at, text, size);
	return at + size;
}

static char *put_number(char *at, uint64_t number)
{
	unsigned size = 1;

	for (uint64_t rest = number; rest >= 10; rest /= 10)
		size++;
	put_digits(at, size, number);
	return at + size;
}

/* The version is the server's, also to a client of 1.0 (RFC 9110, 6.2). */
static char *put_status_line(char *at, int status)
{
	at = put(at, "HTTP/1.1 ");
	put_digits(at, 3, (uint64_t)status);
	at = put(at + 3, " ");
	at = put(at, http_reason(status));
	return put(at, "\r\n");
}

/* 1xx and 204 have neither field (RFC 9110, 8.6; RFC 9112, 6.1); 304 may say
 * how long the body would be. HTTP/1.0 knows no chunks: there the body ends
 * with the connection. */
static char *put_framing(char *at, const struct http_answer *answer)
{
	if (answer->status < 200 || answer->status == 204)
		return at;
	if (answer->chunked) {
		if (answer->minor == 0 || answer->status == 304)
			return at;
		return put(at, "Transfer-Encoding: chunked\r\n");
	}
	if (!answer->length_known)
		return at;
	at = put(at, "Content-Length: ");
	at = put_number(at, answer->length);
	return put(at, "\r\n");
}

/* Not in an interim answer. That the connection ends is said to clients of HTTP/1.0 too: by
 * our version they would take it to stay (RFC 9112, 9.3). A body there that has no length
 * ends with it. */
static char *put_connection(char *at, const struct http_answer *answer)
{
	if (answer->status < 200)
		return at;
	if (!answer->keep_alive || (answer->minor == 0 && answer->chunked))
		return put(at, "Connection: close\r\n");
	if (answer->minor == 0)
		return put(at, "Connection: keep-alive\r\n");
	return at;
}

static void put_digits(char *at, unsigned width, uint64_t number)
{
	while (width > 0) {
		at[--width] = (char)('0' + number % 10);
		number /= 10;
	}
}

/* "Sun Nov  6 08:49:37 1994", as today's form; what is wrong in it stays so. */
static bool from_asctime(char ret_text[HTTP_DATE_SIZE], struct span text)
{
	if (text.size != 24 || !has_form(text.at, "... ... .. ..:..:.. ...."))
		return false;
	memcpy(ret_text, empty_date, HTTP_DATE_SIZE);
	memcpy(ret_text, text.at, 3);
	if (text.at[8] != ' ')
		ret_text[5] = text.at[8];
	ret_text[6] = text.at[9];
	memcpy(ret_text + 8, text.at + 4, 3);
	memcpy(ret_text + 12, text.at + 20, 4);
	memcpy(ret_text + 17, text.at + 11, 8);
	return true;
}

/* The same of "Sunday, 06-Nov-94 08:49:37 GMT". It is the last one that is no more than 50
 * years ahead (RFC 9110, 5.6.7). */
static bool from_rfc850(char ret_text[HTTP_DATE_SIZE], struct span text)
{
	static const char form[] = ", ..-...-.. ..:..:.. GMT";
	struct span day = text;
	const char *at;
	int year;

	if (text.size < sizeof(form))
		return false;
	day.size -= sizeof(form) - 1;
	at = text.at + day.size;
	if (!has_form(at, form) || !is_day(day) || !digits_ok(at + 9, 2, &year))
		return false;
	memcpy(ret_text, empty_date, HTTP_DATE_SIZE);
	memcpy(ret_text, text.at, 3);
	memcpy(ret_text + 5, at + 2, 2);
	memcpy(ret_text + 8, at + 5, 3);
	memcpy(ret_text + 17, at + 12, 8);
	put_digits(ret_text + 12, 4, year_of(ret_text, year));
	return true;
}

/* Of a date that lacks all of its year but these two digits. In the 50th year ahead it depends
 * on the rest. */
static uint64_t year_of(const char *date, int digits)
{
	char now[HTTP_DATE_SIZE];
	int last;
	int order;

	http_date(now, time(NULL));
	(void)digits_ok(now + 12, 4, &last);
	order = name_index(date + 8, month_names, 12) - name_index(now + 8, month_names, 12);
	if (order == 0)
		order = memcmp(date + 5, now + 5, 2);
	if (order == 0)
		order = memcmp(date + 17, now + 17, 8);
	last += order > 0 ? 49 : 50;
	return (uint64_t)(last - (last - digits) % 100);
}

/* Are those bytes of it there that are no dots? */
static bool has_form(const char *at, const char *form)
{
	for (; *form; at++, form++) {
		if (*form != '.' && *form != *at)
			return false;
	}
	return true;
}

static bool is_day(struct span name)
{
	static const char *const days[] = { "Sunday",	"Monday", "Tuesday", "Wednesday",
					    "Thursday", "Friday", "Saturday" };

	for (size_t i = 0; i < sizeof(days) / sizeof(days[0]); i++) {
		if (span_equal(name, span_of(days[i])))
			return true;
	}
	return false;
}

static bool digits_ok(const char *at, int width, int *ret_number)
{
	int number = 0;

	for (int i = 0; i < width; i++) {
		if (!http_byte_is(at[i], BYTE_DIGIT))
			return false;
		number = number * 10 + (at[i] - '0');
	}
	*ret_number = number;
	return true;
}

/* Which of the names of three letters it is, or -1. */
static int name_index(const char *at, const char *names, int count)
{
	for (int i = 0; i < count; i++) {
		if (memcmp(at, names + 3 * i, 3) == 0)
			return i;
	}
	return -1;
}
