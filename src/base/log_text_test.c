/* SPDX-License-Identifier: MIT */
/* Lines for machines: whatever is said, the line is well formed; what jansson
 * reads back is what was said, but for bytes that no text has. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/log_text.h"

static char line[4096];

static struct log_record record_of(const char *message, int size)
{
	return (struct log_record){
		.time = "2026-01-02T03:04:05.678Z",
		.time_size = 24,
		.level = "info",
		.origin = "items[2]",
		.pid = 1234,
		.message = message,
		.message_size = size,
	};
}

static const char *write(bool json, const struct log_record *record, int room)
{
	struct log_text out = { line, 0, room };

	log_text_structured(&out, json, record);
	assert_true(out.used <= room);
	line[out.used] = '\0';
	return line;
}

static void json_is_an_object(void **state)
{
	struct log_record record = record_of("say \"hi\"\n\\o/", 12);

	(void)state;
	assert_string_equal(write(true, &record, 4000),
			    "{\"time\":\"2026-01-02T03:04:05.678Z\",\"level\":\"info\","
			    "\"origin\":\"items[2]\",\"pid\":1234,"
			    "\"message\":\"say \\\"hi\\\"\\u000a\\\\o/\"}");
	record.pid = 0;
	assert_null(strstr(write(true, &record, 4000), "pid"));
}

static void logfmt_quotes_what_it_must(void **state)
{
	struct log_record record = record_of("a=b c", 5);

	(void)state;
	assert_string_equal(write(false, &record, 4000),
			    "time=2026-01-02T03:04:05.678Z level=info origin=items[2] "
			    "pid=1234 msg=\"a=b c\"");
	record.origin = "two words";
	assert_non_null(strstr(write(false, &record, 4000), " origin=\"two words\" "));
}

static void any_bytes_make_a_line(void **state)
{
	char message[300];

	(void)state;
	srandom(5);
	for (int turn = 0; turn < 20000; turn++) {
		const int size = (int)(random() % (long)sizeof(message));
		const int room = turn % 3 ? 4000 : 200 + (int)(random() % 400);
		struct log_record record = record_of(message, size);
		json_t *value;

		for (int i = 0; i < size; i++)
			message[i] = (char)(random() >> 7);
		value = json_loads(write(true, &record, room),
				   JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
		assert_non_null(value);
		json_decref(value);
		write(false, &record, room);
		assert_null(strchr(line, '\n'));
		assert_int_equal(line[strlen(line) - 1], '"');
	}
}

static void text_comes_back_as_it_was(void **state)
{
	static const char text[] = "gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80 \t\x1b[31m";
	const struct log_record record = record_of(text, sizeof(text) - 1);
	json_t *value = json_loads(write(true, &record, 4000), 0, NULL);

	(void)state;
	assert_string_equal(json_string_value(json_object_get(value, "message")), text);
	json_decref(value);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(json_is_an_object),
		cmocka_unit_test(logfmt_quotes_what_it_must),
		cmocka_unit_test(any_bytes_make_a_line),
		cmocka_unit_test(text_comes_back_as_it_was),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
