/* SPDX-License-Identifier: MIT */
/*
 * Bodies are kept by the dispatcher until a worker has answered: a request
 * whose worker dies before taking it must be there, whole, for the next one.
 * So that slow uploads do not fill the dispatcher's memory, a body above
 * SPILL_BYTES moves to an unlinked file in TMPDIR. To write it there and to read it
 * again is a third of all that such a request takes, so some whose lengths are announced
 * may stay: as many as do not hold more than LARGE_BODIES_BYTES together.
 */
#include "dispatch/body.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/os/os.h"
#include "dispatch/limits.h"

/* Of this process, whose bodies are one thread's. */
static size_t all_promised;

static int spill(struct body *body);
static int open_unnamed(const char *directory);
static bool fits(const struct body *body, size_t size);
static void drop_memory(struct body *body);

void body_expect(struct body *body, uint64_t size)
{
	if (size <= SPILL_BYTES || size > LARGE_BODY_BYTES ||
	    all_promised == LARGE_BODIES_BYTES ||
	    !buffer_reserve(&body->memory, (size_t)size))
		return;
	if (body->memory.room > LARGE_BODIES_BYTES - all_promised) {
		buffer_fini(&body->memory);
		return;
	}
	body->promised = body->memory.room;
	all_promised += body->promised;
}

char *body_place(struct body *body, size_t size)
{
	return body->promised && fits(body, size) ? buffer_reserve(&body->memory, size)
						  : NULL;
}

int body_append(struct body *body, const void *data, size_t size)
{
	int r;

	if (!body->fd && !fits(body, size)) {
		r = spill(body);
		if (r < 0)
			return r;
	}
	if (body->fd) {
		r = os_write_all(body->fd - 1, data, size);
		if (r < 0)
			return r;
	} else if (data == body->memory.data + body->memory.end) {
		body->memory.end += size;
	} else if (!buffer_append(&body->memory, data, size)) {
		return -ENOMEM;
	}
	body->size += size;
	return 0;
}

int body_read(const struct body *body, uint64_t offset, void *ret, size_t size)
{
	size_t done = 0;
	ssize_t n;

	if (!body->fd) {
		memcpy(ret, body->memory.data + body->memory.start + offset, size);
		return 0;
	}
	while (done < size) {
		n = pread(body->fd - 1, (char *)ret + done, size - done,
			  (off_t)(offset + done));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		done += (size_t)n;
	}
	return 0;
}

void body_fini(struct body *body)
{
	drop_memory(body);
	if (body->fd)
		close(body->fd - 1);
	*body = (struct body){ 0 };
}

const char *body_directory(void)
{
	const char *directory = getenv("TMPDIR");

	return directory && *directory ? directory : "/tmp";
}

static int spill(struct body *body)
{
	struct span held = buffer_span(&body->memory);
	int fd = open_unnamed(body_directory());
	int r;

	if (fd < 0)
		return fd;
	r = os_write_all(fd, held.at, held.size);
	if (r < 0) {
		close(fd);
		return r;
	}
	drop_memory(body);
	body->fd = fd + 1;
	return 0;
}

/* Not every file system knows files that never had a name (open(2)): overlayfs does since
 * Linux 6.10, NFS does not. */
static int open_unnamed(const char *directory)
{
	char name[PATH_MAX];
	int fd = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL))
		return fd < 0 ? -errno : fd;
	if ((size_t)snprintf(name, sizeof(name), "%s/crew-XXXXXX", directory) >= sizeof(name))
		return -ENAMETOOLONG;
	fd = mkostemp(name, O_CLOEXEC);
	if (fd < 0)
		return -errno;
	(void)unlink(name);
	return fd;
}

static bool fits(const struct body *body, size_t size)
{
	return body->size + size <= SPILL_BYTES || body->size + size <= body->promised;
}

static void drop_memory(struct body *body)
{
	buffer_fini(&body->memory);
	all_promised -= body->promised;
	body->promised = 0;
}
