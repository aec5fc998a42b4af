/* SPDX-License-Identifier: MIT */
/*
 * A place: one id of a group, which is to be kept filled. It is filled at once,
 * or when fewer of its group are booting than may, or when the restart timer
 * says so. A place that was removed lives on, out of the group's list, until
 * its last child is gone.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "supervise/private.h"

static bool ask_before_fork(struct place *place);
static unsigned last_generation(const struct group_state *group, unsigned index);

int place_new(struct group_state *group, unsigned index, struct place **ret_place)
{
	struct place *place;
	struct list *before = &group->places;

	if (group->place_count >= CHILDREN_MAX)
		return -ENOSPC;
	if (place_find(group, index))
		return -EEXIST;
	place = calloc(1, sizeof(*place));
	if (!place)
		return -ENOMEM;
	place->group = group;
	place->index = index;
	place->generation = last_generation(group, index);
	place->dead_line = -1;
	place->restart.fire = place_restart_fire;
	while (before->prev != &group->places &&
	       container_of(before->prev, struct place, in_group)->index > index)
		before = before->prev;
	list_push_back(before, &place->in_group);
	group->place_count++;
	*ret_place = place;
	return 0;
}

/* Of those who were at a place that was removed, and have not gone yet. An id and a
 * generation are one child. */
static unsigned last_generation(const struct group_state *group, unsigned index)
{
	unsigned last = 0;

	list_each(link, &group->lives) {
		const struct life *life = container_of(link, struct life, in_group);

		if (!life->is_host && life->child.index == index &&
		    life->child.generation > last)
			last = life->child.generation;
	}
	return last;
}

void place_free(struct place *place)
{
	loop_timer_clear(&place->group->plan->loop, &place->restart);
	list_remove(&place->in_group);
	if (place->dead_line >= 0) {
		score_set_state(scoreboard_line(&place->group->plan->board,
						(unsigned)place->dead_line),
				CREW_CHILD_EMPTY);
		plan_free_line(place->group->plan, (unsigned)place->dead_line);
	}
	free(place);
}

struct place *place_find(const struct group_state *group, unsigned index)
{
	list_each(link, &group->places) {
		struct place *place = container_of(link, struct place, in_group);

		if (place->index == index)
			return place;
	}
	return NULL;
}

/* Fills `now`, or, if that is there, `next`. */
void place_start(struct place *place)
{
	struct group_state *group = place->group;
	struct plan *plan = group->plan;
	const unsigned max = group->options.is.max_starting;
	struct life *life;
	int r = -ENOMEM;

	if (place->filling)
		return;
	place->waiting = max && group->starting >= max;
	if (place->waiting || !is_kept_up(group))
		return;
	if (!ask_before_fork(place))
		return;
	life = life_new(group, place);
	if (life)
		r = is_threads(group) ? spawn_thread(life) : spawn_process(life);
	if (r == 0) {
		if (place->now)
			place->next = life;
		else
			place->now = life;
		life_enter(life);
		return;
	}
	life_free(life);
	plan->spawn_error = r;
	if (place->now) {
		log_error("cannot start the successor of %s[%u]: %s",
			  group->options.is.name, place->index, strerror(-r));
		place_keep(place);
		return;
	}
	log_error("cannot start %s[%u]: %s; trying again in a second",
		  group->options.is.name, place->index, strerror(-r));
	loop_timer_set(&plan->loop, &place->restart, clock_now_ms() + 1000);
}

void place_keep(struct place *place)
{
	place->next = NULL;
	if (place->now)
		life_leave_later(place->now);
	roll_failed(place->group);
}

/* May it go on? Who is asked may have stopped the plan, or ask for this place again. */
static bool ask_before_fork(struct place *place)
{
	struct group_state *group = place->group;
	struct plan *plan = group->plan;

	if (!group->options.pre_fork)
		return true;
	place->filling = true;
	plan->pre_forking++;
	group->options.pre_fork(plan->options.context, group->number, place->index);
	plan->pre_forking--;
	place->filling = false;
	return is_kept_up(group);
}

void place_start_waiting(struct group_state *group)
{
	list_each(link, &group->places) {
		struct place *place = container_of(link, struct place, in_group);

		if (place->waiting)
			place_start(place);
	}
	if (group->rolling)
		roll_step(group);
}

void place_restart_fire(struct loop *loop, struct timer *timer)
{
	struct place *place = container_of(timer, struct place, restart);

	(void)loop;
	if (is_kept_up(place->group) && !place->now)
		place_start(place);
}

void place_gone(struct place *place, const struct crew_death *death)
{
	if (place->gone)
		place->gone(place->group->plan->options.context, death,
			    place->gone_argument);
	place_free(place);
}
