/* SPDX-License-Identifier: MIT */
/* A real worker process, and this test as its parent and its dispatcher: over
 * a real channel and a real link. */
#include <errno.h>
#include <malloc.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/os/os.h"
#include "handler/encode.h"
#include "supervise/supervise.h"
#include "transport/control.h"
#include "transport/link.h"
#include "transport/message.h"
#include "worker/worker.h"

#define BIG_BYTES (3u * 1024u * 1024u + 7u)
#define PATIENCE_MS 5000u

/* What the worker and the test both see. */
struct shared {
	struct score score;
	_Atomic unsigned ran;
	_Atomic unsigned torn_down;
	_Atomic unsigned gate; /* wait_at_gate waits until it is open */
	_Atomic unsigned at_gate;
	_Atomic unsigned idle;
	_Atomic unsigned told; /* by on_disconnect */
	_Atomic unsigned rests; /* idle_at_gate waits at the gate */
	_Atomic unsigned waits;
	_Atomic int result;
	_Atomic unsigned cancelled;
};

static struct shared *shared;
static struct scoreboard board; /* its first line is the dispatcher's, whose pid is ours */
static int channel;
static pid_t pid;
static struct link link_;
static uint32_t generations[LINK_SLOTS];
static unsigned request_timeout_ms; /* of the next worker's pool */
static uint32_t blocks[LINK_SLOTS]; /* offset of the request in each slot */
static unsigned char big[BIG_BYTES];
static unsigned char received[BIG_BYTES];

/* ---- the application ---- */

enum { HELLO, BIG, ECHO, WAIT, HEAD, STREAM, ROOM, PUBLISH, PAUSE, DEFER,
       EVENTS, PARTS, ENDED, FAIL, RESET, MANY, UNTIL_OVER, LATER, TALK, LOOK,
       LOYAL, DEFERRED, COUNT, ENDLESS, HUGE, CALL, LOOK_ON, IN_VAIN, POOR,
       GREEDY, HISTORY, MEMORY, KEPT };

static crew_reply hello(struct crew_request *request)
{
	atomic_fetch_add(&shared->ran, 1);
	return crew_json(request, 200,
			 crew_int("id", (int64_t)crew_request_id(request)));
}

static crew_reply big_answer(struct crew_request *request)
{
	return crew_bytes_nocopy(request, 200, "x/big", big, sizeof(big));
}

static crew_reply echo(struct crew_request *request)
{
	size_t size;
	const void *body = crew_body(request, &size);

	return crew_bytes(request, 200, NULL, body, size);
}

static crew_reply wait_at_gate(struct crew_request *request)
{
	while (!atomic_load(&shared->gate))
		poll(NULL, 0, 1);
	return crew_text(request, 200, "open");
}

/* Header lines as long as they may be together, and a body as long as the request's id. */
static crew_reply large_head(struct crew_request *request)
{
	crew_reply reply = crew_bytes_nocopy(request, 200, "x/y", big,
					     (size_t)crew_request_id(request));
	size_t left = WIRE_HEADERS_MAX_BYTES - strlen("Content-Type: x/y\r\n");
	char value[1024];

	while (left > 0) {
		const size_t size = left < sizeof(value) ? left : sizeof(value) / 2;

		memset(value, 'v', size);
		value[size - strlen("x: \r\n")] = '\0';
		assert_int_equal(crew_set_header(request, "x", value), 0);
		left -= size;
	}
	return reply;
}

/* It goes on after it has begun its answer. */
static crew_reply stream_at_gate(struct crew_request *request)
{
	const crew_reply reply = crew_stream(request, 200, "text/plain", NULL);

	crew_send(request, "begun", 5);
	atomic_store(&shared->at_gate, 1);
	while (!atomic_load(&shared->gate))
		poll(NULL, 0, 1);
	return reply;
}

/* The loop of later.h, with a piece that finds room only where nothing waits. */
static crew_reply send_large_pieces(struct crew_request *request)
{
	const crew_reply reply = crew_stream(request, 200, "x/y", NULL);
	int r;

	crew_send(request, big, LINK_CREDIT_BYTES + 1000);
	while ((r = crew_send(request, big, CREW_SEND_ROOM_BYTES)) == -EAGAIN &&
	       atomic_fetch_add(&shared->waits, 1) < 100) {
		r = crew_wait_room(request, 200);
		if (r < 0)
			break;
	}
	atomic_store(&shared->result, r);
	crew_end(request);
	return reply;
}

/* A stream that others go on with, who may look for it at once. */
static crew_reply begin_events(struct crew_request *request)
{
	crew_ticket ticket;
	const crew_reply reply = crew_events(request, &ticket);
	const bool found = crew_claim(crew_worker(request), ticket) == request;

	atomic_store(&shared->result, found ? 1 : -1);
	return reply;
}

/* In its own handler, too, it is over when it has ended. */
static crew_reply end_events(struct crew_request *request)
{
	crew_ticket ticket;
	const crew_reply reply = crew_events(request, &ticket);

	crew_end(request);
	atomic_store(&shared->result, crew_claim(crew_worker(request), ticket) ? 1 : -1);
	return reply;
}

static crew_reply begin_parts(struct crew_request *request)
{
	const crew_reply reply = crew_multipart(request, NULL);

	assert_int_equal(crew_send_part(request, NULL, "part", 4), 0);
	return reply;
}

/* More than has credit. */
static crew_reply begin_many(struct crew_request *request)
{
	static char data[LINK_CREDIT_BYTES + 1000];
	const struct crew_event event = { .data = data, .data_bytes = sizeof(data) };
	const crew_reply reply = crew_events(request, NULL);

	memset(data, 'x', sizeof(data));
	assert_int_equal(crew_send_event(request, &event), 0);
	return reply;
}

/* It may have been told to stop before it sends the first, and says so or sends all that it has. */
static crew_reply count_at_gate(struct crew_request *request)
{
	const struct crew_event event = { .data = "one of some" };
	const crew_reply reply = crew_events(request, NULL);
	int r = 0;

	atomic_store(&shared->at_gate, 1);
	while (!atomic_load(&shared->gate))
		poll(NULL, 0, 1);
	for (unsigned i = 0; i < 10 && r == 0; i++)
		r = crew_send_event(request, &event);
	atomic_store(&shared->result, r);
	crew_end(request);
	return r == 0 ? reply : crew_error(request, 400, "it was not sent");
}

/* The other loop of later.h. */
static crew_reply send_until_over(struct crew_request *request)
{
	const struct crew_event event = { .data = "again" };
	const crew_reply reply = crew_events(request, NULL);
	int r;

	while ((r = crew_send_event(request, &event)) == 0 &&
	       atomic_load(&shared->waits) < PATIENCE_MS) {
		atomic_fetch_add(&shared->waits, 1);
		poll(NULL, 0, 1);
	}
	if (r == -EPIPE)
		r = crew_wait_room(request, 1);
	atomic_store(&shared->result, r);
	return reply;
}

/* It has nothing more to send for now, and looks only whether it is to go on. */
static crew_reply look_until_over(struct crew_request *request)
{
	const struct crew_event event = { .data = "the only one" };
	const crew_reply reply = crew_events(request, NULL);

	crew_send_event(request, &event);
	while (!crew_cancelled(request))
		poll(NULL, 0, 1);
	atomic_store(&shared->result, crew_send_event(request, &event));
	return reply;
}

static void stream_later(struct crew_worker *worker, void *context)
{
	struct crew_request *request = crew_claim_context(worker, context);

	crew_finish(request, crew_stream(request, 200, "x/y", NULL));
	atomic_store(&shared->result, crew_claim_context(worker, context) != NULL);
}

static crew_reply begin_later(struct crew_request *request)
{
	crew_ticket ticket;
	const crew_reply reply = crew_defer(request, &ticket);

	crew_after(crew_worker(request), 1, stream_later, crew_ticket_context(ticket));
	return reply;
}

/* More than the ring holds. */
static crew_reply publish_much(struct crew_request *request)
{
	const struct crew_event event = { .data = "news" };

	for (unsigned i = 0; i < 4 * LINK_RING_ENTRIES; i++)
		assert_int_equal(crew_publish(crew_worker(request), "topic", &event, NULL,
					      NULL), 0);
	return crew_text(request, 200, "published");
}

/* It publishes more than the ring holds, and goes on for long: it looks only whether anybody
 * still waits for it, or, where its id is odd, publishes on. */
static crew_reply talk_at_gate(struct crew_request *request)
{
	const struct crew_event event = { .data = "news" };

	publish_much(request);
	atomic_store(&shared->at_gate, 1);
	while (!atomic_load(&shared->gate)) {
		if (crew_request_id(request) % 2 == 0)
			crew_cancelled(request);
		else
			(void)crew_publish(crew_worker(request), "topic", &event, NULL, NULL);
		poll(NULL, 0, 1);
	}
	return crew_text(request, 200, "said");
}

/* For longer than requests are run without another look around. */
static crew_reply look_at_gate(struct crew_request *request)
{
	atomic_store(&shared->at_gate, 1);
	while (!atomic_load(&shared->gate))
		poll(NULL, 0, 1);
	poll(NULL, 0, 30);
	crew_cancelled(request);
	return crew_text(request, 200, "seen");
}

/* As long as there is anybody to send to. */
static crew_reply send_for_ever(struct crew_request *request)
{
	const crew_reply reply = crew_stream(request, 200, "x/y", NULL);
	int r = 0;

	while (r == 0 || r == -EAGAIN) {
		r = crew_send(request, big, CREW_SEND_ROOM_BYTES);
		atomic_store(&shared->at_gate, 1);
		if (r == -EAGAIN && crew_request_id(request) % 2 == 0)
			poll(NULL, 0, 1);
		else if (r == -EAGAIN)
			(void)crew_wait_room(request, 1);
	}
	atomic_store(&shared->cancelled, crew_cancelled(request));
	atomic_store(&shared->result, r);
	return reply;
}

/* What lies in the link is taken in before it rests. */
static crew_reply pause_at_gate(struct crew_request *request)
{
	atomic_store(&shared->at_gate, 1);
	while (!atomic_load(&shared->gate))
		poll(NULL, 0, 1);
	crew_cancelled(request);
	crew_pause(crew_worker(request));
	return crew_text(request, 200, "paused");
}

static void count_idle(struct crew_worker *worker)
{
	(void)worker;
	atomic_fetch_add(&shared->idle, 1);
}

static void idle_at_gate(struct crew_worker *worker)
{
	(void)worker;
	if (!atomic_load(&shared->rests))
		return;
	atomic_store(&shared->at_gate, 1);
	while (!atomic_load(&shared->gate))
		poll(NULL, 0, 1);
}

/* That its client has gone it learns itself, and answers all the same. */
static void finish_in_vain(struct crew_worker *worker, void *context)
{
	struct crew_request *request = crew_claim_context(worker, context);

	atomic_store(&shared->at_gate, 1);
	while (!crew_cancelled(request))
		poll(NULL, 0, 1);
	atomic_store(&shared->result,
		     crew_finish(request, crew_bytes_nocopy(request, 200, "x/y", big,
							    sizeof(big))));
}

/* The same before it has returned that its answer comes later. */
static crew_reply finish_early_in_vain(struct crew_request *request)
{
	const crew_reply reply = crew_defer(request, NULL);

	atomic_store(&shared->at_gate, 1);
	while (!crew_cancelled(request))
		poll(NULL, 0, 1);
	atomic_store(&shared->result, crew_finish(request, crew_text(request, 205, "x")));
	return reply;
}

static crew_reply defer(struct crew_request *request)
{
	crew_ticket ticket;
	const crew_reply reply = crew_defer(request, &ticket);

	crew_after(crew_worker(request), 1, finish_in_vain, crew_ticket_context(ticket));
	return reply;
}

static crew_reply fail_on_purpose(struct crew_request *request)
{
	return crew_error(request, 500, "on purpose");
}

/* None of that is for here. */
static void answer_later(struct crew_request *request, int status, const char *text)
{
	crew_ticket tickets[] = { 1, 2, 3, 4 };

	(void)status;
	(void)text;
	crew_defer(request, &tickets[0]);
	crew_events(request, &tickets[1]);
	crew_multipart(request, &tickets[2]);
	crew_stream(request, 200, "x/y", &tickets[3]);
	atomic_store(&shared->result, (tickets[0] | tickets[1] | tickets[2] | tickets[3]) == 0 &&
					      crew_send(request, "x", 1) == -EINVAL &&
					      crew_finish(request, crew_text(request, 200, "")) ==
						      -EINVAL &&
					      crew_ticket_of(request) == 0);
}

static void keep_alive(struct crew_worker *worker, void *context)
{
	struct crew_request *request = crew_claim_context(worker, context);

	if (atomic_load(&shared->gate)) {
		crew_finish(request, crew_text(request, 200, "kept"));
		return;
	}
	crew_keep_alive(request);
	crew_after(worker, 10, keep_alive, context);
}

static crew_reply keep_until_gate(struct crew_request *request)
{
	crew_ticket ticket;
	const crew_reply reply = crew_defer(request, &ticket);

	keep_alive(crew_worker(request), crew_ticket_context(ticket));
	return reply;
}

/* As who passes on the -1 of a read that failed. */
static crew_reply send_endless(struct crew_request *request)
{
	const struct crew_event event = { .data = "short", .data_bytes = (size_t)-1 };
	struct crew_worker *worker = crew_worker(request);
	const crew_reply reply = crew_multipart(request, NULL);

	atomic_store(&shared->result,
		     crew_send_part(request, NULL, "short", (size_t)-1) == -EMSGSIZE &&
			     crew_send_event(request, &event) == -EMSGSIZE &&
			     crew_publish(worker, "topic", &event, NULL, NULL) == -EMSGSIZE);
	crew_end(request);
	return reply;
}

static crew_reply huge_answer(struct crew_request *request)
{
	return crew_bytes_nocopy(request, 200, "x/y", big, (size_t)-1);
}

/* Of all answers; and one that is not had before the worker stops is followed by another call. */
static void add_status(struct crew_worker *worker, const struct crew_answer *answer,
		       void *context)
{
	static const struct crew_call call = { .target = "/again" };

	(void)context;
	atomic_fetch_add(&shared->result, answer->status);
	if (answer->status == 201)
		crew_call(worker, &call, add_status, NULL);
}

static void call_once(struct crew_worker *worker)
{
	static const struct crew_call call = { .target = "/other" };

	assert_int_equal(crew_call(worker, &call, add_status, NULL), 0);
}

/* More than the ring holds, to whoever is there. */
static void publish_last(struct crew_worker *worker)
{
	const struct crew_event event = { .data = "the last" };
	int r = 0;

	for (unsigned i = 0; i < 4 * LINK_RING_ENTRIES; i++)
		r = crew_publish(worker, "topic", &event, NULL, NULL);
	atomic_store(&shared->result, r);
}

static crew_reply call_others(struct crew_request *request)
{
	call_once(crew_worker(request));
	return crew_text(request, 200, "called");
}

/* Less than the answer is. */
static crew_reply call_with_little_memory(struct crew_request *request)
{
	assert_int_equal(setrlimit(RLIMIT_AS, &(struct rlimit){ 1u << 30, RLIM_INFINITY }), 0);
	return call_others(request);
}

static crew_reply use_up_memory(struct crew_request *request)
{
	const crew_reply reply = crew_text(request, 200, "all of it");

	assert_int_equal(setrlimit(RLIMIT_AS, &(struct rlimit){ 1, RLIM_INFINITY }), 0);
	for (size_t size = 1u << 20; size >= 16; size /= 2) {
		while (malloc(size))
			;
	}
	return reply;
}

/* Which goes at once. */
static crew_reply begin_with_much(struct crew_request *request)
{
	static char data[40 * 1024];
	const struct crew_event event = { .data = data, .data_bytes = sizeof(data) };
	const crew_reply reply = crew_events(request, NULL);

	memset(data, 'x', sizeof(data));
	assert_int_equal(crew_send_event(request, &event), 0);
	return reply;
}

/* What is in use, in KiB. */
static crew_reply tell_memory(struct crew_request *request)
{
	const struct mallinfo2 info = mallinfo2();

	atomic_store(&shared->result, (int)((info.uordblks + info.hblkhd) / 1024));
	return crew_text(request, 200, "told");
}

static crew_reply stream_205(struct crew_request *request)
{
	crew_ticket ticket = 1;
	const crew_reply reply = crew_stream(request, 205, "x/y", &ticket);

	atomic_store(&shared->told, ticket == 0);
	return reply;
}

/* When the gate is open. */
static void finish_with_events(struct crew_worker *worker, void *context)
{
	struct crew_request *request = crew_claim_context(worker, context);

	if (atomic_load(&shared->gate))
		crew_finish(request, crew_events(request, NULL));
	else
		crew_after(worker, 1, finish_with_events, context);
}

static crew_reply defer_events(struct crew_request *request)
{
	crew_ticket ticket;
	const crew_reply reply = crew_defer(request, &ticket);

	crew_after(crew_worker(request), 1, finish_with_events, crew_ticket_context(ticket));
	return reply;
}

static void count_told(struct crew_request *request)
{
	(void)request;
	atomic_fetch_add(&shared->told, 1);
}

static void count_teardown(struct crew_worker *worker)
{
	(void)worker;
	atomic_fetch_add(&shared->torn_down, 1);
}

static int fail_setup(struct crew_worker *worker)
{
	(void)worker;
	return 9;
}

static int pause_in_setup(struct crew_worker *worker)
{
	crew_pause(worker);
	return 0;
}

static int pause_and_resume(struct crew_worker *worker)
{
	crew_pause(worker);
	crew_resume(worker);
	return 0;
}

static const struct crew_route routes[] = {
	[HELLO] = { .on = "GET /hello", .run = hello },
	[BIG] = { .on = "GET /big", .run = big_answer },
	[ECHO] = { .on = "POST /echo", .run = echo },
	[WAIT] = { .on = "GET /wait", .run = wait_at_gate },
	[HEAD] = { .on = "GET /head", .run = large_head },
	[STREAM] = { .on = "GET /stream", .run = stream_at_gate },
	[ROOM] = { .on = "GET /room", .run = send_large_pieces },
	[PUBLISH] = { .on = "GET /publish", .run = publish_much },
	[PAUSE] = { .on = "GET /pause", .run = pause_at_gate },
	[DEFER] = { .on = "GET /defer", .run = defer },
	[EVENTS] = { .on = "GET /events", .run = begin_events },
	[PARTS] = { .on = "GET /parts", .run = begin_parts },
	[ENDED] = { .on = "GET /ended", .run = end_events },
	[FAIL] = { .on = "GET /fail", .run = fail_on_purpose },
	[RESET] = { .on = "GET /reset", .run = stream_205 },
	[MANY] = { .on = "GET /many", .run = begin_many },
	[UNTIL_OVER] = { .on = "GET /until-over", .run = send_until_over },
	[LATER] = { .on = "GET /later", .run = begin_later },
	[TALK] = { .on = "GET /talk", .run = talk_at_gate },
	[LOOK] = { .on = "GET /look", .run = look_at_gate },
	[LOYAL] = { .on = "GET /loyal", .run = send_for_ever },
	[DEFERRED] = { .on = "GET /deferred", .run = defer_events },
	[COUNT] = { .on = "GET /count", .run = count_at_gate },
	[ENDLESS] = { .on = "GET /endless", .run = send_endless },
	[HUGE] = { .on = "GET /huge", .run = huge_answer },
	[CALL] = { .on = "GET /call", .run = call_others },
	[LOOK_ON] = { .on = "GET /look-on", .run = look_until_over },
	[IN_VAIN] = { .on = "GET /in-vain", .run = finish_early_in_vain },
	[POOR] = { .on = "GET /poor", .run = call_with_little_memory },
	[GREEDY] = { .on = "GET /greedy", .run = use_up_memory },
	[HISTORY] = { .on = "GET /history", .run = begin_with_much },
	[MEMORY] = { .on = "GET /memory", .run = tell_memory },
	[KEPT] = { .on = "GET /kept", .run = keep_until_gate },
	{ 0 },
};
static const struct crew_app app = { .name = "test", .routes = routes,
				     .teardown = count_teardown,
				     .on_error = answer_later,
				     .on_disconnect = count_told };
static const struct crew_app idling = { .name = "idling", .routes = routes,
					.on_idle = count_idle };
static const struct crew_app resting = { .name = "resting", .routes = routes,
					 .on_disconnect = count_told,
					 .on_idle = idle_at_gate };
static const struct crew_app broken = { .name = "broken", .routes = routes,
					.setup = fail_setup };
static const struct crew_app paused = { .name = "paused", .routes = routes,
					.setup = pause_in_setup };
static const struct crew_app resumed = { .name = "resumed", .routes = routes,
					 .setup = pause_and_resume };

static const struct crew_app leaving = { .name = "leaving", .routes = routes,
					 .on_stop = call_once };
static const struct crew_app talking = { .name = "talking", .routes = routes,
					 .teardown = count_teardown,
					 .on_stop = publish_last };

/* ---- the parent ---- */

static void give_link(void)
{
	const struct control control = { .kind = CONTROL_LINK, .pid = getpid() };
	struct link_fds fds;

	assert_int_equal(link_create(&fds), 0);
	assert_int_equal(os_channel_send(channel, &control, sizeof(control),
					 (int[]){ fds.memory, fds.bell[0],
						  fds.bell[1] }, 3), 0);
	assert_int_equal(link_open(&link_, LINK_DISPATCHER, &fds), 0);
	memset(generations, 0, sizeof(generations));
}

static int be_worker(int end, const struct crew_app *of)
{
	const struct crew_pool pool = { .app = of,
					.idle_interval_ms = of->on_idle == idle_at_gate ? 1000 : 20,
					.request_timeout_ms = request_timeout_ms };
	const struct worker_options options = { .pool = &pool,
						.pool_name = of->name };
	struct crew_child self = {
		.group = of->name, .generation = 1, .channel = end,
		.parent = getppid(), .score = &shared->score, .board = &board,
	};

	score_set_state(self.score, CREW_CHILD_STARTING);
	assert_int_equal(self_block_signals(&self), 0);
	return worker_main(&self, &options);
}

static void start(const struct crew_app *of)
{
	int ends[2];

	memset(shared, 0, sizeof(*shared));
	atomic_store(&scoreboard_line(&board, 0)->state, CREW_CHILD_READY);
	atomic_store(&board.head->owners[0].pid, getpid());
	assert_int_equal(os_channel_create(ends), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		close(ends[0]);
		_exit(be_worker(ends[1], of));
	}
	close(ends[1]);
	channel = ends[0];
}

static int start_app(void **state)
{
	(void)state;
	start(&app);
	give_link();
	return 0;
}

/* Wait for the process to end by itself; its exit code. */
static int exit_code(void)
{
	int status = 0;

	for (unsigned ms = 0; ms < PATIENCE_MS; ms++) {
		if (waitpid(pid, &status, WNOHANG) == pid) {
			pid = 0;
			assert_true(WIFEXITED(status));
			return WEXITSTATUS(status);
		}
		poll(NULL, 0, 1);
	}
	fail_msg("the worker did not end");
	return -1;
}

static int stop(void **state)
{
	(void)state;
	if (pid > 0) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		pid = 0;
	}
	if (channel >= 0)
		close(channel);
	channel = -1;
	link_fini(&link_);
	memset(&link_, 0, sizeof(link_));
	return 0;
}

static void wait_until(_Atomic uint32_t *word, uint32_t value)
{
	for (unsigned ms = 0; ms < PATIENCE_MS; ms++) {
		if (atomic_load(word) == value)
			return;
		poll(NULL, 0, 1);
	}
	fail_msg("waited in vain for a state of %u", value);
}

/* The worker says that it is. */
static void wait_until_ready(void)
{
	struct pollfd news = { .fd = channel, .events = POLLIN };
	int fds[OS_CHANNEL_FDS_MAX];
	char word[16] = "";
	size_t fd_count;

	assert_int_equal(poll(&news, 1, PATIENCE_MS), 1);
	assert_int_equal(os_channel_receive(channel, word, sizeof(word), fds, &fd_count),
			 sizeof(READY_MESSAGE));
	assert_string_equal(word, READY_MESSAGE);
}

/* ---- the dispatcher ---- */

static enum http_method method = HTTP_GET;

static void send_request(uint32_t slot, uint32_t route, uint64_t id,
			 struct span body, uint64_t body_size)
{
	const struct http_head head = { .method = method, .method_text = { "GET", 3 } };
	const struct encode_input input = {
		.id = id, .head = &head, .path = { "/", 1 }, .route = route,
		.client = { "unix:", 5 }, .body = body, .body_size = body_size,
	};
	struct message message = {
		.kind = MESSAGE_REQUEST, .slot = slot,
		.generation = ++generations[slot], .size = encode_size(&input),
	};
	void *block = link_alloc(&link_, slot, message.size, &message.offset);

	assert_non_null(block);
	encode_request(block, message.size, &input);
	blocks[slot] = message.offset;
	link_offer(&link_, slot, message.generation);
	assert_int_equal(link_send(&link_, &message), 0);
}

static void ask(uint32_t slot, uint32_t route, uint64_t id)
{
	send_request(slot, route, id, (struct span){ 0 }, 0);
	link_ring(&link_);
}

static void ask_for_head(uint32_t slot, uint32_t route)
{
	method = HTTP_HEAD;
	ask(slot, route, 1);
	method = HTTP_GET;
}

static void send_note_as(enum message_kind kind, unsigned flags, uint32_t slot,
			 uint32_t size)
{
	const struct message message = {
		.kind = (uint16_t)kind, .flags = (uint16_t)flags, .slot = slot,
		.generation = generations[slot], .size = size,
	};

	assert_int_equal(link_send(&link_, &message), 0);
	link_ring(&link_);
}

static void send_note(enum message_kind kind, uint32_t slot, uint32_t size)
{
	send_note_as(kind, 0, slot, size);
}

/* The next message of the worker; false if none comes in that time. */
static bool next_message(struct message *ret_message, int timeout_ms)
{
	const uint64_t until_ms = clock_now_ms() + (uint64_t)timeout_ms;
	int r;

	for (;;) {
		r = link_receive(&link_, ret_message);
		assert_true(r >= 0);
		if (r > 0)
			return true;
		if (clock_now_ms() >= until_ms)
			return false;
		bell_announce(&link_.sleeper);
		if (!link_has_news(&link_)) {
			os_bell_wait(link_.sleeper.fd, timeout_ms);
			os_bell_hush(link_.sleeper.fd);
		}
		bell_awake(&link_.sleeper);
		assert_true(link_reap(&link_, NULL, NULL) >= 0);
	}
}

static void release(const struct message *message)
{
	if (message->size)
		assert_int_equal(link_release(&link_, message->offset), 0);
	link_ring(&link_);
}

/* Read an answer from its first message to its last. Returns the body's size. */
static size_t read_answer(uint32_t slot, unsigned char *body, size_t room)
{
	struct wire_answer answer;
	struct message message;
	size_t have = 0;

	do {
		const unsigned char *at;
		size_t size;

		assert_true(next_message(&message, PATIENCE_MS));
		assert_int_equal(message.slot, slot);
		assert_int_equal(message.generation, generations[slot]);
		at = link_bytes(&link_, &message);
		size = message.size;
		if (message.kind == MESSAGE_ANSWER) {
			memcpy(&answer, at, sizeof(answer));
			assert_int_equal(answer.status, 200);
			at += sizeof(answer) + answer.headers_size;
			size -= sizeof(answer) + answer.headers_size;
		} else {
			assert_int_equal(message.kind, MESSAGE_ANSWER_PART);
			assert_true(size <= LINK_PART_BYTES);
			send_note(MESSAGE_CREDIT, slot, message.size);
		}
		assert_true(have + size <= room);
		if (size)
			memcpy(body + have, at, size);
		have += size;
		release(&message);
	} while (!(message.flags & MESSAGE_LAST));
	assert_int_equal(have, answer.body_size);
	assert_true(link_free(&link_, blocks[slot]) > 0);
	return have;
}

static void expect_text(uint32_t slot, const char *wanted)
{
	char body[256] = "";

	read_answer(slot, (unsigned char *)body, sizeof(body) - 1);
	assert_string_equal(body, wanted);
}

/* ---- tests ---- */

static void a_request_is_answered(void **state)
{
	(void)state;
	wait_until(&shared->score.state, CREW_CHILD_READY);
	ask(3, HELLO, 77);
	expect_text(3, "{\"id\":77}");
	assert_int_equal(atomic_load(&shared->score.served), 1);
	assert_int_equal(atomic_load(&shared->score.request_id), 0);
}

static void many_are_answered_in_order(void **state)
{
	char wanted[64];

	(void)state;
	for (uint64_t id = 0; id < 3000; id += LINK_WORK_MAX) {
		for (uint32_t slot = 0; slot < LINK_WORK_MAX; slot++)
			send_request(slot, HELLO, id + slot, (struct span){ 0 }, 0);
		link_ring(&link_);
		for (uint32_t slot = 0; slot < LINK_WORK_MAX; slot++) {
			snprintf(wanted, sizeof(wanted), "{\"id\":%llu}",
				 (unsigned long long)(id + slot));
			expect_text(slot, wanted);
		}
	}
}

static void a_revoked_request_does_not_run(void **state)
{
	struct message message;

	(void)state;
	ask(0, WAIT, 1);
	ask(1, HELLO, 2);
	ask(2, HELLO, 3);
	wait_until(&shared->score.state, CREW_CHILD_BUSY);
	assert_int_equal(atomic_load(&shared->score.request_id), 1);
	assert_true(link_revoke(&link_, 1, generations[1]));
	assert_false(link_revoke(&link_, 0, generations[0]));
	atomic_store(&shared->gate, 1);
	expect_text(0, "open");
	expect_text(2, "{\"id\":3}");
	assert_false(next_message(&message, 20));
	assert_int_equal(atomic_load(&shared->ran), 1);
}

/* A request that was taken back may find other bytes in its place. */
static void a_revoked_request_is_not_even_read(void **state)
{
	struct message message = { .kind = MESSAGE_REQUEST, .generation = 1,
				   .size = 1000 };
	void *block = link_alloc(&link_, 0, message.size, &message.offset);

	(void)state;
	memset(block, 0xff, message.size);
	link_offer(&link_, 0, ++generations[0]);
	assert_true(link_revoke(&link_, 0, generations[0]));
	assert_int_equal(link_send(&link_, &message), 0);
	ask(1, HELLO, 5);
	expect_text(1, "{\"id\":5}");
}

static void a_large_answer_comes_in_parts(void **state)
{
	(void)state;
	ask(0, BIG, 1);
	assert_int_equal(read_answer(0, received, BIG_BYTES), BIG_BYTES);
	assert_memory_equal(received, big, BIG_BYTES);
}

/* Take messages of a big answer, give no credit, until none comes any more. */
static void let_it_stall(uint32_t slot)
{
	struct message message;
	size_t parts = 0;

	while (next_message(&message, parts == LINK_CREDIT_BYTES ? 20 : 2000)) {
		assert_int_equal(message.slot, slot);
		assert_false(message.flags & MESSAGE_LAST);
		if (message.kind == MESSAGE_ANSWER_PART)
			parts += message.size;
		release(&message);
	}
	assert_int_equal(parts, LINK_CREDIT_BYTES);
}

/* What goes with the head is never more than there is of the body, nor than has credit. */
static void a_large_head_leaves_less_room_for_the_body(void **state)
{
	(void)state;
	for (size_t size = LINK_PART_BYTES - 64; size <= LINK_PART_BYTES + 1; size++) {
		ask(0, HEAD, size);
		assert_int_equal(read_answer(0, received, sizeof(received)), size);
		assert_memory_equal(received, big, size);
	}
}

static void a_slow_client_holds_up_nobody(void **state)
{
	(void)state;
	ask(0, BIG, 1);
	let_it_stall(0);
	ask(1, HELLO, 2);
	expect_text(1, "{\"id\":2}");
}

static void a_cancelled_answer_ends(void **state)
{
	struct message message;

	(void)state;
	ask(0, BIG, 1);
	let_it_stall(0);
	send_note(MESSAGE_CANCEL, 0, 0);
	assert_true(next_message(&message, PATIENCE_MS));
	assert_int_equal(message.kind, MESSAGE_ANSWER_PART);
	assert_int_equal(message.size, 0);
	assert_true(message.flags & MESSAGE_LAST);
	ask(0, HELLO, 2);
	expect_text(0, "{\"id\":2}");
}

static void a_slot_used_anew_drops_the_old_answer(void **state)
{
	(void)state;
	ask(0, BIG, 1);
	let_it_stall(0);
	ask(0, HELLO, 2);
	expect_text(0, "{\"id\":2}");
}

static void expect_message(uint32_t slot, enum message_kind kind, unsigned flags)
{
	struct message message;

	assert_true(next_message(&message, PATIENCE_MS));
	assert_int_equal(message.slot, slot);
	assert_int_equal(message.kind, kind);
	assert_int_equal(message.flags, flags);
	release(&message);
}

/* What its handler has read of the request stands in the block until it returns. */
static void the_block_is_kept_while_a_handler_streams(void **state)
{
	(void)state;
	ask(0, STREAM, 1);
	expect_message(0, MESSAGE_ANSWER, MESSAGE_RUNNING);
	expect_message(0, MESSAGE_ANSWER_PART, 0);
	wait_until(&shared->at_gate, 1);
	atomic_store(&shared->gate, 1);
	expect_message(0, MESSAGE_DEFER, MESSAGE_COPIED);
	ask(1, HELLO, 2);
	expect_text(1, "{\"id\":2}");
}

static void a_large_piece_waits_until_there_is_room_for_it(void **state)
{
	struct message message;
	size_t size = 0;

	(void)state;
	ask(0, ROOM, 1);
	do {
		assert_true(next_message(&message, PATIENCE_MS));
		if (message.kind == MESSAGE_ANSWER_PART)
			size += message.size;
		release(&message);
		/* So long it waits in vain. */
		if (message.kind == MESSAGE_DEFER)
			send_note(MESSAGE_CREDIT, 0, LINK_CREDIT_BYTES);
	} while (!(message.flags & MESSAGE_LAST));
	assert_int_equal(size, LINK_CREDIT_BYTES + 1000);
	assert_int_equal(atomic_load(&shared->result), -ETIMEDOUT);
	assert_int_equal(atomic_load(&shared->waits), 1);
}

static void a_stream_without_a_body_is_over(void **state)
{
	(void)state;
	ask_for_head(0, UNTIL_OVER);
	expect_message(0, MESSAGE_ANSWER, MESSAGE_RUNNING | MESSAGE_EVENTS);
	expect_message(0, MESSAGE_DEFER, MESSAGE_COPIED);
	expect_message(0, MESSAGE_ANSWER_PART, MESSAGE_LAST);
	assert_int_equal(atomic_load(&shared->result), -EPIPE);
	assert_int_equal(atomic_load(&shared->waits), 1);
	assert_int_equal(atomic_load(&shared->told), 1);
}

/* Whether its handler has begun it, or somebody later. */
static void who_did_not_end_a_stream_is_told_of_its_end(void **state)
{
	(void)state;
	ask_for_head(0, EVENTS);
	expect_message(0, MESSAGE_ANSWER, MESSAGE_COPIED | MESSAGE_EVENTS);
	assert_int_equal(atomic_load(&shared->told), 1);
	expect_message(0, MESSAGE_ANSWER_PART, MESSAGE_LAST);
	ask_for_head(0, LATER);
	expect_message(0, MESSAGE_DEFER, MESSAGE_COPIED);
	expect_message(0, MESSAGE_ANSWER, MESSAGE_COPIED);
	assert_int_equal(atomic_load(&shared->told), 2);
	expect_message(0, MESSAGE_ANSWER_PART, MESSAGE_LAST);
}

static void who_ended_a_stream_is_not_told(void **state)
{
	(void)state;
	ask_for_head(0, ROOM);
	expect_message(0, MESSAGE_ANSWER, MESSAGE_RUNNING);
	expect_message(0, MESSAGE_ANSWER_PART, MESSAGE_LAST);
	ask(0, HELLO, 2);
	expect_text(0, "{\"id\":2}");
	assert_int_equal(atomic_load(&shared->told), 0);
}

/* Others go on: of those the application hears when their clients go. */
static void a_stop_that_ends_streams_tells_who_has_them(void **state)
{
	struct message message;

	(void)state;
	ask(0, EVENTS, 1);
	ask(1, STREAM, 2);
	ask(2, ROOM, 3);
	atomic_store(&shared->gate, 1);
	do {
		assert_true(next_message(&message, PATIENCE_MS));
		release(&message);
	} while (message.slot != 2 || message.kind != MESSAGE_DEFER);
	kill(pid, SIGTERM);
	expect_message(0, MESSAGE_ANSWER_PART, MESSAGE_LAST);
	assert_int_equal(atomic_load(&shared->told), 1);
	send_note(MESSAGE_CANCEL, 1, 0);
	expect_message(1, MESSAGE_ANSWER_PART, MESSAGE_LAST);
	send_note(MESSAGE_CREDIT, 2, LINK_CREDIT_BYTES);
	expect_message(2, MESSAGE_ANSWER_PART, MESSAGE_LAST);
	assert_int_equal(exit_code(), 0);
	assert_int_equal(atomic_load(&shared->told), 2);
}

/* As by crew_end(). */
static void a_stop_ends_parts_with_their_last_delimiter(void **state)
{
	struct message message;
	char text[256] = "";
	size_t size = 0;
	char *at;

	(void)state;
	ask(0, PARTS, 1);
	for (;;) {
		assert_true(next_message(&message, PATIENCE_MS));
		if (message.kind == MESSAGE_ANSWER_PART) {
			assert_true(size + message.size < sizeof(text));
			memcpy(text + size, link_bytes(&link_, &message), message.size);
			size += message.size;
		}
		release(&message);
		if (message.flags & MESSAGE_LAST)
			break;
		if (message.kind == MESSAGE_DEFER)
			kill(pid, SIGTERM);
	}
	at = strstr(text, "Content-Type: application/octet-stream\r\n");
	assert_non_null(at);
	at = strstr(at, "\r\n\r\npart\r\n--crew-");
	assert_non_null(at);
	assert_string_equal(text + size - strlen("--\r\n"), "--\r\n");
	assert_int_equal(exit_code(), 0);
}

/* It is at its handler all the time, so that it hears of it there only. */
static void a_handler_that_goes_on_hears_that_its_worker_is_to_stop(void **state)
{
	struct message message = { 0 };

	(void)state;
	ask(0, UNTIL_OVER, 1);
	expect_message(0, MESSAGE_ANSWER, MESSAGE_RUNNING | MESSAGE_EVENTS);
	ask(1, HELLO, 2);
	kill(pid, SIGTERM);
	while (!(message.flags & MESSAGE_LAST)) {
		assert_true(next_message(&message, PATIENCE_MS));
		assert_int_equal(message.slot, 0);
		if (message.kind == MESSAGE_ANSWER_PART && message.size)
			send_note(MESSAGE_CREDIT, 0, message.size);
		release(&message);
	}
	assert_int_equal(atomic_load(&shared->result), -EPIPE);
	assert_int_equal(atomic_load(&shared->told), 1);
	assert_int_equal(exit_code(), 0);
	assert_int_equal(atomic_load(&shared->torn_down), 1);
	assert_int_equal(atomic_load(&shared->ran), 0);
}

static void a_handler_that_only_looks_hears_it_too(void **state)
{
	(void)state;
	ask(0, LOOK_ON, 1);
	expect_message(0, MESSAGE_ANSWER, MESSAGE_RUNNING | MESSAGE_EVENTS);
	expect_message(0, MESSAGE_ANSWER_PART, 0);
	kill(pid, SIGTERM);
	expect_message(0, MESSAGE_DEFER, MESSAGE_COPIED);
	expect_message(0, MESSAGE_ANSWER_PART, MESSAGE_LAST);
	assert_int_equal(atomic_load(&shared->result), -EPIPE);
	assert_int_equal(atomic_load(&shared->told), 1);
	assert_int_equal(exit_code(), 0);
}

/* Nor is its application told of an end that was its own. */
static void what_a_handler_sends_in_a_moment_is_whole_also_at_a_stop(void **state)
{
	struct message message = { 0 };
	size_t size = 0;

	(void)state;
	ask(0, COUNT, 1);
	wait_until(&shared->at_gate, 1);
	kill(pid, SIGTERM);
	poll(NULL, 0, 200); /* it has been at it for long */
	atomic_store(&shared->gate, 1);
	while (!(message.flags & MESSAGE_LAST)) {
		assert_true(next_message(&message, PATIENCE_MS));
		assert_int_equal(message.slot, 0);
		size += message.kind == MESSAGE_ANSWER_PART ? message.size : 0;
		release(&message);
	}
	assert_int_equal(atomic_load(&shared->result), 0);
	assert_true(size >= 9 * strlen("data: one of some\n\n"));
	assert_int_equal(exit_code(), 0);
	assert_int_equal(atomic_load(&shared->told), 0);
}

static void a_stream_is_found_in_its_own_handler(void **state)
{
	(void)state;
	ask(0, EVENTS, 1);
	expect_message(0, MESSAGE_ANSWER, MESSAGE_COPIED | MESSAGE_EVENTS);
	assert_int_equal(atomic_load(&shared->result), 1);
	ask(1, ENDED, 2);
	expect_message(1, MESSAGE_ANSWER, MESSAGE_RUNNING | MESSAGE_EVENTS);
	expect_message(1, MESSAGE_ANSWER_PART, MESSAGE_LAST);
	assert_int_equal(atomic_load(&shared->result), -1);
}

static void expect_500(uint32_t slot)
{
	struct wire_answer answer;
	struct message message;

	assert_true(next_message(&message, PATIENCE_MS));
	assert_int_equal(message.slot, slot);
	assert_int_equal(message.kind, MESSAGE_ANSWER);
	assert_int_equal(message.flags, MESSAGE_LAST);
	memcpy(&answer, link_bytes(&link_, &message), sizeof(answer));
	assert_int_equal(answer.status, 500);
	assert_int_equal(answer.headers_size,
			 strlen("Content-Type: application/json\r\nVary: Accept\r\n"));
	release(&message);
}

static void what_is_told_to_on_error_is_answered_as_it_is(void **state)
{
	(void)state;
	ask(0, FAIL, 1);
	expect_500(0);
	assert_int_equal(atomic_load(&shared->result), 1);
}

static void what_may_have_no_content_is_no_stream(void **state)
{
	(void)state;
	ask(0, RESET, 1);
	expect_500(0);
	assert_int_equal(atomic_load(&shared->told), 1);
}

static void an_impossible_size_is_refused(void **state)
{
	(void)state;
	ask(0, HUGE, 1);
	expect_500(0);
	ask(1, ENDLESS, 2);
	expect_message(1, MESSAGE_ANSWER, MESSAGE_RUNNING | MESSAGE_EVENTS);
	assert_int_equal(atomic_load(&shared->result), 1);
}

/* The worker's, in KiB. */
static int memory_used(void)
{
	ask(LINK_SLOTS - 1, MEMORY, 1);
	expect_text(LINK_SLOTS - 1, "told");
	return atomic_load(&shared->result);
}

static void a_stream_with_nothing_to_send_costs_little_memory(void **state)
{
	const int before = memory_used();
	const uint32_t count = 200;
	struct message message;

	(void)state;
	for (uint32_t slot = 0; slot < count; slot++) {
		ask(slot, HISTORY, slot);
		do {
			assert_true(next_message(&message, PATIENCE_MS));
			release(&message);
		} while (message.kind != MESSAGE_DEFER);
	}
	assert_true(memory_used() - before < (int)count * 8);
}

/* The dispatcher stops, while its client has not taken all: that is sent first. */
static void a_stream_that_a_dispatcher_ends_is_whole(void **state)
{
	struct message message;

	(void)state;
	ask(0, MANY, 1);
	do {
		assert_true(next_message(&message, PATIENCE_MS));
		release(&message);
	} while (message.kind != MESSAGE_DEFER);
	send_note_as(MESSAGE_CANCEL, MESSAGE_LAST, 0, 0);
	ask(1, HELLO, 2);
	expect_text(1, "{\"id\":2}");
	assert_int_equal(atomic_load(&shared->told), 1);
	send_note(MESSAGE_CREDIT, 0, LINK_CREDIT_BYTES);
	assert_true(next_message(&message, PATIENCE_MS));
	assert_int_equal(message.flags, MESSAGE_LAST);
	assert_true(message.size > 4);
	assert_memory_equal((const char *)link_bytes(&link_, &message) + message.size - 4,
			    "xx\n\n", 4);
	assert_int_equal(atomic_load(&shared->told), 1);
}

/* An answer without bytes gives none back: the dispatcher's index alone tells that it was read. */
static void what_waits_for_room_is_said_before_the_worker_sleeps(void **state)
{
	const unsigned count = LINK_RING_ENTRIES + 1;
	struct message message;
	uint32_t epoch;

	(void)state;
	start(&resting);
	give_link();
	for (uint32_t slot = 0; slot < count; slot++) {
		ask(slot, EVENTS, slot);
		expect_message(slot, MESSAGE_ANSWER, MESSAGE_COPIED | MESSAGE_EVENTS);
		assert_true(link_free(&link_, blocks[slot]) > 0);
	}
	for (uint32_t slot = 0; slot < count; slot++) {
		send_note(MESSAGE_CANCEL, slot, 0);
		wait_until(&shared->told, slot + 1);
	}
	atomic_store(&shared->rests, 1);
	wait_until(&shared->at_gate, 1);
	for (uint32_t slot = 0; slot < LINK_RING_ENTRIES; slot++)
		assert_int_equal(link_receive(&link_, &message), 1);
	assert_int_equal(link_receive(&link_, &message), 0);
	epoch = link_peer_epoch(&link_);
	assert_false(link_ring(&link_)); /* it is awake */
	atomic_store(&shared->gate, 1);
	for (unsigned ms = 0; ms < PATIENCE_MS && link_peer_epoch(&link_) == epoch; ms++)
		poll(NULL, 0, 1);
	/* It has gone to sleep since. */
	atomic_thread_fence(memory_order_acquire);
	assert_int_equal(link_receive(&link_, &message), 1);
	assert_int_equal(message.slot, count - 1);
	assert_true(message.flags & MESSAGE_LAST);
}

/* Though nobody rings: who has nothing of it in hand need not know that it waits. */
static void what_waits_for_room_is_said_soon(void **state)
{
	const uint64_t began_ms = clock_now_ms();
	struct message message;
	unsigned events = 0;

	(void)state;
	ask(0, PUBLISH, 1);
	do {
		assert_true(next_message(&message, PATIENCE_MS));
		events += message.kind == MESSAGE_PUBLISH;
		assert_int_equal(link_release(&link_, message.offset), 0);
	} while (message.kind != MESSAGE_ANSWER);
	assert_int_equal(events, 4 * LINK_RING_ENTRIES);
	assert_true(clock_now_ms() - began_ms < 2000);
}

static void what_a_handler_says_is_not_kept_until_it_returns(void **state)
{
	struct message message;

	(void)state;
	for (uint64_t id = 1; id <= 2; id++) {
		unsigned events = 0;

		atomic_store(&shared->gate, 0);
		atomic_store(&shared->at_gate, 0);
		ask(0, TALK, id);
		wait_until(&shared->at_gate, 1);
		while (events < 4 * LINK_RING_ENTRIES) {
			assert_true(next_message(&message, PATIENCE_MS));
			assert_int_equal(message.kind, MESSAGE_PUBLISH);
			assert_int_equal(link_release(&link_, message.offset), 0);
			events++;
		}
		atomic_store(&shared->gate, 1);
		do {
			assert_true(next_message(&message, PATIENCE_MS));
			assert_int_equal(link_release(&link_, message.offset), 0);
		} while (message.kind != MESSAGE_ANSWER);
		assert_true(link_free(&link_, blocks[0]) > 0);
	}
}

/* Nobody rings for that: it was read already. */
static void what_a_handler_has_read_is_not_forgotten(void **state)
{
	struct message message;

	(void)state;
	ask(0, BIG, 1);
	let_it_stall(0);
	ask(1, LOOK, 2);
	wait_until(&shared->at_gate, 1);
	send_note(MESSAGE_CREDIT, 0, LINK_CREDIT_BYTES);
	atomic_store(&shared->gate, 1);
	assert_true(next_message(&message, PATIENCE_MS));
	assert_int_equal(message.slot, 1);
	assert_true(next_message(&message, 500));
	assert_int_equal(message.slot, 0);
}

static void who_rests_is_idle_though_requests_lie_there(void **state)
{
	uint32_t idle;

	(void)state;
	start(&idling);
	give_link();
	ask(0, PAUSE, 1);
	wait_until(&shared->at_gate, 1);
	ask(1, HELLO, 2);
	atomic_store(&shared->gate, 1);
	expect_message(0, MESSAGE_PAUSE, 0);
	expect_text(0, "paused");
	assert_true(link_revoke(&link_, 1, generations[1]));
	idle = atomic_load(&shared->idle);
	for (unsigned ms = 0; ms < PATIENCE_MS && atomic_load(&shared->idle) < idle + 2; ms++)
		poll(NULL, 0, 1);
	assert_true(atomic_load(&shared->idle) >= idle + 2);
	assert_int_equal(atomic_load(&shared->ran), 0);
}

static void what_is_finished_for_nobody_ends(void **state)
{
	(void)state;
	ask(0, DEFER, 1);
	expect_message(0, MESSAGE_DEFER, MESSAGE_COPIED);
	wait_until(&shared->at_gate, 1);
	send_note(MESSAGE_CANCEL, 0, 0);
	expect_message(0, MESSAGE_ANSWER_PART, MESSAGE_LAST);
	assert_int_equal(atomic_load(&shared->result), -EINVAL);
	assert_int_equal(atomic_load(&shared->told), 1);
	ask(0, HELLO, 2);
	expect_text(0, "{\"id\":2}");
}

/* Of no fault is told, which would leave another result. */
static void what_a_handler_finishes_for_nobody_ends(void **state)
{
	(void)state;
	ask(0, IN_VAIN, 1);
	wait_until(&shared->at_gate, 1);
	send_note(MESSAGE_CANCEL, 0, 0);
	expect_message(0, MESSAGE_DEFER, MESSAGE_COPIED);
	expect_message(0, MESSAGE_ANSWER_PART, MESSAGE_LAST);
	assert_int_equal(atomic_load(&shared->result), -EINVAL);
	assert_int_equal(atomic_load(&shared->told), 1);
	ask(0, HELLO, 2);
	expect_text(0, "{\"id\":2}");
}

/* Send the rest of a body as the arena has room for it. */
static void send_parts(uint32_t slot, const unsigned char *at, size_t left)
{
	struct message message = { .kind = MESSAGE_BODY_PART, .slot = slot,
				   .generation = generations[slot] };
	void *part;

	while (left) {
		message.size = left < LINK_PART_BYTES ? (uint32_t)left
						      : LINK_PART_BYTES;
		part = link_alloc(&link_, slot, message.size, &message.offset);
		if (!part) {
			poll(NULL, 0, 1);
			assert_true(link_reap(&link_, NULL, NULL) >= 0);
			continue;
		}
		memcpy(part, at, message.size);
		assert_int_equal(link_send(&link_, &message), 0);
		link_ring(&link_);
		at += message.size;
		left -= message.size;
	}
}

static void a_large_body_goes_in_parts(void **state)
{
	(void)state;
	send_request(4, ECHO, 1, (struct span){ (const char *)big, 1000 },
		     BIG_BYTES);
	send_parts(4, big + 1000, BIG_BYTES - 1000);
	assert_int_equal(read_answer(4, received, BIG_BYTES), BIG_BYTES);
	assert_memory_equal(received, big, BIG_BYTES);
}

static void a_new_link_replaces_the_old(void **state)
{
	(void)state;
	ask(0, BIG, 1);
	let_it_stall(0);
	link_fini(&link_);
	give_link();
	ask(0, HELLO, 2);
	expect_text(0, "{\"id\":2}");
}

/* That link, and whatever is said of it, comes to who has returned only. */
static void who_sends_for_ever_learns_that_its_dispatcher_is_dead(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		struct score *line = scoreboard_line(&board, 0);

		atomic_store(&shared->at_gate, 0);
		atomic_store(&shared->result, 0);
		atomic_store(&shared->cancelled, 0);
		ask(0, LOYAL, 1 + i / 2);
		wait_until(&shared->at_gate, 1);
		if (i % 2 == 0)
			score_set_state(line, CREW_CHILD_DEAD);
		else
			atomic_store(&board.head->owners[0].pid, 1); /* its successor's */
		for (unsigned ms = 0; atomic_load(&shared->result) == 0 && ms < PATIENCE_MS; ms++)
			poll(NULL, 0, 1);
		assert_int_equal(atomic_load(&shared->result), -EPIPE);
		assert_int_equal(atomic_load(&shared->cancelled), 1);
		score_set_state(line, CREW_CHILD_READY);
		atomic_store(&board.head->owners[0].pid, getpid());
		link_fini(&link_);
		give_link();
		ask(0, HELLO, 9);
		expect_text(0, "{\"id\":9}");
	}
}

static void an_orderly_stop_finishes_what_was_begun(void **state)
{
	struct message message;

	(void)state;
	ask(0, WAIT, 1);
	wait_until(&shared->score.state, CREW_CHILD_BUSY);
	ask(1, HELLO, 2);
	kill(pid, SIGTERM);
	/* The signal is seen at the latest after the batch: what is not begun
	 * by then is not begun at all. */
	atomic_store(&shared->gate, 1);
	expect_text(0, "open");
	assert_int_equal(exit_code(), 0);
	assert_int_equal(atomic_load(&shared->torn_down), 1);
	while (next_message(&message, 0))
		assert_int_equal(message.slot, 1);
}

static void a_stop_waits_for_a_slow_client(void **state)
{
	struct message message;

	(void)state;
	ask(0, BIG, 1);
	let_it_stall(0);
	kill(pid, SIGTERM);
	wait_until(&shared->score.state, CREW_CHILD_DRAINING);
	ask(1, HELLO, 2);
	assert_false(next_message(&message, 20));
	assert_true(link_revoke(&link_, 1, generations[1]));
	send_note(MESSAGE_CREDIT, 0, LINK_CREDIT_BYTES);
	do {
		assert_true(next_message(&message, PATIENCE_MS));
		assert_int_equal(message.slot, 0);
		send_note(MESSAGE_CREDIT, 0, message.size);
		release(&message);
	} while (!(message.flags & MESSAGE_LAST));
	assert_int_equal(exit_code(), 0);
	assert_int_equal(atomic_load(&shared->ran), 0);
}

/* The parent has buried it: nobody takes anything, nor gives credit. */
static void a_stop_without_a_dispatcher_is_over_at_once(void **state)
{
	struct message message;

	(void)state;
	start(&talking);
	give_link();
	ask(0, HELLO, 1);
	expect_text(0, "{\"id\":1}");
	score_set_state(scoreboard_line(&board, 0), CREW_CHILD_DEAD);
	kill(pid, SIGTERM);
	assert_int_equal(exit_code(), 0);
	assert_int_equal(atomic_load(&shared->torn_down), 1);
	assert_int_equal(atomic_load(&shared->result), -ENOTCONN);
	assert_false(next_message(&message, 0));
}

/* It was buried before the worker took its link. */
static void a_stop_does_not_wait_for_who_was_never_there(void **state)
{
	(void)state;
	start(&talking);
	atomic_store(&board.head->owners[0].pid, 0);
	give_link();
	/* It has looked at its link, and sleeps. */
	for (unsigned ms = 0; link_peer_epoch(&link_) == 0 && ms < PATIENCE_MS; ms++)
		poll(NULL, 0, 1);
	kill(pid, SIGTERM);
	assert_int_equal(exit_code(), 0);
	assert_int_equal(atomic_load(&shared->torn_down), 1);
	assert_int_equal(atomic_load(&shared->result), -ENOTCONN);
}

/* What was begun is told to be over. */
static void a_stop_is_over_when_the_last_dispatcher_goes(void **state)
{
	(void)state;
	ask(0, MANY, 1);
	let_it_stall(0);
	ask(1, STREAM, 2);
	ask(2, PUBLISH, 3);
	atomic_store(&shared->gate, 1);
	for (unsigned ms = 0; atomic_load(&shared->score.served) < 3 && ms < PATIENCE_MS; ms++)
		poll(NULL, 0, 1);
	kill(pid, SIGTERM);
	wait_until(&shared->score.state, CREW_CHILD_DRAINING);
	assert_int_equal(waitpid(pid, NULL, WNOHANG), 0);
	score_set_state(scoreboard_line(&board, 0), CREW_CHILD_DEAD);
	assert_int_equal(exit_code(), 0);
	assert_int_equal(atomic_load(&shared->torn_down), 1);
	assert_int_equal(atomic_load(&shared->told), 2);
}

static uint32_t next_call(void)
{
	struct message message;
	uint32_t token;

	assert_true(next_message(&message, PATIENCE_MS));
	assert_int_equal(message.kind, MESSAGE_CALL);
	memcpy(&token, link_bytes(&link_, &message), sizeof(token));
	release(&message);
	return token;
}

static void answer_call(uint32_t token, unsigned flags, uint32_t status, uint32_t body_size)
{
	const struct wire_call_answer answer = { .token = token, .status = status,
						 .body_size = body_size };
	struct message message = { .kind = MESSAGE_CALL_ANSWER, .flags = (uint16_t)flags,
				   .generation = token, .size = sizeof(answer) };
	void *at = link_alloc(&link_, LINK_NO_SLOT, message.size, &message.offset);

	assert_non_null(at);
	memcpy(at, &answer, sizeof(answer));
	assert_int_equal(link_send(&link_, &message), 0);
	link_ring(&link_);
}

static void a_call_that_is_refused_is_answered(void **state)
{
	struct message none = { .kind = MESSAGE_CALL_ANSWER, .flags = MESSAGE_LAST };

	(void)state;
	ask(0, CALL, 1);
	none.generation = next_call();
	expect_text(0, "called");
	assert_int_equal(link_send(&link_, &none), 0);
	link_ring(&link_);
	ask(1, HELLO, 2);
	expect_text(1, "{\"id\":2}");
	assert_int_equal(atomic_load(&shared->result), 503);
}

/* Also one that is made when it hears of it, but none that is made later: who calls again and
 * again would never leave. */
static void a_stop_waits_for_the_answers_of_calls(void **state)
{
	struct message message;
	uint32_t first;
	uint32_t last;

	(void)state;
	start(&leaving);
	give_link();
	ask(0, CALL, 1);
	first = next_call();
	expect_text(0, "called");
	kill(pid, SIGTERM);
	last = next_call();
	assert_false(next_message(&message, 200));
	assert_int_equal(waitpid(pid, NULL, WNOHANG), 0);
	answer_call(last, MESSAGE_LAST, 201, 0);
	next_call();
	assert_int_equal(waitpid(pid, NULL, WNOHANG), 0);
	answer_call(first, MESSAGE_LAST, 200, 0);
	assert_int_equal(exit_code(), 0);
	assert_int_equal(atomic_load(&shared->result), 200 + 201 + 502);
}

static void the_last_words_of_a_dispatcher_are_heard(void **state)
{
	uint32_t token;

	(void)state;
	ask(0, CALL, 1);
	token = next_call();
	expect_text(0, "called");
	/* It hears of all of it at once. */
	kill(pid, SIGSTOP);
	answer_call(token, MESSAGE_LAST, 200, 0);
	score_set_state(scoreboard_line(&board, 0), CREW_CHILD_DEAD);
	kill(pid, SIGTERM);
	kill(pid, SIGCONT);
	assert_int_equal(exit_code(), 0);
	assert_int_equal(atomic_load(&shared->result), 200);
}

/* The sanitizer would end the worker for what it cannot have itself. */
#ifndef __SANITIZE_ADDRESS__
static void an_answer_without_memory_for_it_is_none(void **state)
{
	uint32_t token;

	(void)state;
	ask(0, POOR, 1);
	token = next_call();
	expect_text(0, "called");
	answer_call(token, 0, 200, 3u << 30);
	answer_call(token, MESSAGE_LAST, 0, 0); /* more of it */
	ask(1, HELLO, 2);
	expect_text(1, "{\"id\":2}");
	assert_int_equal(atomic_load(&shared->result), 503);
}

static void who_has_no_memory_for_a_request_says_so(void **state)
{
	(void)state;
	ask(0, GREEDY, 1);
	expect_text(0, "all of it");
	ask(1, HELLO, 2);
	assert_int_equal(exit_code(), 71);
}
#endif

static void who_keeps_a_request_alive_stays_for_it(void **state)
{
	struct message message;
	uint64_t until_ms;

	(void)state;
	request_timeout_ms = 1000;
	start(&app);
	request_timeout_ms = 0;
	give_link();
	ask(0, KEPT, 1);
	expect_message(0, MESSAGE_ALIVE, 0);
	kill(pid, SIGTERM);
	wait_until(&shared->score.state, CREW_CHILD_DRAINING);
	until_ms = clock_now_ms() + 1500;
	do {
		assert_true(next_message(&message, PATIENCE_MS));
		release(&message);
		if (clock_now_ms() >= until_ms)
			atomic_store(&shared->gate, 1);
	} while (message.kind != MESSAGE_ANSWER);
	assert_int_equal(atomic_load(&shared->gate), 1);
	assert_int_equal(exit_code(), 0);
	assert_int_equal(atomic_load(&shared->told), 0);
}

static void events_that_begin_at_a_stop_end_at_once(void **state)
{
	(void)state;
	ask(0, DEFERRED, 1);
	expect_message(0, MESSAGE_DEFER, MESSAGE_COPIED);
	kill(pid, SIGTERM);
	wait_until(&shared->score.state, CREW_CHILD_DRAINING);
	atomic_store(&shared->gate, 1);
	expect_message(0, MESSAGE_ANSWER, MESSAGE_COPIED | MESSAGE_EVENTS);
	expect_message(0, MESSAGE_ANSWER_PART, MESSAGE_LAST);
	assert_int_equal(exit_code(), 0);
}

static void without_a_parent_it_leaves(void **state)
{
	(void)state;
	wait_until(&shared->score.state, CREW_CHILD_READY);
	close(channel);
	channel = -1;
	assert_int_equal(exit_code(), 0);
	assert_int_equal(atomic_load(&shared->torn_down), 0);
}

static void a_failed_setup_is_the_exit_code(void **state)
{
	(void)state;
	start(&broken);
	assert_int_equal(exit_code(), 9);
	assert_int_not_equal(atomic_load(&shared->score.state), CREW_CHILD_READY);
}

static void a_worker_may_pause_before_it_is_ready(void **state)
{
	(void)state;
	start(&paused);
	wait_until_ready();
	wait_until(&shared->score.state, CREW_CHILD_PAUSED);
}

static void a_pause_may_end_before_it_is_ready(void **state)
{
	(void)state;
	start(&resumed);
	wait_until_ready();
	give_link();
	ask(0, HELLO, 1);
	expect_text(0, "{\"id\":1}");
	wait_until(&shared->score.state, CREW_CHILD_READY);
}

static void nonsense_ends_the_worker(void **state)
{
	(void)state;
	ask(0, 99, 1); /* there is no such route */
	assert_int_equal(exit_code(), 76);
}

/* Also what comes in one go with others that are good, and is not seen again. */
static void nonsense_behind_a_request_ends_the_worker(void **state)
{
	const struct message nonsense = { .kind = MESSAGE_CREDIT, .slot = LINK_SLOTS };

	(void)state;
	ask(0, WAIT, 1);
	wait_until(&shared->score.state, CREW_CHILD_BUSY);
	ask(1, HELLO, 2);
	assert_int_equal(link_send(&link_, &nonsense), 0);
	atomic_store(&shared->gate, 1);
	assert_int_equal(exit_code(), 76);
}

static void a_part_too_many_ends_the_worker(void **state)
{
	(void)state;
	send_request(0, ECHO, 1, (struct span){ 0 }, 10);
	send_parts(0, big, 11);
	assert_int_equal(exit_code(), 76);
}

static void an_idle_worker_beats(void **state)
{
	uint64_t before;
	uint64_t last;
	unsigned beats = 0;

	(void)state;
	wait_until(&shared->score.state, CREW_CHILD_READY);
	before = last = atomic_load(&shared->score.heartbeat_ms);
	for (unsigned ms = 0; ms < 3000 && last < before + 500; ms += 10) {
		poll(NULL, 0, 10);
		beats += atomic_load(&shared->score.heartbeat_ms) != last;
		last = atomic_load(&shared->score.heartbeat_ms);
	}
	assert_true(last >= before + 500);
	/* It takes its link when it is ready, which is a beat too. */
	assert_in_range(beats, 1, 3);
}

#define with_worker(test) cmocka_unit_test_setup_teardown(test, start_app, stop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_worker(a_request_is_answered),
		with_worker(many_are_answered_in_order),
		with_worker(a_revoked_request_does_not_run),
		with_worker(a_revoked_request_is_not_even_read),
		with_worker(a_large_answer_comes_in_parts),
		with_worker(a_large_head_leaves_less_room_for_the_body),
		with_worker(a_slow_client_holds_up_nobody),
		with_worker(a_cancelled_answer_ends),
		with_worker(a_slot_used_anew_drops_the_old_answer),
		with_worker(the_block_is_kept_while_a_handler_streams),
		with_worker(a_large_piece_waits_until_there_is_room_for_it),
		with_worker(a_stream_without_a_body_is_over),
		with_worker(who_did_not_end_a_stream_is_told_of_its_end),
		with_worker(who_ended_a_stream_is_not_told),
		with_worker(a_stop_that_ends_streams_tells_who_has_them),
		with_worker(a_stop_ends_parts_with_their_last_delimiter),
		with_worker(a_stream_is_found_in_its_own_handler),
		with_worker(what_is_told_to_on_error_is_answered_as_it_is),
		with_worker(what_may_have_no_content_is_no_stream),
		with_worker(an_impossible_size_is_refused),
		with_worker(a_stream_with_nothing_to_send_costs_little_memory),
		with_worker(a_stream_that_a_dispatcher_ends_is_whole),
		with_worker(a_handler_that_goes_on_hears_that_its_worker_is_to_stop),
		with_worker(a_handler_that_only_looks_hears_it_too),
		with_worker(what_a_handler_sends_in_a_moment_is_whole_also_at_a_stop),
		with_worker(what_waits_for_room_is_said_soon),
		with_worker(what_a_handler_says_is_not_kept_until_it_returns),
		with_worker(what_a_handler_has_read_is_not_forgotten),
		cmocka_unit_test_teardown(who_rests_is_idle_though_requests_lie_there, stop),
		cmocka_unit_test_teardown(
			what_waits_for_room_is_said_before_the_worker_sleeps, stop),
		with_worker(what_is_finished_for_nobody_ends),
		with_worker(what_a_handler_finishes_for_nobody_ends),
		with_worker(a_large_body_goes_in_parts),
		with_worker(a_new_link_replaces_the_old),
		with_worker(who_sends_for_ever_learns_that_its_dispatcher_is_dead),
		with_worker(an_orderly_stop_finishes_what_was_begun),
		with_worker(a_stop_waits_for_a_slow_client),
		cmocka_unit_test_teardown(a_stop_waits_for_the_answers_of_calls, stop),
		cmocka_unit_test_teardown(a_stop_without_a_dispatcher_is_over_at_once, stop),
		cmocka_unit_test_teardown(a_stop_does_not_wait_for_who_was_never_there, stop),
		with_worker(a_stop_is_over_when_the_last_dispatcher_goes),
		with_worker(the_last_words_of_a_dispatcher_are_heard),
		with_worker(a_call_that_is_refused_is_answered),
#ifndef __SANITIZE_ADDRESS__
		with_worker(an_answer_without_memory_for_it_is_none),
		with_worker(who_has_no_memory_for_a_request_says_so),
#endif
		cmocka_unit_test_teardown(who_keeps_a_request_alive_stays_for_it, stop),
		with_worker(events_that_begin_at_a_stop_end_at_once),
		with_worker(without_a_parent_it_leaves),
		cmocka_unit_test_teardown(a_failed_setup_is_the_exit_code, stop),
		cmocka_unit_test_teardown(a_worker_may_pause_before_it_is_ready, stop),
		cmocka_unit_test_teardown(a_pause_may_end_before_it_is_ready, stop),
		with_worker(nonsense_ends_the_worker),
		with_worker(nonsense_behind_a_request_ends_the_worker),
		with_worker(a_part_too_many_ends_the_worker),
		with_worker(an_idle_worker_beats),
	};

	log_init();
	log_set_level(CREW_CRITICAL + 1);
	for (size_t i = 0; i < sizeof(big); i++)
		big[i] = (unsigned char)(i * 31 + i / 257);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	check(shared != MAP_FAILED && scoreboard_init(&board, 1) == 0);
	scoreboard_use(&board, 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
