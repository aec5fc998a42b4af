/* SPDX-License-Identifier: MIT */
/* A plan in a loop of the program's own, and what its callbacks may do. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <crew/supervise.h>

#define TURNS 100
#define BOOT_MS 50

struct story {
	unsigned ready, died, shut_down, gone;
	int children_at_the_end;
	int stepped;
	int fd;
	bool stops_at_once;
	bool frees;
};

/* ---- children ---- */

static int rest(struct crew_child *self)
{
	while (crew_rest(self, 1000))
		;
	return 0;
}

/* In which its heart does not beat. */
static int boot_slowly(struct crew_child *self)
{
	(void)self;
	usleep(BOOT_MS * 1000);
	return 0;
}

/* Beats no heart, and reads nothing; "deaf" never will. */
static int be_silent(struct crew_child *self)
{
	const char *what = crew_argument(self);

	if (strcmp(what, "deaf") == 0)
		close(STDIN_FILENO);
	crew_child_status(self, what);
	while (pause() < 0)
		;
	return 0;
}

/* The descriptor is one that it has. */
static int look_at_descriptor(struct crew_child *self)
{
	const int *fd = crew_argument(self);

	return fcntl(*fd, F_GETFD) >= 0 ? rest(self) : 70;
}

/* ---- the parent ---- */

/* As nobody should. */
static void free_and_step(struct crew_supervisor *supervisor)
{
	struct story *story = crew_plan_context(supervisor);

	if (!story->frees)
		return;
	story->stepped = crew_plan_step(supervisor, 0);
	crew_plan_free(supervisor);
}

static int on_start(struct crew_supervisor *supervisor)
{
	struct story *story = crew_plan_context(supervisor);

	free_and_step(supervisor);
	story->fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (story->stops_at_once)
		crew_plan_stop(supervisor);
	return story->fd >= 0 ? 0 : 1;
}

static int refuse(struct crew_supervisor *supervisor)
{
	free_and_step(supervisor);
	return 1;
}

static void on_shutdown(struct crew_supervisor *supervisor)
{
	struct story *story = crew_plan_context(supervisor);

	free_and_step(supervisor);
	story->children_at_the_end = (int)crew_plan_children(supervisor, NULL, 0);
	story->shut_down++;
	close(story->fd);
}

static void pre_fork(struct crew_supervisor *supervisor, const char *group, unsigned index)
{
	(void)group;
	(void)index;
	free_and_step(supervisor);
}

static void on_ready(struct crew_supervisor *supervisor, const struct crew_child_info *child)
{
	struct story *story = crew_plan_context(supervisor);

	(void)child;
	free_and_step(supervisor);
	story->ready++;
}

static void on_death(struct crew_supervisor *supervisor, const struct crew_death *death)
{
	struct story *story = crew_plan_context(supervisor);

	(void)death;
	free_and_step(supervisor);
	story->died++;
}

static void gone(struct crew_supervisor *supervisor, const struct crew_death *death,
		 void *argument)
{
	struct story *story = argument;

	(void)death;
	free_and_step(supervisor);
	story->gone++;
}

static struct crew_plan plan_of(struct story *story, struct crew_group group)
{
	*story = (struct story){ .fd = -1, .children_at_the_end = -1 };
	return (struct crew_plan){
		.groups = { group },
		.context = story,
		.on_start = on_start,
		.on_shutdown = on_shutdown,
		.pre_fork = pre_fork,
		.parent_pre_stop = free_and_step,
		.on_ready = on_ready,
		.on_death = on_death,
	};
}

static struct crew_supervisor *start(const struct crew_plan *plan)
{
	struct crew_supervisor *supervisor = NULL;
	struct crew_error error = { 0 };

	if (crew_plan_start(plan, &supervisor, &error) < 0)
		fail_msg("%s", error.text);
	return supervisor;
}

static void step_until(struct crew_supervisor *supervisor, const unsigned *number,
		       unsigned value)
{
	for (unsigned i = 0; *number < value; i++) {
		assert_true(i < TURNS);
		assert_int_equal(crew_plan_step(supervisor, 100), 1);
	}
}

static void what_on_start_begins_on_shutdown_ends(void **state)
{
	struct crew_supervisor *supervisor;
	struct story story;
	struct crew_plan plan = plan_of(&story, (struct crew_group){
		.name = "kids", .run = rest, .count = 2 });

	(void)state;
	/* After a stop, once. */
	supervisor = start(&plan);
	step_until(supervisor, &story.ready, 2);
	crew_plan_stop(supervisor);
	while (crew_plan_step(supervisor, 100) > 0)
		;
	assert_int_equal(story.shut_down, 1);
	crew_plan_free(supervisor);
	assert_int_equal(story.shut_down, 1);
	/* Without. */
	supervisor = start(&plan);
	step_until(supervisor, &story.ready, 4);
	crew_plan_free(supervisor);
	assert_int_equal(story.died, 4);
	assert_int_equal(story.shut_down, 2);
	assert_int_equal(story.children_at_the_end, 0);
}

static void a_file_that_cannot_be_opened_is_named(void **state)
{
	struct crew_supervisor *supervisor = NULL;
	struct crew_error error = { 0 };
	struct story story;
	struct crew_plan plan = plan_of(
		&story, (struct crew_group){ .name = "kids",
					     .run = rest,
					     .out = { .to = CREW_TO_FILE,
						      .path = "/dev/null/lines" } });

	(void)state;
	assert_int_equal(crew_plan_start(&plan, &supervisor, &error), -ENOTDIR);
	assert_int_equal(error.code, ENOTDIR);
	assert_non_null(strstr(error.text, "/dev/null/lines"));
	plan.groups[0].out.path = "/dev/null";
	assert_int_equal(crew_plan_start(&plan, &supervisor, &error), -ENOTSUP);
	assert_non_null(strstr(error.text, "/dev/null: it is no regular file"));
}

static void nor_is_it_left_where_nothing_could_start(void **state)
{
	static const int none = -1;
	struct crew_supervisor *supervisor = NULL;
	struct crew_error error = { 0 };
	struct story story;
	struct crew_plan plan = plan_of(&story, (struct crew_group){
		.name = "kids", .run = rest, .count = 1,
		.preserve_fds = &none, .preserve_fd_count = 1 });

	(void)state;
	assert_int_equal(crew_plan_start(&plan, &supervisor, &error), -EINVAL);
	assert_non_null(strstr(error.text, "preserve_fds[0] is -1"));
	assert_int_equal(story.shut_down, 1);
	/* Who refuses has begun nothing. */
	plan.on_start = refuse;
	assert_int_equal(crew_plan_start(&plan, &supervisor, &error), -ECANCELED);
	assert_int_equal(story.shut_down, 1);
}

static void who_stops_in_on_start_ends_in_order(void **state)
{
	struct crew_supervisor *supervisor;
	struct story story;
	struct crew_plan plan = plan_of(&story, (struct crew_group){
		.name = "kids", .run = rest, .count = 1 });

	(void)state;
	story.stops_at_once = true;
	supervisor = start(&plan);
	assert_int_equal(crew_plan_step(supervisor, -1), 0);
	assert_int_equal(story.shut_down, 1);
	crew_plan_free(supervisor);
	assert_int_equal(story.shut_down, 1);
}

static void descriptors_may_be_opened_by_on_start(void **state)
{
	struct crew_supervisor *supervisor;
	struct story story;
	struct crew_plan plan = plan_of(&story, (struct crew_group){
		.name = "kids", .run = look_at_descriptor, .count = 1, .argument = &story.fd,
		.preserve_fds = &story.fd, .preserve_fd_count = 1 });

	(void)state;
	supervisor = start(&plan);
	step_until(supervisor, &story.ready, 1);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(crew_plan_step(supervisor, 10), 1);
	assert_int_equal(story.died, 0);
	crew_plan_free(supervisor);
}

static void in_callbacks_nothing_is_freed(void **state)
{
	struct crew_supervisor *supervisor;
	struct story story;
	struct crew_plan plan = plan_of(&story, (struct crew_group){
		.name = "kids", .run = rest, .count = 2 });

	(void)state;
	story.frees = true;
	supervisor = start(&plan);
	assert_int_equal(story.stepped, -EBUSY);
	step_until(supervisor, &story.ready, 2);
	assert_int_equal(crew_plan_signal(supervisor, "kids", 0, SIGKILL), 0);
	step_until(supervisor, &story.died, 1);
	assert_int_equal(crew_plan_remove(supervisor, "kids", 1, 0, gone, &story), 0);
	step_until(supervisor, &story.gone, 1);
	crew_plan_stop(supervisor);
	while (crew_plan_step(supervisor, 100) > 0)
		;
	assert_int_equal(story.shut_down, 1);
	crew_plan_free(supervisor);
}

/* How the first child is, as listed. */
static struct crew_child_info first_of(struct crew_supervisor *supervisor)
{
	struct crew_child_info children[4];

	assert_true(crew_plan_children(supervisor, children, 4) >= 1);
	return children[0];
}

static void who_is_meant_and_is_not_there_is_said(void **state)
{
	struct crew_supervisor *supervisor;
	struct story story;
	struct crew_plan plan = plan_of(&story, (struct crew_group){
		.name = "kids", .run = rest, .count = 1 });

	(void)state;
	plan.groups[1] = (struct crew_group){
		.name = "threads", .kind = CREW_THREAD, .run = rest, .count = 1 };
	supervisor = start(&plan);
	step_until(supervisor, &story.ready, 2);
	assert_int_equal(crew_plan_add(supervisor, "cats", CREW_NEVER), -ENOENT);
	assert_int_equal(crew_plan_add(supervisor, "kids", 0), -EEXIST);
	assert_int_equal(crew_plan_add(supervisor, "kids", (unsigned)INT_MAX + 1), -EINVAL);
	assert_int_equal(crew_plan_add(supervisor, "kids", INT_MAX), INT_MAX);
	assert_int_equal(crew_plan_add(supervisor, "kids", CREW_NEVER), 1);
	assert_int_equal(crew_plan_remove(supervisor, "cats", 0, 0, NULL, NULL), -ENOENT);
	assert_int_equal(crew_plan_remove(supervisor, "kids", 7, 0, gone, &story), -ENOENT);
	assert_int_equal(crew_plan_signal(supervisor, "cats", 0, SIGWINCH), -ENOENT);
	assert_int_equal(crew_plan_signal(supervisor, "kids", 7, SIGWINCH), -ENOENT);
	assert_int_equal(crew_plan_signal(supervisor, "kids", 0, 4711), -EINVAL);
	assert_int_equal(crew_plan_signal(supervisor, "threads", 0, SIGWINCH), -ENOTSUP);
	assert_int_equal(crew_plan_reload(supervisor, "cats"), -ENOENT);
	assert_int_equal(crew_plan_set_log_level(supervisor, "cats", CREW_INFO), -ENOENT);
	assert_int_equal(crew_plan_set_log_level(supervisor, "kids", (enum crew_level)99),
			 -EINVAL);
	assert_int_equal(crew_plan_send(supervisor, "cats", 0, "x", 1), -ENOENT);
	assert_int_equal(crew_plan_send(supervisor, "kids", 7, "x", 1), -ENOENT);
	assert_int_equal(crew_plan_send(supervisor, "kids", 0, "x", 1), -ENOTSUP);
	assert_false(crew_plan_degraded(supervisor, "cats"));
	step_until(supervisor, &story.ready, 4);
	crew_plan_stop(supervisor);
	assert_int_equal(crew_plan_add(supervisor, "kids", CREW_NEVER), -ESHUTDOWN);
	crew_plan_free(supervisor);
	assert_int_equal(story.gone, 0);
}

static void a_group_has_room_for_so_many(void **state)
{
	struct crew_supervisor *supervisor;
	struct story story;
	struct crew_plan plan = plan_of(&story, (struct crew_group){
		.name = "kids", .run = rest, .count = 1, .max_starting = 1 });

	(void)state;
	/* All but the first wait for those before them. */
	supervisor = start(&plan);
	for (unsigned i = 1; i < 1024; i++)
		assert_int_equal(crew_plan_add(supervisor, "kids", i), i);
	assert_int_equal(crew_plan_add(supervisor, "kids", 1024), -ENOSPC);
	assert_int_equal(crew_plan_add(supervisor, "kids", CREW_NEVER), -ENOSPC);
	crew_plan_free(supervisor);
}

static void what_a_child_does_not_read_is_not_taken(void **state)
{
	static char text[65536];
	struct crew_supervisor *supervisor;
	struct crew_child_info child;
	struct story story;
	struct crew_plan plan = plan_of(&story, (struct crew_group){
		.name = "kids", .run = be_silent, .count = 1, .argument = (void *)"full",
		.input = true });
	ssize_t n;

	(void)state;
	supervisor = start(&plan);
	step_until(supervisor, &story.ready, 1);
	while ((n = crew_plan_send(supervisor, "kids", 0, text, sizeof(text))) > 0)
		assert_true(n <= (ssize_t)sizeof(text));
	assert_int_equal(n, -EAGAIN);
	crew_plan_free(supervisor);
	plan.groups[0].argument = (void *)"deaf";
	supervisor = start(&plan);
	for (unsigned i = 0; i < TURNS; i++) {
		assert_int_equal(crew_plan_step(supervisor, 100), 1);
		child = first_of(supervisor);
		if (strcmp(child.status, "deaf") == 0)
			break;
	}
	assert_string_equal(child.status, "deaf");
	assert_int_equal(crew_plan_send(supervisor, "kids", 0, text, 1), -EPIPE);
	crew_plan_free(supervisor);
}

static void silence_is_counted_from_the_last_beat(void **state)
{
	static int (*const booting[])(struct crew_child *) = { boot_slowly, NULL };
	struct crew_supervisor *supervisor;
	struct crew_child_info before, after;
	struct story story;
	struct crew_plan plan = plan_of(&story, (struct crew_group){
		.name = "kids", .run = be_silent, .count = 1, .argument = (void *)"silent",
		.on_start = booting });

	(void)state;
	supervisor = start(&plan);
	step_until(supervisor, &story.ready, 1);
	before = first_of(supervisor);
	assert_true(before.rss_bytes > 65536 && before.rss_bytes < 1u << 30);
	/* A millisecond is lost to rounding. */
	assert_true(before.silent_ms + BOOT_MS - 1 <= before.age_ms);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(crew_plan_step(supervisor, 50), 1);
	after = first_of(supervisor);
	assert_int_equal(after.pid, before.pid);
	assert_int_equal(after.silent_ms - before.silent_ms, after.age_ms - before.age_ms);
	crew_plan_free(supervisor);
}

static void who_is_fixed_is_left_alone(void **state)
{
	struct crew_child_info children[4];
	struct crew_supervisor *supervisor;
	struct story story;
	struct crew_plan plan = plan_of(&story, (struct crew_group){
		.name = "rock", .run = rest, .count = 1, .fixed = true });

	(void)state;
	plan.groups[1] = (struct crew_group){ .name = "kids", .run = rest, .count = 1 };
	supervisor = start(&plan);
	step_until(supervisor, &story.ready, 2);
	assert_int_equal(crew_plan_reload(supervisor, NULL), 0);
	step_until(supervisor, &story.died, 1);
	assert_int_equal(story.ready, 3);
	assert_int_equal(crew_plan_children(supervisor, children, 4), 2);
	assert_string_equal(children[0].group, "rock");
	assert_int_equal(children[0].generation + 1, children[1].generation);
	/* But it is replaced when somebody says so. */
	assert_int_equal(crew_plan_reload(supervisor, "rock"), 0);
	step_until(supervisor, &story.died, 2);
	assert_int_equal(story.ready, 4);
	assert_int_equal(crew_plan_children(supervisor, children, 4), 2);
	assert_string_equal(children[0].group, "rock");
	assert_int_equal(children[0].generation, 2);
	crew_plan_free(supervisor);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_on_start_begins_on_shutdown_ends),
		cmocka_unit_test(a_file_that_cannot_be_opened_is_named),
		cmocka_unit_test(nor_is_it_left_where_nothing_could_start),
		cmocka_unit_test(who_stops_in_on_start_ends_in_order),
		cmocka_unit_test(descriptors_may_be_opened_by_on_start),
		cmocka_unit_test(in_callbacks_nothing_is_freed),
		cmocka_unit_test(who_is_meant_and_is_not_there_is_said),
		cmocka_unit_test(a_group_has_room_for_so_many),
		cmocka_unit_test(what_a_child_does_not_read_is_not_taken),
		cmocka_unit_test(silence_is_counted_from_the_last_beat),
		cmocka_unit_test(who_is_fixed_is_left_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
