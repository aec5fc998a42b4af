/* SPDX-License-Identifier: MIT */
/*
 * A child's own side: beating its heart, resting, being asked to stop.
 *
 * SIGTERM only sets a flag and wakes crew_rest: its handler restarts what it
 * interrupted, so that run() finishes in its own time. In a group that stops later
 * than another one it counts only when it is the parent's: one of somebody else is
 * passed on to the parent. SIGINT must end blocking
 * calls too. A single signal cannot do that: it may come just before the call.
 * So SIGINT starts a timer that sends the main thread another signal, again and
 * again, whose handler does nothing and restarts nothing: each blocking call
 * that is begun from then on returns with EINTR, until run() has ended: what
 * shuts down may block.
 *
 * The terminal sends Ctrl-C to all processes of the foreground group, with the
 * kernel as its sender: that is not for children, the parent decides.
 */
#include "supervise/self.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/os/os.h"
#include "supervise/supervise.h"

/* How often blocking calls are interrupted, once they are to be. */
#define INTERRUPT_NS 20000000l
/* How long the parent is left to make room in a channel before it is tried again. */
#define FULL_NAP_NS 1000000u

static struct crew_child *self_of_signals; /* of this process */
static pid_t own_pid;                      /* what is forked from it is no child of the plan's */
static volatile sig_atomic_t passed_on;    /* words of others, which the parent may yet answer */
static timer_t interrupts;

static void handle_stop(int signal, siginfo_t *info, void *context);
static void end_interrupts(struct crew_child *self);
static bool is_for_the_parent(struct crew_child *self, pid_t by);
static bool is_said_to_all(bool by_parent);
static bool is_an_answer(bool by_parent);
static void handle_nothing(int signal);
static unsigned rest_slice_ms(const struct crew_child *self);

int crew_stop_fd(const struct crew_child *self)
{
	return self->stop_fd;
}

const char *crew_child_group(const struct crew_child *self)
{
	return self->group;
}

unsigned crew_index(const struct crew_child *self)
{
	return self->index;
}

unsigned crew_generation(const struct crew_child *self)
{
	return self->generation;
}

void *crew_argument(const struct crew_child *self)
{
	return self->argument;
}

void crew_child_beat(struct crew_child *self)
{
	atomic_store_explicit(&self->score->heartbeat_ms, clock_now_ms(),
			      memory_order_relaxed);
}

void crew_ready(struct crew_child *self)
{
	uint32_t starting = CREW_CHILD_STARTING;

	/* Who stops already takes nobody's place; the first has nobody before it. */
	if (!crew_running(self) && self->generation > 1)
		return;
	if (atomic_compare_exchange_strong_explicit(
		    &self->score->state, &starting, CREW_CHILD_READY,
		    memory_order_relaxed, memory_order_relaxed))
		self_tell_ready(self);
}

void self_tell_ready(struct crew_child *self)
{
	while (os_channel_is_full(os_channel_send(self->channel, READY_MESSAGE,
						  sizeof(READY_MESSAGE), NULL, 0)) &&
	       atomic_load_explicit(&self->asked, memory_order_acquire) == ASKED_NOTHING)
		os_nap(FULL_NAP_NS);
}

void crew_child_status(struct crew_child *self, const char *text)
{
	score_set_status(self->score, text, strlen(text));
}

bool crew_running(struct crew_child *self)
{
	crew_child_beat(self);
	return atomic_load_explicit(&self->asked, memory_order_acquire) ==
	       ASKED_NOTHING;
}

bool crew_rest(struct crew_child *self, unsigned ms)
{
	const uint64_t end = clock_now_ms() + ms;
	const unsigned slice = rest_slice_ms(self);
	struct pollfd news[] = { { .fd = self->stop_fd, .events = POLLIN },
				 { .fd = self->channel } };

	while (crew_running(self)) {
		const uint64_t now = clock_now_ms();
		uint64_t left = end > now ? end - now : 0;

		if (left == 0)
			return true;
		if (left > slice)
			left = slice;
		if (poll(news, COUNT_OF(news), (int)left) <= 0 || !news[1].revents)
			continue;
		/* The parent is gone, and the kernel has not ended us: it forgets that of
		 * who becomes another user (prctl(2), PR_SET_PDEATHSIG). */
		if (news[1].revents & POLLHUP)
			self_ask(self, ASKED_TO_FINISH);
		news[1].fd = -1;
	}
	return false;
}

int self_live(struct crew_child *self)
{
	const struct crew_group *group = self->options;
	int code = 0;

	for (unsigned i = 0; code == 0 && group->on_start && group->on_start[i]; i++)
		code = group->on_start[i](self);
	/* Again, since they may have made it another user's. A host watches its channel. */
	if (code == 0 && !self->is_thread && os_die_with_parent(SIGKILL, self->parent) < 0)
		_exit(EX_OSERR);
	if (code == 0) {
		if (!group->notify)
			crew_ready(self);
		code = group->run(self);
	}
	end_interrupts(self);
	for (unsigned i = 0; group->on_shutdown && group->on_shutdown[i]; i++)
		group->on_shutdown[i](self);
	return code;
}

int self_take_signals(struct crew_child *self)
{
	struct sigaction action = { .sa_sigaction = handle_stop,
				    .sa_flags = SA_SIGINFO | SA_RESTART };
	struct sigevent event = { .sigev_notify = SIGEV_THREAD_ID,
				  .sigev_signo = self_interrupt_signal() };
	sigset_t none;

	event._sigev_un._tid = getpid(); /* the main thread's id */
	if (timer_create(CLOCK_MONOTONIC, &event, &interrupts) < 0)
		return -errno;
	self->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (self->stop_fd < 0)
		return -errno;
	self_of_signals = self;
	own_pid = getpid();
	self_allow_interrupts();
	sigfillset(&action.sa_mask);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	sigemptyset(&none);
	pthread_sigmask(SIG_SETMASK, &none, NULL);
	return 0;
}

int self_block_signals(struct crew_child *self)
{
	/* A file that may not become larger is an error of who writes it, no end of all; the
	 * others are for the parent, though they may be sent to all of us. */
	static const int ignored[] = { SIGINT, SIGXFSZ, SIGUSR1, SIGUSR2, SIGTTIN, SIGTTOU };
	struct sigaction ignore = { .sa_handler = SIG_IGN };
	sigset_t stop;

	for (size_t i = 0; i < COUNT_OF(ignored); i++)
		sigaction(ignored[i], &ignore, NULL);
	sigemptyset(&stop);
	sigaddset(&stop, SIGTERM);
	pthread_sigmask(SIG_SETMASK, &stop, NULL);
	self->stop_fd = os_signals_open(&stop);
	return self->stop_fd < 0 ? self->stop_fd : 0;
}

bool self_take_stop(struct crew_child *self, bool *ret_by_parent)
{
	uint64_t count;
	struct os_sender sender;

	if (self->is_thread) {
		*ret_by_parent = true;
		return read(self->stop_fd, &count, sizeof(count)) == sizeof(count);
	}
	if (os_signals_next(self->stop_fd, &sender) <= 0)
		return false;
	*ret_by_parent = sender.pid == self->parent;
	return true;
}

int self_ask_to_leave(struct crew_child *self)
{
	return os_channel_send(self->channel, LEAVE_MESSAGE, sizeof(LEAVE_MESSAGE), NULL, 0);
}

int self_ask_for_successor(struct crew_child *self)
{
	return os_channel_send(self->channel, DONE_MESSAGE, sizeof(DONE_MESSAGE), NULL, 0);
}

/* Async-signal-safe. The stronger wish stays. */
void self_ask(struct crew_child *self, enum self_asked what)
{
	const int saved = errno;
	int before = atomic_load_explicit(&self->asked, memory_order_relaxed);

	while (before < (int)what &&
	       !atomic_compare_exchange_weak_explicit(&self->asked, &before, what,
						      memory_order_acq_rel,
						      memory_order_relaxed))
		;
	os_bell_ring(self->stop_fd);
	errno = saved;
}

int self_interrupt_signal(void)
{
	return SIGRTMAX - 1;
}

void self_allow_interrupts(void)
{
	struct sigaction action = { .sa_handler = handle_nothing };

	sigaction(self_interrupt_signal(), &action, NULL);
}

static void handle_stop(int signal, siginfo_t *info, void *context)
{
	const struct itimerspec soon = { { 0, INTERRUPT_NS }, { 0, 1 } };
	struct sigaction fatal = { .sa_handler = SIG_DFL };
	struct crew_child *self = self_of_signals;
	sigset_t unblock;

	(void)context;
	if (signal == SIGINT && info->si_code == SI_KERNEL)
		return;
	if (signal == SIGTERM && is_for_the_parent(self, info->si_pid))
		return;
	if (signal == SIGTERM && is_said_to_all(info->si_pid == self->parent))
		return;
	if (atomic_load_explicit(&self->asked, memory_order_relaxed)) {
		if (signal == SIGTERM && is_an_answer(info->si_pid == self->parent))
			return;
		sigaction(signal, &fatal, NULL);
		raise(signal);
		sigemptyset(&unblock);
		sigaddset(&unblock, signal);
		pthread_sigmask(SIG_UNBLOCK, &unblock, NULL);
		return;
	}
	self_ask(self, signal == SIGINT ? ASKED_TO_INTERRUPT : ASKED_TO_FINISH);
	if (signal == SIGINT)
		timer_settime(interrupts, 0, &soon, NULL);
}

/* Blocked, since one may be on its way. */
static void end_interrupts(struct crew_child *self)
{
	sigset_t interrupt;

	sigemptyset(&interrupt);
	sigaddset(&interrupt, self_interrupt_signal());
	pthread_sigmask(SIG_BLOCK, &interrupt, NULL);
	atomic_store_explicit(&self->ran, true, memory_order_relaxed);
}

/* Others are to stop before us: somebody else's word may have gone to all of them
 * (systemd.kill(5)), and it is the parent who knows. */
static bool is_for_the_parent(struct crew_child *self, pid_t by)
{
	const int saved = errno;
	const bool is = self->stops_later && by != self->parent && getpid() == own_pid &&
			atomic_load_explicit(&self->asked, memory_order_relaxed) ==
				ASKED_NOTHING &&
			self_ask_to_leave(self) == 0;

	errno = saved;
	if (is)
		passed_on++;
	return is;
}

/* Of a SIGTERM of the parent's and one of somebody else, who may have sent it to all processes
 * (systemd.kill(5)), the second is none. Which comes first is a matter of luck. */
static bool is_said_to_all(bool by_parent)
{
	static volatile sig_atomic_t heard[2];
	const bool is_second = heard[!by_parent] && !heard[by_parent];

	heard[by_parent] = 1;
	return is_second;
}

/* A parent that had told us before it read what we passed on says it again, since two signals that
 * come together are one (life_ask_to_leave). */
static bool is_an_answer(bool by_parent)
{
	if (!by_parent || passed_on == 0)
		return false;
	passed_on--;
	return true;
}

static void handle_nothing(int signal)
{
	(void)signal;
}

/* Often enough to be seen alive. */
static unsigned rest_slice_ms(const struct crew_child *self)
{
	const unsigned timeout = self->options->heartbeat_timeout_ms;

	if (timeout == CREW_NEVER)
		return INT_MAX;
	return timeout / 4 > 0 ? timeout / 4 : 1;
}
