/* SPDX-License-Identifier: MIT */
/*
 * What crew needs of the system. What a test does to its own process it does
 * in a fork.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/os/os.h"
#include "base/test_fork.h"

#define MEMORY_BYTES 10000

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

static bool is_cloexec(int fd)
{
	return fcntl(fd, F_GETFD) == FD_CLOEXEC;
}

/* The lowest number free now: equal before and after means that none leaked. */
static int next_fd(void)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	close(fd);
	return fd;
}

static void memory_is_zeroed_and_keeps_its_size(void **state)
{
	int fd = os_memory_create("test", MEMORY_BYTES);
	static const unsigned char zeroes[MEMORY_BYTES];
	unsigned char *bytes;

	(void)state;
	assert_true(fd >= 0);
	assert_true(is_cloexec(fd));
	bytes = mmap(NULL, MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_true(bytes != MAP_FAILED);
	assert_memory_equal(bytes, zeroes, MEMORY_BYTES);
	bytes[MEMORY_BYTES - 1] = 1;
	assert_int_equal(ftruncate(fd, 0), -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(ftruncate(fd, 1 << 20), -1);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
	munmap(bytes, MEMORY_BYTES);
	close(fd);
}

static void memory_that_is_not_there_is_an_error(void **state)
{
	const int before = next_fd();

	(void)state;
	assert_int_equal(os_memory_create("none", 0), -EINVAL);
	/* No file can have this size. One that a file can have, but not the
	 * machine, would be its end if os_memory_create were wrong. */
	assert_int_equal(os_memory_create("huge", SIZE_MAX), -ENOMEM);
	assert_int_equal(next_fd(), before);
}

static void a_file_is_mapped_when_nobody_can_change_it(void **state)
{
	int fd = os_memory_file("test");
	size_t size = 0;
	void *data;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "text", 4), 4);
	assert_null(os_map_file(fd, &size));
	assert_int_equal(os_memory_seal(fd), 0);
	data = os_map_file(fd, &size);
	assert_non_null(data);
	assert_int_equal(size, 4);
	assert_memory_equal(data, "text", 4);
	assert_int_equal(ftruncate(fd, 0), -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(pwrite(fd, "next", 4, 0), -1);
	assert_int_equal(errno, EPERM);
	os_unmap_file(data, size);
	close(fd);
	fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_null(os_map_file(fd, &size));
	close(fd);
}

static void what_passes_is_no_failure_of_a_channel(void **state)
{
	(void)state;
	assert_true(os_channel_is_full(-EAGAIN));
	assert_true(os_channel_is_full(-ETOOMANYREFS));
	assert_true(os_channel_is_full(-ENOBUFS));
	assert_true(os_channel_is_full(-ENOMEM));
	assert_false(os_channel_is_full(-EPIPE));
	assert_false(os_channel_is_full(0));
}

static void a_bell_is_heard_once(void **state)
{
	int fd = os_bell_create();

	(void)state;
	assert_true(is_cloexec(fd));
	assert_int_equal(os_bell_wait(fd, 0), 0);
	os_bell_hush(fd); /* does not block */
	os_bell_ring(fd);
	os_bell_ring(fd);
	assert_int_equal(os_bell_wait(fd, -1), 1);
	os_bell_hush(fd);
	assert_int_equal(os_bell_wait(fd, 1), 0);
	close(fd);
	assert_int_equal(os_bell_wait(fd, -1), -EBADF);
}

static void a_process_tells_its_end(void **state)
{
	pid_t pid = fork();
	struct pollfd ended = { .events = POLLIN };
	int status;

	(void)state;
	if (pid == 0) {
		pause();
		_exit(0);
	}
	ended.fd = os_process_open(pid);
	assert_true(is_cloexec(ended.fd));
	assert_int_equal(poll(&ended, 1, 0), 0);
	assert_int_equal(os_process_signal(ended.fd, SIGKILL), 0);
	assert_int_equal(poll(&ended, 1, 5000), 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(os_process_signal(ended.fd, SIGKILL), -ESRCH);
	close(ended.fd);
	assert_int_equal(os_process_open(pid), -ESRCH);
}

static void read_signals(void)
{
	sigset_t signals;
	struct os_sender sender = { .is_kernel = true };
	int fd;

	sigemptyset(&signals);
	sigaddset(&signals, SIGUSR1);
	sigaddset(&signals, SIGTERM);
	fd = os_signals_open(&signals);
	must(fd >= 0 && is_cloexec(fd));
	must(os_signals_next(fd, NULL) == 0);
	kill(getpid(), SIGTERM); /* blocked, or this would be the end */
	must(os_signals_next(fd, &sender) == SIGTERM);
	must(sender.pid == getpid() && !sender.is_kernel);
	kill(getpid(), SIGUSR1);
	must(os_signals_next(fd, NULL) == SIGUSR1);
	must(os_signals_next(fd, &sender) == 0);
}

static void refuse_signals(void)
{
	const struct rlimit none = { 3, 3 };
	sigset_t signals;
	sigset_t now;

	os_close_all_but(NULL, 0);
	setrlimit(RLIMIT_NOFILE, &none);
	sigemptyset(&signals);
	sigaddset(&signals, SIGUSR1);
	must(os_signals_open(&signals) == -EMFILE);
	sigprocmask(SIG_BLOCK, NULL, &now);
	must(!sigismember(&now, SIGUSR1));
}

static void signals_are_events(void **state)
{
	(void)state;
	in_a_fork(read_signals);
	in_a_fork(refuse_signals);
}

/* The middle process dies at once; its child must follow without being told. */
static void a_child_dies_with_its_parent(void **state)
{
	int ends[2];
	struct pollfd end = { .events = POLLIN };
	char byte;
	pid_t pid;

	(void)state;
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		const pid_t middle = getpid();

		if (fork() == 0) {
			must(os_die_with_parent(SIGKILL, middle) == 0);
			(void)!write(ends[1], "x", 1);
			pause();
		}
		(void)!read(ends[0], &byte, 1);
		_exit(0);
	}
	close(ends[1]);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	end.fd = ends[0];
	assert_int_equal(poll(&end, 1, 5000), 1);
	assert_int_equal(read(ends[0], &byte, 1), 0);
	close(ends[0]);
}

static void find_parent_gone(void)
{
	must(os_die_with_parent(SIGKILL, getppid()) == 0);
	must(os_die_with_parent(SIGKILL, getpid()) == -ESRCH);
}

static void a_parent_that_is_gone_already_is_told(void **state)
{
	(void)state;
	in_a_fork(find_parent_gone);
}

static void take_a_name(void)
{
	char name[16];

	os_set_process_name("items[2] and much more");
	prctl(PR_GET_NAME, name);
	must(strcmp(name, "items[2] and mu") == 0);
}

static void a_process_has_a_name(void **state)
{
	(void)state;
	in_a_fork(take_a_name);
}

static void close_others(void)
{
	static const int keep[] = { 30, 10, 10, 3, -1, 1 };

	for (int fd = 3; fd < 40; fd++)
		must(dup2(STDIN_FILENO, fd) == fd);
	must(os_close_all_but(keep, COUNT_OF(keep)) == 0);
	for (int fd = 0; fd < 40; fd++)
		must(is_open(fd) == (fd < 4 || fd == 10 || fd == 30));
	must(os_close_all_but(NULL, 0) == 0);
	for (int fd = 0; fd < 40; fd++)
		must(is_open(fd) == (fd < 3));
}

/* As systems before Linux 5.9 do with close_range(2), and filters of containers. */
static void refuse(uint32_t call)
{
	struct sock_filter steps[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog filter = { COUNT_OF(steps), steps };

	must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	must(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0);
}

static void close_others_by_proc(void)
{
	refuse(SYS_close_range);
	close_others();
}

static void close_others_by_number(void)
{
	const struct rlimit few = { 64, 64 };

	refuse(SYS_close_range);
	os_files_root = "/nowhere";
	must(setrlimit(RLIMIT_NOFILE, &few) == 0);
	close_others();
}

static void close_others_by_nothing(void)
{
	refuse(SYS_close_range);
	refuse(SYS_prlimit64);
	os_files_root = "/nowhere";
	must(os_close_all_but(NULL, 0) == -ENOSYS);
}

static void all_but_the_kept_are_closed(void **state)
{
	(void)state;
	in_a_fork(close_others);
	in_a_fork(close_others_by_proc);
	in_a_fork(close_others_by_number);
	in_a_fork(close_others_by_nothing);
}

static void the_machine_is_measured(void **state)
{
	(void)state;
	assert_in_range(os_processors(), 1, 100000);
	assert_in_range(os_resident_bytes(getpid()), 100000, (uint64_t)1 << 40);
	assert_int_equal(os_resident_bytes(-1), 0);
}

static void be_punctual(void)
{
	const uint64_t began_ns = clock_now_ns();

	must(os_be_punctual() == 0);
	must(prctl(PR_GET_TIMERSLACK) == 1);
	os_nap(3000000);
	must(clock_now_ns() - began_ns >= 3000000);
}

static void a_nap_is_no_shorter_than_it_shall_be(void **state)
{
	(void)state;
	in_a_fork(be_punctual);
}

static void messages_keep_their_bounds(void **state)
{
	char data[OS_CHANNEL_BYTES_MAX];
	int fds[OS_CHANNEL_FDS_MAX];
	size_t count = 9;
	int ends[2];

	(void)state;
	assert_int_equal(os_channel_create(ends), 0);
	assert_true(is_cloexec(ends[0]) && is_cloexec(ends[1]));
	assert_int_equal(os_channel_receive(ends[1], data, sizeof(data), fds, &count),
			 -EAGAIN);
	assert_int_equal(os_channel_send(ends[0], "one", 3, NULL, 0), 0);
	assert_int_equal(os_channel_send(ends[0], "three", 5, NULL, 0), 0);
	assert_int_equal(os_channel_receive(ends[1], data, sizeof(data), fds, &count), 3);
	assert_memory_equal(data, "one", 3);
	assert_int_equal(count, 0);
	assert_int_equal(os_channel_receive(ends[1], data, 2, fds, &count), -EMSGSIZE);
	close(ends[0]);
	assert_int_equal(os_channel_receive(ends[1], data, sizeof(data), fds, &count), 0);
	assert_int_equal(os_channel_send(ends[1], "x", 1, NULL, 0), -EPIPE);
	close(ends[1]);
}

static void what_no_channel_carries_is_refused(void **state)
{
	static const char data[OS_CHANNEL_BYTES_MAX + 1];
	static const int fds[OS_CHANNEL_FDS_MAX + 1];
	int ends[2];
	int r = 0;

	(void)state;
	assert_int_equal(os_channel_create(ends), 0);
	assert_int_equal(os_channel_send(ends[0], data, 0, NULL, 0), -EINVAL);
	assert_int_equal(os_channel_send(ends[0], data, sizeof(data), NULL, 0), -EINVAL);
	assert_int_equal(os_channel_send(ends[0], data, 1, fds, COUNT_OF(fds)), -EINVAL);
	for (int i = 0; i < 100000 && r == 0; i++)
		r = os_channel_send(ends[0], data, OS_CHANNEL_BYTES_MAX, NULL, 0);
	assert_int_equal(r, -EAGAIN);
	close(ends[0]);
	close(ends[1]);
}

static void descriptors_travel(void **state)
{
	char byte;
	int fds[OS_CHANNEL_FDS_MAX];
	size_t count;
	int ends[2];
	int tubes[2];

	(void)state;
	assert_int_equal(os_channel_create(ends), 0);
	assert_int_equal(pipe(tubes), 0);
	assert_int_equal(os_channel_send(ends[0], "x", 1,
					 (int[]){ tubes[1], tubes[0], 0, 0 }, 4), 0);
	assert_int_equal(os_channel_receive(ends[1], &byte, 1, fds, &count), 1);
	assert_int_equal(count, 4);
	for (size_t i = 0; i < count; i++)
		assert_true(is_cloexec(fds[i]));
	assert_int_equal(write(fds[0], "y", 1), 1);
	assert_int_equal(read(tubes[0], &byte, 1), 1);
	assert_int_equal(byte, 'y');
	for (size_t i = 0; i < count; i++)
		close(fds[i]);
	close(tubes[0]);
	close(tubes[1]);
	close(ends[0]);
	close(ends[1]);
}

/* What a worker gone wild may send: any size, any number of descriptors. */
static void send_wild(int fd, size_t size, size_t fd_count)
{
	static char bytes[CMSG_SPACE(20 * sizeof(int))]
		__attribute__((aligned(__alignof__(struct cmsghdr))));
	char data[2] = "x";
	struct iovec part = { data, size };
	struct msghdr message = { .msg_iov = &part,
				  .msg_iovlen = 1,
				  .msg_control = bytes,
				  .msg_controllen = CMSG_SPACE(fd_count * sizeof(int)) };
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	int zeroes[20] = { 0 };

	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(fd_count * sizeof(int));
	memcpy(CMSG_DATA(header), zeroes, fd_count * sizeof(int));
	assert_int_equal(sendmsg(fd, &message, 0), size);
}

/* A process without room for a descriptor is still told what was said. */
static void no_room_for_descriptors(void **state)
{
	struct rlimit limit;
	struct rlimit none;
	int fds[OS_CHANNEL_FDS_MAX];
	size_t count = 9;
	char data[8];
	int ends[2];
	int first;

	(void)state;
	assert_int_equal(os_channel_create(ends), 0);
	first = next_fd();
	assert_int_equal(os_channel_send(ends[0], "three", 5, (int[]){ 0, 1, 2 }, 3), 0);
	assert_int_equal(os_channel_send(ends[0], "one", 3, (int[]){ 0 }, 1), 0);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	none = limit;
	none.rlim_cur = (rlim_t)first + 1;
	setrlimit(RLIMIT_NOFILE, &none);
	assert_int_equal(os_channel_receive(ends[1], data, sizeof(data), fds, &count), 5);
	assert_int_equal(count, 0);
	assert_int_equal(os_channel_receive(ends[1], data, sizeof(data), fds, &count), 3);
	assert_int_equal(count, 1);
	setrlimit(RLIMIT_NOFILE, &limit);
	close(fds[0]);
	assert_int_equal(next_fd(), first);
	close(ends[0]);
	close(ends[1]);
}

static void no_descriptor_leaks(void **state)
{
	int fds[OS_CHANNEL_FDS_MAX];
	size_t count;
	char byte;
	int ends[2];
	int before;

	(void)state;
	assert_int_equal(os_channel_create(ends), 0);
	before = next_fd();
	send_wild(ends[0], 2, 1); /* too long for its receiver */
	send_wild(ends[0], 1, 20);
	send_wild(ends[0], 0, 2);
	assert_int_equal(os_channel_receive(ends[1], &byte, 1, fds, &count), -EMSGSIZE);
	assert_int_equal(count, 0);
	assert_int_equal(os_channel_receive(ends[1], &byte, 1, fds, &count), 1);
	assert_int_equal(count, 0);
	assert_int_equal(os_channel_receive(ends[1], &byte, 1, fds, &count), 0);
	assert_int_equal(count, 0);
	assert_int_equal(next_fd(), before);
	close(ends[0]);
	close(ends[1]);
}

/* The last of a socket that is closed only when its peer, who reads nothing, has taken all. */
static int lingering_socket(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	const struct linger linger = { 1, 600 };
	static const char bytes[65536];
	socklen_t size = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	must(bind(listener, (struct sockaddr *)&address, size) == 0);
	must(listen(listener, 1) == 0);
	must(getsockname(listener, (struct sockaddr *)&address, &size) == 0);
	must(connect(fd, (struct sockaddr *)&address, size) == 0);
	must(accept(listener, NULL, NULL) >= 0);
	close(listener);
	while (send(fd, bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
		;
	must(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)) == 0);
	return fd;
}

/* `size` bytes, and so many descriptors of which the last one is such a socket's. */
static void send_lingering(int to, size_t size, size_t count)
{
	int fds[OS_CHANNEL_FDS_MAX + 1];
	char word[] = "word";
	struct iovec part = { word, size };
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(fds))];
	} control = { .header = { .cmsg_level = SOL_SOCKET,
				  .cmsg_type = SCM_RIGHTS,
				  .cmsg_len = CMSG_LEN(count * sizeof(int)) } };
	const struct msghdr message = { .msg_iov = &part,
					.msg_iovlen = 1,
					.msg_control = &control,
					.msg_controllen = CMSG_SPACE(count * sizeof(int)) };

	alarm(60); /* whoever waits is ended */
	for (size_t i = 0; i < count; i++)
		fds[i] = i + 1 < count ? STDERR_FILENO : lingering_socket();
	memcpy(CMSG_DATA(&control.header), fds, count * sizeof(int));
	must(sendmsg(to, &message, 0) == (ssize_t)size);
	close(fds[count - 1]);
}

static void receive_lingering(void)
{
	struct os_peer from = { .pid = -1 };
	int fds[OS_CHANNEL_FDS_MAX];
	size_t count;
	int ends[2];
	char bytes[8];

	must(os_socket_pair(SOCK_STREAM | SOCK_NONBLOCK, ends) == 0);
	must(os_receive(ends[1], bytes, sizeof(bytes), NULL) == -EAGAIN);
	send_lingering(ends[0], 4, 1);
	must(os_receive(ends[1], bytes, sizeof(bytes), &from) == 4);
	must(memcmp(bytes, "word", 4) == 0 && from.pid == -1);
	close(ends[0]);
	must(os_receive(ends[1], bytes, sizeof(bytes), NULL) == 0);
	/* More than a channel carries. */
	must(os_channel_create(ends) == 0);
	send_lingering(ends[0], 4, OS_CHANNEL_FDS_MAX + 1);
	must(os_channel_receive(ends[1], bytes, sizeof(bytes), fds, &count) == 4);
	must(count == 0);
	send_lingering(ends[0], 4, 1);
	must(os_channel_receive(ends[1], bytes, sizeof(bytes), fds, &count) == 4);
	must(count == 1);
	os_close_each(fds, count);
}

static void close_over_lingering(void)
{
	static const int types[] = { SOCK_STREAM, SOCK_SEQPACKET, SOCK_DGRAM };
	int ends[2];

	for (size_t i = 0; i < COUNT_OF(types); i++) {
		must(os_socket_pair(types[i], ends) == 0);
		send_lingering(ends[0], 4, 1);
		if (types[i] != SOCK_STREAM)
			send_lingering(ends[0], 0, 1);
		send_lingering(ends[0], 4, 1);
		os_close_socket(ends[1]);
		must(send(ends[0], "x", 1, MSG_NOSIGNAL) < 0);
	}
	os_close_socket(-1);
}

static void what_is_sent_along_makes_nobody_wait(void **state)
{
	(void)state;
	in_a_fork(receive_lingering);
	in_a_fork(close_over_lingering);
}

/* A child that dies with unread messages resets the channel; what it said
 * itself must not be lost. */
static void last_words_are_heard(void **state)
{
	int fds[OS_CHANNEL_FDS_MAX];
	size_t count;
	char data[8];
	int ends[2];

	(void)state;
	assert_int_equal(os_channel_create(ends), 0);
	assert_int_equal(os_channel_send(ends[0], "unread", 6, NULL, 0), 0);
	assert_int_equal(os_channel_send(ends[1], "last", 4, NULL, 0), 0);
	close(ends[1]);
	assert_int_equal(os_channel_receive(ends[0], data, sizeof(data), fds, &count), 4);
	assert_memory_equal(data, "last", 4);
	assert_int_equal(os_channel_receive(ends[0], data, sizeof(data), fds, &count), 0);
	close(ends[0]);
}

static bool allowed(unsigned processor)
{
	cpu_set_t set;

	return sched_getaffinity(0, sizeof(set), &set) == 0 && CPU_ISSET(processor, &set);
}

/* The system may take us elsewhere at once, but not each time. */
static bool gets_to(unsigned processor)
{
	for (int i = 0; i < 100; i++) {
		must(os_move_to(processor) == 0);
		if (os_processor() == processor)
			return true;
	}
	return false;
}

static void move_about(void)
{
	cpu_set_t before;
	cpu_set_t after;
	cpu_set_t one;

	must(sched_getaffinity(0, sizeof(before), &before) == 0);
	for (unsigned i = 0; i < CPU_SETSIZE; i++) {
		if (CPU_ISSET(i, &before))
			must(gets_to(i));
	}
	must(sched_getaffinity(0, sizeof(after), &after) == 0);
	must(CPU_EQUAL(&before, &after));
	/* Where it may not run: it stays, and may run where it could. */
	must(os_move_to(CPU_SETSIZE) == -EINVAL);
	must(os_move_to(UINT_MAX) == -EINVAL);
	CPU_ZERO(&one);
	CPU_SET(os_processor(), &one);
	must(sched_setaffinity(0, sizeof(one), &one) == 0);
	for (unsigned i = 0; i < CPU_SETSIZE; i++)
		must(os_move_to(i) == (allowed(i) ? 0 : -EINVAL));
	must(sched_getaffinity(0, sizeof(after), &after) == 0);
	must(CPU_EQUAL(&one, &after));
}

static void a_move_leaves_where_one_may_run_as_it_was(void **state)
{
	(void)state;
	in_a_fork(move_about);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_move_leaves_where_one_may_run_as_it_was),
		cmocka_unit_test(memory_is_zeroed_and_keeps_its_size),
		cmocka_unit_test(memory_that_is_not_there_is_an_error),
		cmocka_unit_test(a_file_is_mapped_when_nobody_can_change_it),
		cmocka_unit_test(what_passes_is_no_failure_of_a_channel),
		cmocka_unit_test(a_bell_is_heard_once),
		cmocka_unit_test(a_process_tells_its_end),
		cmocka_unit_test(signals_are_events),
		cmocka_unit_test(a_child_dies_with_its_parent),
		cmocka_unit_test(a_parent_that_is_gone_already_is_told),
		cmocka_unit_test(a_process_has_a_name),
		cmocka_unit_test(all_but_the_kept_are_closed),
		cmocka_unit_test(the_machine_is_measured),
		cmocka_unit_test(a_nap_is_no_shorter_than_it_shall_be),
		cmocka_unit_test(messages_keep_their_bounds),
		cmocka_unit_test(what_no_channel_carries_is_refused),
		cmocka_unit_test(descriptors_travel),
		cmocka_unit_test(no_room_for_descriptors),
		cmocka_unit_test(no_descriptor_leaks),
		cmocka_unit_test(what_is_sent_along_makes_nobody_wait),
		cmocka_unit_test(last_words_are_heard),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
