/* SPDX-License-Identifier: MIT */
/*
 * Privileges. The order matters: supplementary groups and the group while we
 * are still root, the user last (setresuid(2)); then it is tried to become root
 * again, which must fail.
 */
#include "daemon/privileges.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/error.h"

static int find_user(const char *user, struct privileges *privileges,
		     struct crew_error *ret_error);
static int find_group(const char *group, struct privileges *privileges,
		      struct crew_error *ret_error);
static bool number_of(const char *text, unsigned long *ret_number);

int privileges_find(const char *user, const char *group,
		    struct privileges *ret_privileges, struct crew_error *ret_error)
{
	struct privileges found = { .uid = geteuid(), .gid = getegid() };
	int r = 0;

	if (user)
		r = find_user(user, &found, ret_error);
	if (r == 0 && group)
		r = find_group(group, &found, ret_error);
	if (r < 0)
		return r;
	found.change = found.uid != geteuid() || found.gid != getegid();
	if (found.change && geteuid() != 0)
		return error_set(ret_error, EPERM,
				 "only root can become %s%s: start as root, or leave "
				 "the user and the group out",
				 user ? "user " : "group ", user ? user : group);
	*ret_privileges = found;
	return 0;
}

int privileges_drop(const struct privileges *privileges,
		    struct crew_error *ret_error)
{
	const int dumpable = prctl(PR_GET_DUMPABLE);

	if (!privileges->change)
		return 0;
	if (setgroups((size_t)privileges->group_count, privileges->groups) < 0 ||
	    setresgid(privileges->gid, privileges->gid, privileges->gid) < 0 ||
	    setresuid(privileges->uid, privileges->uid, privileges->uid) < 0)
		return error_set(ret_error, errno,
				 "cannot become user %u and group %u: %s",
				 (unsigned)privileges->uid, (unsigned)privileges->gid,
				 strerror(errno));
	if (privileges->uid != 0 && (setuid(0) == 0 || seteuid(0) == 0))
		return error_set(ret_error, EPERM,
				 "user %u can become root again: refusing to go on",
				 (unsigned)privileges->uid);
	/* So that a crash still leaves a core, where it would have. */
	if (dumpable == 1)
		prctl(PR_SET_DUMPABLE, 1);
	return 0;
}

static int find_user(const char *user, struct privileges *privileges,
		     struct crew_error *ret_error)
{
	struct passwd *entry = getpwnam(user);
	unsigned long number;
	int count = PRIVILEGES_GROUPS_MAX;

	if (!entry && number_of(user, &number)) {
		entry = getpwuid((uid_t)number);
		privileges->uid = (uid_t)number;
		if (!entry) /* a number needs no name; its group has the same */
			privileges->gid = (gid_t)number;
	} else if (!entry) {
		return error_set(ret_error, EINVAL,
				 "there is no user \"%s\" on this machine", user);
	}
	if (entry) {
		privileges->uid = entry->pw_uid;
		privileges->gid = entry->pw_gid;
	}
	privileges->groups[0] = privileges->gid;
	privileges->group_count = 1;
	if (entry && getgrouplist(entry->pw_name, entry->pw_gid, privileges->groups,
				  &count) >= 0)
		privileges->group_count = count;
	return 0;
}

static int find_group(const char *group, struct privileges *privileges,
		      struct crew_error *ret_error)
{
	const struct group *entry = getgrnam(group);
	unsigned long number;

	if (entry)
		privileges->gid = entry->gr_gid;
	else if (number_of(group, &number))
		privileges->gid = (gid_t)number;
	else
		return error_set(ret_error, EINVAL,
				 "there is no group \"%s\" on this machine", group);
	return 0;
}

static bool number_of(const char *text, unsigned long *ret_number)
{
	char *end;

	if (*text < '0' || *text > '9')
		return false;
	*ret_number = strtoul(text, &end, 10);
	return !*end && *ret_number < UINT32_MAX;
}
