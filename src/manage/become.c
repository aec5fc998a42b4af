/* SPDX-License-Identifier: MIT */
/*
 * Becoming a daemon, step by step; see become.h. What fails before the daemon
 * is up is told where the command was given. What fails later is logged, and
 * the service goes on: a pidfile is not worth an outage.
 */
#include "manage/become.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/os/os.h"
#include "supervise/limits.h"

#define KEEP_MS 1000u

static int detach(struct become *become, struct crew_error *ret_error);
static int open_log(struct become *become, struct crew_error *ret_error);
static int open_log_stream(const char *name, struct crew_error *ret_error);
static int standard_stream(const char *name);
static int use_log_stream(struct become *become, struct crew_error *ret_error);
static void close_log_stream(struct become *become);
static int take_streams(struct become *become, struct crew_error *ret_error);
static void give_file(void *become, struct rotate *file);
static void look_at_file(void *become, struct rotate *file);
static bool has_log(const struct become *become);
static int take_files(struct become *become, struct crew_error *ret_error);
static void keep_files(struct loop *loop, struct timer *timer);
static void keep(struct become *become, struct pidfile *file, const char *path);

void become_hold_signals(struct become *become)
{
	plan_hold_signals(&become->mask);
}

int become_begin(struct become *become, const struct crew_daemon *daemon,
		 struct crew_error *ret_error)
{
	int r;

	become->daemon = daemon;
	become->keep.fire = keep_files;
	r = privileges_find(daemon->user, daemon->group, &become->privileges,
			    ret_error);
	if (r < 0)
		return r;
	/* Before the directory changes, so that relative names mean what they
	 * meant to who wrote them. */
	r = open_log(become, ret_error);
	if (r < 0)
		return r;
	if (daemon->detach) {
		r = detach(become, ret_error);
		if (r != 0)
			return r;
	}
	r = take_files(become, ret_error);
	if (r < 0)
		return r;
	if (become->has_log)
		log_to_file(&become->log);
	r = become->has_log_stream ? use_log_stream(become, ret_error) : 0;
	if (r < 0)
		return r;
	if (daemon->detach || daemon->directory) {
		const char *directory = daemon->directory ? daemon->directory : "/";

		if (chdir(directory) < 0)
			return error_set(ret_error, errno,
					 "cannot change to directory %s: %s; name one "
					 "that is there and that you may enter",
					 directory, strerror(errno));
	}
	return 0;
}

int become_ready(struct become *become, struct plan *plan, struct crew_error *ret_error)
{
	int r;

	plan_each_file(plan, give_file, become);
	if (become->has_log)
		give_file(become, &become->log);
	r = privileges_drop(&become->privileges, ret_error);
	if (r < 0)
		return r;
	if (become->has_log)
		look_at_file(become, &become->log);
	r = take_streams(become, ret_error);
	if (r < 0)
		return r;
	plan_follow(plan);
	plan_each_file(plan, look_at_file, become);
	return 0;
}

static int take_streams(struct become *become, struct crew_error *ret_error)
{
	/* From here on also what libraries print goes there. */
	if (become->has_log) {
		become->log.also_stdio = true;
		rotate_stdio(&become->log);
	}
	if (become->has_log_stream && dup2(STDERR_FILENO, STDOUT_FILENO) < 0)
		return error_set(ret_error, errno, "standard output: %s", strerror(errno));
	if (become->detached && !has_log(become) && !log_is_taken() &&
	    daemon_loses_log(&become->detach))
		log_warning("a daemon without a log file: its log goes nowhere, since standard "
			    "error is no file and not the journal");
	/* Before the first fork: children are to keep no output of the caller's open. */
	if (become->detached && !has_log(become))
		daemon_silence(&become->detach);
	return 0;
}

void become_up(struct become *become)
{
	if (become->detached)
		daemon_up(&become->detach);
}

int become_exit_code(const struct become *become, int r)
{
	if (!become->detached && become->detach.code)
		return become->detach.code; /* the daemon's */
	return r == -EINVAL ? CREW_EXIT_USAGE : CREW_EXIT_FAILED;
}

void become_watch(struct become *become, struct loop *loop)
{
	if (become->has_pidfile || become->has_group_file)
		loop_timer_set(loop, &become->keep, clock_now_ms() + KEEP_MS);
}

void become_reopen(struct become *become)
{
	int r = become->has_log ? rotate_reopen(&become->log) : 0;

	if (r < 0)
		log_error("cannot reopen the log file %s: %s; writing to the old one",
			  become->daemon->log_file, strerror(-r));
}

void become_end(struct become *become, int code, const char *why)
{
	/* Nobody else hears it any more. */
	if (why && become->detached && !become->detach.reports)
		log_critical("%s", why);
	if (become->has_pidfile)
		pidfile_drop(&become->pidfile);
	if (become->has_group_file)
		pidfile_drop(&become->group_file);
	if (become->has_log) {
		log_to_file(NULL);
		rotate_fini(&become->log);
	}
	close_log_stream(become);
	if (!become->detached)
		return;
	if (why)
		daemon_failed(&become->detach, code, why);
	fflush(NULL);
	_exit(code);
}

/* What was there is somebody's. */
static void give_file(void *become, struct rotate *file)
{
	const struct privileges *to = &((const struct become *)become)->privileges;

	if (to->wanted && file->is_new && fchown(file->fd, to->uid, to->gid) < 0)
		log_warning("the log file %s cannot be given to user %s: %s", file->path,
			    to->user, strerror(errno));
}

/* To rotate is to rename files, and to make new ones. */
static void look_at_file(void *become, struct rotate *file)
{
	const struct privileges *to = &((const struct become *)become)->privileges;
	char *copy = to->wanted ? strdup(file->path) : NULL;

	if (copy && access(dirname(copy), W_OK) < 0)
		log_warning("the log file %s cannot be rotated: user %s may not write to its "
			    "directory", file->path, to->user);
	free(copy);
}

static bool has_log(const struct become *become)
{
	return become->has_log || become->has_log_stream;
}

static int detach(struct become *become, struct crew_error *ret_error)
{
	int r = daemon_detach(&become->mask, &become->detach);

	if (r < 0)
		return error_set(ret_error, -r, "cannot become a daemon: %s",
				 strerror(-r));
	if (r == 0) {
		become->detached = true;
		return 0;
	}
	/* The process that was called: only the daemon keeps the log file. */
	if (become->has_log)
		rotate_fini(&become->log);
	become->has_log = false;
	close_log_stream(become);
	if (become->detach.code == 0)
		return 1;
	return error_set(ret_error, ECHILD, "%s", become->detach.text);
}

static int open_log(struct become *become, struct crew_error *ret_error)
{
	const struct crew_daemon *daemon = become->daemon;
	int r;

	if (!daemon->log_file)
		return 0;
	/* Whatever these are, they are not ours to rotate. */
	r = standard_stream(daemon->log_file) >= 0 ? -ENOTSUP :
	    rotate_open(&become->log, daemon->log_file,
			daemon->log_max_bytes ? daemon->log_max_bytes : ROTATE_BYTES,
			daemon->log_keep ? daemon->log_keep : ROTATE_KEEP);
	become->has_log = r == 0;
	if (r != -ENOTSUP)
		return r < 0 ? error_set(ret_error, -r, "cannot open the log file %s: %s; %s",
					 daemon->log_file, strerror(-r),
					 r == -EISDIR ? "name a file in it"
						      : "does its directory exist, and may "
							"you write there?")
			     : 0;
	r = open_log_stream(daemon->log_file, ret_error);
	if (r < 0)
		return r;
	become->has_log_stream = true;
	become->log_stream = r;
	return 0;
}

/* As in a container, where standard output is the log. */
static int open_log_stream(const char *name, struct crew_error *ret_error)
{
	const int standard = standard_stream(name);
	const int fd = standard >= 0 ? fcntl(standard, F_DUPFD_CLOEXEC, STDERR_FILENO + 1)
				     : open(name, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOCTTY |
							  O_NONBLOCK);

	if (fd >= 0)
		return os_raise_descriptor(fd);
	return error_set(ret_error, errno, "cannot open the log file %s: %s", name,
			 errno == ENXIO ? "it is a FIFO that nobody reads, or a socket; for that "
					  "of standard output use /dev/stdout"
					: strerror(errno));
}

static int standard_stream(const char *name)
{
	return strcmp(name, "/dev/stdout") == 0	  ? STDOUT_FILENO
	       : strcmp(name, "/dev/stderr") == 0 ? STDERR_FILENO
						  : -1;
}

/* The log never waits for who reads standard error, whatever that is: so it becomes that. */
static int use_log_stream(struct become *become, struct crew_error *ret_error)
{
	const int r = dup2(become->log_stream, STDERR_FILENO) < 0 ? -errno : 0;

	if (r < 0)
		return error_set(ret_error, -r, "standard error: %s", strerror(-r));
	close(become->log_stream);
	become->log_stream = -1;
	log_init();
	return 0;
}

static void close_log_stream(struct become *become)
{
	if (become->has_log_stream && become->log_stream >= 0)
		close(become->log_stream);
	become->has_log_stream = false;
}

static int take_files(struct become *become, struct crew_error *ret_error)
{
	const struct crew_daemon *daemon = become->daemon;
	int r;

	if (daemon->pidfile) {
		r = pidfile_take(&become->pidfile, daemon->pidfile, getpid(), false,
				 ret_error);
		if (r < 0)
			return r;
		become->has_pidfile = true;
	}
	if (daemon->group_file) {
		r = pidfile_take(&become->group_file, daemon->group_file, getpgrp(),
				 true, ret_error);
		if (r < 0)
			return r;
		become->has_group_file = true;
	}
	return 0;
}

static void keep_files(struct loop *loop, struct timer *timer)
{
	struct become *become = container_of(timer, struct become, keep);

	if (become->has_pidfile)
		keep(become, &become->pidfile, become->daemon->pidfile);
	if (become->has_group_file)
		keep(become, &become->group_file, become->daemon->group_file);
	loop_timer_set(loop, timer, loop->now_ms + KEEP_MS);
}

static void keep(struct become *become, struct pidfile *file, const char *path)
{
	int r = pidfile_keep(file);

	if (r == 1)
		log_warning("somebody deleted %s: it was put back", path);
	if (r >= 0)
		return;
	if (!become->complained)
		log_error("cannot put %s back: %s", path,
			  r == -EEXIST	 ? "another process holds it"
			  : r == -EBADMSG ? "what is there is no pid file"
					  : strerror(-r));
	become->complained = true;
}
