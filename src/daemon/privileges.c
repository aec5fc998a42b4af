/* SPDX-License-Identifier: MIT */
/*
 * Giving up root. The order is fixed: the supplementary groups, the group, the
 * user; after the last step none of the others would be allowed. All three ids
 * of each kind are set, the saved ones too, from which root could be regained;
 * and then it is tried to regain it, since kernels and containers have had
 * their surprises. A failure half-way is final: the caller ends.
 *
 * The kernel takes from a process that changes its user the right to dump core
 * (and to be traced by its own user). A service that gave up root on purpose
 * shall still leave a core file when it crashes, so it is given back.
 */
#include "daemon/privileges.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/error.h"

#define BUFFER_BYTES 1024u
#define BUFFER_BYTES_MAX (1u << 20) /* groups with very many members */
#define GROUPS_MAX 65536 /* of one process; NGROUPS_MAX of Linux */

static int find_user(const char *user, const char *group, struct privileges *found,
		     struct crew_error *error);
static int find_self(struct privileges *found);
static int find_group(const char *group, struct privileges *found,
		      struct crew_error *error);
static int refuse(const char *user, const char *group, struct crew_error *error);
static int ask_user(const char *name, const uid_t *uid, struct privileges *found);
static int ask_group(const char *name, gid_t *ret_gid);
static int unknown(int answer);
static bool as_number(const char *text, unsigned *ret_number);
static bool are_ids(const struct privileges *privileges);
static int list_groups(const struct privileges *privileges, gid_t **ret_groups);
static bool has_groups(const gid_t *groups, int count);
static bool contains(const gid_t *groups, int count, gid_t gid);
static int change(const struct privileges *privileges, const gid_t *groups, int count,
		  struct crew_error *error);
static int refuse_root(const struct privileges *privileges, struct crew_error *error);

int privileges_find(const char *user, const char *group, struct privileges *ret,
		    struct crew_error *error)
{
	struct privileges found = { .wanted = user || group };
	int r;

	r = user ? find_user(user, group, &found, error) : find_self(&found);
	if (r == 0 && group)
		r = find_group(group, &found, error);
	if (r < 0)
		return r;
	if (found.wanted && geteuid() != 0 && !are_ids(&found))
		return refuse(user, group, error);
	*ret = found;
	return 0;
}

int privileges_drop(const struct privileges *privileges, struct crew_error *error)
{
	const int dumpable = prctl(PR_GET_DUMPABLE);
	gid_t *groups;
	int count;
	int r = 0;

	if (!privileges->wanted || (geteuid() != 0 && are_ids(privileges)))
		return 0;
	count = list_groups(privileges, &groups);
	if (count < 0)
		return error_set(error, -count, "cannot list the groups of user %s: %s",
				 privileges->user, strerror(-count));
	if (!are_ids(privileges) || !has_groups(groups, count))
		r = change(privileges, groups, count, error);
	free(groups);
	if (r < 0)
		return r;
	/* Only 1 can be asked for; 2 is the administrator's choice. */
	if (dumpable == 1)
		prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
	return 0;
}

static int find_user(const char *user, const char *group, struct privileges *found,
		     struct crew_error *error)
{
	bool has_entry;
	unsigned number;
	int r;

	if (!*user)
		return error_set(error, EINVAL, "the name of the user is empty; give a "
				 "name or a number");
	r = ask_user(user, NULL, found);
	has_entry = r == 0;
	if (r == -ENOENT && as_number(user, &number)) {
		found->uid = number;
		has_entry = ask_user(NULL, &found->uid, found) == 0;
		r = 0;
	}
	if (r == -ENOENT)
		return error_set(error, ENOENT, "there is no user %s; create it, or "
				 "name another", user);
	if (r < 0)
		return error_set(error, -r, "cannot look up user %s: %s; give a "
				 "number instead", user, strerror(-r));
	/* Who has been started in another group than the user's cannot change
	 * that without root, and is that user all the same. */
	if (geteuid() != 0 && found->uid == geteuid())
		found->gid = getegid();
	else if (!has_entry && !group)
		return error_set(error, ENOENT, "the system's list of users has no "
				 "user %s, so its group is unknown; say which group",
				 user);
	return 0;
}

/* Nobody else is asked for. That this user has no name is no fault. */
static int find_self(struct privileges *found)
{
	found->uid = geteuid();
	ask_user(NULL, &found->uid, found);
	found->gid = getegid();
	return 0;
}

static int find_group(const char *group, struct privileges *found,
		      struct crew_error *error)
{
	unsigned number;
	int r;

	if (!*group)
		return error_set(error, EINVAL, "the name of the group is empty; give "
				 "a name or a number");
	r = ask_group(group, &found->gid);
	if (r == 0)
		return 0;
	if (r == -ENOENT && as_number(group, &number)) {
		found->gid = number;
		return 0;
	}
	if (r == -ENOENT)
		return error_set(error, ENOENT, "there is no group %s; create it, or "
				 "name another", group);
	return error_set(error, -r, "cannot look up group %s: %s; give a number "
			 "instead", group, strerror(-r));
}

static int refuse(const char *user, const char *group, struct crew_error *error)
{
	return error_set(error, EPERM, "cannot become %s%s%s%s%s: only root can; start "
			 "as root, or as that user without asking for another",
			 user ? "user " : "", user ? user : "",
			 user && group ? ", " : "", group ? "group " : "",
			 group ? group : "");
}

/* By name, or by number if there is one. -ENOENT: unknown. */
static int ask_user(const char *name, const uid_t *uid, struct privileges *found)
{
	struct passwd *answer = NULL;
	struct passwd entry;
	char *buffer = NULL;
	int r = ERANGE;

	for (size_t size = BUFFER_BYTES; r == ERANGE && size <= BUFFER_BYTES_MAX;
	     size *= 2) {
		free(buffer);
		buffer = malloc(size);
		if (!buffer)
			return -ENOMEM;
		r = uid ? getpwuid_r(*uid, &entry, buffer, size, &answer)
			: getpwnam_r(name, &entry, buffer, size, &answer);
	}
	if (answer && strlen(entry.pw_name) >= sizeof(found->user))
		r = ENAMETOOLONG;
	if (r == 0 && answer) {
		found->uid = entry.pw_uid;
		found->gid = entry.pw_gid;
		strncpy(found->user, entry.pw_name, sizeof(found->user) - 1);
	}
	free(buffer);
	return answer ? -r : unknown(r);
}

static int ask_group(const char *name, gid_t *ret_gid)
{
	struct group *answer = NULL;
	struct group entry;
	char *buffer = NULL;
	int r = ERANGE;

	for (size_t size = BUFFER_BYTES; r == ERANGE && size <= BUFFER_BYTES_MAX;
	     size *= 2) {
		free(buffer);
		buffer = malloc(size);
		if (!buffer)
			return -ENOMEM;
		r = getgrnam_r(name, &entry, buffer, size, &answer);
	}
	if (r == 0 && answer)
		*ret_gid = entry.gr_gid;
	free(buffer);
	return answer ? -r : unknown(r);
}

/* getpwnam(3) lists what systems answer for a name that they do not know. */
static int unknown(int answer)
{
	return answer == 0 || answer == ESRCH || answer == EBADF ? -ENOENT : -answer;
}

/* The highest one means "do not change" in setresuid(2). */
static bool as_number(const char *text, unsigned *ret_number)
{
	unsigned long long number;
	const size_t digits = strspn(text, "0123456789");

	if (text[digits] || digits < 1 || digits > 10)
		return false;
	number = strtoull(text, NULL, 10);
	if (number >= (uid_t)-1)
		return false;
	*ret_number = (unsigned)number;
	return true;
}

static bool are_ids(const struct privileges *privileges)
{
	const uid_t uid = privileges->uid;
	const gid_t gid = privileges->gid;
	uid_t uids[3];
	gid_t gids[3];

	if (getresuid(&uids[0], &uids[1], &uids[2]) < 0 ||
	    getresgid(&gids[0], &gids[1], &gids[2]) < 0)
		return false;
	return uids[0] == uid && uids[1] == uid && uids[2] == uid && gids[0] == gid &&
	       gids[1] == gid && gids[2] == gid;
}

/* How many. Who has no name is in no group but the given one. */
static int list_groups(const struct privileges *privileges, gid_t **ret_groups)
{
	gid_t *groups = NULL;
	int count = 1;

	for (int room = 64; room <= GROUPS_MAX; room *= 2) {
		free(groups);
		groups = calloc((size_t)room, sizeof(*groups));
		if (!groups)
			return -ENOMEM;
		groups[0] = privileges->gid;
		*ret_groups = groups;
		if (!privileges->user[0])
			return 1;
		count = room;
		if (getgrouplist(privileges->user, privileges->gid, groups, &count) >= 0)
			return count;
	}
	free(groups);
	return -E2BIG;
}

/* The same as now, in whatever order? */
static bool has_groups(const gid_t *groups, int count)
{
	const int size = getgroups(0, NULL);
	gid_t *now = calloc((size_t)(size > 0 ? size : 1), sizeof(*now));
	bool same = now && size >= 0 && getgroups(size, now) == size;

	for (int i = 0; same && i < size; i++)
		same = contains(groups, count, now[i]);
	for (int i = 0; same && i < count; i++)
		same = contains(now, size, groups[i]);
	free(now);
	return same;
}

static bool contains(const gid_t *groups, int count, gid_t gid)
{
	for (int i = 0; i < count; i++) {
		if (groups[i] == gid)
			return true;
	}
	return false;
}

static int change(const struct privileges *privileges, const gid_t *groups, int count,
		  struct crew_error *error)
{
	const uid_t uid = privileges->uid;
	const gid_t gid = privileges->gid;

	if (setgroups((size_t)count, groups) < 0)
		return error_set(error, errno, "cannot take the supplementary groups of "
				 "user %u: %s; does this container allow setgroups?",
				 uid, strerror(errno));
	if (setresgid(gid, gid, gid) < 0)
		return error_set(error, errno, "cannot become group %u: %s; does this "
				 "container know that group, and allow it?", gid,
				 strerror(errno));
	if (setresuid(uid, uid, uid) < 0)
		return error_set(error, errno, "cannot become user %u: %s; does this "
				 "container know that user, and allow it?", uid,
				 strerror(errno));
	return refuse_root(privileges, error);
}

static int refuse_root(const struct privileges *privileges, struct crew_error *error)
{
	const uid_t same_uid = (uid_t)-1;
	const gid_t same_gid = (gid_t)-1;

	if (!are_ids(privileges))
		return error_set(error, EPERM, "user and group are not %u and %u after "
				 "they were set; this system is not to be trusted with "
				 "it: start as that user", privileges->uid,
				 privileges->gid);
	if (privileges->uid == 0)
		return 0;
	if (setresuid(same_uid, 0, same_uid) < 0 &&
	    (privileges->gid == 0 || setresgid(same_gid, 0, same_gid) < 0))
		return 0;
	return error_set(error, EPERM, "root could be regained after becoming user %u; "
			 "take the capabilities CAP_SETUID and CAP_SETGID from this "
			 "program, or start as that user", privileges->uid);
}
