/* SPDX-License-Identifier: MIT */
/*
 * The budget of restarts. A group that needs more of them than it was given
 * within the window is degraded: it is tried at a slow pace, one child at a
 * time, and recovers when a child that was started then stays ready for as long
 * as the pace, or when the places that failed were removed. Children that never
 * failed go on working meanwhile.
 *
 * Here is also said, once and not in a flood, that most children of a group are
 * failing.
 */
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "supervise/private.h"

#define MINUTE_MS 60000u
#define FEW_CHILDREN 5u

static bool has_recovered(const struct group_state *group);
static bool was_ready_for_the_pace(const struct group_state *group, const struct life *life);
static void set_degraded(struct group_state *group, bool degraded);

bool budget_take(struct group_state *group)
{
	const unsigned max = group->options.is.max_restarts;
	const uint64_t now = clock_now_ms();
	uint64_t oldest;

	if (!max)
		return true;
	/* A ring: the next place to be written holds the oldest of the last max. */
	oldest = group->restart_times[group->restart_at];
	group->restart_times[group->restart_at] = now;
	group->restart_at = (group->restart_at + 1) % max;
	if (!group->degraded && oldest &&
	    now - oldest < group->options.is.restart_window_ms)
		set_degraded(group, true);
	return !group->degraded;
}

/* One place after another, each at the pace. */
unsigned budget_delay_ms(struct group_state *group)
{
	const unsigned pace = group->options.is.degraded_retry_ms;
	const uint64_t now = clock_now_ms();

	if (group->next_try_ms < now + pace)
		group->next_try_ms = now + pace + (uint64_t)random() % (pace / 8 + 1);
	else
		group->next_try_ms += pace;
	return (unsigned)(group->next_try_ms - now);
}

void budget_look(struct group_state *group)
{
	if (group->degraded && has_recovered(group))
		set_degraded(group, false);
}

/* A child that was started since the group is degraded has stayed ready. Or, where the places
 * that failed were removed, nobody is left to be tried. */
static bool has_recovered(const struct group_state *group)
{
	bool all = clock_now_ms() - group->degraded_ms >= group->options.is.degraded_retry_ms;

	list_each(link, &group->lives) {
		const struct life *life = container_of(link, struct life, in_group);

		if (!life->is_host && life->born_ms >= group->degraded_ms &&
		    was_ready_for_the_pace(group, life))
			return true;
	}
	list_each(link, &group->places) {
		const struct place *place = container_of(link, struct place, in_group);

		all = all && place->now && was_ready_for_the_pace(group, place->now);
	}
	return all;
}

static bool was_ready_for_the_pace(const struct group_state *group, const struct life *life)
{
	return child_is_up(&life->child) &&
	       clock_now_ms() - life->ready_ms >= group->options.is.degraded_retry_ms;
}

void budget_count_failure(struct group_state *group)
{
	const uint64_t now = clock_now_ms();

	if (now - group->minute_ms > MINUTE_MS) {
		group->minute_ms = now;
		group->failures_in_minute = 0;
	}
	group->failures_in_minute++;
	if (group->place_count <= FEW_CHILDREN ||
	    group->failures_in_minute <= group->place_count / 2 ||
	    (group->said_failing_ms &&
	     now - group->said_failing_ms < FAILING_AGAIN_MS))
		return;
	group->said_failing_ms = now;
	log_critical("%s: most children are failing: %u deaths of %u children "
		     "within a minute", group->options.is.name,
		     group->failures_in_minute, group->place_count);
}

static void set_degraded(struct group_state *group, bool degraded)
{
	const struct crew_group *options = &group->options.is;
	const uint64_t now = clock_now_ms();

	group->degraded = degraded;
	if (degraded) {
		group->degraded_ms = now;
		group->next_try_ms = 0;
		log_critical("%s is degraded: more than %u restarts within %u s; "
			     "trying again every %u ms", options->name,
			     options->max_restarts,
			     options->restart_window_ms / 1000,
			     options->degraded_retry_ms);
	} else {
		for (unsigned i = 0; i < options->max_restarts; i++)
			group->restart_times[i] = 0;
		log_warning("%s has recovered", options->name);
		list_each(link, &group->places) {
			struct place *place =
				container_of(link, struct place, in_group);

			/* Those that wait for the slow pace are tried now. */
			if (!place->now && loop_timer_is_set(&place->restart))
				loop_timer_set(&group->plan->loop,
					       &place->restart, now);
		}
	}
	if (group->options.degraded)
		group->options.degraded(group->plan->options.context,
					group->number, degraded);
}
