/* SPDX-License-Identifier: MIT */
/*
 * Beneath a mount's directory. The kernel resolves a path, and lets it lead out neither by
 * links nor by dots (openat2(2)). Where that call is refused, as by systemd's
 * RestrictSUIDSGID= and some containers, the folders are opened one by one and no link is
 * followed: to follow one safely would be to do by hand what the kernel does there. Which of
 * the two it is is found out once, before anybody is forked, since a filter of system calls
 * stays.
 *
 * A directory that was removed, as by "rm -rf dist && make", still is what its descriptor
 * names, empty for ever. Only its name leads to the next one.
 */
#include "dispatch/root.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/os/os.h"
#include "base/span.h"

/* While anything is renamed anywhere, a link with dots in it fails in one of some hundred
 * times. */
#define OPEN_TRIES 16
#define ROOT_FLAGS (O_PATH | O_DIRECTORY | O_CLOEXEC)
#define FILE_FLAGS (O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK)

/* Of this process and all that are forked from it: what openat2(2) fails with, or 0. */
static int refusal;

static bool was_removed(int root_fd);
static int resolve(int root_fd, const char *path, unsigned flags);
static int walk(int root_fd, const char *path);
static int step(int folder, struct span name, int flags);

int root_open(const char *directory)
{
	const int fd = open(directory, ROOT_FLAGS);
	int probe;

	if (fd < 0)
		return -errno;
	probe = resolve(fd, ".", ROOT_FLAGS);
	if (probe == -ENOSYS || probe == -EPERM)
		refusal = -probe;
	if (probe >= 0)
		close(probe);
	return fd;
}

int root_refuses_links(void)
{
	return refusal;
}

int root_find(int root_fd, const char *path)
{
	return refusal ? walk(root_fd, path) : resolve(root_fd, path, FILE_FLAGS);
}

int root_renew(int root_fd, const char *directory)
{
	int fd;
	int r = 1;

	if (!was_removed(root_fd))
		return 0;
	fd = open(directory, ROOT_FLAGS);
	if (fd >= 0 && os_same_file(fd, root_fd)) {
		close(fd);
		return 0;
	}
	if (fd < 0 || dup3(fd, root_fd, O_CLOEXEC) < 0)
		r = -errno;
	if (fd >= 0)
		close(fd);
	return r;
}

/* On file systems that do not count (overlayfs, btrfs) a directory has one link, there or not.
 * Then its path says so; or it is the directory's name that ends like that. */
static bool was_removed(int root_fd)
{
	static const char mark[] = " (deleted)";
	char name[PATH_MAX];
	char path[32];
	struct stat status;
	ssize_t size;

	if (fstat(root_fd, &status) < 0 || status.st_nlink > 1)
		return false;
	if (status.st_nlink == 0)
		return true;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", root_fd);
	size = readlink(path, name, sizeof(name));
	return size >= (ssize_t)strlen(mark) &&
	       memcmp(name + size - strlen(mark), mark, strlen(mark)) == 0;
}

static int resolve(int root_fd, const char *path, unsigned flags)
{
	struct open_how how = {
		.flags = flags,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
	};
	long fd;

	for (int i = 0; i < OPEN_TRIES; i++) {
		fd = syscall(SYS_openat2, root_fd, path, &how, sizeof(how));
		if (fd >= 0 || errno != EAGAIN)
			break;
	}
	return fd < 0 ? -errno : (int)fd;
}

static int walk(int root_fd, const char *path)
{
	int folder = root_fd;
	int fd = -ENOENT;

	while (*path) {
		const struct span name = { path, strcspn(path, "/") };

		path += name.size;
		path += strspn(path, "/");
		fd = step(folder, name, *path ? ROOT_FLAGS : FILE_FLAGS);
		if (folder != root_fd)
			close(folder);
		if (fd < 0)
			break;
		folder = fd;
	}
	return fd;
}

static int step(int folder, struct span name, int flags)
{
	char text[NAME_MAX + 1];
	int fd;

	if (name.size > NAME_MAX)
		return -ENAMETOOLONG;
	if (span_equal(name, span_of("..")))
		return -EXDEV;
	memcpy(text, name.at, name.size);
	text[name.size] = '\0';
	fd = openat(folder, text, flags | O_NOFOLLOW);
	return fd < 0 ? -errno : fd;
}
