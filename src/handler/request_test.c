/* SPDX-License-Identifier: MIT */
/* What a handler can ask, what it can answer, and what becomes of it when it
 * answers badly. */
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "handler/encode.h"
#include "handler/request.h"

/* A request that is set up for each test. */
static struct arena arena;
static struct crew_worker worker = { .pool = "items", .index = 2,
				     .generation = 3 };
static struct crew_request request;
static void *block;

/* Make the request from a head as it would come over the wire. */
static void given(const char *text, const char *path, struct span body)
{
	static const struct http_limits limits = {
		.line_max_bytes = 8000, .head_max_bytes = 16000,
		.headers_max = 100, .body_max_bytes = 1000,
	};
	static const struct route_param params[] = {
		{ .name = { "id", 2 }, .text = { "12", 2 },
		  .type = WIRE_PARAM_INT, .integer = 12 },
		{ .name = { "size", 4 }, .text = { "1.5", 3 },
		  .type = WIRE_PARAM_FLOAT, .real = 1.5 },
	};
	struct http_parser parser = { 0 };
	struct http_head head;
	struct encode_input input = {
		.id = 7, .head = &head, .path = span_of(path), .params = params,
		.param_count = 2, .client = { "unix:", 5 }, .body = body,
		.body_size = body.size,
	};
	uint32_t size;

	assert_int_equal(http_parse_head(&parser, &limits, text, strlen(text),
					 &head),
			 strlen(text));
	size = encode_size(&input);
	free(block);
	block = malloc(size);
	assert_non_null(block);
	encode_request(block, size, &input);
	assert_true(wire_request_ok(block, size));
	request_init(&request, block, body, &worker, &arena);
}

static void given_plain(void)
{
	given("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "/", (struct span){ 0 });
}

static int forget(void **state)
{
	(void)state;
	request_fini(&request);
	arena_fini(&arena);
	free(block);
	block = NULL;
	return 0;
}

/* The answer is this one, to the byte. */
static void expect(int status, const char *headers, const char *body)
{
	assert_int_equal(request.status, status);
	assert_int_equal(request.headers_size, strlen(headers));
	assert_memory_equal(request.headers, headers, strlen(headers));
	assert_int_equal(request.reply_body.size, strlen(body));
	assert_memory_equal(request.reply_body.at, body, strlen(body));
}

static void run(crew_handler *handler)
{
	request_run(&request, handler, "GET /test");
}

/* ---- questions ---- */

static void the_head_can_be_read(void **state)
{
	const char *name;
	const char *value;

	(void)state;
	given("GET /a%20b?q=a+b%21&q=2&n&bad=%00 HTTP/1.1\r\nHost: h\r\nX-One: 1\r\n"
	      "x-one: 2\r\nCookie: a=1; session=ok\r\n\r\n",
	      "/a b", (struct span){ 0 });
	assert_int_equal(crew_request_id(&request), 7);
	assert_string_equal(crew_method(&request), "GET");
	assert_string_equal(crew_path(&request), "/a b");
	assert_string_equal(crew_query_string(&request), "q=a+b%21&q=2&n&bad=%00");
	assert_string_equal(crew_client_address(&request), "unix:");
	assert_int_equal(crew_path_int(&request, "id"), 12);
	assert_string_equal(crew_path_str(&request, "id"), "12");
	assert_true(crew_path_float(&request, "size") == 1.5);
	assert_int_equal(crew_path_int(&request, "size"), 0);
	assert_null(crew_path_str(&request, "none"));
	assert_string_equal(crew_query(&request, "q"), "a b!");
	assert_string_equal(crew_query(&request, "q"), "a b!");
	assert_string_equal(crew_query(&request, "n"), "");
	assert_null(crew_query(&request, "none"));
	assert_null(crew_query(&request, "bad"));
	assert_string_equal(crew_header(&request, "X-ONE"), "1");
	assert_null(crew_header(&request, "X-On"));
	assert_int_equal(crew_header_count(&request), 4);
	assert_true(crew_header_at(&request, 2, &name, &value));
	assert_string_equal(name, "x-one");
	assert_string_equal(value, "2");
	assert_false(crew_header_at(&request, 4, &name, &value));
	assert_string_equal(crew_cookie(&request, "session"), "ok");
	assert_null(crew_cookie(&request, "sess"));
}

static void expect_parameter(size_t index, const char *name, const char *value)
{
	const char *got_name;
	const char *got_value;

	assert_true(crew_query_at(&request, index, &got_name, &got_value));
	assert_string_equal(got_name, name);
	assert_string_equal(got_value, value);
}

static void each_parameter_of_a_query_can_be_read(void **state)
{
	const char *name;
	const char *value;

	(void)state;
	given("GET /?q=a+b%21&&q=2&n&b%61d=%00&=x HTTP/1.1\r\nHost: h\r\n\r\n", "/",
	      (struct span){ 0 });
	for (int times = 0; times < 2; times++) {
		expect_parameter(0, "q", "a b!");
		expect_parameter(1, "q", "2");
		expect_parameter(2, "n", "");
		expect_parameter(3, "bad", "%00");
		expect_parameter(4, "", "x");
		assert_false(crew_query_at(&request, 5, &name, &value));
		assert_false(crew_query_at(&request, 9, &name, &value));
	}
	expect_parameter(3, "bad", "%00");
	expect_parameter(3, "bad", "%00");
	expect_parameter(1, "q", "2");
	expect_parameter(4, "", "x");
	given_plain();
	assert_false(crew_query_at(&request, 0, &name, &value));
}

static void the_version_of_a_client_can_be_read(void **state)
{
	(void)state;
	given_plain();
	assert_string_equal(crew_protocol(&request), "HTTP/1.1");
	given("GET / HTTP/1.0\r\n\r\n", "/", (struct span){ 0 });
	assert_string_equal(crew_protocol(&request), "HTTP/1.0");
}

static void bodies_can_be_json(void **state)
{
	size_t size = 1;

	(void)state;
	given_plain();
	assert_null(crew_body(&request, &size));
	assert_int_equal(size, 0);
	assert_null(crew_body_json(&request));
	assert_string_equal(crew_body_error(&request), "the request has no body");

	given("POST / HTTP/1.1\r\nHost: a\r\n\r\n", "/",
	      (struct span){ "{\"a\":1}", 7 });
	assert_memory_equal(crew_body(&request, &size), "{\"a\":1}", 7);
	assert_int_equal(size, 7);
	assert_non_null(crew_body_json(&request));
	assert_ptr_equal(crew_body_json(&request), crew_body_json(&request));
	assert_string_equal(crew_body_error(&request), "");
	request_fini(&request);

	given("POST / HTTP/1.1\r\nHost: a\r\n\r\n", "/",
	      (struct span){ "{\"a\":1,\n\"a\":2}", 14 });
	assert_null(crew_body_json(&request));
	assert_memory_equal(crew_body_error(&request), "line 2, column ", 15);

	given("POST / HTTP/1.1\r\nHost: a\r\n\r\n", "/",
	      (struct span){ "\"\\u0000\"", 8 });
	assert_null(crew_body_json(&request));
	assert_memory_equal(crew_body_error(&request), "line 1, column ", 15);
}

static size_t beats;

static void count_beat(struct crew_worker *self)
{
	(void)self;
	beats++;
}

static void the_worker_can_be_asked(void **state)
{
	void *start;
	size_t size;

	(void)state;
	given_plain();
	assert_ptr_equal(crew_worker(&request), &worker);
	assert_string_equal(crew_worker_pool(&worker), "items");
	assert_int_equal(crew_worker_index(&worker), 2);
	assert_int_equal(crew_worker_generation(&worker), 3);
	crew_set_state(&worker, &beats);
	assert_ptr_equal(crew_state(&request), &beats);
	assert_ptr_equal(crew_worker_state(&worker), &beats);
	crew_beat(&worker);
	worker.beat = count_beat;
	crew_beat(&worker);
	assert_int_equal(beats, 1);
	assert_int_equal(crew_worker_link_memory(&worker, &start, &size, 1), 0);
	assert_true(crew_log_enabled(&worker, CREW_CRITICAL));
}

/* ---- answers ---- */

static crew_reply say_json(struct crew_request *r)
{
	assert_int_equal(crew_set_header(r, "X-Mine", "yes"), 0);
	return crew_json(r, 201, crew_int("id", 1));
}

static crew_reply say_value(struct crew_request *r)
{
	json_t *value = json_pack("[s,n,f]", "a", 19.99);
	crew_reply reply = crew_json_value(r, 200, value);

	json_decref(value);
	return reply;
}

static crew_reply say_text(struct crew_request *r)
{
	return crew_text(r, 200, "hello");
}

static crew_reply say_bytes(struct crew_request *r)
{
	char type[] = "image/png";
	char bytes[] = { 'a', 'b', 'c' };

	assert_int_equal(crew_set_header(r, "content-type", "x/y"), 0);
	assert_int_equal(crew_set_header(r, "Content-Type", "x/z"), 0);
	return crew_bytes(r, 200, type, bytes, sizeof(bytes));
}

static crew_reply say_nothing(struct crew_request *r)
{
	return crew_text(r, 204, "not to be sent");
}

static crew_reply send_away(struct crew_request *r)
{
	return crew_redirect(r, 303, "/there?x=1");
}

static crew_reply refuse(struct crew_request *r)
{
	return crew_error(r, 404, "no item %d", 9);
}

static void each_kind_of_answer(void **state)
{
	(void)state;
	given_plain();
	run(say_json);
	expect(201, "X-Mine: yes\r\nContent-Type: application/json\r\n",
	       "{\"id\":1}");
	run(say_value);
	expect(200, "Content-Type: application/json\r\n", "[\"a\",null,19.99]");
	run(say_text);
	expect(200, "Content-Type: text/plain; charset=utf-8\r\n", "hello");
	run(say_bytes);
	expect(200, "Content-Type: x/z\r\n", "abc");
	run(say_nothing);
	expect(204, "", "");
	run(send_away);
	expect(303, "Location: /there?x=1\r\n", "");
}

static void errors_are_what_the_client_accepts(void **state)
{
	(void)state;
	given_plain();
	run(refuse);
	assert_int_equal(request.status, 404);
	expect(404, "Content-Type: application/json\r\nVary: Accept\r\n",
	       "{\"error\":\"no item 9\"}");
	given("GET / HTTP/1.1\r\nHost: a\r\nAccept: text/plain\r\n\r\n", "/",
	      (struct span){ 0 });
	run(refuse);
	assert_memory_equal(request.reply_body.at, "no item 9\n", 10);
	given("GET / HTTP/1.1\r\nHost: a\r\nAccept: image/png\r\nAccept: text/plain\r\n\r\n",
	      "/", (struct span){ 0 });
	run(refuse);
	assert_memory_equal(request.reply_body.at, "no item 9\n", 10);
}

static crew_reply refuse_of_another_type(struct crew_request *r)
{
	assert_int_equal(crew_set_header(r, "Content-Type", "text/html"), 0);
	assert_int_equal(crew_set_header(r, "X-Mine", "yes"), 0);
	return crew_error(r, 404, "no <b>item</b>");
}

static crew_reply answer_of_another_type(struct crew_request *r)
{
	(void)refuse_of_another_type(r);
	return crew_text(r, 200, "<b>item</b>");
}

/* What the handler has said of its answer is no reason to take an error for HTML. */
static void an_error_has_a_type_of_its_own(void **state)
{
	(void)state;
	given_plain();
	run(refuse_of_another_type);
	expect(404, "X-Mine: yes\r\nContent-Type: application/json\r\nVary: Accept\r\n",
	       "{\"error\":\"no <b>item</b>\"}");
	run(answer_of_another_type);
	expect(200, "X-Mine: yes\r\nContent-Type: text/html\r\n", "<b>item</b>");
}

static void headers_are_checked(void **state)
{
	static char big[40000];

	(void)state;
	given_plain();
	assert_int_equal(crew_set_header(&request, "A b", "c"), -EINVAL);
	assert_int_equal(crew_set_header(&request, "A", "c\r\nB: d"), -EINVAL);
	assert_int_equal(crew_set_header(&request, "", "c"), -EINVAL);
	assert_int_equal(crew_set_header(&request, "content-length", "1"), -EINVAL);
	assert_int_equal(crew_set_header(&request, "A", NULL), -EINVAL);
	memset(big, 'x', sizeof(big) - 1);
	assert_int_equal(crew_set_header(&request, "A", big), -ENOMEM);
	big[20000] = '\0';
	assert_int_equal(crew_set_header(&request, "A", big), 0);
	assert_int_equal(crew_set_header(&request, "B", big), -ENOMEM);
}

/* ---- bad answers ---- */

static crew_reply kept;

static crew_reply forget_to_answer(struct crew_request *r)
{
	(void)r;
	return (crew_reply){ 0 };
}

static crew_reply make_and_drop(struct crew_request *r)
{
	kept = crew_text(r, 200, "lost");
	return (crew_reply){ 0 };
}

static crew_reply return_a_kept_one(struct crew_request *r)
{
	crew_text(r, 200, "new");
	return kept;
}

static crew_reply keep_without_making(struct crew_request *r)
{
	(void)r;
	return kept;
}

static crew_reply answer_twice_return_first(struct crew_request *r)
{
	crew_reply first = crew_text(r, 200, "first");

	crew_text(r, 200, "second");
	return first;
}

static crew_reply answer_with_status_99(struct crew_request *r)
{
	crew_set_header(r, "X-Lost", "yes");
	return crew_text(r, 99, "what");
}

static crew_reply redirect_with_200(struct crew_request *r)
{
	return crew_redirect(r, 200, "/");
}

static crew_reply redirect_to_two_lines(struct crew_request *r)
{
	return crew_redirect(r, 302, "/\r\nX: y");
}

static crew_reply give_a_bad_type(struct crew_request *r)
{
	return crew_bytes(r, 200, "a\nb", "x", 1);
}

static crew_reply give_no_value(struct crew_request *r)
{
	return crew_json_value(r, 200, NULL);
}

static void bad_answers_become_500(void **state)
{
	crew_handler *const bad[] = {
		forget_to_answer,  make_and_drop,
		return_a_kept_one, keep_without_making,
		answer_twice_return_first, answer_with_status_99,
		redirect_with_200, redirect_to_two_lines,
		give_a_bad_type,   give_no_value,
	};

	(void)state;
	given_plain();
	for (size_t i = 0; i < COUNT_OF(bad); i++) {
		run(bad[i]);
		expect(500, "Content-Type: application/json\r\nVary: Accept\r\n",
		       "{\"error\":\"internal server error\"}");
	}
}

static int told_status;
static char told_text[64];

static void note_error(struct crew_request *r, int status, const char *text)
{
	(void)r;
	told_status = status;
	snprintf(told_text, sizeof(told_text), "%s", text);
}

static crew_reply be_busy(struct crew_request *r)
{
	return crew_json(r, 503, crew_bool("busy", true));
}

static crew_reply have_nothing(struct crew_request *r)
{
	return crew_text(r, 404, "nothing");
}

static crew_reply reset_content(struct crew_request *r)
{
	return crew_text(r, 205, "not for 205");
}

static crew_reply no_content(struct crew_request *r)
{
	return crew_text(r, 204, "nor for 204");
}

static void some_statuses_have_no_content(void **state)
{
	(void)state;
	given_plain();
	run(reset_content);
	expect(205, "", "");
	run(no_content);
	expect(204, "", "");
}

static void each_answer_of_500_and_up_is_told(void **state)
{
	(void)state;
	worker.on_error = note_error;
	given_plain();
	run(have_nothing);
	assert_int_equal(told_status, 0);
	run(be_busy);
	expect(503, "Content-Type: application/json\r\n", "{\"busy\":true}");
	assert_int_equal(told_status, 503);
	assert_string_equal(told_text, "Service Unavailable");
	run(forget_to_answer);
	assert_int_equal(told_status, 500);
	assert_string_equal(told_text, "returned without making a reply");
	worker.on_error = NULL;
}

static crew_reply made_in_vain;

static void answer_otherwise(struct crew_request *r, int status, const char *text)
{
	(void)status;
	(void)text;
	crew_pass(r);
	crew_redirect(r, 302, "/elsewhere");
	crew_text(r, 99, "no status");
	crew_error(r, 404, "not so bad");
	made_in_vain = crew_json(r, 200, crew_bool("well", true));
	assert_int_equal(crew_set_header(r, "X-Why", "busy"), 0);
}

/* It is too late for another, and not for a header. */
static void who_is_told_of_an_answer_cannot_change_it(void **state)
{
	(void)state;
	worker.on_error = answer_otherwise;
	given_plain();
	run(be_busy);
	expect(503, "Content-Type: application/json\r\nX-Why: busy\r\n", "{\"busy\":true}");
	assert_int_equal(request.state, REPLY_MADE);
	assert_true(made_in_vain.seal == 0);
	run(forget_to_answer);
	expect(500, "Content-Type: application/json\r\nVary: Accept\r\nX-Why: busy\r\n",
	       "{\"error\":\"internal server error\"}");
	worker.on_error = NULL;
	run(have_nothing);
	assert_int_equal(request.status, 404);
}

/* The sanitizer would end the program for what it cannot have itself. */
#ifndef __SANITIZE_ADDRESS__
static struct rlimit memory;
static int set_without;
static int set_with;

static crew_reply use_up_memory(struct crew_request *r)
{
	const struct rlimit none = { 1, memory.rlim_max };

	assert_int_equal(setrlimit(RLIMIT_AS, &none), 0);
	while (crew_alloc(r, 1))
		;
	return crew_text(r, 200, "text");
}

static void add_a_header(struct crew_request *r, int status, const char *text)
{
	(void)status;
	(void)text;
	set_without = crew_set_header(r, "X-Why", "no memory");
	assert_int_equal(setrlimit(RLIMIT_AS, &memory), 0);
	set_with = crew_set_header(r, "X-Why", "no memory");
}

static void what_is_answered_without_memory_is_not_written_to(void **state)
{
	static const char body[] = "{\"error\":\"internal server error\"}";

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_AS, &memory), 0);
	worker.on_error = add_a_header;
	given_plain();
	run(use_up_memory);
	worker.on_error = NULL;
	assert_int_equal(set_without, -ENOMEM);
	assert_int_equal(set_with, 0);
	expect(500, "Content-Type: application/json\r\nX-Why: no memory\r\n", body);
	given_plain();
	run(use_up_memory);
	assert_int_equal(setrlimit(RLIMIT_AS, &memory), 0);
	expect(500, "Content-Type: application/json\r\n", body);
}
#endif

/* Else its request would fit into no link. */
static void values_are_bounded_in_sum(void **state)
{
	struct request_value values[REQUEST_VALUES_MAX];
	static char half[32 * 1024];

	(void)state;
	given_plain();
	assert_int_equal(crew_set_value(&request, "a", "b"), -EINVAL);
	request.values = values;
	memset(half, 'x', sizeof(half) - 1);
	assert_int_equal(crew_set_value(&request, "", half), 0);
	assert_int_equal(crew_set_value(&request, "123", half), -ENOSPC);
	assert_int_equal(crew_set_value(&request, "12", half), 0);
	assert_int_equal(crew_set_value(&request, "1", ""), -ENOSPC);
	assert_int_equal(request.value_count, 2);
}

static void a_value_that_is_set_again_replaces_the_old(void **state)
{
	struct request_value values[REQUEST_VALUES_MAX];
	static char most[REQUEST_VALUES_MAX_BYTES];
	char name[] = "a";

	(void)state;
	given_plain();
	request.values = values;
	memset(most, 'x', sizeof(most) - 1);
	assert_int_equal(crew_set_value(&request, "role", "guest"), 0);
	assert_int_equal(crew_set_value(&request, "role", "admin"), 0);
	assert_int_equal(request.value_count, 1);
	assert_string_equal(request.values[0].value.at, "admin");
	for (; request.value_count < REQUEST_VALUES_MAX; name[0]++)
		assert_int_equal(crew_set_value(&request, name, ""), 0);
	assert_int_equal(crew_set_value(&request, "more", ""), -ENOSPC);
	assert_int_equal(crew_set_value(&request, "role", most), -ENOSPC);
	assert_string_equal(request.values[0].value.at, "admin");
	most[sizeof(most) - 1 - strlen("role") - 15] = '\0';
	assert_int_equal(crew_set_value(&request, "role", most), 0);
	assert_int_equal(crew_set_value(&request, "role", "guest"), 0);
	assert_string_equal(request.values[0].value.at, "guest");
	assert_int_equal(crew_set_value(&request, NULL, "x"), -EINVAL);
	assert_int_equal(crew_set_value(&request, "x", NULL), -EINVAL);
}

static crew_reply change_its_mind(struct crew_request *r)
{
	crew_set_header(r, "X-A", "1");
	(void)crew_redirect(r, 302, "/x");
	return crew_json(r, 200, crew_bool("ok", true));
}

static void the_last_answer_counts(void **state)
{
	(void)state;
	given_plain();
	run(change_its_mind);
	expect(200, "X-A: 1\r\nContent-Type: application/json\r\n",
	       "{\"ok\":true}");
	assert_int_equal(request.replies, 2);
}

static void note_time(struct crew_worker *w, void *context)
{
	(void)w;
	*(uint64_t *)context = clock_now_ms();
}

static const char *wanted_type;

static crew_reply let_pass(struct crew_request *one)
{
	if (wanted_type)
		crew_set_header(one, "Content-Type", wanted_type);
	else
		crew_set_header(one, "X-Checked", "yes");
	return crew_pass(one);
}

static crew_reply answer_after_it(struct crew_request *one)
{
	crew_set_header(one, "X-Answered", "too");
	return crew_text(one, 200, "well");
}

static void what_a_check_sets_goes_with_the_answer(void **state)
{
	(void)state;
	given_plain();
	assert_false(request_check(&request, let_pass, "check"));
	request_run(&request, answer_after_it, "GET /");
	assert_int_equal(request.status, 200);
	assert_non_null(memmem(request.headers, request.headers_size, "X-Checked: yes", 14));
	assert_non_null(memmem(request.headers, request.headers_size, "X-Answered: too", 15));
	request_fini(&request);
	given_plain();
	wanted_type = "a/b";
	assert_false(request_check(&request, let_pass, "check"));
	request_run(&request, answer_after_it, "GET /");
	assert_non_null(memmem(request.headers, request.headers_size, "Content-Type: a/b", 17));
}

/* A handler, or setup(), may have been at work for long before it sets one. */
static void a_timer_counts_from_when_it_is_set(void **state)
{
	struct crew_worker busy = { 0 };
	uint64_t fired_ms = 0;
	struct loop loop;
	uint64_t set_ms;

	(void)state;
	assert_int_equal(loop_init(&loop), 0);
	worker_events_init(&busy, &loop);
	poll(NULL, 0, 60);
	set_ms = clock_now_ms();
	assert_non_null(crew_after(&busy, 50, note_time, &fired_ms));
	while (!fired_ms)
		assert_int_equal(loop_turn(&loop, 1000), 0);
	assert_true(fired_ms >= set_ms + 50);
	worker_events_fini(&busy);
	loop_fini(&loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(the_head_can_be_read, forget),
		cmocka_unit_test_teardown(each_parameter_of_a_query_can_be_read, forget),
		cmocka_unit_test_teardown(the_version_of_a_client_can_be_read, forget),
		cmocka_unit_test_teardown(bodies_can_be_json, forget),
		cmocka_unit_test_teardown(the_worker_can_be_asked, forget),
		cmocka_unit_test_teardown(each_kind_of_answer, forget),
		cmocka_unit_test_teardown(errors_are_what_the_client_accepts,
					  forget),
		cmocka_unit_test_teardown(an_error_has_a_type_of_its_own, forget),
		cmocka_unit_test_teardown(headers_are_checked, forget),
		cmocka_unit_test_teardown(bad_answers_become_500, forget),
		cmocka_unit_test_teardown(some_statuses_have_no_content, forget),
		cmocka_unit_test_teardown(each_answer_of_500_and_up_is_told, forget),
		cmocka_unit_test_teardown(who_is_told_of_an_answer_cannot_change_it, forget),
#ifndef __SANITIZE_ADDRESS__
		cmocka_unit_test_teardown(what_is_answered_without_memory_is_not_written_to,
					  forget),
#endif
		cmocka_unit_test_teardown(values_are_bounded_in_sum, forget),
		cmocka_unit_test_teardown(a_value_that_is_set_again_replaces_the_old, forget),
		cmocka_unit_test_teardown(the_last_answer_counts, forget),
		cmocka_unit_test_teardown(what_a_check_sets_goes_with_the_answer, forget),
		cmocka_unit_test(a_timer_counts_from_when_it_is_set),
	};

	log_init();
	log_set_level(CREW_CRITICAL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
