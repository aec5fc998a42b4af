/* SPDX-License-Identifier: MIT */
/* What is read of processes and cgroups: from real children, and from trees of
 * files that look like cgroups, since not every machine lets one make those. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/os/os.h"

static char root[] = "/tmp/crew-process-test-XXXXXX";

static int make_root(void **state)
{
	(void)state;
	memcpy(root + sizeof(root) - 7, "XXXXXX", 6);
	os_files_root = mkdtemp(root);
	return os_files_root ? 0 : -1;
}

static int remove_root(void **state)
{
	char command[100];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf '%s'", root);
	os_files_root = "";
	return system(command);
}

/* A file below the root, with the folders above it. */
static void put(const char *path, const char *text)
{
	char whole[500];
	int n = snprintf(whole, sizeof(whole), "%s%s", root, path);
	int fd;

	for (char *at = whole + sizeof(root); (at = strchr(at, '/')) != NULL; at++) {
		*at = '\0';
		mkdir(whole, 0755);
		*at = '/';
	}
	assert_true(n > 0);
	fd = open(whole, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

static void the_least_quota_on_the_way_up_counts(void **state)
{
	(void)state;
	assert_int_equal(os_cpu_quota_percent(), 0); /* nothing to be read */
	put("/proc/self/cgroup", "0::/pods/web\n");
	put("/sys/fs/cgroup/pods/web/cpu.max", "max 100000\n");
	assert_int_equal(os_cpu_quota_percent(), 0);
	put("/sys/fs/cgroup/pods/cpu.max", "250000 100000\n");
	assert_int_equal(os_cpu_quota_percent(), 250);
	put("/sys/fs/cgroup/pods/web/cpu.max", "50000 100000\n");
	assert_int_equal(os_cpu_quota_percent(), 50);
	put("/sys/fs/cgroup/cpu.max", "10 100000\n");
	assert_int_equal(os_cpu_quota_percent(), 1); /* little, but a limit */
	put("/sys/fs/cgroup/cpu.max", "nonsense");
	assert_int_equal(os_cpu_quota_percent(), 50);
	put("/proc/self/cgroup", "4:cpu:/pods/web\n");
	assert_int_equal(os_cpu_quota_percent(), 0); /* version 1 is not read */
}

static pid_t member;

static int make_member(void **state)
{
	member = fork();
	if (member == 0) {
		pause();
		_exit(0);
	}
	assert_int_equal(setpgid(member, member), 0);
	return make_root(state);
}

static int remove_member(void **state)
{
	if (member > 0) {
		kill(member, SIGKILL);
		waitpid(member, NULL, 0);
	}
	return remove_root(state);
}

/* What process 7 of the member's group is, whatever its name. */
static void put_stat(const char *name, const char *state, int threads)
{
	char text[200];

	snprintf(text, sizeof(text), "7 (%s) %s 1 %d 1 0 -1 4 0 0 0 0 0 0 0 0 20 0 %d 0 8\n", name,
		 state, (int)member, threads);
	put("/proc/7/stat", text);
}

static void a_group_lives_with_a_living_member(void **state)
{
	const char *names[] = { "crew", "a) Z 1 2 (b", ")" };

	(void)state;
	assert_true(os_group_lives(member)); /* without /proc it is believed */
	put("/proc/self/stat", "not a number");
	put("/proc/8/stat", "8 (crew) S 1 8 8 0");
	put("/proc/9/stat", "");
	assert_true(os_group_lives(member)); /* and where members are hidden */
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		put_stat(names[i], "S", 1);
		assert_true(os_group_lives(member));
		put_stat(names[i], "Z", 1);
		assert_false(os_group_lives(member));
	}
	put_stat("crew", "X", 0);
	assert_false(os_group_lives(member));
	put_stat("crew", "Z", 2);
	assert_true(os_group_lives(member)); /* its first thread has ended */
	kill(member, SIGKILL);
	assert_int_equal(waitpid(member, NULL, 0), member);
	assert_false(os_group_lives(member));
	member = 0;
}

static void a_container_sees_its_group_as_the_root(void **state)
{
	(void)state;
	put("/proc/self/cgroup", "4:memory:/old\n0::/docker/0123456789\n");
	put("/sys/fs/cgroup/cpu.max", "150000 100000\n");
	put("/sys/fs/cgroup/memory.events", "low 0\noom 3\noom_kill 2\n");
	assert_int_equal(os_cpu_quota_percent(), 150);
	assert_int_equal(os_oom_kills(), 2);
}

static void kills_for_memory_are_counted_or_unknown(void **state)
{
	(void)state;
	assert_int_equal(os_oom_kills(), -1);
	put("/proc/self/cgroup", "0::/web\n");
	put("/sys/fs/cgroup/web/memory.events", "oom 1\n");
	assert_int_equal(os_oom_kills(), -1);
	put("/sys/fs/cgroup/web/memory.events", "oom 1\noom_kill 7\noom_group_kill 0\n");
	assert_int_equal(os_oom_kills(), 7);
}

static int start(void (*run)(void))
{
	const pid_t pid = fork();
	int pidfd;

	if (pid == 0) {
		run();
		_exit(0);
	}
	pidfd = os_process_open(pid);
	assert_true(pidfd >= 0);
	return pidfd;
}

static void wait_end(int pidfd, struct os_end *end)
{
	int r;

	while ((r = os_process_wait(pidfd, end)) == -EAGAIN)
		usleep(1000);
	assert_int_equal(r, 0);
	assert_true(end->peak_rss_bytes > 100000);
	assert_int_equal(os_process_wait(pidfd, end), -ECHILD);
	close(pidfd);
}

static void end_with_7(void)
{
	_exit(7);
}

static void end_by_signal(void)
{
	raise(SIGKILL);
}

static void sleep_on(void)
{
	pause();
}

static void an_end_is_a_code_or_a_signal(void **state)
{
	struct os_end end = { 0 };
	int pidfd;

	(void)state;
	wait_end(start(end_with_7), &end);
	assert_int_equal(end.exit_code, 7);
	assert_int_equal(end.signal, 0);
	wait_end(start(end_by_signal), &end);
	assert_int_equal(end.signal, SIGKILL);
	pidfd = start(sleep_on);
	assert_int_equal(os_process_wait(pidfd, &end), -EAGAIN);
	assert_int_equal(os_process_signal(pidfd, SIGTERM), 0);
	wait_end(pidfd, &end);
	assert_int_equal(end.signal, SIGTERM);
}

static void signals_have_names(void **state)
{
	(void)state;
	assert_string_equal(os_signal_name(SIGSEGV), "SIGSEGV");
	assert_string_equal(os_signal_name(SIGRTMIN + 3), "SIGRTMIN+3");
	assert_string_equal(os_signal_name(0), "no signal");
	assert_string_equal(os_signal_name(1000), "no signal");
}

static void descriptors_and_memory_are_counted(void **state)
{
	const long before = os_descriptor_count(getpid());
	int fds[2];

	(void)state;
	assert_in_range(before, 3, 1000);
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	assert_int_equal(os_descriptor_count(getpid()), before + 2);
	close(fds[0]);
	close(fds[1]);
	assert_true(os_resident_bytes(getpid()) > 100000);
	assert_int_equal(os_resident_bytes(INT32_MAX), 0);
	assert_int_equal(os_descriptor_count(INT32_MAX), 0);
}

static void a_limit_of_descriptors_is_that_of_the_process(void **state)
{
	const uint64_t ours = os_descriptor_limit(0);
	const struct rlimit forty = { 40, 50 };
	pid_t pid = fork();
	int status;

	(void)state;
	assert_true(pid >= 0);
	if (pid == 0) {
		for (;;)
			pause();
	}
	assert_int_equal(prlimit(pid, RLIMIT_NOFILE, &forty, NULL), 0);
	assert_int_equal(os_descriptor_limit(pid), 40);
	assert_int_equal(os_descriptor_limit(0), ours);
	assert_int_equal(os_descriptor_limit(INT32_MAX), ours);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
}

int main(void)
{
#define IN_A_ROOT(test) cmocka_unit_test_setup_teardown(test, make_root, remove_root)
	const struct CMUnitTest tests[] = {
		IN_A_ROOT(the_least_quota_on_the_way_up_counts),
		IN_A_ROOT(a_container_sees_its_group_as_the_root),
		IN_A_ROOT(kills_for_memory_are_counted_or_unknown),
		cmocka_unit_test_setup_teardown(a_group_lives_with_a_living_member, make_member,
						remove_member),
		cmocka_unit_test(an_end_is_a_code_or_a_signal),
		cmocka_unit_test(signals_have_names),
		cmocka_unit_test(descriptors_and_memory_are_counted),
		cmocka_unit_test(a_limit_of_descriptors_is_that_of_the_process),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
