/* SPDX-License-Identifier: MIT */
/*
 * Signals to the parent, read as events:
 *
 *   TERM, INT, QUIT   stop gracefully; a second one kills at once, unless it comes so
 *                     soon that it says the same: systemd's ExecStop= and then KillMode=,
 *                     timeout(1), a Ctrl-C and the program that started us
 *   HUP               rolling restart of all groups
 *   TTIN, TTOU        one child more or less
 *   USR1              reopen log files
 *   CHLD              somebody died whom we may not know (deaths of our own
 *                     children are told by their pidfds)
 *   USR2, WINCH, CONT as PID 1: passed on to all children
 *   USR2              else: it is said that it means nothing here. To nginx and gunicorn it
 *                     is sent for an upgrade; it would end us at once
 *
 * What is pending more than once is one event for the kernel: two TTIN that
 * come at the same moment may be one.
 */
#include <stdio.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/os/os.h"
#include "supervise/private.h"

static void requests(sigset_t *ret_signals);
static void signal_ready(struct loop *loop, struct watch *watch, uint32_t events);
static void take(struct plan *plan, int signal, const struct os_sender *sender);
static void stop(struct plan *plan, int signal, const struct os_sender *sender);
static void scale_first(struct plan *plan, int by);
static void pass_on(struct plan *plan, int signal);
static bool ends_us(int signal);
static void take_unasked(int signal);

void plan_hold_signals(sigset_t *ret_before)
{
	sigset_t signals;

	requests(&signals);
	pthread_sigmask(SIG_BLOCK, &signals, ret_before);
}

int signals_take(struct plan *plan)
{
	static const int more[] = { SIGTERM, SIGINT, SIGQUIT, SIGCHLD };
	static const int passed_on[] = { SIGUSR2, SIGWINCH, SIGCONT };
	struct sigaction ignore = { .sa_handler = SIG_IGN };
	struct sigaction usual = { .sa_handler = SIG_DFL };
	sigset_t signals;
	int fd;

	/* Who started us may have ignored it: then nobody would wait to be
	 * buried, and no child's exit code would be known. */
	sigaction(SIGCHLD, &usual, NULL);
	sigaction(SIGPIPE, &ignore, NULL);
	sigaction(SIGXFSZ, &ignore, NULL);
	requests(&signals);
	for (size_t i = 0; i < COUNT_OF(more); i++)
		sigaddset(&signals, more[i]);
	for (size_t i = 0; i < COUNT_OF(passed_on) && getpid() == 1; i++)
		sigaddset(&signals, passed_on[i]);
	fd = os_signals_open(&signals);
	if (fd < 0)
		return fd;
	plan->signals = (struct watch){ .fd = fd, .ready = signal_ready };
	return loop_add(&plan->loop, &plan->signals, EPOLLIN);
}

/* What is asked of a service that goes on. */
static void requests(sigset_t *ret_signals)
{
	static const int all[] = { SIGHUP, SIGTTIN, SIGTTOU, SIGUSR1 };

	sigemptyset(ret_signals);
	for (size_t i = 0; i < COUNT_OF(all); i++)
		sigaddset(ret_signals, all[i]);
	if (ends_us(SIGUSR2))
		sigaddset(ret_signals, SIGUSR2);
}

static void signal_ready(struct loop *loop, struct watch *watch, uint32_t events)
{
	struct plan *plan = container_of(watch, struct plan, signals);
	struct os_sender sender;
	int signal;

	(void)loop;
	(void)events;
	while ((signal = os_signals_next(watch->fd, &sender)) > 0)
		take(plan, signal, &sender);
}

static void take(struct plan *plan, int signal, const struct os_sender *sender)
{
	switch (signal) {
	case SIGCHLD:
		reap_strangers(plan);
		return;
	case SIGHUP:
		plan_reload_all(plan);
		return;
	case SIGTTIN:
	case SIGTTOU:
		/* The terminal sends these too; from it, they mean nothing here. */
		if (!sender->is_kernel)
			scale_first(plan, signal == SIGTTIN ? 1 : -1);
		return;
	case SIGUSR1:
		log_info("signal SIGUSR1: reopening log files");
		plan_reopen(plan);
		return;
	case SIGUSR2:
		if (getpid() == 1)
			pass_on(plan, signal);
		else
			take_unasked(signal);
		return;
	case SIGWINCH:
	case SIGCONT:
		pass_on(plan, signal);
		return;
	default:
		stop(plan, signal, sender);
	}
}

static void stop(struct plan *plan, int signal, const struct os_sender *sender)
{
	char from[40] = "";

	if (sender->pid)
		snprintf(from, sizeof(from), " from process %d", (int)sender->pid);
	if (plan->stopping && clock_now_ms() < plan->stop_ms + STOP_AGAIN_MS) {
		log_info("signal %s%s again: stopping already", os_signal_name(signal), from);
	} else if (plan->stopping) {
		log_warning("signal %s%s again: killing what is left",
			    os_signal_name(signal), from);
		plan_kill(plan);
	} else {
		log_info("signal %s%s: stopping", os_signal_name(signal), from);
		plan_stop(plan);
	}
}

static void scale_first(struct plan *plan, int by)
{
	for (unsigned i = 0; i < plan->options.group_count; i++) {
		if (!plan->groups[i].options.is.fixed) {
			plan_scale(plan, i, by);
			return;
		}
	}
	log_warning("there is no group that could be scaled");
}

static void pass_on(struct plan *plan, int signal)
{
	for (unsigned i = 0; i < plan->options.group_count; i++) {
		list_each(link, &plan->groups[i].lives) {
			const struct life *life =
				container_of(link, struct life, in_group);

			if (life->child.pidfd >= 0)
				os_process_signal(life->child.pidfd, signal);
		}
	}
}

/* Or has the program a use for it, or who started us a reason to ignore it? */
static bool ends_us(int signal)
{
	struct sigaction now;

	return sigaction(signal, NULL, &now) == 0 && now.sa_handler == SIG_DFL;
}

/* The program may handle it since we took it, as from on_start: then it is the program's. */
static void take_unasked(int signal)
{
	sigset_t signals;

	if (ends_us(signal)) {
		log_warning("signal %s means nothing here; HUP replaces all children, and a new "
			    "version of the program needs a restart", os_signal_name(signal));
		return;
	}
	sigemptyset(&signals);
	sigaddset(&signals, signal);
	pthread_sigmask(SIG_UNBLOCK, &signals, NULL);
	raise(signal);
}
