/* SPDX-License-Identifier: MIT */
/* What is thought of children by what the system and they themselves say: hearts, limits, and
 * who was killed for memory. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/os/os.h"
#include "supervise/private.h"

#define PATIENCE_MS 20000u

static char root[] = "/tmp/crew-health-test-XXXXXX";
static struct plan *plan;
static unsigned births, deaths;
static struct crew_death last;
static char heard[2000];

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

static void put(const char *path, const char *text)
{
	char whole[200];
	FILE *file;

	snprintf(whole, sizeof(whole), "%s/%s", root, path);
	for (char *at = whole + sizeof(root); (at = strchr(at, '/')) != NULL; at++) {
		*at = '\0';
		mkdir(whole, 0755);
		*at = '/';
	}
	file = fopen(whole, "w");
	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

/* The kernel has killed so many of our cgroup. */
static void count_killed(unsigned count)
{
	char text[40];

	snprintf(text, sizeof(text), "oom 0\noom_kill %u\n", count);
	put("sys/fs/cgroup/memory.events", text);
}

static int rest(struct crew_child *self)
{
	while (crew_rest(self, 50))
		;
	return 0;
}

static int set_its_heart_to_the_end_of_time(struct crew_child *self)
{
	atomic_store(&self->score->heartbeat_ms, UINT64_MAX);
	return pause();
}

static int start_the_first_only(struct crew_child *self)
{
	return crew_generation(self) == 1 ? 0 : 70;
}

static void ready(void *context, struct child *child)
{
	(void)context;
	(void)child;
	births++;
}

static void died(void *context, struct child *child, const struct crew_death *death)
{
	(void)context;
	(void)child;
	last = *death;
	deaths++;
}

static void begin(struct crew_group is)
{
	const struct group group = { .is = is, .ready = ready, .died = died };
	const struct plan_options options = { .groups = &group, .group_count = 1 };

	births = deaths = 0;
	assert_int_equal(plan_new(&options, &plan, NULL), 0);
	assert_int_equal(plan_start(plan), 0);
}

static void end(void)
{
	plan_stop(plan);
	assert_int_equal(plan_run(plan), 0);
	plan_free(plan);
}

static void turn(uint64_t until_ms)
{
	assert_true(clock_now_ms() < until_ms);
	assert_int_equal(loop_turn(plan_loop(plan), 100), 0);
}

static void turn_until(const unsigned *number, unsigned value)
{
	const uint64_t until_ms = clock_now_ms() + PATIENCE_MS;

	while (*number < value)
		turn(until_ms);
}

static bool hear(void *context, const struct crew_log_line *line)
{
	(void)context;
	snprintf(heard + strlen(heard), sizeof(heard) - strlen(heard), "%s\n", line->message);
	return true;
}

static void each_who_was_killed_for_memory_has_that_cause(void **state)
{
	struct crew_death all[4];

	(void)state;
	put("proc/self/cgroup", "0::/\n");
	count_killed(3);
	begin((struct crew_group){ .name = "kids", .run = rest, .count = 3 });
	turn_until(&births, 3);
	count_killed(5);
	kill(plan_child(plan, 0, 0)->pid, SIGKILL);
	kill(plan_child(plan, 0, 1)->pid, SIGKILL);
	turn_until(&deaths, 2);
	kill(plan_child(plan, 0, 2)->pid, SIGKILL); /* by somebody's hand */
	turn_until(&deaths, 3);
	assert_int_equal(plan_deaths(plan, all, COUNT_OF(all)), 3);
	assert_int_equal(all[2].cause, CREW_CAUSE_OUT_OF_MEMORY);
	assert_int_equal(all[1].cause, CREW_CAUSE_OUT_OF_MEMORY);
	assert_int_equal(all[0].cause, CREW_CAUSE_SIGNAL);
	end();
}

/* A child's own child, perhaps, or somebody else of our cgroup. */
static void what_else_was_killed_for_memory_is_forgotten(void **state)
{
	const uint64_t until_ms = clock_now_ms() + PATIENCE_MS;

	(void)state;
	put("proc/self/cgroup", "0::/\n");
	count_killed(0);
	begin((struct crew_group){ .name = "kids", .run = rest, .count = 1 });
	turn_until(&births, 1);
	count_killed(1);
	while (plan->oom_unclaimed == 0)
		turn(until_ms);
	while (plan->oom_unclaimed > 0)
		turn(until_ms);
	kill(plan_child(plan, 0, 0)->pid, SIGKILL);
	turn_until(&deaths, 1);
	assert_int_equal(last.cause, CREW_CAUSE_SIGNAL);
	end();
}

/* As where its memory is spoilt. */
static void a_heartbeat_of_the_future_is_not_believed(void **state)
{
	(void)state;
	begin((struct crew_group){ .name = "kids", .run = set_its_heart_to_the_end_of_time,
				   .count = 1, .heartbeat_timeout_ms = 300 });
	turn_until(&deaths, 1);
	assert_int_equal(last.cause, CREW_CAUSE_STUCK);
	end();
}

/* Its threads have no successors: they are not to end with it. */
static void a_host_that_is_too_large_stays_while_no_other_comes_up(void **state)
{
	static int (*const starts[])(struct crew_child *) = { start_the_first_only, NULL };
	const struct group group = {
		.is = { .name = "kids", .kind = CREW_THREAD, .count = 2, .run = rest,
			.on_start = starts },
		.raw = true, .ready = ready, .died = died };
	const struct plan_options options = { .groups = &group, .group_count = 1 };
	const uint64_t until_ms = clock_now_ms() + PATIENCE_MS;
	uint64_t enough_ms;
	pid_t host;

	(void)state;
	births = 0;
	heard[0] = '\0';
	log_set_taker(hear, NULL);
	assert_int_equal(plan_new(&options, &plan, NULL), 0);
	assert_int_equal(plan_start(plan), 0);
	turn_until(&births, 2);
	host = plan_child(plan, 0, 0)->pid;
	plan->groups[0].options.is.max_rss_bytes = os_resident_bytes(host) / 10 * 9;
	while (!strstr(heard, "rolling restart given up"))
		turn(until_ms);
	enough_ms = clock_now_ms() + 3000;
	while (clock_now_ms() < enough_ms)
		turn(until_ms);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(plan_child(plan, 0, i)->pid, host);
	log_set_taker(NULL, NULL);
	end();
}

/* Which nobody else sees: it has neither a process nor threads. */
static struct life *new_host(struct group_state *group)
{
	struct life *host = life_new(group, NULL);

	assert_non_null(host);
	list_push_back(&group->lives, &host->in_group);
	group->host = host;
	host->ready = true;
	host->ready_ms = clock_now_ms();
	return host;
}

/* Of a limit that is below what an idle one has. */
static void hosts_that_are_too_large_at_once_are_replaced_ever_more_rarely(void **state)
{
	const struct group group = {
		.is = { .name = "kids", .kind = CREW_THREAD, .count = 1, .run = rest },
		.raw = true };
	const struct plan_options options = { .groups = &group, .group_count = 1 };
	struct life *before = NULL;
	uint64_t now_ms;

	(void)state;
	assert_int_equal(plan_new(&options, &plan, NULL), 0);
	for (unsigned i = 0; i < 5; i++) {
		struct life *host = new_host(&plan->groups[0]);

		life_ask_to_leave(host, LEAVE_LARGE);
		now_ms = host->leave_ms + LEAVE_MS;
		if (before) { /* it has threads that finish */
			life_let_leave(host, now_ms);
			assert_int_equal(host->leave_ms + LEAVE_MS, now_ms);
			list_remove(&before->in_group);
			life_free(before);
			now_ms += 10000;
		}
		life_let_leave(host, now_ms);
		assert_in_range(host->leave_ms + LEAVE_MS - now_ms, BACKOFF_FIRST_MS << i,
				(BACKOFF_FIRST_MS << i) * 5 / 4);
		before = host;
	}
	plan_free(plan);
}

/* As after a reload that was given up when one thread had come up. */
static void a_host_need_not_wait_for_one_that_serves(void **state)
{
	const struct group group = {
		.is = { .name = "kids", .kind = CREW_THREAD, .count = 2, .run = rest },
		.raw = true };
	const struct plan_options options = { .groups = &group, .group_count = 1 };
	struct life *hosts[2];
	struct life *thread;
	struct place place = { .dead_line = -1 };

	(void)state;
	assert_int_equal(plan_new(&options, &plan, NULL), 0);
	hosts[0] = new_host(&plan->groups[0]);
	thread = life_new(&plan->groups[0], &place);
	assert_non_null(thread);
	list_push_back(&plan->groups[0].lives, &thread->in_group);
	thread->host = hosts[0];
	place.now = thread;
	list_push_back(&plan->groups[0].places, &place.in_group);
	hosts[1] = new_host(&plan->groups[0]);
	life_ask_to_leave(hosts[1], LEAVE_LARGE);
	life_let_leave(hosts[1], hosts[1]->leave_ms + LEAVE_MS);
	assert_true(hosts[1]->leave_put_off);
	list_remove(&place.in_group);
	list_remove(&thread->in_group);
	life_free(thread);
	plan_free(plan);
}

static void limits_that_cannot_be_held_are_told_of(void **state)
{
	static const char said[] = "kids: /proc cannot be read, so that nobody is held to "
				   "max_rss_bytes and max_descriptors\n";

	(void)state;
	log_set_taker(hear, NULL);
	begin((struct crew_group){ .name = "kids", .run = rest, .count = 1,
				   .max_rss_bytes = 1 });
	assert_non_null(strstr(heard, said));
	end();
	heard[0] = '\0';
	begin((struct crew_group){ .name = "kids", .run = rest, .count = 1,
				   .max_descriptors = CREW_NEVER });
	assert_null(strstr(heard, "/proc"));
	end();
	os_files_root = "";
	begin((struct crew_group){ .name = "kids", .run = rest, .count = 1,
				   .max_rss_bytes = 1 });
	assert_null(strstr(heard, "/proc"));
	end();
	log_set_taker(NULL, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(each_who_was_killed_for_memory_has_that_cause,
						make_root, remove_root),
		cmocka_unit_test_setup_teardown(what_else_was_killed_for_memory_is_forgotten,
						make_root, remove_root),
		cmocka_unit_test(a_heartbeat_of_the_future_is_not_believed),
		cmocka_unit_test(a_host_that_is_too_large_stays_while_no_other_comes_up),
		cmocka_unit_test(hosts_that_are_too_large_at_once_are_replaced_ever_more_rarely),
		cmocka_unit_test(a_host_need_not_wait_for_one_that_serves),
		cmocka_unit_test_setup_teardown(limits_that_cannot_be_held_are_told_of,
						make_root, remove_root),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
