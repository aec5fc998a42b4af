/* SPDX-License-Identifier: MIT */
/*
 * Pidfiles, by locks of open file descriptions (fcntl(2), F_OFD_SETLK): these go
 * over a fork, and end with the last process that holds them. The file is made
 * under another name, written, locked, and only then linked into place: nobody
 * ever sees one that is empty, or not locked. If an old file is in the way that
 * nobody holds, it is locked first and checked to be still in place: so of
 * several starters that find it, one gets it, and the others find his.
 */
#include "daemon/pidfile.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"

#define TRIES 100

static int make(const struct pidfile *pidfile, char **ret_name);
static int put(struct pidfile *pidfile);
static int replace_stale(struct pidfile *pidfile, const char *made);
static bool lock(int fd);
static bool in_place(int fd, const char *path);
static pid_t read_number(int fd);
static bool runs(const struct pidfile *pidfile, pid_t number);
static int tell_owner(const struct pidfile *pidfile, struct crew_error *ret_error);
static char *absolute(const char *path);

int pidfile_take(struct pidfile *pidfile, const char *path, pid_t number,
		 bool is_group, struct crew_error *ret_error)
{
	int r;

	*pidfile = (struct pidfile){ .path = absolute(path), .number = number,
				     .fd = -1, .is_group = is_group };
	r = pidfile->path ? put(pidfile) : -ENOMEM;
	if (r == 0)
		return 0;
	if (r == -EEXIST)
		tell_owner(pidfile, ret_error);
	else
		error_set(ret_error, -r, "cannot write the pidfile %s: %s; does its "
			  "directory exist, and may you write there?", path,
			  strerror(-r));
	free(pidfile->path);
	*pidfile = (struct pidfile){ .fd = -1 };
	return r;
}

int pidfile_keep(struct pidfile *pidfile)
{
	const int old = pidfile->fd;
	int r;

	if (in_place(old, pidfile->path))
		return 0;
	r = put(pidfile);
	if (r < 0) {
		pidfile->fd = old;
		return r;
	}
	close(old);
	return 1;
}

void pidfile_drop(struct pidfile *pidfile)
{
	if (!pidfile->path)
		return;
	/* Where the directory is no longer ours, an empty file must do. */
	if (in_place(pidfile->fd, pidfile->path) && unlink(pidfile->path) < 0)
		(void)!ftruncate(pidfile->fd, 0);
	close(pidfile->fd);
	free(pidfile->path);
	*pidfile = (struct pidfile){ .fd = -1 };
}

/* A file of our own beside the place, written and locked; returns its fd. */
static int make(const struct pidfile *pidfile, char **ret_name)
{
	char text[24];
	char *name;
	int size;
	int fd;
	int r;

	if (asprintf(&name, "%s.%d.XXXXXX", pidfile->path, (int)getpid()) < 0)
		return -ENOMEM;
	fd = mkostemp(name, O_CLOEXEC);
	if (fd < 0) {
		r = -errno;
		free(name);
		return r;
	}
	size = snprintf(text, sizeof(text), "%d\n", (int)pidfile->number);
	if (fchmod(fd, 0644) < 0 || !lock(fd) || write(fd, text, (size_t)size) != size) {
		r = errno ? -errno : -EIO;
		unlink(name);
		close(fd);
		free(name);
		return r;
	}
	*ret_name = name;
	return fd;
}

static int put(struct pidfile *pidfile)
{
	char *made = NULL;
	int r = -EEXIST;
	int fd = make(pidfile, &made);

	if (fd < 0)
		return fd;
	pidfile->fd = fd;
	for (int i = 0; i < TRIES; i++) {
		if (link(made, pidfile->path) == 0) {
			unlink(made);
			free(made);
			return 0;
		}
		r = -errno;
		if (r == -EEXIST)
			r = replace_stale(pidfile, made);
		if (r != -EAGAIN)
			break;
	}
	if (r != 0) {
		unlink(made);
		close(fd);
		pidfile->fd = -1;
	}
	free(made);
	return r;
}

/* Something is in place. -EAGAIN: no more. */
static int replace_stale(struct pidfile *pidfile, const char *made)
{
	const int old = open(pidfile->path, O_RDWR | O_CLOEXEC | O_NOCTTY);
	int r;

	if (old < 0)
		return errno == ENOENT ? -EAGAIN : -errno;
	if (!lock(old))
		r = in_place(old, pidfile->path) ? -EEXIST : -EAGAIN;
	else if (!in_place(old, pidfile->path))
		r = -EAGAIN;
	else if (runs(pidfile, read_number(old)))
		r = -EEXIST;
	else
		r = rename(made, pidfile->path) < 0 ? -errno : 0;
	close(old);
	return r;
}

static bool lock(int fd)
{
	struct flock whole = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	return fcntl(fd, F_OFD_SETLK, &whole) == 0;
}

static bool in_place(int fd, const char *path)
{
	struct stat held;
	struct stat there;

	return fstat(fd, &held) == 0 && stat(path, &there) == 0 &&
	       held.st_dev == there.st_dev && held.st_ino == there.st_ino;
}

static pid_t read_number(int fd)
{
	char text[24];
	const ssize_t n = pread(fd, text, sizeof(text) - 1, 0);

	if (n <= 0)
		return 0;
	text[n] = '\0';
	return (pid_t)strtol(text, NULL, 10);
}

/* A file that nobody locked may still be that of somebody who does not lock: a
 * living process of the same program, or a process group that has members. */
static bool runs(const struct pidfile *pidfile, pid_t number)
{
	struct stat ours;
	struct stat theirs;
	char path[40];

	if (number <= 1 || number == getpid() || number == pidfile->number)
		return false;
	if (pidfile->is_group)
		return kill(-number, 0) == 0 || errno == EPERM;
	snprintf(path, sizeof(path), "/proc/%d/exe", (int)number);
	return stat("/proc/self/exe", &ours) == 0 && stat(path, &theirs) == 0 &&
	       ours.st_dev == theirs.st_dev && ours.st_ino == theirs.st_ino;
}

static int tell_owner(const struct pidfile *pidfile, struct crew_error *ret_error)
{
	const int fd = open(pidfile->path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	const pid_t number = fd < 0 ? 0 : read_number(fd);

	if (fd >= 0)
		close(fd);
	return error_set(ret_error, EEXIST, "%s: already running, %s %d",
			 pidfile->path, pidfile->is_group ? "process group" : "pid",
			 (int)number);
}

/* A daemon changes its directory later. */
static char *absolute(const char *path)
{
	char *here;
	char *whole = NULL;

	if (path[0] == '/')
		return strdup(path);
	here = getcwd(NULL, 0);
	if (here && asprintf(&whole, "%s/%s", here, path) < 0)
		whole = NULL;
	free(here);
	return whole;
}
