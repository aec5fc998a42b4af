/* SPDX-License-Identifier: MIT */
/* Against a plain array of flags. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "transport/slots.h"

static bool flags[LINK_SLOTS];

static uint32_t next_flag(uint32_t from)
{
	while (from < LINK_SLOTS && !flags[from])
		from++;
	return from;
}

static void it_is_a_set(void **state)
{
	struct slots slots = { 0 };

	(void)state;
	srandom(1);
	assert_true(slots_empty(&slots));
	for (int turn = 0; turn < 200000; turn++) {
		const uint32_t slot = (uint32_t)random() % LINK_SLOTS;
		const uint32_t from = (uint32_t)random() % (LINK_SLOTS + 1);

		/* Nearly empty and nearly full, in turns. */
		if (random() % 100 < (turn / 20000 % 2 ? 95 : 5)) {
			slots_add(&slots, slot);
			flags[slot] = true;
		} else {
			slots_remove(&slots, slot);
			flags[slot] = false;
		}
		assert_int_equal(slots_has(&slots, slot), flags[slot]);
		assert_int_equal(slots_next(&slots, from), next_flag(from));
	}
	for (uint32_t slot = 0; slot < LINK_SLOTS; slot++)
		slots_remove(&slots, slot);
	assert_true(slots_empty(&slots));
	assert_int_equal(slots_next(&slots, 0), LINK_SLOTS);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(it_is_a_set) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
