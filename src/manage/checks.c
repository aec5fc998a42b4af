/* SPDX-License-Identifier: MIT */
/*
 * A plan is constant data, and is wrong before anything is forked or not at
 * all (descriptors are looked at when on_start may have opened them): each refusal
 * names the group, the field, and what to write instead.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/error.h"
#include "manage/private.h"
#include "supervise/limits.h"

/* With an index and brackets, it is to fit into what names a child (name_life). */
#define NAME_CHARACTERS 40

static int check_group(const struct crew_group *groups, unsigned number,
		       struct crew_error *ret_error);
static int check_kind(const struct crew_group *group, struct crew_error *ret_error);
static int check_ids(const struct crew_group *group, struct crew_error *ret_error);
static int check_count(const struct crew_group *group, const char *field, unsigned count,
		       struct crew_error *ret_error);
static int check_fds(const struct crew_group *group, const char *field,
		     const int *fds, unsigned count, struct crew_error *ret_error);
static int check_stream(const struct crew_group *group, const char *field,
			const struct crew_stream *stream, struct crew_error *ret_error);

int check_plan(const struct crew_plan *plan, bool own_process,
	       struct crew_error *ret_error)
{
	const struct crew_daemon none = { 0 };

	if (!plan->groups[0].name)
		return error_set(ret_error, EINVAL,
				 "the plan has no group: its first row has no name");
	if (!own_process &&
	    (plan->console || memcmp(&plan->daemon, &none, sizeof(none)) != 0))
		return error_set(ret_error, EINVAL,
				 "`daemon` and `console` are for crew_supervise: a "
				 "program with a loop of its own is its own daemon");
	return group_tables_check(plan->groups, group_count(plan), ret_error);
}

unsigned group_count(const struct crew_plan *plan)
{
	unsigned count = 0;

	while (count < CREW_GROUPS_MAX && plan->groups[count].name)
		count++;
	return count;
}

int group_tables_check(const struct crew_group *groups, unsigned count,
		       struct crew_error *ret_error)
{
	int r = 0;

	for (unsigned i = 0; i < count && r == 0; i++)
		r = check_group(groups, i, ret_error);
	return r;
}

int group_tables_check_descriptors(const struct crew_group *groups, unsigned count,
				   struct crew_error *ret_error)
{
	int r = 0;

	for (unsigned i = 0; i < count && r == 0; i++) {
		const struct crew_group *group = &groups[i];

		r = check_fds(group, "preserve_fds", group->preserve_fds,
			      group->preserve_fd_count, ret_error);
		if (r == 0)
			r = check_fds(group, "listen_fds", group->listen_fds,
				      group->listen_fd_count, ret_error);
	}
	return r;
}

int group_tables_check_name(const char *what, unsigned number, const char *name,
			    struct crew_error *ret_error)
{
	if (*name && strlen(name) <= NAME_CHARACTERS && !strpbrk(name, "[]\n "))
		return 0;
	return error_set(ret_error, EINVAL,
			 "%s %u: its name \"%.60s\" must have 1 to %d characters, and no "
			 "blank or bracket", what, number, name, NAME_CHARACTERS);
}

static int check_group(const struct crew_group *groups, unsigned number,
		       struct crew_error *ret_error)
{
	const struct crew_group *group = &groups[number];
	int r;

	r = group_tables_check_name("group", number, group->name, ret_error);
	if (r < 0)
		return r;
	for (unsigned i = 0; i < number; i++) {
		if (strcmp(groups[i].name, group->name) == 0)
			return error_set(ret_error, EINVAL,
					 "groups %u and %u have the same name, \"%s\"",
					 i, number, group->name);
	}
	r = check_kind(group, ret_error);
	if (r == 0)
		r = check_ids(group, ret_error);
	if (r == 0)
		r = check_count(group, "preserve_fds", group->preserve_fd_count, ret_error);
	if (r == 0)
		r = check_count(group, "listen_fds", group->listen_fd_count, ret_error);
	if (r == 0)
		r = check_stream(group, "out", &group->out, ret_error);
	if (r == 0)
		r = check_stream(group, "error", &group->error, ret_error);
	return r;
}

static int check_kind(const struct crew_group *group, struct crew_error *ret_error)
{
	const bool exec = group->kind == CREW_EXEC;

	if ((unsigned)group->kind > CREW_EXEC)
		return error_set(ret_error, EINVAL, "group \"%s\": there is no kind %d",
				 group->name, (int)group->kind);
	if (exec && (!group->command || !group->command[0]))
		return error_set(ret_error, EINVAL,
				 "group \"%s\" is CREW_EXEC and has no `command`",
				 group->name);
	if (exec && (group->run || group->on_start || group->on_shutdown))
		return error_set(ret_error, EINVAL,
				 "group \"%s\" is CREW_EXEC: `run`, `on_start` and "
				 "`on_shutdown` are for functions", group->name);
	if (exec && group->preserve_fd_count)
		return error_set(ret_error, EINVAL,
				 "group \"%s\" is CREW_EXEC: give it descriptors by "
				 "`listen_fds`", group->name);
	if (exec && !group->notify && group->heartbeat_timeout_ms &&
	    group->heartbeat_timeout_ms != CREW_NEVER)
		return error_set(ret_error, EINVAL,
				 "group \"%s\": a program beats its heart by "
				 "WATCHDOG=1; set `notify`", group->name);
	if (!exec && group->process_group)
		return error_set(ret_error, EINVAL,
				 "group \"%s\": `process_group` is for CREW_EXEC", group->name);
	if (!exec && !group->run)
		return error_set(ret_error, EINVAL,
				 "group \"%s\" has no function to `run`", group->name);
	if (!exec && (group->command || group->listen_fd_count))
		return error_set(ret_error, EINVAL,
				 "group \"%s\": `command` and `listen_fds` are for "
				 "CREW_EXEC", group->name);
	return 0;
}

static int check_ids(const struct crew_group *group, struct crew_error *ret_error)
{
	if (group->ids ? group->id_count < 1 || group->id_count > CHILDREN_MAX
		       : group->count > CHILDREN_MAX)
		return error_set(ret_error, EINVAL,
				 "group \"%s\" must have 1 to %u children",
				 group->name, CHILDREN_MAX);
	for (unsigned i = 0; group->ids && i < group->id_count; i++) {
		if (group->ids[i] > INT_MAX)
			return error_set(ret_error, EINVAL,
					 "group \"%s\": the id %u is more than %d",
					 group->name, group->ids[i], INT_MAX);
		for (unsigned j = 0; j < i; j++) {
			if (group->ids[i] == group->ids[j])
				return error_set(ret_error, EINVAL,
						 "group \"%s\" has the id %u twice",
						 group->name, group->ids[i]);
		}
	}
	return 0;
}

static int check_count(const struct crew_group *group, const char *field, unsigned count,
		       struct crew_error *ret_error)
{
	if (count > CREW_GROUP_FDS_MAX)
		return error_set(ret_error, EINVAL,
				 "group \"%s\": at most %d %s are possible",
				 group->name, CREW_GROUP_FDS_MAX, field);
	return 0;
}

static int check_fds(const struct crew_group *group, const char *field,
		     const int *fds, unsigned count, struct crew_error *ret_error)
{
	for (unsigned i = 0; i < count; i++) {
		if (fcntl(fds[i], F_GETFD) < 0)
			return error_set(ret_error, EINVAL,
					 "group \"%s\": %s[%u] is %d, which is no open "
					 "descriptor", group->name, field, i, fds[i]);
	}
	return 0;
}

static int check_stream(const struct crew_group *group, const char *field,
			const struct crew_stream *stream, struct crew_error *ret_error)
{
	if ((unsigned)stream->to > CREW_TO_PARENT)
		return error_set(ret_error, EINVAL, "group \"%s\": `%s` goes to %d, "
				 "which is nowhere", group->name, field,
				 (int)stream->to);
	if (stream->to == CREW_TO_FILE && !stream->path)
		return error_set(ret_error, EINVAL,
				 "group \"%s\": `%s` goes to a file and has no `path`",
				 group->name, field);
	if (stream->to == CREW_TO_FD)
		return check_fds(group, field, &stream->fd, 1, ret_error);
	return 0;
}
