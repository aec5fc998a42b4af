/* SPDX-License-Identifier: MIT */
/*
 * What the files of this room share. Three kinds of things live here:
 *
 *   group_state   a group of the plan, with its books (plan.c, budget.c, roll.c)
 *   place         one id of a group, to be kept filled (place.c, restart.c)
 *   life          one child from birth to burial (spawn.c, exec.c, threads.c,
 *                 reap.c, health.c, streams.c, notify.c)
 *
 * A place is filled by one life, `now`. While it is rolled over, `next` boots
 * beside it; a life that was replaced, and has not gone yet, belongs to its
 * group only. The host process of a group of threads is a life without a place.
 */
#ifndef SUPERVISE_PRIVATE_H
#define SUPERVISE_PRIVATE_H

#include <signal.h>
#include <sys/resource.h>

#include "base/check.h"
#include "base/list.h"
#include "base/loop.h"
#include "base/rotate.h"
#include "supervise/limits.h"
#include "supervise/supervise.h"

struct group_state;

/* What parent and host say to each other about threads. */
enum host_order { HOST_START = 1, HOST_FINISH, HOST_INTERRUPT };

/* Why a child is to be replaced that goes on until then. */
enum leave {
	LEAVE_ASKED = 0, /* somebody else asks it to stop, or it cannot go on */
	LEAVE_DONE,      /* it has done as much as one is to do */
	LEAVE_LARGE,     /* it has grown beyond max_rss_bytes */
	LEAVE_COUNT
};

struct host_message {
	uint32_t order;
	uint32_t line;
	uint32_t index;
	uint32_t generation;
};

#define THREAD_END_MESSAGE "END"
/* Of a child on its way to become another program: that it is now, or cannot be
 * executed, followed by the reason. */
#define EXEC_MESSAGE "EXC"
#define ERROR_MESSAGE "ERR"

struct thread_end {
	char what[4];
	int32_t code;
};

/* Where lines of a group's stream go. */
struct sink {
	struct group_state *group;
	const struct crew_stream *options;
	int log_level;        /* of lines that say none */
	struct rotate file;   /* CREW_TO_FILE */
	bool file_is_open;
	int terminal;         /* CREW_TO_FD: opened anew, so that it never blocks; 0: it is none;
			       * -1: it may not be opened */
	char *rest;           /* of the last line, for which there was no room; malloc'ed */
	size_t rest_size;
	uint64_t dropped;     /* lines, not yet told */
};

/* A line that may come again. */
struct repeat {
	struct sink *sink; /* where it went */
	char *line;        /* malloc'ed; NULL: none is remembered */
	size_t size;
	int level;
	uint64_t until_ms;
	uint64_t count;    /* times that it came again, not yet told */
};

/* One of a child's standard streams, as the parent reads it. */
struct stream {
	struct watch watch;
	struct life *owner;
	struct sink *sink;
	struct list in_waiting; /* for room in its sink */
	char *line;             /* what there is of a line, malloc'ed */
	uint32_t used;
	uint32_t room;
	char *held;             /* read, while the sink had no room for more lines */
	uint32_t held_size;
	bool open;
};

struct life {
	struct child child; /* the public part */
	struct list in_group;
	struct place *place;  /* NULL: a host, or replaced, or removed */
	struct life *host;    /* of a thread: the process that it is in */
	int far_end;          /* the thread's end of its channel, until its host has it; -1 */
	uint32_t untold;      /* an enum host_order that its host has had no room for; 0 */
	uint64_t cut_ms;      /* since when its channel has been closed on the other side; 0 */
	struct timer look;    /* again whether it can be waited for */
	uint64_t dead_ms;     /* since when it is dead, and cannot be; 0 */
	struct watch pid_watch;
	struct watch channel_watch;
	struct watch notify_watch;
	struct stream out;
	struct stream error;
	int input;            /* its standard input; -1: none */
	uint32_t epoch;       /* of the group, when it was started */
	uint64_t born_ms;
	uint64_t boot_until_ms;
	uint64_t trial_until_ms; /* when it is ready, being executed; 0: it says so, or at once */
	uint64_t ready_ms;
	uint64_t beat_ms;     /* its last heartbeat that could be believed */
	uint64_t told_ms;     /* when it was told to stop; 0: was not */
	int told_signal;      /* by that */
	uint64_t leave_ms;    /* since when it is to be replaced, or is to try again; 0 */
	enum leave leave;     /* why */
	bool leave_put_off;   /* restart_pause has been asked */
	uint64_t extended_ms; /* it asked for time until then, to boot or to stop */
	unsigned watchdog_ms; /* silence that it may keep; CREW_NEVER */
	bool is_host;
	bool starting;        /* counted among those that boot */
	bool ready;
	bool stale;
	bool killed;          /* cause is known already */
	bool executing;       /* all that is left for it to do is to be executed */
	bool said_stranger;   /* somebody else spoke in its name: said once */
	bool buried;
	enum crew_cause cause;
	char *last_lines[LAST_LINES];
	unsigned last_line;
	bool line_untold[LAST_LINES]; /* those that were below its group's level */
	bool lines_told;      /* those were logged after its death */
	struct repeat repeat;
};

/* A process that was buried, and is yet to be waited for. */
struct held {
	struct list in_plan;
	int pidfd;
};

struct place {
	struct list in_group;  /* in the order of their ids */
	struct group_state *group;
	unsigned index;
	unsigned generation;
	struct life *now;
	struct life *next;
	struct timer restart;
	int dead_line;         /* of the scoreboard, while nobody is here; -1 */
	bool waiting;          /* may start when fewer are booting */
	bool filling;          /* a callback is asked before its fork */
	unsigned failures;     /* in a row, without having been ready */
	unsigned boot_failures;
	bool removed;
	plan_gone *gone;
	void *gone_argument;
};

struct group_state {
	struct plan *plan;
	struct group options;
	unsigned number;
	struct list places;
	struct list lives;
	struct sink out;
	struct sink error;
	struct life *host;     /* that new threads are started in */
	unsigned place_count;
	unsigned alive;        /* lives, hosts included */
	unsigned starting;
	uint32_t epoch;        /* counts reloads */
	bool rolling;
	bool reload_asked;     /* for one that has not begun */
	uint64_t rolled_ms;    /* when the last one was over; 0: there was none */
	bool ever_ready;
	unsigned host_failures; /* in a row: hosts to be replaced as soon as they were ready */
	uint64_t restarts;
	bool told;             /* to stop, or had its turn with nobody there */
	int log_level;         /* 0: the parent's */
	/* the budget of restarts (budget.c) */
	uint64_t *restart_times; /* the last max_restarts */
	unsigned restart_at;
	bool degraded;
	uint64_t degraded_ms;  /* since when */
	uint64_t next_try_ms;
	uint64_t second;       /* for counting deaths in it */
	unsigned deaths_in_second;
	uint64_t minute_ms;    /* failures are counted from there */
	unsigned failures_in_minute;
	uint64_t said_failing_ms;
};

struct plan {
	struct plan_options options;
	struct loop loop;
	struct scoreboard board;
	unsigned char *lines_used;
	struct group_state *groups;
	struct watch signals;
	struct timer health;
	struct timer room;     /* looks whether sinks have room again */
	unsigned pre_forking;  /* callbacks that are asked before a fork, one in another */
	struct timer hosts;    /* looks whether hosts have, and who was cut off */
	struct list waiting;   /* streams that wait for it */
	struct list held;      /* by debuggers */
	unsigned tick;
	rlim_t child_fds;      /* the limit of descriptors that children get back; 0: as ours */
	bool said_descriptors; /* what to do where there are too few of them */
	int spawn_error;      /* -errno of the last child that could not be started; 0 */
	uint64_t resumed_ms;   /* when it went on after having been stopped */
	unsigned alive;
	int64_t oom_kills;     /* of the cgroup, as last seen; -1: never */
	int64_t oom_unclaimed; /* of those, whom no death was explained by yet */
	uint64_t oom_ms;       /* when the last of them was seen */
	bool started;
	bool stopping;
	uint64_t stop_ms;      /* since when */
	bool killing;
	bool gave_up;
	struct crew_death deaths[DEATHS_KEPT];
	unsigned death_count;
};

static inline struct life *life_of(struct child *child)
{
	return container_of(child, struct life, child);
}

static inline struct group_state *group_of(const struct life *life)
{
	return &life->child.plan->groups[life->child.group_index];
}

/* Who dies is replaced until it is his group's turn to stop: those that stop before may still need
 * him. */
static inline bool is_kept_up(const struct group_state *group)
{
	const struct plan *plan = group->plan;

	return !group->told && !plan->killing && !plan->gave_up;
}

static inline bool is_threads(const struct group_state *group)
{
	return group->options.is.kind == CREW_THREAD;
}

/* group.c */
/** The level of lines of that group's children, which they are told too. */
int group_log_level(const struct group_state *group);
void group_tell_log_level(struct group_state *group);
int group_init(struct plan *plan, unsigned number, const struct group *options,
	       struct crew_error *ret_error);
void group_fini(struct group_state *group);
/* place.c */
int place_new(struct group_state *group, unsigned index, struct place **ret_place);
void place_free(struct place *place);
struct place *place_find(const struct group_state *group, unsigned index);
/** Start the life that it lacks, as soon as may be. */
void place_start(struct place *place);
/** Its `next` did not come up: who is there stays. */
void place_keep(struct place *place);
/** One fewer is booting: who waits for that may start. */
void place_start_waiting(struct group_state *group);
void place_restart_fire(struct loop *loop, struct timer *timer);
/** The removed place's life is gone. */
void place_gone(struct place *place, const struct crew_death *death);
/* spawn.c */
int spawn_process(struct life *life);
/** Its line of the scoreboard, for a new life. */
void life_begin_line(struct life *life);
/** Whose process it is, where all can read it; 0: nobody's. */
void life_note_pid(struct life *life, pid_t pid);
void name_life(const struct life *life, char *ret_name, size_t size);
/** In the child, when all that it does not keep is closed: the limit that we have found. */
void give_limit_back(const struct plan *plan);
/* exec.c: in the child */
_Noreturn void exec_become(const struct life *life, int channel,
			   const char *notify_name);
/* notify.c */
int notify_open(struct life *life, char *ret_name, size_t size);
void notify_close(struct life *life);
/** Hear what has come by now. */
void notify_drain(struct life *life);
/* host.c: in the host process */
int host_live(struct crew_child *self, struct plan *plan, struct group_state *group);
/* threads.c: in the parent */
int spawn_thread(struct life *life);
void thread_tell(struct life *life, enum self_asked what);
/** Its channel has an end: is it that of the thread, or of its host? */
void thread_cut_off(struct life *life);
void threads_fire(struct loop *loop, struct timer *timer);
/** Its heart stands still: replace it, let it drain. */
void thread_replace(struct life *life);
/** No thread is left in this host: it may go. */
void host_check(struct life *host);
/** Does a thread of it still serve, and has no successor yet? */
bool host_has_places(const struct life *host);
/* life.c */
struct life *life_new(struct group_state *group, struct place *place);
void life_free(struct life *life);
/** Make it the group's, and count it. */
void life_enter(struct life *life);
/** Ready or not, it counts no more among those that boot. */
void life_started(struct life *life);
void life_ready(struct life *life);
/** It is being executed, and will say no more of itself. */
void life_executed(struct life *life);
/** Ask it to stop by this signal. */
void life_tell(struct life *life, int signal);
void life_kill(struct life *life, enum crew_cause cause);
/** To its process, or to the group that it leads; not for a thread. It may be dead, but must not
 * be buried: until then nobody else has its number. */
void life_signal(const struct life *life, int signal);
/** It is to be replaced. If somebody else asks it to stop, and maybe all of us: wait whether we
 * hear of it. That is the stronger reason: it does not wait for others who are replaced. */
void life_ask_to_leave(struct life *life, enum leave why);
/** Start its successor, if it was asked to leave and we were not, LEAVE_MS later. */
void life_let_leave(struct life *life, uint64_t now_ms);
/** Its successor did not come up: if it was asked to, it tries again, ever more rarely. */
void life_leave_later(struct life *life);
/** Show it to all as draining or stale. */
void life_mark(struct life *life, enum crew_child_state mark);
/* reap.c */
void reap_pid_ready(struct loop *loop, struct watch *watch, uint32_t events);
void reap_channel_ready(struct loop *loop, struct watch *watch, uint32_t events);
void reap_strangers(struct plan *plan);
/** Looks again whether who is dead can be waited for. */
void reap_fire(struct loop *loop, struct timer *timer);
/** Those whom debuggers have let go of. */
void reap_held(struct plan *plan);
void free_held(struct held *held);
/** Whom the kernel has killed for memory since, and forget those of long ago: they were no
 * children of ours. */
void reap_count_oom_kills(struct plan *plan);
/** Take it from the books; `code` is of exit(), or 128 + a signal's number. */
void life_bury(struct life *life, const struct crew_death *death);
/* restart.c */
void restart_later(struct place *place, const struct crew_death *death);
/* How long who wants to leave, so long after it was ready, shall stay: longer each time, where
 * those before wanted to at once, which is counted in `failures`. */
unsigned restart_pause(unsigned *failures, uint64_t age_ms);
/* budget.c */
/** A restart is due: false if the group has used up its budget. */
bool budget_take(struct group_state *group);
/** In a degraded group: how long the next try has to wait. */
unsigned budget_delay_ms(struct group_state *group);
void budget_look(struct group_state *group);
void budget_count_failure(struct group_state *group);
/* roll.c */
/** Begin a reload that was asked for, if it is time. */
void roll_look(struct group_state *group);
void roll_step(struct group_state *group);
void roll_failed(struct group_state *group);
/* health.c */
void health_fire(struct loop *loop, struct timer *timer);
/* history.c */
void history_add(struct plan *plan, const struct crew_death *death);
void history_free(struct plan *plan);
const char *exit_code_name(int code);
/* streams.c */
int stream_open(struct stream *stream, struct life *owner, struct sink *sink, int fd);
void stream_close(struct stream *stream);
void streams_room_fire(struct loop *loop, struct timer *timer);
/** The last lines, newlines between; malloc'ed, may be NULL. */
char *stream_last_lines(const struct life *life);
/** Log those of the last lines that its group's level kept from the log. Harmless twice. True: the
 * log has had them by that. */
bool stream_tell_untold(struct life *life);
/* sink.c */
int sink_open(struct sink *sink, struct group_state *group,
	      const struct crew_stream *options, int log_level,
	      struct crew_error *ret_error);
/** What was dropped is told, if there is room. Takes zeroed memory. */
void sink_close(struct sink *sink);
/** Say how many lines were dropped, if there is room now: no other line may follow. */
void sink_tell_dropped(struct sink *sink);
bool sink_has_room(struct sink *sink);
/** Write what is left of the last line. False if there is still something left of it. */
bool sink_finish_line(struct sink *sink);
/** Somebody may have put another file in the place of a terminal: let go of that. */
void sink_follow(struct sink *sink);
/** Say how often the last line came again, where it went, and forget it. Harmless twice. */
void sink_tell_repeats(struct life *life);
/** Only our own code writes such lines: what another program marks so is its own affair. */
bool line_is_of_access_log(const struct life *life, const char *line, size_t size);
/** False: the line is below the group's level, so that nobody sees it. */
bool sink_write(struct sink *sink, struct life *life, const char *line,
		size_t size);
/* signals.c */
int signals_take(struct plan *plan);
/* plan.c */
void plan_check_stop(struct plan *plan);
/** How long who was told to stop may take; CREW_NEVER. */
unsigned plan_patience_ms(const struct group_state *group);
void plan_check_late(struct group_state *group);
void plan_give_up(struct group_state *group, const struct crew_death *death);
int plan_take_line(struct plan *plan);
void plan_free_line(struct plan *plan, unsigned line);

#endif
