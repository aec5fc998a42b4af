/* SPDX-License-Identifier: MIT */
/* Streams for whose lines there was no room. What they say, and to whom, is shown by
 * tests/system. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/os/os.h"
#include "supervise/private.h"

static int end_at_once(struct crew_child *self)
{
	(void)self;
	return 0;
}

/* Where memory is short, say; epoll takes no files, with EPERM. */
static void those_that_cannot_be_watched_are_tried_again_later(void **state)
{
	const struct group group = { .is = { .name = "kids", .run = end_at_once, .count = 1 } };
	const struct plan_options options = { .groups = &group, .group_count = 1 };
	const int file = os_memory_file("stream");
	struct life *life;
	struct plan *plan;

	(void)state;
	assert_int_equal(plan_new(&options, &plan, NULL), 0);
	life = life_new(&plan->groups[0], NULL);
	assert_non_null(life);
	for (unsigned i = 0; i < 2; i++) {
		struct stream *stream = i == 0 ? &life->out : &life->error;

		stream->owner = life;
		stream->sink = i == 0 ? &plan->groups[0].out : &plan->groups[0].error;
		stream->watch.fd = file;
		list_push_back(&plan->waiting, &stream->in_waiting);
	}
	streams_room_fire(&plan->loop, &plan->room);
	assert_ptr_equal(plan->waiting.next, &life->out.in_waiting);
	assert_ptr_equal(plan->waiting.prev, &life->error.in_waiting);
	assert_true(loop_timer_is_set(&plan->room));
	list_remove(&life->out.in_waiting);
	list_remove(&life->error.in_waiting);
	life_free(life);
	plan_free(plan);
	close(file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(those_that_cannot_be_watched_are_tried_again_later),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
