/* SPDX-License-Identifier: MIT */
/*
 * The supervisor without HTTP: keeps groups of children running, be they
 * functions after a fork, threads, or other programs. In every struct here
 * zero is the documented default. Times are in milliseconds.
 *
 *	static int poll_sensor(struct crew_child *self)
 *	{
 *		while (crew_rest(self, 1000))
 *			read_sensor(crew_index(self));
 *		return 0;
 *	}
 *
 *	int main(void)
 *	{
 *		return crew_supervise(&(struct crew_plan){
 *			.groups = { { .name = "sensor", .run = poll_sensor, .count = 2 } },
 *		});
 *	}
 */
#ifndef CREW_SUPERVISE_H
#define CREW_SUPERVISE_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <crew/error.h>
#include <crew/log.h>

/** In a child: itself. Valid for as long as its function runs. */
struct crew_child;
/** In the parent: a plan that runs. */
struct crew_supervisor;

/** What a group's children are. */
enum crew_kind {
	CREW_PROCESS = 0, /* a function, after a fork: isolated, can be killed */
	CREW_THREAD,      /* the same function, in threads of one host process of the
			     group: they share memory; one whose heart stands still
			     cannot be killed: it is replaced while it drains, and is
			     listed as stale until it ends */
	CREW_EXEC,        /* another program */
};

/** For a timeout or limit: there is none. */
#define CREW_NEVER UINT_MAX

/** Where a child's standard output or standard error goes. In children of
 * CREW_PROCESS and CREW_THREAD stdout is buffered by line. */
enum crew_stream_to {
	CREW_TO_LOG = 0, /* line by line to the log, in the child's name: standard
			    output as CREW_INFO, standard error as CREW_WARNING,
			    unless a line says its priority ("<3>", sd-daemon(3));
			    what is below the log level is dropped */
	CREW_TO_FILE,    /* line by line to `path`, which is rotated: a regular file */
	CREW_TO_FD,      /* line by line to `fd` */
	CREW_TO_NULL,    /* nowhere */
	CREW_TO_PARENT,  /* the parent's own; crew does not see it */
};

struct crew_stream {
	enum crew_stream_to to;
	const char *path;
	int fd;             /* stays the caller's; kept open while the plan runs */
	uint64_t max_bytes; /* of the file, until it is rotated; 0: 8 MiB */
	unsigned keep;      /* files kept beside the current one; 0: 8 */
	bool wait;          /* a child that writes faster than its lines can be
			       taken is slowed; false: its lines are dropped and
			       counted. Neither ever holds up the supervisor */
	bool json_unmarked; /* lines that are JSON objects pass as they are; the
			       others are marked with group, index and pid */
};

/** Descriptors in `listen_fds`, and in `preserve_fds`. */
#define CREW_GROUP_FDS_MAX 64

/** Children of one kind that do the same. A group without a name ends the list. */
struct crew_group {
	const char *name; /* 1 to 40 characters, and no blank, newline or bracket */
	enum crew_kind kind;
	/* How many. 0: $WEB_CONCURRENCY if that is a number, else the processors
	 * that this process may use (affinity, cgroup cpu.max) less one, at least
	 * two. Their ids are 0 to count - 1, or those listed here. */
	unsigned count;
	const unsigned *ids;
	unsigned id_count;

	/* CREW_PROCESS and CREW_THREAD. Called in the child: all of on_start, in
	 * order (a non-zero return value ends it, and is its exit code), then run,
	 * whose return value is its exit code, then all of on_shutdown, in order,
	 * also when run was interrupted. Both lists end with NULL. */
	int (*run)(struct crew_child *self);
	int (*const *on_start)(struct crew_child *self);
	void (*const *on_shutdown)(struct crew_child *self);
	void *argument; /* crew_argument() */

	/* CREW_EXEC. `command` is the argument vector (NULL-terminated); its first
	 * word is looked up in PATH if there is no slash in it. With crew_supervise relative
	 * names here and in `directory` mean what they did when that was called, also in a
	 * daemon; with `directory`, a relative first word is a file there. */
	const char *const *command;
	const char *const *environment; /* "NAME=value", added; NULL-terminated */
	const char *directory;          /* to work in; NULL: the parent's */
	/* Sockets that it gets as descriptors 3, 4, …, with LISTEN_FDS, LISTEN_PID
	 * and, if `listen_names` ("http:admin") is given, LISTEN_FDNAMES, as by
	 * systemd (sd_listen_fds(3)); at most CREW_GROUP_FDS_MAX. They stay the caller's. */
	const int *listen_fds;
	unsigned listen_fd_count;
	const char *listen_names;
	/* It leads a process group of its own, which its children are in unless they leave
	 * it: what is sent to stop it or to kill it (also by crew_plan_remove) is sent to all of
	 * them, and who is left of them when it has ended is killed. false: only the program
	 * itself is signalled, and its children are its own to end. The death of the parent
	 * ends only the program itself. */
	bool process_group;

	/* A child is ready when on_start is through, or when its program is being
	 * executed; but who takes the place of another at a rolling restart only when
	 * his program has lived for a second. With `notify` it says so itself: by
	 * crew_ready(), or by READY=1 to $NOTIFY_SOCKET (sd_notify(3)). */
	bool notify;
	/* Descriptors that children of CREW_PROCESS and CREW_THREAD keep, under the
	 * same numbers, at most CREW_GROUP_FDS_MAX; all others are closed. They stay the
	 * caller's. */
	const int *preserve_fds;
	unsigned preserve_fd_count;
	bool input; /* standard input is a pipe that crew_plan_send() feeds;
		       false: /dev/null */
	struct crew_stream out;
	struct crew_stream error;

	unsigned boot_timeout_ms;      /* until ready; 0: 60000 */
	/* Silence after which a ready child is stuck and is killed; once it was told
	 * to stop the stop timeout counts instead, if there is one. 0: 15000, but
	 * CREW_NEVER for CREW_EXEC; there it needs `notify`, and the program is
	 * told by WATCHDOG_USEC. */
	unsigned heartbeat_timeout_ms;
	unsigned stop_timeout_ms;      /* from SIGTERM until SIGKILL; 0: 10000 */
	unsigned max_starting;         /* that may be booting at once; 0: all */
	uint64_t max_rss_bytes;        /* resident size beyond which a child is killed;
					  0: no limit */
	/* Open descriptors; 0: nine tenths of its own limit, and at least ten less
	 * than that (RLIMIT_NOFILE); CREW_NEVER: not watched. */
	unsigned max_descriptors;
	/* More restarts than max_restarts (0: no limit) within restart_window_ms
	 * (0: 300000) make the group degraded: it is tried again only each
	 * degraded_retry_ms (0: 5000), one child at a time, and recovers when a
	 * child stays ready for that long. Apart from that, a child that had been
	 * ready is back at once, but 100 ms later where more than 100 of its group
	 * die in one second; one that was not waits twice as long each time, from
	 * 100 ms to 5 s, as does one that ends by itself within a second more than
	 * three times in a row (CREW_EXEC without `notify`: or crashes). */
	unsigned max_restarts;
	unsigned restart_window_ms;
	unsigned degraded_retry_ms;
	/* Groups stop in this order, low first, each when those before are gone; until it
	 * is their turn, who dies is replaced. A SIGTERM that somebody sends to all
	 * processes, as systemd does, does not change it; but programs (CREW_EXEC) go by
	 * it all the same, so that their service needs KillMode=mixed (systemd.kill(5)). */
	unsigned stop_order;
	bool fixed;          /* TTIN, TTOU and HUP leave it alone */
	enum crew_level log_level; /* of its children; 0: as the parent's */
};

/** Why a child ended. */
enum crew_cause {
	CREW_CAUSE_EXIT = 0,         /* by itself, with an exit code */
	CREW_CAUSE_SIGNAL,           /* a signal that was not the supervisor's */
	CREW_CAUSE_BOOT_TIMEOUT,     /* killed: not ready in time */
	CREW_CAUSE_STUCK,            /* killed: its heart stood still */
	CREW_CAUSE_PROTOCOL,         /* killed: what it said made no sense */
	CREW_CAUSE_MEMORY_LIMIT,     /* killed: more than max_rss_bytes */
	CREW_CAUSE_DESCRIPTOR_LIMIT, /* killed: more than max_descriptors */
	CREW_CAUSE_OUT_OF_MEMORY,    /* killed by the kernel for the cgroup's memory */
	CREW_CAUSE_HOST,             /* a thread whose host process died */
	CREW_CAUSE_ORDER,            /* told to stop */
	CREW_CAUSE_COUNT
};

/** "exit", "signal", "boot timeout"… */
const char *crew_cause_name(enum crew_cause cause);

/** One death. Texts are valid while the callback runs, or until the next step. */
struct crew_death {
	const char *group;
	unsigned index;
	unsigned generation;      /* from 1: how often this place was filled */
	pid_t pid;
	enum crew_cause cause;
	int exit_code;            /* -1: ended by a signal, or nobody knows how: this
				     program ignores SIGCHLD, or it was a thread whose
				     last word was lost, or a place without a child */
	int signal;               /* 0: ended by exit */
	const char *name;         /* "EX_USAGE", "SIGSEGV"; "" if it has none */
	bool was_ready;
	uint64_t age_ms;
	uint64_t peak_rss_bytes;
	int64_t at;               /* seconds since 1970 */
	const char *last_lines;   /* what it printed last, newlines between */
};

enum crew_child_state {
	CREW_CHILD_EMPTY = 0,
	CREW_CHILD_STARTING,
	CREW_CHILD_READY,
	CREW_CHILD_BUSY,
	CREW_CHILD_PAUSED,
	CREW_CHILD_DRAINING, /* told to stop */
	CREW_CHILD_STALE,    /* a thread that was replaced, and has not ended yet */
	CREW_CHILD_DEAD,
	CREW_CHILD_COUNT
};

/** "starting", "ready"… */
const char *crew_child_state_name(enum crew_child_state state);

/** A child, as crew_plan_children() lists it. */
struct crew_child_info {
	const char *group;
	unsigned index;
	unsigned generation;
	pid_t pid;              /* of a thread: its host's */
	enum crew_child_state state;
	uint64_t age_ms;
	uint64_t silent_ms;     /* since its last heartbeat */
	uint64_t rss_bytes;
	char status[128];       /* what it said by STATUS= */
};

/** How the supervisor becomes a daemon. All of it can be used without
 * `detach` too. */
struct crew_daemon {
	/* Leave the terminal: two forks and setsid(2). Without a log_file standard
	 * output and standard error stay what they are if they are files or the
	 * journal; else they become /dev/null, which is logged before. */
	bool detach;
	const char *pidfile;    /* locked while it runs, put back if deleted */
	const char *group_file; /* the same with the process group's number */
	/* Standard output, standard error and the log go to this file, which is
	 * rotated at log_max_bytes (0: 8 MiB); log_keep (0: 8) old ones are kept. Of a
	 * link the file is rotated, not the link. What is no regular file, and
	 * /dev/stdout and /dev/stderr whatever they are, are written to as they are:
	 * not rotated, and never waited for. */
	const char *log_file;
	uint64_t log_max_bytes;
	unsigned log_keep;
	const char *directory;  /* to work in; NULL: "/" if it detaches */
	/* Whom to become after on_start, when all is opened: a name or number. The
	 * supplementary groups become those of the user. Files in a directory that
	 * this user may not write to (a pidfile, a socket) are not removed at the
	 * end; the next start takes them over. */
	const char *user;
	const char *group;      /* NULL: the user's */
};

#define CREW_GROUPS_MAX 32

/** All that one supervisor keeps running. The callbacks run in the parent,
 * which must not block in them; all may be NULL. In a callback all calls may be
 * made but crew_plan_step and crew_plan_free: crew_plan_stop ends the plan. */
struct crew_plan {
	struct crew_group groups[CREW_GROUPS_MAX];
	void *context; /* crew_plan_context() */
	/* Before the first fork: here sockets are bound, and written to where
	 * preserve_fds and listen_fds point. Not 0: it does not start. */
	int (*on_start)(struct crew_supervisor *supervisor);
	/* After the last child is gone, once for each on_start that returned 0: also
	 * by crew_plan_free, and if it could not start after that. */
	void (*on_shutdown)(struct crew_supervisor *supervisor);
	/* Before each fork, of a thread before its start. If crew_plan_stop is called
	 * here nobody is started any more, unless other groups are to stop first. */
	void (*pre_fork)(struct crew_supervisor *supervisor, const char *group,
			 unsigned index);
	/* Before children are told to stop, at the end. */
	void (*parent_pre_stop)(struct crew_supervisor *supervisor);
	void (*on_ready)(struct crew_supervisor *supervisor,
			 const struct crew_child_info *child);
	void (*on_death)(struct crew_supervisor *supervisor,
			 const struct crew_death *death);
	struct crew_daemon daemon;
	/* Level, form and on_log are the process's: of several plans the last that was
	 * started says them, but a level of 0 and an on_log of NULL leave what another said.
	 * on_log is forgotten when its plan is freed. */
	enum crew_level log_level; /* 0: CREW_INFO */
	enum crew_log_form log_form;
	/* A line that a child of crew's, or one that says its priority ("<N>"),
	 * writes again within that time is only counted; 0: 1000; CREW_NEVER: each
	 * is written. */
	unsigned log_repeat_ms;
	crew_log_taker *on_log;    /* NULL: all lines are written */
	void *on_log_context;
	bool console; /* if standard input is a terminal, commands are read from it;
			 "help" lists them */
};

/** How a program ends that is a supervisor or a server of crew. */
enum crew_exit {
	CREW_EXIT_OK = 0,      /* after an orderly stop */
	CREW_EXIT_FAILED = 1,  /* it could not start */
	CREW_EXIT_USAGE = 2,   /* its command line or its tables are wrong */
	CREW_EXIT_GAVE_UP = 3, /* no child of a group, no worker of a pool ever came up */
};

/**
 * Run a plan from main() until it is stopped by a signal (TERM, INT, QUIT
 * gracefully, a second one at once, but within half a second of the first it is
 * taken for the same; HUP rolling restart; TTIN, TTOU one child
 * of the first group more or less; USR1 reopens log files; USR2 is only logged,
 * unless the program handles or ignores it). Returns the exit
 * code, an enum crew_exit. Why it could not start is told on standard error,
 * that of the caller for a daemon too. Of these signals HUP, TTIN, TTOU, USR1 and USR2
 * wait from the start on until they can be acted on; the others end a start at once.
 * With daemon.detach it returns 0 in the caller when the daemon is up; the
 * daemon itself never returns from it. Must be called from a single-threaded
 * process, which as PID 1 also buries orphans and passes on USR2, WINCH and
 * CONT. It raises its limit of open files (RLIMIT_NOFILE) as far as it may, since
 * a child takes four of them and more; children but threads get the limit that was
 * found. When it has returned the signals that it reads (those above, and CHLD) stay
 * blocked, PIPE and XFSZ ignored, and that limit raised, so that no late TERM, and no
 * log that nobody reads, changes the exit code: a program that goes on puts back what
 * it needs (sigprocmask(2), sigaction(2), setrlimit(2)).
 */
int crew_supervise(const struct crew_plan *plan);

/**
 * Start a plan for a program that has an event loop of its own, or a thread for
 * it. Signals and standard streams stay the program's: it stops the plan by
 * crew_plan_stop. `daemon` and `console` are refused. The plan's strings,
 * lists and descriptors are borrowed until crew_plan_free. All calls on one
 * supervisor come from the thread that started it, which must outlive it (the
 * kernel ends the children when that thread ends). 0 or -errno; `ret_error`
 * (may be NULL) says why.
 */
int crew_plan_start(const struct crew_plan *plan,
		    struct crew_supervisor **ret_supervisor,
		    struct crew_error *ret_error);
/** A descriptor that is readable when crew_plan_step has something to do. */
int crew_plan_fd(const struct crew_supervisor *supervisor);
/** Do what is due; wait for it at most timeout_ms (0: do not wait; -1: no
 * limit). 1: goes on; 0: all children are gone after a stop; or -errno (-EBUSY:
 * called by a callback). */
int crew_plan_step(struct crew_supervisor *supervisor, int timeout_ms);
/** Begin to stop gracefully; steps do the rest. */
void crew_plan_stop(struct crew_supervisor *supervisor);
/** End what still runs by SIGKILL, wait for it, and free all. NULL is harmless.
 * Called by a callback it does nothing but say so in the log. */
void crew_plan_free(struct crew_supervisor *supervisor);
/** The exit code that crew_supervise would return: CREW_EXIT_OK, or
 * CREW_EXIT_GAVE_UP. */
int crew_plan_exit_code(const struct crew_supervisor *supervisor);
/** The plan's `context`. */
void *crew_plan_context(const struct crew_supervisor *supervisor);

/** Add a child with this id, or with the lowest free one (CREW_NEVER). Returns
 * the id, -ENOENT (no such group), -EEXIST, -ENOSPC (the group has 1024),
 * -EINVAL (an id beyond INT_MAX), -ESHUTDOWN (the plan is stopping), -ENOMEM. */
int crew_plan_add(struct crew_supervisor *supervisor, const char *group,
		  unsigned index);
/** Called once, when a child that was to be removed is gone. */
typedef void crew_gone(struct crew_supervisor *supervisor,
		       const struct crew_death *death, void *argument);
/** Remove a child: it is sent `signal` (0: SIGTERM), is killed after the stop
 * timeout, and its place is not filled again. `gone` may be NULL. A thread is
 * interrupted by SIGINT and asked to finish by all others; if it does not it is
 * stale (at once by SIGKILL), and `gone` is called when it ends, or its host. 0,
 * -ENOENT, -EBUSY (called by pre_fork), -ENOMEM. */
int crew_plan_remove(struct crew_supervisor *supervisor, const char *group,
		     unsigned index, int signal, crew_gone *gone, void *argument);
/** Send a signal to a child. 0, -ENOENT, or -errno of kill(2); -ENOTSUP for a
 * thread. */
int crew_plan_signal(struct crew_supervisor *supervisor, const char *group,
		     unsigned index, int signal);
/** Write to a child's standard input (`input`). Returns how many bytes were
 * taken, -EAGAIN if it does not read, -ENOENT, -EPIPE, -ENOTSUP. */
ssize_t crew_plan_send(struct crew_supervisor *supervisor, const char *group,
		       unsigned index, const void *data, size_t size);
/** Rolling restart of a group (NULL: of all): each child is replaced when its
 * successor is ready. If one fails to boot, the old ones stay. During one, and
 * within a second after it, however many are asked for are one more, which begins
 * then. 0, -ENOENT. */
int crew_plan_reload(struct crew_supervisor *supervisor, const char *group);
/** What the children of a group log from now on (NULL: of all groups, and the
 * parent); those that start later too. 0, -ENOENT, -EINVAL. */
int crew_plan_set_log_level(struct crew_supervisor *supervisor, const char *group,
			    enum crew_level level);
/** Reopen log files, after somebody moved them away. */
void crew_plan_reopen(struct crew_supervisor *supervisor);
/** List the children: fills at most `room`, returns how many there are. */
size_t crew_plan_children(const struct crew_supervisor *supervisor,
			  struct crew_child_info *ret_children, size_t room);
/** The last deaths (up to 32), latest first; as above. */
size_t crew_plan_deaths(const struct crew_supervisor *supervisor,
			struct crew_death *ret_deaths, size_t room);
/** Is the group degraded? false also if there is no such group. */
bool crew_plan_degraded(const struct crew_supervisor *supervisor,
			const char *group);

/* In the child. SIGTERM lets run() finish; SIGINT also makes its blocking calls
 * return with EINTR, again and again (by SIGRTMAX - 1, which is crew's), until
 * run() has ended; a second signal ends the child at once, but of the parent's
 * SIGTERM and one of somebody else, who may have sent it to all processes, the
 * second is ignored. In a group that stops later than another one (`stop_order`)
 * somebody else's SIGTERM goes to the parent, who starts a successor, and tells this
 * child to stop when that is ready; or when it is its group's turn. A Ctrl-C on
 * the terminal is the parent's to interpret. SIGHUP, SIGQUIT, SIGUSR1 and SIGPIPE
 * are ignored when it begins, all others are as usual. */

/** Beat the heart, then sleep for that long, or until asked to stop, or until the
 * parent is gone; the heart beats on meanwhile. False: please stop. */
bool crew_rest(struct crew_child *self, unsigned ms);
/** Beat the heart. False: please stop. */
bool crew_running(struct crew_child *self);
/** Beat the heart. Async-signal-safe. */
void crew_child_beat(struct crew_child *self);
/** Say that it is ready (with `notify`); more than once is harmless, and once it is
 * asked to stop nothing is said. Waits for the parent, some milliseconds, where much
 * was said to it before. */
void crew_ready(struct crew_child *self);
/** A descriptor that is readable once it is asked to stop, for an event loop.
 * Not to be read from. */
int crew_stop_fd(const struct crew_child *self);
/** A line for the lists, such as "polling"; cut at 127 bytes. */
void crew_child_status(struct crew_child *self, const char *text);
const char *crew_child_group(const struct crew_child *self);
/** Its id in the group. */
unsigned crew_index(const struct crew_child *self);
/** From 1: how often this place was filled. */
unsigned crew_generation(const struct crew_child *self);
/** The group's `argument`. */
void *crew_argument(const struct crew_child *self);

/** How many workers this machine suits: what a count of 0 means. Writes to
 * `ret_why` (may be NULL) how that was derived. Callable anywhere. */
unsigned crew_default_count(char *ret_why, size_t why_size);

#endif
