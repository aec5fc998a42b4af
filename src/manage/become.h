/* SPDX-License-Identifier: MIT */
/*
 * How a program becomes what crew_daemon says: detached, with a pidfile, a log
 * file, and another user. In this order, by the caller's hand:
 *
 *   become_hold_signals
 *   become_begin   detach; log file; pidfiles
 *   (the caller opens what needs privileges, and makes its plan)
 *   become_ready   give up privileges
 *   (the caller forks its children)
 *   become_up      tell who started us that we are up
 *   become_watch   keep the pidfile while the loop turns
 *   become_end     remove it, close the log file
 */
#ifndef MANAGE_BECOME_H
#define MANAGE_BECOME_H

#include <crew/supervise.h>

#include "base/loop.h"
#include "base/rotate.h"
#include "daemon/detach.h"
#include "daemon/pidfile.h"
#include "daemon/privileges.h"
#include "supervise/supervise.h"

struct become {
	const struct crew_daemon *daemon;
	sigset_t mask;     /* of the process as it was called */
	struct detach detach;
	struct privileges privileges;
	struct pidfile pidfile;
	struct pidfile group_file;
	struct rotate log;
	int log_stream;    /* instead of `log`, where that is no file; -1: standard error is it */
	struct timer keep;
	bool detached;     /* we are the daemon */
	bool has_pidfile;
	bool has_group_file;
	bool has_log;
	bool has_log_stream;
	bool complained;   /* of a pidfile that cannot be put back */
};

/** First of all: see plan_hold_signals. */
void become_hold_signals(struct become *become);
/** Takes zeroed memory, signals held. 0: go on; 1: this is the process that was called, and the
 * daemon is up; or -errno, also there if the daemon failed. */
int become_begin(struct become *become, const struct crew_daemon *daemon,
		 struct crew_error *ret_error);
/** Give up privileges. The log file, and the files that lines of the plan's children go to, become
 * that user's as far as we have made them; what was there is somebody's, who may have put it
 * there for us to give it away. 0 or -errno. */
int become_ready(struct become *become, struct plan *plan, struct crew_error *ret_error);
/** The first children are there: the daemon is up. */
void become_up(struct become *become);
/** The exit code for what become_begin or become_ready returned. */
int become_exit_code(const struct become *become, int r);
void become_watch(struct become *become, struct loop *loop);
/** Reopen the log file. */
void become_reopen(struct become *become);
/** In the daemon it does not return, but ends the process with this code; `why` (NULL: it just
 * ends) is told to who started it, or logged if it was up. Takes zeroed memory. */
void become_end(struct become *become, int code, const char *why);

#endif
