/* SPDX-License-Identifier: MIT */
/*
 * A rotated file. It is opened for appending, and its size is asked for now and
 * then, since raw output of this process may land there too. A line that was cut
 * by a full disk is taken back by truncating; so there is never half a line. A
 * rotation that is not possible, as in a directory that may no longer be written
 * to, is no reason to lose lines: the file grows on, and it is tried again when
 * that much more has been written.
 *
 * What is no regular file is refused: it cannot be rotated, nor be written to
 * without a thought of who reads it.
 */
#include "base/rotate.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/os/os.h"
#include "base/path.h"

#define LOOK_LINES 64u
#define GAP_BYTES 120

static int open_file(const char *path, int flags);
static bool is_regular(int fd);
static int find_path(struct rotate *rotate);
static void rotate_now(struct rotate *rotate);
static bool shift_files(const struct rotate *rotate);
static void shift_back(const struct rotate *rotate);
static bool is_ours(const struct rotate *rotate, const char *path);
static void use(struct rotate *rotate, int fd);
static void look(struct rotate *rotate);
static bool write_whole(struct rotate *rotate, const char *line, size_t size);
static int name_gap(const struct rotate *rotate, char *text, size_t room);
static bool write_after_gap(struct rotate *rotate, const char *line, size_t size);

int rotate_open(struct rotate *rotate, const char *path, uint64_t max_bytes,
		unsigned keep)
{
	/* A name that leads elsewhere is not new. */
	const int made = open_file(path, O_EXCL);
	const int fd = made == -EEXIST ? open_file(path, 0) : made;
	int r;

	if (fd < 0)
		return fd;
	*rotate = (struct rotate){ .max_bytes = max_bytes,
				   .keep = keep,
				   .fd = fd,
				   .is_new = made >= 0 };
	r = path_absolute(path, &rotate->name);
	if (r < 0)
		rotate->name = NULL;
	else
		r = find_path(rotate);
	if (r < 0) {
		free(rotate->name);
		*rotate = (struct rotate){ .fd = -1 };
		close(fd);
		return r;
	}
	rotate->next_try = max_bytes;
	look(rotate);
	return 0;
}

bool rotate_write(struct rotate *rotate, const char *line, size_t size)
{
	if (++rotate->since_look >= LOOK_LINES ||
	    rotate->size + size > rotate->next_try)
		look(rotate);
	if (rotate->size > 0 && rotate->size + size > rotate->next_try)
		rotate_now(rotate);
	if (rotate->dropped > 0 ? write_after_gap(rotate, line, size)
				: write_whole(rotate, line, size))
		return true;
	rotate->dropped++;
	return false;
}

void rotate_tell(struct rotate *rotate)
{
	char text[GAP_BYTES];

	if (rotate->dropped > 0 &&
	    write_whole(rotate, text, (size_t)name_gap(rotate, text, sizeof(text))))
		rotate->dropped = 0;
}

int rotate_reopen(struct rotate *rotate)
{
	const int fd = open_file(rotate->name, 0);
	const int r = fd < 0 ? fd : find_path(rotate);

	if (r < 0) {
		if (fd >= 0)
			close(fd);
		return r;
	}
	use(rotate, fd);
	return 0;
}

void rotate_stdio(struct rotate *rotate)
{
	rotate->also_stdio = true;
	dup2(rotate->fd, STDOUT_FILENO);
	dup2(rotate->fd, STDERR_FILENO);
}

void rotate_fini(struct rotate *rotate)
{
	if (!rotate->path)
		return;
	rotate_tell(rotate);
	close(rotate->fd);
	free(rotate->name);
	free(rotate->path);
	*rotate = (struct rotate){ .fd = -1 };
}

static int open_file(const char *path, int flags)
{
	const int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY |
				    O_NONBLOCK | flags, 0640);

	if (fd >= 0 && !is_regular(fd)) {
		close(fd);
		return -ENOTSUP;
	}
	/* A FIFO that nobody reads, or a socket. */
	return fd >= 0 ? os_raise_descriptor(fd) : errno == ENXIO ? -ENOTSUP : -errno;
}

static bool is_regular(int fd)
{
	struct stat status;

	return fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
}

/* A link is not what is rotated: or the log would go on beside where it is looked for. On failure
 * all is as it was. */
static int find_path(struct rotate *rotate)
{
	char *path = realpath(rotate->name, NULL);

	/* We may write to where we may not look. */
	if (!path)
		path = strdup(rotate->name);
	if (!path)
		return -ENOMEM;
	free(rotate->path);
	rotate->path = path;
	return 0;
}

/* If anything fails the old file goes on. One that has lost its name, to another
 * who rotates it or who writes it too, is left: its successor is there. */
static void rotate_now(struct rotate *rotate)
{
	const bool ours = is_ours(rotate, rotate->path);
	int fd = -1;

	if (ours && rotate->keep == 0 && ftruncate(rotate->fd, 0) == 0) {
		rotate->next_try = rotate->max_bytes;
		look(rotate);
		return;
	}
	if (!ours || shift_files(rotate))
		fd = open_file(rotate->path, 0);
	if (fd >= 0) {
		use(rotate, fd);
		return;
	}
	if (ours)
		shift_back(rotate);
	rotate->next_try = rotate->size + rotate->max_bytes;
}

/* The oldest first, so that each finds its new name free. */
static bool shift_files(const struct rotate *rotate)
{
	char from[PATH_MAX];
	char to[PATH_MAX];

	if (rotate->keep == 0)
		return false;
	for (unsigned i = rotate->keep; i > 0; i--) {
		const int n = i > 1 ? snprintf(from, sizeof(from), "%s.%u",
					       rotate->path, i - 1)
				    : snprintf(from, sizeof(from), "%s", rotate->path);

		if (n >= (int)sizeof(from) - 16)
			return false;
		snprintf(to, sizeof(to), "%s.%u", rotate->path, i);
		if (rename(from, to) < 0 && (errno != ENOENT || i == 1))
			return false;
	}
	return true;
}

/* There is no new file: who looks for the log shall find it under its name, and
 * the next try shall find it there too. */
static void shift_back(const struct rotate *rotate)
{
	char from[PATH_MAX];
	struct stat status;

	if (snprintf(from, sizeof(from), "%s.1", rotate->path) < (int)sizeof(from) &&
	    is_ours(rotate, from) && lstat(rotate->path, &status) < 0)
		rename(from, rotate->path);
}

static bool is_ours(const struct rotate *rotate, const char *path)
{
	struct stat ours;
	struct stat named;

	return fstat(rotate->fd, &ours) == 0 && stat(path, &named) == 0 &&
	       ours.st_dev == named.st_dev && ours.st_ino == named.st_ino;
}

static void use(struct rotate *rotate, int fd)
{
	close(rotate->fd);
	rotate->fd = fd;
	rotate->next_try = rotate->max_bytes;
	look(rotate);
	if (rotate->also_stdio)
		rotate_stdio(rotate);
}

static void look(struct rotate *rotate)
{
	struct stat status;

	rotate->since_look = 0;
	if (fstat(rotate->fd, &status) == 0)
		rotate->size = (uint64_t)status.st_size;
}

static bool write_whole(struct rotate *rotate, const char *line, size_t size)
{
	size_t done = 0;
	ssize_t n = 0;

	while (done < size) {
		n = write(rotate->fd, line + done, size - done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		done += (size_t)n;
	}
	if (done == size) {
		rotate->size += size;
		return true;
	}
	rotate->error = n < 0 ? errno : EIO;
	if (done > 0) {
		look(rotate);
		if (ftruncate(rotate->fd, (off_t)(rotate->size - done)) == 0)
			rotate->size -= done;
	}
	return false;
}

static int name_gap(const struct rotate *rotate, char *text, size_t room)
{
	return snprintf(text, room, "%llu lines were dropped: %s\n",
			(unsigned long long)rotate->dropped, strerror(rotate->error));
}

/* The count and the line, or neither: where there is room for the count only, it
 * would be told with each line that is lost. */
static bool write_after_gap(struct rotate *rotate, const char *line, size_t size)
{
	char text[GAP_BYTES];
	const int n = name_gap(rotate, text, sizeof(text));

	if (!write_whole(rotate, text, (size_t)n))
		return false;
	if (write_whole(rotate, line, size)) {
		rotate->dropped = 0;
		return true;
	}
	look(rotate);
	if (rotate->size >= (uint64_t)n &&
	    ftruncate(rotate->fd, (off_t)(rotate->size - (uint64_t)n)) == 0)
		rotate->size -= (uint64_t)n;
	return false;
}
