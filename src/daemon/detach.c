/* SPDX-License-Identifier: MIT */
/*
 * The two forks of a daemon: the first lets setsid(2) succeed, the second makes
 * sure that the daemon is no session leader and never gets a terminal again. It
 * reports through a pipe; if that ends without a word, the daemon has died.
 */
#include "daemon/detach.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct report {
	pid_t pid;
	int code;
	char text[DETACH_TEXT_BYTES];
};

static int wait_for_report(int fd, pid_t middle, struct detach *detach);
static void become_daemon(struct detach *detach, int fd);
static void tell(struct detach *detach, int code, const char *text);

int daemon_detach(struct detach *ret_detach)
{
	int ends[2];
	pid_t pid;
	int r;

	*ret_detach = (struct detach){ .report = -1 };
	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	fflush(NULL); /* or both would write what is buffered */
	pid = fork();
	if (pid < 0) {
		r = -errno;
		close(ends[0]);
		close(ends[1]);
		return r;
	}
	if (pid > 0) {
		close(ends[1]);
		return wait_for_report(ends[0], pid, ret_detach);
	}
	close(ends[0]);
	become_daemon(ret_detach, ends[1]);
	return 0;
}

void daemon_up(struct detach *detach, bool silence)
{
	int null;

	tell(detach, 0, "");
	if (!silence)
		return;
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0)
		return;
	dup2(null, STDOUT_FILENO);
	dup2(null, STDERR_FILENO);
	if (null > STDERR_FILENO)
		close(null);
}

void daemon_failed(struct detach *detach, int code, const char *text)
{
	tell(detach, code, text);
}

static int wait_for_report(int fd, pid_t middle, struct detach *detach)
{
	struct report report = {
		.code = 1,
		.text = "the daemon died before it was up",
	};
	ssize_t n;

	while (waitpid(middle, NULL, 0) < 0 && errno == EINTR)
		;
	do /* less than PIPE_BUF: whole or not at all */
		n = read(fd, &report, sizeof(report));
	while (n < 0 && errno == EINTR);
	close(fd);
	detach->pid = report.pid;
	detach->code = report.code;
	memcpy(detach->text, report.text, sizeof(detach->text));
	return 1;
}

/* In the first child, which does not return, and in the daemon, which does. */
static void become_daemon(struct detach *detach, int fd)
{
	int null;
	pid_t pid;

	setsid();
	pid = fork();
	if (pid != 0)
		_exit(pid < 0 ? 1 : 0);
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null >= 0) {
		dup2(null, STDIN_FILENO);
		if (null > STDERR_FILENO)
			close(null);
	}
	detach->report = fd;
}

static void tell(struct detach *detach, int code, const char *text)
{
	struct report report = { .pid = getpid(), .code = code };

	if (detach->report < 0)
		return;
	snprintf(report.text, sizeof(report.text), "%s", text);
	(void)!write(detach->report, &report, sizeof(report));
	close(detach->report);
	detach->report = -1;
}
