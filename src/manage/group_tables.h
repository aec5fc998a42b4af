/* SPDX-License-Identifier: MIT */
/* Groups as a user says them, of a plan or beside the pools of a server: what is wrong with them,
 * and what they name by a path. */
#ifndef MANAGE_GROUP_TABLES_H
#define MANAGE_GROUP_TABLES_H

#include <crew/supervise.h>

/* What a group names, by absolute paths; NULL: it does not, or is not changed. */
struct kept_paths {
	char *out, *error; /* files of its streams */
	char *directory;
	char *program;     /* the first word of its command */
	const char **command;
};

/** Will what that row of a table is called do in lines of the log, from which others read it? 0, or
 * -EINVAL. `what` are such rows: "group". */
int group_tables_check_name(const char *what, unsigned number, const char *name,
			    struct crew_error *ret_error);
/** 0, or -EINVAL with the row that is wrong and why. */
int group_tables_check(const struct crew_group *groups, unsigned count,
		       struct crew_error *ret_error);
/** The same of their descriptors, which may be opened later. */
int group_tables_check_descriptors(const struct crew_group *groups, unsigned count,
				   struct crew_error *ret_error);
/** Before the directory changes: make all that they name absolute, in one of `ret_kept` for each,
 * which is to be freed whatever it returns. 0 or -errno. */
int group_tables_keep_paths(struct crew_group *groups, unsigned count,
			    struct kept_paths *ret_kept, struct crew_error *ret_error);
/** Takes zeroed memory. */
void group_tables_free_paths(struct kept_paths *kept, unsigned count);

#endif
