/* SPDX-License-Identifier: MIT */
/*
 * The host process of a group of threads, in that process. Its main thread runs
 * no user's code: it starts threads as the parent orders, passes on requests to
 * stop, joins who has ended and tells the parent, and beats its own heart. Each
 * thread has a channel, a line of the scoreboard and a stop descriptor of its
 * own, so that code that runs in a process runs in a thread unchanged.
 *
 * Threads take no signals but the one that interrupts blocking calls.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/os/os.h"
#include "supervise/private.h"

#define INTERRUPT_MS 20u

struct host {
	struct crew_child *self;
	struct group_state *group;
	struct loop loop;
	struct watch channel;
	struct watch signals;
	struct watch ended;   /* rung by a thread that ends */
	struct timer beat;
	struct timer interrupt;
	struct list threads;
	bool stopping;
};

struct host_thread {
	struct list in_host;
	struct host *host;
	struct crew_child self;
	pthread_t thread;
	_Atomic bool over;
	int code; /* written before `over` */
	bool interrupted;
};

static int host_init(struct host *host);
static void order_came(struct loop *loop, struct watch *watch, uint32_t events);
static void signal_came(struct loop *loop, struct watch *watch, uint32_t events);
static void thread_over(struct loop *loop, struct watch *watch, uint32_t events);
static void beat(struct loop *loop, struct timer *timer);
static void interrupt_all(struct loop *loop, struct timer *timer);
static void start_thread(struct host *host, const struct host_message *message, int fd);
static void *live_thread(void *argument);
static void tell_end(struct crew_child *self, int code);
static void ask(struct host_thread *thread, enum self_asked what);

int host_live(struct crew_child *self, struct plan *plan, struct group_state *group)
{
	struct host host = { .self = self, .group = group };
	int r = host_init(&host);

	(void)plan;
	if (r < 0) {
		log_critical("the host of the threads cannot start: %s", strerror(-r));
		return EX_OSERR;
	}
	beat(&host.loop, &host.beat);
	self_tell_ready(self);
	while (r == 0 && (!host.stopping || !list_empty(&host.threads)))
		r = loop_turn(&host.loop, -1);
	return r < 0 ? EX_OSERR : 0;
}

static int host_init(struct host *host)
{
	sigset_t blocked;
	sigset_t signals;
	int r;

	/* Inherited by the threads: only interrupts come through. */
	sigfillset(&blocked);
	sigdelset(&blocked, self_interrupt_signal());
	pthread_sigmask(SIG_SETMASK, &blocked, NULL);
	self_allow_interrupts();
	sigaction(SIGXFSZ, &(struct sigaction){ .sa_handler = SIG_IGN }, NULL);
	list_init(&host->threads);
	r = loop_init(&host->loop);
	if (r < 0)
		return r;
	host->loop.owner = host;
	host->beat.fire = beat;
	host->interrupt.fire = interrupt_all;
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	host->signals = (struct watch){ .fd = os_signals_open(&signals),
					.ready = signal_came };
	host->ended = (struct watch){ .fd = os_bell_create(), .ready = thread_over };
	host->channel = (struct watch){ .fd = host->self->channel,
					.ready = order_came };
	if (host->signals.fd < 0 || host->ended.fd < 0)
		return -EMFILE;
	r = loop_add(&host->loop, &host->signals, EPOLLIN);
	if (r == 0)
		r = loop_add(&host->loop, &host->ended, EPOLLIN);
	if (r == 0)
		r = loop_add(&host->loop, &host->channel, EPOLLIN);
	return r;
}

static void order_came(struct loop *loop, struct watch *watch, uint32_t events)
{
	struct host *host = loop->owner;
	struct host_message message;
	int fds[OS_CHANNEL_FDS_MAX];
	size_t fd_count = 0;
	int n = os_channel_receive(watch->fd, &message, sizeof(message), fds,
				   &fd_count);

	(void)events;
	if (n == -EAGAIN)
		return;
	if (n <= 0)
		_exit(EX_OSERR); /* the parent is gone */
	if (n == sizeof(message) && message.order == HOST_START && fd_count == 1) {
		start_thread(host, &message, fds[0]);
		return;
	}
	os_close_each(fds, fd_count);
	if (message.order == HOST_START) {
		/* The parent hears the end of the channel that was to be its. */
		log_error("cannot start the thread %s[%u]: no descriptor is left for its "
			  "channel; raise the limit (ulimit -n)", host->self->group,
			  message.index);
		return;
	}
	list_each(link, &host->threads) {
		struct host_thread *thread =
			container_of(link, struct host_thread, in_host);

		if (thread->self.line == message.line)
			ask(thread, message.order == HOST_INTERRUPT
					    ? ASKED_TO_INTERRUPT
					    : ASKED_TO_FINISH);
	}
}

static void signal_came(struct loop *loop, struct watch *watch, uint32_t events)
{
	struct host *host = loop->owner;
	struct os_sender sender;
	int signal;

	(void)events;
	while ((signal = os_signals_next(watch->fd, &sender)) > 0) {
		/* A Ctrl-C of the terminal: the parent decides. */
		if (signal == SIGINT && sender.is_kernel)
			continue;
		if (signal == SIGTERM && sender.pid != host->self->parent &&
		    self_ask_to_leave(host->self) == 0)
			continue;
		if (host->stopping && signal == SIGINT)
			_exit(128 + signal);
		host->stopping = true;
		list_each(link, &host->threads)
			ask(container_of(link, struct host_thread, in_host),
			    signal == SIGINT ? ASKED_TO_INTERRUPT : ASKED_TO_FINISH);
	}
}

static void start_thread(struct host *host, const struct host_message *message, int fd)
{
	struct host_thread *thread = calloc(1, sizeof(*thread));
	int r = thread ? scoreboard_open_line(host->self->board, message->line)
		       : -ENOMEM;

	if (r == 0) {
		thread->host = host;
		thread->self = *host->self;
		thread->self.index = message->index;
		thread->self.generation = message->generation;
		thread->self.line = message->line;
		thread->self.channel = fd;
		thread->self.is_thread = true;
		thread->self.score = scoreboard_line(host->self->board, message->line);
		thread->self.stop_fd = os_bell_create();
		r = thread->self.stop_fd < 0 ? thread->self.stop_fd : 0;
	}
	if (r == 0) {
		list_push_back(&host->threads, &thread->in_host);
		r = -pthread_create(&thread->thread, NULL, live_thread, thread);
		if (r == 0)
			return;
		list_remove(&thread->in_host);
		close(thread->self.stop_fd);
	}
	log_error("cannot start the thread %s[%u]: %s", host->self->group,
		  message->index, strerror(-r));
	tell_end(&(struct crew_child){ .channel = fd }, EX_OSERR);
	close(fd);
	free(thread);
}

static void *live_thread(void *argument)
{
	struct host_thread *thread = argument;

	log_use_level_word(&thread->self.score->log_level);
	log_use_index(thread->self.index);
	char name[64];

	snprintf(name, sizeof(name), "%s[%u]", thread->self.group, thread->self.index);
	os_set_process_name(name);
	crew_child_beat(&thread->self);
	thread->code = self_live(&thread->self);
	atomic_store_explicit(&thread->over, true, memory_order_release);
	os_bell_ring(thread->host->ended.fd);
	return NULL;
}

static void thread_over(struct loop *loop, struct watch *watch, uint32_t events)
{
	struct host *host = loop->owner;

	(void)events;
	os_bell_hush(watch->fd);
	list_each(link, &host->threads) {
		struct host_thread *thread =
			container_of(link, struct host_thread, in_host);

		if (!atomic_load_explicit(&thread->over, memory_order_acquire))
			continue;
		pthread_join(thread->thread, NULL);
		list_remove(link);
		tell_end(&thread->self, thread->code);
		close(thread->self.channel);
		close(thread->self.stop_fd);
		free(thread);
	}
}

static void tell_end(struct crew_child *self, int code)
{
	const struct thread_end end = { .what = THREAD_END_MESSAGE, .code = code & 255 };

	os_channel_send(self->channel, &end, sizeof(end), NULL, 0);
}

static void ask(struct host_thread *thread, enum self_asked what)
{
	struct host *host = thread->host;

	self_ask(&thread->self, what);
	if (what != ASKED_TO_INTERRUPT || thread->interrupted)
		return;
	thread->interrupted = true;
	loop_timer_set(&host->loop, &host->interrupt, clock_now_ms());
}

/* Again and again: one signal may come just before the call that blocks. */
static void interrupt_all(struct loop *loop, struct timer *timer)
{
	struct host *host = loop->owner;
	bool again = false;

	list_each(link, &host->threads) {
		struct host_thread *thread =
			container_of(link, struct host_thread, in_host);

		if (!thread->interrupted ||
		    atomic_load_explicit(&thread->self.ran, memory_order_relaxed))
			continue;
		pthread_kill(thread->thread, self_interrupt_signal());
		again = true;
	}
	if (again)
		loop_timer_set(loop, timer, loop->now_ms + INTERRUPT_MS);
}

static void beat(struct loop *loop, struct timer *timer)
{
	struct host *host = loop->owner;

	crew_child_beat(host->self);
	loop_timer_set(loop, timer, loop->now_ms + HOST_BEAT_MS);
}
