/* SPDX-License-Identifier: MIT */
/*
 * What the system tests of groups in a server run: one pool, and beside it a function and another
 * program. MIXED in the environment names what else there is to be, or is to be wrong.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <crew/crew.h>

static crew_reply get_hello(struct crew_request *request)
{
	return crew_text(request, 200, "hello");
}

static void say_end(struct crew_worker *worker)
{
	crew_log(worker, CREW_INFO, "the worker ends");
}

static const struct crew_app app = {
	.name = "app",
	.routes = (const struct crew_route[]){ { .on = "GET /hello", .run = get_hello }, { 0 } },
	.teardown = say_end,
};

/* Until it is told to stop. */
static int tick(struct crew_child *self)
{
	struct rlimit limit = { 0 };

	getrlimit(RLIMIT_NOFILE, &limit);
	crew_child_status(self, "ticking");
	printf("%s begins with %s, %llu descriptors\n", crew_child_group(self),
	       (const char *)crew_argument(self), (unsigned long long)limit.rlim_cur);
	while (crew_rest(self, 100))
		;
	printf("%s ends\n", crew_child_group(self));
	return 0;
}

/* It comes up, and fails. */
static int flap(struct crew_child *self)
{
	(void)self;
	return 70;
}

static int refuse(struct crew_child *self)
{
	(void)self;
	printf("it never comes up\n");
	return 78;
}

#define LAST 4 /* of the table, and one to end it */

/* What MIXED says of the table. */
static void change(struct crew_group *groups, const char *how)
{
	static int (*const refuses[])(struct crew_child *) = { refuse, NULL };
	static const char *const here[] = { "./here.sh", NULL };
	static const int nowhere = 999;
	struct crew_group *more = &groups[2];

	if (strcmp(how, "flaps") == 0)
		*more = (struct crew_group){ .name = "flaps", .run = flap, .count = 1,
					     .max_restarts = 3, .degraded_retry_ms = 60000 };
	else if (strcmp(how, "never") == 0)
		*more = (struct crew_group){ .name = "never", .run = tick, .on_start = refuses,
					     .count = 1 };
	else if (strcmp(how, "threads") == 0)
		*more = (struct crew_group){ .name = "threads", .kind = CREW_THREAD, .run = tick,
					     .count = 2, .argument = (void *)"threads" };
	else if (strcmp(how, "here") == 0)
		*more = (struct crew_group){
			.name = "here", .kind = CREW_EXEC, .command = here, .count = 1,
			.out = { .to = CREW_TO_FILE, .path = "here.out" } };
	else if (strcmp(how, "dispatcher") == 0 || strcmp(how, "app") == 0 ||
		 strcmp(how, "ticks") == 0)
		*more = (struct crew_group){ .name = how, .run = tick, .count = 1 };
	else if (strcmp(how, "no function") == 0)
		*more = (struct crew_group){ .name = "empty", .count = 1 };
	else if (strcmp(how, "no descriptor") == 0)
		*more = (struct crew_group){ .name = "fds", .run = tick, .count = 1,
					     .preserve_fds = &nowhere, .preserve_fd_count = 1 };
}

int main(int argc, char **argv)
{
	static const char *const shell[] = {
		"sh", "-c",
		"trap 'echo shell ends; exit 0' TERM; echo shell begins with $WORD; "
		"while :; do sleep 0.05; done", NULL };
	static const char *const environment[] = { "WORD=words", NULL };
	static struct crew_group many[CREW_GROUPS_MAX + 2];
	static char names[CREW_GROUPS_MAX + 1][12];
	const char *how = getenv("MIXED");
	struct crew_group groups[LAST] = {
		{ .name = "shell", .kind = CREW_EXEC, .command = shell, .count = 1,
		  .environment = environment, .stop_order = 1 },
		{ .name = "ticks", .run = tick, .count = 1, .argument = (void *)"arguments" },
	};

	change(groups, how ? how : "");
	for (unsigned i = 0; i <= CREW_GROUPS_MAX; i++) {
		snprintf(names[i], sizeof(names[i]), "group%u", i);
		many[i] = (struct crew_group){ .name = names[i], .run = tick, .count = 1 };
	}
	return crew_main(argc, argv, &(struct crew_server){
		.pools = { { .app = &app, .workers = 2 } },
		.groups = how && strcmp(how, "too many") == 0 ? many : groups,
	});
}
