/* SPDX-License-Identifier: MIT */
/*
 * Groups without HTTP in a server: children of the same parent, behind its pools in the same plan.
 * All that keeps them running is the supervisor's; what is done here is to see that they are not
 * taken for pools, that they stop when no request can need them any more, and to tell dispatchers
 * how they are, for /status. Nothing else in a server depends on them.
 */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "base/error.h"
#include "serve/private.h"

/* Dispatchers, then pools. */
#define FIRST_STOP_ORDER 2u

static int check_name(const struct server_run *run, unsigned number,
		      struct crew_error *ret_error);
static void tell(struct server_run *run, unsigned group);
static struct control order_of(const struct server_run *run, unsigned group);
static void child_ready(void *context, struct child *child);
static void child_died(void *context, struct child *child, const struct crew_death *death);
static void group_degraded(void *context, unsigned group, bool degraded);

int groups_take(struct server_run *run, struct crew_error *ret_error)
{
	const struct crew_group *groups = run->server.groups;
	unsigned count = 0;
	int r;

	for (; groups && groups[count].name; count++) {
		if (count == CREW_GROUPS_MAX)
			return error_set(ret_error, EINVAL,
					 "the server has more than %u groups, or its table of "
					 "them does not end with a zeroed row", CREW_GROUPS_MAX);
		run->own_groups[count] = groups[count];
	}
	run->server.groups = run->own_groups;
	run->own_count = count;
	r = group_tables_check(run->own_groups, count, ret_error);
	for (unsigned i = 0; i < count && r == 0; i++)
		r = check_name(run, i, ret_error);
	if (r == 0)
		r = group_tables_check_descriptors(run->own_groups, count, ret_error);
	return r < 0 ? r : group_tables_keep_paths(run->own_groups, count, run->own_paths,
						   ret_error);
}

/* The log, /status and crew_reload_pool know all of them by their names. */
static int check_name(const struct server_run *run, unsigned number,
		      struct crew_error *ret_error)
{
	const struct crew_pool *pools = run->server.pools;
	const char *name = run->own_groups[number].name;

	if (strcmp(name, DISPATCHER_NAME) == 0)
		return error_set(ret_error, EINVAL,
				 "group %u is called \"%s\", as are the processes that talk to "
				 "clients: give it another .name", number, name);
	for (unsigned i = 0; i < CREW_POOLS_MAX && pools[i].app; i++) {
		if (strcmp(name, pools[i].name) == 0)
			return error_set(ret_error, EINVAL,
					 "group %u and pool %u are both called \"%s\": give one "
					 "another .name", number, i, name);
	}
	return 0;
}

void groups_add(struct server_run *run)
{
	for (unsigned i = 0; i < run->own_count; i++) {
		struct group *group = &run->groups[run->group_count++];

		*group = (struct group){
			.is = run->own_groups[i],
			.ready = child_ready,
			.died = child_died,
			.degraded = group_degraded,
		};
		if (group->is.stop_order > UINT_MAX - FIRST_STOP_ORDER)
			group->is.stop_order = UINT_MAX;
		else
			group->is.stop_order += FIRST_STOP_ORDER;
	}
}

void groups_tell_new(struct server_run *run, unsigned dispatcher)
{
	for (unsigned i = FIRST_POOL_GROUP + run->pool_count; i < run->group_count; i++) {
		const struct control order = order_of(run, i);

		orders_give(run, dispatcher, &order, NULL, 0);
	}
}

void groups_fini(struct server_run *run)
{
	group_tables_free_paths(run->own_paths, run->own_count);
}

static void tell(struct server_run *run, unsigned group)
{
	const struct control order = order_of(run, group);

	for (unsigned i = 0; i < run->server.dispatchers; i++)
		orders_give(run, i, &order, NULL, 0);
}

static struct control order_of(const struct server_run *run, unsigned group)
{
	return (struct control){
		.kind = CONTROL_GROUP,
		.pool = group - FIRST_POOL_GROUP - run->pool_count,
		.detail = plan_degraded(run->plan, group),
		.restarts = plan_restarts(run->plan, group),
	};
}

/* Its restart is counted after its death. */
static void child_ready(void *context, struct child *child)
{
	tell(context, child->group_index);
}

static void child_died(void *context, struct child *child, const struct crew_death *death)
{
	(void)death;
	tell(context, child->group_index);
}

static void group_degraded(void *context, unsigned group, bool degraded)
{
	(void)degraded;
	tell(context, group);
}
