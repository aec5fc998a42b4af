/* SPDX-License-Identifier: MIT */
/* Bodies are whole, wherever they are kept, and together hold no more than they may. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "dispatch/body.h"
#include "dispatch/limits.h"

#define PART 10007u

static char byte_at(uint64_t at)
{
	return (char)(at * 31 + at / PART);
}

static int add(struct body *body, size_t size)
{
	char part[PART];

	while (size > 0) {
		const size_t now = size < PART ? size : PART;
		int r;

		for (size_t i = 0; i < now; i++)
			part[i] = byte_at(body->size + i);
		r = body_append(body, part, now);
		if (r < 0)
			return r;
		size -= now;
	}
	return 0;
}

static void assert_whole(const struct body *body, uint64_t size)
{
	char part[PART];

	assert_int_equal(body->size, size);
	for (uint64_t at = 0; at < size; at += PART) {
		const size_t now = size - at < PART ? (size_t)(size - at) : PART;

		assert_int_equal(body_read(body, at, part, now), 0);
		for (size_t i = 0; i < now; i++)
			assert_int_equal(part[i], byte_at(at + i));
	}
}

static void what_is_large_goes_to_a_file(void **state)
{
	static const size_t sizes[] = { 0, 1, PART, SPILL_BYTES, SPILL_BYTES + 1,
					LARGE_BODY_BYTES };

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct body body = { 0 };

		assert_int_equal(add(&body, sizes[i]), 0);
		assert_int_equal(body.fd != 0, sizes[i] > SPILL_BYTES);
		assert_whole(&body, sizes[i]);
		body_fini(&body);
	}
}

static void what_is_announced_may_stay(void **state)
{
	static const struct {
		size_t announced;
		size_t size;
		bool stays;
	} cases[] = {
		{ SPILL_BYTES, SPILL_BYTES, true },
		{ SPILL_BYTES + 1, SPILL_BYTES + 1, true },
		{ LARGE_BODY_BYTES, LARGE_BODY_BYTES, true },
		{ LARGE_BODY_BYTES, PART, true },
		{ LARGE_BODY_BYTES + 1, LARGE_BODY_BYTES + 1, false },
		/* More comes than was said. */
		{ SPILL_BYTES + 1, LARGE_BODY_BYTES, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct body body = { 0 };

		body_expect(&body, cases[i].announced);
		assert_int_equal(add(&body, cases[i].size), 0);
		assert_int_equal(body.fd == 0, cases[i].stays);
		assert_whole(&body, cases[i].size);
		body_fini(&body);
	}
}

static void all_together_hold_no_more_than_they_may(void **state)
{
	enum { MOST = LARGE_BODIES_BYTES / LARGE_BODY_BYTES };
	struct body bodies[MOST + 1] = { 0 };

	(void)state;
	for (int i = 0; i <= MOST; i++) {
		body_expect(&bodies[i], LARGE_BODY_BYTES);
		assert_int_equal(add(&bodies[i], SPILL_BYTES + 1), 0);
		assert_int_equal(bodies[i].fd != 0, i == MOST);
	}
	/* Who goes to a file after all, or is over, makes room for others. */
	assert_int_equal(add(&bodies[0], LARGE_BODY_BYTES), 0);
	assert_int_not_equal(bodies[0].fd, 0);
	body_fini(&bodies[1]);
	body_fini(&bodies[MOST]);
	for (int i = 1; i <= MOST; i += MOST - 1) {
		body_expect(&bodies[i], LARGE_BODY_BYTES);
		assert_int_equal(add(&bodies[i], SPILL_BYTES + 1), 0);
		assert_int_equal(bodies[i].fd, 0);
		assert_whole(&bodies[i], SPILL_BYTES + 1);
	}
	for (int i = 0; i <= MOST; i++)
		body_fini(&bodies[i]);
}

static void what_is_received_in_its_place_is_not_copied(void **state)
{
	struct body body = { 0 };
	char *place;

	(void)state;
	body_expect(&body, LARGE_BODY_BYTES);
	while (body.size + PART <= LARGE_BODY_BYTES) {
		place = body_place(&body, PART);
		assert_non_null(place);
		for (size_t i = 0; i < PART; i++)
			place[i] = byte_at(body.size + i);
		/* Less than there was place for. */
		assert_int_equal(body_append(&body, place, PART - 7), 0);
		assert_ptr_equal(body.memory.data + body.memory.end, place + PART - 7);
	}
	assert_null(body_place(&body, PART));
	assert_whole(&body, body.size);
	assert_int_equal(add(&body, PART), 0);
	assert_int_not_equal(body.fd, 0);
	assert_null(body_place(&body, 1));
	assert_whole(&body, body.size);
	body_fini(&body);
}

/* Room is made by powers of two, and that is what counts. */
static void what_room_takes_is_counted(void **state)
{
	enum { MOST = LARGE_BODIES_BYTES / LARGE_BODY_BYTES };
	struct body bodies[MOST + 1] = { 0 };

	(void)state;
	for (int i = 0; i <= MOST; i++) {
		body_expect(&bodies[i], LARGE_BODY_BYTES / 2 + 1);
		assert_int_equal(bodies[i].memory.data != NULL, i < MOST);
	}
	body_expect(&bodies[MOST], SPILL_BYTES + 1);
	assert_null(bodies[MOST].memory.data);
	for (int i = 0; i <= MOST; i++)
		body_fini(&bodies[i]);
}

/* The file cannot be made: nothing is lost, and it can be said. */
static void without_a_descriptor_it_fails_as_it_is(void **state)
{
	struct rlimit before;
	struct rlimit none;
	struct body body = { 0 };

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	none = before;
	none.rlim_cur = 0;
	assert_int_equal(add(&body, SPILL_BYTES), 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	assert_int_equal(add(&body, 1), -EMFILE);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_whole(&body, SPILL_BYTES);
	assert_int_equal(add(&body, 1), 0);
	assert_whole(&body, SPILL_BYTES + 1);
	body_fini(&body);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_large_goes_to_a_file),
		cmocka_unit_test(what_is_announced_may_stay),
		cmocka_unit_test(all_together_hold_no_more_than_they_may),
		cmocka_unit_test(what_is_received_in_its_place_is_not_copied),
		cmocka_unit_test(what_room_takes_is_counted),
		cmocka_unit_test(without_a_descriptor_it_fails_as_it_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
