/* SPDX-License-Identifier: MIT */
/*
 * Static files. What is opened lies beneath the root (root.c), and is then looked
 * at, so that nothing can change between a check and its use. Only regular
 * files are served, and none whose name begins with a dot, nor what lies below
 * such a directory, but for /.well-known, which is there to be found (RFC 8615).
 *
 * A disk that fails is a fault of ours: 404 is what caches may keep.
 */
#include "dispatch/files.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "dispatch/root.h"
#include "http/respond.h"
#include "http/scan.h"

#define PATH_BYTES 4096u
#define ETAG_BYTES 64u

struct range {
	bool given;
	bool possible;
	uint64_t first;
	uint64_t last;
};

static int open_named(int root_fd, struct span rest, struct stat *ret_status,
		      bool *ret_is_directory);
static bool has_hidden(struct span rest);
static void fail(struct file_answer *answer, int error);
static void redirect(struct file_answer *answer, const struct http_head *head);
static void describe(struct file_answer *answer, const struct stat *status,
		     struct span rest, const struct http_head *head);
static bool is_another(const struct http_head *head, const char *etag, time_t modified);
static bool unchanged(const struct http_head *head, const char *etag, time_t modified);
static struct range find_range(const struct http_head *head, const char *etag,
			       time_t modified, uint64_t size);
static struct span find_header(const struct http_head *head, const char *name);
static void add_line(struct file_answer *answer, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
static const char *type_of(struct span name);

void files_answer(int root_fd, struct span rest, const struct http_head *head,
		  struct file_answer *ret_answer)
{
	struct file_answer *answer = ret_answer;
	bool is_directory;
	struct stat status;
	int fd;

	answer->status = 200;
	answer->error = 0;
	answer->fd = -1;
	answer->offset = 0;
	answer->length = 0;
	answer->headers_size = 0;
	answer->headers[0] = '\0';
	if (head->method != HTTP_GET && head->method != HTTP_HEAD) {
		answer->status = 405;
		add_line(answer, "Allow: GET, HEAD\r\n");
		return;
	}
	if (has_hidden(rest)) {
		answer->status = 404;
		return;
	}
	fd = open_named(root_fd, rest, &status, &is_directory);
	/* The mount itself is a directory too, whose links are relative. */
	if (fd >= 0 && rest.size == 0 && head->path.at[head->path.size - 1] != '/') {
		close(fd);
		fd = -EISDIR;
	}
	if (fd == -EISDIR) {
		redirect(answer, head);
		return;
	}
	if (fd < 0) {
		fail(answer, -fd);
		return;
	}
	answer->fd = fd;
	describe(answer, &status,
		 is_directory ? (struct span){ "index.html", 10 } : rest, head);
	if (answer->status >= 300 || head->method == HTTP_HEAD) {
		close(fd);
		answer->fd = -1;
	}
}

/* -EISDIR: a directory that was named without its slash. */
static int open_named(int root_fd, struct span rest, struct stat *ret_status,
		      bool *ret_is_directory)
{
	char path[PATH_BYTES];
	bool slash;
	int fd;
	int r;

	if (rest.size + sizeof("./index.html") > sizeof(path) ||
	    memchr(rest.at, '\0', rest.size))
		return -ENOENT;
	slash = rest.size == 0 || rest.at[rest.size - 1] == '/';
	*ret_is_directory = slash;
	snprintf(path, sizeof(path), "./%.*s%s", (int)rest.size, rest.at,
		 slash ? "index.html" : "");
	fd = root_find(root_fd, path);
	if (fd < 0)
		return fd;
	if (fstat(fd, ret_status) < 0) {
		r = -errno;
		close(fd);
		return r;
	}
	if (!S_ISREG(ret_status->st_mode)) {
		close(fd);
		return S_ISDIR(ret_status->st_mode) && !slash ? -EISDIR : -ENOENT;
	}
	return fd;
}

static bool has_hidden(struct span rest)
{
	const struct span known = span_of(".well-known/");
	size_t begin = 0;

	if (rest.size >= known.size && memcmp(rest.at, known.at, known.size) == 0)
		begin = known.size;
	for (size_t i = begin; i < rest.size; i++) {
		if (rest.at[i] == '.' && (i == 0 || rest.at[i - 1] == '/'))
			return true;
	}
	return false;
}

static void fail(struct file_answer *answer, int error)
{
	switch (error) {
	case ENOENT:
	case ENOTDIR:
	case ELOOP:
	case EXDEV:
	case ENXIO:
	/* Names that this file system cannot have. */
	case ENAMETOOLONG:
	case EINVAL:
	case EILSEQ:
		answer->status = 404;
		break;
	case EACCES:
	case EPERM:
		answer->status = 403;
		break;
	case EMFILE:
	case ENFILE:
	case ENOMEM:
	case EAGAIN:
		answer->status = 503;
		break;
	default:
		answer->status = 500;
		answer->error = error;
	}
}

static void redirect(struct file_answer *answer, const struct http_head *head)
{
	const struct span query = head->query;
	size_t extra;

	answer->status = 301;
	/* One slash only: two would name another host. */
	extra = strspn(head->path.at, "/");
	if (extra > head->path.size)
		extra = head->path.size;
	add_line(answer, "Location: /%.*s/%s%.*s\r\n", (int)(head->path.size - extra),
		 head->path.at + extra, query.size ? "?" : "", (int)query.size,
		 query.size ? query.at : "");
}

static void describe(struct file_answer *answer, const struct stat *status,
		     struct span rest, const struct http_head *head)
{
	const uint64_t size = (uint64_t)status->st_size;
	const time_t modified = status->st_mtim.tv_sec;
	char etag[ETAG_BYTES];
	char date[HTTP_DATE_SIZE];
	struct range range;

	snprintf(etag, sizeof(etag), "\"%" PRIx64 "-%" PRIx64 "%08lx-%" PRIx64 "\"",
		 (uint64_t)status->st_ino, (uint64_t)modified,
		 status->st_mtim.tv_nsec, size);
	http_date(date, modified);
	answer->length = size;
	range = find_range(head, etag, modified, size);
	if (is_another(head, etag, modified)) {
		answer->status = 412;
		answer->length = 0;
		return;
	} else if (unchanged(head, etag, modified)) {
		answer->status = 304;
		answer->length = 0;
	} else if (range.given && !range.possible) {
		answer->status = 416;
		answer->length = 0;
		add_line(answer, "Content-Range: bytes */%" PRIu64 "\r\n", size);
		return;
	} else if (range.given) {
		answer->status = 206;
		answer->offset = range.first;
		answer->length = range.last - range.first + 1;
		add_line(answer, "Content-Range: bytes %" PRIu64 "-%" PRIu64
				 "/%" PRIu64 "\r\n", range.first, range.last, size);
	}
	add_line(answer, "Content-Type: %s\r\nLast-Modified: %s\r\nETag: %s\r\n"
			 "Accept-Ranges: bytes\r\nX-Content-Type-Options: nosniff\r\n",
		 type_of(rest), date, etag);
}

/* Whether one of these lines does, of which there may be some (RFC 9110, 5.3), and whether there
 * is any. Weakly a weak tag names what it would as a strong one, else nothing (8.8.3.2). */
static bool names_it(const struct http_head *head, const char *line, bool weakly,
		     const char *etag, bool *ret_asked)
{
	struct span match;
	struct span tag;

	*ret_asked = false;
	for (uint32_t i = 0; i < head->header_count; i++) {
		if (!span_equal_nocase(head->headers[i].name, span_of(line)))
			continue;
		*ret_asked = true;
		match = head->headers[i].value;
		while (http_split(&match, ',', true, &tag)) {
			if (span_equal(tag, span_of("*")))
				return true;
			if (weakly && tag.size > 2 && memcmp(tag.at, "W/", 2) == 0)
				tag = (struct span){ tag.at + 2, tag.size - 2 };
			if (span_equal(tag, span_of(etag)))
				return true;
		}
	}
	return false;
}

/* Not the one that the client has a part of. If-Match goes before If-Unmodified-Since (RFC 9110,
 * 13.2.2). */
static bool is_another(const struct http_head *head, const char *etag, time_t modified)
{
	const struct span since = find_header(head, "if-unmodified-since");
	bool asked;
	const bool named = names_it(head, "if-match", false, etag, &asked);
	time_t date;

	if (asked)
		return !named;
	if (!since.at)
		return false;
	date = http_date_parse(since);
	return date >= 0 && modified > date;
}

/* If-None-Match goes before If-Modified-Since (RFC 9110, 13.2.2). */
static bool unchanged(const struct http_head *head, const char *etag, time_t modified)
{
	const struct span since = find_header(head, "if-modified-since");
	bool asked;
	const bool named = names_it(head, "if-none-match", true, etag, &asked);
	time_t date;

	if (asked)
		return named;
	if (!since.at)
		return false;
	date = http_date_parse(since);
	return date >= 0 && modified <= date;
}

static bool read_number(struct span *text, uint64_t *ret_value)
{
	uint64_t value = 0;
	size_t i = 0;

	for (; i < text->size && text->at[i] >= '0' && text->at[i] <= '9'; i++) {
		if (value > (UINT64_MAX - 9) / 10)
			return false;
		value = value * 10 + (uint64_t)(text->at[i] - '0');
	}
	*ret_value = value;
	text->at += i;
	text->size -= i;
	return i > 0;
}

/* One range of bytes; any other is answered with the whole file (RFC 9110,
 * 14.2: a server may ignore Range). */
static struct range find_range(const struct http_head *head, const char *etag,
			       time_t modified, uint64_t size)
{
	struct span text = find_header(head, "range");
	const struct span condition = find_header(head, "if-range");
	struct range range = { 0 };
	uint64_t first = 0;
	uint64_t last = 0;
	bool has_first;
	bool has_last;

	/* For no other method (RFC 9110, 14.2). */
	if (head->method != HTTP_GET || !text.at || text.size < 6 ||
	    memcmp(text.at, "bytes=", 6) != 0)
		return range;
	if (condition.at && !span_equal(condition, span_of(etag)) &&
	    http_date_parse(condition) != modified)
		return range;
	text.at += 6;
	text.size -= 6;
	has_first = read_number(&text, &first);
	if (text.size == 0 || text.at[0] != '-')
		return range;
	text.at++;
	text.size--;
	has_last = read_number(&text, &last);
	if (text.size > 0 || (!has_first && !has_last) ||
	    (has_first && has_last && last < first))
		return range;
	range.given = true;
	if (!has_first) {
		range.first = last < size ? size - last : 0;
		range.last = size - 1;
		range.possible = last > 0 && size > 0;
		return range;
	}
	range.first = first;
	range.last = has_last && last < size ? last : size - 1;
	range.possible = first < size;
	return range;
}

static struct span find_header(const struct http_head *head, const char *name)
{
	const struct span wanted = span_of(name);

	for (uint32_t i = 0; i < head->header_count; i++) {
		if (span_equal_nocase(head->headers[i].name, wanted))
			return head->headers[i].value;
	}
	return (struct span){ NULL, 0 };
}

static void add_line(struct file_answer *answer, const char *format, ...)
{
	va_list arguments;
	int n;

	va_start(arguments, format);
	n = vsnprintf(answer->headers + answer->headers_size,
		      sizeof(answer->headers) - answer->headers_size, format,
		      arguments);
	va_end(arguments);
	check(n > 0 && (size_t)n < sizeof(answer->headers) - answer->headers_size);
	answer->headers_size += (size_t)n;
}

static const char *type_of(struct span name)
{
	static const char *const types[][2] = {
		{ "html", "text/html; charset=utf-8" },
		{ "htm", "text/html; charset=utf-8" },
		{ "css", "text/css; charset=utf-8" },
		{ "js", "text/javascript; charset=utf-8" },
		{ "mjs", "text/javascript; charset=utf-8" },
		{ "txt", "text/plain; charset=utf-8" },
		{ "md", "text/markdown; charset=utf-8" },
		{ "csv", "text/csv; charset=utf-8" },
		{ "xml", "text/xml; charset=utf-8" },
		{ "json", "application/json" },
		{ "map", "application/json" },
		{ "webmanifest", "application/manifest+json" },
		{ "svg", "image/svg+xml" },
		{ "png", "image/png" },
		{ "jpg", "image/jpeg" },
		{ "jpeg", "image/jpeg" },
		{ "gif", "image/gif" },
		{ "webp", "image/webp" },
		{ "avif", "image/avif" },
		{ "ico", "image/vnd.microsoft.icon" },
		{ "woff", "font/woff" },
		{ "woff2", "font/woff2" },
		{ "ttf", "font/ttf" },
		{ "otf", "font/otf" },
		{ "pdf", "application/pdf" },
		{ "zip", "application/zip" },
		{ "gz", "application/gzip" },
		{ "wasm", "application/wasm" },
		{ "mp3", "audio/mpeg" },
		{ "ogg", "audio/ogg" },
		{ "mp4", "video/mp4" },
		{ "webm", "video/webm" },
	};
	const char *dot = memrchr(name.at, '.', name.size);
	struct span ending = { "", 0 };

	if (dot) {
		ending.at = dot + 1;
		ending.size = name.size - (size_t)(ending.at - name.at);
	}
	for (size_t i = 0; i < COUNT_OF(types); i++) {
		if (span_equal_nocase(ending, span_of(types[i][0])))
			return types[i][1];
	}
	return "application/octet-stream";
}
