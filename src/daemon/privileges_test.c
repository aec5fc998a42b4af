/* SPDX-License-Identifier: MIT */
/*
 * Becoming somebody else: as root in a fork that becomes nobody, and looks in
 * /proc at what it is then; without root only what is refused.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/test_fork.h"
#include "daemon/privileges.h"

static struct crew_error error;
static struct privileges privileges;

/* Does /proc/self/status say these four ids? */
static bool ids_are(const char *key, unsigned id)
{
	unsigned ids[4] = { 0 };
	char line[256];
	bool found = false;
	FILE *file = fopen("/proc/self/status", "r");

	while (file && !found && fgets(line, sizeof(line), file)) {
		found = strncmp(line, key, strlen(key)) == 0 &&
			sscanf(line + strlen(key), ":%u%u%u%u", &ids[0], &ids[1],
			       &ids[2], &ids[3]) == 4;
	}
	if (file)
		fclose(file);
	return found && ids[0] == id && ids[1] == id && ids[2] == id && ids[3] == id;
}

static void groups_are(const char *expected)
{
	char line[256];
	FILE *file = fopen("/proc/self/status", "r");

	must(file);
	while (fgets(line, sizeof(line), file)) {
		if (strncmp(line, "Groups:\t", 8) == 0) {
			line[strcspn(line, "\n")] = '\0';
			must(strncmp(line + 8, expected, strlen(expected)) == 0);
			must(strspn(line + 8 + strlen(expected), " ") ==
			     strlen(line + 8 + strlen(expected)));
			fclose(file);
			return;
		}
	}
	must(false);
}

static void become_nobody(void)
{
	const struct passwd *nobody = getpwnam("nobody");
	const gid_t roots[] = { 0, 4, 27 };
	char expected[32];
	uid_t uid;
	gid_t gid;

	must(nobody);
	uid = nobody->pw_uid;
	gid = nobody->pw_gid;
	must(setgroups(3, roots) == 0);
	must(privileges_find("nobody", NULL, &privileges, &error) == 0);
	must(privileges.wanted && privileges.uid == uid && privileges.gid == gid);
	must(getuid() == 0); /* as yet */
	must(privileges_drop(&privileges, &error) == 0);
	must(ids_are("Uid", uid));
	must(ids_are("Gid", gid));
	snprintf(expected, sizeof(expected), "%u", gid);
	groups_are(expected);
	must(setuid(0) < 0 && seteuid(0) < 0 && setgid(0) < 0);
	must(setgroups(3, roots) < 0);
	must(prctl(PR_GET_DUMPABLE) == 1);
	/* Once more, as that user: there is nothing to change. */
	must(privileges_drop(&privileges, &error) == 0);
	must(privileges_find("nobody", NULL, &privileges, &error) == 0);
	must(privileges_drop(&privileges, &error) == 0);
	must(privileges_find("root", NULL, &privileges, &error) == -EPERM);
}

static void become_numbers(void)
{
	must(privileges_find("54321", "54322", &privileges, &error) == 0);
	must(privileges_drop(&privileges, &error) == 0);
	must(ids_are("Uid", 54321));
	must(ids_are("Gid", 54322));
	groups_are("54322");
}

/* A number that has a name has its group too. */
static void become_a_known_number(void)
{
	const struct passwd *nobody = getpwnam("nobody");
	char number[32];

	must(nobody);
	snprintf(number, sizeof(number), "%u", nobody->pw_uid);
	must(privileges_find(number, NULL, &privileges, &error) == 0);
	must(privileges.gid == nobody->pw_gid);
	must(strcmp(privileges.user, "nobody") == 0);
}

/* Root stays root, in another group; so it could change back, and may. */
static void change_only_the_group(void)
{
	must(privileges_find(NULL, "54322", &privileges, &error) == 0);
	must(privileges_drop(&privileges, &error) == 0);
	must(ids_are("Uid", 0));
	must(ids_are("Gid", 54322));
}

static void stay_undumpable(void)
{
	must(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0);
	must(privileges_find("54321", "54322", &privileges, &error) == 0);
	must(privileges_drop(&privileges, &error) == 0);
	must(prctl(PR_GET_DUMPABLE) != 1);
}

static void refuse_others(void)
{
	must(getuid() != 0 || setresuid(65534, 65534, 65534) == 0);
	must(privileges_find("root", NULL, &privileges, &error) == -EPERM);
	must(error.code == EPERM);
	must(strcmp(error.text, "cannot become user root: only root can; start as root, "
		    "or as that user without asking for another") == 0);
	must(privileges_find("root", "root", &privileges, &error) == -EPERM);
	must(strncmp(error.text, "cannot become user root, group root: ", 37) == 0);
	must(privileges_find(NULL, "54322", &privileges, &error) == -EPERM);
	must(strncmp(error.text, "cannot become group 54322: ", 27) == 0);
	/* Also if it was found when it was still root. */
	privileges = (struct privileges){ .wanted = true, .uid = 1, .gid = 1 };
	must(privileges_drop(&privileges, &error) == -EPERM);
	must(error.text[0]);
}

/* In whatever group it was started. */
static void be_oneself(void)
{
	const struct passwd *nobody = getpwnam("nobody");
	const bool is_root = getuid() == 0;
	char number[32];

	must(nobody);
	must(!is_root || setresgid(54322, 54322, 54322) == 0);
	must(!is_root || setresuid(nobody->pw_uid, nobody->pw_uid, nobody->pw_uid) == 0);
	snprintf(number, sizeof(number), "%u", getuid());
	must(privileges_find(number, NULL, &privileges, &error) == 0);
	must(privileges_drop(&privileges, &error) == 0);
	snprintf(number, sizeof(number), "%u", getgid());
	must(privileges_find(NULL, number, &privileges, &error) == 0);
	must(privileges_drop(&privileges, &error) == 0);
}

static void root_becomes_another(void **state)
{
	(void)state;
	if (getuid() != 0) {
		print_message("not root: only what is refused is tested\n");
		return;
	}
	in_a_fork(become_nobody);
	in_a_fork(become_numbers);
	in_a_fork(become_a_known_number);
	in_a_fork(change_only_the_group);
	in_a_fork(stay_undumpable);
}

static void others_may_not(void **state)
{
	(void)state;
	in_a_fork(refuse_others);
	in_a_fork(be_oneself);
}

static void nothing_asked_nothing_changed(void **state)
{
	const uid_t uid = getuid();

	(void)state;
	assert_int_equal(privileges_find(NULL, NULL, &privileges, &error), 0);
	assert_false(privileges.wanted);
	assert_int_equal(privileges_drop(&privileges, &error), 0);
	assert_int_equal(privileges_drop(&(struct privileges){ 0 }, &error), 0);
	assert_int_equal(getuid(), uid);
}

static void who_is_not_there_is_named(void **state)
{
	static const char *const wrong[] = { "no-such-one", "4294967295", "4294967296",
					     "99999999999999999999", "-1", "12x", " 1" };
	struct privileges before = { .uid = 77 };
	char expected[200];

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		assert_int_equal(privileges_find(wrong[i], NULL, &before, &error),
				 -ENOENT);
		snprintf(expected, sizeof(expected), "there is no user %s; create it, "
			 "or name another", wrong[i]);
		assert_string_equal(error.text, expected);
		assert_int_equal(privileges_find(NULL, wrong[i], &before, &error),
				 -ENOENT);
		snprintf(expected, sizeof(expected), "there is no group %s; create it, "
			 "or name another", wrong[i]);
		assert_string_equal(error.text, expected);
	}
	assert_int_equal(privileges_find("", NULL, &before, &error), -EINVAL);
	assert_int_equal(privileges_find(NULL, "", &before, NULL), -EINVAL);
	assert_int_equal(privileges_find("54321", NULL, &before, &error), -ENOENT);
	assert_non_null(strstr(error.text, "say which group"));
	assert_int_equal(before.uid, 77);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(root_becomes_another),
		cmocka_unit_test(others_may_not),
		cmocka_unit_test(nothing_asked_nothing_changed),
		cmocka_unit_test(who_is_not_there_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
