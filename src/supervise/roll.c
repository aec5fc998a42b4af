/* SPDX-License-Identifier: MIT */
/*
 * A rolling restart. A reload raises the group's epoch; from then on, one place
 * after another, a child that is older than the epoch gets a successor, and is
 * told to stop when that is ready: there are never fewer ready children than
 * before. If a successor fails to boot the reload is off and the old ones stay.
 * A reload that is asked for during a reload, however often, is one more when that
 * is over, and not right then: in the end all are younger than the last request, and
 * who asks again and again (a hook, at each failure) does not keep the group from
 * its work. Threads are replaced by those of a new host, and the old host goes when
 * it is empty.
 */
#include <errno.h>

#include "base/clock.h"
#include "base/log.h"
#include "supervise/private.h"

static void begin(struct group_state *group);
static void end(struct group_state *group);

void plan_reload(struct plan *plan, unsigned number)
{
	plan->groups[number].reload_asked = true;
	roll_look(&plan->groups[number]);
}

void roll_look(struct group_state *group)
{
	if (!group->reload_asked || group->rolling || group->plan->stopping)
		return;
	if (group->rolled_ms && clock_now_ms() < group->rolled_ms + ROLL_AGAIN_MS)
		return;
	begin(group);
}

static void begin(struct group_state *group)
{
	struct life *host = group->host;

	group->reload_asked = false;
	group->epoch++;
	group->rolling = true;
	log_info("%s: rolling restart of %u children", group->options.is.name,
		 group->place_count);
	if (is_threads(group))
		group->host = NULL; /* the next thread gets a new one */
	roll_step(group);
	if (host)
		host_check(host); /* of nobody: each of its places waits for a restart */
}

void plan_reload_all(struct plan *plan)
{
	for (unsigned i = 0; i < plan->options.group_count; i++) {
		if (!plan->groups[i].options.is.fixed)
			plan_reload(plan, i);
	}
}

void roll_step(struct group_state *group)
{
	if (!group->rolling || group->plan->stopping)
		return;
	list_each(link, &group->places) {
		struct place *place = container_of(link, struct place, in_group);

		if (place->next || place->filling)
			return; /* one at a time */
		/* An empty place is filled by a young one anyway. */
		if (!place->now || place->now->epoch == group->epoch)
			continue;
		if (place->now->ready)
			place_start(place);
		else
			return; /* it becomes ready or dies; either brings us back */
		if (place->next || place->waiting || !group->rolling || !is_kept_up(group))
			return;
	}
	end(group);
	log_info("%s: rolling restart done", group->options.is.name);
}

static void end(struct group_state *group)
{
	group->rolling = false;
	group->rolled_ms = clock_now_ms();
}

void roll_failed(struct group_state *group)
{
	if (!group->rolling || group->plan->stopping)
		return;
	end(group);
	log_error("%s: rolling restart given up, the successor did not come up; "
		  "the old children stay", group->options.is.name);
	list_each(link, &group->places) {
		struct place *place = container_of(link, struct place, in_group);

		if (place->now)
			place->now->epoch = group->epoch;
	}
}
