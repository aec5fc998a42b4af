/* SPDX-License-Identifier: MIT */
/*
 * Channels: whole messages, with descriptors, between the parent and a child.
 * A descriptor that arrives is either the caller's or closed: none leaks, also
 * when a message is cut or carries more than was agreed. What a child said
 * before it died is still heard after its death.
 *
 * Descriptors that nobody wants are taken all the same, and closed with care:
 * those that the kernel drops, since there was no room for them or their message
 * was not read, it closes in our name, and we would wait for as long as their
 * sender wants.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/os/os.h"

/* The kernel's SCM_MAX_FD: no message has more. */
#define FDS_MAX 253
/* Since Linux 6.16; in no header yet. */
#ifndef SO_PASSRIGHTS
#define SO_PASSRIGHTS 83
#endif

union fd_message {
	struct cmsghdr header;
	char bytes[CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(sizeof(int) * FDS_MAX)];
};

static size_t take_fds(struct msghdr *message, int fds[FDS_MAX], struct os_peer *ret_from);
static int option_of(int fd, int name);

int os_channel_create(int ret_ends[2])
{
	return os_socket_pair(SOCK_SEQPACKET | SOCK_NONBLOCK, ret_ends);
}

int os_socket_pair(int type, int ret_ends[2])
{
	int ends[2];
	int r;

	if (socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends) < 0)
		return -errno;
	r = os_raise_pair(ends);
	if (r == 0)
		memcpy(ret_ends, ends, sizeof(ends));
	return r;
}

int os_channel_send(int fd, const void *data, size_t size, const int *fds,
		    size_t fd_count)
{
	struct iovec part = { (void *)(uintptr_t)data, size };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };
	union fd_message control;
	struct cmsghdr *header;
	ssize_t n;

	if (size < 1 || size > OS_CHANNEL_BYTES_MAX || fd_count > OS_CHANNEL_FDS_MAX)
		return -EINVAL;
	if (fd_count > 0) {
		memset(&control, 0, sizeof(control));
		message.msg_control = control.bytes;
		message.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
		header = CMSG_FIRSTHDR(&message);
		header->cmsg_level = SOL_SOCKET;
		header->cmsg_type = SCM_RIGHTS;
		header->cmsg_len = CMSG_LEN(fd_count * sizeof(int));
		memcpy(CMSG_DATA(header), fds, fd_count * sizeof(int));
	}
	do
		n = sendmsg(fd, &message, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

bool os_channel_is_full(int r)
{
	return r == -EAGAIN || r == -ENOBUFS || r == -ENOMEM || r == -ETOOMANYREFS;
}

int os_channel_receive(int fd, void *ret_data, size_t room, int *ret_fds,
		       size_t *ret_fd_count)
{
	struct iovec part = { ret_data, room };
	union fd_message control;
	struct msghdr message = {
		.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes),
	};
	int fds[FDS_MAX];
	size_t count;
	ssize_t n;

	*ret_fd_count = 0;
	/* ECONNRESET, told once: the other side is gone and had not read all.
	 * What it sent itself waits behind that error. */
	do
		n = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
	while (n < 0 && (errno == EINTR || errno == ECONNRESET));
	if (n < 0)
		return -errno;
	count = take_fds(&message, fds, NULL);
	/* An empty message reads as the end, whose descriptors nobody takes. */
	if (n == 0 || message.msg_flags & (MSG_TRUNC | MSG_CTRUNC) ||
	    count > OS_CHANNEL_FDS_MAX) {
		os_close_each(fds, count);
		count = 0;
	}
	if (n > 0 && message.msg_flags & MSG_TRUNC)
		return -EMSGSIZE;
	if (count > 0)
		memcpy(ret_fds, fds, count * sizeof(int));
	*ret_fd_count = count;
	return (int)n;
}

ssize_t os_receive(int fd, void *ret_data, size_t room, struct os_peer *ret_from)
{
	struct iovec part = { ret_data, room };
	union fd_message control;
	struct msghdr message = {
		.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes),
	};
	int fds[FDS_MAX];
	ssize_t n;

	do
		n = recvmsg(fd, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	os_close_each(fds, take_fds(&message, fds, ret_from));
	return n;
}

void os_close_socket(int fd)
{
	const bool is_local = fd >= 0 && option_of(fd, SO_DOMAIN) == AF_UNIX;
	const bool is_stream = is_local && option_of(fd, SO_TYPE) == SOCK_STREAM;
	const int on = 1;
	struct os_peer from;
	char bytes[4096];
	ssize_t n;

	if (is_local)
		shutdown(fd, SHUT_RD);
	/* Nothing can come any more. An empty message is not the end: it has a sender. */
	if (is_local && !is_stream)
		(void)setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on));
	do {
		from = (struct os_peer){ .pid = -1 };
		n = is_local ? os_receive(fd, bytes, sizeof(bytes), &from) : -EAGAIN;
	} while (n > 0 || n == -ECONNRESET || (n == 0 && !is_stream && from.pid != -1));
	if (fd >= 0)
		close(fd);
}

void os_refuse_descriptors(int fd)
{
	const int off = 0;

	(void)setsockopt(fd, SOL_SOCKET, SO_PASSRIGHTS, &off, sizeof(off));
}

static int option_of(int fd, int name)
{
	socklen_t size = sizeof(int);
	int value = 0;

	return getsockopt(fd, SOL_SOCKET, name, &value, &size) < 0 ? -1 : value;
}

/* What came with a message. */
static size_t take_fds(struct msghdr *message, int fds[FDS_MAX], struct os_peer *ret_from)
{
	size_t count = 0;

	for (struct cmsghdr *at = CMSG_FIRSTHDR(message); at; at = CMSG_NXTHDR(message, at)) {
		const size_t size = at->cmsg_len - CMSG_LEN(0);
		struct ucred from;

		if (at->cmsg_level != SOL_SOCKET)
			continue;
		if (at->cmsg_type == SCM_CREDENTIALS && size >= sizeof(from) && ret_from) {
			memcpy(&from, CMSG_DATA(at), sizeof(from));
			*ret_from = (struct os_peer){ from.pid, from.uid };
		}
		if (at->cmsg_type == SCM_RIGHTS) {
			memcpy(fds, CMSG_DATA(at), size);
			count = size / sizeof(int);
		}
	}
	return count;
}
