/* SPDX-License-Identifier: MIT */
/*
 * The supervisor: keeps groups of children running. It knows nothing of HTTP.
 * It lives in the parent; each child is forked from it (or is a thread of a
 * process that is) and gets a channel to it, a line of the scoreboard, and
 * pipes for its standard streams.
 *
 * A group says what <crew/supervise.h> lets a user say, and more: hooks of the
 * rooms above, by which pools and the dispatcher are groups like any other.
 * A plan is stepped by an event loop: its own (plan_run) or, since a loop is
 * one descriptor, any other. It is used from one thread only.
 */
#ifndef SUPERVISE_SUPERVISE_H
#define SUPERVISE_SUPERVISE_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <crew/supervise.h>

#include "base/loop.h"
#include "supervise/scoreboard.h"
#include "supervise/self.h"

#define READY_MESSAGE "RDY"
#define LEAVE_MESSAGE "BYE" /* somebody else asks it to stop, or it cannot go on */
#define DONE_MESSAGE "OLD"  /* it has done its share: another is to take its place, in time */

struct plan;
struct rotate;
struct place;
struct child;

/** A number of children that do the same. */
struct group {
	struct crew_group is; /* as the user said it; plan_new fills in what a zero
				 means */
	/* The code has an event loop of its own: SIGTERM makes stop_fd readable,
	 * SIGINT is ignored, nothing is interrupted. */
	bool raw;
	/* From SIGTERM until SIGKILL where only this child is to go (reload, scaling)
	 * and the others stay, or from when it said last that it goes on (its line's
	 * alive_ms); 0: is.stop_timeout_ms. */
	unsigned retire_timeout_ms;
	/* Descriptors, given by the caller, that children keep besides. */
	int (*keep)(const struct crew_child *self, int *ret_fds, int room);

	/* In the parent; all may be NULL. `context` is plan_new's. */
	void (*pre_fork)(void *context, unsigned group, unsigned index);
	void (*spawned)(void *context, struct child *child);
	void (*ready)(void *context, struct child *child);
	/* It is going to be told to stop, its successor being ready, or its place
	 * being removed. */
	void (*retiring)(void *context, struct child *child);
	void (*message)(void *context, struct child *child, const void *data,
			size_t size, int *fds, size_t fd_count);
	void (*died)(void *context, struct child *child,
		     const struct crew_death *death);
	void (*degraded)(void *context, unsigned group, bool degraded);
};

/** A life of a child, as the parent knows it. Read only for callers but `user`. */
struct child {
	struct plan *plan;
	const struct group *group;
	unsigned group_index;
	unsigned index;
	unsigned generation;
	unsigned line;
	pid_t pid;
	int pidfd;       /* -1: a thread */
	int channel;     /* parent's end */
	void *user;
	struct score *score;
};

struct plan_options {
	const struct group *groups; /* copied */
	unsigned group_count;
	void *context;
	/* Signals are read by the plan: see crew_supervise. */
	bool take_signals;
	/* Use as many descriptors as the system allows; processes of groups that are
	 * not `raw` get the limit that was found, since programs that use select(2) rely
	 * on it (threads do not: their host takes descriptors for them). */
	bool raise_descriptors;
	/* Called when the plan begins to stop; before any child is told. */
	void (*stopping)(void *context);
	/* As in struct crew_plan. */
	unsigned log_repeat_ms;
	/* On SIGUSR1, after the plan's own files were reopened. */
	void (*reopen)(void *context);
};

/** First of all in a process whose signals the plan will take: HUP, TTIN, TTOU and USR1, and USR2
 * where that would end it, wait until it has, instead of ending or stopping a start. Those that
 * ask for the end do not: a start may wait, as for a name. `ret_before`: the mask that was. */
void plan_hold_signals(sigset_t *ret_before);
/** Make a plan; nothing is forked yet. 0 or -errno; `ret_error` (may be NULL) says why, and of
 * which file. */
int plan_new(const struct plan_options *options, struct plan **ret_plan,
	     struct crew_error *ret_error);
/** Call back with each file that lines of children go to. */
void plan_each_file(struct plan *plan, void (*call)(void *context, struct rotate *file),
		    void *context);
/** Somebody has put other files in the place of our standard streams: let go of a terminal that
 * was there. */
void plan_follow(struct plan *plan);
/** Fork all children (as many as may be booting at once). 0 or -errno. */
int plan_start(struct plan *plan);
/** The loop on which it runs; add watches to it. */
struct loop *plan_loop(struct plan *plan);
/** Begin to stop: groups in order, SIGTERM, then SIGKILL after the group's
 * timeout. */
void plan_stop(struct plan *plan);
/** Kill all at once. */
void plan_kill(struct plan *plan);
bool plan_stopping(const struct plan *plan);
/** All children are gone and the plan was asked to stop, or gave up. */
bool plan_done(const struct plan *plan);
/** Turn the loop until it is done. Returns plan_exit_code, or -errno. */
int plan_run(struct plan *plan);
/** CREW_EXIT_OK, or CREW_EXIT_GAVE_UP if the first children of a group never
 * became ready (their last lines are logged). */
int plan_exit_code(const struct plan *plan);
/** Kill who is left, and wait for it. Harmless with NULL. */
void plan_end(struct plan *plan);
/** plan_end, and free it. */
void plan_free(struct plan *plan);

/** Kill a child and bury it under this cause. A thread that is STUCK is
 * replaced instead; for any other cause its host is killed. */
void plan_condemn(struct plan *plan, struct child *child, enum crew_cause cause);
/** The child that fills that place now, or NULL. */
struct child *plan_child(struct plan *plan, unsigned group, unsigned index);
/** That life of a child, whether it fills its place or is leaving; or NULL. */
struct child *plan_life(struct plan *plan, unsigned group, unsigned index,
			unsigned generation);
/** Call back with each life of a group, hosts of threads apart. */
void plan_each(struct plan *plan, unsigned group,
	       void (*call)(void *context, struct child *child), void *context);
/** Was it ready, and is not told to stop? */
bool child_is_up(const struct child *child);
/** The group of that name; -ENOENT. */
int plan_group_named(const struct plan *plan, const char *name);
/** Restarts of a group's children so far. */
uint64_t plan_restarts(const struct plan *plan, unsigned group);
bool plan_degraded(const struct plan *plan, unsigned group);

typedef void plan_gone(void *context, const struct crew_death *death,
		       void *argument);
/** As crew_plan_add, crew_plan_remove…, by the group's number. */
int plan_add(struct plan *plan, unsigned group, unsigned index);
int plan_remove(struct plan *plan, unsigned group, unsigned index, int signal,
		plan_gone *gone, void *argument);
int plan_signal(struct plan *plan, unsigned group, unsigned index, int signal);
ssize_t plan_send(struct plan *plan, unsigned group, unsigned index,
		  const void *data, size_t size);
void plan_reload(struct plan *plan, unsigned group);
/** Reload all groups that are not fixed. */
void plan_reload_all(struct plan *plan);
/** So many children more of a group, or fewer, as far as may be: at most as for crew_plan_add, and
 * one is left. What is done is logged; nothing once the plan is stopping. */
void plan_scale(struct plan *plan, unsigned group, int by);
void plan_reopen(struct plan *plan);
/** What children of a group (-1: all, and the parent) are to log from now on. */
void plan_set_log_level(struct plan *plan, int group, int level);
size_t plan_children(const struct plan *plan, struct crew_child_info *ret_children,
		     size_t room);
void plan_child_info(const struct child *child, struct crew_child_info *ret_info);
size_t plan_deaths(const struct plan *plan, struct crew_death *ret_deaths,
		   size_t room);

#endif
