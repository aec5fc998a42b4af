/* SPDX-License-Identifier: MIT */
/*
 * What the system tests of hooks run: an application that uses each of them, and
 * says in its log what it was told. In the dispatcher too.
 */
#include <errno.h>
#include <jansson.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <crew/crew.h>

#define say(worker, ...) crew_log((worker), CREW_INFO, __VA_ARGS__)

struct state {
	int pair[2];            /* written to by handlers, watched by the worker */
	crew_ticket waiting;    /* a request that waits for what comes there */
	struct crew_timer *timer;
	unsigned fired;
	unsigned idle;
	unsigned configs;
	bool says_goodbye;
};

static struct state *state_of(struct crew_worker *worker)
{
	return crew_worker_state(worker);
}

static void pair_ready(struct crew_worker *worker, int fd, unsigned ready, void *context)
{
	struct state *state = context;
	struct crew_request *request = crew_claim(worker, state->waiting);
	char text[64];
	ssize_t n;

	if (ready & CREW_WRITE) {
		say(worker, "can write");
		crew_watch(worker, fd, CREW_READ, pair_ready, state);
		return;
	}
	n = read(fd, text, sizeof(text) - 1);
	text[n > 0 ? n : 0] = '\0';
	if (request)
		crew_finish(request, crew_text(request, 200, text));
}

static void hear_nothing(struct crew_worker *worker, const struct crew_answer *answer,
			 void *context)
{
	(void)worker;
	(void)answer;
	(void)context;
}

/* HOOKED_CALLS: more often than it is answered. */
static void call_slow(struct crew_worker *worker, void *context)
{
	static const struct crew_call call = { .target = "/slow" };

	(void)context;
	(void)crew_call(worker, &call, hear_nothing, NULL);
}

static int setup(struct crew_worker *worker)
{
	struct state *state = calloc(1, sizeof(*state));

	if (!state || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, state->pair) < 0)
		return 1;
	crew_set_state(worker, state);
	if (getenv("HOOKED_CALLS"))
		crew_every(worker, 50, call_slow, NULL);
	return crew_watch(worker, state->pair[1], CREW_READ | CREW_WRITE, pair_ready,
			  state) < 0;
}

static void teardown(struct crew_worker *worker)
{
	struct state *state = state_of(worker);

	say(worker, "torn down, %u configurations", state->configs);
	crew_unwatch(worker, state->pair[1]);
	crew_timer_stop(state->timer);
	close(state->pair[0]);
	close(state->pair[1]);
	free(state);
}

static void on_error(struct crew_request *request, int status, const char *text)
{
	say(crew_worker(request), "on_error %d %s: %s", status, crew_path(request), text);
}

static void on_config(struct crew_worker *worker, const struct json_t *config)
{
	const long long n = json_integer_value(json_object_get(config, "n"));

	state_of(worker)->configs++;
	say(worker, "on_config %lld", n);
}

static void on_idle(struct crew_worker *worker)
{
	if (++state_of(worker)->idle <= 3)
		say(worker, "on_idle %u", state_of(worker)->idle);
}

static void on_disconnect(struct crew_request *request)
{
	say(crew_worker(request), "on_disconnect %s %s", crew_path(request),
	    crew_data(request) ? (const char *)crew_data(request) : "");
}

static void called(struct crew_worker *worker, const struct crew_answer *answer,
		   void *context)
{
	char lines[200] = "";

	for (size_t i = 0; i < answer->headers_bytes && i + 1 < sizeof(lines); i++)
		lines[i] = answer->headers[i] < ' ' ? '|' : answer->headers[i];
	say(worker, "%s answered %d: %.*s", (const char *)context, answer->status,
	    (int)answer->body_bytes, (const char *)answer->body);
	say(worker, "%s said %s", (const char *)context, lines);
}

static void on_stop(struct crew_worker *worker)
{
	static const struct crew_call call = { .target = "/later/goodbye" };
	static char who[] = "the successor";
	struct crew_request *request = crew_claim(worker, state_of(worker)->waiting);

	say(worker, "on_stop");
	if (state_of(worker)->says_goodbye && crew_call(worker, &call, called, who) < 0)
		abort();
	if (request)
		crew_finish(request, crew_text(request, 200, "the worker leaves"));
}

/* Deferred until /write is asked. */
static crew_reply get_wait(struct crew_request *request)
{
	static char mark[] = "waiting";

	crew_set_data(request, mark);
	return crew_defer(request, &state_of(crew_worker(request))->waiting);
}

static crew_reply get_goodbye(struct crew_request *request)
{
	state_of(crew_worker(request))->says_goodbye = true;
	return crew_text(request, 200, "when it is time");
}

static crew_reply get_write(struct crew_request *request)
{
	const char *text = crew_query(request, "text");
	struct state *state = state_of(crew_worker(request));

	if (!text || write(state->pair[0], text, strlen(text)) < 0)
		return crew_error(request, 400, "what?");
	return crew_text(request, 200, "written");
}

static void tick(struct crew_worker *worker, void *context)
{
	struct state *state = context;

	if (++state->fired < 3)
		return;
	crew_timer_stop(state->timer);
	state->timer = NULL;
	say(worker, "ticked three times");
}

static crew_reply get_timer(struct crew_request *request)
{
	struct state *state = state_of(crew_worker(request));

	crew_timer_stop(state->timer);
	state->fired = 0;
	state->timer = crew_every(crew_worker(request), 20, tick, state);
	return crew_text(request, 200, state->timer ? "set" : "not set");
}

/* The answer is there before the handler returns that it comes later. */
static crew_reply get_early(struct crew_request *request)
{
	crew_reply deferred = crew_defer(request, NULL);

	crew_finish(request, crew_text(request, 200, "early"));
	return deferred;
}

static crew_reply get_subscribe(struct crew_request *request)
{
	crew_reply reply = crew_events(request, NULL);

	if (crew_subscribe(request, "numbered") < 0)
		abort();
	crew_send_event(request, &(struct crew_event){ .comment = "subscribed" });
	return reply;
}

/* First what happened before, which is more than goes at once. */
static crew_reply get_history(struct crew_request *request)
{
	static char data[512 * 1024];
	const crew_reply reply = crew_events(request, NULL);

	memset(data, 'a', sizeof(data));
	if (crew_subscribe(request, "numbered") < 0 ||
	    crew_send_event(request, &(struct crew_event){ .data = data,
							   .data_bytes = sizeof(data) }) < 0)
		abort();
	return reply;
}

/* Subscribed to so many topics. */
static crew_reply get_topics(struct crew_request *request)
{
	const crew_reply reply = crew_events(request, NULL);
	char name[32];

	for (int64_t i = 0; i < crew_path_int(request, "n"); i++) {
		snprintf(name, sizeof(name), "topic %d", (int)i);
		if (crew_subscribe(request, name) < 0)
			abort();
	}
	crew_send_event(request, &(struct crew_event){ .comment = "subscribed" });
	return reply;
}

/* A stream that leaves the first topic for the second when it is told to. */
static crew_reply get_switch(struct crew_request *request)
{
	const crew_reply reply =
		crew_events(request, &state_of(crew_worker(request))->waiting);

	if (crew_subscribe(request, "first") < 0)
		abort();
	crew_send_event(request, &(struct crew_event){ .comment = "subscribed" });
	return reply;
}

static crew_reply get_switch_now(struct crew_request *request)
{
	struct crew_worker *worker = crew_worker(request);
	struct crew_request *stream = crew_claim(worker, state_of(worker)->waiting);

	if (!stream || crew_unsubscribe(stream, "first") < 0 ||
	    crew_unsubscribe(stream, "never had") < 0 || crew_subscribe(stream, "second") < 0)
		abort();
	return crew_empty(request, 204);
}

static crew_reply get_tell(struct crew_request *request)
{
	const char *topic = crew_path_str(request, "topic");

	if (crew_publish(crew_worker(request), topic, &(struct crew_event){ .data = topic },
			 NULL, NULL) < 0)
		abort();
	return crew_empty(request, 202);
}

static void published(struct crew_worker *worker, unsigned streams, void *context)
{
	(void)worker;
	(void)streams;
	(void)context;
}

/* Is told much, and reads nothing of it for a while. */
static void be_deaf(struct crew_worker *worker, void *context)
{
	const struct crew_event event = { .data = "x", .data_bytes = 1 };

	(void)context;
	for (int i = 0; i < 300; i++)
		(void)crew_publish(worker, "nobody's", &event, published, NULL);
	usleep(1200000);
}

static crew_reply get_deaf(struct crew_request *request)
{
	crew_after(crew_worker(request), 30, be_deaf, NULL);
	return crew_text(request, 200, "soon");
}

/* Subscribed, and then no stream after all, but an answer of so many bytes. */
static crew_reply get_subscribe_bytes(struct crew_request *request)
{
	const size_t size = (size_t)crew_path_int(request, "n");
	char *bytes = crew_alloc(request, size);

	crew_events(request, NULL);
	if (!bytes || crew_subscribe(request, "numbered") < 0)
		abort();
	memset(bytes, 'b', size);
	return crew_bytes_nocopy(request, 200, "text/plain", bytes, size);
}

/* A stream that is given up, whose status allows no body. */
static crew_reply get_no_content(struct crew_request *request)
{
	crew_reply reply = crew_stream(request, 204, NULL, NULL);

	crew_abort(request);
	return reply;
}

/* What can be done wrong, each answered with 500 and told to on_error. */
static crew_reply get_wrong(struct crew_request *request)
{
	const char *how = crew_path_str(request, "how");
	crew_reply first;

	if (strcmp(how, "nothing") == 0)
		return (crew_reply){ 0 };
	if (strcmp(how, "log") == 0) {
		crew_log(crew_worker(request), CREW_ERROR, "to be taken");
		return crew_text(request, 200, "logged");
	}
	if (strcmp(how, "flood") == 0) {
		const struct crew_event event = { .data = "more and more" };
		int count = 0;
		int r;

		while ((r = crew_publish(crew_worker(request), "flood", &event, NULL,
					 NULL)) == 0 && count < 1000000)
			count++;
		/* So fast no dispatcher is: it is refused, or all went. */
		if (r != 0 && r != -EAGAIN)
			abort();
		crew_log(crew_worker(request), CREW_INFO, "flooded");
		return crew_json(request, 200, crew_int("published", count),
				 crew_bool("refused", r == -EAGAIN));
	}
	if (strcmp(how, "pass") == 0)
		return crew_pass(request);
	if (strcmp(how, "other") == 0) {
		first = crew_defer(request, NULL);
		crew_text(request, 200, "unsent");
		return first;
	}
	if (strcmp(how, "stream") == 0) {
		crew_stream(request, 200, "text/plain", NULL);
		crew_send(request, "begun\n", 6);
		return crew_text(request, 200, "something else");
	}
	if (strcmp(how, "abort") == 0) {
		first = crew_stream(request, 200, "text/plain", NULL);
		crew_send(request, "begun\n", 6);
		crew_abort(request);
		return first;
	}
	if (strcmp(how, "calls") == 0) {
		/* Of a request that is neither deferred nor a stream. */
		if (crew_send(request, "x", 1) != -EINVAL ||
		    crew_end(request) != -EINVAL || crew_abort(request) != -EINVAL ||
		    crew_subscribe(request, "t") != -EINVAL ||
		    crew_unsubscribe(request, "t") != -EINVAL ||
		    crew_wait_room(request, 1) != -EINVAL ||
		    crew_finish(request, crew_text(request, 200, "x")) != -EINVAL ||
		    crew_set_value(request, "a", "b") != -EINVAL ||
		    crew_ticket_of(request) != 0 ||
		    crew_claim(crew_worker(request), 0) ||
		    crew_claim(crew_worker(request), ~UINT64_C(0)) ||
		    crew_status_json(crew_worker(request)) ||
		    crew_unwatch(crew_worker(request), 12345) != -ENOENT ||
		    crew_watch(crew_worker(request), -1, CREW_READ, pair_ready, NULL) !=
			    -EINVAL)
			abort();
		return crew_text(request, 200, "refused");
	}
	return crew_error(request, 500, "on purpose");
}

/* All is said, which it does not know of HEAD, but the handler goes on. */
static crew_reply get_said(struct crew_request *request)
{
	static const char much[512 * 1024];
	const crew_reply reply = crew_stream(request, 200, "text/plain", NULL);

	crew_send(request, much, crew_query(request, "much") ? sizeof(much) : 5);
	if (strcmp(crew_method(request), "HEAD") != 0)
		crew_end(request);
	for (int i = 0; i < 30 && !crew_cancelled(request); i++)
		usleep(10000);
	return reply;
}

/* Streams its own name, which it read before, for as long as its client stays. */
static crew_reply get_own(struct crew_request *request)
{
	const char *name = crew_path_str(request, "name");
	const crew_reply reply = crew_stream(request, 200, "text/plain", NULL);

	while (!crew_cancelled(request) && crew_send(request, name, strlen(name)) != -EPIPE) {
		crew_beat(crew_worker(request));
		usleep(10000);
	}
	return reply;
}

static uint64_t resident_bytes(void)
{
	unsigned long long pages = 0;
	FILE *file = fopen("/proc/self/statm", "r");

	if (!file || fscanf(file, "%*u %llu", &pages) != 1)
		abort();
	fclose(file);
	return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* HOOKED_RSS_MIB: the limit of the pool. */
static uint64_t resident_max(void)
{
	const char *mib = getenv("HOOKED_RSS_MIB");

	return mib ? (uint64_t)strtoul(mib, NULL, 10) << 20 : 0;
}

/* Grows to so many percent of the limit, and goes on until there is a file HOOKED_GO. */
static crew_reply get_grow(struct crew_request *request)
{
	struct block {
		struct block *next;
		char data[1 << 20];
	};
	static struct block *_Atomic blocks; /* of all threads, and kept */
	const uint64_t wanted = resident_max() / 100 * (uint64_t)crew_path_int(request, "percent");

	while (resident_bytes() < wanted) {
		struct block *block = malloc(sizeof(*block));

		if (!block)
			abort();
		memset(block->data, 'x', sizeof(block->data));
		block->next = atomic_exchange(&blocks, block);
	}
	while (access(getenv("HOOKED_GO"), F_OK) < 0) {
		crew_keep_alive(request);
		usleep(10000);
	}
	return crew_text(request, 200, "grown");
}

/* As docs/handlers.md has it. */
static int start(char *const arguments[], pid_t *ret_pid)
{
	posix_spawnattr_t attributes;
	sigset_t none;
	sigset_t all;
	int r = posix_spawnattr_init(&attributes);

	if (r != 0)
		return -r;
	sigemptyset(&none);
	sigfillset(&all);
	posix_spawnattr_setsigmask(&attributes, &none);
	posix_spawnattr_setsigdefault(&attributes, &all);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	r = posix_spawnp(ret_pid, arguments[0], NULL, &attributes, arguments, environ);
	posix_spawnattr_destroy(&attributes);
	return -r;
}

/* A program that says which signals it cannot get. */
static crew_reply get_program(struct crew_request *request)
{
	static char grep[] = "grep", lines[] = "^Sig", file[] = "/proc/self/status";
	char *const arguments[] = { grep, lines, file, NULL };
	int status;
	pid_t pid;

	if (start(arguments, &pid) < 0 || waitpid(pid, &status, 0) != pid)
		return crew_error(request, 500, "no program");
	return crew_json(request, 200, crew_int("status", status));
}

static void send_later(struct crew_worker *worker, void *context)
{
	struct crew_request *request = crew_claim_context(worker, context);

	if (!request)
		return;
	if (strcmp(crew_path(request), "/later/stream") == 0) {
		crew_finish(request, crew_stream(request, 200, "text/plain", NULL));
		request = crew_claim_context(worker, context);
		if (!request || crew_send(request, "streamed", 8) < 0)
			abort();
		crew_end(request);
		return;
	}
	if (strcmp(crew_path(request), "/later/again") == 0) {
		/* Put off once more, and answered then. */
		if (crew_finish(request, crew_defer(request, NULL)) != -EINVAL)
			abort();
		request = crew_claim_context(worker, context);
	}
	crew_set_header(request, "X-Later", "yes");
	crew_finish(request, crew_text(request, 200, crew_path_str(request, "how")));
	if (crew_claim_context(worker, context))
		abort();
}

static crew_reply get_later(struct crew_request *request)
{
	crew_ticket ticket;
	crew_reply reply;

	crew_set_header(request, "X-Before", "yes");
	reply = crew_defer(request, &ticket);
	crew_after(crew_worker(request), 30, send_later, crew_ticket_context(ticket));
	return reply;
}

static const struct crew_app app = {
	.name = "hooked",
	.routes = (const struct crew_route[]){
		{ .on = "GET /wait", .run = get_wait },
		{ .on = "GET /write", .run = get_write },
		{ .on = "GET /goodbye", .run = get_goodbye },
		{ .on = "GET /timer", .run = get_timer },
		{ .on = "GET /early", .run = get_early },
		{ .on = "GET /said", .run = get_said },
		{ .on = "GET /own/{name}", .run = get_own },
		{ .on = "GET /grow/{percent:int}", .run = get_grow },
		{ .on = "GET /program", .run = get_program },
		{ .on = "GET /history", .run = get_history },
		{ .on = "GET /topics/{n:int}", .run = get_topics },
		{ .on = "GET /switch", .run = get_switch },
		{ .on = "GET /switch/now", .run = get_switch_now },
		{ .on = "GET /tell/{topic}", .run = get_tell },
		{ .on = "GET /deaf", .run = get_deaf },
		{ .on = "GET /subscribe", .run = get_subscribe },
		{ .on = "GET /subscribe/{n:int}", .run = get_subscribe_bytes },
		{ .on = "GET /no-content", .run = get_no_content },
		{ .on = "GET /wrong/{how}", .run = get_wrong },
		{ .on = "GET /later/{how}", .run = get_later },
		{ 0 },
	},
	.setup = setup,
	.teardown = teardown,
	.on_error = on_error,
	.on_config = on_config,
	.on_idle = on_idle,
	.on_disconnect = on_disconnect,
	.on_stop = on_stop,
};

static crew_reply get_slow(struct crew_request *request)
{
	usleep(200000);
	return crew_text(request, 200, "at last");
}

static const struct crew_app slow = {
	.name = "slow",
	.routes = (const struct crew_route[]){ { .on = "GET /slow", .run = get_slow }, { 0 } },
};

/* ---- in the dispatcher ---- */

static int idle_seen;
static int local_pipe[2];

static void pipe_ready(struct crew_worker *dispatcher, int fd, unsigned ready, void *context)
{
	char text[32];
	ssize_t n = read(fd, text, sizeof(text) - 1);

	(void)ready;
	(void)context;
	text[n > 0 ? n : 0] = '\0';
	say(dispatcher, "the pipe says %s", text);
}

static void once(struct crew_worker *dispatcher, void *context)
{
	static const struct crew_call call = { .pool = "hooked", .target = "/later/called" };
	static const struct crew_call lost = { .target = "/nowhere" };
	static char pool[] = "the pool";
	static char nobody[] = "nobody";

	(void)context;
	say(dispatcher, "a timer of the dispatcher");
	if (write(local_pipe[1], "hello", 5) != 5 ||
	    crew_call(dispatcher, &call, called, pool) < 0 ||
	    crew_call(dispatcher, &lost, called, nobody) < 0 ||
	    crew_call(dispatcher, &call, NULL, NULL) < 0)
		say(dispatcher, "something failed");
}

static unsigned calls_made;
static unsigned calls_answered;

static void count_answer(struct crew_worker *dispatcher, const struct crew_answer *answer,
			 void *context)
{
	(void)dispatcher;
	(void)answer;
	(void)context;
	calls_answered++;
}

/* HOOKED_CALLS: as call_slow(). */
static void call_and_count(struct crew_worker *dispatcher, void *context)
{
	static const struct crew_call call = { .target = "/slow" };

	(void)context;
	calls_made += crew_call(dispatcher, &call, count_answer, NULL) == 0;
}

static int on_start(struct crew_worker *dispatcher)
{
	if (getenv("HOOKED_CALLS"))
		crew_every(dispatcher, 50, call_and_count, NULL);
	if (pipe(local_pipe) < 0 ||
	    crew_watch(dispatcher, local_pipe[0], CREW_READ, pipe_ready, NULL) < 0 ||
	    !crew_after(dispatcher, 200, once, NULL))
		return 1;
	say(dispatcher, "the dispatcher has started");
	return 0;
}

static void dispatcher_idle(struct crew_worker *dispatcher)
{
	if (++idle_seen <= 2)
		say(dispatcher, "the dispatcher is idle");
}

static void dispatcher_stops(struct crew_worker *dispatcher)
{
	static const struct crew_call call = { .target = "/early" };
	const struct crew_event event = { .data = "too late" };

	say(dispatcher, "the dispatcher stops: %s, %s",
	    strerror(-crew_call(dispatcher, &call, NULL, NULL)),
	    strerror(-crew_publish(dispatcher, "last", &event, NULL, NULL)));
	if (calls_made > 0)
		say(dispatcher, "of the calls %s were answered",
		    calls_answered == calls_made ? "all" : "not all");
}

/* HOOKED_OVER: what comes of calls and events where a request was given up. */
static void given_up(struct crew_worker *dispatcher, const struct crew_response *response)
{
	static const struct crew_call call = { .target = "/early" };
	const struct crew_event event = { .data = "too late" };

	if (!response->whole)
		say(dispatcher, "%s is given up: %s, %s", response->path,
		    strerror(-crew_call(dispatcher, &call, NULL, NULL)),
		    strerror(-crew_publish(dispatcher, "last", &event, NULL, NULL)));
}

static void worker_ended(struct crew_worker *dispatcher, const char *pool, unsigned index,
			 enum crew_cause cause)
{
	say(dispatcher, "the dispatcher knows that %s[%u] has ended: %s", pool, index,
	    crew_cause_name(cause));
}

static crew_reply local_config(struct crew_request *request)
{
	char text[32];

	snprintf(text, sizeof(text), "{\"n\":%" PRId64 "}", crew_path_int(request, "n"));
	if (crew_pool_config(crew_worker(request), "hooked", text, NULL) < 0 ||
	    crew_pool_config(crew_worker(request), "nobody", text, NULL) != -ENOENT)
		return crew_error(request, 500, "not sent");
	return crew_text(request, 200, "sent");
}

static crew_reply dispatcher_check(struct crew_request *request)
{
	crew_set_value(request, "seen", "yes");
	return crew_pass(request);
}

/* Calls from inside of a handler: its own memory must not be theirs. */
static crew_reply local_call(struct crew_request *request)
{
	static const struct crew_call call = { .target = "/later/called" };
	char *memory = crew_alloc(request, 1000);
	const char *path = crew_path(request);

	memset(memory, 'm', 1000);
	for (int i = 0; i < 20; i++)
		crew_call(crew_worker(request), &call, NULL, NULL);
	for (int i = 0; i < 1000; i++) {
		if (memory[i] != 'm')
			abort();
	}
	return crew_text(request, 200, path);
}

/* A call that may take so many milliseconds, and no longer. */
static crew_reply local_call_within(struct crew_request *request)
{
	static char who[] = "the hurried one";
	const struct crew_call call = { .target = "/later/called",
					.timeout_ms = (unsigned)crew_path_int(request, "ms") };

	crew_call(crew_worker(request), &call, called, who);
	return crew_text(request, 200, "called");
}

static crew_reply local_status(struct crew_request *request)
{
	char *text = crew_status_json(crew_worker(request));
	crew_reply reply = crew_bytes(request, 200, "application/json", text, strlen(text));

	free(text);
	return reply;
}

/* Which of several it is, and how many events it took. */
static crew_reply local_publish(struct crew_request *request)
{
	const struct crew_event event = { .data = "one of many" };
	const int64_t wanted = crew_path_int(request, "n");
	int64_t taken = 0;

	while (taken < wanted &&
	       crew_publish(crew_worker(request), "many", &event, NULL, NULL) == 0)
		taken++;
	return crew_json(request, 200, crew_int("taken", taken),
			 crew_int("dispatcher", (int64_t)(crew_request_id(request) >> 49)),
			 crew_int("index", crew_worker_index(crew_worker(request))));
}

/* Each event has the next number, and so many bytes. */
static crew_reply local_numbered(struct crew_request *request)
{
	static unsigned number;
	static char data[65536];
	char id[16];
	const struct crew_event event = { .data = data,
					  .data_bytes = (size_t)crew_path_int(request, "n"),
					  .id = id };

	memset(data, 'x', sizeof(data));
	snprintf(id, sizeof(id), "%u", ++number);
	if (event.data_bytes > sizeof(data) ||
	    crew_publish(crew_worker(request), "numbered", &event, NULL, NULL) < 0)
		abort();
	return crew_text(request, 200, "published");
}

/* Holds up the dispatcher, which no handler should. */
static crew_reply local_nap(struct crew_request *request)
{
	usleep(300000);
	return crew_text(request, 200, "awake");
}

/* Has the dispatcher's loop fail: nothing can be waited for any more. */
static crew_reply local_break(struct crew_request *request)
{
	char path[32];
	char name[32];

	for (int fd = 0; fd < 256; fd++) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		memset(name, 0, sizeof(name));
		if (readlink(path, name, sizeof(name) - 1) > 0 && strstr(name, "eventpoll"))
			dup2(local_pipe[0], fd);
	}
	return crew_text(request, 200, "broken");
}

/* What only workers can do. */
static crew_reply local_wrong(struct crew_request *request)
{
	if (crew_cancelled(request) || crew_ticket_of(request) ||
	    crew_streams(crew_worker(request)) || crew_pool_streams(crew_worker(request)) ||
	    crew_paused(crew_worker(request)))
		abort();
	crew_keep_alive(request);
	crew_pause(crew_worker(request));
	return crew_defer(request, NULL);
}

/* ---- in the parent ---- */

static unsigned lines_seen;

/* HOOKED_TAKE: lines with "taken" are ours, all others are written. */
static bool take_line(void *context, const struct crew_log_line *line)
{
	lines_seen++;
	if (context != &lines_seen || strlen(line->message) != line->message_bytes)
		abort();
	if (!strstr(line->message, "taken"))
		return false;
	printf("%s|%d|%s|%s|%s\n", line->level_name, (int)line->level, line->origin,
	       line->pid > 0 && line->time_ms > 1500000000000 ? "pid and time" : "nothing",
	       line->message);
	fflush(stdout);
	return true;
}

int main(int argc, char **argv)
{
	return crew_main(argc, argv, &(struct crew_server){
		.on_log = getenv("HOOKED_TAKE") ? take_line : NULL,
		.on_log_context = &lines_seen,
		.local = (const struct crew_route[]){
			{ .on = "GET /local/config/{n:int}", .run = local_config },
			{ .on = "GET /local/wrong", .run = local_wrong },
			{ .on = "GET /local/call", .run = local_call },
			{ .on = "GET /local/call/{ms:int}", .run = local_call_within },
			{ .on = "GET /local/publish/{n:int}", .run = local_publish },
			{ .on = "GET /local/numbered/{n:int}", .run = local_numbered },
			{ .on = "GET /local/break", .run = local_break },
			{ .on = "GET /local/nap", .run = local_nap },
			{ .on = "GET /local/status", .run = local_status },
			{ 0 },
		},
		.hooks = {
			.check = dispatcher_check,
			.on_start = on_start,
			.on_response = getenv("HOOKED_OVER") ? given_up : NULL,
			.on_idle = dispatcher_idle,
			.on_stop = dispatcher_stops,
			.on_worker_exit = worker_ended,
		},
		.pools = { { .app = &app, .idle_interval_ms = 100, .workers = 1,
			     .max_rss_bytes = resident_max() },
			   { .app = getenv("HOOKED_CALLS") ? &slow : NULL, .workers = 8,
			     .prefix = (const char *const[]){ "/slow", NULL } } },
		.shutdown_timeout_ms = getenv("HOOKED_CALLS") ? CREW_NEVER : 0,
	});
}
