/* SPDX-License-Identifier: MIT */
/*
 * What the files of this room share: plan.c decides about the whole, spawn.c
 * forks, reap.c buries, restart.c decides when to start again, health.c
 * watches clocks, streams.c reads what children print.
 */
#ifndef SUPERVISE_PRIVATE_H
#define SUPERVISE_PRIVATE_H

#include "base/check.h"
#include "base/loop.h"
#include "supervise/supervise.h"

/* Lines of a child that are kept to be shown if its group never comes up. */
#define LAST_LINES 10u
#define LINE_MAX_BYTES 8192u
/* A child that was never ready is started
 * again with a delay that doubles, from the first to the second number. */
#define BACKOFF_FIRST_MS 100u
#define BACKOFF_MAX_MS 5000u
/* Children of one group that die in one second before that counts as failing. */
#define DEATHS_A_SECOND 100u
/* A group gives up if each of its places failed so often before any was ready. */
#define BOOT_FAILURES 3u
/* How often clocks are looked at. */
#define HEALTH_MS 100u
#define READY_MESSAGE "RDY"

/* One of a child's standard streams, as the parent reads it. */
struct stream {
	struct watch watch;
	struct child_private *owner;
	int level; /* of lines that say none */
	uint32_t used;
	char *line;
};

struct child_private {
	struct child child; /* the public part */
	struct watch pid_watch;
	struct watch channel_watch;
	struct stream out;
	struct stream error;
	struct timer restart;
	uint64_t born_ms;
	bool ready;
	bool killed;               /* cause is known already */
	enum death_cause cause;
	unsigned failures;         /* in a row, without having been ready */
	unsigned boot_failures;
	char *last_lines[LAST_LINES];
	unsigned last_line;
};

struct group_state {
	struct child_private *children;
	unsigned alive;
	bool ever_ready;
	uint64_t restarts;
	uint64_t second;       /* for counting deaths in it */
	unsigned deaths_in_second;
	uint64_t term_ms;      /* when it was told to stop */
	bool told;
};

struct plan {
	struct plan_options options;
	struct loop loop;
	struct scoreboard board;
	struct group_state *groups;
	struct watch signals;
	struct timer health;
	unsigned alive;
	bool started;
	bool stopping;
	bool killing;
	bool gave_up;
};

struct group_state *group_of(struct child_private *child);
/* spawn.c */
int spawn_child(struct plan *plan, struct child_private *child);
/* reap.c */
void reap_child(struct plan *plan, struct child_private *child);
void reap_strangers(struct plan *plan);
void reap_pid_ready(struct loop *loop, struct watch *watch, uint32_t events);
void reap_channel_ready(struct loop *loop, struct watch *watch, uint32_t events);
void kill_child(struct child_private *child, enum death_cause cause);
/* restart.c */
void restart_later(struct plan *plan, struct child_private *child,
		   const struct death *death);
void restart_fire(struct loop *loop, struct timer *timer);
/* health.c */
void health_fire(struct loop *loop, struct timer *timer);
/* streams.c */
int stream_open(struct plan *plan, struct child_private *owner,
		struct stream *stream, int fd, int level);
void stream_close(struct plan *plan, struct stream *stream);
void stream_show_last(struct child_private *child);
/* plan.c */
void plan_check_stop(struct plan *plan);
void plan_give_up(struct plan *plan, struct child_private *child);

#endif
