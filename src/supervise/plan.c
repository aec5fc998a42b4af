/* SPDX-License-Identifier: MIT */
/*
 * The plan: all groups together, from start to stop. Groups stop in their
 * order, each when the ones before it are gone; who does not go in time is
 * killed. A second signal, or plan_kill, kills all at once. If a group never
 * had a ready child and each of its places has failed often enough, the plan
 * gives up: a program that cannot start must say so and end.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/os/os.h"
#include "supervise/private.h"

static int make_groups(struct plan *plan);
static int take_signals(struct plan *plan);
static void signal_ready(struct loop *loop, struct watch *watch, uint32_t events);
static void tell_group(struct plan *plan, unsigned group);
static void free_child(struct plan *plan, struct child_private *child);

void child_ready(struct child_self *self)
{
	child_beat(self);
	atomic_store_explicit(&self->score->state, CHILD_READY,
			      memory_order_relaxed);
	os_channel_send(self->channel, READY_MESSAGE, sizeof(READY_MESSAGE), NULL,
			0);
}

void child_beat(struct child_self *self)
{
	atomic_store_explicit(&self->score->heartbeat_ms, clock_now_ms(),
			      memory_order_relaxed);
}

int plan_new(const struct plan_options *options, struct plan **ret_plan)
{
	struct plan *plan = calloc(1, sizeof(*plan));
	int r;

	if (!plan)
		return -ENOMEM;
	plan->options = *options;
	plan->health.fire = health_fire;
	plan->signals.fd = -1;
	r = loop_init(&plan->loop);
	if (r == 0)
		r = make_groups(plan);
	if (r == 0 && options->take_signals)
		r = take_signals(plan);
	if (r < 0) {
		plan_free(plan);
		return r;
	}
	*ret_plan = plan;
	return 0;
}

int plan_start(struct plan *plan)
{
	int r = 0;

	plan->started = true;
	loop_timer_set(&plan->loop, &plan->health, clock_now_ms() + HEALTH_MS);
	for (unsigned i = 0; i < plan->options.group_count && r == 0; i++) {
		for (unsigned j = 0; j < plan->options.groups[i].count && r == 0; j++)
			r = spawn_child(plan, &plan->groups[i].children[j]);
	}
	return r;
}

struct loop *plan_loop(struct plan *plan)
{
	return &plan->loop;
}

void plan_stop(struct plan *plan)
{
	if (plan->stopping)
		return;
	plan->stopping = true;
	if (plan->options.stopping)
		plan->options.stopping(plan->options.context);
	plan_check_stop(plan);
}

void plan_kill(struct plan *plan)
{
	plan_stop(plan);
	plan->killing = true;
	for (unsigned i = 0; i < plan->options.group_count; i++) {
		for (unsigned j = 0; j < plan->options.groups[i].count; j++)
			kill_child(&plan->groups[i].children[j], DEATH_ORDER);
	}
}

bool plan_done(const struct plan *plan)
{
	return plan->stopping && plan->alive == 0;
}

int plan_run(struct plan *plan)
{
	int r = 0;

	while (!plan_done(plan) && r == 0)
		r = loop_turn(&plan->loop, -1);
	if (r < 0)
		return r;
	return plan->gave_up ? 3 : 0;
}

void plan_free(struct plan *plan)
{
	if (!plan)
		return;
	if (plan->alive > 0) {
		plan_kill(plan);
		plan_run(plan);
	}
	for (unsigned i = 0; plan->groups && i < plan->options.group_count; i++) {
		for (unsigned j = 0; plan->groups[i].children &&
				     j < plan->options.groups[i].count; j++)
			free_child(plan, &plan->groups[i].children[j]);
		free(plan->groups[i].children);
	}
	free(plan->groups);
	if (plan->signals.fd >= 0)
		close(plan->signals.fd);
	scoreboard_fini(&plan->board);
	loop_fini(&plan->loop);
	free(plan);
}

void plan_condemn(struct plan *plan, struct child *child, enum death_cause cause)
{
	(void)plan;
	kill_child(container_of(child, struct child_private, child), cause);
}

struct child *plan_child(struct plan *plan, unsigned group, unsigned index)
{
	if (!plan || group >= plan->options.group_count ||
	    index >= plan->options.groups[group].count)
		return NULL;
	return &plan->groups[group].children[index].child;
}

unsigned plan_group_count(const struct plan *plan)
{
	return plan->options.group_count;
}

struct scoreboard *plan_scoreboard(struct plan *plan)
{
	return &plan->board;
}

uint64_t plan_restarts(const struct plan *plan, unsigned group)
{
	return plan->groups[group].restarts;
}

struct group_state *group_of(struct child_private *child)
{
	return &child->child.plan->groups[child->child.group_index];
}

/* One step of stopping: tell the next groups, kill who is late. */
void plan_check_stop(struct plan *plan)
{
	const uint64_t now = clock_now_ms();
	unsigned order = UINT32_MAX;

	for (unsigned i = 0; i < plan->options.group_count; i++) {
		if (plan->groups[i].alive > 0 &&
		    plan->options.groups[i].stop_order < order)
			order = plan->options.groups[i].stop_order;
	}
	for (unsigned i = 0; i < plan->options.group_count; i++) {
		struct group_state *group = &plan->groups[i];
		const struct group *options = &plan->options.groups[i];

		if (group->alive == 0 || options->stop_order != order)
			continue;
		if (!group->told)
			tell_group(plan, i);
		else if (now - group->term_ms > options->stop_timeout_ms) {
			for (unsigned j = 0; j < options->count; j++)
				kill_child(&group->children[j], DEATH_ORDER);
		}
	}
}

void plan_give_up(struct plan *plan, struct child_private *child)
{
	const unsigned index = child->child.group_index;
	const struct group *group = &plan->options.groups[index];

	for (unsigned j = 0; j < group->count; j++) {
		if (plan->groups[index].children[j].boot_failures < BOOT_FAILURES)
			return;
	}
	plan->gave_up = true;
	log_critical("%s: none of its %u processes ever came up: giving up",
		     group->name, group->count);
	stream_show_last(child);
	plan_stop(plan);
}

static int make_groups(struct plan *plan)
{
	unsigned line = 0;
	int r;

	for (unsigned i = 0; i < plan->options.group_count; i++)
		line += plan->options.groups[i].count;
	r = scoreboard_init(&plan->board, line ? line : 1);
	if (r < 0)
		return r;
	plan->groups = calloc(plan->options.group_count, sizeof(*plan->groups));
	if (!plan->groups)
		return -ENOMEM;
	line = 0;
	for (unsigned i = 0; i < plan->options.group_count; i++) {
		const struct group *group = &plan->options.groups[i];
		struct child_private *children =
			calloc(group->count, sizeof(*children));

		if (!children)
			return -ENOMEM;
		plan->groups[i].children = children;
		for (unsigned j = 0; j < group->count; j++) {
			children[j].restart.fire = restart_fire;
			children[j].child = (struct child){
				.plan = plan,
				.group = group,
				.group_index = i,
				.index = j,
				.line = line,
				.pidfd = -1,
				.channel = -1,
				.score = scoreboard_line(&plan->board, line),
				.private = &children[j],
			};
			line++;
		}
	}
	return 0;
}

static int take_signals(struct plan *plan)
{
	struct sigaction ignore = { .sa_handler = SIG_IGN };
	sigset_t signals;
	int fd;

	sigaction(SIGPIPE, &ignore, NULL);
	sigaction(SIGHUP, &ignore, NULL);
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGQUIT);
	sigaddset(&signals, SIGCHLD);
	fd = os_signals_open(&signals);
	if (fd < 0)
		return fd;
	plan->signals = (struct watch){ .fd = fd, .ready = signal_ready };
	return loop_add(&plan->loop, &plan->signals, EPOLLIN);
}

static void signal_ready(struct loop *loop, struct watch *watch, uint32_t events)
{
	struct plan *plan = container_of(watch, struct plan, signals);
	pid_t sender = 0;
	int signal;

	(void)loop;
	(void)events;
	while ((signal = os_signals_next(watch->fd, &sender)) > 0) {
		if (signal == SIGCHLD) {
			reap_strangers(plan);
		} else if (plan->stopping) {
			log_warning("signal SIG%s again: killing what is left",
				    sigabbrev_np(signal));
			plan_kill(plan);
		} else {
			log_info("signal SIG%s: stopping", sigabbrev_np(signal));
			plan_stop(plan);
		}
	}
}

static void tell_group(struct plan *plan, unsigned index)
{
	struct group_state *group = &plan->groups[index];

	group->told = true;
	group->term_ms = clock_now_ms();
	for (unsigned j = 0; j < plan->options.groups[index].count; j++) {
		struct child_private *child = &group->children[j];

		if (child->child.pid)
			os_process_signal(child->child.pidfd, SIGTERM);
	}
}

static void free_child(struct plan *plan, struct child_private *child)
{
	loop_timer_clear(&plan->loop, &child->restart);
	for (unsigned i = 0; i < LAST_LINES; i++)
		free(child->last_lines[i]);
}
