/* SPDX-License-Identifier: MIT */
/*
 * Becoming another user, for good. First it is found out who that is, while a
 * mistake can still be told where the command was given; later, when all that
 * needs root is open, it is done.
 */
#ifndef DAEMON_PRIVILEGES_H
#define DAEMON_PRIVILEGES_H

#include <stdbool.h>
#include <sys/types.h>

#include <crew/error.h>

#define PRIVILEGES_NAME_BYTES 257 /* LOGIN_NAME_MAX of Linux, and a NUL */

/** Zeroed: everything stays as it is. */
struct privileges {
	bool wanted;
	uid_t uid;
	gid_t gid;
	char user[PRIVILEGES_NAME_BYTES]; /* "": it has a number only */
};

/**
 * Whom to become: names, or numbers. A `user` of NULL is the present one, a
 * `group` of NULL is the user's; both NULL: nothing is to change. A number need
 * not be known to the system, but then there must be a group. 0; -ENOENT: there
 * is none of that name; -EPERM: it is somebody else, and this process is not
 * root; -EINVAL; or -errno.
 */
int privileges_find(const char *user, const char *group, struct privileges *ret,
		    struct crew_error *error);
/** Become that user, in all threads, with the user's supplementary groups. On
 * failure (-errno) it may be half done: the process must end. */
int privileges_drop(const struct privileges *privileges, struct crew_error *error);

#endif
