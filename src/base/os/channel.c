/* SPDX-License-Identifier: MIT */
/*
 * Channels: whole messages, with descriptors, between the parent and a child.
 * A descriptor that arrives is either the caller's or closed: none leaks, also
 * when a message is cut or carries more than was agreed. What a child said
 * before it died is still heard after its death.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/os/os.h"

union fd_message {
	struct cmsghdr header;
	char bytes[CMSG_SPACE(sizeof(int) * OS_CHANNEL_FDS_MAX)];
};

static size_t take_fds(struct msghdr *message, int fds[OS_CHANNEL_FDS_MAX]);

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
	int fds[OS_CHANNEL_FDS_MAX];
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
	count = take_fds(&message, fds);
	/* An empty message reads as the end, whose descriptors nobody takes. */
	if (n == 0 || message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
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

static size_t take_fds(struct msghdr *message, int fds[OS_CHANNEL_FDS_MAX])
{
	struct cmsghdr *header = CMSG_FIRSTHDR(message);
	size_t count;

	if (!header || header->cmsg_level != SOL_SOCKET ||
	    header->cmsg_type != SCM_RIGHTS)
		return 0;
	count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
	memcpy(fds, CMSG_DATA(header), count * sizeof(int));
	return count;
}
