/* SPDX-License-Identifier: MIT */
/*
 * A child's birth. The parent is single-threaded, so that anything is allowed
 * between fork and the child's own code. All signals are blocked over the fork
 * and handlers reset in the child before any is let through. The child keeps
 * its channel, its standard streams and what its group asks for, and nothing
 * else: no descriptor of a client, a listener or another child.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/os/os.h"
#include "supervise/private.h"

#define KEEP_MAX 64

struct birth {
	int channel[2]; /* parent's end, child's end */
	int out[2];     /* read end, write end */
	int error[2];
};

static int open_birth(struct birth *birth);
static void close_birth(struct birth *birth);
static void begin_line(struct plan *plan, struct child_private *child);
static int adopt(struct plan *plan, struct child_private *child,
		 struct birth *birth);
static _Noreturn void live(struct plan *plan, struct child_private *child,
			   struct birth *birth, pid_t parent);
static void reset_signals(void);
static void close_inherited(const struct group *group,
			    const struct child_self *self);

int spawn_child(struct plan *plan, struct child_private *child)
{
	const pid_t parent = getpid();
	struct birth birth;
	sigset_t all;
	sigset_t before;
	pid_t pid;
	int r = open_birth(&birth);

	if (r < 0)
		return r;
	child->child.generation++;
	begin_line(plan, child);
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	pid = fork();
	if (pid == 0)
		live(plan, child, &birth, parent);
	r = pid < 0 ? -errno : 0;
	sigprocmask(SIG_SETMASK, &before, NULL);
	if (r < 0) {
		close_birth(&birth);
		return r;
	}
	child->child.pid = pid;
	child->born_ms = clock_now_ms();
	child->ready = false;
	child->killed = false;
	r = adopt(plan, child, &birth);
	if (r < 0) {
		kill(pid, SIGKILL);
		close_birth(&birth);
		return r;
	}
	plan->alive++;
	group_of(child)->alive++;
	if (child->child.group->spawned)
		child->child.group->spawned(plan->options.context, &child->child);
	return 0;
}

static int open_birth(struct birth *birth)
{
	int r;

	memset(birth, -1, sizeof(*birth));
	r = os_channel_create(birth->channel);
	if (r == 0 && (pipe2(birth->out, O_CLOEXEC) < 0 ||
		       pipe2(birth->error, O_CLOEXEC) < 0))
		r = -errno;
	if (r < 0)
		close_birth(birth);
	return r;
}

static void close_birth(struct birth *birth)
{
	int *fds[] = { &birth->channel[0], &birth->channel[1], &birth->out[0],
		       &birth->out[1],     &birth->error[0],   &birth->error[1] };

	for (size_t i = 0; i < COUNT_OF(fds); i++) {
		if (*fds[i] >= 0)
			close(*fds[i]);
		*fds[i] = -1;
	}
}

static void begin_line(struct plan *plan, struct child_private *child)
{
	struct score *score = scoreboard_line(&plan->board, child->child.line);

	memset(score, 0, sizeof(*score));
	atomic_store_explicit(&score->generation, child->child.generation,
			      memory_order_relaxed);
	atomic_store_explicit(&score->state, CHILD_STARTING, memory_order_relaxed);
	atomic_store_explicit(&score->heartbeat_ms, clock_now_ms(),
			      memory_order_relaxed);
}

/* The parent's side: its ends are watched, the child's ends closed. */
static int adopt(struct plan *plan, struct child_private *child,
		 struct birth *birth)
{
	int r;

	child->child.pidfd = os_process_open(child->child.pid);
	if (child->child.pidfd < 0)
		return child->child.pidfd;
	child->pid_watch = (struct watch){ .fd = child->child.pidfd,
					   .ready = reap_pid_ready };
	child->channel_watch = (struct watch){ .fd = birth->channel[0],
					       .ready = reap_channel_ready };
	child->child.channel = birth->channel[0];
	r = loop_add(&plan->loop, &child->pid_watch, EPOLLIN);
	if (r == 0)
		r = loop_add(&plan->loop, &child->channel_watch, EPOLLIN);
	if (r == 0)
		r = stream_open(plan, child, &child->out, birth->out[0],
				LOG_INFO_LEVEL);
	if (r == 0)
		r = stream_open(plan, child, &child->error, birth->error[0],
				LOG_WARNING_LEVEL);
	if (r < 0) {
		loop_remove(&plan->loop, &child->pid_watch);
		loop_remove(&plan->loop, &child->channel_watch);
		loop_remove(&plan->loop, &child->out.watch);
		free(child->out.line);
		child->out.line = NULL;
		close(child->child.pidfd);
		return r;
	}
	birth->channel[0] = birth->out[0] = birth->error[0] = -1;
	close_birth(birth);
	return 0;
}

/* The child. It never returns: its stack is a copy of the parent's. */
static _Noreturn void live(struct plan *plan, struct child_private *child,
			   struct birth *birth, pid_t parent)
{
	const struct group *group = child->child.group;
	struct child_self self = {
		.group = group->name,
		.group_index = child->child.group_index,
		.index = child->child.index,
		.generation = child->child.generation,
		.line = child->child.line,
		.channel = birth->channel[1],
		.parent = parent,
		.score = scoreboard_line(&plan->board, child->child.line),
		.board = &plan->board,
		.argument = group->argument,
	};
	char name[64];
	unsigned seed = 0;
	int null_fd;
	int code;

	snprintf(name, sizeof(name), "%s[%u]", group->name, self.index);
	os_set_process_name(name);
	null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (null_fd < 0 || dup2(null_fd, STDIN_FILENO) < 0 ||
	    dup2(birth->out[1], STDOUT_FILENO) < 0 ||
	    dup2(birth->error[1], STDERR_FILENO) < 0)
		_exit(71); /* EX_OSERR */
	log_become_child();
	close_inherited(group, &self);
	if (os_die_with_parent(SIGKILL, parent) < 0 ||
	    scoreboard_become(&plan->board, self.line) < 0)
		_exit(71);
	atomic_store_explicit(&self.score->pid, getpid(), memory_order_relaxed);
	if (getrandom(&seed, sizeof(seed), 0) == sizeof(seed))
		srandom(seed);
	srand(seed);
	reset_signals();
	code = group->run(&self);
	fflush(NULL);
	_exit(code);
}

/* Ctrl-C reaches all processes of the terminal: the parent alone decides what
 * it means. SIGTERM stays blocked: who wants it takes it by a descriptor. */
static void reset_signals(void)
{
	struct sigaction action = { .sa_handler = SIG_DFL };
	sigset_t blocked;

	for (int i = 1; i < NSIG; i++)
		sigaction(i, &action, NULL);
	action.sa_handler = SIG_IGN;
	sigaction(SIGPIPE, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGQUIT, &action, NULL);
	sigaction(SIGHUP, &action, NULL);
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGTERM);
	sigprocmask(SIG_SETMASK, &blocked, NULL);
}

static void close_inherited(const struct group *group,
			    const struct child_self *self)
{
	int keep[KEEP_MAX] = { self->channel };
	int count = 1;

	if (group->keep)
		count += group->keep(self, keep + 1, KEEP_MAX - 1);
	os_close_all_but(keep, (size_t)count);
}
