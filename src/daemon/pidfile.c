/* SPDX-License-Identifier: MIT */
/*
 * Pid files. What always holds: a file of ours is complete and locked before it
 * has its name, so nobody ever sees it empty or free. It is made under another
 * name and linked to its own, which fails if there is one already.
 *
 * A stale file, which nobody holds, must be replaced, and that is where others
 * go wrong: two find it stale, one replaces it, the other then replaces what
 * the first has written. Here a lock on its second byte is the right to replace
 * it. Who has that right looks once more whether the file still has its name,
 * and renames its own file over it. The first byte is the owner's lock. With one
 * lock for both, who only looks would be taken for an owner.
 *
 * The locks belong to the open file (F_OFD_SETLK, fcntl(2)), not to the process:
 * they outlive the forks by which a daemon is made, and end with the last
 * process that holds the file open, however it dies.
 *
 * A file that is not locked is stale, whatever process has its number: who runs
 * this program holds the lock, and numbers are given again, in a container soon
 * and to the same programs. A process group may outlive who has locked its file:
 * with a member it is taken for alive.
 */
#include "daemon/pidfile.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/error.h"
#include "base/os/os.h"
#include "base/path.h"

#define OWNER_BYTE 0
#define CLAIM_BYTE 1
#define NUMBER_BYTES 32
/* A turn is a millisecond, and is lost only while another replaces the file. */
#define TAKE_TURNS 1000
#define KEEP_TURNS 20

static int place(struct pidfile *file, int turns, struct crew_error *error);
static int make(struct pidfile *file, char **ret_path, struct crew_error *error);
static int fill(int fd, pid_t number);
static int settle(const struct pidfile *file, const char *made, int turns,
		  struct crew_error *error);
static int look(const struct pidfile *file, struct crew_error *error);
static int replace(const struct pidfile *file, const char *made,
		   struct crew_error *error);
static int judge(const struct pidfile *file, int fd, struct crew_error *error);
static int read_number(int fd, const struct stat *status, pid_t *ret_number);
static bool is_locked(int fd);
static bool group_lives(const struct pidfile *file, pid_t number);
static int lock(int fd, int byte);
static bool is_named(const struct pidfile *file, int fd);
static int fault(const struct pidfile *file, const char *what, int code,
		 struct crew_error *error);
static int foreign(const struct pidfile *file, mode_t kind, struct crew_error *error);
static const char *advice(int code);

int pidfile_take(struct pidfile *file, const char *path, pid_t number, bool is_group,
		 struct crew_error *error)
{
	struct pidfile taken = { .fd = -1, .number = number, .is_group = is_group };
	int r;

	check(number > 0);
	if (!path || !*path)
		return error_set(error, EINVAL, "the name of the pid file is empty; "
				 "give the file a name, or do without it");
	r = path_absolute(path, &taken.path);
	if (r < 0)
		return error_set(error, -r, "cannot tell where %s is: %s; give the "
				 "pid file an absolute path", path, strerror(-r));
	/* Who may not write here may still be told that it runs. */
	r = look(&taken, error);
	if (r == 0)
		r = place(&taken, TAKE_TURNS, error);
	if (r < 0) {
		free(taken.path);
		return r;
	}
	*file = taken;
	return 0;
}

int pidfile_keep(struct pidfile *file)
{
	struct pidfile next = *file;
	struct stat status;
	int r;

	if (lstat(file->path, &status) == 0) {
		if (status.st_dev == file->device && status.st_ino == file->inode)
			return 0;
	} else if (errno != ENOENT) {
		return -errno;
	}
	r = place(&next, KEEP_TURNS, NULL);
	if (r < 0)
		return r;
	/* Only now: somebody always holds the lock. */
	close(file->fd);
	*file = next;
	return 1;
}

void pidfile_drop(struct pidfile *file)
{
	if (!file->path)
		return;
	/* First the name, then the lock: who finds it free finds it gone. */
	if (is_named(file, file->fd))
		unlink(file->path);
	close(file->fd);
	free(file->path);
	*file = (struct pidfile){ .fd = -1 };
}

/* Have a file of ours under the name; sets fd, device and inode. */
static int place(struct pidfile *file, int turns, struct crew_error *error)
{
	struct pidfile made = *file;
	char *path = NULL;
	int r = make(&made, &path, error);

	if (r < 0)
		return r;
	r = settle(&made, path, turns, error);
	/* Renamed, it is gone already. */
	unlink(path);
	free(path);
	if (r < 0)
		close(made.fd);
	else
		*file = made;
	return r;
}

/* A file in the same directory, as it shall be. */
static int make(struct pidfile *file, char **ret_path, struct crew_error *error)
{
	struct stat status;
	char *path = NULL;
	int r;

	if (asprintf(&path, "%s.XXXXXX", file->path) < 0)
		return fault(file, "write", ENOMEM, error);
	file->fd = mkostemp(path, O_CLOEXEC);
	if (file->fd < 0) {
		r = fault(file, "write", errno, error);
		free(path);
		return r;
	}
	r = lock(file->fd, OWNER_BYTE);
	if (r < 0) {
		r = fault(file, "lock", -r, error);
		goto remove;
	}
	r = fill(file->fd, file->number);
	if (r == 0 && fstat(file->fd, &status) < 0)
		r = -errno;
	if (r < 0) {
		r = fault(file, "write", -r, error);
		goto remove;
	}
	file->device = status.st_dev;
	file->inode = status.st_ino;
	*ret_path = path;
	return 0;

remove:
	close(file->fd);
	unlink(path);
	free(path);
	return r;
}

static int fill(int fd, pid_t number)
{
	char text[NUMBER_BYTES];
	const int size = snprintf(text, sizeof(text), "%d\n", (int)number);
	ssize_t n;

	do
		n = write(fd, text, (size_t)size);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	if (n != size)
		return -ENOSPC;
	return fchmod(fd, 0644) < 0 ? -errno : 0;
}

static int settle(const struct pidfile *file, const char *made, int turns,
		  struct crew_error *error)
{
	int r;

	for (int i = 0; i < turns; i++) {
		if (link(made, file->path) == 0)
			return 0;
		if (errno != EEXIST)
			return fault(file, "write", errno, error);
		r = replace(file, made, error);
		if (r != -EAGAIN)
			return r;
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	}
	return error_set(error, EBUSY, "%s: other processes that start keep this one "
			 "from it; wait a moment and start again", file->path);
}

/* Without changing anything: -EEXIST or -EBADMSG if it cannot be ours. */
static int look(const struct pidfile *file, struct crew_error *error)
{
	/* A pipe has no reader or writer to wait for. */
	const int fd = open(file->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	int r;

	if (fd < 0)
		return errno == ELOOP ? foreign(file, S_IFLNK, error) : 0;
	r = judge(file, fd, error);
	close(fd);
	return r;
}

/* Put ours in the place of a stale one; -EAGAIN if it must be looked at anew. */
static int replace(const struct pidfile *file, const char *made,
		   struct crew_error *error)
{
	const int fd = open(file->path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	int r;

	if (fd < 0 && errno == ENOENT)
		return -EAGAIN;
	if (fd < 0 && (errno == ELOOP || errno == EISDIR))
		return foreign(file, errno == ELOOP ? S_IFLNK : S_IFDIR, error);
	if (fd < 0)
		return fault(file, "replace", errno, error);
	r = judge(file, fd, error);
	if (r < 0)
		goto close;
	r = lock(fd, CLAIM_BYTE);
	if (r == 0 && !is_named(file, fd))
		r = -EAGAIN;
	else if (r < 0 && r != -EAGAIN)
		r = fault(file, "lock", -r, error);
	if (r == 0 && rename(made, file->path) < 0)
		r = fault(file, "replace", errno, error);

close:
	close(fd);
	return r;
}

/* 0: it is stale. */
static int judge(const struct pidfile *file, int fd, struct crew_error *error)
{
	const char *what = file->is_group ? "process group" : "pid";
	struct stat status;
	pid_t number = 0;
	int r = fstat(fd, &status) < 0 ? -errno : read_number(fd, &status, &number);

	if (r == -EBADMSG)
		return foreign(file, status.st_mode & S_IFMT, error);
	if (r < 0)
		return fault(file, "read", -r, error);
	if (!is_locked(fd) && !group_lives(file, number))
		return 0;
	if (number == getpid() || number == file->number)
		return error_set(error, EEXIST, "%s: already running, %s %d, which is "
				 "this one or one in another container; give each a "
				 "file of its own", file->path, what, (int)number);
	return error_set(error, EEXIST, "%s: already running, %s %d", file->path, what,
			 (int)number);
}

/* 0 as a number stands for none: after a power cut a file may be empty or full
 * of NULs. What has other words in it is somebody's, named here by mistake. */
static int read_number(int fd, const struct stat *status, pid_t *ret_number)
{
	char text[NUMBER_BYTES + 1] = "";
	ssize_t n;
	long number;

	if (!S_ISREG(status->st_mode))
		return -EBADMSG;
	n = pread(fd, text, sizeof(text), 0);
	if (n < 0)
		return -errno;
	if (n > NUMBER_BYTES)
		return -EBADMSG;
	for (ssize_t i = 0; i < n; i++) {
		if (text[i] && !strchr("0123456789 \t\r\n", text[i]))
			return -EBADMSG;
	}
	number = strtol(text, NULL, 10);
	*ret_number = number > INT_MAX ? 0 : (pid_t)number;
	return 0;
}

static bool is_locked(int fd)
{
	struct flock lock_now = { .l_type = F_WRLCK,
				  .l_whence = SEEK_SET,
				  .l_start = OWNER_BYTE,
				  .l_len = 1 };

	return fcntl(fd, F_OFD_GETLK, &lock_now) == 0 && lock_now.l_type != F_UNLCK;
}

static bool group_lives(const struct pidfile *file, pid_t number)
{
	/* 0 and 1 are no group that anybody could have written here. */
	if (!file->is_group || number <= 1 || number == file->number)
		return false;
	return number != getpgrp() && os_group_lives(number);
}

static int lock(int fd, int byte)
{
	struct flock wanted = { .l_type = F_WRLCK,
				.l_whence = SEEK_SET,
				.l_start = byte,
				.l_len = 1 };

	if (fcntl(fd, F_OFD_SETLK, &wanted) == 0)
		return 0;
	return errno == EACCES ? -EAGAIN : -errno;
}

/* Does this open file still have the name? */
static bool is_named(const struct pidfile *file, int fd)
{
	struct stat open_one;
	struct stat named;

	return fstat(fd, &open_one) == 0 && lstat(file->path, &named) == 0 &&
	       open_one.st_dev == named.st_dev && open_one.st_ino == named.st_ino;
}

static int fault(const struct pidfile *file, const char *what, int code,
		 struct crew_error *error)
{
	return error_set(error, code, "cannot %s the pid file %s: %s; %s", what,
			 file->path, strerror(code), advice(code));
}

/* What it is must not be guessed: it may be dear to somebody. */
static int foreign(const struct pidfile *file, mode_t kind, struct crew_error *error)
{
	const char *path = file->path;

	if (kind == S_IFDIR)
		return error_set(error, EBADMSG, "the pid file %s is a directory; name a "
				 "file in it", path);
	if (kind == S_IFLNK)
		return error_set(error, EBADMSG, "the pid file %s is a symbolic link, which is "
				 "not followed; name the file itself", path);
	return error_set(error, EBADMSG, "%s is there but is no pid file; choose another path, "
			 "or remove it if nobody needs it", path);
}

static const char *advice(int code)
{
	switch (code) {
	case ENOENT:
	case ENOTDIR:
		return "create its directory, or choose another path";
	case EACCES:
	case EPERM:
		return "start as a user who may write to it and to its directory, or "
		       "choose another path";
	case EROFS:
		return "choose a path on a file system that can be written to";
	case ENOSPC:
	case EDQUOT:
		return "make room on its file system, or choose another path";
	case ENAMETOOLONG:
		return "choose a shorter path";
	case EINVAL:
	case ENOLCK:
	case EOPNOTSUPP:
		return "choose a path on a local file system, which can lock files";
	default:
		return "choose another path";
	}
}
