/* SPDX-License-Identifier: MIT */
/* A configuration reaches its worker also where there was no room for it at first: here for
 * descriptors that are on their way, of which a user may have as many as files. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/os/os.h"
#include "serve/private.h"

#define FILES 40u
#define LIMIT 32u
#define PATIENCE_MS 10000u
#define SOMEBODY 61234u

static struct server_run *run;
static char said[16];
static unsigned ready_count;

/* ---- the worker ---- */

static int rest(struct crew_child *self)
{
	while (crew_rest(self, 1000))
		;
	return 0;
}

/* Not before it is told that all have been sent. */
static int read_late(struct crew_child *self)
{
	struct pollfd channel = { .fd = self->channel, .events = POLLIN };
	char last[16] = "";
	int fds[OS_CHANNEL_FDS_MAX];
	struct control order;
	size_t fd_count;
	size_t size;
	char *file;

	poll(NULL, 0, 300);
	while (strcmp(last, "39") != 0) {
		if (poll(&channel, 1, 1000) <= 0)
			return 1;
		if (os_channel_receive(self->channel, &order, sizeof(order), fds,
				       &fd_count) <= 0 || fd_count != 1)
			return 1;
		file = os_map_file(fds[0], &size);
		if (file)
			snprintf(last, sizeof(last), "%s", file + strlen(file) + 1);
		close(fds[0]);
	}
	os_channel_send(self->channel, last, strlen(last) + 1, NULL, 0);
	return rest(self);
}

/* ---- the parent ---- */

static void spawned(void *context, struct child *child)
{
	(void)context;
	child->user = calloc(1, sizeof(struct worker_book));
}

static void ready(void *context, struct child *child)
{
	(void)context;
	(void)child;
	ready_count++;
}

static void message(void *context, struct child *child, const void *data, size_t size,
		    int *fds, size_t fd_count)
{
	(void)context;
	(void)child;
	os_close_each(fds, fd_count);
	snprintf(said, sizeof(said), "%.*s", (int)size, (const char *)data);
}

static void died(void *context, struct child *child, const struct crew_death *death)
{
	(void)context;
	(void)death;
	free(child->user);
}

static void send_one(unsigned number)
{
	const int fd = os_memory_file("config");
	char text[24];
	/* With the NUL of the last one, so that the worker may print it. */
	const int size = snprintf(text, sizeof(text), "kids%c%u", 0, number) + 1;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, (size_t)size), size);
	assert_int_equal(os_memory_seal(fd), 0);
	configs_take(run, plan_child(run->plan, 1, 0), fd);
}

/* A worker that does not go by its library may send what it likes. */
static void what_is_too_large_does_not_replace_the_last_one(void **state)
{
	const struct group groups[] = {
		{ .is = { .name = "dispatcher", .run = rest, .count = 1 } },
		{ .is = { .name = "kids", .run = rest, .count = 1 } },
	};
	const struct plan_options options = { .groups = groups, .group_count = 2 };
	const struct child sender = { .group = &groups[1] };
	const struct crew_app app = { 0 };
	int kept = -1;

	(void)state;
	run = calloc(1, sizeof(*run));
	assert_non_null(run);
	configs_init(run);
	run->server.pools[0] = (struct crew_pool){ .name = "kids", .app = &app };
	run->pool_count = 1;
	assert_int_equal(plan_new(&options, &run->plan, NULL), 0);
	for (off_t more = 0; more <= 1; more++) {
		const int fd = os_memory_file("config");

		assert_true(fd >= 0);
		assert_int_equal(write(fd, "kids", 5), 5);
		assert_int_equal(ftruncate(fd, 5 + (off_t)CONFIG_MAX_BYTES + more), 0);
		assert_int_equal(os_memory_seal(fd), 0);
		configs_take(run, &sender, fd);
		if (more == 0)
			kept = run->configs[0];
		assert_true(kept >= 0);
		assert_int_equal(run->configs[0], kept);
	}
	plan_free(run->plan);
	configs_fini(run);
	free(run);
}

static void the_last_one_is_taken_when_there_is_room(void **state)
{
	const struct group groups[] = {
		{ .is = { .name = "dispatcher", .run = rest, .count = 1 } },
		{ .is = { .name = "kids", .run = read_late, .count = 1 },
		  .spawned = spawned, .ready = ready, .message = message, .died = died },
	};
	const struct plan_options options = { .groups = groups, .group_count = 2 };
	const struct crew_app app = { 0 };
	const uint64_t end = clock_now_ms() + PATIENCE_MS;
	struct rlimit few;

	(void)state;
	/* Who may do all may also have any number on their way. */
	if (geteuid() == 0 && setuid(SOMEBODY) < 0)
		skip();
	run = calloc(1, sizeof(*run));
	assert_non_null(run);
	configs_init(run);
	run->server.pools[0] = (struct crew_pool){ .name = "kids", .app = &app };
	run->pool_count = 1;
	assert_int_equal(plan_new(&options, &run->plan, NULL), 0);
	assert_int_equal(plan_start(run->plan), 0);
	while (ready_count == 0 && clock_now_ms() < end)
		assert_int_equal(loop_turn(plan_loop(run->plan), 100), 0);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &few), 0);
	few.rlim_cur = LIMIT;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	for (unsigned i = 0; i < FILES; i++)
		send_one(i);
	while (!said[0] && clock_now_ms() < end)
		assert_int_equal(loop_turn(plan_loop(run->plan), 100), 0);
	assert_string_equal(said, "39");
	plan_stop(run->plan);
	assert_int_equal(plan_run(run->plan), 0);
	plan_free(run->plan);
	configs_fini(run);
	free(run);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_too_large_does_not_replace_the_last_one),
		cmocka_unit_test(the_last_one_is_taken_when_there_is_room),
	};

	log_init();
	log_set_level(CREW_CRITICAL + 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
