/* SPDX-License-Identifier: MIT */
/*
 * A child's birth. All signals are blocked over the fork and handlers reset in
 * the child before any is let through. The child keeps its channel, its
 * standard streams and what its group asks for, and nothing else: no descriptor
 * of a client, a listener or another child. It never returns into its parent's
 * stack, has random seeds of its own, and dies with its parent.
 *
 * A program with threads of its own may be the parent: so what runs between the
 * fork and the child's own code takes no lock that such a thread could hold.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/os/os.h"
#include "supervise/private.h"

#define NOTIFY_NAME_BYTES 64

struct birth {
	int channel[2]; /* parent's end, child's end */
	int out[2];     /* read end, write end */
	int error[2];
	int input[2];   /* parent's end, child's end */
	int null;       /* opened before, so that the child need not open it */
	char notify_name[NOTIFY_NAME_BYTES];
};

static int give_birth(struct life *life);
static void say_too_few(struct plan *plan);
static int open_birth(struct birth *birth, struct life *life);
static int open_pipe(const struct crew_stream *stream, int fds[2]);
static void close_birth(struct birth *birth);
static int adopt(struct life *life, struct birth *birth);
static void disown(struct life *life);
static _Noreturn void live(struct life *life, struct birth *birth, pid_t parent);
static bool stops_later(const struct group_state *group);
static int take_streams(const struct crew_group *group, const struct birth *birth);
static void print_by_line(void);
static void reset_signals(void);
static int close_inherited(const struct group *group, const struct crew_child *self);
static void seed_random(void);
static int run_child(struct life *life, struct crew_child *self);

int spawn_process(struct life *life)
{
	const int r = give_birth(life);

	if (r == -EMFILE)
		say_too_few(life->child.plan);
	return r;
}

static int give_birth(struct life *life)
{
	const pid_t parent = getpid();
	struct birth birth;
	sigset_t all;
	sigset_t before;
	pid_t pid;
	int r = open_birth(&birth, life);

	if (r < 0)
		return r;
	life_begin_line(life);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	pid = fork();
	if (pid == 0)
		live(life, &birth, parent);
	r = pid < 0 ? -errno : 0;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (r == 0) {
		life->child.pid = pid;
		if (life->child.group->is.process_group)
			setpgid(pid, pid); /* or it has done so, and is the program by now */
		r = adopt(life, &birth);
	}
	if (r < 0 && pid > 0) {
		kill(life->child.group->is.process_group ? -pid : pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
	close_birth(&birth);
	if (r < 0)
		notify_close(life);
	return r;
}

/* Once: it is tried again each second. */
static void say_too_few(struct plan *plan)
{
	if (plan->said_descriptors)
		return;
	plan->said_descriptors = true;
	log_error("%u children are all that %llu open files suffice for: raise that limit "
		  "(ulimit -Hn; LimitNOFILE= of systemd)", plan->alive,
		  (unsigned long long)os_descriptor_limit(0));
}

static int open_birth(struct birth *birth, struct life *life)
{
	const struct crew_group *group = &life->child.group->is;
	int r;

	memset(birth, -1, sizeof(*birth));
	birth->notify_name[0] = '\0';
	r = os_channel_create(birth->channel);
	if (r == 0)
		r = open_pipe(&group->out, birth->out);
	if (r == 0)
		r = open_pipe(&group->error, birth->error);
	if (r == 0 && group->input)
		r = os_socket_pair(SOCK_STREAM, birth->input);
	if (r == 0)
		birth->null = os_raise_descriptor(open("/dev/null", O_RDWR | O_CLOEXEC));
	if (r == 0 && birth->null < 0)
		r = -errno;
	if (r == 0 && group->kind == CREW_EXEC && group->notify)
		r = notify_open(life, birth->notify_name,
				sizeof(birth->notify_name));
	if (r < 0)
		close_birth(birth);
	return r;
}

/* Above the standard streams, which may be closed here: in the child they are made. */
static int open_pipe(const struct crew_stream *stream, int fds[2])
{
	int r;

	if (stream->to == CREW_TO_NULL || stream->to == CREW_TO_PARENT)
		return 0;
	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	r = os_raise_pair(fds);
	if (r < 0) {
		fds[0] = fds[1] = -1;
		return r;
	}
	/* So much may be said while we are busy; less will do where it is not to
	 * be had. */
	(void)fcntl(fds[0], F_SETPIPE_SZ, STREAM_PIPE_BYTES);
	return 0;
}

static void close_birth(struct birth *birth)
{
	int *fds[] = { &birth->channel[0], &birth->channel[1], &birth->out[0],
		       &birth->out[1],     &birth->error[0],   &birth->error[1],
		       &birth->input[0],   &birth->input[1],   &birth->null };

	for (size_t i = 0; i < COUNT_OF(fds); i++) {
		if (*fds[i] >= 0)
			close(*fds[i]);
		*fds[i] = -1;
	}
}

void life_begin_line(struct life *life)
{
	struct score *score = life->child.score;
	struct score_owner *owner = scoreboard_owner(&life->child.plan->board, score);

	memset((void *)score, 0, sizeof(*score));
	atomic_store_explicit(&owner->pid, 0, memory_order_relaxed);
	atomic_store_explicit(&owner->group, life->child.group_index,
			      memory_order_relaxed);
	atomic_store_explicit(&owner->index, life->child.index,
			      memory_order_relaxed);
	atomic_store_explicit(&owner->generation, life->child.generation,
			      memory_order_relaxed);
	atomic_store_explicit(&score->heartbeat_ms, clock_now_ms(),
			      memory_order_relaxed);
	atomic_store_explicit(&score->log_level,
			      (uint32_t)group_log_level(group_of(life)),
			      memory_order_relaxed);
	/* A host is no child that anybody lists. */
	score_set_state(score, life->is_host ? CREW_CHILD_EMPTY
					     : CREW_CHILD_STARTING);
}

void life_note_pid(struct life *life, pid_t pid)
{
	struct score_owner *owner =
		scoreboard_owner(&life->child.plan->board, life->child.score);

	atomic_store_explicit(&owner->pid, pid, memory_order_relaxed);
}

/* The parent's side: what it watches of the child. */
static int adopt(struct life *life, struct birth *birth)
{
	struct loop *loop = &life->child.plan->loop;
	struct group_state *group = group_of(life);
	int r;

	life_note_pid(life, life->child.pid);
	life->child.pidfd = os_process_open(life->child.pid);
	if (life->child.pidfd < 0)
		return life->child.pidfd;
	life->pid_watch = (struct watch){ .fd = life->child.pidfd,
					  .ready = reap_pid_ready };
	life->channel_watch = (struct watch){ .fd = birth->channel[0],
					      .ready = reap_channel_ready };
	life->child.channel = birth->channel[0];
	r = loop_add(loop, &life->pid_watch, EPOLLIN);
	if (r == 0)
		r = loop_add(loop, &life->channel_watch, EPOLLIN);
	if (r == 0)
		r = stream_open(&life->out, life, &group->out, birth->out[0]);
	if (r == 0)
		birth->out[0] = -1;
	if (r == 0)
		r = stream_open(&life->error, life, &group->error, birth->error[0]);
	if (r < 0) {
		disown(life);
		return r;
	}
	life->input = birth->input[0];
	birth->channel[0] = birth->error[0] = birth->input[0] = -1;
	return 0;
}

static void disown(struct life *life)
{
	struct loop *loop = &life->child.plan->loop;

	loop_remove(loop, &life->pid_watch);
	loop_remove(loop, &life->channel_watch);
	stream_close(&life->out);
	close(life->child.pidfd);
	life->child.pidfd = -1;
	life->child.channel = -1;
}

/* The child. It never returns: its stack is a copy of the parent's. */
static _Noreturn void live(struct life *life, struct birth *birth, pid_t parent)
{
	struct plan *plan = life->child.plan;
	const struct group *group = life->child.group;
	struct crew_child self = {
		.group = group->is.name,
		.group_index = life->child.group_index,
		.index = life->child.index,
		.generation = life->child.generation,
		.line = life->child.line,
		.channel = birth->channel[1],
		.stop_fd = -1,
		.parent = parent,
		.score = life->child.score,
		.board = &plan->board,
		.options = &group->is,
		.argument = group->is.argument,
		.stops_later = stops_later(group_of(life)),
	};
	char name[64];
	int code;
	int r;

	name_life(life, name, sizeof(name));
	os_set_process_name(name);
	if (take_streams(&group->is, birth) < 0)
		_exit(EX_OSERR);
	reset_signals();
	if (os_die_with_parent(SIGKILL, parent) < 0)
		_exit(EX_OSERR);
	if (group->is.kind == CREW_EXEC)
		exec_become(life, birth->channel[1], birth->notify_name);
	/* What the parent has not written yet is the parent's to write. */
	__fpurge(stdout);
	__fpurge(stderr);
	if (birth->out[1] >= 0)
		print_by_line();
	log_become_child();
	log_use_level_word(&life->child.score->log_level);
	r = scoreboard_become(&plan->board, self.line);
	if (r < 0) {
		log_critical("the child cannot keep to its line of the scoreboard: %s",
			     strerror(-r));
		_exit(EX_OSERR);
	}
	r = close_inherited(group, &self);
	if (r < 0) {
		log_critical("the descriptors of the parent cannot be closed: %s", strerror(-r));
		_exit(EX_OSERR);
	}
	/* Threads take descriptors of their host: it keeps what we have. So do those who
	 * wait by an event loop. */
	if (!life->is_host && !group->raw)
		give_limit_back(plan);
	seed_random();
	code = run_child(life, &self);
	fflush(NULL);
	_exit(code);
}

static int run_child(struct life *life, struct crew_child *self)
{
	struct group_state *group = group_of(life);
	int r;

	if (life->is_host)
		return host_live(self, life->child.plan, group);
	r = group->options.raw ? self_block_signals(self) : self_take_signals(self);
	if (r < 0) {
		log_critical("the child cannot take signals: %s", strerror(-r));
		return EX_OSERR;
	}
	return self_live(self);
}

/* Than another group. */
static bool stops_later(const struct group_state *group)
{
	const struct plan *plan = group->plan;

	for (unsigned i = 0; i < plan->options.group_count; i++) {
		if (plan->groups[i].options.is.stop_order < group->options.is.stop_order)
			return true;
	}
	return false;
}

static int take_streams(const struct crew_group *group, const struct birth *birth)
{
	const int in = birth->input[1] >= 0 ? birth->input[1] : birth->null;
	const int out = group->out.to == CREW_TO_NULL ? birth->null : birth->out[1];
	const int error = group->error.to == CREW_TO_NULL ? birth->null
							   : birth->error[1];

	if (dup2(in, STDIN_FILENO) < 0 ||
	    (out >= 0 && dup2(out, STDOUT_FILENO) < 0) ||
	    (error >= 0 && dup2(error, STDERR_FILENO) < 0))
		return -errno;
	return 0;
}

/* To a pipe it would be by 4 KiB: a line would come late, or not at all if the child is killed.
 * Who buffers nothing (setvbuf(3); its buffer has one byte then) shall not begin with it. With a
 * buffer of its own: in one that the parent has printed to the mode alone changes nothing until
 * it is full. */
static void print_by_line(void)
{
	static char room[BUFSIZ];

	if (__fbufsize(stdout) != 1)
		setvbuf(stdout, room, _IOLBF, sizeof(room));
}

/* All as a new program expects it, but for SIGPIPE, which code in the same
 * program has as an error, and what is the parent's to hear though it may be sent to
 * all of us (`systemctl kill -s USR1`); and all still blocked. */
static void reset_signals(void)
{
	struct sigaction action = { .sa_handler = SIG_DFL };

	for (int i = 1; i < NSIG; i++)
		sigaction(i, &action, NULL);
	action.sa_handler = SIG_IGN;
	sigaction(SIGPIPE, &action, NULL);
	sigaction(SIGQUIT, &action, NULL);
	sigaction(SIGHUP, &action, NULL);
	sigaction(SIGUSR1, &action, NULL);
}

static int close_inherited(const struct group *group, const struct crew_child *self)
{
	int keep[KEEP_MAX] = { self->channel };
	int count = 1;

	for (unsigned i = 0; i < group->is.preserve_fd_count && count < KEEP_MAX; i++)
		keep[count++] = group->is.preserve_fds[i];
	if (group->keep)
		count += group->keep(self, keep + count, KEEP_MAX - count);
	return os_close_all_but(keep, (size_t)count);
}

void give_limit_back(const struct plan *plan)
{
	struct rlimit limit;

	if (plan->child_fds && getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = plan->child_fds;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

static void seed_random(void)
{
	unsigned short words[3];
	unsigned seed = 0;

	if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed) ||
	    getrandom(words, sizeof(words), 0) != sizeof(words))
		return;
	srandom(seed);
	srand(seed ^ words[0]);
	seed48(words);
}
