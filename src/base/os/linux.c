/* SPDX-License-Identifier: MIT */
/*
 * Linux: memory, bells, processes and signals. Calls for which older glibc has
 * no wrapper are made by number. Nothing here keeps state.
 */
#include "base/os/os.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/sockios.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* So many descriptors are closed one by one, which takes a tenth of a second: as many as a
 * process may have, unless somebody has raised fs.nr_open (proc(5)). */
#define NUMBERS_MAX (1u << 20)

static int close_span(unsigned from, unsigned to);
static int close_each_number(unsigned from, unsigned to);
static int compare_ints(const void *a, const void *b);

size_t os_page_bytes(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

int os_memory_file(const char *name)
{
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);

	return fd < 0 ? -errno : fd;
}

int os_memory_seal(int fd)
{
	const int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL;

	return fcntl(fd, F_ADD_SEALS, seals) < 0 ? -errno : 0;
}

void *os_map_file(int fd, size_t *ret_size)
{
	const int needed = F_SEAL_SHRINK | F_SEAL_WRITE;
	const int seals = fcntl(fd, F_GET_SEALS);
	struct stat status;
	void *data;

	/* Other files than those in memory have none. */
	if (seals < 0 || (seals & needed) != needed)
		return NULL;
	if (fstat(fd, &status) < 0 || status.st_size <= 0)
		return NULL;
	data = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (data == MAP_FAILED)
		return NULL;
	*ret_size = (size_t)status.st_size;
	return data;
}

void os_unmap_file(void *data, size_t size)
{
	munmap(data, size);
}

int os_memory_create(const char *name, size_t size)
{
	int fd;
	int r;

	/* The kernel does not count a memfd against the memory that there is:
	 * it would kill other processes to find the room. */
	if (size / os_page_bytes() >= (size_t)sysconf(_SC_PHYS_PAGES))
		return -ENOMEM;
	fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return -errno;
	r = ftruncate(fd, (off_t)size);
	while (r == 0 && fallocate(fd, 0, 0, (off_t)size) < 0) {
		if (errno != EINTR)
			r = -1;
	}
	if (r < 0 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0) {
		r = -errno;
		close(fd);
		return r;
	}
	return fd;
}

int os_memory_publish(const char *name, size_t size, void **ret_memory)
{
	/* By mprotect(2) a mapping of our own could be made writable again; not one that
	 * was made when this was so sealed. */
	const int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL;
	int fd = os_raise_descriptor(os_memory_file(name));
	void *memory = MAP_FAILED;
	int r;

	if (fd < 0)
		return fd;
	if (ftruncate(fd, (off_t)size) == 0)
		memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (memory != MAP_FAILED && fcntl(fd, F_ADD_SEALS, seals) == 0) {
		*ret_memory = memory;
		return fd;
	}
	r = -errno;
	if (memory != MAP_FAILED)
		munmap(memory, size);
	close(fd);
	return r;
}

int os_memory_only_read(void *memory, size_t size, int fd)
{
	void *place = mmap(memory, size, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0);
	const int r = place == MAP_FAILED ? -errno : 0;

	close(fd);
	return r;
}

int os_bell_create(void)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	return fd < 0 ? -errno : os_raise_descriptor(fd);
}

unsigned os_socket_unsent(int fd)
{
	int size = 0;

	return ioctl(fd, SIOCOUTQ, &size) < 0 || size < 0 ? 0 : (unsigned)size;
}

unsigned os_socket_unread(int fd)
{
	int size = 0;

	return ioctl(fd, SIOCINQ, &size) < 0 || size < 0 ? 0 : (unsigned)size;
}

void os_bell_ring(int fd)
{
	const uint64_t one = 1;
	ssize_t n;

	/* EAGAIN: it has rung 2^64-2 times unheard, which is loud enough. */
	do
		n = write(fd, &one, sizeof(one));
	while (n < 0 && errno == EINTR);
}

void os_bell_hush(int fd)
{
	uint64_t count;
	ssize_t n;

	do
		n = read(fd, &count, sizeof(count));
	while (n < 0 && errno == EINTR);
}

int os_bell_wait(int fd, int timeout_ms)
{
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
	int r = poll(&poll_fd, 1, timeout_ms);

	if (r < 0)
		return errno == EINTR ? 0 : -errno;
	if (poll_fd.revents & POLLNVAL)
		return -EBADF;
	if (r > 0)
		os_bell_hush(fd);
	return r;
}

int os_process_open(pid_t pid)
{
	long fd = syscall(SYS_pidfd_open, pid, 0);

	return fd < 0 ? -errno : os_raise_descriptor((int)fd);
}

int os_process_signal(int pidfd, int signal)
{
	return syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0) < 0 ? -errno
									   : 0;
}

int os_signals_open(const sigset_t *signals)
{
	sigset_t before;
	int fd;
	int r = pthread_sigmask(SIG_BLOCK, signals, &before);

	if (r != 0)
		return -r;
	fd = signalfd(-1, signals, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0) {
		r = -errno;
		pthread_sigmask(SIG_SETMASK, &before, NULL);
		return r;
	}
	return os_raise_descriptor(fd);
}

int os_signals_next(int fd, struct os_sender *ret_sender)
{
	struct signalfd_siginfo info;
	ssize_t n;

	do
		n = read(fd, &info, sizeof(info));
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? 0 : -errno;
	if (n != sizeof(info))
		return -EIO;
	if (ret_sender)
		*ret_sender = (struct os_sender){ .pid = (pid_t)info.ssi_pid,
						  .is_kernel = info.ssi_code == SI_KERNEL };
	return (int)info.ssi_signo;
}

int os_die_with_parent(int signal, pid_t parent)
{
	if (prctl(PR_SET_PDEATHSIG, signal) < 0)
		return -errno;
	return getppid() == parent ? 0 : -ESRCH;
}

void os_hold_standard_streams(void)
{
	int fd;

	/* The lowest that is free is what open() returns. */
	do
		fd = open("/dev/null", O_RDWR | O_NOCTTY);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

int os_raise_descriptor(int fd)
{
	int raised;
	int r;

	if (fd < 0 || fd > STDERR_FILENO)
		return fd;
	raised = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	r = raised < 0 ? -errno : raised;
	close(fd);
	return r;
}

int os_raise_pair(int fds[2])
{
	int r = 0;

	for (int i = 0; i < 2; i++) {
		fds[i] = os_raise_descriptor(fds[i]);
		if (fds[i] < 0)
			r = fds[i];
	}
	for (int i = 0; r < 0 && i < 2; i++) {
		if (fds[i] >= 0)
			close(fds[i]);
	}
	return r;
}

int os_terminal_open(int fd)
{
	const int flags = O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
	char name[PATH_MAX];
	int opened;

	if (!isatty(fd))
		return -ENOTTY;
	snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	opened = open(name, flags);
	if (opened < 0 && ttyname_r(fd, name, sizeof(name)) == 0)
		opened = open(name, flags);
	return opened < 0 ? -errno : os_raise_descriptor(opened);
}

bool os_same_file(int fd, int other)
{
	struct stat one;
	struct stat two;

	return fstat(fd, &one) == 0 && fstat(other, &two) == 0 &&
	       one.st_dev == two.st_dev && one.st_ino == two.st_ino;
}

int os_write_all(int fd, const void *bytes, size_t size)
{
	const char *at = bytes;

	while (size > 0) {
		const ssize_t n = write(fd, at, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		at += n;
		size -= (size_t)n;
	}
	return 0;
}

void os_set_process_name(const char *name)
{
	prctl(PR_SET_NAME, name);
}

void os_close_each(const int *fds, size_t count)
{
	const struct linger at_once = { 0 };

	while (count-- > 0) {
		/* ENOTSOCK: it is none. */
		(void)setsockopt(fds[count], SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
		close(fds[count]);
	}
}

int os_close_all_but(const int *keep, size_t count)
{
	unsigned from = 3;
	int *sorted = NULL;
	int r = 0;

	if (count > 0) {
		sorted = malloc(count * sizeof(*sorted));
		if (!sorted)
			abort();
		memcpy(sorted, keep, count * sizeof(*sorted));
		qsort(sorted, count, sizeof(*sorted), compare_ints);
	}
	for (size_t i = 0; r == 0 && i < count; i++) {
		if (sorted[i] < (int)from)
			continue;
		if (sorted[i] > (int)from)
			r = close_span(from, (unsigned)sorted[i] - 1);
		from = (unsigned)sorted[i] + 1;
	}
	if (r == 0)
		r = close_span(from, ~0u);
	free(sorted);
	return r;
}

/* Where close_range(2) is refused (before Linux 5.9, or by a filter of system calls) /proc lists
 * what is open: by number, so that who closes what it read misses nothing. */
static int close_span(unsigned from, unsigned to)
{
	char path[PATH_MAX];
	struct dirent *entry;
	DIR *folder;

	if (syscall(SYS_close_range, from, to, 0) == 0)
		return 0;
	snprintf(path, sizeof(path), "%s/proc/self/fd", os_files_root);
	folder = opendir(path);
	if (!folder)
		return close_each_number(from, to);
	while ((entry = readdir(folder)) != NULL) {
		const unsigned fd = (unsigned)strtoul(entry->d_name, NULL, 10);

		if (fd >= from && fd <= to && fd != (unsigned)dirfd(folder))
			close((int)fd);
	}
	closedir(folder);
	return 0;
}

/* Without /proc (chroot(2)), or with no descriptor left to read it by. */
static int close_each_number(unsigned from, unsigned to)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return -errno;
	if (limit.rlim_max > NUMBERS_MAX)
		return -EMFILE;
	for (unsigned fd = from; fd <= to && fd < limit.rlim_max; fd++)
		close((int)fd);
	return 0;
}

unsigned os_processors(void)
{
	cpu_set_t set;
	long online;

	if (sched_getaffinity(0, sizeof(set), &set) == 0)
		return (unsigned)CPU_COUNT(&set);
	/* More than the set has room for. */
	online = sysconf(_SC_NPROCESSORS_ONLN);
	return online > 0 ? (unsigned)online : 1;
}

static int compare_ints(const void *a, const void *b)
{
	const int left = *(const int *)a;
	const int right = *(const int *)b;

	return (left > right) - (left < right);
}

int os_schedule_batch(void)
{
	const struct sched_param none = { 0 };

	return sched_setscheduler(0, SCHED_BATCH, &none) < 0 ? -errno : 0;
}

unsigned os_processor(void)
{
	const int processor = sched_getcpu();

	return processor < 0 ? 0 : (unsigned)processor;
}

int os_move_to(unsigned processor)
{
	cpu_set_t before;
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(before), &before) < 0)
		return -errno;
	if (processor >= CPU_SETSIZE || !CPU_ISSET(processor, &before))
		return -EINVAL;
	CPU_ZERO(&set);
	CPU_SET(processor, &set);
	if (sched_setaffinity(0, sizeof(set), &set) < 0)
		return -errno;
	/* What we were told is what was asked for once, less what is not allowed now
	 * (cpuset(7)). If nobody had asked for less than all, it stays so, or processors
	 * that are allowed later were not ours. */
	memset(&set, 0xff, sizeof(set));
	if (sched_setaffinity(0, sizeof(set), &set) < 0 ||
	    sched_getaffinity(0, sizeof(set), &set) < 0)
		return -errno;
	if (!CPU_EQUAL(&set, &before) && sched_setaffinity(0, sizeof(before), &before) < 0)
		return -errno;
	return 0;
}

int os_be_punctual(void)
{
	return prctl(PR_SET_TIMERSLACK, 1ul, 0ul, 0ul, 0ul) < 0 ? -errno : 0;
}

void os_nap(uint32_t ns)
{
	const struct timespec span = { .tv_nsec = (long)ns };

	clock_nanosleep(CLOCK_MONOTONIC, 0, &span, NULL);
}

uint64_t os_thread_cpu_ns(void)
{
	struct timespec used;

	if (clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used) < 0)
		return 0;
	return (uint64_t)used.tv_sec * 1000000000u + (uint64_t)used.tv_nsec;
}
