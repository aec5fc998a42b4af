/* SPDX-License-Identifier: MIT */
/* What a worker may do with what it was given, and what becomes of that when it dies: a
 * dispatcher with one seat, and this test at the worker's end of its link. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <crew/crew.h>

#include "dispatch/private.h"

#define BLOCK_SIZE 256u
#define REQUESTS   2u

static crew_reply run(struct crew_request *request)
{
	return crew_text(request, 200, "");
}

static const struct crew_route rows[] = { { .on = "GET /", .run = run }, { 0 } };
static const struct crew_app app = { .name = "app", .routes = rows };
static const struct crew_pool options = { .app = &app, .request_timeout_ms = 60000,
					  .queue_timeout_ms = 60000,
					  .queue_warning = CREW_NEVER };

static void talk_on(struct crew_worker *worker, const struct crew_response *response);

static const struct crew_server server = { .dispatchers = 1,
					   .hooks = { .on_response = talk_on } };
static struct crew_child self = { .channel = -1 };
static struct dispatcher *dispatcher;
static struct pool *pool;
static struct seat seat;
static struct seat *seats[] = { &seat };
static struct link worker;
static struct connection *connection;
static struct message requests[REQUESTS];
static unsigned answered;
static bool talks_on;

static void open_link(void)
{
	struct link_fds ours;
	struct link_fds theirs;

	assert_int_equal(link_create(&ours), 0);
	theirs = (struct link_fds){ dup(ours.memory),
				    { dup(ours.bell[0]), dup(ours.bell[1]) } };
	assert_int_equal(link_open(&seat.link, LINK_DISPATCHER, &ours), 0);
	assert_int_equal(link_open(&worker, LINK_WORKER, &theirs), 0);
}

static int set_up(void **state)
{
	(void)state;
	dispatcher = calloc(1, sizeof(*dispatcher));
	connection = calloc(1, sizeof(*connection));
	assert_true(dispatcher && connection);
	dispatcher->server = &server;
	dispatcher->self = &self;
	dispatcher->kept_exchanges = (struct kept){ sizeof(struct exchange), 0, 0, NULL };
	dispatcher->kept_blocks = (struct kept){ KEPT_BLOCK_BYTES, 0, 0, NULL };
	assert_int_equal(loop_init(&dispatcher->loop), 0);
	list_init(&dispatcher->to_flush);
	list_init(&dispatcher->active);
	pool = &dispatcher->pools[0];
	pool->dispatcher = dispatcher;
	pool->options = &options;
	pool->name = "pool";
	pool->seats = seats;
	pool->seat_count = 1;
	list_init(&pool->queue);
	list_init(&pool->linked);
	assert_int_equal(pool_init_costs(pool), 0);
	dispatcher->pool_count = 1;
	seat = (struct seat){ .dispatcher = dispatcher, .pool = pool, .up = true };
	seat.slots = calloc(LINK_SLOTS, sizeof(*seat.slots));
	assert_non_null(seat.slots);
	memset(&seat.free_slots, 0xff, sizeof(seat.free_slots));
	list_init(&seat.in_active);
	outbox_init(&seat.outbox);
	open_link();
	connection->dispatcher = dispatcher;
	connection->watch.fd = -1;
	list_init(&connection->in_flush);
	list_init(&connection->exchanges);
	answered = 0;
	talks_on = false;
	return 0;
}

static int tear_down(void **state)
{
	struct list *link;

	(void)state;
	while ((link = connection->exchanges.next) != &connection->exchanges)
		exchange_free(container_of(link, struct exchange, in_connection));
	buffer_fini(&connection->out);
	buffer_free_kept();
	free(connection);
	outbox_fini(&seat.outbox);
	link_fini(&seat.link);
	link_fini(&worker);
	free(seat.slots);
	free(pool->costs);
	loop_fini(&dispatcher->loop);
	free(dispatcher);
	return 0;
}

/* A request of the client, with a body of so many bytes, given to the worker. */
static struct exchange *ask(size_t size)
{
	static const char body[LINK_PART_BYTES];
	const struct http_head head = { .method = HTTP_GET, .minor = 1, .keep_alive = true };
	struct exchange *exchange = exchange_new(connection, &head);

	assert_non_null(exchange);
	exchange->pool = pool;
	exchange->queued_ms = dispatcher->loop.now_ms;
	assert_true(exchange_take_block(exchange, BLOCK_SIZE));
	memset(exchange->block, 0, BLOCK_SIZE);
	assert_int_equal(body_append(&exchange->body, body, size), 0);
	assert_int_equal(slot_send(&seat, exchange), 0);
	return exchange;
}

static struct message take(void)
{
	struct message message;

	assert_int_equal(link_receive(&worker, &message), 1);
	assert_int_equal(message.kind, MESSAGE_REQUEST);
	assert_true(link_take(&worker, message.slot, message.generation));
	return message;
}

/* The whole answer to that request, with this header line. */
static void answer(const struct message *request, const char *line)
{
	const struct wire_answer head = { .status = 200,
					  .headers_size = (uint32_t)strlen(line) };
	struct message message = { .kind = MESSAGE_ANSWER, .flags = MESSAGE_LAST,
				   .slot = request->slot, .generation = request->generation,
				   .size = (uint32_t)(sizeof(head) + strlen(line)) };
	char *place = link_alloc(&worker, LINK_NO_SLOT, message.size, &message.offset);

	assert_non_null(place);
	memcpy(place, &head, sizeof(head));
	memcpy(place + sizeof(head), line, strlen(line));
	assert_int_equal(link_send(&worker, &message), 0);
}

/* Not a word is left to be said until some of that was heard. */
static void talk(void)
{
	const struct message resume = { .kind = MESSAGE_RESUME };

	while (link_send(&worker, &resume) == 0)
		;
}

/* The worker's answer was heard: at once there is more to hear. */
static void talk_on(struct crew_worker *local, const struct crew_response *response)
{
	(void)local;
	(void)response;
	answered++;
	if (talks_on && answered < REQUESTS)
		answer(&requests[answered], "");
	if (talks_on)
		talk();
}

static bool client_was_told(int status)
{
	const struct span out = buffer_span(&connection->out);
	char line[16];

	snprintf(line, sizeof(line), "HTTP/1.1 %d", status);
	return out.size > strlen(line) && memcmp(out.at, line, strlen(line)) == 0;
}

static void who_answers_and_gives_back_nothing_is_believed(void **state)
{
	(void)state;
	for (int i = 0; i < 3; i++) {
		struct message request;

		ask(0);
		request = take();
		answer(&request, "A: b\r\n");
		seat_receive(&seat);
		assert_true(list_empty(&connection->exchanges));
	}
	assert_false(seat.condemned);
	assert_true(client_was_told(200));
	assert_int_equal(seat.in_hand, 0);
}

/* Else another request would come to stand where the first one still is. That the worker has
 * more to give back, of the request's body, is no excuse. */
static void who_gives_back_a_request_before_its_answer_is_condemned(void **state)
{
	struct message request;

	(void)state;
	ask(LINK_PART_BYTES);
	request = take();
	assert_int_equal(link_release(&worker, request.offset), 0);
	seat_receive(&seat);
	assert_true(seat.condemned);
	seat_down(&seat, CREW_CAUSE_PROTOCOL, 0);
	assert_true(client_was_told(502));
	assert_true(list_empty(&connection->exchanges));
}

/* All of it is here: there is nothing that could be cancelled. */
static void a_whole_answer_that_is_refused_is_over(void **state)
{
	struct message message;

	(void)state;
	ask(0);
	message = take();
	answer(&message, "no header\r\n");
	seat_receive(&seat);
	assert_true(client_was_told(502));
	assert_false(seat.condemned);
	assert_int_equal(seat.in_hand, 0);
	assert_true(slots_has(&seat.free_slots, message.slot));
	assert_int_equal(link_receive(&worker, &message), 0);
}

/* Others have their turn meanwhile. */
static void who_goes_on_talking_is_not_heard_to_the_end(void **state)
{
	(void)state;
	for (unsigned i = 0; i < REQUESTS; i++) {
		ask(0);
		requests[i] = take();
	}
	talks_on = true;
	answer(&requests[0], "");
	talk();
	seat_receive(&seat);
	assert_int_equal(answered, 1);
	assert_true(seat_has_news(&seat));
	talks_on = false;
	seat_receive(&seat);
	assert_int_equal(answered, REQUESTS);
	assert_false(seat.condemned || seat_has_news(&seat));
}

/* Of what the sanitizer allocates itself some would fail too. */
#ifndef __SANITIZE_ADDRESS__
static void who_dies_when_there_is_no_memory_keeps_nothing(void **state)
{
	struct rlimit limit;
	struct rlimit little;
	struct exchange *waits;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_AS, &limit), 0);
	little = (struct rlimit){ 1u << 30, limit.rlim_max };
	ask(0);
	waits = ask(0);
	take();
	/* So many need more memory to be put in order than there is. */
	seat.in_hand = 1u << 30;
	assert_int_equal(setrlimit(RLIMIT_AS, &little), 0);
	seat_down(&seat, CREW_CAUSE_SIGNAL, 0);
	assert_int_equal(setrlimit(RLIMIT_AS, &limit), 0);
	assert_true(client_was_told(502));
	assert_int_equal(waits->state, EXCHANGE_QUEUED);
	assert_null(waits->seat);
	assert_int_equal(pool->queued, 1);
}

/* A call as large as one may be, with that token. */
static void call(uint32_t token)
{
	const struct wire_call head = {
		.token = token, .depth = 1, .target_size = 1,
		.body_size = WIRE_CALL_MAX_BYTES - sizeof(head) - 1,
	};
	struct message message = { .kind = MESSAGE_CALL,
				   .size = WIRE_CALL_MAX_BYTES };
	char *place = link_alloc(&worker, LINK_NO_SLOT, message.size, &message.offset);

	assert_non_null(place);
	memcpy(place, &head, sizeof(head));
	place[sizeof(head)] = '/';
	assert_int_equal(link_send(&worker, &message), 0);
}

static void who_calls_when_there_is_no_memory_is_answered(void **state)
{
	struct hog {
		struct hog *next;
		char bytes[WIRE_CALL_MAX_BYTES - sizeof(struct hog *)];
	} *hogs = NULL;
	struct wire_call_answer answer;
	struct message message;
	struct rlimit limit;
	struct rlimit none;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_AS, &limit), 0);
	none = (struct rlimit){ 1, limit.rlim_max };
	call(7);
	assert_int_equal(setrlimit(RLIMIT_AS, &none), 0);
	/* What was freed before is still there. */
	for (struct hog *hog; (hog = malloc(sizeof(*hog))) != NULL; hogs = hog)
		hog->next = hogs;
	seat_receive(&seat);
	assert_int_equal(setrlimit(RLIMIT_AS, &limit), 0);
	for (struct hog *next; hogs; hogs = next) {
		next = hogs->next;
		free(hogs);
	}
	assert_false(seat.condemned);
	assert_int_equal(dispatcher->call_count, 0);
	assert_int_equal(link_receive(&worker, &message), 1);
	assert_int_equal(message.kind, MESSAGE_CALL_ANSWER);
	assert_int_equal(message.generation, 7);
	assert_int_equal(message.flags, MESSAGE_LAST);
	assert_int_equal(message.size, sizeof(answer));
	memcpy(&answer, link_bytes(&worker, &message), sizeof(answer));
	assert_int_equal(answer.token, 7);
	assert_int_equal(answer.status, 503);
	assert_int_equal(answer.headers_size, 0);
	assert_int_equal(answer.body_size, 0);
}
#endif

int main(void)
{
#define AT_A_SEAT(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		AT_A_SEAT(who_answers_and_gives_back_nothing_is_believed),
		AT_A_SEAT(who_gives_back_a_request_before_its_answer_is_condemned),
		AT_A_SEAT(a_whole_answer_that_is_refused_is_over),
		AT_A_SEAT(who_goes_on_talking_is_not_heard_to_the_end),
#ifndef __SANITIZE_ADDRESS__
		AT_A_SEAT(who_dies_when_there_is_no_memory_keeps_nothing),
		AT_A_SEAT(who_calls_when_there_is_no_memory_is_answered),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
