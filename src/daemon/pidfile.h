/* SPDX-License-Identifier: MIT */
/*
 * A file that holds the number of the process, or of the process group, that
 * runs: "NUMBER\n". While it runs the file is locked, which is what counts; the
 * number is for people and scripts. Whoever else starts is told so.
 */
#ifndef DAEMON_PIDFILE_H
#define DAEMON_PIDFILE_H

#include <stdbool.h>
#include <sys/types.h>

#include <crew/error.h>

struct pidfile {
	char *path; /* absolute */
	int fd;     /* holds the lock; close-on-exec */
	dev_t device;
	ino_t inode;
	pid_t number;
	bool is_group;
};

/**
 * Write and lock the file. `is_group`: the number is a process group's. A file
 * that nobody holds any more is replaced; among any number that start at once,
 * one wins. May sleep for some milliseconds if others start too. Returns 0;
 * -EEXIST if it runs already; -EBADMSG if what is there is no pid file; or -errno.
 * Children made by fork(2) hold the lock too, until they end or close `fd`.
 */
int pidfile_take(struct pidfile *file, const char *path, pid_t number, bool is_group,
		 struct crew_error *error);
/** Look after it, once a second. Returns 0 if all is well; 1 if it had been
 * deleted or replaced, and was put back; -EEXIST if another process holds it by
 * now, and -EBADMSG if it is another kind of file: both are left; or -errno. */
int pidfile_keep(struct pidfile *file);
/** Delete the file if it is still ours, and give up the lock. Takes zeroed
 * memory. Not to be called in a child. */
void pidfile_drop(struct pidfile *file);

#endif
