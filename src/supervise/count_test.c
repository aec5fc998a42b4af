/* SPDX-License-Identifier: MIT */
/* How many children suit a machine: with so many processors, in a cgroup with that quota. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/os/os.h"
#include "base/check.h"
#include "supervise/supervise.h"

static unsigned processors;

/* This stands in for libc's. */
int sched_getaffinity(pid_t pid, size_t size, cpu_set_t *set)
{
	(void)pid;
	CPU_ZERO_S(size, set);
	for (unsigned i = 0; i < processors; i++)
		CPU_SET_S(i, size, set);
	return 0;
}

static void put(const char *root, const char *path, const char *text)
{
	char whole[200];
	FILE *file;

	snprintf(whole, sizeof(whole), "%s/%s", root, path);
	for (char *at = whole + strlen(root) + 1; (at = strchr(at, '/')) != NULL; at++) {
		*at = '\0';
		mkdir(whole, 0755);
		*at = '/';
	}
	file = fopen(whole, "w");
	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

static void processors_and_quota_decide(void **state)
{
	static const struct {
		unsigned processors;
		const char *quota;
		unsigned count;
		const char *why;
	} machines[] = {
		{ 1, "max 100000", 2, "1 processors by affinity, no quota" },
		{ 3, "max 100000", 2, "3 processors by affinity, no quota" },
		{ 4, "max 100000", 3, "4 processors by affinity, no quota" },
		{ 16, "max 100000", 15, "16 processors by affinity, no quota" },
		{ 16, "150000 100000", 2, "16 processors by affinity, 1.50 by the cgroup's" },
		{ 16, "300000 100000", 2, "16 processors by affinity, 3.00 by the cgroup's" },
		{ 16, "301000 100000", 3, "16 processors by affinity, 3.01 by the cgroup's" },
		{ 16, "450000 100000", 4, "16 processors by affinity, 4.50 by the cgroup's" },
		{ 4, "3200000 100000", 3, "4 processors by affinity, 32.00 by the cgroup's" },
	};
	char root[] = "/tmp/crew-count-test-XXXXXX";
	char command[100];
	char why[200];

	(void)state;
	unsetenv("WEB_CONCURRENCY");
	os_files_root = mkdtemp(root);
	assert_non_null(os_files_root);
	put(root, "proc/self/cgroup", "0::/web\n");
	for (size_t i = 0; i < COUNT_OF(machines); i++) {
		processors = machines[i].processors;
		put(root, "sys/fs/cgroup/web/cpu.max", machines[i].quota);
		assert_int_equal(crew_default_count(why, sizeof(why)), machines[i].count);
		assert_memory_equal(why, machines[i].why, strlen(machines[i].why));
		assert_int_equal(crew_default_count(NULL, 0), machines[i].count);
	}
	os_files_root = "";
	snprintf(command, sizeof(command), "rm -rf '%s'", root);
	assert_int_equal(system(command), 0);
}

static void who_asks_for_so_many_gets_them(void **state)
{
	static const struct {
		const char *asked;
		unsigned count;
	} environments[] = {
		{ "1", 1 }, { "7", 7 }, { "", 15 }, { "0", 15 }, { "-1", 15 }, { "+7", 15 },
		{ "7x", 15 }, { "99999999999999999999", 15 },
	};

	(void)state;
	processors = 16;
	os_files_root = "/nowhere";
	for (size_t i = 0; i < COUNT_OF(environments); i++) {
		assert_int_equal(setenv("WEB_CONCURRENCY", environments[i].asked, 1), 0);
		assert_int_equal(crew_default_count(NULL, 0), environments[i].count);
	}
	os_files_root = "";
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(processors_and_quota_decide),
		cmocka_unit_test(who_asks_for_so_many_gets_them),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
