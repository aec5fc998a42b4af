/* SPDX-License-Identifier: MIT */
/*
 * Deaths. A child is reaped through its pidfd, so that a number that the system
 * gave to another process is never mistaken for it. Each death has one cause:
 * what we killed it for, or else what the system says. As PID 1 the parent
 * also buries orphans that are no children of any group.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/os/os.h"
#include "supervise/private.h"

const char *const death_cause_names[DEATH_CAUSE_COUNT] = {
	[DEATH_EXIT] = "exit",
	[DEATH_SIGNAL] = "signal",
	[DEATH_BOOT_TIMEOUT] = "boot timeout",
	[DEATH_STUCK] = "stuck",
	[DEATH_REQUEST_TIMEOUT] = "request timeout",
	[DEATH_PROTOCOL] = "protocol",
	[DEATH_ORDER] = "order",
};

static const char *const exit_names[] = {
	[EX_USAGE - EX__BASE] = "EX_USAGE",
	[EX_DATAERR - EX__BASE] = "EX_DATAERR",
	[EX_NOINPUT - EX__BASE] = "EX_NOINPUT",
	[EX_NOUSER - EX__BASE] = "EX_NOUSER",
	[EX_NOHOST - EX__BASE] = "EX_NOHOST",
	[EX_UNAVAILABLE - EX__BASE] = "EX_UNAVAILABLE",
	[EX_SOFTWARE - EX__BASE] = "EX_SOFTWARE",
	[EX_OSERR - EX__BASE] = "EX_OSERR",
	[EX_OSFILE - EX__BASE] = "EX_OSFILE",
	[EX_CANTCREAT - EX__BASE] = "EX_CANTCREAT",
	[EX_IOERR - EX__BASE] = "EX_IOERR",
	[EX_TEMPFAIL - EX__BASE] = "EX_TEMPFAIL",
	[EX_PROTOCOL - EX__BASE] = "EX_PROTOCOL",
	[EX_NOPERM - EX__BASE] = "EX_NOPERM",
	[EX_CONFIG - EX__BASE] = "EX_CONFIG",
};

static void judge(const struct plan *plan, struct child_private *child,
		  const siginfo_t *info, struct death *ret_death);
static void tell(const struct plan *plan, const struct child_private *child,
		 const struct death *death, const siginfo_t *info);
static void let_go(struct plan *plan, struct child_private *child);
static bool is_ours(const struct plan *plan, pid_t pid);

void reap_pid_ready(struct loop *loop, struct watch *watch, uint32_t events)
{
	struct child_private *child =
		container_of(watch, struct child_private, pid_watch);

	(void)loop;
	(void)events;
	reap_child(child->child.plan, child);
}

void reap_child(struct plan *plan, struct child_private *child)
{
	struct group_state *group = group_of(child);
	siginfo_t info = { 0 };
	struct death death;

	if (waitid(P_PIDFD, (id_t)child->child.pidfd, &info,
		   WEXITED | WNOHANG) < 0 || info.si_pid == 0)
		return;
	judge(plan, child, &info, &death);
	let_go(plan, child);
	tell(plan, child, &death, &info);
	child->child.pid = 0;
	plan->alive--;
	group->alive--;
	if (child->child.group->died)
		child->child.group->died(plan->options.context, &child->child,
					 &death);
	if (plan->stopping)
		plan_check_stop(plan);
	else
		restart_later(plan, child, &death);
}

void reap_channel_ready(struct loop *loop, struct watch *watch, uint32_t events)
{
	struct child_private *child =
		container_of(watch, struct child_private, channel_watch);
	const struct group *group = child->child.group;
	char data[OS_CHANNEL_BYTES_MAX];
	int fds[OS_CHANNEL_FDS_MAX];
	size_t fd_count = 0;
	int n = os_channel_receive(watch->fd, data, sizeof(data), fds, &fd_count);

	(void)events;
	if (n == -EAGAIN)
		return;
	if (n <= 0) {
		/* It closed its end or is dying: its pidfd will tell. */
		loop_remove(loop, watch);
		return;
	}
	if (n == sizeof(READY_MESSAGE) &&
	    memcmp(data, READY_MESSAGE, sizeof(READY_MESSAGE)) == 0) {
		child->ready = true;
		child->failures = 0;
		group_of(child)->ever_ready = true;
		if (group->ready)
			group->ready(child->child.plan->options.context,
				     &child->child);
		return;
	}
	if (group->message) {
		group->message(child->child.plan->options.context, &child->child,
			       data, (size_t)n, fds, fd_count);
		return;
	}
	while (fd_count > 0)
		close(fds[--fd_count]);
}

void kill_child(struct child_private *child, enum death_cause cause)
{
	if (!child->child.pid)
		return;
	if (!child->killed) {
		child->killed = true;
		child->cause = cause;
	}
	os_process_signal(child->child.pidfd, SIGKILL);
}

/* Orphans that fell to us as PID 1, and children that a library forked. */
void reap_strangers(struct plan *plan)
{
	siginfo_t info;

	for (;;) {
		info.si_pid = 0;
		if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0 ||
		    info.si_pid == 0 || is_ours(plan, info.si_pid))
			return;
		waitid(P_PID, (id_t)info.si_pid, &info, WEXITED | WNOHANG);
	}
}

static bool is_ours(const struct plan *plan, pid_t pid)
{
	for (unsigned i = 0; i < plan->options.group_count; i++) {
		for (unsigned j = 0; j < plan->options.groups[i].count; j++) {
			if (plan->groups[i].children[j].child.pid == pid)
				return true;
		}
	}
	return false;
}

static void judge(const struct plan *plan, struct child_private *child,
		  const siginfo_t *info, struct death *ret_death)
{
	*ret_death = (struct death){
		.cause = info->si_code == CLD_EXITED ? DEATH_EXIT : DEATH_SIGNAL,
		.detail = info->si_status,
		.was_ready = child->ready,
		.age_ms = clock_now_ms() - child->born_ms,
	};
	if (child->killed)
		ret_death->cause = child->cause;
	else if (plan->stopping && ret_death->cause == DEATH_EXIT &&
		 ret_death->detail == 0)
		ret_death->cause = DEATH_ORDER;
}

static void tell(const struct plan *plan, const struct child_private *child,
		 const struct death *death, const siginfo_t *info)
{
	const struct child *public = &child->child;
	const double age = (double)death->age_ms / 1000;
	const int code = info->si_status;
	const char *name = NULL;
	char how[96];

	if (info->si_code != CLD_EXITED) {
		snprintf(how, sizeof(how), "signal %d (SIG%s)", code,
			 sigabbrev_np(code) ? sigabbrev_np(code) : "?");
	} else {
		if (code >= EX__BASE && code < EX__BASE + (int)COUNT_OF(exit_names))
			name = exit_names[code - EX__BASE];
		snprintf(how, sizeof(how), "exit code %d%s%s%s", code,
			 name ? " (" : "", name ? name : "", name ? ")" : "");
	}
	if (death->cause == DEATH_ORDER && !child->killed)
		log_debug("%s[%u] (pid %d) has stopped after %.1f s",
			  public->group->name, public->index, (int)public->pid,
			  age);
	else if (child->killed)
		log_error("%s[%u] (pid %d) was killed, cause: %s (%s), after %.1f s",
			  public->group->name, public->index, (int)public->pid,
			  death_cause_names[death->cause], how, age);
	else
		log_error("%s[%u] (pid %d) died: %s after %.1f s%s",
			  public->group->name, public->index, (int)public->pid,
			  how, age,
			  plan->stopping ? "" : "; starting it again");
}

static void let_go(struct plan *plan, struct child_private *child)
{
	stream_close(plan, &child->out);
	stream_close(plan, &child->error);
	loop_remove(&plan->loop, &child->pid_watch);
	loop_remove(&plan->loop, &child->channel_watch);
	close(child->child.pidfd);
	close(child->child.channel);
	child->child.pidfd = -1;
	child->child.channel = -1;
	atomic_store_explicit(&child->child.score->state, CHILD_DEAD,
			      memory_order_relaxed);
}
