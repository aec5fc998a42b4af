/* SPDX-License-Identifier: MIT */
/* What a worker may do with what it was given, and what becomes of that when it dies: a
 * dispatcher with one seat, and this test at the worker's end of its link. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <crew/crew.h>

#include "base/os/os.h"
#include "dispatch/test_seat.h"

static struct message requests[REQUESTS];
static unsigned answered;
static unsigned answered_in_ms;
static unsigned called_whole;
static bool talks_on;

static void talk_on(struct crew_worker *local, const struct crew_response *response);

static int set_up(void **state)
{
	(void)state;
	server.hooks.on_response = talk_on;
	answered = 0;
	called_whole = 0;
	talks_on = false;
	set_up_seat();
	return 0;
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
	answered++;
	answered_in_ms = response->duration_ms;
	called_whole += response->whole;
	if (talks_on && answered < REQUESTS)
		answer(&requests[answered], "");
	if (talks_on)
		talk();
}

/* A stream of events; some of the first one, and perhaps all of it. */
static void begin_events(const struct message *request, unsigned flags)
{
	const struct wire_answer head = { .status = 200, .body_size = WIRE_UNKNOWN };
	struct message message = { .kind = MESSAGE_ANSWER,
				   .flags = MESSAGE_COPIED | MESSAGE_EVENTS,
				   .slot = request->slot, .generation = request->generation,
				   .size = sizeof(head) };
	char *place = link_alloc(&worker, LINK_NO_SLOT, message.size, &message.offset);

	assert_non_null(place);
	memcpy(place, &head, sizeof(head));
	assert_int_equal(link_send(&worker, &message), 0);
	message.kind = MESSAGE_ANSWER_PART;
	message.flags = (uint16_t)flags;
	message.size = 4;
	place = link_alloc(&worker, LINK_NO_SLOT, message.size, &message.offset);
	assert_non_null(place);
	memcpy(place, "dat\n", 4);
	assert_int_equal(link_send(&worker, &message), 0);
}

static bool client_got(const char *end)
{
	const struct span out = buffer_span(&connection->out);
	const size_t size = strlen(end);

	return out.size > size && memcmp(out.at + out.size - size, end, size) == 0;
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
	seat_down(&seat, CREW_CAUSE_PROTOCOL);
	assert_true(client_was_told(502));
	assert_true(list_empty(&connection->exchanges));
}

/* It has made our half writable for itself. */
static struct wire_request *written_by_worker(const struct message *request)
{
	void *arena = (void *)(uintptr_t)worker.peer_arena;

	assert_int_equal(mprotect(arena, LINK_ARENA_BYTES, PROT_READ | PROT_WRITE), 0);
	return (void *)((char *)arena + request->offset);
}

/* As encoded straight into the link, and for no hook. */
static struct exchange *ask_without_a_copy(void)
{
	struct exchange *exchange = ask(0);

	exchange->route = &rows[0];
	exchange_drop_block(exchange);
	free(exchange->label);
	exchange->label = NULL;
	return exchange;
}

static void who_dies_and_wrote_into_its_request_leaves_nothing_to_run_again(void **state)
{
	struct message request;

	(void)state;
	ask_without_a_copy();
	request = take();
	written_by_worker(&request)->size = UINT32_MAX;
	seat_down(&seat, CREW_CAUSE_SIGNAL);
	assert_true(client_was_told(502));
	assert_int_equal(pool->queued, 0);
}

/* What it has not begun is to be given to another. */
static void who_wrote_into_a_request_is_condemned(void **state)
{
	struct message request;

	(void)state;
	ask_without_a_copy();
	assert_int_equal(link_receive(&worker, &request), 1);
	written_by_worker(&request)->path.size = BLOCK_SIZE;
	assert_false(seat_pull_back(&seat, false));
	assert_true(seat.condemned);
	seat_down(&seat, CREW_CAUSE_PROTOCOL);
	assert_true(client_was_told(502));
}

static void what_a_worker_wrote_into_a_request_is_shown_if_it_is_there(void **state)
{
	struct exchange *exchange = ask_without_a_copy();
	struct message request = take();
	struct wire_request *wire = written_by_worker(&request);
	const char *method;
	const char *path;

	(void)state;
	wire->method = (struct wire_text){ UINT32_MAX - 1, 1 };
	wire->path = (struct wire_text){ BLOCK_SIZE - 2, 2 }; /* with nothing behind it */
	memcpy((char *)wire + BLOCK_SIZE - 2, "/a", 2);
	exchange_describe(exchange, &method, &path);
	assert_string_equal(method, "?");
	assert_string_equal(path, "/a");
	/* Nor is it looked at again. */
	memset(wire, 0xff, BLOCK_SIZE);
	exchange_describe(exchange, &method, &path);
	assert_string_equal(path, "/a");
	free(exchange->label);
	exchange->label = NULL;
	exchange_describe(exchange, &method, &path);
	assert_string_equal(path, "?");
}

/* Of that request the worker says that. */
static void say(unsigned kind, const struct message *request)
{
	struct message message = { .kind = (uint16_t)kind, .slot = request->slot,
				   .generation = request->generation };
	char *place;

	if (kind == MESSAGE_SUBSCRIBE) {
		message.size = 5;
		place = link_alloc(&worker, LINK_NO_SLOT, message.size, &message.offset);
		assert_non_null(place);
		memcpy(place, "topic", message.size);
	}
	assert_int_equal(link_send(&worker, &message), 0);
}

static unsigned publish(void)
{
	return topic_publish(dispatcher, (struct span){ "topic", 5 }, (struct span){ "x", 1 });
}

/* Else it could speak of what another worker is at by now. */
static void speak_of_a_request_that_was_not_begun(unsigned kind)
{
	struct message request;

	ask(0);
	assert_int_equal(link_receive(&worker, &request), 1);
	say(kind, &request);
	seat_receive(&seat);
	assert_true(seat.condemned);
	assert_int_equal(publish(), 0);
}

static void who_defers_what_it_has_not_begun_is_condemned(void **state)
{
	(void)state;
	speak_of_a_request_that_was_not_begun(MESSAGE_DEFER);
}

static void who_is_alive_with_what_it_has_not_begun_is_condemned(void **state)
{
	(void)state;
	speak_of_a_request_that_was_not_begun(MESSAGE_ALIVE);
}

static void who_subscribes_for_what_it_has_not_begun_is_condemned(void **state)
{
	(void)state;
	speak_of_a_request_that_was_not_begun(MESSAGE_SUBSCRIBE);
}

/* It has begun with it, and then says that it has not. */
static void what_was_said_of_a_request_does_not_go_to_the_next_worker_with_it(void **state)
{
	struct exchange *exchange = ask(0);
	struct message request = take();

	(void)state;
	say(MESSAGE_SUBSCRIBE, &request);
	seat_receive(&seat);
	assert_int_equal(publish(), 1);
	assert_true(buffer_size(&exchange->early) > 0);
	link_offer(&worker, request.slot, request.generation);
	seat_pull_back(&seat, false);
	assert_false(seat.condemned);
	assert_int_equal(exchange->state, EXCHANGE_QUEUED);
	assert_int_equal(publish(), 0);
	assert_int_equal(buffer_size(&exchange->early), 0);
}

static void a_stop_ends_a_stream_between_two_events(void **state)
{
	struct exchange *exchange = ask(0);
	struct message message = take();

	(void)state;
	begin_events(&message, 0);
	seat_receive(&seat);
	assert_true(client_got("4\r\ndat\n\r\n"));
	assert_true(exchange_end_stream(exchange));
	assert_true(client_got("4\r\ndat\n\r\n0\r\n\r\n"));
	assert_int_equal(link_receive(&worker, &message), 1);
	assert_int_equal(message.kind, MESSAGE_CANCEL);
	assert_int_equal(message.flags, 0);
}

/* Its worker alone knows the rest of the event. */
static void a_stop_has_a_worker_end_what_is_amid_an_event(void **state)
{
	struct exchange *exchange = ask(0);
	struct message message = take();

	(void)state;
	begin_events(&message, MESSAGE_MORE);
	seat_receive(&seat);
	for (int i = 0; i < 2; i++) {
		assert_false(exchange_end_stream(exchange));
		assert_true(client_got("4\r\ndat\n\r\n"));
		assert_int_equal(link_receive(&worker, &message), i == 0);
	}
	assert_int_equal(message.kind, MESSAGE_CANCEL);
	assert_int_equal(message.flags, MESSAGE_LAST);
	message.kind = MESSAGE_ANSWER_PART;
	assert_int_equal(link_send(&worker, &message), 0);
	seat_receive(&seat);
	assert_true(client_got("4\r\ndat\n\r\n0\r\n\r\n"));
	assert_true(list_empty(&connection->exchanges));
}

static void what_is_published_amid_the_last_event_comes_behind_it(void **state)
{
	struct exchange *exchange = ask(0);
	struct message message = take();

	(void)state;
	begin_events(&message, MESSAGE_MORE);
	seat_receive(&seat);
	assert_int_equal(topic_subscribe(exchange, span_of("topic")), 0);
	assert_int_equal(publish(), 1);
	assert_true(client_got("4\r\ndat\n\r\n"));
	message.kind = MESSAGE_ANSWER_PART;
	message.flags = MESSAGE_LAST;
	message.size = 0;
	assert_int_equal(link_send(&worker, &message), 0);
	seat_receive(&seat);
	assert_true(client_got("4\r\ndat\n\r\n1\r\nx\r\n0\r\n\r\n"));
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

/* As long as a handler can make them, and a byte more, which none can. */
static void header_lines_may_be_so_long_and_no_longer(void **state)
{
	static char lines[WIRE_HEADERS_MAX_BYTES + 2];
	struct message message;

	(void)state;
	for (size_t size = WIRE_HEADERS_MAX_BYTES; size <= WIRE_HEADERS_MAX_BYTES + 1; size++) {
		memset(lines, 'v', size);
		memcpy(lines, "A: ", 3);
		memcpy(lines + size - 2, "\r\n", 3);
		ask(0);
		message = take();
		answer(&message, lines);
		seat_receive(&seat);
		assert_int_equal(seat.condemned, size > WIRE_HEADERS_MAX_BYTES);
	}
	assert_true(client_was_told(200));
}

/* As long as a worker makes it, and a byte more: of a longer answer the rest comes in parts, for
 * which it needs credit. */
static void the_first_part_of_an_answer_may_be_so_long_and_no_longer(void **state)
{
	(void)state;
	for (uint32_t size = LINK_CREDIT_BYTES; size <= LINK_CREDIT_BYTES + 1; size++) {
		const struct wire_answer head = { .status = 200,
						  .body_size = size - sizeof(head) };
		struct message message = { .kind = MESSAGE_ANSWER, .flags = MESSAGE_LAST,
					   .size = size };
		struct message request;
		char *place;

		ask(0);
		request = take();
		message.slot = request.slot;
		message.generation = request.generation;
		place = link_alloc(&worker, LINK_NO_SLOT, size, &message.offset);
		assert_non_null(place);
		memset(place, 'b', size);
		memcpy(place, &head, sizeof(head));
		assert_int_equal(link_send(&worker, &message), 0);
		seat_receive(&seat);
		assert_int_equal(seat.condemned, size > LINK_CREDIT_BYTES);
	}
	assert_true(client_was_told(200));
}

/* The worker copies what has come of bodies, and gives it back. How much that was; none of
 * it is a request. */
static unsigned take_parts(void)
{
	struct message message;
	unsigned count = 0;

	while (link_receive(&worker, &message) > 0) {
		assert_int_equal(message.kind, MESSAGE_BODY_PART);
		assert_int_equal(link_release(&worker, message.offset), 0);
		count++;
	}
	return count;
}

static void look_for_who_is_stuck_after(uint64_t ms)
{
	dispatcher->loop.now_ms += ms;
	pull_back(&dispatcher->loop, &dispatcher->pull_back);
}

/* Until the body of a request is whole nobody can begin with it. */
static void who_takes_bodies_in_parts_is_not_stuck(void **state)
{
	struct message message;
	unsigned count;
	unsigned parts = 0;

	(void)state;
	for (unsigned i = 0; i < REQUESTS; i++) {
		ask(PARTS * LINK_PART_BYTES);
		assert_int_equal(link_receive(&worker, &message), 1);
		assert_int_equal(message.kind, MESSAGE_REQUEST);
		parts += take_parts();
	}
	for (count = 1; count > 0; parts += count) {
		look_for_who_is_stuck_after(PULL_BACK_ANYWAY_MS + 1);
		count = take_parts();
	}
	assert_int_equal(parts, REQUESTS * PARTS);
	/* It gave back all, and has not begun: now it gets them anew. */
	look_for_who_is_stuck_after(PULL_BACK_ANYWAY_MS + 1);
	assert_int_equal(link_receive(&worker, &message), 1);
	assert_int_equal(message.kind, MESSAGE_REQUEST);
}

/* Else, where all workers are slow, a body would never be whole. */
static void who_gets_a_body_anew_is_given_more_time(void **state)
{
	struct exchange *exchanges[REQUESTS];
	struct message message;

	(void)state;
	/* Cheap, so that the worker is given both each time. */
	pool->costs[pool->route_count].ns = 1;
	dispatcher->processors = 1;
	for (unsigned i = 0; i < REQUESTS; i++)
		exchanges[i] = ask(PARTS * LINK_PART_BYTES);
	for (unsigned times = 0; times < 3; times++) {
		while (link_receive(&worker, &message) > 0) {
			if (message.kind == MESSAGE_BODY_PART)
				assert_int_equal(link_release(&worker, message.offset), 0);
		}
		look_for_who_is_stuck_after(1);
		take_parts();
		look_for_who_is_stuck_after(1);
		take_parts();
		assert_int_equal(exchanges[0]->begun_anew, times);
		look_for_who_is_stuck_after(1);
		look_for_who_is_stuck_after(PULL_BACK_ANYWAY_MS << times);
		assert_int_equal(exchanges[0]->begun_anew, times);
		assert_true(loop_timer_is_set(&dispatcher->pull_back));
		look_for_who_is_stuck_after(1);
		assert_int_equal(exchanges[0]->begun_anew, times + 1);
	}
}

/* One that is taken back from a worker is answered, with it those behind it are over, and
 * another worker has nothing left to do. */
static void whose_requests_end_meanwhile_is_not_looked_at(void **state)
{
	struct seat other;
	struct link other_worker;
	struct message message;
	struct exchange *late;
	struct exchange *last;

	(void)state;
	add_seat(&other, &other_worker);
	late = ask(0);
	last = ask(0);
	ask_at(&other, 0);
	ask(0);
	assert_int_equal(link_receive(&worker, &message), 1);
	message = take();
	answer(&message, "");
	take();
	seat_receive(&seat);
	assert_int_equal(last->state, EXCHANGE_DONE);
	last->keep_alive = false;
	late->queued_ms = dispatcher->loop.now_ms;
	look_for_who_is_stuck_after(options.queue_timeout_ms);
	assert_true(client_was_told(503));
	assert_true(list_empty(&connection->exchanges));
	assert_int_equal(other.in_hand, 0);
	remove_seat(&other, &other_worker);
}

static struct seat *seat_of_the_next(void)
{
	struct exchange *exchange = request_of(0);

	pool_enter(exchange);
	return exchange->seat;
}

/* It may be stopped, or at something of its own. */
static void who_takes_nothing_is_given_no_more_while_others_are_idle(void **state)
{
	struct link other_worker;
	struct message message;
	struct seat other;

	(void)state;
	add_seat(&other, &other_worker);
	pool->costs[pool->route_count].ns = PACK_US * 1000u;
	assert_ptr_equal(seat_of_the_next(), &seat);
	dispatcher->loop.now_ms += STILL_MS + 1;
	pull_back_single(dispatcher);
	assert_int_equal(seat.in_hand, 0);
	assert_int_equal(other.in_hand, 1);
	/* It alone is idle: it may have it, and one looks soon whether it takes it. */
	assert_ptr_equal(seat_of_the_next(), &seat);
	assert_true(loop_timer_is_set(&dispatcher->pull_back));
	assert_int_equal(link_receive(&other_worker, &message), 1);
	assert_true(link_take(&other_worker, message.slot, message.generation));
	answer_at(&other_worker, &message, "");
	seat_receive(&other);
	look_for_who_is_stuck_after(PULL_BACK_MS + 1);
	assert_int_equal(seat.in_hand, 0);
	assert_int_equal(other.in_hand, 1);
	assert_int_equal(link_receive(&other_worker, &message), 1);
	assert_true(link_take(&other_worker, message.slot, message.generation));
	answer_at(&other_worker, &message, "");
	seat_receive(&other);
	assert_ptr_equal(seat_of_the_next(), &other);
	/* It stirs. */
	bell_announce(&worker.sleeper);
	assert_ptr_equal(seat_of_the_next(), &seat);
	remove_seat(&other, &other_worker);
}

/* Nor is what it has taken away, only to be given to it again. */
static void who_takes_nothing_and_is_alone_keeps_what_it_has(void **state)
{
	struct message message;

	(void)state;
	seat.doubted = true;
	seat.doubted_epoch = link_peer_epoch(&seat.link);
	ask(0);
	for (unsigned i = 0; i < 3; i++)
		look_for_who_is_stuck_after(PULL_BACK_ANYWAY_MS + 1);
	assert_int_equal(seat.in_hand, 1);
	assert_int_equal(link_receive(&worker, &message), 1);
	assert_int_equal(message.kind, MESSAGE_REQUEST);
	assert_int_equal(link_receive(&worker, &message), 0);
}

static void who_is_slow_is_not_thought_to_be_quicker(void **state)
{
	struct link other_worker;
	struct seat other;

	(void)state;
	add_seat(&other, &other_worker);
	pool->costs[pool->route_count].ns = 500u * 1000u;
	assert_ptr_equal(seat_of_the_next(), &seat);
	take();
	dispatcher->loop.now_ms += STILL_MS + 1;
	pull_back_single(dispatcher);
	assert_int_equal(seat.in_hand, 1);
	assert_int_equal(pool->costs[pool->route_count].ns, 500u * 1000u);
	remove_seat(&other, &other_worker);
}

/* It may be at a request of the dispatcher before us. */
static void who_has_not_looked_at_its_link_is_given_no_work_while_others_are_idle(void **state)
{
	const struct control up = { .kind = CONTROL_LINK_UP, .index = 2, .generation = 1 };
	struct link other_worker;
	struct seat other;
	struct link_fds ours;

	(void)state;
	add_seat(&other, &other_worker);
	seat_down(&seat, CREW_CAUSE_SIGNAL);
	assert_int_equal(link_create(&ours), 0);
	seat_up(pool, &up, &ours);
	assert_true(seat.up);
	assert_ptr_equal(seat_of_the_next(), &other);
	remove_seat(&other, &other_worker);
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

/* It is at the head of the queue, but those behind it wait no longer for that. */
static void what_runs_again_does_not_hide_who_waits_behind_it(void **state)
{
	const uint64_t start_ms = dispatcher->loop.now_ms;
	struct exchange *again;
	struct exchange *behind;

	(void)state;
	again = ask(0);
	again->route = &rows[0];
	behind = ask(0);
	take();
	dispatcher->loop.now_ms = start_ms + options.queue_timeout_ms / 2;
	seat_down(&seat, CREW_CAUSE_SIGNAL);
	assert_int_equal(pool->queued, 2);
	assert_ptr_equal(pool->queue.next, &again->in_pool);
	assert_int_equal(pool->timer.due_ms, start_ms + options.queue_timeout_ms);
	dispatcher->loop.now_ms = start_ms + options.queue_timeout_ms;
	pool_deadline(&dispatcher->loop, &pool->timer);
	assert_int_equal(behind->state, EXCHANGE_DONE);
	assert_int_equal(behind->status, 503);
	assert_int_equal(again->state, EXCHANGE_QUEUED);
	dispatcher->loop.now_ms += options.queue_timeout_ms / 2;
	pool_deadline(&dispatcher->loop, &pool->timer);
	assert_true(list_empty(&connection->exchanges));
}

/* What its worker died of is in it, though nobody waits for it. */
static void what_a_worker_died_at_is_named(void **state)
{
	struct exchange *exchange = request_of(0);
	struct wire_request *wire = (void *)exchange->block;

	(void)state;
	wire->id = 42;
	wire->size = BLOCK_SIZE;
	wire->method = (struct wire_text){ sizeof(*wire), 3 };
	wire->path = (struct wire_text){ sizeof(*wire) + 4, 5 };
	memcpy(wire + 1, "GET\0/last", sizeof("GET\0/last"));
	assert_int_equal(slot_send(&seat, exchange), 0);
	take();
	exchange_free(exchange);
	seat_down(&seat, CREW_CAUSE_SIGNAL);
	assert_string_equal(last_line, "pool[0] (pid 0) died at request 42 (GET /last): "
				       "nobody waits for it any more");
}

static void what_is_run_again_is_named_too(void **state)
{
	struct exchange *again = ask(0);
	char line[100];

	(void)state;
	again->route = &rows[0];
	take();
	seat_down(&seat, CREW_CAUSE_SIGNAL);
	snprintf(line, sizeof(line), "pool[0] (pid 0) died at request %u ( ): run again",
		 (unsigned)again->id);
	assert_string_equal(last_line, line);
}

/* Nothing has become of it. */
static void what_was_not_begun_is_not_named(void **state)
{
	(void)state;
	ask(0);
	seat_down(&seat, CREW_CAUSE_SIGNAL);
	assert_int_equal(pool->queued, 1);
	assert_string_equal(last_line, "");
}

/* Of that the parent has told long ago. */
static void who_was_the_last_of_a_degraded_pool_leaves_nobody_waiting(void **state)
{
	(void)state;
	pool_set_degraded(pool, true);
	ask(0);
	ask(0);
	take();
	seat_down(&seat, CREW_CAUSE_SIGNAL);
	assert_true(client_was_told(502));
	assert_int_equal(pool->queued, 0);
	assert_true(list_empty(&connection->exchanges));
}

/* Else it would stay idle for good. */
static void who_is_refused_while_the_parent_hears_nothing_is_so_later(void **state)
{
	const struct control ups[] = {
		{ .kind = CONTROL_LINK_UP, .index = 3, .generation = 7 },
		{ .kind = CONTROL_LINK_UP, .index = 4, .generation = 8 },
	};
	int fds[OS_CHANNEL_FDS_MAX];
	struct control order;
	size_t fd_count;
	int ends[2];

	(void)state;
	assert_int_equal(os_channel_create(ends), 0);
	self.channel = ends[0];
	while (os_channel_send(self.channel, "", 1, NULL, 0) == 0)
		;
	pool->seats = malloc(sizeof(*pool->seats));
	assert_non_null(pool->seats);
	pool->seats[0] = &seat;
	seat.up = false;
	seat_refuse(pool, &ups[0], "of this test");
	seat_refuse(pool, &ups[1], "of this test");
	retry_saying(&dispatcher->loop, &dispatcher->retry);
	assert_true(loop_timer_is_set(&dispatcher->retry));
	while (os_channel_receive(ends[1], &order, sizeof(order), fds, &fd_count) > 0)
		;
	retry_saying(&dispatcher->loop, &dispatcher->retry);
	for (size_t i = 0; i < COUNT_OF(ups); i++) {
		assert_int_equal(os_channel_receive(ends[1], &order, sizeof(order), fds,
						    &fd_count), sizeof(order));
		assert_int_equal(order.kind, CONTROL_CONDEMN);
		assert_int_equal(order.index, ups[i].index);
		assert_int_equal(order.generation, ups[i].generation);
		assert_int_equal(order.cause, CREW_CAUSE_DESCRIPTOR_LIMIT);
	}
	retry_saying(&dispatcher->loop, &dispatcher->retry);
	assert_int_equal(os_channel_receive(ends[1], &order, sizeof(order), fds, &fd_count),
			 -EAGAIN);
	assert_int_equal(pool->seat_count, 2);
	free(pool->seats[1]);
	free(pool->seats);
	pool->seats = seats;
	pool->seat_count = 1;
	self.channel = -1;
	close(ends[0]);
	close(ends[1]);
}

/* It will not say when it has room: one looks for oneself, but not all the time. */
static void who_has_no_room_is_asked_again_a_moment_later(void **state)
{
	const uint64_t began_ms = dispatcher->loop.now_ms;
	struct exchange *exchange;
	uint32_t offset;
	uint32_t first;

	(void)state;
	assert_non_null(link_alloc(&seat.link, LINK_NO_SLOT, BLOCK_SIZE, &first));
	while (link_alloc(&seat.link, LINK_NO_SLOT, BLOCK_SIZE, &offset))
		;
	exchange = request_of(0);
	pool_enter(exchange);
	assert_int_equal(exchange->state, EXCHANGE_QUEUED);
	assert_int_equal(pool->queued, 1);
	assert_true(loop_timer_is_set(&dispatcher->pull_back));
	assert_true(dispatcher->pull_back.due_ms >= seat.full_until_ms);
	assert_true(link_free(&seat.link, first) > 0);
	pool_feed(pool);
	assert_int_equal(pool->queued, 1);
	dispatcher->loop.now_ms = dispatcher->pull_back.due_ms;
	assert_true(dispatcher->loop.now_ms - began_ms <= PULL_BACK_ANYWAY_MS);
	pool_feed(pool);
	assert_int_equal(pool->queued, 0);
	assert_int_equal(exchange->state, EXCHANGE_LINKED);
	assert_ptr_equal(exchange->seat, &seat);
	take();
}

static void who_is_queued_behind_what_is_broken_is_not_begun(void **state)
{
	struct exchange *exchange = request_of(0);
	struct message message;

	(void)state;
	exchange->state = EXCHANGE_QUEUED;
	list_push_back(&pool->queue, &exchange->in_pool);
	pool->queued = dispatcher->pending = 1;
	connection->broken = true;
	pool_feed(pool);
	assert_int_equal(pool->queued, 0);
	assert_int_equal(link_receive(&worker, &message), 0);
}

/* It has begun when its client closes its side, or begins then. */
static void close_before_a_stream(bool begins_later)
{
	struct message request;
	struct message stream;
	struct message late;
	struct exchange *queued;

	ask(0);
	ask(0);
	ask(0);
	queued = request_of(0);
	queued->state = EXCHANGE_QUEUED;
	list_push_back(&pool->queue, &queued->in_pool);
	pool->queued = dispatcher->pending = 1;
	request = take();
	stream = take();
	late = take();
	connection->peer_closed = begins_later;
	begin_events(&stream, 0);
	seat_receive(&seat);
	if (!begins_later)
		connection_half_closed(connection);
	assert_int_equal(pool->queued, 0);
	answer(&late, "");
	seat_receive(&seat);
	assert_int_equal(answered, 0);
	pool_feed(pool);
	answer(&request, "A: b\r\n");
	seat_receive(&seat);
	assert_false(seat.condemned);
	assert_true(client_got("A: b\r\n\r\n"));
	assert_true(list_empty(&connection->exchanges));
	assert_true(connection->closing);
	assert_int_equal(answered, 4);
	assert_int_equal(called_whole, 1);
}

static void what_is_behind_a_stream_that_is_given_up_is_so_too(void **state)
{
	(void)state;
	close_before_a_stream(false);
}

static void what_is_behind_a_stream_that_begins_too_late_is_given_up_too(void **state)
{
	(void)state;
	close_before_a_stream(true);
}

/* A call of the pool, with a body of one byte; with token 0 nobody is to be told of its end. */
static void call_pool_for(uint32_t token, uint32_t timeout_ms, const char *method,
			  const char *target, const char *type)
{
	const struct wire_call head = {
		.token = token, .depth = 1, .timeout_ms = timeout_ms, .pool_size = 4,
		.method_size = (uint32_t)strlen(method),
		.target_size = (uint32_t)strlen(target),
		.type_size = (uint32_t)strlen(type), .body_size = 1,
	};
	struct message message = { .kind = MESSAGE_CALL };
	char text[512];
	char *place;

	message.size = (uint32_t)sizeof(head) +
		       (uint32_t)snprintf(text, sizeof(text), "pool%s%s%sb", method, target, type);
	place = link_alloc(&worker, LINK_NO_SLOT, message.size, &message.offset);
	assert_non_null(place);
	memcpy(place, &head, sizeof(head));
	memcpy(place + sizeof(head), text, message.size - sizeof(head));
	assert_int_equal(link_send(&worker, &message), 0);
	seat_receive(&seat);
	seat_flush(&seat);
	assert_false(seat.condemned);
}

static void call_pool(const char *method, const char *target, const char *type)
{
	call_pool_for(7, 0, method, target, type);
}

/* Its library lets no such call out; but a worker may write what it likes. */
static void a_call_is_one_request_and_has_no_more_lines_than_that(void **state)
{
	static const char *const calls[][3] = {
		{ "GET", "/ HTTP/1.1\r\nX-More: yes\r\nX-Rest: a", "a/b" },
		{ "GET", "/ HTTP/1.1\r\nX-More: yes\r\nX-Rest: a", "" },
		{ "GET", "/ HTTP/1.1\r\nHost: a\r\n\r\n", "a/b" },
		{ "GET", "/ HTTP/1.1\nX-More: yes\nX-Rest: a", "a/b" },
		{ "GET / HTTP/1.1\r\nX-More:", "/", "a/b" },
		{ "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET", "/", "a/b" },
		{ "GET", "/", "a/b\r\nX-More: yes" },
		{ "GET", "/", "a/b\r\n\r\nGET / HTTP/1.1\r\n" },
		{ "GET", "/", "a/b\r\n more" },
		{ "", "/", "" },
		{ "GET", "", "" },
	};
	struct wire_call_answer answer;
	struct wire_request request;
	struct message message;

	(void)state;
	for (unsigned i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		call_pool(calls[i][0], calls[i][1], calls[i][2]);
		assert_int_equal(link_receive(&worker, &message), 1);
		assert_int_equal(message.kind, MESSAGE_CALL_ANSWER);
		memcpy(&answer, link_bytes(&worker, &message), sizeof(answer));
		assert_int_equal(answer.status, 400);
		assert_int_equal(link_release(&worker, message.offset), 0);
		assert_int_equal(dispatcher->call_count, 0);
	}
	call_pool("GET", "/", "a/b");
	message = take();
	memcpy(&request, link_bytes(&worker, &message), sizeof(request));
	assert_int_equal(request.header_count, 3);
	assert_int_equal(request.body.size, 1);
}

/* The answer to a call; false: there is none. */
static bool was_told_an_answer(struct link *its_worker)
{
	struct message message;

	if (link_receive(its_worker, &message) <= 0)
		return false;
	assert_int_equal(message.kind, MESSAGE_CALL_ANSWER);
	return true;
}

/* A place that was removed and comes back begins to count anew, and so do the calls of who
 * sits there. */
static void who_comes_after_a_caller_does_not_get_its_answer(void **state)
{
	struct control up = { .kind = CONTROL_LINK_UP, .index = 2, .generation = 1 };
	struct seat other;
	struct link other_worker;
	struct link_fds ours;
	struct link_fds theirs;
	struct message request;

	(void)state;
	add_seat(&other, &other_worker);
	seat.index = up.index;
	seat.worker_generation = up.generation;
	seat.draining = true;
	call_pool("GET", "/", "");
	seat_down(&seat, CREW_CAUSE_SIGNAL);
	link_fini(&worker);
	assert_int_equal(link_create(&ours), 0);
	theirs = (struct link_fds){ dup(ours.memory),
				    { dup(ours.bell[0]), dup(ours.bell[1]) } };
	assert_int_equal(link_open(&worker, LINK_WORKER, &theirs), 0);
	seat_up(pool, &up, &ours);
	assert_ptr_equal(seat_find(pool, up.index, up.generation), &seat);
	seat.draining = true;
	call_pool("GET", "/", "");
	assert_int_equal(dispatcher->call_count, 1);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(link_receive(&other_worker, &request), 1);
		assert_true(link_take(&other_worker, request.slot, request.generation));
		answer_at(&other_worker, &request, "");
		seat_receive(&other);
		assert_int_equal(dispatcher->call_count, 1 - i);
		seat_flush(&seat);
		assert_int_equal(was_told_an_answer(&worker), i == 1);
	}
	assert_false(was_told_an_answer(&worker));
	remove_seat(&other, &other_worker);
}

/* The calls that are not over. */
static unsigned calls_of(struct call *ret_calls[], unsigned room)
{
	unsigned count = 0;

	list_each(link, &dispatcher->connections) {
		assert_true(count < room);
		ret_calls[count++] =
			container_of(link, struct connection, in_dispatcher)->call;
	}
	return count;
}

/* So large that there is no memory for it. */
static void who_would_miss_an_event_is_cut_off(void **state)
{
	const struct span topic = { "news", 4 };
	const struct span event = { "data", (size_t)1 << 50 };
	struct exchange *exchange = ask(0);

	(void)state;
	assert_int_equal(topic_subscribe(exchange, topic), 0);
	list_init(&connection->in_dispatcher);
	assert_int_equal(topic_publish(dispatcher, topic, event), 0);
	assert_true(connection->broken);
	assert_int_equal(dispatcher->slow_subscribers, 1);
	list_remove(&connection->in_dispatcher);
}

static uint64_t latest_due_ms(void)
{
	uint64_t latest = 0;

	for (size_t i = 0; i < dispatcher->loop.timer_count; i++) {
		if (dispatcher->loop.timers[i]->due_ms > latest)
			latest = dispatcher->loop.timers[i]->due_ms;
	}
	return latest;
}

static void a_stream_that_is_called_can_be_kept_alive(void **state)
{
	const uint64_t pool_ms = options.request_timeout_ms + options.queue_timeout_ms;
	struct message request;
	struct message alive = { .kind = MESSAGE_ALIVE };

	(void)state;
	call_pool("GET", "/", "");
	request = take();
	begin_events(&request, 0);
	seat_receive(&seat);
	assert_int_equal(latest_due_ms(), dispatcher->loop.now_ms + pool_ms);
	dispatcher->loop.now_ms += pool_ms / 2;
	alive.slot = request.slot;
	alive.generation = request.generation;
	assert_int_equal(link_send(&worker, &alive), 0);
	seat_receive(&seat);
	assert_int_equal(latest_due_ms(), dispatcher->loop.now_ms + pool_ms);
}

/* With which a call is answered at once; 0: it goes on. */
static int status_of_a_call_of(struct seat *place, struct link *its_worker)
{
	const struct wire_call head = { .token = 7, .depth = 1, .method_size = 3,
					.target_size = 1 };
	struct wire_call_answer answer = { .status = 0 };
	struct message message;
	char bytes[sizeof(head) + 4];

	memcpy(bytes, &head, sizeof(head));
	memcpy(bytes + sizeof(head), "GET/", 4);
	seat_flush(place);
	while (link_receive(its_worker, &message) > 0)
		;
	assert_int_equal(call_begin(dispatcher, place, (struct span){ bytes, sizeof(bytes) },
				    NULL, NULL), 0);
	seat_flush(place);
	while (link_receive(its_worker, &message) > 0) {
		if (message.kind == MESSAGE_CALL_ANSWER && message.size == 0)
			answer.status = 503;
		else if (message.kind == MESSAGE_CALL_ANSWER)
			memcpy(&answer, link_bytes(its_worker, &message), sizeof(answer));
	}
	return (int)answer.status;
}

/* Else one that calls without end would keep all others from it. */
static void who_calls_much_leaves_as_many_places_to_others(void **state)
{
	struct link other_worker;
	struct seat other;

	(void)state;
	add_seat(&other, &other_worker);
	pool->queue_max = dispatcher->max_pending = CALLS_MAX;
	dispatcher->call_count = CALLS_MAX - 3;
	assert_int_equal(status_of_a_call_of(&seat, &worker), 0);
	assert_int_equal(status_of_a_call_of(&seat, &worker), 0);
	assert_int_equal(status_of_a_call_of(&seat, &worker), 503);
	assert_int_equal(status_of_a_call_of(&other, &other_worker), 0);
	assert_int_equal(status_of_a_call_of(&other, &other_worker), 503);
	assert_int_equal(dispatcher->call_count, CALLS_MAX);
	call_pool_for(0, 0, "GET", "/", "");
	assert_int_equal(dispatcher->call_count, CALLS_MAX);
	assert_int_equal(dispatcher->calls_failed, 1);
	end_calls(&dispatcher->connections);
	assert_int_equal(dispatcher->call_count, CALLS_MAX - 3);
	seat_flush(&seat);
	seat_flush(&other);
	assert_int_equal(status_of_a_call_of(&seat, &worker), 0);
	assert_int_equal(status_of_a_call_of(&seat, &worker), 0);
	end_calls(&dispatcher->connections);
	remove_seat(&other, &other_worker);
}

/* Nobody waits for them; those that nobody was to be told of are made, but not for ever. */
static void who_dies_takes_the_calls_along_whose_answers_it_would_get(void **state)
{
	const uint64_t pool_ms = options.request_timeout_ms + options.queue_timeout_ms;
	struct connection *forgotten;
	struct call *calls[3];

	(void)state;
	seat.draining = true;
	pool->queue_max = dispatcher->max_pending = 3;
	call_pool("GET", "/", "");
	call_pool_for(0, UINT32_MAX, "GET", "/", "");
	forgotten = container_of(dispatcher->connections.prev, struct connection,
				 in_dispatcher);
	call_pool_for(8, UINT32_MAX, "GET", "/", "");
	assert_int_equal(calls_of(calls, 3), 3);
	assert_int_equal(pool->queued, 3);
	assert_int_equal(dispatcher->call_count, 3);
	seat_down(&seat, CREW_CAUSE_SIGNAL);
	assert_int_equal(dispatcher->call_count, 1);
	end_calls(&dispatcher->gone);
	assert_int_equal(pool->queued, 1);
	assert_int_equal(calls_of(calls, 1), 1);
	assert_ptr_equal(calls[0], forgotten->call);
	assert_int_equal(dispatcher->loop.timer_count, 2);
	assert_true(latest_due_ms() <= dispatcher->loop.now_ms + pool_ms);
}

/* Each request would have its line, for as long as that lasts. */
static void a_directory_that_is_gone_is_told_once_a_second(void **state)
{
	static const unsigned after_ms[] = { 0, 999, 1 };
	const struct crew_server with_mount = { .mounts = { { "/at/", "/nowhere/at/all" } } };
	const struct http_head head = { .method = HTTP_GET, .minor = 1 };
	char folder[] = "/tmp/crew-seat-XXXXXX";
	int fds[CREW_MOUNTS_MAX] = { -1 };

	(void)state;
	assert_non_null(mkdtemp(folder));
	fds[0] = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
	assert_true(fds[0] >= 0);
	assert_int_equal(rmdir(folder), 0);
	dispatcher->server = &with_mount;
	dispatcher_options.mount_fds = fds;
	dispatcher->loop.now_ms = 5000;
	for (unsigned i = 0; i < 3; i++) {
		dispatcher->loop.now_ms += after_ms[i];
		dispatcher->match = (struct route_match){ .rest = { "file", 4 } };
		last_line[0] = '\0';
		exchange_answer_file(exchange_new(connection, &head), &head);
		assert_int_equal(strstr(last_line, "cannot be opened again") != NULL, i != 1);
	}
	close(fds[0]);
	dispatcher->server = &server;
}

static void what_a_local_route_took_does_not_count_the_body_s_way(void **state)
{
	struct exchange *exchange = request_of(8);

	(void)state;
	exchange->pool = NULL;
	exchange->route = &rows[0];
	exchange->is_local = true;
	arena_init(&dispatcher->arena, NULL);
	dispatcher->loop.now_ms += 5000;
	local_answer_block(exchange);
	assert_int_equal(answered, 1);
	assert_int_equal(answered_in_ms, 0);
	arena_fini(&dispatcher->arena);
}

/* They are over with it, though what they asked is let go at the end of the turn only. */
static void who_dies_has_no_other_worker_begin_with_its_calls(void **state)
{
	struct link other_worker;
	struct message message;
	struct seat other;

	(void)state;
	add_seat(&other, &other_worker);
	pool->queue_max = dispatcher->max_pending = 3;
	seat.draining = other.draining = true;
	call_pool("GET", "/", "");
	call_pool_for(0, 0, "GET", "/", "");
	call_pool("GET", "/", "");
	assert_int_equal(pool->queued, 3);
	other.draining = false;
	seat_down(&seat, CREW_CAUSE_PROTOCOL);
	assert_int_equal(pool->queued, 0);
	assert_int_equal(dispatcher->pending, 0);
	/* Nobody was to be told of the second one. */
	assert_int_equal(link_receive(&other_worker, &message), 1);
	assert_int_equal(message.kind, MESSAGE_REQUEST);
	assert_int_equal(link_receive(&other_worker, &message), 0);
	end_calls(&dispatcher->gone);
	assert_int_equal(pool->queued, 0);
	assert_int_equal(dispatcher->call_count, 1);
	end_calls(&dispatcher->connections);
	remove_seat(&other, &other_worker);
}

static void answers_to_calls_hold_so_much_and_no_more(void **state)
{
	static const char body[1024];
	struct call *calls[REQUESTS];
	struct wire_call_answer answer;
	struct message message;

	(void)state;
	seat.draining = true;
	for (unsigned i = 0; i < REQUESTS; i++)
		call_pool("GET", "/", "");
	assert_int_equal(calls_of(calls, REQUESTS), REQUESTS);
	dispatcher->answer_bytes = CALL_ANSWERS_MAX_BYTES - 2 * sizeof(body);
	for (unsigned i = 0; i < REQUESTS; i++) {
		call_head(calls[i], 200, (struct span){ 0 });
		call_body(calls[i], (struct span){ body, sizeof(body) });
	}
	/* One worker takes half of the room that there is. */
	assert_int_equal(dispatcher->call_count, 1);
	call_over(calls[0]);
	seat_flush(&seat);
	for (unsigned i = 0; i < REQUESTS; i++) {
		assert_int_equal(link_receive(&worker, &message), 1);
		memcpy(&answer, link_bytes(&worker, &message), sizeof(answer));
		assert_int_equal(answer.status, i == 0 ? 502 : 200);
		assert_int_equal(answer.body_size, i == 0 ? 0 : sizeof(body));
	}
	end_calls(&dispatcher->gone);
	assert_int_equal(dispatcher->answer_bytes, CALL_ANSWERS_MAX_BYTES - 2 * sizeof(body));
	assert_int_equal(seat.answer_bytes, 0);
}

/* It is 502 as well for what is told of an answer that there is no room for. */
static void an_answer_that_there_is_no_room_for_is_told_without_it(void **state)
{
	static const char line[] = "A: b\r\n";
	static const char body[1024];
	struct wire_call_answer answer;
	struct message message;
	struct call *call;

	(void)state;
	seat.draining = true;
	for (unsigned room = 0; room < 3; room++) {
		dispatcher->answer_bytes = 0;
		call_pool("GET", "/", "");
		assert_int_equal(calls_of(&call, 1), 1);
		if (room == 0)
			dispatcher->answer_bytes = CALL_ANSWERS_MAX_BYTES;
		call_head(call, 502, span_of(line));
		if (room == 1)
			dispatcher->answer_bytes = CALL_ANSWERS_MAX_BYTES;
		if (room < 2)
			call_body(call, (struct span){ body, sizeof(body) });
		end_calls(room < 2 ? &dispatcher->gone : &dispatcher->connections);
		seat_flush(&seat);
		assert_int_equal(link_receive(&worker, &message), 1);
		assert_int_equal(message.size, sizeof(answer));
		memcpy(&answer, link_bytes(&worker, &message), sizeof(answer));
		assert_int_equal(answer.status, 502);
		assert_int_equal(answer.headers_size, 0);
		assert_int_equal(answer.body_size, 0);
		assert_int_equal(link_release(&worker, message.offset), 0);
		assert_int_equal(seat.answer_bytes, 0);
	}
}

/* Nobody reads it: it may be as long as it likes, and others may hold all that there is. */
static void an_answer_that_nobody_is_told_of_needs_no_room(void **state)
{
	static const char body[CALL_ANSWER_MAX_BYTES];
	struct call *call;

	(void)state;
	seat.draining = true;
	dispatcher->answer_bytes = CALL_ANSWERS_MAX_BYTES;
	call_pool_for(0, 0, "GET", "/", "");
	assert_int_equal(calls_of(&call, 1), 1);
	call_head(call, 200, span_of("A: b\r\n"));
	for (unsigned times = 0; times < 2; times++)
		call_body(call, (struct span){ body, sizeof(body) });
	assert_int_equal(dispatcher->call_count, 1);
	call_over(call);
	assert_int_equal(dispatcher->call_count, 0);
	assert_int_equal(dispatcher->calls_failed, 0);
	assert_int_equal(dispatcher->answer_bytes, CALL_ANSWERS_MAX_BYTES);
}

/* What the worker reads of answers to its calls; how many of them are whole now. */
static unsigned read_answers(size_t *bytes)
{
	struct message message;
	unsigned count = 0;

	while (link_receive(&worker, &message) > 0) {
		if (message.kind != MESSAGE_CALL_ANSWER)
			continue;
		*bytes += message.size;
		count += (message.flags & MESSAGE_LAST) != 0;
		assert_int_equal(link_release(&worker, message.offset), 0);
	}
	return count;
}

/* It reads when its handler has returned. */
static void who_gets_many_large_answers_at_once_is_not_condemned_for_them(void **state)
{
	enum { CALLS = 12 };
	static const char body[CALL_ANSWER_MAX_BYTES];
	struct call *calls[CALLS];
	size_t bytes = 0;
	unsigned whole = 0;

	(void)state;
	pool->queue_max = dispatcher->max_pending = CALLS;
	for (unsigned i = 0; i < CALLS; i++)
		call_pool("GET", "/", "");
	assert_int_equal(calls_of(calls, CALLS), CALLS);
	for (unsigned i = 0; i < CALLS; i++) {
		call_head(calls[i], 200, (struct span){ 0 });
		call_body(calls[i], (struct span){ body, sizeof(body) });
		call_over(calls[i]);
		seat_flush(&seat);
	}
	assert_false(seat.condemned);
	assert_int_equal(dispatcher->call_count, 0);
	assert_true(seat.outbox.bytes < 2 * sizeof(body));
	for (unsigned times = 0; whole < CALLS; times++) {
		assert_true(times < 100000);
		whole += read_answers(&bytes);
		seat_receive(&seat);
		seat_flush(&seat);
	}
	assert_int_equal(bytes, CALLS * (sizeof(struct wire_call_answer) + sizeof(body)));
	assert_true(seat_flush(&seat));
	assert_false(seat.condemned);
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
	seat_down(&seat, CREW_CAUSE_SIGNAL);
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

struct hog {
	struct hog *next;
};

/* Nothing is left, not even what was freed before. */
static struct hog *take_all_memory(struct rlimit *ret_limit)
{
	struct hog *hogs = NULL;
	struct rlimit none;

	assert_int_equal(getrlimit(RLIMIT_AS, ret_limit), 0);
	none = (struct rlimit){ 1, ret_limit->rlim_max };
	assert_int_equal(setrlimit(RLIMIT_AS, &none), 0);
	/* Small pieces that were freed are kept by their sizes. */
	for (size_t size = WIRE_CALL_MAX_BYTES; size >= sizeof(*hogs);
	     size = size > 2048 ? size / 2 : size - 8) {
		for (struct hog *hog; (hog = malloc(size)) != NULL; hogs = hog)
			hog->next = hogs;
	}
	return hogs;
}

static void give_it_back(struct hog *hogs, const struct rlimit *limit)
{
	assert_int_equal(setrlimit(RLIMIT_AS, limit), 0);
	for (struct hog *next; hogs; hogs = next) {
		next = hogs->next;
		free(hogs);
	}
}

static void who_calls_when_there_is_no_memory_is_answered(void **state)
{
	struct message message;
	struct rlimit limit;
	struct hog *hogs;

	(void)state;
	call(7);
	hogs = take_all_memory(&limit);
	seat_receive(&seat);
	give_it_back(hogs, &limit);
	assert_false(seat.condemned);
	assert_int_equal(dispatcher->call_count, 0);
	assert_int_equal(link_receive(&worker, &message), 1);
	assert_int_equal(message.kind, MESSAGE_CALL_ANSWER);
	assert_int_equal(message.generation, 7);
	assert_int_equal(message.flags, MESSAGE_LAST);
	assert_int_equal(message.size, 0);
}

static void say_number(unsigned number)
{
	const struct message message = { .kind = MESSAGE_CREDIT, .size = number };

	seat_say(&seat, &message, NULL);
}

/* Its ring is full, and it is at something else. */
static void who_cannot_be_told_for_want_of_memory_is_told_later(void **state)
{
	struct message message;
	struct rlimit limit;
	struct hog *hogs;
	unsigned said = 0;
	unsigned heard = 0;
	bool all;

	(void)state;
	while (said < LINK_RING_ENTRIES + 10)
		say_number(said++);
	hogs = take_all_memory(&limit);
	while (said < 2 * LINK_RING_ENTRIES)
		say_number(said++);
	call(said++);
	seat_receive(&seat);
	give_it_back(hogs, &limit);
	say_number(said++);
	assert_false(seat.condemned);
	do {
		all = seat_flush(&seat);
		while (link_receive(&worker, &message) > 0) {
			if (message.kind == MESSAGE_CREDIT)
				assert_int_equal(message.size, heard);
			else
				assert_int_equal(message.generation, heard);
			heard++;
		}
	} while (!all);
	assert_int_equal(heard, said);
	assert_true(seat_flush(&seat));
}

static void who_has_much_unread_without_memory_is_condemned(void **state)
{
	struct rlimit limit;
	struct hog *hogs;

	(void)state;
	for (unsigned i = 0; i < LINK_RING_ENTRIES; i++)
		say_number(i);
	hogs = take_all_memory(&limit);
	for (unsigned i = 0; i < LINK_SLOTS; i++)
		say_number(i);
	give_it_back(hogs, &limit);
	assert_false(seat.condemned);
	hogs = take_all_memory(&limit);
	say_number(0);
	give_it_back(hogs, &limit);
	assert_true(seat.condemned);
}

/* Its first part finds room, the others do not. */
static void an_answer_without_memory_to_tell_it_is_told_later(void **state)
{
	static const char body[3 * INLINE_BODY_BYTES];
	struct call *called;
	struct rlimit limit;
	struct hog *hogs;
	size_t bytes = 0;
	unsigned whole = 0;

	(void)state;
	call_pool("GET", "/", "");
	assert_int_equal(calls_of(&called, 1), 1);
	call_head(called, 200, (struct span){ 0 });
	call_body(called, (struct span){ body, sizeof(body) });
	while (link_receive(&worker, &(struct message){ 0 }) > 0)
		;
	for (unsigned i = 1; i < LINK_RING_ENTRIES; i++)
		say_number(i);
	hogs = take_all_memory(&limit);
	call_over(called);
	assert_false(seat_flush(&seat));
	assert_false(seat_flush(&seat));
	give_it_back(hogs, &limit);
	assert_false(seat.condemned);
	for (unsigned times = 0; whole == 0; times++) {
		assert_true(times < 100);
		whole = read_answers(&bytes);
		seat_receive(&seat);
		seat_flush(&seat);
	}
	assert_int_equal(whole, 1);
	assert_int_equal(bytes, sizeof(struct wire_call_answer) + sizeof(body));
}
#endif

int main(void)
{
#define AT_A_SEAT(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		AT_A_SEAT(who_answers_and_gives_back_nothing_is_believed),
		AT_A_SEAT(who_gives_back_a_request_before_its_answer_is_condemned),
		AT_A_SEAT(who_dies_and_wrote_into_its_request_leaves_nothing_to_run_again),
		AT_A_SEAT(who_wrote_into_a_request_is_condemned),
		AT_A_SEAT(what_a_worker_wrote_into_a_request_is_shown_if_it_is_there),
		AT_A_SEAT(who_defers_what_it_has_not_begun_is_condemned),
		AT_A_SEAT(who_is_alive_with_what_it_has_not_begun_is_condemned),
		AT_A_SEAT(who_subscribes_for_what_it_has_not_begun_is_condemned),
		AT_A_SEAT(what_was_said_of_a_request_does_not_go_to_the_next_worker_with_it),
		AT_A_SEAT(a_stop_ends_a_stream_between_two_events),
		AT_A_SEAT(a_stop_has_a_worker_end_what_is_amid_an_event),
		AT_A_SEAT(what_is_published_amid_the_last_event_comes_behind_it),
		AT_A_SEAT(a_whole_answer_that_is_refused_is_over),
		AT_A_SEAT(header_lines_may_be_so_long_and_no_longer),
		AT_A_SEAT(the_first_part_of_an_answer_may_be_so_long_and_no_longer),
		AT_A_SEAT(who_goes_on_talking_is_not_heard_to_the_end),
		AT_A_SEAT(who_takes_bodies_in_parts_is_not_stuck),
		AT_A_SEAT(who_gets_a_body_anew_is_given_more_time),
		AT_A_SEAT(whose_requests_end_meanwhile_is_not_looked_at),
		AT_A_SEAT(who_takes_nothing_is_given_no_more_while_others_are_idle),
		AT_A_SEAT(who_takes_nothing_and_is_alone_keeps_what_it_has),
		AT_A_SEAT(who_is_slow_is_not_thought_to_be_quicker),
		AT_A_SEAT(who_has_not_looked_at_its_link_is_given_no_work_while_others_are_idle),
		AT_A_SEAT(what_runs_again_does_not_hide_who_waits_behind_it),
		AT_A_SEAT(what_a_worker_died_at_is_named),
		AT_A_SEAT(what_is_run_again_is_named_too),
		AT_A_SEAT(what_was_not_begun_is_not_named),
		AT_A_SEAT(who_was_the_last_of_a_degraded_pool_leaves_nobody_waiting),
		AT_A_SEAT(who_is_refused_while_the_parent_hears_nothing_is_so_later),
		AT_A_SEAT(who_has_no_room_is_asked_again_a_moment_later),
		AT_A_SEAT(who_is_queued_behind_what_is_broken_is_not_begun),
		AT_A_SEAT(what_is_behind_a_stream_that_is_given_up_is_so_too),
		AT_A_SEAT(what_is_behind_a_stream_that_begins_too_late_is_given_up_too),
		AT_A_SEAT(a_call_is_one_request_and_has_no_more_lines_than_that),
		AT_A_SEAT(who_comes_after_a_caller_does_not_get_its_answer),
		AT_A_SEAT(who_would_miss_an_event_is_cut_off),
		AT_A_SEAT(a_stream_that_is_called_can_be_kept_alive),
		AT_A_SEAT(who_calls_much_leaves_as_many_places_to_others),
		AT_A_SEAT(who_dies_takes_the_calls_along_whose_answers_it_would_get),
		AT_A_SEAT(a_directory_that_is_gone_is_told_once_a_second),
		AT_A_SEAT(what_a_local_route_took_does_not_count_the_body_s_way),
		AT_A_SEAT(who_dies_has_no_other_worker_begin_with_its_calls),
		AT_A_SEAT(answers_to_calls_hold_so_much_and_no_more),
		AT_A_SEAT(an_answer_that_there_is_no_room_for_is_told_without_it),
		AT_A_SEAT(an_answer_that_nobody_is_told_of_needs_no_room),
		AT_A_SEAT(who_gets_many_large_answers_at_once_is_not_condemned_for_them),
#ifndef __SANITIZE_ADDRESS__
		AT_A_SEAT(who_dies_when_there_is_no_memory_keeps_nothing),
		AT_A_SEAT(who_calls_when_there_is_no_memory_is_answered),
		AT_A_SEAT(who_cannot_be_told_for_want_of_memory_is_told_later),
		AT_A_SEAT(who_has_much_unread_without_memory_is_condemned),
		AT_A_SEAT(an_answer_without_memory_to_tell_it_is_told_later),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
