/* SPDX-License-Identifier: MIT */
/*
 * A child that becomes another program, in the child's process: listeners from
 * descriptor 3 up with LISTEN_FDS (sd_listen_fds(3)), $NOTIFY_SOCKET and
 * $WATCHDOG_USEC (sd_notify(3), sd_watchdog_enabled(3)), signals as a program
 * expects them. If it cannot be executed the parent is told why through the
 * channel, which otherwise ends with the exec: so it knows that the program is
 * there.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/os/os.h"
#include "supervise/private.h"

static int place_listeners(const struct crew_group *group, int *channel);
static int close_rest(const struct crew_group *group, int channel);
static int set_environment(const struct crew_group *group, const char *notify_name);
static int set_number(const char *name, unsigned long long number);
static _Noreturn void fail(int channel, const char *what, const char *of);

_Noreturn void exec_become(const struct life *life, int channel,
			   const char *notify_name)
{
	const struct crew_group *group = &life->child.group->is;
	struct sigaction ignored = { .sa_handler = SIG_DFL };
	sigset_t none;

	if (group->process_group && setpgid(0, 0) < 0)
		fail(channel, "cannot make a process group", "");
	if (place_listeners(group, &channel) < 0)
		fail(channel, "cannot hand over the listeners", "");
	if (close_rest(group, channel) < 0)
		fail(channel, "cannot close the descriptors of the parent", "");
	give_limit_back(life->child.plan);
	if (group->directory && chdir(group->directory) < 0)
		fail(channel, "cannot change to directory ", group->directory);
	if (set_environment(group, notify_name) < 0)
		fail(channel, "cannot set the environment", "");
	sigaction(SIGPIPE, &ignored, NULL);
	sigaction(SIGQUIT, &ignored, NULL);
	sigaction(SIGHUP, &ignored, NULL);
	sigaction(SIGUSR1, &ignored, NULL);
	sigemptyset(&none);
	pthread_sigmask(SIG_SETMASK, &none, NULL);
	os_channel_send(channel, EXEC_MESSAGE, sizeof(EXEC_MESSAGE), NULL, 0);
	execvp(group->command[0], (char *const *)(uintptr_t)group->command);
	fail(channel, "cannot execute ", group->command[0]);
}

/* First out of the way, above all their future places, then down to these; the
 * duplicates are not close-on-exec. */
static int place_listeners(const struct crew_group *group, int *channel)
{
	const int top = 3 + (int)group->listen_fd_count;
	int high[CREW_GROUP_FDS_MAX];

	check(group->listen_fd_count <= CREW_GROUP_FDS_MAX);
	*channel = fcntl(*channel, F_DUPFD_CLOEXEC, top);
	if (*channel < 0)
		return -1;
	for (unsigned i = 0; i < group->listen_fd_count; i++) {
		high[i] = fcntl(group->listen_fds[i], F_DUPFD_CLOEXEC, top);
		if (high[i] < 0)
			return -1;
	}
	for (unsigned i = 0; i < group->listen_fd_count; i++) {
		if (dup2(high[i], 3 + (int)i) < 0)
			return -1;
	}
	return 0;
}

/* Ours close at the exec; but who started us may have left others open. */
static int close_rest(const struct crew_group *group, int channel)
{
	int keep[CREW_GROUP_FDS_MAX + 1] = { channel };
	int r;

	for (unsigned i = 0; i < group->listen_fd_count; i++)
		keep[i + 1] = 3 + (int)i;
	r = os_close_all_but(keep, group->listen_fd_count + 1);
	errno = -r;
	return r;
}

static int set_environment(const struct crew_group *group, const char *notify_name)
{
	static const char *const ours[] = { "LISTEN_FDS", "LISTEN_PID",
					    "LISTEN_FDNAMES", "NOTIFY_SOCKET",
					    "WATCHDOG_USEC", "WATCHDOG_PID" };
	int r = 0;

	for (size_t i = 0; i < COUNT_OF(ours); i++)
		unsetenv(ours[i]);
	if (group->listen_fd_count) {
		r |= set_number("LISTEN_FDS", group->listen_fd_count);
		r |= set_number("LISTEN_PID", (unsigned long long)getpid());
		if (group->listen_names)
			r |= setenv("LISTEN_FDNAMES", group->listen_names, 1);
	}
	if (notify_name[0])
		r |= setenv("NOTIFY_SOCKET", notify_name, 1);
	if (notify_name[0] && group->heartbeat_timeout_ms != CREW_NEVER) {
		r |= set_number("WATCHDOG_USEC",
				group->heartbeat_timeout_ms * 1000ull);
		r |= set_number("WATCHDOG_PID", (unsigned long long)getpid());
	}
	for (unsigned i = 0; group->environment && group->environment[i]; i++)
		r |= putenv((char *)(uintptr_t)group->environment[i]);
	return r;
}

static int set_number(const char *name, unsigned long long number)
{
	char text[24];

	snprintf(text, sizeof(text), "%llu", number);
	return setenv(name, text, 1);
}

/* 126 and 127 as a shell says it: not executable, not found. */
static _Noreturn void fail(int channel, const char *what, const char *of)
{
	const int error = errno;
	char text[OS_CHANNEL_BYTES_MAX];
	int size = snprintf(text, sizeof(text), ERROR_MESSAGE "%s%s: %s", what, of,
			    strerror(error));

	if (size >= (int)sizeof(text))
		size = (int)sizeof(text) - 1;
	os_channel_send(channel, text, (size_t)size + 1, NULL, 0);
	_exit(error == ENOENT ? 127 : 126);
}
