/* SPDX-License-Identifier: MIT */
/*
 * The whole way of a request, for callgrind: the real dispatcher and the real worker, over a
 * real link, and clients that ask again when they are answered. `way NAME TIMES` says which
 * process is which, "NAME, dispatcher PID"; without arguments it lists the names.
 *
 * So that each run counts the same, what would sleep has the next one run instead, and only
 * one of the three runs at a time, all on one processor; and each look at the clock is a
 * microsecond. Both by functions that stand before those of libc here. The system calls are
 * real, but what they take is not counted, nor is anything in epoll_wait (count.py).
 */
#include <errno.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <crew/crew.h>

#include "base/arena.h"
#include "base/check.h"
#include "base/os/os.h"
#include "dispatch/dispatcher.h"
#include "serve/address.h"
#include "serve/defaults.h"
#include "supervise/self.h"
#include "transport/control.h"
#include "transport/link.h"
#include "worker/worker.h"

#include "request.h"

#define CLIENTS_MAX 16u
#define PATIENCE_S 120u
#define ANSWER "{\"message\":\"hello\"}"

static const struct way {
	const char *name;
	const char *request;
	unsigned clients;
	bool is_local;
} ways[] = {
	{ "hello", REQUEST_FOR("/hello"), 1, false },
	{ "hello-16", REQUEST_FOR("/hello"), CLIENTS_MAX, false },
	{ "local-hello", REQUEST_FOR("/local/hello"), 1, true },
};

static crew_reply hello(struct crew_request *request)
{
	return crew_json(request, 200, crew_str("message", "hello"));
}

static const struct crew_app app = {
	.name = "way",
	.routes = (const struct crew_route[]){ { .on = "GET /hello", .run = hello }, { 0 } },
};
static const struct crew_server server = {
	.listen = "127.0.0.1:0",
	.loop = CREW_LOOP_EPOLL,
	.local = (const struct crew_route[]){ { .on = "GET /local/hello", .run = hello },
					      { 0 } },
	.pools = { { .app = &app, .workers = 1 } },
};
static struct crew_server full; /* its defaults are filled in */
static struct router *router;
static int listener;
static struct scoreboard board;

/* ---- one at a time ---- */

enum { DISPATCHER, WORKER, CLIENT, PROCESSES };

static int pipes[PROCESSES][2];
static unsigned me;
static bool is_my_turn;

static void become(unsigned process)
{
	me = process;
	for (unsigned i = 0; i < PROCESSES; i++) {
		if (i != me)
			close(pipes[i][0]);
		if (i != (me + 1) % PROCESSES)
			close(pipes[i][1]);
	}
}

/* Until it comes round again. False: the one before us has ended. */
static bool let_others_run(void)
{
	char token = 0;

	if (is_my_turn)
		check(write(pipes[(me + 1) % PROCESSES][1], &token, 1) == 1);
	is_my_turn = read(pipes[me][0], &token, 1) == 1;
	return is_my_turn;
}

__attribute__((noinline)) int epoll_wait(int fd, struct epoll_event *events, int max,
					 int timeout_ms)
{
	long n;

	while ((n = syscall(SYS_epoll_wait, fd, events, max, 0)) == 0 && timeout_ms != 0) {
		if (!let_others_run())
			_exit(0);
	}
	return (int)n;
}

__attribute__((noinline)) int clock_gettime(clockid_t id, struct timespec *ret_time)
{
	static uint64_t now_ns = 1000000000u;

	(void)id;
	now_ns += 1000;
	*ret_time = (struct timespec){ (time_t)(now_ns / 1000000000u),
				       (long)(now_ns % 1000000000u) };
	return 0;
}

/* ---- the three ---- */

static int dispatch(struct crew_child *self)
{
	const struct dispatcher_options options = { .server = &full, .router = router,
						    .listener = listener, .first_group = 1 };

	return dispatcher_main(self, &options);
}

static int work(struct crew_child *self)
{
	const struct worker_options options = { &full.pools[0], full.pools[0].name, &full };

	return worker_main(self, &options);
}

/* Its end of the channel to us, who say all that is to be said now. */
static int channel_to(enum control_kind kind, const struct link_fds *fds)
{
	const struct control order = { .kind = kind, .generation = 1 };
	int ends[2];

	check(os_channel_create(ends) == 0);
	check(os_channel_send(ends[0], &order, sizeof(order),
			      (int[]){ fds->memory, fds->bell[0], fds->bell[1] }, 3) == 0);
	return ends[1];
}

static pid_t start(unsigned process, int channel, int (*live)(struct crew_child *self))
{
	struct crew_child self = { .generation = 1, .channel = channel, .line = process,
				   .score = scoreboard_line(&board, process),
				   .board = &board };
	const pid_t pid = fork();

	check(pid >= 0);
	if (pid > 0)
		return pid;
	become(process);
	check(scoreboard_become(&board, process) == 0);
	check(self_block_signals(&self) == 0);
	exit(live(&self));
}

static void set_up(void)
{
	struct crew_error error;
	struct arena arena;
	cpu_set_t here;
	char name[64];

	CPU_ZERO(&here);
	CPU_SET(os_processor(), &here);
	check(sched_setaffinity(0, sizeof(here), &here) == 0);
	arena_init(&arena, NULL);
	check(defaults_fill(&server, &arena, &full, &error) == 0);
	check(router_new(&full, &router, &error) == 0);
	listener = address_listen(full.listen, false, full.listen_mode, name,
				  sizeof(name), &error);
	check(listener >= 0);
	check(scoreboard_init(&board, 2) == 0);
	for (unsigned i = 0; i < 2; i++) {
		struct score_owner *owner =
			scoreboard_owner(&board, scoreboard_line(&board, i));

		owner->group = i;
		owner->generation = 1;
		score_set_state(scoreboard_line(&board, i), CREW_CHILD_STARTING);
		scoreboard_use(&board, i);
	}
	for (unsigned i = 0; i < PROCESSES; i++)
		check(pipe(pipes[i]) == 0);
}

static int connect_client(void)
{
	struct sockaddr_in address;
	socklen_t size = sizeof(address);
	const int fd = socket(AF_INET, SOCK_STREAM, 0);

	check(fd >= 0 && getsockname(listener, (struct sockaddr *)&address, &size) == 0);
	check(connect(fd, (struct sockaddr *)&address, size) == 0);
	return fd;
}

/* Has it been answered? */
static bool is_answered(int fd)
{
	const size_t end = sizeof(ANSWER) - 1;
	char answer[1024];
	const ssize_t n = recv(fd, answer, sizeof(answer), MSG_DONTWAIT);

	if (n < 0 && errno == EAGAIN)
		return false;
	check(n > (ssize_t)end && memcmp(answer, "HTTP/1.1 200", 12) == 0);
	check(memcmp(answer + (size_t)n - end, ANSWER, end) == 0);
	return true;
}

static void ask(int fd, const struct way *way)
{
	const size_t size = strlen(way->request);

	check(send(fd, way->request, size, 0) == (ssize_t)size);
}

static void be_client(const struct way *way, unsigned times)
{
	int fds[CLIENTS_MAX];
	unsigned asked = 0;
	unsigned answered = 0;

	become(CLIENT);
	for (; asked < way->clients; asked++) {
		fds[asked] = connect_client();
		ask(fds[asked], way);
	}
	is_my_turn = true;
	while (answered < times) {
		check(let_others_run());
		for (unsigned i = 0; i < way->clients; i++) {
			if (!is_answered(fds[i]))
				continue;
			answered++;
			if (asked++ < times)
				ask(fds[i], way);
		}
	}
}

static void go(const struct way *way, unsigned times)
{
	struct link_fds fds;
	pid_t dispatcher;
	pid_t worker;
	int status;

	alarm(PATIENCE_S); /* the others end with us */
	set_up();
	check(link_create(&fds) == 0);
	dispatcher = start(DISPATCHER, channel_to(CONTROL_LINK_UP, &fds), dispatch);
	worker = start(WORKER, channel_to(CONTROL_LINK, &fds), work);
	be_client(way, times);
	/* The dispatcher sees that, and ends; then the worker sees that. */
	close(pipes[DISPATCHER][1]);
	while (wait(&status) > 0)
		check(status == 0);
	printf("%s, dispatcher %d\n", way->name, (int)dispatcher);
	if (!way->is_local)
		printf("%s, worker %d\n", way->name, (int)worker);
}

int main(int argc, char **argv)
{
	for (size_t i = 0; i < COUNT_OF(ways); i++) {
		if (argc < 3)
			puts(ways[i].name);
		else if (strcmp(ways[i].name, argv[1]) == 0)
			go(&ways[i], (unsigned)strtoul(argv[2], NULL, 10));
	}
	return 0;
}
