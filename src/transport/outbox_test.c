/* SPDX-License-Identifier: MIT */
/* Both sides of a link in one process: more is said than there is room for, and
 * all of it arrives in order, with its bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>
#include <unistd.h>

#include "transport/outbox.h"

#define MANY 2000u

struct both {
	struct link dispatcher;
	struct link worker;
	struct outbox outbox;
};

static void open_both(struct both *both)
{
	struct link_fds mine;
	struct link_fds yours;

	assert_int_equal(link_create(&mine), 0);
	yours = (struct link_fds){ dup(mine.memory),
				   { dup(mine.bell[0]), dup(mine.bell[1]) } };
	assert_int_equal(link_open(&both->dispatcher, LINK_DISPATCHER, &mine), 0);
	assert_int_equal(link_open(&both->worker, LINK_WORKER, &yours), 0);
	outbox_init(&both->outbox);
}

static void close_both(struct both *both)
{
	outbox_fini(&both->outbox);
	link_fini(&both->dispatcher);
	link_fini(&both->worker);
}

static unsigned receive_all(struct both *both, unsigned next)
{
	struct message message;

	while (link_receive(&both->worker, &message) > 0) {
		const unsigned char *bytes = link_bytes(&both->worker, &message);

		assert_int_equal(message.slot, next % LINK_SLOTS);
		assert_int_equal(message.size, 1 + next % 3000);
		assert_int_equal(bytes[0], next & 255);
		assert_int_equal(bytes[message.size - 1], next & 255);
		assert_int_equal(link_release(&both->worker, message.offset), 0);
		next++;
	}
	assert_true(link_reap(&both->dispatcher, NULL, NULL) >= 0);
	return next;
}

static void all_arrives_in_order(void **state)
{
	unsigned char bytes[3000];
	unsigned received = 0;
	struct both both;

	(void)state;
	open_both(&both);
	for (unsigned i = 0; i < MANY; i++) {
		const struct message message = {
			.kind = MESSAGE_BODY_PART,
			.slot = i % LINK_SLOTS,
			.size = 1 + i % 3000,
		};

		memset(bytes, (int)(i & 255), sizeof(bytes));
		assert_int_equal(outbox_send(&both.outbox, &both.dispatcher,
					     &message, bytes), 0);
	}
	assert_true(both.outbox.count > MANY / 2);
	while (outbox_flush(&both.outbox, &both.dispatcher) == 0)
		received = receive_all(&both, received);
	received = receive_all(&both, received);
	assert_int_equal(received, MANY);
	assert_true(outbox_empty(&both.outbox));
	close_both(&both);
}

static void a_number_goes_without_bytes(void **state)
{
	const struct message credit = { .kind = MESSAGE_CREDIT, .slot = 9, .size = 77 };
	struct message message;
	struct both both;

	(void)state;
	open_both(&both);
	assert_int_equal(outbox_send(&both.outbox, &both.dispatcher, &credit, NULL), 0);
	assert_int_equal(link_receive(&both.worker, &message), 1);
	assert_int_equal(message.size, 77);
	close_both(&both);
}

static void what_waits_is_forgotten_with_the_outbox(void **state)
{
	const struct message credit = { .kind = MESSAGE_CREDIT, .slot = 1 };
	struct both both;

	(void)state;
	open_both(&both);
	for (unsigned i = 0; i < LINK_RING_ENTRIES + 10; i++)
		assert_int_equal(outbox_send(&both.outbox, &both.dispatcher,
					     &credit, NULL), 0);
	assert_int_equal(both.outbox.count, 10);
	close_both(&both);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_arrives_in_order),
		cmocka_unit_test(a_number_goes_without_bytes),
		cmocka_unit_test(what_waits_is_forgotten_with_the_outbox),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
