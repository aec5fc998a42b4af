/* SPDX-License-Identifier: MIT */
/*
 * Leaving the terminal: two forks and setsid(2), and a report to who gave the
 * command. That process waits until the daemon says that it is up or why not,
 * so "crew serve --daemon && echo up" means what it says.
 *
 *	r = daemon_detach(&mask, &detach);
 *	if (r < 0)
 *		return r;                        nothing was started
 *	if (r == 1)
 *		return detach.code;              the process that was called
 *	if (!open_all(&error))                   the daemon, from here on
 *		daemon_failed(&detach, 1, error.text);
 *	daemon_silence(&detach);                 where it has no log file
 *	daemon_up(&detach);                      its children are there
 */
#ifndef DAEMON_DETACH_H
#define DAEMON_DETACH_H

#include <signal.h>
#include <stdbool.h>
#include <sys/types.h>

#define DETACH_TEXT_BYTES 501 /* as much as a struct crew_error can say */

/** Which file a descriptor led to. */
struct detach_stream {
	dev_t device;
	ino_t inode;
};

struct detach {
	/* For the process that was called, and `pid` for the daemon too. */
	pid_t pid;                    /* the daemon's */
	int code;                     /* 0: it is up; else its exit code */
	char text[DETACH_TEXT_BYTES]; /* why it is not up; "" if it is */
	/* For the daemon. */
	bool reports; /* somebody waits for a word */
	int report;   /* the channel to say it through */
	struct detach_stream output; /* descriptors 1 and 2 as they were */
	struct detach_stream error;
};

/**
 * Fork a daemon. Returns 0 in the daemon: in a session of its own but not its
 * leader, its standard input /dev/null, all else as it was. Returns 1 in the
 * calling process, which blocks until the daemon is up, has failed or has
 * died, and has this mask of signals (NULL: its own) from then on. Returns
 * -errno if there is no daemon. The process must have one thread; its stdio
 * buffers are flushed.
 */
int daemon_detach(const sigset_t *mask, struct detach *ret);
/** In the daemon, while somebody waits for a word: point descriptors 1 and 2 at /dev/null,
 * each unless it is a file or the journal, or leads elsewhere by now than at the
 * start. Before children are forked, and before daemon_up: who reads our output to its end is
 * not to wait for a daemon when the caller is gone. Takes zeroed memory. */
void daemon_silence(struct detach *detach);
/** In the daemon: it is up. Takes zeroed memory; a second word is not heard. */
void daemon_up(struct detach *detach);
/** In the daemon: would that take its log away, which goes to standard error? False
 * if it has been /dev/null, or closed, from the start. Takes zeroed memory. */
bool daemon_loses_log(const struct detach *detach);
/** In the daemon, which then should end: it will not come up. A `code` of 0
 * is told as 1; the text is cut at 500 bytes. Takes zeroed memory. */
void daemon_failed(struct detach *detach, int code, const char *text);

#endif
