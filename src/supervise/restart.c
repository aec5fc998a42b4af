/* SPDX-License-Identifier: MIT */
/*
 * When to start again. A child that had been ready is back at once: it worked,
 * something happened to it. One that was never ready will probably fail again:
 * it waits, each time twice as long, with some jitter so that a group does not
 * fail in step. The same if it ends by itself, or crashes as a program that does
 * not say that it is ready, a moment after it was ready, again and again; or if a
 * whole group dies too fast. Beyond all this is the group's budget (budget.c).
 */
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "supervise/private.h"

static unsigned delay_of(struct place *place, const struct crew_death *death);
static bool is_crash(const struct group_state *group, const struct crew_death *death);
static unsigned backoff(unsigned failures);
static bool is_storm(struct group_state *group);

void restart_later(struct place *place, const struct crew_death *death)
{
	struct group_state *group = place->group;
	struct plan *plan = group->plan;
	unsigned delay = delay_of(place, death);

	if (!death->was_ready)
		place->boot_failures++;
	if (!group->ever_ready && !plan->stopping) {
		plan_give_up(group, death);
		if (plan->gave_up)
			return;
	}
	budget_count_failure(group);
	group->restarts++;
	if (!budget_take(group))
		delay = budget_delay_ms(group);
	else if (delay > 0)
		log_info("%s[%u] is started in %u ms, since it fails too soon or too often",
			 group->options.is.name, place->index, delay);
	if (delay == 0)
		place_start(place);
	else
		loop_timer_set(&plan->loop, &place->restart,
			       clock_now_ms() + delay);
}

static unsigned delay_of(struct place *place, const struct crew_death *death)
{
	const bool storm = is_storm(place->group);
	const bool moment = death->age_ms < MOMENT_MS &&
			    (death->cause == CREW_CAUSE_EXIT || is_crash(place->group, death));

	if (!death->was_ready)
		return backoff(place->failures++);
	if (storm)
		return backoff(0);
	if (!moment) {
		place->failures = 0;
		return 0;
	}
	if (place->failures++ < MOMENTS_MAX)
		return 0;
	return backoff(place->failures - MOMENTS_MAX - 1);
}

/* Of a program that says nothing of itself: it may never have worked. Nobody kills himself. */
static bool is_crash(const struct group_state *group, const struct crew_death *death)
{
	return group->options.is.kind == CREW_EXEC && !group->options.is.notify &&
	       death->cause == CREW_CAUSE_SIGNAL && death->signal != SIGKILL;
}

unsigned restart_pause(unsigned *failures, uint64_t age_ms)
{
	if (age_ms >= MOMENT_MS) {
		*failures = 0;
		return 0;
	}
	return backoff((*failures)++);
}

static unsigned backoff(unsigned failures)
{
	unsigned delay = BACKOFF_FIRST_MS;

	for (unsigned i = 0; i < failures && delay < BACKOFF_MAX_MS; i++)
		delay *= 2;
	if (delay > BACKOFF_MAX_MS)
		delay = BACKOFF_MAX_MS;
	return delay + (unsigned)(random() % (delay / 4 + 1));
}

static bool is_storm(struct group_state *group)
{
	const uint64_t second = clock_now_ms() / 1000;

	if (group->second != second) {
		group->second = second;
		group->deaths_in_second = 0;
	}
	return ++group->deaths_in_second > DEATHS_A_SECOND;
}
