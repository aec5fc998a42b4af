/* SPDX-License-Identifier: MIT */
/* Events as text: each field, data of several lines, and what cannot be said. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "handler/event.h"

static void expect(const struct crew_event *event, const char *wanted)
{
	char text[256];
	const ssize_t size = event_write(event, NULL);

	assert_int_equal(size, (ssize_t)strlen(wanted));
	assert_int_equal(event_write(event, text), size);
	assert_memory_equal(text, wanted, (size_t)size);
}

#define EVENT(...) (&(struct crew_event){ __VA_ARGS__ })

static void each_field_is_a_line(void **state)
{
	(void)state;
	expect(EVENT(.data = "hello"), "data: hello\n\n");
	expect(EVENT(.data = "", .id = ""), "id: \ndata: \n\n");
	expect(EVENT(.comment = "calm"), ": calm\n\n");
	expect(EVENT(.retry_ms = 1500), "retry: 1500\n\n");
	expect(EVENT(.data = "d", .event = "e", .id = "i", .retry_ms = 1, .comment = "c"),
	       ": c\nevent: e\nid: i\nretry: 1\ndata: d\n\n");
	expect(EVENT(.data = "abcdef", .data_bytes = 3), "data: abc\n\n");
}

static void data_of_several_lines(void **state)
{
	(void)state;
	expect(EVENT(.data = "a\nb\r\nc\rd"), "data: a\ndata: b\ndata: c\ndata: d\n\n");
	expect(EVENT(.data = "a\n"), "data: a\ndata: \n\n");
	expect(EVENT(.data = "\n\nid: forged"), "data: \ndata: \ndata: id: forged\n\n");
	expect(EVENT(.comment = "x\ny"), ": x\n: y\n\n");
}

static void what_cannot_be_said(void **state)
{
	(void)state;
	assert_int_equal(event_write(EVENT(.data = NULL), NULL), -EINVAL);
	assert_int_equal(event_write(EVENT(.data = "d", .id = "a\nb"), NULL), -EINVAL);
	assert_int_equal(event_write(EVENT(.event = "a\rb"), NULL), -EINVAL);
	assert_int_equal(event_write(EVENT(.data = "d", .data_bytes = (size_t)-1), NULL),
			 -EMSGSIZE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_field_is_a_line),
		cmocka_unit_test(data_of_several_lines),
		cmocka_unit_test(what_cannot_be_said),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
