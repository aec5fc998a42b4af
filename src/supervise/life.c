/* SPDX-License-Identifier: MIT */
/*
 * What happens to a child between its birth and its death: it becomes ready, it
 * is told to stop, it is killed. A table would have few cells here: a life's
 * state is what of ready, told, stale and killed is true, and each of them
 * becomes true once.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/os/os.h"
#include "supervise/private.h"

static const char *const leave_texts[] = {
	[LEAVE_ASKED] = "was asked to stop by another process, or cannot go on",
	[LEAVE_DONE] = "has done its share",
	[LEAVE_LARGE] = "has more memory than its limit",
};
_Static_assert(COUNT_OF(leave_texts) == LEAVE_COUNT, "each reason has a text");

static bool put_off_leave(struct life *life, uint64_t now_ms);
static bool is_replacing(const struct group_state *group);
static bool has_older_host(const struct life *host);

struct life *life_new(struct group_state *group, struct place *place)
{
	struct plan *plan = group->plan;
	struct life *life = calloc(1, sizeof(*life));
	int line = place ? place->dead_line : -1;

	if (line < 0)
		line = plan_take_line(plan);
	else
		place->dead_line = -1;
	if (!life || line < 0) {
		if (line >= 0)
			plan_free_line(plan, (unsigned)line);
		free(life);
		return NULL;
	}
	life->child = (struct child){
		.plan = plan,
		.group = &group->options,
		.group_index = group->number,
		.index = place ? place->index : 0,
		.generation = place ? ++place->generation : 1,
		.line = (unsigned)line,
		.pidfd = -1,
		.channel = -1,
		.score = scoreboard_line(&plan->board, (unsigned)line),
	};
	life->place = place;
	life->is_host = !place;
	life->input = life->far_end = -1;
	life->epoch = group->epoch;
	life->born_ms = life->beat_ms = clock_now_ms();
	life->boot_until_ms = group->options.is.boot_timeout_ms == CREW_NEVER
				      ? UINT64_MAX
				      : life->born_ms + group->options.is.boot_timeout_ms;
	life->watchdog_ms = group->options.is.heartbeat_timeout_ms;
	life->look.fire = reap_fire;
	life->out.watch.fd = life->error.watch.fd = life->notify_watch.fd = -1;
	list_init(&life->in_group);
	list_init(&life->out.in_waiting);
	list_init(&life->error.in_waiting);
	return life;
}

/* After its descriptors were closed. An empty place shows the line of who was
 * there last, as dead. */
void life_free(struct life *life)
{
	struct place *place;

	if (!life)
		return;
	place = life->place;
	life_note_pid(life, 0);
	if (place && !place->removed && !place->now && place->dead_line < 0) {
		place->dead_line = (int)life->child.line;
		score_set_state(life->child.score, CREW_CHILD_DEAD);
	} else {
		plan_free_line(life->child.plan, life->child.line);
		score_set_state(life->child.score, CREW_CHILD_EMPTY);
	}
	for (unsigned i = 0; i < LAST_LINES; i++)
		free(life->last_lines[i]);
	free(life->repeat.line);
	free(life);
}

void life_enter(struct life *life)
{
	struct group_state *group = group_of(life);
	struct plan *plan = group->plan;

	list_push_back(&group->lives, &life->in_group);
	plan->alive++;
	group->alive++;
	if (life->is_host)
		return;
	group->starting++;
	life->starting = true;
	if (group->options.spawned)
		group->options.spawned(plan->options.context, &life->child);
}

/* It is no more among those that boot. */
void life_started(struct life *life)
{
	if (life->starting)
		group_of(life)->starting--;
	life->starting = false;
}

void life_ready(struct life *life)
{
	struct group_state *group = group_of(life);
	struct place *place = life->place;
	struct life *before = NULL;

	if (life->ready || life->killed || life->stale)
		return;
	if (life->told_ms && place && place->next == life)
		return; /* it is about to go: who is there stays */
	life->ready = true;
	life->ready_ms = clock_now_ms();
	if (life->is_host)
		return;
	life_started(life);
	group->ever_ready = true;
	if (place) {
		place->boot_failures = 0;
		if (place->next == life) {
			before = place->now;
			place->now = life;
			place->next = NULL;
		}
	}
	if (group->options.ready)
		group->options.ready(group->plan->options.context, &life->child);
	if (before) {
		before->place = NULL;
		life_tell(before, SIGTERM);
	}
	place_start_waiting(group);
}

void life_executed(struct life *life)
{
	if (life->place && life->place->next == life) {
		/* It may not work, and who is there does: it is to show that it lives. */
		life->boot_until_ms = UINT64_MAX;
		life->trial_until_ms = clock_now_ms() + MOMENT_MS;
		return;
	}
	score_set_state(life->child.score, CREW_CHILD_READY);
	life_ready(life);
}

void life_tell(struct life *life, int signal)
{
	struct group_state *group = group_of(life);

	if (life->told_ms || life->killed)
		return;
	life->told_ms = clock_now_ms();
	life->told_signal = signal;
	life->extended_ms = 0; /* what it asked for was for what it did before */
	if (!life->stale)
		life_mark(life, CREW_CHILD_DRAINING);
	if (!life->is_host && !group->told && group->options.retiring)
		group->options.retiring(group->plan->options.context, &life->child);
	if (life->host)
		thread_tell(life, signal == SIGINT ? ASKED_TO_INTERRUPT
						   : ASKED_TO_FINISH);
	else
		life_signal(life, signal);
	if (signal != SIGKILL)
		return;
	if (life->host)
		thread_replace(life); /* as far as it can be killed */
	else
		life->killed = true, life->cause = CREW_CAUSE_ORDER;
}

void life_ask_to_leave(struct life *life, enum leave why)
{
	const uint64_t now_ms = clock_now_ms();

	/* What we said came while it had not heard the other yet: the same signal twice is
	 * one (signal(7)). */
	if (life->told_ms && !life->killed && why == LEAVE_ASKED)
		life_signal(life, life->told_signal);
	if (life->told_ms ||
	    (life->leave_ms && (why != LEAVE_ASKED || life->leave == LEAVE_ASKED)))
		return;
	if (life->leave_ms < now_ms) /* who has been put off stays so */
		life->leave_ms = now_ms;
	life->leave = why;
}

void life_let_leave(struct life *life, uint64_t now_ms)
{
	struct plan *plan = life->child.plan;
	struct place *place = life->place;
	char name[64];

	if (!life->leave_ms || plan->stopping || now_ms < life->leave_ms + LEAVE_MS ||
	    life->told_ms || life->killed)
		return;
	if (place && place->now == life && (place->next || place->waiting))
		return; /* once that is ready this one is told */
	if (life->leave != LEAVE_ASKED &&
	    (is_replacing(group_of(life)) || has_older_host(life)))
		return; /* one at a time: it can wait */
	if (put_off_leave(life, now_ms))
		return;
	if (life->is_host) {
		/* It goes when its threads have gone; if no others come up, later. */
		life->leave_ms = now_ms + BACKOFF_MAX_MS - LEAVE_MS;
		if (!host_has_places(life))
			return;
	}
	name_life(life, name, sizeof(name));
	log_info("%s (pid %d) %s: another one takes its place", name, (int)life->child.pid,
		 leave_texts[life->leave]);
	if (life->is_host) {
		plan_reload(plan, life->child.group_index);
	} else if (life->ready && place && place->now == life) {
		place_start(place);
	} else {
		life->leave_ms = 0;
		life_tell(life, SIGTERM);
	}
}

void life_leave_later(struct life *life)
{
	if (life->leave_ms)
		life->leave_ms = clock_now_ms() - LEAVE_MS +
				 restart_pause(&life->place->failures, 0);
}

void life_mark(struct life *life, enum crew_child_state mark)
{
	atomic_store_explicit(&life->child.score->mark, mark, memory_order_relaxed);
}

void life_kill(struct life *life, enum crew_cause cause)
{
	if (life->killed)
		return;
	if (life->host) {
		/* A thread cannot be killed; who must not stay takes the whole
		 * house along. Only at the end of all, or for what it did. */
		if (cause != CREW_CAUSE_ORDER || group_of(life)->told ||
		    life->child.plan->killing)
			life_kill(life->host, cause);
		else if (!life->stale)
			thread_replace(life);
		return;
	}
	life->killed = true;
	life->cause = cause;
	life_signal(life, SIGKILL);
}

void life_signal(const struct life *life, int signal)
{
	if (life->child.group->is.process_group)
		kill(-life->child.pid, signal);
	else
		os_process_signal(life->child.pidfd, signal);
}

void plan_condemn(struct plan *plan, struct child *child, enum crew_cause cause)
{
	struct life *life = life_of(child);

	(void)plan;
	if (life->host && cause == CREW_CAUSE_STUCK)
		thread_replace(life);
	else
		life_kill(life, cause);
}

void name_life(const struct life *life, char *ret_name, size_t size)
{
	if (life->is_host)
		snprintf(ret_name, size, "%s", life->child.group->is.name);
	else
		snprintf(ret_name, size, "%s[%u]", life->child.group->is.name,
			 life->child.index);
}

/* Who cannot go on from the first moment has a successor that will hardly do better: as with
 * deaths the pauses grow. It serves on meanwhile, as well as it can. */
static bool put_off_leave(struct life *life, uint64_t now_ms)
{
	struct group_state *group = group_of(life);
	struct place *place = life->place;
	const bool serves = life->is_host ? group->host == life : place && place->now == life;
	/* That it is too large is seen at the first look. */
	const unsigned seen_ms = life->leave == LEAVE_LARGE ? LIMIT_TICKS * HEALTH_MS : 0;
	unsigned *failures;
	uint64_t age_ms;

	if (life->leave_put_off || !life->ready || !serves)
		return false;
	failures = life->is_host ? &group->host_failures : &place->failures;
	/* It may have waited for others since. */
	age_ms = life->leave_ms > life->ready_ms ? life->leave_ms - life->ready_ms : 0;
	life->leave_put_off = true;
	life->leave_ms = now_ms - LEAVE_MS +
			 restart_pause(failures, age_ms > seen_ms ? age_ms - seen_ms : 0);
	return now_ms < life->leave_ms + LEAVE_MS;
}

/* Does one of the group boot in the place of another, or is it going to? */
static bool is_replacing(const struct group_state *group)
{
	list_each(link, &group->places) {
		const struct place *place = container_of(link, struct place, in_group);

		if (place->next || (place->now && place->waiting))
			return true;
	}
	return group->rolling;
}

/* Are there threads of its group that finish in the process that was their host before? */
static bool has_older_host(const struct life *host)
{
	const struct group_state *group = group_of(host);

	list_each(link, &group->lives) {
		const struct life *life = container_of(link, struct life, in_group);

		if (host->is_host && life->is_host && life != host && life != group->host &&
		    !host_has_places(life))
			return true;
	}
	return false;
}
