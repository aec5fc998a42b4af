/* SPDX-License-Identifier: MIT */
/* A plan from start to stop, as the rooms above use it: with hooks. What
 * children do at worst is shown by tests/system. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/os/os.h"
#include "supervise/supervise.h"

#define PATIENCE_MS 10000u

struct story {
	struct plan *plan;
	unsigned spawned, ready, retiring, died, messages;
	bool degraded;
	struct crew_death last;
	char said[40];
};

static int rest(struct crew_child *self)
{
	const char hello[] = "hello from a child";

	os_channel_send(self->channel, hello, sizeof(hello), NULL, 0);
	while (crew_rest(self, 1000))
		;
	return 0;
}

static int fail_first(struct crew_child *self)
{
	return crew_index(self) == 0 ? 70 : rest(self);
}

static void spawned(void *context, struct child *child)
{
	struct story *story = context;

	(void)child;
	story->spawned++;
}

static void ready(void *context, struct child *child)
{
	struct story *story = context;

	assert_true(child_is_up(child));
	story->ready++;
}

static void retiring(void *context, struct child *child)
{
	struct story *story = context;

	(void)child;
	story->retiring++;
}

static void message(void *context, struct child *child, const void *data, size_t size,
		    int *fds, size_t fd_count)
{
	struct story *story = context;

	(void)child;
	(void)fds;
	assert_int_equal(fd_count, 0);
	memcpy(story->said, data, size < sizeof(story->said) ? size : sizeof(story->said));
	story->messages++;
}

static void died(void *context, struct child *child, const struct crew_death *death)
{
	struct story *story = context;

	(void)child;
	story->died++;
	story->last = *death;
}

static void degraded(void *context, unsigned group, bool is)
{
	struct story *story = context;

	assert_int_equal(group, 0);
	story->degraded = is;
}

static void begin(struct story *story, struct crew_group is)
{
	const struct group group = {
		.is = is, .spawned = spawned, .ready = ready, .retiring = retiring,
		.message = message, .died = died, .degraded = degraded,
	};
	const struct plan_options options = {
		.groups = &group, .group_count = 1, .context = story,
	};

	*story = (struct story){ 0 };
	assert_int_equal(plan_new(&options, &story->plan), 0);
	assert_int_equal(plan_start(story->plan), 0);
}

/* Turn the loop until a number is what it should be. */
static void turn_until(struct story *story, const unsigned *number, unsigned value)
{
	const uint64_t end = clock_now_ms() + PATIENCE_MS;

	while (*number < value) {
		assert_true(clock_now_ms() < end);
		assert_int_equal(loop_turn(plan_loop(story->plan), 100), 0);
	}
}

static void stop(struct story *story)
{
	plan_stop(story->plan);
	assert_int_equal(plan_run(story->plan), 0);
	assert_true(plan_done(story->plan));
	plan_free(story->plan);
}

static void from_start_to_stop(void **state)
{
	struct crew_child_info children[4];
	struct story story;

	(void)state;
	begin(&story, (struct crew_group){ .name = "kids", .run = rest, .count = 2 });
	assert_int_equal(story.spawned, 2);
	turn_until(&story, &story.ready, 2);
	turn_until(&story, &story.messages, 2);
	assert_string_equal(story.said, "hello from a child");
	assert_int_equal(plan_children(story.plan, children, 4), 2);
	assert_string_equal(children[1].group, "kids");
	assert_int_equal(children[1].index, 1);
	assert_int_equal(children[1].state, CREW_CHILD_READY);
	assert_int_equal(plan_group_named(story.plan, "kids"), 0);
	assert_int_equal(plan_group_named(story.plan, "others"), -ENOENT);
	stop(&story);
	assert_int_equal(story.died, 2);
	assert_int_equal(story.last.cause, CREW_CAUSE_ORDER);
	assert_int_equal(story.retiring, 0); /* nobody takes their places */
}

static void the_killed_are_replaced_and_remembered(void **state)
{
	struct crew_death deaths[4];
	struct story story;

	(void)state;
	begin(&story, (struct crew_group){ .name = "kids", .run = rest, .count = 2 });
	turn_until(&story, &story.ready, 2);
	assert_int_equal(plan_signal(story.plan, 0, 1, SIGKILL), 0);
	turn_until(&story, &story.ready, 3);
	assert_int_equal(story.last.cause, CREW_CAUSE_SIGNAL);
	assert_string_equal(story.last.name, "SIGKILL");
	assert_int_equal(plan_child(story.plan, 0, 1)->generation, 2);
	assert_int_equal(plan_restarts(story.plan, 0), 1);
	assert_int_equal(plan_deaths(story.plan, deaths, 4), 1);
	assert_int_equal(deaths[0].index, 1);
	plan_condemn(story.plan, plan_child(story.plan, 0, 0), CREW_CAUSE_PROTOCOL);
	turn_until(&story, &story.ready, 4);
	assert_int_equal(story.last.cause, CREW_CAUSE_PROTOCOL);
	stop(&story);
}

static void a_reload_retires_who_was_there(void **state)
{
	struct story story;

	(void)state;
	begin(&story, (struct crew_group){ .name = "kids", .run = rest, .count = 2 });
	turn_until(&story, &story.ready, 2);
	plan_reload(story.plan, 0);
	assert_non_null(plan_life(story.plan, 0, 0, 1));
	turn_until(&story, &story.died, 2);
	assert_int_equal(story.retiring, 2);
	assert_int_equal(plan_restarts(story.plan, 0), 0);
	assert_int_equal(plan_child(story.plan, 0, 0)->generation, 2);
	assert_null(plan_life(story.plan, 0, 0, 1));
	stop(&story);
}

static void places_come_and_go(void **state)
{
	struct story story;

	(void)state;
	begin(&story, (struct crew_group){ .name = "kids", .run = rest,
					   .ids = (const unsigned[]){ 7, 3 },
					   .id_count = 2 });
	turn_until(&story, &story.ready, 2);
	assert_int_equal(plan_add(story.plan, 0, 7), -EEXIST);
	assert_int_equal(plan_add(story.plan, 0, CREW_NEVER), 0);
	turn_until(&story, &story.ready, 3);
	assert_int_equal(plan_remove(story.plan, 0, 4, 0, NULL, NULL), -ENOENT);
	assert_int_equal(plan_remove(story.plan, 0, 7, 0, NULL, NULL), 0);
	turn_until(&story, &story.died, 1);
	assert_null(plan_child(story.plan, 0, 7));
	plan_scale(story.plan, -1);
	turn_until(&story, &story.died, 2);
	assert_int_equal(story.last.index, 3); /* the last of 0 and 3 */
	plan_scale(story.plan, -1);
	assert_non_null(plan_child(story.plan, 0, 0)); /* never below one */
	stop(&story);
}

static void a_budget_is_used_up(void **state)
{
	struct story story;

	(void)state;
	begin(&story, (struct crew_group){ .name = "kids", .run = fail_first, .count = 2,
					   .max_restarts = 2 });
	turn_until(&story, &story.died, 3);
	assert_true(story.degraded);
	assert_true(plan_degraded(story.plan, 0));
	assert_null(plan_child(story.plan, 0, 0));
	assert_non_null(plan_child(story.plan, 0, 1)); /* the healthy one goes on */
	stop(&story);
}

static void threads_are_children_like_others(void **state)
{
	struct story story;

	(void)state;
	begin(&story, (struct crew_group){ .name = "kids", .run = rest, .count = 3,
					   .kind = CREW_THREAD });
	turn_until(&story, &story.ready, 3);
	turn_until(&story, &story.messages, 3);
	assert_int_equal(plan_child(story.plan, 0, 0)->pid,
			 plan_child(story.plan, 0, 2)->pid);
	assert_int_equal(plan_signal(story.plan, 0, 0, SIGTERM), -ENOTSUP);
	/* A thread that is stuck is replaced; the other word for it kills all. */
	plan_condemn(story.plan, plan_child(story.plan, 0, 0), CREW_CAUSE_STUCK);
	turn_until(&story, &story.ready, 4);
	turn_until(&story, &story.died, 1);
	assert_int_equal(story.last.cause, CREW_CAUSE_STUCK);
	plan_condemn(story.plan, plan_child(story.plan, 0, 1), CREW_CAUSE_PROTOCOL);
	turn_until(&story, &story.died, 4);
	turn_until(&story, &story.ready, 7);
	stop(&story);
}

static void freeing_kills_who_is_left(void **state)
{
	struct story story;
	pid_t pid;

	(void)state;
	begin(&story, (struct crew_group){ .name = "kids", .run = rest, .count = 1 });
	turn_until(&story, &story.ready, 1);
	pid = plan_child(story.plan, 0, 0)->pid;
	plan_free(story.plan);
	assert_int_equal(kill(pid, 0), -1);
	assert_int_equal(errno, ESRCH);
	plan_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(from_start_to_stop),
		cmocka_unit_test(the_killed_are_replaced_and_remembered),
		cmocka_unit_test(a_reload_retires_who_was_there),
		cmocka_unit_test(places_come_and_go),
		cmocka_unit_test(a_budget_is_used_up),
		cmocka_unit_test(threads_are_children_like_others),
		cmocka_unit_test(freeing_kills_who_is_left),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
