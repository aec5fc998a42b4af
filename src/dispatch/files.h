/* SPDX-License-Identifier: MIT */
/*
 * Static files: open beneath the mount's root (root.h), look at what was
 * opened, and say with which head it is to be sent.
 */
#ifndef DISPATCH_FILES_H
#define DISPATCH_FILES_H

#include <stdint.h>
#include <time.h>

#include "base/span.h"
#include "dispatch/limits.h"
#include "http/parse.h"

/* A redirect holds the path and query of its request. */
#define FILE_HEADERS_MAX (LINE_MAX_BYTES + 512u)

struct file_answer {
	int status;       /* 200, 206, 301, 304, 403, 404, 405, 412, 416, 500, 503 */
	int error;        /* with 500: why, as errno */
	int fd;           /* -1 unless there are bytes to send; becomes the caller's */
	uint64_t offset;  /* of the first byte to send */
	uint64_t length;  /* bytes to send */
	char headers[FILE_HEADERS_MAX]; /* lines: Content-Type, Last-Modified, ETag, … */
	size_t headers_size;
};

/** Find what `rest` (decoded, below the mount, without a leading slash) names
 * and decide the answer: index.html of a directory, If-None-Match and
 * If-Modified-Since, one byte range. HEAD is given a length but no fd. */
void files_answer(int root_fd, struct span rest, const struct http_head *head,
		  struct file_answer *ret_answer);

#endif
