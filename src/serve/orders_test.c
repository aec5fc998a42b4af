/* SPDX-License-Identifier: MIT */
/* A dispatcher that reads late, and all that it is told meanwhile: over a real channel. */
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/os/os.h"
#include "serve/private.h"

#define ORDERS      600u /* more than a channel holds */
#define WITH_FDS    5u   /* each so manyth */
#define PATIENCE_MS 10000u

static struct server_run *run;
static unsigned deaths;
static char said[40];
static unsigned stops, restarts; /* of taking events, as it was logged */

/* ---- the dispatcher ---- */

/* Says what is wrong with it, or NULL. */
static const char *judge(const struct control *order, unsigned number, size_t fd_count)
{
	if (order->kind != CONTROL_LINK_UP || order->index != number)
		return "an order is not the next one";
	if (fd_count != (number % WITH_FDS ? 0 : 3))
		return "an order is without its descriptors";
	return NULL;
}

/* While it runs. */
static int read_all(struct crew_child *self)
{
	struct pollfd news = { .fd = self->channel, .events = POLLIN };
	int fds[OS_CHANNEL_FDS_MAX];
	struct control order;
	size_t fd_count;

	while (poll(&news, 1, -1) == 1 &&
	       os_channel_receive(self->channel, &order, sizeof(order), fds, &fd_count) > 0)
		os_close_each(fds, fd_count);
	return 0;
}

static int read_late(struct crew_child *self)
{
	struct pollfd news = { .fd = self->channel, .events = POLLIN };
	const char *fault = NULL;
	int fds[OS_CHANNEL_FDS_MAX];
	struct control order;
	size_t fd_count;

	poll(NULL, 0, 100);
	for (unsigned i = 0; i < ORDERS && !fault; i++) {
		if (poll(&news, 1, PATIENCE_MS) != 1 ||
		    os_channel_receive(self->channel, &order, sizeof(order), fds,
				       &fd_count) != sizeof(order))
			fault = "an order is missing";
		else
			fault = judge(&order, i, fd_count);
		while (!fault && fd_count > 0)
			close(fds[--fd_count]);
	}
	fault = fault ? fault : "all was told";
	os_channel_send(self->channel, fault, strlen(fault) + 1, NULL, 0);
	while (crew_rest(self, 1000))
		;
	return 0;
}

/* ---- the parent ---- */

static void message(void *context, struct child *child, const void *data, size_t size,
		    int *fds, size_t fd_count)
{
	(void)context;
	(void)child;
	(void)fds;
	assert_int_equal(fd_count, 0);
	snprintf(said, sizeof(said), "%.*s", (int)size, (const char *)data);
}

static void died(void *context, struct child *child, const struct crew_death *death)
{
	(void)context;
	(void)child;
	(void)death;
	deaths++;
}

static int begin_with(int (*dispatcher)(struct crew_child *self))
{
	const struct group group = {
		.is = { .name = "dispatcher", .run = dispatcher, .count = 1 },
		.message = message,
		.died = died,
	};
	const struct plan_options options = { .groups = &group, .group_count = 1 };

	said[0] = '\0';
	deaths = 0;
	run = calloc(1, sizeof(*run));
	assert_non_null(run);
	run->server.dispatchers = 1;
	orders_init(run);
	assert_int_equal(plan_new(&options, &run->plan, NULL), 0);
	assert_int_equal(plan_start(run->plan), 0);
	return 0;
}

static int begin(void **state)
{
	(void)state;
	return begin_with(read_late);
}

static int begin_events(void **state)
{
	(void)state;
	return begin_with(read_all);
}

static int end(void **state)
{
	(void)state;
	plan_free(run->plan);
	orders_forget(run, 0);
	free(run);
	return 0;
}

static void give_all(void)
{
	struct control order = { .kind = CONTROL_LINK_UP };

	for (; order.index < ORDERS; order.index++) {
		int fds[3];
		const size_t fd_count = order.index % WITH_FDS ? 0 : COUNT_OF(fds);

		for (size_t i = 0; i < fd_count; i++) {
			fds[i] = dup(STDIN_FILENO);
			assert_true(fds[i] >= 0);
		}
		orders_give(run, 0, &order, fds, fd_count);
	}
}

static bool hear(void *context, const struct crew_log_line *line)
{
	(void)context;
	stops += strstr(line->message, "takes no events now") != NULL;
	restarts += strstr(line->message, "takes events again: its clients missed 3 files") != NULL;
	return true;
}

/* With two sisters, and so many descriptors that we may have: what waits for it when it misses
 * some, each of so many bytes, and when it goes on. */
static void stop_and_go_on(rlim_t descriptors, unsigned files, off_t bytes)
{
	const struct control order = { .kind = CONTROL_PUBLISH };
	const uint64_t end = clock_now_ms() + PATIENCE_MS;
	const pid_t pid = plan_child(run->plan, DISPATCHER_GROUP, 0)->pid;
	const long before = os_descriptor_count(getpid());
	const struct orders *orders = &run->orders[0];
	const int file = memfd_create("events", MFD_CLOEXEC);
	struct rlimit limit;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	if (limit.rlim_max < descriptors)
		skip();
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &(struct rlimit){ descriptors, limit.rlim_max }),
			 0);
	assert_int_equal(ftruncate(file, bytes), 0);
	run->server.dispatchers = 3;
	stops = restarts = 0;
	assert_int_equal(kill(pid, SIGSTOP), 0);
	while (orders->missed < 3) {
		assert_true(clock_now_ms() < end);
		orders_pass_on(run, 0, &order, file);
	}
	assert_int_equal(orders->files, files);
	assert_int_equal(orders->files_bytes, files * bytes);
	assert_int_equal(os_descriptor_count(getpid()), before + 1 + files);
	assert_int_equal(kill(pid, SIGCONT), 0);
	while (!list_empty(&orders->waiting)) {
		assert_true(clock_now_ms() < end);
		assert_int_equal(loop_turn(plan_loop(run->plan), 100), 0);
	}
	orders_pass_on(run, 0, &order, file);
	assert_int_equal(orders->missed, 0);
	assert_int_equal(orders->files_bytes, 0);
	assert_int_equal(stops, 1);
	assert_int_equal(restarts, 1);
	close(file);
	assert_int_equal(os_descriptor_count(getpid()), before);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

/* ---- tests ---- */

static void who_reads_late_is_told_all_in_order(void **state)
{
	const uint64_t end = clock_now_ms() + PATIENCE_MS;
	const long descriptors = os_descriptor_count(getpid());

	(void)state;
	give_all();
	assert_true(os_descriptor_count(getpid()) > descriptors);
	while (!said[0]) {
		assert_true(clock_now_ms() < end);
		assert_int_equal(loop_turn(plan_loop(run->plan), 100), 0);
	}
	assert_string_equal(said, "all was told");
	assert_int_equal(deaths, 0);
	assert_int_equal(os_descriptor_count(getpid()), descriptors);
}

/* Nor do its successor's descriptors wait for ever: it is told all anew. */
static void what_the_dead_were_to_be_told_is_forgotten(void **state)
{
	const long descriptors = os_descriptor_count(getpid());

	(void)state;
	give_all();
	assert_false(list_empty(&run->orders[0].waiting));
	orders_forget(run, 0);
	assert_true(list_empty(&run->orders[0].waiting));
	assert_int_equal(os_descriptor_count(getpid()), descriptors);
}

static void events_of_a_second_of_all_others_wait(void **state)
{
	(void)state;
	stop_and_go_on(8192, 1024, 5);
}

/* What others need is left to them: files of events that come, new children. */
static void all_events_that_wait_take_a_quarter_of_the_descriptors(void **state)
{
	(void)state;
	stop_and_go_on(240, 30, 5);
}

static void all_events_that_wait_take_so_much_memory(void **state)
{
	(void)state;
	stop_and_go_on(8192, 64, 1024 * 1024);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(who_reads_late_is_told_all_in_order, begin, end),
		cmocka_unit_test_setup_teardown(what_the_dead_were_to_be_told_is_forgotten,
						begin, end),
		cmocka_unit_test_setup_teardown(events_of_a_second_of_all_others_wait,
						begin_events, end),
		cmocka_unit_test_setup_teardown(
			all_events_that_wait_take_a_quarter_of_the_descriptors, begin_events, end),
		cmocka_unit_test_setup_teardown(all_events_that_wait_take_so_much_memory,
						begin_events, end),
	};

	log_init();
	log_set_taker(hear, NULL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
