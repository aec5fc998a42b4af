/* SPDX-License-Identifier: MIT */
/*
 * Daemons that come up, fail and die. Each test calls daemon_detach in a fork,
 * so that this program is never the caller, and looks at what is left.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/test_fork.h"
#include "daemon/detach.h"

/* What a daemon tells the test: it has nobody else to tell. */
static struct shared {
	_Atomic int line; /* of the check that failed in it */
	_Atomic int done;
	_Atomic int pid;
} *shared;

/* In a daemon, whose exit code nobody sees. */
#define must_daemon(condition)                  \
	do {                                    \
		if (!(condition)) {             \
			shared->line = __LINE__; \
			_exit(1);               \
		}                               \
	} while (0)

/* In a fork, and nothing may have failed in a daemon that it made. */
static void with_daemons(void (*code)(void))
{
	memset(shared, 0, sizeof(*shared));
	in_a_fork(code);
	assert_int_equal(shared->line, 0);
}

static void rest(unsigned ms)
{
	nanosleep(&(struct timespec){ .tv_nsec = ms * 1000000L }, NULL);
}

static void wait_for(_Atomic int *value)
{
	for (int i = 0; i < 5000 && !*value; i++)
		rest(1);
	must(*value);
}

/* Where standard error leads, as a number. */
static ino_t error_file(void)
{
	struct stat status = { 0 };

	fstat(STDERR_FILENO, &status);
	return status.st_ino;
}

static bool leads_to_null(int fd)
{
	struct stat status;
	struct stat null;

	return fstat(fd, &status) == 0 && stat("/dev/null", &null) == 0 &&
	       status.st_rdev == null.st_rdev && S_ISCHR(status.st_mode);
}

static void be_a_daemon(struct detach *detach, pid_t caller)
{
	ino_t file;

	must_daemon(detach->pid == getpid());
	must_daemon(getpid() != caller && getppid() != caller);
	must_daemon(getsid(0) != getpid() && getsid(0) == getpgrp());
	must_daemon(getsid(0) != getsid(caller));
	must_daemon(leads_to_null(STDIN_FILENO));
	must_daemon(fcntl(detach->report, F_GETFD) == FD_CLOEXEC);
	must_daemon(umask(0) == 027);
	rest(50);
	shared->pid = getpid();
	file = error_file();
	daemon_up(detach);
	daemon_silence(detach); /* silences nothing */
	daemon_up(detach);      /* is not heard */
	must_daemon(error_file() == file);
	shared->done = 1;
	_exit(0);
}

static void come_up(void)
{
	struct detach detach;
	const pid_t caller = getpid();
	const int before = dup(STDERR_FILENO);
	int r;

	close(before);
	umask(027);
	r = daemon_detach(NULL, &detach);
	if (r == 0)
		be_a_daemon(&detach, caller);
	must(r == 1);
	/* It has waited. */
	must(shared->pid == detach.pid);
	must(detach.code == 0 && detach.text[0] == '\0');
	/* The middle process is buried, and no descriptor is left. */
	must(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD);
	must(dup(STDERR_FILENO) == before);
	wait_for(&shared->done);
}

static void the_caller_waits_until_it_is_up(void **state)
{
	(void)state;
	with_daemons(come_up);
}

static void fail_with_words(void)
{
	char text[700];
	struct detach detach;
	int r = daemon_detach(NULL, &detach);

	memset(text, 'x', sizeof(text));
	memcpy(text, "cannot listen", 13);
	text[sizeof(text) - 1] = '\0';
	if (r == 0) {
		daemon_failed(&detach, 3, text);
		daemon_failed(&detach, 4, "again");
		daemon_up(&detach);
		_exit(3);
	}
	must(r == 1 && detach.code == 3 && detach.pid > 1);
	must(strlen(detach.text) == 500);
	must(memcmp(detach.text, text, 500) == 0);
}

static void fail_without_a_code(void)
{
	struct detach detach;
	int r = daemon_detach(NULL, &detach);

	if (r == 0) {
		daemon_failed(&detach, 0, "no");
		_exit(0);
	}
	must(r == 1 && detach.code == 1 && strcmp(detach.text, "no") == 0);
}

static void the_caller_learns_why_it_failed(void **state)
{
	(void)state;
	with_daemons(fail_with_words);
	with_daemons(fail_without_a_code);
}

static void die(void)
{
	struct detach detach;
	int r = daemon_detach(NULL, &detach);

	if (r == 0) {
		rest(20);
		raise(SIGKILL);
	}
	must(r == 1 && detach.code == 1 && detach.pid > 1);
	must(strcmp(detach.text, "the daemon died before it was up") == 0);
}

static void die_at_once(void)
{
	struct detach detach;
	int r = daemon_detach(NULL, &detach);

	if (r == 0)
		_exit(0);
	must(r == 1 && detach.code == 1);
}

/* Its child holds the channel open. */
static void die_with_a_child(void)
{
	struct detach detach;
	int r = daemon_detach(NULL, &detach);

	if (r == 0) {
		const pid_t pid = fork();

		if (pid == 0) {
			pause();
			_exit(0);
		}
		shared->pid = pid;
		raise(SIGKILL);
	}
	must(r == 1 && detach.code == 1);
	must(shared->pid > 1);
	kill(shared->pid, SIGKILL);
}

static void the_caller_learns_that_it_died(void **state)
{
	(void)state;
	with_daemons(die);
	with_daemons(die_at_once);
	with_daemons(die_with_a_child);
}

/* The caller is killed while it waits: the daemon lives, and gets no SIGPIPE. */
static void lose_the_caller(void)
{
	struct detach detach;
	pid_t caller = fork();

	if (caller == 0) {
		if (daemon_detach(NULL, &detach) == 0) {
			shared->pid = getpid();
			while (!shared->done)
				rest(1);
			daemon_up(&detach);
			shared->done = 2;
		}
		_exit(0);
	}
	wait_for(&shared->pid);
	kill(caller, SIGKILL);
	must(waitpid(caller, NULL, 0) == caller);
	shared->done = 1;
	for (int i = 0; i < 5000 && shared->done != 2; i++)
		rest(1);
	must(shared->done == 2);
}

static void a_daemon_outlives_its_caller(void **state)
{
	(void)state;
	with_daemons(lose_the_caller);
}

/* What is buffered is written once; what the daemon says until it is up is
 * seen; who reads to the end need not wait for the daemon's. */
static void talk(void)
{
	char seen[200] = "";
	struct detach detach;
	int ends[2];
	size_t used = 0;
	ssize_t n;
	int r;

	must(pipe2(ends, O_CLOEXEC) == 0);
	must(dup2(ends[1], STDOUT_FILENO) == STDOUT_FILENO);
	must(dup2(ends[1], STDERR_FILENO) == STDERR_FILENO);
	close(ends[1]);
	printf("before ");
	r = daemon_detach(NULL, &detach);
	if (r == 0) {
		printf("early ");
		must_daemon(daemon_loses_log(&detach));
		daemon_silence(&detach);
		daemon_up(&detach);
		printf("late ");
		fflush(NULL);
		must_daemon(leads_to_null(STDOUT_FILENO));
		must_daemon(leads_to_null(STDERR_FILENO));
		shared->done = 1;
		pause();
		_exit(0);
	}
	must(r == 1 && detach.code == 0);
	wait_for(&shared->done);
	close(STDOUT_FILENO);
	close(STDERR_FILENO);
	while ((n = read(ends[0], seen + used, sizeof(seen) - 1 - used)) > 0)
		used += (size_t)n;
	must(strcmp(seen, "before early ") == 0);
	must(detach.pid > 1);
	kill(detach.pid, SIGKILL);
}

/* The daemon has found a log file for itself. */
static void keep_the_log(void)
{
	struct detach detach;
	int ends[2];
	int r;

	must(pipe2(ends, O_CLOEXEC) == 0);
	must(dup2(ends[1], STDOUT_FILENO) == STDOUT_FILENO);
	must(dup2(ends[1], STDERR_FILENO) == STDERR_FILENO);
	r = daemon_detach(NULL, &detach);
	if (r == 0) {
		must_daemon(pipe2(ends, O_CLOEXEC) == 0);
		dup2(ends[1], STDERR_FILENO);
		must_daemon(!daemon_loses_log(&detach));
		daemon_silence(&detach);
		daemon_up(&detach);
		must_daemon(leads_to_null(STDOUT_FILENO));
		must_daemon(!leads_to_null(STDERR_FILENO));
		shared->done = 1;
		_exit(0);
	}
	must(r == 1 && detach.code == 0);
	wait_for(&shared->done);
}

static void output_is_seen_until_it_is_up(void **state)
{
	(void)state;
	with_daemons(talk);
	with_daemons(keep_the_log);
}

/* Standard output is the journal, standard error a file: nobody waits for their end. */
static void go_on_writing(void)
{
	struct detach detach;
	struct stat status;
	char journal[64];
	int ends[2];
	int r;

	must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
	must(dup2(ends[1], STDOUT_FILENO) == STDOUT_FILENO && fstat(ends[1], &status) == 0);
	snprintf(journal, sizeof(journal), "%llu:%llu", (unsigned long long)status.st_dev,
		 (unsigned long long)status.st_ino);
	setenv("JOURNAL_STREAM", journal, 1);
	must(dup2(memfd_create("errors", MFD_CLOEXEC), STDERR_FILENO) == STDERR_FILENO);
	r = daemon_detach(NULL, &detach);
	if (r == 0) {
		must_daemon(!daemon_loses_log(&detach));
		daemon_silence(&detach);
		daemon_up(&detach);
		must_daemon(!leads_to_null(STDOUT_FILENO));
		must_daemon(!leads_to_null(STDERR_FILENO));
		shared->done = 1;
		_exit(0);
	}
	must(r == 1 && detach.code == 0);
	wait_for(&shared->done);
}

/* Another socket may have somebody who waits: as a shell's, or ssh's. */
static void leave_a_socket(void)
{
	struct detach detach;
	int ends[2];
	int r;

	must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
	must(dup2(ends[1], STDERR_FILENO) == STDERR_FILENO);
	setenv("JOURNAL_STREAM", "1:2", 1);
	r = daemon_detach(NULL, &detach);
	if (r == 0) {
		must_daemon(daemon_loses_log(&detach));
		daemon_silence(&detach);
		daemon_up(&detach);
		must_daemon(leads_to_null(STDERR_FILENO));
		shared->done = 1;
		_exit(0);
	}
	must(r == 1 && detach.code == 0);
	wait_for(&shared->done);
}

static void what_was_meant_for_it_is_kept(void **state)
{
	(void)state;
	with_daemons(go_on_writing);
	with_daemons(leave_a_socket);
}

static void start_without_streams(void)
{
	struct detach detach;
	int r;

	for (int fd = 0; fd < 3; fd++)
		close(fd);
	r = daemon_detach(NULL, &detach);
	if (r == 0) {
		must_daemon(detach.report > STDERR_FILENO);
		must_daemon(fcntl(STDOUT_FILENO, F_GETFD) < 0);
		daemon_silence(&detach);
		daemon_up(&detach);
		for (int fd = 0; fd < 3; fd++)
			must_daemon(leads_to_null(fd));
		shared->done = 1;
		_exit(0);
	}
	must(r == 1 && detach.code == 0);
	wait_for(&shared->done);
}

static void closed_streams_are_no_trouble(void **state)
{
	(void)state;
	with_daemons(start_without_streams);
}

static void run_out_of_descriptors(void)
{
	const struct rlimit none = { 4, 4 };
	struct detach detach = { .code = 77 };
	const int before = dup(STDERR_FILENO);

	close(before);
	must(setrlimit(RLIMIT_NOFILE, &none) == 0);
	must(daemon_detach(NULL, &detach) == -EMFILE);
	must(detach.code == 77);
}

static void without_means_there_is_no_daemon(void **state)
{
	(void)state;
	with_daemons(run_out_of_descriptors);
}

static void words_of_no_daemon_are_not_said(void **state)
{
	struct detach detach = { 0 };
	const ino_t file = error_file();

	(void)state;
	daemon_silence(&detach);
	daemon_up(&detach);
	daemon_failed(&detach, 1, "nothing");
	assert_int_equal(error_file(), file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_caller_waits_until_it_is_up),
		cmocka_unit_test(the_caller_learns_why_it_failed),
		cmocka_unit_test(the_caller_learns_that_it_died),
		cmocka_unit_test(a_daemon_outlives_its_caller),
		cmocka_unit_test(output_is_seen_until_it_is_up),
		cmocka_unit_test(what_was_meant_for_it_is_kept),
		cmocka_unit_test(closed_streams_are_no_trouble),
		cmocka_unit_test(without_means_there_is_no_daemon),
		cmocka_unit_test(words_of_no_daemon_are_not_said),
	};

	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
