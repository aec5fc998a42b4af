/* SPDX-License-Identifier: MIT */
/*
 * A ring whose two sides lie in one process: order, fullness, wrap-around, and
 * indexes that cannot be.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>

#include "transport/ring.h"

#define CAPACITY 8u

/* A ring whose two sides lie in one process. */
struct both {
	uint32_t entries[CAPACITY];
	_Atomic uint32_t tail;
	_Atomic uint32_t head;
	struct ring_producer producer;
	struct ring_consumer consumer;
};

static void open_at(struct both *both, uint32_t start)
{
	*both = (struct both){ .tail = start, .head = start };
	both->producer = (struct ring_producer){
		(void *)both->entries, sizeof(uint32_t), CAPACITY,
		&both->tail, &both->head, start, start,
	};
	both->consumer = (struct ring_consumer){
		(void *)both->entries, sizeof(uint32_t), CAPACITY,
		&both->tail, &both->head, start,
	};
}

static void what_goes_in_comes_out_in_order(void **state)
{
	struct both both;
	uint32_t got;

	(void)state;
	open_at(&both, 0);
	assert_int_equal(ring_pop(&both.consumer, &got), 0);
	assert_false(ring_has_entry(&both.consumer));
	for (uint32_t i = 0; i < 1000; i++) {
		const uint32_t twice[2] = { i, i + 1000 };

		assert_int_equal(ring_push(&both.producer, &twice[0]), 0);
		assert_int_equal(ring_push(&both.producer, &twice[1]), 0);
		assert_true(ring_has_entry(&both.consumer));
		assert_int_equal(ring_pop(&both.consumer, &got), 1);
		assert_int_equal(got, i);
		assert_int_equal(ring_pop(&both.consumer, &got), 1);
		assert_int_equal(got, i + 1000);
	}
}

static void a_full_ring_takes_no_more(void **state)
{
	struct both both;
	uint32_t got;

	(void)state;
	open_at(&both, 0);
	for (uint32_t i = 0; i < CAPACITY; i++)
		assert_int_equal(ring_push(&both.producer, &i), 0);
	got = 99;
	assert_int_equal(ring_push(&both.producer, &got), -EAGAIN);
	assert_false(ring_has_room(&both.producer));
	assert_int_equal(ring_pop(&both.consumer, &got), 1);
	assert_int_equal(got, 0);
	assert_true(ring_has_room(&both.producer));
	got = CAPACITY;
	assert_int_equal(ring_push(&both.producer, &got), 0);
	for (uint32_t i = 1; i <= CAPACITY; i++) {
		assert_int_equal(ring_pop(&both.consumer, &got), 1);
		assert_int_equal(got, i);
	}
}

static void indexes_wrap_around(void **state)
{
	struct both both;
	uint32_t got;

	(void)state;
	open_at(&both, UINT32_MAX - 3);
	for (uint32_t i = 0; i < 20; i++) {
		assert_int_equal(ring_push(&both.producer, &i), 0);
		assert_int_equal(ring_pop(&both.consumer, &got), 1);
		assert_int_equal(got, i);
	}
	for (uint32_t i = 0; i < CAPACITY; i++)
		assert_int_equal(ring_push(&both.producer, &i), 0);
	assert_int_equal(ring_push(&both.producer, &got), -EAGAIN);
}

static void an_impossible_tail_is_found(void **state)
{
	struct both both;
	uint32_t got = 7;

	(void)state;
	open_at(&both, 5);
	both.tail = 5 + CAPACITY + 1;
	assert_true(ring_has_entry(&both.consumer));
	assert_int_equal(ring_pop(&both.consumer, &got), -EBADMSG);
	both.tail = 4;
	assert_int_equal(ring_pop(&both.consumer, &got), -EBADMSG);
	assert_int_equal(got, 7);
}

static void an_impossible_head_is_found(void **state)
{
	struct both both;

	(void)state;
	open_at(&both, 5);
	for (uint32_t i = 0; i < CAPACITY; i++)
		assert_int_equal(ring_push(&both.producer, &i), 0);
	both.head = 5 + CAPACITY + 1;
	assert_int_equal(ring_push(&both.producer, &both.head), -EBADMSG);
	both.head = 4;
	assert_int_equal(ring_push(&both.producer, &both.head), -EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_goes_in_comes_out_in_order),
		cmocka_unit_test(a_full_ring_takes_no_more),
		cmocka_unit_test(indexes_wrap_around),
		cmocka_unit_test(an_impossible_tail_is_found),
		cmocka_unit_test(an_impossible_head_is_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
