/* SPDX-License-Identifier: MIT */
/* Lines of the scoreboard: one writer each, and walls between them. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/os/os.h"
#include "supervise/scoreboard.h"

static void a_child_writes_its_own_line_only(void **state)
{
	const struct sigaction usual = { .sa_handler = SIG_DFL };
	struct scoreboard board;
	int status;
	pid_t pid;

	(void)state;
	assert_int_equal(scoreboard_init(&board, 8), 0);
	for (int other = 0; other < 2; other++) {
		pid = fork();
		if (pid == 0) {
			sigaction(SIGSEGV, &usual, NULL); /* not cmocka's */
			if (scoreboard_become(&board, 3) < 0)
				_exit(1);
			score_set_state(scoreboard_line(&board, 3), CREW_CHILD_BUSY);
			if (other)
				score_set_state(scoreboard_line(&board, 4),
						CREW_CHILD_READY);
			_exit(0);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(WIFSIGNALED(status), other);
	}
	assert_int_equal(score_state(scoreboard_line(&board, 3)), CREW_CHILD_BUSY);
	assert_int_equal(score_state(scoreboard_line(&board, 4)), CREW_CHILD_EMPTY);
	scoreboard_fini(&board);
	scoreboard_fini(&board);
}

/* Neither by a wild pointer nor on purpose. */
static void no_child_writes_whose_a_line_is(void **state)
{
	const struct sigaction usual = { .sa_handler = SIG_DFL };
	struct scoreboard board;
	int status;
	pid_t pid;

	(void)state;
	assert_int_equal(scoreboard_init(&board, 8), 0);
	atomic_store(&scoreboard_owner(&board, scoreboard_line(&board, 3))->pid, 3);
	pid = fork();
	if (pid == 0) {
		struct score_owner *owner = scoreboard_owner(&board, scoreboard_line(&board, 3));
		void *page = (void *)((uintptr_t)owner & ~(os_page_bytes() - 1));

		if (scoreboard_become(&board, 3) < 0 || atomic_load(&owner->pid) != 3 ||
		    mprotect(page, os_page_bytes(), PROT_READ | PROT_WRITE) == 0 ||
		    fcntl(board.head_fd, F_GETFD) >= 0)
			_exit(1);
		sigaction(SIGSEGV, &usual, NULL); /* not cmocka's */
		atomic_store(&owner->pid, 4);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(atomic_load(&board.head->owners[3].pid), 3);
	/* What the parent writes its children see. */
	pid = fork();
	if (pid == 0) {
		alarm(60);
		if (scoreboard_become(&board, 3) < 0)
			_exit(1);
		while (atomic_load(&board.head->owners[4].pid) != 4)
			usleep(1000);
		_exit(0);
	}
	atomic_store(&board.head->owners[4].pid, 4);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	scoreboard_fini(&board);
}

static void lines_are_known_up_to_the_last_that_was_used(void **state)
{
	struct scoreboard board;

	(void)state;
	assert_int_equal(scoreboard_init(&board, 8), 0);
	assert_int_equal(scoreboard_used(&board), 0);
	scoreboard_use(&board, 5);
	scoreboard_use(&board, 2);
	assert_int_equal(scoreboard_used(&board), 6);
	scoreboard_fini(&board);
}

static void lines_of_a_group_are_found_in_order(void **state)
{
	static const unsigned groups[] = { 1, 2, 1, 1, 2, 1 };
	const struct score *score;
	struct scoreboard board;

	(void)state;
	assert_int_equal(scoreboard_init(&board, 8), 0);
	assert_null(scoreboard_next(&board, 0, NULL));
	for (unsigned i = 0; i < COUNT_OF(groups); i++) {
		atomic_store(&board.head->owners[i].group, groups[i]);
		score_set_state(scoreboard_line(&board, i), CREW_CHILD_BUSY);
	}
	/* None was used so far. */
	assert_null(scoreboard_next(&board, 1, NULL));
	score_set_state(scoreboard_line(&board, 2), CREW_CHILD_EMPTY);
	score_set_state(scoreboard_line(&board, 3), CREW_CHILD_DEAD);
	scoreboard_use(&board, 5);
	score = scoreboard_next(&board, 1, NULL);
	assert_ptr_equal(score, scoreboard_line(&board, 0));
	score = scoreboard_next(&board, 1, score);
	assert_ptr_equal(score, scoreboard_line(&board, 3));
	score = scoreboard_next(&board, 1, score);
	assert_ptr_equal(score, scoreboard_line(&board, 5));
	assert_null(scoreboard_next(&board, 1, score));
	assert_null(scoreboard_next(&board, 3, NULL));
	scoreboard_fini(&board);
}

static void the_parents_mark_is_seen_but_for_the_dead(void **state)
{
	struct score score = { 0 };

	(void)state;
	atomic_store(&score.mark, CREW_CHILD_STALE);
	assert_int_equal(score_state(&score), CREW_CHILD_EMPTY);
	score_set_state(&score, CREW_CHILD_BUSY);
	assert_int_equal(score_state(&score), CREW_CHILD_STALE);
	score_set_state(&score, CREW_CHILD_DEAD);
	assert_int_equal(score_state(&score), CREW_CHILD_DEAD);
	score_set_state(&score, (enum crew_child_state)99);
	atomic_store(&score.mark, 0);
	assert_int_equal(score_state(&score), CREW_CHILD_EMPTY);
	assert_string_equal(crew_child_state_name(CREW_CHILD_STALE), "stale");
}

static void a_status_is_cut_and_always_ends(void **state)
{
	char text[SCORE_STATUS_BYTES];
	struct score score = { 0 };
	char lengthy[500];

	(void)state;
	score_set_status(&score, "polling", 7);
	score_get_status(&score, text);
	assert_string_equal(text, "polling");
	memset(lengthy, 'x', sizeof(lengthy));
	score_set_status(&score, lengthy, sizeof(lengthy));
	score_get_status(&score, text);
	assert_int_equal(strlen(text), SCORE_STATUS_BYTES - 1);
	for (size_t i = 0; i < SCORE_STATUS_BYTES; i++)
		atomic_store(&score.status[i], 'y');
	score_get_status(&score, text);
	assert_int_equal(strlen(text), SCORE_STATUS_BYTES - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_child_writes_its_own_line_only),
		cmocka_unit_test(no_child_writes_whose_a_line_is),
		cmocka_unit_test(lines_are_known_up_to_the_last_that_was_used),
		cmocka_unit_test(lines_of_a_group_are_found_in_order),
		cmocka_unit_test(the_parents_mark_is_seen_but_for_the_dead),
		cmocka_unit_test(a_status_is_cut_and_always_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
