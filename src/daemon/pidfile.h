/* SPDX-License-Identifier: MIT */
/*
 * A pidfile: a file with one number, which is locked for as long as somebody
 * lives who holds it. The lock says who runs, not the number: so a number that
 * the system gave to another process since is never mistaken for the owner.
 */
#ifndef DAEMON_PIDFILE_H
#define DAEMON_PIDFILE_H

#include <stdbool.h>
#include <sys/types.h>

#include <crew/error.h>

struct pidfile {
	char *path; /* absolute */
	pid_t number;
	int fd;     /* close-on-exec; a fork inherits the lock with it */
	bool is_group;
};

/** Write the number of a process, or of a process group, to the file and lock
 * it. -EEXIST: somebody runs already; the text says who. Or -errno. */
int pidfile_take(struct pidfile *pidfile, const char *path, pid_t number,
		 bool is_group, struct crew_error *ret_error);
/** Put it back if somebody deleted it: 1. All is well: 0. -EEXIST: it is another
 * one's by now; or -errno. */
int pidfile_keep(struct pidfile *pidfile);
/** Delete it, if it is still ours; takes zeroed memory. */
void pidfile_drop(struct pidfile *pidfile);

#endif
