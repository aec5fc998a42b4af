/* SPDX-License-Identifier: MIT */
/*
 * A daemon is the grandchild of the process that was called. The middle process
 * leads the new session and ends at once: so the daemon leads none, and no
 * terminal that it may open can become its own. The caller buries the middle
 * one, and waits.
 *
 * The report goes through a channel of whole messages, not through a pipe: a
 * caller that was interrupted meanwhile is an error there, and not SIGPIPE,
 * which would end a healthy daemon. The first message is the daemon's pid, the
 * second how it went. The end of the channel alone would not show that the
 * daemon has died, as long as a child of the daemon still holds it open; so
 * the caller watches the process too.
 */
#include "daemon/detach.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/os/os.h"

struct report {
	bool final;
	int error; /* errno: there is no daemon */
	pid_t pid;
	int code;
	char text[DETACH_TEXT_BYTES];
};
_Static_assert(sizeof(struct report) <= OS_CHANNEL_BYTES_MAX,
	       "a report is one message");

static int open_null(void);
static void be_born(int report);
static void bury(pid_t pid);
static int hear(struct detach *detach, int fd);
static int hear_final(struct report *report, int fd);
static bool wait_for_word(int fd, int pidfd);
static void say(struct detach *detach, int code, const char *text);
static struct detach_stream stream_of(int fd);
static void silence_one(int fd, const struct detach_stream *before, int null);
static bool is_to_be_silenced(int fd, const struct detach_stream *before);

int daemon_detach(const sigset_t *mask, struct detach *ret)
{
	struct detach detach = { .output = stream_of(STDOUT_FILENO),
				 .error = stream_of(STDERR_FILENO) };
	const int null = open_null();
	int ends[2];
	pid_t middle;
	int r;

	if (null < 0)
		return null;
	r = os_channel_create(ends);
	if (r < 0) {
		close(null);
		return r;
	}
	/* What is buffered now would be written by both. */
	fflush(NULL);
	middle = fork();
	r = middle < 0 ? -errno : 0;
	if (middle == 0) {
		close(ends[0]);
		be_born(ends[1]);
		dup2(null, STDIN_FILENO);
		close(null);
		detach.pid = getpid();
		detach.report = ends[1];
		detach.reports = true;
		*ret = detach;
		return 0;
	}
	close(ends[1]);
	if (middle > 0) {
		pthread_sigmask(SIG_SETMASK, mask, NULL);
		bury(middle);
		r = hear(&detach, ends[0]);
	}
	close(ends[0]);
	close(null);
	if (r == 1)
		*ret = detach;
	return r;
}

void daemon_silence(struct detach *detach)
{
	int null;

	if (!detach->reports)
		return;
	fflush(NULL);
	null = open_null();
	silence_one(STDOUT_FILENO, &detach->output, null);
	silence_one(STDERR_FILENO, &detach->error, null);
	if (null >= 0)
		close(null);
	log_follow();
}

void daemon_up(struct detach *detach)
{
	if (!detach->reports)
		return;
	log_follow();
	say(detach, 0, "");
}

bool daemon_loses_log(const struct detach *detach)
{
	const int null = open_null();
	const bool loses = detach->reports && fcntl(STDERR_FILENO, F_GETFD) >= 0 &&
			   is_to_be_silenced(STDERR_FILENO, &detach->error) &&
			   !os_same_file(STDERR_FILENO, null);

	if (null >= 0)
		close(null);
	return loses;
}

void daemon_failed(struct detach *detach, int code, const char *text)
{
	if (detach->reports)
		say(detach, code ? code : 1, text);
}

/* A caller may have closed its standard streams: what takes their place would
 * be written to as output. */
static int open_null(void)
{
	const int fd = open("/dev/null", O_RDWR | O_CLOEXEC | O_NOCTTY);

	return fd < 0 ? -errno : os_raise_descriptor(fd);
}

/* The middle process ends here; only the daemon returns. */
static void be_born(int report)
{
	struct report birth = { .error = 0 };

	setsid();
	birth.pid = fork();
	if (birth.pid == 0)
		return;
	if (birth.pid < 0)
		birth.error = errno;
	os_channel_send(report, &birth, sizeof(birth), NULL, 0);
	_exit(0);
}

static void bury(pid_t pid)
{
	pid_t r;

	do
		r = waitpid(pid, NULL, 0);
	while (r < 0 && errno == EINTR);
}

static int hear(struct detach *detach, int fd)
{
	struct report report = { .code = 1,
				 .text = "the daemon died before it was up" };
	int r = hear_final(&report, fd);

	if (r < 0)
		return r;
	detach->pid = report.pid;
	detach->code = report.code;
	memcpy(detach->text, report.text, sizeof(detach->text));
	return 1;
}

/* Leaves the report as it is, but for the pid, if there is no final word. */
static int hear_final(struct report *report, int fd)
{
	struct report next;
	int fds[OS_CHANNEL_FDS_MAX];
	size_t fd_count;
	bool lives = true;
	int pidfd = -1;
	int n;

	for (;;) {
		n = os_channel_receive(fd, &next, sizeof(next), fds, &fd_count);
		if (n == -EAGAIN && lives) {
			lives = wait_for_word(fd, pidfd);
			continue;
		}
		if (n != (int)sizeof(next) || next.error || next.final)
			break;
		report->pid = next.pid;
		pidfd = os_process_open(next.pid);
		/* Any other failure: then only the channel can tell. */
		lives = pidfd != -ESRCH;
	}
	if (pidfd >= 0)
		close(pidfd);
	if (n != (int)sizeof(next))
		return 0;
	if (next.error)
		return -next.error;
	*report = next;
	return 0;
}

/* False: the process is gone, so what it had to say has been sent. */
static bool wait_for_word(int fd, int pidfd)
{
	struct pollfd both[] = { { .fd = fd, .events = POLLIN },
				 { .fd = pidfd, .events = POLLIN } };

	while (poll(both, 2, -1) < 0 && errno == EINTR)
		;
	return both[1].revents == 0;
}

static void say(struct detach *detach, int code, const char *text)
{
	struct report report = { .final = true, .pid = detach->pid, .code = code };

	snprintf(report.text, sizeof(report.text), "%s", text);
	/* If nobody listens any more the daemon goes on without. */
	os_channel_send(detach->report, &report, sizeof(report), NULL, 0);
	close(detach->report);
	detach->report = -1;
	detach->reports = false;
}

/* A descriptor that is closed is no file: both are 0. */
static struct detach_stream stream_of(int fd)
{
	struct stat status;

	if (fstat(fd, &status) < 0)
		return (struct detach_stream){ 0 };
	return (struct detach_stream){ status.st_dev, status.st_ino };
}

static void silence_one(int fd, const struct detach_stream *before, int null)
{
	if (null >= 0 && is_to_be_silenced(fd, before))
		dup2(null, fd);
}

/* Who reads a pipe or a socket to its end is not to wait for ours, and a terminal is left. A file
 * and the journal were meant for it. */
static bool is_to_be_silenced(int fd, const struct detach_stream *before)
{
	const struct detach_stream now = stream_of(fd);
	struct stat status;

	return now.device == before->device && now.inode == before->inode &&
	       (fstat(fd, &status) < 0 || !S_ISREG(status.st_mode)) && !log_is_journal(fd);
}
