/* SPDX-License-Identifier: MIT */
/*
 * When to start again. A child that had been ready is back at once: it worked,
 * something happened to it. One that was never ready, or that lives for a
 * moment only, will probably fail again: it waits, each time twice as long,
 * with some jitter so that a group does not fail in step.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "supervise/private.h"

static unsigned delay_of(struct child_private *child, const struct death *death);
static bool is_storm(struct group_state *group);
static void start(struct plan *plan, struct child_private *child);

void restart_later(struct plan *plan, struct child_private *child,
		   const struct death *death)
{
	struct group_state *group = group_of(child);
	const unsigned delay = delay_of(child, death);

	if (!death->was_ready)
		child->boot_failures++;
	if (!group->ever_ready) {
		plan_give_up(plan, child);
		if (plan->gave_up)
			return;
	}
	group->restarts++;
	if (delay == 0)
		start(plan, child);
	else
		loop_timer_set(&plan->loop, &child->restart,
			       clock_now_ms() + delay);
}

void restart_fire(struct loop *loop, struct timer *timer)
{
	struct child_private *child =
		container_of(timer, struct child_private, restart);

	(void)loop;
	if (!child->child.plan->stopping)
		start(child->child.plan, child);
}

static unsigned delay_of(struct child_private *child, const struct death *death)
{
	const bool storm = is_storm(group_of(child));
	unsigned delay = BACKOFF_FIRST_MS;

	if (death->was_ready && !storm)
		return 0;
	for (unsigned i = 0; i < child->failures && delay < BACKOFF_MAX_MS; i++)
		delay *= 2;
	child->failures++;
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

static void start(struct plan *plan, struct child_private *child)
{
	int r = spawn_child(plan, child);

	if (r == 0)
		return;
	log_error("cannot start %s[%u]: %s; trying again in a second",
		  child->child.group->name, child->child.index, strerror(-r));
	loop_timer_set(&plan->loop, &child->restart, clock_now_ms() + 1000);
}
