/* SPDX-License-Identifier: MIT */
/*
 * The plan: all groups together, from start to stop. Groups stop in their
 * order, each when the ones before it are gone; until then its dead are replaced,
 * since those before may still need them. Who does not go in time is killed. A
 * later signal, or plan_kill, kills all at once. If a group never had a ready
 * child and each of its places failed often enough, the plan gives up: a program
 * that cannot start must say so and end.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/os/os.h"
#include "supervise/private.h"

static void tell_unheld_limits(const struct plan *plan);
static void tell_group(struct group_state *group);

int plan_new(const struct plan_options *options, struct plan **ret_plan,
	     struct crew_error *ret_error)
{
	struct plan *plan = calloc(1, sizeof(*plan));
	struct crew_error error = { 0 };
	int r;

	if (!plan)
		return error_set(ret_error, ENOMEM, "no memory for the plan");
	plan->options = *options;
	plan->health.fire = health_fire;
	plan->room.fire = streams_room_fire;
	plan->hosts.fire = threads_fire;
	plan->signals.fd = -1;
	plan->oom_kills = os_oom_kills();
	list_init(&plan->waiting);
	list_init(&plan->held);
	r = loop_init(&plan->loop);
	if (r == 0)
		r = scoreboard_init(&plan->board, SCOREBOARD_LINES);
	plan->lines_used = calloc(1, SCOREBOARD_LINES);
	plan->groups = calloc(options->group_count, sizeof(*plan->groups));
	if (r == 0 && (!plan->lines_used || !plan->groups))
		r = -ENOMEM;
	for (unsigned i = 0; r == 0 && i < options->group_count; i++)
		r = group_init(plan, i, &options->groups[i], &error);
	if (r == 0 && options->take_signals)
		r = signals_take(plan);
	if (r < 0) {
		plan_free(plan);
		if (error.code == 0)
			error_set(&error, -r, "cannot make the plan: %s", strerror(-r));
		if (ret_error)
			*ret_error = error;
		return r;
	}
	*ret_plan = plan;
	return 0;
}

int plan_start(struct plan *plan)
{
	plan->started = true;
	tell_unheld_limits(plan);
	/* A process takes four and more: a channel, a pidfd, its streams. */
	if (plan->options.raise_descriptors)
		plan->child_fds = os_raise_descriptor_limit();
	loop_timer_set(&plan->loop, &plan->health, clock_now_ms() + HEALTH_MS);
	for (unsigned i = 0; i < plan->options.group_count; i++) {
		list_each(link, &plan->groups[i].places) {
			struct place *place = container_of(link, struct place, in_group);

			/* Who was added before the fork of one before is there. */
			if (!place->now)
				place_start(place);
		}
	}
	/* Not one child: there is no use in trying again and again. */
	if (plan->alive == 0 && plan->options.group_count > 0 && !plan->stopping)
		return plan->spawn_error ? plan->spawn_error : -EAGAIN;
	return 0;
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
	plan->stop_ms = clock_now_ms(); /* what came while that ran came at once */
	plan_check_stop(plan);
}

void plan_kill(struct plan *plan)
{
	plan_stop(plan);
	plan->killing = true;
	for (unsigned i = 0; i < plan->options.group_count; i++) {
		list_each(link, &plan->groups[i].lives)
			life_kill(container_of(link, struct life, in_group),
				  CREW_CAUSE_ORDER);
	}
}

bool plan_stopping(const struct plan *plan)
{
	return plan->stopping;
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
	return r < 0 ? r : plan_exit_code(plan);
}

int plan_exit_code(const struct plan *plan)
{
	return plan->gave_up ? CREW_EXIT_GAVE_UP : CREW_EXIT_OK;
}

void plan_end(struct plan *plan)
{
	if (!plan || plan->alive == 0)
		return;
	plan_kill(plan);
	plan_run(plan);
}

void plan_free(struct plan *plan)
{
	if (!plan)
		return;
	plan_end(plan);
	for (unsigned i = 0; plan->groups && i < plan->options.group_count; i++)
		group_fini(&plan->groups[i]);
	log_tell_dropped();
	free(plan->groups);
	history_free(plan);
	list_each(link, &plan->held)
		free_held(container_of(link, struct held, in_plan));
	if (plan->signals.fd >= 0)
		close(plan->signals.fd);
	free(plan->lines_used);
	scoreboard_fini(&plan->board);
	loop_fini(&plan->loop);
	free(plan);
}

int plan_take_line(struct plan *plan)
{
	for (unsigned i = 0; i < SCOREBOARD_LINES; i++) {
		if (!plan->lines_used[i]) {
			plan->lines_used[i] = 1;
			scoreboard_use(&plan->board, i);
			return (int)i;
		}
	}
	return -ENOSPC;
}

void plan_free_line(struct plan *plan, unsigned line)
{
	plan->lines_used[line] = 0;
}

/* One step of stopping: tell the groups whose turn it is. */
void plan_check_stop(struct plan *plan)
{
	unsigned order = UINT_MAX;

	if (!plan->stopping)
		return;
	for (unsigned i = 0; i < plan->options.group_count; i++) {
		const struct group_state *group = &plan->groups[i];

		if (group->alive > 0 && group->options.is.stop_order < order)
			order = group->options.is.stop_order;
	}
	for (unsigned i = 0; i < plan->options.group_count; i++) {
		struct group_state *group = &plan->groups[i];

		/* Nobody alive: then nobody is to be started again. */
		if (group->options.is.stop_order <= order && !group->told)
			tell_group(group);
	}
}

void plan_give_up(struct group_state *group, const struct crew_death *death)
{
	const char *line = death->last_lines;

	list_each(link, &group->places) {
		if (container_of(link, struct place, in_group)->boot_failures <
		    BOOT_FAILURES)
			return;
	}
	group->plan->gave_up = true;
	log_critical("%s: none of its %u children ever came up: giving up",
		     group->options.is.name, group->place_count);
	while (*line) {
		const char *end = strchrnul(line, '\n');

		log_critical("last line of %s[%u]: %.*s", group->options.is.name,
			     death->index, (int)(end - line), line);
		line = *end ? end + 1 : end;
	}
	plan_stop(group->plan);
}

/* Who asked for limits is to know where none can be (a container without /proc). */
static void tell_unheld_limits(const struct plan *plan)
{
	if (os_resident_bytes(getpid()) > 0)
		return;
	for (unsigned i = 0; i < plan->options.group_count; i++) {
		const struct crew_group *group = &plan->groups[i].options.is;
		const unsigned max = group->max_descriptors;

		if (group->max_rss_bytes || (max && max != CREW_NEVER))
			log_warning("%s: /proc cannot be read, so that nobody is held to "
				    "max_rss_bytes and max_descriptors", group->name);
	}
}

static void tell_group(struct group_state *group)
{
	group->told = true;
	list_each(link, &group->lives) {
		struct life *life = container_of(link, struct life, in_group);

		/* What was told before is no part of this stop: if a stale thread counted
		 * as late at once, its host would die with all others. */
		if (life->told_ms)
			life->told_ms = clock_now_ms();
		/* A host goes when its threads are gone. */
		if (life->is_host)
			host_check(life);
		else
			life_tell(life, SIGTERM);
	}
}

unsigned plan_patience_ms(const struct group_state *group)
{
	const unsigned retire_ms = group->options.retire_timeout_ms;

	return retire_ms && !group->told ? retire_ms : group->options.is.stop_timeout_ms;
}

/* Who is to retire may go on with what it has begun, as long as it says so; but one that says it of
 * the future is not believed (its memory may be spoilt). */
static uint64_t waited_ms(const struct group_state *group, const struct life *life)
{
	const uint64_t alive_ms =
		atomic_load_explicit(&life->child.score->alive_ms, memory_order_relaxed);
	const uint64_t now_ms = clock_now_ms();
	uint64_t since_ms = life->told_ms;

	if (group->options.retire_timeout_ms && !group->told && alive_ms &&
	    alive_ms <= now_ms + HEALTH_MS) {
		if (alive_ms > since_ms)
			since_ms = alive_ms;
		if (group->plan->resumed_ms > since_ms)
			since_ms = group->plan->resumed_ms; /* it could say nothing */
	}
	return now_ms > since_ms ? now_ms - since_ms : 0;
}

/* Whoever was told, for whatever reason, and is late. */
void plan_check_late(struct group_state *group)
{
	const uint64_t now = clock_now_ms();
	const unsigned patience = plan_patience_ms(group);
	char name[64];

	list_each(link, &group->lives) {
		struct life *life = container_of(link, struct life, in_group);

		/* A stale thread was late before. */
		if (!life->told_ms || life->killed || patience == CREW_NEVER ||
		    (life->stale && !group->told) ||
		    waited_ms(group, life) <= patience || now <= life->extended_ms)
			continue;
		name_life(life, name, sizeof(name));
		log_warning("%s (pid %d) did not stop within its stop timeout of "
			    "%u ms", name, (int)life->child.pid, patience);
		life_kill(life, CREW_CAUSE_ORDER);
	}
}
