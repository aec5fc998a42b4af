/* SPDX-License-Identifier: MIT */
/*
 * Leaving the terminal: daemon_detach returns twice, in the process that was
 * called (which waits until the daemon is up, or says why not) and in the
 * daemon. See daemon(7), "SysV Daemons".
 */
#ifndef DAEMON_DETACH_H
#define DAEMON_DETACH_H

#include <stdbool.h>
#include <sys/types.h>

#define DETACH_TEXT_BYTES 500

struct detach {
	pid_t pid;  /* of the daemon; in the process that was called */
	int code;   /* the same: 0 if the daemon is up, else its exit code */
	char text[DETACH_TEXT_BYTES]; /* the same: why not */
	int report; /* in the daemon: until it is up */
};

/** 1 in the process that was called, 0 in the daemon, -errno if there is none.
 * Must be called from a single-threaded process. Blocks. */
int daemon_detach(struct detach *ret_detach);
/** In the daemon: all is well. With `silence` standard output and standard error
 * lead to /dev/null from now on; till now they are those of the terminal. */
void daemon_up(struct detach *detach, bool silence);
/** In the daemon: it will not come up; it should end with this code. */
void daemon_failed(struct detach *detach, int code, const char *text);

#endif
