/* SPDX-License-Identifier: MIT */
/*
 * Pid files: real files in a directory of their own, and real processes that
 * fight for them.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/test_fork.h"
#include "daemon/pidfile.h"

#define STARTERS 20
#define ROUNDS 15
#define OTHER_NUMBER 4000000 /* of nobody: there is no such pid by default */

static char directory[64];
static char path[128];
static struct crew_error error;

static int set_up(void **state)
{
	(void)state;
	snprintf(directory, sizeof(directory), "/tmp/crew-pidfile-XXXXXX");
	if (!mkdtemp(directory))
		return -1;
	snprintf(path, sizeof(path), "%s/a.pid", directory);
	memset(&error, 0, sizeof(error));
	return 0;
}

/* How many files there are: a temporary one must not be left. */
static int count_files(void)
{
	DIR *all = opendir(directory);
	struct dirent *entry;
	int count = 0;

	if (!all)
		return -1;
	while ((entry = readdir(all)))
		count += entry->d_name[0] != '.';
	closedir(all);
	return count;
}

static int tear_down(void **state)
{
	(void)state;
	unlink(path);
	return rmdir(directory);
}

static void put(const char *text)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static long number_in(const char *name)
{
	char text[64] = "";
	FILE *file = fopen(name, "r");

	if (!file)
		return -1;
	(void)!fgets(text, sizeof(text), file);
	fclose(file);
	return strchr(text, '\n') ? strtol(text, NULL, 10) : -1;
}

static void assert_error(const char *format, ...)
{
	char expected[600];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(expected, sizeof(expected), format, arguments);
	va_end(arguments);
	assert_string_equal(error.text, expected);
}

static void end(pid_t pid)
{
	assert_true(pid > 1);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/* A child that holds the file, until it is ended. */
static pid_t hold(void)
{
	struct pidfile file;
	int ends[2];
	char byte = 0;
	pid_t pid;

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		must(pidfile_take(&file, path, getpid(), false, NULL) == 0);
		must(write(ends[1], "x", 1) == 1);
		pause();
		_exit(0);
	}
	close(ends[1]);
	assert_int_equal(read(ends[0], &byte, 1), 1);
	close(ends[0]);
	return pid;
}

static void a_number_is_written_and_removed(void **state)
{
	struct pidfile file;
	struct stat status;
	const mode_t before = umask(077);

	(void)state;
	assert_int_equal(pidfile_take(&file, path, getpid(), false, &error), 0);
	umask(before);
	assert_int_equal(number_in(path), getpid());
	assert_int_equal(stat(path, &status), 0);
	assert_int_equal(status.st_mode & 07777, 0644);
	assert_int_equal(status.st_nlink, 1);
	assert_int_equal(count_files(), 1);
	assert_int_equal(fcntl(file.fd, F_GETFD), FD_CLOEXEC);
	assert_int_equal(pidfile_keep(&file), 0);
	pidfile_drop(&file);
	assert_int_equal(access(path, F_OK), -1);
	pidfile_drop(&file);
	pidfile_drop(&(struct pidfile){ 0 });
}

static void the_second_is_told_who_runs(void **state)
{
	struct pidfile file = { .number = 77 };
	pid_t holder = hold();

	(void)state;
	assert_int_equal(pidfile_take(&file, path, getpid(), false, &error), -EEXIST);
	assert_int_equal(error.code, EEXIST);
	assert_error("%s: already running, pid %d", path, (int)holder);
	assert_int_equal(file.number, 77);
	assert_int_equal(count_files(), 1);
	assert_int_equal(number_in(path), holder);
	end(holder);
	assert_int_equal(pidfile_take(&file, path, getpid(), false, &error), 0);
	assert_int_equal(number_in(path), getpid());
	pidfile_drop(&file);
}

static void two_files_need_two_names(void **state)
{
	struct pidfile file;
	struct pidfile second;

	(void)state;
	assert_int_equal(pidfile_take(&file, path, getpid(), false, &error), 0);
	assert_int_equal(pidfile_take(&second, path, getpgrp(), true, &error), -EEXIST);
	assert_non_null(strstr(error.text, "give each a file of its own"));
	pidfile_drop(&file);
}

static void a_stale_file_is_replaced(void **state)
{
	static const char *const stale[] = { "", "4000000\n", "4000000", "0\n", "1\n",
					     "99999999999999999999\n", " 12\n\n" };
	struct pidfile file;

	(void)state;
	for (size_t i = 0; i < sizeof(stale) / sizeof(*stale); i++) {
		put(stale[i]);
		assert_int_equal(pidfile_take(&file, path, getpid(), false, &error), 0);
		assert_int_equal(number_in(path), getpid());
		pidfile_drop(&file);
		put(stale[i]);
		assert_int_equal(pidfile_take(&file, path, getpgrp(), true, &error), 0);
		assert_int_equal(number_in(path), getpgrp());
		assert_int_equal(count_files(), 1);
		pidfile_drop(&file);
	}
	/* Our own number, from before a container was started anew. */
	snprintf(error.text, sizeof(error.text), "%d\n", (int)getpid());
	put(error.text);
	assert_int_equal(pidfile_take(&file, path, getpid(), false, &error), 0);
	pidfile_drop(&file);
}

static void a_power_cut_leaves_zeroes(void **state)
{
	struct pidfile file;

	(void)state;
	put("");
	assert_int_equal(truncate(path, 6), 0);
	assert_int_equal(pidfile_take(&file, path, getpid(), false, &error), 0);
	pidfile_drop(&file);
}

static void another_kind_of_file_is_left(void **state)
{
	char other[192];
	struct pidfile file;

	(void)state;
	put("important words\n");
	assert_int_equal(pidfile_take(&file, path, getpid(), false, &error), -EBADMSG);
	assert_error("%s is there but is no pid file; choose another path, or remove it if "
		     "nobody needs it", path);
	assert_int_equal(truncate(path, 0), 0);
	assert_int_equal(truncate(path, 1000), 0);
	assert_int_equal(pidfile_take(&file, path, getpid(), false, NULL), -EBADMSG);
	unlink(path);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(pidfile_take(&file, path, getpid(), false, NULL), -EBADMSG);
	unlink(path);
	snprintf(other, sizeof(other), "%s/other", directory);
	assert_int_equal(symlink(other, path), 0);
	assert_int_equal(pidfile_take(&file, path, getpid(), false, &error), -EBADMSG);
	assert_error("the pid file %s is a symbolic link, which is not followed; name the file "
		     "itself", path);
	assert_int_equal(access(other, F_OK), -1);
	assert_int_equal(pidfile_take(&file, directory, getpid(), false, &error), -EBADMSG);
	assert_error("the pid file %s is a directory; name a file in it", directory);
	assert_int_equal(count_files(), 1);
}

/* The number has gone to another process of this program. */
static void a_number_that_was_given_again_does_not_count(void **state)
{
	struct pidfile file;
	char text[32];
	pid_t pid = fork();

	(void)state;
	if (pid == 0) {
		pause();
		_exit(0);
	}
	snprintf(text, sizeof(text), "%d\n", (int)pid);
	put(text);
	assert_int_equal(pidfile_take(&file, path, getpid(), false, &error), 0);
	assert_int_equal(number_in(path), getpid());
	pidfile_drop(&file);
	end(pid);
}

static void a_group_lives_with_its_last_member(void **state)
{
	struct pidfile file;
	char text[32];
	pid_t pid = fork();

	(void)state;
	if (pid == 0) {
		pause();
		_exit(0);
	}
	assert_int_equal(setpgid(pid, pid), 0);
	snprintf(text, sizeof(text), "%d\n", (int)pid);
	put(text);
	assert_int_equal(pidfile_take(&file, path, getpgrp(), true, &error), -EEXIST);
	assert_error("%s: already running, process group %d", path, (int)pid);
	end(pid);
	assert_int_equal(pidfile_take(&file, path, getpgrp(), true, &error), 0);
	assert_int_equal(number_in(path), getpgrp());
	pidfile_drop(&file);
}

/* Where nobody buries, as under many a PID 1 of a container, the dead stay for ever. */
static void a_group_does_not_live_with_its_dead(void **state)
{
	struct pidfile file;
	siginfo_t info;
	char text[32];
	pid_t pid = fork();

	(void)state;
	if (pid == 0)
		_exit(0);
	assert_int_equal(setpgid(pid, pid), 0);
	assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
	assert_int_equal(kill(-pid, 0), 0);
	snprintf(text, sizeof(text), "%d\n", (int)pid);
	put(text);
	assert_int_equal(pidfile_take(&file, path, getpgrp(), true, &error), 0);
	pidfile_drop(&file);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

/* Its first holder dies; a child still has it. */
static void the_lock_survives_a_fork(void **state)
{
	struct pidfile file;
	int ends[2];
	char byte = 0;
	pid_t child = 0;
	pid_t pid;

	(void)state;
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		must(pidfile_take(&file, path, getpid(), false, NULL) == 0);
		child = fork();
		if (child == 0) {
			pause();
			_exit(0);
		}
		must(write(ends[1], &child, sizeof(child)) == sizeof(child));
		_exit(0);
	}
	assert_int_equal(read(ends[0], &child, sizeof(child)), sizeof(child));
	close(ends[1]);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(pidfile_take(&file, path, getpid(), false, &error), -EEXIST);
	assert_error("%s: already running, pid %d", path, (int)pid);
	assert_true(child > 1);
	kill(child, SIGKILL);
	assert_int_equal(read(ends[0], &byte, 1), 0); /* it is gone */
	close(ends[0]);
	assert_int_equal(pidfile_take(&file, path, getpid(), false, &error), 0);
	pidfile_drop(&file);
}

static void a_deleted_file_is_put_back(void **state)
{
	struct pidfile file;
	struct pidfile second;

	(void)state;
	assert_int_equal(pidfile_take(&file, path, getpid(), false, &error), 0);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(unlink(path), 0);
		assert_int_equal(pidfile_keep(&file), 1);
		assert_int_equal(pidfile_keep(&file), 0);
		assert_int_equal(number_in(path), getpid());
		assert_int_equal(count_files(), 1);
		assert_int_equal(fcntl(file.fd, F_GETFD), FD_CLOEXEC);
		assert_int_equal(pidfile_take(&second, path, OTHER_NUMBER, false, NULL),
				 -EEXIST);
	}
	/* By a copy, which nobody holds. */
	unlink(path);
	put("4000000\n");
	assert_int_equal(pidfile_keep(&file), 1);
	assert_int_equal(number_in(path), getpid());
	pidfile_drop(&file);
	assert_int_equal(count_files(), 0);
}

static void what_another_has_taken_is_left(void **state)
{
	struct pidfile file;
	pid_t holder;

	(void)state;
	assert_int_equal(pidfile_take(&file, path, getpid(), false, &error), 0);
	assert_int_equal(unlink(path), 0);
	holder = hold();
	assert_int_equal(pidfile_keep(&file), -EEXIST);
	assert_int_equal(pidfile_keep(&file), -EEXIST);
	assert_int_equal(number_in(path), holder);
	pidfile_drop(&file);
	assert_int_equal(number_in(path), holder);
	end(holder);
}

static void the_directory_may_go_and_come(void **state)
{
	struct pidfile file;

	(void)state;
	assert_int_equal(pidfile_take(&file, path, getpid(), false, &error), 0);
	unlink(path);
	assert_int_equal(rmdir(directory), 0);
	assert_int_equal(pidfile_keep(&file), -ENOENT);
	assert_int_equal(mkdir(directory, 0700), 0);
	assert_int_equal(pidfile_keep(&file), 1);
	assert_int_equal(number_in(path), getpid());
	pidfile_drop(&file);
}

/* In a fork: it changes its directory. */
static void take_relative(void)
{
	struct pidfile file;

	must(chdir(directory) == 0);
	must(pidfile_take(&file, "a.pid", getpid(), false, NULL) == 0);
	must(chdir("/") == 0);
	must(pidfile_keep(&file) == 0);
	must(unlink(path) == 0);
	must(pidfile_keep(&file) == 1);
	must(number_in(path) == getpid());
	pidfile_drop(&file);
	must(access(path, F_OK) < 0);
}

/* In a fork: nobody in particular. */
static void take_without_permission(void)
{
	struct pidfile file;

	must(getuid() != 0 || setresuid(65534, 65534, 65534) == 0);
	must(pidfile_take(&file, "/proc/a.pid", 1, false, &error) < 0);
	must(pidfile_take(&file, "/a.pid", 1, false, &error) == -EACCES);
	must(strcmp(error.text, "cannot write the pid file /a.pid: Permission denied; "
		    "start as a user who may write to it and to its directory, or "
		    "choose another path") == 0);
}

static void a_relative_path_is_remembered(void **state)
{
	(void)state;
	in_a_fork(take_relative);
}

static void what_cannot_be_is_said(void **state)
{
	char name[PATH_MAX];
	struct pidfile file;

	(void)state;
	assert_int_equal(pidfile_take(&file, "", 1, false, &error), -EINVAL);
	assert_error("the name of the pid file is empty; give the file a name, or do "
		     "without it");
	assert_int_equal(pidfile_take(&file, NULL, 1, false, NULL), -EINVAL);
	snprintf(name, sizeof(name), "%s/none/a.pid", directory);
	assert_int_equal(pidfile_take(&file, name, 1, false, &error), -ENOENT);
	assert_error("cannot write the pid file %s: No such file or directory; create "
		     "its directory, or choose another path", name);
	snprintf(name, sizeof(name), "%s/%0300d", directory, 1);
	assert_int_equal(pidfile_take(&file, name, 1, false, &error), -ENAMETOOLONG);
	in_a_fork(take_without_permission);
}

/* Told to go by the end of a pipe; ends when that of another is there. */
static void start(int go, int stop, int wins)
{
	struct pidfile file;
	char byte;
	int r;

	must(read(go, &byte, 1) == 0);
	r = pidfile_take(&file, path, getpid(), false, &error);
	must(r == 0 || r == -EEXIST);
	must(r == 0 || strstr(error.text, ": already running, pid "));
	byte = r == 0 ? 'w' : 'l';
	must(write(wins, &byte, 1) == 1);
	must(read(stop, &byte, 1) == 0);
	must(r < 0 || number_in(path) == getpid());
	must(r < 0 || pidfile_keep(&file) == 0);
	_exit(0);
}

static void race(void)
{
	pid_t pids[STARTERS];
	int go[2];
	int stop[2];
	int wins[2];
	int winners = 0;
	char byte;
	int status;

	assert_int_equal(pipe2(go, O_CLOEXEC), 0);
	assert_int_equal(pipe2(stop, O_CLOEXEC), 0);
	assert_int_equal(pipe2(wins, O_CLOEXEC), 0);
	for (int i = 0; i < STARTERS; i++) {
		pids[i] = fork();
		if (pids[i] == 0) {
			close(go[1]);
			close(stop[1]);
			start(go[0], stop[0], wins[1]);
		}
	}
	close(wins[1]);
	close(go[1]);
	for (int i = 0; i < STARTERS; i++) {
		assert_int_equal(read(wins[0], &byte, 1), 1);
		winners += byte == 'w';
	}
	assert_int_equal(winners, 1);
	assert_int_equal(count_files(), 1);
	close(stop[1]);
	for (int i = 0; i < STARTERS; i++) {
		assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
		assert_int_equal(status, 0);
	}
	close(go[0]);
	close(stop[0]);
	close(wins[0]);
}

/* The winner leaves a stale file to the next round. */
static void one_of_twenty_wins(void **state)
{
	(void)state;
	for (int i = 0; i < ROUNDS; i++) {
		if (i % 3 == 0)
			unlink(path);
		race();
	}
}

#define test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(a_number_is_written_and_removed),
		test(the_second_is_told_who_runs),
		test(two_files_need_two_names),
		test(a_stale_file_is_replaced),
		test(a_power_cut_leaves_zeroes),
		test(another_kind_of_file_is_left),
		test(a_number_that_was_given_again_does_not_count),
		test(a_group_lives_with_its_last_member),
		test(a_group_does_not_live_with_its_dead),
		test(the_lock_survives_a_fork),
		test(a_deleted_file_is_put_back),
		test(what_another_has_taken_is_left),
		test(the_directory_may_go_and_come),
		test(a_relative_path_is_remembered),
		test(what_cannot_be_is_said),
		test(one_of_twenty_wins),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
