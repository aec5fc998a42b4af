/* SPDX-License-Identifier: MIT */
/*
 * What crew needs of the system beyond POSIX: sealed memory, bells, process
 * descriptors, signals as events, and message channels that carry descriptors.
 * The one room in which a platform may be named; linux.c implements it.
 * Every descriptor made here is close-on-exec from birth; what stays open for
 * long is never a standard stream, also where those are closed. All return
 * -errno when they fail.
 */
#ifndef BASE_OS_OS_H
#define BASE_OS_OS_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/** The size of a page, a power of two: what memory is mapped and protected by (sysconf(3)
 * _SC_PAGESIZE). 4 KiB on x86-64; 16 or 64 where ARM64's kernel was built for that. */
size_t os_page_bytes(void);
/** Shared memory of `size` bytes, all of it allocated now and zeroed, sealed
 * against shrinking and growing (memfd_create(2), fcntl(2) F_ADD_SEALS). */
int os_memory_create(const char *name, size_t size);
/** Memory of `size` bytes, zeroed, that this process writes and those that it forks read: they
 * share it, and once they have called os_memory_only_read() nothing gives them a place of it that
 * they can write. Returns a descriptor, for that call. */
int os_memory_publish(const char *name, size_t size, void **ret_memory);
/** In a fork: from now on this process only reads it. Closes the descriptor. 0 or -errno. */
int os_memory_only_read(void *memory, size_t size, int fd);
/** An empty file in memory that grows as it is written. >= 0 or -errno. */
int os_memory_file(const char *name);
/** All is written: from now on nobody changes it or its size. 0 or -errno. */
int os_memory_seal(int fd);
/** The whole of such a file, read-only; NULL if it is not sealed, is empty or cannot be
 * mapped. So whoever made it can neither change what was checked, nor have us killed by
 * SIGBUS. */
void *os_map_file(int fd, size_t *ret_size);
void os_unmap_file(void *data, size_t size);

/** How many bytes that were written to a socket its peer has not taken (SIOCOUTQ:
 * tcp(7), unix(7)); 0 where that is not known. */
unsigned os_socket_unsent(int fd);
/** How many bytes of it have come that were not received (SIOCINQ: tcp(7), unix(7)); 0 where
 * that is not known. */
unsigned os_socket_unread(int fd);

/** A bell: an eventfd(2), non-blocking. */
int os_bell_create(void);
void os_bell_ring(int fd);
/** Take all rings so far. */
void os_bell_hush(int fd);
/** Sleep until it rings; at most timeout_ms (-1: no limit). Returns 1 if it
 * rang, 0 if time passed or a signal came. */
int os_bell_wait(int fd, int timeout_ms);

/** A descriptor that becomes readable when the process ends (pidfd_open(2)). */
int os_process_open(pid_t pid);
int os_process_signal(int pidfd, int signal);
struct os_end {
	int exit_code; /* if signal is 0 */
	int signal;
	uint64_t peak_rss_bytes;
};
/** How a child ended, which is thereby buried; -EAGAIN: it lives (waitid(2)). */
int os_process_wait(int pidfd, struct os_end *ret_end);
/** Does a process of this group (2 and up) live? The dead whom nobody has buried yet do not count,
 * as they do for kill(2), as far as /proc can be read. */
bool os_group_lives(pid_t group);
/** "SIGTERM"; "SIGRTMIN+3"; never NULL. */
const char *os_signal_name(int signal);

/** A descriptor from which the given signals are read; they are blocked in the
 * calling thread (signalfd(2)). */
int os_signals_open(const sigset_t *signals);
/** Who sent a signal. */
struct os_sender {
	pid_t pid;      /* 0: the kernel, or a process outside of our PID namespace */
	bool is_kernel; /* as for a key on the terminal */
};
/** The next signal, 0 if none waits. `ret_sender` may be NULL. */
int os_signals_next(int fd, struct os_sender *ret_sender);

/** Have the kernel send `signal` to this process when its parent ends; then
 * say whether the parent is still `parent` (prctl(2) PR_SET_PDEATHSIG). */
int os_die_with_parent(int signal, pid_t parent);
/** Standard streams that are closed become /dev/null: or what is opened next
 * would be written to as output. */
void os_hold_standard_streams(void);
/** The same descriptor, moved above the standard streams if it is one of them, as it is where
 * those are closed; -errno, and it is closed. One that is negative is returned as it is. */
int os_raise_descriptor(int fd);
/** Both of a pair, or neither: then both are closed. */
int os_raise_pair(int fds[2]);
/** The terminal behind `fd`, opened anew: an open file of our own, which is non-blocking without
 * those who share `fd` being touched. For writing. -ENOTTY: it is none; or another -errno. */
int os_terminal_open(int fd);
/** Are both the same file? False if one is closed. */
bool os_same_file(int fd, int other);
/** Write all of it to a file; for a pipe or socket, if it blocks. 0 or -errno. */
int os_write_all(int fd, const void *bytes, size_t size);
/** Name this process as ps(1) and top(1) show it: comm only, 15 bytes. */
void os_set_process_name(const char *name);
/** Close `count` descriptors; those of a message that nobody takes, say. Whoever sent them cannot
 * make us wait: the last one of a socket with SO_LINGER (socket(7)) is closed until its peer has
 * taken all, for as long as the sender wants. (With a file of a file system that he serves
 * himself, fuse(4), he still can.) */
void os_close_each(const int *fds, size_t count);
/** Close all descriptors from 3 up but the `count` given ones. 0, or -errno where the system lets
 * nobody know which are open (without close_range(2), without /proc, with a limit of millions). */
int os_close_all_but(const int *keep, size_t count);
/** Run this thread as SCHED_BATCH (sched(7)): it does not pre-empt others when it
 * wakes. 0 or -errno. */
int os_schedule_batch(void);
/** The number of the processor on which this thread is; by the time that it is looked
 * at it may be on another (getcpu(2)). */
unsigned os_processor(void);
/** Have this thread go on on that processor. Where it may run stays as it was, so that
 * the system can take it elsewhere at any time. Takes some microseconds, and waits until
 * there is room on that processor. 0, or -errno (-EINVAL: it may not run there, or there
 * are more than 1,024 processors). See sched_setaffinity(2). */
int os_move_to(unsigned processor);
/** Let this thread's sleeps end when they shall, not up to 50 us later (prctl(2)
 * PR_SET_TIMERSLACK). 0 or -errno. */
int os_be_punctual(void);
/** Sleep for so long, less than a second, whatever comes but a signal (clock_nanosleep(2)). */
void os_nap(uint32_t ns);
/** Processor time that this thread has used (clock_gettime(2)). A system call. */
uint64_t os_thread_cpu_ns(void);
/** Tell the processor that we wait in a loop. */
static inline void os_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

/** How many processors this process may run on (sched_getaffinity(2)). */
unsigned os_processors(void);
/** Processor time that the cgroup may use, in hundredths of one processor: the
 * least of cpu.max from its own to the topmost group; 0: no limit, or unknown, as with
 * version 1 (cgroups(7)). Who uses more is stopped for a while. */
unsigned os_cpu_quota_percent(void);
static inline bool os_processors_are_rationed(void)
{
	return os_cpu_quota_percent() != 0;
}
/** How many can be busy at once: by affinity and quota, of which a part counts as one. */
static inline unsigned os_usable_processors(void)
{
	const unsigned all = os_processors();
	const unsigned paid = (os_cpu_quota_percent() + 99) / 100;

	return paid > 0 && paid < all ? paid : all;
}
/** How many processes the kernel has killed for the memory of this cgroup
 * (memory.events); -1 if that cannot be known. */
int64_t os_oom_kills(void);
/** What stands for / when /proc and /sys are read: "", and another folder in
 * tests, which cannot make cgroups everywhere. */
extern const char *os_files_root;
/** How many descriptors a process has open, 0 if unknown. */
long os_descriptor_count(pid_t pid);
/** How many it may have open (the soft limit); our own if we may not ask, as of a process that
 * has become another user. UINT64_MAX: no limit. */
uint64_t os_descriptor_limit(pid_t pid);
/** Raise our own as far as it may be (the hard limit). Returns what it was, 0 if it was not
 * raised. */
uint64_t os_raise_descriptor_limit(void);
/** The calls that led to the caller's caller, innermost first, as "program(name
 * +0x1f) < …"; "" if they cannot be told. Allocates: not for signal handlers. */
void os_backtrace(char *text, size_t room);
/** Resident size of a process in bytes, 0 if unknown. */
uint64_t os_resident_bytes(pid_t pid);

#define OS_CHANNEL_BYTES_MAX 1024
#define OS_CHANNEL_FDS_MAX 4

/** Two ends of a channel of whole messages (AF_UNIX SOCK_SEQPACKET),
 * non-blocking. */
int os_channel_create(int ret_ends[2]);
/** Two ends of a socket of that type, such as SOCK_STREAM. */
int os_socket_pair(int type, int ret_ends[2]);
/** Send one message of 1 to OS_CHANNEL_BYTES_MAX bytes, with descriptors,
 * which stay the sender's. -EAGAIN if the other side does not read. */
int os_channel_send(int fd, const void *data, size_t size, const int *fds,
		    size_t fd_count);
/** Is this error of os_channel_send one that passes: the other side has not read yet, or too
 * many descriptors are on their way (unix(7)), or there is no memory now? */
bool os_channel_is_full(int r);
/** Who sent something. */
struct os_peer {
	pid_t pid; /* 0: unknown; both are told only where the receiver has SO_PASSCRED */
	uid_t uid;
};
/** Receive from a socket (AF_UNIX) of whoever may send there, without waiting: descriptors that
 * come along are closed by os_close_each(). Plain recv(2) drops them too, but by close(2). What
 * recv(2) returns, or -errno; `ret_from` may be NULL. */
ssize_t os_receive(int fd, void *ret_data, size_t room, struct os_peer *ret_from);
/** Close a socket; what lies unread in one of AF_UNIX, such as a channel, is received first, so
 * that the descriptors in it are closed by os_close_each() too. Nothing is done if it is < 0. */
void os_close_socket(int fd);
/** Refuse descriptors that are sent to this socket, and, if it listens, to those who come to it:
 * the sender gets -EPERM. Where the system cannot do that (before Linux 6.16), nothing. */
void os_refuse_descriptors(int fd);
/** Receive one message; returns its size, 0 at the end of the channel, or
 * -errno (-EAGAIN: none waits). `ret_fds` has room for OS_CHANNEL_FDS_MAX;
 * they become the caller's. A message that is too long is -EMSGSIZE; one with
 * more of them, or with more than this process has room for, comes without any. */
int os_channel_receive(int fd, void *ret_data, size_t room, int *ret_fds,
		       size_t *ret_fd_count);

#endif
