/* SPDX-License-Identifier: MIT */
/*
 * The supervisor: keeps groups of children running. It knows nothing of HTTP.
 * It lives in the parent, which is single-threaded; each child is forked from
 * it and gets a channel to it, a line of the scoreboard, and pipes for its
 * standard streams, whose lines the parent logs in the child's name.
 *
 * A plan is stepped by an event loop: its own (supervise_run) or, since a loop
 * is one descriptor, any other.
 */
#ifndef SUPERVISE_SUPERVISE_H
#define SUPERVISE_SUPERVISE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/loop.h"
#include "supervise/scoreboard.h"

enum death_cause {
	DEATH_EXIT = 0,     /* by itself; exit code in `detail` */
	DEATH_SIGNAL,       /* signal number in `detail` */
	DEATH_BOOT_TIMEOUT, /* killed: was not ready in time */
	DEATH_STUCK,        /* killed: heart stood still */
	DEATH_REQUEST_TIMEOUT, /* killed: condemned with this cause */
	DEATH_PROTOCOL,     /* killed: condemned with this cause */
	DEATH_ORDER,        /* stopped because the parent asked for it */
	DEATH_CAUSE_COUNT
};

extern const char *const death_cause_names[DEATH_CAUSE_COUNT];

struct death {
	enum death_cause cause;
	int detail;       /* exit code or signal */
	bool was_ready;
	uint64_t age_ms;
};

struct plan;
struct child;

/** What a child's code is given. */
struct child_self {
	const char *group;
	unsigned group_index;
	unsigned index;
	unsigned generation; /* from 1: how often this place was filled */
	unsigned line;       /* of the scoreboard */
	int channel;         /* to the parent (os_channel_*); EOF: the parent is gone */
	pid_t parent;
	struct score *score; /* own line, writable */
	struct scoreboard *board;
	void *argument;
	bool asked_to_stop;  /* for the code's own use */
};

/** Set once by the child: it is ready for work. Beats too. */
void child_ready(struct child_self *self);
/** A heartbeat. */
void child_beat(struct child_self *self);

/** A number of children that run the same function. */
struct group {
	const char *name;
	unsigned count;
	unsigned stop_order; /* groups stop in this order, low first; a group
				waits until the ones before are gone */
	unsigned boot_timeout_ms;
	unsigned heartbeat_timeout_ms; /* 0: not watched */
	unsigned stop_timeout_ms;      /* from the request to stop until SIGKILL */
	int (*run)(struct child_self *self); /* in the child; its exit code.
						SIGTERM and SIGINT are blocked there, so
						that it can take them by signalfd */
	void *argument;
	/* Descriptors, given by the caller, that children keep; the rest is closed. */
	int (*keep)(const struct child_self *self, int *ret_fds, int room);

	/* In the parent; all may be NULL. `context` is plan_new's. */
	void (*spawned)(void *context, struct child *child);
	void (*ready)(void *context, struct child *child);
	void (*message)(void *context, struct child *child, const void *data,
			size_t size, int *fds, size_t fd_count);
	void (*died)(void *context, struct child *child, const struct death *death);
};

/** A child as the parent knows it. Read only for callers but `user`. */
struct child {
	struct plan *plan;
	const struct group *group;
	unsigned group_index;
	unsigned index;
	unsigned generation;
	unsigned line;
	pid_t pid;       /* 0: not running */
	int pidfd;
	int channel;     /* parent's end */
	void *user;
	struct score *score;
	struct child_private *private;
};

struct plan_options {
	const struct group *groups;
	unsigned group_count;
	void *context;
	/* Signals that stop the plan (TERM, INT, QUIT) are read by the plan. A
	 * second one while stopping kills at once. */
	bool take_signals;
	/* Called when the plan begins to stop; before any child is told. */
	void (*stopping)(void *context);
};

/** Make a plan; nothing is forked yet. 0 or -errno. The options and groups are
 * borrowed for the plan's life. */
int plan_new(const struct plan_options *options, struct plan **ret_plan);
/** Fork all children. 0 or -errno. */
int plan_start(struct plan *plan);
/** The loop on which it runs; add watches to it. */
struct loop *plan_loop(struct plan *plan);
/** Begin to stop: groups in order, SIGTERM, then SIGKILL after the group's
 * timeout. */
void plan_stop(struct plan *plan);
/** Kill all at once. */
void plan_kill(struct plan *plan);
/** All children are gone and the plan was asked to stop, or gave up. */
bool plan_done(const struct plan *plan);
/** Turn the loop until it is done. Returns 0, or 3 if the plan gave up because
 * the first children of a group never became ready (their last lines are
 * logged). */
int plan_run(struct plan *plan);
void plan_free(struct plan *plan);

/** Kill a child and bury it under this cause instead of "signal". */
void plan_condemn(struct plan *plan, struct child *child, enum death_cause cause);
/** The child in that place, or NULL. */
struct child *plan_child(struct plan *plan, unsigned group, unsigned index);
unsigned plan_group_count(const struct plan *plan);
struct scoreboard *plan_scoreboard(struct plan *plan);
/** Restarts of a group's children so far. */
uint64_t plan_restarts(const struct plan *plan, unsigned group);

#endif
