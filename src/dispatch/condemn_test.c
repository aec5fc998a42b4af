/* SPDX-License-Identifier: MIT */
/* What a worker must not say: a dispatcher with one seat, and this test at the worker's end of
 * its link, where it writes what it likes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdatomic.h>

#include "dispatch/test_seat.h"

#define SAID_TOPIC   "a topic is too long, or none"
#define SAID_PUBLISH "a publication is too short or too long"
#define SAID_SUM     "a publication is not as long as it says"
#define SAID_CALL    "a call is not as long as it says"
#define SAID_BODY    "an answer is not as long as it said"
#define SAID_INDEX   "its index of requests is impossible"
#define SAID_FREED   "its index of freed bytes is impossible"

union head {
	struct wire_publish publish;
	struct wire_call call;
	struct wire_answer answer;
};

/* Message and its bytes: the head, or what there is room for of it, and more. */
static void say(unsigned kind, unsigned flags, const struct message *request,
		const union head *head, uint32_t size)
{
	struct message message = { .kind = (uint16_t)kind, .flags = (uint16_t)flags,
				   .slot = request->slot, .generation = request->generation,
				   .size = size };
	char *place = NULL;

	if (size) {
		place = link_alloc(&worker, LINK_NO_SLOT, size, &message.offset);
		assert_non_null(place);
		memset(place, 'x', size);
		memcpy(place, head, size < sizeof(*head) ? size : sizeof(*head));
	}
	assert_int_equal(link_send(&worker, &message), 0);
	seat_receive(&seat);
}

/* NULL: it is not condemned. */
static void must_be_condemned(const char *why)
{
	char line[sizeof(last_line)] = "";

	if (why)
		snprintf(line, sizeof(line), "pool[0] (pid 0) is condemned, protocol: %s", why);
	assert_string_equal(last_line, line);
	assert_int_equal(seat.condemned, why != NULL);
}

static const struct {
	enum message_kind kind;
	uint32_t size;
	const char *why;
	union head head;
} said[] = {
	{ MESSAGE_SUBSCRIBE, 0, SAID_TOPIC, { { 0 } } },
	{ MESSAGE_SUBSCRIBE, WIRE_TOPIC_MAX_BYTES, NULL, { { 0 } } },
	{ MESSAGE_SUBSCRIBE, WIRE_TOPIC_MAX_BYTES + 1, SAID_TOPIC, { { 0 } } },
	{ MESSAGE_UNSUBSCRIBE, 0, SAID_TOPIC, { { 0 } } },
	{ MESSAGE_UNSUBSCRIBE, WIRE_TOPIC_MAX_BYTES, NULL, { { 0 } } },
	{ MESSAGE_UNSUBSCRIBE, WIRE_TOPIC_MAX_BYTES + 1, SAID_TOPIC, { { 0 } } },

	{ MESSAGE_PUBLISH, 0, SAID_PUBLISH, { { 0 } } },
	{ MESSAGE_PUBLISH, 15, SAID_PUBLISH, { { 0 } } },
	{ MESSAGE_PUBLISH, 16 + 5, SAID_SUM, { { .topic_size = 0, .event_size = 5 } } },
	{ MESSAGE_PUBLISH, 16 + 256 + 5, NULL, { { .topic_size = 256, .event_size = 5 } } },
	{ MESSAGE_PUBLISH, 16 + 257 + 5, SAID_SUM, { { .topic_size = 257, .event_size = 5 } } },
	{ MESSAGE_PUBLISH, 16 + 10, SAID_SUM, { { .topic_size = 5, .event_size = 4 } } },
	{ MESSAGE_PUBLISH, 16 + 10, NULL, { { .topic_size = 5, .event_size = 5 } } },
	{ MESSAGE_PUBLISH, 16 + 10, SAID_SUM, { { .topic_size = 5, .event_size = 6 } } },
	{ MESSAGE_PUBLISH, 16 + 5, SAID_SUM, { { .topic_size = 6, .event_size = UINT32_MAX } } },
	{ MESSAGE_PUBLISH, WIRE_PUBLISH_MAX_BYTES, NULL,
	  { { .topic_size = 5, .event_size = WIRE_PUBLISH_MAX_BYTES - 16 - 5 } } },
	{ MESSAGE_PUBLISH, WIRE_PUBLISH_MAX_BYTES + 1, SAID_PUBLISH,
	  { { .topic_size = 5, .event_size = WIRE_PUBLISH_MAX_BYTES + 1 - 16 - 5 } } },

	{ MESSAGE_CALL, 0, SAID_CALL, { { 0 } } },
	{ MESSAGE_CALL, 31, SAID_CALL, { .call = { .token = 1, .depth = 1 } } },
	{ MESSAGE_CALL, 32 + 4, SAID_CALL, { .call = { 1, .depth = 1, .target_size = 3 } } },
	{ MESSAGE_CALL, 32 + 4, NULL, { .call = { 1, .depth = 1, .target_size = 4 } } },
	{ MESSAGE_CALL, 32 + 4, SAID_CALL, { .call = { 1, .depth = 1, .target_size = 5 } } },
	{ MESSAGE_CALL, 32 + 4, SAID_CALL, { .call = { 1, .depth = 0, .target_size = 4 } } },
	{ MESSAGE_CALL, 32 + 4, NULL, { .call = { 1, .depth = 8, .target_size = 4 } } },
	{ MESSAGE_CALL, 32 + 4, SAID_CALL, { .call = { 1, .depth = 9, .target_size = 4 } } },
	{ MESSAGE_CALL, 32, SAID_CALL,
	  { .call = { 1, .depth = 1, .pool_size = UINT32_MAX, .method_size = 1 } } },
	{ MESSAGE_CALL, WIRE_CALL_MAX_BYTES, NULL,
	  { .call = { 1, .depth = 1, .body_size = WIRE_CALL_MAX_BYTES - 32 } } },
	{ MESSAGE_CALL, WIRE_CALL_MAX_BYTES + 1, SAID_CALL,
	  { .call = { 1, .depth = 1, .body_size = WIRE_CALL_MAX_BYTES + 1 - 32 } } },

	{ MESSAGE_ANSWER_PART, 5, "a part of an answer came before its head", { { 0 } } },
	{ MESSAGE_ANSWER, 15, "an answer to a request that it does not have",
	  { .answer = { .status = 200 } } },
	{ MESSAGE_ANSWER, 16, NULL, { .answer = { .status = 200 } } },
	{ MESSAGE_ANSWER, 16, "the head of an answer is longer than the answer",
	  { .answer = { .status = 200, .headers_size = 1 } } },
	{ MESSAGE_REQUEST, 0, "a message of it makes no sense", { { 0 } } },
};

static void who_says_what_is_not_as_long_as_it_has_to_be_is_condemned(void **state)
{
	(void)state;
	_Static_assert(sizeof(struct wire_publish) == 16, "as counted above");
	_Static_assert(sizeof(struct wire_call) == 32, "as counted above");
	_Static_assert(WIRE_CALL_DEPTH_MAX == 8, "as counted above");
	for (size_t i = 0; i < COUNT_OF(said); i++) {
		struct message request;

		set_up_seat();
		ask(0);
		request = take();
		say(said[i].kind, MESSAGE_LAST, &request, &said[i].head, said[i].size);
		must_be_condemned(said[i].why);
		tear_down(state);
	}
}

/* Of a body of five bytes: so many come with the head, and then so many more, unless it is none. */
static void who_answers_less_or_more_than_it_said_is_condemned(void **state)
{
	static const struct {
		uint32_t first;
		uint32_t part;
		const char *why;
	} bodies[] = {
		{ 4, 0, SAID_BODY }, { 5, 0, NULL }, { 6, 0, SAID_BODY }, { 6, 1, SAID_BODY },
		{ 2, 2, SAID_BODY }, { 2, 3, NULL }, { 2, 4, SAID_BODY },
	};
	static const union head head = { .answer = { .status = 200, .body_size = 5 } };

	for (size_t i = 0; i < COUNT_OF(bodies); i++) {
		struct message request;

		set_up_seat();
		ask(0);
		request = take();
		say(MESSAGE_ANSWER, bodies[i].part ? 0 : MESSAGE_LAST, &request, &head,
		    sizeof(head.answer) + bodies[i].first);
		if (bodies[i].part)
			say(MESSAGE_ANSWER_PART, MESSAGE_LAST, &request, &head, bodies[i].part);
		must_be_condemned(bodies[i].why);
		tear_down(state);
	}
}

static void who_sends_more_than_it_has_credit_for_is_condemned(void **state)
{
	static const union head head = { .answer = { .status = 200,
						     .body_size = WIRE_UNKNOWN } };
	const uint32_t part = LINK_CREDIT_BYTES / 8;
	struct message request;

	set_up_seat();
	ask(0);
	request = take();
	say(MESSAGE_ANSWER, 0, &request, &head, sizeof(head.answer));
	for (int i = 0; i < 8; i++)
		say(MESSAGE_ANSWER_PART, 0, &request, &head, part);
	must_be_condemned(NULL);
	say(MESSAGE_ANSWER_PART, 0, &request, &head, 1);
	must_be_condemned("sent more than it had credit for");
	tear_down(state);
}

/* A handler's fault, not that of its worker. */
static void a_status_that_no_answer_has_is_502(void **state)
{
	static const uint32_t statuses[][2] = { { 0, 502 }, { 100, 502 }, { 199, 502 },
						{ 200, 200 }, { 599, 599 }, { 600, 502 },
						{ UINT32_MAX, 502 } };

	for (size_t i = 0; i < COUNT_OF(statuses); i++) {
		const union head head = { .answer = { .status = statuses[i][0] } };
		struct message request;

		set_up_seat();
		ask(0);
		request = take();
		say(MESSAGE_ANSWER, MESSAGE_LAST, &request, &head, sizeof(head.answer));
		assert_true(client_was_told((int)statuses[i][1]));
		assert_false(seat.condemned);
		assert_int_equal(strstr(last_line, "the status is not one of an answer") != NULL,
				 statuses[i][0] != statuses[i][1]);
		tear_down(state);
	}
}

/* It is told more and more, and reads none of it. */
static void who_leaves_much_unread_is_condemned(void **state)
{
	static const char bytes[LINK_ARENA_BYTES];
	const struct message message = { .kind = MESSAGE_CALL_ANSWER, .size = sizeof(bytes) };
	size_t before;

	set_up_seat();
	do {
		must_be_condemned(NULL);
		before = seat.outbox.bytes;
		assert_true(seat_say(&seat, &message, bytes));
	} while (seat.outbox.bytes <= UNREAD_MAX_BYTES);
	assert_true(before <= UNREAD_MAX_BYTES);
	must_be_condemned("it does not read what it is told");
	tear_down(state);
}

static void tell(void)
{
	const struct message message = { .kind = MESSAGE_CREDIT };

	seat_say(&seat, &message, NULL);
}

static void flush(void)
{
	assert_true(seat_flush(&seat));
}

static void give(void)
{
	assert_int_equal(slot_send(&seat, request_of(0)), -EBADMSG);
}

/* It has taken more than there was. */
static void who_has_taken_what_it_was_not_told_is_condemned(void **state)
{
	static void (*const next[])(void) = { tell, flush, give };

	for (size_t i = 0; i < COUNT_OF(next); i++) {
		set_up_seat();
		for (unsigned told = 0; told < LINK_RING_ENTRIES; told++)
			tell();
		if (next[i] == flush)
			tell();
		atomic_store(worker.in.head, LINK_RING_ENTRIES + 1);
		next[i]();
		must_be_condemned(SAID_INDEX);
		tear_down(state);
	}
}

/* It hears of none, and says the same bytes again and again. */
static void who_says_more_bytes_than_it_has_is_condemned(void **state)
{
	static const enum message_kind kinds[] = { MESSAGE_SUBSCRIBE, MESSAGE_ANSWER_PART };

	for (size_t i = 0; i < COUNT_OF(kinds); i++) {
		struct message message = { .kind = (uint16_t)kinds[i], .size = 1 };

		set_up_seat();
		for (unsigned said_bytes = 0; said_bytes < LINK_ARENA_BYTES / BLOCK_BYTES;
		     said_bytes++) {
			assert_int_equal(link_send(&worker, &message), 0);
			seat_receive(&seat);
		}
		must_be_condemned(NULL);
		assert_int_equal(link_send(&worker, &message), 0);
		seat_receive(&seat);
		must_be_condemned(SAID_FREED);
		tear_down(state);
	}
}

static void who_gives_back_what_it_was_not_given_is_condemned(void **state)
{
	set_up_seat();
	assert_int_equal(link_release(&worker, 0), 0);
	seat_receive(&seat);
	must_be_condemned("gave back bytes that are not its own");
	tear_down(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_says_what_is_not_as_long_as_it_has_to_be_is_condemned),
		cmocka_unit_test(who_answers_less_or_more_than_it_said_is_condemned),
		cmocka_unit_test(who_sends_more_than_it_has_credit_for_is_condemned),
		cmocka_unit_test(a_status_that_no_answer_has_is_502),
		cmocka_unit_test(who_leaves_much_unread_is_condemned),
		cmocka_unit_test(who_has_taken_what_it_was_not_told_is_condemned),
		cmocka_unit_test(who_says_more_bytes_than_it_has_is_condemned),
		cmocka_unit_test(who_gives_back_what_it_was_not_given_is_condemned),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
