/* SPDX-License-Identifier: MIT */
/*
 * Linux: what /proc and cgroups say of processes, and how they end. What cannot
 * be read is unknown, never an error: a container may hide any of it.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "base/os/os.h"

#define CGROUP_ROOT "/sys/fs/cgroup"

const char *os_files_root = "";

enum member { NO_MEMBER, DEAD_MEMBER, LIVING_MEMBER };

static enum member member_of(const char *pid, pid_t group);
static bool read_text(const char *path, char *ret_text, size_t room);
static bool own_cgroup(char *ret_path, size_t room);
static bool is_there(const char *path);
static unsigned quota_at(const char *path);

int os_process_wait(int pidfd, struct os_end *ret_end)
{
	struct rusage usage;
	siginfo_t info;

	memset(&info, 0, sizeof(info));
	memset(&usage, 0, sizeof(usage));
	if (syscall(SYS_waitid, P_PIDFD, pidfd, &info, WEXITED | WNOHANG, &usage) < 0)
		return -errno;
	if (info.si_pid == 0)
		return -EAGAIN;
	*ret_end = (struct os_end){
		.peak_rss_bytes = (uint64_t)usage.ru_maxrss * 1024,
	};
	if (info.si_code == CLD_EXITED)
		ret_end->exit_code = info.si_status;
	else
		ret_end->signal = info.si_status;
	return 0;
}

const char *os_signal_name(int signal)
{
	static char names[NSIG][24];
	const char *name;

	if (signal <= 0 || signal >= NSIG)
		return "no signal";
	name = sigabbrev_np(signal);
	if (name)
		snprintf(names[signal], sizeof(names[signal]), "SIG%s", name);
	else
		snprintf(names[signal], sizeof(names[signal]), "SIGRTMIN+%d",
			 signal - SIGRTMIN);
	return names[signal];
}

bool os_group_lives(pid_t group)
{
	char path[PATH_MAX];
	bool has_dead = false;
	struct dirent *entry;
	DIR *folder;

	/* 0 and -1 stand for whole crowds there. */
	check(group > 1);
	if (kill(-group, 0) < 0 && errno != EPERM)
		return false;
	snprintf(path, sizeof(path), "%s/proc", os_files_root);
	folder = opendir(path);
	if (!folder)
		return true;
	while ((entry = readdir(folder)) != NULL) {
		const enum member member = member_of(entry->d_name, group);

		if (member == LIVING_MEMBER) {
			closedir(folder);
			return true;
		}
		has_dead |= member == DEAD_MEMBER;
	}
	closedir(folder);
	return !has_dead;
}

/* The first thread of a process may be dead and others live: then it is counted with them. */
static enum member member_of(const char *pid, pid_t group)
{
	char path[32];
	char text[512];
	const char *at;
	char state;
	int of_group;
	long threads;

	if (strspn(pid, "0123456789") != strlen(pid) ||
	    snprintf(path, sizeof(path), "/proc/%s/stat", pid) >= (int)sizeof(path) ||
	    !read_text(path, text, sizeof(text)))
		return NO_MEMBER;
	/* Its name, in brackets, may have brackets too: proc(5). */
	at = strrchr(text, ')');
	if (!at || sscanf(at, ") %c %*d %d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d "
			      "%*d %ld", &state, &of_group, &threads) != 3 ||
	    of_group != group)
		return NO_MEMBER;
	return strchr("ZX", state) && threads < 2 ? DEAD_MEMBER : LIVING_MEMBER;
}

unsigned os_cpu_quota_percent(void)
{
	char path[PATH_MAX];
	unsigned least = 0;
	char *slash;

	if (!own_cgroup(path, sizeof(path)))
		return 0;
	for (;;) {
		const unsigned quota = quota_at(path);

		if (quota && (!least || quota < least))
			least = quota;
		slash = strrchr(path, '/');
		if (!slash || slash < path + strlen(CGROUP_ROOT))
			return least;
		*slash = '\0';
	}
}

int64_t os_oom_kills(void)
{
	char path[PATH_MAX];
	char file[PATH_MAX + 32];
	char text[1024];
	const char *at;

	if (!own_cgroup(path, sizeof(path)))
		return -1;
	snprintf(file, sizeof(file), "%s/memory.events", path);
	if (!read_text(file, text, sizeof(text)))
		return -1;
	at = strstr(text, "oom_kill ");
	return at ? strtoll(at + 9, NULL, 10) : -1;
}

long os_descriptor_count(pid_t pid)
{
	struct stat status;
	char path[40];
	long count = 0;
	DIR *folder;

	snprintf(path, sizeof(path), "/proc/%ld/fd", (long)pid);
	/* Linux 6.2 and later tell the number as the folder's size. */
	if (stat(path, &status) == 0 && status.st_size > 0)
		return (long)status.st_size;
	folder = opendir(path);
	if (!folder)
		return 0;
	while (readdir(folder))
		count++;
	closedir(folder);
	return count - 2;
}

uint64_t os_descriptor_limit(pid_t pid)
{
	struct rlimit limit;

	if (prlimit(pid, RLIMIT_NOFILE, NULL, &limit) < 0 &&
	    getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return UINT64_MAX;
	return limit.rlim_cur;
}

uint64_t os_raise_descriptor_limit(void)
{
	struct rlimit limit;
	rlim_t found;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= limit.rlim_max)
		return 0;
	found = limit.rlim_cur;
	limit.rlim_cur = limit.rlim_max;
	return setrlimit(RLIMIT_NOFILE, &limit) == 0 ? found : 0;
}

uint64_t os_resident_bytes(pid_t pid)
{
	unsigned long long pages = 0;
	char path[40];
	char text[128];

	snprintf(path, sizeof(path), "/proc/%ld/statm", (long)pid);
	if (!read_text(path, text, sizeof(text)) ||
	    sscanf(text, "%*u %llu", &pages) != 1)
		return 0;
	return pages * os_page_bytes();
}

static bool read_text(const char *path, char *ret_text, size_t room)
{
	char whole[PATH_MAX + 64];
	ssize_t n;
	int fd;

	snprintf(whole, sizeof(whole), "%s%s", os_files_root, path);
	fd = open(whole, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = read(fd, ret_text, room - 1);
	close(fd);
	if (n < 0)
		return false;
	ret_text[n] = '\0';
	return true;
}

/* Of the unified hierarchy: the line "0::/path" of /proc/self/cgroup. */
static bool own_cgroup(char *ret_path, size_t room)
{
	char text[PATH_MAX];
	char *at;

	if (!read_text("/proc/self/cgroup", text, sizeof(text)))
		return false;
	at = strstr(text, "0::/");
	if (!at || (at != text && at[-1] != '\n'))
		return false;
	at += 3;
	at[strcspn(at, "\n")] = '\0';
	/* A container may see only its own part, as the root. */
	if (snprintf(ret_path, room, "%s%s", CGROUP_ROOT,
		     strcmp(at, "/") == 0 ? "" : at) >= (int)room ||
	    !is_there(ret_path))
		snprintf(ret_path, room, "%s", CGROUP_ROOT);
	return true;
}

static bool is_there(const char *path)
{
	char whole[PATH_MAX + 64];

	snprintf(whole, sizeof(whole), "%s%s", os_files_root, path);
	return access(whole, R_OK) == 0;
}

static unsigned quota_at(const char *path)
{
	char file[PATH_MAX + 32];
	char text[64];
	unsigned long long quota;
	unsigned long long period;

	snprintf(file, sizeof(file), "%s/cpu.max", path);
	if (!read_text(file, text, sizeof(text)) ||
	    sscanf(text, "%llu %llu", &quota, &period) != 2 || period == 0)
		return 0;
	return quota * 100 / period > 0 ? (unsigned)(quota * 100 / period) : 1;
}
