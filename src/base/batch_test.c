/* SPDX-License-Identifier: MIT */
/* Sends and receives together: each has the result that its own call would have, and
 * where the kernel takes none of them, nothing is said to be done. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/batch.h"
#include "base/os/os.h"

#define PAIRS 60

static struct batch *batch;

static int set_up(void **state)
{
	int r = batch_new(&batch);

	(void)state;
	/* Built without it, too old, or forbidden, as in most containers. */
	if (r == -ENOSYS || r == -EPERM)
		skip();
	return r;
}

static int tear_down(void **state)
{
	(void)state;
	batch_free(batch);
	batch = NULL;
	return 0;
}

static void pair(int ret_fds[2])
{
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ret_fds), 0);
}

static void each_has_its_own_bytes(void **state)
{
	static char rooms[PAIRS][16];
	int32_t done[PAIRS];
	int fds[PAIRS][2];
	char texts[PAIRS][16];
	unsigned kept[PAIRS];

	(void)state;
	for (int i = 0; i < PAIRS; i++) {
		pair(fds[i]);
		kept[i] = batch_keep(batch, fds[i][0]);
		memset(texts[i], 'a' + i % 26, sizeof(texts[i]));
	}
	for (int round = 0; round < 50; round++) {
		for (int i = 0; i < PAIRS; i++)
			batch_send(batch, fds[i][0], i % 2 ? kept[i] : 0,
				   (struct span){ texts[i], (size_t)i % 16 + 1 },
				   &done[i]);
		assert_int_equal(batch_run(batch), 0);
		for (int i = 0; i < PAIRS; i++)
			assert_int_equal(done[i], i % 16 + 1);
		for (int i = 0; i < PAIRS; i++)
			batch_receive(batch, fds[i][1], 0, rooms[i], 16, &done[i]);
		assert_int_equal(batch_run(batch), 0);
		for (int i = 0; i < PAIRS; i++) {
			assert_int_equal(done[i], i % 16 + 1);
			assert_memory_equal(rooms[i], texts[i], (size_t)i % 16 + 1);
		}
	}
	for (int i = 0; i < PAIRS; i++) {
		batch_forget(batch, kept[i]);
		close(fds[i][0]);
		close(fds[i][1]);
	}
}

static bool is_at_its_end(int fd)
{
	struct pollfd end = { .fd = fd, .events = POLLIN };
	char byte;

	return poll(&end, 1, 200) == 1 && read(fd, &byte, 1) == 0;
}

static bool is_older_than_6_14(void)
{
	struct utsname system;
	unsigned major;
	unsigned minor;

	assert_int_equal(uname(&system), 0);
	assert_int_equal(sscanf(system.release, "%u.%u", &major, &minor), 2);
	return major < 6 || (major == 6 && minor < 14);
}

static void who_is_forgotten_is_closed_at_once(void **state)
{
	int fds[2];
	unsigned kept;
	int32_t done;

	(void)state;
	pair(fds);
	kept = batch_keep(batch, fds[0]);
	if (!kept && is_older_than_6_14())
		skip();
	assert_int_not_equal(kept, 0);
	batch_send(batch, fds[0], kept, (struct span){ "x", 1 }, &done);
	assert_int_equal(batch_run(batch), 0);
	assert_int_equal(done, 1);
	assert_int_equal(read(fds[1], &done, sizeof(done)), 1);
	batch_forget(batch, kept);
	close(fds[0]);
	assert_true(is_at_its_end(fds[1]));
	close(fds[1]);
}

static void so_many_are_kept_and_no_more(void **state)
{
	static unsigned kept[BATCH_KEPT_MAX];
	const uint64_t limit = os_descriptor_limit(0);
	const unsigned places = limit < BATCH_KEPT_MAX ? (unsigned)limit : BATCH_KEPT_MAX;
	int32_t done;
	int fds[2];

	(void)state;
	pair(fds);
	kept[0] = batch_keep(batch, fds[0]);
	if (!kept[0] && is_older_than_6_14())
		skip();
	for (unsigned i = 1; i < places; i++) {
		kept[i] = batch_keep(batch, fds[0]);
		assert_in_range(kept[i], 1, places);
	}
	assert_int_equal(batch_keep(batch, fds[1]), 0);
	batch_forget(batch, 0);
	assert_int_equal(batch_keep(batch, fds[1]), 0);
	batch_forget(batch, kept[77]);
	assert_int_equal(batch_keep(batch, 9999), 0);
	assert_int_equal(batch_keep(batch, fds[1]), kept[77]);
	batch_send(batch, fds[1], kept[77], (struct span){ "y", 1 }, &done);
	batch_send(batch, -1, kept[78], (struct span){ "z", 1 }, &done);
	assert_int_equal(batch_run(batch), 0);
	assert_int_equal(done, 1);
	/* Those that are left are let go of with the ring. */
	close(fds[0]);
	close(fds[1]);
}

static void none_waits_and_none_spoils_another(void **state)
{
	static char much[1 << 20];
	char room[8];
	int32_t done[6];
	int fds[3][2];

	(void)state;
	for (int i = 0; i < 3; i++)
		pair(fds[i]);
	close(fds[2][1]);
	assert_int_equal(batch_run(batch), 0);
	batch_receive(batch, fds[0][1], 0, room, sizeof(room), &done[0]);
	batch_receive(batch, 9999, 0, room, sizeof(room), &done[1]);
	batch_receive(batch, fds[2][0], 0, room, sizeof(room), &done[2]);
	batch_send(batch, fds[2][0], 0, (struct span){ "x", 1 }, &done[3]);
	batch_send(batch, fds[1][0], 0, (struct span){ much, sizeof(much) }, &done[4]);
	batch_send(batch, fds[0][0], 0, (struct span){ "good", 4 }, &done[5]);
	assert_int_equal(done[0], BATCH_UNDONE);
	assert_int_equal(batch_run(batch), 0);
	assert_int_equal(done[0], -EAGAIN);
	assert_int_equal(done[1], -EBADF);
	assert_int_equal(done[2], 0);
	assert_int_equal(done[3], -EPIPE);
	assert_in_range(done[4], 1, sizeof(much) - 1);
	assert_int_equal(done[5], 4);
	batch_send(batch, fds[1][0], 0, (struct span){ much, sizeof(much) }, &done[4]);
	assert_int_equal(batch_run(batch), 0);
	assert_int_equal(done[4], -EAGAIN);
	assert_int_equal(read(fds[0][1], room, sizeof(room)), 4);
	for (int i = 0; i < 3; i++) {
		close(fds[i][0]);
		if (i < 2)
			close(fds[i][1]);
	}
}

/* In a child, which the kernel refuses: it is not the one that made the ring. */
static void what_the_kernel_refuses_is_not_done(void **state)
{
	int32_t done[3] = { 7, 7, 7 };
	int fds[2];
	char room[8];
	int status;
	pid_t child;

	(void)state;
	pair(fds);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		batch_send(batch, fds[0], 0, (struct span){ "no", 2 }, &done[0]);
		batch_receive(batch, fds[1], 0, room, sizeof(room), &done[1]);
		if (batch_run(batch) >= 0 || done[0] != BATCH_UNDONE ||
		    done[1] != BATCH_UNDONE)
			_exit(1);
		batch_send(batch, fds[0], 0, (struct span){ "no", 2 }, &done[2]);
		if (batch_run(batch) >= 0 || done[2] != BATCH_UNDONE)
			_exit(2);
		batch_free(batch);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	batch_send(batch, fds[0], 0, (struct span){ "yes", 3 }, &done[0]);
	assert_int_equal(batch_run(batch), 0);
	assert_int_equal(done[0], 3);
	assert_int_equal(read(fds[1], room, sizeof(room)), 3);
	close(fds[0]);
	close(fds[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(each_has_its_own_bytes, set_up, tear_down),
		cmocka_unit_test_setup_teardown(none_waits_and_none_spoils_another, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(who_is_forgotten_is_closed_at_once, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(so_many_are_kept_and_no_more, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(what_the_kernel_refuses_is_not_done, set_up,
						tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
