/* SPDX-License-Identifier: MIT */
/* A plan from start to stop, as the rooms above use it: with hooks. What
 * children do at worst is shown by tests/system. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/os/os.h"
#include "base/rotate.h"
#include "supervise/private.h"
#include "supervise/supervise.h"

#define PATIENCE_MS 10000u

struct story {
	struct plan *plan;
	unsigned spawned, ready, retiring, died, messages, gone;
	bool degraded;
	struct crew_death last;
	struct crew_death last_gone;
	unsigned messages_before; /* this turn */
	unsigned late;            /* started when "front" was gone */
	bool front_is_gone;
	unsigned booting;         /* successors */
	char said[40];
};

/* Lines of the log in which there is a text. */
static struct ear {
	const char *text;
	unsigned count;
} ear;

/* ---- children ---- */

static void say(const struct crew_child *self, const char *text)
{
	os_channel_send(self->channel, text, strlen(text) + 1, NULL, 0);
}

/* Whatever signals come. */
static void be_busy(unsigned ms)
{
	const uint64_t end = clock_now_ms() + ms;

	while (clock_now_ms() < end)
		poll(NULL, 0, 5);
}

static int rest(struct crew_child *self)
{
	say(self, "hello from a child");
	while (crew_rest(self, 1000))
		;
	return 0;
}

static int fail_first(struct crew_child *self)
{
	return crew_index(self) == 0 ? 70 : rest(self);
}

static _Atomic bool *front_may_go; /* shared by all processes */

static int stay_until_it_may_go(struct crew_child *self)
{
	rest(self);
	while (!atomic_load(front_may_go))
		be_busy(5);
	return 0;
}

static int go_on_and_on(struct crew_child *self)
{
	while (crew_rest(self, 10))
		say(self, "and on");
	return 0;
}

/* The first of each place goes late, and whom they all wait for later. */
static int linger(struct crew_child *self)
{
	rest(self);
	if (strcmp(crew_child_group(self), "front") == 0)
		be_busy(700);
	else if (crew_generation(self) == 1)
		be_busy(300);
	return 0;
}

/* What it has begun takes longer than it is given, as it says. */
static int go_on(struct crew_child *self)
{
	rest(self);
	for (unsigned i = 0; crew_generation(self) == 1 && i < 450; i++) {
		atomic_store(&self->score->alive_ms, clock_now_ms());
		poll(NULL, 0, 10);
	}
	return 0;
}

/* As a worker does. */
static int leave_when_the_parent_says_so(struct crew_child *self)
{
	struct pollfd stop = { .fd = self->stop_fd, .events = POLLIN };
	bool by_parent = false;

	while (!by_parent) {
		poll(&stop, 1, -1);
		if (self_take_stop(self, &by_parent) && !by_parent)
			self_ask_to_leave(self);
	}
	return 0;
}

/* In a handler, so to speak, for a while. */
static int leave_late(struct crew_child *self)
{
	say(self, "at work");
	be_busy(300);
	return leave_when_the_parent_says_so(self);
}

/* From the first moment on. */
static int want_to_leave(struct crew_child *self)
{
	self_ask_to_leave(self);
	return leave_when_the_parent_says_so(self);
}

static int boot_for_ever(struct crew_child *self)
{
	(void)self;
	be_busy(60000);
	return 0;
}

/* The first of each place. */
static int do_its_share(struct crew_child *self)
{
	if (crew_generation(self) == 1)
		self_ask_for_successor(self);
	return leave_when_the_parent_says_so(self);
}

/* Who is asked to leave has first done its share. */
static int do_its_share_and_leave(struct crew_child *self)
{
	struct pollfd stop = { .fd = self->stop_fd, .events = POLLIN };
	bool by_parent = true;

	poll(&stop, 1, -1);
	if (self_take_stop(self, &by_parent) && !by_parent) {
		self_ask_for_successor(self);
		say(self, "done");
	}
	return by_parent ? 0 : leave_when_the_parent_says_so(self);
}

static int boot_for_ever_as_a_successor(struct crew_child *self)
{
	return crew_generation(self) > 1 ? boot_for_ever(self) : 0;
}

/* Its successor boots until it is asked to stop. */
static int boot_until_asked_as_a_successor(struct crew_child *self)
{
	while (crew_generation(self) > 1 && crew_running(self))
		poll(NULL, 0, 5);
	return 0;
}

static int leave_when_the_parent_says_so_as_a_successor(struct crew_child *self)
{
	return crew_generation(self) > 1 ? leave_when_the_parent_says_so(self) : 0;
}

static int leave_if_it_is_the_first(struct crew_child *self)
{
	return crew_generation(self) == 1 ? leave_when_the_parent_says_so(self) : 0;
}

static int stop_itself(struct crew_child *self)
{
	kill(getpid(), SIGTERM);
	say(self, crew_running(self) ? "still running" : "leaving");
	return 0;
}

static void shut_down_slowly(struct crew_child *self)
{
	be_busy(150);
	say(self, "shut down");
}

static int block(struct crew_child *self)
{
	const int r = pause();

	say(self, "interrupted");
	return r;
}

/* As a last write may. */
static void shut_down_in_one_sleep(struct crew_child *self)
{
	const struct timespec some = { 0, 300000000 };

	say(self, nanosleep(&some, NULL) == 0 ? "slept" : "woken");
}

static struct shared { /* by all processes */
	_Atomic bool shuts_down;
	_Atomic bool may_end;
	_Atomic bool said_all;
} *shared;

/* That its channel holds. */
static int say_all_that_it_can(struct crew_child *self)
{
	while (os_channel_send(self->channel, "word", 5, NULL, 0) == 0)
		;
	atomic_store(&shared->said_all, true);
	return 0;
}

static void shut_down_until_it_may_end(struct crew_child *self)
{
	(void)self;
	atomic_store(&shared->shuts_down, true);
	while (!atomic_load(&shared->may_end))
		be_busy(5);
	say(self, "shut down");
}

/* Longer than its heart may stand still. */
static void shut_down_without_a_heart(struct crew_child *self)
{
	(void)self;
	be_busy(2500);
}

static void shut_down_for_ever(struct crew_child *self)
{
	(void)self;
	be_busy(60000);
}

/* The second of them; the first as other programs do of a Ctrl-C. */
static int crash_when_told(struct crew_child *self)
{
	rest(self);
	sigaction(SIGINT, &(struct sigaction){ .sa_handler = SIG_DFL }, NULL);
	raise(crew_index(self) > 0 ? SIGUSR2 : SIGINT);
	return 0;
}

static int the_first_boots_for_ever(struct crew_child *self)
{
	return crew_index(self) == 0 ? boot_for_ever(self) : 0;
}

/* Asked to or not. */
static int the_first_goes_on_for_ever(struct crew_child *self)
{
	if (crew_index(self) > 0)
		return rest(self);
	while (true) {
		crew_child_beat(self);
		be_busy(10);
	}
}

static int let_itself_be_traced(struct crew_child *self)
{
	prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
	return rest(self);
}

static int fail_at_once(struct crew_child *self)
{
	(void)self;
	return 70;
}

/* The first of them. What it says last is no error, and one. */
static int end_with_its_index(struct crew_child *self)
{
	if (crew_generation(self) > 1)
		return rest(self);
	fprintf(stderr, "the words of %u\n", crew_index(self));
	fprintf(stderr, "<3>the error of %u\n", crew_index(self));
	return (int)crew_index(self);
}

static int repeat_itself(struct crew_child *self)
{
	static const char lines[] = "<3>again\n<3>again\n<3>again\n<3>again\n";

	(void)!write(STDERR_FILENO, lines, sizeof(lines) - 1);
	return rest(self);
}

static int say_why_and_fail(struct crew_child *self)
{
	(void)self;
	fprintf(stderr, "nothing is there\n");
	return 70;
}

static int start_the_first_only(struct crew_child *self)
{
	return crew_generation(self) == 1 ? 0 : 70;
}

static int start_all_but_the_second(struct crew_child *self)
{
	return crew_generation(self) == 2 ? 70 : 0;
}

static int talk(struct crew_child *self)
{
	while (crew_running(self))
		say(self, "and another thing");
	return 0;
}

/* It, or somebody whom it leaves behind. */
static int talk_after_death(struct crew_child *self)
{
	int r = 0;

	if (fork() == 0) {
		while (r == 0 || r == -EAGAIN) /* until nobody listens */
			r = os_channel_send(self->channel, "boo", 4, NULL, 0);
		_exit(0);
	}
	be_busy(100);
	say(self, "last words");
	return 0;
}

/* All that its host could still open. */
static int take_all_descriptors(struct crew_child *self)
{
	if (crew_index(self) == 0)
		setrlimit(RLIMIT_NOFILE, &(struct rlimit){ 3, 3 });
	return rest(self);
}

/* As no thread should: it says that it has ended, with descriptors. */
static int send_descriptors_with_its_end(struct crew_child *self)
{
	const struct { char what[4]; int32_t code; } end = { "END", 0 };
	int fds[OS_CHANNEL_FDS_MAX];

	if (crew_generation(self) > 1)
		return rest(self);
	for (unsigned i = 0; i < OS_CHANNEL_FDS_MAX; i++)
		fds[i] = open("/dev/full", O_RDONLY | O_CLOEXEC);
	os_channel_send(self->channel, &end, sizeof(end), fds, OS_CHANNEL_FDS_MAX);
	os_close_each(fds, OS_CHANNEL_FDS_MAX);
	return rest(self);
}

static int look_at_stdout(struct crew_child *self)
{
	say(self, __fpending(stdout) > 0 ? "there is something in it" : "it is empty");
	while (crew_rest(self, 1000))
		;
	return 0;
}

/* More than a terminal that nobody reads takes. */
static int print_much(struct crew_child *self)
{
	for (int i = 0; i < 1500; i++)
		printf("%0150d\n", i);
	fflush(stdout);
	return rest(self);
}

/* ---- the parent ---- */

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

/* More slowly than they come. */
static void message_is_one_of_few(void *context, struct child *child, const void *data,
				  size_t size, int *fds, size_t fd_count)
{
	struct story *story = context;

	message(context, child, data, size, fds, fd_count);
	poll(NULL, 0, 1);
	assert_true(story->messages - story->messages_before < 1000);
}

static void died(void *context, struct child *child, const struct crew_death *death)
{
	struct story *story = context;

	(void)child;
	story->died++;
	story->last = *death;
}

static void died_and_said_why(void *context, struct child *child,
			      const struct crew_death *death)
{
	died(context, child, death);
	assert_int_equal(death->exit_code, EX_OSERR);
	assert_non_null(strstr(death->last_lines, "its line of the scoreboard"));
}

static void gone(void *context, const struct crew_death *death, void *argument)
{
	struct story *story = context;

	assert_ptr_equal(argument, story);
	story->gone++;
	story->last_gone = *death;
	assert_non_null(death->name);
	assert_non_null(death->last_lines);
}

static void remove_whose_successor_died(void *context, struct child *child,
					const struct crew_death *death)
{
	struct story *story = context;

	died(context, child, death);
	if (death->generation > 1)
		assert_int_equal(plan_remove(story->plan, 0, death->index, 0, gone, story), 0);
}

static void spawned_in_time(void *context, struct child *child)
{
	struct story *story = context;

	spawned(context, child);
	story->late += story->front_is_gone;
}

static void spawned_one_at_a_time(void *context, struct child *child)
{
	struct story *story = context;

	spawned(context, child);
	story->booting += child->generation > 1;
	assert_true(story->booting <= 1);
}

static void ready_one_at_a_time(void *context, struct child *child)
{
	struct story *story = context;

	ready(context, child);
	story->booting -= child->generation > 1;
}

static void died_and_front_maybe(void *context, struct child *child,
				 const struct crew_death *death)
{
	struct story *story = context;

	died(context, child, death);
	story->front_is_gone = story->front_is_gone || strcmp(death->group, "front") == 0;
}

static void degraded(void *context, unsigned group, bool is)
{
	struct story *story = context;

	assert_int_equal(group, 0);
	story->degraded = is;
}

static struct group with_hooks(struct crew_group is)
{
	return (struct group){
		.is = is, .spawned = spawned, .ready = ready, .retiring = retiring,
		.message = message, .died = died, .degraded = degraded,
	};
}

static void begin_groups(struct story *story, const struct group *groups, unsigned count)
{
	const struct plan_options options = {
		.groups = groups, .group_count = count, .context = story,
	};

	*story = (struct story){ 0 };
	assert_int_equal(plan_new(&options, &story->plan, NULL), 0);
	assert_int_equal(plan_start(story->plan), 0);
}

static void begin(struct story *story, struct crew_group is)
{
	const struct group group = with_hooks(is);

	begin_groups(story, &group, 1);
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

static void turn_for(struct story *story, unsigned ms)
{
	const uint64_t end = clock_now_ms() + ms;

	while (clock_now_ms() < end)
		assert_int_equal(loop_turn(plan_loop(story->plan), 10), 0);
}

/* By a process that is not its parent. */
static void signal_by_somebody(pid_t pid, int number)
{
	const pid_t somebody = fork();

	assert_true(somebody >= 0);
	if (somebody == 0) {
		kill(pid, number);
		_exit(0);
	}
	assert_int_equal(waitpid(somebody, NULL, 0), somebody);
}

static bool hear(void *context, const struct crew_log_line *line)
{
	(void)context;
	ear.count += strstr(line->message, ear.text) != NULL;
	return true;
}

static void listen_for(const char *text)
{
	ear = (struct ear){ .text = text };
	log_set_taker(text ? hear : NULL, NULL);
}

/* How that first child of a group ended. */
static struct crew_death death_of(const struct story *story, const char *group, unsigned index)
{
	struct crew_death deaths[32];
	const size_t count = plan_deaths(story->plan, deaths, COUNT_OF(deaths));

	for (size_t i = 0; i < count && i < COUNT_OF(deaths); i++) {
		if (strcmp(deaths[i].group, group) == 0 && deaths[i].index == index &&
		    deaths[i].generation == 1)
			return deaths[i];
	}
	fail_msg("%s[%u] is not dead", group, index);
	return (struct crew_death){ 0 };
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

static void stop_the_successor(struct crew_group is, bool raw)
{
	struct group group = with_hooks(is);
	struct story story;

	group.raw = raw;
	begin_groups(&story, &group, 1);
	turn_until(&story, &story.ready, 1);
	listen_for("the old children stay");
	plan_reload(story.plan, 0);
	signal_by_somebody(plan_life(story.plan, 0, 0, 2)->pid, SIGTERM);
	turn_until(&story, &story.died, 1);
	assert_int_equal(story.last.generation, 2);
	assert_int_equal(story.ready, 1);
	assert_int_equal(story.retiring, raw);
	assert_int_equal(ear.count, 1);
	assert_int_equal(plan_child(story.plan, 0, 0)->generation, 1);
	listen_for(NULL);
	stop(&story);
}

static void who_is_stopped_as_it_boots_takes_nobodys_place(void **state)
{
	static int (*const starts[])(struct crew_child *) = { boot_until_asked_as_a_successor,
							      NULL };
	static int (*const raw_starts[])(struct crew_child *) = {
		leave_when_the_parent_says_so_as_a_successor, NULL
	};

	(void)state;
	stop_the_successor((struct crew_group){ .name = "kids", .run = rest, .count = 1,
						.on_start = starts }, false);
	stop_the_successor((struct crew_group){ .name = "kids", .run = leave_if_it_is_the_first,
						.count = 1, .on_start = raw_starts }, true);
}

static void a_successor_that_fails_is_not_said_to_be_started_again(void **state)
{
	static int (*const starts[])(struct crew_child *) = { start_the_first_only, NULL };
	struct story story;

	(void)state;
	listen_for("starting it again");
	begin(&story, (struct crew_group){ .name = "kids", .run = rest, .count = 1,
					   .on_start = starts });
	turn_until(&story, &story.ready, 1);
	plan_reload(story.plan, 0);
	turn_until(&story, &story.died, 1);
	assert_int_equal(story.last.generation, 2);
	assert_int_equal(ear.count, 0);
	kill(plan_child(story.plan, 0, 0)->pid, SIGKILL);
	turn_until(&story, &story.died, 2);
	assert_int_equal(ear.count, 1);
	listen_for(NULL);
	stop(&story);
}

static void that_it_is_ready_is_heard_though_it_has_said_much(void **state)
{
	static int (*const starts[])(struct crew_child *) = { say_all_that_it_can, NULL };

	(void)state;
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		      -1, 0);
	assert_ptr_not_equal(shared, MAP_FAILED);
	for (unsigned kind = CREW_PROCESS; kind <= CREW_THREAD; kind++) {
		struct story story;

		atomic_store(&shared->said_all, false);
		begin(&story, (struct crew_group){ .name = "kids", .run = rest, .count = 1,
						   .kind = (enum crew_kind)kind,
						   .on_start = starts });
		while (!atomic_load(&shared->said_all))
			be_busy(5); /* deaf */
		turn_until(&story, &story.ready, 1);
		assert_true(story.messages > 10);
		stop(&story);
	}
	munmap(shared, sizeof(*shared));
}

/* However often it is asked for: the last one may have meant what came after the first. */
static void reloads_during_a_reload_are_one_more(void **state)
{
	const uint64_t start_ms = clock_now_ms();
	struct story story;

	(void)state;
	begin(&story, (struct crew_group){ .name = "kids", .run = rest, .count = 2 });
	turn_until(&story, &story.ready, 2);
	listen_for("rolling restart of");
	for (unsigned i = 0; i < 10; i++)
		plan_reload(story.plan, 0);
	assert_int_equal(ear.count, 1);
	turn_until(&story, &ear.count, 2);
	assert_true(clock_now_ms() >= start_ms + 1000);
	turn_until(&story, &story.died, 4);
	turn_for(&story, 1200);
	assert_int_equal(ear.count, 2);
	listen_for(NULL);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(plan_child(story.plan, 0, i)->generation, 3);
	assert_int_equal(story.died, 4);
	stop(&story);
}

/* But where all are to go. */
static void who_retires_and_goes_on_is_let(void **state)
{
	struct group group =
		with_hooks((struct crew_group){ .name = "kids", .run = go_on, .count = 1,
						.stop_timeout_ms = 1 });
	struct story story;

	(void)state;
	group.retire_timeout_ms = 3000; /* it may have to wait for a processor meanwhile */
	begin_groups(&story, &group, 1);
	turn_until(&story, &story.ready, 1);
	plan_reload(story.plan, 0);
	turn_until(&story, &story.died, 1);
	assert_int_equal(story.last.signal, 0);
	stop(&story);
	begin_groups(&story, &group, 1);
	turn_until(&story, &story.ready, 1);
	plan_stop(story.plan);
	assert_int_equal(plan_run(story.plan), 0);
	assert_int_equal(story.last.signal, SIGKILL);
	plan_free(story.plan);
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
	plan_scale(story.plan, 0, -1);
	turn_until(&story, &story.died, 2);
	assert_int_equal(story.last.index, 3); /* the last of 0 and 3 */
	plan_scale(story.plan, 0, -1);
	assert_non_null(plan_child(story.plan, 0, 0)); /* never below one */
	stop(&story);
}

static void a_group_is_scaled_as_far_as_may_be(void **state)
{
	const struct group groups[] = {
		with_hooks((struct crew_group){ .name = "others", .run = rest, .count = 2 }),
		with_hooks((struct crew_group){ .name = "kids", .run = rest, .count = 1 }),
		{ .is = { .name = "many", .run = rest, .count = 1, .max_starting = 1 } },
	};
	struct story story;

	(void)state;
	begin_groups(&story, groups, COUNT_OF(groups));
	turn_until(&story, &story.ready, 3);
	plan_scale(story.plan, 1, 0);
	plan_scale(story.plan, 1, 3);
	turn_until(&story, &story.ready, 6);
	plan_scale(story.plan, 1, -2);
	turn_until(&story, &story.died, 2);
	assert_non_null(plan_child(story.plan, 1, 1));
	assert_null(plan_child(story.plan, 1, 2));
	plan_scale(story.plan, 2, INT_MAX);
	assert_int_equal(plan_add(story.plan, 2, CREW_NEVER), -ENOSPC);
	plan_scale(story.plan, 2, INT_MIN);
	assert_non_null(plan_child(story.plan, 2, 0));
	assert_int_equal(plan_remove(story.plan, 2, 1, 0, NULL, NULL), -ENOENT);
	assert_non_null(plan_child(story.plan, 0, 1)); /* another group's */
	plan_stop(story.plan);
	plan_scale(story.plan, 2, 1);
	assert_int_equal(plan_remove(story.plan, 2, 1, 0, NULL, NULL), -ENOENT);
	assert_int_equal(plan_run(story.plan), 0);
	plan_free(story.plan);
}

static void a_place_may_be_removed_when_its_successor_dies(void **state)
{
	static int (*const starts[])(struct crew_child *) = { start_the_first_only, NULL };
	struct group group = with_hooks((struct crew_group){
		.name = "kids", .run = rest, .count = 2, .on_start = starts });
	struct story story;
	pid_t pid;

	(void)state;
	group.died = remove_whose_successor_died;
	begin_groups(&story, &group, 1);
	turn_until(&story, &story.ready, 2);
	pid = plan_child(story.plan, 0, 0)->pid;
	plan_reload(story.plan, 0);
	turn_until(&story, &story.gone, 1);
	assert_int_equal(story.last_gone.pid, pid);
	assert_int_equal(story.last_gone.generation, 1);
	assert_null(plan_child(story.plan, 0, 0));
	turn_for(&story, 100);
	assert_int_equal(story.gone, 1);
	assert_int_equal(plan_child(story.plan, 0, 1)->generation, 1); /* it stays */
	stop(&story);
}

static int refusal;

static void remove_all_before_the_fork(void *context, unsigned group, unsigned index)
{
	struct story *story = context;

	(void)index;
	for (unsigned i = 0; i < 2; i++)
		refusal = plan_remove(story->plan, group, i, 0, NULL, NULL);
}

static void no_place_is_removed_before_a_fork(void **state)
{
	struct group group = with_hooks((struct crew_group){
		.name = "kids", .run = rest, .count = 2 });
	struct story story;

	(void)state;
	refusal = 0;
	group.pre_fork = remove_all_before_the_fork;
	begin_groups(&story, &group, 1);
	turn_until(&story, &story.ready, 2);
	assert_int_equal(refusal, -EBUSY);
	assert_int_equal(plan_remove(story.plan, 0, 0, 0, gone, &story), 0);
	turn_until(&story, &story.gone, 1);
	stop(&story);
}

static void add_and_remove_before_the_fork(void *context, unsigned group, unsigned index)
{
	struct story *story = context;

	if (index == 0)
		assert_int_equal(plan_add(story->plan, group, 7), 7);
	refusal = plan_remove(story->plan, group, index, 0, NULL, NULL);
}

static void nor_after_others_were_added_there(void **state)
{
	struct group group = with_hooks((struct crew_group){
		.name = "kids", .run = rest, .count = 1 });
	struct story story;

	(void)state;
	refusal = 0;
	group.pre_fork = add_and_remove_before_the_fork;
	begin_groups(&story, &group, 1);
	assert_int_equal(refusal, -EBUSY);
	turn_until(&story, &story.ready, 2);
	stop(&story);
}

static void add_before_the_fork(void *context, unsigned group, unsigned index)
{
	struct story *story = context;

	if (index == 0)
		assert_int_equal(plan_add(story->plan, group, 7), 7);
}

static void who_is_added_before_the_first_fork_is_born_once(void **state)
{
	struct group group = with_hooks((struct crew_group){
		.name = "kids", .run = rest, .count = 2 });
	struct story story;

	(void)state;
	group.pre_fork = add_before_the_fork;
	begin_groups(&story, &group, 1);
	assert_int_equal(story.spawned, 3);
	turn_until(&story, &story.ready, 3);
	stop(&story);
	assert_int_equal(story.died, 3);
}

static void stop_before_the_second_fork(void *context, unsigned group, unsigned index)
{
	struct story *story = context;

	(void)group;
	(void)index;
	if (story->spawned > 0)
		plan_stop(story->plan);
}

static void nobody_is_born_after_a_stop(void **state)
{
	const uint64_t end = clock_now_ms() + PATIENCE_MS;
	struct group group = with_hooks((struct crew_group){
		.name = "kids", .run = rest, .count = 1 });
	struct story story;

	(void)state;
	group.pre_fork = stop_before_the_second_fork;
	begin_groups(&story, &group, 1);
	turn_until(&story, &story.ready, 1);
	assert_int_equal(plan_signal(story.plan, 0, 0, SIGKILL), 0);
	while (!plan_done(story.plan)) {
		assert_true(clock_now_ms() < end);
		assert_int_equal(loop_turn(plan_loop(story.plan), 100), 0);
	}
	assert_int_equal(story.spawned, 1);
	plan_free(story.plan);
}

static void stop_before_any_fork(void *context, unsigned group, unsigned index)
{
	struct story *story = context;

	(void)group;
	(void)index;
	plan_stop(story->plan);
}

static void a_stop_before_the_first_fork_is_no_failure(void **state)
{
	struct group group = with_hooks((struct crew_group){
		.name = "kids", .run = rest, .count = 2 });
	struct story story;

	(void)state;
	group.pre_fork = stop_before_any_fork;
	begin_groups(&story, &group, 1);
	assert_true(plan_done(story.plan));
	assert_int_equal(story.spawned, 0);
	plan_free(story.plan);
}

static void reload_before_the_fork(void *context, unsigned group, unsigned index)
{
	struct story *story = context;

	(void)index;
	if (story->spawned == 2 || story->spawned == 3)
		plan_reload(story->plan, group);
}

/* One that nobody knows of would stay beside the others. */
static void a_reload_before_a_fork_fills_no_place_twice(void **state)
{
	struct group group = with_hooks((struct crew_group){
		.name = "kids", .run = rest, .count = 2 });
	struct crew_child_info children[4];
	struct story story;

	(void)state;
	group.pre_fork = reload_before_the_fork;
	begin_groups(&story, &group, 1);
	turn_until(&story, &story.ready, 2);
	listen_for("rolling restart done");
	plan_reload(story.plan, 0);
	turn_until(&story, &ear.count, 1);
	turn_until(&story, &story.died, story.spawned - 2);
	assert_int_equal(plan_children(story.plan, children, 4), 2);
	listen_for(NULL);
	stop(&story);
}

static void of_an_empty_place_nobody_knows_how_it_ended(void **state)
{
	struct story story;

	(void)state;
	begin(&story, (struct crew_group){ .name = "kids", .run = fail_first, .count = 2,
					   .max_restarts = 1, .degraded_retry_ms = 60000 });
	turn_until(&story, &story.died, 2);
	turn_until(&story, &story.ready, 3);
	assert_int_equal(plan_remove(story.plan, 0, 0, 0, gone, &story), 0);
	assert_int_equal(story.gone, 1);
	assert_int_equal(story.last_gone.exit_code, -1);
	assert_int_equal(story.last_gone.generation, 2);
	assert_string_equal(story.last_gone.name, "");
	assert_string_equal(story.last_gone.last_lines, "");
	stop(&story);
}

/* Its memory cannot be protected, say. */
static void who_cannot_be_born_says_why(void **state)
{
	struct group group = with_hooks((struct crew_group){ .name = "kids", .run = rest,
							     .count = 1 });
	struct story story = { 0 };
	const struct plan_options options = {
		.groups = &group, .group_count = 1, .context = &story,
	};
	int fd;

	(void)state;
	group.died = died_and_said_why;
	assert_int_equal(plan_new(&options, &story.plan, NULL), 0);
	fd = story.plan->board.head_fd;
	story.plan->board.head_fd = -1;
	assert_int_equal(plan_start(story.plan), 0);
	turn_until(&story, &story.died, 1);
	story.plan->board.head_fd = fd;
	stop(&story);
}

static void who_talks_without_pause_holds_up_nobody(void **state)
{
	struct group group = with_hooks((struct crew_group){ .name = "kids", .run = talk,
							     .count = 1 });
	struct story story;

	(void)state;
	group.message = message_is_one_of_few;
	begin_groups(&story, &group, 1);
	turn_until(&story, &story.messages, 1);
	for (unsigned i = 0; i < 3; i++) {
		story.messages_before = story.messages;
		assert_int_equal(loop_turn(plan_loop(story.plan), 100), 0);
	}
	plan_stop(story.plan);
	while (!plan_done(story.plan)) {
		story.messages_before = story.messages;
		assert_int_equal(loop_turn(plan_loop(story.plan), 100), 0);
	}
	plan_free(story.plan);
}

static void nor_does_who_talks_for_the_dead(void **state)
{
	struct group group = with_hooks((struct crew_group){
		.name = "kids", .run = talk_after_death, .count = 1 });
	struct story story;

	(void)state;
	group.message = message_is_one_of_few;
	begin_groups(&story, &group, 1);
	while (story.died < 1 || story.ready < 2) {
		story.messages_before = story.messages;
		assert_int_equal(loop_turn(plan_loop(story.plan), 100), 0);
	}
	story.messages_before = story.messages;
	plan_free(story.plan);
}

static void a_budget_is_used_up(void **state)
{
	struct story story;

	(void)state;
	begin(&story, (struct crew_group){ .name = "kids", .run = fail_first, .count = 2,
					   .max_restarts = 2 });
	turn_until(&story, &story.died, 3);
	turn_until(&story, &story.ready, 4);
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

/* So many threads, of which the first never ends by itself. */
static void begin_with_one_that_stays(struct story *story, unsigned count)
{
	begin(story, (struct crew_group){ .name = "kids", .run = the_first_goes_on_for_ever,
					  .count = count, .kind = CREW_THREAD,
					  .stop_timeout_ms = 100 });
	turn_until(story, &story->ready, count);
}

/* It ends when it likes to, or with its host. */
static void a_removed_thread_that_goes_on_keeps_no_stop_from_ending(void **state)
{
	struct crew_child_info children[2];
	struct story story;

	(void)state;
	begin_with_one_that_stays(&story, 3);
	assert_int_equal(plan_remove(story.plan, 0, 2, SIGKILL, gone, &story), 0);
	turn_until(&story, &story.gone, 1);
	assert_int_equal(story.last_gone.cause, CREW_CAUSE_ORDER);
	assert_int_equal(plan_remove(story.plan, 0, 0, SIGKILL, gone, &story), 0);
	assert_int_equal(plan_children(story.plan, children, 2), 2);
	assert_int_equal(children[0].state, CREW_CHILD_STALE);
	plan_stop(story.plan);
	turn_until(&story, &story.gone, 2);
	stop(&story);
}

static void of_a_stuck_thread_it_is_remembered_though_it_never_ends(void **state)
{
	struct story story;

	(void)state;
	begin_with_one_that_stays(&story, 2);
	plan_condemn(story.plan, plan_child(story.plan, 0, 0), CREW_CAUSE_STUCK);
	turn_until(&story, &story.ready, 3);
	plan_stop(story.plan);
	turn_until(&story, &story.died, 3);
	assert_int_equal(death_of(&story, "kids", 0).cause, CREW_CAUSE_STUCK);
	assert_int_equal(death_of(&story, "kids", 1).cause, CREW_CAUSE_ORDER);
	stop(&story);
}

static void a_thread_that_is_late_is_not_remembered_as_stuck(void **state)
{
	struct story story;

	(void)state;
	begin_with_one_that_stays(&story, 2);
	listen_for("it is listed as stale");
	assert_int_equal(plan_remove(story.plan, 0, 0, SIGTERM, gone, &story), 0);
	turn_until(&story, &ear.count, 1);
	listen_for(NULL);
	plan_stop(story.plan);
	turn_until(&story, &story.gone, 1);
	assert_int_equal(story.last_gone.cause, CREW_CAUSE_ORDER);
	stop(&story);
}

static void the_last_thread_is_removed_without_a_new_host(void **state)
{
	struct story story;

	(void)state;
	begin(&story, (struct crew_group){ .name = "kids", .run = rest, .count = 1,
					   .kind = CREW_THREAD });
	turn_until(&story, &story.ready, 1);
	listen_for("too many stale threads");
	assert_int_equal(plan_remove(story.plan, 0, 0, SIGKILL, gone, &story), 0);
	turn_until(&story, &story.gone, 1);
	assert_int_equal(ear.count, 0);
	listen_for(NULL);
	stop(&story);
}

static void a_thread_that_never_comes_up_keeps_others_from_nothing(void **state)
{
	static int (*const starts[])(struct crew_child *) = { the_first_boots_for_ever, NULL };
	struct story story;

	(void)state;
	begin(&story, (struct crew_group){ .name = "kids", .run = rest, .count = 2,
					   .kind = CREW_THREAD, .on_start = starts,
					   .max_starting = 1, .boot_timeout_ms = 100,
					   .stop_timeout_ms = 100 });
	turn_until(&story, &story.ready, 1);
	assert_true(child_is_up(plan_child(story.plan, 0, 1)));
	stop(&story);
	/* Nor when its place is gone. */
	begin(&story, (struct crew_group){ .name = "kids", .run = rest, .count = 1,
					   .kind = CREW_THREAD, .on_start = starts,
					   .max_starting = 1, .boot_timeout_ms = 100,
					   .stop_timeout_ms = 100 });
	assert_int_equal(plan_add(story.plan, 0, 1), 1);
	assert_int_equal(plan_remove(story.plan, 0, 0, 0, NULL, NULL), 0);
	turn_until(&story, &story.ready, 1);
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

/* An id and a generation are one child. */
static void a_place_that_comes_back_goes_on_counting(void **state)
{
	struct story story;

	(void)state;
	begin(&story, (struct crew_group){ .name = "kids", .run = rest, .count = 2 });
	turn_until(&story, &story.ready, 2);
	plan_scale(story.plan, 0, -1);
	plan_scale(story.plan, 0, 1);
	assert_int_equal(plan_child(story.plan, 0, 1)->generation, 2);
	assert_non_null(plan_life(story.plan, 0, 1, 1));
	turn_until(&story, &story.died, 1);
	turn_until(&story, &story.ready, 3);
	assert_int_equal(plan_child(story.plan, 0, 1)->generation, 2);
	stop(&story);
}

/* Their time to stop begins when it is their group's turn; and a host that is killed takes
 * all of its threads along. */
static void a_stop_does_not_hurry_who_was_leaving_before(void **state)
{
	struct group groups[] = {
		with_hooks((struct crew_group){ .name = "front", .run = linger, .count = 1 }),
		with_hooks((struct crew_group){ .name = "kids", .run = linger, .count = 1,
						.stop_timeout_ms = 1, .stop_order = 1 }),
		with_hooks((struct crew_group){ .name = "threads", .run = linger, .count = 2,
						.kind = CREW_THREAD, .stop_timeout_ms = 1,
						.stop_order = 1 }),
	};
	struct story story;

	(void)state;
	groups[1].retire_timeout_ms = PATIENCE_MS;
	begin_groups(&story, groups, COUNT_OF(groups));
	turn_until(&story, &story.ready, 4);
	plan_reload(story.plan, 1);
	turn_until(&story, &story.retiring, 1);
	plan_condemn(story.plan, plan_child(story.plan, 2, 0), CREW_CAUSE_STUCK);
	plan_remove(story.plan, 2, 1, 0, NULL, NULL); /* it will be late */
	plan_stop(story.plan);
	assert_int_equal(plan_run(story.plan), 0);
	assert_int_equal(death_of(&story, "kids", 0).cause, CREW_CAUSE_ORDER);
	assert_int_equal(death_of(&story, "kids", 0).signal, 0);
	assert_int_equal(death_of(&story, "threads", 0).signal, 0);
	assert_int_equal(death_of(&story, "threads", 1).signal, 0);
	plan_free(story.plan);
}

static void who_dies_before_his_turn_to_stop_is_replaced(void **state)
{
	for (int kind = CREW_PROCESS; kind <= CREW_THREAD; kind += CREW_THREAD - CREW_PROCESS) {
		struct group groups[] = {
			with_hooks((struct crew_group){ .name = "front", .run = linger,
							.count = 1 }),
			with_hooks((struct crew_group){ .name = "kids", .run = rest, .count = 2,
							.kind = (enum crew_kind)kind,
							.stop_order = 1 }),
		};
		const unsigned each = kind == CREW_THREAD ? 2 : 1;
		struct story story;

		(void)state;
		begin_groups(&story, groups, 2);
		turn_until(&story, &story.ready, 3);
		plan_stop(story.plan);
		kill(plan_child(story.plan, 1, 0)->pid, SIGKILL);
		turn_until(&story, &story.ready, 3 + each);
		assert_int_equal(plan_child(story.plan, 1, 0)->generation, 2);
		assert_non_null(plan_child(story.plan, 0, 0)); /* still there */
		stop(&story);
		assert_int_equal(story.died, 3 + each);
		assert_int_equal(story.spawned, 3 + each);
		assert_int_equal(story.last.cause, CREW_CAUSE_ORDER);
		assert_int_equal(story.retiring, 0);
	}
}

/* Its turn may come while nobody of it is alive, and others have yet to stop. */
static void who_dies_again_and_again_does_not_keep_a_stop_from_ending(void **state)
{
	struct group groups[] = {
		with_hooks((struct crew_group){ .name = "kids", .run = fail_at_once, .count = 1,
						.max_restarts = 1, .degraded_retry_ms = 60,
						.stop_order = 1 }),
		with_hooks((struct crew_group){ .name = "front", .run = linger, .count = 1 }),
		with_hooks((struct crew_group){ .name = "last", .run = linger, .count = 1,
						.stop_order = 2 }),
	};
	struct story story;
	unsigned before;

	(void)state;
	for (size_t i = 0; i < COUNT_OF(groups); i++) {
		groups[i].spawned = spawned_in_time;
		groups[i].died = died_and_front_maybe;
		groups[i].ready = NULL; /* they may not be up any more */
	}
	begin_groups(&story, groups, COUNT_OF(groups));
	turn_until(&story, &story.died, 2);
	before = story.died;
	plan_stop(story.plan);
	turn_until(&story, &story.died, before + 2);
	assert_int_equal(plan_run(story.plan), 0);
	assert_int_equal(story.late, 0);
	assert_int_equal(death_of(&story, "last", 0).cause, CREW_CAUSE_ORDER);
	plan_free(story.plan);
}

static void nobody_is_replaced_who_is_killed_at_the_end(void **state)
{
	struct group groups[] = {
		with_hooks((struct crew_group){ .name = "front", .run = linger, .count = 1 }),
		with_hooks((struct crew_group){ .name = "kids", .run = rest, .count = 3,
						.stop_order = 1 }),
	};
	struct story story;

	(void)state;
	begin_groups(&story, groups, 2);
	turn_until(&story, &story.ready, 4);
	plan_stop(story.plan);
	plan_kill(story.plan);
	assert_int_equal(plan_run(story.plan), 0);
	assert_int_equal(story.spawned, 4);
	assert_int_equal(story.died, 4);
	plan_free(story.plan);
}

static void who_is_asked_to_leave_by_somebody_is_replaced(void **state)
{
	struct group raw = with_hooks((struct crew_group){
		.name = "kids", .run = leave_when_the_parent_says_so, .count = 1 });
	struct story story;

	(void)state;
	raw.raw = true;
	begin_groups(&story, &raw, 1);
	turn_until(&story, &story.ready, 1);
	listen_for("was asked to stop by another process");
	signal_by_somebody(plan_child(story.plan, 0, 0)->pid, SIGTERM);
	turn_until(&story, &story.ready, 2);
	assert_int_equal(ear.count, 1);
	assert_int_equal(story.retiring, 1);
	assert_int_equal(story.died, 0);
	turn_until(&story, &story.died, 1);
	assert_int_equal(story.last.cause, CREW_CAUSE_ORDER);
	assert_int_equal(story.last.exit_code, 0);
	listen_for(NULL);
	stop(&story);
}

/* One by one: there are never fewer. */
static void a_host_that_is_asked_to_leave_by_somebody_is_replaced(void **state)
{
	struct story story;
	pid_t host;

	(void)state;
	begin(&story, (struct crew_group){ .name = "kids", .run = rest, .count = 2,
					   .kind = CREW_THREAD });
	turn_until(&story, &story.ready, 2);
	host = plan_child(story.plan, 0, 0)->pid;
	signal_by_somebody(host, SIGTERM);
	turn_until(&story, &story.died, 2);
	assert_int_equal(story.ready, 4);
	assert_int_equal(story.last.cause, CREW_CAUSE_ORDER);
	assert_int_equal(plan_restarts(story.plan, 0), 0);
	assert_int_not_equal(plan_child(story.plan, 0, 0)->pid, host);
	stop(&story);
}

/* All of us are, as by systemd: then it is the parent who says when. */
static void who_is_asked_to_leave_with_its_parent_waits_for_its_turn(void **state)
{
	struct group groups[] = {
		with_hooks((struct crew_group){ .name = "front", .run = linger, .count = 1 }),
		with_hooks((struct crew_group){ .name = "kids",
						.run = leave_when_the_parent_says_so,
						.count = 1, .stop_order = 1 }),
	};
	struct story story;

	(void)state;
	groups[1].raw = true;
	begin_groups(&story, groups, 2);
	turn_until(&story, &story.ready, 2);
	signal_by_somebody(plan_child(story.plan, 1, 0)->pid, SIGTERM);
	plan_stop(story.plan);
	turn_until(&story, &story.died, 1);
	assert_string_equal(story.last.group, "front");
	stop(&story);
	assert_int_equal(story.died, 2);
	assert_int_equal(story.last.exit_code, 0);
}

/* The same, of whom signals just ask to stop. */
static void a_function_that_is_asked_with_its_parent_waits_for_its_turn(void **state)
{
	const struct group groups[] = {
		with_hooks((struct crew_group){ .name = "front", .run = stay_until_it_may_go,
						.count = 1 }),
		with_hooks((struct crew_group){ .name = "kids", .run = go_on_and_on, .count = 1,
						.stop_order = 1 }),
	};
	struct story story;

	(void)state;
	front_may_go = mmap(NULL, sizeof(*front_may_go), PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(front_may_go, MAP_FAILED);
	begin_groups(&story, groups, 2);
	turn_until(&story, &story.ready, 2);
	for (unsigned i = 0; i < 2; i++)
		signal_by_somebody(plan_child(story.plan, i, 0)->pid, SIGTERM);
	plan_stop(story.plan);
	turn_until(&story, &story.messages, story.messages + 50);
	assert_int_equal(story.died, 0);
	atomic_store(front_may_go, true);
	turn_until(&story, &story.died, 1);
	assert_string_equal(story.last.group, "front");
	stop(&story);
	assert_int_equal(story.spawned, 2);
	assert_int_equal(story.last.signal, 0);
	assert_int_equal(story.last.exit_code, 0);
	munmap(front_may_go, sizeof(*front_may_go));
}

/* And of whom alone is asked: never without a successor. */
static void a_function_of_a_later_group_that_is_asked_alone_is_replaced(void **state)
{
	const struct group groups[] = {
		with_hooks((struct crew_group){ .name = "front", .run = rest, .count = 1 }),
		with_hooks((struct crew_group){ .name = "kids", .run = rest, .count = 1,
						.stop_order = 1 }),
	};
	struct story story;

	(void)state;
	begin_groups(&story, groups, 2);
	turn_until(&story, &story.ready, 2);
	signal_by_somebody(plan_child(story.plan, 1, 0)->pid, SIGTERM);
	turn_until(&story, &story.died, 1);
	assert_int_equal(story.ready, 3);
	assert_int_equal(story.last.cause, CREW_CAUSE_ORDER);
	assert_int_equal(story.last.exit_code, 0);
	stop(&story);
}

static void who_leaves_is_not_ended_by_the_parents_word(void **state)
{
	static void (*const shutdowns[])(struct crew_child *) = { shut_down_slowly, NULL };
	struct story story;

	(void)state;
	begin(&story, (struct crew_group){ .name = "kids", .run = stop_itself, .count = 1,
					   .on_shutdown = shutdowns });
	turn_until(&story, &story.messages, 1);
	assert_string_equal(story.said, "leaving");
	stop(&story);
	assert_string_equal(story.said, "shut down");
	assert_int_equal(story.last.signal, 0);
}

/* Which of both is first is a matter of luck. */
static void nor_by_somebodys_after_the_parents(void **state)
{
	static void (*const shutdowns[])(struct crew_child *) = { shut_down_slowly, NULL };
	struct story story;
	pid_t pid;

	(void)state;
	begin(&story, (struct crew_group){ .name = "kids", .run = rest, .count = 2,
					   .on_shutdown = shutdowns });
	turn_until(&story, &story.ready, 2);
	pid = plan_child(story.plan, 0, 1)->pid;
	plan_remove(story.plan, 0, 1, 0, NULL, NULL);
	turn_for(&story, 50);
	signal_by_somebody(pid, SIGTERM);
	turn_until(&story, &story.died, 1);
	assert_string_equal(story.said, "shut down");
	assert_int_equal(story.last.signal, 0);
	stop(&story);
}

/* Who has passed somebody's word on is told again by a parent that had told it before it read
 * that: it cannot know whether the first was heard. */
static void nor_by_the_parents_second_for_a_word_that_was_passed_on(void **state)
{
	static void (*const shutdowns[])(struct crew_child *) = { shut_down_until_it_may_end,
								  NULL };
	const uint64_t end = clock_now_ms() + PATIENCE_MS;
	const struct group groups[] = {
		with_hooks((struct crew_group){ .name = "front", .run = rest, .count = 1 }),
		with_hooks((struct crew_group){ .name = "kids", .run = rest, .count = 1,
						.on_shutdown = shutdowns, .stop_order = 1 }),
	};
	struct pollfd channel = { .events = POLLIN };
	struct story story;

	(void)state;
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		      -1, 0);
	assert_ptr_not_equal(shared, MAP_FAILED);
	begin_groups(&story, groups, 2);
	turn_until(&story, &story.ready, 2);
	turn_until(&story, &story.messages, 2);
	channel.fd = plan_child(story.plan, 1, 0)->channel;
	signal_by_somebody(plan_child(story.plan, 1, 0)->pid, SIGTERM);
	assert_int_equal(poll(&channel, 1, PATIENCE_MS), 1);
	plan_remove(story.plan, 1, 0, 0, NULL, NULL);
	while (!atomic_load(&shared->shuts_down)) {
		assert_true(clock_now_ms() < end);
		poll(NULL, 0, 1);
	}
	while (poll(&channel, 1, 0) == 1) {
		assert_true(clock_now_ms() < end);
		assert_int_equal(loop_turn(plan_loop(story.plan), 10), 0);
	}
	atomic_store(&shared->may_end, true);
	turn_until(&story, &story.died, 1);
	assert_int_equal(story.last.signal, 0);
	assert_string_equal(story.said, "shut down");
	stop(&story);
	munmap(shared, sizeof(*shared));
}

static void the_parents_second_word_ends_it(void **state)
{
	static void (*const shutdowns[])(struct crew_child *) = { shut_down_for_ever, NULL };
	struct story story;

	(void)state;
	begin(&story, (struct crew_group){ .name = "kids", .run = stop_itself, .count = 1,
					   .on_shutdown = shutdowns });
	turn_until(&story, &story.messages, 1);
	assert_int_equal(plan_signal(story.plan, 0, 0, SIGTERM), 0);
	turn_for(&story, 100);
	assert_int_equal(story.died, 0);
	assert_int_equal(plan_signal(story.plan, 0, 0, SIGTERM), 0);
	turn_until(&story, &story.died, 1);
	assert_int_equal(story.last.signal, SIGTERM);
	plan_free(story.plan);
}

/* Two signals of a kind that nobody has read yet are one, the first. */
static void the_parents_word_is_not_lost_behind_somebodys(void **state)
{
	struct group raw = with_hooks((struct crew_group){
		.name = "kids", .run = leave_late, .count = 1, .stop_timeout_ms = 3000 });
	struct story story;

	(void)state;
	raw.raw = true;
	begin_groups(&story, &raw, 1);
	turn_until(&story, &story.messages, 1);
	signal_by_somebody(plan_child(story.plan, 0, 0)->pid, SIGTERM);
	stop(&story);
	assert_int_equal(story.last.signal, 0);
	assert_int_equal(story.last.exit_code, 0);
}

static void threads_are_back_at_once_when_their_host_dies(void **state)
{
	struct story story;

	(void)state;
	begin(&story, (struct crew_group){ .name = "kids", .run = rest, .count = 3,
					   .kind = CREW_THREAD });
	turn_until(&story, &story.ready, 3);
	listen_for("cannot start");
	kill(plan_child(story.plan, 0, 0)->pid, SIGKILL);
	turn_until(&story, &story.ready, 6);
	assert_int_equal(ear.count, 0);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(plan_child(story.plan, 0, i)->generation, 2);
	listen_for(NULL);
	stop(&story);
}

/* Nobody turns the loop meanwhile, so that this is what the parent sees of it too. */
/* A host's channel holds fewer orders than that. */
static void a_host_is_told_all_though_it_has_no_room(void **state)
{
	struct story story;
	pid_t host;

	(void)state;
	listen_for("cannot start");
	begin(&story, (struct crew_group){ .name = "kids", .run = rest, .count = 350,
					   .kind = CREW_THREAD });
	turn_until(&story, &story.ready, 350);
	assert_int_equal(ear.count, 0);
	assert_int_equal(story.spawned, 350);
	host = plan_child(story.plan, 0, 0)->pid;
	listen_for("did not stop");
	kill(host, SIGSTOP);
	plan_stop(story.plan);
	turn_for(&story, 100);
	kill(host, SIGCONT);
	assert_int_equal(plan_run(story.plan), 0);
	assert_int_equal(ear.count, 0);
	assert_int_equal(story.died, 350);
	assert_int_equal(story.last.signal, 0);
	listen_for(NULL);
	plan_free(story.plan);
}

static void a_thread_without_a_channel_is_dead(void **state)
{
	struct story story;

	(void)state;
	begin(&story, (struct crew_group){ .name = "kids", .run = take_all_descriptors,
					   .count = 1, .kind = CREW_THREAD });
	turn_until(&story, &story.messages, 1);
	assert_int_equal(plan_add(story.plan, 0, 1), 1);
	turn_until(&story, &story.died, 1);
	assert_int_equal(story.last.index, 1);
	assert_int_equal(story.last.exit_code, -1);
	assert_int_equal(story.last.cause, CREW_CAUSE_EXIT);
	assert_false(story.last.was_ready);
	assert_true(child_is_up(plan_child(story.plan, 0, 0)));
	stop(&story);
}

static unsigned descriptors_that_lead_to(const char *file)
{
	unsigned count = 0;

	for (int fd = 0; fd < 1024; fd++) {
		char name[40];
		char leads_to[100] = "";

		snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
		if (readlink(name, leads_to, sizeof(leads_to) - 1) > 0)
			count += strcmp(leads_to, file) == 0;
	}
	return count;
}

static void a_threads_end_leaves_no_descriptors(void **state)
{
	struct story story;

	(void)state;
	begin(&story, (struct crew_group){ .name = "kids", .count = 1, .kind = CREW_THREAD,
					   .run = send_descriptors_with_its_end });
	turn_until(&story, &story.died, 1);
	turn_until(&story, &story.ready, 2);
	assert_int_equal(descriptors_that_lead_to("/dev/full"), 0);
	stop(&story);
}

static void who_was_stopped_with_its_parent_is_not_stuck(void **state)
{
	struct story story;
	pid_t pids[3];

	(void)state;
	begin(&story, (struct crew_group){ .name = "kids", .run = rest, .count = 3,
					   .heartbeat_timeout_ms = 300 });
	turn_until(&story, &story.ready, 3);
	for (unsigned i = 0; i < 3; i++) {
		pids[i] = plan_child(story.plan, 0, i)->pid;
		kill(pids[i], SIGSTOP);
	}
	be_busy(1250);
	/* That came meanwhile: the time for it begins now. */
	plan_remove(story.plan, 0, 2, 0, NULL, NULL);
	assert_int_equal(loop_turn(plan_loop(story.plan), 0), 0);
	for (unsigned i = 0; i < 3; i++)
		kill(pids[i], SIGCONT);
	turn_until(&story, &story.died, 1);
	turn_for(&story, 200);
	assert_int_equal(story.died, 1);
	assert_int_equal(story.last.index, 2);
	assert_int_equal(story.last.signal, 0);
	stop(&story);
}

static void a_thread_that_never_comes_up_is_told_of_once(void **state)
{
	static int (*const starts[])(struct crew_child *) = { boot_for_ever, NULL };
	struct story story;

	(void)state;
	listen_for("was not ready within its boot timeout");
	begin(&story, (struct crew_group){ .name = "kids", .run = rest, .count = 1,
					   .kind = CREW_THREAD, .on_start = starts,
					   .boot_timeout_ms = 100, .stop_timeout_ms = 100 });
	turn_until(&story, &story.spawned, 3);
	assert_int_equal(ear.count, 2);
	listen_for(NULL);
	stop(&story);
}

static void a_crash_is_no_orderly_end(void **state)
{
	struct story story;

	(void)state;
	begin(&story, (struct crew_group){ .name = "kids", .run = crash_when_told, .count = 2 });
	turn_until(&story, &story.ready, 2);
	listen_for("(SIGUSR2)");
	plan_scale(story.plan, 0, -1);
	turn_until(&story, &story.died, 1);
	assert_int_equal(ear.count, 1);
	assert_int_equal(story.last.cause, CREW_CAUSE_SIGNAL);
	assert_string_equal(story.last.name, "SIGUSR2");
	listen_for("died");
	plan_remove(story.plan, 0, 0, 0, NULL, NULL);
	turn_until(&story, &story.died, 2);
	assert_int_equal(ear.count, 0);
	assert_int_equal(story.last.cause, CREW_CAUSE_ORDER);
	assert_string_equal(story.last.name, "SIGINT");
	listen_for(NULL);
	stop(&story);
}

/* Whatever the level of its group is; once, and not of whom ends well. */
static void the_last_words_of_a_crash_are_logged(void **state)
{
	static const struct { enum crew_level level; unsigned index; const char *text;
			      unsigned count; } cases[] = {
		{ CREW_ERROR, 70, "last line of kids[70]: the words of 70", 1 },
		{ CREW_ERROR, 70, "the words of 70", 1 },
		{ CREW_ERROR, 70, "the error of 70", 1 },
		{ CREW_ERROR, 0, "the words of 0", 0 },
		{ CREW_INFO, 70, "the words of 70", 1 },
		{ CREW_INFO, 70, "last line of", 0 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct story story;

		listen_for(cases[i].text);
		begin(&story, (struct crew_group){
			.name = "kids", .run = end_with_its_index,
			.ids = &cases[i].index, .id_count = 1,
			.log_level = cases[i].level,
		});
		turn_until(&story, &story.ready, 2);
		stop(&story);
		assert_int_equal(ear.count, cases[i].count);
	}
	listen_for(NULL);
}

/* Also of whom never came up: by its death, or at the latest when its group is given up. */
static void and_those_of_who_never_came_up_once_each(void **state)
{
	static int (*const starts[])(struct crew_child *) = { say_why_and_fail, NULL };
	static const struct { enum crew_level level; unsigned count; } cases[] = {
		{ CREW_ERROR, 3 }, { CREW_INFO, 1 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct story story;

		listen_for("last line of kids[0]: nothing is there");
		begin(&story, (struct crew_group){
			.name = "kids", .run = rest, .count = 1, .on_start = starts,
			.log_level = cases[i].level,
		});
		assert_int_equal(plan_run(story.plan), CREW_EXIT_GAVE_UP);
		plan_free(story.plan);
		assert_int_equal(story.died, 3);
		assert_int_equal(ear.count, cases[i].count);
	}
	listen_for(NULL);
}

/* Nobody has written too fast; the file says itself what it could not take. */
static void repeated_lines_that_a_full_disk_took_are_not_told_twice(void **state)
{
	char name[] = "/tmp/crew-plan-test-XXXXXX";
	const int file = mkstemp(name);
	const int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
	const struct group group = with_hooks((struct crew_group){
		.name = "kids", .run = repeat_itself, .count = 1 });
	struct story story = { 0 };
	const struct plan_options options = {
		.groups = &group, .group_count = 1, .context = &story,
		.log_repeat_ms = 60000,
	};
	struct rotate log;
	char text[4000] = "";
	int good;

	(void)state;
	assert_true(file >= 0 && full >= 0);
	assert_int_equal(rotate_open(&log, name, 1 << 20, 1), 0);
	log_to_file(&log);
	assert_int_equal(plan_new(&options, &story.plan, NULL), 0);
	assert_int_equal(plan_start(story.plan), 0);
	while (pread(file, text, sizeof(text) - 1, 0) == 0 || !strstr(text, "again"))
		turn_for(&story, 10);
	good = fcntl(log.fd, F_DUPFD_CLOEXEC, 3);
	assert_int_equal(dup2(full, log.fd), log.fd);
	assert_int_equal(plan_remove(story.plan, 0, 0, SIGKILL, NULL, NULL), 0);
	turn_until(&story, &story.died, 1);
	assert_true(log.dropped > 0);
	assert_int_equal(dup2(good, log.fd), log.fd);
	plan_free(story.plan);
	log_to_file(NULL);
	rotate_fini(&log);
	assert_true(pread(file, text, sizeof(text) - 1, 0) > 0);
	assert_non_null(strstr(text, "dropped: No space left on device"));
	assert_null(strstr(text, "written faster"));
	close(good);
	close(full);
	close(file);
	unlink(name);
}

static void no_host_is_left_without_threads(void **state)
{
	const uint64_t end = clock_now_ms() + PATIENCE_MS;
	struct story story;

	(void)state;
	begin(&story, (struct crew_group){ .name = "kids", .run = fail_at_once, .count = 1,
					   .kind = CREW_THREAD, .max_restarts = 1,
					   .degraded_retry_ms = 60000 });
	turn_until(&story, &story.died, 2);
	assert_true(story.degraded);
	assert_int_equal(kill(story.last.pid, 0), 0);
	plan_reload(story.plan, 0);
	while (kill(story.last.pid, 0) == 0) {
		assert_true(clock_now_ms() < end);
		turn_for(&story, 10);
	}
	stop(&story);
}

static void what_the_parent_has_not_written_is_not_the_childs(void **state)
{
	struct story story;

	(void)state;
	printf("(not written yet)");
	assert_true(__fpending(stdout) > 0);
	begin(&story, (struct crew_group){ .name = "kids", .run = look_at_stdout, .count = 1 });
	printf("\n");
	turn_until(&story, &story.messages, 1);
	assert_string_equal(story.said, "it is empty");
	stop(&story);
}

static void what_shuts_down_is_not_interrupted(void **state)
{
	static void (*const slow[])(struct crew_child *) = { shut_down_in_one_sleep, NULL };
	struct crew_child_info child;
	struct story story;

	(void)state;
	for (int kind = CREW_PROCESS; kind <= CREW_THREAD; kind++) {
		begin(&story, (struct crew_group){ .name = "kids", .run = block, .count = 1,
						   .kind = (enum crew_kind)kind,
						   .on_shutdown = slow });
		turn_until(&story, &story.ready, 1);
		turn_for(&story, 50); /* or it may not be asleep yet */
		assert_int_equal(plan_children(story.plan, &child, 1), 1);
		signal_by_somebody(child.pid, SIGINT);
		turn_until(&story, &story.messages, 2);
		assert_string_equal(story.said, "slept");
		plan_kill(story.plan);
		stop(&story);
	}
}

static void who_stops_has_its_stop_timeout(void **state)
{
	static void (*const slow[])(struct crew_child *) = { shut_down_without_a_heart, NULL };
	struct story story;

	(void)state;
	begin(&story, (struct crew_group){ .name = "kids", .run = rest, .count = 1,
					   .on_shutdown = slow, .heartbeat_timeout_ms = 1000,
					   .stop_timeout_ms = 10000 });
	turn_until(&story, &story.ready, 1);
	stop(&story);
	assert_int_equal(story.last.cause, CREW_CAUSE_ORDER);
	assert_int_equal(story.last.signal, 0);
	/* Where no timeout ends it, its heart does. */
	begin(&story, (struct crew_group){ .name = "kids", .run = rest, .count = 1,
					   .on_shutdown = slow, .heartbeat_timeout_ms = 1000,
					   .stop_timeout_ms = CREW_NEVER });
	turn_until(&story, &story.ready, 1);
	stop(&story);
	assert_int_equal(story.last.cause, CREW_CAUSE_STUCK);
}

static void a_group_recovers_without_the_place_that_failed(void **state)
{
	const uint64_t end = clock_now_ms() + PATIENCE_MS;
	struct story story;

	(void)state;
	begin(&story, (struct crew_group){ .name = "kids", .run = fail_first, .count = 2,
					   .max_restarts = 1, .degraded_retry_ms = 500 });
	while (!story.degraded)
		assert_int_equal(loop_turn(plan_loop(story.plan), 100), 0);
	assert_int_equal(plan_remove(story.plan, 0, 0, 0, NULL, NULL), 0);
	while (story.degraded && clock_now_ms() < end)
		assert_int_equal(loop_turn(plan_loop(story.plan), 100), 0);
	assert_false(story.degraded);
	assert_int_equal(plan_add(story.plan, 0, 0), 0);
	while (!story.degraded) /* its budget begins anew */
		assert_int_equal(loop_turn(plan_loop(story.plan), 100), 0);
	stop(&story);
}

/* That it was executed is all that is known of it. */
static void who_crashes_as_soon_as_executed_is_not_back_at_once(void **state)
{
	static const char *const command[] = {
		"/bin/sh", "-c", "ulimit -c 0; sleep 0.05; kill -ABRT $$", NULL };
	struct story story;

	(void)state;
	begin(&story, (struct crew_group){ .name = "kids", .kind = CREW_EXEC, .count = 1,
					   .command = command });
	turn_until(&story, &story.died, 1);
	assert_int_equal(story.last.signal, SIGABRT);
	assert_true(story.last.was_ready);
	turn_until(&story, &story.died, 4);
	turn_for(&story, 300);
	assert_true(story.died <= 6);
	plan_free(story.plan);
}

/* A program of that name from now on. */
static void put_program(const char *name, const char *program)
{
	unlink(name);
	assert_int_equal(symlink(program, name), 0);
}

/* Is it refused? It is not where the machine gives it no time to fail in its first moment. */
static bool is_refused(struct story *story, const char *name, pid_t pids[3])
{
	const uint64_t end = clock_now_ms() + PATIENCE_MS;

	turn_until(story, &story->ready, 3);
	for (unsigned i = 0; i < 3; i++)
		pids[i] = plan_child(story->plan, 0, i)->pid;
	put_program(name, "/bin/false");
	listen_for("rolling restart given up");
	plan_reload(story->plan, 0);
	while (ear.count == 0 && story->retiring == 0) {
		assert_true(clock_now_ms() < end);
		assert_int_equal(loop_turn(plan_loop(story->plan), 100), 0);
	}
	listen_for(NULL);
	if (story->retiring > 0)
		return false;
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(plan_child(story->plan, 0, i)->pid, pids[i]);
	return true;
}

/* Which says nothing of itself: that it is executed does not show that it works. */
static void no_program_is_replaced_by_one_that_fails_at_once(void **state)
{
	static const char name[] = "./supervise-plan-test-program";
	static const char *const command[] = { name, "60", NULL };
	struct story story = { 0 };
	bool refused = false;
	pid_t pids[3];

	(void)state;
	for (unsigned tries = 0; tries < 5 && !refused; tries++) {
		plan_free(story.plan);
		put_program(name, "/bin/sleep");
		begin(&story, (struct crew_group){ .name = "kids", .kind = CREW_EXEC, .count = 3,
						   .command = command });
		refused = is_refused(&story, name, pids);
	}
	assert_true(refused);
	put_program(name, "/bin/sleep");
	plan_reload(story.plan, 0);
	turn_until(&story, &story.ready, 6);
	turn_until(&story, &story.died, 4);
	assert_int_equal(story.retiring, 3);
	for (unsigned i = 0; i < COUNT_OF(pids); i++)
		assert_int_not_equal(plan_child(story.plan, 0, i)->pid, pids[i]);
	stop(&story);
	unlink(name);
}

/* Of a process that is traced its debugger is told first, who may take his time. */
static void the_dead_whom_a_debugger_holds_are_replaced(void **state)
{
	struct story story;
	int ends[2];
	char seized = 0;
	unsigned turns = 0;
	uint64_t end;
	pid_t tracer;
	pid_t pid;

	(void)state;
	begin(&story, (struct crew_group){ .name = "kids", .run = let_itself_be_traced,
					   .count = 1 });
	turn_until(&story, &story.messages, 1);
	pid = plan_child(story.plan, 0, 0)->pid;
	assert_int_equal(pipe(ends), 0);
	tracer = fork();
	if (tracer == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		seized = ptrace(PTRACE_SEIZE, pid, NULL, NULL) == 0;
		(void)!write(ends[1], &seized, 1);
		pause();
		_exit(0);
	}
	assert_int_equal(read(ends[0], &seized, 1), 1);
	if (seized) {
		plan_condemn(story.plan, plan_child(story.plan, 0, 0), CREW_CAUSE_STUCK);
		for (end = clock_now_ms() + PATIENCE_MS; story.ready < 2; turns++) {
			assert_true(clock_now_ms() < end);
			assert_int_equal(loop_turn(plan_loop(story.plan), 100), 0);
		}
		assert_int_equal(story.last.cause, CREW_CAUSE_STUCK);
		assert_int_equal(story.last.pid, pid);
		assert_true(turns < 100);
		assert_int_equal(kill(pid, 0), 0); /* it is still held */
	}
	kill(tracer, SIGKILL);
	assert_int_equal(waitpid(tracer, NULL, 0), tracer);
	close(ends[0]);
	close(ends[1]);
	/* And are waited for when it lets go of them. */
	for (end = clock_now_ms() + PATIENCE_MS; seized && kill(pid, 0) == 0;) {
		assert_true(clock_now_ms() < end);
		turn_for(&story, 50);
	}
	stop(&story);
	if (!seized)
		skip(); /* not allowed here */
}

static void signals_of_the_parents_do_a_child_no_harm(void **state)
{
	static const int signals[] = { SIGUSR1, SIGHUP, SIGUSR2, SIGTTIN, SIGTTOU };

	(void)state;
	for (unsigned raw = 0; raw < 2; raw++) {
		struct group group = with_hooks((struct crew_group){
			.name = "kids", .count = 1,
			.run = raw ? leave_when_the_parent_says_so : rest });
		struct story story;

		group.raw = raw;
		begin_groups(&story, &group, 1);
		turn_until(&story, &story.ready, 1);
		for (unsigned i = 0; i < (raw ? COUNT_OF(signals) : 2); i++)
			kill(plan_child(story.plan, 0, 0)->pid, signals[i]);
		turn_for(&story, 50);
		assert_int_equal(story.died, 0);
		stop(&story);
		assert_int_equal(story.last.cause, CREW_CAUSE_ORDER);
		assert_int_equal(story.last.signal, 0);
	}
}

/* ExecStop= and then KillMode= of systemd.service(5), timeout(1): two signals, one wish. */
static void a_stop_is_hurried_by_a_later_signal_only(void **state)
{
	static void (*const slow[])(struct crew_child *) = { shut_down_for_ever, NULL };
	const struct group group = with_hooks((struct crew_group){
		.name = "kids", .run = rest, .count = 1, .on_shutdown = slow });
	struct story story = { 0 };
	const struct plan_options options = {
		.groups = &group, .group_count = 1, .context = &story, .take_signals = true,
	};
	sigset_t before;

	(void)state;
	sigprocmask(SIG_SETMASK, NULL, &before);
	assert_int_equal(plan_new(&options, &story.plan, NULL), 0);
	assert_int_equal(plan_start(story.plan), 0);
	turn_until(&story, &story.ready, 1);
	kill(getpid(), SIGTERM);
	turn_for(&story, 30);
	assert_true(plan_stopping(story.plan));
	kill(getpid(), SIGTERM);
	turn_for(&story, 30);
	kill(getpid(), SIGINT);
	turn_for(&story, 540);
	assert_int_equal(story.died, 0);
	kill(getpid(), SIGINT);
	turn_until(&story, &story.died, 1);
	assert_int_equal(story.last.signal, SIGKILL);
	plan_free(story.plan);
	sigprocmask(SIG_SETMASK, &before, NULL);
}

/* In a process of its own: as in a program that was made a daemon by hand. */
static int be_parent_without_streams(void)
{
	const struct group group = with_hooks((struct crew_group){
		.name = "kids", .run = rest, .count = 2, .input = true,
	});
	struct story story = { 0 };
	const struct plan_options options = {
		.groups = &group, .group_count = 1, .context = &story,
	};
	const uint64_t end = clock_now_ms() + 5000;
	int open_streams = 0;

	for (int fd = 0; fd <= STDERR_FILENO; fd++)
		close(fd);
	if (plan_new(&options, &story.plan, NULL) < 0 || plan_start(story.plan) < 0 ||
	    loop_expose(plan_loop(story.plan)) < 0)
		return 1;
	while (story.ready < 2 && clock_now_ms() < end)
		loop_turn(plan_loop(story.plan), 100);
	for (int fd = 0; fd <= STDERR_FILENO; fd++)
		open_streams += fcntl(fd, F_GETFD) >= 0;
	plan_stop(story.plan);
	plan_run(story.plan);
	plan_free(story.plan);
	return story.ready < 2 ? 2 : open_streams > 0 ? 3 : 0;
}

static void a_parent_may_have_closed_its_standard_streams(void **state)
{
	const pid_t parent = fork();
	int status;

	(void)state;
	assert_true(parent >= 0);
	if (parent == 0)
		_exit(be_parent_without_streams());
	assert_int_equal(waitpid(parent, &status, 0), parent);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void where_no_child_can_be_started_it_is_said_why(void **state)
{
	const struct group group = with_hooks((struct crew_group){
		.name = "kids", .run = rest, .count = 2,
	});
	const struct plan_options options = { .groups = &group, .group_count = 1 };
	struct plan *plan;
	struct rlimit before;

	(void)state;
	assert_int_equal(plan_new(&options, &plan, NULL), 0);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &(struct rlimit){ 3, before.rlim_max }), 0);
	assert_int_equal(plan_start(plan), -EMFILE);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	plan_free(plan);
}

static void who_wants_to_leave_at_once_is_replaced_ever_more_rarely(void **state)
{
	struct group group = with_hooks((struct crew_group){
		.name = "kids", .run = want_to_leave, .count = 1,
	});
	struct story story;

	(void)state;
	group.raw = true;
	group.ready = NULL; /* one that boots may have been told to stop */
	begin_groups(&story, &group, 1);
	turn_until(&story, &story.spawned, 2);
	turn_for(&story, 1200);
	assert_in_range(story.spawned, 3, 5);
	stop(&story);
}

/* It asks once: the wish is not forgotten with the successor. */
static void who_leaves_is_replaced_though_the_first_successor_fails(void **state)
{
	static int (*const starts[])(struct crew_child *) = { start_all_but_the_second, NULL };
	struct group group = with_hooks((struct crew_group){
		.name = "kids", .run = leave_when_the_parent_says_so, .count = 1,
		.on_start = starts });
	struct story story;

	(void)state;
	group.raw = true;
	begin_groups(&story, &group, 1);
	turn_until(&story, &story.ready, 1);
	signal_by_somebody(plan_child(story.plan, 0, 0)->pid, SIGTERM);
	turn_until(&story, &story.ready, 2);
	turn_until(&story, &story.died, 2);
	assert_int_equal(story.retiring, 1);
	assert_int_equal(plan_child(story.plan, 0, 0)->generation, 3);
	stop(&story);
}

static void who_leaves_is_replaced_as_soon_as_one_can_be_forked(void **state)
{
	struct group group = with_hooks((struct crew_group){
		.name = "kids", .run = leave_when_the_parent_says_so, .count = 1 });
	struct rlimit before;
	struct story story;

	(void)state;
	group.raw = true;
	begin_groups(&story, &group, 1);
	turn_until(&story, &story.ready, 1);
	signal_by_somebody(plan_child(story.plan, 0, 0)->pid, SIGTERM);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &(struct rlimit){ 3, before.rlim_max }), 0);
	listen_for("cannot start the successor");
	turn_until(&story, &ear.count, 1);
	listen_for(NULL);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	turn_until(&story, &story.ready, 2);
	turn_until(&story, &story.died, 1);
	assert_int_equal(story.last.cause, CREW_CAUSE_ORDER);
	stop(&story);
}

static void those_who_have_done_their_share_are_replaced_one_at_a_time(void **state)
{
	struct group group = with_hooks((struct crew_group){
		.name = "kids", .run = do_its_share, .count = 4 });
	struct story story;

	(void)state;
	group.raw = true;
	group.spawned = spawned_one_at_a_time;
	group.ready = ready_one_at_a_time;
	listen_for("has done its share");
	begin_groups(&story, &group, 1);
	turn_until(&story, &story.died, 4);
	assert_int_equal(story.ready, 8);
	assert_int_equal(story.retiring, 4);
	assert_int_equal(ear.count, 4);
	assert_int_equal(plan_restarts(story.plan, 0), 0);
	listen_for(NULL);
	stop(&story);
}

/* Who stops or cannot go on does not wait for another one's successor. */
static void but_not_who_is_asked_to_leave_while_it_waits_for_that(void **state)
{
	static int (*const starts[])(struct crew_child *) = { boot_for_ever_as_a_successor,
							      NULL };
	struct group group = with_hooks((struct crew_group){
		.name = "kids", .run = do_its_share_and_leave, .count = 2, .on_start = starts,
		.boot_timeout_ms = CREW_NEVER });
	struct story story;

	(void)state;
	group.raw = true;
	begin_groups(&story, &group, 1);
	turn_until(&story, &story.ready, 2);
	for (unsigned i = 0; i < 2; i++) {
		signal_by_somebody(plan_child(story.plan, 0, i)->pid, SIGTERM);
		turn_until(&story, &story.messages, i + 1);
		turn_until(&story, &story.spawned, 3);
	}
	turn_for(&story, 500);
	assert_int_equal(story.spawned, 3);
	listen_for("was asked to stop by another process");
	signal_by_somebody(plan_child(story.plan, 0, 1)->pid, SIGTERM);
	turn_until(&story, &story.spawned, 4);
	assert_int_equal(ear.count, 1);
	listen_for(NULL);
	plan_free(story.plan);
}

static int open_terminal(int *ret_master)
{
	const int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
	int terminal;

	if (master < 0 || grantpt(master) < 0 || unlockpt(master) < 0)
		skip();
	terminal = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
	assert_true(terminal >= 0);
	*ret_master = master;
	return terminal;
}

static void a_terminal_that_nobody_reads_holds_nobody_up(void **state)
{
	struct story story;
	int master;
	const int terminal = open_terminal(&master);

	(void)state;
	alarm(10);
	begin(&story, (struct crew_group){
		.name = "kids", .run = print_much, .count = 1,
		.out = { .to = CREW_TO_FD, .fd = terminal },
	});
	turn_until(&story, &story.messages, 1);
	turn_for(&story, 50);
	stop(&story);
	alarm(0);
	close(terminal);
	close(master);
}

/* What the terminal shows of it, line by line: how many, all whole. */
static unsigned count_lines(FILE *shown, char *line, size_t room)
{
	unsigned count = 0;
	const char *digits;
	int byte;

	while ((byte = getc(shown)) != EOF) {
		const size_t used = strlen(line);

		if (byte != '\n') {
			assert_true(used + 1 < room);
			line[used] = (char)byte;
			continue;
		}
		assert_ptr_equal(strstr(line, "kids[0] "), line);
		digits = strstr(line, ": ");
		assert_non_null(digits);
		assert_int_equal(strspn(digits + 2, "0123456789"), 150);
		assert_string_equal(digits + 2 + 150, "\r");
		memset(line, 0, room);
		count++;
	}
	clearerr(shown);
	return count;
}

static void a_terminal_that_is_slow_shows_all_lines_whole(void **state)
{
	const uint64_t end = clock_now_ms() + PATIENCE_MS;
	char line[400] = "";
	struct story story;
	unsigned count = 0;
	int master;
	const int terminal = open_terminal(&master);
	FILE *shown = fdopen(master, "r");

	(void)state;
	assert_non_null(shown);
	begin(&story, (struct crew_group){
		.name = "kids", .run = print_much, .count = 1,
		.out = { .to = CREW_TO_FD, .fd = terminal, .wait = true },
	});
	turn_for(&story, 50); /* it is full */
	/* The last one too, though none follows. */
	while (count < 1500) {
		assert_true(clock_now_ms() < end);
		assert_int_equal(loop_turn(plan_loop(story.plan), 5), 0);
		count += count_lines(shown, line, sizeof(line));
	}
	assert_int_equal(count, 1500);
	stop(&story);
	close(terminal);
	fclose(shown);
}

/* As a daemon does with the terminal that it was started on. */
static void a_terminal_that_was_replaced_is_let_go_of(void **state)
{
	struct group group = with_hooks((struct crew_group){
		.name = "kids", .run = rest, .count = 1,
		.out = { .to = CREW_TO_FD },
		.error = { .to = CREW_TO_FD },
	});
	const struct plan_options options = { .groups = &group, .group_count = 1 };
	const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct plan *plan;
	char byte;
	int master;
	const int terminal = open_terminal(&master);

	(void)state;
	group.is.out.fd = group.is.error.fd = terminal;
	assert_int_equal(plan_new(&options, &plan, NULL), 0);
	assert_int_equal(read(master, &byte, 1), -1);
	assert_int_equal(errno, EAGAIN); /* it is open */
	assert_int_equal(dup2(null, terminal), terminal);
	plan_follow(plan);
	assert_int_equal(read(master, &byte, 1), -1);
	assert_int_equal(errno, EIO);
	plan_free(plan);
	close(terminal);
	close(master);
	close(null);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(from_start_to_stop),
		cmocka_unit_test(the_killed_are_replaced_and_remembered),
		cmocka_unit_test(a_reload_retires_who_was_there),
		cmocka_unit_test(who_is_stopped_as_it_boots_takes_nobodys_place),
		cmocka_unit_test(a_successor_that_fails_is_not_said_to_be_started_again),
		cmocka_unit_test(that_it_is_ready_is_heard_though_it_has_said_much),
		cmocka_unit_test(reloads_during_a_reload_are_one_more),
		cmocka_unit_test(who_retires_and_goes_on_is_let),
		cmocka_unit_test(places_come_and_go),
		cmocka_unit_test(a_group_is_scaled_as_far_as_may_be),
		cmocka_unit_test(a_place_may_be_removed_when_its_successor_dies),
		cmocka_unit_test(no_place_is_removed_before_a_fork),
		cmocka_unit_test(nor_after_others_were_added_there),
		cmocka_unit_test(who_is_added_before_the_first_fork_is_born_once),
		cmocka_unit_test(nobody_is_born_after_a_stop),
		cmocka_unit_test(a_stop_before_the_first_fork_is_no_failure),
		cmocka_unit_test(a_reload_before_a_fork_fills_no_place_twice),
		cmocka_unit_test(of_an_empty_place_nobody_knows_how_it_ended),
		cmocka_unit_test(who_cannot_be_born_says_why),
		cmocka_unit_test(who_talks_without_pause_holds_up_nobody),
		cmocka_unit_test(nor_does_who_talks_for_the_dead),
		cmocka_unit_test(a_budget_is_used_up),
		cmocka_unit_test(threads_are_children_like_others),
		cmocka_unit_test(a_removed_thread_that_goes_on_keeps_no_stop_from_ending),
		cmocka_unit_test(of_a_stuck_thread_it_is_remembered_though_it_never_ends),
		cmocka_unit_test(a_thread_that_is_late_is_not_remembered_as_stuck),
		cmocka_unit_test(the_last_thread_is_removed_without_a_new_host),
		cmocka_unit_test(a_thread_that_never_comes_up_keeps_others_from_nothing),
		cmocka_unit_test(freeing_kills_who_is_left),
		cmocka_unit_test(a_place_that_comes_back_goes_on_counting),
		cmocka_unit_test(a_stop_does_not_hurry_who_was_leaving_before),
		cmocka_unit_test(who_dies_before_his_turn_to_stop_is_replaced),
		cmocka_unit_test(who_dies_again_and_again_does_not_keep_a_stop_from_ending),
		cmocka_unit_test(nobody_is_replaced_who_is_killed_at_the_end),
		cmocka_unit_test(who_is_asked_to_leave_by_somebody_is_replaced),
		cmocka_unit_test(a_host_that_is_asked_to_leave_by_somebody_is_replaced),
		cmocka_unit_test(who_is_asked_to_leave_with_its_parent_waits_for_its_turn),
		cmocka_unit_test(a_function_that_is_asked_with_its_parent_waits_for_its_turn),
		cmocka_unit_test(a_function_of_a_later_group_that_is_asked_alone_is_replaced),
		cmocka_unit_test(who_leaves_is_not_ended_by_the_parents_word),
		cmocka_unit_test(nor_by_somebodys_after_the_parents),
		cmocka_unit_test(nor_by_the_parents_second_for_a_word_that_was_passed_on),
		cmocka_unit_test(the_parents_second_word_ends_it),
		cmocka_unit_test(the_parents_word_is_not_lost_behind_somebodys),
		cmocka_unit_test(threads_are_back_at_once_when_their_host_dies),
		cmocka_unit_test(a_host_is_told_all_though_it_has_no_room),
		cmocka_unit_test(a_thread_without_a_channel_is_dead),
		cmocka_unit_test(a_threads_end_leaves_no_descriptors),
		cmocka_unit_test(who_was_stopped_with_its_parent_is_not_stuck),
		cmocka_unit_test(a_thread_that_never_comes_up_is_told_of_once),
		cmocka_unit_test(a_crash_is_no_orderly_end),
		cmocka_unit_test(the_last_words_of_a_crash_are_logged),
		cmocka_unit_test(and_those_of_who_never_came_up_once_each),
		cmocka_unit_test(repeated_lines_that_a_full_disk_took_are_not_told_twice),
		cmocka_unit_test(no_host_is_left_without_threads),
		cmocka_unit_test(what_the_parent_has_not_written_is_not_the_childs),
		cmocka_unit_test(what_shuts_down_is_not_interrupted),
		cmocka_unit_test(who_stops_has_its_stop_timeout),
		cmocka_unit_test(a_group_recovers_without_the_place_that_failed),
		cmocka_unit_test(who_crashes_as_soon_as_executed_is_not_back_at_once),
		cmocka_unit_test(no_program_is_replaced_by_one_that_fails_at_once),
		cmocka_unit_test(the_dead_whom_a_debugger_holds_are_replaced),
		cmocka_unit_test(signals_of_the_parents_do_a_child_no_harm),
		cmocka_unit_test(a_stop_is_hurried_by_a_later_signal_only),
		cmocka_unit_test(a_parent_may_have_closed_its_standard_streams),
		cmocka_unit_test(where_no_child_can_be_started_it_is_said_why),
		cmocka_unit_test(who_wants_to_leave_at_once_is_replaced_ever_more_rarely),
		cmocka_unit_test(who_leaves_is_replaced_though_the_first_successor_fails),
		cmocka_unit_test(who_leaves_is_replaced_as_soon_as_one_can_be_forked),
		cmocka_unit_test(those_who_have_done_their_share_are_replaced_one_at_a_time),
		cmocka_unit_test(but_not_who_is_asked_to_leave_while_it_waits_for_that),
		cmocka_unit_test(a_terminal_that_nobody_reads_holds_nobody_up),
		cmocka_unit_test(a_terminal_that_is_slow_shows_all_lines_whole),
		cmocka_unit_test(a_terminal_that_was_replaced_is_let_go_of),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
