/* SPDX-License-Identifier: MIT */
/*
 * For tests only: what a test does to its own process it does in a fork, where
 * cmocka's assertions do not work. There `must` says what does not hold, and
 * ends the fork with 1.
 */
#ifndef BASE_TEST_FORK_H
#define BASE_TEST_FORK_H

#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

/** In a fork: end it if this does not hold. */
#define must(condition) \
	((condition) ? (void)0 : must_failed(#condition, __FILE__, __LINE__))

/** Run this in a fork; there everything must hold. */
#define in_a_fork(code) assert_int_equal(code_of_fork(code), 0)

_Noreturn static inline void must_failed(const char *what, const char *file, int line)
{
	dprintf(STDERR_FILENO, "%s:%d: in a fork: this does not hold: %s\n", file, line,
		what);
	_exit(1);
}

/** The exit code of a fork that runs this, or minus the signal that ended it. */
static inline int code_of_fork(void (*code)(void))
{
	pid_t pid;
	int status;

	fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		code();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

#endif
