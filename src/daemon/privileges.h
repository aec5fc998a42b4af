/* SPDX-License-Identifier: MIT */
/* Giving up root for another user, for good. */
#ifndef DAEMON_PRIVILEGES_H
#define DAEMON_PRIVILEGES_H

#include <stdbool.h>
#include <sys/types.h>

#include <crew/error.h>

#define PRIVILEGES_GROUPS_MAX 64

struct privileges {
	bool change;
	uid_t uid;
	gid_t gid;
	int group_count;
	gid_t groups[PRIVILEGES_GROUPS_MAX];
};

/** Look up whom to become; names or numbers; both may be NULL: nobody else.
 * Done early, since later the user database may be out of reach. 0 or -errno. */
int privileges_find(const char *user, const char *group,
		    struct privileges *ret_privileges, struct crew_error *ret_error);
/** Become that user: supplementary groups, group, user; and be sure that there
 * is no way back. 0 or -errno; then the process must end. */
int privileges_drop(const struct privileges *privileges,
		    struct crew_error *ret_error);

#endif
