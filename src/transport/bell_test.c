/* SPDX-License-Identifier: MIT */
/*
 * Who sleeps is rung, once for each sleep; who is awake is not.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <unistd.h>

#include "base/os/os.h"
#include "transport/bell.h"

struct both {
	_Atomic uint32_t epoch;
	struct bell_sleeper sleeper;
	struct bell_ringer ringer;
	_Atomic uint32_t processor;
};

static int open_both(void **state)
{
	static struct both both;
	int fd = os_bell_create();

	assert_true(fd >= 0);
	both = (struct both){ 0 };
	both.sleeper = (struct bell_sleeper){ &both.epoch, fd };
	both.ringer = (struct bell_ringer){ &both.epoch, fd, 0, 0, &both.processor };
	*state = &both;
	return 0;
}

static int close_both(void **state)
{
	close(((struct both *)*state)->sleeper.fd);
	return 0;
}

static void who_is_awake_is_not_rung(void **state)
{
	struct both *both = *state;

	assert_false(bell_ring(&both->ringer));
	bell_awake(&both->sleeper);
	assert_false(bell_ring(&both->ringer));
	assert_int_equal(os_bell_wait(both->sleeper.fd, 0), 0);
}

static void a_sleep_is_rung_once(void **state)
{
	struct both *both = *state;

	for (int night = 1; night <= 3; night++) {
		bell_announce(&both->sleeper);
		assert_true(bell_ring(&both->ringer));
		assert_false(bell_ring(&both->ringer));
		assert_int_equal(os_bell_wait(both->sleeper.fd, 0), 1);
		assert_int_equal(os_bell_wait(both->sleeper.fd, 0), 0);
		bell_awake(&both->sleeper);
		assert_false(bell_ring(&both->ringer));
		assert_int_equal(both->ringer.count, night);
	}
}

static void announcing_twice_is_one_sleep(void **state)
{
	struct both *both = *state;

	bell_announce(&both->sleeper);
	assert_true(bell_ring(&both->ringer));
	bell_announce(&both->sleeper);
	assert_false(bell_ring(&both->ringer));
}

#define with_both(test) cmocka_unit_test_setup_teardown(test, open_both, close_both)

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_both(who_is_awake_is_not_rung),
		with_both(a_sleep_is_rung_once),
		with_both(announcing_twice_is_one_sleep),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
